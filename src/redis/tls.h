/*
 * TLS: whom a client trusts, and as whom it shows itself. One for each client, shared by its links.
 */
#ifndef GAVEL__TLS_H
#define GAVEL__TLS_H

#include "base/memory.h"

/* As in gavel_config. */
typedef struct gavel__tls_options {
    const char *ca_file;
    const char *ca_folder;
    const char *cert_file;
    const char *key_file;
    const char *server_name;
    bool is_insecure;
} gavel__tls_options;

typedef struct gavel__tls gavel__tls;

/* Whether this build can speak TLS. */
bool gavel__has_tls(void);

/* Copies the options; reads no file yet. NULL: no memory, or a build without TLS. */
gavel__tls *gavel__tls_create(const gavel__tls_options *options, const gavel_allocator *allocator);

/* Takes NULL. The connections have to be closed before. */
void gavel__tls_destroy(gavel__tls *tls);

/*
 * Reads the files, which may take a tenth of a second, unless that was done. False: the message
 * names the file; *ret_is_final unless this process lacks something that it may have later. The
 * next call tries again.
 */
bool gavel__tls_load(gavel__tls *tls, char message[GAVEL_MESSAGE_SIZE], bool *ret_is_final);

/* ---- For the transport --------------------------------------------------------------------- */

struct ssl_st;

/* Whose certificate the server at this host has to show. */
const char *gavel__tls_name(const gavel__tls *tls, const char *host);

/* OpenSSL's part of a new connection to that host, for SSL_free; to be loaded before. NULL: no
 * memory. */
struct ssl_st *gavel__tls_begin(const gavel__tls *tls, const char *host);

const gavel__tls_options *gavel__tls_get_options(const gavel__tls *tls);

/* A certificate was refused, ours or the server's. If the files have been replaced meanwhile, the
 * next connection is to know: they are read anew. */
void gavel__tls_forget(gavel__tls *tls);

#endif
