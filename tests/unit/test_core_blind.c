/*
 * Blind writes: what is neither read nor declared is not watched, stands in no line, and is seen by
 * others in its round; and a body that reads nothing costs one round trip.
 */
#include "stage.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static const stage_config plain = {.n_lanes = 1, .has_no_prefetch = true};
static const stage_config wide = {.n_lanes = 2, .has_no_prefetch = true};
static const stage_config marked = {.n_lanes = 1, .has_markers = true, .has_no_prefetch = true};
static const stage_config doubtful = {.n_lanes = 2, .has_markers = true, .has_no_prefetch = true};

/* ---- In the rounds of others --------------------------------------------------------------- */

Test(core_blind, what_is_only_written_is_not_watched)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.reads = "a", .plays = "ADD a 1; WRITE RPUSH log x; SET last a; HSET h f 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, \"1\"");
    hears(&s, 0, "MULTI / SET a 2 / RPUSH log x / SET last a / HSET h f 1 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, QUEUED, QUEUED, [OK, :1, OK, :1]");
    ends(&s, &a, GAVEL_COMMITTED);
    cr_assert_eq(a.outcome.n_round_trips, 2);
    stage_close(&s);
}

/* Two rounds at once, on two lanes: neither waits for the other. */
Test(core_blind, one_key_is_written_by_several_rounds_at_once)
{
    stage s;
    stage_open(&s, &wide);
    actor a = {.reads = "a", .request = {.is_solo = true}, .plays = "ADD a 1; WRITE RPUSH log x"};
    actor b = {.reads = "b", .request = {.is_solo = true}, .plays = "ADD b 1; WRITE RPUSH log y"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    enter(&s, &b);
    link_up(&s, 1);
    hears(&s, 1, "WATCH b / GET b");
    says(&s, 0, "OK, nil");
    says(&s, 1, "OK, nil");
    hears(&s, 0, "MULTI / SET a 1 / RPUSH log x / EXEC");
    hears(&s, 1, "MULTI / SET b 1 / RPUSH log y / EXEC");
    says(&s, 1, "OK, QUEUED, QUEUED, [OK, :1]");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :2]");
    ends(&s, &a, GAVEL_COMMITTED);
    ends(&s, &b, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_blind, an_own_write_is_read_without_asking_the_server)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.plays = "SET a 1; GET a; DEL b; GET b; HSET h f 2; HGET h f"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "MULTI / SET a 1 / DEL b / HSET h f 2 / EXEC");
    cr_assert_str_eq(a.seen, "a=1 b=nil f=2 ");
    says(&s, 0, "OK, QUEUED, QUEUED, QUEUED, [OK, :0, :1]");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

