/* examples/rate_limiter.c by hand. */
#include "hand.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_ATTEMPTS = 1000, WINDOW_MS = 10000 };

struct call {
    const char *who;
    long long limit, n_calls, wait_ms;
};

static fate attempt(redisContext *redis, struct call *call)
{
    char key[256];
    snprintf(key, sizeof key, "calls:%s", call->who);
    tell(redis, "WATCH %s", key);
    call->n_calls = ask_int(redis, "GET", key);
    call->wait_ms = ask_int(redis, "PTTL", key);
    if (call->n_calls >= call->limit) {
        tell(redis, "UNWATCH");
        return REFUSED;
    }
    tell(redis, "MULTI");
    tell(redis, "INCR %s", key);
    if (call->n_calls == 0)
        tell(redis, "PEXPIRE %s %d", key, WINDOW_MS);
    return exec(redis);
}

int main(int argc, char **argv)
{
    fate met = CONFLICT;
    if (argc != 3) {
        fprintf(stderr, "usage: rate_limiter WHO LIMIT\n");
        return 2;
    }
    redisContext *redis = dial();
    struct call call = {.who = argv[1], .limit = atoll(argv[2])};
    for (int n = 0; n < MAX_ATTEMPTS && met == CONFLICT; n++) {
        back_off(n);
        met = attempt(redis, &call);
    }
    redisFree(redis);
    if (met == MADE)
        printf("call %lld of %lld\n", call.n_calls + 1, call.limit);
    else if (met == REFUSED)
        printf("refused for %lld s\n", call.wait_ms / 1000 + 1);
    else
        fprintf(stderr, "%d attempts were lost to others\n", MAX_ATTEMPTS);
    return met == MADE ? 0 : met == REFUSED ? 1 : 2;
}
