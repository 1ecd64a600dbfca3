/*
 * Views: read-only transactions that show an item and a part of its history as of one moment.
 */
#ifndef AUCTION_VIEW_H
#define AUCTION_VIEW_H

#include "item.h"

#define VIEW_N_EVENTS 100
#define VIEW_N_BEST 5

struct standing {
    char bidder[NAME_SIZE];
    int64_t amount;
};

struct view {
    /* Set by the caller: which events, as LRANGE counts; at most VIEW_N_EVENTS are taken. */
    struct item_keys keys;
    int64_t first_event;
    int64_t last_event;
    /* Set by view_run. */
    struct item item;
    struct event events[VIEW_N_EVENTS];
    size_t n_events;
    size_t n_lines;                    /* read, those that are no event's too */
    struct standing best[VIEW_N_BEST]; /* the best bidders, the leader first */
    size_t n_best;
};

/* Reads it. EXIT_FINE, or what to exit with after it was said why. */
int view_run(gavel_client *client, struct view *view);

#endif
