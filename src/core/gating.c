/*
 * Rounds and gates: putting one up, leaving for it, and handing off.
 * The rest of a round knows WATCH and EXEC only.
 */
#include "core/node.h"
#include "core/round.h"

#include "base/text.h"

/* ---- Putting up ---------------------------------------------------------------------------- */

void gavel__round_leave_for_gates(gavel__round *round, int64_t now_us)
{
    gavel__gate *unused[GAVEL__PASS_MAX];
    if (round->lane->is_waiting_lane)
        return;
    for (gavel__list *node = round->members.next; node != &round->members;) {
        gavel__transaction *member = gavel__member_of(node);
        node = node->next;
        if (gavel__gates_of(round->rounds->gates, member, now_us, unused) > 0)
            gavel__queue_make_ready(round->rounds->queue, member, now_us);
    }
}

/* Puts gates up before the marked keys of those who keep losing. */
void gavel__round_put_gates_up(gavel__round *round, int64_t now_us)
{
    gavel__gates *gates = round->rounds->gates;
    if (gavel__node_is_without_gates(round->lane->node, now_us) || gavel__round_is_inside(round))
        return;
    for (gavel__list *node = round->members.next; node != &round->members; node = node->next) {
        const gavel__transaction *member = gavel__member_of(node);
        if (!gavel__policy_wants_gate(round->policy, member->outcome.n_conflicts))
            continue;
        for (size_t i = 0; i < member->n_keys; i++) {
            const gavel__key *key = member->holds[i].key;
            if (key == NULL || !key->is_changed)
                continue;
            gavel__gate *gate = gavel__gates_make(gates, key->node.key, key->node.hash, now_us);
            if (gate != NULL)
                gavel__gate_raise(gate, now_us);
        }
    }
}

/* ---- Waiting ------------------------------------------------------------------------------- */

/* The gate before a key, if the lane stands in its queue; NULL for a key without a gate, or whose
 * gate the lane has. */
static gavel__gate *gate_waited_for(const gavel__round *round, const gavel__key *key)
{
    const gavel__pass *pass = &round->lane->pass;
    for (size_t i = 0; i < pass->n_gates; i++) {
        gavel__gate *gate = pass->gates[i];
        if (gate->node.hash == key->node.hash && gavel__bytes_equal(gate->node.key, key->node.key))
            return gate->is_held ? NULL : gate;
    }
    return NULL;
}

static void lend_gates(gavel__round *round, bool are_lent)
{
    const gavel__pass *pass = &round->lane->pass;
    for (size_t i = 0; i < pass->n_gates; i++)
        pass->gates[i]->is_lent = are_lent && pass->gates[i]->is_held;
}

/* Whether it has other keys than those that it waits for, or some wait for these who go first
 * elsewhere, or who yield. */
static bool keeps_others(const gavel__round *round)
{
    for (size_t i = 0; i < round->n_claims; i++) {
        const gavel__key *key = round->claims[i];
        if (gate_waited_for(round, key) == NULL || !gavel__list_is_empty(&key->blocked) ||
            !gavel__list_is_empty(&key->yielding))
            return true;
    }
    return false;
}

int64_t gavel__round_let_go_us(const gavel__round *round)
{
    bool is_waiting = gavel__pass_blocked_on(round->lane) != NULL && !round->has_let_go;
    return is_waiting && keeps_others(round) ? round->let_go_us : GAVEL__NEVER;
}

void gavel__round_let_go(gavel__round *round, int64_t now_us)
{
    gavel__queue *queue = round->rounds->queue;
    if (now_us < gavel__round_let_go_us(round))
        return;
    round->has_let_go = true;
    lend_gates(round, true);
    for (size_t i = 0; i < round->n_claims; i++) {
        gavel__key *key = round->claims[i];
        if (gate_waited_for(round, key) != NULL) {
            gavel__order_set_away(&queue->order, key, now_us);
        } else {
            key->n_users++; /* it stays known */
            gavel__queue_release_key(queue, key, round, now_us);
        }
    }
}

/* Rounds that only stand on a key that was let go give way. False: another one has such a key. */
static bool clear_the_way(gavel__round *round, int64_t now_us)
{
    for (size_t i = 0; i < round->n_claims; i++) {
        const gavel__key *key = round->claims[i];
        if (key->is_in_doubt)
            return false;
        if (key->round == NULL || key->round == round)
            continue;
        if (!key->is_on_offer)
            return false;
        gavel__round_dissolve(key->round, now_us);
    }
    return true;
}

bool gavel__round_take_back(gavel__round *round, int64_t now_us)
{
    gavel__queue *queue = round->rounds->queue;
    if (!round->has_let_go)
        return true;
    if (!clear_the_way(round, now_us))
        return false;
    round->has_let_go = false;
    lend_gates(round, false);
    for (size_t i = 0; i < round->n_claims; i++) {
        gavel__key *key = round->claims[i];
        key->is_away = false;
        if (key->round == round)
            continue;
        gavel__keys_claim(key, round);
        key->n_users--;
        gavel__order_withdraw(&queue->order, key, now_us);
    }
    return true;
}

/* ---- Handing off --------------------------------------------------------------------------- */

/* Whether somebody here will want the gates again at once: those who wait for the round's keys, or
 * its own callers, if they have come back lately. */
static bool has_more_to_do(const gavel__round *round)
{
    for (size_t i = 0; i < round->n_claims; i++) {
        if (!gavel__line_is_empty(&round->claims[i]->line))
            return true;
    }
    return gavel__policy_expects_return(round->policy);
}

/* Hands the lane's gates off within the EXEC, unless another round is served first. */
void gavel__round_write_hand_off(gavel__round *round, int64_t now_us)
{
    gavel__pass *pass = &round->lane->pass;
    if (pass->state != GAVEL__PASS_HELD)
        return;
    pass->n_served++;
    if (!gavel__pass_is_share_used(round->lane, now_us) && has_more_to_do(round))
        return;
    round->committing.n_hand_off = gavel__pass_write_hand_off(round->lane, now_us);
    pass->is_handed_off = true;
}

/* The gates cannot be handed off. Nothing depends on that: the members run again, and who waits is
 * let in when the lease is over. */
gavel__next gavel__round_keep_gates(gavel__round *round, int64_t now_us)
{
    gavel__pass *pass = &round->lane->pass;
    for (size_t i = 0; i < pass->n_gates; i++)
        pass->gates[i]->is_spurious = true;
    while (!gavel__list_is_empty(&round->members))
        gavel__queue_run_again(round->rounds->queue, gavel__member_of(round->members.next),
            "a command of a gate in the same EXEC was refused", now_us);
    return GAVEL__NEXT_END;
}
