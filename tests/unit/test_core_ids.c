/*
 * Ids: a second submission is told of the first, and an id settles what a link left open.
 */
#include "stage.h"

#include "base/text.h"

#include <criterion/criterion.h>

static const stage_config plain = {.has_no_prefetch = true};

/* WATCH, and GET of the id's key: its record, with a NUL in it. */
static void finds_record(stage *s, gavel_bytes record)
{
    gavel_reply ok = {.type = GAVEL_REPLY_STATUS, .text = GAVEL_STR("OK")};
    gavel_reply found = {.type = GAVEL_REPLY_STRING, .text = record};
    gavel__engine_on_reply(&s->engine, lane_of(s, 0), &ok, s->now_us);
    gavel__engine_on_reply(&s->engine, lane_of(s, 0), &found, s->now_us);
}

/* ---- Records ------------------------------------------------------------------------------- */

Test(core_ids, an_id_is_recorded_with_the_commit)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.reads = "a", .id = "x1", .digest = "dd", .plays = "ADD a 1; RESULT done"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a g:id:{x1} / GET a / GET g:id:{x1}");
    says(&s, 0, "OK, \"1\", nil");
    hears(&s, 0, "MULTI / SET a 2 / SET g:id:{x1} g1\\x02dddone PX 86400000 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, OK]");
    const gavel_outcome *outcome = ends(&s, &a, GAVEL_COMMITTED);
    cr_assert_not(outcome->is_duplicate);
    cr_assert(gavel__bytes_equal(
        (gavel_bytes){outcome->result, outcome->result_size}, GAVEL_STR("done")));
    stage_close(&s);
}

Test(core_ids, a_second_submission_is_told_of_the_first)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.reads = "a", .id = "x1", .digest = "dd", .plays = "ADD a 1"};
    actor b = {.reads = "a", .id = "x1", .digest = "de", .plays = "ADD a 1"};
    actor c = {.reads = "a", .id = "x1", .digest = "dd", .plays = "ADD a 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a g:id:{x1} / GET a / GET g:id:{x1}");
    says(&s, 0,
        "OK, \"1\", \"g1\x02"
        "ddpaid\"");
    const gavel_outcome *outcome = ends(&s, &a, GAVEL_COMMITTED);
    cr_assert(outcome->is_duplicate);
    cr_assert(gavel__bytes_equal(
        (gavel_bytes){outcome->result, outcome->result_size}, GAVEL_STR("paid")));
    cr_assert_eq(a.n_runs, 0);
    enter(&s, &b);
    hears(&s, 0, "UNWATCH / WATCH a g:id:{x1} / GET a / GET g:id:{x1}");
    says(&s, 0,
        "OK, OK, \"1\", \"g1\x02"
        "ddpaid\"");
    ends_saying(&s, &b, GAVEL_INVALID, "with another digest; key: \"g:id:{x1}\"");
    enter(&s, &c);
    hears(&s, 0, "UNWATCH / WATCH a g:id:{x1} / GET a / GET g:id:{x1}");
    says(&s, 0, "OK, OK, \"1\", -WRONGTYPE");
    ends_saying(&s, &c, GAVEL_REJECTED, "the key of the id cannot be read");
    stage_close(&s);
}

Test(core_ids, the_same_id_twice_in_one_round_commits_once)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.keys = "a", .id = "x", .plays = "SET a 1; RESULT one"};
    actor b = {.keys = "a", .id = "x", .plays = "SET a 2; RESULT two"};
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a g:id:{x} / GET g:id:{x}");
    says(&s, 0, "OK, nil");
    hears(&s, 0,
        "MULTI / SET a 1 / SET g:id:{x} g1\\x00one PX 86400000 / EXEC / WATCH a g:id:{x} / "
        "GET g:id:{x}");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, OK]");
    ends(&s, &a, GAVEL_COMMITTED);
    cr_assert_eq(b.n_runs, 0);
    is_in(&s, &b, GAVEL__TX_READING);
    stage_close(&s);
}

Test(core_ids, the_same_id_twice_in_one_round_commits_the_second_if_the_first_aborts)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.keys = "a", .id = "x", .plays = "SET a 1; ABORT 1"};
    actor b = {.keys = "a", .id = "x", .plays = "SET a 2"};
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a g:id:{x} / GET g:id:{x}");
    says(&s, 0, "OK, nil");
    hears(&s, 0, "MULTI / SET g:id:{x} g0 PX 1000 / EXEC / WATCH a g:id:{x} / GET g:id:{x}");
    says(&s, 0, "OK, QUEUED, [OK], OK, \"g0\"");
    ends(&s, &a, GAVEL_ABORTED);
    hears(&s, 0, "MULTI / SET a 2 / SET g:id:{x} g1\\x00 PX 86400000 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, OK]");
    ends(&s, &b, GAVEL_COMMITTED);
    stage_close(&s);
}

