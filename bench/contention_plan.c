/* What the contention benchmark runs: policies by name, and the sweep; see contention.h. */
#include "contention.h"

#include <stdio.h>
#include <string.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static const struct policy *const policies[] = {
    &policy_textbook,
    &policy_watch,
    &policy_jitter,
    &policy_lock,
    &policy_evalsha,
    &policy_evalsha_pipelined,
    &policy_incr,
    &policy_gavel,
    &policy_gavel_optimistic,
    &policy_gavel_gated,
};

const struct policy *policy_find(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(policies); i++)
        if (strcmp(policies[i]->name, name) == 0)
            return policies[i];
    return NULL;
}

static bool add_policy(struct scenario *scenario, const char *name)
{
    const struct policy *policy = policy_find(name);
    if (policy == NULL || scenario->n_policies == CONTENTION_MAX_POLICIES) {
        fprintf(stderr, "%s: no such policy, or too many\n", name);
        return false;
    }
    if (policy->can_run == NULL || policy->can_run(&scenario->load))
        scenario->policies[scenario->n_policies++] = policy;
    else
        fprintf(stderr, "%s cannot run this load, and is left out\n", name);
    return true;
}

bool scenario_set_policies(struct scenario *scenario, const char *names)
{
    while (*names != '\0') {
        char name[32];
        size_t size = strcspn(names, ",");
        snprintf(name, sizeof(name), "%.*s", (int)size, names);
        if (!add_policy(scenario, name))
            return false;
        names += size + (names[size] == ',');
    }
    return scenario->n_policies > 0;
}

struct run *plan_run(const struct plan *plan, size_t scenario, size_t repeat, size_t policy)
{
    size_t place = 0;
    for (size_t s = 0; s < scenario; s++)
        place += plan->scenarios[s].n_policies * plan->n_repeats;
    return &plan->runs[place + repeat * plan->scenarios[scenario].n_policies + policy];
}

/* ---- The sweep ------------------------------------------------------------------------------- */

struct entry {
    const char *title;
    const char *workload;
    const char *policies;
    struct load load; /* without its workload and seconds */
};

enum { HOT, THREADS, WIDE, ALONE, ISOLATED };

static const struct entry entries[] = {
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

static const struct goal goals[] = {
    {"one hot key, 64 callers, against textbook", HOT, "gavel", "textbook", "commits_per_s", 100,
        false},
    {"the same against jitter", HOT, "gavel", "jitter", "commits_per_s", 30, false},
    {"the same against evalsha", HOT, "gavel", "evalsha", "commits_per_s", 1.5, false},
    {"one hot key, 64 threads, against textbook", THREADS, "gavel", "textbook", "commits_per_s", 40,
        false},
    {"1,000 keys, 64 callers, against watch", WIDE, "gavel", "watch", "commits_per_s", 8, false},
    {"one caller back to back, against watch", ALONE, "gavel", "watch", "commits_per_s", 1.9,
        false},
    {"one isolated caller, speed (1 / p50) against watch", ISOLATED, "watch", "gavel", "p50_us",
        0.95, false},
    {"one hot key, 64 callers, jitter's p99.9 over gavel's", HOT, "jitter", "gavel", "p999_us", 100,
        false},
    {"one hot key, 64 callers, client us per commit", HOT, "gavel", NULL,
        "client_cpu_us_per_commit", 2, true},
};

size_t plan_sweep(struct scenario *scenarios, size_t max, double seconds)
{
    size_t n = COUNT_OF(entries) < max ? COUNT_OF(entries) : max;
    for (size_t i = 0; i < n; i++) {
        scenarios[i] = (struct scenario){.title = entries[i].title, .load = entries[i].load};
        scenarios[i].load.workload = workload_find(entries[i].workload);
        scenarios[i].load.seconds = seconds;
        scenario_set_policies(&scenarios[i], entries[i].policies);
    }
    return n;
}

const struct goal *plan_sweep_goals(size_t *ret_n_goals)
{
    *ret_n_goals = COUNT_OF(goals);
    return goals;
}
