/*
 * Rounds: one WATCH ... EXEC on one lane, for one transaction or for many.
 *
 *     IDLE --begin--> READING --last reply--> (bodies run) --+--> IDLE      nothing to prove
 *                        ^                                   v
 *                        +-- nil, and read again ------ COMMITTING --> IDLE    settled, or in doubt
 *                        |                                |
 *                        +-- members join -- PREFETCHED <-+
 *                                                |
 *                                                +--> IDLE      nobody joins
 *
 * A round that claims and reads nothing runs its bodies as it begins. Where its link's marker is
 * not known to be watched by then, it reads all the same: what was written is kept until WATCH is
 * answered (`n_kept`).
 *
 *     READING     on a lane, as its `round`, or as `next` behind an EXEC; holds its members' keys
 *                 (a snapshot holds none); what it has asked for is in flight
 *     COMMITTING  as its lane's `round`; up to `exec_end` its EXEC is written; members are to be
 *                 told by its reply. All may have left: then the reply matters to nobody
 *     PREFETCHED  as its lane's `round`, without members; what is read again is here or in flight
 *
 * Link loss leads from all of these to IDLE; if EXEC was sent, the members are in a doubt then.
 *
 * A round is a function of the replies: each is taken by a step, which says what comes next;
 * gavel__round_drive in progress.c is the drawing as code. Commands go out to its lane, its members
 * go back to the queue. A snapshot round is for transactions that only read: their reads alone
 * between MULTI and EXEC (or a single one by itself) are one snapshot, which nobody can spoil, so
 * it needs no WATCH. At a replica it also asks how far that has come, so that its age is known.
 */
#ifndef GAVEL__ROUND_H
#define GAVEL__ROUND_H

#include "base/heap.h"
#include "base/redirect.h"
#include "core/body.h"
#include "core/doubt.h"
#include "core/lane.h"
#include "core/queue.h"
#include "core/server_error.h"

typedef enum gavel__round_phase {
    GAVEL__ROUND_IDLE,
    GAVEL__ROUND_READING,
    GAVEL__ROUND_COMMITTING,
    GAVEL__ROUND_PREFETCHED /* committed; what it has read again is there for the next member */
} gavel__round_phase;

/* One read of a round, for all of its members that asked for it. */
typedef struct gavel__fetch {
    gavel__map_node node; /* among the indexed ones */
    gavel_bytes encoded;  /* the command */
    bool is_string;       /* a plain GET, which MGET can do as well */
    bool has_key;         /* else it is a read of the server's time, say: nothing watches it */
    bool is_life;         /* PTTL */
    uint64_t digest;      /* of the reply before it was read again */
    gavel_reply reply;
} gavel__fetch;

/* The first error of the server in a round. */
typedef struct gavel__refusal {
    bool is_set;
    bool is_of_question; /* the server refuses to say what a command does */
    bool is_moved;       /* FOLLOW: the slot has left the node; else it is about to */
    uint16_t ask;        /* FOLLOW, by ASK: the node that is to be asked; else GAVEL__NO_NODE */
    gavel__remedy remedy;
    char message[GAVEL_MESSAGE_SIZE];
} gavel__refusal;

/* What a round may grow to. */
typedef struct gavel__round_limits {
    uint32_t max_keys;                  /* of several transactions together */
    size_t max_bytes;                   /* of the writes of several transactions together */
    int64_t max_body_us;                /* of the bodies of several transactions together */
    int64_t (*read_clock)(void *clock); /* in microseconds: bodies take time */
    void *clock;
} gavel__round_limits;

/* A node of a Cluster says that a slot has moved, or is about to; `redirect` NULL: that it serves
 * none just now. Returns the index of the node that it leads to; GAVEL__NO_NODE: none. No more than
 * noting it may come of that: rounds are under way. */
typedef uint16_t gavel__on_redirect(
    void *user, struct gavel__node *node, const gavel__redirect *redirect);

