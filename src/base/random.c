/*
 * Random numbers: xoshiro256**, and a seed from the system. The core draws none itself; whoever
 * joins the layers may use it.
 */
#include "base/random.h"

#include <sys/random.h>
#include <time.h>
#include <unistd.h>

static uint64_t rotate_left(uint64_t x, unsigned n)
{
    return (x << n) | (x >> (64 - n));
}

/*
 * Advances *state and returns a number in which every bit of the state counts: splitmix64.
 * Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
 */
static uint64_t split_mix(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t x = *state;
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* The state must not be all zero. Four steps of split_mix are four different numbers. */
void gavel__random_seed(gavel__random *random, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        random->state[i] = split_mix(&seed);
}

uint64_t gavel__random_next(gavel__random *random)
{
    uint64_t *s = random->state;
    uint64_t number = rotate_left(s[1] * 5, 7) * 9;
    uint64_t shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate_left(s[3], 45);
    return number;
}

uint64_t gavel__random_below(gavel__random *random, uint64_t bound)
{
    /* 2^64 modulo bound: without so many numbers, each remainder comes up equally often. */
    uint64_t n_surplus = (0 - bound) % bound;
    uint64_t number;
    do {
        number = gavel__random_next(random);
    } while (number < n_surplus);
    return number % bound;
}

static uint64_t read_clock_ns(clockid_t clock)
{
    struct timespec now = {0, 0};
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

uint64_t gavel__random_system_seed(void)
{
    uint64_t seed;
    /* Early after booting, going without the system's entropy is better than waiting for it. */
    if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) == (ssize_t)sizeof(seed))
        return seed;
    uint64_t state = read_clock_ns(CLOCK_REALTIME);
    state = split_mix(&state) ^ read_clock_ns(CLOCK_MONOTONIC);
    state = split_mix(&state) ^ (uint64_t)getpid();
    return split_mix(&state);
}
