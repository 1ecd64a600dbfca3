/*
 * Blind writes on a link whose marker is not known to be watched: the bodies run all the same, so
 * that who reads asks at once; what was written is kept until EXEC may leave.
 */
#include "stage.h"

#include <criterion/criterion.h>

static const stage_config marked = {.n_lanes = 1, .has_markers = true, .has_no_prefetch = true};
static const stage_config doubtful = {.n_lanes = 2, .has_markers = true, .has_no_prefetch = true};

/* The bodies of such a round run when it begins. Who reads learns it then, and not behind a WATCH
 * of the marker alone. */
Test(core_kept, who_declares_nothing_and_reads_costs_two_round_trips)
{
    stage s;
    stage_open(&s, &marked);
    actor first = {.plays = "ADD a 1"};
    enter(&s, &first);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a m0 / GET a");
    says(&s, 0, "OK, OK, \"1\"");
    hears(&s, 0, "MULTI / SET a 2 / INCR m0 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n0+1]");
    ends(&s, &first, GAVEL_COMMITTED);
    actor second = {.plays = "ADD a 1"};
    enter(&s, &second);
    advance(&s, 0);
    hears(&s, 0, "WATCH a m0 / GET a");
    says(&s, 0, "OK, \"2\"");
    hears(&s, 0, "MULTI / SET a 3 / INCR m0 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n0+2]");
    ends(&s, &second, GAVEL_COMMITTED);
    cr_assert_eq(first.outcome.n_round_trips, 2);
    cr_assert_eq(second.outcome.n_round_trips, 2);
    cr_assert_eq(second.outcome.n_attempts, 1);
    cr_assert_eq(second.n_runs, 2);
    cr_assert_eq(s.engine.context.stats.n_attempts, 2);
    cr_assert_eq(s.engine.context.stats.n_round_trips, 4);
    stage_close(&s);
}

/* Its body runs once; the attempt counts when its EXEC leaves. */
Test(core_kept, what_was_written_before_the_watch_is_kept)
{
    stage s;
    stage_open(&s, &marked);
    actor a = {.plays = "SET a 1; SET b 2; RESULT r"};
    actor b = {.plays = "GET a; SET a 3"};
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH m0");
    cr_assert_eq(s.n_events[GAVEL_EVENT_ATTEMPT], 0);
    is_in(&s, &a, GAVEL__TX_READING);
    says(&s, 0, "OK, OK");
    hears(&s, 0, "MULTI / SET a 1 / SET b 2 / SET a 3 / INCR m0 / EXEC / WATCH m0");
    cr_assert_eq(s.n_events[GAVEL_EVENT_ATTEMPT], 2);
    says(&s, 0, "OK, QUEUED, QUEUED, QUEUED, QUEUED, [OK, OK, OK, :n0+1], OK");
    ends(&s, &a, GAVEL_COMMITTED);
    ends(&s, &b, GAVEL_COMMITTED);
    cr_assert_str_eq(b.seen, "a=1 ");
    cr_assert_eq(a.n_runs + b.n_runs, 2);
    cr_assert_eq(a.outcome.n_attempts, 1);
    cr_assert_eq(a.outcome.n_round_trips, 2);
    cr_assert_eq(s.engine.context.stats.n_attempts, 2);
    cr_assert_eq(s.engine.context.stats.n_round_trips, 2);
    stage_close(&s);
}

Test(core_kept, what_needs_no_exec_waits_for_no_watch)
{
    stage s;
    stage_open(&s, &marked);
    actor a = {.plays = "COMMIT"};
    actor b = {.plays = "SET a 1; ABORT 3"};
    actor c = {.plays = "AGAIN"};
    actor d = {.plays = "RETRY", .request = {.max_attempts = 1}};
    enter(&s, &a);
    enter(&s, &b);
    enter(&s, &c);
    enter(&s, &d);
    link_up(&s, 0);
    hears_nothing(&s, 0);
    ends(&s, &a, GAVEL_COMMITTED);
    ends(&s, &b, GAVEL_ABORTED);
    ends_saying(&s, &c, GAVEL_INVALID, "all that it read was there");
    ends(&s, &d, GAVEL_CONFLICT);
    cr_assert_eq(s.engine.context.stats.n_attempts, 4);
    cr_assert_eq(s.engine.context.stats.n_round_trips, 0);
    stage_close(&s);
}

/* It has seen what is not made yet. */
Test(core_kept, an_abort_that_has_seen_what_is_kept_waits_as_well)
{
    stage s;
    stage_open(&s, &marked);
    actor writer = {.plays = "SET a 1"};
    actor reader = {.plays = "GET a; ABORT 7"};
    enter(&s, &writer);
    enter(&s, &reader);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH m0");
    cr_assert_not(reader.is_told);
    says(&s, 0, "OK, OK");
    hears(&s, 0, "MULTI / SET a 1 / INCR m0 / EXEC / WATCH m0");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n0+1], OK");
    ends(&s, &writer, GAVEL_COMMITTED);
    ends(&s, &reader, GAVEL_ABORTED);
    cr_assert_eq(reader.outcome.abort_code, 7);
    cr_assert_eq(reader.outcome.n_attempts, 1);
    stage_close(&s);
}

