/*
 * Replication on the simulator: what comes to a replica, when and in which order; roles and what is
 * told of them; WAIT.
 */
#include "sim_expect.h"
#include "sim_raw.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READONLY "-READONLY You can't write against a read only replica.\r\n"

/* A primary, 0, and a replica, 1, that is `LAG_US` behind; with a raw link to each. */
#define LAG_US (20 * SIM_MILLISECOND)

typedef struct pair {
    sim_world *world;
    sim_raw primary;
    sim_raw replica;
} pair;

static sim_raw raw_to(sim_world *world, size_t server)
{
    sim_raw raw;
    size_t chosen = sim_choose(world, server);
    cr_assert(sim_raw_open(&raw, world));
    sim_choose(world, chosen);
    return raw;
}

static pair open_pair(uint64_t seed)
{
    pair both = {.world = sim_create(seed)};
    sim_do(both.world, "SET before 1");
    cr_assert_eq(sim_add_replica(both.world, 0), 1);
    sim_set_lag(both.world, 1, LAG_US, LAG_US);
    both.primary = raw_to(both.world, 0);
    both.replica = raw_to(both.world, 1);
    return both;
}

static void close_pair(pair *both)
{
    sim_raw_close(&both->primary);
    sim_raw_close(&both->replica);
    sim_destroy(both->world);
}

/* ---- What comes, and when ------------------------------------------------------------------ */

Test(sim_replication, comes_later)
{
    pair both = open_pair(1);
    ASK(&both.replica, "GET before", "$1\r\n1\r\n");
    ASK(&both.primary, "SET a 1", OK);
    ASK(&both.replica, "GET a", NIL);
    sim_run_for(both.world, LAG_US);
    ASK(&both.replica, "GET a", "$1\r\n1\r\n");
    cr_expect_eq(sim_offset(both.world, 1), sim_offset(both.world, 0));
    close_pair(&both);
}

/* Never half of an EXEC, whatever lags are drawn. */
Test(sim_replication, comes_in_order_and_an_exec_as_a_whole)
{
    sim_world *world = sim_create(3);
    sim_add_replica(world, 0);
    sim_raw primary = raw_to(world, 0);
    sim_raw replica = raw_to(world, 1);
    int seen = 0;
    for (int i = 1; i <= 300; i++) {
        sim_raw_send(&primary, "MULTI\nINCR a\nINCR b\nEXEC\nINCR c");
        sim_raw_send(&replica, "MGET a b c");
        int a = 0, b = 0, c = 0;
        int n = sscanf(sim_raw_take(&replica, 200), "*3\r\n$%*d\r\n%d\r\n$%*d\r\n%d\r\n$%*d\r\n%d",
            &a, &b, &c);
        sim_raw_take(&primary, 0);
        if (n < 3)
            continue;
        cr_expect_eq(a, b);
        cr_expect(a == c || a == c + 1);
        cr_expect_geq(a, seen);
        seen = a;
    }
    cr_expect_gt(seen, 100);
    sim_raw_close(&primary);
    sim_raw_close(&replica);
    sim_destroy(world);
}

/* What a random conversation with the primary has made of the data, the replica has as well. */
Test(sim_replication, ends_as_the_primary)
{
    static const char *const lines[] = {"SET a 1 PX 30", "SET a 1", "SET b 2 EX 1 NX", "INCR c",
        "PEXPIRE a 20", "RPUSH l x y", "LPUSH l z", "LPOP l", "BLPOP l 0.01", "LTRIM l 0 2",
        "HSET h f 1 g 2", "HINCRBY h f 3", "HDEL h g", "SADD s a b", "SREM s a", "ZADD z 1 a 2 b",
        "ZREM z a", "SELECT 1", "SELECT 0", "DEL a l", "GETDEL b", "MULTI", "EXEC", "APPEND a x",
        "DISCARD", "GET a", "MSET a 1 b 2", "PERSIST a", "FLUSHDB", "INCR l"};
    for (uint64_t seed = 0; seed < 100; seed++) {
        sim_world *world = sim_create(seed);
        sim_add_replica(world, 0);
        sim_raw raw[2] = {raw_to(world, 0), raw_to(world, 0)};
        for (int i = 0; i < 150; i++) {
            size_t line = sim_random(world, sizeof lines / sizeof lines[0]);
            sim_raw_send(&raw[sim_random(world, 2)], lines[line]);
            sim_run_for(world, (int64_t)sim_random(world, 3000));
        }
        sim_run_for(world, SIM_SECOND);
        cr_expect_eq(sim_offset(world, 0), sim_offset(world, 1));
        cr_expect(sim_is_same_data(world, 0, 1), "seed %d", (int)seed);
        sim_raw_close(&raw[0]);
        sim_raw_close(&raw[1]);
        sim_destroy(world);
    }
}

