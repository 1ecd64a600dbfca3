/*
 * Random numbers for jitter, hash seeds and names: xoshiro256**, seeded from outside.
 * Not for secrets. Source: Blackman and Vigna, "Scrambled linear pseudorandom number generators".
 */
#ifndef GAVEL__RANDOM_H
#define GAVEL__RANDOM_H

#include <stdbool.h>
#include <stdint.h>

typedef struct gavel__random {
    uint64_t state[4];
} gavel__random;

/* The same seed gives the same numbers. */
void gavel__random_seed(gavel__random *random, uint64_t seed);

uint64_t gavel__random_next(gavel__random *random);

/* Uniform in 0 .. bound - 1, without bias; bound must not be 0. */
uint64_t gavel__random_below(gavel__random *random, uint64_t bound);

/* A seed from the system: getrandom, or where that fails the clock and the process. */
uint64_t gavel__random_system_seed(void);

#endif
