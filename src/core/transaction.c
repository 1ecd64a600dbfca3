/*
 * Transactions: taking over a request, its keys and its reads. Used by the engine, rounds and
 * bodies; decides nothing about when anything runs.
 */
#include "core/transaction.h"

#include "base/resp.h"
#include "base/text.h"
#include "core/lore.h"
#include "core/names.h"
#include "core/outcome.h"

#include <assert.h>
#include <string.h>

static const uint32_t default_max_conflicts = 10000;

/* ---- Keys and reads ------------------------------------------------------------------------ */

/* Room for one more element of `size` bytes in an array of the arena; NULL: no memory. */
static void *with_room(
    gavel__arena *arena, void *elements, size_t n_elements, size_t *capacity, size_t size)
{
    if (n_elements < *capacity)
        return elements;
    size_t larger = *capacity == 0 ? 4 : *capacity * 2;
    void *memory = gavel__arena_take(arena, larger, size);
    if (memory == NULL)
        return NULL;
    if (n_elements > 0)
        memcpy(memory, elements, n_elements * size);
    *capacity = larger;
    return memory;
}

/* Its place among the keys, or n_keys. */
static size_t find_key(const gavel__transaction *transaction, gavel_bytes key)
{
    size_t i = 0;
    while (i < transaction->n_keys && !gavel__bytes_equal(transaction->keys[i], key))
        i++;
    return i;
}

bool gavel__transaction_has_key(const gavel__transaction *transaction, gavel_bytes key)
{
    return find_key(transaction, key) < transaction->n_keys;
}

gavel__key *gavel__transaction_held_key(const gavel__transaction *transaction, gavel_bytes key)
{
    size_t i = find_key(transaction, key);
    return i < transaction->n_keys ? transaction->holds[i].key : NULL;
}

void gavel__transaction_tell_slots(
    gavel_bytes key, gavel_bytes other, char ret_message[GAVEL_MESSAGE_SIZE])
{
    char names[2][40];
    gavel__format(ret_message, GAVEL_MESSAGE_SIZE,
        "keys \"%s\" and \"%s\" are in slots %u and %u; a transaction has one slot: "
        "give them a common {tag}",
        gavel__printable(key, names[0], sizeof(names[0])),
        gavel__printable(other, names[1], sizeof(names[1])), (unsigned)gavel__slot_of(key),
        (unsigned)gavel__slot_of(other));
}

const char gavel__transaction_no_place[] =
    "declare a key: without one nobody knows to which of the Cluster's servers this is to go";

/* Whether the key lies where the others do. The first one says where. */
static bool is_in_slot(gavel__transaction *transaction, gavel_bytes key)
{
    if (!transaction->is_in_cluster)
        return true;
    uint16_t slot = gavel__slot_of(key);
    if (!transaction->is_slot_sure)
        transaction->slot = slot;
    transaction->is_slot_sure = true;
    if (transaction->slot == slot)
        return true;
    char message[GAVEL_MESSAGE_SIZE];
    gavel__transaction_tell_slots(transaction->keys[0], key, message);
    gavel__transaction_note(transaction, &transaction->why, message);
    return false;
}

/* A key to be watched, whose bytes are in the arena already, unless it is known. */
static gavel__added add_own_key(gavel__transaction *transaction, gavel_bytes key)
{
    if (gavel__transaction_has_key(transaction, key))
        return GAVEL__ADDED_KNOWN;
    /* What moves to a larger array must not stand in lines. */
    assert(transaction->n_keys == 0 || !gavel__line_has(&transaction->holds[0].node));
    if (transaction->n_keys == GAVEL_MAX_KEYS)
        return GAVEL__ADDED_TOO_MANY;
    if (!is_in_slot(transaction, key))
        return GAVEL__ADDED_OTHER_SLOT;
    size_t capacity = transaction->keys_capacity;
    gavel_bytes *keys = with_room(
        &transaction->arena, transaction->keys, transaction->n_keys, &capacity, sizeof(*keys));
    gavel__hold *holds = with_room(&transaction->arena, transaction->holds, transaction->n_keys,
        &transaction->keys_capacity, sizeof(*holds));
    if (keys == NULL || holds == NULL) {
        transaction->keys_capacity = transaction->n_keys;
        return GAVEL__ADDED_NO_MEMORY;
    }
    transaction->keys = keys;
    transaction->holds = holds;
    holds[transaction->n_keys] = (gavel__hold){.transaction = transaction};
    keys[transaction->n_keys++] = key;
    return GAVEL__ADDED_NEW;
}

