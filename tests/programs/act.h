/*
 * Acts: programs as the bodies of transactions, and what was told of them, as text to be compared.
 */
#ifndef PROGRAMS_ACT_H
#define PROGRAMS_ACT_H

#include "base/text.h"
#include "batch.h"

#include <gavel/client.h>

/* Of what a body sees, as text; what is beyond counts only in the hash. */
#define ACT_TRACE_SIZE 2000

/* A body's abort code where it would have written, but was only to try. */
#define ACT_WOULD_WRITE (-1)

/* Runs a command past gavel; the reply as on the wire. */
typedef const char *act_ask(void *asked, const gavel_bytes *args, size_t n_args);

/* A write as a body has made it. */
typedef struct act_write {
    const batch_step *step;
    int64_t value; /* SET_INT, HSET_INT: what the last word was replaced by */
} act_write;

/* One program in one client's hands. Where it lies must not change until it was told. */
typedef struct act {
    const batch_program *program;
    bool is_trial; /* writes nothing: where it would, it aborts */
    act_ask *ask;  /* not NULL: what is read is compared with what this says */
    void *asked;   /* its first argument */

    /* Of the body's last run. */
    gavel_bytes trace; /* what it read and did; in `trace_text` */
    char trace_text[ACT_TRACE_SIZE];
    uint64_t hash;                           /* of the whole trace */
    int64_t last;                            /* the integer that was read last, else 0 */
    act_write writes[PROGRAM_MAX_STEPS + 1]; /* the log's, if any, is the last one */
    size_t n_writes;
    bool is_refused; /* it has written what the server refuses */

    batch_step log; /* of a logged one: the command that appends to the log */
    char log_number[16];

    size_t n_told;
    gavel_status status;
    bool is_duplicate;
    bool is_absurd;     /* what was told contradicts itself, or what the body did */
    gavel__buffer told; /* everything that is to be the same in every order: see act_tell */
} act;

void act_begin(act *self, const batch_program *program);
void act_end(act *self);

/* The transaction for it, valid as long as `request`. */
typedef struct act_request {
    gavel_transaction transaction;
    gavel_bytes keys[PROGRAM_MAX_STEPS * 2];
    gavel_read reads[PROGRAM_MAX_STEPS];
    gavel_command commands[PROGRAM_MAX_STEPS];
    gavel_bytes words[PROGRAM_MAX_STEPS][STEP_MAX_WORDS];
} act_request;

void act_prepare(act *self, act_request *ret_request);

/*
 * Keeps what was told: status, abort code, result, message, replies, and what the body has seen.
 * Left out is what may depend on the company: how often it ran, how long it took; the message of a
 * CONFLICT, which counts; and what the body has seen where the id alone may have decided.
 */
void act_tell(act *self, const gavel_outcome *outcome);

/* Of a logged one: notes that it also appends to the log. */
void act_add_log(act *self);

/* The command of a write as the server gets it; returns the number of arguments. */
size_t act_compose(
    const act_write *write, gavel_bytes args[STEP_MAX_WORDS], char storage[GAVEL__INT_SIZE]);

/* Whether it has changed, or may have changed, anything. */
bool act_has_written(const act *self);

#endif
