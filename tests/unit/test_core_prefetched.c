/*
 * Rounds that stand: they have committed and read again behind their EXEC, for a next transaction
 * that wants the same.
 */
#include "stage.h"

#include <criterion/criterion.h>

/* Plays a first transaction on the key "a"; what its round reads again is not answered yet. */
static void commit_first(stage *s, actor *a)
{
    *a = (actor){.reads = "a", .plays = "ADD a 1"};
    enter(s, a);
    link_up(s, 0);
    hears(s, 0, "WATCH a / GET a");
    says(s, 0, "OK, \"1\"");
    hears(s, 0, "MULTI / SET a 2 / EXEC / WATCH a / GET a");
    says(s, 0, "OK, QUEUED, [OK]");
    ends(s, a, GAVEL_COMMITTED);
}

Test(core_prefetched, who_reads_the_same_next_needs_one_round_trip)
{
    stage s;
    stage_open(&s, &(stage_config){.n_lanes = 1});
    actor a;
    commit_first(&s, &a);
    says(&s, 0, "OK, \"2\"");
    hears_nothing(&s, 0);
    actor b = {.reads = "a", .plays = "ADD a 10"};
    enter(&s, &b);
    hears(&s, 0, "MULTI / SET a 12 / EXEC / WATCH a / GET a");
    says(&s, 0, "OK, QUEUED, [OK], OK, \"12\"");
    cr_assert_eq(ends(&s, &b, GAVEL_COMMITTED)->n_round_trips, 1);
    stage_close(&s);
}

Test(core_prefetched, who_comes_before_the_answers_waits_for_them)
{
    stage s;
    stage_open(&s, &(stage_config){.n_lanes = 1});
    actor a;
    commit_first(&s, &a);
    actor b[2] = {{.reads = "a", .plays = "ADD a 10"}, {.reads = "a", .plays = "ADD a 100"}};
    enter(&s, &b[0]);
    enter(&s, &b[1]);
    hears_nothing(&s, 0);
    says(&s, 0, "OK");
    hears_nothing(&s, 0);
    says(&s, 0, "\"5\"");
    hears(&s, 0, "MULTI / SET a 115 / EXEC / WATCH a / GET a");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &b[0], GAVEL_COMMITTED);
    ends(&s, &b[1], GAVEL_COMMITTED);
    stage_close(&s);
}

