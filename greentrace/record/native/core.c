/* Core: the ring, the tables of what lives, keyframes, and the vocabulary.

   Every `say_*` first writes the record and then changes the tables, because the record may open a generation, and the
   keyframe that is then written before it must tell how things were. One room, because all of it is one state, `gt`, whose
   helpers stay static and are inlined on the way to a record. */
#include "core.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

Global gt;
static __thread Thread *self_thread;

/* Header of the ring as 64-bit words: see greentrace/ring.py. */
enum { WORD_SIZES = 2, WORD_HEAD = 16, WORD_NAMES_HEAD, WORD_LOST_NAMES, WORD_PARTIAL, WORD_PHASE };

/* ---- maps ------------------------------------------------------------------------------------------------------- */

#define TOMBSTONE ((void *)1)

static inline size_t
map_hash(void *key)
{
    uint64_t h = (uint64_t)(uintptr_t)key >> 4;
    return (size_t)((h * 0x9E3779B97F4A7C15u) >> 20);
}

void *
map_get(PtrMap *map, void *key)
{
    if (map->keys == NULL)
        return NULL;
    for (size_t i = map_hash(key);; i++) {
        void *at = map->keys[i & map->mask];
        if (at == key)
            return map->values[i & map->mask];
        if (at == NULL)
            return NULL;
    }
}

static int
map_grow(PtrMap *map)
{
    size_t room = map->keys ? (map->used * 4 > map->mask ? (map->mask + 1) * 2 : map->mask + 1) : 64;
    PtrMap bigger = {calloc(room, sizeof(void *)), calloc(room, sizeof(void *)), room - 1, 0, 0};
    if (!bigger.keys || !bigger.values) {
        free(bigger.keys);
        free(bigger.values);
        return -1;
    }
    for (size_t i = 0; map->keys && i <= map->mask; i++)
        if (map->keys[i] && map->keys[i] != TOMBSTONE)
            map_set(&bigger, map->keys[i], map->values[i]);
    free(map->keys);
    free(map->values);
    *map = bigger;
    return 0;
}

int
map_set(PtrMap *map, void *key, void *value)
{
    if ((map->keys == NULL || (map->filled + 1) * 2 > map->mask) && map_grow(map) < 0)
        return -1;
    size_t i = map_hash(key), grave = SIZE_MAX;
    for (;; i++) {
        void *at = map->keys[i & map->mask];
        if (at == key)
            break;
        if (at == TOMBSTONE && grave == SIZE_MAX)
            grave = i;
        if (at == NULL) {
            if (grave != SIZE_MAX)
                i = grave;
            else
                map->filled++;
            map->used++;
            break;
        }
    }
    map->keys[i & map->mask] = key;
    map->values[i & map->mask] = value;
    return 0;
}

void
map_remove(PtrMap *map, void *key)
{
    if (map->keys == NULL)
        return;
    for (size_t i = map_hash(key);; i++) {
        void *at = map->keys[i & map->mask];
        if (at == NULL)
            return;
        if (at == key) {
            map->keys[i & map->mask] = TOMBSTONE;
            map->used--;
            return;
        }
    }
}

/* ---- the ring --------------------------------------------------------------------------------------------------- */

/* Map the ring that greentrace.ring.create made. The mapping is never undone: objects that die while the interpreter
   shuts down may still be told. */
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
            KEY(GT_ACQUIRE, 0, 0, r->holds[i].greenlet, r->id, r->holds[i].site, r->holds[i].since_ns);
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
                KEY(GT_PARK, n->waits[i].op, n->thread, n->id, n->waits[i].resource, n->site, n->deadline_ns);
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

void
emit(uint8_t kind, uint8_t flags, uint64_t t_ns, uint32_t greenlet, uint32_t other, uint32_t site, uint64_t arg)
{
    if (gt.left == 0) {
        gt.left = gt.per_generation;
        keyframe(t_ns);
    }
    put(kind, flags, t_ns, self_thread ? self_thread->index : 0, greenlet, other, site, arg);
}

