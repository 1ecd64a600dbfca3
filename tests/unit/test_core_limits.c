/*
 * Limits: attempts, conflicts, faults, deadlines and cancelling, in every state that a transaction
 * can be in.
 */
#include "stage.h"

#include <criterion/criterion.h>
#include <string.h>

static const stage_config plain = {.has_no_prefetch = true};
static const stage_config with_markers = {.has_markers = true, .has_no_prefetch = true};

/* What ends a transaction in these tests. */
typedef enum end { BY_DEADLINE, BY_CANCEL } end;

static const end both[] = {BY_DEADLINE, BY_CANCEL};

static void stop(stage *s, actor *a, end how)
{
    if (how == BY_CANCEL) {
        cancel(s, a);
        return;
    }
    advance(s, a->transaction->deadline_us - 1 - s->now_us);
    cr_assert_not(a->is_told);
    advance(s, 1);
}

static void is_stopped(stage *s, actor *a, end how)
{
    if (how == BY_CANCEL)
        ends(s, a, GAVEL_CANCELLED);
    else
        ends_saying(s, a, GAVEL_DEADLINE, "100 ms passed");
}

static actor increment(void)
{
    return (actor){.reads = "a", .plays = "ADD a 1", .request = {.deadline_ms = 100}};
}

/* ---- Deadlines and cancelling -------------------------------------------------------------- */

Test(core_limits, a_ready_transaction_is_stopped)
{
    for (size_t i = 0; i < 2; i++) {
        stage s;
        stage_open(&s, &plain);
        actor a = increment();
        enter(&s, &a);
        is_in(&s, &a, GAVEL__TX_READY);
        stop(&s, &a, both[i]);
        is_stopped(&s, &a, both[i]);
        cr_assert_null(gavel__engine_find(&s.engine, a.ticket));
        link_up(&s, 0);
        hears_nothing(&s, 0);
        stage_close(&s);
    }
}

Test(core_limits, a_parked_transaction_is_stopped)
{
    for (size_t i = 0; i < 2; i++) {
        stage s;
        stage_open(&s, &(stage_config){.n_lanes = 2, .has_no_prefetch = true});
        actor a = {.keys = "a", .plays = "SET a 1"};
        enter(&s, &a);
        link_up(&s, 0);
        hears(&s, 0, "WATCH a");
        actor b = increment();
        actor other = {.keys = "c", .plays = "SET c 1"};
        enter(&s, &b);
        enter(&s, &other);
        link_up(&s, 1);
        hears(&s, 1, "WATCH c");
        is_in(&s, &b, GAVEL__TX_PARKED);
        stop(&s, &b, both[i]);
        is_stopped(&s, &b, both[i]);
        says(&s, 0, "OK");
        hears(&s, 0, "MULTI / SET a 1 / EXEC");
        says(&s, 0, "OK, QUEUED, [OK]");
        ends(&s, &a, GAVEL_COMMITTED);
        stage_close(&s);
    }
}

Test(core_limits, a_paused_transaction_is_cancelled)
{
    stage s;
    stage_open(&s, &plain);
    actor a = increment();
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "-LOADING data");
    is_in(&s, &a, GAVEL__TX_PAUSED);
    cancel(&s, &a);
    ends(&s, &a, GAVEL_CANCELLED);
    says(&s, 0, "-LOADING data");
    hears_nothing(&s, 0);
    stage_close(&s);
}

Test(core_limits, the_deadlines_message_names_the_last_fault)
{
    stage s;
    stage_open(&s, &plain);
    actor a = increment();
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "-LOADING data, -LOADING data");
    is_in(&s, &a, GAVEL__TX_PAUSED);
    advance(&s, 100000);
    ends_saying(&s, &a, GAVEL_DEADLINE,
        "100 ms passed; the last fault: WATCH \"a\" was refused: LOADING data");
    stage_close(&s);
}

/* What it had decided is no fault. */
Test(core_limits, the_deadlines_message_does_not_take_an_abort_for_a_fault)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.reads = "a b", .plays = "GET a; GET b; ABORT 1", .request = {.deadline_ms = 100}};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a b / GET a / GET b");
    says(&s, 0, "OK, \"1\", \"1\"");
    hears(&s, 0, "MULTI / EXEC");
    advance(&s, 100000);
    ends_saying(&s, &a, GAVEL_DEADLINE, "100 ms passed, waiting for the stage");
    stage_close(&s);
}

