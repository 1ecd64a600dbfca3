/*
 * The queue: see the header. Everything that ends a transaction goes through finish() below.
 */
#include "core/queue.h"

#include "base/histogram.h"
#include "base/text.h"
#include "core/backoff.h"

#include <assert.h>
#include <string.h>

/* Too short for an attempt that has to wait for anything. */
static const int64_t last_moments_us = 2000;

void gavel__queue_init(gavel__queue *queue, gavel__context *context)
{
    *queue = (gavel__queue){.context = context};
    gavel__keys_init(&queue->keys, context->allocator, gavel__random_next(&context->random));
    gavel__order_init(&queue->order, &queue->keys);
    gavel__list_init(&queue->done);
}

void gavel__queue_finish(gavel__queue *queue)
{
    gavel__keys_finish(&queue->keys);
}

/* ---- Ends ---------------------------------------------------------------------------------- */

static void finish(gavel__queue *queue, gavel__transaction *transaction, int64_t now_us)
{
    gavel_outcome *outcome = &transaction->outcome;
    outcome->elapsed_us = now_us - transaction->started_us;
    if (!gavel_is_committed(outcome))
        outcome->result_size = 0; /* set by an attempt that came to nothing */
    if (outcome->status != GAVEL_ABORTED)
        outcome->abort_code = 0; /* likewise */
    queue->context->stats.n_outcomes[outcome->status]++;
    queue->context->stats.latencies[gavel__latency_bucket(outcome->elapsed_us)]++;
    gavel__order_leave(&queue->order, transaction, now_us);
    gavel__order_forget(&queue->order, transaction);
    gavel__list_append(&queue->done, &transaction->node);
    gavel__context_tell(queue->context, GAVEL_EVENT_OUTCOME, 0, transaction, outcome->message);
}

void gavel__queue_settle(gavel__queue *queue, gavel__transaction *transaction, gavel_status status,
    const char *message, int64_t now_us)
{
    gavel__line_remove(&queue->timers, &transaction->timer);
    queue->n_open--;
    gavel__transaction_settle(transaction, status, message);
    if (transaction->is_doubtful && !gavel_is_committed(&transaction->outcome))
        transaction->outcome.status = GAVEL_UNKNOWN; /* "nothing was written": not known */
    finish(queue, transaction, now_us);
}

void gavel__queue_settle_abort(gavel__queue *queue, gavel__transaction *transaction, int64_t now_us)
{
    const char *why = transaction->why != NULL ? transaction->why : "aborted";
    transaction->is_doubtful = false; /* its EXEC was made: no earlier one of this id can be */
    gavel__queue_settle(queue, transaction, transaction->abort_status, why, now_us);
}

void gavel__queue_turn_away(gavel__queue *queue, gavel__transaction *transaction, int64_t now_us)
{
    finish(queue, transaction, now_us);
}

/* ---- Between rounds ------------------------------------------------------------------------ */

static void set_timer(gavel__queue *queue, gavel__transaction *transaction, int64_t due_us)
{
    gavel__line_node *timer = &transaction->timer;
    if (gavel__line_has(timer)) {
        if (timer->order == (uint64_t)due_us)
            return;
        gavel__line_remove(&queue->timers, timer);
    }
    timer->order = (uint64_t)due_us;
    gavel__line_insert(&queue->timers, timer);
}

/* Its deadline; or, of one that may be at a replica, when the primary is to have its chance. */
static int64_t due_us(const gavel__transaction *transaction, int64_t now_us)
{
    static const int64_t least_us = 50000;
    int64_t half_us = (transaction->deadline_us - now_us) / 2;
    bool may_leave = transaction->is_stale_ok && !transaction->needs_primary;
    return may_leave && half_us >= least_us ? now_us + half_us : transaction->deadline_us;
}

bool gavel__queue_enter(gavel__queue *queue, gavel__transaction *transaction)
{
    if (!gavel__order_know(&queue->order, transaction))
        return false;
    queue->n_open++;
    transaction->sequence = queue->n_arrived++;
    transaction->n_may_pass = GAVEL__MAX_OVERTAKEN;
    transaction->n_asides = 0;
    set_timer(queue, transaction, due_us(transaction, transaction->started_us));
    gavel__order_enter(&queue->order, transaction, transaction->started_us);
    return true;
}

