/* known.c: the map from addresses to rows. */
#include "known.h"

#include "qi_test.h"

#include <string.h>

#define KEYS 600 /* of the model: more than the map's first capacity */

static const void *
key(unsigned long long number)
{
    return (const void *)(uintptr_t)(number * 16 + 16);
}

static void
empty_map(void)
{
    struct qi_known_map map = {0};

    CHECK(qi_known_find(&map, key(1)) == NULL);
    qi_known_remove(&map, key(1));
    CHECK_INT(map.len, 0);
    qi_known_fini(&map);
    CHECK(map.entries == NULL);
}

static void
an_entry_is_made_once(void)
{
    struct qi_known_map map = {0};
    struct qi_known *entry = qi_known_enter(&map, key(1), 10);

    CHECK(entry != NULL && entry->object == key(1));
    CHECK_INT(entry->ref, 0);
    CHECK_INT(entry->row, 0);
    entry->ref = 7;
    CHECK(qi_known_enter(&map, key(1), 10) == entry);
    CHECK_INT(qi_known_find(&map, key(1))->ref, 7);
    CHECK_INT(map.len, 1);
    qi_known_remove(&map, key(1));
    CHECK(qi_known_find(&map, key(1)) == NULL);
    CHECK_INT(qi_known_enter(&map, key(1), 10)->ref, 0);
    qi_known_fini(&map);
}

static void
no_more_than_asked_for(void)
{
    struct qi_known_map map = {0};

    for (unsigned i = 0; i < 5; i++) {
        CHECK(qi_known_enter(&map, key(i), 5) != NULL);
    }
    CHECK(qi_known_enter(&map, key(5), 5) == NULL);
    CHECK(qi_known_enter(&map, key(4), 5) != NULL);
    qi_known_remove(&map, key(0));
    CHECK(qi_known_enter(&map, key(5), 5) != NULL);
    CHECK_INT(map.len, 5);
    qi_known_fini(&map);
}

/* The map holds exactly what the model holds: value 0 means absent. */
static void
compare(const struct qi_known_map *map, const uint64_t *model)
{
    size_t len = 0;

    for (unsigned i = 0; i < KEYS; i++) {
        const struct qi_known *entry = qi_known_find(map, key(i));
        CHECK_INT(entry != NULL, model[i] != 0);
        if (entry != NULL) {
            CHECK_INT(entry->ref, model[i]);
            len++;
        }
    }
    CHECK_INT(map->len, len);
    for (size_t i = 0; i < map->capacity; i++) {
        len -= map->entries[i].object != NULL;
    }
    CHECK_INT(len, 0);
}

static void
like_a_naive_model(void)
{
    unsigned long long state = 0x9e3779b97f4a7c15ULL;

    /* Few keys (long clusters come and go), then many (it grows). */
    for (unsigned keys = 3; keys <= KEYS; keys = keys * 3 / 2) {
        struct qi_known_map map = {0};
        uint64_t model[KEYS] = {0};
        for (int i = 0; i < 4000; i++) {
            unsigned number = (unsigned)(qi_test_random(&state) % keys);
            if (qi_test_random(&state) % 2 == 0) {
                model[number] = qi_test_random(&state) | 1;
                qi_known_enter(&map, key(number), KEYS)->ref = model[number];
            }
            else {
                model[number] = 0;
                qi_known_remove(&map, key(number));
            }
            if (i % 97 == 0) {
                compare(&map, model);
            }
        }
        compare(&map, model);
        qi_known_fini(&map);
    }
}

/* A cluster that goes around the end of the table closes its gaps too. */
static void
clusters_around_the_end(void)
{
    struct qi_known_map map = {0};
    const void *last[8];
    int found = 0;

    qi_known_enter(&map, key(0), KEYS); /* allocates */
    for (unsigned long long i = 1; found < 8; i++) {
        CHECK(qi_known_enter(&map, key(i), KEYS) != NULL);
        if (map.entries[map.capacity - 1].object == key(i) || found > 0) {
            if (qi_known_find(&map, key(i)) >= map.entries + map.capacity - 1
                || qi_known_find(&map, key(i)) < map.entries + 8) {
                last[found++] = key(i);
                continue;
            }
        }
        qi_known_remove(&map, key(i));
    }
    for (int gone = 0; gone < 8; gone++) {
        qi_known_remove(&map, last[gone]);
        for (int i = 0; i < 8; i++) {
            CHECK_INT(qi_known_find(&map, last[i]) != NULL, i > gone);
        }
    }
    CHECK_INT(map.len, 1);
    qi_known_fini(&map);
}

int
main(void)
{
    RUN(empty_map);
    RUN(an_entry_is_made_once);
    RUN(no_more_than_asked_for);
    RUN(like_a_naive_model);
    RUN(clusters_around_the_end);
    return 0;
}
