/*
 * The cluster of clusters.h.
 */
#include "clusters.h"

#include "base/slot.h"

#include <criterion/criterion.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void take_a_breath(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
}

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* ---- Asking --------------------------------------------------------------------------------- */

/* NULL: it is not there. A connection of its own, since nodes come and go. */
static redisReply *try_to_ask(live_cluster *cluster, size_t node, const char *line)
{
    if (!server_is_running(cluster->nodes[node]))
        return NULL;
    redisContext *context = server_connect(cluster->nodes[node]);
    redisReply *reply = redisCommand(context, line);
    redisFree(context);
    return reply;
}

static redisReply *ask(live_cluster *cluster, size_t node, const char *line)
{
    redisReply *reply = try_to_ask(cluster, node, line);
    cr_assert_not_null(reply, "node %d, %s", (int)node, line);
    return reply;
}

static bool says(live_cluster *cluster, size_t node, const char *line, const char *part)
{
    redisReply *reply = ask(cluster, node, line);
    bool is_said = reply->str != NULL && strstr(reply->str, part) != NULL;
    freeReplyObject(reply);
    return is_said;
}

/* Any answer but an error will do. Valkey from 8 on refuses a slot's state which its replicas do
 * not acknowledge in two seconds, as on a busy machine. */
static void tell(live_cluster *cluster, size_t node, const char *line)
{
    redisReply *reply = ask(cluster, node, line);
    while (reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "NOREPLICAS", 10) == 0) {
        freeReplyObject(reply);
        take_a_breath();
        reply = ask(cluster, node, line);
    }
    cr_assert(reply->type != REDIS_REPLY_ERROR, "node %d, %s: %s", (int)node, line, reply->str);
    freeReplyObject(reply);
}

/* What a node does not know yet, it may in a moment. */
static void tell_in_time(live_cluster *cluster, size_t node, const char *line)
{
    while (!says(cluster, node, line, "OK"))
        take_a_breath();
}

static size_t node_by_port(live_cluster *cluster, long long port)
{
    for (size_t i = 0; i < CLUSTERS_N; i++) {
        if (server_port(cluster->nodes[i]) == port)
            return i;
    }
    fprintf(stderr, "a node names port %lld\n", port);
    abort();
}

/* ---- Beginning and ending ------------------------------------------------------------------- */

static void start_nodes(live_cluster *cluster)
{
    const char *const args[] = {"--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf",
        "--cluster-node-timeout", "1000", "--cluster-replica-no-failover", "yes",
        "--cluster-replica-validity-factor", "0", "--cluster-migration-barrier", "100",
        "--repl-diskless-sync-delay", "0", NULL};
    for (size_t i = 0; i < CLUSTERS_N; i++) {
        cluster->nodes[i] = server_start(&(server_options){.has_tcp = true, .args = args});
        redisReply *id = ask(cluster, i, "CLUSTER MYID");
        snprintf(cluster->ids[i], sizeof(cluster->ids[i]), "%s", id->str);
        freeReplyObject(id);
    }
    snprintf(cluster->url, sizeof(cluster->url), "redis+cluster://127.0.0.1:%d,127.0.0.1:%d",
        server_port(cluster->nodes[0]), server_port(cluster->nodes[1]));
}

/* 6.2 takes no ranges. */
static void add_slots(live_cluster *cluster, size_t node)
{
    enum { ROOM = CLUSTERS_N_SLOTS / CLUSTERS_N_PRIMARIES + 8, DIGITS = 8 };
    static char numbers[ROOM][DIGITS];
    static const char *words[ROOM] = {"CLUSTER", "ADDSLOTS"};
    int first = (int)node * (CLUSTERS_N_SLOTS / CLUSTERS_N_PRIMARIES);
    int n = CLUSTERS_N_SLOTS / CLUSTERS_N_PRIMARIES;
    if (node + 1 == CLUSTERS_N_PRIMARIES)
        n = CLUSTERS_N_SLOTS - first;
    for (int i = 0; i < n; i++) {
        snprintf(numbers[i], DIGITS, "%d", first + i);
        words[2 + i] = numbers[i];
    }
    redisContext *context = server_connect(cluster->nodes[node]);
    redisReply *reply = redisCommandArgv(context, 2 + n, words, NULL);
    cr_assert(reply != NULL && reply->type == REDIS_REPLY_STATUS);
    freeReplyObject(reply);
    redisFree(context);
}

