/*
 * Between the files of this folder. Each may call those below it:
 *
 *     locks.c
 *     answers.c
 *     line.c
 *     hold.c
 *     call.c       op.c
 *     scripts.c    lease.c
 */
#ifndef GAVEL__LOCK_PARTS_H
#define GAVEL__LOCK_PARTS_H

#include "lock/state.h"

/* A pause before what failed is tried again. */
#define GAVEL__LOCK_PAUSE_US 50000

/* ---- call.c: the scripts of one name, one behind the other ---------------------------------- */

/* The line of that name, made if there is none, for one user more. NULL: no memory. */
gavel__lock_line *gavel__lock_line_enter(gavel__locks *locks, gavel_bytes name);

/* One user less. It is freed with the last one, when nothing of it is under way. */
void gavel__lock_line_let_go(gavel__lock_line *line);

/* `line` NULL: it will not be requested. Whoever makes it says then whose it is. */
void gavel__lock_call_init(
    gavel__lock_call *call, const gavel__locks *locks, gavel__lock_line *line);

/* Before it is freed. It must be IDLE. */
void gavel__lock_call_finish(gavel__lock_call *call);

/* Asks the server, behind those of the same name before it. The call must be IDLE. */
void gavel__lock_call_request(gavel__lock_call *call, gavel__lock_call_kind kind);

/* True: it is IDLE. False: it is sent, and stays so. */
bool gavel__lock_call_withdraw(gavel__lock_call *call);

/* Whether it was sent, and what comes back was not looked at yet. */
static inline bool gavel__lock_call_is_sent(const gavel__lock_call *call)
{
    return call->state == GAVEL__LOCK_CALL_OUT && call->question.state != GAVEL__QUESTION_PENDING;
}

/* The lock's call is sent, and will not be waited for: it asks with its other one. False: that one
 * is under way, too. */
bool gavel__lock_put_call_aside(gavel_lock *lock);

static inline bool gavel__lock_call_is_aside(const gavel__lock_call *call)
{
    return call->lock != NULL && call->op == NULL && call->lock->call != call;
}

/*
 * What came back of it is being looked at: it is IDLE, and keeps its place, should it be requested
 * anew. Then its line goes ahead, and may be gone.
 */
void gavel__lock_call_come_back(gavel__lock_call *call);
void gavel__lock_line_go_ahead(gavel__lock_line *line);

/* The question's text. */
size_t gavel__lock_call_write(gavel__question *question, gavel__buffer *out, int64_t now_us);

/* An error of the server's to this lock's call: its words are noted. True: it may pass, try again
 * after a pause. */
bool gavel__lock_note_error(gavel_lock *lock, gavel_bytes words);

/* ---- line.c: waiting ----------------------------------------------------------------------- */

/* The lock is the last in its line. */
void gavel__lock_line_join(gavel_lock *lock);

/* The lock waits no more, or is about to be granted: then the next one will wait for its end. */
void gavel__lock_line_leave(gavel_lock *lock, bool is_granted, int64_t now_us);

/* Goes on with what the first in line needs. */
void gavel__lock_line_go_on(gavel__lock_line *line);

/* The answer to PROBE or TAKE. */
void gavel__lock_line_on_answer(
    gavel_lock *lock, const gavel__lock_answer *answer, int64_t sent_us, int64_t now_us);

/* The first of the replies to PROBE is an error. */
void gavel__lock_line_on_refused_offer(gavel_lock *lock, gavel_bytes words);

/* Nobody knows what became of PROBE or TAKE, or it was not sent. */
void gavel__lock_line_on_lost_call(gavel_lock *lock, bool was_sent, int64_t now_us);

/* Whatever became of HAND_OFF. */
void gavel__lock_line_on_handed_off(gavel__lock_line *line);

/* The wait's text; what BLPOP has brought; or its link is lost. */
size_t gavel__lock_line_write_wait(gavel__question *question, gavel__buffer *out, int64_t now_us);
void gavel__lock_line_on_turn(gavel__lock_line *line, const gavel_reply *reply, int64_t now_us);
void gavel__lock_line_on_lost_wait(gavel__lock_line *line);

/* The request is over: its line is left, its outcome settled. What the server may have granted is
 * released. `message` NULL: the lock's own. */
void gavel__lock_fail(
    gavel_lock *lock, gavel_lock_status status, const char *message, int64_t now_us);

/* The deadline has passed, or the program has taken the request back. What is sent has some time
 * left to be answered. */
void gavel__lock_give_up(gavel_lock *lock, int64_t now_us);

