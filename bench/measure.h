/*
 * Measuring: the clock, this process's CPU time, a histogram of latencies, and the median and range
 * of repeated runs. Shared by the benchmarks; knows nothing of gavel or Redis.
 */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <stddef.h>
#include <stdint.h>

/* Nanoseconds on the monotonic clock. */
int64_t measure_now_ns(void);

/* Microseconds of processor time, user and system, that this process has used. */
int64_t measure_cpu_us(void);

/* Each doubling has 32 buckets, so a quantile is off by three percent at most. */
#define MEASURE_N_BUCKETS 1280

typedef struct measure_histogram {
    uint64_t counts[MEASURE_N_BUCKETS];
    uint64_t n;
} measure_histogram;

void measure_record(measure_histogram *histogram, int64_t ns);

/* Adds what `other` has recorded. */
void measure_merge(measure_histogram *histogram, const measure_histogram *other);

/* In microseconds; 0 when nothing was recorded. `quantile` is from 0 to 1. */
double measure_quantile_us(const measure_histogram *histogram, double quantile);

typedef struct measure_spread {
    double median;
    double min;
    double max;
} measure_spread;

/* Sorts `values` in place. All zeros when n is 0. */
measure_spread measure_spread_of(double *values, size_t n);

#endif
