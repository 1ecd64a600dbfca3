/*
 * Gates: where racing for a key no longer pays, its writers of all processes queue.
 *
 * A gate is two keys of the server: a record that says who holds it, with a lease as its time to
 * live, and a list from which the turn is handed off. Whoever waits blocks in BLPOP of
 * that list, so the server itself keeps the queue, wakes the longest waiter, and forgets those
 * whose connection is gone. Gates only decide who goes first: every write still commits through
 * WATCH, so a gate that has expired, was granted twice, or was deleted by hand costs a conflict, no
 * update.
 *
 * This is the table of the gates that this client knows of. How a lane passes through them is in
 * pass.c; docs/protocol.md has the conversation.
 */
#ifndef GAVEL__GATE_H
#define GAVEL__GATE_H

#include "base/list.h"
#include "base/map.h"
#include "base/random.h"
#include "core/context.h"
#include "core/question.h"

struct gavel__lane;
struct gavel__node;
struct gavel__nodes;
struct gavel__transaction;

/* A record, with its NUL: sixteen hexadecimal digits for the owner, and for people since when, and
 * who: "OWNER since=MS pid=N host=TEXT". */
#define GAVEL__RECORD_SIZE 192

typedef struct gavel__gate {
    gavel__map_node node; /* node.key is the name of the key behind it; owned */
    gavel_bytes record;   /* the names of its two keys; owned, behind the first */
    gavel_bytes queue;
    struct gavel__gates *gates;
    struct gavel__lane *lane;  /* that waits for it or holds it; NULL: neither */
    uint64_t owner;            /* random: tells our record from others' */
    uint32_t n_pins;           /* doubts that may have to hand it off */
    gavel__question probe;     /* whether its holder is dead */
    bool is_unasked;           /* no link has taken the last probe yet, or ever will */
    bool has_no_lease;         /* the holder's record would stay for ever: to be given one */
    gavel__question hand_off;  /* outside of its lane, which is lost or stands in its queue */
    struct gavel__node *asked; /* whom one of these asks, or has asked last */
    int64_t hand_off_until_us; /* later somebody else has been let in, or will be */
    bool has_idle_turn;        /* what was handed off lay there: nobody stood in the queue */
    bool is_held;
    bool is_lent; /* held, while its lane waits for another: our other rounds need not pass it */
    int64_t granted_us;      /* held: since then */
    bool is_unnamed;         /* held, but the record still names the holder before us */
    bool is_spurious;        /* held, by a turn too many, or too late: not to be handed off */
    int64_t up_until_us;     /* transactions on its key pass through it until then */
    int64_t closed_until_us; /* but not before, in a Cluster: its slot is on its way, or down */
    int64_t seen_until_us;   /* until then somebody else surely holds it, or has left it free */
    const struct gavel__node *seen_at; /* there: what a slot brings along is not known */
} gavel__gate;

typedef struct gavel__gates_config {
    gavel__context *context; /* borrowed, as all of these */
    gavel__questions *questions;
    const struct gavel__nodes *nodes;
    const char *key_prefix;
    const char *holder; /* who we are, for people: host and process */
    int64_t lease_us;
    bool are_always_up; /* before every key that is written */
    int64_t epoch_us;   /* what the clock of `now_us` showed in 1970, for people */
    uint64_t seed;      /* of owners */
    uint64_t hash_seed; /* of the table of keys */
} gavel__gates_config;

typedef struct gavel__gates {
    gavel__gates_config config;
    gavel__map map;
    gavel__random random;
    char turn[20]; /* what we hand off: tells it from others' */
} gavel__gates;

void gavel__gates_init(gavel__gates *gates, const gavel__gates_config *config);

/* No lane may hold one or wait for one. */
void gavel__gates_finish(gavel__gates *gates);

static inline bool gavel__gates_is_empty(const gavel__gates *gates)
{
    return gates->map.n_nodes == 0;
}

