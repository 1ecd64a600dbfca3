/*
 * Clients of Sentinels on the simulator: primaries are killed, stopped, parted and replaced by
 * hand, with lost links besides. Nothing is done twice, nothing is done that was told not to be,
 * and a commit is only ever lost by a failover: then it is told so, and no other one is.
 *
 * GAVEL_SEEDS is the number of seeds, from GAVEL_FIRST_SEED on; one that fails is played alone with
 * GAVEL_SEED.
 */
#include "sim.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>

#define N_CLIENTS 2
#define N_SUBMITTED 400
#define MEAN_PAUSE_US (20 * SIM_MILLISECOND)

/* ---- One transaction: it leaves a mark of its own, and counts in a counter for all ----------- */

typedef struct deed {
    char mark[16];
    bool is_durable; /* all replicas are to have it before it is told */
    const sim_result *result;
} deed;

static gavel_verdict leave_mark(gavel_tx *tx, void *user)
{
    const deed *own = user;
    int64_t counted = 0;
    gavel_get_int(tx, GAVEL_STR("counter"), &counted);
    gavel_set_int(tx, GAVEL_STR("counter"), counted + 1);
    gavel_incr(tx, gavel_str(own->mark), 1);
    return GAVEL_COMMIT;
}

/* What one client was told to be lost. */
typedef struct losses {
    gavel_ticket tickets[N_SUBMITTED];
    size_t n;
} losses;

static void on_event(const gavel_event *event, void *user)
{
    losses *told = user;
    if (event->type != GAVEL_EVENT_LOST)
        return;
    cr_assert(event->user == NULL && event->ticket != 0 && told->n < N_SUBMITTED);
    told->tickets[told->n++] = event->ticket;
}

typedef struct play {
    sim_world *world;
    gavel_client *clients[N_CLIENTS];
    losses losses[N_CLIENTS]; /* of each */
    bool is_paused[N_CLIENTS];
    deed deeds[N_SUBMITTED];
    size_t n;
} play;

static play *open_play_with(uint64_t seed, const gavel_config *config)
{
    play *p = calloc(1, sizeof *p);
    cr_assert(p != NULL);
    p->world = sim_create(seed);
    sim_add_sentinels(p->world, NULL);
    gavel_config watched = config != NULL ? *config : (gavel_config){.loop = NULL};
    for (size_t i = 0; i < N_CLIENTS; i++) {
        watched.hooks = (gavel_hooks){.on_event = on_event, .user = &p->losses[i]};
        p->clients[i] = sim_open(p->world, &watched);
    }
    return p;
}

static play *open_play(uint64_t seed)
{
    return open_play_with(seed, NULL);
}

static void close_play(play *p)
{
    for (size_t i = 0; i < N_CLIENTS; i++)
        gavel_close(p->clients[i]);
    sim_destroy(p->world);
    free(p);
}

static const sim_result *submit(play *p, uint32_t deadline_ms)
{
    deed *own = &p->deeds[p->n++];
    snprintf(own->mark, sizeof own->mark, "mark:%zu", p->n);
    own->is_durable = sim_random(p->world, 4) == 0;
    own->result = sim_submit(p->world, p->clients[sim_random(p->world, N_CLIENTS)],
        &(gavel_transaction){.body = leave_mark,
            .user = own,
            .deadline_ms = deadline_ms,
            .min_replicas = own->is_durable ? GAVEL_ALL_REPLICAS : 0});
    return own->result;
}

static void submit_for(play *p, int64_t us, uint32_t least_deadline_ms)
{
    int64_t end_us = sim_now_us(p->world) + us;
    while (sim_now_us(p->world) < end_us && p->n < N_SUBMITTED) {
        submit(p, least_deadline_ms + (uint32_t)sim_random(p->world, 9000));
        sim_run_for(p->world, (int64_t)sim_random(p->world, 2 * MEAN_PAUSE_US));
    }
}

