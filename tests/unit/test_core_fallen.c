/*
 * Markers in a Cluster: a link may outlive that its server is replaced, and comes back with what
 * the other one had. So each EXEC sets the marker, and is told what it was. The test is the server.
 */
#include "stage.h"

#include <criterion/criterion.h>
#include <stdio.h>

static const stage_config cluster = {.is_cluster = true,
    .has_markers = true,
    .has_no_prefetch = true,
    .keeps_ledger = true,
    .has_histories = true};

static const stage_config two_nodes = {.is_cluster = true,
    .n_nodes = 2,
    .has_markers = true,
    .has_no_prefetch = true,
    .keeps_ledger = true,
    .has_histories = true};

static const stage_config with_replicas = {
    .is_cluster = true, .has_markers = true, .has_no_prefetch = true, .n_replica_lanes = 1};

static void send_first(stage *s, actor *a)
{
    a->keys = "a";
    a->plays = "SET a 1";
    enter(s, a);
    link_up(s, 0);
    bool keeps_ledger = s->engine.ledger.config.is_kept;
    hears(s, 0,
        keeps_ledger ? "SET m0 n0 PX 900000 / WATCH a m0 / CLUSTER INFO / INFO replication"
                     : "SET m0 n0 PX 900000 / WATCH a m0");
    says(s, 0, keeps_ledger ? "OK, OK, \"cluster_my_epoch:1\", \"master_replid:1\"" : "OK, OK");
    hears(s, 0, "MULTI / SET a 1 / SET m0 n0+1 XX KEEPTTL GET / EXEC");
}

/* The n-th one on link 0, from 2 on. */
static void send_next(stage *s, actor *a, unsigned n)
{
    char exec[80];
    a->keys = "a";
    a->plays = "SET a 1";
    enter(s, a);
    hears(s, 0, "WATCH a m0");
    says(s, 0, "OK");
    snprintf(exec, sizeof(exec), "MULTI / SET a 1 / SET m0 n0+%u XX KEEPTTL GET / EXEC", n);
    hears(s, 0, exec);
}

/* Three are told. */
static void commit_three(stage *s, actor a[3])
{
    static const char *const replies[] = {"OK, QUEUED, QUEUED, [OK, \"n0\"]",
        "OK, QUEUED, QUEUED, [OK, \"n0+1\"]", "OK, QUEUED, QUEUED, [OK, \"n0+2\"]"};
    for (unsigned i = 0; i < 3; i++) {
        a[i] = (actor){.id = NULL};
        if (i == 0)
            send_first(s, &a[i]);
        else
            send_next(s, &a[i], i + 1);
        says(s, 0, replies[i]);
        ends(s, &a[i], GAVEL_COMMITTED);
    }
}

/* ---- A lost reply -------------------------------------------------------------------------- */

/* It says so whatever the marker was before: counted up from an older number, it would say that it
 * was not made, and it would be made twice. */
Test(core_fallen, what_the_marker_is_set_to_tells_of_a_lost_reply)
{
    stage s;
    stage_open(&s, &cluster);
    actor a[3];
    actor d = {.id = NULL};
    commit_three(&s, a);
    send_next(&s, &d, 4);
    link_down(&s, 0);
    link_up(&s, 0);
    hears(&s, 0,
        "PEXPIRE m0 900000 / GET m0 / PEXPIRE g:none:{`dca} 1 / GET m0 / CLUSTER INFO / INFO "
        "replication");
    says(&s, 0, ":1, \"n0+4\", :0, \"n0+4\", \"cluster_my_epoch:1\", \"master_replid:1\"");
    cr_assert(ends(&s, &d, GAVEL_COMMITTED)->is_from_marker);
    cr_assert_eq(s.n_lost, 0);
    stage_close(&s);
}

