/*
 * Hash maps from bytes to what stands around their nodes (intrusive, chained, seeded).
 *
 * The map owns only its table of buckets. The key's bytes belong to the member and must not change
 * while it is in the map.
 */
#ifndef GAVEL__MAP_H
#define GAVEL__MAP_H

#include "base/memory.h"

typedef struct gavel__map_node {
    struct gavel__map_node *next;
    uint64_t hash;
    gavel_bytes key;
} gavel__map_node;

typedef struct gavel__map {
    const gavel_allocator *allocator; /* borrowed */
    gavel__map_node **buckets;
    size_t n_buckets; /* a power of two, or 0 before the first insertion */
    size_t n_nodes;
    uint64_t seed; /* from outside, so that nobody can choose keys that collide */
} gavel__map;

void gavel__map_init(gavel__map *map, const gavel_allocator *allocator, uint64_t seed);

/* Frees the buckets; the members are the caller's. Takes a zeroed map. */
void gavel__map_finish(gavel__map *map);

/* Forgets all members and keeps the buckets. Costs as much as there are buckets. */
void gavel__map_clear(gavel__map *map);

/* The member with that key, or NULL. */
gavel__map_node *gavel__map_find(const gavel__map *map, gavel_bytes key);

/* For keys that are looked up again and again: their hash, and the search by it. */
uint64_t gavel__map_hash(const gavel__map *map, gavel_bytes key);
gavel__map_node *gavel__map_find_hashed(const gavel__map *map, gavel_bytes key, uint64_t hash);

/* Adds a node under `key`, which must not be there yet. False when there is no memory. */
bool gavel__map_insert(gavel__map *map, gavel_bytes key, gavel__map_node *node);

/* The same with the key's hash, as gavel__map_hash gave it. */
bool gavel__map_insert_hashed(
    gavel__map *map, gavel_bytes key, uint64_t hash, gavel__map_node *node);

/* Removes a node that is in the map. */
void gavel__map_remove(gavel__map *map, gavel__map_node *node);

#endif
