/* Module: the face of the native recorder. greentrace.record.twin has the same one in Python.

   The functions of the second half are the vocabulary itself: the built-in hub calls them as its observer. One room,
   because a Python module is one table of methods, most of which are a few lines each. */
#include "core.h"

#include <pthread.h>
#include <sys/mman.h>

PyObject *s_tag, *s_switch, *s_throw, *s_gr_frame, *s_self, *s_name, *s__run, *s_run;
void **greenlet_api;

PyObject *trace_function, *greenlet_settrace, *greenlet_gettrace;

/* ---- switches --------------------------------------------------------------------------------------------------- */

/* Somebody sits on top of us: it stays, and what it calls of ours only passes on to what was there before us. */
void
sit_below(Thread *th)
{
    if (th->chained)
        Py_XSETREF(th->below, th->chained);
    th->chained = NULL;
    th->tracing = 0;
}

/* Nobody records: our function takes itself out of a thread that could not be reached when recording ended. Returns what was there before. */
static PyObject *
leave_thread(Thread *th)
{
    PyObject *here = PyObject_CallNoArgs(greenlet_gettrace), *before = NULL;
    if (here != trace_function)
        before = th ? Py_XNewRef(th->below) : NULL;
    else {
        if (th && th->tracing) {
            before = th->chained;
            th->chained = NULL;
            th->tracing = 0;
        }
        else if (!th) {
            Greenlet *up = main_of_thread();
            before = take_chained(up);
            if (before == Py_None)
                Py_CLEAR(before);
            Py_XDECREF(up);
        }
        PyObject *out = PyObject_CallOneArg(greenlet_settrace, before ? before : Py_None);
        Py_XDECREF(out);
    }
    Py_XDECREF(here);
    PyErr_Clear();
    return before;
}

/* greenlet calls this in the target after each switch. A tracer that was there before is called as if we were not. */
static PyObject *
trace(PyObject *module, PyObject *const *args, Py_ssize_t n)
{
    if (n != 2)
        Py_RETURN_NONE;
    Thread *th = gt.recording ? this_thread() : self_thread;
    if (th && !th->tracing)
        adopt_chained(th);
    PyObject *before;
    if (th && th->calling)
        /* It is on top of us from an earlier recording, and below us from this one. */
        before = Py_XNewRef(th->below);
    else if (gt.quiet)
        before = th ? Py_XNewRef(th->chained ? th->chained : th->below) : NULL;
    else if (!gt.recording)
        before = leave_thread(th);
    else {
        /* A tracer that was put on top of us may call with anything. */
        if (PyUnicode_Check(args[0]) && PyTuple_Check(args[1]) && PyTuple_GET_SIZE(args[1]) == 2
            && is_greenlet(PyTuple_GET_ITEM(args[1], 0)) && is_greenlet(PyTuple_GET_ITEM(args[1], 1)))
            say_switch(args[0], (Greenlet *)PyTuple_GET_ITEM(args[1], 0), (Greenlet *)PyTuple_GET_ITEM(args[1], 1));
        before = Py_XNewRef(th->chained ? th->chained : th->below);
    }
    if (!before)
        Py_RETURN_NONE;
    uint8_t outer = th ? th->calling : 0;
    if (th)
        th->calling = 1;
    PyObject *result = PyObject_Vectorcall(before, args, 2, NULL);
    if (th)
        th->calling = outer;
    if (!result && th && before == th->chained) {
        /* greenlet takes a tracer out that raises: the one before us has, so it is out and we are the tracer again. */
        PyObject *type, *value, *traceback;
        PyErr_Fetch(&type, &value, &traceback);
        Py_CLEAR(th->chained);
        PyErr_Restore(type, value, traceback);
        th->tracing = 0;
    }
    Py_DECREF(before);
    return result;
}

static PyMethodDef trace_method = {"greentrace", (PyCFunction)(void (*)(void))trace, METH_FASTCALL, "The recorder's trace function."};

static PyObject *
start_thread(PyObject *module, PyObject *ignored)
{
    /* Asked for in time, and done too late: by a hub that was asked to call us. */
    if (!gt.recording)
        Py_RETURN_NONE;
    Thread *th = this_thread();
    if (!th->tracing)
        adopt_chained(th);
    if (th->tracing)
        Py_RETURN_NONE;
    current_node();
    if (th->tracing)
        Py_RETURN_NONE;
    PyObject *before = PyObject_CallOneArg(greenlet_settrace, trace_function);
    if (!before)
        return NULL;
    th->tracing = 1;
    if (before != Py_None && before != trace_function)
        Py_XSETREF(th->chained, before);
    else
        Py_DECREF(before);
    Py_RETURN_NONE;
}

