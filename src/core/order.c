/*
 * The order of transactions: see the header.
 */
#include "core/order.h"

#include "core/offsets.h"
#include "core/node.h"

#include <assert.h>

static gavel__hold *hold_of(gavel__line_node *node)
{
    return GAVEL__CONTAINER(node, gavel__hold, node);
}

/* Who is first in the key's line, or NULL. */
static gavel__transaction *first_of(const gavel__key *key)
{
    gavel__line_node *node = gavel__line_first(&key->line);
    return node != NULL ? hold_of(node)->transaction : NULL;
}

void gavel__order_init(gavel__order *order, gavel__keys *keys)
{
    *order = (gavel__order){.keys = keys};
    gavel__list_init(&order->looks);
}

/* ---- Knowing keys -------------------------------------------------------------------------- */

/* The place of the key that makes it want several; its id's is nobody else's. */
static size_t place_of_second(const gavel__transaction *transaction)
{
    return transaction->id_key.data != NULL ? 2 : 1;
}

bool gavel__order_wants_several(const gavel__transaction *transaction)
{
    size_t place = place_of_second(transaction);
    return place < transaction->n_keys && transaction->holds[place].known != NULL;
}

bool gavel__order_know(gavel__order *order, gavel__transaction *transaction)
{
    if (transaction->is_read_only)
        return true;
    /* Mostly all are known, or none: it has come to want a key in its last run at most. */
    for (size_t i = transaction->n_keys; i-- > 0 && transaction->holds[i].known == NULL;) {
        gavel__hold *hold = &transaction->holds[i];
        hold->known = gavel__keys_use(order->keys, transaction->keys[i]);
        if (hold->known == NULL)
            return false;
        hold->hash = hold->known->node.hash;
        order->n_with_several += i == place_of_second(transaction);
    }
    return true;
}

void gavel__order_forget(gavel__order *order, gavel__transaction *transaction)
{
    order->n_with_several -= gavel__order_wants_several(transaction);
    for (size_t i = 0; i < transaction->n_keys; i++) {
        gavel__hold *hold = &transaction->holds[i];
        assert(!gavel__line_has(&hold->node));
        if (hold->known != NULL)
            gavel__keys_unuse(order->keys, hold->known);
        hold->known = NULL;
    }
}

/* ---- Whether it can go --------------------------------------------------------------------- */

/* Whether it is in the key's line. */
static bool stands(const gavel__hold *hold)
{
    return gavel__line_has(&hold->node) && !hold->is_aside;
}

static void leave_turn(gavel__transaction *transaction)
{
    if (transaction->turn_line == NULL)
        return;
    gavel__line_remove(transaction->turn_line, &transaction->turn);
    transaction->turn_line = NULL;
}

static void enter_turn(gavel__line *line, gavel__transaction *transaction)
{
    assert(transaction->turn_line == NULL);
    gavel__list_remove(&transaction->node); /* it is blocked at no key */
    transaction->turn.order = transaction->sequence;
    transaction->turn_line = line;
    gavel__line_insert(line, &transaction->turn);
}

/* Whoever was first is so no more: an elder one has come back. */
static void displace(gavel__transaction *transaction)
{
    leave_turn(transaction);
    if (transaction->state == GAVEL__TX_READY)
        gavel__transaction_set_state(transaction, GAVEL__TX_PARKED);
}

/* What was not used of its leave to be overtaken is its again. */
static void end_aside(gavel__hold *hold)
{
    gavel__key *key = hold->known;
    gavel__line_remove(&key->aside, &hold->node);
    hold->is_aside = false;
    hold->transaction->n_may_pass += (uint32_t)(hold->node.order - key->n_taken);
}

static void enter_line(gavel__hold *hold)
{
    if (hold->is_aside)
        end_aside(hold);
    gavel__line *line = &hold->known->line;
    gavel__line_node *first = gavel__line_first(line);
    hold->node.order = hold->transaction->sequence;
    gavel__line_insert(line, &hold->node);
    if (first != NULL && hold->node.order < first->order)
        displace(hold_of(first)->transaction);
}

