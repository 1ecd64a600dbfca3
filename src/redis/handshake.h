/*
 * Handshakes: what a link says first, and whether the answers are such that it may be used. For
 * links. Does no I/O.
 *
 *     HELLO 2 [AUTH user password] [SETNAME name]
 *     [SELECT database]
 *     MULTI, [SET marker 0 PX ttl], EXEC
 *
 * Where HELLO is forbidden, or was renamed, it is said otherwise, on the same connection:
 *
 *     [AUTH [user] password] [CLIENT SETNAME name] INFO
 *     ... the same
 *
 * A Sentinel is told the first line only. The last one proves that this login may run transactions:
 * where MULTI is refused, the writes that follow it would run one by one, unguarded. It also plants
 * the marker.
 */
#ifndef GAVEL__HANDSHAKE_H
#define GAVEL__HANDSHAKE_H

#include "redis/link.h"

typedef enum gavel__handshake_step {
    GAVEL__HANDSHAKE_HELLO,
    GAVEL__HANDSHAKE_AUTH,
    GAVEL__HANDSHAKE_SETNAME,
    GAVEL__HANDSHAKE_INFO,
    GAVEL__HANDSHAKE_SELECT,
    GAVEL__HANDSHAKE_MULTI,
    GAVEL__HANDSHAKE_SET,
    GAVEL__HANDSHAKE_EXEC
} gavel__handshake_step;

/* As whom to log in. Both NULL: not at all. */
typedef struct gavel__handshake_login {
    const char *user;     /* NULL: the default one */
    const char *password; /* NULL: none, sent as the empty one */
    bool may_change;      /* so that one that is refused is no reason to give up */
} gavel__handshake_login;

/* The commands whose replies are still to come. */
typedef struct gavel__handshake {
    gavel__handshake_login login; /* borrowed */
    gavel__handshake_step steps[GAVEL__HANDSHAKE_EXEC + 1];
    bool has_no_hello; /* to be written without it */
    gavel__link_kind kind;
    size_t n_steps;
    size_t i_step;
    size_t n_writes;       /* in the transaction */
    bool is_hello_refused; /* by a server that may still be spoken to: see RESULT_AGAIN */
    bool is_info_refused;  /* so the version is unknown */
    bool can_tell_fsync;   /* the server's WAITAOF does not answer too early */
} gavel__handshake;

typedef enum gavel__handshake_result {
    GAVEL__HANDSHAKE_RESULT_MORE,  /* a good answer; there are more to come */
    GAVEL__HANDSHAKE_RESULT_GOOD,  /* that was the last one */
    GAVEL__HANDSHAKE_RESULT_AGAIN, /* it was, and HELLO was refused: write one without it */
    GAVEL__HANDSHAKE_RESULT_BAD    /* the link must not be used */
} gavel__handshake_result;

/* Appends the handshake, with HELLO or without, to `out`. Its login is what the caller has filled
 * in; all else is set here. An empty marker: none. */
void gavel__handshake_write(gavel__handshake *handshake, const gavel__link_config *config,
    gavel_bytes marker, gavel__buffer *out);

/*
 * Judges the next reply. BAD sets *ret_loss, with a message that does not yet name the server;
 * server_error points into the reply.
 */
gavel__handshake_result gavel__handshake_take(
    gavel__handshake *handshake, const gavel_reply *reply, gavel__link_loss *ret_loss);

/* The server's words, cut before anything that may repeat the password. */
gavel_bytes gavel__handshake_censor(gavel_bytes words, const char *password);

#endif
