/*
 * Random programs together and alone, on the simulated server: see programs/equivalence.h. Nothing
 * fails here but what the programs do wrong; the network's delays come from the seed.
 */
#include "equivalence.h"
#include "sim.h"

#include <criterion/criterion.h>

#include <string.h>

static sim_world **world_in(void *self)
{
    return self;
}

static void begin(void *self, uint64_t seed)
{
    sim_world *world = sim_create(seed);
    int64_t latency_us = 20 + (int64_t)sim_random(world, 500);
    sim_set_faults(world, &(sim_faults){.latency_min_us = latency_us,
                              .latency_max_us = latency_us + (int64_t)sim_random(world, 1000),
                              .split_per_mille = sim_random(world, 4) == 0 ? 200 : 0,
                              .stall_per_mille = sim_random(world, 2) == 0 ? 200 : 0,
                              .stall_max_us = 10 * SIM_MILLISECOND,
                              .short_send_per_mille = sim_random(world, 4) == 0 ? 200 : 0});
    *world_in(self) = world;
}

static void end(void *self)
{
    sim_destroy(*world_in(self));
}

static gavel_client *open_client(void *self, const gavel_config *config, bool is_blocking)
{
    sim_world *world = *world_in(self);
    return is_blocking ? sim_open_blocking(world, config) : sim_open(world, config);
}

static void pass(void *self)
{
    sim_world *world = *world_in(self);
    sim_run_for(world, (int64_t)sim_random(world, 3000));
}

typedef struct told_goal {
    const size_t *n_told;
    size_t n;
} told_goal;

static bool is_reached(sim_world *world, void *user)
{
    (void)world;
    const told_goal *goal = user;
    return *goal->n_told >= goal->n;
}

static void wait_until(void *self, const size_t *n_told, size_t n)
{
    told_goal goal = {n_told, n};
    cr_assert(sim_run_until(*world_in(self), is_reached, &goal, 60 * SIM_SECOND));
}

/* The simulator's replies have no NUL behind them. */
static const char *ask(void *self, const gavel_bytes *args, size_t n_args)
{
    static char reply[4096];
    gavel_bytes bytes = sim_do_args(*world_in(self), args, n_args);
    cr_assert_lt(bytes.size, sizeof reply);
    memcpy(reply, bytes.data, bytes.size);
    reply[bytes.size] = '\0';
    return reply;
}

static size_t count_keys(void *self)
{
    const sim_world *world = *world_in(self);
    size_t n = 0;
    for (size_t i = 0; i < sim_n_keys(world); i++)
        n += !equivalence_ignores(sim_key_at(world, i));
    return n;
}

Test(sim_equivalence, rounds_come_to_the_same_as_one_after_another)
{
    sim_world *world = NULL;
    equivalence_play_seeds(&(programs_world){.self = &world,
                               .begin = begin,
                               .end = end,
                               .open = open_client,
                               .pass = pass,
                               .wait = wait_until,
                               .ask = ask,
                               .count_keys = count_keys},
        1000);
}
