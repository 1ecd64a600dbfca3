/*
 * The policies "watch" and "jitter": two round trips, WATCH and GET in one write, MULTI, SET and
 * EXEC in the other. See crew.h.
 *
 * watch tries again at once. A connection whose last EXEC lost sends the next WATCH and GET behind
 * EXEC in the same write, so that a further retry takes one round trip; one whose last EXEC won
 * does not, as that would be three commands for nothing each time.
 *
 * jitter waits before it tries again: see caller_jitter_ns. Its base was chosen by measurement: see
 * README.md.
 */
#include "crew.h"

enum { UNWATCHED, WATCHED, READ, BEGUN, QUEUED, EXECUTED };

#define JITTER_BASE_US 20

/* What a body rejected is still watched: a round trip for that alone would be wasted. */
static void attempt(struct caller *caller)
{
    caller->step = caller->is_watching ? UNWATCHED : WATCHED;
    if (caller->is_watching)
        caller_send_word(caller, GAVEL_STR("UNWATCH"));
    caller->is_watching = false;
    caller_send_watch(caller);
    caller_send_read(caller);
}

static bool is_ahead(const struct caller *caller)
{
    return caller->expects_conflict && caller->crew->policy->pause_ns == NULL;
}

static void commit(struct caller *caller)
{
    caller_send_word(caller, GAVEL_STR("MULTI"));
    caller->n_awaited = caller_send_write(caller);
    caller_send_word(caller, GAVEL_STR("EXEC"));
    if (!is_ahead(caller))
        return;
    caller_send_watch(caller);
    caller_send_read(caller);
}

static void go_on(struct caller *caller, const gavel_reply *reply)
{
    if (!caller_take_read(caller, reply))
        return;
    caller->step = BEGUN;
    if (job_decide(&caller->job)) {
        commit(caller);
        return;
    }
    caller->is_watching = true;
    caller_settle(caller, REJECTED);
}

/* With the next WATCH and GET under way: for a retry, or for nothing. */
static void finish_ahead(struct caller *caller, bool is_commit)
{
    caller->step = WATCHED;
    if (!is_commit && caller_may_retry(caller)) {
        caller_count_attempt(caller);
        return;
    }
    caller->n_stale = 2;
    caller->is_watching = true;
    if (is_commit)
        caller_settle(caller, COMMITTED);
}

static void finish(struct caller *caller, const gavel_reply *reply)
{
    int verdict = caller_judge_exec(caller, reply);
    if (verdict == -1)
        return;
    bool was_ahead = is_ahead(caller);
    caller->expects_conflict = verdict == 0;
    if (was_ahead)
        finish_ahead(caller, verdict == 1);
    else if (verdict == 1)
        caller_settle(caller, COMMITTED);
    else
        caller_retry(caller);
}

static void on_reply(struct caller *caller, const gavel_reply *reply)
{
    switch (caller->step++) {
    case UNWATCHED:
    case WATCHED:
    case BEGUN:
        caller_expect(caller, reply, "OK");
        break;
    case READ:
        go_on(caller, reply);
        break;
    case QUEUED:
        if (--caller->n_awaited > 0)
            caller->step = QUEUED;
        caller_expect(caller, reply, "QUEUED");
        break;
    case EXECUTED:
        finish(caller, reply);
        break;
    }
}

static int64_t pause_ns(struct caller *caller)
{
    return caller_jitter_ns(caller, JITTER_BASE_US);
}

const struct policy policy_watch = {.name = "watch", .attempt = attempt, .on_reply = on_reply};

const struct policy policy_jitter = {
    .name = "jitter", .attempt = attempt, .on_reply = on_reply, .pause_ns = pause_ns};
