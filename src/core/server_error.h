/*
 * Errors of the server, sorted by what can be done about them.
 */
#ifndef GAVEL__SERVER_ERROR_H
#define GAVEL__SERVER_ERROR_H

#include <gavel/bytes.h>

#include <stdbool.h>

typedef enum gavel__remedy {
    GAVEL__REMEDY_GIVE_UP,   /* trying again cannot help: tell the caller, in the server's words */
    GAVEL__REMEDY_TRY_AGAIN, /* the server cannot serve just now: pause, then run again */
    GAVEL__REMEDY_RECONNECT, /* not on this link: another login or another server may do */
    GAVEL__REMEDY_FOLLOW     /* in a Cluster: the slot is elsewhere, or on its way */
} gavel__remedy;

/*
 * What to do about an error reply. Knows EXECABORT's cause ("because of: ..."). Source: the error
 * codes that Redis sends, as of 7.2.
 */
gavel__remedy gavel__server_error_remedy(gavel_bytes error);

/* The same of a node of a Cluster: MOVED, ASK and TRYAGAIN are to be followed. */
gavel__remedy gavel__server_error_remedy_of_node(gavel_bytes error);

/* Whether the server has left MULTI behind, if this is its answer to EXEC. */
bool gavel__server_error_ends_multi(gavel_bytes error);

/* Whether it says that the server could not read what was sent: it executes nothing more of that,
 * and closes the link. Mostly it is a value above the server's proto-max-bulk-len. */
bool gavel__server_error_is_of_protocol(gavel_bytes error);

#endif
