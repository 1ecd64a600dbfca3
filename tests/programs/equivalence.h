/*
 * Equivalence: a batch of random programs, given to a client all together so that they share
 * rounds, comes to the same as one after another alone: the same data, and for each program the
 * same outcome, the same replies, and a body that has seen the same. Running them alone is itself
 * compared with the bare server: what is read, as it is read, and the data after the same writes.
 *
 * The order in which they are run alone:
 *
 *   - Those that have written something, in the order in which their outcomes were told. A client
 *     never has two writers of one key under way on two links, if they have read or declared it, so
 *     this is the order of their commits wherever that makes a difference to them. Where programs
 *     do not declare what they write (blind ones, on several links) each also appends its number to
 *     a list, as blindly: this log is the order of their EXECs, which must hold each exactly once.
 *   - One that has written nothing may stand anywhere between them where it comes to the same, but
 *     not before anything that was told when it was submitted, and not behind anything that was
 *     submitted when it had been told. This is strict serializability. Its place is searched: at a
 *     wrong place it must not write, so it is run as a trial.
 *   - Writers on two links with nothing in common may be told in another order than the server made
 *     them in, and one that only reads may have been between them. So for who has found no place,
 *     other orders of such writers are tried: each with the server for itself, and without asking
 *     whether two who went astray agree on one order.
 *
 * For Criterion tests of any server: the server comes in as a programs_world.
 */
#ifndef PROGRAMS_EQUIVALENCE_H
#define PROGRAMS_EQUIVALENCE_H

#include "base/buffer.h"

#include <gavel/client.h>

/* A server, and the time that goes by. What goes wrong here fails the test. */
typedef struct programs_world {
    void *self;
    bool is_real;                             /* knows all commands */
    void (*begin)(void *self, uint64_t seed); /* from now on: an empty server */
    void (*end)(void *self);                  /* after all clients were closed */
    gavel_client *(*open)(void *self, const gavel_config *config, bool is_blocking);
    void (*pass)(void *self);                                 /* lets a moment pass */
    void (*wait)(void *self, const size_t *n_told, size_t n); /* until *n_told is n */
    /* Runs a command past gavel; the reply as on the wire, valid until the next call. */
    const char *(*ask)(void *self, const gavel_bytes *args, size_t n_args);
    size_t (*count_keys)(void *self); /* all but those of which equivalence_ignores says so */
} programs_world;

/* What was played, to see that it was worth playing. */
typedef struct equivalence_tally {
    size_t n_outcomes[GAVEL_COMMITTED_NOT_DURABLE + 1];
    size_t n_duplicates;
    size_t n_at_once; /* committed in one round trip */
    size_t n_seeds;
    uint64_t n_rounds; /* that reached EXEC, of programs together */
    uint64_t n_trials; /* to find a place for those that write nothing */
    uint64_t n_cuts;   /* that found none in the order of telling; nearly none */
} equivalence_tally;

/* Whether a key is a marker or of a gate: no data, and left to pass away. */
bool equivalence_ignores(gavel_bytes key);

/*
 * Plays the batch of a seed and adds to the tally. False: something differs; *ret_report, to be
 * finished by the caller, then names it, and the least batch of that kind in which it does.
 */
bool equivalence_holds(const programs_world *world, uint64_t seed, equivalence_tally *tally,
    gavel__buffer *ret_report);

/*
 * Plays the seeds from 0 to n_seeds - 1, or the only one that GAVEL_SEED names; GAVEL_SEEDS wins
 * over n_seeds. The first that does not hold fails the test, and so does a tally that says that too
 * little was played.
 */
void equivalence_play_seeds(const programs_world *world, int n_seeds);

#endif
