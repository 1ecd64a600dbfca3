/*
 * Sentinels on the simulator: what they answer, and what they make of a primary that is killed,
 * stopped, parted or replaced by hand.
 */
#include "sim_expect.h"
#include "sim_raw.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Server 0, replicas 1 and 2, Sentinels 3 to 5; a raw link to each. */
#define N_SERVERS 6
#define FIRST_SENTINEL 3

typedef struct service {
    sim_world *world;
    sim_raw raw[N_SERVERS];
} service;

static service open_service(uint64_t seed)
{
    service opened = {.world = sim_create(seed)};
    cr_assert_eq(sim_add_sentinels(opened.world, NULL), FIRST_SENTINEL);
    for (size_t i = 0; i < N_SERVERS; i++) {
        sim_choose(opened.world, i);
        cr_assert(sim_raw_open(&opened.raw[i], opened.world));
    }
    sim_choose(opened.world, 0);
    sim_run_for(opened.world, 3 * SIM_SECOND);
    return opened;
}

static void close_service(service *opened)
{
    for (size_t i = 0; i < N_SERVERS; i++)
        sim_raw_close(&opened->raw[i]);
    sim_destroy(opened->world);
}

/* A word of an instance: what stands behind its name in a list of bulk strings. */
static void find_value(const char *reply, const char *name, char value[64])
{
    char wanted[64];
    snprintf(wanted, sizeof wanted, "\r\n%s\r\n$", name);
    const char *found = strstr(reply, wanted);
    cr_assert(found != NULL, "no %s in %s", name, reply);
    cr_assert_eq(sscanf(found + strlen(wanted), "%*d %63s", value), 1);
}

static gavel_bytes ask(const service *opened, size_t server, const char *line)
{
    size_t chosen = sim_choose(opened->world, server);
    gavel_bytes reply = sim_do(opened->world, line);
    sim_choose(opened->world, chosen);
    return reply;
}

/* The number of the server that a Sentinel names, or watches. */
static size_t named_by(const service *opened, size_t sentinel)
{
    int number;
    gavel_bytes reply = ask(opened, sentinel, "SENTINEL GET-MASTER-ADDR-BY-NAME mymaster");
    cr_assert_eq(sscanf(reply.data, "*2 $8 10.0.1.%d", &number), 1);
    return (size_t)number - 1;
}

static void master_value(const service *opened, size_t sentinel, const char *name, char value[64])
{
    char reply[4096];
    gavel_bytes bytes = ask(opened, sentinel, "SENTINEL MASTER mymaster");
    snprintf(reply, sizeof reply, "%.*s", (int)bytes.size, bytes.data);
    find_value(reply, name, value);
}

static void expect_master_value(
    const service *opened, size_t sentinel, const char *name, const char *expected)
{
    char value[64];
    master_value(opened, sentinel, name, value);
    cr_assert_str_eq(value, expected, "Sentinel %d: %s is %s", (int)sentinel, name, value);
}

/* ---- Answers ------------------------------------------------------------------------------- */

Test(sim_sentinel, greets_and_knows_few_commands)
{
    service opened = open_service(1);
    sim_raw *raw = &opened.raw[3];
    ASK(raw, "HELLO 2 SETNAME me",
        "*12\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:2"
        "\r\n$2\r\nid\r\n:4\r\n$4\r\nmode\r\n$8\r\nsentinel\r\n$7\r\nmodules\r\n*0\r\n");
    ASK(raw, "ROLE", "*2\r\n$8\r\nsentinel\r\n*1\r\n$8\r\nmymaster\r\n");
    ASK(raw, "GET a\nSELECT 1\nMULTI",
        "-ERR unknown command 'GET', with args beginning with: 'a' \r\n"
        "-ERR unknown command 'SELECT', with args beginning with: '1' \r\n"
        "-ERR unknown command 'MULTI', with args beginning with: \r\n");
    ASK(raw, "SENTINEL FOO\nSENTINEL MASTER",
        "-ERR unknown subcommand 'FOO'. Try SENTINEL HELP.\r\n"
        "-ERR wrong number of arguments for 'sentinel|master' command\r\n");
    ASK(&opened.raw[0], "SENTINEL MYID",
        "-ERR unknown command 'SENTINEL', with args beginning with: 'MYID' \r\n");
    close_service(&opened);
}

#define NO_SUCH "-ERR No such master with that name\r\n"

