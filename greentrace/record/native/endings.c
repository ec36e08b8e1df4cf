/* Endings: whether a greenlet that was thrown into has caught what was thrown and returned, or was ended by it.

   greenlet makes of a GreenletExit that nobody catches the result of the greenlet, and passes control on as after a return. What
   differs is what becomes of the outermost frame, if it has a frame object:

       it returns:   the object goes with the frame; or somebody keeps it, and then it stands at a RETURN
       it unwinds:   the traceback keeps the object, which takes the frame over, and goes with the traceback

   So whoever is thrown into gets a `Witness` in the object's f_trace, where nobody looks as long as the thread has no sys.settrace
   function. The frame object owns it, and it owns nothing: what lives and when it dies is as without us. */
#include "hooks.h"
#include "frames.h"

typedef struct Witness {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyFrameObject *frame;
    Node *node;
} Witness;

static int
is_running(PyFrameObject *frame)
{
    for (Frame *f = frame_of_thread(PyThreadState_Get()); f; f = f->previous)
        if (f == frame->f_frame)
            return 1;
    return 0;
}

static void
witness_dealloc(Witness *w)
{
    Node *node = w->node;
    if (node && node->witness == w) {
        node->witness = NULL;
        /* A debugger may have put a function of its own there. */
        node->how = frame_was_taken_over(w->frame) ? GT_HOW_KILLED : is_running(w->frame) ? GT_HOW_UNKNOWN : GT_HOW_RETURNED;
    }
    if (node)
        node_release(node);
    PyObject_Free(w);
}

/* A sys.settrace function has come since: it does not want to trace this frame, as if we were not here. */
static PyObject *
witness_call(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    Py_RETURN_NONE;
}

PyTypeObject WitnessType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "greentrace.Witness",
    .tp_basicsize = sizeof(Witness),
    .tp_dealloc = (destructor)witness_dealloc,
    .tp_call = PyVectorcall_Call,
    .tp_vectorcall_offset = offsetof(Witness, vectorcall),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_doc = "Tells how the frame ended in whose f_trace it is.",
};

/* Something is thrown into the greenlet that runs now. */
void
thrown_into(Node *node)
{
    if (node->witness || node->flags & (NODE_HUB | NODE_MAIN))
        return;
    PyThreadState *ts = PyThreadState_Get();
    PyFrameObject *frame = PyThreadState_GetFrame(ts), *back;
    while (frame && (back = PyFrame_GetBack(frame))) {
        Py_DECREF(frame);
        frame = back;
    }
    /* Without a frame of Python there is nobody to catch it, unless in C. */
    node->how = frame ? GT_HOW_UNKNOWN : GT_HOW_KILLED | GT_FLAG_INFERRED;
    Witness *w = frame && !frame->f_trace && !ts->c_tracefunc ? PyObject_New(Witness, &WitnessType) : NULL;
    if (w) {
        w->vectorcall = witness_call;
        w->frame = frame;
        w->node = node;
        node->refs++;
        node->witness = w;
        if (PyObject_SetAttrString((PyObject *)frame, "f_trace", (PyObject *)w) < 0)
            node->witness = NULL;
        Py_DECREF(w);
    }
    Py_XDECREF(frame);
    PyErr_Clear();
}

/* How a greenlet has ended that passed control on as after a return; the flags of FINISH. */
uint8_t
how_it_ended(Node *node, Greenlet *g)
{
    if (type_is_in(&gt.named_types, (PyObject *)g)) {
        /* A gevent Greenlet catches all that its function raises, and keeps it. */
        PyObject *error = peek((PyObject *)g, s_exception), *value = error ? peek((PyObject *)g, s_value_of_greenlet) : NULL;
        int failed = error && error != Py_None, killed = value && PyObject_TypeCheck(value, GREENLET_EXIT);
        Py_XDECREF(error);
        Py_XDECREF(value);
        if (failed || killed)
            return failed ? GT_HOW_EXCEPTION : GT_HOW_KILLED;
    }
    Witness *w = node->witness;
    if (!w)
        return node->how;
    /* Somebody keeps the frame object. */
    PyCodeObject *code = PyFrame_GetCode(w->frame);
    PyObject *bytes = PyCode_GetCode(code);
    int at = PyFrame_GetLasti(w->frame);
    uint8_t how = GT_HOW_UNKNOWN;
    if (bytes && at >= 0 && at < PyBytes_GET_SIZE(bytes))
        how = is_return((uint8_t)PyBytes_AS_STRING(bytes)[at]) ? GT_HOW_RETURNED : GT_HOW_KILLED;
    PyErr_Clear();
    Py_XDECREF(bytes);
    Py_DECREF(code);
    return how;
}
