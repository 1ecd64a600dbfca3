/*
 * Offsets: how far the history of a primary had come, and when, so that what its replicas show can
 * be dated.
 *
 * Whatever a primary has acknowledged by the time at which it is asked for its offset is within
 * that offset. So is all of it in what a replica shows that has come as far, in the same history:
 * then this is at most as old as the question. The primary is asked when somebody wants to read
 * from its replicas, and not more often than each 50 ms.
 *
 * In a Cluster slots come to a node with what others have acknowledged. What it was asked for
 * before that is no measure of them, and is forgotten.
 *
 * One for each node; for the node's engine, and for rounds at its replicas.
 */
#ifndef GAVEL__OFFSETS_H
#define GAVEL__OFFSETS_H

#include "core/question.h"

/* An odd one that was told earlier is given up when there is no more room. */
#define GAVEL__OFFSETS_SAMPLES 32

/* The length of a history's name, and room for it. */
#define GAVEL__OFFSETS_NAME 40

typedef struct gavel__sample {
    int64_t asked_us; /* on the lease clock, as are all of these times but ask_us */
    int64_t offset;   /* then, or later, by the answer */
} gavel__sample;

typedef struct gavel__offsets_config {
    uint16_t at_node;                         /* of a Cluster; else GAVEL__NO_NODE */
    int64_t (*read_lease_clock)(void *clock); /* one that goes on while the machine sleeps */
    void *clock;
} gavel__offsets_config;

typedef struct gavel__offsets {
    gavel__offsets_config config;
    gavel__questions *questions;
    gavel__question question;
    bool is_wanted;   /* somebody reads from a replica */
    int64_t ask_us;   /* not before */
    int64_t sent_us;  /* when it was asked last */
    int64_t since_us; /* what was asked for before is no sample */
    char name[GAVEL__OFFSETS_NAME];
    gavel__sample samples[GAVEL__OFFSETS_SAMPLES]; /* in that history; the oldest first */
    size_t n_samples;
} gavel__offsets;

void gavel__offsets_init(
    gavel__offsets *offsets, gavel__questions *questions, const gavel__offsets_config *config);

/* Asks, if it is wanted and it is time. Costs nothing else. */
void gavel__offsets_advance(gavel__offsets *offsets, int64_t now_us);

/* It has data that it has got from elsewhere, and not as a replica does. */
void gavel__offsets_forget(gavel__offsets *offsets);

/* What is asked at a replica, in the EXEC of what is read there. */
extern const gavel_bytes gavel__offsets_question[2];

/*
 * Whether that was answered by a replica that has what its primary had once. One that was never
 * brought up to it, or gets all of it anew, or could not load that to the end, has nothing, or
 * something of it, and says that it has come to 1, while its link is down.
 */
bool gavel__offsets_is_of_replica(const gavel_reply *answer);

/* What a replica shows that has answered so, at the same moment, is as new as what the primary had
 * then. False: that is not known. */
bool gavel__offsets_date(
    const gavel__offsets *offsets, const gavel_reply *answer, int64_t *ret_as_of_us);

/* How long ago that is by now, in milliseconds, and one more for what is left of another. */
int64_t gavel__offsets_age_ms(const gavel__offsets *offsets, int64_t as_of_us);

#endif
