/*
 * Timers of a libev loop that are good for less than a millisecond, which libev's are not: a heap
 * and a timerfd. For the contention benchmark's pauses.
 */
#ifndef BENCH_TIMERS_H
#define BENCH_TIMERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct timers {
    struct timer *heap; /* the first one is due first */
    size_t n;
    int fd;           /* readable when a timer is due; -1: not open */
    int64_t armed_ns; /* what it was set to; 0: nothing */
};

/* For `capacity` timers at most at once. False: told on standard error; close it all the same. */
bool timers_open(struct timers *timers, size_t capacity);
void timers_close(struct timers *timers);

void timers_add(struct timers *timers, int64_t due_ns, void *owner);

/* The owner of a timer that is due at `now_ns`, and the timer is gone; or NULL. */
void *timers_take(struct timers *timers, int64_t now_ns);

/* Sets the fd to the first timer; before the loop sleeps. */
void timers_arm(struct timers *timers);

/* Makes the fd unreadable again. */
void timers_acknowledge(struct timers *timers);

#endif
