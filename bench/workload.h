/*
 * Workloads: what the contention benchmark's transactions do, the same under every policy. A
 * workload is integers in cells (strings, or the fields of hashes), and a decision on what was
 * read. Whatever the callers are told to be committed is added up for each cell, and afterwards
 * each cell must hold exactly that: one lost or doubled update is found.
 */
#ifndef BENCH_WORKLOAD_H
#define BENCH_WORKLOAD_H

#include "arrivals.h"
#include "server.h"

#include <gavel/bytes.h>
#include <gavel/reply.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The most keys, and cells, of one transaction. */
#define WORKLOAD_MAX 2

/* Before a key's name: the name of the policy lock's lock on it. */
#define LOCK_PREFIX "bench:lock:"

/* The stream that all transactions of a workload with a log append to. */
#define LOG_KEY "bench:log"

/* The most arguments of one of its commands. */
#define WORKLOAD_MAX_ARGS 8

struct job;

/*
 * counter   one key: plus one
 * transfer  two keys, accounts: moves an amount, unless the first has less than that
 * auction   one key, a hash of price, bids and leader: a bid, unless the price is not below it
 * ycsb      one key: half of them plus one, half of them only read (the mix of YCSB's F)
 * foreign   as counter, and another program does the same in its own way: see load_n_foreign
 * orders    as counter, and each appends an entry to one stream, which it does not read
 */
struct workload {
    const char *name;
    bool is_hash;
    size_t n_keys; /* in one transaction */
    int64_t initial;
    const char *script; /* the same, as a script: returns what it added, 0 for rejected */
    void (*choose)(struct job *job, uint64_t *random);
    bool (*decide)(struct job *job); /* from `seen` to `next`; false: rejected */
    bool has_foreigners;
    bool has_log;
};

/* NULL: there is none. */
const struct workload *workload_find(const char *name);

/* ---- The stage: keys and what was told of them ---------------------------------------------- */

struct stage {
    const struct workload *workload;
    size_t n_keys;
    bench_key *keys;
    double *reach;         /* theta above 0: how probable a key up to this one is; else NULL */
    int64_t body_ns;       /* that a body works, beyond what it does */
    uint64_t script_turns; /* of an empty loop that make a script work as long */
    size_t n_cells;        /* a string has one, an auction's hash two; the last one is the log's */
    atomic_llong *told;    /* by cell: what was added, as the callers were told, in this process */
    atomic_llong *shown;   /* by key: the price that bidders saw last; NULL but for auctions */
    struct arrivals *arrivals; /* NULL: commits have no order that is known */
};

/* Whether all commits, but those that only read, have seen numbers that tell their order. */
static inline bool workload_has_order(const struct workload *workload, size_t n_keys)
{
    return n_keys == 1 && !workload->is_hash;
}

/* False: no memory; close it all the same. */
bool stage_open(struct stage *stage, const struct workload *workload, size_t n_keys, double theta);
void stage_close(struct stage *stage);

/* Sets how long bodies work; measures how that is done in a script. */
bool stage_set_body(struct stage *stage, redisContext *context, double body_us);

/* Sets every cell to its initial value, and removes the locks and gates that a run has left. */
bool stage_reset(const struct stage *stage, redisContext *context);

/* Counts the cells that do not hold what `told` says. */
bool stage_check(const struct stage *stage, redisContext *context, const int64_t *told,
    uint64_t *ret_n_violations);

/* ---- Jobs: one transaction's share ----------------------------------------------------------- */

struct job {
    struct stage *stage;
    size_t keys[WORKLOAD_MAX];
    bool is_read; /* reads only */
    int64_t amount;
    int64_t seen[WORKLOAD_MAX]; /* what was read */
    int64_t next[WORKLOAD_MAX]; /* what is to be written */
    char digits[WORKLOAD_MAX][24];
};

/* Draws the next transaction. */
void job_choose(struct job *job, uint64_t *random);

gavel_bytes job_key(const struct job *job, size_t i);

/* From `seen` to `next`, in the body's time. False: rejected. */
bool job_decide(struct job *job);

/* These write a command's arguments, at most WORKLOAD_MAX_ARGS, and return their number. */
size_t job_watch_args(const struct job *job, gavel_bytes *args);
size_t job_read_args(const struct job *job, gavel_bytes *args);
size_t job_write_args(struct job *job, gavel_bytes *args);

/* The second write, of a workload with a log; behind job_write_args. */
size_t job_log_args(const struct job *job, gavel_bytes *args);

/* Takes the values read. False: that is no reply to job_read_args. */
bool job_take_read(struct job *job, const gavel_reply *reply);

/* Whether this is the reply to a write that was made. */
bool job_is_written(const gavel_reply *reply);

/* Behind EVALSHA and the hash. The reply is an integer. */
size_t job_script_args(struct job *job, gavel_bytes *args);

/* Takes what the script returned. False: rejected. */
bool job_take_script(struct job *job, int64_t added);

/* Notes what the caller has been told: committed or rejected. */
void job_tell(struct job *job, bool is_committed);

/* Notes when a transaction that has committed began. */
void job_note_arrival(const struct job *job, int64_t start_ns);

/* ---- Chance ---------------------------------------------------------------------------------- */

/* The next of a sequence that `random`, never 0, carries. */
uint64_t chance(uint64_t *random);

/* Uniform from 0 to 1, without 1. */
double chance_share(uint64_t *random);

#endif
