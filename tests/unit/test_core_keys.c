/*
 * The table of keys: uses, claims, and what is kept for its heat.
 */
#include "core/keys.h"

#include "faulty_memory.h"

#include "base/text.h"

#include <criterion/criterion.h>
#include <stdio.h>

/* Rounds are only told apart by their address. */
static char rounds[3];

static struct gavel__round *round_at(size_t i)
{
    return (struct gavel__round *)(void *)&rounds[i];
}

static gavel__key *claim(gavel__keys *keys, const char *name, size_t round)
{
    gavel__key *key = gavel__keys_use(keys, gavel_str(name));
    if (key == NULL)
        return NULL;
    gavel__keys_claim(key, round_at(round));
    gavel__keys_unuse(keys, key);
    return key;
}

static gavel__key *find(gavel__keys *keys, const char *name)
{
    return gavel__keys_find(keys, gavel__keys_name(keys, gavel_str(name)));
}

static void release(gavel__keys *keys, gavel__key *key, size_t round)
{
    gavel__keys_release(keys, key, round_at(round));
}

static void open(gavel__keys *keys, faulty_memory *memory, gavel_allocator *allocator)
{
    *allocator = faulty_allocator(memory);
    gavel__keys_init(keys, allocator, 5);
}

Test(core_keys, a_key_is_known_while_it_is_claimed)
{
    faulty_memory memory = {.n_left = MEMORY_ENOUGH};
    gavel_allocator allocator;
    gavel__keys keys;
    open(&keys, &memory, &allocator);
    cr_assert_null(find(&keys, "a"));
    gavel__key *key = claim(&keys, "a", 0);
    cr_assert_not_null(key);
    cr_assert_eq(find(&keys, "a"), key);
    cr_assert_null(find(&keys, "b"));
    cr_assert_eq(key->round, round_at(0));
    cr_assert(gavel__bytes_equal(key->node.key, GAVEL_STR("a")));
    release(&keys, key, 0);
    cr_assert_null(find(&keys, "a"));
    gavel__keys_finish(&keys);
    cr_assert_eq(memory.n_blocks, 0);
}

Test(core_keys, a_key_is_free_when_both_of_its_rounds_have_let_go)
{
    faulty_memory memory = {.n_left = MEMORY_ENOUGH};
    gavel_allocator allocator;
    gavel__keys keys;
    open(&keys, &memory, &allocator);
    gavel__key *key = claim(&keys, "a", 0);
    cr_assert_eq(claim(&keys, "a", 1), key);
    cr_assert_eq(key->round, round_at(1), "the latest has it");
    release(&keys, key, 0);
    cr_assert_eq(key->round, round_at(1));
    release(&keys, key, 1);
    cr_assert_null(find(&keys, "a"));
    gavel__keys_finish(&keys);
    cr_assert_eq(memory.n_blocks, 0);
}

Test(core_keys, the_first_round_holds_a_key_that_the_second_has_let_go)
{
    faulty_memory memory = {.n_left = MEMORY_ENOUGH};
    gavel_allocator allocator;
    gavel__keys keys;
    open(&keys, &memory, &allocator);
    gavel__key *key = claim(&keys, "a", 0);
    (void)claim(&keys, "a", 1);
    release(&keys, key, 1);
    cr_assert_eq(find(&keys, "a"), key);
    cr_assert_eq(key->n_claims, 1);
    release(&keys, key, 0);
    cr_assert_null(find(&keys, "a"));
    gavel__keys_finish(&keys);
    cr_assert_eq(memory.n_blocks, 0);
}

Test(core_keys, a_key_is_known_while_somebody_uses_it)
{
    faulty_memory memory = {.n_left = MEMORY_ENOUGH};
    gavel_allocator allocator;
    gavel__keys keys;
    open(&keys, &memory, &allocator);
    gavel__key *key = gavel__keys_use(&keys, GAVEL_STR("a"));
    cr_assert_eq(gavel__keys_use(&keys, GAVEL_STR("a")), key);
    cr_assert_eq(claim(&keys, "a", 0), key);
    release(&keys, key, 0);
    gavel__keys_unuse(&keys, key);
    cr_assert_eq(find(&keys, "a"), key, "one of two still uses it");
    gavel__keys_unuse(&keys, key);
    cr_assert_null(find(&keys, "a"));
    gavel__keys_finish(&keys);
    cr_assert_eq(memory.n_blocks, 0);
}

