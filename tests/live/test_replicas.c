/*
 * Reading old data from real replicas: those named in the URL, those that Sentinels know, and those
 * of a Cluster.
 */
#include "clusters.h"
#include "sentinels.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { N_REPLICAS = 2 };

static void take_a_breath(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
}

/* Returns when so many replicas have all that was written: WAIT is about what this connection has
 * written last. */
static void settle(test_server *server, const char *n_replicas)
{
    server_do(server, "SET", "{t}seed", "1", NULL);
    cr_assert_geq(server_int(server, "WAIT", n_replicas, "30000", NULL), 1);
}

/* ---- Reading -------------------------------------------------------------------------------- */

static gavel_verdict look(gavel_tx *tx, void *user)
{
    int64_t *seen = user;
    *seen = -1;
    gavel_get_int(tx, GAVEL_STR("{t}k"), seen);
    return GAVEL_COMMIT;
}

static gavel_outcome read_old(gavel_client *client, uint32_t max_stale_ms, int64_t *ret_seen)
{
    gavel_read read = {.key = GAVEL_STR("{t}k")};
    gavel_outcome outcome = gavel_run(client, &(gavel_transaction){.body = look,
                                                  .user = ret_seen,
                                                  .reads = &read,
                                                  .n_reads = 1,
                                                  .is_read_only = true,
                                                  .is_stale_ok = true,
                                                  .max_stale_ms = max_stale_ms,
                                                  .deadline_ms = 30000});
    cr_assert_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
    return outcome;
}

/* Returns when a replica has served what it is known to be so old at most. */
static gavel_outcome await_dated(gavel_client *client, int64_t *ret_seen)
{
    gavel_outcome outcome;
    while ((outcome = read_old(client, 0, ret_seen)).stale_ms <= 0)
        take_a_breath();
    return outcome;
}

static const gavel_bytes key = {"{t}k", 4};

static void add_one(gavel_client *client)
{
    gavel_outcome outcome = gavel_run(client,
        &(gavel_transaction){.body = live_add_one, .user = (void *)&key, .deadline_ms = 30000});
    cr_assert_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
}

static gavel_verdict overwrite(gavel_tx *tx, void *user)
{
    (void)user;
    gavel_set_int(tx, GAVEL_STR("{t}k"), 99);
    return GAVEL_COMMIT;
}

static void cannot_write(gavel_client *client)
{
    gavel_outcome outcome = gavel_run(
        client, &(gavel_transaction){.body = overwrite, .is_read_only = true, .is_stale_ok = true});
    cr_expect_eq(outcome.status, GAVEL_INVALID);
    cr_expect(
        live_contains(outcome.message, "(is_stale_ok); key: \"{t}k\""), "%s", outcome.message);
}

/* ---- Named in the URL ----------------------------------------------------------------------- */

static test_server *primary;
static test_server *replicas[N_REPLICAS];
static gavel_client *named;

static void begin_servers(void)
{
    char url[160];
    char port[16];
    primary = server_start(&(server_options){
        .has_tcp = true, .args = (const char *const[]){"--repl-diskless-sync-delay", "0", NULL}});
    snprintf(port, sizeof(port), "%d", server_port(primary));
    const char *const args[] = {"--replicaof", "127.0.0.1", port, NULL};
    for (size_t i = 0; i < N_REPLICAS; i++)
        replicas[i] = server_start(&(server_options){.has_tcp = true, .args = args});
    do {
        take_a_breath();
        server_do(primary, "SET", "{t}k", "7", NULL);
    } while (server_int(primary, "WAIT", "2", "50", NULL) < N_REPLICAS);
    snprintf(url, sizeof(url), "%s?replicas=127.0.0.1:%d,localhost:%d", server_tcp_url(primary),
        server_port(replicas[0]), server_port(replicas[1]));
    /* None is given up for being slow. */
    named =
        live_open(url, &(gavel_config){.command_timeout_ms = 30000, .connect_timeout_ms = 30000});
}

static void end_servers(void)
{
    gavel_close(named);
    for (size_t i = N_REPLICAS; i > 0; i--)
        server_stop(replicas[i - 1]);
    server_stop(primary);
}

TestSuite(replicas, .init = begin_servers, .fini = end_servers, .timeout = 120);

Test(replicas, are_read_from_and_never_written_to)
{
    int64_t seen;
    cr_expect_gt(await_dated(named, &seen).stale_ms, 0);
    cr_expect_eq(seen, 7);
    cannot_write(named);
    add_one(named);
    settle(primary, "2");
    read_old(named, 0, &seen);
    cr_expect_eq(seen, 8);
    for (size_t i = 0; i < N_REPLICAS; i++)
        cr_expect_eq(server_int(replicas[i], "GET", "{t}k", NULL), 8);
}

/* They serve what they have, and what that may be too old for is not served. */
Test(replicas, show_their_age_while_the_primary_is_stopped)
{
    int64_t seen;
    await_dated(named, &seen);
    server_pause(primary);
    int64_t paused_us = live_now_us();
    for (int i = 0; i < 40; i++) {
        take_a_breath();
        int64_t began_us = live_now_us();
        gavel_outcome outcome = read_old(named, 0, &seen);
        cr_expect_eq(seen, 7);
        cr_expect_neq(outcome.stale_ms, 0);
        cr_expect(outcome.stale_ms == -1 || outcome.stale_ms >= (began_us - paused_us) / 1000);
    }
    server_resume(primary);
    await_dated(named, &seen);
}

