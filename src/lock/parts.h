/*
 * Between the files of this folder. Each may call those below it:
 *
 *     locks.c
 *     answers.c
 *     line.c
 *     hold.c
 *     control.c    op.c
 *     scripts.c    lease.c
 */
#ifndef GAVEL__LOCK_PARTS_H
#define GAVEL__LOCK_PARTS_H

#include "lock/locks.h"

/* A pause before what failed is tried again. */
#define GAVEL__LOCK_PAUSE_US 50000

/* ---- control.c: scripts and the control lane ----------------------------------------------- */

void gavel__lock_call_init(gavel__lock_call *call, gavel_lock *lock, gavel__lock_op *op);

/* The call, which must be IDLE, is sent when the control lane is up, after those before it. */
void gavel__lock_call_request(
    gavel__locks *locks, gavel__lock_call *call, gavel__lock_call_kind kind);

/* Takes back a PENDING call, or any other; one in flight stays so. */
void gavel__lock_call_withdraw(gavel__lock_call *call);

/* Writes what is pending, or wants the lane for it. */
void gavel__lock_control_advance(gavel__locks *locks, int64_t now_us);

/* An error of the server's to this lock's call: its words are noted. True: it may pass, try again
 * after a pause. The control lane may be closed for it. */
bool gavel__lock_on_error(gavel_lock *lock, gavel_bytes words);

/* The lane is DOWN: when it may be dialled next. Its commands and replies are gone. */
void gavel__lock_lane_reset(gavel__locks *locks, gavel__lock_lane *lane, int64_t now_us);

/* After appending to the lane's buffer, which had `size_before` bytes. */
void gavel__lock_lane_wrote(gavel__lock_lane *lane, size_t size_before, size_t n_replies);

/* ---- line.c: waiting ----------------------------------------------------------------------- */

/* False: no memory. The lock is the last in its name's line. */
bool gavel__lock_line_join(gavel__locks *locks, gavel_lock *lock, int64_t now_us);

/* The lock waits no more, or is about to be granted: then the next one will wait for its end. */
void gavel__lock_line_leave(gavel_lock *lock, bool is_granted, int64_t now_us);

/* Goes on with what the first in line needs; the line may be gone after this. */
void gavel__lock_line_go_on(gavel__locks *locks, gavel__lock_line *line, int64_t now_us);

/* The answer to ASK or CLAIM. */
void gavel__lock_line_on_answer(
    gavel_lock *lock, const gavel__lock_answer *answer, int64_t sent_us, int64_t now_us);

/* The first of the replies to ASK is an error. */
void gavel__lock_line_on_refused_offer(gavel_lock *lock, gavel_bytes words);

/* Nobody knows what became of ASK or CLAIM, or it was not sent. */
void gavel__lock_line_on_lost_call(gavel_lock *lock, bool was_sent, int64_t now_us);

void gavel__lock_line_on_handed_off(gavel__locks *locks, gavel__lock_line *line, int64_t now_us);
void gavel__lock_line_on_reply(
    gavel__locks *locks, gavel__lock_lane *lane, const gavel_reply *reply, int64_t now_us);
void gavel__lock_line_on_down(gavel__locks *locks, gavel__lock_lane *lane, int64_t now_us);

/* The request is over: its line is left, its outcome settled. What the server may have granted is
 * released. `message` NULL: the lock's own. */
void gavel__lock_fail(
    gavel_lock *lock, gavel_lock_status status, const char *message, int64_t now_us);

/* The deadline has passed, or the program has taken the request back. */
void gavel__lock_give_up(gavel_lock *lock, int64_t now_us);

/* ---- hold.c: from the grant to the end ----------------------------------------------------- */

/* WAITING, in no line any more, becomes GRANTED, with a lease that was asked for at that time. */
void gavel__lock_hold(gavel_lock *lock, uint64_t fence, int64_t sent_us);

void gavel__lock_lose(gavel_lock *lock, gavel_lock_reason reason, int64_t now_us);

/* LOST, if the lease has passed on our clock. */
bool gavel__lock_expire(gavel_lock *lock, int64_t now_us);

/* The answer to RENEW or GIVE_BACK; ERROR etc. too. */
void gavel__lock_on_renewed(
    gavel_lock *lock, const gavel__lock_answer *answer, int64_t sent_us, int64_t now_us);
void gavel__lock_on_released(gavel_lock *lock, const gavel__lock_answer *answer, int64_t now_us);
void gavel__lock_on_lost_call(gavel_lock *lock, bool was_sent, int64_t now_us);

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
int64_t gavel__lock_end_of_lease(const gavel_lock *lock, int64_t sent_us);

/* The server has granted a lease that was asked for at that time. The lock must be GRANTED. */
void gavel__lock_set_lease(gavel_lock *lock, int64_t sent_us);

/* A lease is on its way that may be shorter than the one before. */
void gavel__lock_shorten_lease(gavel_lock *lock, int64_t sent_us);

/* A renewal has failed: the next one then. The lock must be GRANTED. */
void gavel__lock_renew_at(gavel_lock *lock, int64_t due_us);

/* Sets the lock's timer. */
void gavel__lock_wake_at(gavel_lock *lock, int64_t due_us);

/* ---- answers.c: what comes back ------------------------------------------------------------ */

void gavel__lock_control_on_reply(gavel__locks *locks, const gavel_reply *reply, int64_t now_us);
void gavel__lock_control_on_down(
    gavel__locks *locks, const gavel__lock_link_loss *loss, int64_t now_us);
/* Operations whose deadline has passed. */
void gavel__locks_end_overdue(gavel__locks *locks, int64_t now_us);

#endif
