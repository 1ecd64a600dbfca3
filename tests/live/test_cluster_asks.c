/*
 * A slot of a real cluster that goes to another node key by key, and stops half-way: whoever's keys
 * have gone is served meanwhile, and whoever wants a new one is not.
 */
#include "clusters.h"

#include <criterion/criterion.h>

#include <stdio.h>

#define KEY "{t}k"
#define SLOT 15891
#define N_OTHERS 200

static bool is_at(live_cluster *cluster, size_t node, const char *key)
{
    redisContext *link = server_connect(cluster->nodes[node]);
    redisReply *reply = redisCommand(link, "EXISTS %s", key);
    cr_assert_not_null(reply);
    bool is_there = reply->type == REDIS_REPLY_INTEGER && reply->integer == 1;
    freeReplyObject(reply);
    redisFree(link);
    return is_there;
}

static void set_keys(live_cluster *cluster, size_t node)
{
    char name[32];
    server_do(cluster->nodes[node], "SET", KEY, "0", NULL);
    for (int i = 0; i < N_OTHERS; i++) {
        snprintf(name, sizeof(name), "{t}other:%d", i);
        server_do(cluster->nodes[node], "SET", name, "0", NULL);
    }
}

/* Few at a time, in whatever order the node has them. */
static void move_until_gone(live_cluster *cluster, size_t from, size_t to, const char *key)
{
    while (is_at(cluster, from, key))
        cr_assert(clusters_move_keys(cluster, SLOT, to, 1));
}

static gavel_outcome increment(gavel_client *client, const char *key, uint32_t deadline_ms)
{
    gavel_bytes name = gavel_str(key);
    gavel_read read = {.key = name};
    return gavel_run(client, &(gavel_transaction){.body = live_add_one,
                                 .user = &name,
                                 .reads = &read,
                                 .n_reads = 1,
                                 .deadline_ms = deadline_ms});
}

Test(cluster_asks, a_key_that_has_gone_does_not_wait_for_the_slot)
{
    live_cluster cluster;
    clusters_begin(&cluster);
    gavel_client *client = live_open(cluster.url, NULL);
    set_keys(&cluster, 2);
    cr_assert_eq(increment(client, KEY, 60000).status, GAVEL_COMMITTED);
    clusters_open_slot(&cluster, SLOT, 0);
    move_until_gone(&cluster, 2, 0, KEY);
    for (int i = 0; i < 3; i++) {
        gavel_outcome outcome = increment(client, KEY, 60000);
        cr_assert_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
    }
    cr_expect(!is_at(&cluster, 2, KEY));
    gavel_outcome outcome = increment(client, "{t}new", 100);
    cr_expect_eq(outcome.status, GAVEL_DEADLINE, "%s", outcome.message);
    while (clusters_move_keys(&cluster, SLOT, 0, 100))
        continue;
    clusters_assign_slot(&cluster, SLOT, 0);
    cr_expect_eq(increment(client, KEY, 60000).status, GAVEL_COMMITTED);
    cr_expect_eq(increment(client, "{t}new", 60000).status, GAVEL_COMMITTED);
    cr_expect_eq(clusters_count(&cluster, KEY), 5);
    cr_expect_eq(clusters_count(&cluster, "{t}new"), 1);
    gavel_close(client);
    clusters_end(&cluster);
}
