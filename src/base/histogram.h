/*
 * Where a latency falls among the buckets of gavel_stats.
 */
#ifndef GAVEL__HISTOGRAM_H
#define GAVEL__HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

/* The bucket of a latency in microseconds: the first whose gavel_latency_bound_us is above it. */
size_t gavel__latency_bucket(int64_t latency_us);

#endif
