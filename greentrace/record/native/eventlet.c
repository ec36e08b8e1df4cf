/* Eventlet: the roles of its hubs: listeners, timers, polls; and of its native threads, processes and DAGPools. */
#include "hooks.h"

#include <sys/wait.h>

/* The greenlet that computes a key of a DAGPool, NULL if nobody does. */
static Node *
node_of_key(PyObject *coros, PyObject *key)
{
    PyObject *coro = PyDict_GetItemWithError(coros, key);
    PyObject *g = coro && PyTuple_Check(coro) && PyTuple_GET_SIZE(coro) ? PyTuple_GET_ITEM(coro, 0) : NULL;
    return g && is_greenlet(g) ? node_of((Greenlet *)g) : NULL;
}

/* Whoever waits for a DAGPool does so in one generator, which knows the keys that are still `pending`. A key that a greenlet of the
   pool computes nobody else may post; any other anybody may. Returns 0 if the keys cannot be known. */
int
announce_keys(Node *node, Resource *dagpool)
{
    PyFrameObject *frame = PyEval_GetFrame();
    PyCodeObject *code = frame ? PyFrame_GetCode(frame) : NULL;
    int waits_for_keys = code && PyUnicode_Compare(code->co_name, s_wait_each_raw) == 0;
    Py_XDECREF(code);
    PyObject *locals = waits_for_keys ? PyFrame_GetLocals(frame) : NULL;
    PyObject *pool = locals ? PyObject_GetItem(locals, s_self_of_frame) : NULL, *coros = pool ? peek(pool, s_coros) : NULL;
    PyObject *pending = locals ? PyObject_GetItem(locals, s_pending) : NULL, *keys = pending ? PySequence_Tuple(pending) : NULL;
    int known = keys && PyTuple_GET_SIZE(keys) && coros && PyDict_Check(coros), open = 0;
    if (known) {
        uint32_t id = dagpool->id;
        node->intent_count = 0;
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(keys); i++) {
            Node *computes = node_of_key(coros, PyTuple_GET_ITEM(keys, i));
            if (computes)
                add_intent(node, resource_of_join(computes), GT_OP_JOIN);
            open += !computes;
        }
        if (open)
            add_intent(node, id, GT_OP_WAIT);
    }
    PyErr_Clear();
    Py_XDECREF(keys);
    Py_XDECREF(pending);
    Py_XDECREF(coros);
    Py_XDECREF(pool);
    Py_XDECREF(locals);
    return known;
}

/* The queue whose waiters a timer's function wakes: `LightQueue._unlock`. */
static Resource *
queue_unlocked_by(PyObject *callback)
{
    if (!PyMethod_Check(callback))
        return NULL;
    Resource *r = resource_find(PyMethod_GET_SELF(callback));
    if (!r || r->kind != GT_KIND_QUEUE)
        return NULL;
    PyObject *name = peek(callback, s_name);
    int unlocks = name && PyUnicode_Check(name) && PyUnicode_Compare(name, s_unlock) == 0;
    Py_XDECREF(name);
    return unlocks ? r : NULL;
}

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
                uintptr_t thread = (uintptr_t)map_get(&gt.sender_by_object, ID_KEY(node->id));
                cause = GT_WAKER_THREAD;
                cause_id = thread ? (uint32_t)(thread - 1) : 0;
            }
            say_timer(timer, 0, node, 0, 1);
            say_wake(node, cause, cause_id, 0);
        }
        else {
            say_timer(timer, now_ns() + (uint64_t)delay, what ? node : me, what == 2 ? GT_TIMER_THROWS : what ? 0 : GT_TIMER_CALLS, at_once);
            if (at_once) {
                Resource *queue = what ? NULL : queue_unlocked_by(callback);
                say_timer_for(timer, cause, cause_id, queue ? queue->id : 0);
                if (queue)
                    ask_queue(queue);
            }
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

PyObject *
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
        if (th->unlocking)
            leave_queue(th);
        return result;
    }
    case EV_EXECUTE:
        return call_with_fire_at(h, 0, ID_KEY(current_node()->id), GT_WAKER_GREENLET, args, n, kwnames);
    case EV_WAITPID: {
        long options = n > 1 && PyLong_Check(args[1]) ? PyLong_AsLong(args[1]) : WNOHANG;
        PyErr_Clear();
        Node *node = current_node();
        Resource *r = options & WNOHANG || node->intent_depth ? NULL : resource_passing(GT_KIND_PROCESS);
        if (!r)
            return call(h, args, nargsf, kwnames);
        result = call_waiting(h, node, r->id, GT_OP_WAIT, args, nargsf, kwnames);
        resource_passed(r);
        return result;
    }
    case EV_SELECT:
        /* Whoever else has a selector is no hub. */
        if (!(current_node()->flags & NODE_HUB))
            return call(h, args, nargsf, kwnames);
        /* fall through */
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
        if (h->role != EV_WAIT) {
            Py_ssize_t ready = result && PyList_Check(result) ? PyList_GET_SIZE(result) : 0;
            if (!th->polling && ready)
                say_poll_begin(timeout);
            if (th->polling || ready)
                say_poll_end(ready);
            th->polling = 0;
            if (ready && h->role == EV_POLL)
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
