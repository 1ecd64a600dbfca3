/*
 * The policy: when keys get hot and cold, and what is decided on what has been seen.
 */
#include "core/policy.h"

#include <criterion/criterion.h>

static const int64_t second_us = 1000000;

static bool is_near(double value, double wanted)
{
    return value > wanted - 1e-9 && value < wanted + 1e-9;
}

static gavel__policy a_policy(gavel__policy_config config)
{
    gavel__policy policy;
    gavel__policy_init(&policy, &config);
    return policy;
}

/* ---- Heat ---------------------------------------------------------------------------------- */

Test(core_policy, a_conflict_heats_by_one_and_a_success_cools_by_half)
{
    gavel__heat heat = {.level = 0, .touched_us = 0};
    int64_t now_us = 77 * second_us;
    gavel__heat_on_conflict(&heat, now_us);
    cr_assert(is_near(heat.level, 1));
    gavel__heat_on_conflict(&heat, now_us);
    cr_assert(is_near(heat.level, 2));
    gavel__heat_on_success(&heat, now_us);
    cr_assert(is_near(heat.level, 1.5));
    gavel__heat_on_success(&heat, now_us);
    gavel__heat_on_success(&heat, now_us);
    gavel__heat_on_success(&heat, now_us);
    cr_assert(is_near(heat.level, 0));
    gavel__heat_on_success(&heat, now_us);
    cr_assert(is_near(heat.level, 0), "it does not become negative");
}

Test(core_policy, heat_is_bounded)
{
    gavel__heat heat = {.level = 0, .touched_us = 0};
    for (int i = 0; i < 1000; i++)
        gavel__heat_on_conflict(&heat, second_us);
    cr_assert(heat.level >= 16 && heat.level < 17, "%f", heat.level);
    gavel__heat_on_success(&heat, second_us);
    gavel__heat_on_conflict(&heat, second_us);
    cr_assert(heat.level < 17, "%f", heat.level);
}

Test(core_policy, heat_is_halved_for_every_second_of_rest)
{
    gavel__heat heat = {.level = 8, .touched_us = 5 * second_us};
    gavel__heat_cool(&heat, 6 * second_us - 1);
    cr_assert(is_near(heat.level, 8));
    gavel__heat_cool(&heat, 6 * second_us);
    cr_assert(is_near(heat.level, 4));
    gavel__heat_cool(&heat, 6 * second_us);
    cr_assert(is_near(heat.level, 4), "the same second does not count twice");
    gavel__heat_cool(&heat, 8 * second_us + second_us / 2);
    cr_assert(is_near(heat.level, 1));
    gavel__heat_cool(&heat, 9 * second_us);
    cr_assert(is_near(heat.level, 0.5), "the rest of a second is not lost");
    gavel__heat_cool(&heat, 10 * second_us);
    cr_assert(is_near(heat.level, 0), "below a half it is cold");
}

Test(core_policy, a_long_rest_cools_at_once)
{
    gavel__heat heat = {.level = 16, .touched_us = 0};
    gavel__heat_cool(&heat, INT64_MAX);
    cr_assert(is_near(heat.level, 0));
}

Test(core_policy, a_key_is_contended_for_twenty_milliseconds_however_often_it_is_won)
{
    gavel__heat heat = {.level = 0};
    cr_expect_not(gavel__heat_is_known(&heat));
    gavel__heat_on_conflict(&heat, second_us);
    for (int i = 0; i < 10; i++)
        gavel__heat_on_success(&heat, second_us + 19999);
    cr_expect_not(gavel__heat_is_warm(&heat));
    cr_expect(gavel__heat_is_contended(&heat, second_us + 19999));
    cr_expect_not(gavel__heat_is_contended(&heat, second_us + 20000));
    cr_expect(gavel__heat_is_known(&heat));
    gavel__heat_on_success(&heat, second_us + 20000);
    cr_expect_not(gavel__heat_is_known(&heat), "there is nothing left to be kept for");
}

/* ---- Width --------------------------------------------------------------------------------- */

Test(core_policy, conflicts_halve_the_width_and_full_rounds_widen_it)
{
    gavel__policy policy = a_policy((gavel__policy_config){.max_width = 8});
    cr_expect_eq(gavel__policy_width(&policy, false), 8);
    gavel__policy_on_conflict(&policy, false, 1);
    cr_expect_eq(gavel__policy_width(&policy, false), 8, "one that runs alone is no reason");
    gavel__policy_on_conflict(&policy, false, 2);
    gavel__policy_on_conflict(&policy, false, 2);
    cr_expect_eq(gavel__policy_width(&policy, false), 2);
    gavel__policy_on_commit(&policy, false, 1);
    cr_expect_eq(gavel__policy_width(&policy, false), 2, "nobody had to stay behind");
    for (int i = 0; i < 20; i++)
        gavel__policy_on_commit(&policy, false, 8);
    cr_expect_eq(gavel__policy_width(&policy, false), 8);
    for (int i = 0; i < 20; i++)
        gavel__policy_on_conflict(&policy, false, 2);
    cr_expect_eq(gavel__policy_width(&policy, false), 1);
}

