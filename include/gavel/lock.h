/*
 * Locks: for work that Redis itself cannot guard, such as writing a file or calling a service.
 *
 *     gavel_lock_outcome got = gavel_lock_acquire(client,
 *         &(gavel_lock_request){.name = GAVEL_STR("report:7"), .wait_ms = 2000});
 *     if (got.status == GAVEL_LOCK_HELD) {
 *         write_report(got.fence);
 *         gavel_lock_release(got.lock);
 *     }
 *
 * A lock is held for a lease, which gavel renews at a third of it until the lock is released. Those
 * who wait are served in order of arrival, and are woken: nobody polls.
 *
 * What a lock can promise, and what not:
 *
 *   - While one grant holds on the server, no other is made. But a program can be stopped, or cut
 *     off from the server, for longer than its lease, and the server can lose its data. Then the
 *     lock is lost: whoever is next gets it, and the former holder may not know yet.
 *   - So whatever the lock guards should refuse a former holder. Every grant has a fencing number
 *     larger than all before it: pass it along with each write, and let the store refuse a smaller
 *     one than it has seen (examples/fencing). For commands on the same server, gavel_lock_do.
 *   - A program that is stopped and goes on later learns of a loss by the first call it makes, and
 *     before any other callback.
 *
 * docs/locks.md has the protocol.
 */
#ifndef GAVEL_LOCK_H
#define GAVEL_LOCK_H

#include <gavel/client.h>
#include <gavel/transaction.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- What is told -------------------------------------------------------------------------- */

/*
 * Every status: its code, its name, what it means. BUSY: the caller never held the lock;
 * LOST: it did. A zeroed outcome is INVALID.
 */
#define GAVEL_LOCK_STATUSES(X)                                                                     \
    X(INVALID, "INVALID", "the call broke a rule; nothing was asked of the server")                \
    X(HELD, "HELD", "the lock is held by this handle")                                             \
    X(RELEASED, "RELEASED", "the lock was held up to its release")                                 \
    X(BUSY, "BUSY", "somebody else held the lock; the caller did not get it")                      \
    X(LOST, "LOST", "the lock was held, and was lost; nothing was done under it")                  \
    X(CANCELLED, "CANCELLED", "the program took the request back; the lock is not held")           \
    X(NOT_SENT, "NOT_SENT", "the server was not reached, or could not serve the request")          \
    X(REJECTED, "REJECTED", "the server refused; nothing has changed")                             \
    X(UNKNOWN, "UNKNOWN", "the request was sent and the answer was lost; it may have been served")

typedef enum gavel_lock_status {
#define GAVEL_LOCK_STATUS_CODE(code, name, meaning) GAVEL_LOCK_##code,
    GAVEL_LOCK_STATUSES(GAVEL_LOCK_STATUS_CODE)
#undef GAVEL_LOCK_STATUS_CODE
} gavel_lock_status;

/* The status's name, such as "HELD"; "?" for a value that is none. Never freed. Any thread. */
GAVEL_EXPORT const char *gavel_lock_status_name(gavel_lock_status status);

/* One sentence on what the status means; "?" for a value that is none. Never freed. Any thread. */
GAVEL_EXPORT const char *gavel_lock_status_meaning(gavel_lock_status status);

/* Why a lock was lost: its code, its name, what it means. */
#define GAVEL_LOCK_REASONS(X)                                                                      \
    X(NOT_LOST, "not lost", "it was not lost")                                                     \
    X(EXPIRED, "expired", "the lease passed on this machine's clock without a renewal")            \
    X(GONE, "gone", "the server no longer knows of it: it was deleted, or the data were lost")     \
    X(TAKEN, "taken", "the server's record names somebody else")

typedef enum gavel_lock_reason {
#define GAVEL_LOCK_REASON_CODE(code, name, meaning) GAVEL_LOCK_##code,
    GAVEL_LOCK_REASONS(GAVEL_LOCK_REASON_CODE)
#undef GAVEL_LOCK_REASON_CODE
} gavel_lock_reason;

/* The reason's name, such as "expired"; "?" for a value that is none. Never freed. Any thread. */
GAVEL_EXPORT const char *gavel_lock_reason_name(gavel_lock_reason reason);

/* One sentence on the reason; "?" for a value that is none. Never freed. Any thread. */
GAVEL_EXPORT const char *gavel_lock_reason_meaning(gavel_lock_reason reason);

/*
 * A grant, from HELD until it is released: also one that was lost has to be released, which then
 * only frees. It belongs to its client: gavel_close releases and frees what is left.
 *
 * Threads: a blocking client's handles may be used by any thread, by several at once, but nobody
 * may use one once its release has begun. An attached client's only in the loop's thread, but for
 * gavel_lock_remaining_ms and gavel_lock_fence.
 */
typedef struct gavel_lock gavel_lock;

