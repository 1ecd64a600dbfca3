/*
 * gavel_close while threads are in gavel_run: each is told, close returns when they have left, and
 * what was told is what is in the keys. The closer is another thread than the callers, and starts
 * when the bodies of all of them have run: then all are inside.
 */
#include "crew.h"

#include <pthread.h>

#define N_CALLERS 12
#define N_ROUNDS 12

typedef struct stage {
    gavel_client *client;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    size_t n_inside;
    bool is_open; /* the bodies commit; else they ask for another try */
} stage;

typedef struct caller {
    pthread_t thread;
    stage *stage;
    bool has_run;
    bool is_reading; /* waits for something that nobody writes */
    gavel_outcome outcome;
} caller;

static gavel_verdict wait_or_add_one(gavel_tx *tx, void *user)
{
    caller *self = user;
    stage *scene = self->stage;
    int64_t value = 0;
    gavel_get_int(tx, GAVEL_STR("counter:0"), &value);
    pthread_mutex_lock(&scene->mutex);
    bool must_wait = self->is_reading || !scene->is_open;
    if (!self->has_run)
        scene->n_inside++;
    self->has_run = true;
    pthread_cond_broadcast(&scene->changed);
    pthread_mutex_unlock(&scene->mutex);
    if (must_wait)
        return GAVEL_RETRY;
    gavel_set_int(tx, GAVEL_STR("counter:0"), value + 1);
    return GAVEL_COMMIT;
}

static void *call(void *argument)
{
    caller *self = argument;
    gavel_read read = {.key = GAVEL_STR("counter:0")};
    self->outcome = gavel_run(self->stage->client, &(gavel_transaction){.body = wait_or_add_one,
                                                       .user = self,
                                                       .reads = &read,
                                                       .n_reads = 1,
                                                       .max_conflicts = UINT32_MAX,
                                                       .deadline_ms = 60000});
    return NULL;
}

static void await_all_inside(stage *scene, size_t n_callers)
{
    pthread_mutex_lock(&scene->mutex);
    while (scene->n_inside < n_callers)
        pthread_cond_wait(&scene->changed, &scene->mutex);
    scene->is_open = true;
    pthread_mutex_unlock(&scene->mutex);
}

static void *close_client(void *client)
{
    gavel_close(client);
    return NULL;
}

/* With the server standing still, those whose EXEC was sent are waited for. */
static void close_under_load(test_server *server, size_t n_callers, bool stands_still)
{
    server_do(server, "FLUSHALL", (char *)NULL);
    stage scene = {.client = crew_open(server, NULL),
        .mutex = PTHREAD_MUTEX_INITIALIZER,
        .changed = PTHREAD_COND_INITIALIZER};
    caller callers[N_CALLERS];
    for (size_t i = 0; i < n_callers; i++) {
        callers[i] = (caller){.stage = &scene, .is_reading = i % 3 == 0};
        CHECK(pthread_create(&callers[i].thread, NULL, call, &callers[i]) == 0, "no thread");
    }
    await_all_inside(&scene, n_callers);
    if (stands_still)
        server_pause(server);
    pthread_t closer;
    CHECK(pthread_create(&closer, NULL, close_client, scene.client) == 0, "no thread");
    if (stands_still)
        server_resume(server);
    pthread_join(closer, NULL);

    crew_tally tally = {{0}, 0, ""};
    for (size_t i = 0; i < n_callers; i++) {
        pthread_join(callers[i].thread, NULL);
        gavel_status status = callers[i].outcome.status;
        CHECK(status == GAVEL_CANCELLED || (status == GAVEL_COMMITTED && !callers[i].is_reading),
            "%s: %s", gavel_status_name(status), callers[i].outcome.message);
        tally.n_outcomes[status]++;
    }
    crew_check_sum(server, 1, &tally);
}

int main(void)
{
    test_server *server = server_start(NULL);
    for (int i = 0; i < N_ROUNDS; i++) {
        close_under_load(server, 1, i % 2 == 0);
        close_under_load(server, 2, i % 2 == 0);
        close_under_load(server, N_CALLERS, i % 2 == 0);
    }
    server_stop(server);
    return 0;
}
