/*
 * Schedules: which lane gets a round now, which serves gates, and which is late. What makes up a
 * round is in draft.c. One part of the engine; nobody else calls it.
 */
#include "core/engine.h"

/* ---- Giving lanes their rounds -------------------------------------------------------------- */

static bool can_be_joined(const gavel__engine *engine, const gavel__round *round)
{
    int64_t now_us = engine->advanced_us;
    return gavel__policy_is_prefetch_fresh(now_us - round->prefetched_us) &&
           !gavel__marker_is_due(round->marker, engine->config.marker_ttl_us, now_us);
}

/* Who is next in the queue, of those that the lane could take. */
static gavel__transaction *next_to_join(const gavel__lane *lane)
{
    const gavel__turns *turns = &lane->node->turns;
    if (lane->is_waiting_lane)
        return gavel__turns_first(turns, GAVEL__READY_GATED);
    return gavel__turns_first_racing(turns);
}

/* The round that stands on a lane is for those who are next in the queue, or for nobody. */
static void offer_prefetched(gavel__engine *engine, gavel__lane *lane, int64_t now_us)
{
    gavel__round *round = lane->round;
    if (round == NULL || round->phase != GAVEL__ROUND_PREFETCHED || lane->is_condemned ||
        !gavel__turns_are_there(&lane->node->turns))
        return;
    uint32_t n_members = 0;
    for (gavel__transaction *next;
         n_members < gavel__policy_width(&engine->policy, round->is_contended) &&
         can_be_joined(engine, round) && (next = next_to_join(lane)) != NULL &&
         gavel__round_join(round, next, now_us);)
        n_members++;
    if (n_members > 0)
        gavel__round_resume(round, now_us);
    else
        gavel__round_dissolve(round, now_us);
}

void gavel__engine_hand_off(gavel__engine *engine, gavel__lane *lane, int64_t now_us)
{
    size_t size_before = lane->out->size;
    size_t n_commands = gavel__pass_write_hand_off(lane, now_us);
    gavel__inflight_add(&lane->inflight, GAVEL__AWAITED_GATE, n_commands, NULL);
    gavel__lane_end_write(lane, size_before, now_us);
    engine->context.stats.n_commands += n_commands;
    gavel__pass_end(lane);
}

/* Gives free lanes their work. A round whose bodies ended it at once leaves its lane free. */
static void fill_lane(gavel__engine *engine, gavel__lane *lane, int64_t now_us)
{
    offer_prefetched(engine, lane, now_us);
    while (gavel__lane_is_free(lane) && gavel__turns_are_there(&lane->node->turns)) {
        gavel__round *round = gavel__engine_collect(engine, lane, now_us);
        if (round == NULL)
            return;
        lane->round = round;
        gavel__round_begin(round, now_us);
    }
}

/* Whether outcomes are still to be told, which may bring more work for the gates that are held. */
static bool may_get_more(const gavel__engine *engine)
{
    return !gavel__list_is_empty(&engine->queue.done);
}

/* Whether all gates that it has to pass are the lane's. */
static bool is_for(gavel__engine *engine, const gavel__lane *lane, gavel__transaction *transaction)
{
    gavel__gate *gates[GAVEL__PASS_MAX];
    size_t n_gates = gavel__gates_of(&engine->gates, transaction, engine->advanced_us, gates);
    for (size_t i = 0; i < n_gates; i++) {
        if (gates[i]->lane != lane)
            return false;
    }
    return n_gates > 0;
}

static int64_t half_lease_end_us(const gavel__engine *engine, const gavel__pass *pass)
{
    return pass->granted_us + engine->config.gates.lease_us / 2;
}

int64_t gavel__engine_keep_until_us(const gavel__engine *engine, const gavel__lane *lane)
{
    const gavel__pass *pass = &lane->pass;
    bool is_keeping = pass->state == GAVEL__PASS_HELD && pass->is_kept && lane->round == NULL &&
                      !lane->is_condemned;
    return is_keeping ? half_lease_end_us(engine, pass) : GAVEL__NEVER;
}

