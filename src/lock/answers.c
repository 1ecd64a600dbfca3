/*
 * What comes back: replies, lost links, deadlines and timers, each handed to whom it concerns.
 */
#include "lock/parts.h"

#include "base/text.h"
#include "core/outcome.h"

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
    if (lock->state == GAVEL__LOCK_STATE_GRANTED)
        gavel__lock_set_lease(lock, sent_us);
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
        gavel__lock_on_error(lock, answer->text);
        gavel__lock_op_settle(op, GAVEL_LOCK_REJECTED, lock->message, now_us);
        break;
    }
}

static void on_op_answer(
    gavel__lock_op *op, const gavel__lock_answer *answer, int64_t sent_us, int64_t now_us)
{
    if (op->kind == GAVEL__LOCK_OP_EXTEND && answer->verdict == GAVEL__LOCK_VERDICT_OURS)
        on_extended(op->lock, sent_us);
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
    else if (lock->state == GAVEL__LOCK_STATE_FORFEITED && !was_sent)
        gavel__lock_op_settle_lost(op, lock->reason, now_us);
    else if (op->kind == GAVEL__LOCK_OP_DO && was_sent)
        gavel__lock_op_settle(
            op, GAVEL_LOCK_UNKNOWN, "the command was sent, and its answer was lost", now_us);
    else
        gavel__lock_call_request(lock->locks, &op->call, GAVEL__LOCK_CALL_USER);
}

/* ---- Replies ------------------------------------------------------------------------------- */

static void hand_out(
    gavel__locks *locks, gavel__lock_call *call, const gavel_reply *reply, int64_t now_us)
{
    gavel__lock_answer answer;
    switch (call->kind) {
    case GAVEL__LOCK_CALL_PROBE:
    case GAVEL__LOCK_CALL_TAKE:
        answer = gavel__lock_read_take(reply);
        gavel__lock_line_on_answer(call->lock, &answer, call->sent_us, now_us);
        break;
    case GAVEL__LOCK_CALL_RENEW:
        answer = gavel__lock_read(reply);
        gavel__lock_on_renewed(call->lock, &answer, call->sent_us, now_us);
        break;
    case GAVEL__LOCK_CALL_RELEASE:
        answer = gavel__lock_read(reply);
        gavel__lock_on_released(call->lock, &answer, now_us);
        break;
    case GAVEL__LOCK_CALL_HAND_OFF:
        gavel__lock_line_on_handed_off(locks, call->line, now_us);
        break;
    case GAVEL__LOCK_CALL_USER:
        answer = gavel__lock_read(reply);
        on_op_answer(call->op, &answer, call->sent_us, now_us);
        break;
    }
}

void gavel__lock_control_on_reply(gavel__locks *locks, const gavel_reply *reply, int64_t now_us)
{
    gavel__list *calls = &locks->lanes[0].calls;
    if (gavel__list_is_empty(calls))
        return; /* the link expects no more replies than there are calls */
    gavel__lock_call *call = GAVEL__CONTAINER(calls->next, gavel__lock_call, node);
    if (call->kind == GAVEL__LOCK_CALL_PROBE && !call->has_offered) {
        call->has_offered = true;
        if (reply->type == GAVEL_REPLY_ERROR)
            gavel__lock_line_on_refused_offer(call->lock, reply->text);
        return;
    }
    gavel__list_remove(&call->node);
    call->state = GAVEL__LOCK_CALL_IDLE;
    hand_out(locks, call, reply, now_us);
}

/* ---- Losing the link ----------------------------------------------------------------------- */

static void hand_back(gavel__locks *locks, gavel__lock_call *call, uint64_t n_sent, int64_t now_us)
{
    bool was_sent = call->end_byte <= n_sent;
    call->state = GAVEL__LOCK_CALL_IDLE;
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
        gavel__lock_line_on_handed_off(locks, call->line, now_us);
        break;
    case GAVEL__LOCK_CALL_USER:
        on_op_lost_call(call->op, was_sent, now_us);
        break;
    }
}

