/*
 * TLS in a build without OpenSSL: there is none, and gavel_open says so.
 */
#include "redis/socket.h"

#include <string.h>

bool gavel__has_tls(void)
{
    return false;
}

gavel__tls *gavel__tls_create(const gavel__tls_options *options, const gavel_allocator *allocator)
{
    (void)options;
    (void)allocator;
    return NULL;
}

void gavel__tls_destroy(gavel__tls *tls)
{
    (void)tls;
}

bool gavel__tls_load(gavel__tls *tls, char message[GAVEL_MESSAGE_SIZE], bool *ret_is_final)
{
    (void)tls;
    strcpy(message, "this build of gavel has no TLS");
    *ret_is_final = true;
    return false;
}

gavel__transport *gavel__tls_transport_create(int fd, const gavel__destination *destination,
    const gavel_allocator *allocator, gavel_error *ret_error)
{
    (void)fd;
    (void)destination;
    (void)allocator;
    strcpy(ret_error->message, "this build of gavel has no TLS");
    return NULL;
}