/* A thread that speaks is traced from then on; that it cannot be must not land in the program. */
void
trace_thread(void)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    Py_XDECREF(start_thread(NULL, NULL));
    PyErr_Restore(type, value, traceback);
}

static PyObject *
stop_thread(PyObject *module, PyObject *ignored)
{
    Thread *th = self_thread;
    if (th && !th->tracing)
        adopt_chained(th);
    if (!th || !th->tracing)
        Py_RETURN_TRUE;
    PyObject *here = PyObject_CallNoArgs(greenlet_gettrace);
    int on_top = here == trace_function;
    Py_XDECREF(here);
    if (!here)
        return NULL;
    if (!on_top) {
        sit_below(th);
        Py_RETURN_FALSE;
    }
    th->tracing = 0;
    PyObject *chained = th->chained;
    th->chained = NULL;
    PyObject *ours = PyObject_CallOneArg(greenlet_settrace, chained ? chained : Py_None);
    Py_XDECREF(chained);
    if (!ours)
        return NULL;
    Py_DECREF(ours);
    Py_RETURN_TRUE;
}

/* ---- creation of greenlets -------------------------------------------------------------------------------------- */

static newfunc greenlet_new;

static PyObject *
recorded_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *g = greenlet_new(type, args, kwargs);
    if (g && gt.recording && is_greenlet(g)) {
        if (!this_thread()->tracing)
            trace_thread();
        Node *node = node_of_new((Greenlet *)g, current_node());
        /* Of these types it is known that the first argument is the function; it may be gone before the first switch. */
        if (!node->name && PyTuple_GET_SIZE(args) && (type == GREENLET_TYPE || map_get(&gt.named_types, type)))
            name_by_function(node, PyTuple_GET_ITEM(args, 0), 0);
    }
    return g;
}

static void
replace_new(PyTypeObject *type, newfunc from, newfunc to)
{
    if (type->tp_new == from)
        type->tp_new = to;
    PyObject *children = PyObject_CallMethod((PyObject *)type, "__subclasses__", NULL);
    for (Py_ssize_t i = 0; children && i < PyList_GET_SIZE(children); i++)
        replace_new((PyTypeObject *)PyList_GET_ITEM(children, i), from, to);
    if (!children)
        PyErr_Clear();
    Py_XDECREF(children);
}

static PyObject *
watch_creation(PyObject *module, PyObject *on)
{
    if (PyObject_IsTrue(on)) {
        if (!greenlet_new)
            greenlet_new = GREENLET_TYPE->tp_new;
        replace_new(GREENLET_TYPE, greenlet_new, recorded_new);
    }
    else if (greenlet_new)
        replace_new(GREENLET_TYPE, recorded_new, greenlet_new);
    Py_RETURN_TRUE;
}

/* ---- patching types --------------------------------------------------------------------------------------------- */

static PyObject *
patch(PyObject *module, PyObject *args)
{
    PyTypeObject *type;
    PyObject *name, *value;
    if (!PyArg_ParseTuple(args, "O!UO", &PyType_Type, &type, &name, &value))
        return NULL;
    int failed = value == Py_None ? PyDict_DelItem(type->tp_dict, name) : PyDict_SetItem(type->tp_dict, name, value);
    if (failed < 0)
        return NULL;
    PyType_Modified(type);
    Py_RETURN_NONE;
}

/* __init__ of a static type is a slot, which its subclasses have copied. Newer Cython also makes a way around it: tp_vectorcall. */
typedef struct {
    PyTypeObject *type;
    initproc original;
    vectorcallfunc vectorcall;
    uint8_t kind;
} InitPatch;

static InitPatch init_patches[32];
static int init_count;
static PyObject *s_counter_name;

/* The same for tp_iternext, which no lookup in a dict comes by. */
typedef struct {
    PyTypeObject *type;
    iternextfunc original;
    uint8_t kind;
} NextPatch;

static NextPatch next_patches[16];
static int next_count;

