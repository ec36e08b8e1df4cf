/* Others: the trace functions of other threads, set and taken back from here.

   greenlet keeps a thread's tracer in a structure of its own that only that thread reaches by greenlet's functions. Here it is
   written where it lies:

       main greenlet -> implementation [..., state, ...]        state: main greenlet, current greenlet, tracer, ...

   Where in them the two words are is found out in this thread, with a tracer that nobody else can have, and tried once: what
   is written must be what greenlet.gettrace() then says. Each main greenlet is checked before it is touched: the same kind of
   implementation, a state that can be read and that names this greenlet as its main. Whatever fits not is left alone. All of
   it happens with the GIL held, as whatever greenlet does to the same words does. */
#define _GNU_SOURCE
#include "core.h"

#include <pthread.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WORDS = 64, STATE_WORDS = 16 };

static struct {
    int tried, known;
    size_t state_at, main_at, tracer_at;
    void *kind;
} layout;

/* Copy `count` words; 0 when they cannot all be read, which must not be found out by a fault. */
static int
copy_words(void *from, void **to, size_t count)
{
    struct iovec mine = {to, count * sizeof(void *)}, theirs = {from, count * sizeof(void *)};
    return process_vm_readv(getpid(), &mine, 1, &theirs, 1, 0) == (ssize_t)(count * sizeof(void *));
}

static int
is_pointer(void *word)
{
    return (uintptr_t)word > 4096 && !((uintptr_t)word & (sizeof(void *) - 1));
}

/* The greenlet that this thread began in; a new reference, or NULL without an error. */
Greenlet *
main_of_thread(void)
{
    Greenlet *up = greenlet_getcurrent();
    while (up) {
        Greenlet *parent = greenlet_get_parent(up);
        if (!parent)
            break;
        Py_DECREF(up);
        up = parent;
    }
    PyErr_Clear();
    return up;
}

/* Whether it points into the stack of this thread, where our own variables are. */
static int
is_on_stack(void *word)
{
    pthread_attr_t attributes;
    void *begin = NULL;
    size_t size = 0;
    if (pthread_getattr_np(pthread_self(), &attributes))
        return 1;
    int failed = pthread_attr_getstack(&attributes, &begin, &size);
    pthread_attr_destroy(&attributes);
    return failed || ((char *)word >= (char *)begin && (char *)word < (char *)begin + size);
}

/* What lies behind the implementation may point to the same state: the first word that does is its own. */
static void
find_layout(Greenlet *main_greenlet, PyObject *mark)
{
    void *words[WORDS], *state[STATE_WORDS];
    size_t count = WORDS;
    void *found = NULL;
    int other = 0;
    while (count && !copy_words(main_greenlet->implementation, words, count))
        count--;
    for (size_t i = 1; i < count; i++) {
        if (!is_pointer(words[i]) || !copy_words(words[i], state, STATE_WORDS))
            continue;
        for (size_t at = 0; at < STATE_WORDS; at++)
            for (size_t main_at = 0; state[at] == mark && main_at < STATE_WORDS; main_at++)
                if (state[main_at] == main_greenlet && !is_on_stack(words[i])) {
                    other |= found && (words[i] != found || at != layout.tracer_at);
                    if (!found) {
                        found = words[i];
                        layout.state_at = i;
                        layout.main_at = main_at;
                        layout.tracer_at = at;
                        layout.kind = words[0];
                    }
                    break;
                }
    }
    layout.known = found && !other;
}

/* Find out where the words are, and try it. */
static void
calibrate(void)
{
    layout.tried = 1;
    Greenlet *main_greenlet = main_of_thread();
    PyObject *mark = PyObject_CallNoArgs((PyObject *)&PyBaseObject_Type), *other = PyObject_CallNoArgs((PyObject *)&PyBaseObject_Type);
    PyObject *before = main_greenlet && mark && other ? PyObject_CallOneArg(greenlet_settrace, mark) : NULL;
    if (before) {
        find_layout(main_greenlet, mark);
        PyObject **tracer = NULL;
        if (layout.known) {
            tracer = ((PyObject ***)main_greenlet->implementation)[layout.state_at] + layout.tracer_at;
            *tracer = Py_NewRef(other);
        }
        PyObject *said = PyObject_CallOneArg(greenlet_settrace, before);
        if (tracer && said == other)
            /* The reference that the state had. */
            Py_DECREF(mark);
        else if (tracer) {
            layout.known = 0;
            *tracer = mark;
            Py_DECREF(other);
        }
        Py_XDECREF(said);
    }
    PyErr_Clear();
    Py_XDECREF(before);
    Py_XDECREF(other);
    Py_XDECREF(mark);
    Py_XDECREF(main_greenlet);
}

