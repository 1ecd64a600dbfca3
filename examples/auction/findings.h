/*
 * Findings: the violations that verify has found. The first ones are kept as text, all are counted.
 */
#ifndef AUCTION_FINDINGS_H
#define AUCTION_FINDINGS_H

#include "auction.h"

#define FINDINGS_N_TEXTS 20
#define FINDINGS_TEXT_SIZE 320

struct findings {
    uint64_t n_violations;
    uint64_t n_bids; /* found in the histories */
    char texts[FINDINGS_N_TEXTS][FINDINGS_TEXT_SIZE];
};

/* Adds a violation of the item called `name`, as printf. */
void findings_add(struct findings *findings, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Adds all of `more`. */
void findings_merge(struct findings *findings, const struct findings *more);

/* Prints the violations, each on a line. */
void findings_print(const struct findings *findings);

#endif
