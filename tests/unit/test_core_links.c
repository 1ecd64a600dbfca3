/*
 * Links that are lost, refused, or speak nonsense, with the test in their role.
 */
#include "stage.h"

#include <criterion/criterion.h>

static const stage_config with_markers = {.has_markers = true, .has_no_prefetch = true};
static const stage_config plain = {.has_no_prefetch = true};

static const actor adder = {.reads = "a", .plays = "ADD a 1"};

/* ---- Nonsense ------------------------------------------------------------------------------ */

Test(core_links, nonsense_while_reading_closes_the_link_and_the_body_runs_elsewhere)
{
    static const char *const answers[] = {":1", "nil", "QUEUED", "[OK]", "\"OK\"", "ok"};
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        stage s;
        stage_open(&s, &plain);
        actor a = adder;
        enter(&s, &a);
        link_up(&s, 0);
        hears(&s, 0, "WATCH a / GET a");
        says(&s, 0, answers[i]);
        says(&s, 0, "\"7\""); /* no longer listened to */
        cr_assert_eq(a.n_runs, 0);
        is_closed(&s, 0, "not answered with OK");
        is_in(&s, &a, GAVEL__TX_PAUSED);
        stage_close(&s);
    }
}

Test(core_links, a_reply_that_nothing_asked_for_closes_the_link)
{
    stage s;
    stage_open(&s, &plain);
    actor a = adder;
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, \"1\"");
    hears(&s, 0, "MULTI / SET a 2 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK], OK");
    ends(&s, &a, GAVEL_COMMITTED);
    is_closed(&s, 0, "nothing had asked for");
    stage_close(&s);
}

Test(core_links, nonsense_to_exec_closes_the_link_and_the_marker_tells)
{
    static const char *const answers[] = {"OK", ":1", "\"x\"", "[OK]", "[OK, :n0+1, OK]", "[]"};
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        stage s;
        stage_open(&s, &with_markers);
        actor a = adder;
        enter(&s, &a);
        link_up(&s, 0);
        hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a m0 / GET a");
        says(&s, 0, "OK, OK, \"1\"");
        hears(&s, 0, "MULTI / SET a 2 / INCR m0 / EXEC");
        says(&s, 0, "OK, QUEUED, QUEUED");
        says(&s, 0, answers[i]);
        is_in(&s, &a, GAVEL__TX_COMMITTING);
        is_closed(&s, 0, "EXEC was answered with something unexpected");
        is_in(&s, &a, GAVEL__TX_IN_DOUBT);
        link_up(&s, 0);
        hears(&s, 0, "PEXPIRE m0 900000 / GET m0");
        says(&s, 0, ":1, \"n0+1\"");
        ends(&s, &a, GAVEL_COMMITTED);
        stage_close(&s);
    }
}

Test(core_links, writes_that_ran_bare_are_unknown)
{
    static const char *const answers[] = {
        "-NOPERM multi, OK, :n0+1, -ERR EXEC without MULTI",
        "OK, OK, QUEUED, [OK, :n0+1]",
        "OK, QUEUED, :5, [OK, :n0+1]",
    };
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        stage s;
        stage_open(&s, &with_markers);
        actor a = adder;
        actor b = {.reads = "b c", .plays = "ABORT 1"};
        enter(&s, &a);
        enter(&s, &b);
        link_up(&s, 0);
        hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a b c m0 / GET a / GET b / GET c");
        says(&s, 0, "OK, OK, \"1\", nil, nil");
        hears(&s, 0, "MULTI / SET a 2 / INCR m0 / EXEC");
        says(&s, 0, answers[i]);
        ends_saying(&s, &a, GAVEL_UNKNOWN, "outside any transaction");
        ends(&s, &b, GAVEL_REJECTED);
        is_closed(&s, 0, "outside any transaction");
        stage_close(&s);
    }
}

/* It is known from the answers that came that MULTI did not hold: the rest does not matter. */
Test(core_links, writes_that_ran_bare_are_unknown_even_if_exec_never_left)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = {.reads = "a", .plays = "ADD a 1; DEL a"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a m0 / GET a");
    says(&s, 0, "OK, OK, \"1\"");
    composes(&s, 0, "MULTI / SET a 2 / DEL a / INCR m0 / EXEC");
    says(&s, 0, "-NOPERM multi, OK");
    link_down_within(&s, 0, 40);
    ends(&s, &a, GAVEL_UNKNOWN);
    stage_close(&s);
}

