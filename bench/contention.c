/*
 * The contention benchmark: callers that fight for the same keys, by gavel and in the ways that
 * people write by hand. Every policy runs the same transactions under the same load, interleaved,
 * repeat by repeat; after every run the keys must hold exactly what the callers were told. Exits
 * with 0, with 1 when a run failed or violated that, with 2 for misuse.
 */
#include "contention.h"

#include "options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static const char all_policies[] = "textbook,watch,jitter,lock,lock-fifo,ifeq,ifeq-jitter,ifeq-"
                                   "pipelined,evalsha,evalsha-pipelined,"
                                   "incr,gavel,gavel-optimistic,gavel-gated";

struct options {
    const char *url;
    const char *policies;
    const char *workload;
    const char *sweep;
    const char *json_path;
    size_t n_repeats;
    struct load load;
};

struct program {
    struct options options;
    struct bench bench;
    struct environment environment;
    struct scenario scenarios[CONTENTION_MAX_SCENARIOS];
    struct plan plan;
    size_t n_runs;
    size_t n_done;
};

/* ---- The command line ------------------------------------------------------------------------ */

static bool parse(struct options *options, int argc, char **argv)
{
    struct load *load = &options->load;
    const bench_option table[] = {
        {"--url", BENCH_OPTION_TEXT, &options->url, "the server; bench/run starts one of its own"},
        {"--policies", BENCH_OPTION_TEXT, &options->policies, all_policies},
        {"--workload", BENCH_OPTION_TEXT, &options->workload,
            "counter, auction, transfer, ycsb, foreign or orders (counter)"},
        {"--processes", BENCH_OPTION_COUNT, &load->n_processes, "forked for each run (1)"},
        {"--callers", BENCH_OPTION_COUNT, &load->n_callers, "in each process, on a loop (64)"},
        {"--threads", BENCH_OPTION_COUNT0, &load->n_threads,
            "in each process, blocking, in place of the callers (0)"},
        {"--foreign", BENCH_OPTION_COUNT0, &load->n_foreign,
            "callers beside them that know of no gates; 0: for the workload foreign one for each "
            "eight, else none (0)"},
        {"--keys", BENCH_OPTION_COUNT, &load->n_keys, "that they fight for (1)"},
        {"--theta", BENCH_OPTION_NUMBER0, &load->theta, "Zipf's exponent; 0 is uniform (0)"},
        {"--think-us", BENCH_OPTION_NUMBER0, &load->think_us, "between transactions (0)"},
        {"--body-us", BENCH_OPTION_NUMBER0, &load->body_us, "that a body computes (0)"},
        {"--rtt-us", BENCH_OPTION_NUMBER0, &load->rtt_us, "added by a relay in between (0)"},
        {"--jitter-us", BENCH_OPTION_NUMBER0, &load->jitter_us,
            "base of jitter and of lock's polling; 0: the tuned ones (0)"},
        {"--wires", BENCH_OPTION_COUNT0, &load->n_wires,
            "connections for evalsha-pipelined and incr; 0: the tuned number (0)"},
        {"--rate", BENCH_OPTION_NUMBER0, &load->rate,
            "transactions/s offered by all; 0: each caller starts when it is free (0)"},
        {"--seconds", BENCH_OPTION_NUMBER, &load->seconds, "of each run (1; sweep: 0.5)"},
        {"--repeat", BENCH_OPTION_COUNT, &options->n_repeats, "runs of each policy (3)"},
        {"--sweep", BENCH_OPTION_TEXT, &options->sweep,
            "default, gate or cluster: a set of loads; then no other load is given"},
        {"--json", BENCH_OPTION_TEXT, &options->json_path, "write every run to this file (none)"},
    };
    return options_parse(argc, argv, table, COUNT_OF(table));
}

static bool plan_one(struct program *program)
{
    struct options *options = &program->options;
    options->load.workload = workload_find(options->workload);
    if (options->load.workload == NULL) {
        fprintf(stderr, "--workload %s: there is none\n", options->workload);
        return false;
    }
    if (options->load.n_keys < options->load.workload->n_keys) {
        fprintf(stderr, "--keys: at least %zu for %s\n", options->load.workload->n_keys,
            options->workload);
        return false;
    }
    if (options->load.seconds <= 0)
        options->load.seconds = 1;
    program->plan.n_scenarios = 1;
    program->scenarios[0].load = options->load;
    return scenario_set_policies(&program->scenarios[0], options->policies);
}

static bool plan_all(struct program *program)
{
    const struct options *options = &program->options;
    double seconds = options->load.seconds > 0 ? options->load.seconds : 0.5;
    bool is_known = plan_sweep(&program->plan, options->sweep, seconds);
    if (!is_known)
        fprintf(stderr, "--sweep %s: there is none\n", options->sweep);
    return is_known;
}