Test(core_limits, a_reading_transaction_is_stopped_and_its_round_goes_on)
{
    for (size_t i = 0; i < 2; i++) {
        stage s;
        stage_open(&s, &plain);
        actor a = increment();
        actor b = {.reads = "a b", .plays = "ADD a 10"};
        enter(&s, &a);
        enter(&s, &b);
        link_up(&s, 0);
        hears(&s, 0, "WATCH a b / GET a / GET b");
        says(&s, 0, "OK, \"1\"");
        is_in(&s, &a, GAVEL__TX_READING);
        stop(&s, &a, both[i]);
        is_stopped(&s, &a, both[i]);
        says(&s, 0, "nil");
        hears(&s, 0, "MULTI / SET a 11 / EXEC");
        says(&s, 0, "OK, QUEUED, [OK]");
        ends(&s, &b, GAVEL_COMMITTED);
        cr_assert_eq(a.n_runs, 0);
        stage_close(&s);
    }
}

Test(core_limits, a_round_whose_readers_have_all_left_lets_its_keys_go)
{
    stage s;
    stage_open(&s, &plain);
    actor a = increment();
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    cancel(&s, &a);
    ends(&s, &a, GAVEL_CANCELLED);
    actor b = increment();
    enter(&s, &b);
    hears_nothing(&s, 0);
    says(&s, 0, "OK, \"1\"");
    hears(&s, 0, "UNWATCH / WATCH a / GET a");
    stage_close(&s);
}

Test(core_limits, a_commit_that_was_not_sent_is_taken_back_at_the_deadline)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = increment();
    actor b = {.keys = "b", .plays = "SET b 1"};
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a b m0 / GET a");
    says(&s, 0, "OK, OK, \"1\"");
    composes(&s, 0, "MULTI / MSET a 2 b 1 / INCR m0 / EXEC");
    advance(&s, 100000);
    ends(&s, &a, GAVEL_DEADLINE);
    is_closed(&s, 0, "its EXEC was taken back");
    is_in(&s, &b, GAVEL__TX_PAUSED);
    sleeps(&s);
    link_up(&s, 0);
    hears(&s, 0, "SET m1 n1 PX 900000 / WATCH b m1");
    says(&s, 0, "OK, OK");
    hears(&s, 0, "MULTI / SET b 1 / INCR m1 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n1+1]");
    ends(&s, &b, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_limits, a_commit_that_was_sent_is_unknown_at_the_deadline)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = increment();
    actor b = {.keys = "b", .plays = "SET b 1"};
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a b m0 / GET a");
    says(&s, 0, "OK, OK, \"1\"");
    hears(&s, 0, "MULTI / MSET a 2 b 1 / INCR m0 / EXEC");
    stop(&s, &a, BY_DEADLINE);
    ends_saying(&s, &a, GAVEL_UNKNOWN, "100 ms passed before");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n0+1]");
    ends(&s, &b, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_limits, a_commit_that_was_sent_is_not_cancelled_but_its_retry_is)
{
    for (int i = 0; i < 2; i++) {
        stage s;
        stage_open(&s, &(stage_config){.n_lanes = 1});
        actor a = increment();
        enter(&s, &a);
        link_up(&s, 0);
        hears(&s, 0, "WATCH a / GET a");
        says(&s, 0, "OK, \"1\"");
        hears(&s, 0, "MULTI / SET a 2 / EXEC / WATCH a / GET a");
        cancel(&s, &a);
        is_in(&s, &a, GAVEL__TX_COMMITTING);
        says(&s, 0, i == 0 ? "OK, QUEUED, [OK]" : "OK, QUEUED, nil");
        ends(&s, &a, i == 0 ? GAVEL_COMMITTED : GAVEL_CANCELLED);
        says(&s, 0, "OK, \"1\"");
        hears_nothing(&s, 0);
        stage_close(&s);
    }
}

Test(core_limits, an_abort_whose_proof_is_under_way_is_stopped_without_doubt)
{
    for (size_t i = 0; i < 2; i++) {
        stage s;
        stage_open(&s, &with_markers);
        actor a = {.reads = "a b", .plays = "ABORT 1", .request = {.deadline_ms = 100}};
        enter(&s, &a);
        link_up(&s, 0);
        hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a b m0 / GET a / GET b");
        says(&s, 0, "OK, OK, nil, nil");
        hears(&s, 0, "MULTI / EXEC");
        stop(&s, &a, both[i]);
        is_stopped(&s, &a, both[i]);
        says(&s, 0, "OK, []");
        hears_nothing(&s, 0);
        stage_close(&s);
    }
}