/* What all the rounds of an engine share. */
typedef struct gavel__rounds {
    gavel__context *context;
    gavel__policy *policy;
    gavel__queue *queue;
    gavel__gates *gates;
    gavel__doubts *doubts;
    struct gavel__lore *lore;
    gavel__ledger *ledger;
    gavel__on_redirect *on_redirect; /* in a Cluster; NULL: nobody wants to know */
    void *redirect_user;
    gavel__list idle; /* rounds to be used again */
    gavel__buffer scratch;
    bool is_cluster; /* its keys are parted into slots, and these may move */
    gavel_bytes key_prefix;
    const uint64_t *identity; /* of the client */
    uint64_t n_markers;       /* named so far */
    int64_t marker_ttl_us;    /* 0: no markers */
    int64_t id_ttl_ms;
    gavel__round_limits limits;
} gavel__rounds;

/* How far reading has come; begun anew with each WATCH. */
typedef struct gavel__reading {
    bool is_watched;   /* WATCH was answered with OK */
    bool is_stale;     /* what was read is older than the members */
    size_t n_fetched;  /* of the fetches */
    size_t n_merged;   /* of these, by one MGET */
    size_t n_guarded;  /* keys of a guest's snapshot, all of which have to be there */
    size_t next_fetch; /* the place of the next reply to one that was not merged, or before it */
} gavel__reading;

/* How far committing has come; begun anew with each MULTI. */
typedef struct gavel__committing {
    bool has_bare_writes;  /* MULTI was refused and a write was not: it ran by itself */
    bool is_gate_refused;  /* a command for a gate was refused */
    bool is_merge_refused; /* an MSET was refused: for whose sake cannot be said */
    bool has_names;        /* EXISTS follows the writes, of keys that they do not name */
    size_t n_hand_off;     /* commands that hand gates on */
    size_t n_bytes;        /* up to the end of EXEC */
    size_t n_queued;       /* answers to queueing seen */
    uint64_t exec_end;     /* the lane's bytes up to the end of EXEC */
    uint64_t number;       /* what is written to the marker; 0: nothing */
    uint64_t made;         /* what it held then: less, where the server had gone back */
} gavel__committing;

typedef struct gavel__round {
    gavel__list node; /* among the idle ones */
    gavel__rounds *rounds;
    gavel__context *context; /* the rounds', as the policy */
    gavel__policy *policy;
    gavel__lane *lane;
    gavel__marker *marker; /* that its EXEC counts up, or sets; the lane's */
    uint16_t slot;         /* of a Cluster, of all members; GAVEL__NO_SLOT: not known yet */
    gavel__round_phase phase;
    bool is_snapshot;
    bool is_scout;      /* WATCH alone: have all of its keys left for the slot's next node? */
    bool is_guest;      /* at that node, which takes it by ASKING */
    bool is_at_replica; /* a snapshot: it may be old */
    bool is_dated;      /* then, when it is read: it is known how old, that is */
    int64_t as_of_us;   /* as new as what the primary had then, on the lease clock */
    bool is_contended;  /* of keys that others write to, or inside a gate: apart from the rest */
    bool has_prefetch;  /* WATCH and reads follow its EXEC */
    bool has_let_go;    /* it waits at a gate: its keys that are behind no such one are free */
    bool is_late;       /* its link has been silent for long: its keys count as away */
    int64_t let_go_us;  /* when it lets go, if it waits still */
    bool is_narrowing;  /* reads again after a conflict, to see which keys have changed */
    gavel__list members;
    gavel__arena arena;  /* of the fetches */
    gavel__arena values; /* of what was read, and is handed to bodies */
    gavel__key **claims; /* the keys it holds */
    size_t n_claims;
    size_t claims_capacity;
    gavel__key **written; /* blindly, and contended: nobody claims these until EXEC is answered */
    size_t n_written;
    size_t written_capacity;
    gavel__map fetch_index; /* by the command as encoded; of the first n_indexed */
    size_t n_indexed;
    gavel__fetch **fetches;
    size_t n_fetches;
    size_t fetches_capacity;
    gavel__fetch *dating; /* at a replica: how far it has come; NULL: it is not asked */
    gavel__reading reading;
    gavel__writes writes;
    bool is_unguarded; /* the bodies run, but EXEC may not leave yet: the marker is not watched */
    size_t n_kept;     /* members whose writes wait for that; 0: none */
    gavel__committing committing;
    gavel__refusal refusal;
    int64_t prefetched_us; /* PREFETCHED: since when */
    gavel__doubt *doubt;   /* idle, in case; owned */
} gavel__round;

