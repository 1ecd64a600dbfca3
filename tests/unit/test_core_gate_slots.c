/*
 * Gates in a Cluster: they are where the slot of their key is. The stage has two nodes: a is in
 * slot 15495 and d in 11298, both on the second one; b is in 3300, on the first. Links 0 and 1 are
 * the first node's, 2 and 3 the second one's; 1 and 3 are for gates.
 */
#include "gate_stage.h"

#include <criterion/criterion.h>

#define ASK "-ASK 15495 10.0.0.2:7001"
#define MOVED "-MOVED 15495 10.0.0.2:7001"
#define ENTER_B "LPOP g:queue:{b} / SET g:gate:{b} ME PX 500 NX / WATCH b / GET b"

static const gate_config two_nodes = {
    .stage = {.is_cluster = true, .n_nodes = 2, .has_no_prefetch = true}, .n_gate_lanes = 1};

static gavel__node *first_node(stage *s)
{
    return s->engine.nodes.first;
}

static gavel__node *second_node(stage *s)
{
    return s->engine.nodes.first->following;
}

/* To the point where the claim of "a" is to be answered. */
static void begin(stage *s, actor *a)
{
    *a = an_adder();
    gate_stage_open(s, &two_nodes);
    enter(s, a);
    advance(s, 0);
    link_up(s, 3);
    hears_gates(s, 3, ENTER_A READ_A);
}

/* And where BLPOP is. */
static void begin_to_wait(stage *s, actor *a)
{
    begin(s, a);
    says(s, 3, "nil, nil, OK, \"1\"");
    hears_gates(s, 3, "UNWATCH / " NAME_A WAIT_A READ_A);
    says(s, 3, "OK, OK");
}

static void is_gated(stage *s, uint32_t link, actor *b)
{
    enter(s, b);
    advance(s, 0);
    link_up(s, link);
    hears_gates(s, link, ENTER_B);
}

/* ---- A slot that moves ---------------------------------------------------------------------- */

/* The claim is made anew: what was seen of a gate elsewhere says nothing. Nor that guests came to
 * where it has left. */
Test(core_gate_slots, who_waits_goes_along_with_the_slot)
{
    stage s;
    actor a;
    begin_to_wait(&s, &a);
    cr_assert(gavel__node_note_guests(lane_of(&s, 3)->node, 15495));
    stage_give_slot(&s, 15495, first_node(&s));
    is_closed(&s, 3, "nobody waits");
    advance(&s, 0);
    link_up(&s, 1);
    hears_gates(&s, 1, ENTER_A READ_A);
    says(&s, 1, "nil, OK, OK, \"5\"");
    hears_gates(&s, 1, "MULTI / SET a 6 / " HAND_OFF_A " / EXEC");
    says(&s, 1, "OK, QUEUED, QUEUED, QUEUED, [OK, :1, :1]");
    cr_expect(ends(&s, &a, GAVEL_COMMITTED)->is_gated);
    stage_close(&s);
}

/* The node says so, in the midst of a wait. Nothing is handed off there, and no attempt was lost.
 */
Test(core_gate_slots, who_is_let_go_by_the_node_goes_along)
{
    stage s;
    actor a;
    begin_to_wait(&s, &a);
    says(&s, 3, MOVED ", " MOVED ", " MOVED ", " MOVED);
    stage_give_slot(&s, 15495, first_node(&s));
    advance(&s, 0);
    hears_nothing(&s, 3);
    link_up(&s, 1);
    hears_gates(&s, 1, ENTER_A READ_A);
    stage_close(&s);
}

/* What one lane holds at the old node does not let others in at the new one, nor keep them out. */
Test(core_gate_slots, a_gate_that_is_held_at_the_old_node_is_claimed_at_the_new_one)
{
    stage s;
    actor a;
    actor also_a = an_adder();
    begin(&s, &a);
    says(&s, 3, "nil, OK, OK, \"1\"");
    hears_gates(&s, 3, "MULTI / SET a 2 / " HAND_OFF_A " / EXEC");
    enter(&s, &also_a);
    stage_give_slot(&s, 15495, first_node(&s));
    says(&s, 3, "OK, " MOVED ", " MOVED ", " MOVED ", -EXECABORT no");
    advance(&s, 0);
    link_up(&s, 1);
    hears_gates(&s, 1, ENTER_A READ_A);
    stage_close(&s);
}

/* ---- A slot that is on its way -------------------------------------------------------------- */

/* The keys of a gate come and go, so the old node has them rarely: nobody passes through it for a
 * second. */
