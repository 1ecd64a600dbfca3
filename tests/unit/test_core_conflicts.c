/*
 * Conflicts: what happens when EXEC answers nil, and who waits for whom, with the test as the
 * server.
 */
#include "stage.h"

#include <criterion/criterion.h>

static const stage_config plain = {.has_no_prefetch = true};

/* Enters a transaction and plays it up to its EXEC. */
static void begin(stage *s, actor *a)
{
    enter(s, a);
    link_up(s, 0);
    hears(s, 0, "WATCH a / GET a");
    says(s, 0, "OK, \"1\"");
}

/* Makes the key hot: a conflict that is over. */
static void heat(stage *s, actor *a, unsigned n_conflicts)
{
    *a = (actor){.reads = "a", .plays = "ADD a 1", .request = {.max_attempts = n_conflicts}};
    begin(s, a);
    for (unsigned i = 0; i < n_conflicts; i++) {
        hears(s, 0, "MULTI / SET a 2 / EXEC");
        says(s, 0, "OK, QUEUED, nil");
        s->engine.policy.prefetch_credit = 0;
        if (i + 1 == n_conflicts)
            break;
        advance(s, 0);
        if (a->transaction->state == GAVEL__TX_PAUSED)
            advance(s, a->transaction->resume_us - s->now_us);
        hears(s, 0, "WATCH a / GET a");
        says(s, 0, "OK, \"1\"");
    }
    ends(s, a, GAVEL_CONFLICT);
}

Test(core_conflicts, the_first_retry_runs_at_once_on_what_was_read_behind_exec)
{
    stage s;
    stage_open(&s, &(stage_config){.n_lanes = 1});
    actor a = {.reads = "a", .plays = "ADD a 1"};
    begin(&s, &a);
    hears(&s, 0, "MULTI / SET a 2 / EXEC / WATCH a / GET a");
    says(&s, 0, "OK, QUEUED, nil, OK, \"5\"");
    hears(&s, 0, "MULTI / SET a 6 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    const gavel_outcome *outcome = ends(&s, &a, GAVEL_COMMITTED);
    cr_assert_eq(outcome->n_attempts, 2);
    cr_assert_eq(outcome->n_conflicts, 1);
    cr_assert_eq(outcome->n_round_trips, 3);
    cr_assert_eq(s.n_events[GAVEL_EVENT_CONFLICT], 1);
    cr_assert_eq(s.engine.context.stats.n_conflicts, 1);
    stage_close(&s);
}

Test(core_conflicts, without_a_reread_the_first_retry_reads_anew_at_once)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.reads = "a", .plays = "ADD a 1"};
    begin(&s, &a);
    hears(&s, 0, "MULTI / SET a 2 / EXEC");
    says(&s, 0, "OK, QUEUED, nil");
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, \"5\"");
    hears(&s, 0, "MULTI / SET a 6 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    cr_assert_eq(ends(&s, &a, GAVEL_COMMITTED)->n_round_trips, 4);
    stage_close(&s);
}

Test(core_conflicts, rereads_in_vain_use_up_a_credit_that_a_conflict_restores)
{
    stage s;
    stage_open(&s, &(stage_config){.n_lanes = 1});
    actor a[20];
    for (unsigned i = 0; i < GAVEL__PREFETCH_CREDIT; i++) {
        bool is_even = i % 2 == 0;
        a[i] = is_even ? (actor){.keys = "a", .plays = "SET a 1"}
                       : (actor){.keys = "b", .plays = "SET b 1"};
        enter(&s, &a[i]);
        if (i == 0)
            link_up(&s, 0);
        hears(&s, 0, i == 0 ? "WATCH a" : is_even ? "UNWATCH / WATCH a" : "UNWATCH / WATCH b");
        says(&s, 0, i == 0 ? "OK" : "OK, OK");
        hears(&s, 0,
            is_even ? "MULTI / SET a 1 / EXEC / WATCH a" : "MULTI / SET b 1 / EXEC / WATCH b");
        says(&s, 0, "OK, QUEUED, [OK], OK");
        ends(&s, &a[i], GAVEL_COMMITTED);
    }
    actor c = {.keys = "c", .plays = "SET c 1"};
    enter(&s, &c);
    hears(&s, 0, "UNWATCH / WATCH c");
    says(&s, 0, "OK, OK");
    hears(&s, 0, "MULTI / SET c 1 / EXEC");
    says(&s, 0, "OK, QUEUED, nil");
    cr_assert_eq(s.engine.policy.prefetch_credit, GAVEL__PREFETCH_CREDIT);
    stage_close(&s);
}

