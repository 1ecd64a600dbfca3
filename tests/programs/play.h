/*
 * Plays: one batch, first together, then one after another. For equivalence.c, alone.c and cuts.c.
 */
#ifndef PROGRAMS_PLAY_H
#define PROGRAMS_PLAY_H

#include "act.h"
#include "equivalence.h"

typedef struct play_part {
    act act; /* first: it is the transaction's user */
    struct batch_play *play;
    size_t n_told_before; /* when it was submitted */
    size_t told_as;       /* its place among those told, from 0 */
    uint64_t touches;     /* a bit for each key and id */
} play_part;

typedef struct batch_play {
    const programs_world *world;
    const program_batch *batch;
    equivalence_tally *tally;
    gavel__buffer *report; /* of the first difference */
    play_part parts[BATCH_MAX_PROGRAMS];
    size_t n_told;
    const play_part *writers[BATCH_MAX_PROGRAMS]; /* those that have written, in order */
    size_t n_writers;
} batch_play;

/* Runs what the part has written past gavel, and returns the replies, to be finished. */
gavel__buffer play_bare(const play_part *part);

/* Begins a world with the data that the batch starts from. */
void play_begin_world(const batch_play *self);

/*
 * Runs the part's program once more, through a blocking client, and returns what was told, to be
 * finished. As a trial it writes nothing; see act.h.
 */
gavel__buffer play_once(const play_part *part, gavel_client *client, bool is_trial);

/* Whether that is what was told when it was played together. */
bool play_is_same(const play_part *part, const gavel__buffer *alone);

/* Adds to the report what was told together and what alone. */
void play_report(const batch_play *self, const play_part *part, const gavel__buffer *alone);

/*
 * Runs the programs again on the world as it is, one after another; see the rule in equivalence.h.
 * Those that found no place are in `ret_astray`. False: a writer comes to something else, as the
 * report says.
 */
bool play_alone(batch_play *self, bool ret_astray[BATCH_MAX_PROGRAMS]);

/*
 * Whether one that has written nothing comes to the same behind some of the writers, in another
 * order than they were told in. Begins and ends worlds. False: the report says what it came to
 * behind those that were told before it.
 */
bool play_fits_cut(batch_play *self, const play_part *part);

#endif
