/*
 * Blocking clients: gavel_run, from any number of threads.
 *
 * There is no thread behind the client. A caller does one of three things while it waits:
 *
 *     alone          sleeps in recv on the one link that owes it replies: no loop, no hop
 *     as the driver  turns the loop for everybody
 *     otherwise      sleeps on its own condition until it is told, or is to take the driver's place
 */
#include "client/client.h"

#include "base/text.h"
#include "client/sentinels.h"

typedef struct run_waiter {
    gavel__waiter base;
    gavel_outcome outcome;
} run_waiter;

/* How far away the next timer must be for a sleep of 10 ms outside the loop to do no harm. */
static const int64_t min_sleep_us = 15000;

void gavel__client_tell_waiter(gavel_client *client, gavel__transaction *transaction)
{
    run_waiter *waiter = transaction->waiter;
    waiter->outcome = transaction->outcome;
    gavel__client_end_wait(client, &waiter->base);
}

bool gavel__client_is_driver_done(const gavel_client *client)
{
    return client->driver != NULL && client->driver->is_done;
}

/* ---- Alone --------------------------------------------------------------------------------- */

/* Whether the loop has to be turned for the sake of Sentinels: they are asked, or may have said
 * something unasked. */
static bool has_to_hear_peers(const gavel_client *client, int64_t now_us)
{
    return client->peers != NULL &&
           (gavel__peers_are_asked(client) || now_us - client->turned_us > min_sleep_us ||
               gavel__peers_due_us(client) < now_us + min_sleep_us);
}

/* The only link that anything is expected of, if the caller may sleep on it; else NULL. */
static gavel__connection *only_busy_link(gavel_client *client)
{
    if (client->n_waiters != 1 || client->driver != NULL)
        return NULL;
    gavel__connection *busy = NULL;
    for (gavel__connection *connection = client->connections; connection != NULL;
         connection = connection->next) {
        if (connection->lane->state == GAVEL__LANE_WANTED ||
            connection->lane->state == GAVEL__LANE_DIALLING)
            return NULL;
        if (gavel__link_n_expected(connection->link) == 0)
            continue;
        if (busy != NULL || gavel__lane_may_be_silent(connection->lane))
            return NULL;
        busy = connection;
    }
    if (busy == NULL || !gavel__link_can_wait(busy->link) || gavel__link_wants_write(busy->link))
        return NULL;
    int64_t now_us = gavel__client_now_us(client);
    int64_t awake_us = now_us + min_sleep_us;
    if (has_to_hear_peers(client, now_us) || client->engine.trusted_until_us < awake_us ||
        gavel__engine_due_us(&client->engine) < awake_us ||
        gavel__client_locks_due_us(client, now_us) < awake_us ||
        gavel__link_due_us(busy->link) < awake_us)
        return NULL;
    return busy;
}

static void sleep_on_link(gavel_client *client, gavel__connection *connection)
{
    connection->is_slept_on = true;
    pthread_mutex_unlock(&client->mutex);
    gavel__link_wait(connection->link);
    pthread_mutex_lock(&client->mutex);
    connection->is_slept_on = false;
    gavel__client_expire_locks(client);
    gavel__link_deliver(connection->link, gavel__client_now_us(client));
    gavel__client_pump(client);
    if (client->driver != NULL)
        gavel__client_watch(client); /* it was not the driver's to watch meanwhile */
}

/* ---- Together ------------------------------------------------------------------------------ */

static void wake_driver(gavel_client *client)
{
    if (client->driver != NULL && client->needs_wake)
        client->loop->ops->wake(client->loop);
    client->needs_wake = false;
}

static void turn_loop(gavel_client *client, gavel__waiter *waiter)
{
    client->driver = waiter;
    client->loop->ops->turn(client->loop);
    client->turned_us = client->now_us;
    gavel__client_pump(client); /* it may have brought what the driver waits for */
    client->driver = NULL;
    client->needs_wake = false;
}

/* Somebody has to turn the loop for those who still wait; who sleeps on a link does not hear of it.
 */
static void hand_over(gavel_client *client)
{
    if (client->driver != NULL)
        return;
    for (gavel__list *node = client->waiters.next; node != &client->waiters; node = node->next) {
        gavel__waiter *waiter = GAVEL__CONTAINER(node, gavel__waiter, node);
        if (waiter->is_asleep) {
            pthread_cond_signal(&waiter->told);
            return;
        }
    }
}

static void sleep_until_told(gavel_client *client, gavel__waiter *waiter)
{
    waiter->is_asleep = true;
    pthread_cond_wait(&waiter->told, &client->mutex);
    waiter->is_asleep = false;
}

static void wait_until_done(gavel_client *client, gavel__waiter *waiter)
{
    while (!waiter->is_done) {
        gavel__connection *connection = only_busy_link(client);
        if (connection != NULL)
            sleep_on_link(client, connection);
        else if (client->driver == NULL)
            turn_loop(client, waiter);
        else
            sleep_until_told(client, waiter);
        wake_driver(client);
    }
}

static void enter(gavel_client *client, gavel__waiter *waiter)
{
    pthread_cond_init(&waiter->told, NULL);
    waiter->is_asleep = false;
    gavel__list_append(&client->waiters, &waiter->node);
    client->n_waiters++;
}

static void leave(gavel_client *client, gavel__waiter *waiter)
{
    gavel__list_remove(&waiter->node);
    client->n_waiters--;
    pthread_cond_destroy(&waiter->told);
    hand_over(client);
    gavel__renewer_wake(client);
    if (client->is_closing && client->n_waiters == 0)
        pthread_cond_signal(&client->left);
}

void gavel__client_await(gavel_client *client, gavel__waiter *waiter)
{
    enter(client, waiter);
    gavel__client_pump(client);
    if (client->driver != NULL) {
        gavel__client_watch(client);
        wake_driver(client);
    }
    wait_until_done(client, waiter);
    leave(client, waiter);
}

static void run_locked(gavel_client *client, const gavel_transaction *request, run_waiter *waiter)
{
    if (client->is_closing) {
        gavel__format(waiter->outcome.message, sizeof(waiter->outcome.message), "%s",
            "the client is closing");
        return;
    }
    gavel__transaction *transaction =
        gavel__engine_submit(&client->engine, request, gavel__client_now_us(client));
    if (transaction == NULL) {
        waiter->outcome.status = GAVEL_NOT_SENT;
        gavel__format(waiter->outcome.message, sizeof(waiter->outcome.message), "%s", "no memory");
        return;
    }
    transaction->waiter = waiter;
    gavel__client_await(client, &waiter->base);
}

gavel_outcome gavel_run(gavel_client *client, const gavel_transaction *transaction)
{
    run_waiter waiter = {.base = {.is_done = false}};
    const char *refusal = gavel__client_refusal(client, true);
    if (refusal != NULL) {
        gavel__format(waiter.outcome.message, sizeof(waiter.outcome.message), "%s", refusal);
        return waiter.outcome;
    }
    pthread_mutex_lock(&client->mutex);
    run_locked(client, transaction, &waiter);
    pthread_mutex_unlock(&client->mutex);
    return waiter.outcome;
}
