/*
 * Contention: who pays for it. Other programs write some of one client's keys; the callers of its
 * other keys must not notice.
 */
#include "sim.h"

#include <criterion/criterion.h>

#include <stdio.h>

enum { N_KEYS = 16, N_EACH = 4, N_CALLERS = N_KEYS * N_EACH };

typedef struct caller {
    struct crowd *crowd;
    char key[8];
    uint64_t n_committed;
} caller;

typedef struct crowd {
    gavel_client *client;
    caller callers[N_CALLERS];
    bool is_over;
} crowd;

static gavel_verdict add_one(gavel_tx *tx, void *user)
{
    const caller *self = user;
    int64_t value = 0;
    gavel_get_int(tx, gavel_str(self->key), &value);
    gavel_set_int(tx, gavel_str(self->key), value + 1);
    return GAVEL_COMMIT;
}

static void begin(caller *self);

static void on_done(const gavel_outcome *outcome, void *user)
{
    caller *self = user;
    self->n_committed += outcome->status == GAVEL_COMMITTED;
    if (!self->crowd->is_over)
        begin(self);
}

static void begin(caller *self)
{
    gavel_read reads[] = {{.key = gavel_str(self->key)}};
    gavel_transaction transaction = {.body = add_one, .user = self, .reads = reads, .n_reads = 1};
    cr_assert_neq(gavel_submit(self->crowd->client, &transaction, on_done), 0);
}

/* What the callers of all keys but the first commit in a third of a second, while that is written
 * every `every_us` by others; 0: never. */
static uint64_t count_others(gavel_mode mode, int64_t every_us)
{
    sim_world *world = sim_create(1);
    crowd c = {.client = sim_open(world, &(gavel_config){.mode = mode})};
    for (size_t i = 0; i < N_KEYS; i++) {
        char line[32];
        snprintf(line, sizeof line, "SET key%zu 0", i);
        sim_do(world, line);
    }
    if (every_us > 0)
        sim_add_writer(world, every_us, "INCR key0");
    for (size_t i = 0; i < N_CALLERS; i++) {
        c.callers[i].crowd = &c;
        snprintf(c.callers[i].key, sizeof c.callers[i].key, "key%zu", i % N_KEYS);
        begin(&c.callers[i]);
        sim_run_for(world, (int64_t)sim_random(world, 100));
    }
    sim_run_for(world, 100 * SIM_MILLISECOND);
    for (size_t i = 0; i < N_CALLERS; i++)
        c.callers[i].n_committed = 0;
    sim_run_for(world, SIM_SECOND / 3);
    uint64_t n_committed = 0;
    for (size_t i = 0; i < N_CALLERS; i++)
        n_committed += i % N_KEYS > 0 ? c.callers[i].n_committed : 0;
    c.is_over = true;
    sim_run_for(world, SIM_SECOND);
    gavel_close(c.client);
    sim_destroy(world);
    return n_committed;
}

Test(sim_contention, a_contended_key_does_not_slow_down_the_others)
{
    static const gavel_mode modes[] = {GAVEL_ADAPTIVE, GAVEL_OPTIMISTIC};
    for (size_t i = 0; i < 2; i++) {
        uint64_t undisturbed = count_others(modes[i], 0);
        for (int64_t every_us = 200; every_us <= 5000; every_us *= 3) {
            uint64_t disturbed = count_others(modes[i], every_us);
            cr_expect_geq(disturbed, undisturbed / 100 * 95, "mode %d, every %d us: %d of %d",
                (int)modes[i], (int)every_us, (int)disturbed, (int)undisturbed);
        }
    }
}
