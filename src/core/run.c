/*
 * Runs: the bodies of a round, one after another, on what was read. Those that have to do with EXEC
 * stay in the round; the others leave at once.
 */
#include "core/round.h"

#include "base/text.h"
#include "core/commands.h"
#include "core/identity.h"
#include "core/node.h"
#include "core/offsets.h"

#include <assert.h>

/* A refusal names the id's key, where the record can be looked at. */
static void settle_by_id(gavel__queue *queue, gavel__transaction *transaction, gavel_status status,
    const char *message, int64_t now_us)
{
    char key[64];
    char named[GAVEL_MESSAGE_SIZE];
    if (status != GAVEL_COMMITTED) {
        gavel__format(named, sizeof(named), "%s; key: \"%s\"", message,
            gavel__printable(transaction->id_key, key, sizeof(key)));
        message = named;
    }
    gavel__queue_settle(queue, transaction, status, message, now_us);
}

/* In the same EXEC as what the body has written. False: no memory. */
static bool write_id_key(
    gavel__round *round, gavel__transaction *transaction, gavel_bytes value, int64_t ttl_ms)
{
    char ttl[GAVEL__INT_SIZE];
    gavel_bytes args[] = {GAVEL_STR("SET"), transaction->id_key, value, GAVEL_STR("PX"),
        gavel__format_int(ttl_ms, ttl)};
    gavel__key *key = gavel__transaction_held_key(transaction, transaction->id_key);
    return gavel__writes_add_record(&round->writes, key, transaction, args);
}

/*
 * One who wishes for replicas of what was committed earlier, under the same id: it commits the
 * record of that once more. So EXEC proves that the record is there still, and its round says what
 * replicas are to have. False: no memory.
 */
static bool stay_for_replicas(
    gavel__round *round, gavel__transaction *transaction, gavel_bytes record)
{
    gavel__savepoint savepoint = gavel__writes_mark(&round->writes);
    transaction->is_aborted = false;
    transaction->rests_on_others = false;
    transaction->is_refused = false;
    transaction->first_write = savepoint.n_requests;
    transaction->n_writes = 0;
    if (write_id_key(round, transaction, record, round->rounds->id_ttl_ms))
        return true;
    gavel__writes_rollback(&round->writes, &savepoint);
    return false;
}

/* A second submission under an id is told of the first. True: its body is not to run. */
static bool leave_as_duplicate(gavel__round *round, gavel__transaction *transaction, int64_t now_us)
{
    gavel__queue *queue = round->rounds->queue;
    const gavel__key *key = gavel__transaction_held_key(transaction, transaction->id_key);
    if (key->last_write > 0) { /* another member of this round bears the same id */
        gavel__queue_make_ready(queue, transaction, now_us);
        return true;
    }
    gavel_bytes storage[3];
    gavel__command command = gavel__command_get(storage, transaction->id_key);
    const gavel__read *read = gavel__transaction_find_read(transaction, &command);
    if (read->reply->type == GAVEL_REPLY_NIL ||
        gavel__bytes_equal(read->reply->text, gavel__identity_tombstone))
        return false;
    gavel_status status = GAVEL_REJECTED;
    const char *message = "the key of the id cannot be read";
    if (read->reply->type == GAVEL_REPLY_STRING)
        status = gavel__identity_check(
            read->reply->text, transaction->digest, &transaction->outcome, &message);
    if (status == GAVEL_COMMITTED && gavel__transaction_has_wish(transaction) &&
        stay_for_replicas(round, transaction, read->reply->text))
        return true;
    if (status == GAVEL_COMMITTED && gavel__transaction_has_wish(transaction)) {
        status = GAVEL_COMMITTED_NOT_DURABLE;
        message = "committed before, under the same id; no memory to ask for replicas";
    }
    settle_by_id(queue, transaction, status, message, now_us);
    return true;
}

/* The commit of a transaction with an id also records that it was made. */
static bool write_identity(gavel__round *round, gavel__transaction *transaction)
{
    char record[GAVEL__IDENTITY_SIZE];
    return write_id_key(round, transaction,
        gavel__identity_record(transaction->digest, &transaction->outcome, record),
        round->rounds->id_ttl_ms);
}

/* Whether a verdict without writes needs EXEC as its proof: what it rests on came from several
 * commands, between which somebody may have written, or from writes that are not made yet. */
static bool needs_proof(const gavel__round *round, const gavel_tx *tx)
{
    return !round->is_snapshot && (tx->has_seen_others || tx->transaction->n_reads > 1);
}

