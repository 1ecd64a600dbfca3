/*
 * Addresses: what a URL says of a server and of how to log in there.
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

typedef struct gavel__address {
    char *host;     /* NULL for a unix socket */
    char *path;     /* NULL for TCP */
    char *user;     /* NULL: the default user */
    char *password; /* NULL: none. A secret: never logged, never in a message */
    char *label;    /* for people: scheme, host and port or path, database; no user, no password */
    int port;       /* TCP */
    int database;   /* SELECTed unless it is 0 */
    bool is_tls;
    /* Those that do not belong to the address, each name once, for whoever knows them: the client's
     * configuration. */
    gavel__url_option *options;
    size_t n_options;
} gavel__address;

/* What to open where nobody says: $GAVEL_URL, if it is set and not empty, or this machine's Redis.
 * The environment's string, or a constant. */
const char *gavel__url_default(void);

/*
 * Parses the URL forms of gavel_open, strictly: an unknown scheme or part, an option without a
 * value or named twice, a bad percent code, a NUL, a port or database out of range are errors, told
 * in *ret_error without the password. Of the options only db is looked at. The strings of
 * *ret_address are allocated; gavel__address_finish frees them.
 */
bool gavel__address_parse(const char *url, const gavel_allocator *allocator,
    gavel__address *ret_address, gavel_error *ret_error);

/* A message without the label that it begins with, for whoever has named the server before. */
const char *gavel__address_strip(const gavel__address *address, const char *message);

/* Wipes the password and frees. Takes a zeroed address. */
void gavel__address_finish(gavel__address *address, const gavel_allocator *allocator);

#endif
