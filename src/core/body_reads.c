/*
 * What a body reads: from the round's overlay where it says something, else from what was fetched.
 */
#include "core/body.h"

#include "base/text.h"
#include "core/commands.h"

/* Not fetched: it will be, for the next run. */
static gavel_found request(gavel_tx *tx, const gavel__command *command)
{
    gavel__added added = gavel__transaction_add_read(tx->transaction, command, tx->stage->scratch);
    switch (added) {
    case GAVEL__ADDED_NEW:
    case GAVEL__ADDED_KNOWN: /* wished for earlier in this run */
        tx->wants_more = true;
        return GAVEL_NOT_YET;
    case GAVEL__ADDED_TOO_MANY:
        tx->wants_more = false; /* in vain */
        gavel__body_poison_naming(tx, GAVEL_INVALID,
            "reads more than 512 keys; the first one too many is", gavel__command_subject(command));
        return GAVEL_FAILED;
    case GAVEL__ADDED_NO_MEMORY:
        tx->wants_more = false;
        gavel__body_poison_no_memory(tx);
        return GAVEL_FAILED;
    }
    return GAVEL_FAILED;
}

/* The fetched reply to a read, whatever the overlay says. */
static gavel_found read_base(
    gavel_tx *tx, const gavel__command *command, const gavel_reply **ret_reply)
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
        gavel__body_poison_naming(tx, GAVEL_REJECTED, message, gavel__command_subject(command));
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
    gavel__body_poison_naming(tx, GAVEL_INVALID,
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
        gavel__body_poison_no_memory(tx);
        return GAVEL_FAILED;
    }
    return GAVEL_FOUND;
}

static gavel_found read_value(
    gavel_tx *tx, const gavel__command *command, gavel_bytes field, gavel_bytes *ret_value)
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
        gavel__body_poison_naming(
            tx, GAVEL_REJECTED, "the reply is no string; key", command->args[1]);
        return GAVEL_FAILED;
    }
    *ret_value = reply->text;
    return GAVEL_FOUND;
}

gavel_found gavel_get(gavel_tx *tx, gavel_bytes key, gavel_bytes *ret_value)
{
    gavel_bytes storage[3];
    gavel__command command = gavel__command_get(storage, key);
    return read_value(tx, &command, (gavel_bytes){NULL, 0}, ret_value);
}

gavel_found gavel_hget(gavel_tx *tx, gavel_bytes key, gavel_bytes field, gavel_bytes *ret_value)
{
    gavel_bytes storage[3];
    if (field.data == NULL)
        field = GAVEL_STR("");
    gavel__command command = gavel__command_hget(storage, key, field);
    return read_value(tx, &command, field, ret_value);
}

static gavel_found as_int(
    gavel_tx *tx, gavel_found found, gavel_bytes key, gavel_bytes text, int64_t *ret_value)
{
    if (found != GAVEL_FOUND)
        return found;
    if (gavel__parse_int(text, ret_value))
        return GAVEL_FOUND;
    gavel__body_poison_naming(tx, GAVEL_INVALID, "the value is not a 64-bit integer; key", key);
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
static const gavel__write *write_in_the_way(gavel_tx *tx, const gavel__command *command)
{
    for (size_t i = 0; i < command->n_keys; i++) {
        const gavel__key *key =
            gavel__transaction_held_key(tx->transaction, gavel__command_key(command, i));
        if (key != NULL && key->last_write > 0)
            return &tx->stage->writes->entries[key->last_write - 1];
    }
    return NULL;
}

gavel_found gavel_query(gavel_tx *tx, const gavel_command *command, const gavel_reply **ret_reply)
{
    if (tx->is_poisoned)
        return GAVEL_FAILED;
    gavel__command resolved;
    char message[GAVEL_MESSAGE_SIZE];
    if (!gavel__command_resolve(command, GAVEL__USE_READ, &resolved, message)) {
        gavel__body_poison(tx, GAVEL_INVALID, message);
        return GAVEL_FAILED;
    }
    const gavel__write *entry = write_in_the_way(tx, &resolved);
    if (entry != NULL)
        return meet_taint(tx, entry);
    return read_base(tx, &resolved, ret_reply);
}
