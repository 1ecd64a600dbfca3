/*
 * Schedules: which of the ready transactions make up the next round, and on which lane. One part of
 * the engine; nobody else calls it.
 */
#include "core/engine.h"

/* A round that only stands gives way to whoever wants one of its keys otherwise. Returns what is
 * then known of the key. */
static gavel__key *dissolve_standing(gavel__engine *engine, gavel__key *key, gavel__key_name name)
{
    gavel__round_dissolve(key->round, engine->advanced_us);
    return gavel__keys_find(&engine->queue.keys, name);
}

/*
 * Whether a key keeps the transaction from the round that is being collected (NULL: not begun) for
 * this lane: then it waits, behind the key or for the end of the key's pause. Behind the lane's own
 * EXEC is soon enough.
 */
static bool has_to_wait(gavel__engine *engine, gavel__transaction *transaction,
    const gavel__lane *lane, const gavel__round *round)
{
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
        if (key->round != NULL && key->round->phase == GAVEL__ROUND_STANDING)
            key = dissolve_standing(engine, key, name);
        if (key == NULL)
            continue;
        if (key->round != NULL && key->round != round && key->round != lane->round) {
            gavel__queue_park(&engine->queue, transaction, key);
            return true;
        }
        if (key->resume_us > now_us && !transaction->has_paused) {
            gavel__queue_pause(&engine->queue, transaction, key->resume_us, now_us);
            return transaction->state != GAVEL__READY;
        }
    }
    return false;
}

/* Whether one more member fits into the round. */
static bool fits(const gavel__engine *engine, const gavel__round *round, size_t n_members,
    const gavel__transaction *transaction)
{
    return n_members < engine->rounds.width && !transaction->is_alone &&
           transaction->is_read_only == round->is_snapshot &&
           round->n_claims + transaction->n_keys <= GAVEL_MAX_KEYS;
}

/* Ready transactions in order of arrival, none of whose keys is in another round. NULL: none. */
static gavel__round *collect(gavel__engine *engine, gavel__lane *lane, int64_t now_us)
{
    gavel__round *round = NULL;
    size_t n_members = 0;
    bool is_full = false;
    for (gavel__list *node = engine->queue.ready.next; node != &engine->queue.ready && !is_full;) {
        gavel__transaction *transaction = gavel__member_of(node);
        node = node->next;
        if (round != NULL && !fits(engine, round, n_members, transaction))
            break;
        if (has_to_wait(engine, transaction, lane, round))
            continue;
        if (round == NULL)
            round = gavel__round_create(&engine->rounds, lane, transaction->is_read_only);
        if (round == NULL) {
            gavel__queue_settle(&engine->queue, transaction, GAVEL_NOT_SENT, "no memory", now_us);
            continue;
        }
        is_full = transaction->is_alone;
        if (gavel__round_add(round, transaction, now_us))
            n_members++;
    }
    if (round != NULL && n_members == 0) {
        gavel__round_dissolve(round, now_us);
        return NULL;
    }
    return round;
}

/*
 * A round stands for a short time only: it is for callers that come back at once. Later its values
 * are likely to be old, others pay for what it watches, and the link may have died unnoticed, when
 * it is better to find out by a WATCH than by an EXEC.
 */
static const int64_t standing_us = 5000;

static bool can_be_joined(
    const gavel__engine *engine, const gavel__lane *lane, const gavel__round *round)
{
    int64_t now_us = engine->advanced_us;
    return now_us - round->stood_us <= standing_us &&
           !gavel__lane_wants_marker(lane, engine->config.marker_ttl_us, now_us);
}

/* The round that stands on a lane is for those who are next in the queue, or for nobody. */
static void offer_standing(gavel__engine *engine, gavel__lane *lane, int64_t now_us)
{
    gavel__round *round = lane->round;
    gavel__list *ready = &engine->queue.ready;
    if (round == NULL || round->phase != GAVEL__ROUND_STANDING || lane->is_condemned ||
        (gavel__list_is_empty(ready) && gavel__list_is_empty(&engine->doubts)))
        return;
    uint32_t n_members = 0;
    while (n_members < engine->rounds.width && can_be_joined(engine, lane, round) &&
           !gavel__list_is_empty(ready) && gavel__round_join(round, gavel__member_of(ready->next)))
        n_members++;
    if (n_members > 0)
        gavel__round_resume(round, now_us);
    else
        gavel__round_dissolve(round, now_us);
}

/* Gives free lanes their work. A round whose bodies ended it at once leaves its lane free. */
static void fill_lane(gavel__engine *engine, gavel__lane *lane, int64_t now_us)
{
    offer_standing(engine, lane, now_us);
    if (gavel__lane_is_free(lane))
        gavel__engine_ask(engine, lane, now_us);
    while (gavel__lane_is_free(lane) && !gavel__list_is_empty(&engine->queue.ready)) {
        gavel__round *round = collect(engine, lane, now_us);
        if (round == NULL)
            return;
        lane->round = round;
        gavel__round_begin(round, now_us);
    }
}

/* Behind an EXEC that has not left yet: the next round's reads, or the same ones for a retry. */
static void follow_up(gavel__engine *engine, gavel__lane *lane, int64_t now_us)
{
    gavel__round *round = lane->round;
    if (lane->state != GAVEL__LANE_UP || lane->is_condemned || lane->n_new_replies == 0 ||
        round == NULL || round->phase != GAVEL__ROUND_COMMITTING || round->is_reread ||
        lane->next != NULL || gavel__lane_wants_marker(lane, engine->config.marker_ttl_us, now_us))
        return;
    /* Those who wait for its keys can read right behind its EXEC. */
    gavel__round_wake_waiters(round, now_us);
    gavel__round *next = collect(engine, lane, now_us);
    if (next == NULL) {
        gavel__round_reread(round, now_us);
        return;
    }
    lane->next = next;
    gavel__round_begin(next, now_us);
}

void gavel__engine_schedule(gavel__engine *engine, int64_t now_us)
{
    for (uint32_t i = 0; i < engine->config.n_lanes; i++)
        fill_lane(engine, &engine->lanes[i], now_us);
    for (uint32_t i = 0; i < engine->config.n_lanes; i++)
        follow_up(engine, &engine->lanes[i], now_us);
}