Test(core_fallen, an_older_number_says_that_it_was_not_made)
{
    stage s;
    stage_open(&s, &cluster);
    actor a[3];
    actor d = {.id = NULL};
    commit_three(&s, a);
    send_next(&s, &d, 4);
    link_down(&s, 0);
    link_up(&s, 0);
    hears(&s, 0,
        "PEXPIRE m0 900000 / GET m0 / PEXPIRE g:none:{`dca} 1 / GET m0 / CLUSTER INFO / INFO "
        "replication");
    says(&s, 0, ":1, \"n0+1\", :0, \"n0+1\", \"cluster_my_epoch:1\", \"master_replid:2\"");
    is_in(&s, &d, GAVEL__TX_PAUSED);
    cr_assert_eq(s.n_lost, 2);
    cr_assert_eq(s.lost[0], a[1].ticket);
    cr_assert_eq(s.lost[1], a[2].ticket);
    stage_close(&s);
}

/* ---- What it was --------------------------------------------------------------------------- */

/* The commit is made, and those between are lost. The next one has a number of another planting. */
Test(core_fallen, what_was_told_and_is_gone_is_told_as_lost)
{
    stage s;
    stage_open(&s, &cluster);
    actor a[3];
    actor d = {.id = NULL};
    commit_three(&s, a);
    send_next(&s, &d, 4);
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, \"n0+1\"]");
    ends(&s, &d, GAVEL_COMMITTED);
    cr_assert_eq(s.n_lost, 2);
    cr_assert_eq(s.lost[0], a[1].ticket);
    cr_assert_eq(s.lost[1], a[2].ticket);
    hears(&s, 0, "SET m0 n0 PX 900000 / PEXPIRE g:none:{`dca} 1 / GET m0");
    says(&s, 0, "OK, :0, \"n0\"");

    /* Once, and never more: nor is the one lost that was made then. */
    link_down(&s, 0);
    link_up(&s, 0);
    hears(&s, 0, "PEXPIRE g:none:{`dca} 1 / GET m0 / CLUSTER INFO / INFO replication");
    says(&s, 0, ":0, \"n0\", \"cluster_my_epoch:1\", \"master_replid:1\"");
    cr_assert_eq(s.n_lost, 2);
    stage_close(&s);
}

/* It was evicted, say: nothing is known of those before. */
Test(core_fallen, a_marker_that_is_not_there_is_planted_anew)
{
    stage s;
    stage_open(&s, &cluster);
    actor a[3];
    actor d = {.id = NULL};
    commit_three(&s, a);
    send_next(&s, &d, 4);
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, nil]");
    ends(&s, &d, GAVEL_COMMITTED);
    cr_assert_eq(s.n_lost, 0);
    hears(&s, 0, "SET m0 n0 PX 900000");
    stage_close(&s);
}

/* Somebody has written there by hand, or what it holds is of no planting of ours. */
Test(core_fallen, what_cannot_have_been_there_tells_nothing)
{
    static const char *const values[] = {"\"7\"", "\"n0-1\"", "\"n0+9\"", "\"x\"", ":1",
        "-WRONGTYPE Operation against a key holding the wrong kind of value"};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        stage s;
        stage_open(&s, &cluster);
        actor a[3];
        actor d = {.id = NULL};
        char reply[128];
        commit_three(&s, a);
        send_next(&s, &d, 4);
        snprintf(reply, sizeof(reply), "OK, QUEUED, QUEUED, [OK, %s]", values[i]);
        says(&s, 0, reply);
        ends(&s, &d, GAVEL_COMMITTED);
        cr_assert_eq(s.n_lost, 0, "%s", values[i]);
        hears(&s, 0, "SET m0 n0 PX 900000");
        stage_close(&s);
    }
}

/* ---- Audits -------------------------------------------------------------------------------- */

/* A node that was killed and has lost its data may answer reads, while another one is about to take
 * its place that has them. */
