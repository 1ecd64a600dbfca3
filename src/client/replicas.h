/*
 * A client's replicas: those of its server that the program has named, to be read from where old
 * data will do. For the pump; a Cluster's are among its nodes.
 */
#ifndef GAVEL__CLIENT_REPLICAS_H
#define GAVEL__CLIENT_REPLICAS_H

#include "client/client.h"

typedef struct gavel__replica {
    gavel__site site;
    gavel__node *node; /* the engine's, for good */
} gavel__replica;

typedef struct gavel__replicas {
    size_t n;
    gavel__replica all[]; /* their nodes stand behind the engine's first one in this order */
} gavel__replicas;

/* For a client whose address names some. False: no memory. */
bool gavel__replicas_open(gavel_client *client);

/* Takes a client without. */
void gavel__replicas_close(gavel_client *client, bool is_child);

/* Where the links of a node lead that is a replica. */
gavel__site *gavel__replicas_site(const gavel_client *client, const gavel__node *node);

#endif
