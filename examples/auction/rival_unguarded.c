/*
 * The way that seems to work: read, decide, write in MULTI ... EXEC, but watch nothing. Between the
 * reading and the writing another bid may come, and is overwritten. Here to be caught by verify.
 */
#include "rivals.h"

static enum told unguarded_bid(redisContext *context, struct bid *bid, int *ret_refusal)
{
    struct item item;
    bool is_conflict;

    int refusal = rival_read(context, bid, &item);
    if (refusal == NOT_REFUSED)
        refusal = (int)item_judge(&item, bid);
    *ret_refusal = refusal;
    if (refusal != NOT_REFUSED)
        return refusal < 0 ? TOLD_NOT_MADE : TOLD_REFUSED;
    return rival_write(context, bid, &item, &is_conflict);
}

int team_by_unguarded(struct team *team)
{
    return team_of_rivals(team, unguarded_bid);
}
