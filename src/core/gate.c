/*
 * The table of gates, and what a record says. Used by the engine, its schedule, and passes.
 */
#include "core/gate.h"

#include "base/resp.h"
#include "base/text.h"
#include "core/names.h"
#include "core/node.h"
#include "core/policy.h"
#include "core/transaction.h"

#include <string.h>

static const size_t max_gates = 1024;

/* For how long nobody passes through a gate whose slot is on its way. */
static const int64_t closed_us = 1000000;

static const gavel__question_ops probe_ops;
static const gavel__question_ops hand_off_ops;

/* ---- The table ----------------------------------------------------------------------------- */

void gavel__gates_init(gavel__gates *gates, const gavel__gates_config *config)
{
    *gates = (gavel__gates){.config = *config};
    gavel__random_seed(&gates->random, config->seed);
    gavel__map_init(&gates->map, config->context->allocator, config->hash_seed);
    gavel__format(gates->turn, sizeof(gates->turn), "%016llx",
        (unsigned long long)gavel__random_next(&gates->random));
}

static void forget(gavel__gates *gates, gavel__gate *gate)
{
    gavel__map_remove(&gates->map, &gate->node);
    gavel__free(gates->config.context->allocator, gate);
}

/* Whether somebody has a pointer to it. */
static bool is_needed(const gavel__gate *gate)
{
    return gate->n_pins > 0 || gate->probe.state != GAVEL__QUESTION_IDLE ||
           gate->hand_off.state != GAVEL__QUESTION_IDLE;
}

/* Forgets the gates that are no longer up; with `are_all`, every one. */
static void sweep(gavel__gates *gates, bool are_all, int64_t now_us)
{
    for (size_t i = 0; i < gates->map.n_buckets; i++) {
        for (gavel__map_node *node = gates->map.buckets[i]; node != NULL;) {
            gavel__gate *gate = GAVEL__CONTAINER(node, gavel__gate, node);
            node = node->next;
            if (are_all || (!is_needed(gate) && !gavel__gate_is_up(gate, now_us)))
                forget(gates, gate);
        }
    }
}

void gavel__gates_finish(gavel__gates *gates)
{
    sweep(gates, true, 0);
    gavel__map_finish(&gates->map);
}

gavel__gate *gavel__gates_find(const gavel__gates *gates, gavel_bytes key, uint64_t hash)
{
    gavel__map_node *node = gavel__map_find_hashed(&gates->map, key, hash);
    return node != NULL ? GAVEL__CONTAINER(node, gavel__gate, node) : NULL;
}

/* The names stand behind the gate, in one piece of memory. */
static gavel__gate *create(gavel__gates *gates, gavel_bytes key, uint64_t hash)
{
    gavel_bytes prefix = gavel_str(gates->config.key_prefix);
    size_t n_bytes = 3 * key.size + 2 * GAVEL__NAME_ROOM;
    gavel__gate *gate = gavel__alloc(gates->config.context->allocator, 1, sizeof(*gate) + n_bytes);
    if (gate == NULL)
        return NULL;
    gate->gates = gates;
    gavel__question_init(&gate->probe, &probe_ops);
    gavel__question_init(&gate->hand_off, &hand_off_ops);
    gate->probe.slot = gate->hand_off.slot = gavel__slot_of(key);
    gate->hand_off.is_once = true; /* a second turn would be one too many */
    char *copy = (char *)(gate + 1);
    if (key.size > 0)
        memcpy(copy, key.data, key.size);
    char *end = copy + key.size;
    gate->record = gavel__name_of(GAVEL__NAME_GATE, prefix, key, end);
    end += gate->record.size;
    gate->queue = gavel__name_of(GAVEL__NAME_GATE_QUEUE, prefix, key, end);
    if (!gavel__map_insert_hashed(&gates->map, (gavel_bytes){copy, key.size}, hash, &gate->node)) {
        gavel__free(gates->config.context->allocator, gate);
        return NULL;
    }
    return gate;
}

gavel__gate *gavel__gates_make(gavel__gates *gates, gavel_bytes key, uint64_t hash, int64_t now_us)
{
    gavel__gate *gate = gavel__gates_find(gates, key, hash);
    if (gate != NULL)
        return gate;
    if (gates->map.n_nodes >= max_gates)
        sweep(gates, false, now_us);
    return create(gates, key, hash);
}

