/*
 * Addresses: what a URL says of a server, or of who knows where it is, and of how to log in there.
 */
#ifndef GAVEL__URL_H
#define GAVEL__URL_H

#include "base/memory.h"

/* What stands behind the question mark: name=value, decoded. */
typedef struct gavel__url_option {
    char *name;
    char *value;
} gavel__url_option;

/* The most options of a URL. */
#define GAVEL__URL_OPTIONS_MAX 32

/* A host to be asked where the server is, or which servers there are. */
typedef struct gavel__seed {
    char *host;
    int port;
} gavel__seed;

/* The most of them in one URL. */
#define GAVEL__SEEDS_MAX 32

typedef enum gavel__address_kind {
    GAVEL__ADDRESS_SERVER,   /* the server itself, at host or path */
    GAVEL__ADDRESS_SENTINEL, /* the primary of `service`, as the Sentinels at `seeds` know it */
    GAVEL__ADDRESS_CLUSTER   /* the Cluster that the nodes at `seeds` are of */
} gavel__address_kind;

typedef struct gavel__address {
    gavel__address_kind kind;
    char *host;     /* NULL for a unix socket, CLUSTER; SENTINEL: the primary's, NULL at first */
    char *path;     /* NULL for TCP */
    char *user;     /* NULL: the default user */
    char *password; /* NULL: none. A secret: never logged, never in a message */
    char *label;    /* for people: scheme, host and port or path, database; no user, no password */
    int port;       /* TCP */
    int database;   /* SELECTed unless it is 0; CLUSTER: always 0 */
    bool is_tls;
    /* SENTINEL and CLUSTER. */
    gavel__seed *seeds; /* one at least */
    size_t n_seeds;
    /* SERVER only: its replicas. */
    gavel__seed *replicas;
    size_t n_replicas;
    /* SENTINEL only. */
    char *service;
    char *sentinel_user;     /* NULL: the default user */
    char *sentinel_password; /* NULL: none. A secret, too */
    /* Those that do not belong to the address, as they stand there, for whoever knows them: the
     * client's configuration. */
    gavel__url_option *options;
    size_t n_options;
} gavel__address;

/* What to open where nobody says: $GAVEL_URL, if it is set and not empty, or this machine's Redis.
 * The environment's string, or a constant. */
const char *gavel__url_default(void);

/*
 * Parses the URL forms of gavel_open, strictly: an unknown scheme or part, an option without a
 * value, a bad percent code, a NUL, a port or database out of range are errors, told
 * in *ret_error without the password. Of the options only db, replicas, sentinel_user and
 * sentinel_password are looked at. The strings of *ret_address are allocated; gavel__address_finish
 * frees them.
 */
bool gavel__address_parse(const char *url, const gavel_allocator *allocator,
    gavel__address *ret_address, gavel_error *ret_error);

/* A message without the label that it begins with, for whoever has named the server before. */
const char *gavel__address_strip(const gavel__address *address, const char *message);

/* Wipes the passwords and frees. Takes a zeroed address. */
void gavel__address_finish(gavel__address *address, const gavel_allocator *allocator);

#endif
