/* Queues: eventlet's, at whose waiters the hub looks once for all that was put and got in a turn. */
#include "core.h"

/* The hub will look at the queue, and wake whoever can go on by then. */
void
ask_queue(Resource *r)
{
    r->is_asked = 1;
    r->due_count = 0;
}

/* It has looked. */
void
leave_queue(Thread *th)
{
    Resource *r = map_get(&gt.resource_by_id, ID_KEY(th->unlocking));
    th->unlocking = 0;
    if (r)
        r->is_asked = r->due_count = 0;
}

static int
take_due(Resource *r, uint8_t op, Due *due)
{
    for (int i = 0; i < r->due_count; i++)
        if (r->dues[i].op == op) {
            *due = r->dues[i];
            memmove(&r->dues[i], &r->dues[i + 1], (size_t)(--r->due_count - i) * sizeof(Due));
            return 1;
        }
    return 0;
}

/* Somebody has put or got: without having been woken for it, it took what another had made possible. */
void
say_due(Resource *r, Node *node, uint8_t op)
{
    Due taken;
    if (node->matched != r->id)
        take_due(r, op == GT_OP_PUT ? GT_OP_GET : GT_OP_PUT, &taken);
    node->matched = 0;
    if (!r->dues)
        r->dues = malloc(GT_MAX_WAITS * sizeof(Due));
    if (r->dues && r->due_count < GT_MAX_WAITS)
        r->dues[r->due_count++] = (Due){r->toucher, r->toucher_kind, op};
}

/* Several may have put before the hub looks at the queue: each getter is owed to one of them, and the first alone asked the hub. */
int
wake_by_due(Thread *th, Node *target, uint64_t t)
{
    uint32_t id = target->wait_count ? target->waits[0].resource : 0;
    uint8_t op = target->wait_count ? target->waits[0].op : 0;
    Resource *r = id && id == th->unlocking && (op == GT_OP_GET || op == GT_OP_PUT) ? map_get(&gt.resource_by_id, ID_KEY(id)) : NULL;
    Due due;
    if (!r)
        return 0;
    if (take_due(r, op == GT_OP_PUT ? GT_OP_GET : GT_OP_PUT, &due)) {
        wake(target, due.waker, due.who, id, t);
        target->matched = id;
    }
    else if (th->cause == GT_WAKER_GREENLET && th->cause_id == target->id)
        /* A channel: it asked the hub itself, and whoever already waited at the other end is not known. */
        wake(target, GT_WAKER_UNKNOWN, 0, id, t);
    else
        return 0;
    th->cause = 0;
    return 1;
}