static int
recorded_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    for (PyTypeObject *t = Py_TYPE(self); t; t = t->tp_base)
        for (int i = 0; i < init_count; i++)
            if (init_patches[i].type == t) {
                /* The table may be another one afterwards. */
                uint8_t given = init_patches[i].kind;
                int failed = init_patches[i].original(self, args, kwargs);
                if (!failed && gt.recording) {
                    uint64_t capacity = UINT64_MAX;
                    uint8_t kind = kind_of(self, given);
                    current_node();
                    if (kind == GT_KIND_SEMAPHORE) {
                        PyObject *counter = PyObject_GetAttr(self, s_counter_name);
                        if (counter && PyLong_Check(counter))
                            capacity = (uint64_t)PyLong_AsLong(counter);
                        Py_XDECREF(counter);
                        PyErr_Clear();
                    }
                    resource_created(self, given, capacity);
                }
                return failed;
            }
    PyErr_SetString(PyExc_SystemError, "greentrace: an __init__ was replaced for a type that is not known");
    return -1;
}

static void
replace_init(PyTypeObject *type, initproc from, initproc to)
{
    if (type->tp_init == from)
        type->tp_init = to;
    PyObject *children = PyObject_CallMethod((PyObject *)type, "__subclasses__", NULL);
    for (Py_ssize_t i = 0; children && i < PyList_GET_SIZE(children); i++)
        replace_init((PyTypeObject *)PyList_GET_ITEM(children, i), from, to);
    if (!children)
        PyErr_Clear();
    Py_XDECREF(children);
}

static PyObject *
patch_init(PyObject *module, PyObject *args)
{
    PyTypeObject *type;
    int kind;
    if (!PyArg_ParseTuple(args, "O!i", &PyType_Type, &type, &kind))
        return NULL;
    if (init_count == 32 || !type->tp_init)
        Py_RETURN_FALSE;
    /* It may have inherited a patched slot: then the nearest base, the last of them here, has the original. */
    initproc original = type->tp_init;
    for (int i = init_count - 1; i >= 0 && original == recorded_init; i--) {
        if (init_patches[i].type == type)
            Py_RETURN_FALSE;
        if (PyType_IsSubtype(type, init_patches[i].type))
            original = init_patches[i].original;
    }
    Py_INCREF(type);
    init_patches[init_count++] = (InitPatch){type, original, type->tp_vectorcall, (uint8_t)kind};
    type->tp_vectorcall = NULL;
    replace_init(type, type->tp_init, recorded_init);
    Py_RETURN_TRUE;
}

static PyObject *
recorded_next(PyObject *self)
{
    for (PyTypeObject *t = Py_TYPE(self); t; t = t->tp_base)
        for (int i = 0; i < next_count; i++)
            if (next_patches[i].type == t)
                return gt.recording ? next_recorded(self, next_patches[i].original, next_patches[i].kind) : next_patches[i].original(self);
    PyErr_SetString(PyExc_SystemError, "greentrace: an iteration was replaced for a type that is not known");
    return NULL;
}

static void
replace_next(PyTypeObject *type, iternextfunc from, iternextfunc to)
{
    if (type->tp_iternext == from)
        type->tp_iternext = to;
    PyObject *children = PyObject_CallMethod((PyObject *)type, "__subclasses__", NULL);
    for (Py_ssize_t i = 0; children && i < PyList_GET_SIZE(children); i++)
        replace_next((PyTypeObject *)PyList_GET_ITEM(children, i), from, to);
    if (!children)
        PyErr_Clear();
    Py_XDECREF(children);
}

static PyObject *
patch_next(PyObject *module, PyObject *args)
{
    PyTypeObject *type;
    int kind;
    if (!PyArg_ParseTuple(args, "O!i", &PyType_Type, &type, &kind))
        return NULL;
    /* A class in Python looks its __next__ up; a subtype that has its base's slot is seen with it. */
    if (next_count == 16 || !type->tp_iternext || type->tp_iternext == recorded_next || type->tp_flags & Py_TPFLAGS_HEAPTYPE)
        Py_RETURN_FALSE;
    Py_INCREF(type);
    next_patches[next_count++] = (NextPatch){type, type->tp_iternext, (uint8_t)kind};
    replace_next(type, type->tp_iternext, recorded_next);
    Py_RETURN_TRUE;
}

