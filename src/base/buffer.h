/*
 * Buffers: bytes on their way to a server.
 *
 * Appending cannot fail halfway: when there is no memory the buffer is marked, appends do nothing,
 * and its owner asks once, before sending.
 */
#ifndef GAVEL__BUFFER_H
#define GAVEL__BUFFER_H

#include "base/memory.h"

typedef struct gavel__buffer {
    const gavel_allocator *allocator; /* borrowed */
    char *data;                       /* the first byte that is left */
    size_t size;                      /* bytes appended and not cut off */
    size_t capacity;                  /* from there on */
    size_t gap;                       /* of the memory, before `data`: bytes consumed */
    bool has_failed;                  /* no memory since the last clear */
} gavel__buffer;

void gavel__buffer_init(gavel__buffer *buffer, const gavel_allocator *allocator);
void gavel__buffer_finish(gavel__buffer *buffer);

/* Empties it, and forgets a failure; keeps the memory, up to 64 KiB. */
void gavel__buffer_clear(gavel__buffer *buffer);

/* For gavel__buffer_reserve, where there is no room yet. */
char *gavel__buffer_make_room(gavel__buffer *buffer, size_t size);

/* Room for `size` more bytes at the end, or NULL after a failure. Add what was used to `size`. A
 * buffer without memory grows for 0 bytes, too: NULL means a failure. */
static inline char *gavel__buffer_reserve(gavel__buffer *buffer, size_t size)
{
    bool has_room = buffer->data != NULL && size <= buffer->capacity - buffer->size;
    return has_room && !buffer->has_failed ? buffer->data + buffer->size
                                           : gavel__buffer_make_room(buffer, size);
}

void gavel__buffer_append(gavel__buffer *buffer, gavel_bytes bytes);

/* Removes the first n bytes. Moves nothing: appending does, now and then, and in all no more bytes
 * than were consumed. */
void gavel__buffer_consume(gavel__buffer *buffer, size_t n);

/* Overwrites all its memory, of which nothing may be left to be sent: it held a secret. */
void gavel__buffer_wipe(gavel__buffer *buffer);

/* Cuts it back to `size` bytes: what was appended since is gone. */
void gavel__buffer_truncate(gavel__buffer *buffer, size_t size);

#endif