/* Its primary says when a key goes; until then it only seems to be gone. */
Test(sim_replication, keys_expire_by_the_primary)
{
    pair both = open_pair(1);
    ASK(&both.primary, "SET a 1 PX 100", OK);
    sim_run_for(both.world, 200 * SIM_MILLISECOND);
    ASK(&both.replica, "GET a\nDBSIZE", NIL ":2\r\n");
    ASK(&both.primary, "GET a", NIL);
    sim_run_for(both.world, LAG_US);
    ASK(&both.replica, "DBSIZE", ":1\r\n");
    close_pair(&both);
}

Test(sim_replication, a_stopped_replica_gets_all_later)
{
    pair both = open_pair(1);
    sim_choose(both.world, 1);
    sim_silence(both.world, SIM_SECOND);
    ASK(&both.primary, "INCR a\nINCR a", ":1\r\n:2\r\n");
    sim_run_for(both.world, 900 * SIM_MILLISECOND);
    cr_expect_eq(sim_get_int(both.world, "a"), 0);
    sim_run_for(both.world, 100 * SIM_MILLISECOND);
    cr_expect_eq(sim_get_int(both.world, "a"), 2);
    close_pair(&both);
}

Test(sim_replication, a_parted_replica_gets_all_later)
{
    pair both = open_pair(1);
    sim_choose(both.world, 1);
    ASK(&both.primary, "INCR a", ":1\r\n");
    sim_partition(both.world, SIM_MACHINE(0), SIM_MACHINE(1), SIM_SECOND);
    ASK(&both.primary, "INCR a", ":2\r\n");
    sim_run_for(both.world, 900 * SIM_MILLISECOND);
    cr_expect_eq(sim_get_int(both.world, "a"), 0);
    sim_run_for(both.world, 100 * SIM_MILLISECOND);
    cr_expect_eq(sim_get_int(both.world, "a"), 2);
    close_pair(&both);
}

Test(sim_replication, what_a_dead_primary_has_sent_still_comes)
{
    pair both = open_pair(1);
    ASK(&both.primary, "INCR a", ":1\r\n");
    sim_restart(both.world, SIM_FOR_EVER, true);
    sim_run_for(both.world, LAG_US);
    sim_choose(both.world, 1);
    cr_expect_eq(sim_get_int(both.world, "a"), 1);
    close_pair(&both);
}

/* A primary that comes again without its data takes those of its replicas with it. */
Test(sim_replication, an_empty_primary_empties_its_replicas)
{
    pair both = open_pair(1);
    sim_restart(both.world, 10 * SIM_MILLISECOND, false);
    sim_run_for(both.world, 3 * SIM_SECOND);
    sim_choose(both.world, 1);
    cr_expect_eq(sim_n_keys(both.world), 0);
    close_pair(&both);
}

Test(sim_replication, a_replica_that_was_away_gets_a_copy)
{
    pair both = open_pair(1);
    sim_choose(both.world, 1);
    sim_restart(both.world, 10 * SIM_MILLISECOND, false);
    ASK(&both.primary, "INCR a", ":1\r\n");
    sim_run_for(both.world, SIM_SECOND);
    cr_expect(sim_is_same_data(both.world, 0, 1));
    close_pair(&both);
}

/* ---- Roles --------------------------------------------------------------------------------- */

