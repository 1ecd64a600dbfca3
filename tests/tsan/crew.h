/*
 * Crews: threads that add one to counters through gavel, and what they were told. For the plain
 * programs in this folder, which the thread sanitizer can run. A check that fails is told on
 * standard error and ends the program with 1.
 */
#ifndef TEST_TSAN_CREW_H
#define TEST_TSAN_CREW_H

#include "server.h"

#include <gavel/gavel.h>

#include <stdatomic.h>

/* What each thread of a crew does. The keys are "counter:0" and so on, shared by all crews. */
typedef struct crew_plan {
    gavel_client *clients[2]; /* the second one may be NULL; else runs alternate */
    size_t n_threads;
    size_t n_runs; /* of each thread */
    size_t n_keys;
    uint32_t min_deadline_ms; /* each run's is drawn between the two, these included */
    uint32_t max_deadline_ms;
    uint32_t max_rest_us;         /* between two runs, drawn from 0 on */
    size_t n_generations;         /* 0: 1. Each thread is followed by a new one, so many times */
    bool reads_stats;             /* of the client, after each run */
    const atomic_bool *must_stop; /* NULL: none. Ends a thread before its next run */
} crew_plan;

typedef struct crew_tally {
    long long n_outcomes[GAVEL_COMMITTED_NOT_DURABLE + 1];
    int64_t max_late_us;              /* by how much an outcome came after its deadline */
    char message[GAVEL_MESSAGE_SIZE]; /* of the last outcome that was no commit */
} crew_tally;

typedef struct crew crew;

/* Starts the threads. The plan is copied. */
crew *crew_start(const crew_plan *plan);

/* Waits for all of them, and frees. */
crew_tally crew_join(crew *crew);

/* Both in one. */
crew_tally crew_run(const crew_plan *plan);

/* All outcomes of a tally. */
long long crew_n_told(const crew_tally *tally);

/* `a` with `b` added. */
void crew_add(crew_tally *a, const crew_tally *b);

/*
 * What the counters hold must be what was told: every commit, nothing that was denied, and of the
 * UNKNOWN ones any number.
 */
void crew_check_sum(test_server *server, size_t n_keys, const crew_tally *tally);

gavel_client *crew_open(const test_server *server, const gavel_config *config);

/* A number in 0 .. bound - 1. Each thread passes a state of its own. */
uint64_t crew_draw(uint64_t *state, uint64_t bound);

int64_t crew_now_us(void);
void crew_sleep_us(int64_t us);

#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition))                                                                          \
            crew_fail(__FILE__, __LINE__, #condition, __VA_ARGS__);                                \
    } while (0)

_Noreturn void crew_fail(const char *file, int line, const char *condition, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
