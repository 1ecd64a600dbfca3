/*
 * Timers: the earliest comes first, whatever was added, moved and removed before.
 */
#include "base/heap.h"

#include "faulty_memory.h"

#include "base/random.h"

#include <criterion/criterion.h>

enum { N_NODES = 300 };

static gavel__heap_node nodes[N_NODES];

/* Every node is due no earlier than its parent, and knows its place. */
static bool is_ordered(const gavel__heap *heap)
{
    for (size_t place = 1; place <= heap->n_nodes; place++) {
        const gavel__heap_node *node = heap->nodes[place - 1];
        if (node->place != place)
            return false;
        if (place > 1 && node->due_us < heap->nodes[place / 2 - 1]->due_us)
            return false;
    }
    return true;
}

static int64_t earliest(void)
{
    int64_t due_us = GAVEL__NEVER;
    for (size_t i = 0; i < N_NODES; i++) {
        if (nodes[i].place != 0 && nodes[i].due_us < due_us)
            due_us = nodes[i].due_us;
    }
    return due_us;
}

Test(base_heap, an_empty_heap_has_no_first)
{
    gavel__heap heap;
    gavel__heap_init(&heap, &gavel__system_allocator);
    cr_assert_null(gavel__heap_first(&heap));
    gavel__heap_remove(&heap, &nodes[0]);
    cr_assert(gavel__heap_reserve(&heap, 0));
    gavel__heap_finish(&heap);
}

Test(base_heap, gives_nodes_in_the_order_in_which_they_are_due)
{
    gavel__heap heap;
    gavel__heap_init(&heap, &gavel__system_allocator);
    gavel__random random;
    gavel__random_seed(&random, 1);
    cr_assert(gavel__heap_reserve(&heap, N_NODES));
    for (size_t i = 0; i < N_NODES; i++)
        gavel__heap_set(&heap, &nodes[i], (int64_t)gavel__random_below(&random, 100));
    gavel__heap_set(&heap, &nodes[0], INT64_MIN);
    gavel__heap_set(&heap, &nodes[1], GAVEL__NEVER);
    int64_t last_us = INT64_MIN;
    size_t n = 0;
    for (gavel__heap_node *node; (node = gavel__heap_first(&heap)) != NULL; n++) {
        cr_assert_geq(node->due_us, last_us);
        last_us = node->due_us;
        gavel__heap_remove(&heap, node);
        cr_assert_eq(node->place, 0);
    }
    cr_assert_eq(n, N_NODES);
    cr_assert_eq(last_us, GAVEL__NEVER);
    gavel__heap_finish(&heap);
}

Test(base_heap, stays_in_order_whatever_is_moved_and_removed)
{
    gavel__heap heap;
    gavel__heap_init(&heap, &gavel__system_allocator);
    gavel__random random;
    gavel__random_seed(&random, 2);
    cr_assert(gavel__heap_reserve(&heap, N_NODES));
    for (int step = 0; step < 20000; step++) {
        gavel__heap_node *node = &nodes[gavel__random_below(&random, N_NODES)];
        size_t n_before = heap.n_nodes;
        bool was_there = node->place != 0;
        if (gavel__random_below(&random, 3) == 0) {
            gavel__heap_remove(&heap, node);
            cr_assert_eq(heap.n_nodes, n_before - was_there);
        } else {
            gavel__heap_set(&heap, node, (int64_t)gavel__random_below(&random, 1000));
            cr_assert_eq(heap.n_nodes, n_before + !was_there);
        }
        cr_assert(is_ordered(&heap));
        if (heap.n_nodes > 0)
            cr_assert_eq(gavel__heap_first(&heap)->due_us, earliest());
    }
    gavel__heap_finish(&heap);
}

Test(base_heap, reserving_again_costs_nothing)
{
    faulty_memory memory = {.n_left = MEMORY_ENOUGH};
    gavel_allocator allocator = faulty_allocator(&memory);
    gavel__heap heap;
    gavel__heap_init(&heap, &allocator);
    for (size_t n = 1; n <= 1024; n++)
        cr_assert(gavel__heap_reserve(&heap, n));
    cr_assert_leq(memory.n_allocations, 7, "it does not double");
    gavel__heap_finish(&heap);
    cr_assert_eq(memory.n_blocks, 0);
}

Test(base_heap, a_failed_reserve_changes_nothing)
{
    faulty_memory memory = {.n_left = 1};
    gavel_allocator allocator = faulty_allocator(&memory);
    gavel__heap heap;
    gavel__heap_init(&heap, &allocator);
    cr_assert(gavel__heap_reserve(&heap, 2));
    gavel__heap_set(&heap, &nodes[0], 20);
    gavel__heap_set(&heap, &nodes[1], 10);
    cr_assert_not(gavel__heap_reserve(&heap, N_NODES));
    memory.n_left = MEMORY_ENOUGH;
    cr_assert_not(gavel__heap_reserve(&heap, SIZE_MAX), "more than there can be");
    cr_assert_eq(gavel__heap_first(&heap), &nodes[1]);
    cr_assert(is_ordered(&heap));
    gavel__heap_finish(&heap);
    cr_assert_eq(memory.n_blocks, 0);
}
