/*
 * Lanes: core's side of the links. On a lane at most one round commits, and one more reads behind
 * its EXEC. A lane knows nothing of sockets: commands go into `out`, the client sends them.
 *
 *     DOWN --there is work for it--> WANTED --the client dials--> DIALLING --handshake--> UP
 *      ^                               |                             |                    |
 *      +--- its node has gone away ----+--------- the link is lost --+--------------------+
 *
 *     DOWN, WANTED, DIALLING   no rounds, no pass, nothing in flight, no `out`
 *     WANTED                   to be dialled from dial_us on
 *     UP                       as long as it is not condemned, it may be given work
 *
 * Questions may be in flight whatever else is; while it stands in a queue of the server's, by its
 * pass or by a question that blocks, it is given none.
 */
#ifndef GAVEL__LANE_H
#define GAVEL__LANE_H

#include "base/buffer.h"
#include "core/pass.h"
#include "core/inflight.h"
#include "core/marker.h"

#include <gavel/outcome.h>

typedef enum gavel__lane_state {
    GAVEL__LANE_DOWN,
    GAVEL__LANE_WANTED, /* the client is to connect it, from dial_us on */
    GAVEL__LANE_DIALLING,
    GAVEL__LANE_UP
} gavel__lane_state;

/*
 * A WATCH of the marker that stands before there is a round, so that one which reads nothing can
 * send its EXEC at once:
 *
 *     NONE --written behind an EXEC--> ASKED --OK--> STANDS
 *      ^                                 |             |
 *      |                                 | EXEC or UNWATCH is written, or the marker planted
 *      +<------- its answer ---------- LAPSED          |
 *      +<----------------------------------------------+
 */
typedef enum gavel__guard {
    GAVEL__GUARD_NONE,
    GAVEL__GUARD_ASKED,
    GAVEL__GUARD_LAPSED,
    GAVEL__GUARD_STANDS
} gavel__guard;

struct gavel__node;

typedef struct gavel__lane {
    struct gavel__node *node;      /* whose it is */
    struct gavel__lane *following; /* the next one by index that there is, or NULL */
    uint32_t index;                /* its place for good: links first, then waiting links */
    gavel__lane_state state;
    void *connection;     /* the client's side of it; NULL at first */
    gavel__buffer *out;   /* the link's, while UP */
    uint64_t n_appended;  /* bytes of commands since UP */
    uint64_t n_sent;      /* of these, handed to the kernel, as far as the client has told */
    size_t n_new_replies; /* expected, not yet announced to the link */
    int64_t written_us;   /* when the write under way was composed; 0: its round trip is measured */
    int64_t silent_us;    /* since then it owes a reply and none has come; 0: it owes none */
    gavel__inflight inflight;
    struct gavel__round *round; /* reading or committing */
    struct gavel__round *next;  /* reading, behind the EXEC of `round` */
    bool is_waiting_lane;       /* of the pool for what may wait: passes and questions that block */
    gavel__pass pass;
    struct gavel__question *blocking; /* that has this lane for itself, until it is answered */
    bool is_for_replicas;             /* it is one that waits for replicas */
    uint32_t n_ups;                   /* which connection it is: how often it was UP */
    uint64_t named_after; /* the hash of the gate that the connection bears the name of; 0: none */
    bool is_watching;     /* at the end of what was written, the server watches something */
    gavel__guard guard;
    bool can_tell_fsync; /* UP: the server's WAITAOF may be believed; set by the client */
    bool awaits_login;   /* DIALLING: the program was asked as whom to log in */
    bool is_condemned;   /* the client is to close it; its message says why */
    bool is_retired;     /* condemned, but not for a fault */
    char message[GAVEL_MESSAGE_SIZE];
    int64_t dial_us;         /* WANTED: not before */
    uint32_t n_failures;     /* links lost in a row without having been of use */
    gavel__marker marker;    /* this connection's; of none, in a Cluster */
    bool has_lost_marker;    /* one of these, or more, is to be planted anew */
    gavel__markers *markers; /* in a Cluster: one for each slot; NULL: none yet */
} gavel__lane;

/* How a marker is planted. */
typedef struct gavel__planting {
    gavel__marker *marker;      /* of the lane */
    struct gavel__round *round; /* to be told of a refusal; NULL: none */
    uint64_t random;
    int64_t ttl_us;
    int64_t now_us;
} gavel__planting;

/* All lanes of a server. Each is made when it is first wanted. */
typedef struct gavel__lanes {
    const gavel_allocator *allocator; /* borrowed */
    uint32_t n_links;                 /* how many there can be for rounds that race */
    uint32_t max_passing;             /* and behind these, for those that pass through gates */
    uint32_t max_blocking;            /* and for questions that block */
    uint32_t max_for_replicas;        /* and for those of these that wait for replicas */
    gavel__lane *first;               /* by index */
    struct gavel__node *node;         /* whose they are */
} gavel__lanes;

