/*
 * Questions: a few commands outside of rounds, and their replies, on any link that is up.
 *
 *     IDLE --ask--> PENDING --a link takes it--> ASKED --last reply, or its link is lost--> IDLE
 *       ^              |
 *       +--------------+ withdrawn, or no link will ever do
 *
 *     IDLE      in no list, on no lane
 *     PENDING   among the pending of its kind; on no lane
 *     ASKED     its lane awaits n_replies - n_answered replies for it, and is UP
 *
 * An ordinary question goes to the lane with the fewest awaited replies, behind whatever is under
 * way there; not to one that is silent for longer than is usual, if another can be had. One that
 * blocks (its last command: BLPOP ...) has a waiting lane for itself until it is answered, and the
 * silence of that lane is no fault. Of these, one that waits for replicas (WAIT) does so for a
 * short time, so that its silence is bounded as any other; such ones stand in no line with the
 * others. It is asked on the lane where it was asked last, if it can be: WAIT is about what that
 * connection has written.
 *
 * Questions may be run in another order than they were asked in, unless they are of one strand: as
 * long as some of it are ASKED, their lane takes its next ones as well, behind them. If the lane is
 * lost, it loses them in that order, and before others of the strand are asked elsewhere. Who then
 * asks them again sees to the order.
 *
 * In a Cluster a question goes to the node that serves its slot. If a reply says that the slot is
 * not there, or not wholly, the others are not told, and all of it is asked again when they have
 * come, wherever the slot is by then: so it has to be one that may be asked twice. Of a strand only
 * one is ASKED at a time there.
 *
 * A server may be used before it is certain that its history is the one that goes on. Questions
 * about that history wait until it is.
 *
 * Used by whoever asks: doubts, gates, locks. The engine serves them.
 */
#ifndef GAVEL__QUESTION_H
#define GAVEL__QUESTION_H

#include "base/buffer.h"
#include "base/list.h"
#include "base/slot.h"
#include "core/inflight.h"
#include "core/loss.h"

#include <gavel/outcome.h>
#include <gavel/reply.h>

struct gavel__lane;
struct gavel__node;
struct gavel__nodes;

typedef struct gavel__question gavel__question;
typedef struct gavel__questions gavel__questions;

typedef struct gavel__question_ops {
    /*
     * Appends the commands to `out`. Returns how many replies are to come. Called when a link takes
     * the question, so that what it says is of that moment. 0, and nothing appended: there is
     * nothing to be asked any more; the question is IDLE when this has returned. Its lane is noted
     * already.
     */
    size_t (*write)(gavel__question *question, gavel__buffer *out, int64_t now_us);

    /* The reply to the i-th command, from 0. With the last one the question is IDLE already, and
     * may be asked again, or freed. */
    void (*on_reply)(gavel__question *question, size_t i, const gavel_reply *reply, int64_t now_us);

    /*
     * IDLE again, and may be asked again, or freed: the link was lost before all replies had come
     * (`was_sent`: all of its bytes had been handed to the kernel), or it was still PENDING and no
     * link will ever do (loss->is_final).
     */
    void (*on_loss)(
        gavel__question *question, const gavel__loss *loss, bool was_sent, int64_t now_us);
} gavel__question_ops;

typedef enum gavel__question_state {
    GAVEL__QUESTION_IDLE,
    GAVEL__QUESTION_PENDING,
    GAVEL__QUESTION_ASKED
} gavel__question_state;

/* Questions to be run in the order that they are asked in. Zeroed to begin with. */
typedef struct gavel__strand {
    gavel__question *last; /* ASKED, or about to be asked again: the next one goes behind it; NULL:
                              to any lane */
} gavel__strand;

