/*
 * What a marker says where its slot has migrated: keys go one after another, so it says nothing
 * certain of the others if a server went back meanwhile or later. The stage has two nodes; a is in
 * slot 15495, of the second one, link 1; b in 3300, of the first one, link 0.
 */
#include "stage.h"

#include <criterion/criterion.h>
#include <string.h>

static const stage_config two_nodes = {.is_cluster = true,
    .n_nodes = 2,
    .has_markers = true,
    .has_no_prefetch = true,
    .keeps_ledger = true,
    .has_histories = true};

enum { SLOT = 15495 };

#define EPOCHS(n) "\"cluster_current_epoch:" #n "\r\ncluster_my_epoch:" #n "\r\n\""
#define BOTH "PEXPIRE g:none:{ecd`} 1 / GET m0 / PEXPIRE g:none:{`dca} 1 / GET m1"

/* To the first node. */
static void move(stage *s, bool has_migrated)
{
    uint16_t node_of[GAVEL__N_SLOTS];
    uint64_t migrated[GAVEL__N_SLOTS / 64] = {0};
    s->now_us += 1000;
    memcpy(node_of, s->engine.nodes.map->node_of, sizeof(node_of));
    node_of[SLOT] = 0;
    migrated[SLOT / 64] = (uint64_t)has_migrated << SLOT % 64;
    gavel__engine_set_slots(
        &s->engine, &(gavel__slots_change){.node_of = node_of, .migrated = migrated}, s->now_us);
}

/* Both links are up, and a commit is told by the second. */
static void commit(stage *s, actor *a, actor *b)
{
    stage_open(s, &two_nodes);
    *b = (actor){.keys = "b", .plays = "SET b 1"};
    enter(s, b);
    link_up(s, 0);
    hears(s, 0, "SET m0 n0 PX 900000 / WATCH b m0 / CLUSTER INFO / INFO replication");
    says(s, 0, "OK, OK, " EPOCHS(1) ", \"master_replid:1\"");
    hears(s, 0, "MULTI / SET b 1 / SET m0 n0+1 XX KEEPTTL GET / EXEC");
    says(s, 0, "OK, QUEUED, QUEUED, [OK, \"n0\"]");
    ends(s, b, GAVEL_COMMITTED);
    *a = (actor){.keys = "a", .plays = "SET a 1"};
    enter(s, a);
    link_up(s, 1);
    hears(s, 1, "SET m1 n1 PX 900000 / WATCH a m1 / CLUSTER INFO / INFO replication");
    says(s, 1, "OK, OK, " EPOCHS(1) ", \"master_replid:2\"");
    hears(s, 1, "MULTI / SET a 1 / SET m1 n1+1 XX KEEPTTL GET / EXEC");
    says(s, 1, "OK, QUEUED, QUEUED, [OK, \"n1\"]");
    ends(s, a, GAVEL_COMMITTED);
}

/* Asked where it has come to, the marker says that, and the node that of itself. */
static void arrives(stage *s, const char *marker)
{
    move(s, true);
    hears(s, 0, "CLUSTER INFO / INFO replication / PEXPIRE g:none:{`dca} 1 / GET m1");
    says(s, 0, EPOCHS(2) ", \"master_replid:1\"");
    says(s, 0, marker);
}

static void is_told(stage *s, const actor *a, size_t n_lost, size_t n_may_be_lost)
{
    cr_assert_eq(s->n_events[GAVEL_EVENT_LOST], n_lost);
    cr_assert_eq(s->n_events[GAVEL_EVENT_MAY_BE_LOST], n_may_be_lost);
    cr_assert_eq(s->engine.context.stats.n_lost, n_lost);
    cr_assert_eq(s->engine.context.stats.n_may_be_lost, n_may_be_lost);
    if (s->n_lost > 0)
        cr_assert_eq(s->lost[0], a->ticket);
}

Test(core_migrated, a_marker_that_came_along_is_believed)
{
    stage s;
    actor a, b;
    commit(&s, &a, &b);
    arrives(&s, ":0, \"n1+1\"");
    is_told(&s, &a, 0, 0);
    stage_close(&s);
}

