/*
 * Whoever is told ASK: a scout hears from the slot's old node that all keys have left it, and then
 * the transaction runs as a guest where they are. The test is both nodes.
 */
#include "stage.h"

#include <criterion/criterion.h>

static const stage_config two_nodes = {.is_cluster = true,
    .has_markers = true,
    .keeps_ledger = true,
    .has_no_prefetch = true,
    .n_nodes = 2};

#define ASK_0 "-ASK 15495 10.0.0.1:7000"
#define MOVED_1 "-MOVED 15495 10.0.0.2:7001"
#define EXECABORT "-EXECABORT Transaction discarded because of previous errors."
#define TRYAGAIN "-TRYAGAIN Multiple keys request during rehashing of slot"

static const char as_guest[] =
    "ASKING / SET m1 n1 PX 900000 / ASKING / WATCH a m1 / ASKING / GET a";
static const char as_guest_again[] = "ASKING / WATCH a m1 / ASKING / GET a";

static void pauses_for_milliseconds(stage *s, actor *a)
{
    is_in(s, a, GAVEL__TX_PAUSED);
    int64_t pause_us = a->transaction->resume_us - s->now_us;
    cr_assert(pause_us >= 1000 && pause_us <= 10000, "%lld", (long long)pause_us);
    sleeps(s);
}

static const char in_exec[] = "ASKING / MULTI / SET a 2 / SET m1 n1+1 XX KEEPTTL GET / EXEC";

/* Key and marker have left node 1, which has the slot; the scout has been told so. */
static void is_sent_away(stage *s, actor *a)
{
    stage_open(s, &two_nodes);
    a->reads = "a";
    a->plays = a->plays != NULL ? a->plays : "ADD a 1";
    enter(s, a);
    link_up(s, 1);
    hears(s, 1, "SET m0 n0 PX 900000 / WATCH a m0 / GET a");
    says(s, 1, ASK_0 ", " ASK_0 ", " ASK_0);
    hears(s, 1, "UNWATCH / WATCH a");
    says(s, 1, "OK, " ASK_0);
    link_up(s, 0);
}

/* Until it is let in as a guest. */
static void is_guest(stage *s, actor *a)
{
    is_sent_away(s, a);
    hears(s, 0, as_guest);
    says(s, 0, "OK, OK, OK, OK, OK, \"1\"");
}

/* A pause later it is at its slot's node, in full. */
static void is_back(stage *s, actor *a)
{
    pauses_for_milliseconds(s, a);
    hears(s, 1, "SET m0 n0 PX 900000 / UNWATCH / WATCH a m0 / GET a");
    cr_assert_eq(a->transaction->outcome.n_faults, 0);
    stage_close(s);
}

Test(core_guests, ask_leads_to_the_other_node)
{
    stage s;
    actor a = {.id = NULL};
    is_guest(&s, &a);
    hears(&s, 0, in_exec);
    says(&s, 0, "OK, OK, QUEUED, QUEUED, [OK, \"n1\"]");
    cr_assert_eq(ends(&s, &a, GAVEL_COMMITTED)->n_attempts, 1);
    stage_close(&s);
}

/* Its key may be at the old node again, or nowhere: that it is not here proves nothing. */
Test(core_guests, a_guest_that_misses_a_key_goes_back)
{
    stage s;
    actor a = {.id = NULL};
    is_sent_away(&s, &a);
    hears(&s, 0, as_guest);
    says(&s, 0, "OK, OK, OK, " TRYAGAIN);
    is_back(&s, &a);
}

Test(core_guests, a_guest_whose_exec_misses_a_key_goes_back)
{
    stage s;
    actor a = {.id = NULL};
    is_guest(&s, &a);
    hears(&s, 0, in_exec);
    says(&s, 0, "OK, OK, QUEUED, QUEUED, " TRYAGAIN);
    cr_assert_eq(s.n_events[GAVEL_EVENT_IN_DOUBT], 0);
    is_back(&s, &a);
}

/* The node does not take the slot, or did not hear ASKING. */
Test(core_guests, a_guest_that_is_not_let_in_goes_back)
{
    stage s;
    actor a = {.id = NULL};
    is_sent_away(&s, &a);
    hears(&s, 0, as_guest);
    says(&s, 0, "OK, " MOVED_1);
    hears(&s, 1, "SET m0 n0 PX 900000 / UNWATCH / WATCH a m0 / GET a");
    cr_assert_str_eq(s.redirects, "MOVED 15495 to 10.0.0.2:7001; ");
    stage_close(&s);
}