/* Not by a round that waits at a gate itself: that might be held by one who waits for ours. */
static bool is_blocked_briefly(const gavel__transaction *transaction)
{
    const gavel__key *blocking = transaction->holds[transaction->blocked_at].known;
    return gavel__pass_blocked_on(blocking->round->lane) == NULL;
}

/*
 * Whether somebody will want what the lane holds as soon as another of our rounds is over: mostly
 * the one for whose sake it has waited, whose other keys were taken meanwhile. Not for longer than
 * half of the lease.
 */
static bool is_wanted_soon(gavel__engine *engine, const gavel__lane *lane)
{
    const gavel__pass *pass = &lane->pass;
    if (engine->advanced_us >= half_lease_end_us(engine, pass) ||
        !gavel__node_serves(lane->node, pass->gates[0]->probe.slot))
        return false;
    for (size_t i = 0; i < pass->n_gates; i++) {
        const gavel__gate *gate = pass->gates[i];
        const gavel__key *key = gavel__keys_find(
            &engine->queue.keys, (gavel__key_name){gate->node.key, gate->node.hash});
        gavel__transaction *soon = key != NULL ? gavel__order_soon(key) : NULL;
        if (soon != NULL && is_for(engine, lane, soon) && is_blocked_briefly(soon))
            return true;
    }
    return false;
}

/* A lane for gates: as long as it holds some it serves whoever wants them, then hands them on. */
static void serve_gates(gavel__engine *engine, gavel__lane *lane, int64_t now_us)
{
    while (lane->round == NULL && !lane->is_condemned) {
        gavel__pass *pass = &lane->pass;
        bool is_held = pass->state == GAVEL__PASS_HELD;
        pass->is_kept = false;
        if (is_held && pass->n_served > 0 && gavel__pass_is_share_used(lane, now_us)) {
            gavel__engine_hand_off(engine, lane, now_us);
            continue;
        }
        gavel__round *round = gavel__engine_collect(engine, lane, now_us);
        if (round != NULL) {
            lane->round = round;
            gavel__round_begin(round, now_us);
            continue;
        }
        if (!is_held || may_get_more(engine))
            break;
        pass->is_kept = is_wanted_soon(engine, lane);
        if (pass->is_kept)
            break;
        gavel__engine_hand_off(engine, lane, now_us); /* and then for other gates */
    }
}

/* Who waits on a lane that will never be let in goes without, or elsewhere; a lane on which nobody
 * waits leaves the queue, which it can only do by closing. */
static void leave_queue(gavel__engine *engine, gavel__lane *lane, int64_t now_us)
{
    gavel__list *members = &lane->round->members;
    bool is_in_vain = lane->pass.is_in_vain ||
                      gavel__gate_is_in_vain(gavel__pass_blocked_on(lane), lane->node, now_us);
    while (is_in_vain && !gavel__list_is_empty(members))
        gavel__queue_make_ready(&engine->queue, gavel__member_of(members->next), now_us);
    if (!gavel__list_is_empty(members))
        return;
    gavel__lane_retire(lane);
}

static void fill_gate_lane(gavel__engine *engine, gavel__lane *lane, int64_t now_us)
{
    if (lane->state != GAVEL__LANE_UP || lane->is_condemned || lane->blocking != NULL)
        return;
    if (!gavel__lane_is_passing(lane) && !gavel__lanes_may_pass(&lane->node->lanes))
        return;
    if (gavel__pass_blocked_on(lane) != NULL) {
        leave_queue(engine, lane, now_us);
        return;
    }
    gavel__round *round = lane->round;
    if (round != NULL && round->phase == GAVEL__ROUND_PREFETCHED && !may_get_more(engine)) {
        offer_prefetched(engine, lane, now_us);
        if (lane->round == round && round->phase == GAVEL__ROUND_PREFETCHED)
            gavel__round_dissolve(round, now_us); /* its callers did not come back */
    }
    serve_gates(engine, lane, now_us);
}

/* Behind an EXEC that nobody reads behind: the same reads, for a retry; or what lets a round that
 * reads nothing send its EXEC at once, where there are such rounds. */
