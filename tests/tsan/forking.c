/*
 * fork() while threads are in gavel_run, wherever they may be: the child is refused every call, and
 * gavel_close frees what it can without harm; the parent does not notice.
 */
#include "crew.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define N_THREADS 6
#define N_KEYS 2
#define N_FORKS 60

/* Never returns. Anything but 0 is a failure. */
static void be_child(gavel_client *client)
{
    alarm(20); /* for one that hangs */
    gavel_stats stats;
    gavel_read_stats(client, &stats);
    gavel_outcome outcome = gavel_run(client, &(gavel_transaction){.body = NULL});
    bool is_refused = outcome.status == GAVEL_INVALID && outcome.message[0] != '\0' &&
                      stats.n_outcomes[GAVEL_COMMITTED] == 0;
    gavel_close(client);
    _Exit(is_refused ? 0 : 1);
}

static void fork_once(gavel_client *client)
{
    pid_t pid = fork();
    CHECK(pid >= 0, "no process");
    if (pid == 0)
        be_child(client);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    CHECK(
        WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with %x", (unsigned)status);
}

int main(void)
{
    test_server *server = server_start(NULL);
    gavel_client *client = crew_open(server, NULL);
    atomic_bool must_stop = false;
    crew *all = crew_start(&(crew_plan){.clients = {client},
        .n_threads = N_THREADS,
        .n_runs = SIZE_MAX,
        .n_keys = N_KEYS,
        .min_deadline_ms = 60000,
        .max_deadline_ms = 60000,
        .must_stop = &must_stop});
    uint64_t random = 1;
    for (int i = 0; i < N_FORKS; i++) {
        crew_sleep_us((int64_t)crew_draw(&random, 2000));
        fork_once(client);
    }
    atomic_store(&must_stop, true);
    crew_tally tally = crew_join(all);
    CHECK(tally.n_outcomes[GAVEL_COMMITTED] == crew_n_told(&tally), "%s", tally.message);
    gavel_close(client);
    crew_check_sum(server, N_KEYS, &tally);
    server_stop(server);
    return 0;
}
