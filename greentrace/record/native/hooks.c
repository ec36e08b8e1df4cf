/* Hooks: the descriptors that stand in the place of a runtime's methods.

   A Hook sits in a type's dict, binds like the method that it replaces, calls it with the same arguments and tells the
   recorder what that meant. What it means is its role; which method has which role is said by the adapters' tables in
   greentrace/record/runtimes/. A Hook costs about 25 ns and keeps nothing but the original. */
#include "hooks.h"

#include <stddef.h>
#include <structmember.h>

static const char *const role_names[ROLE_COUNT] = {
    "wait",        "join",      "composite", "acquire",  "enter",      "release",   "release_all",     "acquire_again",
    "set",         "clear",     "put",       "get",      "created",    "resized",   "afresh",          "work",
    "work_by",     "pool_enter", "pool_run", "pool_leave", "named",    "thread_run", "thread_join",    "hub_created",
    "hub_runs",    "fd_opened", "fd_closed", "ev_add",   "ev_add_called", "ev_ready", "ev_forget",     "ev_remove",
    "ev_timer",    "ev_timer_cancel", "ev_timer_call", "ev_poll", "ev_wait", "ev_select", "ev_execute", "ev_waitpid", "ge_wait", "ge_io_start", "ge_timer_start",
    "ge_stop",     "ge_link",   "ge_unlink", "ge_callback", "ge_async_start", "ge_async_send", "ge_result", "ge_threads",
    "ge_child_start", "ge_signal_start", "ge_signal", "ge_imap", "ge_select",   "python",
};

static PyObject *
hook_call(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    Hook *h = (Hook *)self;
    Py_ssize_t n = PyVectorcall_NARGS(nargsf);
    if (!gt.recording || n < 1)
        return call(h, args, nargsf, kwnames);
    switch (h->role) {
    case WAIT: {
        Node *node = current_node();
        Resource *r = resource_of(args[0], h->kind);
        /* An Event that only stands for a DAGPool. */
        int announced = r && r->key != args[0] && !node->intent_depth && announce_keys(node, r);
        node->intent_depth += announced;
        node->refs++;
        PyObject *result = call_waiting(h, node, r ? r->id : 0, h->op, args, nargsf, kwnames);
        node->intent_depth -= announced;
        node_release(node);
        return result;
    }
    case JOIN: {
        if (!is_greenlet(args[0]))
            return call(h, args, nargsf, kwnames);
        Node *node = current_node();
        return call_waiting(h, node, resource_of_join(node_of((Greenlet *)args[0])), GT_OP_JOIN, args, nargsf, kwnames);
    }
    case COMPOSITE:
        return call_composite(h, args, nargsf, kwnames);
    case ACQUIRE:
    case ENTER:
    case RELEASE:
    case RELEASE_ALL:
    case ACQUIRE_AGAIN:
        return call_lock(h, args, nargsf, kwnames);
    case SET:
    case CLEAR:
    case PUT:
    case GET:
        return call_touch(h, args, nargsf, kwnames);
    case CREATED:
        return call_created(h, args, nargsf, kwnames);
    case RESIZED:
        return call_resized(h, args, nargsf, kwnames);
    case AFRESH:
        return call_afresh(h, args, nargsf, kwnames);
    case NAMED:
        if (n > 1)
            named_by(current_node(), args[1]);
        return call(h, args, nargsf, kwnames);
    case WORK:
    case WORK_BY: {
        Node *node = current_node();
        Resource *r = resource_find(args[0]);
        if (r && h->role == WORK_BY && n > 1 && is_greenlet(args[1]))
            node = node_of((Greenlet *)args[1]);
        if (r)
            say_work_on(r, node);
        return call(h, args, nargsf, kwnames);
    }
    case POOL_ENTER:
    case POOL_RUN:
    case POOL_LEAVE:
        return call_pool(h, args, nargsf, kwnames);
    case THREAD_RUN:
    case THREAD_JOIN:
        return call_thread(h, args, nargsf, kwnames);
    case HUB_CREATED: {
        PyObject *result = call(h, args, nargsf, kwnames);
        PyObject *g = result ? peek(args[0], s_greenlet) : NULL;
        if (g && is_greenlet(g) && gt.recording) {
            PyObject *name = PyUnicode_FromString(Py_TYPE(args[0])->tp_name);
            current_node();
            say_hub(node_of((Greenlet *)g), name);
            Py_XDECREF(name);
        }
        Py_XDECREF(g);
        return result;
    }
    case HUB_RUNS:
        hub_runs(args[0]);
        return call(h, args, nargsf, kwnames);
    case FD_OPENED:
    case FD_CLOSED: {
        long fd = n > 1 && PyLong_Check(args[1]) ? PyLong_AsLong(args[1]) : -1;
        if (fd >= 0 && h->role == FD_OPENED)
            say_fd_open((int)fd);
        else if (fd >= 0)
            say_fd_close((int)fd);
        PyErr_Clear();
        return call(h, args, nargsf, kwnames);
    }
    case PYTHON: {
        PyObject *result = call(h, args, nargsf, kwnames);
        if (result && gt.recording) {
            PyObject *all = PyTuple_New(n + 1);
            if (all) {
                PyTuple_SET_ITEM(all, 0, Py_NewRef(result));
                for (Py_ssize_t i = 0; i < n; i++)
                    PyTuple_SET_ITEM(all, i + 1, Py_NewRef(args[i]));
                PyObject *done = PyObject_CallObject(h->extra, all);
                /* A fault of ours is said and no more; an interrupt that arrived meanwhile is the program's. */
                if (!done && PyErr_ExceptionMatches(PyExc_Exception))
                    PyErr_WriteUnraisable(h->extra);
                else if (!done)
                    Py_CLEAR(result);
                Py_XDECREF(done);
                Py_DECREF(all);
            }
            else
                PyErr_Clear();
        }
        return result;
    }
    case GE_SELECT: {
        /* It fills them in. */
        Node *node = current_node();
        if (!has_room(node, &node->intents, &node->intent_room, GT_MAX_WAITS))
            return call(h, args, nargsf, kwnames);
        return call_gevent(h, args, nargsf, kwnames);
    }
    default:
        return h->role >= GE_WAIT ? call_gevent(h, args, nargsf, kwnames) : call_eventlet(h, args, nargsf, kwnames);
    }
}

