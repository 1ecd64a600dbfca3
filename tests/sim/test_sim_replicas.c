/*
 * Reading from replicas on the simulator: what is read is never older than it is told to be, no
 * replica is ever asked to write, and whoever wants it newer gets it from the primary, whatever
 * becomes of replicas, links and servers.
 *
 * GAVEL_SEEDS is the number of seeds, from GAVEL_FIRST_SEED on; one that fails is played alone with
 * GAVEL_SEED.
 */
#include "sim.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNTER "counter"
#define N_SUBMITTED 300
#define MAX_STALE_MS 150

typedef struct reading {
    const sim_result *result;
    int64_t seen;
    int64_t ran_at_us;
    uint32_t max_stale_ms;
    struct play *play;
} reading;

typedef struct play {
    sim_world *world;
    gavel_client *client;
    reading readings[N_SUBMITTED];
    size_t n;
    int64_t counted_at_us[N_SUBMITTED + 1]; /* when the primary had counted to it; 0: never */
    int64_t gossip_us; /* for so long a replica may not know that a slot has gone */
    bool may_go_back;  /* a failover undoes commits: then what was counted is no measure */
    size_t n_at_replicas;
    size_t n_dated;
} play;

static gavel_verdict count(gavel_tx *tx, void *user)
{
    (void)user;
    gavel_incr(tx, GAVEL_STR(COUNTER), 1);
    return GAVEL_COMMIT;
}

static gavel_verdict look(gavel_tx *tx, void *user)
{
    reading *own = user;
    own->seen = 0;
    gavel_get_int(tx, GAVEL_STR(COUNTER), &own->seen);
    own->ran_at_us = sim_now_us(own->play->world);
    return GAVEL_COMMIT;
}

static bool is_one_of(const sim_entry *entry, const char *const *names)
{
    for (; *names != NULL; names++) {
        if (sim_entry_is(entry, *names))
            return true;
    }
    return false;
}

static void watch_servers(sim_world *world, const sim_entry *entry, void *user)
{
    static const char *const harmless[] = {
        "hello", "multi", "exec", "get", "info", "readonly", "readwrite", "cluster", NULL};
    play *p = user;
    if (entry->how == SIM_REFUSED)
        return;
    if (sim_primary_of(world, entry->server) != entry->server)
        cr_expect(p->may_go_back ? !entry->is_change : is_one_of(entry, harmless),
            "a replica was told %s", entry->args[0].data);
    if (!entry->is_change || !sim_entry_is(entry, "incrby") ||
        strncmp(entry->args[1].data, COUNTER, strlen(COUNTER)) != 0)
        return;
    size_t before = sim_choose(world, entry->server);
    p->counted_at_us[sim_get_int(world, COUNTER)] = entry->at_us;
    sim_choose(world, before);
}

static void submit(play *p)
{
    reading *own = &p->readings[p->n++];
    own->play = p;
    if (sim_random(p->world, 3) == 0) {
        sim_submit(p->world, p->client, &(gavel_transaction){.body = count, .deadline_ms = 20000});
        return;
    }
    gavel_read read = {.key = GAVEL_STR(COUNTER)};
    bool is_declared = sim_random(p->world, 2) == 0;
    own->max_stale_ms = sim_random(p->world, 3) == 0 ? MAX_STALE_MS : 0;
    own->result = sim_submit(p->world, p->client,
        &(gavel_transaction){.body = look,
            .user = own,
            .reads = is_declared ? &read : NULL,
            .n_reads = is_declared ? 1 : 0,
            .is_read_only = true,
            .is_stale_ok = true,
            .max_stale_ms = own->max_stale_ms,
            .deadline_ms = 20000});
}