Test(core_limits, a_doubt_at_the_deadline_is_unknown)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = increment();
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a m0 / GET a");
    says(&s, 0, "OK, OK, \"1\"");
    hears(&s, 0, "MULTI / SET a 2 / INCR m0 / EXEC");
    link_down(&s, 0);
    is_in(&s, &a, GAVEL__TX_IN_DOUBT);
    stop(&s, &a, BY_DEADLINE);
    ends(&s, &a, GAVEL_UNKNOWN);
    cr_assert(gavel__list_is_empty(&s.engine.doubts.open));
    stage_close(&s);
}

/* It wrote nothing, so that nothing of it can have happened. */
Test(core_limits, an_abort_in_a_doubtful_round_is_not_unknown_at_the_deadline)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = {.keys = "a", .plays = "SET a 1"};
    actor b = {.reads = "b c", .plays = "ABORT 1", .request = {.deadline_ms = 100}};
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a b c m0 / GET b / GET c");
    says(&s, 0, "OK, OK, nil, nil");
    hears(&s, 0, "MULTI / SET a 1 / INCR m0 / EXEC");
    link_down(&s, 0);
    stop(&s, &b, BY_DEADLINE);
    ends(&s, &b, GAVEL_DEADLINE);
    stage_close(&s);
}

Test(core_limits, a_cancelled_doubt_is_told_what_the_marker_says)
{
    for (int i = 0; i < 2; i++) {
        stage s;
        stage_open(&s, &with_markers);
        actor a = increment();
        enter(&s, &a);
        link_up(&s, 0);
        hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a m0 / GET a");
        says(&s, 0, "OK, OK, \"1\"");
        hears(&s, 0, "MULTI / SET a 2 / INCR m0 / EXEC");
        link_down(&s, 0);
        cancel(&s, &a);
        link_up(&s, 0);
        hears(&s, 0, "PEXPIRE m0 900000 / GET m0");
        says(&s, 0, i == 0 ? ":1, \"n0\"" : ":1, \"n0+1\"");
        ends(&s, &a, i == 0 ? GAVEL_CANCELLED : GAVEL_COMMITTED);
        hears_nothing(&s, 0);
        stage_close(&s);
    }
}

Test(core_limits, closing_for_good_tells_unknown_only_of_what_was_sent)
{
    stage s;
    stage_open(&s, &(stage_config){.n_lanes = 2, .has_no_prefetch = true});
    actor a = {.keys = "a", .plays = "SET a 1"};
    actor b = {.keys = "b", .plays = "SET b 1"};
    actor c = {.keys = "c", .plays = "SET c 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a");
    enter(&s, &b);
    link_up(&s, 1);
    hears(&s, 1, "WATCH b");
    enter(&s, &c);
    says(&s, 0, "OK");
    says(&s, 1, "OK");
    hears(&s, 0, "MULTI / SET a 1 / EXEC / WATCH c");
    composes(&s, 1, "MULTI / SET b 1 / EXEC");
    gavel__engine_cancel_all(&s.engine, true, s.now_us);
    ends(&s, &a, GAVEL_UNKNOWN);
    ends_saying(&s, &b, GAVEL_CANCELLED, "the client was closed");
    ends(&s, &c, GAVEL_CANCELLED);
    cr_assert(lane_of(&s, 1)->is_condemned);
    stage_close(&s);
}

/* ---- Budgets ------------------------------------------------------------------------------- */

static void lose(stage *s, const char *multi_and_rest)
{
    hears(s, 0, multi_and_rest);
    says(s, 0, "OK, QUEUED, nil");
}

Test(core_limits, attempts_run_out)
{
    stage s;
    stage_open(&s, &(stage_config){.n_lanes = 1});
    actor a = {.reads = "a", .plays = "ADD a 1", .request = {.max_attempts = 2}};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, \"1\"");
    lose(&s, "MULTI / SET a 2 / EXEC / WATCH a / GET a");
    says(&s, 0, "OK, \"2\"");
    lose(&s, "MULTI / SET a 3 / EXEC");
    ends_saying(&s, &a, GAVEL_CONFLICT, "lost 2 times to other writers of \"a\"");
    cr_assert_eq(a.outcome.n_attempts, 2);
    hears_nothing(&s, 0);
    stage_close(&s);
}

Test(core_limits, conflicts_run_out)
{
    stage s;
    stage_open(&s, &(stage_config){.n_lanes = 1});
    actor a = {.reads = "a b", .plays = "ADD a 1", .request = {.max_conflicts = 1}};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a b / GET a / GET b");
    says(&s, 0, "OK, \"1\", nil");
    lose(&s, "MULTI / SET a 2 / EXEC / WATCH a b / GET a / GET b");
    says(&s, 0, "OK, \"2\", nil");
    lose(&s, "MULTI / SET a 3 / EXEC");
    ends_saying(
        &s, &a, GAVEL_CONFLICT, "lost 2 times to other writers of \"a\" and its other keys");
    stage_close(&s);
}

