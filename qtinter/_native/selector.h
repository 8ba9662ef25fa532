/*
 * selector.h - the loop's own selector: selectors.BaseSelector's API over a qi_poller.
 *
 * The table is indexed by descriptor, so that a ready descriptor finds its handles in
 * one step.  The poller's deadline and wakeup are not in it: get_map() shows what was
 * registered and nothing else.
 *
 * qtinter._loop.QiSelector adds the abstract base class, so isinstance(loop._selector,
 * selectors.BaseSelector) holds and the object takes attributes.
 */
#ifndef QI_NATIVE_SELECTOR_H
#define QI_NATIVE_SELECTOR_H

#include "poller.h"
#include "state.h"

struct qi_watch {
    PyObject *fileobj; /* owned; NULL: not registered */
    PyObject *data;    /* owned; the loop stores the tuple (reader, writer) */
    int events;
};

typedef struct {
    PyObject_HEAD
    qi_state *st;             /* borrowed */
    struct qi_poller poller;  /* .fd is -1 once closed */
    struct qi_watch *watches; /* owned; indexed by descriptor */
    int watches_len;
    Py_ssize_t registered;
    int patched;      /* an instance attribute hides select() */
    int wake_pending; /* it was woken, and no wait has noticed yet */
} SelectorObject;

int qi_selector_init_type(PyObject *module, qi_state *st);

/* The entry of a registered descriptor, else NULL without an exception. */
static inline struct qi_watch *
qi_selector_watch(SelectorObject *self, int fd)
{
    if (fd < 0 || fd >= self->watches_len || self->watches[fd].fileobj == NULL) {
        return NULL;
    }
    return &self->watches[fd];
}

/* Ends the wait that is on, or the next one.  Any thread that holds the GIL.  Whoever
   waits clears wake_pending: the loop, or somebody who calls select(). */
static inline void
qi_selector_wake(SelectorObject *self)
{
    if (!self->wake_pending) {
        self->wake_pending = 1;
        (void)qi_poller_wake(&self->poller);
    }
}

/* selectors.SelectorKey of a registered descriptor, new reference. */
PyObject *qi_selector_key(SelectorObject *self, int fd);

/* 0 or -1 with an exception, as selectors.register() and so on raise it. */
int qi_selector_register(SelectorObject *self, PyObject *fileobj, int fd, int events,
                         PyObject *data);
int qi_selector_modify(SelectorObject *self, PyObject *fileobj, int fd, int events,
                       PyObject *data);
int qi_selector_unregister(SelectorObject *self, PyObject *fileobj, int fd);

/* The descriptor of an int or of an object with fileno(); -1 with ValueError. */
int qi_fileobj_to_fd(PyObject *fileobj);

/* The same for what may be registered: as the selectors module does, an object that was
   closed meanwhile, and has no descriptor any more, is found by its identity. */
int qi_selector_find(SelectorObject *self, PyObject *fileobj);

#endif
