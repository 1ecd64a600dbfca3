/*
 * BLPOP on the simulated server: who is served, when, with what, and what does not happen
 * meanwhile.
 */
#include "sim.h"
#include "sim_expect.h"
#include "sim_raw.h"

#include <criterion/criterion.h>

#include <string.h>

#define MAX_CLIENTS 4
#define WRONGTYPE "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"

/* The answer of BLPOP: one element of a list whose name has one letter. */
#define POPPED(key, value) "*2\r\n$1\r\n" key "\r\n$1\r\n" value "\r\n"

static sim_raw clients[MAX_CLIENTS];

static sim_world *open_world(size_t n_clients)
{
    sim_world *world = sim_create(1);
    for (size_t i = 0; i < n_clients; i++)
        cr_assert(sim_raw_open(&clients[i], world));
    return world;
}

static void close_world(sim_world *world)
{
    for (size_t i = 0; i < MAX_CLIENTS; i++) {
        if (clients[i].transport != NULL)
            sim_raw_close(&clients[i]);
    }
    sim_destroy(world);
}

/* ---- Who is served ------------------------------------------------------------------------- */

Test(sim_blocking, pops_at_once_what_is_there)
{
    sim_world *world = open_world(1);
    sim_do(world, "RPUSH b 1 2");
    sim_do(world, "RPUSH a 3");
    sim_do(world, "SET s x");
    ASK(&clients[0], "BLPOP c b a 0", POPPED("b", "1"));
    ASK(&clients[0], "BLPOP a b 0\nBLPOP a b 0", POPPED("a", "3") POPPED("b", "2"));
    ASK(&clients[0], "BLPOP c s a 0", WRONGTYPE);
    DO(world, "EXISTS a b", ":0\r\n");
    cr_expect_eq(sim_n_blocked(world), 0);
    close_world(world);
}

Test(sim_blocking, serves_in_the_order_of_arrival)
{
    sim_world *world = open_world(3);
    for (size_t i = 0; i < 3; i++)
        ASK(&clients[i], "BLPOP l 0", "");
    cr_expect_eq(sim_n_blocked(world), 3);
    DO(world, "RPUSH l 1 2", ":2\r\n");
    HEAR(&clients[1], POPPED("l", "2"));
    HEAR(&clients[0], POPPED("l", "1"));
    HEAR(&clients[2], "");
    DO(world, "EXISTS l", ":0\r\n");
    ASK(&clients[0], "BLPOP l 0", "");
    DO(world, "LPUSH l 3 4 5", ":3\r\n");
    HEAR(&clients[2], POPPED("l", "5"));
    HEAR(&clients[0], POPPED("l", "4"));
    cr_expect_eq(sim_llen(world, "l"), 1);
    cr_expect_eq(sim_get_counters(world)->n_served, 4);
    close_world(world);
}

Test(sim_blocking, waits_for_several_keys)
{
    sim_world *world = open_world(3);
    ASK(&clients[0], "BLPOP a b 0", "");
    ASK(&clients[1], "BLPOP b b 0", "");
    ASK(&clients[2], "BLPOP c a 0", "");
    DO(world, "RPUSH b 1", ":1\r\n");
    HEAR(&clients[0], POPPED("b", "1"));
    DO(world, "RPUSH a 2", ":1\r\n");
    HEAR(&clients[2], POPPED("a", "2"));
    DO(world, "RPUSH b 3 4", ":2\r\n");
    HEAR(&clients[1], POPPED("b", "3"));
    cr_expect_eq(sim_llen(world, "b"), 1);
    close_world(world);
}

Test(sim_blocking, keeps_databases_apart)
{
    sim_world *world = open_world(2);
    ASK(&clients[0], "SELECT 1\nBLPOP l 0", OK);
    ASK(&clients[1], "RPUSH l 1", ":1\r\n");
    HEAR(&clients[0], "");
    ASK(&clients[1], "SELECT 1\nRPUSH l 2", OK ":1\r\n");
    HEAR(&clients[0], POPPED("l", "2"));
    close_world(world);
}

/* ---- When ---------------------------------------------------------------------------------- */

/* Sent by one client while another waits for `a` and then `b`. */
typedef struct push_case {
    const char *lines;
    const char *answer;
    const char *served; /* NULL: the other still waits */
} push_case;

