/* Vocabulary: what can be said: switches, waits, wakes, holds, ends, forks.

   Every `say_*` first writes the record and then changes the tables: see ring.c. */
#include "core.h"

void
wake(Node *node, uint8_t waker, uint32_t who, uint32_t resource, uint64_t t)
{
    emit(GT_WAKE, waker, t, node->id, who, 0, resource);
    node->timed = waker == GT_WAKER_TIMER;
    if (node->state == GT_STATE_RUNNING)
        node->woken = 1;
    else if (node->state == GT_STATE_PARKED || node->state == GT_STATE_CREATED || node->state == GT_STATE_UNKNOWN) {
        node->state = GT_STATE_RUNNABLE;
        node->since_ns = t;
    }
}

void
say_wake(Node *node, uint8_t waker, uint32_t who, uint32_t resource)
{
    if (node->state != GT_STATE_FINISHED && node->state != GT_STATE_RUNNABLE)
        wake(node, waker, who, resource, now_ns());
}

/* `me` makes somebody runnable: a greenlet, or the hub on behalf of whatever it was called for. */
void
say_wake_by(Node *node, Node *me)
{
    Thread *th = this_thread();
    if (!(me->flags & NODE_HUB))
        say_wake(node, GT_WAKER_GREENLET, me->id, 0);
    else if (th->cause)
        say_wake(node, th->cause, th->cause_id, th->cause_resource);
    else
        say_wake(node, GT_WAKER_CALLBACK, 0, 0);
}

static void
worked_on(Resource *r, Node *node, uint64_t t)
{
    int by_hub = node->flags & NODE_HUB;
    uint8_t cause = by_hub && self_thread ? self_thread->cause : 0;
    r->toucher_kind = !by_hub ? GT_WAKER_GREENLET : cause ? cause : GT_WAKER_CALLBACK;
    r->toucher = !by_hub ? node->id : cause ? self_thread->cause_id : 0;
    r->touched_ns = t;
}

/* Somebody does something to a resource that no event tells, and that may end a wait. */
void
say_work_on(Resource *r, Node *node)
{
    worked_on(r, node, now_ns());
}

/* Of so many that not all can be told, a few: `others`, and room for one more that says so. */
static void
set_waits(Node *origin, const Waiting *from, int count, int *others)
{
    if (*others && count >= GT_FEW_WAITS)
        count = GT_FEW_WAITS - 1;
    if (!has_room(origin, &origin->waits, &origin->wait_room, count + *others)) {
        *others = 1;
        count = 0;
    }
    memcpy(origin->waits, from, (size_t)count * sizeof(Waiting));
    origin->wait_count = (uint8_t)count;
}

/* What the origin waits on, as far as it was announced. Returns 0 when it only gave way and is still runnable. */
static int
gather_waits(Node *origin, int to_hub)
{
    static const Waiting unknown = {GT_RESOURCE_UNKNOWN, 0, GT_OP_WAIT};
    int others = 0;
    origin->wait_count = 0;
    origin->deadline_ns = 0;
    for (Timer *timer = origin->timers; timer; timer = timer->next_of_node)
        if (!(timer->flags & GT_TIMER_CALLS) && (!origin->deadline_ns || timer->due_ns < origin->deadline_ns))
            origin->deadline_ns = timer->due_ns;
    if (origin->intent_depth) {
        int count = origin->intent_count;
        others = count == GT_MAX_WAITS && origin->intents[count - 1].resource == GT_RESOURCE_UNKNOWN;
        set_waits(origin, origin->intents, count, &others);
        if (!origin->wait_count)
            /* A select of nothing at all is a sleep. */
            origin->waits[origin->wait_count++] = (Waiting){GT_RESOURCE_SLEEP, 0, GT_OP_SLEEP};
    }
    else if (origin->link_count && to_hub) {
        /* What has finished may still be about to tell its links: `infer_alternative` takes away those that it has told. */
        others = origin->links_lost > 0;
        set_waits(origin, origin->links, origin->link_count, &others);
    }
    else if (origin->listeners && to_hub) {
        Waiting found[GT_MAX_WAITS];
        int count = 0;
        Listener *l = origin->listeners;
        for (; l && count < GT_MAX_WAITS; l = l->next_of_node)
            found[count++] = (Waiting){l->resource, 0, l->mode == GT_MODE_WRITE ? GT_OP_WRITE : GT_OP_READ};
        others = l != NULL;
        set_waits(origin, found, count, &others);
    }
    else {
        int sleeps = 0;
        for (Timer *timer = origin->timers; timer; timer = timer->next_of_node)
            if (!(timer->flags & (GT_TIMER_THROWS | GT_TIMER_CALLS)))
                sleeps = 1;
        origin->waits[0].resource = !to_hub ? GT_RESOURCE_SWITCH : sleeps ? GT_RESOURCE_SLEEP : origin->otherwise;
        origin->waits[0].op = !to_hub ? GT_OP_SWITCH : sleeps ? GT_OP_SLEEP : origin->otherwise ? GT_OP_PUT : GT_OP_WAIT;
        origin->wait_count = 1;
    }
    if (others)
        origin->waits[origin->wait_count++] = unknown;
    for (int i = 0; i < origin->wait_count; i++)
        if (origin->waits[i].op == GT_OP_JOIN) {
            Node *joined = map_get(&gt.node_by_join, ID_KEY(origin->waits[i].resource));
            origin->waits[i].joined = joined ? joined->id : 0;
        }
    return !origin->woken;
}

