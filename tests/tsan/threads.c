/*
 * Threads on one blocking client: they share its links, and whoever waits drives them for all.
 * With time enough every run commits, and every commit is in the keys.
 */
#include "crew.h"

#define N_RUNS 1280

static void run_with(size_t n_threads, size_t n_keys)
{
    test_server *server = server_start(NULL);
    gavel_client *client = crew_open(server, NULL);
    crew_tally tally = crew_run(&(crew_plan){.clients = {client},
        .n_threads = n_threads,
        .n_runs = N_RUNS / n_threads,
        .n_keys = n_keys,
        .min_deadline_ms = 60000,
        .max_deadline_ms = 60000,
        .reads_stats = true});
    CHECK(tally.n_outcomes[GAVEL_COMMITTED] == N_RUNS, "%lld, with %d threads on %d keys: %s",
        tally.n_outcomes[GAVEL_COMMITTED], (int)n_threads, (int)n_keys, tally.message);
    gavel_stats stats;
    gavel_read_stats(client, &stats);
    CHECK(stats.n_outcomes[GAVEL_COMMITTED] == N_RUNS, "the client counted otherwise");
    gavel_close(client);
    crew_check_sum(server, n_keys, &tally);
    server_stop(server);
}

int main(void)
{
    static const size_t n_threads[] = {1, 2, 16, 64};
    for (size_t i = 0; i < sizeof(n_threads) / sizeof(n_threads[0]); i++) {
        run_with(n_threads[i], 1);
        run_with(n_threads[i], 100);
    }
    return 0;
}
