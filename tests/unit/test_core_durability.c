/*
 * Durability: commits that wait for replicas before they are told. The test is the server that
 * counts them, and the one that takes its place.
 */
#include "stage.h"

#include <criterion/criterion.h>

#include <stdio.h>

static const stage_config with_replicas = {
    .has_markers = true, .has_no_prefetch = true, .n_replica_lanes = 2};

/* Plays a transaction to the success of its EXEC on link 0, the first one there. */
static void commit_first(stage *s, actor *a)
{
    enter(s, a);
    link_up(s, 0);
    hears(s, 0, "SET m0 n0 PX 900000 / WATCH a m0 / GET a");
    says(s, 0, "OK, OK, \"1\"");
    hears(s, 0, "MULTI / SET a 2 / INCR m0 / EXEC");
    says(s, 0, "OK, QUEUED, QUEUED, [OK, :n0+1]");
    is_in(s, a, GAVEL__TX_REPLICATING);
}

/* Plays another one to the success of its EXEC there. */
static void commit_next(stage *s, actor *a, const char *exec)
{
    enter(s, a);
    advance(s, 0);
    (void)stage_listen(s, 0);
    says(s, 0, "OK, \"1\"");
    advance(s, 0);
    (void)stage_listen(s, 0);
    says(s, 0, exec);
}

static const gavel_transaction one_replica = {.min_replicas = 1};
static const gavel_transaction all_replicas = {.min_replicas = GAVEL_ALL_REPLICAS};

/* ---- Enough, and too few ------------------------------------------------------------------- */

Test(core_durability, a_commit_is_told_when_enough_replicas_have_it)
{
    stage s;
    stage_open(&s, &with_replicas);
    actor a = {.reads = "a",
        .plays = "ADD a 1; RESULT r",
        .request = {.min_replicas = 1, .keep_replies = true}};
    commit_first(&s, &a);
    link_up(&s, 1);
    hears(&s, 1, "SET w 1 PX 600000 / WAIT 1 100 / GET m0");
    says(&s, 1, "OK, :2, \"n0+1\"");
    const gavel_outcome *outcome = ends(&s, &a, GAVEL_COMMITTED);
    cr_assert_eq(outcome->n_replicas, 2);
    cr_assert_eq(outcome->n_replies, 1);
    cr_assert_eq(outcome->result_size, 1);
    cr_assert_str_eq(outcome->message, "");
    hears_nothing(&s, 1);
    stage_close(&s);
}

Test(core_durability, who_has_no_such_wish_or_writes_nothing_is_told_at_once)
{
    stage s;
    stage_open(&s, &with_replicas);
    s.engine.limits.min_replicas = 1; /* the client's default */
    actor a = {.reads = "a", .plays = "ADD a 1", .request = {.min_replicas = GAVEL_NO_REPLICAS}};
    actor b = {.reads = "a", .plays = "GET a", .request = {.is_read_only = true}};
    actor c = {.reads = "a", .plays = "GET a; ABORT 1"};
    actor d = {.reads = "a", .plays = "ADD a 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a m0 / GET a");
    says(&s, 0, "OK, OK, \"1\"");
    hears(&s, 0, "MULTI / SET a 2 / INCR m0 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n0+1]");
    ends(&s, &a, GAVEL_COMMITTED);
    enter(&s, &b);
    hears(&s, 0, "GET a");
    says(&s, 0, "\"2\"");
    cr_assert_eq(ends(&s, &b, GAVEL_COMMITTED)->n_replicas, 0);
    enter(&s, &c);
    hears(&s, 0, "WATCH a m0 / GET a");
    says(&s, 0, "OK, \"2\"");
    ends(&s, &c, GAVEL_ABORTED);
    enter(&s, &d);
    hears(&s, 0, "UNWATCH / WATCH a m0 / GET a");
    says(&s, 0, "OK, OK, \"2\"");
    hears(&s, 0, "MULTI / SET a 3 / INCR m0 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n0+2]");
    is_in(&s, &d, GAVEL__TX_REPLICATING);
    stage_close(&s);
    cr_assert_eq(d.outcome.status, GAVEL_COMMITTED_NOT_DURABLE);
}

