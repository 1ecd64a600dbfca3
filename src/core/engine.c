/*
 * The engine: see the header. Which round comes when is in schedule.c.
 */
#include "core/engine.h"

#include "base/text.h"
#include "core/backoff.h"

#include <assert.h>
#include <string.h>

/* ---- Making and ending --------------------------------------------------------------------- */

void gavel__engine_init(gavel__engine *engine, const gavel__engine_config *config)
{
    *engine = (gavel__engine){.config = *config};
    gavel__context_init(&engine->context, config->allocator, &config->hooks, config->seed);
    gavel__queue_init(&engine->queue, &engine->context);
    engine->config.gates.context = &engine->context;
    engine->config.gates.questions = &engine->questions;
    engine->config.gates.key_prefix = config->key_prefix;
    engine->config.gates.seed = gavel__random_next(&engine->context.random);
    engine->config.gates.hash_seed = engine->queue.keys.map.seed; /* hashes are used for both */
    gavel__gates_init(&engine->gates, &engine->config.gates);
    gavel__policy_init(&engine->policy, &config->policy);
    gavel__rounds_init(&engine->rounds, &engine->queue);
    engine->queue.order.gates = &engine->gates;
    engine->rounds.gates = &engine->gates;
    engine->rounds.policy = &engine->policy;
    engine->rounds.marker_ttl_us = config->marker_ttl_us;
    engine->rounds.id_ttl_ms = config->id_ttl_ms;
    engine->rounds.limits = config->round_limits;
    gavel__questions_init(&engine->questions);
    gavel__doubts_init(&engine->doubts, &engine->queue, &engine->questions, config->marker_ttl_us);
    engine->rounds.doubts = &engine->doubts;
    engine->limits.key_prefix = gavel_str(config->key_prefix);
    /* A doubt is settled by the deadline, and the marker must live until then. */
    engine->limits.max_deadline_us = config->marker_ttl_us / 2;
    gavel__pool_init(&engine->pool, config->allocator);
    engine->lanes = (gavel__lanes){.allocator = config->allocator,
        .n_links = config->max_links,
        .max_passing = config->max_gate_links,
        .max_blocking = config->max_waiting_links};
}

void gavel__engine_finish(gavel__engine *engine)
{
    assert(engine->queue.n_open == 0);
    for (gavel__lane *lane = engine->lanes.first; lane != NULL; lane = lane->following) {
        if (lane->next != NULL)
            gavel__round_dissolve(lane->next, 0);
        if (lane->round != NULL)
            gavel__round_dissolve(lane->round, 0);
        gavel__pass_end(lane);
    }
    gavel__lanes_finish(&engine->lanes);
    gavel__rounds_finish(&engine->rounds);
    gavel__doubts_finish(&engine->doubts);
    gavel__gates_finish(&engine->gates);
    gavel__queue_finish(&engine->queue);
    gavel__pool_finish(&engine->pool);
}

/* ---- Transactions -------------------------------------------------------------------------- */

/* Whether it may enter; otherwise its outcome is set. */
static bool admit(
    gavel__engine *engine, gavel__transaction *transaction, const gavel_transaction *request)
{
    if (!gavel__transaction_begin(transaction, request, &engine->limits, &engine->rounds.scratch))
        return false;
    if (engine->queue.n_open >= engine->config.max_queued) {
        gavel__transaction_settle(
            transaction, GAVEL_NOT_SENT, "too many transactions under way (max_queued)");
        return false;
    }
    if (!gavel__queue_enter(&engine->queue, transaction)) {
        gavel__transaction_settle(transaction, GAVEL_NOT_SENT, "no memory");
        return false;
    }
    return true;
}

gavel__transaction *gavel__engine_submit(
    gavel__engine *engine, const gavel_transaction *request, int64_t now_us)
{
    gavel__transaction *transaction = gavel__pool_take(&engine->pool);
    if (transaction == NULL)
        return NULL;
    gavel__transaction_set_state(transaction, GAVEL__TX_READY);
    transaction->started_us = now_us;
    if (!admit(engine, transaction, request))
        gavel__queue_turn_away(&engine->queue, transaction, now_us);
    return transaction;
}

gavel__transaction *gavel__engine_find(gavel__engine *engine, gavel_ticket ticket)
{
    gavel__transaction *transaction = gavel__pool_find(&engine->pool, ticket);
    return transaction != NULL && transaction->state != GAVEL__TX_ENDED ? transaction : NULL;
}

gavel__transaction *gavel__engine_take_done(gavel__engine *engine)
{
    gavel__list *node = gavel__list_pop(&engine->queue.done);
    return node != NULL ? GAVEL__CONTAINER(node, gavel__transaction, node) : NULL;
}

