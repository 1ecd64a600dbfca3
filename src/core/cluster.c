/*
 * Nodes, as the engine has them; which of them are replicas; and which serves each slot of a
 * Cluster, so that who waits for a slot goes along with it. One part of the engine.
 */
#include "core/engine.h"

#include <assert.h>
#include <string.h>

void gavel__engine_init_node(
    gavel__engine *engine, gavel__engine_node *node, uint16_t index, const char *label)
{
    const gavel__engine_config *config = &engine->config;
    gavel__node_init(&node->base, label,
        &(gavel__lanes){.allocator = config->allocator,
            .n_links = config->max_links,
            .max_passing = config->max_gate_links,
            .max_blocking = config->max_waiting_links,
            .max_for_replicas = config->max_replica_links});
    node->base.index = index;
    gavel__durability_init(&node->durability, &engine->queue, &engine->questions,
        &(gavel__durability_config){.key_prefix = gavel_str(config->key_prefix),
            .identity = config->identity,
            .node = &node->base,
            .at_node = config->is_cluster ? index : GAVEL__NO_NODE,
            .nodes = config->is_cluster ? &engine->nodes : NULL,
            .slice_us = config->wait_slice_us});
    node->base.durability = &node->durability;
    bool has_ledger = config->is_cluster && config->ledger.is_kept;
    gavel__history_init(&node->history, has_ledger ? &engine->ledger : NULL, index);
    gavel__offsets_init(&node->offsets, &engine->questions,
        &(gavel__offsets_config){.at_node = config->is_cluster ? index : GAVEL__NO_NODE,
            .read_lease_clock = config->ledger.read_lease_clock,
            .clock = config->ledger.clock});
    node->base.offsets = &node->offsets;
}

/* False: no memory. */
static bool make_map(gavel__engine *engine)
{
    gavel__slot_map *map = engine->nodes.map;
    if (map == NULL)
        map = gavel__alloc(engine->config.allocator, 1, sizeof(*map));
    if (map == NULL)
        return false;
    if (engine->nodes.map == NULL) {
        for (size_t slot = 0; slot < GAVEL__N_SLOTS; slot++)
            map->node_of[slot] = GAVEL__NO_NODE;
    }
    engine->nodes.map = map;
    engine->queue.order.map = map;
    return true;
}

/* Behind the last one. NULL: no memory, or there are too many. */
static gavel__node *append_node(gavel__engine *engine, const char *label)
{
    uint32_t index = 0;
    gavel__node **place = &engine->nodes.first;
    for (; *place != NULL; place = &(*place)->following)
        index++;
    if (index == GAVEL__MAX_NODES)
        return NULL;
    gavel__engine_node *node = gavel__alloc(engine->config.allocator, 1, sizeof(*node));
    if (node == NULL)
        return NULL;
    gavel__engine_init_node(engine, node, (uint16_t)index, label);
    *place = &node->base;
    return &node->base;
}

gavel__node *gavel__engine_add_node(gavel__engine *engine, const char *label)
{
    assert(engine->config.is_cluster);
    if (!make_map(engine))
        return NULL;
    gavel__node *node = append_node(engine, label);
    if (node == NULL)
        return NULL;
    node->node_of = engine->nodes.map->node_of;
    engine->nodes.map->turns[node->index] = &node->turns;
    return node;
}

/* ---- Replicas ------------------------------------------------------------------------------ */

gavel__node *gavel__engine_add_replica(gavel__engine *engine, const char *label)
{
    assert(!engine->config.is_cluster);
    return append_node(engine, label);
}

void gavel__engine_leave_replica(gavel__engine *engine, const gavel__node *node, int64_t now_us)
{
    gavel__line *readers = (gavel__line *)&node->turns.lines[GAVEL__READY_READERS];
    for (size_t i = 0; i < engine->pool.n_places && !gavel__line_is_empty(readers); i++) {
        gavel__transaction *transaction = engine->pool.places[i].transaction;
        if (transaction != NULL && transaction->state == GAVEL__TX_READY &&
            transaction->replica == node)
            gavel__order_place(&engine->queue.order, transaction, now_us);
    }
}

void gavel__engine_set_primary(
    gavel__engine *engine, gavel__node *node, gavel__node *primary, int64_t now_us)
{
    if (node->primary == primary)
        return;
    gavel__node_set_primary(node, primary);
    gavel__engine_leave_replica(engine, node, now_us);
}

