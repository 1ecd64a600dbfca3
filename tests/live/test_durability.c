/*
 * Commits that wait for replicas, with real ones: that a commit is told COMMITTED means that
 * replicas have it, and what a failover has undone by then runs again.
 */
#include "sentinels.h"

#include <criterion/criterion.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { N_REPLICAS = 2 };

static test_server *primary;
static test_server *replicas[N_REPLICAS];

static void take_a_breath(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
}

/* Returns when both replicas follow. */
static void begin_servers(void)
{
    char port[16];
    primary = server_start(&(server_options){
        .has_tcp = true, .args = (const char *const[]){"--repl-diskless-sync-delay", "0", NULL}});
    snprintf(port, sizeof(port), "%d", server_port(primary));
    const char *const args[] = {"--replicaof", "127.0.0.1", port, NULL};
    for (size_t i = 0; i < N_REPLICAS; i++)
        replicas[i] = server_start(&(server_options){.args = args});
    do {
        take_a_breath();
        server_do(primary, "SET", "seed", "1", NULL);
    } while (server_int(primary, "WAIT", "2", "50", NULL) < N_REPLICAS);
}

static void end_servers(void)
{
    for (size_t i = N_REPLICAS; i > 0; i--)
        server_stop(replicas[i - 1]);
    server_stop(primary);
}

TestSuite(durability, .init = begin_servers, .fini = end_servers, .timeout = 60);

static const gavel_bytes key = {"n", 1};

static gavel_transaction add_one(uint32_t min_replicas, uint32_t durable_ms)
{
    return (gavel_transaction){.body = live_add_one,
        .user = (void *)(uintptr_t)&key,
        .min_replicas = min_replicas,
        .durable_ms = durable_ms,
        .deadline_ms = SENTINELS_PATIENCE_MS};
}

static gavel_outcome run(gavel_client *client, uint32_t min_replicas, uint32_t durable_ms)
{
    gavel_transaction transaction = add_one(min_replicas, durable_ms);
    return gavel_run(client, &transaction);
}

Test(durability, when_it_is_told_replicas_have_it)
{
    gavel_client *client = live_open(server_tcp_url(primary), NULL);
    for (long long i = 1; i <= 20; i++) {
        gavel_outcome outcome = run(client, GAVEL_ALL_REPLICAS, 10000);
        cr_assert_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
        cr_assert_eq(outcome.n_replicas, N_REPLICAS);
        for (size_t r = 0; r < N_REPLICAS; r++)
            cr_assert_eq(server_int(replicas[r], "GET", "n", NULL), i);
    }
    gavel_close(client);
}

Test(durability, a_replica_that_is_stopped_is_missed_by_those_who_wish_for_it)
{
    gavel_client *client =
        live_open(server_tcp_url(primary), &(gavel_config){.min_replicas = GAVEL_ALL_REPLICAS});
    cr_assert_eq(run(client, 0, 10000).status, GAVEL_COMMITTED);
    server_pause(replicas[0]);
    gavel_outcome one = run(client, 1, 10000);
    cr_assert_eq(one.status, GAVEL_COMMITTED, "%s", one.message);
    cr_assert_eq(one.n_replicas, 1);
    gavel_outcome all = run(client, 0, 1000);
    cr_assert_eq(all.status, GAVEL_COMMITTED_NOT_DURABLE, "%s", all.message);
    char missed[96];
    snprintf(missed, sizeof(missed), "1 of 2 replicas of redis://127.0.0.1:%d have it",
        server_port(primary));
    cr_assert(live_contains(all.message, missed), "%s", all.message);
    cr_assert_eq(all.n_replicas, 1);
    gavel_outcome none = run(client, GAVEL_NO_REPLICAS, 0);
    cr_assert_eq(none.status, GAVEL_COMMITTED);
    cr_assert_eq(none.n_replicas, 0);
    cr_assert_eq(server_int(primary, "GET", "n", NULL), 4);
    server_resume(replicas[0]);
    cr_assert_eq(run(client, 0, 10000).status, GAVEL_COMMITTED);
    cr_assert_eq(server_int(replicas[0], "GET", "n", NULL), 5);
    gavel_close(client);
}

Test(durability, a_user_who_may_not_wait_is_told_so)
{
    gavel_client *client = live_open(server_tcp_url(primary), NULL);
    server_do(primary, "ACL", "SETUSER", "default", "-wait", NULL);
    gavel_outcome outcome = run(client, 1, 10000);
    cr_assert_eq(outcome.status, GAVEL_COMMITTED_NOT_DURABLE);
    cr_assert(live_contains(outcome.message, "WAIT: NOPERM"), "%s", outcome.message);
    gavel_close(client);
}

/* Only Redis from 8.0 on is believed. */
Test(durability, on_disk_or_refused_where_nobody_could_tell)
{
    gavel_client *client = live_open(server_tcp_url(primary), NULL);
    gavel_transaction transaction = add_one(0, 15000);
    transaction.needs_fsync = true;
    gavel_outcome outcome = gavel_run(client, &transaction);
    if (outcome.status == GAVEL_REJECTED) {
        cr_assert(live_contains(outcome.message, "from 8.0 on"), "%s", outcome.message);
        cr_assert_not(server_is_at_least(primary, 8, 0));
        cr_assert_eq(server_int(primary, "GET", "n", NULL), -1);
    } else {
        cr_assert_eq(outcome.status, GAVEL_COMMITTED_NOT_DURABLE);
        cr_assert(live_contains(outcome.message, "WAITAOF"), "%s", outcome.message);
        server_do(primary, "CONFIG", "SET", "appendonly", "yes", NULL);
        outcome = gavel_run(client, &transaction);
        cr_assert_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
    }
    gavel_close(client);
}

