/*
 * Unit tests of reading from replicas: which one, what is said to it, how old what it shows is told
 * to be, and that whatever it does not serve is read at the primary.
 */
#include "stage.h"

#include "base/text.h"

#include <criterion/criterion.h>

#include <string.h>

#define NAME "0123456789012345678901234567890123456789"
#define OTHER_NAME "abcdefabcdefabcdefabcdefabcdefabcdefabcd"

#define AS_REPLICA(name, offset)                                                                   \
    "\"role:slave\r\nslave_repl_offset:" offset "\r\nmaster_replid:" name                          \
    "\r\nmaster_repl_offset:999999\r\n\""
#define WITHOUT_DATA(name)                                                                         \
    "\"role:slave\r\nmaster_link_status:down\r\nslave_repl_offset:1\r\nmaster_replid:" name        \
    "\r\nmaster_repl_offset:0\r\n\""
#define AS_PRIMARY(name, offset)                                                                   \
    "\"role:master\r\nmaster_replid:" name "\r\nmaster_repl_offset:" offset "\r\n\""

#define ONE_READ "MULTI / GET a / INFO replication / EXEC"

static const gavel_transaction stale = {.is_read_only = true, .is_stale_ok = true};

/* With one replica, both links up, and the primary's history known up to 100. */
static void open_dated(stage *s)
{
    stage_open(s, &(stage_config){.n_replicas = 1, .has_no_prefetch = true});
    actor first = {.reads = "a", .plays = "GET a", .request = stale};
    enter(s, &first);
    link_up(s, 1);
    hears(s, 1, ONE_READ);
    link_up(s, 0);
    hears(s, 0, "INFO replication");
    says(s, 0, AS_PRIMARY(NAME, "100"));
    says(s, 1, "OK, QUEUED, QUEUED, [\"1\", " AS_REPLICA(NAME, "99") "]");
    cr_expect_eq(ends(s, &first, GAVEL_COMMITTED)->stale_ms, -1);
    cr_expect_str_eq(first.seen, "a=1 ");
    s->n_actors = 0;
}

Test(core_replicas, dates_what_a_replica_shows)
{
    stage s;
    open_dated(&s);
    actor reader = {.reads = "a", .plays = "GET a", .request = stale};
    advance(&s, 30000);
    enter(&s, &reader);
    hears(&s, 1, ONE_READ);
    hears_nothing(&s, 0);
    advance(&s, 2500);
    says(&s, 1, "OK, QUEUED, QUEUED, [\"2\", " AS_REPLICA(NAME, "100") "]");
    cr_expect_eq(ends(&s, &reader, GAVEL_COMMITTED)->stale_ms, 33);
    cr_expect_str_eq(reader.seen, "a=2 ");
    stage_close(&s);
}

/* The answer may have been there before the machine fell asleep. */
Test(core_replicas, ages_while_the_machine_sleeps)
{
    stage s;
    open_dated(&s);
    actor reader = {.reads = "a", .plays = "GET a", .request = stale};
    enter(&s, &reader);
    hears(&s, 1, ONE_READ);
    s.slept_us = 5000000;
    says(&s, 1, "OK, QUEUED, QUEUED, [\"2\", " AS_REPLICA(NAME, "100") "]");
    cr_expect_eq(ends(&s, &reader, GAVEL_COMMITTED)->stale_ms, 5001);
    stage_close(&s);
}

Test(core_replicas, knows_no_age_in_another_history)
{
    stage s;
    open_dated(&s);
    actor reader = {.reads = "a", .plays = "GET a", .request = stale};
    enter(&s, &reader);
    hears(&s, 1, ONE_READ);
    says(&s, 1, "OK, QUEUED, QUEUED, [\"2\", " AS_REPLICA(OTHER_NAME, "5000") "]");
    cr_expect_eq(ends(&s, &reader, GAVEL_COMMITTED)->stale_ms, -1);
    stage_close(&s);
}