/* In a Cluster the client hears of it, if an error says that a slot has moved (then true), or is
 * about to, or that the node serves none. `ret_node`, which may be NULL: where it leads to, or
 * GAVEL__NO_NODE. */
bool gavel__rounds_note_redirect(
    const gavel__rounds *rounds, struct gavel__node *node, gavel_bytes error, uint16_t *ret_node);

void gavel__rounds_init(gavel__rounds *rounds, gavel__queue *queue);
void gavel__rounds_finish(gavel__rounds *rounds);

/* An empty round on this lane; NULL: no memory. It is nowhere noted yet. */
gavel__round *gavel__round_create(gavel__rounds *rounds, gavel__lane *lane, bool is_snapshot);

/* All that it reads and writes lies in this slot. False: no memory. */
bool gavel__round_set_slot(gavel__round *round, uint16_t slot);

/* Gives the marker the name that it has for this connection, if there are markers: one of its own,
 * since what an older one left behind means nothing. */
void gavel__rounds_name_marker(gavel__rounds *rounds, gavel__marker *marker, uint16_t slot);

/* A marker that the node may no longer have: the next one is another. */
void gavel__rounds_rename_marker(gavel__rounds *rounds, gavel__marker *marker, uint16_t slot);

/* The lane's connection is gone: its markers are no longer counted up. */
void gavel__rounds_leave_markers(gavel__lane *lane);

/*
 * Takes a transaction in, and claims its keys; it is the caller's to take it out of their lines
 * (gavel__order_take). False: no memory; it was settled.
 */
bool gavel__round_add(gavel__round *round, gavel__transaction *transaction, int64_t now_us);

/*
 * Takes a transaction into a round that has prefetched, if it watches and reads exactly the same:
 * it then costs a single round trip. False: it does not fit. When all have joined, the round
 * resumes, and runs the bodies at once if what it reads is there.
 */
bool gavel__round_join(gavel__round *round, gavel__transaction *transaction, int64_t now_us);
void gavel__round_resume(gavel__round *round, int64_t now_us);

/* It is at a replica: what it reads is to be dated, if the replica says what that takes, and there
 * is memory. With the last member. */
void gavel__round_add_dating(gavel__round *round);

/* Writes WATCH and the reads to the lane. The round is noted there as its `round` or `next`. */
void gavel__round_begin(gavel__round *round, int64_t now_us);

/*
 * WATCHes and reads once more, behind the EXEC just composed: a retry, or the next transaction that
 * reads the same, then costs one round trip. In vain if neither comes; so it is for a lane that has
 * nothing better to do, and only done while it pays: each takes one from a credit that each use
 * restores.
 */
void gavel__round_prefetch(gavel__round *round, int64_t now_us);

/* The round stands: whoever wants its keys may have them, or joins it. */
void gavel__round_offer_keys(gavel__round *round, int64_t now_us);

/* It goes on, with those who have joined it. */
void gavel__round_withdraw_keys(gavel__round *round, int64_t now_us);

/*
 * The bodies have run. The contended ones of the keys that they write blindly are noted until EXEC
 * is answered, so that nobody here reads such a key meanwhile; not if another round has it, or is
 * about to. Nothing else rests on it: these keys are not claimed, nor watched.
 */
void gavel__round_note_written(gavel__round *round);
void gavel__round_forget_written(gavel__round *round, int64_t now_us);

/* Plants a marker of the lane anew that was lost and has come back without a time to live. Not
 * while the lane has a round: this would spoil its WATCH. */
void gavel__rounds_save_marker(
    gavel__rounds *rounds, gavel__lane *lane, gavel__marker *marker, int64_t now_us);

