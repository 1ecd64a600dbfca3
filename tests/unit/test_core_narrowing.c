/*
 * Narrowing: after nil what is read again tells whose key has changed, and only they wait; with the
 * test as the server. What may happen while it is read is in test_core_prefetching.c.
 */
#include "lost_round.h"

#include "base/text.h"

#include <criterion/criterion.h>

static const stage_config plain = {.has_no_prefetch = true};

/* The same once more: "b" has changed and is hot now, and all have read again. */
static void lose_twice(stage *s, actor *a, actor *b)
{
    lose(s, a, b);
    hears(s, 0, "WATCH a b / GET a / GET b");
    says(s, 0, "OK, \"1\", \"5\"");
    hears(s, 0, "MULTI / MSET a 2 b 6 / EXEC");
    s->engine.policy.round_trip_us = 100000; /* so that a pause is seen */
    says(s, 0, "OK, QUEUED, nil");
    hears(s, 0, "WATCH a b / GET a / GET b");
    says(s, 0, "OK, \"1\", \"7\"");
}

/* ---- Who waits ----------------------------------------------------------------------------- */

Test(core_narrowing, only_the_key_that_has_changed_is_heated)
{
    stage s;
    stage_open(&s, &plain);
    actor a;
    actor b;
    lose(&s, &a, &b);
    hears(&s, 0, "WATCH a b / GET a / GET b");
    is_in(&s, &a, GAVEL__TX_READING);
    says(&s, 0, "OK, \"1\", \"5\"");
    cr_assert_eq(heat_of(&s, "a"), 0);
    cr_assert_eq(heat_of(&s, "b"), 2);
    hears(&s, 0, "MULTI / MSET a 2 b 6 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    const actor *both[] = {&a, &b};
    for (size_t i = 0; i < 2; i++) {
        const gavel_outcome *outcome = ends(&s, i == 0 ? &a : &b, GAVEL_COMMITTED);
        cr_assert_eq(outcome->n_conflicts, 1);
        cr_assert_eq(outcome->n_attempts, 2);
        cr_assert_eq(outcome->n_round_trips, 4);
        cr_assert_eq(both[i]->n_runs, 2);
    }
    cr_assert_eq(s.engine.context.stats.n_round_trips, 4);
    cr_assert_eq(s.engine.context.stats.n_conflicts, 1);
    cr_assert_eq(s.n_events[GAVEL_EVENT_CONFLICT], 2);
    stage_close(&s);
}

/* Time goes by, and the times to live with it: that is no reason to heat a key. */
Test(core_narrowing, a_time_to_live_does_not_tell_that_its_key_has_changed)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.reads = "a", .plays = "TTL a; ADD a 1"};
    actor b = {.reads = "b", .plays = "TTL b; ADD b 1"};
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a b / GET a / GET b");
    says(&s, 0, "OK, \"1\", \"1\"");
    hears(&s, 0, "UNWATCH / WATCH a b / GET a / PTTL a / GET b / PTTL b");
    says(&s, 0, "OK, OK, \"1\", :100, \"1\", :100");
    hears(&s, 0, "MULTI / MSET a 2 b 2 / EXEC");
    says(&s, 0, "OK, QUEUED, nil");
    hears(&s, 0, "WATCH a b / GET a / PTTL a / GET b / PTTL b");
    says(&s, 0, "OK, \"1\", :90, \"5\", :90");
    cr_assert_eq(heat_of(&s, "a"), 0);
    cr_assert_eq(heat_of(&s, "b"), 2);
    stage_close(&s);
}

Test(core_narrowing, on_a_hot_key_its_members_pause_and_the_others_go_on)
{
    stage s;
    stage_open(&s, &plain);
    actor a;
    actor b;
    lose_twice(&s, &a, &b);
    hears(&s, 0, "MULTI / SET a 2 / EXEC");
    is_in(&s, &b, GAVEL__TX_PAUSED);
    cr_assert_gt(b.transaction->resume_us, s.now_us);
    cr_assert_eq(heat_of(&s, "a"), 0);
    cr_assert_eq(heat_of(&s, "b"), 4);
    says(&s, 0, "OK, QUEUED, [OK]");
    cr_assert_eq(ends(&s, &a, GAVEL_COMMITTED)->n_conflicts, 2);
    advance(&s, b.transaction->resume_us - s.now_us);
    hears(&s, 0, "WATCH b / GET b");
    says(&s, 0, "OK, \"9\"");
    hears(&s, 0, "MULTI / SET b 10 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    cr_assert_eq(ends(&s, &b, GAVEL_COMMITTED)->n_conflicts, 2);
    stage_close(&s);
}

/* The pause is over while the others still commit: the key is theirs until then. */
Test(core_narrowing, who_is_back_too_early_waits_for_the_others)
{
    stage s;
    stage_open(&s, &plain);
    actor a;
    actor b;
    lose_twice(&s, &a, &b);
    composes(&s, 0, "MULTI / SET a 2 / EXEC");
    hears(&s, 0, "MULTI / SET a 2 / EXEC");
    advance(&s, b.transaction->resume_us - s.now_us);
    is_in(&s, &b, GAVEL__TX_PARKED);
    hears_nothing(&s, 0);
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &a, GAVEL_COMMITTED);
    hears(&s, 0, "WATCH b / GET b");
    stage_close(&s);
}

