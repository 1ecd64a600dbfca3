/*
 * Clients whose primary is the Sentinels' to tell, with real ones: whatever becomes of the primary,
 * the counter is what the outcomes say.
 */
#include "sentinels.h"

#include <criterion/criterion.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

static live_sentinels rig;

static void tear_down(void)
{
    sentinels_end(&rig);
}

TestSuite(sentinel, .fini = tear_down, .timeout = SENTINELS_TIMEOUT_S);

static const gavel_bytes key = {"n", 1};

static gavel_outcome add_one(gavel_client *client, uint32_t deadline_ms)
{
    return gavel_run(
        client, &(gavel_transaction){
                    .body = live_add_one, .user = (void *)&key, .deadline_ms = deadline_ms});
}

/* ---- A caller that never stops ------------------------------------------------------------- */

typedef struct caller {
    gavel_client *client;
    atomic_bool is_over;
    atomic_llong n_committed;
    atomic_llong n_unknown;
    pthread_t thread;
} caller;

static void *call(void *argument)
{
    caller *self = argument;
    while (!self->is_over) {
        gavel_outcome outcome = add_one(self->client, SENTINELS_PATIENCE_MS);
        self->n_committed += gavel_is_committed(&outcome);
        self->n_unknown += outcome.status == GAVEL_UNKNOWN;
    }
    return NULL;
}

static void begin_calling(caller *self, gavel_client *client)
{
    *self = (caller){.client = client};
    cr_assert_eq(pthread_create(&self->thread, NULL, call, self), 0);
}

/* Returns when it has committed so many times more. */
static void await_commits(const caller *self, long long n)
{
    long long wanted = self->n_committed + n;
    while (self->n_committed < wanted)
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
}

static void end_calling(caller *self)
{
    self->is_over = true;
    pthread_join(self->thread, NULL);
}

/* What happens to the primary. */
typedef void misfortune(test_server *primary);

/* Compares what is there with what was told. What the primary had ahead of its replicas is lost,
 * and told, if late: with the answers to later transactions. */
static void expect_as_told(gavel_client *client, const test_server *primary, long long n_committed)
{
    enum { SECONDS = 20 };
    int64_t until_us = live_now_us() + SECONDS * INT64_C(1000000);
    gavel_stats stats;
    for (;;) {
        gavel_read_stats(client, &stats);
        if (sentinels_count(primary, "n") == n_committed - (long long)stats.n_lost ||
            live_now_us() > until_us)
            break;
        cr_assert_eq(add_one(client, SENTINELS_PATIENCE_MS).status, GAVEL_COMMITTED);
        n_committed++;
    }
    cr_expect_eq(sentinels_count(primary, "n"), n_committed - (long long)stats.n_lost);
    cr_log_info("%lld committed, %lld lost", n_committed, (long long)stats.n_lost);
}

static void fail_over(misfortune *happens, bool comes_back)
{
    caller self;
    sentinels_begin(&rig);
    gavel_client *client = live_open(rig.url, NULL);
    begin_calling(&self, client);
    await_commits(&self, 100);
    happens(rig.servers[0]);
    test_server *primary = sentinels_await_another(&rig, rig.servers[0]);
    if (comes_back)
        server_resume(rig.servers[0]);
    await_commits(&self, 100);
    end_calling(&self);
    cr_expect_eq(self.n_unknown, 0);
    expect_as_told(client, primary, self.n_committed);
    gavel_close(client);
}

/* Returns when it is done. One that comes to nothing on a busy machine is asked for again; while
 * one is under way that is refused. */
