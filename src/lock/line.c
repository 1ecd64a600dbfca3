/*
 * Lines: who waits here for one name. Only the first in line deals with the server, and one
 * question that blocks waits for the whole line, so that each client stands once in the server's
 * queue.
 *
 *     probe --busy--> BLPOP --turn--> take --> granted: the next one moves up, and BLPOP again
 *      ^                                |
 *      +---- when the record's time ----+ busy
 *            should be over: the holder
 *            may have died
 */
#include "lock/parts.h"

#include "base/text.h"
#include "core/lane.h"

/* How long to leave the server alone at most and at least, while somebody holds the lock. The one
 * that was handed the lock may die of it at any time, and only a probe tells. */
static const int64_t max_probe_us = 3000000;
static const int64_t min_probe_us = 20000;

static gavel_lock *first_of(const gavel__lock_line *line)
{
    if (gavel__list_is_empty(&line->waiting))
        return NULL;
    return GAVEL__CONTAINER(line->waiting.next, gavel_lock, line_node);
}

/* ---- Lines --------------------------------------------------------------------------------- */

/* Nobody waits here any more: what was handed off to them goes to the next client. */
static void wind_up(gavel__lock_line *line)
{
    gavel__question_withdraw(&line->wait);
    if (line->turn_size > 0 && !line->locks->is_closing &&
        line->hand_off.state == GAVEL__LOCK_CALL_IDLE)
        gavel__lock_call_request(&line->hand_off, GAVEL__LOCK_CALL_HAND_OFF);
}

void gavel__lock_line_on_handed_off(gavel__lock_line *line)
{
    line->turn_size = 0;
    gavel__lock_line_go_on(line);
}

void gavel__lock_line_go_on(gavel__lock_line *line)
{
    gavel_lock *lock = first_of(line);
    if (lock == NULL) {
        wind_up(line);
        return;
    }
    if (!gavel__lock_call_withdraw(&line->hand_off))
        return; /* the turn has gone to the next; then it goes on here */
    if (lock->call->state != GAVEL__LOCK_CALL_IDLE)
        return;
    if (line->turn_size > 0) {
        gavel__lock_call_request(lock->call, GAVEL__LOCK_CALL_TAKE);
    } else if (lock->must_probe) {
        lock->must_probe = false;
        gavel__lock_call_request(lock->call, GAVEL__LOCK_CALL_PROBE);
    } else if (line->wait.state == GAVEL__QUESTION_IDLE) {
        gavel__question_ask(line->locks->config.questions, &line->wait);
    }
}

void gavel__lock_line_join(gavel_lock *lock)
{
    gavel__lock_line *line = lock->line;
    gavel__list_append(&line->waiting, &lock->line_node);
    if (first_of(line) != lock)
        return;
    lock->must_probe = true;
    gavel__lock_line_go_on(line);
}

/* While we stand in the queue there is nothing to be asked; only that the link may have died
 * unnoticed, or the holder, and so a probe in a while. */
static void move_up(gavel_lock *lock, bool is_behind_grant, int64_t now_us)
{
    if (is_behind_grant || lock->line->wait.state == GAVEL__QUESTION_ASKED)
        gavel__lock_wake_at(lock, now_us + GAVEL__LOCK_HAND_OFF_MS * 1000);
    else
        lock->must_probe = true;
}

void gavel__lock_line_leave(gavel_lock *lock, bool is_granted, int64_t now_us)
{
    gavel__lock_line *line = lock->line;
    bool was_first = first_of(line) == lock;
    gavel__list_remove(&lock->line_node);
    gavel__heap_remove(&lock->locks->lock_timers, &lock->timer);
    if (!was_first)
        return;
    if (first_of(line) != NULL)
        move_up(first_of(line), is_granted, now_us);
    gavel__lock_line_go_on(line);
}

/* ---- Ends of a request --------------------------------------------------------------------- */

void gavel__lock_fail(
    gavel_lock *lock, gavel_lock_status status, const char *message, int64_t now_us)
{
    if (!gavel__lock_call_withdraw(lock->call))
        lock->acquire.is_doubtful = true;
    lock->is_lingering = lock->acquire.is_doubtful;
    char text[GAVEL_MESSAGE_SIZE];
    gavel__format(text, sizeof(text), "%s", message != NULL ? message : lock->message);
    if (!gavel__list_is_empty(&lock->line_node))
        gavel__lock_line_leave(lock, false, now_us);
    gavel__lock_end(lock, now_us);
    gavel__lock_op_settle(&lock->acquire, status, text, now_us);
}

