/*
 * The engine: see the header. Which round comes when is in schedule.c, who is in it in
 * draft.c, what concerns links in links.c.
 */
#include "core/engine.h"

#include "base/text.h"

#include <assert.h>

/* ---- Making and ending --------------------------------------------------------------------- */

static void init_limits(gavel__engine *engine)
{
    const gavel__engine_config *config = &engine->config;
    engine->limits.lore = &engine->lore;
    engine->limits.min_replicas = config->min_replicas;
    engine->limits.durable_ms = config->durable_ms;
    engine->limits.needs_fsync = config->needs_fsync;
    engine->limits.is_cluster = config->is_cluster;
    engine->limits.key_prefix = gavel_str(config->key_prefix);
    engine->limits.default_deadline_ms = config->default_deadline_ms;
    /* A doubt is settled by the deadline, and the marker must live until then. */
    engine->limits.max_deadline_us = config->marker_ttl_us / 2;
}

void gavel__engine_init(gavel__engine *engine, const gavel__engine_config *config)
{
    *engine = (gavel__engine){.config = *config, .trusted_until_us = GAVEL__NEVER};
    gavel__context_init(&engine->context, config->allocator, &config->hooks, config->seed);
    engine->context.reply_allocator =
        config->reply_allocator != NULL ? config->reply_allocator : config->allocator;
    gavel__queue_init(&engine->queue, &engine->context);
    engine->config.gates.context = &engine->context;
    engine->config.gates.questions = &engine->questions;
    engine->config.gates.nodes = &engine->nodes;
    engine->config.gates.key_prefix = config->key_prefix;
    /* Where programs are given the same seed, their owners differ all the same. */
    engine->config.gates.seed =
        gavel__random_next(&engine->context.random) ^ config->identity[0] ^ config->identity[1];
    engine->config.gates.hash_seed = engine->queue.keys.map.seed; /* hashes are used for both */
    gavel__gates_init(&engine->gates, &engine->config.gates);
    gavel__policy_init(&engine->policy, &config->policy);
    gavel__rounds_init(&engine->rounds, &engine->queue);
    engine->queue.order.gates = &engine->gates;
    engine->rounds.gates = &engine->gates;
    engine->rounds.policy = &engine->policy;
    engine->rounds.is_cluster = config->is_cluster;
    engine->rounds.on_redirect = config->on_redirect;
    engine->rounds.redirect_user = config->redirect_user;
    engine->rounds.key_prefix = gavel_str(config->key_prefix);
    engine->rounds.identity = engine->config.identity;
    engine->rounds.marker_ttl_us = config->marker_ttl_us;
    engine->rounds.id_ttl_ms = config->id_ttl_ms;
    engine->rounds.limits = config->round_limits;
    gavel__questions_init(&engine->questions, &engine->nodes);
    gavel__doubts_init(&engine->doubts, &engine->queue, &engine->questions, config->marker_ttl_us);
    engine->rounds.doubts = &engine->doubts;
    gavel__lore_init(&engine->lore, config->allocator, engine->queue.keys.map.seed);
    engine->rounds.lore = &engine->lore;
    engine->config.ledger.marker_ttl_us = config->marker_ttl_us;
    engine->config.ledger.is_cluster = config->is_cluster;
    engine->config.ledger.key_prefix = gavel_str(config->key_prefix);
    engine->config.ledger.fell_us = gavel__engine_fell_us;
    engine->config.ledger.epochs = gavel__engine_epochs;
    engine->config.ledger.has_stayed = gavel__engine_has_stayed;
    engine->config.ledger.is_replaced = gavel__engine_is_replaced;
    engine->config.ledger.nodes = engine;
    gavel__ledger_init(
        &engine->ledger, &engine->context, &engine->questions, &engine->config.ledger);
    engine->rounds.ledger = &engine->ledger;
    init_limits(engine);
    gavel__pool_init(&engine->pool, config->allocator);
    if (config->is_cluster)
        return;
    engine->nodes.first = engine->nodes.only = &engine->only.base;
    engine->queue.order.only = &engine->only.base.turns;
    gavel__engine_init_node(engine, &engine->only, 0, config->server);
}

