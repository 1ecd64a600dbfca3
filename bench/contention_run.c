/*
 * One run of the contention benchmark: sets the keys, forks the processes, opens the window for all
 * of them at once, looks at the server at both of its edges, collects what the processes counted,
 * and checks the keys against it. See contention.h.
 *
 *     parent   fork ...... window -> sleep - INFO - sleep - INFO ... results ... check
 *     process   connect -- "ready" ->  <- window   crew runs in threads of its own   -> results
 */
#include "contention.h"

#include "relay.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A tenth of a run goes before it, unmeasured, to warm up; at least so long. */
#define WARM_UP_SHARE 0.1
#define WARM_UP_MIN_NS INT64_C(50000000)

/* ---- Pipes and time -------------------------------------------------------------------------- */

static bool write_all(int fd, const void *data, size_t size)
{
    for (size_t n_done = 0; n_done < size;) {
        ssize_t n = write(fd, (const char *)data + n_done, size - n_done);
        if (n <= 0 && errno != EINTR)
            return false;
        n_done += n > 0 ? (size_t)n : 0;
    }
    return true;
}

static bool read_all(int fd, void *data, size_t size)
{
    for (size_t n_done = 0; n_done < size;) {
        ssize_t n = read(fd, (char *)data + n_done, size - n_done);
        if (n == 0 || (n < 0 && errno != EINTR))
            return false;
        n_done += n > 0 ? (size_t)n : 0;
    }
    return true;
}

static void sleep_until(int64_t ns)
{
    struct timespec until = {
        .tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        ;
}

/* ---- A process ------------------------------------------------------------------------------- */

static void *run_crew(void *opaque)
{
    struct crew *crew = opaque;
    bool is_good = crew->loop != NULL ? crew_run_loop(crew) : crew_run_threads(crew);
    return is_good ? crew : NULL;
}

/* This thread has nothing to do but to look at the clock while the crew works. */
static bool run_window(struct crew *crew, int64_t *ret_cpu_us)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, run_crew, crew) != 0)
        return false;
    sleep_until(crew->window.start_ns);
    int64_t cpu_us = measure_cpu_us();
    sleep_until(crew->window.end_ns);
    *ret_cpu_us = measure_cpu_us() - cpu_us;
    void *result;
    return pthread_join(thread, &result) == 0 && result != NULL;
}

static bool write_results(struct crew *crew, int64_t cpu_us, int fd)
{
    struct tally sum;
    crew_sum(crew, &sum);
    sum.cpu_us = cpu_us;
    bool is_written = write_all(fd, &sum, sizeof(sum));
    for (size_t i = 0; is_written && i < crew->n_callers; i++)
        is_written = write_all(fd, &crew->callers[i].n_commits, sizeof(crew->callers[i].n_commits));
    for (size_t i = 0; is_written && i < crew->stage->n_cells; i++) {
        int64_t told = atomic_load(&crew->stage->told[i]);
        is_written = write_all(fd, &told, sizeof(told));
    }
    return is_written;
}

static bool live(struct crew *crew, uint64_t seed, int in, int out)
{
    /* By default the system lets sleepers oversleep by fifty microseconds. */
    prctl(PR_SET_TIMERSLACK, 1UL);
    int64_t cpu_us = 0;
    bool is_good = crew_open(crew, seed) && write_all(out, "r", 1) &&
                   read_all(in, &crew->window, sizeof(crew->window)) && run_window(crew, &cpu_us) &&
                   write_results(crew, cpu_us, out);
    crew_close(crew);
    return is_good;
}

/* ---- The parent ------------------------------------------------------------------------------ */

struct worker {
    const struct load *load;
    const struct policy *policy;
    pid_t pid;
    int in;  /* results come from here */
    int out; /* the window goes there */
};

struct session {
    const struct bench *bench;
    const struct load *load;
    const struct policy *policy;
    const char *url; /* the server's, or the relay's */
    struct load foreign;
    struct stage stage;
    struct worker *workers; /* the policy's, and behind them the foreigners', if there are any */
    size_t n_workers;
    uint64_t *commits;         /* by caller, of all processes */
    uint64_t *process_commits; /* by process */
    int64_t *told;             /* by cell, of all processes */
};

