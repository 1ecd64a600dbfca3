/*
 * Doubts: a link was lost after EXEC was sent and before it was answered. The test is the server
 * that answers for the marker, well or badly.
 */
#include "stage.h"

#include <criterion/criterion.h>

static const stage_config with_markers = {.has_markers = true, .has_no_prefetch = true};
static const stage_config without_markers = {.has_no_prefetch = true};

/* Plays a transaction up to the loss of the reply to its EXEC. */
static void lose_exec(stage *s, actor *a)
{
    enter(s, a);
    link_up(s, 0);
    hears(s, 0, "SET m0 n0 PX 900000 / WATCH a m0 / GET a");
    says(s, 0, "OK, OK, \"1\"");
    hears(s, 0, "MULTI / SET a 2 / INCR m0 / EXEC");
    link_down(s, 0);
    is_in(s, a, GAVEL__TX_IN_DOUBT);
}

static void ask(stage *s)
{
    link_up(s, 0);
    hears(s, 0, "PEXPIRE m0 900000 / GET m0");
}

Test(core_doubts, the_marker_says_that_it_was_made)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = {.reads = "a", .plays = "ADD a 1; RESULT r", .request = {.keep_replies = true}};
    lose_exec(&s, &a);
    ask(&s);
    says(&s, 0, ":1, \"n0+1\"");
    const gavel_outcome *outcome = ends(&s, &a, GAVEL_COMMITTED);
    cr_assert(outcome->is_from_marker);
    cr_assert_eq(outcome->n_replies, 0);
    cr_assert_eq(outcome->result_size, 1);
    cr_assert_eq(outcome->n_faults, 0);
    cr_assert_eq(a.n_runs, 1);
    cr_assert_eq(s.engine.context.stats.n_in_doubt, 1);
    cr_assert_eq(s.engine.context.stats.n_settled, 1);
    cr_assert_eq(s.n_events[GAVEL_EVENT_IN_DOUBT], 1);
    stage_close(&s);
}

Test(core_doubts, the_marker_says_that_it_was_made_even_if_it_could_not_be_touched)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = {.reads = "a", .plays = "ADD a 1"};
    lose_exec(&s, &a);
    ask(&s);
    says(&s, 0, "-READONLY replica, \"n0+1\"");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_doubts, the_marker_says_that_it_was_not_made_and_the_body_runs_again)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = {.reads = "a", .plays = "ADD a 1"};
    lose_exec(&s, &a);
    ask(&s);
    says(&s, 0, ":1, \"n0\"");
    is_in(&s, &a, GAVEL__TX_PAUSED);
    sleeps(&s);
    hears(&s, 0, "SET m1 n1 PX 900000 / WATCH a m1 / GET a");
    says(&s, 0, "OK, OK, \"5\"");
    hears(&s, 0, "MULTI / SET a 6 / INCR m1 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n1+1]");
    const gavel_outcome *outcome = ends(&s, &a, GAVEL_COMMITTED);
    cr_assert_not(outcome->is_from_marker);
    cr_assert_eq(outcome->n_faults, 1);
    cr_assert_eq(outcome->n_attempts, 2);
    stage_close(&s);
}

Test(core_doubts, a_marker_that_is_gone_or_garbage_proves_nothing)
{
    static const char *const answers[] = {
        ":0, nil",        /* evicted */
        ":1, nil",        /* gone in between */
        ":0, \"0\"",      /* as the handshake planted it, but not touched */
        ":1, \"1\"",      /* lost, and counted up from nothing */
        ":1, \"n0+2\"",   /* cannot be */
        ":1, \"n0-1\"",   /* below its planting: likewise */
        ":1, \"x\"",      /* somebody else's */
        ":1, \"\"",       /* likewise */
        ":1, :5",         /* no string */
        ":1, [\"n0+1\"]", /* likewise */
        ":0, \"n0\"",     /* not touched: the old EXEC may still arrive */
        "OK, \"n0\"",     /* likewise */
    };
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        stage s;
        stage_open(&s, &with_markers);
        actor a = {.reads = "a", .plays = "ADD a 1"};
        lose_exec(&s, &a);
        ask(&s);
        says(&s, 0, answers[i]);
        ends(&s, &a, GAVEL_UNKNOWN);
        hears_nothing(&s, 0);
        cr_assert_eq(s.engine.context.stats.n_settled, 0);
        stage_close(&s);
    }
}

