/* Closing attached clients, with work in any state: each callback exactly once, nothing untold. */
#include "attached.h"

#include <criterion/criterion.h>

#include <stdio.h>

#define N_JOBS 40

static void attached_submit_many(attached_rig *rig, attached_job *jobs)
{
    for (int i = 0; i < N_JOBS; i++) {
        char name[16];
        snprintf(name, sizeof(name), "key:%d", i);
        attached_submit(rig, &jobs[i], name);
    }
}

static void close_client(attached_job *self)
{
    gavel_close(self->rig->live.client);
    self->rig->live.client = NULL;
}

/* Once the server has closed the links, nothing of theirs can still be under way. */
static void expect_consistent(attached_rig *rig, const attached_job *jobs, int n_jobs)
{
    live_await_no_links(rig->live.server, "gavel");
    for (int i = 0; i < n_jobs; i++) {
        const attached_job *self = &jobs[i];
        cr_expect_eq(self->n_done, 1, "%s was told %d times", self->name, self->n_done);
        gavel_status status = self->outcome.status;
        bool is_written = attached_value_of(rig, self->name) == 1;
        cr_expect(status == GAVEL_COMMITTED || status == GAVEL_CANCELLED || status == GAVEL_UNKNOWN,
            "%s: %s", self->name, gavel_status_name(status));
        cr_expect(status == GAVEL_UNKNOWN || is_written == (status == GAVEL_COMMITTED),
            "%s: %s, %d", self->name, gavel_status_name(status), is_written);
    }
}

Test(closing, closes_with_queued_work, .timeout = 60)
{
    attached_rig rig = attached_begin(NULL);
    attached_job jobs[N_JOBS] = {{.n_done = 0}};
    attached_submit_many(&rig, jobs);
    gavel_close(rig.live.client);
    rig.live.client = NULL;
    for (int i = 0; i < N_JOBS; i++)
        attached_expect_ended(&jobs[i], GAVEL_CANCELLED);
    ev_run(rig.loop, 0);
    expect_consistent(&rig, jobs, N_JOBS);
    attached_end(&rig);
}

/* After each number of turns: in each state that the work can be in. */
Test(closing, closes_with_work_in_any_state, .timeout = 60)
{
    for (int n_turns = 0; n_turns < 12; n_turns++) {
        attached_rig rig = attached_begin(NULL);
        attached_job jobs[N_JOBS] = {{.n_done = 0}};
        attached_submit_many(&rig, jobs);
        for (int i = 0; i < n_turns; i++)
            attached_turn(&rig);
        gavel_close(rig.live.client);
        rig.live.client = NULL;
        expect_consistent(&rig, jobs, N_JOBS);
        ev_run(rig.loop, 0);
        attached_end(&rig);
    }
}

Test(closing, closes_in_a_callback_with_work_in_flight, .timeout = 60)
{
    for (int closer = 0; closer < N_JOBS; closer += 13) {
        gavel_config config = {.max_links = 2};
        attached_rig rig = attached_begin(&config);
        attached_job jobs[N_JOBS] = {{.n_done = 0}};
        jobs[closer].in_done = close_client;
        attached_submit_many(&rig, jobs);
        /* These cannot be done before the others. */
        for (int i = closer + 1; i < N_JOBS; i++)
            jobs[i].verdict = GAVEL_RETRY;
        ev_run(rig.loop, 0);
        cr_expect_null(rig.live.client);
        attached_expect_ended(&jobs[closer], GAVEL_COMMITTED);
        for (int i = closer + 1; i < N_JOBS; i++)
            attached_expect_ended(&jobs[i], GAVEL_CANCELLED);
        expect_consistent(&rig, jobs, N_JOBS);
        attached_end(&rig);
    }
}

Test(closing, closes_with_exec_on_its_way, .timeout = 60)
{
    attached_rig rig = attached_begin(NULL);
    attached_job self = {.in_body = attached_pause_server};
    attached_run_until_exec_left(&rig, &self);
    gavel_close(rig.live.client);
    rig.live.client = NULL;
    attached_expect_ended(&self, GAVEL_UNKNOWN);
    server_resume(rig.live.server);
    attached_end(&rig);
}

static void close_and_use(attached_job *self)
{
    gavel_client *client = self->rig->live.client;
    close_client(self);
    gavel_bytes key = GAVEL_STR("stray");
    gavel_transaction request = {.body = live_add_one, .user = &key, .keys = &key, .n_keys = 1};
    cr_expect_eq(
        gavel_submit(client, &request, attached_on_done), 0); /* still there, but closing */
    cr_expect_not(gavel_cancel(client, self->ticket));
    gavel_close(client);
}

Test(closing, is_there_until_the_callback_that_closed_it_returns, .timeout = 60)
{
    attached_rig rig = attached_begin(NULL);
    attached_job self = {.in_done = close_and_use};
    attached_submit(&rig, &self, "key");
    ev_run(rig.loop, 0);
    attached_expect_ended(&self, GAVEL_COMMITTED);
    attached_end(&rig);
}
