/* Core: what the parts of the native recorder share.

   maps.c        from pointers to what is known of them
   ring.c        where records go, and the keyframe that opens each generation
   greenlets.c   the threads and greenlets that live        resources.c  what they wait for and hold
   vocabulary.c  switches, waits, wakes, holds              watchers.c   fds, listeners, timers
   endings.c     how a greenlet ended that was thrown into
   process.c     hubs, names, polls, notes, forks, the end  names.c      strings, code objects and sites, interned
   queues.c      who of several that put or got has ended which wait
   others.c      the trace functions of other threads       discovery.c  what lived before recording began
   found.c       how that is told
   watchdog.c    who keeps a thread, seen in the act
   hooks.h       the descriptors that stand in the place of a runtime's methods, in files of their own
   module.c      the face that Python sees

   All of it runs with the GIL held, which is the only lock. Nothing here raises into the traced program: what cannot be
   recorded is lost and counted. One room, because all parts of the recorder share one world: its records and
   its numbers are declared together. */
#ifndef GREENTRACE_CORE_H
#define GREENTRACE_CORE_H

#define PY_SSIZE_T_CLEAN
#ifndef Py_BUILD_CORE_MODULE
#define Py_BUILD_CORE_MODULE 1
#endif
#include <Python.h>
#include <stdint.h>
#include <time.h>

#include "events.h"
#include "greenlet_api.h"

#define GT_MAX_DEPTH 64
/* So many alternatives of one wait are told; of more than that, a few, and that there are others: such a wait proves nothing. */
#define GT_MAX_WAITS 64
#define GT_FEW_WAITS 8
#define GT_MAX_FEEDS 4

typedef struct {
    uint64_t t_ns;
    uint8_t kind, flags;
    uint16_t thread;
    uint32_t greenlet, other, site;
    uint64_t arg;
} Record;

typedef struct Node Node;
typedef struct Resource Resource;

/* Open addressing from a pointer to a pointer; a key is removed when its object goes. */
typedef struct {
    void **keys, **values;
    size_t mask, used, filled;
} PtrMap;

typedef struct Timer {
    uint32_t id;
    uint8_t flags, silent;
    uint64_t due_ns;
    uint32_t site;
    void *key;
    Node *node;
    /* A silent one: who asked for the call, in the place of the hub that makes it. */
    uint8_t cause;
    uint32_t cause_id;
    /* The queue whose waiters it wakes. */
    uint32_t unlocks;
    struct Thread *thread;
    struct Timer *next_of_node, *prev_of_node;
} Timer;

typedef struct Listener {
    uint32_t id, resource;
    int fd;
    uint8_t mode;
    void *key;
    Node *node;
    struct Listener *next_of_node, *prev_of_node;
    struct Listener *next_of_fd, *prev_of_fd;
} Listener;

/* `joined`: of a join, the greenlet, which may be gone by the time that its end is noticed. `inferred`: it was found, not watched. */
typedef struct {
    uint32_t resource, joined;
    uint8_t op, inferred;
} Waiting;

enum { NODE_STARTED = 1, NODE_HUB = 2, NODE_NAMED = 4, NODE_GONE = 8, NODE_MAIN = 16 };

