/*
 * The simulator itself: does it behave as a Redis server and a network do, and does a seed replay?
 * Drives the transport bare, with no client of the library.
 */
#include "sim.h"
#include "sim_expect.h"
#include "sim_raw.h"

#include <criterion/criterion.h>

#include <string.h>

/* ---- Parsing and the connection ------------------------------------------------------------ */

Test(sim_server, greets)
{
    sim_world *world = sim_create(1);
    sim_raw raw;
    cr_assert(sim_raw_open(&raw, world));
    ASK(&raw, "HELLO 2 SETNAME me",
        "*14\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:2"
        "\r\n$2\r\nid\r\n:1\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n"
        "$7\r\nmodules\r\n*0\r\n");
    ASK(&raw, "PING\nCLIENT SETNAME me\nSELECT 3", "+PONG\r\n" OK OK);
    ASK(&raw, "SELECT 16", "-ERR DB index is out of range\r\n");
    ASK(&raw, "FROB a b", "-ERR unknown command 'FROB', with args beginning with: 'a' 'b' \r\n");
    ASK(&raw, "GET", "-ERR wrong number of arguments for 'get' command\r\n");
    sim_raw_close(&raw);
    sim_destroy(world);
}

Test(sim_server, wants_the_right_login)
{
    sim_world *world = sim_create(1);
    sim_set_login(world, NULL, "secret");
    sim_raw raw;
    cr_assert(sim_raw_open(&raw, world));
    ASK(&raw, "GET a", "-NOAUTH Authentication required.\r\n");
    ASK(&raw, "AUTH wrong", "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
    ASK(&raw, "AUTH someone secret",
        "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
    ASK(&raw, "AUTH default secret\nGET a", OK "$-1\r\n");
    sim_raw_close(&raw);
    sim_destroy(world);
}

Test(sim_server, understands_commands_cut_at_every_byte)
{
    sim_world *world = sim_create(7);
    sim_set_faults(world, &(sim_faults){.split_per_mille = 1000, .short_send_per_mille = 500});
    sim_raw raw;
    cr_assert(sim_raw_open(&raw, world));
    ASK(&raw, "SET a 1\nINCR a\nMULTI\nGET a\nEXEC", OK ":2\r\n" OK QUEUED "*1\r\n$1\r\n2\r\n");
    sim_raw_close(&raw);
    sim_destroy(world);
}

static void send_bytes(sim_raw *raw, const char *bytes)
{
    raw->transport->ops->send(raw->transport, bytes, strlen(bytes));
}

Test(sim_server, closes_on_a_protocol_error_after_saying_so)
{
    static const struct {
        const char *bytes;
        const char *answer;
    } cases[] = {
        {"PING\r\n", "-ERR Protocol error: invalid multibulk length\r\n"},
        {"*x\r\n", "-ERR Protocol error: invalid multibulk length\r\n"},
        {"*99999999\r\n", "-ERR Protocol error: invalid multibulk length\r\n"},
        {"*1\r\n:4\r\n", "-ERR Protocol error: expected '$' and a length\r\n"},
        {"*1\r\n$-4\r\n", "-ERR Protocol error: invalid bulk length\r\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sim_world *world = sim_create(i);
        sim_raw raw;
        cr_assert(sim_raw_open(&raw, world));
        send_bytes(&raw, cases[i].bytes);
        cr_expect_str_eq(sim_raw_take(&raw, SIM_SECOND), cases[i].answer);
        cr_expect(raw.is_broken);
        sim_raw_close(&raw);
        sim_destroy(world);
    }
}

/* ---- WATCH and EXEC ------------------------------------------------------------------------ */

typedef struct watch_case {
    const char *before; /* by another client */
    const char *own;    /* by the watching one, between WATCH and MULTI */
    const char *other;  /* by another client, after WATCH */
    int64_t wait_us;    /* then */
    bool is_conflict;
} watch_case;

static const watch_case watch_cases[] = {
    {"SET a 1", NULL, NULL, 0, false},
    {"SET a 1", NULL, "GET a", 0, false},
    {"SET a 1", NULL, "SET b 1", 0, false},
    {"SET a 1", NULL, "SET a 2", 0, true},
    {"SET a 1", NULL, "SET a 1", 0, true},
    {"SET a 1", NULL, "SET a 1 NX", 0, false},
    {"SET a 1", NULL, "EXPIRE a 100", 0, true},
    {"SET a 1", NULL, "PERSIST a", 0, false},
    {"SET a 1 PX 5000", NULL, "PERSIST a", 0, true},
    {"SET a 1", "SET a 1", NULL, 0, true},
    {"SET a 1", "PEXPIRE a 1000", NULL, 0, true},
    {"SET a 1", "GET a", NULL, 0, false},
    {"SET a 1", NULL, "DEL a", 0, true},
    {"SET b 1", NULL, "DEL a", 0, false},
    {"SET b 1", NULL, "FLUSHALL", 0, false},
    {"SET a 1", NULL, "FLUSHALL", 0, true},
    {"SADD a x", NULL, "SADD a x", 0, false},
    {"SADD a x", NULL, "SADD a y", 0, true},
    {"ZADD a 1 x", NULL, "ZADD a 1 x", 0, false},
    {"ZADD a 1 x", NULL, "ZADD a 2 x", 0, true},
    {"HSET a f 1", NULL, "HSET a f 1", 0, true},
    {"HSET a f 1", NULL, "HDEL a g", 0, false},
    {"SET a x", NULL, "INCR a", 0, false},
    {"SET a 1", "UNWATCH", "SET a 2", 0, false},
    {"SET a 1 PX 500", NULL, NULL, SIM_SECOND, true},
    {"SET a 1 PX 5000", NULL, NULL, SIM_SECOND, false},
    {"SET a 1", "SELECT 1", "SET a 2", 0, true},
};

static bool ends_in_conflict(sim_raw *raw)
{
    const char *answer = sim_raw_ask(raw, "MULTI\nSET done 1\nEXEC");
    if (strcmp(answer, OK QUEUED "*-1\r\n") == 0)
        return true;
    cr_assert_str_eq(answer, OK QUEUED "*1\r\n" OK);
    return false;
}

Test(sim_server, watches_as_redis_does)
{
    for (size_t i = 0; i < sizeof watch_cases / sizeof watch_cases[0]; i++) {
        const watch_case *c = &watch_cases[i];
        sim_world *world = sim_create(i);
        sim_raw raw;
        cr_assert(sim_raw_open(&raw, world));
        sim_do(world, c->before);
        ASK(&raw, "WATCH a c", OK);
        if (c->own != NULL)
            sim_raw_ask(&raw, c->own);
        if (c->other != NULL)
            sim_do(world, c->other);
        sim_run_for(world, c->wait_us);
        cr_expect_eq(ends_in_conflict(&raw), c->is_conflict, "case %zu", i);
        cr_expect_not(ends_in_conflict(&raw), "case %zu: EXEC did not end the watching", i);
        sim_raw_close(&raw);
        sim_destroy(world);
    }
}

Test(sim_server, creating_and_deleting_is_a_change)
{
    sim_world *world = sim_create(1);
    sim_raw raw;
    cr_assert(sim_raw_open(&raw, world));
    ASK(&raw, "WATCH a", OK);
    sim_do(world, "SET a 1");
    sim_do(world, "DEL a");
    cr_expect(ends_in_conflict(&raw));
    sim_raw_close(&raw);
    sim_destroy(world);
}

Test(sim_server, a_key_stale_at_watch_may_go)
{
    sim_world *world = sim_create(1);
    sim_raw raw;
    cr_assert(sim_raw_open(&raw, world));
    sim_do(world, "SET a 1 PX 100");
    sim_run_for(world, SIM_SECOND);
    ASK(&raw, "WATCH a", OK);
    DO(world, "GET a", "$-1\r\n");
    cr_expect_not(ends_in_conflict(&raw));

    sim_do(world, "SET a 1 PX 100");
    sim_run_for(world, SIM_SECOND);
    ASK(&raw, "WATCH a", OK);
    sim_do(world, "SET a 2");
    cr_expect(ends_in_conflict(&raw));
    sim_raw_close(&raw);
    sim_destroy(world);
}

/* ---- MULTI and its errors ------------------------------------------------------------------ */

#define EXECABORT "-EXECABORT Transaction discarded because of previous errors.\r\n"

Test(sim_server, refuses_exec_after_an_error_while_queueing)
{
    sim_world *world = sim_create(1);
    sim_raw raw;
    cr_assert(sim_raw_open(&raw, world));
    ASK(&raw, "MULTI\nSET a 1\nGET\nEXEC",
        OK QUEUED "-ERR wrong number of arguments for 'get' command\r\n" EXECABORT);
    ASK(&raw, "MULTI\nSET a 1\nFROB\nEXEC",
        OK QUEUED "-ERR unknown command 'FROB', with args beginning with: \r\n" EXECABORT);
    cr_expect_not(sim_exists(world, GAVEL_STR("a")));
    ASK(&raw, "EXEC", "-ERR EXEC without MULTI\r\n");
    ASK(&raw, "DISCARD", "-ERR DISCARD without MULTI\r\n");
    ASK(&raw, "MULTI\nMULTI\nWATCH a\nSET a 1\nEXEC",
        OK "-ERR MULTI calls can not be nested\r\n-ERR WATCH inside MULTI is not allowed\r\n" QUEUED
           "*1\r\n" OK);
    ASK(&raw, "MULTI\nINCR a\nDISCARD\nGET a", OK QUEUED OK "$1\r\n1\r\n");
    sim_raw_close(&raw);
    sim_destroy(world);
}

Test(sim_server, commits_in_part_when_a_command_fails_inside_exec)
{
    sim_world *world = sim_create(1);
    sim_raw raw;
    cr_assert(sim_raw_open(&raw, world));
    sim_do(world, "SET full 9223372036854775807");
    ASK(&raw, "MULTI\nHSET full f 1\nINCR full\nSET a 1\nEXEC",
        OK QUEUED QUEUED QUEUED
        "*3\r\n-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
        "-ERR increment or decrement would overflow\r\n" OK);
    cr_expect_eq(sim_get_int(world, "a"), 1);
    sim_raw_close(&raw);
    sim_destroy(world);
}

Test(sim_server, refuses_what_it_is_told_to)
{
    sim_world *world = sim_create(1);
    sim_raw raw;
    cr_assert(sim_raw_open(&raw, world));
    sim_refuse(
        world, &(sim_refusal){.command = "SET", .n_skipped = 1, .n_times = 1, .error = "OOM no"});
    ASK(&raw, "SET a 1\nSET a 2\nSET a 3", OK "-OOM no\r\n" OK);
    sim_refuse(world, &(sim_refusal){.command = "EXEC", .n_times = 1, .error = "OOM no"});
    ASK(&raw, "MULTI\nINCR a\nEXEC\nGET a",
        OK QUEUED "-EXECABORT Transaction discarded because of: OOM no\r\n$1\r\n3\r\n");
    sim_refuse(world, &(sim_refusal){.command = "EXEC", .n_times = 1, .error = "TRYAGAIN no"});
    ASK(&raw, "MULTI\nINCR a\nEXEC\nGET a", OK QUEUED "-TRYAGAIN no\r\n$1\r\n3\r\n");
    sim_refuse(world, &(sim_refusal){.command = "MULTI", .error = "NOPERM no"});
    ASK(&raw, "MULTI\nINCR a\nEXEC", "-NOPERM no\r\n:4\r\n-ERR EXEC without MULTI\r\n");
    ASK(&raw, "MULTI", "-NOPERM no\r\n");
    sim_disarm(world);
    ASK(&raw, "MULTI", OK);
    sim_raw_close(&raw);
    sim_destroy(world);
}

/* ---- Data ---------------------------------------------------------------------------------- */

Test(sim_server, keeps_strings)
{
    sim_world *world = sim_create(1);
    DO(world, "SET a 1 XX", "$-1\r\n");
    DO(world, "SET a 1 NX GET", "$-1\r\n");
    DO(world, "SET a 2 GET", "$1\r\n1\r\n");
    DO(world, "SET a 2 NX XX", "-ERR syntax error\r\n");
    DO(world, "SET a 2 EX 0", "-ERR invalid expire time in 'set' command\r\n");
    DO(world, "SET a 2 EX x", "-ERR value is not an integer or out of range\r\n");
    DO(world, "SET b 5 PX 100 XX GET", "$-1\r\n");
    DO(world, "SET b 5 GET PX 100 NX", "$-1\r\n");
    DO(world, "SET b 6 NX PX 900 GET", "$1\r\n5\r\n");
    DO(world, "SET b 6 XX KEEPTTL", OK);
    DO(world, "PTTL b", ":100\r\n");
    DO(world, "SET b 7 PX 100 PX 200", OK);
    DO(world, "PTTL b", ":200\r\n");
    DO(world, "SET b 7 PX 100 EX 2", "-ERR syntax error\r\n");
    DO(world, "SET b 7 PX 100 KEEPTTL", "-ERR syntax error\r\n");
    DO(world, "GETDEL b", "$1\r\n7\r\n");
    DO(world, "GETDEL b", "$-1\r\n");
    DO(world, "APPEND a 34", ":3\r\n");
    DO(world, "INCRBY a 6", ":240\r\n");
    DO(world, "MGET a b", "*2\r\n$3\r\n240\r\n$-1\r\n");
    DO(world, "STRLEN a", ":3\r\n");
    DO(world, "SET a 01", OK);
    DO(world, "INCR a", "-ERR value is not an integer or out of range\r\n");
    DO(world, "EXISTS a a b", ":2\r\n");
    DO(world, "DEL a b", ":1\r\n");
    sim_destroy(world);
}

Test(sim_server, lets_keys_expire_in_virtual_time)
{
    sim_world *world = sim_create(1);
    DO(world, "SET a 1 PX 1500", OK);
    DO(world, "PTTL a", ":1500\r\n");
    DO(world, "SET a 2 KEEPTTL", OK);
    sim_run_for(world, SIM_SECOND);
    DO(world, "PTTL a", ":500\r\n");
    DO(world, "INCR a", ":3\r\n");
    sim_run_for(world, SIM_SECOND);
    DO(world, "GET a", "$-1\r\n");
    DO(world, "PTTL a", ":-2\r\n");
    DO(world, "SET a 1", OK);
    DO(world, "PTTL a", ":-1\r\n");
    DO(world, "EXPIRE a -1", ":1\r\n");
    DO(world, "EXISTS a", ":0\r\n");
    sim_destroy(world);
}

Test(sim_server, keeps_collections)
{
    sim_world *world = sim_create(1);
    DO(world, "HSET h a 1 b 2", ":2\r\n");
    DO(world, "HSET h a 3", ":0\r\n");
    DO(world, "HMGET h a c", "*2\r\n$1\r\n3\r\n$-1\r\n");
    DO(world, "HGETALL h", "*4\r\n$1\r\na\r\n$1\r\n3\r\n$1\r\nb\r\n$1\r\n2\r\n");
    DO(world, "HDEL h a b c", ":2\r\n");
    DO(world, "TYPE h", "+none\r\n");
    DO(world, "RPUSH l a b c", ":3\r\n");
    DO(world, "LRANGE l -2 -1", "*2\r\n$1\r\nb\r\n$1\r\nc\r\n");
    DO(world, "LRANGE l 2 1", "*0\r\n");
    DO(world, "SET l x GET",
        "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n");
    DO(world, "LTRIM l -2 5", OK);
    DO(world, "LPOP l", "$1\r\nb\r\n");
    DO(world, "LTRIM l 1 0", OK);
    DO(world, "LTRIM l 0 0", OK);
    DO(world, "EXISTS l", ":0\r\n");
    DO(world, "LPOP l", "$-1\r\n");
    DO(world, "ZADD z 2 b 1 a 2 aa", ":3\r\n");
    DO(world, "ZRANGE z 0 -1", "*3\r\n$1\r\na\r\n$2\r\naa\r\n$1\r\nb\r\n");
    DO(world, "ZADD z 3 a", ":0\r\n");
    DO(world, "ZSCORE z a", "$1\r\n3\r\n");
    DO(world, "SADD s a a b", ":2\r\n");
    DO(world, "SISMEMBER s a", ":1\r\n");
    DO(world, "GET s", "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n");
    DO(world, "SET s 1", OK);
    sim_destroy(world);
}

/* ---- Breaks -------------------------------------------------------------------------------- */

/* The bytes of MULTI, INCR a, EXEC on the wire. */
#define TRANSACTION "MULTI\nINCR a\nEXEC"
#define TRANSACTION_BYTES (15 + 21 + 14)

/* Those of WATCH b. */
#define WATCH_BYTES 22

Test(sim_server, a_cut_on_the_way_in_delivers_exactly_what_came_before)
{
    for (uint64_t at = 0; at <= TRANSACTION_BYTES; at++) {
        sim_world *world = sim_create(at);
        sim_raw raw;
        cr_assert(sim_raw_open(&raw, world));
        sim_cut_at(world, &(sim_cut){.direction = SIM_TO_SERVER, .at_byte = at});
        ASK(&raw, TRANSACTION, "");
        cr_expect(raw.is_broken);
        cr_expect_eq(sim_get_int(world, "a"), at == TRANSACTION_BYTES, "at byte %d", (int)at);
        cr_expect_eq(sim_get_counters(world)->n_breaks, 1);
        sim_raw_close(&raw);
        sim_destroy(world);
    }
}

Test(sim_server, a_cut_on_the_way_out_leaves_the_commit)
{
    static const char answer[] = OK QUEUED "*1\r\n:1\r\n";
    for (uint64_t at = 0; at < strlen(answer); at++) {
        sim_world *world = sim_create(at);
        sim_raw raw;
        cr_assert(sim_raw_open(&raw, world));
        sim_cut_at(world, &(sim_cut){.direction = SIM_TO_CLIENT, .at_byte = at});
        const char *got = sim_raw_ask(&raw, TRANSACTION);
        cr_expect_eq(strlen(got), at);
        cr_expect_eq(memcmp(got, answer, at), 0);
        cr_expect(raw.is_broken);
        cr_expect_eq(sim_get_int(world, "a"), 1);
        sim_raw_close(&raw);
        sim_destroy(world);
    }
}

Test(sim_server, delivers_late_what_a_lost_client_has_sent)
{
    sim_world *world = sim_create(1);
    sim_raw first;
    sim_raw second;
    cr_assert(sim_raw_open(&first, world) && sim_raw_open(&second, world));
    ASK(&first, "WATCH b", OK);
    sim_cut_at(world, &(sim_cut){.connection = 1,
                          .direction = SIM_TO_SERVER,
                          .at_byte = WATCH_BYTES + TRANSACTION_BYTES,
                          .late_us = 3 * SIM_SECOND});
    ASK(&first, TRANSACTION, "");
    cr_assert(first.is_broken);
    ASK(&second, "GET a", "$-1\r\n");
    sim_run_for(world, 3 * SIM_SECOND);
    ASK(&second, "GET a", "$1\r\n1\r\n");
    cr_expect_eq(sim_get_counters(world)->n_late, 1);
    cr_expect_eq(sim_get_counters(world)->n_late_commits, 1);
    sim_raw_close(&first);
    sim_raw_close(&second);
    sim_destroy(world);
}

Test(sim_server, a_late_exec_still_honours_its_watch)
{
    sim_world *world = sim_create(1);
    sim_raw raw;
    cr_assert(sim_raw_open(&raw, world));
    ASK(&raw, "WATCH marker", OK);
    sim_raw_send(&raw, TRANSACTION);
    sim_break(world, 1, SIZE_MAX, SIM_SECOND);
    sim_raw_close(&raw);
    sim_run_for(world, SIM_SECOND / 2);
    sim_do(world, "SET marker 1");
    sim_run_for(world, SIM_SECOND);
    cr_expect_eq(sim_get_int(world, "a"), 0);
    cr_expect_eq(sim_get_counters(world)->n_late_execs, 1);
    cr_expect_eq(sim_get_counters(world)->n_late_commits, 0);
    sim_destroy(world);
}

Test(sim_server, runs_what_was_sent_before_a_close)
{
    sim_world *world = sim_create(1);
    sim_raw raw;
    cr_assert(sim_raw_open(&raw, world));
    sim_raw_send(&raw, "INCR a\nINCR a");
    sim_raw_close(&raw);
    cr_expect_eq(sim_get_int(world, "a"), 0);
    sim_run_for(world, SIM_SECOND);
    cr_expect_eq(sim_get_int(world, "a"), 2);
    sim_destroy(world);
}

Test(sim_server, reads_everything_after_a_silence)
{
    sim_world *world = sim_create(1);
    sim_raw raw;
    cr_assert(sim_raw_open(&raw, world));
    sim_silence(world, SIM_SECOND);
    ASK(&raw, "INCR a", "");
    sim_raw_send(&raw, "INCR a");
    cr_expect_str_eq(sim_raw_take(&raw, SIM_SECOND), ":1\r\n:2\r\n");
    sim_raw_close(&raw);
    sim_destroy(world);
}

Test(sim_server, restarts_with_or_without_its_data)
{
    sim_world *world = sim_create(1);
    sim_raw raw;
    cr_assert(sim_raw_open(&raw, world));
    ASK(&raw, "SET a 1\nWATCH a\nMULTI\nINCR a", OK OK OK QUEUED);
    sim_restart(world, SIM_SECOND, true);
    cr_expect_str_eq(sim_raw_take(&raw, SIM_SECOND / 10), "");
    cr_expect(raw.is_broken);
    sim_raw_close(&raw);
    cr_expect_not(sim_raw_open(&raw, world));
    sim_raw_close(&raw);
    sim_run_for(world, SIM_SECOND);
    cr_assert(sim_raw_open(&raw, world));
    ASK(&raw, "GET a", "$1\r\n1\r\n");
    sim_restart(world, 0, false);
    sim_run_for(world, SIM_SECOND / 10);
    cr_expect_not(sim_exists(world, GAVEL_STR("a")));
    sim_raw_close(&raw);
    sim_destroy(world);
}

Test(sim_server, kills_a_connection_behind_its_replies)
{
    sim_world *world = sim_create(1);
    sim_raw raw;
    cr_assert(sim_raw_open(&raw, world));
    ASK(&raw, "INCR a\nQUIT\nINCR a", ":1\r\n" OK);
    cr_expect(raw.is_broken);
    sim_raw_close(&raw);
    cr_assert(sim_raw_open(&raw, world));
    sim_kill(world, 2);
    ASK(&raw, "INCR a", "");
    cr_expect(raw.is_broken);
    cr_expect_eq(sim_get_int(world, "a"), 1);
    sim_raw_close(&raw);
    sim_destroy(world);
}

Test(sim_server, refuses_and_hangs_dials)
{
    sim_world *world = sim_create(1);
    sim_raw raw;
    sim_set_faults(world, &(sim_faults){.refuse_per_mille = 1000});
    cr_expect_not(sim_raw_open(&raw, world));
    sim_raw_close(&raw);
    sim_set_faults(world, &(sim_faults){.hang_per_mille = 1000});
    cr_expect_not(sim_raw_open(&raw, world));
    cr_assert_not_null(raw.transport);
    cr_expect_eq(raw.transport->ops->connect(raw.transport), GAVEL__PROGRESS_UNDER_WAY);
    sim_raw_close(&raw);
    sim_destroy(world);
}

/* ---- Others, the hook, the journal --------------------------------------------------------- */

static void write_behind_watch(sim_world *world, const sim_entry *entry, void *user)
{
    if (sim_entry_is(entry, "watch") && (*(int *)user)++ == 0)
        sim_do(world, "SET a 2");
}

Test(sim_server, a_hook_comes_between_two_commands)
{
    sim_world *world = sim_create(1);
    sim_raw raw;
    int n_watches = 0;
    cr_assert(sim_raw_open(&raw, world));
    sim_set_hook(world, write_behind_watch, &n_watches);
    ASK(&raw, "WATCH a\nMULTI\nINCR a\nEXEC", OK OK QUEUED "*-1\r\n");
    ASK(&raw, "WATCH a\nMULTI\nINCR a\nEXEC", OK OK QUEUED "*1\r\n:3\r\n");
    cr_expect_eq(n_watches, 2);
    sim_raw_close(&raw);
    sim_destroy(world);
}

Test(sim_server, the_journal_tells_what_ran_in_which_exec)
{
    sim_world *world = sim_create(1);
    sim_raw raw;
    cr_assert(sim_raw_open(&raw, world));
    sim_raw_ask(&raw, "MULTI\nGET a\nINCR a\nEXEC");
    static const struct {
        const char *name;
        sim_how how;
        uint64_t exec;
        bool is_change;
    } expected[] = {
        {"MULTI", SIM_RAN, 0, false},
        {"GET", SIM_QUEUED, 0, false},
        {"INCR", SIM_QUEUED, 0, false},
        {"GET", SIM_RAN, 1, false},
        {"INCR", SIM_RAN, 1, true},
        {"EXEC", SIM_RAN, 1, true},
    };
    cr_assert_eq(sim_journal_size(world), sizeof expected / sizeof expected[0]);
    for (size_t i = 0; i < sim_journal_size(world); i++) {
        const sim_entry *entry = sim_journal_at(world, i);
        cr_expect(sim_entry_is(entry, expected[i].name), "entry %zu", i);
        cr_expect_eq(entry->how, expected[i].how, "entry %zu", i);
        cr_expect_eq(entry->exec, expected[i].exec, "entry %zu", i);
        cr_expect_eq(entry->is_change, expected[i].is_change, "entry %zu", i);
        cr_expect_eq(entry->connection, 1);
    }
    cr_expect_eq(sim_get_counters(world)->n_round_trips, 1);
    cr_expect_eq(sim_get_counters(world)->n_commands, 4);
    sim_raw_close(&raw);
    sim_destroy(world);
}

Test(sim_server, writers_write_and_keys_are_evicted)
{
    sim_world *world = sim_create(3);
    sim_add_writer(world, 10 * SIM_MILLISECOND, "INCR counter");
    sim_run_for(world, SIM_SECOND);
    cr_expect_gt(sim_get_int(world, "counter"), 50);
    cr_expect_lt(sim_get_int(world, "counter"), 200);
    sim_stop_actors(world);
    sim_do(world, "SET gavel:x 1");
    sim_set_faults(
        world, &(sim_faults){.evict_every_us = 10 * SIM_MILLISECOND, .evict_prefix = "gavel:"});
    sim_run_for(world, SIM_SECOND);
    cr_expect_eq(sim_n_keys(world), 1);
    cr_expect_eq(sim_get_counters(world)->n_evictions, 1);
    sim_destroy(world);
}

/* ---- Replay -------------------------------------------------------------------------------- */

/* A few connections that talk through all faults, made anew when they are lost. */
static uint64_t play(uint64_t seed, size_t *ret_n_entries)
{
    sim_world *world = sim_create(seed);
    sim_faults faults = sim_draw_faults(world);
    faults.evict_every_us = SIM_SECOND;
    sim_set_faults(world, &faults);
    sim_add_writer(world, 50 * SIM_MILLISECOND, "INCR a");
    for (int i = 0; i < 40; i++) {
        sim_raw raw;
        if (sim_raw_open(&raw, world)) {
            for (int j = 0; j < 4 && !raw.is_broken; j++)
                sim_raw_ask(&raw, "WATCH a\nGET a\nMULTI\nINCR a\nHSET h f x\nEXEC");
        }
        sim_raw_close(&raw);
    }
    uint64_t hash = sim_hash(world);
    *ret_n_entries = sim_journal_size(world);
    sim_destroy(world);
    return hash;
}

Test(sim_server, a_seed_replays_exactly)
{
    uint64_t last_hash = 0;
    for (uint64_t seed = 0; seed < 50; seed++) {
        size_t n_first;
        size_t n_second;
        uint64_t hash = play(seed, &n_first);
        cr_expect_eq(hash, play(seed, &n_second), "seed %d", (int)seed);
        cr_expect_eq(n_first, n_second);
        cr_expect_gt(n_first, 20);
        cr_expect_neq(hash, last_hash, "two seeds play the same");
        last_hash = hash;
    }
}
