/*
 * The latency benchmark: what a transaction that nobody contends for costs, by gavel and written by
 * hand on hiredis, one at a time and with several in flight. All schemes run interleaved, repeat by
 * repeat, so that a change of the machine's mood falls on all of them; every run is verified by the
 * sum of its keys. Exits with 0, with 1 when a run failed or lost an update, with 2 for misuse.
 */
#include "latency.h"

#include "options.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static const latency_scheme lone_schemes[] = {
    {"gavel", false, &latency_gavel_blocking, LATENCY_PLAIN},
    {"gavel, no marker", false, &latency_gavel_blocking, LATENCY_NO_MARKER},
    {"hand", true, &latency_hand, LATENCY_PLAIN},
    {"hand, timeout", true, &latency_hand, LATENCY_WITH_TIMEOUT},
    {"hand, marker", true, &latency_hand, LATENCY_WITH_MARKER},
};

static const latency_scheme flight_schemes[] = {
    {"gavel", false, &latency_gavel_attached, LATENCY_PLAIN},
    {"gavel, no marker", false, &latency_gavel_attached, LATENCY_NO_MARKER},
    {"hand, adapter", true, &latency_fleet, LATENCY_PLAIN},
    {"hand, flushed", true, &latency_fleet, LATENCY_FLUSHED},
};

static const latency_scheme replica_schemes[] = {
    {"gavel", false, &latency_gavel_attached, LATENCY_PLAIN},
    {"gavel, min_replicas 1", false, &latency_gavel_attached, LATENCY_REPLICATED},
    {"hand, flushed", true, &latency_fleet, LATENCY_FLUSHED},
    {"hand, WAIT", true, &latency_fleet, LATENCY_REPLICATED},
};

/* With a thousand, a rival would need as many connections. */
#define N_REPLICA_SCHEMES_OF_GAVEL 2

static const latency_group groups[] = {
    {"lone-rotating", "one at a time, blocking, keys in turn", false, false, false, 1, lone_schemes,
        COUNT_OF(lone_schemes)},
    {"lone-one-key", "one at a time, blocking, always the same key", true, false, false, 1,
        lone_schemes, COUNT_OF(lone_schemes)},
    {"lone-blind", "one at a time, blocking, keys in turn, written unread", false, true, false, 1,
        lone_schemes, COUNT_OF(lone_schemes)},
    {"flight-10", "10 in flight on a libev loop, keys in turn", false, false, false, 10,
        flight_schemes, COUNT_OF(flight_schemes)},
    {"flight-100", "100 in flight on a libev loop, keys in turn", false, false, false, 100,
        flight_schemes, COUNT_OF(flight_schemes)},
    {"replica-100", "100 in flight, and a replica is to have them", false, false, true, 100,
        replica_schemes, COUNT_OF(replica_schemes)},
    {"replica-1000", "1000 in flight, and a replica is to have them", false, false, true, 1000,
        replica_schemes, N_REPLICA_SCHEMES_OF_GAVEL},
};

#define N_GROUPS COUNT_OF(groups)
#define MAX_SCHEMES 8

/* A tenth of a run goes before it, unmeasured, to connect and to warm up. */
#define WARM_UP_SHARE 0.1

struct bench {
    const char *url;
    double seconds;
    size_t n_repeats;
    size_t n_keys;
    const char *only; /* NULL: all */
    const char *json_path;
    redisContext *peek; /* to look at the server past the schemes */
    bench_key *keys;
    struct environment environment;
    latency_run *runs[N_GROUPS];
    bool is_run[N_GROUPS][MAX_SCHEMES];
};

/* ---- One run ------------------------------------------------------------------------------- */

static bool drive(const latency_scheme *scheme, void *session, double seconds, latency_tally *tally)
{
    return scheme->ops->drive(session, measure_now_ns() + (int64_t)(seconds * 1e9), tally);
}