static bool make_plan(struct program *program)
{
    struct options *options = &program->options;
    if (options->url == NULL) {
        fprintf(stderr, "--url is needed; bench/run starts a server and gives it\n");
        return false;
    }
    program->plan.scenarios = program->scenarios;
    program->plan.n_repeats = options->n_repeats;
    return options->sweep != NULL ? plan_all(program) : plan_one(program);
}

/* ---- All runs -------------------------------------------------------------------------------- */

static void show_progress(const struct program *program, const char *what)
{
    enum { WIDTH = 40 };
    static const char bar[] = "########################################";
    if (!isatty(STDERR_FILENO))
        return;
    int n = (int)(WIDTH * program->n_done / program->n_runs);
    fprintf(stderr, "\r[%.*s%*s] %zu/%zu %-20s", n, bar, WIDTH - n, "", program->n_done,
        program->n_runs, what);
    if (program->n_done == program->n_runs)
        fprintf(stderr, "\r%*s\r", WIDTH + 40, "");
}

static bool run_one(struct program *program, size_t s, size_t repeat, size_t p)
{
    const struct scenario *scenario = &program->scenarios[s];
    const char *name = scenario->policies[p]->name;
    struct run *run = plan_run(&program->plan, s, repeat, p);
    show_progress(program, name);
    if (!contention_run(&program->bench, &scenario->load, scenario->policies[p], run)) {
        fprintf(stderr, "%s on %s failed\n", name, scenario->load.workload->name);
        return false;
    }
    program->n_done++;
    if (run->n_violations > 0)
        fprintf(stderr, "%s on %s: %llu violations\n", name, scenario->load.workload->name,
            (unsigned long long)run->n_violations);
    return true;
}

/* What the server can do. False: nothing, or no memory. */
static bool open_runs(struct program *program)
{
    struct plan *plan = &program->plan;
    plan_leave_out_unknown(plan, program->bench.peek);
    for (size_t s = 0; s < plan->n_scenarios; s++)
        program->n_runs += plan->scenarios[s].n_policies * plan->n_repeats;
    if (program->n_runs == 0)
        return false;
    plan->runs = calloc(program->n_runs, sizeof(struct run));
    return plan->runs != NULL;
}

/* False: a run broke. Violations are in the runs. */
static bool run_all(struct program *program)
{
    for (size_t repeat = 0; repeat < program->plan.n_repeats; repeat++)
        for (size_t s = 0; s < program->plan.n_scenarios; s++)
            for (size_t p = 0; p < program->scenarios[s].n_policies; p++)
                if (!run_one(program, s, repeat, p))
                    return false;
    show_progress(program, "");
    return true;
}

static bool is_sound(const struct program *program)
{
    for (size_t i = 0; i < program->n_runs; i++)
        if (program->plan.runs[i].n_violations > 0)
            return false;
    return true;
}

static bool write_json(const struct program *program)
{
    FILE *file = fopen(program->options.json_path, "w");
    if (file == NULL) {
        perror(program->options.json_path);
        return false;
    }
    struct json json = {.file = file};
    json_open(&json, NULL, '{');
    environment_write(&program->environment, &json, "environment");
    json_open(&json, "runs", '[');
    contention_write(&program->plan, &json);
    json_close(&json, ']');
    json_close(&json, '}');
    putc('\n', file);
    bool is_written = !ferror(file);
    return fclose(file) == 0 && is_written;
}

/* A connection for each caller takes more files than the soft limit often allows. */
static void raise_limits(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static bool measure(struct program *program)
{
    raise_limits();
    program->bench.peek = server_connect(program->bench.url);
    if (program->bench.peek == NULL ||
        !environment_read(program->bench.peek, program->bench.url, &program->environment) ||
        !open_runs(program) || !run_all(program))
        return false;
    environment_print(&program->environment);
    printf("%zu runs of %.2f s each, interleaved\n", program->plan.n_repeats,
        program->scenarios[0].load.seconds);
    contention_print(&program->plan);
    contention_print_goals(&program->plan);
    bool is_written = program->options.json_path == NULL || write_json(program);
    return is_written && is_sound(program);
}

int main(int argc, char **argv)
{
    static struct program program = {.options = {.policies = all_policies,
                                         .workload = "counter",
                                         .n_repeats = 3,
                                         .load = {.n_processes = 1, .n_callers = 64, .n_keys = 1}}};
    if (!parse(&program.options, argc, argv) || !make_plan(&program))
        return 2;
    program.bench.url = program.options.url;
    bool is_good = measure(&program);
    if (program.bench.peek != NULL)
        redisFree(program.bench.peek);
    free(program.plan.runs);
    return is_good ? 0 : 1;
}
