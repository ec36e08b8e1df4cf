/* Maps: from a pointer, or a number made into one, to whatever is known of it. Open addressing; nothing in them is owned. */
#include "core.h"

/* Empty it; `end` is told of each entry, if given, when it stands in the map no more. */
void
map_clear(PtrMap *map, void (*end)(void *key, void *value))
{
    PtrMap old = *map;
    *map = (PtrMap){0};
    for (size_t i = 0; end && old.keys && i <= old.mask; i++)
        if (old.keys[i] && old.keys[i] != TOMBSTONE)
            end(old.keys[i], old.values[i]);
    free(old.keys);
    free(old.values);
}

static inline size_t
map_hash(void *key)
{
    uint64_t h = (uint64_t)(uintptr_t)key >> 4;
    return (size_t)((h * 0x9E3779B97F4A7C15u) >> 20);
}

void *
map_get(PtrMap *map, void *key)
{
    if (map->keys == NULL)
        return NULL;
    for (size_t i = map_hash(key);; i++) {
        void *at = map->keys[i & map->mask];
        if (at == key)
            return map->values[i & map->mask];
        if (at == NULL)
            return NULL;
    }
}

static int
map_grow(PtrMap *map)
{
    size_t room = map->keys ? (map->used * 4 > map->mask ? (map->mask + 1) * 2 : map->mask + 1) : 64;
    PtrMap bigger = {calloc(room, sizeof(void *)), calloc(room, sizeof(void *)), room - 1, 0, 0};
    if (!bigger.keys || !bigger.values) {
        free(bigger.keys);
        free(bigger.values);
        return -1;
    }
    for (size_t i = 0; map->keys && i <= map->mask; i++)
        if (map->keys[i] && map->keys[i] != TOMBSTONE)
            map_set(&bigger, map->keys[i], map->values[i]);
    free(map->keys);
    free(map->values);
    *map = bigger;
    return 0;
}

int
map_set(PtrMap *map, void *key, void *value)
{
    if ((map->keys == NULL || (map->filled + 1) * 2 > map->mask) && map_grow(map) < 0)
        return -1;
    size_t i = map_hash(key), grave = SIZE_MAX;
    for (;; i++) {
        void *at = map->keys[i & map->mask];
        if (at == key)
            break;
        if (at == TOMBSTONE && grave == SIZE_MAX)
            grave = i;
        if (at == NULL) {
            if (grave != SIZE_MAX)
                i = grave;
            else
                map->filled++;
            map->used++;
            break;
        }
    }
    map->keys[i & map->mask] = key;
    map->values[i & map->mask] = value;
    return 0;
}

void
map_remove(PtrMap *map, void *key)
{
    if (map->keys == NULL)
        return;
    for (size_t i = map_hash(key);; i++) {
        void *at = map->keys[i & map->mask];
        if (at == NULL)
            return;
        if (at == key) {
            map->keys[i & map->mask] = TOMBSTONE;
            map->used--;
            return;
        }
    }
}
