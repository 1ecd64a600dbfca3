/*
 * Listings: the locks and gates that there are, and how they are printed.
 */
#ifndef GAVEL_CLI_LISTING_H
#define GAVEL_CLI_LISTING_H

#include "base/memory.h"
#include "cli/record.h"

#include <stdio.h>

typedef enum cli_kind { CLI_KIND_LOCK, CLI_KIND_GATE } cli_kind;

/* One lock or gate. */
typedef struct cli_entry {
    cli_kind kind;
    char *name; /* allocated, any bytes */
    size_t name_size;
    char *record; /* allocated; NULL: there is none any more */
    size_t record_size;
    int64_t lease_ms; /* what is left of it; -1: it never ends */
    size_t n_waiters;
} cli_entry;

typedef struct cli_listing {
    cli_entry *entries; /* allocated */
    size_t n_entries;
    size_t capacity;
    int64_t now_ms;   /* the server's */
    bool has_waiters; /* n_waiters are known: the server has told its connections */
} cli_listing;

/* Frees all. Takes a zeroed listing. */
void cli_listing_finish(cli_listing *listing);

/* Adds an entry with a copy of the name. False: no memory. */
bool cli_listing_add(cli_listing *listing, cli_kind kind, gavel_bytes name);

/* Sorts by kind and name, and drops what is there twice. To be done before find. */
void cli_listing_sort(cli_listing *listing);

/* NULL: there is none. */
cli_entry *cli_listing_find(const cli_listing *listing, cli_kind kind, gavel_bytes name);

/* For people: a line for each that somebody holds or waits for, with headings. */
void cli_listing_print(const cli_listing *listing, FILE *out);

/* For programs: a JSON array. What is not known is null. */
void cli_listing_print_json(const cli_listing *listing, FILE *out);

#endif
