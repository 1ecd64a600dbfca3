/*
 * Gates in chosen bad moments between several processes: each of these was a fault once.
 */
#include "sim_crowd.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>

static const gavel_config gated = {.mode = GAVEL_GATED};

/* ---- What was done to the keys of a gate ----------------------------------------------------- */

/* Nobody who does not let go of it will ever hand on. */
Test(sim_gate_faults, a_record_that_never_ends_is_got_over)
{
    static const char *const lines[] = {"SET gavel:gate:{hot0} somebody",
        "RPUSH gavel:gate:{hot0} a list", "HSET gavel:gate:{hot0} a 1"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        crowd *c = crowd_create(&(crowd_config){.seed = i});
        sim_do(c->world, lines[i]);
        crowd_join(c, &gated, 1);
        crowd_join(c, &gated, 1);
        crowd_play(c, SIM_SECOND);
        cr_expect_leq(c->longest_stall_us, 2 * CROWD_LEASE_US + 5 * SIM_MILLISECOND,
            "%s: nobody committed for %d us", lines[i], (int)c->longest_stall_us);
        cr_expect(crowd_leave(c, SIM_SECOND));
        crowd_judge(c);
        crowd_destroy(c);
    }
}

/* The same for one that is set while the holder dies. */
Test(sim_gate_faults, a_record_that_never_ends_and_a_dead_holder)
{
    crowd *c = crowd_create(&(crowd_config){.seed = 1});
    crowd_member *first = crowd_join(c, &gated, 1);
    crowd_play(c, 10 * SIM_MILLISECOND);
    crowd_join(c, &gated, 1);
    crowd_play(c, 10 * SIM_MILLISECOND);
    crowd_kill(c, first, 60 * SIM_SECOND);
    sim_do(c->world, "SET gavel:gate:{hot0} somebody");
    sim_do(c->world, "DEL gavel:queue:{hot0}");
    crowd_play(c, SIM_SECOND);
    cr_expect_leq(c->longest_stall_us, 3 * CROWD_LEASE_US, "nobody committed for %d us",
        (int)c->longest_stall_us);
    cr_expect(crowd_leave(c, SIM_SECOND));
    crowd_judge(c);
    crowd_destroy(c);
}

/* ---- Refusals -------------------------------------------------------------------------------- */

/* A login that may not do something that gates need does without, and nobody waits for it. */
Test(sim_gate_faults, who_may_not_use_gates_does_without)
{
    static const char *const commands[] = {"RPUSH", "PEXPIRE", "LPOP", "BLPOP", "SET", "PTTL"};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        crowd *c = crowd_create(&(crowd_config){.seed = i, .deadline_ms = 2000});
        for (int n = 0; n < 4; n++)
            crowd_join(c, &(gavel_config){.mode = GAVEL_GATED, .has_no_markers = true}, 2);
        crowd_play(c, 20 * SIM_MILLISECOND);
        sim_refuse(c->world,
            &(sim_refusal){.command = commands[i], .error = "NOPERM this user has no permissions"});
        c->longest_stall_us = 0;
        crowd_play(c, SIM_SECOND);
        cr_expect_leq(c->longest_stall_us, 2 * CROWD_LEASE_US + 5 * SIM_MILLISECOND,
            "%s: nobody committed for %d us", commands[i], (int)c->longest_stall_us);
        cr_expect(crowd_leave(c, 3 * SIM_SECOND));
        for (size_t n = 0; n < c->n_deeds; n++)
            cr_expect_eq(c->deeds[n]->outcome.status, GAVEL_COMMITTED, "%s: deed %zu: %s (%s)",
                commands[i], n, gavel_status_name(c->deeds[n]->outcome.status),
                c->deeds[n]->outcome.message);
        sim_disarm(c->world);
        crowd_judge(c);
        crowd_destroy(c);
    }
}

/* ---- Links ----------------------------------------------------------------------------------- */

typedef struct hush {
    bool is_ready; /* somebody has been given a token */
    bool is_done;
    int64_t us;
} hush;

/* The server falls silent right behind the claim that a waiter has made with its token. */
static void fall_silent(sim_world *world, const sim_entry *entry, void *user)
{
    hush *h = user;
    if (h->is_done || entry->how != SIM_RAN || entry->connection == 0)
        return;
    if (sim_entry_is(entry, "blpop"))
        h->is_ready = true;
    else if (h->is_ready && sim_entry_is(entry, "set")) {
        h->is_done = true;
        sim_silence(world, h->us);
    }
}

