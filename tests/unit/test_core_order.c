/*
 * The order of transactions: of two with a key in common the elder goes first, whatever else they
 * want; but nobody waits for long for one that waits at a gate, unless for the key behind it.
 */
#include "gate_stage.h"

#include <criterion/criterion.h>

static const stage_config two_lanes = {.has_no_prefetch = true, .n_lanes = 2};
static const gate_config adaptive = {.is_adaptive = true, .stage = {.has_no_prefetch = true}};

static actor setter(const char *keys, const char *plays)
{
    return (actor){.keys = keys, .plays = plays};
}

/* ---- Several keys -------------------------------------------------------------------------- */

/* "a" is in a round, "b" is free; but it is promised to the elder one. */
Test(core_order, nobody_younger_takes_what_an_elder_waits_for)
{
    stage s;
    stage_open(&s, &two_lanes);
    actor a = setter("a", "SET a 1");
    actor both = setter("a b", "SET a 2; SET b 2");
    actor b = setter("b", "SET b 3");
    actor c = setter("c", "SET c 1");
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a");
    enter(&s, &both);
    enter(&s, &b);
    is_in(&s, &both, GAVEL__TX_PARKED);
    is_in(&s, &b, GAVEL__TX_PARKED);
    enter(&s, &c);
    link_up(&s, 1);
    hears(&s, 1, "WATCH c");
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / SET a 1 / EXEC / WATCH a b");
    says(&s, 0, "OK, QUEUED, [OK], OK");
    hears(&s, 0, "MULTI / MSET a 2 b 3 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &b, GAVEL_COMMITTED);
    stage_close(&s);
}

/* Two chains, each of whose rounds would do for the next one: in between there is a turn for who
 * wants both keys. */
Test(core_order, who_wants_the_keys_of_two_chains_gets_them_at_once)
{
    stage s;
    stage_open(&s, &(stage_config){.has_no_prefetch = true, .n_lanes = 2, .max_width = 1});
    actor a[2] = {setter("a", "SET a 1"), setter("a", "SET a 3")};
    actor b[2] = {setter("b", "SET b 1"), setter("b", "SET b 3")};
    actor both = setter("a b", "SET a 2; SET b 2");
    enter(&s, &a[0]);
    enter(&s, &b[0]);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a");
    link_up(&s, 1);
    hears(&s, 1, "WATCH b");
    enter(&s, &both);
    enter(&s, &a[1]);
    enter(&s, &b[1]);
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / SET a 1 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    hears_nothing(&s, 0);
    says(&s, 1, "OK");
    hears(&s, 1, "MULTI / SET b 1 / EXEC / WATCH a b");
    says(&s, 1, "OK, QUEUED, [OK], OK");
    hears(&s, 1, "MULTI / MSET a 2 b 2 / EXEC / WATCH a");
    stage_close(&s);
}

/* "b" is in a round whose link is silent: that keeps nobody from "a". */
Test(core_order, a_silent_link_keeps_nobody_from_other_keys)
{
    enum { LATE_AFTER_US = 4000 };
    stage s;
    stage_open(&s, &two_lanes);
    actor b = setter("b", "SET b 1");
    actor both = setter("a b", "SET a 2; SET b 2");
    actor a = setter("a", "SET a 1");
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "WATCH b");
    enter(&s, &both);
    enter(&s, &a);
    advance(&s, LATE_AFTER_US - 1);
    is_in(&s, &a, GAVEL__TX_PARKED);
    sleeps(&s);
    is_in(&s, &a, GAVEL__TX_READY);
    link_up(&s, 1);
    hears(&s, 1, "WATCH a");
    stage_close(&s);
}