/* ---- threads ---------------------------------------------------------------------------------------------------- */

Thread *
this_thread(void)
{
    if (self_thread)
        return self_thread;
    Thread *th = calloc(1, sizeof(Thread));
    if (!th)
        Py_FatalError("greentrace: out of memory");
    th->index = gt.next_thread++;
    th->native_id = (uint64_t)syscall(SYS_gettid);
    th->next = gt.threads;
    gt.threads = th;
    self_thread = th;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    Greenlet *g = greenlet_getcurrent(), *up = g;
    PyErr_Restore(type, value, traceback);
    Py_XINCREF(up);
    while (up) {
        Greenlet *parent = greenlet_get_parent(up);
        if (!parent)
            break;
        Py_DECREF(up);
        up = parent;
    }
    if (up) {
        Node *main_node = node_of(up);
        th->main_greenlet = main_node->id;
        Py_DECREF(up);
    }
    Py_XDECREF(g);
    emit(GT_THREAD, 0, now_ns(), th->main_greenlet, 0, 0, th->native_id);
    return th;
}

/* ---- greenlets -------------------------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    Node *node;
} Tag;

void
node_release(Node *node)
{
    if (--node->refs == 0 && node->flags & NODE_GONE)
        free(node);
}

static void
timer_unlink(Timer *timer)
{
    if (!timer->node)
        return;
    if (timer->prev_of_node)
        timer->prev_of_node->next_of_node = timer->next_of_node;
    else
        timer->node->timers = timer->next_of_node;
    if (timer->next_of_node)
        timer->next_of_node->prev_of_node = timer->prev_of_node;
    timer->node = NULL;
}

static void
listener_leave_node(Listener *l)
{
    if (!l->node)
        return;
    if (l->prev_of_node)
        l->prev_of_node->next_of_node = l->next_of_node;
    else
        l->node->listeners = l->next_of_node;
    if (l->next_of_node)
        l->next_of_node->prev_of_node = l->prev_of_node;
    l->node = NULL;
}

/* The greenlet's object is gone: what is known of it goes too. */
static void
tag_dealloc(Tag *tag)
{
    Node *node = tag->node;
    if (node) {
        if (gt.recording)
            emit(GT_COLLECT, 0, now_ns(), node->id, 0, 0, 0);
        if (node->join_resource)
            map_remove(&gt.node_by_join, (void *)((uintptr_t)node->join_resource << 4));
        while (node->timers)
            timer_unlink(node->timers);
        while (node->listeners)
            listener_leave_node(node->listeners);
        if (node->prev)
            node->prev->next = node->next;
        else
            gt.nodes = node->next;
        if (node->next)
            node->next->prev = node->prev;
        node->state = GT_STATE_COLLECTED;
        node->flags |= NODE_GONE;
        node->object = NULL;
        node_release(node);
    }
    PyObject_Free(tag);
}

PyTypeObject TagType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "greentrace.Tag",
    .tp_basicsize = sizeof(Tag),
    .tp_dealloc = (destructor)tag_dealloc,
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "The number of a greenlet, kept in its __dict__; its end tells that the greenlet was collected.",
};

static Node no_memory_node;