/* Trying again cannot help those who wait, or there is no time for it. Who holds a lock keeps
 * trying: a lease is left. */
static void fail_hopeless(gavel__locks *locks, const gavel__lock_link_loss *loss, int64_t now_us)
{
    gavel_lock_status status = loss->is_refused ? GAVEL_LOCK_REJECTED : GAVEL_LOCK_NOT_SENT;
    gavel__list *next;
    for (gavel__list *node = locks->all.next; node != &locks->all; node = next) {
        gavel_lock *lock = GAVEL__CONTAINER(node, gavel_lock, node);
        next = node->next;
        if (lock->state != GAVEL__LOCK_STATE_WAITING)
            continue;
        if (!loss->is_final && !lock->is_try)
            continue;
        gavel__lock_fail(lock,
            lock->acquire.is_doubtful ? GAVEL_LOCK_UNKNOWN
            : loss->is_final          ? status
                                      : GAVEL_LOCK_NOT_SENT,
            loss->message, now_us);
    }
}

void gavel__lock_control_on_down(
    gavel__locks *locks, const gavel__lock_link_loss *loss, int64_t now_us)
{
    gavel__lock_lane *control = &locks->lanes[0];
    bool was_up = control->lane.state == GAVEL__LANE_UP;
    gavel__list calls;
    gavel__list_init(&calls);
    gavel__list_append_all(&calls, &control->calls);
    gavel__lock_lane_reset(locks, control, now_us);
    gavel__format(locks->trouble, sizeof(locks->trouble), "%s", loss->message);
    for (gavel__list *node; (node = gavel__list_pop(&calls)) != NULL;)
        hand_back(locks, GAVEL__CONTAINER(node, gavel__lock_call, node), loss->n_sent, now_us);
    if (loss->is_final || !was_up)
        fail_hopeless(locks, loss, now_us);
}

/* ---- Time ---------------------------------------------------------------------------------- */

static void on_timeout(gavel__lock_op *op, gavel__lock_call *call, int64_t now_us)
{
    bool is_sent = op->is_doubtful || call->state == GAVEL__LOCK_CALL_IN_FLIGHT;
    gavel__locks *locks = op->lock->locks;
    const char *trouble = locks->trouble[0] != '\0' ? locks->trouble : "no connection in time";
    if (is_sent)
        gavel__lock_op_settle(op, GAVEL_LOCK_UNKNOWN, "no answer in time", now_us);
    else
        gavel__lock_op_settle(op, GAVEL_LOCK_NOT_SENT, trouble, now_us);
}

static void on_deadline(gavel__lock_op *op, int64_t now_us)
{
    switch (op->kind) {
    case GAVEL__LOCK_OP_ACQUIRE:
        gavel__lock_give_up(op->lock, now_us);
        break;
    case GAVEL__LOCK_OP_RELEASE:
        on_timeout(op, &op->lock->call, now_us);
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
    if (lock->renew_us <= now_us && lock->call.state == GAVEL__LOCK_CALL_IDLE)
        gavel__lock_call_request(lock->locks, &lock->call, GAVEL__LOCK_CALL_RENEW);
    gavel__lock_wake_at(lock, lock->renew_us > now_us ? lock->renew_us : lock->good_until_us);
}

static void on_timer(gavel_lock *lock, int64_t now_us)
{
    switch (lock->state) {
    case GAVEL__LOCK_STATE_WAITING:
        lock->must_probe = true;
        gavel__lock_line_go_on(lock->locks, lock->line, now_us);
        break;
    case GAVEL__LOCK_STATE_GRANTED:
        on_held_timer(lock, now_us);
        break;
    case GAVEL__LOCK_STATE_FORFEITED:
    case GAVEL__LOCK_STATE_ENDING:
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
