/*
 * Crews: processes that add one to counters, each through a client of its own, while a test kills
 * them, stops them, or does something to the server. What they were told stands in memory that
 * outlives them, so that in the end the counters can be held against it.
 *
 *     test ---fork---> worker 0..n-1     begun, told: in shared memory
 *       '-----fork---> pulse             the longest time without a commit
 *
 * All of them die with the test, however it ends. For Criterion tests; what goes wrong here fails
 * the test. One thread.
 */
#ifndef TEST_LIVE_CHAOS_H
#define TEST_LIVE_CHAOS_H

#include "server.h"

#include <gavel/gavel.h>

typedef enum chaos_kind {
    CHAOS_BLOCKING, /* callers are threads in gavel_run */
    CHAOS_ATTACHED, /* callers are on one loop */
    CHAOS_CLOSING,  /* the same, and the client is closed and opened again with work in flight */
    CHAOS_FOREIGN   /* one caller: WATCH, GET, MULTI, SET, EXEC by hand; knows of no gates */
} chaos_kind;

/* What each worker does: zero means the default, which stands beside the field. */
typedef struct chaos_plan {
    chaos_kind kind;
    size_t n_workers; /* 0: 1. Processes, at most CHAOS_MAX_WORKERS */
    size_t n_callers; /* 0: 1. In each process, at most CHAOS_MAX_CALLERS */
    uint64_t n_runs;  /* 0: until chaos_join. Of each process, to begin */
    /* NULL: "counter" alone. Ended by NULL: each transaction adds one to all of them, and every
     * second worker names them in the opposite order. A foreign one: to the first. */
    const char *const *keys;
    uint32_t
        max_body_us; /* 0: none. How long bodies sleep, at random: holders are met more often */
    uint32_t deadline_ms; /* 0: 20000 */
    const char *url;      /* NULL: the server's */
    gavel_config config;  /* `loop` and `name` are the crew's: the name is "worker" */
} chaos_plan;

#define CHAOS_MAX_WORKERS 64
#define CHAOS_MAX_CALLERS 16

/* What was told, by all workers of a crew that ever were. */
typedef struct chaos_tally {
    uint64_t n_begun;
    uint64_t n_told[GAVEL_UNKNOWN + 1]; /* by status */
    uint64_t n_attempts;                /* of those told, as the next two */
    uint64_t n_conflicts;
    uint64_t n_gated;
    int64_t max_late_us;              /* by how much an outcome came after its deadline */
    char message[GAVEL_MESSAGE_SIZE]; /* of some outcome that was no commit */
} chaos_tally;

typedef struct chaos_crew chaos_crew;

/* Starts the workers. The plan is copied, but for the strings. */
chaos_crew *chaos_start(test_server *server, const chaos_plan *plan);

/* Lets every worker end after what it has begun, waits, frees. One that does not end, or that
 * crashed, fails the test. */
chaos_tally chaos_join(chaos_crew *crew);

/* The tally so far. */
chaos_tally chaos_read(const chaos_crew *crew);

/* What was told to one worker, and those before it in its place. */
chaos_tally chaos_read_worker(const chaos_crew *crew, size_t worker);

/* How many were not told, or told that nobody knows. */
uint64_t chaos_n_maybe(const chaos_tally *tally);

/* Ends a worker by SIGKILL, and starts another one in its place. */
void chaos_kill(chaos_crew *crew, size_t worker);

/* Stops a worker from running without ending it, and lets it go on. */
void chaos_pause(chaos_crew *crew, size_t worker);
void chaos_resume(chaos_crew *crew, size_t worker);

/* ---- Who is inside ------------------------------------------------------------------------- */

#define CHAOS_NOBODY SIZE_MAX

/* The worker that the record of the key's gate names, or CHAOS_NOBODY. */
size_t chaos_holder(chaos_crew *crew, const char *key);

/* Closes, from the server's side, one of the crew's connections, drawn among those that wait at a
 * gate, or among the others. False: there was none. */
bool chaos_cut(chaos_crew *crew, bool is_waiting);

/* ---- Waiting ------------------------------------------------------------------------------- */

/* Returns when `n` more have been committed by the crew; a minute without one fails the test. */
void chaos_await_commits(chaos_crew *crew, uint64_t n);

/* Waits for a condition; one that does not come true in a minute fails the test. */
void chaos_await(bool (*is_true)(void *context), void *context, const char *what);

/*
 * From now on, the time between two commits of the crew is measured. Time in which the machine or
 * the server stood still does not count: it is told in heartbeats, each a moment's sleep and a
 * PING, and one that took longer counts as five milliseconds.
 */
void chaos_watch(chaos_crew *crew);
int64_t chaos_longest_stall_us(const chaos_crew *crew);

/* A number in 0 .. bound - 1. */
uint64_t chaos_draw(uint64_t bound);

/* ---- Judging ------------------------------------------------------------------------------- */

/* The key holds all that was committed, and of what nobody was told, any number; by `n` crews. */
void chaos_expect_value(
    test_server *server, const char *key, const chaos_tally *tallies, size_t n_tallies);

/* All were told COMMITTED, and in time. */
void chaos_expect_all_committed(const chaos_tally *tally);

/* Everybody was told in time. */
void chaos_expect_in_time(const chaos_tally *tally);

#endif
