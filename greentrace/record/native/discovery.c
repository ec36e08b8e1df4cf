/* Discovery: what lived before recording began, as far as only C can look for it.

   The search itself is Python's (greentrace/record/discovery); here is what Python cannot do, or not at this speed: all objects of
   given types, what an object refers to although the collector passes it by (a greenlet that is active), the stack and the
   variables of a frame without a trace left in it. found.c tells what was found. */
#include "core.h"
#include "frames.h"

typedef struct {
    PtrMap wanted;
    PyTypeObject *last;
    int last_wanted;
    PyObject **found;
    size_t count, room;
    int only_counts, failed;
} Search;

static int
look_at(PyObject *object, void *closure)
{
    Search *search = closure;
    PyTypeObject *type = Py_TYPE(object);
    /* Objects of one type come in rows. */
    if (type != search->last) {
        search->last = type;
        search->last_wanted = map_get(&search->wanted, type) != NULL;
    }
    if (!search->last_wanted)
        return 1;
    if (search->only_counts) {
        search->count++;
        return 1;
    }
    if (search->count == search->room) {
        size_t room = search->room ? search->room * 2 : 256;
        PyObject **bigger = realloc(search->found, room * sizeof *bigger);
        if (!bigger) {
            search->failed = 1;
            return 0;
        }
        search->found = bigger;
        search->room = room;
    }
    search->found[search->count++] = Py_NewRef(object);
    return 1;
}

static int
search_for(PyObject *types, Search *search)
{
    PyObject *list = PySequence_List(types);
    if (!list)
        return 0;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++)
        map_set(&search->wanted, PyList_GET_ITEM(list, i), PyList_GET_ITEM(list, i));
    visit_objects(look_at, search);
    Py_DECREF(list);
    free(search->wanted.keys);
    free(search->wanted.values);
    return 1;
}

/* how_many(types): instances(types), counted; nothing is kept alive by it, in whichever thread. */
static PyObject *
how_many(PyObject *module, PyObject *types)
{
    Search search = {.only_counts = 1};
    return search_for(types, &search) ? PyLong_FromSize_t(search.count) : NULL;
}

/* instances(types): every object that the collector knows whose type is exactly one of these. */
PyObject *
instances(PyObject *module, PyObject *types)
{
    Search search = {0};
    if (!search_for(types, &search))
        return NULL;
    PyObject *result = search.failed ? PyErr_NoMemory() : PyList_New((Py_ssize_t)search.count);
    for (size_t i = 0; i < search.count; i++)
        if (result)
            PyList_SET_ITEM(result, (Py_ssize_t)i, search.found[i]);
        else
            Py_DECREF(search.found[i]);
    free(search.found);
    return result;
}

static int
add_to_list(PyObject *object, void *list)
{
    return PyList_Append(list, object);
}

/* referents(object): what it refers to, asked of the object itself: the collector does not look into active greenlets. */
static PyObject *
referents(PyObject *module, PyObject *object)
{
    PyObject *list = PyList_New(0);
    traverseproc traverse = Py_TYPE(object)->tp_traverse;
    if (list && traverse && traverse(object, add_to_list, list) < 0)
        Py_CLEAR(list);
    return list;
}

/* stack(frame): (code object, index of its instruction) of each frame, innermost first. */
static PyObject *
stack(PyObject *module, PyObject *frame)
{
    if (!PyFrame_Check(frame))
        return PyErr_Format(PyExc_TypeError, "takes a frame");
    PyObject *list = PyList_New(0);
    for (Frame *f = frame_of_object(frame); list && f; f = f->previous) {
        if (frame_is_hidden(f))
            continue;
        PyCodeObject *code = frame_code(f);
        PyObject *pair = Py_BuildValue("(On)", code, (Py_ssize_t)((_Py_CODEUNIT *)frame_instruction(f) - _PyCode_CODE(code)));
        if (!pair || PyList_Append(list, pair) < 0)
            Py_CLEAR(list);
        Py_XDECREF(pair);
    }
    return list;
}

/* slots(frame, depth, indices, code, at): variables and stack entries of the frame that is so many further out, if it still stands
   at that instruction of that code: another thread may have run meanwhile. None: nothing is there. */
static PyObject *
slots(PyObject *module, PyObject *args)
{
    PyObject *frame, *indices, *expected;
    Py_ssize_t depth, at;
    if (!PyArg_ParseTuple(args, "O!nO!On", &PyFrame_Type, &frame, &depth, &PyTuple_Type, &indices, &expected, &at))
        return NULL;
    Frame *f = frame_of_object(frame);
    while (f && (frame_is_hidden(f) || depth-- > 0))
        f = f->previous;
    if (f && ((PyObject *)frame_code(f) != expected || (_Py_CODEUNIT *)frame_instruction(f) - _PyCode_CODE(frame_code(f)) != at))
        f = NULL;
    PyObject *list = PyList_New(PyTuple_GET_SIZE(indices));
    for (Py_ssize_t i = 0; list && i < PyTuple_GET_SIZE(indices); i++) {
        Py_ssize_t index = PyLong_AsSsize_t(PyTuple_GET_ITEM(indices, i));
        PyCodeObject *code = f ? frame_code(f) : NULL;
        PyObject *value = code && index >= 0 && index < code->co_nlocalsplus + code->co_stacksize ? frame_slot(f, index) : NULL;
        if (value && index < code->co_nlocalsplus && PyCell_Check(value))
            value = PyCell_GET(value);
        PyList_SET_ITEM(list, i, Py_NewRef(value ? value : Py_None));
    }
    if (PyErr_Occurred())
        Py_CLEAR(list);
    return list;
}

/* native_threads(): the system's number of each thread, by Python's. */
static PyObject *
native_threads(PyObject *module, PyObject *ignored)
{
    PyObject *all = PyDict_New();
    for (PyThreadState *ts = PyInterpreterState_ThreadHead(PyInterpreterState_Get()); all && ts; ts = PyThreadState_Next(ts)) {
        PyObject *key = PyLong_FromUnsignedLong(ts->thread_id), *value = PyLong_FromUnsignedLong(ts->native_thread_id);
        if (!key || !value || PyDict_SetItem(all, key, value) < 0)
            Py_CLEAR(all);
        Py_XDECREF(key);
        Py_XDECREF(value);
    }
    return all;
}

PyMethodDef discovery_methods[] = {
    {"how_many", how_many, METH_O, "how_many(types): the number of objects of exactly these types."},
    {"referents", referents, METH_O, "referents(object): what it refers to."},
    {"stack", stack, METH_O, "stack(frame): (code, instruction) of each frame, innermost first."},
    {"slots", slots, METH_VARARGS, "slots(frame, depth, indices, code, at): variables and stack entries of one frame."},
    {"native_threads", native_threads, METH_NOARGS, "native_threads(): native id of each thread, by its ident."},
    {NULL, NULL, 0, NULL},
};
