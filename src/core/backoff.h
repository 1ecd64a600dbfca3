/*
 * Backoff: how long a loser waits before it tries again. Pure: the random source comes in.
 *
 * The first retry goes at once; then full jitter over a window that starts at the measured round
 * trip and doubles with the key's level, up to a tenth of a second and sixteen round trips: with N
 * writers the window has to grow to about N round trips, or all of them only get in one another's
 * way; but who has lost often must not starve beside those who have not.
 * Source: M. Brooker, "Exponential Backoff and Jitter"; our measurements in docs/design.md.
 */
#ifndef GAVEL__BACKOFF_H
#define GAVEL__BACKOFF_H

#include "base/random.h"

/* A pause after a conflict at this level, in microseconds: 0 up to level 1. */
int64_t gavel__backoff_conflict_us(double level, int64_t round_trip_us, gavel__random *random);

/* A pause after the n-th fault in a row (from 1), in microseconds: the server needs time. */
int64_t gavel__backoff_fault_us(uint32_t n_faults, gavel__random *random);

/* A pause after the n-th redirect of a transaction (from 1), in microseconds: 0 for the first ones,
 * then longer each time. Nodes that know different things may send it to and fro. */
int64_t gavel__backoff_moved_us(uint32_t n_redirects, gavel__random *random);

/* A pause while a slot is on its way from one node to another, in microseconds. */
int64_t gavel__backoff_migrating_us(gavel__random *random);

#endif