/* What it has written is among what was kept, and another may have seen it. */
Test(core_kept, who_leaves_before_the_watch_has_written_nothing)
{
    stage s;
    stage_open(&s, &marked);
    actor leaver = {.plays = "SET a 1"};
    actor stayer = {.plays = "GET a; SET b 1 | SET b 2", .request = {.max_attempts = 1}};
    enter(&s, &leaver);
    enter(&s, &stayer);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH m0");
    cr_assert_str_eq(stayer.seen, "a=1 ");
    cancel(&s, &leaver);
    ends(&s, &leaver, GAVEL_CANCELLED);
    says(&s, 0, "OK, OK");
    hears(&s, 0, "MULTI / SET b 2 / INCR m0 / EXEC / WATCH m0");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n0+1], OK");
    ends(&s, &stayer, GAVEL_COMMITTED);
    cr_assert_eq(leaver.outcome.n_attempts, 0);
    cr_assert_eq(stayer.outcome.n_attempts, 1);
    cr_assert_eq(s.engine.context.stats.n_attempts, 1);
    stage_close(&s);
}

/* It is no attempt, as it would be none had the body waited as well. */
Test(core_kept, a_link_that_is_lost_before_the_watch_takes_no_attempt)
{
    stage s;
    stage_open(&s, &marked);
    actor a = {.plays = "SET a 1 | SET a 2", .request = {.max_attempts = 1}};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH m0");
    link_down(&s, 0);
    is_in(&s, &a, GAVEL__TX_PAUSED);
    sleeps(&s);
    link_up(&s, 0);
    hears(&s, 0, "SET m1 n1 PX 900000 / WATCH m1");
    says(&s, 0, "OK, OK");
    hears(&s, 0, "MULTI / SET a 2 / INCR m1 / EXEC / WATCH m1");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n1+1], OK");
    ends(&s, &a, GAVEL_COMMITTED);
    cr_assert_eq(a.outcome.n_attempts, 1);
    cr_assert_eq(a.outcome.n_faults, 1);
    stage_close(&s);
}

/* What is kept is commands: the key is nobody's meanwhile, and another run may meet it. */
Test(core_kept, two_links_may_keep_writes_of_one_key)
{
    stage s;
    stage_open(&s, &doubtful);
    actor a = {.plays = "SET k 1; INT k", .request = {.is_solo = true}};
    actor b = {.plays = "GET k; SET k 2 | ADD k 5", .request = {.is_solo = true}};
    actor c = {.plays = "WRITE RPUSH k x", .request = {.is_solo = true}};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH m0");
    enter(&s, &c);
    link_up(&s, 1);
    hears(&s, 1, "SET m1 n1 PX 900000 / WATCH m1");
    says(&s, 1, "OK, OK");
    hears(&s, 1, "MULTI / RPUSH k x / INCR m1 / EXEC / WATCH m1");
    enter(&s, &b);
    says(&s, 1, "OK, QUEUED, QUEUED, [:1, :n1+1], OK");
    ends(&s, &c, GAVEL_COMMITTED);
    hears(&s, 1, "UNWATCH / WATCH k m1 / GET k");
    cr_assert_str_eq(b.seen, "k=? ");
    says(&s, 0, "OK, OK");
    hears(&s, 0, "MULTI / SET k 1 / INCR m0 / EXEC / WATCH m0");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n0+1], OK");
    ends(&s, &a, GAVEL_COMMITTED);
    says(&s, 1, "OK, OK, \"1\"");
    hears(&s, 1, "MULTI / SET k 6 / INCR m1 / EXEC");
    says(&s, 1, "OK, QUEUED, QUEUED, [OK, :n1+2]");
    ends(&s, &b, GAVEL_COMMITTED);
    stage_close(&s);
}

/* One of a round reads, the other does not: each goes its way. */
Test(core_kept, who_reads_leaves_the_others_to_their_watch)
{
    stage s;
    stage_open(&s, &marked);
    actor writer = {.plays = "SET a 1"};
    actor reader = {.plays = "ADD b 1"};
    enter(&s, &writer);
    enter(&s, &reader);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH m0");
    says(&s, 0, "OK, OK");
    hears(&s, 0, "MULTI / SET a 1 / INCR m0 / EXEC / WATCH b m0 / GET b");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n0+1], OK, \"1\"");
    hears(&s, 0, "MULTI / SET b 2 / INCR m0 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n0+2]");
    ends(&s, &writer, GAVEL_COMMITTED);
    ends(&s, &reader, GAVEL_COMMITTED);
    cr_assert_eq(writer.n_runs, 1);
    cr_assert_eq(reader.outcome.n_round_trips, 2);
    stage_close(&s);
}

Test(core_kept, a_body_that_outlasts_its_deadline_before_the_watch_has_run)
{
    stage s;
    stage_open(&s, &marked);
    actor a = {.plays = "SET a 1; WAIT 5000", .request = {.deadline_ms = 2}};
    enter(&s, &a);
    link_up(&s, 0);
    hears_nothing(&s, 0);
    ends_saying(&s, &a, GAVEL_DEADLINE, "the body took 5 ms");
    cr_assert_eq(a.outcome.n_attempts, 1);
    stage_close(&s);
}