Test(sim_sentinel, names_the_primary)
{
    service opened = open_service(1);
    ASK(&opened.raw[3], "SENTINEL GET-MASTER-ADDR-BY-NAME mymaster",
        "*2\r\n$8\r\n10.0.1.1\r\n$4\r\n6379\r\n");
    ASK(&opened.raw[3],
        "SENTINEL GET-MASTER-ADDR-BY-NAME x\nSENTINEL MASTER x\nSENTINEL FAILOVER x",
        NIL_ARRAY NO_SUCH NO_SUCH);
    ASK(&opened.raw[3], "SENTINEL REPLICAS x\nSENTINEL SENTINELS x", NO_SUCH NO_SUCH);
    expect_master_value(&opened, 3, "ip", "10.0.1.1");
    expect_master_value(&opened, 3, "flags", "master");
    expect_master_value(&opened, 3, "config-epoch", "0");
    expect_master_value(&opened, 3, "last-ping-sent", "0");
    expect_master_value(&opened, 3, "num-other-sentinels", "2");
    expect_master_value(&opened, 3, "quorum", "2");
    expect_master_value(&opened, 3, "down-after-milliseconds", "1000");
    close_service(&opened);
}

Test(sim_sentinel, wants_the_right_login)
{
    service opened = open_service(1);
    sim_choose(opened.world, 3);
    sim_set_login(opened.world, NULL, "secret");
    sim_raw raw;
    cr_assert(sim_raw_open(&raw, opened.world));
    ASK(&raw, "SENTINEL MYID", "-NOAUTH Authentication required.\r\n");
    ASK(&raw, "AUTH secret\nPING", OK "+PONG\r\n");
    sim_raw_close(&raw);
    close_service(&opened);
}

#define ONLY                                                                                       \
    "only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context\r\n"

/* As a real one answers. */
Test(sim_sentinel, has_channels)
{
    service opened = open_service(1);
    ASK(&opened.raw[3], "SUBSCRIBE +switch-master\nPING\nGET a\nHELLO 2\nSENTINEL MYID",
        "*3\r\n$9\r\nsubscribe\r\n$14\r\n+switch-master\r\n:1\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n"
        "-ERR unknown command 'GET', with args beginning with: 'a' \r\n"
        "-ERR Can't execute 'hello': " ONLY "-ERR Can't execute 'sentinel|myid': " ONLY);
    ASK(&opened.raw[3], "UNSUBSCRIBE\nPING",
        "*3\r\n$11\r\nunsubscribe\r\n$14\r\n+switch-master\r\n:0\r\n+PONG\r\n");
    ASK(&opened.raw[3], "SUBSCRIBE a b\nUNSUBSCRIBE a",
        "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n"
        "*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:1\r\n");
    close_service(&opened);
}

/* ---- Failovers ----------------------------------------------------------------------------- */

/* When things were first seen, in ms since the beginning. 0: never. */
typedef struct timeline {
    int64_t down; /* a Sentinel took the primary to be down */
    int64_t promoted;
    int64_t named;    /* by a Sentinel */
    int64_t switched; /* by the last of them, and all told of it */
    int64_t demoted;  /* the old primary is a replica */
} timeline;

static size_t new_primary(const service *opened)
{
    for (size_t i = 1; i < FIRST_SENTINEL; i++) {
        if (sim_primary_of(opened->world, i) == i)
            return i;
    }
    return 0;
}

static void note(int64_t *when, bool is_so, int64_t since_us, const sim_world *world)
{
    if (is_so && *when == 0)
        *when = (sim_now_us(world) - since_us) / SIM_MILLISECOND;
}

static timeline watch(service *opened, int64_t us)
{
    sim_world *world = opened->world;
    timeline seen = {0};
    int64_t begun_us = sim_now_us(world);
    while (sim_now_us(world) < begun_us + us) {
        sim_run_for(world, 5 * SIM_MILLISECOND);
        size_t n_named = 0;
        size_t n_switched = 0;
        for (size_t i = FIRST_SENTINEL; i < N_SERVERS; i++) {
            char flags[64], host[64];
            master_value(opened, i, "flags", flags);
            master_value(opened, i, "ip", host);
            note(&seen.down, strstr(flags, "s_down") != NULL, begun_us, world);
            n_named += named_by(opened, i) != 0;
            n_switched += strcmp(host, "10.0.1.1") != 0;
        }
        note(&seen.promoted, new_primary(opened) != 0, begun_us, world);
        note(&seen.named, n_named > 0, begun_us, world);
        note(&seen.switched, n_switched == 3, begun_us, world);
        note(&seen.demoted, sim_primary_of(world, 0) != 0, begun_us, world);
    }
    return seen;
}