static Node *
tag_greenlet(Greenlet *g, Node *spawner)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    Node *node = calloc(1, sizeof(Node));
    Tag *tag = PyObject_New(Tag, &TagType);
    if (!g->dict)
        g->dict = PyDict_New();
    if (tag)
        tag->node = NULL;
    if (!node || !tag || !g->dict || PyDict_SetItem(g->dict, s_tag, (PyObject *)tag) < 0) {
        PyErr_Clear();
        free(node);
        Py_XDECREF(tag);
        PyErr_Restore(type, value, traceback);
        return &no_memory_node;
    }
    tag->node = node;
    Py_DECREF(tag);
    node->id = gt.next_greenlet++;
    node->refs = 1;
    node->object = g;
    node->thread = self_thread ? self_thread->index : 0;
    node->since_ns = now_ns();
    if (type_is_in(&gt.hub_types, (PyObject *)g))
        node->flags |= NODE_HUB;
    if (spawner) {
        node->spawner = spawner->id;
        node->spawn_site = site_of_current();
        emit(GT_SPAWN, 0, node->since_ns, node->id, spawner->id, node->spawn_site, 0);
        node->state = GT_STATE_CREATED;
    }
    else if (greenlet_is_active(g)) {
        /* Met in the middle of its life: whoever asks is running it, or it will be told at its next switch. */
        node->flags |= NODE_STARTED;
        Greenlet *now = greenlet_getcurrent();
        node->state = now == g ? GT_STATE_RUNNING : GT_STATE_UNKNOWN;
        Py_XDECREF(now);
    }
    Greenlet *parent = greenlet_get_parent(g);
    if (parent)
        Py_DECREF(parent);
    else {
        char name[32];
        int size = node->thread ? snprintf(name, sizeof name, "main of thread %u", node->thread) : snprintf(name, sizeof name, "main");
        node->flags |= NODE_MAIN | NODE_STARTED | NODE_NAMED;
        node->name = intern_utf8(name, size);
    }
    if (!spawner)
        emit(GT_STATE, node->state, node->since_ns, node->id, 0, 0, node->since_ns);
    node->next = gt.nodes;
    if (gt.nodes)
        gt.nodes->prev = node;
    gt.nodes = node;
    if (node->flags & NODE_HUB)
        say_hub(node, NULL);
    else if (node->name)
        emit(GT_NAME, GT_NAME_GIVEN, node->since_ns, node->id, 0, 0, node->name);
    PyErr_Restore(type, value, traceback);
    return node;
}

static inline Node *
tagged(Greenlet *g)
{
    if (g->dict) {
        PyObject *tag = PyDict_GetItemWithError(g->dict, s_tag);
        if (tag && Py_IS_TYPE(tag, &TagType) && ((Tag *)tag)->node)
            return ((Tag *)tag)->node;
    }
    return NULL;
}

Node *
node_of(Greenlet *g)
{
    Node *node = tagged(g);
    return node ? node : tag_greenlet(g, NULL);
}

Node *
node_of_new(Greenlet *g, Node *spawner)
{
    Node *node = tagged(g);
    return node ? node : tag_greenlet(g, spawner);
}

static void
thread_enter(Thread *th, Node *node)
{
    if (th->current == node)
        return;
    if (th->current)
        node_release(th->current);
    node->refs++;
    th->current = node;
}

/* Who never parks would have no name: a gevent Greenlet's function stands in `_run`, its own or its class's; and a class of
   greenlets may have a method `run`. */
static void
name_at_start(Node *node, Greenlet *g)
{
    PyTypeObject *type = Py_TYPE((PyObject *)g);
    if (type == GREENLET_TYPE || !g->dict)
        return;
    int known = type_is_in(&gt.named_types, (PyObject *)g);
    PyObject *run = known ? PyDict_GetItemWithError(g->dict, s__run) : NULL;
    if (!run && !PyErr_Occurred())
        run = _PyType_Lookup(type, known ? s__run : s_run);
    if (run)
        name_by_function(node, run, !known);
}

/* The greenlet that runs now. If no switch brought it here, this thread was not traced until now, or another tracer has taken our place. */
Node *
current_node(void)
{
    Thread *th = this_thread();
    Greenlet *g = greenlet_getcurrent();
    Node *node = th->current;
    if (!g) {
        /* The interpreter or the thread is on its way out, and greenlet has cleaned up before whoever still takes a lock. */
        PyErr_Clear();
        return &no_memory_node;
    }
    if (!node || node->object != g) {
        node = node_of(g);
        if (th->current && th->tracing && !th->displaced) {
            th->displaced = 1;
            PyObject *text = PyUnicode_FromString("greenlet.settrace");
            say_text(GT_DISPLACED, text);
            Py_XDECREF(text);
        }
        thread_enter(th, node);
        if (!node->name)
            name_at_start(node, g);
        if (!th->tracing && gt.recording)
            trace_thread();
    }
    Py_DECREF(g);
    return node;
}

