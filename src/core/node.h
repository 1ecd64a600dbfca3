/*
 * Nodes: the servers that an engine speaks to, and what belongs to one of them: its lanes, and the
 * transactions that are ready for one. There is one node, unless the engine speaks to a Cluster;
 * and behind it those of its replicas that it reads from.
 */
#ifndef GAVEL__NODE_H
#define GAVEL__NODE_H

#include "core/lane.h"
#include "core/turns.h"

struct gavel__durability;
struct gavel__offsets;

typedef struct gavel__node {
    struct gavel__node *following;    /* the next one by index, or NULL */
    uint32_t index;                   /* its place for good */
    const char *label;                /* borrowed; its address, for messages */
    char trouble[GAVEL_MESSAGE_SIZE]; /* why there is no link, "" while there is one: for people */
    const uint16_t *node_of; /* borrowed: who serves each slot; NULL: the first node, all */
    gavel__lanes lanes;
    gavel__turns turns;                   /* of those who are ready */
    struct gavel__durability *durability; /* borrowed: of what was committed there */
    uint64_t *guest_slots;                /* a bit for each that guests came for; NULL: none did */
    int64_t make_lane_us;                 /* there was no memory for a lane: not again before */
    int64_t sorted_us;                    /* when all were looked at that wait for gates */
    bool has_gates_to_pass;     /* one of these, not the first, could pass on one more lane */
    int64_t gates_off_until_us; /* meanwhile there are none: this login may not use them, or no link
                                   for them can be had */
    /* Replicas, and whose they are. */
    struct gavel__offsets *offsets;    /* borrowed: how far its own has come, if it is a primary */
    struct gavel__node *primary;       /* it is a replica of that node; NULL: of none */
    struct gavel__node *first_replica; /* its own replicas; NULL: none is known */
    struct gavel__node *next_replica;  /* of the same primary */
    struct gavel__node *last_chosen;   /* of its replicas */
    int64_t shunned_until_us;          /* nothing is read from it until then */
    uint32_t n_shuns;                  /* in a row */
    bool is_undated;                   /* it does not say how far it has come */
} gavel__node;

typedef struct gavel__nodes {
    gavel__node *first;   /* by index */
    gavel__node *only;    /* that serves all; NULL: of a Cluster */
    gavel__slot_map *map; /* of a Cluster; NULL: no node is known yet */
} gavel__nodes;

/* `lanes`: how many of each kind there can be. Costs nothing to finish before there is a lane. */
void gavel__node_init(gavel__node *node, const char *label, const gavel__lanes *lanes);

/* Frees its lanes; nothing may be under way. */
void gavel__node_finish(gavel__node *node);

/* The node that serves the slot; NULL: none is known, or it is no slot. */
static inline gavel__node *gavel__nodes_of(const gavel__nodes *nodes, uint16_t slot)
{
    if (nodes->only != NULL)
        return nodes->only;
    bool is_known =
        nodes->map != NULL && slot < GAVEL__N_SLOTS && nodes->map->node_of[slot] != GAVEL__NO_NODE;
    return is_known
               ? GAVEL__CONTAINER(nodes->map->turns[nodes->map->node_of[slot]], gavel__node, turns)
               : NULL;
}

/* All lanes of all nodes, one after another; NULL behind the last. */
static inline gavel__lane *gavel__node_lane_from(const gavel__node *node)
{
    while (node != NULL && node->lanes.first == NULL)
        node = node->following;
    return node != NULL ? node->lanes.first : NULL;
}

static inline gavel__lane *gavel__nodes_first_lane(const gavel__nodes *nodes)
{
    return gavel__node_lane_from(nodes->first);
}

static inline gavel__lane *gavel__nodes_next_lane(const gavel__lane *lane)
{
    return lane->following != NULL ? lane->following : gavel__node_lane_from(lane->node->following);
}

/* Which link it is, for people: unique among all nodes. */
static inline uint32_t gavel__lane_number(const gavel__lane *lane)
{
    return lane->node->index * gavel__lanes_max(&lane->node->lanes) + lane->index;
}

/* Whether the server answers, as far as is known. A link that stands in a queue of the server's
 * says nothing either way. */
bool gavel__node_is_reachable(const gavel__node *node);

/* Whether any of its links is up. */
bool gavel__node_has_link(const gavel__node *node);

/* Whether a lane is up that passes through gates, or could. */
bool gavel__node_has_gate_lane(const gavel__node *node);

/* Guests come for this slot. False: no memory. */
bool gavel__node_note_guests(gavel__node *node, uint16_t slot);

/* Whether it serves the slot, as far as is known. */
bool gavel__node_serves(const gavel__node *node, uint16_t slot);

/* Whether the node `self` may have markers of the slot: it serves it, or guests came for it. */
bool gavel__node_may_have_markers(const void *self, uint16_t slot);

/* Does without gates until then, at least. */
void gavel__node_turn_gates_off(gavel__node *node, int64_t until_us);

/* It has refused a gate's command: if that is for good, it is without gates. */
void gavel__node_on_gate_refused(gavel__node *node, gavel_bytes error);

static inline bool gavel__node_is_without_gates(const gavel__node *node, int64_t now_us)
{
    return now_us < node->gates_off_until_us;
}

/* Whether questions are for it: not for a replica, unless it is of a Cluster. */
static inline bool gavel__node_takes_questions(const gavel__node *node)
{
    return node->node_of != NULL || node->index == 0;
}

/* ---- Replicas ------------------------------------------------------------------------------ */

/* It is a replica of that node from now on; NULL: of none. */
void gavel__node_set_primary(gavel__node *node, gavel__node *primary);

/* Which of the node's replicas to read from: one after another. NULL: none, just now. */
gavel__node *gavel__node_choose_replica(gavel__node *node, int64_t now_us);

/* Reading from this replica has failed, or its link is lost: it is left alone for a while, longer
 * each time. */
void gavel__node_shun(gavel__node *node, int64_t now_us);

/* It has answered. */
static inline void gavel__node_end_shuns(gavel__node *node)
{
    node->n_shuns = 0;
}

#endif
