/*
 * Passes that do not go as they should: holders that are late or dead, callers that leave, links
 * that are lost, and whatever else the server may answer.
 */
#include "gate_stage.h"

#include <criterion/criterion.h>
#include <stdio.h>

/* ---- Late ----------------------------------------------------------------------------------- */

Test(core_pass_ends, who_is_later_than_his_lease_hands_nothing_on)
{
    stage s;
    actor a;
    begin_entering(&s, &a);
    says(&s, 1, "nil, OK");
    advance(&s, LEASE_US);
    says(&s, 1, "OK, \"1\"");
    hears_gates(&s, 1, "MULTI / SET a 2 / EXEC");
    says(&s, 1, "OK, QUEUED, [OK]");
    ends(&s, &a, GAVEL_COMMITTED);
    hears_nothing(&s, 1);
    actor b = an_adder();
    enter(&s, &b);
    hears_gates(&s, 1, ENTER_A READ_A);
    stage_close(&s);
}

/* ---- Repairs -------------------------------------------------------------------------------- */

/* No ordinary lane is up: one is dialled for it. */
Test(core_pass_ends, who_waits_too_long_sees_whether_the_holder_is_dead)
{
    stage s;
    actor a;
    begin_waiting(&s, &a);
    int64_t due_us = gavel__engine_due_us(&s.engine);
    cr_expect_geq(due_us - s.now_us, LEASE_US / 2);
    cr_expect_leq(due_us - s.now_us, 3 * LEASE_US / 4);
    sleeps(&s);
    link_up(&s, 0);
    hears_gates(&s, 0, "SET g:gate:{a} ME PX 500 NX / PTTL g:gate:{a}");
    says(&s, 0, "OK, :500");
    hears_gates(&s, 0, HAND_OFF_A);
    says(&s, 0, ":1, :0");
    hears_nothing(&s, 0);
    says(&s, 1, GRANTED_A "OK, \"5\"");
    hears_gates(&s, 1, "MULTI / SET a 6 / " HAND_OFF_A " / EXEC");
    stage_close(&s);
}

Test(core_pass_ends, a_holder_that_lives_is_left_alone)
{
    stage s;
    actor a;
    begin_waiting(&s, &a);
    sleeps(&s);
    link_up(&s, 0);
    for (int i = 0; i < 3; i++) {
        hears_gates(&s, 0, "SET g:gate:{a} ME PX 500 NX / PTTL g:gate:{a}");
        says(&s, 0, "nil, :77");
        hears_nothing(&s, 0);
        sleeps(&s);
    }
    stage_close(&s);
}

Test(core_pass_ends, a_record_without_an_end_gets_one)
{
    stage s;
    actor a;
    begin_waiting(&s, &a);
    sleeps(&s);
    link_up(&s, 0);
    hears_gates(&s, 0, "SET g:gate:{a} ME PX 500 NX / PTTL g:gate:{a}");
    says(&s, 0, "nil, :-1");
    hears_gates(&s, 0, "PEXPIRE g:gate:{a} 500");
    says(&s, 0, ":1");
    hears_nothing(&s, 0);
    stage_close(&s);
}

/* The ordinary lane is lost with the question: it is asked again on the next one. */
Test(core_pass_ends, a_repair_that_is_lost_is_made_again)
{
    stage s;
    actor a;
    begin_waiting(&s, &a);
    sleeps(&s);
    link_up(&s, 0);
    hears_gates(&s, 0, "SET g:gate:{a} ME PX 500 NX / PTTL g:gate:{a}");
    link_down(&s, 0);
    cr_expect_eq(gate_of(&s, "a")->n_pins, 0);
    sleeps(&s);
    link_up(&s, 0);
    hears_gates(&s, 0, "SET g:gate:{a} ME PX 500 NX / PTTL g:gate:{a}");
    stage_close(&s);
}

