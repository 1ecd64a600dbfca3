/*
 * Progress: one line that is written over on a terminal, else a line each second.
 */
#ifndef AUCTION_PROGRESS_H
#define AUCTION_PROGRESS_H

#include "ledger.h"

struct progress {
    int64_t start_ms;
    int64_t shown_ms;
    uint64_t shown_bids; /* as of shown_ms: for the rate */
    bool is_terminal;
};

void progress_init(struct progress *progress, int64_t now_ms);

/* Shows the counts if it is time to, or in any case. */
void progress_show(
    struct progress *progress, const uint64_t counts[N_TOLD], int64_t now_ms, bool is_last);

#endif