static gavel__added add_key(gavel__transaction *transaction, gavel_bytes key)
{
    gavel_bytes own;
    if (!gavel__arena_copy(&transaction->arena, key, &own))
        return GAVEL__ADDED_NO_MEMORY;
    return add_own_key(transaction, own);
}

static bool has_same_keys(const gavel__command *a, const gavel__command *b)
{
    return a->n_keys == b->n_keys && a->first_key == b->first_key && a->key_step == b->key_step &&
           a->other_key == b->other_key;
}

static bool is_same_command(const gavel__command *a, const gavel__command *b)
{
    if (a->n_args != b->n_args || !has_same_keys(a, b))
        return false;
    /* From the end: the names are mostly the same. */
    for (size_t i = a->n_args; i-- > 0;) {
        if (!gavel__bytes_equal(a->args[i], b->args[i]))
            return false;
    }
    return true;
}

gavel__read *gavel__transaction_find_read(
    gavel__transaction *transaction, const gavel__command *command)
{
    for (size_t n = 0; n < transaction->n_reads; n++) {
        size_t i = transaction->next_read;
        transaction->next_read = i + 1 < transaction->n_reads ? i + 1 : 0;
        if (is_same_command(&transaction->reads[i].command, command))
            return &transaction->reads[i];
    }
    return NULL;
}

/* The command becomes the transaction's own: encoded, as it is sent, and its arguments in there. */
static bool copy_command(gavel__transaction *transaction, const gavel__command *command,
    gavel__buffer *scratch, gavel__read *ret_read)
{
    gavel__arena *arena = &transaction->arena;
    gavel__buffer_clear(scratch);
    gavel__resp_command(scratch, command->args, command->n_args);
    gavel_bytes *args = gavel__arena_take(arena, command->n_args, sizeof(*args));
    if (args == NULL || scratch->has_failed ||
        !gavel__arena_copy(arena, (gavel_bytes){scratch->data, scratch->size}, &ret_read->encoded))
        return false;
    gavel__resp_args_in(ret_read->encoded, command->args, command->n_args, args);
    ret_read->command = *command;
    ret_read->command.args = args;
    return true;
}

/* A replica takes SORT for a write, whatever it is asked to do. */
static bool is_for_primaries(const gavel__command *command)
{
    const gavel__known *known = gavel__known_find(command->args, command->n_args);
    return known != NULL && (known->does & GAVEL__KNOWN_WRITES) != 0;
}

gavel__added gavel__transaction_add_read(
    gavel__transaction *transaction, const gavel__command *command, gavel__buffer *scratch)
{
    if (gavel__transaction_find_read(transaction, command) != NULL)
        return GAVEL__ADDED_KNOWN;
    gavel__read *reads = with_room(&transaction->arena, transaction->reads, transaction->n_reads,
        &transaction->reads_capacity, sizeof(*reads));
    if (reads == NULL)
        return GAVEL__ADDED_NO_MEMORY;
    transaction->reads = reads;
    gavel__read read = {.reply = NULL};
    if (!copy_command(transaction, command, scratch, &read))
        return GAVEL__ADDED_NO_MEMORY;
    for (size_t i = 0; i < command->n_keys; i++) {
        gavel__added added = add_own_key(transaction, gavel__command_key(&read.command, i));
        if (added != GAVEL__ADDED_NEW && added != GAVEL__ADDED_KNOWN)
            return added;
    }
    reads[transaction->n_reads++] = read;
    if (transaction->is_stale_ok && is_for_primaries(&read.command))
        transaction->needs_primary = true;
    return GAVEL__ADDED_NEW;
}

gavel__added gavel__transaction_add_question(
    gavel__transaction *transaction, gavel_bytes name, gavel__buffer *scratch)
{
    gavel_bytes storage[3];
    gavel__command question = gavel__lore_question(storage, name);
    gavel__added added = gavel__transaction_add_read(transaction, &question, scratch);
    gavel__read *read = gavel__transaction_find_read(transaction, &question);
    if (read != NULL)
        read->is_question = true;
    return added;
}

