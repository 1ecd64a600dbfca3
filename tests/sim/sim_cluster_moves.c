/*
 * Slots that go from node to node, as an operator or the servers themselves would move them. For
 * tests, through sim.h.
 *
 *     key by key   IMPORTING --> MIGRATING --> a key, a key, ... --> the new owner knows, then the
 *                  old one, then the others
 *     atomic       a copy, as large as the slot --> writers wait --> the new owner has all and
 *                  knows --> the old one hears of it, deletes, and sends writers there
 */
#include "sim_cluster.h"
#include "sim_sentinel.h"

#include <stdlib.h>

#define KEY_US SIM_MILLISECOND
#define PAUSE_US (5 * SIM_MILLISECOND)
#define RETRY_US (10 * SIM_MILLISECOND)
#define STEP_MAX_US SIM_MILLISECOND

/* How long the old owner does not know that it is none any more: it answers readers still. */
#define UNAWARE_MIN_US 20
#define UNAWARE_MAX_US 500

typedef enum stage { OPENING, MIGRATING, COPYING, PAUSED, OVER } stage;

typedef struct sim__move {
    sim_world *world;
    sim_move wanted;
    stage stage;
    sim__server *from; /* that it is being moved from, or was begun to be */
    sim__server *to;
    sim__server *aim; /* whose shard is meant: of the one that the slot was opened at, if any */
} sim__move;

static void step(sim_world *world, void *subject);

/* ---- Steps --------------------------------------------------------------------------------- */

static void schedule(sim__move *move, int64_t in_us)
{
    sim__schedule(move->world, move->world->now_us + in_us, step, move);
}

static void schedule_soon(sim__move *move)
{
    schedule(move, sim__between(&move->world->topology, 1, STEP_MAX_US));
}

static void open_one_side(sim__move *move)
{
    unsigned slot = move->wanted.slot;
    const sim__open_slot *open = sim__open_slot_of(move->to, slot);
    if (open == NULL)
        sim__drop_slot(move->to, slot); /* What an earlier move left there. */
    if (open == NULL || !open->is_importing || open->other != move->from) {
        move->aim = move->to;
        sim__set_open(move->to, slot, true, move->from);
        sim__open_slot_of(move->to, slot)->is_by_move = true;
        return;
    }
    sim__set_open(move->from, slot, false, move->to);
    sim__open_slot_of(move->from, slot)->is_by_move = true;
    move->stage = MIGRATING;
}

/* The new owner knows; the old one will, soon. */
static void assign(sim__move *move)
{
    sim_world *world = move->world;
    int64_t unaware_us = sim__between(&world->topology, UNAWARE_MIN_US, UNAWARE_MAX_US);
    sim__take_slot(move->to, move->wanted.slot);
    sim__schedule(world, world->now_us + unaware_us, sim__hear_word,
        &move->from->node->words[move->to->number]);
    sim__announce(move->to, world->cluster->gossip_min_us, world->cluster->gossip_max_us);
    move->stage = OVER;
    world->counters.n_moves++;
}

static void move_next_key(sim__move *move)
{
    sim__key *key = sim__key_in_slot(move->from, move->wanted.slot, NULL);
    if (key == NULL) {
        assign(move);
        return;
    }
    sim__move_key(move->from, move->to, key);
    sim__end_write(move->from);
    sim__journal_call_hook(move->world);
}

static size_t n_keys(const sim__server *server, unsigned slot)
{
    size_t n = 0;
    for (sim__key *key = NULL; (key = sim__key_in_slot(server, slot, key)) != NULL;)
        n++;
    return n;
}

static void copy_slot(sim__move *move)
{
    sim__server *from = move->from;
    unsigned slot = move->wanted.slot;
    sim__drop_slot(move->to, slot);
    for (sim__key *key = NULL; (key = sim__key_in_slot(from, slot, key)) != NULL;)
        sim__restore_key(move->to, key);
}

/* The old owner goes on making writers wait until it hears of this. */
static void hand_over(sim__move *move)
{
    copy_slot(move);
    sim__pause(move->from, SIM_FOR_EVER);
    move->from->node->handed_slot = move->wanted.slot;
    assign(move);
}

/* ---- Going on ------------------------------------------------------------------------------ */

