/*
 * Passes: asking for gates, waiting, handing on. Used by rounds and the schedule, which decide
 * when.
 */
#include "core/node.h"

#include "base/resp.h"
#include "base/text.h"
#include "core/policy.h"

#include <assert.h>

/* ---- What a lane passes through ------------------------------------------------------------ */

/* The arrows of the drawing in the header. */
static bool is_legal(gavel__pass_state from, gavel__pass_state to)
{
    switch (from) {
    case GAVEL__PASS_NONE:
        return to == GAVEL__PASS_ENTERING || to == GAVEL__PASS_WAITING || to == GAVEL__PASS_NONE;
    case GAVEL__PASS_ENTERING:
        return to != GAVEL__PASS_ENTERING;
    case GAVEL__PASS_WAITING:
        return to == GAVEL__PASS_HELD || to == GAVEL__PASS_NONE;
    case GAVEL__PASS_HELD:
        return to == GAVEL__PASS_NONE;
    }
    return false;
}

static void set_state(gavel__pass *pass, gavel__pass_state state)
{
    assert(is_legal(pass->state, state));
    (void)is_legal; /* without assertions */
    pass->state = state;
}

void gavel__pass_add(gavel__lane *lane, gavel__gate *gate)
{
    gavel__pass *pass = &lane->pass;
    assert(
        gate->lane == NULL && pass->state == GAVEL__PASS_NONE && pass->n_gates < GAVEL__PASS_MAX);
    size_t place = pass->n_gates++;
    for (; place > 0 && gavel__gate_compare(gate, pass->gates[place - 1]) < 0; place--)
        pass->gates[place] = pass->gates[place - 1];
    pass->gates[place] = gate;
    gate->lane = lane;
}

void gavel__pass_end(gavel__lane *lane)
{
    for (size_t i = 0; i < lane->pass.n_gates; i++) {
        (void)gavel__question_withdraw(&lane->pass.gates[i]->probe);
        lane->pass.gates[i]->lane = NULL;
        lane->pass.gates[i]->is_held = false;
        lane->pass.gates[i]->is_lent = false;
    }
    set_state(&lane->pass, GAVEL__PASS_NONE);
    lane->pass = (gavel__pass){.state = GAVEL__PASS_NONE};
}

/* ---- Commands ------------------------------------------------------------------------------ */

static void append(gavel__lane *lane, const gavel_bytes *args, size_t n_args)
{
    gavel__resp_command(lane->out, args, n_args);
    lane->n_new_replies++;
}

/* Puts our name where the record has another's, or, with `is_careful`, where there is none. */
static void write_record(gavel__lane *lane, gavel__gate *gate, bool is_careful, int64_t now_us)
{
    gate->owner = gavel__gate_write_record(gate, lane->out, is_careful, now_us);
    lane->n_new_replies++;
}

static size_t write_hand_off(gavel__lane *lane, gavel__gate *gate, int64_t now_us)
{
    size_t n_commands = gavel__gate_write_hand_off(gate, lane->node, lane->out, now_us);
    lane->n_new_replies += n_commands;
    return n_commands;
}

/* A little off, so that not all who wait look at the same time. */
static int64_t probe_after_us(gavel__gates *gates)
{
    int64_t half_us = gates->config.lease_us / 2;
    return half_us + (int64_t)gavel__random_below(&gates->random, (uint64_t)half_us / 2 + 1);
}

/* ---- Claims -------------------------------------------------------------------------------- */

/* Whether asking would be in vain: somebody has them. */
static bool are_taken(const gavel__lane *lane, int64_t now_us)
{
    const gavel__pass *pass = &lane->pass;
    for (size_t i = 0; i < pass->n_gates; i++) {
        if (!gavel__gate_is_taken(pass->gates[i], lane->node, now_us))
            return false;
    }
    return true;
}

static void write_claim(gavel__lane *lane, gavel__gate *gate, int64_t now_us)
{
    bool waits = lane->pass.state == GAVEL__PASS_WAITING;
    gate->has_idle_turn = false;
    gate->is_unasked = false;
    gavel_bytes wait[] = {GAVEL_STR("BLPOP"), gate->queue, GAVEL_STR("0")};
    gavel_bytes look[] = {GAVEL_STR("LPOP"), gate->queue};
    append(lane, waits ? wait : look, waits ? 3 : 2);
    write_record(lane, gate, !waits, now_us);
    gavel__inflight_add(&lane->inflight, GAVEL__AWAITED_TURN, 1, NULL);
    gavel__inflight_add(&lane->inflight, GAVEL__AWAITED_RECORD, 1, NULL);
}

