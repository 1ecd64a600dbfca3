/*
 * Reading again after nil: when a round does it, what may happen meanwhile, and members with
 * something special about them; with the test as the server. What it is for is in
 * test_core_narrowing.c.
 */
#include "lost_round.h"

#include <criterion/criterion.h>
#include <stdio.h>

static const stage_config plain = {.has_no_prefetch = true};

/* ---- Whether it reads again ---------------------------------------------------------------- */

Test(core_prefetching, what_was_read_behind_exec_is_compared_with_what_was_read_before)
{
    stage s;
    stage_open(&s, &(stage_config){.n_lanes = 1});
    actor a = {.reads = "a b", .plays = "ADD a 1"};
    actor b = adder("b");
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a b / GET a / GET b");
    says(&s, 0, "OK, \"1\", \"1\"");
    hears(&s, 0, "MULTI / MSET a 2 b 2 / EXEC / WATCH a b / GET a / GET b");
    says(&s, 0, "OK, QUEUED, nil, OK, \"4\", \"1\"");
    cr_assert_eq(heat_of(&s, "a"), 2);
    cr_assert_eq(heat_of(&s, "b"), 0);
    hears(&s, 0, "MULTI / MSET a 5 b 2 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    cr_assert_eq(ends(&s, &a, GAVEL_COMMITTED)->n_round_trips, 3);
    stage_close(&s);
}

/* A round that stands was read for the one before; its joiner's conflict is told apart as well. */
Test(core_prefetching, a_round_that_stood_is_narrowed_like_any_other)
{
    stage s;
    stage_open(&s, &(stage_config){.n_lanes = 1});
    actor a = {.reads = "a b", .plays = "ADD a 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a b / GET a / GET b");
    says(&s, 0, "OK, \"1\", \"1\"");
    hears(&s, 0, "MULTI / SET a 2 / EXEC / WATCH a b / GET a / GET b");
    says(&s, 0, "OK, QUEUED, [OK], OK, \"2\", \"1\"");
    ends(&s, &a, GAVEL_COMMITTED);
    actor b = {.reads = "a b", .plays = "ADD a 1"};
    enter(&s, &b);
    hears(&s, 0, "MULTI / SET a 3 / EXEC / WATCH a b / GET a / GET b");
    says(&s, 0, "OK, QUEUED, nil, OK, \"2\", \"9\"");
    cr_assert_eq(heat_of(&s, "a"), 0);
    cr_assert_eq(heat_of(&s, "b"), 2);
    hears(&s, 0, "MULTI / SET a 3 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &b, GAVEL_COMMITTED);
    stage_close(&s);
}

/* Its EXEC would end our WATCH; and who reads behind is first now. */
Test(core_prefetching, not_while_the_next_round_reads_behind)
{
    stage s;
    stage_open(&s, &(stage_config){.max_width = 2, .has_no_prefetch = true});
    actor a = adder("a");
    actor b = adder("b");
    actor c = adder("c");
    enter(&s, &a);
    enter(&s, &b);
    enter(&s, &c);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a b / GET a / GET b");
    says(&s, 0, "OK, \"1\", \"1\"");
    hears(&s, 0, "MULTI / MSET a 2 b 2 / EXEC / WATCH c / GET c");
    says(&s, 0, "OK, QUEUED, nil");
    cr_assert_eq(heat_of(&s, "a"), 2);
    cr_assert_eq(heat_of(&s, "b"), 2);
    hears_nothing(&s, 0);
    says(&s, 0, "OK, \"1\"");
    hears(&s, 0, "MULTI / SET c 2 / EXEC / WATCH a b / GET a / GET b");
    says(&s, 0, "OK, QUEUED, [OK], OK, \"7\", \"1\"");
    ends(&s, &c, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_prefetching, nobody_reads_again_for_a_single_member)
{
    stage s;
    stage_open(&s, &plain);
    actor a = adder("a");
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, \"1\"");
    hears(&s, 0, "MULTI / SET a 2 / EXEC");
    says(&s, 0, "OK, QUEUED, nil");
    cr_assert_eq((int)a.transaction->state, (int)GAVEL__TX_READY);
    stage_close(&s);
}

/* There is nobody left to read for. */
Test(core_prefetching, nobody_reads_again_when_all_budgets_are_spent)
{
    stage s;
    stage_open(&s, &plain);
    actor a = adder("a");
    actor b = adder("b");
    a.request.max_attempts = 1;
    b.request.max_attempts = 1;
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a b / GET a / GET b");
    says(&s, 0, "OK, \"1\", \"1\"");
    hears(&s, 0, "MULTI / MSET a 2 b 2 / EXEC");
    says(&s, 0, "OK, QUEUED, nil");
    ends(&s, &a, GAVEL_CONFLICT);
    ends(&s, &b, GAVEL_CONFLICT);
    hears_nothing(&s, 0);
    stage_close(&s);
}

Test(core_prefetching, those_whose_budget_is_spent_leave_and_the_others_go_on)
{
    stage s;
    stage_open(&s, &plain);
    actor a = adder("a");
    actor b = adder("b");
    b.request.max_attempts = 1;
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a b / GET a / GET b");
    says(&s, 0, "OK, \"1\", \"1\"");
    hears(&s, 0, "MULTI / MSET a 2 b 2 / EXEC");
    says(&s, 0, "OK, QUEUED, nil");
    ends(&s, &b, GAVEL_CONFLICT);
    s.engine.policy.prefetch_credit = 0;
    hears(&s, 0, "WATCH a b / GET a / GET b");
    says(&s, 0, "OK, \"1\", \"5\"");
    hears(&s, 0, "MULTI / SET a 2 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

/* ---- What may happen meanwhile ------------------------------------------------------------- */

/* EXEC was answered: nothing is in doubt. */
Test(core_prefetching, a_link_lost_meanwhile_is_only_a_fault)
{
    static const char *const answers[] = {"", "OK", "OK, \"1\""};
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        stage s;
        stage_open(&s, &plain);
        actor a;
        actor b;
        lose(&s, &a, &b);
        hears(&s, 0, "WATCH a b / GET a / GET b");
        says(&s, 0, answers[i]);
        link_down(&s, 0);
        cr_assert_eq(s.engine.context.stats.n_in_doubt, 0);
        is_in(&s, &a, GAVEL__TX_PAUSED);
        is_in(&s, &b, GAVEL__TX_PAUSED);
        while (a.transaction->state == GAVEL__TX_PAUSED || b.transaction->state == GAVEL__TX_PAUSED)
            advance(&s, 1000);
        link_up(&s, 0);
        hears(&s, 0, "WATCH a b / GET a / GET b");
        says(&s, 0, "OK, \"1\", \"3\"");
        cr_assert_eq(heat_of(&s, "a") + heat_of(&s, "b"), 0, "this is another round's reading");
        hears(&s, 0, "MULTI / MSET a 2 b 4 / EXEC");
        says(&s, 0, "OK, QUEUED, [OK]");
        cr_assert_eq(ends(&s, &a, GAVEL_COMMITTED)->n_faults, 1);
        cr_assert_eq(ends(&s, &b, GAVEL_COMMITTED)->n_conflicts, 1);
        stage_close(&s);
    }
}

Test(core_prefetching, members_may_be_cancelled_or_meet_their_deadline_meanwhile)
{
    for (int i = 0; i < 2; i++) {
        stage s;
        stage_open(&s, &plain);
        actor a = adder("a");
        actor b = adder("b");
        b.request.deadline_ms = 100;
        enter(&s, &a);
        enter(&s, &b);
        link_up(&s, 0);
        hears(&s, 0, "WATCH a b / GET a / GET b");
        says(&s, 0, "OK, \"1\", \"1\"");
        hears(&s, 0, "MULTI / MSET a 2 b 2 / EXEC");
        says(&s, 0, "OK, QUEUED, nil");
        s.engine.policy.prefetch_credit = 0;
        hears(&s, 0, "WATCH a b / GET a / GET b");
        if (i == 0)
            cancel(&s, &b);
        else
            advance(&s, 100000);
        ends(&s, &b, i == 0 ? GAVEL_CANCELLED : GAVEL_DEADLINE);
        says(&s, 0, "OK, \"1\", \"5\"");
        hears(&s, 0, "MULTI / SET a 2 / EXEC");
        says(&s, 0, "OK, QUEUED, [OK]");
        ends(&s, &a, GAVEL_COMMITTED);
        stage_close(&s);
    }
}

Test(core_prefetching, all_may_leave_meanwhile)
{
    stage s;
    stage_open(&s, &plain);
    actor a;
    actor b;
    lose(&s, &a, &b);
    hears(&s, 0, "WATCH a b / GET a / GET b");
    cancel(&s, &a);
    says(&s, 0, "OK");
    cancel(&s, &b);
    says(&s, 0, "\"1\", \"5\"");
    ends(&s, &a, GAVEL_CANCELLED);
    ends(&s, &b, GAVEL_CANCELLED);
    hears_nothing(&s, 0);
    actor c = adder("a");
    enter(&s, &c);
    hears(&s, 0, "UNWATCH / WATCH a / GET a");
    stage_close(&s);
}

/* Cancelled while EXEC was under way: nil is the end of it. */
Test(core_prefetching, who_was_cancelled_during_exec_does_not_read_again)
{
    stage s;
    stage_open(&s, &plain);
    actor a = adder("a");
    actor b = adder("b");
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a b / GET a / GET b");
    says(&s, 0, "OK, \"1\", \"1\"");
    hears(&s, 0, "MULTI / MSET a 2 b 2 / EXEC");
    cancel(&s, &b);
    says(&s, 0, "OK, QUEUED, nil");
    ends(&s, &b, GAVEL_CANCELLED);
    s.engine.policy.prefetch_credit = 0;
    hears(&s, 0, "WATCH a b / GET a / GET b");
    says(&s, 0, "OK, \"1\", \"1\"");
    hears(&s, 0, "MULTI / SET a 2 / EXEC");
    stage_close(&s);
}

Test(core_prefetching, a_refusal_meanwhile_is_no_narrowing)
{
    stage s;
    stage_open(&s, &plain);
    actor a;
    actor b;
    lose(&s, &a, &b);
    hears(&s, 0, "WATCH a b / GET a / GET b");
    says(&s, 0, "OK, -LOADING data, -LOADING data");
    is_in(&s, &a, GAVEL__TX_PAUSED);
    is_in(&s, &b, GAVEL__TX_PAUSED);
    cr_assert_eq(a.transaction->outcome.n_faults, 1);
    cr_assert_eq(b.transaction->outcome.n_faults, 1);
    cancel(&s, &a);
    sleeps(&s);
    hears(&s, 0, "UNWATCH / WATCH b / GET b");
    says(&s, 0, "OK, OK, \"2\"");
    cr_assert_eq(heat_of(&s, "b"), 0);
    hears(&s, 0, "MULTI / SET b 3 / EXEC");
    stage_close(&s);
}

/* Those who wait for a key of the round come when it commits, not never. */
Test(core_prefetching, who_waits_for_its_keys_reads_behind_the_retry)
{
    stage s;
    stage_open(&s, &(stage_config){.n_lanes = 2, .has_no_prefetch = true});
    actor a;
    actor b;
    lose(&s, &a, &b);
    actor c = adder("b");
    enter(&s, &c);
    hears(&s, 0, "WATCH a b / GET a / GET b");
    is_in(&s, &c, GAVEL__TX_PARKED);
    cr_assert_null(gavel__lanes_find(&s.engine.nodes.only->lanes, 1), "it needs no other link");
    says(&s, 0, "OK, \"1\", \"5\"");
    hears(&s, 0, "MULTI / MSET a 2 b 6 / EXEC / WATCH b / GET b");
    says(&s, 0, "OK, QUEUED, [OK], OK, \"6\"");
    hears(&s, 0, "MULTI / SET b 7 / EXEC");
    stage_close(&s);
}

/* ---- Members with something special -------------------------------------------------------- */

/* A mistake in several reads is to be proved, so it stays; it has wished for keys that no round
 * holds, and for reads that nobody has fetched. */
static gavel_verdict wish_for_too_much(gavel_tx *tx, void *user)
{
    (void)user;
    gavel_bytes value;
    for (int i = 0; i < GAVEL_MAX_KEYS; i++) {
        char name[16];
        snprintf(name, sizeof(name), "many%d", i);
        (void)gavel_get(tx, gavel_str(name), &value);
    }
    return GAVEL_COMMIT;
}

Test(core_prefetching, a_member_may_have_reads_that_were_never_fetched)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.reads = "a b", .plays = ""};
    actor c = adder("c");
    enter(&s, &a);
    a.transaction->body = wish_for_too_much;
    enter(&s, &c);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a b c / GET a / GET b / GET c");
    says(&s, 0, "OK, \"1\", \"1\", \"1\"");
    hears(&s, 0, "MULTI / SET c 2 / EXEC");
    cr_assert_gt(a.transaction->n_reads, 2);
    says(&s, 0, "OK, QUEUED, nil");
    s.engine.policy.prefetch_credit = 0;
    hears(&s, 0, "WATCH a b c / GET a / GET b / GET c");
    says(&s, 0, "OK, \"1\", \"4\", \"1\"");
    cr_assert_eq(heat_of(&s, "a"), 0);
    cr_assert_eq(heat_of(&s, "b"), 2);
    cr_assert_eq(heat_of(&s, "c"), 0);
    hears(&s, 0, "MULTI / SET c 2 / EXEC");
    s.engine.policy.round_trip_us = 100000;
    says(&s, 0, "OK, QUEUED, nil");
    s.engine.policy.prefetch_credit = 0;
    hears(&s, 0, "WATCH a b c / GET a / GET b / GET c");
    says(&s, 0, "OK, \"1\", \"5\", \"1\"");
    is_in(&s, &a, GAVEL__TX_PAUSED);
    hears(&s, 0, "MULTI / SET c 2 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &c, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_prefetching, such_a_member_is_not_hit_by_another_ones_key)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.reads = "a b", .plays = ""};
    actor c = adder("c");
    enter(&s, &a);
    a.transaction->body = wish_for_too_much;
    enter(&s, &c);
    link_up(&s, 0);
    static const char *const answers[] = {"OK, \"1\", \"1\", \"1\"", "OK, \"1\", \"1\", \"2\""};
    for (size_t i = 0; i < 2; i++) {
        hears(&s, 0, "WATCH a b c / GET a / GET b / GET c");
        says(&s, 0, answers[i]);
        hears(&s, 0, i == 0 ? "MULTI / SET c 2 / EXEC" : "MULTI / SET c 3 / EXEC");
        s.engine.policy.round_trip_us = 100000;
        says(&s, 0, "OK, QUEUED, nil");
        s.engine.policy.prefetch_credit = 0;
    }
    hears(&s, 0, "WATCH a b c / GET a / GET b / GET c");
    says(&s, 0, "OK, \"1\", \"1\", \"3\"");
    is_in(&s, &c, GAVEL__TX_PAUSED);
    hears(&s, 0, "MULTI / EXEC");
    says(&s, 0, "OK, []");
    ends_saying(&s, &a, GAVEL_INVALID, "512 keys");
    stage_close(&s);
}

Test(core_prefetching, a_mistake_that_is_to_be_proved_is_made_again_or_not)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.reads = "kind value", .plays = "GET kind; ADD value 1|GET kind; ABORT 7"};
    actor c = adder("c");
    enter(&s, &a);
    enter(&s, &c);
    link_up(&s, 0);
    hears(&s, 0, "WATCH kind value c / GET kind / GET value / GET c");
    says(&s, 0, "OK, \"number\", \"text\", \"1\"");
    hears(&s, 0, "MULTI / SET c 2 / EXEC");
    says(&s, 0, "OK, QUEUED, nil");
    hears(&s, 0, "WATCH kind value c / GET kind / GET value / GET c");
    says(&s, 0, "OK, \"text\", \"text\", \"1\"");
    cr_assert_eq(heat_of(&s, "kind"), 2);
    cr_assert_eq(heat_of(&s, "c"), 0);
    hears(&s, 0, "MULTI / SET c 2 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    cr_assert_eq(ends(&s, &a, GAVEL_ABORTED)->abort_code, 7);
    stage_close(&s);
}

/* In the retry a body may come to want more: it goes to the next round as ever. */
Test(core_prefetching, a_body_may_want_more_in_the_retry)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.reads = "a", .plays = "ADD a 1|GET x; ADD a 1"};
    actor b = adder("b");
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a b / GET a / GET b");
    says(&s, 0, "OK, \"1\", \"1\"");
    hears(&s, 0, "MULTI / MSET a 2 b 2 / EXEC");
    says(&s, 0, "OK, QUEUED, nil");
    s.engine.policy.prefetch_credit = 0;
    hears(&s, 0, "WATCH a b / GET a / GET b");
    says(&s, 0, "OK, \"4\", \"1\"");
    hears(&s, 0, "MULTI / SET b 2 / EXEC / WATCH a x / GET a / GET x");
    says(&s, 0, "OK, QUEUED, [OK], OK, \"4\", \"y\"");
    ends(&s, &b, GAVEL_COMMITTED);
    hears(&s, 0, "MULTI / SET a 5 / EXEC");
    cr_assert_str_eq(a.seen, "x=y ");
    stage_close(&s);
}

/* The marker is watched and counted as ever. */
Test(core_prefetching, a_round_that_reads_again_keeps_its_marker)
{
    stage s;
    stage_open(&s, &(stage_config){.has_markers = true, .has_no_prefetch = true});
    actor a = adder("a");
    actor b = adder("b");
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a b m0 / GET a / GET b");
    says(&s, 0, "OK, OK, \"1\", \"1\"");
    hears(&s, 0, "MULTI / MSET a 2 b 2 / INCR m0 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, nil");
    s.engine.policy.prefetch_credit = 0;
    hears(&s, 0, "WATCH a b m0 / GET a / GET b");
    says(&s, 0, "OK, \"1\", \"5\"");
    hears(&s, 0, "MULTI / MSET a 2 b 6 / INCR m0 / EXEC");
    link_down(&s, 0);
    is_in(&s, &a, GAVEL__TX_IN_DOUBT);
    link_up(&s, 0);
    hears(&s, 0, "PEXPIRE m0 900000 / GET m0");
    says(&s, 0, ":1, \"n0+1\"");
    ends(&s, &a, GAVEL_COMMITTED);
    ends(&s, &b, GAVEL_COMMITTED);
    stage_close(&s);
}