/* One that lags is dated by the last sample that it has come up to. */
Test(core_replicas, dates_one_that_lags_by_an_older_sample)
{
    stage s;
    open_dated(&s);
    actor readers[40];
    for (int i = 0; i < 40; i++) {
        char answer[128];
        advance(&s, 100000);
        readers[i] = (actor){.reads = "a", .plays = "GET a", .request = stale};
        enter(&s, &readers[i]);
        hears(&s, 0, "INFO replication");
        gavel__format(answer, sizeof answer,
            "\"role:master\r\nmaster_replid:" NAME "\r\nmaster_repl_offset:%d\r\n\"", 101 + i);
        says(&s, 0, answer);
        hears(&s, 1, ONE_READ);
        says(&s, 1, "OK, QUEUED, QUEUED, [\"2\", " AS_REPLICA(NAME, "107") "]");
        int32_t stale_ms = ends(&s, &readers[i], GAVEL_COMMITTED)->stale_ms;
        int32_t least_ms = i < 7 ? 1 : 1 + 100 * (i - 6);
        cr_expect_geq(stale_ms, least_ms);
        cr_expect_leq(stale_ms, i < 25 ? least_ms : least_ms + 100, "%d", i);
    }
    stage_close(&s);
}

Test(core_replicas, reads_at_the_primary_what_may_be_too_old)
{
    stage s;
    open_dated(&s);
    gavel_transaction request = stale;
    request.max_stale_ms = 20;
    actor reader = {.reads = "a", .plays = "GET a", .request = request};
    advance(&s, 19500);
    enter(&s, &reader);
    hears(&s, 1, ONE_READ);
    says(&s, 1, "OK, QUEUED, QUEUED, [\"2\", " AS_REPLICA(NAME, "100") "]");
    cr_expect_eq(ends(&s, &reader, GAVEL_COMMITTED)->stale_ms, 20);
    actor late = {.reads = "a", .plays = "GET a", .request = request};
    advance(&s, 500);
    enter(&s, &late);
    hears(&s, 1, ONE_READ);
    says(&s, 1, "OK, QUEUED, QUEUED, [\"2\", " AS_REPLICA(NAME, "100") "]");
    hears(&s, 0, "GET a");
    says(&s, 0, "\"3\"");
    cr_expect_eq(ends(&s, &late, GAVEL_COMMITTED)->stale_ms, 0);
    cr_expect_str_eq(late.seen, "a=3 ");
    stage_close(&s);
}

Test(core_replicas, readers_share_a_snapshot_and_take_turns)
{
    stage s;
    stage_open(&s, &(stage_config){.n_replicas = 2});
    actor first = {.reads = "a", .plays = "GET a", .request = stale};
    actor second = {.reads = "b", .plays = "GET b", .request = stale};
    actor third = {.reads = "c", .plays = "GET c", .request = stale};
    enter(&s, &first);
    enter(&s, &second);
    enter(&s, &third);
    link_up(&s, 1);
    link_up(&s, 2);
    const char *texts[2] = {"MULTI / GET a / GET c / INFO replication / EXEC",
        "MULTI / GET b / INFO replication / EXEC"};
    advance(&s, 0);
    bool is_first_at_1 = strstr(stage_peek(&s, 1), "GET a") != NULL;
    uint32_t pair = is_first_at_1 ? 1 : 2;
    hears(&s, pair, texts[0]);
    hears(&s, 3 - pair, texts[1]);
    says(&s, pair, "OK, QUEUED, QUEUED, QUEUED, [\"1\", \"3\", " AS_REPLICA(NAME, "1") "]");
    says(&s, 3 - pair, "OK, QUEUED, QUEUED, [\"2\", " AS_REPLICA(NAME, "1") "]");
    ends(&s, &first, GAVEL_COMMITTED);
    ends(&s, &second, GAVEL_COMMITTED);
    ends(&s, &third, GAVEL_COMMITTED);
    cr_expect_str_eq(third.seen, "c=3 ");
    stage_close(&s);
}

/* The time that other bodies take counts. */
Test(core_replicas, is_as_old_as_it_is_when_the_body_runs)
{
    stage s;
    open_dated(&s);
    gavel_transaction request = stale;
    request.max_stale_ms = 3;
    actor slow = {.reads = "a", .plays = "WAIT 5000; GET a", .request = stale};
    actor second = {.reads = "a", .plays = "GET a", .request = stale};
    actor third = {.reads = "a", .plays = "GET a", .request = request};
    enter(&s, &slow);
    enter(&s, &second);
    enter(&s, &third);
    hears(&s, 1, ONE_READ);
    says(&s, 1, "OK, QUEUED, QUEUED, [\"2\", " AS_REPLICA(NAME, "100") "]");
    cr_expect_eq(ends(&s, &slow, GAVEL_COMMITTED)->stale_ms, 1);
    cr_expect_eq(ends(&s, &second, GAVEL_COMMITTED)->stale_ms, 6);
    hears(&s, 0, "GET a");
    says(&s, 0, "\"3\"");
    cr_expect_eq(ends(&s, &third, GAVEL_COMMITTED)->stale_ms, 0);
    stage_close(&s);
}