/* ---- resources -------------------------------------------------------------------------------------------------- */

typedef struct Watch {
    PyObject_HEAD
    Resource *resource;
    /* NULL, or the object that only stands for the resource. */
    void *alias;
} Watch;

#define ID_KEY(id) ((void *)((uintptr_t)(id) << 4))

static void
resource_free(Resource *r)
{
    map_remove(&gt.resource_by_id, ID_KEY(r->id));
    if (r->prev)
        r->prev->next = r->next;
    else
        gt.resources = r->next;
    if (r->next)
        r->next->prev = r->prev;
    while (r->aliases) {
        Alias *alias = r->aliases;
        r->aliases = alias->next;
        if (map_get(&gt.resource_by_object, alias->key) == r)
            map_remove(&gt.resource_by_object, alias->key);
        Py_XDECREF(alias->watch);
        free(alias);
    }
    free(r->holds);
    free(r);
}

/* The weak reference's callback: the object is gone, and its address may be used again from now on. */
static PyObject *
watch_call(Watch *watch, PyObject *args, PyObject *kwargs)
{
    Resource *r = watch->resource;
    watch->resource = NULL;
    if (r && watch->alias) {
        for (Alias **at = &r->aliases; *at; at = &(*at)->next)
            if ((*at)->key == watch->alias) {
                Alias *alias = *at;
                *at = alias->next;
                if (map_get(&gt.resource_by_object, alias->key) == r)
                    map_remove(&gt.resource_by_object, alias->key);
                Py_XDECREF(alias->watch);
                free(alias);
                break;
            }
    }
    else if (r) {
        if (map_get(&gt.resource_by_object, r->key) == r)
            map_remove(&gt.resource_by_object, r->key);
        if (gt.recording)
            emit(GT_DISPOSE, 0, now_ns(), 0, r->id, 0, 0);
        PyObject *reference = r->watch;
        resource_free(r);
        Py_XDECREF(reference);
    }
    Py_RETURN_NONE;
}

static void
watch_dealloc(Watch *watch)
{
    PyObject_Free(watch);
}

PyTypeObject WatchType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "greentrace.Watch",
    .tp_basicsize = sizeof(Watch),
    .tp_dealloc = (destructor)watch_dealloc,
    .tp_call = (ternaryfunc)watch_call,
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "Tells that a resource's object is gone.",
};

uint8_t
kind_of(PyObject *object, uint8_t otherwise)
{
    PyObject *mro = Py_TYPE(object)->tp_mro;
    for (Py_ssize_t i = 0; mro && i < PyTuple_GET_SIZE(mro); i++) {
        void *kind = map_get(&gt.kind_by_type, PyTuple_GET_ITEM(mro, i));
        if (kind)
            return (uint8_t)((uintptr_t)kind - 1);
    }
    return otherwise;
}

int
type_is_in(PtrMap *types, PyObject *object)
{
    PyObject *mro = types->used ? Py_TYPE(object)->tp_mro : NULL;
    for (Py_ssize_t i = 0; mro && i < PyTuple_GET_SIZE(mro); i++)
        if (map_get(types, PyTuple_GET_ITEM(mro, i)))
            return 1;
    return 0;
}

