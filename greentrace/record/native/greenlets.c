/* Greenlets: the threads and the greenlets that live, each with its number.

   A greenlet is known by a tag in its dict, whose end tells that the greenlet is gone. The object is never owned. */
#include "core.h"

#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

__thread Thread *self_thread;

/* Without the GIL, when nothing of Python's runs in the thread any more. */
static void
thread_ended(void *th)
{
    ((Thread *)th)->ended = 1;
    ((Thread *)th)->main_object = NULL;
}

static pthread_key_t end_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void
make_key(void)
{
    pthread_key_create(&end_key, thread_ended);
}

static void
meet_thread(Thread *th, Greenlet *main_greenlet)
{
    th->main_greenlet = main_greenlet ? node_of(main_greenlet)->id : 0;
    emit(GT_THREAD, 0, now_ns(), th->main_greenlet, 0, 0, th->native_id);
    th->told = 1;
}

Thread *
this_thread(void)
{
    if (self_thread) {
        if ((!self_thread->main_greenlet || self_thread->found) && gt.recording && !gt.in_found_thread) {
            /* Known from an earlier recording, or only by its greenlets, which may have been taken for another thread's. */
            self_thread->found = 0;
            PyObject *type, *value, *traceback;
            PyErr_Fetch(&type, &value, &traceback);
            Greenlet *up = main_of_thread();
            PyErr_Restore(type, value, traceback);
            meet_thread(self_thread, up);
            Py_XDECREF(up);
        }
        return self_thread;
    }
    uint64_t native_id = (uint64_t)syscall(SYS_gettid);
    for (Thread *found = gt.threads; found; found = found->next)
        if (found->found && found->native_id == native_id) {
            self_thread = found;
            pthread_once(&once, make_key);
            pthread_setspecific(end_key, found);
            PyObject *type, *value, *traceback;
            PyErr_Fetch(&type, &value, &traceback);
            Greenlet *up = main_of_thread();
            PyErr_Restore(type, value, traceback);
            found->found = 0;
            found->main_object = up;
            meet_thread(found, up);
            Py_XDECREF(up);
            return found;
        }
    Thread *th = calloc(1, sizeof(Thread));
    if (!th)
        Py_FatalError("greentrace: out of memory");
    th->index = gt.next_thread++;
    th->native_id = native_id;
    self_thread = th;
    pthread_once(&once, make_key);
    pthread_setspecific(end_key, th);
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    Greenlet *up = main_of_thread();
    PyErr_Restore(type, value, traceback);
    th->main_object = up;
    meet_thread(th, up);
    Py_XDECREF(up);
    th->next = gt.threads;
    gt.threads = th;
    return th;
}

typedef struct Tag {
    PyObject_HEAD
    Node *node;
} Tag;

static void
lists_init(Node *node)
{
    node->waits = &node->one_wait;
    node->intents = &node->one_intent;
    node->links = &node->one_link;
    node->wait_room = node->intent_room = node->link_room = 1;
}

/* Whether a list of a node's holds `wanted`, at most GT_MAX_WAITS, from now on. */
int
has_room(Node *node, Waiting **list, uint8_t *room, int wanted)
{
    if (wanted <= *room)
        return 1;
    int more = wanted <= GT_FEW_WAITS ? GT_FEW_WAITS : GT_MAX_WAITS, own = *room > 1;
    Waiting *bigger = node->refs ? realloc(own ? *list : NULL, (size_t)more * sizeof(Waiting)) : NULL;
    if (!bigger)
        return 0;
    if (!own)
        bigger[0] = **list;
    *list = bigger;
    *room = (uint8_t)more;
    return 1;
}

void
node_release(Node *node)
{
    if (--node->refs == 0 && node->flags & NODE_GONE) {
        /* Lost rather than taken from under the feet of whoever is in the middle of something. */
        if (gt.letting_go && gt.outside)
            return;
        if (node->wait_room > 1)
            free(node->waits);
        if (node->intent_room > 1)
            free(node->intents);
        if (node->link_room > 1)
            free(node->links);
        free(node);
    }
}

void
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

void
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

/* What is known of a greenlet goes. Who is still inside of one of our hooks with it has a reference of its own. */
void
node_forget(Node *node)
{
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
    if (gt.sender_by_object.used)
        map_remove(&gt.sender_by_object, ID_KEY(node->id));
    node->state = GT_STATE_COLLECTED;
    node->flags |= NODE_GONE;
    node->object = NULL;
    if (node->tag)
        node->tag->node = NULL;
    node->tag = NULL;
    node_release(node);
}

/* The greenlet's object is gone: what is known of it goes too. */
static void
tag_dealloc(Tag *tag)
{
    if (tag->node) {
        if (gt.recording)
            emit(GT_COLLECT, 0, now_ns(), tag->node->id, 0, 0, 0);
        node_forget(tag->node);
    }
    PyObject_Free(tag);
}

/* The greenlets keep nothing of ours: they lose their tags, and who is not found keeps one that says nothing. */
void
greenlets_let_go(void)
{
    PyObject *gc = gt.nodes ? PyImport_ImportModule("gc") : NULL, *all = gc ? PyObject_CallMethod(gc, "get_objects", NULL) : NULL;
    while (gt.nodes) {
        witness_leaves(gt.nodes);
        node_forget(gt.nodes);
    }
    for (Py_ssize_t i = 0; all && i < PyList_GET_SIZE(all); i++) {
        Greenlet *g = (Greenlet *)PyList_GET_ITEM(all, i);
        if (!is_greenlet((PyObject *)g) || !g->dict || !PyDict_CheckExact(g->dict))
            continue;
        PyObject *tag = PyDict_GetItemWithError(g->dict, s_tag);
        if (tag && Py_IS_TYPE(tag, &TagType) && PyDict_DelItem(g->dict, s_tag) < 0)
            PyErr_Clear();
        /* It was made for the tag, and nobody has asked for it since. */
        if (tag && !PyDict_GET_SIZE(g->dict) && Py_REFCNT(g->dict) == 1)
            Py_CLEAR(g->dict);
    }
    PyErr_Clear();
    Py_XDECREF(all);
    Py_XDECREF(gc);
}

PyTypeObject TagType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "greentrace.Tag",
    .tp_basicsize = sizeof(Tag),
    .tp_dealloc = (destructor)tag_dealloc,
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "The number of a greenlet, kept in its __dict__; its end tells that the greenlet was collected.",
};

static Node no_memory_node = {
    .waits = &no_memory_node.one_wait, .intents = &no_memory_node.one_intent, .links = &no_memory_node.one_link,
    .wait_room = 1, .intent_room = 1, .link_room = 1,
};

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
    lists_init(node);
    tag->node = node;
    node->tag = tag;
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

void
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
void
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
        if (!th->tracing && gt.recording) {
            if (node->state != GT_STATE_RUNNING && node != &no_memory_node) {
                /* It was seen when it did not run, and nobody has told of the switch. */
                uint64_t t = now_ns();
                emit(GT_STATE, GT_STATE_RUNNING, t, node->id, 0, 0, t);
                node->state = GT_STATE_RUNNING;
                node->since_ns = t;
                node->wait_count = 0;
            }
            trace_thread();
        }
    }
    Py_DECREF(g);
    return node;
}
