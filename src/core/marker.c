/*
 * Markers: see the header. Used by lanes and rounds.
 */
#include "core/marker.h"

bool gavel__marker_is_due(const gavel__marker *marker, int64_t ttl_us, int64_t now_us)
{
    if (!gavel__marker_is_on(marker))
        return false;
    return !marker->is_planted || now_us - marker->planted_us >= ttl_us / 4;
}

/* 2^32 and a random part of 31 bits further than the last number; the first one, 40 bits. */
static uint64_t next_number(const gavel__marker *marker, uint64_t random)
{
    const uint64_t leap = UINT64_C(1) << 32;
    return marker->first_number == 0 ? leap + (random >> 24)
                                     : marker->number + leap + (random >> 33);
}

uint64_t gavel__marker_plant(gavel__marker *marker, uint64_t random, int64_t now_us)
{
    marker->number = next_number(marker, random);
    if (marker->first_number == 0)
        marker->first_number = marker->number;
    marker->is_planted = true;
    marker->is_lost = false;
    marker->planted_us = now_us;
    return marker->number;
}

void gavel__marker_end(gavel__marker *marker)
{
    marker->is_planted = false;
    marker->is_lost = false;
    marker->first_number = 0;
}
