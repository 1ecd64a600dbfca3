/*
 * The pool of transactions: each has a place, which its ticket names, and is used again. What a
 * burst has brought beyond need is given back as the burst ends. One part of the engine.
 */
#ifndef GAVEL__POOL_H
#define GAVEL__POOL_H

#include "core/transaction.h"

/* A ticket is the place, from 1, and above it how often the place was used: so one that is over
 * names nothing, whoever has the place now. */
typedef struct gavel__place {
    gavel__transaction *transaction; /* NULL: given back */
    uint32_t n_uses;
    uint32_t next_free; /* given back: the next such place, from 1; 0: none */
} gavel__place;

typedef struct gavel__pool {
    const gavel_allocator *allocator; /* borrowed */
    gavel__place *places;             /* all ever made; only their transactions are given back */
    size_t n_places;
    size_t capacity;
    uint32_t first_free;
    gavel__list unused;  /* transactions to be used again; the one used last goes first */
    size_t n_unused;     /* of these */
    size_t unused_bytes; /* of the arenas that they have kept */
} gavel__pool;

void gavel__pool_init(gavel__pool *pool, const gavel_allocator *allocator);

/* None may be in use. */
void gavel__pool_finish(gavel__pool *pool);

/* One that is ENDED, with a ticket of its own. NULL: no memory. */
gavel__transaction *gavel__pool_take(gavel__pool *pool);

/* Takes it back; with so many others open, it may be kept to be used again, or freed. */
void gavel__pool_release(gavel__pool *pool, gavel__transaction *transaction, size_t n_open);

/* The transaction with this ticket, or NULL. */
gavel__transaction *gavel__pool_find(const gavel__pool *pool, gavel_ticket ticket);

#endif