void gavel__gate_raise(gavel__gate *gate, int64_t now_us)
{
    int64_t until_us = now_us + gavel__policy_gate_stays_us();
    if (gate->up_until_us < until_us)
        gate->up_until_us = until_us;
}

int gavel__gate_compare(const gavel__gate *a, const gavel__gate *b)
{
    gavel_bytes x = a->node.key;
    gavel_bytes y = b->node.key;
    int order = memcmp(x.data, y.data, x.size < y.size ? x.size : y.size);
    return order != 0 ? order : (x.size > y.size) - (x.size < y.size);
}

/* The gate that is up before the transaction's i-th key, or NULL. An id's key is nobody's rival. */
static gavel__gate *gate_before(
    gavel__gates *gates, gavel__transaction *transaction, size_t i, int64_t now_us)
{
    gavel_bytes key = transaction->keys[i];
    gavel__hold *hold = &transaction->holds[i];
    if (transaction->id_key.data != NULL && gavel__bytes_equal(key, transaction->id_key))
        return NULL;
    if (hold->hash == 0)
        hold->hash = gavel__map_hash(&gates->map, key);
    bool is_always_up = gates->config.are_always_up;
    gavel__gate *gate = is_always_up ? gavel__gates_make(gates, key, hold->hash, now_us)
                                     : gavel__gates_find(gates, key, hold->hash);
    if (gate == NULL || gate->is_lent || gate->closed_until_us > now_us)
        return NULL;
    return is_always_up || gavel__gate_is_up(gate, now_us) ? gate : NULL;
}

size_t gavel__gates_of(gavel__gates *gates, gavel__transaction *transaction, int64_t now_us,
    gavel__gate *ret_gates[GAVEL__PASS_MAX])
{
    size_t n_gates = 0;
    if (transaction->is_read_only || transaction->is_scout ||
        transaction->guest_at != GAVEL__NO_NODE ||
        (gavel__gates_is_empty(gates) && !gates->config.are_always_up))
        return 0;
    const gavel__node *node = gavel__nodes_of(gates->config.nodes, transaction->slot);
    if (node == NULL || gavel__node_is_without_gates(node, now_us))
        return 0;
    for (size_t i = 0; i < transaction->n_keys && n_gates < GAVEL__PASS_MAX; i++) {
        gavel__gate *gate = gate_before(gates, transaction, i, now_us);
        if (gate == NULL)
            continue;
        gate->n_pins++; /* the next one that is made may push it out */
        ret_gates[n_gates++] = gate;
    }
    for (size_t i = 0; i < n_gates; i++)
        ret_gates[i]->n_pins--;
    return n_gates;
}

bool gavel__gates_are_free(gavel__gate *const *gates, size_t n_gates)
{
    for (size_t i = 0; i < n_gates; i++) {
        if (gates[i]->lane != NULL)
            return false;
    }
    return true;
}

/* Whether a node says so of a slot that is its own, for now. */
static bool is_on_its_way(gavel_bytes error)
{
    return gavel__bytes_start_with(error, GAVEL_STR("ASK ")) ||
           gavel__bytes_start_with(error, GAVEL_STR("TRYAGAIN ")) ||
           gavel__bytes_start_with(error, GAVEL_STR("CLUSTERDOWN "));
}

void gavel__gate_on_refusal(gavel__gate *gate, gavel__node *node, gavel_bytes error, int64_t now_us)
{
    if (node->node_of != NULL && is_on_its_way(error))
        gate->closed_until_us = now_us + closed_us;
    else
        gavel__node_on_gate_refused(node, error);
}

bool gavel__gate_is_in_vain(const gavel__gate *gate, const gavel__node *node, int64_t now_us)
{
    return gate->closed_until_us > now_us || gavel__node_is_without_gates(node, now_us) ||
           !gavel__node_serves(node, gate->probe.slot);
}

/* ---- Records ------------------------------------------------------------------------------- */

#define OWNER_DIGITS 16

static gavel_bytes draw_record(
    gavel__gates *gates, uint64_t *ret_owner, int64_t now_us, char storage[GAVEL__RECORD_SIZE])
{
    *ret_owner = gavel__random_next(&gates->random);
    gavel__format(storage, GAVEL__RECORD_SIZE, "%016llx since=%lld %s",
        (unsigned long long)*ret_owner, (long long)((now_us + gates->config.epoch_us) / 1000),
        gates->config.holder);
    return gavel_str(storage);
}