static bool fork_worker(struct session *session, struct worker *worker)
{
    int down[2] = {-1, -1};
    int up[2] = {-1, -1};
    if (pipe(down) == -1 || pipe(up) == -1 || (worker->pid = fork()) == -1) {
        perror("fork");
        return false;
    }
    if (worker->pid == 0) {
        close(down[1]);
        close(up[0]);
        struct crew crew = {.load = worker->load,
            .policy = worker->policy,
            .url = session->url,
            .stage = &session->stage};
        bool is_good = live(&crew, (uint64_t)getpid() << 20, down[0], up[1]);
        _exit(is_good ? 0 : 1);
    }
    close(down[0]);
    close(up[1]);
    worker->in = up[0];
    worker->out = down[1];
    return true;
}

static bool start_workers(struct session *session)
{
    size_t n = session->load->n_processes + (session->foreign.n_callers > 0);
    for (; session->n_workers < n; session->n_workers++) {
        struct worker *worker = &session->workers[session->n_workers];
        bool is_foreign = session->n_workers == session->load->n_processes;
        worker->load = is_foreign ? &session->foreign : session->load;
        worker->policy = is_foreign ? &policy_watch : session->policy;
        if (!fork_worker(session, worker))
            return false;
    }
    for (size_t i = 0; i < session->n_workers; i++) {
        char ready;
        if (!read_all(session->workers[i].in, &ready, 1))
            return false;
    }
    return true;
}

static bool open_window(struct session *session, struct window *ret_window)
{
    int64_t length_ns = (int64_t)(session->load->seconds * 1e9);
    int64_t warm_up_ns = (int64_t)(session->load->seconds * 1e9 * WARM_UP_SHARE);
    struct window window;
    window.start_ns =
        measure_now_ns() + (warm_up_ns > WARM_UP_MIN_NS ? warm_up_ns : WARM_UP_MIN_NS);
    window.end_ns = window.start_ns + length_ns;
    for (size_t i = 0; i < session->n_workers; i++)
        if (!write_all(session->workers[i].out, &window, sizeof(struct window)))
            return false;
    *ret_window = window;
    return true;
}

static bool watch_server(struct session *session, const struct window *window, struct run *run)
{
    server_usage before;
    server_usage after;
    sleep_until(window->start_ns);
    if (!server_read_usage(session->bench->peek, &before))
        return false;
    sleep_until(window->end_ns);
    if (!server_read_usage(session->bench->peek, &after))
        return false;
    run->n_commands = after.n_commands - before.n_commands;
    run->server_cpu_us = after.cpu_us - before.cpu_us;
    return true;
}

/* What write_results has written, in its order. */
static bool collect_from(struct session *session, size_t i, struct tally *ret_tally)
{
    int in = session->workers[i].in;
    size_t n_callers = load_n_callers(session->workers[i].load);
    uint64_t *commits = &session->commits[i * load_n_callers(session->load)];
    if (!read_all(in, ret_tally, sizeof(*ret_tally)) ||
        !read_all(in, commits, n_callers * sizeof(*commits)))
        return false;
    for (size_t c = 0; c < session->stage.n_cells; c++) {
        int64_t told;
        if (!read_all(in, &told, sizeof(told)))
            return false;
        session->told[c] += told;
    }
    return true;
}

static bool collect(struct session *session, struct run *run)
{
    for (size_t i = 0; i < session->n_workers; i++) {
        struct tally tally;
        if (!collect_from(session, i, &tally))
            return false;
        session->process_commits[i] = tally.n_commits;
        tally_add(i < session->load->n_processes ? &run->tally : &run->foreign, &tally);
    }
    return true;
}

static double jain_of(const uint64_t *counts, size_t n)
{
    double sum = 0;
    double squares = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)counts[i];
        squares += (double)counts[i] * (double)counts[i];
    }
    return squares > 0 ? sum * sum / ((double)n * squares) : 0;
}

