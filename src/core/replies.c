/*
 * Replies: each handed to the step that it is for, of its round, its lane, or a question. One part
 * of the engine, for its links.
 */
#include "core/engine.h"

#include "base/text.h"

/* ---- Gates --------------------------------------------------------------------------------- */

void gavel__engine_end_gate_write(
    gavel__engine *engine, gavel__lane *lane, size_t size_before, size_t n_replies_before)
{
    gavel__lane_end_write(lane, size_before, engine->advanced_us);
    engine->context.stats.n_commands += lane->n_new_replies - n_replies_before;
}

/* The last claim was answered, and not all of the gates are ours. */
static void wait_for_gates(gavel__engine *engine, gavel__lane *lane, int64_t now_us)
{
    gavel__round *round = lane->round;
    if (round != NULL && !gavel__list_is_empty(&round->members)) {
        gavel__round_wait_for_gates(round, now_us);
        return;
    }
    if (round != NULL)
        gavel__round_dissolve(round, now_us);
    gavel__engine_hand_off(engine, lane, now_us);
}

static void on_record(
    gavel__engine *engine, gavel__lane *lane, const gavel_reply *reply, int64_t now_us)
{
    size_t size_before = lane->out->size;
    size_t n_replies_before = lane->n_new_replies;
    bool hold_back = gavel__pass_on_record(lane, reply, now_us);
    gavel__engine_end_gate_write(engine, lane, size_before, n_replies_before);
    if (hold_back)
        wait_for_gates(engine, lane, now_us);
    else if (lane->pass.state == GAVEL__PASS_HELD && lane->round != NULL)
        gavel__round_on_granted(lane->round, now_us);
}

/* ---- All of them --------------------------------------------------------------------------- */

static void measure_round_trip(gavel__engine *engine, gavel__lane *lane, int64_t now_us)
{
    if (lane->written_us == 0)
        return;
    gavel__policy_on_round_trip(&engine->policy, now_us - lane->written_us);
    lane->written_us = 0;
}

/* What must be answered with OK, whatever becomes of the round. */
static bool is_sound(gavel__awaited_kind kind, const gavel_reply *reply)
{
    bool wants_ok = kind == GAVEL__AWAITED_UNWATCH || kind == GAVEL__AWAITED_WATCH ||
                    kind == GAVEL__AWAITED_READONLY || kind == GAVEL__AWAITED_READWRITE ||
                    kind == GAVEL__AWAITED_GUARD || kind == GAVEL__AWAITED_MULTI ||
                    kind == GAVEL__AWAITED_PLANT;
    if (!wants_ok || reply->type == GAVEL_REPLY_ERROR)
        return true;
    return reply->type == GAVEL_REPLY_STATUS && gavel__bytes_equal(reply->text, GAVEL_STR("OK"));
}

/* Which one it was, only its round can tell, if it still wants to know. */
static void on_plant_refused(gavel__lane *lane, gavel__round *round)
{
    if (round != NULL)
        round->marker->is_planted = false;
    else
        gavel__lane_on_plant_refused(lane);
}

