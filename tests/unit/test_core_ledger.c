/*
 * Losses are told: a server that has gone back to an older state of its data is asked for the
 * markers, and what they say of each commit that was told is told, once. The test is the server.
 */
#include "stage.h"

#include <criterion/criterion.h>
#include <stdio.h>

static const stage_config kept = {
    .has_markers = true, .has_no_prefetch = true, .keeps_ledger = true};

/* What is asked of lane 0, in two round trips. */
static void commit_first(stage *s, actor *a)
{
    *a = (actor){.keys = "a", .plays = "SET a 1"};
    enter(s, a);
    link_up(s, 0);
    hears(s, 0, "SET m0 n0 PX 900000 / WATCH a m0");
    says(s, 0, "OK, OK");
    hears(s, 0, "MULTI / SET a 1 / INCR m0 / EXEC");
    says(s, 0, "OK, QUEUED, QUEUED, [OK, :n0+1]");
    ends(s, a, GAVEL_COMMITTED);
}

static void commit_next(stage *s, actor *a, const char *reply)
{
    *a = (actor){.keys = "a", .plays = "SET a 1"};
    enter(s, a);
    hears(s, 0, "WATCH a m0");
    says(s, 0, "OK");
    hears(s, 0, "MULTI / SET a 1 / INCR m0 / EXEC");
    says(s, 0, reply);
    ends(s, a, GAVEL_COMMITTED);
}

/* Three rounds, and the link is lost. */
static void commit_three(stage *s, actor a[3])
{
    stage_open(s, &kept);
    commit_first(s, &a[0]);
    commit_next(s, &a[1], "OK, QUEUED, QUEUED, [OK, :n0+2]");
    commit_next(s, &a[2], "OK, QUEUED, QUEUED, [OK, :n0+3]");
    link_down(s, 0);
    link_up(s, 0);
    hears(s, 0, "GET m0");
}

static void are_lost(stage *s, const actor *a, size_t n, size_t n_before)
{
    cr_assert_eq(s->n_lost - n_before, n, "%zu were told", s->n_lost - n_before);
    cr_assert_eq(s->engine.context.stats.n_lost, s->n_lost);
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(s->lost[n_before + i], a[i].ticket);
}

Test(core_ledger, rounds_above_the_markers_number_are_lost)
{
    static const struct {
        const char *answer;
        size_t n_kept;
    } cases[] = {
        {"\"n0+3\"", 3}, {"\"n0+2\"", 2}, {"\"n0+1\"", 1}, {"\"n0\"", 0}, {"\"0\"", 0}, {"nil", 0}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        stage s;
        actor a[3];
        commit_three(&s, a);
        says(&s, 0, cases[i].answer);
        are_lost(&s, a + cases[i].n_kept, 3 - cases[i].n_kept, 0);
        gavel__audit audit;
        cr_assert_eq(gavel__ledger_take_audit(&s.engine.ledger, &audit), cases[i].n_kept < 3);
        cr_assert_not(gavel__ledger_take_audit(&s.engine.ledger, &audit));
        stage_close(&s);
    }
}

Test(core_ledger, what_proves_nothing_tells_nothing)
{
    static const char *const answers[] = {
        "\"3\"",    /* gone, and counted up from nothing */
        "\"n0-1\"", /* cannot be */
        "\"n0+4\"", /* likewise */
        "\"-1\"",
        "\"x\"",
        ":0",
        "[]",
    };
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        stage s;
        actor a[3];
        commit_three(&s, a);
        says(&s, 0, answers[i]);
        are_lost(&s, a, 0, 0);
        stage_close(&s);
    }
}

Test(core_ledger, those_that_are_kept_are_audited_again_and_none_is_told_twice)
{
    stage s;
    actor a[3];
    commit_three(&s, a);
    says(&s, 0, "\"n0+2\"");
    are_lost(&s, a + 2, 1, 0);
    link_down(&s, 0);
    link_up(&s, 0);
    hears(&s, 0, "GET m0");
    says(&s, 0, "\"n0+2\"");
    are_lost(&s, a, 0, 1);
    link_down(&s, 0);
    link_up(&s, 0);
    hears(&s, 0, "GET m0");
    says(&s, 0, "nil");
    are_lost(&s, a, 2, 1);
    link_down(&s, 0);
    advance(&s, 0);
    cr_assert_eq((int)lane_of(&s, 0)->state, (int)GAVEL__LANE_DOWN, "nothing is left to be asked");
    stage_close(&s);
}