/* A round of a marker that is planted for the second time. */
static void lose_later_exec(stage *s, actor *a)
{
    actor first = {.keys = "b", .plays = "SET b 1"};
    enter(s, &first);
    link_up(s, 0);
    hears(s, 0, "SET m0 n0 PX 900000 / WATCH b m0");
    says(s, 0, "OK, OK");
    hears(s, 0, "MULTI / SET b 1 / INCR m0 / EXEC");
    says(s, 0, "OK, QUEUED, QUEUED, [OK, :n0+1]");
    ends(s, &first, GAVEL_COMMITTED);
    uint64_t planted = s->numbers[0];
    advance(s, 225000000);
    enter(s, a);
    hears(s, 0, "SET m0 n0 PX 900000 / WATCH a m0 / GET a");
    cr_assert_gt(s->numbers[0], planted + (UINT64_C(1) << 32));
    says(s, 0, "OK, OK, \"1\"");
    hears(s, 0, "MULTI / SET a 2 / INCR m0 / EXEC");
    link_down(s, 0);
    s->n_actors = 1; /* the first one is told, and gone */
    s->actors[0] = a;
}

/* The server has gone back to an older state of its data: a crash, a failover. */
Test(core_doubts, a_marker_from_before_says_that_it_was_not_made)
{
    static const char *const answers[] = {
        ":1, \"n0\"",            /* the round before it */
        ":1, \"n0-4294967296\"", /* one of the first planting: that is 2^32 below, or more */
        ":1, \"0\"",             /* only the handshake had planted it */
    };
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        stage s;
        stage_open(&s, &with_markers);
        actor a = {.reads = "a", .plays = "ADD a 1"};
        lose_later_exec(&s, &a);
        ask(&s);
        says(&s, 0, answers[i]);
        is_in(&s, &a, GAVEL__TX_PAUSED);
        cr_assert_eq(s.engine.context.stats.n_settled, 1);
        stage_close(&s);
    }
}

/* It wrote nothing, so there is nothing to be in doubt about. */
Test(core_doubts, an_abort_whose_marker_is_gone_runs_again)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = {.keys = "a", .plays = "SET a 1"};
    actor b = {.reads = "b c", .plays = "ABORT 4"};
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a b c m0 / GET b / GET c");
    says(&s, 0, "OK, OK, nil, nil");
    hears(&s, 0, "MULTI / SET a 1 / INCR m0 / EXEC");
    link_down(&s, 0);
    ask(&s);
    says(&s, 0, ":0, nil");
    ends(&s, &a, GAVEL_UNKNOWN);
    is_in(&s, &b, GAVEL__TX_PAUSED);
    stage_close(&s);
}

/* A server that does not serve says nothing of the marker: it is asked again. */
Test(core_doubts, an_error_is_no_answer_and_it_is_asked_again)
{
    static const char *const answers[] = {
        "-LOADING data, -LOADING data",
        "-READONLY replica, \"n0\"", /* the replica does not know what its primary did */
        "-MISCONF disk, \"n0\"",
        ":1, -LOADING data",
    };
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        stage s;
        stage_open(&s, &with_markers);
        actor a = {.reads = "a", .plays = "ADD a 1"};
        lose_exec(&s, &a);
        ask(&s);
        says(&s, 0, answers[i]);
        is_in(&s, &a, GAVEL__TX_IN_DOUBT);
        if (lane_of(&s, 0)->is_condemned)
            is_closed(&s, 0, "");
        else
            hears_nothing(&s, 0);
        sleeps(&s);
        if (lane_of(&s, 0)->state != GAVEL__LANE_UP)
            link_up(&s, 0);
        hears(&s, 0, "PEXPIRE m0 900000 / GET m0");
        says(&s, 0, ":1, \"n0+1\"");
        ends(&s, &a, GAVEL_COMMITTED);
        stage_close(&s);
    }
}