/* The two nodes by now. False: they cannot go on for the moment. */
static bool find_nodes(sim__move *move)
{
    sim_world *world = move->world;
    sim__server *to = sim__leader_of(move->aim);
    size_t owner = sim_owner_of(world, move->wanted.slot);
    if (owner == SIM_MAX_SERVERS)
        return false;
    sim__server *from = world->servers[owner];
    if (move->stage != OPENING && (from != move->from || to != move->to))
        move->stage = OPENING;
    move->from = from;
    move->to = to;
    bool is_unaware = from != to && to->node->owners[move->wanted.slot] == to->number;
    return sim__reaches(from, to) && sim__reaches(to, from) && from->primary == NULL && !is_unaware;
}

/* Whether the slot is being moved already. */
static bool has_to_queue(const sim__move *move)
{
    const sim__cluster *cluster = move->world->cluster;
    for (size_t i = 0; cluster->moves[i] != move; i++) {
        const sim__move *earlier = cluster->moves[i];
        if (earlier->stage != OVER && earlier->wanted.slot == move->wanted.slot)
            return true;
    }
    return false;
}

static void step(sim_world *world, void *subject)
{
    sim__move *move = subject;
    int64_t key_us = move->wanted.key_us;
    if (has_to_queue(move) || !find_nodes(move)) {
        move->stage = OPENING;
        schedule(move, RETRY_US);
        return;
    }
    if (move->from == move->to) {
        move->stage = OVER;
        return;
    }
    switch (move->stage) {
    case OPENING:
        if (move->wanted.is_atomic) {
            move->stage = COPYING;
            schedule(move, (int64_t)n_keys(move->from, move->wanted.slot) * key_us + STEP_MAX_US);
            return;
        }
        open_one_side(move);
        schedule_soon(move);
        return;
    case MIGRATING:
        move_next_key(move);
        if (move->stage != OVER)
            schedule(move, key_us);
        return;
    case COPYING:
        if (move->from->node->paused_until_us > world->now_us) {
            schedule(move, RETRY_US);
            return;
        }
        sim__pause(move->from, move->world->now_us + 2 * move->wanted.pause_us);
        move->stage = PAUSED;
        schedule(move, move->wanted.pause_us);
        return;
    case PAUSED:
        hand_over(move);
        return;
    case OVER:
        return;
    }
}

/* Whether it is the old owner and does not know that the slot has a new one: it sends whoever asks
 * there until then. */
static bool is_unaware(const sim__server *server, const sim__open_slot *open)
{
    return !open->is_importing && server->node->owners[open->slot] == server->number &&
           open->other->node->owners[open->slot] == open->other->number;
}

/* Whether a move is under way that has opened the slot there. */
static bool is_needed(const sim__server *server, const sim__open_slot *open)
{
    const sim__cluster *cluster = server->world->cluster;
    if (is_unaware(server, open))
        return true;
    for (size_t i = 0; i < cluster->n_moves; i++) {
        const sim__move *move = cluster->moves[i];
        if (move->stage == OVER || move->wanted.slot != open->slot)
            continue;
        if (!open->is_importing || move->to == server || sim__leader_of(move->aim) == server)
            return true;
    }
    return false;
}

void sim__forget_moves(sim__server *server)
{
    for (size_t i = server->node->n_open; i-- > 0;) {
        const sim__open_slot open = server->node->open[i];
        if (!open.is_by_move || is_needed(server, &open))
            continue;
        sim__set_open(server, open.slot, false, NULL);
        if (open.is_importing && server->primary == NULL)
            sim__drop_slot(server, open.slot);
    }
}

/* ---- For tests ----------------------------------------------------------------------------- */

void sim_move_slot(sim_world *world, const sim_move *wanted)
{
    sim__cluster *cluster = world->cluster;
    sim__move *move = sim__alloc(1, sizeof *move);
    cluster->moves = sim__resize(cluster->moves, cluster->n_moves + 1, sizeof *cluster->moves);
    cluster->moves[cluster->n_moves++] = move;
    *move = (sim__move){.world = world, .wanted = *wanted};
    if (wanted->slot >= SIM_N_SLOTS)
        sim__fail(world, "there is no such slot");
    move->aim = sim__server_at(world, wanted->to);
    if (move->wanted.key_us == 0)
        move->wanted.key_us = KEY_US;
    if (move->wanted.pause_us == 0)
        move->wanted.pause_us = PAUSE_US;
    schedule_soon(move);
}

size_t sim_n_moves(const sim_world *world)
{
    size_t n = 0;
    for (size_t i = 0; i < world->cluster->n_moves; i++)
        n += world->cluster->moves[i]->stage != OVER;
    return n;
}

void sim__moves_destroy(sim_world *world)
{
    if (world->cluster == NULL)
        return;
    for (size_t i = 0; i < world->cluster->n_moves; i++)
        free(world->cluster->moves[i]);
    free(world->cluster->moves);
}
