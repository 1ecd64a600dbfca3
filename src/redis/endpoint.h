/*
 * Endpoints: where exactly a transport dials. An address of a URL names a host; this is one of the
 * addresses that the host has.
 */
#ifndef GAVEL__ENDPOINT_H
#define GAVEL__ENDPOINT_H

#include "redis/url.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

typedef struct gavel__endpoint {
    union {
        struct sockaddr any;
        struct sockaddr_in ipv4;
        struct sockaddr_in6 ipv6;
        struct sockaddr_un local;
    } address;
    socklen_t size;
} gavel__endpoint;

/* Of a host as many are looked at. */
#define GAVEL__ENDPOINTS_MAX 32

/* What needs no look-up: a unix socket, or a host that is written as a number. Else false. */
bool gavel__endpoint_of(const gavel__address *address, gavel__endpoint *ret_endpoint);

/*
 * Asks the system's resolver for the host's endpoints, at most GAVEL__ENDPOINTS_MAX of them, in the
 * order in which they are to be tried (RFC 8305: the resolver's, families taking turns). Blocks,
 * for as long as the resolver likes; any thread. Returns how many; 0: none, `message` says why.
 */
size_t gavel__endpoints_look_up(const char *host, int port,
    gavel__endpoint endpoints[GAVEL__ENDPOINTS_MAX], char message[GAVEL_MESSAGE_SIZE]);

/* The number of a host, for people; "" for others. */
#define GAVEL__ENDPOINT_TEXT_SIZE INET6_ADDRSTRLEN
void gavel__endpoint_print(const gavel__endpoint *endpoint, char text[GAVEL__ENDPOINT_TEXT_SIZE]);

#endif