static double min_over_mean_of(const uint64_t *counts, size_t n)
{
    uint64_t sum = 0;
    uint64_t least = UINT64_MAX;
    for (size_t i = 0; i < n; i++) {
        sum += counts[i];
        least = counts[i] < least ? counts[i] : least;
    }
    return sum > 0 ? (double)least * (double)n / (double)sum : 0;
}

static void judge_fairness(const struct session *session, struct run *run)
{
    size_t n_processes = session->load->n_processes;
    size_t n_callers = n_processes * load_n_callers(session->load);
    run->jain = jain_of(session->commits, n_callers);
    run->min_over_mean = min_over_mean_of(session->commits, n_callers);
    run->process_min_over_mean = min_over_mean_of(session->process_commits, n_processes);
    run->overtaken = NAN;
    if (session->stage.arrivals != NULL)
        run->overtaken = arrivals_overtaken(session->stage.arrivals, (uint64_t)session->told[0]);
}

/* Waits for those that will end, and ends those that will not. */
static bool stop_workers(struct session *session, bool is_good)
{
    for (size_t i = 0; i < session->n_workers; i++) {
        int status = 1;
        close(session->workers[i].in);
        close(session->workers[i].out);
        if (!is_good)
            kill(session->workers[i].pid, SIGKILL);
        while (waitpid(session->workers[i].pid, &status, 0) == -1 && errno == EINTR)
            ;
        is_good = is_good && status == 0;
    }
    return is_good;
}

static bool run_session(struct session *session, struct run *ret_run)
{
    struct run run = {0};
    struct window window;
    bool is_good = stage_reset(&session->stage, session->bench->peek) && start_workers(session) &&
                   open_window(session, &window) && watch_server(session, &window, &run) &&
                   collect(session, &run);
    if (!stop_workers(session, is_good))
        return false;
    judge_fairness(session, &run);
    if (!stage_check(&session->stage, session->bench->peek, session->told, &run.n_violations))
        return false;
    *ret_run = run;
    return true;
}

static bool run_through(struct session *session, struct run *ret_run)
{
    if (session->load->rtt_us <= 0)
        return run_session(session, ret_run);
    struct relay relay;
    if (!relay_start(&relay, session->bench->url, (int64_t)(session->load->rtt_us * 1000)))
        return false;
    session->url = relay.url;
    bool is_good = run_session(session, ret_run);
    relay_stop(&relay);
    return is_good;
}

/* They offer as much as the others, if that is bounded, each for itself. */
static struct load foreign_load(const struct load *load)
{
    struct load foreign = *load;
    size_t n_callers = load->n_processes * load_n_callers(load);
    foreign.n_processes = 1;
    foreign.n_callers = load_n_foreign(load);
    foreign.n_threads = 0;
    foreign.rate = load->rate * (double)foreign.n_callers / (double)n_callers;
    return foreign;
}

bool contention_run(const struct bench *bench, const struct load *load, const struct policy *policy,
    struct run *ret_run)
{
    struct session session = {.bench = bench,
        .load = load,
        .policy = policy,
        .url = bench->url,
        .foreign = foreign_load(load)};
    size_t n_workers = load->n_processes + 1;
    size_t n_callers = load->n_processes * load_n_callers(load) + session.foreign.n_callers;
    bool is_good = stage_open(&session.stage, load->workload, load->n_keys, load->theta);
    is_good = is_good && stage_set_body(&session.stage, bench->peek, load->body_us);
    session.workers = calloc(n_workers, sizeof(*session.workers));
    session.process_commits = calloc(n_workers, sizeof(uint64_t));
    session.commits = calloc(n_callers, sizeof(uint64_t));
    session.told = calloc(session.stage.n_cells, sizeof(int64_t));
    is_good = is_good && session.workers != NULL && session.process_commits != NULL &&
              session.commits != NULL && session.told != NULL && run_through(&session, ret_run);
    free(session.told);
    free(session.commits);
    free(session.process_commits);
    free(session.workers);
    stage_close(&session.stage);
    return is_good;
}
