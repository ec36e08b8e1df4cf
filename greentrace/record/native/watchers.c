/* Watchers: what the hubs watch: fds, each with its generation, listeners, timers. */
#include "core.h"

/* One more of several things of which any wakes the greenlet (gevent.wait, joinall). */
void
say_link(Node *node, uint32_t resource, uint8_t op)
{
    if (node->link_count < GT_MAX_WAITS && has_room(node, &node->links, &node->link_room, node->link_count + 1))
        node->links[node->link_count++] = (Waiting){resource, 0, op};
    else
        node->links_lost++;
}

void
say_unlink(Node *node, uint32_t resource)
{
    for (int i = 0; i < node->link_count; i++)
        if (node->links[i].resource == resource) {
            node->links[i] = node->links[--node->link_count];
            return;
        }
    if (node->links_lost)
        node->links_lost--;
}

/* The end of a greenlet sets a result, from now on or not any more. */
void
say_feeds(Node *node, Resource *result, int feeds)
{
    if (!result)
        return;
    if (feeds && node->state == GT_STATE_FINISHED)
        result->fed_by = node->id;
    else if (feeds && node->feed_count < GT_MAX_FEEDS)
        node->feeds[node->feed_count++] = result->id;
    for (int i = 0; !feeds && i < node->feed_count; i++)
        if (node->feeds[i] == result->id) {
            node->feeds[i] = node->feeds[--node->feed_count];
            return;
        }
}

static void
listener_leave_fd(Listener *l)
{
    FdEntry *e = fd_entry(l->fd);
    if (l->prev_of_fd)
        l->prev_of_fd->next_of_fd = l->next_of_fd;
    else if (e && e->listeners == l)
        e->listeners = l->next_of_fd;
    if (l->next_of_fd)
        l->next_of_fd->prev_of_fd = l->prev_of_fd;
    l->next_of_fd = l->prev_of_fd = NULL;
}

void
say_listen(void *key, int fd, uint8_t mode, Node *node)
{
    if (map_get(&gt.listener_by_object, key))
        return;
    uint32_t resource = resource_of_fd(fd);
    FdEntry *e = fd_entry(fd);
    uint32_t id = gt.next_listener++;
    emit(GT_FD_ADD, mode, now_ns(), node ? node->id : 0, resource, 0, id);
    Listener *l = e ? calloc(1, sizeof(Listener)) : NULL;
    if (!l || map_set(&gt.listener_by_object, key, l) < 0) {
        free(l);
        return;
    }
    l->id = id;
    l->resource = resource;
    l->fd = fd;
    l->mode = mode;
    l->key = key;
    l->node = node;
    if (node) {
        l->next_of_node = node->listeners;
        if (node->listeners)
            node->listeners->prev_of_node = l;
        node->listeners = l;
    }
    l->next_of_fd = e->listeners;
    if (e->listeners)
        e->listeners->prev_of_fd = l;
    e->listeners = l;
}

void
say_unlisten(void *key)
{
    Listener *l = map_get(&gt.listener_by_object, key);
    if (!l)
        return;
    emit(GT_FD_REMOVE, l->mode, now_ns(), l->node ? l->node->id : 0, l->resource, 0, l->id);
    map_remove(&gt.listener_by_object, key);
    listener_leave_node(l);
    listener_leave_fd(l);
    free(l);
}

void
say_ready(int fd, uint8_t mode)
{
    FdEntry *e = fd_entry(fd);
    uint64_t t = now_ns();
    for (Listener *l = e ? e->listeners : NULL; l; l = l->next_of_fd)
        if (l->mode & mode) {
            emit(GT_FD_READY, l->mode & mode, t, l->node ? l->node->id : 0, l->resource, 0, 0);
            if (l->node && l->node->state == GT_STATE_PARKED)
                wake(l->node, GT_WAKER_FD, l->resource, l->resource, t);
        }
}

/* A greenlet that waits for so many things may wait for one that found no room. */
static int
waits_for(Node *node, uint32_t resource)
{
    for (int i = 0; i < node->wait_count; i++)
        if (node->waits[i].resource == resource || (i && node->waits[i].resource == GT_RESOURCE_UNKNOWN))
            return 1;
    return 0;
}

