/*
 * Locks on a client: the public calls, blocking and attached, and what the pump does for them.
 */
#include "client/client.h"

#include "base/fork.h"
#include "base/text.h"
#include "core/guard.h"

/* ---- Time ---------------------------------------------------------------------------------- */

int64_t gavel__client_lease_now_us(const gavel_client *client)
{
    const gavel__platform *platform = &client->platform;
    if (platform->lease_now_us != NULL)
        return platform->lease_now_us(platform->user);
    return client->loop->ops->now_us(client->loop);
}

int64_t gavel__client_locks_due_us(const gavel_client *client, int64_t now_us)
{
    if (!client->has_locks)
        return GAVEL__NEVER;
    int64_t due_us = gavel__locks_due_us(&client->locks);
    if (due_us == GAVEL__NEVER)
        return GAVEL__NEVER;
    return now_us + (due_us - gavel__client_lease_now_us(client));
}

/* ---- Making them --------------------------------------------------------------------------- */

static int64_t read_clock(void *clock)
{
    return gavel__client_lease_now_us(clock);
}

/* With the first lock; a client that has none pays nothing. */
static void make_locks(gavel_client *client)
{
    const gavel__platform *platform = &client->platform;
    if (client->has_locks)
        return;
    client->has_locks = true;
    gavel__locks_init(&client->locks,
        &(gavel__locks_config){
            .allocator = &client->allocator,
            .questions = &client->engine.questions,
            .key_prefix = client->key_prefix,
            .holder = client->holder,
            .read_clock = read_clock,
            .clock = client,
            .timeout_us =
                client->link_config.connect_timeout_us + client->link_config.command_timeout_us,
            .seed = client->engine.config.seed ^ platform->entropy(platform->user),
        });
}

/* ---- To the callers ------------------------------------------------------------------------ */

typedef struct lock_waiter {
    gavel__waiter base;
    gavel_lock_outcome outcome;
} lock_waiter;

static void tell_lost(gavel_client *client)
{
    for (gavel_lock *lock; (lock = gavel__locks_take_lost(&client->locks)) != NULL;) {
        if (lock->on_lost == NULL)
            continue;
        client->has_told = true;
        /* Another caller's thread runs this, in the midst of its own call. */
        bool is_guarded = client->platform.is_blocking;
        if (is_guarded)
            gavel__guard_enter();
        lock->on_lost(lock, lock->reason, lock->user);
        if (is_guarded)
            gavel__guard_leave();
    }
}

static void tell_op(gavel_client *client, gavel__lock_op *op)
{
    if (op->waiter != NULL) {
        lock_waiter *waiter = op->waiter;
        waiter->outcome = op->outcome;
        gavel__client_end_wait(client, &waiter->base);
    } else {
        if (op->done != NULL)
            op->done(&op->outcome, op->user);
        gavel_lock_outcome_clear(&op->outcome);
    }
    op->outcome.reply = NULL;
    gavel__locks_drop_op(op);
}

void gavel__client_tell_locks(gavel_client *client)
{
    if (!client->has_locks)
        return;
    tell_lost(client);
    for (gavel__lock_op *op; (op = gavel__locks_take_done(&client->locks)) != NULL;) {
        client->has_told = true;
        tell_op(client, op);
        tell_lost(client);
    }
}

void gavel__client_expire_locks(gavel_client *client)
{
    if (!client->has_locks || client->is_pumping)
        return;
    gavel__locks_expire(&client->locks, gavel__client_lease_now_us(client));
    client->is_pumping = true; /* a callback may close the client, which must not go just now */
    tell_lost(client);
    client->is_pumping = false;
}

void gavel__client_advance_locks(gavel_client *client)
{
    if (!client->has_locks)
        return;
    gavel__locks_expire(&client->locks, gavel__client_lease_now_us(client));
    tell_lost(client);
    gavel__locks_advance(&client->locks, gavel__client_lease_now_us(client));
}

/* ---- Blocking ------------------------------------------------------------------------------ */

static const char *refusal_of(const gavel_client *client, bool wants_blocking)
{
    if (!gavel__guard_is_inside() && client->fork_generation == gavel__fork_generation() &&
        client->platform.is_blocking != wants_blocking)
        return wants_blocking ? "the client is attached to a loop: use gavel_lock_begin_..."
                              : "the client is a blocking one: use the calls that block";
    return gavel__client_refusal(client, wants_blocking);
}

static void settle(lock_waiter *waiter, gavel_lock_status status, const char *message)
{
    waiter->outcome.status = status;
    gavel__format(waiter->outcome.message, sizeof(waiter->outcome.message), "%s", message);
}

static gavel__lock_caller caller_of(
    gavel_client *client, lock_waiter *waiter, gavel_lock_done *done, void *user)
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
    gavel_client *client, const gavel_lock_request *request, lock_waiter *waiter)
{
    if (client->is_closing) {
        settle(waiter, GAVEL_LOCK_CANCELLED, "the client is closing");
        return;
    }
    make_locks(client);
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
    lock_waiter waiter = {.base = {.is_done = false}};
    const char *refusal = refusal_of(client, true);
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
    lock_waiter waiter = {.base = {.is_done = false}};
    const char *refusal = lock != NULL ? refusal_of(client_of(lock), true) : "there is no lock";
    if (refusal != NULL) {
        settle(&waiter, GAVEL_LOCK_INVALID, refusal);
        return waiter.outcome;
    }
    gavel_client *client = client_of(lock);
    uint64_t fence = lock->fence;
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
    return run(lock, begin_do, command);
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
    client->has_news = true;
    if (!client->is_busy)
        gavel__client_watch(client); /* keeps ev_run, and so on_turn, going */
    return has_begun;
}

gavel_ticket gavel_lock_begin_acquire(
    gavel_client *client, const gavel_lock_request *request, gavel_lock_done *done)
{
    if (!admit(client, "gavel_lock_begin_acquire"))
        return 0;
    make_locks(client);
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
    client->has_news = true;
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

/* ---- What a handle says
 * ------------------------------------------------------------------------------- */

int64_t gavel_lock_remaining_ms(const gavel_lock *lock)
{
    const gavel_client *client = client_of(lock);
    int64_t good_until_us = atomic_load(&lock->good_until_us);
    if (good_until_us == 0 || client->fork_generation != gavel__fork_generation())
        return 0;
    int64_t remaining_us = good_until_us - gavel__client_lease_now_us(client);
    return remaining_us > 0 ? remaining_us / 1000 : 0;
}

uint64_t gavel_lock_fence(const gavel_lock *lock)
{
    return lock->fence;
}