/* From a round, or a pause. False: it is done. */
static bool come_back(gavel__queue *queue, gavel__transaction *transaction, int64_t now_us)
{
    transaction->round = NULL;
    transaction->is_scout = false;
    transaction->guest_at = GAVEL__NO_NODE;
    if (transaction->is_cancelled) {
        gavel__queue_settle(queue, transaction, GAVEL_CANCELLED, "cancelled", now_us);
        return false;
    }
    assert(transaction->outcome.n_attempts < transaction->max_attempts);
    if (!gavel__order_know(&queue->order, transaction)) {
        gavel__queue_settle(queue, transaction, GAVEL_NOT_SENT, "no memory", now_us);
        return false;
    }
    set_timer(queue, transaction, due_us(transaction, now_us));
    return true;
}

void gavel__queue_make_ready(gavel__queue *queue, gavel__transaction *transaction, int64_t now_us)
{
    if (come_back(queue, transaction, now_us))
        gavel__order_enter(&queue->order, transaction, now_us);
}

void gavel__queue_leave_replica(
    gavel__queue *queue, gavel__transaction *transaction, int64_t now_us)
{
    transaction->needs_primary = true;
    if (transaction->replica != NULL && transaction->round != NULL) {
        gavel__queue_make_ready(queue, transaction, now_us);
        return;
    }
    set_timer(queue, transaction, transaction->deadline_us);
    if (transaction->replica != NULL)
        gavel__order_place(&queue->order, transaction, now_us);
}

void gavel__queue_yield(
    gavel__queue *queue, gavel__transaction *transaction, gavel__key *key, int64_t now_us)
{
    if (come_back(queue, transaction, now_us))
        gavel__order_yield(&queue->order, transaction, key);
}

void gavel__queue_run_again(
    gavel__queue *queue, gavel__transaction *transaction, const char *reason, int64_t now_us)
{
    if (transaction->is_cancelled || transaction->outcome.n_attempts < transaction->max_attempts) {
        gavel__queue_make_ready(queue, transaction, now_us);
        return;
    }
    char message[GAVEL_MESSAGE_SIZE];
    gavel__format(message, sizeof(message),
        "max_attempts (%u) are spent; the last one was lost: %s",
        (unsigned)transaction->max_attempts, reason);
    gavel__queue_settle(queue, transaction, GAVEL_NOT_SENT, message, now_us);
}

/* A pause that outlasts the deadline would throw the last chance away; an attempt that begins in
 * the last moments would only end in doubt. */
static void begin_pause(
    gavel__queue *queue, gavel__transaction *transaction, int64_t resume_us, int64_t now_us)
{
    int64_t half_us = (transaction->deadline_us - now_us) / 2;
    if (resume_us - now_us > half_us)
        resume_us = half_us >= last_moments_us ? now_us + half_us : transaction->deadline_us;
    transaction->resume_us = resume_us;
    set_timer(queue, transaction, resume_us);
}

void gavel__queue_pause(
    gavel__queue *queue, gavel__transaction *transaction, int64_t resume_us, int64_t now_us)
{
    if (transaction->is_cancelled || resume_us <= now_us) {
        gavel__queue_make_ready(queue, transaction, now_us);
        return;
    }
    gavel__order_leave(&queue->order, transaction, now_us);
    transaction->round = NULL;
    gavel__transaction_set_state(transaction, GAVEL__TX_PAUSED);
    begin_pause(queue, transaction, resume_us, now_us);
}

void gavel__queue_hold_back(
    gavel__queue *queue, gavel__transaction *transaction, size_t i, int64_t now_us)
{
    gavel__order_hold_back(&queue->order, transaction, i, now_us);
    begin_pause(queue, transaction, transaction->holds[i].known->heat.resume_us, now_us);
}

void gavel__queue_hold(gavel__queue *queue, gavel__transaction *transaction, int64_t now_us)
{
    int64_t until_us = now_us + (int64_t)transaction->durable_ms * 1000;
    gavel__order_leave(&queue->order, transaction, now_us);
    gavel__order_forget(&queue->order, transaction);
    transaction->round = NULL;
    gavel__transaction_set_state(transaction, GAVEL__TX_REPLICATING);
    set_timer(queue, transaction,
        until_us < transaction->deadline_us ? until_us : transaction->deadline_us);
}

