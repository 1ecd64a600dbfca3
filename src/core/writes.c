/*
 * Writes: see the drawing in the header. Used by bodies and rounds.
 */
#include "core/writes.h"

#include "base/resp.h"
#include "base/text.h"
#include "core/commands.h"

#include <assert.h>

/* ---- Making and ending --------------------------------------------------------------------- */

void gavel__writes_init(gavel__writes *writes, gavel__keys *keys)
{
    *writes = (gavel__writes){.allocator = keys->allocator, .keys = keys};
    gavel__buffer_init(&writes->commands, keys->allocator);
}

void gavel__writes_finish(gavel__writes *writes)
{
    gavel__buffer_finish(&writes->commands);
    gavel__free(writes->allocator, writes->requests);
    gavel__free(writes->allocator, writes->entries);
    gavel__free(writes->allocator, writes->blind);
}

void gavel__writes_clear(gavel__writes *writes)
{
    gavel__buffer_clear(&writes->commands);
    writes->n_requests = 0;
    writes->n_entries = 0;
    writes->n_unmodelled = 0;
}

/* ---- Runs ---------------------------------------------------------------------------------- */

void gavel__writes_begin_run(gavel__writes *writes)
{
    assert(!writes->keys->is_running);
    gavel__writes_clear(writes);
    writes->has_contended = false;
    writes->keys->is_running = true;
    writes->run = ++writes->keys->n_runs;
}

void gavel__writes_end_run(gavel__writes *writes)
{
    assert(writes->keys->is_running && writes->run == writes->keys->n_runs);
    writes->keys->is_running = false;
    writes->n_entries = 0; /* they name keys that may be forgotten now */
    while (writes->n_blind > 0)
        gavel__keys_unuse(writes->keys, writes->blind[--writes->n_blind]);
}

void gavel__writes_add_claim(gavel__writes *writes, gavel__key *key)
{
    key->run = writes->run;
    key->last_write = 0;
    key->is_fetched_as_hash = false;
}

gavel__key *gavel__writes_key(gavel__writes *writes, gavel_bytes name)
{
    gavel__key **blind = gavel__grow(writes->allocator, writes->blind, writes->n_blind,
        &writes->blind_capacity, sizeof(gavel__key *));
    if (blind == NULL)
        return NULL;
    writes->blind = blind;
    gavel__key *key = gavel__keys_use(writes->keys, name);
    if (key == NULL)
        return NULL;
    if (key->run == writes->run) { /* it is known to the run already */
        gavel__keys_unuse(writes->keys, key);
        return key;
    }
    gavel__writes_add_claim(writes, key); /* another round's chain may have been here */
    blind[writes->n_blind++] = key;
    return key;
}

gavel__key *gavel__writes_find(const gavel__writes *writes, gavel_bytes name)
{
    if (writes->n_entries == 0) /* mostly */
        return NULL;
    gavel__key *key = gavel__keys_find(writes->keys, gavel__keys_name(writes->keys, name));
    return key != NULL && key->run == writes->run && key->last_write > 0 ? key : NULL;
}

/* ---- Rolling back -------------------------------------------------------------------------- */

gavel__savepoint gavel__writes_mark(const gavel__writes *writes)
{
    return (gavel__savepoint){
        writes->commands.size, writes->n_requests, writes->n_entries, writes->n_unmodelled};
}

void gavel__writes_rollback(gavel__writes *writes, const gavel__savepoint *savepoint)
{
    while (writes->n_entries > savepoint->n_entries) {
        const gavel__write *entry = &writes->entries[--writes->n_entries];
        entry->key->last_write = entry->previous;
    }
    writes->n_requests = savepoint->n_requests;
    writes->n_unmodelled = savepoint->n_unmodelled;
    gavel__buffer_truncate(&writes->commands, savepoint->size);
}

/* ---- Adding -------------------------------------------------------------------------------- */

/*
 * Whether an HSET or HDEL on this key is known not to meet a string. A SET before it says that it
 * will; a DEL, that it will not; and where nothing was written, a read of a field has shown it. A
 * time to live says nothing of it.
 */