static PyObject *
hook_get(PyObject *self, PyObject *object, PyObject *type)
{
    if (!object || object == Py_None)
        return Py_NewRef(self);
    return PyMethod_New(self, object);
}

static void
hook_dealloc(Hook *h)
{
    PyObject_GC_UnTrack(h);
    Py_XDECREF(h->wrapped);
    Py_XDECREF(h->extra);
    PyObject_GC_Del(h);
}

static int
hook_traverse(Hook *h, visitproc visit, void *arg)
{
    Py_VISIT(h->wrapped);
    Py_VISIT(h->extra);
    return 0;
}

/* It is copied and pickled as functions are: by its name. */
static PyObject *
hook_reduce(PyObject *self, PyObject *unused)
{
    return PyObject_GetAttrString(((Hook *)self)->wrapped, "__qualname__");
}

static PyMethodDef hook_methods[] = {{"__reduce__", hook_reduce, METH_NOARGS, NULL}, {NULL, NULL, 0, NULL}};

/* Name, documentation, signature: whoever looks sees the original's. */
static PyObject *
hook_getattro(PyObject *self, PyObject *name)
{
    Hook *h = (Hook *)self;
    if (PyUnicode_Check(name) && PyUnicode_CompareWithASCIIString(name, "__wrapped__") == 0)
        return Py_NewRef(h->wrapped);
    if (PyUnicode_Check(name) && PyUnicode_CompareWithASCIIString(name, "__class__") && PyUnicode_CompareWithASCIIString(name, "__get__")
        && PyUnicode_CompareWithASCIIString(name, "__call__") && PyUnicode_CompareWithASCIIString(name, "__reduce__")
        && PyUnicode_CompareWithASCIIString(name, "__reduce_ex__")) {
        PyObject *value = PyObject_GetAttr(h->wrapped, name);
        if (value || !PyErr_ExceptionMatches(PyExc_AttributeError))
            return value;
        PyErr_Clear();
    }
    return PyObject_GenericGetAttr(self, name);
}

