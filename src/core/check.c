/*
 * Checks: what holds between two calls of the engine, as the drawings and the comments say it. For
 * tests, which call it after every event; nothing of this is done in a program's run.
 */
#include "core/check.h"

/* Also where a build leaves assertions out: its tests want to be told as well. */
#undef NDEBUG
#include <assert.h>

/* ---- Rounds -------------------------------------------------------------------------------- */

static bool is_claimed_by(const gavel__round *round, const gavel__key *key)
{
    for (size_t i = 0; i < round->n_claims; i++) {
        if (round->claims[i] == key)
            return true;
    }
    return false;
}

static void check_claims(const gavel__round *round)
{
    for (size_t i = 0; i < round->n_claims; i++) {
        const gavel__key *key = round->claims[i];
        assert(key->n_claims == 1 || key->n_claims == 2 || round->has_let_go);
        assert(key->round == round || key->earlier == round || round->has_let_go);
    }
    for (size_t i = 0; i < round->n_written; i++) {
        assert(round->written[i]->n_writers > 0);
        assert(round->phase == GAVEL__ROUND_COMMITTING || round->n_kept > 0);
    }
}

static void check_member(
    const gavel__round *round, const gavel__transaction *member, gavel__tx_state state)
{
    assert(member->round == round);
    assert(member->state == state);
    assert(member->is_read_only == round->is_snapshot);
    assert((member->replica != NULL) == round->is_at_replica);
    for (size_t i = 0; i < member->n_keys; i++) {
        const gavel__key *key = member->holds[i].key;
        assert(key == NULL || round->is_snapshot || is_claimed_by(round, key));
    }
    assert(round->phase != GAVEL__ROUND_COMMITTING ||
           member->first_write + member->n_writes <= round->writes.n_requests);
}

static void check_members(const gavel__round *round, gavel__tx_state state)
{
    const gavel__list *members = &round->members;
    for (gavel__list *node = members->next; node != members; node = node->next)
        check_member(round, gavel__member_of(node), state);
}

static void check_round(const gavel__round *round)
{
    assert(round->reading.n_merged <= round->n_fetches &&
           round->reading.n_fetched <= round->n_fetches);
    check_claims(round);
    switch (round->phase) {
    case GAVEL__ROUND_READING:
        assert(!round->has_prefetch);
        check_members(round, GAVEL__TX_READING);
        break;
    case GAVEL__ROUND_COMMITTING:
        assert(round->n_kept == 0);
        assert(!round->is_snapshot && !round->is_narrowing && round->committing.exec_end > 0);
        check_members(round, GAVEL__TX_COMMITTING);
        break;
    case GAVEL__ROUND_PREFETCHED:
        assert(round->has_prefetch && !round->is_snapshot);
        assert(gavel__list_is_empty(&round->members));
        break;
    case GAVEL__ROUND_IDLE:
        assert(false && "this one is on no lane");
        break;
    }
}

/* ---- Doubts -------------------------------------------------------------------------------- */

static void check_doubt(const gavel__doubt *doubt)
{
    const gavel__list *members = &doubt->members;
    assert(doubt->state != GAVEL__DOUBT_IDLE && doubt->number > 0);
    assert(
        (doubt->state == GAVEL__DOUBT_ASKING) == (doubt->question.state != GAVEL__QUESTION_IDLE));
    for (gavel__list *node = members->next; node != members; node = node->next)
        assert(gavel__member_of(node)->state == GAVEL__TX_IN_DOUBT);
    for (size_t i = 0; i < doubt->n_claims; i++) {
        const gavel__key *key = doubt->claims[i];
        assert(key->is_in_doubt && key->n_claims == 1 && key->round == NULL);
    }
}

/* ---- Passes and questions ------------------------------------------------------------------ */

static void check_pass(const gavel__lane *lane)
{
    const gavel__pass *pass = &lane->pass;
    switch (pass->state) {
    case GAVEL__PASS_NONE:
        assert(pass->n_gates == 0);
        break;
    case GAVEL__PASS_ENTERING:
    case GAVEL__PASS_WAITING:
        assert(pass->n_answered < pass->n_gates);
        break;
    case GAVEL__PASS_HELD:
        assert(pass->n_answered == pass->n_gates);
        break;
    }
    for (size_t i = 0; i < pass->n_gates; i++) {
        assert(pass->gates[i]->lane == lane);
        assert(pass->gates[i]->is_held || pass->state != GAVEL__PASS_HELD);
        assert(i == 0 || gavel__gate_compare(pass->gates[i - 1], pass->gates[i]) < 0);
    }
}

