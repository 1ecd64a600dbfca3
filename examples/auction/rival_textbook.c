/*
 * The textbook's way: WATCH, read, MULTI, write, EXEC, and all over again if EXEC says nil. It is
 * right, and slow as soon as bidders contend: a connection each, and most attempts in vain.
 */
#include "rivals.h"

static enum told textbook_bid(redisContext *context, struct bid *bid, int *ret_refusal)
{
    bool is_conflict = true;
    enum told told = TOLD_NOT_MADE;

    while (is_conflict) {
        struct item item;
        redisReply *reply = PLAIN(context, "WATCH", bid->keys.hash);
        bool is_watched = reply != NULL && reply->type == REDIS_REPLY_STATUS;
        freeReplyObject(reply);
        if (!is_watched)
            return TOLD_NOT_MADE;
        int refusal = rival_read(context, bid, &item);
        if (refusal == NOT_REFUSED)
            refusal = (int)item_judge(&item, bid);
        if (refusal != NOT_REFUSED) {
            freeReplyObject(PLAIN(context, "UNWATCH"));
            *ret_refusal = refusal;
            return refusal < 0 ? TOLD_NOT_MADE : TOLD_REFUSED;
        }
        told = rival_write(context, bid, &item, &is_conflict);
    }
    return told;
}

int team_by_textbook(struct team *team)
{
    return team_of_rivals(team, textbook_bid);
}
