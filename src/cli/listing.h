/*
 * Listings: the locks and gates that there are, and how they are printed.
 */
#ifndef GAVEL_CLI_LISTING_H
#define GAVEL_CLI_LISTING_H

#include "base/memory.h"
#include "cli/record.h"
#include "topology/place.h"

#include <stdio.h>

typedef enum cli_kind { CLI_KIND_LOCK, CLI_KIND_GATE } cli_kind;

/* One lock or gate. */
typedef struct cli_entry {
    cli_kind kind;
    char *name; /* allocated, any bytes */
    size_t name_size;
    char *record; /* allocated; NULL: there is none any more */
    size_t record_size;
    int64_t lease_ms;               /* what is left of it; -1: it never ends */
    int64_t now_ms;                 /* its server's time; -1: not known */
    int64_t n_waiters;              /* -1: not known, the server does not tell its connections */
    const gavel__place_name *place; /* of its node, borrowed; NULL: it is no Cluster's */
    size_t part;                    /* in which it came */
} cli_entry;

typedef struct cli_listing {
    cli_entry *entries; /* allocated */
    size_t n_entries;
    size_t capacity;
    size_t n_parts; /* that were taken in */
} cli_listing;

/* Frees all. Takes a zeroed listing. */
void cli_listing_finish(cli_listing *listing);

/* Adds an entry with a copy of the name. False: no memory. */
bool cli_listing_add(cli_listing *listing, cli_kind kind, gavel_bytes name);

/* Sorts by kind and name; of what is there twice the one of the last part stays. To be done before
 * find. */
void cli_listing_sort(cli_listing *listing);

/* Takes the entries of a part, which is empty then; to be sorted. False: no memory. */
bool cli_listing_take(cli_listing *listing, cli_listing *part);

/* NULL: there is none. */
cli_entry *cli_listing_find(const cli_listing *listing, cli_kind kind, gavel_bytes name);

/* For people: a line for each that somebody holds or waits for, with headings; with the node, if
 * the URL is a Cluster's. */
void cli_listing_print(const cli_listing *listing, bool has_nodes, FILE *out);

/* For programs: a JSON array. What is not known is null. */
void cli_listing_print_json(const cli_listing *listing, FILE *out);

#endif