static void check_inflight(const gavel__lane *lane)
{
    const gavel__inflight *inflight = &lane->inflight;
    size_t n_replies = 0;
    size_t n_guards = 0;
    for (size_t i = 0; i < inflight->n; i++) {
        const gavel__awaited *awaited = &inflight->ring[(inflight->first + i) % inflight->capacity];
        const gavel__question *question = awaited->question;
        n_replies += awaited->n_replies;
        n_guards += awaited->kind == GAVEL__AWAITED_GUARD;
        assert((question != NULL) == (awaited->kind == GAVEL__AWAITED_QUESTION));
        if (question == NULL)
            continue;
        assert(question->state == GAVEL__QUESTION_ASKED && question->lane == lane);
        assert(question->n_replies - question->n_answered == awaited->n_replies);
    }
    assert(n_replies == inflight->n_replies);
    bool is_asked = lane->guard == GAVEL__GUARD_ASKED || lane->guard == GAVEL__GUARD_LAPSED;
    bool is_up = lane->state == GAVEL__LANE_UP && !lane->is_condemned;
    assert(!is_up || n_guards == (is_asked ? 1 : 0));
}

/* ---- Lanes --------------------------------------------------------------------------------- */

static void check_lane(const gavel__lane *lane)
{
    const gavel__round *round = lane->round;
    const gavel__round *next = lane->next;
    assert(lane->state == GAVEL__LANE_UP || (round == NULL && lane->out == NULL));
    assert(lane->state == GAVEL__LANE_UP || gavel__inflight_is_empty(&lane->inflight));
    assert(lane->guard == GAVEL__GUARD_NONE || lane->guard == GAVEL__GUARD_LAPSED ||
           lane->is_watching || lane->state != GAVEL__LANE_UP);
    assert(next == NULL || (round != NULL && round->phase == GAVEL__ROUND_COMMITTING));
    assert(lane->state == GAVEL__LANE_UP || lane->pass.state == GAVEL__PASS_NONE);
    assert(lane->blocking == NULL || (lane->is_waiting_lane && lane->blocking->lane == lane));
    check_pass(lane);
    check_inflight(lane);
    if (round != NULL) {
        assert(round->lane == lane);
        check_round(round);
    }
    if (next != NULL) {
        assert(next->lane == lane && next->phase == GAVEL__ROUND_READING);
        check_round(next);
    }
}

/* ---- Transactions -------------------------------------------------------------------------- */

static bool is_free(const gavel__key *key)
{
    return !key->is_in_doubt && key->n_writers == 0 && (key->round == NULL || key->is_on_offer);
}

static bool is_in_lines(const gavel__transaction *transaction)
{
    for (size_t i = 0; i < transaction->n_keys; i++) {
        if (gavel__line_has(&transaction->holds[i].node))
            return true;
    }
    return false;
}

/* Whether it is the first in all of its lines, and all of its keys are free. */
static bool can_go(const gavel__transaction *transaction)
{
    for (size_t i = 0; i < transaction->n_keys; i++) {
        const gavel__hold *hold = &transaction->holds[i];
        if (gavel__line_first(&hold->known->line) != &hold->node || !is_free(hold->known))
            return false;
    }
    return true;
}

static bool is_among_ready(const gavel__order *order, const gavel__transaction *transaction)
{
    const gavel__turns *turns = gavel__order_turns(order, transaction);
    for (size_t i = 0; i < GAVEL__N_READY_KINDS; i++) {
        if (transaction->turn_line == &turns->lines[i])
            return true;
    }
    return false;
}

/* It waits for rounds that end, or turn out to be away. */
static void check_yielding(const gavel__transaction *transaction)
{
    const gavel__key *key = transaction->yields_to;
    assert(transaction->state == GAVEL__TX_PAUSED && !is_in_lines(transaction));
    assert(key->n_writers > 0 || (key->round != NULL && !key->is_on_offer && !key->is_away));
}