Test(core_replicas, reads_more_that_was_not_declared)
{
    stage s;
    open_dated(&s);
    actor reader = {.plays = "GET a; GET b", .request = stale};
    enter(&s, &reader);
    hears(&s, 1, "MULTI / GET a / GET b / INFO replication / EXEC");
    says(&s, 1, "OK, QUEUED, QUEUED, QUEUED, [\"2\", \"3\", " AS_REPLICA(NAME, "100") "]");
    cr_expect_eq(ends(&s, &reader, GAVEL_COMMITTED)->stale_ms, 1);
    cr_expect_str_eq(reader.seen, "a=2 b=3 ");
    stage_close(&s);
}

Test(core_replicas, whatever_writes_never_goes_there)
{
    stage s;
    open_dated(&s);
    actor writer = {.reads = "a", .plays = "SET a 2"};
    actor reader = {.reads = "a", .plays = "GET a", .request = {.is_read_only = true}};
    actor cheat = {.reads = "k", .plays = "SET k 2", .request = stale};
    actor blind_cheat = {.plays = "SET blind 2", .request = stale};
    actor wrong = {.plays = "GET a", .request = {.is_stale_ok = true}};
    actor unbound = {.plays = "GET a", .request = {.is_read_only = true, .max_stale_ms = 5}};
    enter(&s, &writer);
    hears_nothing(&s, 1);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, \"1\"");
    hears(&s, 0, "MULTI / SET a 2 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &writer, GAVEL_COMMITTED);
    enter(&s, &reader);
    hears_nothing(&s, 1);
    advance(&s, 0);
    stage_listen(&s, 0);
    cancel(&s, &reader);
    enter(&s, &cheat);
    hears(&s, 1, "MULTI / GET k / INFO replication / EXEC");
    says(&s, 1, "OK, QUEUED, QUEUED, [\"2\", " AS_REPLICA(NAME, "100") "]");
    ends_saying(
        &s, &cheat, GAVEL_INVALID, "a write in a read-only transaction (is_stale_ok); key: \"k\"");
    enter(&s, &blind_cheat);
    ends_saying(&s, &blind_cheat, GAVEL_INVALID, "(is_stale_ok); key: \"blind\"");
    enter(&s, &wrong);
    ends_saying(&s, &wrong, GAVEL_INVALID, "is_stale_ok is for");
    enter(&s, &unbound);
    ends_saying(&s, &unbound, GAVEL_INVALID, "max_stale_ms is set");
    hears_nothing(&s, 1);
    stage_close(&s);
}

/* ---- What goes wrong there ------------------------------------------------------------------ */

Test(core_replicas, without_a_link_there_it_reads_at_the_primary)
{
    stage s;
    stage_open(&s, &(stage_config){.n_replicas = 1});
    actor reader = {.reads = "a", .plays = "GET a", .request = stale};
    enter(&s, &reader);
    link_refused(&s, 1, true, "WRONGPASS");
    link_up(&s, 0);
    advance(&s, 0);
    hears(&s, 0, "GET a / INFO replication");
    says(&s, 0, "\"1\", " AS_PRIMARY(NAME, "100"));
    const gavel_outcome *outcome = ends(&s, &reader, GAVEL_COMMITTED);
    cr_expect_eq(outcome->stale_ms, 0);
    cr_expect_eq(outcome->n_faults, 0);
    actor next = {.reads = "a", .plays = "GET a", .request = stale};
    enter(&s, &next);
    hears(&s, 0, "GET a"); /* it is left alone */
    says(&s, 0, "\"1\"");
    ends(&s, &next, GAVEL_COMMITTED);
    advance(&s, 1000000);
    actor later = {.reads = "a", .plays = "GET a", .request = stale};
    enter(&s, &later);
    link_up(&s, 1);
    hears(&s, 1, ONE_READ); /* not for ever */
    stage_close(&s);
}