/* The one that goes first in one line and waits in another is gone: those behind it go on. */
Test(core_order, who_ends_while_it_waits_lets_the_next_ones_go)
{
    stage s;
    stage_open(&s, &two_lanes);
    actor a = setter("a", "SET a 1");
    actor both = setter("a b", "SET a 2; SET b 2");
    actor b = setter("b", "SET b 3");
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a");
    enter(&s, &both);
    enter(&s, &b);
    is_in(&s, &b, GAVEL__TX_PARKED);
    cancel(&s, &both);
    ends(&s, &both, GAVEL_CANCELLED);
    is_in(&s, &b, GAVEL__TX_READY);
    link_up(&s, 1);
    hears(&s, 1, "WATCH b");
    stage_close(&s);
}

/* Who comes back from a lost round is elder than those who have come since. */
Test(core_order, who_comes_back_goes_before_those_who_came_later)
{
    stage s;
    stage_open(&s, &(stage_config){.has_no_prefetch = true, .max_width = 1});
    actor a = {.reads = "a", .plays = "GET b; SET a 1"};
    actor b = setter("a", "SET a 2");
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    enter(&s, &b);
    is_in(&s, &b, GAVEL__TX_PARKED);
    says(&s, 0, "OK, nil");
    hears(&s, 0, "UNWATCH / WATCH a b / GET a / GET b");
    is_in(&s, &b, GAVEL__TX_PARKED);
    stage_close(&s);
}

/* ---- Pauses -------------------------------------------------------------------------------- */

/* "a" pauses: the first of its line waits for that, but its other key is free meanwhile. */
Test(core_order, a_key_that_pauses_keeps_nobody_from_others)
{
    stage s;
    stage_open(&s, &(stage_config){.has_no_prefetch = true});
    actor a = {.reads = "a", .plays = "ADD a 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, \"1\"");
    hears(&s, 0, "MULTI / SET a 2 / EXEC");
    says(&s, 0, "OK, QUEUED, nil");
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, \"2\"");
    hears(&s, 0, "MULTI / SET a 3 / EXEC");
    says(&s, 0, "OK, QUEUED, nil");
    is_in(&s, &a, GAVEL__TX_PAUSED);
    actor both = setter("a b", "SET a 9; SET b 9");
    actor behind = setter("a", "SET a 10");
    actor b = setter("b", "SET b 1");
    enter(&s, &both);
    enter(&s, &behind);
    enter(&s, &b);
    hears(&s, 0, "WATCH b");
    is_in(&s, &both, GAVEL__TX_PAUSED);
    is_in(&s, &behind, GAVEL__TX_PARKED);
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / SET b 1 / EXEC / WATCH b");
    says(&s, 0, "OK, QUEUED, [OK], OK");
    ends(&s, &b, GAVEL_COMMITTED);
    advance(&s, a.transaction->resume_us - s.now_us);
    hears(&s, 0, "UNWATCH / WATCH a b / GET a");
    says(&s, 0, "OK, OK, \"5\"");
    hears(&s, 0, "MULTI / MSET b 9 a 10 / EXEC");
    stage_close(&s);
}

/* Nor do those who stand behind the one that waits for the pause. */
Test(core_order, who_stands_behind_a_pause_keeps_nobody_from_others)
{
    stage s;
    stage_open(&s, &(stage_config){.has_no_prefetch = true});
    actor a = {.reads = "a", .plays = "ADD a 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, \"1\"");
    hears(&s, 0, "MULTI / SET a 2 / EXEC");
    says(&s, 0, "OK, QUEUED, nil");
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, \"2\"");
    hears(&s, 0, "MULTI / SET a 3 / EXEC");
    says(&s, 0, "OK, QUEUED, nil");
    actor first = setter("a", "SET a 9");
    actor before = setter("a b", "SET a 10; SET b 10");
    actor b = setter("b", "SET b 1");
    enter(&s, &first);
    enter(&s, &before);
    enter(&s, &b);
    hears(&s, 0, "WATCH b");
    is_in(&s, &first, GAVEL__TX_PAUSED);
    is_in(&s, &before, GAVEL__TX_PARKED);
    says(&s, 0, "OK");
    composes(&s, 0, "MULTI / SET b 1 / EXEC / WATCH b");
    stage_close(&s);
}