Test(sim_replication, a_replica_refuses_to_write)
{
    pair both = open_pair(1);
    ASK(&both.replica, "SET a 1\nBLPOP a 0\nMULTI\nGET a\nEXEC",
        READONLY READONLY OK QUEUED "*1\r\n" NIL);
    ASK(&both.replica, "MULTI\nSET a 1\nEXEC",
        OK READONLY "-EXECABORT Transaction discarded because of previous errors.\r\n");
    ASK(&both.primary, "MULTI\nSET a 1", OK QUEUED);
    sim_replicate(both.world, 1, 1);
    sim_replicate(both.world, 0, 1);
    sim_run_for(both.world, SIM_MILLISECOND);
    ASK(&both.primary, "EXEC",
        "-EXECABORT Transaction discarded because of: READONLY You can't write against a read "
        "only replica.\r\n");
    close_pair(&both);
}

Test(sim_replication, tells_its_role)
{
    pair both = open_pair(1);
    ASK(&both.primary, "SET a 1", OK);
    sim_run_for(both.world, 3 * LAG_US);
    ASK(&both.primary, "ROLE",
        "*3\r\n$6\r\nmaster\r\n:27\r\n*1\r\n*3\r\n$8\r\n10.0.1.2\r\n$4\r\n6379\r\n$2\r\n27\r\n");
    ASK(&both.replica, "ROLE",
        "*5\r\n$5\r\nslave\r\n$8\r\n10.0.1.1\r\n:6379\r\n$9\r\nconnected\r\n:27\r\n");
    cr_expect(strstr(sim_raw_ask(&both.replica, "HELLO 2"), "role\r\n$7\r\nreplica\r\n") != NULL);
    close_pair(&both);
}

static void take_line(const char *info, const char *name, char value[64])
{
    const char *line = strstr(info, name);
    cr_assert(line != NULL, "no %s in %s", name, info);
    cr_assert_eq(sscanf(line + strlen(name), ":%63s", value), 1);
}

Test(sim_replication, a_promoted_replica_knows_where_it_left_the_history)
{
    pair both = open_pair(1);
    char old_id[64], new_id[64], value[64];
    ASK(&both.primary, "INCR a", ":1\r\n");
    sim_run_for(both.world, LAG_US);
    int64_t offset = sim_offset(both.world, 1);
    ASK(&both.primary, "INCR a", ":2\r\n");
    take_line(sim_raw_ask(&both.primary, "INFO replication"), "master_replid", old_id);
    sim_replicate(both.world, 1, 1);
    const char *info = sim_raw_ask(&both.replica, "INFO replication");
    take_line(info, "role", value);
    cr_expect_str_eq(value, "master");
    take_line(info, "master_replid", new_id);
    cr_expect_str_neq(new_id, old_id);
    take_line(info, "master_replid2", value);
    cr_expect_str_eq(value, old_id);
    take_line(info, "second_repl_offset", value);
    cr_expect_eq(strtoll(value, NULL, 10), offset + 1);
    ASK(&both.replica, "INCR a", ":2\r\n");

    sim_replicate(both.world, 0, 1);
    sim_run_for(both.world, SIM_SECOND);
    cr_expect(sim_is_same_data(both.world, 0, 1));
    info = sim_raw_ask(&both.primary, "INFO replication");
    take_line(info, "role", value);
    cr_expect_str_eq(value, "slave");
    take_line(info, "master_replid", value);
    cr_expect_str_eq(value, new_id);
    close_pair(&both);
}

/* ---- WAIT ---------------------------------------------------------------------------------- */

Test(sim_replication, wait_counts_replicas_that_have_the_last_write)
{
    pair both = open_pair(1);
    ASK(&both.primary, "WAIT 1 0", ":1\r\n");
    sim_choose(both.world, 1);
    sim_silence(both.world, 200 * SIM_MILLISECOND);
    sim_raw_send(&both.primary, "INCR a\nWAIT 1 5");
    cr_expect_str_eq(sim_raw_take(&both.primary, 190 * SIM_MILLISECOND), ":1\r\n:0\r\n");
    sim_run_for(both.world, 100 * SIM_MILLISECOND);
    sim_raw_send(&both.primary, "INCR a\nWAIT 1 1000\nPING");
    cr_expect_str_eq(sim_raw_take(&both.primary, LAG_US), ":2\r\n");
    cr_expect_str_eq(sim_raw_take(&both.primary, 2 * LAG_US), ":1\r\n+PONG\r\n");
    sim_raw_send(&both.primary, "WAIT 2 1\nWAIT 0 1");
    cr_expect_str_eq(sim_raw_take(&both.primary, 200 * SIM_MILLISECOND), ":1\r\n:1\r\n");
    ASK(&both.primary, "WAIT x 1\nWAIT 1 x\nWAIT 1 -1",
        "-ERR value is not an integer or out of range\r\n"
        "-ERR timeout is not an integer or out of range\r\n-ERR timeout is negative\r\n");
    ASK(&both.primary, "MULTI\nINCR a\nWAIT 1 0\nEXEC", OK QUEUED QUEUED "*2\r\n:3\r\n:1\r\n");
    close_pair(&both);
}