Test(core_doubts, a_link_that_is_not_logged_in_is_closed_and_another_one_asks)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = {.reads = "a", .plays = "ADD a 1"};
    lose_exec(&s, &a);
    ask(&s);
    says(&s, 0, "-NOAUTH login, -NOAUTH login");
    is_closed(&s, 0, "NOAUTH login");
    sleeps(&s);
    link_up(&s, 0);
    hears(&s, 0, "PEXPIRE m0 900000 / GET m0");
    says(&s, 0, ":1, \"n0+1\"");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_doubts, a_question_that_is_lost_too_is_asked_again)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = {.reads = "a", .plays = "ADD a 1"};
    lose_exec(&s, &a);
    ask(&s);
    link_down(&s, 0);
    is_in(&s, &a, GAVEL__TX_IN_DOUBT);
    ask(&s);
    says(&s, 0, ":1");
    link_down(&s, 0);
    ask(&s);
    says(&s, 0, ":1, \"n0\"");
    is_in(&s, &a, GAVEL__TX_PAUSED);
    stage_close(&s);
}

Test(core_doubts, all_members_of_a_round_are_settled_by_one_answer)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = {.keys = "a", .plays = "SET a 1"};
    actor b = {.reads = "b c", .plays = "ABORT 4"};
    actor c = {.keys = "c", .plays = "SET c 1"};
    enter(&s, &a);
    enter(&s, &b);
    enter(&s, &c);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a b c m0 / GET b / GET c");
    says(&s, 0, "OK, OK, nil, nil");
    hears(&s, 0, "MULTI / MSET a 1 c 1 / INCR m0 / EXEC");
    link_down(&s, 0);
    ask(&s);
    says(&s, 0, ":1, \"n0+1\"");
    ends(&s, &a, GAVEL_COMMITTED);
    cr_assert_eq(ends(&s, &b, GAVEL_ABORTED)->abort_code, 4);
    ends(&s, &c, GAVEL_COMMITTED);
    cr_assert_eq(s.engine.context.stats.n_in_doubt, 1);
    stage_close(&s);
}

Test(core_doubts, the_keys_of_a_doubt_are_waited_for)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = {.reads = "a", .plays = "ADD a 1"};
    lose_exec(&s, &a);
    actor b = {.reads = "a", .plays = "ADD a 10"};
    enter(&s, &b);
    ask(&s);
    is_in(&s, &b, GAVEL__TX_PARKED);
    says(&s, 0, ":1, \"n0+1\"");
    ends(&s, &a, GAVEL_COMMITTED);
    hears(&s, 0, "SET m1 n1 PX 900000 / WATCH a m1 / GET a");
    is_in(&s, &b, GAVEL__TX_READING);
    stage_close(&s);
}

/* Hot keys may leave no lane free for as long as they are hot. */
Test(core_doubts, it_is_asked_behind_the_exec_of_another_round)
{
    stage s;
    stage_open(&s, &(stage_config){.has_markers = true, .has_no_prefetch = true, .n_lanes = 2});
    actor a = {.reads = "a", .plays = "ADD a 1"};
    actor b = {.reads = "b", .plays = "ADD b 1", .request = {.is_solo = true}};
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a m0 / GET a");
    link_up(&s, 1);
    hears(&s, 1, "SET m1 n1 PX 900000 / WATCH b m1 / GET b");
    says(&s, 0, "OK, OK, \"1\"");
    hears(&s, 0, "MULTI / SET a 2 / INCR m0 / EXEC");
    says(&s, 1, "OK, OK, nil");
    hears(&s, 1, "MULTI / SET b 1 / INCR m1 / EXEC");
    link_down(&s, 0);
    hears(&s, 1, "PEXPIRE m0 900000 / GET m0");
    actor c = {.reads = "b", .plays = "ADD b 1"};
    enter(&s, &c);
    says(&s, 1, "OK, QUEUED, QUEUED, [OK, :n1+1]");
    ends(&s, &b, GAVEL_COMMITTED);
    hears(&s, 1, "WATCH b m1 / GET b"); /* and whoever wants the lane does not wait for that */
    says(&s, 1, ":1, \"n0+1\"");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_doubts, a_doubt_that_all_have_left_is_not_asked_about)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = {.reads = "a", .plays = "ADD a 1", .request = {.deadline_ms = 50}};
    lose_exec(&s, &a);
    advance(&s, 50000);
    ends(&s, &a, GAVEL_UNKNOWN);
    link_up(&s, 0);
    hears_nothing(&s, 0);
    stage_close(&s);
}

