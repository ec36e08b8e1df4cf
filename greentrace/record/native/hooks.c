/* Hooks: the descriptors that stand in the place of a runtime's methods.

   A Hook sits in a type's dict, binds like the method that it replaces, calls it with the same arguments and tells the
   recorder what that meant. What it means is its role; which method has which role is said by the adapters' tables in
   greentrace/record/runtimes/. A Hook costs about 25 ns and keeps nothing but the original.
   One room, because a role is a case of one switch, which is what makes it cheap. */
#include "core.h"

#include <stddef.h>
#include <structmember.h>

typedef enum {
    WAIT,            /* may park on its self */
    JOIN,            /* may park until the greenlet that is its self has finished */
    COMPOSITE,       /* may park on its self, and what it acquires and releases inside is its own affair */
    ACQUIRE,         /* may park; the caller holds self if the result is true */
    ENTER,           /* the same; holds self whatever the result is */
    RELEASE,
    RELEASE_ALL,     /* gives back whatever the caller holds of self (a Condition's wait) */
    ACQUIRE_AGAIN,   /* takes back as often as the first item of its argument says */
    SET,
    CLEAR,
    PUT,
    GET,
    CREATED,         /* __init__ of a resource */
    RESIZED,         /* a resource's capacity has changed */
    AFRESH,          /* inside of a Condition's wait: what happens to its lock is told, and a wait for it announced */
    WORK,            /* the caller does something to self that no event tells and that may end a wait */
    WORK_BY,         /* (self, greenlet): that greenlet does */
    POOL_ENTER,      /* may park until a place is free; its first argument or its result, a greenlet in the pool, then holds that place */
    POOL_RUN,        /* eventlet: pool._spawn_n_impl(function, args, kwargs, coro): the greenlet itself takes the place */
    POOL_LEAVE,      /* (pool, greenlet): its place is free */
    NAMED,           /* (self, function, ...): runs that function, whatever the greenlet was spawned with */
    THREAD_RUN,      /* threading.Thread's bootstrap: the current greenlet is that thread */
    THREAD_JOIN,     /* threading.Thread.join() */
    HUB_CREATED,     /* __init__ of a hub that keeps its greenlet in .greenlet */
    HUB_RUNS,        /* called in the hub's greenlet */
    FD_OPENED,       /* (hub, fd) */
    FD_CLOSED,       /* (hub or loop, fd) */
    EV_ADD,          /* eventlet: hub.add(evtype, fd, ...) -> listener */
    EV_ADD_CALLED,   /* the same where only the call of the listener shows that its fd is ready */
    EV_READY,        /* eventlet: hub._file_cb(callback, fd) */
    EV_FORGET,       /* eventlet: hub.remove_descriptor(fd) */
    EV_REMOVE,       /* eventlet: hub.remove(listener) */
    EV_TIMER,        /* eventlet: hub.add_timer(timer) */
    EV_TIMER_CANCEL, /* eventlet: hub.timer_canceled(timer) */
    EV_TIMER_CALL,   /* eventlet: timer() */
    EV_POLL,         /* eventlet: hub.do_poll(seconds) -> [(fd, mask)] */
    EV_WAIT,         /* eventlet: hub.wait(seconds) */
    GE_WAIT,         /* gevent: hub.wait(watcher) */
    GE_IO_START,     /* gevent: io.start(callback, ...) */
    GE_TIMER_START,  /* gevent: timer.start(callback, ...) */
    GE_STOP,         /* gevent: watcher.stop() or .close() */
    GE_LINK,         /* gevent: linkable.rawlink(callback) */
    GE_UNLINK,       /* gevent: linkable.unlink(callback) */
    GE_CALLBACK,     /* gevent: loop.run_callback(function, ...) */
    GE_ASYNC_START,  /* gevent: async_.start(callback, ...): what it calls is another thread's doing */
    GE_ASYNC_SEND,   /* gevent: async_.send() */
    GE_RESULT,       /* gevent: threadresult._on_async() sets the .receiver */
    GE_THREADS,      /* gevent: __init__ of a ThreadPool: its semaphore stands for the places in it */
    GE_SELECT,       /* gevent: may park on whatever it begins to listen for */
    PYTHON,          /* rare: extra(result, *args) afterwards */
    ROLE_COUNT,
} Role;

static const char *const role_names[ROLE_COUNT] = {
    "wait",        "join",      "composite", "acquire",  "enter",      "release",   "release_all",     "acquire_again",
    "set",         "clear",     "put",       "get",      "created",    "resized",   "afresh",          "work",
    "work_by",     "pool_enter", "pool_run", "pool_leave", "named",    "thread_run", "thread_join",    "hub_created",
    "hub_runs",    "fd_opened", "fd_closed", "ev_add",   "ev_add_called", "ev_ready", "ev_forget",     "ev_remove",
    "ev_timer",    "ev_timer_cancel", "ev_timer_call", "ev_poll", "ev_wait", "ge_wait", "ge_io_start", "ge_timer_start",
    "ge_stop",     "ge_link",   "ge_unlink", "ge_callback", "ge_async_start", "ge_async_send", "ge_result", "ge_threads",
    "ge_select",   "python",
};

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *wrapped, *extra;
    uint8_t role, kind, op;
} Hook;

static PyObject *s_greenlet, *s_fd, *s_events, *s_at, *s_after, *s_counter, *s_seconds, *s_tpl, *s_called, *s_read, *s_do_send, *s_kill;
static PyObject *s_value, *s_size, *s_max_size, *s_cb, *s_listeners, *s_sem, *s_running, *s_n, *s_name_of_thread, *s_receiver;
static PyObject *s_killall3, *s_killall, *s_cancel_wait, *s_cancel_waits, *s_on_expiration, *s_qualname, *s_trampoline_timeout;
static PyObject *s_select_timeout, *s_semaphore;

int
is_greenlet(PyObject *object)
{
    return PyObject_TypeCheck(object, GREENLET_TYPE);
}

