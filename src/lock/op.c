/*
 * Operations: what callers asked for, and what they are to be told, once.
 */
#include "lock/parts.h"

#include "base/text.h"
#include "core/outcome.h"

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
    op->state = GAVEL__LOCK_OP_DONE;
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

/* ---- Extend and do ------------------------------------------------------------------------- */

static void on_held(gavel__lock_op *op, const gavel__lock_answer *answer, int64_t now_us)
{
    if (op->state != GAVEL__LOCK_OP_OPEN)
        return;
    if (answer->reply != NULL && answer->reply->type == GAVEL_REPLY_ERROR) {
        char shown[GAVEL_MESSAGE_SIZE];
        gavel__lock_op_settle(op, GAVEL_LOCK_REJECTED,
            gavel__printable(answer->reply->text, shown, sizeof(shown)), now_us);
        return;
    }
    const char *message = NULL;
    gavel_outcome kept = {.replies = NULL};
    if (op->keep_reply && answer->reply != NULL &&
        !gavel__outcome_keep_replies(&kept, op->lock->locks->config.allocator, answer->reply, 1))
        message = "it was run, and there was no memory for the reply";
    op->outcome.reply = kept.replies;
    gavel__lock_op_settle(op, GAVEL_LOCK_HELD, message, now_us);
}

static void free_op(gavel__lock_op *op)
{
    gavel_lock *lock = op->lock;
    gavel__locks *locks = lock->locks;
    gavel__list_remove(&op->lock_node);
    gavel__heap_remove(&locks->op_timers, &op->timer);
    gavel__buffer_finish(&op->wire);
    gavel__free(locks->config.allocator, op);
    gavel__lock_try_free(lock);
}

static void on_extended(gavel_lock *lock, int64_t sent_us)
{
    if (lock->state != GAVEL__LOCK_GRANTED)
        return;
    gavel__lock_set_lease(lock, sent_us);
    gavel__lock_wake_at(lock, sent_us); /* looked at anew */
}

static void settle_on_answer(gavel__lock_op *op, const gavel__lock_answer *answer, int64_t now_us)
{
    gavel_lock *lock = op->lock;
    bool is_foreign = answer->verdict == GAVEL__LOCK_FOREIGN;
    gavel_lock_reason reason = is_foreign ? GAVEL_LOCK_TAKEN : GAVEL_LOCK_GONE;
    switch (answer->verdict) {
    case GAVEL__LOCK_OURS:
        on_held(op, answer, now_us);
        break;
    case GAVEL__LOCK_ABSENT:
    case GAVEL__LOCK_FOREIGN:
        if (lock->state == GAVEL__LOCK_GRANTED)
            gavel__lock_lose(lock, reason, now_us);
        gavel__lock_op_settle_lost(op, reason, now_us);
        break;
    case GAVEL__LOCK_ERROR:
    case GAVEL__LOCK_NONSENSE:
        gavel__lock_on_error(lock, answer->text);
        gavel__lock_op_settle(op, GAVEL_LOCK_REJECTED, lock->message, now_us);
        break;
    }
}

void gavel__lock_op_on_answer(
    gavel__lock_op *op, const gavel__lock_answer *answer, int64_t sent_us, int64_t now_us)
{
    if (op->kind == GAVEL__LOCK_EXTEND && answer->verdict == GAVEL__LOCK_OURS)
        on_extended(op->lock, sent_us);
    settle_on_answer(op, answer, now_us);
    if (op->state == GAVEL__LOCK_OP_TOLD)
        free_op(op);
}

void gavel__lock_op_on_lost_call(gavel__lock_op *op, bool was_sent, int64_t now_us)
{
    gavel_lock *lock = op->lock;
    op->is_doubtful = op->is_doubtful || was_sent;
    if (op->state == GAVEL__LOCK_OP_TOLD)
        free_op(op);
    else if (op->state != GAVEL__LOCK_OP_OPEN)
        return;
    else if (lock->state == GAVEL__LOCK_FORFEITED && !was_sent)
        gavel__lock_op_settle_lost(op, lock->reason, now_us);
    else if (op->kind == GAVEL__LOCK_DO && was_sent)
        gavel__lock_op_settle(
            op, GAVEL_LOCK_UNKNOWN, "the command was sent, and its answer was lost", now_us);
    else
        gavel__lock_call_request(lock->locks, &op->call, GAVEL__LOCK_USER);
}

/* ---- Deadlines ----------------------------------------------------------------------------- */

static void on_patience_end(gavel__lock_op *op, gavel__lock_call *call, int64_t now_us)
{
    bool is_sent = op->is_doubtful || call->state == GAVEL__LOCK_CALL_IN_FLIGHT;
    gavel__locks *locks = op->lock->locks;
    const char *trouble = locks->trouble[0] != '\0' ? locks->trouble : "no connection in time";
    if (is_sent)
        gavel__lock_op_settle(op, GAVEL_LOCK_UNKNOWN, "no answer in time", now_us);
    else
        gavel__lock_op_settle(op, GAVEL_LOCK_NOT_SENT, trouble, now_us);
}

void gavel__lock_op_on_deadline(gavel__lock_op *op, int64_t now_us)
{
    switch (op->kind) {
    case GAVEL__LOCK_ACQUIRE:
        gavel__lock_give_up(op->lock, now_us);
        break;
    case GAVEL__LOCK_RELEASE:
        on_patience_end(op, &op->lock->call, now_us);
        break;
    case GAVEL__LOCK_EXTEND:
    case GAVEL__LOCK_DO:
        on_patience_end(op, &op->call, now_us);
        gavel__lock_call_withdraw(&op->call);
        break;
    }
}

/* ---- Telling ------------------------------------------------------------------------------- */

gavel__lock_op *gavel__locks_take_done(gavel__locks *locks)
{
    gavel__list *node = gavel__list_pop(&locks->done);
    return node != NULL ? GAVEL__CONTAINER(node, gavel__lock_op, node) : NULL;
}

void gavel__locks_drop_op(gavel__lock_op *op)
{
    op->state = GAVEL__LOCK_OP_TOLD;
    switch (op->kind) {
    case GAVEL__LOCK_ACQUIRE:
    case GAVEL__LOCK_RELEASE:
        gavel__lock_try_free(op->lock);
        break;
    case GAVEL__LOCK_EXTEND:
    case GAVEL__LOCK_DO:
        if (op->call.state == GAVEL__LOCK_CALL_IDLE)
            free_op(op);
        break;
    }
}
