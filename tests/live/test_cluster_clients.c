/*
 * Clients of a real Cluster: what whoever has just got one tries first, and what goes wrong then.
 * What becomes of them while slots move is in test_cluster_stress.c.
 */
#include "crowd.h"

#include "base/slot.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

static live_cluster cluster;

static void tear_down(void)
{
    clusters_end(&cluster);
}

TestSuite(cluster_clients, .fini = tear_down, .timeout = 120);

/* Adds one to the integer at a key. */
static gavel_outcome add(gavel_client *client, const char *key, uint32_t max_faults)
{
    gavel_bytes bytes = gavel_str(key);
    return gavel_run(client,
        &(gavel_transaction){
            .body = live_add_one, .user = &bytes, .deadline_ms = 60000, .max_faults = max_faults});
}

#define EXPECT_TOLD(outcome, expected, words)                                                      \
    do {                                                                                           \
        const gavel_outcome was = (outcome);                                                       \
        cr_expect_eq(was.status, expected, "%s: %s", gavel_status_name(was.status), was.message);  \
        cr_expect(live_contains(was.message, words), "no \"%s\" in: %s", words, was.message);      \
    } while (0)

/* ---- What is no Cluster ---------------------------------------------------------------------- */

static void expect_of(const char *url, uint32_t max_faults, gavel_status status, const char *words)
{
    gavel_client *client = live_open(url, NULL);
    EXPECT_TOLD(add(client, "k", max_faults), status, words);
    gavel_close(client);
}

Test(cluster_clients, a_server_that_is_of_no_cluster_is_told_at_once)
{
    char url[128];
    test_server *server = server_start(&(server_options){.has_tcp = true});
    snprintf(url, sizeof(url), "redis+cluster://127.0.0.1:%d", server_port(server));
    expect_of(url, 0, GAVEL_NOT_SENT, "this is no node of a Redis Cluster");
    snprintf(url, sizeof(url), "redis+cluster://nobody:x@127.0.0.1:%d", server_port(server));
    expect_of(url, 0, GAVEL_REJECTED, "refused the login");
    gavel_client *client = live_open(url, NULL);
    gavel_lock_outcome lock =
        gavel_lock_acquire(client, &(gavel_lock_request){.name = GAVEL_STR("l"), .wait_ms = 60000});
    cr_expect_eq(lock.status, GAVEL_LOCK_REJECTED);
    cr_expect(live_contains(lock.message, "refused the login"), "%s", lock.message);
    gavel_close(client);
    server_stop(server);
}

Test(cluster_clients, where_no_seed_can_be_reached_is_a_fault_each_time)
{
    char url[128];
    test_server *server = server_start(&(server_options){.has_tcp = true});
    int port = server_port(server);
    server_kill(server);
    snprintf(url, sizeof(url), "redis+cluster://127.0.0.1:%d,127.0.0.1:%d", port, port);
    expect_of(url, 2, GAVEL_NOT_SENT, "Connection refused");
    server_stop(server);
}

/* ---- The first minutes ----------------------------------------------------------------------- */

/* On all nodes, as a line. */
static void tell_all(const char *line)
{
    for (size_t i = 0; i < CLUSTERS_N; i++) {
        redisContext *context = server_connect(cluster.nodes[i]);
        redisReply *reply = redisCommand(context, line);
        cr_assert(reply != NULL && reply->type == REDIS_REPLY_STATUS, "%s", line);
        freeReplyObject(reply);
        redisFree(context);
    }
}

static void count_on_all_nodes(gavel_client *client, const char *name)
{
    enum { N_KEYS = 30 };
    char key[32];
    for (int i = 0; i < 2 * N_KEYS; i++) {
        snprintf(key, sizeof(key), "%s:%d", name, i % N_KEYS);
        EXPECT_TOLD(add(client, key, 0), GAVEL_COMMITTED, "");
    }
    for (int i = 0; i < N_KEYS; i++) {
        snprintf(key, sizeof(key), "%s:%d", name, i);
        cr_expect_eq(clusters_count(&cluster, key), 2);
    }
}

/* Keys of two slots, and of one by a tag. */
static const gavel_bytes a = {"a", 1}, b = {"b", 1}, tagged = {"{a}b", 4};

static gavel_verdict copy(gavel_tx *tx, void *user)
{
    gavel_bytes value;
    if (gavel_get(tx, a, &value) == GAVEL_NOT_YET)
        return GAVEL_AGAIN;
    gavel_set(tx, *(const gavel_bytes *)user, GAVEL_STR("x"));
    return GAVEL_COMMIT;
}

