/*
 * Crews: the callers of one process, and what a policy is to them. A policy says how one
 * transaction is tried; the crew decides when the next one starts, carries commands and replies,
 * and keeps the counts. For the contention benchmark's processes and policies.
 *
 *     begin -> attempt -> replies ... -> caller_settle -> think -> begin
 *                 ^            |
 *                 '-- pause <--'  caller_retry
 *
 * With threads each caller is a thread with a blocking wire of its own; without, all callers run
 * on one libev loop. The policies' code is the same in both.
 */
#ifndef BENCH_CREW_H
#define BENCH_CREW_H

#include "measure.h"
#include "wire.h"
#include "workload.h"

#include <stdatomic.h>

struct crew;
struct policy;

/* What is asked of a run. */
struct load {
    const struct workload *workload;
    size_t n_processes;
    size_t n_callers; /* in each process */
    size_t n_threads; /* in each process; above 0 they are the callers */
    size_t n_foreign; /* see load_n_foreign; 0: as the workload has it */
    size_t n_keys;
    double theta;
    double think_us; /* on average, from half to one and a half of it */
    double body_us;
    double rtt_us;
    double jitter_us; /* 0: what was found best. The base of those that wait at random */
    size_t n_wires;   /* 0: what was found best; that callers share, where a policy shares any */
    double rate;      /* transactions/s of all together; 0: a closed loop */
    double seconds;
};

/* Callers in one process. */
static inline size_t load_n_callers(const struct load *load)
{
    return load->n_threads > 0 ? load->n_threads : load->n_callers;
}

/*
 * Callers of one more process, which run the policy watch whatever the others do: a program that
 * knows nothing of gates, and is not to lose an update all the same.
 */
static inline size_t load_n_foreign(const struct load *load)
{
    size_t n_callers = load->n_processes * load_n_callers(load);
    if (load->n_foreign > 0 || !load->workload->has_foreigners)
        return load->n_foreign;
    return n_callers < 8 ? 1 : n_callers / 8;
}

/* Whether a transaction writes by one command, for policies that know no more. */
static inline bool load_has_one_write(const struct load *load)
{
    return !load->workload->has_log;
}

/* When measuring begins and ends, on the monotonic clock. */
struct window {
    int64_t start_ns;
    int64_t end_ns;
};

/*
 * What happened. Of the window, unless it says otherwise; latencies are those of transactions that
 * were started (or meant to be) in the window, however late they ended.
 */
struct tally {
    uint64_t n_commits;
    uint64_t n_rejected;
    uint64_t n_gave_up; /* at the deadline, or, with a rate, not even begun when the window ended */
    uint64_t n_commits_ever; /* with those before and after the window; so the next two */
    uint64_t n_attempts_ever;
    uint64_t n_round_trips_ever;
    measure_histogram latencies; /* from first attempt, or its intended time, to commit */
    int64_t max_ns;
    int64_t longest_wait_ns; /* of one caller, without a commit */
    int64_t cpu_us;
};

struct caller {
    struct crew *crew;
    struct wire *wire; /* NULL: the policy's client does it all */
    struct tally *tally;
    struct job job;
    uint64_t random;
    int64_t start_ns; /* of the transaction, or when it was meant to start */
    int64_t deadline_ns;
    int64_t wake_ns;      /* threads: 0, or when to go on; the loop has timers for that */
    uint32_t n_conflicts; /* lost attempts of this transaction */
    bool is_settled;
    bool is_plain_read; /* a read without a transaction, which needs no policy */
    int64_t last_commit_ns;
    uint64_t n_commits; /* in the window */
    int step;           /* the policy's own from here on */
    int n_stale;        /* replies that nobody wants any more */
    int n_awaited;
    int n_held;
    bool is_rejected;
    bool is_watching;
    bool expects_conflict;
    struct gavel_lock *lock;
};

/*
 * A way to run transactions. Either attempt, on_reply and what they need, or, for one that leaves
 * all to a client of its own, begin and run. Whoever has a client has open, close and
 * count_round_trips.
 */
struct policy {
    const char *name;
    size_t n_wires; /* that all callers of a loop share; 0: one for each caller */
    bool (*can_run)(const struct load *load); /* NULL: everything */
    bool (*is_known)(redisContext *server);   /* NULL: to every server */
    const char *(*script)(
        const struct stage *stage); /* NULL: needs none; else loaded as crew->sha */

    /* Sends what begins an attempt. */
    void (*attempt)(struct caller *caller);
    /* Takes the next reply; never an error, which is a failure of the run. */
    void (*on_reply)(struct caller *caller, const gavel_reply *reply);
    /* How long to wait after a lost attempt; NULL: not at all. */
    int64_t (*pause_ns)(struct caller *caller);

