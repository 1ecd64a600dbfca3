/*
 * Lines: who waits here for one name. Only the first in line deals with the server, and one lane
 * waits for the whole line in BLPOP, so that each client stands once in the server's queue.
 *
 *     probe --busy--> BLPOP --turn--> take --> granted: the next one moves up, and BLPOP again
 *      ^                                |
 *      +---- when the record's time ----+ busy
 *            should be over: the holder
 *            may have died
 */
#include "lock/parts.h"

#include "base/text.h"
#include "core/backoff.h"

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

/* ---- Lanes that wait ----------------------------------------------------------------------- */

static bool is_idle(const gavel__lock_lane *lane)
{
    return lane->line == NULL && !lane->is_blocked && !lane->lane.is_condemned;
}

/* An idle lane, one that is up if there is one; NULL: none. */
static gavel__lock_lane *find_lane(gavel__locks *locks)
{
    gavel__lock_lane *found = NULL;
    for (uint32_t i = 0; i < locks->n_lanes; i++) {
        gavel__lock_lane *lane = &locks->lanes[i];
        if (!is_idle(lane))
            continue;
        if (lane->lane.state == GAVEL__LANE_UP)
            return lane;
        if (found == NULL)
            found = lane;
    }
    return found;
}

static void take_lane(gavel__locks *locks, gavel__lock_line *line)
{
    line->lane = find_lane(locks);
    if (line->lane != NULL) {
        gavel__list_remove(&line->laneless);
        line->lane->line = line;
    } else if (gavel__list_is_empty(&line->laneless)) {
        gavel__list_append(&locks->laneless, &line->laneless);
    }
}

/* The next line that wants one gets it. */
static void pass_lane_on(gavel__locks *locks, int64_t now_us)
{
    if (gavel__list_is_empty(&locks->laneless) || find_lane(locks) == NULL)
        return;
    gavel__lock_line_go_on(
        GAVEL__CONTAINER(locks->laneless.next, gavel__lock_line, laneless), now_us);
}

/* A lane that stands in the server's queue can only leave it by being closed. */
static void drop_lane(gavel__locks *locks, gavel__lock_line *line, int64_t now_us)
{
    gavel__list_remove(&line->laneless);
    gavel__lock_lane *lane = line->lane;
    if (lane == NULL)
        return;
    line->lane = NULL;
    lane->line = NULL;
    lane->is_wanted = false;
    if (lane->is_blocked)
        gavel__lane_condemn(&lane->lane, "nobody waits any more");
    else
        pass_lane_on(locks, now_us);
}

static void wait_in_queue(gavel__locks *locks, gavel__lock_line *line)
{
    gavel__lock_lane *lane = line->lane;
    if (lane->lane.state != GAVEL__LANE_UP) {
        lane->is_wanted = true;
        return;
    }
    if (lane->is_blocked || lane->lane.is_condemned)
        return;
    gavel__lock_keys keys;
    gavel__lock_keys_init(&keys, locks->config.key_prefix, line->map_node.key);
    size_t size_before = lane->lane.out->size;
    gavel__lock_write_wait(lane->lane.out, &keys);
    lane->lane.n_appended += lane->lane.out->size - size_before;
    lane->lane.n_new_replies += 2;
    lane->n_skipped = 1;
    lane->is_blocked = true;
}

/* ---- Lines --------------------------------------------------------------------------------- */

/* Nobody waits here any more: what was handed off to them goes to the next client. */
static void wind_up(gavel__lock_line *line, int64_t now_us)
{
    drop_lane(line->locks, line, now_us);
    if (line->turn_size > 0 && !line->locks->is_closing &&
        line->hand_off.state == GAVEL__LOCK_CALL_IDLE)
        gavel__lock_call_request(&line->hand_off, GAVEL__LOCK_CALL_HAND_OFF);
}

void gavel__lock_line_on_handed_off(gavel__lock_line *line, int64_t now_us)
{
    line->turn_size = 0;
    gavel__lock_line_go_on(line, now_us);
}

void gavel__lock_line_go_on(gavel__lock_line *line, int64_t now_us)
{
    gavel_lock *lock = first_of(line);
    if (lock == NULL) {
        wind_up(line, now_us);
        return;
    }
    if (!gavel__lock_call_withdraw(&line->hand_off))
        return; /* the turn has gone to the next; then it goes on here */
    if (lock->call.state != GAVEL__LOCK_CALL_IDLE)
        return;
    if (line->turn_size > 0) {
        gavel__lock_call_request(&lock->call, GAVEL__LOCK_CALL_TAKE);
    } else if (lock->must_probe) {
        lock->must_probe = false;
        gavel__lock_call_request(&lock->call, GAVEL__LOCK_CALL_PROBE);
    } else {
        if (line->lane == NULL)
            take_lane(line->locks, line);
        if (line->lane != NULL)
            wait_in_queue(line->locks, line);
    }
}

void gavel__lock_line_join(gavel_lock *lock, int64_t now_us)
{
    gavel__lock_line *line = lock->line;
    gavel__list_append(&line->waiting, &lock->line_node);
    if (first_of(line) != lock)
        return;
    lock->must_probe = true;
    gavel__lock_line_go_on(line, now_us);
}

/* While the lane stands in the queue there is nothing to be asked; only that it may have died
 * unnoticed, or the holder, and so a probe in a while. */