static void check_waiting(const gavel__order *order, const gavel__transaction *transaction)
{
    assert(transaction->round == NULL);
    if (transaction->state == GAVEL__TX_READY) {
        assert(is_among_ready(order, transaction));
        assert(transaction->is_read_only || can_go(transaction));
        return;
    }
    assert(transaction->turn_line == NULL);
    if (transaction->yields_to != NULL)
        check_yielding(transaction);
    if (transaction->state != GAVEL__TX_PARKED)
        return;
    const gavel__hold *blocked = &transaction->holds[transaction->blocked_at];
    assert(gavel__line_has(&blocked->node) && !blocked->is_aside && !can_go(transaction));
}

static void check_transaction(const gavel__engine *engine, const gavel__transaction *transaction)
{
    assert(gavel__line_has(&transaction->timer) == (transaction->state != GAVEL__TX_ENDED));
    switch (transaction->state) {
    case GAVEL__TX_READY:
    case GAVEL__TX_PARKED:
    case GAVEL__TX_PAUSED:
        check_waiting(&engine->queue.order, transaction);
        break;
    case GAVEL__TX_READING:
    case GAVEL__TX_COMMITTING:
        assert(transaction->round != NULL);
        assert(transaction->turn_line == NULL && !is_in_lines(transaction));
        break;
    case GAVEL__TX_REPLICATING:
        assert(transaction->round == NULL && transaction->replicating != NULL);
        assert(transaction->turn_line == NULL && !is_in_lines(transaction));
        break;
    case GAVEL__TX_IN_DOUBT:
    case GAVEL__TX_ENDED:
        assert(transaction->turn_line == NULL && !is_in_lines(transaction));
        break;
    }
}

static void check_transactions(const gavel__engine *engine)
{
    size_t n_open = 0;
    size_t n_with_several = 0;
    for (size_t i = 0; i < engine->pool.n_places; i++) {
        const gavel__transaction *transaction = engine->pool.places[i].transaction;
        if (transaction == NULL)
            continue;
        check_transaction(engine, transaction);
        n_open += transaction->state != GAVEL__TX_ENDED;
        n_with_several += gavel__order_wants_several(transaction);
    }
    assert(n_open == engine->queue.n_open);
    assert(n_with_several == engine->queue.order.n_with_several);
}

/* ---- Durability ---------------------------------------------------------------------------- */

/* How many members are held on these connections. */
static size_t check_replicating(const gavel__wish *wish, const gavel__list *list)
{
    size_t n = 0;
    for (const gavel__list *node = list->next; node != list; node = node->next) {
        const gavel__replicating *replicating =
            GAVEL__CONTAINER(node, const gavel__replicating, node);
        const gavel__list *members = &replicating->members;
        assert(replicating->wish == wish && replicating->marker_size > 0);
        for (gavel__list *member = members->next; member != members; member = member->next, n++) {
            assert(gavel__member_of(member)->state == GAVEL__TX_REPLICATING);
            assert(gavel__member_of(member)->replicating == replicating);
        }
    }
    return n;
}

static void check_durability(const gavel__durability *durability)
{
    size_t n_members = 0;
    for (size_t i = 0; i < GAVEL__N_WISHES; i++) {
        const gavel__wish *wish = durability->wishes[i];
        if (wish == NULL)
            continue;
        size_t n_here =
            check_replicating(wish, &wish->asked) + check_replicating(wish, &wish->next);
        bool is_under_way = wish->question.state != GAVEL__QUESTION_IDLE;
        assert((wish->state == GAVEL__WISH_ASKED) == is_under_way);
        assert(wish->state != GAVEL__WISH_IDLE || n_here == 0);
        n_members += n_here + check_replicating(wish, &wish->ripe);
    }
    assert(n_members == durability->n_members);
}

void gavel__engine_check(const gavel__engine *engine)
{
    assert(!engine->queue.keys.is_running);
    check_transactions(engine);
    for (const gavel__lane *lane = gavel__nodes_first_lane(&engine->nodes); lane != NULL;
         lane = gavel__nodes_next_lane(lane))
        check_lane(lane);
    const gavel__list *doubts = &engine->doubts.open;
    for (const gavel__list *node = doubts->next; node != doubts; node = node->next)
        check_doubt(GAVEL__CONTAINER(node, gavel__doubt, node));
    for (const gavel__node *node = engine->nodes.first; node != NULL; node = node->following)
        check_durability(node->durability);
}
