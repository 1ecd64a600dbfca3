/*
 * Passes: the conversation of a lane that passes through gates, arrow by arrow. The peer plays the
 * server, and with it all other processes.
 */
#include "gate_stage.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define ENTER_AB ENTER_A "LPOP g:queue:{b} / SET g:gate:{b} ME PX 500 NX / WATCH a b"
#define GRANTED_B "[\"g:queue:{b}\", \"1\"], OK, "

/* ---- NONE -> ENTERING -> HELD -> NONE ------------------------------------------------------- */

Test(core_passes, a_free_gate_costs_no_round_trip)
{
    stage s;
    actor a;
    begin_entering(&s, &a);
    cr_expect_eq(pass_of(&s), GAVEL__PASS_ENTERING);
    says(&s, 1, "nil, OK");
    cr_expect_eq(pass_of(&s), GAVEL__PASS_HELD);
    says(&s, 1, "OK, \"1\"");
    hears_gates(&s, 1, "MULTI / SET a 2 / " HAND_OFF_A " / EXEC");
    says(&s, 1, "OK, QUEUED, QUEUED, QUEUED, [OK, :1, :1]");
    const gavel_outcome *outcome = ends(&s, &a, GAVEL_COMMITTED);
    cr_expect(outcome->is_gated);
    cr_expect_eq(outcome->n_round_trips, 2);
    cr_expect_eq(pass_of(&s), GAVEL__PASS_NONE);
    hears_nothing(&s, 1);
    stage_close(&s);
}

/* The record still names the holder before: ours comes before the next MULTI. */
Test(core_passes, a_token_that_lies_there_lets_in)
{
    stage s;
    actor a;
    begin_entering(&s, &a);
    says(&s, 1, "\"1\", nil, OK, \"1\"");
    hears_gates(&s, 1, "SET g:gate:{a} ME PX 500 / MULTI / SET a 2 / " HAND_OFF_A " / EXEC");
    says(&s, 1, "OK, OK, QUEUED, QUEUED, QUEUED, [OK, :1, :1]");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_passes, a_token_and_no_record_need_no_name)
{
    stage s;
    actor a;
    begin_entering(&s, &a);
    says(&s, 1, "\"whatever\", OK, OK, \"1\"");
    hears_gates(&s, 1, "MULTI / SET a 2 / " HAND_OFF_A " / EXEC");
    stage_close(&s);
}

Test(core_passes, a_round_without_exec_hands_on_by_itself)
{
    stage s;
    actor a = {.reads = "a", .plays = "GET a; ABORT 1"};
    begin_gated(&s, &a);
    hears_gates(&s, 1, ENTER_A READ_A);
    says(&s, 1, "nil, OK, OK, \"1\"");
    ends(&s, &a, GAVEL_ABORTED);
    hears_gates(&s, 1, HAND_OFF_A);
    cr_expect_eq(pass_of(&s), GAVEL__PASS_NONE);
    says(&s, 1, ":1, :1");
    hears_nothing(&s, 1);
    stage_close(&s);
}

Test(core_passes, a_verdict_that_needs_proof_hands_on_in_its_exec)
{
    stage s;
    actor a = {.reads = "a a.f", .plays = "GET a; HGET a f; ABORT 1"};
    begin_gated(&s, &a);
    hears_gates(&s, 1, ENTER_A READ_A " / HGET a f");
    says(&s, 1, "nil, OK, OK, \"1\", nil");
    hears_gates(&s, 1, "MULTI / " HAND_OFF_A " / EXEC");
    says(&s, 1, "OK, QUEUED, QUEUED, [:1, :1]");
    ends(&s, &a, GAVEL_ABORTED);
    stage_close(&s);
}

/* ---- ENTERING -> WAITING -> HELD ------------------------------------------------------------ */

Test(core_passes, a_gate_that_is_taken_is_waited_for_on_the_server)
{
    stage s;
    actor a;
    begin_waiting(&s, &a);
    cr_expect_eq(pass_of(&s), GAVEL__PASS_WAITING);
    cr_expect_eq(lane_of(&s, 1)->written_us, 0, "to wait is no round trip");
    advance(&s, 200000);
    hears_nothing(&s, 1);
    says(&s, 1, GRANTED_A "OK, \"5\"");
    hears_gates(&s, 1, "MULTI / SET a 6 / " HAND_OFF_A " / EXEC");
    says(&s, 1, "OK, QUEUED, QUEUED, QUEUED, [OK, :1, :1]");
    cr_expect(ends(&s, &a, GAVEL_COMMITTED)->is_gated);
    stage_close(&s);
}

