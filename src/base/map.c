/*
 * Hash maps: chains on a table of buckets that doubles when there are as many members as buckets,
 * and halves when there are few in a large one.
 * Every layer may use them.
 *
 * Keys come from outside, so the hash is a keyed one, made for that: SipHash, with one round for
 * each word and three at the end, as Python and Rust use it for their tables. A faster hash need
 * only have one weakness for somebody to find keys that collide under every seed, and this one is
 * no burden: 14 to 22 ns for keys of 5 to 40 bytes.
 * Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF" (2012).
 */
#include "base/map.h"

#include "base/text.h"

#include <assert.h>

#define N_BUCKETS_MIN ((size_t)16)

/* So many stay; more shrink when few of them are used. */
#define N_BUCKETS_KEPT ((size_t)1024)

/* ---- The hash ------------------------------------------------------------------------------ */

struct sip {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotate_left(uint64_t x, unsigned n)
{
    return (x << n) | (x >> (64 - n));
}

static inline void mix(struct sip *s)
{
    s->v0 += s->v1;
    s->v2 += s->v3;
    s->v1 = rotate_left(s->v1, 13) ^ s->v0;
    s->v3 = rotate_left(s->v3, 16) ^ s->v2;
    s->v0 = rotate_left(s->v0, 32) + s->v3;
    s->v2 += s->v1;
    s->v3 = rotate_left(s->v3, 21) ^ s->v0;
    s->v1 = rotate_left(s->v1, 17) ^ s->v2;
    s->v2 = rotate_left(s->v2, 32);
}

/* Little-endian; compilers make one load of these. */
static inline uint64_t load_4(const unsigned char *p)
{
    return p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24;
}

static inline uint64_t load_8(const unsigned char *p)
{
    return load_4(p) | load_4(p + 4) << 32;
}

/* The size % 8 bytes behind the last whole word, in few loads, some of which overlap. */
static inline uint64_t load_rest(const unsigned char *data, size_t size)
{
    size_t n = size % 8;
    if (n == 0)
        return 0;
    if (size > 8)
        return load_8(data + size - 8) >> (64 - 8 * n);
    if (n >= 4)
        return load_4(data) | load_4(data + n - 4) << (8 * (n - 4));
    return data[0] | (uint64_t)data[n / 2] << (8 * (n / 2)) |
           (uint64_t)data[n - 1] << (8 * (n - 1));
}

/* Half of SipHash's key is zero: 64 secret bits are enough where nobody sees a hash. */
static uint64_t hash_bytes(gavel_bytes bytes, uint64_t seed)
{
    const unsigned char *data = (const unsigned char *)bytes.data;
    struct sip s = {
        .v0 = UINT64_C(0x736f6d6570736575) ^ seed,
        .v1 = UINT64_C(0x646f72616e646f6d),
        .v2 = UINT64_C(0x6c7967656e657261) ^ seed,
        .v3 = UINT64_C(0x7465646279746573),
    };
    for (size_t i = 0; i + 8 <= bytes.size; i += 8) {
        uint64_t word = load_8(data + i);
        s.v3 ^= word;
        mix(&s);
        s.v0 ^= word;
    }
    uint64_t last = load_rest(data, bytes.size) | (uint64_t)bytes.size << 56;
    s.v3 ^= last;
    mix(&s);
    s.v0 ^= last;
    s.v2 ^= 0xff;
    mix(&s);
    mix(&s);
    mix(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

/* ---- The table ----------------------------------------------------------------------------- */

static gavel__map_node **bucket_of(const gavel__map *map, uint64_t hash)
{
    return &map->buckets[hash & (map->n_buckets - 1)];
}

static void link_node(gavel__map *map, gavel__map_node *node)
{
    gavel__map_node **bucket = bucket_of(map, node->hash);
    node->next = *bucket;
    *bucket = node;
}

gavel__map_node *gavel__map_find_hashed(const gavel__map *map, gavel_bytes key, uint64_t hash)
{
    if (map->n_nodes == 0)
        return NULL;
    gavel__map_node *node = *bucket_of(map, hash);
    while (node != NULL && !(node->hash == hash && gavel__bytes_equal(node->key, key)))
        node = node->next;
    return node;
}

/* False when there is no memory for that; the map is as it was then. */
static bool set_n_buckets(gavel__map *map, size_t n_buckets)
{
    gavel__map other = *map;
    other.n_buckets = n_buckets;
    other.buckets = gavel__alloc(map->allocator, n_buckets, sizeof(gavel__map_node *));
    if (other.buckets == NULL)
        return false;
    for (size_t i = 0; i < map->n_buckets; i++) {
        gavel__map_node *next;
        for (gavel__map_node *node = map->buckets[i]; node != NULL; node = next) {
            next = node->next;
            link_node(&other, node);
        }
    }
    gavel__free(map->allocator, map->buckets);
    *map = other;
    return true;
}

static bool grow(gavel__map *map)
{
    return set_n_buckets(map, map->n_buckets > 0 ? 2 * map->n_buckets : N_BUCKETS_MIN);
}

void gavel__map_init(gavel__map *map, const gavel_allocator *allocator, uint64_t seed)
{
    *map = (gavel__map){.allocator = allocator, .seed = seed};
}

void gavel__map_finish(gavel__map *map)
{
    gavel__free(map->allocator, map->buckets);
    gavel__map_init(map, map->allocator, map->seed);
}

void gavel__map_clear(gavel__map *map)
{
    if (map->n_nodes == 0)
        return;
    memset(map->buckets, 0, map->n_buckets * sizeof(gavel__map_node *));
    map->n_nodes = 0;
}

gavel__map_node *gavel__map_find(const gavel__map *map, gavel_bytes key)
{
    if (map->n_nodes == 0)
        return NULL;
    return gavel__map_find_hashed(map, key, hash_bytes(key, map->seed));
}

uint64_t gavel__map_hash(const gavel__map *map, gavel_bytes key)
{
    return hash_bytes(key, map->seed);
}

bool gavel__map_insert(gavel__map *map, gavel_bytes key, gavel__map_node *node)
{
    return gavel__map_insert_hashed(map, key, hash_bytes(key, map->seed), node);
}

bool gavel__map_insert_hashed(
    gavel__map *map, gavel_bytes key, uint64_t hash, gavel__map_node *node)
{
    if (map->n_nodes == map->n_buckets && !grow(map))
        return false;
    node->hash = hash;
    node->key = key;
    assert(gavel__map_find_hashed(map, key, node->hash) == NULL);
    link_node(map, node);
    map->n_nodes++;
    return true;
}

void gavel__map_remove(gavel__map *map, gavel__map_node *node)
{
    gavel__map_node **place = bucket_of(map, node->hash);
    while (*place != node) {
        assert(*place != NULL);
        place = &(*place)->next;
    }
    *place = node->next;
    node->next = NULL;
    map->n_nodes--;
    if (map->n_buckets > N_BUCKETS_KEPT && map->n_nodes < map->n_buckets / 8)
        (void)set_n_buckets(map, map->n_buckets / 2);
}