/* "Runs of the body, whatever ends them." */
Test(core_limits, attempts_lost_to_faults_count_among_the_attempts)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.keys = "a", .plays = "SET a 1", .request = {.max_attempts = 1}};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a");
    says(&s, 0, "OK");
    composes(&s, 0, "MULTI / SET a 1 / EXEC");
    link_down(&s, 0);
    ends(&s, &a, GAVEL_NOT_SENT);
    cr_assert_eq(a.n_runs, 1);
    stage_close(&s);
}

/* A bound is a bound: a body that ran once is not run again for a neighbour's sake. */
static void lose_to_a_neighbour(const char *written, const char *replies, const char *words)
{
    stage s;
    stage_open(&s, &(stage_config){.has_no_prefetch = true});
    actor a = {.keys = "a", .plays = "SET a 1", .request = {.max_attempts = 1}};
    actor b = {.keys = "b", .plays = strstr(written, "APPEND") ? "WRITE APPEND b" : "SET b 2"};
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a b");
    says(&s, 0, "OK");
    hears(&s, 0, written);
    says(&s, 0, replies);
    ends_saying(&s, &a, GAVEL_NOT_SENT, words);
    cr_expect_eq(a.n_runs, 1);
    cr_expect_eq(a.outcome.n_attempts, 1);
    stage_close(&s);
}

Test(core_limits, a_neighbours_refusal_grants_no_further_attempt)
{
    lose_to_a_neighbour("MULTI / SET a 1 / APPEND b / EXEC",
        "OK, QUEUED, -ERR unknown command, -EXECABORT no",
        "max_attempts (1) are spent; the last one was lost: a command of another transaction");
}

Test(core_limits, a_refused_mset_grants_no_further_attempt)
{
    lose_to_a_neighbour("MULTI / MSET a 1 b 2 / EXEC", "OK, -NOPERM no, -EXECABORT no",
        "the last one was lost: a write was refused: NOPERM no");
}

Test(core_limits, a_refused_multi_grants_no_further_attempt)
{
    lose_to_a_neighbour("MULTI / MSET a 1 b 2 / EXEC", "-NOPERM multi, -NOPERM no, -ERR no MULTI",
        "the last one was lost: MULTI was refused: NOPERM multi");
}

/* The last attempt does not rest on what was read before it came, where only a commit counts. */
Test(core_limits, the_last_attempt_reads_for_itself)
{
    stage s;
    stage_open(&s, &(stage_config){.n_lanes = 1});
    actor a = {.reads = "a", .plays = "ADD a 1"};
    actor b = {.reads = "a", .plays = "GET a; ABORT 3", .request = {.max_attempts = 1}};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, \"1\"");
    hears(&s, 0, "MULTI / SET a 2 / EXEC / WATCH a / GET a");
    says(&s, 0, "OK, QUEUED, [OK], OK, \"2\"");
    enter(&s, &b);
    hears(&s, 0, "UNWATCH / WATCH a / GET a");
    says(&s, 0, "OK, OK, \"2\"");
    ends(&s, &b, GAVEL_ABORTED);
    cr_expect_eq(b.n_runs, 1);
    stage_close(&s);
}

Test(core_limits, faults_before_the_body_ran_are_no_attempts)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.keys = "a", .plays = "SET a 1", .request = {.max_attempts = 1}};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a");
    link_down(&s, 0);
    is_in(&s, &a, GAVEL__TX_PAUSED);
    sleeps(&s);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a");
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / SET a 1 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_limits, faults_run_out)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.keys = "a", .plays = "SET a 1", .request = {.max_faults = 3}};
    enter(&s, &a);
    for (int i = 0; i < 3; i++) {
        link_refused(&s, 0, false, NULL);
        is_in(&s, &a, GAVEL__TX_PAUSED);
        sleeps(&s);
        while (a.transaction->state == GAVEL__TX_PAUSED)
            sleeps(&s);
    }
    link_refused(&s, 0, false, NULL);
    ends_saying(&s, &a, GAVEL_NOT_SENT, "connection refused");
    cr_assert_eq(a.outcome.n_faults, 4);
    stage_close(&s);
}