static bool is_surely_hash(const gavel__writes *writes, const gavel__key *key)
{
    for (size_t place = key->last_write; place > 0;) {
        const gavel__write *entry = &writes->entries[place - 1];
        switch (entry->kind) {
        case GAVEL__WRITE_DEL:
            return true;
        case GAVEL__WRITE_HSET:
        case GAVEL__WRITE_HDEL:
        case GAVEL__WRITE_HINCR:
            return entry->is_sure;
        case GAVEL__WRITE_SET:
        case GAVEL__WRITE_SET_PX:
        case GAVEL__WRITE_SET_KEEP:
        case GAVEL__WRITE_INCR:
        case GAVEL__WRITE_APPEND:
        case GAVEL__WRITE_OTHER:
            return false;
        case GAVEL__WRITE_EXPIRE:
        case GAVEL__WRITE_PERSIST:
            place = entry->previous;
        }
    }
    return key->is_fetched_as_hash;
}

/* Of a counter: that what it comes to can be relied on; of a hash's, if that is not known, that it
 * will not meet a string. */
static bool is_surely_done(
    const gavel__writes *writes, const gavel__key *key, const gavel__edit *edit)
{
    switch (edit->kind) {
    case GAVEL__WRITE_SET:
    case GAVEL__WRITE_SET_PX:
    case GAVEL__WRITE_SET_KEEP:
    case GAVEL__WRITE_DEL:
    case GAVEL__WRITE_EXPIRE:
    case GAVEL__WRITE_PERSIST:
        return true;
    case GAVEL__WRITE_HSET:
    case GAVEL__WRITE_HDEL:
        return is_surely_hash(writes, key);
    case GAVEL__WRITE_HINCR:
        return edit->has_sum ? edit->is_sum_sure : is_surely_hash(writes, key);
    case GAVEL__WRITE_INCR:
        return edit->has_sum && edit->is_sum_sure;
    case GAVEL__WRITE_APPEND:
    case GAVEL__WRITE_OTHER:
        return false;
    }
    return false;
}

/* A new entry at the head of its key's chain; NULL: no memory. */
static gavel__write *push(gavel__writes *writes, gavel__key *key,
    const struct gavel__transaction *writer, const gavel__edit *edit)
{
    gavel__write *entries = gavel__grow(writes->allocator, writes->entries, writes->n_entries,
        &writes->entries_capacity, sizeof(*entries));
    if (entries == NULL)
        return NULL;
    writes->entries = entries;
    bool is_plain = edit->kind == GAVEL__WRITE_SET &&
                    (key->last_write == 0 || entries[key->last_write - 1].is_plain);
    gavel__write *entry = &entries[writes->n_entries++];
    *entry = (gavel__write){.kind = edit->kind,
        .is_sure = is_surely_done(writes, key, edit),
        .is_plain = is_plain,
        .has_sum = edit->has_sum,
        .key = key,
        .previous = key->last_write,
        .request = writes->n_requests, /* to be added next */
        .writer = writer,
        .number = edit->number,
        .sum = edit->sum};
    key->last_write = writes->n_entries;
    return entry;
}

static gavel__write *push_other(
    gavel__writes *writes, gavel__key *key, const struct gavel__transaction *writer)
{
    return push(writes, key, writer, &(gavel__edit){.kind = GAVEL__WRITE_OTHER});
}

/* The request whose bytes are the commands' from `offset` on. False: no memory. */
static bool add_request(gavel__writes *writes, size_t offset, size_t entry, size_t key)
{
    gavel__request *requests = gavel__grow(writes->allocator, writes->requests, writes->n_requests,
        &writes->requests_capacity, sizeof(*requests));
    if (requests == NULL)
        return false;
    writes->requests = requests;
    requests[writes->n_requests++] = (gavel__request){
        .bytes = {offset, writes->commands.size - offset}, .key = key, .entry = entry};
    return !writes->commands.has_failed;
}

/* Appends an argument and says where its bytes are. */
static gavel__span append_arg(gavel__buffer *commands, gavel_bytes arg)
{
    gavel__resp_arg(commands, arg);
    return (gavel__span){commands->size - arg.size - 2, arg.size};
}

