/*
 * Drafts: how a round is collected, of those who are ready. One part of the engine.
 */
#include "core/engine.h"

/* ---- Drafts --------------------------------------------------------------------------------- */

/* A round that is being collected. */
typedef struct gavel__draft {
    gavel__lane *lane;
    gavel__round *round;    /* NULL: not begun */
    gavel__ready_kind kind; /* begun: of all its members */
    gavel__candidates candidates;
    gavel__line passed_over; /* READY, but for other gate lanes: until the round is collected */
    size_t n_members;
    size_t n_drawn; /* members to be, by the keys that it has; see count_drawn */
    bool is_full;
} gavel__draft;

static const size_t min_share = 16; /* fewer are not worth a round trip of their own */

/*
 * The server works on one round while the next one is prepared here, and the other way round; so
 * half of the open transactions are left to other lanes.
 */
static bool has_its_share(const gavel__engine *engine, const gavel__draft *draft)
{
    size_t half = engine->queue.n_open / 2;
    return draft->n_drawn >= (half > min_share ? half : min_share);
}

/* Whether it goes into a round that claims nothing. */
static bool is_blind(const gavel__transaction *transaction)
{
    return !transaction->is_read_only && transaction->n_keys + transaction->n_reads == 0;
}

/*
 * Whether all who want a key count with the first of them, since there is no other lane for them.
 * Not while some want several keys: keys that are wanted together are not kept apart, for who wants
 * both would wait for two rounds. And not with few links or callers: the narrower rounds that it
 * makes pay only where several are under way, each worth its round trip.
 */
static bool counts_lines(const gavel__engine *engine)
{
    static const uint32_t min_links = 4;
    return engine->queue.order.n_with_several == 0 && engine->config.max_links >= min_links &&
           engine->queue.n_open >= 4 * min_share;
}

/*
 * How many it draws into the round, at most, if it brings a key that is new there. (Those whose
 * EXEC is under way are among the users of a key.) Nobody, if nobody else wants what it brings.
 * Readers claim no keys, and are the cheaper the more of them share a round. A writer without keys
 * draws itself.
 */
static size_t count_drawn(
    const gavel__engine *engine, const gavel__draft *draft, const gavel__transaction *transaction)
{
    if (is_blind(transaction))
        return 1;
    bool is_behind = false; /* one of the round's keys is among its keys */
    size_t n_users = 0;     /* of the one that most want, of the others */
    for (size_t i = 0; i < transaction->n_keys && !transaction->is_read_only; i++) {
        const gavel__key *key = transaction->holds[i].known;
        if (key->round == draft->round)
            is_behind = true;
        else if (key->n_users > n_users)
            n_users = key->n_users;
    }
    if (n_users == 0 || (is_behind && n_users == 1))
        return 0;
    return counts_lines(engine) ? n_users : 1;
}

/* Whether it is for another round: this one has its share. */
static bool is_beyond_share(
    const gavel__engine *engine, const gavel__draft *draft, const gavel__transaction *transaction)
{
    return has_its_share(engine, draft) && count_drawn(engine, draft, transaction) > 0;
}

/* Whether there is room for one more, whoever it is. */
static bool has_room(const gavel__engine *engine, const gavel__draft *draft)
{
    bool is_contended = draft->round != NULL && draft->round->is_contended;
    return !draft->is_full && draft->n_members < gavel__policy_width(&engine->policy, is_contended);
}

/* Whether this one fits in. If not, nobody behind it overtakes it. */
static bool fits(
    const gavel__engine *engine, const gavel__draft *draft, const gavel__transaction *transaction)
{
    const gavel__round *round = draft->round;
    if (round == NULL)
        return true;
    if ((transaction->replica != NULL) != round->is_at_replica)
        return false;
    if (engine->config.is_cluster && (transaction->slot != round->slot || is_blind(transaction)))
        return false;
    size_t n_keys = round->n_claims + transaction->n_keys;
    if (round->is_snapshot) /* it claims none */
        n_keys = round->n_fetches + transaction->n_reads;
    return !transaction->is_alone && n_keys <= engine->rounds.limits.max_keys;
}

/* ---- Gates --------------------------------------------------------------------------------- */

/* Whether the lane passes through all of these, or is free to. */
static bool bind_gates(gavel__lane *lane, gavel__gate *const *gates, size_t n_gates)
{
    if (lane->pass.n_gates == 0 && gavel__gates_are_free(gates, n_gates)) {
        for (size_t i = 0; i < n_gates; i++)
            gavel__pass_add(lane, gates[i]);
    }
    for (size_t i = 0; i < n_gates; i++) {
        if (gates[i]->lane != lane)
            return false;
    }
    return true;
}