/* Another one writes the hot key again, which the round still watches for the one that has left:
 * that is not the fault of those who stay. */
Test(core_narrowing, a_key_whose_members_have_left_does_not_heat_those_of_others)
{
    stage s;
    stage_open(&s, &plain);
    actor a[3] = {adder("a"), adder("b"), adder("c")};
    for (size_t i = 0; i < 3; i++)
        enter(&s, &a[i]);
    link_up(&s, 0);
    static const char *const values_of_b[] = {"1", "5", "7"};
    for (int i = 0; i < 3; i++) {
        char values[64];
        hears(&s, 0, "WATCH a b c / GET a / GET b / GET c");
        gavel__format(values, sizeof(values), "OK, \"1\", \"%s\", \"1\"", values_of_b[i]);
        says(&s, 0, values);
        advance(&s, 0);
        (void)stage_listen(&s, 0);
        s.engine.policy.round_trip_us = 100000;
        says(&s, 0, "OK, QUEUED, nil");
        s.engine.policy.prefetch_credit = 0;
    }
    is_in(&s, &a[1], GAVEL__TX_PAUSED);
    hears(&s, 0, "WATCH a b c / GET a / GET b / GET c");
    says(&s, 0, "OK, \"1\", \"8\", \"1\"");
    cr_assert_eq(heat_of(&s, "a"), 0);
    cr_assert_eq(heat_of(&s, "c"), 0);
    hears(&s, 0, "MULTI / MSET a 2 c 2 / EXEC");
    stage_close(&s);
}

Test(core_narrowing, if_all_are_hit_all_pause_and_the_link_is_free)
{
    stage s;
    stage_open(&s, &plain);
    actor a;
    actor b;
    lose(&s, &a, &b);
    hears(&s, 0, "WATCH a b / GET a / GET b");
    says(&s, 0, "OK, \"4\", \"5\"");
    hears(&s, 0, "MULTI / MSET a 5 b 6 / EXEC");
    s.engine.policy.round_trip_us = 100000;
    says(&s, 0, "OK, QUEUED, nil");
    hears(&s, 0, "WATCH a b / GET a / GET b");
    says(&s, 0, "OK, \"6\", \"7\"");
    is_in(&s, &a, GAVEL__TX_PAUSED);
    is_in(&s, &b, GAVEL__TX_PAUSED);
    hears_nothing(&s, 0);
    actor c = adder("c");
    enter(&s, &c);
    hears(&s, 0, "UNWATCH / WATCH c / GET c");
    stage_close(&s);
}

/* ---- What counts as changed ---------------------------------------------------------------- */

/* The same value was written, or there and back. */
Test(core_narrowing, if_nothing_reads_otherwise_all_are_heated)
{
    stage s;
    stage_open(&s, &plain);
    actor a;
    actor b;
    lose(&s, &a, &b);
    hears(&s, 0, "WATCH a b / GET a / GET b");
    says(&s, 0, "OK, \"1\", \"1\"");
    cr_assert_eq(heat_of(&s, "a"), 2);
    cr_assert_eq(heat_of(&s, "b"), 2);
    hears(&s, 0, "MULTI / MSET a 2 b 2 / EXEC");
    stage_close(&s);
}

Test(core_narrowing, a_key_that_is_only_written_may_be_the_one)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.keys = "x", .reads = "a", .plays = "ADD a 1; SET x 1"};
    actor b = {.keys = "y", .plays = "SET y 1"};
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "WATCH x a y / GET a");
    says(&s, 0, "OK, \"1\"");
    hears(&s, 0, "MULTI / MSET a 2 x 1 y 1 / EXEC");
    says(&s, 0, "OK, QUEUED, nil");
    hears(&s, 0, "WATCH x a y / GET a");
    says(&s, 0, "OK, \"1\"");
    static const char *const keys[] = {"x", "a", "y"};
    for (size_t i = 0; i < 3; i++)
        cr_assert_eq(heat_of(&s, keys[i]), 2, "%s", keys[i]);
    stage_close(&s);
}