/* The one has claimed the key, the other only writes it: it is the same key. */
Test(core_blind, a_member_that_has_the_key_sees_what_was_written_blindly)
{
    stage s;
    stage_open(&s, &plain);
    actor blind = {.keys = "x", .plays = "SET a 5"};
    actor reader = {.reads = "a", .plays = "ADD a 1"};
    enter(&s, &blind);
    enter(&s, &reader);
    link_up(&s, 0);
    hears(&s, 0, "WATCH x a / GET a");
    says(&s, 0, "OK, \"1\"");
    hears(&s, 0, "MULTI / SET a 6 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &blind, GAVEL_COMMITTED);
    ends(&s, &reader, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_blind, a_member_without_the_key_sees_it_too_and_needs_the_proof)
{
    stage s;
    stage_open(&s, &plain);
    actor blind = {.plays = "SET a 5"};
    actor reader = {.plays = "GET a; ABORT 7"};
    enter(&s, &blind);
    enter(&s, &reader);
    link_up(&s, 0);
    hears(&s, 0, "MULTI / SET a 5 / EXEC");
    cr_assert_str_eq(reader.seen, "a=5 ");
    cr_assert_not(reader.is_told);
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &blind, GAVEL_COMMITTED);
    ends(&s, &reader, GAVEL_ABORTED);
    stage_close(&s);
}

/* It asks for the key at once, so that it has it next time. */
Test(core_blind, who_reads_what_is_not_modelled_waits_one_round_for_it)
{
    stage s;
    stage_open(&s, &plain);
    actor writer = {.plays = "WRITE RPUSH log x"};
    actor reader = {.plays = "QUERY LLEN log"};
    enter(&s, &writer);
    enter(&s, &reader);
    link_up(&s, 0);
    hears(&s, 0, "MULTI / RPUSH log x / EXEC / WATCH log / LLEN log");
    says(&s, 0, "OK, QUEUED, [:1], OK, :1");
    ends(&s, &writer, GAVEL_COMMITTED);
    ends(&s, &reader, GAVEL_COMMITTED);
    cr_assert_str_eq(reader.seen, "log=1 ");
    cr_assert_eq(reader.outcome.n_attempts, 1);
    stage_close(&s);
}

/* What the aborted one wrote is forgotten, and so is the key. */
Test(core_blind, an_aborted_blind_write_leaves_no_trace)
{
    stage s;
    stage_open(&s, &plain);
    actor aborted = {.plays = "SET a 5; ABORT 1"};
    actor writer = {.plays = "SET b 1"};
    actor reader = {.plays = "GET a; SET c 1"};
    enter(&s, &aborted);
    enter(&s, &writer);
    enter(&s, &reader);
    link_up(&s, 0);
    ends(&s, &aborted, GAVEL_ABORTED);
    hears(&s, 0, "MULTI / SET b 1 / EXEC / WATCH a / GET a");
    cr_assert_str_eq(reader.seen, "a=? ");
    says(&s, 0, "OK, QUEUED, [OK], OK, nil");
    hears(&s, 0, "MULTI / SET c 1 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &writer, GAVEL_COMMITTED);
    ends(&s, &reader, GAVEL_COMMITTED);
    stage_close(&s);
}

/* ---- Without keys -------------------------------------------------------------------------- */

Test(core_blind, nothing_to_wait_for_without_a_marker)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.plays = "SET a 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "MULTI / SET a 1 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &a, GAVEL_COMMITTED);
    cr_assert_eq(a.outcome.n_round_trips, 1);
    stage_close(&s);
}

/* It would get nil for what others write to a key that is no concern of its. */
Test(core_blind, what_a_prefetch_in_vain_has_left_watched_does_not_count)
{
    stage s;
    stage_open(&s, &(stage_config){.n_lanes = 1});
    actor a = {.reads = "a", .plays = "ADD a 1"};
    actor b = {.plays = "SET b 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, nil");
    hears(&s, 0, "MULTI / SET a 1 / EXEC / WATCH a / GET a");
    says(&s, 0, "OK, QUEUED, [OK], OK, \"1\"");
    ends(&s, &a, GAVEL_COMMITTED);
    enter(&s, &b);
    advance(&s, 0);
    hears(&s, 0, "UNWATCH / MULTI / SET b 1 / EXEC");
    says(&s, 0, "OK, OK, QUEUED, [OK]");
    ends(&s, &b, GAVEL_COMMITTED);
    cr_assert_eq(b.outcome.n_round_trips, 1);
    stage_close(&s);
}

static const actor blind_writer = {.plays = "SET a 2"};

#define COMMITS_A "MULTI / SET a 2 / INCR m0 / EXEC / WATCH m0"

/* Opens a stage and plays its link's first round, which plants the marker. The next one finds it
 * watched. */
static void open_planted(stage *s, const stage_config *config)
{
    actor first = blind_writer;
    stage_open(s, config);
    enter(s, &first);
    link_up(s, 0);
    hears(s, 0, "SET m0 n0 PX 900000 / WATCH m0");
    says(s, 0, "OK, OK");
    hears(s, 0, COMMITS_A);
    says(s, 0, "OK, QUEUED, QUEUED, [OK, :n0+1], OK");
    ends(s, &first, GAVEL_COMMITTED);
    cr_assert_eq(first.outcome.n_round_trips, 2);
    s->n_actors = 0;
}

