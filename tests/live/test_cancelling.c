/* Taking submitted transactions back, in every state: each callback exactly once, and never early.
 */
#include "attached.h"

#include <criterion/criterion.h>

static void cancel(attached_job *self, bool expected)
{
    cr_expect_eq(gavel_cancel(self->rig->live.client, self->ticket), expected, "%s", self->name);
}

static void expect_cancelled(attached_rig *rig, attached_job *self)
{
    int n_runs = self->n_runs;
    cr_expect_eq(self->n_done, 0);
    cancel(self, true);
    cr_expect_eq(self->n_done, 0, "told before gavel_cancel returned");
    ev_run(rig->loop, 0);
    attached_expect_ended(self, GAVEL_CANCELLED);
    cr_expect_eq(self->n_runs, n_runs);
    cancel(self, false);
    cr_expect_eq(attached_value_of(rig, self->name), -1);
}

Test(cancelling, cancels_what_has_not_begun, .timeout = 60)
{
    attached_rig rig = attached_begin(NULL);
    attached_job self = {.n_done = 0};
    attached_submit(&rig, &self, "key");
    expect_cancelled(&rig, &self);
    cr_expect_not(gavel_cancel(rig.live.client, 0));
    cr_expect_not(gavel_cancel(rig.live.client, 123456789));
    attached_expect_usable(&rig);
    attached_end(&rig);
}

Test(cancelling, cancels_while_a_link_is_made, .timeout = 60)
{
    attached_rig rig = attached_begin(NULL);
    server_pause(rig.live.server);
    attached_job self = {.n_done = 0};
    attached_submit(&rig, &self, "key");
    for (int i = 0; i < 10; i++)
        attached_turn(&rig);
    cancel(&self, true);
    server_resume(rig.live.server);
    ev_run(rig.loop, 0);
    attached_expect_ended(&self, GAVEL_CANCELLED);
    cr_expect_eq(self.n_runs, 0);
    attached_expect_usable(&rig);
    attached_end(&rig);
}

/* The reads have left, and the answers come after it was cancelled. */
Test(cancelling, cancels_while_reads_are_under_way, .timeout = 60)
{
    attached_rig rig = attached_begin(NULL);
    attached_expect_usable(&rig);
    gavel_stats before;
    gavel_read_stats(rig.live.client, &before);
    gavel_stats now = before;
    server_pause(rig.live.server);
    attached_job self = {.n_done = 0};
    attached_submit(&rig, &self, "key");
    while (now.n_sends == before.n_sends) {
        attached_turn(&rig);
        gavel_read_stats(rig.live.client, &now);
    }
    cancel(&self, true);
    server_resume(rig.live.server);
    ev_run(rig.loop, 0);
    attached_expect_ended(&self, GAVEL_CANCELLED);
    cr_expect_eq(self.n_runs, 0);
    attached_expect_usable(&rig);
    attached_end(&rig);
}

Test(cancelling, cancels_too_late_when_exec_has_left, .timeout = 60)
{
    attached_rig rig = attached_begin(NULL);
    attached_job self = {.in_body = attached_pause_server};
    attached_run_until_exec_left(&rig, &self);
    attached_job behind = {.n_done = 0};
    attached_submit(&rig, &behind, "key");
    attached_turn(&rig);
    cancel(&behind, true); /* it waits for the same key */
    cancel(&self, true);
    attached_turn(&rig);
    attached_expect_ended(&behind, GAVEL_CANCELLED);
    cr_expect_eq(self.n_done, 0);
    server_resume(rig.live.server);
    ev_run(rig.loop, 0);
    attached_expect_ended(&self, GAVEL_COMMITTED);
    attached_expect_ended(&behind, GAVEL_CANCELLED);
    cr_expect_eq(attached_value_of(&rig, "key"), 1);
    attached_expect_usable(&rig);
    attached_end(&rig);
}

static void lose_and_pause_server(attached_job *self)
{
    server_do(self->rig->live.server, "SET", "key", "10", NULL);
    server_pause(self->rig->live.server);
}

/* EXEC is on its way, but it will fail; there is no second attempt. */
Test(cancelling, cancels_the_attempt_after_the_one_under_way, .timeout = 60)
{
    attached_rig rig = attached_begin(NULL);
    attached_job self = {.in_body = lose_and_pause_server};
    attached_run_until_exec_left(&rig, &self);
    cancel(&self, true);
    server_resume(rig.live.server);
    ev_run(rig.loop, 0);
    attached_expect_ended(&self, GAVEL_CANCELLED);
    cr_expect_eq(self.n_runs, 1);
    cr_expect_eq(attached_value_of(&rig, "key"), 10);
    attached_expect_usable(&rig);
    attached_end(&rig);
}

Test(cancelling, cancels_while_it_pauses, .timeout = 60)
{
    attached_rig rig = attached_begin(NULL);
    attached_job self = {.verdict = GAVEL_RETRY};
    attached_submit(&rig, &self, "key");
    while (self.n_runs < 3)
        attached_turn(&rig);
    expect_cancelled(&rig, &self);
    attached_expect_usable(&rig);
    attached_end(&rig);
}

Test(cancelling, cancels_while_nobody_can_be_reached, .timeout = 60)
{
    attached_rig rig = attached_begin(NULL);
    server_kill(rig.live.server);
    attached_job self = {.n_done = 0};
    attached_submit(&rig, &self, "key");
    gavel_stats stats;
    do {
        attached_turn(&rig);
        gavel_read_stats(rig.live.client, &stats);
    } while (stats.n_links_down < 2);
    cancel(&self, true);
    ev_run(rig.loop, 0);
    attached_expect_ended(&self, GAVEL_CANCELLED);
    server_restart(rig.live.server);
    attached_expect_usable(&rig);
    attached_end(&rig);
}

static void cancel_both(attached_job *self)
{
    cancel(self, false); /* it is being told */
    cancel(self->other, true);
    cancel(self->other, false);
}

Test(cancelling, cancels_in_a_callback, .timeout = 60)
{
    gavel_config config = {.max_links = 1};
    attached_rig rig = attached_begin(&config);
    attached_job second = {.verdict = GAVEL_RETRY};
    attached_job first = {.in_done = cancel_both, .other = &second};
    attached_submit(&rig, &second, "second");
    attached_submit(&rig, &first, "first");
    ev_run(rig.loop, 0);
    attached_expect_ended(&first, GAVEL_COMMITTED);
    attached_expect_ended(&second, GAVEL_CANCELLED);
    cr_expect_eq(attached_value_of(&rig, "second"), -1);
    attached_expect_usable(&rig);
    attached_end(&rig);
}
