/*
 * The renewer: a blocking client's thread that looks after leases while no caller is there to do
 * it.
 *
 * It is started with the first lock. While callers are inside the client, renewals ride along with
 * their work and the renewer sleeps. Else it sleeps until the next renewal is due, and then drives
 * the client as a caller would, until that is answered. It ends when there has been no lock for a
 * while, and before the client is freed.
 */
#include "client/client.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

/* Locks come and go: a thread for each would cost more than one that stays for a moment. */
static const int64_t idle_us = 1000000;

static bool has_work(const gavel_client *client)
{
    return client->locks.n_locks > 0;
}

/* Sleeps until that time on the loop's clock, or until it is woken; false when the time is over.
 */
static bool sleep_until(gavel_client *client, int64_t due_us)
{
    int64_t wait_us = due_us - client->loop->ops->now_us(client->loop);
    struct timespec until;
    client->renewer_due_us = due_us;
    if (due_us == GAVEL__NEVER) {
        pthread_cond_wait(&client->renewer_cond, &client->mutex);
        return true;
    }
    if (wait_us <= 0)
        return false;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t until_us = (int64_t)until.tv_sec * 1000000 + until.tv_nsec / 1000 + wait_us;
    until.tv_sec = (time_t)(until_us / 1000000);
    until.tv_nsec = (long)(until_us % 1000000) * 1000;
    return pthread_cond_timedwait(&client->renewer_cond, &client->mutex, &until) != ETIMEDOUT;
}

static bool is_idle(gavel_client *client)
{
    int64_t now_us = client->loop->ops->now_us(client->loop);
    return gavel__locks_are_idle(&client->locks) &&
           gavel__client_locks_due_us(client, now_us) > now_us;
}

static void drive(gavel_client *client)
{
    gavel__waiter waiter = {.is_done = false};
    client->renewer_waiter = &waiter;
    gavel__client_await(client, &waiter);
    client->renewer_waiter = NULL;
}

/* When the renewer wants to be awake, with no callers inside. */
static int64_t wanted_us(const gavel_client *client)
{
    int64_t now_us = client->loop->ops->now_us(client->loop);
    return has_work(client) ? gavel__client_locks_due_us(client, now_us) : now_us + idle_us;
}

/* False: nothing has come for a while. */
static bool renew(gavel_client *client)
{
    if (client->n_waiters > 0)
        sleep_until(client, GAVEL__NEVER); /* until they leave */
    else if (!has_work(client))
        return sleep_until(client, wanted_us(client)) || has_work(client);
    else if (is_idle(client))
        sleep_until(client, wanted_us(client));
    else
        drive(client);
    return true;
}

static void *run_renewer(void *argument)
{
    gavel_client *client = argument;
    pthread_mutex_lock(&client->mutex);
    while (!client->is_closing && renew(client))
        continue;
    client->renewer_state = GAVEL__RENEWER_ENDED;
    pthread_mutex_unlock(&client->mutex);
    return NULL;
}

bool gavel__renewer_start(gavel_client *client)
{
    sigset_t all;
    sigset_t before;
    if (client->renewer_state == GAVEL__RENEWER_RUNNING)
        return true;
    if (client->renewer_state == GAVEL__RENEWER_ENDED)
        pthread_join(client->renewer, NULL);
    client->renewer_state = GAVEL__RENEWER_NONE;
    /* The program's signals are for the program's threads. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&client->renewer, NULL, run_renewer, client) == 0)
        client->renewer_state = GAVEL__RENEWER_RUNNING;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return client->renewer_state == GAVEL__RENEWER_RUNNING;
}

void gavel__renewer_join(gavel_client *client)
{
    pthread_mutex_lock(&client->mutex);
    bool has_renewer = client->renewer_state != GAVEL__RENEWER_NONE;
    pthread_mutex_unlock(&client->mutex);
    if (has_renewer)
        pthread_join(client->renewer, NULL);
    client->renewer_state = GAVEL__RENEWER_NONE;
}

void gavel__renewer_wake(gavel_client *client)
{
    if (client->renewer_state != GAVEL__RENEWER_RUNNING || client->renewer_waiter != NULL)
        return;
    if (client->is_closing ||
        (client->n_waiters == 0 && wanted_us(client) < client->renewer_due_us))
        pthread_cond_signal(&client->renewer_cond);
}

void gavel__renewer_end_waits(gavel_client *client)
{
    if (client->closer != NULL && client->locks.n_ops == 0 &&
        gavel__list_is_empty(&client->locks.done))
        gavel__client_end_wait(client, client->closer);
    if (client->renewer_waiter != NULL &&
        (client->is_closing || client->n_waiters > 1 || is_idle(client)))
        gavel__client_end_wait(client, client->renewer_waiter);
}
