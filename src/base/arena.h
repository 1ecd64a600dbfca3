/*
 * Arenas: memory that is given out piece by piece and taken back all at once.
 *
 * A round and a transaction have one each. Resetting keeps the first block, so that one which has
 * found its size allocates no more.
 */
#ifndef GAVEL__ARENA_H
#define GAVEL__ARENA_H

#include "base/memory.h"

struct gavel__arena_block;

typedef struct gavel__arena {
    const gavel_allocator *allocator; /* borrowed */
    struct gavel__arena_block *first; /* kept by a reset, up to 64 KiB */
    struct gavel__arena_block *current;
    size_t first_size; /* of the first block, whole */
} gavel__arena;

/* Does not allocate. */
void gavel__arena_init(gavel__arena *arena, const gavel_allocator *allocator);

/* The same for one of which there are many: its first block has this size, a power of two. */
void gavel__arena_init_sized(
    gavel__arena *arena, const gavel_allocator *allocator, size_t first_size);

/* Frees all blocks; the arena may be used again. Takes a zeroed arena. */
void gavel__arena_finish(gavel__arena *arena);

/* What a reset keeps of it, in bytes; right after one. */
size_t gavel__arena_kept(const gavel__arena *arena);

/* Everything given out is gone; a first block of a common size stays. */
void gavel__arena_reset(gavel__arena *arena);

/* n * size zeroed bytes, aligned for any type; NULL when there is no memory. 0 bytes give a
 * pointer. */
void *gavel__arena_alloc(gavel__arena *arena, size_t n, size_t size);

/* The same, not zeroed: for what is assigned before it is read. */
void *gavel__arena_take(gavel__arena *arena, size_t n, size_t size);

/* A copy in the arena; of no bytes with data NULL, the same. False, and *ret_copy untouched, when
 * there is no memory. */
bool gavel__arena_copy(gavel__arena *arena, gavel_bytes bytes, gavel_bytes *ret_copy);

/* A deep copy of a reply in the arena, however deep. False, and *ret_copy untouched, when there is
 * no memory. */
bool gavel__arena_copy_reply(gavel__arena *arena, const gavel_reply *reply, gavel_reply *ret_copy);

#endif