static PyObject *
unpatch_inits(PyObject *module, PyObject *ignored)
{
    for (int i = next_count - 1; i >= 0; i--) {
        replace_next(next_patches[i].type, recorded_next, next_patches[i].original);
        Py_DECREF(next_patches[i].type);
    }
    next_count = 0;
    for (int i = init_count - 1; i >= 0; i--) {
        replace_init(init_patches[i].type, recorded_init, init_patches[i].original);
        init_patches[i].type->tp_vectorcall = init_patches[i].vectorcall;
        Py_DECREF(init_patches[i].type);
    }
    init_count = 0;
    Py_RETURN_NONE;
}

/* ---- the session ------------------------------------------------------------------------------------------------ */

static PyObject *
start(PyObject *module, PyObject *args)
{
    const char *path;
    int depth = 32;
    if (!PyArg_ParseTuple(args, "s|i", &path, &depth))
        return NULL;
    if (gt.map && gt.recording)
        return PyErr_Format(PyExc_RuntimeError, "recording already");
    let_go();
    if (ring_map(path) < 0)
        return PyErr_SetFromErrnoWithFilename(PyExc_OSError, path);
    gt.depth = depth < 1 ? 1 : depth > GT_MAX_DEPTH ? GT_MAX_DEPTH : depth;
    if (!gt.next_greenlet) {
        gt.next_greenlet = gt.next_timer = gt.next_listener = 1;
        gt.next_resource = GT_FIRST_RESOURCE;
    }
    gt.recording = 1;
    this_thread();
    Py_RETURN_NONE;
}

static PyObject *
stop(PyObject *module, PyObject *ignored)
{
    watchdog_stop();
    if (gt.recording || gt.quiet) {
        gt.recording = gt.quiet = 0;
        __atomic_store_n(&gt.words[20], 2, __ATOMIC_RELEASE);
    }
    Py_RETURN_NONE;
}

/* While everything is being hooked, or again let go, nobody is told of the half of it. */
static PyObject *
quiet(PyObject *module, PyObject *on)
{
    int wanted = PyObject_IsTrue(on) == 1;
    if (wanted && gt.recording) {
        gt.recording = 0;
        gt.quiet = 1;
    }
    else if (!wanted && gt.quiet) {
        gt.recording = 1;
        gt.quiet = 0;
    }
    Py_RETURN_NONE;
}

/* Everything that is known of what lives goes, and what stands for it in the program with it. Numbers go on from here. */
static PyObject *
forget(PyObject *module, PyObject *ignored)
{
    if (!gt.recording && !gt.quiet)
        let_go();
    Py_RETURN_NONE;
}

/* In the child of a fork, before anything else: the ring is the parent's until `forked` comes, and others are asked before us. */
static void
fork_child(void)
{
    gt.recording = gt.quiet = 0;
}

/* In the child of a fork: go on in the ring at `path`, or stop when it is None. The parent's ring is not touched. */
static PyObject *
forked(PyObject *module, PyObject *args)
{
    const char *path;
    unsigned long long parent;
    if (!PyArg_ParseTuple(args, "zK", &path, &parent))
        return NULL;
    gt.recording = gt.quiet = 0;
    char *old_map = gt.map;
    size_t old_size = gt.map_bytes;
    const char *old_names = gt.names;
    uint64_t old_bytes = gt.words ? gt.words[17] : 0;
    gt.quiet = 0;
    if (!path) {
        ring_unmap();
        Py_RETURN_NONE;
    }
    if (ring_map(path) < 0)
        return PyErr_SetFromErrnoWithFilename(PyExc_OSError, path);
    if (old_names)
        ring_adopt_names(old_names, old_bytes);
    if (old_map)
        munmap(old_map, old_size);
    gt.recording = 1;
    after_fork(parent);
    Py_RETURN_NONE;
}

static PyObject *
watch_hogs(PyObject *module, PyObject *limit)
{
    int64_t limit_ns = PyLong_Check(limit) ? PyLong_AsLongLong(limit) : 0;
    if (PyErr_Occurred())
        return NULL;
    if (limit_ns <= 0)
        watchdog_stop();
    return PyBool_FromLong(limit_ns <= 0 || watchdog_start((uint64_t)limit_ns) == 0);
}

static PyObject *
set_kind(PyObject *module, PyObject *args)
{
    PyObject *type;
    int kind;
    if (!PyArg_ParseTuple(args, "O!i", &PyType_Type, &type, &kind))
        return NULL;
    if (!map_get(&gt.kind_by_type, type))
        Py_INCREF(type);
    map_set(&gt.kind_by_type, type, (void *)(uintptr_t)(kind + 1));
    Py_RETURN_NONE;
}

