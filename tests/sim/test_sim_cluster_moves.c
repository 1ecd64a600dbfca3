/*
 * A simulated cluster in time: slots that go from node to node, and replicas that take the place of
 * their primaries.
 */
#include "sim_expect.h"
#include "sim_raw.h"

#include <criterion/criterion.h>

#include <stdio.h>

/* Of {t}: server 2 has it at first, and server 5 is its replica. */
#define SLOT 15891
#define A 2
#define B 0
#define REPLICA 5

#define MOVED_TO_B "-MOVED 15891 10.0.1.1:6379\r\n"
#define MOVED_TO_A "-MOVED 15891 10.0.1.3:6379\r\n"
#define MOVED_TO_REPLICA "-MOVED 15891 10.0.1.6:6379\r\n"
#define ASK_B "-ASK 15891 10.0.1.1:6379\r\n"
#define DOWN "-CLUSTERDOWN The cluster is down\r\n"

typedef struct rig {
    sim_world *world;
    sim_raw a;
    sim_raw b;
    sim_raw replica;
} rig;

static sim_raw open_raw(sim_world *world, size_t server)
{
    sim_raw raw;
    sim_choose(world, server);
    cr_assert(sim_raw_open(&raw, world));
    return raw;
}

static rig begin(uint64_t seed)
{
    rig r = {.world = sim_create(seed)};
    sim_add_cluster(r.world, &(sim_cluster){.n_replicas = 1});
    r.a = open_raw(r.world, A);
    r.b = open_raw(r.world, B);
    r.replica = open_raw(r.world, REPLICA);
    return r;
}

static void end(rig *r)
{
    sim_raw_close(&r->a);
    sim_raw_close(&r->b);
    sim_raw_close(&r->replica);
    sim_destroy(r->world);
}

#define N_KEYS 20

static void fill(rig *r)
{
    char line[64];
    sim_choose(r->world, A);
    for (int i = 0; i < N_KEYS; i++) {
        snprintf(line, sizeof line, "SET {t}%d %d PX 600000", i, i);
        DO(r->world, line, OK);
    }
}

static size_t n_keys(rig *r, size_t server)
{
    sim_choose(r->world, server);
    return sim_n_keys(r->world);
}

static bool is_settled(sim_world *world, void *user)
{
    (void)user;
    return sim_n_moves(world) == 0;
}

/* All keys are there, and nowhere else. */
static void expect_moved(rig *r, size_t to)
{
    cr_expect_eq(sim_owner_of(r->world, SLOT), to);
    sim_run_for(r->world, SIM_SECOND);
    for (size_t i = 0; i < 6; i++) {
        bool has_keys = sim_primary_of(r->world, i) == to;
        cr_expect_eq(sim_believed_owner(r->world, i, SLOT), to, "server %d", (int)i);
        cr_expect_eq(n_keys(r, i), has_keys ? N_KEYS : 0, "server %d", (int)i);
    }
    cr_expect_eq(sim_get_counters(r->world)->n_moves, 1);
}

/* ---- Key by key ---------------------------------------------------------------------------- */

static bool is_half_moved(sim_world *world, void *user)
{
    (void)user;
    sim_choose(world, B);
    return sim_n_keys(world) == N_KEYS / 2;
}

Test(sim_cluster_moves, keys_move_one_by_one)
{
    rig r = begin(1);
    fill(&r);
    sim_move_slot(r.world, &(sim_move){.slot = SLOT, .to = B, .key_us = 20 * SIM_MILLISECOND});
    cr_assert(sim_run_until(r.world, is_half_moved, NULL, SIM_SECOND));
    cr_expect_eq(n_keys(&r, A), N_KEYS - N_KEYS / 2);
    ASK(&r.a, "GET {t}0\nGET {t}9", ASK_B "$1\r\n9\r\n");
    ASK(&r.b, "GET {t}0\nASKING\nGET {t}0", MOVED_TO_A OK "$1\r\n0\r\n");
    sim_choose_by_key(r.world, "{t}0");
    cr_expect(sim_exists(r.world, gavel_str("{t}0")));
    sim_choose_by_key(r.world, "{t}9");
    cr_expect(sim_exists(r.world, gavel_str("{t}9")));
    cr_assert(sim_run_until(r.world, is_settled, NULL, SIM_SECOND));
    ASK(&r.b, "GET {t}0\nGET {t}9", "$1\r\n0\r\n$1\r\n9\r\n");
    expect_moved(&r, B);
    ASK(&r.a, "GET {t}0", MOVED_TO_B);
    cr_expect(sim_is_same_data(r.world, B, 3), "times to live, too");
    end(&r);
}

