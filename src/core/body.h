/*
 * Bodies: one run of a user's callback, between the values read and the writes of its round.
 * The public functions of gavel/tx.h are here too, by subject: body.c, body_reads.c, body_writes.c.
 */
#ifndef GAVEL__BODY_H
#define GAVEL__BODY_H

#include "core/transaction.h"
#include "core/writes.h"

/* What a run came to. */
typedef enum gavel__fate {
    GAVEL__FATE_COMMIT,
    GAVEL__FATE_ABORT,
    GAVEL__FATE_RETRY,
    GAVEL__FATE_AGAIN,   /* reads were added: they are to be fetched */
    GAVEL__FATE_DEFER,   /* depends on a write of this round that is not modelled: next round */
    GAVEL__FATE_POISONED /* `status` and `message` say why */
} gavel__fate;

/* What a body runs on: borrowed from its round. */
typedef struct gavel__stage {
    gavel__writes *writes;
    gavel__arena *arena; /* for values handed to the body */
    gavel__buffer *scratch;
    struct gavel__lore *lore; /* what the server says of commands */
} gavel__stage;

struct gavel_tx {
    const gavel__stage *stage;
    gavel__transaction *transaction;
    bool is_poisoned;
    bool wants_more; /* something read was not fetched */
    bool is_deferred;
    gavel__key *busy;     /* deferred until the rounds that have this key are done; or NULL */
    bool has_seen_others; /* read what an earlier body of the round wrote */
    gavel_bytes slot_key; /* what this run wrote first, where nothing else says the slot */
    gavel_status status;
    int abort_code;
    char message[GAVEL_MESSAGE_SIZE];
};

/*
 * Runs the body once; `tx` is set up here and says more about the fate. What was written stays in
 * the stage's writes, for the caller to keep or to roll back.
 */
gavel__fate gavel__body_run(
    const gavel__stage *stage, gavel__transaction *transaction, struct gavel_tx *tx);

/* Spoils the attempt: what the body does from here on counts no more. The first reason stays. */
void gavel__body_poison(struct gavel_tx *tx, gavel_status status, const char *message);

/* The same; the message is `what`, then `name` in quotes. */
void gavel__body_poison_naming(
    struct gavel_tx *tx, gavel_status status, const char *what, gavel_bytes name);

void gavel__body_poison_no_memory(struct gavel_tx *tx);

/*
 * In a Cluster: whether this key lies where the transaction's others do; else the attempt is
 * poisoned. Where none is declared or read, what a run comes to first says where, and the next run
 * may come to something else.
 */
bool gavel__body_takes_slot(struct gavel_tx *tx, gavel_bytes key);

/* Whether it is known on which server of a Cluster a command without keys is to run; else the
 * attempt is poisoned. */
bool gavel__body_has_place(struct gavel_tx *tx, gavel_bytes name);

/*
 * Finds the keys of a command. FOUND: *ret_command is set; NOT_YET: gavel does not know it, and the
 * server is asked; FAILED: the attempt is poisoned.
 */
gavel_found gavel__body_resolve(struct gavel_tx *tx, const gavel_command *command,
    gavel__command_use use, gavel__command *ret_command);

/* What is known of a value without fetching it. */
typedef struct gavel__foresight {
    gavel_bytes value;
    bool is_sure; /* rests on no write that may fail */
} gavel__foresight;

/*
 * What a read of the string at `key`, or, with field.data not NULL, of that field would find,
 * which counts as one: it may rest on what others in the round wrote. NOT_YET: it is not known, and
 * nothing was asked for; FAILED: the attempt is poisoned.
 */
gavel_found gavel__body_foresee(
    struct gavel_tx *tx, gavel_bytes key, gavel_bytes field, gavel__foresight *ret_foresight);

#endif