/* The blind writer comes, and its EXEC leaves at once. */
static void enter_and_commit(stage *s, actor *a, int line)
{
    *a = blind_writer;
    enter(s, a);
    advance(s, 0);
    stage_hears(s, 0, COMMITS_A, line);
}

#define commits_at_once(s, a) enter_and_commit(s, a, __LINE__)

Test(core_blind, a_body_that_reads_nothing_costs_one_round_trip)
{
    stage s;
    open_planted(&s, &marked);
    for (int i = 2; i < 5; i++) {
        char exec[64];
        actor a;
        commits_at_once(&s, &a);
        snprintf(exec, sizeof(exec), "OK, QUEUED, QUEUED, [OK, :n0+%d], OK", i);
        says(&s, 0, exec);
        ends(&s, &a, GAVEL_COMMITTED);
        cr_assert_eq(a.outcome.n_round_trips, 1);
        cr_assert_eq(a.outcome.n_attempts, 1);
        s.n_actors = 0;
    }
    stage_close(&s);
}

/* An EXEC that leaves before the server is known to watch the marker could come late with its
 * WATCH, behind whoever has touched the marker: it would then be made after it was said that it
 * never is. */
Test(core_blind, no_exec_leaves_before_its_marker_is_watched)
{
    stage s;
    open_planted(&s, &marked);
    actor a;
    actor b = blind_writer;
    commits_at_once(&s, &a);
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n0+2]");
    ends(&s, &a, GAVEL_COMMITTED);
    enter(&s, &b);
    advance(&s, 0);
    hears_nothing(&s, 0);
    says(&s, 0, "OK");
    hears(&s, 0, COMMITS_A);
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n0+3], OK");
    ends(&s, &b, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_blind, where_the_watch_is_refused_the_next_round_asks_by_itself)
{
    stage s;
    open_planted(&s, &marked);
    actor a;
    actor b = blind_writer;
    commits_at_once(&s, &a);
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n0+2], -NOPERM no WATCH");
    ends(&s, &a, GAVEL_COMMITTED);
    enter(&s, &b);
    advance(&s, 0);
    hears(&s, 0, "UNWATCH / WATCH m0");
    says(&s, 0, "OK, -NOPERM no WATCH");
    ends_saying(&s, &b, GAVEL_REJECTED, "WATCH was refused");
    stage_close(&s);
}

/* What it stands for is of no use to who reads. */
Test(core_blind, who_reads_ends_the_watch_that_stands)
{
    stage s;
    open_planted(&s, &marked);
    actor a = {.reads = "a", .plays = "ADD a 1"};
    enter(&s, &a);
    advance(&s, 0);
    hears(&s, 0, "UNWATCH / WATCH a m0 / GET a");
    says(&s, 0, "OK, OK, \"1\"");
    hears(&s, 0, "MULTI / SET a 2 / INCR m0 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n0+2]");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

/* By FLUSHALL, say. The marker is planted anew, and the body runs again. */
Test(core_blind, a_touched_marker_costs_another_run)
{
    stage s;
    open_planted(&s, &marked);
    actor a;
    commits_at_once(&s, &a);
    says(&s, 0, "OK, QUEUED, QUEUED, nil, OK");
    hears(&s, 0, "SET m0 n0 PX 900000 / UNWATCH / WATCH m0");
    says(&s, 0, "OK, OK, OK");
    hears(&s, 0, COMMITS_A);
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n0+1], OK");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

/* What is planted to save it would spoil the watch that stands. */
Test(core_blind, a_marker_that_is_saved_costs_nobody_an_attempt)
{
    stage s;
    open_planted(&s, &marked);
    actor a;
    actor b = blind_writer;
    commits_at_once(&s, &a);
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :1], OK");
    ends(&s, &a, GAVEL_COMMITTED);
    hears(&s, 0, "SET m0 n0 PX 900000");
    says(&s, 0, "OK");
    enter(&s, &b);
    advance(&s, 0);
    hears(&s, 0, "UNWATCH / WATCH m0");
    says(&s, 0, "OK, OK");
    hears(&s, 0, COMMITS_A);
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n0+1], OK");
    ends(&s, &b, GAVEL_COMMITTED);
    cr_assert_eq(b.outcome.n_conflicts, 0);
    stage_close(&s);
}

