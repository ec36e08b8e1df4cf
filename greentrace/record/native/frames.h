/* Frames: all that depends on a version of CPython.

   A stack is walked over the interpreter's own frame records, which costs 1-2 ns a frame; making frame objects would
   cost ten to thirty times that. Each frame gives a code object and the address of its current instruction. */
#ifndef GREENTRACE_FRAMES_H
#define GREENTRACE_FRAMES_H

#ifndef Py_BUILD_CORE_MODULE
#define Py_BUILD_CORE_MODULE 1
#endif
#include <Python.h>
#include <frameobject.h>
#include <opcode.h>
#include "internal/pycore_frame.h"
#include "internal/pycore_pystate.h"
#if PY_VERSION_HEX < 0x030c0000
#include "internal/pycore_gc.h"
#include "internal/pycore_interp.h"
#endif

#if PY_VERSION_HEX < 0x030b0000 || PY_VERSION_HEX >= 0x030f0000
#error "the native recorder knows the frames of CPython 3.11 to 3.14; the Python recorder serves the others"
#endif
#ifdef Py_GIL_DISABLED
#error "the GIL is the recorder's only lock; a free-threaded Python has none"
#endif
#if PY_VERSION_HEX >= 0x030e0000
#include "internal/pycore_interpframe.h"
#endif

typedef struct _PyInterpreterFrame Frame;

/* From 3.14 on a frame holds tagged references; one that only bridges C calls has None in the place of a code object. */
#if PY_VERSION_HEX >= 0x030e0000
#define frame_code(f) ((PyCodeObject *)PyStackRef_AsPyObjectBorrow((f)->f_executable))
#define frame_instruction(f) ((void *)(f)->instr_ptr)
#define frame_of_thread(ts) ((ts)->current_frame)
#elif PY_VERSION_HEX < 0x030d0000
#define frame_code(f) ((PyCodeObject *)(f)->f_code)
#define frame_instruction(f) ((void *)(f)->prev_instr)
#define frame_of_thread(ts) ((ts)->cframe->current_frame)
#else
#define frame_code(f) ((PyCodeObject *)(f)->f_executable)
#define frame_instruction(f) ((void *)(f)->instr_ptr)
#define frame_of_thread(ts) ((ts)->current_frame)
#endif

static inline int
is_return(uint8_t opcode)
{
#ifdef RETURN_CONST
    if (opcode == RETURN_CONST)
        return 1;
#endif
    return opcode == RETURN_VALUE;
}

/* The function has ended and somebody kept the object, which then holds the frame itself. */
static inline int
frame_was_taken_over(PyFrameObject *object)
{
    return (void *)object->f_frame == (void *)object->_f_frame_data;
}

/* A frame that only bridges C calls, or whose function has not begun. */
static inline int
frame_is_hidden(Frame *f)
{
#if PY_VERSION_HEX >= 0x030e0000
    if (f->owner >= FRAME_OWNED_BY_INTERPRETER)
        return 1;
#elif PY_VERSION_HEX >= 0x030c0000
    if (f->owner == FRAME_OWNED_BY_CSTACK)
        return 1;
#endif
    PyCodeObject *code = frame_code(f);
    return f->owner != FRAME_OWNED_BY_GENERATOR
           && (_Py_CODEUNIT *)frame_instruction(f) < _PyCode_CODE(code) + code->_co_firsttraceable;
}

static inline int
frame_line(PyCodeObject *code, void *instruction)
{
    return PyCode_Addr2Line(code, (int)((char *)instruction - (char *)_PyCode_CODE(code)));
}

/* A variable or stack entry of a frame, NULL for nothing. Entries above the top of the stack are rubbish. */
#if PY_VERSION_HEX >= 0x030e0000
#define frame_slot(f, i) (PyStackRef_IsNullOrInt((f)->localsplus[i]) ? NULL : PyStackRef_AsPyObjectBorrow((f)->localsplus[i]))
#else
#define frame_slot(f, i) ((f)->localsplus[i])
#endif

/* Show every object that the collector knows, but those of gc.freeze(), to `look`, until that returns 0. */
static inline void
visit_objects(int (*look)(PyObject *, void *), void *closure)
{
#if PY_VERSION_HEX >= 0x030c0000
    PyUnstable_GC_VisitObjects(look, closure);
#else
    struct _gc_runtime_state *state = &PyInterpreterState_Get()->gc;
    for (int i = 0; i < NUM_GENERATIONS; i++) {
        PyGC_Head *head = &state->generations[i].head;
        for (PyGC_Head *gc = _PyGCHead_NEXT(head); gc != head; gc = _PyGCHead_NEXT(gc))
            if (!look((PyObject *)(gc + 1), closure))
                return;
    }
#endif
}

/* The innermost frame of a frame object, as `greenlet.gr_frame` gives it. */
static inline Frame *
frame_of_object(PyObject *object)
{
    return ((PyFrameObject *)object)->f_frame;
}

#endif