bool gavel__writes_add(gavel__writes *writes, gavel__key *key,
    const struct gavel__transaction *writer, const gavel__edit *edit)
{
    static const struct {
        gavel_bytes name;
        size_t n_args;
        bool has_field;
        bool has_value;
        bool has_number;
        gavel_bytes word; /* data NULL: none; stands before the number */
    } forms[] = {
        [GAVEL__WRITE_SET] = {{"SET", 3}, 3, false, true, false, {NULL, 0}},
        [GAVEL__WRITE_SET_PX] = {{"SET", 3}, 5, false, true, true, {"PX", 2}},
        [GAVEL__WRITE_SET_KEEP] = {{"SET", 3}, 4, false, true, false, {"KEEPTTL", 7}},
        [GAVEL__WRITE_DEL] = {{"DEL", 3}, 2, false, false, false, {NULL, 0}},
        [GAVEL__WRITE_HSET] = {{"HSET", 4}, 4, true, true, false, {NULL, 0}},
        [GAVEL__WRITE_HDEL] = {{"HDEL", 4}, 3, true, false, false, {NULL, 0}},
        [GAVEL__WRITE_INCR] = {{"INCRBY", 6}, 3, false, false, true, {NULL, 0}},
        [GAVEL__WRITE_HINCR] = {{"HINCRBY", 7}, 4, true, false, true, {NULL, 0}},
        [GAVEL__WRITE_APPEND] = {{"APPEND", 6}, 3, false, true, false, {NULL, 0}},
        [GAVEL__WRITE_EXPIRE] = {{"PEXPIRE", 7}, 3, false, false, true, {NULL, 0}},
        [GAVEL__WRITE_PERSIST] = {{"PERSIST", 7}, 2, false, false, false, {NULL, 0}},
    };
    gavel__write *entry = push(writes, key, writer, edit);
    if (entry == NULL)
        return false;
    gavel__buffer *commands = &writes->commands;
    size_t offset = commands->size;
    gavel__resp_begin(commands, forms[edit->kind].n_args);
    gavel__resp_arg(commands, forms[edit->kind].name);
    gavel__resp_arg(commands, key->node.key);
    if (forms[edit->kind].has_field)
        entry->field = append_arg(commands, edit->field);
    if (forms[edit->kind].has_value)
        entry->value = append_arg(commands, edit->value);
    if (forms[edit->kind].word.data != NULL)
        gavel__resp_arg(commands, forms[edit->kind].word);
    if (forms[edit->kind].has_number)
        gavel__resp_arg_int(commands, edit->number);
    return add_request(writes, offset, writes->n_entries, 1);
}

bool gavel__writes_add_del(gavel__writes *writes, gavel__key *const *keys, size_t n_keys,
    const struct gavel__transaction *writer)
{
    size_t offset = writes->commands.size;
    gavel__resp_begin(&writes->commands, 1 + n_keys);
    gavel__resp_arg(&writes->commands, GAVEL_STR("DEL"));
    for (size_t i = 0; i < n_keys; i++) {
        if (push(writes, keys[i], writer, &(gavel__edit){.kind = GAVEL__WRITE_DEL}) == NULL)
            return false;
        gavel__resp_arg(&writes->commands, keys[i]->node.key);
    }
    return add_request(writes, offset, 0, 1);
}

bool gavel__writes_add_command(gavel__writes *writes, const gavel__command *command)
{
    size_t offset = writes->commands.size;
    writes->n_unmodelled++;
    gavel__resp_command(&writes->commands, command->args, command->n_args);
    size_t key =
        command->n_keys > 0 ? (size_t)(gavel__command_place(command, 0) - command->args) : 0;
    return add_request(writes, offset, 0, key);
}

bool gavel__writes_add_record(gavel__writes *writes, gavel__key *key,
    const struct gavel__transaction *writer, const gavel_bytes args[5])
{
    size_t offset = writes->commands.size;
    if (push_other(writes, key, writer) == NULL)
        return false;
    gavel__resp_command(&writes->commands, args, 5);
    return add_request(writes, offset, 0, 1);
}

bool gavel__writes_taint(
    gavel__writes *writes, gavel__key *key, const struct gavel__transaction *writer)
{
    return push_other(writes, key, writer) != NULL;
}

gavel_bytes gavel__writes_bytes(const gavel__writes *writes, gavel__span span)
{
    return (gavel_bytes){writes->commands.data + span.offset, span.size};
}