/* A greenlet, as the recorder knows it. The object is never owned: `object` is compared, not used. */
struct Node {
    uint32_t id, refs;
    uint8_t state, flags, woken, timed;
    /* How it will have ended should it pass control on as after a return, and what may know better: endings.c. */
    uint8_t how;
    struct Witness *witness;
    uint16_t thread;
    uint32_t spawner, spawn_site, site, name;
    /* Its function is a runtime's: its name, if no better one shows itself until it ends. */
    uint32_t last_name;
    uint64_t since_ns, deadline_ns;
    void *object;
    /* `intents`: the outermost wait that a hook has announced; `links`: what it is linked to without being inside a hooked wait.
       Each has room for one at least, and for more once it had to have (`has_room`). */
    Waiting *waits, *intents, *links;
    Waiting one_wait, one_intent, one_link;
    uint8_t wait_count, intent_count, link_count, wait_room, intent_room, link_room;
    uint32_t links_lost;
    /* What it waits for if nothing else is known. */
    uint32_t otherwise;
    /* Results that its end sets. */
    uint32_t feeds[GT_MAX_FEEDS];
    uint8_t feed_count;
    uint16_t intent_depth, acquire_depth, release_depth;
    uint32_t join_resource;
    /* The queue of which it was woken for something. */
    uint32_t matched;
    /* Inside of a select: whatever it begins to listen for is one more alternative. */
    uint8_t selecting;
    /* The pool or semaphore inside of whose __init__ it is; and whether that makes a semaphore that stands for a pool's places. */
    void *creating;
    uint8_t making_places;
    /* It was found inside of an acquire that no hook saw begin: what it will hold, how often, and whether that was told. */
    uint32_t pending;
    uint16_t pending_times;
    uint8_t pending_held;
    /* It was found waiting for something that has a number only while it does. */
    uint32_t passing;
    Timer *timers;
    Listener *listeners;
    /* What the greenlet's dict has of it; not owned. */
    struct Tag *tag;
    Node *next, *prev;
};

typedef struct {
    uint32_t greenlet, site;
    uint64_t since_ns;
    uint8_t inferred;
} Hold;

/* A put or get (`op`) that may end a wait once the hub looks at the queue, and whose it was. */
typedef struct {
    uint32_t who;
    uint8_t waker, op;
} Due;

/* An object that stands for a resource: the Event inside of a pool. */
typedef struct Alias {
    void *key;
    PyObject *watch;
    struct Alias *next;
} Alias;

struct Resource {
    uint32_t id, creator, site;
    /* Who was the last to do something to it that may wake those who wait; `toucher_kind` is 0 while nobody has. */
    uint32_t toucher;
    /* The greenlet that has finished and whose result it takes over, until then 0. */
    uint32_t fed_by;
    uint8_t toucher_kind;
    uint8_t kind, signal, inferred;
    uint64_t touched_ns;
    uint64_t capacity;
    void *key;
    PyObject *watch;
    Hold *holds;
    uint32_t hold_count, hold_room;
    /* Eventlet's queues, from the moment that the hub was asked to look at them: what was done meanwhile, oldest first. */
    Due *dues;
    uint8_t due_count, is_asked;
    Alias *aliases;
    Resource *next, *prev;
};

typedef struct {
    uint32_t resource, generation;
    Listener *listeners;
} FdEntry;

typedef struct Thread {
    uint16_t index;
    uint64_t native_id;
    Node *current;
    PyObject *chained;
    uint8_t tracing, displaced, cause, polling;
    uint32_t cause_id, cause_resource;
    /* The queue whose waiters the hub is waking. */
    uint32_t unlocking;
    /* When the earliest of the timers that were armed here is due, 0 for none; stale once that timer is gone. */
    uint64_t earliest_ns;
    uint8_t earliest_stale;
    uint32_t main_greenlet;
    /* It was told by whoever found its greenlets, and has not spoken itself. */
    uint8_t found;
    /* Compared, never used. */
    void *main_object;
    /* Somebody's tracer that sits on top of ours calls it, as it does what was there before us. */
    PyObject *below;
    uint8_t calling, ended, told;
    /* Its last event that says who has the thread or that the hub polls; and its hub. The watchdog looks at them without the
       GIL, and therefore no Thread is freed before it has been stopped. */
    uint8_t turn_kind, polls;
    uint32_t turn_greenlet, hub_greenlet;
    uint64_t turn_ns, hog_turn_ns, hog_ns;
    struct Thread *next;
} Thread;