Test(sim_cluster_moves, others_hear_of_it_later)
{
    rig r = begin(1);
    fill(&r);
    sim_set_gossip(r.world, 300 * SIM_MILLISECOND, 300 * SIM_MILLISECOND);
    sim_move_slot(r.world, &(sim_move){.slot = SLOT, .to = B});
    cr_assert(sim_run_until(r.world, is_settled, NULL, SIM_SECOND));
    sim_raw other = open_raw(r.world, 1);
    ASK(&other, "GET {t}0", MOVED_TO_A);
    ASK(&r.a, "GET {t}0", MOVED_TO_B);
    sim_run_for(r.world, 300 * SIM_MILLISECOND);
    ASK(&other, "GET {t}0", MOVED_TO_B);
    sim_raw_close(&other);
    end(&r);
}

Test(sim_cluster_moves, what_dies_on_the_way_goes_on)
{
    for (size_t dead = 0; dead < 3; dead += 2) {
        rig r = begin(dead);
        fill(&r);
        sim_move_slot(r.world, &(sim_move){.slot = SLOT, .to = B, .key_us = 20 * SIM_MILLISECOND});
        cr_assert(sim_run_until(r.world, is_half_moved, NULL, SIM_SECOND));
        sim_run_for(r.world, 10 * SIM_MILLISECOND);
        sim_choose(r.world, dead);
        sim_restart(r.world, 6 * SIM_SECOND, true);
        cr_assert(sim_run_until(r.world, is_settled, NULL, 20 * SIM_SECOND));
        sim_run_for(r.world, 10 * SIM_SECOND);
        expect_moved(&r, dead == B ? 3 : B);
        cr_expect_eq(sim_get_counters(r.world)->n_failovers, 1);
        end(&r);
    }
}

/* ---- At once ------------------------------------------------------------------------------- */

static const sim_move atomic = {.slot = SLOT,
    .to = B,
    .is_atomic = true,
    .key_us = 10 * SIM_MILLISECOND,
    .pause_us = 50 * SIM_MILLISECOND};

Test(sim_cluster_moves, an_atomic_move_asks_nobody_to_try_again)
{
    rig r = begin(1);
    fill(&r);
    sim_move_slot(r.world, &atomic);
    sim_run_for(r.world, 190 * SIM_MILLISECOND);
    ASK(&r.a, "WATCH {t}0 {t}absent\nMULTI\nSET {t}0 1\nSET {t}absent 1\nEXEC\nDEL {t}absent",
        OK OK QUEUED QUEUED "*2\r\n" OK OK ":1\r\n");
    ASK(&r.b, "ASKING\nGET {t}0", OK MOVED_TO_A);
    cr_expect_eq(n_keys(&r, B), 0);
    cr_assert(sim_run_until(r.world, is_settled, NULL, SIM_SECOND));
    expect_moved(&r, B);
    ASK(&r.b, "GET {t}0", "$1\r\n1\r\n");
    end(&r);
}

Test(sim_cluster_moves, writers_wait_for_the_hand_over)
{
    rig r = begin(1);
    fill(&r);
    sim_raw watching = open_raw(r.world, A);
    sim_raw absent = open_raw(r.world, A);
    ASK(&watching, "WATCH {t}0\nMULTI\nPING", OK OK QUEUED);
    ASK(&absent, "WATCH {t}x\nMULTI\nSET {t}x 1", OK OK QUEUED);
    sim_move_slot(r.world, &atomic);
    sim_run_for(r.world, 210 * SIM_MILLISECOND);
    sim_raw_send(&r.a, "GET {t}0\nSET {t}0 2\nGET {t}0");
    HEAR(&r.a, "$1\r\n0\r\n");
    sim_raw_send(&absent, "EXEC");
    HEAR(&absent, "");
    cr_assert(sim_run_until(r.world, is_settled, NULL, SIM_SECOND));
    HEAR(&r.a, MOVED_TO_B MOVED_TO_B);
    HEAR(&absent, MOVED_TO_B);
    ASK(&watching, "EXEC", NIL_ARRAY);
    sim_raw_close(&watching);
    sim_raw_close(&absent);
    end(&r);
}

