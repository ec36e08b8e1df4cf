/* Names: strings, code objects and sites, each interned once into the arena of names.

   A site is a stack: the code object and the current instruction of up to `gt.depth` frames. It is found by a hash of
   those addresses; only a new one is resolved to lines and written down. Code objects that appear in a site are kept
   alive, because their address stands for them: the one kind of object of the program that the recorder holds on to. */
#include "core.h"
#include "frames.h"

enum { NAME_STRING = 1, NAME_CODE, NAME_SITE, NAME_META };
enum { CODE_RUNTIME = 1, CODE_LIBRARY = 2 };
enum { WORD_NAMES_HEAD = 17, WORD_LOST_NAMES = 18 };

typedef struct {
    uint32_t id;
    uint8_t flags;
} Code;

typedef struct {
    char *prefix;
    size_t size;
    uint8_t flag;
} PathRule;

static PyObject *strings; /* str -> int */
static PtrMap codes;
static PathRule *rules;
static int rule_count;
static uint32_t next_string = 1, next_code = 1, next_site = 1;
static uint64_t *site_hashes;
static uint32_t *site_ids;
static size_t site_mask, site_used;

/* Append an entry; 0 when the arena is full, which is counted. */
static int
write_name(uint8_t kind, uint8_t flags, uint32_t id, const void *payload, size_t size)
{
    if (!gt.words)
        return 0;
    uint64_t at = gt.words[WORD_NAMES_HEAD];
    uint64_t whole = 16 + ((size + 7) & ~(size_t)7);
    if (at + whole > gt.names_bytes) {
        gt.words[WORD_LOST_NAMES]++;
        return 0;
    }
    char *p = gt.names + at;
    uint32_t size32 = (uint32_t)size, zero = 0;
    memset(p, 0, whole);
    memcpy(p, &size32, 4);
    p[4] = (char)kind;
    p[5] = (char)flags;
    memcpy(p + 8, &id, 4);
    memcpy(p + 12, &zero, 4);
    memcpy(p + 16, payload, size);
    __atomic_store_n(&gt.words[WORD_NAMES_HEAD], at + whole, __ATOMIC_RELEASE);
    return 1;
}

uint32_t
intern_string(PyObject *text)
{
    if (!text || !PyUnicode_Check(text))
        return 0;
    if (!strings && !(strings = PyDict_New())) {
        PyErr_Clear();
        return 0;
    }
    PyObject *known = PyDict_GetItemWithError(strings, text);
    if (known)
        return (uint32_t)PyLong_AsUnsignedLong(known);
    Py_ssize_t size;
    PyObject *bytes = PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace");
    char *utf8;
    if (!bytes || PyBytes_AsStringAndSize(bytes, &utf8, &size) < 0) {
        PyErr_Clear();
        Py_XDECREF(bytes);
        return 0;
    }
    if (size > 4096)
        size = 4096;
    uint32_t id = 0;
    if (write_name(NAME_STRING, 0, next_string, utf8, (size_t)size)) {
        id = next_string++;
        PyObject *number = PyLong_FromUnsignedLong(id);
        if (!number || PyDict_SetItem(strings, text, number) < 0)
            PyErr_Clear();
        Py_XDECREF(number);
    }
    Py_DECREF(bytes);
    return id;
}

uint32_t
intern_utf8(const char *text, Py_ssize_t size)
{
    PyObject *object = PyUnicode_FromStringAndSize(text, size);
    if (!object) {
        PyErr_Clear();
        return 0;
    }
    uint32_t id = intern_string(object);
    Py_DECREF(object);
    return id;
}

int
names_add_path(const char *prefix, uint8_t flag)
{
    PathRule *more = realloc(rules, (size_t)(rule_count + 1) * sizeof(PathRule));
    if (!more)
        return -1;
    rules = more;
    rules[rule_count].prefix = strdup(prefix);
    rules[rule_count].size = strlen(prefix);
    rules[rule_count++].flag = flag;
    return 0;
}

