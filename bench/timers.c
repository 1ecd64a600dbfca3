/* Timers; see timers.h. */
#include "timers.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

struct timer {
    int64_t due_ns;
    void *owner;
};

bool timers_open(struct timers *timers, size_t capacity)
{
    timers->n = 0;
    timers->armed_ns = 0;
    timers->heap = calloc(capacity, sizeof(*timers->heap));
    timers->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    bool is_open = timers->heap != NULL && timers->fd != -1;
    if (!is_open)
        perror("timers");
    return is_open;
}

void timers_close(struct timers *timers)
{
    free(timers->heap);
    if (timers->fd != -1)
        close(timers->fd);
}

void timers_add(struct timers *timers, int64_t due_ns, void *owner)
{
    size_t i = timers->n++;
    for (; i > 0 && timers->heap[(i - 1) / 2].due_ns > due_ns; i = (i - 1) / 2)
        timers->heap[i] = timers->heap[(i - 1) / 2];
    timers->heap[i] = (struct timer){due_ns, owner};
}

/* Lets the last timer sink from the top to where it belongs. */
static void sink(struct timers *timers)
{
    struct timer last = timers->heap[--timers->n];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= timers->n)
            break;
        if (child + 1 < timers->n && timers->heap[child + 1].due_ns < timers->heap[child].due_ns)
            child++;
        if (timers->heap[child].due_ns >= last.due_ns)
            break;
        timers->heap[i] = timers->heap[child];
        i = child;
    }
    timers->heap[i] = last;
}

void *timers_take(struct timers *timers, int64_t now_ns)
{
    if (timers->n == 0 || timers->heap[0].due_ns > now_ns)
        return NULL;
    void *owner = timers->heap[0].owner;
    sink(timers);
    return owner;
}

void timers_arm(struct timers *timers)
{
    if (timers->n == 0 || timers->heap[0].due_ns == timers->armed_ns)
        return;
    timers->armed_ns = timers->heap[0].due_ns;
    struct itimerspec spec = {.it_value = {.tv_sec = (time_t)(timers->armed_ns / 1000000000),
                                  .tv_nsec = (long)(timers->armed_ns % 1000000000)}};
    timerfd_settime(timers->fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

void timers_acknowledge(struct timers *timers)
{
    uint64_t n_expired;
    ssize_t n = read(timers->fd, &n_expired, sizeof(n_expired));
    (void)n;
    timers->armed_ns = 0;
}
