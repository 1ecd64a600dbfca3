/*
 * What the live tests share: a server with a client on it, the plainest of transactions, and peers
 * that are no Redis. For Criterion tests; what goes wrong here fails the test.
 */
#ifndef TEST_LIVE_TOOLS_H
#define TEST_LIVE_TOOLS_H

#include "server.h"

#include <gavel/gavel.h>

/* A server of the test's own, and a client on it. */
typedef struct live_rig {
    test_server *server;
    gavel_client *client;
} live_rig;

/* Both may be NULL. A config with a loop opens an attached client. */
live_rig live_begin(const server_options *options, const gavel_config *config);

/* Closes the client, unless it is NULL, and stops the server. */
void live_end(live_rig *rig);

/* Opens a client; fails the test if that fails. */
gavel_client *live_open(const char *url, const gavel_config *config);

/* ---- Transactions --------------------------------------------------------------------------- */

/* A body that adds one to the integer at a key; `user` is the key, a gavel_bytes. */
gavel_verdict live_add_one(gavel_tx *tx, void *user);

/* Runs live_add_one on a blocking client. */
gavel_outcome live_increment(gavel_client *client, const char *key);

/* The same, but gives up after the third fault. */
gavel_outcome live_increment_impatiently(gavel_client *client, const char *key);

/* Runs a body with `key`, a string, declared as its only read. */
gavel_outcome live_run(gavel_client *client, const char *key, gavel_body *body, void *user);

/* Whether a transaction commits on this client, with everything that belongs to it. */
bool live_is_usable(live_rig *rig);

/* ---- Asking and waiting --------------------------------------------------------------------- */

bool live_contains(const char *text, const char *part);

int64_t live_now_us(void);

/* How many connections of that CLIENT SETNAME the server has. */
int live_count_links(test_server *server, const char *name);

/* Returns when the server has closed all connections of that name, and so done all they asked. */
void live_await_no_links(test_server *server, const char *name);

/* ---- Peers that are no Redis ---------------------------------------------------------------- */

/*
 * Listens on a loopback port and plays the same script to everyone who connects: each time it hears
 * something, it sends the next of `answers` (ended by NULL). Then it is silent, or hangs up.
 */
typedef struct fake_server fake_server;

fake_server *fake_start(const char *const *answers, bool hangs_up);
void fake_stop(fake_server *fake);
const char *fake_url(const fake_server *fake);

/* What a Redis 7 answers to the handshake of a client without password and database. */
extern const char fake_handshake[];

#endif