/* ---- Gates --------------------------------------------------------------------------------- */

#define ENTER_Z "LPOP g:queue:{z} / SET g:gate:{z} ME PX 500 NX / "
#define WAIT_Z                                                                                     \
    "UNWATCH / CLIENT SETNAME wait:g:gate:{z} / BLPOP g:queue:{z} 0 / SET g:gate:{z} ME PX 500 / "
#define READ_BOTH "WATCH a z / GET a / GET z"
#define HAND_OFF_Z "RPUSH g:queue:{z} mine / PEXPIRE g:queue:{z} 500"
#define GRANTED_Z "OK, OK, [\"g:queue:{z}\", \"1\"], OK, "

/* How long a round that waits at a gate keeps its other keys, where nothing was measured yet. */
enum { PATIENCE_US = 1000 };

static actor adder_of_both(void)
{
    return (actor){.reads = "a z", .plays = "ADD a 1; ADD z 1"};
}

/* The actor wants "a" and "z", and stands in the queue of the gate of "z". */
static void wait_at_z(stage *s, actor *both)
{
    *both = adder_of_both();
    gate_stage_open(s, &adaptive);
    put_up(s, "z");
    enter(s, both);
    advance(s, 0);
    link_up(s, 1);
    hears_gates(s, 1, ENTER_Z READ_BOTH);
    says(s, 1, "nil, nil, OK, \"1\", \"5\"");
    hears_gates(s, 1, WAIT_Z READ_BOTH);
    advance(s, PATIENCE_US);
}

Test(core_order, who_waits_at_a_gate_leaves_its_other_keys_to_others)
{
    stage s;
    actor both;
    wait_at_z(&s, &both);
    actor alone = an_adder();
    enter(&s, &alone);
    advance(&s, 0);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, \"1\"");
    hears(&s, 0, "MULTI / SET a 2 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &alone, GAVEL_COMMITTED);
    says(&s, 1, GRANTED_Z "OK, \"2\", \"5\"");
    hears_gates(&s, 1, "MULTI / MSET a 3 z 6 / " HAND_OFF_Z " / EXEC");
    says(&s, 1, "OK, QUEUED, QUEUED, QUEUED, [OK, :1, :1]");
    cr_expect_eq(ends(&s, &both, GAVEL_COMMITTED)->n_conflicts, 0);
    stage_close(&s);
}

