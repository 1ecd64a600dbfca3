/*
 * Gates between clients of several processes, in random worlds: is every update kept, is nobody
 * forgotten, and does a gate find back to one holder whatever was done to its keys?
 *
 * GAVEL_SEEDS is how many seeds to play, 200 for the few that are played without it, since
 * these worlds are long; one that fails is played alone with GAVEL_SEED.
 */
#include "sim_crowd.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>

static int from_environment(const char *name, int fallback)
{
    const char *text = getenv(name);
    return text != NULL ? atoi(text) : fallback;
}

typedef void seed_player(int seed);

static void play_seeds(seed_player *play, int n_default)
{
    int only = from_environment("GAVEL_SEED", -1);
    if (only >= 0) {
        play(only);
        return;
    }
    int n_seeds = n_default * from_environment("GAVEL_SEEDS", 200) / 200;
    for (int seed = 0; seed < n_seeds; seed++)
        play(seed);
}

/* For people, with GAVEL_SHOW. */
static void show(const crowd *c)
{
    if (getenv("GAVEL_SHOW") == NULL)
        return;
    size_t n_told[GAVEL_COMMITTED_NOT_DURABLE + 1] = {0};
    size_t n_gated = 0;
    size_t n_lost = 0;
    for (size_t i = 0; i < c->n_deeds; i++) {
        n_lost += c->deeds[i]->is_lost;
        n_told[c->deeds[i]->outcome.status] += c->deeds[i]->n_told > 0;
        n_gated += c->deeds[i]->outcome.is_gated;
    }
    fprintf(stderr, "seed %d: %zu deeds, %zu gated, %zu lost, stall %d us, tokens %zu;",
        (int)c->config.seed, c->n_deeds, n_gated, n_lost, (int)c->longest_stall_us,
        crowd_n_tokens(c, 0));
    for (int i = 0; i <= GAVEL_COMMITTED_NOT_DURABLE; i++)
        fprintf(stderr, " %zu %s", n_told[i], gavel_status_name((gavel_status)i));
    fprintf(stderr, "\n");
}

static gavel_config any_mode(sim_world *world)
{
    static const gavel_mode modes[] = {
        GAVEL_GATED, GAVEL_GATED, GAVEL_ADAPTIVE, GAVEL_ADAPTIVE, GAVEL_OPTIMISTIC};
    return (gavel_config){.mode = modes[sim_random(world, 5)],
        .max_links = 1 + (uint32_t)sim_random(world, 2),
        .max_gate_links = 1 + (uint32_t)sim_random(world, 3),
        .has_no_markers = sim_random(world, 4) == 0};
}

/* ---- Storms -------------------------------------------------------------------------------- */

/* What somebody does to the keys of a gate, by hand. */
static const char *const meddlings[] = {
    "DEL gavel:gate:{%s}",
    "SET gavel:gate:{%s} somebody PX 60",
    "SET gavel:gate:{%s} 0123456789abcdef PX 150",
    "PEXPIRE gavel:gate:{%s} 1",
    "RPUSH gavel:queue:{%s} 1",
    "RPUSH gavel:queue:{%s} x y z",
    "LPOP gavel:queue:{%s}",
    "DEL gavel:queue:{%s}",
    "DEL gavel:queue:{%s} gavel:gate:{%s}",
    "SET gavel:queue:{%s} text PX 80",
};

static void meddle(sim_world *world, void *user)
{
    const crowd *c = user;
    char key[8];
    char line[128];
    snprintf(key, sizeof key, "hot%d", (int)sim_random(world, c->config.n_keys));
    const char *meddling = meddlings[sim_random(world, sizeof meddlings / sizeof *meddlings)];
    snprintf(line, sizeof line, meddling, key, key);
    sim_do(world, line);
}

static void intrude(sim_world *world, void *user)
{
    crowd *c = user;
    crowd_intrude(c, sim_random(world, c->config.n_keys));
}

static void kill_or_pause(sim_world *world, void *user)
{
    crowd *c = user;
    for (size_t i = 0; i < c->n_members; i++) {
        if (c->members[i].is_paused && sim_random(world, 2) != 0)
            crowd_pause(c, &c->members[i], false);
    }
    crowd_member *member = crowd_anybody(c);
    size_t n_alive = 0;
    for (size_t i = 0; i < c->n_members; i++)
        n_alive += !c->members[i].is_dead;
    if (member == NULL)
        return;
    if (sim_random(world, 3) != 0)
        crowd_pause(c, member, true);
    else if (n_alive > 1)
        crowd_kill(c, member, sim_random(world, 2) != 0 ? 30 * SIM_SECOND : 0);
}