static Resource *
resource_new(PyObject *object, uint8_t kind, uint64_t capacity, int inferred)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    Resource *r = calloc(1, sizeof(Resource));
    Watch *watch = PyObject_New(Watch, &WatchType);
    PyObject *reference = NULL;
    if (r && watch) {
        watch->resource = NULL;
        watch->alias = NULL;
        reference = PyWeakref_NewRef(object, (PyObject *)watch);
        if (reference && map_set(&gt.resource_by_object, object, r) == 0)
            watch->resource = r;
    }
    PyErr_Clear();
    if (r) {
        r->id = gt.next_resource++;
        r->kind = kind_of(object, kind);
        if (self_thread && self_thread->current && self_thread->current->making_places && r->kind == GT_KIND_SEMAPHORE) {
            r->kind = GT_KIND_POOL;
            capacity = UINT64_MAX;
        }
        r->key = object;
        r->watch = reference;
        r->inferred = (uint8_t)inferred;
        r->capacity = r->kind == GT_KIND_LOCK || r->kind == GT_KIND_RLOCK ? 1 : capacity;
        r->signal = (r->kind == GT_KIND_SEMAPHORE || r->kind == GT_KIND_LOCK) && capacity == 0;
        r->creator = self_thread && self_thread->current ? self_thread->current->id : 0;
        r->site = site_of_current();
        uint8_t flags = (uint8_t)(r->kind | (r->signal ? GT_RESOURCE_SIGNAL : 0) | (inferred ? GT_FLAG_INFERRED : 0));
        emit(GT_RESOURCE, flags, now_ns(), r->creator, r->id, r->site, r->capacity);
        map_set(&gt.resource_by_id, ID_KEY(r->id), r);
        r->next = gt.resources;
        if (gt.resources)
            gt.resources->prev = r;
        gt.resources = r;
    }
    Py_XDECREF(watch);
    PyErr_Restore(type, value, traceback);
    /* An object that takes no weak reference cannot be known again: it gets a number for this once. */
    if (r && !reference) {
        static Resource once;
        once = *r;
        once.next = once.prev = NULL;
        once.holds = NULL;
        emit(GT_DISPOSE, 0, now_ns(), 0, r->id, 0, 0);
        map_remove(&gt.resource_by_object, object);
        resource_free(r);
        return &once;
    }
    return r;
}

Resource *
resource_find(PyObject *object)
{
    return map_get(&gt.resource_by_object, object);
}

Resource *
resource_of(PyObject *object, uint8_t kind)
{
    Resource *r = map_get(&gt.resource_by_object, object);
    return r ? r : resource_new(object, kind, UINT64_MAX, 1);
}

Resource *
resource_seen(PyObject *object, uint8_t kind, uint64_t capacity)
{
    return resource_new(object, kind, capacity, 1);
}

/* For an object that takes no weak reference, while somebody waits on it; NULL without memory. */
Resource *
resource_passing(uint8_t kind)
{
    Resource *r = calloc(1, sizeof(Resource));
    if (!r)
        return NULL;
    r->id = gt.next_resource++;
    r->kind = kind;
    r->inferred = 1;
    r->capacity = UINT64_MAX;
    r->site = site_of_current();
    emit(GT_RESOURCE, (uint8_t)(kind | GT_FLAG_INFERRED), now_ns(), 0, r->id, r->site, r->capacity);
    map_set(&gt.resource_by_id, ID_KEY(r->id), r);
    r->next = gt.resources;
    if (gt.resources)
        gt.resources->prev = r;
    gt.resources = r;
    return r;
}

void
resource_passed(Resource *r)
{
    if (gt.recording)
        emit(GT_DISPOSE, 0, now_ns(), 0, r->id, 0, 0);
    resource_free(r);
}

void
resource_created(PyObject *object, uint8_t kind, uint64_t capacity)
{
    if (!map_get(&gt.resource_by_object, object))
        resource_new(object, kind, capacity, 0);
}

/* Its capacity is another one from now on. */
void
resource_resized(Resource *r, uint64_t capacity)
{
    if (r->capacity == capacity)
        return;
    uint8_t flags = (uint8_t)(r->kind | (r->signal ? GT_RESOURCE_SIGNAL : 0) | (r->inferred ? GT_FLAG_INFERRED : 0));
    emit(GT_RESOURCE, flags, now_ns(), r->creator, r->id, r->site, capacity);
    r->capacity = capacity;
}

