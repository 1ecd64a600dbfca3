/*
 * Links, as the engine sees them: when one is wanted, that it came up or went down, and what
 * becomes of those who were on it or waited for it. One part of the engine.
 */
#include "core/backoff.h"
#include "core/engine.h"

/* How long to do without gates when no link for them can be had. */
static const int64_t without_gates_us = 1000000;

/* And when to see whether there is memory for a lane. */
static const int64_t no_memory_pause_us = 20000;

/* ---- Up and down --------------------------------------------------------------------------- */

gavel_bytes gavel__engine_begin_dial(gavel__engine *engine, gavel__lane *lane)
{
    gavel__lane_set_state(lane, GAVEL__LANE_DIALLING);
    lane->marker.size = 0;
    /* The slot is any one: a single server has them all. */
    if (!engine->config.is_cluster && gavel__node_takes_questions(lane->node))
        gavel__rounds_name_marker(&engine->rounds, &lane->marker, 0);
    if (lane->is_waiting_lane) /* it may come and go only to wait: planted before a round */
        return (gavel_bytes){NULL, 0};
    return gavel__marker_name(&lane->marker);
}

static gavel__history *history_of(gavel__node *node)
{
    return &GAVEL__CONTAINER(node, gavel__engine_node, base)->history;
}

void gavel__engine_on_link_up(gavel__engine *engine, gavel__lane *lane, gavel__buffer *out)
{
    gavel__lane_set_state(lane, GAVEL__LANE_UP);
    lane->out = out;
    lane->n_ups++;
    lane->n_appended = 0;
    lane->n_sent = 0;
    lane->n_new_replies = 0;
    lane->written_us = 0;
    lane->silent_us = 0;
    lane->is_watching = false;
    lane->guard = GAVEL__GUARD_NONE;
    gavel__marker_end(&lane->marker);
    lane->has_lost_marker = false;
    lane->named_after = 0;
    lane->node->trouble[0] = '\0';
    engine->context.stats.n_links_up++;
    gavel__context_tell(
        &engine->context, GAVEL_EVENT_LINK_UP, gavel__lane_number(lane), NULL, lane->node->label);
    gavel__history_on_link_up(history_of(lane->node));
    gavel__ledger_on_link_up(&engine->ledger);
}

typedef struct gavel__outage {
    const gavel__node *node; /* NULL: whoever waits nowhere is concerned */
    const gavel__loss *loss;
    int64_t dialled_us; /* those who came later are not concerned: it may be over */
} gavel__outage;

/* No link to the node, and none will do: everybody who waits for one is told, or tries again later.
 */
static void on_unreachable(gavel__engine *engine, const gavel__outage *outage, int64_t now_us)
{
    const gavel__loss *loss = outage->loss;
    if (outage->node != NULL)
        gavel__engine_leave_replica(engine, outage->node, now_us);
    for (size_t i = 0; i < engine->pool.n_places; i++) {
        gavel__transaction *transaction = engine->pool.places[i].transaction;
        bool is_waiting = transaction != NULL && (transaction->state == GAVEL__TX_READY ||
                                                     transaction->state == GAVEL__TX_PARKED);
        if (!is_waiting || transaction->started_us > outage->dialled_us ||
            gavel__engine_node_for(engine, transaction) != outage->node)
            continue;
        if (loss->is_final)
            gavel__queue_settle(&engine->queue, transaction,
                loss->is_refused ? GAVEL_REJECTED : GAVEL_NOT_SENT, loss->message, now_us);
        else
            gavel__queue_on_fault(&engine->queue, transaction, loss->message, now_us);
    }
}

/* The marker tells whether EXEC was made, and with it the hand-off of the gates. */
static void lose_committing(gavel__lane *lane, bool is_handed_off, int64_t now_us)
{
    gavel__doubt *doubt = gavel__round_hand_over(lane->round, now_us);
    if (is_handed_off)
        gavel__doubt_take_gates(doubt, &lane->pass);
    gavel__doubt_open(doubt, gavel__lane_number(lane), now_us);
}

static void lose_rounds(gavel__lane *lane, const gavel__loss *loss, int64_t now_us)
{
    gavel__round *round = lane->round;
    bool is_handed_off =
        lane->pass.is_handed_off && round != NULL && loss->n_sent >= round->committing.exec_end;
    if (loss->is_too_large && !gavel__inflight_is_empty(&lane->inflight))
        gavel__round_on_too_large(gavel__inflight_current(&lane->inflight), loss->message, now_us);
    if (loss->is_cut && round != NULL)
        gavel__round_note_cut(round);
    if (lane->next != NULL)
        gavel__round_on_loss(lane->next, loss->message, now_us);
    if (round != NULL && gavel__round_is_in_doubt(round, loss->n_sent))
        lose_committing(lane, is_handed_off, now_us);
    else if (round != NULL)
        gavel__round_on_loss(round, loss->message, now_us);
    if (is_handed_off)
        gavel__pass_end(lane);
    else
        gavel__pass_lose(lane);
}

/* A link that was of use is made anew at once; one that never came up, or did and died before it
 * was, only after a pause. */
static int64_t redial_pause_us(gavel__engine *engine, gavel__lane *lane, bool was_up)
{
    if (lane->is_retired) {
        lane->is_retired = false;
        return 0;
    }
    lane->n_failures++;
    if (was_up && lane->n_failures == 1)
        return 0;
    return gavel__backoff_fault_us(lane->n_failures, &engine->context.random);
}