/* Names the connection after the gate that it waits for, if it has another name: once, mostly. */
static size_t write_name(gavel__lane *lane)
{
    const gavel__pass *pass = &lane->pass;
    const gavel__gate *gate = pass->gates[pass->n_answered];
    if (pass->state != GAVEL__PASS_WAITING || lane->named_after == gate->node.hash)
        return 0;
    lane->named_after = gate->node.hash;
    gavel__resp_name_waiter(lane->out, gate->record);
    lane->n_new_replies++;
    gavel__inflight_add(&lane->inflight, GAVEL__AWAITED_NAME, 1, NULL);
    return 1;
}

size_t gavel__pass_write_claims(gavel__lane *lane, gavel__gates *gates, int64_t now_us)
{
    gavel__pass *pass = &lane->pass;
    if (pass->n_gates == 0 || pass->state == GAVEL__PASS_HELD)
        return 0;
    if (pass->state == GAVEL__PASS_NONE)
        set_state(pass, are_taken(lane, now_us) ? GAVEL__PASS_WAITING : GAVEL__PASS_ENTERING);
    size_t n_commands = write_name(lane);
    for (size_t i = pass->n_answered; i < pass->n_gates; i++)
        write_claim(lane, pass->gates[i], now_us);
    pass->probe_us = now_us + probe_after_us(gates);
    return n_commands + 2 * (pass->n_gates - pass->n_answered);
}

/* What LPOP or BLPOP brought; data NULL: nothing. */
static gavel_bytes turn_in(const gavel_reply *reply)
{
    if (reply->type == GAVEL_REPLY_STRING)
        return reply->text;
    if (reply->type == GAVEL_REPLY_ARRAY && reply->n_elements == 2)
        return reply->elements[1].text;
    return (gavel_bytes){NULL, 0};
}

void gavel__pass_on_turn(
    gavel__lane *lane, gavel__gates *gates, const gavel_reply *reply, int64_t now_us)
{
    gavel__pass *pass = &lane->pass;
    gavel_bytes turn = turn_in(reply);
    pass->has_turn = turn.data != NULL;
    pass->is_refused = reply->type == GAVEL_REPLY_ERROR;
    if (pass->is_refused)
        gavel__gate_on_refusal(pass->gates[pass->n_answered], lane->node, reply->text, now_us);
    /* Our own one we find where nobody else wants it. */
    if (pass->state == GAVEL__PASS_WAITING && pass->has_turn &&
        !gavel__bytes_equal(turn, gavel_str(gates->turn)))
        pass->has_others_turn = true;
}

/* What the two replies to a claim come to. Where the server will not have it, the round goes on
 * without: the gate then is as good as held, but there is nothing to hand off. */
static void take(gavel__pass *pass, gavel__gate *gate, const gavel_reply *reply)
{
    bool is_named = reply->type == GAVEL_REPLY_STATUS;
    bool is_refused = pass->is_refused || reply->type == GAVEL_REPLY_ERROR;
    bool is_new = pass->state == GAVEL__PASS_ENTERING && is_named;
    gate->is_held = pass->state == GAVEL__PASS_WAITING || pass->has_turn || is_named || is_refused;
    gate->is_spurious = !pass->has_turn && !is_new;
    gate->is_unnamed = !is_named;
}

/* Some are held by others. Those behind the first of these are given back: who waits, waits in
 * order, and never for one while it holds a later one. */
static void fall_back(gavel__lane *lane, int64_t now_us)
{
    gavel__pass *pass = &lane->pass;
    size_t first = 0;
    while (pass->gates[first]->is_held)
        first++;
    pass->n_answered = first;
    size_t n_given = 0;
    for (size_t i = first; i < pass->n_gates; i++) {
        if (pass->gates[i]->is_held && !pass->gates[i]->is_spurious)
            n_given += write_hand_off(lane, pass->gates[i], now_us);
        pass->gates[i]->is_held = false;
    }
    gavel__inflight_add(&lane->inflight, GAVEL__AWAITED_GATE, n_given, NULL);
    set_state(pass, GAVEL__PASS_WAITING);
}

static void on_granted(gavel__pass *pass, int64_t now_us)
{
    set_state(pass, GAVEL__PASS_HELD);
    pass->granted_us = now_us;
    pass->n_served = 0;
    for (size_t i = 0; pass->has_others_turn && i < pass->n_gates; i++)
        gavel__gate_raise(pass->gates[i], now_us);
}

bool gavel__pass_on_record(gavel__lane *lane, const gavel_reply *reply, int64_t now_us)
{
    gavel__pass *pass = &lane->pass;
    gavel__gate *gate = pass->gates[pass->n_answered++];
    take(pass, gate, reply);
    if (gate->is_held)
        gavel__gate_on_granted(gate, now_us);
    if (reply->type == GAVEL_REPLY_ERROR)
        gavel__gate_on_refusal(gate, lane->node, reply->text, now_us);
    if (!gate->is_held)
        gavel__gate_note_taken(gate, lane->node, now_us);
    if (pass->n_answered < pass->n_gates)
        return false;
    for (size_t i = 0; i < pass->n_gates; i++) {
        if (pass->gates[i]->is_held)
            continue;
        fall_back(lane, now_us);
        return true;
    }
    on_granted(pass, now_us);
    return false;
}

