/*
 * The scripts that run on the server, and how their replies are read. For the locks' state machine;
 * docs/locks.md has the protocol that they are the steps of.
 *
 * They are sent as EVAL each time. A script's few hundred bytes cost less than a second way would,
 * one that is only taken after the server has forgotten its scripts.
 */
#ifndef GAVEL__LOCK_SCRIPTS_H
#define GAVEL__LOCK_SCRIPTS_H

#include "base/buffer.h"
#include "core/commands.h"
#include "core/names.h"

#include <gavel/lock.h>
#include <gavel/reply.h>

/* The owner in a record, and a turn in the queue: each 128 random bits in hexadecimal. */
#define GAVEL__LOCK_OWNER_SIZE 32
#define GAVEL__LOCK_TURN_SIZE 32

/* How long a lock that was released, or found free, is kept for whoever was handed it, or comes. */
#define GAVEL__LOCK_HAND_OFF_MS 1000

/* How long a fencing number is remembered after the last grant. */
#define GAVEL__LOCK_FENCE_TTL_MS 604800000LL

/* The three keys of a lock, all in the Cluster slot of its name. */
typedef struct gavel__lock_keys {
    gavel_bytes record;
    gavel_bytes queue;
    gavel_bytes fence;
    char storage[3][GAVEL_LOCK_NAME_MAX + GAVEL__NAME_ROOM];
} gavel__lock_keys;

/* The keys point into *ret_keys, which must not be moved. */
void gavel__lock_keys_init(gavel__lock_keys *ret_keys, const char *prefix, gavel_bytes name);

/* If there is no record: the lock is handed off, under this turn, to the first who waits. */
void gavel__lock_write_offer(gavel__buffer *out, const gavel__lock_keys *keys, gavel_bytes turn);

typedef struct gavel__lock_taking {
    gavel_bytes owner;
    uint32_t lease_ms;
    gavel_bytes turn;   /* that was received; empty: one that lies in the queue */
    gavel_bytes holder; /* printable: "pid=7 host=x" */
} gavel__lock_taking;

/* Takes what was handed off, or finds that it is ours already. */
void gavel__lock_write_take(
    gavel__buffer *out, const gavel__lock_keys *keys, const gavel__lock_taking *taking);

/* Hands a lock that was handed off to us off to the next. */
void gavel__lock_write_hand_off(gavel__buffer *out, const gavel__lock_keys *keys, gavel_bytes turn);

/* If the lock is the owner's: prolongs the lease. */
void gavel__lock_write_renew(
    gavel__buffer *out, const gavel__lock_keys *keys, gavel_bytes owner, uint32_t lease_ms);

/* If the lock is the owner's: hands it off under this turn. */
void gavel__lock_write_release(
    gavel__buffer *out, const gavel__lock_keys *keys, gavel_bytes owner, gavel_bytes turn);

/* If the lock is the owner's: runs the command. Its keys are passed as keys too, as the server
 * demands of a script (in a Cluster, and for users with rights to some keys only). */
void gavel__lock_write_do(gavel__buffer *out, const gavel__lock_keys *keys, gavel_bytes owner,
    const gavel__command *command);

/* Names the connection, so that CLIENT LIST shows who waits for what, and waits. Two replies. */
void gavel__lock_write_wait(gavel__buffer *out, const gavel__lock_keys *keys);

typedef enum gavel__lock_verdict {
    GAVEL__LOCK_VERDICT_OURS,    /* granted, renewed, released, run */
    GAVEL__LOCK_VERDICT_ABSENT,  /* there is no record */
    GAVEL__LOCK_VERDICT_FOREIGN, /* there is another record */
    GAVEL__LOCK_VERDICT_ERROR,   /* an error of the server's */
    GAVEL__LOCK_VERDICT_NONSENSE /* no reply of these scripts */
} gavel__lock_verdict;

typedef struct gavel__lock_answer {
    gavel__lock_verdict verdict;
    int64_t fence;        /* take: of the grant */
    int64_t remaining_ms; /* take, not ours: of the record that there is */
    gavel_bytes text;     /* FOREIGN: the record; ERROR: the server's words. As the reply lives */
    const gavel_reply *reply; /* do: the command's */
} gavel__lock_answer;

gavel__lock_answer gavel__lock_read_take(const gavel_reply *reply);

/* The answer to renew, release and do. */
gavel__lock_answer gavel__lock_read(const gavel_reply *reply);

#endif