bool gavel__gate_is_named(const gavel__gate *gate, gavel_bytes record)
{
    char digits[OWNER_DIGITS + 1];
    gavel__format(digits, sizeof(digits), "%016llx", (unsigned long long)gate->owner);
    return gavel__bytes_start_with(record, (gavel_bytes){digits, OWNER_DIGITS});
}

/* ---- Commands ------------------------------------------------------------------------------ */

uint64_t gavel__gate_write_record(
    gavel__gate *gate, gavel__buffer *out, bool is_careful, int64_t now_us)
{
    uint64_t owner;
    char record[GAVEL__RECORD_SIZE];
    char lease[GAVEL__INT_SIZE];
    gavel_bytes args[] = {GAVEL_STR("SET"), gate->record,
        draw_record(gate->gates, &owner, now_us, record), GAVEL_STR("PX"),
        gavel__format_int(gate->gates->config.lease_us / 1000, lease), GAVEL_STR("NX")};
    gavel__resp_command(out, args, is_careful ? 6 : 5);
    return owner;
}

static void write_lease(const gavel__gate *gate, gavel_bytes key, gavel__buffer *out)
{
    char lease[GAVEL__INT_SIZE];
    gavel_bytes args[] = {
        GAVEL_STR("PEXPIRE"), key, gavel__format_int(gate->gates->config.lease_us / 1000, lease)};
    gavel__resp_command(out, args, 3);
}

size_t gavel__gate_write_hand_off(
    gavel__gate *gate, const gavel__node *node, gavel__buffer *out, int64_t now_us)
{
    gavel_bytes push[] = {GAVEL_STR("RPUSH"), gate->queue, gavel_str(gate->gates->turn)};
    gavel__resp_command(out, push, 3);
    write_lease(gate, gate->queue, out);
    gavel__gate_note_taken(gate, node, now_us);
    return 2;
}

void gavel__gate_note_taken(gavel__gate *gate, const gavel__node *node, int64_t now_us)
{
    gate->seen_until_us = now_us + gate->gates->config.lease_us / 2;
    gate->seen_at = node;
}

bool gavel__gate_is_late(const gavel__gate *gate, int64_t now_us)
{
    return now_us - gate->granted_us >= gate->gates->config.lease_us;
}

/* ---- Handing off by a question ------------------------------------------------------------- */

static void hand_off_until(gavel__gate *gate, int64_t until_us)
{
    if (gate->hand_off.state == GAVEL__QUESTION_ASKED)
        return; /* for an earlier grant; the lease will do it */
    gate->hand_off_until_us = until_us;
    if (gate->hand_off.state == GAVEL__QUESTION_IDLE)
        gavel__question_ask(gate->gates->config.questions, &gate->hand_off);
}

void gavel__gate_hand_off(gavel__gate *gate, int64_t granted_us)
{
    if (gate->granted_us == granted_us)
        hand_off_until(gate, granted_us + gate->gates->config.lease_us);
}

void gavel__gate_on_granted(gavel__gate *gate, int64_t now_us)
{
    gate->granted_us = now_us;
    gate->has_idle_turn = false;
    (void)gavel__question_withdraw(&gate->probe);
    (void)gavel__question_withdraw(&gate->hand_off);
}

static size_t write_hand_off(gavel__question *question, gavel__buffer *out, int64_t now_us)
{
    gavel__gate *gate = GAVEL__CONTAINER(question, gavel__gate, hand_off);
    if (now_us >= gate->hand_off_until_us)
        return 0;
    gate->asked = question->lane->node;
    size_t n_commands = gavel__gate_write_hand_off(gate, gate->asked, out, now_us);
    gate->gates->config.context->stats.n_commands += n_commands;
    return n_commands;
}

/* Whoever stands in the queue is served by RPUSH itself, so that PEXPIRE finds no turn. */
static void on_handed_off(
    gavel__question *question, size_t i, const gavel_reply *reply, int64_t now_us)
{
    gavel__gate *gate = GAVEL__CONTAINER(question, gavel__gate, hand_off);
    if (reply->type == GAVEL_REPLY_ERROR)
        gavel__gate_on_refusal(gate, gate->asked, reply->text, now_us);
    else if (i == 1)
        gate->has_idle_turn = reply->type == GAVEL_REPLY_INTEGER && reply->integer == 1;
}