static void finish_nodes(gavel__engine *engine)
{
    for (gavel__node *node = engine->nodes.first; node != NULL;) {
        gavel__node *following = node->following;
        gavel__durability_finish(node->durability);
        gavel__node_finish(node);
        if (node != engine->nodes.only)
            gavel__free(engine->config.allocator, node);
        node = following;
    }
    gavel__free(engine->config.allocator, engine->nodes.map);
}

void gavel__engine_finish(gavel__engine *engine)
{
    assert(engine->queue.n_open == 0);
    for (gavel__lane *lane = gavel__nodes_first_lane(&engine->nodes); lane != NULL;
         lane = gavel__nodes_next_lane(lane)) {
        if (lane->next != NULL)
            gavel__round_dissolve(lane->next, 0);
        if (lane->round != NULL)
            gavel__round_dissolve(lane->round, 0);
        gavel__pass_end(lane);
    }
    gavel__rounds_finish(&engine->rounds);
    gavel__doubts_finish(&engine->doubts);
    finish_nodes(engine);
    gavel__ledger_finish(&engine->ledger);
    gavel__gates_finish(&engine->gates);
    gavel__lore_finish(&engine->lore);
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
    transaction->outcome.ticket = transaction->ticket;
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
    if (transaction->state == GAVEL__TX_REPLICATING) {
        gavel__durability_end(transaction, message, now_us);
        return;
    }
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
        end_now(engine, transaction, GAVEL_CANCELLED, "cancelled", now_us);
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

/* How much time passed. True: most of it in bodies, and it says so. */
static bool explain_time(const gavel__transaction *transaction, char *text, size_t size)
{
    int64_t allowed_us = transaction->deadline_us - transaction->started_us;
    bool is_body_slow = transaction->body_us > allowed_us / 2;
    char bodies[64] = "";
    if (is_body_slow)
        gavel__format(bodies, sizeof(bodies), ": the %s took %lld ms",
            transaction->is_body_shared ? "bodies of its rounds" : "body",
            (long long)transaction->body_us / 1000);
    gavel__format(text, size, "%lld ms passed%s", (long long)allowed_us / 1000, bodies);
    return is_body_slow;
}

/* Why there is no link yet, as far as that is known. */
static const char *explain_dials(const gavel__node *node)
{
    for (const gavel__lane *lane = node->lanes.first; lane != NULL; lane = lane->following) {
        if (lane->state == GAVEL__LANE_DIALLING && lane->awaits_login)
            return ": log_in has not answered";
    }
    return "";
}

/* What the time was lost to, for people. */
static void explain_deadline(const gavel__engine *engine, const gavel__transaction *transaction,
    char message[GAVEL_MESSAGE_SIZE])
{
    char conflicts[GAVEL_MESSAGE_SIZE];
    char passed[96];
    const gavel__node *node = gavel__engine_node_for(engine, transaction);
    const char *server = node != NULL ? node->label : engine->config.server;
    const char *fault = transaction->last_fault != NULL ? transaction->last_fault : "";
    bool is_body_slow = explain_time(transaction, passed, sizeof(passed));
    if (is_committing(transaction)) {
        const char *lead = fault[0] != '\0' ? "; the last fault: " : "";
        if (fault[0] == '\0' && !gavel__engine_is_trusted(engine, engine->advanced_us)) {
            lead = "; ";
            fault = engine->distrust;
        }
        gavel__format(message, GAVEL_MESSAGE_SIZE, "%s%s before %s said what became of EXEC%s%s",
            passed, is_body_slow ? "," : "", server, lead, fault);
    } else if (is_body_slow) {
        gavel__format(message, GAVEL_MESSAGE_SIZE, "%s", passed);
    } else if (fault[0] != '\0') {
        gavel__format(message, GAVEL_MESSAGE_SIZE, "%s; the last fault: %s", passed, fault);
    } else if (!gavel__engine_is_trusted(engine, engine->advanced_us)) {
        gavel__format(message, GAVEL_MESSAGE_SIZE, "%s; %s", passed, engine->distrust);
    } else if (node == NULL) {
        gavel__format(message, GAVEL_MESSAGE_SIZE, "%s, and no node of %s is known for slot %u",
            passed, server, (unsigned)gavel__transaction_place(transaction));
    } else if (!gavel__node_has_link(node)) {
        gavel__format(message, GAVEL_MESSAGE_SIZE, "%s without a connection to %s%s", passed,
            server, explain_dials(node));
    } else if (transaction->outcome.n_conflicts > 0) {
        gavel__queue_explain_conflicts(transaction, conflicts);
        gavel__format(message, GAVEL_MESSAGE_SIZE, "%s: %s", passed, conflicts);
    } else {
        gavel__format(message, GAVEL_MESSAGE_SIZE, "%s, waiting for %s", passed, server);
    }
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
        if (transaction->state == GAVEL__TX_REPLICATING)
            gavel__durability_end(transaction,
                now_us < transaction->deadline_us ? "durable_ms have passed"
                                                  : "the deadline has passed",
                now_us);
        else if (now_us >= transaction->deadline_us)
            on_deadline(engine, transaction, now_us);
        else if (transaction->is_stale_ok && transaction->state != GAVEL__TX_PAUSED)
            gavel__queue_leave_replica(&engine->queue, transaction, now_us);
        else
            resume(engine, transaction, now_us);
    }
}