Test(core_blind, a_lost_reply_is_resolved_by_the_marker)
{
    static const char *const numbers[] = {":1, \"n0+2\"", ":1, \"n0+1\""};
    for (size_t i = 0; i < 2; i++) {
        stage s;
        open_planted(&s, &doubtful);
        actor a;
        commits_at_once(&s, &a);
        link_down(&s, 0);
        link_up(&s, 0);
        hears(&s, 0, "PEXPIRE m0 900000 / GET m0");
        says(&s, 0, numbers[i]);
        if (i == 0)
            ends(&s, &a, GAVEL_COMMITTED);
        else
            is_in(&s, &a, GAVEL__TX_PAUSED);
        stage_close(&s);
    }
}

/* Nothing had left: then it cannot have happened. */
Test(core_blind, a_deadline_before_it_has_left_takes_it_back)
{
    stage s;
    open_planted(&s, &marked);
    actor a = blind_writer;
    a.request.deadline_ms = 1;
    enter(&s, &a);
    advance(&s, 0);
    composes(&s, 0, COMMITS_A);
    advance(&s, 2000);
    ends(&s, &a, GAVEL_DEADLINE);
    is_closed(&s, 0, "its EXEC was taken back");
    stage_close(&s);
}

/* That it reads turns out when it runs: it has cost nothing but that run. */
Test(core_blind, who_declares_nothing_may_read_all_the_same)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.plays = "ADD a 1; SET b 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, \"1\"");
    hears(&s, 0, "MULTI / MSET a 2 b 1 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &a, GAVEL_COMMITTED);
    cr_assert_eq(a.outcome.n_round_trips, 2);
    cr_assert_eq(a.outcome.n_attempts, 1);
    stage_close(&s);
}

Test(core_blind, a_body_that_does_nothing_needs_no_server)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.plays = "COMMIT"};
    actor b = {.plays = "ABORT 3"};
    actor c = {.plays = "RETRY", .request = {.max_attempts = 1}};
    enter(&s, &a);
    enter(&s, &b);
    enter(&s, &c);
    link_up(&s, 0);
    hears_nothing(&s, 0);
    ends(&s, &a, GAVEL_COMMITTED);
    ends(&s, &b, GAVEL_ABORTED);
    ends_saying(&s, &c, GAVEL_CONFLICT, "the body said RETRY 1 times");
    stage_close(&s);
}