static void prepare_next(gavel__engine *engine, gavel__lane *lane, int64_t now_us)
{
    bool is_blind = gavel__turns_first(&lane->node->turns, GAVEL__READY_BLIND) != NULL ||
                    lane->round->n_claims == 0;
    if (!is_blind) {
        gavel__round_prefetch(lane->round, now_us);
    } else if (lane->guard == GAVEL__GUARD_NONE && gavel__marker_is_on(&lane->marker) &&
               !lane->is_waiting_lane) {
        gavel__lane_write_guard(lane, now_us);
        engine->context.stats.n_marker_commands++;
    }
}

/* Behind an EXEC that has not left yet: the next round's reads, or what prepares for it. */
static void follow_up(gavel__engine *engine, gavel__lane *lane, int64_t now_us)
{
    gavel__round *round = lane->round;
    if (lane->state != GAVEL__LANE_UP || lane->is_condemned || lane->n_new_replies == 0 ||
        round == NULL || round->phase != GAVEL__ROUND_COMMITTING || round->has_prefetch ||
        lane->next != NULL || lane->pass.is_handed_off ||
        gavel__marker_is_due(round->marker, engine->config.marker_ttl_us, now_us))
        return;
    gavel__round *next = gavel__engine_collect(engine, lane, now_us);
    if (next == NULL) {
        prepare_next(engine, lane, now_us);
        return;
    }
    lane->next = next;
    gavel__round_begin(next, now_us);
}

/* Whether the first of these is for rounds of the other kind by now, since gates have been put up,
 * or are up no more; then it is among those. */
static bool sort_first(gavel__engine *engine, gavel__turns *turns, gavel__ready_kind kind)
{
    gavel__gate *gates[GAVEL__PASS_MAX];
    gavel__transaction *first = gavel__turns_first(turns, kind);
    if (first == NULL)
        return false;
    size_t n_gates = gavel__gates_of(&engine->gates, first, engine->advanced_us, gates);
    gavel__ready_kind right = gavel__order_kind(first, n_gates > 0, engine->advanced_us);
    if (right != kind)
        gavel__order_move(first, &turns->lines[right]);
    return right != kind;
}

/* How often all are looked at of those that wait for gates, not only the first: without that some
 * would wait for lanes behind others whose gates are still up, or taken. */
static const int64_t sort_after_us = 50000;

int64_t gavel__engine_sort_us(const gavel__node *node)
{
    bool is_needed = !gavel__line_is_empty(&node->turns.lines[GAVEL__READY_GATED]);
    return is_needed ? node->sorted_us + sort_after_us : GAVEL__NEVER;
}

/* Whether no lane has any of the gates that it has to pass. */
static bool has_free_gates(gavel__engine *engine, gavel__transaction *transaction)
{
    gavel__gate *gates[GAVEL__PASS_MAX];
    size_t n_gates = gavel__gates_of(&engine->gates, transaction, engine->advanced_us, gates);
    return gavel__gates_are_free(gates, n_gates);
}

static void sort_gated(gavel__engine *engine, gavel__node *node, int64_t now_us)
{
    gavel__turns *turns = &node->turns;
    gavel__line *gated = &turns->lines[GAVEL__READY_GATED];
    while (sort_first(engine, turns, GAVEL__READY_GATED))
        ;
    if (now_us < gavel__engine_sort_us(node))
        return;
    node->sorted_us = now_us;
    node->has_gates_to_pass = false;
    gavel__line still_gated = {.first = NULL};
    for (gavel__transaction *first;
         (first = gavel__turns_first(turns, GAVEL__READY_GATED)) != NULL;) {
        if (sort_first(engine, turns, GAVEL__READY_GATED))
            continue;
        bool is_behind = !gavel__line_is_empty(&still_gated);
        gavel__order_move(first, &still_gated);
        if (is_behind && has_free_gates(engine, first))
            node->has_gates_to_pass = true;
    }
    for (gavel__line_node *turn; (turn = gavel__line_first(&still_gated)) != NULL;)
        gavel__order_move(gavel__of_turn(turn), gated);
}