/* Each meets each: so they need not hear of one another first. */
static void meet(live_cluster *cluster)
{
    char line[128];
    for (size_t i = 0; i < CLUSTERS_N; i++) {
        for (size_t j = 0; j < i; j++) {
            snprintf(
                line, sizeof(line), "CLUSTER MEET 127.0.0.1 %d", server_port(cluster->nodes[j]));
            tell(cluster, i, line);
        }
    }
}

static bool all_know_all(live_cluster *cluster)
{
    for (size_t i = 0; i < CLUSTERS_N; i++) {
        for (size_t j = 0; j < CLUSTERS_N; j++) {
            if (!says(cluster, i, "CLUSTER NODES", cluster->ids[j]))
                return false;
        }
    }
    return true;
}

/* Whom a node has met, and who does not answer it for a node timeout, it forgets. */
static void acquaint(live_cluster *cluster)
{
    meet(cluster);
    for (int i = 1; !all_know_all(cluster); i++) {
        take_a_breath();
        if (i % 200 == 0)
            meet(cluster);
    }
}

static void introduce(live_cluster *cluster)
{
    char line[128];
    for (size_t i = 0; i < CLUSTERS_N; i++) {
        snprintf(line, sizeof(line), "CLUSTER SET-CONFIG-EPOCH %d", (int)i + 1);
        tell(cluster, i, line);
        if (i < CLUSTERS_N_PRIMARIES)
            add_slots(cluster, i);
    }
    acquaint(cluster);
    for (size_t i = CLUSTERS_N_PRIMARIES; i < CLUSTERS_N; i++) {
        snprintf(
            line, sizeof(line), "CLUSTER REPLICATE %s", cluster->ids[i - CLUSTERS_N_PRIMARIES]);
        tell_in_time(cluster, i, line);
    }
}

static bool is_whole(live_cluster *cluster, size_t node)
{
    redisReply *slots = ask(cluster, node, "CLUSTER SLOTS");
    bool is_whole = slots->elements == CLUSTERS_N_PRIMARIES;
    for (size_t i = 0; i < slots->elements; i++)
        is_whole = is_whole && slots->element[i]->elements == 4;
    freeReplyObject(slots);
    return is_whole && says(cluster, node, "CLUSTER INFO", "cluster_state:ok") &&
           says(cluster, node, "CLUSTER INFO", "cluster_known_nodes:6") &&
           (node < CLUSTERS_N_PRIMARIES ||
               says(cluster, node, "INFO replication", "master_link_status:up"));
}

/* A replica that nothing was written to is hidden by some versions. */
static void write_something(live_cluster *cluster)
{
    for (int slot = 0; slot < CLUSTERS_N_SLOTS; slot += CLUSTERS_N_SLOTS / CLUSTERS_N_PRIMARIES) {
        char tag[GAVEL__SLOT_TAG_SIZE], line[64];
        gavel__slot_write_tag((uint16_t)slot, tag);
        size_t owner = (size_t)slot / (CLUSTERS_N_SLOTS / CLUSTERS_N_PRIMARIES);
        if (owner == CLUSTERS_N_PRIMARIES)
            break;
        snprintf(line, sizeof(line), "SET {%.4s} 1", tag);
        tell_in_time(cluster, owner, line);
        snprintf(line, sizeof(line), "DEL {%.4s}", tag);
        tell(cluster, owner, line);
    }
}

static void tell_all(live_cluster *cluster, const char *line)
{
    for (size_t i = 0; i < CLUSTERS_N; i++) {
        if (server_is_running(cluster->nodes[i]))
            tell(cluster, i, line);
    }
}

/* Nodes tell each other who they are at least twice in a node timeout. A short one makes that
 * quick, and must not make a node that is slow be replaced meanwhile. */
static void hurry(live_cluster *cluster)
{
    tell_all(cluster, "CONFIG SET cluster-replica-no-failover yes");
    tell_all(cluster, "CONFIG SET cluster-node-timeout 1000");
}

