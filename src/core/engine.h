/*
 * The engine: which transactions run on which lane, and when. Core's face to the client.
 *
 * It does no I/O, reads no clock and draws no randomness: bytes, replies, time and a seed come in
 * as arguments; what goes out is commands in the lanes' buffers, lanes that are to be connected or
 * closed, and transactions that are done. After any number of calls that tell it something the
 * client calls gavel__engine_advance, and then looks at these three.
 */
#ifndef GAVEL__ENGINE_H
#define GAVEL__ENGINE_H

#include "base/heap.h"
#include "core/history.h"
#include "core/offsets.h"
#include "core/lore.h"
#include "core/loss.h"
#include "core/node.h"
#include "core/pool.h"
#include "core/question.h"
#include "core/round.h"

/* Of an engine. */
#define GAVEL__MAX_LANES 64

typedef struct gavel__engine_config {
    const gavel_allocator *allocator; /* borrowed */
    gavel_hooks hooks;
    const char *key_prefix;     /* borrowed; at most 64 bytes */
    const char *server;         /* borrowed; its address, for messages */
    uint32_t max_links;         /* for rounds that race, and questions */
    uint32_t max_gate_links;    /* for rounds that pass through gates: waiting lanes */
    uint32_t max_waiting_links; /* for questions that block: likewise */
    uint32_t max_replica_links; /* for those that wait for replicas: likewise */
    gavel__policy_config policy;
    gavel__gates_config gates; /* its allocator, prefix and seeds are filled in */
    uint32_t max_queued;
    uint32_t default_deadline_ms;    /* of transactions that name none */
    uint32_t min_replicas;           /* likewise */
    uint32_t durable_ms;             /* likewise */
    bool needs_fsync;                /* of all transactions */
    bool is_cluster;                 /* its keys are parted into slots */
    gavel__on_redirect *on_redirect; /* then: a slot has moved; NULL: nobody wants to know */
    void *redirect_user;
    int64_t wait_slice_us; /* for how long WAIT may block at most */
    gavel__round_limits round_limits;
    const gavel_allocator *reply_allocator; /* NULL: allocator. See context.h */
    int64_t marker_ttl_us;                  /* 0: no markers */
    int64_t id_ttl_ms;
    gavel__ledger_config ledger; /* its ttl is filled in */
    uint64_t seed;               /* of the jitter */
    uint64_t identity[2];        /* unique among all clients of the server: names the markers */
} gavel__engine_config;

/* A node, with what core holds for it above the nodes. */
typedef struct gavel__engine_node {
    gavel__node base;
    gavel__durability durability;
    gavel__history history;
    gavel__offsets offsets;
} gavel__engine_node;

typedef struct gavel__engine {
    gavel__engine_config config;
    gavel__context context;
    gavel__policy policy;
    gavel__limits limits;
    gavel__queue queue;
    gavel__gates gates;
    gavel__rounds rounds;
    gavel__questions questions;
    gavel__nodes nodes;
    gavel__engine_node only; /* the one that there is, where it is no Cluster */
    gavel__lore lore;
    gavel__doubts doubts;
    gavel__ledger ledger;
    int64_t advanced_us;               /* when gavel__engine_advance was last called */
    int64_t trusted_until_us;          /* until then the server may be believed; GAVEL__NEVER */
    char distrust[GAVEL_MESSAGE_SIZE]; /* why no longer, for people */
    gavel__pool pool;
} gavel__engine;

void gavel__engine_init(gavel__engine *engine, const gavel__engine_config *config);

/* Everything must be done and released. */
void gavel__engine_finish(gavel__engine *engine);

/*
 * Of a Cluster: one more node. The label is borrowed: its address, for messages. NULL: no memory,
 * or there are too many. It serves no slot yet.
 */
gavel__node *gavel__engine_add_node(gavel__engine *engine, const char *label);

/*
 * Not of a Cluster: one more server, of which nothing but reads are asked, as soon as it is a
 * replica of the first. The label is borrowed. NULL: no memory, or there are too many.
 */