/* What became of an acquire, release, extend or guarded command. */
typedef struct gavel_lock_outcome {
    gavel_lock_status status;
    gavel_lock_reason reason; /* LOST: why; else GAVEL_LOCK_NOT_LOST */
    gavel_lock *lock;         /* acquire, HELD: the handle, for gavel_lock_release; else NULL */
    int64_t fence;            /* of the grant; 0: there was none */
    int64_t elapsed_us;       /* from the call to the outcome, in microseconds */
    const gavel_reply *reply; /* guarded command with keep_reply, HELD: the command's; else NULL */
    char message[GAVEL_MESSAGE_SIZE]; /* why, for people; may be "" */
    uint64_t reserved[4];             /* zero; see gavel/gavel.h */
} gavel_lock_outcome;

/*
 * Frees the reply that an outcome holds and zeroes the field. Takes NULL, and an outcome without
 * one. Only what gavel_lock_do returned for a command with keep_reply needs it. Any thread.
 */
GAVEL_EXPORT void gavel_lock_outcome_clear(gavel_lock_outcome *outcome);

/* ---- Acquiring ----------------------------------------------------------------------------- */

/*
 * Told once when a lock that was held is lost, before the client does or tells anything else; not
 * after its release has begun, and not for gavel_close. The handle is still to be released.
 *
 * Called by the thread that drives the client: an attached client's loop, where it may do what a
 * completion callback may, also release the lock; for a blocking client any thread that is inside
 * gavel, or gavel's own, and then it may call nothing but gavel_lock_remaining_ms, gavel_lock_fence
 * and the functions for names and meanings. It must be brief: renewals of other locks wait for it.
 */
typedef void gavel_lock_lost(gavel_lock *lock, gavel_lock_reason reason, void *user);

/* The longest name of a lock, in bytes. */
#define GAVEL_LOCK_NAME_MAX 512

/* What is asked for. Zero means the default, which stands beside the field. */
typedef struct gavel_lock_request {
    /* Which lock: any bytes, 1 to GAVEL_LOCK_NAME_MAX of them; copied. */
    gavel_bytes name;
    /* 0: 10000. 100 to 86400000. For how long the server keeps the lock for a holder that it does
     * not hear from. Renewed at a third of it. */
    uint32_t lease_ms;
    /* 0: 10000. For how long to wait while somebody else holds the lock. An answer that is under
     * way then is awaited for command_timeout_ms more. */
    uint32_t wait_ms;
    /* false: waits. true: BUSY at once; wait_ms is not looked at. */
    bool is_try;
    /* false: the lease is renewed. true: it ends, unless the program extends it. */
    bool is_fixed;
    /* NULL: none; then the program has to look at gavel_lock_remaining_ms. */
    gavel_lock_lost *on_lost;
    /* Passed to the callbacks. */
    void *user;
    uint64_t reserved[8]; /* zero; see gavel/gavel.h */
} gavel_lock_request;

/*
 * Acquires a lock, and returns when it is held, or cannot be. Blocks; any thread; on an attached
 * client, and in a body, hook or on_lost, it returns INVALID at once, and so it does for a NULL.
 *
 *     HELD       outcome.lock is to be released
 *     BUSY       others held it all the time; the message says who does
 *     CANCELLED  the client was closed meanwhile
 *     NOT_SENT   no connection, no memory, no thread; it is not held
 *     REJECTED   the server refused, in the message's words
 *     UNKNOWN    an answer was lost and the time ran out. If it was granted after all, gavel
 *                releases it, and where it cannot the lease ends it
 *
 * The outcome comes when the time to wait is over; if just then an answer of the server is under
 * way, when that comes, at most config.command_timeout_ms later. A try is given the time to connect
 * and that to answer. While others of the same client wait for the same lock, a new caller lines up
 * behind them, and a try is BUSY.
 */
GAVEL_EXPORT gavel_lock_outcome gavel_lock_acquire(
    gavel_client *client, const gavel_lock_request *request);

/*
 * Told once for each gavel_lock_begin_..., from the client's loop, never before that has returned.
 * `outcome` lives until the callback returns; outcome->lock, if it is not NULL, is the callback's
 * to keep and to release. May do what a gavel_done may.
 */
typedef void gavel_lock_done(const gavel_lock_outcome *outcome, void *user);

/*
 * Begins to acquire a lock on an attached client; `done` gets the outcome and request->user.
 * Returns a ticket for gavel_lock_cancel, or 0, and then does not call `done`, when there was no
 * memory or the call was not allowed (no `done`, say); the log says which. A lock that is waited
 * for or held keeps ev_run from returning, or gavel_turn says true.
 */
GAVEL_EXPORT gavel_ticket gavel_lock_begin_acquire(
    gavel_client *client, const gavel_lock_request *request, gavel_lock_done *done);

/*
 * Takes a request back: `done` will be called with CANCELLED, later; if the lock was being granted
 * at this moment it is released. Returns false, and does nothing, for a ticket that is 0 or whose
 * outcome is settled: a HELD may be on its way to `done`. Legal in every completion callback.
 */