static PyObject *
set_maker(PyObject *module, PyObject *args)
{
    PyObject *code;
    int kind;
    if (!PyArg_ParseTuple(args, "O!i", &PyCode_Type, &code, &kind))
        return NULL;
    if (!map_get(&gt.kind_by_maker, code))
        Py_INCREF(code);
    map_set(&gt.kind_by_maker, code, (void *)(uintptr_t)(kind + 1));
    Py_RETURN_NONE;
}

static PyObject *
stands_for(PyObject *module, PyObject *args)
{
    PyObject *object, *owner;
    int kind;
    if (!PyArg_ParseTuple(args, "OOi", &object, &owner, &kind))
        return NULL;
    if (gt.recording) {
        current_node();
        resource_alias(object, owner, (uint8_t)kind);
    }
    Py_RETURN_NONE;
}

static PyObject *
add_type(PtrMap *types, PyObject *type)
{
    if (!PyType_Check(type))
        return PyErr_Format(PyExc_TypeError, "takes a type");
    if (!map_get(types, type)) {
        Py_INCREF(type);
        map_set(types, type, type);
    }
    Py_RETURN_NONE;
}

static PyObject *
set_hub_type(PyObject *module, PyObject *type)
{
    return add_type(&gt.hub_types, type);
}

static PyObject *
set_named_type(PyObject *module, PyObject *type)
{
    return add_type(&gt.named_types, type);
}

static PyObject *
add_path(PyObject *module, PyObject *args)
{
    const char *prefix;
    int flag;
    if (!PyArg_ParseTuple(args, "si", &prefix, &flag))
        return NULL;
    names_add_path(prefix, (uint8_t)flag);
    Py_RETURN_NONE;
}

static PyObject *
counts(PyObject *module, PyObject *ignored)
{
    Py_ssize_t greenlets = 0, resources = 0;
    for (Node *n = gt.nodes; n; n = n->next)
        greenlets++;
    for (Resource *r = gt.resources; r; r = r->next)
        resources++;
    return Py_BuildValue("{s:n,s:n,s:n,s:n,s:K}", "greenlets", greenlets, "resources", resources, "timers", (Py_ssize_t)gt.timer_by_object.used,
                         "listeners", (Py_ssize_t)gt.listener_by_object.used, "events", (unsigned long long)gt.head);
}

static PyObject *
is_recording(PyObject *module, PyObject *ignored)
{
    return PyBool_FromLong(gt.recording || gt.quiet);
}

/* ---- the vocabulary, as the built-in hub speaks it ---------------------------------------------------------------- */

#define VOCABULARY(name) static PyObject *say_##name##_(PyObject *module, PyObject *const *a, Py_ssize_t n)
#define NEEDS(count)                                                                                                    \
    if (n < (count))                                                                                                    \
        return PyErr_Format(PyExc_TypeError, "takes %d arguments", (count));                                            \
    if (!gt.recording)                                                                                                  \
    Py_RETURN_NONE

static Node *
node_or_null(PyObject *g)
{
    return is_greenlet(g) ? node_of((Greenlet *)g) : NULL;
}

static int64_t
integer(PyObject *value)
{
    int64_t number = PyLong_Check(value) ? PyLong_AsLongLong(value) : 0;
    if (number == -1 && PyErr_Occurred())
        PyErr_Clear();
    return number;
}

VOCABULARY(hub)
{
    NEEDS(1);
    current_node();
    /* It may have been found before it says so itself. */
    if (is_greenlet(a[0]) && !(node_of((Greenlet *)a[0])->flags & NODE_HUB))
        say_hub(node_of((Greenlet *)a[0]), NULL);
    Py_RETURN_NONE;
}

VOCABULARY(name)
{
    NEEDS(2);
    Node *node = node_or_null(a[0]);
    if (node)
        say_name(node, a[1], n > 2 && PyObject_IsTrue(a[2]) == 1 ? GT_NAME_GIVEN : 0);
    Py_RETURN_NONE;
}

