/*
 * Latency buckets: four to each doubling, with bounds that are exact in whole microseconds.
 * Whoever counts outcomes may use them; users read the bounds through gavel_latency_bound_us.
 *
 * The bounds are 4 5 6 7, 8 10 12 14, 16 20 24 28, ...: bound i is (4 + i % 4) << (i / 4). 95 of
 * them reach from 4 us, what is faster sharing one bucket, to 50 s.
 */
#include "base/histogram.h"

#include <gavel/client.h>

#define LAST (GAVEL_N_LATENCIES - 1)

int64_t gavel_latency_bound_us(size_t bucket)
{
    if (bucket >= LAST)
        return INT64_MAX;
    return (int64_t)(4 + bucket % 4) << (bucket / 4);
}

size_t gavel__latency_bucket(int64_t latency_us)
{
    if (latency_us < gavel_latency_bound_us(0))
        return 0;
    if (latency_us >= gavel_latency_bound_us(LAST - 1))
        return LAST;
    /* Bring it down to 4 .. 7, one doubling at a time; most latencies need a few steps only. */
    size_t units = (size_t)latency_us;
    size_t n_doublings = 0;
    for (; units >= 8; units >>= 1)
        n_doublings++;
    return 4 * n_doublings + (units - 4) + 1;
}
