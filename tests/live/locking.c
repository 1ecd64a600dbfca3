/* What the tests of locks share: see the header. */
#include "locking.h"

#include <criterion/criterion.h>

#include <pthread.h>

gavel_lock *locking_take(gavel_client *client, uint32_t lease_ms)
{
    gavel_lock_outcome outcome = gavel_lock_acquire(
        client, &(gavel_lock_request){.name = GAVEL_STR("l"), .lease_ms = lease_ms});
    cr_assert_eq(outcome.status, GAVEL_LOCK_HELD, "%s: %s", gavel_lock_status_name(outcome.status),
        outcome.message);
    cr_assert_not_null(outcome.lock);
    return outcome.lock;
}

gavel_lock_outcome locking_try(gavel_client *client)
{
    return gavel_lock_acquire(
        client, &(gavel_lock_request){.name = GAVEL_STR("l"), .is_try = true});
}

void locking_expect_try(gavel_client *client, gavel_lock_status status)
{
    gavel_lock_outcome outcome = locking_try(client);
    cr_expect_eq(
        outcome.status, status, "%s: %s", gavel_lock_status_name(outcome.status), outcome.message);
    if (outcome.lock != NULL)
        locking_expect_released(outcome.lock, GAVEL_LOCK_RELEASED);
}

void locking_expect_released(gavel_lock *lock, gavel_lock_status status)
{
    gavel_lock_outcome outcome = gavel_lock_release(lock);
    cr_expect_eq(
        outcome.status, status, "%s: %s", gavel_lock_status_name(outcome.status), outcome.message);
}

int locking_count_waiters(test_server *server)
{
    redisReply *list = server_command(server, "CLIENT", "LIST", NULL);
    int n_waiters = 0;
    char *end = NULL;
    for (char *line = strtok_r(list->str, "\n", &end); line != NULL;
         line = strtok_r(NULL, "\n", &end))
        n_waiters +=
            live_contains(line, " name=wait:gavel:lock:") && live_contains(line, " flags=b");
    freeReplyObject(list);
    return n_waiters;
}

void locking_await_waiters(test_server *server, int n)
{
    while (locking_count_waiters(server) != n)
        continue;
}

void locking_on_lost(gavel_lock *lock, gavel_lock_reason reason, void *user)
{
    locking_losses *losses = user;
    cr_expect_eq(gavel_lock_remaining_ms(lock), 0);
    losses->reason = (int)reason;
    losses->n_lost++;
}

void locking_await_loss(locking_losses *losses)
{
    while (losses->n_lost == 0)
        continue;
}

static void *call(void *argument)
{
    locking_caller *self = argument;
    gavel_bytes name = gavel_str(self->name != NULL ? self->name : "l");
    self->outcome = gavel_lock_acquire(
        self->client, &(gavel_lock_request){.name = name, .wait_ms = self->wait_ms});
    if (self->outcome.status != GAVEL_LOCK_HELD)
        return NULL;
    if (self->n_granted != NULL)
        self->place = ++*self->n_granted;
    self->released = gavel_lock_release(self->outcome.lock);
    return NULL;
}

void locking_start(locking_caller *caller)
{
    cr_assert_eq(pthread_create(&caller->thread, NULL, call, caller), 0);
}

void locking_join(locking_caller *caller)
{
    pthread_join(caller->thread, NULL);
}
