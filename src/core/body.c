/*
 * Bodies: reads that see the round's overlay, writes that add to it, and the poison that makes a
 * mistake count once and for all.
 */
#include "core/body.h"

#include "base/text.h"
#include "core/commands.h"
#include "core/guard.h"

#include <string.h>

/* ---- Poison -------------------------------------------------------------------------------- */

/* The first reason stays. */
static void poison(gavel_tx *tx, gavel_status status, const char *message)
{
    if (tx->is_poisoned)
        return;
    tx->is_poisoned = true;
    tx->status = status;
    gavel__format(tx->message, sizeof(tx->message), "%s", message);
}

static void poison_naming(gavel_tx *tx, gavel_status status, const char *what, gavel_bytes name)
{
    char printable[96];
    char message[GAVEL_MESSAGE_SIZE];
    gavel__format(message, sizeof(message), "%s: \"%s\"", what,
        gavel__printable(name, printable, sizeof(printable)));
    poison(tx, status, message);
}

static void poison_no_memory(gavel_tx *tx)
{
    poison(tx, GAVEL_NOT_SENT, "no memory");
}

/* ---- Reading ------------------------------------------------------------------------------- */

/* Not fetched: it will be, for the next run. */
static gavel_found request(gavel_tx *tx, const gavel_command *command)
{
    gavel__added added = gavel__transaction_add_read(tx->transaction, command, tx->stage->scratch);
    switch (added) {
    case GAVEL__ADDED_NEW:
    case GAVEL__ADDED_KNOWN: /* wished for earlier in this run */
        tx->wants_more = true;
        return GAVEL_NOT_YET;
    case GAVEL__ADDED_TOO_MANY:
        tx->wants_more = false; /* in vain */
        poison_naming(tx, GAVEL_INVALID, "reads more than 512 keys; the first one too many is",
            command->args[command->first_key]);
        return GAVEL_FAILED;
    case GAVEL__ADDED_NO_MEMORY:
        tx->wants_more = false;
        poison_no_memory(tx);
        return GAVEL_FAILED;
    }
    return GAVEL_FAILED;
}

/* The fetched reply to a read, whatever the overlay says. */
static gavel_found read_base(
    gavel_tx *tx, const gavel_command *command, const gavel_reply **ret_reply)
{
    gavel__read *read = gavel__transaction_find_read(tx->transaction, command);
    if (read == NULL || read->reply == NULL)
        return request(tx, command);
    if (read->reply->type == GAVEL_REPLY_NIL)
        return GAVEL_ABSENT;
    if (read->reply->type == GAVEL_REPLY_ERROR) {
        char words[96];
        char message[GAVEL_MESSAGE_SIZE];
        gavel__format(message, sizeof(message), "%s; key",
            gavel__printable(read->reply->text, words, sizeof(words)));
        poison_naming(tx, GAVEL_REJECTED, message, command->args[command->first_key]);
        return GAVEL_FAILED;
    }
    *ret_reply = read->reply;
    return GAVEL_FOUND;
}

/* A write stands in the way that cannot be modelled: the own one is a mistake, another body's makes
 * this one wait for the next round. */
static gavel_found meet_taint(gavel_tx *tx, const gavel__write *entry)
{
    if (entry->writer != tx->transaction) {
        tx->is_deferred = true;
        return GAVEL_NOT_YET;
    }
    poison_naming(tx, GAVEL_INVALID,
        "read after this body wrote to it with a command that gavel does not model; key",
        entry->key->node.key);
    return GAVEL_FAILED;
}

/* The value from the overlay, copied: the writes' buffer moves as it grows. */
static gavel_found read_write(
    gavel_tx *tx, gavel__overlay overlay, const gavel__write *entry, gavel_bytes *ret_value)
{
    bool is_own = entry->writer == tx->transaction;
    if (overlay == GAVEL__OVERLAY_TAINTED || (!is_own && !entry->is_sure))
        return meet_taint(tx, entry);
    if (!is_own)
        tx->has_seen_others = true;
    if (overlay == GAVEL__OVERLAY_ABSENT)
        return GAVEL_ABSENT;
    gavel_bytes value = gavel__writes_bytes(tx->stage->writes, entry->value);
    if (!gavel__arena_copy(tx->stage->arena, value, ret_value)) {
        poison_no_memory(tx);
        return GAVEL_FAILED;
    }
    return GAVEL_FOUND;
}