/* The lane at this index, or NULL: it was never wanted. */
gavel__lane *gavel__lanes_find(const gavel__lanes *lanes, uint32_t index);

/* The same, made if there was none. NULL: no memory. */
gavel__lane *gavel__lanes_make(gavel__lanes *lanes, uint32_t index);

/* How many lanes there can be. */
static inline uint32_t gavel__lanes_max(const gavel__lanes *lanes)
{
    return lanes->n_links + lanes->max_passing + lanes->max_blocking + lanes->max_for_replicas;
}

/* Whether one more of the waiting lanes may be used by a pass, or by a question that blocks: for
 * replicas, or for anything else. */
bool gavel__lanes_may_pass(const gavel__lanes *lanes);
bool gavel__lanes_may_block(const gavel__lanes *lanes, bool is_for_replicas);

/* Frees them; nothing may be under way. */
void gavel__lanes_finish(gavel__lanes *lanes);

/* The only way from one state to another; asserts that the drawing above has that arrow. */
void gavel__lane_set_state(gavel__lane *lane, gavel__lane_state state);

/* The lane's link is to be closed. */
void gavel__lane_condemn(gavel__lane *lane, const char *message);

/* The same, and not for a fault: it stands in a queue of the server's, and nobody waits any more.
 */
void gavel__lane_retire(gavel__lane *lane);

/* Counts what was appended to `out` since it had this size. Condemns the lane if memory ran out. */
void gavel__lane_end_write(gavel__lane *lane, size_t size_before, int64_t now_us);

/* Writes SET marker number PX ttl: before the first round that counts it up, before it can expire,
 *  and when it was lost. */
void gavel__lane_plant(gavel__lane *lane, const gavel__planting *planting);

/* In a Cluster: this connection's marker in the slot, without a name if it was not there. NULL: no
 * memory. */
gavel__marker *gavel__lane_marker(gavel__lane *lane, uint16_t slot);

/* The server refused to plant a marker, or so it seems: each is to be planted again. */
void gavel__lane_on_plant_refused(gavel__lane *lane);

/* Writes WATCH of the marker, for a round to come; there is no guard yet. */
void gavel__lane_write_guard(gavel__lane *lane, int64_t now_us);

/* What the server answered: without OK there is no guard, and the next round watches by itself. */
void gavel__lane_on_guard(gavel__lane *lane, bool is_ok);

/* EXEC or UNWATCH was written: nothing is watched behind it. */
void gavel__lane_end_watch(gavel__lane *lane);

/* Whether its connection stands in a queue of the server's, or will when the server comes to it. */
static inline bool gavel__lane_is_blocked(const gavel__lane *lane)
{
    return lane->pass.state == GAVEL__PASS_WAITING || lane->blocking != NULL;
}

/* Whether what is awaited next is its turn in such a queue: until then its silence is no fault. */
bool gavel__lane_may_be_silent(const gavel__lane *lane);

/* Whether a question could be put here: it is answered as soon as the server comes to it. */
static inline bool gavel__lane_can_ask(const gavel__lane *lane)
{
    return lane->state == GAVEL__LANE_UP && !lane->is_condemned && !gavel__lane_is_blocked(lane);
}

/* Whether it has owed a reply for so long: another lane is better, if there is one. */
static inline bool gavel__lane_is_slow(const gavel__lane *lane, int64_t slow_us, int64_t now_us)
{
    return lane->silent_us != 0 && now_us - lane->silent_us > slow_us;
}

/* Whether a pass has the waiting lane. */
static inline bool gavel__lane_is_passing(const gavel__lane *lane)
{
    return lane->is_waiting_lane && (lane->pass.n_gates > 0 || lane->round != NULL);
}

/* Whether nobody has the waiting lane, and it is there to be used. */
static inline bool gavel__lane_is_spare(const gavel__lane *lane)
{
    return lane->is_waiting_lane && lane->state == GAVEL__LANE_UP && !lane->is_condemned &&
           lane->blocking == NULL && !gavel__lane_is_passing(lane);
}

/* Whether a round could begin to read here now. Not while replies are to come that a round before
 * it no longer wants: another lane is quicker. What questions await does not matter. */
static inline bool gavel__lane_is_free(const gavel__lane *lane)
{
    return lane->state == GAVEL__LANE_UP && !lane->is_condemned && lane->round == NULL &&
           gavel__inflight_is_for_questions(&lane->inflight);
}

#endif
