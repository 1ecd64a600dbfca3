/*
 * Arrivals: whether those who came first were served first. On a single counter each commit has
 * read a number of its own, which is its place in the order of all commits, whoever made it; here
 * is noted, by that place, when it began. For the contention benchmark's processes, which share it.
 */
#ifndef BENCH_ARRIVALS_H
#define BENCH_ARRIVALS_H

#include <stdint.h>

struct arrivals;

/* Shared with the processes that are forked later. NULL: told on standard error. */
struct arrivals *arrivals_open(void);

/* Takes NULL. */
void arrivals_close(struct arrivals *arrivals);

/* Any thread of any process; no two for the same place. Places from some number on are ignored. */
void arrivals_note(struct arrivals *arrivals, uint64_t place, int64_t start_ns);

/*
 * The share of the first `n` places that were overtaken: somebody who began more than ten
 * milliseconds later came before them. What began is not yet at the server, and how long it takes
 * to get there is up to the scheduler; so much it is granted. NaN: not every place was noted.
 */
double arrivals_overtaken(const struct arrivals *arrivals, uint64_t n);

#endif
