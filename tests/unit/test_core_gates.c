/*
 * Gates, seen from a client: which transactions pass through one, when it goes up, when it is gone
 * again, and what happens where there can be none.
 */
#include "gate_stage.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static const gate_config gated = {.n_gate_lanes = 1};
static const gate_config adaptive = {
    .n_gate_lanes = 1, .is_adaptive = true, .stage.has_no_prefetch = true};

/* Loses one race on an ordinary lane that has just read, and retries when the pause is over. */
static void lose(stage *s, const char *exec)
{
    hears(s, 0, exec);
    says(s, 0, "OK, QUEUED, nil");
    advance(s, 0);
    if (lane_of(s, 0)->n_new_replies == 0 && lane_of(s, 1)->state == GAVEL__LANE_DOWN)
        sleeps(s);
}

/* ---- Who passes ----------------------------------------------------------------------------- */

Test(core_gates, who_only_reads_passes_by)
{
    stage s;
    gate_stage_open(&s, &gated);
    actor a = {.reads = "a", .plays = "GET a", .request.is_read_only = true};
    enter(&s, &a);
    advance(&s, 0);
    link_up(&s, 0);
    hears(&s, 0, "GET a");
    says(&s, 0, "\"1\"");
    cr_expect_not(ends(&s, &a, GAVEL_COMMITTED)->is_gated);
    cr_expect_eq((int)lane_of(&s, 1)->state, (int)GAVEL__LANE_DOWN);
    stage_close(&s);
}

/* While a gate is waited for, too. */
Test(core_gates, who_only_reads_does_not_wait_behind_who_waits)
{
    stage s;
    gate_stage_open(&s, &gated);
    actor writer = an_adder();
    enter(&s, &writer);
    advance(&s, 0);
    link_up(&s, 1);
    hears_gates(&s, 1, ENTER_A READ_A);
    says(&s, 1, "nil, nil, OK, \"1\"");
    actor reader = {.reads = "a", .plays = "GET a", .request.is_read_only = true};
    enter(&s, &reader);
    advance(&s, 0);
    link_up(&s, 0);
    hears(&s, 0, "GET a");
    says(&s, 0, "\"1\"");
    ends(&s, &reader, GAVEL_COMMITTED);
    stage_close(&s);
}

/* Its key is nobody else's. */
Test(core_gates, an_id_has_no_gate)
{
    stage s;
    gate_stage_open(&s, &gated);
    actor a = {.reads = "a", .plays = "ADD a 1", .id = "x"};
    enter(&s, &a);
    advance(&s, 0);
    link_up(&s, 1);
    hears_gates(&s, 1, ENTER_A "WATCH a g:id:{x} / GET a / GET g:id:{x}");
    stage_close(&s);
}

Test(core_gates, a_solo_is_alone_inside_too)
{
    stage s;
    gate_stage_open(&s, &gated);
    actor solo = {.reads = "a", .plays = "ADD a 1", .request.is_solo = true};
    actor other = an_adder();
    enter(&s, &solo);
    enter(&s, &other);
    advance(&s, 0);
    link_up(&s, 1);
    hears_gates(&s, 1, ENTER_A READ_A);
    says(&s, 1, "nil, OK, OK, \"1\"");
    advance(&s, 0);
    cr_expect_eq(solo.n_runs, 1);
    cr_expect_eq(other.n_runs, 0);
    stage_close(&s);
}

/* Whoever is ready shares the round, and the grant. */
Test(core_gates, several_share_a_round_inside)
{
    stage s;
    gate_stage_open(&s, &gated);
    actor actors[3] = {an_adder(), an_adder(), an_adder()};
    for (size_t i = 0; i < 3; i++)
        enter(&s, &actors[i]);
    advance(&s, 0);
    link_up(&s, 1);
    hears_gates(&s, 1, ENTER_A READ_A);
    says(&s, 1, "nil, OK, OK, \"1\"");
    hears_gates(&s, 1, "MULTI / SET a 4 / " HAND_OFF_A " / EXEC");
    says(&s, 1, "OK, QUEUED, QUEUED, QUEUED, [OK, :1, :1]");
    for (size_t i = 0; i < 3; i++)
        cr_expect(ends(&s, &actors[i], GAVEL_COMMITTED)->is_gated);
    stage_close(&s);
}

