/*
 * Transports: a stream of bytes to a server.
 *
 * The link speaks to a server only through this, so that tests put a simulated server in its
 * place. The real one is in transport_socket.c.
 */
#ifndef GAVEL__TRANSPORT_H
#define GAVEL__TRANSPORT_H

#include "redis/endpoint.h"
#include "redis/tls.h"

#include <stddef.h>

/* What send and receive answer when they moved no byte. */
#define GAVEL__TRANSPORT_WOULD_BLOCK (-1L) /* not now */
#define GAVEL__TRANSPORT_BROKEN (-2L)      /* never again */

typedef struct gavel__transport {
    const struct gavel__transport_ops *ops;
    int fd;                           /* to be watched; the same until close */
    bool can_wait;                    /* receive can be told to wait; not so over TLS */
    bool awaits_read;                 /* connect waits for the fd to be readable, not writable */
    char message[GAVEL_MESSAGE_SIZE]; /* why connect or receive failed */
    bool is_final;                    /* it would fail in the same way again */
} gavel__transport;

typedef enum gavel__progress {
    GAVEL__PROGRESS_FAILED,
    GAVEL__PROGRESS_UNDER_WAY,
    GAVEL__PROGRESS_DONE
} gavel__progress;

typedef struct gavel__transport_ops {
    /*
     * Goes on with connecting (and TLS). Called at first right after dialling, then whenever the
     * fd can be written or read. FAILED sets `message`, and perhaps is_final.
     */
    gavel__progress (*connect)(gavel__transport *transport);

    /*
     * The number of bytes that the kernel took, above 0, or one of the two answers above. After
     * BROKEN there may still be something to receive, and receive tells why. May run while another
     * thread is in receive, so it does not write to `message`.
     */
    long (*send)(gavel__transport *transport, const char *data, size_t size);

    /*
     * The number of bytes received, above 0, or one of the two answers above. With `wait`, and
     * where can_wait, may sleep up to 10 ms for the first byte before it answers WOULD_BLOCK.
     */
    long (*receive)(gavel__transport *transport, char *data, size_t size, bool wait);

    /* Closes and frees. */
    void (*close)(gavel__transport *transport);
} gavel__transport_ops;

/* What is dialled. */
typedef struct gavel__destination {
    const gavel__address *address;   /* whose host the certificate is to name */
    const gavel__endpoint *endpoint; /* where */
    gavel__tls *tls;                 /* NULL: without */
    bool is_probe; /* only to find out whether this is a port for TLS: never gets connected */
} gavel__destination;

/* Begins a connection and does not wait for it. NULL: failed at once, *ret_error says why, without
 * the address. */
typedef gavel__transport *gavel__dial(void *dialler, gavel__destination destination,
    const gavel_allocator *allocator, gavel_error *ret_error);

/* The real one: TCP, TLS or a unix socket. `dialler` is unused. */
gavel__transport *gavel__dial_socket(void *dialler, gavel__destination destination,
    const gavel_allocator *allocator, gavel_error *ret_error);

#endif
