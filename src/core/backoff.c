/*
 * Backoff: see the header for the reasons.
 */
#include "core/backoff.h"

static const double widest_window_us = 2000000;
static const double wide_window_us = 100000;
static const double wide_window_round_trips = 16;
static const int64_t min_round_trip_us = 20;
static const int64_t first_fault_pause_us = 5000;
static const int64_t max_fault_pause_us = 1000000;
static const uint32_t moved_without_pause = 5;
static const uint32_t max_moved_doublings = 6;
static const int64_t first_moved_pause_us = 1000;
static const int64_t min_migrating_pause_us = 1000;
static const int64_t max_migrating_pause_us = 10000;

/* Uniform in 0 .. window: "full jitter". */
static int64_t jitter(int64_t window_us, gavel__random *random)
{
    return (int64_t)gavel__random_below(random, (uint64_t)window_us + 1);
}

int64_t gavel__backoff_conflict_us(double level, int64_t round_trip_us, gavel__random *random)
{
    if (level <= 1)
        return 0;
    int64_t base = round_trip_us > min_round_trip_us ? round_trip_us : min_round_trip_us;
    int whole = (int)level;
    /* Between two powers of two, in a straight line. */
    double window = (double)base * (double)(1 << whole) * (1 + (level - whole));
    /* Who has lost often must not starve beside those who have not: thousands of round trips on a
     * near server, and more of them where each is long, are pause enough. */
    double widest = wide_window_us + wide_window_round_trips * (double)base;
    if (widest > widest_window_us)
        widest = widest_window_us;
    if (window > widest)
        window = widest;
    return jitter((int64_t)window, random);
}

int64_t gavel__backoff_fault_us(uint32_t n_faults, gavel__random *random)
{
    int64_t window = max_fault_pause_us;
    if (n_faults < 8)
        window = first_fault_pause_us << n_faults;
    if (window > max_fault_pause_us)
        window = max_fault_pause_us;
    /* Half of it for certain: a fault, unlike a conflict, does not go away by itself at once. */
    return window / 2 + jitter(window / 2, random);
}

int64_t gavel__backoff_moved_us(uint32_t n_redirects, gavel__random *random)
{
    if (n_redirects <= moved_without_pause)
        return 0;
    uint32_t doublings = n_redirects - moved_without_pause - 1;
    if (doublings > max_moved_doublings)
        doublings = max_moved_doublings;
    int64_t window = first_moved_pause_us << doublings;
    return window / 2 + jitter(window / 2, random);
}

int64_t gavel__backoff_migrating_us(gavel__random *random)
{
    return min_migrating_pause_us + jitter(max_migrating_pause_us - min_migrating_pause_us, random);
}
