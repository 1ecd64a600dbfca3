/* What the contention benchmark tells: tables for people, runs as JSON; see contention.h. */
#include "contention.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MAX_REPEATS 1000

/* ---- One number out of a run ----------------------------------------------------------------- */

typedef double metric_of(const struct load *load, const struct run *run);

static double per_commit(const struct run *run, double count)
{
    return run->tally.n_commits > 0 ? count / (double)run->tally.n_commits : 0;
}

/* Of what the server has done, for whomever. */
static double per_any_commit(const struct run *run, double count)
{
    uint64_t n = run->tally.n_commits + run->foreign.n_commits;
    return n > 0 ? count / (double)n : 0;
}

/* Of what is counted ever, with what is before and after the window. */
static double per_commit_ever(const struct run *run, uint64_t count)
{
    uint64_t n = run->tally.n_commits_ever;
    return n > 0 ? (double)count / (double)n : 0;
}

static double rate(const struct load *load, const struct run *run)
{
    return (double)run->tally.n_commits / load->seconds;
}

static double attempts(const struct load *load, const struct run *run)
{
    (void)load;
    return per_commit_ever(run, run->tally.n_attempts_ever);
}

static double round_trips(const struct load *load, const struct run *run)
{
    (void)load;
    return per_commit_ever(run, run->tally.n_round_trips_ever);
}

static double commands(const struct load *load, const struct run *run)
{
    (void)load;
    return per_any_commit(run, (double)run->n_commands);
}

static double server_us(const struct load *load, const struct run *run)
{
    (void)load;
    return per_any_commit(run, (double)run->server_cpu_us);
}

static double client_us(const struct load *load, const struct run *run)
{
    (void)load;
    return per_commit(run, (double)run->tally.cpu_us);
}

static double p50_us(const struct load *load, const struct run *run)
{
    (void)load;
    return measure_quantile_us(&run->tally.latencies, 0.5);
}

static double p99_us(const struct load *load, const struct run *run)
{
    (void)load;
    return measure_quantile_us(&run->tally.latencies, 0.99);
}

static double p999_us(const struct load *load, const struct run *run)
{
    (void)load;
    return measure_quantile_us(&run->tally.latencies, 0.999);
}

static double max_us(const struct load *load, const struct run *run)
{
    (void)load;
    return (double)run->tally.max_ns / 1000;
}

static double longest_us(const struct load *load, const struct run *run)
{
    (void)load;
    return (double)run->tally.longest_wait_ns / 1000;
}

static double jain(const struct load *load, const struct run *run)
{
    (void)load;
    return run->jain;
}

static double min_over_mean(const struct load *load, const struct run *run)
{
    (void)load;
    return run->min_over_mean;
}

static double process_min_over_mean(const struct load *load, const struct run *run)
{
    (void)load;
    return run->process_min_over_mean;
}

static double overtaken(const struct load *load, const struct run *run)
{
    (void)load;
    return run->overtaken;
}

static double foreign_rate(const struct load *load, const struct run *run)
{
    return (double)run->foreign.n_commits / load->seconds;
}

static double rejected(const struct load *load, const struct run *run)
{
    (void)load;
    return per_commit(run, (double)run->tally.n_rejected);
}

static double gave_up(const struct load *load, const struct run *run)
{
    (void)load;
    return (double)run->tally.n_gave_up;
}

static bool has_processes(const struct load *load)
{
    return load->n_processes > 1;
}

static bool has_foreigners(const struct load *load)
{
    return load_n_foreign(load) > 0;
}

static bool has_order(const struct load *load)
{
    return workload_has_order(load->workload, load->n_keys);
}

enum direction { MORE_IS_BETTER, LESS_IS_BETTER };

struct column {
    const char *title; /* for the table; NULL: not in it */
    const char *key;   /* for JSON; NULL: not in it */
    int decimals;
    metric_of *metric; /* may be NaN: not known */
    enum direction direction;
    bool (*is_for)(const struct load *load); /* NULL: in every load's table */
};

static const struct column columns[] = {
    {NULL, "commits_per_s", 0, rate, MORE_IS_BETTER, NULL},
    {"foreign/s", "foreign_commits_per_s", 0, foreign_rate, MORE_IS_BETTER, has_foreigners},
    {"attempts", "attempts_per_commit", 2, attempts, LESS_IS_BETTER, NULL},
    {"commands", "commands_per_commit", 2, commands, LESS_IS_BETTER, NULL},
    {"trips", NULL, 3, round_trips, LESS_IS_BETTER, NULL},
    {"server us", "server_cpu_us_per_commit", 2, server_us, LESS_IS_BETTER, NULL},
    {"client us", "client_cpu_us_per_commit", 2, client_us, LESS_IS_BETTER, NULL},
    {"rejected", NULL, 2, rejected, LESS_IS_BETTER, NULL},
    {"gave up", NULL, 0, gave_up, LESS_IS_BETTER, NULL},
    {"p50 us", "p50_us", 0, p50_us, LESS_IS_BETTER, NULL},
    {"p99 us", "p99_us", 0, p99_us, LESS_IS_BETTER, NULL},
    {"p99.9 us", "p999_us", 0, p999_us, LESS_IS_BETTER, NULL},
    {"max us", "max_us", 0, max_us, LESS_IS_BETTER, NULL},
    {"longest", NULL, 0, longest_us, LESS_IS_BETTER, NULL},
    {"overtaken", "overtaken_per_commit", 4, overtaken, LESS_IS_BETTER, has_order},
    {"jain", "jain", 3, jain, MORE_IS_BETTER, NULL},
    {"min/mean", "min_over_mean", 2, min_over_mean, MORE_IS_BETTER, NULL},
    {"processes", "process_min_over_mean", 2, process_min_over_mean, MORE_IS_BETTER, has_processes},
};

