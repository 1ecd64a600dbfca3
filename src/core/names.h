/*
 * Names: of all the keys that gavel itself writes. Each lies in the Cluster slot of the data it
 * belongs to, on every kind of server, so that one EXEC or one script can touch both. An id is data
 * of its own: only in a Cluster its record has to follow the transaction's keys. Pure, and nothing
 * is allocated.
 *
 * A name is the prefix, its kind ("gate:"), and a rest that says for which key it is:
 *
 *     k         {k}         no brace in it, and not empty
 *     a{t}b     a{t}b       it has a hash tag: this is the name's as well
 *     a}b       {T}a}b      all else: T is the tag of the key's slot (slot.h)
 *     (empty)   {T}{}
 *
 * No two keys have one name: a key with a hash tag that looks like the first or the third rest, as
 * "{k}", goes the third way. And a name says of which key it is.
 */
#ifndef GAVEL__NAMES_H
#define GAVEL__NAMES_H

#include <gavel/bytes.h>

#include <stdbool.h>

/* Of a prefix. It holds no brace. */
#define GAVEL__PREFIX_MAX 64

/* A name is at most this much longer than the key, id or lock that it is for. */
#define GAVEL__NAME_ROOM (GAVEL__PREFIX_MAX + 20)

typedef enum gavel__name_kind {
    GAVEL__NAME_GATE,
    GAVEL__NAME_GATE_QUEUE,
    GAVEL__NAME_ID,   /* the id stands for the key */
    GAVEL__NAME_LOCK, /* and so does the lock's name */
    GAVEL__NAME_LOCK_QUEUE,
    GAVEL__NAME_LOCK_FENCE
} gavel__name_kind;

/* Writes the name to `storage`, which has key.size + GAVEL__NAME_ROOM bytes, and returns it. */
gavel_bytes gavel__name_of(
    gavel__name_kind kind, gavel_bytes prefix, gavel_bytes key, char *storage);

/* The key for which a name of this kind is; points into the name. False: it is none. */
bool gavel__name_parse(
    gavel__name_kind kind, gavel_bytes prefix, gavel_bytes name, gavel_bytes *ret_key);

/* The same for an id whose record is to lie in this slot: by its own name, if that does, or else
 * {T}id, where T is the slot's tag. GAVEL__NO_SLOT: by its own name. */
gavel_bytes gavel__name_of_id(gavel_bytes prefix, gavel_bytes id, uint16_t slot, char *storage);

#define GAVEL__MARKER_SIZE 128

/* Of a link's n-th marker for the slot, without a NUL. */
gavel_bytes gavel__name_of_marker(gavel_bytes prefix, uint16_t slot, const uint64_t identity[2],
    uint64_t n, char storage[GAVEL__MARKER_SIZE]);

/* Of a key in the slot that is never there: whether a node would write may be tried with it. */
gavel_bytes gavel__name_of_nothing(
    gavel_bytes prefix, uint16_t slot, char storage[GAVEL__MARKER_SIZE]);

/* Of what a client writes for WAIT's sake: no data belongs to it. GAVEL__NO_SLOT: in any slot. */
gavel_bytes gavel__name_of_wait(gavel_bytes prefix, uint16_t slot, const uint64_t identity[2],
    char storage[GAVEL__MARKER_SIZE]);

#endif
