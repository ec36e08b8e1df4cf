/* Watchdog: a thread of ours that tells who keeps a thread of the program, while it does, with its stack.

   It sleeps without the GIL and looks at the last turn of each thread that has a hub. Only when one is overdue does it take the
   GIL and read the frames of that thread; while C code keeps the GIL, that is as soon as it lets go. A hub that polls is idle.
   All signals are blocked in it. Before a fork and before the interpreter ends it is stopped, and gone from /proc as well: Python
   warns of a fork in a process that has more than one thread. */
#include "core.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STACK_BYTES (512 * 1024)

typedef struct {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    int stop;
    long tid;
    pid_t pid;
} Dog;

static Dog *dog;
static uint64_t limit_ns;

static uint64_t
running_for(Thread *th, uint64_t now)
{
    uint64_t since = __atomic_load_n(&th->turn_ns, __ATOMIC_ACQUIRE);
    if (!since || since >= now || !th->hub_greenlet || th->turn_kind == GT_POLL_BEGIN)
        return 0;
    /* Of a hub that does not tell of its polls it is not known whether it works. */
    if (th->turn_greenlet == th->hub_greenlet && !th->polls)
        return 0;
    return now - since;
}

static int
is_overdue(Thread *th, uint64_t now)
{
    uint64_t ns = running_for(th, now);
    /* Of one long run it is told again whenever it has become twice as long. */
    return ns >= limit_ns && (th->turn_ns != th->hog_turn_ns || ns >= 2 * th->hog_ns);
}

/* Somebody else of that thread is kept waiting. */
static int
others_live(Thread *th)
{
    for (Node *n = gt.nodes; n; n = n->next)
        if (n->thread == th->index && n->id != th->turn_greenlet && n->id != th->hub_greenlet
            && (n->state == GT_STATE_PARKED || n->state == GT_STATE_RUNNABLE || n->state == GT_STATE_CREATED))
            return 1;
    return 0;
}

static PyThreadState *
state_of(Thread *th)
{
    /* The system uses the numbers of threads again: the newest is at the front. */
    for (Thread *other = gt.threads; other != th; other = other->next)
        if (!other || other->native_id == th->native_id)
            return NULL;
    PyThreadState *ts = PyInterpreterState_ThreadHead(PyInterpreterState_Main());
    while (ts && ts->native_thread_id != th->native_id)
        ts = PyThreadState_Next(ts);
    return ts;
}

/* With the GIL. */
static void
tell_hogs(void)
{
    for (Thread *th = gt.threads; gt.recording && th; th = th->next) {
        uint64_t now = now_ns();
        if (!is_overdue(th, now))
            continue;
        PyThreadState *ts = state_of(th);
        if (!ts) {
            th->hub_greenlet = 0;
            continue;
        }
        th->hog_turn_ns = th->turn_ns;
        th->hog_ns = now - th->turn_ns;
        if (others_live(th)) {
            /* It is an event of that thread. */
            self_thread = th;
            emit(GT_HOG, 0, now, th->turn_greenlet, 0, site_of_thread(ts), th->hog_ns);
            self_thread = NULL;
        }
    }
}

static void *
watch(void *mine)
{
    Dog *me = mine;
    __atomic_store_n(&me->tid, syscall(SYS_gettid), __ATOMIC_RELEASE);
    pthread_mutex_lock(&me->lock);
    while (!me->stop) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        uint64_t ns = (uint64_t)until.tv_nsec + limit_ns / 4;
        until.tv_sec += (time_t)(ns / 1000000000u);
        until.tv_nsec = (long)(ns % 1000000000u);
        pthread_cond_timedwait(&me->wake, &me->lock, &until);
        if (me->stop)
            break;
        int overdue = 0;
        uint64_t now = now_ns();
        for (Thread *th = __atomic_load_n(&gt.threads, __ATOMIC_ACQUIRE); th; th = th->next)
            overdue |= is_overdue(th, now);
        if (!overdue)
            continue;
        pthread_mutex_unlock(&me->lock);
        /* Whoever stops us lets go of the GIL while it waits. */
        PyGILState_STATE state = PyGILState_Ensure();
        tell_hogs();
        PyGILState_Release(state);
        pthread_mutex_lock(&me->lock);
    }
    pthread_mutex_unlock(&me->lock);
    return NULL;
}

/* Replaces the one that there is. Not 0 when the system gives no thread. */
int
watchdog_start(uint64_t limit)
{
    watchdog_stop();
    Dog *new = calloc(1, sizeof(Dog));
    if (!new)
        return -1;
    pthread_condattr_t clock;
    pthread_attr_t attributes;
    sigset_t all, before;
    pthread_mutex_init(&new->lock, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&new->wake, &clock);
    pthread_condattr_destroy(&clock);
    new->pid = getpid();
    limit_ns = limit;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&new->thread, &attributes, watch, new);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (failed)
        free(new);
    else
        dog = new;
    return failed;
}

/* Harmless when there is none. With the GIL, which is let go meanwhile: another thread may come here too. */
void
watchdog_stop(void)
{
    Dog *mine = dog;
    dog = NULL;
    /* In the child of a fork that another thread's came between: the thread is not here. */
    if (!mine || mine->pid != getpid())
        return;
    Py_BEGIN_ALLOW_THREADS
    pthread_mutex_lock(&mine->lock);
    mine->stop = 1;
    pthread_cond_signal(&mine->wake);
    pthread_mutex_unlock(&mine->lock);
    pthread_join(mine->thread, NULL);
    /* It is joined a moment before the system has forgotten it. */
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%ld", mine->tid);
    for (int tries = 0; mine->tid && tries < 1000 && access(path, F_OK) == 0; tries++)
        usleep(20);
    free(mine);
    Py_END_ALLOW_THREADS
}