void gavel__transaction_drop_read(gavel__transaction *transaction, gavel__read *read)
{
    size_t place = (size_t)(read - transaction->reads);
    assert(place < transaction->n_reads);
    transaction->n_reads--;
    memmove(read, read + 1, (transaction->n_reads - place) * sizeof(*read));
    transaction->next_read = 0;
}

void gavel__transaction_drop_questions(gavel__transaction *transaction)
{
    for (size_t i = transaction->n_reads; i-- > 0;) {
        if (transaction->reads[i].is_question)
            gavel__transaction_drop_read(transaction, &transaction->reads[i]);
    }
}

void gavel__transaction_drop_unknown(gavel__transaction *transaction)
{
    for (size_t i = transaction->n_reads; i-- > 0;) {
        gavel__read *read = &transaction->reads[i];
        if (gavel__known_find(read->command.args, read->command.n_args) == NULL)
            gavel__transaction_drop_read(transaction, read);
    }
}

/* ---- Taking over a request ----------------------------------------------------------------- */

static bool refuse(gavel__transaction *transaction, const char *message)
{
    gavel__transaction_settle(transaction, GAVEL_INVALID, message);
    return false;
}

static bool refuse_naming(gavel__transaction *transaction, const char *format, gavel_bytes name)
{
    char printable[96];
    char message[GAVEL_MESSAGE_SIZE];
    gavel__format(message, sizeof(message), "%s: \"%s\"", format,
        gavel__printable(name, printable, sizeof(printable)));
    return refuse(transaction, message);
}

static bool refuse_count(
    gavel__transaction *transaction, const char *array, const char *count, size_t n)
{
    char message[GAVEL_MESSAGE_SIZE];
    if (n > 0)
        gavel__format(message, sizeof(message), "%s is %zu, but %s is NULL", count, n, array);
    else
        gavel__format(message, sizeof(message), "%s is set, but %s is 0", array, count);
    return refuse(transaction, message);
}

static bool accept(gavel__transaction *transaction, gavel__added added, gavel_bytes key)
{
    switch (added) {
    case GAVEL__ADDED_NEW:
        return true;
    case GAVEL__ADDED_KNOWN:
        return refuse_naming(transaction, "declared twice", key);
    case GAVEL__ADDED_TOO_MANY:
        return refuse_naming(transaction, "more than 512 keys; the first one too many is", key);
    case GAVEL__ADDED_OTHER_SLOT:
        if (transaction->why != NULL)
            return refuse(transaction, transaction->why);
        gavel__transaction_settle(transaction, GAVEL_NOT_SENT, "no memory");
        return false;
    case GAVEL__ADDED_NO_MEMORY:
        gavel__transaction_settle(transaction, GAVEL_NOT_SENT, "no memory");
        return false;
    }
    return false;
}

/* Room for what is declared, and no more. */
static bool make_room(gavel__transaction *transaction, const gavel_transaction *request)
{
    gavel__arena *arena = &transaction->arena;
    size_t n_reads = request->n_reads < GAVEL_MAX_KEYS ? request->n_reads : GAVEL_MAX_KEYS;
    n_reads += request->id.data != NULL;
    size_t n_keys = request->n_keys + n_reads;
    transaction->keys = gavel__arena_take(arena, n_keys, sizeof(*transaction->keys));
    transaction->holds = gavel__arena_take(arena, n_keys, sizeof(*transaction->holds));
    transaction->reads = gavel__arena_take(arena, n_reads, sizeof(*transaction->reads));
    bool has_room =
        transaction->keys != NULL && transaction->holds != NULL && transaction->reads != NULL;
    transaction->keys_capacity = has_room ? n_keys : 0;
    transaction->reads_capacity = has_room ? n_reads : 0;
    return has_room || accept(transaction, GAVEL__ADDED_NO_MEMORY, request->id);
}

static bool add_keys(gavel__transaction *transaction, const gavel_transaction *request)
{
    for (size_t i = 0; i < request->n_keys; i++) {
        if (request->keys[i].data == NULL)
            return refuse(transaction, "a declared key is NULL");
        gavel__added added = add_key(transaction, request->keys[i]);
        if (!accept(transaction, added, request->keys[i]))
            return false;
    }
    return true;
}