Test(core_migrated, one_that_is_less_or_gone_leaves_it_open)
{
    static const char *const answers[] = {":0, \"n1\"", ":0, nil", ":0, \"0\""};
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        stage s;
        actor a, b;
        commit(&s, &a, &b);
        arrives(&s, answers[i]);
        is_told(&s, &a, 0, 1);
        gavel__audit audit;
        cr_assert(gavel__ledger_take_audit(&s.engine.ledger, &audit));
        cr_assert_eq(audit.n_may_be_lost, 1);
        stage_close(&s);
    }
}

/* The first one has taken over: what it says of epochs is asked for again behind the markers. */
static void settle(stage *s, const char *history, const char *markers)
{
    s->now_us++;
    hears(s, 0, "CLUSTER INFO / INFO replication");
    says(s, 0, history);
    sleeps(s);
    hears(s, 0, BOTH);
    says(s, 0, markers);
}

Test(core_migrated, where_a_replica_took_over_it_is_certain)
{
    stage s;
    actor a, b;
    commit(&s, &a, &b);
    move(&s, false);
    hears(&s, 0, "CLUSTER INFO / INFO replication / " BOTH);
    says(&s, 0, EPOCHS(2) ", \"master_replid:3\", :0, \"n0+1\", :0, \"n1\"");
    is_told(&s, &a, 0, 0);
    settle(&s, EPOCHS(2) ", \"master_replid:3\"", ":0, \"n0+1\", :0, \"n1\"");
    is_told(&s, &a, 1, 0);
    stage_close(&s);
}

/* Who has got the second epoch? A slot may have come to another node, lost a part of its keys with
 * that, and come back to who has taken over. So what is lost by its marker may be there. */
Test(core_migrated, unless_there_is_an_epoch_of_something_else)
{
    stage s;
    actor a, b;
    commit(&s, &a, &b);
    move(&s, false);
    hears(&s, 0, "CLUSTER INFO / INFO replication / " BOTH);
    says(&s, 0, EPOCHS(3) ", \"master_replid:3\", :0, \"n0+1\", :0, \"n1\"");
    settle(&s, EPOCHS(3) ", \"master_replid:3\"", ":0, \"n0+1\", :0, \"n1\"");
    for (int i = 0; i < 3; i++) { /* the other one might say so yet */
        is_told(&s, &a, 0, 0);
        sleeps(&s);
        hears(&s, 0, BOTH);
        says(&s, 0, ":0, \"n0+1\", :0, \"n1\"");
    }
    is_told(&s, &b, 0, 2);
    stage_close(&s);
}

/* The second one was frozen, say, has an older state, and serves it by its own map. But it has the
 * name that the first one had before that took its place: unless it has really come back. */
Test(core_migrated, who_was_replaced_and_does_not_know_it_is_not_believed)
{
    for (int is_back = 0; is_back < 2; is_back++) {
        stage s;
        actor a, b;
        commit(&s, &a, &b);
        gavel__node *second = s.engine.nodes.first->following;
        move(&s, false);
        hears(&s, 0, "CLUSTER INFO / INFO replication / " BOTH);
        says(&s, 0, EPOCHS(2) ", \"master_replid:3\r\nmaster_replid2:2\r\n\"");
        says(&s, 0, ":0, \"n0+1\", :0, \"n1+1\"");
        settle(&s, EPOCHS(2) ", \"master_replid:3\r\nmaster_replid2:2\r\n\"",
            ":0, \"n0+1\", :0, \"n1+1\"");
        s.now_us += 1000000;
        stage_give_slot(&s, SLOT, second);
        hears(&s, 1, "CLUSTER INFO / INFO replication / PEXPIRE g:none:{`dca} 1 / GET m1");
        says(&s, 1,
            is_back ? EPOCHS(3) ", \"master_replid:4\r\nmaster_replid2:3\r\n\", :0, nil"
                    : EPOCHS(1) ", \"master_replid:2\", :0, nil");
        is_told(&s, &a, 0, 0);
        if (is_back) {
            s.now_us++;
            hears(&s, 1, "CLUSTER INFO / INFO replication");
            says(&s, 1, EPOCHS(3) ", \"master_replid:4\r\nmaster_replid2:3\r\n\"");
            sleeps(&s);
            hears(&s, 1, "PEXPIRE g:none:{`dca} 1 / GET m1");
            says(&s, 1, ":0, nil");
        }
        is_told(&s, &a, is_back ? 1 : 0, 0);
        s.now_us += 1000;
        if (!is_back) {
            move(&s, false);
            hears(&s, 0,
                "PEXPIRE g:none:{ecd`} 1 / GET m0 / CLUSTER INFO / INFO replication / "
                "PEXPIRE g:none:{`dca} 1 / GET m1");
            says(&s, 0, ":0, \"n0+1\", \"cluster_my_epoch:1\"");
            says(&s, 0, "\"master_replid:3\r\nmaster_replid2:2\r\n\", :0, \"n1+1\"");
            is_told(&s, &a, 0, 0);
        }
        stage_close(&s);
    }
}