Test(core_gate_slots, a_gate_is_closed_while_its_slot_is_on_its_way)
{
    stage s;
    actor a;
    actor also_a = an_adder();
    actor later = an_adder();
    actor d = {.reads = "d", .plays = "ADD d 1"};
    begin(&s, &a);
    says(&s, 3, ASK ", " ASK ", OK, \"1\"");
    hears_gates(&s, 3, "MULTI / SET a 2 / EXEC");
    says(&s, 3, "OK, QUEUED, [OK]");
    ends(&s, &a, GAVEL_COMMITTED);
    enter(&s, &also_a);
    advance(&s, 0);
    link_up(&s, 2);
    hears_gates(&s, 2, READ_A);
    says(&s, 2, "OK, \"2\"");
    hears(&s, 2, "MULTI / SET a 3 / EXEC");
    says(&s, 2, "OK, QUEUED, [OK]");
    ends(&s, &also_a, GAVEL_COMMITTED);
    enter(&s, &d);
    advance(&s, 0);
    hears_gates(&s, 3, "LPOP g:queue:{d} / SET g:gate:{d} ME PX 500 NX / WATCH d / GET d");
    says(&s, 3, "nil, OK, OK, \"1\"");
    hears_gates(&s, 3, "MULTI / SET d 2 / RPUSH g:queue:{d} mine / PEXPIRE g:queue:{d} 500 / EXEC");
    says(&s, 3, "OK, QUEUED, QUEUED, QUEUED, [OK, :1, :1]");
    ends(&s, &d, GAVEL_COMMITTED);
    advance(&s, 1000000);
    enter(&s, &later);
    hears_gates(&s, 3, ENTER_A READ_A);
    stage_close(&s);
}

/* Who waits learns it by what he asks, now and then. */
Test(core_gate_slots, who_waits_goes_without_while_the_slot_is_on_its_way)
{
    stage s;
    actor a;
    begin_to_wait(&s, &a);
    advance(&s, LEASE_US);
    link_up(&s, 2);
    hears_gates(&s, 2, "SET g:gate:{a} ME PX 500 NX / PTTL g:gate:{a}");
    says(&s, 2, ASK ", " ASK);
    is_closed(&s, 3, "nobody waits");
    hears_gates(&s, 2, READ_A);
    cr_expect_not(gavel__node_is_without_gates(second_node(&s), s.now_us));
    stage_close(&s);
}

/* It cannot be handed off there, so it is not held any more either. */
Test(core_gate_slots, a_hand_off_that_cannot_be_made_is_left_out)
{
    stage s;
    actor a;
    begin(&s, &a);
    says(&s, 3, "nil, OK, OK, \"1\"");
    hears_gates(&s, 3, "MULTI / SET a 2 / " HAND_OFF_A " / EXEC");
    says(&s, 3, "OK, QUEUED, " ASK ", " ASK ", -EXECABORT no");
    advance(&s, 20000);
    link_up(&s, 2);
    hears_gates(&s, 2, READ_A);
    says(&s, 2, "OK, \"1\"");
    hears(&s, 2, "MULTI / SET a 2 / EXEC");
    says(&s, 2, "OK, QUEUED, [OK]");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

/* ---- A node without gates ------------------------------------------------------------------- */

/* Each has its own users, and its own version. */
Test(core_gate_slots, gates_are_off_at_the_node_that_refuses_them)
{
    stage s;
    actor a;
    actor also_a = an_adder();
    actor b = {.reads = "b", .plays = "ADD b 1"};
    begin(&s, &a);
    says(&s, 3, "-NOPERM no, -NOPERM no, OK, \"1\"");
    hears_gates(&s, 3, "MULTI / SET a 2 / EXEC");
    says(&s, 3, "OK, QUEUED, [OK]");
    ends(&s, &a, GAVEL_COMMITTED);
    enter(&s, &also_a);
    advance(&s, 0);
    link_up(&s, 2);
    hears_gates(&s, 2, READ_A);
    is_gated(&s, 1, &b);
    stage_close(&s);
}

/* Nor can a link for them be had at this one. */
Test(core_gate_slots, gates_are_off_at_the_node_that_cannot_be_had)
{
    stage s;
    actor a = an_adder();
    actor b = {.reads = "b", .plays = "ADD b 1"};
    gate_stage_open(&s, &two_nodes);
    enter(&s, &a);
    advance(&s, 0);
    link_refused(&s, 3, false, NULL);
    advance(&s, 0);
    is_gated(&s, 1, &b);
    stage_close(&s);
}