/* An attribute, or NULL without an error. */
static PyObject *
peek(PyObject *object, PyObject *name)
{
    PyObject *value = PyObject_GetAttr(object, name);
    if (!value) {
        /* A property of somebody's may run Python, and there an interrupt may arrive: it is the program's, later. */
        int interrupted = PyErr_ExceptionMatches(PyExc_KeyboardInterrupt);
        PyErr_Clear();
        if (interrupted)
            PyErr_SetInterrupt();
    }
    return value;
}

static int64_t
peek_long(PyObject *object, PyObject *name, int64_t otherwise)
{
    PyObject *value = peek(object, name);
    if (!value)
        return otherwise;
    int64_t number = PyLong_Check(value) ? PyLong_AsLongLong(value) : otherwise;
    if (number == -1 && PyErr_Occurred()) {
        PyErr_Clear();
        number = otherwise;
    }
    Py_DECREF(value);
    return number;
}

/* Seconds in `value` as ns; -1 when it is no number. */
static int64_t
seconds_to_ns(PyObject *value)
{
    if (!value || value == Py_None)
        return -1;
    double seconds = PyFloat_AsDouble(value);
    if (seconds == -1.0 && PyErr_Occurred()) {
        PyErr_Clear();
        return -1;
    }
    return seconds < 0 ? 0 : seconds > 9e9 ? INT64_MAX / 4 : (int64_t)(seconds * 1e9);
}

/* Whom a callback concerns: 1 it switches to `*node`, 2 it throws into it, 0 it is a plain function.
   A bound `switch` or `throw` of a greenlet; or of a gevent Waiter, which stands for the greenlet that waits in it. */
static int
target_of_callback(PyObject *callback, Node **node)
{
    PyObject *self = NULL;
    int what = 0;
    *node = NULL;
    if (PyCFunction_Check(callback)) {
        self = PyCFunction_GET_SELF(callback);
        const char *name = ((PyCFunctionObject *)callback)->m_ml->ml_name;
        what = !strcmp(name, "switch") ? 1 : !strcmp(name, "throw") ? 2 : 0;
        Py_XINCREF(self);
    }
    else {
        self = peek(callback, s_self);
        PyObject *name = self ? peek(callback, s_name) : NULL;
        if (name && PyUnicode_Check(name))
            what = !PyUnicode_CompareWithASCIIString(name, "switch") ? 1 : !PyUnicode_CompareWithASCIIString(name, "throw") ? 2 : 0;
        Py_XDECREF(name);
    }
    if (self && what) {
        if (is_greenlet(self))
            *node = node_of((Greenlet *)self);
        else {
            PyObject *waiter = peek(self, s_greenlet);
            if (waiter && is_greenlet(waiter))
                *node = node_of((Greenlet *)waiter);
            else if (waiter == Py_None)
                *node = current_node();
            Py_XDECREF(waiter);
        }
    }
    Py_XDECREF(self);
    return *node ? what : 0;
}

/* ---- callbacks of which only the call itself shows that their watcher or listener fired -------------------------------- */

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *callback;
    void *key;
    uint8_t waker;
} Fire;

static PyObject *
fire_call(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    Fire *fire = (Fire *)self;
    if (!gt.recording)
        return PyObject_Vectorcall(fire->callback, args, nargsf, kwnames);
    Thread *th = this_thread();
    if (fire->waker == GT_WAKER_TIMER)
        say_timer_end(fire->key, 1);
    else if (fire->waker == GT_WAKER_FD) {
        /* The hub calls from inside of its poll, or does not show what that returned. */
        if (th->polling)
            say_poll_end(1);
        say_heard(fire->key);
    }
    else {
        uintptr_t sender = (uintptr_t)map_get(&gt.sender_by_object, fire->key);
        /* libuv makes other watchers of it, which the hub's own thread sends to. */
        if (sender == (uintptr_t)th->index + 1)
            sender = 0;
        th->cause = sender ? GT_WAKER_THREAD : GT_WAKER_CALLBACK;
        th->cause_id = sender ? (uint32_t)(sender - 1) : 0;
        th->cause_resource = 0;
    }
    PyObject *result = PyObject_Vectorcall(fire->callback, args, nargsf, kwnames);
    th->cause = 0;
    return result;
}

static void
fire_dealloc(Fire *fire)
{
    PyObject_GC_UnTrack(fire);
    Py_XDECREF(fire->callback);
    PyObject_GC_Del(fire);
}

static int
fire_traverse(Fire *fire, visitproc visit, void *arg)
{
    Py_VISIT(fire->callback);
    return 0;
}

static int
fire_clear(Fire *fire)
{
    Py_CLEAR(fire->callback);
    return 0;
}

static PyObject *
fire_getattro(PyObject *self, PyObject *name)
{
    PyObject *value = PyObject_GenericGetAttr(self, name);
    if (!value && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
        value = PyObject_GetAttr(((Fire *)self)->callback, name);
    }
    return value;
}

PyTypeObject FireType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "greentrace.Fire",
    .tp_basicsize = sizeof(Fire),
    .tp_dealloc = (destructor)fire_dealloc,
    .tp_traverse = (traverseproc)fire_traverse,
    .tp_clear = (inquiry)fire_clear,
    .tp_getattro = fire_getattro,
    .tp_call = PyVectorcall_Call,
    .tp_vectorcall_offset = offsetof(Fire, vectorcall),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_HAVE_GC,
    .tp_doc = "A callback that tells that its watcher or listener fired.",
};

static PyObject *
fire_new(PyObject *callback, void *key, uint8_t waker)
{
    Fire *fire = PyObject_GC_New(Fire, &FireType);
    if (!fire)
        return NULL;
    fire->vectorcall = fire_call;
    fire->callback = Py_NewRef(callback);
    fire->key = key;
    fire->waker = waker;
    PyObject_GC_Track(fire);
    return (PyObject *)fire;
}

/* ---- what the roles mean ---------------------------------------------------------------------------------------- */

static PyObject *
call(Hook *h, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    return PyObject_Vectorcall(h->wrapped, args, nargsf, kwnames);
}

