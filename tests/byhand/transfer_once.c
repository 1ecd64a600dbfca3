/* examples/transfer_once.c by hand. */
#include "hand.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_ATTEMPTS = 1000, ID_LIFE_MS = 24 * 60 * 60 * 1000 };

struct transfer {
    const char *id, *from, *to;
    long long amount;
    bool is_duplicate;
};

static fate attempt(redisContext *redis, struct transfer *transfer)
{
    char id[256];
    snprintf(id, sizeof id, "transfer:%s", transfer->id);
    tell(redis, "WATCH %s %s %s", id, transfer->from, transfer->to);
    transfer->is_duplicate = ask_int(redis, "EXISTS", id) != 0;
    if (transfer->is_duplicate || ask_int(redis, "GET", transfer->from) < transfer->amount) {
        tell(redis, "UNWATCH");
        return transfer->is_duplicate ? MADE : REFUSED;
    }
    tell(redis, "MULTI");
    tell(redis, "DECRBY %s %lld", transfer->from, transfer->amount);
    tell(redis, "INCRBY %s %lld", transfer->to, transfer->amount);
    tell(redis, "SET %s 1 PX %d", id, ID_LIFE_MS);
    return exec(redis);
}

int main(int argc, char **argv)
{
    fate met = CONFLICT;
    if (argc != 5) {
        fprintf(stderr, "usage: transfer_once ID FROM TO AMOUNT\n");
        return 2;
    }
    redisContext *redis = dial();
    struct transfer transfer = {argv[1], argv[2], argv[3], llabs(atoll(argv[4])), false};
    for (int n = 0; n < MAX_ATTEMPTS && met == CONFLICT; n++) {
        back_off(n);
        met = attempt(redis, &transfer);
    }
    redisFree(redis);
    if (met == MADE)
        printf("%s\n", transfer.is_duplicate ? "moved before" : "moved");
    else if (met == REFUSED)
        printf("not enough there\n");
    else
        fprintf(stderr, "%d attempts were lost to others\n", MAX_ATTEMPTS);
    return met == MADE ? 0 : met == REFUSED ? 1 : 2;
}
