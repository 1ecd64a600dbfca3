/*
 * A connection to the server for the commands that only ask and tell: one link, driven by poll.
 */
#ifndef GAVEL_CLI_SERVER_H
#define GAVEL_CLI_SERVER_H

#include "cli/cli.h"
#include "redis/link.h"
#include "topology/place.h"

/* Told of each reply, in order; the reply lives until it returns. */
typedef void cli_on_reply(size_t i, const gavel_reply *reply, void *user);

typedef struct cli_server {
    gavel__address address; /* its strings are borrowed, or those below */
    gavel__place_name place;
    char label[GAVEL__PLACE_TEXT_SIZE + 16];
    gavel__link_kind kind;
    gavel__link *link;
    gavel__tls *tls; /* NULL: without */
    bool is_down;
    bool is_unheard;         /* then: the next connection tells why */
    size_t n_endpoints_left; /* to be tried, while it is not up */
    cli_on_reply *on_reply;
    void *user;
    size_t n_replies;                 /* since cli_server_ask began */
    char trouble[GAVEL_MESSAGE_SIZE]; /* why it could not be opened, or was lost */
} cli_server;

/* What the time of connections is taken from. */
int64_t cli_now_us(void);

/*
 * Connects and logs in, to the server at a place; NULL: that of the URL. The options are borrowed.
 * False: it could not, `trouble` says why; it is to be closed all the same.
 */
bool cli_server_open(cli_server *server, const cli_options *options, gavel__link_kind kind,
    const gavel__place_name *place);

void cli_server_close(cli_server *server);

/* Where the next command is written, for cli_server_ask. A node of a Cluster is told by ASKING
 * before that it should answer for a slot, too, that is on its way to it. */
gavel__buffer *cli_server_next(cli_server *server);

/*
 * Sends what was written, and returns when the replies to `n` commands have been handed to
 * `on_reply`. False: the connection was lost, `trouble` says why.
 */
bool cli_server_ask(cli_server *server, size_t n, cli_on_reply *on_reply, void *user);

#endif
