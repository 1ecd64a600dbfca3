/*
 * Locks on a client: the public calls, blocking and attached.
 */
#include "client/client.h"

#include "base/fork.h"
#include "base/text.h"
#include "core/guard.h"

/* ---- Blocking ------------------------------------------------------------------------------ */

static const char *refusal_of(const gavel_client *client, bool wants_blocking)
{
    if (client != NULL && !gavel__guard_is_inside() &&
        client->fork_generation == gavel__fork_generation() &&
        client->platform.is_blocking != wants_blocking)
        return wants_blocking ? "the client is not a blocking one: use gavel_lock_begin_..."
                              : "the client is a blocking one: use the calls that block";
    return gavel__client_refusal(client, wants_blocking);
}

static void settle(gavel__lock_waiter *waiter, gavel_lock_status status, const char *message)
{
    waiter->outcome.status = status;
    gavel__format(waiter->outcome.message, sizeof(waiter->outcome.message), "%s", message);
}

static gavel__lock_caller caller_of(
    gavel_client *client, gavel__lock_waiter *waiter, gavel_lock_done *done, void *user)
{
    const gavel__platform *platform = &client->platform;
    gavel__lock_caller caller = {.done = done, .user = user, .waiter = waiter};
    for (size_t i = 0; i < 4; i++)
        caller.random[i] = platform->entropy(platform->user);
    return caller;
}

/* Under the mutex, around each call: what was lost meanwhile is told first. */
static void enter(gavel_client *client)
{
    pthread_mutex_lock(&client->mutex);
    gavel__client_expire_locks(client);
    gavel__client_now_us(client);
}

static void acquire_locked(
    gavel_client *client, const gavel_lock_request *request, gavel__lock_waiter *waiter)
{
    if (client->is_closing) {
        settle(waiter, GAVEL_LOCK_CANCELLED, "the client is closing");
        return;
    }
    gavel__client_make_locks(client);
    if (!gavel__renewer_start(client)) {
        settle(waiter, GAVEL_LOCK_NOT_SENT, "no thread to renew the lease with");
        return;
    }
    gavel__lock_caller caller = caller_of(client, waiter, NULL, NULL);
    if (gavel__locks_acquire(
            &client->locks, request, &caller, gavel__client_lease_now_us(client)) == NULL)
        settle(waiter, GAVEL_LOCK_NOT_SENT, "no memory");
    else
        gavel__client_await(client, &waiter->base);
}

gavel_lock_outcome gavel_lock_acquire(gavel_client *client, const gavel_lock_request *request)
{
    gavel__lock_waiter waiter = {.base = {.is_done = false}};
    const char *refusal = refusal_of(client, true);
    if (refusal == NULL && request == NULL)
        refusal = "there is no request (NULL)";
    if (refusal != NULL) {
        settle(&waiter, GAVEL_LOCK_INVALID, refusal);
        return waiter.outcome;
    }
    enter(client);
    acquire_locked(client, request, &waiter);
    pthread_mutex_unlock(&client->mutex);
    return waiter.outcome;
}

static gavel_client *client_of(const gavel_lock *lock)
{
    return GAVEL__CONTAINER(lock->locks, gavel_client, locks);
}

/* What a blocking call on a handle begins. False: no memory. */
typedef bool begin_op(gavel_lock *lock, const void *what, const gavel__lock_caller *caller);

static bool begin_extend(gavel_lock *lock, const void *what, const gavel__lock_caller *caller)
{
    const uint32_t *lease_ms = what;
    int64_t now_us = gavel__client_lease_now_us(client_of(lock));
    return gavel__locks_extend(lock, *lease_ms, caller, now_us) != NULL;
}

static const char no_command[] = "there is no command (NULL)";

static bool begin_do(gavel_lock *lock, const void *what, const gavel__lock_caller *caller)
{
    int64_t now_us = gavel__client_lease_now_us(client_of(lock));
    return gavel__locks_do(lock, what, caller, now_us) != NULL;
}

static bool begin_release(gavel_lock *lock, const void *what, const gavel__lock_caller *caller)
{
    (void)what;
    gavel__locks_release(lock, caller, gavel__client_lease_now_us(client_of(lock)));
    return true;
}

static gavel_lock_outcome run(gavel_lock *lock, begin_op *begin, const void *what)
{
    gavel__lock_waiter waiter = {.base = {.is_done = false}};
    const char *refusal = lock != NULL ? refusal_of(client_of(lock), true) : "there is no lock";
    if (refusal != NULL) {
        settle(&waiter, GAVEL_LOCK_INVALID, refusal);
        return waiter.outcome;
    }
    gavel_client *client = client_of(lock);
    int64_t fence = lock->fence;
    enter(client);
    gavel__lock_caller caller = {.waiter = &waiter};
    if (client->is_closing)
        settle(&waiter, GAVEL_LOCK_INVALID, "the client is closing");
    else if (!begin(lock, what, &caller))
        settle(&waiter, GAVEL_LOCK_NOT_SENT, "no memory");
    else
        gavel__client_await(client, &waiter.base);
    pthread_mutex_unlock(&client->mutex);
    waiter.outcome.fence = fence;
    return waiter.outcome;
}

