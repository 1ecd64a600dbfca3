/*
 * Inspecting one item for verify. It trusts nothing that it inspects: it does not use gavel, but
 * reads by plain hiredis and goes by the rules of the house, not by the code that applied them.
 */
#ifndef AUCTION_INSPECT_H
#define AUCTION_INSPECT_H

#include "findings.h"
#include "ledger.h"
#include "plain.h"

struct verifier {
    const char *url;
    redisContext *context;
    struct ledger ledger;     /* zeroed if there is none */
    struct findings findings; /* of all items that are done */
    size_t n_items;
    uint64_t n_by_hand; /* bids in the histories of items that no ledger knows */
};

/*
 * Inspects the item called `name`, which has this number in the ledger (0: it is not the race's).
 * Adds to the verifier's findings, and counts in the ledger where its bids were seen. False, and
 * said so, if there was trouble with the server.
 */
bool inspect_item(struct verifier *verifier, const char *name, uint32_t number);

/* In a Cluster, goes to the node that has the key. False, and said so: it cannot be had. */
bool verifier_go_to(struct verifier *verifier, const char *key);

/* The reply, if it is of that type of hiredis's; else it is freed, said so, and NULL. */
redisReply *verifier_expect(const struct verifier *verifier, redisReply *reply, int type);

#endif