Test(core_narrowing, replies_of_every_kind_are_compared)
{
    static const struct {
        const char *before;
        const char *after;
        bool is_changed;
    } cases[] = {
        {"\"x\"", "\"x\"", false},
        {"\"x\"", "\"y\"", true},
        {"\"x\"", "nil", true},
        {"nil", "\"\"", true},
        {"nil", "nil", false},
        {":1", ":2", true},
        {":1", ":1", false},
        {"[\"x\", \"y\"]", "[\"x\", \"y\"]", false},
        {"[\"x\", \"y\"]", "[\"y\", \"x\"]", true},
        {"[\"x\", \"y\"]", "[\"x\"]", true},
        {"[[\"x\"], :1]", "[[\"z\"], :1]", true},
        {"[]", "nil", true},
        {"-WRONGTYPE of a", "-WRONGTYPE of a", false},
        {"-WRONGTYPE of a", "nil", true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        stage s;
        stage_open(&s, &plain);
        gavel_bytes args[] = {GAVEL_STR("DUMP"), GAVEL_STR("a")};
        gavel_command command = {.args = args, .n_args = 2};
        gavel_read read = {.command = &command};
        actor a = {.plays = "WRITE INCR a", .request = {.reads = &read, .n_reads = 1}};
        actor b = adder("b");
        enter(&s, &a);
        enter(&s, &b);
        link_up(&s, 0);
        hears(&s, 0, "WATCH a b / DUMP a / GET b");
        says(&s, 0, "OK");
        says(&s, 0, cases[i].before);
        says(&s, 0, "\"1\"");
        hears(&s, 0, "MULTI / INCR a / SET b 2 / EXEC");
        says(&s, 0, "OK, QUEUED, QUEUED, nil");
        hears(&s, 0, "WATCH a b / DUMP a / GET b");
        says(&s, 0, "OK");
        says(&s, 0, cases[i].after);
        says(&s, 0, "\"1\"");
        cr_assert_eq(heat_of(&s, "a"), 2, "case %zu", i);
        cr_assert_eq(heat_of(&s, "b"), cases[i].is_changed ? 0 : 2, "case %zu", i);
        stage_close(&s);
    }
}

/* A command of several keys does not say which of them it was. */
Test(core_narrowing, all_keys_of_a_command_are_heated)
{
    stage s;
    stage_open(&s, &plain);
    gavel_bytes args[] = {GAVEL_STR("SINTER"), GAVEL_STR("x"), GAVEL_STR("y")};
    gavel_command command = {.args = args, .n_args = 3, .n_keys = 2};
    gavel_read read = {.command = &command};
    actor a = {.plays = "WRITE INCR x", .request = {.reads = &read, .n_reads = 1}};
    actor b = adder("b");
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "WATCH x y b / SINTER x y / GET b");
    says(&s, 0, "OK, [], \"1\"");
    hears(&s, 0, "MULTI / INCR x / SET b 2 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, nil");
    hears(&s, 0, "WATCH x y b / SINTER x y / GET b");
    says(&s, 0, "OK, [\"m\"], \"1\"");
    cr_assert_eq(heat_of(&s, "x"), 2);
    cr_assert_eq(heat_of(&s, "y"), 2);
    cr_assert_eq(heat_of(&s, "b"), 0);
    stage_close(&s);
}

Test(core_narrowing, one_key_of_many_is_found)
{
    enum { N = 6 };
    static const char *const keys[N] = {"k0", "k1", "k2", "k3", "k4", "k5"};
    static const char *const plays[N] = {
        "ADD k0 1", "ADD k1 1", "ADD k2 1", "ADD k3 1", "ADD k4 1", "ADD k5 1"};
    stage s;
    stage_open(&s, &plain);
    actor a[N];
    for (size_t i = 0; i < N; i++) {
        a[i] = (actor){.reads = keys[i], .plays = plays[i]};
        enter(&s, &a[i]);
    }
    link_up(&s, 0);
    hears(&s, 0, "WATCH k0 k1 k2 k3 k4 k5 / MGET k0 k1 k2 k3 k4 k5");
    says(&s, 0, "OK, [\"1\", \"1\", \"1\", \"1\", \"1\", \"1\"]");
    hears(&s, 0, "MULTI / MSET k0 2 k1 2 k2 2 k3 2 k4 2 k5 2 / EXEC");
    says(&s, 0, "OK, QUEUED, nil");
    s.engine.policy.prefetch_credit = 0;
    hears(&s, 0, "WATCH k0 k1 k2 k3 k4 k5 / MGET k0 k1 k2 k3 k4 k5");
    says(&s, 0, "OK, [\"1\", \"1\", \"1\", \"1\", \"8\", \"1\"]");
    for (size_t i = 0; i < N; i++)
        cr_assert_eq(heat_of(&s, keys[i]), i == 4 ? 2 : 0, "%s", keys[i]);
    hears(&s, 0, "MULTI / MSET k0 2 k1 2 k2 2 k3 2 k4 9 k5 2 / EXEC");
    stage_close(&s);
}
