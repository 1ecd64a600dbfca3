/*
 * Names that are looked up on a thread of their own, while callers come and go and the client is
 * closed: before, after and while the answer comes.
 */
#include "crew.h"

#include <stdio.h>

#define N_ROUNDS 150
#define N_THREADS 4
#define N_KEYS 4

int main(void)
{
    test_server *server = server_start(&(server_options){.has_tcp = true});
    crew_tally sum = {{0}, 0, ""};
    char url[64];
    uint64_t draws = 1;
    snprintf(url, sizeof(url), "redis://localhost:%d", server_port(server));
    for (int i = 0; i < N_ROUNDS; i++) {
        gavel_error error;
        gavel_client *client = gavel_open(url, NULL, &error);
        CHECK(client != NULL, "%s", error.message);
        /* Some deadlines come before the answer. */
        bool is_patient = i % 2 == 0;
        crew_tally tally = crew_run(&(crew_plan){.clients = {client},
            .n_threads = N_THREADS,
            .n_runs = 1,
            .n_keys = N_KEYS,
            .min_deadline_ms = is_patient ? 20000 : 1,
            .max_deadline_ms = is_patient ? 20000 : 2});
        if (is_patient)
            CHECK(tally.n_outcomes[GAVEL_COMMITTED] == N_THREADS, "%s", tally.message);
        else
            crew_sleep_us((int64_t)crew_draw(&draws, 500));
        crew_add(&sum, &tally);
        gavel_close(client);
    }
    crew_check_sum(server, N_KEYS, &sum);
    server_stop(server);
    return 0;
}