/* That has passed as well: it is as if the link was lost. */
void gavel__lock_abandon(gavel_lock *lock, int64_t now_us);

/* ---- hold.c: from the grant to the end ----------------------------------------------------- */

/* WAITING, in no line any more, becomes GRANTED, with a lease that was asked for at that time. */
void gavel__lock_hold(gavel_lock *lock, int64_t fence, int64_t sent_us);

void gavel__lock_lose(gavel_lock *lock, gavel_lock_reason reason, int64_t now_us);

/* FORFEITED, if the lease has passed on our clock: true. */
bool gavel__lock_expire(gavel_lock *lock, int64_t now_us);

/* The answer to RENEW or RELEASE; ERROR etc. too. */
void gavel__lock_on_renewed(
    const gavel__lock_call *call, const gavel__lock_answer *answer, int64_t now_us);
void gavel__lock_on_released(gavel_lock *lock, const gavel__lock_answer *answer, int64_t now_us);
void gavel__lock_on_lost_call(gavel_lock *lock, bool was_sent, int64_t now_us);

/* What came back of a call put aside, RENEW, PROBE or TAKE; NULL: it was lost. */
void gavel__lock_on_aside(
    const gavel__lock_call *call, const gavel__lock_answer *answer, bool was_sent, int64_t now_us);

/* Asks the server to renew it, and again, elsewhere, when half of the time left has passed. */
void gavel__lock_renew(gavel_lock *lock, int64_t now_us);

/* Asks the server to take it back, and again until no lease can be left. */
void gavel__lock_release(gavel_lock *lock, int64_t now_us);

/* The server has nothing of it any more, or will not for long. */
void gavel__lock_settle_down(gavel_lock *lock);

/* The program has no more to do with it, and it is in no line. Who held it, or may without knowing
 * (is_lingering), releases it. Frees nothing. */
void gavel__lock_end(gavel_lock *lock, int64_t now_us);

/* Frees it, if it has ENDED and nothing refers to it. */
void gavel__lock_try_free(gavel_lock *lock);

/* ---- op.c: what callers are told ----------------------------------------------------------- */

/* Why there is no connection, for people. Never "": one that is slow to come up has no reason. */
const char *gavel__lock_trouble(const gavel_lock *lock);

/* The op must be NONE. */
void gavel__lock_op_open(gavel__lock_op *op, const gavel__lock_caller *caller, int64_t now_us);

/* To be told, unless it is settled already. `message` may be NULL. */
void gavel__lock_op_settle(
    gavel__lock_op *op, gavel_lock_status status, const char *message, int64_t now_us);

/* The same: LOST, for that reason. */
void gavel__lock_op_settle_lost(gavel__lock_op *op, gavel_lock_reason reason, int64_t now_us);

/* Its caller has heard of it. The op must be SETTLED, and taken from those to be told. */
void gavel__lock_op_told(gavel__lock_op *op);

/* ---- lease.c: time on our clock ------------------------------------------------------------ */

/* When a lease that was asked for at that time is over for certain, on our clock. */
int64_t gavel__lock_end_of_lease(int64_t sent_us, uint32_t lease_ms);

/* The server has granted a lease that was asked for at that time; it counts as far as no other on
 * its way may have shortened it. The lock must be GRANTED. */
void gavel__lock_set_lease(gavel_lock *lock, int64_t sent_us, uint32_t lease_ms);

/* A lease is on its way that may be shorter than the one before. */
void gavel__lock_shorten_lease(gavel_lock *lock, int64_t sent_us, uint32_t lease_ms);

/* A renewal has failed: the next one then. The lock must be GRANTED. */
void gavel__lock_renew_at(gavel_lock *lock, int64_t due_us);

/* A call that asks for a lease is back: the server may have run it just now; or later, if it was
 * sent and its link is lost. */
void gavel__lock_linger(const gavel__lock_call *call, bool is_lost);

/* Those that are under way may be run just now as well. */
void gavel__lock_linger_on(gavel_lock *lock);

/* Sets the lock's timer. */
void gavel__lock_wake_at(gavel_lock *lock, int64_t due_us);

/* ---- answers.c: what comes back ------------------------------------------------------------ */

extern const gavel__question_ops gavel__lock_call_ops;
extern const gavel__question_ops gavel__lock_wait_ops;

/* Operations whose deadline has passed. */
void gavel__locks_end_overdue(gavel__locks *locks, int64_t now_us);

/* Connecting has failed: those who try, and do not wait, are told, if they wait for a link since
 * before that. */
void gavel__locks_end_tries(gavel__locks *locks, int64_t now_us);

#endif