/* Replies to what was read in vain come late, and mean nothing. */
Test(core_passes, what_was_read_in_vain_is_ignored)
{
    stage s;
    actor a;
    begin_entering(&s, &a);
    says(&s, 1, "nil, nil");
    hears_gates(&s, 1, "UNWATCH / " NAME_A WAIT_A READ_A);
    says(&s, 1, "OK, \"1\"");
    hears_nothing(&s, 1);
    cr_expect_eq(a.n_runs, 0);
    says(&s, 1, "OK, OK, " GRANTED_A "OK, \"5\"");
    hears_gates(&s, 1, "MULTI / SET a 6 / " HAND_OFF_A " / EXEC");
    stage_close(&s);
}

/* Seen taken less than half a lease ago: the next one does not ask. */
Test(core_passes, who_hands_on_waits_at_once_for_his_next_turn)
{
    stage s;
    actor a;
    begin_entering(&s, &a);
    says(&s, 1, "nil, OK, OK, \"1\"");
    hears_gates(&s, 1, "MULTI / SET a 2 / " HAND_OFF_A " / EXEC");
    says(&s, 1, "OK, QUEUED, QUEUED, QUEUED, [OK, :1, :1]");
    ends(&s, &a, GAVEL_COMMITTED);
    actor b = an_adder();
    enter(&s, &b);
    hears_gates(&s, 1, NAME_A WAIT_A READ_A);
    says(&s, 1, "OK, " GRANTED_A "OK, \"2\"");
    hears_gates(&s, 1, "MULTI / SET a 3 / " HAND_OFF_A " / EXEC");
    says(&s, 1, "OK, QUEUED, QUEUED, QUEUED, [OK, :1, :1]");
    ends(&s, &b, GAVEL_COMMITTED);
    advance(&s, LEASE_US / 2);
    actor c = an_adder();
    enter(&s, &c);
    hears_gates(&s, 1, ENTER_A READ_A);
    stage_close(&s);
}

/* ---- Several gates -------------------------------------------------------------------------- */

/* In the order of their bytes, whatever order they are declared in. */
Test(core_passes, several_gates_are_entered_in_one_write_and_in_order)
{
    stage s;
    actor a = {.keys = "b a", .plays = "SET a 1; SET b 2"};
    begin_gated(&s, &a);
    hears_gates(&s, 1,
        "LPOP g:queue:{a} / SET g:gate:{a} ME PX 500 NX / LPOP g:queue:{b} / SET g:gate:{b} ME PX "
        "500 NX "
        "/ WATCH b a");
    says(&s, 1, "nil, OK, \"1\", nil, OK");
    hears_gates(&s, 1,
        "SET g:gate:{b} ME PX 500 / MULTI / MSET a 1 b 2 / " HAND_OFF_A
        " / RPUSH g:queue:{b} mine / PEXPIRE g:queue:{b} 500 / EXEC");
    says(&s, 1, "OK, OK, QUEUED, QUEUED, QUEUED, QUEUED, QUEUED, [OK, :1, :1, :1, :1]");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_passes, what_lies_behind_a_taken_gate_is_given_back)
{
    stage s;
    actor a = {.keys = "a b", .plays = "SET a 1; SET b 2"};
    begin_gated(&s, &a);
    hears_gates(&s, 1, ENTER_AB);
    says(&s, 1, "nil, nil, nil, OK, OK");
    hears_gates(&s, 1,
        "RPUSH g:queue:{b} mine / PEXPIRE g:queue:{b} 500 / UNWATCH / " NAME_A WAIT_A
        "BLPOP g:queue:{b} 0 / SET g:gate:{b} ME PX 500 / WATCH a b");
    says(&s, 1, ":1, :1, OK, OK, " GRANTED_A GRANTED_B "OK");
    hears_gates(&s, 1,
        "MULTI / MSET a 1 b 2 / " HAND_OFF_A
        " / RPUSH g:queue:{b} mine / PEXPIRE g:queue:{b} 500 / EXEC");
    stage_close(&s);
}

