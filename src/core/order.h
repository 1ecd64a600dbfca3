/*
 * The order of transactions: whose turn it is.
 *
 * A transaction that writes stands in the line of each of its keys, by arrival. It is ready when it
 * is the first in all of them and no round has any of these keys; so whatever is open, a round
 * looks at those that it takes, and at those that stand behind them. Of two with a key in common
 * the elder goes first, also if the younger one could go now: nobody is passed for ever, and since
 * one waits for elder ones and for rounds only, never in a circle.
 *
 * Where that would keep others for longer than rounds take, it steps aside in the lines of its
 * other keys, to come back when its turn has come where it waits: behind a key that is away (its
 * round waits at a gate or for a silent link, or is in doubt), and during a key's pause. It does so
 * a few times only, and comes back before more than GAVEL__MAX_OVERTAKEN younger ones have been
 * taken there. From then on it stays where it stands. That makes no circle either: who stays waits
 * for elder ones, which do not wait for it, and for rounds; and a round waits for no line, at a
 * gate neither: what it has let go of it takes back past whoever stands there, or its members stand
 * in line again, without a round.
 *
 * Transactions that only read, and those without keys, stand in no line. Used by the queue, rounds,
 * and the schedule.
 */
#ifndef GAVEL__ORDER_H
#define GAVEL__ORDER_H

#include "core/gate.h"
#include "core/transaction.h"
#include "core/turns.h"

/* How many younger ones overtake a transaction at most, by its stepping aside, in all. */
enum { GAVEL__MAX_OVERTAKEN = 64 };

typedef struct gavel__order {
    gavel__keys *keys;
    gavel__gates *gates;
    gavel__turns *only;         /* who is ready; NULL: there are several nodes */
    const gavel__slot_map *map; /* of these; NULL: none is known yet. Both set by the engine */
    gavel__turns nowhere;       /* who is ready, but for a slot that is nowhere, as far as known */
    uint16_t last_guess;        /* see gavel__transaction.guess */
    gavel__list looks;          /* keys whose first one is to be looked at */
    bool is_looking;
    bool misses_replica;   /* one was wanted, and none is known: to be cleared by who can help */
    bool has_blocked;      /* ever: where all want one key, nobody is ever kept from others */
    size_t n_with_several; /* transactions under way that want several keys, but for their id's */
} gavel__order;

void gavel__order_init(gavel__order *order, gavel__keys *keys);

/* Makes its keys known. False: no memory; those that are known stay so. */
bool gavel__order_know(gavel__order *order, gavel__transaction *transaction);

/* Whether it wants several keys that are known for its sake, and that others may want as well. */
bool gavel__order_wants_several(const gavel__transaction *transaction);

/* They need not be known any more, for its sake. */
void gavel__order_forget(gavel__order *order, gavel__transaction *transaction);

/* Into the lines of its keys, which are known: READY, or PARKED. */
void gavel__order_enter(gavel__order *order, gavel__transaction *transaction, int64_t now_us);

/* Out of them, wherever it stands; who stood behind it may be ready. Its state is the caller's. */
void gavel__order_leave(gavel__order *order, gavel__transaction *transaction, int64_t now_us);

/* The same for one that joins a round which has its keys already. */
void gavel__order_join(gavel__order *order, gavel__transaction *transaction, int64_t now_us);

/* A READY one is PAUSED, for the sake of the i-th of its keys: it stays first there. Those behind
 * it step aside elsewhere. */
void gavel__order_hold_back(
    gavel__order *order, gavel__transaction *transaction, size_t i, int64_t now_us);

/* One that has left its round is PAUSED until no other round has the key, or it is away, or its
 * round has lost an attempt. It stands in no line. */
void gavel__order_yield(gavel__order *order, gavel__transaction *transaction, gavel__key *key);

/* Those who have yielded to the key's rounds go on. */
void gavel__order_wake(gavel__order *order, gavel__key *key, int64_t now_us);

/* No round has the key any more, or its round only stands: whoever is first may be ready. */
void gavel__order_look(gavel__order *order, gavel__key *key, int64_t now_us);

/* The key's round stands no more: whoever was ready for it is so no longer. */
void gavel__order_withdraw(gavel__order *order, gavel__key *key, int64_t now_us);

/* The key's round waits at a gate or for a silent link, or a doubt has the key. */
void gavel__order_set_away(gavel__order *order, gavel__key *key, int64_t now_us);

/* Whether somebody is READY who wants the key. */
bool gavel__order_has_ready_first(const gavel__key *key);

/* Whoever is first in the key's line, if it waits for nothing but rounds that are under way and end
 * by themselves; else NULL. */
gavel__transaction *gavel__order_soon(const gavel__key *key);

/* What takes a transaction by now, if gates are up before its keys, or none. */
gavel__ready_kind gavel__order_kind(
    const gavel__transaction *transaction, bool is_gated, int64_t now_us);

/* Whose turn a transaction's node is. */
static inline gavel__transaction *gavel__of_turn(gavel__line_node *node)
{
    return (gavel__transaction *)((char *)node - offsetof(gavel__transaction, turn));
}

/* The READY one that goes first, or NULL. */
static inline gavel__transaction *gavel__turns_first(
    const gavel__turns *turns, gavel__ready_kind kind)
{
    gavel__line_node *node = gavel__line_first(&turns->lines[kind]);
    return node != NULL ? gavel__of_turn(node) : NULL;
}

/* The one that came first, of two that may be NULL. */
static inline gavel__transaction *gavel__order_elder(gavel__transaction *a, gavel__transaction *b)
{
    if (a == NULL || b == NULL)
        return a != NULL ? a : b;
    return a->sequence < b->sequence ? a : b;
}

/* Who goes first of those that pass through no gates, or NULL. */
static inline gavel__transaction *gavel__turns_first_racing(const gavel__turns *turns)
{
    gavel__transaction *writer = gavel__order_elder(gavel__turns_first(turns, GAVEL__READY_CALM),
        gavel__turns_first(turns, GAVEL__READY_CONTENDED));
    return gavel__order_elder(
        writer, gavel__order_elder(gavel__turns_first(turns, GAVEL__READY_READERS),
                    gavel__turns_first(turns, GAVEL__READY_BLIND)));
}

/* With which of the nodes, or nowhere, the transaction stands when it is READY. */
const gavel__turns *gavel__order_turns(
    const gavel__order *order, const gavel__transaction *transaction);

/* The map has changed: a READY one goes where its slot is now. */
void gavel__order_place(gavel__order *order, gavel__transaction *transaction, int64_t now_us);

/* From the line of turns that it stands in to another. */
void gavel__order_move(gavel__transaction *transaction, gavel__line *line);

/* ---- For a round that is being collected --------------------------------------------------- */

/* Who may be taken in because of the keys that the round has. */
typedef struct gavel__candidates {
    gavel__line line;
    const struct gavel__round *own;    /* the round; NULL: not begun */
    const struct gavel__round *before; /* the one behind whose EXEC it reads, or NULL */
} gavel__candidates;

/* Whoever is first in the key's line is a candidate, if all its keys are free or the round's. */
void gavel__order_offer(
    gavel__order *order, gavel__candidates *candidates, gavel__key *key, int64_t now_us);

/* A member has been taken in, with its keys: out of their lines, and the next ones are offered. */
void gavel__order_take(gavel__order *order, gavel__candidates *candidates,
    gavel__transaction *transaction, int64_t now_us);

/* This one is no candidate after all. */
void gavel__order_drop(gavel__order *order, gavel__transaction *transaction, int64_t now_us);

#endif