/* Nobody would look at the key then. */
static bool refuse_both(
    gavel__transaction *transaction, const gavel_read *read, const gavel__command *command)
{
    bool has_key = read->key.data != NULL;
    char text[GAVEL__COMMAND_TEXT_SIZE];
    char printable[40];
    char message[GAVEL_MESSAGE_SIZE];
    gavel__format(message, sizeof(message), "a read has a command, %s, and a %s, \"%s\", as well",
        gavel__command_text(command, text), has_key ? "key" : "field",
        gavel__printable(has_key ? read->key : read->field, printable, sizeof(printable)));
    return refuse(transaction, message);
}

/* The string at a key, or a field. */
static bool add_value_read(
    gavel__transaction *transaction, const gavel_read *read, gavel__buffer *scratch)
{
    gavel_bytes storage[3];
    gavel__command command = read->field.data != NULL
                                 ? gavel__command_hget(storage, read->key, read->field)
                                 : gavel__command_get(storage, read->key);
    char message[GAVEL_MESSAGE_SIZE];
    if (!gavel__command_is_whole(&command, message))
        return refuse(transaction, message);
    gavel__added added = gavel__transaction_add_read(transaction, &command, scratch);
    return accept(transaction, added, gavel__command_subject(&command));
}

/* The server is to be asked first what it does: it is read when the body wants it. Its keys are
 * watched all the same, as those of any declared read. */
static bool add_unasked(
    gavel__transaction *transaction, const gavel__command *described, gavel__buffer *scratch)
{
    for (size_t i = 0; i < described->n_keys; i++) {
        gavel_bytes key = gavel__command_key(described, i);
        gavel__added added = add_key(transaction, key);
        if (added != GAVEL__ADDED_KNOWN && !accept(transaction, added, key))
            return false;
    }
    gavel__added added = gavel__transaction_add_question(transaction, described->args[0], scratch);
    return added == GAVEL__ADDED_KNOWN || accept(transaction, added, described->args[0]);
}

static bool add_command_read(gavel__transaction *transaction, const gavel_read *read,
    const gavel__limits *limits, gavel__buffer *scratch)
{
    gavel__command command;
    char message[GAVEL_MESSAGE_SIZE];
    gavel__purpose purpose = {transaction->is_read_only ? GAVEL__USE_SNAPSHOT : GAVEL__USE_READ,
        limits->lore, limits->is_cluster};
    gavel__resolution resolution =
        gavel__command_resolve(read->command, &purpose, &command, message);
    bool is_unasked = resolution == GAVEL__UNASKED;
    purpose.lore = NULL;
    if (is_unasked)
        resolution = gavel__command_resolve(read->command, &purpose, &command, message);
    if (resolution != GAVEL__RESOLVED)
        return refuse(transaction, message);
    if (read->key.data != NULL || read->field.data != NULL)
        return refuse_both(transaction, read, &command);
    if (is_unasked)
        return add_unasked(transaction, &command, scratch);
    gavel__added added = gavel__transaction_add_read(transaction, &command, scratch);
    return accept(transaction, added, gavel__command_subject(&command));
}

static bool add_declared_read(gavel__transaction *transaction, const gavel_read *read,
    const gavel__limits *limits, gavel__buffer *scratch)
{
    if (!GAVEL__HAS_CLEAN_ROOM(read))
        return refuse(transaction, "a read's " GAVEL__UNCLEAN_ROOM);
    return read->command != NULL ? add_command_read(transaction, read, limits, scratch)
                                 : add_value_read(transaction, read, scratch);
}

/* Whether all that is declared can be asked of somebody. */
static bool has_place(gavel__transaction *transaction)
{
    if (!transaction->is_in_cluster || transaction->is_slot_sure || transaction->n_reads == 0)
        return true;
    return refuse_naming(
        transaction, gavel__transaction_no_place, transaction->reads[0].command.args[0]);
}

/* After nothing but the id: whatever else they ask for, all who bear it meet there; in a Cluster
 * all whose keys are in one slot. False: no memory. */
static bool name_id(gavel__transaction *transaction, gavel_bytes id, gavel_bytes key_prefix)
{
    char *storage = gavel__arena_alloc(&transaction->arena, id.size + GAVEL__NAME_ROOM, 1);
    if (storage == NULL)
        return false;
    transaction->id_key = gavel__name_of_id(key_prefix, id, transaction->slot, storage);
    return true;
}