Test(core_passes, what_lies_before_a_taken_gate_is_kept)
{
    stage s;
    actor a = {.keys = "a b", .plays = "SET a 1; SET b 2"};
    begin_gated(&s, &a);
    hears_gates(&s, 1, ENTER_AB);
    says(&s, 1, "\"1\", OK, nil, nil, OK");
    hears_gates(&s, 1,
        "UNWATCH / CLIENT SETNAME wait:g:gate:{b} / BLPOP g:queue:{b} 0 / SET g:gate:{b} ME PX 500 "
        "/ "
        "WATCH a b");
    cr_expect_eq(gavel__pass_blocked_on(lane_of(&s, 1)), gate_of(&s, "b"));
    says(&s, 1, "OK, OK, " GRANTED_B "OK");
    hears_gates(&s, 1,
        "MULTI / MSET a 1 b 2 / " HAND_OFF_A
        " / RPUSH g:queue:{b} mine / PEXPIRE g:queue:{b} 500 / EXEC");
    stage_close(&s);
}

/* The first is granted, and the second is waited for: it is this one whose holder may be dead. */
Test(core_passes, repairs_are_for_the_gate_that_is_waited_for)
{
    stage s;
    actor a = {.keys = "a b", .plays = "SET a 1; SET b 2"};
    begin_gated(&s, &a);
    hears_gates(&s, 1, ENTER_AB);
    says(&s, 1, "nil, nil, nil, nil, OK");
    hears_gates(&s, 1,
        "UNWATCH / " NAME_A WAIT_A "BLPOP g:queue:{b} 0 / SET g:gate:{b} ME PX 500 / WATCH a b");
    says(&s, 1, "OK, OK, " GRANTED_A);
    advance(&s, LEASE_US);
    link_up(&s, 0);
    hears_gates(&s, 0, "SET g:gate:{b} ME PX 500 NX / PTTL g:gate:{b}");
    stage_close(&s);
}

Test(core_passes, more_than_eight_gates_are_left_to_watch)
{
    stage s;
    actor a = {.keys = "a b c d e f g h i j", .plays = "SET a 1"};
    begin_gated(&s, &a);
    advance(&s, 0);
    cr_expect_eq(lane_of(&s, 1)->pass.n_gates, 8);
    (void)stage_listen(&s, 1);
    says(&s, 1, "nil, OK, nil, OK, nil, OK, nil, OK, nil, OK, nil, OK, nil, OK, nil, OK, OK");
    cr_expect_eq(pass_of(&s), GAVEL__PASS_HELD);
    stage_close(&s);
}

