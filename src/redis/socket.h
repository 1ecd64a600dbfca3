/*
 * Sockets: what the plain transport and TLS have in common. Only for these two.
 */
#ifndef GAVEL__SOCKET_H
#define GAVEL__SOCKET_H

#include "redis/transport.h"

/* A copy of the system's words for an error number. */
void gavel__socket_explain(int error, char message[GAVEL_MESSAGE_SIZE]);

/* Where a connection stands that was begun without waiting. FAILED sets `message`. */
gavel__progress gavel__socket_connect(int fd, char message[GAVEL_MESSAGE_SIZE]);

/*
 * TLS on a socket that is being connected, as destination->tls says. Takes the fd over only if it
 * succeeds.
 */
gavel__transport *gavel__tls_transport_create(int fd, const gavel__destination *destination,
    const gavel_allocator *allocator, gavel_error *ret_error);

#endif
