/*
 * Nodes: see the header.
 */
#include "core/node.h"

#include "base/text.h"

void gavel__node_init(gavel__node *node, const char *label, const gavel__lanes *lanes)
{
    *node = (gavel__node){.label = label, .lanes = *lanes};
    node->lanes.node = node;
}

void gavel__node_finish(gavel__node *node)
{
    gavel__free(node->lanes.allocator, node->guest_slots);
    gavel__lanes_finish(&node->lanes);
}

bool gavel__node_has_link(const gavel__node *node)
{
    for (const gavel__lane *lane = node->lanes.first; lane != NULL; lane = lane->following) {
        if (lane->state == GAVEL__LANE_UP)
            return true;
    }
    return false;
}

bool gavel__node_is_reachable(const gavel__node *node)
{
    for (const gavel__lane *lane = node->lanes.first; lane != NULL; lane = lane->following) {
        if (lane->state == GAVEL__LANE_UP && !gavel__lane_is_blocked(lane))
            return true;
    }
    return false;
}

bool gavel__node_has_gate_lane(const gavel__node *node)
{
    for (const gavel__lane *lane = node->lanes.first; lane != NULL; lane = lane->following) {
        if (lane->is_waiting_lane && lane->state == GAVEL__LANE_UP && lane->blocking == NULL)
            return true;
    }
    return false;
}

bool gavel__node_note_guests(gavel__node *node, uint16_t slot)
{
    if (node->guest_slots == NULL)
        node->guest_slots =
            gavel__alloc(node->lanes.allocator, GAVEL__N_SLOTS / 64, sizeof(*node->guest_slots));
    if (node->guest_slots != NULL)
        node->guest_slots[slot / 64] |= UINT64_C(1) << slot % 64;
    return node->guest_slots != NULL;
}

static bool has_guests(const gavel__node *node, uint16_t slot)
{
    return node->guest_slots != NULL && (node->guest_slots[slot / 64] >> slot % 64 & 1) != 0;
}

bool gavel__node_serves(const void *self, uint16_t slot)
{
    const gavel__node *node = self;
    return node->node_of == NULL || node->node_of[slot] == node->index || has_guests(node, slot);
}

void gavel__node_turn_gates_off(gavel__node *node, int64_t until_us)
{
    if (node->gates_off_until_us < until_us)
        node->gates_off_until_us = until_us;
}

void gavel__node_on_gate_refused(gavel__node *node, gavel_bytes error)
{
    if (gavel__bytes_start_with(error, GAVEL_STR("NOPERM")) ||
        gavel__bytes_start_with(error, GAVEL_STR("ERR unknown command")))
        node->gates_off_until_us = INT64_MAX;
}