GAVEL_EXPORT bool gavel_lock_cancel(gavel_client *client, gavel_ticket ticket);

/* ---- Holding ------------------------------------------------------------------------------- */

/*
 * For how much longer the lock is held for certain, in milliseconds, if no renewal comes; 0: it is
 * lost, or as good as lost. Counts from before the last renewal was sent, on a clock that also
 * counts while the machine sleeps, less a thousandth of the lease and a millisecond for clocks that
 * do not agree. Costs one look at that clock. Any thread, also in callbacks; 0 in a child process,
 * and for NULL.
 */
GAVEL_EXPORT int64_t gavel_lock_remaining_ms(const gavel_lock *lock);

/*
 * The grant's fencing number: larger than that of every earlier grant of the same name, also after
 * the server has lost its data, as long as its clock does not go back. Any thread, also in
 * callbacks; 0 for NULL.
 */
GAVEL_EXPORT int64_t gavel_lock_fence(const gavel_lock *lock);

/*
 * Renews the lease now, and from now on with `lease_ms` (0: as before; else 100 to 86400000). A
 * renewal that the server does not answer within the lease is a loss as any other. Blocks; threads
 * and INVALID as for gavel_lock_acquire.
 *
 *     HELD       renewed
 *     LOST       it was lost, and stays lost
 *     NOT_SENT   not renewed: there was no connection in time
 *     REJECTED   not renewed, in the server's words
 *     UNKNOWN    the answer was lost or late
 *
 * After the last three the lock is still held for as long as gavel_lock_remaining_ms says.
 */
GAVEL_EXPORT gavel_lock_outcome gavel_lock_extend(gavel_lock *lock, uint32_t lease_ms);

/* The same on an attached client; `done` may be NULL. False: as a ticket of 0. */
GAVEL_EXPORT bool gavel_lock_begin_extend(
    gavel_lock *lock, uint32_t lease_ms, gavel_lock_done *done, void *user);

/* ---- Guarded commands ---------------------------------------------------------------------- */

/* The most arguments of a guarded command. */
#define GAVEL_LOCK_ARGS_MAX 4096

/* A command to be run under a lock. Zero means the default, which stands beside the field. */
typedef struct gavel_lock_command {
    gavel_command command; /* its arguments are copied */
    uint32_t deadline_ms;  /* 0: 5000. From the call to the outcome */
    bool keep_reply;       /* hand the reply out in the outcome */
    uint64_t reserved[4];  /* zero; see gavel/gavel.h */
} gavel_lock_command;

/*
 * Runs a command on the server if, and only if, this grant holds there at that moment: a script
 * looks at the lock's record and calls the command, as one step. Not for commands that a script may
 * not call (those that block, and control commands). Of one that gavel does not know, n_keys is
 * taken as it is: the server is not asked. Integers in the reply are exact up to 2^53. In a Cluster
 * its keys lie in the slot of the lock's name, by a common hash tag; else INVALID.
 * Blocks; threads and INVALID as for gavel_lock_acquire.
 *
 *     HELD       it was run
 *     LOST       it was not run: the lock was lost before
 *     REJECTED   it was not run, or failed, in the server's words
 *     NOT_SENT   it was not run: there was no connection by the deadline
 *     UNKNOWN    it was sent and the answer was lost or late; gavel does not try again
 */
GAVEL_EXPORT gavel_lock_outcome gavel_lock_do(gavel_lock *lock, const gavel_lock_command *command);

/* The same on an attached client; `done` may be NULL. False: as a ticket of 0. */
GAVEL_EXPORT bool gavel_lock_begin_do(
    gavel_lock *lock, const gavel_lock_command *command, gavel_lock_done *done, void *user);

/* ---- Releasing ----------------------------------------------------------------------------- */

/*
 * Releases the lock and frees the handle, whatever the outcome. Renewals end at once. Guarded
 * commands that were begun before are sent before. Blocks; threads as for gavel_lock_acquire. Where
 * that returns INVALID (and for NULL) nothing is released and the handle stays.
 *
 *     RELEASED   it was held up to now, and whoever is next gets it
 *     LOST       it had been lost before: what was done under it may have met with another holder
 *     NOT_SENT   the server could not be told; the lease ends it
 *     UNKNOWN    the server was told, and the answer was lost
 *     REJECTED   the server refused; the lease ends it
 *
 * Waits for the server no longer than config.connect_timeout_ms and command_timeout_ms together,
 * and goes on trying behind the caller's back until the lease is over.
 */
GAVEL_EXPORT gavel_lock_outcome gavel_lock_release(gavel_lock *lock);

/*
 * The same on an attached client, for whoever wants to know (`done` may be NULL). The handle must
 * not be used after this call. False: as INVALID above; the log says why. Never fails for memory.
 */
GAVEL_EXPORT bool gavel_lock_begin_release(gavel_lock *lock, gavel_lock_done *done, void *user);

#ifdef __cplusplus
}
#endif

#endif
