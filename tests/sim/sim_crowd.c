/*
 * The crowd: see the header.
 */
#include "sim_crowd.h"

#include "base/text.h"
#include "client/client.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const gavel_bytes names[CROWD_MAX_KEYS] = {{"hot0", 4}, {"hot1", 4}, {"hot2", 4},
    {"hot3", 4}, {"hot4", 4}, {"hot5", 4}, {"hot6", 4}, {"hot7", 4}, {"hot8", 4}, {"hot9", 4}};

/* ---- Stalls -------------------------------------------------------------------------------- */

static bool has_live_work(const crowd *c)
{
    for (size_t i = 0; i < c->n_callers; i++) {
        const crowd_member *member = c->callers[i].member;
        if (c->callers[i].deed != NULL && !member->is_dead && !member->is_paused)
            return true;
    }
    return false;
}

/* To be called before and after anything that may change who works. */
static void note_work(crowd *c)
{
    int64_t now_us = sim_now_us(c->world);
    if (c->worked_us < 0) {
        c->worked_us = has_live_work(c) ? now_us : -1;
        return;
    }
    int64_t since_us = c->committed_us > c->worked_us ? c->committed_us : c->worked_us;
    if (now_us - since_us > c->longest_stall_us)
        c->longest_stall_us = now_us - since_us;
    if (!has_live_work(c))
        c->worked_us = -1;
}

static void on_entry(sim_world *world, const sim_entry *entry, void *user)
{
    crowd *c = user;
    if (entry->exec == 0 || entry->how != SIM_RAN || !sim_entry_is(entry, "hset"))
        return;
    note_work(c);
    c->committed_us = sim_now_us(world);
}

/* ---- Deeds --------------------------------------------------------------------------------- */

static gavel_verdict do_deed(gavel_tx *tx, void *user)
{
    const crowd_deed *deed = user;
    int64_t values[CROWD_MAX_KEYS] = {0};
    for (size_t i = 0; i < deed->n_keys; i++)
        gavel_hget_int(tx, names[deed->keys[i]], GAVEL_STR("n"), &values[i]);
    int64_t moved = deed->amount * (int64_t)(deed->n_keys - 1);
    for (size_t i = 0; i < deed->n_keys; i++) {
        int64_t change = i > 0 ? deed->amount : deed->n_keys > 1 ? -moved : deed->amount;
        gavel_hset_int(tx, names[deed->keys[i]], GAVEL_STR("n"), values[i] + change);
    }
    char tag[24];
    snprintf(tag, sizeof tag, "t%zu", deed->number);
    if (!deed->caller->crowd->config.is_lean)
        gavel_hset_int(tx, names[deed->keys[0]], gavel_str(tag), 1);
    return GAVEL_COMMIT;
}

static void choose_keys(crowd *c, crowd_caller *caller, crowd_deed *deed)
{
    deed->n_keys = caller->n_keys;
    memcpy(deed->keys, caller->keys, sizeof deed->keys);
    if (caller->n_keys > 0)
        return;
    size_t n = c->config.n_keys;
    bool is_several = n > 1 && sim_random(c->world, 1000) < c->config.several;
    size_t first = sim_random(c->world, n);
    size_t step = n > 2 && sim_random(c->world, 2) != 0 ? n - 1 : 1; /* up or down */
    deed->n_keys = is_several ? 2 + sim_random(c->world, n - 1) : 1;
    for (size_t i = 0; i < deed->n_keys; i++)
        deed->keys[i] = (first + i * step) % n;
}

static void on_done(const gavel_outcome *outcome, void *user);

static void submit(crowd_caller *caller)
{
    crowd *c = caller->crowd;
    crowd_deed *deed = calloc(1, sizeof *deed);
    c->deeds = realloc(c->deeds, (c->n_deeds + 1) * sizeof(crowd_deed *));
    cr_assert(deed != NULL && c->deeds != NULL);
    deed->number = c->n_deeds;
    c->deeds[c->n_deeds++] = deed;
    deed->caller = caller;
    deed->amount = 1 + (int64_t)sim_random(c->world, 9);
    deed->submitted_us = sim_now_us(c->world);
    choose_keys(c, caller, deed);
    gavel_read reads[CROWD_MAX_KEYS];
    for (size_t i = 0; i < deed->n_keys; i++)
        reads[i] = (gavel_read){.key = names[deed->keys[i]], .field = GAVEL_STR("n")};
    caller->deed = deed;
    gavel_transaction transaction = {.body = do_deed,
        .user = deed,
        .reads = reads,
        .n_reads = deed->n_keys,
        .deadline_ms = c->config.deadline_ms};
    gavel_client *client = caller->member->client;
    cr_assert_neq(gavel_submit(client, &transaction, on_done), 0);
    client->loop->ops->wake(client->loop); /* it may be an actor, and not the loop, that calls */
    note_work(c);
}