/* What a round needs next. Each step below returns it; gavel__round_drive sees to it. */
typedef enum gavel__next {
    GAVEL__NEXT_WAIT,     /* nothing, until more replies come or somebody joins */
    GAVEL__NEXT_READ,     /* WATCH and the reads are to be written */
    GAVEL__NEXT_RUN,      /* all is read: the bodies' turn */
    GAVEL__NEXT_COMMIT,   /* members are left whom EXEC has to prove */
    GAVEL__NEXT_CONFLICT, /* EXEC was answered nil */
    GAVEL__NEXT_END       /* all members have left: the round is dissolved */
} gavel__next;

/* Goes on until it has to wait, or the round is dissolved. */
void gavel__round_drive(gavel__round *round, gavel__next next, int64_t now_us);

/* The lane's gates are held now. */
void gavel__round_on_granted(gavel__round *round, int64_t now_us);

/* Asks for the lane's gates again, by waiting; then WATCH and reads as before. */
void gavel__round_wait_for_gates(gavel__round *round, int64_t now_us);

/* Its lane is gone, before EXEC could take effect: the members run again. */
void gavel__round_on_loss(gavel__round *round, const char *message, int64_t now_us);

/* Whether EXEC may have reached the server, and would have written something. */
bool gavel__round_is_in_doubt(const gavel__round *round, uint64_t n_sent);

/* The round's members and keys, with what is needed to ask what became of its EXEC; the round is
 * IDLE. */
gavel__doubt *gavel__round_hand_over(gavel__round *round, int64_t now_us);

/* Lets its keys go, forgets its replies to come, is idle. Members must have left. */
void gavel__round_dissolve(gavel__round *round, int64_t now_us);

/* The only way from one phase to another; asserts that the drawing above has that arrow. */
void gavel__round_set_phase(gavel__round *round, gavel__round_phase phase);

/* ---- The steps: they know this header, and not one another --------------------------------- */

/* Whether the EXEC of one that claims and reads nothing may leave at once: the server is known to
 * watch its link's marker already. */
bool gavel__round_is_guarded(const gavel__round *round, int64_t now_us);

/* Such a round, where there are no markers, watches nothing; what its link still watches from a
 * prefetch in vain would spoil its EXEC. */
void gavel__round_drop_watch(gavel__round *round, int64_t now_us);

/* ASKING, in front of each command of a guest that has a key. */
void gavel__round_write_asking(gavel__round *round);

/* A guest whose members write what they do not watch goes back: nobody has said that these keys
 * have left the other node. */
gavel__next gavel__round_check_guest(gavel__round *round, int64_t now_us);

/* WATCH and reads, once more (behind EXEC) or for the first time. */
void gavel__round_write_reads(gavel__round *round, int64_t now_us);

/* RUN, if all is read and there is somebody to run for. */
gavel__next gavel__round_run_when_read(const gavel__round *round);

/* The replies to the marker's planting, WATCH, MGET, the other reads. */
gavel__next gavel__round_on_planted(gavel__round *round, const gavel_reply *reply, int64_t now_us);
gavel__next gavel__round_on_watched(gavel__round *round, const gavel_reply *reply, int64_t now_us);
gavel__next gavel__round_on_fetched_strings(
    gavel__round *round, const gavel_reply *reply, int64_t now_us);
gavel__next gavel__round_on_fetched(gavel__round *round, const gavel_reply *reply, int64_t now_us);

/* The server, or what lies between, has closed the link: told before the round hears of it. */
void gavel__round_note_cut(const gavel__round *round);

/*
 * The reply to come is larger than a link takes, and will be again: those who have asked for it are
 * told, if it is clear who that is. The link is lost; so the round is to be told as well.
 */
void gavel__round_on_too_large(const gavel__awaited *awaited, const char *message, int64_t now_us);

/* In a snapshot: QUEUED, and EXEC's, which brings all that was read. */
void gavel__round_on_snapshot_queued(gavel__round *round, const gavel_reply *reply);
gavel__next gavel__round_on_snapshot(gavel__round *round, const gavel_reply *reply, int64_t now_us);

