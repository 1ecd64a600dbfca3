/*
 * Redirects: what a node of a Cluster says of a slot that is not its own, or is about to leave it.
 * Pure. Source: Redis Cluster specification, "MOVED Redirection" and "ASK redirection".
 */
#ifndef GAVEL__REDIRECT_H
#define GAVEL__REDIRECT_H

#include "base/slot.h"

#include <stdbool.h>

typedef struct gavel__redirect {
    bool is_ask; /* ASK: there for the next question only; else MOVED: there from now on */
    uint16_t slot;
    /* Among the error's bytes. Empty: that of whoever has said so. "?": one that is to be known by
     * its name has none, and where it is only the map tells. */
    gavel_bytes host;
    int port;
} gavel__redirect;

/* Whether an error reply is one: "MOVED 12000 10.0.0.7:7002", also "ASK 12000 :7002", "?:7002" and
 * "2001:db8::7:7002". */
bool gavel__redirect_read(gavel_bytes error, gavel__redirect *ret_redirect);

#endif