/* Call `watcher.start(callback, ...)` with a callback that tells that it was called. NULL without an error: it cannot be made. */
static PyObject *
call_with_fire(Hook *h, uint8_t waker, PyObject *const *args, Py_ssize_t n, PyObject *kwnames)
{
    /* What cannot be called is refused, as without us. */
    PyObject *fire = PyCallable_Check(args[1]) ? fire_new(args[1], args[0], waker) : NULL;
    Py_ssize_t named = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    PyObject **changed = fire ? PyMem_Malloc((size_t)(n + named) * sizeof(PyObject *)) : NULL;
    if (!changed) {
        if (PyErr_Occurred())
            PyErr_Clear();
        Py_XDECREF(fire);
        return PyObject_Vectorcall(h->wrapped, args, (size_t)n, kwnames);
    }
    memcpy(changed, args, (size_t)(n + named) * sizeof(PyObject *));
    changed[1] = fire;
    PyObject *result = PyObject_Vectorcall(h->wrapped, changed, (size_t)n, kwnames);
    PyMem_Free(changed);
    Py_DECREF(fire);
    return result;
}

/* Call with `resource` announced as what the greenlet waits on, should it park. */
static PyObject *
call_waiting(Hook *h, Node *node, uint32_t resource, uint8_t op, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    say_intent(node, resource, op);
    node->intent_depth++;
    node->refs++;
    PyObject *result = call(h, args, nargsf, kwnames);
    node->intent_depth--;
    node_release(node);
    return result;
}

/* How many may hold it at a time: semaphores (threading's counter is `_value`), pools. */
static uint64_t
capacity_of(PyObject *object, uint8_t kind)
{
    int64_t capacity = peek_long(object, kind == GT_KIND_POOL ? s_size : s_counter, -1);
    return (uint64_t)(capacity >= 0 ? capacity : peek_long(object, kind == GT_KIND_POOL ? s_max_size : s_value, -1));
}

/* A resource that has a capacity. If it was never used before, as far as we watched, what it has now is all it has. */
static Resource *
limited(PyObject *object, uint8_t kind)
{
    Resource *r = resource_find(object);
    return r ? r : resource_seen(object, kind, capacity_of(object, kind));
}

/* How many places a release gives back: Semaphore.release(n=1). */
static int64_t
released_count(PyObject *const *args, Py_ssize_t n, PyObject *kwnames)
{
    PyObject *count = n > 1 ? args[1] : NULL;
    for (Py_ssize_t i = 0; kwnames && i < PyTuple_GET_SIZE(kwnames); i++)
        if (PyUnicode_Compare(PyTuple_GET_ITEM(kwnames, i), s_n) == 0)
            count = args[n + i];
    int64_t number = count && PyLong_CheckExact(count) ? PyLong_AsLong(count) : 1;
    PyErr_Clear();
    return number < 1 ? 1 : number > 1000 ? 1000 : number;
}

static PyObject *
call_lock(Hook *h, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    Node *node = current_node();
    int gives_back = h->role == RELEASE || h->role == RELEASE_ALL;
    Resource *r = h->kind == GT_KIND_SEMAPHORE && !gives_back ? limited(args[0], h->kind) : resource_of(args[0], h->kind);
    if (!r)
        return call(h, args, nargsf, kwnames);
    uint32_t id = r->id;
    /* gevent's ThreadPool keeps a semaphore for its places, and who holds those are native threads. */
    int by_threads = h->kind == GT_KIND_SEMAPHORE && r->kind == GT_KIND_POOL;
    if (gives_back) {
        uint32_t held = 0;
        for (uint32_t i = 0; i < r->hold_count; i++)
            held += r->holds[i].greenlet == node->id;
        /* RELEASE_ALL is called inside of a Condition's wait, and is not its affair. */
        int outer = node->release_depth++ <= (h->role == RELEASE_ALL);
        /* What it is made of (threading.Semaphore: a Condition and its lock) is its own affair. */
        node->acquire_depth++;
        node->refs++;
        PyObject *result = h->op ? call_waiting(h, node, id, h->op, args, nargsf, kwnames) : call(h, args, nargsf, kwnames);
        node->release_depth--;
        node->acquire_depth--;
        if (result && outer && gt.recording && (r = resource_find(args[0])) && r->id == id) {
            int64_t times = h->role == RELEASE ? released_count(args, PyVectorcall_NARGS(nargsf), kwnames) : held;
            while (times-- > 0)
                if (by_threads)
                    say_work_on(r, node);
                else
                    say_release(node, r);
        }
        node_release(node);
        return result;
    }
    int outer = node->acquire_depth++ <= (h->role == ACQUIRE_AGAIN);
    node->release_depth++;
    node->refs++;
    Waiting announced[GT_MAX_WAITS];
    uint8_t announced_count = node->intent_count;
    memcpy(announced, node->intents, sizeof announced);
    int again = h->role == ACQUIRE_AGAIN && outer;
    if (again) {
        /* A Condition's wait is over; from now on its lock is waited for. */
        node->intents[0] = (Waiting){id, 0, GT_OP_ACQUIRE};
        node->intent_count = 1;
    }
    PyObject *result = call_waiting(h, node, id, GT_OP_ACQUIRE, args, nargsf, kwnames);
    if (again) {
        memcpy(node->intents, announced, sizeof announced);
        node->intent_count = announced_count;
    }
    node->acquire_depth--;
    node->release_depth--;
    if (result && outer && !by_threads && gt.recording) {
        int64_t times = 1;
        if (h->role == ACQUIRE)
            times = PyObject_IsTrue(result) == 1;
        else if (h->role == ACQUIRE_AGAIN && PyVectorcall_NARGS(nargsf) > 1 && PyTuple_Check(args[1]) && PyTuple_GET_SIZE(args[1])) {
            PyObject *count = PyTuple_GET_ITEM(args[1], 0);
            times = PyLong_Check(count) ? PyLong_AsLong(count) : 1;
        }
        if ((r = resource_find(args[0])) && r->id == id)
            for (int64_t i = 0; i < times && i < 1000; i++)
                say_acquire(node, r);
    }
    node_release(node);
    return result;
}

