/* The client of those policies that are gavel's: a policy's open, close and count_round_trips. */
#ifndef BENCH_POLICY_GAVEL_H
#define BENCH_POLICY_GAVEL_H

#include "crew.h"

/* Attached to the crew's loop, or blocking for its threads; as it comes. */
void *policy_gavel_open(struct crew *crew);
void policy_gavel_close(void *client);
uint64_t policy_gavel_count_round_trips(void *client);

#endif
