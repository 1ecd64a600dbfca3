/*
 * Operations: what callers asked for, and what they are to be told, once.
 */
#include "lock/parts.h"

#include "base/text.h"

void gavel__lock_op_open(gavel__lock_op *op, const gavel__lock_caller *caller, int64_t now_us)
{
    op->state = GAVEL__LOCK_OP_OPEN;
    op->begun_us = now_us;
    op->done = caller->done;
    op->user = caller->user;
    op->waiter = caller->waiter;
    op->lock->locks->n_ops++;
}

void gavel__lock_op_settle(
    gavel__lock_op *op, gavel_lock_status status, const char *message, int64_t now_us)
{
    gavel__locks *locks = op->lock->locks;
    if (op->state != GAVEL__LOCK_OP_OPEN)
        return;
    op->state = GAVEL__LOCK_OP_SETTLED;
    op->outcome.status = status;
    op->outcome.elapsed_us = now_us - op->begun_us;
    if (message != NULL)
        gavel__format(op->outcome.message, sizeof(op->outcome.message), "%s", message);
    gavel__heap_remove(&locks->op_timers, &op->timer);
    gavel__list_append(&locks->done, &op->node);
    locks->n_ops--;
}

void gavel__lock_op_settle_lost(gavel__lock_op *op, gavel_lock_reason reason, int64_t now_us)
{
    op->outcome.reason = reason;
    gavel__lock_op_settle(op, GAVEL_LOCK_LOST, gavel_lock_reason_meaning(reason), now_us);
}