/* And is asked less and less often, until another one has the slot. */
Test(core_migrated, who_was_replaced_is_not_asked_on_and_on)
{
    stage s;
    actor a, b;
    commit(&s, &a, &b);
    gavel__node *second = s.engine.nodes.first->following;
    move(&s, false);
    hears(&s, 0, "CLUSTER INFO / INFO replication / " BOTH);
    says(&s, 0, EPOCHS(2) ", \"master_replid:3\r\nmaster_replid2:2\r\n\"");
    says(&s, 0, ":0, \"n0+1\", :0, \"n1+1\"");
    s.now_us += 1000000;
    stage_give_slot(&s, SLOT, second);
    hears(&s, 1, "CLUSTER INFO / INFO replication / PEXPIRE g:none:{`dca} 1 / GET m1");
    says(&s, 1, EPOCHS(1) ", \"master_replid:2\"");
    for (int i = 0; i < 8; i++) {
        int64_t before_us = s.now_us;
        says(&s, 1, ":0, nil");
        sleeps(&s);
        cr_assert_eq(s.now_us - before_us, i < 5 ? 100000 << i : 3200000);
        hears(&s, 1, "PEXPIRE g:none:{`dca} 1 / GET m1");
    }
    is_told(&s, &a, 0, 0);
    stage_close(&s);
}

/* The first one was a replica of the second one, say, and was given slots of its own by CLUSTER
 * RESET: it has gone on with that name, and has replaced nobody. */
Test(core_migrated, whose_replica_has_slots_of_its_own_is_believed)
{
    stage s;
    actor a, b;
    commit(&s, &a, &b);
    link_down(&s, 0);
    link_up(&s, 0);
    hears(&s, 0, "PEXPIRE g:none:{ecd`} 1 / GET m0 / CLUSTER INFO / INFO replication");
    says(&s, 0, ":0, \"n0+1\", \"cluster_my_epoch:1\"");
    says(&s, 0, "\"master_replid:1\r\nmaster_replid2:2\r\n\"");
    link_down(&s, 1);
    link_up(&s, 1);
    hears(&s, 1, "PEXPIRE g:none:{`dca} 1 / GET m1 / CLUSTER INFO / INFO replication");
    says(&s, 1, ":0, \"n1+1\", \"cluster_my_epoch:1\", \"master_replid:2\"");
    is_told(&s, &a, 0, 0);
    cr_assert_eq(gavel__ledger_due_us(&s.engine.ledger), GAVEL__NEVER);
    stage_close(&s);
}

/* Nor is what it says late, when the map is right again. */
Test(core_migrated, what_was_asked_before_a_takeover_is_asked_again)
{
    stage s;
    actor a, b;
    commit(&s, &a, &b);
    link_down(&s, 1);
    link_up(&s, 1);
    hears(&s, 1, "PEXPIRE g:none:{`dca} 1 / GET m1 / CLUSTER INFO / INFO replication");
    move(&s, false);
    says(&s, 1, ":0, nil, \"cluster_my_epoch:1\", \"master_replid:2\"");
    is_told(&s, &a, 0, 0);
    hears(&s, 0, "CLUSTER INFO / INFO replication / PEXPIRE g:none:{ecd`} 1 / GET m0");
    says(&s, 0, EPOCHS(2) ", \"master_replid:3\", :0, \"n0+1\"");
    settle(&s, EPOCHS(2) ", \"master_replid:3\"", ":0, \"n0+1\", :0, \"n1+1\"");
    is_told(&s, &a, 0, 0);
    stage_close(&s);
}