static PyObject *
call_composite(Hook *h, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    Node *node = current_node();
    Resource *r = resource_of(args[0], h->kind);
    node->acquire_depth++;
    node->release_depth++;
    PyObject *result = call_waiting(h, node, r ? r->id : 0, h->op, args, nargsf, kwnames);
    node->acquire_depth--;
    node->release_depth--;
    return result;
}

/* The greenlet runs this function; it was spawned with one of the runtime's around it. */
static void
named_by(Node *node, PyObject *function)
{
    PyObject *name = node->flags & NODE_NAMED ? NULL : peek(function, s_name);
    if (name && PyUnicode_Check(name))
        say_name(node, name, 0);
    Py_XDECREF(name);
}

static int
holds(Resource *r, Node *node)
{
    for (uint32_t i = 0; i < r->hold_count; i++)
        if (r->holds[i].greenlet == node->id)
            return 1;
    return 0;
}

/* eventlet's pools know their greenlets. */
static int
is_among(PyObject *running, PyObject *greenlet)
{
    return running && greenlet && PyAnySet_Check(running) && PySet_Contains(running, greenlet) == 1;
}

/* A place in a pool is held by the greenlet that is in it, and not by whoever spawned that. A gevent Pool's methods call a
   Group's, which have rows too: a greenlet enters and leaves but once. */
static PyObject *
call_pool(Hook *h, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    Py_ssize_t n = PyVectorcall_NARGS(nargsf);
    Node *node = current_node();
    Resource *r = limited(args[0], h->kind);
    if (!r || n < 2)
        return call(h, args, nargsf, kwnames);
    uint32_t id = r->id;
    if (h->role == POOL_RUN) {
        if (n > 4 && args[4] != Py_None) {
            named_by(node, args[1]);
            say_acquire(node, r);
        }
        return call(h, args, nargsf, kwnames);
    }
    PyObject *member = is_greenlet(args[1]) ? args[1] : NULL;
    if (h->role == POOL_LEAVE) {
        /* Told first: the call itself may already wake somebody. */
        if (member) {
            Node *leaver = node_of((Greenlet *)member);
            if (holds(r, leaver))
                say_release(leaver, r);
            else
                say_work_on(r, leaver);
        }
        node->acquire_depth++;
        node->release_depth++;
        node->refs++;
        PyObject *result = call(h, args, nargsf, kwnames);
        node->acquire_depth--;
        node->release_depth--;
        node_release(node);
        return result;
    }
    PyObject *running = peek(args[0], s_running), *semaphore = running ? peek(args[0], s_sem) : NULL;
    PyObject *me = (PyObject *)greenlet_getcurrent();
    /* One of its own finds it full: the function runs here and now, and what that waits for is the function's affair. */
    int in_place = semaphore && peek_long(semaphore, s_counter, 1) <= 0 && is_among(running, me);
    Py_XDECREF(semaphore);
    Py_XDECREF(me);
    PyErr_Clear();
    PyObject *result = in_place ? call(h, args, nargsf, kwnames) : call_composite(h, args, nargsf, kwnames);
    if (result && !member && is_greenlet(result) && is_among(running, result))
        member = result;
    if (result && member && !in_place && gt.recording && (r = resource_find(args[0])) && r->id == id) {
        Node *entrant = node_of((Greenlet *)member);
        if (!holds(r, entrant))
            say_acquire(entrant, r);
    }
    Py_XDECREF(running);
    if (result)
        PyErr_Clear();
    return result;
}

static PyObject *
call_thread(Hook *h, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    Node *node = current_node();
    if (h->role == THREAD_JOIN) {
        Node *joined = map_get(&gt.node_by_thread, args[0]);
        Resource *r = joined ? NULL : resource_of(args[0], GT_KIND_THREAD);
        uint32_t resource = joined ? resource_of_join(joined) : r ? r->id : GT_RESOURCE_UNKNOWN;
        return call_waiting(h, node, resource, GT_OP_JOIN, args, nargsf, kwnames);
    }
    if (node->flags & NODE_MAIN)
        /* A thread of the system runs in a main greenlet, and is none of our business. */
        return call(h, args, nargsf, kwnames);
    PyObject *name = node->flags & NODE_NAMED ? NULL : peek(args[0], s_name_of_thread);
    if (name && PyUnicode_Check(name))
        say_name(node, name, GT_NAME_GIVEN);
    Py_XDECREF(name);
    /* The thread object lives as long as this call, so its address is its own until then. */
    map_set(&gt.node_by_thread, args[0], node);
    node->refs++;
    PyObject *result = call(h, args, nargsf, kwnames);
    map_remove(&gt.node_by_thread, args[0]);
    node_release(node);
    return result;
}

static uint64_t
size_of(PyObject *queue)
{
    if (!(Py_TYPE(queue)->tp_as_sequence && Py_TYPE(queue)->tp_as_sequence->sq_length)
        && !(Py_TYPE(queue)->tp_as_mapping && Py_TYPE(queue)->tp_as_mapping->mp_length))
        return 0;
    Py_ssize_t size = PyObject_Size(queue);
    if (size < 0) {
        PyErr_Clear();
        return 0;
    }
    return (uint64_t)size + 1;
}

static PyObject *
call_touch(Hook *h, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    static const uint8_t kinds[] = {[SET] = GT_SET, [CLEAR] = GT_CLEAR, [PUT] = GT_PUT, [GET] = GT_GET};
    Node *node = current_node();
    Resource *r = resource_of(args[0], h->kind);
    if (!r)
        return call(h, args, nargsf, kwnames);
    uint32_t id = r->id;
    int outer = node->intent_depth == 0;
    if (h->role == SET || h->role == CLEAR)
        outer = outer && node->acquire_depth == 0;
    PyObject *result;
    /* A SET is told first: the call itself may already wake somebody. */
    if (h->role == SET || h->role == CLEAR) {
        if (outer)
            say_touch(kinds[h->role], node, r, 0);
    }
    else if (h->role == PUT)
        say_work_on(r, node);
    /* The locks that it is made of are its own affair. */
    node->refs++;
    node->acquire_depth++;
    node->release_depth++;
    if (h->role == SET || h->role == CLEAR)
        result = call(h, args, nargsf, kwnames);
    else
        result = call_waiting(h, node, id, h->role == PUT ? GT_OP_PUT : GT_OP_GET, args, nargsf, kwnames);
    node->acquire_depth--;
    node->release_depth--;
    if (h->role == SET || h->role == CLEAR)
        outer = 0;
    if (result && outer && gt.recording && (r = resource_find(args[0])) && r->id == id)
        say_touch(kinds[h->role], node, r, size_of(args[0]));
    node_release(node);
    return result;
}