VOCABULARY(park)
{
    NEEDS(3);
    Node *node = current_node();
    int64_t op = integer(a[0]), kind = integer(a[2]);
    uint32_t resource = GT_RESOURCE_UNKNOWN;
    if (op == GT_OP_SLEEP)
        resource = GT_RESOURCE_SLEEP;
    else if (kind == GT_KIND_FD)
        resource = resource_of_fd((int)integer(a[1]));
    else if (kind == GT_KIND_GREENLET && is_greenlet(a[1]))
        resource = resource_of_join(node_of((Greenlet *)a[1]));
    else if (a[1] != Py_None) {
        Resource *r = resource_of(a[1], (uint8_t)kind);
        resource = r ? r->id : 0;
    }
    if (!node->intent_depth) {
        node->intent_count = 0;
        node->intent_depth = 1;
    }
    add_intent(node, resource, (uint8_t)op);
    Py_RETURN_NONE;
}

VOCABULARY(unpark)
{
    if (gt.recording)
        current_node()->intent_depth = 0;
    Py_RETURN_NONE;
}

VOCABULARY(wake)
{
    NEEDS(1);
    Node *node = node_or_null(a[0]), *me = current_node();
    Thread *th = this_thread();
    if (!node)
        Py_RETURN_NONE;
    if (!(me->flags & NODE_HUB))
        say_wake(node, GT_WAKER_GREENLET, me->id, 0);
    else if (th->cause)
        say_wake(node, th->cause, th->cause_id, th->cause_resource);
    else
        say_wake(node, GT_WAKER_CALLBACK, 0, 0);
    Py_RETURN_NONE;
}

VOCABULARY(resource)
{
    NEEDS(3);
    current_node();
    resource_created(a[0], (uint8_t)integer(a[1]), (uint64_t)integer(a[2]));
    /* A pool may tell again how large it is. */
    Resource *r = integer(a[1]) == GT_KIND_POOL ? resource_find(a[0]) : NULL;
    if (r)
        resource_resized(r, (uint64_t)integer(a[2]));
    Py_RETURN_NONE;
}

VOCABULARY(acquire)
{
    NEEDS(2);
    Node *node = current_node();
    Resource *r = resource_of(a[0], (uint8_t)integer(a[1]));
    if (r)
        say_acquire(node, r);
    Py_RETURN_NONE;
}

VOCABULARY(release)
{
    NEEDS(2);
    Node *node = current_node();
    Resource *r = resource_of(a[0], (uint8_t)integer(a[1]));
    if (r)
        say_release(node, r);
    Py_RETURN_NONE;
}

static PyObject *
touch(uint8_t kind, uint8_t resource_kind, PyObject *const *a, Py_ssize_t n)
{
    NEEDS(1);
    Node *node = current_node();
    Resource *r = resource_of(a[0], resource_kind);
    if (r)
        say_touch(kind, node, r, n > 1 ? (uint64_t)integer(a[1]) + 1 : 0);
    Py_RETURN_NONE;
}

VOCABULARY(put) { return touch(GT_PUT, GT_KIND_QUEUE, a, n); }
VOCABULARY(get) { return touch(GT_GET, GT_KIND_QUEUE, a, n); }
VOCABULARY(set) { return touch(GT_SET, GT_KIND_EVENT, a, n); }
VOCABULARY(clear) { return touch(GT_CLEAR, GT_KIND_EVENT, a, n); }

VOCABULARY(fd_open)
{
    NEEDS(1);
    say_fd_open((int)integer(a[0]));
    Py_RETURN_NONE;
}

VOCABULARY(fd_close)
{
    NEEDS(1);
    this_thread();
    say_fd_close((int)integer(a[0]));
    Py_RETURN_NONE;
}

VOCABULARY(fd_add)
{
    NEEDS(3);
    current_node();
    say_listen(fd_key(integer(a[0]), integer(a[1])), (int)integer(a[0]), (uint8_t)integer(a[1]), node_or_null(a[2]));
    Py_RETURN_NONE;
}

VOCABULARY(fd_remove)
{
    NEEDS(2);
    this_thread();
    say_unlisten(fd_key(integer(a[0]), integer(a[1])));
    Py_RETURN_NONE;
}

VOCABULARY(fd_ready)
{
    NEEDS(2);
    this_thread();
    say_ready((int)integer(a[0]), (uint8_t)integer(a[1]));
    Py_RETURN_NONE;
}

VOCABULARY(timer_add)
{
    NEEDS(4);
    Node *node = node_or_null(a[2]);
    Node *me = current_node();
    uint8_t flags = node ? (PyObject_IsTrue(a[3]) == 1 ? GT_TIMER_THROWS : 0) : GT_TIMER_CALLS;
    say_timer(a[0], (uint64_t)integer(a[1]), node ? node : me, flags, 0);
    Py_RETURN_NONE;
}

