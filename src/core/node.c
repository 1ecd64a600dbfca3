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

bool gavel__node_serves(const gavel__node *node, uint16_t slot)
{
    return node->node_of != NULL ? node->node_of[slot] == node->index : node->index == 0;
}

bool gavel__node_may_have_markers(const void *self, uint16_t slot)
{
    return gavel__node_serves(self, slot) || has_guests(self, slot);
}

/* ---- Replicas ------------------------------------------------------------------------------ */

static void leave_primary(gavel__node *node)
{
    gavel__node *primary = node->primary;
    gavel__node **place = &primary->first_replica;
    while (*place != node)
        place = &(*place)->next_replica;
    *place = node->next_replica;
    if (primary->last_chosen == node)
        primary->last_chosen = NULL;
    node->next_replica = NULL;
    node->primary = NULL;
}

void gavel__node_set_primary(gavel__node *node, gavel__node *primary)
{
    if (node->primary == primary)
        return;
    if (node->primary != NULL)
        leave_primary(node);
    if (primary == NULL)
        return;
    node->primary = primary;
    node->next_replica = primary->first_replica;
    primary->first_replica = node;
    node->shunned_until_us = 0;
    node->n_shuns = 0;
    node->is_undated = false;
}

/* The one behind it in the circle of its primary's. */
static gavel__node *next_in_turn(const gavel__node *replica)
{
    return replica->next_replica != NULL ? replica->next_replica : replica->primary->first_replica;
}

gavel__node *gavel__node_choose_replica(gavel__node *node, int64_t now_us)
{
    gavel__node *first =
        node->last_chosen != NULL ? next_in_turn(node->last_chosen) : node->first_replica;
    gavel__node *at = first;
    if (at == NULL)
        return NULL;
    do {
        if (at->shunned_until_us <= now_us) {
            node->last_chosen = at;
            return at;
        }
        at = next_in_turn(at);
    } while (at != first);
    return NULL;
}

void gavel__node_shun(gavel__node *node, int64_t now_us)
{
    static const int64_t least_us = 1000000;
    static const uint32_t max_doublings = 5;
    uint32_t n_doublings = node->n_shuns < max_doublings ? node->n_shuns : max_doublings;
    if (node->shunned_until_us > now_us)
        return;
    node->n_shuns++;
    node->shunned_until_us = now_us + (least_us << n_doublings);
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