void gavel__engine_release(gavel__engine *engine, gavel__transaction *transaction)
{
    gavel__pool_release(&engine->pool, transaction, engine->queue.n_open);
}

/* ---- Cancelling and time ------------------------------------------------------------------- */

/* Whether its writes are, or may be, with the server already. */
static bool is_committing(const gavel__transaction *transaction)
{
    return (transaction->state == GAVEL__TX_IN_DOUBT ||
               transaction->state == GAVEL__TX_COMMITTING) &&
           gavel__transaction_has_effects(transaction);
}

/* Whether the kernel was given the whole of its EXEC. If not, closing the link keeps it from ever
 * arriving. */
static bool is_sent(const gavel__transaction *transaction)
{
    return transaction->state == GAVEL__TX_IN_DOUBT ||
           transaction->round->lane->n_sent >= transaction->round->committing.exec_end;
}

/* Ends it now, as `status` if it certainly has no effect, else as UNKNOWN. */
static void end_now(gavel__engine *engine, gavel__transaction *transaction, gavel_status status,
    const char *message, int64_t now_us)
{
    if (is_committing(transaction)) {
        if (is_sent(transaction))
            status = GAVEL_UNKNOWN;
        else
            gavel__lane_condemn(transaction->round->lane, "its EXEC was taken back");
    }
    gavel__queue_settle(&engine->queue, transaction, status, message, now_us);
}

void gavel__engine_cancel(gavel__engine *engine, gavel__transaction *transaction, int64_t now_us)
{
    transaction->is_cancelled = true;
    if (!is_committing(transaction))
        gavel__queue_settle(&engine->queue, transaction, GAVEL_CANCELLED, "cancelled", now_us);
}

void gavel__engine_cancel_all(gavel__engine *engine, bool is_final, int64_t now_us)
{
    for (size_t i = 0; i < engine->pool.n_places; i++) {
        gavel__transaction *transaction = engine->pool.places[i].transaction;
        if (transaction == NULL || transaction->state == GAVEL__TX_ENDED)
            continue;
        if (is_final)
            end_now(engine, transaction, GAVEL_CANCELLED, "the client was closed", now_us);
        else
            gavel__engine_cancel(engine, transaction, now_us);
    }
}

static bool has_lane(const gavel__engine *engine, gavel__lane_state state);

/* What the time was lost to, for people. */
static void explain_deadline(const gavel__engine *engine, const gavel__transaction *transaction,
    char message[GAVEL_MESSAGE_SIZE])
{
    long long passed_ms = (long long)(transaction->deadline_us - transaction->started_us) / 1000;
    const char *server = engine->config.server;
    const char *fault = transaction->last_fault != NULL ? transaction->last_fault : "";
    if (is_committing(transaction))
        gavel__format(message, GAVEL_MESSAGE_SIZE,
            "%lld ms passed before %s said what became of EXEC%s%s", passed_ms, server,
            fault[0] != '\0' ? "; the last fault: " : "", fault);
    else if (fault[0] != '\0')
        gavel__format(
            message, GAVEL_MESSAGE_SIZE, "%lld ms passed; the last fault: %s", passed_ms, fault);
    else if (!has_lane(engine, GAVEL__LANE_UP))
        gavel__format(message, GAVEL_MESSAGE_SIZE, "%lld ms passed without a connection to %s",
            passed_ms, server);
    else if (transaction->outcome.n_conflicts > 0)
        gavel__format(message, GAVEL_MESSAGE_SIZE, "%lld ms passed in %u conflicts", passed_ms,
            (unsigned)transaction->outcome.n_conflicts);
    else
        gavel__format(
            message, GAVEL_MESSAGE_SIZE, "%lld ms passed, waiting for %s", passed_ms, server);
}

static void on_deadline(gavel__engine *engine, gavel__transaction *transaction, int64_t now_us)
{
    char message[GAVEL_MESSAGE_SIZE];
    explain_deadline(engine, transaction, message);
    end_now(engine, transaction, GAVEL_DEADLINE, message, now_us);
}

static void resume(gavel__engine *engine, gavel__transaction *transaction, int64_t now_us)
{
    transaction->has_paused = true;
    gavel__queue_make_ready(&engine->queue, transaction, now_us);
}

static void run_timers(gavel__engine *engine, int64_t now_us)
{
    gavel__transaction *transaction;
    while ((transaction = gavel__queue_next_due(&engine->queue, now_us)) != NULL) {
        if (now_us >= transaction->deadline_us)
            on_deadline(engine, transaction, now_us);
        else
            resume(engine, transaction, now_us);
    }
}

