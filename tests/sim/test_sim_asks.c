/*
 * Transactions of a slot that goes to another node key by key: those whose keys have gone already
 * do not wait for the others, and whatever becomes of links meanwhile, each counts exactly once.
 *
 * GAVEL_SEEDS is the number of seeds, from GAVEL_FIRST_SEED on; one that fails is played alone with
 * GAVEL_SEED.
 */
#include "sim.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_FILLERS 200
#define N_SUBMITTED 60
#define N_COUNTERS 6

/* ---- How long one waits -------------------------------------------------------------------- */

/* 200 keys, of which those that are told go first and last, and a node that has them. */
typedef struct slow_move {
    sim_world *world;
    gavel_client *client;
    unsigned slot;
    size_t n_asking; /* commands */
} slow_move;

static void count_asking(sim_world *world, const sim_entry *entry, void *user)
{
    (void)world;
    ((slow_move *)user)->n_asking += sim_entry_is(entry, "asking");
}

static slow_move *begin_slow_move(const char *version)
{
    slow_move *m = calloc(1, sizeof *m);
    cr_assert(m != NULL);
    m->world = sim_create(1);
    sim_set_version(m->world, version);
    sim_add_cluster(m->world, NULL);
    m->client = sim_open(m->world, &(gavel_config){.max_links = 2});
    m->slot = sim_slot_of("{m}");
    sim_choose(m->world, sim_owner_of(m->world, m->slot));
    for (int i = 0; i < N_FILLERS; i++) {
        char line[64];
        snprintf(line, sizeof line, "SET {m}:%03d 1", i);
        sim_do(m->world, line);
    }
    sim_set_hook(m->world, count_asking, m);
    sim_move_slot(m->world, &(sim_move){.slot = m->slot,
                                .to = (sim_owner_of(m->world, m->slot) + 1) % 3,
                                .key_us = 50 * SIM_MILLISECOND});
    return m;
}

static void end_slow_move(slow_move *m)
{
    sim_set_hook(m->world, NULL, NULL);
    cr_assert(sim_finish(m->world, 60 * SIM_SECOND));
    gavel_close(m->client);
    sim_destroy(m->world);
    free(m);
}

static gavel_verdict add_one(gavel_tx *tx, void *user)
{
    int64_t number = 0;
    gavel_get_int(tx, gavel_str(user), &number);
    gavel_set_int(tx, gavel_str(user), number + 1);
    return GAVEL_COMMIT;
}

/* Runs one that reads this key, for as long as the slot moves. */
static const sim_result *run_one(slow_move *m, gavel_body *body, const char *key)
{
    gavel_read read = {.key = gavel_str(key)};
    const sim_result *result = sim_submit(m->world, m->client,
        &(gavel_transaction){
            .body = body, .user = (void *)key, .reads = &read, .n_reads = 1, .deadline_ms = 60000});
    while (!result->is_done && sim_n_moves(m->world) > 0)
        sim_run_for(m->world, SIM_MILLISECOND);
    return result;
}

static void is_committed(const sim_result *result)
{
    cr_assert(result->is_done);
    cr_assert_eq(result->outcome.status, GAVEL_COMMITTED, "%s", result->outcome.message);
}

static const char *const versions[] = {"7.0.15", "valkey 9.1.2"};
#define N_VERSIONS (sizeof versions / sizeof versions[0])

Test(sim_asks, a_key_that_has_gone_does_not_wait_for_the_others)
{
    for (size_t i = 0; i < N_VERSIONS; i++) {
        slow_move *m = begin_slow_move(versions[i]);
        sim_run_for(m->world, SIM_SECOND);
        const sim_result *result = run_one(m, add_one, "{m}:000");
        is_committed(result);
        cr_expect_eq(sim_n_moves(m->world), 1);
        cr_expect_gt(m->n_asking, 0);
        cr_expect_lt(result->outcome.elapsed_us, 20 * SIM_MILLISECOND, "%lld us",
            (long long)result->outcome.elapsed_us);
        end_slow_move(m);
    }
}

static gavel_verdict read_only(gavel_tx *tx, void *user)
{
    int64_t number = 0;
    return gavel_get_int(tx, gavel_str(user), &number) == GAVEL_FOUND ? GAVEL_COMMIT : GAVEL_ABORT;
}

Test(sim_asks, who_only_reads_such_a_key_does_not_wait_either)
{
    for (size_t i = 0; i < N_VERSIONS; i++) {
        slow_move *m = begin_slow_move(versions[i]);
        sim_run_for(m->world, SIM_SECOND);
        gavel_read read = {.key = GAVEL_STR("{m}:000")};
        const sim_result *result = sim_submit(m->world, m->client,
            &(gavel_transaction){.body = read_only,
                .user = "{m}:000",
                .reads = &read,
                .n_reads = 1,
                .is_read_only = true,
                .deadline_ms = 60000});
        sim_run_for(m->world, 20 * SIM_MILLISECOND);
        is_committed(result);
        end_slow_move(m);
    }
}

