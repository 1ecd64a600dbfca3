/*
 * Several clients of the library in one world, each a process of its own: they stand still, go on,
 * and crash, and the others go on with what they have left behind.
 */
#include "sim.h"

#include <criterion/criterion.h>

#define LONG_ENOUGH (120 * SIM_SECOND)

static gavel_verdict add_one(gavel_tx *tx, void *user)
{
    int64_t value = 0;
    if (user != NULL)
        *(bool *)user = true;
    gavel_get_int(tx, GAVEL_STR("counter"), &value);
    gavel_set_int(tx, GAVEL_STR("counter"), value + 1);
    return GAVEL_COMMIT;
}

/* `has_run`: NULL, or becomes true when the body is run. */
static const sim_result *submit_and_see(sim_world *world, gavel_client *client, bool *has_run)
{
    static const gavel_read reads[] = {{.key = {"counter", 7}}};
    return sim_submit(world, client,
        &(gavel_transaction){
            .body = add_one, .user = has_run, .reads = reads, .n_reads = 1, .deadline_ms = 20000});
}

static const sim_result *submit(sim_world *world, gavel_client *client)
{
    return submit_and_see(world, client, NULL);
}

static bool is_true(sim_world *world, void *user)
{
    (void)world;
    return *(const bool *)user;
}

/* ---- Standing still ------------------------------------------------------------------------ */

Test(sim_processes, one_stands_still_while_another_goes_on)
{
    sim_world *world = sim_create(1);
    gavel_client *first = sim_open(world, NULL);
    gavel_client *second = sim_open(world, NULL);
    const sim_result *paused = submit(world, first);
    sim_pause(world, first);
    const sim_result *other = submit(world, second);
    sim_run_for(world, 5 * SIM_SECOND);
    cr_expect_not(paused->is_done);
    cr_expect_eq(other->outcome.status, GAVEL_COMMITTED, "%s", other->outcome.message);
    sim_resume(world, first);
    cr_assert(sim_finish(world, SIM_SECOND));
    cr_expect_eq(paused->outcome.status, GAVEL_COMMITTED, "%s", paused->outcome.message);
    cr_expect_eq(sim_get_int(world, "counter"), 2);
    gavel_close(first);
    gavel_close(second);
    sim_destroy(world);
}

typedef struct stop {
    gavel_client *client;
    const char *command; /* stops its client when the server has run this */
    bool has_stopped;
} stop;

static void stop_behind(sim_world *world, const sim_entry *entry, void *user)
{
    stop *self = user;
    if (self->has_stopped || !sim_entry_is(entry, self->command))
        return;
    self->has_stopped = true;
    sim_pause(world, self->client);
}

/* Its EXEC comes after its time: the server holds what it has watched against it. */
Test(sim_processes, one_that_stood_still_too_long_loses_no_update)
{
    sim_world *world = sim_create(1);
    gavel_client *client = sim_open(world, NULL);
    stop behind_reads = {.client = client, .command = "GET"};
    sim_set_hook(world, stop_behind, &behind_reads);
    const sim_result *result = submit(world, client);
    sim_run_for(world, SIM_SECOND);
    cr_assert(behind_reads.has_stopped);
    sim_do(world, "INCR counter");
    sim_run_for(world, 5 * SIM_SECOND);
    cr_expect_not(result->is_done);
    cr_expect_eq(sim_get_int(world, "counter"), 1);
    sim_resume(world, client);
    cr_assert(sim_finish(world, LONG_ENOUGH));
    cr_expect_eq(result->outcome.status, GAVEL_COMMITTED, "%s", result->outcome.message);
    cr_expect_eq(sim_get_int(world, "counter"), 2);
    gavel_close(client);
    sim_destroy(world);
}

/* ---- Crashing ------------------------------------------------------------------------------ */

Test(sim_processes, one_that_crashes_is_never_told)
{
    for (int64_t orphaned_us = 0; orphaned_us <= SIM_SECOND; orphaned_us += SIM_SECOND) {
        sim_world *world = sim_create(1);
        gavel_client *first = sim_open(world, NULL);
        gavel_client *second = sim_open(world, NULL);
        submit(world, first);
        cr_assert(sim_finish(world, SIM_SECOND));
        const sim_result *result = submit(world, first);
        sim_crash(world, first, orphaned_us);
        cr_expect(result->is_done && result->is_crashed);
        cr_expect_not(sim_is_busy(world));
        const sim_result *other = submit(world, second);
        cr_assert(sim_finish(world, SIM_SECOND));
        cr_expect_eq(other->outcome.status, GAVEL_COMMITTED, "%s", other->outcome.message);
        cr_expect_eq(sim_get_int(world, "counter"), 2);
        cr_expect_eq(sim_n_results_with(world, GAVEL_COMMITTED), 2);
        sim_do(world, "CLIENT KILL ID 1");
        gavel_close(second);
        cr_expect_eq(result->n_done_calls, 0);
        sim_destroy(world);
    }
}

