/* Hooks: what the files of hooks share: the roles, the descriptor, and what tells what a callback or an attribute means.

   callbacks.c           attributes, and whom a callback concerns
   roles.c, pools.c      the roles that every runtime has
   eventlet.c, gevent.c  the roles of one runtime
   hooks.c               the descriptor that stands in a method's place */
#ifndef GREENTRACE_HOOKS_H
#define GREENTRACE_HOOKS_H
#include "core.h"

typedef enum {
    WAIT,            /* may park on its self */
    JOIN,            /* may park until the greenlet that is its self has finished */
    COMPOSITE,       /* may park on its self, and what it acquires and releases inside is its own affair */
    ACQUIRE,         /* may park; the caller holds self if the result is true */
    ENTER,           /* the same; holds self whatever the result is */
    RELEASE,
    RELEASE_ALL,     /* gives back whatever the caller holds of self (a Condition's wait) */
    ACQUIRE_AGAIN,   /* takes back as often as the first item of its argument says */
    SET,
    CLEAR,
    PUT,
    GET,
    CREATED,         /* __init__ of a resource */
    RESIZED,         /* a resource's capacity has changed */
    AFRESH,          /* inside of a Condition's wait: what happens to its lock is told, and a wait for it announced */
    WORK,            /* the caller does something to self that no event tells and that may end a wait */
    WORK_BY,         /* (self, greenlet): that greenlet does */
    POOL_ENTER,      /* may park until a place is free; its first argument or its result, a greenlet in the pool, then holds that place */
    POOL_RUN,        /* eventlet: pool._spawn_n_impl(function, args, kwargs, coro): the greenlet itself takes the place */
    POOL_LEAVE,      /* (pool, greenlet): its place is free */
    NAMED,           /* (self, function, ...): runs that function, whatever the greenlet was spawned with */
    THREAD_RUN,      /* threading.Thread's bootstrap: the current greenlet is that thread */
    THREAD_JOIN,     /* threading.Thread.join() */
    HUB_CREATED,     /* __init__ of a hub that keeps its greenlet in .greenlet */
    HUB_RUNS,        /* called in the hub's greenlet */
    FD_OPENED,       /* (hub, fd) */
    FD_CLOSED,       /* (hub or loop, fd) */
    EV_ADD,          /* eventlet: hub.add(evtype, fd, ...) -> listener */
    EV_ADD_CALLED,   /* the same where only the call of the listener shows that its fd is ready */
    EV_READY,        /* eventlet: hub._file_cb(callback, fd) */
    EV_FORGET,       /* eventlet: hub.remove_descriptor(fd) */
    EV_REMOVE,       /* eventlet: hub.remove(listener) */
    EV_TIMER,        /* eventlet: hub.add_timer(timer) */
    EV_TIMER_CANCEL, /* eventlet: hub.timer_canceled(timer) */
    EV_TIMER_CALL,   /* eventlet: timer() */
    EV_POLL,         /* eventlet: hub.do_poll(seconds) -> [(fd, mask)] */
    EV_WAIT,         /* eventlet: hub.wait(seconds) */
    EV_SELECT,       /* eventlet: selector.select(seconds), which the loop of its asyncio hub calls */
    EV_EXECUTE,      /* eventlet: tpool.execute(function, ...): a native thread calls it */
    EV_WAITPID,      /* eventlet: os.waitpid(pid, options) */
    GE_WAIT,         /* gevent: hub.wait(watcher) */
    GE_IO_START,     /* gevent: io.start(callback, ...) */
    GE_TIMER_START,  /* gevent: timer.start(callback, ...) */
    GE_STOP,         /* gevent: watcher.stop() or .close() */
    GE_LINK,         /* gevent: linkable.rawlink(callback) */
    GE_UNLINK,       /* gevent: linkable.unlink(callback) */
    GE_CALLBACK,     /* gevent: loop.run_callback(function, ...) */
    GE_ASYNC_START,  /* gevent: async_.start(callback, ...): what it calls is another thread's doing */
    GE_ASYNC_SEND,   /* gevent: async_.send() */
    GE_RESULT,       /* gevent: threadresult._on_async() sets the .receiver */
    GE_THREADS,      /* gevent: __init__ of a ThreadPool: its semaphore stands for the places in it */
    GE_CHILD_START,  /* gevent: child.start(callback, ...): what it calls is the doing of a child that ended */
    GE_SIGNAL_START, /* gevent: signal.start(callback, ...): what it calls is a signal's doing */
    GE_SIGNAL,       /* gevent: loop.signal(number) -> watcher */
    GE_IMAP,         /* gevent: imap._run(): if it waits, and for nothing that is known, it waits for room for its results */
    GE_SELECT,       /* gevent: may park on whatever it begins to listen for */
    PYTHON,          /* rare: extra(result, *args) afterwards */
    ROLE_COUNT,
} Role;

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *wrapped, *extra;
    uint8_t role, kind, op;
} Hook;

