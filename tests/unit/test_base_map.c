/*
 * Hash maps: that they hold what a plain array holds, spread keys by their seed, and survive every
 * allocation that fails.
 */
#include "base/map.h"

#include "faulty_memory.h"

#include "base/random.h"

#include <criterion/criterion.h>
#include <stdio.h>

enum { N_MEMBERS = 2000 };

struct member {
    char name[24];
    gavel__map_node node;
    bool is_in_map;
};

static gavel_bytes name_of(const struct member *member)
{
    return gavel_str(member->name);
}

static struct member *create_members(void)
{
    struct member *members = gavel__alloc(&gavel__system_allocator, N_MEMBERS, sizeof(*members));
    for (size_t i = 0; i < N_MEMBERS; i++)
        (void)snprintf(members[i].name, sizeof(members[i].name), "item:%zu", i);
    return members;
}

static size_t longest_chain(const gavel__map *map)
{
    size_t longest = 0;
    for (size_t i = 0; i < map->n_buckets; i++) {
        size_t length = 0;
        for (const gavel__map_node *node = map->buckets[i]; node != NULL; node = node->next)
            length++;
        longest = length > longest ? length : longest;
    }
    return longest;
}

Test(base_map, an_empty_map_finds_nothing_and_allocates_nothing)
{
    faulty_memory memory = {.n_left = 0};
    gavel_allocator allocator = faulty_allocator(&memory);
    gavel__map map;
    gavel__map_init(&map, &allocator, 1);
    cr_assert_null(gavel__map_find(&map, GAVEL_STR("a")));
    gavel__map_clear(&map);
    gavel__map_finish(&map);
    cr_assert_eq(memory.n_allocations, 0);
    gavel__map zeroed = {0};
    gavel__map_finish(&zeroed);
}

Test(base_map, holds_what_was_inserted_and_not_removed)
{
    struct member *members = create_members();
    gavel__map map;
    gavel__map_init(&map, &gavel__system_allocator, 42);
    gavel__random random;
    gavel__random_seed(&random, 7);
    size_t n_in_map = 0;
    for (int step = 0; step < 50000; step++) {
        struct member *member = &members[gavel__random_below(&random, N_MEMBERS)];
        gavel__map_node *found = gavel__map_find(&map, name_of(member));
        cr_assert_eq(found, member->is_in_map ? &member->node : NULL);
        if (member->is_in_map) {
            gavel__map_remove(&map, &member->node);
            n_in_map--;
        } else {
            cr_assert(gavel__map_insert(&map, name_of(member), &member->node));
            n_in_map++;
        }
        member->is_in_map = !member->is_in_map;
        cr_assert_eq(map.n_nodes, n_in_map);
    }
    for (size_t i = 0; i < N_MEMBERS; i++) {
        gavel__map_node *expected = members[i].is_in_map ? &members[i].node : NULL;
        cr_assert_eq(gavel__map_find(&map, name_of(&members[i])), expected);
    }
    gavel__map_finish(&map);
    gavel__free(&gavel__system_allocator, members);
}

Test(base_map, tells_keys_apart_by_every_byte_and_by_length)
{
    /* All prefixes of a text, of zeroes, and of the text with its last byte changed. */
    enum { LONGEST = 40, N_TEXTS = 3 };
    static const char zeroes[LONGEST];
    static char changed[LONGEST][LONGEST];
    static gavel__map_node nodes[N_TEXTS][LONGEST];
    const char *text = "auction:{1234}:the-leader-of-the-day-was";
    gavel__map map;
    gavel__map_init(&map, &gavel__system_allocator, 3);
    for (size_t i = 0; i < LONGEST; i++) {
        size_t size = i + 1;
        memcpy(changed[i], text, size);
        changed[i][i] = (char)(changed[i][i] ^ 0x80);
        gavel_bytes keys[N_TEXTS] = {{text, size}, {zeroes, size}, {changed[i], size}};
        for (size_t j = 0; j < N_TEXTS; j++) {
            cr_assert_null(gavel__map_find(&map, keys[j]));
            cr_assert(gavel__map_insert(&map, keys[j], &nodes[j][i]));
        }
    }
    for (size_t j = 0; j < N_TEXTS; j++) {
        for (size_t i = 0; i < LONGEST; i++)
            cr_assert_eq(gavel__map_find(&map, nodes[j][i].key), &nodes[j][i]);
    }
    gavel__map_finish(&map);
}

Test(base_map, the_empty_key_is_a_key)
{
    gavel__map map;
    gavel__map_node node;
    gavel__map_init(&map, &gavel__system_allocator, 3);
    cr_assert(gavel__map_insert(&map, (gavel_bytes){NULL, 0}, &node));
    cr_assert_eq(gavel__map_find(&map, GAVEL_STR("")), &node);
    cr_assert_null(gavel__map_find(&map, (gavel_bytes){"\0", 1}));
    gavel__map_remove(&map, &node);
    cr_assert_null(gavel__map_find(&map, GAVEL_STR("")));
    gavel__map_finish(&map);
}

