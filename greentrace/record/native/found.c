/* Found: how what lived before recording began is told, each as the fact that it is.

       found             a greenlet and its state             found_wait       one alternative of what it waits for
       found_resource    what is waited for or held           found_parked     all of its alternatives: from now on it is parked
       found_hold        who holds it                         found_timer, found_listener

   In: what greentrace/record/discovery has found. Out: records that say that they are inferred, where they are.
   What comes out of an acquire that no hook saw begin is told at its next switch (`found_goes_on`). */
#include "core.h"
#include "hooks.h"

#define TELLS(name) static PyObject *name(PyObject *module, PyObject *const *a, Py_ssize_t n)
#define NEEDS(count)                                                                                                    \
    if (n != (count))                                                                                                   \
        return PyErr_Format(PyExc_TypeError, "takes %d arguments", (count));                                            \
    if (!gt.recording)                                                                                                  \
    Py_RETURN_FALSE

static int64_t
integer(PyObject *value)
{
    int64_t number = PyLong_Check(value) ? PyLong_AsLongLong(value) : 0;
    PyErr_Clear();
    return number;
}

/* Records name the thread in which it is so, which need not be the one that looks. */
static Thread *
in_thread(Thread *th)
{
    Thread *before = self_thread;
    if (th)
        self_thread = th;
    gt.in_found_thread = self_thread != gt.finder && gt.finder;
    return before;
}

static Thread *
thread_of(Node *node)
{
    Thread *th = gt.threads;
    while (th && th->index != node->thread)
        th = th->next;
    return th;
}

static Thread *
thread_by_native(uint64_t native_id, Greenlet *main_greenlet)
{
    this_thread();
    Thread *th = gt.threads;
    while (th && (th->native_id != native_id || th->ended))
        th = th->next;
    if (th && th->main_greenlet)
        return th;
    if (!th) {
        if (!(th = calloc(1, sizeof(Thread))))
            return self_thread;
        th->index = gt.next_thread++;
        th->native_id = native_id;
        th->next = gt.threads;
        gt.threads = th;
    }
    th->found = 1;
    Thread *before = in_thread(th);
    th->main_greenlet = main_greenlet ? node_of(main_greenlet)->id : 0;
    emit(GT_THREAD, 0, now_ns(), th->main_greenlet, 0, 0, native_id);
    th->told = 1;
    in_thread(before);
    return th;
}

static Node *
found_node(PyObject *g)
{
    return is_greenlet(g) ? node_of((Greenlet *)g) : NULL;
}

/* begin_finding(late): `late`: others have lived before recording began. */
TELLS(begin_finding)
{
    NEEDS(1);
    gt.late = PyObject_IsTrue(a[0]) == 1;
    gt.finder = this_thread();
    Py_RETURN_TRUE;
}

enum { FOUND_HUB = 8 };

/* found(greenlet, state | FOUND_HUB, native thread id, its main greenlet or None): False when more is known of it than can be found. */
TELLS(found)
{
    NEEDS(4);
    if (!is_greenlet(a[0]))
        Py_RETURN_FALSE;
    Greenlet *g = (Greenlet *)a[0];
    int64_t what = integer(a[1]);
    uint8_t state = what & 7;
    Thread *before = in_thread(thread_by_native((uint64_t)integer(a[2]), is_greenlet(a[3]) ? (Greenlet *)a[3] : NULL));
    Node *node = node_of(g);
    int unknown = node->state == GT_STATE_UNKNOWN;
    if (unknown)
        node->thread = self_thread->index;
    if (what & FOUND_HUB && !(node->flags & NODE_HUB))
        say_hub(node, NULL);
    if (unknown) {
        if (greenlet_is_active(g)) {
            node->flags |= NODE_STARTED;
            node->site = site_of_suspended(g, node->name ? NULL : node);
        }
        else
            node->flags &= (uint8_t)~NODE_STARTED;
        if (!node->name)
            name_at_start(node, g);
        /* Who is parked is told with what it waits for. */
        if (state != GT_STATE_PARKED) {
            uint64_t t = now_ns();
            emit(GT_STATE, state, t, node->id, 0, node->site, t);
            node->state = state;
            node->since_ns = t;
        }
    }
    in_thread(before);
    return PyBool_FromLong(unknown);
}

/* found_resource(object, kind, capacity or -1, greenlet): seen for the first time, where this greenlet waits. */
TELLS(found_resource)
{
    NEEDS(4);
    if (resource_find(a[0]))
        Py_RETURN_TRUE;
    Node *node = found_node(a[3]), *me = current_node();
    uint8_t making_places = me->making_places;
    gt.finding = 1;
    gt.found_site = node ? node->site : 0;
    /* A semaphore may stand for the places of a pool. */
    me->making_places = integer(a[1]) == GT_KIND_POOL;
    resource_seen(a[0], (uint8_t)integer(a[1]), (uint64_t)integer(a[2]));
    me->making_places = making_places;
    gt.finding = 0;
    Py_RETURN_TRUE;
}