/* `for x in queue` and next(queue) go through a slot of the type and not through its dict. */
PyObject *
next_recorded(PyObject *iterator, iternextfunc original, uint8_t kind)
{
    Node *node = current_node();
    Resource *r = resource_of(iterator, kind);
    if (!r)
        return original(iterator);
    uint32_t id = r->id;
    int outer = node->intent_depth == 0;
    say_intent(node, id, GT_OP_GET);
    node->intent_depth++;
    node->refs++;
    PyObject *result = original(iterator);
    node->intent_depth--;
    if (result && outer && gt.recording && (r = resource_find(iterator)) && r->id == id)
        say_touch(GT_GET, node, r, size_of(iterator));
    node_release(node);
    return result;
}

static PyObject *
call_created(Hook *h, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    /* A semaphore's capacity is known afterwards; the others are told first, as making them may already touch them. */
    uint8_t kind = kind_of(args[0], kind_of_maker(h->kind));
    int has_capacity = kind == GT_KIND_SEMAPHORE || kind == GT_KIND_POOL;
    Node *node = current_node();
    if (!has_capacity)
        resource_created(args[0], kind, UINT64_MAX);
    /* A gevent Pool's __init__ calls a Group's, which does not know how many may be in it. */
    void *outer = node->creating;
    node->creating = args[0];
    node->acquire_depth++;
    node->release_depth++;
    node->refs++;
    PyObject *result = call(h, args, nargsf, kwnames);
    node->acquire_depth--;
    node->release_depth--;
    node->creating = outer;
    node_release(node);
    if (result && has_capacity && outer != args[0] && gt.recording)
        resource_created(args[0], kind, capacity_of(args[0], kind));
    return result;
}

static PyObject *
call_resized(Hook *h, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    PyObject *result = call(h, args, nargsf, kwnames);
    Resource *r = result && gt.recording ? resource_find(args[0]) : NULL;
    if (r)
        resource_resized(r, capacity_of(args[0], r->kind));
    return result;
}

/* Inside of a Condition's wait its lock is given up and taken back: that lock says itself what becomes of it and what is waited
   for. A Condition inside of something else (threading.Event) stays that one's affair. */
static PyObject *
call_afresh(Hook *h, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    Node *node = current_node();
    Waiting announced[GT_MAX_WAITS];
    uint8_t count = node->intent_count;
    uint16_t depth = node->intent_depth;
    memcpy(announced, node->intents, sizeof announced);
    uint16_t inside = node->acquire_depth == 1;
    node->intent_depth = 0;
    node->acquire_depth -= inside;
    node->release_depth -= inside;
    node->refs++;
    PyObject *result = call(h, args, nargsf, kwnames);
    node->acquire_depth += inside;
    node->release_depth += inside;
    node->intent_depth = depth;
    node->intent_count = count;
    memcpy(node->intents, announced, sizeof announced);
    node_release(node);
    return result;
}

/* The greenlet that runs now is the hub's. */
static void
hub_runs(PyObject *hub)
{
    Node *node = current_node();
    if (node->flags & NODE_HUB)
        return;
    PyObject *name = PyUnicode_FromString(Py_TYPE(hub)->tp_name);
    say_hub(node, name);
    Py_XDECREF(name);
}

/* ---- eventlet --------------------------------------------------------------------------------------------------- */

static void
ev_timer_added(PyObject *timer)
{
    PyObject *seconds = peek(timer, s_seconds), *tpl = peek(timer, s_tpl);
    int64_t delay = seconds_to_ns(seconds);
    if (tpl && delay >= 0 && PyTuple_Check(tpl) && PyTuple_GET_SIZE(tpl) == 3) {
        PyObject *callback = PyTuple_GET_ITEM(tpl, 0), *args = PyTuple_GET_ITEM(tpl, 1);
        Node *node, *me = current_node();
        int at_once = delay == 0;
        /* The hub only passes on why it calls. */
        uint8_t cause = GT_WAKER_GREENLET;
        uint32_t cause_id = me->id;
        if (me->flags & NODE_HUB) {
            Thread *th = this_thread();
            cause = th->cause ? th->cause : GT_WAKER_CALLBACK;
            cause_id = th->cause ? th->cause_id : 0;
        }
        int what = target_of_callback(callback, &node);
        if (!what && PyTuple_Check(args) && PyTuple_GET_SIZE(args) == 3 && is_greenlet(PyTuple_GET_ITEM(args, 2))) {
            /* Event._do_send(result, exc, waiter): sends at once, or a wait's own time limit. */
            PyObject *name = peek(callback, s_name);
            if (name && PyUnicode_Check(name) && PyUnicode_Compare(name, s_do_send) == 0) {
                node = node_of((Greenlet *)PyTuple_GET_ITEM(args, 2));
                what = 1;
            }
            Py_XDECREF(name);
        }
        if (!what) {
            /* hubs.trampoline's own time limit is a function inside it that throws into the current greenlet; green select's
               comes back to it by way of one turn more, so that the fds are looked at once. */
            PyObject *name = peek(callback, s_qualname);
            if (name && PyUnicode_Check(name) && PyUnicode_Compare(name, s_trampoline_timeout) == 0) {
                node = me;
                what = 2;
            }
            else if (name && PyUnicode_Check(name) && PyUnicode_Compare(name, s_select_timeout) == 0) {
                node = me;
                what = 1;
                at_once = 0;
            }
            Py_XDECREF(name);
        }
        if (what == 1 && !node->name && !(node->flags & NODE_STARTED) && node->object
            && !type_is_in(&gt.named_types, (PyObject *)node->object)) {
            /* A plain greenlet that has not begun still knows its function. */
            PyObject *run = peek((PyObject *)node->object, s_run), *name = run ? peek(run, s_name) : NULL;
            if (name)
                say_name(node, name, 0);
            Py_XDECREF(name);
            Py_XDECREF(run);
        }
        if (what == 1 && !node->name && PyTuple_Check(args) && PyTuple_GET_SIZE(args) && node->object
            && type_is_in(&gt.named_types, (PyObject *)node->object)) {
            /* A GreenThread is started with its function as the first argument. */
            PyObject *name = peek(PyTuple_GET_ITEM(args, 0), s_name);
            if (name)
                say_name(node, name, 0);
            Py_XDECREF(name);
        }
        if (what && at_once) {
            Resource *r = node->wait_count ? map_get(&gt.resource_by_id, (void *)((uintptr_t)node->waits[0].resource << 4)) : NULL;
            /* A native thread has the result; a greenlet of the runtime only hands it over. */
            if (r && r->kind == GT_KIND_THREAD && node->waits[0].op == GT_OP_WAIT) {
                cause = GT_WAKER_THREAD;
                cause_id = 0;
            }
            say_timer(timer, 0, node, 0, 1);
            say_wake(node, cause, cause_id, 0);
        }
        else {
            say_timer(timer, now_ns() + (uint64_t)delay, what ? node : me, what == 2 ? GT_TIMER_THROWS : what ? 0 : GT_TIMER_CALLS, at_once);
            if (at_once)
                say_timer_for(timer, cause, cause_id);
        }
    }
    Py_XDECREF(seconds);
    Py_XDECREF(tpl);
}