/* Its old node has lost a link, and has not said since whether anything else. */
Test(core_migrated, a_link_that_was_lost_before_leaves_it_open)
{
    stage s;
    actor a, b;
    commit(&s, &a, &b);
    link_down(&s, 1);
    move(&s, true);
    hears(&s, 0, "PEXPIRE g:none:{`dca} 1 / GET m1 / CLUSTER INFO / INFO replication");
    says(&s, 0, ":0, \"n1+1\"");
    is_told(&s, &a, 0, 1);
    stage_close(&s);
}

/* The new one is asked on its next link whether it is the same as before. */
Test(core_migrated, a_node_that_has_gone_back_since_leaves_it_open)
{
    for (int has_gone_back = 0; has_gone_back < 2; has_gone_back++) {
        stage s;
        actor a, b;
        commit(&s, &a, &b);
        arrives(&s, ":0, \"n1+1\"");
        link_down(&s, 0);
        link_up(&s, 0);
        hears(&s, 0,
            "PEXPIRE g:none:{ecd`} 1 / GET m0 / PEXPIRE g:none:{`dca} 1 / GET m1 / "
            "CLUSTER INFO / INFO replication");
        says(&s, 0, ":0, \"n0+1\", :0, \"n1+1\"");
        says(&s, 0,
            has_gone_back ? "\"cluster_my_epoch:1\", \"master_replid:3\""
                          : "\"cluster_my_epoch:1\", \"master_replid:1\"");
        is_told(&s, &a, 0, 0);
        if (!has_gone_back)
            sleeps(&s);
        hears(&s, 0,
            has_gone_back ? "PEXPIRE g:none:{`dca} 1 / GET m1 / PEXPIRE g:none:{ecd`} 1 / GET m0"
                          : "PEXPIRE g:none:{`dca} 1 / GET m1");
        says(&s, 0, ":0, \"n1+1\"");
        is_told(&s, &a, 0, has_gone_back ? 1 : 0);
        stage_close(&s);
    }
}

/* Nor does a node say anything that was allowed to be asked, and is no more. */
Test(core_migrated, an_epoch_that_is_not_said_any_more_is_not_the_same)
{
    stage s;
    actor a, b;
    commit(&s, &a, &b);
    link_down(&s, 0);
    link_up(&s, 0);
    hears(&s, 0, "PEXPIRE g:none:{ecd`} 1 / GET m0 / CLUSTER INFO / INFO replication");
    says(&s, 0, ":0, \"n0+1\", " EPOCHS(1) ", \"master_replid:3\"");
    hears(&s, 1, "PEXPIRE g:none:{`dca} 1 / GET m1");
    says(&s, 1, ":0, \"n1+1\"");
    for (int i = 0; i < 4; i++) {
        s.now_us += 1;
        hears(&s, 1, "CLUSTER INFO / INFO replication");
        says(&s, 1, "-NOPERM no, \"master_replid:2\"");
        is_told(&s, &a, 0, 0);
        sleeps(&s);
        hears(&s, 1, "PEXPIRE g:none:{`dca} 1 / GET m1");
        says(&s, 1, ":0, \"n1+1\"");
    }
    is_told(&s, &a, 0, 1);
    stage_close(&s);
}

/* The first one fell, and the second one's marker is as it was. But if a slot has come to that
 * since it was planted, it may be its own, back from the first one, whose keys may have gone back.
 */
