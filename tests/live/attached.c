/* Attached clients for tests: see the header. */
#include "attached.h"

#include <criterion/criterion.h>

#include <stdio.h>

attached_rig attached_begin(const gavel_config *config)
{
    attached_rig self = {.loop = ev_loop_new(EVFLAG_AUTO)};
    gavel_config attached = config != NULL ? *config : (gavel_config){.loop = NULL};
    attached.loop = self.loop;
    self.live = live_begin(NULL, &attached);
    return self;
}

void attached_end(attached_rig *self)
{
    live_end(&self->live);
    ev_loop_destroy(self->loop);
}

static gavel_verdict run_job(gavel_tx *tx, void *user)
{
    attached_job *self = user;
    self->n_runs++;
    live_add_one(tx, &self->key);
    if (self->in_body != NULL)
        self->in_body(self);
    return self->verdict;
}

void attached_on_done(const gavel_outcome *outcome, void *user)
{
    attached_job *self = user;
    self->n_done++;
    self->outcome = *outcome;
    if (self->in_done != NULL)
        self->in_done(self);
}

void attached_submit(attached_rig *rig, attached_job *self, const char *name)
{
    self->rig = rig;
    snprintf(self->name, sizeof(self->name), "%s", name);
    self->key = gavel_str(self->name);
    self->ticket = gavel_submit(rig->live.client,
        &(gavel_transaction){
            .body = run_job, .user = self, .reads = &(gavel_read){.key = self->key}, .n_reads = 1},
        attached_on_done);
    cr_assert_neq(self->ticket, 0);
    cr_assert_eq(self->n_done, 0, "told before gavel_submit returned");
}

void attached_turn(attached_rig *self)
{
    ev_run(self->loop, EVRUN_NOWAIT);
}

void attached_expect_ended(const attached_job *self, gavel_status status)
{
    cr_expect_eq(self->n_done, 1, "%s was told %d times", self->name, self->n_done);
    cr_expect_eq(self->outcome.ticket, self->ticket);
    cr_expect_eq(self->outcome.status, status, "%s: %s %s", self->name,
        gavel_status_name(self->outcome.status), self->outcome.message);
}

long long attached_value_of(attached_rig *self, const char *key)
{
    return server_int(self->live.server, "GET", key, NULL);
}

void attached_expect_usable(attached_rig *self)
{
    long long before = attached_value_of(self, "usable");
    attached_job good = {.n_done = 0};
    attached_submit(self, &good, "usable");
    ev_run(self->loop, 0);
    attached_expect_ended(&good, GAVEL_COMMITTED);
    cr_expect_eq(attached_value_of(self, "usable"), (before < 0 ? 0 : before) + 1);
}

void attached_pause_server(attached_job *self)
{
    server_pause(self->rig->live.server);
}

void attached_run_until_exec_left(attached_rig *rig, attached_job *self)
{
    attached_submit(rig, self, "key");
    while (self->n_runs == 0)
        attached_turn(rig);
    /* What a turn brings leaves before the next one sleeps. */
    for (int i = 0; i < 3; i++)
        attached_turn(rig);
}
