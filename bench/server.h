/*
 * The server under test, seen past gavel: connecting to it by plain hiredis, the keys that a
 * benchmark counts in, and what the server says of its own work. Shared by the benchmarks.
 * Functions that fail say why on standard error.
 */
#ifndef BENCH_SERVER_H
#define BENCH_SERVER_H

#include <async.h>
#include <hiredis.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Connects to "unix://PATH" or "redis://HOST[:PORT]". NULL on failure; else for redisFree. */
redisContext *server_connect(const char *url);

/* As server_connect, without waiting for the connection; for redisAsyncFree. */
redisAsyncContext *server_connect_async(const char *url);

typedef struct bench_key {
    char name[32];
    size_t size;
} bench_key;

/* Names n_keys keys. NULL without memory; else for free. */
bench_key *server_name_keys(size_t n_keys);

/* Sets every key to 0. */
bool server_zero_keys(redisContext *context, const bench_key *keys, size_t n_keys);

/* Adds up the integers in the keys. */
bool server_sum_keys(redisContext *context, const bench_key *keys, size_t n_keys, int64_t *ret_sum);

/* What the server has done since it started; the INFOs that ask for it do not count. */
typedef struct server_usage {
    uint64_t n_commands; /* executed; a queued command when EXEC runs it */
    int64_t cpu_us;      /* user and system */
} server_usage;

bool server_read_usage(redisContext *context, server_usage *ret_usage);

/* What stands behind `name` in a section of INFO, with its NUL, cut to `size`; "?" for nothing. */
bool server_read_info(
    redisContext *context, const char *section, const char *name, char *ret_text, size_t size);

/* The setting of that name, in the same way. False: the server does not tell. */
bool server_read_config(redisContext *context, const char *name, char *ret_text, size_t size);

#endif
