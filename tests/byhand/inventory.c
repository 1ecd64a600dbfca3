/* examples/inventory.c by hand. */
#include "hand.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ATTEMPTS = 1000 };

/* Leaves in *ret_missing what is sold out. */
static fate attempt(redisContext *redis, char **words, const char **ret_missing)
{
    char key[256];
    for (char **item = words + 1; *item != NULL; item++) {
        snprintf(key, sizeof key, "stock:%s", *item);
        tell(redis, "WATCH %s", key);
    }
    for (char **item = words + 1; *item != NULL; item++) {
        long long n_wanted = 0;
        for (char **other = words + 1; *other != NULL; other++)
            n_wanted += strcmp(*other, *item) == 0;
        snprintf(key, sizeof key, "stock:%s", *item);
        *ret_missing = *item;
        if (ask_int(redis, "GET", key) < n_wanted) {
            tell(redis, "UNWATCH");
            return REFUSED;
        }
    }
    tell(redis, "MULTI");
    for (char **item = words + 1; *item != NULL; item++) {
        tell(redis, "DECR stock:%s", *item);
        tell(redis, "HINCRBY order:%s %s 1", words[0], *item);
    }
    return exec(redis);
}

int main(int argc, char **argv)
{
    fate met = CONFLICT;
    if (argc < 3) {
        fprintf(stderr, "usage: inventory ORDER ITEM [ITEM ...]\n");
        return 2;
    }
    redisContext *redis = dial();
    const char *missing = NULL;
    for (int n = 0; n < MAX_ATTEMPTS && met == CONFLICT; n++) {
        back_off(n);
        met = attempt(redis, argv + 1, &missing);
    }
    redisFree(redis);
    if (met == MADE)
        printf("%s is reserved\n", argv[1]);
    else if (met == REFUSED)
        printf("%s is sold out\n", missing);
    else
        fprintf(stderr, "%d attempts were lost to others\n", MAX_ATTEMPTS);
    return met == MADE ? 0 : met == REFUSED ? 1 : 2;
}