static bool is_available(const gavel__key *key, const gavel__candidates *candidates)
{
    if (key->is_in_doubt || key->n_writers > 0)
        return false;
    if (key->round == NULL || key->is_on_offer)
        return true;
    return candidates != NULL &&
           (key->round == candidates->own || key->round == candidates->before);
}

/* Whether its turn has come at this key. */
static bool is_turn(const gavel__hold *hold, const gavel__candidates *candidates)
{
    return gavel__line_first(&hold->known->line) == &hold->node &&
           is_available(hold->known, candidates);
}

/*
 * Whether it is first everywhere, and all of its keys are free, or the round's. It comes back to
 * the lines that it has left. Begins where it was blocked, since there it mostly still is.
 */
static bool can_go(gavel__transaction *transaction, const gavel__candidates *candidates)
{
    size_t n_keys = transaction->n_keys;
    if (n_keys == 1 && stands(&transaction->holds[0])) /* mostly, and quickly */
        return is_turn(&transaction->holds[0], candidates);
    size_t i = transaction->blocked_at < n_keys ? transaction->blocked_at : 0;
    for (size_t n = 0; n < n_keys; n++) {
        gavel__hold *hold = &transaction->holds[i];
        if (!stands(hold))
            enter_line(hold);
        if (!is_turn(hold, candidates)) {
            transaction->blocked_at = i;
            return false;
        }
        i = i + 1 < n_keys ? i + 1 : 0;
    }
    return true;
}

/* ---- Looking ------------------------------------------------------------------------------- */

static void request_look(gavel__order *order, gavel__key *key)
{
    if (gavel__list_is_empty(&key->look) && !gavel__line_is_empty(&key->line))
        gavel__list_append(&order->looks, &key->look);
}

static void leave_line(gavel__order *order, gavel__hold *hold)
{
    bool was_first = gavel__line_first(&hold->known->line) == &hold->node;
    gavel__line_remove(&hold->known->line, &hold->node);
    if (was_first)
        request_look(order, hold->known);
}

static void leave_lines(gavel__order *order, gavel__transaction *transaction)
{
    for (size_t i = 0; i < transaction->n_keys; i++) {
        gavel__hold *hold = &transaction->holds[i];
        if (hold->is_aside)
            end_aside(hold);
        else if (gavel__line_has(&hold->node))
            leave_line(order, hold);
    }
}

/* It comes back when its leave there is used up. */
static void begin_aside(gavel__order *order, gavel__hold *hold, uint32_t n_may_pass)
{
    leave_line(order, hold);
    hold->transaction->n_may_pass -= n_may_pass;
    hold->node.order = hold->known->n_taken + n_may_pass;
    hold->is_aside = true;
    gavel__line_insert(&hold->known->aside, &hold->node);
}

/* Out of all lines but that of its i-th key, unless it has been overtaken, or stepped aside, too
 * often for that: each of the others has an equal share of what it may be overtaken yet. */
static void step_aside(gavel__order *order, gavel__transaction *transaction, size_t i)
{
    static const uint32_t max_asides = 4; /* each may be for as long as a gate takes */
    uint32_t n_lines = 0;
    for (size_t k = 0; k < transaction->n_keys; k++)
        n_lines += k != i && stands(&transaction->holds[k]);
    if (n_lines == 0 || transaction->n_asides >= max_asides || transaction->n_may_pass < n_lines)
        return;
    transaction->n_asides++;
    uint32_t share = transaction->n_may_pass / n_lines;
    for (size_t k = 0; k < transaction->n_keys; k++) {
        if (k != i && stands(&transaction->holds[k]))
            begin_aside(order, &transaction->holds[k], share);
    }
}

/* A round takes one more from the key's line, or has it join. */
static void count_taken(gavel__key *key)
{
    key->n_taken++;
    for (gavel__line_node *node;
         (node = gavel__line_first(&key->aside)) != NULL && node->order <= key->n_taken;)
        enter_line(hold_of(node));
}

