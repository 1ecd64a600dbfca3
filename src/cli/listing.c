/*
 * Listings: see the header.
 */
#include "cli/listing.h"

#include "base/text.h"
#include "cli/text.h"

#include <inttypes.h>
#include <stdlib.h>

/* As long as the server's clock in microseconds. */
#define FENCE_WIDTH 16

static const gavel_allocator *const allocator = &gavel__system_allocator;

/* ---- Entries ------------------------------------------------------------------------------- */

static void finish_entry(cli_entry *entry)
{
    gavel__free(allocator, entry->name);
    gavel__free(allocator, entry->record);
}

void cli_listing_finish(cli_listing *listing)
{
    for (size_t i = 0; i < listing->n_entries; i++)
        finish_entry(&listing->entries[i]);
    gavel__free(allocator, listing->entries);
    *listing = (cli_listing){.entries = NULL};
}

static bool add(cli_listing *listing, const cli_entry *entry)
{
    cli_entry *entries = gavel__grow(
        allocator, listing->entries, listing->n_entries, &listing->capacity, sizeof(cli_entry));
    if (entries == NULL)
        return false;
    listing->entries = entries;
    entries[listing->n_entries++] = *entry;
    return true;
}

bool cli_listing_add(cli_listing *listing, cli_kind kind, gavel_bytes name)
{
    cli_entry entry = {.kind = kind, .name_size = name.size, .now_ms = -1, .n_waiters = -1};
    entry.name = gavel__alloc(allocator, name.size + 1, 1);
    if (entry.name == NULL)
        return false;
    memcpy(entry.name, name.data, name.size);
    if (add(listing, &entry))
        return true;
    finish_entry(&entry);
    return false;
}

bool cli_listing_take(cli_listing *listing, cli_listing *part)
{
    listing->n_parts++;
    while (part->n_entries > 0) {
        cli_entry *entry = &part->entries[part->n_entries - 1];
        entry->part = listing->n_parts;
        if (!add(listing, entry))
            return false;
        part->n_entries--;
    }
    return true;
}

static int compare(const void *left, const void *right)
{
    const cli_entry *a = left;
    const cli_entry *b = right;
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    size_t size = a->name_size < b->name_size ? a->name_size : b->name_size;
    int order = memcmp(a->name, b->name, size);
    if (order != 0 || a->name_size == b->name_size)
        return order;
    return a->name_size < b->name_size ? -1 : 1;
}

/* The same, and the latest first. */
static int compare_parts(const void *left, const void *right)
{
    const cli_entry *a = left;
    const cli_entry *b = right;
    int order = compare(left, right);
    return order != 0 ? order : (a->part < b->part) - (a->part > b->part);
}

void cli_listing_sort(cli_listing *listing)
{
    if (listing->n_entries == 0)
        return;
    qsort(listing->entries, listing->n_entries, sizeof(cli_entry), compare_parts);
    size_t n = 1;
    for (size_t i = 1; i < listing->n_entries; i++) {
        if (compare(&listing->entries[n - 1], &listing->entries[i]) == 0)
            finish_entry(&listing->entries[i]);
        else
            listing->entries[n++] = listing->entries[i];
    }
    listing->n_entries = n;
}

cli_entry *cli_listing_find(const cli_listing *listing, cli_kind kind, gavel_bytes name)
{
    /* bsearch only reads its key. */
    cli_entry key = {.kind = kind, .name = (char *)(uintptr_t)name.data, .name_size = name.size};
    if (listing->n_entries == 0)
        return NULL;
    return bsearch(&key, listing->entries, listing->n_entries, sizeof(key), compare);
}

static gavel_bytes name_of(const cli_entry *entry)
{
    return (gavel_bytes){entry->name, entry->name_size};
}

static cli_holder holder_of(const cli_entry *entry)
{
    return cli_read_record((gavel_bytes){entry->record, entry->record_size});
}

static const char *kind_name(cli_kind kind)
{
    switch (kind) {
    case CLI_KIND_LOCK:
        return "lock";
    case CLI_KIND_GATE:
        return "gate";
    }
    return "?";
}

/* For how long the holder has it; -1: not known. The clocks of two machines may differ. */
static int64_t held_ms(const cli_entry *entry, const cli_holder *holder)
{
    if (holder->since_ms < 0 || entry->now_ms < 0)
        return -1;
    return entry->now_ms > holder->since_ms ? entry->now_ms - holder->since_ms : 0;
}

/* One that was released, and is kept for a moment for whoever comes, is nobody's; nor is one whose
 * record has gone since its key was found. */
static bool is_listed(const cli_entry *entry)
{
    if (entry->record == NULL)
        return false;
    return entry->n_waiters > 0 || !holder_of(entry).is_handed_off;
}

/* ---- For people ---------------------------------------------------------------------------- */

static size_t holder_width(const cli_holder *holder)
{
    char pid[CLI_DURATION_SIZE];
    if (holder->pid < 0)
        return 1;
    return cli_name_width(holder->host) +
           (size_t)snprintf(pid, sizeof(pid), ":%" PRId64, holder->pid);
}