/* It will not pass through the gates of one that was not taken in after all. */
static void unbind(const gavel__draft *draft)
{
    if (draft->n_members == 0 && draft->lane->pass.state == GAVEL__PASS_NONE)
        gavel__pass_end(draft->lane);
}

/* ---- Collecting ---------------------------------------------------------------------------- */

/* Those who want keys that the lane has already: behind its round's EXEC, or inside its gates. */
static void offer_keys(gavel__engine *engine, gavel__draft *draft, int64_t now_us)
{
    gavel__order *order = &engine->queue.order;
    const gavel__lane *lane = draft->lane;
    if (lane->round != NULL) {
        for (size_t i = 0; i < lane->round->n_claims; i++)
            gavel__order_offer(order, &draft->candidates, lane->round->claims[i], now_us);
        return;
    }
    for (size_t i = 0; i < lane->pass.n_gates; i++) {
        const gavel__gate *gate = lane->pass.gates[i];
        gavel__key *key = gavel__keys_find(
            &engine->queue.keys, (gavel__key_name){gate->node.key, gate->node.hash});
        if (key != NULL)
            gavel__order_offer(order, &draft->candidates, key, now_us);
    }
}

/* Who goes first of all that the lane could take now, or NULL. */
static gavel__transaction *next_for(const gavel__engine *engine, const gavel__draft *draft)
{
    const gavel__lane *lane = draft->lane;
    const gavel__turns *turns = &lane->node->turns;
    gavel__transaction *next = NULL;
    bool is_snapshot = draft->round != NULL && draft->round->is_snapshot;
    gavel__line_node *node = gavel__line_first(&draft->candidates.line);
    if (node != NULL && !is_snapshot)
        next = gavel__of_turn(node);
    if (lane->is_waiting_lane) /* whoever wants no more than gates that it has is a candidate */
        return lane->pass.n_gates > 0
                   ? next
                   : gavel__order_elder(next, gavel__turns_first(turns, GAVEL__READY_GATED));
    if (has_its_share(engine, draft))
        return next;
    if (draft->round != NULL)
        return gavel__order_elder(next, gavel__turns_first(turns, draft->kind));
    return gavel__order_elder(next, gavel__turns_first_racing(turns));
}

/* Not for this round, it has turned out: gates have been put up, or are up no more, or others of
 * our lanes have them; or others have begun to write its keys, or do so no more. */
static void pass_over(gavel__engine *engine, gavel__draft *draft, gavel__transaction *transaction,
    gavel__ready_kind kind)
{
    gavel__order *order = &engine->queue.order;
    if (transaction->turn_line == &draft->candidates.line && transaction->state == GAVEL__TX_PARKED)
        gavel__order_drop(order, transaction, engine->advanced_us);
    else if (kind == GAVEL__READY_GATED && draft->lane->is_waiting_lane)
        gavel__order_move(transaction, &draft->passed_over);
    else
        gavel__order_move(transaction, &draft->lane->node->turns.lines[kind]);
}

/* Whether one of its keys pauses: then it waits for that, unless it has done so. */
static bool hold_back(gavel__engine *engine, gavel__transaction *transaction)
{
    int64_t now_us = engine->advanced_us;
    if (transaction->is_read_only || transaction->has_paused)
        return false;
    for (size_t i = 0; i < transaction->n_keys; i++) {
        if (transaction->holds[i].known->heat.resume_us > now_us) {
            gavel__queue_hold_back(&engine->queue, transaction, i, now_us);
            return true;
        }
    }
    return false;
}

/* Rounds that only stand give way to whoever wants one of their keys otherwise. */
static void clear_the_way(gavel__engine *engine, const gavel__transaction *transaction)
{
    for (size_t i = 0; i < transaction->n_keys && !transaction->is_read_only; i++) {
        const gavel__key *key = transaction->holds[i].known;
        if (key->is_on_offer)
            gavel__round_dissolve(key->round, engine->advanced_us);
    }
}