static bool add_id(gavel__transaction *transaction, const gavel_transaction *request,
    const gavel__limits *limits, gavel__buffer *scratch)
{
    if (request->id.data == NULL && request->digest.data != NULL)
        return refuse(transaction, "a digest, but no id that it belongs to");
    if (request->id.data == NULL)
        return true;
    if (request->id.size == 0 || request->id.size > GAVEL_ID_MAX)
        return refuse(transaction, "an id has 1 to 256 bytes");
    if (request->digest.size > GAVEL_DIGEST_MAX)
        return refuse(transaction, "a digest has at most 64 bytes");
    if (transaction->is_read_only)
        return refuse(transaction, "a read-only transaction has nothing to keep under an id");
    if (transaction->is_in_cluster && !transaction->is_slot_sure)
        return refuse(
            transaction, "in a Cluster an id needs a declared key: its record lies there");
    if (!name_id(transaction, request->id, limits->key_prefix) ||
        (request->digest.data != NULL &&
            !gavel__arena_copy(&transaction->arena, request->digest, &transaction->digest)))
        return accept(transaction, GAVEL__ADDED_NO_MEMORY, request->id);
    gavel_bytes storage[3];
    gavel__command command = gavel__command_get(storage, transaction->id_key);
    return accept(transaction, gavel__transaction_add_read(transaction, &command, scratch),
        transaction->id_key);
}

static bool check(
    gavel__transaction *transaction, const gavel_transaction *request, const gavel__limits *limits)
{
    if (!GAVEL__HAS_CLEAN_ROOM(request))
        return refuse(transaction, "the transaction's " GAVEL__UNCLEAN_ROOM);
    if (request->body == NULL)
        return refuse(transaction, "the transaction has no body");
    if ((request->keys == NULL) != (request->n_keys == 0))
        return refuse_count(transaction, "keys", "n_keys", request->n_keys);
    if ((request->reads == NULL) != (request->n_reads == 0))
        return refuse_count(transaction, "reads", "n_reads", request->n_reads);
    if (request->n_keys > GAVEL_MAX_KEYS)
        return refuse_naming(transaction, "more than 512 keys; the first one too many is",
            request->keys[GAVEL_MAX_KEYS]);
    if (request->is_stale_ok && !request->is_read_only)
        return refuse(transaction, "is_stale_ok is for transactions that are is_read_only");
    if (request->max_stale_ms > 0 && !request->is_stale_ok)
        return refuse(transaction, "max_stale_ms is set, but is_stale_ok is not");
    if (request->min_replicas > GAVEL_MAX_REPLICAS && request->min_replicas < GAVEL_NO_REPLICAS)
        return refuse(transaction, "min_replicas is more than 16, and not GAVEL_ALL_REPLICAS");
    if (gavel__transaction_has_wish(transaction) && limits->max_deadline_us == 0)
        return refuse(transaction, transaction->min_replicas > 0
                                       ? "min_replicas needs markers, and has_no_markers is set"
                                       : "needs_fsync needs markers, and has_no_markers is set");
    if (limits->max_deadline_us > 0 &&
        transaction->deadline_us - transaction->started_us > limits->max_deadline_us)
        return refuse(transaction, "deadline_ms is longer than half of marker_ttl_ms");
    return true;
}

static uint32_t n_replicas_wished(const gavel_transaction *request, const gavel__limits *limits)
{
    if (request->is_read_only || request->min_replicas == GAVEL_NO_REPLICAS)
        return 0;
    return request->min_replicas > 0 ? request->min_replicas : limits->min_replicas;
}

