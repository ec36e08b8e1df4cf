/* Core: what the parts of the native recorder share.

   core.c    the ring, the tables of what lives, keyframes, and the vocabulary as functions
   names.c   strings, code objects and sites, interned into the arena of names
   hooks.c   the descriptors that stand in the place of a runtime's methods
   module.c  the face that Python sees

   All of it runs with the GIL held, which is the only lock. Nothing here raises into the traced program: what cannot be
   recorded is lost and counted. */
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
#define GT_MAX_WAITS 8

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

typedef struct {
    uint32_t resource;
    uint8_t op;
} Waiting;

enum { NODE_STARTED = 1, NODE_HUB = 2, NODE_NAMED = 4, NODE_GONE = 8, NODE_MAIN = 16 };

/* A greenlet, as the recorder knows it. The object is never owned: `object` is compared, not used. */
struct Node {
    uint32_t id, refs;
    uint8_t state, flags, woken, thrown, timed;
    uint16_t thread;
    uint32_t spawner, spawn_site, site, name;
    uint64_t since_ns, deadline_ns;
    void *object;
    Waiting waits[GT_MAX_WAITS];
    uint8_t wait_count;
    /* The outermost wait that a hook has announced, and how many hooks the greenlet is inside of. */
    Waiting intents[GT_MAX_WAITS];
    uint8_t intent_count;
    /* What it is linked to without being inside a hooked wait. */
    Waiting links[GT_MAX_WAITS];
    uint8_t link_count;
    uint32_t links_lost;
    uint16_t intent_depth, acquire_depth, release_depth;
    uint32_t join_resource;
    Timer *timers;
    Listener *listeners;
    Node *next, *prev;
};

typedef struct {
    uint32_t greenlet, site;
    uint64_t since_ns;
} Hold;

struct Resource {
    uint32_t id, creator, site, toucher;
    uint8_t kind, signal, inferred;
    uint64_t capacity;
    void *key;
    PyObject *watch;
    Hold *holds;
    uint32_t hold_count, hold_room;
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
    uint32_t main_greenlet;
    struct Thread *next;
} Thread;

typedef struct {
    int recording;
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
    /* what adapters say of types: resource kind + 1; is a hub; is started with its function as the first argument */
    PtrMap kind_by_type, hub_types, named_types;
    FdEntry *fds;
    int fd_room;
    uint32_t next_greenlet, next_resource, next_timer, next_listener;
    uint16_t next_thread;
    int depth;
} Global;

extern Global gt;
extern PyObject *s_tag, *s_switch, *s_throw, *s_gr_frame, *s_self, *s_name;
extern PyTypeObject TagType, WatchType, HookType, FireType;

static inline uint64_t
now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* core.c: maps */
void *map_get(PtrMap *map, void *key);
int map_set(PtrMap *map, void *key, void *value);
void map_remove(PtrMap *map, void *key);

/* core.c: ring */
int ring_map(const char *path);
void ring_adopt_names(const char *from, uint64_t bytes);
void emit(uint8_t kind, uint8_t flags, uint64_t t_ns, uint32_t greenlet, uint32_t other, uint32_t site, uint64_t arg);

/* core.c: what lives */
Thread *this_thread(void);
Node *node_of(Greenlet *g);
Node *node_of_new(Greenlet *g, Node *spawner);
Node *current_node(void);
void node_release(Node *node);
Resource *resource_of(PyObject *object, uint8_t kind);
Resource *resource_find(PyObject *object);
Resource *resource_seen(PyObject *object, uint8_t kind, uint64_t capacity);
void resource_created(PyObject *object, uint8_t kind, uint64_t capacity);
void resource_resized(Resource *resource, uint64_t capacity);
uint32_t resource_of_join(Node *node);
uint32_t resource_of_fd(int fd);
uint8_t kind_of(PyObject *object, uint8_t otherwise);
int type_is_in(PtrMap *types, PyObject *object);

/* core.c: the vocabulary */
void say_switch(PyObject *event, Greenlet *origin, Greenlet *target);
void trace_thread(void); /* module.c */
void say_wake(Node *node, uint8_t waker, uint32_t who, uint32_t resource);
void say_acquire(Node *node, Resource *resource);
void say_release(Node *node, Resource *resource);
void say_touch(uint8_t kind, Node *node, Resource *resource, uint64_t arg);
void say_intent(Node *node, uint32_t resource, uint8_t op);
void say_link(Node *node, uint32_t resource, uint8_t op);
void say_unlink(Node *node, uint32_t resource);
void say_listen(void *key, int fd, uint8_t mode, Node *node);
void say_unlisten(void *key);
void say_ready(int fd, uint8_t mode);
void say_fd_open(int fd);
void say_fd_close(int fd);
void say_timer(void *key, uint64_t due_ns, Node *node, uint8_t flags, int silent);
void say_timer_end(void *key, int fired);
void say_hub(Node *node, PyObject *type_name);
void say_name(Node *node, PyObject *text, uint8_t flags);
void say_poll_begin(int64_t timeout_ns);
void say_poll_end(int64_t ready);
void say_text(uint8_t kind, PyObject *text);
void after_fork(uint64_t parent_pid);
void forget(void);

/* names.c */
uint32_t intern_string(PyObject *text);
uint32_t intern_utf8(const char *text, Py_ssize_t size);
uint32_t site_of_current(void);
uint32_t site_of_suspended(Greenlet *g, Node *name_it);
int names_add_path(const char *prefix, uint8_t flag);

/* hooks.c */
int hooks_ready(void);
PyObject *hook_new(PyObject *module, PyObject *args, PyObject *kwargs);
int is_greenlet(PyObject *object);

#endif