void gavel__engine_on_link_down(
    gavel__engine *engine, gavel__lane *lane, const gavel__loss *loss, int64_t now_us)
{
    gavel__node *node = lane->node;
    bool was_up = lane->state == GAVEL__LANE_UP;
    bool was_retired = lane->is_retired;
    int64_t dialled_us = lane->dial_us;
    gavel__lane_set_state(lane, GAVEL__LANE_DOWN);
    lane->out = NULL;
    lane->is_condemned = false;
    lane->dial_us = now_us + redial_pause_us(engine, lane, was_up);
    engine->context.stats.n_links_down += !was_retired;
    gavel__context_tell(&engine->context,
        was_retired ? GAVEL_EVENT_LINK_CLOSED : GAVEL_EVENT_LINK_DOWN, gavel__lane_number(lane),
        NULL, loss->message);
    if (was_up && !was_retired)
        gavel__lore_forget(&engine->lore);
    lose_rounds(lane, loss, now_us);
    gavel__rounds_leave_markers(lane);
    if (node->primary != NULL && !was_retired)
        gavel__node_shun(node, now_us);
    if (!was_retired && !gavel__node_is_reachable(node) && gavel__node_takes_questions(node)) {
        if (!was_up)
            gavel__questions_on_failed_dial(&engine->questions, node);
        gavel__questions_on_unreachable(&engine->questions, node, loss, now_us);
    }
    gavel__questions_on_link_down(&lane->inflight, loss, now_us);
    lane->inflight.has_failed = false;
    /* The server may have crashed. Others, on which that will show, may be up still, and one to the
     * new server already: so each loss counts. */
    if (was_up) {
        gavel__history_on_link_down(history_of(node), gavel__node_has_link(node));
        gavel__ledger_audit(&engine->ledger, gavel__node_may_have_markers, node);
        if (!was_retired)
            gavel__durability_leave(node->durability);
    }
    if (!was_up && !gavel__node_is_reachable(node))
        on_unreachable(engine, &(gavel__outage){node, loss, dialled_us}, now_us);
    else if (!was_up && lane->is_waiting_lane && !gavel__node_has_gate_lane(node))
        gavel__node_turn_gates_off(node, now_us + without_gates_us);
}

void gavel__engine_on_nowhere(
    gavel__engine *engine, const gavel__loss *loss, int64_t asked_us, int64_t now_us)
{
    gavel__node *node = engine->nodes.only; /* NULL: of a Cluster */
    gavel__questions_on_failed_dial(&engine->questions, node);
    gavel__questions_on_unreachable(&engine->questions, node, loss, now_us);
    on_unreachable(engine, &(gavel__outage){node, loss, asked_us}, now_us);
}

/* ---- Wanting one ---------------------------------------------------------------------------- */

/* Whether there is work for one more lane of this kind. */
static bool has_work_for(gavel__engine *engine, gavel__node *node, bool is_waiting_lane)
{
    return gavel__engine_has_ready(engine, node, is_waiting_lane) ||
           gavel__questions_want_lane(&engine->questions, node, is_waiting_lane);
}

/* The place of one that is down, unless one of its kind is on its way; or that behind the last. */
static uint32_t place_to_dial(const gavel__lanes *lanes, bool is_waiting_lane)
{
    uint32_t n_max = gavel__lanes_max(lanes);
    uint32_t end = is_waiting_lane ? n_max : lanes->n_links;
    uint32_t place = n_max;
    for (uint32_t i = is_waiting_lane ? lanes->n_links : 0; i < end; i++) {
        const gavel__lane *lane = gavel__lanes_find(lanes, i);
        if (lane != NULL &&
            (lane->state == GAVEL__LANE_WANTED || lane->state == GAVEL__LANE_DIALLING))
            return n_max;
        if (place == n_max && (lane == NULL || lane->state == GAVEL__LANE_DOWN))
            place = i;
    }
    return place;
}

/* There is no memory for a lane: without any, it is as if the server could not be reached. */
static void on_no_lane(
    gavel__engine *engine, gavel__node *node, bool is_waiting_lane, int64_t now_us)
{
    static const gavel__loss no_memory = {.message = "no memory for a link"};
    node->make_lane_us = now_us + no_memory_pause_us;
    if (is_waiting_lane && !gavel__node_has_gate_lane(node))
        gavel__node_turn_gates_off(node, now_us + without_gates_us);
    if (node->primary != NULL)
        gavel__node_shun(node, now_us);
    if (!is_waiting_lane && !gavel__node_is_reachable(node))
        on_unreachable(engine, &(gavel__outage){node, &no_memory, now_us}, now_us);
}

/* Whether anything has found no lane. */
static bool has_waiting_work(const gavel__engine *engine, const gavel__node *node)
{
    return gavel__turns_are_there(&node->turns) || gavel__questions_has_pending(&engine->questions);
}

/* One more link, if there is work that no link takes and none is on its way. */
static void want_lane(
    gavel__engine *engine, gavel__node *node, bool is_waiting_lane, int64_t now_us)
{
    if (!has_work_for(engine, node, is_waiting_lane))
        return;
    uint32_t place = place_to_dial(&node->lanes, is_waiting_lane);
    if (place == gavel__lanes_max(&node->lanes) || now_us < node->make_lane_us)
        return;
    gavel__lane *lane = gavel__lanes_make(&node->lanes, place);
    if (lane == NULL) {
        on_no_lane(engine, node, is_waiting_lane, now_us);
        return;
    }
    gavel__lane_set_state(lane, GAVEL__LANE_WANTED);
    if (lane->dial_us < now_us)
        lane->dial_us = now_us;
}

void gavel__engine_want_links(gavel__engine *engine, gavel__node *node, int64_t now_us)
{
    if (!has_waiting_work(engine, node)) /* mostly, and quickly */
        return;
    want_lane(engine, node, false, now_us);
    want_lane(engine, node, true, now_us);
}
