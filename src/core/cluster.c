/*
 * Nodes, as the engine has them; and which of them serves each slot of a Cluster, so that who waits
 * for a slot goes along with it. One part of the engine.
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
            .at_node = config->is_cluster ? index : GAVEL__NO_NODE,
            .nodes = config->is_cluster ? &engine->nodes : NULL,
            .slice_us = config->wait_slice_us});
    node->base.durability = &node->durability;
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

gavel__node *gavel__engine_add_node(gavel__engine *engine, const char *label)
{
    assert(engine->config.is_cluster);
    uint32_t index = 0;
    gavel__node **place = &engine->nodes.first;
    for (; *place != NULL; place = &(*place)->following)
        index++;
    if (index == GAVEL__MAX_NODES || !make_map(engine))
        return NULL;
    gavel__engine_node *node = gavel__alloc(engine->config.allocator, 1, sizeof(*node));
    if (node == NULL)
        return NULL;
    gavel__engine_init_node(engine, node, (uint16_t)index, label);
    node->base.node_of = engine->nodes.map->node_of;
    engine->nodes.map->turns[index] = &node->base.turns;
    *place = &node->base;
    return &node->base;
}

/* Another node has it than before. */
static bool has_moved(const void *user, uint16_t slot)
{
    const uint16_t *const *maps = user;
    return maps[0][slot] != maps[1][slot];
}

static bool is_it(const void *user, uint16_t slot)
{
    return slot == *(const uint16_t *)user;
}

static void tell_durability(gavel__engine *engine)
{
    for (gavel__node *node = engine->nodes.first; node != NULL; node = node->following)
        gavel__durability_on_map(node->durability);
}

void gavel__engine_set_slots(
    gavel__engine *engine, const uint16_t node_of[GAVEL__N_SLOTS], int64_t now_us)
{
    gavel__slot_map *map = engine->nodes.map;
    if (memcmp(map->node_of, node_of, sizeof(map->node_of)) == 0)
        return;
    gavel__ledger_audit(&engine->ledger, has_moved, (const uint16_t *[]){map->node_of, node_of});
    memcpy(map->node_of, node_of, sizeof(map->node_of));
    tell_durability(engine);
    for (size_t i = 0; i < engine->pool.n_places; i++) {
        gavel__transaction *transaction = engine->pool.places[i].transaction;
        if (transaction != NULL && transaction->state == GAVEL__TX_READY)
            gavel__order_place(&engine->queue.order, transaction, now_us);
    }
}

void gavel__engine_set_slot(
    gavel__engine *engine, uint16_t slot, const gavel__node *node, int64_t now_us)
{
    gavel__slot_map *map = engine->nodes.map;
    if (map->node_of[slot] == node->index)
        return;
    gavel__ledger_audit(&engine->ledger, is_it, &slot);
    map->node_of[slot] = (uint16_t)node->index;
    tell_durability(engine);
    for (size_t i = 0; i < engine->pool.n_places; i++) {
        gavel__transaction *transaction = engine->pool.places[i].transaction;
        if (transaction != NULL && transaction->state == GAVEL__TX_READY &&
            gavel__transaction_place(transaction) == slot)
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