typedef struct {
    /* `quiet`: it goes on, but nothing is told just now. `outside`: how many are in the middle of something, in Python of the program's. */
    int recording, quiet, outside, letting_go;
    /* the ring */
    char *map;
    size_t map_bytes;
    uint64_t *words;
    Record *records;
    uint64_t head, slot, slots, left, per_generation, last_ns;
    char *names;
    uint64_t names_bytes;
    int in_keyframe;
    /* what lives */
    Node *nodes;
    Resource *resources;
    Thread *threads;
    PtrMap resource_by_object, resource_by_id, node_by_join, timer_by_object, listener_by_object;
    /* A threading.Thread and the greenlet that runs it, while it runs. */
    PtrMap node_by_thread;
    /* Main greenlet of a thread that another one has started -> the tracer that was there, or None; owned, until the thread takes it. */
    PtrMap chained_by_main;
    /* A watcher that another thread has sent to -> that thread's index + 1. */
    PtrMap sender_by_object;
    /* A watcher of a child or a signal -> its pid or number + 1. */
    PtrMap number_by_object;
    /* what adapters say of types: resource kind + 1; is a hub; is started with its function as the first argument */
    PtrMap kind_by_type, hub_types, named_types;
    /* what a resource stands for that this code object makes: kind + 1 */
    PtrMap kind_by_maker;
    FdEntry *fds;
    int fd_room;
    uint32_t next_greenlet, next_resource, next_timer, next_listener;
    uint16_t next_thread;
    int depth;
    /* Recording began in the middle of lives: what is first met now may have been held before, by somebody unknown. */
    uint8_t late;
    /* While something is told that was found: its site is no place of the code that runs. */
    uint8_t finding;
    /* Records name another thread than the one that runs (found.c). */
    uint8_t in_found_thread;
    struct Thread *finder;
    uint32_t found_site;
} Global;

extern Global gt;
extern PyObject *s_tag, *s_switch, *s_throw, *s_gr_frame, *s_self, *s_name, *s__run, *s_run;
extern PyTypeObject TagType, WatchType, WitnessType, HookType, FireType;

static inline uint64_t
now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* maps.c */
void *map_get(PtrMap *map, void *key);
int map_set(PtrMap *map, void *key, void *value);
void map_remove(PtrMap *map, void *key);
void map_clear(PtrMap *map, void (*end)(void *key, void *value));
#define TOMBSTONE ((void *)1)
/* A number as a key; pointers are never that small. */
#define ID_KEY(id) ((void *)((uintptr_t)(id) << 4))

/* ring.c */
int ring_map(const char *path);
void ring_unmap(void);
void ring_adopt_names(const char *from, uint64_t bytes);
void emit(uint8_t kind, uint8_t flags, uint64_t t_ns, uint32_t greenlet, uint32_t other, uint32_t site, uint64_t arg);

/* greenlets.c */
extern __thread Thread *self_thread;
Thread *this_thread(void);
Node *node_of(Greenlet *g);
void node_forget(Node *node);
void greenlets_let_go(void);
Node *node_of_new(Greenlet *g, Node *spawner);
Node *current_node(void);
void node_release(Node *node);
int has_room(Node *node, Waiting **list, uint8_t *room, int wanted);
void timer_unlink(Timer *timer);
void thread_enter(Thread *th, Node *node);
void name_at_start(Node *node, Greenlet *g);
void listener_leave_node(Listener *l);

/* resources.c */
FdEntry *fd_entry(int fd);
Resource *resource_of(PyObject *object, uint8_t kind);
Resource *resource_find(PyObject *object);
Resource *resource_seen(PyObject *object, uint8_t kind, uint64_t capacity);
Resource *resource_passing(uint8_t kind);
void resource_passed(uint32_t id);
void resources_let_go(void);
void resource_created(PyObject *object, uint8_t kind, uint64_t capacity);
void resource_resized(Resource *r, uint64_t capacity);
void resource_alias(PyObject *object, PyObject *owner, uint8_t kind);
uint8_t kind_of_maker(uint8_t otherwise);
uint32_t resource_of_join(Node *node);
uint32_t resource_of_fd(int fd);
uint8_t kind_of(PyObject *object, uint8_t otherwise);
int type_is_in(PtrMap *types, PyObject *object);