static void calm(live_cluster *cluster)
{
    tell_all(cluster, "CONFIG SET cluster-node-timeout 10000");
    tell_all(cluster, "CONFIG SET cluster-replica-no-failover no");
}

void clusters_begin(live_cluster *cluster)
{
    *cluster = (live_cluster){.url = ""};
    start_nodes(cluster);
    introduce(cluster);
    write_something(cluster);
    for (size_t i = 0; i < CLUSTERS_N; i++) {
        while (!is_whole(cluster, i))
            take_a_breath();
    }
    calm(cluster);
}

void clusters_end(live_cluster *cluster)
{
    /* The last one first: its janitor has what the others' janitors wait for. */
    for (size_t i = CLUSTERS_N; i > 0; i--) {
        server_stop(cluster->nodes[i - 1]);
        cluster->nodes[i - 1] = NULL;
    }
}

/* ---- Looking -------------------------------------------------------------------------------- */

size_t clusters_believed_owner(live_cluster *cluster, size_t node, int slot)
{
    redisReply *slots = ask(cluster, node, "CLUSTER SLOTS");
    size_t owner = CLUSTERS_N;
    for (size_t i = 0; i < slots->elements; i++) {
        const redisReply *range = slots->element[i];
        if (range->element[0]->integer <= slot && slot <= range->element[1]->integer)
            owner = node_by_port(cluster, range->element[2]->element[1]->integer);
    }
    freeReplyObject(slots);
    return owner;
}

size_t clusters_owner(live_cluster *cluster, int slot)
{
    for (;; take_a_breath()) {
        for (size_t i = 0; i < CLUSTERS_N; i++) {
            if (server_is_running(cluster->nodes[i]) &&
                clusters_believed_owner(cluster, i, slot) == i)
                return i;
        }
    }
}

size_t clusters_primary_of(live_cluster *cluster, size_t node)
{
    redisReply *role = ask(cluster, node, "ROLE");
    bool is_primary = strcmp(role->element[0]->str, "master") == 0;
    size_t primary = is_primary ? node : node_by_port(cluster, role->element[2]->integer);
    freeReplyObject(role);
    return primary;
}

long long clusters_count(live_cluster *cluster, const char *key)
{
    char line[256];
    size_t owner = clusters_owner(cluster, gavel__slot_of(gavel_str(key)));
    snprintf(line, sizeof(line), "GET %s", key);
    redisReply *reply = ask(cluster, owner, line);
    cr_assert(reply->type != REDIS_REPLY_ERROR, "%s: %s", line, reply->str);
    long long count = reply->type == REDIS_REPLY_STRING ? atoll(reply->str) : -1;
    freeReplyObject(reply);
    return count;
}

/* ---- Slots that move ------------------------------------------------------------------------ */

void clusters_open_slot(live_cluster *cluster, int slot, size_t to)
{
    char line[128];
    size_t from = clusters_owner(cluster, slot);
    snprintf(line, sizeof(line), "CLUSTER SETSLOT %d IMPORTING %s", slot, cluster->ids[from]);
    tell(cluster, to, line);
    snprintf(line, sizeof(line), "CLUSTER SETSLOT %d MIGRATING %s", slot, cluster->ids[to]);
    tell(cluster, from, line);
}

bool clusters_move_keys(live_cluster *cluster, int slot, size_t to, int n)
{
    enum { MAX_KEYS = 1000, N_WORDS = 7 };
    char port[16], line[64];
    cr_assert_leq(n, MAX_KEYS);
    redisContext *from = server_connect(cluster->nodes[clusters_owner(cluster, slot)]);
    snprintf(line, sizeof(line), "CLUSTER GETKEYSINSLOT %d %d", slot, n);
    redisReply *keys = redisCommand(from, line);
    cr_assert(keys != NULL && keys->type == REDIS_REPLY_ARRAY);
    const char *words[N_WORDS + MAX_KEYS] = {"MIGRATE", "127.0.0.1", port, "", "0", "5000", "KEYS"};
    size_t sizes[N_WORDS + MAX_KEYS];
    snprintf(port, sizeof(port), "%d", server_port(cluster->nodes[to]));
    for (size_t i = 0; i < N_WORDS; i++)
        sizes[i] = strlen(words[i]);
    for (size_t i = 0; i < keys->elements; i++) {
        words[N_WORDS + i] = keys->element[i]->str;
        sizes[N_WORDS + i] = keys->element[i]->len;
    }
    bool has_keys = keys->elements > 0;
    if (has_keys) {
        redisReply *moved = redisCommandArgv(from, N_WORDS + (int)keys->elements, words, sizes);
        cr_assert(moved != NULL && moved->type == REDIS_REPLY_STATUS, "%s",
            moved != NULL ? moved->str : from->errstr);
        freeReplyObject(moved);
    }
    freeReplyObject(keys);
    redisFree(from);
    return has_keys;
}