/* A key that the body comes to want has a gate, too. */
Test(core_gates, a_body_that_wants_more_enters_again)
{
    stage s;
    gate_stage_open(&s, &gated);
    actor a = {.reads = "a", .plays = "GET a; GET b; SET b 1"};
    enter(&s, &a);
    advance(&s, 0);
    link_up(&s, 1);
    hears_gates(&s, 1, ENTER_A READ_A);
    says(&s, 1, "nil, OK, OK, \"1\"");
    hears_gates(&s, 1,
        HAND_OFF_A " / UNWATCH / " ENTER_A
                   "LPOP g:queue:{b} / SET g:gate:{b} ME PX 500 NX / WATCH a b / GET a / GET b");
    says(&s, 1, ":1, :1, OK, \"1\", nil, nil, OK, OK, \"1\", nil");
    hears_gates(&s, 1,
        "SET g:gate:{a} ME PX 500 / MULTI / SET b 1 / " HAND_OFF_A
        " / RPUSH g:queue:{b} mine / PEXPIRE g:queue:{b} 500 / EXEC");
    stage_close(&s);
}

/* ---- Going up ------------------------------------------------------------------------------- */

/* Who has lost three times races no more. */
Test(core_gates, who_keeps_losing_puts_a_gate_up)
{
    stage s;
    gate_stage_open(&s, &adaptive);
    actor a = an_adder();
    enter(&s, &a);
    advance(&s, 0);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, \"1\"");
    lose(&s, "MULTI / SET a 2 / EXEC");
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, \"2\"");
    s.engine.policy.prefetch_credit = 0;
    lose(&s, "MULTI / SET a 3 / EXEC");
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, \"3\"");
    s.engine.policy.prefetch_credit = 0;
    lose(&s, "MULTI / SET a 4 / EXEC");
    if (lane_of(&s, 1)->state == GAVEL__LANE_DOWN)
        sleeps(&s);
    link_up(&s, 1);
    hears_gates(&s, 1, ENTER_A READ_A);
    says(&s, 1, "nil, OK, OK, \"4\"");
    hears_gates(&s, 1, "MULTI / SET a 5 / " HAND_OFF_A " / EXEC");
    says(&s, 1, "OK, QUEUED, QUEUED, QUEUED, [OK, :1, :1]");
    const gavel_outcome *outcome = ends(&s, &a, GAVEL_COMMITTED);
    cr_expect(outcome->is_gated);
    cr_expect_eq(outcome->n_conflicts, 3);
    stage_close(&s);
}

/* Only the members whose keys are behind the gate leave. */
Test(core_gates, those_without_a_gate_stay)
{
    stage s;
    gate_stage_open(&s, &adaptive);
    actor a = an_adder();
    actor b = {.reads = "b", .plays = "ADD b 1"};
    enter(&s, &a);
    enter(&s, &b);
    advance(&s, 0);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a b / GET a / GET b");
    put_up(&s, "a");
    says(&s, 0, "OK, \"1\", \"1\"");
    hears(&s, 0, "MULTI / MSET a 2 b 2 / EXEC"); /* what has begun goes on */
    says(&s, 0, "OK, QUEUED, nil");
    hears_gates(&s, 0, "WATCH a b / GET a / GET b");
    says(&s, 0, "OK, \"9\", \"1\"");
    hears_gates(&s, 0, "MULTI / SET b 2 / EXEC");
    is_in(&s, &a, GAVEL__TX_PARKED);
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &b, GAVEL_COMMITTED);
    link_up(&s, 1);
    hears_gates(&s, 1, ENTER_A READ_A);
    stage_close(&s);
}

/* ---- Fading --------------------------------------------------------------------------------- */

/* Nobody had to wait: a second after it went up it is gone. */
Test(core_gates, a_gate_without_a_queue_is_gone_after_a_second)
{
    stage s;
    gate_stage_open(&s, &adaptive);
    put_up(&s, "a");
    actor a = an_adder();
    enter(&s, &a);
    advance(&s, 0);
    link_up(&s, 1);
    hears_gates(&s, 1, ENTER_A READ_A);
    says(&s, 1, "nil, OK, OK, \"1\"");
    hears_gates(&s, 1, "MULTI / SET a 2 / " HAND_OFF_A " / EXEC");
    says(&s, 1, "OK, QUEUED, QUEUED, QUEUED, [OK, :1, :1]");
    ends(&s, &a, GAVEL_COMMITTED);
    advance(&s, 1000000);
    actor b = an_adder();
    enter(&s, &b);
    advance(&s, 0);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    stage_close(&s);
}

