/* examples/leaderboard.c by hand. */
#include "hand.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_ATTEMPTS = 1000 };

static fate attempt(
    redisContext *redis, const char *player, const char *score, long long *ret_n_ahead)
{
    tell(redis, "WATCH board");
    redisReply *best = ask(redis, "ZSCORE board %s", player);
    bool is_better = best->type == REDIS_REPLY_NIL || atof(best->str) < atof(score);
    freeReplyObject(best);
    redisReply *ahead = ask(redis, "ZCOUNT board (%s +inf", score);
    *ret_n_ahead = ahead->integer;
    freeReplyObject(ahead);
    if (!is_better) {
        tell(redis, "UNWATCH");
        return MADE;
    }
    tell(redis, "MULTI");
    tell(redis, "ZADD board %s %s", score, player);
    return exec(redis);
}

int main(int argc, char **argv)
{
    fate met = CONFLICT;
    if (argc != 3) {
        fprintf(stderr, "usage: leaderboard PLAYER SCORE\n");
        return 2;
    }
    redisContext *redis = dial();
    long long n_ahead = 0;
    for (int n = 0; n < MAX_ATTEMPTS && met == CONFLICT; n++) {
        back_off(n);
        met = attempt(redis, argv[1], argv[2], &n_ahead);
    }
    redisFree(redis);
    if (met == MADE)
        printf("place %lld\n", n_ahead + 1);
    else
        fprintf(stderr, "%d attempts were lost to others\n", MAX_ATTEMPTS);
    return met == MADE ? 0 : 2;
}