    void *(*open)(struct crew *crew);
    void (*close)(void *client);
    void (*begin)(struct caller *caller); /* on a loop: calls caller_settle later */
    void (*run)(struct caller *caller);   /* in a thread: calls caller_settle before it returns */
    uint64_t (*count_round_trips)(void *client);
};

extern const struct policy policy_textbook;
extern const struct policy policy_watch;
extern const struct policy policy_jitter;
extern const struct policy policy_lock;
extern const struct policy policy_lock_fifo;
extern const struct policy policy_evalsha;
extern const struct policy policy_evalsha_pipelined;
extern const struct policy policy_ifeq;
extern const struct policy policy_ifeq_jitter;
extern const struct policy policy_ifeq_pipelined;
extern const struct policy policy_incr;
extern const struct policy policy_gavel;
extern const struct policy policy_gavel_optimistic;
extern const struct policy policy_gavel_gated;

/* ---- For policies ---------------------------------------------------------------------------- */

void caller_send(struct caller *caller, const gavel_bytes *args, size_t n_args);
void caller_send_word(struct caller *caller, gavel_bytes word);
void caller_send_watch(struct caller *caller);
void caller_send_read(struct caller *caller);
/* Returns how many commands that were. */
int caller_send_write(struct caller *caller);

/* Whether the reply is this status; if not, the run has failed. */
bool caller_expect(struct caller *caller, const gavel_reply *reply, const char *status);

/* Takes the reply to caller_send_read; if it is none, the run has failed. */
bool caller_take_read(struct caller *caller, const gavel_reply *reply);

/* EXEC's reply: 1 committed, 0 lost to somebody else; -1: the run has failed. */
int caller_judge_exec(struct caller *caller, const gavel_reply *reply);

/* Counts an attempt that begins with replies to come, not by policy->attempt. */
void caller_count_attempt(struct caller *caller);

/* The attempt is lost: the next one, after the policy's pause, unless the deadline has come. */
void caller_retry(struct caller *caller);

/*
 * "Full jitter": a time drawn from 0 to base * 2^n, n being the transaction's lost attempts, at
 * most from 0 to 50 ms. The load may set another base.
 */
int64_t caller_jitter_ns(struct caller *caller, double base_us);

/* The same for a policy that has begun the next attempt already. False: it gave up, and settled. */
bool caller_may_retry(struct caller *caller);

enum settlement { COMMITTED, REJECTED, GAVE_UP };

/* The transaction's end, once. On a loop the next one may begin before this returns. */
void caller_settle(struct caller *caller, enum settlement settlement);

/* Ends the run; says why on standard error. */
void caller_fail(struct caller *caller, const char *what, gavel_bytes detail);

/* How long a transaction may take; gavel's default, which the rivals keep too. */
#define CALLER_DEADLINE_NS INT64_C(5000000000)

/* ---- For the process ------------------------------------------------------------------------- */

struct ev_loop;

struct crew {
    const struct load *load;
    const struct policy *policy;
    const char *url;
    struct stage *stage;
    struct ev_loop *loop; /* NULL: threads */
    struct fleet *fleet;  /* what crew_loop.c needs */
    struct caller *callers;
    size_t n_callers;
    struct tally *tallies; /* one for the loop, or one for each thread */
    size_t n_tallies;
    struct wire **wires;
    size_t n_wires;
    void *client; /* the policy's own */
    gavel_bytes sha;
    char sha_text[41];
    struct window window;
    atomic_bool has_failed;
};

/* Connects. False: it was told why; close it all the same. */
bool crew_open(struct crew *crew, uint64_t seed);
void crew_close(struct crew *crew);

/* Runs the callers through the window and until all are settled. */
bool crew_run_loop(struct crew *crew);
bool crew_run_threads(struct crew *crew);

/* Adds up the numbers, and takes the greater of the maxima. */
void tally_add(struct tally *sum, const struct tally *other);

/* Everything that the crew has counted; once, at the end. */
void crew_sum(struct crew *crew, struct tally *ret_tally);

/* ---- Inside crews ---------------------------------------------------------------------------- */

/* The start of the caller's next transaction, in its start_ns. False: none before the end. */
bool caller_plan(struct caller *caller, int64_t now_ns);

/* Begins the planned transaction. */
void caller_begin(struct caller *caller);

/* The policy's next attempt. */
void caller_attempt(struct caller *caller);

/* A reply on the caller's wire. */
void caller_on_reply(void *receiver, const gavel_reply *reply);

/* crew_loop.c's. */
bool fleet_open(struct crew *crew);
void fleet_close(struct crew *crew);
void fleet_sleep(struct caller *caller, int64_t until_ns); /* then a pause's or a plan's end */
void fleet_mark_dirty(struct crew *crew, struct wire *wire);
void fleet_on_settled(struct caller *caller);
void fleet_break(struct crew *crew);

#endif
