/*
 * Nodes: which server of a Cluster a transaction runs on, and what goes along when a slot moves.
 * The stage has two: slots up to 8191 are on the first (b is in 3300, c in 7365), the others on the
 * second (a is in 15495, d in 11298). Link 0 is the first one's, link 1 the second one's.
 */
#include "asker.h"

#include "base/text.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static const stage_config two_nodes = {.is_cluster = true, .n_nodes = 2, .has_no_prefetch = true};

static const stage_config with_markers = {
    .is_cluster = true, .n_nodes = 2, .has_markers = true, .has_no_prefetch = true};

static void move_slot(stage *s, uint16_t slot, uint32_t index)
{
    const gavel__node *node = s->engine.nodes.first;
    while (node->index != index)
        node = node->following;
    stage_give_slot(s, slot, node);
}

static void is_wanted(stage *s, bool is_first_wanted, bool is_second_wanted)
{
    advance(s, 0);
    cr_expect_eq(lane_of(s, 0)->state == GAVEL__LANE_WANTED, is_first_wanted);
    cr_expect_eq(lane_of(s, 1)->state == GAVEL__LANE_WANTED, is_second_wanted);
}

/* ---- Where ---------------------------------------------------------------------------------- */

Test(core_nodes, each_runs_where_its_slot_is)
{
    stage s;
    stage_open(&s, &two_nodes);
    actor a = {.reads = "a", .plays = "ADD a 1"};
    actor b = {.reads = "b", .plays = "ADD b 1"};
    enter(&s, &a);
    is_wanted(&s, false, true);
    link_up(&s, 1);
    hears(&s, 1, "WATCH a / GET a");
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "WATCH b / GET b");
    says(&s, 1, "OK, nil");
    hears(&s, 1, "MULTI / SET a 1 / EXEC");
    says(&s, 1, "OK, QUEUED, [OK]");
    ends(&s, &a, GAVEL_COMMITTED);
    says(&s, 0, "OK, nil");
    hears(&s, 0, "MULTI / SET b 1 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &b, GAVEL_COMMITTED);
    stage_close(&s);
}

/* Nor does a link to one of them end the other's. */
Test(core_nodes, the_trouble_of_one_is_not_the_others)
{
    enum { OF_FIRST = 3300, OF_SECOND = 15495 };
    stage s;
    stage_open(&s, &two_nodes);
    const gavel__questions *questions = &s.engine.questions;
    actor a = {.reads = "a", .plays = "ADD a 1"};
    actor b = {.reads = "b", .plays = "ADD b 1"};
    enter(&s, &a);
    enter(&s, &b);
    link_refused(&s, 0, false, NULL);
    cr_expect_str_eq(gavel__questions_trouble(questions, OF_FIRST), "connection refused");
    cr_expect_str_eq(gavel__questions_trouble(questions, OF_SECOND), "");
    link_up(&s, 1);
    cr_expect_str_eq(gavel__questions_trouble(questions, OF_FIRST), "connection refused");
    stage_close(&s);
}

