/*
 * Holding: from the grant to the end of a lock. Renewals, losses, releases.
 *
 *     WAITING --hold--> GRANTED --lose--> FORFEITED
 *        |                 |                  |
 *        +-----------------+------ end -------+--> ENDING --settle_down--> ENDED
 *        |                                    |                              ^
 *        +------ end: the server has nothing of it ------------------------- +
 *
 * WAITING    in a line; `acquire` is OPEN. Only the first in the line has a call under way (PROBE,
 *            TAKE) or a timer
 * GRANTED    counted in locks->n_held; good_until_us and the timer are set, everywhere else the
 *            former is 0; the caller is to be told, or was, that it is HELD. Calls: RENEW
 * FORFEITED  lost for `reason`; to be told, or told; the program still has the handle. It is
 *            lingering if it expired: then as ENDING
 * ENDING     the program has no handle any more, and it is lingering: the server may still keep the
 *            lock for us, and is told (RELEASE) until it has answered and no grant is under way, or
 *            until no lease that it was ever sent can be left: the timer is not set later than that
 * ENDED      no timer, not lingering. It is freed as soon as no call is under way and all its
 *            operations are told
 */
#include "lock/parts.h"

#include "base/text.h"

#include <assert.h>

static bool is_legal(gavel__lock_state from, gavel__lock_state to)
{
    switch (to) {
    case GAVEL__LOCK_STATE_WAITING:
        return false;
    case GAVEL__LOCK_STATE_GRANTED:
        return from == GAVEL__LOCK_STATE_WAITING;
    case GAVEL__LOCK_STATE_FORFEITED:
        return from == GAVEL__LOCK_STATE_GRANTED;
    case GAVEL__LOCK_STATE_ENDING:
        return from < GAVEL__LOCK_STATE_ENDING;
    case GAVEL__LOCK_STATE_ENDED:
        return from != GAVEL__LOCK_STATE_GRANTED && from != GAVEL__LOCK_STATE_ENDED;
    }
    return false;
}

static void set_state(gavel_lock *lock, gavel__lock_state state)
{
    bool is_allowed = is_legal(lock->state, state);
    assert(is_allowed);
    (void)is_allowed; /* Where assert is nothing. */
    if (lock->state == GAVEL__LOCK_STATE_GRANTED) {
        lock->locks->n_held--;
        atomic_store(&lock->good_until_us, 0);
    }
    if (state == GAVEL__LOCK_STATE_GRANTED)
        lock->locks->n_held++;
    lock->state = state;
}

void gavel__lock_hold(gavel_lock *lock, int64_t fence, int64_t sent_us)
{
    assert(gavel__list_is_empty(&lock->line_node));
    lock->fence = fence;
    lock->message[0] = '\0';
    set_state(lock, GAVEL__LOCK_STATE_GRANTED);
    gavel__lock_set_lease(lock, sent_us, lock->lease_ms);
}

/* ---- Releasing --------------------------------------------------------------------------- */

/* Behind a renewal under way: that one is not waited for. */
void gavel__lock_release(gavel_lock *lock, int64_t now_us)
{
    if (gavel__lock_call_is_sent(lock->call) && lock->call->kind != GAVEL__LOCK_CALL_RELEASE)
        gavel__lock_put_call_aside(lock);
    if (lock->call->state == GAVEL__LOCK_CALL_IDLE && now_us < lock->lingers_until_us) {
        lock->is_given_back = false;
        lock->must_release = false;
        gavel__lock_call_request(lock->call, GAVEL__LOCK_CALL_RELEASE);
    }
    gavel__lock_wake_at(lock, lock->lingers_until_us);
}

/* The server has nothing of it any more, or will not for long. */
void gavel__lock_settle_down(gavel_lock *lock)
{
    lock->is_lingering = false;
    lock->is_given_back = false;
    lock->must_release = false;
    gavel__lock_call_withdraw(lock->call);
    gavel__heap_remove(&lock->locks->lock_timers, &lock->timer);
    if (lock->state == GAVEL__LOCK_STATE_ENDING)
        set_state(lock, GAVEL__LOCK_STATE_ENDED);
    gavel__lock_try_free(lock);
}

void gavel__lock_end(gavel_lock *lock, int64_t now_us)
{
    assert(gavel__list_is_empty(&lock->line_node));
    bool was_held = lock->state == GAVEL__LOCK_STATE_GRANTED;
    gavel__list_remove(&lock->lost_node);
    gavel__lock_call_withdraw(lock->call);
    set_state(
        lock, was_held || lock->is_lingering ? GAVEL__LOCK_STATE_ENDING : GAVEL__LOCK_STATE_ENDED);
    if (lock->state == GAVEL__LOCK_STATE_ENDING) {
        lock->is_lingering = true;
        gavel__lock_release(lock, now_us);
    }
}