/* ---- Those who wait ------------------------------------------------------------------------ */

static void expect_elsewhere(const char *version, const char *expected)
{
    sim_world *world = sim_create(1);
    sim_set_version(world, version);
    sim_add_cluster(world, &(sim_cluster){.n_replicas = 1});
    sim_raw popping = open_raw(world, A);
    sim_raw waiting = open_raw(world, A);
    sim_raw_send(&popping, "BLPOP {t}q 0");
    sim_raw_send(&waiting, "SET {t}k 1\nWAIT 5 1000\nPING");
    HEAR(&popping, "");
    HEAR(&waiting, OK);
    sim_choose(world, REPLICA);
    DO(world, "CLUSTER FAILOVER", OK);
    sim_run_for(world, 50 * SIM_MILLISECOND);
    HEAR(&popping, expected);
    cr_expect_eq(popping.is_broken, expected[1] == 'U');
    if (popping.is_broken) {
        HEAR(&waiting, expected);
        cr_expect(waiting.is_broken);
    } else {
        HEAR(&waiting, "");
        sim_run_for(world, 1200 * SIM_MILLISECOND);
        HEAR(&waiting, ":0\r\n+PONG\r\n");
    }
    sim_raw_close(&popping);
    sim_raw_close(&waiting);
    sim_destroy(world);
}

Test(sim_cluster_moves, a_failover_ends_waits)
{
    expect_elsewhere("7.0.15",
        "-UNBLOCKED force unblock from blocking operation, instance state changed (master -> "
        "replica?)\r\n");
    expect_elsewhere("valkey 9.1.2", MOVED_TO_REPLICA);
}

Test(sim_cluster_moves, who_waits_for_a_list_is_sent_behind_it)
{
    rig r = begin(1);
    sim_raw_send(&r.a, "BLPOP {t}q 0");
    HEAR(&r.a, "");
    sim_move_slot(r.world, &(sim_move){.slot = SLOT, .to = B, .is_atomic = true});
    cr_assert(sim_run_until(r.world, is_settled, NULL, SIM_SECOND));
    sim_run_for(r.world, 200 * SIM_MILLISECOND);
    HEAR(&r.a, MOVED_TO_B);
    end(&r);
}

/* ---- Failovers by hand --------------------------------------------------------------------- */

static bool is_led_by_replica(sim_world *world, void *user)
{
    (void)user;
    return sim_primary_of(world, REPLICA) == REPLICA;
}

Test(sim_cluster_moves, a_replica_takes_over_without_a_loss)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        rig r = begin(seed);
        int64_t n = 0;
        sim_choose(r.world, REPLICA);
        DO(r.world, "CLUSTER FAILOVER", OK);
        for (; !is_led_by_replica(r.world, NULL); n++) {
            sim_raw_send(&r.a, "INCR {t}n");
            sim_run_for(r.world, 300);
            cr_assert_lt(n, 10000);
        }
        cr_expect_lt(n, 1000, "it is quick");
        sim_run_for(r.world, 20 * SIM_MILLISECOND);
        const char *answers = sim_raw_take(&r.a, 10 * SIM_MILLISECOND);
        int64_t n_done = 0;
        for (; *answers == ':'; n_done++)
            answers += strcspn(answers, "\n") + 1;
        cr_expect(n_done == n || strncmp(answers, MOVED_TO_REPLICA, 28) == 0, "%s", answers);
        sim_choose(r.world, REPLICA);
        cr_expect_eq(sim_get_int(r.world, "{t}n"), n_done, "seed %d", (int)seed);
        cr_expect_eq(sim_primary_of(r.world, A), REPLICA);
        cr_expect_eq(sim_owner_of(r.world, SLOT), REPLICA);
        end(&r);
    }
}

Test(sim_cluster_moves, only_a_replica_takes_over)
{
    rig r = begin(1);
    ASK(&r.a, "CLUSTER FAILOVER", "-ERR You should send CLUSTER FAILOVER to a replica\r\n");
    sim_choose(r.world, A);
    sim_restart(r.world, SIM_SECOND, true);
    sim_run_for(r.world, SIM_MILLISECOND);
    ASK(&r.replica, "CLUSTER FAILOVER",
        "-ERR Master is down or failed, please use CLUSTER FAILOVER FORCE\r\n");
    end(&r);
}