/* Where its link's marker cannot be set it waits, but for its own sake only. */
Test(sim_asks, a_key_that_goes_later_waits_for_that)
{
    for (size_t i = 0; i < N_VERSIONS; i++) {
        slow_move *m = begin_slow_move(versions[i]);
        sim_run_for(m->world, SIM_SECOND);
        const sim_result *result = run_one(m, add_one, "{m}:100");
        is_committed(result);
        cr_expect_eq(sim_n_moves(m->world), 1);
        cr_expect_lt(result->outcome.elapsed_us, 5 * SIM_SECOND);
        end_slow_move(m);
    }
}

/* Whether such a key is nowhere, no node can say before the slot has arrived. */
Test(sim_asks, a_new_key_waits_until_the_slot_has_arrived)
{
    for (size_t i = 0; i < N_VERSIONS; i++) {
        slow_move *m = begin_slow_move(versions[i]);
        sim_run_for(m->world, SIM_SECOND);
        const sim_result *result = run_one(m, add_one, "{m}:new");
        cr_expect_eq(sim_n_moves(m->world), 0);
        end_slow_move(m);
        (void)result;
    }
}

static gavel_verdict add_and_mark(gavel_tx *tx, void *user)
{
    gavel_set_int(tx, GAVEL_STR("{m}:001"), 7);
    return add_one(tx, user);
}

/* That the other one has gone, nobody has said. */
Test(sim_asks, who_writes_what_he_has_not_read_waits_until_the_slot_has_arrived)
{
    for (size_t i = 0; i < N_VERSIONS; i++) {
        slow_move *m = begin_slow_move(versions[i]);
        sim_run_for(m->world, SIM_SECOND);
        const sim_result *result = run_one(m, add_and_mark, "{m}:000");
        cr_expect_eq(sim_n_moves(m->world), 0);
        cr_assert(sim_finish(m->world, 60 * SIM_SECOND));
        is_committed(result);
        cr_expect_leq(result->outcome.n_attempts, 2);
        end_slow_move(m);
    }
}

/* ---- Whatever happens ---------------------------------------------------------------------- */

/* Counters in one slot, of two clients; each transaction adds to one or to two of them. */
typedef struct deed {
    char counters[2][32];
    char mark[32];
    size_t n_counters;
    bool has_mark;    /* a key of its own, that is new */
    bool is_reader;   /* of the two that are always added to together */
    int64_t found[2]; /* there; -1: nothing */
    const sim_result *result;
} deed;

typedef struct play {
    sim_world *world;
    gavel_client *clients[2];
    deed deeds[N_SUBMITTED];
    size_t n;
    size_t n_asking;
    unsigned slot;
} play;

static void count_asking_of_play(sim_world *world, const sim_entry *entry, void *user)
{
    (void)world;
    ((play *)user)->n_asking += sim_entry_is(entry, "asking");
}

static gavel_verdict do_deed(gavel_tx *tx, void *user)
{
    const deed *own = user;
    for (size_t i = 0; i < own->n_counters; i++) {
        int64_t counted = 0;
        gavel_get_int(tx, gavel_str(own->counters[i]), &counted);
        gavel_set_int(tx, gavel_str(own->counters[i]), counted + 1);
    }
    if (own->has_mark)
        gavel_incr(tx, gavel_str(own->mark), 1);
    return GAVEL_COMMIT;
}

static gavel_verdict read_pair(gavel_tx *tx, void *user)
{
    deed *own = user;
    for (size_t i = 0; i < 2; i++) {
        own->found[i] = -1;
        gavel_get_int(tx, gavel_str(own->counters[i]), &own->found[i]);
    }
    return GAVEL_COMMIT;
}

static void submit(play *p)
{
    deed *own = &p->deeds[p->n++];
    gavel_read reads[2];
    unsigned first = (unsigned)sim_random(p->world, N_COUNTERS);
    own->n_counters = 1 + (size_t)sim_random(p->world, 2);
    bool is_of_pair = sim_random(p->world, 3) == 0;
    own->is_reader = is_of_pair && sim_random(p->world, 2) == 0;
    own->has_mark = !is_of_pair && sim_random(p->world, 4) == 0;
    if (is_of_pair)
        own->n_counters = 2;
    snprintf(own->mark, sizeof own->mark, "{m}:mark:%zu", p->n);
    for (unsigned i = 0; i < own->n_counters; i++) {
        unsigned place = (first + i) % N_COUNTERS;
        if (is_of_pair)
            snprintf(own->counters[i], sizeof own->counters[i], "{m}:pair:%u", i);
        else
            snprintf(own->counters[i], sizeof own->counters[i], "{m}:%03u", place * 7);
        reads[i] = (gavel_read){.key = gavel_str(own->counters[i])};
    }
    own->result = sim_submit(p->world, p->clients[sim_random(p->world, 2)],
        &(gavel_transaction){.body = own->is_reader ? read_pair : do_deed,
            .is_read_only = own->is_reader,
            .user = own,
            .reads = reads,
            .n_reads = own->n_counters,
            .deadline_ms = 20000});
}

