/*
 * gavel locks: gathers the locks and gates of a server, or of each primary of a Cluster, and prints
 * them.
 *
 *     SCAN      their records' keys; never KEYS, which would hold up the server
 *     TIME      for how long they are held: the server's clock wrote the locks' records
 *     GET PTTL  the records, and what is left of the leases
 *     CLIENT LIST   who waits: a waiting connection's name says for what
 */
#include "cli/cli.h"
#include "cli/listing.h"
#include "cli/nodes.h"
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
    cli_nodes nodes;
    cli_listing listing; /* of all */
    size_t n_listed;     /* servers that have told all */
    /* Of the server that is asked. */
    uint16_t node;
    cli_server server;
    cli_listing part;
    char cursor[32]; /* of SCAN */
    size_t i_first;  /* of the chunk */
    bool has_failed; /* `server.trouble` says why */
} job;

static void fail(job *self, const char *what, gavel_bytes reason)
{
    if (!self->has_failed)
        gavel__format(self->server.trouble, sizeof(self->server.trouble), "%s: %s%.*s",
            self->server.address.label, what, (int)reason.size, reason.data);
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
    if (is_record(self, &key, &kind) && !cli_listing_add(&self->part, kind, key))
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
        gavel__resp_command(cli_server_next(&self->server), args, 6);
        if (!cli_server_ask(&self->server, 1, on_keys, self) || self->has_failed)
            return false;
    } while (strcmp(self->cursor, "0") != 0);
    cli_listing_sort(&self->part);
    return true;
}

/* ---- Records ------------------------------------------------------------------------------- */

static void take_record(job *self, cli_entry *entry, const gavel_reply *reply)
{
    bool is_error = reply->type == GAVEL_REPLY_ERROR;
    if (is_error && !gavel__bytes_start_with(reply->text, GAVEL_STR("WRONGTYPE ")))
        fail(self, "GET: ", reply->text);
    if (is_error || reply->type == GAVEL_REPLY_NIL)
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
    cli_entry *entry = &self->part.entries[self->i_first + i / 2];
    uint16_t other;
    if (cli_nodes_follow(&self->nodes, self->node, reply, &other))
        return; /* it is listed there */
    if (i % 2 == 0)
        take_record(self, entry, reply);
    else if (reply->type == GAVEL_REPLY_INTEGER)
        entry->lease_ms = reply->integer;
    else
        fail(self, "PTTL: ", reply->text);
}

static void write_entry(job *self, const cli_entry *entry)
{
    static const char *const commands[] = {"GET", "PTTL"};
    char *storage = gavel__alloc(&gavel__system_allocator, entry->name_size + GAVEL__NAME_ROOM, 1);
    for (size_t i = 0; i < 2 && storage != NULL; i++) {
        gavel_bytes name = {entry->name, entry->name_size};
        gavel_bytes args[] = {gavel_str(commands[i]),
            gavel__name_of(name_kinds[entry->kind], gavel_str(self->options->config.key_prefix),
                name, storage)};
        gavel__resp_command(cli_server_next(&self->server), args, 2);
    }
    if (storage == NULL)
        fail(self, "no memory", GAVEL_STR(""));
    gavel__free(&gavel__system_allocator, storage);
}

static bool read_records(job *self)
{
    for (self->i_first = 0; self->i_first < self->part.n_entries; self->i_first += CHUNK) {
        size_t n_left = self->part.n_entries - self->i_first;
        size_t n = n_left < CHUNK ? n_left : CHUNK;
        for (size_t i = 0; i < n; i++)
            write_entry(self, &self->part.entries[self->i_first + i]);
        if (self->has_failed || !cli_server_ask(&self->server, 2 * n, on_record, self) ||
            self->has_failed)
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
        entry = cli_listing_find(&self->part, kind, key);
    if (entry != NULL)
        entry->n_waiters++;
    free(storage);
}

static void on_circumstances(size_t i, const gavel_reply *reply, void *user)
{
    job *self = user;
    bool is_list = i == 1 && reply->type == GAVEL_REPLY_STRING;
    for (size_t k = 0; k < self->part.n_entries; k++) {
        if (i == 0)
            self->part.entries[k].now_ms = cli_read_time(reply);
        else if (is_list)
            self->part.entries[k].n_waiters = 0;
    }
    /* Whoever may not see the connections sees the locks all the same. */
    gavel_bytes text = is_list ? reply->text : GAVEL_STR("");
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
    gavel__resp_command(cli_server_next(&self->server), (gavel_bytes[]){GAVEL_STR("TIME")}, 1);
    gavel__resp_command(
        cli_server_next(&self->server), (gavel_bytes[]){GAVEL_STR("CLIENT"), GAVEL_STR("LIST")}, 2);
    return cli_server_ask(&self->server, 2, on_circumstances, self) && !self->has_failed;
}

/* ---- All of it ----------------------------------------------------------------------------- */

/* Of one server; false: not all of it, and that was said. */
static bool list_node(job *self)
{
    self->has_failed = false;
    bool is_complete = cli_nodes_connect(&self->nodes, self->node, &self->server) &&
                       find_keys(self) && read_records(self) && read_circumstances(self);
    for (size_t i = 0; i < self->part.n_entries; i++)
        self->part.entries[i].place = cli_nodes_place(&self->nodes, self->node);
    if (is_complete && !cli_listing_take(&self->listing, &self->part)) {
        fail(self, "no memory", GAVEL_STR(""));
        is_complete = false;
    }
    if (!is_complete)
        cli_say("%s%s", self->server.trouble,
            self->nodes.kind == GAVEL__ADDRESS_CLUSTER ? "; its locks and gates are left out" : "");
    cli_server_close(&self->server);
    cli_listing_finish(&self->part);
    self->n_listed += is_complete;
    return is_complete;
}

static void print(const job *self)
{
    if (self->options->is_json)
        cli_listing_print_json(&self->listing, stdout);
    else
        cli_listing_print(&self->listing, self->nodes.kind == GAVEL__ADDRESS_CLUSTER, stdout);
}

int cli_locks(const cli_options *options)
{
    job self = {.options = options};
    bool is_complete = cli_nodes_open(&self.nodes, options);
    if (is_complete) {
        while (cli_nodes_take(&self.nodes, &self.node))
            is_complete &= list_node(&self);
    }
    cli_listing_sort(&self.listing);
    if (self.n_listed > 0)
        print(&self);
    cli_listing_finish(&self.listing);
    cli_nodes_close(&self.nodes);
    return is_complete ? CLI_OK : CLI_NO_SERVER;
}
