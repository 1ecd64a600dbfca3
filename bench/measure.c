/* Measuring; see measure.h. */
#include "measure.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#define SUB_BITS 5
#define N_SUB (1U << SUB_BITS)

int64_t measure_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int64_t timeval_us(struct timeval time)
{
    return (int64_t)time.tv_sec * 1000000 + time.tv_usec;
}

int64_t measure_cpu_us(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return timeval_us(usage.ru_utime) + timeval_us(usage.ru_stime);
}

/*
 * Values below N_SUB have a bucket each. Above, the bucket is the number of doublings and the
 * SUB_BITS bits that follow the highest one.
 */
static size_t bucket_of(uint64_t ns)
{
    size_t shift = 0;
    while (ns >> shift >= 2 * N_SUB)
        shift++;
    size_t bucket = shift * N_SUB + (size_t)(ns >> shift);
    return bucket < MEASURE_N_BUCKETS ? bucket : MEASURE_N_BUCKETS - 1;
}

static double bucket_middle_ns(size_t bucket)
{
    if (bucket < 2 * N_SUB)
        return (double)bucket;
    size_t shift = bucket / N_SUB - 1;
    uint64_t low = (uint64_t)(bucket - shift * N_SUB) << shift;
    return (double)low + (double)(UINT64_C(1) << shift) / 2;
}

void measure_record(measure_histogram *histogram, int64_t ns)
{
    histogram->counts[bucket_of(ns > 0 ? (uint64_t)ns : 0)]++;
    histogram->n++;
}

void measure_merge(measure_histogram *histogram, const measure_histogram *other)
{
    for (size_t i = 0; i < MEASURE_N_BUCKETS; i++)
        histogram->counts[i] += other->counts[i];
    histogram->n += other->n;
}

double measure_quantile_us(const measure_histogram *histogram, double quantile)
{
    uint64_t rank = (uint64_t)(quantile * (double)histogram->n);
    uint64_t seen = 0;
    for (size_t i = 0; i < MEASURE_N_BUCKETS; i++) {
        seen += histogram->counts[i];
        if (seen > rank || (seen > 0 && seen == histogram->n))
            return bucket_middle_ns(i) / 1000;
    }
    return 0;
}

static int compare(const void *left, const void *right)
{
    double a = *(const double *)left;
    double b = *(const double *)right;
    return (a > b) - (a < b);
}

measure_spread measure_spread_of(double *values, size_t n)
{
    measure_spread spread = {0};
    if (n == 0)
        return spread;
    qsort(values, n, sizeof(*values), compare);
    spread.min = values[0];
    spread.max = values[n - 1];
    spread.median = n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
    return spread;
}
