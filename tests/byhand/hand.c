/* See the header. */
#include "hand.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

redisContext *dial(void)
{
    const char *path = getenv("REDIS_SOCKET");
    redisContext *redis = redisConnectUnix(path != NULL ? path : "/run/redis/redis.sock");
    if (redis == NULL || redis->err != 0) {
        fprintf(stderr, "%s\n", redis != NULL ? redis->errstr : "no memory");
        exit(2);
    }
    srand((unsigned)(time(NULL) ^ getpid()));
    return redis;
}

redisReply *ask(redisContext *redis, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    redisReply *reply = redisvCommand(redis, format, args);
    va_end(args);
    if (reply == NULL || reply->type == REDIS_REPLY_ERROR) {
        fprintf(stderr, "%s\n", reply != NULL ? reply->str : redis->errstr);
        exit(2);
    }
    return reply;
}

long long ask_int(redisContext *redis, const char *command, const char *key)
{
    redisReply *reply = ask(redis, "%s %s", command, key);
    bool is_text = reply->type == REDIS_REPLY_STRING;
    long long value = is_text ? strtoll(reply->str, NULL, 10) : reply->integer;
    freeReplyObject(reply);
    return value;
}

fate exec(redisContext *redis)
{
    redisReply *reply = redisCommand(redis, "EXEC");
    if (reply == NULL) {
        fprintf(stderr, "nobody knows whether it was made: %s\n", redis->errstr);
        exit(2);
    }
    bool is_made = reply->type == REDIS_REPLY_ARRAY;
    const redisReply *error = reply->type == REDIS_REPLY_ERROR ? reply : NULL;
    for (size_t i = 0; is_made && i < reply->elements; i++) {
        if (reply->element[i]->type == REDIS_REPLY_ERROR)
            error = reply->element[i];
    }
    if (error != NULL) {
        fprintf(stderr, "%s\n", error->str);
        exit(2);
    }
    freeReplyObject(reply);
    return is_made ? MADE : CONFLICT;
}

void back_off(int n_attempts)
{
    if (n_attempts == 0)
        return;
    long max_us = n_attempts < 10 ? 100L << n_attempts : 100000;
    struct timespec pause = {0, 1000 * (rand() % max_us)};
    nanosleep(&pause, NULL);
}