/* Without memory for a link there, too. */
Test(core_replicas, without_memory_for_a_lane_there_it_reads_at_the_primary)
{
    stage s;
    stage_open(&s, &(stage_config){.n_replicas = 1});
    actor first = {.reads = "a", .plays = "GET a", .request = {.is_read_only = true}};
    enter(&s, &first);
    link_up(&s, 0);
    hears(&s, 0, "GET a");
    says(&s, 0, "\"1\"");
    ends(&s, &first, GAVEL_COMMITTED);
    actor reader = {.reads = "a", .plays = "GET a", .request = stale};
    enter(&s, &reader);
    s.memory.n_left = 0;
    advance(&s, 0);
    s.memory.n_left = MEMORY_ENOUGH;
    hears(&s, 0, "INFO replication / GET a");
    says(&s, 0, AS_PRIMARY(NAME, "100") ", \"1\"");
    cr_expect_eq(ends(&s, &reader, GAVEL_COMMITTED)->n_faults, 0);
    stage_close(&s);
}

Test(core_replicas, whoever_loses_the_link_reads_elsewhere)
{
    stage s;
    open_dated(&s);
    actor reader = {.reads = "a", .plays = "GET a", .request = stale};
    enter(&s, &reader);
    hears(&s, 1, ONE_READ);
    link_down(&s, 1);
    is_in(&s, &reader, GAVEL__TX_PAUSED);
    sleeps(&s);
    hears(&s, 0, "GET a");
    says(&s, 0, "\"1\"");
    cr_expect_eq(ends(&s, &reader, GAVEL_COMMITTED)->stale_ms, 0);
    stage_close(&s);
}

/* What a silent replica, or one without a link, costs one with this deadline; `rest_ms` are left.
 */
static void waits_at_a_silent_one(bool has_link, uint32_t deadline_ms, int64_t rest_ms)
{
    stage s;
    stage_open(&s, &(stage_config){.n_replicas = 1});
    actor reader = {.reads = "a", .plays = "GET a", .request = stale};
    reader.request.deadline_ms = deadline_ms;
    enter(&s, &reader);
    int64_t deadline_us = s.now_us + (int64_t)deadline_ms * 1000;
    if (has_link) {
        link_up(&s, 1);
        hears(&s, 1, ONE_READ);
    }
    link_up(&s, 0);
    hears(&s, 0, "INFO replication");
    says(&s, 0, AS_PRIMARY(NAME, "100"));
    advance(&s, deadline_us - rest_ms * 1000 - s.now_us - 1);
    hears_nothing(&s, 0);
    cr_expect_not_null(reader.transaction);
    advance(&s, 1);
    if (rest_ms > 0) {
        hears(&s, 0, "GET a");
        if (has_link)
            says(&s, 1, "OK, QUEUED, QUEUED, [\"0\", " AS_REPLICA(NAME, "1") "]");
        says(&s, 0, "\"1\"");
        cr_expect_eq(ends(&s, &reader, GAVEL_COMMITTED)->stale_ms, 0);
        cr_expect_str_eq(reader.seen, "a=1 ");
    } else {
        ends(&s, &reader, GAVEL_DEADLINE);
    }
    stage_close(&s);
}

Test(core_replicas, whoever_waits_for_half_of_his_time_reads_at_the_primary)
{
    waits_at_a_silent_one(false, 200, 100);
    waits_at_a_silent_one(true, 200, 100);
    waits_at_a_silent_one(true, 100, 50);
    waits_at_a_silent_one(true, 99, 0); /* too little for another try */
}

static void reads_elsewhere_after(const char *replies)
{
    stage s;
    open_dated(&s);
    actor reader = {.reads = "a", .plays = "GET a", .request = stale};
    enter(&s, &reader);
    hears(&s, 1, ONE_READ);
    says(&s, 1, replies);
    hears(&s, 0, "GET a");
    says(&s, 0, "\"1\"");
    cr_expect_eq(ends(&s, &reader, GAVEL_COMMITTED)->stale_ms, 0, "%s", replies);
    stage_close(&s);
}

Test(core_replicas, what_a_replica_refuses_is_read_at_the_primary)
{
    reads_elsewhere_after("OK, -LOADING Redis is loading, -LOADING Redis is loading, "
                          "-EXECABORT Transaction discarded because of: LOADING Redis is loading");
    reads_elsewhere_after("OK, -MASTERDOWN Link with MASTER is down, QUEUED, -EXECABORT discarded");
    reads_elsewhere_after("OK, -NOPERM this user has no permissions, QUEUED, -EXECABORT discarded");
    reads_elsewhere_after("OK, QUEUED, QUEUED, [\"9\", " AS_PRIMARY(NAME, "100") "]");
}

