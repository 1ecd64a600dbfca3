/*
 * gavel locks: gathers the locks and gates of a server, and prints them.
 *
 *     SCAN      their records' keys; never KEYS, which would hold up the server
 *     TIME      for how long they are held: the server's clock wrote the locks' records
 *     GET PTTL  the records, and what is left of the leases
 *     CLIENT LIST   who waits: a waiting connection's name says for what
 */
#include "cli/cli.h"
#include "cli/listing.h"
#include "cli/server.h"
#include "cli/text.h"

#include "base/resp.h"
#include "base/text.h"
#include "core/names.h"

#include <stdlib.h>

/* Entries whose records are asked for at once. */
#define CHUNK 256

/* Of the records' keys. Indexed by cli_kind. */
static const gavel__name_kind name_kinds[] = {GAVEL__NAME_LOCK, GAVEL__NAME_GATE};

/* Matches both kinds and little else: "lock-queue:" and "lock-fence:" are not asked for. */
static const char kinds_pattern[] = "[lg][oa][ct][ke]:*";

typedef struct job {
    const cli_options *options;
    cli_server server;
    cli_listing listing;
    char cursor[32]; /* of SCAN */
    size_t i_first;  /* of the chunk */
    bool has_failed; /* said on standard error */
} job;

static void fail(job *self, const char *what, gavel_bytes reason)
{
    if (!self->has_failed)
        cli_say("%s: %s%.*s", self->options->address.label, what, (int)reason.size, reason.data);
    self->has_failed = true;
}

/* ---- SCAN ---------------------------------------------------------------------------------- */

/* Whether the key is that of a record; then *key becomes the name of its lock or gate. */
static bool is_record(const job *self, gavel_bytes *key, cli_kind *ret_kind)
{
    for (cli_kind kind = CLI_KIND_LOCK; kind <= CLI_KIND_GATE; kind++) {
        *ret_kind = kind;
        if (gavel__name_parse(
                name_kinds[kind], gavel_str(self->options->config.key_prefix), *key, key))
            return true;
    }
    return false;
}

static void take_key(job *self, gavel_bytes key)
{
    cli_kind kind;
    if (is_record(self, &key, &kind) && !cli_listing_add(&self->listing, kind, key))
        fail(self, "no memory", GAVEL_STR(""));
}

static void on_keys(size_t i, const gavel_reply *reply, void *user)
{
    (void)i;
    job *self = user;
    self->cursor[0] = '\0';
    if (reply->type == GAVEL_REPLY_ERROR) {
        fail(self, "", reply->text);
        return;
    }
    if (reply->n_elements != 2 || reply->elements[0].text.size >= sizeof(self->cursor)) {
        fail(self, "SCAN is answered in a way that nobody knows", GAVEL_STR(""));
        return;
    }
    gavel_bytes cursor = reply->elements[0].text;
    gavel__format(self->cursor, sizeof(self->cursor), "%.*s", (int)cursor.size, cursor.data);
    for (size_t k = 0; k < reply->elements[1].n_elements; k++)
        take_key(self, reply->elements[1].elements[k].text);
}

/* The prefix as it is, not as a pattern. */
static void make_pattern(const char *prefix, char *pattern)
{
    for (; *prefix != '\0'; prefix++) {
        if (strchr("*?[]^-\\", *prefix) != NULL)
            *pattern++ = '\\';
        *pattern++ = *prefix;
    }
    strcpy(pattern, kinds_pattern);
}

static bool find_keys(job *self)
{
    char pattern[2 * 64 + sizeof(kinds_pattern)];
    make_pattern(self->options->config.key_prefix, pattern);
    strcpy(self->cursor, "0");
    do {
        const gavel_bytes args[] = {GAVEL_STR("SCAN"), gavel_str(self->cursor), GAVEL_STR("MATCH"),
            gavel_str(pattern), GAVEL_STR("COUNT"), GAVEL_STR("1000")};
        gavel__resp_command(cli_server_out(&self->server), args, 6);
        if (!cli_server_ask(&self->server, 1, on_keys, self) || self->has_failed)
            return false;
    } while (strcmp(self->cursor, "0") != 0);
    cli_listing_sort(&self->listing);
    return true;
}

/* ---- Records ------------------------------------------------------------------------------- */

static void take_record(job *self, cli_entry *entry, const gavel_reply *reply)
{
    if (reply->type == GAVEL_REPLY_NIL || reply->type == GAVEL_REPLY_ERROR)
        return; /* gone meanwhile, or no string: no record of gavel's */
    entry->record = gavel__alloc(&gavel__system_allocator, reply->text.size + 1, 1);
    if (entry->record == NULL) {
        fail(self, "no memory", GAVEL_STR(""));
        return;
    }
    memcpy(entry->record, reply->text.data, reply->text.size);
    entry->record_size = reply->text.size;
}

static void on_record(size_t i, const gavel_reply *reply, void *user)
{
    job *self = user;
    cli_entry *entry = &self->listing.entries[self->i_first + i / 2];
    if (i % 2 == 0)
        take_record(self, entry, reply);
    else if (reply->type == GAVEL_REPLY_INTEGER)
        entry->lease_ms = reply->integer;
    else
        fail(self, "PTTL: ", reply->text);
}