/* How long to do without gates when no link for them can be had. */
static const int64_t without_gates_us = 1000000;

/* And when to see whether there is memory for a lane. */
static const int64_t no_memory_pause_us = 20000;

/* ---- Links --------------------------------------------------------------------------------- */

static bool has_lane(const gavel__engine *engine, gavel__lane_state state)
{
    for (gavel__lane *lane = engine->lanes.first; lane != NULL; lane = lane->following) {
        if (lane->state == state)
            return true;
    }
    return false;
}

gavel_bytes gavel__engine_begin_dial(gavel__engine *engine, gavel__lane *lane)
{
    gavel__lane_set_state(lane, GAVEL__LANE_DIALLING);
    lane->marker_size = 0;
    if (engine->config.marker_ttl_us > 0) {
        /* A name of its own for each connection: what an older one left behind means nothing. The
         * slot is any one: a single server has them all. */
        gavel_bytes name = gavel__name_of_marker(gavel_str(engine->config.key_prefix), 0,
            engine->config.identity, engine->n_markers++, lane->marker);
        lane->marker_size = name.size;
    }
    if (lane->is_waiting_lane) /* it may come and go only to wait: planted before a round */
        return (gavel_bytes){NULL, 0};
    return (gavel_bytes){lane->marker, lane->marker_size};
}

void gavel__engine_on_link_up(gavel__engine *engine, gavel__lane *lane, gavel__buffer *out)
{
    gavel__lane_set_state(lane, GAVEL__LANE_UP);
    lane->out = out;
    lane->n_appended = 0;
    lane->n_sent = 0;
    lane->n_new_replies = 0;
    lane->written_us = 0;
    lane->silent_us = 0;
    lane->is_watching = false;
    lane->is_planted = false;
    lane->named_after = 0;
    engine->questions.trouble[0] = '\0';
    engine->context.stats.n_links_up++;
    gavel__context_tell(&engine->context, GAVEL_EVENT_LINK_UP, lane->index, NULL, "");
}

/*
 * No link, and none will do: everybody who waits for one is told, or tries again later; but not
 * those who came after this link was dialled: what it has met may be over.
 */
