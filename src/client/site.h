/*
 * Sites: the servers that a client has links to, each with its address and where that is to be
 * found. A client has one for the server of its URL; those of Sentinels, and of a Cluster's nodes,
 * come and go.
 */
#ifndef GAVEL__SITE_H
#define GAVEL__SITE_H

#include "client/directory.h"
#include "redis/link.h"

/* The program's, of addresses. */
typedef struct gavel__mapping {
    gavel_map_address *map_address; /* NULL: none */
    void *user;
} gavel__mapping;

typedef struct gavel__site {
    gavel__mapping mapping;
    gavel__address own; /* of a site that is not the URL's */
    gavel__directory directory;
    gavel__link_config link_config; /* its address is `own`, or the URL's */
} gavel__site;

/* What differs from the URL's address. Borrowed. */
typedef struct gavel__site_name {
    const char *label; /* what it is, for people: "Sentinel "; the place is added */
    const char *host;
    int port;
    int database;
    bool is_told;         /* by another server: it is dialled where the mapping says */
    const char *user;     /* NULL: the default user */
    const char *password; /* NULL: none */
} gavel__site_name;

/* At the URL's address. `base` has all of its fields but the pointers to addresses. */
void gavel__site_init(gavel__site *site, const gavel__site *base, const gavel__address *address);

/* Like `base`, but elsewhere. False: no memory; it is to be finished all the same. */
bool gavel__site_open(gavel__site *site, const gavel__site *base, const gavel__site_name *name);

/* Where to dial a server that is said to be there, by what the program says. */
void gavel__site_map(
    const gavel__mapping *mapping, const char *host, int port, gavel_address *ret_address);

/* Takes a zeroed site. In a child process: as gavel__directory_finish. */
void gavel__site_finish(gavel__site *site, bool is_child);

#endif