static const push_case push_cases[] = {
    {"RPUSH a 1\nLLEN a", ":1\r\n:0\r\n", POPPED("a", "1")},
    {"MULTI\nRPUSH a 1\nLLEN a\nEXEC", OK QUEUED QUEUED "*2\r\n:1\r\n:1\r\n", POPPED("a", "1")},
    {"MULTI\nRPUSH b 1\nRPUSH a 2\nEXEC", OK QUEUED QUEUED "*2\r\n:1\r\n:1\r\n", POPPED("b", "1")},
    {"MULTI\nRPUSH a 1\nLPUSH a 2\nEXEC", OK QUEUED QUEUED "*2\r\n:1\r\n:2\r\n", POPPED("a", "2")},
    {"MULTI\nRPUSH a 1\nLPOP a\nEXEC", OK QUEUED QUEUED "*2\r\n:1\r\n$1\r\n1\r\n", NULL},
    {"MULTI\nRPUSH a 1\nBLPOP a 0\nEXEC", OK QUEUED QUEUED "*2\r\n:1\r\n" POPPED("a", "1"), NULL},
    {"MULTI\nRPUSH a 1\nDEL a\nSADD a 1\nEXEC", OK QUEUED QUEUED QUEUED "*3\r\n:1\r\n:1\r\n:1\r\n",
        NULL},
    {"MULTI\nRPUSH a 1\nSET a x\nRPUSH b 2\nEXEC",
        OK QUEUED QUEUED QUEUED "*3\r\n:1\r\n" OK ":1\r\n", POPPED("b", "2")},
    {"MULTI\nRPUSH a 1\nDEL a\nRPUSH a 2\nEXEC", OK QUEUED QUEUED QUEUED "*3\r\n:1\r\n:1\r\n:1\r\n",
        POPPED("a", "2")},
    {"MULTI\nRPUSH a 1\nPEXPIRE a 0\nEXEC", OK QUEUED QUEUED "*2\r\n:1\r\n:1\r\n", NULL},
    {"MULTI\nRPUSH a 1\nPEXPIRE a 50\nEXEC", OK QUEUED QUEUED "*2\r\n:1\r\n:1\r\n",
        POPPED("a", "1")},
    {"MULTI\nRPUSH a 1\nDISCARD", OK QUEUED OK, NULL},
    {"SET a x\nDEL a\nRPUSH a 1", OK ":1\r\n:1\r\n", POPPED("a", "1")},
    {"SET a x\nRPUSH a 1", OK WRONGTYPE, NULL},
    {"FLUSHALL\nRPUSH c 1", OK ":1\r\n", NULL},
    {"FLUSHALL\nRPUSH b 1", OK ":1\r\n", POPPED("b", "1")},
};

Test(sim_blocking, serves_behind_the_command_or_exec_that_pushed)
{
    for (size_t i = 0; i < sizeof push_cases / sizeof push_cases[0]; i++) {
        const push_case *c = &push_cases[i];
        sim_world *world = open_world(2);
        ASK(&clients[0], "BLPOP a b 0", "");
        ASK(&clients[1], c->lines, c->answer);
        HEAR(&clients[0], c->served != NULL ? c->served : "");
        cr_expect_eq(sim_n_blocked(world), c->served == NULL, "case %zu", i);
        close_world(world);
    }
}

Test(sim_blocking, does_not_wait_inside_a_transaction)
{
    sim_world *world = open_world(1);
    ASK(&clients[0], "MULTI\nBLPOP l 0\nEXEC\nPING", OK QUEUED "*1\r\n" NIL_ARRAY "+PONG\r\n");
    DO(world, "BLPOP l 0", NIL_ARRAY);
    close_world(world);
}

Test(sim_blocking, what_is_sent_behind_waits_too)
{
    sim_world *world = open_world(2);
    ASK(&clients[0], "SET r 0\nBLPOP l 0\nSET r 1 GET\nWATCH k\nBLPOP l 0\nGET r", OK);
    ASK(&clients[1], "GET r\nRPUSH l 1\nGET r", "$1\r\n0\r\n:1\r\n$1\r\n0\r\n");
    HEAR(&clients[0], POPPED("l", "1") "$1\r\n0\r\n" OK);
    sim_raw_send(&clients[0], "PING");
    DO(world, "GET r", "$1\r\n1\r\n");
    DO(world, "RPUSH l 2", ":1\r\n");
    HEAR(&clients[0], POPPED("l", "2") "$1\r\n1\r\n+PONG\r\n");
    close_world(world);
}