static gavel_verdict put_both(gavel_tx *tx, void *user)
{
    (void)user;
    gavel_write(tx, &GAVEL_COMMAND(GAVEL_STR("MSET"), a, a, b, b));
    return GAVEL_COMMIT;
}

static gavel_verdict look_at_clock(gavel_tx *tx, void *user)
{
    int64_t us;
    (void)user;
    gavel_server_time_us(tx, &us);
    return GAVEL_COMMIT;
}

static void meet_slots(gavel_client *client)
{
    static const char words[] = "keys \"a\" and \"b\" are in slots 15495 and 3300";
    gavel_transaction declared = {.body = copy, .user = (void *)&b, .keys = &b, .n_keys = 1};
    EXPECT_TOLD(gavel_run(client, &(gavel_transaction){.body = copy, .user = (void *)&b}),
        GAVEL_INVALID, words);
    EXPECT_TOLD(gavel_run(client, &declared), GAVEL_INVALID, "give them a common {tag}");
    EXPECT_TOLD(gavel_run(client, &(gavel_transaction){.body = put_both}), GAVEL_INVALID, words);
    EXPECT_TOLD(gavel_run(client, &(gavel_transaction){.body = copy, .user = (void *)&tagged}),
        GAVEL_COMMITTED, "");
    EXPECT_TOLD(gavel_run(client, &(gavel_transaction){.body = look_at_clock}), GAVEL_INVALID,
        "declare a key");
    EXPECT_TOLD(
        gavel_run(client, &(gavel_transaction){.body = look_at_clock, .keys = &a, .n_keys = 1}),
        GAVEL_COMMITTED, "");
}

static void use_ids(gavel_client *client)
{
    gavel_bytes key = GAVEL_STR("with:id");
    gavel_transaction once = {.body = live_add_one, .user = &key, .id = GAVEL_STR("id")};
    EXPECT_TOLD(gavel_run(client, &once), GAVEL_INVALID, "an id needs a declared key");
    once.keys = &key;
    once.n_keys = 1;
    for (int i = 0; i < 2; i++) {
        gavel_outcome told = gavel_run(client, &once);
        EXPECT_TOLD(told, GAVEL_COMMITTED, "");
        cr_expect_eq(told.is_duplicate, i == 1);
    }
    cr_expect_eq(clusters_count(&cluster, "with:id"), 1);
}

static void wait_for_replicas(gavel_client *client)
{
    gavel_bytes key = GAVEL_STR("kept");
    gavel_outcome told = gavel_run(client, &(gavel_transaction){.body = live_add_one,
                                               .user = &key,
                                               .deadline_ms = 60000,
                                               .min_replicas = GAVEL_ALL_REPLICAS,
                                               .durable_ms = 60000});
    EXPECT_TOLD(told, GAVEL_COMMITTED, "");
    cr_expect_eq(told.n_replicas, 1);
}

/* ---- Locks ----------------------------------------------------------------------------------- */

static gavel_lock_outcome acquire(gavel_client *client, const char *name, bool is_try)
{
    return gavel_lock_acquire(client,
        &(gavel_lock_request){
            .name = gavel_str(name), .lease_ms = 60000, .wait_ms = 60000, .is_try = is_try});
}

static gavel_lock_status set_under(gavel_lock *lock, const char *key)
{
    return gavel_lock_do(lock, &(gavel_lock_command){.command = GAVEL_COMMAND(GAVEL_STR("SET"),
                                                         gavel_str(key), GAVEL_STR("x"))})
        .status;
}