Test(core_durability, its_keys_are_free_meanwhile)
{
    stage s;
    stage_open(&s, &with_replicas);
    actor a = {.reads = "a", .plays = "ADD a 1", .request = one_replica};
    actor b = {.reads = "a", .plays = "ADD a 1"};
    commit_first(&s, &a);
    enter(&s, &b);
    hears(&s, 0, "WATCH a m0 / GET a");
    says(&s, 0, "OK, \"2\"");
    hears(&s, 0, "MULTI / SET a 3 / INCR m0 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n0+2]");
    ends(&s, &b, GAVEL_COMMITTED);
    is_in(&s, &a, GAVEL__TX_REPLICATING);
    link_up(&s, 1);
    hears(&s, 1, "SET w 1 PX 600000 / WAIT 1 100 / GET m0");
    says(&s, 1, "OK, :1, \"n0+2\"");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_durability, too_few_are_asked_again_about_the_same_until_the_time_is_over)
{
    stage s;
    stage_open(&s, &with_replicas);
    actor a = {.reads = "a", .plays = "ADD a 1", .request = one_replica};
    commit_first(&s, &a);
    link_up(&s, 1);
    hears(&s, 1, "SET w 1 PX 600000 / WAIT 1 100 / GET m0");
    advance(&s, 100000);
    says(&s, 1, "OK, :0, \"n0+1\"");
    hears(&s, 1, "SET w 1 PX 600000 / ROLE / WAIT 1 100 / ROLE / GET m0");
    says(&s, 1, "OK, [\"master\", :50, []], :0, [\"master\", :60, []], \"n0+1\"");
    hears(&s, 1, "WAIT 1 100 / ROLE / GET m0");
    advance(&s, 899999);
    is_in(&s, &a, GAVEL__TX_REPLICATING);
    advance(&s, 1);
    ends_saying(&s, &a, GAVEL_COMMITTED_NOT_DURABLE, "0 of 1 replicas of the stage have it");
    cr_assert(gavel_is_committed(&a.outcome));
    says(&s, 1, ":1, [\"master\", :70, []], \"n0+1\""); /* nobody wants to know */
    hears_nothing(&s, 1);
    stage_close(&s);
}

/* As far as WAIT knows it has not what the connection has asked for last. */
Test(core_durability, a_replica_that_is_behind_by_more_than_a_slice_counts_by_its_offset)
{
    static const char *const replicas[] = {
        "[[\"r\", \"1\", \"49\"]]", "[]", "[[\"r\"]]", "[[\"r\", \"1\", \"x\"]]"};
    char words[128];
    stage s;
    stage_open(&s, &with_replicas);
    actor a = {.reads = "a", .plays = "ADD a 1", .request = one_replica};
    commit_first(&s, &a);
    link_up(&s, 1);
    hears(&s, 1, "SET w 1 PX 600000 / WAIT 1 100 / GET m0");
    says(&s, 1, "OK, :0, \"n0+1\"");
    hears(&s, 1, "SET w 1 PX 600000 / ROLE / WAIT 1 100 / ROLE / GET m0");
    says(&s, 1, "OK, [\"master\", :50, []], :0, [\"master\", :60, []], \"n0+1\"");
    for (size_t i = 0; i < sizeof(replicas) / sizeof(replicas[0]); i++) {
        hears(&s, 1, "WAIT 1 100 / ROLE / GET m0");
        snprintf(words, sizeof(words), ":0, [\"master\", :70, %s], \"n0+1\"", replicas[i]);
        says(&s, 1, words);
        is_in(&s, &a, GAVEL__TX_REPLICATING);
    }
    hears(&s, 1, "WAIT 1 100 / ROLE / GET m0");
    says(&s, 1, ":0, [\"master\", :80, [[\"r\", \"1\", \"50\"]]], \"n0+1\"");
    cr_assert_eq(ends(&s, &a, GAVEL_COMMITTED)->n_replicas, 1);
    actor b = {.reads = "a", .plays = "ADD a 1", .request = one_replica};
    commit_next(&s, &b, "OK, QUEUED, QUEUED, [OK, :n0+2]");
    hears(&s, 1, "SET w 1 PX 600000 / ROLE / WAIT 1 100 / ROLE / GET m0");
    says(&s, 1, "OK, nil, :1, nil, \"n0+2\"");
    ends(&s, &b, GAVEL_COMMITTED);
    commit_next(&s, &b, "OK, QUEUED, QUEUED, [OK, :n0+3]");
    hears(&s, 1, "SET w 1 PX 600000 / WAIT 1 100 / GET m0");
    says(&s, 1, "OK, :1, \"n0+3\"");
    ends(&s, &b, GAVEL_COMMITTED);
    stage_close(&s);
}