/* Drives the session and takes every count before and after. */
static bool measure(
    struct bench *bench, const latency_scheme *scheme, void *session, latency_run *ret_run)
{
    latency_run run = {0};
    server_usage before;
    server_usage after;
    if (!server_read_usage(bench->peek, &before))
        return false;
    syscalls calls = syscalls_read();
    int64_t cpu_us = measure_cpu_us();
    int64_t start_ns = measure_now_ns();
    if (!drive(scheme, session, bench->seconds, &run.tally))
        return false;
    run.seconds = (double)(measure_now_ns() - start_ns) / 1e9;
    run.client_cpu_us = measure_cpu_us() - cpu_us;
    run.calls = syscalls_since(calls);
    if (!server_read_usage(bench->peek, &after))
        return false;
    run.n_commands = after.n_commands - before.n_commands;
    run.server_cpu_us = after.cpu_us - before.cpu_us;
    *ret_run = run;
    return true;
}

static bool verify(struct bench *bench, const latency_task *task, uint64_t n_commits)
{
    int64_t sum;
    if (!server_sum_keys(bench->peek, task->keys, task->n_keys, &sum))
        return false;
    if (sum == (int64_t)n_commits)
        return true;
    fprintf(stderr, "%" PRIu64 " commits were told, but the keys add up to %" PRId64 "\n",
        n_commits, sum);
    return false;
}

static bool run_scheme(struct bench *bench, const latency_group *group,
    const latency_scheme *scheme, latency_run *ret_run)
{
    latency_task task = {.url = bench->url,
        .keys = bench->keys,
        .n_keys = group->has_one_key ? 1 : bench->n_keys,
        .n_in_flight = group->n_in_flight,
        .is_blind = group->is_blind,
        .variant = scheme->variant};
    if (!server_zero_keys(bench->peek, task.keys, task.n_keys))
        return false;
    void *session = scheme->ops->open(&task);
    if (session == NULL)
        return false;
    latency_tally warm_up = {0};
    bool is_good = drive(scheme, session, bench->seconds * WARM_UP_SHARE, &warm_up) &&
                   measure(bench, scheme, session, ret_run);
    scheme->ops->close(session);
    return is_good && verify(bench, &task, warm_up.n_commits + ret_run->tally.n_commits);
}

/* ---- All runs ------------------------------------------------------------------------------ */

static bool run_group(struct bench *bench, size_t g, size_t repeat)
{
    const latency_group *group = &groups[g];
    for (size_t s = 0; s < group->n_schemes; s++) {
        if (!bench->is_run[g][s])
            continue;
        latency_run *run = &bench->runs[g][repeat * group->n_schemes + s];
        if (run_scheme(bench, group, &group->schemes[s], run))
            continue;
        fprintf(stderr, "%s/%s failed\n", group->name, group->schemes[s].name);
        return false;
    }
    return true;
}

static bool run_all(struct bench *bench)
{
    for (size_t repeat = 0; repeat < bench->n_repeats; repeat++)
        for (size_t g = 0; g < N_GROUPS; g++)
            if (!run_group(bench, g, repeat))
                return false;
    return true;
}

static latency_results results_of(const struct bench *bench, size_t g)
{
    return (latency_results){.group = &groups[g],
        .n_repeats = bench->n_repeats,
        .runs = bench->runs[g],
        .is_run = bench->is_run[g]};
}

static void print_all(const struct bench *bench)
{
    environment_print(&bench->environment);
    printf("%zu runs of %.2f s each, interleaved; %zu keys\n", bench->n_repeats, bench->seconds,
        bench->n_keys);
    for (size_t g = 0; g < N_GROUPS; g++) {
        latency_results results = results_of(bench, g);
        latency_print(&results);
    }
}

static bool write_all(const struct bench *bench)
{
    FILE *file = fopen(bench->json_path, "w");
    if (file == NULL) {
        perror(bench->json_path);
        return false;
    }
    struct json json = {.file = file};
    json_open(&json, NULL, '{');
    json_text(&json, "benchmark", "latency");
    environment_write(&bench->environment, &json, "environment");
    json_number(&json, "seconds", bench->seconds);
    json_count(&json, "keys", bench->n_keys);
    json_open(&json, "runs", '[');
    for (size_t g = 0; g < N_GROUPS; g++) {
        latency_results results = results_of(bench, g);
        latency_write(&results, &json);
    }
    json_close(&json, ']');
    json_close(&json, '}');
    putc('\n', file);
    bool is_written = !ferror(file);
    return fclose(file) == 0 && is_written;
}