/* Whether the server may still grant it: a call put aside asks for that. */
static bool may_be_granted(const gavel_lock *lock)
{
    const gavel__lock_call *aside = &lock->calls[lock->call == lock->calls];
    return gavel__lock_call_is_sent(aside) &&
           (aside->kind == GAVEL__LOCK_CALL_PROBE || aside->kind == GAVEL__LOCK_CALL_TAKE);
}

static void on_given_back(gavel_lock *lock, int64_t now_us)
{
    lock->is_given_back = !lock->must_release && may_be_granted(lock);
    if (lock->must_release)
        gavel__lock_release(lock, now_us);
    else if (!lock->is_given_back)
        gavel__lock_settle_down(lock);
}

void gavel__lock_on_released(gavel_lock *lock, const gavel__lock_answer *answer, int64_t now_us)
{
    gavel__lock_op *op = &lock->release;
    bool is_open = op->state == GAVEL__LOCK_OP_OPEN;
    bool is_foreign = answer->verdict == GAVEL__LOCK_VERDICT_FOREIGN;
    if (!lock->is_lingering) { /* its time was over before the answer came */
        gavel__lock_try_free(lock);
        return;
    }
    switch (answer->verdict) {
    case GAVEL__LOCK_VERDICT_OURS:
        if (is_open)
            gavel__lock_op_settle(op, GAVEL_LOCK_RELEASED, NULL, now_us);
        break;
    case GAVEL__LOCK_VERDICT_ABSENT:
    case GAVEL__LOCK_VERDICT_FOREIGN:
        if (is_open && op->is_doubtful)
            gavel__lock_op_settle(op, GAVEL_LOCK_UNKNOWN,
                "the answer was lost: it was released, or lost just before", now_us);
        else if (is_open)
            gavel__lock_op_settle_lost(op, is_foreign ? GAVEL_LOCK_TAKEN : GAVEL_LOCK_GONE, now_us);
        break;
    case GAVEL__LOCK_VERDICT_ERROR:
    case GAVEL__LOCK_VERDICT_NONSENSE:
        if (gavel__lock_note_error(lock, answer->text)) {
            int64_t again_us = now_us + GAVEL__LOCK_PAUSE_US;
            gavel__lock_wake_at(
                lock, again_us < lock->lingers_until_us ? again_us : lock->lingers_until_us);
            return;
        }
        if (is_open)
            gavel__lock_op_settle(op, GAVEL_LOCK_REJECTED, lock->message, now_us);
        break;
    }
    on_given_back(lock, now_us);
}

/* PROBE or TAKE, which were given up. */
static void on_late_grant(gavel_lock *lock, bool may_be_ours, int64_t now_us)
{
    if (may_be_ours && lock->call->state == GAVEL__LOCK_CALL_IDLE)
        gavel__lock_release(lock, now_us);
    else if (may_be_ours)
        lock->must_release = true;
    else if (lock->is_given_back)
        gavel__lock_settle_down(lock);
}

/* ---- Losing -------------------------------------------------------------------------------- */

void gavel__lock_lose(gavel_lock *lock, gavel_lock_reason reason, int64_t now_us)
{
    set_state(lock, GAVEL__LOCK_STATE_FORFEITED);
    lock->reason = reason;
    gavel__list_append(&lock->locks->lost, &lock->lost_node);
    gavel__lock_call_withdraw(lock->call);
    for (gavel__list *node = lock->ops.next; node != &lock->ops; node = node->next) {
        gavel__lock_op *op = GAVEL__CONTAINER(node, gavel__lock_op, lock_node);
        if (op->state != GAVEL__LOCK_OP_OPEN || !gavel__lock_call_withdraw(&op->call))
            continue;
        gavel__lock_op_settle_lost(op, reason, now_us);
    }
    gavel__heap_remove(&lock->locks->lock_timers, &lock->timer);
    if (reason != GAVEL_LOCK_EXPIRED)
        return;
    /* A renewal may still arrive there: the next one should not have to wait for its end. */
    lock->is_lingering = true;
    gavel__lock_release(lock, now_us);
}

bool gavel__lock_expire(gavel_lock *lock, int64_t now_us)
{
    if (lock->state != GAVEL__LOCK_STATE_GRANTED || now_us < lock->good_until_us)
        return false;
    gavel__lock_lose(lock, GAVEL_LOCK_EXPIRED, now_us);
    return true;
}

/* ---- Renewing ------------------------------------------------------------------------------ */