/* ---- Gates --------------------------------------------------------------------------------- */

bool gavel__engine_keeps_gates(const gavel__engine *engine)
{
    if (gavel__gates_is_empty(&engine->gates))
        return false;
    for (const gavel__lane *lane = gavel__nodes_first_lane(&engine->nodes); lane != NULL;
         lane = gavel__nodes_next_lane(lane)) {
        bool is_idle = lane->round == NULL || lane->round->phase == GAVEL__ROUND_PREFETCHED;
        if (lane->pass.state == GAVEL__PASS_HELD && is_idle && !lane->pass.is_kept &&
            !lane->is_condemned)
            return true;
    }
    return false;
}

/* ---- Advancing ------------------------------------------------------------------------------ */

static void serve_questions(gavel__engine *engine, gavel__node *node, int64_t now_us)
{
    static const int64_t n_slow_round_trips = 8;
    int64_t slow_us = n_slow_round_trips * (int64_t)engine->policy.round_trip_us;
    engine->questions.slow_us =
        slow_us > GAVEL__QUESTION_SLOW_US ? slow_us : GAVEL__QUESTION_SLOW_US;
    gavel__questions_serve(&engine->questions, node, now_us);
}

static void advance_node(gavel__engine *engine, gavel__node *node, int64_t now_us)
{
    gavel__durability_advance(node->durability, now_us);
    if (gavel__engine_trusts(engine, node, now_us)) {
        gavel__engine_schedule(engine, node, now_us);
        if (gavel__questions_has_pending(&engine->questions))
            serve_questions(engine, node, now_us);
    }
    gavel__engine_want_links(engine, node, now_us);
    node->turns.has_news = false;
}

/* Of several nodes, one that was looked at may get somebody from one behind it: whose body, run
 * there, says where it belongs, or wants more than a replica has. */
static void advance_again(gavel__engine *engine, int64_t now_us)
{
    bool has_any = true;
    while (has_any) {
        has_any = false;
        for (gavel__node *node = engine->nodes.first; node != NULL; node = node->following) {
            if (!node->turns.has_news)
                continue;
            has_any = true;
            advance_node(engine, node, now_us);
        }
    }
}

void gavel__engine_advance(gavel__engine *engine, int64_t now_us)
{
    engine->advanced_us = now_us;
    run_timers(engine, now_us);
    gavel__doubts_advance(&engine->doubts, now_us);
    gavel__ledger_advance(&engine->ledger, now_us);
    for (gavel__node *node = engine->nodes.first; node != NULL; node = node->following)
        gavel__offsets_advance(node->offsets, now_us);
    for (gavel__node *node = engine->nodes.first; node != NULL; node = node->following)
        advance_node(engine, node, now_us);
    if (engine->nodes.only == NULL || engine->nodes.only->following != NULL)
        advance_again(engine, now_us);
}