Test(core_ledger, an_error_is_no_answer_and_neither_is_a_lost_link)
{
    stage s;
    actor a[3];
    commit_three(&s, a);
    says(&s, 0, "-LOADING data");
    hears_nothing(&s, 0);
    sleeps(&s);
    hears(&s, 0, "GET m0");
    link_down(&s, 0);
    link_up(&s, 0);
    hears(&s, 0, "GET m0");
    says(&s, 0, "\"n0+1\"");
    are_lost(&s, a + 1, 2, 0);
    stage_close(&s);
}

Test(core_ledger, a_server_that_refuses_for_good_is_asked_when_it_lets_us_in)
{
    stage s;
    actor a[3];
    commit_three(&s, a);
    link_down(&s, 0);
    link_refused(&s, 0, true, "WRONGPASS");
    advance(&s, 10000000);
    cr_assert_eq((int)lane_of(&s, 0)->state, (int)GAVEL__LANE_DOWN);
    actor b = {.keys = "b", .plays = "SET b 1"};
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "SET m3 n3 PX 900000 / WATCH b m3 / GET m0");
    says(&s, 0, "OK, OK, nil");
    are_lost(&s, a, 3, 0);
    stage_close(&s);
}

Test(core_ledger, a_marker_that_may_have_passed_away_proves_nothing_by_its_absence)
{
    for (int i = 0; i < 2; i++) {
        stage s;
        actor a[3];
        commit_three(&s, a);
        advance(&s, i == 0 ? INT64_C(809000000) : INT64_C(810000000));
        says(&s, 0, "nil");
        are_lost(&s, a, i == 0 ? 3 : 0, 0);
        stage_close(&s);
    }
}

/* Evicted, say: the next round has counted it up from nothing. */
Test(core_ledger, a_marker_that_was_seen_gone_proves_nothing_by_its_absence)
{
    stage s;
    actor a[3];
    stage_open(&s, &kept);
    commit_first(&s, &a[0]);
    commit_next(&s, &a[1], "OK, QUEUED, QUEUED, [OK, :1]");
    hears(&s, 0, "SET m0 n0 PX 900000");
    says(&s, 0, "OK");
    commit_next(&s, &a[2], "OK, QUEUED, QUEUED, [OK, :n0+1]");
    link_down(&s, 0);
    link_up(&s, 0);
    hears(&s, 0, "GET m0 / GET m0"); /* a page for each planting */
    says(&s, 0, "nil, nil");
    are_lost(&s, a + 2, 1, 0);
    stage_close(&s);
}

/* It was a replica for a moment, say, and the link has survived that. */
Test(core_ledger, a_marker_that_went_back_under_a_link_tells_what_is_lost)
{
    stage s;
    actor a[4];
    stage_open(&s, &kept);
    commit_first(&s, &a[0]);
    commit_next(&s, &a[1], "OK, QUEUED, QUEUED, [OK, :n0+2]");
    commit_next(&s, &a[2], "OK, QUEUED, QUEUED, [OK, :n0+3]");
    commit_next(&s, &a[3], "OK, QUEUED, QUEUED, [OK, :n0+2]");
    are_lost(&s, a + 1, 2, 0);
    link_down(&s, 0);
    link_up(&s, 0);
    hears(&s, 0, "GET m0");
    says(&s, 0, "\"n0+2\"");
    are_lost(&s, a, 0, 2);
    stage_close(&s);
}

Test(core_ledger, a_doubt_that_was_made_is_entered)
{
    stage s;
    stage_open(&s, &kept);
    actor a = {.keys = "a", .plays = "SET a 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a m0");
    says(&s, 0, "OK, OK");
    hears(&s, 0, "MULTI / SET a 1 / INCR m0 / EXEC");
    link_down(&s, 0);
    link_up(&s, 0);
    hears(&s, 0, "PEXPIRE m0 900000 / GET m0");
    says(&s, 0, ":1, \"n0+1\"");
    ends(&s, &a, GAVEL_COMMITTED);
    link_down(&s, 0);
    link_up(&s, 0);
    hears(&s, 0, "GET m0");
    says(&s, 0, "nil");
    are_lost(&s, &a, 1, 0);
    stage_close(&s);
}

