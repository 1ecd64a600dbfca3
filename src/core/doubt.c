/*
 * Doubts: a link was lost after EXEC was sent and before it was answered. Did it happen?
 *
 * Every round WATCHes its link's marker, and its EXEC counts it up to the round's number. So
 * another link asks, in one write:
 *
 *     PEXPIRE marker ttl    touches it: from now on the old EXEC, should it still arrive, gets nil
 *     GET marker            the round's number: it was made; the one before: it never will be
 *
 * The order matters, and both can be asked again if this answer is lost as well, since neither
 * changes the number. All of a round's members are settled by one answer. A marker that is gone
 * (evicted, flushed, lost in a failover), or holds any other number, proves nothing: the outcome is
 * UNKNOWN. That is why a link's marker is planted before its first round.
 */
#include "core/engine.h"

#include "base/resp.h"
#include "base/text.h"

#include <string.h>

static const int64_t ask_pause_us = 20000;

/* Without a marker only a caller's id can still tell: the next attempt reads it. */
static void settle_without_marker(
    gavel__engine *engine, gavel__round *round, const char *message, int64_t now_us)
{
    while (!gavel__list_is_empty(&round->members)) {
        gavel__transaction *member = gavel__member_of(round->members.next);
        bool has_effects = gavel__transaction_has_effects(member);
        member->is_doubtful = has_effects && member->id_key.data != NULL;
        if (!has_effects || member->is_doubtful)
            gavel__queue_on_fault(&engine->queue, member, message, now_us);
        else
            gavel__queue_settle(&engine->queue, member, GAVEL_UNKNOWN, message, now_us);
    }
    gavel__round_dissolve(round, now_us);
}

static void settle_unknown(
    gavel__engine *engine, gavel__round *round, const char *message, int64_t now_us)
{
    while (!gavel__list_is_empty(&round->members))
        gavel__queue_settle(
            &engine->queue, gavel__member_of(round->members.next), GAVEL_UNKNOWN, message, now_us);
    gavel__round_dissolve(round, now_us);
}

void gavel__engine_on_doubt(
    gavel__engine *engine, gavel__lane *lane, gavel__round *round, int64_t now_us)
{
    engine->context.stats.n_in_doubt++;
    for (gavel__list *node = round->members.next; node != &round->members; node = node->next)
        gavel__context_tell(&engine->context, GAVEL_EVENT_IN_DOUBT, lane->index,
            gavel__member_of(node), "the reply to EXEC was lost");
    if (round->has_bare_writes || round->refusal.is_set) {
        settle_unknown(engine, round,
            "the link was lost after the server had refused a part of the transaction", now_us);
        return;
    }
    if (round->number == 0) {
        settle_without_marker(
            engine, round, "the reply to EXEC was lost, and markers are off", now_us);
        return;
    }
    gavel__round_set_phase(round, GAVEL__ROUND_IN_DOUBT);
    memcpy(round->marker, lane->marker, lane->marker_size);
    round->marker_size = lane->marker_size;
    round->is_touched = false;
    round->is_fenced = false;
    round->ask_us = now_us;
    round->lane = NULL;
    lane->round = NULL;
    for (gavel__list *node = round->members.next; node != &round->members; node = node->next)
        gavel__member_of(node)->state = GAVEL__TX_IN_DOUBT;
    gavel__list_append(&engine->doubts, &round->node);
}

void gavel__engine_drop_doubts(gavel__engine *engine, int64_t now_us)
{
    for (gavel__list *node = engine->doubts.next; node != &engine->doubts;) {
        gavel__round *round = GAVEL__CONTAINER(node, gavel__round, node);
        node = node->next;
        bool is_asked = round->ask_us == 0; /* a lane still points to it */
        if (gavel__list_is_empty(&round->members) && !is_asked)
            gavel__round_dissolve(round, now_us);
    }
}

/* ---- Asking -------------------------------------------------------------------------------- */

