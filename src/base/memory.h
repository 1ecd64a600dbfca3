/*
 * Memory through the client's allocator, with sizes multiplied safely.
 * Every layer allocates through these and through the arenas and buffers built on them.
 */
#ifndef GAVEL__MEMORY_H
#define GAVEL__MEMORY_H

#include <gavel/client.h>

/* malloc's, for a config that names no allocator. */
extern const gavel_allocator gavel__system_allocator;

/* n * size, or false, and *ret_product untouched, when that does not fit. */
static inline bool gavel__multiply(size_t n, size_t size, size_t *ret_product)
{
    /* Factors below the square root of the range cannot overflow; only others pay for a division.
     */
    const size_t root = (size_t)1 << (sizeof(size_t) * 4);
    if ((n | size) >= root && size != 0 && n > SIZE_MAX / size)
        return false;
    *ret_product = n * size;
    return true;
}

/* Whether the room for later fields at the end of a public struct is as it has to be. */
#define GAVEL__HAS_CLEAN_ROOM(object)                                                              \
    gavel__is_zero((object)->reserved, sizeof((object)->reserved) / sizeof((object)->reserved[0]))

/* What is said where it is not. */
#define GAVEL__UNCLEAN_ROOM                                                                        \
    "`reserved` is not zero: the struct was not zeroed, or made for a newer gavel"

static inline bool gavel__is_zero(const uint64_t *words, size_t n_words)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < n_words; i++)
        bits |= words[i];
    return bits == 0;
}

/* n * size zeroed bytes, or NULL: no memory, or the product overflows. */
void *gavel__alloc(const gavel_allocator *allocator, size_t n, size_t size);

/* As realloc, for n * size bytes; the added bytes are not zeroed. NULL leaves `memory` as it was.
 */
void *gavel__resize(const gavel_allocator *allocator, void *memory, size_t n, size_t size);

/*
 * Room for one more element of `size` bytes behind the n that there are: the array, perhaps moved
 * and with a new *capacity. NULL, and the array as it was: no memory.
 */
void *gavel__grow(
    const gavel_allocator *allocator, void *elements, size_t n, size_t *capacity, size_t size);

/* A copy of a string, with its NUL, or NULL: no memory. */
char *gavel__copy_string(const gavel_allocator *allocator, const char *string);

/* Overwrites what was secret, also where nobody looks at it any more. */
void gavel__wipe(void *memory, size_t size);

/* The same, up to its end. Takes NULL. */
void gavel__wipe_string(char *secret);

/* Takes NULL. */
void gavel__free(const gavel_allocator *allocator, void *memory);

#endif