void gavel__queue_explain_conflicts(
    const gavel__transaction *transaction, char message[GAVEL_MESSAGE_SIZE])
{
    unsigned n_retries = transaction->n_retries;
    unsigned n_lost = transaction->outcome.n_conflicts - n_retries;
    char key[64];
    char retries[48] = "";
    const char *separator = n_retries > 0 ? "; " : "";
    if (n_retries > 0)
        gavel__format(retries, sizeof(retries), "the body said RETRY %u times", n_retries);
    if (n_lost == 0)
        gavel__format(message, GAVEL_MESSAGE_SIZE, "%s", retries);
    else if (transaction->n_keys == 0)
        gavel__format(message, GAVEL_MESSAGE_SIZE,
            "%s%slost %u times, though it reads no key, to whoever deletes the markers", retries,
            separator, n_lost);
    else
        gavel__format(message, GAVEL_MESSAGE_SIZE, "%s%slost %u times to other writers of \"%s\"%s",
            retries, separator, n_lost, gavel__printable(transaction->keys[0], key, sizeof(key)),
            transaction->n_keys > 1 ? " and its other keys" : "");
}

bool gavel__queue_count_conflict(
    gavel__queue *queue, gavel__transaction *transaction, int64_t now_us)
{
    gavel_outcome *outcome = &transaction->outcome;
    char message[GAVEL_MESSAGE_SIZE];
    outcome->n_conflicts++;
    transaction->n_cuts = 0; /* the server took it whole */
    gavel__queue_explain_conflicts(transaction, message);
    gavel__context_tell(queue->context, GAVEL_EVENT_CONFLICT, 0, transaction, message);
    if (transaction->is_cancelled) {
        gavel__queue_settle(queue, transaction, GAVEL_CANCELLED, "cancelled", now_us);
        return false;
    }
    if (outcome->n_conflicts > transaction->max_conflicts ||
        outcome->n_attempts >= transaction->max_attempts) {
        gavel__queue_settle(queue, transaction, GAVEL_CONFLICT, message, now_us);
        return false;
    }
    return true;
}

void gavel__queue_on_conflict(
    gavel__queue *queue, gavel__transaction *transaction, int64_t resume_us, int64_t now_us)
{
    if (gavel__queue_count_conflict(queue, transaction, now_us))
        gavel__queue_pause(queue, transaction, resume_us, now_us);
}

/* So often by chance, without a conflict between? The server takes no write of this size. */
static const uint32_t cuts_max = 3;

static void settle_cut(gavel__queue *queue, gavel__transaction *transaction, int64_t now_us)
{
    char message[GAVEL_MESSAGE_SIZE];
    gavel__format(message, sizeof(message),
        "%zu bytes were sent at once, and the link was lost, %u times: the server's "
        "client-query-buffer-limit may be less",
        transaction->n_cut_bytes, (unsigned)transaction->n_cuts);
    gavel__queue_settle(queue, transaction, GAVEL_NOT_SENT, message, now_us);
}

void gavel__queue_on_fault(
    gavel__queue *queue, gavel__transaction *transaction, const char *message, int64_t now_us)
{
    gavel_outcome *outcome = &transaction->outcome;
    outcome->n_faults++;
    if (transaction->n_cuts == cuts_max && !transaction->is_cancelled) {
        settle_cut(queue, transaction, now_us);
        return;
    }
    bool is_spent = outcome->n_faults > transaction->max_faults ||
                    outcome->n_attempts >= transaction->max_attempts;
    if (is_spent && !transaction->is_cancelled) {
        gavel__queue_settle(queue, transaction, GAVEL_NOT_SENT, message, now_us);
        return;
    }
    gavel__transaction_note(transaction, &transaction->last_fault, message);
    gavel__transaction_drop_unknown(transaction);
    int64_t pause_us = gavel__backoff_fault_us(outcome->n_faults, &queue->context->random);
    gavel__queue_pause(queue, transaction, now_us + pause_us, now_us);
}

/* ---- Slots that move ----------------------------------------------------------------------- */