extern PyObject *s_greenlet, *s_fd, *s_events, *s_at, *s_after, *s_counter, *s_seconds, *s_tpl, *s_called, *s_read, *s_do_send, *s_kill;
extern PyObject *s_value, *s_size, *s_max_size, *s_cb, *s_listeners, *s_sem, *s_running, *s_n, *s_name_of_thread, *s_receiver, *s_killall3;
extern PyObject *s_killall, *s_cancel_wait, *s_cancel_waits, *s_on_expiration, *s_qualname, *s_trampoline_timeout, *s_select_timeout;
extern PyObject *s_semaphore, *s_pid, *s_result_semaphore, *s_exception, *s_value_of_greenlet;
extern PyObject *s_lower_bound, *s_pending, *s_coros, *s_self_of_frame, *s_wait_each_raw, *s_unlock;

/* callbacks.c */
PyObject *peek(PyObject *object, PyObject *name);
int64_t peek_long(PyObject *object, PyObject *name, int64_t otherwise);
int64_t seconds_to_ns(PyObject *value);
int target_of_callback(PyObject *callback, Node **node);
PyObject *fire_new(PyObject *callback, void *key, uint8_t waker);

/* roles.c */
Resource *limited(PyObject *object, uint8_t kind);
PyObject *call(Hook *h, PyObject *const *args, size_t nargsf, PyObject *kwnames);
PyObject *call_with_fire_at(Hook *h, Py_ssize_t at, void *key, uint8_t waker, PyObject *const *args, Py_ssize_t n, PyObject *kwnames);
PyObject *call_with_fire(Hook *h, uint8_t waker, PyObject *const *args, Py_ssize_t n, PyObject *kwnames);
PyObject *call_waiting(Hook *h, Node *node, uint32_t resource, uint8_t op, PyObject *const *args, size_t nargsf, PyObject *kwnames);
PyObject *call_lock(Hook *h, PyObject *const *args, size_t nargsf, PyObject *kwnames);
PyObject *call_composite(Hook *h, PyObject *const *args, size_t nargsf, PyObject *kwnames);
PyObject *call_touch(Hook *h, PyObject *const *args, size_t nargsf, PyObject *kwnames);
PyObject *call_created(Hook *h, PyObject *const *args, size_t nargsf, PyObject *kwnames);
PyObject *call_resized(Hook *h, PyObject *const *args, size_t nargsf, PyObject *kwnames);
PyObject *call_afresh(Hook *h, PyObject *const *args, size_t nargsf, PyObject *kwnames);
void hub_runs(PyObject *hub);

/* pools.c */
void named_by(Node *node, PyObject *function);
PyObject *call_pool(Hook *h, PyObject *const *args, size_t nargsf, PyObject *kwnames);
PyObject *call_thread(Hook *h, PyObject *const *args, size_t nargsf, PyObject *kwnames);

/* eventlet.c */
int announce_keys(Node *node, Resource *dagpool);
PyObject *call_eventlet(Hook *h, PyObject *const *args, size_t nargsf, PyObject *kwnames);

/* gevent.c */
PyObject *call_gevent(Hook *h, PyObject *const *args, size_t nargsf, PyObject *kwnames);

#endif
