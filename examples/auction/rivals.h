/*
 * The rivals of gavel in the race: how one bid is made by hand, on a connection of the bidder's
 * own.
 */
#ifndef AUCTION_RIVALS_H
#define AUCTION_RIVALS_H

#include "plain.h"
#include "race.h"

/* Makes one bid. Sets *ret_refusal if it is refused. */
typedef enum told rival_bid(redisContext *context, struct bid *bid, int *ret_refusal);

/* A whole process of them: a thread and a connection for each bidder. Returns the exit status. */
int team_of_rivals(struct team *team, rival_bid *make_bid);

/* Reads the item. NOT_REFUSED, NO_SUCH_ITEM, or -1 if the server could not be used. */
int rival_read(redisContext *context, const struct bid *bid, struct item *ret_item);

/*
 * Writes an accepted bid in one MULTI ... EXEC; `item` is the item thereafter. ACCEPTED; NOT_MADE
 * with *ret_is_conflict if a watched key had changed; UNKNOWN if the answer was lost.
 */
enum told rival_write(
    redisContext *context, const struct bid *bid, const struct item *item, bool *ret_is_conflict);

#endif
