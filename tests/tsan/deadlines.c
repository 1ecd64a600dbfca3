/*
 * Deadlines of 1 to 50 ms, while the server stands still every now and then: one caller, a few,
 * many. Nobody is told late, and what was told is what is in the keys.
 *
 * No link gives up in that time, and no deadline is longer, so that a caller who misses his own has
 * nothing to be woken by for seconds.
 */
#include "crew.h"

#define N_KEYS 3
#define N_STANDSTILLS 25

/* Far more than a busy machine takes to run a thread, far less than the link's time-outs. */
static const int64_t max_late_us = 5000000;

static const gavel_config patient = {.command_timeout_ms = 60000, .connect_timeout_ms = 60000};

static void stand_still(test_server *server, uint64_t *random)
{
    server_pause(server);
    crew_sleep_us(1000 + (int64_t)crew_draw(random, 30000));
    server_resume(server);
    crew_sleep_us((int64_t)crew_draw(random, 15000));
}

static void run_with(test_server *server, size_t n_threads, uint32_t max_rest_us)
{
    server_do(server, "FLUSHALL", (char *)NULL);
    atomic_bool must_stop = false;
    gavel_client *client = crew_open(server, &patient);
    crew *all = crew_start(&(crew_plan){.clients = {client},
        .n_threads = n_threads,
        .n_runs = SIZE_MAX,
        .n_keys = N_KEYS,
        .min_deadline_ms = 1,
        .max_deadline_ms = 50,
        .max_rest_us = max_rest_us,
        .must_stop = &must_stop});
    uint64_t random = n_threads;
    for (int i = 0; i < N_STANDSTILLS; i++)
        stand_still(server, &random);
    atomic_store(&must_stop, true);
    crew_tally tally = crew_join(all);
    CHECK(tally.max_late_us < max_late_us, "%lld us late", (long long)tally.max_late_us);
    CHECK(tally.n_outcomes[GAVEL_COMMITTED] > 0, "%s", tally.message);
    CHECK(tally.n_outcomes[GAVEL_DEADLINE] + tally.n_outcomes[GAVEL_UNKNOWN] > 0,
        "no deadline has passed");
    CHECK(crew_n_told(&tally) == tally.n_outcomes[GAVEL_COMMITTED] +
                                     tally.n_outcomes[GAVEL_DEADLINE] +
                                     tally.n_outcomes[GAVEL_UNKNOWN],
        "%s", tally.message);
    gavel_close(client);
    crew_check_sum(server, N_KEYS, &tally);
}

int main(void)
{
    test_server *server = server_start(NULL);
    run_with(server, 1, 0);
    run_with(server, 3, 2000);
    run_with(server, 24, 0);
    server_stop(server);
    return 0;
}
