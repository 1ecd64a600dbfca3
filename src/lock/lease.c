/*
 * Leases: for how long a lock is held for certain on our clock, and when to look at it again.
 */
#include "lock/parts.h"

#include <assert.h>

void gavel__lock_wake_at(gavel_lock *lock, int64_t due_us)
{
    gavel__heap_set(&lock->locks->lock_timers, &lock->timer, due_us);
}

/* Less what two clocks may disagree by, and the part of a millisecond that the server's drops. */
int64_t gavel__lock_end_of_lease(int64_t sent_us, uint32_t lease_ms)
{
    return sent_us + (int64_t)lease_ms * 1000 - lease_ms - 1000;
}

static void watch(gavel_lock *lock)
{
    gavel__lock_wake_at(
        lock, lock->renew_us < lock->good_until_us ? lock->renew_us : lock->good_until_us);
}

static bool prolongs(const gavel__lock_call *call)
{
    return gavel__lock_call_is_sent(call) && call->lease_ms != 0;
}

void gavel__lock_linger(const gavel__lock_call *call, bool is_lost)
{
    gavel_lock *lock = call->lock;
    int64_t lease_us = (int64_t)call->lease_ms * 1000 + call->lease_ms + 1000;
    int64_t until_us = gavel__locks_now_us(lock->locks) + lease_us;
    if (is_lost)
        until_us += lock->locks->config.timeout_us;
    if (call->lease_ms != 0 && until_us > lock->lingers_until_us)
        lock->lingers_until_us = until_us;
}

void gavel__lock_linger_on(gavel_lock *lock)
{
    for (size_t i = 0; i < 2; i++) {
        if (prolongs(&lock->calls[i]))
            gavel__lock_linger(&lock->calls[i], false);
    }
    for (gavel__list *node = lock->ops.next; node != &lock->ops; node = node->next) {
        const gavel__lock_op *op = GAVEL__CONTAINER(node, const gavel__lock_op, lock_node);
        if (prolongs(&op->call))
            gavel__lock_linger(&op->call, false);
    }
}

/* The end of what was granted to a call sent at that time, if this one, which is not answered yet,
 * may have come after it. */
static int64_t cap(int64_t end_us, int64_t sent_us, const gavel__lock_call *call)
{
    if (!prolongs(call))
        return end_us;
    int64_t other_us =
        gavel__lock_end_of_lease(sent_us > call->sent_us ? sent_us : call->sent_us, call->lease_ms);
    return other_us < end_us ? other_us : end_us;
}

void gavel__lock_set_lease(gavel_lock *lock, int64_t sent_us, uint32_t lease_ms)
{
    assert(lock->state == GAVEL__LOCK_STATE_GRANTED);
    int64_t end_us = gavel__lock_end_of_lease(sent_us, lease_ms);
    end_us = cap(end_us, sent_us, &lock->calls[0]);
    end_us = cap(end_us, sent_us, &lock->calls[1]);
    for (const gavel__list *node = lock->ops.next; node != &lock->ops; node = node->next) {
        const gavel__lock_op *op = GAVEL__CONTAINER(node, const gavel__lock_op, lock_node);
        end_us = cap(end_us, sent_us, &op->call);
    }
    if (end_us >= lock->good_until_us) {
        atomic_store(&lock->good_until_us, end_us);
        lock->renew_us = lock->is_fixed ? GAVEL__NEVER : sent_us + (int64_t)lease_ms * 1000 / 3;
    }
    watch(lock);
}

void gavel__lock_renew_at(gavel_lock *lock, int64_t due_us)
{
    assert(lock->state == GAVEL__LOCK_STATE_GRANTED);
    lock->renew_us = due_us;
    watch(lock);
}

void gavel__lock_shorten_lease(gavel_lock *lock, int64_t sent_us, uint32_t lease_ms)
{
    int64_t end_us = gavel__lock_end_of_lease(sent_us, lease_ms);
    if (lock->state != GAVEL__LOCK_STATE_GRANTED || end_us >= lock->good_until_us)
        return;
    int64_t renew_us = sent_us + (int64_t)lease_ms * 1000 / 3;
    atomic_store(&lock->good_until_us, end_us);
    if (!lock->is_fixed && renew_us < lock->renew_us)
        lock->renew_us = renew_us;
    watch(lock);
}
