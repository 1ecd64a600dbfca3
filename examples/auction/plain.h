/*
 * Plain hiredis, without gavel: for the rivals in the race, and for verify, which must not trust
 * what it verifies.
 */
#ifndef AUCTION_PLAIN_H
#define AUCTION_PLAIN_H

#include "auction.h"

#include <hiredis.h>

/* A connection, logged in, to the server or to a node of the Cluster. NULL, with the reason in
 * ret_error: see gavel_open for the forms of the URL; neither TLS nor Sentinels are spoken to here.
 * Free it with redisFree. */
redisContext *plain_connect(const char *url, gavel_error *ret_error);

/* Whether the URL is a Cluster's. */
bool plain_is_cluster(const char *url);

/* In a Cluster, replaces the connection by one to the node that has the key, and answers for it and
 * for all with its tag. False, with the reason: there is none, and the connection is the old one.
 */
bool plain_go_to(redisContext **context, const char *url, const char *key, gavel_error *ret_error);

/*
 * Sends one command of counted arguments and waits for its reply. Free it with freeReplyObject.
 * NULL: the connection is lost, and nobody knows whether the command was run.
 */
redisReply *plain_command(redisContext *context, size_t n_args, const char *const *args);

/* PLAIN(context, "GET", key): an array of the arguments, counted. */
#define PLAIN(context, ...)                                                                        \
    plain_command((context), sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *),    \
        (const char *const[]){__VA_ARGS__})

#endif
