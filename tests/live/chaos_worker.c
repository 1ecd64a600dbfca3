/* Workers: see the header. They assert nothing: what they see goes to the test by its slot. */
#include "chaos_worker.h"

#include <ev.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_KEYS 8

/* CHAOS_CLOSING: so many transactions on one client. */
static const uint64_t runs_of_a_client = 50;

typedef struct worker {
    const chaos_plan *plan;
    chaos_shared *shared;
    chaos_slot *slot;
    gavel_client *client;
    struct ev_loop *loop;
    char name[32];
    gavel_read reads[MAX_KEYS];
    size_t n_keys;
    atomic_uint_fast64_t n_begun; /* by this process */
    uint64_t n_left;              /* until the client is closed */
    bool is_closing;
    unsigned seed;
} worker;

static void sleep_us(long us)
{
    nanosleep(&(struct timespec){.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000}, NULL);
}

_Noreturn static void give_up(const worker *self, const char *what, const char *why)
{
    fprintf(stderr, "%s: %s: %s\n", self->name, what, why);
    _exit(1);
}

/* ---- Transactions -------------------------------------------------------------------------- */

static gavel_verdict add_to_all(gavel_tx *tx, void *user)
{
    worker *self = user;
    for (size_t i = 0; i < self->n_keys; i++) {
        int64_t value = 0;
        gavel_get_int(tx, self->reads[i].key, &value);
        gavel_set_int(tx, self->reads[i].key, value + 1);
    }
    if (self->plan->max_body_us > 0)
        sleep_us((long)((unsigned)rand_r(&self->seed) % self->plan->max_body_us));
    return GAVEL_COMMIT;
}

static gavel_transaction request(worker *self)
{
    return (gavel_transaction){.body = add_to_all,
        .user = self,
        .reads = self->reads,
        .n_reads = self->n_keys,
        .deadline_ms = self->plan->deadline_ms};
}

/* Whether there is one more to begin; then it counts as begun. */
static bool begin(worker *self)
{
    if (atomic_load(&self->shared->must_stop))
        return false;
    uint64_t n_before = atomic_fetch_add(&self->n_begun, 1);
    if (self->plan->n_runs > 0 && n_before >= self->plan->n_runs)
        return false;
    atomic_fetch_add(&self->slot->n_begun, 1);
    return true;
}

static void note_late(worker *self, const gavel_outcome *outcome)
{
    int64_t late_us = outcome->elapsed_us - (int64_t)self->plan->deadline_ms * 1000;
    int_fast64_t most_us = atomic_load(&self->slot->max_late_us);
    while (late_us > most_us &&
           !atomic_compare_exchange_weak(&self->slot->max_late_us, &most_us, late_us))
        continue;
}

static void note(worker *self, const gavel_outcome *outcome)
{
    chaos_slot *slot = self->slot;
    atomic_fetch_add(&slot->n_attempts, outcome->n_attempts);
    atomic_fetch_add(&slot->n_conflicts, outcome->n_conflicts);
    atomic_fetch_add(&slot->n_gated, outcome->is_gated);
    note_late(self, outcome);
    if (outcome->status != GAVEL_COMMITTED) {
        snprintf(slot->message, sizeof(slot->message), "%.20s: %.160s",
            gavel_status_name(outcome->status), outcome->message);
        sleep_us(1000); /* in case it comes at once, over and over */
    }
    atomic_fetch_add(&slot->n_told[outcome->status], 1);
}

static void open_client(worker *self)
{
    gavel_config config = self->plan->config;
    gavel_error error = {{0}};
    config.name = "worker";
    config.loop = self->loop;
    self->client = gavel_open(self->plan->url, &config, &error);
    if (self->client == NULL)
        give_up(self, "gavel_open", error.message);
}

/* ---- Blocking ------------------------------------------------------------------------------ */

static void *call(void *user)
{
    worker *self = user;
    while (begin(self)) {
        gavel_transaction transaction = request(self);
        gavel_outcome outcome = gavel_run(self->client, &transaction);
        note(self, &outcome);
    }
    return NULL;
}

static void work_blocking(worker *self)
{
    pthread_t threads[CHAOS_MAX_CALLERS];
    open_client(self);
    for (size_t i = 1; i < self->plan->n_callers; i++) {
        if (pthread_create(&threads[i], NULL, call, self) != 0)
            give_up(self, "pthread_create", "failed");
    }
    call(self);
    for (size_t i = 1; i < self->plan->n_callers; i++)
        pthread_join(threads[i], NULL);
    gavel_close(self->client);
}

