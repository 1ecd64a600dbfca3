/*
 * The client on the simulator: does the whole of it run in virtual time, replay from a seed, and
 * neither lose nor repeat an update under all faults at once?
 */
#include "sim.h"

#include <criterion/criterion.h>

#include <string.h>

#define COUNTER GAVEL_STR("counter")

/* Enough for any deadline used here, and the loops to come to rest. */
#define LONG_ENOUGH (120 * SIM_SECOND)

static gavel_verdict add_one(gavel_tx *tx, void *user)
{
    (void)user;
    int64_t value = 0;
    gavel_get_int(tx, COUNTER, &value);
    gavel_set_int(tx, COUNTER, value + 1);
    return GAVEL_COMMIT;
}

static gavel_transaction increment(void)
{
    static const gavel_read reads[] = {{.key = {"counter", 7}}};
    return (gavel_transaction){.body = add_one, .reads = reads, .n_reads = 1, .deadline_ms = 20000};
}

Test(sim_client, commits_and_closes)
{
    sim_world *world = sim_create(1);
    gavel_client *client = sim_open(world, NULL);
    gavel_transaction transaction = increment();
    const sim_result *result = sim_submit(world, client, &transaction);
    cr_assert(sim_is_busy(world));
    cr_assert(sim_finish(world, SIM_SECOND));
    cr_expect_eq(result->outcome.status, GAVEL_COMMITTED, "%s", result->outcome.message);
    cr_expect_eq(sim_get_int(world, "counter"), 1);
    sim_run_for(world, SIM_SECOND);
    cr_expect_not(sim_is_busy(world));
    gavel_close(client);
    sim_destroy(world);
}

Test(sim_client, blocks_in_virtual_time)
{
    for (int can_wait = 0; can_wait < 2; can_wait++) {
        sim_world *world = sim_create(1);
        sim_allow_wait(world, can_wait);
        gavel_client *client = sim_open_blocking(world, NULL);
        gavel_transaction transaction = increment();
        for (int i = 1; i <= 10; i++) {
            gavel_outcome outcome = gavel_run(client, &transaction);
            cr_assert_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
            cr_expect_eq(sim_get_int(world, "counter"), i);
        }
        cr_expect_lt(sim_now_us(world), 1001 * SIM_SECOND);
        gavel_close(client);
        sim_destroy(world);
    }
}

Test(sim_client, gives_up_at_the_deadline_when_nobody_answers)
{
    sim_world *world = sim_create(1);
    gavel_client *client = sim_open(world, NULL);
    sim_set_faults(world, &(sim_faults){.hang_per_mille = 1000});
    gavel_transaction transaction = increment();
    transaction.deadline_ms = 300;
    const sim_result *result = sim_submit(world, client, &transaction);
    int64_t begin_us = sim_now_us(world);
    cr_assert(sim_finish(world, LONG_ENOUGH));
    cr_expect_eq(result->done_at_us - begin_us, 300 * SIM_MILLISECOND);
    cr_expect_eq(result->outcome.status, GAVEL_DEADLINE, "%s", result->outcome.message);
    gavel_close(client);
    sim_destroy(world);
}

static gavel_client *closing_client;

static void close_client(const gavel_outcome *outcome, void *user)
{
    *(gavel_status *)user = outcome->status;
    gavel_close(closing_client);
}

Test(sim_client, is_closed_inside_a_callback)
{
    sim_world *world = sim_create(1);
    gavel_client *other = sim_open(world, NULL);
    closing_client = sim_open(world, NULL);
    gavel_transaction transaction = increment();
    gavel_status status = GAVEL_INVALID;
    transaction.user = &status;
    cr_assert_neq(gavel_submit(closing_client, &transaction, close_client), 0);
    const sim_result *result = sim_submit(world, other, &transaction);
    cr_assert(sim_finish(world, SIM_SECOND));
    sim_run_for(world, SIM_SECOND);
    cr_expect_eq(status, GAVEL_COMMITTED);
    cr_expect_eq(result->outcome.status, GAVEL_COMMITTED);
    gavel_close(other);
    sim_destroy(world);
}

/* ---- Everything at once -------------------------------------------------------------------- */

#define N_TRANSACTIONS 60
#define N_CLIENTS 3
#define N_SEEDS 1000

typedef struct tally {
    uint64_t hash;
    int64_t n_committed;
    int64_t n_unknown;
    int64_t n_others;
    int64_t counter;
    uint64_t n_from_marker;
    uint64_t n_late_execs;
} tally;

static gavel_verdict add_one_blindly(gavel_tx *tx, void *user)
{
    (void)user;
    gavel_write(tx, &GAVEL_COMMAND(GAVEL_STR("INCR"), COUNTER));
    return GAVEL_COMMIT;
}

static gavel_transaction blind_increment(void)
{
    return (gavel_transaction){.body = add_one_blindly, .deadline_ms = 20000};
}

/* The same by commands that gavel does not know, and the server is asked of. */
static gavel_verdict add_one_by_a_module(gavel_tx *tx, void *user)
{
    (void)user;
    const gavel_reply *reply = NULL;
    const gavel_bytes tell[] = {GAVEL_STR("COUNTER.TELL"), COUNTER};
    const gavel_bytes add[] = {GAVEL_STR("COUNTER.ADD"), COUNTER};
    gavel_query(tx, &(gavel_command){.args = tell, .n_args = 2, .n_keys = 1}, &reply);
    gavel_write(tx, &(gavel_command){.args = add, .n_args = 2, .n_keys = 1});
    return GAVEL_COMMIT;
}