Test(replicas, that_are_dead_are_done_without)
{
    int64_t seen;
    await_dated(named, &seen);
    server_kill(replicas[0]);
    for (int i = 0; i < 10; i++)
        read_old(named, 0, &seen);
    await_dated(named, &seen);
    server_kill(replicas[1]);
    cr_expect_eq(read_old(named, 0, &seen).stale_ms, 0);
    cr_expect_eq(seen, 7);
}

Test(replicas, that_are_primaries_now_are_not_read_from)
{
    int64_t seen;
    await_dated(named, &seen);
    for (size_t i = 0; i < N_REPLICAS; i++) {
        server_do(replicas[i], "REPLICAOF", "NO", "ONE", NULL);
        server_do(replicas[i], "SET", "{t}k", "0", NULL);
    }
    for (int i = 0; i < 10; i++) {
        cr_expect_eq(read_old(named, 0, &seen).stale_ms, 0);
        cr_expect_eq(seen, 7);
    }
}

/* It has no data, and so none that is old. */
Test(replicas, that_never_reached_their_primary_are_not_read_from)
{
    int64_t seen;
    char url[160];
    const char *const args[] = {"--replicaof", "127.0.0.1", "1", NULL}; /* nobody is there */
    test_server *empty = server_start(&(server_options){.has_tcp = true, .args = args});
    snprintf(
        url, sizeof(url), "%s?replicas=127.0.0.1:%d", server_tcp_url(primary), server_port(empty));
    gavel_client *client =
        live_open(url, &(gavel_config){.command_timeout_ms = 30000, .connect_timeout_ms = 30000});
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(read_old(client, 0, &seen).stale_ms, 0);
        cr_expect_eq(seen, 7);
    }
    gavel_close(client);
    server_stop(empty);
}

/* What replicas do not have yet is read at the primary by whoever asks for it. */
Test(replicas, that_lag_serve_whoever_takes_it)
{
    int64_t seen;
    await_dated(named, &seen);
    for (size_t i = 0; i < N_REPLICAS; i++) /* nobody is there */
        server_do(replicas[i], "REPLICAOF", "127.0.0.1", "1", NULL);
    server_do(primary, "SET", "{t}k", "8", NULL);
    int64_t written_us = live_now_us();
    while (live_now_us() < written_us + 300000)
        take_a_breath();
    gavel_outcome old = read_old(named, 0, &seen);
    cr_expect_eq(seen, 7);
    cr_expect(old.stale_ms == -1 || old.stale_ms >= 300);
    gavel_outcome new = read_old(named, 200, &seen);
    cr_expect_eq(seen, 8);
    cr_expect_eq(new.stale_ms, 0);
}

Test(replicas, a_user_who_may_not_ask_for_their_age_does_not_know_it)
{
    int64_t seen;
    for (size_t i = 0; i < N_REPLICAS; i++)
        server_do(replicas[i], "ACL", "SETUSER", "default", "-info", NULL);
    for (int i = 0; i < 5; i++)
        cr_expect_eq(read_old(named, 0, &seen).stale_ms, -1);
    cr_expect_eq(seen, 7);
    cr_expect_eq(read_old(named, 1000, &seen).stale_ms, 0);
}

/* ---- Known to Sentinels --------------------------------------------------------------------- */

Test(sentinel_replicas, are_read_from, .timeout = SENTINELS_TIMEOUT_S)
{
    live_sentinels rig;
    int64_t seen;
    sentinels_begin(&rig);
    server_do(rig.servers[0], "SET", "{t}k", "7", NULL);
    settle(rig.servers[0], "2");
    gavel_client *client = live_open(rig.url, NULL);
    await_dated(client, &seen);
    cr_expect_eq(seen, 7);
    cannot_write(client);

    /* While there is no primary they are read from, and whoever is one then has its own. */
    server_kill(rig.servers[0]);
    read_old(client, 0, &seen);
    cr_expect_eq(seen, 7);
    sentinels_await_another(&rig, rig.servers[0]);
    add_one(client);
    do {
        await_dated(client, &seen);
    } while (seen != 8);
    gavel_close(client);
    sentinels_end(&rig);
}

/* ---- Of a Cluster --------------------------------------------------------------------------- */

Test(cluster_replicas, are_read_from, .timeout = 120)
{
    live_cluster cluster;
    int64_t seen;
    clusters_begin(&cluster);
    server_do(cluster.nodes[2], "SET", "{t}k", "7", NULL);
    gavel_client *client = live_open(cluster.url, NULL);
    add_one(client);
    settle(cluster.nodes[2], "1");
    await_dated(client, &seen);
    cr_expect_eq(seen, 8);
    cannot_write(client);
    for (int i = 0; i < 20; i++) { /* on the same links */
        add_one(client);
        read_old(client, 0, &seen);
        cr_expect(seen >= 8 && seen <= 9 + i);
    }
    cr_expect_eq(clusters_count(&cluster, "{t}k"), 28);

    /* A connection that was told to read as from a replica is not taken for a primary's. */
    size_t next = clusters_fail_over(&cluster, 2);
    cr_expect_eq(next, 5);
    for (int i = 0; i < 20; i++) {
        add_one(client);
        read_old(client, 0, &seen);
    }
    cr_expect_eq(clusters_count(&cluster, "{t}k"), 48);
    settle(cluster.nodes[5], "1");
    await_dated(client, &seen); /* by the one that was the primary */
    cr_expect_eq(seen, 48);
    gavel_close(client);
    clusters_end(&cluster);
}