/* The gate of a key, with the hash that the table of keys has for it, or NULL: it has none. */
gavel__gate *gavel__gates_find(const gavel__gates *gates, gavel_bytes key, uint64_t hash);

/* The gate of a key, made if there was none. NULL: no memory. */
gavel__gate *gavel__gates_make(gavel__gates *gates, gavel_bytes key, uint64_t hash, int64_t now_us);

/* For a while, who wants the key behind it passes through the gate. */
void gavel__gate_raise(gavel__gate *gate, int64_t now_us);

/* Whether who wants the key behind it has to pass through it. */
static inline bool gavel__gate_is_up(const gavel__gate *gate, int64_t now_us)
{
    return gate->lane != NULL || gate->up_until_us > now_us;
}

/* The most gates that one transaction passes through; its other keys are left to WATCH. */
#define GAVEL__PASS_MAX 8

/* The gates that are up before the transaction's keys. How many; at most GAVEL__PASS_MAX. */
size_t gavel__gates_of(gavel__gates *gates, struct gavel__transaction *transaction, int64_t now_us,
    gavel__gate *ret_gates[GAVEL__PASS_MAX]);

/* Whether no lane has any of the gates. */
bool gavel__gates_are_free(gavel__gate *const *gates, size_t n_gates);

/*
 * The node has refused a command of the gate's. If that is for good, the node is without gates. If
 * it is because the slot is about to leave, or is down, this gate is closed for a second: nobody
 * passes through it, and who waits goes without. (Where it has left already, MOVED, nothing is to
 * be done: whoever wants the gate passes through it where the slot is now.)
 */
void gavel__gate_on_refusal(
    gavel__gate *gate, struct gavel__node *node, gavel_bytes error, int64_t now_us);

/* Whether who stands in its queue at this node waits in vain. */
bool gavel__gate_is_in_vain(
    const gavel__gate *gate, const struct gavel__node *node, int64_t now_us);

/*
 * One command: SET record PX lease, with `is_careful` only if there is none. Returns the owner that
 * it names: drawn at random, so that ours can be told from others'.
 */
uint64_t gavel__gate_write_record(
    gavel__gate *gate, gavel__buffer *out, bool is_careful, int64_t now_us);

/* The turn to whoever waits longest at the node, or to lie there for a while. How many commands. */
size_t gavel__gate_write_hand_off(
    gavel__gate *gate, const struct gavel__node *node, gavel__buffer *out, int64_t now_us);

/* Somebody else surely holds it, by what the node has said. */
void gavel__gate_note_taken(gavel__gate *gate, const struct gavel__node *node, int64_t now_us);

/* Whether that is known there. */
static inline bool gavel__gate_is_taken(
    const gavel__gate *gate, const struct gavel__node *node, int64_t now_us)
{
    return gate->seen_until_us > now_us && gate->seen_at == node;
}

/* Held: whether the lease is over: somebody else has been let in, or will be. */
bool gavel__gate_is_late(const gavel__gate *gate, int64_t now_us);

/* Asks on any link to the node whether its holder is dead. If so, the turn goes to whoever waits
 * longest. */
void gavel__gate_probe(gavel__gate *gate, const struct gavel__node *node);

/* Asks any link to hand it off, within the lease that was granted then: the link that held it is
 * lost. Not if it was granted to us anew since. */
void gavel__gate_hand_off(gavel__gate *gate, int64_t granted_us);

/* It is granted to us: its holder is not dead, and what was to be handed off for an earlier link
 * is not. */
void gavel__gate_on_granted(gavel__gate *gate, int64_t now_us);

/* Whether this record is of our last owner. */
bool gavel__gate_is_named(const gavel__gate *gate, gavel_bytes record);

/* In the order in which all processes enter several gates: by their keys' bytes. */
int gavel__gate_compare(const gavel__gate *a, const gavel__gate *b);

#endif
