/*
 * Lines: things that wait in an order that they bring along (intrusive).
 *
 * Mostly they come in that order, or come back to the front: then adding and taking cost a few
 * instructions, however long the line is. Whoever comes back into the middle is kept in a heap
 * beside the line proper, at the cost of its logarithm.
 */
#ifndef GAVEL__LINE_H
#define GAVEL__LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where a node stands. */
typedef enum gavel__line_place {
    GAVEL__LINE_NOWHERE,
    GAVEL__LINE_PROPER,
    GAVEL__LINE_HEAP
} gavel__line_place;

/* Stands in what waits. A zeroed node is in no line. */
typedef struct gavel__line_node {
    struct gavel__line_node *previous; /* in the heap: the sibling before it, or its parent */
    struct gavel__line_node *next;     /* in the heap: the sibling behind it */
    struct gavel__line_node *child;    /* in the heap: the first one */
    uint64_t order;                    /* the smallest goes first, of equal ones any */
    gavel__line_place place;
} gavel__line_node;

/* A zeroed line is empty. */
typedef struct gavel__line {
    gavel__line_node *first; /* of those that came in order, which are linked in both ways */
    gavel__line_node *last;
    gavel__line_node *root; /* of a pairing heap: those that did not */
} gavel__line;

/* The node must be in no line; its order is set. */
void gavel__line_insert(gavel__line *line, gavel__line_node *node);

/* The node must be in this line. */
void gavel__line_remove(gavel__line *line, gavel__line_node *node);

static inline bool gavel__line_is_empty(const gavel__line *line)
{
    return line->first == NULL && line->root == NULL;
}

/* Who goes first, or NULL. */
static inline gavel__line_node *gavel__line_first(const gavel__line *line)
{
    if (line->root == NULL || (line->first != NULL && line->first->order < line->root->order))
        return line->first;
    return line->root;
}

/* Whether any of those up to this order is such. Looks at no others. */
bool gavel__line_has_such(const gavel__line *line, uint64_t order,
    bool (*is_such)(const gavel__line_node *node, uint64_t order));

static inline bool gavel__line_has(const gavel__line_node *node)
{
    return node->place != GAVEL__LINE_NOWHERE;
}

#endif
