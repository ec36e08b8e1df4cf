/* Ring: where records go, and the keyframe that opens each generation.

   A record may open a generation, and the keyframe that is then written before it tells how things are: so whoever says something
   first writes the record and then changes what is known. The writer never waits and never fails. */
#include "core.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

Global gt;

/* Header of the ring as 64-bit words: see greentrace/ring.py. */
enum { WORD_SIZES = 2, WORD_HEAD = 16, WORD_NAMES_HEAD, WORD_LOST_NAMES, WORD_PARTIAL, WORD_PHASE };

/* Map the ring that greentrace.ring.create made. It stays mapped until all that is known is let go of: objects that die while the
   interpreter shuts down may still be told. */
int
ring_map(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    struct stat status;
    if (fd < 0)
        return -1;
    if (fstat(fd, &status) < 0 || status.st_size < 4096) {
        close(fd);
        return -1;
    }
    char *map = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (map == MAP_FAILED)
        return -1;
    uint32_t *sizes = (uint32_t *)map;
    uint64_t *words = (uint64_t *)map;
    uint64_t records_at = words[7];
    uint64_t slots = (uint64_t)sizes[5] * sizes[6];
    if (memcmp(map, "GTRING\0\n", 8) || sizes[4] != sizeof(Record) || !slots
        || records_at + slots * sizeof(Record) > (uint64_t)status.st_size) {
        munmap(map, (size_t)status.st_size);
        return -1;
    }
    gt.map = map;
    gt.map_bytes = (size_t)status.st_size;
    gt.words = words;
    gt.names = map + words[5];
    gt.names_bytes = words[6];
    gt.records = (Record *)(map + records_at);
    gt.per_generation = sizes[5];
    gt.slots = slots;
    gt.head = gt.slot = 0;
    gt.left = 0;
    __atomic_store_n(&words[WORD_PHASE], 1, __ATOMIC_RELEASE);
    return 0;
}

void
ring_unmap(void)
{
    if (gt.map)
        munmap(gt.map, gt.map_bytes);
    gt.map = gt.names = NULL;
    gt.words = NULL;
    gt.records = NULL;
    gt.map_bytes = gt.names_bytes = 0;
    gt.head = gt.slot = gt.slots = gt.left = gt.per_generation = 0;
}

static inline void
put(uint8_t kind, uint8_t flags, uint64_t t_ns, uint16_t thread, uint32_t greenlet, uint32_t other, uint32_t site, uint64_t arg)
{
    Record *r = &gt.records[gt.slot];
    /* Times never run backwards in a ring: every search relies on it. */
    if (t_ns < gt.last_ns)
        t_ns = gt.last_ns;
    gt.last_ns = t_ns;
    r->t_ns = t_ns;
    r->kind = kind;
    r->flags = flags;
    r->thread = thread;
    r->greenlet = greenlet;
    r->other = other;
    r->site = site;
    r->arg = arg;
    gt.head++;
    gt.left--;
    if (++gt.slot == gt.slots)
        gt.slot = 0;
    __atomic_store_n(&gt.words[WORD_HEAD], gt.head, __ATOMIC_RELEASE);
}

