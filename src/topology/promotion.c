/*
 * Promotions: see the header.
 */
#include "topology/promotion.h"

/* So old may be what a leader has said of its failover. */
static const int64_t recent_us = 1000000;

/* It names the promoted one within a second, and the others have heard of it two later. */
static const int64_t silent_us = 5000000;

/* A promotion takes a second. If its leader has not seen it after so long, it stands still, and
 * other Sentinels will undo it. */
static const int64_t longest_us = 5000000;

/* The primary that was last named. */
static const gavel__place_name *settled(const gavel__sentinels *sentinels)
{
    return sentinels->is_provisional ? &sentinels->settled : &sentinels->primary;
}

const gavel__sentinel *gavel__promotion_find_leader(
    const gavel__sentinels *sentinels, int64_t now_us)
{
    const gavel__sentinel *leader = NULL;
    for (uint32_t i = 0; i < sentinels->n; i++) {
        const gavel__sentinel *sentinel = &sentinels->all[i];
        if (!gavel__sentinel_names(sentinel, settled(sentinels), sentinels->epoch) ||
            !sentinel->testimony.is_failing_over ||
            now_us - sentinel->testimony.asked_us > recent_us)
            continue;
        if (leader != NULL)
            return NULL;
        leader = sentinel;
    }
    return leader;
}

int64_t gavel__promotion_silent_us(const gavel__sentinels *sentinels)
{
    return sentinels->named_us + silent_us + 1;
}

bool gavel__promotion_is_given_up(const gavel__sentinels *sentinels, int64_t now_us)
{
    const gavel__sentinel *leader = &sentinels->all[sentinels->leader];
    bool has_said_so = gavel__sentinel_names(leader, &sentinels->settled, sentinels->epoch) &&
                       !leader->testimony.is_promoting && !leader->testimony.is_tilted;
    return has_said_so || now_us >= gavel__promotion_silent_us(sentinels);
}

int64_t gavel__promotion_trusted_until_us(
    const gavel__sentinels *sentinels, int64_t window_us, int64_t now_us)
{
    const gavel__sentinel *leader = gavel__promotion_find_leader(sentinels, now_us);
    if (leader == NULL || !gavel__place_is_same(&leader->testimony.promoted, &sentinels->primary))
        return now_us;
    int64_t until_us = leader->testimony.asked_us + (window_us < recent_us ? window_us : recent_us);
    int64_t latest_us = sentinels->promoted_us + longest_us;
    return until_us < latest_us ? until_us : latest_us;
}