static gavel_verdict add_one(gavel_tx *tx, void *user)
{
    int64_t value = 0;
    (void)user;
    gavel_get_int(tx, GAVEL_STR("counter"), &value);
    gavel_set_int(tx, GAVEL_STR("counter"), value + 1);
    return GAVEL_COMMIT;
}

static const sim_result *add_one_to(sim_world *world, gavel_client *client)
{
    return sim_submit(world, client,
        &(gavel_transaction){
            .body = add_one,
            .reads = &(gavel_read){.key = GAVEL_STR("counter")},
            .n_reads = 1,
        });
}

/* What lay in the queue for the next one is gone, and no link can be had on which to find that out:
 * each wants to plant a marker. */
Test(sim_gate_faults, who_waits_for_nothing_is_told_soon)
{
    static const char *const errors[] = {
        "OOM command not allowed when used memory > 'maxmemory'.", "NOPERM no permissions"};
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        sim_world *world = sim_create(i);
        gavel_client *client =
            sim_open(world, &(gavel_config){.mode = GAVEL_GATED, .gate_lease_ms = CROWD_LEASE_MS});
        const sim_result *first = add_one_to(world, client);
        sim_run_for(world, 10 * SIM_MILLISECOND);
        cr_assert_eq(first->outcome.status, GAVEL_COMMITTED);
        sim_do(world, "DEL gavel:gate:{counter} gavel:queue:{counter}");
        sim_refuse(world, &(sim_refusal){.command = "SET", .error = errors[i]});
        const sim_result *second = add_one_to(world, client);
        sim_run_for(world, 2 * CROWD_LEASE_US);
        cr_expect(second->is_done, "%s: it waits still", errors[i]);
        cr_expect_eq(second->outcome.status, GAVEL_REJECTED, "%s: %s (%s)", errors[i],
            gavel_status_name(second->outcome.status), second->outcome.message);
        gavel_close(client);
        sim_destroy(world);
    }
}

/* The server was asked to wait, but not for ever: once let in, its silence is a fault again. */
Test(sim_gate_faults, a_link_that_dies_behind_its_claim_is_given_up)
{
    sim_world *world = sim_create(1);
    gavel_client *client = sim_open(world, &gated);
    hush h = {.us = 60 * SIM_SECOND};
    gavel_read reads[] = {{.key = GAVEL_STR("counter")}};
    gavel_transaction adder = {
        .body = add_one, .reads = reads, .n_reads = 1, .deadline_ms = 30000, .max_faults = 1000};
    sim_do(world, "SET gavel:gate:{counter} somebody PX 100");
    sim_set_hook(world, fall_silent, &h);
    sim_submit(world, client, &adder);
    sim_run_for(world, 10 * SIM_MILLISECOND);
    sim_do(world, "RPUSH gavel:queue:{counter} 1");
    sim_run_for(world, 5 * SIM_SECOND);
    cr_assert(h.is_done);
    gavel_stats stats;
    gavel_read_stats(client, &stats);
    cr_expect_gt(stats.n_links_down, 0, "a silent link is waited for without end");
    gavel_close(client);
    sim_destroy(world);
}

/* A link that waits, and dies without a word at some moment after that. */
typedef struct mute {
    uint64_t waiting; /* the first connection that waits; 0: none */
    bool is_done;
    int64_t at_us;
} mute;

static void note_waiting(sim_world *world, const sim_entry *entry, void *user)
{
    mute *m = user;
    (void)world;
    if (m->waiting == 0 && entry->how == SIM_BLOCKED)
        m->waiting = entry->connection;
}

static void mute_waiting(sim_world *world, void *user)
{
    mute *m = user;
    if (m->is_done || m->waiting == 0 || !sim_is_blocked(world, m->waiting))
        return;
    m->is_done = true;
    m->at_us = sim_now_us(world);
    sim_mute(world, m->waiting);
}

static gavel_outcome add_in(sim_world *world, const gavel_config *config, bool is_blocking)
{
    gavel_read reads[] = {{.key = GAVEL_STR("counter")}};
    gavel_transaction adder = {.body = add_one, .reads = reads, .n_reads = 1, .deadline_ms = 20000};
    gavel_client *client = is_blocking ? sim_open_blocking(world, config) : sim_open(world, config);
    gavel_outcome outcome;
    if (is_blocking) {
        outcome = gavel_run(client, &adder);
    } else {
        const sim_result *result = sim_submit(world, client, &adder);
        cr_assert(sim_finish(world, 30 * SIM_SECOND));
        outcome = result->outcome;
    }
    gavel_close(client);
    return outcome;
}