/* They are for a lane of their own, or for this one when it is free: it goes by arrival. */
Test(core_blind, who_has_no_keys_takes_turns_with_those_who_have)
{
    stage s;
    stage_open(&s, &plain);
    actor first = {.reads = "a", .plays = "ADD a 1"};
    actor blind = {.plays = "SET b 1"};
    actor later = {.reads = "a", .plays = "ADD a 1"};
    enter(&s, &first);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    enter(&s, &blind);
    enter(&s, &later);
    says(&s, 0, "OK, \"1\"");
    hears(&s, 0, "MULTI / SET a 2 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    hears(&s, 0, "MULTI / SET b 1 / EXEC / WATCH a / GET a");
    says(&s, 0, "OK, QUEUED, [OK], OK, \"2\"");
    ends(&s, &blind, GAVEL_COMMITTED);
    hears(&s, 0, "MULTI / SET a 3 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &later, GAVEL_COMMITTED);
    stage_close(&s);
}

/* ---- Without a key to them ----------------------------------------------------------------- */

Test(core_blind, a_command_without_keys_is_a_write_like_any_other)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.reads = "a", .plays = "ADD a 1; PUBLISH news a", .request = {.keep_replies = true}};
    actor b = {.plays = "PUBLISH news b"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    enter(&s, &b);
    says(&s, 0, "OK, nil");
    hears(&s, 0, "MULTI / SET a 1 / PUBLISH news a / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :3]");
    ends(&s, &a, GAVEL_COMMITTED);
    cr_assert_eq(a.outcome.replies[1].integer, 3);
    hears(&s, 0, "MULTI / PUBLISH news b / EXEC");
    says(&s, 0, "OK, QUEUED, [:3]");
    ends(&s, &b, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_blind, a_command_without_keys_is_no_part_of_a_snapshot)
{
    stage s;
    stage_open(&s, &marked);
    actor a = {.reads = "a", .request = {.is_read_only = true}, .plays = "GET a; PUBLISH news a"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "GET a");
    says(&s, 0, "\"1\"");
    ends_saying(&s, &a, GAVEL_INVALID, "a write in a read-only transaction: \"PUBLISH\"");
    stage_close(&s);
}

/* Nobody watches it, and it is asked for once a round. */
Test(core_blind, the_servers_clock_is_read_like_a_value)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.reads = "a", .plays = "TIME; SET a 1"};
    actor b = {.reads = "b", .plays = "TIME; SET b 1"};
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a b / GET a / GET b");
    says(&s, 0, "OK, nil, nil");
    hears(&s, 0, "UNWATCH / WATCH a b / GET a / TIME / GET b");
    says(&s, 0, "OK, OK, nil, [\"1700000000\", \"42\"], nil");
    cr_assert_str_eq(a.seen, "TIME=1700000000000042 ");
    cr_assert_str_eq(b.seen, "TIME=1700000000000042 ");
    hears(&s, 0, "MULTI / MSET a 1 b 1 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &a, GAVEL_COMMITTED);
    ends(&s, &b, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_blind, a_clock_that_makes_no_sense_is_told)
{
    static const char *const replies[] = {"[\"1\"]", ":1", "[\"1\", \"1000000\"]",
        "[\"-1\", \"0\"]", "[\"9223372036854775807\", \"0\"]", "nil", "[:1, :2]"};
    for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
        stage s;
        stage_open(&s, &plain);
        actor a = {.plays = "TIME; SET a 1"};
        enter(&s, &a);
        link_up(&s, 0);
        hears(&s, 0, "TIME");
        says(&s, 0, replies[i]);
        ends_saying(&s, &a, GAVEL_REJECTED, "the reply to TIME is no time");
        stage_close(&s);
    }
}

/* It is read again for each: who comes next must not get an old one. */
Test(core_blind, a_read_without_keys_is_not_prefetched)
{
    stage s;
    stage_open(&s, &(stage_config){.n_lanes = 1});
    actor a = {.reads = "a", .plays = "TIME; ASK ECHO x; ADD a 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, nil");
    hears(&s, 0, "UNWATCH / WATCH a / GET a / TIME / ECHO x");
    says(&s, 0, "OK, OK, nil, [\"1\", \"2\"], \"x\"");
    hears(&s, 0, "MULTI / SET a 1 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &a, GAVEL_COMMITTED);
    hears_nothing(&s, 0);
    stage_close(&s);
}

/* Not by time going by: the key that has changed is told by its own value. */
Test(core_blind, the_clock_does_not_count_as_what_has_changed)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.plays = "TIME; ADD a 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / TIME / GET a");
    says(&s, 0, "OK, [\"1\", \"2\"], nil");
    hears(&s, 0, "MULTI / SET a 1 / EXEC");
    says(&s, 0, "OK, QUEUED, nil");
    hears(&s, 0, "WATCH a / TIME / GET a");
    says(&s, 0, "OK, [\"3\", \"4\"], \"7\"");
    hears(&s, 0, "MULTI / SET a 8 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_blind, the_clock_is_part_of_a_snapshot)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.reads = "a", .request = {.is_read_only = true}, .plays = "TIME; GET a"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "GET a");
    says(&s, 0, "\"1\"");
    hears(&s, 0, "MULTI / GET a / TIME / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [\"1\", [\"5\", \"6\"]]");
    ends(&s, &a, GAVEL_COMMITTED);
    cr_assert_str_eq(a.seen, "TIME=5000006 a=1 ");
    stage_close(&s);
}
