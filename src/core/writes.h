/*
 * Writes: what the bodies of a round have written so far, as the commands for its EXEC. What they
 * say of a value is looked up in the overlay (overlay.h).
 *
 *     entries:   [0] SET a   [1] HSET h f   [2] SET a   [3] DEL h
 *                  ^ 0          ^ 0           | 1         | 2       `previous`, from 1; 0: none
 *                  +------------|-------------+           |
 *                               +-------------------------+
 *     key a: last_write 3       key h: last_write 4
 *
 * The entries of one key form a chain from its latest write back, so a look-up costs only that
 * key's writes, and taking the latest entries back is all that a rollback is.
 *
 * All of it holds during one run of a round's bodies, mostly until the commands for EXEC are
 * composed. What is kept for an EXEC that cannot leave yet is the requests alone. Of
 * the keys the run knows those that the round has claimed, and those that were only written, which
 * are nobody's: for other rounds they mean nothing, so only one run is under way at a time.
 */
#ifndef GAVEL__WRITES_H
#define GAVEL__WRITES_H

#include "base/buffer.h"
#include "core/commands.h"
#include "core/keys.h"

struct gavel__transaction;

typedef enum gavel__write_kind {
    GAVEL__WRITE_SET,
    GAVEL__WRITE_SET_PX,   /* with a time to live */
    GAVEL__WRITE_SET_KEEP, /* keeping the one that it has */
    GAVEL__WRITE_DEL,
    GAVEL__WRITE_HSET,
    GAVEL__WRITE_HDEL,
    GAVEL__WRITE_INCR,
    GAVEL__WRITE_HINCR,
    GAVEL__WRITE_APPEND,
    GAVEL__WRITE_EXPIRE,
    GAVEL__WRITE_PERSIST,
    GAVEL__WRITE_OTHER /* taints its key: what it does is not modelled */
} gavel__write_kind;

/* Some of the bytes of the commands. An offset, since these move as they grow. */
typedef struct gavel__span {
    size_t offset;
    size_t size;
} gavel__span;

typedef struct gavel__write {
    gavel__write_kind kind;
    bool is_sure;  /* cannot fail with WRONGTYPE, as far as what was read is still true */
    bool is_plain; /* it and all before it on this key are SETs of a value alone */
    bool has_sum;  /* INCR, HINCR: it will be `sum` */
    gavel__key *key;
    size_t previous; /* the entry before it on this key, from 1; 0: none */
    size_t request;  /* whose entry it is */
    const struct gavel__transaction *writer;
    gavel__span field;
    gavel__span value;
    int64_t number; /* as the edit's */
    int64_t sum;
} gavel__write;

/* One of the modelled writes, as a body makes it; what its kind does not have is ignored. */
typedef struct gavel__edit {
    gavel__write_kind kind;
    gavel_bytes field;
    gavel_bytes value;
    int64_t number;   /* INCR, HINCR: by how much; SET_PX, EXPIRE: for how many milliseconds */
    bool has_sum;     /* INCR, HINCR: what it will come to is known: */
    bool is_sum_sure; /* and rests on nothing that could fail */
    int64_t sum;
} gavel__edit;

/* One command, as a body added it. */
typedef struct gavel__request {
    gavel__span bytes; /* encoded */
    size_t key;        /* which of its arguments is a key; 0: none. For messages */
    size_t entry;      /* of a modelled command: its place among the entries, from 1; else 0 */
    size_t place;      /* once composed: of its reply among those to EXEC */
} gavel__request;

typedef struct gavel__writes {
    const gavel_allocator *allocator; /* borrowed */
    gavel__keys *keys;                /* borrowed: where keys are found by their names */
    uint64_t run;                     /* the run under way, or the last one */
    gavel__key **blind;               /* only written, and known for the sake of this run */
    size_t n_blind;
    size_t blind_capacity;
    bool has_contended;     /* one of them is contended; see gavel__round_note_written */
    gavel__buffer commands; /* encoded */
    gavel__request *requests;
    size_t n_requests;
    size_t requests_capacity;
    gavel__write *entries;
    size_t n_entries;
    size_t entries_capacity;
    size_t n_unmodelled; /* of the requests: what they touch is not known for sure */
    size_t n_places;     /* once composed: the commands that EXEC gets */
    bool is_merged;      /* once composed: several requests share a place */
} gavel__writes;

/* Where a body began. */
typedef struct gavel__savepoint {
    size_t size;
    size_t n_requests;
    size_t n_entries;
    size_t n_unmodelled;
} gavel__savepoint;

void gavel__writes_init(gavel__writes *writes, gavel__keys *keys);
void gavel__writes_finish(gavel__writes *writes);

/* Forgets everything; no run is under way. */
void gavel__writes_clear(gavel__writes *writes);

/* Begins a run of bodies, without any writes, and ends it: then the requests are left, as composed.
 */
void gavel__writes_begin_run(gavel__writes *writes);
void gavel__writes_end_run(gavel__writes *writes);

/* A key that the round has claimed: nothing was written to it in this run. */
void gavel__writes_add_claim(gavel__writes *writes, gavel__key *key);

/* The key of this name for a write that claims nothing: until the end of the run it is known. NULL:
 * no memory. */
gavel__key *gavel__writes_key(gavel__writes *writes, gavel_bytes name);

/* The same where it was written to in this run; else NULL. */
gavel__key *gavel__writes_find(const gavel__writes *writes, gavel_bytes name);

gavel__savepoint gavel__writes_mark(const gavel__writes *writes);
void gavel__writes_rollback(gavel__writes *writes, const gavel__savepoint *savepoint);

/* Adds one of the modelled writes, as one command. False: no memory. */
bool gavel__writes_add(gavel__writes *writes, gavel__key *key,
    const struct gavel__transaction *writer, const gavel__edit *edit);

/* Adds one DEL of several keys. False: no memory. */
bool gavel__writes_add_del(gavel__writes *writes, gavel__key *const *keys, size_t n_keys,
    const struct gavel__transaction *writer);

/* Adds any command; gavel__writes_taint has named its keys. False: no memory. */
bool gavel__writes_add_command(gavel__writes *writes, const gavel__command *command);

/* Adds a command of gavel's own that touches this key alone, and taints it. False: no memory. */
bool gavel__writes_add_record(gavel__writes *writes, gavel__key *key,
    const struct gavel__transaction *writer, const gavel_bytes args[5]);

/* False: no memory. */
bool gavel__writes_taint(
    gavel__writes *writes, gavel__key *key, const struct gavel__transaction *writer);

/*
 * Appends EXEC's commands to `out`, and gives every request its place. With `may_merge`, keys that
 * met nothing but plain SETs get their last values by one MSET: what comes between on a key nobody
 * can see, and a SET is answered with OK whatever was there. Not so when a round has commands whose
 * keys are only what the caller said of them, nor once the run has ended.
 */
void gavel__writes_compose(gavel__writes *writes, bool may_merge, gavel__buffer *out);

/* For messages: a request's name and key, in `storage`. */
const char *gavel__writes_text(
    const gavel__writes *writes, size_t request, char storage[GAVEL__COMMAND_TEXT_SIZE]);

/* For messages: the name of the command that an entry is of; valid until the next write. */
gavel_bytes gavel__writes_name(const gavel__writes *writes, const gavel__write *entry);

/* Once composed: the only request at a place; SIZE_MAX: none, or several. */
size_t gavel__writes_request_at(const gavel__writes *writes, size_t place);

/* The bytes of a span; valid until the next write. */
gavel_bytes gavel__writes_bytes(const gavel__writes *writes, gavel__span span);

#endif