void gavel__engine_ask(gavel__engine *engine, gavel__lane *lane, int64_t now_us)
{
    gavel__round *round = NULL;
    for (gavel__list *node = engine->doubts.next; node != &engine->doubts; node = node->next) {
        gavel__round *candidate = GAVEL__CONTAINER(node, gavel__round, node);
        if (candidate->ask_us > 0 && candidate->ask_us <= now_us) {
            round = candidate;
            break;
        }
    }
    if (round == NULL)
        return;
    size_t size_before = lane->out->size;
    gavel_bytes marker = {round->marker, round->marker_size};
    char ttl[GAVEL__INT_SIZE];
    gavel_bytes touch[] = {
        GAVEL_STR("PEXPIRE"), marker, gavel__format_int(engine->config.marker_ttl_us / 1000, ttl)};
    gavel_bytes ask[] = {GAVEL_STR("GET"), marker};
    gavel__resp_command(lane->out, touch, 3);
    gavel__resp_command(lane->out, ask, 2);
    lane->n_appended += lane->out->size - size_before;
    lane->n_new_replies += 2;
    gavel__inflight_add(&lane->inflight, GAVEL__AWAITED_TOUCH, 1, NULL);
    gavel__inflight_add(&lane->inflight, GAVEL__AWAITED_ASK, 1, NULL);
    lane->asked = round;
    round->ask_us = 0;
    engine->context.stats.n_marker_commands += 2;
    engine->context.stats.n_round_trips++;
    for (gavel__list *node = round->members.next; node != &round->members; node = node->next)
        gavel__member_of(node)->outcome.n_round_trips++;
    if (lane->out->has_failed)
        gavel__lane_condemn(lane, "no memory to ask for a marker");
}

/* The server does not answer now; it may before the members' deadlines. */
static void ask_later(
    gavel__lane *lane, gavel__round *round, const gavel_reply *reply, int64_t now_us)
{
    round->ask_us = now_us + ask_pause_us;
    if (reply->type == GAVEL_REPLY_ERROR &&
        gavel__server_error_remedy(reply->text) == GAVEL__REMEDY_RECONNECT)
        gavel__lane_condemn(lane, "a marker could not be asked for on this link");
}

void gavel__engine_on_touched(gavel__lane *lane, const gavel_reply *reply)
{
    lane->asked->is_touched = reply->type != GAVEL_REPLY_ERROR;
    lane->asked->is_fenced = reply->type == GAVEL_REPLY_INTEGER && reply->integer == 1;
}

/* It happened. The replies to the writes are lost for good. */
static void settle_committed(gavel__engine *engine, gavel__round *round, int64_t now_us)
{
    while (!gavel__list_is_empty(&round->members)) {
        gavel__transaction *member = gavel__member_of(round->members.next);
        member->outcome.is_from_marker = true;
        if (member->is_aborted)
            gavel__queue_settle_abort(&engine->queue, member, now_us);
        else
            gavel__queue_settle(&engine->queue, member, GAVEL_COMMITTED,
                "the reply to EXEC was lost; the marker says that it was made", now_us);
    }
    gavel__round_dissolve(round, now_us);
}

/* It did not, and cannot any more: the members run again. */
static void settle_not_made(gavel__engine *engine, gavel__round *round, int64_t now_us)
{
    while (!gavel__list_is_empty(&round->members))
        gavel__queue_on_fault(&engine->queue, gavel__member_of(round->members.next),
            "the link was lost before EXEC took effect", now_us);
    gavel__round_dissolve(round, now_us);
}

void gavel__engine_on_asked(
    gavel__engine *engine, gavel__lane *lane, const gavel_reply *reply, int64_t now_us)
{
    gavel__round *round = lane->asked;
    lane->asked = NULL;
    int64_t number = -1;
    bool is_number = reply->type == GAVEL_REPLY_STRING && gavel__parse_int(reply->text, &number);
    if (is_number && number == (int64_t)round->number) {
        engine->context.stats.n_settled++;
        settle_committed(engine, round, now_us);
    } else if (is_number && number == (int64_t)round->number - 1 && round->is_fenced) {
        engine->context.stats.n_settled++;
        settle_not_made(engine, round, now_us);
    } else if (!round->is_touched || reply->type == GAVEL_REPLY_ERROR) {
        ask_later(lane, round, reply, now_us);
    } else {
        settle_without_marker(engine, round,
            "the reply to EXEC was lost, and so was the marker that would tell", now_us);
    }
}
