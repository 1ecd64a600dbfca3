/*
 * What a body reads: from the round's overlay where it says something, else from what was fetched.
 */
#include "core/body.h"

#include "base/number.h"
#include "base/text.h"
#include "core/commands.h"
#include "core/lore.h"
#include "core/overlay.h"

/* ---- What was fetched ---------------------------------------------------------------------- */

/* What was added will be fetched for the next run, if it could be. */
static gavel_found await(gavel_tx *tx, gavel__added added, gavel_bytes subject)
{
    switch (added) {
    case GAVEL__ADDED_NEW:
    case GAVEL__ADDED_KNOWN: /* wished for earlier in this run */
        tx->wants_more = true;
        return GAVEL_NOT_YET;
    case GAVEL__ADDED_TOO_MANY:
        tx->wants_more = false; /* in vain */
        gavel__body_poison_naming(
            tx, GAVEL_INVALID, "reads more than 512 keys; the first one too many is", subject);
        return GAVEL_FAILED;
    case GAVEL__ADDED_OTHER_SLOT:
        tx->wants_more = false;
        if (tx->transaction->why != NULL)
            gavel__body_poison(tx, GAVEL_INVALID, tx->transaction->why);
        else
            gavel__body_poison_no_memory(tx);
        return GAVEL_FAILED;
    case GAVEL__ADDED_NO_MEMORY:
        tx->wants_more = false;
        gavel__body_poison_no_memory(tx);
        return GAVEL_FAILED;
    }
    return GAVEL_FAILED;
}

/* Not fetched: it will be. */
static gavel_found request(gavel_tx *tx, const gavel__command *command)
{
    if (command->n_keys == 0 && !gavel__body_has_place(tx, command->args[0]))
        return GAVEL_FAILED;
    gavel__added added = gavel__transaction_add_read(tx->transaction, command, tx->stage->scratch);
    return await(tx, added, gavel__command_subject(command));
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
        char text[GAVEL__COMMAND_TEXT_SIZE];
        char message[GAVEL_MESSAGE_SIZE];
        gavel__format(message, sizeof(message), "%s: %s",
            gavel__printable(read->reply->text, words, sizeof(words)),
            gavel__command_text(command, text));
        gavel__body_poison(tx, GAVEL_REJECTED, message);
        return GAVEL_FAILED;
    }
    *ret_reply = read->reply;
    return GAVEL_FOUND;
}

/* A write stands in the way that cannot be modelled: the own one is a mistake, another body's makes
 * this one wait for the next round. */
static gavel_found meet_taint(
    gavel_tx *tx, const gavel__command *command, const gavel__write *entry)
{
    if (entry->writer != tx->transaction) {
        tx->is_deferred = true;
        (void)request(tx, command); /* it may not have the key */
        return GAVEL_NOT_YET;
    }
    char read[24];
    char write[24];
    char message[GAVEL_MESSAGE_SIZE];
    gavel__format(message, sizeof(message),
        "read first, then write: what %s finds after %s gavel does not know; key",
        gavel__printable(command->args[0], read, sizeof(read)),
        gavel__printable(gavel__writes_name(tx->stage->writes, entry), write, sizeof(write)));
    gavel__body_poison_naming(tx, GAVEL_INVALID, message, entry->key->node.key);
    return GAVEL_FAILED;
}

/* ---- Values -------------------------------------------------------------------------------- */

/* What is read: by a command, and in the overlay. */
typedef struct question {
    gavel__command command; /* on one key, its first argument */
    gavel__aspect aspect;
    gavel_bytes field; /* of a FIELD */
} question;

/* The arguments are in `storage`. `field` with data NULL: the string at the key. */
static question about_value(gavel_bytes storage[3], gavel_bytes key, gavel_bytes field)
{
    if (field.data == NULL)
        return (question){gavel__command_get(storage, key), GAVEL__ASPECT_STRING, field};
    return (question){gavel__command_hget(storage, key, field), GAVEL__ASPECT_FIELD, field};
}

/* The key as the round's run knows it: claimed for this member, or written by any. NULL: neither.
 */
static gavel__key *known_key(const gavel_tx *tx, gavel_bytes name)
{
    gavel__key *key = gavel__transaction_held_key(tx->transaction, name);
    return key != NULL ? key : gavel__writes_find(tx->stage->writes, name);
}

