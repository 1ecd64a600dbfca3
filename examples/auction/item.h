/*
 * Items: how one is kept in Redis, and the transactions that open it, bid for it and close it.
 *
 *     auction:{ITEM}           hash     state, price, leader, bids, increment, reserve,
 *                                       end_ms, window_ms
 *     auction:{ITEM}:history   list     one line for each event, oldest first; see struct event
 *     auction:{ITEM}:board     zset     each bidder's best bid
 *     auction:items            set      the items that were opened by hand
 *
 * One body decides all of an item: its price, leader, end, history and board change in one EXEC
 * or not at all. An item's keys share its name as their hash tag, and no bid touches a key of
 * another item, so bids for different items never contend.
 */
#ifndef AUCTION_ITEM_H
#define AUCTION_ITEM_H

#include "event.h"

#define KEY_SIZE (NAME_SIZE + 24)

/* The set of the items that were opened by hand. */
#define ITEMS_KEY "auction:items"

/* How long a race's items are kept after their close, in seconds. */
#define RACE_KEEP_S 3600

struct item_keys {
    char hash[KEY_SIZE];
    char history[KEY_SIZE];
    char board[KEY_SIZE];
};

void item_keys_set(struct item_keys *keys, const char *name);

/* What the hash of an item says. */
struct item {
    bool is_open;
    int64_t price;          /* the highest bid's; 0 before the first */
    int64_t bids;           /* accepted so far */
    int64_t increment;      /* a bid is at least the price and this */
    int64_t reserve;        /* sold only at this or more */
    int64_t end_ms;         /* by the wall clock; bids made at or after it are refused */
    int64_t window_ms;      /* a bid made later than this before the end moves the end */
    char leader[NAME_SIZE]; /* "" before the first bid */
};

/* Why a transaction was refused: the abort codes. */
#define REFUSALS(X)                                                                                \
    X(NOT_REFUSED, "it is not")                                                                    \
    X(NO_SUCH_ITEM, "there is no such item")                                                       \
    X(EXISTS_ALREADY, "there is such an item already")                                             \
    X(IS_CLOSED, "the item is closed")                                                             \
    X(IS_OVER, "the item's time is over")                                                          \
    X(IS_NOT_OVER, "the item's time is not over yet")                                              \
    X(TOO_LOW, "the bid is too low")

enum refusal {
#define REFUSAL_CODE(code, text) code,
    REFUSALS(REFUSAL_CODE)
#undef REFUSAL_CODE
};

const char *refusal_text(int code);

/* ---- Reading ------------------------------------------------------------------------------- */

#define ITEM_N_FIELDS 8

/* Fills in the reads that item_read makes, so that they are fetched in the first round trip. */
void item_declare(const struct item_keys *keys, gavel_read ret_reads[ITEM_N_FIELDS]);

/* Inside a body: reads the item. False if there is none; *ret_item is zeroed then. */
bool item_read(gavel_tx *tx, const struct item_keys *keys, struct item *ret_item);

/* ---- Bidding ------------------------------------------------------------------------------- */

struct bid {
    void *owner; /* whatever the caller likes: gavel passes the body's user data to done, too */
    struct item_keys keys;
    char id[ID_SIZE]; /* unique: what the bid is traced by */
    char bidder[NAME_SIZE];
    int64_t amount;
    /* When the bidder made the bid, by the bidder's wall clock. A body must decide the same way
     * each time it runs on the same values, so the time comes in with the bid. */
    int64_t at_ms;
    /* Set by the body: the price it saw, and the least that would have been accepted. */
    int64_t price;
    int64_t least;
};

/*
 * The rule of the house, apart from how the item is kept: judges the bid against the item, and if
 * it is accepted, *item becomes what the item is thereafter. Also sets the bid's price and least.
 */
enum refusal item_judge(struct item *item, struct bid *bid);

/* The line that an accepted bid adds to the history. */
void bid_event(const struct bid *bid, struct event *ret_event);

/* A transaction, with the memory for what it declares, into which it points: not to be copied. */
struct plan {
    gavel_transaction transaction;
    gavel_read reads[ITEM_N_FIELDS];
    gavel_bytes keys[2];
};

/* Plans a bid; `bid` is the body's user data. The plan may go when it was run or submitted. */
void bid_plan(struct bid *bid, struct plan *ret_plan);

/* ---- Opening and closing ------------------------------------------------------------------- */

struct opening {
    struct item_keys keys;
    const char *name;
    struct item item;
};

void opening_plan(struct opening *opening, struct plan *ret_plan);

/* Puts an item that was opened on the list, which is one for all items, and so has a slot of its
 * own. */
void listing_plan(struct opening *opening, struct plan *ret_plan);

struct closing {
    void *owner; /* as a bid's */
    struct item_keys keys;
    int64_t at_ms;
    bool is_forced; /* the auctioneer's right: close before the end */
    bool is_brief;  /* a race's item: expires after RACE_KEEP_S */
    /* Set by the body. */
    struct item item;
    bool is_sold;
};

void closing_plan(struct closing *closing, struct plan *ret_plan);

#endif