static gavel_found read_value(
    gavel_tx *tx, const gavel_command *command, gavel_bytes field, gavel_bytes *ret_value)
{
    if (tx->is_poisoned)
        return GAVEL_FAILED;
    gavel__key *key = gavel__transaction_held_key(tx->transaction, command->args[1]);
    const gavel__write *entry = NULL;
    gavel__overlay overlay = GAVEL__OVERLAY_BASE;
    if (key != NULL)
        overlay = gavel__writes_look_up(tx->stage->writes, key, field, &entry);
    if (overlay != GAVEL__OVERLAY_BASE)
        return read_write(tx, overlay, entry, ret_value);

    const gavel_reply *reply = NULL;
    gavel_found found = read_base(tx, command, &reply);
    if (key != NULL && field.data != NULL && (found == GAVEL_FOUND || found == GAVEL_ABSENT))
        key->is_fetched_as_hash = true;
    if (found != GAVEL_FOUND)
        return found;
    if (reply->type != GAVEL_REPLY_STRING) {
        poison_naming(tx, GAVEL_REJECTED, "the reply is no string; key", command->args[1]);
        return GAVEL_FAILED;
    }
    *ret_value = reply->text;
    return GAVEL_FOUND;
}

gavel_found gavel_get(gavel_tx *tx, gavel_bytes key, gavel_bytes *ret_value)
{
    gavel_bytes storage[3];
    gavel_command command = gavel__command_get(storage, key);
    return read_value(tx, &command, (gavel_bytes){NULL, 0}, ret_value);
}

gavel_found gavel_hget(gavel_tx *tx, gavel_bytes key, gavel_bytes field, gavel_bytes *ret_value)
{
    gavel_bytes storage[3];
    if (field.data == NULL)
        field = GAVEL_STR("");
    gavel_command command = gavel__command_hget(storage, key, field);
    return read_value(tx, &command, field, ret_value);
}

static gavel_found as_int(
    gavel_tx *tx, gavel_found found, gavel_bytes key, gavel_bytes text, int64_t *ret_value)
{
    if (found != GAVEL_FOUND)
        return found;
    if (gavel__parse_int(text, ret_value))
        return GAVEL_FOUND;
    poison_naming(tx, GAVEL_INVALID, "the value is not a 64-bit integer; key", key);
    return GAVEL_FAILED;
}

gavel_found gavel_get_int(gavel_tx *tx, gavel_bytes key, int64_t *ret_value)
{
    gavel_bytes text = {NULL, 0};
    gavel_found found = gavel_get(tx, key, &text);
    return as_int(tx, found, key, text, ret_value);
}

gavel_found gavel_hget_int(gavel_tx *tx, gavel_bytes key, gavel_bytes field, int64_t *ret_value)
{
    gavel_bytes text = {NULL, 0};
    gavel_found found = gavel_hget(tx, key, field, &text);
    return as_int(tx, found, key, text, ret_value);
}

/* A query is not modelled at all: any write to one of its keys in this round stands in its way. */
static const gavel__write *write_in_the_way(gavel_tx *tx, const gavel_command *command)
{
    for (size_t i = 0; i < command->n_keys; i++) {
        const gavel__key *key =
            gavel__transaction_held_key(tx->transaction, command->args[command->first_key + i]);
        if (key != NULL && key->last_write > 0)
            return &tx->stage->writes->entries[key->last_write - 1];
    }
    return NULL;
}

gavel_found gavel_query(gavel_tx *tx, const gavel_command *command, const gavel_reply **ret_reply)
{
    if (tx->is_poisoned)
        return GAVEL_FAILED;
    gavel_command resolved;
    if (!gavel__command_resolve(command, &resolved)) {
        poison(tx, GAVEL_INVALID, "gavel_query: the command has too few arguments for its keys");
        return GAVEL_FAILED;
    }
    if (gavel__command_is_control(resolved.args[0])) {
        poison_naming(tx, GAVEL_INVALID, "not a command for a body", resolved.args[0]);
        return GAVEL_FAILED;
    }
    const gavel__write *entry = write_in_the_way(tx, &resolved);
    if (entry != NULL)
        return meet_taint(tx, entry);
    return read_base(tx, &resolved, ret_reply);
}