/* The one who has asked is let in before the answer comes: what is made is for the next one. */
Test(core_pass_ends, a_repair_may_come_too_late)
{
    stage s;
    actor a;
    begin_waiting(&s, &a);
    sleeps(&s);
    link_up(&s, 0);
    hears_gates(&s, 0, "SET g:gate:{a} ME PX 500 NX / PTTL g:gate:{a}");
    says(&s, 1, GRANTED_A "OK, \"5\"");
    hears_gates(&s, 1, "MULTI / SET a 6 / " HAND_OFF_A " / EXEC");
    says(&s, 1, "OK, QUEUED, QUEUED, QUEUED, [OK, :1, :1]");
    ends(&s, &a, GAVEL_COMMITTED);
    says(&s, 0, "nil, :77");
    hears_nothing(&s, 0);
    stage_close(&s);
}

/* ---- Leaving -------------------------------------------------------------------------------- */

Test(core_pass_ends, a_deadline_ends_the_wait_and_closes_the_link)
{
    stage s;
    actor a = an_adder();
    a.request.deadline_ms = 100;
    actor b = {.reads = "b", .plays = "ADD b 1"};
    gate_stage_open(&s, &(gate_config){.n_gate_lanes = 2});
    enter(&s, &a);
    advance(&s, 0);
    link_up(&s, 1);
    hears_gates(&s, 1, ENTER_A READ_A);
    says(&s, 1, "nil, nil, OK, \"1\"");
    hears_gates(&s, 1, "UNWATCH / " NAME_A WAIT_A READ_A);
    enter(&s, &b);
    advance(&s, 0);
    link_up(&s, 2);
    hears_gates(&s, 2, "LPOP g:queue:{b} / SET g:gate:{b} ME PX 500 NX / WATCH b / GET b");
    advance(&s, 100000);
    ends(&s, &a, GAVEL_DEADLINE);
    is_closed(&s, 1, "nobody waits");
    says(&s, 2, "nil, OK, OK, \"1\"");
    hears_gates(&s, 2, "MULTI / SET b 2 / RPUSH g:queue:{b} mine / PEXPIRE g:queue:{b} 500 / EXEC");
    says(&s, 2, "OK, QUEUED, QUEUED, QUEUED, [OK, :1, :1]");
    ends(&s, &b, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_pass_ends, a_cancelled_waiter_closes_the_link)
{
    stage s;
    actor a;
    begin_waiting(&s, &a);
    cancel(&s, &a);
    ends(&s, &a, GAVEL_CANCELLED);
    is_closed(&s, 1, "nobody waits");
    cr_expect_eq(gate_of(&s, "a")->lane, NULL);
    stage_close(&s);
}

/* Of two that wait in one round one leaves: the other goes on waiting. */
Test(core_pass_ends, the_wait_goes_on_as_long_as_somebody_waits)
{
    stage s;
    actor a = an_adder();
    actor b = an_adder();
    gate_stage_open(&s, &(gate_config){.n_gate_lanes = 1});
    enter(&s, &a);
    enter(&s, &b);
    advance(&s, 0);
    link_up(&s, 1);
    hears_gates(&s, 1, ENTER_A READ_A);
    says(&s, 1, "nil, nil, OK, \"1\"");
    hears_gates(&s, 1, "UNWATCH / " NAME_A WAIT_A READ_A);
    cancel(&s, &a);
    hears_nothing(&s, 1);
    says(&s, 1, "OK, OK, " GRANTED_A "OK, \"5\"");
    hears_gates(&s, 1, "MULTI / SET a 6 / " HAND_OFF_A " / EXEC");
    stage_close(&s);
}

Test(core_pass_ends, who_leaves_while_entering_hands_on)
{
    stage s;
    actor a;
    begin_entering(&s, &a);
    cancel(&s, &a);
    ends(&s, &a, GAVEL_CANCELLED);
    says(&s, 1, "nil, OK, OK, \"1\"");
    hears_gates(&s, 1, HAND_OFF_A);
    cr_expect_eq(pass_of(&s), GAVEL__PASS_NONE);
    says(&s, 1, ":1, :1");
    actor b = an_adder();
    enter(&s, &b);
    hears_gates(&s, 1, "UNWATCH / " NAME_A WAIT_A READ_A);
    stage_close(&s);
}

Test(core_pass_ends, who_leaves_while_entering_a_taken_gate_just_leaves)
{
    stage s;
    actor a;
    begin_entering(&s, &a);
    cancel(&s, &a);
    ends(&s, &a, GAVEL_CANCELLED);
    says(&s, 1, "nil, nil, OK, \"1\"");
    hears_nothing(&s, 1);
    cr_expect_eq(pass_of(&s), GAVEL__PASS_NONE);
    stage_close(&s);
}

/* ---- Lost links ----------------------------------------------------------------------------- */

/* What was held when the link was lost is handed on by another one. */
static void expect_a_hand_on(stage *s)
{
    advance(s, 0);
    link_up(s, 0);
    hears_gates(s, 0, HAND_OFF_A);
    says(s, 0, ":1, :1");
    hears_nothing(s, 0);
}

static void expect_a_new_attempt(stage *s, actor *a)
{
    cr_expect_eq(pass_of(s), GAVEL__PASS_NONE);
    cr_expect_eq(gate_of(s, "a")->lane, NULL);
    is_in(s, a, GAVEL__TX_PAUSED);
    sleeps(s);
    link_up(s, 1);
    advance(s, 0);
    cr_expect_neq(lane_of(s, 1)->n_new_replies, 0);
    cr_expect_eq(a->outcome.status, 0);
}

Test(core_pass_ends, a_link_is_lost_while_entering)
{
    stage s;
    actor a;
    begin_entering(&s, &a);
    link_down(&s, 1);
    expect_a_new_attempt(&s, &a);
    hears_gates(&s, 1, ENTER_A READ_A);
    stage_close(&s);
}

Test(core_pass_ends, a_link_is_lost_between_token_and_record)
{
    stage s;
    actor a;
    begin_entering(&s, &a);
    says(&s, 1, "\"1\"");
    link_down(&s, 1);
    expect_a_new_attempt(&s, &a);
    hears_gates(&s, 1, ENTER_A READ_A);
    stage_close(&s);
}

Test(core_pass_ends, a_link_is_lost_while_waiting)
{
    stage s;
    actor a;
    begin_waiting(&s, &a);
    link_down(&s, 1);
    expect_a_new_attempt(&s, &a);
    hears_gates(&s, 1, NAME_A WAIT_A READ_A); /* it was seen taken just now */
    stage_close(&s);
}

Test(core_pass_ends, a_link_is_lost_while_held)
{
    stage s;
    actor a;
    begin_entering(&s, &a);
    says(&s, 1, "nil, OK, OK");
    link_down(&s, 1);
    expect_a_hand_on(&s);
    expect_a_new_attempt(&s, &a);
    stage_close(&s);
}

/* Once only, and not when somebody else has been let in since. */
Test(core_pass_ends, what_a_lost_link_held_is_not_handed_on_too_late)
{
    stage s;
    actor a;
    begin_entering(&s, &a);
    says(&s, 1, "nil, OK, OK");
    link_down(&s, 1);
    advance(&s, LEASE_US);
    link_up(&s, 0);
    hears_nothing(&s, 0);
    stage_close(&s);
}

/* Before the last byte of EXEC has left, nothing is in doubt. */
Test(core_pass_ends, a_link_is_lost_before_exec_has_left)
{
    stage s;
    actor a;
    begin_entering(&s, &a);
    says(&s, 1, "\"1\", nil, OK, \"1\"");
    advance(&s, 0);
    link_down_within(&s, 1, s.outs[1].size - 1);
    expect_a_hand_on(&s);
    expect_a_new_attempt(&s, &a);
    stage_close(&s);
}

/* Behind it, all is: names and hand-on are counted with it. */
Test(core_pass_ends, a_link_is_lost_when_exec_has_left)
{
    stage s;
    actor a;
    begin_entering(&s, &a);
    says(&s, 1, "\"1\", nil, OK, \"1\"");
    advance(&s, 0);
    link_down_within(&s, 1, s.outs[1].size);
    ends(&s, &a, GAVEL_UNKNOWN);
    cr_expect_eq(pass_of(&s), GAVEL__PASS_NONE);
    stage_close(&s);
}

/* With a marker, the doubt is settled on an ordinary lane. */
Test(core_pass_ends, a_doubt_behind_a_gate_is_settled_by_the_marker)
{
    stage s;
    actor a = an_adder();
    gate_stage_open(&s, &(gate_config){.stage.has_markers = true, .n_gate_lanes = 1});
    enter(&s, &a);
    advance(&s, 0);
    link_up(&s, 1);
    hears_gates(&s, 1, ENTER_A "SET m0 n0 PX 900000 / WATCH a m0 / GET a");
    says(&s, 1, "\"1\", nil, OK, OK, \"1\"");
    hears_gates(
        &s, 1, "SET g:gate:{a} ME PX 500 / MULTI / SET a 2 / INCR m0 / " HAND_OFF_A " / EXEC");
    link_down(&s, 1);
    is_in(&s, &a, GAVEL__TX_IN_DOUBT);
    link_up(&s, 0);
    hears(&s, 0, "PEXPIRE m0 900000 / GET m0");
    says(&s, 0, ":1, \"n0+1\"");
    cr_expect(ends(&s, &a, GAVEL_COMMITTED)->is_from_marker);
    stage_close(&s);
}

/* The next round on the same grant reads behind an EXEC that is lost. */
Test(core_pass_ends, a_link_is_lost_with_two_rounds_on_it)
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
    link_down(&s, 1);
    ends(&s, &a, GAVEL_UNKNOWN);
    is_in(&s, &b, GAVEL__TX_PAUSED);
    stage_close(&s);
}