/* Which of the alternatives ended the wait: the greenlet that was the first to finish, the one thing that was touched since, a timer.
   More than one that could have is none that is known to have. */
static void
infer_alternative(Node *target, uint64_t t)
{
    Resource *touched = NULL;
    int several = 0, outside = 0;
    uint32_t first = 0, first_id = 0;
    uint64_t first_ns = UINT64_MAX;
    for (int i = 0; i < target->wait_count; i++) {
        uint32_t id = target->waits[i].resource;
        Node *joined = map_get(&gt.node_by_join, ID_KEY(id));
        uint32_t ended = joined && joined->state == GT_STATE_FINISHED ? joined->id : joined ? 0 : target->waits[i].joined;
        uint64_t ended_ns = joined ? joined->since_ns : 0;
        if (ended && ended_ns < first_ns) {
            first = ended;
            first_id = id;
            first_ns = ended_ns;
        }
        Resource *r = joined ? NULL : map_get(&gt.resource_by_id, ID_KEY(id));
        if (r && r->toucher_kind && r->touched_ns >= target->since_ns) {
            several += touched != NULL;
            touched = r;
        }
        outside += joined || (!r && id >= GT_FIRST_RESOURCE);
        outside += r && (r->kind == GT_KIND_CALLBACK || r->kind == GT_KIND_SIGNAL || r->kind == GT_KIND_PROCESS);
    }
    if (first || (touched && !several)) {
        uint32_t id = first ? first_id : touched->id;
        wake(target, first ? GT_WAKER_GREENLET : touched->toucher_kind, first ? first : touched->toucher, id, t);
        /* It has been delivered: the next wait of a gevent.iwait is for the others. */
        if (target->link_count && !target->links_lost)
            say_unlink(target, id);
        return;
    }
    if (touched)
        return;
    for (Timer *timer = target->timers; timer; timer = timer->next_of_node)
        if (!(timer->flags & (GT_TIMER_THROWS | GT_TIMER_CALLS)) && timer->due_ns <= t + 2000000) {
            uint32_t id = timer->id;
            say_timer_end(timer->key, 1);
            self_thread->cause = 0;
            wake(target, GT_WAKER_TIMER, id, 0, t);
            return;
        }
    if (outside == target->wait_count)
        wake(target, GT_WAKER_CALLBACK, 0, 0, t);
}