/* ---- Attached ------------------------------------------------------------------------------ */

static void submit(worker *self);

/* The others, that are in flight, are told in here or before long. */
static void close_when_due(worker *self)
{
    if (self->plan->kind != CHAOS_CLOSING || self->is_closing || --self->n_left > 0)
        return;
    self->is_closing = true;
    gavel_close(self->client);
}

static void on_done(const gavel_outcome *outcome, void *user)
{
    worker *self = user;
    note(self, outcome);
    close_when_due(self);
    if (!self->is_closing)
        submit(self);
}

static void submit(worker *self)
{
    if (!begin(self))
        return;
    gavel_transaction transaction = request(self);
    if (gavel_submit(self->client, &transaction, on_done) == 0)
        give_up(self, "gavel_submit", "refused");
}

/* Until nothing is in flight. */
static void work_with_one_client(worker *self)
{
    self->is_closing = false;
    self->n_left = runs_of_a_client;
    open_client(self);
    for (size_t i = 0; i < self->plan->n_callers; i++)
        submit(self);
    ev_run(self->loop, 0);
    if (!self->is_closing)
        gavel_close(self->client);
}

static void work_attached(worker *self)
{
    self->loop = ev_loop_new(EVFLAG_AUTO);
    do {
        work_with_one_client(self);
    } while (self->is_closing && !atomic_load(&self->shared->must_stop));
    ev_loop_destroy(self->loop);
}

/* ---- Foreign ------------------------------------------------------------------------------- */

static redisContext *connect_foreign(const worker *self)
{
    const char *path = strchr(self->plan->url, '/');
    redisContext *context = redisConnectUnix(path + strlen("//"));
    if (context == NULL || context->err == 0)
        return context;
    redisFree(context);
    return NULL;
}

/* One try, as in every textbook. NULL: the reply was lost. */
static redisReply *try_foreign(const worker *self, redisContext *context)
{
    const char *key = self->reads[0].key.data;
    freeReplyObject(redisCommand(context, "WATCH %s", key));
    redisReply *value = redisCommand(context, "GET %s", key);
    if (value == NULL)
        return NULL;
    long long next = value->str != NULL ? atoll(value->str) + 1 : 1;
    freeReplyObject(value);
    freeReplyObject(redisCommand(context, "MULTI"));
    freeReplyObject(redisCommand(context, "SET %s %lld", key, next));
    return redisCommand(context, "EXEC");
}

static gavel_status run_foreign(worker *self, redisContext *context)
{
    for (;;) {
        redisReply *reply = try_foreign(self, context);
        int type = reply != NULL ? reply->type : REDIS_REPLY_ERROR;
        freeReplyObject(reply);
        atomic_fetch_add(&self->slot->n_attempts, 1);
        if (type == REDIS_REPLY_ARRAY)
            return GAVEL_COMMITTED;
        if (type != REDIS_REPLY_NIL)
            return GAVEL_UNKNOWN;
        atomic_fetch_add(&self->slot->n_conflicts, 1);
    }
}

static void work_foreign(worker *self)
{
    redisContext *context = NULL;
    while (begin(self)) {
        while (context == NULL || context->err != 0) {
            redisFree(context);
            context = connect_foreign(self);
        }
        atomic_fetch_add(&self->slot->n_told[run_foreign(self, context)], 1);
    }
    redisFree(context);
}

/* ---- All ----------------------------------------------------------------------------------- */

static void name_keys(worker *self, bool is_reversed)
{
    static const char *const one[] = {"counter", NULL};
    const char *const *keys = self->plan->keys != NULL ? self->plan->keys : one;
    while (keys[self->n_keys] != NULL && self->n_keys < MAX_KEYS)
        self->n_keys++;
    for (size_t i = 0; i < self->n_keys; i++)
        self->reads[i].key = gavel_str(keys[is_reversed ? self->n_keys - 1 - i : i]);
}

_Noreturn void chaos_work(const chaos_plan *plan, chaos_shared *shared, size_t place)
{
    worker self = {.plan = plan, .shared = shared, .slot = &shared->slots[place]};
    snprintf(self.name, sizeof(self.name), "worker %zu", place);
    self.seed = (unsigned)getpid();
    name_keys(&self, place % 2 == 1);
    switch (plan->kind) {
    case CHAOS_BLOCKING:
        work_blocking(&self);
        break;
    case CHAOS_ATTACHED:
    case CHAOS_CLOSING:
        work_attached(&self);
        break;
    case CHAOS_FOREIGN:
        work_foreign(&self);
        break;
    }
    _exit(0);
}