const char *gavel__writes_text(
    const gavel__writes *writes, size_t request, char storage[GAVEL__COMMAND_TEXT_SIZE])
{
    const gavel__request *asked = &writes->requests[request];
    gavel_bytes encoded = gavel__writes_bytes(writes, asked->bytes);
    gavel_bytes args[] = {gavel__resp_arg_in(encoded, 0), gavel__resp_arg_in(encoded, asked->key)};
    gavel__command command = {
        .args = args, .n_args = 2, .n_keys = asked->key > 0, .first_key = 1, .key_step = 1};
    return gavel__command_text(&command, storage);
}

gavel_bytes gavel__writes_name(const gavel__writes *writes, const gavel__write *entry)
{
    const gavel__request *request = &writes->requests[entry->request];
    return gavel__resp_arg_in(gavel__writes_bytes(writes, request->bytes), 0);
}

/* ---- Composing ----------------------------------------------------------------------------- */

/* The entry of a SET on a key that met nothing else; NULL: the request is none. */
static const gavel__write *plain_set(const gavel__writes *writes, const gavel__request *request)
{
    if (request->entry == 0)
        return NULL;
    const gavel__write *entry = &writes->entries[request->entry - 1];
    return writes->entries[entry->key->last_write - 1].is_plain ? entry : NULL;
}

/* How many SETs can be merged, and on how many keys they are. */
static void count_plain_sets(const gavel__writes *writes, size_t *ret_n_sets, size_t *ret_n_keys)
{
    *ret_n_sets = 0;
    *ret_n_keys = 0;
    for (size_t i = 0; i < writes->n_requests; i++) {
        const gavel__write *entry = plain_set(writes, &writes->requests[i]);
        if (entry == NULL)
            continue;
        *ret_n_sets += 1;
        *ret_n_keys += entry->previous == 0;
    }
}

static void append_request(const gavel__writes *writes, const gavel__request *request,
    size_t n_skipped, gavel__buffer *out)
{
    const char *data = writes->commands.data + request->bytes.offset;
    gavel__buffer_append(out, (gavel_bytes){data + n_skipped, request->bytes.size - n_skipped});
}

/* One MSET of the last values; of a single key, its last SET as it is. */
static void compose_sets(const gavel__writes *writes, size_t n_keys, gavel__buffer *out)
{
    size_t n_skipped = 0;
    if (n_keys > 1) {
        gavel__resp_begin(out, 1 + 2 * n_keys);
        gavel__resp_arg(out, GAVEL_STR("MSET"));
        n_skipped = gavel__set_head.size;
    }
    for (size_t i = 0; i < writes->n_requests; i++) {
        const gavel__request *request = &writes->requests[i];
        const gavel__write *entry = plain_set(writes, request);
        if (entry != NULL && request->entry == entry->key->last_write)
            append_request(writes, request, n_skipped, out);
    }
}

/* All as they came. */
static void compose_plainly(gavel__writes *writes, gavel__buffer *out)
{
    gavel__buffer_append(out, (gavel_bytes){writes->commands.data, writes->commands.size});
    writes->n_places = writes->n_requests;
    for (size_t i = 0; i < writes->n_requests; i++)
        writes->requests[i].place = i;
}

void gavel__writes_compose(gavel__writes *writes, bool may_merge, gavel__buffer *out)
{
    size_t n_sets = 0;
    size_t n_keys = 0;
    if (may_merge && writes->n_unmodelled == 0 && writes->n_entries > 0)
        count_plain_sets(writes, &n_sets, &n_keys);
    writes->is_merged = n_sets > 1;
    if (!writes->is_merged) {
        compose_plainly(writes, out);
        return;
    }
    compose_sets(writes, n_keys, out);
    writes->n_places = 1;
    for (size_t i = 0; i < writes->n_requests; i++) {
        gavel__request *request = &writes->requests[i];
        request->place = 0;
        if (plain_set(writes, request) != NULL)
            continue;
        request->place = writes->n_places++;
        append_request(writes, request, 0, out);
    }
}

size_t gavel__writes_request_at(const gavel__writes *writes, size_t place)
{
    if (writes->is_merged && place == 0)
        return SIZE_MAX;
    for (size_t i = 0; i < writes->n_requests; i++) {
        if (writes->requests[i].place == place)
            return i;
    }
    return SIZE_MAX;
}