/* The longest prefix that fits says whose code it is. */
static uint8_t
path_flag(PyObject *filename)
{
    const char *path = PyUnicode_AsUTF8(filename);
    if (!path) {
        PyErr_Clear();
        return 0;
    }
    size_t best = 0;
    uint8_t flag = 0;
    for (int i = 0; i < rule_count; i++)
        if (rules[i].prefix && rules[i].size > best && !strncmp(path, rules[i].prefix, rules[i].size)) {
            best = rules[i].size;
            flag = rules[i].flag;
        }
    return flag;
}

static Code *
intern_code(PyCodeObject *code)
{
    Code *known = map_get(&codes, code);
    if (known)
        return known;
    known = calloc(1, sizeof(Code));
    if (!known)
        return NULL;
    uint32_t payload[3] = {intern_string(code->co_filename), intern_string(code->co_qualname), (uint32_t)code->co_firstlineno};
    known->flags = path_flag(code->co_filename);
    if (write_name(NAME_CODE, known->flags, next_code, payload, sizeof payload))
        known->id = next_code++;
    if (map_set(&codes, code, known) < 0) {
        free(known);
        return NULL;
    }
    Py_INCREF(code);
    return known;
}

static int
site_grow(void)
{
    size_t room = site_hashes ? (site_mask + 1) * 2 : 1024;
    uint64_t *hashes = calloc(room, sizeof *hashes);
    uint32_t *ids = calloc(room, sizeof *ids);
    if (!hashes || !ids) {
        free(hashes);
        free(ids);
        return -1;
    }
    for (size_t i = 0; site_hashes && i <= site_mask; i++)
        if (site_hashes[i]) {
            size_t at = site_hashes[i] & (room - 1);
            while (hashes[at])
                at = (at + 1) & (room - 1);
            hashes[at] = site_hashes[i];
            ids[at] = site_ids[i];
        }
    free(site_hashes);
    free(site_ids);
    site_hashes = hashes;
    site_ids = ids;
    site_mask = room - 1;
    return 0;
}

/* Number of the stack that begins at `f`; 0 for none. With `name_it`, the greenlet is named after its outermost function. */
static uint32_t
site_of(Frame *f, Node *name_it)
{
    PyCodeObject *frame_codes[GT_MAX_DEPTH];
    void *instructions[GT_MAX_DEPTH];
    PyCodeObject *outer[4] = {0};
    int depth = 0, total = 0;
    uint64_t hash = 0xcbf29ce484222325u;
    for (; f && (depth < gt.depth || name_it); f = f->previous) {
        if (frame_is_hidden(f))
            continue;
        PyCodeObject *code = frame_code(f);
        if (depth < gt.depth) {
            void *instruction = frame_instruction(f);
            frame_codes[depth] = code;
            instructions[depth++] = instruction;
            hash = (hash ^ (uint64_t)(uintptr_t)code) * 0x9E3779B97F4A7C15u;
            hash = (hash ^ (hash >> 29) ^ (uint64_t)(uintptr_t)instruction) * 0xBF58476D1CE4E5B9u;
        }
        outer[total++ & 3] = code;
        if (total > 10000)
            break;
    }
    if (name_it && total) {
        /* Outermost first: the first function that is no runtime's, else the one that it was made for, else the outermost. */
        PyCodeObject *best = NULL;
        for (int i = 1; i <= 4 && i <= total; i++) {
            PyCodeObject *code = outer[(total - i) & 3];
            Code *known = intern_code(code);
            if (known && !(known->flags & CODE_RUNTIME)) {
                best = code;
                break;
            }
        }
        if (best || !name_it->last_name)
            say_name(name_it, (best ? best : outer[(total - 1) & 3])->co_qualname, 0);
        else
            say_last_name(name_it);
    }
    if (!depth)
        return 0;
    hash ^= hash >> 32;
    if (!hash)
        hash = 1;
    if ((!site_hashes || site_used * 2 > site_mask) && site_grow() < 0)
        return 0;
    size_t at = hash & site_mask;
    while (site_hashes[at]) {
        if (site_hashes[at] == hash)
            return site_ids[at];
        at = (at + 1) & site_mask;
    }
    uint32_t payload[2 * GT_MAX_DEPTH];
    for (int i = 0; i < depth; i++) {
        Code *known = intern_code(frame_codes[i]);
        int line = frame_line(frame_codes[i], instructions[i]);
        payload[2 * i] = known ? known->id : 0;
        payload[2 * i + 1] = line > 0 ? (uint32_t)line : 0;
    }
    uint32_t id = write_name(NAME_SITE, 0, next_site, payload, (size_t)depth * 8) ? next_site++ : 0;
    site_hashes[at] = hash;
    site_ids[at] = id;
    site_used++;
    return id;
}