/* ---- Handing on ---------------------------------------------------------------------------- */

size_t gavel__pass_write_names(gavel__lane *lane, int64_t now_us)
{
    size_t n_commands = 0;
    for (size_t i = 0; i < lane->pass.n_gates; i++) {
        gavel__gate *gate = lane->pass.gates[i];
        if (!gate->is_unnamed || gate->is_spurious)
            continue;
        gate->is_unnamed = false;
        write_record(lane, gate, false, now_us);
        n_commands++;
    }
    gavel__inflight_add(&lane->inflight, GAVEL__AWAITED_GATE, n_commands, NULL);
    return n_commands;
}

size_t gavel__pass_write_hand_off(gavel__lane *lane, int64_t now_us)
{
    size_t n_commands = 0;
    for (size_t i = 0; i < lane->pass.n_gates; i++) {
        gavel__gate *gate = lane->pass.gates[i];
        if (gate->is_held && !gate->is_spurious && !gavel__gate_is_late(gate, now_us))
            n_commands += write_hand_off(lane, gate, now_us);
    }
    return n_commands;
}

void gavel__pass_on_refusal(gavel__lane *lane, gavel_bytes error, int64_t now_us)
{
    for (size_t i = 0; i < lane->pass.n_gates; i++)
        gavel__gate_on_refusal(lane->pass.gates[i], lane->node, error, now_us);
}

bool gavel__pass_is_share_used(const gavel__lane *lane, int64_t now_us)
{
    const gavel__pass *pass = &lane->pass;
    return gavel__policy_is_share_used(pass->n_served, now_us - pass->granted_us);
}

void gavel__pass_lose(gavel__lane *lane)
{
    const gavel__pass *pass = &lane->pass;
    for (size_t i = 0; i < pass->n_gates; i++) {
        gavel__gate *gate = pass->gates[i];
        if (gate->is_held && !gate->is_spurious)
            gavel__gate_hand_off(gate, gate->granted_us);
    }
    gavel__pass_end(lane);
}

/* ---- Looking ------------------------------------------------------------------------------- */

size_t gavel__pass_write_checks(gavel__lane *lane)
{
    gavel__pass *pass = &lane->pass;
    pass->n_checked = 0;
    for (size_t i = 0; i < pass->n_gates; i++) {
        gavel_bytes args[] = {GAVEL_STR("GET"), pass->gates[i]->record};
        append(lane, args, 2);
    }
    gavel__inflight_add(&lane->inflight, GAVEL__AWAITED_CHECK, pass->n_gates, NULL);
    return pass->n_gates;
}

void gavel__pass_on_check(gavel__lane *lane, const gavel_reply *reply)
{
    gavel__gate *gate = lane->pass.gates[lane->pass.n_checked++];
    bool is_ours = reply->type == GAVEL_REPLY_STRING && gavel__gate_is_named(gate, reply->text);
    if (!is_ours && !gate->is_unnamed)
        gate->is_spurious = true;
}

/* ---- Probing ------------------------------------------------------------------------------- */

gavel__gate *gavel__pass_blocked_on(const gavel__lane *lane)
{
    const gavel__pass *pass = &lane->pass;
    return pass->state == GAVEL__PASS_WAITING ? pass->gates[pass->n_answered] : NULL;
}

static void condemn(gavel__lane *lane, const gavel__gate *gate)
{
    char key[64];
    char message[GAVEL_MESSAGE_SIZE];
    gavel__format(message, sizeof(message),
        "waiting link to gate of %s: a turn was handed off and did not arrive",
        gavel__printable(gate->node.key, key, sizeof(key)));
    gavel__lane_condemn(lane, message);
}

void gavel__pass_probe(gavel__lane *lane, gavel__gates *gates, int64_t now_us)
{
    gavel__gate *gate = gavel__pass_blocked_on(lane);
    if (gate == NULL || lane->pass.probe_us > now_us)
        return;
    lane->pass.probe_us = now_us + probe_after_us(gates);
    if (gate->has_idle_turn) {
        condemn(lane, gate);
    } else if (gate->is_unasked && !gavel__node_is_reachable(lane->node)) {
        lane->pass.is_in_vain = true;
        gate->seen_until_us = 0; /* which makes that its own claim looks for the holder */
    } else {
        gavel__gate_probe(gate, lane->node);
    }
}