/* With nothing to read there is still WATCH to be answered. */
Test(core_prefetched, who_reads_nothing_waits_for_the_answer_to_watch)
{
    stage s;
    stage_open(&s, &(stage_config){.n_lanes = 1});
    actor a = {.keys = "a", .plays = "SET a 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a");
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / SET a 1 / EXEC / WATCH a");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &a, GAVEL_COMMITTED);
    actor b = {.keys = "a", .plays = "SET a 2"};
    enter(&s, &b);
    hears_nothing(&s, 0);
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / SET a 2 / EXEC / WATCH a");
    says(&s, 0, "OK, QUEUED, [OK], OK");
    ends(&s, &b, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_prefetched, what_was_read_before_does_not_decide_an_abort)
{
    stage s;
    stage_open(&s, &(stage_config){.n_lanes = 1});
    actor a;
    commit_first(&s, &a);
    says(&s, 0, "OK, \"2\"");
    actor b = {.reads = "a", .plays = "GET a; ABORT 1"};
    enter(&s, &b);
    hears(&s, 0, "UNWATCH / WATCH a / GET a");
    cr_assert_str_eq(b.seen, "a=2 ");
    says(&s, 0, "OK, OK, \"3\"");
    const gavel_outcome *outcome = ends(&s, &b, GAVEL_ABORTED);
    cr_assert_str_eq(b.seen, "a=3 ");
    cr_assert_eq(outcome->n_attempts, 1);
    stage_close(&s);
}

Test(core_prefetched, a_conflict_on_what_was_read_before_is_one)
{
    stage s;
    stage_open(&s, &(stage_config){.n_lanes = 1});
    actor a;
    commit_first(&s, &a);
    says(&s, 0, "OK, \"2\"");
    actor b = {.reads = "a", .plays = "ADD a 10"};
    enter(&s, &b);
    hears(&s, 0, "MULTI / SET a 12 / EXEC / WATCH a / GET a");
    says(&s, 0, "OK, QUEUED, nil, OK, \"5\"");
    hears(&s, 0, "MULTI / SET a 15 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    cr_assert_eq(ends(&s, &b, GAVEL_COMMITTED)->n_conflicts, 1);
    stage_close(&s);
}

Test(core_prefetched, whoever_wants_something_else_makes_it_go)
{
    static const struct {
        actor a;
        const char *commands;
    } cases[] = {
        {{.keys = "b", .plays = "SET b 1"}, "UNWATCH / WATCH b"},
        {{.reads = "a b", .plays = "ADD a 1"}, "UNWATCH / WATCH a b / GET a / GET b"},
        {{.reads = "a.f", .plays = "HGET a f"}, "UNWATCH / WATCH a / HGET a f"},
        {{.keys = "a", .plays = "SET a 1"}, "UNWATCH / WATCH a"},
        {{.reads = "a", .plays = "GET a", .request = {.is_read_only = true}}, "GET a"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        stage s;
        stage_open(&s, &(stage_config){.n_lanes = 1});
        actor a;
        commit_first(&s, &a);
        actor b = cases[i].a;
        enter(&s, &b);
        hears_nothing(&s, 0);
        says(&s, 0, "OK, \"2\"");
        hears(&s, 0, cases[i].commands);
        stage_close(&s);
    }
}

Test(core_prefetched, its_keys_are_free_for_other_links)
{
    stage s;
    stage_open(&s, &(stage_config){.n_lanes = 2});
    actor a;
    commit_first(&s, &a);
    actor c = {.keys = "c", .plays = "SET c 1"};
    enter(&s, &c);
    hears_nothing(&s, 0);
    says(&s, 0, "OK, \"2\"");
    hears(&s, 0, "UNWATCH / WATCH c");
    actor d = {.reads = "a", .plays = "ADD a 1"};
    enter(&s, &d);
    link_up(&s, 1);
    hears(&s, 1, "WATCH a / GET a");
    says(&s, 1, "OK, \"2\"");
    hears(&s, 1, "MULTI / SET a 3 / EXEC / WATCH a / GET a");
    says(&s, 1, "OK, QUEUED, [OK], OK, \"3\"");
    ends(&s, &d, GAVEL_COMMITTED);
    says(&s, 0, "OK, OK"); /* the first link is free now, and comes first */
    hears(&s, 0, "MULTI / SET c 1 / EXEC / WATCH c");
    says(&s, 0, "OK, QUEUED, [OK], OK");
    ends(&s, &c, GAVEL_COMMITTED);
    actor e = {.reads = "a", .plays = "ADD a 1"};
    enter(&s, &e);
    hears(&s, 0, "UNWATCH / WATCH a / GET a");
    hears_nothing(&s, 1);
    stage_close(&s);
}

Test(core_prefetched, it_is_gone_with_its_link)
{
    stage s;
    stage_open(&s, &(stage_config){.n_lanes = 1});
    actor a;
    commit_first(&s, &a);
    link_down(&s, 0);
    cr_assert_eq(s.engine.context.stats.n_in_doubt, 0);
    actor b = {.reads = "a", .plays = "ADD a 10"};
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    stage_close(&s);
}

Test(core_prefetched, an_error_to_what_it_reads_again_harms_nobody)
{
    static const char *const answers[] = {
        "-LOADING data, -LOADING data", "OK, -LOADING data", "-NOPERM key, -NOPERM key"};
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        stage s;
        stage_open(&s, &(stage_config){.n_lanes = 1});
        actor a;
        commit_first(&s, &a);
        says(&s, 0, answers[i]);
        actor b = {.reads = "a", .plays = "ADD a 10"};
        enter(&s, &b);
        hears(&s, 0, "UNWATCH / WATCH a / GET a");
        stage_close(&s);
    }
}

Test(core_prefetched, a_member_that_is_cancelled_leaves_it_as_any_other)
{
    stage s;
    stage_open(&s, &(stage_config){.n_lanes = 1});
    actor a;
    commit_first(&s, &a);
    actor b = {.reads = "a", .plays = "ADD a 10"};
    enter(&s, &b);
    is_in(&s, &b, GAVEL__TX_READING);
    cancel(&s, &b);
    ends(&s, &b, GAVEL_CANCELLED);
    says(&s, 0, "OK, \"2\"");
    hears_nothing(&s, 0);
    stage_close(&s);
}

/* Its marker was planted long ago: it must not expire under a commit. */
Test(core_prefetched, one_that_is_older_than_a_quarter_of_its_markers_life_goes)
{
    stage s;
    stage_open(&s, &(stage_config){.has_markers = true});
    actor a = {.keys = "a", .plays = "SET a 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a m0");
    says(&s, 0, "OK, OK");
    hears(&s, 0, "MULTI / SET a 1 / INCR m0 / EXEC / WATCH a m0");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n0+1], OK");
    ends(&s, &a, GAVEL_COMMITTED);
    advance(&s, 225000000);
    actor b = {.keys = "a", .plays = "SET a 2"};
    enter(&s, &b);
    hears(&s, 0, "SET m0 n0 PX 900000 / UNWATCH / WATCH a m0");
    stage_close(&s);
}

Test(core_prefetched, one_whose_marker_was_lost_goes)
{
    stage s;
    stage_open(&s, &(stage_config){.has_markers = true});
    actor a = {.keys = "a", .plays = "SET a 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a m0");
    says(&s, 0, "OK, OK");
    hears(&s, 0, "MULTI / SET a 1 / INCR m0 / EXEC / WATCH a m0");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :1], OK");
    ends(&s, &a, GAVEL_COMMITTED);
    hears(&s, 0, "SET m0 n0 PX 900000");
    says(&s, 0, "OK");
    actor b = {.keys = "a", .plays = "SET a 2"};
    enter(&s, &b);
    hears(&s, 0, "UNWATCH / WATCH a m0");
    stage_close(&s);
}
