/*
 * A client's Cluster: which nodes it has, where each is, and who serves which slot. For the pump,
 * of clients whose URL says so.
 *
 * What the nodes say is judged in topology/slots.c. Here it is carried to the engine: nodes to
 * speak to, and slots that have moved. The map is asked for on the links that the engine has to a
 * node anyway, as any question.
 */
#ifndef GAVEL__CLIENT_CLUSTER_H
#define GAVEL__CLIENT_CLUSTER_H

#include "client/client.h"
#include "topology/slots.h"

/* A node, by its number in the map and in the engine. */
typedef struct gavel__cluster_node {
    gavel__site site;
    uint32_t generation; /* of the place that the site is; another one: it is to be left */
    gavel__node *node;   /* the engine's, for good */
} gavel__cluster_node;

typedef struct gavel__cluster {
    gavel_client *client;
    gavel__slots map;
    gavel__random random;
    gavel__cluster_node *nodes[GAVEL__MAX_NODES]; /* by number; NULL: never wanted */
    gavel__question question;                     /* for the map */
    uint16_t asked;                               /* whom it asks */
    uint64_t pass;                                /* the map's, while nodes are asked */
    int64_t pass_us;                              /* when that began */
    bool has_hope;                                /* one of them may answer later */
    char logged[GAVEL_MESSAGE_SIZE];              /* what the log has told of them last */
    bool is_idle_logged;                          /* it has told that a node serves nothing, */
    int64_t idle_logged_us;                       /* and when */
} gavel__cluster;

/* For a client whose address says so. False: no memory. */
bool gavel__cluster_open(gavel_client *client);

/* Takes a client without. */
void gavel__cluster_close(gavel_client *client, bool is_child);

/* Makes and leaves nodes, tells the engine which slots have moved, asks for the map. */
void gavel__cluster_serve(gavel_client *client, int64_t now_us);

/* Where the links of the engine's node lead; NULL: nowhere, just now. */
gavel__site *gavel__cluster_site(const gavel_client *client, const gavel__node *node);

/* A link to this node could not be had, or is lost. Takes a client without. */
void gavel__cluster_on_loss(gavel_client *client, const gavel__node *node, const gavel__loss *loss);

/* A node has said where a slot is now, or comes to; `redirect` NULL: that it serves none. `user` is
 * the client. Returns the number of the node that it leads to, or GAVEL__NO_NODE. */
uint16_t gavel__cluster_on_redirect(void *user, gavel__node *node, const gavel__redirect *redirect);

/* When it is to be served again; GAVEL__NEVER, also without. */
int64_t gavel__cluster_due_us(const gavel_client *client);

#endif
