/*
 * Durability: commits that are not told before enough replicas have them.
 *
 * A member of a round whose EXEC has succeeded, and who wants replicas to have its writes, leaves
 * the round, and with it its keys, and is held here: REPLICATING. Members are held by what they
 * wish: one group for each number of replicas, and one for all; others for those who want it on
 * disks. So a replica that is down delays nobody who can do without it. A group asks one question
 * at a time, on a lane that blocks:
 *
 *     SET <prefix>wait:<client> 1 PX ..   what WAIT is about: whatever was answered before stands
 *                                         in front of it in what replicas are sent
 *     WAIT n t                            how many have it; or WAITAOF 1 n t: and their disks, and
 *                                         the server's own
 *     ROLE                                for "all": how many there are
 *     GET marker                          of each connection that the members committed on
 *
 * A connection that has written nothing would be told of any replica, so SET is never left out but
 * where the same connection has sent it for the same members: then the count is still about that
 * one. Whoever comes meanwhile is asked for next: his commit stands behind theirs. WAIT is asked in
 * slices, and again, until each member's time is over. Up to Redis 7.0 it is about the connection's
 * last command, also if that wrote nothing, so a replica that is behind by more than a slice would
 * never come up with it. So from the second slice on ROLE is asked as well, once behind SET, for
 * the offset, and then behind each WAIT, for the replicas that have it.
 *
 * WAIT knows nothing of a server that has gone back to an older state of its data since, or of
 * another one in its place that has less. So a member counts as durable only if the marker of its
 * connection, asked for behind WAIT, holds its round's number or more. Less, but not less than the
 * marker's first planting, says that the commit was undone before it was told: the member runs
 * again. A marker that is gone cannot tell, and is asked for again.
 *
 * What the marker holds may be an EXEC's whose reply has not come yet, and which would say that the
 * server had gone back before it. So where the connection has such a one under way, its reply is
 * awaited before anybody is told: those members are among the ripe ones till then.
 *
 *     IDLE --ask--> ASKED --nobody is held any more--> IDLE
 *                    |  ^
 *     would not say  v  | after a pause
 *                   RESTING
 *
 * In a Cluster each node has its own wishes. Whose slot has another node by now is asked for there:
 * his keys have come, or a replica has taken over. While the slot is on its way no node would say,
 * and he waits.
 *
 * Members leave by themselves at their time: NOT_DURABLE; or UNKNOWN, if the server may be another
 * one by then, or the same with older data, and nobody has seen their marker there.
 *
 * For rounds and doubts, which hand members over, and the engine.
 */
#ifndef GAVEL__DURABILITY_H
#define GAVEL__DURABILITY_H

#include "core/ledger.h"
#include "core/names.h"
#include "core/question.h"
#include "core/queue.h"

typedef enum gavel__wish_state {
    GAVEL__WISH_IDLE,   /* nobody is asked for */
    GAVEL__WISH_ASKED,  /* the question is under way */
    GAVEL__WISH_RESTING /* to be asked again at ask_us */
} gavel__wish_state;

/* Members that committed on one connection, and under one planting of its marker. */
typedef struct gavel__replicating {
    gavel__list node;
    struct gavel__wish *wish;
    gavel__list members;
    char marker[GAVEL__MARKER_SIZE]; /* the connection's */
    size_t marker_size;
    uint64_t first_number; /* as it was first planted */
    gavel__page *page;     /* of the ledger; pinned. NULL: none */
    int64_t found;         /* what it held when it was asked for; -1: no number */
    bool is_sent;          /* an EXEC that counts it up is under way */
    bool is_uncertain;     /* the server may have lost it, since the members committed */
} gavel__replicating;

/* Those who wish for the same number of replicas. */
typedef struct gavel__wish {
    struct gavel__durability *durability;
    uint32_t n_replicas; /* GAVEL_ALL_REPLICAS: all */
    bool needs_fsync;
    gavel__wish_state state;
    gavel__list next;  /* connections with members that come after those who are asked for */
    gavel__list asked; /* with those who are */
    gavel__list ripe;  /* with those of whom enough replicas are told, if the next EXEC says so */
    gavel__list *turn; /* of these, whose marker is answered next */
    gavel__question question;
    int64_t ask_us;           /* RESTING: until then */
    struct gavel__lane *lane; /* where what WAIT is about was written; NULL: nowhere */
    uint32_t n_ups;           /* and on which of its connections */
    int64_t mark;             /* the server's offset behind that; -1: not known */
    bool is_behind;           /* too few have come up with it within a slice, lately */
    uint8_t steps[4];         /* the commands of the question under way, in front of GET */
    size_t n_steps;
    int64_t n_counted;  /* what WAIT said; -1: nothing that counts */
    bool is_believed;   /* needs_fsync: the server is one whose WAITAOF does not answer too early */
    bool is_on_disk;    /* needs_fsync: the server's own */
    bool is_role_known; /* ROLE was answered */
    const char *fault;  /* what went wrong, for people: "" or `words` */
    bool is_refused;    /* for good */
    bool is_led_away;   /* what WAIT is about is of a slot that is not there, or is leaving */
    char words[GAVEL_MESSAGE_SIZE];
} gavel__wish;

