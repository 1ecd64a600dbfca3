/*
 * Clients, inside: the engine, the locks, the links and the loop, joined.
 *
 * Everything here is used by one thread at a time: for an attached client the loop's, for a
 * blocking one whoever holds the mutex. It is given up only while somebody sleeps: in the loop
 * (driver), or on a single link (see blocking.c).
 */
#ifndef GAVEL__CLIENT_H
#define GAVEL__CLIENT_H

#include "client/credentials.h"
#include "client/platform.h"
#include "client/site.h"
#include "core/engine.h"
#include "lock/locks.h"

#include <pthread.h>

/* One link with what joins it to its client; made when its lane is first to be dialled. */
typedef struct gavel__connection {
    struct gavel__connection *next;
    gavel_client *client;
    gavel__site *site; /* borrowed: where its server is */
    gavel__link *link;
    gavel__lane *lane;
    gavel__watch watch;
    gavel__route route;   /* where the lane, DIALLING, has been */
    gavel_bytes marker;   /* for the next endpoint */
    bool awaits_endpoint; /* the next one to be dialled; the link is DOWN until then */
    bool is_slept_on;     /* by a thread in gavel__link_wait: the loop must not read from it */
} gavel__connection;

/* A line of the log, with its NUL. */
#define GAVEL__LOG_SIZE (2 * GAVEL_MESSAGE_SIZE + GAVEL_ERROR_SIZE)

#define GAVEL__LOG_MAX_TOLD 8

/* What the log remembers; see log.c. */
typedef struct gavel__log {
    int least;                          /* the level; above GAVEL_LOG_WARNING: none */
    bool has_events;                    /* a line for each */
    uint32_t n_failures;                /* to connect, since a link last came up */
    int64_t failing_us;                 /* since then */
    uint64_t told[GAVEL__LOG_MAX_TOLD]; /* digests of the reasons that were told since */
    size_t n_told;
} gavel__log;

/* A thread that waits for something to be told; see blocking.c. */
typedef struct gavel__waiter {
    gavel__list node;
    pthread_cond_t told;
    bool is_asleep; /* on `told`, and not in the loop or on a link */
    bool is_done;
} gavel__waiter;

typedef enum gavel__renewer_state {
    GAVEL__RENEWER_NONE,
    GAVEL__RENEWER_RUNNING,
    GAVEL__RENEWER_ENDED /* to be joined */
} gavel__renewer_state;

struct gavel_client {
    gavel_allocator allocator;
    gavel__platform platform;
    gavel__address address;
    gavel__tls *tls;  /* NULL: without */
    gavel__site site; /* at the address */
    gavel__credentials credentials;
    char *key_prefix;
    char *name;
    char holder[128]; /* who we are, in records of gates and locks */
    gavel_hooks hooks;
    gavel__log log;
    gavel__engine engine;
    gavel__connection *connections;   /* the first one, or NULL */
    struct gavel__peers *peers;       /* the Sentinels; NULL: the server is where the URL says */
    struct gavel__replicas *replicas; /* of the server, to be read from; NULL: none */
    struct gavel__cluster *cluster;   /* the nodes; NULL: there is one server */
    gavel__loop *loop;

    gavel__locks locks; /* made for the first lock */
    bool has_locks;

    uint64_t fork_generation; /* of the process that opened it */
    bool is_closing;
    int64_t now_us;   /* as last read: once for all that one wake-up brings */
    bool has_told;    /* outcomes, since the loop last slept: the program may have more to do */
    bool has_news;    /* the engine was told something since it last advanced */
    bool is_pumping;  /* callbacks may be running: see gavel__client_pump */
    bool is_turning;  /* in gavel_turn, callbacks or not */
    bool is_busy;     /* as the loop was told */
    int64_t armed_us; /* what the loop was told to wake at */

    /* Blocking clients only. */
    pthread_mutex_t mutex;
    pthread_cond_t left; /* the last caller has left, and the client is closing */
    gavel__list waiters; /* callers of gavel_run, in order of arrival */
    size_t n_waiters;
    gavel__waiter *driver; /* who turns the loop; NULL: nobody */
    bool awaits_sleeper;   /* a deadline is not told yet: see gavel__client_pump */
    bool needs_wake;       /* the loop was changed by somebody who does not turn it */
    int64_t turned_us;     /* when the loop was last turned */

    /* See renewer.c. */
    pthread_t renewer;
    gavel__renewer_state renewer_state;
    pthread_cond_t renewer_cond;
    int64_t renewer_due_us; /* when the renewer sleeps: until then; GAVEL__NEVER: or longer */
    gavel__waiter *renewer_waiter; /* while the renewer drives */
    gavel__waiter *closer;         /* gavel_close, while it waits for the locks */
};

/*
 * Joins everything until nothing is left to do: lets the engine advance, dials, closes, sends, and
 * tells outcomes. True: there is more, look at the fds and come again.
 */
bool gavel__client_pump(gavel_client *client);

/* Watches what the loop is to look at, before it sleeps. */
void gavel__client_watch(gavel_client *client);

