/*
 * What comes back: replies, lost links, deadlines and timers, each handed to whom it concerns.
 */
#include "lock/parts.h"

#include "base/text.h"
#include "core/outcome.h"
#include "lock/locks.h"

/* ---- Operations ---------------------------------------------------------------------------- */

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
        !gavel__outcome_keep_replies(
            &kept, op->lock->locks->config.reply_allocator, answer->reply, 1))
        message = "it was run, and there was no memory for the reply";
    op->outcome.reply = kept.replies;
    gavel__lock_op_settle(op, GAVEL_LOCK_HELD, message, now_us);
}

static void free_op(gavel__lock_op *op)
{
    gavel_lock *lock = op->lock;
    gavel__locks *locks = lock->locks;
    gavel__list_remove(&op->lock_node);
    gavel__lock_call_finish(&op->call);
    gavel__heap_remove(&locks->op_timers, &op->timer);
    gavel__buffer_finish(&op->wire);
    gavel__free(locks->config.allocator, op);
    gavel__lock_try_free(lock);
}

static void settle_on_answer(gavel__lock_op *op, const gavel__lock_answer *answer, int64_t now_us)
{
    gavel_lock *lock = op->lock;
    bool is_foreign = answer->verdict == GAVEL__LOCK_VERDICT_FOREIGN;
    gavel_lock_reason reason = is_foreign ? GAVEL_LOCK_TAKEN : GAVEL_LOCK_GONE;
    switch (answer->verdict) {
    case GAVEL__LOCK_VERDICT_OURS:
        on_held(op, answer, now_us);
        break;
    case GAVEL__LOCK_VERDICT_ABSENT:
    case GAVEL__LOCK_VERDICT_FOREIGN:
        if (lock->state == GAVEL__LOCK_STATE_GRANTED)
            gavel__lock_lose(lock, reason, now_us);
        gavel__lock_op_settle_lost(op, reason, now_us);
        break;
    case GAVEL__LOCK_VERDICT_ERROR:
    case GAVEL__LOCK_VERDICT_NONSENSE:
        gavel__lock_note_error(lock, answer->text);
        gavel__lock_op_settle(op, GAVEL_LOCK_REJECTED, lock->message, now_us);
        break;
    }
}

static void on_op_answer(gavel__lock_op *op, const gavel__lock_answer *answer, int64_t now_us)
{
    gavel_lock *lock = op->lock;
    if (op->kind == GAVEL__LOCK_OP_EXTEND && answer->verdict == GAVEL__LOCK_VERDICT_OURS &&
        lock->state == GAVEL__LOCK_STATE_GRANTED)
        gavel__lock_set_lease(lock, op->call.sent_us, op->call.lease_ms);
    settle_on_answer(op, answer, now_us);
    if (op->state == GAVEL__LOCK_OP_TOLD)
        free_op(op);
}

static void on_op_lost_call(gavel__lock_op *op, bool was_sent, int64_t now_us)
{
    gavel_lock *lock = op->lock;
    op->is_doubtful = op->is_doubtful || was_sent;
    if (op->state == GAVEL__LOCK_OP_TOLD)
        free_op(op);
    else if (op->state != GAVEL__LOCK_OP_OPEN)
        return;
    else if (op->kind == GAVEL__LOCK_OP_DO && was_sent)
        gavel__lock_op_settle(
            op, GAVEL_LOCK_UNKNOWN, "the command was sent, and its answer was lost", now_us);
    else if (lock->state == GAVEL__LOCK_STATE_FORFEITED)
        gavel__lock_op_settle_lost(op, lock->reason, now_us);
    else
        gavel__lock_call_request(&op->call, GAVEL__LOCK_CALL_USER);
}

/* ---- Questions ----------------------------------------------------------------------------- */

static gavel__lock_call *call_of(gavel__question *question)
{
    return GAVEL__CONTAINER(question, gavel__lock_call, question);
}

static gavel__lock_answer read_answer(const gavel__lock_call *call, const gavel_reply *reply)
{
    bool is_taking = call->kind == GAVEL__LOCK_CALL_PROBE || call->kind == GAVEL__LOCK_CALL_TAKE;
    return is_taking ? gavel__lock_read_take(reply) : gavel__lock_read(reply);
}

static void hand_out(gavel__lock_call *call, const gavel_reply *reply, int64_t now_us)
{
    gavel__lock_answer answer = read_answer(call, reply);
    if (gavel__lock_call_is_aside(call)) {
        gavel__lock_on_aside(call, &answer, true, now_us);
        return;
    }
    switch (call->kind) {
    case GAVEL__LOCK_CALL_PROBE:
    case GAVEL__LOCK_CALL_TAKE:
        gavel__lock_line_on_answer(call->lock, &answer, call->sent_us, now_us);
        break;
    case GAVEL__LOCK_CALL_RENEW:
        gavel__lock_on_renewed(call, &answer, now_us);
        break;
    case GAVEL__LOCK_CALL_RELEASE:
        gavel__lock_on_released(call->lock, &answer, now_us);
        break;
    case GAVEL__LOCK_CALL_HAND_OFF:
        gavel__lock_line_on_handed_off(call->line);
        break;
    case GAVEL__LOCK_CALL_USER:
        on_op_answer(call->op, &answer, now_us);
        break;
    }
}

