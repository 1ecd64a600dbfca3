/*
 * What is in flight: any number of replies, in order, and what becomes of them without memory.
 */
#include "core/inflight.h"

#include "faulty_memory.h"

#include <criterion/criterion.h>

/* As many replies as its number, so that it is known again; half of them of a round. */
static void put(gavel__inflight *inflight, size_t number, struct gavel__round *round)
{
    gavel__inflight_add(inflight, GAVEL__AWAITED_FETCH, number, number % 2 == 0 ? round : NULL);
}

/* The replies to the next one, which is this one, come. */
static void take(gavel__inflight *inflight, size_t number, const struct gavel__round *round)
{
    const gavel__awaited *awaited = gavel__inflight_current(inflight);
    cr_assert_eq(awaited->n_replies, number);
    cr_assert_eq(awaited->round, number % 2 == 0 ? round : NULL);
    for (size_t i = 0; i < number; i++)
        gavel__inflight_advance(inflight);
}

/* Nobody looks inside it. */
static struct gavel__round *some_round(void)
{
    static char place;
    return (struct gavel__round *)(void *)&place;
}

/* It grows wherever in its ring the first one stands. */
Test(core_inflight, any_number_comes_in_order)
{
    for (size_t n_before = 0; n_before < 40; n_before++) {
        faulty_memory memory = {.n_left = MEMORY_ENOUGH};
        gavel_allocator allocator = faulty_allocator(&memory);
        gavel__inflight inflight = {.allocator = &allocator};
        for (size_t i = 1; i <= n_before; i++) {
            put(&inflight, i, some_round());
            take(&inflight, i, some_round());
        }
        for (size_t i = 1; i <= 200; i++)
            put(&inflight, i, some_round());
        cr_assert_eq(inflight.n_replies, 200 * 201 / 2);
        for (size_t i = 1; i <= 200; i++)
            take(&inflight, i, some_round());
        cr_assert(gavel__inflight_is_empty(&inflight));
        cr_assert_eq(inflight.n_replies, 0);
        cr_assert_not(inflight.has_failed);
        gavel__free(&allocator, inflight.ring);
        cr_assert_eq(memory.n_blocks, 0);
    }
}

/* Its lane is closed then (gavel__lane_end_write); what was noted before is still told. */
Test(core_inflight, without_memory_it_is_marked_and_keeps_what_it_has)
{
    for (size_t n_left = 0; n_left < 4; n_left++) {
        faulty_memory memory = {.n_left = n_left};
        gavel_allocator allocator = faulty_allocator(&memory);
        gavel__inflight inflight = {.allocator = &allocator};
        size_t n = 0;
        while (!inflight.has_failed) {
            cr_assert_lt(n, 1000);
            put(&inflight, ++n, some_round());
        }
        cr_assert_eq(inflight.n, n - 1);
        cr_assert_not(gavel__inflight_reserve(&inflight));
        for (size_t i = 1; i < n; i++)
            take(&inflight, i, some_round());
        cr_assert(gavel__inflight_is_empty(&inflight));
        gavel__free(&allocator, inflight.ring);
        cr_assert_eq(memory.n_blocks, 0);
    }
}

Test(core_inflight, nothing_is_noted_for_no_replies)
{
    gavel__inflight inflight = {.allocator = &gavel__system_allocator};
    put(&inflight, 0, some_round());
    cr_assert(gavel__inflight_is_empty(&inflight));
    cr_assert_null(inflight.ring);
}

/* Also those that stand behind the ring's end, at its beginning. */
Test(core_inflight, a_round_that_is_over_is_forgotten_wherever_it_stands)
{
    gavel__inflight inflight = {.allocator = &gavel__system_allocator};
    for (size_t i = 1; i <= 100; i++) {
        put(&inflight, i, some_round());
        if (i > 10)
            take(&inflight, i - 10, some_round());
    }
    gavel__inflight_disown(&inflight, some_round());
    for (size_t i = 91; i <= 100; i++)
        take(&inflight, i, NULL);
    cr_assert(gavel__inflight_is_empty(&inflight));
    gavel__free(inflight.allocator, inflight.ring);
}