/* Its COMMITTED stood on nothing that could be lost. */
Test(core_ledger, who_writes_nothing_loses_nothing)
{
    stage s;
    stage_open(&s, &kept);
    actor a = {.keys = "a", .plays = "SET a 1"};
    actor b = {.reads = "a b", .plays = "GET a"};
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a b m0 / GET a / GET b");
    says(&s, 0, "OK, OK, nil, nil");
    hears(&s, 0, "MULTI / SET a 1 / INCR m0 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n0+1]");
    ends(&s, &a, GAVEL_COMMITTED);
    ends(&s, &b, GAVEL_COMMITTED);
    link_down(&s, 0);
    link_up(&s, 0);
    hears(&s, 0, "GET m0");
    says(&s, 0, "nil");
    are_lost(&s, &a, 1, 0);
    stage_close(&s);
}

/* ---- When --------------------------------------------------------------------------------- */

static void commit_on_two(stage *s, actor *a, actor *b)
{
    stage_config two = kept;
    two.n_lanes = 2;
    stage_open(s, &two);
    *a = (actor){.keys = "a", .plays = "SET a 1", .request = {.is_solo = true}};
    *b = (actor){.keys = "b", .plays = "SET b 1", .request = {.is_solo = true}};
    enter(s, a);
    enter(s, b);
    link_up(s, 0);
    hears(s, 0, "SET m0 n0 PX 900000 / WATCH a m0");
    link_up(s, 1);
    hears(s, 1, "SET m1 n1 PX 900000 / WATCH b m1");
    says(s, 0, "OK, OK");
    hears(s, 0, "MULTI / SET a 1 / INCR m0 / EXEC");
    says(s, 0, "OK, QUEUED, QUEUED, [OK, :n0+1]");
    says(s, 1, "OK, OK");
    hears(s, 1, "MULTI / SET b 1 / INCR m1 / EXEC");
    says(s, 1, "OK, QUEUED, QUEUED, [OK, :n1+1]");
    ends(s, a, GAVEL_COMMITTED);
    ends(s, b, GAVEL_COMMITTED);
}

/* The second is found dead later, and the question with it. */
Test(core_ledger, it_is_asked_at_each_loss_behind_whatever_is_under_way)
{
    stage s;
    actor a;
    actor b;
    commit_on_two(&s, &a, &b);
    actor c = {.keys = "c", .plays = "SET c 1", .request = {.is_solo = true}};
    enter(&s, &c);
    hears(&s, 0, "WATCH c m0");
    link_down(&s, 0);
    hears(&s, 1, "GET m0 / GET m1");
    is_in(&s, &c, GAVEL__TX_PAUSED);
    sleeps(&s);
    hears(&s, 1, "WATCH c m1");
    link_down(&s, 1);
    link_up(&s, 0);
    hears(&s, 0, "GET m0 / GET m1");
    says(&s, 0, "nil, \"n1+1\"");
    are_lost(&s, &a, 1, 0);
    stage_close(&s);
}

static bool is_any(const void *user, uint16_t slot)
{
    (void)user;
    (void)slot;
    return true;
}

/* Its EXEC is answered before the question is, and was made after it. */
Test(core_ledger, a_commit_behind_the_question_is_not_judged_by_its_answer)
{
    stage s;
    actor a;
    actor b;
    commit_on_two(&s, &a, &b);
    actor c = {.keys = "a", .plays = "SET a 2"};
    enter(&s, &c);
    hears(&s, 0, "WATCH a m0");
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / SET a 2 / INCR m0 / EXEC");
    gavel__ledger_audit(&s.engine.ledger, is_any, NULL);
    hears(&s, 1, "GET m0 / GET m1");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n0+2]");
    ends(&s, &c, GAVEL_COMMITTED);
    says(&s, 1, "\"n0+1\", \"n1+1\"");
    are_lost(&s, &c, 0, 0);
    stage_close(&s);
}

