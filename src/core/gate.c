/*
 * The table of gates, and what a record says. Used by the engine, its schedule, and passes.
 */
#include "core/gate.h"

#include "base/text.h"
#include "core/names.h"
#include "core/transaction.h"

#include <string.h>

static const size_t max_gates = 1024;

/* How long a gate stays up when nobody waits any more. */
static const int64_t dwell_us = 1000000;

/* ---- The table ----------------------------------------------------------------------------- */

void gavel__gates_init(gavel__gates *gates, const gavel__gates_config *config)
{
    *gates = (gavel__gates){.config = *config};
    gavel__random_seed(&gates->random, config->seed);
    gavel__map_init(&gates->map, config->allocator, config->hash_seed);
    gavel__list_init(&gates->orphans);
    gavel__format(gates->turn, sizeof(gates->turn), "%016llx",
        (unsigned long long)gavel__random_next(&gates->random));
}

static void forget(gavel__gates *gates, gavel__gate *gate)
{
    gavel__map_remove(&gates->map, &gate->node);
    gavel__free(gates->config.allocator, gate);
}

/* Forgets the gates that are no longer up; with `are_all`, every one. */
static void sweep(gavel__gates *gates, bool are_all, int64_t now_us)
{
    for (size_t i = 0; i < gates->map.n_buckets; i++) {
        for (gavel__map_node *node = gates->map.buckets[i]; node != NULL;) {
            gavel__gate *gate = GAVEL__CONTAINER(node, gavel__gate, node);
            node = node->next;
            if (are_all || (gate->n_pins == 0 && gavel__list_is_empty(&gate->orphaned) &&
                               !gavel__gate_is_up(gate, now_us)))
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
    gavel__gate *gate = gavel__alloc(gates->config.allocator, 1, sizeof(*gate) + n_bytes);
    if (gate == NULL)
        return NULL;
    gavel__list_init(&gate->orphaned);
    char *copy = (char *)(gate + 1);
    if (key.size > 0)
        memcpy(copy, key.data, key.size);
    char *end = copy + key.size;
    gate->record = gavel__name_of(GAVEL__NAME_GATE, prefix, key, end);
    end += gate->record.size;
    gate->queue = gavel__name_of(GAVEL__NAME_GATE_QUEUE, prefix, key, end);
    if (!gavel__map_insert_hashed(&gates->map, (gavel_bytes){copy, key.size}, hash, &gate->node)) {
        gavel__free(gates->config.allocator, gate);
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
    if (gate->up_until_us < now_us + dwell_us)
        gate->up_until_us = now_us + dwell_us;
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
    if (gate == NULL || gate->is_lent)
        return NULL;
    return is_always_up || gavel__gate_is_up(gate, now_us) ? gate : NULL;
}

size_t gavel__gates_of(gavel__gates *gates, gavel__transaction *transaction, int64_t now_us,
    gavel__gate *ret_gates[GAVEL__PASS_MAX])
{
    size_t n_gates = 0;
    if (gavel__gates_are_off(gates, now_us) || transaction->is_read_only ||
        (gavel__gates_is_empty(gates) && !gates->config.are_always_up))
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

void gavel__gates_on_refusal(gavel__gates *gates, gavel_bytes error)
{
    if (gavel__bytes_start_with(error, GAVEL_STR("NOPERM")) ||
        gavel__bytes_start_with(error, GAVEL_STR("ERR unknown command")))
        gates->off_until_us = INT64_MAX;
}

void gavel__gates_turn_off(gavel__gates *gates, int64_t until_us)
{
    if (gates->off_until_us < until_us)
        gates->off_until_us = until_us;
}

/* ---- Records ------------------------------------------------------------------------------- */

#define OWNER_DIGITS 16

gavel_bytes gavel__gate_draw_record(
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
