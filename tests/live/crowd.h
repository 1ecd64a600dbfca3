/*
 * A crowd: four clients of a Cluster whose callers never stop, while a test does to its slots,
 * nodes and links what it likes. Two are blocking, one is attached to libev, one is polled; each
 * client has four callers, who all count in one counter, and each in one of their own.
 *
 * What they were told is compared with what is there: nothing may be lost, doubled or half done.
 * Meanwhile somebody reads all counters, who must always find the one to be the sum of the others.
 */
#ifndef TEST_LIVE_CROWD_H
#define TEST_LIVE_CROWD_H

#include "clusters.h"

#include <pthread.h>
#include <stdatomic.h>

enum { CROWD_N_CLIENTS = 4, CROWD_N_EACH = 4, CROWD_N = CROWD_N_CLIENTS * CROWD_N_EACH };

/* One transaction after another. How a caller does it depends on its number: it declares what it
 * reads, or does not, or only writes, or names ids, each of them twice. */
typedef struct crowd_caller {
    struct crowd_client *client;
    int number;
    char own[48];           /* its counter */
    long long n_ids;        /* that it has used */
    bool is_second;         /* the same id once more */
    bool has_committed;     /* the first one with that id */
    bool has_been_doubtful; /* was UNKNOWN */
    atomic_llong n_committed;
    atomic_llong n_unknown;
    atomic_llong n_repeated; /* an id that was told COMMITTED, and then committed again */
    atomic_llong n_other;    /* neither committed nor unknown */
    gavel_outcome other;     /* the last of these */
} crowd_caller;

typedef struct crowd_client {
    struct live_crowd *crowd;
    gavel_client *client;
    struct ev_loop *loop; /* NULL: it is blocking, or polled */
    atomic_llong n_lost;  /* events that say so */
    atomic_llong n_may_be_lost;
    crowd_caller callers[CROWD_N_EACH];
    pthread_t threads[CROWD_N_EACH];
    int n_threads;
} crowd_client;

/* Reads, in turn by a snapshot and by a transaction that writes nothing. */
typedef struct crowd_reader {
    struct live_crowd *crowd;
    gavel_client *client;
    pthread_t thread;
    long long counted; /* what the last run of its body has read: the counter, */
    long long sum;     /* and the sum of the others */
    atomic_llong n_read;
    atomic_llong n_torn;  /* of these: the two were not the same */
    atomic_llong n_other; /* neither committed nor unknown */
    gavel_outcome other;  /* the last of these */
} crowd_reader;

typedef struct live_crowd {
    live_cluster *cluster;
    char tag[16];
    int slot;
    char counter[48];
    gavel_config config;
    int64_t begun_us;
    int64_t ended_us;
    long long n_links_lost; /* set by crowd_check */
    atomic_bool is_over;
    crowd_client clients[CROWD_N_CLIENTS];
    crowd_reader reader;
    atomic_bool is_killing; /* links, again and again */
    pthread_t killer;
} live_crowd;

/* All keys are in the slot of {tag}. `config` may be NULL; it is that of all clients. */
void crowd_begin(
    live_crowd *self, live_cluster *cluster, const char *tag, const gavel_config *config);

/* Returns when each client has committed `n` times more, and the reader a few times. */
void crowd_await(const live_crowd *self, long long n);

/* The slot has that many keys more, so that it takes a while to move. */
void crowd_fill(const live_crowd *self, int n_keys);

/* The slot moves to another primary, and back: so many keys at a time, or, 0, at once. */
void crowd_wander(const live_crowd *self, int at_a_time);

/* From now on until the end somebody closes links of the crowd, all over the Cluster. */
void crowd_lose_links(live_crowd *self);

/* Returns when everybody has been told of their last transaction; the clients stay open. */
void crowd_end(live_crowd *self);

/* What is there is what they were told; where the server may have gone back to an older state, what
 * was lost was told, and nothing else. Closes the clients. Returns how much is wrong, which is said
 * on standard error. */
int crowd_check(live_crowd *self, bool may_have_lost);

/* For a table. */
long long crowd_n_committed(const live_crowd *self);
long long crowd_n_unknown(const live_crowd *self);
long long crowd_n_lost(const live_crowd *self);
long long crowd_n_may_be_lost(const live_crowd *self);
double crowd_seconds(const live_crowd *self);

#endif