static gavel__sight look(const gavel_tx *tx, const question *asked)
{
    gavel__key *key = known_key(tx, asked->command.args[1]);
    if (key == NULL || key->last_write == 0) /* mostly */
        return (gavel__sight){.overlay = GAVEL__OVERLAY_BASE};
    return gavel__overlay_look(tx->stage->writes, key, asked->aspect, asked->field);
}

/* Whether nothing can be said: the write that decides is not modelled, or somebody else's that may
 * fail. */
static bool is_unsettled(const gavel_tx *tx, const gavel__sight *sight)
{
    const gavel__write *root = sight->root;
    return sight->overlay == GAVEL__OVERLAY_TAINTED ||
           (root != NULL && root->writer != tx->transaction && !root->is_sure);
}

/* What was read of the string or field. */
static gavel_found read_base_value(gavel_tx *tx, const question *asked, gavel__content *ret_base)
{
    const gavel_reply *reply = NULL;
    gavel_bytes name = asked->command.args[1];
    gavel_found found = read_base(tx, &asked->command, &reply);
    if (asked->aspect == GAVEL__ASPECT_FIELD && (found == GAVEL_FOUND || found == GAVEL_ABSENT)) {
        gavel__key *key = gavel__transaction_held_key(tx->transaction, name);
        if (key != NULL)
            key->is_fetched_as_hash = true;
    }
    if (found != GAVEL_FOUND)
        return found;
    if (reply->type != GAVEL_REPLY_STRING) {
        gavel__body_poison_naming(tx, GAVEL_REJECTED, "the reply is no string; key", name);
        return GAVEL_FAILED;
    }
    *ret_base = (gavel__content){true, reply->text};
    return GAVEL_FOUND;
}

/* What nobody in the round has written. */
static gavel_found read_unwritten(gavel_tx *tx, const question *asked, gavel_bytes *ret_value)
{
    gavel__content content;
    gavel_found found = read_base_value(tx, asked, &content);
    if (found == GAVEL_FOUND)
        *ret_value = content.bytes;
    return found;
}

/* The value that a settled sight shows. */
static gavel_found read_sight(
    gavel_tx *tx, const question *asked, const gavel__sight *sight, gavel_bytes *ret_value)
{
    gavel__content content = {false, {NULL, 0}};
    if (sight->overlay == GAVEL__OVERLAY_BASE) {
        gavel_found found = read_base_value(tx, asked, &content);
        if (found == GAVEL_NOT_YET || found == GAVEL_FAILED)
            return found;
    }
    if (!gavel__overlay_content(sight, &content, tx->stage->arena, &content)) {
        gavel__body_poison_no_memory(tx);
        return GAVEL_FAILED;
    }
    if (!content.is_there)
        return GAVEL_ABSENT;
    *ret_value = content.bytes;
    return GAVEL_FOUND;
}

/* False: the attempt is poisoned, by this question or before. */
static bool is_sound(gavel_tx *tx, const question *asked)
{
    char message[GAVEL_MESSAGE_SIZE];
    if (!tx->is_poisoned && !gavel__command_is_whole(&asked->command, message))
        gavel__body_poison(tx, GAVEL_INVALID, message);
    return !tx->is_poisoned;
}

/* What a SET has left, and nothing behind it. */
static gavel_found read_set(gavel_tx *tx, const gavel__write *set, gavel_bytes *ret_value)
{
    gavel_bytes bytes = gavel__writes_bytes(tx->stage->writes, set->value);
    if (!gavel__arena_copy(tx->stage->arena, bytes, ret_value)) {
        gavel__body_poison_no_memory(tx);
        return GAVEL_FAILED;
    }
    tx->has_seen_others |= set->writer != tx->transaction;
    return GAVEL_FOUND;
}

static gavel_found read_value(gavel_tx *tx, const question *asked, gavel_bytes *ret_value)
{
    *ret_value = (gavel_bytes){NULL, 0};
    if (!is_sound(tx, asked))
        return GAVEL_FAILED;
    const gavel__key *key = known_key(tx, asked->command.args[1]);
    if (key == NULL || key->last_write == 0) /* mostly */
        return read_unwritten(tx, asked, ret_value);
    const gavel__write *set = gavel__overlay_set(tx->stage->writes, key, asked->aspect);
    if (set != NULL)
        return read_set(tx, set, ret_value);
    gavel__sight sight = gavel__overlay_look(tx->stage->writes, key, asked->aspect, asked->field);
    if (is_unsettled(tx, &sight))
        return meet_taint(tx, &asked->command, sight.root);
    gavel_found found = read_sight(tx, asked, &sight, ret_value);
    tx->has_seen_others |= gavel__overlay_is_of_others(&sight, tx->transaction);
    return found;
}

