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

void gavel__buffer_finish(gavel__buffer *buffer)
{
    gavel__free(buffer->allocator, buffer->data);
    gavel__buffer_init(buffer, buffer->allocator);
}

void gavel__buffer_clear(gavel__buffer *buffer)
{
    if (buffer->capacity > KEPT_MAX)
        gavel__buffer_finish(buffer);
    buffer->size = 0;
    buffer->has_failed = false;
}

/* Doubling, so that appending n bytes one by one copies fewer than 2 n. */
static bool grow(gavel__buffer *buffer, size_t size)
{
    if (size > SIZE_MAX / 2 - buffer->size)
        return false;
    size_t capacity = buffer->capacity > CAPACITY_MIN ? buffer->capacity : CAPACITY_MIN;
    while (capacity < buffer->size + size)
        capacity *= 2;
    char *data = gavel__resize(buffer->allocator, buffer->data, capacity, 1);
    if (data == NULL)
        return false;
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

char *gavel__buffer_reserve(gavel__buffer *buffer, size_t size)
{
    if (buffer->has_failed)
        return NULL;
    /* A buffer without memory grows for 0 bytes, too: NULL means a failure. */
    bool has_room = buffer->data != NULL && size <= buffer->capacity - buffer->size;
    if (!has_room && !grow(buffer, size)) {
        buffer->has_failed = true;
        return NULL;
    }
    return buffer->data + buffer->size;
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
    buffer->size -= n;
    if (n > 0 && buffer->size > 0)
        memmove(buffer->data, buffer->data + n, buffer->size);
}

void gavel__buffer_truncate(gavel__buffer *buffer, size_t size)
{
    assert(size <= buffer->size);
    buffer->size = size;
}