Test(core_doubts, all_may_leave_while_it_is_asked_about)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = {.reads = "a", .plays = "ADD a 1", .request = {.deadline_ms = 50}};
    lose_exec(&s, &a);
    ask(&s);
    advance(&s, 50000);
    ends(&s, &a, GAVEL_UNKNOWN);
    actor b = {.reads = "a", .plays = "ADD a 10"};
    enter(&s, &b);
    hears_nothing(&s, 0);
    says(&s, 0, ":1, \"n0\"");
    hears(&s, 0, "SET m1 n1 PX 900000 / WATCH a m1 / GET a");
    stage_close(&s);
}

Test(core_doubts, all_may_leave_while_the_asking_link_is_lost)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = {.reads = "a", .plays = "ADD a 1", .request = {.deadline_ms = 50}};
    lose_exec(&s, &a);
    ask(&s);
    link_down(&s, 0);
    advance(&s, 50000);
    ends(&s, &a, GAVEL_UNKNOWN);
    cr_assert(gavel__list_is_empty(&s.engine.doubts.open));
    stage_close(&s);
}

Test(core_doubts, with_no_link_in_sight_the_engine_sleeps)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = {.reads = "a", .plays = "ADD a 1"};
    lose_exec(&s, &a);
    link_refused(&s, 0, false, NULL);
    is_in(&s, &a, GAVEL__TX_IN_DOUBT);
    sleeps(&s);
    cr_assert_eq((int)lane_of(&s, 0)->state, (int)GAVEL__LANE_WANTED);
    (void)gavel__engine_begin_dial(&s.engine, lane_of(&s, 0));
    advance(&s, 10);
    sleeps(&s); /* to the deadline: nothing is due before the link is up */
    ends(&s, &a, GAVEL_UNKNOWN);
    stage_close(&s);
}

/* Otherwise a wrong password would be tried as fast as the server can refuse it. */
Test(core_doubts, a_server_that_refuses_for_good_is_not_dialled_without_a_pause)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = {.reads = "a", .plays = "ADD a 1"};
    lose_exec(&s, &a);
    link_refused(&s, 0, true, "WRONGPASS");
    is_in(&s, &a, GAVEL__TX_IN_DOUBT);
    cr_assert_gt(gavel__engine_due_us(&s.engine), s.now_us);
    stage_close(&s);
}

/* Likewise where links come up and break at the first question. */
Test(core_doubts, a_question_that_breaks_each_link_is_not_asked_without_a_pause)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = {.reads = "a", .plays = "ADD a 1"};
    lose_exec(&s, &a);
    int64_t began_us = s.now_us;
    for (int i = 0; i < 5; i++) {
        ask(&s);
        link_down(&s, 0);
    }
    is_in(&s, &a, GAVEL__TX_IN_DOUBT);
    cr_assert_gt(gavel__engine_due_us(&s.engine), began_us);
    stage_close(&s);
}

/* ---- Where there is no doubt --------------------------------------------------------------- */

Test(core_doubts, a_link_lost_before_the_last_byte_of_exec_was_sent_leaves_no_doubt)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = {.reads = "a", .plays = "ADD a 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a m0 / GET a");
    says(&s, 0, "OK, OK, \"1\"");
    composes(&s, 0, "MULTI / SET a 2 / INCR m0 / EXEC");
    link_down_within(&s, 0, s.outs[0].size - 1);
    is_in(&s, &a, GAVEL__TX_PAUSED);
    cr_assert_eq(s.engine.context.stats.n_in_doubt, 0);
    sleeps(&s);
    link_up(&s, 0);
    hears(&s, 0, "SET m1 n1 PX 900000 / WATCH a m1 / GET a");
    stage_close(&s);
}

