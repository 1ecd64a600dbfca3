/*
 * Rounds and gates: putting one up, leaving for it, and handing off.
 * The rest of a round knows WATCH and EXEC only.
 */
#include "core/round.h"

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
    if (gavel__gates_are_off(gates, now_us) || gavel__round_is_inside(round))
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

/* ---- Handing off --------------------------------------------------------------------------- */

/* Whether somebody here will want the gates again at once: those who wait for the round's keys, or
 * its own callers, if they have come back lately. */
static bool has_more_to_do(const gavel__round *round)
{
    for (size_t i = 0; i < round->n_claims; i++) {
        if (!gavel__list_is_empty(&round->claims[i]->waiters))
            return true;
    }
    return gavel__policy_expects_return(round->policy);
}

/* Hands the lane's gates off within the EXEC, unless another round is served first. */
void gavel__round_write_hand_off(gavel__round *round, int64_t now_us)
{
    gavel__pass *pass = &round->lane->pass;
    round->n_hand_off = 0;
    if (pass->state != GAVEL__PASS_HELD)
        return;
    pass->n_served++;
    if (!gavel__pass_is_share_used(round->lane, now_us) && has_more_to_do(round))
        return;
    round->n_hand_off = gavel__pass_write_hand_off(round->lane, round->rounds->gates, now_us);
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
        gavel__queue_make_ready(
            round->rounds->queue, gavel__member_of(round->members.next), now_us);
    return GAVEL__NEXT_END;
}
