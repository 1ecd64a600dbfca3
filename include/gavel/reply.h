/*
 * Replies: what the server answered to one command, as a tree that can only be read.
 *
 * Whoever hands out a reply says how long it lives; its texts and elements live as long.
 */
#ifndef GAVEL_REPLY_H
#define GAVEL_REPLY_H

#include <gavel/bytes.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum gavel_reply_type {
    GAVEL_REPLY_NIL,     /* nothing there: the null bulk string or the null array */
    GAVEL_REPLY_STATUS,  /* a short word such as OK, in `text` */
    GAVEL_REPLY_ERROR,   /* the server's words, in `text` */
    GAVEL_REPLY_INTEGER, /* in `integer` */
    GAVEL_REPLY_STRING,  /* any bytes, in `text` */
    GAVEL_REPLY_ARRAY    /* `n_elements` replies in `elements` */
} gavel_reply_type;

typedef struct gavel_reply {
    gavel_reply_type type;
    int64_t integer;
    gavel_bytes text;
    const struct gavel_reply *elements;
    size_t n_elements;
} gavel_reply;

#ifdef __cplusplus
}
#endif

#endif