Test(core_conflicts, a_second_conflict_in_a_row_makes_it_pause)
{
    stage s;
    stage_open(&s, &(stage_config){.n_lanes = 1});
    actor a = {.reads = "a", .plays = "ADD a 1"};
    begin(&s, &a);
    hears(&s, 0, "MULTI / SET a 2 / EXEC / WATCH a / GET a");
    says(&s, 0, "OK, QUEUED, nil, OK, \"5\"");
    hears(&s, 0, "MULTI / SET a 6 / EXEC");
    s.engine.policy.round_trip_us = 1000; /* so that the pause is seen */
    says(&s, 0, "OK, QUEUED, nil");
    is_in(&s, &a, GAVEL__TX_PAUSED);
    int64_t pause_us = a.transaction->resume_us - s.now_us;
    cr_assert(pause_us > 0 && pause_us <= 4000, "%d us", (int)pause_us);
    cr_assert_eq(gavel__engine_due_us(&s.engine), a.transaction->resume_us);
    advance(&s, pause_us - 1);
    is_in(&s, &a, GAVEL__TX_PAUSED);
    advance(&s, 1);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, \"7\"");
    hears(&s, 0, "MULTI / SET a 8 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    cr_assert_eq(ends(&s, &a, GAVEL_COMMITTED)->n_conflicts, 2);
    stage_close(&s);
}

Test(core_conflicts, a_newcomer_to_a_hot_key_keeps_the_pause_too)
{
    stage s;
    stage_open(&s, &plain);
    actor a;
    s.engine.policy.round_trip_us = 100000;
    heat(&s, &a, 3);
    actor b = {.keys = "a", .plays = "SET a 1"};
    actor c = {.keys = "c", .plays = "SET c 1"};
    enter(&s, &b);
    enter(&s, &c);
    hears(&s, 0, "WATCH c");
    is_in(&s, &b, GAVEL__TX_PAUSED);
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / SET c 1 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &c, GAVEL_COMMITTED);
    sleeps(&s);
    hears(&s, 0, "WATCH a");
    stage_close(&s);
}

/* A deadline before the end of the key's pause: half of what is left is waited for, then it runs.
 */
Test(core_conflicts, a_pause_does_not_outlast_the_last_chance)
{
    stage s;
    stage_open(&s, &plain);
    actor a;
    s.engine.policy.round_trip_us = 1000000;
    heat(&s, &a, 4);
    gavel__key *key = gavel__keys_find(
        &s.engine.queue.keys, gavel__keys_name(&s.engine.queue.keys, GAVEL_STR("a")));
    cr_assert_not_null(key);
    key->heat.resume_us = s.now_us + 1000000;
    actor b = {.keys = "a", .plays = "SET a 1", .request = {.deadline_ms = 100}};
    enter(&s, &b);
    is_in(&s, &b, GAVEL__TX_PAUSED);
    cr_assert_eq(b.transaction->resume_us, s.now_us + 50000);
    advance(&s, 50000);
    is_in(&s, &b, GAVEL__TX_READING);
    hears(&s, 0, "WATCH a");
    stage_close(&s);
}

Test(core_conflicts, retry_reads_again_after_a_pause_and_counts_as_a_conflict)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.reads = "a", .plays = "GET a; RETRY|GET a; RETRY|GET a; ABORT 1"};
    begin(&s, &a);
    for (int i = 0; i < 2; i++) {
        advance(&s, 0);
        if (a.transaction->state == GAVEL__TX_PAUSED)
            advance(&s, a.transaction->resume_us - s.now_us);
        hears(&s, 0, "UNWATCH / WATCH a / GET a");
        says(&s, 0, "OK, OK, \"1\"");
    }
    const gavel_outcome *outcome = ends(&s, &a, GAVEL_ABORTED);
    cr_assert_eq(outcome->n_attempts, 3);
    cr_assert_eq(outcome->n_conflicts, 2);
    stage_close(&s);
}

/* ---- Waiting for a key --------------------------------------------------------------------- */