/* ---- Another server in its place ----------------------------------------------------------- */

void gavel__engine_trust(gavel__engine *engine, int64_t until_us, const char *otherwise)
{
    engine->trusted_until_us = until_us;
    gavel__format(engine->distrust, sizeof(engine->distrust), "%s", otherwise);
    gavel__node *node = engine->nodes.only;
    if (until_us == INT64_MIN && !gavel__node_has_link(node))
        gavel__format(node->trouble, sizeof(node->trouble), "%s", otherwise);
}

void gavel__engine_set_provisional(gavel__engine *engine, bool is_provisional, int64_t now_us)
{
    engine->questions.is_provisional = is_provisional;
    if (is_provisional)
        gavel__doubts_release_keys(&engine->doubts, now_us);
}

void gavel__engine_know_replicas(gavel__engine *engine, uint32_t n)
{
    engine->nodes.only->durability->n_known = n;
}

void gavel__engine_leave(gavel__engine *engine, const char *message, int64_t now_us)
{
    for (gavel__lane *lane = gavel__nodes_first_lane(&engine->nodes); lane != NULL;
         lane = gavel__nodes_next_lane(lane)) {
        if (!gavel__node_takes_questions(lane->node))
            continue;
        lane->n_failures = 0;
        if (lane->dial_us > now_us)
            lane->dial_us = now_us;
        if (lane->state == GAVEL__LANE_UP && !lane->is_condemned)
            gavel__lane_condemn(lane, message);
    }
    for (gavel__node *node = engine->nodes.first; node != NULL; node = node->following)
        gavel__durability_leave(node->durability);
    for (size_t i = 0; i < engine->pool.n_places; i++) {
        gavel__transaction *transaction = engine->pool.places[i].transaction;
        if (transaction != NULL && transaction->state == GAVEL__TX_PAUSED &&
            transaction->outcome.n_faults > 0)
            resume(engine, transaction, now_us);
    }
}

static int64_t earlier(int64_t a_us, int64_t b_us)
{
    return a_us < b_us ? a_us : b_us;
}

/* When a lane that is there wants something done. */
static int64_t lane_due_us(const gavel__engine *engine, const gavel__lane *lane)
{
    int64_t due_us =
        earlier(gavel__engine_keep_until_us(engine, lane), gavel__engine_late_us(engine, lane));
    if (gavel__pass_blocked_on(lane) == NULL)
        return due_us;
    due_us = earlier(due_us, lane->pass.probe_us);
    return earlier(due_us, gavel__round_let_go_us(lane->round));
}

static int64_t node_due_us(const gavel__engine *engine, const gavel__node *node)
{
    int64_t due_us = gavel__durability_due_us(node->durability);
    if (node->make_lane_us > engine->advanced_us)
        due_us = earlier(due_us, node->make_lane_us);
    /* Nothing is scheduled or asked while the server is not believed: then it would stay due. */
    bool is_trusted = gavel__engine_trusts(engine, node, engine->advanced_us);
    if (is_trusted)
        due_us = earlier(due_us, gavel__engine_sort_us(node));
    for (const gavel__lane *lane = node->lanes.first; lane != NULL; lane = lane->following) {
        if (lane->state == GAVEL__LANE_WANTED)
            due_us = earlier(due_us, lane->dial_us);
        if (is_trusted)
            due_us = earlier(due_us, lane_due_us(engine, lane));
    }
    return due_us;
}

int64_t gavel__engine_due_us(const gavel__engine *engine)
{
    int64_t due_us =
        earlier(gavel__doubts_due_us(&engine->doubts), gavel__ledger_due_us(&engine->ledger));
    due_us = earlier(due_us, gavel__questions_due_us(&engine->questions, engine->advanced_us));
    const gavel__line_node *first = gavel__line_first(&engine->queue.timers);
    if (first != NULL)
        due_us = earlier(due_us, (int64_t)first->order);
    for (const gavel__node *node = engine->nodes.first; node != NULL; node = node->following)
        due_us = earlier(due_us, node_due_us(engine, node));
    return due_us;
}
