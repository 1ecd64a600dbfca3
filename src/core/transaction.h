/*
 * Transactions, inside: what was asked for, how far it has come, and its outcome.
 *
 *     ENDED --begins--> READY <--> PARKED     in the lines of its keys: first in all, or behind
 *                        | ^  \      | ^        others; PARKED may be taken as well, by a round
 *                        | |   \     | |        that has the keys itself
 *                        v |    v    v |
 *                      PAUSED <--- READING <--> COMMITTING --link lost after EXEC--> IN_DOUBT
 *                         ^                        |                                   |
 *                         |                        v EXEC has succeeded                |
 *                         +----was undone---- REPLICATING <----the marker says so------+
 *
 * From every state it ends, once; from a round it comes back PARKED, or READY, or PAUSED. What
 * holds in each:
 *
 *     READY       in one of the order's ready lines, and first in the lines of its keys
 *     PARKED      in the line of the key that it is blocked at, and in those of its others unless
 *                 it has stepped aside there
 *     PAUSED      in no ready line; in lines only where it waits for a key's own pause: in that
 *                 key's, and in those where it steps aside no more. Or it yields: in no line
 *     READING, COMMITTING, IN_DOUBT    a member of its round, in no line
 *     REPLICATING  held by durability.h until enough replicas have it: in no line, and knows no key
 *     ENDED       told, to be told, or not begun: in no line, known to no key
 *
 * Its timer is among the queue's from entering the queue to the end: the end of a pause, or of the
 * time that replicas have, or the deadline.
 */
#ifndef GAVEL__TRANSACTION_H
#define GAVEL__TRANSACTION_H

#include "base/arena.h"
#include "base/buffer.h"
#include "base/line.h"
#include "base/list.h"
#include "base/slot.h"
#include "core/commands.h"
#include "core/keys.h"

#include <gavel/client.h>

typedef enum gavel__tx_state {
    GAVEL__TX_READY,
    GAVEL__TX_PARKED,      /* a key is in another round, or others come first */
    GAVEL__TX_PAUSED,      /* backoff, after a conflict or a fault; or it yields to rounds */
    GAVEL__TX_READING,     /* in a round: WATCH and the reads are under way */
    GAVEL__TX_COMMITTING,  /* in a round: EXEC is under way */
    GAVEL__TX_IN_DOUBT,    /* in a doubt: the link was lost after EXEC */
    GAVEL__TX_REPLICATING, /* committed, and wishes that replicas have it first */
    GAVEL__TX_ENDED
} gavel__tx_state;

struct gavel__transaction;

/* What a transaction knows of one of its keys. */
typedef struct gavel__hold {
    struct gavel__transaction *transaction; /* whose it is */
    uint64_t hash;                          /* for the table of keys */
    gavel__key *known;                      /* what is known of the key; NULL: not looked up yet */
    gavel__key *key;                        /* the same while its round holds it, else NULL */
    gavel__line_node node;                  /* in the key's line, or */
    bool is_aside;                          /* among those who have stepped aside there */
} gavel__hold;

/* How often a transaction lets others' rounds be done first, at most, which have a key that it only
 * writes. */
enum { GAVEL__MAX_YIELDS = 4 };

/* One read of a transaction: a command, with the reply in the attempt under way. */
typedef struct gavel__read {
    gavel__command command;   /* its arguments stand in `encoded` */
    gavel_bytes encoded;      /* as it goes over the wire; tells reads apart */
    const gavel_reply *reply; /* in the round's arena; NULL: not fetched */
    bool is_question;         /* asks what a command does, for gavel, not only for the body */
} gavel__read;

/* What an ordinary one copies fits in so many bytes: with ten thousands of them under way, memory
 * decides how fast they are. */
#define GAVEL__TRANSACTION_ARENA 512