#define N_COLUMNS (sizeof(columns) / sizeof(columns[0]))

/* ---- Tables ---------------------------------------------------------------------------------- */

static measure_spread spread_of(const struct plan *plan, size_t s, size_t p, metric_of *metric)
{
    double values[MAX_REPEATS];
    size_t n = plan->n_repeats < MAX_REPEATS ? plan->n_repeats : MAX_REPEATS;
    for (size_t r = 0; r < n; r++)
        values[r] = metric(&plan->scenarios[s].load, plan_run(plan, s, r, p));
    return measure_spread_of(values, n);
}

static double ratio(double value, double base)
{
    return base > 0 ? value / base : 0;
}

static measure_spread ratio_of(
    const struct plan *plan, size_t s, const size_t policies[2], metric_of *metric)
{
    double values[MAX_REPEATS];
    const struct load *load = &plan->scenarios[s].load;
    size_t n = plan->n_repeats < MAX_REPEATS ? plan->n_repeats : MAX_REPEATS;
    for (size_t r = 0; r < n; r++)
        values[r] = ratio(metric(load, plan_run(plan, s, r, policies[0])),
            metric(load, plan_run(plan, s, r, policies[1])));
    return measure_spread_of(values, n);
}

static size_t find_policy(const struct scenario *scenario, const char *name)
{
    size_t p = 0;
    while (p < scenario->n_policies && strcmp(scenario->policies[p]->name, name) != 0)
        p++;
    return p;
}

static void print_load(const struct scenario *scenario)
{
    const struct load *load = &scenario->load;
    printf("\n%s%s%s: %zu process%s, %zu %s, %zu key%s", load->workload->name,
        scenario->title != NULL ? ", " : "", scenario->title != NULL ? scenario->title : "",
        load->n_processes, load->n_processes == 1 ? "" : "es", load_n_callers(load),
        load->n_threads > 0 ? "threads" : "callers", load->n_keys, load->n_keys == 1 ? "" : "s");
    if (load->theta > 0)
        printf(", theta %g", load->theta);
    if (load->think_us > 0)
        printf(", think %g us", load->think_us);
    if (load->body_us > 0)
        printf(", body %g us", load->body_us);
    if (load->rtt_us > 0)
        printf(", rtt %g us", load->rtt_us);
    if (load->rate > 0)
        printf(", offered %g/s", load->rate);
    if (load_n_foreign(load) > 0)
        printf(", %zu foreign", load_n_foreign(load));
    printf("\n\n");
}

static void print_row(const struct plan *plan, size_t s, size_t p, size_t base)
{
    const struct scenario *scenario = &plan->scenarios[s];
    measure_spread rates = spread_of(plan, s, p, rate);
    printf("  %-18s %9.0f %8.0f - %8.0f", scenario->policies[p]->name, rates.median, rates.min,
        rates.max);
    if (base < scenario->n_policies && base != p) {
        measure_spread ratio = ratio_of(plan, s, (const size_t[]){base, p}, rate);
        printf(" %7.2f (%.2f - %.2f)", ratio.median, ratio.min, ratio.max);
    }
    putchar('\n');
}

static bool is_shown(const struct column *column, const struct load *load)
{
    return column->title != NULL && (column->is_for == NULL || column->is_for(load));
}

static void print_median(const struct plan *plan, size_t s, size_t p, const struct column *column)
{
    double median = spread_of(plan, s, p, column->metric).median;
    if (isnan(median))
        printf(" %9s", "-");
    else
        printf(" %9.*f", column->decimals, median);
}

static void print_counts(const struct plan *plan, size_t s)
{
    const struct scenario *scenario = &plan->scenarios[s];
    printf("\n  %-18s", "medians");
    for (size_t c = 0; c < N_COLUMNS; c++)
        if (is_shown(&columns[c], &scenario->load))
            printf(" %9s", columns[c].title);
    putchar('\n');
    for (size_t p = 0; p < scenario->n_policies; p++) {
        printf("  %-18s", scenario->policies[p]->name);
        for (size_t c = 0; c < N_COLUMNS; c++)
            if (is_shown(&columns[c], &scenario->load))
                print_median(plan, s, p, &columns[c]);
        putchar('\n');
    }
}

