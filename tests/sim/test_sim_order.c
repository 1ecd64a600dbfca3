/*
 * The order within a client: of two transactions with a key in common the one that came first has
 * its EXEC first, in every mode, however wide the rounds are and whoever wants several keys.
 */
#include "sim.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_JOBS = 600, N_KEYS = 4, MAX_JOB_KEYS = 3 };

/* Appends its number to the lists of its keys. */
typedef struct job {
    int number;
    size_t keys[MAX_JOB_KEYS];
    size_t n_keys;
    int *n_runs; /* of all younger ones, when it has run first */
    int n_run_before;
    bool has_run;
} job;

static const char *const names[N_KEYS] = {"list0", "list1", "list2", "list3"};

static gavel_verdict append(gavel_tx *tx, void *user)
{
    job *j = user;
    char number[16];
    (void)snprintf(number, sizeof(number), "%d", j->number);
    for (size_t i = 0; i < j->n_keys; i++)
        gavel_write(tx,
            &GAVEL_COMMAND(GAVEL_STR("RPUSH"), gavel_str(names[j->keys[i]]), gavel_str(number)));
    return GAVEL_COMMIT;
}

static void submit(sim_world *world, gavel_client *client, job *j, gavel_body *body)
{
    gavel_bytes keys[MAX_JOB_KEYS];
    for (size_t i = 0; i < j->n_keys; i++)
        keys[i] = gavel_str(names[j->keys[i]]);
    gavel_transaction request = {
        .body = body, .user = j, .keys = keys, .n_keys = j->n_keys, .deadline_ms = 60000};
    sim_submit(world, client, &request);
}

static void draw_keys(sim_world *world, job *j)
{
    size_t first = (size_t)sim_random(world, N_KEYS);
    j->n_keys = 1 + (sim_random(world, 3) == 0 ? 1 + (size_t)sim_random(world, 2) : 0);
    for (size_t i = 0; i < j->n_keys; i++)
        j->keys[i] = (first + i) % N_KEYS;
}

/* The numbers in a list rise. */
static void check_list(sim_world *world, const char *name, int seed)
{
    char command[32];
    (void)snprintf(command, sizeof(command), "LPOP %s", name);
    int last = -1;
    for (;;) {
        gavel_bytes reply = sim_do(world, command);
        if (reply.size < 4 || reply.data[1] == '-')
            return;
        const char *digits = memchr(reply.data, '\n', reply.size);
        int number = atoi(digits + 1);
        cr_assert_gt(number, last, "seed %d, %s: %d behind %d", seed, name, number, last);
        last = number;
    }
}

static void play(int seed, gavel_mode mode)
{
    static const uint32_t widths[] = {0, 1, 3};
    static job jobs[N_JOBS];
    sim_world *world = sim_create((uint64_t)seed);
    gavel_client *client =
        sim_open(world, &(gavel_config){.mode = mode, .max_round_width = widths[seed % 3]});
    for (int i = 0; i < N_JOBS; i++) {
        jobs[i] = (job){.number = i};
        draw_keys(world, &jobs[i]);
        submit(world, client, &jobs[i], append);
        if (sim_random(world, 10) == 0)
            sim_run_for(world, (int64_t)sim_random(world, 2000));
    }
    cr_assert(sim_finish(world, 60 * SIM_SECOND));
    cr_assert_eq(sim_n_results_with(world, GAVEL_COMMITTED), (size_t)N_JOBS);
    for (size_t i = 0; i < N_KEYS; i++) {
        cr_assert_gt(sim_llen(world, names[i]), (size_t)0);
        check_list(world, names[i], seed);
    }
    gavel_close(client);
    sim_destroy(world);
}

Test(sim_order, who_comes_first_goes_first_in_every_mode)
{
    for (int seed = 0; seed < 12; seed++) {
        play(seed, GAVEL_ADAPTIVE);
        play(seed, GAVEL_OPTIMISTIC);
        play(seed, GAVEL_GATED);
    }
}

/* ---- Two chains ---------------------------------------------------------------------------- */

static gavel_verdict count_younger(gavel_tx *tx, void *user)
{
    job *j = user;
    (*j->n_runs)++;
    return append(tx, user);
}

static gavel_verdict note_first_run(gavel_tx *tx, void *user)
{
    job *j = user;
    if (!j->has_run)
        j->n_run_before = *j->n_runs;
    j->has_run = true;
    return append(tx, user);
}

/* Chains on two keys, which others write as well, and one on both: nobody younger runs before. */
Test(sim_order, who_wants_the_keys_of_two_chains_is_not_overtaken)
{
    static job jobs[N_JOBS];
    int n_runs = 0;
    sim_world *world = sim_create(3);
    gavel_client *client = sim_open(world, &(gavel_config){.max_round_width = 1});
    sim_add_writer(world, 2 * SIM_MILLISECOND, "RPUSH list0 0");
    job both = {.keys = {0, 1}, .n_keys = 2, .n_runs = &n_runs};
    for (int i = 0; i < N_JOBS; i++) {
        jobs[i] = (job){.number = i, .keys = {(size_t)i % 2}, .n_keys = 1, .n_runs = &n_runs};
        if (i == N_JOBS / 2) {
            sim_run_for(world, SIM_MILLISECOND);
            submit(world, client, &both, note_first_run);
        }
        submit(world, client, &jobs[i], i < N_JOBS / 2 ? append : count_younger);
    }
    sim_run_for(world, 2 * SIM_SECOND);
    sim_stop_actors(world);
    cr_assert(sim_finish(world, 10 * SIM_SECOND));
    cr_expect(both.has_run);
    cr_expect_eq(both.n_run_before, 0, "%d younger ones ran before", both.n_run_before);
    gavel_close(client);
    sim_destroy(world);
}
