/*
 * What a body writes: each adds a command to the round's writes.
 */
#include "core/body.h"

#include "base/number.h"
#include "base/text.h"
#include "core/commands.h"

#include <inttypes.h>

/* Whether others' rounds have the key and are to be done first: one that has claimed it, or that
 * somebody waits for who wants to claim it. */
static bool is_busy(const gavel__key *key, const struct gavel__round *own)
{
    if (key->round != NULL)
        return key->round != own && !key->is_on_offer && !key->is_away;
    return key->n_writers > 0 && !gavel__line_is_empty(&key->line);
}

/*
 * Others have lost attempts by writes to this key, which may have been ours: see "Our own rounds"
 * in docs/design.md. NULL: this one yields, and will be run again.
 */
static gavel__key *contended_key(gavel_tx *tx, gavel__key *key)
{
    const gavel__transaction *transaction = tx->transaction;
    if (transaction->n_yields == GAVEL__MAX_YIELDS || !is_busy(key, transaction->round)) {
        tx->stage->writes->has_contended = true;
        return key;
    }
    tx->is_deferred = true;
    tx->busy = key;
    return NULL;
}

static const char *read_only_refusal(const gavel__transaction *transaction, bool has_key)
{
    if (transaction->is_stale_ok)
        return has_key ? "a write in a read-only transaction (is_stale_ok); key"
                       : "a write in a read-only transaction (is_stale_ok)";
    return has_key ? "a write in a read-only transaction; key"
                   : "a write in a read-only transaction";
}

/* The key to be written, or NULL: the attempt is poisoned, or will be run again anyway, since the
 * key was wished for in this very run, or others' rounds are to be done first. */
static gavel__key *key_to_write(gavel_tx *tx, gavel_bytes name)
{
    const gavel__transaction *transaction = tx->transaction;
    if (tx->is_poisoned)
        return NULL;
    if (transaction->is_read_only)
        gavel__body_poison_naming(tx, GAVEL_INVALID, read_only_refusal(transaction, true), name);
    else if (transaction->id_key.data != NULL && gavel__bytes_equal(name, transaction->id_key))
        gavel__body_poison_naming(
            tx, GAVEL_INVALID, "a write to the key that keeps the transaction's id", name);
    if (tx->is_poisoned)
        return NULL;
    gavel__key *key = gavel__transaction_held_key(transaction, name);
    if (key != NULL || gavel__transaction_has_key(transaction, name))
        return key;
    if (transaction->is_in_cluster && !gavel__body_takes_slot(tx, name))
        return NULL;
    key = gavel__writes_key(tx->stage->writes, name); /* neither read nor declared */
    if (key == NULL)
        gavel__body_poison_no_memory(tx);
    if (key == NULL || !gavel__heat_is_known(&key->heat)) /* mostly */
        return key;
    return contended_key(tx, key);
}

/* Bytes that are NULL are no value: the caller has got them from somewhere and not looked. */
static bool is_there_for(
    gavel_tx *tx, const char *call, const char *what, gavel_bytes bytes, gavel_bytes key)
{
    if (bytes.data != NULL)
        return true;
    char message[GAVEL_MESSAGE_SIZE];
    gavel__format(message, sizeof(message),
        "%s: the %s is NULL (an empty one is GAVEL_STR(\"\"))%s", call, what,
        key.data != NULL ? "; key" : "");
    if (key.data != NULL)
        gavel__body_poison_naming(tx, GAVEL_INVALID, message, key);
    else
        gavel__body_poison(tx, GAVEL_INVALID, message);
    return false;
}

/* The same, for the call that is named as its kind of write. */
static bool is_there(
    gavel_tx *tx, gavel__write_kind kind, const char *what, gavel_bytes bytes, gavel_bytes key)
{
    static const char *const calls[] = {
        [GAVEL__WRITE_SET] = "gavel_set",
        [GAVEL__WRITE_SET_PX] = "gavel_set_px",
        [GAVEL__WRITE_SET_KEEP] = "gavel_set_keep",
        [GAVEL__WRITE_DEL] = "gavel_del",
        [GAVEL__WRITE_HSET] = "gavel_hset",
        [GAVEL__WRITE_HDEL] = "gavel_hdel",
        [GAVEL__WRITE_INCR] = "gavel_incr",
        [GAVEL__WRITE_HINCR] = "gavel_hincr",
        [GAVEL__WRITE_APPEND] = "gavel_append",
        [GAVEL__WRITE_EXPIRE] = "gavel_expire_ms",
        [GAVEL__WRITE_PERSIST] = "gavel_persist",
    };
    return is_there_for(tx, calls[kind], what, bytes, key);
}