/* What else they want says nothing: they meet at the id. */
Test(core_ids, the_same_id_on_other_keys_is_the_same)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.reads = "a", .id = "x", .plays = "ADD a 1; RESULT one"};
    actor b = {.keys = "b", .id = "x", .plays = "SET b 1; RESULT two"};
    actor c = {.id = "x", .plays = "SET c 1; RESULT three"};
    enter(&s, &a);
    enter(&s, &b);
    enter(&s, &c);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a g:id:{x} b / GET a / GET g:id:{x}");
    says(&s, 0, "OK, \"1\", nil");
    hears(&s, 0,
        "MULTI / SET a 2 / SET g:id:{x} g1\\x00one PX 86400000 / EXEC / WATCH b g:id:{x} / "
        "GET g:id:{x}");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, OK]");
    ends(&s, &a, GAVEL_COMMITTED);
    finds_record(&s, (gavel_bytes){"g1\0one", 6});
    cr_assert(ends(&s, &b, GAVEL_COMMITTED)->is_duplicate);
    cr_assert(ends(&s, &c, GAVEL_COMMITTED)->is_duplicate);
    cr_assert_eq(b.n_runs + c.n_runs, 0);
    stage_close(&s);
}

/* The id was free when it was read, before "a" was: somebody may have committed under it since. */
Test(core_ids, an_abort_under_an_id_that_was_read_first_is_proved)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.keys = "a", .id = "x", .plays = "GET a; ABORT 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a g:id:{x} / GET g:id:{x}");
    says(&s, 0, "OK, nil");
    hears(&s, 0, "UNWATCH / WATCH a g:id:{x} / GET g:id:{x} / GET a");
    says(&s, 0, "OK, OK, nil, \"spent\"");
    hears(&s, 0, "MULTI / SET g:id:{x} g0 PX 1000 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    cr_assert_eq(ends(&s, &a, GAVEL_ABORTED)->abort_code, 1);
    stage_close(&s);
}

/* Whatever an earlier submission has sent, and was told UNKNOWN of, must not arrive after this. */
Test(core_ids, a_mistake_under_an_id_is_proved_as_well)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.reads = "a", .id = "x", .plays = "INT a"};
    actor b = {.reads = "a", .id = "x", .plays = "ADD a 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a g:id:{x} / GET a / GET g:id:{x}");
    says(&s, 0, "OK, \"no number\", nil");
    hears(&s, 0, "MULTI / SET g:id:{x} g0 PX 1000 / EXEC");
    is_in(&s, &a, GAVEL__TX_COMMITTING);
    says(&s, 0, "OK, QUEUED, [OK]");
    ends_saying(&s, &a, GAVEL_INVALID, "not a 64-bit integer");
    enter(&s, &b);
    hears(&s, 0, "WATCH a g:id:{x} / GET a / GET g:id:{x}");
    says(&s, 0, "OK, \"1\", \"g0\"");
    hears(&s, 0, "MULTI / SET a 2 / SET g:id:{x} g1\\x00 PX 86400000 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, OK]");
    cr_assert_not(ends(&s, &b, GAVEL_COMMITTED)->is_duplicate);
    stage_close(&s);
}

Test(core_ids, an_id_that_was_not_kept_is_told)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.reads = "a", .id = "x", .plays = "ADD a 1"};
    actor b = {.reads = "a", .id = "y", .plays = "GET a; ABORT 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a g:id:{x} / GET a / GET g:id:{x}");
    says(&s, 0, "OK, \"1\", nil");
    hears(&s, 0, "MULTI / SET a 2 / SET g:id:{x} g1\\x00 PX 86400000 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, -ERR invalid expire time]");
    ends_saying(&s, &a, GAVEL_COMMITTED_WITH_ERRORS, "the id was not kept");
    enter(&s, &b);
    hears(&s, 0, "WATCH a g:id:{y} / GET a / GET g:id:{y}");
    says(&s, 0, "OK, \"2\", nil");
    hears(&s, 0, "MULTI / SET g:id:{y} g0 PX 1000 / EXEC");
    says(&s, 0, "OK, QUEUED, [-ERR invalid expire time]");
    ends_saying(&s, &b, GAVEL_REJECTED, "may still arrive: ERR invalid expire time");
    stage_close(&s);
}

Test(core_ids, the_key_of_an_id_is_not_the_bodys)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.keys = "a", .id = "x", .plays = "SET g:id:{x} forged"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a g:id:{x} / GET g:id:{x}");
    says(&s, 0, "OK, nil");
    hears(&s, 0, "MULTI / SET g:id:{x} g0 PX 1000 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends_saying(&s, &a, GAVEL_INVALID, "a write to the key that keeps the transaction's id");
    stage_close(&s);
}

/* ---- Doubts -------------------------------------------------------------------------------- */

