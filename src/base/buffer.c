/*
 * Buffers: one growing piece of memory. Whoever writes commands may use them.
 */
#include "base/buffer.h"

#include <assert.h>

#define CAPACITY_MIN ((size_t)512)
#define KEPT_MAX ((size_t)64 * 1024)

void gavel__buffer_init(gavel__buffer *buffer, const gavel_allocator *allocator)
{
    *buffer = (gavel__buffer){.allocator = allocator};
}

/* The memory begins `gap` bytes before `data`. */
static char *memory_of(const gavel__buffer *buffer)
{
    return buffer->data != NULL ? buffer->data - buffer->gap : NULL;
}

void gavel__buffer_finish(gavel__buffer *buffer)
{
    gavel__free(buffer->allocator, memory_of(buffer));
    gavel__buffer_init(buffer, buffer->allocator);
}

/* Gives what was consumed back to be written to, and moves the `size` bytes that are left there. */
static void close_gap(gavel__buffer *buffer, size_t size)
{
    buffer->size = size;
    if (buffer->gap == 0)
        return;
    if (size > 0)
        memmove(memory_of(buffer), buffer->data, size);
    buffer->data = memory_of(buffer);
    buffer->capacity += buffer->gap;
    buffer->gap = 0;
}

void gavel__buffer_clear(gavel__buffer *buffer)
{
    close_gap(buffer, 0);
    if (buffer->capacity > KEPT_MAX)
        gavel__buffer_finish(buffer);
    buffer->has_failed = false;
}

/*
 * More room. What is left moves over what was consumed where that is at least as much: so no more
 * bytes are moved than were consumed. Else the memory is doubled, so that
 * appending n bytes one by one copies fewer than 2 n.
 */
static bool grow(gavel__buffer *buffer, size_t size)
{
    if (size > SIZE_MAX / 4 - buffer->size)
        return false;
    size_t all = buffer->capacity + buffer->gap;
    size_t capacity = all > CAPACITY_MIN ? all : CAPACITY_MIN;
    bool is_mostly_gap = buffer->gap >= buffer->size && buffer->size + size <= all;
    while (!is_mostly_gap && capacity < buffer->gap + buffer->size + size)
        capacity *= 2;
    if (capacity > all) {
        char *memory = gavel__resize(buffer->allocator, memory_of(buffer), capacity, 1);
        if (memory == NULL)
            return false;
        buffer->data = memory + buffer->gap;
        buffer->capacity = capacity - buffer->gap;
    }
    if (buffer->gap > 0)
        close_gap(buffer, buffer->size);
    return true;
}

char *gavel__buffer_make_room(gavel__buffer *buffer, size_t size)
{
    if (!buffer->has_failed && grow(buffer, size))
        return buffer->data + buffer->size;
    buffer->has_failed = true;
    return NULL;
}

void gavel__buffer_append(gavel__buffer *buffer, gavel_bytes bytes)
{
    if (bytes.size == 0)
        return;
    char *place = gavel__buffer_reserve(buffer, bytes.size);
    if (place == NULL)
        return;
    memcpy(place, bytes.data, bytes.size);
    buffer->size += bytes.size;
}

void gavel__buffer_consume(gavel__buffer *buffer, size_t n)
{
    assert(n <= buffer->size);
    if (n == buffer->size) {
        close_gap(buffer, 0);
        return;
    }
    buffer->data += n;
    buffer->gap += n;
    buffer->size -= n;
    buffer->capacity -= n;
}

void gavel__buffer_truncate(gavel__buffer *buffer, size_t size)
{
    assert(size <= buffer->size);
    buffer->size = size;
}

void gavel__buffer_wipe(gavel__buffer *buffer)
{
    close_gap(buffer, 0);
    gavel__wipe(buffer->data, buffer->capacity);
}
