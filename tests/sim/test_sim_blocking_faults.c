/*
 * Clients that wait in BLPOP when links break, hosts vanish, and the server is silent or dies: is
 * every element given once, to a client that is there or to one that has left?
 */
#include "sim.h"
#include "sim_expect.h"
#include "sim_raw.h"

#include "base/text.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#define POPPED(value) "*2\r\n$1\r\nl\r\n$1\r\n" value "\r\n"

static sim_world *open_two(sim_raw *first, sim_raw *second)
{
    sim_world *world = sim_create(1);
    cr_assert(sim_raw_open(first, world) && sim_raw_open(second, world));
    return world;
}

static void close_two(sim_world *world, sim_raw *first, sim_raw *second)
{
    sim_raw_close(first);
    sim_raw_close(second);
    sim_destroy(world);
}

/* ---- One at a time ------------------------------------------------------------------------- */

Test(sim_blocking_faults, what_is_given_to_a_client_that_has_left_is_lost)
{
    sim_raw first;
    sim_raw second;
    sim_world *world = open_two(&first, &second);
    ASK(&first, "BLPOP l 0\nSET r 1", "");
    sim_break(world, first.connection, SIZE_MAX, SIM_SECOND);
    sim_run_for(world, SIM_SECOND / 2);
    cr_expect_eq(sim_n_blocked(world), 1);
    DO(world, "RPUSH l 1", ":1\r\n");
    sim_run_for(world, SIM_SECOND / 4);
    cr_expect_eq(sim_llen(world, "l"), 0);
    cr_expect_eq(sim_get_counters(world)->n_served_late, 1);
    cr_expect_eq(sim_get_int(world, "r"), 1, "it has gone on without its client");
    sim_run_for(world, SIM_SECOND);
    DO(world, "CLIENT KILL ID 1", ":0\r\n");
    close_two(world, &first, &second);
}

Test(sim_blocking_faults, a_wait_of_a_host_that_is_gone_is_a_wait)
{
    sim_raw first;
    sim_raw second;
    sim_world *world = open_two(&first, &second);
    sim_raw_send(&first, "BLPOP l 0");
    sim_orphan(world, first.connection, SIM_SECOND);
    sim_run_for(world, SIM_MILLISECOND);
    ASK(&second, "BLPOP l 0", "");
    cr_expect_eq(sim_n_blocked(world), 2);
    DO(world, "RPUSH l 1 2", ":2\r\n");
    HEAR(&second, POPPED("2"));
    close_two(world, &first, &second);
}

Test(sim_blocking_faults, an_orphaned_connection_is_served_until_the_server_notices)
{
    sim_raw first;
    sim_raw second;
    sim_world *world = open_two(&first, &second);
    ASK(&first, "BLPOP l 0\nBLPOP l 0", "");
    sim_orphan(world, first.connection, 300 * SIM_SECOND);
    ASK(&first, "PING", "");
    cr_expect(first.is_broken);
    sim_raw_close(&first);
    sim_run_for(world, 100 * SIM_SECOND);
    DO(world, "RPUSH l 1", ":1\r\n");
    sim_run_for(world, 100 * SIM_SECOND);
    cr_expect_eq(sim_llen(world, "l"), 0);
    cr_expect_eq(sim_n_blocked(world), 1);
    ASK(&second, "BLPOP l 0", "");
    sim_run_for(world, 101 * SIM_SECOND);
    DO(world, "RPUSH l 2", ":1\r\n");
    HEAR(&second, POPPED("2"));
    cr_expect_eq(sim_get_counters(world)->n_served_late, 1);
    close_two(world, &first, &second);
}

Test(sim_blocking_faults, an_answer_is_cut_at_every_byte)
{
    static const char whole[] = POPPED("1") "+PONG\r\n";
    for (uint64_t at = 0; at < strlen(whole); at++) {
        sim_raw first;
        sim_raw second;
        sim_world *world = open_two(&first, &second);
        ASK(&first, "BLPOP l 0\nPING", "");
        sim_cut_at(world,
            &(sim_cut){.connection = 1, .direction = SIM_TO_CLIENT, .at_byte = at, .late_us = 1});
        DO(world, "RPUSH l 1", ":1\r\n");
        const char *got = sim_raw_take(&first, SIM_SECOND);
        cr_expect_eq(strlen(got), at);
        cr_expect_eq(memcmp(got, whole, at), 0);
        cr_expect(first.is_broken);
        cr_expect_eq(sim_llen(world, "l"), 0);
        close_two(world, &first, &second);
    }
}

