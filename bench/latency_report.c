/*
 * What the latency benchmark tells: tables for people, runs as JSON for machines. A ratio is taken
 * between two runs of the same repeat, and the median is of these ratios; see latency.h.
 */
#include "latency.h"

#include <stdio.h>

#define MAX_REPEATS 1000

/* ---- One number out of a run --------------------------------------------------------------- */

typedef double metric_of(const latency_run *run);

static double per_commit(const latency_run *run, uint64_t count)
{
    return run->tally.n_commits > 0 ? (double)count / (double)run->tally.n_commits : 0;
}

static double rate(const latency_run *run)
{
    return run->seconds > 0 ? (double)run->tally.n_commits / run->seconds : 0;
}

static double p50_us(const latency_run *run)
{
    return measure_quantile_us(&run->tally.latencies, 0.5);
}

static double p99_us(const latency_run *run)
{
    return measure_quantile_us(&run->tally.latencies, 0.99);
}

static double n_commands(const latency_run *run)
{
    return per_commit(run, run->n_commands);
}

static double n_marker_commands(const latency_run *run)
{
    return per_commit(run, run->tally.n_marker_commands);
}

static double n_round_trips(const latency_run *run)
{
    return per_commit(run, run->tally.n_round_trips);
}

static double n_rounds(const latency_run *run)
{
    return per_commit(run, run->tally.n_rounds);
}

static double n_sends(const latency_run *run)
{
    return per_commit(run, run->calls.n_sends);
}

static double n_receives(const latency_run *run)
{
    return per_commit(run, run->calls.n_receives);
}

static double n_waits(const latency_run *run)
{
    return per_commit(run, run->calls.n_waits);
}

static double n_controls(const latency_run *run)
{
    return per_commit(run, run->calls.n_controls);
}

static double n_allocations(const latency_run *run)
{
    return per_commit(run, run->tally.n_allocations);
}

static double client_cpu_us(const latency_run *run)
{
    return per_commit(run, (uint64_t)run->client_cpu_us);
}

static double server_cpu_us(const latency_run *run)
{
    return per_commit(run, (uint64_t)run->server_cpu_us);
}

static double n_conflicts(const latency_run *run)
{
    return (double)run->tally.n_conflicts;
}

struct column {
    const char *title; /* for the table; NULL: not in it */
    const char *key;   /* for JSON */
    metric_of *metric;
};

static const struct column columns[] = {
    {"commands", "commands_per_commit", n_commands},
    {"marker", "marker_commands_per_commit", n_marker_commands},
    {"trips", "round_trips_per_commit", n_round_trips},
    {"sends", "sends_per_commit", n_sends},
    {"receives", "receives_per_commit", n_receives},
    {"waits", "waits_per_commit", n_waits},
    {"controls", "controls_per_commit", n_controls},
    {"allocs", "allocations_per_commit", n_allocations},
    {"client us", "client_cpu_us_per_commit", client_cpu_us},
    {"server us", "server_cpu_us_per_commit", server_cpu_us},
    {NULL, "rounds_per_commit", n_rounds},
    {NULL, "commits_per_second", rate},
    {NULL, "p50_us", p50_us},
    {NULL, "p99_us", p99_us},
    {NULL, "conflicts", n_conflicts},
};

#define N_COLUMNS (sizeof(columns) / sizeof(columns[0]))

/* ---- Tables -------------------------------------------------------------------------------- */

static const latency_run *run_of(const latency_results *results, size_t scheme, size_t repeat)
{
    return &results->runs[repeat * results->group->n_schemes + scheme];
}

static measure_spread spread_of(const latency_results *results, size_t scheme, metric_of *metric)
{
    double values[MAX_REPEATS];
    size_t n = results->n_repeats < MAX_REPEATS ? results->n_repeats : MAX_REPEATS;
    for (size_t repeat = 0; repeat < n; repeat++)
        values[repeat] = metric(run_of(results, scheme, repeat));
    return measure_spread_of(values, n);
}

