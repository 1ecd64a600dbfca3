/*
 * Blocking clients shared by many threads on a real server: no update is lost or made twice, and a
 * client can be closed under its callers. Threads only note what they see; the test judges.
 */
#include "tools.h"

#include <criterion/criterion.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>

#define N_THREADS 16
#define N_RUNS 100

/* ---- Many callers -----------------------------------------------------------------------------
 */

typedef struct caller {
    pthread_t thread;
    gavel_client *client;
    size_t number;
    size_t n_keys; /* the runs go round them */
    int n_committed;
    gavel_outcome last;
} caller;

static void *increment_often(void *argument)
{
    caller *self = argument;
    for (size_t i = 0; i < N_RUNS; i++) {
        char name[32];
        snprintf(name, sizeof(name), "key:%zu", (self->number + i) % self->n_keys);
        gavel_bytes key = gavel_str(name);
        self->last = gavel_run(self->client, &(gavel_transaction){.body = live_add_one,
                                                 .user = &key,
                                                 .reads = &(gavel_read){.key = key},
                                                 .n_reads = 1,
                                                 .deadline_ms = 30000});
        self->n_committed += self->last.status == GAVEL_COMMITTED;
    }
    return NULL;
}

/* 16 threads, on as many clients and keys as are given. */
static void expect_no_lost_update(size_t n_clients, size_t n_keys)
{
    test_server *server = server_start(NULL);
    gavel_client *clients[2];
    for (size_t i = 0; i < n_clients; i++)
        clients[i] = live_open(server_url(server), NULL);
    caller callers[N_THREADS];
    for (size_t i = 0; i < N_THREADS; i++) {
        callers[i] = (caller){.client = clients[i % n_clients], .number = i, .n_keys = n_keys};
        cr_assert_eq(pthread_create(&callers[i].thread, NULL, increment_often, &callers[i]), 0);
    }
    for (size_t i = 0; i < N_THREADS; i++) {
        pthread_join(callers[i].thread, NULL);
        cr_expect_eq(callers[i].n_committed, N_RUNS, "%s", callers[i].last.message);
    }
    long long sum = 0;
    for (size_t i = 0; i < n_keys; i++) {
        char name[32];
        snprintf(name, sizeof(name), "key:%zu", i);
        sum += server_int(server, "GET", name, NULL);
    }
    cr_expect_eq(sum, N_THREADS * N_RUNS);
    for (size_t i = 0; i < n_clients; i++)
        gavel_close(clients[i]);
    server_stop(server);
}

Test(blocking, many_threads_share_one_key, .timeout = 60)
{
    expect_no_lost_update(1, 1);
}

Test(blocking, many_threads_share_many_keys, .timeout = 60)
{
    expect_no_lost_update(1, 40);
}

Test(blocking, two_clients_share_one_key, .timeout = 60)
{
    expect_no_lost_update(2, 1);
}

Test(blocking, two_clients_share_many_keys, .timeout = 60)
{
    expect_no_lost_update(2, 5);
}

/* Threads on one client do not race one another: who reads a key waits for who is writing it. */
Test(blocking, threads_of_one_client_cause_no_conflicts, .timeout = 60)
{
    live_rig rig = live_begin(NULL, NULL);
    caller callers[N_THREADS];
    for (size_t i = 0; i < N_THREADS; i++) {
        callers[i] = (caller){.client = rig.client, .number = i, .n_keys = 1};
        cr_assert_eq(pthread_create(&callers[i].thread, NULL, increment_often, &callers[i]), 0);
    }
    for (size_t i = 0; i < N_THREADS; i++)
        pthread_join(callers[i].thread, NULL);
    gavel_stats stats;
    gavel_read_stats(rig.client, &stats);
    cr_expect_eq(stats.n_conflicts, 0);
    cr_expect_eq(stats.n_outcomes[GAVEL_COMMITTED], N_THREADS * N_RUNS);
    live_end(&rig);
}

/* ---- Closing under callers --------------------------------------------------------------------
 */

typedef struct waiting {
    pthread_t thread;
    live_rig *rig;
    const char *key;
    gavel_body *body;
    gavel_outcome outcome;
    atomic_bool is_inside; /* its body has run */
    bool resumes_server;   /* when it has been told */
} waiting;