/* Nor do those keep others who stand behind it; also such as came before it had to wait. */
Test(core_order, nobody_waits_for_those_behind_who_waits_at_a_gate)
{
    stage s;
    actor first = {.reads = "z", .plays = "ADD z 1"};
    actor both[3] = {adder_of_both(), adder_of_both(), adder_of_both()};
    actor alone = an_adder();
    gate_stage_open(&s, &adaptive);
    put_up(&s, "z");
    enter(&s, &first);
    advance(&s, 0);
    link_up(&s, 1);
    hears_gates(&s, 1, ENTER_Z "WATCH z / GET z");
    enter(&s, &both[0]);
    enter(&s, &both[1]);
    enter(&s, &alone);
    advance(&s, 0);
    is_in(&s, &alone, GAVEL__TX_PARKED);
    says(&s, 1, "nil, nil, OK, \"5\"");
    advance(&s, PATIENCE_US - 1);
    is_in(&s, &alone, GAVEL__TX_PARKED);
    sleeps(&s);
    is_in(&s, &alone, GAVEL__TX_READY);
    enter(&s, &both[2]);
    advance(&s, 0);
    is_in(&s, &both[2], GAVEL__TX_PARKED);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    hears_gates(&s, 1, WAIT_Z "WATCH z / GET z");
    says(&s, 0, "OK, \"1\"");
    hears(&s, 0, "MULTI / SET a 2 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &alone, GAVEL_COMMITTED);
    says(&s, 1, GRANTED_Z "OK, \"5\"");
    hears_gates(&s, 1, "MULTI / SET z 6 / EXEC / " READ_BOTH);
    says(&s, 1, "OK, QUEUED, [OK], OK, \"2\", \"6\"");
    ends(&s, &first, GAVEL_COMMITTED);
    hears_gates(&s, 1, "MULTI / MSET a 5 z 9 / " HAND_OFF_Z " / EXEC");
    stage_close(&s);
}

/* But no more than so many overtake it: then it stays first in the line of its other key. */
Test(core_order, who_waits_behind_a_gate_is_overtaken_by_64_at_most)
{
    stage s;
    actor first = {.reads = "z", .plays = "ADD z 1"};
    actor both = adder_of_both();
    static actor alone[GAVEL__MAX_OVERTAKEN + 1];
    gate_stage_open(&s, &(gate_config){.is_adaptive = true, .stage.has_no_prefetch = true});
    put_up(&s, "z");
    enter(&s, &first);
    advance(&s, 0);
    link_up(&s, 1);
    hears_gates(&s, 1, ENTER_Z "WATCH z / GET z");
    enter(&s, &both);
    says(&s, 1, "nil, nil, OK, \"5\"");
    hears_gates(&s, 1, WAIT_Z "WATCH z / GET z");
    advance(&s, PATIENCE_US);
    for (size_t i = 0; i < GAVEL__MAX_OVERTAKEN; i++) {
        alone[i] = (actor){.keys = "a", .plays = "SET a 1"};
        enter(&s, &alone[i]);
        advance(&s, 0);
        if (i == 0)
            link_up(&s, 0);
        hears(&s, 0, "WATCH a");
        says(&s, 0, "OK");
        hears(&s, 0, "MULTI / SET a 1 / EXEC");
        says(&s, 0, "OK, QUEUED, [OK]");
        ends(&s, &alone[i], GAVEL_COMMITTED);
    }
    alone[GAVEL__MAX_OVERTAKEN] = an_adder();
    enter(&s, &alone[GAVEL__MAX_OVERTAKEN]);
    hears_nothing(&s, 0);
    is_in(&s, &alone[GAVEL__MAX_OVERTAKEN], GAVEL__TX_PARKED);
    says(&s, 1, GRANTED_Z "OK, \"5\"");
    hears_gates(&s, 1, "MULTI / SET z 6 / EXEC / " READ_BOTH);
    says(&s, 1, "OK, QUEUED, [OK], OK, \"1\", \"6\"");
    hears_gates(&s, 1, "MULTI / MSET a 2 z 7 / EXEC");
    is_in(&s, &alone[GAVEL__MAX_OVERTAKEN], GAVEL__TX_PARKED);
    stage_close(&s);
}

/* It is let in while another round of ours writes to a key that it has read: it stays inside, and
 * reads again behind that round, before anybody younger. */
Test(core_order, a_key_that_is_taken_when_the_gate_opens_is_waited_for_inside)
{
    stage s;
    actor both;
    wait_at_z(&s, &both);
    actor alone[2] = {an_adder(), an_adder()};
    enter(&s, &alone[0]);
    advance(&s, 0);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, \"1\"");
    hears(&s, 0, "MULTI / SET a 2 / EXEC");
    says(&s, 1, GRANTED_Z "OK, \"1\", \"5\"");
    enter(&s, &alone[1]);
    hears_gates(&s, 1, "");
    is_in(&s, &both, GAVEL__TX_PARKED);
    cr_expect_not(gavel__engine_keeps_gates(&s.engine), "there is nothing to come back for");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &alone[0], GAVEL_COMMITTED);
    hears_gates(&s, 1, "UNWATCH / " READ_BOTH);
    is_in(&s, &alone[1], GAVEL__TX_PARKED);
    says(&s, 1, "OK, OK, \"2\", \"5\"");
    hears_gates(&s, 1, "MULTI / MSET a 3 z 6 / EXEC");
    says(&s, 1, "OK, QUEUED, [OK]");
    cr_expect_eq(ends(&s, &both, GAVEL_COMMITTED)->n_conflicts, 0);
    hears_gates(&s, 1, HAND_OFF_Z);
    stage_close(&s);
}

