/* Process: what is told of the process as a whole: hubs, names, polls, notes; what a fork and a new start do to the tables. */
#include "core.h"

#include <sys/syscall.h>
#include <unistd.h>

void
say_hub(Node *node, PyObject *type_name)
{
    if (type_name == NULL && node->object)
        type_name = PyUnicode_FromString(Py_TYPE((PyObject *)node->object)->tp_name);
    else
        Py_XINCREF(type_name);
    emit(GT_HUB, 0, now_ns(), node->id, 0, 0, intern_string(type_name));
    node->flags |= NODE_HUB;
    if (!node->name) {
        node->name = intern_utf8("hub", 3);
        node->flags |= NODE_NAMED;
        emit(GT_NAME, GT_NAME_GIVEN, now_ns(), node->id, 0, 0, node->name);
    }
    Py_XDECREF(type_name);
}

void
say_name(Node *node, PyObject *text, uint8_t flags)
{
    uint32_t id = intern_string(text);
    if (!id)
        return;
    emit(GT_NAME, flags, now_ns(), node->id, 0, 0, id);
    node->name = id;
    if (flags & GT_NAME_GIVEN)
        node->flags |= NODE_NAMED;
}

/* The time until the earliest timer of this thread, -1 without one. A search is needed only after that timer has gone. */
static int64_t
until_earliest(Thread *th, uint64_t t)
{
    if (th->earliest_stale) {
        th->earliest_ns = 0;
        th->earliest_stale = 0;
        for (size_t i = 0; gt.timer_by_object.keys && i <= gt.timer_by_object.mask; i++) {
            void *key = gt.timer_by_object.keys[i];
            Timer *timer = key && key != TOMBSTONE ? gt.timer_by_object.values[i] : NULL;
            if (timer && !timer->silent && timer->thread == th && (!th->earliest_ns || timer->due_ns < th->earliest_ns))
                th->earliest_ns = timer->due_ns;
        }
    }
    return !th->earliest_ns ? -1 : th->earliest_ns > t ? (int64_t)(th->earliest_ns - t) : 0;
}

void
say_last_name(Node *node)
{
    emit(GT_NAME, 0, now_ns(), node->id, 0, 0, node->last_name);
    node->name = node->last_name;
}

void
say_poll_begin(int64_t timeout_ns)
{
    Node *node = current_node();
    uint64_t t = now_ns();
    if (timeout_ns == GT_POLL_BY_TIMERS)
        timeout_ns = until_earliest(self_thread, t);
    emit(GT_POLL_BEGIN, 0, t, node->id, 0, 0, (uint64_t)timeout_ns);
    self_thread->polling = 1;
}

void
say_poll_end(int64_t ready)
{
    Node *node = current_node();
    emit(GT_POLL_END, 0, now_ns(), node->id, 0, 0, (uint64_t)(ready + 1));
    self_thread->polling = 0;
}

void
say_text(uint8_t kind, PyObject *text)
{
    Thread *th = this_thread();
    uint32_t site = kind == GT_MARK ? site_of_current() : 0;
    emit(kind, 0, now_ns(), th->current ? th->current->id : 0, 0, site, intern_string(text));
}

/* In the child of a fork: the ring is a new one. Only the thread that forked goes on; the others' greenlets are stranded. */
void
after_fork(uint64_t parent_pid)
{
    Thread *mine = self_thread;
    uint64_t t = now_ns();
    for (Thread *th = gt.threads; th; th = th->next)
        if (th == mine)
            th->native_id = (uint64_t)syscall(SYS_gettid);
    for (Node *n = gt.nodes; n; n = n->next)
        if (mine && n->thread != mine->index && n->state != GT_STATE_FINISHED) {
            /* Its thread is not here: who was seen to run there will never run again. */
            int ran_there = n->flags & NODE_STARTED && n->state != GT_STATE_UNKNOWN && n->state != GT_STATE_CREATED;
            n->state = ran_there ? GT_STATE_FINISHED : GT_STATE_UNKNOWN;
            n->since_ns = t;
        }
    gt.threads = mine;
    if (mine)
        mine->next = NULL;
    Node *node = current_node();
    emit(GT_FORK, 0, now_ns(), node->id, 0, 0, parent_pid);
}

static void
map_free(PtrMap *map)
{
    free(map->keys);
    free(map->values);
    *map = (PtrMap){0};
}

/* What happened while nobody recorded is unknown: only numbers and names stay, and that somebody has finished. */
void
forget(void)
{
    uint64_t t = now_ns();
    Greenlet *g = greenlet_getcurrent();
    for (Node *n = gt.nodes; n; n = n->next) {
        while (n->timers)
            timer_unlink(n->timers);
        while (n->listeners)
            listener_leave_node(n->listeners);
        n->wait_count = n->link_count = n->woken = n->timed = 0;
        n->links_lost = n->matched = 0;
        n->deadline_ns = 0;
        /* It may be inside of a wait that was announced then. */
        n->intents[0] = (Waiting){GT_RESOURCE_UNKNOWN, 0, GT_OP_WAIT};
        n->intent_count = 1;
        n->flags |= NODE_STARTED;
        if (n->state != GT_STATE_FINISHED) {
            n->state = n->object == g ? GT_STATE_RUNNING : GT_STATE_UNKNOWN;
            n->since_ns = t;
        }
    }
    Py_XDECREF(g);
    for (Resource *r = gt.resources; r; r = r->next)
        r->hold_count = r->toucher_kind = r->is_asked = r->due_count = 0;
    for (int fd = 0; fd < gt.fd_room; fd++) {
        gt.fds[fd].resource = 0;
        gt.fds[fd].listeners = NULL;
    }
    for (size_t i = 0; gt.listener_by_object.keys && i <= gt.listener_by_object.mask; i++)
        if (gt.listener_by_object.keys[i] && gt.listener_by_object.keys[i] != TOMBSTONE)
            free(gt.listener_by_object.values[i]);
    for (size_t i = 0; gt.timer_by_object.keys && i <= gt.timer_by_object.mask; i++)
        if (gt.timer_by_object.keys[i] && gt.timer_by_object.keys[i] != TOMBSTONE)
            free(gt.timer_by_object.values[i]);
    map_free(&gt.listener_by_object);
    map_free(&gt.timer_by_object);
    map_free(&gt.sender_by_object);
    map_free(&gt.number_by_object);
    for (Thread *th = gt.threads; th; th = th->next) {
        if (th->current)
            node_release(th->current);
        th->current = NULL;
        th->displaced = th->cause = th->polling = th->earliest_stale = 0;
        th->earliest_ns = th->unlocking = 0;
    }
}