/* All is well again, all are told, and the Sentinels are of one mind. */
static void end_play(play *p)
{
    sim_set_faults(p->world, NULL);
    sim_stop_actors(p->world);
    for (size_t i = 0; i < N_CLIENTS; i++)
        sim_resume(p->world, p->clients[i]);
    cr_assert(sim_finish(p->world, 60 * SIM_SECOND));
    sim_run_for(p->world, 120 * SIM_SECOND);
    sim_choose(p->world, sim_primary(p->world));
}

/* How often it was told that the deed is lost. */
static size_t n_told_lost(const play *p, const deed *own)
{
    size_t n_told = 0;
    for (size_t i = 0; i < N_CLIENTS; i++) {
        if (p->clients[i] != own->result->client)
            continue;
        for (size_t j = 0; j < p->losses[i].n; j++)
            n_told += p->losses[i].tickets[j] == own->result->ticket;
    }
    return n_told;
}

/*
 * Returns how many of those that were told COMMITTED are not in the history that goes on. Each was
 * told to be lost, once, and no other one was; but where Sentinels have replaced a primary twice,
 * the second one may be of the history before the first, and what was lost is there again. So it is
 * where the only Sentinel that knew of a failover has forgotten it.
 */
static size_t judge(const play *p, int seed)
{
    int64_t n_marks = 0;
    size_t n_lost = 0;
    for (size_t i = 0; i < p->n; i++) {
        const deed *own = &p->deeds[i];
        gavel_status status = own->result->outcome.status;
        int64_t n_done = sim_get_int(p->world, own->mark);
        n_marks += n_done;
        cr_assert_leq(n_done, 1, "seed %d: %s was done twice", seed, own->mark);
        bool is_told = gavel_is_committed(&own->result->outcome);
        cr_assert(n_done == 0 || is_told || status == GAVEL_UNKNOWN,
            "seed %d: %s was done, and told %s: %s", seed, own->mark, gavel_status_name(status),
            own->result->outcome.message);
        size_t is_lost = n_done == 0 && is_told;
        bool is_undone = sim_get_counters(p->world)->n_failovers > 1 || sim_epoch(p->world) == 0;
        bool may_return = is_undone && n_done == 1;
        cr_assert(n_told_lost(p, own) == is_lost || (may_return && n_told_lost(p, own) == 1),
            "seed %d: %s is lost: %zu, told so: %zu", seed, own->mark, is_lost,
            n_told_lost(p, own));
        cr_assert(!is_lost || !own->is_durable || status != GAVEL_COMMITTED,
            "seed %d: %s is lost, and all replicas had it", seed, own->mark);
        n_lost += is_lost;
    }
    cr_assert_eq(sim_get_int(p->world, "counter"), n_marks, "seed %d", seed);
    return n_lost;
}

/* ---- One failover -------------------------------------------------------------------------- */

/* When it was in service again, in ms since the failover began. From the first 60 ms on it
 * was not. */
static int64_t first_commit_ms(const play *p, int64_t begun_us)
{
    int64_t from_us = begun_us + 60 * SIM_MILLISECOND;
    int64_t first_us = INT64_MAX;
    for (size_t i = 0; i < p->n; i++) {
        const sim_result *result = p->deeds[i].result;
        if (result->outcome.status == GAVEL_COMMITTED && result->done_at_us > from_us &&
            result->done_at_us < first_us)
            first_us = result->done_at_us;
    }
    return (first_us - begun_us) / SIM_MILLISECOND;
}

/* Of those that did not wish to wait for replicas, which may take longer than they have. */
static size_t n_not_committed(const play *p)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++) {
        const deed *own = &p->deeds[i];
        n += !own->is_durable && own->result->outcome.status != GAVEL_COMMITTED;
    }
    return n;
}

typedef void happening(sim_world *world);