Test(core_nodes, a_round_is_of_one_slot)
{
    stage s;
    stage_open(&s, &two_nodes);
    actor b = {.reads = "b", .plays = "ADD b 1"};
    actor also_b = {.reads = "{b}2", .plays = "ADD {b}2 1"};
    actor c = {.reads = "c", .plays = "ADD c 1"};
    enter(&s, &b);
    enter(&s, &also_b);
    enter(&s, &c);
    link_up(&s, 0);
    hears(&s, 0, "WATCH b {b}2 / GET b / GET {b}2");
    says(&s, 0, "OK, nil, nil");
    hears(&s, 0, "MULTI / MSET b 1 {b}2 1 / EXEC / WATCH c / GET c");
    says(&s, 0, "OK, QUEUED, [OK], OK, nil");
    ends(&s, &b, GAVEL_COMMITTED);
    ends(&s, &also_b, GAVEL_COMMITTED);
    hears(&s, 0, "MULTI / SET c 1 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &c, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_nodes, a_connection_has_a_marker_in_each_slot)
{
    stage s;
    stage_open(&s, &with_markers);
    actor b = {.reads = "b", .plays = "ADD b 1"};
    actor c = {.reads = "c", .plays = "ADD c 1"};
    actor b_again = {.reads = "b", .plays = "ADD b 1"};
    enter(&s, &b);
    enter(&s, &c);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH b m0 / GET b");
    says(&s, 0, "OK, OK, nil");
    hears(&s, 0,
        "MULTI / SET b 1 / SET m0 n0+1 XX KEEPTTL GET / EXEC / SET m1 n1 PX 900000 / WATCH c m1 / "
        "GET c");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, \"n0\"], OK, OK, nil");
    ends(&s, &b, GAVEL_COMMITTED);
    hears(&s, 0, "MULTI / SET c 1 / SET m1 n1+1 XX KEEPTTL GET / EXEC");
    enter(&s, &b_again);
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, \"n1\"]");
    ends(&s, &c, GAVEL_COMMITTED);
    hears(&s, 0, "WATCH b m0 / GET b");
    says(&s, 0, "OK, \"1\"");
    hears(&s, 0, "MULTI / SET b 2 / SET m0 n0+2 XX KEEPTTL GET / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, \"n0+1\"]");
    ends(&s, &b_again, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_nodes, whoever_waits_goes_along_with_the_slot)
{
    stage s;
    stage_open(&s, &two_nodes);
    actor b = {.reads = "b", .plays = "ADD b 1"};
    actor also_b = {.reads = "b", .plays = "ADD b 1"};
    enter(&s, &b);
    enter(&s, &also_b);
    is_wanted(&s, true, false);
    move_slot(&s, 3300, 1);
    link_up(&s, 1);
    hears(&s, 1, "WATCH b / GET b");
    says(&s, 1, "OK, nil");
    hears(&s, 1, "MULTI / SET b 2 / EXEC");
    says(&s, 1, "OK, QUEUED, [OK]");
    ends(&s, &b, GAVEL_COMMITTED);
    ends(&s, &also_b, GAVEL_COMMITTED);
    stage_close(&s);
}

/* Behind its EXEC a lane would take whoever wants the same key. */
Test(core_nodes, behind_an_exec_a_slot_that_has_moved_is_not_read)
{
    stage s;
    stage_open(&s, &two_nodes);
    actor b = {.reads = "b", .plays = "ADD b 1"};
    actor also_b = {.reads = "b", .plays = "ADD b 1"};
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "WATCH b / GET b");
    enter(&s, &also_b);
    move_slot(&s, 3300, 1);
    says(&s, 0, "OK, nil");
    hears(&s, 0, "MULTI / SET b 1 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &b, GAVEL_COMMITTED);
    link_up(&s, 1);
    hears(&s, 1, "WATCH b / GET b");
    says(&s, 1, "OK, \"1\"");
    hears(&s, 1, "MULTI / SET b 2 / EXEC");
    says(&s, 1, "OK, QUEUED, [OK]");
    ends(&s, &also_b, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_nodes, a_node_that_is_down_holds_up_nobody_else)
{
    stage s;
    stage_open(&s, &two_nodes);
    actor a = {.reads = "a", .plays = "ADD a 1"};
    actor b = {.reads = "b", .plays = "ADD b 1"};
    enter(&s, &a);
    enter(&s, &b);
    link_refused(&s, 0, false, NULL);
    is_in(&s, &b, GAVEL__TX_PAUSED);
    is_in(&s, &a, GAVEL__TX_READY);
    link_up(&s, 1);
    hears(&s, 1, "WATCH a / GET a");
    stage_close(&s);
}

Test(core_nodes, a_slot_of_nobody_is_waited_for)
{
    stage s;
    stage_open(&s, &two_nodes);
    uint16_t nowhere[GAVEL__N_SLOTS];
    for (size_t slot = 0; slot < GAVEL__N_SLOTS; slot++)
        nowhere[slot] = GAVEL__NO_NODE;
    actor a = {.reads = "a", .plays = "ADD a 1"};
    actor b = {.reads = "b", .plays = "ADD b 1", .request = {.deadline_ms = 50}};
    actor blind = {.plays = "SET a 7"};
    gavel__engine_set_slots(&s.engine, &(gavel__slots_change){.node_of = nowhere}, s.now_us);
    enter(&s, &a);
    enter(&s, &b);
    enter(&s, &blind);
    is_wanted(&s, false, false);
    advance(&s, 50000);
    ends_saying(&s, &b, GAVEL_DEADLINE, "no node of the stage is known for slot 3300");
    move_slot(&s, 15495, 0);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    gavel__engine_cancel(&s.engine, blind.transaction, s.now_us);
    stage_close(&s);
}

/* Who does not wait is told of a link that cannot be had only where it is asked. */
Test(core_nodes, questions_count_the_failed_dials_of_their_own_node)
{
    stage s;
    stage_open(&s, &two_nodes);
    asker a = asker_init("GET a");
    asker b = asker_init("GET b");
    a.question.slot = 15495;
    b.question.slot = 3300;
    asks(&s, &a);
    asks(&s, &b);
    link_refused(&s, 0, false, NULL);
    cr_expect_eq(a.question.n_failed_dials, 0);
    cr_expect_eq(b.question.n_failed_dials, 1);
    link_up(&s, 1);
    hears(&s, 1, "GET a");
    says(&s, 1, "nil");
    asks(&s, &a);
    cr_expect_eq(b.question.n_failed_dials, 1);
    gavel__engine_on_nowhere(
        &s.engine, &(gavel__loss){.message = "no seed has answered"}, s.now_us, s.now_us);
    cr_expect_eq(b.question.n_failed_dials, 2);
    stage_close(&s);
}

Test(core_nodes, it_is_in_doubt_at_its_own_node)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = {.reads = "a", .plays = "ADD a 1"};
    enter(&s, &a);
    link_up(&s, 1);
    hears(&s, 1, "SET m0 n0 PX 900000 / WATCH a m0 / GET a");
    says(&s, 1, "OK, OK, nil");
    hears(&s, 1, "MULTI / SET a 1 / SET m0 n0+1 XX KEEPTTL GET / EXEC");
    link_down(&s, 1);
    is_wanted(&s, false, true);
    link_up(&s, 1);
    hears(&s, 1, "PEXPIRE m0 900000 / GET m0");
    says(&s, 1, ":1, \"n0+1\"");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

/* One lane for replicas each: places 1 and 3. */
static const stage_config with_replicas = {.is_cluster = true,
    .n_nodes = 2,
    .has_markers = true,
    .has_no_prefetch = true,
    .n_replica_lanes = 1};

#define A_AND_MARKER "MULTI / SET a 1 / SET m0 n0+1 XX KEEPTTL GET / EXEC"

/* It has committed on the second node, and waits for a replica. */
static void is_replicating(stage *s, actor *a)
{
    stage_open(s, &with_replicas);
    *a = (actor){.keys = "a", .plays = "SET a 1", .request = {.min_replicas = 1}};
    enter(s, a);
    link_up(s, 2);
    hears(s, 2, "SET m0 n0 PX 900000 / WATCH a m0");
    says(s, 2, "OK, OK");
    hears(s, 2, A_AND_MARKER);
    says(s, 2, "OK, QUEUED, QUEUED, [OK, \"n0\"]");
    is_in(s, a, GAVEL__TX_REPLICATING);
    link_up(s, 3);
}

/* What WAIT is about has to be in one of its slots, too. */
Test(core_nodes, replicas_are_asked_for_at_the_node_of_the_commit)
{
    stage s;
    actor a;
    is_replicating(&s, &a);
    advance(&s, 0);
    char said[256] = "";
    cr_assert_lt(s.outs[3].size, sizeof(said));
    memcpy(said, s.outs[3].data, s.outs[3].size);
    cr_expect_not_null(strstr(said, "g:wait:{`dca}"), "\"%s\"", said);
    hears(&s, 3, "SET w 1 PX 600000 / WAIT 1 100 / GET m0");
    says(&s, 3, "OK, :1, \"n0+1\"");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

/* The slot leaves while the question is under way, or rests: the other node is asked. */
Test(core_nodes, replicas_are_asked_for_where_the_slot_is_by_then)
{
    static const char moved[] = "-MOVED 15495 10.0.0.2:7001";
    for (int is_asked = 0; is_asked < 2; is_asked++) {
        stage s;
        actor a;
        char said[128];
        is_replicating(&s, &a);
        hears(&s, 3, "SET w 1 PX 600000 / WAIT 1 100 / GET m0");
        if (is_asked)
            move_slot(&s, 15495, 0);
        snprintf(said, sizeof(said), "%s, :1, %s", moved, moved);
        says(&s, 3, said);
        is_in(&s, &a, GAVEL__TX_REPLICATING);
        if (!is_asked)
            move_slot(&s, 15495, 0);
        link_up(&s, 1);
        hears(&s, 1, "SET w 1 PX 600000 / WAIT 1 100 / GET m0");
        says(&s, 1, "OK, :1, \"n0+1\"");
        cr_expect_eq(ends(&s, &a, GAVEL_COMMITTED)->n_replicas, 1);
        stage_close(&s);
    }
}

/* The node that was asked is gone, and will never say. */
Test(core_nodes, replicas_are_asked_for_elsewhere_when_the_link_is_lost)
{
    stage s;
    actor a;
    is_replicating(&s, &a);
    hears(&s, 3, "SET w 1 PX 600000 / WAIT 1 100 / GET m0");
    move_slot(&s, 15495, 0);
    link_down(&s, 3);
    link_up(&s, 1);
    hears(&s, 1, "SET w 1 PX 600000 / WAIT 1 100 / GET m0");
    says(&s, 1, "OK, :1, \"n0+1\"");
    cr_expect_eq(ends(&s, &a, GAVEL_COMMITTED)->n_replicas, 1);
    advance(&s, 0);
    cr_expect_eq(lane_of(&s, 3)->state, GAVEL__LANE_DOWN);
    stage_close(&s);
}

/* A replica that has taken over may lack the commit. Its marker says so, and it is made again. */
Test(core_nodes, a_commit_that_went_lost_with_its_node_is_made_again)
{
    stage s;
    actor a;
    is_replicating(&s, &a);
    hears(&s, 3, "SET w 1 PX 600000 / WAIT 1 100 / GET m0");
    move_slot(&s, 15495, 0);
    says(&s, 3, "-UNBLOCKED, -UNBLOCKED, -UNBLOCKED");
    link_up(&s, 1);
    hears(&s, 1, "SET w 1 PX 600000 / WAIT 1 100 / GET m0");
    says(&s, 1, "OK, :1, \"n0\"");
    sleeps(&s);
    link_up(&s, 0);
    hears(&s, 0, "SET m1 n1 PX 900000 / WATCH a m1");
    stage_close(&s);
}

/* While it is on its way, no node says anything of it; in time that is told. */
Test(core_nodes, who_waits_for_replicas_of_a_slot_that_does_not_arrive_is_told_in_time)
{
    static const char ask[] = "-ASK 15495 10.0.0.1:7000";
    stage s;
    actor a;
    char said[128];
    is_replicating(&s, &a);
    snprintf(said, sizeof(said), "%s, :1, %s", ask, ask);
    while (!a.is_told) {
        if (s.outs[3].size > 0) {
            hears(&s, 3, "SET w 1 PX 600000 / WAIT 1 100 / GET m0");
            says(&s, 3, said);
        }
        sleeps(&s);
    }
    ends_saying(&s, &a, GAVEL_COMMITTED_NOT_DURABLE, "0 of 1 replicas of node 1 have it");
    stage_close(&s);
}

/* ---- Who says only by writing what slot it needs -----------------------------------------------
 */

/* Its first node is any of the two; whichever it is, the writes are made where they belong. */
static void write_blindly(const stage_config *config, actor *a, const char *commands)
{
    stage s;
    stage_open(&s, config);
    enter(&s, a);
    advance(&s, 0);
    if (lane_of(&s, 0)->state == GAVEL__LANE_WANTED) {
        link_up(&s, 0);
        hears_nothing(&s, 0);
        cr_assert_eq(a->n_runs, 1);
    }
    link_up(&s, 1);
    if (config->has_markers) {
        hears(&s, 1, "SET m0 n0 PX 900000 / WATCH m0");
        says(&s, 1, "OK, OK");
    }
    hears(&s, 1, commands);
    says(&s, 1, config->has_markers ? "OK, QUEUED, QUEUED, [OK, \"n0\"]" : "OK, QUEUED, [OK]");
    cr_expect_eq(ends(&s, a, GAVEL_COMMITTED)->n_attempts, 1, "what was dropped is no attempt");
    stage_close(&s);
}

Test(core_nodes, blind_writes_are_made_where_they_belong)
{
    write_blindly(&two_nodes, &(actor){.plays = "SET a 1"}, "MULTI / SET a 1 / EXEC");
    write_blindly(&with_markers, &(actor){.plays = "SET a 1", .request = {.max_attempts = 1}},
        "MULTI / SET a 1 / SET m0 n0+1 XX KEEPTTL GET / EXEC");
}

Test(core_nodes, who_turns_out_to_read_reads_where_the_key_is)
{
    stage s;
    stage_open(&s, &two_nodes);
    actor a = {.plays = "GET a; SET a 1"};
    enter(&s, &a);
    advance(&s, 0);
    if (lane_of(&s, 0)->state == GAVEL__LANE_WANTED) {
        link_up(&s, 0);
        hears_nothing(&s, 0);
    }
    link_up(&s, 1);
    hears(&s, 1, "WATCH a / GET a");
    says(&s, 1, "OK, nil");
    hears(&s, 1, "MULTI / SET a 1 / EXEC");
    says(&s, 1, "OK, QUEUED, [OK]");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

/* So that the node has a link. */
static void look(stage *s, uint32_t link, actor *a)
{
    char text[64];
    enter(s, a);
    link_up(s, link);
    gavel__format(text, sizeof(text), "WATCH %s / GET %s", a->reads, a->reads);
    hears(s, link, text);
    says(s, link, "OK, nil");
    ends(s, a, GAVEL_COMMITTED);
}

/* Wherever its body was run before: nothing else may happen by which the node would be looked at
 * once more. */
Test(core_nodes, who_turns_out_to_read_elsewhere_is_there_at_once)
{
    stage s;
    stage_open(&s, &two_nodes);
    look(&s, 0, &(actor){.reads = "b", .plays = "COMMIT"});
    look(&s, 1, &(actor){.reads = "a", .plays = "COMMIT"});
    actor readers[8];
    for (size_t i = 0; i < sizeof(readers) / sizeof(readers[0]); i++) {
        readers[i] = (actor){.plays = "GET b; ABORT 7"};
        enter(&s, &readers[i]);
        advance(&s, 0);
        cr_assert_str_eq(
            stage_listen(&s, 0), "UNWATCH / WATCH b / GET b", "it is not asked for at once");
        says(&s, 0, "OK, OK, nil");
        ends(&s, &readers[i], GAVEL_ABORTED);
    }
    stage_close(&s);
}