/* Who made this greenlet runnable, when nobody said so before the hub switched to it. */
static void
infer_wake(Thread *th, Node *target, int thrown, uint64_t t)
{
    if (thrown) {
        Timer *due = NULL;
        for (Timer *timer = target->timers; timer; timer = timer->next_of_node)
            if (timer->flags & GT_TIMER_THROWS && timer->due_ns <= t + 2000000 && (!due || timer->due_ns < due->due_ns))
                due = timer;
        if (due && !th->cause) {
            uint32_t id = due->id;
            say_timer_end(due->key, 1);
            th->cause = 0;
            wake(target, GT_WAKER_TIMER, id, 0, t);
            return;
        }
    }
    if (th->unlocking && !thrown && wake_by_due(th, target, t))
        return;
    if (th->cause) {
        wake(target, th->cause, th->cause_id, th->cause_resource, t);
        th->cause = 0;
        return;
    }
    /* Whoever has not begun waits for nothing but a timer. */
    int created = target->state == GT_STATE_CREATED;
    if (thrown)
        return;
    if (!created && target->wait_count != 1) {
        infer_alternative(target, t);
        return;
    }
    uint32_t resource = created ? GT_RESOURCE_UNKNOWN : target->waits[0].resource;
    uint8_t op = created ? GT_OP_SLEEP : target->waits[0].op;
    if (op == GT_OP_SLEEP) {
        for (Timer *timer = target->timers; timer; timer = timer->next_of_node)
            if (!(timer->flags & (GT_TIMER_THROWS | GT_TIMER_CALLS))) {
                uint32_t id = timer->id;
                say_timer_end(timer->key, 1);
                th->cause = 0;
                wake(target, GT_WAKER_TIMER, id, resource, t);
                return;
            }
    }
    else if (op == GT_OP_READ || op == GT_OP_WRITE || op == GT_OP_READWRITE) {
        emit(GT_FD_READY, op == GT_OP_READ ? GT_MODE_READ : op == GT_OP_WRITE ? GT_MODE_WRITE : GT_MODE_READWRITE, t, target->id, resource, 0, 0);
        wake(target, GT_WAKER_FD, resource, resource, t);
    }
    else if (!created)
        infer_alternative(target, t);
}

static void
say_poll_over(Thread *th, Node *hub, uint64_t t)
{
    emit(GT_POLL_END, 0, t, hub->id, 0, 0, 0);
    th->polling = 0;
}

void
say_switch(PyObject *event, Greenlet *origin_object, Greenlet *target_object)
{
    int thrown = event == s_throw || (event != s_switch && PyUnicode_Compare(event, s_throw) == 0);
    Thread *th = this_thread();
    Node *origin = node_of(origin_object), *target = node_of(target_object);
    uint64_t t = now_ns();
    if (origin == target)
        return;
    th->displaced = 0;
    uint8_t state;
    uint64_t resource = 0;
    uint32_t site = 0;
    int died = !greenlet_is_active(origin_object);
    if (died) {
        state = GT_STATE_FINISHED;
        if (origin->state != GT_STATE_FINISHED) {
            uint8_t how = thrown ? GT_HOW_EXCEPTION : how_it_ended(origin, origin_object);
            if (!origin->name && origin->last_name)
                say_last_name(origin);
            emit(GT_FINISH, how, t, origin->id, 0, 0, 0);
            origin->state = GT_STATE_FINISHED;
            origin->since_ns = t;
            for (int i = 0; i < origin->feed_count; i++) {
                Resource *fed = map_get(&gt.resource_by_id, ID_KEY(origin->feeds[i]));
                if (fed)
                    fed->fed_by = origin->id;
            }
        }
        origin->wait_count = 0;
    }
    else if (origin->flags & NODE_HUB) {
        state = GT_STATE_RUNNABLE;
        origin->wait_count = 0;
        /* libuv calls back from inside of its poll: it is over once somebody runs. */
        if (th->polling)
            say_poll_over(th, origin, t);
    }
    else {
        site = site_of_suspended(origin_object, origin->name ? NULL : origin);
        origin->site = site;
        if (gather_waits(origin, target->flags & NODE_HUB)) {
            state = GT_STATE_PARKED;
            resource = origin->waits[0].resource;
            for (int i = 0; i < origin->wait_count; i++)
                emit(GT_PARK, origin->waits[i].op, t, origin->id, origin->waits[i].resource, site, origin->deadline_ns);
        }
        else {
            state = GT_STATE_RUNNABLE;
            origin->wait_count = 0;
        }
    }
    if ((target->state == GT_STATE_PARKED || target->state == GT_STATE_CREATED) && !(target->flags & NODE_HUB)) {
        if (origin->flags & NODE_HUB)
            infer_wake(th, target, thrown, t);
        else if (target->state == GT_STATE_PARKED && target->waits[0].resource != GT_RESOURCE_SWITCH && !died)
            wake(target, GT_WAKER_GREENLET, origin->id, 0, t);
    }
    if (!(target->flags & NODE_STARTED)) {
        if (!target->name)
            name_at_start(target, target_object);
        emit(GT_START, 0, t, target->id, origin->id, 0, 0);
        target->flags |= NODE_STARTED;
    }
    emit(thrown ? GT_THROW : GT_SWITCH, state, t, target->id, origin->id, site, resource);
    if (!died) {
        origin->state = state;
        origin->since_ns = t;
    }
    origin->woken = 0;
    target->state = GT_STATE_RUNNING;
    target->since_ns = t;
    target->wait_count = 0;
    target->woken = 0;
    int ends_a_wait = target->timed;
    target->timed = 0;
    target->thread = th->index;
    thread_enter(th, target);
    /* A Timeout ends a wait and not a life; and whoever is switched to has caught what was thrown before. */
    if (thrown && !ends_a_wait)
        thrown_into(target);
    else if (!target->witness)
        target->how = GT_HOW_RETURNED;
}