static void break_one(sim_world *world, void *user)
{
    (void)user;
    uint64_t n = sim_get_counters(world)->n_connections;
    if (n == 0)
        return;
    uint64_t connection = 1 + sim_random(world, n);
    if (sim_random(world, 2) != 0)
        sim_kill(world, connection);
    else
        sim_break(world, connection, sim_random(world, 200),
            (int64_t)sim_random(world, 2) * 300 * SIM_MILLISECOND);
}

static void refuse_one(sim_world *world, void *user)
{
    (void)user;
    static const char *const commands[] = {"RPUSH", "BLPOP", "LPOP", "PEXPIRE", "SET", "GET"};
    sim_disarm(world);
    if (sim_random(world, 2) != 0)
        return;
    sim_refuse(world, &(sim_refusal){.command = commands[sim_random(world, 6)],
                          .n_times = 1 + (uint32_t)sim_random(world, 4),
                          .error = "NOPERM this user has no permissions to run it"});
}

/* What goes on in a world; each of these or not. */
static void add_troubles(crowd *c)
{
    sim_world *world = c->world;
    if (sim_random(world, 2) != 0) {
        sim_faults faults = sim_draw_faults(world);
        sim_set_faults(world, &faults);
    }
    if (sim_random(world, 2) != 0)
        sim_add_actor(world, 3 * SIM_MILLISECOND, meddle, c);
    if (sim_random(world, 2) != 0)
        sim_add_actor(world, 2 * SIM_MILLISECOND, intrude, c);
    if (sim_random(world, 2) != 0)
        sim_add_actor(world, 60 * SIM_MILLISECOND, kill_or_pause, c);
    if (sim_random(world, 2) != 0)
        sim_add_actor(world, 30 * SIM_MILLISECOND, break_one, c);
    if (sim_random(world, 3) == 0)
        sim_add_actor(world, 30 * SIM_MILLISECOND, refuse_one, c);
}

static void play_storm(int seed)
{
    crowd *c = crowd_create(&(crowd_config){.seed = (uint64_t)seed,
        .n_keys = 1 + (size_t)seed % 3,
        .several = 400,
        .deadline_ms = 1500,
        .pause_us = 2 * SIM_MILLISECOND});
    size_t n_clients = 2 + sim_random(c->world, 5);
    for (size_t i = 0; i < n_clients; i++) {
        gavel_config config = any_mode(c->world);
        crowd_join(c, &config, 1 + sim_random(c->world, 3));
    }
    add_troubles(c);
    crowd_play(c, 400 * SIM_MILLISECOND);
    crowd_calm(c);
    crowd_play(c, 10 * CROWD_LEASE_US);
    c->longest_stall_us = 0;
    crowd_play(c, 4 * CROWD_LEASE_US);
    /* A connection that was given up may still stand in the queue: it costs a lease. */
    cr_expect_leq(c->longest_stall_us, 2 * CROWD_LEASE_US + 5 * SIM_MILLISECOND,
        "seed %d: long after all trouble nobody committed for %d us", seed,
        (int)c->longest_stall_us);
    show(c);
    cr_expect(crowd_leave(c, 3 * SIM_SECOND), "seed %d: not all were told", seed);
    sim_run_for(c->world, 3 * SIM_SECOND); /* what is late arrives, too */
    crowd_judge(c);
    crowd_destroy(c);
}

Test(sim_gates, no_update_is_lost_and_nobody_is_forgotten)
{
    play_seeds(play_storm, 12);
}

/* ---- Deaths -------------------------------------------------------------------------------- */

static gavel_config gated_or_adaptive(int seed)
{
    return (gavel_config){.mode = seed % 2 != 0 ? GAVEL_GATED : GAVEL_ADAPTIVE};
}

static void die_and_be_replaced(crowd *c)
{
    crowd_member *member = crowd_anybody(c);
    gavel_config config = gated_or_adaptive((int)c->config.seed);
    cr_assert_not_null(member);
    crowd_kill(c, member, sim_random(c->world, 2) != 0 ? 60 * SIM_SECOND : 0);
    crowd_join(c, &config, 1);
}

/* One dies at a time, and the others are held up for no more than two leases. */
static void play_deaths(int seed)
{
    crowd *c = crowd_create(&(crowd_config){.seed = (uint64_t)seed});
    size_t n_clients = 2 + sim_random(c->world, 5);
    gavel_config config = gated_or_adaptive(seed);
    for (size_t i = 0; i < n_clients; i++)
        crowd_join(c, &config, 1 + sim_random(c->world, 3));
    for (int i = 0; i < 4; i++) {
        crowd_play(c, 2 * CROWD_LEASE_US + (int64_t)sim_random(c->world, 5 * SIM_MILLISECOND));
        die_and_be_replaced(c);
    }
    crowd_play(c, 3 * CROWD_LEASE_US);
    show(c);
    cr_expect_leq(c->longest_stall_us, 2 * CROWD_LEASE_US + 5 * SIM_MILLISECOND,
        "seed %d: nobody committed for %d us", seed, (int)c->longest_stall_us);
    cr_expect(crowd_leave(c, 3 * SIM_SECOND), "seed %d: not all were told", seed);
    crowd_judge(c);
    crowd_destroy(c);
}

