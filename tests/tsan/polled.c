/*
 * A polled client that threads hand to one another: by one at a time, each submitting, polling and
 * turning for a while, while names are looked up on a thread of gavel's own. Beside it, a client of
 * each thread's own, so that nothing that they share in secret goes unseen.
 */
#include "crew.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>

#define N_THREADS 4
#define N_SPELLS 40
#define N_SUBMITTED 8
#define N_ROUNDS 20

typedef struct shared {
    pthread_mutex_t mutex; /* whose holder uses the client */
    gavel_client *client;
    const char *url;
} shared;

/* What a thread does with one of its clients. No other client writes the key: one that waits for
 * the mutex is not turned, and would hold the others up. */
typedef struct task {
    gavel_client *client;
    gavel_bytes key;
    crew_tally *tally;
} task;

typedef struct worker {
    pthread_t thread;
    shared *shared;
    char key[16];
    task own;
    task common;
    crew_tally own_tally;
    crew_tally common_tally; /* written by whoever turns the client */
} worker;

static gavel_client *open_polled(const char *url)
{
    gavel_error error;
    gavel_client *client = gavel_open(url, &(gavel_config){.is_polled = true}, &error);
    CHECK(client != NULL, "%s", error.message);
    return client;
}

static gavel_verdict add_one(gavel_tx *tx, void *user)
{
    const task *self = user;
    int64_t value = 0;
    gavel_get_int(tx, self->key, &value);
    gavel_set_int(tx, self->key, value + 1);
    return GAVEL_COMMIT;
}

static void on_done(const gavel_outcome *outcome, void *user)
{
    crew_tally *tally = ((task *)user)->tally;
    tally->n_outcomes[outcome->status]++;
    if (outcome->status != GAVEL_COMMITTED)
        snprintf(tally->message, sizeof(tally->message), "%s", outcome->message);
}

/* What is left in flight is the next one's to turn. */
static void work_on(task *self)
{
    for (int i = 0; i < N_SUBMITTED; i++)
        CHECK(gavel_submit(self->client,
                  &(gavel_transaction){.body = add_one,
                      .user = self,
                      .reads = &(gavel_read){.key = self->key},
                      .n_reads = 1,
                      .deadline_ms = 60000},
                  on_done) != 0,
            "refused");
    for (int i = 0; i < N_SUBMITTED && gavel_turn(self->client); i++)
        poll(&(struct pollfd){.fd = gavel_fd(self->client), .events = POLLIN}, 1, -1);
}

static void run_dry(gavel_client *client)
{
    while (gavel_turn(client))
        poll(&(struct pollfd){.fd = gavel_fd(client), .events = POLLIN}, 1, -1);
}

static void *work(void *argument)
{
    worker *self = argument;
    self->own = (task){open_polled(self->shared->url), gavel_str(self->key), &self->own_tally};
    self->common = (task){self->shared->client, GAVEL_STR("counter:0"), &self->common_tally};
    for (int i = 0; i < N_SPELLS; i++) {
        work_on(&self->own);
        pthread_mutex_lock(&self->shared->mutex);
        work_on(&self->common);
        pthread_mutex_unlock(&self->shared->mutex);
    }
    run_dry(self->own.client);
    gavel_close(self->own.client);
    return NULL;
}

static void play(test_server *server, const char *url)
{
    server_do(server, "FLUSHALL", (char *)NULL);
    shared all = {.mutex = PTHREAD_MUTEX_INITIALIZER, .client = open_polled(url), .url = url};
    worker workers[N_THREADS];
    for (int i = 0; i < N_THREADS; i++) {
        workers[i] = (worker){.shared = &all};
        snprintf(workers[i].key, sizeof(workers[i].key), "counter:%d", i + 1);
        CHECK(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0, "no thread");
    }
    for (int i = 0; i < N_THREADS; i++)
        pthread_join(workers[i].thread, NULL);
    run_dry(all.client);
    gavel_close(all.client);
    crew_tally tally = {{0}, 0, ""};
    for (int i = 0; i < N_THREADS; i++) {
        crew_add(&tally, &workers[i].own_tally);
        crew_add(&tally, &workers[i].common_tally);
    }
    CHECK(tally.n_outcomes[GAVEL_COMMITTED] == 2 * N_THREADS * N_SPELLS * N_SUBMITTED, "%s",
        tally.message);
    crew_check_sum(server, N_THREADS + 1, &tally);
}

int main(void)
{
    test_server *server = server_start(&(server_options){.has_tcp = true});
    char url[64];
    snprintf(url, sizeof(url), "redis://localhost:%d", server_port(server));
    for (int i = 0; i < N_ROUNDS; i++)
        play(server, url);
    server_stop(server);
    return 0;
}