/* A lock goes along with its slot, and to the replica. */
static void hold_locks(gavel_client *client)
{
    gavel_client *other = live_open(cluster.url, NULL);
    gavel_lock_outcome held = acquire(client, "lock", false);
    gavel_lock_outcome elsewhere = acquire(other, "another", false);
    cr_assert_eq(held.status, GAVEL_LOCK_HELD, "%s", held.message);
    cr_assert_eq(elsewhere.status, GAVEL_LOCK_HELD, "%s", elsewhere.message);
    cr_expect_eq(set_under(held.lock, "{lock}:x"), GAVEL_LOCK_HELD);
    cr_expect_eq(set_under(held.lock, "elsewhere"), GAVEL_LOCK_INVALID);
    int slot = gavel__slot_of(GAVEL_STR("lock"));
    size_t from = clusters_owner(&cluster, slot);
    clusters_move_slot(&cluster, slot, (from + 1) % CLUSTERS_N_PRIMARIES);
    cr_expect_eq(acquire(other, "lock", true).status, GAVEL_LOCK_BUSY);
    cr_expect_eq(gavel_lock_extend(held.lock, 0).status, GAVEL_LOCK_HELD);
    cr_expect_eq(set_under(held.lock, "{lock}:y"), GAVEL_LOCK_HELD);
    cr_expect_eq(gavel_lock_release(held.lock).status, GAVEL_LOCK_RELEASED);
    gavel_lock_outcome next = acquire(other, "lock", false);
    cr_assert_eq(next.status, GAVEL_LOCK_HELD, "%s", next.message);
    cr_expect_gt(next.fence, held.fence);
    clusters_move_slot(&cluster, slot, from);
    gavel_close(other); /* releases both */
    held = acquire(client, "lock", false);
    cr_expect_eq(held.status, GAVEL_LOCK_HELD, "%s", held.message);
    cr_expect_eq(gavel_lock_release(held.lock).status, GAVEL_LOCK_RELEASED);
}

/* ---- Other ways to get there ----------------------------------------------------------------- */

static void name_seeds(void)
{
    char url[128];
    test_server *dead = server_start(&(server_options){.has_tcp = true});
    int replica = server_port(cluster.nodes[CLUSTERS_N - 1]);
    server_kill(dead);
    snprintf(url, sizeof(url), "redis+cluster://127.0.0.1:%d,127.0.0.1:%d/0", server_port(dead),
        replica);
    expect_of(url, 0, GAVEL_COMMITTED, "");
    gavel_client *client = live_open(url, NULL);
    gavel_lock_outcome held = acquire(client, "tried", true);
    cr_expect_eq(held.status, GAVEL_LOCK_HELD, "%s", held.message);
    gavel_close(client);
    snprintf(url, sizeof(url), "redis-cluster://localhost:%d?name=seeds", replica);
    expect_of(url, 0, GAVEL_COMMITTED, "");
    expect_of(server_tcp_url(cluster.nodes[0]), 0, GAVEL_NOT_SENT,
        "redis+cluster://host,host goes to all of them");
    server_stop(dead);
}

static void count_refusals(gavel_log_level level, const char *line, void *user)
{
    (void)level;
    *(int *)user += live_contains(line, "CLUSTER SLOTS NOPERM");
}

static void log_in(void)
{
    int n_refusals = 0;
    gavel_hooks hooks = {.on_log = count_refusals, .user = &n_refusals};
    char url[128];
    int port = server_port(cluster.nodes[0]);
    tell_all("ACL SETUSER app on >secret ~* &* +@all");
    tell_all("ACL SETUSER blind on >secret ~* &* +@all -cluster");
    snprintf(url, sizeof(url), "redis+cluster://app:secret@127.0.0.1:%d", port);
    expect_of(url, 0, GAVEL_COMMITTED, "");
    snprintf(url, sizeof(url), "redis+cluster://app:wrong@127.0.0.1:%d", port);
    expect_of(url, 0, GAVEL_REJECTED, "refused the login");
    snprintf(url, sizeof(url), "redis+cluster://blind:secret@127.0.0.1:%d", port);
    gavel_client *client = live_open(url, &(gavel_config){.hooks = hooks});
    for (int i = 0; i < 2; i++)
        EXPECT_TOLD(add(client, "k", 0), GAVEL_REJECTED, "CLUSTER SLOTS NOPERM");
    cr_expect_eq(n_refusals, 1);
    gavel_close(client);
}

static void have_keys_of_their_own(void)
{
    gavel_client *client = live_open(
        cluster.url, &(gavel_config){.key_prefix = "app:", .mode = GAVEL_GATED, .max_links = 1});
    EXPECT_TOLD(add(client, "k", 0), GAVEL_COMMITTED, "");
    redisReply *keys =
        server_command(cluster.nodes[clusters_owner(&cluster, gavel__slot_of(GAVEL_STR("k")))],
            "KEYS", "app:m:*", NULL);
    cr_expect_eq(keys->elements, 1);
    freeReplyObject(keys);
    gavel_close(client);
}

static void map_address(gavel_address *address, void *user)
{
    (void)user;
    if (strcmp(address->host, "node.invalid") == 0)
        snprintf(address->host, sizeof(address->host), "127.0.0.1");
}

