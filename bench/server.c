/* The server under test; see server.h. */
#include "server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNIX_SCHEME "unix://"
#define TCP_SCHEME "redis://"
#define CLUSTER_SCHEME "redis+cluster://"
#define DEFAULT_PORT 6379

/* Keys are zeroed and summed in batches, so that neither side's buffers grow large. */
#define BATCH 1000

struct address {
    char host[256]; /* or the path of a socket */
    int port;       /* 0: a socket */
};

/* What stands behind the scheme; NULL: it has another one. */
static const char *behind(const char *url, const char *scheme)
{
    size_t size = strlen(scheme);
    return strncmp(url, scheme, size) == 0 ? url + size : NULL;
}

static bool parse_url(const char *url, struct address *ret_address)
{
    const char *rest = behind(url, UNIX_SCHEME);
    bool is_unix = rest != NULL;
    if (rest == NULL)
        rest = behind(url, TCP_SCHEME);
    if (rest == NULL)
        rest = behind(url, CLUSTER_SCHEME);
    if (rest == NULL || strlen(rest) == 0 || strlen(rest) >= sizeof(ret_address->host)) {
        fprintf(stderr, "%s: not unix://PATH or redis[+cluster]://HOST[:PORT]\n", url);
        return false;
    }
    snprintf(ret_address->host, sizeof(ret_address->host), "%s", rest);
    ret_address->port = is_unix ? 0 : DEFAULT_PORT;
    char *colon = is_unix ? NULL : strrchr(ret_address->host, ':');
    if (colon != NULL) {
        *colon = '\0';
        ret_address->port = (int)strtol(colon + 1, NULL, 10);
    }
    return true;
}

redisContext *server_connect(const char *url)
{
    struct address address;
    if (!parse_url(url, &address))
        return NULL;
    redisContext *context = address.port != 0 ? redisConnect(address.host, address.port)
                                              : redisConnectUnix(address.host);
    if (context != NULL && context->err == 0)
        return context;
    fprintf(stderr, "%s: %s\n", url, context != NULL ? context->errstr : "no memory");
    if (context != NULL)
        redisFree(context);
    return NULL;
}

redisAsyncContext *server_connect_async(const char *url)
{
    struct address address;
    if (!parse_url(url, &address))
        return NULL;
    redisAsyncContext *context = address.port != 0 ? redisAsyncConnect(address.host, address.port)
                                                   : redisAsyncConnectUnix(address.host);
    if (context != NULL && context->err == 0)
        return context;
    fprintf(stderr, "%s: %s\n", url, context != NULL ? context->errstr : "no memory");
    if (context != NULL)
        redisAsyncFree(context);
    return NULL;
}

bench_key *server_name_keys(size_t n_keys)
{
    bench_key *keys = calloc(n_keys, sizeof(*keys));
    for (size_t i = 0; keys != NULL && i < n_keys; i++)
        keys[i].size = (size_t)snprintf(keys[i].name, sizeof(keys[i].name), "bench:%zu", i);
    return keys;
}

/* The next reply, if it has the type wanted; else NULL and a complaint. */
static redisReply *next_reply(redisContext *context, int type)
{
    void *next = NULL;
    if (redisGetReply(context, &next) != REDIS_OK) {
        fprintf(stderr, "server: %s\n", context->errstr);
        return NULL;
    }
    redisReply *reply = next;
    if (reply->type == type)
        return reply;
    fprintf(stderr, "server: unexpected reply: %s\n", reply->str != NULL ? reply->str : "");
    freeReplyObject(reply);
    return NULL;
}

static bool zero_batch(redisContext *context, const bench_key *keys, size_t n_keys)
{
    for (size_t i = 0; i < n_keys; i++)
        redisAppendCommand(context, "SET %b 0", keys[i].name, keys[i].size);
    for (size_t i = 0; i < n_keys; i++) {
        redisReply *reply = next_reply(context, REDIS_REPLY_STATUS);
        if (reply == NULL)
            return false;
        freeReplyObject(reply);
    }
    return true;
}

