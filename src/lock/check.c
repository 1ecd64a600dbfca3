/*
 * Checks: what holds of locks between two calls, as the drawings in hold.c, op.c and call.c say it.
 * For tests, which call it after every event; nothing of this is done in a program's run.
 */
#include "lock/check.h"

#include "core/lane.h"
#include "lock/parts.h"

/* Also where a build leaves assertions out: its tests want to be told as well. */
#undef NDEBUG
#include <assert.h>

/* What was counted anew. */
typedef struct counts {
    size_t n_locks;
    size_t n_ops;
    size_t n_held;
    size_t n_calls;
} counts;

static bool is_linked(const gavel__list *node)
{
    return !gavel__list_is_empty(node);
}

static bool is_timed(const gavel__heap_node *timer)
{
    return timer->place > 0;
}

/* ---- Calls and operations ------------------------------------------------------------------ */

static void check_call(const gavel__lock_call *call)
{
    gavel__question_state state = call->question.state;
    switch (call->state) {
    case GAVEL__LOCK_CALL_IDLE:
        assert(!is_linked(&call->node) && state == GAVEL__QUESTION_IDLE);
        break;
    case GAVEL__LOCK_CALL_OUT:
        assert(is_linked(&call->node) && state != GAVEL__QUESTION_IDLE);
        break;
    }
}

/* An acquire that is overdue, or taken back, is only open for the sake of an answer under way, and
 * not for long. */
static bool awaits_answer(const gavel__lock_op *op)
{
    return op->kind == GAVEL__LOCK_OP_ACQUIRE && (op->is_overdue || op->is_cancelled) &&
           gavel__lock_call_is_sent(op->lock->call);
}

static void check_op(const gavel__lock_op *op)
{
    switch (op->state) {
    case GAVEL__LOCK_OP_NONE:
        assert(op->kind == GAVEL__LOCK_OP_RELEASE && !is_timed(&op->timer));
        break;
    case GAVEL__LOCK_OP_OPEN:
        assert(!is_linked(&op->node));
        assert(is_timed(&op->timer));
        break;
    case GAVEL__LOCK_OP_SETTLED:
        assert(is_linked(&op->node) && !is_timed(&op->timer));
        break;
    case GAVEL__LOCK_OP_TOLD:
        assert(!is_timed(&op->timer));
        break;
    }
}

static void check_ops(const gavel_lock *lock, counts *n)
{
    for (const gavel__list *node = lock->ops.next; node != &lock->ops; node = node->next) {
        const gavel__lock_op *op = GAVEL__CONTAINER(node, const gavel__lock_op, lock_node);
        check_op(op);
        check_call(&op->call);
        bool is_idle = op->call.state == GAVEL__LOCK_CALL_IDLE;
        assert(!is_idle || op->state == GAVEL__LOCK_OP_SETTLED);
        assert(op->state != GAVEL__LOCK_OP_OPEN || lock->state != GAVEL__LOCK_STATE_FORFEITED ||
               gavel__lock_call_is_sent(&op->call));
        n->n_ops += op->state == GAVEL__LOCK_OP_OPEN;
        n->n_calls += !is_idle;
    }
}

/* ---- Locks --------------------------------------------------------------------------------- */

static void check_waiting(const gavel_lock *lock)
{
    const gavel__lock_line *line = lock->line;
    const gavel__lock_op *acquire = &lock->acquire;
    gavel__lock_call_kind kind = lock->call->kind;
    bool is_idle = lock->call->state == GAVEL__LOCK_CALL_IDLE;
    assert(acquire->state == GAVEL__LOCK_OP_OPEN && lock->release.state == GAVEL__LOCK_OP_NONE);
    assert(line != NULL && is_linked(&lock->line_node) && !is_linked(&lock->ops));
    assert(!lock->is_lingering);
    assert(is_idle || kind == GAVEL__LOCK_CALL_PROBE || kind == GAVEL__LOCK_CALL_TAKE);
    assert(awaits_answer(acquire) || !(acquire->is_overdue || acquire->is_cancelled));
    if (line->waiting.next != &lock->line_node)
        assert(is_idle && !is_timed(&lock->timer));
    else /* it does not wait in vain */
        assert(!is_idle || is_timed(&lock->timer) || line->wait.state != GAVEL__QUESTION_IDLE ||
               line->hand_off.state != GAVEL__LOCK_CALL_IDLE);
}

static void check_granted(const gavel_lock *lock)
{
    assert(lock->acquire.state >= GAVEL__LOCK_OP_SETTLED);
    assert(lock->acquire.outcome.status == GAVEL_LOCK_HELD);
    assert(lock->release.state == GAVEL__LOCK_OP_NONE);
    assert(lock->fence > 0 && lock->good_until_us > 0 && is_timed(&lock->timer));
    assert(lock->timer.due_us <= lock->good_until_us);
    assert(!lock->is_lingering && lock->reason == GAVEL_LOCK_NOT_LOST);
    assert(
        lock->call->state == GAVEL__LOCK_CALL_IDLE || lock->call->kind == GAVEL__LOCK_CALL_RENEW);
}

/* The server may have it for us: it is told until no lease can be left. */
static void check_lingering(const gavel_lock *lock)
{
    assert(is_timed(&lock->timer) && lock->timer.due_us <= lock->lingers_until_us);
    assert(!lock->is_given_back || !lock->must_release);
}