Test(core_keys, a_hot_key_is_kept_with_its_heat)
{
    faulty_memory memory = {.n_left = MEMORY_ENOUGH};
    gavel_allocator allocator;
    gavel__keys keys;
    open(&keys, &memory, &allocator);
    gavel__key *key = claim(&keys, "a", 0);
    key->heat.level = 2;
    key->heat.resume_us = 99;
    release(&keys, key, 0);
    cr_assert_eq(find(&keys, "a"), key);
    cr_assert_null(key->round);
    cr_assert_eq(keys.n_warm, 1);
    cr_assert_eq(claim(&keys, "a", 1), key);
    cr_assert_eq(keys.n_warm, 0);
    cr_assert_eq(key->heat.resume_us, 99);
    key->heat.level = 0;
    release(&keys, key, 1);
    key = claim(&keys, "b", 1);
    cr_assert_eq(key->heat.resume_us, 0, "an entry that is used again begins anew");
    release(&keys, key, 1);
    gavel__keys_finish(&keys);
    cr_assert_eq(memory.n_blocks, 0);
}

Test(core_keys, warm_keys_and_unused_entries_are_bounded)
{
    enum { N_KEYS = 6000, MAX_WARM = 4096, MAX_UNUSED = 1024 };
    faulty_memory memory = {.n_left = MEMORY_ENOUGH};
    gavel_allocator allocator;
    gavel__keys keys;
    open(&keys, &memory, &allocator);
    for (int i = 0; i < N_KEYS; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "key:%d", i);
        gavel__key *key = claim(&keys, name, 0);
        key->heat.level = 1;
        release(&keys, key, 0);
    }
    cr_assert_eq(keys.n_warm, MAX_WARM);
    cr_assert_null(find(&keys, "key:0"), "the one untouched for the longest goes first");
    cr_assert_not_null(find(&keys, "key:5999"));
    cr_assert_leq(keys.n_unused, MAX_UNUSED);
    gavel__keys_finish(&keys);
    cr_assert_eq(memory.n_blocks, 0);
}

Test(core_keys, names_hold_any_byte_and_any_length)
{
    faulty_memory memory = {.n_left = MEMORY_ENOUGH};
    gavel_allocator allocator;
    gavel__keys keys;
    open(&keys, &memory, &allocator);
    static const char long_name[1000] = "x";
    gavel_bytes names[] = {{"", 0}, {"\0", 1}, {"\0\0", 2}, {long_name, 1000}, {long_name, 999}};
    gavel__key *claimed[5];
    for (size_t i = 0; i < 5; i++)
        claimed[i] = gavel__keys_use(&keys, names[i]);
    for (size_t i = 0; i < 5; i++) {
        cr_assert_eq(gavel__keys_find(&keys, gavel__keys_name(&keys, names[i])), claimed[i]);
        gavel__keys_unuse(&keys, claimed[i]);
    }
    gavel__keys_finish(&keys);
    cr_assert_eq(memory.n_blocks, 0);
}

Test(core_keys, a_claim_without_memory_changes_nothing)
{
    bool is_done = false;
    for (size_t n = 0; !is_done; n++) {
        faulty_memory memory = {.n_left = n};
        gavel_allocator allocator;
        gavel__keys keys;
        open(&keys, &memory, &allocator);
        gavel__key *key = claim(&keys, "a", 0);
        is_done = key != NULL;
        if (is_done)
            release(&keys, key, 0);
        cr_assert_null(find(&keys, "a"));
        gavel__keys_finish(&keys);
        cr_assert_eq(memory.n_blocks, 0);
    }
}