static void on_reply(
    gavel__question *question, size_t i, const gavel_reply *reply, int64_t engine_now_us)
{
    gavel__lock_call *call = call_of(question);
    gavel__lock_line *line = call->line;
    (void)engine_now_us;
    int64_t now_us = gavel__locks_now_us(line->locks);
    gavel__locks_expire(line->locks, now_us);
    if (call->kind == GAVEL__LOCK_CALL_PROBE && i == 0) {
        if (reply->type == GAVEL_REPLY_ERROR)
            gavel__lock_line_on_refused_offer(call->lock, reply->text);
        return;
    }
    gavel__lock_call_come_back(call);
    if (call->lock != NULL)
        gavel__lock_linger(call, false);
    hand_out(call, reply, now_us);
    gavel__lock_line_go_ahead(line);
}

static void hand_back(gavel__lock_call *call, bool was_sent, int64_t now_us)
{
    if (gavel__lock_call_is_aside(call)) {
        gavel__lock_on_aside(call, NULL, was_sent, now_us);
        return;
    }
    switch (call->kind) {
    case GAVEL__LOCK_CALL_PROBE:
    case GAVEL__LOCK_CALL_TAKE:
        gavel__lock_line_on_lost_call(call->lock, was_sent, now_us);
        break;
    case GAVEL__LOCK_CALL_RENEW:
    case GAVEL__LOCK_CALL_RELEASE:
        gavel__lock_on_lost_call(call->lock, was_sent, now_us);
        break;
    case GAVEL__LOCK_CALL_HAND_OFF:
        gavel__lock_line_on_handed_off(call->line);
        break;
    case GAVEL__LOCK_CALL_USER:
        on_op_lost_call(call->op, was_sent, now_us);
        break;
    }
}

static void fail(gavel_lock *lock, gavel_lock_status status, const char *message, int64_t now_us)
{
    bool is_doubtful = lock->acquire.is_doubtful || gavel__lock_call_is_sent(lock->call);
    gavel__lock_fail(lock, is_doubtful ? GAVEL_LOCK_UNKNOWN : status, message, now_us);
}

/* Trying again cannot help those who wait. Whoever holds a lock keeps trying: a lease is left. */
static void fail_waiting(gavel__lock_line *line, const gavel__loss *loss, int64_t now_us)
{
    gavel_lock_status status = loss->is_refused ? GAVEL_LOCK_REJECTED : GAVEL_LOCK_NOT_SENT;
    gavel__list *next;
    for (gavel__list *node = line->waiting.next; node != &line->waiting; node = next) {
        next = node->next;
        fail(GAVEL__CONTAINER(node, gavel_lock, line_node), status, loss->message, now_us);
    }
}

static void on_loss(
    gavel__question *question, const gavel__loss *loss, bool was_sent, int64_t engine_now_us)
{
    gavel__lock_call *call = call_of(question);
    gavel__lock_line *line = call->line;
    (void)engine_now_us;
    int64_t now_us = gavel__locks_now_us(line->locks);
    gavel__lock_call_come_back(call);
    if (call->lock != NULL && was_sent)
        gavel__lock_linger(call, true);
    if (loss->is_final)
        fail_waiting(line, loss, now_us);
    hand_back(call, was_sent, now_us);
    gavel__lock_line_go_ahead(line);
}

const gavel__question_ops gavel__lock_call_ops = {gavel__lock_call_write, on_reply, on_loss};

/* ---- Turns --------------------------------------------------------------------------------- */

static void on_wait_reply(
    gavel__question *question, size_t i, const gavel_reply *reply, int64_t engine_now_us)
{
    gavel__lock_line *line = GAVEL__CONTAINER(question, gavel__lock_line, wait);
    (void)engine_now_us;
    if (i == 0)
        return; /* to the name of the connection */
    int64_t now_us = gavel__locks_now_us(line->locks);
    line->n_users++;
    gavel__lock_line_on_turn(line, reply, now_us);
    gavel__lock_line_let_go(line);
}

static void on_wait_loss(
    gavel__question *question, const gavel__loss *loss, bool was_sent, int64_t engine_now_us)
{
    gavel__lock_line *line = GAVEL__CONTAINER(question, gavel__lock_line, wait);
    (void)was_sent;
    (void)engine_now_us;
    line->n_users++;
    if (loss->is_final)
        fail_waiting(line, loss, gavel__locks_now_us(line->locks));
    gavel__lock_line_on_lost_wait(line);
    gavel__lock_line_let_go(line);
}