Test(core_links, a_refused_multi_with_refused_writes_changes_nothing)
{
    stage s;
    stage_open(&s, &plain);
    actor a = adder;
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, \"1\"");
    hears(&s, 0, "MULTI / SET a 2 / EXEC");
    says(&s, 0, "-NOPERM multi, -NOPERM set, -ERR EXEC without MULTI");
    ends_saying(&s, &a, GAVEL_REJECTED, "NOPERM");
    is_closed(&s, 0, "EXEC was refused outright");
    stage_close(&s);
}

Test(core_links, a_link_lost_after_a_refusal_is_unknown)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = adder;
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a m0 / GET a");
    says(&s, 0, "OK, OK, \"1\"");
    hears(&s, 0, "MULTI / SET a 2 / INCR m0 / EXEC");
    says(&s, 0, "-NOPERM multi");
    link_down(&s, 0);
    ends(&s, &a, GAVEL_UNKNOWN);
    stage_close(&s);
}

/* ---- Losses -------------------------------------------------------------------------------- */

Test(core_links, a_link_lost_while_reading_costs_a_fault)
{
    static const char *const answers[] = {"", "OK", "OK, \"1\""};
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        stage s;
        stage_open(&s, &plain);
        actor a = {.reads = "a b", .plays = "ADD a 1"};
        enter(&s, &a);
        link_up(&s, 0);
        hears(&s, 0, "WATCH a b / GET a / GET b");
        says(&s, 0, answers[i]);
        link_down(&s, 0);
        is_in(&s, &a, GAVEL__TX_PAUSED);
        sleeps(&s);
        link_up(&s, 0);
        hears(&s, 0, "WATCH a b / GET a / GET b");
        says(&s, 0, "OK, \"5\", nil");
        hears(&s, 0, "MULTI / SET a 6 / EXEC");
        says(&s, 0, "OK, QUEUED, [OK]");
        cr_assert_eq(ends(&s, &a, GAVEL_COMMITTED)->n_faults, 1);
        stage_close(&s);
    }
}

Test(core_links, each_dial_has_a_marker_of_its_own)
{
    stage s;
    stage_open(&s, &(stage_config){.has_markers = true, .n_lanes = 2});
    actor a = {.keys = "a", .plays = "SET a 1"};
    actor b = {.keys = "b", .plays = "SET b 1"};
    enter(&s, &a);
    link_refused(&s, 0, false, NULL);
    is_in(&s, &a, GAVEL__TX_PAUSED);
    sleeps(&s);
    while (a.transaction->state != GAVEL__TX_READY)
        sleeps(&s);
    link_up(&s, 0);
    hears(&s, 0, "SET m1 n1 PX 900000 / WATCH a m1");
    enter(&s, &b);
    link_up(&s, 1);
    hears(&s, 1, "SET m2 n2 PX 900000 / WATCH b m2");
    cr_assert_neq(s.numbers[1], s.numbers[2]);
    cr_assert_eq(s.engine.context.stats.n_links_up, 2);
    cr_assert_eq(s.engine.context.stats.n_links_down, 1);
    stage_close(&s);
}

Test(core_links, one_link_is_dialled_at_a_time_and_only_for_work_that_none_takes)
{
    stage s;
    stage_open(&s, &(stage_config){.n_lanes = 3, .max_width = 1});
    actor a[4];
    static const char *const plays[] = {"SET a 1", "SET b 1", "SET c 1", "SET d 1"};
    static const char *const keys[] = {"a", "b", "c", "d"};
    for (size_t i = 0; i < 4; i++) {
        a[i] = (actor){.keys = keys[i], .plays = plays[i]};
        enter(&s, &a[i]);
    }
    advance(&s, 0);
    cr_assert_eq((int)lane_of(&s, 1)->state, (int)GAVEL__LANE_DOWN);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a");
    link_up(&s, 1);
    hears(&s, 1, "WATCH b");
    link_up(&s, 2);
    hears(&s, 2, "WATCH c");
    is_in(&s, &a[3], GAVEL__TX_READY);
    stage_close(&s);
}

Test(core_links, the_pauses_between_dials_grow)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {
        .keys = "a", .plays = "SET a 1", .request = {.deadline_ms = 60000, .max_faults = 1000}};
    enter(&s, &a);
    int64_t before_us = 0;
    for (int i = 0; i < 12; i++) {
        before_us = s.now_us;
        while (lane_of(&s, 0)->state != GAVEL__LANE_WANTED)
            advance(&s, 1000);
        link_refused(&s, 0, false, NULL);
    }
    cr_assert_geq(s.now_us - before_us, 500000);
    cr_assert_leq(s.now_us - before_us, 1100000);
    stage_close(&s);
}

/* ---- Memory for lanes ---------------------------------------------------------------------- */