/* ---- Slots that move ------------------------------------------------------------------------ */

typedef struct moving {
    gavel__engine *engine;
    const gavel__slots_change *change;
    int64_t now_us;
} moving;

static bool has_migrated(const moving *self, uint16_t slot)
{
    const uint64_t *migrated = self->change->migrated;
    return migrated != NULL && (migrated[slot / 64] >> slot % 64 & 1) != 0;
}

/* Another node than before has a copy of its data. */
static bool is_taken_over(const void *user, uint16_t slot)
{
    const moving *self = user;
    uint16_t before = self->engine->nodes.map->node_of[slot];
    return before != GAVEL__NO_NODE && before != self->change->node_of[slot] &&
           !has_migrated(self, slot);
}

static gavel__history *history_of(gavel__node *node)
{
    return &GAVEL__CONTAINER(node, gavel__engine_node, base)->history;
}

/* NULL: of none. */
static gavel__node *node_at(const gavel__engine *engine, uint16_t index)
{
    gavel__turns *turns = index != GAVEL__NO_NODE ? engine->nodes.map->turns[index] : NULL;
    return turns != NULL ? GAVEL__CONTAINER(turns, gavel__node, turns) : NULL;
}

static gavel__history *history_at(const gavel__engine *engine, uint16_t index)
{
    gavel__node *node = node_at(engine, index);
    return node != NULL ? history_of(node) : NULL;
}

gavel__epochs gavel__engine_epochs(const void *engine, uint16_t slot, int64_t since_us)
{
    const gavel__engine *self = engine;
    gavel__node *node = node_at(self, self->nodes.map->node_of[slot]);
    return node != NULL
               ? gavel__history_epochs(history_of(node), gavel__node_has_link(node), since_us)
               : (gavel__epochs){0};
}

/* Whether this one follows another one, or, if it does not `lead`, is followed. */
static bool is_one_of_two(const gavel__engine *engine, const gavel__history *history, bool leads)
{
    for (gavel__node *node = engine->nodes.first; node != NULL; node = node->following) {
        const gavel__history *other = history_of(node);
        if (leads ? gavel__history_follows(history, other) : gavel__history_follows(other, history))
            return true;
    }
    return false;
}

bool gavel__engine_is_replaced(const void *engine, uint16_t slot)
{
    const gavel__engine *self = engine;
    const gavel__history *first = history_at(self, self->nodes.map->node_of[slot]);
    return first != NULL && is_one_of_two(self, first, false);
}

/* Whether one that has taken another one's place since then has this epoch. */
static bool is_of_takeover(const gavel__engine *engine, uint64_t epoch, int64_t since_us)
{
    for (gavel__node *node = engine->nodes.first; node != NULL; node = node->following) {
        const gavel__history *history = history_of(node);
        if (history->epochs.own == epoch &&
            (history->taken_us > since_us || is_one_of_two(engine, history, true)))
            return true;
    }
    return false;
}

/* How many were there in between, in one another's place, that fell before they said anything. */
static uint64_t n_silent(const gavel__history *history, int64_t since_us)
{
    uint64_t n = 0;
    int64_t before_us = history->taken_us;
    for (const gavel__history *at = history->taken_from;
         at != NULL && at->taken_us > since_us && at->taken_us < before_us; at = at->taken_from) {
        n += at->epochs.own == 0;
        before_us = at->taken_us;
    }
    return n;
}

/* Epochs are given out one after another: to who takes another one's place, and to whom a slot
 * comes. So if all of them are those of takeovers, no slot has gone anywhere. */
bool gavel__engine_has_stayed(const void *engine, uint16_t slot, const gavel__epochs *before)
{
    enum { MOST = 64 };
    const gavel__engine *self = engine;
    const gavel__history *history = history_at(self, self->nodes.map->node_of[slot]);
    uint64_t own = history != NULL ? history->epochs.own : 0;
    if (own != 0 && own == before->own)
        return true;
    if (before->newest == 0 || own <= before->newest || own - before->newest > MOST)
        return false;
    uint64_t n_open = 0;
    for (uint64_t epoch = before->newest + 1; epoch <= own; epoch++)
        n_open += !is_of_takeover(self, epoch, before->at_us);
    return n_open <= n_silent(history, before->at_us);
}

int64_t gavel__engine_fell_us(const void *engine, uint16_t slot)
{
    const gavel__engine *self = engine;
    const gavel__history *history = history_at(self, self->nodes.map->node_of[slot]);
    return history != NULL ? gavel__history_fell_us(history) : GAVEL__NEVER;
}

