/*
 * A client's replicas: those of its server, to be read from where old data will do; named by the
 * URL, or known to Sentinels. For the pump; a Cluster's are among its nodes.
 */
#ifndef GAVEL__CLIENT_REPLICAS_H
#define GAVEL__CLIENT_REPLICAS_H

#include "client/client.h"
#include "topology/sentinel.h"

#define GAVEL__REPLICAS_MAX 32

typedef struct gavel__replica {
    gavel__place_name place; /* "": none, just now */
    gavel__site site;        /* there */
    gavel__node *node;       /* the engine's, for good */
} gavel__replica;

typedef struct gavel__replicas {
    gavel__replica all[GAVEL__REPLICAS_MAX]; /* their nodes follow the first one in this order */
    size_t n;                                /* that there ever were */
    uint64_t version; /* of what Sentinels have told; 0: these are the URL's */
    bool is_leaving;  /* links to one that is none any more are left */
} gavel__replicas;

/* For a client whose address names some. False: no memory. */
bool gavel__replicas_open(gavel_client *client);

/* Takes a client without. */
void gavel__replicas_close(gavel_client *client, bool is_child);

/* They are those that the Sentinels know. False: not all yet, try again: there was no memory, or
 * there are links to one that is to go. */
bool gavel__replicas_follow(gavel_client *client, const gavel__sentinels *known, int64_t now_us);

/* Where the links of a node lead that is a replica; NULL: nowhere, just now. */
gavel__site *gavel__replicas_site(const gavel_client *client, const gavel__node *node);

#endif
