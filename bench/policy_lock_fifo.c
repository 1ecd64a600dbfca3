/*
 * The policy "lock-fifo": gavel_lock on the key's name, as an expert would use it for data that are
 * in the same Redis. One client for all callers of a loop, or for all threads. See crew.h.
 *
 *     acquire -> GET, on the caller's own connection -> gavel_lock_do(SET), release
 *
 * The write is a guarded one, so that whoever has lost the lock without knowing does not overwrite
 * what his successor wrote. It needs no more round trips than a plain SET would: on a loop it
 * leaves in one write with the release, which on another connection could not be sent before the
 * SET was answered.
 */
#include "policy_gavel.h"

#include <gavel/gavel.h>

/* What is known of the write when the lock is released. */
enum { NOT_WRITTEN, WRITTEN, LOST };

/* ---- The loop's calls and the threads' do the same ------------------------------------------- */

static void acquire(struct caller *caller, const gavel_lock_request *request, gavel_lock_done *done)
{
    gavel_client *client = caller->crew->client;
    if (caller->crew->loop == NULL) {
        gavel_lock_outcome outcome = gavel_lock_acquire(client, request);
        done(&outcome, caller);
    } else if (gavel_lock_begin_acquire(client, request, done) == 0) {
        caller_fail(caller, "gavel_lock_begin_acquire refused", GAVEL_STR(""));
    }
}

static void run_guarded(
    struct caller *caller, const gavel_lock_command *command, gavel_lock_done *done)
{
    if (caller->crew->loop == NULL) {
        gavel_lock_outcome outcome = gavel_lock_do(caller->lock, command);
        done(&outcome, caller);
    } else if (!gavel_lock_begin_do(caller->lock, command, done, caller)) {
        caller_fail(caller, "gavel_lock_begin_do refused", GAVEL_STR(""));
    }
}

static void release(struct caller *caller, gavel_lock_done *done)
{
    if (caller->crew->loop == NULL) {
        gavel_lock_outcome outcome = gavel_lock_release(caller->lock);
        done(&outcome, caller);
    } else if (!gavel_lock_begin_release(caller->lock, done, caller)) {
        caller_fail(caller, "gavel_lock_begin_release refused", GAVEL_STR(""));
    }
}

static void fail(struct caller *caller, const gavel_lock_outcome *outcome)
{
    caller_fail(caller, gavel_lock_status_name(outcome->status), gavel_str(outcome->message));
}

/* ---- A transaction --------------------------------------------------------------------------- */

static void on_acquired(const gavel_lock_outcome *outcome, void *user)
{
    struct caller *caller = user;
    caller->lock = outcome->lock;
    caller->step = NOT_WRITTEN;
    if (outcome->status == GAVEL_LOCK_HELD)
        caller_send_read(caller);
    else if (outcome->status == GAVEL_LOCK_BUSY)
        caller_settle(caller, GAVE_UP);
    else
        fail(caller, outcome);
}

static void attempt(struct caller *caller)
{
    acquire(caller,
        &(gavel_lock_request){.name = job_key(&caller->job, 0),
            .wait_ms = (uint32_t)(CALLER_DEADLINE_NS / 1000000),
            .user = caller},
        on_acquired);
}

static void on_written(const gavel_lock_outcome *outcome, void *user)
{
    struct caller *caller = user;
    if (outcome->status == GAVEL_LOCK_HELD)
        caller->step = WRITTEN;
    else if (outcome->status == GAVEL_LOCK_LOST)
        caller->step = LOST;
    else
        fail(caller, outcome);
}

/* What was written under the lock stays written, whatever has become of the lock since. */
static void on_released(const gavel_lock_outcome *outcome, void *user)
{
    struct caller *caller = user;
    if (outcome->status != GAVEL_LOCK_RELEASED && outcome->status != GAVEL_LOCK_LOST)
        fail(caller, outcome);
    else if (caller->step == LOST)
        caller_retry(caller);
    else
        caller_settle(caller, caller->step == WRITTEN ? COMMITTED : REJECTED);
}

static void on_reply(struct caller *caller, const gavel_reply *reply)
{
    if (!caller_take_read(caller, reply))
        return;
    if (job_decide(&caller->job)) {
        gavel_bytes args[WORKLOAD_MAX_ARGS];
        gavel_command command = {.args = args, .n_args = job_write_args(&caller->job, args)};
        run_guarded(caller, &(gavel_lock_command){.command = command}, on_written);
    }
    release(caller, on_released);
}

/* A guarded command is guarded by one lock. */
static bool can_run(const struct load *load)
{
    return load->workload->n_keys == 1 && load_n_foreign(load) == 0 && load_has_one_write(load);
}

const struct policy policy_lock_fifo = {.name = "lock-fifo",
    .can_run = can_run,
    .attempt = attempt,
    .on_reply = on_reply,
    .open = policy_gavel_open,
    .close = policy_gavel_close,
    .count_round_trips = policy_gavel_count_round_trips};