Test(core_migrated, a_slot_may_have_been_away_unseen_where_a_node_fell)
{
    for (int has_come = 0; has_come < 2; has_come++) {
        stage s;
        actor a, b;
        commit(&s, &a, &b);
        link_down(&s, 0);
        link_up(&s, 0);
        hears(&s, 0, "PEXPIRE g:none:{ecd`} 1 / GET m0 / CLUSTER INFO / INFO replication");
        says(&s, 0, ":0, \"n0+1\", " EPOCHS(1) ", \"master_replid:3\"");
        hears(&s, 1, "PEXPIRE g:none:{`dca} 1 / GET m1");
        says(&s, 1, ":0, \"n1+1\"");
        s.now_us += 1;
        hears(&s, 1, "CLUSTER INFO / INFO replication");
        says(&s, 1, has_come ? EPOCHS(2) : EPOCHS(1));
        says(&s, 1, "\"master_replid:2\"");
        for (int i = 0; i < (has_come ? 4 : 1); i++) {
            is_told(&s, &a, 0, 0);
            sleeps(&s);
            hears(&s, 1, "PEXPIRE g:none:{`dca} 1 / GET m1");
            says(&s, 1, ":0, \"n1+1\"");
        }
        is_told(&s, &a, 0, has_come ? 1 : 0);
        stage_close(&s);
    }
}

/* Between two looks at the map it may have been at any node: as with the third one, whose place the
 * second one takes, and which may have had it before it came to the first one. */
Test(core_migrated, where_it_was_on_its_way_is_not_known)
{
    stage_config config = two_nodes;
    config.n_nodes = 4;
    for (int has_migrated = 0; has_migrated < 2; has_migrated++) {
        stage s;
        stage_open(&s, &config);
        actor a = {.keys = "a", .plays = "SET a 1"};
        enter(&s, &a);
        link_up(&s, 3);
        hears(&s, 3, "SET m0 n0 PX 900000 / WATCH a m0 / CLUSTER INFO / INFO replication");
        says(&s, 3, "OK, OK, " EPOCHS(1) ", \"master_replid:2\"");
        hears(&s, 3, "MULTI / SET a 1 / SET m0 n0+1 XX KEEPTTL GET / EXEC");
        says(&s, 3, "OK, QUEUED, QUEUED, [OK, \"n0\"]");
        ends(&s, &a, GAVEL_COMMITTED);
        if (has_migrated) {
            move(&s, true);
            link_up(&s, 0);
            hears(&s, 0, "PEXPIRE g:none:{`dca} 1 / GET m0 / CLUSTER INFO / INFO replication");
            says(&s, 0, ":0, \"n0+1\", " EPOCHS(2) ", \"master_replid:1\"");
        }
        is_told(&s, &a, 0, 0);
        stage_give_slot(&s, 9000, s.engine.nodes.first->following);
        hears(&s, has_migrated ? 0 : 3, "PEXPIRE g:none:{`dca} 1 / GET m0");
        says(&s, has_migrated ? 0 : 3, ":0, \"n0+1\"");
        is_told(&s, &a, 0, has_migrated ? 1 : 0);
        stage_close(&s);
    }
}

/* So it is where its node had not said its epoch when it was told. One that may not be asked is
 * taken to have kept it. */
Test(core_migrated, without_an_epoch_of_before_it_is_not_known_either)
{
    for (int is_allowed = 0; is_allowed < 2; is_allowed++) {
        stage s;
        stage_open(&s, &two_nodes);
        actor a = {.keys = "a", .plays = "SET a 1"};
        actor b = {.keys = "b", .plays = "SET b 1"};
        enter(&s, &b);
        link_up(&s, 0);
        hears(&s, 0, "SET m0 n0 PX 900000 / WATCH b m0 / CLUSTER INFO / INFO replication");
        says(&s, 0, "OK, OK, " EPOCHS(1) ", \"master_replid:1\"");
        hears(&s, 0, "MULTI / SET b 1 / SET m0 n0+1 XX KEEPTTL GET / EXEC");
        enter(&s, &a);
        link_up(&s, 1);
        hears(&s, 1, "SET m1 n1 PX 900000 / WATCH a m1 / CLUSTER INFO / INFO replication");
        says(&s, 1, is_allowed ? "OK, OK, -BUSY running" : "OK, OK, -NOPERM no");
        says(&s, 1, "\"master_replid:2\"");
        hears(&s, 1, "MULTI / SET a 1 / SET m1 n1+1 XX KEEPTTL GET / EXEC");
        says(&s, 1, "OK, QUEUED, QUEUED, [OK, \"n1\"]");
        ends(&s, &a, GAVEL_COMMITTED);
        link_down(&s, 0);
        link_up(&s, 0);
        hears(&s, 0, "PEXPIRE m0 900000 / GET m0 / CLUSTER INFO / INFO replication");
        says(&s, 0, ":1, \"n0+1\", " EPOCHS(1) ", \"master_replid:3\"");
        if (is_allowed) {
            hears(&s, 1, "PEXPIRE g:none:{`dca} 1 / GET m1");
            says(&s, 1, ":0, \"n1+1\"");
        }
        is_told(&s, &a, 0, is_allowed ? 1 : 0);
        stage_close(&s);
    }
}

