/*
 * Doubts: see the header.
 */
#include "core/doubt.h"

#include "base/heap.h"
#include "base/resp.h"
#include "base/text.h"

#include <assert.h>

static const int64_t ask_pause_us = 20000;

/* ---- Making and ending --------------------------------------------------------------------- */

static const gavel__question_ops question_ops;

void gavel__doubts_init(
    gavel__doubts *doubts, gavel__queue *queue, gavel__questions *questions, int64_t marker_ttl_us)
{
    *doubts = (gavel__doubts){.context = queue->context,
        .queue = queue,
        .questions = questions,
        .marker_ttl_us = marker_ttl_us};
    gavel__list_init(&doubts->open);
    gavel__list_init(&doubts->idle);
}

gavel__doubt *gavel__doubt_create(gavel__doubts *doubts)
{
    gavel__list *node = gavel__list_pop(&doubts->idle);
    if (node != NULL)
        return GAVEL__CONTAINER(node, gavel__doubt, node);
    gavel__doubt *doubt = gavel__alloc(doubts->context->allocator, 1, sizeof(*doubt));
    if (doubt == NULL)
        return NULL;
    doubt->doubts = doubts;
    gavel__list_init(&doubt->node);
    gavel__list_init(&doubt->members);
    gavel__question_init(&doubt->question, &question_ops);
    return doubt;
}

void gavel__doubt_destroy(gavel__doubt *doubt)
{
    if (doubt == NULL)
        return;
    const gavel_allocator *allocator = doubt->doubts->context->allocator;
    gavel__free(allocator, doubt->claims);
    gavel__free(allocator, doubt);
}

/* The arrows of the drawing in the header. */
static bool is_legal(gavel__doubt_state from, gavel__doubt_state to)
{
    switch (from) {
    case GAVEL__DOUBT_IDLE:
        return to == GAVEL__DOUBT_ASKING;
    case GAVEL__DOUBT_ASKING:
        return to != GAVEL__DOUBT_ASKING;
    case GAVEL__DOUBT_RESTING:
        return to != GAVEL__DOUBT_RESTING;
    }
    return false;
}

static void set_state(gavel__doubt *doubt, gavel__doubt_state state)
{
    assert(is_legal(doubt->state, state));
    (void)is_legal; /* without assertions */
    doubt->state = state;
}

static void release_keys(gavel__doubt *doubt, int64_t now_us)
{
    while (doubt->n_claims > 0)
        gavel__queue_release_key(
            doubt->doubts->queue, doubt->claims[--doubt->n_claims], NULL, now_us);
}

static void forget_gates(gavel__doubt *doubt)
{
    while (doubt->n_gates > 0)
        doubt->gates[--doubt->n_gates]->n_pins--;
}

static void leave_page(gavel__doubt *doubt)
{
    gavel__page_leave(doubt->page);
    doubt->page = NULL;
}

void gavel__doubt_take_gates(gavel__doubt *doubt, const gavel__pass *pass)
{
    for (size_t i = 0; i < pass->n_gates; i++) {
        gavel__gate *gate = pass->gates[i];
        if (!gate->is_held || gate->is_spurious)
            continue;
        gate->n_pins++;
        doubt->granted_us[doubt->n_gates] = gate->granted_us;
        doubt->gates[doubt->n_gates++] = gate;
    }
}

/* Its members have left. */
static void close(gavel__doubt *doubt, int64_t now_us)
{
    assert(gavel__list_is_empty(&doubt->members));
    assert(doubt->question.state == GAVEL__QUESTION_IDLE);
    release_keys(doubt, now_us);
    forget_gates(doubt);
    leave_page(doubt);
    gavel__list_remove(&doubt->node);
    if (doubt->state != GAVEL__DOUBT_IDLE)
        set_state(doubt, GAVEL__DOUBT_IDLE);
    gavel__list_append(&doubt->doubts->idle, &doubt->node);
}

void gavel__doubts_finish(gavel__doubts *doubts)
{
    gavel__list_append_all(&doubts->idle, &doubts->open);
    for (gavel__list *node; (node = gavel__list_pop(&doubts->idle)) != NULL;) {
        gavel__doubt *doubt = GAVEL__CONTAINER(node, gavel__doubt, node);
        assert(gavel__list_is_empty(&doubt->members));
        release_keys(doubt, 0);
        forget_gates(doubt);
        leave_page(doubt);
        gavel__doubt_destroy(doubt);
    }
}

/* ---- Settling ------------------------------------------------------------------------------ */