void gavel__lock_give_up(gavel_lock *lock, int64_t now_us)
{
    gavel__lock_op *op = &lock->acquire;
    bool is_first = first_of(lock->line) == lock;
    bool is_sent = gavel__lock_call_is_sent(lock->call);
    if (is_sent && !op->is_overdue) /* the answer decides, or the loss of the link */
        gavel__heap_set(
            &lock->locks->op_timers, &op->timer, now_us + lock->locks->config.answer_us);
    if (!op->is_cancelled)
        op->is_overdue = true;
    if (is_sent)
        return;
    if (op->is_cancelled)
        gavel__lock_fail(lock, GAVEL_LOCK_CANCELLED, "taken back", now_us);
    else if (op->is_doubtful)
        gavel__lock_fail(lock, GAVEL_LOCK_UNKNOWN,
            "the server was asked, and did not answer: it may have granted the lock", now_us);
    else if (!is_first)
        gavel__lock_fail(
            lock, GAVEL_LOCK_BUSY, "others of this client wait for the same lock", now_us);
    else if (lock->was_answered || lock->message[0] != '\0')
        gavel__lock_fail(
            lock, lock->was_answered ? GAVEL_LOCK_BUSY : GAVEL_LOCK_NOT_SENT, NULL, now_us);
    else
        gavel__lock_fail(lock, GAVEL_LOCK_NOT_SENT, gavel__lock_trouble(lock), now_us);
}

void gavel__lock_abandon(gavel_lock *lock, int64_t now_us)
{
    lock->acquire.is_doubtful = true;
    gavel__lock_put_call_aside(lock);
    gavel__strand_cut(&lock->line->strand);
    gavel__lock_give_up(lock, now_us);
}

/* ---- Answers ------------------------------------------------------------------------------- */

/* The holder, without the owner: that is the holder's secret. */
static void note_holder(gavel_lock *lock, gavel_bytes record)
{
    char shown[GAVEL_MESSAGE_SIZE];
    if (record.size <= GAVEL__LOCK_OWNER_SIZE + 1 || record.data[0] == '-') {
        gavel__format(lock->message, sizeof(lock->message), "it is being handed off to another");
        return;
    }
    record.data += GAVEL__LOCK_OWNER_SIZE + 1;
    record.size -= GAVEL__LOCK_OWNER_SIZE + 1;
    gavel__format(lock->message, sizeof(lock->message), "held by another: %s",
        gavel__printable(record, shown, sizeof(shown)));
}

static void wait_on(gavel_lock *lock, int64_t remaining_ms, int64_t now_us)
{
    int64_t wait_us = remaining_ms < max_probe_us / 1000 ? remaining_ms * 1000 : max_probe_us;
    if (wait_us < min_probe_us)
        wait_us = min_probe_us;
    wait_us += (int64_t)gavel__random_below(&lock->locks->random, (uint64_t)wait_us / 8);
    gavel__lock_wake_at(lock, now_us + wait_us);
}

static void on_busy(gavel_lock *lock, const gavel__lock_answer *answer, int64_t now_us)
{
    gavel__lock_line *line = lock->line;
    if (answer->verdict == GAVEL__LOCK_VERDICT_FOREIGN) {
        note_holder(lock, answer->text);
        lock->was_answered = true;
        wait_on(lock, answer->remaining_ms, now_us);
    } else if (lock->is_try) {
        gavel__format(lock->message, sizeof(lock->message), "it has just been handed off");
        lock->was_answered = true;
    } else {
        gavel__lock_wake_at(
            lock, now_us + min_probe_us); /* it ran out between the offer and the taking */
    }
    if (lock->is_try || lock->acquire.is_overdue || lock->acquire.is_cancelled)
        gavel__lock_give_up(lock, now_us);
    else
        gavel__lock_line_go_on(line);
}

static void on_error(gavel_lock *lock, bool may_pass, int64_t now_us)
{
    if (!may_pass)
        gavel__lock_fail(lock, GAVEL_LOCK_REJECTED, NULL, now_us);
    else if (lock->is_try || lock->acquire.is_overdue || lock->acquire.is_cancelled)
        gavel__lock_give_up(lock, now_us);
    else
        gavel__lock_wake_at(lock, now_us + GAVEL__LOCK_PAUSE_US);
}

/* The offer before the taking found nobody in the queue, not even us: the link that waits has died
 * unnoticed, and those behind in line must not rely on it. */
static void condemn_wait(gavel__lock_line *line)
{
    char name[64];
    char message[GAVEL_MESSAGE_SIZE];
    if (line->wait.state != GAVEL__QUESTION_ASKED)
        return;
    gavel__format(message, sizeof(message),
        "waiting link to lock %s: a turn was handed off and did not arrive",
        gavel__printable(line->map_node.key, name, sizeof(name)));
    gavel__lane_condemn(line->wait.lane, message);
}

