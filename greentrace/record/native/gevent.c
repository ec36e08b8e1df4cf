/* Gevent: the roles of its loops and of what is Cython: watchers, links, callbacks, threads, select. */
#include "hooks.h"

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

PyObject *
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
    case GE_CHILD_START:
    case GE_SIGNAL_START: {
        if (n < 2 || !PyCallable_Check(args[1]))
            return call(h, args, nargsf, kwnames);
        current_node();
        int64_t pid = h->role == GE_CHILD_START ? peek_long(args[0], s_pid, 0) : 0;
        if (pid > 0)
            map_set(&gt.number_by_object, args[0], (void *)(uintptr_t)(pid + 1));
        return call_with_fire(h, h->role == GE_CHILD_START ? GT_WAKER_PROCESS : GT_WAKER_SIGNAL, args, n, kwnames);
    }
    case GE_SIGNAL: {
        result = call(h, args, nargsf, kwnames);
        long number = result && n > 1 && PyLong_Check(args[1]) ? PyLong_AsLong(args[1]) : 0;
        if (number > 0)
            map_set(&gt.number_by_object, result, (void *)(uintptr_t)(number + 1));
        return result;
    }
    case GE_IMAP: {
        Node *node = current_node();
        Resource *r = resource_of(args[0], h->kind);
        node->otherwise = r ? r->id : 0;
        /* Seen where gevent is in Python. */
        PyObject *room = peek(args[0], s_result_semaphore);
        if (room && room != Py_None)
            resource_alias(room, args[0], h->kind);
        Py_XDECREF(room);
        node->refs++;
        if (!node->name) {
            /* It has no function of the user's. */
            const char *dot = strrchr(Py_TYPE(args[0])->tp_name, '.');
            PyObject *name = PyUnicode_FromString(dot ? dot + 1 : Py_TYPE(args[0])->tp_name);
            if (name)
                say_name(node, name, 0);
            else
                PyErr_Clear();
            Py_XDECREF(name);
        }
        result = call(h, args, nargsf, kwnames);
        node->otherwise = 0;
        node_release(node);
        return result;
    }
    case GE_STOP:
        this_thread();
        say_unlisten(args[0]);
        say_timer_end(args[0], 0);
        if (gt.sender_by_object.used)
            map_remove(&gt.sender_by_object, args[0]);
        if (gt.number_by_object.used)
            map_remove(&gt.number_by_object, args[0]);
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
        if (n > 1 && is_greenlet(args[0]) && kind_of(args[1], GT_KIND_UNKNOWN) == GT_KIND_RESULT) {
            /* An AsyncResult takes over the result of the greenlet that it is linked to. */
            result = call(h, args, nargsf, kwnames);
            if (result && gt.recording)
                say_feeds(node_of((Greenlet *)args[0]), resource_of(args[1], GT_KIND_RESULT), h->role == GE_LINK);
            return result;
        }
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
