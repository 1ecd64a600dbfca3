/* Crews: callers, whether they live in threads or on a loop; see crew.h. */
#include "crew.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- From transaction to transaction --------------------------------------------------------- */

/* With a rate, each caller has its own arrivals, a Poisson process that does not wait for it. */
static int64_t next_arrival_ns(struct caller *caller)
{
    const struct load *load = caller->crew->load;
    double callers = (double)(load->n_processes * load_n_callers(load));
    double mean_ns = 1e9 * callers / load->rate;
    return caller->start_ns - (int64_t)(mean_ns * log(1 - chance_share(&caller->random)));
}

/* What was meant to start in the window and never did: it waited until the end at least. */
static void count_unbegun(struct caller *caller)
{
    const struct window *window = &caller->crew->window;
    while (caller->start_ns < window->end_ns) {
        if (caller->start_ns >= window->start_ns) {
            caller->tally->n_gave_up++;
            measure_record(&caller->tally->latencies, window->end_ns - caller->start_ns);
        }
        caller->start_ns = next_arrival_ns(caller);
    }
}

bool caller_plan(struct caller *caller, int64_t now_ns)
{
    const struct load *load = caller->crew->load;
    int64_t end_ns = caller->crew->window.end_ns;
    if (load->rate > 0) {
        caller->start_ns = next_arrival_ns(caller);
        if (now_ns >= end_ns)
            count_unbegun(caller);
    } else {
        caller->start_ns = now_ns;
        if (load->think_us > 0)
            caller->start_ns +=
                (int64_t)(load->think_us * 1000 * (0.5 + chance_share(&caller->random)));
    }
    return now_ns < end_ns && caller->start_ns < end_ns && !caller->crew->has_failed;
}

void caller_begin(struct caller *caller)
{
    const struct policy *policy = caller->crew->policy;
    int64_t now_ns = measure_now_ns();
    if (caller->crew->load->rate <= 0)
        caller->start_ns = now_ns;
    caller->deadline_ns = now_ns + CALLER_DEADLINE_NS;
    caller->n_conflicts = 0;
    caller->is_settled = false;
    job_choose(&caller->job, &caller->random);
    caller->is_plain_read = caller->job.is_read && policy->on_reply != NULL;
    if (policy->on_reply == NULL && caller->crew->loop != NULL)
        policy->begin(caller);
    else if (policy->on_reply == NULL)
        policy->run(caller);
    else
        caller_attempt(caller);
}

void caller_attempt(struct caller *caller)
{
    caller_count_attempt(caller);
    if (caller->is_plain_read)
        caller_send_read(caller);
    else
        caller->crew->policy->attempt(caller);
}

/* A caller's time without a commit, as far as it lies in the window. */
static void note_wait(struct caller *caller, int64_t now_ns)
{
    const struct window *window = &caller->crew->window;
    int64_t from_ns = caller->last_commit_ns;
    if (from_ns < window->start_ns)
        from_ns = window->start_ns;
    if (now_ns - from_ns > caller->tally->longest_wait_ns)
        caller->tally->longest_wait_ns = now_ns - from_ns;
    caller->last_commit_ns = now_ns;
}

static void count(struct caller *caller, enum settlement settlement, int64_t now_ns)
{
    struct tally *tally = caller->tally;
    const struct window *window = &caller->crew->window;
    bool is_counted = now_ns >= window->start_ns && now_ns < window->end_ns;
    tally->n_commits_ever += settlement == COMMITTED;
    tally->n_commits += settlement == COMMITTED && is_counted;
    caller->n_commits += settlement == COMMITTED && is_counted;
    tally->n_rejected += settlement == REJECTED && is_counted;
    tally->n_gave_up += settlement == GAVE_UP && is_counted;
    if (settlement == COMMITTED && now_ns >= window->start_ns)
        note_wait(caller, now_ns);
    if (settlement == COMMITTED)
        job_note_arrival(&caller->job, caller->start_ns);
    if (settlement == REJECTED || caller->start_ns < window->start_ns ||
        caller->start_ns >= window->end_ns)
        return;
    measure_record(&tally->latencies, now_ns - caller->start_ns);
    if (now_ns - caller->start_ns > tally->max_ns)
        tally->max_ns = now_ns - caller->start_ns;
}

void caller_settle(struct caller *caller, enum settlement settlement)
{
    count(caller, settlement, measure_now_ns());
    if (settlement != GAVE_UP)
        job_tell(&caller->job, settlement == COMMITTED);
    caller->is_settled = true;
    if (caller->crew->loop != NULL)
        fleet_on_settled(caller);
}

/* ---- Attempts -------------------------------------------------------------------------------- */

void caller_count_attempt(struct caller *caller)
{
    caller->tally->n_attempts_ever++;
}