static void on_retry(gavel__round *round, gavel__transaction *transaction, int64_t now_us)
{
    gavel__queue *queue = round->rounds->queue;
    int64_t pause_us = gavel__policy_retry_pause_us(
        round->policy, transaction->outcome.n_conflicts, &round->context->random);
    transaction->n_retries++;
    gavel__queue_on_conflict(queue, transaction, now_us + pause_us, now_us);
}

static void on_commit_verdict(
    gavel__round *round, const gavel_tx *tx, const gavel__savepoint *savepoint, int64_t now_us)
{
    gavel__transaction *transaction = tx->transaction;
    transaction->rests_on_others = tx->has_seen_others;
    transaction->first_write = savepoint->n_requests;
    transaction->n_writes = round->writes.n_requests - savepoint->n_requests;
    if (transaction->id_key.data != NULL && !write_identity(round, transaction)) {
        gavel__writes_rollback(&round->writes, savepoint);
        gavel__queue_settle(round->rounds->queue, transaction, GAVEL_NOT_SENT, "no memory", now_us);
        return;
    }
    if (round->writes.n_requests == savepoint->n_requests && !needs_proof(round, tx))
        gavel__queue_settle(round->rounds->queue, transaction, GAVEL_COMMITTED, "", now_us);
}

/* Whoever has sent an EXEC under this id before, and was told UNKNOWN: it gets nil. False: no
 * memory. */
static bool leave_tombstone(gavel__round *round, gavel__transaction *transaction)
{
    gavel__savepoint savepoint = gavel__writes_mark(&round->writes);
    transaction->first_write = savepoint.n_requests;
    if (write_id_key(
            round, transaction, gavel__identity_tombstone, (int64_t)GAVEL__TOMBSTONE_TTL_MS))
        return true;
    gavel__writes_rollback(&round->writes, &savepoint);
    return false;
}

/* An attempt that writes nothing, and why. A lack of memory needs no proof. */
static void on_abort(gavel__round *round, const gavel_tx *tx, gavel_status status, int64_t now_us)
{
    gavel__transaction *transaction = tx->transaction;
    const char *message = status == GAVEL_ABORTED ? "aborted by the body" : tx->message;
    transaction->outcome.abort_code = status == GAVEL_ABORTED ? tx->abort_code : 0;
    transaction->is_aborted = true;
    transaction->abort_status = status;
    transaction->first_write = 0; /* an attempt before may have had some */
    transaction->n_writes = 0;
    bool has_id = transaction->id_key.data != NULL;
    if (has_id && status != GAVEL_NOT_SENT && !leave_tombstone(round, transaction)) {
        status = GAVEL_NOT_SENT;
        message = "no memory";
    }
    if (status == GAVEL_NOT_SENT || (!has_id && !needs_proof(round, tx)))
        gavel__queue_settle(round->rounds->queue, transaction, status, message, now_us);
    else
        gavel__transaction_note(transaction, &transaction->why, message);
}

/*
 * On values read before the transaction was submitted only a commit with writes counts: EXEC proves
 * that they were still true. Any other verdict is to rest on what is true now.
 */
static bool has_written(
    const gavel__round *round, gavel__fate fate, const gavel__savepoint *savepoint)
{
    return fate == GAVEL__FATE_COMMIT && round->writes.n_requests > savepoint->n_requests;
}

static void count_attempt(gavel__round *round, gavel__transaction *transaction)
{
    transaction->outcome.n_attempts++;
    assert(transaction->outcome.n_attempts <= transaction->max_attempts);
    round->context->stats.n_attempts++;
    gavel__context_tell(
        round->context, GAVEL_EVENT_ATTEMPT, gavel__lane_number(round->lane), transaction, "");
}

/* Whether it has come to something that EXEC has to make or to prove. */
static bool needs_exec(const gavel__round *round, const gavel_tx *tx, gavel__fate fate,
    const gavel__savepoint *savepoint)
{
    switch (fate) {
    case GAVEL__FATE_COMMIT:
        return has_written(round, fate, savepoint) || needs_proof(round, tx);
    case GAVEL__FATE_ABORT:
        return needs_proof(round, tx);
    case GAVEL__FATE_POISONED:
        return tx->status != GAVEL_NOT_SENT && needs_proof(round, tx);
    case GAVEL__FATE_RETRY:
    case GAVEL__FATE_AGAIN:
    case GAVEL__FATE_DEFER:
        return false;
    }
    return false;
}

/* Whether a run counts as an attempt now: one that waits for EXEC does when that may leave. */
static bool is_attempt(const gavel__round *round, const gavel_tx *tx, gavel__fate fate,
    const gavel__savepoint *savepoint)
{
    if (fate == GAVEL__FATE_AGAIN || fate == GAVEL__FATE_DEFER)
        return false;
    return !round->is_unguarded || !needs_exec(round, tx, fate, savepoint);
}