static void move_up(gavel_lock *lock, bool is_behind_grant, int64_t now_us)
{
    const gavel__lock_lane *lane = lock->line->lane;
    if (is_behind_grant || (lane != NULL && lane->is_blocked))
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
    gavel__lock_line_go_on(line, now_us);
}

/* ---- Ends of a request --------------------------------------------------------------------- */

void gavel__lock_fail(
    gavel_lock *lock, gavel_lock_status status, const char *message, int64_t now_us)
{
    gavel__lock_call_withdraw(&lock->call);
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
    if (!op->is_cancelled)
        op->is_overdue = true;
    if (gavel__lock_call_is_sent(&lock->call))
        return; /* the answer decides, or the loss of the link */
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
        gavel__lock_fail(lock, GAVEL_LOCK_NOT_SENT, lock->locks->config.questions->trouble, now_us);
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
        gavel__lock_line_go_on(line, now_us);
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

static void grant(gavel_lock *lock, uint64_t fence, int64_t sent_us, int64_t now_us)
{
    gavel__lock_op *op = &lock->acquire;
    gavel__lock_line_leave(lock, true, now_us);
    gavel__lock_hold(lock, fence, sent_us);
    op->outcome.lock = lock;
    op->outcome.fence = fence;
    gavel__lock_op_settle(op, GAVEL_LOCK_HELD, NULL, now_us);
}

/* The grant may be of an earlier asking, and we may be late in hearing of it. */
static void on_granted(gavel_lock *lock, uint64_t fence, int64_t sent_us, int64_t now_us)
{
    gavel__lock_op *op = &lock->acquire;
    bool is_late = now_us >= gavel__lock_end_of_lease(lock, sent_us);
    lock->line->turn_size = 0;
    if (op->is_cancelled || (is_late && op->is_overdue)) {
        op->is_doubtful = true;
        gavel__lock_give_up(lock, now_us);
    } else if (is_late) {
        op->is_doubtful = true;
        lock->must_probe = true;
        gavel__lock_line_go_on(lock->line, now_us);
    } else {
        grant(lock, fence, sent_us, now_us);
    }
}

void gavel__lock_line_on_answer(
    gavel_lock *lock, const gavel__lock_answer *answer, int64_t sent_us, int64_t now_us)
{
    bool has_fault = lock->has_fault;
    lock->has_fault = false;
    if (lock->state != GAVEL__LOCK_STATE_WAITING) {
        /* Settled without it, when the client was closed. */
        gavel__lock_try_free(lock);
        return;
    }
    if (lock->call.kind == GAVEL__LOCK_CALL_TAKE)
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
    if (lock->state != GAVEL__LOCK_STATE_WAITING) {
        gavel__lock_try_free(lock);
        return;
    }
    if (was_sent)
        op->is_doubtful = true;
    lock->must_probe = true;
    if (op->is_overdue || op->is_cancelled)
        gavel__lock_give_up(lock, now_us);
    else
        gavel__lock_line_go_on(lock->line, now_us);
}

/* ---- The lane that waits ------------------------------------------------------------------- */

static void on_queue_error(gavel__lock_lane *lane, gavel_bytes words, int64_t now_us)
{
    gavel_lock *lock = first_of(lane->line);
    if (lock == NULL)
        return;
    if (gavel__lock_note_error(lock, words))
        gavel__lock_wake_at(lock, now_us + GAVEL__LOCK_PAUSE_US);
    else if (!gavel__lock_call_is_sent(&lock->call))
        gavel__lock_fail(lock, GAVEL_LOCK_REJECTED, NULL, now_us);
}

void gavel__lock_line_on_reply(gavel__lock_lane *lane, const gavel_reply *reply, int64_t now_us)
{
    if (lane->n_skipped > 0) {
        lane->n_skipped--;
        return;
    }
    lane->is_blocked = false;
    gavel__lock_line *line = lane->line;
    if (line == NULL)
        return; /* condemned, and this was on its way: the hand-off's time will end it */
    if (reply->type == GAVEL_REPLY_ERROR) {
        on_queue_error(lane, reply->text, now_us);
        return;
    }
    if (reply->type == GAVEL_REPLY_ARRAY && reply->n_elements == 2 &&
        reply->elements[1].text.size <= sizeof(line->turn)) {
        line->turn_size = reply->elements[1].text.size;
        memcpy(line->turn, reply->elements[1].text.data, line->turn_size);
    }
    gavel__lock_line_go_on(line, now_us);
}

/* The lane is DOWN: when it may be dialled next. */
static void reset(gavel__locks *locks, gavel__lock_lane *lane, int64_t now_us)
{
    lane->lane.state = GAVEL__LANE_DOWN;
    lane->lane.is_condemned = false;
    lane->lane.n_new_replies = 0;
    lane->lane.out = NULL;
    lane->is_blocked = false;
    lane->n_skipped = 0;
    lane->retry_us = now_us;
    if (lane->lane.n_failures > 0)
        lane->retry_us += gavel__backoff_fault_us(lane->lane.n_failures, &locks->random);
    lane->lane.n_failures++;
}

void gavel__lock_line_on_down(gavel__locks *locks, gavel__lock_lane *lane, int64_t now_us)
{
    gavel__lock_line *line = lane->line;
    reset(locks, lane, now_us);
    if (line == NULL) {
        pass_lane_on(locks, now_us);
        return;
    }
    /* What was handed off to it meanwhile is found by a probe. */
    gavel_lock *lock = first_of(line);
    if (lock != NULL)
        lock->must_probe = true;
    gavel__lock_line_go_on(line, now_us);
}