/* Whether nobody knows how long the key takes: its round is away, or its first one waits for the
 * end of a pause. */
static bool is_slow(const gavel__key *key)
{
    const gavel__transaction *first = first_of(key);
    return key->is_away || (first != NULL && first->state == GAVEL__TX_PAUSED);
}

/* It cannot go, but may be the first in other lines: these do not wait for what is slow. */
static void on_blocked(gavel__order *order, gavel__transaction *transaction)
{
    if (transaction->n_keys < 2)
        return;
    gavel__key *key = transaction->holds[transaction->blocked_at].known;
    gavel__list_remove(&transaction->node);
    if (is_slow(key))
        step_aside(order, transaction, transaction->blocked_at);
    else
        gavel__list_append(&key->blocked, &transaction->node);
    order->has_blocked = true;
}

static bool is_contended(const gavel__transaction *transaction, int64_t now_us)
{
    for (size_t i = 0; i < transaction->n_keys; i++) {
        if (gavel__heat_is_contended(&transaction->holds[i].known->heat, now_us))
            return true;
    }
    return false;
}

gavel__ready_kind gavel__order_kind(
    const gavel__transaction *transaction, bool is_gated, int64_t now_us)
{
    if (transaction->is_read_only)
        return GAVEL__READY_READERS;
    if (transaction->n_keys + transaction->n_reads == 0)
        return GAVEL__READY_BLIND;
    if (is_gated)
        return GAVEL__READY_GATED;
    return is_contended(transaction, now_us) ? GAVEL__READY_CONTENDED : GAVEL__READY_CALM;
}

static gavel__ready_kind kind_of(
    gavel__order *order, gavel__transaction *transaction, int64_t now_us)
{
    gavel__gate *gates[GAVEL__PASS_MAX];
    bool is_gated =
        !transaction->is_read_only && gavel__gates_of(order->gates, transaction, now_us, gates) > 0;
    return gavel__order_kind(transaction, is_gated, now_us);
}

/* Where its keys are served. */
static const gavel__turns *turns_of_slot(
    const gavel__order *order, const gavel__transaction *transaction)
{
    if (order->only != NULL)
        return order->only;
    uint16_t node = transaction->guest_at;
    if (order->map == NULL)
        return &order->nowhere;
    if (node == GAVEL__NO_NODE || order->map->turns[node] == NULL)
        node = order->map->node_of[gavel__transaction_place(transaction)];
    return node != GAVEL__NO_NODE ? order->map->turns[node] : &order->nowhere;
}

const gavel__turns *gavel__order_turns(
    const gavel__order *order, const gavel__transaction *transaction)
{
    return transaction->replica != NULL ? &transaction->replica->turns
                                        : turns_of_slot(order, transaction);
}

/* Where it finds out what slot it needs: each time somewhere else, since a node may be down. */
static void guess(gavel__order *order, gavel__transaction *transaction)
{
    static const int n_tries = 16;         /* of a map that is not known everywhere */
    static const uint16_t distance = 6257; /* odd: all slots get their turn */
    for (int i = 0; i < n_tries; i++) {
        order->last_guess = (uint16_t)((order->last_guess + distance) % GAVEL__N_SLOTS);
        transaction->guess = order->last_guess;
        if (turns_of_slot(order, transaction) != &order->nowhere)
            return;
    }
}

/* For one whose slot may be served by another node now, or that may try another replica. */
static void choose_node(gavel__order *order, gavel__transaction *transaction, int64_t now_us)
{
    transaction->replica = NULL;
    if (transaction->slot == GAVEL__NO_SLOT && order->only == NULL)
        guess(order, transaction);
    if (!transaction->is_stale_ok || transaction->needs_primary ||
        transaction->guest_at != GAVEL__NO_NODE || transaction->is_scout)
        return;
    const gavel__turns *turns = turns_of_slot(order, transaction);
    if (turns == &order->nowhere)
        return;
    gavel__node *node = GAVEL__CONTAINER(turns, gavel__node, turns);
    transaction->replica = gavel__node_choose_replica(node, now_us);
    node->offsets->is_wanted |= transaction->replica != NULL;
    order->misses_replica |= node->first_replica == NULL;
}