gavel__node *gavel__engine_add_replica(gavel__engine *engine, const char *label);

/* The node is a replica of that one; NULL: of none, or it is not known where it is, and whoever
 * waits for it goes elsewhere. */
void gavel__engine_set_primary(
    gavel__engine *engine, gavel__node *node, gavel__node *primary, int64_t now_us);

/* Which node serves each slot, by its index; GAVEL__NO_NODE: it is not known. */
typedef struct gavel__slots_change {
    const uint16_t *node_of;
    const uint64_t *migrated; /* a bit for each that has, since the last change; NULL: none has */
} gavel__slots_change;

/* Who waits for a slot goes along with it, and what was committed there is asked for. Where it has
 * not migrated, a copy of all its data has taken over. There is a node. */
void gavel__engine_set_slots(
    gavel__engine *engine, const gavel__slots_change *change, int64_t now_us);

/*
 * Takes a request. NULL: no memory at all. Otherwise the transaction will be among the done ones,
 * once: at once, if it is INVALID.
 */
gavel__transaction *gavel__engine_submit(
    gavel__engine *engine, const gavel_transaction *request, int64_t now_us);

/* The transaction with this ticket, unless it is done; else NULL. */
gavel__transaction *gavel__engine_find(gavel__engine *engine, gavel_ticket ticket);

/* CANCELLED, or, with EXEC under way, no further attempt. */
void gavel__engine_cancel(gavel__engine *engine, gavel__transaction *transaction, int64_t now_us);

/* Cancels all; with `is_final`, what was sent and not answered ends too, as UNKNOWN. */
void gavel__engine_cancel_all(gavel__engine *engine, bool is_final, int64_t now_us);

/* The next transaction that is done, or NULL; to be released when its outcome was told. */
gavel__transaction *gavel__engine_take_done(gavel__engine *engine);
void gavel__engine_release(gavel__engine *engine, gavel__transaction *transaction);

/* The name of the marker that the handshake is to plant, for a lane that is about to be connected;
 * none, for one that may never need it. The lane then is DIALLING. */
gavel_bytes gavel__engine_begin_dial(gavel__engine *engine, gavel__lane *lane);

void gavel__engine_on_link_up(gavel__engine *engine, gavel__lane *lane, gavel__buffer *out);

void gavel__engine_on_link_down(
    gavel__engine *engine, gavel__lane *lane, const gavel__loss *loss, int64_t now_us);

/* Nobody has told where the server is, or the slots are, of all that were asked since `asked_us`:
 * as if a link was lost that whoever waits for that waits for. */
void gavel__engine_on_nowhere(
    gavel__engine *engine, const gavel__loss *loss, int64_t asked_us, int64_t now_us);

void gavel__engine_on_reply(
    gavel__engine *engine, gavel__lane *lane, const gavel_reply *reply, int64_t now_us);

/*
 * Until when the server may be believed, and why not later. One that others can replace, and that
 * would be the last to know, is believed only as long as somebody vouches for it. From then on
 * nothing is begun, and a reply that comes is not taken: its link is closed instead, so that an
 * EXEC is in doubt as after any lost reply, and is asked for when there is a server to believe. At
 * first it is GAVEL__NEVER.
 */
void gavel__engine_trust(gavel__engine *engine, int64_t until_us, const char *otherwise);

/*
 * Whether it may yet turn out that the history of the server before goes on, and not this one's.
 * While that is so, rounds go on, but nothing is told that would be true in this history alone: see
 * questions and doubts. False at first.
 */
void gavel__engine_set_provisional(gavel__engine *engine, bool is_provisional, int64_t now_us);

/* So many replicas there are, though the server may not list them: one that is not connected can
 * take its place all the same. For those who wish that all of them have it. */
void gavel__engine_know_replicas(gavel__engine *engine, uint32_t n);

/* Another server has taken its place, with what it had got of the data: all links are to be made
 * anew, and whoever pauses for the old one's sake goes on. */
void gavel__engine_leave(gavel__engine *engine, const char *message, int64_t now_us);

