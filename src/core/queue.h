/*
 * The queue: every transaction that is under way, and the budgets that bound it.
 *
 * It decides what becomes of a transaction between rounds: in line for its keys (order.h), paused,
 * or done. Rounds give their members back here; the engine takes them from here.
 */
#ifndef GAVEL__QUEUE_H
#define GAVEL__QUEUE_H

#include "core/context.h"
#include "core/order.h"

typedef struct gavel__queue {
    gavel__context *context;
    gavel__keys keys;
    gavel__order order; /* whose turn it is */
    gavel__list done;   /* to be handed out by the client */
    gavel__line timers; /* of all that are not done: pauses and deadlines */
    size_t n_open;      /* not done */
    uint64_t n_arrived; /* ever: the next sequence number */
} gavel__queue;

void gavel__queue_init(gavel__queue *queue, gavel__context *context);

/* Nothing may be open. */
void gavel__queue_finish(gavel__queue *queue);

/* Takes a transaction that gavel__transaction_begin accepted. False: no memory. */
bool gavel__queue_enter(gavel__queue *queue, gavel__transaction *transaction);

/* For one that was not accepted, or not entered: it is done, its outcome is set. */
void gavel__queue_turn_away(gavel__queue *queue, gavel__transaction *transaction, int64_t now_us);

/* One that may read old data, and has a timer that is due: at a replica it has waited for too long,
 * and reads at the primary. */
void gavel__queue_leave_replica(
    gavel__queue *queue, gavel__transaction *transaction, int64_t now_us);

/* Back in line for its keys, in order of arrival; or CANCELLED if that was asked for. */
void gavel__queue_make_ready(gavel__queue *queue, gavel__transaction *transaction, int64_t now_us);

/* It has left its round, since others have a key that it only writes: it runs again when these are
 * done. */
void gavel__queue_yield(
    gavel__queue *queue, gavel__transaction *transaction, gavel__key *key, int64_t now_us);

/*
 * An attempt came to nothing through no fault of its own: again, or, when its budget of attempts is
 * spent, NOT_SENT with the reason.
 */
void gavel__queue_run_again(
    gavel__queue *queue, gavel__transaction *transaction, const char *reason, int64_t now_us);

/* A READY one waits until the i-th of its keys may be tried again, or half of its time is over. */
void gavel__queue_hold_back(
    gavel__queue *queue, gavel__transaction *transaction, size_t i, int64_t now_us);

/* Until resume_us, or the deadline. */
void gavel__queue_pause(
    gavel__queue *queue, gavel__transaction *transaction, int64_t resume_us, int64_t now_us);

/* It has committed, and is not told yet: REPLICATING, until its durable time or the deadline is
 * over. */
void gavel__queue_hold(gavel__queue *queue, gavel__transaction *transaction, int64_t now_us);

/* An attempt was lost to somebody else, or to RETRY: again from resume_us on, or CONFLICT. */
void gavel__queue_on_conflict(
    gavel__queue *queue, gavel__transaction *transaction, int64_t resume_us, int64_t now_us);

/* What its conflicts were, for people. */
void gavel__queue_explain_conflicts(
    const gavel__transaction *transaction, char message[GAVEL_MESSAGE_SIZE]);

/*
 * Counts a conflict; false, and the transaction is done, when its budget is spent. For a round that
 * keeps its members for a retry at once.
 */
bool gavel__queue_count_conflict(
    gavel__queue *queue, gavel__transaction *transaction, int64_t now_us);

/* An attempt was lost to a link or a server: again after a pause, or NOT_SENT with the message. */
void gavel__queue_on_fault(
    gavel__queue *queue, gavel__transaction *transaction, const char *message, int64_t now_us);

/*
 * In a Cluster: its slot is on another node, or on the way there: again, at once in the first case,
 * but for one that is sent about for long, or after a few milliseconds. Neither is a fault; of
 * attempts it may have cost one, or NOT_SENT if that was the last.
 */
void gavel__queue_on_moved(
    gavel__queue *queue, gavel__transaction *transaction, const char *message, int64_t now_us);
void gavel__queue_on_migrating(
    gavel__queue *queue, gavel__transaction *transaction, const char *message, int64_t now_us);

/* Where ASK leads to. */
typedef struct gavel__ask {
    uint16_t node;
    const char *message; /* for people */
} gavel__ask;

/* Likewise, and at once: it is READY for a scout, or for a guest round. Alone from now on. */
void gavel__queue_send_scout(
    gavel__queue *queue, gavel__transaction *transaction, const char *message, int64_t now_us);
void gavel__queue_send_guest(
    gavel__queue *queue, gavel__transaction *transaction, const gavel__ask *ask, int64_t now_us);

/* It is done. */
void gavel__queue_settle(gavel__queue *queue, gavel__transaction *transaction, gavel_status status,
    const char *message, int64_t now_us);

/* The verdict of an attempt without writes is proved: as its abort_status says, and why. */
void gavel__queue_settle_abort(
    gavel__queue *queue, gavel__transaction *transaction, int64_t now_us);

/* Whether the deadline of any is over. Costs nothing while no timer is due. */
bool gavel__queue_has_overdue(const gavel__queue *queue, int64_t now_us);

/* One whose timer is due, or NULL: the same one until its timer is set anew, or it is done. */
gavel__transaction *gavel__queue_next_due(gavel__queue *queue, int64_t now_us);

/* Releases a round's claim on a key; whoever is first in its line may be ready. */
void gavel__queue_release_key(
    gavel__queue *queue, gavel__key *key, struct gavel__round *round, int64_t now_us);

/* One less of the rounds that write the key blindly, likewise. */
void gavel__queue_remove_writer(gavel__queue *queue, gavel__key *key, int64_t now_us);

#endif
