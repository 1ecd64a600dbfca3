/*
 * What the tests of locks share: the plainest of requests, and waiting for what a server shows. For
 * Criterion tests; what goes wrong here fails the test.
 */
#ifndef TEST_LIVE_LOCKING_H
#define TEST_LIVE_LOCKING_H

#include "tools.h"

#include <pthread.h>
#include <stdatomic.h>

/* Acquires the lock "l" with that lease, and fails the test if it is not held. */
gavel_lock *locking_take(gavel_client *client, uint32_t lease_ms);

/* Tries to get the lock "l". */
gavel_lock_outcome locking_try(gavel_client *client);

/* Tries, expects that status, and releases again what was held. */
void locking_expect_try(gavel_client *client, gavel_lock_status status);

void locking_expect_released(gavel_lock *lock, gavel_lock_status status);

/* How many connections stand in the server's queue for any lock; and returns when there are n. */
int locking_count_waiters(test_server *server);
void locking_await_waiters(test_server *server, int n);

/* Counts losses, for on_lost; `user` is a locking_losses. */
typedef struct locking_losses {
    atomic_int n_lost;
    atomic_int reason;
} locking_losses;

void locking_on_lost(gavel_lock *lock, gavel_lock_reason reason, void *user);
void locking_await_loss(locking_losses *losses);

/* A thread that acquires a lock and, if it is held, releases it. */
typedef struct locking_caller {
    gavel_client *client;
    const char *name; /* NULL: "l" */
    uint32_t wait_ms;
    atomic_int *n_granted; /* NULL: nobody counts */
    int place;             /* of its grant, from 1 */
    gavel_lock_outcome outcome;
    gavel_lock_outcome released;
    pthread_t thread;
} locking_caller;

void locking_start(locking_caller *caller);
void locking_join(locking_caller *caller);

#endif
