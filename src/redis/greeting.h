/*
 * Greetings: what a link says first, and whether the answers are such that it may be used. For
 * links. Does no I/O.
 *
 *     HELLO 2 [AUTH user password] [SETNAME name]
 *     [SELECT database]
 *     MULTI, [SET marker 0 PX ttl], EXEC
 *
 * The last line proves that this login may run transactions: where MULTI is refused, the writes
 * that follow it would run one by one, unguarded. It also plants the marker.
 */
#ifndef GAVEL__GREETING_H
#define GAVEL__GREETING_H

#include "redis/link.h"

typedef enum gavel__greeting_step {
    GAVEL__GREETING_HELLO,
    GAVEL__GREETING_SELECT,
    GAVEL__GREETING_MULTI,
    GAVEL__GREETING_SET,
    GAVEL__GREETING_EXEC
} gavel__greeting_step;

/* The commands whose replies are still to come. */
typedef struct gavel__greeting {
    gavel__greeting_step steps[GAVEL__GREETING_EXEC + 1];
    size_t n_steps;
    size_t i_step;
    size_t n_writes; /* in the transaction */
} gavel__greeting;

typedef enum gavel__greeted {
    GAVEL__GREETED_SO_FAR, /* a good answer; there are more to come */
    GAVEL__GREETED_WELL,   /* that was the last one */
    GAVEL__GREETED_BADLY   /* the link must not be used */
} gavel__greeted;

/* Appends the greeting to `out`. An empty marker: none. */
gavel__greeting gavel__greeting_write(
    const gavel__link_config *config, gavel_bytes marker, gavel__buffer *out);

/*
 * Judges the next reply. BADLY sets *ret_loss, with a message that does not yet name the server;
 * server_error points into the reply.
 */
gavel__greeted gavel__greeting_take(gavel__greeting *greeting, const gavel__address *address,
    const gavel_reply *reply, gavel__link_loss *ret_loss);

/* The server's words, cut before anything that may repeat the login. */
gavel_bytes gavel__greeting_censor(gavel_bytes words, const gavel__address *address);

#endif
