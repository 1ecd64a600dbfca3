/*
 * The race: what its parts share.
 *
 *     race.c         the order of things: open the items, fork, close, verify
 *     auctioneer.c   the parent: closes the items under the bidders, shows the progress
 *     bidder.c       one bidder: what to bid next, and writing down what it was told
 *     race_gavel.c   a process of bidders on gavel: one client, one loop, many in flight
 *     rivals.c       a process of bidders without gavel: a thread and a connection each
 *     rival_*.c      how these make one bid
 */
#ifndef AUCTION_RACE_H
#define AUCTION_RACE_H

#include "item.h"
#include "ledger.h"

#include <stdatomic.h>
#include <sys/types.h>

struct race_item {
    char name[NAME_SIZE];
    struct item_keys keys;
};

struct team;

struct race {
    char id[NAME_SIZE];
    char dir[4096]; /* the ledger's, absolute */
    const struct options *options;
    int (*run_team)(struct team *team); /* one process's work; returns its exit status */
    struct race_item *items;
    size_t n_items;
    size_t n_processes;
    size_t n_bidders; /* in each process */
    int64_t start_ms;
    int64_t seconds;
};

/* How many bids got which answer. */
struct tally {
    atomic_uint_fast64_t n[N_TOLD];
};

/* One process of bidders. */
struct team {
    const struct race *race;
    size_t process; /* from 1 */
    FILE *ledger;
    int report_fd;
    struct tally tally;
};

/* What a team tells the parent now and then, in one write to the pipe. */
struct report {
    uint64_t process;
    uint64_t n[N_TOLD];
};

#define REPORT_PAUSE_MS 50

/* After trouble with the server, a bidder bids again after this. */
#define REST_MS 50

void team_report(struct team *team);

/* ---- Bidders ------------------------------------------------------------------------------- */

struct bidder {
    struct team *team;
    size_t number; /* in its team, from 1 */
    size_t item;   /* of the bid in flight, from 0 */
    size_t n_over;
    bool is_outbid; /* the last bid was too low */
    uint64_t serial;
    uint64_t random;
    int64_t *prices; /* by item: as the bidder last heard; -1 when that item is over */
    struct bid bid;  /* the one in flight */
};

/* False without memory. */
bool bidder_init(struct bidder *bidder, struct team *team, size_t number);
void bidder_finish(struct bidder *bidder);

/* Fills in bidder->bid with the next bid. False when no item is left to bid for. */
bool bidder_next(struct bidder *bidder);

/* Writes down what the bidder was told of bidder->bid; `refusal` if it was refused. */
void bidder_told(struct bidder *bidder, enum told told, int refusal);

/* ---- The ways of bidding ------------------------------------------------------------------- */

int team_by_gavel(struct team *team);
int team_by_textbook(struct team *team);
int team_by_unguarded(struct team *team);

/* ---- The parent ---------------------------------------------------------------------------- */

/*
 * Closes the items and shows the progress until every team has gone; `report_fd` is the pipe's
 * reading end, `pids` are the teams'. EXIT_FINE if all items are closed.
 */
int auctioneer_run(const struct race *race, int report_fd, const pid_t *pids);

#endif