const gavel__question_ops gavel__lock_wait_ops = {
    gavel__lock_line_write_wait, on_wait_reply, on_wait_loss};

/* ---- Connecting in vain -------------------------------------------------------------------- */

static bool is_vain_try(const gavel_lock *lock)
{
    const gavel__lock_call *call = lock->call;
    return lock->state == GAVEL__LOCK_STATE_WAITING && lock->is_try &&
           call->state == GAVEL__LOCK_CALL_OUT && !gavel__lock_call_is_sent(call) &&
           call->question.n_failed_dials > 0;
}

void gavel__locks_end_tries(gavel__locks *locks, int64_t now_us)
{
    const gavel__questions *questions = locks->config.questions;
    if (locks->n_dials == questions->n_failed_dials)
        return;
    locks->n_dials = questions->n_failed_dials;
    gavel__list *next;
    for (gavel__list *node = locks->all.next; node != &locks->all; node = next) {
        gavel_lock *lock = GAVEL__CONTAINER(node, gavel_lock, node);
        next = node->next;
        if (is_vain_try(lock))
            fail(lock, GAVEL_LOCK_NOT_SENT, gavel__lock_trouble(lock), now_us);
    }
}

/* ---- Time ---------------------------------------------------------------------------------- */

static void on_timeout(gavel__lock_op *op, gavel__lock_call *call, int64_t now_us)
{
    if (op->is_doubtful || gavel__lock_call_is_sent(call))
        gavel__lock_op_settle(op, GAVEL_LOCK_UNKNOWN, "no answer in time", now_us);
    else
        gavel__lock_op_settle(op, GAVEL_LOCK_NOT_SENT, gavel__lock_trouble(op->lock), now_us);
}

static void on_deadline(gavel__lock_op *op, int64_t now_us)
{
    switch (op->kind) {
    case GAVEL__LOCK_OP_ACQUIRE:
        if (op->is_overdue || op->is_cancelled)
            gavel__lock_abandon(op->lock, now_us);
        else
            gavel__lock_give_up(op->lock, now_us);
        break;
    case GAVEL__LOCK_OP_RELEASE:
        on_timeout(op, op->lock->call, now_us);
        break;
    case GAVEL__LOCK_OP_EXTEND:
    case GAVEL__LOCK_OP_DO:
        on_timeout(op, &op->call, now_us);
        gavel__lock_call_withdraw(&op->call);
        break;
    }
}

static void on_held_timer(gavel_lock *lock, int64_t now_us)
{
    if (gavel__lock_expire(lock, now_us))
        return;
    if (lock->renew_us <= now_us)
        gavel__lock_renew(lock, now_us);
    else
        gavel__lock_renew_at(lock, lock->renew_us);
}

static void on_timer(gavel_lock *lock, int64_t now_us)
{
    switch (lock->state) {
    case GAVEL__LOCK_STATE_WAITING:
        lock->must_probe = true;
        gavel__lock_line_go_on(lock->line);
        break;
    case GAVEL__LOCK_STATE_GRANTED:
        on_held_timer(lock, now_us);
        break;
    case GAVEL__LOCK_STATE_FORFEITED:
    case GAVEL__LOCK_STATE_ENDING:
        if (now_us >= lock->lingers_until_us)
            gavel__lock_linger_on(lock);
        if (now_us < lock->lingers_until_us) {
            gavel__lock_release(lock, now_us);
            break;
        }
        if (lock->release.state == GAVEL__LOCK_OP_OPEN)
            on_deadline(&lock->release, now_us);
        gavel__lock_settle_down(lock);
        break;
    case GAVEL__LOCK_STATE_ENDED:
        break;
    }
}

void gavel__locks_expire(gavel__locks *locks, int64_t now_us)
{
    gavel__heap_node *node;
    while ((node = gavel__heap_first(&locks->lock_timers)) != NULL && node->due_us <= now_us) {
        gavel__heap_remove(&locks->lock_timers, node);
        on_timer(GAVEL__CONTAINER(node, gavel_lock, timer), now_us);
    }
}

void gavel__locks_end_overdue(gavel__locks *locks, int64_t now_us)
{
    gavel__heap_node *node;
    while ((node = gavel__heap_first(&locks->op_timers)) != NULL && node->due_us <= now_us) {
        gavel__heap_remove(&locks->op_timers, node);
        on_deadline(GAVEL__CONTAINER(node, gavel__lock_op, timer), now_us);
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
    gavel__lock_op_told(op);
    switch (op->kind) {
    case GAVEL__LOCK_OP_ACQUIRE:
    case GAVEL__LOCK_OP_RELEASE:
        gavel__lock_try_free(op->lock);
        break;
    case GAVEL__LOCK_OP_EXTEND:
    case GAVEL__LOCK_OP_DO:
        if (op->call.state == GAVEL__LOCK_CALL_IDLE)
            free_op(op);
        break;
    }
}
