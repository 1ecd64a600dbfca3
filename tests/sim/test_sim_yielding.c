/*
 * Yielding: many callers of a client write one key blindly all the time, and one of the same client
 * reads it and writes. Neither may starve.
 */
#include "sim.h"

#include <criterion/criterion.h>

enum { N_BLIND = 64 };

typedef struct crowd {
    gavel_client *client;
    bool has_reads; /* the one declares what it reads */
    bool is_over;
    uint64_t n_blind;
    uint64_t n_read;
    uint64_t n_attempts;
    int64_t longest_blind_us;
    int64_t longest_read_us;
} crowd;

static gavel_verdict add_blindly(gavel_tx *tx, void *user)
{
    (void)user;
    gavel_incr(tx, GAVEL_STR("x"), 1);
    return GAVEL_COMMIT;
}

static gavel_verdict read_and_add(gavel_tx *tx, void *user)
{
    (void)user;
    int64_t value = 0;
    gavel_get_int(tx, GAVEL_STR("x"), &value);
    gavel_set_int(tx, GAVEL_STR("x"), value + 1);
    return GAVEL_COMMIT;
}

static void begin_blind(crowd *c);
static void begin_read(crowd *c);

static int64_t longer(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static void on_blind(const gavel_outcome *outcome, void *user)
{
    crowd *c = user;
    cr_assert_eq(outcome->status, GAVEL_COMMITTED, "%s", outcome->message);
    cr_assert_eq(outcome->n_conflicts, 0);
    c->n_blind++;
    c->longest_blind_us = longer(c->longest_blind_us, outcome->elapsed_us);
    if (!c->is_over)
        begin_blind(c);
}

static void on_read(const gavel_outcome *outcome, void *user)
{
    crowd *c = user;
    c->n_read += outcome->status == GAVEL_COMMITTED;
    c->n_attempts += outcome->n_attempts;
    c->longest_read_us = longer(c->longest_read_us, outcome->elapsed_us);
    if (!c->is_over)
        begin_read(c);
}

static void begin_blind(crowd *c)
{
    gavel_transaction transaction = {.body = add_blindly, .user = c};
    cr_assert_neq(gavel_submit(c->client, &transaction, on_blind), 0);
}

static void begin_read(crowd *c)
{
    gavel_read reads[] = {{.key = GAVEL_STR("x")}};
    gavel_transaction transaction = {.body = read_and_add, .user = c};
    if (c->has_reads) {
        transaction.reads = reads;
        transaction.n_reads = 1;
    }
    cr_assert_neq(gavel_submit(c->client, &transaction, on_read), 0);
}

/* Plays a quarter of a second, and checks that no update was lost; others add one every so often;
 * 0: never. */
static crowd play(uint64_t seed, const gavel_config *config, size_t n_blind, int64_t every_us)
{
    sim_world *world = sim_create(seed);
    crowd c = {.client = sim_open(world, config), .has_reads = seed % 2 == 0};
    if (every_us > 0)
        sim_add_writer(world, every_us, "INCR x");
    for (size_t i = 0; i < n_blind; i++)
        begin_blind(&c);
    begin_read(&c);
    sim_run_for(world, SIM_SECOND / 4);
    c.is_over = true;
    sim_run_for(world, 6 * SIM_SECOND);
    if (every_us == 0)
        cr_assert_eq(sim_get_int(world, "x"), (int64_t)(c.n_blind + c.n_read));
    gavel_close(c.client);
    sim_destroy(world);
    return c;
}

/* Without that they did: 10 to 60 attempts a commit, and deadlines that passed. */
Test(sim_yielding, who_reads_what_his_own_client_writes_blindly_loses_few_attempts)
{
    static const uint32_t links[] = {1, 2, 4};
    for (uint64_t seed = 1; seed <= 12; seed++) {
        gavel_config config = {.max_links = links[seed % 3], .mode = (gavel_mode)(seed / 3 % 3)};
        crowd c = play(seed, &config, seed / 3 % 2 == 0 ? 16 : 64, 0);
        cr_expect_geq(c.n_read, 250, "seed %d: %d commits", (int)seed, (int)c.n_read);
        cr_expect_leq(c.n_attempts, 2 * c.n_read, "seed %d: %d attempts for %d commits", (int)seed,
            (int)c.n_attempts, (int)c.n_read);
        cr_expect_leq(c.longest_read_us, 10 * SIM_MILLISECOND);
        cr_expect_leq(c.longest_blind_us, 5 * SIM_MILLISECOND);
    }
}

/* Who reads may lose to others for ever, and those who only write do not wait for that. */
Test(sim_yielding, a_blind_write_does_not_starve_with_him)
{
    for (uint64_t seed = 1; seed <= 6; seed++) {
        gavel_config config = {.max_links = 4, .mode = (gavel_mode)(seed % 3)};
        crowd c = play(seed, &config, N_BLIND, 100);
        cr_expect_leq(c.longest_blind_us, 5 * SIM_MILLISECOND, "seed %d: %d us", (int)seed,
            (int)c.longest_blind_us);
    }
}