/* Tell all that lives. It may fill half a generation; what finds no room then stays unknown to a reader who begins here. */
static void
keyframe(uint64_t t)
{
    uint64_t begin = gt.head, room = gt.per_generation / 2;
    int partial = 0;
#define KEY(kind, flags, thread, greenlet, other, site, arg)                                                            \
    do {                                                                                                                \
        if (gt.head - begin < room)                                                                                     \
            put(kind, (uint8_t)((flags) | GT_FLAG_KEY), t, thread, greenlet, other, site, arg);                         \
        else                                                                                                            \
            partial = 1;                                                                                                \
    } while (0)
    put(GT_KEYFRAME, GT_KEYFRAME_BEGIN | GT_FLAG_KEY, t, 0, 0, 0, 0, 0);
    for (Thread *th = gt.threads; th; th = th->next)
        if (th->told)
            KEY(GT_THREAD, 0, th->index, th->main_greenlet, 0, 0, th->native_id);
    for (Node *n = gt.nodes; n; n = n->next) {
        KEY(GT_STATE, n->state, n->thread, n->id, n->spawner, n->site, n->since_ns);
        if (n->flags & NODE_HUB)
            KEY(GT_HUB, 0, n->thread, n->id, 0, 0, 0);
        if (n->name)
            KEY(GT_NAME, n->flags & NODE_NAMED ? GT_NAME_GIVEN : 0, n->thread, n->id, 0, 0, n->name);
        if (n->spawn_site)
            KEY(GT_SPAWN, 0, n->thread, n->id, n->spawner, n->spawn_site, 0);
        if (n->flags & NODE_STARTED && !n->site && n->state != GT_STATE_RUNNING)
            KEY(GT_START, 0, n->thread, n->id, 0, 0, 0);
        if (n->join_resource)
            KEY(GT_RESOURCE, GT_KIND_GREENLET, n->thread, 0, n->join_resource, n->spawn_site, n->id);
    }
    for (Resource *r = gt.resources; r; r = r->next) {
        uint8_t flags = (uint8_t)(r->kind | (r->signal ? GT_RESOURCE_SIGNAL : 0) | (r->inferred ? GT_FLAG_INFERRED : 0));
        KEY(GT_RESOURCE, flags, 0, r->creator, r->id, r->site, r->capacity);
        for (uint32_t i = 0; i < r->hold_count; i++)
            KEY(GT_ACQUIRE, r->holds[i].inferred, 0, r->holds[i].greenlet, r->id, r->holds[i].site, r->holds[i].since_ns);
    }
    for (int fd = 0; fd < gt.fd_room; fd++) {
        FdEntry *e = &gt.fds[fd];
        if (!e->resource)
            continue;
        KEY(GT_RESOURCE, GT_KIND_FD, 0, 0, e->resource, 0, (uint64_t)(uint32_t)fd | (uint64_t)e->generation << 32);
        for (Listener *l = e->listeners; l; l = l->next_of_fd)
            KEY(GT_FD_ADD, l->mode, 0, l->node ? l->node->id : 0, l->resource, 0, l->id);
    }
    for (Node *n = gt.nodes; n; n = n->next)
        if (n->state == GT_STATE_PARKED || n->state == GT_STATE_RUNNING)
            for (int i = 0; i < n->wait_count; i++)
                KEY(GT_PARK, n->waits[i].op | n->waits[i].inferred, n->thread, n->id, n->waits[i].resource, n->site, n->deadline_ns);
    for (size_t i = 0; gt.timer_by_object.keys && i <= gt.timer_by_object.mask; i++) {
        void *key = gt.timer_by_object.keys[i];
        if (!key || key == TOMBSTONE)
            continue;
        Timer *timer = gt.timer_by_object.values[i];
        if (!timer->silent)
            KEY(GT_TIMER_ADD, timer->flags, 0, timer->node ? timer->node->id : 0, timer->id, timer->site, timer->due_ns);
    }
#undef KEY
    if (partial)
        gt.words[WORD_PARTIAL]++;
    put(GT_KEYFRAME, (uint8_t)(GT_KEYFRAME_END | GT_FLAG_KEY | (partial ? GT_KEYFRAME_PARTIAL : 0)), t, 0, 0, 0, 0,
        gt.head - begin + 1);
}

#define TURNS ((uint64_t)1 << GT_SWITCH | (uint64_t)1 << GT_THROW | (uint64_t)1 << GT_POLL_BEGIN | (uint64_t)1 << GT_POLL_END | (uint64_t)1 << GT_HUB)

/* Keep what the watchdog asks of a thread. */
static inline void
note_turn(Thread *th, uint8_t kind, uint64_t t_ns, uint32_t greenlet)
{
    if (kind == GT_HUB) {
        th->hub_greenlet = greenlet;
        return;
    }
    if (kind == GT_POLL_BEGIN)
        th->polls = 1;
    th->turn_kind = kind;
    th->turn_greenlet = greenlet;
    __atomic_store_n(&th->turn_ns, t_ns, __ATOMIC_RELEASE);
}

void
emit(uint8_t kind, uint8_t flags, uint64_t t_ns, uint32_t greenlet, uint32_t other, uint32_t site, uint64_t arg)
{
    if (gt.left == 0) {
        if (!gt.map)
            return;
        gt.left = gt.per_generation;
        keyframe(t_ns);
    }
    put(kind, flags, t_ns, self_thread ? self_thread->index : 0, greenlet, other, site, arg);
    if (kind < 64 && TURNS >> kind & 1 && self_thread)
        note_turn(self_thread, kind, t_ns, greenlet);
}
