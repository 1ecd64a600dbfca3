/*
 * The contention benchmark's seam: a run is one policy under one load, once. contention_run.c runs
 * it in processes of its own, contention_plan.c and contention_sweep.c say which are to be run,
 * contention_report.c tells the results, contention.c joins them.
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
    struct tally tally;   /* of the policy's callers */
    struct tally foreign; /* of those beside them; see load_n_foreign */
    double jain;          /* of the callers' commits: 1 is even, 1/n is one for all */
    double min_over_mean;
    double process_min_over_mean; /* of the processes' commits */
    double overtaken;             /* see arrivals_overtaken */
    uint64_t n_commands;          /* everybody's, as the server counts them, in the window */
    int64_t server_cpu_us;        /* likewise */
    uint64_t n_violations;        /* cells that do not hold what the callers were told */
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

/* A number out of a repeat: a policy's under a scenario, or the best one of several policies'. */
struct side {
    size_t scenario;
    const char *policies; /* with commas */
};

/* What is to be reached: a number, or the ratio of two in the same repeat. */
struct goal {
    const char *title;
    const char *metric; /* its key in JSON */
    struct side of;
    struct side over; /* policies NULL: no ratio */
    double bound;
    bool is_at_most; /* false: at least the bound; true: at most */
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

/* Whether the comma-separated names have this one. */
bool names_have(const char *names, const char *name);

/* Adds the comma-separated policies; tells of those that cannot run the load and leaves them out.
 * False: there is no such policy, or none is left. */
bool scenario_set_policies(struct scenario *scenario, const char *names);

/* Takes out the policies whose commands the server does not have, and tells of each. */
void plan_leave_out_unknown(struct plan *plan, redisContext *server);

/* Puts the sweep of that name, of at most CONTENTION_MAX_SCENARIOS, into the plan's scenarios, and
 * its goals. False: there is none. */
#define CONTENTION_MAX_SCENARIOS 16
bool plan_sweep(struct plan *plan, const char *name, double seconds);

/* ---- Results --------------------------------------------------------------------------------- */

void contention_print(const struct plan *plan);
void contention_print_goals(const struct plan *plan);
void contention_write(const struct plan *plan, struct json *json);

#endif