Test(core_policy, calm_and_contended_rounds_are_narrowed_apart)
{
    gavel__policy policy = a_policy((gavel__policy_config){.max_width = 8});
    gavel__policy_on_conflict(&policy, true, 2);
    gavel__policy_on_conflict(&policy, true, 2);
    cr_expect_eq(gavel__policy_width(&policy, true), 2);
    cr_expect_eq(gavel__policy_width(&policy, false), 8);
    gavel__policy_on_commit(&policy, true, 2);
    gavel__policy_on_conflict(&policy, false, 2);
    cr_expect_eq(gavel__policy_width(&policy, true), 3);
    cr_expect_eq(gavel__policy_width(&policy, false), 4);
}

/* ---- Ahead and short ----------------------------------------------------------------------- */

Test(core_policy, reading_ahead_in_vain_stops_until_it_is_used_or_a_retry_needs_it)
{
    gavel__policy policy = a_policy((gavel__policy_config){.has_returning_callers = true});
    for (int i = 0; i < GAVEL__PREFETCH_CREDIT; i++)
        cr_expect(gavel__policy_take_prefetch(&policy, false, false));
    cr_expect_not(gavel__policy_take_prefetch(&policy, false, false));
    cr_expect_not(gavel__policy_expects_return(&policy));
    gavel__policy_on_prefetch_used(&policy);
    cr_expect(gavel__policy_expects_return(&policy));
    cr_expect(gavel__policy_take_prefetch(&policy, false, false));
    for (int i = 0; i < GAVEL__PREFETCH_CREDIT; i++)
        gavel__policy_take_prefetch(&policy, false, false);
    gavel__policy_on_conflict(&policy, false, 1);
    cr_expect_not(gavel__policy_take_prefetch(&policy, true, false), "the retry will pause");
    cr_expect(gavel__policy_take_prefetch(&policy, true, true), "not inside a gate");
}

Test(core_policy, blocking_callers_are_not_expected_back)
{
    gavel__policy policy = a_policy((gavel__policy_config){.max_width = 1});
    cr_expect_not(gavel__policy_expects_return(&policy));
}

Test(core_policy, what_was_read_ahead_is_for_those_who_come_back_at_once)
{
    cr_expect(gavel__policy_is_prefetch_fresh(0));
    cr_expect(gavel__policy_is_prefetch_fresh(5000));
    cr_expect_not(gavel__policy_is_prefetch_fresh(5001));
}

Test(core_policy, a_shortcut_that_failed_is_left_alone_for_256_rounds)
{
    gavel__policy policy = a_policy((gavel__policy_config){.max_width = 1});
    gavel__policy_on_shortcut_failed(&policy, GAVEL__SHORTCUT_MGET);
    cr_expect(gavel__policy_take_shortcut(&policy, GAVEL__SHORTCUT_MSET), "the other one is not");
    for (int i = 0; i < 256; i++)
        cr_expect_not(gavel__policy_take_shortcut(&policy, GAVEL__SHORTCUT_MGET), "%d", i);
    cr_expect(gavel__policy_take_shortcut(&policy, GAVEL__SHORTCUT_MGET));
}

/* ---- Pauses and gates ---------------------------------------------------------------------- */

Test(core_policy, the_round_trip_is_smoothed)
{
    gavel__policy policy = a_policy((gavel__policy_config){.max_width = 1});
    gavel__policy_on_round_trip(&policy, 800);
    cr_expect_eq(policy.round_trip_us, 800);
    gavel__policy_on_round_trip(&policy, 1600);
    cr_expect_eq(policy.round_trip_us, 900);
}

Test(core_policy, pauses_go_by_the_round_trip)
{
    gavel__policy policy = a_policy((gavel__policy_config){.max_width = 1});
    gavel__random random;
    gavel__random_seed(&random, 1);
    gavel__policy_on_round_trip(&policy, 1000);
    cr_expect_eq(gavel__policy_conflict_pause_us(&policy, 1, &random), 0);
    int64_t longest_us = 0;
    int64_t longest_retry_us = 0;
    for (int i = 0; i < 1000; i++) {
        int64_t pause_us = gavel__policy_conflict_pause_us(&policy, 3, &random);
        longest_us = pause_us > longest_us ? pause_us : longest_us;
        pause_us = gavel__policy_retry_pause_us(&policy, 1, &random);
        longest_retry_us = pause_us > longest_retry_us ? pause_us : longest_retry_us;
    }
    cr_expect(longest_us > 7500 && longest_us <= 8000, "%lld", (long long)longest_us);
    cr_expect(longest_retry_us > 7500 && longest_retry_us <= 8000);
}

Test(core_policy, who_has_lost_three_times_wants_a_gate)
{
    gavel__policy adaptive = a_policy((gavel__policy_config){.is_adaptive = true});
    gavel__policy optimistic = a_policy((gavel__policy_config){.is_adaptive = false});
    cr_expect_not(gavel__policy_wants_gate(&adaptive, 2));
    cr_expect(gavel__policy_wants_gate(&adaptive, 3));
    cr_expect_not(gavel__policy_wants_gate(&optimistic, 1000));
}

Test(core_policy, a_share_is_four_rounds_or_five_milliseconds)
{
    cr_expect_not(gavel__policy_is_share_used(3, 4999));
    cr_expect(gavel__policy_is_share_used(4, 0));
    cr_expect(gavel__policy_is_share_used(0, 5000));
}
