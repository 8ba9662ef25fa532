/*
 * known.h - what Python objects are known as to the inspector: pointer -> row.
 *
 * Open addressing with linear probing; removal closes the gap, so there are no
 * tombstones.  Keys are borrowed pointers: whoever enters one removes it before the
 * object dies, or replaces the entry when the address turns up again.
 *
 * No Python and no threads here; the caller holds the GIL.
 */
#ifndef QI_NATIVE_KNOWN_H
#define QI_NATIVE_KNOWN_H

#include <stddef.h>
#include <stdint.h>

struct qi_known {
    const void *object; /* NULL: free */
    uint64_t ref;       /* QI_REF(kind, id) */
    uint32_t row;       /* index of its row, or QI_NO_SLOT */
    uint32_t text;      /* intern id, where the entry is a code location or a text */
};

struct qi_known_map {
    struct qi_known *entries;
    size_t capacity; /* a power of two, or 0 */
    size_t len;
    uint64_t changes; /* entries made and removed: the same number, the same places */
};

void qi_known_fini(struct qi_known_map *map);

/* Where the search for an object begins; of a map that has room. */
static inline size_t
qi_known_home(const struct qi_known_map *map, const void *object)
{
    /* Objects are 16-byte aligned; Fibonacci hashing spreads what is left. */
    uint64_t hash = ((uint64_t)(uintptr_t)object >> 4) * UINT64_C(0x9e3779b97f4a7c15);
    return (size_t)(hash >> 32) & (map->capacity - 1);
}

struct qi_known *qi_known_search(const struct qi_known_map *map, const void *object);

/* The entry of an object, NULL if there is none.  Valid until the next change. */
static inline struct qi_known *
qi_known_find(const struct qi_known_map *map, const void *object)
{
    if (map->len == 0) {
        return NULL;
    }
    struct qi_known *entry = &map->entries[qi_known_home(map, object)];
    return entry->object == object ? entry
           : entry->object == NULL ? NULL
                                   : qi_known_search(map, object);
}

/* The entry of an object, made (all zero but the key) if there is none.  NULL when
   there is no memory or `most` entries exist. */
struct qi_known *qi_known_enter(struct qi_known_map *map, const void *object,
                                size_t most);

/* The same for an object that is known to have no entry. */
struct qi_known *qi_known_add(struct qi_known_map *map, const void *object, size_t most);

void qi_known_remove(struct qi_known_map *map, const void *object);

/* Removes an entry that qi_known_find() returned, with nothing changed since. */
void qi_known_drop(struct qi_known_map *map, struct qi_known *entry);

#endif