typedef struct gavel__transaction {
    gavel__list node;       /* of a round's members, or those done; PARKED: those blocked at a key;
                               PAUSED: those who yield to its rounds */
    gavel__line_node turn;  /* among those that are ready, or that a round may take */
    gavel__line *turn_line; /* in which line; NULL: none */
    size_t blocked_at;      /* PARKED: which of its keys it waits for, as was last seen */
    gavel__line_node timer; /* the end of a pause, or the deadline */
    uint64_t sequence;      /* order of arrival */
    gavel__tx_state state;
    gavel_ticket ticket;

    gavel_body *body;
    void *user;
    gavel_done *done; /* the client's business: NULL for gavel_run */
    void *waiter;     /* likewise: who waits in gavel_run */
    int64_t started_us;
    int64_t deadline_us;
    int64_t resume_us; /* PAUSED: until then */
    uint32_t max_attempts;
    uint32_t max_conflicts;
    uint32_t max_faults;
    uint32_t min_replicas; /* that shall have its writes; 0: it has no such wish */
    uint32_t durable_ms;   /* how long they have for it */
    bool needs_fsync;      /* and disks */
    uint32_t n_may_pass;   /* how many younger ones may overtake it yet */
    uint32_t n_asides;     /* how often it has stepped aside */
    uint32_t n_yields;     /* how often it has let others' rounds be done before it writes a key */
    int64_t body_us;       /* what bodies took that took long: its own, or others' of its rounds */
    bool is_body_shared;   /* others' among them */
    uint32_t n_cuts;       /* of its faults since its last conflict: see gavel__round_note_cut */
    size_t n_cut_bytes;    /* written in the last one */
    uint32_t n_redirects;  /* how often its slot was elsewhere */
    uint32_t n_retries;    /* of its conflicts, those that were its body's RETRY */
    bool is_read_only;
    bool is_stale_ok;      /* may read from a replica */
    uint32_t max_stale_ms; /* then: what is older is read at the primary; 0: nothing is */
    bool needs_primary; /* for the rest of it, since a replica has not served it, or never will */
    struct gavel__node
        *replica; /* where it is READY, or a member; NULL: where its keys are served */
    bool keep_replies;
    bool is_alone;      /* runs in a round of its own: as asked for, or to find out whose command
                           is refused */
    bool has_paused;    /* has waited for its keys' pauses: now it runs */
    bool wants_fresh;   /* not in a round that has read before it came */
    bool is_cancelled;  /* no further attempt */
    bool is_doubtful;   /* an EXEC of it may still arrive: only its id can tell; see doubt.c */
    bool is_in_cluster; /* all its keys have to lie in one slot */
    bool is_slot_sure;  /* that of keys which are declared or read; else of what was written last */
    uint16_t slot;      /* which one that is; GAVEL__NO_SLOT: not known, or none is needed */
    uint16_t guess;     /* not known: it is READY where this one is, to find out */
    uint16_t guest_at;  /* READY: for a guest round at this node; GAVEL__NO_NODE: for none */
    bool is_scout;      /* READY: for a scout */
    bool is_no_guest;   /* it writes what it does not watch */

    gavel__arena arena; /* of all that is copied below */
    gavel_bytes *keys;  /* watched, each once: declared, read (in the read's `encoded`), the id's */
    gavel__hold *holds; /* as many: what is known of each */
    size_t n_keys;
    size_t keys_capacity;
    gavel__read *reads;
    size_t n_reads;
    size_t reads_capacity;
    size_t next_read;   /* where the next look-up begins: bodies read in the declared order */
    gavel_bytes id_key; /* data NULL: no id */
    gavel_bytes digest;

    gavel__key *yields_to;      /* PAUSED until the key's rounds are done; NULL: not for that */
    struct gavel__round *round; /* READING, COMMITTING */
    struct gavel__replicating *replicating; /* REPLICATING: those of its connection */
    uint64_t commit_number;                 /* REPLICATING: its round's */
    size_t first_write; /* of this attempt's writes among the round's commands */
    size_t n_writes;
    bool is_aborted;           /* this attempt's verdict was ABORT; its proof is under way */
    gavel_status abort_status; /* what to tell then: ABORTED, or why the body was poisoned */
    bool rests_on_others;      /* has seen what other members of its round wrote */
    bool is_refused;           /* one of its commands was refused */
    char *why;                 /* it is aborted or refused; noted below */
    char *last_fault;          /* what it has lost time to, for the deadline's message; likewise */

    gavel_outcome outcome; /* complete when ENDED */
} gavel__transaction;