/* The server does not know either, and gives it the first turn: a lease for the holder, one for the
 * dead link, and up to three quarters of one each until somebody looks, and looks whether the turn
 * has been taken. It may be gone by then. */
static bool play_mute(uint64_t seed)
{
    sim_world *world = sim_create(seed);
    mute m = {.waiting = 0};
    sim_allow_wait(world, seed % 4 == 0);
    sim_set_hook(world, note_waiting, &m);
    sim_add_actor(world, 1 + (int64_t)sim_random(world, 60 * SIM_MILLISECOND), mute_waiting, &m);
    sim_do(world, "SET gavel:gate:{counter} somebody PX 100");
    gavel_outcome outcome = add_in(world,
        &(gavel_config){.mode = GAVEL_GATED, .gate_lease_ms = CROWD_LEASE_MS}, seed % 2 == 0);
    cr_expect_eq(outcome.status, GAVEL_COMMITTED, "seed %d: %s", (int)seed, outcome.message);
    cr_expect_eq(
        outcome.n_faults, m.is_done, "seed %d: %d faults", (int)seed, (int)outcome.n_faults);
    cr_expect_leq(outcome.elapsed_us, 5 * CROWD_LEASE_US, "seed %d: it took %d us", (int)seed,
        (int)outcome.elapsed_us);
    sim_destroy(world);
    return m.is_done;
}

Test(sim_gate_faults, a_waiting_link_that_falls_silent_costs_a_few_leases)
{
    uint64_t n_muted = 0;
    const char *text = getenv("GAVEL_SEEDS");
    uint64_t n_seeds = text != NULL ? strtoull(text, NULL, 10) : 1000;
    for (uint64_t seed = 0; seed < n_seeds; seed++)
        n_muted += play_mute(seed);
    cr_expect_gt(n_muted, n_seeds / 3);
}

/* ---- Fairness -------------------------------------------------------------------------------- */

/* From the next one on its deeds are on this key. */
static void give_key(crowd_caller *caller, size_t key)
{
    caller->keys[0] = key;
    caller->n_keys = 1;
}

/* One caller wants two keys, others each of them alone, all the time, in one client. */
Test(sim_gate_faults, who_wants_several_gates_is_not_overtaken_for_ever)
{
    for (uint32_t max_gate_links = 1; max_gate_links <= 4; max_gate_links++) {
        crowd *c = crowd_create(&(crowd_config){.seed = max_gate_links, .n_keys = 2});
        crowd_join(c, &(gavel_config){.mode = GAVEL_GATED, .max_gate_links = max_gate_links}, 5);
        crowd_join(c, &(gavel_config){.mode = GAVEL_GATED, .max_gate_links = max_gate_links}, 4);
        for (size_t i = 0; i < c->n_callers; i++)
            give_key(&c->callers[i], i % 2);
        c->callers[4].keys[0] = 1;
        c->callers[4].keys[1] = 0;
        c->callers[4].n_keys = 2;
        crowd_play(c, 300 * SIM_MILLISECOND);
        cr_expect_gt(c->callers[4].n_committed * 10, c->callers[0].n_committed,
            "max_gate_links %u: %d commits on both keys, %d on one", (unsigned)max_gate_links,
            (int)c->callers[4].n_committed, (int)c->callers[0].n_committed);
        cr_expect(crowd_leave(c, SIM_SECOND));
        crowd_judge(c);
        crowd_destroy(c);
    }
}

/* More hot keys than links for gates: everybody has his turn. */
Test(sim_gate_faults, more_gates_than_links_starve_nobody)
{
    crowd *c = crowd_create(&(crowd_config){.seed = 3, .n_keys = 8});
    for (int n = 0; n < 2; n++)
        crowd_join(c, &(gavel_config){.mode = GAVEL_GATED, .max_gate_links = 2}, 8);
    for (size_t i = 0; i < c->n_callers; i++)
        give_key(&c->callers[i], i % 8);
    crowd_play(c, 300 * SIM_MILLISECOND);
    uint64_t least = UINT64_MAX;
    uint64_t most = 0;
    for (size_t i = 0; i < c->n_callers; i++) {
        uint64_t n = c->callers[i].n_committed;
        least = n < least ? n : least;
        most = n > most ? n : most;
    }
    cr_expect_leq(most, 2 * least + 10, "one has %d commits, another %d", (int)most, (int)least);
    cr_expect(crowd_leave(c, SIM_SECOND));
    crowd_judge(c);
    crowd_destroy(c);
}