/* Somebody else held it: it is up for another second. */
Test(core_gates, a_gate_with_a_queue_stays)
{
    stage s;
    gate_stage_open(&s, &adaptive);
    put_up(&s, "a");
    actor a = an_adder();
    enter(&s, &a);
    advance(&s, 0);
    link_up(&s, 1);
    hears_gates(&s, 1, ENTER_A READ_A);
    says(&s, 1, "nil, nil, OK, \"1\"");
    hears_gates(&s, 1,
        "UNWATCH / CLIENT SETNAME wait:g:gate:{a} / BLPOP g:queue:{a} 0 / SET g:gate:{a} ME PX 500 "
        "/ " READ_A);
    advance(&s, 200000);
    says(&s, 1, "OK, OK, [\"x\", \"1\"], OK, OK, \"1\"");
    hears_gates(&s, 1, "MULTI / SET a 2 / " HAND_OFF_A " / EXEC");
    says(&s, 1, "OK, QUEUED, QUEUED, QUEUED, [OK, :1, :1]");
    ends(&s, &a, GAVEL_COMMITTED);
    advance(&s, 900000);
    actor b = an_adder();
    enter(&s, &b);
    hears_gates(&s, 1, ENTER_A READ_A);
    stage_close(&s);
}

/* ---- Where there can be none ---------------------------------------------------------------- */

/* For good: what a login may not do it will not be allowed in a moment. */
Test(core_gates, a_login_that_may_not_use_gates_does_without)
{
    static const char *const replies[] = {"-NOPERM no, nil", "nil, -NOPERM no", "-NOPERM no, OK"};
    for (size_t i = 0; i < sizeof replies / sizeof *replies; i++) {
        stage s;
        gate_stage_open(&s, &gated);
        actor a = an_adder();
        enter(&s, &a);
        advance(&s, 0);
        link_up(&s, 1);
        hears_gates(&s, 1, ENTER_A READ_A);
        says(&s, 1, replies[i]);
        says(&s, 1, "OK, \"1\"");
        advance(&s, 0);
        (void)stage_listen(&s, 1);
        bool hands_on = lane_of(&s, 1)->round->committing.n_hand_off > 0;
        says(&s, 1, hands_on ? "OK, QUEUED, QUEUED, QUEUED, [OK, :1, :1]" : "OK, QUEUED, [OK]");
        ends(&s, &a, GAVEL_COMMITTED);
        advance(&s, 3600000000);
        actor b = an_adder();
        enter(&s, &b);
        advance(&s, 0);
        link_up(&s, 0);
        hears(&s, 0, "WATCH a / GET a");
        stage_close(&s);
    }
}

Test(core_gates, a_login_that_may_not_hand_on_does_without)
{
    stage s;
    gate_stage_open(&s, &gated);
    actor a = an_adder();
    enter(&s, &a);
    advance(&s, 0);
    link_up(&s, 1);
    hears_gates(&s, 1, ENTER_A READ_A);
    says(&s, 1, "nil, OK, OK, \"1\"");
    hears_gates(&s, 1, "MULTI / SET a 2 / " HAND_OFF_A " / EXEC");
    says(&s, 1, "OK, QUEUED, QUEUED, -NOPERM no, -EXECABORT no");
    cr_expect_eq(a.n_runs, 1);
    advance(&s, 0);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, \"1\"");
    hears(&s, 0, "MULTI / SET a 2 / EXEC / WATCH a / GET a");
    says(&s, 0, "OK, QUEUED, [OK]");
    const gavel_outcome *outcome = ends(&s, &a, GAVEL_COMMITTED);
    cr_expect_eq(outcome->n_faults, 0);
    cr_expect_not(outcome->is_gated);
    hears_nothing(&s, 1);
    stage_close(&s);
}

/* The fault is the member's own: it is told, and the gate is not blamed. */
Test(core_gates, a_refused_write_inside_is_told)
{
    stage s;
    gate_stage_open(&s, &gated);
    actor a = an_adder();
    enter(&s, &a);
    advance(&s, 0);
    link_up(&s, 1);
    hears_gates(&s, 1, ENTER_A READ_A);
    says(&s, 1, "nil, OK, OK, \"1\"");
    hears_gates(&s, 1, "MULTI / SET a 2 / " HAND_OFF_A " / EXEC");
    says(&s, 1, "OK, -NOPERM no, QUEUED, QUEUED, -EXECABORT no");
    ends_saying(&s, &a, GAVEL_REJECTED, "NOPERM");
    cr_expect_not(gavel__node_is_without_gates(&s.engine.only.base, s.now_us));
    hears_gates(&s, 1, HAND_OFF_A);
    stage_close(&s);
}