/* vocabulary.c */
void say_switch(PyObject *event, Greenlet *origin, Greenlet *target);
void say_wake(Node *node, uint8_t waker, uint32_t who, uint32_t resource);
void say_acquire(Node *node, Resource *resource);
void say_holds(Node *node, Resource *resource, uint32_t site, int inferred);
void say_release(Node *node, Resource *resource);
void say_touch(uint8_t kind, Node *node, Resource *resource, uint64_t arg);
void say_work_on(Resource *resource, Node *node);
void say_wake_by(Node *node, Node *me);
void say_intent(Node *node, uint32_t resource, uint8_t op);
void add_intent(Node *node, uint32_t resource, uint8_t op);
void wake(Node *node, uint8_t waker, uint32_t who, uint32_t resource, uint64_t t);

/* endings.c */
void witness_leaves(Node *node);
void thrown_into(Node *node);
uint8_t how_it_ended(Node *node, Greenlet *g);
/* queues.c */
void ask_queue(Resource *r);
void leave_queue(Thread *th);
void say_due(Resource *r, Node *node, uint8_t op);
int wake_by_due(Thread *th, Node *target, uint64_t t);

/* watchers.c */
/* The key of a listener that has no object: the built-in hub tells fd and mode. */
static inline void *
fd_key(int64_t fd, int64_t mode)
{
    return (void *)((uintptr_t)1 << 62 | (uintptr_t)fd << 8 | (uintptr_t)mode << 4);
}
void say_link(Node *node, uint32_t resource, uint8_t op);
void say_unlink(Node *node, uint32_t resource);
void say_feeds(Node *node, Resource *result, int feeds);
void say_listen(void *key, int fd, uint8_t mode, Node *node);
void say_unlisten(void *key);
void say_ready(int fd, uint8_t mode);
void say_heard(void *key);
void say_unlisten_all(int fd);
void say_fd_open(int fd);
void say_fd_close(int fd);
void say_timer(void *key, uint64_t due_ns, Node *node, uint8_t flags, int silent);
void say_timer_for(void *key, uint8_t cause, uint32_t cause_id, uint32_t unlocks);
void say_timer_end(void *key, int fired);

/* process.c */
void say_hub(Node *node, PyObject *type_name);
void say_name(Node *node, PyObject *text, uint8_t flags);
void say_last_name(Node *node);
#define GT_POLL_BY_TIMERS (-2)
void say_poll_begin(int64_t timeout_ns);
void say_poll_end(int64_t ready);
void say_text(uint8_t kind, PyObject *text);
void after_fork(uint64_t parent_pid);
void let_go(void);

/* module.c */
extern PyObject *trace_function, *greenlet_settrace, *greenlet_gettrace;
void trace_thread(void);
void sit_below(Thread *th);

/* others.c */
Greenlet *main_of_thread(void);
PyObject *take_chained(void *main_greenlet);
void adopt_chained(Thread *th);
PyObject *start_other(PyObject *module, PyObject *main_greenlet);
PyObject *stop_other(PyObject *module, PyObject *main_greenlet);
PyObject *tracing(PyObject *module, PyObject *ignored);
PyObject *instances(PyObject *module, PyObject *types);

/* discovery.c */
extern PyMethodDef discovery_methods[];

/* found.c */
extern PyMethodDef found_methods[];
void found_goes_on(Node *node, int in_vain);
void found_parks_again(Node *node);

/* names.c */
uint32_t intern_string(PyObject *text);
uint32_t intern_utf8(const char *text, Py_ssize_t size);
uint32_t site_of_current(void);
uint32_t site_of_thread(PyThreadState *ts);
uint32_t site_of_suspended(Greenlet *g, Node *name_it);
void name_by_function(Node *node, PyObject *function, int of_runtime);
int names_add_path(const char *prefix, uint8_t flag);
void names_let_go(void);

/* watchdog.c */
int watchdog_start(uint64_t limit_ns);
void watchdog_stop(void);

/* hooks.c */
int hooks_ready(void);
PyObject *hook_new(PyObject *module, PyObject *args, PyObject *kwargs);
int is_greenlet(PyObject *object);
PyObject *next_recorded(PyObject *iterator, iternextfunc original, uint8_t kind);

#endif