static measure_spread ratio_of(const latency_results *results, size_t scheme, size_t rival)
{
    double values[MAX_REPEATS];
    size_t n = results->n_repeats < MAX_REPEATS ? results->n_repeats : MAX_REPEATS;
    for (size_t repeat = 0; repeat < n; repeat++) {
        double base = rate(run_of(results, rival, repeat));
        values[repeat] = base > 0 ? rate(run_of(results, scheme, repeat)) / base : 0;
    }
    return measure_spread_of(values, n);
}

static bool is_rival(const latency_results *results, size_t scheme)
{
    return results->is_run[scheme] && results->group->schemes[scheme].is_rival;
}

static void print_rates(const latency_results *results)
{
    const latency_group *group = results->group;
    printf("  %-18s %9s %19s %8s %8s", "scheme", "commits/s", "min - max", "p50 us", "p99 us");
    for (size_t s = 0; s < group->n_schemes; s++)
        if (is_rival(results, s))
            printf("   x %-16s", group->schemes[s].name);
    putchar('\n');
    for (size_t s = 0; s < group->n_schemes; s++) {
        if (!results->is_run[s])
            continue;
        measure_spread rates = spread_of(results, s, rate);
        printf("  %-18s %9.0f %8.0f - %8.0f %8.1f %8.1f", group->schemes[s].name, rates.median,
            rates.min, rates.max, spread_of(results, s, p50_us).median,
            spread_of(results, s, p99_us).median);
        for (size_t rival = 0; rival < group->n_schemes; rival++) {
            if (!is_rival(results, rival))
                continue;
            measure_spread ratio = ratio_of(results, s, rival);
            printf("   %4.2f (%.2f - %.2f)", ratio.median, ratio.min, ratio.max);
        }
        putchar('\n');
    }
}

/* gavel alone counts these; of a rival they are not known. */
static bool is_known(const latency_scheme *scheme, const struct column *column)
{
    return !scheme->is_rival || (column->metric != n_marker_commands &&
                                    column->metric != n_allocations && column->metric != n_rounds);
}

static void print_counts(const latency_results *results)
{
    const latency_group *group = results->group;
    printf("\n  %-18s", "per commit");
    for (size_t c = 0; c < N_COLUMNS; c++)
        if (columns[c].title != NULL)
            printf(" %9s", columns[c].title);
    putchar('\n');
    for (size_t s = 0; s < group->n_schemes; s++) {
        if (!results->is_run[s])
            continue;
        printf("  %-18s", group->schemes[s].name);
        for (size_t c = 0; c < N_COLUMNS; c++) {
            if (columns[c].title == NULL)
                continue;
            if (is_known(&group->schemes[s], &columns[c]))
                printf(" %9.3f", spread_of(results, s, columns[c].metric).median);
            else
                printf(" %9s", "-");
        }
        putchar('\n');
    }
}

void latency_print(const latency_results *results)
{
    bool is_any = false;
    for (size_t s = 0; s < results->group->n_schemes; s++)
        is_any = is_any || results->is_run[s];
    if (!is_any)
        return;
    printf("\n%s: %s\n\n", results->group->name, results->group->title);
    print_rates(results);
    print_counts(results);
}

/* ---- JSON ---------------------------------------------------------------------------------- */

static void write_run(
    const latency_results *results, size_t scheme_index, size_t repeat, struct json *json)
{
    const latency_scheme *scheme = &results->group->schemes[scheme_index];
    const latency_run *run = run_of(results, scheme_index, repeat);
    json_open(json, NULL, '{');
    json_text(json, "group", results->group->name);
    json_text(json, "scheme", scheme->name);
    json_count(json, "repeat", repeat);
    json_number(json, "seconds", run->seconds);
    json_count(json, "commits", run->tally.n_commits);
    for (size_t c = 0; c < N_COLUMNS; c++)
        if (is_known(scheme, &columns[c]))
            json_number(json, columns[c].key, columns[c].metric(run));
    json_close(json, '}');
}

void latency_write(const latency_results *results, struct json *json)
{
    for (size_t repeat = 0; repeat < results->n_repeats; repeat++)
        for (size_t s = 0; s < results->group->n_schemes; s++)
            if (results->is_run[s])
                write_run(results, s, repeat, json);
}