#define EXPECT_WITHIN(ms, low, high)                                                               \
    cr_expect((ms) >= (low) && (ms) <= (high), "%s after %d ms, not %d to %d", #ms, (int)(ms),     \
        (int)(low), (int)(high))

/* As measured on real ones: 1017-1082, 1306-1394, 2152-2219, 3237-3311. */
Test(sim_sentinel, a_primary_that_is_killed_is_replaced)
{
    for (uint64_t seed = 0; seed < 10; seed++) {
        service opened = open_service(seed);
        sim_restart(opened.world, SIM_FOR_EVER, true);
        timeline seen = watch(&opened, 5 * SIM_SECOND);
        EXPECT_WITHIN(seen.down, 1000, 1150);
        EXPECT_WITHIN(seen.promoted, 1250, 1550);
        EXPECT_WITHIN(seen.named, seen.promoted + 690, seen.promoted + 1100);
        EXPECT_WITHIN(seen.switched, seen.named + 840, seen.named + 1250);
        cr_expect_eq(seen.demoted, 0);
        cr_expect_eq(sim_epoch(opened.world), 1);
        cr_expect_eq(sim_primary(opened.world), new_primary(&opened));
        expect_master_value(&opened, 3, "flags", "master");
        close_service(&opened);
    }
}

/* It goes on as a primary, when it resumes, until it is told. */
Test(sim_sentinel, a_primary_that_was_stopped_is_told_ten_seconds_after_it_resumes)
{
    for (uint64_t seed = 0; seed < 5; seed++) {
        service opened = open_service(seed);
        sim_silence(opened.world, 5 * SIM_SECOND);
        timeline seen = watch(&opened, 16 * SIM_SECOND);
        EXPECT_WITHIN(seen.down, 1000, 2150);
        EXPECT_WITHIN(seen.promoted, seen.down + 200, seen.down + 600);
        EXPECT_WITHIN(seen.demoted, 14800, 15300);
        cr_expect(opened.raw[0].transport->ops != NULL);
        ASK(&opened.raw[0], "PING", "");
        cr_expect(opened.raw[0].is_broken, "its clients are cut off");
        cr_expect(sim_is_same_data(opened.world, 0, sim_primary(opened.world)));
        close_service(&opened);
    }
}

/* As measured: 142-163, 1085-1123, 2194-2284, 11200. */
Test(sim_sentinel, a_failover_by_hand)
{
    for (uint64_t seed = 0; seed < 10; seed++) {
        service opened = open_service(seed);
        ASK(&opened.raw[4], "SENTINEL FAILOVER mymaster\nSENTINEL FAILOVER mymaster",
            OK "-INPROG Failover already in progress\r\n");
        timeline seen = watch(&opened, 12 * SIM_SECOND);
        cr_expect_eq(seen.down, 0);
        EXPECT_WITHIN(seen.promoted, 90, 400);
        EXPECT_WITHIN(seen.named, seen.promoted + 690, seen.promoted + 1100);
        EXPECT_WITHIN(seen.demoted, seen.named + 9700, seen.named + 10500);
        close_service(&opened);
    }
}

Test(sim_sentinel, a_short_stop_changes_nothing)
{
    service opened = open_service(1);
    sim_silence(opened.world, 900 * SIM_MILLISECOND);
    timeline seen = watch(&opened, 5 * SIM_SECOND);
    cr_expect_eq(seen.down, 0);
    cr_expect_eq(seen.promoted, 0);
    close_service(&opened);
}

/* While it lasts, the leader answers the new address, watches the old one, and has the new epoch.
 */