static void
ev_polled(PyObject *result)
{
    if (!PyList_Check(result))
        return;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(result); i++) {
        PyObject *item = PyList_GET_ITEM(result, i);
        if (!PyTuple_Check(item) || PyTuple_GET_SIZE(item) != 2)
            continue;
        long fd = PyLong_AsLong(PyTuple_GET_ITEM(item, 0)), mask = PyLong_AsLong(PyTuple_GET_ITEM(item, 1));
        /* IN 1, PRI 2, OUT 4, ERR 8, HUP 16: an error wakes both sides. */
        uint8_t mode = (uint8_t)((mask & (1 | 2 | 8 | 16) ? GT_MODE_READ : 0) | (mask & (4 | 8 | 16) ? GT_MODE_WRITE : 0));
        say_ready((int)fd, mode);
    }
    PyErr_Clear();
}

static PyObject *
call_eventlet(Hook *h, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    Py_ssize_t n = PyVectorcall_NARGS(nargsf);
    PyObject *result;
    switch (h->role) {
    case EV_ADD:
        result = call(h, args, nargsf, kwnames);
        if (result && n > 2 && gt.recording) {
            long fd = PyLong_AsLong(args[2]);
            if (fd == -1)
                PyErr_Clear();
            uint8_t mode = PyUnicode_Check(args[1]) && PyUnicode_Compare(args[1], s_read) == 0 ? GT_MODE_READ : GT_MODE_WRITE;
            say_listen(result, (int)fd, mode, current_node());
        }
        return result;
    case EV_ADD_CALLED: {
        result = call(h, args, nargsf, kwnames);
        PyObject *callback = result && gt.recording ? peek(result, s_cb) : NULL;
        PyObject *ready = callback ? fire_new(callback, result, GT_WAKER_FD) : NULL;
        if (ready)
            PyObject_SetAttr(result, s_cb, ready);
        if (result)
            PyErr_Clear();
        Py_XDECREF(ready);
        Py_XDECREF(callback);
        return result;
    }
    case EV_READY:
        if (n > 2) {
            PyObject *all = peek(args[0], s_listeners), *readers = all && PyDict_Check(all) ? PyDict_GetItemWithError(all, s_read) : NULL;
            PyObject *reader = readers && PyDict_Check(readers) ? PyDict_GetItemWithError(readers, args[2]) : NULL;
            PyObject *callback = reader ? peek(reader, s_cb) : NULL;
            long fd = PyLong_AsLong(args[2]);
            this_thread();
            say_ready((int)fd, callback == args[1] ? GT_MODE_READ : GT_MODE_WRITE);
            Py_XDECREF(callback);
            Py_XDECREF(all);
            PyErr_Clear();
        }
        return call(h, args, nargsf, kwnames);
    case EV_FORGET:
        result = call(h, args, nargsf, kwnames);
        if (result && n > 1 && gt.recording) {
            say_unlisten_all((int)PyLong_AsLong(args[1]));
            PyErr_Clear();
        }
        return result;
    case EV_REMOVE:
        if (n > 1) {
            this_thread();
            say_unlisten(args[1]);
        }
        return call(h, args, nargsf, kwnames);
    case EV_TIMER:
        result = call(h, args, nargsf, kwnames);
        if (result && n > 1 && gt.recording)
            ev_timer_added(args[1]);
        return result;
    case EV_TIMER_CANCEL:
        if (n > 1) {
            this_thread();
            say_timer_end(args[1], 0);
        }
        return call(h, args, nargsf, kwnames);
    case EV_TIMER_CALL: {
        Thread *th = this_thread();
        PyObject *called = peek(args[0], s_called);
        if (called == Py_False)
            say_timer_end(args[0], 1);
        Py_XDECREF(called);
        result = call(h, args, nargsf, kwnames);
        th->cause = 0;
        return result;
    }
    case EV_WAIT:
    case EV_POLL: {
        Thread *th = this_thread();
        /* It may have been running long before we came. */
        if (h->role == EV_WAIT)
            hub_runs(args[0]);
        int64_t timeout = n > 1 ? seconds_to_ns(args[1]) : -1;
        int begun = th->polling;
        if (!begun && timeout != 0) {
            say_poll_begin(timeout);
            th->polling = 1;
        }
        result = call(h, args, nargsf, kwnames);
        if (!gt.recording)
            return result;
        if (h->role == EV_POLL) {
            Py_ssize_t ready = result && PyList_Check(result) ? PyList_GET_SIZE(result) : 0;
            if (!th->polling && ready)
                say_poll_begin(timeout);
            if (th->polling || ready)
                say_poll_end(ready);
            th->polling = 0;
            if (ready)
                ev_polled(result);
        }
        else if (th->polling) {
            say_poll_end(0);
            th->polling = 0;
        }
        return result;
    }
    default:
        return call(h, args, nargsf, kwnames);
    }
}

