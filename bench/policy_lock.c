/*
 * The policy "lock": SET NX PX with a random token, polled with jitter, released by a script that
 * looks at the token. Two round trips when it is free: the values are asked for together with the
 * lock, and it is released together with the write. See crew.h.
 *
 * It is safe only as long as nobody holds a lock past its lease, which nothing here checks; the
 * lease is chosen so that it does not happen in a benchmark.
 */
#include "crew.h"

#include <stdio.h>

enum { LOCKED, READ, WRITTEN, RELEASED, GIVEN_BACK };

/* Chosen by measurement; see README.md. */
#define POLL_BASE_US 20

static const char release_script[] =
    "local n = 0 for i = 1, #KEYS do if redis.call('GET', KEYS[i]) == ARGV[1] then "
    "n = n + redis.call('DEL', KEYS[i]) end end return n";

struct names {
    char keys[WORKLOAD_MAX][48];
    gavel_bytes locks[WORKLOAD_MAX];
    char digits[24];
    gavel_bytes token;
};

/* The token is the caller's place in memory, the process and a count, mixed: nobody else's. */
static void name(const struct caller *caller, struct names *ret_names)
{
    for (size_t i = 0; i < caller->job.stage->workload->n_keys; i++) {
        gavel_bytes key = job_key(&caller->job, i);
        int n = snprintf(ret_names->keys[i], sizeof(ret_names->keys[i]), LOCK_PREFIX "{%.*s}",
            (int)key.size, key.data);
        ret_names->locks[i] = (gavel_bytes){ret_names->keys[i], (size_t)n};
    }
    int n = snprintf(ret_names->digits, sizeof(ret_names->digits), "%016llx",
        (unsigned long long)caller->random);
    ret_names->token = (gavel_bytes){ret_names->digits, (size_t)n};
}

static void attempt(struct caller *caller)
{
    struct names names;
    name(caller, &names);
    caller->step = LOCKED;
    caller->n_held = 0;
    caller->n_awaited = (int)caller->job.stage->workload->n_keys;
    for (int i = 0; i < caller->n_awaited; i++) {
        const gavel_bytes args[] = {GAVEL_STR("SET"), names.locks[i], names.token, GAVEL_STR("NX"),
            GAVEL_STR("PX"), GAVEL_STR("20000")};
        caller_send(caller, args, 6);
    }
    caller_send_read(caller);
}

static void release(struct caller *caller)
{
    struct names names;
    name(caller, &names);
    gavel_bytes args[4 + WORKLOAD_MAX] = {GAVEL_STR("EVALSHA"), caller->crew->sha};
    size_t n_keys = caller->job.stage->workload->n_keys;
    args[2] = n_keys == 1 ? GAVEL_STR("1") : GAVEL_STR("2");
    for (size_t i = 0; i < n_keys; i++)
        args[3 + i] = names.locks[i];
    args[3 + n_keys] = names.token;
    caller_send(caller, args, 4 + n_keys);
}

static void count_lock(struct caller *caller, const gavel_reply *reply)
{
    caller->n_held += reply->type != GAVEL_REPLY_NIL;
    if (--caller->n_awaited == 0)
        caller->step = READ;
}

static void go_on(struct caller *caller, const gavel_reply *reply)
{
    bool has_all = caller->n_held == (int)caller->job.stage->workload->n_keys;
    if (!has_all && caller->n_held == 0) {
        caller_retry(caller);
        return;
    }
    if (!caller_take_read(caller, reply))
        return;
    bool is_wanted = has_all && job_decide(&caller->job);
    caller->is_rejected = has_all && !is_wanted;
    caller->step = is_wanted ? WRITTEN : has_all ? RELEASED : GIVEN_BACK;
    if (is_wanted)
        caller_send_write(caller);
    release(caller);
}

static void finish(struct caller *caller, const gavel_reply *reply)
{
    if (reply->type != GAVEL_REPLY_INTEGER || reply->integer != caller->n_held)
        caller_fail(caller, "the lock was lost", reply->text);
    else if (caller->step == GIVEN_BACK)
        caller_retry(caller);
    else
        caller_settle(caller, caller->is_rejected ? REJECTED : COMMITTED);
}

static void on_reply(struct caller *caller, const gavel_reply *reply)
{
    switch (caller->step) {
    case LOCKED:
        count_lock(caller, reply);
        break;
    case READ:
        go_on(caller, reply);
        break;
    case WRITTEN:
        caller->step = RELEASED;
        if (!job_is_written(reply))
            caller_fail(caller, "the write failed", reply->text);
        break;
    case RELEASED:
    case GIVEN_BACK:
        finish(caller, reply);
        break;
    }
}

static int64_t pause_ns(struct caller *caller)
{
    return caller_jitter_ns(caller, POLL_BASE_US);
}

static const char *script(const struct stage *stage)
{
    (void)stage;
    return release_script;
}

/* A lock helps only where everybody takes it. */
static bool can_run(const struct load *load)
{
    return load_n_foreign(load) == 0 && load_has_one_write(load);
}

const struct policy policy_lock = {.name = "lock",
    .can_run = can_run,
    .script = script,
    .attempt = attempt,
    .on_reply = on_reply,
    .pause_ns = pause_ns};
