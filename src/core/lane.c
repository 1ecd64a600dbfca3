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

void gavel__lane_end_write(gavel__lane *lane, size_t size_before, int64_t now_us)
{
    if (lane->out->size == size_before && !lane->out->has_failed)
        return;
    lane->n_appended += lane->out->size - size_before;
    if (lane->written_us == 0)
        lane->written_us = now_us;
    if (lane->out->has_failed)
        gavel__lane_condemn(lane, "no memory for the commands of a round");
}
