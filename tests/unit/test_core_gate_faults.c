/*
 * Gates where things go wrong at a bad moment: each of these was a fault once.
 */
#include "gate_stage.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* ---- The table ----------------------------------------------------------------------------- */

/* The table is full of gates that nobody needs: making room for one must not take the other. */
Test(core_gate_faults, gates_of_one_transaction_do_not_push_each_other_out)
{
    stage s;
    gate_stage_open(&s, &(gate_config){.n_gate_lanes = 1});
    actor first = {.keys = "c", .plays = "SET c 1"};
    enter(&s, &first);
    advance(&s, 0);
    link_up(&s, 1);
    cancel(&s, &first);
    char name[16];
    for (unsigned i = 0; s.engine.gates.map.n_nodes < 1023; i++) {
        snprintf(name, sizeof(name), "k%u", i);
        gavel_bytes key = gavel_str(name);
        cr_assert_not_null(gavel__gates_make(
            &s.engine.gates, key, gavel__map_hash(&s.engine.gates.map, key), s.now_us));
    }
    actor a = {.keys = "a b", .plays = "SET a 1; SET b 2"};
    enter(&s, &a);
    hears_gates(&s, 1,
        "LPOP g:queue:{a} / SET g:gate:{a} ME PX 500 NX / LPOP g:queue:{b} / SET g:gate:{b} ME PX "
        "500 NX "
        "/ WATCH a b");
    stage_close(&s);
}

/* ---- Lanes that were given up too early, or never ------------------------------------------ */

/* A holder with nothing to hand on leaves; the lane is then free for who has waited for it. */
Test(core_gate_faults, who_waits_for_a_lane_goes_on_when_nothing_is_handed_on)
{
    stage s;
    gate_stage_open(&s, &(gate_config){.n_gate_lanes = 1});
    actor a = {.reads = "a", .plays = "GET a; ABORT 1"};
    actor b = {.reads = "b", .plays = "GET b; ABORT 1"};
    enter(&s, &a);
    enter(&s, &b);
    advance(&s, 0);
    link_up(&s, 1);
    hears_gates(&s, 1, "LPOP g:queue:{a} / SET g:gate:{a} ME PX 500 NX / WATCH a / GET a");
    says(&s, 1, "-WRONGTYPE no, nil, OK, \"1\"");
    ends(&s, &a, GAVEL_ABORTED);
    hears_gates(
        &s, 1, "UNWATCH / LPOP g:queue:{b} / SET g:gate:{b} ME PX 500 NX / WATCH b / GET b");
    stage_close(&s);
}

/* The same for a body that wants one key more. */
Test(core_gate_faults, a_body_that_wants_one_more_key_goes_on)
{
    stage s;
    gate_stage_open(&s, &(gate_config){.n_gate_lanes = 1});
    actor a = {.reads = "a", .plays = "GET a; GET b; SET a 1"};
    enter(&s, &a);
    advance(&s, 0);
    link_up(&s, 1);
    hears_gates(&s, 1, "LPOP g:queue:{a} / SET g:gate:{a} ME PX 500 NX / WATCH a / GET a");
    says(&s, 1, "-WRONGTYPE no, nil, OK, \"1\"");
    hears_gates(&s, 1,
        "UNWATCH / LPOP g:queue:{a} / SET g:gate:{a} ME PX 500 NX / LPOP g:queue:{b} / SET "
        "g:gate:{b} ME "
        "PX "
        "500 NX / WATCH a b / GET a / GET b");
    stage_close(&s);
}

