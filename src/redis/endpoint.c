/*
 * Endpoints: see the header.
 */
#include "redis/endpoint.h"

#include "base/text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <string.h>

bool gavel__endpoint_of(const gavel__address *address, gavel__endpoint *ret_endpoint)
{
    gavel__endpoint endpoint = {.size = 0};
    if (address->path != NULL) {
        endpoint.address.local.sun_family = AF_UNIX;
        /* Parsing has seen to it that the path is short enough. */
        strcpy(endpoint.address.local.sun_path, address->path);
        endpoint.size = sizeof(endpoint.address.local);
    } else if (inet_pton(AF_INET, address->host, &endpoint.address.ipv4.sin_addr) == 1) {
        endpoint.address.ipv4.sin_family = AF_INET;
        endpoint.address.ipv4.sin_port = htons((uint16_t)address->port);
        endpoint.size = sizeof(endpoint.address.ipv4);
    } else if (inet_pton(AF_INET6, address->host, &endpoint.address.ipv6.sin6_addr) == 1) {
        endpoint.address.ipv6.sin6_family = AF_INET6;
        endpoint.address.ipv6.sin6_port = htons((uint16_t)address->port);
        endpoint.size = sizeof(endpoint.address.ipv6);
    } else {
        return false;
    }
    *ret_endpoint = endpoint;
    return true;
}

void gavel__endpoint_print(const gavel__endpoint *endpoint, char text[GAVEL__ENDPOINT_TEXT_SIZE])
{
    const void *number = NULL;
    int family = endpoint->address.any.sa_family;
    if (family == AF_INET)
        number = &endpoint->address.ipv4.sin_addr;
    else if (family == AF_INET6)
        number = &endpoint->address.ipv6.sin6_addr;
    if (number == NULL || inet_ntop(family, number, text, GAVEL__ENDPOINT_TEXT_SIZE) == NULL)
        text[0] = '\0';
}

/* ---- Looking up ---------------------------------------------------------------------------- */

/* What the resolver found, in its order; others than IP are left out. */
static size_t take_found(
    const struct addrinfo *found, gavel__endpoint endpoints[GAVEL__ENDPOINTS_MAX])
{
    size_t n = 0;
    for (; found != NULL && n < GAVEL__ENDPOINTS_MAX; found = found->ai_next) {
        bool is_ip = found->ai_family == AF_INET || found->ai_family == AF_INET6;
        if (!is_ip || found->ai_addrlen > sizeof(endpoints[n].address))
            continue;
        endpoints[n] = (gavel__endpoint){.size = found->ai_addrlen};
        memcpy(&endpoints[n].address, found->ai_addr, found->ai_addrlen);
        n++;
    }
    return n;
}

/* Brings the first one from `from` on that is, or is not, of this family forward to `from`. */
static void bring_forward(gavel__endpoint *endpoints, size_t n, size_t from, int family, bool is_of)
{
    size_t place = from;
    while (place < n && (endpoints[place].address.any.sa_family == family) != is_of)
        place++;
    if (place == n)
        return;
    gavel__endpoint found = endpoints[place];
    memmove(&endpoints[from + 1], &endpoints[from], (place - from) * sizeof(*endpoints));
    endpoints[from] = found;
}

/* Where one family does not get through, the other one is tried next. */
static void interleave(gavel__endpoint *endpoints, size_t n)
{
    for (size_t i = 1; i < n; i++)
        bring_forward(endpoints, n, i, endpoints[0].address.any.sa_family, i % 2 == 0);
}

size_t gavel__endpoints_look_up(const char *host, int port,
    gavel__endpoint endpoints[GAVEL__ENDPOINTS_MAX], char message[GAVEL_MESSAGE_SIZE])
{
    char service[16];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    gavel__format(service, sizeof(service), "%d", port);
    int error = getaddrinfo(host, service, &hints, &found);
    if (error != 0) {
        char reason[GAVEL_MESSAGE_SIZE] = "";
        if (error != EAI_SYSTEM || strerror_r(errno, reason, sizeof(reason)) != 0)
            gavel__format(reason, sizeof(reason), "%s", gai_strerror(error));
        gavel__format(
            message, GAVEL_MESSAGE_SIZE, "the host's address cannot be looked up: %s", reason);
        return 0;
    }
    size_t n = take_found(found, endpoints);
    freeaddrinfo(found);
    interleave(endpoints, n);
    if (n == 0)
        gavel__format(message, GAVEL_MESSAGE_SIZE, "the host has no address");
    return n;
}
