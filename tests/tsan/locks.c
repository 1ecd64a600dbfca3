/*
 * Threads and locks: callers of two clients take turns at two locks, some run transactions
 * meanwhile, links are killed, and the clients are closed while locks are waited for. A counter
 * tells whether two were ever inside at once.
 */
#include "crew.h"

#include <pthread.h>

#define N_CALLERS 8
#define N_ROUNDS 60

typedef struct caller {
    pthread_t thread;
    gavel_client *client;
    size_t index;
    atomic_int *n_inside; /* by lock */
    atomic_int *n_lost;
} caller;

static void on_lost(gavel_lock *lock, gavel_lock_reason reason, void *user)
{
    caller *self = user;
    CHECK(gavel_lock_remaining_ms(lock) == 0, "%s", gavel_lock_reason_name(reason));
    (*self->n_lost)++;
}

static void use(caller *self, gavel_lock *lock, size_t which)
{
    CHECK(++self->n_inside[which] == 1, "two inside at once");
    gavel_lock_command command = {
        .command = GAVEL_COMMAND(GAVEL_STR("INCR"), GAVEL_STR("guarded"))};
    gavel_lock_outcome outcome = gavel_lock_do(lock, &command);
    CHECK(outcome.status == GAVEL_LOCK_HELD || outcome.status == GAVEL_LOCK_UNKNOWN, "%s: %s",
        gavel_lock_status_name(outcome.status), outcome.message);
    CHECK(gavel_lock_remaining_ms(lock) > 0, "it is not over");
    --self->n_inside[which];
}

static void *call(void *argument)
{
    caller *self = argument;
    static const gavel_bytes names[] = {{"one", 3}, {"two", 3}};
    for (size_t i = 0; i < N_ROUNDS; i++) {
        size_t which = (i + self->index) % 2;
        gavel_lock_outcome got =
            gavel_lock_acquire(self->client, &(gavel_lock_request){.name = names[which],
                                                 .wait_ms = 60000,
                                                 .lease_ms = i % 3 == 0 ? 2000 : 0,
                                                 .is_try = i % 7 == 6,
                                                 .on_lost = on_lost,
                                                 .user = self});
        if (got.status == GAVEL_LOCK_CANCELLED)
            return NULL;
        CHECK(got.status == GAVEL_LOCK_HELD || got.status == GAVEL_LOCK_BUSY, "%s: %s",
            gavel_lock_status_name(got.status), got.message);
        if (got.lock == NULL)
            continue;
        use(self, got.lock, which);
        gavel_lock_outcome released = gavel_lock_release(got.lock);
        CHECK(released.status == GAVEL_LOCK_RELEASED || released.status == GAVEL_LOCK_UNKNOWN,
            "%s: %s", gavel_lock_status_name(released.status), released.message);
    }
    return NULL;
}

static void play(test_server *server, bool is_disturbed)
{
    gavel_client *clients[] = {crew_open(server, NULL), crew_open(server, NULL)};
    atomic_int n_inside[2] = {0, 0};
    atomic_int n_lost = 0;
    caller callers[N_CALLERS];
    for (size_t i = 0; i < N_CALLERS; i++) {
        callers[i] =
            (caller){.client = clients[i % 2], .index = i, .n_inside = n_inside, .n_lost = &n_lost};
        CHECK(pthread_create(&callers[i].thread, NULL, call, &callers[i]) == 0, "no thread");
    }
    for (int i = 0; is_disturbed && i < 20; i++) {
        server_do(server, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes", (char *)NULL);
        crew_sleep_us(20000);
    }
    for (size_t i = 0; i < N_CALLERS; i++)
        pthread_join(callers[i].thread, NULL);
    CHECK(n_lost == 0, "a lock was lost");
    gavel_close(clients[0]);
    gavel_close(clients[1]);
}

typedef struct waiting {
    pthread_t thread;
    gavel_client *client;
    gavel_bytes name;
} waiting;

static void *wait_in_vain(void *argument)
{
    waiting *self = argument;
    gavel_lock_outcome got = gavel_lock_acquire(
        self->client, &(gavel_lock_request){.name = self->name, .wait_ms = 60000});
    CHECK(got.status == GAVEL_LOCK_CANCELLED, "%s: %s", gavel_lock_status_name(got.status),
        got.message);
    return NULL;
}

static void close_while_waiting(test_server *server)
{
    gavel_client *client = crew_open(server, NULL);
    waiting threads[] = {{.name = {"x", 1}}, {.name = {"y", 1}}, {.name = {"z", 1}}};
    for (int i = 0; i < 3; i++) {
        gavel_lock_outcome got =
            gavel_lock_acquire(client, &(gavel_lock_request){.name = threads[i].name});
        CHECK(got.status == GAVEL_LOCK_HELD, "%s", got.message);
        threads[i].client = client;
        CHECK(pthread_create(&threads[i].thread, NULL, wait_in_vain, &threads[i]) == 0, "-");
    }
    while (server_info(server, "blocked_clients") < 3)
        continue;
    gavel_close(client);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i].thread, NULL);
    for (int i = 0; i < 3; i++) {
        char key[] = "gavel:lock:{?}";
        *strchr(key, '?') = threads[i].name.data[0];
        redisReply *record = server_command(server, "GET", key, (char *)NULL);
        CHECK(record->str == NULL || record->str[0] == '-', "still held");
        freeReplyObject(record);
    }
}

int main(void)
{
    test_server *server = server_start(NULL);
    play(server, false);
    play(server, true);
    for (int i = 0; i < 4; i++)
        close_while_waiting(server);
    server_stop(server);
    return 0;
}