/* Without a marker only a caller's id can still tell: the next attempt reads it. */
static void settle_without_marker(gavel__doubt *doubt, const char *message, int64_t now_us)
{
    gavel__queue *queue = doubt->doubts->queue;
    while (!gavel__list_is_empty(&doubt->members)) {
        gavel__transaction *member = gavel__member_of(doubt->members.next);
        bool has_effects = gavel__transaction_has_effects(member);
        bool is_doubtful = has_effects && member->id_key.data != NULL;
        member->is_doubtful = member->is_doubtful || is_doubtful; /* by an earlier attempt, too */
        if (!has_effects || is_doubtful)
            gavel__queue_on_fault(queue, member, message, now_us);
        else
            gavel__queue_settle(queue, member, GAVEL_UNKNOWN, message, now_us);
    }
    close(doubt, now_us);
}

static void settle_unknown(gavel__doubt *doubt, const char *message, int64_t now_us)
{
    while (!gavel__list_is_empty(&doubt->members))
        gavel__queue_settle(doubt->doubts->queue, gavel__member_of(doubt->members.next),
            GAVEL_UNKNOWN, message, now_us);
    close(doubt, now_us);
}

/* It happened. The replies to the writes are lost for good. */
static void settle_committed(gavel__doubt *doubt, int64_t now_us)
{
    gavel__queue *queue = doubt->doubts->queue;
    gavel__commit commit = {.status = GAVEL_COMMITTED,
        .message = "the reply to EXEC was lost; the marker says that it was made",
        .marker = {doubt->marker, doubt->marker_size},
        .first_number = doubt->first_number,
        .number = doubt->number,
        .page = doubt->page};
    while (!gavel__list_is_empty(&doubt->members)) {
        gavel__transaction *member = gavel__member_of(doubt->members.next);
        member->outcome.is_from_marker = true;
        if (member->is_aborted) {
            gavel__queue_settle_abort(queue, member, now_us);
            continue;
        }
        if (gavel__transaction_has_effects(member))
            gavel__durability_tell(doubt->durability, member, &commit, now_us);
        else
            gavel__queue_settle(queue, member, GAVEL_COMMITTED, commit.message, now_us);
    }
    close(doubt, now_us);
}

/* It did not, and cannot any more: the members run again, and the gates are still ours. */
static void settle_not_made(gavel__doubt *doubt, int64_t now_us)
{
    for (size_t i = 0; i < doubt->n_gates; i++)
        gavel__gate_hand_off(doubt->gates[i], doubt->granted_us[i]);
    while (!gavel__list_is_empty(&doubt->members))
        gavel__queue_on_fault(doubt->doubts->queue, gavel__member_of(doubt->members.next),
            "the link was lost before EXEC took effect", now_us);
    close(doubt, now_us);
}

/* ---- Asking -------------------------------------------------------------------------------- */

static void ask(gavel__doubt *doubt)
{
    set_state(doubt, GAVEL__DOUBT_ASKING);
    gavel__question_ask(doubt->doubts->questions, &doubt->question);
}

/* The server does not answer now; it may before the members' deadlines. */
static void rest(gavel__doubt *doubt, int64_t now_us)
{
    set_state(doubt, GAVEL__DOUBT_RESTING);
    doubt->ask_us = now_us + ask_pause_us;
}

void gavel__doubt_open(gavel__doubt *doubt, uint32_t link, int64_t now_us)
{
    gavel__doubts *doubts = doubt->doubts;
    doubts->context->stats.n_in_doubt++;
    for (gavel__list *node = doubt->members.next; node != &doubt->members; node = node->next) {
        gavel__transaction_set_state(gavel__member_of(node), GAVEL__TX_IN_DOUBT);
        gavel__context_tell(doubts->context, GAVEL_EVENT_IN_DOUBT, link, gavel__member_of(node),
            "the reply to EXEC was lost");
    }
    if (doubt->is_refused) {
        settle_unknown(doubt,
            "the link was lost after the server had refused a part of the transaction", now_us);
        return;
    }
    if (doubt->number == 0) {
        settle_without_marker(doubt, "the reply to EXEC was lost, and markers are off", now_us);
        return;
    }
    doubt->question.slot = gavel__slot_of((gavel_bytes){doubt->marker, doubt->marker_size});
    gavel__list_append(&doubts->open, &doubt->node);
    if (doubts->questions->is_provisional)
        release_keys(doubt, now_us);
    ask(doubt);
}

void gavel__doubts_release_keys(gavel__doubts *doubts, int64_t now_us)
{
    for (gavel__list *node = doubts->open.next; node != &doubts->open; node = node->next)
        release_keys(GAVEL__CONTAINER(node, gavel__doubt, node), now_us);
}

static gavel__doubt *doubt_of(gavel__question *question)
{
    return GAVEL__CONTAINER(question, gavel__doubt, question);
}

