/*
 * Clients of a Cluster on the simulator: counters all over the slots come out exact, whatever
 * becomes of slots, nodes and links.
 *
 * GAVEL_SEEDS is the number of seeds, from GAVEL_FIRST_SEED on; one that fails is played alone with
 * GAVEL_SEED.
 */
#include "sim.h"

#include "base/slot.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_COUNTERS 8
#define N_SUBMITTED 200
#define MAX_CLIENTS 3
#define LEASE_MS 200
#define LEASE_US (LEASE_MS * SIM_MILLISECOND)

/* It leaves a mark of its own, and counts in a counter for all that it shares a slot with. */
typedef struct deed {
    char counter[32];
    char mark[32];
    const struct member *of;
    const sim_result *result;
    bool is_told_lost;
    bool may_be_lost; /* was told */
} deed;

/* A client, and what it was told to be lost. */
typedef struct member {
    gavel_client *client;
    gavel_ticket lost[N_SUBMITTED];
    size_t n_lost;
    gavel_ticket unsure[N_SUBMITTED]; /* that may be lost */
    size_t n_unsure;
} member;

typedef struct play {
    sim_world *world;
    member members[MAX_CLIENTS];
    size_t n_members;
    size_t n_counters;
    deed deeds[N_SUBMITTED];
    size_t n;
    bool is_unsure;
} play;

/* Plays without moves where something was told that it may be lost: where several nodes fell at
 * once, or one unseen, slots may have moved for all that a client knows; and where one took over
 * that no map had named before, and was started anew before it was asked; and where one had not
 * said its epoch yet. */
static int n_unsure;

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
    member *of = user;
    if (event->type == GAVEL_EVENT_LOST)
        of->lost[of->n_lost++] = event->ticket;
    if (event->type == GAVEL_EVENT_MAY_BE_LOST)
        of->unsure[of->n_unsure++] = event->ticket;
}

static void submit(play *p)
{
    deed *own = &p->deeds[p->n++];
    int place = (int)sim_random(p->world, p->n_counters);
    own->of = &p->members[p->n_members > 1 ? sim_random(p->world, p->n_members) : 0];
    snprintf(own->counter, sizeof own->counter, "{%d}:counter", place);
    snprintf(own->mark, sizeof own->mark, "{%d}:mark:%zu", place, p->n);
    gavel_read read = {.key = gavel_str(own->counter)};
    bool is_declared = sim_random(p->world, 2) == 0;
    own->result = sim_submit(p->world, own->of->client,
        &(gavel_transaction){.body = leave_mark,
            .user = own,
            .reads = is_declared ? &read : NULL,
            .n_reads = is_declared ? 1 : 0,
            .deadline_ms = 20000});
}

static void note_losses(play *p)
{
    for (size_t j = 0; j < p->n; j++) {
        deed *own = &p->deeds[j];
        const member *of = own->of;
        for (size_t i = 0; i < of->n_lost; i++)
            own->is_told_lost |= own->result->ticket == of->lost[i];
        for (size_t i = 0; i < of->n_unsure; i++)
            own->may_be_lost |= own->result->ticket == of->unsure[i];
        cr_expect_not(own->may_be_lost && own->is_told_lost);
        p->is_unsure |= own->may_be_lost && sim_get_counters(p->world)->n_moves == 0;
    }
}

/* Each is there once, if it was told so; not at all, if it was told so, or told to be lost; of what
 * may be lost, either. */
static size_t check(play *p, int seed)
{
    size_t n_bad = 0;
    note_losses(p);
    for (size_t i = 0; i < p->n; i++) {
        const deed *own = &p->deeds[i];
        const gavel_outcome *outcome = &own->result->outcome;
        sim_choose_by_key(p->world, own->mark);
        long long found = sim_get_int(p->world, own->mark);
        long long least =
            outcome->status == GAVEL_COMMITTED && !own->is_told_lost && !own->may_be_lost;
        long long most = (outcome->status == GAVEL_COMMITTED && !own->is_told_lost) ||
                         outcome->status == GAVEL_UNKNOWN;
        if (found >= least && found <= most)
            continue;
        n_bad++;
        cr_expect(false, "seed %d: %s is %lld, told %s (%s)%s", seed, own->mark, found,
            gavel_status_name(outcome->status), outcome->message,
            own->is_told_lost  ? ", and lost"
            : own->may_be_lost ? ", and that it may be lost"
                               : "");
    }
    return n_bad;
}

static play *open_play(uint64_t seed)
{
    play *p = calloc(1, sizeof *p);
    cr_assert(p != NULL);
    p->world = sim_create(seed);
    p->n_counters = N_COUNTERS;
    sim_add_cluster(p->world, &(sim_cluster){.n_replicas = 1});
    return p;
}