/* Where the tracer of that main greenlet's thread is. NULL: `*why` is Py_False when the thread is no more, Py_None when it cannot be known. */
static PyObject **
tracer_of(PyObject *object, PyObject **why)
{
    *why = Py_None;
    if (!layout.tried)
        calibrate();
    if (!layout.known || !Py_IS_TYPE(object, GREENLET_TYPE))
        return NULL;
    void *words[WORDS], *state[STATE_WORDS];
    Greenlet *g = (Greenlet *)object;
    if (!copy_words(g->implementation, words, layout.state_at + 1) || words[0] != layout.kind)
        return NULL;
    if (!words[layout.state_at]) {
        *why = Py_False;
        return NULL;
    }
    if (!is_pointer(words[layout.state_at]) || !copy_words(words[layout.state_at], state, STATE_WORDS) || state[layout.main_at] != object)
        return NULL;
    if (state[layout.tracer_at] && !is_pointer(state[layout.tracer_at]))
        return NULL;
    return (PyObject **)words[layout.state_at] + layout.tracer_at;
}

/* The record of the thread that began in this greenlet, if it has said anything. Of two the later one: the address was used again. */
static Thread *
thread_of(PyObject *main_greenlet)
{
    for (Thread *th = gt.threads; th; th = th->next)
        if (th->main_object == main_greenlet)
            return th;
    return NULL;
}

/* The tracer that was there when another thread started the one that began in this greenlet: None without one, NULL if none did. */
PyObject *
take_chained(void *main_greenlet)
{
    PyObject *chained = gt.chained_by_main.used ? map_get(&gt.chained_by_main, main_greenlet) : NULL;
    if (chained)
        map_remove(&gt.chained_by_main, main_greenlet);
    return chained;
}

/* It becomes this thread's own affair. */
void
adopt_chained(Thread *th)
{
    PyObject *chained = take_chained(th->main_object);
    if (!chained)
        return;
    PyObject *here = PyObject_CallNoArgs(greenlet_gettrace);
    th->tracing = here == trace_function;
    Py_XDECREF(here);
    PyErr_Clear();
    if (chained == Py_None)
        Py_DECREF(chained);
    else if (th->tracing)
        Py_XSETREF(th->chained, chained);
    else
        Py_XSETREF(th->below, chained);
}

/* start_other(main greenlet): trace the switches of its thread. True; False when that thread is no more; None when it cannot be done. */
PyObject *
start_other(PyObject *module, PyObject *main_greenlet)
{
    PyObject *why, **tracer = tracer_of(main_greenlet, &why);
    if (!tracer)
        return Py_NewRef(why);
    PyObject *before = *tracer;
    if (before == trace_function) {
        Thread *th = thread_of(main_greenlet);
        if (th)
            th->tracing = 1;
        Py_RETURN_TRUE;
    }
    /* What it says next is said by the thread itself, which then takes this over. */
    PyObject *older = map_get(&gt.chained_by_main, main_greenlet);
    if (map_set(&gt.chained_by_main, main_greenlet, before ? before : Py_NewRef(Py_None)) < 0) {
        if (!before)
            Py_DECREF(Py_None);
        Py_RETURN_NONE;
    }
    Py_XDECREF(older);
    *tracer = Py_NewRef(trace_function);
    Py_RETURN_TRUE;
}

/* stop_other(main greenlet): give its thread's tracer back. True; False when somebody sits on top of us; None when it cannot be done. */
PyObject *
stop_other(PyObject *module, PyObject *main_greenlet)
{
    PyObject *why, **tracer = tracer_of(main_greenlet, &why);
    if (!tracer) {
        if (why == Py_False)
            Py_RETURN_TRUE;
        return Py_NewRef(why);
    }
    Thread *th = thread_of(main_greenlet);
    PyObject *chained = map_get(&gt.chained_by_main, main_greenlet);
    if (*tracer != trace_function) {
        if (!chained && !(th && th->tracing))
            Py_RETURN_TRUE;
        if (th) {
            sit_below(th);
            if (chained && chained != Py_None)
                Py_XSETREF(th->below, Py_NewRef(chained));
            Py_XDECREF(take_chained(main_greenlet));
        }
        Py_RETURN_FALSE;
    }
    if (chained)
        take_chained(main_greenlet);
    else if (th && th->tracing) {
        chained = th->chained;
        th->chained = NULL;
    }
    if (th)
        th->tracing = 0;
    if (chained == Py_None)
        Py_CLEAR(chained);
    *tracer = chained;
    Py_DECREF(trace_function);
    Py_RETURN_TRUE;
}

/* tracing(): the native ids of the threads that have our trace function, as far as they have said anything since. */
PyObject *
tracing(PyObject *module, PyObject *ignored)
{
    PyObject *ids = PyList_New(0);
    for (Thread *th = gt.threads; th && ids; th = th->next) {
        PyObject *id = th->tracing && !th->ended ? PyLong_FromUnsignedLongLong(th->native_id) : NULL;
        if (th->tracing && !th->ended && (!id || PyList_Append(ids, id) < 0))
            Py_CLEAR(ids);
        Py_XDECREF(id);
    }
    return ids;
}
