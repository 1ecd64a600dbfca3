/*
 * A connection to the server for the commands that only ask and tell: one link, driven by poll.
 */
#ifndef GAVEL_CLI_SERVER_H
#define GAVEL_CLI_SERVER_H

#include "cli/cli.h"
#include "redis/link.h"

/* Told of each reply, in order; the reply lives until it returns. */
typedef void cli_on_reply(size_t i, const gavel_reply *reply, void *user);

typedef struct cli_server {
    gavel__link *link;
    gavel__tls *tls; /* NULL: without */
    bool is_down;
    bool is_unheard;         /* then: the next connection tells why */
    size_t n_endpoints_left; /* to be tried, while it is not up */
    cli_on_reply *on_reply;
    void *user;
    size_t n_replies; /* since cli_server_ask began */
} cli_server;

/*
 * Connects and logs in; for cli_server_close. The options are borrowed. False: it could not, and
 * has said so on standard error.
 */
bool cli_server_open(cli_server *server, const cli_options *options);

/* Takes a server that could not be opened. */
void cli_server_close(cli_server *server);

/* Where commands are written, for cli_server_ask. */
gavel__buffer *cli_server_out(cli_server *server);

/*
 * Sends what was written, and returns when `n` replies have been handed to `on_reply`. False: the
 * connection was lost, and this was said on standard error.
 */
bool cli_server_ask(cli_server *server, size_t n, cli_on_reply *on_reply, void *user);

#endif
