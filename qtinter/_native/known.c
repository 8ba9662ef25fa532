#include "known.h"

#include <stdlib.h>

#define FIRST_CAPACITY 256

void
qi_known_fini(struct qi_known_map *map)
{
    free(map->entries);
    *map = (struct qi_known_map){0};
}

struct qi_known *
qi_known_search(const struct qi_known_map *map, const void *object)
{
    for (size_t i = qi_known_home(map, object);; i = (i + 1) & (map->capacity - 1)) {
        struct qi_known *entry = &map->entries[i];
        if (entry->object == object) {
            return entry;
        }
        if (entry->object == NULL) {
            return NULL;
        }
    }
}

/* The free entry where an object that is not in the map belongs. */
static struct qi_known *
place_for(struct qi_known_map *map, const void *object)
{
    size_t i = qi_known_home(map, object);

    while (map->entries[i].object != NULL) {
        i = (i + 1) & (map->capacity - 1);
    }
    return &map->entries[i];
}

static int
grow(struct qi_known_map *map)
{
    struct qi_known_map bigger = {.len = map->len, .changes = map->changes};

    bigger.capacity = map->capacity == 0 ? FIRST_CAPACITY : map->capacity * 2;
    bigger.entries = calloc(bigger.capacity, sizeof(*bigger.entries));
    if (bigger.entries == NULL) {
        return -1;
    }
    for (size_t i = 0; i < map->capacity; i++) {
        if (map->entries[i].object != NULL) {
            *place_for(&bigger, map->entries[i].object) = map->entries[i];
        }
    }
    free(map->entries);
    *map = bigger;
    return 0;
}

struct qi_known *
qi_known_add(struct qi_known_map *map, const void *object, size_t most)
{
    /* At most three quarters full. */
    if (map->len >= most || ((map->len + 1) * 4 > map->capacity * 3 && grow(map) < 0)) {
        return NULL;
    }
    struct qi_known *entry = place_for(map, object);
    *entry = (struct qi_known){.object = object};
    map->len++;
    map->changes++;
    return entry;
}

struct qi_known *
qi_known_enter(struct qi_known_map *map, const void *object, size_t most)
{
    struct qi_known *entry = qi_known_find(map, object);

    return entry != NULL ? entry : qi_known_add(map, object, most);
}

void
qi_known_drop(struct qi_known_map *map, struct qi_known *entry)
{
    size_t mask = map->capacity - 1;
    size_t hole = (size_t)(entry - map->entries);

    for (size_t i = (hole + 1) & mask; map->entries[i].object != NULL;
         i = (i + 1) & mask) {
        /* An entry moves into the hole unless its home lies after the hole. */
        size_t home = qi_known_home(map, map->entries[i].object);
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            map->entries[hole] = map->entries[i];
            hole = i;
        }
    }
    map->entries[hole] = (struct qi_known){0};
    map->len--;
    map->changes++;
}

void
qi_known_remove(struct qi_known_map *map, const void *object)
{
    struct qi_known *entry = qi_known_find(map, object);

    if (entry != NULL) {
        qi_known_drop(map, entry);
    }
}
