/*
 * Redis Cluster: what each node believes of the slots, and what it refuses because of that. For the
 * simulator's other parts. Source: Redis 7.0 and Valkey 9, getNodeByQuery in cluster.c, and what
 * was measured on them.
 *
 * A node's map says who owns each slot, by which configuration epoch. It changes by CLUSTER SETSLOT
 * on that node, and when it hears of an owner with a higher epoch.
 */
#ifndef SIM_CLUSTER_H
#define SIM_CLUSTER_H

#include "sim_replication.h"

#include "core/commands.h"
#include "base/slot.h"

#define SIM__NOBODY UINT8_MAX

#define SIM__REDIRECTION_SIZE 128

/* A slot that is moving, as one of the two nodes knows it. */
typedef struct sim__open_slot {
    uint16_t slot;
    bool is_importing;
    sim__server *other; /* where it comes from, or goes to */
} sim__open_slot;

/* What a server knows of its cluster. */
typedef struct sim__node {
    char id[SIM__REPLID_SIZE];
    uint8_t owners[GAVEL__N_SLOTS];   /* servers' numbers, or SIM__NOBODY */
    uint64_t epochs[SIM_MAX_SERVERS]; /* the last that it has heard of, of each node */
    sim__open_slot *open;
    size_t n_open;
    bool is_down; /* it takes the cluster to be down */
} sim__node;

/* What the nodes of a world have in common. */
typedef struct sim__cluster {
    int64_t node_timeout_us;
    uint64_t epoch; /* the highest so far */
    bool serves_reads_when_down;
    sim_endpoint endpoint;
} sim__cluster;

/* A command's keys by the library's own table; those that the table leaves out, too. */
gavel__command sim__keys_of(const sim__args *command);

/* The error that a command, or EXEC for what is queued, is refused with because of its keys, in
 * `text`; NULL: none. */
const char *sim__redirection(const sim__call *call, char text[SIM__REDIRECTION_SIZE]);

/* NULL: it is not moving there. */
sim__open_slot *sim__open_slot_of(const sim__server *server, unsigned slot);

/* The slot is moving, or (`other` NULL) no more. */
void sim__set_open(sim__server *server, unsigned slot, bool is_importing, sim__server *other);

/* The first key of that slot, behind `before` in order (NULL: of all); NULL: there is none. */
sim__key *sim__key_in_slot(const sim__server *server, unsigned slot, const sim__key *before);

/* The node gets an epoch above all others. */
void sim__raise_epoch(sim__server *server);

/* The host as clients are told it: NULL for a nil in CLUSTER SLOTS. */
const char *sim__endpoint_of(const sim__server *server);

/* Moves a key, in place of one of that name. Not inside a command of `to`. */
void sim__move_key(sim__server *from, sim__server *to, sim__key *key);

void sim__run_cluster(sim__call *call);
void sim__run_asking(sim__call *call);
void sim__run_readonly(sim__call *call);
void sim__run_readwrite(sim__call *call);
void sim__run_migrate(sim__call *call);

void sim__cluster_destroy(sim_world *world);

#endif