Test(sim_blocking_faults, answers_come_in_pieces_and_late)
{
    for (uint64_t seed = 0; seed < 50; seed++) {
        sim_world *world = sim_create(seed);
        sim_raw raw;
        sim_set_faults(world, &(sim_faults){.split_per_mille = 1000, .stall_per_mille = 200});
        cr_assert(sim_raw_open(&raw, world));
        sim_raw_send(&raw, "BLPOP l 0\nPING");
        sim_run_for(world, 10 * SIM_SECOND);
        cr_expect_eq(sim_n_blocked(world), 1);
        sim_do(world, "RPUSH l 1");
        cr_expect_str_eq(sim_raw_take(&raw, 10 * SIM_SECOND), POPPED("1") "+PONG\r\n");
        sim_raw_close(&raw);
        sim_destroy(world);
    }
}

Test(sim_blocking_faults, a_silent_server_neither_serves_nor_times_out)
{
    sim_raw first;
    sim_raw second;
    sim_world *world = open_two(&first, &second);
    ASK(&first, "BLPOP l 0\nPING", "");
    ASK(&second, "BLPOP m 0.1\nPING", "");
    sim_silence(world, SIM_SECOND);
    cr_expect_str_eq(sim_raw_take(&second, SIM_SECOND - SIM_MILLISECOND), "");
    cr_expect_str_eq(sim_raw_take(&second, 10 * SIM_MILLISECOND), NIL_ARRAY "+PONG\r\n");
    sim_silence(world, SIM_SECOND);
    ASK(&second, "RPUSH l 1", "");
    cr_expect_str_eq(sim_raw_take(&second, SIM_SECOND), ":1\r\n");
    HEAR(&first, POPPED("1") "+PONG\r\n");
    close_two(world, &first, &second);
}

/* Another client's command reaches even a silent server: who was served hears of it later. */
Test(sim_blocking_faults, who_is_served_in_a_silence_goes_on_behind_it)
{
    sim_raw first;
    sim_raw second;
    sim_world *world = open_two(&first, &second);
    ASK(&first, "BLPOP l 0\nPING", "");
    sim_silence(world, SIM_SECOND);
    DO(world, "RPUSH l 1", ":1\r\n");
    cr_expect_str_eq(sim_raw_take(&first, SIM_SECOND / 2), "");
    cr_expect_str_eq(sim_raw_take(&first, SIM_SECOND), POPPED("1") "+PONG\r\n");
    close_two(world, &first, &second);
}

Test(sim_blocking_faults, a_restart_forgets_who_waits)
{
    sim_raw first;
    sim_raw second;
    sim_world *world = open_two(&first, &second);
    ASK(&first, "BLPOP l 0.5", "");
    ASK(&second, "BLPOP l 0", "");
    sim_restart(world, 0, true);
    ASK(&first, "PING", "");
    cr_expect(first.is_broken);
    cr_expect_eq(sim_n_blocked(world), 0);
    DO(world, "RPUSH l 1", ":1\r\n");
    sim_run_for(world, SIM_SECOND);
    cr_expect_eq(sim_llen(world, "l"), 1);
    close_two(world, &first, &second);
}

Test(sim_blocking_faults, a_killed_connection_is_forgotten)
{
    sim_raw first;
    sim_raw second;
    sim_world *world = open_two(&first, &second);
    ASK(&first, "PING\nBLPOP l 0\nPING", "+PONG\r\n");
    sim_kill(world, first.connection);
    ASK(&first, "PING", "");
    cr_expect(first.is_broken);
    DO(world, "RPUSH l 1", ":1\r\n");
    cr_expect_eq(sim_llen(world, "l"), 1);
    close_two(world, &first, &second);
}

Test(sim_blocking_faults, a_wait_may_be_refused)
{
    sim_raw first;
    sim_raw second;
    sim_world *world = open_two(&first, &second);
    sim_refuse(world, &(sim_refusal){.command = "BLPOP", .n_times = 1, .error = "OOM no"});
    ASK(&first, "BLPOP l 0\nBLPOP l 0", "-OOM no\r\n");
    DO(world, "RPUSH l 1", ":1\r\n");
    HEAR(&first, POPPED("1"));
    close_two(world, &first, &second);
}

/* ---- All at once --------------------------------------------------------------------------- */

#define N_WAITERS 5
#define N_ROUNDS 60
#define N_SEEDS 300

typedef struct tally {
    uint64_t hash;
    uint64_t n_served;
    uint64_t n_served_late;
    size_t n_left;
    size_t n_pushed;
    size_t n_popped;
} tally;