Test(core_limits, what_the_time_was_lost_to_is_the_body_that_took_it)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.keys = "a", .plays = "SET a 1; WAIT 200000", .request = {.deadline_ms = 100}};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a");
    says(&s, 0, "OK");
    hears_nothing(&s, 0);
    ends_saying(&s, &a, GAVEL_DEADLINE, "the body took 200 ms, and the deadline was 100 ms");
    actor b = {.keys = "a", .plays = "WAIT 60000; SET a 1", .request = {.deadline_ms = 100}};
    actor c = {.keys = "a", .plays = "SET a 1", .request = {.deadline_ms = 100}};
    enter(&s, &b);
    enter(&s, &c);
    hears(&s, 0, "UNWATCH / WATCH a");
    says(&s, 0, "OK, OK");
    hears(&s, 0, "MULTI / SET a 1 / EXEC");
    advance(&s, 40000);
    ends_saying(
        &s, &b, GAVEL_UNKNOWN, "100 ms passed: the bodies of its rounds took 60 ms, before");
    stage_close(&s);
}

Test(core_limits, a_body_that_says_retry_is_no_conflict_with_others)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.reads = "a", .plays = "GET a; RETRY", .request = {.max_conflicts = 2}};
    actor b = {.reads = "a", .plays = "ADD a 1|GET a; RETRY", .request = {.max_conflicts = 1}};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, nil");
    for (int i = 0; i < 2; i++) {
        advance(&s, 0);
        if (a.transaction->state == GAVEL__TX_PAUSED)
            advance(&s, a.transaction->resume_us - s.now_us);
        hears(&s, 0, "UNWATCH / WATCH a / GET a");
        says(&s, 0, "OK, OK, nil");
    }
    ends_saying(&s, &a, GAVEL_CONFLICT, "the body said RETRY 3 times");
    cr_assert_null(strstr(a.outcome.message, "lost"));
    enter(&s, &b);
    hears(&s, 0, "UNWATCH / WATCH a / GET a");
    says(&s, 0, "OK, OK, nil");
    hears(&s, 0, "MULTI / SET a 1 / EXEC");
    says(&s, 0, "OK, QUEUED, nil");
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, nil");
    ends_saying(&s, &b, GAVEL_CONFLICT,
        "the body said RETRY 1 times; lost 1 times to other writers of \"a\"");
    stage_close(&s);
}

/* A failover takes longer than eight tries. */
Test(core_limits, faults_have_no_bound_of_their_own_but_the_deadline)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.keys = "a", .plays = "SET a 1", .request = {.deadline_ms = 60000}};
    enter(&s, &a);
    for (int i = 0; i < 20; i++) {
        link_refused(&s, 0, false, NULL);
        is_in(&s, &a, GAVEL__TX_PAUSED);
        while (a.transaction->state == GAVEL__TX_PAUSED)
            sleeps(&s);
    }
    link_up(&s, 0);
    hears(&s, 0, "WATCH a");
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / SET a 1 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    cr_assert_eq(ends(&s, &a, GAVEL_COMMITTED)->n_faults, 20);
    stage_close(&s);
}

Test(core_limits, a_refusal_for_good_is_told_at_once)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.keys = "a", .plays = "SET a 1"};
    actor b = {.keys = "b", .plays = "SET b 1"};
    enter(&s, &a);
    link_refused(&s, 0, true, "WRONGPASS invalid");
    ends_saying(&s, &a, GAVEL_REJECTED, "WRONGPASS invalid");
    enter(&s, &b);
    link_refused(&s, 0, true, NULL);
    ends_saying(&s, &b, GAVEL_NOT_SENT, "connection refused");
    stage_close(&s);
}

Test(core_limits, the_queue_is_bounded)
{
    stage s;
    stage_open(&s, &(stage_config){.max_queued = 2});
    actor a[3];
    for (size_t i = 0; i < 3; i++) {
        a[i] = (actor){.keys = "a", .plays = "SET a 1"};
        enter(&s, &a[i]);
    }
    ends_saying(&s, &a[2], GAVEL_NOT_SENT, "max_queued");
    is_in(&s, &a[0], GAVEL__TX_READY);
    stage_close(&s);
}

Test(core_limits, a_used_transaction_is_used_again_also_for_a_refused_request)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.keys = "a", .plays = "SET a 1"};
    enter(&s, &a);
    cancel(&s, &a);
    ends(&s, &a, GAVEL_CANCELLED);
    actor b = {.keys = "a a", .plays = "SET a 1"};
    enter(&s, &b);
    ends_saying(&s, &b, GAVEL_INVALID, "declared twice: \"a\"");
    cr_assert_neq(a.ticket, b.ticket);
    cr_assert_null(gavel__engine_find(&s.engine, a.ticket));
    cr_assert_eq(s.engine.pool.n_places, 1);
    stage_close(&s);
}