/* All replicas, 0, 1 and so on; and the same on disks. */
#define GAVEL__N_WISHES (2 * (GAVEL_MAX_REPLICAS + 2))

typedef struct gavel__durability {
    gavel__context *context;
    gavel__queue *queue;
    gavel__questions *questions;
    gavel_bytes key_prefix;
    const uint64_t *identity;             /* borrowed: of the client, two words */
    const struct gavel__node *node;       /* borrowed: the server, for messages */
    uint16_t at_node;                     /* of a Cluster: which is asked; else GAVEL__NO_NODE */
    const struct gavel__nodes *nodes;     /* borrowed; of a Cluster: all of them; else NULL */
    int64_t slice_us;                     /* for how long WAIT blocks at most */
    size_t n_members;                     /* of all wishes */
    uint32_t n_most;                      /* the most replicas that ROLE has ever shown */
    uint32_t n_known;                     /* that there are, by who knows besides; 0 */
    gavel__list idle;                     /* connections to be used again */
    gavel__wish *wishes[GAVEL__N_WISHES]; /* each made when it is first wished */
} gavel__durability;

typedef struct gavel__durability_config {
    gavel_bytes key_prefix;
    const uint64_t *identity;       /* of the client: two words */
    const struct gavel__node *node; /* borrowed: the server, for messages */
    uint16_t at_node;               /* of a Cluster; else GAVEL__NO_NODE */
    const struct gavel__nodes *nodes;
    int64_t slice_us;
} gavel__durability_config;

/* The commit of a member, and what it would be told. */
typedef struct gavel__commit {
    gavel_status status;
    const char *message;
    gavel_bytes marker;    /* of the connection */
    uint64_t first_number; /* as that was first planted */
    uint64_t number;       /* of the round */
    gavel__page *page;     /* of the ledger; NULL: none */
} gavel__commit;

void gavel__durability_init(gavel__durability *durability, gavel__queue *queue,
    gavel__questions *questions, const gavel__durability_config *config);

/* All members must have left, and all lanes be gone. */
void gavel__durability_finish(gavel__durability *durability);

/* Takes a member with effects over from its round or doubt: enters its commit in the ledger and
 * tells it; but where it wishes for replicas it is held, and that is done when they have it. */
void gavel__durability_tell(gavel__durability *durability, gavel__transaction *transaction,
    const gavel__commit *commit, int64_t now_us);

/* One of those held ends now: NOT_DURABLE, or UNKNOWN; why, for people. */
void gavel__durability_end(gavel__transaction *transaction, const char *why, int64_t now_us);

/* A connection's marker was seen to hold this number, less than it did: who committed in later
 * rounds runs again. */
void gavel__durability_on_fallen(
    gavel__durability *durability, gavel_bytes marker, uint64_t number, int64_t now_us);

/* An EXEC that counts the marker up is sent; it was answered, and that the server had gone back, if
 * it had, was told before; its connection is lost. */
void gavel__durability_on_sent(gavel__durability *durability, gavel_bytes marker);
void gavel__durability_on_answered(
    gavel__durability *durability, gavel_bytes marker, int64_t now_us);
void gavel__durability_on_marker_end(gavel__durability *durability, gavel_bytes marker);

/* The server may be another one than that which made the commits, or have lost some. */
void gavel__durability_leave(gavel__durability *durability);

/* In a Cluster: slots have other nodes. Who committed there is asked for where his keys are. */
void gavel__durability_on_map(gavel__durability *durability);

/* Asks again. Costs nothing while nobody is held. */
void gavel__durability_advance(gavel__durability *durability, int64_t now_us);

/* When it wants to be called again; GAVEL__NEVER. */
int64_t gavel__durability_due_us(const gavel__durability *durability);

/* ---- Between durability.c and wish.c --------------------------------------------------------- */

/* How many are wished for, as far as is known. */
uint32_t gavel__wish_n_needed(const gavel__wish *wish);

/* What was written for WAIT's sake may be lost, and so may the commits. */
void gavel__wish_doubt(gavel__wish *wish);

/* Writes the question for those who are asked for; returns how many replies are to come. */
size_t gavel__wish_write(gavel__wish *wish, gavel__buffer *out);

/* The i-th of these. With the last one it is known what WAIT has counted, and what each marker
 * holds. */
void gavel__wish_take(gavel__wish *wish, size_t i, const gavel_reply *reply);

#endif