/* What is not known may be just now. */
static int64_t fell_us(const moving *self, uint16_t index)
{
    const gavel__history *history = history_at(self->engine, index);
    int64_t at_us = history != NULL ? gavel__history_fell_us(history) : 0;
    return at_us != GAVEL__NEVER ? at_us : self->now_us;
}

static bool find_migration(const void *user, uint16_t slot, gavel__migration *ret_migration)
{
    const moving *self = user;
    uint16_t from = self->engine->nodes.map->node_of[slot];
    uint16_t to = self->change->node_of[slot];
    if (!has_migrated(self, slot))
        return false;
    int64_t from_us = fell_us(self, from);
    int64_t to_us = fell_us(self, to);
    *ret_migration = (gavel__migration){from, to, from_us > to_us ? from_us : to_us};
    return true;
}

static void note_takeovers(const moving *self)
{
    const gavel__engine *engine = self->engine;
    for (uint16_t slot = 0; slot < GAVEL__N_SLOTS; slot++) {
        if (!is_taken_over(self, slot))
            continue;
        gavel__history *from = history_at(engine, engine->nodes.map->node_of[slot]);
        gavel__node *to = node_at(engine, self->change->node_of[slot]);
        gavel__history_on_replaced(from, self->now_us);
        if (to != NULL)
            gavel__history_on_takeover(
                history_of(to), from, gavel__node_has_link(to), self->now_us);
    }
}

/* What a node has said before a slot came to it dates nothing that is read there, and is of another
 * epoch. */
static void note_arrivals(const moving *self)
{
    for (uint16_t slot = 0; slot < GAVEL__N_SLOTS; slot++) {
        gavel__node *node = node_at(self->engine, self->change->node_of[slot]);
        if (node == NULL || !has_migrated(self, slot))
            continue;
        gavel__offsets_forget(node->offsets);
        gavel__history_on_arrival(history_of(node), gavel__node_has_link(node));
    }
}

/* What they hold by now is not to be overwritten: others are used from then on. */
static void leave_markers(const moving *self)
{
    for (gavel__lane *lane = gavel__nodes_first_lane(&self->engine->nodes); lane != NULL;
         lane = gavel__nodes_next_lane(lane)) {
        uint32_t slot = 0;
        gavel__marker *marker;
        while (
            lane->markers != NULL && (marker = gavel__markers_from(lane->markers, &slot)) != NULL) {
            bool has_gone = has_migrated(self, (uint16_t)slot);
            marker->has_migrated = marker->has_migrated || has_gone;
            marker->is_left = marker->is_left || has_gone || is_taken_over(self, (uint16_t)slot);
            slot++;
        }
    }
}

static void note_migrations(const moving *self)
{
    note_arrivals(self);
    gavel__doubts_on_migration(&self->engine->doubts, find_migration, self);
    gavel__ledger_on_migration(&self->engine->ledger, find_migration, self);
}

static void tell_durability(gavel__engine *engine)
{
    for (gavel__node *node = engine->nodes.first; node != NULL; node = node->following)
        gavel__durability_on_map(node->durability);
}

void gavel__engine_set_slots(
    gavel__engine *engine, const gavel__slots_change *change, int64_t now_us)
{
    gavel__slot_map *map = engine->nodes.map;
    moving self = {engine, change, now_us};
    note_takeovers(&self);
    leave_markers(&self);
    gavel__ledger_on_takeover(&engine->ledger, &(gavel__takeover){is_taken_over, &self, now_us});
    if (change->migrated != NULL)
        note_migrations(&self);
    memcpy(map->node_of, change->node_of, sizeof(map->node_of));
    engine->questions.trouble[0] = '\0';
    tell_durability(engine);
    for (size_t i = 0; i < engine->pool.n_places; i++) {
        gavel__transaction *transaction = engine->pool.places[i].transaction;
        if (transaction != NULL && transaction->state == GAVEL__TX_READY)
            gavel__order_place(&engine->queue.order, transaction, now_us);
    }
}

const gavel__node *gavel__engine_node_for(
    const gavel__engine *engine, const gavel__transaction *transaction)
{
    const gavel__order *order = &engine->queue.order;
    const gavel__turns *turns = gavel__order_turns(order, transaction);
    return turns != &order->nowhere ? GAVEL__CONTAINER(turns, const gavel__node, turns) : NULL;
}