Test(sim_cluster_moves, replicas_answer_readers_who_say_so)
{
    rig r = begin(1);
    ASK(&r.a, "SET {t}k 1", OK);
    ASK(&r.replica, "GET {t}k\nWATCH {t}k", MOVED_TO_A MOVED_TO_A);
    ASK(&r.replica, "READONLY\nGET {t}k\nWATCH {t}k\nMULTI\nGET {t}k\nEXEC",
        OK "$1\r\n1\r\n" OK OK QUEUED "*1\r\n$1\r\n1\r\n");
    ASK(&r.replica, "MULTI\nGET {t}k\nSET {t}k 2\nEXEC",
        OK QUEUED MOVED_TO_A "-EXECABORT Transaction discarded because of previous errors.\r\n");
    ASK(&r.replica, "BLPOP {t}q 1\nGET {v}k\nFLUSHALL",
        MOVED_TO_A "-MOVED 7761 10.0.1.2:6379\r\n"
                   "-READONLY You can't write against a read only replica.\r\n");
    ASK(&r.replica, "READWRITE\nGET {t}k", OK MOVED_TO_A);
    end(&r);
}

/* ---- Failovers by death -------------------------------------------------------------------- */

Test(sim_cluster_moves, a_dead_primary_is_replaced)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        rig r = begin(seed);
        ASK(&r.a, "SET {t}k 1", OK);
        int64_t killed_us = sim_now_us(r.world);
        sim_choose(r.world, A);
        sim_restart(r.world, 10 * SIM_SECOND, true);
        sim_run_for(r.world, 1800 * SIM_MILLISECOND);
        ASK(&r.b, "GET {b}k\nGET {t}k", DOWN DOWN);
        cr_assert(sim_run_until(r.world, is_led_by_replica, NULL, 10 * SIM_SECOND));
        int64_t took_us = sim_now_us(r.world) - killed_us;
        cr_expect(
            took_us > 2 * SIM_SECOND && took_us < 2900 * SIM_MILLISECOND, "%d us", (int)took_us);
        sim_run_for(r.world, 200 * SIM_MILLISECOND);
        ASK(&r.replica, "GET {t}k", "$1\r\n1\r\n");
        ASK(&r.b, "GET {t}k", MOVED_TO_REPLICA);
        sim_run_for(r.world, 10 * SIM_SECOND);
        sim_raw again = open_raw(r.world, A);
        ASK(&again, "GET {t}k", MOVED_TO_REPLICA);
        cr_expect_eq(sim_primary_of(r.world, A), REPLICA);
        cr_expect(sim_is_same_data(r.world, A, REPLICA));
        sim_raw_close(&again);
        end(&r);
    }
}

Test(sim_cluster_moves, a_primary_that_was_stopped_writes_once_more)
{
    rig r = begin(1);
    ASK(&r.a, "SET {t}k 1", OK);
    sim_choose(r.world, A);
    sim_silence(r.world, 5 * SIM_SECOND);
    sim_raw_send(&r.a, "SET {t}k lost");
    cr_assert(sim_run_until(r.world, is_led_by_replica, NULL, 4 * SIM_SECOND));
    int64_t left_us = 5 * SIM_SECOND - 2 * SIM_SECOND;
    cr_expect_str_eq(sim_raw_take(&r.a, left_us), OK);
    sim_run_for(r.world, 5 * SIM_MILLISECOND);
    ASK(&r.a, "SET {t}k late", MOVED_TO_REPLICA);
    ASK(&r.replica, "GET {t}k", "$1\r\n1\r\n");
    end(&r);
}

Test(sim_cluster_moves, a_primary_alone_stops_to_serve)
{
    rig r = begin(1);
    sim_partition(r.world, SIM_MACHINE(A), SIM_ALL_SERVERS & ~SIM_MACHINE(A), 6 * SIM_SECOND);
    sim_run_for(r.world, SIM_SECOND);
    ASK(&r.a, "SET {t}k lost", OK);
    sim_run_for(r.world, SIM_SECOND);
    ASK(&r.a, "SET {t}k 2\nGET {t}k\nPING", DOWN DOWN "+PONG\r\n");
    cr_assert(sim_run_until(r.world, is_led_by_replica, NULL, 2 * SIM_SECOND));
    sim_run_for(r.world, 5 * SIM_SECOND);
    ASK(&r.a, "GET {t}k", MOVED_TO_REPLICA);
    ASK(&r.replica, "GET {t}k", NIL);
    end(&r);
}