static void play_failover_with(
    const gavel_config *config, happening *happen, int64_t latest_ms, size_t max_lost)
{
    for (int seed = 0; seed < 20; seed++) {
        play *p = open_play_with((uint64_t)seed, config);
        submit_for(p, 2 * SIM_SECOND, 10000);
        int64_t begun_us = sim_now_us(p->world);
        happen(p->world);
        submit_for(p, 4 * SIM_SECOND, 10000);
        end_play(p);
        size_t n_lost = judge(p, seed);
        cr_assert_leq(n_lost, max_lost, "seed %d: %d commits lost", seed, (int)n_lost);
        cr_expect_eq(n_not_committed(p), 0, "seed %d", seed);
        cr_expect_eq(sim_epoch(p->world), 1);
        int64_t first_ms = first_commit_ms(p, begun_us);
        cr_expect_leq(first_ms, latest_ms, "seed %d: after %d ms", seed, (int)first_ms);
        close_play(p);
    }
}

static void play_failover(happening *happen, int64_t latest_ms, size_t max_lost)
{
    play_failover_with(NULL, happen, latest_ms, max_lost);
}

static void kill_primary(sim_world *world)
{
    sim_restart(world, 30 * SIM_SECOND, true);
}

static void stop_primary(sim_world *world)
{
    sim_silence(world, 5 * SIM_SECOND);
}

static void replace_primary(sim_world *world)
{
    sim_choose(world, 4);
    sim_do(world, "SENTINEL FAILOVER mymaster");
}

Test(sim_failover, a_killed_primary_costs_no_commit)
{
    play_failover(kill_primary, 2700, 0);
}

Test(sim_failover, a_stopped_primary_costs_no_commit)
{
    play_failover(stop_primary, 3700, 0);
}

/* But for those of the moment until the Sentinel that replaces it is asked again. */
Test(sim_failover, a_replaced_primary_costs_few_commits)
{
    play_failover(replace_primary, 1500, 15);
}

static const gavel_config eager = {.is_failover_eager = true};

Test(sim_failover, who_is_eager_does_not_wait_until_a_killed_primary_is_replaced)
{
    play_failover_with(&eager, kill_primary, 1700, 0);
}

Test(sim_failover, who_is_eager_does_not_wait_until_a_stopped_primary_is_replaced)
{
    play_failover_with(&eager, stop_primary, 2700, 0);
}

Test(sim_failover, who_is_eager_does_not_wait_until_a_primary_is_replaced_by_hand)
{
    play_failover_with(&eager, replace_primary, 500, 15);
}

/* The Sentinel that has promoted a replica is killed before it names it, or stands still: the old
 * primary goes on, and what was committed meanwhile is lost. */
static size_t play_given_up(int seed, bool is_killed)
{
    play *p = open_play_with((uint64_t)seed, &eager);
    submit_for(p, SIM_SECOND, 20000);
    replace_primary(p->world);
    submit_for(p, 400 * SIM_MILLISECOND, 20000);
    if (is_killed)
        sim_restart(p->world, 20 * SIM_SECOND, true);
    else
        sim_silence(p->world, 20 * SIM_SECOND);
    submit_for(p, 4 * SIM_SECOND, 20000);
    end_play(p);
    size_t n_lost = judge(p, seed);
    cr_expect_eq(n_not_committed(p), 0, "seed %d", seed);
    close_play(p);
    return n_lost;
}

Test(sim_failover, a_failover_that_is_given_up_loses_what_was_committed_eagerly)
{
    size_t n_lost[2] = {0, 0};
    for (int seed = 0; seed < 20; seed++) {
        for (int i = 0; i < 2; i++)
            n_lost[i] += play_given_up(seed, i == 0);
    }
    cr_expect(
        n_lost[0] > 0 && n_lost[1] > 0, "nothing was lost: %d, %d", (int)n_lost[0], (int)n_lost[1]);
}

/* One that the primary has lost sight of, when the client comes, and that takes its place later. */
Test(sim_failover, a_replica_that_is_not_connected_is_one_of_all)
{
    size_t n_lost = 0;
    for (int seed = 0; seed < 20; seed++) {
        play *p = open_play((uint64_t)seed);
        sim_set_priority(p->world, 2, 50);
        sim_choose(p->world, 2);
        sim_restart(p->world, 100 * SIM_MILLISECOND, true);
        sim_choose(p->world, 0);
        sim_partition(p->world, SIM_MACHINE(0), SIM_MACHINE(2), 30 * SIM_SECOND);
        submit_for(p, 2 * SIM_SECOND, 10000);
        sim_restart(p->world, 30 * SIM_SECOND, true);
        submit_for(p, 4 * SIM_SECOND, 10000);
        end_play(p);
        n_lost += judge(p, seed);
        close_play(p);
    }
    cr_expect_gt(n_lost, 0, "the one that is behind did not take its place");
}

