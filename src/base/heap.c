/*
 * Timers: a binary heap in an array. Whoever has things that become due may use it.
 *
 * Places count from 1, so that the children of place i are at 2 i and 2 i + 1, and 0 says "none".
 */
#include "base/heap.h"

#include <assert.h>

#define CAPACITY_MIN ((size_t)16)

static gavel__heap_node *at(const gavel__heap *heap, size_t place)
{
    return heap->nodes[place - 1];
}

static void put(gavel__heap *heap, size_t place, gavel__heap_node *node)
{
    heap->nodes[place - 1] = node;
    node->place = place;
}

/* Moves the node up from `place`, which is free, as far as it is due before its parents. */
static void sift_up(gavel__heap *heap, size_t place, gavel__heap_node *node)
{
    while (place > 1 && node->due_us < at(heap, place / 2)->due_us) {
        put(heap, place, at(heap, place / 2));
        place /= 2;
    }
    put(heap, place, node);
}

/* Moves the node down from `place`, which is free, as far as a child is due before it. */
static void sift_down(gavel__heap *heap, size_t place, gavel__heap_node *node)
{
    for (;;) {
        size_t child = 2 * place;
        if (child > heap->n_nodes)
            break;
        if (child < heap->n_nodes && at(heap, child + 1)->due_us < at(heap, child)->due_us)
            child++;
        if (node->due_us <= at(heap, child)->due_us)
            break;
        put(heap, place, at(heap, child));
        place = child;
    }
    put(heap, place, node);
}

/* Puts the node where it belongs, given that only `place` is free. */
static void settle(gavel__heap *heap, size_t place, gavel__heap_node *node)
{
    if (place > 1 && node->due_us < at(heap, place / 2)->due_us)
        sift_up(heap, place, node);
    else
        sift_down(heap, place, node);
}

void gavel__heap_init(gavel__heap *heap, const gavel_allocator *allocator)
{
    *heap = (gavel__heap){.allocator = allocator};
}

void gavel__heap_finish(gavel__heap *heap)
{
    gavel__free(heap->allocator, heap->nodes);
    gavel__heap_init(heap, heap->allocator);
}

bool gavel__heap_reserve(gavel__heap *heap, size_t n)
{
    if (n <= heap->capacity)
        return true;
    size_t capacity = heap->capacity > CAPACITY_MIN ? heap->capacity : CAPACITY_MIN;
    while (capacity < n && capacity <= SIZE_MAX / 2)
        capacity *= 2;
    gavel__heap_node **nodes =
        gavel__resize(heap->allocator, heap->nodes, capacity, sizeof(gavel__heap_node *));
    if (nodes == NULL)
        return false;
    heap->nodes = nodes;
    heap->capacity = capacity;
    return true;
}

void gavel__heap_set(gavel__heap *heap, gavel__heap_node *node, int64_t due_us)
{
    node->due_us = due_us;
    if (node->place != 0) {
        settle(heap, node->place, node);
        return;
    }
    assert(heap->n_nodes < heap->capacity);
    heap->n_nodes++;
    sift_up(heap, heap->n_nodes, node);
}

void gavel__heap_remove(gavel__heap *heap, gavel__heap_node *node)
{
    size_t place = node->place;
    if (place == 0)
        return;
    gavel__heap_node *last = at(heap, heap->n_nodes);
    heap->n_nodes--;
    node->place = 0;
    if (last != node)
        settle(heap, place, last);
}

gavel__heap_node *gavel__heap_first(const gavel__heap *heap)
{
    return heap->n_nodes > 0 ? at(heap, 1) : NULL;
}