Test(sim_cluster_moves, a_primary_that_was_started_waits)
{
    rig r = begin(1);
    ASK(&r.a, "SET {t}k 1", OK);
    sim_choose(r.world, A);
    sim_restart(r.world, 100 * SIM_MILLISECOND, true);
    sim_run_for(r.world, 200 * SIM_MILLISECOND);
    sim_raw again = open_raw(r.world, A);
    ASK(&again, "GET {t}k", DOWN);
    sim_run_for(r.world, 2100 * SIM_MILLISECOND);
    ASK(&again, "GET {t}k", "$1\r\n1\r\n");
    cr_expect_eq(sim_get_counters(r.world)->n_failovers, 0);
    sim_raw_close(&again);
    end(&r);
}

/* Nobody can replace it; readers may be served all the same. */
Test(sim_cluster_moves, without_a_shard_the_cluster_is_down)
{
    for (int serves_reads = 0; serves_reads < 2; serves_reads++) {
        sim_world *world = sim_create(1);
        sim_add_cluster(world, &(sim_cluster){.serves_reads_when_down = serves_reads});
        sim_raw b = open_raw(world, B);
        ASK(&b, "SET {b}k 1\nWATCH {b}k\nMULTI\nSET {b}k 2", OK OK OK QUEUED);
        sim_choose(world, A);
        sim_restart(world, SIM_FOR_EVER, true);
        sim_run_for(world, 1900 * SIM_MILLISECOND);
        sim_raw late = open_raw(world, B);
        if (serves_reads) {
            ASK(&late, "GET {b}k\nWATCH {b}k\nMULTI\nGET {b}k\nEXEC",
                "$1\r\n1\r\n" OK OK QUEUED "*1\r\n$1\r\n1\r\n");
            ASK(&late, "SET {b}k 2",
                "-CLUSTERDOWN The cluster is down and only accepts read commands\r\n");
        } else {
            ASK(&b, "EXEC", DOWN);
            ASK(&late, "GET {b}k\nWATCH {b}k\nMULTI\nSET {b}k 3\nEXEC",
                DOWN DOWN OK DOWN
                "-EXECABORT Transaction discarded because of previous errors.\r\n");
        }
        sim_raw_close(&late);
        sim_raw_close(&b);
        sim_destroy(world);
    }
}

/* ---- A client that goes where it is sent --------------------------------------------------- */

#define N_COUNTERS 8
#define N_COUNTED 1500

typedef struct walker {
    sim_world *world;
    sim_raw raws[6];
    bool is_open[6];
    size_t at;
    bool is_asking;
} walker;

static const char *ask_one(walker *w, const char *line)
{
    char lines[128];
    sim_raw *raw = &w->raws[w->at];
    if (!w->is_open[w->at])
        *raw = open_raw(w->world, w->at);
    w->is_open[w->at] = true;
    snprintf(lines, sizeof lines, "%s%s", w->is_asking ? "ASKING\n" : "", line);
    sim_raw_send(raw, lines);
    const char *reply = "";
    for (int i = 0; *reply == '\0' || strcmp(reply, OK) == 0; i++) {
        cr_assert_lt(i, 10000, "%s is not answered", line);
        reply = sim_raw_take(raw, SIM_MILLISECOND);
    }
    if (w->is_asking && strncmp(reply, OK, strlen(OK)) == 0)
        reply += strlen(OK);
    return reply;
}

static void count_once(walker *w, const char *line)
{
    for (int i = 0; i < 10000; i++) {
        int slot, machine;
        char word[8];
        const char *reply = ask_one(w, line);
        w->is_asking = false;
        if (*reply == ':')
            return;
        if (sscanf(reply, "-%7s %d 10.0.1.%d:6379", word, &slot, &machine) != 3)
            continue;
        w->at = (size_t)machine - 1;
        w->is_asking = strcmp(word, "ASK") == 0;
    }
    cr_assert_fail("%s never came through", line);
}

