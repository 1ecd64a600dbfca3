/*
 * Clients of a Cluster on the simulator: counters all over the slots come out exact, whatever
 * becomes of slots, nodes and links.
 *
 * GAVEL_SEEDS is the number of seeds; one that fails is played alone with GAVEL_SEED.
 */
#include "sim.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_COUNTERS 8
#define N_SUBMITTED 200

/* It leaves a mark of its own, and counts in a counter for all that it shares a slot with. */
typedef struct deed {
    char counter[32];
    char mark[32];
    const sim_result *result;
    bool is_told_lost;
} deed;

typedef struct play {
    sim_world *world;
    gavel_client *client;
    deed deeds[N_SUBMITTED];
    size_t n;
    gavel_ticket lost[N_SUBMITTED];
    size_t n_lost;
} play;

static gavel_verdict leave_mark(gavel_tx *tx, void *user)
{
    const deed *own = user;
    int64_t counted = 0;
    gavel_get_int(tx, gavel_str(own->counter), &counted);
    gavel_set_int(tx, gavel_str(own->counter), counted + 1);
    gavel_incr(tx, gavel_str(own->mark), 1);
    return GAVEL_COMMIT;
}

static void on_event(const gavel_event *event, void *user)
{
    play *p = user;
    if (event->type == GAVEL_EVENT_LOST)
        p->lost[p->n_lost++] = event->ticket;
}

static void submit(play *p)
{
    deed *own = &p->deeds[p->n++];
    int place = (int)sim_random(p->world, N_COUNTERS);
    snprintf(own->counter, sizeof own->counter, "{%d}:counter", place);
    snprintf(own->mark, sizeof own->mark, "{%d}:mark:%zu", place, p->n);
    gavel_read read = {.key = gavel_str(own->counter)};
    bool is_declared = sim_random(p->world, 2) == 0;
    own->result = sim_submit(p->world, p->client,
        &(gavel_transaction){.body = leave_mark,
            .user = own,
            .reads = is_declared ? &read : NULL,
            .n_reads = is_declared ? 1 : 0,
            .deadline_ms = 20000});
}

static void note_losses(play *p)
{
    for (size_t i = 0; i < p->n_lost; i++) {
        for (size_t j = 0; j < p->n; j++)
            p->deeds[j].is_told_lost |= p->deeds[j].result->ticket == p->lost[i];
    }
}

/* Each is there once, if it was told so; not at all, if it was told so, or told to be lost. */
static size_t check(play *p, int seed)
{
    size_t n_bad = 0;
    note_losses(p);
    for (size_t i = 0; i < p->n; i++) {
        const deed *own = &p->deeds[i];
        const gavel_outcome *outcome = &own->result->outcome;
        sim_choose_by_key(p->world, own->mark);
        long long found = sim_get_int(p->world, own->mark);
        long long least = outcome->status == GAVEL_COMMITTED && !own->is_told_lost;
        long long most = (outcome->status == GAVEL_COMMITTED && !own->is_told_lost) ||
                         outcome->status == GAVEL_UNKNOWN;
        if (found >= least && found <= most)
            continue;
        n_bad++;
        cr_expect(false, "seed %d: %s is %lld, told %s (%s)%s", seed, own->mark, found,
            gavel_status_name(outcome->status), outcome->message,
            own->is_told_lost ? ", and lost" : "");
    }
    return n_bad;
}

static play *open_play(uint64_t seed)
{
    play *p = calloc(1, sizeof *p);
    cr_assert(p != NULL);
    p->world = sim_create(seed);
    sim_add_cluster(p->world, &(sim_cluster){.n_replicas = 1});
    p->client = sim_open(p->world, &(gavel_config){.hooks = {.on_event = on_event, .user = p}});
    return p;
}

static void close_play(play *p)
{
    gavel_close(p->client);
    sim_destroy(p->world);
    free(p);
}

Test(sim_slots, counters_on_all_nodes)
{
    play *p = open_play(1);
    while (p->n < N_SUBMITTED) {
        submit(p);
        sim_run_for(p->world, (int64_t)sim_random(p->world, 2000));
    }
    cr_assert(sim_finish(p->world, 60 * SIM_SECOND));
    for (size_t j = 0; j < p->n; j++)
        cr_expect_eq(p->deeds[j].result->outcome.status, GAVEL_COMMITTED, "%s",
            p->deeds[j].result->outcome.message);
    cr_expect_eq(check(p, 1), 0);
    close_play(p);
}

static int from_environment(const char *name, int otherwise)
{
    const char *text = getenv(name);
    return text != NULL && text[0] != '\0' ? atoi(text) : otherwise;
}

/* Slots wander, or replicas take over; where both happen at once is a play of its own. */
static sim_faults draw(sim_world *world)
{
    sim_faults faults = sim_draw_faults(world);
    bool do_wander = sim_random(world, 2) == 0;
    faults.move_every_us = do_wander ? 200 * SIM_MILLISECOND : 0;
    faults.failover_every_us = do_wander ? 0 : 3 * SIM_SECOND;
    if (do_wander)
        faults.restart_every_us = 0;
    return faults;
}

static void play_anything(int seed)
{
    play *p = open_play((uint64_t)seed);
    sim_faults faults = draw(p->world);
    sim_set_faults(p->world, &faults);
    while (p->n < N_SUBMITTED) {
        submit(p);
        sim_run_for(p->world, (int64_t)sim_random(p->world, 100 * SIM_MILLISECOND));
    }
    sim_set_faults(p->world, NULL);
    cr_assert(sim_finish(p->world, 60 * SIM_SECOND), "seed %d", seed);
    sim_run_for(p->world, 120 * SIM_SECOND);
    size_t n_bad = check(p, seed);
    const sim_counters *counters = sim_get_counters(p->world);
    if (getenv("GAVEL_SEED") != NULL || n_bad > 0)
        printf("seed %d: %zu committed, %zu unknown, %zu lost; %d moves, %d failovers\n", seed,
            sim_n_results_with(p->world, GAVEL_COMMITTED),
            sim_n_results_with(p->world, GAVEL_UNKNOWN), p->n_lost, (int)counters->n_moves,
            (int)counters->n_failovers);
    close_play(p);
}

Test(sim_slots, counters_are_exact_whatever_happens)
{
    int only = from_environment("GAVEL_SEED", -1);
    int n_seeds = from_environment("GAVEL_SEEDS", 40);
    for (int seed = only >= 0 ? only : 0; seed < (only >= 0 ? only + 1 : n_seeds); seed++)
        play_anything(seed);
}