/* What comes next had not been counted when the reading says that it was up to date. */
static void check_reading(play *p, const reading *own, int seed)
{
    const gavel_outcome *outcome = &own->result->outcome;
    if (outcome->status != GAVEL_COMMITTED)
        return;
    p->n_at_replicas += outcome->stale_ms != 0;
    p->n_dated += outcome->stale_ms > 0;
    if (own->max_stale_ms > 0)
        cr_expect(outcome->stale_ms >= 0 && outcome->stale_ms <= MAX_STALE_MS);
    if (outcome->stale_ms <= 0 || p->may_go_back)
        return;
    int64_t next_us = p->counted_at_us[own->seen + 1];
    int64_t as_of_us = own->ran_at_us - outcome->stale_ms * SIM_MILLISECOND;
    cr_expect(next_us == 0 || next_us >= as_of_us - p->gossip_us,
        "seed %d: %lld was read, told to be %d ms old, and it was %lld ms", seed,
        (long long)own->seen, (int)outcome->stale_ms, (long long)(own->ran_at_us - next_us) / 1000);
}

typedef enum play_kind { NAMED, OF_A_CLUSTER, OF_SENTINELS, N_KINDS } play_kind;

static play *open_play(uint64_t seed, play_kind kind)
{
    play *p = calloc(1, sizeof *p);
    cr_assert(p != NULL);
    p->world = sim_create(seed);
    if (kind == OF_A_CLUSTER) {
        sim_add_cluster(p->world, &(sim_cluster){.n_replicas = 1});
        p->client = sim_open(p->world, NULL);
    } else if (kind == OF_SENTINELS) {
        sim_add_sentinels(p->world, NULL);
        p->client = sim_open(p->world, NULL);
    } else {
        char url[128];
        size_t replicas[2] = {sim_add_replica(p->world, 0), sim_add_replica(p->world, 0)};
        snprintf(url, sizeof url, "redis://%s:6379?replicas=%s,%s:6379", sim_host_of(p->world, 0),
            sim_host_of(p->world, replicas[0]), sim_host_of(p->world, replicas[1]));
        p->client = sim_open_url(p->world, url, NULL);
    }
    sim_set_hook(p->world, watch_servers, p);
    return p;
}

static void close_play(play *p)
{
    gavel_close(p->client);
    sim_destroy(p->world);
    free(p);
}

/* The replica of whichever server has the key. */
static size_t replica_of_key(play *p)
{
    size_t primary = sim_choose_by_key(p->world, COUNTER);
    primary = sim_choose(p->world, primary);
    size_t replica = 0;
    while (replica == primary || sim_primary_of(p->world, replica) != primary)
        replica++;
    return replica;
}

static void run(play *p, int64_t most_us, int seed)
{
    while (p->n < N_SUBMITTED) {
        submit(p);
        sim_run_for(p->world, (int64_t)sim_random(p->world, (uint64_t)most_us));
    }
    cr_expect(sim_finish(p->world, 120 * SIM_SECOND), "seed %d: without an end", seed);
    for (size_t i = 0; i < p->n; i++) {
        if (p->readings[i].result != NULL)
            check_reading(p, &p->readings[i], seed);
    }
}

static void play_quietly(play_kind kind)
{
    play *p = open_play(1, kind);
    run(p, 20000, 1);
    for (size_t i = 0; i < sim_n_results(p->world); i++)
        cr_expect_eq(sim_result_at(p->world, i)->outcome.status, GAVEL_COMMITTED, "%s",
            sim_result_at(p->world, i)->outcome.message);
    cr_expect_gt(p->n_dated, 100);
    close_play(p);
}

Test(sim_replicas, named_in_the_url_are_read_from)
{
    play_quietly(NAMED);
}

Test(sim_replicas, of_a_cluster_are_read_from)
{
    play_quietly(OF_A_CLUSTER);
}

Test(sim_replicas, of_sentinels_are_read_from)
{
    play_quietly(OF_SENTINELS);
}

static void read_once(play *p, reading *own)
{
    gavel_read read = {.key = GAVEL_STR(COUNTER)};
    own->play = p;
    own->result = sim_submit(p->world, p->client,
        &(gavel_transaction){.body = look,
            .user = own,
            .reads = &read,
            .n_reads = 1,
            .is_read_only = true,
            .is_stale_ok = true,
            .deadline_ms = 20000});
}

