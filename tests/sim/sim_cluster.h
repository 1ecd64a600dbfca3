/*
 * Redis Cluster: what each node believes of the slots, and what it refuses because of that. For the
 * simulator's other parts. Source: Redis 7.0 and Valkey 9, getNodeByQuery in cluster.c, and what
 * was measured on them.
 *
 * A node's map says who owns each slot, and by which epoch. It changes by CLUSTER SETSLOT on that
 * node, and when it hears of an owner with a higher epoch. (Real nodes compare epochs of owners,
 * not of slots, and may go on to believe an old one when an owner gets another slot meanwhile.)
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
    bool is_by_move;    /* of sim_move_slot; else by CLUSTER SETSLOT */
    sim__server *other; /* where it comes from, or goes to */
} sim__open_slot;

/* A word of one node to another that is under way. */
typedef struct sim__word {
    sim__server *to;
    sim__server *from;
} sim__word;

/* What a server knows of its cluster. Times are 0 for never. */
typedef struct sim__node {
    char id[SIM__REPLID_SIZE];
    uint8_t owners[GAVEL__N_SLOTS]; /* servers' numbers, or SIM__NOBODY */
    uint32_t since[GAVEL__N_SLOTS]; /* by which epoch */
    uint32_t epoch;                 /* its own */
    sim__open_slot *open;
    size_t n_open;
    bool is_down; /* it takes the cluster to be down */
    size_t shard; /* whom it copies, or is copied by: the number of its first primary */
    sim__word words[SIM_MAX_SERVERS];
    int64_t answered_us[SIM_MAX_SERVERS]; /* when it last reached each node */
    int64_t told_us[SIM_MAX_SERVERS];     /* when they last told each other all */
    int64_t failed_us[SIM_MAX_SERVERS];   /* since when the node is agreed to be down */
    int64_t started_us;
    int64_t minority_us;     /* when it last was with the fewer primaries */
    int64_t failover_us;     /* of a replica: when it tries to take its primary's place */
    int64_t manual_us;       /* CLUSTER FAILOVER is given up then */
    int64_t paused_until_us; /* writers wait */
    unsigned handed_slot;    /* that another one has, which it does not know; or none */
    bool is_ticking;
} sim__node;

/* What the nodes of a world have in common. */
typedef struct sim__cluster {
    int64_t node_timeout_us;
    uint32_t epoch; /* the highest so far */
    bool serves_reads_when_down;
    sim_endpoint endpoint;
    int64_t gossip_min_us;
    int64_t gossip_max_us;
    struct sim__move **moves; /* all that have begun */
    size_t n_moves;
} sim__cluster;

/* A command's keys by the library's own table; those that the table leaves out, too. */
gavel__command sim__keys_of(const sim__args *command);

/* The error that a command, or EXEC for what is queued, is refused with because of its keys, in
 * `text`; NULL: none. */
const char *sim__redirection(const sim__call *call, char text[SIM__REDIRECTION_SIZE]);

/* The error that ends a BLPOP that waits for what will not come here any more; NULL: none. */
const char *sim__redirection_of_waiting(
    const sim__session *session, char text[SIM__REDIRECTION_SIZE]);

/* NULL: it is not moving there. */
sim__open_slot *sim__open_slot_of(const sim__server *server, unsigned slot);

/* The slot is moving, or (`other` NULL) no more. */
void sim__set_open(sim__server *server, unsigned slot, bool is_importing, sim__server *other);

/* The first key of that slot, behind `before` in order (NULL: of all); NULL: there is none. */
sim__key *sim__key_in_slot(const sim__server *server, unsigned slot, const sim__key *before);

/* The slot is the node's, as it knows itself; with an epoch above all others. */
void sim__take_slot(sim__server *server, unsigned slot);

/* Deletes the keys of a slot that is another's now. */
void sim__drop_slot(sim__server *server, unsigned slot);

/* The host as clients are told it: NULL for a nil in CLUSTER SLOTS. */
const char *sim__endpoint_of(const sim__server *server);

/* Copies a key of another server, in place of one of that name; moves it. Not inside a command of
 * the one that gets it. */
void sim__restore_key(sim__server *server, const sim__key *from);
void sim__move_key(sim__server *from, sim__server *to, sim__key *key);

void sim__run_cluster(sim__call *call);
void sim__run_asking(sim__call *call);
void sim__run_readonly(sim__call *call);
void sim__run_readwrite(sim__call *call);
void sim__run_migrate(sim__call *call);

void sim__cluster_destroy(sim_world *world);

/* ---- The bus (sim_cluster_bus.c) ----------------------------------------------------------- */

/* The node begins to look at the others. */
void sim__node_start(sim__server *server);

/* The process has died, is there again, or goes on behind a silence. */
void sim__node_die(sim__server *server);
void sim__node_rise(sim__server *server);

/* Tells all others soon which slots it has. */
void sim__announce(sim__server *server, int64_t min_us, int64_t max_us);

/* The node hears which slots another one has; may become its replica. */
void sim__hear(sim__server *server, sim__server *from);

/* The same, as an event: `subject` is a sim__word. Nothing, if they cannot reach each other. */
void sim__hear_word(sim_world *world, void *subject);

/* Who leads the shard that the server is in; an old primary that does not know yet is none. */
sim__server *sim__leader_of(const sim__server *server);

/* CLUSTER FAILOVER, by a replica. */
void sim__fail_over(sim__server *replica);

/* Writers wait until then; 0: no more. */
void sim__pause(sim__server *server, int64_t until_us);

/* Whether the command has to wait, with all that its client has sent behind it. */
bool sim__is_postponed(const sim__session *session, const sim__args *command);

/* ---- Moves (sim_cluster_moves.c) ----------------------------------------------------------- */

/* The node forgets slots that are not moving any more, with keys that were coming to it. */
void sim__forget_moves(sim__server *server);

void sim__moves_destroy(sim_world *world);

#endif
