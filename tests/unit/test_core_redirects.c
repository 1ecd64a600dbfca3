/*
 * What nodes of a Cluster say of a slot that is not theirs, or is about to leave them: wherever in
 * a round it comes, nothing was written, nobody is in doubt, and the link stays. The test is the
 * node: Redis tells while commands are queued, Valkey 9 also as the answer to EXEC.
 */
#include "stage.h"

#include <criterion/criterion.h>

static const stage_config cluster = {.is_cluster = true, .has_no_prefetch = true};
static const stage_config marked = {
    .is_cluster = true, .has_markers = true, .has_no_prefetch = true};

#define MOVED "-MOVED 15495 10.0.0.2:7001"
#define ASK "-ASK 15495 10.0.0.2:7001"
#define TRYAGAIN "-TRYAGAIN Multiple keys request during rehashing of slot"
#define CLUSTERDOWN "-CLUSTERDOWN The cluster is down"
#define EXECABORT "-EXECABORT Transaction discarded because of previous errors."

static const char was_told[] = "MOVED 15495 to 10.0.0.2:7001; ";

/* To the point where WATCH and GET are to be answered. */
static void begin(stage *s, actor *a)
{
    stage_open(s, &cluster);
    a->reads = "a";
    a->plays = "ADD a 1";
    enter(s, a);
    link_up(s, 0);
    hears(s, 0, "WATCH a / GET a");
}

/* And of EXEC. */
static void begin_commit(stage *s, actor *a)
{
    begin(s, a);
    says(s, 0, "OK, \"1\"");
    hears(s, 0, "MULTI / SET a 2 / EXEC");
}

/* It runs again on the same link, in full. */
static void runs_again(stage *s, actor *a)
{
    hears(s, 0, "WATCH a / GET a");
    says(s, 0, "OK, \"5\"");
    hears(s, 0, "MULTI / SET a 6 / EXEC");
    says(s, 0, "OK, QUEUED, [OK]");
    cr_assert_eq(ends(s, a, GAVEL_COMMITTED)->n_faults, 0);
    cr_assert_eq(s->n_events[GAVEL_EVENT_IN_DOUBT], 0);
    stage_close(s);
}

/* The link may still watch something: it is told to forget that. */
static void runs_again_afresh(stage *s, actor *a)
{
    hears(s, 0, "UNWATCH / WATCH a / GET a");
    says(s, 0, "OK, OK, \"5\"");
    hears(s, 0, "MULTI / SET a 6 / EXEC");
    says(s, 0, "OK, QUEUED, [OK]");
    cr_assert_eq(ends(s, a, GAVEL_COMMITTED)->n_faults, 0);
    stage_close(s);
}

static void pauses_for_milliseconds(stage *s, actor *a)
{
    is_in(s, a, GAVEL__TX_PAUSED);
    int64_t pause_us = a->transaction->resume_us - s->now_us;
    cr_assert(pause_us >= 1000 && pause_us <= 10000, "%lld", (long long)pause_us);
    cr_assert_str_eq(s->redirects, "");
    sleeps(s);
}

/* ---- Another node has the slot ------------------------------------------------------------- */

Test(core_redirects, moved_as_the_answer_to_watch)
{
    stage s;
    actor a = {.id = NULL};
    begin(&s, &a);
    says(&s, 0, MOVED ", " MOVED);
    cr_assert_str_eq(s.redirects, was_told);
    runs_again_afresh(&s, &a);
}

/* The slot has left between the two. */
Test(core_redirects, moved_as_the_answer_to_a_read)
{
    stage s;
    actor a = {.id = NULL};
    begin(&s, &a);
    says(&s, 0, "OK, " MOVED);
    cr_assert_str_eq(s.redirects, was_told);
    runs_again_afresh(&s, &a);
}

Test(core_redirects, moved_while_commands_are_queued)
{
    stage s;
    actor a = {.id = NULL};
    begin_commit(&s, &a);
    says(&s, 0, "OK, " MOVED ", " EXECABORT);
    cr_assert_str_eq(s.redirects, was_told);
    runs_again(&s, &a);
}

Test(core_redirects, moved_as_the_answer_to_exec)
{
    stage s;
    actor a = {.id = NULL};
    begin_commit(&s, &a);
    says(&s, 0, "OK, QUEUED, " MOVED);
    cr_assert_str_eq(s.redirects, was_told);
    runs_again(&s, &a);
}