static void join(play *p, gavel_mode mode)
{
    member *of = &p->members[p->n_members++];
    of->client = sim_open(p->world,
        &(gavel_config){
            .mode = mode, .gate_lease_ms = LEASE_MS, .hooks = {.on_event = on_event, .user = of}});
}

static void close_play(play *p)
{
    for (size_t i = 0; i < p->n_members; i++)
        gavel_close(p->members[i].client);
    sim_destroy(p->world);
    free(p);
}

Test(sim_slots, counters_on_all_nodes)
{
    play *p = open_play(1);
    join(p, GAVEL_ADAPTIVE);
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

/* Slots wander, or replicas take over, or both. */
static sim_faults draw(sim_world *world)
{
    sim_faults faults = sim_draw_faults(world);
    uint64_t which = sim_random(world, 3);
    faults.move_every_us = which != 0 ? 200 * SIM_MILLISECOND : 0;
    faults.failover_every_us = which != 1 ? 3 * SIM_SECOND : 0;
    if (which == 1)
        faults.restart_every_us = 0;
    return faults;
}

/* Half of the submissions come at once. */
static void play_anything(play *p, int seed, const sim_faults *faults)
{
    sim_set_faults(p->world, faults);
    while (p->n < N_SUBMITTED) {
        submit(p);
        if (p->n_members == 1 || sim_random(p->world, 2) == 0)
            sim_run_for(p->world, (int64_t)sim_random(p->world, 100 * SIM_MILLISECOND));
    }
    sim_set_faults(p->world, NULL);
    cr_assert(sim_finish(p->world, 60 * SIM_SECOND), "seed %d", seed);
    sim_run_for(p->world, 120 * SIM_SECOND);
    size_t n_bad = check(p, seed);
    const sim_counters *counters = sim_get_counters(p->world);
    n_unsure += p->is_unsure;
    cr_expect(!p->is_unsure || counters->n_failovers + counters->n_restarts > 0, "seed %d", seed);
    if (getenv("GAVEL_SEED") != NULL || n_bad > 0)
        printf("seed %d: %zu committed, %zu unknown; %d moves, %d failovers\n", seed,
            sim_n_results_with(p->world, GAVEL_COMMITTED),
            sim_n_results_with(p->world, GAVEL_UNKNOWN), (int)counters->n_moves,
            (int)counters->n_failovers);
}

/* A part of the seeds, or the one that is asked for. */
static void for_each_seed(void (*one)(int seed), int part)
{
    sim_seeds seeds = sim_choose_seeds(40);
    int end = seeds.is_one ? seeds.end : seeds.first + (seeds.end - seeds.first) / part;
    for (int seed = seeds.first; seed < end; seed++)
        one(seed);
    cr_expect_leq(n_unsure, 1 + (end - seeds.first) / 25);
}

static void play_alone(int seed)
{
    play *p = open_play((uint64_t)seed);
    join(p, GAVEL_ADAPTIVE);
    sim_faults faults = draw(p->world);
    play_anything(p, seed, &faults);
    close_play(p);
}

Test(sim_slots, counters_are_exact_whatever_happens)
{
    for_each_seed(play_alone, 1);
}

/* Several processes that want the same two counters, and queue at their gates. */
static void play_gated(int seed)
{
    play *p = open_play((uint64_t)seed);
    p->n_counters = 2;
    while (p->n_members < MAX_CLIENTS)
        join(p, sim_random(p->world, 2) == 0 ? GAVEL_GATED : GAVEL_ADAPTIVE);
    sim_faults faults = draw(p->world);
    play_anything(p, seed, &faults);
    close_play(p);
}

Test(sim_slots, counters_behind_gates_are_exact_whatever_happens)
{
    for_each_seed(play_gated, 8);
}

/* Both slots go on to another node, key by key or at once. */
static void wander(play *p)
{
    for (size_t i = 0; i < p->n_counters; i++) {
        char key[32];
        snprintf(key, sizeof key, "{%zu}:counter", i);
        sim_move_slot(p->world, &(sim_move){.slot = gavel__slot_of(gavel_str(key)),
                                    .to = (size_t)sim_random(p->world, 3),
                                    .is_atomic = sim_random(p->world, 2) == 0,
                                    .key_us = 1 + (int64_t)sim_random(p->world, SIM_MILLISECOND)});
    }
}

/* Nothing but slots that wander, and gates: whoever stands in a queue goes along, and nobody waits
 * there for his deadline. */
static void play_wandering(int seed)
{
    play *p = open_play((uint64_t)seed);
    p->n_counters = 2;
    while (p->n_members < MAX_CLIENTS)
        join(p, GAVEL_GATED);
    while (p->n < N_SUBMITTED) {
        if (p->n % 20 == 0)
            wander(p);
        submit(p);
        if (sim_random(p->world, 2) == 0)
            sim_run_for(p->world, (int64_t)sim_random(p->world, 20 * SIM_MILLISECOND));
    }
    cr_assert(sim_finish(p->world, 60 * SIM_SECOND), "seed %d", seed);
    cr_expect_eq(check(p, seed), 0);
    int64_t longest_us = 0;
    for (size_t i = 0; i < p->n; i++) {
        const gavel_outcome *outcome = &p->deeds[i].result->outcome;
        cr_expect_eq(outcome->status, GAVEL_COMMITTED, "seed %d: %s", seed, outcome->message);
        if (outcome->elapsed_us > longest_us)
            longest_us = outcome->elapsed_us;
    }
    cr_expect_lt(longest_us, 5 * LEASE_US, "seed %d: one took %d us", seed, (int)longest_us);
    close_play(p);
}

Test(sim_slots, who_waits_at_a_gate_goes_along_with_the_slot)
{
    for_each_seed(play_wandering, 4);
}

/* ---- Nodes that come and go ------------------------------------------------------------------ */

static gavel_verdict count_up(gavel_tx *tx, void *key)
{
    gavel_incr(tx, gavel_str(key), 1);
    return GAVEL_COMMIT;
}

/* A key of the server's. */
static void find_key(const sim_world *world, size_t server, char key[32])
{
    int i = 0;
    do
        snprintf(key, 32, "key%d", i++);
    while (sim_owner_of(world, sim_slot_of(key)) != server);
}

/* As where each has another address whenever it is started: the numbers of those that are gone are
 * given away again. (How many there may be in the end: test_slots.c.) */
Test(sim_slots, nodes_may_have_new_places_for_ever)
{
    char keys[3][32];
    play *p = open_play(1);
    join(p, GAVEL_ADAPTIVE);
    for (size_t i = 0; i < 3; i++)
        find_key(p->world, i, keys[i]);
    for (int step = 0; step < 150; step++) {
        char *key = keys[step % 3];
        sim_give_port(p->world, (size_t)step % 3);
        sim_run_for(p->world, 10 * SIM_MILLISECOND);
        const sim_result *result = sim_submit(
            p->world, p->members[0].client, &(gavel_transaction){.body = count_up, .user = key});
        cr_assert(sim_finish(p->world, 10 * SIM_SECOND));
        cr_assert_eq(result->outcome.status, GAVEL_COMMITTED, "step %d: %s (%s)", step,
            gavel_status_name(result->outcome.status), result->outcome.message);
    }
    close_play(p);
}

/* MOVED says "?" then, and the port: that is no place, whoever says so. The map has its address. */
Test(sim_slots, a_node_without_a_name_is_found_all_the_same)
{
    char key[32];
    play *p = open_play(1);
    sim_set_endpoint(p->world, SIM_ENDPOINT_NO_NAME);
    sim_give_port(p->world, 1);
    join(p, GAVEL_ADAPTIVE);
    find_key(p->world, 0, key);
    for (int i = 0; i < 2; i++) {
        const sim_result *result = sim_submit(
            p->world, p->members[0].client, &(gavel_transaction){.body = count_up, .user = key});
        cr_assert(sim_finish(p->world, 10 * SIM_SECOND));
        cr_assert_eq(result->outcome.status, GAVEL_COMMITTED, "%s", result->outcome.message);
        sim_move_slot(p->world, &(sim_move){.slot = sim_slot_of(key), .to = 1, .is_atomic = true});
        sim_run_for(p->world, SIM_SECOND);
    }
    close_play(p);
}

/* Replicas serve no slots, but tell who does: each is asked on one link, which is let be. */
Test(sim_slots, without_any_primary_replicas_are_asked)
{
    char key[32];
    char url[64];
    gavel_stats stats;
    play *p = open_play(1);
    snprintf(url, sizeof url, "redis+cluster://%s", sim_host_of(p->world, 0));
    p->members[p->n_members++].client = sim_open_url(p->world, url, NULL);
    find_key(p->world, 0, key);
    gavel_transaction transaction = {.body = count_up, .user = key, .deadline_ms = 60000};
    const sim_result *first = sim_submit(p->world, p->members[0].client, &transaction);
    sim_run_for(p->world, 20 * SIM_SECOND);
    cr_assert_eq(first->outcome.status, GAVEL_COMMITTED);
    for (size_t i = 0; i < 3; i++) {
        sim_choose(p->world, i);
        sim_restart(p->world, 20 * SIM_SECOND, true);
    }
    const sim_result *second = sim_submit(p->world, p->members[0].client, &transaction);
    cr_assert(sim_finish(p->world, 60 * SIM_SECOND));
    cr_expect_eq(second->outcome.status, GAVEL_COMMITTED, "%s", second->outcome.message);
    gavel_read_stats(p->members[0].client, &stats);
    cr_expect_lt(stats.n_links_up, 50, "%d links", (int)stats.n_links_up);
    close_play(p);
}

/* Nor is one dialled on and on for those who waited there, and have gone along with their slot. */
Test(sim_slots, a_primary_that_comes_back_as_a_replica_is_let_be)
{
    char key[32];
    char url[64];
    gavel_stats stats;
    play *p = open_play(1);
    snprintf(url, sizeof url, "redis+cluster://%s", sim_host_of(p->world, 1));
    p->members[p->n_members++].client = sim_open_url(p->world, url, NULL);
    find_key(p->world, 0, key);
    sim_set_lag(p->world, 3, SIM_SECOND, SIM_SECOND);
    const sim_result *result = sim_submit(p->world, p->members[0].client,
        &(gavel_transaction){.body = count_up,
            .user = key,
            .deadline_ms = 60000,
            .min_replicas = 1,
            .durable_ms = 60000});
    sim_run_for(p->world, 500 * SIM_MILLISECOND);
    sim_choose(p->world, 0);
    sim_restart(p->world, 30 * SIM_SECOND, true);
    sim_run_for(p->world, 100 * SIM_SECOND);
    cr_assert(result->is_done);
    cr_expect_eq(result->outcome.status, GAVEL_COMMITTED, "%s", result->outcome.message);
    gavel_read_stats(p->members[0].client, &stats);
    cr_expect_lt(stats.n_links_up, 50, "%d links", (int)stats.n_links_up);
    close_play(p);
}

/* ---- What links are called ------------------------------------------------------------------ */

#define MAX_LINKS 256

typedef struct links {
    char servers[MAX_LINKS][64]; /* of each link that came up, as events tell; "": none */
    size_t n_lines;
} links;

static void note_link(const gavel_event *event, void *user)
{
    links *known = user;
    if (event->type != GAVEL_EVENT_LINK_UP)
        return;
    cr_assert_lt(event->link, MAX_LINKS);
    char *server = known->servers[event->link];
    cr_expect(server[0] == '\0' || strcmp(server, event->message) == 0, "link %u is of %s and %s",
        (unsigned)event->link, server, event->message);
    snprintf(server, sizeof known->servers[0], "%s", event->message);
}

/* Logged before the event is told: looked at by the next line. */
static void note_line(gavel_log_level level, const char *line, void *user)
{
    links *known = user;
    char server[64];
    unsigned link;
    (void)level;
    if (sscanf(line, "%63[^ ] link %u: up", server, &link) != 2 || strstr(line, ": up") == NULL)
        return;
    cr_assert_lt(link, MAX_LINKS);
    server[strlen(server) - 1] = '\0'; /* its colon */
    cr_expect(known->servers[link][0] == '\0' || strcmp(known->servers[link], server) == 0,
        "%s, but link %u is of %s", line, link, known->servers[link]);
    snprintf(known->servers[link], sizeof known->servers[0], "%s", server);
    known->n_lines++;
}

/* Of all nodes, so that one number means one link, and a line says to which server. */
Test(sim_slots, links_are_told_apart_and_named_after_their_nodes)
{
    links known = {.n_lines = 0};
    play *p = open_play(1);
    p->members[0].client = sim_open(p->world,
        &(gavel_config){.hooks = {.on_event = note_link, .on_log = note_line, .user = &known}});
    p->n_members = 1;
    while (p->n < 50)
        submit(p);
    cr_assert(sim_finish(p->world, 60 * SIM_SECOND));
    size_t n_links = 0;
    size_t n_servers = 0;
    for (size_t i = 0; i < MAX_LINKS; i++) {
        bool is_known = false;
        if (known.servers[i][0] == '\0')
            continue;
        for (size_t j = 0; j < i; j++)
            is_known = is_known || strcmp(known.servers[i], known.servers[j]) == 0;
        n_links++;
        n_servers += !is_known;
    }
    cr_expect_geq(n_servers, 3, "%zu servers", n_servers);
    cr_expect_eq(known.n_lines, n_links);
    close_play(p);
}
