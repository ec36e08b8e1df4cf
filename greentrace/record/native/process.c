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
end_value(void *key, void *value)
{
    free(value);
}

static void
end_key(void *key, void *value)
{
    Py_DECREF((PyObject *)key);
}

/* Recording has ended: all that is known of what lives goes, and what stands for it in the program with it. The numbers go on, so
   that who was inside of a hook meanwhile takes nobody for somebody else; and so do the threads that live. */
void
let_go(void)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    gt.letting_go = 1;
    map_clear(&gt.listener_by_object, NULL);
    for (int fd = 0; fd < gt.fd_room; fd++)
        while (gt.fds[fd].listeners) {
            Listener *l = gt.fds[fd].listeners;
            gt.fds[fd].listeners = l->next_of_fd;
            listener_leave_node(l);
            free(l);
        }
    free(gt.fds);
    gt.fds = NULL;
    gt.fd_room = 0;
    for (Node *n = gt.nodes; n; n = n->next)
        while (n->timers)
            timer_unlink(n->timers);
    map_clear(&gt.timer_by_object, end_value);
    map_clear(&gt.sender_by_object, NULL);
    map_clear(&gt.number_by_object, NULL);
    map_clear(&gt.node_by_thread, NULL);
    map_clear(&gt.node_by_join, NULL);
    for (Thread **at = &gt.threads; *at;) {
        Thread *th = *at;
        if (th->current)
            node_release(th->current);
        th->current = NULL;
        th->displaced = th->cause = th->polling = th->earliest_stale = 0;
        th->earliest_ns = th->unlocking = th->turn_ns = 0;
        th->main_greenlet = th->told = 0;
        /* One that was only found has no thread that knows its record. */
        if (!th->ended && !th->found) {
            at = &th->next;
            continue;
        }
        *at = th->next;
        Py_XDECREF(th->chained);
        Py_XDECREF(th->below);
        free(th);
    }
    resources_let_go();
    greenlets_let_go();
    map_clear(&gt.kind_by_type, end_key);
    map_clear(&gt.hub_types, end_key);
    map_clear(&gt.named_types, end_key);
    map_clear(&gt.kind_by_maker, end_key);
    names_let_go();
    ring_unmap();
    gt.letting_go = 0;
    PyErr_Restore(type, value, traceback);
}