/* Runs the members' bodies, unless what they have written was kept. Those that need no EXEC have
 * left then. */
gavel__next gavel__round_run(gavel__round *round, int64_t now_us);

/*
 * In a Cluster a body that reads nothing says only by its writes where they belong: then the round
 * takes their slot, if it is this node's; else what was written is dropped, and the transaction is
 * READY for the right one.
 */
gavel__next gavel__round_find_slot(gavel__round *round, int64_t now_us);

/* Composes MULTI, the writes, the marker and EXEC; ends in COMMITTING. */
void gavel__round_commit(gavel__round *round, int64_t now_us);

/* The replies to these. */
void gavel__round_on_multi(gavel__round *round, const gavel_reply *reply);
gavel__next gavel__round_on_queued(gavel__round *round, const gavel_reply *reply, int64_t now_us);
gavel__next gavel__round_on_exec(gavel__round *round, const gavel_reply *reply, int64_t now_us);

/* EXEC was answered nil. */
gavel__next gavel__round_on_conflict(gavel__round *round, int64_t now_us);

/* What is to be done about an error reply. */
static inline gavel__remedy gavel__round_remedy(const gavel__round *round, gavel_bytes error)
{
    return round->rounds->is_cluster ? gavel__server_error_remedy_of_node(error)
                                     : gavel__server_error_remedy(error);
}

/* Remembers what was read, and, when all is read again, makes those wait whose keys have changed.
 */
void gavel__round_note_values(gavel__round *round);
void gavel__round_narrow(gavel__round *round, int64_t now_us);

/* ---- What the steps stand on: gating.c, refusal.c ------------------------------------------ */

/* Whether the round's lane has passed through gates: then nobody here waits for others. */
static inline bool gavel__round_is_inside(const gavel__round *round)
{
    return round->lane->pass.state == GAVEL__PASS_HELD;
}

/* Puts gates up before the changed keys of those who keep losing. */
void gavel__round_put_gates_up(gavel__round *round, int64_t now_us);

/*
 * While the lane stands in a gate's queue, and that takes longer than a round trip or two, others
 * of this client may have the round's keys but for those behind the gates that it waits for. What
 * it has written stays: the server reads for it when it is let in.
 */
void gavel__round_let_go(gavel__round *round, int64_t now_us);

/* When it does so; GAVEL__NEVER: it does not wait, has done so, or keeps nobody from anything. */
int64_t gavel__round_let_go_us(const gavel__round *round);

/*
 * It was let in, and has these keys again. False: one of them is in another round by now, which may
 * write what ours has read already; then its members have to read again, behind that.
 */
bool gavel__round_take_back(gavel__round *round, int64_t now_us);

/* Hands the lane's gates off within the EXEC, unless another round is served first. */
void gavel__round_write_hand_off(gavel__round *round, int64_t now_us);

/* The gates cannot be handed off: the members run again. */
gavel__next gavel__round_keep_gates(gavel__round *round, int64_t now_us);

/* Members whose keys are behind gates that are up leave, to pass through them. */
void gavel__round_leave_for_gates(gavel__round *round, int64_t now_us);

/* The attempt is lost to a link or a server: a fault for every member. */
void gavel__round_fail(gavel__round *round, const char *message, int64_t now_us);

/* The server refused in a way that names no member: pause, reconnect, narrow down, or give up. */
gavel__next gavel__round_on_refusal(gavel__round *round, int64_t now_us);

/* A replica does not serve its members, who run elsewhere; it is left alone for a while. */
gavel__next gavel__round_leave_replica(gavel__round *round, int64_t now_us);

/* Notes the first error. */
void gavel__round_note_refusal(gavel__round *round, const gavel_reply *error, const char *what);

/* A shortcut has failed: the members run again without it. */
gavel__next gavel__round_go_plain(gavel__round *round, gavel__shortcut shortcut, int64_t now_us);

size_t gavel__round_count_members(const gavel__round *round);

/* The only member, or NULL: none or several. */
gavel__transaction *gavel__round_only_member(const gavel__round *round);

#endif
