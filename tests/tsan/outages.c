/*
 * A server that is killed and comes back with its data, and links that are cut, under the load of
 * many threads. Nothing that was told is lost or denied, and the client goes on afterwards.
 */
#include "crew.h"

#define N_KEYS 4
#define N_OUTAGES 4
#define N_CUTS 6

/* What the server has acknowledged is in its file: a kill loses nothing. */
static const char *const durable[] = {"--appendonly", "yes", "--appendfsync", "no", NULL};

static void cut_links(test_server *server, uint64_t *random)
{
    for (int i = 0; i < N_CUTS; i++) {
        crew_sleep_us((int64_t)crew_draw(random, 10000));
        server_do(server, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes", (char *)NULL);
    }
}

static void run_with(size_t n_threads)
{
    test_server *server = server_start(&(server_options){.args = durable});
    gavel_client *client = crew_open(server, NULL);
    atomic_bool must_stop = false;
    crew_plan plan = {.clients = {client},
        .n_threads = n_threads,
        .n_runs = SIZE_MAX,
        .n_keys = N_KEYS,
        .min_deadline_ms = 1,
        .max_deadline_ms = 2000,
        .must_stop = &must_stop};
    crew *all = crew_start(&plan);
    uint64_t random = n_threads;
    for (int i = 0; i < N_OUTAGES; i++) {
        cut_links(server, &random);
        server_kill(server);
        crew_sleep_us((int64_t)crew_draw(&random, 20000));
        server_restart(server);
    }
    atomic_store(&must_stop, true);
    crew_tally tally = crew_join(all);

    plan.must_stop = NULL;
    plan.n_runs = 3;
    plan.min_deadline_ms = plan.max_deadline_ms = 60000;
    crew_tally after = crew_run(&plan);
    CHECK(after.n_outcomes[GAVEL_COMMITTED] == (long long)(3 * n_threads), "%s", after.message);
    crew_add(&tally, &after);
    gavel_close(client);
    crew_check_sum(server, N_KEYS, &tally);
    server_stop(server);
}

int main(void)
{
    run_with(1);
    run_with(2);
    run_with(12);
    return 0;
}
