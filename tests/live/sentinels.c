/*
 * The servers and Sentinels of sentinels.h.
 */
#include "sentinels.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void take_a_breath(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
}

static void begin_servers(live_sentinels *rig)
{
    char port[16];
    rig->servers[0] = server_start(&(server_options){
        .has_tcp = true, .args = (const char *const[]){"--repl-diskless-sync-delay", "0", NULL}});
    snprintf(port, sizeof(port), "%d", server_port(rig->servers[0]));
    const char *const args[] = {
        "--repl-diskless-sync-delay", "0", "--replicaof", "127.0.0.1", port, NULL};
    for (size_t i = 1; i < SENTINELS_N_SERVERS; i++)
        rig->servers[i] = server_start(&(server_options){.has_tcp = true, .args = args});
}

/* Before a Sentinel has asked a replica itself, it promotes it on no account. */
static bool have_told_of_themselves(const redisReply *replicas)
{
    size_t n = 0;
    for (size_t i = 0; i < replicas->elements; i++) {
        const redisReply *fields = replicas->element[i];
        for (size_t j = 0; j + 1 < fields->elements; j += 2)
            n += strcmp(fields->element[j]->str, "master-link-status") == 0 &&
                 strcmp(fields->element[j + 1]->str, "ok") == 0;
    }
    return n == SENTINELS_N_SERVERS - 1;
}

static bool all_see_all(live_sentinels *rig)
{
    bool is_seen = true;
    for (size_t i = 1; i < SENTINELS_N_SERVERS; i++) {
        redisReply *info = server_command(rig->servers[i], "INFO", "replication", NULL);
        is_seen = is_seen && strstr(info->str, "master_link_status:up") != NULL;
        freeReplyObject(info);
    }
    for (size_t i = 0; i < SENTINELS_N; i++) {
        redisReply *others = server_command(rig->all[i], "SENTINEL", "SENTINELS", "main", NULL);
        redisReply *replicas = server_command(rig->all[i], "SENTINEL", "REPLICAS", "main", NULL);
        is_seen = is_seen && others->elements == SENTINELS_N - 1 &&
                  replicas->elements == SENTINELS_N_SERVERS - 1 &&
                  have_told_of_themselves(replicas);
        freeReplyObject(others);
        freeReplyObject(replicas);
    }
    return is_seen;
}

/* Not before: a failover while they get to know one another would be waited out for ever. */
static void begin_watching(live_sentinels *rig)
{
    for (size_t i = 0; i < SENTINELS_N; i++)
        server_do(rig->all[i], "SENTINEL", "SET", "main", "down-after-milliseconds", "2000", NULL);
}

void sentinels_begin_with_password(live_sentinels *rig, const char *password)
{
    char config[256];
    begin_servers(rig);
    snprintf(config, sizeof(config),
        "sentinel monitor main 127.0.0.1 %d 2\n"
        "sentinel down-after-milliseconds main 60000\n"
        "sentinel failover-timeout main 10000\n",
        server_port(rig->servers[0]));
    if (password != NULL)
        snprintf(config + strlen(config), sizeof(config) - strlen(config),
            "sentinel sentinel-pass %s\n", password);
    for (size_t i = 0; i < SENTINELS_N; i++)
        rig->all[i] = server_start(&(server_options){.has_tcp = true,
            .password = password,
            .config = config,
            .args = (const char *const[]){"--sentinel", NULL}});
    snprintf(rig->url, sizeof(rig->url), "redis+sentinel://127.0.0.1:%d,127.0.0.1:%d/main",
        server_port(rig->all[0]), server_port(rig->all[1]));
    while (!all_see_all(rig))
        take_a_breath();
    begin_watching(rig);
}

void sentinels_begin(live_sentinels *rig)
{
    sentinels_begin_with_password(rig, NULL);
}

void sentinels_end(live_sentinels *rig)
{
    /* The last one first: its janitor has what the others' janitors wait for. */
    for (size_t i = SENTINELS_N; i > 0; i--)
        server_stop(rig->all[i - 1]);
    for (size_t i = SENTINELS_N_SERVERS; i > 0; i--)
        server_stop(rig->servers[i - 1]);
}

test_server *sentinels_primary(live_sentinels *rig, size_t sentinel)
{
    redisReply *place =
        server_command(rig->all[sentinel], "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main", NULL);
    int port = atoi(place->element[1]->str);
    freeReplyObject(place);
    for (size_t i = 0; i < SENTINELS_N_SERVERS; i++) {
        if (server_port(rig->servers[i]) == port)
            return rig->servers[i];
    }
    fprintf(stderr, "a Sentinel names port %d\n", port);
    abort();
}

/* On a connection of its own: a server that is promoted closes those that it has. */
static bool is_primary(const test_server *server)
{
    redisContext *context = server_connect(server);
    redisReply *role = redisCommand(context, "ROLE");
    bool is_primary = role != NULL && strcmp(role->element[0]->str, "master") == 0;
    freeReplyObject(role);
    redisFree(context);
    return is_primary;
}

long long sentinels_count(const test_server *server, const char *key)
{
    redisContext *context = server_connect(server);
    redisReply *reply = redisCommand(context, "GET %s", key);
    cr_assert_not_null(reply);
    long long count = reply->type == REDIS_REPLY_STRING ? atoll(reply->str) : -1;
    freeReplyObject(reply);
    redisFree(context);
    return count;
}

test_server *sentinels_await_another(live_sentinels *rig, const test_server *old)
{
    for (;; take_a_breath()) {
        test_server *named = sentinels_primary(rig, 0);
        bool is_named = named != old;
        for (size_t i = 1; i < SENTINELS_N; i++)
            is_named = is_named && sentinels_primary(rig, i) == named;
        if (is_named && is_primary(named))
            return named;
    }
}