/* While there is no primary that may be believed its replicas serve on. */
Test(sim_replicas, of_sentinels_serve_during_a_failover)
{
    play *p = open_play(4, OF_SENTINELS);
    run(p, 20000, 4);
    sim_choose(p->world, 0);
    sim_restart(p->world, 60 * SIM_SECOND, true);
    size_t n_old = 0;
    for (int i = 0; i < 100; i++) {
        reading own = {.result = NULL};
        read_once(p, &own);
        int64_t began_us = sim_now_us(p->world);
        cr_assert(sim_finish(p->world, 10 * SIM_SECOND));
        cr_expect_eq(own.result->outcome.status, GAVEL_COMMITTED);
        cr_expect_lt(sim_now_us(p->world) - began_us, SIM_SECOND / 2);
        n_old += own.result->outcome.stale_ms != 0;
        sim_run_for(p->world, 50000);
    }
    cr_expect_gt(n_old, 60, "%zu", n_old);
    cr_expect_eq(sim_get_counters(p->world)->n_failovers, 1);
    close_play(p);
}

/* One that cannot be reached goes out of use while its links are dialled, and nobody spins. */
Test(sim_replicas, of_sentinels_that_hang_are_left)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        sim_world *world = sim_create(seed);
        sim_add_sentinels(world, NULL);
        play p = {.world = world,
            .client = sim_open(
                world, &(gavel_config){.connect_timeout_ms = 100, .command_timeout_ms = 60000})};
        for (int i = 0; i < N_SUBMITTED; i++) {
            if (i == 100)
                sim_partition(world, SIM_MACHINE(1), ~SIM_MACHINE(1), 20 * SIM_SECOND);
            read_once(&p, &p.readings[i]);
            sim_run_for(world, 50000);
        }
        cr_expect(sim_finish(world, 120 * SIM_SECOND), "seed %d", (int)seed);
        gavel_close(p.client);
        sim_destroy(world);
    }
}

/* One that lags by two seconds: what may be as old is read there, what may not at the primary. */
static void play_with_lag(play_kind kind)
{
    play *p = open_play(2, kind);
    sim_set_lag(
        p->world, kind == OF_A_CLUSTER ? replica_of_key(p) : 1, 2 * SIM_SECOND, 2 * SIM_SECOND);
    if (kind != OF_A_CLUSTER)
        sim_set_lag(p->world, 2, 2 * SIM_SECOND, 2 * SIM_SECOND);
    run(p, 40000, 2);
    size_t n_old = 0;
    size_t n_new = 0;
    for (size_t i = 0; i < p->n; i++) {
        if (p->readings[i].result == NULL)
            continue;
        n_old += p->readings[i].result->outcome.stale_ms > 1900;
        n_new += p->readings[i].max_stale_ms > 0 && p->readings[i].result->outcome.stale_ms == 0;
    }
    cr_expect_gt(n_old, 30);
    cr_expect_gt(n_new, 30);
    close_play(p);
}

Test(sim_replicas, one_that_lags_is_told_to)
{
    play_with_lag(NAMED);
}

Test(sim_replicas, one_of_a_cluster_that_lags_is_told_to)
{
    play_with_lag(OF_A_CLUSTER);
}

/* Parted from its primary it shows the same for ever, and its age says so. */
Test(sim_replicas, one_that_is_cut_off_is_told_to_be)
{
    play *p = open_play(3, NAMED);
    sim_run_for(p->world, SIM_SECOND);
    sim_partition(p->world, SIM_MACHINE(0), SIM_MACHINE(1) | SIM_MACHINE(2), 5 * SIM_SECOND);
    run(p, 20000, 3);
    close_play(p);
}

