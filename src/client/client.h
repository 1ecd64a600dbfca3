/*
 * Clients, inside: the engine, the links and the loop, joined.
 *
 * Everything here is used by one thread at a time: for an attached client the loop's, for a
 * blocking one whoever holds the mutex. It is given up only while somebody sleeps: in the loop
 * (turner), or on a single link (see blocking.c).
 */
#ifndef GAVEL__CLIENT_H
#define GAVEL__CLIENT_H

#include "client/platform.h"
#include "core/engine.h"
#include "redis/link.h"

#include <pthread.h>

/* One link with what ties it to its client. */
typedef struct gavel__tie {
    gavel_client *client;
    gavel__link *link; /* NULL: never needed yet */
    gavel__lane *lane;
    gavel__watch watch;
    bool is_slept_on; /* by a thread in gavel__link_wait: the loop must not read from it */
} gavel__tie;

struct gavel_client {
    gavel_allocator allocator;
    gavel__platform platform;
    gavel__address address;
    char *key_prefix;
    char *name;
    char holder[80]; /* who we are, in records: host and process */
    gavel_hooks hooks;
    gavel__link_config link_config;
    gavel__engine engine;
    gavel__tie ties[GAVEL__MAX_LANES];
    gavel__loop *loop;
    uint64_t fork_generation; /* of the process that opened it */
    bool is_closing;
    int64_t now_us;   /* as last read: once for all that one wake-up brings */
    bool has_told;    /* outcomes, since the loop last slept: the program may have more to do */
    bool has_news;    /* the engine was told something since it last advanced */
    bool is_pumping;  /* callbacks may be running: see gavel__client_pump */
    bool is_busy;     /* as the loop was told */
    int64_t armed_us; /* what the loop was told to wake at */

    /* Blocking clients only. */
    pthread_mutex_t mutex;
    pthread_cond_t left; /* the last caller has left, and the client is closing */
    gavel__list waiters; /* callers of gavel_run, in order of arrival */
    size_t n_waiters;
    struct gavel__waiter *turner; /* who turns the loop; NULL: nobody */
    bool needs_wake;              /* the loop was changed by somebody who does not turn it */
};

/*
 * Joins everything until nothing is left to do: lets the engine advance, dials, closes, sends, and
 * tells outcomes. True: there is more, look at the fds and come again.
 */
bool gavel__client_pump(gavel_client *client);

/* Watches what the loop is to look at, before it sleeps. */
void gavel__client_watch(gavel_client *client);

/* Tells one outcome to its waiter, in gavel_run. In blocking.c, as the next one. */
void gavel__client_tell_waiter(gavel_client *client, gavel__transaction *transaction);

/* Whether the thread that turns the loop has what it waits for, and should not sleep. */
bool gavel__client_is_turner_done(const gavel_client *client);

/* Frees all; nothing may be open. */
void gavel__client_destroy(gavel_client *client);

/* NULL: the call is allowed here; otherwise why not. */
const char *gavel__client_refusal(const gavel_client *client, bool wants_blocking);

void gavel__client_log(gavel_client *client, gavel_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Reads the clock. */
static inline int64_t gavel__client_now_us(gavel_client *client)
{
    client->now_us = client->loop->ops->now_us(client->loop);
    return client->now_us;
}

#endif