static bool is_whole(gavel_tx *tx, gavel_bytes key, const gavel__edit *edit)
{
    static const bool has_field[] = {[GAVEL__WRITE_HSET] = true,
        [GAVEL__WRITE_HDEL] = true,
        [GAVEL__WRITE_HINCR] = true,
        [GAVEL__WRITE_OTHER] = false};
    static const bool has_value[] = {[GAVEL__WRITE_SET] = true,
        [GAVEL__WRITE_SET_PX] = true,
        [GAVEL__WRITE_SET_KEEP] = true,
        [GAVEL__WRITE_HSET] = true,
        [GAVEL__WRITE_APPEND] = true,
        [GAVEL__WRITE_OTHER] = false};
    return is_there(tx, edit->kind, "key", key, key) &&
           (!has_field[edit->kind] || is_there(tx, edit->kind, "field", edit->field, key)) &&
           (!has_value[edit->kind] || is_there(tx, edit->kind, "value", edit->value, key));
}

static bool add_edit(gavel_tx *tx, gavel_bytes name, const gavel__edit *edit)
{
    if (tx->is_poisoned || !is_whole(tx, name, edit))
        return false;
    gavel__key *key = key_to_write(tx, name);
    if (key == NULL)
        return !tx->is_poisoned;
    if (!gavel__writes_add(tx->stage->writes, key, tx->transaction, edit)) {
        gavel__body_poison_no_memory(tx);
        return false;
    }
    return true;
}

/* ---- Values -------------------------------------------------------------------------------- */

bool gavel_set(gavel_tx *tx, gavel_bytes key, gavel_bytes value)
{
    return add_edit(tx, key, &(gavel__edit){.kind = GAVEL__WRITE_SET, .value = value});
}

bool gavel_set_int(gavel_tx *tx, gavel_bytes key, int64_t value)
{
    char storage[GAVEL__INT_SIZE];
    return gavel_set(tx, key, gavel__format_int(value, storage));
}

/* False: not a number, and the attempt is poisoned. */
static bool format_double(
    gavel_tx *tx, gavel_bytes key, double value, char storage[GAVEL__DOUBLE_SIZE])
{
    if (gavel__format_double(value, storage))
        return true;
    gavel__body_poison_naming(tx, GAVEL_INVALID, "NaN is no value; key", key);
    return false;
}

bool gavel_set_double(gavel_tx *tx, gavel_bytes key, double value)
{
    char storage[GAVEL__DOUBLE_SIZE];
    return format_double(tx, key, value, storage) && gavel_set(tx, key, gavel_str(storage));
}

bool gavel_del(gavel_tx *tx, gavel_bytes key)
{
    return add_edit(tx, key, &(gavel__edit){.kind = GAVEL__WRITE_DEL});
}

bool gavel_del_many(gavel_tx *tx, const gavel_bytes *keys, size_t n_keys)
{
    if (tx->is_poisoned || n_keys == 0)
        return !tx->is_poisoned;
    if (keys == NULL) {
        gavel__body_poison(tx, GAVEL_INVALID, "gavel_del_many: n_keys is not 0, but keys is NULL");
        return false;
    }
    gavel__key **held = gavel__arena_take(tx->stage->arena, n_keys, sizeof(*held));
    for (size_t i = 0; held != NULL && i < n_keys; i++) {
        if (!is_there_for(tx, "gavel_del_many", "key", keys[i], keys[i]))
            return false;
        held[i] = key_to_write(tx, keys[i]);
        if (held[i] == NULL)
            return !tx->is_poisoned;
    }
    if (held == NULL || !gavel__writes_add_del(tx->stage->writes, held, n_keys, tx->transaction)) {
        gavel__body_poison_no_memory(tx);
        return false;
    }
    return true;
}

bool gavel_append(gavel_tx *tx, gavel_bytes key, gavel_bytes bytes)
{
    return add_edit(tx, key, &(gavel__edit){.kind = GAVEL__WRITE_APPEND, .value = bytes});
}

bool gavel_hset(gavel_tx *tx, gavel_bytes key, gavel_bytes field, gavel_bytes value)
{
    return add_edit(
        tx, key, &(gavel__edit){.kind = GAVEL__WRITE_HSET, .field = field, .value = value});
}

bool gavel_hset_int(gavel_tx *tx, gavel_bytes key, gavel_bytes field, int64_t value)
{
    char storage[GAVEL__INT_SIZE];
    return gavel_hset(tx, key, field, gavel__format_int(value, storage));
}

bool gavel_hset_double(gavel_tx *tx, gavel_bytes key, gavel_bytes field, double value)
{
    char storage[GAVEL__DOUBLE_SIZE];
    return format_double(tx, key, value, storage) && gavel_hset(tx, key, field, gavel_str(storage));
}

bool gavel_hdel(gavel_tx *tx, gavel_bytes key, gavel_bytes field)
{
    return add_edit(tx, key, &(gavel__edit){.kind = GAVEL__WRITE_HDEL, .field = field});
}

/* ---- Counters ------------------------------------------------------------------------------ */

