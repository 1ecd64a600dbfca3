/*
 * The policies "gavel", "gavel-optimistic" and "gavel-gated": one attached client for all callers
 * of a loop, or one blocking client for all threads; as it comes, or in the mode named. See crew.h.
 */
#include "policy_gavel.h"

#include <gavel/gavel.h>

#include <stdio.h>

#define PRICE GAVEL_STR("price")
#define BIDS GAVEL_STR("bids")
#define LEADER GAVEL_STR("leader")

/* ---- Bodies ---------------------------------------------------------------------------------- */

static void append_to_log(gavel_tx *tx, const struct job *job)
{
    gavel_bytes args[WORKLOAD_MAX_ARGS];
    size_t n_args = job_log_args(job, args);
    gavel_write(tx, &(gavel_command){.args = args, .n_args = n_args});
}

static gavel_verdict run_strings(gavel_tx *tx, struct job *job)
{
    size_t n_keys = job->stage->workload->n_keys;
    for (size_t i = 0; i < n_keys; i++)
        gavel_get_int(tx, job_key(job, i), &job->seen[i]);
    if (job->is_read)
        return GAVEL_COMMIT;
    if (!job_decide(job))
        return gavel_abort(tx, 1);
    for (size_t i = 0; i < n_keys; i++)
        gavel_set_int(tx, job_key(job, i), job->next[i]);
    if (job->stage->workload->has_log)
        append_to_log(tx, job);
    return GAVEL_COMMIT;
}

static gavel_verdict run_hash(gavel_tx *tx, struct job *job)
{
    gavel_bytes item = job_key(job, 0);
    gavel_hget_int(tx, item, PRICE, &job->seen[0]);
    gavel_hget_int(tx, item, BIDS, &job->seen[1]);
    if (!job_decide(job))
        return gavel_abort(tx, 1);
    gavel_hset_int(tx, item, PRICE, job->next[0]);
    gavel_hset(tx, item, LEADER, GAVEL_STR("bidder"));
    gavel_hset_int(tx, item, BIDS, job->next[1]);
    return GAVEL_COMMIT;
}

static gavel_verdict body(gavel_tx *tx, void *user)
{
    struct job *job = &((struct caller *)user)->job;
    return job->stage->workload->is_hash ? run_hash(tx, job) : run_strings(tx, job);
}

/* ---- Transactions ---------------------------------------------------------------------------- */

static gavel_transaction describe(struct caller *caller, gavel_read *reads)
{
    const struct job *job = &caller->job;
    bool is_hash = job->stage->workload->is_hash;
    size_t n_reads = is_hash ? 2 : job->stage->workload->n_keys;
    for (size_t i = 0; i < n_reads; i++) {
        reads[i] = (gavel_read){.key = job_key(job, is_hash ? 0 : i)};
        if (is_hash)
            reads[i].field = i == 0 ? PRICE : BIDS;
    }
    return (gavel_transaction){.body = body,
        .user = caller,
        .reads = reads,
        .n_reads = n_reads,
        .is_read_only = job->is_read};
}

static void on_done(const gavel_outcome *outcome, void *user)
{
    struct caller *caller = user;
    caller->tally->n_attempts_ever += outcome->n_attempts;
    if (outcome->status == GAVEL_COMMITTED)
        caller_settle(caller, COMMITTED);
    else if (outcome->status == GAVEL_ABORTED)
        caller_settle(caller, REJECTED);
    else if (outcome->status == GAVEL_DEADLINE || outcome->status == GAVEL_CONFLICT)
        caller_settle(caller, GAVE_UP);
    else
        caller_fail(caller, gavel_status_name(outcome->status), gavel_str(outcome->message));
}

static void begin(struct caller *caller)
{
    gavel_read reads[WORKLOAD_MAX];
    gavel_transaction transaction = describe(caller, reads);
    if (gavel_submit(caller->crew->client, &transaction, on_done) == 0)
        caller_fail(caller, "gavel_submit refused", GAVEL_STR(""));
}

static void run(struct caller *caller)
{
    gavel_read reads[WORKLOAD_MAX];
    gavel_transaction transaction = describe(caller, reads);
    gavel_outcome outcome = gavel_run(caller->crew->client, &transaction);
    on_done(&outcome, caller);
}

/* ---- The client ------------------------------------------------------------------------------ */

static void *open_in_mode(struct crew *crew, gavel_mode mode)
{
    gavel_config config = {.loop = crew->loop, .mode = mode};
    gavel_error error;
    gavel_client *client = gavel_open(crew->url, &config, &error);
    if (client == NULL)
        fprintf(stderr, "gavel: %s\n", error.message);
    return client;
}

void *policy_gavel_open(struct crew *crew)
{
    return open_in_mode(crew, GAVEL_ADAPTIVE);
}

static void *open_optimistic(struct crew *crew)
{
    return open_in_mode(crew, GAVEL_OPTIMISTIC);
}

static void *open_gated(struct crew *crew)
{
    return open_in_mode(crew, GAVEL_GATED);
}

void policy_gavel_close(void *client)
{
    gavel_close(client);
}

uint64_t policy_gavel_count_round_trips(void *client)
{
    gavel_stats stats;
    gavel_read_stats(client, &stats);
    return stats.n_round_trips;
}

#define POLICY_OF_GAVEL(its_name, its_open)                                                        \
    {                                                                                              \
        .name = its_name, .open = its_open, .close = policy_gavel_close, .begin = begin,           \
        .run = run, .count_round_trips = policy_gavel_count_round_trips                            \
    }

const struct policy policy_gavel = POLICY_OF_GAVEL("gavel", policy_gavel_open);
const struct policy policy_gavel_optimistic = POLICY_OF_GAVEL("gavel-optimistic", open_optimistic);
const struct policy policy_gavel_gated = POLICY_OF_GAVEL("gavel-gated", open_gated);