struct gavel__question {
    gavel__list node; /* PENDING: among those */
    const gavel__question_ops *ops;
    gavel__question_state state;
    bool is_blocking;      /* to be set before it is asked */
    bool is_for_replicas;  /* likewise: blocking, but not for long */
    gavel__strand *strand; /* borrowed; likewise. NULL, or blocking: in no order */
    /* Of a Cluster: it goes to whatever node serves this slot, or to this node. Likewise. */
    uint16_t slot;
    uint16_t at_node;              /* GAVEL__NO_NODE: by the slot */
    bool is_of_history;            /* likewise: not asked while the history may be given up */
    bool is_once;                  /* likewise: asked again only if nothing of it was done */
    gavel__questions *among;       /* PENDING, ASKED: where it was asked */
    int64_t not_before_us;         /* PENDING */
    uint32_t n_redirects;          /* in a row */
    uint32_t n_failed_dials;       /* PENDING: to its node, with no other link up there */
    bool is_redirected;            /* ASKED: it is to be asked again */
    struct gavel__lane *lane;      /* ASKED: where */
    struct gavel__lane *last_lane; /* blocking: where it was asked last; NULL: nowhere yet */
    size_t n_replies;              /* ASKED: all in all */
    size_t n_answered;             /* ASKED: of these */
    bool is_refused;               /* ASKED: an answer says that the lane is of no use */
    uint64_t end_byte;             /* ASKED: the lane's bytes up to its end */
};

/* The least that is taken for silence. */
#define GAVEL__QUESTION_SLOW_US INT64_C(50000)

struct gavel__questions {
    gavel__list pending;              /* in order */
    gavel__list pending_blocking;     /* likewise */
    gavel__list pending_for_replicas; /* likewise */
    int64_t slow_us;     /* after so much silence another lane is better: to be set by the engine */
    bool is_provisional; /* what the server says now may not be in the history that goes on */
    const struct gavel__nodes *nodes; /* borrowed */
    char trouble[GAVEL_MESSAGE_SIZE]; /* why no node is known for any slot, "": for people */
    uint64_t n_failed_dials;          /* of all nodes: whether a question has one more */
};

static inline bool gavel__questions_has_pending(const gavel__questions *questions)
{
    return !gavel__list_is_empty(&questions->pending) ||
           !gavel__list_is_empty(&questions->pending_blocking) ||
           !gavel__list_is_empty(&questions->pending_for_replicas);
}

/* ---- For those who ask --------------------------------------------------------------------- */

void gavel__question_init(gavel__question *question, const gavel__question_ops *ops);

/* It must be IDLE. It is written when the engine advances next, if there is a link. */
void gavel__question_ask(gavel__questions *questions, gavel__question *question);

/*
 * True: it is IDLE, and was not asked. False: it is ASKED, and stays so; who asked is to ignore the
 * answer. The link of a blocking one is closed then: only so it leaves the server's queue.
 */
bool gavel__question_withdraw(gavel__question *question);

/* Why there is no link to the node of the slot, "" while there is one: for people. */
const char *gavel__questions_trouble(const gavel__questions *questions, uint16_t slot);

/* What was asked is taking too long: the next of the strand go to any lane, in no order with it. */
void gavel__strand_cut(gavel__strand *strand);

/* ---- For the engine ------------------------------------------------------------------------ */

/* The nodes are borrowed. */
void gavel__questions_init(gavel__questions *questions, const struct gavel__nodes *nodes);

/* Writes what is pending, as far as the node has lanes. */
void gavel__questions_serve(
    gavel__questions *questions, const struct gavel__node *node, int64_t now_us);

/* After they were served: whether a question waits for a lane, and none is up that could take it;
 * one that blocks, for a waiting lane. */
bool gavel__questions_want_lane(
    const gavel__questions *questions, const struct gavel__node *node, bool is_blocking);

/* When one of them may be asked that has to wait; GAVEL__NEVER. */
int64_t gavel__questions_due_us(const gavel__questions *questions, int64_t now_us);

/* A reply to a question. With the last one its lane closes, if one of them said that it is of no
 * use: READONLY, say. */
void gavel__question_on_reply(gavel__question *question, const gavel_reply *reply, int64_t now_us);

/* The lane is DOWN, and these were in flight on it. */
void gavel__questions_on_link_down(
    gavel__inflight *inflight, const gavel__loss *loss, int64_t now_us);

/* A link to the node could not be had, and it has no other: whoever does not wait can tell. NULL:
 * no node is known for any slot. */
void gavel__questions_on_failed_dial(gavel__questions *questions, const struct gavel__node *node);

/* The node has no link that is up, and the last try to connect one came to this. NULL: as above. */
void gavel__questions_on_unreachable(
    gavel__questions *questions, struct gavel__node *node, const gavel__loss *loss, int64_t now_us);

#endif
