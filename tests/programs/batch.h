/*
 * Batches: random programs over strings, hashes, lists and sets, to be run as the bodies of
 * transactions, and the data that they start from. The same seed draws the same batch.
 *
 * A program is a list of steps. Some depend on what the steps before them have read; beyond that, a
 * program is a function of what it reads and of nothing else: that is what makes two runs of it
 * comparable. All keys, fields and values are literals, so a batch can be copied and taken apart.
 */
#ifndef PROGRAMS_BATCH_H
#define PROGRAMS_BATCH_H

#include "base/buffer.h"

#include <gavel/transaction.h>

#define BATCH_MAX_PROGRAMS 40
#define PROGRAM_MAX_STEPS 8
#define STEP_MAX_WORDS 7
#define START_MAX_LINES 24

typedef enum step_kind {
    STEP_GET, /* the reads first */
    STEP_GET_INT,
    STEP_HGET,
    STEP_HGET_INT,
    STEP_QUERY,
    STEP_SET, /* then what writes */
    STEP_SET_INT,
    STEP_DEL,
    STEP_HSET,
    STEP_HSET_INT,
    STEP_HDEL,
    STEP_CHANGE, /* a typed write that changes what is there */
    STEP_WRITE,
    STEP_REFUSED, /* a write that the server refuses to queue */
    STEP_RESULT,  /* sets the result: what was read */
    STEP_ABORT,   /* with a code that tells what was read */
    STEP_RETRY,
    STEP_STEERING,   /* mistakes: a command that steers the transaction */
    STEP_TOO_LONG,   /* a result that is too long */
    STEP_BARE_AGAIN, /* AGAIN with nothing missing */
    STEP_NO_VERDICT
} step_kind;

/* Whether a step is taken: by a bit of all that was read before it. */
typedef enum step_when { WHEN_EVER, WHEN_ODD, WHEN_EVEN } step_when;

typedef struct batch_step {
    step_kind kind;
    step_when when;
    const char *words[STEP_MAX_WORDS]; /* the command; of a typed write, as the server gets it */
    size_t n_words;
    size_t n_keys;    /* from words[1] on; 0: a command without keys */
    int64_t amount;   /* SET_INT, HSET_INT: added to the last integer that was read */
    bool is_declared; /* of a read: fetched in the first round trip */
} batch_step;

/* What happens before a program is submitted. */
typedef enum pause_before {
    PAUSE_NONE,
    PAUSE_MOMENT,
    PAUSE_UNTIL_TOLD, /* one more */
    PAUSE_UNTIL_IDLE  /* all have been told */
} pause_before;

typedef struct batch_program {
    int number; /* for people */
    batch_step steps[PROGRAM_MAX_STEPS];
    size_t n_steps;
    bool is_outsider; /* no transaction: its only step is run past gavel, while nobody else runs */
    bool is_hasty;    /* returns AGAIN as soon as something is missing, else goes on */
    bool is_sparing;  /* does not declare a key to be written that a declared read names */
    bool is_terse;    /* declares no reads */
    bool is_blind;    /* does not declare what it writes */
    bool is_logged;   /* with what it writes it appends its number to a list, without reading it */
    bool is_read_only;
    bool is_solo;
    bool keep_replies;
    uint32_t max_conflicts;
    const char *id;     /* NULL: none */
    const char *digest; /* NULL: none */
    pause_before pause;
} batch_program;

typedef struct program_batch {
    uint64_t seed;
    uint32_t max_links;
    bool has_no_markers;
    bool has_log; /* its writers may be made in another order than they are told in */
    char start[START_MAX_LINES][64]; /* commands that make the initial state */
    size_t n_start;
    batch_program programs[BATCH_MAX_PROGRAMS];
    size_t n_programs;
} program_batch;

/* Every key that a program may touch; ended by NULL. */
extern const char *const batch_keys[];
extern const char *const batch_fields[]; /* and members of sets; ended by NULL */
extern const char *const batch_ids[];    /* ended by NULL */
extern const char batch_log[];           /* the list of those that have committed, in order */

/* `is_real`: with commands that the simulated server does not know. */
program_batch batch_draw(uint64_t seed, bool is_real);

/* Appends it for people. */
void batch_say(gavel__buffer *text, const program_batch *self);

static inline bool step_is_read(const batch_step *self)
{
    return self->kind <= STEP_QUERY;
}

static inline bool step_is_write(const batch_step *self)
{
    return self->kind >= STEP_SET && self->kind <= STEP_REFUSED;
}

#endif