static bool is_told(live_cluster *cluster, size_t node)
{
    return server_is_running(cluster->nodes[node]) && clusters_primary_of(cluster, node) == node;
}

static int epoch_of(live_cluster *cluster, size_t node)
{
    int epoch = 0;
    redisReply *info = ask(cluster, node, "CLUSTER INFO");
    const char *found = strstr(info->str, "cluster_current_epoch:");
    cr_assert(found != NULL && sscanf(found, "cluster_current_epoch:%d", &epoch) == 1);
    freeReplyObject(info);
    return epoch;
}

void clusters_settle(live_cluster *cluster)
{
    int lowest, highest;
    do {
        lowest = INT_MAX;
        highest = 0;
        for (size_t i = 0; i < CLUSTERS_N; i++) {
            if (!server_is_running(cluster->nodes[i]))
                continue;
            int epoch = epoch_of(cluster, i);
            lowest = epoch < lowest ? epoch : lowest;
            highest = epoch > highest ? epoch : highest;
        }
        if (lowest < highest)
            take_a_breath();
    } while (lowest < highest);
}

void clusters_assign_slot(live_cluster *cluster, int slot, size_t to)
{
    char line[128];
    clusters_settle(cluster);
    size_t from = clusters_owner(cluster, slot);
    snprintf(line, sizeof(line), "CLUSTER SETSLOT %d NODE %s", slot, cluster->ids[to]);
    tell(cluster, to, line);
    tell(cluster, from, line);
    for (size_t i = 0; i < CLUSTERS_N; i++) {
        if (i != to && i != from && is_told(cluster, i))
            tell(cluster, i, line);
    }
}

void clusters_move_slot(live_cluster *cluster, int slot, size_t to)
{
    if (clusters_owner(cluster, slot) == to)
        return;
    clusters_open_slot(cluster, slot, to);
    while (clusters_move_keys(cluster, slot, to, 10))
        continue;
    clusters_assign_slot(cluster, slot, to);
}

static void await_owner(live_cluster *cluster, int slot, size_t owner)
{
    for (size_t i = 0; i < CLUSTERS_N; i++) {
        while (server_is_running(cluster->nodes[i]) &&
               (clusters_believed_owner(cluster, i, slot) != owner ||
                   !says(cluster, i, "CLUSTER INFO", "cluster_state:ok")))
            take_a_breath();
    }
}

/* Valkey 9 is told at the source, Redis 8.4 at the target. What is under way already is refused. */
static bool begin_move(live_cluster *cluster, int slot, size_t to)
{
    char line[128];
    snprintf(line, sizeof(line), "CLUSTER MIGRATESLOTS SLOTSRANGE %d %d NODE %s", slot, slot,
        cluster->ids[to]);
    redisReply *begun = ask(cluster, clusters_owner(cluster, slot), line);
    bool is_begun = begun->type != REDIS_REPLY_ERROR;
    freeReplyObject(begun);
    if (!is_begun) {
        snprintf(line, sizeof(line), "CLUSTER MIGRATION IMPORT %d %d", slot, slot);
        begun = ask(cluster, to, line);
        is_begun = begun->type != REDIS_REPLY_ERROR;
        freeReplyObject(begun);
    }
    return is_begun;
}

bool clusters_move_slot_at_once(live_cluster *cluster, int slot, size_t to)
{
    if (!begin_move(cluster, slot, to))
        return false;
    /* One that has failed on a busy machine is begun again. */
    for (int i = 1; clusters_believed_owner(cluster, to, slot) != to; i++) {
        if (i % 500 == 0)
            begin_move(cluster, slot, to);
        take_a_breath();
    }
    await_owner(cluster, slot, to);
    return true;
}

