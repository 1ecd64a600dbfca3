/* Crews of threads: each caller is one, and waits for its own wire or in gavel_run. See crew.h. */
#include "crew.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void sleep_until(int64_t ns)
{
    struct timespec until = {
        .tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) != 0)
        ;
}

/* Sends, waits and pauses until the transaction is over. */
static void see_through(struct caller *caller)
{
    while (!caller->is_settled && !caller->crew->has_failed) {
        if (caller->wake_ns != 0) {
            sleep_until(caller->wake_ns);
            caller->wake_ns = 0;
            caller_attempt(caller);
        } else if (!wire_flush(caller->wire) || !wire_receive(caller->wire)) {
            caller_fail(caller, "the connection is lost", GAVEL_STR(""));
        }
    }
}

static void *live(void *opaque)
{
    struct caller *caller = opaque;
    caller->start_ns = measure_now_ns();
    for (int64_t now_ns = caller->start_ns; caller_plan(caller, now_ns);
         now_ns = measure_now_ns()) {
        if (caller->start_ns > now_ns)
            sleep_until(caller->start_ns);
        caller_begin(caller);
        see_through(caller);
    }
    return NULL;
}

bool crew_run_threads(struct crew *crew)
{
    pthread_t *threads = calloc(crew->n_callers, sizeof(*threads));
    size_t n = 0;
    while (threads != NULL && n < crew->n_callers &&
           pthread_create(&threads[n], NULL, live, &crew->callers[n]) == 0)
        n++;
    bool is_complete = n == crew->n_callers;
    if (!is_complete)
        caller_fail(&crew->callers[0], "too many threads", GAVEL_STR(""));
    for (size_t i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    free(threads);
    return is_complete && !crew->has_failed;
}
