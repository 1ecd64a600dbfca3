/*
 * Places: see the header. Used by Sentinels and slots.
 */
#include "topology/place.h"

#include <string.h>

bool gavel__place_is_same(const gavel__place_name *a, const gavel__place_name *b)
{
    return a->port == b->port && strcmp(a->host, b->host) == 0;
}

/* Nothing that would spoil a line of the log. */
static bool is_printable(gavel_bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] <= ' ' || text.data[i] > '~')
            return false;
    }
    return true;
}

bool gavel__place_take(gavel_bytes host, int64_t port, gavel__place_name *ret_place)
{
    bool is_place = host.size > 0 && host.size < GAVEL__PLACE_HOST_SIZE && is_printable(host) &&
                    port > 0 && port <= 65535;
    if (!is_place)
        return false;
    memcpy(ret_place->host, host.data, host.size);
    ret_place->host[host.size] = '\0';
    ret_place->port = (int)port;
    return true;
}
