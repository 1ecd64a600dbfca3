/*
 * Replies: what the server answered to one command, as a tree that can only be read.
 *
 * Whoever hands out a reply says how long it lives; its texts and elements live as long.
 */
#ifndef GAVEL_REPLY_H
#define GAVEL_REPLY_H

#include <gavel/bytes.h>
#include <gavel/export.h>

#include <stdbool.h>

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

/*
 * Readers. Each takes any reply, and NULL for none, so one can be handed what another has found:
 *
 *     gavel_reply_int(gavel_reply_value(item, GAVEL_STR("price")), &price)
 *
 * False: the reply is not of that kind, and the output, which must not be NULL, is zero or no
 * bytes. Any thread may call them.
 */

/* An integer, or a text that is one in Redis's own form: no blanks, no leading zeros. */
GAVEL_EXPORT bool gavel_reply_int(const gavel_reply *reply, int64_t *ret_value);

/* A number: an integer, or a text as Redis reads one (see gavel_get_double). */
GAVEL_EXPORT bool gavel_reply_double(const gavel_reply *reply, double *ret_value);

/* A string or a status. The bytes are the reply's. */
GAVEL_EXPORT bool gavel_reply_text(const gavel_reply *reply, gavel_bytes *ret_text);

/* The element at a place from 0; NULL: it has none there. */
GAVEL_EXPORT const gavel_reply *gavel_reply_element(const gavel_reply *reply, size_t place);

/*
 * Maps: HGETALL's fields with their values, ZRANGE's members with their scores, XRANGE's ids with
 * their entries. Redis answers with name, value, name, value, or with an array of two for each;
 * both are read alike. (So is what only looks like it; what is a map, the caller knows.)
 */

/*
 * The pair at a place from 0; false: there are no more, and both are NULL.
 *
 *     for (size_t i = 0; gavel_reply_pair(scores, i, &member, &score); i++)
 */
GAVEL_EXPORT bool gavel_reply_pair(const gavel_reply *reply, size_t place,
    const gavel_reply **ret_name, const gavel_reply **ret_value);

/* What the map has under this name, the first if there are several; NULL: nothing. */
GAVEL_EXPORT const gavel_reply *gavel_reply_value(const gavel_reply *reply, gavel_bytes name);

#ifdef __cplusplus
}
#endif

#endif