static inline bool gavel__engine_is_trusted(const gavel__engine *engine, int64_t now_us)
{
    return now_us < engine->trusted_until_us;
}

/* The same of a node: whatever becomes of the server, its replicas are read from. */
static inline bool gavel__engine_trusts(
    const gavel__engine *engine, const gavel__node *node, int64_t now_us)
{
    return gavel__engine_is_trusted(engine, now_us) || !gavel__node_takes_questions(node);
}

/* Timers, rounds to begin, questions to be asked, links to be wanted. */
void gavel__engine_advance(gavel__engine *engine, int64_t now_us);

/* Whether gates are held for callers who have just been told, and may come back: then advance once
 * more when they had their chance. */
bool gavel__engine_keeps_gates(const gavel__engine *engine);

/* When to call gavel__engine_advance at the latest; GAVEL__NEVER. */
int64_t gavel__engine_due_us(const gavel__engine *engine);

/* ---- Between engine.c, cluster.c, links.c, replies.c, draft.c and schedule.c ---------------- */

/* Makes a node, which has no lanes yet. The label is borrowed. */
void gavel__engine_init_node(
    gavel__engine *engine, gavel__engine_node *node, uint16_t index, const char *label);

/* When the node of the slot may last have gone back: see gavel__history_fell_us. */
int64_t gavel__engine_fell_us(const void *engine, uint16_t slot);

/* What the slot's node says of epochs: see gavel__history_epochs. */
gavel__epochs gavel__engine_epochs(const void *engine, uint16_t slot, int64_t since_us);

/* Whether the slot has surely stayed where it was, or with replicas that took over, since its node
 * said that of its epochs. By what those say that have it now, and have been asked. */
bool gavel__engine_has_stayed(const void *engine, uint16_t slot, const gavel__epochs *before);

/* Whether another node has taken that one's place, and it is as if it did not know. */
bool gavel__engine_is_replaced(const void *engine, uint16_t slot);

/* Those who are READY at this replica go elsewhere, if it is shunned or none any more. */
void gavel__engine_leave_replica(gavel__engine *engine, const gavel__node *node, int64_t now_us);

/* The node where the transaction runs; NULL: none is known. */
const gavel__node *gavel__engine_node_for(
    const gavel__engine *engine, const gavel__transaction *transaction);

/* One more link of each kind, if there is work that no link takes and none is on its way. */
void gavel__engine_want_links(gavel__engine *engine, gavel__node *node, int64_t now_us);

/* Whether somebody is ready whom one more lane of this kind could serve. */
bool gavel__engine_has_ready(gavel__engine *engine, gavel__node *node, bool is_waiting_lane);

/* Gives free lanes their rounds, and those that are about to commit what comes behind. */
void gavel__engine_schedule(gavel__engine *engine, gavel__node *node, int64_t now_us);

/* A round for the lane, of those who can go, in order of arrival; behind the one that it has, if
 * any. It is nowhere noted yet. NULL: none. */
gavel__round *gavel__engine_collect(gavel__engine *engine, gavel__lane *lane, int64_t now_us);

/* Until when a lane keeps its gates for one that waits for a round of another lane of ours. */
int64_t gavel__engine_keep_until_us(const gavel__engine *engine, const gavel__lane *lane);

/* When the keys of the lane's round count as away, if that matters; GAVEL__NEVER. */
int64_t gavel__engine_late_us(const gavel__engine *engine, const gavel__lane *lane);

/* When to look again at those who wait for gates; GAVEL__NEVER. */
int64_t gavel__engine_sort_us(const gavel__node *node);

/* Hands off the gates that the lane holds: nobody here wants them any more, or others have waited
 * long enough. */
void gavel__engine_hand_off(gavel__engine *engine, gavel__lane *lane, int64_t now_us);

/* Counts what was written to a lane for gates. */
void gavel__engine_end_gate_write(
    gavel__engine *engine, gavel__lane *lane, size_t size_before, size_t n_replies_before);

#endif