VOCABULARY(timer_cancel)
{
    NEEDS(1);
    this_thread();
    say_timer_end(a[0], 0);
    Py_RETURN_NONE;
}

VOCABULARY(timer_fire)
{
    NEEDS(1);
    this_thread();
    say_timer_end(a[0], 1);
    Py_RETURN_NONE;
}

VOCABULARY(callback)
{
    NEEDS(1);
    this_thread()->cause = 0;
    say_text(GT_CALLBACK, a[0]);
    Py_RETURN_NONE;
}

VOCABULARY(poll_begin)
{
    NEEDS(1);
    this_thread()->cause = 0;
    say_poll_begin(integer(a[0]));
    Py_RETURN_NONE;
}

VOCABULARY(poll_end)
{
    NEEDS(1);
    /* It may have been over before: somebody ran. */
    if (this_thread()->polling)
        say_poll_end(integer(a[0]));
    Py_RETURN_NONE;
}

VOCABULARY(error)
{
    NEEDS(1);
    say_text(GT_ERROR, a[0]);
    Py_RETURN_NONE;
}

VOCABULARY(mark)
{
    NEEDS(1);
    current_node();
    say_text(GT_MARK, a[0]);
    Py_RETURN_NONE;
}

/* Something calls for a snapshot. Anybody may say so, a thread that is not recorded too: it does not become one of the program's. */
VOCABULARY(trigger)
{
    NEEDS(1);
    uint32_t who = self_thread && self_thread->current ? self_thread->current->id : 0;
    uint32_t site = self_thread ? site_of_current() : 0;
    emit(GT_TRIGGER, 0, now_ns(), who, 0, site, intern_string(a[0]));
    Py_RETURN_NONE;
}

VOCABULARY(patched)
{
    NEEDS(1);
    say_text(GT_PATCH, a[0]);
    Py_RETURN_NONE;
}

/* A fork is about to happen in this process. */
VOCABULARY(forking)
{
    if (gt.recording)
        emit(GT_FORK, 0, now_ns(), current_node()->id, 0, 0, 0);
    Py_RETURN_NONE;
}

#define SAY(name, doc) {#name, (PyCFunction)(void (*)(void))say_##name##_, METH_FASTCALL, doc}

