/*
 * The inside of a crew of chaos.h: what workers and test share, and what a worker does.
 */
#ifndef TEST_LIVE_CHAOS_WORKER_H
#define TEST_LIVE_CHAOS_WORKER_H

#include "chaos.h"

#include <stdatomic.h>

/* One worker's counts, which those that follow in its place go on with. Each is written by one
 * instruction, so that a kill leaves it whole; a message may be torn, but ends. */
typedef struct chaos_slot {
    atomic_uint_fast64_t n_begun;
    atomic_uint_fast64_t n_told[GAVEL_UNKNOWN + 1];
    atomic_uint_fast64_t n_attempts;
    atomic_uint_fast64_t n_conflicts;
    atomic_uint_fast64_t n_gated;
    atomic_int_fast64_t max_late_us;
    char message[GAVEL_MESSAGE_SIZE];
} chaos_slot;

typedef struct chaos_shared {
    atomic_bool must_stop;
    atomic_int_fast64_t longest_stall_us;
    chaos_slot slots[CHAOS_MAX_WORKERS];
} chaos_shared;

/* What the crew has committed so far. */
static inline uint64_t chaos_n_committed(const chaos_shared *shared, size_t n_workers)
{
    uint64_t n = 0;
    for (size_t i = 0; i < n_workers; i++)
        n += atomic_load(&shared->slots[i].n_told[GAVEL_COMMITTED]);
    return n;
}

/* In the worker's process: works until it is told to stop, and exits: 0 if nothing went wrong. */
_Noreturn void chaos_work(const chaos_plan *plan, chaos_shared *shared, size_t worker);

#endif
