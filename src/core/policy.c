/*
 * The policy: see the header for the reasons.
 */
#include "core/policy.h"

#include "core/backoff.h"

static const double max_level = 16;
static const int64_t half_life_us = 1000000;

/* How long a key that was lost is apart: longer than the pauses of those who write it every few
 * milliseconds, so that they spoil one wide round in so long. */
static const int64_t contended_us = 20000;

/* A body that says RETRY waits for something that others do; it looks in at least so often. */
static const double max_retry_level = 12;

/* Who has lost so often races no more. */
static const uint32_t max_lost_races = 3;

/* How long a prefetch waits for its callers. */
static const int64_t max_prefetched_us = 5000;

/* How long a gate stays up without a queue. */
static const int64_t gate_stays_us = 1000000;

/* Others wait meanwhile: so many rounds, and so much time, are a fair share of a gate. */
static const uint32_t max_rounds_served = 4;
static const int64_t max_served_us = 5000;

/* How long shortcuts are left alone after one has failed, in rounds. */
static const uint32_t n_plain_rounds_after_failure = 256;

/* ---- Keys ---------------------------------------------------------------------------------- */

void gavel__heat_cool(gavel__heat *heat, int64_t now_us)
{
    while (heat->level > 0 && now_us - heat->touched_us >= half_life_us) {
        heat->level = heat->level < 1 ? 0 : heat->level / 2;
        heat->touched_us += half_life_us;
    }
    if (heat->level < 0.5)
        heat->level = 0;
}

void gavel__heat_on_conflict(gavel__heat *heat, int64_t now_us)
{
    gavel__heat_cool(heat, now_us);
    if (heat->level < max_level)
        heat->level += 1;
    heat->touched_us = now_us;
    heat->contended_until_us = now_us + contended_us;
}

void gavel__heat_on_success(gavel__heat *heat, int64_t now_us)
{
    gavel__heat_cool(heat, now_us);
    heat->level = heat->level > 0.5 ? heat->level - 0.5 : 0;
    heat->touched_us = now_us;
    if (!gavel__heat_is_contended(heat, now_us))
        heat->contended_until_us = 0;
}

/* ---- What has happened --------------------------------------------------------------------- */

void gavel__policy_init(gavel__policy *policy, const gavel__policy_config *config)
{
    *policy = (gavel__policy){.config = *config,
        .widths = {config->max_width, config->max_width},
        .prefetch_credit = GAVEL__PREFETCH_CREDIT};
}

void gavel__policy_on_round_trip(gavel__policy *policy, int64_t took_us)
{
    uint64_t sample_us = (uint64_t)took_us;
    policy->round_trip_us =
        policy->round_trip_us == 0 ? sample_us : (7 * policy->round_trip_us + sample_us) / 8;
}

void gavel__policy_on_conflict(gavel__policy *policy, bool is_contended, size_t n_members)
{
    policy->prefetch_credit = GAVEL__PREFETCH_CREDIT;
    if (n_members > 1 && policy->widths[is_contended] > 1)
        policy->widths[is_contended] /= 2;
}

void gavel__policy_on_commit(gavel__policy *policy, bool is_contended, size_t n_members)
{
    uint32_t *width = &policy->widths[is_contended];
    if (n_members >= *width && *width < policy->config.max_width)
        (*width)++;
}

void gavel__policy_on_prefetch_used(gavel__policy *policy)
{
    policy->prefetch_credit = GAVEL__PREFETCH_CREDIT;
}

void gavel__policy_on_shortcut_failed(gavel__policy *policy, gavel__shortcut shortcut)
{
    policy->n_plain_rounds[shortcut] = n_plain_rounds_after_failure;
}

/* ---- What follows -------------------------------------------------------------------------- */

bool gavel__policy_take_shortcut(gavel__policy *policy, gavel__shortcut shortcut)
{
    if (policy->n_plain_rounds[shortcut] == 0)
        return true;
    policy->n_plain_rounds[shortcut]--;
    return false;
}

bool gavel__policy_take_prefetch(gavel__policy *policy, bool is_warm, bool is_inside)
{
    if (policy->prefetch_credit == 0 || (is_warm && !is_inside))
        return false;
    policy->prefetch_credit--;
    return true;
}

bool gavel__policy_is_prefetch_fresh(int64_t age_us)
{
    return age_us <= max_prefetched_us;
}

int64_t gavel__policy_conflict_pause_us(
    const gavel__policy *policy, double level, gavel__random *random)
{
    return gavel__backoff_conflict_us(level, (int64_t)policy->round_trip_us, random);
}

int64_t gavel__policy_retry_pause_us(
    const gavel__policy *policy, uint32_t n_conflicts, gavel__random *random)
{
    double level = (double)n_conflicts + 2;
    if (level > max_retry_level)
        level = max_retry_level;
    return gavel__policy_conflict_pause_us(policy, level, random);
}

bool gavel__policy_wants_gate(const gavel__policy *policy, uint32_t n_conflicts)
{
    return policy->config.is_adaptive && n_conflicts >= max_lost_races;
}

int64_t gavel__policy_gate_stays_us(void)
{
    return gate_stays_us;
}

bool gavel__policy_is_share_used(uint32_t n_served, int64_t held_us)
{
    return n_served >= max_rounds_served || held_us >= max_served_us;
}

int64_t gavel__policy_hold_us(const gavel__policy *policy)
{
    static const int64_t min_us = 1000;
    int64_t two_us = 2 * (int64_t)policy->round_trip_us;
    return two_us > min_us ? two_us : min_us;
}