static void check_ended(const gavel_lock *lock)
{
    assert(!lock->is_lingering && !is_timed(&lock->timer));
    assert(lock->release.state != GAVEL__LOCK_OP_OPEN);
    assert(lock->acquire.state == GAVEL__LOCK_OP_SETTLED ||
           lock->release.state == GAVEL__LOCK_OP_SETTLED || is_linked(&lock->ops) ||
           lock->calls[0].state != GAVEL__LOCK_CALL_IDLE ||
           lock->calls[1].state != GAVEL__LOCK_CALL_IDLE); /* else it would have been freed */
}

static void check_state(const gavel_lock *lock)
{
    switch (lock->state) {
    case GAVEL__LOCK_STATE_WAITING:
        check_waiting(lock);
        break;
    case GAVEL__LOCK_STATE_GRANTED:
        check_granted(lock);
        break;
    case GAVEL__LOCK_STATE_FORFEITED:
        assert(lock->reason != GAVEL_LOCK_NOT_LOST);
        assert(lock->release.state == GAVEL__LOCK_OP_NONE);
        assert(!lock->is_lingering || lock->reason == GAVEL_LOCK_EXPIRED);
        break;
    case GAVEL__LOCK_STATE_ENDING:
        assert(lock->is_lingering && !is_linked(&lock->lost_node));
        break;
    case GAVEL__LOCK_STATE_ENDED:
        check_ended(lock);
        break;
    }
}

static void check_lock(const gavel_lock *lock, counts *n)
{
    bool is_waiting = lock->state == GAVEL__LOCK_STATE_WAITING;
    bool is_granted = lock->state == GAVEL__LOCK_STATE_GRANTED;
    check_state(lock);
    if (lock->is_lingering)
        check_lingering(lock);
    assert(
        is_waiting || (!is_linked(&lock->line_node) && lock->acquire.state > GAVEL__LOCK_OP_OPEN));
    assert(is_granted || lock->good_until_us == 0);
    check_op(&lock->acquire);
    check_op(&lock->release);
    check_call(&lock->calls[0]);
    check_call(&lock->calls[1]);
    check_ops(lock, n);
    n->n_locks++;
    n->n_held += is_granted;
    n->n_ops += lock->acquire.state == GAVEL__LOCK_OP_OPEN;
    n->n_ops += lock->release.state == GAVEL__LOCK_OP_OPEN;
    n->n_calls += lock->calls[0].state != GAVEL__LOCK_CALL_IDLE;
    n->n_calls += lock->calls[1].state != GAVEL__LOCK_CALL_IDLE;
}

/* ---- Lines --------------------------------------------------------------------------------- */

static size_t count_users(const gavel__lock_line *line)
{
    size_t n = 0;
    const gavel__list *all = &line->locks->all;
    for (const gavel__list *node = all->next; node != all; node = node->next)
        n += GAVEL__CONTAINER(node, const gavel_lock, node)->line == line;
    return n;
}

/* Whoever was handed a turn takes it, or it goes to the next. */
static void check_turn(const gavel__lock_line *line)
{
    if (line->turn_size == 0 || line->locks->is_closing)
        return;
    if (line->hand_off.state != GAVEL__LOCK_CALL_IDLE)
        return;
    assert(is_linked(&line->waiting));
    const gavel_lock *first = GAVEL__CONTAINER(line->waiting.next, const gavel_lock, line_node);
    assert(first->call->state != GAVEL__LOCK_CALL_IDLE || is_timed(&first->timer));
}

static void check_line(const gavel__lock_line *line, counts *n)
{
    assert(line->n_users == count_users(line));
    for (const gavel__list *node = line->waiting.next; node != &line->waiting; node = node->next) {
        const gavel_lock *lock = GAVEL__CONTAINER(node, const gavel_lock, line_node);
        assert(lock->state == GAVEL__LOCK_STATE_WAITING && lock->line == line);
    }
    for (const gavel__list *node = line->calls.next; node != &line->calls; node = node->next)
        assert(GAVEL__CONTAINER(node, const gavel__lock_call, node)->line == line);
    check_call(&line->hand_off);
    check_turn(line);
    n->n_calls += line->hand_off.state != GAVEL__LOCK_CALL_IDLE;
    /* It stands in the queue for somebody, or leaves it. */
    assert(line->wait.state == GAVEL__QUESTION_IDLE || is_linked(&line->waiting) ||
           (line->wait.state == GAVEL__QUESTION_ASKED && line->wait.lane->is_condemned));
    assert(line->n_users > 0 || is_linked(&line->calls) ||
           line->wait.state != GAVEL__QUESTION_IDLE); /* else it would have been freed */
}

void gavel__locks_check(const gavel__locks *locks)
{
    counts n = {.n_locks = 0};
    for (const gavel__list *node = locks->all.next; node != &locks->all; node = node->next)
        check_lock(GAVEL__CONTAINER(node, const gavel_lock, node), &n);
    for (size_t i = 0; i < locks->lines.n_buckets; i++) {
        for (const gavel__map_node *node = locks->lines.buckets[i]; node != NULL; node = node->next)
            check_line(GAVEL__CONTAINER(node, const gavel__lock_line, map_node), &n);
    }
    assert(n.n_locks == locks->n_locks && n.n_held == locks->n_held);
    assert(n.n_ops == locks->n_ops && n.n_calls == locks->n_calls);
}
