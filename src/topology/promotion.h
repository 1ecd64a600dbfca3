/*
 * Promotions: what a Sentinel that leads a failover says of the replica that is to take over,
 * before it names that one. For sentinel.c. Pure.
 */
#ifndef GAVEL__PROMOTION_H
#define GAVEL__PROMOTION_H

#include "topology/sentinel.h"

/* Who has a failover under way of the primary that was last named. NULL: nobody, as far as is known
 * from the last second; or more than one. */
const gavel__sentinel *gavel__promotion_find_leader(
    const gavel__sentinels *sentinels, int64_t now_us);

/* The primary is provisional: whether its leader has given it up, by what it has said since; or has
 * been silent for so long that others would know by now if it had not. */
bool gavel__promotion_is_given_up(const gavel__sentinels *sentinels, int64_t now_us);

/* When that silence will have been long enough. */
int64_t gavel__promotion_silent_us(const gavel__sentinels *sentinels);

/* The primary is provisional: until when it may be believed; now_us, or before: it is not.
 * `window_us`: how long the word of a Sentinel counts at most. */
int64_t gavel__promotion_trusted_until_us(
    const gavel__sentinels *sentinels, int64_t window_us, int64_t now_us);

#endif