/* ---- What is kept --------------------------------------------------------------------------- */

static void commit_many(stage *s, actor *a, size_t n)
{
    commit_first(s, &a[0]);
    for (size_t i = 1; i < n; i++) {
        char reply[64];
        snprintf(reply, sizeof(reply), "OK, QUEUED, QUEUED, [OK, :n0+%zu]", i + 1);
        commit_next(s, &a[i], reply);
    }
}

Test(core_ledger, it_grows_up_to_its_bound_and_tells_that_there_were_more)
{
    enum { N = 20, MAX = 8 };
    stage s;
    actor a[N];
    stage_open(&s, &kept);
    s.engine.ledger.capacity = MAX;
    s.engine.ledger.max_entries = MAX;
    s.engine.ledger.entries = gavel__alloc(&s.allocator, MAX, sizeof(gavel__entry));
    commit_many(&s, a, N);
    link_down(&s, 0);
    link_up(&s, 0);
    hears(&s, 0, "GET m0");
    says(&s, 0, "\"n0+5\"");
    cr_assert_eq(s.n_lost, 1 + MAX);
    cr_assert_eq(s.lost[0], 0);
    for (size_t i = 0; i < MAX; i++)
        cr_assert_eq(s.lost[1 + i], a[N - MAX + i].ticket);
    stage_close(&s);
}

Test(core_ledger, what_is_a_minute_behind_the_newest_commit_is_dropped)
{
    stage s;
    actor a[3];
    stage_open(&s, &kept);
    commit_first(&s, &a[0]);
    commit_next(&s, &a[1], "OK, QUEUED, QUEUED, [OK, :n0+2]");
    advance(&s, 61000000);
    commit_next(&s, &a[2], "OK, QUEUED, QUEUED, [OK, :n0+3]");
    cr_assert_eq(s.engine.ledger.n, 1);
    link_down(&s, 0);
    link_up(&s, 0);
    hears(&s, 0, "GET m0");
    says(&s, 0, "\"n0+2\"");
    are_lost(&s, a + 2, 1, 0);
    stage_close(&s);
}

/* Two are dropped, so that those who come stand before the first one when there is no room. */
Test(core_ledger, a_ring_that_has_turned_grows_and_keeps_its_order)
{
    enum { DROPPED = 2, N = 7, SMALL = 4 };
    stage s;
    actor a[N];
    stage_open(&s, &kept);
    s.engine.ledger.capacity = SMALL;
    s.engine.ledger.entries = gavel__alloc(&s.allocator, SMALL, sizeof(gavel__entry));
    commit_many(&s, a, DROPPED);
    advance(&s, 61000000);
    for (size_t i = DROPPED; i < N; i++) {
        char reply[64];
        snprintf(reply, sizeof(reply), "OK, QUEUED, QUEUED, [OK, :n0+%zu]", i + 1);
        commit_next(&s, &a[i], reply);
    }
    cr_assert_eq(s.engine.ledger.n, N - DROPPED);
    cr_assert_gt(s.engine.ledger.capacity, SMALL);
    link_down(&s, 0);
    link_up(&s, 0);
    hears(&s, 0, "GET m0");
    says(&s, 0, "\"n0+2\"");
    are_lost(&s, a + DROPPED, N - DROPPED, 0);
    stage_close(&s);
}

Test(core_ledger, a_ledger_that_has_no_memory_keeps_none_from_committing)
{
    for (size_t n_left = 0; n_left < 2; n_left++) {
        stage s;
        actor a[3];
        stage_open(&s, &kept);
        commit_first(&s, &a[0]);
        s.memory.n_left = n_left;
        gavel__planted planted = {.marker = GAVEL_STR("m"), .first_number = 1, .number = 1};
        gavel__page *page = gavel__ledger_turn(&s.engine.ledger, NULL, &planted);
        cr_assert_eq(page == NULL, n_left == 0);
        for (uint64_t i = 0; page != NULL && i < 100; i++)
            gavel__page_enter(page, 2 + i, 1, s.now_us);
        cr_assert_leq(s.engine.ledger.n, 64);
        s.memory.n_left = MEMORY_ENOUGH;
        gavel__page_leave(page);
        stage_close(&s);
    }
}