/* ---- Failovers ------------------------------------------------------------------------------ */

static size_t replica_of(live_cluster *cluster, size_t primary)
{
    for (size_t i = 0; i < CLUSTERS_N; i++) {
        if (i != primary && server_is_running(cluster->nodes[i]) &&
            clusters_primary_of(cluster, i) == primary)
            return i;
    }
    fprintf(stderr, "node %d has no replica\n", (int)primary);
    abort();
}

static int slot_of_node(live_cluster *cluster, size_t node)
{
    redisReply *slots = ask(cluster, node, "CLUSTER SLOTS");
    int slot = -1;
    for (size_t i = 0; i < slots->elements; i++) {
        const redisReply *range = slots->element[i];
        if (node_by_port(cluster, range->element[2]->element[1]->integer) == node)
            slot = (int)range->element[0]->integer;
    }
    freeReplyObject(slots);
    cr_assert_geq(slot, 0, "node %d has no slot", (int)node);
    return slot;
}

/* A primary takes a request for a failover only of those whom it knows to follow it. */
static bool knows_replica(live_cluster *cluster, size_t primary, size_t replica)
{
    char line[64];
    snprintf(line, sizeof(line), "CLUSTER REPLICAS %s", cluster->ids[primary]);
    redisReply *lines = ask(cluster, primary, line);
    bool is_known = false;
    for (size_t i = 0; i < lines->elements; i++)
        is_known = is_known || strstr(lines->element[i]->str, cluster->ids[replica]) != NULL;
    freeReplyObject(lines);
    return is_known;
}

/* For four times the node timeout a node takes the votes of its last election for those of the next
 * one, and is a primary that nobody else believes in. */
static void await_end_of_election(const live_cluster *cluster, size_t node)
{
    enum { OVER_US = 5000000 };
    while (now_us() < cluster->elected_us[node] + OVER_US)
        take_a_breath();
}

size_t clusters_fail_over(live_cluster *cluster, size_t primary)
{
    size_t replica = replica_of(cluster, primary);
    int slot = slot_of_node(cluster, primary);
    hurry(cluster);
    await_end_of_election(cluster, replica);
    while (!knows_replica(cluster, primary, replica) ||
           !says(cluster, replica, "INFO replication", "master_link_status:up"))
        take_a_breath();
    /* It is given up after five seconds. */
    for (int i = 0; clusters_primary_of(cluster, replica) != replica; i++) {
        if (i % 600 == 0)
            freeReplyObject(ask(cluster, replica, "CLUSTER FAILOVER"));
        take_a_breath();
    }
    await_owner(cluster, slot, replica);
    cluster->elected_us[replica] = now_us();
    while (clusters_primary_of(cluster, primary) != replica ||
           !knows_replica(cluster, replica, primary))
        take_a_breath();
    calm(cluster);
    return replica;
}

void clusters_set_timeout(live_cluster *cluster, int node_timeout_ms)
{
    char line[64];
    snprintf(line, sizeof(line), "CONFIG SET cluster-node-timeout %d",
        node_timeout_ms > 0 ? node_timeout_ms : 10000);
    tell_all(cluster, line);
}

size_t clusters_kill(live_cluster *cluster, size_t primary)
{
    return clusters_kill_ahead(cluster, primary, NULL, NULL);
}

size_t clusters_kill_ahead(
    live_cluster *cluster, size_t primary, void (*meanwhile)(void *user), void *user)
{
    size_t replica = replica_of(cluster, primary);
    int slot = slot_of_node(cluster, primary);
    await_end_of_election(cluster, replica);
    clusters_set_timeout(cluster, 1500);
    if (meanwhile != NULL) {
        server_pause(cluster->nodes[replica]);
        tell(cluster, primary, "CLIENT KILL TYPE replica");
        meanwhile(user);
    }
    server_kill(cluster->nodes[primary]);
    if (meanwhile != NULL)
        server_resume(cluster->nodes[replica]);
    await_owner(cluster, slot, replica);
    clusters_set_timeout(cluster, 0);
    cluster->elected_us[replica] = now_us();
    return replica;
}
