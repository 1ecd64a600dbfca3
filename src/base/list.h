/*
 * Intrusive, circular, doubly linked lists: the node stands in what it links.
 */
#ifndef GAVEL__LIST_H
#define GAVEL__LIST_H

#include <stdbool.h>
#include <stddef.h>

/* A list's head and each of its members' links. A member that is in no list points to itself. */
typedef struct gavel__list {
    struct gavel__list *previous;
    struct gavel__list *next;
} gavel__list;

/* The struct of `type` whose member `member` is at `node`. */
#define GAVEL__CONTAINER(node, type, member) ((type *)((char *)(node)-offsetof(type, member)))

static inline void gavel__list_init(gavel__list *list)
{
    list->previous = list;
    list->next = list;
}

static inline bool gavel__list_is_empty(const gavel__list *list)
{
    return list->next == list;
}

static inline void gavel__list_insert_before(gavel__list *place, gavel__list *node)
{
    node->previous = place->previous;
    node->next = place;
    place->previous->next = node;
    place->previous = node;
}

static inline void gavel__list_append(gavel__list *list, gavel__list *node)
{
    gavel__list_insert_before(list, node);
}

/* Takes a node that is in no list, too. */
static inline void gavel__list_remove(gavel__list *node)
{
    node->previous->next = node->next;
    node->next->previous = node->previous;
    gavel__list_init(node);
}

/* Removes and returns the first member, or NULL. */
static inline gavel__list *gavel__list_pop(gavel__list *list)
{
    if (gavel__list_is_empty(list))
        return NULL;
    gavel__list *node = list->next;
    gavel__list_remove(node);
    return node;
}

/* Moves all members of `from` to the end of `list`. */
static inline void gavel__list_append_all(gavel__list *list, gavel__list *from)
{
    if (gavel__list_is_empty(from))
        return;
    from->next->previous = list->previous;
    from->previous->next = list;
    list->previous->next = from->next;
    list->previous = from->previous;
    gavel__list_init(from);
}

#endif