static void pad(FILE *out, size_t width, size_t full)
{
    fprintf(out, "%*s", (int)(width < full ? full - width : 0), "");
}

static void print_holder(FILE *out, const cli_holder *holder, size_t width)
{
    if (holder->pid < 0) {
        putc(holder->is_handed_off ? '-' : '?', out);
    } else {
        cli_print_name(out, holder->host);
        fprintf(out, ":%" PRId64, holder->pid);
    }
    pad(out, holder_width(holder), width);
}

static const char *format_or(const char *unknown, int64_t ms, char text[CLI_DURATION_SIZE])
{
    return ms < 0 ? unknown : cli_format_ms(ms, text);
}

/* Where people's lines have their columns. */
typedef struct columns {
    size_t name_width;
    size_t holder_width;
    bool has_nodes;
} columns;

static void widen(size_t *width, size_t wanted)
{
    *width = wanted > *width ? wanted : *width;
}

static void print_place(const cli_entry *entry, FILE *out)
{
    char place[GAVEL__PLACE_TEXT_SIZE];
    fputs(gavel__format_place(place, sizeof(place), entry->place->host, entry->place->port), out);
}

static void print_entry(const cli_entry *entry, FILE *out, const columns *layout)
{
    cli_holder holder = holder_of(entry);
    char text[3][CLI_DURATION_SIZE];
    fprintf(out, "%s  ", kind_name(entry->kind));
    pad(out, cli_print_name(out, name_of(entry)), layout->name_width);
    fputs("  ", out);
    print_holder(out, &holder, layout->holder_width);
    fprintf(out, "  %7s", format_or("?", held_ms(entry, &holder), text[0]));
    fprintf(out, "  %7s", format_or("no end", entry->lease_ms, text[1]));
    snprintf(text[2], sizeof(text[2]), "%" PRId64, entry->n_waiters);
    fprintf(out, "  %7s", entry->n_waiters >= 0 ? text[2] : "?");
    snprintf(text[2], sizeof(text[2]), "%" PRId64, holder.fence);
    const char *fence = holder.fence >= 0 ? text[2] : "-";
    if (layout->has_nodes) {
        fprintf(out, "  %-*s  ", FENCE_WIDTH, fence);
        print_place(entry, out);
    } else {
        fprintf(out, "  %s", fence);
    }
    putc('\n', out);
}

void cli_listing_print(const cli_listing *listing, bool has_nodes, FILE *out)
{
    columns layout = {strlen("NAME"), strlen("HOLDER"), has_nodes};
    for (size_t i = 0; i < listing->n_entries; i++) {
        cli_holder holder = holder_of(&listing->entries[i]);
        if (!is_listed(&listing->entries[i]))
            continue;
        widen(&layout.name_width, cli_name_width(name_of(&listing->entries[i])));
        widen(&layout.holder_width, holder_width(&holder));
    }
    fprintf(out, "KIND  %-*s  %-*s  %7s  %7s  %7s  ", (int)layout.name_width, "NAME",
        (int)layout.holder_width, "HOLDER", "HELD", "LEASE", "WAITING");
    if (has_nodes)
        fprintf(out, "%-*s  NODE\n", FENCE_WIDTH, "FENCE");
    else
        fputs("FENCE\n", out);
    for (size_t i = 0; i < listing->n_entries; i++) {
        if (is_listed(&listing->entries[i]))
            print_entry(&listing->entries[i], out, &layout);
    }
}

/* ---- For programs -------------------------------------------------------------------------- */

static void print_member(FILE *out, const char *name, int64_t value)
{
    if (value < 0)
        fprintf(out, ", \"%s\": null", name);
    else
        fprintf(out, ", \"%s\": %" PRId64, name, value);
}

static void print_object(const cli_entry *entry, FILE *out)
{
    cli_holder holder = holder_of(entry);
    fprintf(out, "{\"kind\": \"%s\", \"name\": ", kind_name(entry->kind));
    cli_print_json(out, name_of(entry));
    fputs(", \"host\": ", out);
    if (holder.host.size > 0)
        cli_print_json(out, holder.host);
    else
        fputs("null", out);
    print_member(out, "pid", holder.pid);
    print_member(out, "held_ms", held_ms(entry, &holder));
    print_member(out, "lease_ms", entry->lease_ms);
    print_member(out, "waiting", entry->n_waiters);
    print_member(out, "fence", holder.fence);
    if (entry->place != NULL) {
        fputs(", \"node\": \"", out);
        print_place(entry, out);
        putc('"', out);
    }
    putc('}', out);
}

void cli_listing_print_json(const cli_listing *listing, FILE *out)
{
    const char *before = "[";
    for (size_t i = 0; i < listing->n_entries; i++) {
        if (!is_listed(&listing->entries[i]))
            continue;
        fputs(before, out);
        print_object(&listing->entries[i], out);
        before = ",\n ";
    }
    fputs(*before == '[' ? "[]\n" : "]\n", out);
}