/* Watches one link, with what it wants now; `may_read` false: not to be read from. False: no
 * memory. */
bool gavel__client_watch_link(
    gavel_client *client, gavel__watch *watch, gavel__link *link, bool may_read);

/* A call of the program's has left something to do, for an attached client's loop to come to. */
void gavel__client_await_turn(gavel_client *client);

/* ---- blocking.c ---------------------------------------------------------------------------- */

/* Tells one outcome to its waiter, in gavel_run. */
void gavel__client_tell_waiter(gavel_client *client, gavel__transaction *transaction);

/* Drives the client until the waiter, which is initialized here, is done. Under the mutex. */
void gavel__client_await(gavel_client *client, gavel__waiter *waiter);

/* Whether the thread that turns the loop has what it waits for, and should not sleep. */
bool gavel__client_is_driver_done(const gavel_client *client);

/* ---- lock_pump.c: the locks' side of the pump ---------------------------------------------- */

/* A thread that waits for a lock's operation; see locking.c. */
typedef struct gavel__lock_waiter {
    gavel__waiter base;
    gavel_lock_outcome outcome;
} gavel__lock_waiter;

/* With the first lock; a client that has none pays nothing. */
void gavel__client_make_locks(gavel_client *client);

/* The clock of the locks. */
int64_t gavel__client_lease_now_us(const gavel_client *client);

/* Tells of the locks whose lease has passed. Comes before anything else is done. */
void gavel__client_expire_locks(gavel_client *client);

/* Whether a lock's operation is to be told that its time has passed. */
bool gavel__client_has_overdue_lock(const gavel_client *client);

/* The same as gavel__client_expire_locks, then timers and what is to be sent; these not before what
 * lies in the sockets is known. */
void gavel__client_advance_locks(gavel_client *client, bool may_end_overdue);

/* Tells losses and outcomes. */
void gavel__client_tell_locks(gavel_client *client);

/* On the loop's clock. */
int64_t gavel__client_locks_due_us(const gavel_client *client, int64_t now_us);

/* ---- renewer.c: a thread for leases that nobody else looks after --------------------------- */

/* Sees to it that there is one. False: there is no thread to be had. */
bool gavel__renewer_start(gavel_client *client);

/* Waits for its end. Not under the mutex; the client is closing. */
void gavel__renewer_join(gavel_client *client);

/* Ends its sleep, if a caller leaves or there is something new that it should look after. */
void gavel__renewer_wake(gavel_client *client);

/* After the pump: ends the renewer's turn, or gavel_close's wait, if there is nothing left to wait
 * for. */
void gavel__renewer_end_waits(gavel_client *client);

/* ---- common.c ------------------------------------------------------------------------------ */

/* NULL: the call is allowed here; otherwise why not. */
const char *gavel__client_refusal(const gavel_client *client, bool wants_blocking);

/* What the waiter waits for is there. */
void gavel__client_end_wait(gavel_client *client, gavel__waiter *waiter);

/* ---- connection.c --------------------------------------------------------------------------- */

/* Unlinks and frees; tells nobody. */
void gavel__connection_destroy(gavel__connection *connection);

/* The node's links are to be closed, for no fault. True: none is left, up or on its way; then these
 * unlink and free what there was of them. */
bool gavel__connections_retire(gavel__node *node);
void gavel__connections_drop(gavel__node *node);

/* ---- log.c --------------------------------------------------------------------------------- */

/* What $GAVEL_LOG says: gives hooks without a log the one on standard error. False: nothing that it
 * may say. */
bool gavel__log_configure(gavel_hooks *hooks, gavel__log *ret_log, gavel_error *ret_error);

/* Why gavel_open has failed: to where the client's log would have gone; and where GAVEL_LOG is what
 * is wrong, to standard error, unless the config has an on_log. */
void gavel__log_refusal(const gavel_config *config, const gavel_error *error);

/* A line, which begins with the server. */
void gavel__client_log(gavel_client *client, gavel_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A link is up, with what there is to remark or NULL; it was up, and is down now, or closed as
 * wanted; it did not come up. */
void gavel__client_log_up(const gavel__connection *connection, const char *remark);
void gavel__client_log_down(
    const gavel__connection *connection, const char *message, bool is_wanted);
void gavel__client_log_failure(
    const gavel__connection *connection, const char *message, bool is_next_at_once);

/* A line of the link's: it names the server that it leads to. */
void gavel__client_log_link(
    const gavel__connection *connection, gavel_log_level level, const char *text);

/* What audits of the ledger have found. */
void gavel__client_log_lost(gavel_client *client, const gavel__audit *audit);

/* The client's hooks, as its engine calls them. */
gavel_hooks gavel__client_engine_hooks(gavel_client *client);

/* ---- client.c ------------------------------------------------------------------------------ */

/* Of an attached client that is closing: tells all that is untold, and frees it. */
void gavel__client_finish(gavel_client *client);

/* Reads the clock. */
static inline int64_t gavel__client_now_us(gavel_client *client)
{
    client->now_us = client->loop->ops->now_us(client->loop);
    return client->now_us;
}

#endif
