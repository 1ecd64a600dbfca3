/*
 * Readers: bytes from a server in, replies out. For links.
 *
 * hiredis takes the bytes apart; the replies are built in an arena that is used again for each of
 * them. What a server can make us allocate is bounded before anything is allocated.
 */
#ifndef GAVEL__READER_H
#define GAVEL__READER_H

#include "base/arena.h"

struct redisReader;

typedef struct gavel__reader {
    struct redisReader *parser; /* NULL before the first start */
    gavel__arena arena;         /* the current reply's */
    size_t max_bytes;           /* of one reply, on the wire and as elements */
    size_t n_bytes;             /* fed since the end of the last reply */
    size_t n_element_bytes;     /* taken for elements since then */
    bool is_arena_used;         /* the arena holds a reply that was handed out */
    const char *fault;          /* why building a reply failed; else NULL */
    bool is_too_large;          /* that was the reason */
} gavel__reader;

typedef enum gavel__reading {
    GAVEL__READING_MORE,  /* feed more bytes */
    GAVEL__READING_REPLY, /* here is one */
    GAVEL__READING_BROKEN /* not RESP2, too large or no memory: see gavel__reader_fault */
} gavel__reading;

/* Does not allocate. */
void gavel__reader_init(gavel__reader *reader, const gavel_allocator *allocator, size_t max_bytes);

/* Takes a zeroed reader. */
void gavel__reader_finish(gavel__reader *reader);

/*
 * Begins anew, for a new connection: what was fed and a fault are forgotten. The last reply stays
 * valid, so that a link may connect again inside its callbacks. False: no memory.
 */
bool gavel__reader_start(gavel__reader *reader);

/* Adds bytes; they are copied. A failure is told by the next gavel__reader_next. */
void gavel__reader_feed(gavel__reader *reader, gavel_bytes bytes);

/* The next reply, valid until the next call of this function. */
gavel__reading gavel__reader_next(gavel__reader *reader, const gavel_reply **ret_reply);

/* Why the reader is broken, for people; any bytes may be in it. */
const char *gavel__reader_fault(const gavel__reader *reader);

#endif