/* Each pushes for the next one when it goes on. */
Test(sim_blocking, those_let_go_go_on_in_order)
{
    sim_world *world = open_world(4);
    ASK(&clients[0], "BLPOP l 0\nRPUSH o 0\nRPUSH m 0", "");
    ASK(&clients[1], "BLPOP l 0\nRPUSH o 1", "");
    ASK(&clients[2], "BLPOP m 0\nRPUSH o 2", "");
    DO(world, "RPUSH l 1 2", ":2\r\n");
    HEAR(&clients[2], POPPED("m", "0") ":3\r\n");
    DO(world, "LRANGE o 0 -1", "*3\r\n$1\r\n0\r\n$1\r\n1\r\n$1\r\n2\r\n");
    close_world(world);
}

/* The server deals with other clients, and then with those it has let go. */
Test(sim_blocking, others_may_come_before_what_was_sent_behind)
{
    bool was_before = false;
    bool was_after = false;
    for (uint64_t seed = 0; seed < 100; seed++) {
        sim_world *world = sim_create(seed);
        for (size_t i = 0; i < 3; i++)
            cr_assert(sim_raw_open(&clients[i], world));
        ASK(&clients[0], "BLPOP l 0\nSET r 1", "");
        sim_raw_send(&clients[1], "RPUSH l 1");
        sim_raw_send(&clients[2], "LLEN l\nGET r");
        const char *heard = sim_raw_take(&clients[2], SIM_SECOND);
        was_before |= strcmp(heard, ":0\r\n$-1\r\n") == 0;
        was_after |= strcmp(heard, ":0\r\n$1\r\n1\r\n") == 0;
        close_world(world);
    }
    cr_expect(was_before);
    cr_expect(was_after);
}

/* ---- Time-outs ----------------------------------------------------------------------------- */

