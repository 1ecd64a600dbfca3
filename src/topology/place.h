/*
 * Places: where a server is, as servers name one another. Pure.
 */
#ifndef GAVEL__PLACE_H
#define GAVEL__PLACE_H

#include <gavel/bytes.h>

#include <stdbool.h>

/* What a name in the DNS can be, or a number, with its NUL. */
#define GAVEL__PLACE_HOST_SIZE 256

/* Room for what gavel__format_place makes of one. */
#define GAVEL__PLACE_TEXT_SIZE (GAVEL__PLACE_HOST_SIZE + 8)

typedef struct gavel__place_name {
    char host[GAVEL__PLACE_HOST_SIZE]; /* "": none */
    int port;
} gavel__place_name;

bool gavel__place_is_same(const gavel__place_name *a, const gavel__place_name *b);

/* What a server has said. False: it is no place. */
bool gavel__place_take(gavel_bytes host, int64_t port, gavel__place_name *ret_place);

#endif