Test(core_fallen, who_does_not_write_is_not_believed_either)
{
    static const char *const refusals[] = {
        "-CLUSTERDOWN The cluster is down and only accepts read commands, nil",
        "-NOPERM this user has no permissions to run the 'pexpire' command, nil",
        "-MOVED 0 10.0.0.2:7001, -MOVED 0 10.0.0.2:7001"};
    for (size_t i = 0; i < 3; i++) {
        stage s;
        stage_open(&s, &cluster);
        actor a[3];
        commit_three(&s, a);
        link_down(&s, 0);
        link_up(&s, 0);
        hears(&s, 0, "PEXPIRE g:none:{`dca} 1 / GET m0 / CLUSTER INFO / INFO replication");
        says(&s, 0, refusals[i]);
        says(&s, 0, "\"cluster_my_epoch:1\", \"master_replid:1\"");
        cr_assert_eq(s.n_lost, 0);
        if (i < 2) /* MOVED is followed at once, here to the same node */
            sleeps(&s);
        hears(&s, 0, "PEXPIRE g:none:{`dca} 1 / GET m0");
        says(&s, 0, ":0, \"n0+2\"");
        cr_assert_eq(s.n_lost, 1);
        cr_assert_eq(s.lost[0], a[2].ticket);
        stage_close(&s);
    }
}

/* The links may all be up: one replica took over in good order, or nobody noticed. */
Test(core_fallen, a_slot_that_another_node_serves_now_is_asked_for)
{
    stage s;
    stage_open(&s, &two_nodes);
    gavel__node *second = s.engine.nodes.first->following;
    stage_give_slot(&s, 15495, s.engine.nodes.first);
    actor a[3];
    commit_three(&s, a);
    stage_give_slot(&s, 15494, second);
    hears_nothing(&s, 0);
    stage_give_slot(&s, 15495, second);
    hears_nothing(&s, 0);
    link_up(&s, 1);
    hears(&s, 1, "PEXPIRE g:none:{`dca} 1 / GET m0 / CLUSTER INFO / INFO replication");
    says(&s, 1, ":0, \"n0+1\", \"cluster_my_epoch:1\", \"master_replid:1\"");
    sleeps(&s);
    hears(&s, 1, "PEXPIRE g:none:{`dca} 1 / GET m0");
    says(&s, 1, ":0, \"n0+1\"");
    s.now_us++;
    hears(&s, 1, "CLUSTER INFO / INFO replication");
    says(&s, 1, "\"cluster_my_epoch:1\", \"master_replid:1\"");
    cr_assert_eq(s.n_lost, 0);
    sleeps(&s);
    hears(&s, 1, "PEXPIRE g:none:{`dca} 1 / GET m0");
    says(&s, 1, ":0, \"n0+1\"");
    cr_assert_eq(s.n_lost, 2);
    stage_close(&s);
}

/* ---- Proofs -------------------------------------------------------------------------------- */

/* A server that is cut off may go on to answer reads: it does not set a marker. */
Test(core_fallen, an_end_that_writes_nothing_is_proved_where_writes_are_made)
{
    stage s;
    stage_open(&s, &cluster);
    actor a = {.reads = "{t}a {t}b", .plays = "GET {t}a; GET {t}b; ABORT 3"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0,
        "SET m0 n0 PX 900000 / WATCH {t}a {t}b m0 / GET {t}a / GET {t}b / CLUSTER INFO / INFO "
        "replication");
    says(&s, 0, "OK, OK, \"1\", nil, \"cluster_my_epoch:1\", \"master_replid:1\"");
    hears(&s, 0, "MULTI / EXISTS {t}a {t}b / SET m0 n0+1 XX KEEPTTL GET / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [:1, \"n0\"]");
    ends(&s, &a, GAVEL_ABORTED);
    stage_close(&s);
}