static void play_seed(int seed, bool has_failovers)
{
    play_kind kind = (unsigned)seed % N_KINDS;
    play *p = open_play((uint64_t)seed, kind);
    sim_faults faults = sim_draw_faults(p->world);
    faults.move_every_us = 0;
    faults.failover_every_us = has_failovers ? 3 * SIM_SECOND : 0;
    p->may_go_back = has_failovers;
    sim_set_faults(p->world, &faults);
    for (size_t i = 0; i < 6; i++) {
        int64_t lag_us = (int64_t)sim_random(p->world, 3) * 100 * SIM_MILLISECOND;
        if (i == 1 || i == 2 || (i > 0 && kind == OF_A_CLUSTER))
            sim_set_lag(p->world, i, lag_us / 2, lag_us);
    }
    run(p, 20000, seed);
    close_play(p);
}

/* The slot goes from node to node, at once, and replicas hear of that before its keys come. */
static void play_moves(int seed)
{
    static const int64_t gossip_us = SIM_MILLISECOND;
    play *p = open_play((uint64_t)seed, OF_A_CLUSTER);
    p->gossip_us = gossip_us;
    sim_set_gossip(p->world, gossip_us / 10, gossip_us);
    for (size_t i = 3; i < 6; i++)
        sim_set_lag(p->world, i, 50 * SIM_MILLISECOND, 150 * SIM_MILLISECOND);
    for (size_t i = 0; p->n < N_SUBMITTED; i++) {
        sim_move move = {.slot = sim_slot_of(COUNTER), .to = i % 3, .is_atomic = true};
        sim_move_slot(p->world, &move);
        for (size_t end = p->n + N_SUBMITTED / 10; p->n < end;) {
            submit(p);
            sim_run_for(p->world, (int64_t)sim_random(p->world, 20000));
        }
    }
    run(p, 20000, seed);
    cr_expect_gt(p->n_dated, 20, "seed %d: %zu", seed, p->n_dated);
    close_play(p);
}

Test(sim_replicas, what_a_slot_that_arrives_has_not_brought_yet_is_not_dated)
{
    sim_seeds seeds = sim_choose_seeds(10);
    for (int seed = seeds.first; seed < seeds.end; seed++)
        play_moves(seed);
}

/* A replica that hangs, again and again, costs no reader his deadline. */
static void play_silences(int seed)
{
    play_kind kind = (unsigned)seed % N_KINDS;
    play *p = open_play((uint64_t)seed, kind);
    run(p, 20000, seed);
    for (int i = 0; i < 200; i++) {
        reading own = {.play = p};
        gavel_read read = {.key = GAVEL_STR(COUNTER)};
        if (i % 20 == 0) {
            sim_choose(p->world, kind == OF_A_CLUSTER ? replica_of_key(p) : 1);
            sim_silence(p->world, (int64_t)sim_random(p->world, 4 * SIM_SECOND));
        }
        own.result = sim_submit(p->world, p->client,
            &(gavel_transaction){.body = look,
                .user = &own,
                .reads = &read,
                .n_reads = 1,
                .is_read_only = true,
                .is_stale_ok = true,
                .deadline_ms = 300});
        cr_assert(sim_finish(p->world, SIM_SECOND));
        cr_expect_eq(own.result->outcome.status, GAVEL_COMMITTED, "seed %d: %s", seed,
            own.result->outcome.message);
        sim_run_for(p->world, (int64_t)sim_random(p->world, 200000));
    }
    close_play(p);
}

Test(sim_replicas, whoever_hangs_costs_no_reader_his_deadline)
{
    sim_seeds seeds = sim_choose_seeds(9);
    for (int seed = seeds.first; seed < seeds.end; seed++)
        play_silences(seed);
}

static void play_seeds(bool has_failovers)
{
    sim_seeds seeds = sim_choose_seeds(60);
    for (int seed = seeds.first; seed < seeds.end; seed++)
        play_seed(seed, has_failovers);
}

Test(sim_replicas, whatever_goes_wrong_nothing_is_older_than_told)
{
    play_seeds(false);
}

Test(sim_replicas, with_failovers_they_are_asked_for_nothing_but_reads)
{
    play_seeds(true);
}
