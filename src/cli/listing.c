/*
 * Listings: see the header.
 */
#include "cli/listing.h"

#include "cli/text.h"

#include <inttypes.h>
#include <stdlib.h>

static const gavel_allocator *const allocator = &gavel__system_allocator;

/* ---- Entries ------------------------------------------------------------------------------- */

void cli_listing_finish(cli_listing *listing)
{
    for (size_t i = 0; i < listing->n_entries; i++) {
        gavel__free(allocator, listing->entries[i].name);
        gavel__free(allocator, listing->entries[i].record);
    }
    gavel__free(allocator, listing->entries);
    *listing = (cli_listing){.entries = NULL};
}

bool cli_listing_add(cli_listing *listing, cli_kind kind, gavel_bytes name)
{
    cli_entry *entries = gavel__grow(
        allocator, listing->entries, listing->n_entries, &listing->capacity, sizeof(cli_entry));
    if (entries == NULL)
        return false;
    listing->entries = entries;
    char *copy = gavel__alloc(allocator, name.size + 1, 1);
    if (copy == NULL)
        return false;
    memcpy(copy, name.data, name.size);
    entries[listing->n_entries++] = (cli_entry){.kind = kind, .name = copy, .name_size = name.size};
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

void cli_listing_sort(cli_listing *listing)
{
    if (listing->n_entries == 0)
        return;
    qsort(listing->entries, listing->n_entries, sizeof(cli_entry), compare);
    size_t n = 1;
    for (size_t i = 1; i < listing->n_entries; i++) {
        if (compare(&listing->entries[n - 1], &listing->entries[i]) == 0)
            gavel__free(allocator, listing->entries[i].name);
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
static int64_t held_ms(const cli_listing *listing, const cli_holder *holder)
{
    if (holder->since_ms < 0 || listing->now_ms < 0)
        return -1;
    return listing->now_ms > holder->since_ms ? listing->now_ms - holder->since_ms : 0;
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

static void print_entry(
    const cli_listing *listing, const cli_entry *entry, FILE *out, const size_t widths[2])
{
    cli_holder holder = holder_of(entry);
    char text[3][CLI_DURATION_SIZE];
    fprintf(out, "%s  ", kind_name(entry->kind));
    pad(out, cli_print_name(out, name_of(entry)), widths[0]);
    fputs("  ", out);
    print_holder(out, &holder, widths[1]);
    fprintf(out, "  %7s", format_or("?", held_ms(listing, &holder), text[0]));
    fprintf(out, "  %7s", format_or("no end", entry->lease_ms, text[1]));
    snprintf(text[2], sizeof(text[2]), "%zu", entry->n_waiters);
    fprintf(out, "  %7s", listing->has_waiters ? text[2] : "?");
    if (holder.fence >= 0)
        fprintf(out, "  %" PRId64 "\n", holder.fence);
    else
        fputs("  -\n", out);
}

void cli_listing_print(const cli_listing *listing, FILE *out)
{
    size_t widths[2] = {strlen("NAME"), strlen("HOLDER")};
    for (size_t i = 0; i < listing->n_entries; i++) {
        cli_holder holder = holder_of(&listing->entries[i]);
        size_t wants[2] = {cli_name_width(name_of(&listing->entries[i])), holder_width(&holder)};
        for (size_t j = 0; is_listed(&listing->entries[i]) && j < 2; j++)
            widths[j] = wants[j] > widths[j] ? wants[j] : widths[j];
    }
    fprintf(out, "KIND  %-*s  %-*s  %7s  %7s  %7s  %s\n", (int)widths[0], "NAME", (int)widths[1],
        "HOLDER", "HELD", "LEASE", "WAITING", "FENCE");
    for (size_t i = 0; i < listing->n_entries; i++) {
        if (is_listed(&listing->entries[i]))
            print_entry(listing, &listing->entries[i], out, widths);
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

static void print_object(const cli_listing *listing, const cli_entry *entry, FILE *out)
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
    print_member(out, "held_ms", held_ms(listing, &holder));
    print_member(out, "lease_ms", entry->lease_ms);
    print_member(out, "waiting", listing->has_waiters ? (int64_t)entry->n_waiters : -1);
    print_member(out, "fence", holder.fence);
    putc('}', out);
}

void cli_listing_print_json(const cli_listing *listing, FILE *out)
{
    const char *before = "[";
    for (size_t i = 0; i < listing->n_entries; i++) {
        if (!is_listed(&listing->entries[i]))
            continue;
        fputs(before, out);
        print_object(listing, &listing->entries[i], out);
        before = ",\n ";
    }
    fputs(*before == '[' ? "[]\n" : "]\n", out);
}