static void grant(gavel_lock *lock, int64_t fence, int64_t sent_us, int64_t now_us)
{
    gavel__lock_op *op = &lock->acquire;
    gavel__lock_line_leave(lock, true, now_us);
    gavel__lock_hold(lock, fence, sent_us);
    op->outcome.lock = lock;
    op->outcome.fence = fence;
    gavel__lock_op_settle(op, GAVEL_LOCK_HELD, NULL, now_us);
}

/* The grant may be of an earlier asking, and we may be late in hearing of it. */
static void on_granted(gavel_lock *lock, int64_t fence, int64_t sent_us, int64_t now_us)
{
    gavel__lock_op *op = &lock->acquire;
    bool is_late = now_us >= gavel__lock_end_of_lease(sent_us, lock->lease_ms);
    lock->line->turn_size = 0;
    if (lock->call->kind == GAVEL__LOCK_CALL_PROBE && !op->is_doubtful)
        condemn_wait(lock->line);
    if (op->is_cancelled || (is_late && op->is_overdue)) {
        op->is_doubtful = true;
        gavel__lock_give_up(lock, now_us);
    } else if (is_late) {
        op->is_doubtful = true;
        lock->must_probe = true;
        gavel__lock_line_go_on(lock->line);
    } else {
        grant(lock, fence, sent_us, now_us);
    }
}

void gavel__lock_line_on_answer(
    gavel_lock *lock, const gavel__lock_answer *answer, int64_t sent_us, int64_t now_us)
{
    bool has_fault = lock->has_fault;
    lock->has_fault = false;
    if (lock->call->kind == GAVEL__LOCK_CALL_TAKE)
        lock->line->turn_size = 0;
    switch (answer->verdict) {
    case GAVEL__LOCK_VERDICT_OURS:
        on_granted(lock, answer->fence, sent_us, now_us);
        break;
    case GAVEL__LOCK_VERDICT_ABSENT:
    case GAVEL__LOCK_VERDICT_FOREIGN:
        lock->acquire.is_doubtful = false;
        if (has_fault)
            on_error(lock, !lock->is_lasting, now_us);
        else
            on_busy(lock, answer, now_us);
        break;
    case GAVEL__LOCK_VERDICT_ERROR:
    case GAVEL__LOCK_VERDICT_NONSENSE:
        on_error(lock, gavel__lock_note_error(lock, answer->text), now_us);
        break;
    }
}

void gavel__lock_line_on_refused_offer(gavel_lock *lock, gavel_bytes words)
{
    lock->has_fault = true;
    lock->is_lasting = !gavel__lock_note_error(lock, words);
}

void gavel__lock_line_on_lost_call(gavel_lock *lock, bool was_sent, int64_t now_us)
{
    gavel__lock_op *op = &lock->acquire;
    lock->has_fault = false; /* the offer's: it is made anew */
    if (was_sent)
        op->is_doubtful = true;
    lock->must_probe = true;
    if (op->is_overdue || op->is_cancelled)
        gavel__lock_give_up(lock, now_us);
    else
        gavel__lock_line_go_on(lock->line);
}

/* ---- Standing in the queue ----------------------------------------------------------------- */

size_t gavel__lock_line_write_wait(gavel__question *question, gavel__buffer *out, int64_t now_us)
{
    const gavel__lock_line *line = GAVEL__CONTAINER(question, gavel__lock_line, wait);
    (void)now_us;
    gavel__lock_keys keys;
    gavel__lock_keys_init(&keys, line->locks->config.key_prefix, line->map_node.key);
    gavel__lock_write_wait(out, &keys);
    return 2;
}

static void on_queue_error(gavel__lock_line *line, gavel_bytes words, int64_t now_us)
{
    gavel_lock *lock = first_of(line);
    if (lock == NULL)
        return;
    if (gavel__lock_note_error(lock, words))
        gavel__lock_wake_at(lock, now_us + GAVEL__LOCK_PAUSE_US);
    else if (!gavel__lock_call_is_sent(lock->call))
        gavel__lock_fail(lock, GAVEL_LOCK_REJECTED, NULL, now_us);
}

void gavel__lock_line_on_turn(gavel__lock_line *line, const gavel_reply *reply, int64_t now_us)
{
    if (reply->type == GAVEL_REPLY_ERROR) {
        on_queue_error(line, reply->text, now_us);
        return;
    }
    if (reply->type == GAVEL_REPLY_ARRAY && reply->n_elements == 2 &&
        reply->elements[1].text.size <= sizeof(line->turn)) {
        line->turn_size = reply->elements[1].text.size;
        memcpy(line->turn, reply->elements[1].text.data, line->turn_size);
    }
    gavel__lock_line_go_on(line);
}

void gavel__lock_line_on_lost_wait(gavel__lock_line *line)
{
    /* What was handed off to it meanwhile is found by a probe. */
    gavel_lock *lock = first_of(line);
    if (lock != NULL)
        lock->must_probe = true;
    gavel__lock_line_go_on(line);
}