Test(core_conflicts, who_wants_a_busy_key_is_parked_and_others_pass)
{
    stage s;
    stage_open(&s, &(stage_config){.n_lanes = 2, .has_no_prefetch = true});
    actor a = {.reads = "a", .plays = "ADD a 1"};
    begin(&s, &a);
    link_down(&s, 0);
    advance(&s, 0);
    sleeps(&s); /* the pause after the fault */
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    actor b = {.reads = "a", .plays = "ADD a 10"};
    actor c = {.keys = "c", .plays = "SET c 1"};
    enter(&s, &b);
    enter(&s, &c);
    link_up(&s, 1);
    hears(&s, 1, "WATCH c");
    is_in(&s, &b, GAVEL__TX_PARKED);
    says(&s, 1, "OK");
    hears(&s, 1, "MULTI / SET c 1 / EXEC");
    says(&s, 1, "OK, QUEUED, [OK]");
    ends(&s, &c, GAVEL_COMMITTED);
    is_in(&s, &b, GAVEL__TX_PARKED);
    says(&s, 0, "OK, \"1\"");
    hears(&s, 0, "MULTI / SET a 2 / EXEC / WATCH a / GET a");
    is_in(&s, &b, GAVEL__TX_READING);
    hears_nothing(&s, 1);
    says(&s, 0, "OK, QUEUED, [OK], OK, \"2\"");
    ends(&s, &a, GAVEL_COMMITTED);
    hears(&s, 0, "MULTI / SET a 12 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &b, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_conflicts, those_parked_behind_a_key_go_on_in_order_of_arrival)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.reads = "a", .plays = "ADD a 1"};
    actor b[3] = {{.reads = "a", .plays = "GET a; ADD a 10"},
        {.reads = "a c", .plays = "GET a; ADD a 100"},
        {.reads = "a", .plays = "GET a; ADD a 1000"}};
    begin(&s, &a);
    hears(&s, 0, "MULTI / SET a 2 / EXEC");
    for (size_t i = 0; i < 3; i++)
        enter(&s, &b[i]);
    is_in(&s, &b[0], GAVEL__TX_PARKED);
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &a, GAVEL_COMMITTED);
    hears(&s, 0, "WATCH a c / GET a / GET c");
    says(&s, 0, "OK, \"2\", nil");
    hears(&s, 0, "MULTI / SET a 1112 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    static const char *const seen[] = {"a=2 ", "a=12 ", "a=112 "};
    for (size_t i = 0; i < 3; i++) {
        ends(&s, &b[i], GAVEL_COMMITTED);
        cr_assert_str_eq(b[i].seen, seen[i]);
    }
    stage_close(&s);
}

Test(core_conflicts, a_reader_behind_a_failed_exec_goes_first)
{
    stage s;
    stage_open(&s, &(stage_config){.max_width = 1, .has_no_prefetch = true});
    actor a = {.reads = "a", .plays = "ADD a 1"};
    actor b = {.reads = "a", .plays = "ADD a 10"};
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, \"1\"");
    hears(&s, 0, "MULTI / SET a 2 / EXEC / WATCH a / GET a");
    says(&s, 0, "OK, QUEUED, nil");
    advance(&s, 0);
    says(&s, 0, "OK, \"5\"");
    hears(&s, 0, "MULTI / SET a 15 / EXEC / WATCH a / GET a");
    is_in(&s, &a, GAVEL__TX_READING);
    says(&s, 0, "OK, QUEUED, [OK], OK, \"15\"");
    ends(&s, &b, GAVEL_COMMITTED);
    hears(&s, 0, "MULTI / SET a 16 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    cr_assert_eq(ends(&s, &a, GAVEL_COMMITTED)->n_conflicts, 1);
    stage_close(&s);
}

Test(core_conflicts, one_conflict_costs_each_member_one_and_halves_the_width)
{
    stage s;
    stage_open(&s, &(stage_config){.max_width = 4});
    actor a[4];
    for (size_t i = 0; i < 4; i++) {
        static const char *const keys[] = {"a", "b", "c", "d"};
        static const char *const plays[] = {"SET a 1", "SET b 1", "SET c 1", "SET d 1"};
        a[i] = (actor){.keys = keys[i], .plays = plays[i], .request = {.max_attempts = 1}};
        enter(&s, &a[i]);
    }
    link_up(&s, 0);
    hears(&s, 0, "WATCH a b c d");
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / MSET a 1 b 1 c 1 d 1 / EXEC");
    says(&s, 0, "OK, QUEUED, nil");
    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(ends(&s, &a[i], GAVEL_CONFLICT)->n_conflicts, 1);
    hears_nothing(&s, 0);
    cr_assert_eq(s.engine.policy.widths[0], 2);
    actor b[2] = {{.keys = "e", .plays = "SET e 1"}, {.keys = "f", .plays = "SET f 1"}};
    enter(&s, &b[0]);
    enter(&s, &b[1]);
    hears(&s, 0, "WATCH e f");
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / MSET e 1 f 1 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &b[0], GAVEL_COMMITTED);
    ends(&s, &b[1], GAVEL_COMMITTED);
    cr_assert_eq(s.engine.policy.widths[0], 3, "a full round that commits widens the next");
    stage_close(&s);
}

Test(core_conflicts, a_lost_round_that_nobody_shared_leaves_the_width)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.keys = "a", .plays = "SET a 1", .request = {.deadline_ms = 10}};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a");
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / SET a 1 / EXEC");
    advance(&s, 10000);
    ends(&s, &a, GAVEL_UNKNOWN);
    says(&s, 0, "OK, QUEUED, nil");
    cr_assert_eq(s.engine.policy.widths[0], 64);
    stage_close(&s);
}
