/*
 * Rounds and gates: looking for those that others have put up, putting one up, and handing off.
 * The rest of a round knows WATCH and EXEC only.
 */
#include "core/round.h"

#include "base/resp.h"

/* ---- Looking ------------------------------------------------------------------------------- */

/* Whether the gate of a key is worth a look: others write to the key, and no gate is known. */
static bool is_worth_a_look(const gavel__round *round, const gavel__key *key, int64_t now_us)
{
    const gavel__gates *gates = round->rounds->gates;
    if (key->heat.level <= 0)
        return false;
    const gavel__gate *gate = gavel__gates_find(gates, key->node.key, key->node.hash);
    return gate == NULL || (!gavel__gate_is_up(gate, now_us) && gate->n_pins == 0);
}

/* One MGET of the records of warm keys: has somebody put up a gate? */
void gavel__round_write_look(gavel__round *round, int64_t now_us)
{
    gavel__lane *lane = round->lane;
    gavel__gates *gates = round->rounds->gates;
    if (!round->rounds->is_adaptive || lane->is_gate_lane || round->n_looked > 0 ||
        gavel__gates_are_off(gates, now_us))
        return;
    for (size_t i = 0; i < round->n_claims && round->n_looked < GAVEL__PASS_MAX; i++) {
        const gavel__key *key = round->claims[i];
        if (!is_worth_a_look(round, key, now_us))
            continue;
        gavel__gate *gate = gavel__gates_make(gates, key->node.key, key->node.hash, now_us);
        if (gate == NULL)
            break;
        gate->n_pins++;
        round->looked[round->n_looked++] = gate;
    }
    if (round->n_looked == 0)
        return;
    gavel__resp_begin(lane->out, 1 + round->n_looked);
    gavel__resp_arg(lane->out, GAVEL_STR("MGET"));
    for (size_t i = 0; i < round->n_looked; i++)
        gavel__resp_arg(lane->out, round->looked[i]->record);
    gavel__inflight_add(&lane->inflight, GAVEL__AWAITED_LOOK, 1, round);
    lane->n_new_replies++;
    round->context->stats.n_commands++;
}

void gavel__round_leave_for_gates(gavel__round *round, int64_t now_us)
{
    gavel__gate *unused[GAVEL__PASS_MAX];
    if (round->lane->is_gate_lane)
        return;
    for (gavel__list *node = round->members.next; node != &round->members;) {
        gavel__transaction *member = gavel__member_of(node);
        node = node->next;
        if (gavel__gates_of(round->rounds->gates, member, now_us, unused) > 0)
            gavel__queue_make_ready(round->rounds->queue, member, now_us);
    }
}

void gavel__round_on_look(gavel__round *round, const gavel_reply *reply, int64_t now_us)
{
    for (size_t i = 0; i < round->n_looked; i++) {
        if (reply->type == GAVEL_REPLY_ARRAY && i < reply->n_elements &&
            reply->elements[i].type == GAVEL_REPLY_STRING)
            gavel__gate_raise(round->looked[i], now_us);
        round->looked[i]->n_pins--;
    }
    round->n_looked = 0;
    gavel__round_leave_for_gates(round, now_us);
}

/* ---- Putting up ---------------------------------------------------------------------------- */

/* Who has lost so often races no more. */
static const uint32_t max_lost_races = 3;

/* Puts gates up before the marked keys of those who keep losing. */
void gavel__round_put_gates_up(gavel__round *round, int64_t now_us)
{
    gavel__gates *gates = round->rounds->gates;
    if (!round->rounds->is_adaptive || gavel__gates_are_off(gates, now_us) ||
        gavel__round_is_inside(round))
        return;
    for (gavel__list *node = round->members.next; node != &round->members; node = node->next) {
        const gavel__transaction *member = gavel__member_of(node);
        if (member->outcome.n_conflicts < max_lost_races)
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
    return round->rounds->has_returning_callers && round->rounds->prefetch_credit > 0;
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
