/*
 * The sweeps of the contention benchmark: sets of loads that stand for all, each with what gavel is
 * to reach under them. See contention.h.
 */
#include "contention.h"

#include <string.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

struct entry {
    const char *title;
    const char *workload;
    const char *policies;
    struct load load; /* without its workload and seconds */
};

/* ---- default: one process ----------------------------------------------------------------------
 */

enum { HOT, THREADS, WIDE, ALONE, ISOLATED };

static const struct entry default_entries[] = {
    [HOT] = {"one hot key, 64 callers", "counter",
        "textbook,watch,jitter,lock,evalsha,evalsha-pipelined,incr,gavel",
        {.n_processes = 1, .n_callers = 64, .n_keys = 1}},
    [THREADS] = {"one hot key, 64 blocking threads", "counter",
        "textbook,watch,jitter,lock,evalsha,incr,gavel",
        {.n_processes = 1, .n_callers = 64, .n_threads = 64, .n_keys = 1}},
    [WIDE] = {"1,000 uniform keys, 64 callers", "counter",
        "textbook,watch,jitter,lock,evalsha,evalsha-pipelined,incr,gavel",
        {.n_processes = 1, .n_callers = 64, .n_keys = 1000}},
    [ALONE] = {"one key, one caller back to back", "counter", "textbook,watch,evalsha,gavel",
        {.n_processes = 1, .n_callers = 1, .n_keys = 1}},
    [ISOLATED] = {"one key, one blocking caller that thinks in between", "counter",
        "textbook,watch,evalsha,gavel",
        {.n_processes = 1, .n_callers = 1, .n_threads = 1, .n_keys = 1, .think_us = 200}},
    {"one hot key, 4 processes of 16 callers", "counter",
        "textbook,watch,jitter,lock,evalsha,gavel",
        {.n_processes = 4, .n_callers = 16, .n_keys = 1}},
    {"10 items, 64 bidders", "auction", "watch,jitter,lock,evalsha,evalsha-pipelined,gavel",
        {.n_processes = 1, .n_callers = 64, .n_keys = 10}},
    {"100 accounts, 64 callers, theta 0.9", "transfer",
        "watch,jitter,lock,evalsha,evalsha-pipelined,gavel",
        {.n_processes = 1, .n_callers = 64, .n_keys = 100, .theta = 0.9}},
    {"1,000 keys, 64 callers, theta 0.99, half of them read", "ycsb",
        "watch,jitter,lock,evalsha,evalsha-pipelined,gavel",
        {.n_processes = 1, .n_callers = 64, .n_keys = 1000, .theta = 0.99}},
    {"one hot key, 64 callers, half a millisecond away", "counter",
        "watch,jitter,lock,evalsha,evalsha-pipelined,gavel",
        {.n_processes = 1, .n_callers = 64, .n_keys = 1, .rtt_us = 500}},
    {"1,000 keys, 64 callers, 20,000 transactions/s offered", "counter",
        "watch,evalsha,evalsha-pipelined,gavel",
        {.n_processes = 1, .n_callers = 64, .n_keys = 1000, .rate = 20000}},
};

static const struct goal default_goals[] = {
    {"one hot key, 64 callers, against textbook", "commits_per_s", {HOT, "gavel"},
        {HOT, "textbook"}, 100, false},
    {"the same against jitter", "commits_per_s", {HOT, "gavel"}, {HOT, "jitter"}, 30, false},
    {"the same against evalsha", "commits_per_s", {HOT, "gavel"}, {HOT, "evalsha"}, 1.5, false},
    {"one hot key, 64 threads, against textbook", "commits_per_s", {THREADS, "gavel"},
        {THREADS, "textbook"}, 40, false},
    {"1,000 keys, 64 callers, against watch", "commits_per_s", {WIDE, "gavel"}, {WIDE, "watch"}, 8,
        false},
    {"one caller back to back, against watch", "commits_per_s", {ALONE, "gavel"}, {ALONE, "watch"},
        1.9, false},
    {"one isolated caller, speed (1 / p50) against watch", "p50_us", {ISOLATED, "watch"},
        {ISOLATED, "gavel"}, 0.95, false},
    {"one hot key, 64 callers, jitter's p99.9 over gavel's", "p999_us", {HOT, "jitter"},
        {HOT, "gavel"}, 100, false},
    {"one hot key, 64 callers, client us per commit", "client_cpu_us_per_commit", {HOT, "gavel"},
        {0}, 2, true},
};

