/*
 * The locks' side of the pump: their clock, and what is told of them. For the pump and locking.c.
 */
#include "client/client.h"

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

void gavel__client_make_locks(gavel_client *client)
{
    const gavel__platform *platform = &client->platform;
    if (client->has_locks)
        return;
    client->has_locks = true;
    gavel__locks_init(
        &client->locks, &(gavel__locks_config){
                            .allocator = &client->allocator,
                            .reply_allocator = client->engine.context.reply_allocator,
                            .questions = &client->engine.questions,
                            .key_prefix = client->key_prefix,
                            .is_cluster = client->engine.config.is_cluster,
                            .holder = client->holder,
                            .read_clock = read_clock,
                            .clock = client,
                            .timeout_us = client->site.link_config.connect_timeout_us +
                                          client->site.link_config.command_timeout_us,
                            .answer_us = client->site.link_config.command_timeout_us,
                            .seed = client->engine.config.seed ^ platform->entropy(platform->user),
                        });
}

/* ---- To the callers ------------------------------------------------------------------------ */

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
        gavel__lock_waiter *waiter = op->waiter;
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

bool gavel__client_has_overdue_lock(const gavel_client *client)
{
    return client->has_locks &&
           gavel__locks_has_overdue(&client->locks, gavel__client_lease_now_us(client));
}

void gavel__client_advance_locks(gavel_client *client, bool may_end_overdue)
{
    if (!client->has_locks)
        return;
    gavel__locks_expire(&client->locks, gavel__client_lease_now_us(client));
    tell_lost(client);
    if (may_end_overdue)
        gavel__locks_advance(&client->locks, gavel__client_lease_now_us(client));
}