bool server_zero_keys(redisContext *context, const bench_key *keys, size_t n_keys)
{
    for (size_t i = 0; i < n_keys; i += BATCH)
        if (!zero_batch(context, keys + i, n_keys - i < BATCH ? n_keys - i : BATCH))
            return false;
    return true;
}

static bool sum_batch(redisContext *context, const bench_key *keys, size_t n_keys, int64_t *sum)
{
    for (size_t i = 0; i < n_keys; i++)
        redisAppendCommand(context, "GET %b", keys[i].name, keys[i].size);
    for (size_t i = 0; i < n_keys; i++) {
        redisReply *reply = next_reply(context, REDIS_REPLY_STRING);
        if (reply == NULL)
            return false;
        *sum += strtoll(reply->str, NULL, 10);
        freeReplyObject(reply);
    }
    return true;
}

bool server_sum_keys(redisContext *context, const bench_key *keys, size_t n_keys, int64_t *ret_sum)
{
    int64_t sum = 0;
    for (size_t i = 0; i < n_keys; i += BATCH)
        if (!sum_batch(context, keys + i, n_keys - i < BATCH ? n_keys - i : BATCH, &sum))
            return false;
    *ret_sum = sum;
    return true;
}

static redisReply *info(redisContext *context, const char *section)
{
    redisAppendCommand(context, "INFO %s", section);
    return next_reply(context, REDIS_REPLY_STRING);
}

/* The number after `name` in INFO's text; 0 when it is not there. */
static double info_number(const char *text, const char *name)
{
    const char *found = strstr(text, name);
    return found != NULL ? strtod(found + strlen(name), NULL) : 0;
}

/* Lines are "cmdstat_get:calls=12,usec=..."; a subcommand's name is "config|get". */
static uint64_t sum_calls(const char *text)
{
    static const char prefix[] = "cmdstat_";
    static const char own[] = "cmdstat_info:";
    static const char calls[] = ":calls=";
    uint64_t sum = 0;
    for (const char *at = strstr(text, prefix); at != NULL; at = strstr(at + 1, prefix)) {
        const char *number = strstr(at, calls);
        if (number != NULL && strncmp(at, own, strlen(own)) != 0)
            sum += strtoull(number + strlen(calls), NULL, 10);
    }
    return sum;
}

bool server_read_usage(redisContext *context, server_usage *ret_usage)
{
    redisReply *cpu = info(context, "cpu");
    redisReply *stats = cpu != NULL ? info(context, "commandstats") : NULL;
    if (stats != NULL) {
        double seconds =
            info_number(cpu->str, "used_cpu_sys:") + info_number(cpu->str, "used_cpu_user:");
        ret_usage->cpu_us = (int64_t)(seconds * 1e6);
        ret_usage->n_commands = sum_calls(stats->str);
    }
    bool is_read = stats != NULL;
    if (cpu != NULL)
        freeReplyObject(cpu);
    if (stats != NULL)
        freeReplyObject(stats);
    return is_read;
}

bool server_read_info(
    redisContext *context, const char *section, const char *name, char *ret_text, size_t size)
{
    redisReply *reply = info(context, section);
    if (reply == NULL)
        return false;
    const char *found = strstr(reply->str, name);
    const char *text = found != NULL ? found + strlen(name) : "?";
    snprintf(ret_text, size, "%.*s", (int)strcspn(text, "\r\n"), text);
    freeReplyObject(reply);
    return true;
}

bool server_read_config(redisContext *context, const char *name, char *ret_text, size_t size)
{
    redisReply *reply = redisCommand(context, "CONFIG GET %s", name);
    bool is_told = reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
                   reply->element[1]->type == REDIS_REPLY_STRING;
    if (is_told)
        snprintf(ret_text, size, "%s", reply->element[1]->str);
    if (reply != NULL)
        freeReplyObject(reply);
    return is_told;
}