/* It would fail inside EXEC, and the rest would stand. */
static bool refuse_increment(gavel_tx *tx, const char *what, gavel_bytes key)
{
    gavel__body_poison_naming(tx, GAVEL_INVALID, what, key);
    return false;
}

/* Adds the sum, if the value is known. False: the attempt is poisoned. */
static bool foresee_sum(gavel_tx *tx, gavel_bytes key, gavel__edit *edit)
{
    gavel__foresight foresight;
    int64_t value = 0;
    gavel_found found = gavel__body_foresee(tx, key, edit->field, &foresight);
    if (found == GAVEL_NOT_YET || found == GAVEL_FAILED)
        return found == GAVEL_NOT_YET;
    if (found == GAVEL_FOUND && !gavel__parse_int(foresight.value, &value))
        return refuse_increment(tx, "counting: the value is not a 64-bit integer; key", key);
    if (!gavel__add_ints(value, edit->number, &edit->sum))
        return refuse_increment(tx, "counting: the sum is not a 64-bit integer; key", key);
    edit->has_sum = true;
    edit->is_sum_sure = foresight.is_sure;
    return true;
}

static bool add_increment(gavel_tx *tx, gavel_bytes key, gavel__edit edit)
{
    if (tx->is_poisoned || !is_whole(tx, key, &edit) || !foresee_sum(tx, key, &edit))
        return false;
    return add_edit(tx, key, &edit);
}

bool gavel_incr(gavel_tx *tx, gavel_bytes key, int64_t by)
{
    return add_increment(tx, key, (gavel__edit){.kind = GAVEL__WRITE_INCR, .number = by});
}

bool gavel_hincr(gavel_tx *tx, gavel_bytes key, gavel_bytes field, int64_t by)
{
    return add_increment(
        tx, key, (gavel__edit){.kind = GAVEL__WRITE_HINCR, .field = field, .number = by});
}

/* ---- Times to live ------------------------------------------------------------------------- */

/* Zero would delete, or be refused inside EXEC; and so would what the server cannot add to its
 * clock. */
static bool is_life(gavel_tx *tx, gavel_bytes key, uint64_t ttl_ms)
{
    if (tx->is_poisoned)
        return false;
    if (ttl_ms >= 1 && ttl_ms <= GAVEL_TTL_MAX_MS)
        return true;
    char message[GAVEL_MESSAGE_SIZE];
    gavel__format(message, sizeof(message),
        "a time to live is 1 to %" PRIu64 " ms, not %" PRIu64 "; key", GAVEL_TTL_MAX_MS, ttl_ms);
    gavel__body_poison_naming(tx, GAVEL_INVALID, message, key);
    return false;
}

bool gavel_set_px(gavel_tx *tx, gavel_bytes key, gavel_bytes value, uint64_t ttl_ms)
{
    gavel__edit edit = {.kind = GAVEL__WRITE_SET_PX, .value = value, .number = (int64_t)ttl_ms};
    return is_life(tx, key, ttl_ms) && add_edit(tx, key, &edit);
}

bool gavel_set_keep(gavel_tx *tx, gavel_bytes key, gavel_bytes value)
{
    return add_edit(tx, key, &(gavel__edit){.kind = GAVEL__WRITE_SET_KEEP, .value = value});
}

bool gavel_expire_ms(gavel_tx *tx, gavel_bytes key, uint64_t ttl_ms)
{
    gavel__edit edit = {.kind = GAVEL__WRITE_EXPIRE, .number = (int64_t)ttl_ms};
    return is_life(tx, key, ttl_ms) && add_edit(tx, key, &edit);
}

bool gavel_persist(gavel_tx *tx, gavel_bytes key)
{
    return add_edit(tx, key, &(gavel__edit){.kind = GAVEL__WRITE_PERSIST});
}

/* ---- Commands ------------------------------------------------------------------------------ */

bool gavel_write(gavel_tx *tx, const gavel_command *command)
{
    if (tx->is_poisoned)
        return false;
    gavel__command resolved;
    if (gavel__body_resolve(tx, command, GAVEL__USE_WRITE, &resolved) != GAVEL_FOUND)
        return !tx->is_poisoned;
    if (resolved.n_keys == 0 && tx->transaction->is_read_only) {
        gavel__body_poison_naming(
            tx, GAVEL_INVALID, read_only_refusal(tx->transaction, false), resolved.args[0]);
        return false;
    }
    for (size_t i = 0; i < resolved.n_keys; i++) {
        gavel__key *key = key_to_write(tx, gavel__command_key(&resolved, i));
        if (key == NULL)
            return !tx->is_poisoned;
        if (!gavel__writes_taint(tx->stage->writes, key, tx->transaction)) {
            gavel__body_poison_no_memory(tx);
            return false;
        }
    }
    if (!gavel__writes_add_command(tx->stage->writes, &resolved)) {
        gavel__body_poison_no_memory(tx);
        return false;
    }
    return true;
}