gavel_lock_outcome gavel_lock_extend(gavel_lock *lock, uint32_t lease_ms)
{
    return run(lock, begin_extend, &lease_ms);
}

gavel_lock_outcome gavel_lock_do(gavel_lock *lock, const gavel_lock_command *command)
{
    gavel_lock_outcome outcome = {.status = GAVEL_LOCK_INVALID};
    if (command != NULL)
        return run(lock, begin_do, command);
    gavel__format(outcome.message, sizeof(outcome.message), "%s", no_command);
    return outcome;
}

gavel_lock_outcome gavel_lock_release(gavel_lock *lock)
{
    return run(lock, begin_release, NULL);
}

/* ---- Attached ------------------------------------------------------------------------------ */

/* Logs why not. */
static bool admit(gavel_client *client, const char *call)
{
    const char *refusal = refusal_of(client, false);
    if (refusal == NULL && client->is_closing)
        refusal = "the client is closing";
    if (refusal != NULL)
        gavel__client_log(client, GAVEL_LOG_WARNING, "%s: %s", call, refusal);
    return refusal == NULL;
}

/* The work is done when the loop is about to sleep; what was lost is told then, before all else. */
static bool end_begin(gavel_client *client, bool has_begun, const char *call)
{
    if (!has_begun)
        gavel__client_log(client, GAVEL_LOG_WARNING, "%s: no memory", call);
    gavel__client_await_turn(client);
    return has_begun;
}

gavel_ticket gavel_lock_begin_acquire(
    gavel_client *client, const gavel_lock_request *request, gavel_lock_done *done)
{
    if (!admit(client, "gavel_lock_begin_acquire"))
        return 0;
    if (request == NULL || done == NULL) { /* without it nobody would ever have the handle */
        gavel__client_log(client, GAVEL_LOG_WARNING,
            "gavel_lock_begin_acquire: there is no %s (NULL)",
            request == NULL ? "request" : "callback");
        return 0;
    }
    gavel__client_make_locks(client);
    gavel__lock_caller caller = caller_of(client, NULL, done, request->user);
    gavel_lock *lock =
        gavel__locks_acquire(&client->locks, request, &caller, gavel__client_lease_now_us(client));
    gavel_ticket ticket = lock != NULL ? lock->acquire.ticket : 0;
    end_begin(client, lock != NULL, "gavel_lock_begin_acquire");
    return ticket;
}

bool gavel_lock_cancel(gavel_client *client, gavel_ticket ticket)
{
    if (!admit(client, "gavel_lock_cancel") || !client->has_locks)
        return false;
    gavel__client_await_turn(client);
    return gavel__locks_cancel(&client->locks, ticket, gavel__client_lease_now_us(client));
}

bool gavel_lock_begin_extend(gavel_lock *lock, uint32_t lease_ms, gavel_lock_done *done, void *user)
{
    if (lock == NULL || !admit(client_of(lock), "gavel_lock_begin_extend"))
        return false;
    gavel__lock_caller caller = {.done = done, .user = user};
    return end_begin(
        client_of(lock), begin_extend(lock, &lease_ms, &caller), "gavel_lock_begin_extend");
}

bool gavel_lock_begin_do(
    gavel_lock *lock, const gavel_lock_command *command, gavel_lock_done *done, void *user)
{
    if (lock == NULL || !admit(client_of(lock), "gavel_lock_begin_do"))
        return false;
    if (command == NULL) {
        gavel__client_log(
            client_of(lock), GAVEL_LOG_WARNING, "gavel_lock_begin_do: %s", no_command);
        return false;
    }
    gavel__lock_caller caller = {.done = done, .user = user};
    return end_begin(client_of(lock), begin_do(lock, command, &caller), "gavel_lock_begin_do");
}

bool gavel_lock_begin_release(gavel_lock *lock, gavel_lock_done *done, void *user)
{
    if (lock == NULL || !admit(client_of(lock), "gavel_lock_begin_release"))
        return false;
    gavel_client *client = client_of(lock);
    gavel__lock_caller caller = {.done = done, .user = user};
    return end_begin(client, begin_release(lock, NULL, &caller), "gavel_lock_begin_release");
}

/* ---- What a handle says -------------------------------------------------------------------- */

int64_t gavel_lock_remaining_ms(const gavel_lock *lock)
{
    if (lock == NULL)
        return 0;
    const gavel_client *client = client_of(lock);
    int64_t good_until_us = atomic_load(&lock->good_until_us);
    if (good_until_us == 0 || client->fork_generation != gavel__fork_generation())
        return 0;
    int64_t remaining_us = good_until_us - gavel__client_lease_now_us(client);
    return remaining_us > 0 ? remaining_us / 1000 : 0;
}

int64_t gavel_lock_fence(const gavel_lock *lock)
{
    return lock != NULL ? lock->fence : 0;
}