/* So whoever asks for it keeps nobody else from the replicas. */
Test(core_replicas, what_a_replica_takes_for_a_write_is_read_at_the_primary)
{
    stage s;
    open_dated(&s);
    actor sorter = {.reads = "a", .plays = "GET a; QUERY SORT l", .request = stale};
    actor reader = {.reads = "a", .plays = "GET a", .request = stale};
    enter(&s, &sorter);
    hears(&s, 1, ONE_READ);
    says(&s, 1, "OK, QUEUED, QUEUED, [\"2\", " AS_REPLICA(NAME, "100") "]");
    hears(&s, 0, "MULTI / GET a / SORT l / EXEC");
    hears_nothing(&s, 1);
    says(&s, 0, "OK, QUEUED, QUEUED, [\"2\", []]");
    cr_expect_eq(ends(&s, &sorter, GAVEL_COMMITTED)->stale_ms, 0);
    enter(&s, &reader);
    hears(&s, 1, ONE_READ);
    stage_close(&s);
}

/* A primary that is busy for a moment is asked again soon. */
Test(core_replicas, only_who_may_not_ask_for_the_age_is_not_told_for_long)
{
    static const char *const refusals[] = {
        "-BUSY Redis is busy running a script", "-NOPERM this user has no permissions"};
    for (int i = 0; i < 2; i++) {
        stage s;
        open_dated(&s);
        actor reader = {.reads = "a", .plays = "GET a", .request = stale};
        actor later = reader;
        advance(&s, 50000);
        enter(&s, &reader);
        hears(&s, 0, "INFO replication");
        says(&s, 0, refusals[i]);
        advance(&s, 50000);
        enter(&s, &later);
        if (i == 0)
            hears(&s, 0, "INFO replication");
        else
            hears_nothing(&s, 0);
        stage_close(&s);
    }
}

/* Its data is nothing that the primary ever had: what is read there is not even old. */
Test(core_replicas, one_that_was_never_brought_up_to_its_primary_is_none)
{
    reads_elsewhere_after("OK, QUEUED, QUEUED, [NULL, " WITHOUT_DATA(OTHER_NAME) "]");
    reads_elsewhere_after("OK, QUEUED, QUEUED, [NULL, " WITHOUT_DATA(NAME) "]");
}

Test(core_replicas, one_that_has_come_to_1_and_has_its_link_is_one)
{
    stage s;
    open_dated(&s);
    actor reader = {.reads = "a", .plays = "GET a", .request = stale};
    enter(&s, &reader);
    hears(&s, 1, ONE_READ);
    says(&s, 1,
        "OK, QUEUED, QUEUED, [\"2\", \"role:slave\r\nmaster_link_status:up\r\nslave_repl_offset:1"
        "\r\nmaster_replid:" NAME "\r\n\"]");
    cr_expect_eq(ends(&s, &reader, GAVEL_COMMITTED)->stale_ms, -1);
    cr_expect_str_eq(reader.seen, "a=2 ");
    stage_close(&s);
}

/* It may not be asked how far it has come: then the age is not known. */
Test(core_replicas, one_that_does_not_date_is_not_asked_again)
{
    stage s;
    open_dated(&s);
    actor reader = {.reads = "a", .plays = "GET a", .request = stale};
    enter(&s, &reader);
    hears(&s, 1, ONE_READ);
    says(&s, 1, "OK, QUEUED, -NOPERM this user has no permissions, -EXECABORT discarded");
    hears(&s, 1, "GET a");
    says(&s, 1, "\"1\"");
    cr_expect_eq(ends(&s, &reader, GAVEL_COMMITTED)->stale_ms, -1);
    stage_close(&s);
}

/* What it serves ends the row of its failures, dated or not. */
Test(core_replicas, one_that_does_not_date_is_left_alone_no_longer_than_others)
{
    stage s;
    open_dated(&s);
    gavel__node *replica = s.engine.nodes.first->following;
    actor readers[2];
    replica->is_undated = true;
    for (int i = 0; i < 2; i++) {
        link_down(&s, 1);
        cr_expect_eq(replica->shunned_until_us, s.now_us + 1000000);
        advance(&s, 1000000);
        readers[i] = (actor){.reads = "a", .plays = "GET a", .request = stale};
        enter(&s, &readers[i]);
        link_up(&s, 1);
        hears(&s, 1, "GET a");
        says(&s, 1, "\"1\"");
        ends(&s, &readers[i], GAVEL_COMMITTED);
        stage_listen(&s, 0);
    }
    stage_close(&s);
}