void contention_print(const struct plan *plan)
{
    for (size_t s = 0; s < plan->n_scenarios; s++) {
        const struct scenario *scenario = &plan->scenarios[s];
        size_t base = find_policy(scenario, "gavel");
        print_load(scenario);
        printf("  %-18s %9s %19s %s\n", "policy", "commits/s", "min - max",
            base < scenario->n_policies ? "  gavel / this (range)" : "");
        for (size_t p = 0; p < scenario->n_policies; p++)
            print_row(plan, s, p, base);
        print_counts(plan, s);
    }
}

/* ---- Goals ----------------------------------------------------------------------------------- */

static const struct column *find_column(const char *key)
{
    for (size_t c = 0; c < N_COLUMNS; c++)
        if (columns[c].key != NULL && strcmp(columns[c].key, key) == 0)
            return &columns[c];
    return NULL;
}

/* NaN: not known, or there is no such column. */
static double best_of(
    const struct plan *plan, const struct side *side, const struct column *column, size_t repeat)
{
    const struct scenario *scenario = &plan->scenarios[side->scenario];
    double best = NAN;
    for (size_t p = 0; column != NULL && p < scenario->n_policies; p++) {
        if (!names_have(side->policies, scenario->policies[p]->name))
            continue;
        double value = column->metric(&scenario->load, plan_run(plan, side->scenario, repeat, p));
        bool is_better = column->direction == MORE_IS_BETTER ? value > best : value < best;
        best = isnan(best) || is_better ? value : best;
    }
    return best;
}

static double value_of(const struct plan *plan, const struct goal *goal, size_t repeat)
{
    const struct column *column = find_column(goal->metric);
    double value = best_of(plan, &goal->of, column, repeat);
    return goal->over.policies == NULL ? value
                                       : ratio(value, best_of(plan, &goal->over, column, repeat));
}

static void print_goal(const struct plan *plan, const struct goal *goal)
{
    double values[MAX_REPEATS];
    size_t n = plan->n_repeats < MAX_REPEATS ? plan->n_repeats : MAX_REPEATS;
    for (size_t r = 0; r < n; r++)
        values[r] = value_of(plan, goal, r);
    measure_spread spread = measure_spread_of(values, n);
    bool is_reached =
        goal->is_at_most ? spread.median <= goal->bound : spread.median >= goal->bound;
    printf("  %-56s %s %6g  %8.2f (%.2f - %.2f)%s\n", goal->title,
        goal->is_at_most ? "at most " : "at least", goal->bound, spread.median, spread.min,
        spread.max, is_reached ? "" : "  short");
}

void contention_print_goals(const struct plan *plan)
{
    if (plan->n_goals == 0)
        return;
    printf("\nTo reach: medians of the repeats, with their range; a ratio is of one repeat\n\n");
    for (size_t i = 0; i < plan->n_goals; i++)
        print_goal(plan, &plan->goals[i]);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void write_metric(
    const struct column *column, const struct load *load, const struct run *run, struct json *json)
{
    double value = column->metric(load, run);
    if (column->key != NULL && !isnan(value))
        json_number(json, column->key, value);
}

static void write_run(const struct plan *plan, const size_t of[3], struct json *json)
{
    const struct scenario *scenario = &plan->scenarios[of[0]];
    const struct load *load = &scenario->load;
    const struct run *run = plan_run(plan, of[0], of[1], of[2]);
    json_open(json, NULL, '{');
    json_text(json, "policy", scenario->policies[of[2]]->name);
    json_text(json, "workload", load->workload->name);
    json_count(json, "processes", load->n_processes);
    json_count(json, "callers", load_n_callers(load));
    json_count(json, "threads", load->n_threads);
    json_count(json, "foreign", load_n_foreign(load));
    json_count(json, "keys", load->n_keys);
    json_number(json, "theta", load->theta);
    json_number(json, "think_us", load->think_us);
    json_number(json, "rtt_us", load->rtt_us);
    json_count(json, "repeat", of[1]);
    json_number(json, "seconds", load->seconds);
    json_count(json, "commits", run->tally.n_commits);
    json_count(json, "rejected", run->tally.n_rejected);
    json_count(json, "gave_up", run->tally.n_gave_up);
    json_count(json, "foreign_commits", run->foreign.n_commits);
    for (size_t c = 0; c < N_COLUMNS; c++)
        write_metric(&columns[c], load, run, json);
    json_count(json, "violations", run->n_violations);
    if (load->body_us > 0)
        json_number(json, "body_us", load->body_us);
    if (load->rate > 0)
        json_number(json, "rate", load->rate);
    json_close(json, '}');
}

void contention_write(const struct plan *plan, struct json *json)
{
    for (size_t r = 0; r < plan->n_repeats; r++)
        for (size_t s = 0; s < plan->n_scenarios; s++)
            for (size_t p = 0; p < plan->scenarios[s].n_policies; p++)
                write_run(plan, (const size_t[]){s, r, p}, json);
}
