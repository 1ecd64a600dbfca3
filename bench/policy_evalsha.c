/*
 * The policies "evalsha", with a connection for each caller, and "evalsha-pipelined", with few for
 * all: the body is a script that runs inside the server. Nothing conflicts. See crew.h.
 */
#include "crew.h"

static void attempt(struct caller *caller)
{
    gavel_bytes args[2 + WORKLOAD_MAX_ARGS] = {GAVEL_STR("EVALSHA"), caller->crew->sha};
    caller_send(caller, args, 2 + job_script_args(&caller->job, args + 2));
}

static void on_reply(struct caller *caller, const gavel_reply *reply)
{
    if (reply->type != GAVEL_REPLY_INTEGER)
        caller_fail(caller, "the script did not answer with a number", reply->text);
    else if (job_take_script(&caller->job, reply->integer))
        caller_settle(caller, COMMITTED);
    else
        caller_settle(caller, REJECTED);
}

static const char *script(const struct stage *stage)
{
    return stage->workload->script;
}

/* Threads that block have nothing to pipeline. */
static bool has_loop(const struct load *load)
{
    return load->n_threads == 0;
}

const struct policy policy_evalsha = {
    .name = "evalsha", .script = script, .attempt = attempt, .on_reply = on_reply};

const struct policy policy_evalsha_pipelined = {.name = "evalsha-pipelined",
    .n_wires = 2,
    .can_run = has_loop,
    .script = script,
    .attempt = attempt,
    .on_reply = on_reply};