Test(sim_sentinel, the_leader_is_of_two_minds_for_a_while)
{
    service opened = open_service(1);
    ask(&opened, 4, "SENTINEL FAILOVER mymaster");
    sim_run_for(opened.world, 500 * SIM_MILLISECOND);
    expect_master_value(&opened, 4, "flags", "master,failover_in_progress,force_failover");
    expect_master_value(&opened, 4, "failover-state", "wait_promotion");
    expect_master_value(&opened, 4, "config-epoch", "0");
    cr_expect_eq(named_by(&opened, 4), 0);
    char replica[64];
    find_value(sim_raw_ask(&opened.raw[4], "SENTINEL REPLICAS mymaster"), "flags", replica);
    bool is_first = new_primary(&opened) == 1;
    cr_expect_str_eq(replica, is_first ? "slave,promoted" : "slave");
    while (named_by(&opened, 4) == 0)
        sim_run_for(opened.world, SIM_MILLISECOND);
    expect_master_value(&opened, 4, "ip", "10.0.1.1");
    expect_master_value(&opened, 4, "config-epoch", "1");
    expect_master_value(&opened, 4, "failover-state", "reconf_slaves");
    cr_expect_eq(named_by(&opened, 4), sim_primary(opened.world));
    close_service(&opened);
}

Test(sim_sentinel, subscribers_are_told)
{
    service opened = open_service(1);
    for (size_t i = FIRST_SENTINEL; i < N_SERVERS; i++)
        sim_raw_ask(&opened.raw[i], "SUBSCRIBE +switch-master");
    sim_restart(opened.world, SIM_FOR_EVER, true);
    sim_run_for(opened.world, 5 * SIM_SECOND);
    char expected[256];
    snprintf(expected, sizeof expected,
        "*3\r\n$7\r\nmessage\r\n$14\r\n+switch-master\r\n$36\r\nmymaster 10.0.1.1 6379 %s 6379\r\n",
        sim_host_of(opened.world, sim_primary(opened.world)));
    for (size_t i = FIRST_SENTINEL; i < N_SERVERS; i++)
        cr_expect_str_eq(sim_raw_take(&opened.raw[i], 0), expected);
    close_service(&opened);
}

/* As a real one tells: whoever leads a failover, as it goes on. */
Test(sim_sentinel, subscribers_are_told_of_each_step)
{
    service opened = open_service(1);
    sim_set_priority(opened.world, 2, 1);
    sim_raw_ask(&opened.raw[3], "SUBSCRIBE +try-failover +selected-slave +promoted-slave");
    ask(&opened, 3, "SENTINEL FAILOVER mymaster");
    sim_run_for(opened.world, 3 * SIM_SECOND);
    cr_expect_str_eq(sim_raw_take(&opened.raw[3], 0),
        "*3\r\n$7\r\nmessage\r\n$13\r\n+try-failover\r\n$29\r\nmaster mymaster 10.0.1.1 6379\r\n"
        "*3\r\n$7\r\nmessage\r\n$15\r\n+selected-slave\r\n$58\r\n"
        "slave 10.0.1.3:6379 10.0.1.3 6379 @ mymaster 10.0.1.1 6379\r\n"
        "*3\r\n$7\r\nmessage\r\n$15\r\n+promoted-slave\r\n$58\r\n"
        "slave 10.0.1.3:6379 10.0.1.3 6379 @ mymaster 10.0.1.1 6379\r\n");
    close_service(&opened);
}

/* One that slept over a failover names the old primary when it wakes, for up to two seconds. */
Test(sim_sentinel, one_that_was_stopped_is_behind)
{
    service opened = open_service(1);
    sim_choose(opened.world, 3);
    sim_silence(opened.world, 8 * SIM_SECOND);
    sim_choose(opened.world, 0);
    sim_restart(opened.world, SIM_FOR_EVER, true);
    sim_raw_send(&opened.raw[3], "SENTINEL GET-MASTER-ADDR-BY-NAME mymaster");
    sim_run_for(opened.world, 8 * SIM_SECOND + SIM_MILLISECOND);
    cr_expect_neq(sim_primary(opened.world), 0);
    cr_expect_str_eq(sim_raw_take(&opened.raw[3], 0), "*2\r\n$8\r\n10.0.1.1\r\n$4\r\n6379\r\n");
    cr_expect_eq(named_by(&opened, 3), 0);
    expect_master_value(&opened, 3, "config-epoch", "0");
    sim_run_for(opened.world, 2200 * SIM_MILLISECOND);
    cr_expect_eq(named_by(&opened, 3), sim_primary(opened.world));
    expect_master_value(&opened, 3, "config-epoch", "1");
    close_service(&opened);
}