static int
hook_setattro(PyObject *self, PyObject *name, PyObject *value)
{
    return PyObject_SetAttr(((Hook *)self)->wrapped, name, value);
}

PyTypeObject HookType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "greentrace.Hook",
    .tp_basicsize = sizeof(Hook),
    .tp_dealloc = (destructor)hook_dealloc,
    .tp_traverse = (traverseproc)hook_traverse,
    .tp_getattro = hook_getattro,
    .tp_setattro = hook_setattro,
    .tp_call = PyVectorcall_Call,
    .tp_vectorcall_offset = offsetof(Hook, vectorcall),
    .tp_descr_get = hook_get,
    .tp_methods = hook_methods,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_METHOD_DESCRIPTOR | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_HAVE_GC,
    .tp_doc = "Stands in the place of a method and tells the recorder what calling it meant.",
};

PyObject *
hook_new(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"wrapped", "role", "kind", "op", "extra", NULL};
    PyObject *wrapped, *extra = Py_None;
    const char *role;
    int kind = 0, op = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "Os|iiO", names, &wrapped, &role, &kind, &op, &extra))
        return NULL;
    for (int i = 0; i < ROLE_COUNT; i++)
        if (!strcmp(role, role_names[i])) {
            Hook *h = PyObject_GC_New(Hook, &HookType);
            if (!h)
                return NULL;
            h->vectorcall = hook_call;
            h->wrapped = Py_NewRef(wrapped);
            h->extra = Py_NewRef(extra);
            h->role = (uint8_t)i;
            h->kind = (uint8_t)kind;
            h->op = (uint8_t)op;
            PyObject_GC_Track(h);
            return (PyObject *)h;
        }
    return PyErr_Format(PyExc_ValueError, "no role is named %s", role);
}

int
hooks_ready(void)
{
    struct {
        PyObject **slot;
        const char *text;
    } words[] = {
        {&s_greenlet, "greenlet"}, {&s_fd, "fd"}, {&s_events, "events"}, {&s_at, "at"}, {&s_after, "_after"}, {&s_counter, "counter"},
        {&s_seconds, "seconds"}, {&s_tpl, "tpl"}, {&s_called, "called"}, {&s_read, "read"}, {&s_do_send, "_do_send"}, {&s_kill, "_kill"},
        {&s_value, "_value"}, {&s_size, "size"}, {&s_max_size, "max_size"}, {&s_cb, "cb"}, {&s_listeners, "listeners"}, {&s_sem, "sem"},
        {&s_running, "coroutines_running"}, {&s_n, "n"}, {&s_name_of_thread, "_name"}, {&s_receiver, "receiver"},
        {&s_killall3, "_killall3"}, {&s_killall, "_killall"}, {&s_cancel_wait, "_cancel_wait"}, {&s_cancel_waits, "_cancel_waits_then"},
        {&s_on_expiration, "_on_expiration"}, {&s_qualname, "__qualname__"}, {&s_trampoline_timeout, "trampoline.<locals>._timeout"},
        {&s_select_timeout, "select.<locals>.on_timeout"}, {&s_semaphore, "_available_worker_threads_greenlet_sem"},
        {&s_pid, "pid"}, {&s_result_semaphore, "_result_semaphore"}, {&s_exception, "exception"}, {&s_value_of_greenlet, "value"},
        {&s_lower_bound, "lower_bound"}, {&s_pending, "pending"}, {&s_coros, "coros"}, {&s_self_of_frame, "self"},
        {&s_wait_each_raw, "_wait_each_raw"}, {&s_unlock, "_unlock"},
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!(*words[i].slot = PyUnicode_InternFromString(words[i].text)))
            return -1;
    return PyType_Ready(&HookType) < 0 || PyType_Ready(&FireType) < 0 ? -1 : 0;
}
