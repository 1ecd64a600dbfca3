/*
 * The policy "textbook": WATCH, GET, MULTI, SET, EXEC, each awaited, and again at once when EXEC
 * answers nil. What most documentation shows. See crew.h.
 */
#include "crew.h"

enum { WATCHED, READ, BEGUN, QUEUED, EXECUTED, UNWATCHED };

static void attempt(struct caller *caller)
{
    caller->step = WATCHED;
    caller_send_watch(caller);
}

static void go_on(struct caller *caller, const gavel_reply *reply)
{
    if (!caller_take_read(caller, reply))
        return;
    bool is_wanted = job_decide(&caller->job);
    caller->step = is_wanted ? BEGUN : UNWATCHED;
    caller_send_word(caller, is_wanted ? GAVEL_STR("MULTI") : GAVEL_STR("UNWATCH"));
}

static void finish(struct caller *caller, const gavel_reply *reply)
{
    int verdict = caller_judge_exec(caller, reply);
    if (verdict == 1)
        caller_settle(caller, COMMITTED);
    else if (verdict == 0)
        caller_retry(caller);
}

static void on_reply(struct caller *caller, const gavel_reply *reply)
{
    switch (caller->step) {
    case WATCHED:
        caller->step = READ;
        if (caller_expect(caller, reply, "OK"))
            caller_send_read(caller);
        break;
    case READ:
        go_on(caller, reply);
        break;
    case BEGUN:
        caller->step = QUEUED;
        if (caller_expect(caller, reply, "OK"))
            caller_send_write(caller);
        break;
    case QUEUED:
        caller->step = EXECUTED;
        if (caller_expect(caller, reply, "QUEUED"))
            caller_send_word(caller, GAVEL_STR("EXEC"));
        break;
    case EXECUTED:
        finish(caller, reply);
        break;
    case UNWATCHED:
        if (caller_expect(caller, reply, "OK"))
            caller_settle(caller, REJECTED);
        break;
    }
}

const struct policy policy_textbook = {
    .name = "textbook", .can_run = load_has_one_write, .attempt = attempt, .on_reply = on_reply};
