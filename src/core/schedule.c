/*
 * Schedules: which of the ready transactions make up the next round, and on which lane. One part of
 * the engine; nobody else calls it.
 */
#include "core/engine.h"

/* Where a transaction might run. */
typedef struct gavel__place {
    const gavel__lane *lane;
    const gavel__round *round; /* what is collected for it; NULL: nothing yet */
    bool races;                /* through no gate */
} gavel__place;

/* A round that only stands gives way to whoever wants one of its keys otherwise. Returns what is
 * then known of the key. */
static gavel__key *dissolve_prefetched(gavel__engine *engine, gavel__key *key, gavel__key_name name)
{
    gavel__round_dissolve(key->round, engine->advanced_us);
    return gavel__keys_find(&engine->queue.keys, name);
}

/*
 * Whether a key keeps the transaction from the round that is being collected (NULL: not begun) for
 * this lane: then it waits, behind the key or, if it races, for the end of the key's pause. Behind
 * the lane's own EXEC is soon enough.
 */
static bool hold_back(
    gavel__engine *engine, gavel__transaction *transaction, const gavel__place *place)
{
    const gavel__lane *lane = place->lane;
    const gavel__round *round = place->round;
    int64_t now_us = engine->advanced_us;
    if (transaction->is_read_only)
        return false;
    for (size_t i = 0; i < transaction->n_keys; i++) {
        gavel__key_name name = {transaction->keys[i], transaction->holds[i].hash};
        if (name.hash == 0)
            name = gavel__keys_name(&engine->queue.keys, name.bytes);
        transaction->holds[i].hash = name.hash;
        gavel__key *key = gavel__keys_find(&engine->queue.keys, name);
        if (key == NULL)
            continue;
        if (key->round != NULL && key->round->phase == GAVEL__ROUND_PREFETCHED)
            key = dissolve_prefetched(engine, key, name);
        if (key == NULL)
            continue;
        bool is_anothers = key->round != NULL && key->round != round && key->round != lane->round;
        if (is_anothers || key->is_in_doubt) {
            gavel__queue_park(&engine->queue, transaction, key);
            return true;
        }
        if (key->heat.resume_us > now_us && !transaction->has_paused && place->races) {
            gavel__queue_pause(&engine->queue, transaction, key->heat.resume_us, now_us);
            return transaction->state != GAVEL__TX_READY;
        }
    }
    return false;
}

/* ---- Drafts --------------------------------------------------------------------------------- */

/* A round that is being collected. */
typedef struct gavel__draft {
    gavel__round *round; /* NULL: not begun */
    size_t n_members;
    size_t n_with_new_keys; /* of these, with a key that nobody before them had */
    bool is_full;
    gavel__gate *reserved[GAVEL__PASS_MAX]; /* for one that waits for more than one lane */
    size_t n_reserved;
} gavel__draft;

/*
 * The server works on one round while the next one is prepared here, and the other way round; so
 * half of the open transactions are left to other lanes. Those who want the same keys as others
 * before them do not count: there is no other lane for them.
 */
static size_t max_with_new_keys(const gavel__engine *engine)
{
    static const size_t min_share = 16; /* fewer are not worth a round trip of their own */
    size_t half = engine->queue.n_open / 2;
    return half > min_share ? half : min_share;
}

/* Whether there is room for one more, whoever it is. */
static bool has_room(const gavel__engine *engine, const gavel__draft *draft)
{
    return !draft->is_full && draft->n_members < gavel__policy_width(&engine->policy) &&
           draft->n_with_new_keys < max_with_new_keys(engine);
}

/* Whether this one fits in. If not, nobody behind it overtakes it. */
static bool fits(
    const gavel__engine *engine, const gavel__draft *draft, const gavel__transaction *transaction)
{
    const gavel__round *round = draft->round;
    if (round == NULL)
        return true;
    size_t n_keys = round->n_claims + transaction->n_keys;
    if (round->is_snapshot) /* it claims none */
        n_keys = round->n_fetches + transaction->n_reads;
    return !transaction->is_alone && n_keys <= engine->rounds.limits.max_keys;
}

/* ---- Gates --------------------------------------------------------------------------------- */

static bool is_reserved(const gavel__draft *draft, const gavel__gate *gate)
{
    for (size_t i = 0; i < draft->n_reserved; i++) {
        if (draft->reserved[i] == gate)
            return true;
    }
    return false;
}

/*
 * Whether a lane that passes through no gates yet may do so for this transaction. If one of them is
 * another lane's, nobody younger takes the others meanwhile: else it would never find all free.
 */
static bool claim_gates(gavel__draft *draft, gavel__gate *const *gates, size_t n_gates)
{
    bool are_free = true;
    for (size_t i = 0; i < n_gates; i++)
        are_free = are_free && gates[i]->lane == NULL && !is_reserved(draft, gates[i]);
    for (size_t i = 0; !are_free && i < n_gates && draft->n_reserved < GAVEL__PASS_MAX; i++)
        draft->reserved[draft->n_reserved++] = gates[i];
    return are_free;
}

