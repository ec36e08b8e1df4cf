/* Pools: the roles of what greenlets are in: a pool has a place for each, a thread is one that runs.

   A place is held by its member, not by whoever spawned it. */
#include "hooks.h"

/* The greenlet runs this function; it was spawned with one of the runtime's around it. */
void
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
PyObject *
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

PyObject *
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
