/*
 * An allocator for tests: it counts the blocks that are alive and their bytes, and has no memory
 * left after a given number of allocations. For the unit tests only.
 *
 *     for (size_t n = 0; !is_done; n++) {
 *         faulty_memory memory = {.n_left = n};
 *         gavel_allocator allocator = faulty_allocator(&memory);
 *         is_done = something(&allocator);
 *         cr_assert_eq(memory.n_blocks, 0);
 *     }
 */
#ifndef FAULTY_MEMORY_H
#define FAULTY_MEMORY_H

#include <gavel/client.h>

#include <malloc.h>
#include <stdlib.h>

/* An n_left that never runs out. */
#define MEMORY_ENOUGH SIZE_MAX

typedef struct faulty_memory {
    size_t n_left;        /* allocations that will still succeed; growing a block is one */
    size_t n_allocations; /* that were asked for */
    size_t n_blocks;      /* alive */
    size_t n_bytes;       /* in them */
} faulty_memory;

static inline void *faulty_resize(void *user, void *block, size_t size)
{
    faulty_memory *memory = user;
    if (size == 0) {
        memory->n_blocks -= block != NULL;
        memory->n_bytes -= block != NULL ? malloc_usable_size(block) : 0;
        free(block);
        return NULL;
    }
    memory->n_allocations++;
    /* No object is larger than PTRDIFF_MAX; a sanitizer would end the program over one. */
    if (memory->n_left == 0 || size > PTRDIFF_MAX)
        return NULL;
    if (memory->n_left != MEMORY_ENOUGH)
        memory->n_left--;
    memory->n_blocks += block == NULL;
    memory->n_bytes -= block != NULL ? malloc_usable_size(block) : 0;
    block = realloc(block, size);
    memory->n_bytes += malloc_usable_size(block);
    return block;
}

static inline gavel_allocator faulty_allocator(faulty_memory *memory)
{
    return (gavel_allocator){.resize = faulty_resize, .user = memory};
}

#endif
