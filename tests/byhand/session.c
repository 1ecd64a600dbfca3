/* examples/session.c by hand. */
#include "hand.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_ATTEMPTS = 1000, LIFE_MS = 30 * 60 * 1000, NAME_SIZE = 128 };

/* What a key holds, cut at the size; false: nothing. */
static bool ask_text(redisContext *redis, const char *key, char *text, size_t size)
{
    redisReply *reply = ask(redis, "GET %s", key);
    bool is_there = reply->type == REDIS_REPLY_STRING;
    if (is_there)
        snprintf(text, size, "%s", reply->str);
    freeReplyObject(reply);
    return is_there;
}

/* Without a user it is a visit: finds out whose. */
static fate attempt(redisContext *redis, const char *token, const char *user, char whose[NAME_SIZE])
{
    char session[NAME_SIZE + 16], current[NAME_SIZE + 16], old[NAME_SIZE];
    snprintf(session, sizeof session, "session:%s", token);
    tell(redis, "WATCH %s", session);
    if (user != NULL) {
        snprintf(whose, NAME_SIZE, "%s", user);
    } else if (!ask_text(redis, session, whose, NAME_SIZE)) {
        tell(redis, "UNWATCH");
        return REFUSED;
    }
    snprintf(current, sizeof current, "session-of:%s", whose);
    tell(redis, "WATCH %s", current);
    bool has_old = ask_text(redis, current, old, sizeof old);
    tell(redis, "MULTI");
    if (has_old)
        tell(redis, "DEL session:%s", old);
    tell(redis, "SET %s %s PX %d", session, whose, LIFE_MS);
    tell(redis, "SET %s %s PX %d", current, token, LIFE_MS);
    return exec(redis);
}

int main(int argc, char **argv)
{
    fate met = CONFLICT;
    if (argc != 2 && argc != 3) {
        fprintf(stderr, "usage: session TOKEN [USER]\n");
        return 2;
    }
    redisContext *redis = dial();
    char whose[NAME_SIZE] = "";
    for (int n = 0; n < MAX_ATTEMPTS && met == CONFLICT; n++) {
        back_off(n);
        met = attempt(redis, argv[1], argv[2], whose);
    }
    redisFree(redis);
    if (met == MADE)
        printf("session of %s\n", whose);
    else if (met == REFUSED)
        printf("no such session\n");
    else
        fprintf(stderr, "%d attempts were lost to others\n", MAX_ATTEMPTS);
    return met == MADE ? 0 : met == REFUSED ? 1 : 2;
}