/* ---- Many, and one who waits while something happens ---------------------------------------- */

typedef struct caller {
    gavel_client *client;
    uint32_t min_replicas;
    uint32_t durable_ms;
    size_t n_runs;
    gavel_outcome last;
    pthread_t thread;
} caller;

static void *call(void *argument)
{
    caller *self = argument;
    for (size_t i = 0; i < self->n_runs; i++)
        self->last = run(self->client, self->min_replicas, self->durable_ms);
    return NULL;
}

static void begin_calling(caller *self)
{
    cr_assert_eq(pthread_create(&self->thread, NULL, call, self), 0);
}

static gavel_outcome end_calling(caller *self)
{
    pthread_join(self->thread, NULL);
    return self->last;
}

static long long n_waits(void)
{
    static const char field[] = "cmdstat_wait:calls=";
    redisReply *info = server_command(primary, "INFO", "commandstats", NULL);
    const char *at = strstr(info->str, field);
    long long n = at != NULL ? atoll(at + strlen(field)) : 0;
    freeReplyObject(info);
    return n;
}

enum { N_CALLERS = 16, N_EACH = 25 };

/* Returns how many WAITs it took. */
static long long commit_many(gavel_client *client)
{
    caller callers[N_CALLERS];
    long long n_before = n_waits();
    for (size_t i = 0; i < N_CALLERS; i++) {
        callers[i] =
            (caller){.client = client, .min_replicas = 1, .durable_ms = 10000, .n_runs = N_EACH};
        begin_calling(&callers[i]);
    }
    for (size_t i = 0; i < N_CALLERS; i++)
        (void)end_calling(&callers[i]);
    return n_waits() - n_before;
}

/* How many depends on the machine: where callers hardly ever run at the same time there is little
 * to share. */
Test(durability, one_wait_is_for_many)
{
    enum { MAX_TRIES = 50 };
    gavel_stats stats;
    gavel_client *client = live_open(server_tcp_url(primary), NULL);
    uint64_t n_commits = 0;
    long long n;
    do {
        n = commit_many(client);
        n_commits += N_CALLERS * N_EACH;
        gavel_read_stats(client, &stats);
        cr_assert_eq(stats.n_outcomes[GAVEL_COMMITTED], n_commits);
        cr_assert_eq(server_int(primary, "GET", "n", NULL), (long long)n_commits);
    } while (n >= N_CALLERS * N_EACH / 2 && n_commits < MAX_TRIES * N_CALLERS * N_EACH);
    cr_assert_lt(n, N_CALLERS * N_EACH / 2);
    gavel_close(client);
}

Test(durability, nobody_can_tell_when_the_server_came_back_without_its_data)
{
    gavel_client *client = live_open(server_tcp_url(primary), NULL);
    for (size_t i = 0; i < N_REPLICAS; i++)
        server_pause(replicas[i]);
    caller self = {.client = client, .min_replicas = 1, .durable_ms = 5000, .n_runs = 1};
    begin_calling(&self);
    while (server_int(primary, "GET", "n", NULL) < 1)
        take_a_breath();
    server_kill(primary);
    server_restart(primary);
    gavel_outcome outcome = end_calling(&self);
    cr_assert_eq(outcome.status, GAVEL_UNKNOWN, "%s", outcome.message);
    gavel_close(client);
}

/* ---- Failovers ----------------------------------------------------------------------------- */

static live_sentinels rig;

static void end_sentinels(void)
{
    sentinels_end(&rig);
}

TestSuite(durability_failover, .fini = end_sentinels, .timeout = SENTINELS_TIMEOUT_S);

/* The primary fails while a commit waits for replicas, which have got it or not. */
static gavel_outcome fail_over(bool is_cut_off)
{
    sentinels_begin(&rig);
    test_server *old = rig.servers[0];
    gavel_client *client = live_open(rig.url, NULL);
    gavel_outcome first = run(client, 2, 10000);
    cr_assert_eq(first.status, GAVEL_COMMITTED, "%s", first.message);
    server_pause(rig.servers[1]);
    server_pause(rig.servers[2]);
    if (is_cut_off)
        server_do(old, "CLIENT", "KILL", "TYPE", "replica", NULL);
    caller self = {
        .client = client, .min_replicas = 1, .durable_ms = SENTINELS_PATIENCE_MS, .n_runs = 1};
    begin_calling(&self);
    while (server_int(old, "GET", "n", NULL) < 2)
        take_a_breath();
    /* GET may be answered before it goes to the replicas, but then it goes before another command.
     */
    server_do(old, "PING", NULL);
    server_kill(old);
    server_resume(rig.servers[1]);
    server_resume(rig.servers[2]);
    gavel_outcome outcome = end_calling(&self);
    cr_assert_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
    cr_assert_eq(outcome.n_replicas, 1);
    for (size_t i = 1; i < SENTINELS_N_SERVERS; i++)
        cr_assert_eq(sentinels_count(rig.servers[i], "n"), 2);
    gavel_close(client);
    return outcome;
}

Test(durability_failover, what_was_undone_before_it_was_told_runs_again)
{
    gavel_outcome outcome = fail_over(true);
    cr_assert_eq(outcome.n_attempts, 2);
}

Test(durability_failover, what_the_successor_has_is_waited_for_there)
{
    gavel_outcome outcome = fail_over(false);
    cr_assert_eq(outcome.n_attempts, 1);
}