/* Only gate lanes are up: one that does not wait can be asked. */
Test(core_gate_faults, a_doubt_is_asked_while_another_gate_lane_is_up)
{
    stage s;
    gate_stage_open(&s, &(gate_config){.stage.has_markers = true, .n_gate_lanes = 2});
    actor a = {.reads = "a", .plays = "ADD a 1"};
    actor b = {.reads = "b", .plays = "ADD b 1"};
    enter(&s, &a);
    advance(&s, 0);
    link_up(&s, 1);
    enter(&s, &b);
    advance(&s, 0);
    link_up(&s, 2);
    advance(&s, 0);
    (void)stage_listen(&s, 2);
    (void)stage_listen(&s, 1);
    says(&s, 1, "nil, OK, OK, OK, \"1\"");
    advance(&s, 0);
    (void)stage_listen(&s, 1);
    link_down(&s, 1);
    is_in(&s, &a, GAVEL__TX_IN_DOUBT);
    hears(&s, 2, "PEXPIRE m0 900000 / GET m0");
    says(&s, 2, "nil, OK, OK, OK, \"1\"");
    says(&s, 2, ":1, \"n0+1\"");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

/* A link that we close because nobody waits any more is as good as ever. */
Test(core_gate_faults, a_link_that_was_closed_for_want_of_waiters_is_dialled_at_once)
{
    stage s;
    gate_stage_open(&s, &(gate_config){.n_gate_lanes = 1});
    for (int i = 0; i < 4; i++) {
        static actor actors[4];
        actor *a = &actors[i];
        *a = (actor){.reads = "a", .plays = "ADD a 1", .request.deadline_ms = 50};
        enter(&s, a);
        advance(&s, 0);
        cr_expect_leq(lane_of(&s, 1)->dial_us, s.now_us, "the %d. time it pauses for %d us", i,
            (int)(lane_of(&s, 1)->dial_us - s.now_us));
        link_up(&s, 1);
        advance(&s, 0);
        (void)stage_listen(&s, 1);
        if (i == 0) {
            says(&s, 1, "nil, nil, OK, \"1\"");
            advance(&s, 0);
            (void)stage_listen(&s, 1);
        }
        advance(&s, 60000);
        cr_assert(a->is_told);
        is_closed(&s, 1, "nobody waits");
    }
    stage_close(&s);
}

/* ---- Tokens -------------------------------------------------------------------------------- */

/* Of several gates the first are ours and a later one is not; then nobody wants them any more. */
Test(core_gate_faults, gates_that_nobody_wants_any_more_are_handed_on_before_waiting)
{
    stage s;
    gate_stage_open(&s, &(gate_config){.n_gate_lanes = 1});
    actor a = {.keys = "a b", .plays = "SET a 1; SET b 2"};
    enter(&s, &a);
    advance(&s, 0);
    link_up(&s, 1);
    hears_gates(&s, 1,
        "LPOP g:queue:{a} / SET g:gate:{a} ME PX 500 NX / LPOP g:queue:{b} / SET g:gate:{b} ME PX "
        "500 NX "
        "/ WATCH a b");
    cancel(&s, &a);
    ends(&s, &a, GAVEL_CANCELLED);
    says(&s, 1, "nil, OK, nil, nil, OK");
    hears_gates(&s, 1, "RPUSH g:queue:{a} mine / PEXPIRE g:queue:{a} 500");
    stage_close(&s);
}

/* A gate whose claim was refused is nobody's to hand on. */
Test(core_gate_faults, a_refused_gate_is_not_given_back)
{
    stage s;
    gate_stage_open(&s, &(gate_config){.n_gate_lanes = 1});
    actor a = {.keys = "a b", .plays = "SET a 1; SET b 2"};
    enter(&s, &a);
    advance(&s, 0);
    link_up(&s, 1);
    hears_gates(&s, 1,
        "LPOP g:queue:{a} / SET g:gate:{a} ME PX 500 NX / LPOP g:queue:{b} / SET g:gate:{b} ME PX "
        "500 NX "
        "/ WATCH a b");
    says(&s, 1, "nil, nil, -WRONGTYPE no, nil, OK");
    hears_gates(&s, 1,
        "UNWATCH / CLIENT SETNAME wait:g:gate:{a} / BLPOP g:queue:{a} 0 / SET g:gate:{a} ME PX 500 "
        "/ "
        "BLPOP g:queue:{b} 0 / "
        "SET g:gate:{b} ME PX 500 / WATCH a b");
    stage_close(&s);
}

/* The lease runs from when each gate was granted, not from when the last one was. */
Test(core_gate_faults, a_gate_granted_a_lease_ago_is_not_handed_on)
{
    stage s;
    gate_stage_open(&s, &(gate_config){.n_gate_lanes = 1});
    actor a = {.keys = "a b", .plays = "SET a 1; SET b 2"};
    enter(&s, &a);
    advance(&s, 0);
    link_up(&s, 1);
    hears_gates(&s, 1,
        "LPOP g:queue:{a} / SET g:gate:{a} ME PX 500 NX / LPOP g:queue:{b} / SET g:gate:{b} ME PX "
        "500 NX "
        "/ WATCH a b");
    says(&s, 1, "nil, OK, nil, nil, OK");
    hears_gates(&s, 1,
        "UNWATCH / CLIENT SETNAME wait:g:gate:{b} / BLPOP g:queue:{b} 0 / SET g:gate:{b} ME PX 500 "
        "/ "
        "WATCH a b");
    advance(&s, LEASE_US + 1000); /* somebody else was let in at a meanwhile */
    says(&s, 1, "OK, OK, [\"g:queue:{b}\", \"1\"], OK, OK");
    hears_gates(
        &s, 1, "MULTI / MSET a 1 b 2 / RPUSH g:queue:{b} mine / PEXPIRE g:queue:{b} 500 / EXEC");
    stage_close(&s);
}

/* ---- Links that are lost inside ------------------------------------------------------------- */

/* What is known to be still ours is handed off in the next write, by whichever link is up. */
Test(core_gate_faults, a_gate_whose_link_is_lost_before_exec_is_handed_off_at_once)
{
    stage s;
    actor a;
    begin_entering(&s, &a);
    says(&s, 1, "nil, OK, OK");
    link_down(&s, 1);
    is_in(&s, &a, GAVEL__TX_PAUSED);
    link_up(&s, 0);
    hears_gates(&s, 0, HAND_OFF_A);
    says(&s, 0, ":1, :1");
    stage_close(&s);
}

/* Later the lease has ended, and others have probed it. */
Test(core_gate_faults, a_gate_that_was_lost_a_lease_ago_is_not_handed_off)
{
    stage s;
    actor a;
    begin_entering(&s, &a);
    says(&s, 1, "nil, OK, OK");
    link_down(&s, 1);
    advance(&s, LEASE_US);
    link_up(&s, 1);
    hears_gates(&s, 1, ENTER_A READ_A);
    stage_close(&s);
}

/* The turn is ours, not the lost link's, once it was given to us. */
Test(core_gate_faults, a_gate_that_is_granted_anew_is_not_handed_off_for_the_lost_link)
{
    stage s;
    actor a;
    begin_entering(&s, &a);
    says(&s, 1, "nil, OK, OK");
    gavel__gate *gate = gate_of(&s, "a");
    link_down(&s, 1);
    cr_assert_eq(gate->hand_off.state, GAVEL__QUESTION_PENDING);
    gavel__gate_on_granted(gate, s.now_us);
    cr_assert_eq(gate->hand_off.state, GAVEL__QUESTION_IDLE);
    gavel__gate_hand_off(gate, s.now_us - 1);
    cr_assert_eq(gate->hand_off.state, GAVEL__QUESTION_IDLE);
    stage_close(&s);
}

/* An actor inside the gate of "a" whose EXEC, which hands off, is sent; and then its link is lost.
 * An ordinary lane is up, and busy. */
static void lose_hand_off(stage *s, actor *a, actor *b)
{
    gate_stage_open(s, &(gate_config){.stage.has_markers = true, .is_adaptive = true});
    put_up(s, "a");
    *a = an_adder();
    *b = (actor){.reads = "b", .plays = "ADD b 1"};
    enter(s, a);
    enter(s, b);
    link_up(s, 0);
    hears(s, 0, "SET m0 n0 PX 900000 / WATCH b m0 / GET b");
    link_up(s, 1);
    advance(s, 0);
    (void)stage_listen(s, 1);
    says(s, 1, "nil, OK, OK, OK, \"1\"");
    hears_gates(s, 1, "MULTI / SET a 2 / INCR m1 / " HAND_OFF_A " / EXEC");
    link_down(s, 1);
    is_in(s, a, GAVEL__TX_IN_DOUBT);
    hears(s, 0, "PEXPIRE m1 900000 / GET m1");
    says(s, 0, "OK, OK, nil");
    (void)stage_listen(s, 0);
}

Test(core_gate_faults, where_the_marker_says_that_exec_was_not_made_the_gate_is_handed_off_at_once)
{
    stage s;
    actor a;
    actor b;
    lose_hand_off(&s, &a, &b);
    says(&s, 0, ":1, \"n1\"");
    hears_gates(&s, 0, HAND_OFF_A);
    stage_close(&s);
}

/* The hand-off was a part of it. */
Test(core_gate_faults, where_the_marker_says_that_exec_was_made_nobody_hands_off_again)
{
    stage s;
    actor a;
    actor b;
    lose_hand_off(&s, &a, &b);
    says(&s, 0, ":1, \"n1+1\"");
    hears_nothing(&s, 0);
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

/* Then the lease has to end. */
Test(core_gate_faults, where_the_marker_is_gone_nobody_hands_off)
{
    stage s;
    actor a;
    actor b;
    lose_hand_off(&s, &a, &b);
    says(&s, 0, ":0, nil");
    hears_nothing(&s, 0);
    ends(&s, &a, GAVEL_UNKNOWN);
    stage_close(&s);
}

/* Those who wait for the gate want to know, also when the transaction itself is over. */
Test(core_gate_faults, the_gate_is_handed_off_though_its_transaction_has_left)
{
    stage s;
    actor a;
    actor b;
    lose_hand_off(&s, &a, &b);
    gavel__engine_cancel_all(&s.engine, true, s.now_us);
    advance(&s, 0);
    says(&s, 0, ":1, \"n1\"");
    hears_gates(&s, 0, HAND_OFF_A);
    stage_close(&s);
}

/* ---- Links that are lost without a word, waiting --------------------------------------------- */

/* The holder is dead, and a turn is given; the answers say whether somebody stood in the queue. */
static void give_turn(stage *s, actor *a, const char *answers)
{
    begin_waiting(s, a);
    advance(s, LEASE_US);
    link_up(s, 0);
    hears_gates(s, 0, "SET g:gate:{a} ME PX 500 NX / PTTL g:gate:{a}");
    says(s, 0, "OK, :500");
    hears_gates(s, 0, HAND_OFF_A);
    says(s, 0, answers);
}

/* Nobody did, so the server does not know of us; the turn lies there still. */
Test(core_gate_faults, a_link_that_the_server_does_not_know_to_wait_is_made_anew)
{
    stage s;
    actor a;
    give_turn(&s, &a, ":1, :1");
    cr_expect_not(lane_of(&s, 1)->is_condemned, "the turn may be on its way");
    advance(&s, LEASE_US - 1000);
    is_closed(&s, 1, "waiting link to gate of a: a turn was handed off and did not arrive");
    advance(&s, LEASE_US / 10);
    link_up(&s, 1);
    hears_gates(&s, 1, ENTER_A READ_A);
    stage_close(&s);
}

/* The server gives the first turn to us, but the link is silent. Then we stand there no more. */
Test(core_gate_faults, a_link_that_swallows_a_turn_is_made_anew)
{
    stage s;
    actor a;
    give_turn(&s, &a, ":1, :0");
    advance(&s, LEASE_US);
    hears_gates(&s, 0, "SET g:gate:{a} ME PX 500 NX / PTTL g:gate:{a}");
    says(&s, 0, "OK, :500");
    hears_gates(&s, 0, HAND_OFF_A);
    says(&s, 0, ":1, :1");
    advance(&s, LEASE_US - 1000);
    is_closed(&s, 1, "waiting link to gate of a: a turn was handed off and did not arrive");
    stage_close(&s);
}

/* Another one did, who may be dead: that is found out in its time. */
Test(core_gate_faults, a_link_that_stands_behind_others_stays)
{
    stage s;
    actor a;
    give_turn(&s, &a, ":1, :0");
    advance(&s, LEASE_US - 1000);
    cr_expect_not(lane_of(&s, 1)->is_condemned);
    hears_gates(&s, 0, "SET g:gate:{a} ME PX 500 NX / PTTL g:gate:{a}");
    stage_close(&s);
}

/* ---- Refusals ------------------------------------------------------------------------------ */

/* Nobody of this login will ever push a token for those who wait for one. */
Test(core_gate_faults, who_waits_leaves_when_gates_are_turned_off)
{
    stage s;
    gate_stage_open(&s, &(gate_config){.n_gate_lanes = 2});
    actor a = {.reads = "a", .plays = "ADD a 1"};
    actor b = {.reads = "b", .plays = "ADD b 1"};
    enter(&s, &a);
    advance(&s, 0);
    link_up(&s, 1);
    hears_gates(&s, 1, "LPOP g:queue:{a} / SET g:gate:{a} ME PX 500 NX / WATCH a / GET a");
    enter(&s, &b);
    advance(&s, 0);
    link_up(&s, 2);
    hears_gates(&s, 2, "LPOP g:queue:{b} / SET g:gate:{b} ME PX 500 NX / WATCH b / GET b");
    says(&s, 2, "nil, nil, OK, \"1\"");
    hears_gates(&s, 2,
        "UNWATCH / CLIENT SETNAME wait:g:gate:{b} / BLPOP g:queue:{b} 0 / SET g:gate:{b} ME PX 500 "
        "/ "
        "WATCH b / GET b");
    says(&s, 1, "nil, OK, OK, \"1\"");
    hears_gates(&s, 1, "MULTI / SET a 2 / RPUSH g:queue:{a} mine / PEXPIRE g:queue:{a} 500 / EXEC");
    says(&s, 1, "OK, QUEUED, -NOPERM no, -NOPERM no, -EXECABORT no");
    advance(&s, 0);
    cr_expect(gavel__node_is_without_gates(&s.engine.only.base, s.now_us));
    cr_expect(lane_of(&s, 2)->is_condemned || b.transaction->state != GAVEL__TX_READING,
        "b waits for a token that nobody may push");
    stage_close(&s);
}

/* The waiter's own repair is refused: the same. */
Test(core_gate_faults, who_may_not_repair_does_not_wait)
{
    stage s;
    gate_stage_open(&s, &(gate_config){.n_gate_lanes = 1});
    actor a = {.reads = "a", .plays = "ADD a 1"};
    enter(&s, &a);
    advance(&s, 0);
    link_up(&s, 1);
    hears_gates(&s, 1, "LPOP g:queue:{a} / SET g:gate:{a} ME PX 500 NX / WATCH a / GET a");
    says(&s, 1, "nil, nil, OK, \"1\"");
    hears_gates(&s, 1,
        "UNWATCH / CLIENT SETNAME wait:g:gate:{a} / BLPOP g:queue:{a} 0 / SET g:gate:{a} ME PX 500 "
        "/ "
        "WATCH a / GET a");
    advance(&s, LEASE_US);
    link_up(&s, 0);
    hears_gates(&s, 0, "SET g:gate:{a} ME PX 500 NX / PTTL g:gate:{a}");
    says(&s, 0, "OK, :500");
    hears_gates(&s, 0, "RPUSH g:queue:{a} mine / PEXPIRE g:queue:{a} 500");
    says(&s, 0, "-NOPERM no, -NOPERM no");
    advance(&s, 0);
    cr_expect(gavel__node_is_without_gates(&s.engine.only.base, s.now_us));
    cr_expect(lane_of(&s, 1)->is_condemned, "a waits for a token that nobody may push");
    stage_close(&s);
}

/* A full server lets nobody make a record, so nobody can be let in: better to go on without. */
Test(core_gate_faults, who_cannot_repair_does_not_wait_either)
{
    stage s;
    gate_stage_open(&s, &(gate_config){.n_gate_lanes = 1});
    actor a = {.reads = "a", .plays = "DEL a"};
    enter(&s, &a);
    advance(&s, 0);
    link_up(&s, 1);
    hears_gates(&s, 1, "LPOP g:queue:{a} / SET g:gate:{a} ME PX 500 NX / WATCH a / GET a");
    says(&s, 1, "nil, nil, OK, \"1\"");
    hears_gates(&s, 1,
        "UNWATCH / CLIENT SETNAME wait:g:gate:{a} / BLPOP g:queue:{a} 0 / SET g:gate:{a} ME PX 500 "
        "/ "
        "WATCH a / GET a");
    advance(&s, LEASE_US);
    link_up(&s, 0);
    hears_gates(&s, 0, "SET g:gate:{a} ME PX 500 NX / PTTL g:gate:{a}");
    says(&s, 0, "-OOM command not allowed when used memory > 'maxmemory'., :-2");
    advance(&s, 0);
    cr_expect(lane_of(&s, 1)->is_condemned, "a waits for a token that nobody can make");
    stage_close(&s);
}

static const char no_room[] = "OOM command not allowed when used memory > 'maxmemory'.";

/* The only link that can be had is the one that waits: it asks, when it claims anew. */
Test(core_gate_faults, who_cannot_even_ask_claims_anew)
{
    stage s;
    actor a;
    begin_waiting(&s, &a);
    advance(&s, LEASE_US);
    link_refused(&s, 0, false, no_room);
    cr_expect_not(lane_of(&s, 1)->is_condemned, "one may come up by the next time");
    advance(&s, LEASE_US);
    is_closed(&s, 1, "nobody waits");
    advance(&s, 0);
    link_up(&s, 1);
    hears_gates(&s, 1, ENTER_A READ_A);
    says(&s, 1, "nil, -OOM no memory, OK, \"1\"");
    hears(&s, 1, "MULTI / SET a 2 / EXEC");
    says(&s, 1, "OK, -OOM no memory, -EXECABORT no");
    ends_saying(&s, &a, GAVEL_REJECTED, "OOM");
    stage_close(&s);
}

/* For good: then he is told so, as those who wait elsewhere. */
Test(core_gate_faults, who_cannot_even_ask_is_told_why)
{
    stage s;
    actor a;
    begin_waiting(&s, &a);
    advance(&s, LEASE_US);
    link_refused(&s, 0, true, "NOPERM no");
    advance(&s, LEASE_US);
    is_closed(&s, 1, "nobody waits");
    advance(&s, 0);
    link_refused(&s, 1, true, "NOPERM no");
    ends_saying(&s, &a, GAVEL_REJECTED, "NOPERM");
    stage_close(&s);
}

/* A link that comes up meanwhile can ask, and nobody loses his place. */
Test(core_gate_faults, who_can_ask_at_last_goes_on_waiting)
{
    stage s;
    actor a;
    begin_waiting(&s, &a);
    advance(&s, LEASE_US);
    link_refused(&s, 0, false, no_room);
    advance(&s, LEASE_US / 4);
    link_up(&s, 0);
    hears_gates(&s, 0, "SET g:gate:{a} ME PX 500 NX / PTTL g:gate:{a}");
    says(&s, 0, "nil, :500");
    advance(&s, LEASE_US);
    hears_gates(&s, 0, "SET g:gate:{a} ME PX 500 NX / PTTL g:gate:{a}");
    cr_expect_not(lane_of(&s, 1)->is_condemned);
    stage_close(&s);
}

/* ---- Time ---------------------------------------------------------------------------------- */

Test(core_gate_faults, handing_on_nothing_begins_no_round_trip)
{
    stage s;
    gate_stage_open(&s, &(gate_config){.n_gate_lanes = 1});
    actor a = {.reads = "a", .plays = "GET a; ABORT 1"};
    enter(&s, &a);
    advance(&s, 0);
    link_up(&s, 1);
    hears_gates(&s, 1, "LPOP g:queue:{a} / SET g:gate:{a} ME PX 500 NX / WATCH a / GET a");
    says(&s, 1, "-WRONGTYPE no, nil, OK, \"1\"");
    ends(&s, &a, GAVEL_ABORTED);
    advance(&s, 0);
    hears_nothing(&s, 1);
    cr_expect_eq(lane_of(&s, 1)->written_us, 0);
    stage_close(&s);
}

/* ---- Memory -------------------------------------------------------------------------------- */

/* A lane that was bound to gates for a round that was not made is free again. */
Test(core_gate_faults, a_lack_of_memory_does_not_bind_a_lane)
{
    for (size_t n_left = 0; n_left < 40; n_left++) {
        stage s;
        gate_stage_open(&s, &(gate_config){.n_gate_lanes = 1});
        actor a = {.reads = "a", .plays = "ADD a 1"};
        enter(&s, &a);
        advance(&s, 0);
        link_up(&s, 1);
        s.memory.n_left = n_left;
        advance(&s, 0);
        s.memory.n_left = MEMORY_ENOUGH;
        if (a.is_told && !lane_of(&s, 1)->is_condemned)
            cr_expect_eq(lane_of(&s, 1)->pass.n_gates, 0, "with %zu allocations", n_left);
        stage_close(&s);
    }
}

/* ---- What is told -------------------------------------------------------------------------- */

Test(core_gate_faults, an_abort_inside_is_told_as_gated)
{
    stage s;
    gate_stage_open(&s, &(gate_config){.n_gate_lanes = 1});
    actor a = {.reads = "a", .plays = "GET a; ABORT 1"};
    enter(&s, &a);
    advance(&s, 0);
    link_up(&s, 1);
    hears_gates(&s, 1, "LPOP g:queue:{a} / SET g:gate:{a} ME PX 500 NX / WATCH a / GET a");
    says(&s, 1, "nil, OK, OK, \"1\"");
    cr_expect(ends(&s, &a, GAVEL_ABORTED)->is_gated);
    stage_close(&s);
}

/* Every command that is sent is counted, whoever writes it. */
Test(core_gate_faults, repairs_and_what_is_given_back_are_counted)
{
    stage s;
    gate_stage_open(&s, &(gate_config){.n_gate_lanes = 1});
    actor a = {.keys = "a b", .plays = "SET a 1; SET b 2"};
    enter(&s, &a);
    advance(&s, 0);
    link_up(&s, 1);
    hears_gates(&s, 1,
        "LPOP g:queue:{a} / SET g:gate:{a} ME PX 500 NX / LPOP g:queue:{b} / SET g:gate:{b} ME PX "
        "500 NX "
        "/ WATCH a b");
    says(&s, 1, "nil, nil, \"1\", nil, OK");
    hears_gates(&s, 1,
        "RPUSH g:queue:{b} mine / PEXPIRE g:queue:{b} 500 / UNWATCH / CLIENT SETNAME "
        "wait:g:gate:{a} / "
        "BLPOP g:queue:{a} 0 / SET g:gate:{a} ME "
        "PX 500 / BLPOP g:queue:{b} 0 / SET g:gate:{b} ME PX 500 / WATCH a b");
    cr_expect_eq(s.engine.context.stats.n_commands, 5 + 9);
    advance(&s, LEASE_US);
    link_up(&s, 0);
    hears_gates(&s, 0, "SET g:gate:{a} ME PX 500 NX / PTTL g:gate:{a}");
    says(&s, 0, "OK, :500");
    hears_gates(&s, 0, "RPUSH g:queue:{a} mine / PEXPIRE g:queue:{a} 500");
    cr_expect_eq(s.engine.context.stats.n_commands, 5 + 9 + 4);
    stage_close(&s);
}
