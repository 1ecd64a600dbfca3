/*
 * Which history of its data a node of a Cluster is in: whether it may have gone back to an older
 * state. For the engine, of a client that keeps a ledger.
 *
 * A server draws a new name for its history (INFO's master_replid) when it is started as a primary,
 * and when it takes its primary's place; a replica has its primary's. So a link may be lost and
 * nothing with it: the node is asked on the next link, or on another one that is up, and until it
 * has answered nobody can say.
 *
 * Whoever takes its primary's place remembers the name that it had from it (master_replid2). So
 * one that still has that name was replaced: it may have been frozen, not know it yet, serve its
 * slots by its own map, and take writes. Who really comes back has a new name.
 *
 * It is asked for its epoch as well, and the newest that it knows of: a new one is given out
 * whenever a slot comes to a node, and when one takes its primary's place. While a node's is the
 * same, no slot of it has been away and come back.
 */
#ifndef GAVEL__HISTORY_H
#define GAVEL__HISTORY_H

#include "core/ledger.h"

typedef struct gavel__history {
    gavel__question question; /* IDLE, unless there is a link */
    gavel__ledger *ledger;    /* borrowed; NULL: nobody wants to know */
    uint64_t name;            /* what stands for it; 0: not known yet */
    uint64_t former;          /* the name that it had before, from its primary; 0: not known */
    gavel__epochs epochs;     /* as it said last, if it says so */
    int64_t written_us;       /* when the last question went out */
    int64_t answered_us;      /* and the last one that was answered; 0: none since it took over */
    int64_t changed_us;       /* when it was last seen to be another one; 0: never */
    int64_t taken_us;         /* when it was last seen to take another one's place; 0: never */
    struct gavel__history *taken_from; /* whose; NULL: not known */
    bool is_unsure;                    /* a link was lost since it has answered */
    bool is_late;                      /* ASKED: or since it was asked */
} gavel__history;

/* `node`: the index of the one that is asked. `ledger`: hears when it has gone back; may be NULL.
 */
void gavel__history_init(gavel__history *history, gavel__ledger *ledger, uint16_t node);

/* A link to the node is up; one is lost, and another one is up or not. */
void gavel__history_on_link_up(gavel__history *history);
void gavel__history_on_link_down(gavel__history *history, bool has_link);

/* It was seen to have lost its place to another one; or to have taken that. */
void gavel__history_on_replaced(gavel__history *history, int64_t now_us);
void gavel__history_on_takeover(
    gavel__history *history, gavel__history *from, bool has_link, int64_t now_us);

/* A slot has come to it, and so a new epoch: what it said of that before is not so any more. */
void gavel__history_on_arrival(gavel__history *history, bool has_link);

/* What it said when it was asked after that. Its own is 0: it has not answered since, and is asked
 * if it has a link; or, with a time, it does not say. */
gavel__epochs gavel__history_epochs(gavel__history *history, bool has_link, int64_t since_us);

/* Whether the other one has gone on with the first one's data, in its place. */
bool gavel__history_follows(const gavel__history *history, const gavel__history *first);

/* When the node may last have gone back: 0, never; GAVEL__NEVER: it will say so soon, on a link
 * that is up, or if there is none, when there is one. */
int64_t gavel__history_fell_us(const gavel__history *history);

#endif
