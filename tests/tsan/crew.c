/* Crews: see the header. */
#include "crew.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

typedef struct member {
    pthread_t thread;
    const crew_plan *plan;
    size_t number;
    size_t n_left; /* generations after this one */
    crew_tally tally;
} member;

struct crew {
    crew_plan plan;
    member *members;
};

_Noreturn void crew_fail(const char *file, int line, const char *condition, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s:%d: not %s: ", file, line, condition);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    _Exit(1); /* Other threads may be anywhere. */
}

int64_t crew_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

void crew_sleep_us(int64_t us)
{
    nanosleep(&(struct timespec){us / 1000000, (long)(us % 1000000) * 1000}, NULL);
}

/* splitmix64 */
uint64_t crew_draw(uint64_t *state, uint64_t bound)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % bound;
}

gavel_client *crew_open(const test_server *server, const gavel_config *config)
{
    gavel_error error = {{0}};
    gavel_client *client = gavel_open(server_url(server), config, &error);
    CHECK(client != NULL, "%s", error.message);
    return client;
}

/* ---- A thread ------------------------------------------------------------------------------ */

static gavel_verdict add_one(gavel_tx *tx, void *user)
{
    const gavel_bytes *key = user;
    int64_t value = 0;
    gavel_get_int(tx, *key, &value);
    gavel_set_int(tx, *key, value + 1);
    return GAVEL_COMMIT;
}

static void note(crew_tally *tally, const gavel_outcome *outcome, int64_t late_us)
{
    tally->n_outcomes[outcome->status]++;
    if (late_us > tally->max_late_us)
        tally->max_late_us = late_us;
    if (outcome->status != GAVEL_COMMITTED)
        snprintf(tally->message, sizeof(tally->message), "%s", outcome->message);
}

static void run_once(member *self, gavel_client *client, uint64_t *random)
{
    const crew_plan *plan = self->plan;
    char name[32];
    snprintf(name, sizeof(name), "counter:%d", (int)crew_draw(random, plan->n_keys));
    gavel_bytes key = gavel_str(name);
    gavel_read read = {.key = key};
    uint32_t span_ms = plan->max_deadline_ms - plan->min_deadline_ms;
    gavel_transaction transaction = {
        .body = add_one,
        .user = &key,
        .reads = &read,
        .n_reads = 1,
        .deadline_ms = plan->min_deadline_ms + (uint32_t)crew_draw(random, span_ms + 1),
    };
    int64_t end_us = crew_now_us() + (int64_t)transaction.deadline_ms * 1000;
    gavel_outcome outcome = gavel_run(client, &transaction);
    note(&self->tally, &outcome, crew_now_us() - end_us);
}

static void *live(void *argument);

/* One who leaves has a successor, who comes while others are at work. */
static void be_followed(member *self)
{
    if (self->n_left == 0)
        return;
    member next = {.plan = self->plan, .number = self->number, .n_left = self->n_left - 1};
    CHECK(pthread_create(&next.thread, NULL, live, &next) == 0, "no thread");
    pthread_join(next.thread, NULL);
    crew_add(&self->tally, &next.tally);
}

static void *live(void *argument)
{
    member *self = argument;
    const crew_plan *plan = self->plan;
    uint64_t random = self->number * 1000 + self->n_left;
    size_t n_clients = plan->clients[1] != NULL ? 2 : 1;
    for (size_t i = 0; i < plan->n_runs; i++) {
        if (plan->must_stop != NULL && atomic_load(plan->must_stop))
            break;
        gavel_client *client = plan->clients[(self->number + i) % n_clients];
        run_once(self, client, &random);
        if (plan->max_rest_us > 0)
            crew_sleep_us((int64_t)crew_draw(&random, plan->max_rest_us));
        if (plan->reads_stats) {
            gavel_stats stats;
            gavel_read_stats(client, &stats);
            CHECK(stats.n_outcomes[GAVEL_COMMITTED] >=
                      (uint64_t)self->tally.n_outcomes[GAVEL_COMMITTED] / n_clients,
                "the counters know less than one of the callers");
        }
    }
    be_followed(self);
    return NULL;
}

/* ---- All of them --------------------------------------------------------------------------- */

crew *crew_start(const crew_plan *plan)
{
    crew *self = calloc(1, sizeof(*self));
    member *members = calloc(plan->n_threads, sizeof(*members));
    CHECK(self != NULL && members != NULL, "no memory");
    *self = (crew){*plan, members};
    for (size_t i = 0; i < plan->n_threads; i++) {
        size_t n_left = plan->n_generations > 0 ? plan->n_generations - 1 : 0;
        members[i] = (member){.plan = &self->plan, .number = i, .n_left = n_left};
        CHECK(pthread_create(&members[i].thread, NULL, live, &members[i]) == 0, "no thread");
    }
    return self;
}

crew_tally crew_join(crew *self)
{
    crew_tally all = {{0}, 0, ""};
    for (size_t i = 0; i < self->plan.n_threads; i++) {
        pthread_join(self->members[i].thread, NULL);
        crew_add(&all, &self->members[i].tally);
    }
    free(self->members);
    free(self);
    return all;
}

crew_tally crew_run(const crew_plan *plan)
{
    return crew_join(crew_start(plan));
}

long long crew_n_told(const crew_tally *tally)
{
    long long n = 0;
    for (size_t i = 0; i <= GAVEL_COMMITTED_NOT_DURABLE; i++)
        n += tally->n_outcomes[i];
    return n;
}

void crew_add(crew_tally *a, const crew_tally *b)
{
    for (size_t i = 0; i <= GAVEL_COMMITTED_NOT_DURABLE; i++)
        a->n_outcomes[i] += b->n_outcomes[i];
    if (b->max_late_us > a->max_late_us)
        a->max_late_us = b->max_late_us;
    if (b->message[0] != '\0')
        memcpy(a->message, b->message, sizeof(a->message));
}

void crew_check_sum(test_server *server, size_t n_keys, const crew_tally *tally)
{
    long long sum = 0;
    for (size_t i = 0; i < n_keys; i++) {
        char name[32];
        snprintf(name, sizeof(name), "counter:%d", (int)i);
        long long value = server_int(server, "GET", name, (char *)NULL);
        sum += value > 0 ? value : 0;
    }
    long long n_committed = tally->n_outcomes[GAVEL_COMMITTED];
    long long n_unknown = tally->n_outcomes[GAVEL_UNKNOWN];
    CHECK(sum >= n_committed, "%lld were committed, %lld are there", n_committed, sum);
    CHECK(sum <= n_committed + n_unknown, "%lld were committed, %lld unknown, %lld are there",
        n_committed, n_unknown, sum);
}
