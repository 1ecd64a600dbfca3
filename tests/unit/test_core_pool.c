/*
 * The pool of transactions: tickets, and what is left of a burst.
 */
#include "stage.h"

#include <criterion/criterion.h>
#include <stdio.h>

enum { N_BURST = 20000, N_SPARE = 1024 };

/* What may be left of any burst of small transactions, in bytes: spare transactions and keys, and
 * twenty bytes or so for each that was open at once. */
static const size_t max_left = (size_t)3 * 1024 * 1024;

static void open_pool(gavel__pool *pool, faulty_memory *memory, gavel_allocator *allocator)
{
    *allocator = faulty_allocator(memory);
    gavel__pool_init(pool, allocator);
}

/* ---- Tickets ------------------------------------------------------------------------------- */

Test(core_pool, a_ticket_that_is_over_names_nothing)
{
    faulty_memory memory = {.n_left = MEMORY_ENOUGH};
    gavel_allocator allocator;
    gavel__pool pool;
    open_pool(&pool, &memory, &allocator);
    gavel__transaction *first = gavel__pool_take(&pool);
    gavel_ticket ticket = first->ticket;
    cr_assert_eq(gavel__pool_find(&pool, ticket), first);
    cr_assert_null(gavel__pool_find(&pool, 0));
    cr_assert_null(gavel__pool_find(&pool, ticket + 1));
    gavel__pool_release(&pool, first, 0);
    cr_assert_null(gavel__pool_find(&pool, ticket));
    gavel__transaction *second = gavel__pool_take(&pool);
    cr_assert_eq(second, first, "it is used again");
    cr_assert_neq(second->ticket, ticket);
    cr_assert_null(gavel__pool_find(&pool, ticket));
    gavel__pool_release(&pool, second, 0);
    gavel__pool_finish(&pool);
    cr_assert_eq(memory.n_blocks, 0);
}

/* Also when its transaction was freed, and the place has another one. */
Test(core_pool, a_place_that_was_given_back_knows_how_often_it_was_used)
{
    static gavel__transaction *taken[2 * N_SPARE];
    static gavel_ticket tickets[2 * N_SPARE];
    faulty_memory memory = {.n_left = MEMORY_ENOUGH};
    gavel_allocator allocator;
    gavel__pool pool;
    open_pool(&pool, &memory, &allocator);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < 2 * N_SPARE; i++) {
            taken[i] = gavel__pool_take(&pool);
            for (size_t k = 0; round > 0 && k < 2 * N_SPARE; k += 512)
                cr_assert_neq(taken[i]->ticket, tickets[k]);
        }
        for (size_t i = 0; i < 2 * N_SPARE; i++) {
            tickets[i] = taken[i]->ticket;
            cr_assert_eq(gavel__pool_find(&pool, tickets[i]), taken[i]);
        }
        for (size_t i = 0; i < 2 * N_SPARE; i++)
            gavel__pool_release(&pool, taken[i], 0);
        cr_assert_eq(pool.n_unused, N_SPARE);
        cr_assert_eq(pool.n_places, 2 * N_SPARE);
        for (size_t i = 0; i < 2 * N_SPARE; i++)
            cr_assert_null(gavel__pool_find(&pool, tickets[i]));
    }
    gavel__pool_finish(&pool);
    cr_assert_eq(memory.n_blocks, 0);
}

Test(core_pool, large_ones_are_kept_only_while_as_many_are_open)
{
    faulty_memory memory = {.n_left = MEMORY_ENOUGH};
    gavel_allocator allocator;
    gavel__pool pool;
    open_pool(&pool, &memory, &allocator);
    static gavel__transaction *taken[400];
    for (size_t i = 0; i < 400; i++) {
        taken[i] = gavel__pool_take(&pool);
        cr_assert_not_null(gavel__arena_alloc(&taken[i]->arena, 40000, 1));
    }
    cr_assert_gt(memory.n_bytes, (size_t)16000000);
    for (size_t i = 0; i < 200; i++)
        gavel__pool_release(&pool, taken[i], 399 - i);
    cr_assert_eq(pool.n_unused, 200, "as many are still open");
    for (size_t i = 200; i < 400; i++)
        gavel__pool_release(&pool, taken[i], 399 - i);
    cr_assert_lt(memory.n_bytes, (size_t)5000000);
    gavel__pool_finish(&pool);
    cr_assert_eq(memory.n_blocks, 0);
}

/* ---- Bursts -------------------------------------------------------------------------------- */

static gavel_verdict do_nothing(gavel_tx *tx, void *user)
{
    (void)tx;
    (void)user;
    return GAVEL_COMMIT;
}

/* Submits n transactions on a key each, and takes them back. */
static void burst(stage *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "key:%zu", i);
        gavel_bytes key = gavel_str(name);
        cr_assert_not_null(gavel__engine_submit(&s->engine,
            &(gavel_transaction){.body = do_nothing, .keys = &key, .n_keys = 1}, s->now_us));
    }
    gavel__engine_cancel_all(&s->engine, false, s->now_us);
    for (gavel__transaction *done; (done = gavel__engine_take_done(&s->engine)) != NULL;)
        gavel__engine_release(&s->engine, done);
}

Test(core_pool, a_burst_leaves_no_more_than_its_bound)
{
    stage s;
    stage_open(&s, &(stage_config){.max_queued = N_BURST});
    burst(&s, N_BURST);
    burst(&s, 500);
    cr_expect_lt(s.memory.n_bytes, max_left, "%zu bytes are left", s.memory.n_bytes);
    stage_close(&s);
}

Test(core_pool, what_goes_on_after_a_burst_allocates_nothing)
{
    stage s;
    stage_open(&s, &(stage_config){.max_queued = N_BURST});
    burst(&s, N_BURST);
    burst(&s, 500);
    size_t n_allocations = s.memory.n_allocations;
    for (int i = 0; i < 20; i++)
        burst(&s, 500);
    cr_expect_eq(s.memory.n_allocations, n_allocations);
    stage_close(&s);
}