Test(sim_blocking, understands_timeouts)
{
    static const struct {
        const char *line;
        const char *answer;
    } cases[] = {
        {"BLPOP l x", "-ERR timeout is not a float or out of range\r\n"},
        {"BLPOP l nan", "-ERR timeout is not a float or out of range\r\n"},
        {"BLPOP l -1", "-ERR timeout is negative\r\n"},
        {"BLPOP l -0.01", "-ERR timeout is negative\r\n"},
        {"BLPOP l 1e30", "-ERR timeout is negative\r\n"},
        {"BLPOP l", "-ERR wrong number of arguments for 'blpop' command\r\n"},
        {"BLPOP l 0.001", NIL_ARRAY},
        {"BLPOP l 1e-9", NIL_ARRAY},
        {"BLPOP l 0x1p-4", NIL_ARRAY},
        {"BLPOP l 0.0", ""},
        {"BLPOP l -0.0001", ""},
        {"BLPOP l 1000000000000000", ""},
        {"BLPOP l 2", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sim_world *world = open_world(1);
        sim_raw_send(&clients[0], cases[i].line);
        cr_expect_str_eq(sim_raw_take(&clients[0], SIM_SECOND), cases[i].answer, "%s said %s",
            cases[i].line, clients[0].reply.data);
        close_world(world);
    }
}

Test(sim_blocking, answers_nil_when_the_time_is_over)
{
    sim_world *world = open_world(3);
    ASK(&clients[0], "BLPOP l 0.5\nPING", "");
    ASK(&clients[1], "BLPOP l 0.25", "");
    ASK(&clients[2], "BLPOP l 0", "");
    cr_expect_str_eq(sim_raw_take(&clients[1], 230 * SIM_MILLISECOND), "");
    cr_expect_str_eq(sim_raw_take(&clients[1], 130 * SIM_MILLISECOND), NIL_ARRAY);
    cr_expect_str_eq(sim_raw_take(&clients[0], 250 * SIM_MILLISECOND), NIL_ARRAY "+PONG\r\n");
    DO(world, "RPUSH l 1", ":1\r\n");
    HEAR(&clients[2], POPPED("l", "1"));
    ASK(&clients[0], "BLPOP l 0.5", "");
    DO(world, "RPUSH l 2", ":1\r\n");
    HEAR(&clients[0], POPPED("l", "2"));
    ASK(&clients[0], "BLPOP l 1", "");
    cr_expect_str_eq(sim_raw_take(&clients[0], 900 * SIM_MILLISECOND), "", "an old time-out");
    close_world(world);
}

Test(sim_blocking, lists_expire_before_they_are_waited_for)
{
    sim_world *world = open_world(1);
    DO(world, "RPUSH l 1", ":1\r\n");
    DO(world, "PEXPIRE l 100", ":1\r\n");
    sim_run_for(world, SIM_SECOND);
    ASK(&clients[0], "BLPOP l 0", "");
    DO(world, "RPUSH l 2", ":1\r\n");
    HEAR(&clients[0], POPPED("l", "2"));
    close_world(world);
}

/* ---- Being forgotten, let go, killed ------------------------------------------------------- */

Test(sim_blocking, a_client_that_closes_is_forgotten)
{
    sim_world *world = open_world(2);
    ASK(&clients[0], "BLPOP l 0\nSET r 1", "");
    ASK(&clients[1], "BLPOP l 0", "");
    sim_raw_close(&clients[0]);
    sim_run_for(world, SIM_SECOND);
    cr_expect_eq(sim_n_blocked(world), 1);
    DO(world, "RPUSH l 1", ":1\r\n");
    HEAR(&clients[1], POPPED("l", "1"));
    DO(world, "EXISTS r l", ":0\r\n");
    close_world(world);
}

Test(sim_blocking, clients_can_be_let_go_by_others)
{
    sim_world *world = open_world(2);
    ASK(&clients[0], "CLIENT ID\nCLIENT SETNAME me\nBLPOP l 0\nPING", ":1\r\n" OK);
    ASK(&clients[1], "CLIENT UNBLOCK 2\nCLIENT UNBLOCK 9 ERROR\nCLIENT UNBLOCK 1",
        ":0\r\n:0\r\n:1\r\n");
    HEAR(&clients[0], NIL_ARRAY "+PONG\r\n");
    ASK(&clients[0], "BLPOP l 0", "");
    ASK(&clients[1], "CLIENT UNBLOCK 1 error\nCLIENT UNBLOCK 1", ":1\r\n:0\r\n");
    HEAR(&clients[0], "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n");
    ASK(&clients[0], "BLPOP l 0", "");
    ASK(&clients[1], "MULTI\nCLIENT UNBLOCK 1 TIMEOUT\nRPUSH l 1\nEXEC",
        OK QUEUED QUEUED "*2\r\n:1\r\n:1\r\n");
    HEAR(&clients[0], NIL_ARRAY);
    cr_expect_eq(sim_llen(world, "l"), 1);
    ASK(&clients[1], "CLIENT UNBLOCK x", "-ERR value is not an integer or out of range\r\n");
    ASK(&clients[1], "CLIENT UNBLOCK 1 x",
        "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR\r\n");
    close_world(world);
}

Test(sim_blocking, clients_can_be_killed_by_others)
{
    sim_world *world = open_world(3);
    ASK(&clients[0], "BLPOP l 0\nSET r 1", "");
    ASK(&clients[1], "BLPOP l 0", "");
    ASK(&clients[2], "CLIENT KILL ID 1\nCLIENT KILL ID 1\nRPUSH l 1", ":1\r\n:0\r\n:1\r\n");
    HEAR(&clients[0], "");
    cr_expect(clients[0].is_broken);
    HEAR(&clients[1], POPPED("l", "1"));
    ASK(&clients[2], "CLIENT KILL ID 3\nCLIENT KILL ID 0",
        ":0\r\n-ERR client-id should be greater than 0\r\n");
    DO(world, "CLIENT KILL ID 2", ":1\r\n");
    HEAR(&clients[1], "");
    cr_expect(clients[1].is_broken);
    DO(world, "EXISTS r l", ":0\r\n");
    close_world(world);
}

/* ---- WATCH --------------------------------------------------------------------------------- */

typedef struct watch_case {
    const char *before;  /* by another client */
    const char *waiting; /* by a third client, before WATCH; NULL: nothing */
    const char *own;     /* by the watching one, behind WATCH */
    const char *other;   /* by another client, then */
    bool is_conflict;
} watch_case;

static const watch_case watch_cases[] = {
    {"DEL l", "BLPOP l 0", NULL, "RPUSH l 1", true},
    {"DEL l", "BLPOP l 0", NULL, "RPUSH m 1", false},
    {"DEL l", "BLPOP l 0", NULL, "FLUSHALL", false},
    {"DEL l", "BLPOP l 0", NULL, "CLIENT UNBLOCK 2", false},
    {"DEL l", "BLPOP l 0", NULL, "CLIENT KILL ID 2", false},
    {"DEL l", NULL, "BLPOP l 0", "RPUSH l 1", true},
    {"DEL l", NULL, "BLPOP m 0", "RPUSH m 1", false},
    {"DEL l", NULL, "BLPOP l 0.001", NULL, false},
    {"DEL l", NULL, NULL, "BLPOP l 0", false},
    {"DEL l", NULL, NULL, "LPOP l", false},
    {"DEL l", NULL, NULL, "LTRIM l 1 0", false},
    {"RPUSH l 1 2", NULL, "BLPOP l 0", NULL, true},
    {"RPUSH l 1 2", NULL, NULL, "BLPOP l 0", true},
    {"RPUSH l 1", NULL, NULL, "BLPOP m l 0", true},
    {"RPUSH l 1", NULL, NULL, "LPOP l", true},
    {"RPUSH l 1", NULL, NULL, "LTRIM l 0 -1", true},
    {"RPUSH l 1", NULL, NULL, "LTRIM l 1 0", true},
    {"RPUSH l 1", NULL, NULL, "DEL l", true},
    {"RPUSH l 1", NULL, NULL, "PEXPIRE l 1000", true},
    {"RPUSH l 1", NULL, NULL, "LRANGE l 0 -1", false},
    {"RPUSH l 1", NULL, NULL, "LLEN l", false},
};

Test(sim_blocking, a_watched_list_is_changed_by_what_changes_it)
{
    for (size_t i = 0; i < sizeof watch_cases / sizeof watch_cases[0]; i++) {
        const watch_case *c = &watch_cases[i];
        sim_world *world = open_world(2);
        sim_do(world, c->before);
        if (c->waiting != NULL)
            ASK(&clients[1], c->waiting, "");
        ASK(&clients[0], "WATCH l", OK);
        if (c->own != NULL)
            sim_raw_ask(&clients[0], c->own);
        if (c->other != NULL)
            sim_do(world, c->other);
        sim_raw_take(&clients[0], SIM_SECOND);
        ASK(&clients[0], "MULTI\nPING\nEXEC",
            c->is_conflict ? OK QUEUED NIL_ARRAY : OK QUEUED "*1\r\n+PONG\r\n");
        close_world(world);
    }
}

/* ---- The journal and the hook -------------------------------------------------------------- */

Test(sim_blocking, the_journal_tells_of_both_ends_of_a_wait)
{
    static const struct {
        const char *name;
        uint64_t connection;
        sim_how how;
        bool is_change;
    } expected[] = {
        {"BLPOP", 1, SIM_BLOCKED, false},
        {"MULTI", 2, SIM_RAN, false},
        {"RPUSH", 2, SIM_QUEUED, false},
        {"RPUSH", 2, SIM_RAN, true},
        {"EXEC", 2, SIM_RAN, true},
        {"BLPOP", 1, SIM_RAN, true},
        {"PING", 1, SIM_RAN, false},
        {"BLPOP", 1, SIM_BLOCKED, false},
        {"BLPOP", 1, SIM_RAN, false},
    };
    sim_world *world = open_world(2);
    ASK(&clients[0], "BLPOP l 0\nPING\nBLPOP l 0.001", "");
    sim_raw_ask(&clients[1], "MULTI\nRPUSH l 1\nEXEC");
    sim_run_for(world, SIM_SECOND);
    cr_assert_eq(sim_journal_size(world), sizeof expected / sizeof expected[0]);
    for (size_t i = 0; i < sim_journal_size(world); i++) {
        const sim_entry *entry = sim_journal_at(world, i);
        cr_expect(sim_entry_is(entry, expected[i].name), "entry %zu", i);
        cr_expect_eq(entry->connection, expected[i].connection, "entry %zu", i);
        cr_expect_eq(entry->how, expected[i].how, "entry %zu", i);
        cr_expect_eq(entry->is_change, expected[i].is_change, "entry %zu", i);
        cr_expect_eq(entry->exec != 0, i == 3 || i == 4, "entry %zu", i);
    }
    close_world(world);
}

static void push_for_who_waits(sim_world *world, const sim_entry *entry, void *user)
{
    *(size_t *)user += entry->how == SIM_BLOCKED;
    if (entry->how == SIM_BLOCKED)
        sim_do(world, "RPUSH l 1");
}

Test(sim_blocking, a_hook_may_serve_before_the_wait_is_known)
{
    sim_world *world = open_world(1);
    size_t n_waits = 0;
    sim_set_hook(world, push_for_who_waits, &n_waits);
    ASK(&clients[0], "SET r 1\nBLPOP l 0\nGET r\nBLPOP l 0\nPING",
        OK POPPED("l", "1") "$1\r\n1\r\n" POPPED("l", "1") "+PONG\r\n");
    cr_expect_eq(n_waits, 2);
    close_world(world);
}
