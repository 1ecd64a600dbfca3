/*
 * Verifying: what the items in Redis and the ledger of a race prove.
 */
#ifndef AUCTION_VERIFY_H
#define AUCTION_VERIFY_H

#include "auction.h"

/*
 * Verifies the race whose ledger is in `dir`. Prints what it found; the last line is that of the
 * accepted, the refused and the violations, unless there was trouble with the server or the ledger.
 * Returns the exit status.
 */
int verify_ledger(const char *url, const char *dir);

#endif