/* All taken, all waited for, a commit and a read behind it: the script has room for all of it. */
Test(core_passes, eight_gates_are_waited_for)
{
    stage s;
    actor a = {.keys = "a b c d e f g h", .plays = "SET a 1"};
    gate_stage_open(&s, &(gate_config){.stage.has_markers = true, .n_gate_lanes = 1});
    enter(&s, &a);
    advance(&s, 0);
    link_up(&s, 1);
    advance(&s, 0);
    (void)stage_listen(&s, 1);
    for (int i = 0; i < 8; i++)
        says(&s, 1, i % 2 == 0 ? "nil, nil" : "\"1\", OK");
    advance(&s, 0);
    (void)stage_listen(&s, 1); /* four given back, UNWATCH, a name, and eight waited for */
    says(&s, 1, "OK, OK, :1, :1, :1, :1, :1, :1, :1, :1, OK, OK");
    for (int i = 0; i < 8; i++)
        says(&s, 1, "[\"list\", \"1\"], OK");
    says(&s, 1, "OK");
    advance(&s, 0);
    cr_expect_eq(pass_of(&s), GAVEL__PASS_HELD);
    (void)stage_listen(&s, 1);
    says(&s, 1, "OK, QUEUED, QUEUED");
    for (int i = 0; i < 16; i++)
        says(&s, 1, "QUEUED");
    says(&s, 1, "[OK, :n0+1, :1, :1, :1, :1, :1, :1, :1, :1, :1, :1, :1, :1, :1, :1, :1, :1]");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

/* A gate lane for each gate that is waited for at the same time; the rest stands in line here. */
Test(core_passes, more_gates_than_lanes_take_turns)
{
    stage s;
    actor a = an_adder();
    actor b = {.reads = "b", .plays = "ADD b 1"};
    begin_gated(&s, &a);
    enter(&s, &b);
    hears_gates(&s, 1, ENTER_A READ_A);
    says(&s, 1, "nil, OK, OK, \"1\"");
    hears_gates(&s, 1, "MULTI / SET a 2 / " HAND_OFF_A " / EXEC");
    says(&s, 1, "OK, QUEUED, QUEUED, QUEUED, [OK, :1, :1]");
    ends(&s, &a, GAVEL_COMMITTED);
    hears_gates(&s, 1, "LPOP g:queue:{b} / SET g:gate:{b} ME PX 500 NX / WATCH b / GET b");
    stage_close(&s);
}

/* ---- Serving several rounds ----------------------------------------------------------------- */

/* Others here wait for the key: they are served behind the EXEC, under the same grant. */
Test(core_passes, two_rounds_under_one_grant)
{
    stage s;
    actor a = an_adder();
    begin_gated(&s, &a);
    hears_gates(&s, 1, ENTER_A READ_A);
    actor b = an_adder();
    enter(&s, &b);
    hears_nothing(&s, 1);
    says(&s, 1, "nil, OK, OK, \"1\"");
    hears_gates(&s, 1, "MULTI / SET a 2 / EXEC / WATCH a / GET a");
    says(&s, 1, "OK, QUEUED, [OK]");
    ends(&s, &a, GAVEL_COMMITTED);
    cr_expect_eq(pass_of(&s), GAVEL__PASS_HELD);
    says(&s, 1, "OK, \"2\"");
    hears_gates(&s, 1, "MULTI / SET a 3 / " HAND_OFF_A " / EXEC");
    says(&s, 1, "OK, QUEUED, QUEUED, QUEUED, [OK, :1, :1]");
    ends(&s, &b, GAVEL_COMMITTED);
    cr_expect_eq(pass_of(&s), GAVEL__PASS_NONE);
    stage_close(&s);
}

/* Callers that come back at once are served up to four times; then others have their turn. */
Test(core_passes, a_fair_share_is_four_rounds)
{
    stage s;
    actor actors[5];
    for (size_t i = 0; i < 5; i++)
        actors[i] = an_adder();
    gate_stage_open(&s, &(gate_config){.n_gate_lanes = 1, .has_returning_callers = true});
    enter(&s, &actors[0]);
    advance(&s, 0);
    link_up(&s, 1);
    hears_gates(&s, 1, ENTER_A READ_A);
    says(&s, 1, "nil, OK, OK, \"1\"");
    for (size_t i = 0; i < 3; i++) {
        char commands[64];
        snprintf(commands, sizeof commands, "MULTI / SET a %zu / EXEC / WATCH a / GET a", i + 2);
        hears_gates(&s, 1, commands);
        says(&s, 1, "OK, QUEUED, [OK]");
        stage_collect(&s);
        enter(&s, &actors[i + 1]);
        char reply[16];
        snprintf(reply, sizeof reply, "OK, \"%zu\"", i + 2);
        says(&s, 1, reply);
    }
    hears_gates(&s, 1, "MULTI / SET a 5 / " HAND_OFF_A " / EXEC");
    says(&s, 1, "OK, QUEUED, QUEUED, QUEUED, [OK, :1, :1]");
    ends(&s, &actors[3], GAVEL_COMMITTED);
    enter(&s, &actors[4]);
    hears_gates(&s, 1, NAME_A WAIT_A READ_A);
    stage_close(&s);
}

Test(core_passes, a_fair_share_is_five_milliseconds)
{
    stage s;
    actor a = an_adder();
    gate_stage_open(&s, &(gate_config){.n_gate_lanes = 1, .has_returning_callers = true});
    enter(&s, &a);
    advance(&s, 0);
    link_up(&s, 1);
    hears_gates(&s, 1, ENTER_A READ_A);
    says(&s, 1, "nil, OK");
    advance(&s, 5000);
    says(&s, 1, "OK, \"1\"");
    hears_gates(&s, 1, "MULTI / SET a 2 / " HAND_OFF_A " / EXEC");
    stage_close(&s);
}

/* The round stands for callers who are being told; when they do not come back it is over. */
Test(core_passes, callers_that_do_not_come_back_are_not_waited_for)
{
    stage s;
    actor a = an_adder();
    gate_stage_open(&s, &(gate_config){.n_gate_lanes = 1, .has_returning_callers = true});
    enter(&s, &a);
    advance(&s, 0);
    link_up(&s, 1);
    hears_gates(&s, 1, ENTER_A READ_A);
    says(&s, 1, "nil, OK, OK, \"1\"");
    hears_gates(&s, 1, "MULTI / SET a 2 / EXEC / WATCH a / GET a");
    says(&s, 1, "OK, QUEUED, [OK]");
    gavel__engine_advance(&s.engine, s.now_us);
    cr_expect_eq(lane_of(&s, 1)->n_new_replies, 0, "the caller has not been told yet");
    cr_expect(gavel__engine_keeps_gates(&s.engine));
    stage_collect(&s);
    hears_gates(&s, 1, HAND_OFF_A);
    cr_expect_not(gavel__engine_keeps_gates(&s.engine));
    cr_expect_eq(pass_of(&s), GAVEL__PASS_NONE);
    says(&s, 1, "OK, \"2\", :1, :1");
    hears_nothing(&s, 1);
    actor b = an_adder();
    enter(&s, &b);
    hears_gates(&s, 1, "UNWATCH / " NAME_A WAIT_A READ_A);
    stage_close(&s);
}

/* ---- Conflicts inside ----------------------------------------------------------------------- */

/* The record is ours: somebody wrote without asking. At once again, and the token is kept. */
Test(core_passes, a_conflict_inside_is_tried_again_at_once)
{
    stage s;
    actor a;
    begin_entering(&s, &a);
    says(&s, 1, "nil, OK, OK, \"1\"");
    hears_gates(&s, 1, "MULTI / SET a 2 / " HAND_OFF_A " / EXEC");
    says(&s, 1, "OK, QUEUED, QUEUED, QUEUED, nil");
    hears_gates(&s, 1, "GET g:gate:{a} / WATCH a / GET a");
    cr_expect_eq(pass_of(&s), GAVEL__PASS_HELD);
    says_ours(&s, 1, "a");
    says(&s, 1, "OK, \"7\"");
    hears_gates(&s, 1, "MULTI / SET a 8 / " HAND_OFF_A " / EXEC");
    says(&s, 1, "OK, QUEUED, QUEUED, QUEUED, [OK, :1, :1]");
    const gavel_outcome *outcome = ends(&s, &a, GAVEL_COMMITTED);
    cr_expect_eq(outcome->n_conflicts, 1);
    cr_expect_eq(outcome->n_attempts, 2);
    stage_close(&s);
}

/* The record names somebody else, or nobody: our token is one too many, and it ends with us. */
Test(core_passes, a_token_too_many_ends_after_a_conflict)
{
    static const char *const records[] = {
        "\"0123456789abcdef since=1 you\"", "\"\"", "nil", "-WRONGTYPE no"};
    for (size_t i = 0; i < sizeof records / sizeof *records; i++) {
        stage s;
        actor a;
        begin_entering(&s, &a);
        says(&s, 1, "nil, OK, OK, \"1\"");
        hears_gates(&s, 1, "MULTI / SET a 2 / " HAND_OFF_A " / EXEC");
        says(&s, 1, "OK, QUEUED, QUEUED, QUEUED, nil");
        hears_gates(&s, 1, "GET g:gate:{a} / WATCH a / GET a");
        says(&s, 1, records[i]);
        says(&s, 1, "OK, \"7\"");
        hears_gates(&s, 1, "MULTI / SET a 8 / EXEC");
        says(&s, 1, "OK, QUEUED, [OK]");
        ends(&s, &a, GAVEL_COMMITTED);
        hears_nothing(&s, 1);
        cr_expect_eq(pass_of(&s), GAVEL__PASS_NONE);
        stage_close(&s);
    }
}

/* A connection that has died before it stands in the queue is to be noticed. */
Test(core_passes, only_the_turn_may_be_long_in_coming)
{
    stage s;
    actor a;
    begin_entering(&s, &a);
    const gavel__lane *lane = lane_of(&s, 1);
    cr_expect_not(gavel__lane_may_be_silent(lane));
    says(&s, 1, "nil, nil, OK, \"1\"");
    cr_expect_not(gavel__lane_may_be_silent(lane), "UNWATCH");
    hears_gates(&s, 1, "UNWATCH / " NAME_A WAIT_A READ_A);
    says(&s, 1, "OK, OK");
    cr_expect(gavel__lane_may_be_silent(lane));
    says(&s, 1, "[\"g:queue:{a}\", \"1\"]");
    cr_expect_not(gavel__lane_may_be_silent(lane), "the claim");
    stage_close(&s);
}