/* From now on `object` is only another name of the resource that is `owner`. */
void
resource_alias(PyObject *object, PyObject *owner, uint8_t kind)
{
    Resource *own = map_get(&gt.resource_by_object, object);
    if (own && own->key == object) {
        /* Told when it was made, before anybody could know. */
        emit(GT_DISPOSE, 0, now_ns(), 0, own->id, 0, 0);
        map_remove(&gt.resource_by_object, object);
        PyObject *reference = own->watch;
        resource_free(own);
        Py_XDECREF(reference);
    }
    else if (own)
        return;
    Resource *r = resource_of(owner, kind);
    if (!r || map_get(&gt.resource_by_object, owner) != r)
        return;
    Alias *alias = calloc(1, sizeof(Alias));
    Watch *watch = PyObject_New(Watch, &WatchType);
    if (alias && watch) {
        watch->resource = r;
        watch->alias = object;
        alias->key = object;
        alias->watch = PyWeakref_NewRef(object, (PyObject *)watch);
        if (alias->watch && map_set(&gt.resource_by_object, object, r) == 0) {
            alias->next = r->aliases;
            r->aliases = alias;
            alias = NULL;
        }
        else
            Py_XDECREF(alias->watch);
    }
    free(alias);
    Py_XDECREF(watch);
    PyErr_Clear();
}

uint32_t
resource_of_join(Node *node)
{
    if (!node->join_resource) {
        uint32_t id = gt.next_resource++;
        emit(GT_RESOURCE, GT_KIND_GREENLET, now_ns(), 0, id, node->spawn_site, node->id);
        node->join_resource = id;
        map_set(&gt.node_by_join, ID_KEY(id), node);
    }
    return node->join_resource;
}

static FdEntry *
fd_entry(int fd)
{
    if (fd < 0 || fd > 1 << 24)
        return NULL;
    if (fd >= gt.fd_room) {
        int room = fd + 256;
        FdEntry *bigger = realloc(gt.fds, (size_t)room * sizeof(FdEntry));
        if (!bigger)
            return NULL;
        memset(bigger + gt.fd_room, 0, (size_t)(room - gt.fd_room) * sizeof(FdEntry));
        gt.fds = bigger;
        gt.fd_room = room;
    }
    return &gt.fds[fd];
}

uint32_t
resource_of_fd(int fd)
{
    FdEntry *e = fd_entry(fd);
    if (!e)
        return GT_RESOURCE_UNKNOWN;
    if (!e->resource) {
        uint32_t id = gt.next_resource++;
        emit(GT_RESOURCE, GT_KIND_FD, now_ns(), 0, id, 0, (uint64_t)(uint32_t)fd | (uint64_t)(e->generation + 1) << 32);
        e->resource = id;
        e->generation++;
    }
    return e->resource;
}

/* ---- the vocabulary --------------------------------------------------------------------------------------------- */

static void
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

/* What the origin waits on, as far as it was announced. Returns 0 when it only gave way and is still runnable. */
static int
gather_waits(Node *origin, int to_hub)
{
    origin->wait_count = 0;
    origin->deadline_ns = 0;
    for (Timer *timer = origin->timers; timer; timer = timer->next_of_node)
        if (!(timer->flags & GT_TIMER_CALLS) && (!origin->deadline_ns || timer->due_ns < origin->deadline_ns))
            origin->deadline_ns = timer->due_ns;
    if (origin->intent_depth) {
        memcpy(origin->waits, origin->intents, sizeof origin->waits);
        origin->wait_count = origin->intent_count;
        if (!origin->wait_count)
            /* A select of nothing at all is a sleep. */
            origin->waits[origin->wait_count++] = (Waiting){GT_RESOURCE_SLEEP, 0, GT_OP_SLEEP};
    }
    else if (origin->link_count && to_hub) {
        /* What has finished may still be about to tell its links: `infer_alternative` takes away those that it has told. */
        memcpy(origin->waits, origin->links, sizeof origin->waits);
        origin->wait_count = origin->link_count;
        if (origin->links_lost && origin->wait_count < GT_MAX_WAITS)
            origin->waits[origin->wait_count++] = (Waiting){GT_RESOURCE_UNKNOWN, 0, GT_OP_WAIT};
        else if (origin->links_lost)
            origin->waits[0] = (Waiting){GT_RESOURCE_UNKNOWN, 0, GT_OP_WAIT};
    }
    else if (origin->listeners && to_hub) {
        for (Listener *l = origin->listeners; l && origin->wait_count < GT_MAX_WAITS; l = l->next_of_node) {
            origin->waits[origin->wait_count].resource = l->resource;
            origin->waits[origin->wait_count++].op = l->mode == GT_MODE_WRITE ? GT_OP_WRITE : GT_OP_READ;
        }
    }
    else {
        int sleeps = 0;
        for (Timer *timer = origin->timers; timer; timer = timer->next_of_node)
            if (!(timer->flags & (GT_TIMER_THROWS | GT_TIMER_CALLS)))
                sleeps = 1;
        origin->waits[0].resource = !to_hub ? GT_RESOURCE_SWITCH : sleeps ? GT_RESOURCE_SLEEP : GT_RESOURCE_UNKNOWN;
        origin->waits[0].op = !to_hub ? GT_OP_SWITCH : sleeps ? GT_OP_SLEEP : GT_OP_WAIT;
        origin->wait_count = 1;
    }
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
            uint8_t how = thrown ? GT_HOW_EXCEPTION : origin->thrown ? GT_HOW_KILLED | GT_FLAG_INFERRED : GT_HOW_RETURNED;
            if (!origin->name && origin->last_name)
                say_last_name(origin);
            emit(GT_FINISH, how, t, origin->id, 0, 0, 0);
            origin->state = GT_STATE_FINISHED;
            origin->since_ns = t;
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
    /* A Timeout ends a wait and not a life. */
    target->thrown = thrown && !target->timed;
    target->timed = 0;
    target->thread = th->index;
    thread_enter(th, target);
}

