/*
 * The latency benchmark's seam: what a scheme of running transactions offers to the program that
 * measures it. latency_gavel.c, latency_hand.c and latency_fleet.c implement schemes, latency.c
 * runs them, latency_report.c tells the results.
 *
 * Every scheme does the same work per transaction: watch a key, read the integer in it, write that
 * plus one in MULTI/EXEC, check every reply, and start again if EXEC answered nil. A blind one only
 * writes: how often it has written the key, so that the keys add up to the same.
 */
#ifndef BENCH_LATENCY_H
#define BENCH_LATENCY_H

#include "measure.h"
#include "report.h"
#include "server.h"
#include "syscalls.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Which way of doing it, where a scheme's code knows several. */
typedef enum latency_variant {
    LATENCY_PLAIN,        /* gavel as it comes; a rival without a marker */
    LATENCY_NO_MARKER,    /* gavel with config.has_no_markers */
    LATENCY_WITH_TIMEOUT, /* a blocking rival that does not wait for ever for a reply */
    LATENCY_WITH_MARKER,  /* the same, and it writes a marker too */
    LATENCY_FLUSHED,      /* an asynchronous rival that writes at once, not on the next event */
    LATENCY_REPLICATED /* told when a replica has it; the rival flushes, and sends WAIT behind EXEC
                        */
} latency_variant;

typedef struct latency_task {
    const char *url;
    const bench_key *keys; /* taken in turn; what is in flight at once has distinct keys */
    size_t n_keys;         /* at least n_in_flight */
    size_t n_in_flight;
    bool is_blind; /* reads nothing; only for what runs one at a time */
    latency_variant variant;
} latency_task;

/* What was done while a scheme was driven; it adds to the counts. */
typedef struct latency_tally {
    uint64_t n_commits;
    uint64_t n_conflicts;
    uint64_t n_round_trips;
    uint64_t n_rounds; /* gavel's only, as are the next two; 0 for rivals */
    uint64_t n_marker_commands;
    uint64_t n_allocations;
    measure_histogram latencies; /* from a transaction's start to its outcome */
} latency_tally;

/* Functions that fail say why on standard error. */
typedef struct latency_ops {
    /* NULL on failure. The task outlives the session. */
    void *(*open)(const latency_task *task);
    /* Runs transactions back to back until `end_ns`, then waits for those in flight. */
    bool (*drive)(void *session, int64_t end_ns, latency_tally *tally);
    /* Takes NULL. */
    void (*close)(void *session);
} latency_ops;

extern const latency_ops latency_gavel_blocking;
extern const latency_ops latency_gavel_attached;
extern const latency_ops latency_hand;  /* blocking hiredis, two round trips; blind: one */
extern const latency_ops latency_fleet; /* asynchronous hiredis, a connection per transaction */

/* gavel's defaults, which the rivals that do the same use too. */
#define LATENCY_MARKER_TTL_MS 900000
#define LATENCY_REPLY_TIMEOUT_S 1

/* ---- Results ------------------------------------------------------------------------------- */

typedef struct latency_scheme {
    const char *name;
    bool is_rival;
    const latency_ops *ops;
    latency_variant variant;
} latency_scheme;

/* Schemes that are compared with one another. */
typedef struct latency_group {
    const char *name;
    const char *title;
    bool has_one_key;
    bool is_blind;
    bool needs_replica;
    size_t n_in_flight;
    const latency_scheme *schemes;
    size_t n_schemes;
} latency_group;

/* One measured run of a scheme. */
typedef struct latency_run {
    double seconds;
    latency_tally tally;
    syscalls calls;
    uint64_t n_commands; /* as the server counts them */
    int64_t client_cpu_us;
    int64_t server_cpu_us;
} latency_run;

/* The runs of one group: the run of scheme s in repeat r is runs[r * n_schemes + s]. */
typedef struct latency_results {
    const latency_group *group;
    size_t n_repeats;
    const latency_run *runs;
    const bool *is_run; /* by scheme: --only chose it */
} latency_results;

void latency_print(const latency_results *results);
void latency_write(const latency_results *results, struct json *json);

#endif