/* A server that closes idle connections, and a client that only reads. */
Test(core_links, a_link_that_answered_a_read_is_made_anew_at_once)
{
    stage s;
    actor readers[12];
    stage_open(&s, &plain);
    for (int i = 0; i < 12; i++) {
        readers[i] = (actor){.reads = "a", .plays = "GET a"};
        enter(&s, &readers[i]);
        advance(&s, 0);
        cr_assert_eq(lane_of(&s, 0)->state, GAVEL__LANE_WANTED);
        cr_expect_leq(lane_of(&s, 0)->dial_us, s.now_us, "after %d losses", i);
        link_up(&s, 0);
        hears(&s, 0, "WATCH a / GET a");
        says(&s, 0, "OK, \"1\"");
        ends(&s, &readers[i], GAVEL_COMMITTED);
        link_down(&s, 0);
    }
    stage_close(&s);
}

Test(core_links, an_engine_that_has_not_dialled_holds_no_lane)
{
    stage s;
    stage_open(&s, &(stage_config){.n_lanes = 2});
    cr_assert_null(s.engine.nodes.only->lanes.first);
    actor a = {.reads = "a", .plays = "ADD a 1"};
    enter(&s, &a);
    link_up(&s, 0);
    cr_assert_null(s.engine.nodes.only->lanes.first->following);
    stage_close(&s);
}

Test(core_links, without_memory_for_a_lane_it_is_tried_again_and_then_told)
{
    stage s;
    stage_open(&s, &(stage_config){.n_lanes = 1});
    actor a = {.reads = "a", .plays = "ADD a 1", .request = {.max_faults = 2}};
    enter(&s, &a);
    s.memory.n_left = 0;
    advance(&s, 0);
    is_in(&s, &a, GAVEL__TX_PAUSED);
    for (int i = 0; i < 100 && !a.is_told; i++)
        sleeps(&s);
    s.memory.n_left = MEMORY_ENOUGH;
    ends_saying(&s, &a, GAVEL_NOT_SENT, "no memory for a link");
    stage_close(&s);
}

Test(core_links, a_lane_is_made_when_there_is_memory_again)
{
    stage s;
    stage_open(&s, &(stage_config){.n_lanes = 1});
    actor a = {.reads = "a", .plays = "ADD a 1"};
    enter(&s, &a);
    s.memory.n_left = 0;
    advance(&s, 0);
    s.memory.n_left = MEMORY_ENOUGH;
    while (lane_of(&s, 0)->state == GAVEL__LANE_DOWN)
        sleeps(&s);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    stage_close(&s);
}

/* ---- Too much ------------------------------------------------------------------------------ */

Test(core_links, who_reads_more_than_a_link_takes_is_told_and_no_other)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.reads = "a", .plays = "ADD a 1"};
    actor b = {.reads = "b big", .plays = "ADD b 1"};
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a b big / GET a / GET b / GET big");
    says(&s, 0, "OK, \"1\", \"1\"");
    link_down_too_large(&s, 0);
    ends_saying(&s, &b, GAVEL_NOT_SENT, "larger than max_reply_bytes: GET \"big\"");
    cr_assert_eq(b.outcome.n_faults, 0);
    is_in(&s, &a, GAVEL__TX_PAUSED);
    sleeps(&s);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    stage_close(&s);
}

/* One reply brings what all of them read: each reads alone, to see whose it is. */
Test(core_links, of_a_snapshot_that_is_too_large_each_member_reads_alone)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.reads = "h.a h.b", .plays = "HGET h a", .request = {.is_read_only = true}};
    actor b = {.reads = "h.c h.big", .plays = "HGET h c", .request = {.is_read_only = true}};
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "MULTI / HGET h a / HGET h b / HGET h c / HGET h big / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, QUEUED, QUEUED");
    link_down_too_large(&s, 0);
    while (!b.is_told) {
        if (stage_peek(&s, 0)[0] == '\0')
            sleeps(&s);
        if (lane_of(&s, 0)->state == GAVEL__LANE_WANTED)
            link_up(&s, 0);
        bool is_b = strstr(stage_peek(&s, 0), "HGET h big") != NULL;
        if (strstr(stage_listen(&s, 0), "HGET") == NULL)
            continue;
        says(&s, 0, is_b ? "OK, QUEUED, QUEUED" : "OK, QUEUED, QUEUED, [\"1\", \"2\"]");
        if (is_b)
            link_down_too_large(&s, 0);
        advance(&s, 0);
    }
    ends_saying(&s, &b, GAVEL_NOT_SENT, "HGET \"h\" and the other reads together");
    cr_assert_leq(a.n_runs, 1);
    stage_close(&s);
}