/* How old what it reads is at most, in milliseconds; -1: not known. Other bodies may have taken
 * time since it came. */
static int64_t age_ms_of(const gavel__round *round)
{
    return round->is_dated ? gavel__offsets_age_ms(round->lane->node->offsets, round->as_of_us)
                           : -1;
}

/* What it reads is too old for it, as far as is known: then it runs at the primary. */
static bool leave_as_old(gavel__round *round, gavel__transaction *transaction, int64_t now_us)
{
    transaction->outcome.stale_ms = 0;
    if (!round->is_at_replica || round->n_fetches == 0)
        return false;
    int64_t age_ms = age_ms_of(round);
    if (transaction->max_stale_ms > 0 && (age_ms < 0 || age_ms > transaction->max_stale_ms)) {
        transaction->needs_primary = true;
        gavel__queue_make_ready(round->rounds->queue, transaction, now_us);
        return true;
    }
    transaction->outcome.stale_ms = age_ms < INT32_MAX ? (int32_t)age_ms : INT32_MAX;
    return false;
}

static void run_member(gavel__round *round, gavel__transaction *transaction, int64_t now_us)
{
    gavel__queue *queue = round->rounds->queue;
    if (transaction->needs_fsync && !round->lane->can_tell_fsync) {
        gavel__queue_settle(queue, transaction, GAVEL_REJECTED,
            "needs_fsync: this server cannot be believed about its disk; Redis can from 8.0 on",
            now_us);
        return;
    }
    if (transaction->is_stale_ok && leave_as_old(round, transaction, now_us))
        return;
    if (transaction->id_key.data != NULL && leave_as_duplicate(round, transaction, now_us))
        return;
    gavel__stage stage = {
        &round->writes, &round->values, &round->rounds->scratch, round->rounds->lore};
    gavel__savepoint savepoint = gavel__writes_mark(&round->writes);
    transaction->outcome.is_gated = gavel__round_is_inside(round);
    transaction->outcome.is_duplicate = false; /* of a record that is gone */
    transaction->is_aborted = false;
    transaction->is_refused = false;
    transaction->outcome.abort_code = 0;
    gavel_tx tx;
    gavel__fate fate = gavel__body_run(&stage, transaction, &tx);
    if (round->reading.is_stale && !has_written(round, fate, &savepoint)) {
        gavel__writes_rollback(&round->writes, &savepoint);
        transaction->wants_fresh = true;
        gavel__queue_make_ready(queue, transaction, now_us);
        return;
    }
    /* What it has met in another body's writes counts once these are made. */
    if (fate == GAVEL__FATE_POISONED && tx.has_seen_others)
        fate = GAVEL__FATE_DEFER;
    if (fate != GAVEL__FATE_COMMIT)
        gavel__writes_rollback(&round->writes, &savepoint);
    if (is_attempt(round, &tx, fate, &savepoint))
        count_attempt(round, transaction);
    switch (fate) {
    case GAVEL__FATE_COMMIT:
        on_commit_verdict(round, &tx, &savepoint, now_us);
        break;
    case GAVEL__FATE_ABORT:
        on_abort(round, &tx, GAVEL_ABORTED, now_us);
        break;
    case GAVEL__FATE_RETRY:
        on_retry(round, transaction, now_us);
        break;
    case GAVEL__FATE_AGAIN:
    case GAVEL__FATE_DEFER:
        if (tx.busy != NULL)
            gavel__queue_yield(queue, transaction, tx.busy, now_us);
        else
            gavel__queue_make_ready(queue, transaction, now_us);
        break;
    case GAVEL__FATE_POISONED:
        on_abort(round, &tx, tx.status, now_us);
        break;
    }
}

/*
 * Whether the bodies that have run are enough for one EXEC. The clock is looked at after one, two,
 * four and so on: it is not for free, and twice too long is near enough.
 */
static bool is_enough(const gavel__round *round, size_t n_run, int64_t began_us)
{
    const gavel__round_limits *limits = &round->rounds->limits;
    if (round->writes.commands.size >= limits->max_bytes)
        return true;
    bool is_power_of_two = (n_run & (n_run - 1)) == 0;
    return is_power_of_two && limits->read_clock(limits->clock) - began_us >= limits->max_body_us;
}

/* Those from this one on are for another round. */
static void put_back(gavel__round *round, gavel__list *node, int64_t now_us)
{
    while (node != &round->members) {
        gavel__transaction *member = gavel__member_of(node);
        node = node->next;
        gavel__queue_make_ready(round->rounds->queue, member, now_us);
    }
}

/* Bodies that took as long as this are remembered, in case that a deadline passes. */
static const int64_t long_us = 1000;

