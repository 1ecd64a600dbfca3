/*
 * Addresses: what a URL says of a server and of how to log in there.
 */
#ifndef GAVEL__URL_H
#define GAVEL__URL_H

#include "base/memory.h"

typedef struct gavel__address {
    char *host;     /* NULL for a unix socket */
    char *path;     /* NULL for TCP */
    char *user;     /* NULL: the default user */
    char *password; /* NULL: none. A secret: never logged, never in a message */
    char *label;    /* for people: scheme, host and port or path, database; no user, no password */
    int port;       /* TCP */
    int database;   /* SELECTed unless it is 0 */
    bool is_tls;
} gavel__address;

/*
 * Parses the URL forms of gavel_open, strictly: an unknown scheme, option or part, a bad percent
 * code, a NUL, a port or database out of range are errors, told in *ret_error without the password.
 * The strings of *ret_address are allocated; gavel__address_finish frees them.
 */
bool gavel__address_parse(const char *url, const gavel_allocator *allocator,
    gavel__address *ret_address, gavel_error *ret_error);

/* Wipes the password and frees. Takes a zeroed address. */
void gavel__address_finish(gavel__address *address, const gavel_allocator *allocator);

#endif