static void write_entry(const job *self, const cli_entry *entry, gavel__buffer *out)
{
    static const char *const commands[] = {"GET", "PTTL"};
    char *storage = gavel__alloc(&gavel__system_allocator, entry->name_size + GAVEL__NAME_ROOM, 1);
    for (size_t i = 0; i < 2 && storage != NULL; i++) {
        gavel_bytes name = {entry->name, entry->name_size};
        gavel_bytes args[] = {gavel_str(commands[i]),
            gavel__name_of(name_kinds[entry->kind], gavel_str(self->options->config.key_prefix),
                name, storage)};
        gavel__resp_command(out, args, 2);
    }
    out->has_failed = out->has_failed || storage == NULL;
    gavel__free(&gavel__system_allocator, storage);
}

static bool read_records(job *self)
{
    for (self->i_first = 0; self->i_first < self->listing.n_entries; self->i_first += CHUNK) {
        size_t n_left = self->listing.n_entries - self->i_first;
        size_t n = n_left < CHUNK ? n_left : CHUNK;
        for (size_t i = 0; i < n; i++)
            write_entry(
                self, &self->listing.entries[self->i_first + i], cli_server_out(&self->server));
        if (!cli_server_ask(&self->server, 2 * n, on_record, self) || self->has_failed)
            return false;
    }
    return true;
}

/* ---- Who waits ----------------------------------------------------------------------------- */

static int hex(char digit)
{
    static const char digits[] = "0123456789ABCDEF";
    const char *at = digit != '\0' ? strchr(digits, digit) : NULL;
    return at != NULL ? (int)(at - digits) : -1;
}

/* Takes the %NN of a connection's name back. */
static gavel_bytes unescape(gavel_bytes text, char *name)
{
    size_t size = 0;
    for (size_t i = 0; i < text.size; i++) {
        bool is_code = text.data[i] == '%' && i + 2 < text.size && hex(text.data[i + 1]) >= 0 &&
                       hex(text.data[i + 2]) >= 0;
        name[size++] =
            is_code ? (char)(hex(text.data[i + 1]) * 16 + hex(text.data[i + 2])) : text.data[i];
        i += is_code ? 2 : 0;
    }
    return (gavel_bytes){name, size};
}

/* One connection: if it waits in this database, the lock or gate has a waiter more. */
static void take_connection(job *self, gavel_bytes line)
{
    const gavel_bytes label = GAVEL_STR("wait:");
    gavel_bytes name = cli_field(line, " name=");
    gavel_bytes flags = cli_field(line, " flags=");
    int64_t database = -1;
    bool is_blocked = flags.size > 0 && memchr(flags.data, 'b', flags.size) != NULL;
    if (!is_blocked || !gavel__bytes_start_with(name, label) ||
        !gavel__parse_int(cli_field(line, " db="), &database) ||
        database != self->options->address.database)
        return;
    gavel_bytes escaped = {name.data + label.size, name.size - label.size};
    char *storage = malloc(escaped.size + 1);
    if (storage == NULL) {
        fail(self, "no memory", GAVEL_STR(""));
        return;
    }
    cli_kind kind;
    gavel_bytes key = unescape(escaped, storage);
    cli_entry *entry = NULL;
    if (is_record(self, &key, &kind))
        entry = cli_listing_find(&self->listing, kind, key);
    if (entry != NULL)
        entry->n_waiters++;
    free(storage);
}

static void on_circumstances(size_t i, const gavel_reply *reply, void *user)
{
    job *self = user;
    if (i == 0) {
        self->listing.now_ms = cli_read_time(reply);
        return;
    }
    /* Whoever may not see the connections sees the locks all the same. */
    self->listing.has_waiters = reply->type == GAVEL_REPLY_STRING;
    gavel_bytes text = self->listing.has_waiters ? reply->text : GAVEL_STR("");
    while (text.size > 0) {
        const char *end = memchr(text.data, '\n', text.size);
        size_t size = end != NULL ? (size_t)(end - text.data) : text.size;
        take_connection(self, (gavel_bytes){text.data, size});
        size += end != NULL;
        text = (gavel_bytes){text.data + size, text.size - size};
    }
}

static bool read_circumstances(job *self)
{
    gavel__buffer *out = cli_server_out(&self->server);
    gavel__resp_command(out, (gavel_bytes[]){GAVEL_STR("TIME")}, 1);
    gavel__resp_command(out, (gavel_bytes[]){GAVEL_STR("CLIENT"), GAVEL_STR("LIST")}, 2);
    return cli_server_ask(&self->server, 2, on_circumstances, self);
}

int cli_locks(const cli_options *options)
{
    job self = {.options = options};
    bool is_complete = cli_server_open(&self.server, options) && find_keys(&self) &&
                       read_records(&self) && read_circumstances(&self);
    cli_server_close(&self.server);
    if (is_complete && options->is_json)
        cli_listing_print_json(&self.listing, stdout);
    else if (is_complete)
        cli_listing_print(&self.listing, stdout);
    cli_listing_finish(&self.listing);
    return is_complete ? CLI_OK : CLI_NO_SERVER;
}