/* Ordinary links come up, those for gates do not: for a second nobody waits for one. */
Test(core_gates, without_a_link_for_gates_there_are_none)
{
    stage s;
    gate_stage_open(&s, &gated);
    actor reader = {.reads = "x", .plays = "GET x", .request.is_read_only = true};
    enter(&s, &reader);
    advance(&s, 0);
    link_up(&s, 0);
    hears(&s, 0, "GET x");
    says(&s, 0, "nil");
    ends(&s, &reader, GAVEL_COMMITTED);
    actor a = an_adder();
    enter(&s, &a);
    advance(&s, 0);
    link_refused(&s, 1, false, "ERR max number of clients reached");
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, \"1\"");
    hears(&s, 0, "MULTI / SET a 2 / EXEC / WATCH a / GET a");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &a, GAVEL_COMMITTED);
    says(&s, 0, "OK, \"2\"");
    advance(&s, 1000000);
    actor b = an_adder();
    enter(&s, &b);
    advance(&s, 0);
    link_up(&s, 1);
    hears_gates(&s, 1, ENTER_A READ_A);
    stage_close(&s);
}

/* ---- Records -------------------------------------------------------------------------------- */

/* For people: who, and since when by the wall clock. */
Test(core_gates, a_record_says_who_and_since_when)
{
    stage s;
    gate_stage_open(&s, &gated);
    s.engine.gates.config.epoch_us = 1700000000000000 - s.now_us;
    actor a = an_adder();
    enter(&s, &a);
    advance(&s, 0);
    link_up(&s, 1);
    advance(&s, 0);
    cr_expect_not_null(strstr(stage_peek(&s, 1), " since=1700000000000 me PX 500 NX"));
    stage_close(&s);
}

Test(core_gates, each_claim_is_another)
{
    stage s;
    gate_stage_open(&s, &gated);
    actor a = {.keys = "a b", .plays = "SET a 1"};
    enter(&s, &a);
    advance(&s, 0);
    link_up(&s, 1);
    advance(&s, 0);
    cr_expect_neq(gate_of(&s, "a")->owner, gate_of(&s, "b")->owner);
    stage_close(&s);
}

static bool is_named(gavel__gate *gate, const char *record)
{
    return gavel__gate_is_named(gate, gavel_str(record));
}

Test(core_gates, a_record_is_told_by_its_claim)
{
    gavel__gate gate = {.owner = 0x123};
    cr_expect(is_named(&gate, "0000000000000123 since=1 me"));
    cr_expect(is_named(&gate, "0000000000000123"));
    cr_expect_not(is_named(&gate, "000000000000012"));
    cr_expect_not(is_named(&gate, "0000000000000124 since=1 me"));
    cr_expect_not(is_named(&gate, ""));
}

/* ---- The table ------------------------------------------------------------------------------ */

/* Gates come and go by the thousands: those nobody needs are forgotten, the others stay. */
Test(core_gates, the_table_does_not_grow_without_end)
{
    stage s;
    gate_stage_open(&s, &adaptive);
    put_up(&s, "a");
    char name[16];
    for (unsigned i = 0; i < 10000; i++) {
        snprintf(name, sizeof(name), "k%u", i);
        gavel_bytes key = gavel_str(name);
        cr_assert_not_null(gavel__gates_make(
            &s.engine.gates, key, gavel__map_hash(&s.engine.gates.map, key), s.now_us));
    }
    cr_expect_leq(s.engine.gates.map.n_nodes, 1025);
    cr_expect(gavel__gate_is_up(gate_of(&s, "a"), s.now_us));
    stage_close(&s);
}

/* What stands in records and lists tells clients apart, also those that share config.seed. */
Test(core_gates, the_names_of_two_clients_with_one_seed_differ)
{
    stage s[3];
    for (uint64_t i = 0; i < 3; i++)
        stage_open(&s[i], &(stage_config){.identity = i / 2});
    cr_assert_str_eq(s[0].engine.gates.turn, s[1].engine.gates.turn, "a play is repeated");
    cr_assert_str_neq(s[0].engine.gates.turn, s[2].engine.gates.turn);
    for (size_t i = 0; i < 3; i++)
        stage_close(&s[i]);
}