/* Numbers from a counter, so that no element is like another. */
static void push_next(sim_world *world, void *user)
{
    tally *found = user;
    char line[32];
    snprintf(line, sizeof line, "RPUSH l %d", (int)++found->n_pushed);
    sim_do(world, line);
}

static void talk(sim_world *world, sim_raw *raw)
{
    static const char *const lines[] = {"BLPOP l 0\nGET r", "BLPOP l 0.2", "BLPOP l 0\nBLPOP l 0",
        "MULTI\nBLPOP l 0\nEXEC", "LPOP l", "BLPOP m l 0"};
    bool is_new = raw->transport == NULL || raw->is_broken || sim_random(world, 8) == 0;
    if (is_new && raw->transport != NULL)
        sim_raw_close(raw);
    if (is_new && !sim_raw_open(raw, world)) {
        sim_raw_close(raw);
        return;
    }
    sim_raw_send(raw, lines[sim_random(world, sizeof lines / sizeof lines[0])]);
    sim_raw_take(raw, (int64_t)sim_random(world, 100 * SIM_MILLISECOND));
}

/* The number at the end of a reply that holds an element; 0: none. */
static int64_t element_in(const sim_entry *entry)
{
    gavel_bytes reply = entry->reply;
    if (reply.size < 3 || (!sim_entry_is(entry, "BLPOP") && !sim_entry_is(entry, "LPOP")))
        return 0;
    size_t begin = reply.size - 2;
    while (begin > 0 && reply.data[begin - 1] != '\n')
        begin--;
    int64_t value = 0;
    gavel__parse_int((gavel_bytes){reply.data + begin, reply.size - 2 - begin}, &value);
    return value;
}

/* A list gives its elements in their order, each once. */
static void check_order(const sim_world *world, uint64_t seed, tally *found)
{
    int64_t last = 0;
    for (size_t i = 0; i < sim_journal_size(world); i++) {
        const sim_entry *entry = sim_journal_at(world, i);
        int64_t element = entry->how == SIM_RAN ? element_in(entry) : 0;
        if (element <= 0)
            continue;
        cr_assert_eq(
            element, last + 1, "seed %d: %d behind %d", (int)seed, (int)element, (int)last);
        last = element;
        found->n_popped++;
    }
}

static tally play(uint64_t seed)
{
    tally found = {0};
    sim_raw waiters[N_WAITERS] = {{0}};
    sim_world *world = sim_create(seed);
    sim_faults faults = sim_draw_faults(world);
    sim_set_faults(world, &faults);
    sim_add_actor(world, 100 * SIM_MILLISECOND, push_next, &found);
    for (size_t i = 0; i < N_ROUNDS; i++) {
        sim_raw *chosen = &waiters[sim_random(world, N_WAITERS)];
        talk(world, chosen);
        if (sim_random(world, 10) == 0 && chosen->transport != NULL)
            sim_orphan(world, chosen->connection, 1 + (int64_t)sim_random(world, SIM_SECOND));
    }
    sim_stop_actors(world);
    sim_set_faults(world, NULL);
    for (size_t i = 0; i < N_WAITERS; i++) {
        if (waiters[i].transport != NULL)
            sim_raw_close(&waiters[i]);
    }
    sim_run_for(world, 10 * SIM_SECOND);
    cr_expect_eq(sim_n_blocked(world), 0, "seed %d: somebody who left still waits", (int)seed);
    check_order(world, seed, &found);
    found.hash = sim_hash(world);
    found.n_left = sim_llen(world, "l");
    found.n_served = sim_get_counters(world)->n_served;
    found.n_served_late = sim_get_counters(world)->n_served_late;
    sim_destroy(world);
    return found;
}

Test(sim_blocking_faults, every_element_is_given_once_and_in_order)
{
    tally sum = {0};
    for (uint64_t seed = 0; seed < N_SEEDS; seed++) {
        tally found = play(seed);
        cr_expect_eq(found.n_popped + found.n_left, found.n_pushed, "seed %d", (int)seed);
        sum.n_served += found.n_served;
        sum.n_served_late += found.n_served_late;
    }
    cr_expect_gt(sum.n_served, 5 * N_SEEDS, "only %d were served", (int)sum.n_served);
    cr_expect_gt(sum.n_served_late, N_SEEDS / 4, "only %d had left", (int)sum.n_served_late);
}

Test(sim_blocking_faults, a_seed_replays_exactly)
{
    for (uint64_t seed = 1000; seed < 1030; seed++)
        cr_expect_eq(play(seed).hash, play(seed).hash, "seed %d", (int)seed);
}