/* ---- gate: several processes -------------------------------------------------------------------
 */

#define HAND_WRITTEN "watch,jitter,lock"
#define GAVELS "gavel,gavel-optimistic,gavel-gated"
#define ALL "textbook," HAND_WRITTEN ",lock-fifo,evalsha," GAVELS

enum { EIGHTS, P64, P16, P4, P2, P1, ORDERS };

static const struct entry gate_entries[] = {
    [EIGHTS] = {"one hot key, 8 processes of 8 callers", "counter", ALL,
        {.n_processes = 8, .n_callers = 8, .n_keys = 1}},
    [P64] = {"one hot key, 64 processes", "counter", ALL,
        {.n_processes = 64, .n_callers = 1, .n_keys = 1}},
    [P16] = {"one hot key, 16 processes", "counter", HAND_WRITTEN ",lock-fifo," GAVELS,
        {.n_processes = 16, .n_callers = 1, .n_keys = 1}},
    [P4] = {"one hot key, 4 processes", "counter", HAND_WRITTEN ",lock-fifo," GAVELS,
        {.n_processes = 4, .n_callers = 1, .n_keys = 1}},
    [P2] = {"one hot key, 2 processes", "counter", HAND_WRITTEN ",lock-fifo," GAVELS,
        {.n_processes = 2, .n_callers = 1, .n_keys = 1}},
    [P1] = {"one hot key, one process", "counter", HAND_WRITTEN ",lock-fifo," GAVELS,
        {.n_processes = 1, .n_callers = 1, .n_keys = 1}},
    [ORDERS] = {"500 items and one log, 8 processes, two milliseconds away", "orders",
        "watch,jitter,evalsha," GAVELS,
        {.n_processes = 8, .n_callers = 1, .n_keys = 500, .rtt_us = 2000}},
    {"the first of these, with others who ignore the gate", "foreign", "watch,jitter," GAVELS,
        {.n_processes = 8, .n_callers = 8, .n_keys = 1}},
    {"10 accounts, 8 processes of 8 callers", "transfer", HAND_WRITTEN ",evalsha," GAVELS,
        {.n_processes = 8, .n_callers = 8, .n_keys = 10}},
    {"1,000 uniform keys, 8 processes of 8 callers", "counter", "watch," GAVELS,
        {.n_processes = 8, .n_callers = 8, .n_keys = 1000}},
};

static const struct goal gate_goals[] = {
    {"8 processes of 8 callers: gated against textbook", "commits_per_s", {EIGHTS, "gavel-gated"},
        {EIGHTS, "textbook"}, 40, false},
    {"the same against the best of watch, jitter and lock", "commits_per_s",
        {EIGHTS, "gavel-gated"}, {EIGHTS, HAND_WRITTEN}, 10, false},
    {"64 processes: gated against the best of these", "commits_per_s", {P64, "gavel-gated"},
        {P64, HAND_WRITTEN}, 1.5, false},
    {"the best p99.9 of these over gated's", "p999_us", {P64, HAND_WRITTEN}, {P64, "gavel-gated"},
        25, false},
    {"gated with 64 processes over gated with 4", "commits_per_s", {P64, "gavel-gated"},
        {P4, "gavel-gated"}, 0.9, false},
    {"8 processes of 8 callers: gated, min/mean of processes", "process_min_over_mean",
        {EIGHTS, "gavel-gated"}, {0}, 0.9, false},
    {"64 processes: gated, min/mean of processes", "process_min_over_mean", {P64, "gavel-gated"},
        {0}, 0.9, false},
    {"gated, commands per commit, 64 processes", "commands_per_commit", {P64, "gavel-gated"}, {0},
        8, true},
    {"the same, 16 processes", "commands_per_commit", {P16, "gavel-gated"}, {0}, 8, true},
    {"the same, 4 processes", "commands_per_commit", {P4, "gavel-gated"}, {0}, 8, true},
    {"the same, 2 processes", "commands_per_commit", {P2, "gavel-gated"}, {0}, 8, true},
    {"the same, one process", "commands_per_commit", {P1, "gavel-gated"}, {0}, 8, true},
    {"gated, attempts per commit, 64 processes", "attempts_per_commit", {P64, "gavel-gated"}, {0},
        1.05, true},
    {"the same, 16 processes", "attempts_per_commit", {P16, "gavel-gated"}, {0}, 1.05, true},
    {"the same, 4 processes", "attempts_per_commit", {P4, "gavel-gated"}, {0}, 1.05, true},
    {"the same, 2 processes", "attempts_per_commit", {P2, "gavel-gated"}, {0}, 1.05, true},
    {"the same, one process", "attempts_per_commit", {P1, "gavel-gated"}, {0}, 1.05, true},
    {"64 processes: lock-fifo against lock", "commits_per_s", {P64, "lock-fifo"}, {P64, "lock"}, 2,
        false},
    {"lock's p99.9 over lock-fifo's", "p999_us", {P64, "lock"}, {P64, "lock-fifo"}, 25, false},
    {"500 items and one log, 8 processes: against watch", "commits_per_s", {ORDERS, "gavel"},
        {ORDERS, "watch"}, 0.95, false},
    {"lock-fifo, share of commits overtaken", "overtaken_per_commit", {P64, "lock-fifo"}, {0},
        0.001, true},
};