static play *open_play(int seed)
{
    play *p = calloc(1, sizeof *p);
    cr_assert(p != NULL);
    p->world = sim_create((uint64_t)seed);
    sim_set_version(p->world, versions[sim_random(p->world, N_VERSIONS)]);
    sim_add_cluster(p->world, NULL);
    for (size_t i = 0; i < 2; i++)
        p->clients[i] = sim_open(p->world, &(gavel_config){.max_links = 1 + (uint32_t)i});
    p->slot = sim_slot_of("{m}");
    sim_choose(p->world, sim_owner_of(p->world, p->slot));
    for (int i = 0; i < N_COUNTERS * 7; i++) {
        char line[64];
        snprintf(line, sizeof line, "SET {m}:%03d 0", i);
        sim_do(p->world, line);
    }
    sim_do(p->world, "MSET {m}:pair:0 0 {m}:pair:1 0");
    sim_set_hook(p->world, count_asking_of_play, p);
    return p;
}

static void close_play(play *p)
{
    for (size_t i = 0; i < 2; i++)
        gavel_close(p->clients[i]);
    sim_destroy(p->world);
    free(p);
}

/* Each is there once, if it was told so, and not at all, if it was told so. */
static void check(play *p, int seed)
{
    long long least[N_COUNTERS] = {0};
    long long most[N_COUNTERS] = {0};
    sim_choose(p->world, sim_owner_of(p->world, p->slot));
    for (size_t i = 0; i < p->n; i++) {
        const deed *own = &p->deeds[i];
        gavel_status status = own->result->outcome.status;
        cr_expect(!own->is_reader || status != GAVEL_COMMITTED ||
                      (own->found[0] >= 0 && own->found[0] == own->found[1]),
            "seed %d: read %lld and %lld", seed, (long long)own->found[0],
            (long long)own->found[1]);
        for (size_t j = 0; j < own->n_counters && own->counters[j][4] != 'p'; j++) {
            size_t place = (size_t)atoi(own->counters[j] + strlen("{m}:")) / 7;
            least[place] += status == GAVEL_COMMITTED;
            most[place] += status == GAVEL_COMMITTED || status == GAVEL_UNKNOWN;
        }
        long long mark = sim_get_int(p->world, own->mark);
        cr_expect(!own->has_mark || status == GAVEL_UNKNOWN || mark == (status == GAVEL_COMMITTED),
            "seed %d: %s is %lld, told %s", seed, own->mark, mark, gavel_status_name(status));
    }
    cr_expect_eq(sim_get_int(p->world, "{m}:pair:0"), sim_get_int(p->world, "{m}:pair:1"));
    for (int i = 0; i < N_COUNTERS; i++) {
        char name[32];
        snprintf(name, sizeof name, "{m}:%03d", i * 7);
        long long found = sim_get_int(p->world, name);
        cr_expect(found >= least[i] && found <= most[i], "seed %d: %s is %lld, told %lld to %lld",
            seed, name, found, least[i], most[i]);
    }
}

/* Key by key, slowly or fast, as soon as the one before is over. */
static void move_on(play *p)
{
    if (sim_n_moves(p->world) > 0)
        return;
    sim_move_slot(p->world, &(sim_move){.slot = p->slot,
                                .to = sim_random(p->world, 3),
                                .is_atomic = sim_random(p->world, 8) == 0,
                                .key_us = 1 + (int64_t)sim_random(p->world, 30 * SIM_MILLISECOND)});
}

static size_t play_anything(int seed)
{
    play *p = open_play(seed);
    sim_faults faults = sim_draw_faults(p->world);
    faults.restart_every_us = 0; /* a replica would take over */
    sim_set_faults(p->world, &faults);
    while (p->n < N_SUBMITTED) {
        submit(p);
        move_on(p);
        sim_run_for(p->world, (int64_t)sim_random(p->world, 60 * SIM_MILLISECOND));
    }
    sim_set_faults(p->world, NULL);
    cr_assert(sim_finish(p->world, 60 * SIM_SECOND), "seed %d", seed);
    while (sim_n_moves(p->world) > 0)
        sim_run_for(p->world, SIM_SECOND);
    check(p, seed);
    size_t n_asking = p->n_asking;
    if (getenv("GAVEL_SEED") != NULL)
        printf("seed %d: %zu committed, %zu unknown; %d moves, %zu times ASKING\n", seed,
            sim_n_results_with(p->world, GAVEL_COMMITTED),
            sim_n_results_with(p->world, GAVEL_UNKNOWN), (int)sim_get_counters(p->world)->n_moves,
            n_asking);
    close_play(p);
    return n_asking;
}

Test(sim_asks, counters_are_exact_whatever_happens)
{
    sim_seeds seeds = sim_choose_seeds(60);
    size_t n_asking = 0;
    for (int seed = seeds.first; seed < seeds.end; seed++)
        n_asking += play_anything(seed);
    cr_expect_gt(n_asking, 0);
}
