/*
 * Operations: what callers asked for, and what they are to be told, once.
 *
 *     NONE --open--> OPEN --settle--> SETTLED --told--> TOLD
 *
 * NONE      a release that nobody has asked for
 * OPEN      counted in locks->n_ops. Its timer is set to the deadline; that of an acquire which is
 *           overdue, or taken back, to when the answer that decides is no more waited for
 * SETTLED   the outcome stands, and the op is among locks->done; no timer
 * TOLD      in no list of those to be told. EXTEND and DO are freed when their call is back, the
 *           others with their lock
 */
#include "lock/parts.h"

#include "base/text.h"

#include <assert.h>

static void set_state(gavel__lock_op *op, gavel__lock_op_state state)
{
    assert(state == op->state + 1);
    if (op->state == GAVEL__LOCK_OP_OPEN)
        op->lock->locks->n_ops--;
    if (state == GAVEL__LOCK_OP_OPEN)
        op->lock->locks->n_ops++;
    op->state = state;
}

const char *gavel__lock_trouble(const gavel_lock *lock)
{
    const char *trouble =
        gavel__questions_trouble(lock->locks->config.questions, lock->call->question.slot);
    if (trouble[0] != '\0')
        return trouble;
    if (lock->call->question.n_redirects > 0)
        return "no node of the Cluster serves the lock's slot (CLUSTERDOWN, MOVED or TRYAGAIN)";
    return "no connection in time";
}

void gavel__lock_op_open(gavel__lock_op *op, const gavel__lock_caller *caller, int64_t now_us)
{
    set_state(op, GAVEL__LOCK_OP_OPEN);
    op->begun_us = now_us;
    op->done = caller->done;
    op->user = caller->user;
    op->waiter = caller->waiter;
}

void gavel__lock_op_settle(
    gavel__lock_op *op, gavel_lock_status status, const char *message, int64_t now_us)
{
    gavel__locks *locks = op->lock->locks;
    if (op->state != GAVEL__LOCK_OP_OPEN)
        return;
    set_state(op, GAVEL__LOCK_OP_SETTLED);
    op->outcome.status = status;
    op->outcome.elapsed_us = now_us - op->begun_us;
    if (message != NULL)
        gavel__format(op->outcome.message, sizeof(op->outcome.message), "%s", message);
    gavel__heap_remove(&locks->op_timers, &op->timer);
    gavel__list_append(&locks->done, &op->node);
}

void gavel__lock_op_settle_lost(gavel__lock_op *op, gavel_lock_reason reason, int64_t now_us)
{
    if (op->state == GAVEL__LOCK_OP_OPEN)
        op->outcome.reason = reason;
    gavel__lock_op_settle(op, GAVEL_LOCK_LOST, gavel_lock_reason_meaning(reason), now_us);
}

void gavel__lock_op_told(gavel__lock_op *op)
{
    assert(gavel__list_is_empty(&op->node));
    set_state(op, GAVEL__LOCK_OP_TOLD);
}