/* Its EXEC was made before its slot went, or was not: by the marker alone one cannot tell. */
Test(core_migrated, a_doubt_that_is_not_made_is_unknown)
{
    static const struct {
        bool has_migrated;
        const char *answer;
        gavel_status status;
    } cases[] = {{true, ":1, \"n1+1\"", GAVEL_UNKNOWN}, {true, ":1, \"n1+2\"", GAVEL_COMMITTED},
        {false, ":1, \"n1+2\"", GAVEL_COMMITTED}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        stage s;
        actor a, b;
        commit(&s, &a, &b);
        actor c = {.keys = "a", .plays = "SET a 2"};
        enter(&s, &c);
        hears(&s, 1, "WATCH a m1");
        says(&s, 1, "OK");
        hears(&s, 1, "MULTI / SET a 2 / SET m1 n1+2 XX KEEPTTL GET / EXEC");
        link_down(&s, 1);
        move(&s, cases[i].has_migrated);
        hears(&s, 0,
            cases[i].has_migrated
                ? "PEXPIRE m1 900000 / GET m1 / PEXPIRE g:none:{`dca} 1 / GET m1 / "
                  "CLUSTER INFO / INFO replication"
                : "PEXPIRE m1 900000 / GET m1 / PEXPIRE g:none:{`dca} 1 / GET m1 / "
                  "CLUSTER INFO / INFO replication / PEXPIRE g:none:{ecd`} 1 / GET m0");
        says(&s, 0, cases[i].answer);
        ends(&s, &c, cases[i].status);
        stage_close(&s);
    }
}

/* It has committed on the second node, and waits for a replica. */
static void is_replicating(stage *s, actor *a)
{
    stage_config config = two_nodes;
    config.n_replica_lanes = 1;
    stage_open(s, &config);
    *a = (actor){.keys = "a", .plays = "SET a 1", .request = {.min_replicas = 1}};
    enter(s, a);
    link_up(s, 2);
    hears(s, 2, "SET m0 n0 PX 900000 / WATCH a m0 / CLUSTER INFO / INFO replication");
    says(s, 2, "OK, OK, \"cluster_my_epoch:1\", \"master_replid:2\"");
    hears(s, 2, "MULTI / SET a 1 / SET m0 n0+1 XX KEEPTTL GET / EXEC");
    says(s, 2, "OK, QUEUED, QUEUED, [OK, \"n0\"]");
    is_in(s, a, GAVEL__TX_REPLICATING);
}

/* Replicas are asked for at the new node, where the marker is less than it was. */
Test(core_migrated, who_waits_for_replicas_and_is_not_found_is_unknown)
{
    for (int has_migrated = 0; has_migrated < 2; has_migrated++) {
        stage s;
        actor a;
        is_replicating(&s, &a);
        link_down(&s, 2);
        move(&s, has_migrated);
        link_up(&s, 1);
        hears(&s, 1, "CLUSTER INFO / INFO replication / SET w 1 PX 600000 / WAIT 1 100 / GET m0");
        says(&s, 1, "\"cluster_my_epoch:1\", \"master_replid:1\", OK, :1, \"n0\"");
        if (has_migrated)
            ends(&s, &a, GAVEL_UNKNOWN);
        else
            is_in(&s, &a, GAVEL__TX_PAUSED);
        stage_close(&s);
    }
}