static void on_done(const gavel_outcome *outcome, void *user)
{
    crowd_deed *deed = user;
    crowd_caller *caller = deed->caller;
    crowd *c = caller->crowd;
    deed->n_told++;
    if (deed->is_lost)
        return;
    note_work(c);
    deed->outcome = *outcome;
    deed->done_us = sim_now_us(c->world);
    caller->deed = NULL;
    if (gavel_is_committed(outcome)) {
        caller->n_committed++;
        caller->member->n_committed++;
        caller->n_attempts += outcome->n_attempts;
        caller->n_gated += outcome->is_gated;
    }
    if (deed->done_us - deed->submitted_us > caller->longest_us)
        caller->longest_us = deed->done_us - deed->submitted_us;
    if (!c->is_over && !caller->is_resting && c->config.pause_us == 0)
        submit(caller);
    note_work(c);
}

/* Some of those who rest come back. */
static void wake_callers(sim_world *world, void *user)
{
    crowd *c = user;
    for (size_t i = 0; i < c->n_callers && !c->is_over; i++) {
        crowd_caller *caller = &c->callers[i];
        bool can = !caller->member->is_dead && !caller->member->is_paused && !caller->is_resting;
        if (can && caller->deed == NULL && sim_random(world, 4) == 0)
            submit(caller);
    }
}

static void let_callers_wake(crowd *c)
{
    if (c->config.pause_us > 0)
        sim_add_actor(c->world, c->config.pause_us / 4 + 1, wake_callers, c);
}

/* ---- Members ------------------------------------------------------------------------------- */

crowd *crowd_create(const crowd_config *config)
{
    crowd *c = calloc(1, sizeof *c);
    cr_assert_not_null(c);
    c->config = *config;
    if (c->config.n_keys == 0)
        c->config.n_keys = 1;
    if (c->config.deadline_ms == 0)
        c->config.deadline_ms = 5000;
    c->world = sim_create(config->seed);
    c->worked_us = -1;
    c->committed_us = sim_now_us(c->world);
    sim_set_hook(c->world, on_entry, c);
    let_callers_wake(c);
    return c;
}

void crowd_calm(crowd *c)
{
    sim_stop_actors(c->world);
    let_callers_wake(c);
    sim_set_faults(c->world, NULL);
    sim_disarm(c->world);
    for (size_t i = 0; i < c->n_members; i++)
        crowd_pause(c, &c->members[i], false);
}

void crowd_destroy(crowd *c)
{
    c->is_over = true;
    sim_stop_actors(c->world);
    for (size_t i = 0; i < c->n_members; i++) {
        crowd_pause(c, &c->members[i], false);
        if (!c->members[i].is_dead)
            gavel_close(c->members[i].client);
    }
    sim_destroy(c->world);
    for (size_t i = 0; i < c->n_deeds; i++)
        free(c->deeds[i]);
    free(c->deeds);
    free(c);
}

crowd_member *crowd_join(crowd *c, const gavel_config *config, size_t n_callers)
{
    cr_assert_lt(c->n_members, CROWD_MAX_CLIENTS);
    cr_assert_leq(c->n_callers + n_callers, CROWD_MAX_CALLERS);
    gavel_config own = *config;
    own.gate_lease_ms = CROWD_LEASE_MS;
    crowd_member *member = &c->members[c->n_members++];
    *member = (crowd_member){.client = sim_open(c->world, &own)};
    for (size_t i = 0; i < n_callers; i++) {
        crowd_caller *caller = &c->callers[c->n_callers++];
        *caller = (crowd_caller){.crowd = c, .member = member};
        if (c->config.pause_us == 0)
            submit(caller);
    }
    return member;
}

void crowd_play(crowd *c, int64_t us)
{
    sim_run_for(c->world, us);
    note_work(c);
}

static bool is_all_told(sim_world *world, void *user)
{
    const crowd *c = user;
    (void)world;
    for (size_t i = 0; i < c->n_callers; i++) {
        if (c->callers[i].deed != NULL && !c->callers[i].member->is_dead)
            return false;
    }
    return true;
}

bool crowd_leave(crowd *c, int64_t max_us)
{
    c->is_over = true;
    return sim_run_until(c->world, is_all_told, c, max_us);
}