Test(core_doubts, a_link_lost_with_the_last_byte_of_exec_sent_leaves_a_doubt)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = {.reads = "a", .plays = "ADD a 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a m0 / GET a");
    says(&s, 0, "OK, OK, \"1\"");
    composes(&s, 0, "MULTI / SET a 2 / INCR m0 / EXEC");
    link_down_within(&s, 0, s.outs[0].size);
    is_in(&s, &a, GAVEL__TX_IN_DOUBT);
    stage_close(&s);
}

Test(core_doubts, what_reads_behind_a_lost_exec_runs_again)
{
    stage s;
    stage_open(&s, &(stage_config){.has_markers = true, .max_width = 1});
    actor a = {.reads = "a", .plays = "ADD a 1"};
    actor b = {.reads = "a", .plays = "ADD a 10"};
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a m0 / GET a");
    says(&s, 0, "OK, OK, \"1\"");
    hears(&s, 0, "MULTI / SET a 2 / INCR m0 / EXEC / WATCH a m0 / GET a");
    link_down(&s, 0);
    is_in(&s, &a, GAVEL__TX_IN_DOUBT);
    is_in(&s, &b, GAVEL__TX_PAUSED);
    ask(&s);
    says(&s, 0, ":1, \"n0+1\"");
    ends(&s, &a, GAVEL_COMMITTED);
    sleeps(&s);
    hears(&s, 0, "SET m1 n1 PX 900000 / WATCH a m1 / GET a");
    cr_assert_eq(b.transaction->outcome.n_faults, 1);
    stage_close(&s);
}

Test(core_doubts, a_proof_that_is_lost_is_only_a_fault)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = {.reads = "a b", .plays = "ABORT 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a b m0 / GET a / GET b");
    says(&s, 0, "OK, OK, nil, nil");
    hears(&s, 0, "MULTI / EXEC");
    link_down(&s, 0);
    is_in(&s, &a, GAVEL__TX_PAUSED);
    cr_assert_eq(s.engine.context.stats.n_in_doubt, 0);
    stage_close(&s);
}

/* ---- Without markers ----------------------------------------------------------------------- */

Test(core_doubts, without_markers_a_lost_reply_is_unknown)
{
    stage s;
    stage_open(&s, &without_markers);
    actor a = {.keys = "a", .plays = "SET a 1"};
    actor b = {.reads = "b c", .plays = "ABORT 4"};
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a b c / GET b / GET c");
    says(&s, 0, "OK, nil, nil");
    hears(&s, 0, "MULTI / SET a 1 / EXEC");
    link_down(&s, 0);
    ends_saying(&s, &a, GAVEL_UNKNOWN, "markers are off");
    is_in(&s, &b, GAVEL__TX_PAUSED); /* it wrote nothing */
    stage_close(&s);
}

/* ---- Planting again ------------------------------------------------------------------------ */

Test(core_doubts, a_marker_is_planted_again_after_a_quarter_of_its_life)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = {.keys = "a", .plays = "SET a 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a m0");
    says(&s, 0, "OK, OK");
    hears(&s, 0, "MULTI / SET a 1 / INCR m0 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n0+1]");
    ends(&s, &a, GAVEL_COMMITTED);
    advance(&s, 225000000 - 1);
    actor b = {.keys = "a", .plays = "SET a 1"};
    enter(&s, &b);
    hears(&s, 0, "WATCH a m0");
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / SET a 1 / INCR m0 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n0+2]");
    ends(&s, &b, GAVEL_COMMITTED);
    uint64_t before = s.numbers[0];
    advance(&s, 1);
    actor c = {.keys = "a", .plays = "SET a 1"};
    enter(&s, &c);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a m0");
    cr_assert_neq(s.numbers[0], before);
    says(&s, 0, "OK, OK");
    hears(&s, 0, "MULTI / SET a 1 / INCR m0 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n0+1]");
    ends(&s, &c, GAVEL_COMMITTED);
    stage_close(&s);
}

