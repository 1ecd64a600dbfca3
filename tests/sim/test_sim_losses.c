/*
 * A server that crashes and comes again with an older state of its data, as with an RDB file or an
 * append-only file that is written once a second: which of the commits that were told are lost is
 * told, exactly.
 *
 * GAVEL_SEEDS is the number of seeds, from GAVEL_FIRST_SEED on; one that fails is played alone with
 * GAVEL_SEED.
 */
#include "sim.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>

#define N_CLIENTS 2
#define N_SUBMITTED 200

typedef struct deed {
    char mark[16];
    const char *key; /* that it reads and writes as well, with others */
    const sim_result *result;
} deed;

typedef struct losses {
    gavel_ticket tickets[N_SUBMITTED];
    size_t n;
} losses;

typedef struct play {
    sim_world *world;
    gavel_client *clients[N_CLIENTS];
    losses losses[N_CLIENTS];
    deed deeds[N_SUBMITTED];
    size_t n;
    int seed;
} play;

static void on_event(const gavel_event *event, void *user)
{
    losses *told = user;
    if (event->type != GAVEL_EVENT_LOST)
        return;
    cr_assert(event->user == NULL && event->ticket != 0 && told->n < N_SUBMITTED);
    told->tickets[told->n++] = event->ticket;
}

static gavel_verdict leave_mark(gavel_tx *tx, void *user)
{
    const deed *own = user;
    int64_t counted = 0;
    gavel_get_int(tx, gavel_str(own->key), &counted);
    gavel_set_int(tx, gavel_str(own->key), counted + 1);
    gavel_incr(tx, gavel_str(own->mark), 1);
    return GAVEL_COMMIT;
}

static play *open_play(int seed)
{
    play *p = calloc(1, sizeof *p);
    cr_assert(p != NULL);
    p->seed = seed;
    p->world = sim_create((uint64_t)seed);
    for (size_t i = 0; i < N_CLIENTS; i++)
        p->clients[i] = sim_open(
            p->world, &(gavel_config){.hooks = {.on_event = on_event, .user = &p->losses[i]}});
    return p;
}

static void close_play(play *p)
{
    for (size_t i = 0; i < N_CLIENTS; i++)
        gavel_close(p->clients[i]);
    sim_destroy(p->world);
    free(p);
}

static void submit(play *p)
{
    static const char *const keys[] = {"a", "b", "c"};
    deed *own = &p->deeds[p->n++];
    snprintf(own->mark, sizeof own->mark, "mark:%zu", p->n);
    own->key = keys[sim_random(p->world, 3)];
    own->result = sim_submit(p->world, p->clients[sim_random(p->world, N_CLIENTS)],
        &(gavel_transaction){.body = leave_mark, .user = own, .deadline_ms = 3000});
}

static size_t n_told_lost(const play *p, const deed *own)
{
    size_t n_told = 0;
    for (size_t i = 0; i < N_CLIENTS; i++) {
        for (size_t j = 0; j < p->losses[i].n; j++)
            n_told += p->clients[i] == own->result->client &&
                      p->losses[i].tickets[j] == own->result->ticket;
    }
    return n_told;
}

/* Returns how many are lost. Those that were told so are those, each once. */
static size_t judge(const play *p)
{
    size_t n_lost = 0;
    for (size_t i = 0; i < p->n; i++) {
        const deed *own = &p->deeds[i];
        gavel_status status = own->result->outcome.status;
        int64_t n_done = sim_get_int(p->world, own->mark);
        cr_assert_leq(n_done, 1, "seed %d: %s was done twice", p->seed, own->mark);
        cr_assert(n_done == 0 || status == GAVEL_COMMITTED || status == GAVEL_UNKNOWN,
            "seed %d: %s was done, and told %s: %s", p->seed, own->mark, gavel_status_name(status),
            own->result->outcome.message);
        size_t is_lost = n_done == 0 && status == GAVEL_COMMITTED;
        cr_assert_eq(n_told_lost(p, own), is_lost, "seed %d: %s is lost: %zu, told so: %zu",
            p->seed, own->mark, is_lost, n_told_lost(p, own));
        n_lost += is_lost;
    }
    gavel_stats stats;
    uint64_t n_counted = 0;
    for (size_t i = 0; i < N_CLIENTS; i++) {
        gavel_read_stats(p->clients[i], &stats);
        n_counted += stats.n_lost;
    }
    cr_assert_eq(n_counted, n_lost);
    return n_lost;
}

static void end_play(play *p)
{
    sim_set_faults(p->world, NULL);
    sim_stop_actors(p->world);
    cr_assert(sim_finish(p->world, 60 * SIM_SECOND));
    sim_run_for(p->world, 10 * SIM_SECOND); /* links that nobody needs are found dead, too */
}

/* ---- One crash ----------------------------------------------------------------------------- */

Test(sim_losses, a_crash_tells_what_was_not_saved)
{
    play *p = open_play(1);
    for (size_t i = 0; i < 60; i++) {
        if (i == 40)
            sim_save(p->world);
        submit(p);
        sim_run_for(p->world, 10 * SIM_MILLISECOND);
    }
    sim_restart(p->world, SIM_SECOND, false);
    end_play(p);
    cr_assert_eq(judge(p), 20);
    close_play(p);
}

/* Nobody has anything to do: it is told all the same. */
Test(sim_losses, a_restart_that_keeps_its_data_tells_nothing)
{
    play *p = open_play(1);
    for (size_t i = 0; i < 60; i++) {
        submit(p);
        sim_run_for(p->world, 10 * SIM_MILLISECOND);
    }
    sim_restart(p->world, SIM_SECOND, true);
    end_play(p);
    cr_assert_eq(judge(p), 0);
    close_play(p);
}

/* ---- Anything ------------------------------------------------------------------------------ */

static void save(sim_world *world, void *user)
{
    (void)user;
    sim_save(world);
}

static size_t play_anything(int seed)
{
    play *p = open_play(seed);
    sim_faults faults = sim_draw_faults(p->world);
    faults.restart_every_us = SIM_SECOND / 2;
    faults.forget_per_mille = 600;
    sim_set_faults(p->world, &faults);
    sim_add_actor(p->world, 1 + (int64_t)sim_random(p->world, 500 * SIM_MILLISECOND), save, NULL);
    while (p->n < N_SUBMITTED) {
        submit(p);
        sim_run_for(p->world, (int64_t)sim_random(p->world, 20 * SIM_MILLISECOND));
    }
    end_play(p);
    size_t n_lost = judge(p);
    close_play(p);
    return n_lost;
}

Test(sim_losses, what_is_lost_is_told_and_nothing_else)
{
    sim_seeds seeds = sim_choose_seeds(200);
    size_t n_lost = 0;
    for (int seed = seeds.first; seed < seeds.end; seed++)
        n_lost += play_anything(seed);
    cr_assert(
        seeds.is_one || n_lost > (size_t)(seeds.end - seeds.first), "only %zu are lost", n_lost);
}
