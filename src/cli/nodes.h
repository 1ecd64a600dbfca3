/*
 * The servers that a URL leads to, for the commands that only ask and tell:
 *
 *     redis://, rediss://, unix://    itself
 *     redis+sentinel://               the primary that the Sentinels name
 *     redis+cluster://                each primary of the Cluster
 *
 * What Sentinels and nodes say is judged in topology; here they are asked, one after another. A
 * server is known by a number.
 */
#ifndef GAVEL_CLI_NODES_H
#define GAVEL_CLI_NODES_H

#include "base/random.h"
#include "cli/server.h"
#include "topology/sentinel.h"
#include "topology/slots.h"

typedef struct cli_nodes {
    const cli_options *options;
    gavel__address_kind kind;
    gavel__place_name primary; /* SENTINEL */
    /* CLUSTER; else only the first of each is of use. */
    gavel__slots map;
    gavel__random random;
    bool is_due[GAVEL__MAX_NODES];     /* it has slots that it was not taken with */
    uint8_t n_taken[GAVEL__MAX_NODES]; /* how often it was */
} cli_nodes;

/* Asks where the servers are. The options are borrowed. False: nobody tells, and this was said on
 * standard error; it is to be closed all the same. */
bool cli_nodes_open(cli_nodes *nodes, const cli_options *options);
void cli_nodes_close(cli_nodes *nodes);

/*
 * Each server, one after another; false: there is none any more. When all were taken the Cluster is
 * asked once more, and whoever has got slots meanwhile comes again.
 */
bool cli_nodes_take(cli_nodes *nodes, uint16_t *ret_node);

/* The one with this slot; GAVEL__NO_NODE: no node has it. */
uint16_t cli_nodes_of_slot(const cli_nodes *nodes, uint16_t slot);

/* As cli_server_open. */
bool cli_nodes_connect(cli_nodes *nodes, uint16_t node, cli_server *server);

/* Whether an error of this node says that a key is at another one: which. Then that one is to be
 * taken again. */
bool cli_nodes_follow(
    cli_nodes *nodes, uint16_t node, const gavel_reply *reply, uint16_t *ret_node);

/* Where it is; NULL, where there is no Cluster. Lives as long as the nodes. */
const gavel__place_name *cli_nodes_place(const cli_nodes *nodes, uint16_t node);

#endif