/* Its first member says for whom the round is. False: no memory. */
static bool begin(gavel__engine *engine, gavel__draft *draft, const gavel__transaction *transaction)
{
    bool is_gated = draft->lane->is_waiting_lane;
    draft->kind = gavel__order_kind(transaction, is_gated, engine->advanced_us);
    draft->round = gavel__round_create(&engine->rounds, draft->lane, transaction->is_read_only);
    if (draft->round == NULL)
        return false;
    draft->round->is_scout = transaction->is_scout;
    draft->round->is_guest = transaction->guest_at == draft->lane->node->index;
    draft->round->is_at_replica = transaction->replica != NULL;
    draft->round->is_dated = false;
    bool is_noted =
        !draft->round->is_guest || gavel__node_note_guests(draft->lane->node, transaction->slot);
    if (!is_noted || (transaction->slot != GAVEL__NO_SLOT &&
                         !gavel__round_set_slot(draft->round, transaction->slot))) {
        gavel__round_dissolve(draft->round, engine->advanced_us);
        draft->round = NULL;
        return false;
    }
    draft->round->is_contended =
        draft->kind == GAVEL__READY_CONTENDED || draft->kind == GAVEL__READY_GATED;
    return true;
}

static void take_in(gavel__engine *engine, gavel__draft *draft, gavel__transaction *transaction)
{
    int64_t now_us = engine->advanced_us;
    clear_the_way(engine, transaction);
    if (draft->round == NULL && !begin(engine, draft, transaction)) {
        gavel__queue_settle(&engine->queue, transaction, GAVEL_NOT_SENT, "no memory", now_us);
        return;
    }
    draft->candidates.own = draft->round;
    /* Where what it writes belongs, only its body says. */
    draft->is_full = transaction->is_alone || (engine->config.is_cluster && is_blind(transaction));
    draft->n_drawn += count_drawn(engine, draft, transaction);
    if (!gavel__round_add(draft->round, transaction, now_us))
        return;
    draft->n_members++;
    gavel__order_take(&engine->queue.order, &draft->candidates, transaction, now_us);
}

/* Lets this one in, as far as gates, others' writes and pauses go. False: it is put where it
 * belongs. */
static bool let_in(gavel__engine *engine, gavel__draft *draft, gavel__transaction *transaction)
{
    gavel__gate *gates[GAVEL__PASS_MAX];
    if (engine->config.is_cluster &&
        gavel__order_turns(&engine->queue.order, transaction) != &draft->lane->node->turns) {
        gavel__order_drop(&engine->queue.order, transaction, engine->advanced_us);
        return false; /* its slot has moved while the lane has keys of it */
    }
    size_t n_gates = gavel__gates_of(&engine->gates, transaction, engine->advanced_us, gates);
    bool is_gated = n_gates > 0;
    gavel__ready_kind kind = gavel__order_kind(transaction, is_gated, engine->advanced_us);
    if (is_gated != draft->lane->is_waiting_lane || (draft->round != NULL && kind != draft->kind) ||
        (is_gated && !bind_gates(draft->lane, gates, n_gates))) {
        pass_over(engine, draft, transaction, kind);
        return false;
    }
    return is_gated || !hold_back(engine, transaction);
}

/* Those who were not taken stand where they stood. */
static void put_back(gavel__engine *engine, gavel__draft *draft)
{
    gavel__order *order = &engine->queue.order;
    for (gavel__line_node *node; (node = gavel__line_first(&draft->candidates.line)) != NULL;)
        gavel__order_drop(order, gavel__of_turn(node), engine->advanced_us);
    for (gavel__line_node *node; (node = gavel__line_first(&draft->passed_over)) != NULL;)
        gavel__order_move(
            gavel__of_turn(node), &draft->lane->node->turns.lines[GAVEL__READY_GATED]);
}

gavel__round *gavel__engine_collect(gavel__engine *engine, gavel__lane *lane, int64_t now_us)
{
    gavel__draft draft = {.lane = lane, .candidates = {.before = lane->round}};
    offer_keys(engine, &draft, now_us);
    for (gavel__transaction *transaction;
         has_room(engine, &draft) && (transaction = next_for(engine, &draft)) != NULL;) {
        if (!let_in(engine, &draft, transaction))
            continue;
        if (lane->round != NULL && is_blind(transaction)) /* it has nothing to read behind that */
            break;
        if (is_beyond_share(engine, &draft, transaction)) {
            gavel__order_drop(&engine->queue.order, transaction, now_us);
            continue;
        }
        if (!fits(engine, &draft, transaction))
            break;
        take_in(engine, &draft, transaction);
    }
    put_back(engine, &draft);
    if (draft.n_members > 0 && draft.round->is_at_replica)
        gavel__round_add_dating(draft.round);
    if (draft.n_members > 0)
        return draft.round;
    if (draft.round != NULL)
        gavel__round_dissolve(draft.round, now_us);
    unbind(&draft);
    return NULL;
}
