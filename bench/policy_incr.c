/*
 * The policy "incr": a blind INCR, pipelined over one connection. It decides nothing, so it is no
 * rival but the ceiling, and only for what can be said in one command. See crew.h.
 */
#include "crew.h"

static void attempt(struct caller *caller)
{
    const gavel_bytes args[] = {GAVEL_STR("INCR"), job_key(&caller->job, 0)};
    caller_send(caller, args, 2);
}

static void on_reply(struct caller *caller, const gavel_reply *reply)
{
    if (reply->type == GAVEL_REPLY_INTEGER)
        caller_settle(caller, COMMITTED);
    else
        caller_fail(caller, "INCR did not answer with a number", reply->text);
}

static bool can_run(const struct load *load)
{
    return !load->workload->is_hash && load->workload->n_keys == 1 && load_has_one_write(load);
}

const struct policy policy_incr = {
    .name = "incr", .n_wires = 1, .can_run = can_run, .attempt = attempt, .on_reply = on_reply};