Test(base_map, a_hash_alone_is_no_match)
{
    gavel__map map;
    gavel__map_node node;
    gavel__map_init(&map, &gavel__system_allocator, 3);
    cr_assert(gavel__map_insert(&map, GAVEL_STR("a"), &node));
    /* As if another key had the same 64 bits for its hash. */
    node.key = GAVEL_STR("b");
    cr_assert_null(gavel__map_find(&map, GAVEL_STR("a")));
    gavel__map_finish(&map);
}

Test(base_map, clear_forgets_all_and_keeps_the_buckets)
{
    faulty_memory memory = {.n_left = MEMORY_ENOUGH};
    gavel_allocator allocator = faulty_allocator(&memory);
    struct member *members = create_members();
    gavel__map map;
    gavel__map_init(&map, &allocator, 5);
    size_t n_allocations = 0;
    for (int run = 0; run < 2; run++) {
        n_allocations = memory.n_allocations;
        for (size_t i = 0; i < N_MEMBERS; i++)
            cr_assert(gavel__map_insert(&map, name_of(&members[i]), &members[i].node));
        gavel__map_clear(&map);
        cr_assert_eq(map.n_nodes, 0);
        for (size_t i = 0; i < N_MEMBERS; i++)
            cr_assert_null(gavel__map_find(&map, name_of(&members[i])));
    }
    cr_assert_eq(memory.n_allocations, n_allocations, "the second run allocated");
    gavel__map_finish(&map);
    cr_assert_eq(memory.n_blocks, 0);
    gavel__free(&gavel__system_allocator, members);
}

Test(base_map, hashes_as_siphash_1_3_does)
{
    /* What CPython 3.11 answers to hash() of the same bytes, with PYTHONHASHSEED=0. */
    static const struct {
        gavel_bytes key;
        uint64_t hash;
    } expected[] = {
        {{"a", 1}, UINT64_C(0x407448d2b89b1813)},
        {{"bidder", 6}, UINT64_C(0x8bf5869ca285b922)},
        {{"12345678", 8}, UINT64_C(0x3489982430560a87)},
        {{"item:12345", 10}, UINT64_C(0x039b476f740d8be3)},
        {{"auction:{42}:leader-of-the-day", 30}, UINT64_C(0x0482d423e4152c65)},
    };
    gavel__map map;
    gavel__map_init(&map, &gavel__system_allocator, 0);
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        gavel__map_node node;
        cr_assert(gavel__map_insert(&map, expected[i].key, &node));
        cr_assert_eq(node.hash, expected[i].hash, "%s", expected[i].key.data);
        gavel__map_remove(&map, &node);
    }
    gavel__map_finish(&map);
}

Test(base_map, chains_stay_short_under_any_seed)
{
    struct member *members = create_members();
    for (uint64_t seed = 0; seed < 20; seed++) {
        gavel__map map;
        gavel__map_init(&map, &gavel__system_allocator, seed);
        for (size_t i = 0; i < N_MEMBERS; i++)
            cr_assert(gavel__map_insert(&map, name_of(&members[i]), &members[i].node));
        cr_assert_geq(map.n_buckets, map.n_nodes);
        /* Of 2048 buckets filled by chance, one has more than 11 once in some 10^6 times. */
        cr_assert_leq(longest_chain(&map), 11);
        gavel__map_finish(&map);
    }
    gavel__free(&gavel__system_allocator, members);
}

Test(base_map, keys_that_collide_under_one_seed_do_not_under_another)
{
    struct member *members = create_members();
    gavel__map chosen;
    gavel__map_init(&chosen, &gavel__system_allocator, 1);
    gavel__map other;
    gavel__map_init(&other, &gavel__system_allocator, 2);
    gavel__map_node probe;
    for (size_t i = 0; i < N_MEMBERS; i++) {
        cr_assert(gavel__map_insert(&chosen, name_of(&members[i]), &probe));
        bool is_chosen = probe.hash % 64 == 0;
        gavel__map_remove(&chosen, &probe);
        if (is_chosen)
            cr_assert(gavel__map_insert(&other, name_of(&members[i]), &members[i].node));
    }
    cr_assert_gt(other.n_nodes, 10);
    cr_assert_leq(longest_chain(&other), 7);
    gavel__map_finish(&chosen);
    gavel__map_finish(&other);
    gavel__free(&gavel__system_allocator, members);
}

Test(base_map, survives_every_failing_allocation)
{
    struct member *members = create_members();
    size_t n = 0;
    for (bool is_done = false; !is_done; n++) {
        faulty_memory memory = {.n_left = n};
        gavel_allocator allocator = faulty_allocator(&memory);
        gavel__map map;
        gavel__map_init(&map, &allocator, 11);
        size_t n_in_map = 0;
        while (n_in_map < N_MEMBERS &&
               gavel__map_insert(&map, name_of(&members[n_in_map]), &members[n_in_map].node))
            n_in_map++;
        is_done = n_in_map == N_MEMBERS;
        cr_assert_eq(map.n_nodes, n_in_map);
        for (size_t i = 0; i < N_MEMBERS; i++) {
            gavel__map_node *expected = i < n_in_map ? &members[i].node : NULL;
            cr_assert_eq(gavel__map_find(&map, name_of(&members[i])), expected);
        }
        gavel__map_finish(&map);
        cr_assert_eq(memory.n_blocks, 0);
    }
    cr_assert_gt(n, 3, "only %zu allocations were made to fail", n);
    gavel__free(&gavel__system_allocator, members);
}
