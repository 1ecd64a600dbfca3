/*
 * What a body writes: each adds a command to the round's writes.
 */
#include "core/body.h"

#include "base/text.h"
#include "core/commands.h"

/* The key to be written, or NULL: the attempt is poisoned, or the key was wished for in this very
 * run, which will be run again anyway. */
static gavel__key *key_to_write(gavel_tx *tx, gavel_bytes name)
{
    const gavel__transaction *transaction = tx->transaction;
    if (tx->is_poisoned)
        return NULL;
    /* The id's key is watched as well, but is not the body's. */
    bool is_id_key =
        transaction->id_key.data != NULL && gavel__bytes_equal(name, transaction->id_key);
    if (transaction->is_read_only)
        gavel__body_poison_naming(
            tx, GAVEL_INVALID, "a write in a read-only transaction; key", name);
    else if (is_id_key || !gavel__transaction_has_key(transaction, name))
        gavel__body_poison_naming(
            tx, GAVEL_INVALID, "a write to a key that was not declared", name);
    return tx->is_poisoned ? NULL : gavel__transaction_held_key(transaction, name);
}

static bool add_write(
    gavel_tx *tx, gavel__write_kind kind, gavel_bytes name, const gavel_bytes field_and_value[2])
{
    gavel__key *key = key_to_write(tx, name);
    if (key == NULL)
        return !tx->is_poisoned;
    if (!gavel__writes_add(tx->stage->writes, kind, key, tx->transaction, field_and_value[0],
            field_and_value[1])) {
        gavel__body_poison_no_memory(tx);
        return false;
    }
    return true;
}

bool gavel_set(gavel_tx *tx, gavel_bytes key, gavel_bytes value)
{
    return add_write(tx, GAVEL__WRITE_SET, key, (gavel_bytes[2]){{NULL, 0}, value});
}

bool gavel_set_int(gavel_tx *tx, gavel_bytes key, int64_t value)
{
    char storage[GAVEL__INT_SIZE];
    return gavel_set(tx, key, gavel__format_int(value, storage));
}

bool gavel_del(gavel_tx *tx, gavel_bytes key)
{
    return add_write(tx, GAVEL__WRITE_DEL, key, (gavel_bytes[2]){{NULL, 0}, {NULL, 0}});
}

bool gavel_hset(gavel_tx *tx, gavel_bytes key, gavel_bytes field, gavel_bytes value)
{
    return add_write(tx, GAVEL__WRITE_HSET, key, (gavel_bytes[2]){field, value});
}

bool gavel_hset_int(gavel_tx *tx, gavel_bytes key, gavel_bytes field, int64_t value)
{
    char storage[GAVEL__INT_SIZE];
    return gavel_hset(tx, key, field, gavel__format_int(value, storage));
}

bool gavel_hdel(gavel_tx *tx, gavel_bytes key, gavel_bytes field)
{
    return add_write(tx, GAVEL__WRITE_HDEL, key, (gavel_bytes[2]){field, {NULL, 0}});
}

bool gavel_write(gavel_tx *tx, const gavel_command *command)
{
    if (tx->is_poisoned)
        return false;
    gavel__command resolved;
    char message[GAVEL_MESSAGE_SIZE];
    if (!gavel__command_resolve(command, GAVEL__USE_WRITE, &resolved, message)) {
        gavel__body_poison(tx, GAVEL_INVALID, message);
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
    if (!gavel__writes_add_command(tx->stage->writes, resolved.args, resolved.n_args)) {
        gavel__body_poison_no_memory(tx);
        return false;
    }
    return true;
}