/* Another link's writes do not count, until it has done something after them. */
Test(sim_replication, wait_is_about_its_own_link)
{
    pair both = open_pair(1);
    sim_choose(both.world, 1);
    sim_silence(both.world, SIM_FOR_EVER);
    sim_raw other = raw_to(both.world, 0);
    ASK(&other, "PING", "+PONG\r\n");
    ASK(&both.primary, "INCR a", ":1\r\n");
    ASK(&other, "WAIT 1 1", ":1\r\n");
    ASK(&other, "WAIT 1 1", "");
    sim_raw_close(&other);
    close_pair(&both);
}

Test(sim_replication, wait_ends_when_the_primary_becomes_a_replica)
{
    pair both = open_pair(1);
    sim_choose(both.world, 1);
    sim_silence(both.world, SIM_SECOND);
    ASK(&both.primary, "INCR a\nWAIT 1 0", ":1\r\n");
    sim_replicate(both.world, 0, 1);
    HEAR(&both.primary,
        "-UNBLOCKED force unblock from blocking operation, instance state changed (master -> "
        "replica?)\r\n");
    cr_expect(both.primary.is_broken);
    close_pair(&both);
}

/* ---- WAITAOF ------------------------------------------------------------------------------- */

static pair open_pair_with_files(const char *version)
{
    pair both = open_pair(1);
    sim_set_version(both.world, version);
    sim_set_fsync(both.world, 0, SIM_SECOND);
    sim_set_fsync(both.world, 1, SIM_SECOND);
    return both;
}

Test(sim_replication, waitaof_waits_for_files)
{
    pair both = open_pair_with_files("8.0.0");
    sim_set_fsync(both.world, 1, -1);
    sim_raw_send(&both.primary, "SET a 1\nWAITAOF 1 0 0");
    cr_expect_str_eq(sim_raw_take(&both.primary, SIM_MILLISECOND), OK);
    cr_expect_str_eq(sim_raw_take(&both.primary, SIM_SECOND), "*2\r\n:1\r\n:0\r\n");
    sim_set_fsync(both.world, 1, SIM_SECOND);
    sim_raw_send(&both.primary, "SET a 1\nWAITAOF 1 1 5000");
    cr_expect_str_eq(sim_raw_take(&both.primary, 3 * SIM_SECOND), OK "*2\r\n:1\r\n:1\r\n");
    ASK(&both.primary, "WAITAOF 2 0 0\nWAITAOF 1 -1 0\nWAITAOF 1 1 -1\nWAITAOF 0 0 0",
        "-ERR value is out of range, must be between 0 and 1\r\n"
        "-ERR value is out of range, must be positive\r\n-ERR timeout is negative\r\n"
        "*2\r\n:1\r\n:1\r\n");
    sim_set_fsync(both.world, 0, -1);
    ASK(&both.primary, "WAITAOF 1 0 0",
        "-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.\r\n");
    close_pair(&both);
}

/* Redis #13793: it says so before it is. */
Test(sim_replication, waitaof_was_premature)
{
    pair both = open_pair_with_files("7.2.4");
    ASK(&both.primary, "SET a 1\nWAITAOF 1 0 0", OK "*2\r\n:1\r\n:0\r\n");
    sim_set_version(both.world, "7.0.15");
    ASK(&both.primary, "WAITAOF 1 0 0",
        "-ERR unknown command 'WAITAOF', with args beginning with: '1' '0' '0' \r\n");
    close_pair(&both);
}

Test(sim_replication, a_replica_has_nothing_to_wait_for)
{
    pair both = open_pair(1);
    const char *answer = sim_raw_ask(&both.replica, "WAIT 1 1");
    cr_expect(strstr(answer, "-ERR WAIT cannot be used with replica instances.") == answer);
    close_pair(&both);
}
