/*
 * Lanes: see the header.
 */
#include "core/lane.h"

#include "base/text.h"

void gavel__lane_condemn(gavel__lane *lane, const char *message)
{
    if (lane->is_condemned)
        return;
    lane->is_condemned = true;
    gavel__format(lane->message, sizeof(lane->message), "%s", message);
}

bool gavel__lane_wants_marker(const gavel__lane *lane, int64_t ttl_us, int64_t now_us)
{
    if (lane->marker_size == 0)
        return false;
    return !lane->is_planted || now_us - lane->planted_us >= ttl_us / 4;
}
