/*
 * Lines: see the header. Every layer may use them.
 * Source: Fredman, Sedgewick, Sleator and Tarjan, "The pairing heap" (1986).
 */
#include "base/line.h"

#include <assert.h>

/* ---- The heap ------------------------------------------------------------------------------ */

/* One heap of two; either may be NULL. */
static gavel__line_node *meld(gavel__line_node *a, gavel__line_node *b)
{
    if (a == NULL)
        return b;
    if (b == NULL)
        return a;
    if (b->order < a->order) {
        gavel__line_node *smaller = b;
        b = a;
        a = smaller;
    }
    b->previous = a;
    b->next = a->child;
    if (b->next != NULL)
        b->next->previous = b;
    a->child = b;
    a->previous = NULL;
    a->next = NULL;
    return a;
}

/* One heap of siblings: in pairs from the first on, then these from the last on. */
static gavel__line_node *meld_all(gavel__line_node *sibling)
{
    gavel__line_node *pairs = NULL; /* linked by `next`, the latest first */
    while (sibling != NULL) {
        gavel__line_node *second = sibling->next;
        gavel__line_node *rest = second != NULL ? second->next : NULL;
        gavel__line_node *pair = meld(sibling, second);
        pair->next = pairs;
        pairs = pair;
        sibling = rest;
    }
    gavel__line_node *heap = NULL;
    while (pairs != NULL) {
        gavel__line_node *next = pairs->next;
        heap = meld(heap, pairs);
        pairs = next;
    }
    if (heap != NULL) {
        heap->previous = NULL;
        heap->next = NULL;
    }
    return heap;
}

static void remove_from_heap(gavel__line *line, gavel__line_node *node)
{
    gavel__line_node *children = meld_all(node->child);
    if (node == line->root) {
        line->root = children;
        return;
    }
    if (node->previous->child == node)
        node->previous->child = node->next;
    else
        node->previous->next = node->next;
    if (node->next != NULL)
        node->next->previous = node->previous;
    line->root = meld(line->root, children);
}

/* ---- The line proper ----------------------------------------------------------------------- */

static void append(gavel__line *line, gavel__line_node *node)
{
    node->previous = line->last;
    if (line->last != NULL)
        line->last->next = node;
    else
        line->first = node;
    line->last = node;
}

static void prepend(gavel__line *line, gavel__line_node *node)
{
    node->next = line->first;
    line->first->previous = node;
    line->first = node;
}

static void remove_from_proper(gavel__line *line, gavel__line_node *node)
{
    if (node->previous != NULL)
        node->previous->next = node->next;
    else
        line->first = node->next;
    if (node->next != NULL)
        node->next->previous = node->previous;
    else
        line->last = node->previous;
}

/* ---- Both ---------------------------------------------------------------------------------- */

void gavel__line_insert(gavel__line *line, gavel__line_node *node)
{
    assert(node->place == GAVEL__LINE_NOWHERE);
    node->previous = NULL;
    node->next = NULL;
    node->child = NULL;
    node->place = GAVEL__LINE_PROPER;
    if (line->last == NULL || node->order >= line->last->order) {
        append(line, node);
    } else if (node->order <= line->first->order) {
        prepend(line, node);
    } else {
        node->place = GAVEL__LINE_HEAP;
        line->root = meld(line->root, node);
    }
}

void gavel__line_remove(gavel__line *line, gavel__line_node *node)
{
    assert(node->place != GAVEL__LINE_NOWHERE);
    if (node->place == GAVEL__LINE_PROPER)
        remove_from_proper(line, node);
    else
        remove_from_heap(line, node);
    node->place = GAVEL__LINE_NOWHERE;
}

/* The one that comes behind it in the heap and is not below it; NULL: it was the last. */
static const gavel__line_node *skip(const gavel__line *line, const gavel__line_node *node)
{
    while (node != line->root && node->next == NULL) {
        while (node->previous->child != node)
            node = node->previous;
        node = node->previous;
    }
    return node != line->root ? node->next : NULL;
}

bool gavel__line_has_such(const gavel__line *line, uint64_t order,
    bool (*is_such)(const gavel__line_node *node, uint64_t order))
{
    for (const gavel__line_node *node = line->first; node != NULL && node->order <= order;
         node = node->next) {
        if (is_such(node, order))
            return true;
    }
    for (const gavel__line_node *node = line->root; node != NULL;) {
        /* Whatever is below one that comes later comes later, too. */
        bool is_later = node->order > order;
        if (!is_later && is_such(node, order))
            return true;
        node = !is_later && node->child != NULL ? node->child : skip(line, node);
    }
    return false;
}
