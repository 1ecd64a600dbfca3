/*
 * Timers: a binary heap of things that are due at some time, the earliest first.
 */
#ifndef GAVEL__HEAP_H
#define GAVEL__HEAP_H

#include "base/memory.h"

/* "Never" among times in microseconds. */
#define GAVEL__NEVER INT64_MAX

/* Stands in what is due. A zeroed node is in no heap. */
typedef struct gavel__heap_node {
    int64_t due_us;
    size_t place; /* its place in the heap, from 1; 0: in none */
} gavel__heap_node;

typedef struct gavel__heap {
    const gavel_allocator *allocator; /* borrowed */
    gavel__heap_node **nodes;
    size_t n_nodes;
    size_t capacity;
} gavel__heap;

void gavel__heap_init(gavel__heap *heap, const gavel_allocator *allocator);
void gavel__heap_finish(gavel__heap *heap);

/* Room for n nodes in all, so that adding cannot fail. False when there is no memory. */
bool gavel__heap_reserve(gavel__heap *heap, size_t n);

/* Adds a node, or moves one that is in the heap. There must be room: see gavel__heap_reserve. */
void gavel__heap_set(gavel__heap *heap, gavel__heap_node *node, int64_t due_us);

/* Takes a node that is in no heap, too. */
void gavel__heap_remove(gavel__heap *heap, gavel__heap_node *node);

/* The earliest, or NULL. */
gavel__heap_node *gavel__heap_first(const gavel__heap *heap);

#endif