/* ---- Errors --------------------------------------------------------------------------------- */

/* Whatever is answered to a claim, the round goes on; but there is nothing to hand on. */
Test(core_pass_ends, a_refused_claim_is_as_good_as_held)
{
    static const char *const refusals[] = {"-WRONGTYPE no, nil", "-LOADING no, -LOADING no",
        "nil, -OOM no", "-OOM no, nil", ":5, -ERR no"};
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        stage s;
        actor a;
        begin_entering(&s, &a);
        says(&s, 1, refusals[i]);
        cr_expect_eq(pass_of(&s), GAVEL__PASS_HELD);
        says(&s, 1, "OK, \"1\"");
        hears_gates(&s, 1, "MULTI / SET a 2 / EXEC");
        says(&s, 1, "OK, QUEUED, [OK]");
        ends(&s, &a, GAVEL_COMMITTED);
        hears_nothing(&s, 1);
        stage_close(&s);
    }
}

/* BLPOP that is refused, or ended by somebody without a token, lets in: the server will not have
 * us wait. */
Test(core_pass_ends, a_refused_wait_lets_in)
{
    static const char *const answers[] = {
        "-WRONGTYPE no", "-UNBLOCKED client unblocked via CLIENT UNBLOCK", "nil"};
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        stage s;
        actor a;
        begin_waiting(&s, &a);
        says(&s, 1, answers[i]);
        says(&s, 1, "OK, OK, \"5\"");
        hears_gates(&s, 1, "MULTI / SET a 6 / EXEC");
        stage_close(&s);
    }
}