/* ---- gevent ----------------------------------------------------------------------------------------------------- */

static uint8_t
ge_mode(PyObject *watcher)
{
    int64_t events = peek_long(watcher, s_events, 1) & 3;
    return events ? (uint8_t)events : GT_MODE_READ;
}

static const uint8_t io_ops[] = {GT_OP_WAIT, GT_OP_READ, GT_OP_WRITE, GT_OP_READWRITE};

static void
wake_all(PyObject *greenlets, Node *me)
{
    if (!PyList_Check(greenlets))
        return;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(greenlets); i++)
        if (is_greenlet(PyList_GET_ITEM(greenlets, i)))
            say_wake_by(node_of((Greenlet *)PyList_GET_ITEM(greenlets, i)), me);
}

/* Whoever waits for this watcher is about to be told that somebody closes what it watches. */
static void
wake_listener(PyObject *watcher, Node *me)
{
    Listener *l = map_get(&gt.listener_by_object, watcher);
    if (l && l->node && l->node != me)
        say_wake_by(l->node, me);
}

static int
is_waiter(PyObject *object)
{
    size_t length = strlen(Py_TYPE(object)->tp_name);
    return length >= 6 && !strcmp(Py_TYPE(object)->tp_name + length - 6, "Waiter");
}

/* What gevent's own functions among the loop's callbacks will do at the hub's next turn. */
static void
ge_will_call(PyObject *function, PyObject *const *args, Py_ssize_t n, Node *me)
{
    PyObject *name = peek(function, s_name);
    /* `_notify_links` goes this way all the time: no comparison for it. */
    Py_UCS4 second = name && PyUnicode_Check(name) && PyUnicode_GET_LENGTH(name) > 1 ? PyUnicode_READ_CHAR(name, 1) : 0;
    if (second != 'k' && second != 'c') {
        Py_XDECREF(name);
        return;
    }
    int known = 1;
    if (PyUnicode_Compare(name, s_kill) == 0 && is_greenlet(args[0]))
        say_wake_by(node_of((Greenlet *)args[0]), me);
    else if (PyUnicode_Compare(name, s_killall3) == 0 || PyUnicode_Compare(name, s_killall) == 0)
        wake_all(args[0], me);
    else {
        known = 0;
        if (PyUnicode_Compare(name, s_cancel_wait) == 0)
            wake_listener(args[0], me);
        else if (PyUnicode_Compare(name, s_cancel_waits) == 0 && PyList_Check(args[0]))
            for (Py_ssize_t i = 0; i < PyList_GET_SIZE(args[0]); i++)
                wake_listener(PyList_GET_ITEM(args[0], i), me);
    }
    /* Whoever kills and waits for it is switched to right afterwards, come what may: it only gives way. */
    if (known && n > 2 && is_waiter(args[2]))
        say_wake_by(me, me);
    Py_DECREF(name);
}

