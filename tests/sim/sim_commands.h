/*
 * The commands on values, and what commands share: sim_commands.c, sim_strings.c and
 * sim_collections.c. For these and other parts that have commands in the table.
 */
#ifndef SIM_COMMANDS_H
#define SIM_COMMANDS_H

#include "sim_internal.h"

#define SIM__WRONGTYPE "WRONGTYPE Operation against a key holding the wrong kind of value"

/* The key of that type, or NULL in *ret_key if absent. False, after an error, for another type. */
bool sim__find_typed(sim__call *call, gavel_bytes name, sim__type type, sim__key **ret_key);

/* An argument as an integer. False, after an error, if it is none. */
bool sim__arg_int(sim__call *call, size_t i, int64_t *ret_value);
bool sim__arg_is(const sim__call *call, size_t i, const char *word);
void sim__touch_arg(sim__call *call, size_t i);
void sim__say_syntax_error(sim__call *call);
void sim__say_arity(sim__call *call);

/* When a time to live of `value` units ends, as SET and EXPIRE count. False, after an error, for
 * one out of range. */
bool sim__expiry_of(sim__call *call, int64_t value, int64_t unit_ms, int64_t *ret_at_ms);

void sim__run_get(sim__call *call);
void sim__run_getdel(sim__call *call);
void sim__run_mget(sim__call *call);
void sim__run_set(sim__call *call);
void sim__run_setnx(sim__call *call);
void sim__run_mset(sim__call *call);
void sim__run_incr(sim__call *call);
void sim__run_decr(sim__call *call);
void sim__run_incrby(sim__call *call);
void sim__run_decrby(sim__call *call);
void sim__run_append(sim__call *call);
void sim__run_strlen(sim__call *call);

void sim__run_hget(sim__call *call);
void sim__run_hmget(sim__call *call);
void sim__run_hset(sim__call *call);
void sim__run_hdel(sim__call *call);
void sim__run_hgetall(sim__call *call);
void sim__run_hlen(sim__call *call);
void sim__run_hexists(sim__call *call);
void sim__run_hincrby(sim__call *call);
/* Answers the first element of the list, and removes it; a list without any goes. */
void sim__reply_popped(sim__server *server, sim__key *key, gavel__buffer *out);

void sim__run_rpush(sim__call *call);
void sim__run_lpush(sim__call *call);
void sim__run_lpop(sim__call *call);
void sim__run_lrange(sim__call *call);
void sim__run_llen(sim__call *call);
void sim__run_ltrim(sim__call *call);
void sim__run_sadd(sim__call *call);
void sim__run_srem(sim__call *call);
void sim__run_sismember(sim__call *call);
void sim__run_scard(sim__call *call);
void sim__run_zadd(sim__call *call);
void sim__run_zrem(sim__call *call);
void sim__run_zscore(sim__call *call);
void sim__run_zrange(sim__call *call);
void sim__run_zcard(sim__call *call);

#endif