/* Nobody need ask what became of it. */
Test(core_fallen, such_a_one_is_in_no_doubt)
{
    stage s;
    stage_open(&s, &cluster);
    actor a = {.reads = "{t}a {t}b", .plays = "GET {t}a; GET {t}b; ABORT 3"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0,
        "SET m0 n0 PX 900000 / WATCH {t}a {t}b m0 / GET {t}a / GET {t}b / CLUSTER INFO / INFO "
        "replication");
    says(&s, 0, "OK, OK, \"1\", nil, \"cluster_my_epoch:1\", \"master_replid:1\"");
    hears(&s, 0, "MULTI / EXISTS {t}a {t}b / SET m0 n0+1 XX KEEPTTL GET / EXEC");
    link_down(&s, 0);
    is_in(&s, &a, GAVEL__TX_PAUSED);
    stage_close(&s);
}

/* ---- Those who wait for replicas ------------------------------------------------------------ */

/* What the marker holds may be that of an EXEC which has not been answered here yet, and which was
 * made after the server had gone back. */
Test(core_fallen, whoever_waits_for_replicas_waits_for_the_next_exec_under_way_too)
{
    static const struct {
        const char *reply;
        bool is_kept;
    } cases[] = {{"OK, QUEUED, QUEUED, [OK, \"n0+1\"]", true},
        {"OK, QUEUED, QUEUED, [OK, \"n0\"]", false}, {"OK, QUEUED, QUEUED, nil", true}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        stage s;
        stage_open(&s, &with_replicas);
        actor a = {.request = {.min_replicas = 1}};
        actor c = {.id = NULL};
        send_first(&s, &a);
        says(&s, 0, "OK, QUEUED, QUEUED, [OK, \"n0\"]");
        link_up(&s, 1);
        hears(&s, 1, "SET w 1 PX 600000 / WAIT 1 100 / GET m0");
        send_next(&s, &c, 2);
        says(&s, 1, "OK, :1, \"n0+2\"");
        is_in(&s, &a, GAVEL__TX_REPLICATING);
        says(&s, 0, cases[i].reply);
        if (cases[i].is_kept)
            cr_assert_eq(ends(&s, &a, GAVEL_COMMITTED)->n_replicas, 1);
        else
            is_in(&s, &a, GAVEL__TX_PAUSED);
        cr_assert_eq(s.n_lost, 0);
        stage_close(&s);
    }
}

/* The link is lost instead: it is asked again. */
Test(core_fallen, if_that_one_is_not_answered_the_replicas_are_asked_again)
{
    stage s;
    stage_open(&s, &with_replicas);
    actor a = {.request = {.min_replicas = 1}};
    actor c = {.id = NULL};
    send_first(&s, &a);
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, \"n0\"]");
    link_up(&s, 1);
    hears(&s, 1, "SET w 1 PX 600000 / WAIT 1 100 / GET m0");
    send_next(&s, &c, 2);
    says(&s, 1, "OK, :1, \"n0+2\"");
    is_in(&s, &a, GAVEL__TX_REPLICATING);
    link_down(&s, 0);
    hears(&s, 1, "PEXPIRE m0 900000 / GET m0 / SET w 1 PX 600000 / WAIT 1 100 / GET m0");
    says(&s, 1, ":1, \"n0+2\", OK, :1, \"n0+2\"");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_fallen, who_was_not_told_yet_runs_again)
{
    stage s;
    stage_open(&s, &with_replicas);
    actor a = {.request = {.min_replicas = 1}};
    actor b = {.request = {.min_replicas = 1}};
    actor c = {.id = NULL};
    send_first(&s, &a);
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, \"n0\"]");
    is_in(&s, &a, GAVEL__TX_REPLICATING);
    link_up(&s, 1);
    hears(&s, 1, "SET w 1 PX 600000 / WAIT 1 100 / GET m0");
    send_next(&s, &b, 2);
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, \"n0+1\"]");
    is_in(&s, &b, GAVEL__TX_REPLICATING);
    send_next(&s, &c, 3);
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, \"n0\"]");
    ends(&s, &c, GAVEL_COMMITTED);
    is_in(&s, &a, GAVEL__TX_PAUSED);
    is_in(&s, &b, GAVEL__TX_PAUSED);
    cr_assert_eq(a.transaction->outcome.n_attempts, 1);
    stage_close(&s);
}
