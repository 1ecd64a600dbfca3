/*
 * The policies "ifeq" and "ifeq-jitter", with a connection for each caller, and "ifeq-pipelined",
 * with few for all: GET, and SET with IFEQ, the server's own compare-and-set. No WATCH, so nothing
 * is kept on a connection. With GET among its options SET answers with the value that it met: of
 * that value it was lost, it is decided anew, without another GET. See crew.h.
 */
#include "crew.h"

#include <inttypes.h>
#include <stdio.h>

enum { READ, SWAPPED };

/* Chosen by measurement; see README.md. */
#define JITTER_BASE_US 20

static void attempt(struct caller *caller)
{
    caller->step = READ;
    caller_send_read(caller);
}

/* From the value seen to the next. */
static void swap(struct caller *caller)
{
    struct job *job = &caller->job;
    if (!job_decide(job)) {
        caller_settle(caller, REJECTED);
        return;
    }
    gavel_bytes args[WORKLOAD_MAX_ARGS];
    size_t n_args = job_write_args(job, args);
    char *seen = job->digits[1]; /* that of a second key, of which there is none */
    int size = snprintf(seen, sizeof(job->digits[1]), "%" PRId64, job->seen[0]);
    args[n_args++] = GAVEL_STR("IFEQ");
    args[n_args++] = (gavel_bytes){seen, (size_t)size};
    args[n_args++] = GAVEL_STR("GET");
    caller->step = SWAPPED;
    caller_send(caller, args, n_args);
}

static void finish(struct caller *caller, int64_t expected)
{
    if (caller->job.seen[0] == expected) {
        caller_settle(caller, COMMITTED);
    } else if (caller->crew->policy->pause_ns != NULL) {
        caller_retry(caller);
    } else if (caller_may_retry(caller)) {
        caller_count_attempt(caller);
        swap(caller);
    }
}

static void on_reply(struct caller *caller, const gavel_reply *reply)
{
    int64_t expected = caller->job.seen[0];
    if (!caller_take_read(caller, reply))
        return;
    if (caller->step == READ)
        swap(caller);
    else
        finish(caller, expected);
}

static int64_t pause_ns(struct caller *caller)
{
    return caller_jitter_ns(caller, JITTER_BASE_US);
}

/* One string. */
static bool can_run(const struct load *load)
{
    return !load->workload->is_hash && load->workload->n_keys == 1 && load_has_one_write(load);
}

/* Threads that block have nothing to pipeline. */
static bool can_run_pipelined(const struct load *load)
{
    return load->n_threads == 0 && can_run(load);
}

static bool is_known(redisContext *server)
{
    redisReply *reply = redisCommand(server, "SET bench:ifeq x IFEQ y GET");
    bool is_known = reply != NULL && reply->type == REDIS_REPLY_NIL;
    if (reply != NULL)
        freeReplyObject(reply);
    return is_known;
}

const struct policy policy_ifeq = {.name = "ifeq",
    .can_run = can_run,
    .is_known = is_known,
    .attempt = attempt,
    .on_reply = on_reply};

const struct policy policy_ifeq_jitter = {.name = "ifeq-jitter",
    .can_run = can_run,
    .is_known = is_known,
    .attempt = attempt,
    .on_reply = on_reply,
    .pause_ns = pause_ns};

const struct policy policy_ifeq_pipelined = {.name = "ifeq-pipelined",
    .n_wires = 2,
    .can_run = can_run_pipelined,
    .is_known = is_known,
    .attempt = attempt,
    .on_reply = on_reply};
