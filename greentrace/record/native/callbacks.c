/* Callbacks: what an attribute or a callback of the program's tells, and callbacks that tell that they were called.

   Nothing here may fail or be seen: an attribute that is not there is NULL without an error. */
#include "hooks.h"

#include <stddef.h>
#include <structmember.h>

PyObject *s_greenlet, *s_fd, *s_events, *s_at, *s_after, *s_counter, *s_seconds, *s_tpl, *s_called, *s_read, *s_do_send, *s_kill;
PyObject *s_value, *s_size, *s_max_size, *s_cb, *s_listeners, *s_sem, *s_running, *s_n, *s_name_of_thread, *s_receiver;
PyObject *s_killall3, *s_killall, *s_cancel_wait, *s_cancel_waits, *s_on_expiration, *s_qualname, *s_trampoline_timeout;
PyObject *s_select_timeout, *s_semaphore, *s_pid, *s_result_semaphore, *s_exception, *s_value_of_greenlet;
PyObject *s_lower_bound, *s_pending, *s_coros, *s_self_of_frame, *s_wait_each_raw, *s_unlock;

int
is_greenlet(PyObject *object)
{
    return PyObject_TypeCheck(object, GREENLET_TYPE);
}

/* An attribute, or NULL without an error. */
PyObject *
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

int64_t
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
int64_t
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
int
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
    else if (fire->waker == GT_WAKER_PROCESS || fire->waker == GT_WAKER_SIGNAL) {
        uintptr_t number = (uintptr_t)map_get(&gt.number_by_object, fire->key);
        th->cause = fire->waker;
        th->cause_id = number ? (uint32_t)(number - 1) : 0;
        th->cause_resource = 0;
    }
    else if (fire->waker == GT_WAKER_GREENLET) {
        /* What a greenlet has given to a native thread to call: its end will be that thread's doing. */
        map_set(&gt.sender_by_object, fire->key, (void *)(uintptr_t)(th->index + 1));
        return PyObject_Vectorcall(fire->callback, args, nargsf, kwnames);
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

/* gevent prints the watcher whose callback has failed, and that callback with it. */
static PyObject *
fire_repr(PyObject *self)
{
    return PyObject_Repr(((Fire *)self)->callback);
}

PyTypeObject FireType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "greentrace.Fire",
    .tp_basicsize = sizeof(Fire),
    .tp_dealloc = (destructor)fire_dealloc,
    .tp_traverse = (traverseproc)fire_traverse,
    .tp_clear = (inquiry)fire_clear,
    .tp_repr = fire_repr,
    .tp_getattro = fire_getattro,
    .tp_call = PyVectorcall_Call,
    .tp_vectorcall_offset = offsetof(Fire, vectorcall),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_HAVE_GC,
    .tp_doc = "A callback that tells that its watcher or listener fired.",
};

PyObject *
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