/* Behind an EXEC it would wipe out what that has counted: the doubt would say "not made". */
Test(core_doubts, a_marker_is_not_planted_behind_an_exec)
{
    stage s;
    stage_open(&s, &(stage_config){.has_markers = true, .max_width = 1, .has_no_prefetch = true});
    actor a = {.keys = "a", .plays = "SET a 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a m0");
    says(&s, 0, "OK, OK");
    hears(&s, 0, "MULTI / SET a 1 / INCR m0 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n0+1]");
    ends(&s, &a, GAVEL_COMMITTED);
    advance(&s, 225000000 - 1);
    actor b = {.keys = "a", .plays = "SET a 2"};
    actor c = {.keys = "c", .plays = "SET c 1"};
    enter(&s, &b);
    enter(&s, &c);
    hears(&s, 0, "WATCH a m0");
    advance(&s, 1);
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / SET a 2 / INCR m0 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n0+2]");
    ends(&s, &b, GAVEL_COMMITTED);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH c m0");
    stage_close(&s);
}

Test(core_doubts, a_marker_that_was_lost_is_planted_again)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = {.keys = "a", .plays = "SET a 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a m0");
    says(&s, 0, "OK, OK");
    hears(&s, 0, "MULTI / SET a 1 / INCR m0 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :1]"); /* evicted before WATCH */
    ends(&s, &a, GAVEL_COMMITTED);
    hears(&s, 0, "SET m0 n0 PX 900000"); /* at once: it has no time to live */
    says(&s, 0, "OK");
    actor b = {.keys = "a", .plays = "SET a 1"};
    enter(&s, &b);
    hears(&s, 0, "WATCH a m0");
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / SET a 1 / INCR m0 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n0+1]");
    ends(&s, &b, GAVEL_COMMITTED);
    hears_nothing(&s, 0);
    stage_close(&s);
}

Test(core_doubts, a_marker_that_is_planted_again_in_vain_is_left_to_the_next_round)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = {.keys = "a", .plays = "SET a 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a m0");
    says(&s, 0, "OK, OK");
    hears(&s, 0, "MULTI / SET a 1 / INCR m0 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :1]");
    ends(&s, &a, GAVEL_COMMITTED);
    hears(&s, 0, "SET m0 n0 PX 900000");
    says(&s, 0, "-OOM no memory");
    hears_nothing(&s, 0);
    actor b = {.keys = "a", .plays = "SET a 1"};
    enter(&s, &b);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a m0");
    stage_close(&s);
}

Test(core_doubts, a_marker_that_was_lost_is_planted_again_by_the_next_round_if_there_is_one)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = {.keys = "a", .plays = "SET a 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a m0");
    actor b = {.keys = "b", .plays = "SET b 1"};
    enter(&s, &b);
    says(&s, 0, "OK, OK");
    hears(&s, 0, "MULTI / SET a 1 / INCR m0 / EXEC / WATCH b m0");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :1], OK");
    ends(&s, &a, GAVEL_COMMITTED);
    hears(&s, 0, "MULTI / SET b 1 / INCR m0 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :2]");
    ends(&s, &b, GAVEL_COMMITTED);
    hears(&s, 0, "SET m0 n0 PX 900000");
    stage_close(&s);
}

Test(core_doubts, a_marker_that_was_refused_is_planted_again)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = {.keys = "a", .plays = "SET a 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a m0");
    says(&s, 0, "-LOADING data, -LOADING data");
    is_in(&s, &a, GAVEL__TX_PAUSED);
    sleeps(&s);
    hears(&s, 0, "SET m0 n0 PX 900000 / UNWATCH / WATCH a m0");
    stage_close(&s);
}

/* Who wants one of its keys and another keeps nobody from that other one. */
Test(core_doubts, who_waits_for_a_doubt_leaves_its_other_keys_to_others)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = {.reads = "a", .plays = "ADD a 1"};
    actor both = {.keys = "a b", .plays = "SET a 2; SET b 2"};
    actor b = {.keys = "b", .plays = "SET b 1"};
    lose_exec(&s, &a);
    enter(&s, &both);
    enter(&s, &b);
    is_in(&s, &both, GAVEL__TX_PARKED);
    is_in(&s, &b, GAVEL__TX_READY);
    stage_close(&s);
}