/* Hands a reply to the step that it is for; what its round needs next. */
static gavel__next take(gavel__engine *engine, gavel__lane *lane, const gavel__awaited *awaited,
    const gavel_reply *reply, int64_t now_us)
{
    gavel__round *round = awaited->round;
    switch (awaited->kind) {
    case GAVEL__AWAITED_UNWATCH:
    case GAVEL__AWAITED_ASKING:
    case GAVEL__AWAITED_NAME:
    case GAVEL__AWAITED_READONLY:
        break;
    case GAVEL__AWAITED_READWRITE:
        if (reply->type == GAVEL_REPLY_ERROR)
            gavel__lane_condemn(lane, "READWRITE was refused");
        break;
    case GAVEL__AWAITED_GUARD:
        gavel__lane_on_guard(lane, reply->type != GAVEL_REPLY_ERROR);
        break;
    case GAVEL__AWAITED_PLANT:
        return gavel__round_on_planted(round, reply, now_us);
    case GAVEL__AWAITED_WATCH:
        return gavel__round_on_watched(round, reply, now_us);
    case GAVEL__AWAITED_FETCH_STRINGS:
        return gavel__round_on_fetched_strings(round, reply, now_us);
    case GAVEL__AWAITED_FETCH:
        return gavel__round_on_fetched(round, reply, now_us);
    case GAVEL__AWAITED_SNAPSHOT_QUEUED:
        gavel__round_on_snapshot_queued(round, reply);
        break;
    case GAVEL__AWAITED_SNAPSHOT:
        return gavel__round_on_snapshot(round, reply, now_us);
    case GAVEL__AWAITED_MULTI:
        gavel__round_on_multi(round, reply);
        break;
    case GAVEL__AWAITED_QUEUED:
        return gavel__round_on_queued(round, reply, now_us);
    case GAVEL__AWAITED_EXEC:
        return gavel__round_on_exec(round, reply, now_us);
    case GAVEL__AWAITED_TURN:
        gavel__pass_on_turn(lane, &engine->gates, reply, now_us);
        break;
    case GAVEL__AWAITED_RECORD:
        on_record(engine, lane, reply, now_us);
        break;
    case GAVEL__AWAITED_GATE:
        if (reply->type == GAVEL_REPLY_ERROR)
            gavel__node_on_gate_refused(lane->node, reply->text);
        break;
    case GAVEL__AWAITED_CHECK:
        gavel__pass_on_check(lane, reply);
        break;
    case GAVEL__AWAITED_QUESTION:
        if (engine->config.is_cluster && reply->type == GAVEL_REPLY_ERROR)
            gavel__rounds_note_redirect(&engine->rounds, lane->node, reply->text, NULL);
        gavel__question_on_reply(awaited->question, reply, now_us);
        break;
    }
    return GAVEL__NEXT_WAIT;
}

/* Whether a link that has brought this was of use: if it is lost, it is made anew at once. */
static bool shows_use(gavel__awaited_kind kind, const gavel_reply *reply)
{
    bool is_answer = kind == GAVEL__AWAITED_FETCH || kind == GAVEL__AWAITED_FETCH_STRINGS ||
                     kind == GAVEL__AWAITED_QUESTION;
    if (is_answer && reply->type != GAVEL_REPLY_ERROR)
        return true;
    return kind == GAVEL__AWAITED_EXEC || kind == GAVEL__AWAITED_SNAPSHOT;
}

void gavel__engine_on_reply(
    gavel__engine *engine, gavel__lane *lane, const gavel_reply *reply, int64_t now_us)
{
    if (lane->is_condemned)
        return;
    if (!gavel__engine_trusts(engine, lane->node, now_us)) {
        gavel__lane_condemn(lane, engine->distrust);
        return;
    }
    if (gavel__inflight_is_empty(&lane->inflight)) {
        gavel__lane_condemn(lane, "a reply came that nothing had asked for");
        return;
    }
    gavel__awaited awaited = *gavel__inflight_current(&lane->inflight);
    gavel__next next = GAVEL__NEXT_WAIT;
    gavel__inflight_advance(&lane->inflight);
    lane->silent_us = gavel__inflight_is_empty(&lane->inflight) ? 0 : now_us;
    if (awaited.kind != GAVEL__AWAITED_QUESTION) /* written before a round, it may come before it */
        measure_round_trip(engine, lane, now_us);
    if (lane->n_failures > 0 && shows_use(awaited.kind, reply))
        lane->n_failures = 0;
    if (awaited.kind == GAVEL__AWAITED_PLANT && reply->type == GAVEL_REPLY_ERROR)
        on_plant_refused(lane, awaited.round);
    if (!is_sound(awaited.kind, reply))
        gavel__lane_condemn(lane, "a command of the transaction's frame was not answered with OK");
    else if (awaited.round != NULL || !gavel__awaited_is_of_round(awaited.kind))
        next = take(engine, lane, &awaited, reply, now_us);
    if (next != GAVEL__NEXT_WAIT)
        gavel__round_drive(awaited.round, next, now_us);
}