/* WAIT is all that there is then. */
Test(core_durability, who_may_not_ask_for_offsets_does_without)
{
    stage s;
    stage_open(&s, &with_replicas);
    actor a = {.reads = "a", .plays = "ADD a 1", .request = one_replica};
    commit_first(&s, &a);
    link_up(&s, 1);
    hears(&s, 1, "SET w 1 PX 600000 / WAIT 1 100 / GET m0");
    says(&s, 1, "OK, :0, \"n0+1\"");
    hears(&s, 1, "SET w 1 PX 600000 / ROLE / WAIT 1 100 / ROLE / GET m0");
    says(&s, 1, "OK, -NOPERM no, :0, -NOPERM no, \"n0+1\"");
    hears(&s, 1, "WAIT 1 100 / ROLE / GET m0");
    says(&s, 1, ":1, -NOPERM no, \"n0+1\"");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_durability, the_deadline_bounds_the_time_and_durable_ms_sets_it)
{
    stage s;
    stage_open(&s, &with_replicas);
    actor a = {.reads = "a",
        .plays = "ADD a 1",
        .request = {.min_replicas = 1, .durable_ms = 7000, .deadline_ms = 3000}};
    commit_first(&s, &a);
    advance(&s, 2999999);
    is_in(&s, &a, GAVEL__TX_REPLICATING);
    advance(&s, 1);
    ends_saying(&s, &a, GAVEL_COMMITTED_NOT_DURABLE, "the deadline has passed");
    stage_close(&s);
}