bool gavel__transaction_begin(gavel__transaction *transaction, const gavel_transaction *request,
    const gavel__limits *limits, gavel__buffer *scratch)
{
    if (request == NULL)
        return refuse(transaction, "no transaction (NULL)");
    uint32_t deadline_ms =
        request->deadline_ms > 0 ? request->deadline_ms : limits->default_deadline_ms;
    transaction->body = request->body;
    transaction->user = request->user;
    transaction->deadline_us = transaction->started_us + (int64_t)deadline_ms * 1000;
    transaction->max_attempts = request->max_attempts > 0 ? request->max_attempts : UINT32_MAX;
    transaction->max_conflicts =
        request->max_conflicts > 0 ? request->max_conflicts : default_max_conflicts;
    transaction->max_faults = request->max_faults > 0 ? request->max_faults : UINT32_MAX;
    transaction->min_replicas = n_replicas_wished(request, limits);
    transaction->needs_fsync =
        (request->needs_fsync || limits->needs_fsync) && !request->is_read_only;
    transaction->durable_ms = request->durable_ms > 0 ? request->durable_ms : limits->durable_ms;
    transaction->is_in_cluster = limits->is_cluster;
    transaction->slot = GAVEL__NO_SLOT;
    transaction->guest_at = GAVEL__NO_NODE;
    transaction->is_read_only = request->is_read_only;
    transaction->is_stale_ok = request->is_stale_ok;
    transaction->max_stale_ms = request->max_stale_ms;
    transaction->is_alone = request->is_solo;
    transaction->keep_replies = request->keep_replies;
    if (!check(transaction, request, limits) || !make_room(transaction, request) ||
        !add_keys(transaction, request))
        return false;
    for (size_t i = 0; i < request->n_reads; i++) {
        if (!add_declared_read(transaction, &request->reads[i], limits, scratch))
            return false;
    }
    return has_place(transaction) && add_id(transaction, request, limits, scratch);
}

void gavel__transaction_note(gavel__transaction *transaction, char **note, const char *message)
{
    if (*note == NULL)
        *note = gavel__arena_alloc(&transaction->arena, GAVEL_MESSAGE_SIZE, 1);
    if (*note != NULL)
        gavel__format(*note, GAVEL_MESSAGE_SIZE, "%s", message);
}

void gavel__transaction_reset(gavel__transaction *transaction)
{
    gavel__arena arena = transaction->arena;
    gavel_ticket ticket = transaction->ticket;
    gavel__arena_reset(&arena);
    *transaction = (gavel__transaction){.arena = arena, .ticket = ticket};
    gavel__list_init(&transaction->node);
}

/* ---- States and outcomes -------------------------------------------------------------------- */

/* The arrows of the drawing in the header: a bit for each state that may follow. */
static unsigned followers(gavel__tx_state state)
{
    static const unsigned ready = 1U << GAVEL__TX_READY;
    static const unsigned parked = 1U << GAVEL__TX_PARKED;
    static const unsigned paused = 1U << GAVEL__TX_PAUSED;
    static const unsigned reading = 1U << GAVEL__TX_READING;
    static const unsigned ended = 1U << GAVEL__TX_ENDED;
    static const unsigned replicating = 1U << GAVEL__TX_REPLICATING;
    switch (state) {
    case GAVEL__TX_READY:
        return parked | paused | reading | ended;
    case GAVEL__TX_PARKED:
        return ready | paused | reading | ended;
    case GAVEL__TX_PAUSED:
        return ready | parked | ended;
    case GAVEL__TX_READING:
        return ready | parked | paused | ended | 1U << GAVEL__TX_COMMITTING;
    case GAVEL__TX_COMMITTING:
        return ready | parked | paused | reading | ended | replicating | 1U << GAVEL__TX_IN_DOUBT;
    case GAVEL__TX_IN_DOUBT:
        return ready | parked | paused | ended | replicating;
    case GAVEL__TX_REPLICATING:
        return ready | parked | paused | ended;
    case GAVEL__TX_ENDED:
        return ready;
    }
    return 0;
}

void gavel__transaction_set_state(gavel__transaction *transaction, gavel__tx_state state)
{
    assert((followers(transaction->state) & 1U << state) != 0);
    (void)followers; /* without assertions */
    transaction->state = state;
}

bool gavel__transaction_has_effects(const gavel__transaction *transaction)
{
    return !transaction->is_aborted &&
           (transaction->n_writes > 0 || transaction->id_key.data != NULL);
}

void gavel__transaction_settle(
    gavel__transaction *transaction, gavel_status status, const char *message)
{
    assert(transaction->state != GAVEL__TX_ENDED);
    gavel__transaction_set_state(transaction, GAVEL__TX_ENDED);
    transaction->outcome.status = status;
    gavel__outcome_set_message(&transaction->outcome, message);
}
