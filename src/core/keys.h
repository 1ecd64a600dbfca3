/*
 * Keys: what this client knows of each key: which round has it, who waits for it, how hot it is.
 *
 * Inside one client keys never race: a key is in one round at a time, and what wants it meanwhile
 * stands in its line (see order.h). A key that nobody here wants, and that is cold, is forgotten.
 */
#ifndef GAVEL__KEYS_H
#define GAVEL__KEYS_H

#include "base/line.h"
#include "base/list.h"
#include "base/map.h"
#include "core/policy.h"

struct gavel__round;

typedef struct gavel__key {
    gavel__map_node node; /* node.key is the key's name, in `name` */
    char *name;           /* owned */
    size_t name_capacity;
    struct gavel__round *round;   /* the latest that claimed it; NULL: free */
    struct gavel__round *earlier; /* the one before, while its EXEC is not answered */
    bool is_in_doubt;             /* what its latest round made of it is not known: claimed still */
    uint32_t n_claims;            /* a round that commits and the next one may both hold it */
    uint32_t n_writers;      /* rounds that write it blindly, as far as noted: it is not free */
    bool is_on_offer;        /* its round only stands, and gives way to whoever wants it */
    bool is_away;            /* at a gate, or late, or in doubt: nobody knows for how long */
    uint32_t n_users;        /* transactions that are under way and want it */
    gavel__line line;        /* of these, who waits for it, in order of arrival */
    gavel__line aside;       /* who has stepped aside, by the n_taken at which it is back */
    uint64_t n_taken;        /* transactions that rounds have taken from the line */
    gavel__list blocked;     /* who goes first elsewhere, but waits for this key */
    gavel__list yielding;    /* who only writes it, and lets its rounds be done first */
    gavel__list look;        /* among the keys whose first one is to be looked at */
    uint64_t run;            /* of bodies, in which the next two mean something; see writes.h */
    size_t last_write;       /* the place of the last write here, from 1; 0: none */
    bool is_fetched_as_hash; /* a read has shown that it is a hash or absent */
    bool is_changed;         /* in a round that met a conflict: by this key */
    gavel__heat heat;
    gavel__list idle; /* among the keys that are kept only for their heat, or the free ones */
} gavel__key;

typedef struct gavel__keys {
    const gavel_allocator *allocator; /* borrowed */
    gavel__map map;
    gavel__key *recent; /* used last: many want the same one after another; NULL: none */
    gavel__list warm;   /* not claimed, kept for their heat; the longest untouched first */
    size_t n_warm;
    gavel__list unused; /* forgotten; their memory is used again */
    size_t n_unused;
    uint64_t n_runs; /* of rounds' bodies, ever: one at a time */
    bool is_running;
} gavel__keys;

void gavel__keys_init(gavel__keys *keys, const gavel_allocator *allocator, uint64_t seed);

/* No key may be claimed any more. */
void gavel__keys_finish(gavel__keys *keys);

/* A name as the table looks it up; the hash is computed once. */
typedef struct gavel__key_name {
    gavel_bytes bytes;
    uint64_t hash;
} gavel__key_name;

gavel__key_name gavel__keys_name(const gavel__keys *keys, gavel_bytes bytes);

/* What is known of the key, or NULL: nothing. */
gavel__key *gavel__keys_find(const gavel__keys *keys, gavel__key_name name);

/* The key, known from now on, for one more transaction that wants it. NULL: no memory. */
gavel__key *gavel__keys_use(gavel__keys *keys, gavel_bytes name);

/* One transaction wants it no more. */
void gavel__keys_unuse(gavel__keys *keys, gavel__key *key);

/*
 * Claims a key that is in use for a round, which may be the second one to do so: the first holds it
 * until its EXEC has been answered.
 */
void gavel__keys_claim(gavel__key *key, struct gavel__round *round);

/* The round's claim, the only one, becomes that of a doubt. */
void gavel__keys_doubt(gavel__key *key, const struct gavel__round *round);

/* Gives the round's claim back; NULL: that of a doubt. A key that nobody uses may be forgotten with
 * that. */
void gavel__keys_release(gavel__keys *keys, gavel__key *key, struct gavel__round *round);

/* One more round that writes the key blindly, which none has claimed; and one less. A key that
 * nobody uses may be forgotten with that. */
void gavel__keys_add_writer(gavel__key *key);
void gavel__keys_remove_writer(gavel__keys *keys, gavel__key *key);

#endif
