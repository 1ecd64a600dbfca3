/*
 * Replays: a history played through by the rules of the house, without the code that made it.
 */
#ifndef AUCTION_REPLAY_H
#define AUCTION_REPLAY_H

#include "event.h"
#include "findings.h"

/* What the history says of an item, up to some event. Begin with only `name` set. */
struct replay {
    const char *name;
    bool is_opened;
    bool is_closed;
    int64_t increment;
    int64_t reserve;
    int64_t end_ms; /* as the bids have moved it */
    int64_t window_ms;
    int64_t price;
    int64_t bids;
    char leader[NAME_SIZE];
};

/* The next event; what it violates is added to the findings. */
void replay_event(struct replay *replay, const struct event *event, struct findings *findings);

/* One field of the item's hash, which must be what the replay came to. */
void replay_check(
    const struct replay *replay, const char *field, const char *value, struct findings *findings);

#endif
