/*
 * Turns: which transactions are READY for a node, by what takes them, in order of arrival; and, in
 * a Cluster, for which node.
 */
#ifndef GAVEL__TURNS_H
#define GAVEL__TURNS_H

#include "base/line.h"
#include "base/slot.h"

#include <stdbool.h>

/* What takes one that is ready. */
typedef enum gavel__ready_kind {
    GAVEL__READY_READERS,   /* snapshot rounds */
    GAVEL__READY_BLIND,     /* rounds that claim nothing and read nothing, as far as is known */
    GAVEL__READY_CALM,      /* rounds that pass through no gate, on keys that nobody else writes */
    GAVEL__READY_CONTENDED, /* such rounds on keys that others write as well */
    GAVEL__READY_GATED,     /* rounds that pass through gates */
    GAVEL__N_READY_KINDS
} gavel__ready_kind;

typedef struct gavel__turns {
    gavel__line lines[GAVEL__N_READY_KINDS];
    bool has_news; /* somebody has come since the node was last looked at */
} gavel__turns;

/* Of a Cluster: which node serves each slot. */
typedef struct gavel__slot_map {
    uint16_t node_of[GAVEL__N_SLOTS];      /* GAVEL__NO_NODE: not known */
    gavel__turns *turns[GAVEL__MAX_NODES]; /* of each node, by its index */
} gavel__slot_map;

/* Whether anybody is ready. */
static inline bool gavel__turns_are_there(const gavel__turns *turns)
{
    for (size_t i = 0; i < GAVEL__N_READY_KINDS; i++) {
        if (!gavel__line_is_empty(&turns->lines[i]))
            return true;
    }
    return false;
}

#endif