Test(sim_gates, who_dies_holds_others_up_for_two_leases_at_most)
{
    play_seeds(play_deaths, 4);
}

/* ---- Tokens too many ----------------------------------------------------------------------- */

static void play_surplus(int seed)
{
    crowd *c = crowd_create(&(crowd_config){.seed = (uint64_t)seed});
    size_t n_clients = 2 + sim_random(c->world, 5);
    gavel_config config = gated_or_adaptive(seed);
    for (size_t i = 0; i < n_clients; i++)
        crowd_join(c, &config, 1 + sim_random(c->world, 3));
    crowd_play(c, 20 * SIM_MILLISECOND);
    size_t n_extra = 1 + sim_random(c->world, 6);
    for (size_t i = 0; i < n_extra; i++) {
        sim_do(c->world, "RPUSH gavel:queue:{hot0} 1");
        if (sim_random(c->world, 2) != 0)
            crowd_play(c, (int64_t)sim_random(c->world, 3000));
        if (sim_random(c->world, 4) == 0)
            sim_do(c->world, "DEL gavel:gate:{hot0}");
    }
    show(c);
    crowd_play(c, 5 * CROWD_LEASE_US);
    size_t most = 0;
    for (int i = 0; i < 400; i++) {
        crowd_play(c, 100);
        size_t n_tokens = crowd_n_tokens(c, 0);
        most = n_tokens > most ? n_tokens : most;
    }
    cr_expect_leq(most, 1, "seed %d: %d tokens and holders, of %d clients, after %d too many", seed,
        (int)most, (int)n_clients, (int)n_extra);
    cr_expect(crowd_leave(c, 3 * SIM_SECOND), "seed %d: not all were told", seed);
    crowd_judge(c);
    crowd_destroy(c);
}

Test(sim_gates, tokens_too_many_die_out)
{
    play_seeds(play_surplus, 6);
}

/* ---- Several gates ------------------------------------------------------------------------- */

/* Deeds on several keys in all orders: as if in cycles. Nobody waits for a lease. */
static void play_cycles(int seed)
{
    crowd *c = crowd_create(
        &(crowd_config){.seed = (uint64_t)seed, .n_keys = 2 + (size_t)seed % 9, .several = 700});
    size_t n_clients = 2 + sim_random(c->world, 4);
    for (size_t i = 0; i < n_clients; i++)
        crowd_join(c,
            &(gavel_config){
                .mode = GAVEL_GATED, .max_gate_links = 1 + (uint32_t)sim_random(c->world, 4)},
            1 + sim_random(c->world, 4));
    crowd_play(c, 300 * SIM_MILLISECOND);
    show(c);
    cr_expect_leq(c->longest_stall_us, CROWD_LEASE_US / 2, "seed %d: nobody committed for %d us",
        seed, (int)c->longest_stall_us);
    cr_expect(crowd_leave(c, 3 * SIM_SECOND), "seed %d: not all were told", seed);
    crowd_judge(c);
    crowd_destroy(c);
}

Test(sim_gates, several_gates_in_all_orders_do_not_block_each_other)
{
    play_seeds(play_cycles, 9);
}

/* ---- Cost ---------------------------------------------------------------------------------- */

typedef struct costs {
    double commands; /* a commit */
    double attempts;
    double commits_per_second;
    double unfairness; /* the most commits of a client by the least */
    double gated;
} costs;

/* Forgets what was counted while the crowd found its way. */
static void count_anew(crowd *c)
{
    for (size_t i = 0; i < c->n_callers; i++) {
        c->callers[i].n_committed = 0;
        c->callers[i].n_attempts = 0;
        c->callers[i].n_gated = 0;
    }
    for (size_t i = 0; i < c->n_members; i++)
        c->members[i].n_committed = 0;
}

static costs costs_of(const crowd *c, uint64_t n_commands)
{
    double n_commits = 0;
    double n_attempts = 0;
    double n_gated = 0;
    for (size_t i = 0; i < c->n_callers; i++) {
        n_commits += (double)c->callers[i].n_committed;
        n_attempts += (double)c->callers[i].n_attempts;
        n_gated += (double)c->callers[i].n_gated;
    }
    uint64_t least = UINT64_MAX;
    uint64_t most = 0;
    for (size_t i = 0; i < c->n_members; i++) {
        uint64_t n = c->members[i].n_committed;
        least = n < least ? n : least;
        most = n > most ? n : most;
    }
    return (costs){(double)n_commands / n_commits, n_attempts / n_commits, 4 * n_commits,
        (double)most / (double)least, n_gated / n_commits};
}