/* A late word of the old node is entered, and asked for where the slot is now. */
Test(core_migrated, what_the_old_node_says_late_is_asked_for_again)
{
    stage s;
    actor a, b;
    commit(&s, &a, &b);
    actor c = {.keys = "a", .plays = "SET a 2"};
    enter(&s, &c);
    hears(&s, 1, "WATCH a m1");
    says(&s, 1, "OK");
    hears(&s, 1, "MULTI / SET a 2 / SET m1 n1+2 XX KEEPTTL GET / EXEC");
    move(&s, false);
    hears(&s, 0, "CLUSTER INFO / INFO replication / " BOTH);
    says(&s, 1, "OK, QUEUED, QUEUED, [OK, \"n1+1\"]");
    ends(&s, &c, GAVEL_COMMITTED);
    says(&s, 0, EPOCHS(2) ", \"master_replid:3\", :0, \"n0+1\", :0, \"n1+1\"");
    is_told(&s, &c, 0, 0);
    settle(&s, EPOCHS(2) ", \"master_replid:3\"", ":0, \"n0+1\", :0, \"n1+1\"");
    is_told(&s, &c, 1, 0);
    stage_close(&s);
}

/* The old marker is asked for yet, and must not be overwritten: there is a new one. */
Test(core_migrated, a_slot_that_comes_back_has_another_marker)
{
    stage s;
    actor a, b;
    commit(&s, &a, &b);
    arrives(&s, ":0, \"n1+1\"");
    stage_give_slot(&s, SLOT, s.engine.nodes.first->following);
    hears(&s, 1, "PEXPIRE g:none:{`dca} 1 / GET m1 / CLUSTER INFO / INFO replication");
    says(&s, 1, ":0, \"n1+1\"");
    char old[sizeof(s.engine.nodes.first->following->lanes.first->marker.text)];
    gavel__lane *lane = lane_of(&s, 1);
    memcpy(old, gavel__lane_marker(lane, SLOT)->text, sizeof(old));
    actor c = {.keys = "a", .plays = "SET a 2"};
    enter(&s, &c);
    advance(&s, 0);
    cr_expect_str_neq(old, gavel__lane_marker(lane, SLOT)->text);
    stage_close(&s);
}

/* It is known when it came there, and so that it has stayed since, but for who has taken over. */
Test(core_migrated, what_is_told_behind_it_is_lost_for_certain)
{
    stage s;
    actor a, b;
    commit(&s, &a, &b);
    arrives(&s, ":0, \"n1+1\"");
    actor c = {.keys = "a", .plays = "SET a 2"};
    enter(&s, &c);
    hears(&s, 0, "SET m2 n2 PX 900000 / WATCH a m2");
    says(&s, 0, "OK, OK");
    hears(&s, 0, "MULTI / SET a 2 / SET m2 n2+1 XX KEEPTTL GET / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, \"n2\"]");
    ends(&s, &c, GAVEL_COMMITTED);
    s.now_us += 1000;
    stage_give_slot(&s, SLOT, s.engine.nodes.first->following);
    hears(&s, 1,
        "PEXPIRE g:none:{`dca} 1 / GET m1 / CLUSTER INFO / INFO replication / "
        "PEXPIRE g:none:{`dca} 1 / GET m2");
    says(&s, 1, ":0, \"n1+1\", " EPOCHS(3) ", \"master_replid:3\", :0, nil");
    is_told(&s, &a, 0, 1);
    s.now_us++;
    hears(&s, 1, "CLUSTER INFO / INFO replication");
    says(&s, 1, EPOCHS(3) ", \"master_replid:3\"");
    sleeps(&s);
    hears(&s, 1, "PEXPIRE g:none:{`dca} 1 / GET m2");
    says(&s, 1, ":0, nil");
    cr_assert_eq(s.n_events[GAVEL_EVENT_LOST], 1);
    cr_assert_eq(s.lost[s.n_lost - 1], c.ticket);
    stage_close(&s);
}