static void on_unreachable(
    gavel__engine *engine, const gavel__loss *loss, int64_t dialled_us, int64_t now_us)
{
    for (size_t i = 0; i < engine->pool.n_places; i++) {
        gavel__transaction *transaction = engine->pool.places[i].transaction;
        bool is_waiting = transaction != NULL && (transaction->state == GAVEL__TX_READY ||
                                                     transaction->state == GAVEL__TX_PARKED);
        if (!is_waiting || transaction->started_us > dialled_us)
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
    gavel__doubt_open(doubt, lane->index, now_us);
}

static void lose_rounds(gavel__lane *lane, const gavel__loss *loss, int64_t now_us)
{
    gavel__round *round = lane->round;
    bool is_handed_off =
        lane->pass.is_handed_off && round != NULL && loss->n_sent >= round->committing.exec_end;
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

/* Whether a lane is up that passes through gates, or could. */
static bool has_gate_lane(const gavel__engine *engine)
{
    for (const gavel__lane *lane = engine->lanes.first; lane != NULL; lane = lane->following) {
        if (lane->is_waiting_lane && lane->state == GAVEL__LANE_UP && lane->blocking == NULL)
            return true;
    }
    return false;
}

void gavel__engine_on_link_down(
    gavel__engine *engine, gavel__lane *lane, const gavel__loss *loss, int64_t now_us)
{
    bool was_up = lane->state == GAVEL__LANE_UP;
    bool was_retired = lane->is_retired;
    int64_t dialled_us = lane->dial_us;
    gavel__lane_set_state(lane, GAVEL__LANE_DOWN);
    lane->out = NULL;
    lane->is_condemned = false;
    lane->dial_us = now_us + redial_pause_us(engine, lane, was_up);
    engine->context.stats.n_links_down++;
    gavel__context_tell(&engine->context, GAVEL_EVENT_LINK_DOWN, lane->index, NULL, loss->message);
    lose_rounds(lane, loss, now_us);
    if (!was_retired && !has_lane(engine, GAVEL__LANE_UP)) {
        engine->questions.n_failed_dials += !was_up;
        gavel__questions_on_unreachable(&engine->questions, loss, now_us);
    }
    gavel__questions_on_link_down(&lane->inflight, loss, now_us);
    lane->inflight.has_failed = false;
    if (!was_up && !has_lane(engine, GAVEL__LANE_UP))
        on_unreachable(engine, loss, dialled_us, now_us);
    else if (!was_up && lane->is_waiting_lane && !has_gate_lane(engine))
        gavel__gates_turn_off(&engine->gates, now_us + without_gates_us);
}

/* ---- Gates --------------------------------------------------------------------------------- */

/* Whoever waits too long for a gate sees whether its holder is dead. */
static void probe_gates(gavel__engine *engine, int64_t now_us)
{
    for (gavel__lane *lane = engine->lanes.first; lane != NULL; lane = lane->following)
        gavel__pass_probe(lane, &engine->gates, now_us);
}

bool gavel__engine_keeps_gates(const gavel__engine *engine)
{
    if (gavel__gates_is_empty(&engine->gates))
        return false;
    for (const gavel__lane *lane = engine->lanes.first; lane != NULL; lane = lane->following) {
        bool is_idle = lane->round == NULL || lane->round->phase == GAVEL__ROUND_PREFETCHED;
        if (lane->pass.state == GAVEL__PASS_HELD && is_idle && !lane->pass.is_kept &&
            !lane->is_condemned)
            return true;
    }
    return false;
}

/* ---- More lanes ---------------------------------------------------------------------------- */

/* Whether there is work for one more lane of this kind. */
static bool has_work_for(gavel__engine *engine, bool is_waiting_lane)
{
    return gavel__engine_has_ready(engine, is_waiting_lane) ||
           gavel__questions_want_lane(&engine->questions, &engine->lanes, is_waiting_lane);
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
static void on_no_lane(gavel__engine *engine, bool is_waiting_lane, int64_t now_us)
{
    engine->make_lane_us = now_us + no_memory_pause_us;
    if (is_waiting_lane && !has_gate_lane(engine))
        gavel__gates_turn_off(&engine->gates, now_us + without_gates_us);
    if (!is_waiting_lane && !has_lane(engine, GAVEL__LANE_UP))
        on_unreachable(engine, &(gavel__loss){.message = "no memory for a link"}, now_us, now_us);
}

/* One more link, if there is work that no link takes and none is on its way. */
static void want_lane(gavel__engine *engine, bool is_waiting_lane, int64_t now_us)
{
    if (!has_work_for(engine, is_waiting_lane)) /* mostly, and quickly */
        return;
    uint32_t place = place_to_dial(&engine->lanes, is_waiting_lane);
    if (place == gavel__lanes_max(&engine->lanes) || now_us < engine->make_lane_us)
        return;
    gavel__lane *lane = gavel__lanes_make(&engine->lanes, place);
    if (lane == NULL) {
        on_no_lane(engine, is_waiting_lane, now_us);
        return;
    }
    gavel__lane_set_state(lane, GAVEL__LANE_WANTED);
    if (lane->dial_us < now_us)
        lane->dial_us = now_us;
}

/* ---- Advancing ------------------------------------------------------------------------------ */

static void serve_questions(gavel__engine *engine, int64_t now_us)
{
    static const int64_t n_slow_round_trips = 8;
    int64_t slow_us = n_slow_round_trips * (int64_t)engine->policy.round_trip_us;
    engine->questions.slow_us =
        slow_us > GAVEL__QUESTION_SLOW_US ? slow_us : GAVEL__QUESTION_SLOW_US;
    gavel__questions_serve(&engine->questions, &engine->lanes, now_us);
}

void gavel__engine_advance(gavel__engine *engine, int64_t now_us)
{
    engine->advanced_us = now_us;
    run_timers(engine, now_us);
    gavel__doubts_advance(&engine->doubts, now_us);
    gavel__engine_schedule(engine, now_us);
    probe_gates(engine, now_us);
    serve_questions(engine, now_us);
    want_lane(engine, false, now_us);
    want_lane(engine, true, now_us);
}

int64_t gavel__engine_due_us(const gavel__engine *engine)
{
    int64_t due_us = GAVEL__NEVER;
    const gavel__line_node *first = gavel__line_first(&engine->queue.timers);
    if (first != NULL)
        due_us = (int64_t)first->order;
    if (engine->make_lane_us > engine->advanced_us && engine->make_lane_us < due_us)
        due_us = engine->make_lane_us;
    for (const gavel__lane *lane = engine->lanes.first; lane != NULL; lane = lane->following) {
        if (lane->state == GAVEL__LANE_WANTED && lane->dial_us < due_us)
            due_us = lane->dial_us;
        if (gavel__pass_blocked_on(lane) == NULL)
            continue;
        if (lane->pass.probe_us < due_us)
            due_us = lane->pass.probe_us;
        int64_t let_go_us = gavel__round_let_go_us(lane->round);
        if (let_go_us < due_us)
            due_us = let_go_us;
    }
    int64_t doubts_us = gavel__doubts_due_us(&engine->doubts);
    return doubts_us < due_us ? doubts_us : due_us;
}