bool caller_may_retry(struct caller *caller)
{
    caller->n_conflicts++;
    if (measure_now_ns() < caller->deadline_ns)
        return true;
    caller_settle(caller, GAVE_UP);
    return false;
}

int64_t caller_jitter_ns(struct caller *caller, double base_us)
{
    static const double cap_ns = 50e6;
    double set_us = caller->crew->load->jitter_us;
    double window_ns = 1000 * (set_us > 0 ? set_us : base_us);
    for (uint32_t i = 0; i < caller->n_conflicts && window_ns < cap_ns; i++)
        window_ns *= 2;
    return (int64_t)(chance_share(&caller->random) * (window_ns < cap_ns ? window_ns : cap_ns));
}

void caller_retry(struct caller *caller)
{
    const struct policy *policy = caller->crew->policy;
    if (!caller_may_retry(caller))
        return;
    int64_t pause_ns = policy->pause_ns != NULL ? policy->pause_ns(caller) : 0;
    if (pause_ns <= 0)
        caller_attempt(caller);
    else if (caller->crew->loop != NULL)
        fleet_sleep(caller, measure_now_ns() + pause_ns);
    else
        caller->wake_ns = measure_now_ns() + pause_ns;
}

/* ---- Commands -------------------------------------------------------------------------------- */

void caller_send(struct caller *caller, const gavel_bytes *args, size_t n_args)
{
    bool is_first = wire_send(caller->wire, caller, args, n_args);
    if (is_first && caller->crew->loop != NULL)
        fleet_mark_dirty(caller->crew, caller->wire);
}

void caller_send_word(struct caller *caller, gavel_bytes word)
{
    caller_send(caller, &word, 1);
}

void caller_send_watch(struct caller *caller)
{
    gavel_bytes args[WORKLOAD_MAX_ARGS];
    caller_send(caller, args, job_watch_args(&caller->job, args));
}

void caller_send_read(struct caller *caller)
{
    gavel_bytes args[WORKLOAD_MAX_ARGS];
    caller_send(caller, args, job_read_args(&caller->job, args));
}

int caller_send_write(struct caller *caller)
{
    gavel_bytes args[WORKLOAD_MAX_ARGS];
    caller_send(caller, args, job_write_args(&caller->job, args));
    if (load_has_one_write(caller->crew->load))
        return 1;
    caller_send(caller, args, job_log_args(&caller->job, args));
    return 2;
}

/* ---- Replies --------------------------------------------------------------------------------- */

void caller_fail(struct caller *caller, const char *what, gavel_bytes detail)
{
    struct crew *crew = caller->crew;
    if (!atomic_exchange(&crew->has_failed, true))
        fprintf(stderr, "%s: %s: %.*s\n", crew->policy->name, what, (int)detail.size,
            detail.size > 0 ? detail.data : "");
    if (crew->loop != NULL)
        fleet_break(crew);
}

bool caller_expect(struct caller *caller, const gavel_reply *reply, const char *status)
{
    bool is_expected = reply->type == GAVEL_REPLY_STATUS && strcmp(reply->text.data, status) == 0;
    if (!is_expected)
        caller_fail(caller, "another reply was expected", gavel_str(status));
    return is_expected;
}

bool caller_take_read(struct caller *caller, const gavel_reply *reply)
{
    bool is_taken = job_take_read(&caller->job, reply);
    if (!is_taken)
        caller_fail(caller, "not the values that were asked for", reply->text);
    return is_taken;
}

int caller_judge_exec(struct caller *caller, const gavel_reply *reply)
{
    if (reply->type == GAVEL_REPLY_NIL)
        return 0;
    size_t n_writes = load_has_one_write(caller->crew->load) ? 1 : 2;
    size_t n_written = 0;
    if (reply->type == GAVEL_REPLY_ARRAY && reply->n_elements == n_writes)
        while (n_written < n_writes && job_is_written(&reply->elements[n_written]))
            n_written++;
    if (n_written == n_writes)
        return 1;
    caller_fail(caller, "EXEC did not write", reply->text);
    return -1;
}

void caller_on_reply(void *receiver, const gavel_reply *reply)
{
    struct caller *caller = receiver;
    if (caller->crew->has_failed)
        return;
    if (reply->type == GAVEL_REPLY_ERROR)
        caller_fail(caller, "the server", reply->text);
    else if (caller->n_stale > 0)
        caller->n_stale--;
    else if (!caller->is_plain_read)
        caller->crew->policy->on_reply(caller, reply);
    else if (caller_take_read(caller, reply))
        caller_settle(caller, COMMITTED);
}

/* ---- Opening and closing --------------------------------------------------------------------- */

/* A body that is a script works as long as any other; there is no clock in a script. */
static int put_script(const struct crew *crew, char *text, size_t size)
{
    const char *script = crew->policy->script(crew->stage);
    bool is_body = script == crew->stage->workload->script;
    if (crew->stage->script_turns == 0 || !is_body)
        return snprintf(text, size, "%s", script);
    return snprintf(text, size, "for i = 1, %llu do end %s",
        (unsigned long long)crew->stage->script_turns, script);
}