static gavel_verdict wait_for_ever(gavel_tx *tx, void *user)
{
    waiting *self = user;
    (void)tx;
    atomic_store(&self->is_inside, true);
    return GAVEL_RETRY;
}

static void *run_waiting(void *argument)
{
    waiting *self = argument;
    gavel_read read = {.key = gavel_str(self->key)};
    self->outcome = gavel_run(self->rig->client,
        &(gavel_transaction){
            .body = self->body, .user = self, .reads = &read, .n_reads = 1, .deadline_ms = 30000});
    if (self->resumes_server)
        server_resume(self->rig->server);
    return NULL;
}

/* Returns when the thread is inside gavel_run: a thread must not begin a call once it is closed. */
static void start_waiting(waiting *self, live_rig *rig, const char *key, gavel_body *body)
{
    self->rig = rig;
    self->key = key;
    self->body = body;
    cr_assert_eq(pthread_create(&self->thread, NULL, run_waiting, self), 0);
    while (!atomic_load(&self->is_inside))
        sched_yield();
}

Test(blocking, closing_tells_the_callers_of_other_threads, .timeout = 60)
{
    live_rig rig = live_begin(NULL, NULL);
    static const char *const keys[] = {"a", "b", "c", "d", "e", "a", "b", "c"};
    waiting waiters[8] = {{.is_inside = false}};
    for (size_t i = 0; i < 8; i++)
        start_waiting(&waiters[i], &rig, keys[i], wait_for_ever);
    int64_t begin_us = live_now_us();
    gavel_close(rig.client);
    cr_expect_lt(live_now_us() - begin_us, 5000000, "it waited for the deadlines");
    rig.client = NULL;
    for (size_t i = 0; i < 8; i++) {
        pthread_join(waiters[i].thread, NULL);
        cr_expect_eq(waiters[i].outcome.status, GAVEL_CANCELLED, "%s",
            gavel_status_name(waiters[i].outcome.status));
    }
    live_await_no_links(rig.server, "gavel");
    live_end(&rig);
}

static gavel_verdict pause_server_and_add(gavel_tx *tx, void *user)
{
    waiting *self = user;
    gavel_bytes key = gavel_str(self->key);
    server_pause(self->rig->server);
    live_add_one(tx, &key);
    atomic_store(&self->is_inside, true);
    return GAVEL_COMMIT;
}

/*
 * One caller's EXEC is on its way to a server that stands still; another caller only waits. Closing
 * tells the second at once, which lets the server go on, and sees the first one through.
 */
Test(blocking, closing_waits_for_an_exec_on_its_way, .timeout = 60)
{
    gavel_config config = {.command_timeout_ms = 20000};
    live_rig rig = live_begin(NULL, &config);
    waiting idle = {.resumes_server = true};
    start_waiting(&idle, &rig, "idle", wait_for_ever);
    waiting busy = {.is_inside = false};
    start_waiting(&busy, &rig, "busy", pause_server_and_add);
    gavel_stats stats;
    do {
        gavel_read_stats(rig.client, &stats);
    } while (stats.n_rounds == 0);
    gavel_close(rig.client);
    rig.client = NULL;
    pthread_join(idle.thread, NULL);
    pthread_join(busy.thread, NULL);
    cr_expect_eq(idle.outcome.status, GAVEL_CANCELLED, "%s", idle.outcome.message);
    cr_expect_eq(busy.outcome.status, GAVEL_COMMITTED, "%s", busy.outcome.message);
    cr_expect_eq(server_int(rig.server, "GET", "busy", NULL), 1);
    live_end(&rig);
}

/* Nobody answers, but what only waits needs no answer. */
Test(blocking, closing_needs_no_server, .timeout = 60)
{
    live_rig rig = live_begin(NULL, NULL);
    waiting idle = {.is_inside = false};
    start_waiting(&idle, &rig, "idle", wait_for_ever);
    server_pause(rig.server);
    int64_t begin_us = live_now_us();
    gavel_close(rig.client);
    cr_expect_lt(live_now_us() - begin_us, 5000000, "it waited for the server");
    rig.client = NULL;
    pthread_join(idle.thread, NULL);
    cr_expect_eq(idle.outcome.status, GAVEL_CANCELLED, "%s", idle.outcome.message);
    server_resume(rig.server);
    live_end(&rig);
}