/* Whoever waits at a gate meanwhile sleeps: the simulator does not put up with anything else. */
Test(sim_failover, while_no_primary_is_believed_nobody_spins)
{
    play *p = open_play_with(1, &(gavel_config){.mode = GAVEL_GATED});
    sim_set_faults(p->world, &(sim_faults){.latency_min_us = 5 * SIM_MILLISECOND,
                                 .latency_max_us = 9 * SIM_MILLISECOND});
    for (int i = 0; i < 6; i++) {
        sim_partition(p->world, SIM_ALL_CLIENTS, SIM_MACHINE(3) | SIM_MACHINE(4), 3 * SIM_SECOND);
        submit_for(p, SIM_SECOND, 10000);
        sim_run_for(p->world, 3 * SIM_SECOND);
    }
    end_play(p);
    cr_expect_eq(judge(p, 1), 0);
    close_play(p);
}

/* ---- Anything ------------------------------------------------------------------------------ */

/* A client stops, or goes on; its machine, and some of the servers', lose sight of the others; a
 * Sentinel forgets all that it has heard, or replaces the primary. */
static void disturb(sim_world *world, void *user)
{
    play *p = user;
    size_t i = (size_t)sim_random(world, N_CLIENTS);
    int64_t us = (int64_t)sim_random(world, 4 * SIM_SECOND);
    sim_machines some = sim_random(world, 64);
    size_t before;
    switch (sim_random(world, 4)) {
    case 0:
        p->is_paused[i] = !p->is_paused[i];
        (p->is_paused[i] ? sim_pause : sim_resume)(world, p->clients[i]);
        break;
    case 1:
        sim_partition(
            world, some | sim_machine_of(world, p->clients[i]), SIM_ALL_SERVERS & ~some, us);
        break;
    case 2:
        before = sim_choose(world, 3 + (size_t)sim_random(world, 3));
        sim_restart(world, us, false);
        sim_choose(world, before);
        break;
    default:
        before = sim_choose(world, 3 + (size_t)sim_random(world, 3));
        sim_do(world, "SENTINEL FAILOVER mymaster");
        sim_choose(world, before);
    }
}

static void play_anything(int seed)
{
    play *p = open_play_with((uint64_t)seed, seed % 2 == 1 ? &eager : NULL);
    sim_faults faults = sim_draw_faults(p->world);
    for (size_t i = 1; i <= 2; i++)
        sim_set_lag(p->world, i, 100, (int64_t)sim_random(p->world, 50 * SIM_MILLISECOND) + 100);
    submit_for(p, SIM_SECOND, 1000);
    sim_set_faults(p->world, &faults);
    if (sim_random(p->world, 2) == 0)
        sim_add_actor(p->world, 3 * SIM_SECOND, disturb, p);
    submit_for(p, 60 * SIM_SECOND, 1000);
    end_play(p);
    size_t n_lost = judge(p, seed);
    cr_assert(n_lost == 0 || sim_get_counters(p->world)->n_failovers > 0, "seed %d", seed);
    if (getenv("GAVEL_SEED") != NULL)
        printf("seed %d: %zu lost, %zu committed, %zu unknown\n", seed, n_lost,
            sim_n_results_with(p->world, GAVEL_COMMITTED),
            sim_n_results_with(p->world, GAVEL_UNKNOWN));
    close_play(p);
}

Test(sim_failover, nothing_is_done_twice_or_told_wrongly)
{
    sim_seeds seeds = sim_choose_seeds(60);
    for (int seed = seeds.first; seed < seeds.end; seed++)
        play_anything(seed);
}