void
say_intent(Node *node, uint32_t resource, uint8_t op)
{
    if (node->intent_depth == 0) {
        node->intents[0] = (Waiting){resource, 0, op};
        node->intent_count = 1;
    }
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
}

/* ---- fds -------------------------------------------------------------------------------------------------------- */

/* One more of several things of which any wakes the greenlet (gevent.wait, joinall). */
void
say_link(Node *node, uint32_t resource, uint8_t op)
{
    if (node->link_count < GT_MAX_WAITS)
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
        if (node->waits[i].resource == resource)
            return 1;
    return node->wait_count == GT_MAX_WAITS;
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
    /* Its number is in use again, so it was closed at some time that nobody told. */
    if (e->resource)
        emit(GT_FD_CLOSE, GT_FLAG_INFERRED, now_ns(), 0, e->resource, 0, 0);
    e->resource = 0;
    uint32_t resource = resource_of_fd(fd);
    emit(GT_FD_OPEN, 0, now_ns(), current_node()->id, resource, 0, (uint64_t)(uint32_t)fd | (uint64_t)e->generation << 32);
}

/* ---- timers ----------------------------------------------------------------------------------------------------- */

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
say_timer_for(void *key, uint8_t cause, uint32_t cause_id)
{
    Timer *timer = map_get(&gt.timer_by_object, key);
    if (timer) {
        timer->cause = cause;
        timer->cause_id = cause_id;
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
    }
    if (timer->thread && timer->due_ns <= timer->thread->earliest_ns)
        timer->thread->earliest_stale = 1;
    map_remove(&gt.timer_by_object, key);
    timer_unlink(timer);
    free(timer);
}

/* ---- the rest --------------------------------------------------------------------------------------------------- */

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
    for (Thread *th = gt.threads; th; th = th->next)
        if (th == mine)
            th->native_id = (uint64_t)syscall(SYS_gettid);
    for (Node *n = gt.nodes; n; n = n->next)
        if (mine && n->thread != mine->index)
            n->state = GT_STATE_UNKNOWN;
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
        n->wait_count = n->link_count = n->woken = n->thrown = n->timed = 0;
        n->links_lost = 0;
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
        r->hold_count = r->toucher_kind = 0;
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
    for (Thread *th = gt.threads; th; th = th->next) {
        if (th->current)
            node_release(th->current);
        th->current = NULL;
        th->displaced = th->cause = th->polling = th->earliest_stale = 0;
        th->earliest_ns = 0;
    }
}