/* If it was sent it may have been done; a second turn would be one too many. */
static void on_lost_hand_off(
    gavel__question *question, const gavel__loss *loss, bool was_sent, int64_t now_us)
{
    const gavel__gate *gate = GAVEL__CONTAINER(question, gavel__gate, hand_off);
    (void)now_us;
    if (!was_sent && !loss->is_final)
        gavel__question_ask(gate->gates->config.questions, question);
}

static const gavel__question_ops hand_off_ops = {write_hand_off, on_handed_off, on_lost_hand_off};

/* ---- Probing ------------------------------------------------------------------------------- */

/* In a Cluster it is about a queue at this node, wherever the slot may be by then. */
void gavel__gate_probe(gavel__gate *gate, const gavel__node *node)
{
    if (gate->probe.state != GAVEL__QUESTION_IDLE)
        return;
    if (node->node_of != NULL)
        gate->probe.at_node = (uint16_t)node->index;
    gate->is_unasked = true;
    gavel__question_ask(gate->gates->config.questions, &gate->probe);
}

static size_t write_probe(gavel__question *question, gavel__buffer *out, int64_t now_us)
{
    gavel__gate *gate = GAVEL__CONTAINER(question, gavel__gate, probe);
    gavel_bytes look[] = {GAVEL_STR("PTTL"), gate->record};
    size_t n_commands = gate->has_no_lease ? 1 : 2;
    gate->is_unasked = false;
    gate->asked = question->lane->node;
    if (gate->has_no_lease) {
        write_lease(gate, gate->record, out);
    } else {
        (void)gavel__gate_write_record(gate, out, true, now_us); /* owned by nobody */
        gavel__resp_command(out, look, 2);
    }
    gate->gates->config.context->stats.n_commands += n_commands;
    return n_commands;
}

/* It has no memory, say: nobody may be let in. */
static void on_refused_probe(gavel__gate *gate, gavel_bytes error, int64_t now_us)
{
    bool is_redirect = is_on_its_way(error) || gavel__bytes_start_with(error, GAVEL_STR("MOVED "));
    if (gate->asked->node_of != NULL && is_redirect)
        gavel__gate_on_refusal(gate, gate->asked, error, now_us);
    else
        gavel__node_turn_gates_off(gate->asked, now_us + gate->gates->config.lease_us);
}

/* Whether there was no record, and so nobody who holds it. */
static void on_probed(gavel__gate *gate, const gavel_reply *reply, int64_t now_us)
{
    int64_t lease_us = gate->gates->config.lease_us;
    if (reply->type == GAVEL_REPLY_STATUS)
        hand_off_until(gate, now_us + lease_us);
    else if (reply->type == GAVEL_REPLY_ERROR)
        on_refused_probe(gate, reply->text, now_us);
}

/* A record that somebody has set by hand, without a time to live, would stay for ever. */
static void on_time_to_live(gavel__gate *gate, const gavel_reply *reply)
{
    if (reply->type != GAVEL_REPLY_INTEGER || reply->integer != -1)
        return;
    gate->has_no_lease = true;
    gavel__gate_probe(gate, gate->asked);
}

static void on_probe_reply(
    gavel__question *question, size_t i, const gavel_reply *reply, int64_t now_us)
{
    gavel__gate *gate = GAVEL__CONTAINER(question, gavel__gate, probe);
    if (gate->has_no_lease) {
        gate->has_no_lease = false;
        if (reply->type == GAVEL_REPLY_ERROR)
            gavel__gate_on_refusal(gate, gate->asked, reply->text, now_us);
    } else if (i == 0) {
        on_probed(gate, reply, now_us);
    } else {
        on_time_to_live(gate, reply);
    }
}

/* Who waits asks again. */
static void on_lost_probe(
    gavel__question *question, const gavel__loss *loss, bool was_sent, int64_t now_us)
{
    (void)loss;
    (void)was_sent;
    (void)now_us;
    GAVEL__CONTAINER(question, gavel__gate, probe)->has_no_lease = false;
}

static const gavel__question_ops probe_ops = {write_probe, on_probe_reply, on_lost_probe};
