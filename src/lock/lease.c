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
int64_t gavel__lock_end_of_lease(const gavel_lock *lock, int64_t sent_us)
{
    int64_t lease_ms = lock->lease_ms;
    return sent_us + lease_ms * 1000 - lease_ms - 1000;
}

static void watch(gavel_lock *lock)
{
    gavel__lock_wake_at(
        lock, lock->renew_us < lock->good_until_us ? lock->renew_us : lock->good_until_us);
}

void gavel__lock_set_lease(gavel_lock *lock, int64_t sent_us)
{
    assert(lock->state == GAVEL__LOCK_STATE_GRANTED);
    atomic_store(&lock->good_until_us, gavel__lock_end_of_lease(lock, sent_us));
    lock->renew_us = lock->is_fixed ? GAVEL__NEVER : sent_us + (int64_t)lock->lease_ms * 1000 / 3;
    watch(lock);
}

void gavel__lock_renew_at(gavel_lock *lock, int64_t due_us)
{
    assert(lock->state == GAVEL__LOCK_STATE_GRANTED);
    lock->renew_us = due_us;
    watch(lock);
}

void gavel__lock_shorten_lease(gavel_lock *lock, int64_t sent_us)
{
    int64_t end_us = gavel__lock_end_of_lease(lock, sent_us);
    if (lock->state == GAVEL__LOCK_STATE_GRANTED && end_us < lock->good_until_us) {
        atomic_store(&lock->good_until_us, end_us);
        gavel__lock_wake_at(lock, end_us);
    }
}