static void enter_ready(gavel__order *order, gavel__transaction *transaction, int64_t now_us)
{
    gavel__turns *turns = (gavel__turns *)gavel__order_turns(order, transaction);
    turns->has_news = true;
    enter_turn(&turns->lines[kind_of(order, transaction, now_us)], transaction);
}

void gavel__order_place(gavel__order *order, gavel__transaction *transaction, int64_t now_us)
{
    leave_turn(transaction);
    choose_node(order, transaction, now_us);
    enter_ready(order, transaction, now_us);
}

static void make_ready(gavel__order *order, gavel__transaction *transaction, int64_t now_us)
{
    choose_node(order, transaction, now_us);
    enter_ready(order, transaction, now_us);
    gavel__transaction_set_state(transaction, GAVEL__TX_READY);
}

static void look(gavel__order *order, gavel__key *key, int64_t now_us)
{
    gavel__transaction *transaction = first_of(key);
    if (transaction == NULL || transaction->state != GAVEL__TX_PARKED ||
        transaction->turn_line != NULL)
        return;
    if (can_go(transaction, NULL))
        make_ready(order, transaction, now_us);
    else
        on_blocked(order, transaction);
}

/* One look may ask for others: those of keys where somebody has stepped aside. */
static void run_looks(gavel__order *order, int64_t now_us)
{
    if (gavel__list_is_empty(&order->looks) || order->is_looking) /* mostly empty */
        return;
    order->is_looking = true;
    for (gavel__list *node; (node = gavel__list_pop(&order->looks)) != NULL;)
        look(order, GAVEL__CONTAINER(node, gavel__key, look), now_us);
    order->is_looking = false;
}

void gavel__order_look(gavel__order *order, gavel__key *key, int64_t now_us)
{
    request_look(order, key);
    run_looks(order, now_us);
}

void gavel__order_withdraw(gavel__order *order, gavel__key *key, int64_t now_us)
{
    gavel__transaction *first = first_of(key);
    key->is_away = false;
    if (first == NULL || first->state != GAVEL__TX_READY)
        return;
    displace(first);
    gavel__order_look(order, key, now_us);
}

/* Those who are blocked at the key, which is slow from now on. */
static void send_aside(gavel__order *order, gavel__key *key)
{
    for (gavel__list *node; (node = gavel__list_pop(&key->blocked)) != NULL;) {
        gavel__transaction *transaction = GAVEL__CONTAINER(node, gavel__transaction, node);
        step_aside(order, transaction, transaction->blocked_at);
    }
}

void gavel__order_set_away(gavel__order *order, gavel__key *key, int64_t now_us)
{
    key->is_away = true;
    send_aside(order, key);
    gavel__order_wake(order, key, now_us);
    run_looks(order, now_us);
}

/* ---- Coming and going ---------------------------------------------------------------------- */

void gavel__order_enter(gavel__order *order, gavel__transaction *transaction, int64_t now_us)
{
    gavel__list_remove(&transaction->node);
    transaction->yields_to = NULL;
    gavel__transaction_set_state(transaction, GAVEL__TX_PARKED);
    if (transaction->is_read_only) {
        make_ready(order, transaction, now_us);
        return;
    }
    for (size_t i = 0; i < transaction->n_keys; i++) {
        assert(transaction->holds[i].known != NULL);
        transaction->holds[i].key = NULL;
        if (!stands(&transaction->holds[i]))
            enter_line(&transaction->holds[i]);
    }
    if (can_go(transaction, NULL)) {
        make_ready(order, transaction, now_us);
    } else {
        on_blocked(order, transaction);
        run_looks(order, now_us);
    }
}

void gavel__order_leave(gavel__order *order, gavel__transaction *transaction, int64_t now_us)
{
    gavel__list_remove(&transaction->node);
    transaction->yields_to = NULL;
    if (transaction->round != NULL) /* a member stands in no line */
        return;
    leave_turn(transaction);
    leave_lines(order, transaction);
    run_looks(order, now_us);
}

