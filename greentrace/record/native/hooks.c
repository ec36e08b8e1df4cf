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
    POOL_ENTER,      /* the same; afterwards its first argument, else its result, has a place in the pool that is self */
    POOL_LEAVE,      /* (pool, greenlet): it has given its place back */
    APART,           /* what it waits for inside is waited for by itself, whatever was announced before */
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
    HUB_CREATED,     /* __init__ of a hub that keeps its greenlet in .greenlet */
    HUB_RUNS,        /* called in the hub's greenlet */
    FD_OPENED,       /* (hub, fd) */
    FD_CLOSED,       /* (hub or loop, fd) */
    EV_ADD,          /* eventlet: hub.add(evtype, fd, ...) -> listener */
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
    PYTHON,          /* rare: extra(result, *args) afterwards */
    ROLE_COUNT,
} Role;

static const char *const role_names[ROLE_COUNT] = {
    "wait",        "join",      "composite", "pool_enter", "pool_leave", "apart", "acquire",  "enter",      "release",   "release_all",     "acquire_again",
    "set",         "clear",     "put",       "get",      "created",    "hub_created", "hub_runs",      "fd_opened",
    "fd_closed",   "ev_add",    "ev_remove", "ev_timer", "ev_timer_cancel", "ev_timer_call", "ev_poll", "ev_wait",
    "ge_wait",     "ge_io_start", "ge_timer_start", "ge_stop", "ge_link", "ge_unlink", "ge_callback", "python",
};

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *wrapped, *extra;
    uint8_t role, kind, op;
} Hook;

static PyObject *s_greenlet, *s_fd, *s_events, *s_at, *s_after, *s_counter, *s_size, *s_coroutines_running, *s_seconds, *s_tpl, *s_called, *s_read, *s_do_send, *s_kill, *s_qualname, *s_trampoline_timeout, *s_on_expiration;

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
    if (!value)
        PyErr_Clear();
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

/* ---- timers of gevent with a plain callback: only the call itself shows that they fired ----------------------------- */

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *callback;
    void *key;
} Fire;

static PyObject *
fire_call(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    Fire *fire = (Fire *)self;
    if (!gt.recording)
        return PyObject_Vectorcall(fire->callback, args, nargsf, kwnames);
    Thread *th = this_thread();
    say_timer_end(fire->key, 1);
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
    .tp_doc = "A timer's callback that tells that the timer fired.",
};

static PyObject *
fire_new(PyObject *callback, void *key)
{
    Fire *fire = PyObject_GC_New(Fire, &FireType);
    if (!fire)
        return NULL;
    fire->vectorcall = fire_call;
    fire->callback = Py_NewRef(callback);
    fire->key = key;
    PyObject_GC_Track(fire);
    return (PyObject *)fire;
}

/* ---- what the roles mean ---------------------------------------------------------------------------------------- */