/* Whether the reply to it is there, whatever the overlay says. */
static bool is_fetched(const gavel_tx *tx, const gavel__command *command)
{
    const gavel__read *read = gavel__transaction_find_read(tx->transaction, command);
    return read != NULL && read->reply != NULL;
}

/* Whether others are in the round must not decide what is known: hence what they wrote only counts
 * where this body has read the value, and then as for a read. */
gavel_found gavel__body_foresee(
    gavel_tx *tx, gavel_bytes key, gavel_bytes field, gavel__foresight *ret_foresight)
{
    gavel_bytes storage[3];
    question asked = about_value(storage, key, field);
    gavel__sight sight = look(tx, &asked);
    bool is_own_root = sight.root != NULL && sight.root->writer == tx->transaction;
    if (!is_own_root && !is_fetched(tx, &asked.command))
        return GAVEL_NOT_YET;
    if (is_unsettled(tx, &sight)) {
        tx->is_deferred |= !is_own_root;
        return GAVEL_NOT_YET;
    }
    tx->has_seen_others |= gavel__overlay_is_of_others(&sight, tx->transaction);
    ret_foresight->is_sure = sight.root == NULL || sight.root->is_sure;
    return read_sight(tx, &asked, &sight, &ret_foresight->value);
}

/* The caller has nowhere to put what is read. `key`: data NULL where there is none. */
static gavel_found refuse_output(gavel_tx *tx, const char *call, gavel_bytes key)
{
    char message[GAVEL_MESSAGE_SIZE];
    gavel__format(message, sizeof(message), "%s: the output is NULL%s", call,
        key.data != NULL ? "; key" : "");
    if (key.data != NULL)
        gavel__body_poison_naming(tx, GAVEL_INVALID, message, key);
    else
        gavel__body_poison(tx, GAVEL_INVALID, message);
    return GAVEL_FAILED;
}

gavel_found gavel_get(gavel_tx *tx, gavel_bytes key, gavel_bytes *ret_value)
{
    gavel_bytes storage[3];
    question asked = about_value(storage, key, (gavel_bytes){NULL, 0});
    if (ret_value == NULL)
        return refuse_output(tx, "gavel_get", key);
    return read_value(tx, &asked, ret_value);
}

gavel_found gavel_hget(gavel_tx *tx, gavel_bytes key, gavel_bytes field, gavel_bytes *ret_value)
{
    gavel_bytes storage[3];
    question asked = {gavel__command_hget(storage, key, field), GAVEL__ASPECT_FIELD, field};
    if (ret_value == NULL)
        return refuse_output(tx, "gavel_hget", key);
    return read_value(tx, &asked, ret_value);
}

static gavel_found as_int(
    gavel_tx *tx, gavel_found found, gavel_bytes key, gavel_bytes text, int64_t *ret_value)
{
    *ret_value = 0;
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
    if (ret_value == NULL)
        return refuse_output(tx, "gavel_get_int", key);
    gavel_found found = gavel_get(tx, key, &text);
    return as_int(tx, found, key, text, ret_value);
}

gavel_found gavel_hget_int(gavel_tx *tx, gavel_bytes key, gavel_bytes field, int64_t *ret_value)
{
    gavel_bytes text = {NULL, 0};
    if (ret_value == NULL)
        return refuse_output(tx, "gavel_hget_int", key);
    gavel_found found = gavel_hget(tx, key, field, &text);
    return as_int(tx, found, key, text, ret_value);
}

static gavel_found as_double(
    gavel_tx *tx, gavel_found found, gavel_bytes key, gavel_bytes text, double *ret_value)
{
    *ret_value = 0;
    if (found != GAVEL_FOUND)
        return found;
    if (gavel__parse_double(text, ret_value))
        return GAVEL_FOUND;
    gavel__body_poison_naming(tx, GAVEL_INVALID, "the value is not a number; key", key);
    return GAVEL_FAILED;
}