static void walk(uint64_t seed)
{
    walker w = {.world = sim_create(seed)};
    int counts[N_COUNTERS] = {0};
    if (sim_random(w.world, 2) == 0)
        sim_set_version(w.world, "valkey 9.1.2");
    sim_add_cluster(w.world, &(sim_cluster){.n_replicas = 1});
    sim_set_faults(w.world, &(sim_faults){.move_every_us = 30 * SIM_MILLISECOND});
    for (int i = 0; i < N_COUNTED; i++) {
        char line[64];
        size_t counter = (size_t)sim_random(w.world, N_COUNTERS);
        if (i % 100 == 0) {
            sim_choose(w.world, 3 + (size_t)sim_random(w.world, 3));
            sim_do(w.world, "CLUSTER FAILOVER");
        }
        snprintf(line, sizeof line, "INCR {t}%d", (int)counter);
        count_once(&w, line);
        counts[counter]++;
    }
    sim_set_faults(w.world, NULL);
    cr_assert(sim_run_until(w.world, is_settled, NULL, 100 * SIM_SECOND));
    for (int i = 0; i < N_COUNTERS; i++) {
        char key[16];
        snprintf(key, sizeof key, "{t}%d", i);
        sim_choose_by_key(w.world, key);
        cr_assert_eq(sim_get_int(w.world, key), counts[i], "seed %d, %s", (int)seed, key);
    }
    cr_expect_gt(sim_get_counters(w.world)->n_moves, 10);
    cr_expect_gt(sim_get_counters(w.world)->n_failovers, 0);
    for (size_t i = 0; i < 6; i++) {
        if (w.is_open[i])
            sim_raw_close(&w.raws[i]);
    }
    sim_destroy(w.world);
}

Test(sim_cluster_moves, nothing_is_lost_by_moves_and_failovers_by_hand)
{
    for (uint64_t seed = 0; seed < 20; seed++)
        walk(seed);
}

/* ---- Whatever goes wrong ------------------------------------------------------------------- */

static void expect_healed(sim_world *world, uint64_t seed)
{
    size_t n_slots = 0;
    for (unsigned slot = 0; slot < SIM_N_SLOTS; slot++) {
        size_t owner = sim_owner_of(world, slot);
        cr_assert_eq(sim_primary_of(world, owner), owner, "seed %d", (int)seed);
        for (size_t i = 0; i < 6; i++)
            n_slots += sim_believed_owner(world, i, slot) == owner;
    }
    cr_assert_eq(n_slots, 6 * SIM_N_SLOTS, "seed %d: %d", (int)seed, (int)n_slots);
    for (size_t i = 0; i < 6; i++) {
        size_t primary = sim_primary_of(world, i);
        cr_assert(sim_is_same_data(world, i, primary), "seed %d: %d and %d", (int)seed, (int)i,
            (int)primary);
    }
}

static void trouble(uint64_t seed)
{
    static const char *const lines[] = {"INCR {t}1", "INCR {t}2", "RPUSH {v}l x", "INCR {b}1",
        "SET a 1 PX 3000", "LPOP {v}l", "SADD c 1 2 3", "DEL {t}1", "INCR d", "HINCRBY {v}h f 1"};
    sim_world *world = sim_create(seed);
    sim_add_cluster(world, &(sim_cluster){.n_replicas = 1});
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        sim_add_writer(world, 20 * SIM_MILLISECOND, lines[i]);
    sim_faults faults = sim_draw_faults(world);
    faults.failover_every_us = 4 * SIM_SECOND;
    faults.move_every_us = 200 * SIM_MILLISECOND;
    faults.forget_per_mille = seed % 2 == 0 ? 0 : 200;
    sim_set_faults(world, &faults);
    sim_run_for(world, 60 * SIM_SECOND);
    sim_set_faults(world, NULL);
    sim_stop_actors(world);
    cr_assert(sim_run_until(world, is_settled, NULL, 100 * SIM_SECOND), "seed %d", (int)seed);
    sim_run_for(world, 20 * SIM_SECOND);
    expect_healed(world, seed);
    sim_raw raw = open_raw(world, sim_owner_of(world, SLOT));
    ASK(&raw, "SET {t}k 1", OK);
    sim_raw_close(&raw);
    sim_destroy(world);
}

Test(sim_cluster_moves, a_cluster_heals)
{
    for (uint64_t seed = 0; seed < 20; seed++)
        trouble(seed);
}