Test(core_durability, whoever_comes_meanwhile_is_asked_for_next)
{
    stage s;
    stage_open(&s, &with_replicas);
    actor a = {.reads = "a", .plays = "ADD a 1", .request = one_replica};
    actor b[2] = {{.reads = "b", .plays = "ADD b 1", .request = one_replica},
        {.reads = "c", .plays = "ADD c 1", .request = one_replica}};
    commit_first(&s, &a);
    link_up(&s, 1);
    hears(&s, 1, "SET w 1 PX 600000 / WAIT 1 100 / GET m0");
    for (size_t i = 0; i < 2; i++) {
        commit_next(&s, &b[i],
            i == 0 ? "OK, QUEUED, QUEUED, [OK, :n0+2]" : "OK, QUEUED, QUEUED, [OK, :n0+3]");
        is_in(&s, &b[i], GAVEL__TX_REPLICATING);
    }
    hears_nothing(&s, 1);
    says(&s, 1, "OK, :1, \"n0+3\"");
    ends(&s, &a, GAVEL_COMMITTED);
    is_in(&s, &b[0], GAVEL__TX_REPLICATING);
    hears(&s, 1, "SET w 1 PX 600000 / WAIT 1 100 / GET m0");
    says(&s, 1, "OK, :1, \"n0+3\"");
    ends(&s, &b[0], GAVEL_COMMITTED);
    ends(&s, &b[1], GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_durability, a_replica_that_is_down_delays_nobody_who_can_do_without_it)
{
    stage s;
    stage_open(&s, &with_replicas);
    actor a = {.reads = "a", .plays = "ADD a 1", .request = {.min_replicas = 2}};
    actor b = {.reads = "b", .plays = "ADD b 1", .request = one_replica};
    commit_first(&s, &a);
    link_up(&s, 1);
    hears(&s, 1, "SET w 1 PX 600000 / WAIT 2 100 / GET m0");
    commit_next(&s, &b, "OK, QUEUED, QUEUED, [OK, :n0+2]");
    link_up(&s, 2);
    hears(&s, 2, "SET w 1 PX 600000 / WAIT 1 100 / GET m0");
    says(&s, 2, "OK, :1, \"n0+2\"");
    ends(&s, &b, GAVEL_COMMITTED);
    is_in(&s, &a, GAVEL__TX_REPLICATING);
    says(&s, 1, "OK, :1, \"n0+2\"");
    cancel(&s, &a);
    ends_saying(
        &s, &a, GAVEL_COMMITTED_NOT_DURABLE, "cancelled, and 1 of 2 replicas of the stage have it");
    cr_assert_eq(a.outcome.n_replicas, 1);
    stage_close(&s);
}

Test(core_durability, all_are_the_most_that_were_ever_seen)
{
    stage s;
    stage_open(&s, &with_replicas);
    actor a = {.reads = "a", .plays = "ADD a 1", .request = all_replicas};
    actor b = {.reads = "b", .plays = "ADD b 1", .request = all_replicas};
    commit_first(&s, &a);
    link_up(&s, 1);
    hears(&s, 1, "SET w 1 PX 600000 / WAIT 1 100 / ROLE / GET m0");
    says(&s, 1, "OK, :1, [\"master\", :9, [[\"r1\"], [\"r2\"]]], \"n0+1\"");
    hears(&s, 1, "SET w 1 PX 600000 / ROLE / WAIT 2 100 / ROLE / GET m0");
    says(&s, 1, "OK, [\"master\", :9, []], :2, [\"master\", :9, [[\"r1\"], [\"r2\"]]], \"n0+1\"");
    cr_assert_eq(ends(&s, &a, GAVEL_COMMITTED)->n_replicas, 2);
    commit_next(&s, &b, "OK, QUEUED, QUEUED, [OK, :n0+2]");
    hears(&s, 1, "SET w 1 PX 600000 / ROLE / WAIT 2 100 / ROLE / GET m0");
    says(&s, 1, "OK, nil, :1, [\"master\", :9, [[\"r1\"]]], \"n0+2\""); /* one is gone */
    is_in(&s, &b, GAVEL__TX_REPLICATING);
    stage_close(&s);
    cr_assert_eq(b.outcome.status, GAVEL_COMMITTED_NOT_DURABLE);
}

/* Sentinels know of it, and may put it in the primary's place. */
Test(core_durability, one_that_is_not_connected_is_one_of_all)
{
    stage s;
    stage_open(&s, &with_replicas);
    actor a = {.reads = "a", .plays = "ADD a 1", .request = all_replicas};
    gavel__engine_know_replicas(&s.engine, 2);
    commit_first(&s, &a);
    link_up(&s, 1);
    hears(&s, 1, "SET w 1 PX 600000 / WAIT 2 100 / ROLE / GET m0");
    says(&s, 1, "OK, :1, [\"master\", :9, [[\"r1\"]]], \"n0+1\"");
    is_in(&s, &a, GAVEL__TX_REPLICATING);
    gavel__engine_know_replicas(&s.engine, 1); /* it was taken away for good */
    (void)stage_listen(&s, 1);
    says(&s, 1, "OK, nil, :1, [\"master\", :9, [[\"r1\"]]], \"n0+1\"");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

/* ---- Disks --------------------------------------------------------------------------------- */

/* A link to a server that can be believed about its disk. */
static void sound_link_up(stage *s, uint32_t place)
{
    link_up(s, place);
    lane_of(s, place)->can_tell_fsync = true;
}

static void commit_to_disk(stage *s, actor *a)
{
    enter(s, a);
    sound_link_up(s, 0);
    hears(s, 0, "SET m0 n0 PX 900000 / WATCH a m0 / GET a");
    says(s, 0, "OK, OK, \"1\"");
    hears(s, 0, "MULTI / SET a 2 / INCR m0 / EXEC");
    says(s, 0, "OK, QUEUED, QUEUED, [OK, :n0+1]");
    is_in(s, a, GAVEL__TX_REPLICATING);
}

Test(core_durability, the_disk_is_asked_for_as_well)
{
    stage s;
    stage_open(&s, &with_replicas);
    actor a = {
        .reads = "a", .plays = "ADD a 1", .request = {.needs_fsync = true, .min_replicas = 1}};
    commit_to_disk(&s, &a);
    sound_link_up(&s, 1);
    hears(&s, 1, "SET w 1 PX 600000 / WAITAOF 1 1 100 / GET m0");
    says(&s, 1, "OK, [:1, :0], \"n0+1\"");
    hears(&s, 1, "WAITAOF 1 1 100 / GET m0");
    says(&s, 1, "[:0, :1], \"n0+1\"");
    hears(&s, 1, "WAITAOF 1 1 100 / GET m0");
    says(&s, 1, "[:1, :1], \"n0+1\"");
    cr_assert_eq(ends(&s, &a, GAVEL_COMMITTED)->n_replicas, 1);
    stage_close(&s);
}

Test(core_durability, a_server_without_a_file_is_quoted)
{
    stage s;
    stage_open(&s, &with_replicas);
    actor a = {.reads = "a", .plays = "ADD a 1", .request = {.needs_fsync = true}};
    commit_to_disk(&s, &a);
    sound_link_up(&s, 1);
    hears(&s, 1, "SET w 1 PX 600000 / WAITAOF 1 0 100 / GET m0");
    says(&s, 1, "OK, -ERR WAITAOF cannot be used when appendonly is disabled, \"n0+1\"");
    ends_saying(&s, &a, GAVEL_COMMITTED_NOT_DURABLE,
        "it is not known to be on the disk of the stage: WAITAOF: ERR WAITAOF cannot be used");
    stage_close(&s);
}

Test(core_durability, a_server_that_answers_too_early_is_not_asked)
{
    stage s;
    stage_open(&s, &with_replicas);
    s.engine.limits.needs_fsync = true; /* the client's default */
    actor a = {.reads = "a", .plays = "ADD a 1"};
    actor b = {.reads = "a", .plays = "GET a", .request = {.is_read_only = true}};
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a m0 / GET a");
    says(&s, 0, "OK, OK, \"1\"");
    ends_saying(&s, &a, GAVEL_REJECTED, "cannot be believed about its disk");
    cr_assert_eq(a.n_runs, 0);
    hears(&s, 0, "GET a");
    says(&s, 0, "\"1\"");
    ends(&s, &b, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_durability, nor_believed_when_it_has_taken_over)
{
    stage s;
    stage_open(&s, &with_replicas);
    actor a = {.reads = "a", .plays = "ADD a 1", .request = {.needs_fsync = true}};
    commit_to_disk(&s, &a);
    link_up(&s, 1);
    hears(&s, 1, "SET w 1 PX 600000 / WAITAOF 1 0 100 / GET m0");
    says(&s, 1, "OK, [:1, :0], \"n0+1\"");
    is_in(&s, &a, GAVEL__TX_REPLICATING);
    advance(&s, 1000000);
    ends_saying(&s, &a, GAVEL_COMMITTED_NOT_DURABLE, "cannot be believed about its disk");
    stage_close(&s);
}

/* ---- What the marker says ------------------------------------------------------------------ */

Test(core_durability, a_commit_that_was_undone_before_it_was_told_runs_again)
{
    stage s;
    stage_open(&s, &with_replicas);
    actor a = {
        .reads = "a", .plays = "ADD a 1", .request = {.min_replicas = 1, .keep_replies = true}};
    commit_first(&s, &a);
    gavel__engine_leave(&s.engine, "another server is the primary", s.now_us);
    is_closed(&s, 0, "another server");
    link_up(&s, 1);
    hears(&s, 1, "SET w 1 PX 600000 / WAIT 1 100 / GET m0");
    says(&s, 1, "OK, :1, \"n0\""); /* a replica has SET, and nobody has the commit */
    is_in(&s, &a, GAVEL__TX_PAUSED);
    cr_assert_eq(s.engine.nodes.only->durability->n_members, 0);
    sleeps(&s);
    link_up(&s, 0);
    hears(&s, 0, "SET m2 n2 PX 900000 / WATCH a m2 / GET a");
    says(&s, 0, "OK, OK, \"1\"");
    hears(&s, 0, "MULTI / SET a 2 / INCR m2 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n2+1]");
    hears(&s, 1, "SET w 1 PX 600000 / WAIT 1 100 / GET m2");
    says(&s, 1, "OK, :1, \"n2+1\"");
    const gavel_outcome *outcome = ends(&s, &a, GAVEL_COMMITTED);
    cr_assert_eq(outcome->n_attempts, 2);
    cr_assert_eq(outcome->n_replies, 1);
    stage_close(&s);
}

Test(core_durability, a_commit_that_the_successor_has_is_waited_for_there)
{
    stage s;
    stage_open(&s, &with_replicas);
    actor a = {.reads = "a", .plays = "ADD a 1", .request = one_replica};
    commit_first(&s, &a);
    link_up(&s, 1);
    hears(&s, 1, "SET w 1 PX 600000 / WAIT 1 100 / GET m0");
    says(&s, 1, "-UNBLOCKED force unblock from blocking operation");
    link_down(&s, 1);
    is_in(&s, &a, GAVEL__TX_REPLICATING);
    link_up(&s, 1);
    hears(&s, 1, "SET w 1 PX 600000 / WAIT 1 100 / GET m0");
    says(&s, 1, "OK, :1, \"n0+1\"");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_durability, nobody_can_tell_once_the_server_was_left_and_the_marker_was_not_seen)
{
    stage s;
    stage_open(&s, &with_replicas);
    actor a = {.reads = "a", .plays = "ADD a 1", .request = one_replica};
    actor b = {.reads = "a", .plays = "ADD a 1", .request = one_replica};
    commit_first(&s, &a);
    commit_next(&s, &b, "OK, QUEUED, QUEUED, [OK, :n0+2]");
    is_in(&s, &b, GAVEL__TX_REPLICATING);
    gavel__engine_leave(&s.engine, "another server is the primary", s.now_us);
    cancel(&s, &a);
    ends_saying(&s, &a, GAVEL_UNKNOWN, "the server was lost");
    link_up(&s, 1);
    hears(&s, 1, "SET w 1 PX 600000 / WAIT 1 100 / GET m0");
    says(&s, 1, "OK, :0, \"n0+2\"");
    cancel(&s, &b);
    ends(&s, &b, GAVEL_COMMITTED_NOT_DURABLE);
    stage_close(&s);
}

Test(core_durability, a_marker_that_is_gone_cannot_tell_and_is_asked_for_again)
{
    stage s;
    stage_open(&s, &with_replicas);
    actor a = {.reads = "a", .plays = "ADD a 1", .request = one_replica};
    commit_first(&s, &a);
    link_up(&s, 1);
    hears(&s, 1, "SET w 1 PX 600000 / WAIT 1 100 / GET m0");
    says(&s, 1, "OK, :1, nil");
    hears_nothing(&s, 1);
    sleeps(&s);
    hears(&s, 1, "SET w 1 PX 600000 / ROLE / WAIT 1 100 / ROLE / GET m0");
    says(&s, 1, "OK, nil, :1, nil, \"3\""); /* counted up from nothing */
    sleeps(&s);
    hears(&s, 1, "WAIT 1 100 / ROLE / GET m0");
    says(&s, 1, ":1, nil, \"n0+1\"");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

/* The server has lost the first two while it was a replica for a moment, and the link has survived
 * that: the number of the one that comes then is that of another one's. */
Test(core_durability, a_marker_that_went_back_under_a_link_says_whose_commits_are_undone)
{
    stage s;
    stage_open(&s, &with_replicas);
    actor a = {.reads = "a", .plays = "ADD a 1", .request = one_replica};
    actor b = {.reads = "a", .plays = "ADD a 1", .request = one_replica};
    actor c = {.reads = "a", .plays = "ADD a 1", .request = one_replica};
    commit_first(&s, &a);
    commit_next(&s, &b, "OK, QUEUED, QUEUED, [OK, :n0+2]");
    commit_next(&s, &c, "OK, QUEUED, QUEUED, [OK, :n0+1]");
    is_in(&s, &a, GAVEL__TX_PAUSED);
    is_in(&s, &b, GAVEL__TX_PAUSED);
    is_in(&s, &c, GAVEL__TX_REPLICATING);
    link_up(&s, 1);
    hears(&s, 1, "SET w 1 PX 600000 / WAIT 1 100 / GET m0");
    says(&s, 1, "OK, :1, \"n0+1\""); /* before it was planted anew */
    cr_assert_eq(ends(&s, &c, GAVEL_COMMITTED)->n_attempts, 1);
    stage_close(&s);
}

Test(core_durability, a_doubt_that_was_made_waits_as_well)
{
    stage s;
    stage_open(&s, &with_replicas);
    actor a = {.reads = "a", .plays = "ADD a 1", .request = one_replica};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a m0 / GET a");
    says(&s, 0, "OK, OK, \"1\"");
    hears(&s, 0, "MULTI / SET a 2 / INCR m0 / EXEC");
    link_down(&s, 0);
    link_up(&s, 0);
    hears(&s, 0, "PEXPIRE m0 900000 / GET m0");
    says(&s, 0, ":1, \"n0+1\"");
    is_in(&s, &a, GAVEL__TX_REPLICATING);
    link_up(&s, 1);
    hears(&s, 1, "SET w 1 PX 600000 / WAIT 1 100 / GET m0");
    says(&s, 1, "OK, :1, \"n0+1\"");
    cr_assert(ends(&s, &a, GAVEL_COMMITTED)->is_from_marker);
    stage_close(&s);
}

Test(core_durability, a_commit_is_entered_in_the_ledger_when_it_is_told)
{
    stage s;
    stage_config config = with_replicas;
    config.keeps_ledger = true;
    stage_open(&s, &config);
    actor a = {.reads = "a", .plays = "ADD a 1", .request = one_replica};
    actor b = {.reads = "b", .plays = "ADD b 1"};
    commit_first(&s, &a);
    commit_next(&s, &b, "OK, QUEUED, QUEUED, [OK, :n0+2]");
    ends(&s, &b, GAVEL_COMMITTED);
    link_up(&s, 1);
    hears(&s, 1, "SET w 1 PX 600000 / WAIT 1 100 / GET m0");
    says(&s, 1, "OK, :1, \"n0+2\"");
    ends(&s, &a, GAVEL_COMMITTED); /* behind b, and of the round before */
    link_down(&s, 0);
    link_down(&s, 1);
    link_up(&s, 0);
    hears(&s, 0, "GET m0");
    says(&s, 0, "\"n0+1\"");
    cr_assert_eq(s.n_lost, 1);
    cr_assert_eq(s.lost[0], b.ticket);
    stage_close(&s);
}

Test(core_durability, what_is_not_told_yet_is_not_told_as_lost)
{
    stage s;
    stage_config config = with_replicas;
    config.keeps_ledger = true;
    stage_open(&s, &config);
    actor a = {.reads = "a", .plays = "ADD a 1", .request = one_replica};
    commit_first(&s, &a);
    link_down(&s, 0); /* a plain server: it may come back with less */
    cancel(&s, &a);
    ends(&s, &a, GAVEL_UNKNOWN);
    cr_assert_eq(s.n_lost, 0);
    stage_close(&s);
}

/* ---- What goes wrong ----------------------------------------------------------------------- */

Test(core_durability, what_the_server_refuses_for_good_is_told_in_its_words)
{
    stage s;
    stage_open(&s, &with_replicas);
    actor a = {.reads = "a", .plays = "ADD a 1", .request = one_replica};
    commit_first(&s, &a);
    link_up(&s, 1);
    hears(&s, 1, "SET w 1 PX 600000 / WAIT 1 100 / GET m0");
    says(&s, 1, "OK, -NOPERM this user has no permissions to run the 'wait' command, \"n0+1\"");
    ends_saying(&s, &a, GAVEL_COMMITTED_NOT_DURABLE, "WAIT: NOPERM this user");
    link_down(&s, 1);
    actor b = {.reads = "a", .plays = "ADD a 1", .request = one_replica};
    commit_next(&s, &b, "OK, QUEUED, QUEUED, [OK, :n0+2]");
    advance(&s, 1000000); /* nobody was asked for this one */
    ends(&s, &b, GAVEL_COMMITTED_NOT_DURABLE);
    cr_assert_str_eq(
        b.outcome.message, "durable_ms have passed, and 0 of 1 replicas of the stage have it");
    stage_close(&s);
}

Test(core_durability, without_the_write_that_it_is_about_a_count_says_nothing)
{
    stage s;
    stage_open(&s, &with_replicas);
    actor a = {.reads = "a", .plays = "ADD a 1", .request = one_replica};
    commit_first(&s, &a);
    link_up(&s, 1);
    hears(&s, 1, "SET w 1 PX 600000 / WAIT 1 100 / GET m0");
    says(&s, 1, "-NOREPLICAS Not enough good replicas to write., :1, \"n0+1\"");
    is_in(&s, &a, GAVEL__TX_REPLICATING);
    sleeps(&s);
    hears(&s, 1, "SET w 1 PX 600000 / WAIT 1 100 / GET m0");
    says(&s, 1, "OK, :1, \"n0+1\"");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_durability, single_errors_are_told_with_what_replicas_have)
{
    stage s;
    stage_open(&s, &with_replicas);
    actor a[2] = {{.keys = "a", .plays = "WRITE LPUSH a 1; SET b 1", .request = one_replica},
        {.keys = "a", .plays = "WRITE LPUSH a 1; SET b 1", .request = one_replica}};
    for (size_t i = 0; i < 2; i++) {
        enter(&s, &a[i]);
        if (i == 0)
            link_up(&s, 0);
        advance(&s, 0);
        (void)stage_listen(&s, 0);
        says(&s, 0, i == 0 ? "OK, OK" : "OK");
        advance(&s, 0);
        (void)stage_listen(&s, 0);
        says(&s, 0,
            i == 0 ? "OK, QUEUED, QUEUED, QUEUED, [-WRONGTYPE of a, OK, :n0+1]"
                   : "OK, QUEUED, QUEUED, QUEUED, [-WRONGTYPE of a, OK, :n0+2]");
        is_in(&s, &a[i], GAVEL__TX_REPLICATING);
    }
    link_up(&s, 1);
    hears(&s, 1, "SET w 1 PX 600000 / WAIT 1 100 / GET m0");
    cancel(&s, &a[0]);
    ends_saying(&s, &a[0], GAVEL_COMMITTED_NOT_DURABLE, "write 1 of 2 failed: WRONGTYPE of a");
    says(&s, 1, "OK, :1, \"n0+2\"");
    ends_saying(&s, &a[1], GAVEL_COMMITTED_WITH_ERRORS, "write 1 of 2 failed: WRONGTYPE of a");
    cr_assert_eq(a[1].outcome.n_replicas, 1);
    stage_close(&s);
}

Test(core_durability, requests_that_make_no_sense_are_refused)
{
    stage s;
    stage_open(&s, &with_replicas);
    actor a = {.plays = "SET a 1", .request = {.min_replicas = GAVEL_MAX_REPLICAS + 1}};
    enter(&s, &a);
    ends_saying(&s, &a, GAVEL_INVALID, "min_replicas is more than 16");
    stage_close(&s);
    stage_open(&s, &(stage_config){.n_replica_lanes = 1});
    actor b = {.plays = "SET a 1", .request = one_replica};
    enter(&s, &b);
    ends_saying(&s, &b, GAVEL_INVALID, "min_replicas needs markers");
    stage_close(&s);
}

Test(core_durability, a_duplicate_commits_the_record_anew_and_waits_for_that)
{
    stage s;
    stage_open(&s, &with_replicas);
    actor a = {.reads = "a", .id = "x1", .plays = "ADD a 1", .request = one_replica};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a g:id:{x1} m0 / GET a / GET g:id:{x1}");
    says(&s, 0, "OK, OK, \"2\", \"g1\x01zpaid\"");
    advance(&s, 0);
    hears(&s, 0, "MULTI / SET g:id:{x1} g1\\x01zpaid PX 86400000 / INCR m0 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n0+1]");
    link_up(&s, 1);
    hears(&s, 1, "SET w 1 PX 600000 / WAIT 1 100 / GET m0");
    says(&s, 1, "OK, :1, \"n0+1\"");
    const gavel_outcome *outcome = ends(&s, &a, GAVEL_COMMITTED);
    cr_assert(outcome->is_duplicate);
    cr_assert_eq(outcome->result_size, 4);
    cr_assert_eq(a.n_runs, 0);
    stage_close(&s);
}

Test(core_durability, without_memory_to_ask_it_is_told_at_once)
{
    for (size_t n_left = 0; n_left < 2; n_left++) { /* for the wish, for the connection */
        stage s;
        stage_open(&s, &with_replicas);
        actor a = {.reads = "a", .plays = "ADD a 1", .request = one_replica};
        enter(&s, &a);
        link_up(&s, 0);
        hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a m0 / GET a");
        says(&s, 0, "OK, OK, \"1\"");
        hears(&s, 0, "MULTI / SET a 2 / INCR m0 / EXEC");
        s.memory.n_left = n_left;
        says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n0+1]");
        s.memory.n_left = MEMORY_ENOUGH;
        ends_saying(&s, &a, GAVEL_COMMITTED_NOT_DURABLE, "no memory to ask for replicas");
        stage_close(&s);
    }
}