/* ---- Setting up ---------------------------------------------------------------------------- */

/* --only takes a group, or a group and a scheme: "lone-rotating", "flight-10/gavel, no marker". */
static bool is_chosen(const char *only, const latency_group *group, const latency_scheme *scheme)
{
    char name[64];
    snprintf(name, sizeof(name), "%s/%s", group->name, scheme->name);
    return only == NULL || strcmp(only, group->name) == 0 || strcmp(only, name) == 0;
}

static bool choose(struct bench *bench)
{
    bool is_any = false;
    size_t n_in_flight = 1;
    char n_replicas[16];
    bool has_replica = server_read_info(bench->peek, "replication", "connected_slaves", n_replicas,
                           sizeof(n_replicas)) &&
                       strcmp(n_replicas, "0") != 0;
    for (size_t g = 0; g < N_GROUPS; g++)
        for (size_t s = 0; s < groups[g].n_schemes; s++) {
            bench->is_run[g][s] = is_chosen(bench->only, &groups[g], &groups[g].schemes[s]) &&
                                  (has_replica || !groups[g].needs_replica);
            is_any = is_any || bench->is_run[g][s];
            if (bench->is_run[g][s] && groups[g].n_in_flight > n_in_flight)
                n_in_flight = groups[g].n_in_flight;
        }
    if (!is_any)
        fprintf(stderr, "--only %s: no such group or scheme, or no replica for it\n", bench->only);
    else if (bench->n_keys < n_in_flight)
        fprintf(stderr, "--keys: at least %zu, one for each in flight\n", n_in_flight);
    return is_any && bench->n_keys >= n_in_flight;
}

static bool parse(struct bench *bench, int argc, char **argv)
{
    const bench_option options[] = {
        {"--url", BENCH_OPTION_TEXT, &bench->url, "the server; bench/run starts one of its own"},
        {"--seconds", BENCH_OPTION_NUMBER, &bench->seconds, "of each run (1)"},
        {"--repeat", BENCH_OPTION_COUNT, &bench->n_repeats, "runs of each scheme (5)"},
        {"--keys", BENCH_OPTION_COUNT, &bench->n_keys, "keys to go through in turn (1000)"},
        {"--only", BENCH_OPTION_TEXT, &bench->only, "a group or group/scheme (all)"},
        {"--json", BENCH_OPTION_TEXT, &bench->json_path, "write every run to this file (none)"},
    };
    if (!options_parse(argc, argv, options, COUNT_OF(options)))
        return false;
    if (bench->url == NULL)
        fprintf(stderr, "--url is needed; bench/run latency starts a server and gives it\n");
    return bench->url != NULL;
}

static bool set_up(struct bench *bench)
{
    bench->keys = server_name_keys(bench->n_keys);
    bool is_ready = bench->peek != NULL && bench->keys != NULL;
    for (size_t g = 0; g < N_GROUPS; g++) {
        bench->runs[g] = calloc(bench->n_repeats * groups[g].n_schemes, sizeof(latency_run));
        is_ready = is_ready && bench->runs[g] != NULL;
    }
    return is_ready && environment_read(bench->peek, bench->url, &bench->environment);
}

static void tear_down(struct bench *bench)
{
    for (size_t g = 0; g < N_GROUPS; g++)
        free(bench->runs[g]);
    free(bench->keys);
    if (bench->peek != NULL)
        redisFree(bench->peek);
}

int main(int argc, char **argv)
{
    struct bench bench = {.seconds = 1, .n_repeats = 5, .n_keys = 1000};
    if (!parse(&bench, argc, argv))
        return 2;
    bench.peek = server_connect(bench.url);
    if (bench.peek != NULL && !choose(&bench))
        return 2;
    bool is_good = set_up(&bench) && run_all(&bench);
    if (is_good)
        print_all(&bench);
    if (is_good && bench.json_path != NULL)
        is_good = write_all(&bench);
    tear_down(&bench);
    return is_good ? 0 : 1;
}