/* The hub is about to call this listener. */
void
say_heard(void *key)
{
    Listener *l = map_get(&gt.listener_by_object, key);
    if (!l)
        return;
    uint64_t t = now_ns();
    emit(GT_FD_READY, l->mode, t, l->node ? l->node->id : 0, l->resource, 0, 0);
    /* gevent's selectors go on listening while their greenlet does something else. */
    if (l->node && l->node->state == GT_STATE_PARKED && waits_for(l->node, l->resource))
        wake(l->node, GT_WAKER_FD, l->resource, l->resource, t);
    if (self_thread) {
        self_thread->cause = GT_WAKER_FD;
        self_thread->cause_id = self_thread->cause_resource = l->resource;
    }
}

/* The hub listens to this fd no more. */
void
say_unlisten_all(int fd)
{
    FdEntry *e = fd_entry(fd);
    while (e && e->listeners)
        say_unlisten(e->listeners->key);
}

void
say_fd_close(int fd)
{
    FdEntry *e = fd_entry(fd);
    if (!e || !e->resource)
        return;
    emit(GT_FD_CLOSE, 0, now_ns(), self_thread && self_thread->current ? self_thread->current->id : 0, e->resource, 0, 0);
    e->resource = 0;
}

void
say_fd_open(int fd)
{
    FdEntry *e = fd_entry(fd);
    if (!e)
        return;
    /* Eventlet throws into whoever still listens to the old one: whoever opened the new one made it runnable. */
    for (Listener *l = e->listeners; l; l = l->next_of_fd)
        if (l->node && l->node->state == GT_STATE_PARKED && waits_for(l->node, l->resource))
            say_wake_by(l->node, current_node());
    /* Its number is in use again, so it was closed at some time that nobody told. */
    if (e->resource)
        emit(GT_FD_CLOSE, GT_FLAG_INFERRED, now_ns(), 0, e->resource, 0, 0);
    e->resource = 0;
    uint32_t resource = resource_of_fd(fd);
    emit(GT_FD_OPEN, 0, now_ns(), current_node()->id, resource, 0, (uint64_t)(uint32_t)fd | (uint64_t)e->generation << 32);
}

/* `silent`: a call at the next turn rather than a timer; its cancellation is of interest, its existence is not. */
void
say_timer(void *key, uint64_t due_ns, Node *node, uint8_t flags, int silent)
{
    say_timer_end(key, 0);
    uint32_t id = 0, site = 0;
    if (!silent) {
        id = gt.next_timer++;
        site = site_of_current();
        emit(GT_TIMER_ADD, flags, now_ns(), node ? node->id : 0, id, site, due_ns);
    }
    Timer *timer = calloc(1, sizeof(Timer));
    if (!timer || map_set(&gt.timer_by_object, key, timer) < 0) {
        free(timer);
        return;
    }
    timer->id = id;
    timer->site = site;
    timer->key = key;
    timer->due_ns = due_ns;
    timer->flags = flags;
    timer->silent = (uint8_t)silent;
    if (!silent) {
        timer->thread = self_thread;
        if (self_thread && (!self_thread->earliest_ns || due_ns < self_thread->earliest_ns))
            self_thread->earliest_ns = due_ns;
    }
    if (node && !silent) {
        timer->node = node;
        timer->next_of_node = node->timers;
        if (node->timers)
            node->timers->prev_of_node = timer;
        node->timers = timer;
    }
}

/* A silent timer: what it wakes is woken by whoever asked for it. */
void
say_timer_for(void *key, uint8_t cause, uint32_t cause_id, uint32_t unlocks)
{
    Timer *timer = map_get(&gt.timer_by_object, key);
    if (timer) {
        timer->cause = cause;
        timer->cause_id = cause_id;
        timer->unlocks = unlocks;
    }
}

void
say_timer_end(void *key, int fired)
{
    Timer *timer = map_get(&gt.timer_by_object, key);
    if (!timer)
        return;
    if (!timer->silent)
        emit(fired ? GT_TIMER_FIRE : GT_TIMER_CANCEL, 0, now_ns(), timer->node ? timer->node->id : 0, timer->id, 0, 0);
    if (fired && self_thread) {
        self_thread->cause = timer->silent ? timer->cause : GT_WAKER_TIMER;
        self_thread->cause_id = timer->silent ? timer->cause_id : timer->id;
        self_thread->cause_resource = 0;
        self_thread->unlocking = timer->unlocks;
    }
    if (timer->thread && timer->due_ns <= timer->thread->earliest_ns)
        timer->thread->earliest_stale = 1;
    map_remove(&gt.timer_by_object, key);
    timer_unlink(timer);
    free(timer);
}
