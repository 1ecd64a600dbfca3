/*
 * Logins that the program is asked for on gavel's thread, while callers come and go, connections
 * are killed, and the client is closed: before, after and while the answer comes.
 */
#include "crew.h"

#include <stdio.h>
#include <string.h>

#define N_ROUNDS 100
#define N_THREADS 4
#define N_KEYS 4

/* Not guarded: gavel asks once at a time. */
typedef struct program {
    uint64_t draws;
    unsigned n_asked;
    char password[16];
} program;

static const char *log_in(gavel_login *login, void *user)
{
    program *asked = user;
    asked->n_asked++;
    crew_sleep_us((int64_t)crew_draw(&asked->draws, 500));
    if (asked->n_asked % 5 == 4)
        return "no token for a moment";
    strcpy(asked->password, asked->n_asked % 5 == 2 ? "wrong" : "right");
    gavel_login_use(login, NULL, asked->password);
    memset(asked->password, 0, sizeof(asked->password));
    return NULL;
}

static crew_tally run(test_server *server, gavel_client *client, bool is_patient)
{
    crew *threads = crew_start(&(crew_plan){.clients = {client},
        .n_threads = N_THREADS,
        .n_runs = 2,
        .n_keys = N_KEYS,
        .min_deadline_ms = is_patient ? 20000 : 1,
        .max_deadline_ms = is_patient ? 20000 : 2});
    server_do(server, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes", (char *)NULL);
    return crew_join(threads);
}

int main(void)
{
    test_server *server = server_start(&(server_options){.password = "right"});
    program asked = {.draws = 1};
    crew_tally sum = {{0}, 0, ""};
    for (int i = 0; i < N_ROUNDS; i++) {
        gavel_client *client =
            crew_open(server, &(gavel_config){.log_in = log_in, .log_in_user = &asked});
        crew_tally tally = run(server, client, i % 2 == 0);
        crew_add(&sum, &tally);
        gavel_close(client);
    }
    CHECK(asked.n_asked > N_ROUNDS / 2, "asked %u times", asked.n_asked);
    CHECK(sum.n_outcomes[GAVEL_COMMITTED] > 0, "%s", sum.message);
    crew_check_sum(server, N_KEYS, &sum);
    server_stop(server);
    return 0;
}
