/* Roles: what calling a method means, in the roles that every runtime has: waits, locks, queues, pools, threads.

   Each calls the original with the same arguments and tells the recorder before and after. What a primitive is made of (a pool of a
   semaphore) is its own affair: `intent_depth`, `acquire_depth` and `release_depth` keep it quiet. */
#include "hooks.h"

PyObject *
call(Hook *h, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    return PyObject_Vectorcall(h->wrapped, args, nargsf, kwnames);
}

/* Call with a callback, the argument `at`, that tells of `key` that it was called. */
PyObject *
call_with_fire_at(Hook *h, Py_ssize_t at, void *key, uint8_t waker, PyObject *const *args, Py_ssize_t n, PyObject *kwnames)
{
    /* What cannot be called is refused, as without us. */
    PyObject *fire = PyCallable_Check(args[at]) ? fire_new(args[at], key, waker) : NULL;
    Py_ssize_t named = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    PyObject **changed = fire ? PyMem_Malloc((size_t)(n + named) * sizeof(PyObject *)) : NULL;
    if (!changed) {
        if (PyErr_Occurred())
            PyErr_Clear();
        Py_XDECREF(fire);
        return PyObject_Vectorcall(h->wrapped, args, (size_t)n, kwnames);
    }
    memcpy(changed, args, (size_t)(n + named) * sizeof(PyObject *));
    changed[at] = fire;
    PyObject *result = PyObject_Vectorcall(h->wrapped, changed, (size_t)n, kwnames);
    PyMem_Free(changed);
    Py_DECREF(fire);
    return result;
}

/* The same of `watcher.start(callback, ...)`. */
PyObject *
call_with_fire(Hook *h, uint8_t waker, PyObject *const *args, Py_ssize_t n, PyObject *kwnames)
{
    return call_with_fire_at(h, 1, args[0], waker, args, n, kwnames);
}

/* Call with `resource` announced as what the greenlet waits on, should it park. */
PyObject *
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

/* How many may hold it at a time: semaphores (threading's counter is `_value`, and a CappedSemaphore is made of two), pools. */
static uint64_t
capacity_of(PyObject *object, uint8_t kind)
{
    int64_t capacity = peek_long(object, kind == GT_KIND_POOL ? s_size : s_counter, -1);
    if (capacity < 0)
        capacity = peek_long(object, kind == GT_KIND_POOL ? s_max_size : s_value, -1);
    PyObject *lower = capacity < 0 && kind != GT_KIND_POOL ? peek(object, s_lower_bound) : NULL;
    if (lower)
        capacity = peek_long(lower, s_counter, -1);
    Py_XDECREF(lower);
    return (uint64_t)capacity;
}

/* A resource that has a capacity. If it was never used before, as far as we watched, what it has now is all it has. */
Resource *
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

PyObject *
call_lock(Hook *h, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    Node *node = current_node();
    int gives_back = h->role == RELEASE || h->role == RELEASE_ALL;
    Resource *r = h->kind == GT_KIND_SEMAPHORE && !gives_back ? limited(args[0], h->kind) : resource_of(args[0], h->kind);
    if (!r)
        return call(h, args, nargsf, kwnames);
    uint32_t id = r->id;
    /* gevent's ThreadPool keeps a semaphore for its places, and who holds those are native threads; an imap one for the room that it
       has for results. */
    int counts = h->kind == GT_KIND_SEMAPHORE && (r->kind == GT_KIND_POOL || r->kind == GT_KIND_QUEUE);
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
                if (counts)
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
    memcpy(announced, node->intents, announced_count * sizeof(Waiting));
    int again = h->role == ACQUIRE_AGAIN && outer;
    if (again) {
        /* A Condition's wait is over; from now on its lock is waited for. */
        node->intents[0] = (Waiting){id, 0, GT_OP_ACQUIRE};
        node->intent_count = 1;
    }
    PyObject *result = call_waiting(h, node, id, r->kind == GT_KIND_QUEUE ? GT_OP_PUT : GT_OP_ACQUIRE, args, nargsf, kwnames);
    if (again) {
        memcpy(node->intents, announced, announced_count * sizeof(Waiting));
        node->intent_count = announced_count;
    }
    node->acquire_depth--;
    node->release_depth--;
    if (result && outer && !counts && gt.recording) {
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

PyObject *
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

/* Whoever asks a gevent imap for its next result first makes room for one more. */
static void
say_room(PyObject *imap, Resource *r, Node *me)
{
    Node *node = is_greenlet(imap) ? node_of((Greenlet *)imap) : NULL;
    if (node && node->otherwise && node->state == GT_STATE_PARKED && node->waits[0].resource == r->id)
        say_wake(node, GT_WAKER_GREENLET, me->id, r->id);
}

PyObject *
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
    else
        say_room(args[0], r, node);
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
    say_room(iterator, r, node);
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

PyObject *
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

PyObject *
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
PyObject *
call_afresh(Hook *h, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    Node *node = current_node();
    Waiting announced[GT_MAX_WAITS];
    uint8_t count = node->intent_count;
    uint16_t depth = node->intent_depth;
    memcpy(announced, node->intents, count * sizeof(Waiting));
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
    memcpy(node->intents, announced, count * sizeof(Waiting));
    node_release(node);
    return result;
}

/* The greenlet that runs now is the hub's. */
void
hub_runs(PyObject *hub)
{
    Node *node = current_node();
    if (node->flags & NODE_HUB)
        return;
    PyObject *name = PyUnicode_FromString(Py_TYPE(hub)->tp_name);
    say_hub(node, name);
    Py_XDECREF(name);
}
