/*
 * The contention benchmark's seam: a run is one policy under one load, once. contention_run.c runs
 * it in processes of its own, contention_plan.c says which are to be run, contention_report.c
 * tells the results, contention.c joins them.
 */
#ifndef BENCH_CONTENTION_H
#define BENCH_CONTENTION_H

#include "crew.h"
#include "report.h"

#define CONTENTION_MAX_POLICIES 16

/* Loads and policies that are compared with one another. */
struct scenario {
    const char *title; /* NULL: only the load */
    struct load load;
    const struct policy *policies[CONTENTION_MAX_POLICIES];
    size_t n_policies;
};

/* What came of one run. */
struct run {
    struct tally tally;
    double jain; /* of the callers' commits: 1 is even, 1/n is one for all */
    double min_over_mean;
    uint64_t n_commands; /* as the server counts them, in the window */
    int64_t server_cpu_us;
    uint64_t n_violations; /* cells that do not hold what the callers were told */
};

/* ---- Running --------------------------------------------------------------------------------- */

struct bench {
    const char *url;
    redisContext *peek; /* to look at the server past the policies, and past the relay */
};

/*
 * Runs the policy once. False: something broke, and was told on standard error; a violation is not
 * that, it is counted in the run.
 */
bool contention_run(const struct bench *bench, const struct load *load, const struct policy *policy,
    struct run *ret_run);

/* ---- The plan -------------------------------------------------------------------------------- */

/* A ratio that is to be reached, of the first policy to the second in the same repeat. */
struct goal {
    const char *title;
    size_t scenario;
    const char *policy;
    const char *rival; /* NULL: no ratio, the policy's own number */
    const char *metric;
    double at_least;
    bool is_at_most; /* the number is to be at most that */
};

struct plan {
    struct scenario *scenarios;
    size_t n_scenarios;
    const struct goal *goals;
    size_t n_goals;
    size_t n_repeats;
    struct run *runs; /* of scenario s, repeat r, policy p: see plan_run */
};

struct run *plan_run(const struct plan *plan, size_t scenario, size_t repeat, size_t policy);

const struct policy *policy_find(const char *name);

/* Adds the comma-separated policies; tells of those that cannot run the load and leaves them out.
 * False: there is no such policy, or none is left. */
bool scenario_set_policies(struct scenario *scenario, const char *names);

/* The sweep that stands for all: writes up to `max` scenarios and returns their number. */
size_t plan_sweep(struct scenario *scenarios, size_t max, double seconds);
const struct goal *plan_sweep_goals(size_t *ret_n_goals);

/* ---- Results --------------------------------------------------------------------------------- */

void contention_print(const struct plan *plan);
void contention_print_goals(const struct plan *plan);
void contention_write(const struct plan *plan, struct json *json);

#endif