/* ---- Writing ------------------------------------------------------------------------------- */

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
        poison_naming(tx, GAVEL_INVALID, "a write in a read-only transaction; key", name);
    else if (is_id_key || !gavel__transaction_has_key(transaction, name))
        poison_naming(tx, GAVEL_INVALID, "a write to a key that was not declared", name);
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
        poison_no_memory(tx);
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
    gavel_command resolved;
    if (!gavel__command_resolve(command, &resolved)) {
        poison(tx, GAVEL_INVALID, "gavel_write: the command has too few arguments for its keys");
        return false;
    }
    if (gavel__command_is_control(resolved.args[0])) {
        poison_naming(tx, GAVEL_INVALID, "not a command for a body", resolved.args[0]);
        return false;
    }
    for (size_t i = 0; i < resolved.n_keys; i++) {
        gavel__key *key = key_to_write(tx, resolved.args[resolved.first_key + i]);
        if (key == NULL)
            return !tx->is_poisoned;
        if (!gavel__writes_taint(tx->stage->writes, key, tx->transaction)) {
            poison_no_memory(tx);
            return false;
        }
    }
    if (!gavel__writes_add_command(tx->stage->writes, resolved.args, resolved.n_args)) {
        poison_no_memory(tx);
        return false;
    }
    return true;
}

/* ---- Deciding ------------------------------------------------------------------------------ */

gavel_verdict gavel_abort(gavel_tx *tx, int code)
{
    tx->abort_code = code;
    return GAVEL_ABORT;
}

bool gavel_set_result(gavel_tx *tx, gavel_bytes result)
{
    if (tx->is_poisoned)
        return false;
    if (result.size > GAVEL_RESULT_MAX) {
        poison(tx, GAVEL_INVALID, "gavel_set_result: a result has at most 128 bytes");
        return false;
    }
    gavel_outcome *outcome = &tx->transaction->outcome;
    if (result.size > 0)
        memcpy(outcome->result, result.data, result.size);
    outcome->result_size = result.size;
    return true;
}

uint32_t gavel_attempt(const gavel_tx *tx)
{
    return tx->transaction->outcome.n_attempts;
}

static gavel__fate judge(gavel_tx *tx, gavel_verdict verdict)
{
    /* First what was missing: a body that went on without it may have made any mistake since. */
    if (tx->is_deferred)
        return GAVEL__FATE_DEFER;
    if (tx->wants_more)
        return GAVEL__FATE_AGAIN;
    if (tx->is_poisoned)
        return GAVEL__FATE_POISONED;
    switch (verdict) {
    case GAVEL_COMMIT:
        return GAVEL__FATE_COMMIT;
    case GAVEL_ABORT:
        return GAVEL__FATE_ABORT;
    case GAVEL_RETRY:
        return GAVEL__FATE_RETRY;
    case GAVEL_AGAIN:
        poison(tx, GAVEL_INVALID, "the body returned GAVEL_AGAIN, but all that it read was there");
        return GAVEL__FATE_POISONED;
    }
    char message[GAVEL_MESSAGE_SIZE];
    gavel__format(
        message, sizeof(message), "the body returned %d, which is no verdict", (int)verdict);
    poison(tx, GAVEL_INVALID, message);
    return GAVEL__FATE_POISONED;
}

gavel__fate gavel__body_run(
    const gavel__stage *stage, gavel__transaction *transaction, gavel_tx *tx)
{
    *tx = (gavel_tx){.stage = stage, .transaction = transaction};
    transaction->next_read = 0;
    transaction->outcome.result_size = 0;
    gavel__guard_enter();
    gavel_verdict verdict = transaction->body(tx, transaction->user);
    gavel__guard_leave();
    return judge(tx, verdict);
}
