/*
 * Reports: what machine and versions a run was made with, and a small JSON writer. Shared by the
 * benchmarks.
 */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include <hiredis.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* ---- JSON ---------------------------------------------------------------------------------- */

/* Writes one value to a file, in order. `key` is NULL inside an array and for the outermost. */
struct json {
    FILE *file;
    bool needs_comma;
};

void json_open(struct json *json, const char *key, char bracket); /* '{' or '[' */
void json_close(struct json *json, char bracket);                 /* '}' or ']' */
void json_text(struct json *json, const char *key, const char *text);
void json_number(struct json *json, const char *key, double number);
void json_count(struct json *json, const char *key, uint64_t count);

/* ---- The environment ----------------------------------------------------------------------- */

struct environment {
    char gavel[32];
    char server[64]; /* as "Redis 7.0.15" */
    char hiredis[32];
    char libev[32];
    char compiler[64];
    char kernel[192];
    char load[64];  /* the system's, when it was read: 1, 5 and 15 minutes */
    char socket[8]; /* "unix" or "tcp" */
    long n_cores;
    char client_cpus[32]; /* those that this process may run on, as "0-1" */
    char server_cpus[32]; /* "?" when the server is not on this machine */
    char persistence[64]; /* "none", or what of "rdb" and "aof" is on; "?" when it does not tell */
};

/* False when the server does not tell its version. */
bool environment_read(redisContext *context, const char *url, struct environment *ret_environment);

void environment_print(const struct environment *environment);
void environment_write(const struct environment *environment, struct json *json, const char *key);

#endif