static void pause_for_slot(gavel__queue *queue, gavel__transaction *transaction,
    const char *message, int64_t pause_us, int64_t now_us)
{
    gavel__transaction_note(transaction, &transaction->last_fault, message);
    gavel__transaction_drop_unknown(transaction);
    if (pause_us == 0 || transaction->outcome.n_attempts >= transaction->max_attempts)
        gavel__queue_run_again(queue, transaction, message, now_us);
    else
        gavel__queue_pause(queue, transaction, now_us + pause_us, now_us);
}

void gavel__queue_on_moved(
    gavel__queue *queue, gavel__transaction *transaction, const char *message, int64_t now_us)
{
    int64_t pause_us = gavel__backoff_moved_us(++transaction->n_redirects, &queue->context->random);
    pause_for_slot(queue, transaction, message, pause_us, now_us);
}

void gavel__queue_on_migrating(
    gavel__queue *queue, gavel__transaction *transaction, const char *message, int64_t now_us)
{
    int64_t pause_us = gavel__backoff_migrating_us(&queue->context->random);
    pause_for_slot(queue, transaction, message, pause_us, now_us);
}

/* Alone: others of its round may have keys elsewhere. */
static bool come_back_alone(
    gavel__queue *queue, gavel__transaction *transaction, const char *message, int64_t now_us)
{
    gavel__transaction_note(transaction, &transaction->last_fault, message);
    gavel__transaction_drop_unknown(transaction);
    transaction->is_alone = true;
    if (transaction->is_cancelled || transaction->outcome.n_attempts < transaction->max_attempts)
        return come_back(queue, transaction, now_us);
    gavel__queue_run_again(queue, transaction, message, now_us); /* settles it */
    return false;
}

void gavel__queue_send_scout(
    gavel__queue *queue, gavel__transaction *transaction, const char *message, int64_t now_us)
{
    if (!come_back_alone(queue, transaction, message, now_us))
        return;
    transaction->is_scout = true;
    gavel__order_enter(&queue->order, transaction, now_us);
}

void gavel__queue_send_guest(
    gavel__queue *queue, gavel__transaction *transaction, const gavel__ask *ask, int64_t now_us)
{
    if (!come_back_alone(queue, transaction, ask->message, now_us))
        return;
    transaction->guest_at = ask->node;
    gavel__order_enter(&queue->order, transaction, now_us);
}

/* ---- Timers and keys ----------------------------------------------------------------------- */

static bool is_overdue(const gavel__line_node *timer, uint64_t now_us)
{
    return GAVEL__CONTAINER(timer, const gavel__transaction, timer)->deadline_us <= (int64_t)now_us;
}

/* A deadline may hide behind a pause that is due as well. */
bool gavel__queue_has_overdue(const gavel__queue *queue, int64_t now_us)
{
    const gavel__line_node *first = gavel__line_first(&queue->timers);
    if (first == NULL || (int64_t)first->order > now_us) /* mostly */
        return false;
    return gavel__line_has_such(&queue->timers, (uint64_t)now_us, is_overdue);
}

gavel__transaction *gavel__queue_next_due(gavel__queue *queue, int64_t now_us)
{
    gavel__line_node *first = gavel__line_first(&queue->timers);
    if (first == NULL || (int64_t)first->order > now_us)
        return NULL;
    return GAVEL__CONTAINER(first, gavel__transaction, timer);
}

void gavel__queue_release_key(
    gavel__queue *queue, gavel__key *key, struct gavel__round *round, int64_t now_us)
{
    gavel__order_wake(&queue->order, key, now_us);
    bool is_wanted = !gavel__line_is_empty(&key->line); /* else it may be forgotten here */
    gavel__keys_release(&queue->keys, key, round);
    if (is_wanted)
        gavel__order_look(&queue->order, key, now_us);
}

void gavel__queue_remove_writer(gavel__queue *queue, gavel__key *key, int64_t now_us)
{
    if (key->n_writers == 1 && key->round == NULL)
        gavel__order_wake(&queue->order, key, now_us);
    bool is_wanted = !gavel__line_is_empty(&key->line);
    gavel__keys_remove_writer(&queue->keys, key);
    if (is_wanted)
        gavel__order_look(&queue->order, key, now_us);
}