static PyObject *
call_gevent(Hook *h, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    Py_ssize_t n = PyVectorcall_NARGS(nargsf);
    PyObject *result;
    switch (h->role) {
    case GE_WAIT: {
        if (n < 2)
            return call(h, args, nargsf, kwnames);
        Node *node = current_node();
        uint32_t resource = GT_RESOURCE_UNKNOWN;
        uint8_t op = GT_OP_WAIT, kind = kind_of(args[1], GT_KIND_UNKNOWN);
        if (!node->intent_depth) {
            if (kind == GT_KIND_FD) {
                resource = resource_of_fd((int)peek_long(args[1], s_fd, -1));
                op = io_ops[ge_mode(args[1])];
            }
            else if (kind == GT_KIND_SLEEP) {
                resource = GT_RESOURCE_SLEEP;
                op = GT_OP_SLEEP;
            }
            else if (kind != GT_KIND_UNKNOWN) {
                Resource *r = resource_passing(kind);
                result = call_waiting(h, node, r ? r->id : GT_RESOURCE_UNKNOWN, op, args, nargsf, kwnames);
                if (r)
                    resource_passed(r);
                return result;
            }
        }
        return call_waiting(h, node, resource, op, args, nargsf, kwnames);
    }
    case GE_IO_START: {
        if (n < 2)
            return call(h, args, nargsf, kwnames);
        Node *node, *me = current_node();
        int what = target_of_callback(args[1], &node);
        if (what)
            result = call(h, args, nargsf, kwnames);
        else
            result = call_with_fire(h, GT_WAKER_FD, args, n, kwnames);
        if (result && gt.recording) {
            int fd = (int)peek_long(args[0], s_fd, -1);
            uint8_t mode = ge_mode(args[0]);
            say_listen(args[0], fd, mode, what ? node : me->selecting ? me : NULL);
            if (!what && me->selecting && me->intent_count < GT_MAX_WAITS)
                me->intents[me->intent_count++] = (Waiting){resource_of_fd(fd), 0, io_ops[mode]};
            else if (!what && me->selecting)
                me->intents[GT_MAX_WAITS - 1] = (Waiting){GT_RESOURCE_UNKNOWN, 0, GT_OP_WAIT};
        }
        return result;
    }
    case GE_SELECT: {
        Node *node = current_node();
        if (node->intent_depth)
            return call(h, args, nargsf, kwnames);
        node->intent_depth++;
        node->selecting = 1;
        node->intent_count = 0;
        /* What a selector did not hear of the last time it still listens for. */
        for (Listener *l = node->listeners; l && node->intent_count < GT_MAX_WAITS; l = l->next_of_node)
            node->intents[node->intent_count++] = (Waiting){l->resource, 0, io_ops[l->mode]};
        node->refs++;
        result = call(h, args, nargsf, kwnames);
        node->selecting = 0;
        node->intent_depth--;
        node_release(node);
        return result;
    }
    case GE_ASYNC_START:
        if (n < 2)
            return call(h, args, nargsf, kwnames);
        current_node();
        {
            Node *node;
            if (target_of_callback(args[1], &node))
                return call(h, args, nargsf, kwnames);
        }
        return call_with_fire(h, GT_WAKER_THREAD, args, n, kwnames);
    case GE_ASYNC_SEND:
        map_set(&gt.sender_by_object, args[0], (void *)(uintptr_t)(this_thread()->index + 1));
        return call(h, args, nargsf, kwnames);
    case GE_STOP:
        this_thread();
        say_unlisten(args[0]);
        say_timer_end(args[0], 0);
        if (gt.sender_by_object.used)
            map_remove(&gt.sender_by_object, args[0]);
        return call(h, args, nargsf, kwnames);
    case GE_RESULT: {
        PyObject *receiver = peek(args[0], s_receiver);
        Node *node = current_node();
        Resource *r = receiver ? resource_find(receiver) : NULL;
        if (r)
            say_touch(GT_SET, node, r, 0);
        Py_XDECREF(receiver);
        return call(h, args, nargsf, kwnames);
    }
    case GE_THREADS: {
        Node *node = current_node();
        node->making_places = 1;
        result = call(h, args, nargsf, kwnames);
        PyObject *semaphore = result && gt.recording ? peek(args[0], s_semaphore) : NULL;
        if (semaphore)
            resource_created(semaphore, GT_KIND_SEMAPHORE, UINT64_MAX);
        Py_XDECREF(semaphore);
        node->making_places = 0;
        return result;
    }
    case GE_TIMER_START: {
        if (n < 2)
            return call(h, args, nargsf, kwnames);
        PyObject *after = peek(args[0], s_after);
        if (!after)
            after = peek(args[0], s_at);
        int64_t delay = seconds_to_ns(after);
        if (!after)
            /* A timer of no time at all is a check watcher in libuv. */
            delay = 0;
        Py_XDECREF(after);
        Node *node;
        int what = target_of_callback(args[1], &node);
        if (!what && n > 2 && is_greenlet(args[2])) {
            /* Timeout._on_expiration(greenlet, exception) throws into the greenlet. */
            PyObject *name = peek(args[1], s_name);
            if (name && PyUnicode_Check(name) && PyUnicode_Compare(name, s_on_expiration) == 0) {
                node = node_of((Greenlet *)args[2]);
                what = 2;
            }
            Py_XDECREF(name);
        }
        if (what) {
            result = call(h, args, nargsf, kwnames);
            if (result && gt.recording && delay >= 0)
                say_timer(args[0], now_ns() + (uint64_t)delay, node, what == 2 ? GT_TIMER_THROWS : 0, 0);
            return result;
        }
        if (!PyCallable_Check(args[1]))
            /* gevent says what is wrong with it. */
            return call(h, args, nargsf, kwnames);
        Node *me = current_node();
        result = call_with_fire(h, GT_WAKER_TIMER, args, n, kwnames);
        if (result && gt.recording && delay >= 0)
            say_timer(args[0], now_ns() + (uint64_t)delay, me, GT_TIMER_CALLS, 0);
        return result;
    }
    case GE_LINK:
    case GE_UNLINK: {
        PyObject *waiter = n > 1 ? peek(args[1], s_self) : NULL;
        size_t length = waiter ? strlen(Py_TYPE(waiter)->tp_name) : 0;
        if (length >= 14 && !strcmp(Py_TYPE(waiter)->tp_name + length - 14, "MultipleWaiter")) {
            Node *node = current_node();
            uint32_t resource;
            uint8_t op = GT_OP_WAIT;
            if (is_greenlet(args[0])) {
                resource = resource_of_join(node_of((Greenlet *)args[0]));
                op = GT_OP_JOIN;
            }
            else {
                Resource *r = resource_of(args[0], GT_KIND_UNKNOWN);
                resource = r ? r->id : GT_RESOURCE_UNKNOWN;
            }
            if (h->role == GE_LINK)
                say_link(node, resource, op);
            else
                say_unlink(node, resource);
        }
        Py_XDECREF(waiter);
        return call(h, args, nargsf, kwnames);
    }
    case GE_CALLBACK: {
        result = call(h, args, nargsf, kwnames);
        if (!result || n < 2 || !gt.recording)
            return result;
        Node *node, *me = current_node();
        if (target_of_callback(args[1], &node))
            say_wake_by(node, me);
        else if (n > 2)
            ge_will_call(args[1], args + 2, n - 2, me);
        return result;
    }
    default:
        return call(h, args, nargsf, kwnames);
    }
}

/* ---- the descriptor --------------------------------------------------------------------------------------------- */

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
        return call_waiting(h, node, r ? r->id : 0, h->op, args, nargsf, kwnames);
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

/* Name, documentation, signature: whoever looks sees the original's. */
static PyObject *
hook_getattro(PyObject *self, PyObject *name)
{
    Hook *h = (Hook *)self;
    if (PyUnicode_Check(name) && PyUnicode_CompareWithASCIIString(name, "__wrapped__") == 0)
        return Py_NewRef(h->wrapped);
    if (PyUnicode_Check(name) && PyUnicode_CompareWithASCIIString(name, "__class__") && PyUnicode_CompareWithASCIIString(name, "__get__")
        && PyUnicode_CompareWithASCIIString(name, "__call__")) {
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
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!(*words[i].slot = PyUnicode_InternFromString(words[i].text)))
            return -1;
    return PyType_Ready(&HookType) < 0 || PyType_Ready(&FireType) < 0 ? -1 : 0;
}