Test(sim_processes, the_server_keeps_what_a_lost_host_leaves_open)
{
    for (int is_orphaned = 0; is_orphaned < 2; is_orphaned++) {
        sim_world *world = sim_create(1);
        gavel_client *client = sim_open(world, NULL);
        submit(world, client);
        cr_assert(sim_finish(world, SIM_SECOND));
        sim_crash(world, client, is_orphaned ? 300 * SIM_SECOND : 0);
        sim_run_for(world, 290 * SIM_SECOND);
        cr_expect_eq(sim_do(world, "CLIENT KILL ID 1").data[1], is_orphaned ? '1' : '0');
        sim_destroy(world);
    }
}

/* The EXEC has left before: it is made, and nobody hears of it. */
Test(sim_processes, what_was_sent_before_a_crash_is_run)
{
    sim_world *world = sim_create(1);
    gavel_client *client = sim_open(world, NULL);
    submit(world, client);
    cr_assert(sim_finish(world, SIM_SECOND));
    sim_set_faults(world, &(sim_faults){.latency_min_us = 50 * SIM_MILLISECOND,
                              .latency_max_us = 60 * SIM_MILLISECOND});
    bool is_sent = false;
    submit_and_see(world, client, &is_sent);
    cr_assert(sim_run_until(world, is_true, &is_sent, SIM_SECOND));
    sim_run_for(world, SIM_MILLISECOND);
    cr_expect_eq(sim_get_int(world, "counter"), 1);
    sim_crash(world, client, 0);
    sim_run_for(world, SIM_SECOND);
    cr_expect_eq(sim_get_int(world, "counter"), 2);
    cr_expect_eq(sim_get_counters(world)->n_late_commits, 1);
    sim_destroy(world);
}

/* ---- Everything at once -------------------------------------------------------------------- */

#define N_CLIENTS 4
#define N_TRANSACTIONS 60
#define N_SEEDS 300

typedef struct fleet {
    gavel_client *clients[N_CLIENTS];
    bool is_paused[N_CLIENTS];
    size_t n_crashes;
} fleet;

static void trouble(sim_world *world, void *user)
{
    fleet *self = user;
    size_t i = (size_t)sim_random(world, N_CLIENTS);
    bool crashes = sim_random(world, 8) == 0;
    if (crashes) {
        sim_crash(world, self->clients[i], (int64_t)sim_random(world, 2) * SIM_SECOND);
        self->clients[i] = sim_open(world, NULL);
        self->is_paused[i] = false;
        self->n_crashes++;
        return;
    }
    self->is_paused[i] = !self->is_paused[i];
    if (self->is_paused[i])
        sim_pause(world, self->clients[i]);
    else
        sim_resume(world, self->clients[i]);
}

static void close_fleet(sim_world *world, fleet *self)
{
    sim_stop_actors(world);
    for (size_t i = 0; i < N_CLIENTS; i++)
        sim_resume(world, self->clients[i]);
    cr_assert(sim_finish(world, LONG_ENOUGH));
    for (size_t i = 0; i < N_CLIENTS; i++)
        gavel_close(self->clients[i]);
    sim_set_faults(world, NULL);
    sim_run_for(world, 10 * SIM_SECOND);
}

static uint64_t play(uint64_t seed, size_t *ret_n_crashed)
{
    sim_world *world = sim_create(seed);
    sim_faults faults = sim_draw_faults(world);
    sim_set_faults(world, &faults);
    fleet self = {0};
    for (size_t i = 0; i < N_CLIENTS; i++)
        self.clients[i] = sim_open(world, NULL);
    sim_add_actor(world, 5 * SIM_MILLISECOND, trouble, &self);
    for (size_t i = 0; i < N_TRANSACTIONS; i++) {
        submit(world, self.clients[i % N_CLIENTS]);
        sim_run_for(world, (int64_t)sim_random(world, 2000));
    }
    close_fleet(world, &self);
    int64_t n_crashed = 0;
    for (size_t i = 0; i < sim_n_results(world); i++)
        n_crashed += sim_result_at(world, i)->is_crashed;
    int64_t n_committed = (int64_t)sim_n_results_with(world, GAVEL_COMMITTED);
    int64_t n_unknown = (int64_t)sim_n_results_with(world, GAVEL_UNKNOWN);
    int64_t n_applied = sim_get_int(world, "counter");
    cr_expect_geq(n_applied, n_committed, "seed %d: an update is lost", (int)seed);
    cr_expect_leq(n_applied, n_committed + n_unknown + n_crashed,
        "seed %d: an update was made twice, or one that was denied", (int)seed);
    *ret_n_crashed += (size_t)n_crashed;
    uint64_t hash = sim_hash(world);
    sim_destroy(world);
    return hash;
}

Test(sim_processes, crashes_and_stops_lose_no_update)
{
    size_t n_crashed = 0;
    for (uint64_t seed = 0; seed < N_SEEDS; seed++)
        play(seed, &n_crashed);
    cr_expect_gt(n_crashed, N_SEEDS, "too few crash with work in flight");
}

Test(sim_processes, a_seed_replays_exactly)
{
    size_t n_crashed = 0;
    for (uint64_t seed = 1000; seed < 1020; seed++)
        cr_expect_eq(play(seed, &n_crashed), play(seed, &n_crashed), "seed %d", (int)seed);
}