enum { TOLD, UNTOLD, UNCERTAIN };

/* found_wait(greenlet, resource, kind, op, end, times): one alternative. `end` of an acquire: TOLD by whoever waits; UNTOLD, so that it
   is told from here, `times` times; UNCERTAIN whether it acquires at all. */
TELLS(found_wait)
{
    NEEDS(6);
    Node *node = found_node(a[0]);
    if (!node || node->state != GT_STATE_UNKNOWN)
        Py_RETURN_FALSE;
    int64_t kind = integer(a[2]), op = integer(a[3]), end = integer(a[4]);
    uint32_t resource = GT_RESOURCE_UNKNOWN;
    gt.finding = 1;
    gt.found_site = node->site;
    if (op == GT_OP_SLEEP)
        resource = GT_RESOURCE_SLEEP;
    else if (op == GT_OP_SWITCH)
        resource = GT_RESOURCE_SWITCH;
    else if (kind == GT_KIND_FD)
        resource = resource_of_fd((int)integer(a[1]));
    else if (kind == GT_KIND_GREENLET && is_greenlet(a[1]))
        resource = resource_of_join(node_of((Greenlet *)a[1]));
    else if (kind == GT_KIND_CALLBACK || kind == GT_KIND_SIGNAL || kind == GT_KIND_PROCESS || kind == GT_KIND_THREAD) {
        Resource *known = a[1] == Py_None ? NULL : resource_find(a[1]);
        if (!known && !node->passing && (known = resource_passing((uint8_t)kind)))
            node->passing = known->id;
        resource = known ? known->id : GT_RESOURCE_UNKNOWN;
    }
    else if (a[1] != Py_None) {
        Resource *r = resource_of(a[1], (uint8_t)kind);
        resource = r && map_get(&gt.resource_by_id, ID_KEY(r->id)) ? r->id : GT_RESOURCE_UNKNOWN;
        /* Who is inside of a hook of an earlier recording will tell it there. */
        if (r && end != TOLD && op == GT_OP_ACQUIRE && !node->intent_depth
            && (r->kind == GT_KIND_LOCK || r->kind == GT_KIND_RLOCK || r->kind == GT_KIND_SEMAPHORE)) {
            node->pending = resource;
            node->pending_times = end == UNCERTAIN ? 0 : (uint16_t)integer(a[5]);
            node->pending_held = 0;
        }
    }
    gt.finding = 0;
    for (int i = 0; i < node->wait_count; i++)
        if (node->waits[i].resource == resource && node->waits[i].op == op)
            Py_RETURN_TRUE;
    if (node->wait_count == GT_MAX_WAITS || !has_room(node, &node->waits, &node->wait_room, node->wait_count + 1)) {
        /* There are others: such a wait proves nothing. */
        node->waits[node->wait_count - 1] = (Waiting){GT_RESOURCE_UNKNOWN, 0, GT_OP_WAIT, GT_FLAG_INFERRED};
        Py_RETURN_FALSE;
    }
    Node *joined = op == GT_OP_JOIN ? map_get(&gt.node_by_join, ID_KEY(resource)) : NULL;
    node->waits[node->wait_count++] = (Waiting){resource, joined ? joined->id : 0, (uint8_t)op, GT_FLAG_INFERRED};
    Py_RETURN_TRUE;
}

/* found_parked(greenlet): all that it waits for has been said. */
TELLS(found_parked)
{
    NEEDS(1);
    Node *node = found_node(a[0]);
    if (!node || node->state != GT_STATE_UNKNOWN)
        Py_RETURN_FALSE;
    if (!node->wait_count)
        node->waits[node->wait_count++] = (Waiting){GT_RESOURCE_UNKNOWN, 0, GT_OP_WAIT, GT_FLAG_INFERRED};
    node->deadline_ns = 0;
    for (Timer *timer = node->timers; timer; timer = timer->next_of_node)
        if (!(timer->flags & GT_TIMER_CALLS) && (!node->deadline_ns || timer->due_ns < node->deadline_ns))
            node->deadline_ns = timer->due_ns;
    Thread *before = in_thread(thread_of(node));
    uint64_t t = now_ns();
    emit(GT_STATE, GT_STATE_PARKED, t, node->id, 0, node->site, t);
    node->state = GT_STATE_PARKED;
    node->since_ns = t;
    /* A keyframe may come between any two of them, and tells them all. */
    for (int i = 0; i < node->wait_count; i++)
        emit(GT_PARK, node->waits[i].op | node->waits[i].inferred, t, node->id, node->waits[i].resource, node->site, node->deadline_ns);
    in_thread(before);
    Py_RETURN_TRUE;
}