static gavel_transaction module_increment(void)
{
    return (gavel_transaction){.body = add_one_by_a_module, .deadline_ms = 20000};
}

static void submit_all(sim_world *world, gavel_client **clients, gavel_transaction transaction)
{
    for (size_t i = 0; i < N_TRANSACTIONS; i++) {
        sim_submit(world, clients[i % N_CLIENTS], &transaction);
        if (sim_random(world, 4) == 0)
            sim_run_for(world, (int64_t)sim_random(world, 5000));
    }
}

/* How often a writer's own INCR has run. */
static int64_t count_others(const sim_world *world)
{
    int64_t n = 0;
    for (size_t i = 0; i < sim_journal_size(world); i++) {
        const sim_entry *entry = sim_journal_at(world, i);
        n += entry->connection == 0 && sim_entry_is(entry, "incr");
    }
    return n;
}

static tally play(uint64_t seed, gavel_transaction transaction)
{
    sim_world *world = sim_create(seed);
    sim_faults faults = sim_draw_faults(world);
    sim_set_faults(world, &faults);
    sim_add_writer(world, 20 * SIM_MILLISECOND, "INCR counter");
    gavel_client *clients[N_CLIENTS];
    for (size_t i = 0; i < N_CLIENTS; i++)
        clients[i] = sim_open(world, NULL);
    submit_all(world, clients, transaction);
    cr_assert(sim_finish(world, LONG_ENOUGH), "seed %d: not all were told", (int)seed);
    for (size_t i = 0; i < N_CLIENTS; i++)
        gavel_close(clients[i]);
    sim_stop_actors(world);
    sim_set_faults(world, NULL);
    sim_run_for(world, 10 * SIM_SECOND); /* What is late arrives, too. */
    tally found = {.hash = sim_hash(world),
        .n_committed = (int64_t)sim_n_results_with(world, GAVEL_COMMITTED),
        .n_unknown = (int64_t)sim_n_results_with(world, GAVEL_UNKNOWN),
        .n_others = count_others(world),
        .counter = sim_get_int(world, "counter"),
        .n_late_execs = sim_get_counters(world)->n_late_execs};
    for (size_t i = 0; i < sim_n_results(world); i++) {
        cr_assert_eq(sim_result_at(world, i)->n_done_calls, 1, "seed %d", (int)seed);
        found.n_from_marker += sim_result_at(world, i)->outcome.is_from_marker;
    }
    sim_destroy(world);
    return found;
}

static void play_all(gavel_transaction transaction)
{
    tally sum = {0};
    for (uint64_t seed = 0; seed < N_SEEDS; seed++) {
        tally found = play(seed, transaction);
        int64_t n_applied = found.counter - found.n_others;
        cr_expect_geq(n_applied, found.n_committed, "seed %d: an update is lost", (int)seed);
        cr_expect_leq(n_applied, found.n_committed + found.n_unknown,
            "seed %d: an update was made twice, or one that was denied", (int)seed);
        sum.n_committed += found.n_committed;
        sum.n_from_marker += found.n_from_marker;
        sum.n_late_execs += found.n_late_execs;
    }
    cr_expect_gt(sum.n_committed, N_SEEDS * N_TRANSACTIONS / 2, "too little is committed");
    cr_expect_gt(sum.n_from_marker, N_SEEDS / 10, "too few doubts are settled");
    cr_expect_gt(sum.n_late_execs, N_SEEDS / 10, "too few EXECs come late");
}

Test(sim_client, neither_loses_nor_repeats_an_update)
{
    play_all(increment());
}

/* Nothing is watched but the marker, so it alone keeps a late EXEC out. */
Test(sim_client, neither_loses_nor_repeats_a_blind_update)
{
    play_all(blind_increment());
}

Test(sim_client, neither_loses_nor_repeats_an_update_by_a_module)
{
    play_all(module_increment());
}

/* As a query it would count at once, and for each attempt. */
static gavel_verdict add_one_by_a_query(gavel_tx *tx, void *user)
{
    (void)user;
    const gavel_reply *reply = NULL;
    const gavel_bytes add[] = {GAVEL_STR("COUNTER.ADD"), COUNTER};
    gavel_query(tx, &(gavel_command){.args = add, .n_args = 2, .n_keys = 1}, &reply);
    return GAVEL_COMMIT;
}

Test(sim_client, a_query_that_writes_never_takes_effect)
{
    sim_world *world = sim_create(1);
    gavel_client *client = sim_open(world, NULL);
    gavel_transaction transaction = {.body = add_one_by_a_query};
    for (int i = 0; i < 4; i++) {
        transaction.is_read_only = i % 2 != 0;
        sim_submit(world, client, &transaction);
    }
    cr_assert(sim_finish(world, SIM_SECOND));
    cr_expect_eq(sim_n_results_with(world, GAVEL_INVALID), 4);
    cr_expect_eq(sim_get_int(world, "counter"), 0);
    gavel_close(client);
    sim_destroy(world);
}

Test(sim_client, a_seed_replays_exactly)
{
    for (uint64_t seed = 1000; seed < 1020; seed++) {
        tally first = play(seed, increment());
        tally second = play(seed, increment());
        cr_expect_eq(first.hash, second.hash, "seed %d", (int)seed);
    }
}