Test(core_replicas, whoever_waits_for_one_that_is_none_any_more_goes_elsewhere)
{
    stage s;
    stage_open(&s, &(stage_config){.n_replicas = 1});
    actor reader = {.reads = "a", .plays = "GET a", .request = stale};
    enter(&s, &reader);
    advance(&s, 0);
    gavel__engine_set_primary(&s.engine, s.engine.nodes.first->following, NULL, s.now_us);
    link_up(&s, 0);
    hears(&s, 0, "GET a / INFO replication");
    says(&s, 0, "\"1\", " AS_PRIMARY(NAME, "100"));
    cr_expect_eq(ends(&s, &reader, GAVEL_COMMITTED)->stale_ms, 0);
    stage_close(&s);
}

/* Nobody is dialled for what nobody wants any more. */
Test(core_replicas, a_dead_primary_is_asked_while_somebody_reads)
{
    stage s;
    open_dated(&s);
    actor reader = {.reads = "a", .plays = "GET a", .request = stale};
    link_down(&s, 0);
    advance(&s, 60000);
    enter(&s, &reader);
    hears(&s, 1, ONE_READ);
    link_refused(&s, 0, false, NULL);
    says(&s, 1, "OK, QUEUED, QUEUED, [\"1\", " AS_REPLICA(NAME, "100") "]");
    ends(&s, &reader, GAVEL_COMMITTED);
    advance(&s, 0);
    cr_expect_eq(lane_of(&s, 0)->state, GAVEL__LANE_DOWN);
    stage_close(&s);
}

/* ---- In a Cluster --------------------------------------------------------------------------- */

/* Node 1 is a replica of node 0, which serves all slots. */
static void open_cluster(stage *s)
{
    static uint16_t node_of[GAVEL__N_SLOTS];
    stage_open(s, &(stage_config){.is_cluster = true, .n_nodes = 2});
    gavel__engine_set_slots(&s->engine, &(gavel__slots_change){.node_of = node_of}, s->now_us);
    gavel__node *node = s->engine.nodes.first;
    gavel__engine_set_primary(&s->engine, node->following, node, s->now_us);
}

Test(core_replicas, of_a_cluster_is_told_that_old_data_will_do_and_then_that_not)
{
    stage s;
    open_cluster(&s);
    actor reader = {.reads = "a", .plays = "GET a", .request = stale};
    enter(&s, &reader);
    link_up(&s, 1);
    link_up(&s, 0);
    hears(&s, 1, "READONLY / " ONE_READ " / READWRITE");
    hears(&s, 0, "INFO replication");
    says(&s, 0, AS_PRIMARY(NAME, "100"));
    says(&s, 1, "OK, OK, QUEUED, QUEUED, [\"1\", " AS_REPLICA(NAME, "100") "], OK");
    cr_expect_eq(ends(&s, &reader, GAVEL_COMMITTED)->stale_ms, 1);
    stage_close(&s);
}

Test(core_replicas, of_a_cluster_moves_no_slot_by_what_it_says)
{
    stage s;
    open_cluster(&s);
    actor reader = {.reads = "a", .plays = "GET a", .request = stale};
    enter(&s, &reader);
    link_up(&s, 1);
    link_up(&s, 0);
    hears(&s, 0, "INFO replication");
    hears(&s, 1, "READONLY / " ONE_READ " / READWRITE");
    says(&s, 1, "OK, OK, -MOVED 15495 elsewhere:7, QUEUED, -EXECABORT discarded, OK");
    cr_expect_str_eq(s.redirects, "down; ");
    hears(&s, 0, "GET a");
    says(&s, 0, AS_PRIMARY(NAME, "100") ", \"1\"");
    cr_expect_eq(ends(&s, &reader, GAVEL_COMMITTED)->stale_ms, 0);
    stage_close(&s);
}

