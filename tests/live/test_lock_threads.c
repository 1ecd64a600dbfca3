/* Locks of blocking clients with many threads, and the thread that keeps the leases. */
#include "locking.h"

#include <criterion/criterion.h>

#include <dirent.h>

#define N_THREADS 8
#define N_ROUNDS 40

static int count_threads(void)
{
    int n_threads = 0;
    DIR *folder = opendir("/proc/self/task");
    cr_assert_not_null(folder);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
        n_threads += entry->d_name[0] != '.';
    closedir(folder);
    return n_threads;
}

/* A thread that was joined is seen for a moment yet. */
static void await_threads(int n)
{
    while (count_threads() != n)
        continue;
}

Test(lock_threads, the_renewer_ends_when_nothing_is_held, .timeout = 60)
{
    live_rig rig = live_begin(NULL, NULL);
    int n_before = count_threads();
    for (int i = 0; i < 2; i++) {
        gavel_lock *lock = locking_take(rig.client, 0);
        cr_expect_eq(count_threads(), n_before + 1);
        locking_expect_released(lock, GAVEL_LOCK_RELEASED);
        await_threads(n_before);
    }
    locking_take(rig.client, 0);
    gavel_close(rig.client);
    rig.client = NULL;
    await_threads(n_before);
    live_end(&rig);
}

typedef struct worker {
    gavel_client *client;
    atomic_int *n_inside;
    pthread_t thread;
    int n_bad;
    bool runs_transactions;
} worker;

static void *work(void *argument)
{
    worker *self = argument;
    for (int i = 0; i < N_ROUNDS; i++) {
        gavel_lock_outcome got = gavel_lock_acquire(
            self->client, &(gavel_lock_request){.name = GAVEL_STR("l"), .wait_ms = 40000});
        if (got.status != GAVEL_LOCK_HELD) {
            self->n_bad++;
            continue;
        }
        self->n_bad += ++*self->n_inside != 1;
        if (self->runs_transactions)
            self->n_bad += live_increment(self->client, "counter").status != GAVEL_COMMITTED;
        --*self->n_inside;
        self->n_bad += gavel_lock_release(got.lock).status != GAVEL_LOCK_RELEASED;
    }
    return NULL;
}

/* Several clients with several threads each: one at a time is inside. */
Test(lock_threads, one_at_a_time, .timeout = 60)
{
    live_rig rig = live_begin(NULL, NULL);
    gavel_client *clients[2] = {rig.client, live_open(server_url(rig.server), NULL)};
    atomic_int n_inside = 0;
    worker workers[N_THREADS];
    for (int i = 0; i < N_THREADS; i++) {
        workers[i] = (worker){
            .client = clients[i % 2], .n_inside = &n_inside, .runs_transactions = i % 4 == 0};
        cr_assert_eq(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < N_THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        cr_expect_eq(workers[i].n_bad, 0);
    }
    cr_expect(server_int(rig.server, "GET", "counter", NULL) == N_THREADS / 4 * N_ROUNDS);
    gavel_close(clients[1]);
    live_end(&rig);
}

/* While a lock is held, a lone caller of gavel_run still needs its two sends and receives. */
Test(lock_threads, a_held_lock_does_not_slow_transactions, .timeout = 60)
{
    live_rig rig = live_begin(NULL, NULL);
    gavel_lock *lock = locking_take(rig.client, 60000);
    live_increment(rig.client, "counter");
    gavel_stats before;
    gavel_stats after;
    gavel_read_stats(rig.client, &before);
    for (int i = 0; i < 10; i++)
        cr_expect_eq(live_increment(rig.client, "counter").status, GAVEL_COMMITTED);
    gavel_read_stats(rig.client, &after);
    cr_expect_leq(after.n_sends - before.n_sends, 20);
    cr_expect_leq(after.n_receives - before.n_receives, 20);
    locking_expect_released(lock, GAVEL_LOCK_RELEASED);
    live_end(&rig);
}