/* Behind a large reply, say: its answer may well come too late. */
static bool is_late(const gavel_lock *lock, int64_t now_us)
{
    const gavel__lock_call *call = lock->call;
    return gavel__lock_call_is_sent(call) &&
           now_us - call->sent_us >= (lock->good_until_us - call->sent_us) / 2;
}

void gavel__lock_renew(gavel_lock *lock, int64_t now_us)
{
    if (is_late(lock, now_us) && gavel__lock_put_call_aside(lock))
        gavel__strand_cut(&lock->line->strand);
    if (lock->call->state == GAVEL__LOCK_CALL_IDLE)
        gavel__lock_call_request(lock->call, GAVEL__LOCK_CALL_RENEW);
    int64_t pause_us = (lock->good_until_us - now_us) / 2;
    gavel__lock_renew_at(
        lock, now_us + (pause_us > GAVEL__LOCK_PAUSE_US ? pause_us : GAVEL__LOCK_PAUSE_US));
}

void gavel__lock_on_renewed(
    const gavel__lock_call *call, const gavel__lock_answer *answer, int64_t now_us)
{
    gavel_lock *lock = call->lock;
    if (lock->is_lingering) { /* it was released, or given up, while this was under way */
        gavel__lock_release(lock, now_us);
        return;
    }
    if (lock->state != GAVEL__LOCK_STATE_GRANTED) {
        gavel__lock_try_free(lock);
        return;
    }
    switch (answer->verdict) {
    case GAVEL__LOCK_VERDICT_OURS:
        gavel__lock_set_lease(lock, call->sent_us, call->lease_ms);
        break;
    case GAVEL__LOCK_VERDICT_ABSENT:
        gavel__lock_lose(lock, GAVEL_LOCK_GONE, now_us);
        break;
    case GAVEL__LOCK_VERDICT_FOREIGN:
        gavel__lock_lose(lock, GAVEL_LOCK_TAKEN, now_us);
        break;
    case GAVEL__LOCK_VERDICT_ERROR:
    case GAVEL__LOCK_VERDICT_NONSENSE:
        /* Whatever it is, it may be better before the lease is over. */
        gavel__lock_note_error(lock, answer->text);
        gavel__lock_renew_at(lock, now_us + GAVEL__LOCK_PAUSE_US);
        break;
    }
}

void gavel__lock_on_lost_call(gavel_lock *lock, bool was_sent, int64_t now_us)
{
    if (lock->is_lingering) {
        if (was_sent && lock->call->kind == GAVEL__LOCK_CALL_RELEASE)
            lock->release.is_doubtful = true;
        gavel__lock_release(lock, now_us);
    } else if (lock->state == GAVEL__LOCK_STATE_GRANTED) {
        gavel__lock_call_request(lock->call, GAVEL__LOCK_CALL_RENEW);
    } else {
        gavel__lock_try_free(lock);
    }
}

void gavel__lock_on_aside(
    const gavel__lock_call *call, const gavel__lock_answer *answer, bool was_sent, int64_t now_us)
{
    gavel_lock *lock = call->lock;
    bool is_renewal = call->kind == GAVEL__LOCK_CALL_RENEW;
    bool may_be_ours = answer != NULL ? answer->verdict == GAVEL__LOCK_VERDICT_OURS : was_sent;
    if (lock->is_lingering && !is_renewal)
        on_late_grant(lock, may_be_ours, now_us);
    else if (lock->state == GAVEL__LOCK_STATE_GRANTED && answer != NULL)
        gavel__lock_on_renewed(call, answer, now_us);
    else if (lock->is_lingering)
        gavel__lock_release(lock, now_us);
    else
        gavel__lock_try_free(lock);
}

/* ---- Freeing ------------------------------------------------------------------------------- */

static bool is_over(const gavel__lock_op *op)
{
    return op->state == GAVEL__LOCK_OP_NONE || op->state == GAVEL__LOCK_OP_TOLD;
}

void gavel__lock_try_free(gavel_lock *lock)
{
    gavel__locks *locks = lock->locks;
    if (lock->state != GAVEL__LOCK_STATE_ENDED || lock->calls[0].state != GAVEL__LOCK_CALL_IDLE ||
        lock->calls[1].state != GAVEL__LOCK_CALL_IDLE || !is_over(&lock->acquire) ||
        !is_over(&lock->release) || !gavel__list_is_empty(&lock->ops))
        return;
    gavel__list_remove(&lock->node);
    gavel__lock_call_finish(&lock->calls[0]);
    gavel__lock_call_finish(&lock->calls[1]);
    gavel__heap_remove(&locks->lock_timers, &lock->timer);
    if (lock->line != NULL)
        gavel__lock_line_let_go(lock->line);
    gavel__free(locks->config.allocator, lock);
    locks->n_locks--;
}