void
say_intent(Node *node, uint32_t resource, uint8_t op)
{
    if (node->intent_depth == 0) {
        node->intents[0] = (Waiting){resource, 0, op};
        node->intent_count = 1;
    }
}

/* One more alternative of what was announced. */
void
add_intent(Node *node, uint32_t resource, uint8_t op)
{
    int count = node->intent_count;
    if (count < GT_MAX_WAITS && has_room(node, &node->intents, &node->intent_room, count + 1))
        node->intents[node->intent_count++] = (Waiting){resource, 0, op};
    else
        node->intents[count - 1] = (Waiting){GT_RESOURCE_UNKNOWN, 0, GT_OP_WAIT};
}

void
say_acquire(Node *node, Resource *r)
{
    uint64_t t = now_ns();
    uint32_t site = site_of_current();
    emit(GT_ACQUIRE, 0, t, node->id, r->id, site, 0);
    if (r->hold_count == r->hold_room) {
        uint32_t room = r->hold_room ? r->hold_room * 2 : 1;
        Hold *bigger = realloc(r->holds, room * sizeof(Hold));
        if (!bigger)
            return;
        r->holds = bigger;
        r->hold_room = room;
    }
    r->holds[r->hold_count++] = (Hold){node->id, site, t};
}

void
say_release(Node *node, Resource *r)
{
    uint32_t at = 0, loser = 0;
    while (at < r->hold_count && r->holds[at].greenlet != node->id)
        at++;
    int foreign = at == r->hold_count;
    if (foreign)
        at = 0;
    if (r->hold_count)
        loser = r->holds[at].greenlet;
    emit(GT_RELEASE, foreign ? GT_RELEASE_FOREIGN : 0, now_ns(), node->id, r->id, 0, loser);
    if (foreign)
        r->signal = 1;
    if (r->hold_count)
        memmove(&r->holds[at], &r->holds[at + 1], (--r->hold_count - at) * sizeof(Hold));
    worked_on(r, node, gt.last_ns);
}

void
say_touch(uint8_t kind, Node *node, Resource *r, uint64_t arg)
{
    emit(kind, 0, now_ns(), node->id, r->id, 0, arg);
    worked_on(r, node, gt.last_ns);
    /* The hub sets it, or a greenlet that gevent made for it: both on behalf of whoever has finished. */
    if (kind == GT_SET && r->fed_by && (node->flags & NODE_HUB || !node->name)) {
        r->toucher_kind = GT_WAKER_GREENLET;
        r->toucher = r->fed_by;
        r->fed_by = 0;
    }
    if (r->is_asked && (kind == GT_PUT || kind == GT_GET))
        say_due(r, node, kind == GT_PUT ? GT_OP_PUT : GT_OP_GET);
}