static bool load_script(struct crew *crew)
{
    char text[1024];
    int size = put_script(crew, text, sizeof(text));
    redisContext *context = server_connect(crew->url);
    if (context == NULL)
        return false;
    redisReply *reply = redisCommand(context, "SCRIPT LOAD %b", text, (size_t)size);
    bool is_loaded = reply != NULL && reply->type == REDIS_REPLY_STRING && reply->len == 40;
    if (is_loaded) {
        memcpy(crew->sha_text, reply->str, 41);
        crew->sha = gavel_str(crew->sha_text);
    } else {
        fprintf(stderr, "SCRIPT LOAD failed\n");
    }
    if (reply != NULL)
        freeReplyObject(reply);
    redisFree(context);
    return is_loaded;
}

static bool open_wires(struct crew *crew)
{
    bool is_shared = crew->policy->n_wires > 0 && crew->load->n_threads == 0;
    size_t n_shared = crew->load->n_wires > 0 ? crew->load->n_wires : crew->policy->n_wires;
    size_t n = is_shared ? n_shared : crew->n_callers;
    if (n > crew->n_callers)
        n = crew->n_callers;
    crew->wires = calloc(n, sizeof(struct wire *));
    for (; crew->wires != NULL && crew->n_wires < n; crew->n_wires++) {
        struct wire *wire = wire_open(crew->url, crew->load->n_threads > 0, caller_on_reply);
        if (wire == NULL)
            return false;
        crew->wires[crew->n_wires] = wire;
    }
    for (size_t i = 0; crew->wires != NULL && i < crew->n_callers; i++)
        crew->callers[i].wire = crew->wires[i % n];
    return crew->wires != NULL;
}

bool crew_open(struct crew *crew, uint64_t seed)
{
    const struct policy *policy = crew->policy;
    crew->n_callers = load_n_callers(crew->load);
    crew->n_tallies = crew->load->n_threads > 0 ? crew->n_callers : 1;
    crew->callers = calloc(crew->n_callers, sizeof(*crew->callers));
    crew->tallies = calloc(crew->n_tallies, sizeof(*crew->tallies));
    if (crew->callers == NULL || crew->tallies == NULL)
        return false;
    for (size_t i = 0; i < crew->n_callers; i++)
        crew->callers[i] = (struct caller){.crew = crew,
            .tally = &crew->tallies[i % crew->n_tallies],
            .job = {.stage = crew->stage},
            .random = (seed + i + 1) * UINT64_C(0x9E3779B97F4A7C15) | 1};
    if (policy->script != NULL && !load_script(crew))
        return false;
    if (policy->on_reply != NULL && !open_wires(crew))
        return false;
    if (crew->load->n_threads == 0 && !fleet_open(crew))
        return false;
    if (policy->open != NULL)
        crew->client = policy->open(crew);
    return policy->open == NULL || crew->client != NULL;
}

void crew_close(struct crew *crew)
{
    if (crew->client != NULL)
        crew->policy->close(crew->client);
    fleet_close(crew);
    for (size_t i = 0; i < crew->n_wires; i++)
        wire_close(crew->wires[i]);
    free(crew->wires);
    free(crew->callers);
    free(crew->tallies);
}

void crew_sum(struct crew *crew, struct tally *ret_tally)
{
    memset(ret_tally, 0, sizeof(*ret_tally));
    for (size_t i = 0; i < crew->n_callers; i++)
        note_wait(&crew->callers[i], crew->window.end_ns);
    for (size_t i = 0; i < crew->n_tallies; i++)
        tally_add(ret_tally, &crew->tallies[i]);
    for (size_t i = 0; i < crew->n_wires; i++)
        ret_tally->n_round_trips_ever += wire_n_round_trips(crew->wires[i]);
    if (crew->client != NULL)
        ret_tally->n_round_trips_ever += crew->policy->count_round_trips(crew->client);
}

void tally_add(struct tally *sum, const struct tally *other)
{
    sum->n_commits += other->n_commits;
    sum->n_rejected += other->n_rejected;
    sum->n_gave_up += other->n_gave_up;
    sum->n_commits_ever += other->n_commits_ever;
    sum->n_attempts_ever += other->n_attempts_ever;
    sum->n_round_trips_ever += other->n_round_trips_ever;
    measure_merge(&sum->latencies, &other->latencies);
    if (other->max_ns > sum->max_ns)
        sum->max_ns = other->max_ns;
    if (other->longest_wait_ns > sum->longest_wait_ns)
        sum->longest_wait_ns = other->longest_wait_ns;
    sum->cpu_us += other->cpu_us;
}
