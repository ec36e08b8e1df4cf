/* Resources: what greenlets wait for and hold, each with its number, as long as its object lives. */
#include "core.h"

typedef struct Watch {
    PyObject_HEAD
    Resource *resource;
    /* NULL, or the object that only stands for the resource. */
    void *alias;
} Watch;

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
    free(r->dues);
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
        once.dues = NULL;
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

FdEntry *
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
