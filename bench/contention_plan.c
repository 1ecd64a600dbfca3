/* What the contention benchmark runs: policies by name; see contention.h. */
#include "contention.h"

#include <stdio.h>
#include <string.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static const struct policy *const policies[] = {
    &policy_textbook,
    &policy_watch,
    &policy_jitter,
    &policy_lock,
    &policy_lock_fifo,
    &policy_evalsha,
    &policy_evalsha_pipelined,
    &policy_ifeq,
    &policy_ifeq_jitter,
    &policy_ifeq_pipelined,
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

/* The next of the comma-separated names, in ret_name, cut to its size; returns what follows. */
static const char *next_name(const char *names, char *ret_name, size_t size)
{
    size_t length = strcspn(names, ",");
    snprintf(ret_name, size, "%.*s", (int)length, names);
    return names + length + (names[length] == ',');
}

bool names_have(const char *names, const char *name)
{
    char other[32] = "";
    while (*names != '\0' && strcmp(other, name) != 0)
        names = next_name(names, other, sizeof(other));
    return strcmp(other, name) == 0;
}

bool scenario_set_policies(struct scenario *scenario, const char *names)
{
    while (*names != '\0') {
        char name[32];
        names = next_name(names, name, sizeof(name));
        if (!add_policy(scenario, name))
            return false;
    }
    return scenario->n_policies > 0;
}

static bool is_there(const struct scenario *scenario, const struct policy *policy)
{
    for (size_t i = 0; i < scenario->n_policies; i++)
        if (scenario->policies[i] == policy)
            return true;
    return false;
}

static void leave_out(struct scenario *scenario, const struct policy *policy)
{
    size_t n_left = 0;
    for (size_t i = 0; i < scenario->n_policies; i++)
        if (scenario->policies[i] != policy)
            scenario->policies[n_left++] = scenario->policies[i];
    scenario->n_policies = n_left;
}

void plan_leave_out_unknown(struct plan *plan, redisContext *server)
{
    for (size_t i = 0; i < COUNT_OF(policies); i++) {
        bool is_wanted = false;
        for (size_t s = 0; s < plan->n_scenarios; s++)
            is_wanted = is_wanted || is_there(&plan->scenarios[s], policies[i]);
        if (!is_wanted || policies[i]->is_known == NULL || policies[i]->is_known(server))
            continue;
        fprintf(stderr, "%s is not known to this server, and is left out\n", policies[i]->name);
        for (size_t s = 0; s < plan->n_scenarios; s++)
            leave_out(&plan->scenarios[s], policies[i]);
    }
}

struct run *plan_run(const struct plan *plan, size_t scenario, size_t repeat, size_t policy)
{
    size_t place = 0;
    for (size_t s = 0; s < scenario; s++)
        place += plan->scenarios[s].n_policies * plan->n_repeats;
    return &plan->runs[place + repeat * plan->scenarios[scenario].n_policies + policy];
}
