/*
 * Writes: what the bodies of a round have written so far, as the commands for its EXEC, and as an
 * overlay on the values read, so that each body sees what those before it wrote.
 *
 *     entries:   [0] SET a   [1] HSET h f   [2] SET a   [3] DEL h
 *                  ^ 0          ^ 0           | 1         | 2       `previous`, from 1; 0: none
 *                  +------------|-------------+           |
 *                               +-------------------------+
 *     key a: last_write 3       key h: last_write 4
 *
 * The entries of one key form a chain from its latest write back, so a look-up costs only that
 * key's writes, and taking the latest entries back is all that a rollback is.
 */
#ifndef GAVEL__WRITES_H
#define GAVEL__WRITES_H

#include "base/buffer.h"
#include "core/keys.h"

struct gavel__transaction;

typedef enum gavel__write_kind {
    GAVEL__WRITE_SET,
    GAVEL__WRITE_DEL,
    GAVEL__WRITE_HSET,
    GAVEL__WRITE_HDEL,
    GAVEL__WRITE_OTHER /* taints its key: what it does is not modelled */
} gavel__write_kind;

/* Some of the bytes of the commands. An offset, since these move as they grow. */
typedef struct gavel__span {
    size_t offset;
    size_t size;
} gavel__span;

typedef struct gavel__write {
    gavel__write_kind kind;
    bool is_sure; /* cannot fail with WRONGTYPE, as far as what was read is still true */
    gavel__key *key;
    size_t previous; /* the entry before it on this key, from 1; 0: none */
    const struct gavel__transaction *writer;
    gavel__span field;
    gavel__span value;
} gavel__write;

typedef struct gavel__writes {
    const gavel_allocator *allocator; /* borrowed */
    gavel__buffer commands;           /* encoded */
    size_t n_commands;
    gavel__write *entries;
    size_t n_entries;
    size_t capacity;
} gavel__writes;

/* Where a body began. */
typedef struct gavel__savepoint {
    size_t size;
    size_t n_commands;
    size_t n_entries;
} gavel__savepoint;

void gavel__writes_init(gavel__writes *writes, const gavel_allocator *allocator);
void gavel__writes_finish(gavel__writes *writes);

/* Forgets everything. The keys' last_write is not touched. */
void gavel__writes_clear(gavel__writes *writes);

gavel__savepoint gavel__writes_mark(const gavel__writes *writes);
void gavel__writes_rollback(gavel__writes *writes, const gavel__savepoint *savepoint);

/*
 * Adds one of the modelled commands: SET key value, DEL key, HSET key field value, HDEL key field;
 * what a kind does not have is ignored. False: no memory.
 */
bool gavel__writes_add(gavel__writes *writes, gavel__write_kind kind, gavel__key *key,
    const struct gavel__transaction *writer, gavel_bytes field, gavel_bytes value);

/* Adds any command; gavel__writes_taint then names its keys. False: no memory. */
bool gavel__writes_add_command(gavel__writes *writes, const gavel_bytes *args, size_t n_args);

/* False: no memory. */
bool gavel__writes_taint(
    gavel__writes *writes, gavel__key *key, const struct gavel__transaction *writer);

/* What the overlay knows of a value. */
typedef enum gavel__overlay {
    GAVEL__OVERLAY_BASE, /* nothing was written to it: what was read holds */
    GAVEL__OVERLAY_VALUE,
    GAVEL__OVERLAY_ABSENT, /* deleted */
    GAVEL__OVERLAY_TAINTED /* written in a way that gavel cannot model */
} gavel__overlay;

/*
 * Looks the string at `key` up, or, with field.data not NULL, a field of the hash. *ret_write is
 * the entry that decided; NULL for BASE.
 */
gavel__overlay gavel__writes_look_up(const gavel__writes *writes, const gavel__key *key,
    gavel_bytes field, const gavel__write **ret_write);

/* The bytes of a span; valid until the next write. */
gavel_bytes gavel__writes_bytes(const gavel__writes *writes, gavel__span span);

#endif