gavel_found gavel_get_double(gavel_tx *tx, gavel_bytes key, double *ret_value)
{
    gavel_bytes text = {NULL, 0};
    if (ret_value == NULL)
        return refuse_output(tx, "gavel_get_double", key);
    gavel_found found = gavel_get(tx, key, &text);
    return as_double(tx, found, key, text, ret_value);
}

gavel_found gavel_hget_double(gavel_tx *tx, gavel_bytes key, gavel_bytes field, double *ret_value)
{
    gavel_bytes text = {NULL, 0};
    if (ret_value == NULL)
        return refuse_output(tx, "gavel_hget_double", key);
    gavel_found found = gavel_hget(tx, key, field, &text);
    return as_double(tx, found, key, text, ret_value);
}

/* ---- Times to live ------------------------------------------------------------------------- */

static gavel_found read_base_life(gavel_tx *tx, const gavel__command *command, int64_t *ret_life_ms)
{
    const gavel_reply *reply = NULL;
    gavel_found found = read_base(tx, command, &reply);
    if (found != GAVEL_FOUND)
        return found;
    if (reply->type != GAVEL_REPLY_INTEGER) {
        gavel__body_poison_naming(
            tx, GAVEL_REJECTED, "the reply to PTTL is no integer; key", command->args[1]);
        return GAVEL_FAILED;
    }
    *ret_life_ms = reply->integer;
    return GAVEL_FOUND;
}

static gavel_found read_life(gavel_tx *tx, const question *asked, int64_t *ret_life_ms)
{
    gavel__sight sight = look(tx, asked);
    if (is_unsettled(tx, &sight))
        return meet_taint(tx, &asked->command, sight.root);
    int64_t life_ms = GAVEL__LIFE_ABSENT;
    if (sight.overlay == GAVEL__OVERLAY_BASE) {
        gavel_found found = read_base_life(tx, &asked->command, &life_ms);
        if (found == GAVEL_NOT_YET || found == GAVEL_FAILED)
            return found;
    }
    if (!gavel__overlay_life_ms(&sight, life_ms, tx->stage->arena, &life_ms)) {
        gavel__body_poison_no_memory(tx);
        return GAVEL_FAILED;
    }
    tx->has_seen_others |= gavel__overlay_is_of_others(&sight, tx->transaction);
    if (life_ms == GAVEL__LIFE_ABSENT)
        return GAVEL_ABSENT;
    *ret_life_ms = life_ms;
    return GAVEL_FOUND;
}

gavel_found gavel_ttl_ms(gavel_tx *tx, gavel_bytes key, int64_t *ret_ttl_ms)
{
    gavel_bytes storage[3];
    question asked = {
        gavel__command_pttl(storage, key), GAVEL__ASPECT_LIFE, (gavel_bytes){NULL, 0}};
    if (ret_ttl_ms == NULL)
        return refuse_output(tx, "gavel_ttl_ms", key);
    *ret_ttl_ms = 0;
    return is_sound(tx, &asked) ? read_life(tx, &asked, ret_ttl_ms) : GAVEL_FAILED;
}

/* ---- The server's clock -------------------------------------------------------------------- */

/* Seconds, then the microseconds in the current one. */
static bool parse_time(const gavel_reply *reply, int64_t *ret_us)
{
    int64_t seconds = 0;
    int64_t microseconds = 0;
    static const int64_t max_seconds = INT64_MAX / 1000000 - 1;
    bool is_sound = reply->type == GAVEL_REPLY_ARRAY && reply->n_elements == 2 &&
                    gavel__parse_int(reply->elements[0].text, &seconds) &&
                    gavel__parse_int(reply->elements[1].text, &microseconds) && seconds >= 0 &&
                    seconds <= max_seconds && microseconds >= 0 && microseconds < 1000000;
    if (is_sound)
        *ret_us = seconds * 1000000 + microseconds;
    return is_sound;
}

gavel_found gavel_server_time_us(gavel_tx *tx, int64_t *ret_us)
{
    if (ret_us == NULL)
        return refuse_output(tx, "gavel_server_time_us", (gavel_bytes){NULL, 0});
    *ret_us = 0;
    if (tx->is_poisoned)
        return GAVEL_FAILED;
    gavel_bytes name = GAVEL_STR("TIME");
    gavel__command command = {.args = &name, .n_args = 1};
    const gavel_reply *reply = NULL;
    gavel_found found = read_base(tx, &command, &reply);
    if (found == GAVEL_NOT_YET || found == GAVEL_FAILED)
        return found;
    if (found == GAVEL_FOUND && parse_time(reply, ret_us))
        return GAVEL_FOUND;
    gavel__body_poison(tx, GAVEL_REJECTED, "the reply to TIME is no time");
    return GAVEL_FAILED;
}

