/*
 * For tests of attached clients: a client on a loop of the test's own, and jobs that note what they
 * are told. A state is reached by what a body does to the server: one that stands still keeps a
 * transaction where it is.
 */
#ifndef TEST_LIVE_ATTACHED_H
#define TEST_LIVE_ATTACHED_H

#include "tools.h"

#include <ev.h>

typedef struct attached_rig {
    live_rig live; /* a test that closes the client itself sets it to NULL */
    struct ev_loop *loop;
} attached_rig;

/* A transaction that adds one to its key. Zeroed, it does nothing more, and commits. */
typedef struct attached_job {
    attached_rig *rig;
    char name[16];
    gavel_bytes key;
    gavel_ticket ticket;
    gavel_outcome outcome;
    int n_done;
    int n_runs;
    void (*in_body)(struct attached_job *self); /* NULL: nothing */
    void (*in_done)(struct attached_job *self); /* NULL: nothing */
    gavel_verdict verdict;
    struct attached_job *other; /* for in_body and in_done */
} attached_job;

/* A server, a loop and a client; `config` may be NULL. */
attached_rig attached_begin(const gavel_config *config);
void attached_end(attached_rig *self);

/* Submits the job, with the key `name`. */
void attached_submit(attached_rig *rig, attached_job *self, const char *name);

/* The job's callback, for requests that a test submits by itself. */
void attached_on_done(const gavel_outcome *outcome, void *user);

/* One turn of the loop, without sleeping. */
void attached_turn(attached_rig *self);

/* For in_body. */
void attached_pause_server(attached_job *self);

/* Submits the job with the key "key"; returns when its EXEC has left, and maybe not been read. */
void attached_run_until_exec_left(attached_rig *rig, attached_job *self);

/* Told once, with that status. */
void attached_expect_ended(const attached_job *self, gavel_status status);

/* Runs a good transaction, after which the loop must come to its end by itself. */
void attached_expect_usable(attached_rig *self);

long long attached_value_of(attached_rig *self, const char *key);

#endif