/* The list became something else meanwhile: RPUSH fails as EXEC runs, and the commit stands. */
Test(core_pass_ends, a_hand_on_that_fails_in_exec_changes_nothing)
{
    stage s;
    actor a;
    begin_entering(&s, &a);
    says(&s, 1, "nil, OK, OK, \"1\"");
    hears_gates(&s, 1, "MULTI / SET a 2 / " HAND_OFF_A " / EXEC");
    says(&s, 1, "OK, QUEUED, QUEUED, QUEUED, [OK, -WRONGTYPE no, :1]");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

/* The name before MULTI matters to nobody. */
Test(core_pass_ends, a_refused_name_changes_nothing)
{
    stage s;
    actor a;
    begin_entering(&s, &a);
    says(&s, 1, "\"1\", nil, OK, \"1\"");
    hears_gates(&s, 1, "SET g:gate:{a} ME PX 500 / MULTI / SET a 2 / " HAND_OFF_A " / EXEC");
    says(&s, 1, "-OOM no, OK, QUEUED, QUEUED, QUEUED, [OK, :1, :1]");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

/* Full for a moment: the members run again and keep the gate for themselves. */
Test(core_pass_ends, a_hand_on_that_is_refused_for_now_is_left_out)
{
    stage s;
    actor a;
    begin_entering(&s, &a);
    says(&s, 1, "nil, OK, OK, \"1\"");
    hears_gates(&s, 1, "MULTI / SET a 2 / " HAND_OFF_A " / EXEC");
    says(&s, 1, "OK, QUEUED, -OOM no, QUEUED, -EXECABORT no");
    hears_gates(&s, 1, "WATCH a / GET a");
    cr_expect_not(gavel__node_is_without_gates(&s.engine.only.base, s.now_us));
    says(&s, 1, "OK, \"1\"");
    hears_gates(&s, 1, "MULTI / SET a 2 / EXEC");
    says(&s, 1, "OK, QUEUED, [OK]");
    cr_expect_eq(ends(&s, &a, GAVEL_COMMITTED)->n_faults, 0);
    hears_nothing(&s, 1);
    stage_close(&s);
}

/* WATCH is refused while the gate is held: the fault is the round's, and the gate is handed on. */
Test(core_pass_ends, a_round_that_fails_inside_hands_on)
{
    stage s;
    actor a;
    begin_entering(&s, &a);
    says(&s, 1, "nil, OK, -LOADING no, -LOADING no");
    hears_gates(&s, 1, HAND_OFF_A);
    is_in(&s, &a, GAVEL__TX_PAUSED);
    stage_close(&s);
}

/* ---- All memory ----------------------------------------------------------------------------- */

/* Whichever lane is wanted comes up, and both hear and are answered what fits a gate lane. */
static void play_gate_lane(stage *s, const actor *a)
{
    static const char *const replies[] = {"nil, nil, nil, nil, OK, \"1\", \"1\"",
        "OK, OK, [\"x\", \"1\"], OK, [\"x\", \"1\"], OK, OK, \"1\", \"1\"",
        "OK, QUEUED, QUEUED, QUEUED, QUEUED, QUEUED, [OK, :1, :1, :1, :1]"};
    advance(s, 0);
    if (a->is_told || lane_of(s, 1)->state != GAVEL__LANE_WANTED)
        return;
    link_up(s, 1);
    for (size_t i = 0; i < 3; i++) {
        advance(s, 0);
        if (a->is_told || lane_of(s, 1)->is_condemned || s->outs[1].size == 0)
            return;
        (void)stage_listen(s, 1);
        says(s, 1, replies[i]);
    }
    advance(s, 0);
}

/* A gate, a wait and a commit, with the n-th allocation failing. True: none has failed. */
static bool play_without(size_t n_left)
{
    stage s;
    gate_stage_open(&s, &(gate_config){.n_gate_lanes = 1});
    actor a = {.reads = "a b", .plays = "ADD a 1; ADD b 1"};
    s.memory.n_left = n_left;
    if (enter(&s, &a))
        play_gate_lane(&s, &a);
    bool has_lasted = s.memory.n_left > 0;
    if (has_lasted)
        ends(&s, &a, GAVEL_COMMITTED);
    s.memory.n_left = MEMORY_ENOUGH;
    stage_close(&s);
    return has_lasted;
}

Test(core_pass_ends, a_lack_of_memory_anywhere_is_survived)
{
    size_t n_left = 0;
    while (!play_without(n_left))
        n_left++;
    cr_expect_gt(n_left, 10);
}
