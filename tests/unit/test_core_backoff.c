/*
 * Pauses: that they are spread as they should be.
 */
#include "core/backoff.h"

#include <criterion/criterion.h>

enum { N_DRAWS = 20000 };

/* ---- Pauses -------------------------------------------------------------------------------- */

typedef struct spread {
    int64_t min;
    int64_t max;
    double mean;
} spread;

static spread draw_conflicts(double level, int64_t round_trip_us)
{
    gavel__random random;
    gavel__random_seed(&random, 42);
    spread s = {INT64_MAX, 0, 0};
    for (int i = 0; i < N_DRAWS; i++) {
        int64_t pause_us = gavel__backoff_conflict_us(level, round_trip_us, &random);
        s.min = pause_us < s.min ? pause_us : s.min;
        s.max = pause_us > s.max ? pause_us : s.max;
        s.mean += (double)pause_us / (double)N_DRAWS;
    }
    return s;
}

static void is_full_jitter(spread s, double window)
{
    cr_assert_geq(s.min, 0);
    cr_assert((double)s.min < window / 1000);
    cr_assert((double)s.max <= window, "%f", (double)s.max);
    cr_assert((double)s.max > window * 0.999);
    cr_assert(s.mean > window * 0.49 && s.mean < window * 0.51, "%f of %f", s.mean, window);
}

Test(core_backoff, the_first_retry_goes_at_once)
{
    cr_assert_eq(draw_conflicts(0, 100000).max, 0);
    cr_assert_eq(draw_conflicts(1, 100000).max, 0);
}

Test(core_backoff, the_window_doubles_with_the_level_and_starts_with_the_round_trip)
{
    is_full_jitter(draw_conflicts(2, 1000), 4000);
    is_full_jitter(draw_conflicts(3, 1000), 8000);
    is_full_jitter(draw_conflicts(3.5, 1000), 12000);
    is_full_jitter(draw_conflicts(6, 1000), 64000);
}

Test(core_backoff, the_window_is_bounded_below_and_above)
{
    is_full_jitter(draw_conflicts(8, 0), 20 * 256);
    is_full_jitter(draw_conflicts(16.5, 1000), 100000 + 16 * 1000);
    is_full_jitter(draw_conflicts(16.5, INT64_MAX / 2), 2000000);
}

Test(core_backoff, equal_seeds_give_equal_pauses)
{
    gavel__random a;
    gavel__random b;
    gavel__random_seed(&a, 3);
    gavel__random_seed(&b, 3);
    for (int i = 0; i < 100; i++)
        cr_assert_eq(
            gavel__backoff_conflict_us(5, 100, &a), gavel__backoff_conflict_us(5, 100, &b));
}

Test(core_backoff, pauses_after_faults_grow_to_a_second_and_are_half_certain)
{
    static const int64_t windows_us[] = {
        10000, 20000, 40000, 80000, 160000, 320000, 640000, 1000000, 1000000};
    gavel__random random;
    gavel__random_seed(&random, 42);
    for (uint32_t n = 1; n <= 9; n++) {
        int64_t min = INT64_MAX;
        int64_t max = 0;
        for (int i = 0; i < N_DRAWS; i++) {
            int64_t pause_us = gavel__backoff_fault_us(n, &random);
            min = pause_us < min ? pause_us : min;
            max = pause_us > max ? pause_us : max;
        }
        int64_t window_us = windows_us[n - 1];
        cr_assert(min >= window_us / 2 && min < window_us * 51 / 100, "%u", n);
        cr_assert(max <= window_us && max > window_us * 99 / 100, "%u", n);
    }
    cr_assert_leq(gavel__backoff_fault_us(UINT32_MAX, &random), 1000000);
}