/* Each attempt asks the old node first. */
Test(core_guests, a_guest_that_has_lost_to_somebody_asks_the_old_node_again)
{
    stage s;
    actor a = {.id = NULL};
    is_guest(&s, &a);
    hears(&s, 0, in_exec);
    says(&s, 0, "OK, OK, QUEUED, QUEUED, nil");
    hears(&s, 1, "SET m0 n0 PX 900000 / UNWATCH / WATCH a m0 / GET a");
    says(&s, 1, ASK_0 ", OK, " ASK_0 ", " ASK_0);
    hears(&s, 1, "UNWATCH / WATCH a");
    says(&s, 1, "OK, " ASK_0);
    hears(&s, 0, as_guest_again);
    stage_close(&s);
}

/* Nobody has said that b has left node 1. */
Test(core_guests, a_guest_that_writes_what_it_has_not_read_goes_back)
{
    stage s;
    actor a = {.plays = "ADD a 1; SET {a}b 1"};
    is_guest(&s, &a);
    pauses_for_milliseconds(&s, &a);
    hears(&s, 1, "SET m0 n0 PX 900000 / UNWATCH / WATCH a m0 / GET a");
    says(&s, 1, ASK_0 ", OK, " ASK_0 ", " ASK_0);
    pauses_for_milliseconds(&s, &a);
    stage_close(&s);
}

/* Some of its keys are still there: a scout sees to it that only those who must wait. */
Test(core_guests, a_scout_that_finds_its_keys_waits)
{
    static const char *const replies[] = {"OK, OK", "OK, " TRYAGAIN};
    for (size_t i = 0; i < 2; i++) {
        stage s;
        stage_open(&s, &two_nodes);
        actor a = {.reads = "a", .plays = "ADD a 1"};
        enter(&s, &a);
        link_up(&s, 1);
        hears(&s, 1, "SET m0 n0 PX 900000 / WATCH a m0 / GET a");
        says(&s, 1, "OK, " TRYAGAIN ", " ASK_0);
        hears(&s, 1, "UNWATCH / WATCH a");
        says(&s, 1, replies[i]);
        pauses_for_milliseconds(&s, &a);
        hears(&s, 1, "UNWATCH / WATCH a m0 / GET a");
        stage_close(&s);
    }
}

/* Together two would never get an answer that is about one of them. */
Test(core_guests, scouts_go_alone)
{
    stage s;
    stage_open(&s, &two_nodes);
    actor a = {.reads = "a", .plays = "ADD a 1"};
    actor b = {.reads = "{a}b", .plays = "ADD {a}b 1"};
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 1);
    hears(&s, 1, "SET m0 n0 PX 900000 / WATCH a {a}b m0 / GET a / GET {a}b");
    says(&s, 1, ASK_0 ", " TRYAGAIN ", " ASK_0 ", \"1\"");
    hears(&s, 1, "UNWATCH / WATCH a");
    says(&s, 1, "OK, " ASK_0);
    link_up(&s, 0);
    hears(&s, 0, as_guest);
    hears(&s, 1, "UNWATCH / WATCH {a}b");
    stage_close(&s);
}

/* The link to a guest's node is lost: the old node does not know its marker, and says so, until the
 * slot has arrived. */