static costs measure(gavel_mode mode, size_t n_clients, size_t n_callers)
{
    crowd *c = crowd_create(&(crowd_config){.seed = 1, .is_lean = true});
    for (size_t i = 0; i < n_clients; i++)
        crowd_join(c, &(gavel_config){.mode = mode, .has_no_markers = true}, n_callers);
    crowd_play(c, 200 * SIM_MILLISECOND);
    count_anew(c);
    uint64_t n_commands = sim_get_counters(c->world)->n_commands;
    crowd_play(c, SIM_SECOND / 4);
    costs found = costs_of(c, sim_get_counters(c->world)->n_commands - n_commands);
    crowd_leave(c, 3 * SIM_SECOND);
    crowd_destroy(c);
    return found;
}

static void expect_cheap(gavel_mode mode, size_t n_clients)
{
    costs cost = measure(mode, n_clients, 1);
    if (getenv("GAVEL_SHOW") != NULL)
        fprintf(stderr,
            "mode %d, %d clients: %.2f commands, %.3f attempts, %.0f/s, unfair %.2f, gated %.2f\n",
            (int)mode, (int)n_clients, cost.commands, cost.attempts, cost.commits_per_second,
            cost.unfairness, cost.gated);
    cr_expect_leq(
        cost.commands, 8, "%d clients: %f commands for a commit", (int)n_clients, cost.commands);
    cr_expect_leq(
        cost.attempts, 1.05, "%d clients: %f attempts for a commit", (int)n_clients, cost.attempts);
    cr_expect_leq(cost.unfairness, 1.2, "%d clients: the luckiest has %f times the commits",
        (int)n_clients, cost.unfairness);
}

Test(sim_gates, a_commit_through_a_gate_is_cheap_and_fair)
{
    expect_cheap(GAVEL_GATED, 2);
    expect_cheap(GAVEL_GATED, 8);
    expect_cheap(GAVEL_GATED, 32);
}

Test(sim_gates, an_adaptive_crowd_comes_to_queue)
{
    expect_cheap(GAVEL_ADAPTIVE, 2);
    expect_cheap(GAVEL_ADAPTIVE, 8);
    expect_cheap(GAVEL_ADAPTIVE, 32);
}

Test(sim_gates, alone_a_gate_costs_little)
{
    for (size_t n_callers = 1; n_callers <= 4; n_callers *= 4) {
        costs free = measure(GAVEL_OPTIMISTIC, 1, n_callers);
        costs gated = measure(GAVEL_GATED, 1, n_callers);
        if (getenv("GAVEL_SHOW") != NULL)
            fprintf(stderr, "alone, %d callers: %.0f/s free, %.0f/s gated, %.2f commands\n",
                (int)n_callers, free.commits_per_second, gated.commits_per_second, gated.commands);
        cr_expect_gt(gated.commits_per_second, 0.75 * free.commits_per_second,
            "%d callers: %f commits in a second, without gates %f", (int)n_callers,
            gated.commits_per_second, free.commits_per_second);
    }
}

/* ---- Fading -------------------------------------------------------------------------------- */

/* When the others have gone, a gate is up for another second or so. */
static void play_fading(int seed)
{
    crowd *c = crowd_create(&(crowd_config){
        .seed = (uint64_t)seed, .pause_us = seed % 2 ? 2 * SIM_MILLISECOND : 0, .is_lean = true});
    for (int i = 0; i < 4; i++)
        crowd_join(c, &(gavel_config){.mode = GAVEL_ADAPTIVE}, 2);
    crowd_play(c, SIM_SECOND);
    for (size_t i = 2; i < c->n_callers; i++)
        c->callers[i].is_resting = true;
    crowd_play(c, 1600 * SIM_MILLISECOND);
    c->callers[0].n_gated = 0;
    c->callers[0].n_committed = 0;
    crowd_play(c, SIM_SECOND);
    cr_expect_gt(c->callers[0].n_committed, 0);
    cr_expect_eq(c->callers[0].n_gated, 0, "seed %d: %d of %d commits went through the gate still",
        seed, (int)c->callers[0].n_gated, (int)c->callers[0].n_committed);
    crowd_leave(c, SIM_SECOND);
    crowd_destroy(c);
}

Test(sim_gates, a_gate_that_nobody_needs_fades)
{
    play_seeds(play_fading, 2);
}
