/*
 * What the programs of this folder share: those of examples/ written by hand, on hiredis, with
 * WATCH, MULTI, EXEC and retries. tests/live/byhand runs both and compares how long they are.
 */
#ifndef BYHAND_HAND_H
#define BYHAND_HAND_H

#include <hiredis/hiredis.h>

#include <stdbool.h>

typedef enum fate { MADE, REFUSED, CONFLICT } fate;

/* Connects to the socket at $REDIS_SOCKET, or ends the program. */
redisContext *dial(void);

/* Asks, and ends the program if there is no answer but an error. */
redisReply *ask(redisContext *redis, const char *format, ...);

/* The same, of a key; 0 where nothing is. */
long long ask_int(redisContext *redis, const char *command, const char *key);

/* Tells, and does not care for the answer. */
#define tell(...) freeReplyObject(ask(__VA_ARGS__))

/* EXEC: whether the writes were made; not, if somebody else changed what is watched. */
fate exec(redisContext *redis);

/* Before an attempt but the first: at random, and longer each time, up to a tenth of a second. */
void back_off(int n_attempts);

#endif
