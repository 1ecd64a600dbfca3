/*
 * Slots: which node of a Cluster serves each, by what the nodes have told. Pure: replies,
 * redirects, losses and time come in; whom to ask, the map, and what has changed in it go out.
 *
 *     begin --> ask --on_reply--> the map; asked again in a minute, or when there is a reason
 *          \--------on_loss-----> the next one is asked
 *
 * Any node knows the whole map (CLUSTER SLOTS), but may be behind, and nothing in its answer says
 * how far. So each answer is believed, and MOVED, which comes from whoever has given a slot away,
 * corrects it at once, one slot at a time. Nothing rests on the map but where is asked first: no
 * node serves a slot that is not its own.
 *
 * Nodes have numbers. A number means the same place for as long as it has the same generation: as
 * long as the place is one of the URL's, or the last answer names it, and ten seconds longer. The
 * caller compares generations to see which nodes are new; one that is gone has no host any more.
 */
#ifndef GAVEL__SLOTS_H
#define GAVEL__SLOTS_H

#include "base/buffer.h"
#include "base/map.h"
#include "base/random.h"
#include "base/redirect.h"
#include "topology/place.h"

#include <gavel/outcome.h>
#include <gavel/reply.h>

/* "host:port", with its NUL. */
#define GAVEL__SLOTS_NAME_SIZE (GAVEL__PLACE_HOST_SIZE + 8)

typedef struct gavel__slots_node {
    gavel__place_name place;           /* "": nobody has this number */
    char name[GAVEL__SLOTS_NAME_SIZE]; /* for people, and to find it by */
    gavel__map_node by_name;
    uint16_t number;
    uint32_t generation;       /* one more each time that the number is given away */
    bool is_seed;              /* the URL names it */
    bool is_listed;            /* the last answer names it */
    uint32_t shard;            /* whose data it has, or had when it was last listed; 0: not known */
    uint16_t primary;          /* as whose replica it is listed; GAVEL__NO_NODE: as none */
    uint16_t n_slots;          /* that it serves */
    int64_t unused_us;         /* since when it has been of no use, if it serves none; or asked */
    int64_t doubtful_until_us; /* it was lost: until then it is asked after all others */
    uint64_t pass;             /* when it was last asked */
    /* What the answer that is being read says. */
    uint64_t answer; /* which one named it last */
    uint64_t added_by;
    uint16_t answer_primary; /* as a replica of that node; GAVEL__NO_NODE: as a primary */
} gavel__slots_node;

typedef struct gavel__slots {
    const gavel_allocator *allocator; /* borrowed */
    gavel__random *random;            /* borrowed */
    gavel__slots_node *nodes[GAVEL__MAX_NODES];
    uint16_t n_nodes; /* numbers ever given */
    gavel__map by_name;
    uint16_t node_of[GAVEL__N_SLOTS]; /* GAVEL__NO_NODE: none is known */
    uint16_t incoming[GAVEL__N_SLOTS];
    uint64_t moved[GAVEL__N_SLOTS / 64];    /* a bit for each that was not taken yet */
    uint64_t migrated[GAVEL__N_SLOTS / 64]; /* of these */
    uint32_t first_moved;                   /* no word before this one has a bit */
    uint64_t n_answers;                     /* that were read; 0: there is no map yet */
    uint64_t answer;                        /* the one that was read last, or was not */
    uint32_t n_shards;                      /* that have ever been seen */
    uint64_t pass;                    /* in each, one after another is asked until one answers */
    uint16_t asked;                   /* GAVEL__NO_NODE: nobody */
    bool is_sent;                     /* the question has gone out to it */
    bool was_urged;                   /* there was a reason to ask it */
    bool is_urged;                    /* there has been one since */
    int64_t asked_us;                 /* when somebody last was to be asked, or was */
    int64_t pause_us;                 /* from this until the next one, at least */
    int64_t ask_us;                   /* not before */
    int64_t sweep_us;                 /* when a node may be gone; GAVEL__NEVER */
    char trouble[GAVEL_MESSAGE_SIZE]; /* why there was no answer */
} gavel__slots;

/* The first question is due at once. `random` is for whom to ask, and jitter. */
void gavel__slots_init(
    gavel__slots *slots, const gavel_allocator *allocator, gavel__random *random);
void gavel__slots_finish(gavel__slots *slots);

/* One of the URL's, at least one. False: no memory, or too many. */
bool gavel__slots_add_seed(gavel__slots *slots, const char *host, int port);

/* ---- Asking -------------------------------------------------------------------------------- */

/*
 * Whom to ask now; GAVEL__NO_NODE: nobody, it is not due, or somebody is asked already. One that
 * serves slots, at random; if none of them has answered, a replica; then a seed. It is asked until
 * its reply or its loss is told.
 */
uint16_t gavel__slots_begin(gavel__slots *slots, int64_t now_us);

/* Appends the question; returns how many replies are to come: one. */
size_t gavel__slots_ask(gavel__slots *slots, gavel__buffer *out, int64_t now_us);

/* The reply of whom gavel__slots_begin has named. `host` is where the link to it leads: what it
 * means where it does not know a node's host. */
void gavel__slots_on_reply(
    gavel__slots *slots, const gavel_reply *reply, const char *host, int64_t now_us);

/* A link to this node could not be had, or was lost while the node was asked. */
void gavel__slots_on_loss(gavel__slots *slots, uint16_t node, const char *message, int64_t now_us);

/* A slot is not served: CLUSTERDOWN, or no node is known for one that is wanted. All are asked
 * soon. May be called again and again, as long as it is so. */
void gavel__slots_urge(gavel__slots *slots, int64_t now_us);

/* A replica is wanted, and none is named: all are asked when a pause is over that grows up to five
 * seconds while the answer stays the same. */
void gavel__slots_on_missed_replica(gavel__slots *slots, int64_t now_us);

/*
 * A node has said so; `host` is as with gavel__slots_on_reply. Returns the node where the slot is
 * now, or with ASK is to be asked; GAVEL__NO_NODE: it is no place, or there is no room for it, or
 * only the map tells, which is asked for soon.
 */
uint16_t gavel__slots_on_redirect(
    gavel__slots *slots, const gavel__redirect *redirect, const char *host, int64_t now_us);

/* Nodes that nobody names any more are gone. */
void gavel__slots_advance(gavel__slots *slots, int64_t now_us);

/* When to call gavel__slots_advance or gavel__slots_begin; GAVEL__NEVER: an answer is awaited. */
int64_t gavel__slots_due_us(const gavel__slots *slots);

/* ---- The map ------------------------------------------------------------------------------- */

/*
 * A slot whose node has changed, each once: what waits for it goes elsewhere. It has migrated, but
 * where both nodes are known to be of one shard: then another copy of all its data has taken over.
 * False: no more.
 */
bool gavel__slots_take_moved(gavel__slots *slots, uint16_t *ret_slot, bool *ret_has_migrated);

/* Whether links to it may be of use: it serves slots, or has done, or was asked, or named by ASK,
 * in the last ten seconds. */
bool gavel__slots_is_used(const gavel__slots *slots, uint16_t node, int64_t now_us);

/* Why there is no map yet; for people. */
void gavel__slots_explain(const gavel__slots *slots, char message[GAVEL_MESSAGE_SIZE]);

#endif