/* All members are in the same case: none is told for another. */
Test(core_redirects, moved_for_all_members)
{
    stage s;
    stage_open(&s, &cluster);
    actor a = {.reads = "a", .plays = "ADD a 1"};
    actor b = {.plays = "SET {a}b 1"};
    actor c = {.reads = "a", .plays = "ADD a 1"};
    enter(&s, &a);
    enter(&s, &c);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, \"1\"");
    hears(&s, 0, "MULTI / SET a 3 / EXEC");
    says(&s, 0, "OK, " MOVED ", " EXECABORT);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, \"1\"");
    hears(&s, 0, "MULTI / SET a 3 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &a, GAVEL_COMMITTED);
    ends(&s, &c, GAVEL_COMMITTED);
    enter(&s, &b);
    hears(&s, 0, "MULTI / SET {a}b 1 / EXEC");
    says(&s, 0, "OK, QUEUED, " MOVED);
    hears(&s, 0, "MULTI / SET {a}b 1 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &b, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_redirects, moved_for_one_that_only_reads)
{
    stage s;
    stage_open(&s, &cluster);
    actor a = {.reads = "a", .plays = "GET a", .request = {.is_read_only = true}};
    actor b = {.reads = "a {a}b", .plays = "GET a", .request = {.is_read_only = true}};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "GET a");
    says(&s, 0, MOVED);
    cr_assert_str_eq(s.redirects, was_told);
    hears(&s, 0, "GET a");
    says(&s, 0, "\"1\"");
    ends(&s, &a, GAVEL_COMMITTED);
    enter(&s, &b);
    hears(&s, 0, "MULTI / GET a / GET {a}b / EXEC");
    says(&s, 0, "OK, " MOVED ", " MOVED ", " EXECABORT);
    hears(&s, 0, "MULTI / GET a / GET {a}b / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [\"1\", nil]");
    ends(&s, &b, GAVEL_COMMITTED);
    stage_close(&s);
}

/* Nodes that know different things: it is not sent to and fro for ever without a pause. */
Test(core_redirects, who_is_sent_about_for_long_pauses)
{
    stage s;
    actor a = {.id = NULL};
    begin(&s, &a);
    for (unsigned i = 0; i < 5; i++) {
        says(&s, 0, MOVED ", " MOVED);
        hears(&s, 0, "UNWATCH / WATCH a / GET a");
        says(&s, 0, "OK");
    }
    int64_t total_us = 0;
    for (unsigned i = 0; i < 12; i++) {
        says(&s, 0, MOVED ", " MOVED);
        is_in(&s, &a, GAVEL__TX_PAUSED);
        int64_t pause_us = a.transaction->resume_us - s.now_us;
        cr_assert(pause_us >= 500 && pause_us <= 64000, "%lld", (long long)pause_us);
        total_us += pause_us;
        sleeps(&s);
        hears(&s, 0, "UNWATCH / WATCH a / GET a");
        says(&s, 0, "OK");
    }
    cr_assert_geq(total_us, 200000);
    cr_assert_eq(a.transaction->outcome.n_faults, 0);
    stage_close(&s);
}

Test(core_redirects, the_last_attempt_may_be_lost_so)
{
    stage s;
    actor a = {.request = {.max_attempts = 1}};
    begin_commit(&s, &a);
    says(&s, 0, "OK, " MOVED ", " EXECABORT);
    ends_saying(&s, &a, GAVEL_NOT_SENT, "max_attempts (1) are spent");
    stage_close(&s);
}

/* One server that is a node of a Cluster: only a client of the Cluster can follow it. */
Test(core_redirects, who_speaks_to_one_server_is_told)
{
    stage s;
    stage_open(&s, &(stage_config){.has_no_prefetch = true});
    actor a = {.reads = "a", .plays = "ADD a 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, MOVED ", " MOVED);
    ends_saying(&s, &a, GAVEL_REJECTED, "MOVED 15495");
    cr_assert_str_eq(s.redirects, "");
    stage_close(&s);
}

/* ---- The slot is about to leave ------------------------------------------------------------ */

/* The key is not there any more; or one of several is not. */
Test(core_redirects, on_its_way_as_the_answer_to_watch)
{
    static const char *const replies[] = {ASK ", " ASK, TRYAGAIN ", \"1\""};
    for (size_t i = 0; i < 2; i++) {
        stage s;
        actor a = {.id = NULL};
        begin(&s, &a);
        says(&s, 0, replies[i]);
        pauses_for_milliseconds(&s, &a);
        runs_again_afresh(&s, &a);
    }
}

Test(core_redirects, on_its_way_as_the_answer_to_a_read)
{
    stage s;
    actor a = {.id = NULL};
    begin(&s, &a);
    says(&s, 0, "OK, " ASK);
    pauses_for_milliseconds(&s, &a);
    runs_again_afresh(&s, &a);
}

Test(core_redirects, on_its_way_as_the_answer_to_mget)
{
    stage s;
    stage_open(&s, &cluster);
    actor a = {.reads = "{t}a {t}b {t}c {t}d", .plays = "ADD {t}a 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH {t}a {t}b {t}c {t}d / MGET {t}a {t}b {t}c {t}d");
    says(&s, 0, "OK, " TRYAGAIN);
    pauses_for_milliseconds(&s, &a);
    hears(&s, 0, "UNWATCH / WATCH {t}a {t}b {t}c {t}d / MGET {t}a {t}b {t}c {t}d");
    stage_close(&s);
}

Test(core_redirects, on_its_way_while_commands_are_queued)
{
    static const char *const replies[] = {ASK, TRYAGAIN};
    for (size_t i = 0; i < 2; i++) {
        stage s;
        actor a = {.id = NULL};
        begin_commit(&s, &a);
        says(&s, 0, "OK");
        says(&s, 0, replies[i]);
        says(&s, 0, EXECABORT);
        pauses_for_milliseconds(&s, &a);
        runs_again(&s, &a);
    }
}

Test(core_redirects, on_its_way_as_the_answer_to_exec)
{
    static const char *const replies[] = {ASK, TRYAGAIN};
    for (size_t i = 0; i < 2; i++) {
        stage s;
        actor a = {.id = NULL};
        begin_commit(&s, &a);
        says(&s, 0, "OK, QUEUED");
        says(&s, 0, replies[i]);
        pauses_for_milliseconds(&s, &a);
        runs_again(&s, &a);
    }
}

Test(core_redirects, on_its_way_for_one_that_only_reads)
{
    stage s;
    stage_open(&s, &cluster);
    actor a = {.reads = "a {a}b", .plays = "GET a", .request = {.is_read_only = true}};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "MULTI / GET a / GET {a}b / EXEC");
    says(&s, 0, "OK, QUEUED, " ASK ", " EXECABORT);
    hears(&s, 0, "WATCH a {a}b");
    says(&s, 0, TRYAGAIN);
    pauses_for_milliseconds(&s, &a);
    hears(&s, 0, "UNWATCH / MULTI / GET a / GET {a}b / EXEC");
    says(&s, 0, "OK, OK, QUEUED, QUEUED, " TRYAGAIN);
    hears(&s, 0, "WATCH a {a}b");
    says(&s, 0, "OK");
    pauses_for_milliseconds(&s, &a);
    hears(&s, 0, "UNWATCH / MULTI / GET a / GET {a}b / EXEC");
    says(&s, 0, "OK, OK, QUEUED, QUEUED, [\"1\", nil]");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_redirects, a_deadline_says_that_the_slot_was_on_its_way)
{
    stage s;
    actor a = {.request = {.deadline_ms = 50, .max_faults = 1}};
    begin(&s, &a);
    for (unsigned i = 0; !a.is_told && i < 100; i++) {
        says(&s, 0, ASK ", " ASK);
        while (!a.is_told && a.transaction->state == GAVEL__TX_PAUSED) {
            sleeps(&s);
            stage_collect(&s);
        }
        advance(&s, 0);
        (void)stage_listen(&s, 0);
        if (!a.is_told)
            says(&s, 0, "OK");
    }
    ends_saying(&s, &a, GAVEL_DEADLINE, "node 0: slot 15495 is being migrated");
    stage_close(&s);
}

/* ---- The marker ---------------------------------------------------------------------------- */

/* A new one cannot be planted where its slot is about to leave. */
Test(core_redirects, a_marker_that_was_not_planted_is_planted_again)
{
    static const char *const replies[] = {MOVED ", " MOVED, ASK ", " TRYAGAIN};
    for (size_t i = 0; i < 2; i++) {
        stage s;
        stage_open(&s, &marked);
        actor a = {.keys = "a", .plays = "SET a 1"};
        enter(&s, &a);
        link_up(&s, 0);
        hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a m0");
        says(&s, 0, replies[i]);
        if (i == 1) {
            hears(&s, 0, "UNWATCH / WATCH a");
            says(&s, 0, "OK, OK");
            pauses_for_milliseconds(&s, &a);
        }
        hears(&s, 0, "SET m0 n0 PX 900000 / UNWATCH / WATCH a m0");
        stage_close(&s);
    }
}

/* It has moved before the keys have, or after them. */
Test(core_redirects, a_marker_that_is_elsewhere_stops_the_exec)
{
    static const char *const replies[] = {
        "OK, QUEUED, " ASK ", " EXECABORT, "OK, QUEUED, QUEUED, " TRYAGAIN};
    for (size_t i = 0; i < 2; i++) {
        stage s;
        stage_open(&s, &marked);
        actor a = {.keys = "a", .plays = "SET a 1"};
        enter(&s, &a);
        link_up(&s, 0);
        hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a m0");
        says(&s, 0, "OK, OK");
        hears(&s, 0, "MULTI / SET a 1 / SET m0 n0+1 XX KEEPTTL GET / EXEC");
        says(&s, 0, replies[i]);
        hears(&s, 0, "WATCH a");
        says(&s, 0, "OK");
        pauses_for_milliseconds(&s, &a);
        hears(&s, 0, "UNWATCH / WATCH a m0");
        says(&s, 0, "OK, OK");
        hears(&s, 0, "MULTI / SET a 1 / SET m0 n0+1 XX KEEPTTL GET / EXEC");
        says(&s, 0, "OK, QUEUED, QUEUED, [OK, \"n0\"]");
        ends(&s, &a, GAVEL_COMMITTED);
        stage_close(&s);
    }
}

/* Once something was refused in MULTI, EXEC comes to nothing, also where nobody hears of it. */
Test(core_redirects, nobody_is_in_doubt_behind_a_redirect)
{
    static const char *const replies[] = {MOVED, ASK, TRYAGAIN};
    for (size_t i = 0; i < 3; i++) {
        stage s;
        actor a = {.id = NULL};
        begin_commit(&s, &a);
        says(&s, 0, "OK");
        says(&s, 0, replies[i]);
        link_down(&s, 0);
        is_in(&s, &a, GAVEL__TX_PAUSED);
        cr_assert_eq(s.n_events[GAVEL_EVENT_IN_DOUBT], 0);
        stage_close(&s);
    }
}

/* ---- The node serves nobody ---------------------------------------------------------------- */

Test(core_redirects, a_node_that_serves_none_is_at_fault)
{
    static const char *const replies[] = {CLUSTERDOWN ", " CLUSTERDOWN, "OK, " CLUSTERDOWN};
    for (size_t i = 0; i < 2; i++) {
        stage s;
        actor a = {.id = NULL};
        begin(&s, &a);
        says(&s, 0, replies[i]);
        is_in(&s, &a, GAVEL__TX_PAUSED);
        cr_assert_eq(a.transaction->outcome.n_faults, 1);
        cr_assert_str_eq(s.redirects, "down; ");
        sleeps(&s);
        hears(&s, 0, "UNWATCH / WATCH a / GET a");
        stage_close(&s);
    }
}

Test(core_redirects, and_so_it_is_in_exec)
{
    static const char *const replies[] = {
        "OK, " CLUSTERDOWN ", " EXECABORT, "OK, QUEUED, " CLUSTERDOWN};
    for (size_t i = 0; i < 2; i++) {
        stage s;
        actor a = {.id = NULL};
        begin_commit(&s, &a);
        says(&s, 0, replies[i]);
        is_in(&s, &a, GAVEL__TX_PAUSED);
        cr_assert_eq(s.n_events[GAVEL_EVENT_IN_DOUBT], 0);
        cr_assert_str_eq(s.redirects, "down; ");
        sleeps(&s);
        hears(&s, 0, "WATCH a / GET a");
        stage_close(&s);
    }
}

/* A replica that this link has asked to read from. */
Test(core_redirects, a_link_to_a_replica_is_of_no_use)
{
    stage s;
    actor a = {.id = NULL};
    begin_commit(&s, &a);
    says(&s, 0, "OK, -READONLY You can't write against a read only replica., " EXECABORT);
    is_in(&s, &a, GAVEL__TX_PAUSED);
    cr_assert_str_eq(s.redirects, "down; ");
    is_closed(&s, 0, "READONLY");
    stage_close(&s);
}

/* A command whose keys were not described, say. */
Test(core_redirects, keys_of_two_slots_after_all_are_told)
{
    static const char *const replies[] = {
        "OK, -CROSSSLOT Keys in request don't hash to the same slot, " EXECABORT,
        "OK, QUEUED, -CROSSSLOT Keys in request don't hash to the same slot"};
    for (size_t i = 0; i < 2; i++) {
        stage s;
        actor a = {.id = NULL};
        begin_commit(&s, &a);
        says(&s, 0, replies[i]);
        ends_saying(&s, &a, GAVEL_REJECTED, "CROSSSLOT");
        cr_assert_not(lane_of(&s, 0)->is_condemned);
        stage_close(&s);
    }
}

/* nil: a key that was watched was deleted as it moved, or the slot came back. */
Test(core_redirects, a_key_that_has_moved_and_was_watched_is_a_conflict)
{
    stage s;
    actor a = {.id = NULL};
    begin_commit(&s, &a);
    says(&s, 0, "OK, QUEUED, nil");
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, MOVED ", " MOVED);
    cr_assert_str_eq(s.redirects, was_told);
    runs_again_afresh(&s, &a);
}
