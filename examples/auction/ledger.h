/*
 * Ledgers: what the bidders of a race were told, on disk, so that it survives them.
 *
 *     DIR/race         "race ID", "by WAY", "items N", "processes N"; item i is called ID-i
 *     DIR/process-P    a line for each bid: what was told, the item's number, the bid's id, its
 *                      amount, when it was made; at the end "end N", with the number of bids
 *
 * Items and processes count from 1. A file without its end is that of a process that was killed:
 * its bidders may have been told more than it says.
 */
#ifndef AUCTION_LEDGER_H
#define AUCTION_LEDGER_H

#include "auction.h"

#include <stdio.h>

/* What a bidder can be told. The letter stands in the ledger. */
#define TOLDS(X)                                                                                   \
    X(TOLD_ACCEPTED, 'A') /* it is in */                                                           \
    X(TOLD_REFUSED, 'R')  /* by the rules of the house */                                          \
    X(TOLD_NOT_MADE, 'N') /* the server was not reached, say; it is certainly not in */            \
    X(TOLD_UNKNOWN, 'U')  /* nobody can tell whether it is in */                                   \
    X(TOLD_BROKEN, 'B')   /* only a part of it is in, which must not be */

enum told {
#define TOLD_CODE(code, letter) code,
    TOLDS(TOLD_CODE)
#undef TOLD_CODE
};

#define TOLD_PLUS_ONE(code, letter) +1
enum { N_TOLD = TOLDS(TOLD_PLUS_ONE) };
#undef TOLD_PLUS_ONE

/* One line of a process's file. */
struct told_bid {
    char id[24]; /* "p2-b15-1093": process, bidder, serial number; "p2-b15" is the bidder */
    enum told told;
    uint32_t item;
    uint32_t process;
    uint32_t n_seen; /* verify's: how often it was found in the history */
    int64_t amount;
    int64_t at_ms;
};

/* The key in Redis that holds the folder of the last race's ledger. */
#define LEDGER_KEY "auction:ledger"

struct ledger {
    char race[NAME_SIZE];
    char by[16];
    uint32_t n_items;
    uint32_t n_processes;
    /* Only once read: */
    struct told_bid *bids; /* by item, then by id */
    size_t n_bids;
    bool *is_complete; /* by process, from 0 */
};

/* Whether there is a ledger in that folder. */
bool ledger_exists(const char *dir);

/* Writes DIR/race. False, and said so, if it cannot, or if there is one already. */
bool ledger_create(const char *dir, const struct ledger *ledger);

/* Opens the file of process number `process` for writing. NULL, and said so, on failure. */
FILE *ledger_open(const char *dir, size_t process);

/* Adds a line. Any thread. */
void ledger_add(FILE *file, const struct told_bid *bid);

/* Writes the end and closes. False, and said so, if any line could not be written. */
bool ledger_close(FILE *file, uint64_t n_bids);

/* Reads all of it into memory. False, and said so, on failure; *ret_ledger is zeroed then. */
bool ledger_read(const char *dir, struct ledger *ret_ledger);

/* Frees what ledger_read allocated. */
void ledger_finish(struct ledger *ledger);

/* The told bid with this id, of that item; NULL if there is none. */
struct told_bid *ledger_find(const struct ledger *ledger, uint32_t item, const char *id);

#endif
