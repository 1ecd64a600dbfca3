/*
 * The overlay: see the drawing in the header. Used by bodies and rounds.
 */
#include "core/writes.h"

#include "base/resp.h"
#include "base/text.h"

void gavel__writes_init(gavel__writes *writes, const gavel_allocator *allocator)
{
    *writes = (gavel__writes){.allocator = allocator};
    gavel__buffer_init(&writes->commands, allocator);
}

void gavel__writes_finish(gavel__writes *writes)
{
    gavel__buffer_finish(&writes->commands);
    gavel__free(writes->allocator, writes->entries);
}

void gavel__writes_clear(gavel__writes *writes)
{
    gavel__buffer_clear(&writes->commands);
    writes->n_commands = 0;
    writes->n_entries = 0;
}

gavel__savepoint gavel__writes_mark(const gavel__writes *writes)
{
    return (gavel__savepoint){writes->commands.size, writes->n_commands, writes->n_entries};
}

void gavel__writes_rollback(gavel__writes *writes, const gavel__savepoint *savepoint)
{
    while (writes->n_entries > savepoint->n_entries) {
        const gavel__write *entry = &writes->entries[--writes->n_entries];
        entry->key->last_write = entry->previous;
    }
    writes->n_commands = savepoint->n_commands;
    gavel__buffer_truncate(&writes->commands, savepoint->size);
}

/* ---- Adding -------------------------------------------------------------------------------- */

/*
 * Whether an HSET or HDEL on this key is known not to meet a string. A SET before it says that it
 * will; a DEL, that it will not; and where nothing was written, a read of a field has shown it.
 */
static bool is_surely_hash(const gavel__writes *writes, const gavel__key *key)
{
    if (key->last_write == 0)
        return key->is_fetched_as_hash;
    const gavel__write *last = &writes->entries[key->last_write - 1];
    switch (last->kind) {
    case GAVEL__WRITE_DEL:
        return true;
    case GAVEL__WRITE_HSET:
    case GAVEL__WRITE_HDEL:
        return last->is_sure;
    case GAVEL__WRITE_SET:
    case GAVEL__WRITE_OTHER:
        return false;
    }
    return false;
}

/* A new entry at the head of its key's chain; NULL: no memory. */
static gavel__write *push(gavel__writes *writes, gavel__write_kind kind, gavel__key *key,
    const struct gavel__transaction *writer)
{
    if (writes->n_entries == writes->capacity) {
        size_t larger = writes->capacity == 0 ? 16 : writes->capacity * 2;
        gavel__write *memory =
            gavel__resize(writes->allocator, writes->entries, larger, sizeof(*memory));
        if (memory == NULL)
            return NULL;
        writes->entries = memory;
        writes->capacity = larger;
    }
    bool is_sure = kind == GAVEL__WRITE_SET || kind == GAVEL__WRITE_DEL ||
                   (kind != GAVEL__WRITE_OTHER && is_surely_hash(writes, key));
    gavel__write *entry = &writes->entries[writes->n_entries++];
    *entry = (gavel__write){kind, is_sure, key, key->last_write, writer, {0, 0}, {0, 0}};
    key->last_write = writes->n_entries;
    return entry;
}

/* Appends an argument and says where its bytes are. */
static gavel__span append_arg(gavel__buffer *commands, gavel_bytes arg)
{
    gavel__resp_arg(commands, arg);
    return (gavel__span){commands->size - arg.size - 2, arg.size};
}

bool gavel__writes_add(gavel__writes *writes, gavel__write_kind kind, gavel__key *key,
    const struct gavel__transaction *writer, gavel_bytes field, gavel_bytes value)
{
    static const struct {
        gavel_bytes name;
        size_t n_args;
        bool has_field;
        bool has_value;
    } forms[] = {
        [GAVEL__WRITE_SET] = {{"SET", 3}, 3, false, true},
        [GAVEL__WRITE_DEL] = {{"DEL", 3}, 2, false, false},
        [GAVEL__WRITE_HSET] = {{"HSET", 4}, 4, true, true},
        [GAVEL__WRITE_HDEL] = {{"HDEL", 4}, 3, true, false},
    };
    gavel__write *entry = push(writes, kind, key, writer);
    if (entry == NULL)
        return false;
    gavel__buffer *commands = &writes->commands;
    gavel__resp_begin(commands, forms[kind].n_args);
    gavel__resp_arg(commands, forms[kind].name);
    gavel__resp_arg(commands, key->node.key);
    if (forms[kind].has_field)
        entry->field = append_arg(commands, field);
    if (forms[kind].has_value)
        entry->value = append_arg(commands, value);
    writes->n_commands++;
    return !commands->has_failed;
}

bool gavel__writes_add_command(gavel__writes *writes, const gavel_bytes *args, size_t n_args)
{
    gavel__resp_command(&writes->commands, args, n_args);
    writes->n_commands++;
    return !writes->commands.has_failed;
}

bool gavel__writes_taint(
    gavel__writes *writes, gavel__key *key, const struct gavel__transaction *writer)
{
    return push(writes, GAVEL__WRITE_OTHER, key, writer) != NULL;
}

/* ---- Looking up ---------------------------------------------------------------------------- */

gavel_bytes gavel__writes_bytes(const gavel__writes *writes, gavel__span span)
{
    return (gavel_bytes){writes->commands.data + span.offset, span.size};
}

static gavel__overlay look_up_string(const gavel__write *last)
{
    switch (last->kind) {
    case GAVEL__WRITE_SET:
        return GAVEL__OVERLAY_VALUE;
    case GAVEL__WRITE_DEL:
        return GAVEL__OVERLAY_ABSENT;
    case GAVEL__WRITE_HSET:
    case GAVEL__WRITE_HDEL:
    case GAVEL__WRITE_OTHER:
        return GAVEL__OVERLAY_TAINTED;
    }
    return GAVEL__OVERLAY_TAINTED;
}

/* What one write says of a field; BASE: nothing, look further back. */
static gavel__overlay look_at_field(
    const gavel__writes *writes, const gavel__write *entry, gavel_bytes field)
{
    switch (entry->kind) {
    case GAVEL__WRITE_HSET:
        return gavel__bytes_equal(gavel__writes_bytes(writes, entry->field), field)
                   ? GAVEL__OVERLAY_VALUE
                   : GAVEL__OVERLAY_BASE;
    case GAVEL__WRITE_HDEL:
        return gavel__bytes_equal(gavel__writes_bytes(writes, entry->field), field)
                   ? GAVEL__OVERLAY_ABSENT
                   : GAVEL__OVERLAY_BASE;
    case GAVEL__WRITE_DEL:
        return GAVEL__OVERLAY_ABSENT;
    case GAVEL__WRITE_SET:
    case GAVEL__WRITE_OTHER:
        return GAVEL__OVERLAY_TAINTED;
    }
    return GAVEL__OVERLAY_TAINTED;
}

gavel__overlay gavel__writes_look_up(const gavel__writes *writes, const gavel__key *key,
    gavel_bytes field, const gavel__write **ret_write)
{
    for (size_t place = key->last_write; place > 0;) {
        const gavel__write *entry = &writes->entries[place - 1];
        gavel__overlay overlay =
            field.data == NULL ? look_up_string(entry) : look_at_field(writes, entry, field);
        if (overlay != GAVEL__OVERLAY_BASE) {
            *ret_write = entry;
            return overlay;
        }
        place = entry->previous;
    }
    *ret_write = NULL;
    return GAVEL__OVERLAY_BASE;
}
