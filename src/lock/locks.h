/*
 * Locks: a client's requests, waits and grants. The locks' face to the client.
 *
 * As the engine, this does no I/O and draws no randomness: bytes, replies, time and random bits
 * come in as arguments; what goes out is questions, losses and outcomes to be told. After any
 * number of calls that tell it something the client calls gavel__locks_advance, and then looks at
 * these.
 *
 * Its time is not the engine's: it also counts while the machine sleeps. Here `now_us` is of this
 * clock throughout, and the answers to questions, which bring the engine's, are looked at by
 * config.read_clock.
 *
 *     gavel_lock          one request, and then the grant; hold.c has its states
 *     gavel__lock_line    one name here: who waits for it, and what is asked of the server
 *     gavel__lock_op      what a caller is to be told about
 *     gavel__lock_call    a script on its way to the server and back
 */
#ifndef GAVEL__LOCKS_H
#define GAVEL__LOCKS_H

#include "lock/state.h"

/* ---- For the client ------------------------------------------------------------------------ */

void gavel__locks_init(gavel__locks *locks, const gavel__locks_config *config);

/* Frees everything, told or not. Takes zeroed locks. */
void gavel__locks_finish(gavel__locks *locks);

/* NULL: no memory. Otherwise its op `acquire` will be among the done ones, once. */
gavel_lock *gavel__locks_acquire(gavel__locks *locks, const gavel_lock_request *request,
    const gavel__lock_caller *caller, int64_t now_us);

/* False: there is no such request, or it is settled. */
bool gavel__locks_cancel(gavel__locks *locks, gavel_ticket ticket, int64_t now_us);

/* Each NULL for no memory; otherwise the op will be among the done ones, once. */
gavel__lock_op *gavel__locks_extend(
    gavel_lock *lock, uint32_t lease_ms, const gavel__lock_caller *caller, int64_t now_us);
gavel__lock_op *gavel__locks_do(gavel_lock *lock, const gavel_lock_command *command,
    const gavel__lock_caller *caller, int64_t now_us);

/* The handle is the locks' own again. The op `release` will be among the done ones, once. */
void gavel__locks_release(gavel_lock *lock, const gavel__lock_caller *caller, int64_t now_us);

/*
 * Takes all requests back and releases all locks; their handles are the program's no more. With
 * `is_final` nothing is waited for: every outcome is there at once.
 */
void gavel__locks_close(gavel__locks *locks, bool is_final, int64_t now_us);

/* ---- Events -------------------------------------------------------------------------------- */

/* Locks whose lease has passed are lost: to be told before anything else is done. */
void gavel__locks_expire(gavel__locks *locks, int64_t now_us);

/* Timers and deadlines. Asks questions, which the engine serves next. */
void gavel__locks_advance(gavel__locks *locks, int64_t now_us);

/* Whether the deadline of any operation has passed: gavel__locks_advance would tell it so. */
bool gavel__locks_has_overdue(const gavel__locks *locks, int64_t now_us);

/* When gavel__locks_advance wants to be called again. */
int64_t gavel__locks_due_us(const gavel__locks *locks);

/* The next loss to be told, or NULL; each once. */
gavel_lock *gavel__locks_take_lost(gavel__locks *locks);

/* The next op to be told, or NULL; to be handed back when it was told. */
gavel__lock_op *gavel__locks_take_done(gavel__locks *locks);
void gavel__locks_drop_op(gavel__lock_op *op);

/* Whether nothing is asked of the server, but waiting, and nothing to be told: until the next timer
 * nobody has to look after the links. */
bool gavel__locks_are_idle(const gavel__locks *locks);

/* Whether somebody waits to be told, or holds a lock. */
bool gavel__locks_are_busy(const gavel__locks *locks);

#endif