static void ask_for_failover(test_server *primary)
{
    static const gavel_bytes words[] = {{"SENTINEL", 8}, {"FAILOVER", 8}, {"main", 4}};
    for (int i = 0; sentinels_primary(&rig, 2) == primary; i++) {
        if (i % 2000 == 0)
            freeReplyObject(server_command_bytes(rig.all[2], words, 3));
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
}

Test(sentinel, a_primary_that_is_killed_is_replaced)
{
    fail_over(server_kill, false);
}

Test(sentinel, a_primary_that_stands_still_and_comes_back_is_no_longer_believed)
{
    fail_over(server_pause, true);
}

Test(sentinel, a_failover_by_hand_is_followed)
{
    fail_over(ask_for_failover, false);
}

/* ---- What there is to be told -------------------------------------------------------------- */

Test(sentinel, a_service_that_nobody_knows_is_told)
{
    char url[160];
    sentinels_begin(&rig);
    snprintf(url, sizeof(url), "redis+sentinel://127.0.0.1:%d/nobody", server_port(rig.all[0]));
    gavel_client *client = live_open(url, NULL);
    gavel_outcome outcome = add_one(client, 60000);
    cr_expect_eq(outcome.status, GAVEL_NOT_SENT);
    cr_expect(live_contains(outcome.message, "asked for \"nobody\": ERR No such master"), "%s",
        outcome.message);
    gavel_close(client);
}

Test(sentinel, sentinels_ask_for_a_password_of_their_own)
{
    char url[192];
    sentinels_begin_with_password(&rig, "quiet");
    snprintf(url, sizeof(url), "%s?sentinel_password=quiet", rig.url);
    gavel_client *client = live_open(url, NULL);
    cr_expect_eq(add_one(client, 60000).status, GAVEL_COMMITTED);
    gavel_close(client);
    client = live_open(rig.url, NULL);
    gavel_outcome outcome = add_one(client, 60000);
    cr_expect_eq(outcome.status, GAVEL_NOT_SENT);
    cr_expect(live_contains(outcome.message, "refused the login"), "%s", outcome.message);
    gavel_close(client);
}

static void expect_no_sentinel(const char *is_cluster, const char *words)
{
    char url[64];
    rig.servers[0] = server_start(&(server_options){
        .has_tcp = true, .args = (const char *const[]){"--cluster-enabled", is_cluster, NULL}});
    snprintf(url, sizeof(url), "redis+sentinel://127.0.0.1:%d/main", server_port(rig.servers[0]));
    gavel_client *client = live_open(url, NULL);
    gavel_outcome outcome = add_one(client, 60000);
    cr_expect_eq(outcome.status, GAVEL_NOT_SENT);
    cr_expect(live_contains(outcome.message, words), "%s", outcome.message);
    gavel_close(client);
    server_stop(rig.servers[0]);
    rig.servers[0] = NULL;
}

Test(sentinel, what_is_none_is_told_with_the_url_for_it)
{
    expect_no_sentinel("no", "this is a plain server, no Sentinel: redis:// is for it");
    expect_no_sentinel("yes", "this is a node of a Redis Cluster, no Sentinel: redis+cluster://");
}

Test(sentinel, without_a_majority_of_them_nothing_is_committed_but_by_those_who_want_it)
{
    sentinels_begin(&rig);
    gavel_client *careful = live_open(rig.url, NULL);
    gavel_client *other = live_open(rig.url, &(gavel_config){.may_go_without_sentinels = true});
    cr_expect_eq(add_one(careful, 60000).status, GAVEL_COMMITTED);
    cr_expect_eq(add_one(other, 60000).status, GAVEL_COMMITTED);
    server_kill(rig.all[0]);
    server_kill(rig.all[1]);
    gavel_outcome outcome;
    do /* what was vouched for holds for a second, and one that began before may not be told */
        outcome = add_one(careful, 1000);
    while (!live_contains(outcome.message, "2 are needed"));
    cr_expect(outcome.status == GAVEL_DEADLINE || outcome.status == GAVEL_UNKNOWN);
    cr_expect_eq(add_one(other, 60000).status, GAVEL_COMMITTED);
    gavel_close(careful);
    gavel_close(other);
}