static PyObject *
call(Hook *h, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    return PyObject_Vectorcall(h->wrapped, args, nargsf, kwnames);
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

static PyObject *
call_lock(Hook *h, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    Node *node = current_node();
    Resource *r = resource_find(args[0]);
    if (!r && h->kind == GT_KIND_SEMAPHORE && h->role != RELEASE && h->role != RELEASE_ALL)
        /* Never acquired before, as far as we watched: what it has now is all it has. */
        r = resource_seen(args[0], h->kind, (uint64_t)peek_long(args[0], s_counter, -1));
    else if (!r)
        r = resource_of(args[0], h->kind);
    if (!r)
        return call(h, args, nargsf, kwnames);
    uint32_t id = r->id;
    if (h->role == RELEASE || h->role == RELEASE_ALL) {
        uint32_t held = 0;
        for (uint32_t i = 0; i < r->hold_count; i++)
            held += r->holds[i].greenlet == node->id;
        int outer = node->release_depth++ == 0;
        node->refs++;
        PyObject *result = call(h, args, nargsf, kwnames);
        node->release_depth--;
        if (result && outer && gt.recording && (r = resource_find(args[0])) && r->id == id)
            for (uint32_t i = 0; i < (h->role == RELEASE ? 1 : held); i++)
                say_release(node, r);
        node_release(node);
        return result;
    }
    int outer = node->acquire_depth++ == 0;
    node->refs++;
    Waiting announced[GT_MAX_WAITS];
    uint8_t announced_count = node->intent_count;
    memcpy(announced, node->intents, sizeof announced);
    if (h->role == ACQUIRE_AGAIN) {
        /* A Condition's wait is over; from now on its lock is waited for. */
        node->intents[0] = (Waiting){id, GT_OP_ACQUIRE};
        node->intent_count = 1;
    }
    PyObject *result = call_waiting(h, node, id, GT_OP_ACQUIRE, args, nargsf, kwnames);
    if (h->role == ACQUIRE_AGAIN) {
        memcpy(node->intents, announced, sizeof announced);
        node->intent_count = announced_count;
    }
    node->acquire_depth--;
    if (result && outer && gt.recording) {
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

static PyObject *
call_apart(Hook *h, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    Node *node = current_node();
    Waiting announced[GT_MAX_WAITS];
    uint8_t count = node->intent_count;
    uint16_t depth = node->intent_depth;
    memcpy(announced, node->intents, sizeof announced);
    node->intent_depth = 0;
    node->refs++;
    PyObject *result = call(h, args, nargsf, kwnames);
    memcpy(node->intents, announced, sizeof announced);
    node->intent_count = count;
    node->intent_depth = depth;
    node_release(node);
    return result;
}

static int
is_member(PyObject *pool, PyObject *greenlet)
{
    PyObject *members = peek(pool, s_coroutines_running);
    int found = members ? PySequence_Contains(members, greenlet) : 0;
    if (found < 0)
        PyErr_Clear();
    Py_XDECREF(members);
    return found == 1;
}

/* A place in a pool is taken by who spawns, but it is whoever was spawned that has it and gives it back. */
static PyObject *
call_pool(Hook *h, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    Py_ssize_t n = PyVectorcall_NARGS(nargsf);
    current_node();
    uint64_t size = (uint64_t)peek_long(args[0], s_size, -1);
    Resource *r = resource_find(args[0]);
    if (!r)
        r = resource_seen(args[0], h->kind, size);
    if (r)
        resource_resized(r, size);
    uint32_t id = r ? r->id : 0;
    PyObject *result = call_composite(h, args, nargsf, kwnames);
    PyObject *member = n > 1 && is_greenlet(args[1]) ? args[1] : NULL;
    /* A full pool runs the function in the caller, who is a member already: the result then never was one. */
    if (!member && h->role == POOL_ENTER && result && is_greenlet(result) && is_member(args[0], result))
        member = result;
    if (!result || !member || !gt.recording || !(r = resource_find(args[0])) || r->id != id)
        return result;
    Node *node = node_of((Greenlet *)member);
    if (h->role == POOL_ENTER)
        say_acquire(node, r);
    else
        for (uint32_t i = 0; i < r->hold_count; i++)
            if (r->holds[i].greenlet == node->id) {
                say_release(node, r);
                break;
            }
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
    PyObject *result;
    /* A SET is told first: the call itself may already wake somebody. */
    if (h->role == SET || h->role == CLEAR) {
        if (outer)
            say_touch(kinds[h->role], node, r, 0);
        return call(h, args, nargsf, kwnames);
    }
    node->refs++;
    if (h->role == PUT)
        r->toucher = node->id;
    result = call_waiting(h, node, id, h->role == PUT ? GT_OP_PUT : GT_OP_GET, args, nargsf, kwnames);
    if (result && outer && gt.recording && (r = resource_find(args[0])) && r->id == id)
        say_touch(kinds[h->role], node, r, size_of(args[0]));
    node_release(node);
    return result;
}

static PyObject *
call_created(Hook *h, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    /* The capacity of some is known afterwards; the others are told first, as making them may already touch them. */
    uint8_t kind = kind_of(args[0], h->kind);
    PyObject *capacity = kind == GT_KIND_SEMAPHORE ? s_counter : kind == GT_KIND_POOL ? s_size : NULL;
    current_node();
    if (!capacity)
        resource_created(args[0], h->kind, UINT64_MAX);
    PyObject *result = call(h, args, nargsf, kwnames);
    if (result && capacity && gt.recording)
        resource_created(args[0], h->kind, (uint64_t)peek_long(args[0], capacity, -1));
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
            /* hubs.trampoline's own time limit is a function inside it that throws into the current greenlet. */
            PyObject *name = peek(callback, s_qualname);
            if (name && PyUnicode_Check(name) && PyUnicode_Compare(name, s_trampoline_timeout) == 0) {
                node = me;
                what = 2;
            }
            Py_XDECREF(name);
        }
        if (what == 1 && !node->name && PyTuple_Check(args) && PyTuple_GET_SIZE(args) && node->object
            && type_is_in(&gt.named_types, (PyObject *)node->object)) {
            /* A GreenThread is started with its function as the first argument. */
            PyObject *name = peek(PyTuple_GET_ITEM(args, 0), s_name);
            if (name)
                say_name(node, name, 0);
            Py_XDECREF(name);
        }
        if (what && delay == 0) {
            say_timer(timer, 0, node, 0, 1);
            say_wake(node, GT_WAKER_GREENLET, me->id, 0);
        }
        else
            say_timer(timer, now_ns() + (uint64_t)delay, what ? node : me, what == 2 ? GT_TIMER_THROWS : what ? 0 : GT_TIMER_CALLS, delay == 0);
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

static PyObject *
call_gevent(Hook *h, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    Py_ssize_t n = PyVectorcall_NARGS(nargsf);
    PyObject *result;
    switch (h->role) {
    case GE_WAIT: {
        if (n < 2)
            return call(h, args, nargsf, kwnames);
        static const uint8_t ops[] = {GT_OP_WAIT, GT_OP_READ, GT_OP_WRITE, GT_OP_READWRITE};
        Node *node = current_node();
        uint32_t resource = GT_RESOURCE_UNKNOWN;
        uint8_t op = GT_OP_WAIT, kind = kind_of(args[1], GT_KIND_UNKNOWN);
        if (!node->intent_depth) {
            if (kind == GT_KIND_FD) {
                resource = resource_of_fd((int)peek_long(args[1], s_fd, -1));
                op = ops[ge_mode(args[1])];
            }
            else if (kind == GT_KIND_SLEEP) {
                resource = GT_RESOURCE_SLEEP;
                op = GT_OP_SLEEP;
            }
        }
        return call_waiting(h, node, resource, op, args, nargsf, kwnames);
    }
    case GE_IO_START:
        result = call(h, args, nargsf, kwnames);
        if (result && n > 1 && gt.recording) {
            Node *node;
            int what = target_of_callback(args[1], &node);
            say_listen(args[0], (int)peek_long(args[0], s_fd, -1), ge_mode(args[0]), what ? node : NULL);
        }
        return result;
    case GE_STOP:
        this_thread();
        say_unlisten(args[0]);
        say_timer_end(args[0], 0);
        return call(h, args, nargsf, kwnames);
    case GE_TIMER_START: {
        if (n < 2)
            return call(h, args, nargsf, kwnames);
        PyObject *after = peek(args[0], s_after);
        if (!after)
            after = peek(args[0], s_at);
        int64_t delay = seconds_to_ns(after);
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
        Node *me = current_node();
        PyObject *fire = fire_new(args[1], args[0]);
        Py_ssize_t named = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
        PyObject **changed = fire ? PyMem_Malloc((size_t)(n + named) * sizeof(PyObject *)) : NULL;
        if (!changed) {
            PyErr_Clear();
            Py_XDECREF(fire);
            return call(h, args, nargsf, kwnames);
        }
        memcpy(changed, args, (size_t)(n + named) * sizeof(PyObject *));
        changed[1] = fire;
        result = PyObject_Vectorcall(h->wrapped, changed, (size_t)n, kwnames);
        PyMem_Free(changed);
        Py_DECREF(fire);
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
        Node *node;
        int what = target_of_callback(args[1], &node);
        if (!what && n > 2 && is_greenlet(args[2])) {
            PyObject *name = peek(args[1], s_name);
            if (name && PyUnicode_Check(name) && PyUnicode_Compare(name, s_kill) == 0) {
                node = node_of((Greenlet *)args[2]);
                what = 2;
            }
            Py_XDECREF(name);
        }
        if (what)
            say_wake(node, GT_WAKER_GREENLET, current_node()->id, 0);
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
    case APART:
        return call_apart(h, args, nargsf, kwnames);
    case POOL_ENTER:
    case POOL_LEAVE:
        return call_pool(h, args, nargsf, kwnames);
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
                if (!done)
                    PyErr_WriteUnraisable(h->extra);
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
        {&s_size, "size"}, {&s_coroutines_running, "coroutines_running"},
        {&s_seconds, "seconds"}, {&s_tpl, "tpl"}, {&s_called, "called"}, {&s_read, "read"}, {&s_do_send, "_do_send"}, {&s_kill, "_kill"},
        {&s_on_expiration, "_on_expiration"}, {&s_qualname, "__qualname__"}, {&s_trampoline_timeout, "trampoline.<locals>._timeout"},
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!(*words[i].slot = PyUnicode_InternFromString(words[i].text)))
            return -1;
    return PyType_Ready(&HookType) < 0 || PyType_Ready(&FireType) < 0 ? -1 : 0;
}
