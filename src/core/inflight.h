/*
 * What is in flight on a link: what the replies to come will answer, in order.
 *
 * Whoever writes commands for a link notes here, in the same breath, what their replies answer. An
 * awaited reply belongs to a round, or to none: then it is looked at only to see that the link is
 * sound.
 */
#ifndef GAVEL__INFLIGHT_H
#define GAVEL__INFLIGHT_H

#include "base/memory.h"

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>

struct gavel__question;
struct gavel__round;

typedef enum gavel__awaited_kind {
    /* Of a round, and of interest only while there is one. */
    GAVEL__AWAITED_PLANT,           /* SET of the marker, after a long rest: OK */
    GAVEL__AWAITED_WATCH,           /* OK */
    GAVEL__AWAITED_FETCH_STRINGS,   /* the reply to MGET */
    GAVEL__AWAITED_FETCH,           /* the reply to a read */
    GAVEL__AWAITED_SNAPSHOT_QUEUED, /* in a snapshot: QUEUED, or why not */
    GAVEL__AWAITED_SNAPSHOT,        /* its EXEC: what was read, or why not */
    GAVEL__AWAITED_MULTI,           /* OK */
    GAVEL__AWAITED_QUEUED,          /* QUEUED, or why not */
    GAVEL__AWAITED_EXEC,            /* an array, nil, or why not */
    /* Of the link, whatever becomes of rounds. */
    GAVEL__AWAITED_UNWATCH,   /* OK */
    GAVEL__AWAITED_ASKING,    /* ASKING: without OK, what is behind it is redirected */
    GAVEL__AWAITED_READONLY,  /* OK, or why not */
    GAVEL__AWAITED_READWRITE, /* OK */
    GAVEL__AWAITED_GUARD,     /* WATCH of the marker, for the next round: OK */
    GAVEL__AWAITED_NAME,      /* CLIENT SETNAME, for people: whatever the answer */
    GAVEL__AWAITED_TURN,      /* LPOP or BLPOP of a gate's queue */
    GAVEL__AWAITED_RECORD,    /* SET of its record */
    GAVEL__AWAITED_GATE,      /* what else is done to a gate: whatever the answer */
    GAVEL__AWAITED_CHECK,     /* GET of a record, after a conflict */
    GAVEL__AWAITED_QUESTION   /* whatever it has asked */
} gavel__awaited_kind;

static inline bool gavel__awaited_is_of_round(gavel__awaited_kind kind)
{
    return kind <= GAVEL__AWAITED_EXEC;
}

/* Replies in a row that answer the same. */
typedef struct gavel__awaited {
    gavel__awaited_kind kind;
    size_t n_replies; /* still to come */
    struct gavel__round *round;
    struct gavel__question *question; /* of QUESTION; else NULL */
} gavel__awaited;

/* A ring that grows. Without memory it is marked, and the link has to be closed before anything
 * more is sent: gavel__lane_end_write sees to that. */
typedef struct gavel__inflight {
    const gavel_allocator *allocator; /* borrowed */
    gavel__awaited *ring;
    size_t capacity;
    size_t first;
    size_t n;
    size_t n_replies;       /* of all of them */
    size_t n_for_questions; /* of these */
    bool has_failed;        /* no memory: something is not noted */
} gavel__inflight;

/* Room for one more; false: no memory. */
bool gavel__inflight_reserve(gavel__inflight *inflight);

static inline bool gavel__inflight_is_empty(const gavel__inflight *inflight)
{
    return inflight->n == 0;
}

/* Whether nothing else is awaited. */
static inline bool gavel__inflight_is_for_questions(const gavel__inflight *inflight)
{
    return inflight->n_replies == inflight->n_for_questions;
}

/* What the next reply answers; something must be awaited. */
static inline gavel__awaited *gavel__inflight_current(const gavel__inflight *inflight)
{
    assert(inflight->n > 0);
    return &inflight->ring[inflight->first];
}

/* None of the replies to it will come any more. */
static inline void gavel__inflight_drop(gavel__inflight *inflight)
{
    const gavel__awaited *awaited = gavel__inflight_current(inflight);
    inflight->n_replies -= awaited->n_replies;
    if (awaited->question != NULL)
        inflight->n_for_questions -= awaited->n_replies;
    inflight->first = (inflight->first + 1) % inflight->capacity;
    inflight->n--;
}

/* One reply to it has come. */
static inline void gavel__inflight_advance(gavel__inflight *inflight)
{
    gavel__awaited *awaited = gavel__inflight_current(inflight);
    inflight->n_replies--;
    if (awaited->question != NULL)
        inflight->n_for_questions--;
    if (--awaited->n_replies == 0)
        gavel__inflight_drop(inflight);
}

/* Nothing is noted for no replies. */
static inline void gavel__inflight_put(gavel__inflight *inflight, gavel__awaited awaited)
{
    if (awaited.n_replies == 0)
        return;
    if (!gavel__inflight_reserve(inflight)) {
        inflight->has_failed = true;
        return;
    }
    inflight->ring[(inflight->first + inflight->n) % inflight->capacity] = awaited;
    inflight->n++;
    inflight->n_replies += awaited.n_replies;
    if (awaited.question != NULL)
        inflight->n_for_questions += awaited.n_replies;
}

static inline void gavel__inflight_add(gavel__inflight *inflight, gavel__awaited_kind kind,
    size_t n_replies, struct gavel__round *round)
{
    gavel__inflight_put(
        inflight, (gavel__awaited){.kind = kind, .n_replies = n_replies, .round = round});
}

static inline void gavel__inflight_add_question(
    gavel__inflight *inflight, size_t n_replies, struct gavel__question *question)
{
    gavel__inflight_put(inflight,
        (gavel__awaited){
            .kind = GAVEL__AWAITED_QUESTION, .n_replies = n_replies, .question = question});
}

/* The replies that are to come for this round no longer matter. */
static inline void gavel__inflight_disown(
    gavel__inflight *inflight, const struct gavel__round *round)
{
    for (size_t i = 0; i < inflight->n; i++) {
        gavel__awaited *awaited = &inflight->ring[(inflight->first + i) % inflight->capacity];
        if (awaited->round == round)
            awaited->round = NULL;
    }
}

#endif