Test(core_guests, a_guest_in_doubt_is_asked_for_until_the_slot_has_arrived)
{
    stage s;
    actor a = {.id = NULL};
    is_guest(&s, &a);
    hears(&s, 0, in_exec);
    link_down(&s, 0);
    hears(&s, 1, "PEXPIRE m1 900000 / GET m1");
    says(&s, 1, ASK_0 ", " ASK_0);
    is_in(&s, &a, GAVEL__TX_IN_DOUBT);
    stage_give_slot(&s, 15495, s.engine.nodes.first);
    sleeps(&s);
    link_up(&s, 0);
    hears(&s, 0, "PEXPIRE m1 900000 / GET m1");
    says(&s, 0, ":1, \"n1+1\"");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

/* What it has committed may be lost with its node, long before the slot is said to be there. That
 * its marker is gone then would prove nothing. */
Test(core_guests, a_guest_is_looked_for_when_its_node_is_lost)
{
    stage s;
    actor a = {.id = NULL};
    is_guest(&s, &a);
    hears(&s, 0, in_exec);
    says(&s, 0, "OK, OK, QUEUED, QUEUED, [OK, \"n1\"]");
    ends(&s, &a, GAVEL_COMMITTED);
    link_down(&s, 0);
    hears(&s, 1, "PEXPIRE g:none:{`dca} 1 / GET m1");
    says(&s, 1, ASK_0 ", " ASK_0);
    stage_give_slot(&s, 15495, s.engine.nodes.first);
    sleeps(&s);
    link_up(&s, 0);
    hears(&s, 0, "PEXPIRE g:none:{`dca} 1 / GET m1");
    says(&s, 0, ":0, nil");
    cr_assert_eq(s.n_events[GAVEL_EVENT_LOST], 0);
    cr_assert_eq(s.n_events[GAVEL_EVENT_MAY_BE_LOST], 1);
    stage_close(&s);
}

/* Of which node its replicas would be, is not settled yet. */
Test(core_guests, who_waits_for_replicas_is_no_guest)
{
    stage s;
    stage_open(&s, &two_nodes);
    actor a = {.reads = "a", .plays = "ADD a 1", .request = {.min_replicas = 1}};
    enter(&s, &a);
    link_up(&s, 1);
    hears(&s, 1, "SET m0 n0 PX 900000 / WATCH a m0 / GET a");
    says(&s, 1, ASK_0 ", " ASK_0);
    pauses_for_milliseconds(&s, &a);
    stage_close(&s);
}

/* ---- Who only reads ------------------------------------------------------------------------ */

#define SNAPSHOT "ASKING / MULTI / EXISTS a {a}b / GET a / GET {a}b / EXEC"

/* The scout was told that both keys have gone. */
static void reader_is_sent_away(stage *s, actor *a)
{
    stage_open(s, &two_nodes);
    *a = (actor){.reads = "a {a}b", .plays = "GET a; GET {a}b", .request = {.is_read_only = true}};
    enter(s, a);
    link_up(s, 1);
    hears(s, 1, "MULTI / GET a / GET {a}b / EXEC");
    says(s, 1, "OK, " ASK_0 ", " ASK_0 ", " EXECABORT);
    hears(s, 1, "WATCH a {a}b");
    says(s, 1, ASK_0);
    link_up(s, 0);
    hears(s, 0, SNAPSHOT);
}

Test(core_guests, a_reader_follows_its_keys)
{
    stage s;
    actor a;
    reader_is_sent_away(&s, &a);
    says(&s, 0, "OK, OK, QUEUED, QUEUED, QUEUED, [:2, \"1\", \"2\"]");
    cr_assert_eq(ends(&s, &a, GAVEL_COMMITTED)->n_attempts, 1);
    cr_assert_str_eq(a.seen, "a=1 {a}b=2 ");
    stage_close(&s);
}

/* "nil" is not believed, whichever way the node says that a key is missing. */
Test(core_guests, a_reader_that_misses_a_key_goes_back)
{
    static const char *const replies[] = {"OK, OK, QUEUED, QUEUED, QUEUED, [:1, \"1\", nil]",
        ("OK, OK, " TRYAGAIN ", QUEUED, QUEUED, " EXECABORT),
        ("OK, OK, QUEUED, QUEUED, QUEUED, " TRYAGAIN)};
    for (size_t i = 0; i < 3; i++) {
        stage s;
        actor a;
        reader_is_sent_away(&s, &a);
        says(&s, 0, replies[i]);
        cr_assert_eq(a.n_runs, 0);
        pauses_for_milliseconds(&s, &a);
        hears(&s, 1, "UNWATCH / MULTI / GET a / GET {a}b / EXEC");
        stage_close(&s);
    }
}

Test(core_guests, a_reader_of_one_key_asks_whether_it_is_there)
{
    stage s;
    stage_open(&s, &two_nodes);
    actor a = {.reads = "a", .plays = "GET a", .request = {.is_read_only = true}};
    enter(&s, &a);
    link_up(&s, 1);
    hears(&s, 1, "GET a");
    says(&s, 1, ASK_0);
    hears(&s, 1, "WATCH a");
    says(&s, 1, ASK_0);
    link_up(&s, 0);
    hears(&s, 0, "ASKING / MULTI / EXISTS a / GET a / EXEC");
    says(&s, 0, "OK, OK, QUEUED, QUEUED, [:0, nil]");
    pauses_for_milliseconds(&s, &a);
    hears(&s, 1, "GET a");
    says(&s, 1, "nil"); /* it is the owner still, and has the slot for good */
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}