/* What an engine allows, from the config. */
typedef struct gavel__limits {
    gavel_bytes key_prefix;
    const struct gavel__lore *lore; /* borrowed; NULL: none */
    uint32_t default_deadline_ms;   /* where a request names none */
    uint32_t min_replicas;          /* likewise */
    uint32_t durable_ms;            /* likewise */
    bool needs_fsync;               /* of all */
    bool is_cluster;                /* its keys are parted into slots */
    int64_t max_deadline_us; /* 0: none; else so that a doubt is settled while the marker lives */
} gavel__limits;

/*
 * Takes over what was asked for: checks it, copies it. False: it is INVALID, or there was no
 * memory (NOT_SENT), and the outcome says so.
 */
bool gavel__transaction_begin(gavel__transaction *transaction, const gavel_transaction *request,
    const gavel__limits *limits, gavel__buffer *scratch);

/* Notes a message in the transaction's memory: at `why` or `last_fault`, where it stays NULL if
 * there is none. */
void gavel__transaction_note(gavel__transaction *transaction, char **note, const char *message);

/* Lets go of everything copied; the transaction may begin anew. */
void gavel__transaction_reset(gavel__transaction *transaction);

/* What was added. */
typedef enum gavel__added {
    GAVEL__ADDED_NEW,
    GAVEL__ADDED_KNOWN,
    GAVEL__ADDED_TOO_MANY,
    GAVEL__ADDED_OTHER_SLOT, /* than its other keys: `why` names two of them */
    GAVEL__ADDED_NO_MEMORY
} gavel__added;

/* Adds a read and its keys, unless it is known. Copies it. */
gavel__added gavel__transaction_add_read(
    gavel__transaction *transaction, const gavel__command *command, gavel__buffer *scratch);

/* The same for COMMAND INFO of this name, for gavel's own sake. */
gavel__added gavel__transaction_add_question(
    gavel__transaction *transaction, gavel_bytes name, gavel__buffer *scratch);

/* Takes one of its reads away, or all such questions; others move up. */
void gavel__transaction_drop_read(gavel__transaction *transaction, gavel__read *read);
void gavel__transaction_drop_questions(gavel__transaction *transaction);

/* Likewise those whose command gavel does not know: the next server may have another opinion of it.
 * The body asks for them again. */
void gavel__transaction_drop_unknown(gavel__transaction *transaction);

/* Where no key says on which server of a Cluster something is to run; the command's name follows.
 */
extern const char gavel__transaction_no_place[];

/* Says that these two keys lie in different slots, and what helps. */
void gavel__transaction_tell_slots(
    gavel_bytes key, gavel_bytes other, char ret_message[GAVEL_MESSAGE_SIZE]);

bool gavel__transaction_has_key(const gavel__transaction *transaction, gavel_bytes key);

/* The key as the transaction's round holds it; NULL for one that is not the transaction's, or that
 * it has come to want only in this run. */
gavel__key *gavel__transaction_held_key(const gavel__transaction *transaction, gavel_bytes key);

/* The read with exactly these arguments, or NULL. */
gavel__read *gavel__transaction_find_read(
    gavel__transaction *transaction, const gavel__command *command);

/* The only way from one state to another; asserts that the drawing above has that arrow. */
void gavel__transaction_set_state(gavel__transaction *transaction, gavel__tx_state state);

/* Whether its share of the round's EXEC, as composed, writes anything. */
bool gavel__transaction_has_effects(const gavel__transaction *transaction);

/* The slot at whose node it runs. */
static inline uint16_t gavel__transaction_place(const gavel__transaction *transaction)
{
    return transaction->slot != GAVEL__NO_SLOT ? transaction->slot : transaction->guess;
}

/* Whether its commit is told only when replicas or disks have it. */
static inline bool gavel__transaction_has_wish(const gavel__transaction *transaction)
{
    return transaction->min_replicas > 0 || transaction->needs_fsync;
}

static inline gavel__transaction *gavel__member_of(gavel__list *node)
{
    return GAVEL__CONTAINER(node, gavel__transaction, node);
}

/* Sets the outcome, once; the message is for people and names the key or server. */
void gavel__transaction_settle(
    gavel__transaction *transaction, gavel_status status, const char *message);

#endif
