/* The little of greenlet's C API that the recorder needs.

   Declared here, so that building needs no header of another package: the layout of the object and the order of the
   capsule's functions are greenlet's published ABI (since 1.0). `greenlet_api_load` fills the table. */
#ifndef GREENTRACE_GREENLET_API_H
#define GREENTRACE_GREENLET_API_H

#include <Python.h>

typedef struct {
    PyObject_HEAD
    PyObject *weakrefs;
    PyObject *dict;
    void *implementation;
} Greenlet;

extern void **greenlet_api;

#define GREENLET_TYPE ((PyTypeObject *)greenlet_api[0])
#define GREENLET_EXIT ((PyTypeObject *)greenlet_api[2])
#define greenlet_getcurrent ((Greenlet * (*)(void)) greenlet_api[4])
#define greenlet_is_active ((int (*)(Greenlet *))greenlet_api[10])
#define greenlet_get_parent ((Greenlet * (*)(Greenlet *)) greenlet_api[11])

#endif