/* Plays a transaction with an id up to the second look at that. */
static void lose_exec_with_id(stage *s, actor *a)
{
    stage_open(s, &plain);
    enter(s, a);
    link_up(s, 0);
    hears(s, 0, "WATCH a g:id:{x} / GET g:id:{x}");
    says(s, 0, "OK, nil");
    hears(s, 0, "MULTI / SET a 1 / SET g:id:{x} g1\\x00r PX 86400000 / EXEC");
    link_down(s, 0);
    is_in(s, a, GAVEL__TX_PAUSED);
    sleeps(s);
    link_up(s, 0);
    hears(s, 0, "WATCH a g:id:{x} / GET g:id:{x}");
}

Test(core_ids, without_markers_an_id_tells_in_the_next_attempt)
{
    stage s;
    actor a = {.keys = "a", .id = "x", .plays = "SET a 1; RESULT r"};
    lose_exec_with_id(&s, &a);
    finds_record(&s, (gavel_bytes){"g1\0r", 4});
    cr_assert(ends(&s, &a, GAVEL_COMMITTED)->is_duplicate);
    cr_assert_eq(a.outcome.result_size, 1);
    stage_close(&s);
}

/* The old EXEC may still be on its way: only a commit of our own is certain. */
Test(core_ids, without_markers_and_without_a_record_the_id_commits_or_is_unknown)
{
    for (int i = 0; i < 2; i++) {
        stage s;
        actor a = {.keys = "a", .id = "x", .plays = "SET a 1; RESULT r"};
        lose_exec_with_id(&s, &a);
        says(&s, 0, "OK, nil");
        hears(&s, 0, "MULTI / SET a 1 / SET g:id:{x} g1\\x00r PX 86400000 / EXEC");
        cancel(&s, &a);
        says(&s, 0, i == 0 ? "OK, QUEUED, QUEUED, nil" : "OK, QUEUED, QUEUED, [OK, OK]");
        ends(&s, &a, i == 0 ? GAVEL_UNKNOWN : GAVEL_COMMITTED);
        stage_close(&s);
    }
}

/* The tombstone keeps the old EXEC out: nothing was written, for sure. */
Test(core_ids, without_markers_an_abort_under_an_id_is_certain)
{
    stage s;
    actor a = {.keys = "a", .id = "x", .plays = "SET a 1; RESULT r | ABORT 3"};
    lose_exec_with_id(&s, &a);
    says(&s, 0, "OK, nil");
    hears(&s, 0, "MULTI / SET g:id:{x} g0 PX 1000 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    cr_assert_eq(ends(&s, &a, GAVEL_ABORTED)->abort_code, 3);
    stage_close(&s);
}

Test(core_ids, once_an_id_is_in_doubt_every_other_end_is_unknown)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.keys = "a", .id = "x", .plays = "SET a 1", .request = {.max_faults = 1}};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a g:id:{x} / GET g:id:{x}");
    says(&s, 0, "OK, nil");
    hears(&s, 0, "MULTI / SET a 1 / SET g:id:{x} g1\\x00 PX 86400000 / EXEC");
    link_down(&s, 0);
    is_in(&s, &a, GAVEL__TX_PAUSED);
    sleeps(&s);
    link_refused(&s, 0, false, NULL);
    ends(&s, &a, GAVEL_UNKNOWN);
    stage_close(&s);
}

/* What the second EXEC would have written is nothing; what the first one writes may still come. */
Test(core_ids, an_id_stays_in_doubt_when_a_later_attempt_has_nothing_to_write)
{
    stage s;
    actor a = {.keys = "a",
        .id = "x",
        .plays = "SET a 1; RESULT r | ABORT 3",
        .request = {.max_faults = 1}};
    lose_exec_with_id(&s, &a);
    says(&s, 0, "OK, nil");
    hears(&s, 0, "MULTI / SET g:id:{x} g0 PX 1000 / EXEC");
    link_down(&s, 0);
    ends(&s, &a, GAVEL_UNKNOWN);
    stage_close(&s);
}

/* A marker that is gone leaves the question to the id. */
Test(core_ids, an_id_tells_where_the_marker_is_gone)
{
    stage s;
    stage_open(&s, &(stage_config){.has_markers = true, .has_no_prefetch = true});
    actor a = {.keys = "a", .id = "x", .plays = "SET a 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a g:id:{x} m0 / GET g:id:{x}");
    says(&s, 0, "OK, OK, nil");
    hears(&s, 0, "MULTI / SET a 1 / SET g:id:{x} g1\\x00 PX 86400000 / INCR m0 / EXEC");
    link_down(&s, 0);
    link_up(&s, 0);
    hears(&s, 0, "PEXPIRE m0 900000 / GET m0");
    says(&s, 0, ":0, nil");
    is_in(&s, &a, GAVEL__TX_PAUSED);
    sleeps(&s);
    hears(&s, 0, "SET m1 n1 PX 900000 / WATCH a g:id:{x} m1 / GET g:id:{x}");
    cancel(&s, &a);
    ends(&s, &a, GAVEL_UNKNOWN);
    stage_close(&s);
}