/* Whether the lane passes through all of these, or is free to. */
static bool bind_gates(
    gavel__lane *lane, gavel__draft *draft, gavel__gate *const *gates, size_t n_gates)
{
    if (lane->pass.n_gates == 0 && n_gates > 0) {
        if (!claim_gates(draft, gates, n_gates))
            return false;
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
static void unbind(gavel__lane *lane, const gavel__draft *draft)
{
    if (draft->n_members == 0 && lane->pass.state == GAVEL__PASS_NONE)
        gavel__pass_end(lane);
}

/* ---- Collecting ---------------------------------------------------------------------------- */

static void take_in(
    gavel__engine *engine, gavel__draft *draft, gavel__lane *lane, gavel__transaction *transaction)
{
    int64_t now_us = engine->advanced_us;
    if (draft->round == NULL)
        draft->round = gavel__round_create(&engine->rounds, lane, transaction->is_read_only);
    if (draft->round == NULL) {
        gavel__queue_settle(&engine->queue, transaction, GAVEL_NOT_SENT, "no memory", now_us);
        return;
    }
    draft->is_full = transaction->is_alone;
    size_t n_claims = draft->round->n_claims;
    if (!gavel__round_add(draft->round, transaction, now_us))
        return;
    draft->n_members++;
    draft->n_with_new_keys += draft->round->n_claims > n_claims;
}

/* Ready transactions in order of arrival, none of whose keys is in another round. NULL: none. */
static gavel__round *collect(gavel__engine *engine, gavel__lane *lane, int64_t now_us)
{
    gavel__draft draft = {.round = NULL};
    gavel__list *ready = &engine->queue.ready;
    for (gavel__list *node = ready->next; node != ready && has_room(engine, &draft);) {
        gavel__transaction *transaction = gavel__member_of(node);
        node = node->next;
        if (draft.round != NULL && transaction->is_read_only != draft.round->is_snapshot)
            continue; /* for a round of its kind, on another lane */
        gavel__gate *gates[GAVEL__PASS_MAX];
        size_t n_gates = gavel__gates_of(&engine->gates, transaction, now_us, gates);
        gavel__place place = {lane, draft.round, n_gates == 0};
        if ((n_gates > 0) != lane->is_waiting_lane || !bind_gates(lane, &draft, gates, n_gates))
            continue;
        if (hold_back(engine, transaction, &place)) {
            unbind(lane, &draft);
            continue;
        }
        if (!fits(engine, &draft, transaction))
            break;
        take_in(engine, &draft, lane, transaction);
    }
    if (draft.n_members > 0)
        return draft.round;
    if (draft.round != NULL)
        gavel__round_dissolve(draft.round, now_us);
    unbind(lane, &draft);
    return NULL;
}

/*
 * A round stands for a short time only: it is for callers that come back at once. Later its values
 * are likely to be old, others pay for what it watches, and the link may have died unnoticed, when
 * it is better to find out by a WATCH than by an EXEC.
 */
static const int64_t max_prefetched_us = 5000;

static bool can_be_joined(
    const gavel__engine *engine, const gavel__lane *lane, const gavel__round *round)
{
    int64_t now_us = engine->advanced_us;
    return now_us - round->prefetched_us <= max_prefetched_us &&
           !gavel__lane_wants_marker(lane, engine->config.marker_ttl_us, now_us);
}

/* The round that stands on a lane is for those who are next in the queue, or for nobody. */
static void offer_prefetched(gavel__engine *engine, gavel__lane *lane, int64_t now_us)
{
    gavel__round *round = lane->round;
    gavel__list *ready = &engine->queue.ready;
    if (round == NULL || round->phase != GAVEL__ROUND_PREFETCHED || lane->is_condemned ||
        gavel__list_is_empty(ready))
        return;
    uint32_t n_members = 0;
    while (n_members < gavel__policy_width(&engine->policy) && can_be_joined(engine, lane, round) &&
           !gavel__list_is_empty(ready) && gavel__round_join(round, gavel__member_of(ready->next)))
        n_members++;
    if (n_members > 0)
        gavel__round_resume(round, now_us);
    else
        gavel__round_dissolve(round, now_us);
}

void gavel__engine_hand_off(gavel__engine *engine, gavel__lane *lane, int64_t now_us)
{
    size_t size_before = lane->out->size;
    size_t n_commands = gavel__pass_write_hand_off(lane, &engine->gates, now_us);
    gavel__inflight_add(&lane->inflight, GAVEL__AWAITED_GATE, n_commands, NULL);
    gavel__lane_end_write(lane, size_before, now_us);
    engine->context.stats.n_commands += n_commands;
    gavel__pass_end(lane);
}

/* Gives free lanes their work. A round whose bodies ended it at once leaves its lane free. */
static void fill_lane(gavel__engine *engine, gavel__lane *lane, int64_t now_us)
{
    offer_prefetched(engine, lane, now_us);
    while (gavel__lane_is_free(lane) && !gavel__list_is_empty(&engine->queue.ready)) {
        gavel__round *round = collect(engine, lane, now_us);
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

/* A lane for gates: as long as it holds some it serves whoever wants them, then hands them on. */
static void serve_gates(gavel__engine *engine, gavel__lane *lane, int64_t now_us)
{
    while (lane->round == NULL && !lane->is_condemned) {
        bool is_held = lane->pass.state == GAVEL__PASS_HELD;
        if (is_held && gavel__pass_is_share_used(lane, now_us)) {
            gavel__engine_hand_off(engine, lane, now_us);
            continue;
        }
        gavel__round *round = collect(engine, lane, now_us);
        if (round != NULL) {
            lane->round = round;
            gavel__round_begin(round, now_us);
        } else if (is_held && !may_get_more(engine)) {
            gavel__engine_hand_off(engine, lane, now_us); /* and then for other gates */
        } else {
            break;
        }
    }
}

/* Who waits on a lane that will never be let in goes without; a lane on which nobody waits leaves
 * the queue, which it can only do by closing. */
static void leave_queue(gavel__engine *engine, gavel__lane *lane, int64_t now_us)
{
    gavel__list *members = &lane->round->members;
    while (gavel__gates_are_off(&engine->gates, now_us) && !gavel__list_is_empty(members))
        gavel__queue_make_ready(&engine->queue, gavel__member_of(members->next), now_us);
    if (!gavel__list_is_empty(members))
        return;
    gavel__lane_retire(lane);
}

static void fill_gate_lane(gavel__engine *engine, gavel__lane *lane, int64_t now_us)
{
    if (lane->state != GAVEL__LANE_UP || lane->is_condemned || lane->blocking != NULL)
        return;
    if (!gavel__lane_is_passing(lane) && !gavel__lanes_may_pass(&engine->lanes))
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

/* Behind an EXEC that has not left yet: the next round's reads, or the same ones for a retry. */
static void follow_up(gavel__engine *engine, gavel__lane *lane, int64_t now_us)
{
    gavel__round *round = lane->round;
    if (lane->state != GAVEL__LANE_UP || lane->is_condemned || lane->n_new_replies == 0 ||
        round == NULL || round->phase != GAVEL__ROUND_COMMITTING || round->has_prefetch ||
        lane->next != NULL || lane->pass.is_handed_off ||
        gavel__lane_wants_marker(lane, engine->config.marker_ttl_us, now_us))
        return;
    /* Those who wait for its keys can read right behind its EXEC. */
    gavel__round_wake_waiters(round, now_us);
    gavel__round *next = collect(engine, lane, now_us);
    if (next == NULL) {
        gavel__round_prefetch(round, now_us);
        return;
    }
    lane->next = next;
    gavel__round_begin(next, now_us);
}

/* The key behind the gate, if a round of ours has it; else NULL. */
static gavel__key *key_inside(gavel__engine *engine, const gavel__gate *gate)
{
    if (gate->lane == NULL)
        return NULL;
    gavel__key *key =
        gavel__keys_find(&engine->queue.keys, (gavel__key_name){gate->node.key, gate->node.hash});
    bool is_busy =
        key != NULL && key->round != NULL && key->round->phase != GAVEL__ROUND_PREFETCHED;
    return is_busy ? key : NULL;
}

/* While one of our lanes is inside a gate, or stands in its queue, those who want only that wait
 * behind its key: so its round sees that there is more to do, and nobody looks at them in vain. */
static void park_behind_gates(gavel__engine *engine)
{
    gavel__list *ready = &engine->queue.ready;
    for (gavel__list *node = ready->next; node != ready;) {
        gavel__transaction *transaction = gavel__member_of(node);
        node = node->next;
        gavel__gate *gates[GAVEL__PASS_MAX];
        if (gavel__gates_of(&engine->gates, transaction, engine->advanced_us, gates) != 1)
            continue;
        gavel__key *key = key_inside(engine, gates[0]);
        if (key != NULL)
            gavel__queue_park(&engine->queue, transaction, key);
    }
}

void gavel__engine_schedule(gavel__engine *engine, int64_t now_us)
{
    if (!gavel__gates_is_empty(&engine->gates))
        park_behind_gates(engine);
    for (gavel__lane *lane = engine->lanes.first; lane != NULL; lane = lane->following) {
        if (lane->is_waiting_lane)
            fill_gate_lane(engine, lane, now_us);
        else
            fill_lane(engine, lane, now_us);
    }
    for (gavel__lane *lane = engine->lanes.first; lane != NULL; lane = lane->following)
        follow_up(engine, lane, now_us);
}