void crowd_kill(crowd *c, crowd_member *member, int64_t orphaned_us)
{
    note_work(c);
    member->is_dead = true;
    for (size_t i = 0; i < c->n_callers; i++) {
        crowd_caller *caller = &c->callers[i];
        if (caller->member != member)
            continue;
        caller->is_resting = true;
        if (caller->deed != NULL)
            caller->deed->is_lost = true;
        caller->deed = NULL;
    }
    sim_crash(c->world, member->client, orphaned_us);
    note_work(c);
}

void crowd_pause(crowd *c, crowd_member *member, bool is_paused)
{
    if (member->is_dead || member->is_paused == is_paused)
        return;
    note_work(c);
    member->is_paused = is_paused;
    member->was_paused = true;
    if (is_paused)
        sim_pause(c->world, member->client);
    else
        sim_resume(c->world, member->client);
    note_work(c);
}

void crowd_intrude(crowd *c, size_t key)
{
    char line[64];
    snprintf(line, sizeof line, "HINCRBY %s n 1", names[key].data);
    c->foreign[key]++;
    sim_do(c->world, line);
}

crowd_member *crowd_anybody(crowd *c)
{
    size_t first = sim_random(c->world, c->n_members);
    for (size_t i = 0; i < c->n_members; i++) {
        crowd_member *member = &c->members[(first + i) % c->n_members];
        if (!member->is_dead && !member->is_paused)
            return member;
    }
    return NULL;
}

/* ---- Judging ------------------------------------------------------------------------------- */

static void judge_outcome(const crowd *c, const crowd_deed *deed, bool is_applied)
{
    const gavel_outcome *outcome = &deed->outcome;
    int seed = (int)c->config.seed;
    if (deed->is_lost)
        return;
    cr_expect_eq(deed->n_told, 1, "seed %d: deed %zu was told %u times", seed, deed->number,
        (unsigned)deed->n_told);
    if (outcome->status == GAVEL_UNKNOWN)
        return;
    cr_expect_eq(is_applied, gavel_is_committed(outcome),
        "seed %d: deed %zu was %smade, but told %s (%s)", seed, deed->number,
        is_applied ? "" : "not ", gavel_status_name(outcome->status), outcome->message);
    int64_t late_us = deed->done_us - deed->submitted_us - c->config.deadline_ms * SIM_MILLISECOND;
    if (!deed->caller->member->was_paused)
        cr_expect_leq(late_us, SIM_MILLISECOND, "seed %d: deed %zu was told %d us late", seed,
            deed->number, (int)late_us);
}

void crowd_judge(const crowd *c)
{
    int64_t sums[CROWD_MAX_KEYS];
    memcpy(sums, c->foreign, sizeof sums);
    for (size_t i = 0; i < c->n_deeds; i++) {
        const crowd_deed *deed = c->deeds[i];
        char tag[24];
        snprintf(tag, sizeof tag, "t%zu", deed->number);
        bool is_applied = sim_hget_int(c->world, names[deed->keys[0]].data, tag) == 1;
        judge_outcome(c, deed, is_applied);
        if (!is_applied)
            continue;
        sums[deed->keys[0]] -=
            deed->n_keys > 1 ? deed->amount * (int64_t)(deed->n_keys - 1) : -deed->amount;
        for (size_t k = 1; k < deed->n_keys; k++)
            sums[deed->keys[k]] += deed->amount;
    }
    for (size_t i = 0; i < c->config.n_keys; i++) {
        int64_t value = sim_hget_int(c->world, names[i].data, "n");
        cr_expect_eq(value, sums[i], "seed %d: %s holds %d, not %d", (int)c->config.seed,
            names[i].data, (int)value, (int)sums[i]);
    }
}

static bool holds(const gavel_client *client, gavel_bytes key, int64_t now_us)
{
    for (const gavel__lane *lane = gavel__nodes_first_lane(&client->engine.nodes); lane != NULL;
         lane = gavel__nodes_next_lane(lane)) {
        const gavel__pass *pass = &lane->pass;
        if (pass->state != GAVEL__PASS_HELD || pass->is_handed_off ||
            now_us - pass->granted_us >= CROWD_LEASE_US)
            continue;
        for (size_t k = 0; k < pass->n_gates; k++) {
            if (gavel__bytes_equal(pass->gates[k]->node.key, key) && !pass->gates[k]->is_spurious)
                return true;
        }
    }
    return false;
}

size_t crowd_n_tokens(const crowd *c, size_t key)
{
    char list[64];
    snprintf(list, sizeof list, "gavel:queue:{%s}", names[key].data);
    size_t n_tokens = sim_llen(c->world, list);
    for (size_t i = 0; i < c->n_members; i++) {
        if (!c->members[i].is_dead)
            n_tokens += holds(c->members[i].client, names[key], sim_now_us(c->world));
    }
    return n_tokens;
}