uint32_t
site_of_current(void)
{
    if (gt.finding)
        return gt.found_site;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    uint32_t site = site_of(frame_of_thread(PyThreadState_Get()), NULL);
    PyErr_Restore(type, value, traceback);
    return site;
}

/* The same of a thread that does not run now, because we have the GIL. */
uint32_t
site_of_thread(PyThreadState *ts)
{
    return site_of(frame_of_thread(ts), NULL);
}

/* What is being made stands for this kind of thing, going by the function that makes it. */
uint8_t
kind_of_maker(uint8_t otherwise)
{
    if (!gt.kind_by_maker.used)
        return otherwise;
    Frame *f = frame_of_thread(PyThreadState_Get());
    while (f && frame_is_hidden(f))
        f = f->previous;
    void *kind = f ? map_get(&gt.kind_by_maker, frame_code(f)) : NULL;
    return kind ? (uint8_t)((uintptr_t)kind - 1) : otherwise;
}

uint32_t
site_of_suspended(Greenlet *g, Node *name_it)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    uint32_t site = 0;
    PyObject *frame = PyObject_GetAttr((PyObject *)g, s_gr_frame);
    if (frame && PyFrame_Check(frame))
        site = site_of(frame_of_object(frame), name_it);
    Py_XDECREF(frame);
    PyErr_Restore(type, value, traceback);
    return site;
}

/* Name a greenlet after the function that it runs, if that is a function in Python. A runtime's own is its name only in the end,
   unless nothing better can be expected. */
void
name_by_function(Node *node, PyObject *function, int of_runtime)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (PyMethod_Check(function))
        function = PyMethod_GET_FUNCTION(function);
    if (PyFunction_Check(function)) {
        Code *known = intern_code((PyCodeObject *)PyFunction_GET_CODE(function));
        PyObject *name = ((PyCodeObject *)PyFunction_GET_CODE(function))->co_qualname;
        if (of_runtime || (known && !(known->flags & CODE_RUNTIME)))
            say_name(node, name, 0);
        else
            node->last_name = intern_string(name);
    }
    PyErr_Restore(type, value, traceback);
}

static void
end_code(void *code, void *known)
{
    free(known);
    Py_DECREF((PyObject *)code);
}

/* Nothing is known by a number any more, and no code object is held. */
void
names_let_go(void)
{
    Py_CLEAR(strings);
    map_clear(&codes, end_code);
    for (int i = 0; i < rule_count; i++)
        free(rules[i].prefix);
    free(rules);
    rules = NULL;
    rule_count = 0;
    free(site_hashes);
    free(site_ids);
    site_hashes = NULL;
    site_ids = NULL;
    site_mask = site_used = 0;
    next_string = next_code = next_site = 1;
}

/* After a fork: the new arena takes over what the old one held, because every number stays in use. */
void
ring_adopt_names(const char *from, uint64_t bytes)
{
    uint64_t at = gt.words[WORD_NAMES_HEAD];
    /* The first entry is the parent's account of itself; the child has written its own. */
    uint32_t first;
    if (bytes < 16)
        return;
    memcpy(&first, from, 4);
    uint64_t from_at = 16 + (((uint64_t)first + 7) & ~(uint64_t)7);
    /* Entry by entry: half of one would hide whatever comes after it. */
    while (from_at + 16 <= bytes) {
        uint32_t size;
        memcpy(&size, from + from_at, 4);
        uint64_t whole = 16 + (((uint64_t)size + 7) & ~(uint64_t)7);
        if (from_at + whole > bytes)
            break;
        if (at + whole <= gt.names_bytes) {
            memcpy(gt.names + at, from + from_at, whole);
            at += whole;
        }
        else
            gt.words[WORD_LOST_NAMES]++;
        from_at += whole;
    }
    __atomic_store_n(&gt.words[WORD_NAMES_HEAD], at, __ATOMIC_RELEASE);
}