bool gavel__engine_has_ready(gavel__engine *engine, gavel__node *node, bool is_waiting_lane)
{
    gavel__turns *turns = &node->turns;
    if (!is_waiting_lane) {
        while (sort_first(engine, turns, GAVEL__READY_CALM) ||
               sort_first(engine, turns, GAVEL__READY_CONTENDED))
            ;
        return gavel__turns_first_racing(turns) != NULL;
    }
    gavel__transaction *first = gavel__turns_first(turns, GAVEL__READY_GATED);
    if (first == NULL || !gavel__lanes_may_pass(&node->lanes))
        return false;
    bool has_work = node->has_gates_to_pass || has_free_gates(engine, first);
    node->has_gates_to_pass = false; /* one lane, until they are looked at again */
    return has_work;
}

/* ---- Late rounds ---------------------------------------------------------------------------- */

/* After so much silence of its link a round's keys count as away. */
static int64_t late_after_us(const gavel__engine *engine)
{
    return 4 * gavel__policy_hold_us(&engine->policy);
}

static bool may_be_late(const gavel__lane *lane)
{
    return lane->round != NULL && lane->silent_us != 0 && !lane->round->is_late &&
           gavel__pass_blocked_on(lane) == NULL;
}

/* Whether somebody who waits for the round may be first in other lines, or one of the two only
 * writes the key that it is about. */
static bool is_waited_for(const gavel__round *round)
{
    for (size_t i = 0; i < round->n_claims; i++) {
        const gavel__key *key = round->claims[i];
        if (!gavel__list_is_empty(&key->blocked) || !gavel__list_is_empty(&key->yielding))
            return true;
    }
    return round->n_written > 0;
}

int64_t gavel__engine_late_us(const gavel__engine *engine, const gavel__lane *lane)
{
    bool is_needed =
        engine->queue.order.has_blocked && may_be_late(lane) && is_waited_for(lane->round);
    return is_needed ? lane->silent_us + late_after_us(engine) : GAVEL__NEVER;
}

static void set_late(gavel__engine *engine, gavel__round *round, int64_t now_us)
{
    round->is_late = true;
    gavel__round_forget_written(round, now_us);
    for (size_t i = 0; i < round->n_claims; i++) {
        gavel__key *key = round->claims[i];
        if (key->round == round || key->earlier == round)
            gavel__order_set_away(&engine->queue.order, key, now_us);
    }
}

static void find_late(gavel__engine *engine, gavel__node *node, int64_t now_us)
{
    int64_t after_us = late_after_us(engine);
    for (gavel__lane *lane = node->lanes.first; lane != NULL; lane = lane->following) {
        if (!may_be_late(lane) || now_us - lane->silent_us < after_us)
            continue;
        set_late(engine, lane->round, now_us);
        if (lane->next != NULL)
            set_late(engine, lane->next, now_us);
    }
}

/* A round that has begun by now has planted its marker itself. */
static void save_marker(gavel__engine *engine, gavel__lane *lane, int64_t now_us)
{
    if (!lane->has_lost_marker || !gavel__lane_can_ask(lane) || lane->round != NULL)
        return;
    uint32_t slot = 0;
    lane->has_lost_marker = false;
    if (lane->marker.is_lost)
        gavel__rounds_save_marker(&engine->rounds, lane, &lane->marker, now_us);
    if (lane->markers == NULL)
        return;
    for (gavel__marker *marker; (marker = gavel__markers_from(lane->markers, &slot)) != NULL;
         slot++) {
        if (marker->is_lost)
            gavel__rounds_save_marker(&engine->rounds, lane, marker, now_us);
    }
}

void gavel__engine_schedule(gavel__engine *engine, gavel__node *node, int64_t now_us)
{
    sort_gated(engine, node, now_us);
    find_late(engine, node, now_us);
    for (gavel__lane *lane = node->lanes.first; lane != NULL; lane = lane->following) {
        if (gavel__pass_blocked_on(lane) == NULL)
            continue;
        gavel__pass_probe(lane, &engine->gates, now_us);
        gavel__round_let_go(lane->round, now_us);
    }
    for (gavel__lane *lane = node->lanes.first; lane != NULL; lane = lane->following) {
        if (lane->is_waiting_lane)
            fill_gate_lane(engine, lane, now_us);
        else
            fill_lane(engine, lane, now_us);
    }
    for (gavel__lane *lane = node->lanes.first; lane != NULL; lane = lane->following) {
        follow_up(engine, lane, now_us);
        save_marker(engine, lane, now_us);
    }
}