/* A primary that is alone with a minority of them goes on, and so do the others without it. */
Test(sim_sentinel, the_side_of_the_majority_goes_on)
{
    service opened = open_service(1);
    sim_machines minority = SIM_MACHINE(0) | SIM_MACHINE(3);
    sim_partition(opened.world, minority, SIM_ALL_SERVERS & ~minority, 10 * SIM_SECOND);
    sim_run_for(opened.world, 5 * SIM_SECOND);
    cr_expect_eq(named_by(&opened, 3), 0);
    cr_expect_neq(named_by(&opened, 4), 0);
    cr_expect_eq(named_by(&opened, 4), named_by(&opened, 5));
    cr_expect_eq(sim_primary_of(opened.world, 0), 0);
    ASK(&opened.raw[0], "SET a lost", OK);
    sim_run_for(opened.world, 8 * SIM_SECOND);
    cr_expect_eq(named_by(&opened, 3), named_by(&opened, 4));
    sim_run_for(opened.world, 10 * SIM_SECOND);
    cr_expect_eq(sim_primary_of(opened.world, 0), named_by(&opened, 4));
    cr_expect_not(sim_exists(opened.world, GAVEL_STR("a")));
    close_service(&opened);
}

Test(sim_sentinel, without_a_majority_nothing_is_done)
{
    service opened = open_service(1);
    for (size_t i = 4; i < N_SERVERS; i++) {
        sim_choose(opened.world, i);
        sim_restart(opened.world, 20 * SIM_SECOND, true);
    }
    sim_choose(opened.world, 0);
    sim_restart(opened.world, SIM_FOR_EVER, true);
    sim_run_for(opened.world, 15 * SIM_SECOND);
    cr_expect_eq(new_primary(&opened), 0);
    expect_master_value(&opened, 3, "flags", "s_down,master,disconnected");
    sim_run_for(opened.world, 10 * SIM_SECOND);
    cr_expect_neq(new_primary(&opened), 0);
    close_service(&opened);
}

Test(sim_sentinel, the_best_replica_is_taken)
{
    service opened = open_service(1);
    sim_set_priority(opened.world, 2, 10);
    ask(&opened, 3, "SENTINEL FAILOVER mymaster");
    sim_run_for(opened.world, 15 * SIM_SECOND);
    cr_expect_eq(sim_primary(opened.world), 2);
    sim_set_lag(opened.world, 0, SIM_SECOND, SIM_SECOND);
    ask(&opened, 2, "SET a 1");
    sim_run_for(opened.world, 100 * SIM_MILLISECOND);
    ask(&opened, 3, "SENTINEL FAILOVER mymaster");
    sim_run_for(opened.world, 3 * SIM_SECOND);
    cr_expect_eq(sim_primary(opened.world), 1);
    cr_expect_eq(sim_epoch(opened.world), 2);
    sim_set_priority(opened.world, 0, 0);
    sim_set_priority(opened.world, 2, 0);
    cr_expect_eq(memcmp(ask(&opened, 3, "SENTINEL FAILOVER mymaster").data, "-NOGOODSLAVE", 12), 0);
    close_service(&opened);
}

/* Writes at random, while servers and Sentinels come and go: in the end all are of one mind, and
 * have the same data. */
Test(sim_sentinel, ends_of_one_mind)
{
    for (uint64_t seed = 0; seed < 100; seed++) {
        sim_world *world = sim_create(seed);
        sim_add_sentinels(world, NULL);
        for (int i = 0; i < 30; i++) {
            sim_choose(world, sim_random(world, N_SERVERS));
            int64_t us = (int64_t)sim_random(world, 5 * SIM_SECOND);
            if (sim_random(world, 3) == 0)
                sim_restart(world, us, true);
            else if (sim_random(world, 2) == 0)
                sim_silence(world, us);
            else
                sim_partition(world, sim_random(world, 64), sim_random(world, 64), us);
            for (int j = 0; j < 20; j++) {
                sim_choose(world, sim_random(world, 3));
                sim_do(world, "INCR a");
                sim_run_for(world, (int64_t)sim_random(world, 100 * SIM_MILLISECOND));
            }
        }
        sim_run_for(world, 200 * SIM_SECOND);
        size_t primary = sim_primary(world);
        for (size_t i = 0; i < FIRST_SENTINEL; i++) {
            cr_expect_eq(sim_primary_of(world, i), primary, "seed %d", (int)seed);
            cr_expect(sim_is_same_data(world, i, primary), "seed %d", (int)seed);
        }
        for (size_t i = FIRST_SENTINEL; i < N_SERVERS; i++) {
            service opened = {.world = world};
            cr_expect_eq(named_by(&opened, i), primary, "seed %d", (int)seed);
        }
        sim_destroy(world);
    }
}