static PyMethodDef methods[] = {
    {"start", start, METH_VARARGS, "start(ring_path, depth=32): record into the ring."},
    {"stop", stop, METH_NOARGS, "Record no more."},
    {"forked", forked, METH_VARARGS, "forked(ring_path or None, parent_pid): in the child of a fork."},
    {"start_thread", start_thread, METH_NOARGS, "Trace the switches of this thread."},
    {"stop_thread", stop_thread, METH_NOARGS, "Give this thread's tracer back; False when another one sits on top."},
    {"start_other", start_other, METH_O, "start_other(main greenlet): the same for its thread. True; False: it has ended; None: impossible."},
    {"stop_other", stop_other, METH_O, "stop_other(main greenlet): the same for its thread. True; False: another one on top; None: impossible."},
    {"tracing", tracing, METH_NOARGS, "The native ids of the threads that are traced."},
    {"instances", instances, METH_O, "instances(types): the objects of exactly these types."},
    {"quiet", quiet, METH_O, "quiet(on): tell nothing for a while."},
    {"forget", forget, METH_NOARGS, "Let go of everything that is known, after stop()."},
    {"watch_creation", watch_creation, METH_O, "watch_creation(on): see every greenlet that is made."},
    {"hook", (PyCFunction)(void (*)(void))hook_new, METH_VARARGS | METH_KEYWORDS, "hook(wrapped, role, kind=0, op=0, extra=None)."},
    {"patch", patch, METH_VARARGS, "patch(type, name, value or None): write into a type's dict, immutable or not."},
    {"patch_init", patch_init, METH_VARARGS, "patch_init(type, kind): see the creation of a static type's instances."},
    {"patch_next", patch_next, METH_VARARGS, "patch_next(type, kind): see the iteration over a static type's instances."},
    {"unpatch_inits", unpatch_inits, METH_NOARGS, "Undo every patch_init and patch_next."},
    {"watch_hogs", watch_hogs, METH_O, "watch_hogs(limit_ns): tell who keeps a thread for longer, 0 for no more; False when there is no thread to be had."},
    {"set_kind", set_kind, METH_VARARGS, "set_kind(type, kind): what instances of the type are."},
    {"set_maker", set_maker, METH_VARARGS, "set_maker(code, kind): what a resource is that this code makes."},
    {"stands_for", stands_for, METH_VARARGS, "stands_for(obj, owner, kind): obj is another name of the resource owner."},
    {"set_hub_type", set_hub_type, METH_O, "set_hub_type(type): greenlets of the type are hubs."},
    {"set_named_type", set_named_type, METH_O, "set_named_type(type): greenlets of the type are switched to with their function first."},
    {"add_path", add_path, METH_VARARGS, "add_path(prefix, flag): whose code the files below are."},
    {"counts", counts, METH_NOARGS, "How much lives in the recorder's tables."},
    {"is_recording", is_recording, METH_NOARGS, "Whether events are written."},
    SAY(hub, "hub(greenlet)"),
    SAY(name, "name(greenlet, text, given=False)"),
    SAY(park, "park(op, resource, kind)"),
    SAY(unpark, "unpark()"),
    SAY(wake, "wake(greenlet)"),
    SAY(resource, "resource(obj, kind, capacity)"),
    SAY(acquire, "acquire(obj, kind)"),
    SAY(release, "release(obj, kind)"),
    SAY(put, "put(obj, size)"),
    SAY(get, "get(obj, size)"),
    SAY(set, "set(obj)"),
    SAY(clear, "clear(obj)"),
    SAY(fd_open, "fd_open(fd)"),
    SAY(fd_close, "fd_close(fd)"),
    SAY(fd_add, "fd_add(fd, mode, greenlet)"),
    SAY(fd_remove, "fd_remove(fd, mode, greenlet)"),
    SAY(fd_ready, "fd_ready(fd, mode, greenlet)"),
    SAY(timer_add, "timer_add(timer, due_ns, greenlet, throws)"),
    SAY(timer_cancel, "timer_cancel(timer)"),
    SAY(timer_fire, "timer_fire(timer)"),
    SAY(callback, "callback(name)"),
    SAY(poll_begin, "poll_begin(timeout_ns)"),
    SAY(poll_end, "poll_end(count)"),
    SAY(error, "error(text)"),
    SAY(mark, "mark(text)"),
    SAY(trigger, "trigger(text)"),
    SAY(patched, "patched(text)"),
    SAY(forking, "forking()"),
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "greentrace.record._native",
    .m_doc = "The native recorder: see greentrace/record/recorder.py for its face.",
    .m_size = -1,
    .m_methods = methods,
};

PyMODINIT_FUNC
PyInit__native(void)
{
    greenlet_api = (void **)PyCapsule_Import("greenlet._C_API", 0);
    if (!greenlet_api)
        return NULL;
    struct {
        PyObject **slot;
        const char *text;
    } words[] = {
        {&s_tag, "__greentrace__"}, {&s_switch, "switch"}, {&s_throw, "throw"},         {&s_gr_frame, "gr_frame"},
        {&s_self, "__self__"},      {&s_name, "__name__"}, {&s_counter_name, "counter"},
        {&s__run, "_run"}, {&s_run, "run"},
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!(*words[i].slot = PyUnicode_InternFromString(words[i].text)))
            return NULL;
    if (PyType_Ready(&TagType) < 0 || PyType_Ready(&WatchType) < 0 || PyType_Ready(&WitnessType) < 0 || hooks_ready() < 0)
        return NULL;
    PyObject *greenlet = PyImport_ImportModule("greenlet");
    greenlet_settrace = greenlet ? PyObject_GetAttrString(greenlet, "settrace") : NULL;
    greenlet_gettrace = greenlet ? PyObject_GetAttrString(greenlet, "gettrace") : NULL;
    Py_XDECREF(greenlet);
    PyObject *module = greenlet_settrace && greenlet_gettrace ? PyModule_Create(&definition) : NULL;
    if (!module)
        return NULL;
    pthread_atfork(NULL, NULL, fork_child);
    trace_function = PyCFunction_New(&trace_method, NULL);
    if (!trace_function || PyModule_AddObjectRef(module, "trace", trace_function) < 0 || PyModule_AddFunctions(module, discovery_methods) < 0
        || PyModule_AddFunctions(module, found_methods) < 0)
        return NULL;
    return module;
}