/* It has taken over: what waits there for old data does not mix with what wants new one. */
Test(core_replicas, of_a_cluster_that_takes_over_serves_both_apart)
{
    stage s;
    open_cluster(&s);
    static uint16_t node_of[GAVEL__N_SLOTS];
    actor old = {.reads = "a", .plays = "GET a", .request = stale};
    actor new = {.reads = "a", .plays = "GET a", .request = {.is_read_only = true}};
    enter(&s, &old);
    for (size_t i = 0; i < GAVEL__N_SLOTS; i++)
        node_of[i] = 1;
    gavel__engine_set_slots(&s.engine, &(gavel__slots_change){.node_of = node_of}, s.now_us);
    gavel__engine_set_primary(&s.engine, s.engine.nodes.first->following, NULL, s.now_us);
    enter(&s, &new);
    link_up(&s, 1);
    hears(&s, 1, "GET a");
    says(&s, 1, "\"1\"");
    cr_expect_eq(ends(&s, &old, GAVEL_COMMITTED)->stale_ms, 0);
    ends(&s, &new, GAVEL_COMMITTED);
    stage_close(&s);
}

/* The slot of "a" comes to node 0 from elsewhere, with what was told there. */
static void move_slot(stage *s)
{
    uint16_t slot = gavel__slot_of(GAVEL_STR("a"));
    uint64_t migrated[GAVEL__N_SLOTS / 64] = {0};
    uint16_t node_of[GAVEL__N_SLOTS] = {0};
    node_of[slot] = GAVEL__NO_NODE;
    gavel__engine_set_slots(&s->engine, &(gavel__slots_change){node_of, NULL}, s->now_us);
    node_of[slot] = 0;
    migrated[slot / 64] = UINT64_C(1) << slot % 64;
    gavel__engine_set_slots(&s->engine, &(gavel__slots_change){node_of, migrated}, s->now_us);
}

/* A reader is shown that, and told that it is so old. */
static void is_shown(stage *s, actor *reader, const char *place, int32_t stale_ms)
{
    char replies[400];
    *reader = (actor){.reads = "a", .plays = "GET a", .request = stale};
    enter(s, reader);
    hears(s, 1, "READONLY / " ONE_READ " / READWRITE");
    gavel__format(replies, sizeof(replies), "OK, OK, QUEUED, QUEUED, [\"1\", %s], OK", place);
    says(s, 1, replies);
    cr_expect_eq(ends(s, reader, GAVEL_COMMITTED)->stale_ms, stale_ms, "%s", place);
}

/* One that has come as far as its primary had before may lack it. */
Test(core_replicas, of_a_cluster_are_not_dated_by_what_was_said_before_a_slot_had_come)
{
    stage s;
    actor readers[5];
    open_cluster(&s);
    readers[0] = (actor){.reads = "a", .plays = "GET a", .request = stale};
    enter(&s, &readers[0]);
    link_up(&s, 1);
    link_up(&s, 0);
    hears(&s, 0, "INFO replication");
    says(&s, 0, AS_PRIMARY(NAME, "100"));
    hears(&s, 1, "READONLY / " ONE_READ " / READWRITE");
    says(&s, 1, "OK, OK, QUEUED, QUEUED, [\"1\", " AS_REPLICA(NAME, "100") "], OK");
    advance(&s, 60000);
    is_shown(&s, &readers[1], AS_REPLICA(NAME, "100"), 61);
    hears(&s, 0, "INFO replication");
    advance(&s, 1);
    move_slot(&s);
    says(&s, 0, AS_PRIMARY(NAME, "100")); /* it was asked before */
    advance(&s, 60000);
    is_shown(&s, &readers[2], AS_REPLICA(NAME, "101"), -1);
    hears(&s, 0, "INFO replication");
    says(&s, 0, AS_PRIMARY(NAME, "200"));
    is_shown(&s, &readers[3], AS_REPLICA(NAME, "199"), -1);
    is_shown(&s, &readers[4], AS_REPLICA(NAME, "200"), 1);
    stage_close(&s);
}

Test(core_replicas, of_a_cluster_that_refuses_to_serve_as_a_primary_again_is_closed)
{
    stage s;
    open_cluster(&s);
    actor reader = {.reads = "a", .plays = "GET a", .request = stale};
    enter(&s, &reader);
    link_up(&s, 1);
    hears(&s, 1, "READONLY / " ONE_READ " / READWRITE");
    says(&s, 1, "OK, OK, QUEUED, QUEUED, [\"1\", " AS_REPLICA(NAME, "100") "], -NOPERM no");
    ends(&s, &reader, GAVEL_COMMITTED);
    is_closed(&s, 1, "READWRITE was refused");
    stage_close(&s);
}
