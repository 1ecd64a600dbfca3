/*
 * Threads that come and go on two blocking clients, so that a caller is now alone, now turns the
 * loop, now waits for another one who does; under a hail of signals. The clients share their keys,
 * so there are real conflicts, too. Every run commits, and every commit is in the keys.
 */
#include "crew.h"

#include <signal.h>
#include <sys/time.h>

#define N_KEYS 2

static void on_alarm(int number)
{
    (void)number;
}

/* Without SA_RESTART: every call that waits is interrupted. */
static void begin_hail(void)
{
    struct sigaction action = {.sa_handler = on_alarm};
    sigemptyset(&action.sa_mask);
    sigaction(SIGALRM, &action, NULL);
    struct itimerval every = {.it_interval = {0, 1700}, .it_value = {0, 1700}};
    setitimer(ITIMER_REAL, &every, NULL);
}

static void end_hail(void)
{
    setitimer(ITIMER_REAL, &(struct itimerval){.it_value = {0, 0}}, NULL);
}

static void run_with(test_server *server, crew_plan plan)
{
    server_do(server, "FLUSHALL", (char *)NULL);
    plan.clients[0] = crew_open(server, NULL);
    plan.clients[1] = crew_open(server, NULL);
    plan.n_keys = N_KEYS;
    plan.min_deadline_ms = plan.max_deadline_ms = 60000;
    begin_hail();
    crew_tally tally = crew_run(&plan);
    end_hail();
    gavel_close(plan.clients[0]);
    gavel_close(plan.clients[1]);
    long long n_runs = (long long)(plan.n_threads * plan.n_generations * plan.n_runs);
    CHECK(tally.n_outcomes[GAVEL_COMMITTED] == n_runs, "%lld of %lld: %s",
        tally.n_outcomes[GAVEL_COMMITTED], n_runs, tally.message);
    crew_check_sum(server, N_KEYS, &tally);
}

int main(void)
{
    test_server *server = server_start(NULL);
    /* Mostly alone; about two at a time; a crowd that never rests. */
    run_with(
        server, (crew_plan){.n_threads = 2, .n_runs = 4, .n_generations = 40, .max_rest_us = 1000});
    run_with(
        server, (crew_plan){.n_threads = 5, .n_runs = 3, .n_generations = 20, .max_rest_us = 700});
    run_with(server, (crew_plan){.n_threads = 16, .n_runs = 1, .n_generations = 10});
    server_stop(server);
    return 0;
}