/* Whether all the nodes that this one names are called so. */
static bool are_called(size_t node, const char *host)
{
    redisReply *slots = server_command(cluster.nodes[node], "CLUSTER", "SLOTS", NULL);
    bool are_called = true;
    for (size_t i = 0; i < slots->elements; i++)
        are_called =
            are_called && strcmp(slots->element[i]->element[2]->element[0]->str, host) == 0;
    freeReplyObject(slots);
    return are_called;
}

/* They tell addresses that lead nowhere from here. */
static void hide_behind_names(void)
{
    if (!server_is_at_least(cluster.nodes[0], 7, 0))
        return;
    tell_all("CONFIG SET cluster-announce-hostname node.invalid");
    tell_all("CONFIG SET cluster-preferred-endpoint-type hostname");
    for (size_t i = 0; i < CLUSTERS_N; i++) {
        while (!are_called(i, "node.invalid"))
            continue;
    }
    gavel_client *client = live_open(cluster.url, &(gavel_config){.map_address = map_address});
    count_on_all_nodes(client, "mapped");
    gavel_close(client);
}

/* ---- When nobody serves ---------------------------------------------------------------------- */

static void count_idle(gavel_log_level level, const char *line, void *user)
{
    (void)level;
    *(int *)user += live_contains(line, "serves no slot just now");
}

static void expect_idle(gavel_client *client, const char *node_url)
{
    gavel_outcome outcome = add(client, "k", 2);
    EXPECT_TOLD(outcome, GAVEL_NOT_SENT, "CLUSTERDOWN");
    cr_expect(live_contains(outcome.message, node_url), "%s", outcome.message);
}

/* A slot that nobody has: its node serves none then. */
static void serve_nothing(void)
{
    int n_told = 0;
    size_t owner = clusters_owner(&cluster, gavel__slot_of(GAVEL_STR("k")));
    test_server *node = cluster.nodes[owner];
    int other = 0;
    while (clusters_owner(&cluster, other) != owner || other == gavel__slot_of(GAVEL_STR("k")))
        other++;
    char slot[12];
    snprintf(slot, sizeof(slot), "%d", other);
    gavel_client *client =
        live_open(cluster.url, &(gavel_config){.hooks = {.on_log = count_idle, .user = &n_told}});
    EXPECT_TOLD(add(client, "k", 0), GAVEL_COMMITTED, "");
    freeReplyObject(server_command(node, "CLUSTER", "DELSLOTS", slot, NULL));
    expect_idle(client, server_tcp_url(node));
    expect_idle(client, server_tcp_url(node));
    cr_expect_eq(n_told, 1);
    gavel_lock_outcome lock =
        gavel_lock_acquire(client, &(gavel_lock_request){.name = GAVEL_STR("k"), .wait_ms = 2000});
    cr_expect_eq(lock.status, GAVEL_LOCK_NOT_SENT, "%s", gavel_lock_status_name(lock.status));
    cr_expect(live_contains(lock.message, "CLUSTERDOWN"), "%s", lock.message);
    freeReplyObject(server_command(node, "CLUSTER", "ADDSLOTS", slot, NULL));
    EXPECT_TOLD(add(client, "k", 0), GAVEL_COMMITTED, "");
    gavel_close(client);
}

Test(cluster_clients, the_first_minutes)
{
    clusters_begin(&cluster);
    gavel_client *client = live_open(cluster.url, NULL);
    count_on_all_nodes(client, "key");
    meet_slots(client);
    use_ids(client);
    wait_for_replicas(client);
    hold_locks(client);
    gavel_close(client);
    name_seeds();
    log_in();
    have_keys_of_their_own();
    serve_nothing();
    hide_behind_names();
}

/* ---- While it changes ------------------------------------------------------------------------ */

/* At length: test_cluster_stress.c. */
Test(cluster_clients, they_count_exactly_whatever_becomes_of_a_slot)
{
    live_crowd crowd;
    clusters_begin(&cluster);
    bool can_at_once = clusters_move_slot_at_once(&cluster, 0, 1);
    crowd_begin(&crowd, &cluster, "t", NULL);
    crowd_fill(&crowd, 200);
    crowd_await(&crowd, 20);
    crowd_wander(&crowd, 10);
    if (can_at_once)
        crowd_wander(&crowd, 0);
    crowd_lose_links(&crowd);
    crowd_await(&crowd, 20);
    crowd_wander(&crowd, 10);
    clusters_fail_over(&cluster, clusters_owner(&cluster, crowd.slot));
    crowd_await(&crowd, 20);
    crowd_end(&crowd);
    cr_expect_eq(crowd_check(&crowd, false), 0);
}
