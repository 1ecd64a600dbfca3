/*
 * Memory: the one place where the library calls an allocator. Every layer may use it.
 */
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

/* free() of its own, because realloc(memory, 0) means different things in different libraries. */
static void *system_resize(void *user, void *memory, size_t size)
{
    (void)user;
    if (size == 0) {
        free(memory);
        return NULL;
    }
    return realloc(memory, size);
}

const gavel_allocator gavel__system_allocator = {.resize = system_resize, .user = NULL};

void *gavel__resize(const gavel_allocator *allocator, void *memory, size_t n, size_t size)
{
    size_t product;
    if (!gavel__multiply(n, size, &product))
        return NULL;
    /* To an allocator, size 0 says "free". One byte keeps NULL meaning "no memory". */
    return allocator->resize(allocator->user, memory, product > 0 ? product : 1);
}

void *gavel__alloc(const gavel_allocator *allocator, size_t n, size_t size)
{
    void *memory = gavel__resize(allocator, NULL, n, size);
    if (memory != NULL)
        memset(memory, 0, n * size);
    return memory;
}

void *gavel__grow(
    const gavel_allocator *allocator, void *elements, size_t n, size_t *capacity, size_t size)
{
    if (n < *capacity)
        return elements;
    size_t larger = *capacity == 0 ? 16 : *capacity * 2;
    void *memory = gavel__resize(allocator, elements, larger, size);
    if (memory != NULL)
        *capacity = larger;
    return memory;
}

void gavel__free(const gavel_allocator *allocator, void *memory)
{
    if (memory != NULL)
        allocator->resize(allocator->user, memory, 0);
}

char *gavel__copy_string(const gavel_allocator *allocator, const char *string)
{
    size_t size = strlen(string) + 1;
    char *copy = gavel__alloc(allocator, size, 1);
    if (copy != NULL)
        memcpy(copy, string, size);
    return copy;
}

/* Through a volatile pointer, since a compiler may leave out a memset before a free. */
void gavel__wipe(void *memory, size_t size)
{
    volatile char *place = memory;
    for (size_t i = 0; i < size; i++)
        place[i] = '\0';
}

void gavel__wipe_string(char *secret)
{
    if (secret != NULL)
        gavel__wipe(secret, strlen(secret));
}