static void note_time(gavel__transaction *transaction, int64_t took_us, bool is_shared)
{
    transaction->body_us += took_us;
    transaction->is_body_shared = transaction->is_body_shared || is_shared;
}

static void note_members_time(gavel__round *round, int64_t took_us)
{
    gavel__list *members = &round->members;
    for (gavel__list *node = members->next; node != members; node = node->next)
        note_time(gavel__member_of(node), took_us, true);
}

/*
 * The body has outlasted the deadline. Its EXEC would leave too late to be waited for, and the
 * outcome be UNKNOWN: it ends here, while it is certain that nothing was written.
 */
static void end_late(gavel__round *round, gavel__transaction *transaction, int64_t now_us)
{
    char message[GAVEL_MESSAGE_SIZE];
    gavel__format(message, sizeof(message), "the body took %lld ms, and the deadline was %lld ms",
        (long long)transaction->body_us / 1000,
        (long long)(transaction->deadline_us - transaction->started_us) / 1000);
    if (round->is_unguarded)
        count_attempt(round, transaction); /* it has only waited for EXEC */
    gavel__queue_settle(round->rounds->queue, transaction, GAVEL_DEADLINE, message, now_us);
}

/* One that was alone in its round ends if it is late; of several, others may rest on its writes. */
static void look_at_time(
    gavel__round *round, gavel__transaction *last, size_t n_run, int64_t began_us)
{
    const gavel__round_limits *limits = &round->rounds->limits;
    int64_t now_us = limits->read_clock(limits->clock);
    if (now_us - began_us < long_us)
        return;
    if (n_run > 1) {
        note_members_time(round, now_us - began_us);
        return;
    }
    note_time(last, now_us - began_us, false);
    if (gavel__round_only_member(round) == last && now_us >= last->deadline_us)
        end_late(round, last, now_us);
}

static void run_members(gavel__round *round, int64_t now_us)
{
    gavel__list *node = round->members.next;
    gavel__transaction *last = NULL;
    const gavel__round_limits *limits = &round->rounds->limits;
    int64_t began_us = node != &round->members ? limits->read_clock(limits->clock) : 0;
    size_t n_run = 0;
    for (; node != &round->members; n_run++) {
        if (n_run > 0 && is_enough(round, n_run, began_us))
            break;
        gavel__list *next = node->next;
        last = gavel__member_of(node);
        run_member(round, last, now_us);
        node = next;
    }
    put_back(round, node, now_us);
    if (last != NULL)
        look_at_time(round, last, n_run, began_us);
}

/*
 * Whether what the bodies wrote before the marker was watched may go to EXEC. Not if a member has
 * left since: its writes are among it, and others may rest on them.
 */
static bool take_kept(gavel__round *round)
{
    if (round->n_kept == 0)
        return false;
    if (gavel__round_count_members(round) != round->n_kept) {
        round->n_kept = 0;
        return false;
    }
    for (gavel__list *node = round->members.next; node != &round->members; node = node->next)
        count_attempt(round, gavel__member_of(node));
    return true;
}

gavel__next gavel__round_find_slot(gavel__round *round, int64_t now_us)
{
    const gavel__node *node = round->lane->node;
    gavel__queue *queue = round->rounds->queue;
    gavel__transaction *member = gavel__round_only_member(round);
    if (member == NULL || member->is_slot_sure || member->slot == round->slot)
        return GAVEL__NEXT_COMMIT;
    bool is_here = node->node_of[member->slot] == node->index;
    if (is_here && gavel__round_set_slot(round, member->slot))
        return GAVEL__NEXT_COMMIT;
    gavel__writes_end_run(&round->writes);
    gavel__round_forget_written(round, now_us);
    if (is_here)
        gavel__queue_settle(queue, member, GAVEL_NOT_SENT, "no memory", now_us);
    else
        gavel__queue_make_ready(queue, member, now_us);
    return GAVEL__NEXT_END;
}

gavel__next gavel__round_run(gavel__round *round, int64_t now_us)
{
    if (take_kept(round))
        return GAVEL__NEXT_COMMIT;
    if (round->is_at_replica && round->reading.n_fetched > 0)
        gavel__node_end_shuns(round->lane->node);
    gavel__round_forget_written(round, now_us);
    gavel__writes_begin_run(&round->writes);
    for (size_t i = 0; i < round->n_claims; i++)
        gavel__writes_add_claim(&round->writes, round->claims[i]);
    run_members(round, now_us);
    if (round->writes.has_contended)
        gavel__round_note_written(round);
    if (!gavel__list_is_empty(&round->members))
        return GAVEL__NEXT_COMMIT;
    gavel__writes_end_run(&round->writes);
    return GAVEL__NEXT_END;
}