void gavel__order_join(gavel__order *order, gavel__transaction *transaction, int64_t now_us)
{
    leave_turn(transaction);
    for (size_t i = 0; i < transaction->n_keys; i++) {
        gavel__hold *hold = &transaction->holds[i];
        gavel__line_remove(&hold->known->line, &hold->node);
        count_taken(hold->known);
        look(order, hold->known, now_us);
    }
    run_looks(order, now_us);
}

void gavel__order_hold_back(
    gavel__order *order, gavel__transaction *transaction, size_t i, int64_t now_us)
{
    leave_turn(transaction);
    gavel__transaction_set_state(transaction, GAVEL__TX_PAUSED);
    step_aside(order, transaction, i);
    transaction->blocked_at = i;
    send_aside(order, transaction->holds[i].known);
    run_looks(order, now_us);
}

void gavel__order_yield(gavel__order *order, gavel__transaction *transaction, gavel__key *key)
{
    assert(transaction->round == NULL && transaction->turn_line == NULL);
    gavel__transaction_set_state(transaction, GAVEL__TX_PAUSED);
    transaction->n_yields++;
    transaction->yields_to = key;
    gavel__list_remove(&transaction->node);
    gavel__list_append(&key->yielding, &transaction->node);
    order->has_blocked = true;
}

void gavel__order_wake(gavel__order *order, gavel__key *key, int64_t now_us)
{
    for (gavel__list *node; (node = gavel__list_pop(&key->yielding)) != NULL;)
        gavel__order_enter(order, GAVEL__CONTAINER(node, gavel__transaction, node), now_us);
}

/* ---- Who is ready -------------------------------------------------------------------------- */

void gavel__order_move(gavel__transaction *transaction, gavel__line *line)
{
    leave_turn(transaction);
    enter_turn(line, transaction);
}

bool gavel__order_has_ready_first(const gavel__key *key)
{
    const gavel__transaction *first = first_of(key);
    return first != NULL && first->state == GAVEL__TX_READY;
}

gavel__transaction *gavel__order_soon(const gavel__key *key)
{
    gavel__transaction *first = first_of(key);
    if (first == NULL || first->state != GAVEL__TX_PARKED)
        return NULL;
    const gavel__key *blocking = first->holds[first->blocked_at].known;
    return blocking->round != NULL && !blocking->is_away ? first : NULL;
}

/* ---- Candidates ---------------------------------------------------------------------------- */

void gavel__order_offer(
    gavel__order *order, gavel__candidates *candidates, gavel__key *key, int64_t now_us)
{
    gavel__transaction *transaction = first_of(key);
    if (transaction == NULL || transaction->turn_line == &candidates->line)
        return;
    if (transaction->state == GAVEL__TX_READY) {
        leave_turn(transaction);
        enter_turn(&candidates->line, transaction);
    } else if (transaction->state == GAVEL__TX_PARKED) {
        if (can_go(transaction, candidates))
            enter_turn(&candidates->line, transaction);
        else
            on_blocked(order, transaction);
        run_looks(order, now_us);
    }
}

void gavel__order_take(gavel__order *order, gavel__candidates *candidates,
    gavel__transaction *transaction, int64_t now_us)
{
    leave_turn(transaction);
    for (size_t i = 0; i < transaction->n_keys; i++) {
        gavel__hold *hold = &transaction->holds[i];
        if (!gavel__line_has(&hold->node))
            continue;
        gavel__line_remove(&hold->known->line, &hold->node);
        count_taken(hold->known);
        gavel__order_offer(order, candidates, hold->known, now_us);
    }
}

void gavel__order_drop(gavel__order *order, gavel__transaction *transaction, int64_t now_us)
{
    leave_turn(transaction);
    if (transaction->state == GAVEL__TX_READY)
        enter_ready(order, transaction, now_us);
    else if (can_go(transaction, NULL))
        make_ready(order, transaction, now_us);
    else
        on_blocked(order, transaction);
    run_looks(order, now_us);
}