/* found_hold(greenlet, object, kind, times, observed) */
TELLS(found_hold)
{
    NEEDS(5);
    Node *node = found_node(a[0]);
    gt.finding = 1;
    gt.found_site = 0;
    Resource *r = node ? resource_of(a[1], (uint8_t)integer(a[2])) : NULL;
    if (r && map_get(&gt.resource_by_id, ID_KEY(r->id)))
        for (int64_t i = 0; i < integer(a[3]) && i < 1000; i++)
            say_holds(node, r, 0, PyObject_IsTrue(a[4]) != 1);
    gt.finding = 0;
    return PyBool_FromLong(r != NULL);
}

/* found_timer(object, due_ns, greenlet or None, flags) */
TELLS(found_timer)
{
    NEEDS(4);
    Node *node = found_node(a[2]);
    if (map_get(&gt.timer_by_object, a[0]))
        Py_RETURN_FALSE;
    Thread *before = in_thread(node ? thread_of(node) : NULL);
    gt.finding = 1;
    gt.found_site = 0;
    say_timer(a[0], (uint64_t)integer(a[1]), node, (uint8_t)integer(a[3]), 0);
    gt.finding = 0;
    in_thread(before);
    Py_RETURN_TRUE;
}

/* found_listener(object or None, fd, mode, greenlet or None): None: the built-in hub's, known by fd and mode. */
TELLS(found_listener)
{
    NEEDS(4);
    Node *node = found_node(a[3]);
    int fd = (int)integer(a[1]);
    uint8_t mode = (uint8_t)integer(a[2]);
    Thread *before = in_thread(node ? thread_of(node) : NULL);
    if (fd >= 0)
        say_listen(a[0] == Py_None ? fd_key(fd, mode) : a[0], fd, mode, node);
    in_thread(before);
    Py_RETURN_TRUE;
}

/* It has been switched to. What it was found waiting for is its own now, unless it was an exception or a timer that ended the wait. */
void
found_goes_on(Node *node, int in_vain)
{
    Resource *passing = node->passing ? map_get(&gt.resource_by_id, ID_KEY(node->passing)) : NULL;
    node->passing = 0;
    if (passing)
        resource_passed(passing->id);
    Resource *r = node->pending ? map_get(&gt.resource_by_id, ID_KEY(node->pending)) : NULL;
    if (!r || in_vain) {
        node->pending = 0;
        return;
    }
    if (!node->pending_times) {
        /* It may have acquired it or not: from now on nobody can say who may release it. */
        node->pending = 0;
        uint8_t flags = (uint8_t)(r->kind | GT_RESOURCE_SIGNAL | (r->inferred ? GT_FLAG_INFERRED : 0));
        emit(GT_RESOURCE, flags, now_ns(), r->creator, r->id, r->site, r->capacity);
        r->signal = 1;
        return;
    }
    for (int i = 0; i < node->pending_times; i++)
        say_holds(node, r, 0, 1);
    node->pending_held = 1;
}

/* It parks, the first time since. Without a word on what it waits for, it is still inside of the same acquire: somebody was faster. */
void
found_parks_again(Node *node)
{
    Resource *r = map_get(&gt.resource_by_id, ID_KEY(node->pending));
    if (!r || !node->pending_held || node->wait_count != 1 || node->waits[0].resource != GT_RESOURCE_UNKNOWN) {
        node->pending = 0;
        return;
    }
    uint32_t toucher = r->toucher;
    uint8_t toucher_kind = r->toucher_kind;
    for (int i = 0; i < node->pending_times; i++)
        say_release(node, r);
    r->toucher = toucher;
    r->toucher_kind = toucher_kind;
    node->pending_held = 0;
    node->waits[0] = (Waiting){node->pending, 0, GT_OP_ACQUIRE, GT_FLAG_INFERRED};
}

#define TELL(name, doc) {#name, (PyCFunction)(void (*)(void))name, METH_FASTCALL, doc}

PyMethodDef found_methods[] = {
    TELL(begin_finding, "begin_finding(late)"),
    TELL(found, "found(greenlet, state, native_id, main_greenlet)"),
    TELL(found_resource, "found_resource(obj, kind, capacity, greenlet)"),
    TELL(found_wait, "found_wait(greenlet, resource, kind, op, end, times)"),
    TELL(found_parked, "found_parked(greenlet)"),
    TELL(found_hold, "found_hold(greenlet, obj, kind, times, observed)"),
    TELL(found_timer, "found_timer(obj, due_ns, greenlet, flags)"),
    TELL(found_listener, "found_listener(obj, fd, mode, greenlet)"),
    {NULL, NULL, 0, NULL},
};