/* But no longer than for half of the lease, also if nothing else happens. */
Test(core_order, a_gate_is_kept_for_another_round_for_half_of_the_lease)
{
    stage s;
    actor both;
    wait_at_z(&s, &both);
    actor alone = an_adder();
    enter(&s, &alone);
    advance(&s, 0);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 1, GRANTED_Z "OK, \"1\", \"5\"");
    hears_gates(&s, 1, "");
    int64_t granted_us = s.now_us;
    s.engine.policy.round_trip_us = LEASE_US; /* so it is not late meanwhile */
    while (s.now_us < granted_us + LEASE_US / 2) {
        hears_gates(&s, 1, "");
        sleeps(&s);
    }
    cr_expect_eq(s.now_us, granted_us + LEASE_US / 2);
    hears_gates(&s, 1, HAND_OFF_Z);
    stage_close(&s);
}

/* Where every key has its gate, the one of "a" is held meanwhile: by us, so our others pass. */
Test(core_order, a_gate_that_is_held_meanwhile_is_open_to_others_of_this_client)
{
    stage s;
    actor both = adder_of_both();
    gate_stage_open(&s, &(gate_config){.n_gate_lanes = 1, .stage = {.has_no_prefetch = true}});
    enter(&s, &both);
    advance(&s, 0);
    link_up(&s, 1);
    hears_gates(&s, 1, ENTER_A ENTER_Z READ_BOTH);
    says(&s, 1, "nil, OK, nil, nil, OK, \"1\", \"5\"");
    hears_gates(&s, 1, WAIT_Z READ_BOTH);
    advance(&s, PATIENCE_US);
    actor alone = an_adder();
    enter(&s, &alone);
    advance(&s, 0);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, \"1\"");
    hears(&s, 0, "MULTI / SET a 2 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &alone, GAVEL_COMMITTED);
    says(&s, 1, GRANTED_Z "OK, \"2\", \"5\"");
    hears_gates(&s, 1, "MULTI / MSET a 3 z 6 / " HAND_OFF_A " / " HAND_OFF_Z " / EXEC");
    stage_close(&s);
}

/* Of those that wait for gates the first finds them taken: one behind it gets a lane of its own. */
Test(core_order, who_wants_free_gates_gets_a_lane_behind_one_whose_gates_are_taken)
{
    enum { LOOKED_AT_AFTER_US = 50000 };
    stage s;
    actor ab = setter("a b", "SET a 1; SET b 1");
    actor a = setter("a", "SET a 2");
    actor bc = setter("b c", "SET b 3; SET c 3");
    actor z = setter("z", "SET z 4");
    gate_stage_open(&s, &(gate_config){.n_gate_lanes = 2, .stage.has_no_prefetch = true});
    enter(&s, &ab);
    advance(&s, 0);
    link_up(&s, 1);
    hears_gates(&s, 1, ENTER_A "LPOP g:queue:{b} / SET g:gate:{b} ME PX 500 NX / WATCH a b");
    enter(&s, &a);
    says(&s, 1, "nil, OK, nil, OK, OK");
    hears_gates(&s, 1, "MULTI / MSET a 1 b 1 / EXEC / WATCH a");
    says(&s, 1, "OK, QUEUED, [OK]");
    enter(&s, &bc);
    enter(&s, &z);
    is_in(&s, &bc, GAVEL__TX_READY);
    is_in(&s, &z, GAVEL__TX_READY);
    for (int64_t end_us = s.now_us + LOOKED_AT_AFTER_US; s.now_us < end_us;)
        sleeps(&s);
    link_up(&s, 2);
    hears_gates(&s, 2, ENTER_Z "WATCH z");
    stage_close(&s);
}
