/*
 * Events: what the history of an item consists of. It alone says all about the item; the hash and
 * the board only save reading it whole.
 *
 *     open INCREMENT RESERVE END_MS WINDOW_MS
 *     bid ID BIDDER AMOUNT AT_MS
 *     close WINNER PRICE AT_MS             WINNER is "-" if nobody bid the reserve
 */
#ifndef AUCTION_EVENT_H
#define AUCTION_EVENT_H

#include "auction.h"

/* The longest line, with its NUL. */
#define EVENT_SIZE 256

enum event_type { EVENT_OPEN, EVENT_BID, EVENT_CLOSE };

struct event {
    enum event_type type;
    char id[ID_SIZE];    /* BID */
    char who[NAME_SIZE]; /* BID, CLOSE */
    int64_t amount;      /* BID, CLOSE */
    int64_t at_ms;       /* BID, CLOSE */
    int64_t increment;   /* this and the rest: OPEN */
    int64_t reserve;
    int64_t end_ms;
    int64_t window_ms;
};

void event_format(const struct event *event, char ret_line[EVENT_SIZE]);

/* False if the line is none of an event's. */
bool event_parse(gavel_bytes line, struct event *ret_event);

#endif