/* ---- Queries ------------------------------------------------------------------------------- */

/* A query is not modelled at all: any write to one of its keys in this round stands in its way. */
static const gavel__write *write_in_the_way(gavel_tx *tx, const gavel__command *command)
{
    for (size_t i = 0; i < command->n_keys; i++) {
        const gavel__key *key = known_key(tx, gavel__command_key(command, i));
        if (key != NULL && key->last_write > 0)
            return &tx->stage->writes->entries[key->last_write - 1];
    }
    return NULL;
}

/* Who is to be asked what it does: where the keys are that it is said to have. */
static bool find_place(gavel_tx *tx, const gavel_command *command, gavel__command_use use)
{
    char message[GAVEL_MESSAGE_SIZE];
    gavel__command described;
    gavel__purpose purpose = {.use = use};
    if (gavel__command_resolve(command, &purpose, &described, message) != GAVEL__RESOLVED)
        gavel__body_poison(tx, GAVEL_INVALID, message);
    else if (described.n_keys > 0)
        (void)gavel__body_takes_slot(tx, gavel__command_key(&described, 0));
    else
        (void)gavel__body_has_place(tx, command->args[0]);
    return !tx->is_poisoned;
}

/* Takes what the server has said of a command, if it was asked; else it is. */
static gavel_found ask(gavel_tx *tx, const gavel_command *command)
{
    gavel_bytes storage[3];
    gavel__lore *lore = tx->stage->lore;
    gavel__command what = gavel__lore_question(storage, command->args[0]);
    gavel__read *read = gavel__transaction_find_read(tx->transaction, &what);
    if (read == NULL || read->reply == NULL)
        return await(tx,
            gavel__transaction_add_question(tx->transaction, command->args[0], tx->stage->scratch),
            command->args[0]);
    gavel__lore_learn(lore, command->args, command->n_args, read->reply);
    if (lore->is_refused)
        gavel__transaction_drop_questions(tx->transaction);
    else if (gavel__lore_find(lore, command->args, command->n_args) != NULL)
        gavel__transaction_drop_read(tx->transaction, read);
    return GAVEL_FOUND;
}

gavel_found gavel__body_resolve(
    gavel_tx *tx, const gavel_command *command, gavel__command_use use, gavel__command *ret_command)
{
    char message[GAVEL_MESSAGE_SIZE];
    bool is_cluster = tx->transaction->is_in_cluster;
    gavel__purpose purpose = {use, tx->stage->lore, is_cluster};
    gavel__resolution resolution = gavel__command_resolve(command, &purpose, ret_command, message);
    if (resolution == GAVEL__UNASKED) {
        if (is_cluster && !find_place(tx, command, use))
            return GAVEL_FAILED;
        gavel_found found = ask(tx, command);
        if (found != GAVEL_FOUND)
            return found;
        resolution = gavel__command_resolve(command, &purpose, ret_command, message);
    }
    purpose.lore = NULL;
    if (resolution == GAVEL__UNASKED) /* there was no memory for the answer */
        resolution = gavel__command_resolve(command, &purpose, ret_command, message);
    if (resolution == GAVEL__RESOLVED)
        return GAVEL_FOUND;
    gavel__body_poison(tx, GAVEL_INVALID, message);
    return GAVEL_FAILED;
}

gavel_found gavel_query(gavel_tx *tx, const gavel_command *command, const gavel_reply **ret_reply)
{
    if (ret_reply == NULL)
        return refuse_output(tx, "gavel_query", (gavel_bytes){NULL, 0});
    *ret_reply = NULL;
    if (tx->is_poisoned)
        return GAVEL_FAILED;
    gavel__command resolved;
    gavel__command_use use = tx->transaction->is_read_only ? GAVEL__USE_SNAPSHOT : GAVEL__USE_READ;
    gavel_found found = gavel__body_resolve(tx, command, use, &resolved);
    if (found != GAVEL_FOUND)
        return found;
    const gavel__write *entry = write_in_the_way(tx, &resolved);
    if (entry != NULL)
        return meet_taint(tx, &resolved, entry);
    return read_base(tx, &resolved, ret_reply);
}