static size_t write(gavel__question *question, gavel__buffer *out, int64_t now_us)
{
    gavel__doubt *doubt = doubt_of(question);
    gavel__doubts *doubts = doubt->doubts;
    (void)now_us;
    gavel_bytes marker = {doubt->marker, doubt->marker_size};
    char ttl[GAVEL__INT_SIZE];
    gavel_bytes touch[] = {
        GAVEL_STR("PEXPIRE"), marker, gavel__format_int(doubts->marker_ttl_us / 1000, ttl)};
    gavel_bytes get[] = {GAVEL_STR("GET"), marker};
    gavel__resp_command(out, touch, 3);
    gavel__resp_command(out, get, 2);
    doubts->context->stats.n_marker_commands += 2;
    doubts->context->stats.n_round_trips++;
    for (gavel__list *node = doubt->members.next; node != &doubt->members; node = node->next)
        gavel__member_of(node)->outcome.n_round_trips++;
    return 2;
}

static void on_touched(gavel__doubt *doubt, const gavel_reply *reply)
{
    doubt->is_touched = reply->type != GAVEL_REPLY_ERROR;
    doubt->is_fenced = reply->type == GAVEL_REPLY_INTEGER && reply->integer == 1;
}

/* Whether the marker is in a state from before the round. Numbers only rise while a link lives. */
static bool is_from_before(const gavel__doubt *doubt, int64_t number)
{
    bool is_planted = number >= (int64_t)doubt->first_number;
    return number == 0 || (is_planted && number < (int64_t)doubt->number);
}

static void on_number(gavel__doubt *doubt, const gavel_reply *reply, int64_t now_us)
{
    int64_t number = -1;
    bool is_number = reply->type == GAVEL_REPLY_STRING && gavel__parse_int(reply->text, &number);
    if (is_number && number == (int64_t)doubt->number) {
        doubt->doubts->context->stats.n_settled++;
        settle_committed(doubt, now_us);
    } else if (doubt->doubts->questions->is_provisional) {
        rest(doubt, now_us);
    } else if (is_number && is_from_before(doubt, number) && doubt->is_fenced &&
               doubt->has_migrated) {
        settle_without_marker(
            doubt, "the reply to EXEC was lost, and its slot has migrated since", now_us);
    } else if (is_number && is_from_before(doubt, number) && doubt->is_fenced) {
        doubt->doubts->context->stats.n_settled++;
        settle_not_made(doubt, now_us);
    } else if (!doubt->is_touched || reply->type == GAVEL_REPLY_ERROR) {
        rest(doubt, now_us);
    } else {
        settle_without_marker(
            doubt, "the reply to EXEC was lost, and so was the marker that would tell", now_us);
    }
}

static void on_reply(gavel__question *question, size_t i, const gavel_reply *reply, int64_t now_us)
{
    if (i == 0)
        on_touched(doubt_of(question), reply);
    else
        on_number(doubt_of(question), reply, now_us);
}

static void on_loss(
    gavel__question *question, const gavel__loss *loss, bool was_sent, int64_t now_us)
{
    (void)was_sent;
    if (loss->is_final)
        rest(doubt_of(question), now_us);
    else
        gavel__question_ask(doubt_of(question)->doubts->questions, question);
}

static const gavel__question_ops question_ops = {write, on_reply, on_loss};

void gavel__doubts_on_migration(gavel__doubts *doubts, gavel__migrated *migrated, const void *user)
{
    for (gavel__list *node = doubts->open.next; node != &doubts->open; node = node->next) {
        gavel__doubt *doubt = GAVEL__CONTAINER(node, gavel__doubt, node);
        gavel__migration way;
        doubt->has_migrated |= migrated(user, doubt->question.slot, &way);
    }
}

/* ---- Time ---------------------------------------------------------------------------------- */

/* Whether somebody waits to be told, or for a gate. */
static bool is_wanted(const gavel__doubt *doubt, int64_t now_us)
{
    bool has_gate = false;
    for (size_t i = 0; i < doubt->n_gates; i++)
        has_gate = has_gate || !gavel__gate_is_late(doubt->gates[i], now_us);
    return has_gate || !gavel__list_is_empty(&doubt->members);
}

void gavel__doubts_advance(gavel__doubts *doubts, int64_t now_us)
{
    for (gavel__list *node = doubts->open.next; node != &doubts->open;) {
        gavel__doubt *doubt = GAVEL__CONTAINER(node, gavel__doubt, node);
        node = node->next;
        bool wants = is_wanted(doubt, now_us);
        if (!wants && gavel__question_withdraw(&doubt->question))
            close(doubt, now_us);
        else if (wants && doubt->state == GAVEL__DOUBT_RESTING && doubt->ask_us <= now_us)
            ask(doubt);
    }
}

int64_t gavel__doubts_due_us(const gavel__doubts *doubts)
{
    int64_t due_us = GAVEL__NEVER;
    for (const gavel__list *node = doubts->open.next; node != &doubts->open; node = node->next) {
        const gavel__doubt *doubt = GAVEL__CONTAINER(node, gavel__doubt, node);
        if (doubt->state == GAVEL__DOUBT_RESTING && doubt->ask_us < due_us)
            due_us = doubt->ask_us;
    }
    return due_us;
}