/* ---- cluster: one node of a Cluster ------------------------------------------------------------
 */

enum { SLOTS, FEW };

static const struct entry cluster_entries[] = {
    [SLOTS] = {"1,000 keys, each in a slot of its own, 64 callers", "counter", "watch,gavel",
        {.n_processes = 1, .n_callers = 64, .n_keys = 1000}},
    [FEW] = {"the same with a caller for each of gavel's connections", "counter", "watch",
        {.n_processes = 1, .n_callers = 4, .n_keys = 1000}},
    {"one hot key, 64 callers", "counter", "watch,evalsha,gavel",
        {.n_processes = 1, .n_callers = 64, .n_keys = 1}},
};

static const struct goal cluster_goals[] = {
    {"1,000 slots, 64 callers, against watch over as many connections", "commits_per_s",
        {SLOTS, "gavel"}, {FEW, "watch"}, 1, false},
    {"the same against watch over a connection each", "commits_per_s", {SLOTS, "gavel"},
        {SLOTS, "watch"}, 1, false},
};

/* ---- All --------------------------------------------------------------------------------------
 */

static const struct sweep {
    const char *name;
    const struct entry *entries;
    size_t n_entries;
    const struct goal *goals;
    size_t n_goals;
} sweeps[] = {
    {"default", default_entries, COUNT_OF(default_entries), default_goals, COUNT_OF(default_goals)},
    {"gate", gate_entries, COUNT_OF(gate_entries), gate_goals, COUNT_OF(gate_goals)},
    {"cluster", cluster_entries, COUNT_OF(cluster_entries), cluster_goals, COUNT_OF(cluster_goals)},
};

_Static_assert(COUNT_OF(default_entries) <= CONTENTION_MAX_SCENARIOS &&
                   COUNT_OF(gate_entries) <= CONTENTION_MAX_SCENARIOS &&
                   COUNT_OF(cluster_entries) <= CONTENTION_MAX_SCENARIOS,
    "a sweep has too many loads");

bool plan_sweep(struct plan *plan, const char *name, double seconds)
{
    const struct sweep *sweep = sweeps;
    while (sweep < sweeps + COUNT_OF(sweeps) && strcmp(sweep->name, name) != 0)
        sweep++;
    if (sweep == sweeps + COUNT_OF(sweeps))
        return false;
    for (size_t i = 0; i < sweep->n_entries; i++) {
        const struct entry *entry = &sweep->entries[i];
        struct scenario *scenario = &plan->scenarios[i];
        *scenario = (struct scenario){.title = entry->title, .load = entry->load};
        scenario->load.workload = workload_find(entry->workload);
        scenario->load.seconds = seconds;
        scenario_set_policies(scenario, entry->policies);
    }
    plan->n_scenarios = sweep->n_entries;
    plan->goals = sweep->goals;
    plan->n_goals = sweep->n_goals;
    return true;
}
