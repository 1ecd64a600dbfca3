/* Attached clients on a real server and a libev loop: submitting, queueing, forking. */
#include "attached.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define N_JOBS 40

/* ---- Submitting ------------------------------------------------------------------------------ */

Test(attached, tells_each_once_and_lets_the_loop_end, .timeout = 60)
{
    attached_rig rig = attached_begin(NULL);
    ev_run(rig.loop, 0); /* returns: nothing was submitted yet */
    attached_job jobs[N_JOBS] = {{.n_done = 0}};
    for (int i = 0; i < N_JOBS; i++) {
        char name[16];
        snprintf(name, sizeof(name), "key:%d", i % 3);
        attached_submit(&rig, &jobs[i], name);
    }
    ev_run(rig.loop, 0);
    for (int i = 0; i < N_JOBS; i++) {
        attached_expect_ended(&jobs[i], GAVEL_COMMITTED);
        for (int j = 0; j < i; j++)
            cr_assert_neq(jobs[i].ticket, jobs[j].ticket);
    }
    cr_expect_eq(attached_value_of(&rig, "key:0") + attached_value_of(&rig, "key:1") +
                     attached_value_of(&rig, "key:2"),
        N_JOBS);
    attached_expect_usable(&rig);
    attached_end(&rig);
}

Test(attached, tells_of_what_is_invalid_later_too, .timeout = 60)
{
    attached_rig rig = attached_begin(NULL);
    for (int i = 0; i < 2; i++) {
        attached_job bad = {.rig = &rig};
        gavel_transaction request = {.body = NULL, .user = &bad};
        bad.ticket = gavel_submit(rig.live.client, &request, attached_on_done);
        cr_expect_neq(bad.ticket, 0);
        cr_expect_eq(bad.n_done, 0);
        ev_run(rig.loop, 0);
        attached_expect_ended(&bad, GAVEL_INVALID);
        attached_expect_usable(&rig);
    }
    gavel_outcome outcome = live_increment(rig.live.client, "key");
    cr_expect_eq(outcome.status, GAVEL_INVALID);
    cr_expect(live_contains(outcome.message, "gavel_submit"), "%s", outcome.message);
    attached_end(&rig);
}

/* What each of so many costs does not depend on how many there are: else the deadline would pass.
 */
static gavel_verdict add_to(gavel_tx *tx, void *user)
{
    const gavel_bytes *key = user;
    int64_t value = 0;
    gavel_get_int(tx, *key, &value);
    gavel_set_int(tx, *key, value + 1);
    return GAVEL_COMMIT;
}

static int n_told_committed;

static void count_committed(const gavel_outcome *outcome, void *user)
{
    (void)user;
    n_told_committed += outcome->status == GAVEL_COMMITTED;
}

static void burst(gavel_mode mode)
{
    enum { N_BURST = 30000, N_KEYS = 50 };
    static char names[N_KEYS][16];
    gavel_bytes keys[N_KEYS];
    attached_rig rig = attached_begin(&(gavel_config){.mode = mode});
    n_told_committed = 0;
    for (int i = 0; i < N_BURST; i++) {
        int k = i % N_KEYS;
        snprintf(names[k], sizeof(names[k]), "key:%d", k);
        keys[k] = gavel_str(names[k]);
        gavel_transaction request = {.body = add_to,
            .user = &keys[k],
            .reads = &(gavel_read){.key = keys[k]},
            .n_reads = 1,
            .deadline_ms = 20000};
        cr_assert_neq(gavel_submit(rig.live.client, &request, count_committed), 0);
    }
    ev_run(rig.loop, 0);
    cr_expect_eq(n_told_committed, N_BURST);
    cr_expect_eq(attached_value_of(&rig, "key:7"), N_BURST / N_KEYS);
    attached_end(&rig);
}

Test(attached, serves_a_burst_through_gates, .timeout = 60)
{
    burst(GAVEL_GATED);
}

Test(attached, serves_a_burst_without_gates, .timeout = 60)
{
    burst(GAVEL_OPTIMISTIC);
}

static void submit_other(attached_job *self)
{
    attached_submit(self->rig, self->other, "second");
}

Test(attached, submits_in_a_callback, .timeout = 60)
{
    attached_rig rig = attached_begin(NULL);
    attached_job second = {.n_done = 0};
    attached_job first = {.in_done = submit_other, .other = &second};
    attached_submit(&rig, &first, "first");
    ev_run(rig.loop, 0);
    attached_expect_ended(&first, GAVEL_COMMITTED);
    attached_expect_ended(&second, GAVEL_COMMITTED);
    attached_end(&rig);
}

static void submit_in_body(attached_job *self)
{
    gavel_bytes key = GAVEL_STR("stray");
    gavel_transaction request = {.body = live_add_one, .user = &key, .keys = &key, .n_keys = 1};
    cr_expect_eq(gavel_submit(self->rig->live.client, &request, attached_on_done), 0);
    cr_expect_not(gavel_cancel(self->rig->live.client, self->ticket));
    gavel_close(self->rig->live.client);
}

Test(attached, refuses_calls_from_a_body, .timeout = 60)
{
    attached_rig rig = attached_begin(NULL);
    attached_job self = {.in_body = submit_in_body};
    attached_submit(&rig, &self, "key");
    ev_run(rig.loop, 0);
    attached_expect_ended(&self, GAVEL_COMMITTED);
    cr_expect_eq(attached_value_of(&rig, "stray"), -1);
    attached_expect_usable(&rig);
    attached_end(&rig);
}

Test(attached, bounds_its_queue, .timeout = 60)
{
    gavel_config config = {.max_queued = 2};
    attached_rig rig = attached_begin(&config);
    attached_job jobs[3] = {{.n_done = 0}};
    for (int i = 0; i < 3; i++)
        attached_submit(&rig, &jobs[i], "key");
    ev_run(rig.loop, 0);
    attached_expect_ended(&jobs[0], GAVEL_COMMITTED);
    attached_expect_ended(&jobs[1], GAVEL_COMMITTED);
    attached_expect_ended(&jobs[2], GAVEL_NOT_SENT);
    cr_expect(live_contains(jobs[2].outcome.message, "max_queued"), "%s", jobs[2].outcome.message);
    attached_expect_usable(&rig);
    attached_end(&rig);
}

/* ---- Fork ------------------------------------------------------------------------------------ */

/* In the child, with work in flight: refused, told nothing, and closing frees. */
static int use_in_child(const attached_job *self)
{
    gavel_client *client = self->rig->live.client;
    gavel_bytes key = GAVEL_STR("stray");
    gavel_transaction request = {.body = live_add_one, .user = &key, .keys = &key, .n_keys = 1};
    if (gavel_submit(client, &request, attached_on_done) != 0)
        return __LINE__;
    if (gavel_cancel(client, self->ticket))
        return __LINE__;
    gavel_close(client);
    return self->n_done == 0 ? 0 : __LINE__;
}

Test(attached, is_refused_in_a_child_and_unharmed_in_the_parent, .timeout = 60)
{
    attached_rig rig = attached_begin(NULL);
    attached_expect_usable(&rig);
    attached_job self = {.in_body = attached_pause_server};
    attached_run_until_exec_left(&rig, &self);
    pid_t child = fork();
    if (child == 0)
        _exit(use_in_child(&self) == 0 ? 0 : 1);
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %d", status);
    server_resume(rig.live.server);
    ev_run(rig.loop, 0);
    attached_expect_ended(&self, GAVEL_COMMITTED);
    attached_expect_usable(&rig);
    gavel_stats stats;
    gavel_read_stats(rig.live.client, &stats);
    cr_expect_eq(stats.n_links_down, 0);
    attached_end(&rig);
}

/* ---- Beside the program's own watchers ------------------------------------------------------ */

/* A program that gathers what its callbacks bring, and sets its timer before the loop sleeps. */
typedef struct gatherer {
    ev_prepare prepare;
    ev_timer timer;
    ev_timer patience;
    bool has_gathered;
    bool has_run;
} gatherer;

static void gather(const gavel_outcome *outcome, void *user)
{
    cr_expect_eq(outcome->status, GAVEL_COMMITTED, "%s", outcome->message);
    ((gatherer *)user)->has_gathered = true;
}

static void prepare_to_sleep(struct ev_loop *loop, ev_prepare *prepare, int events)
{
    (void)events;
    gatherer *self = prepare->data;
    if (!self->has_gathered)
        return;
    self->has_gathered = false;
    ev_timer_start(loop, &self->timer);
}

static void run_gathered(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)events;
    gatherer *self = timer->data;
    self->has_run = true;
    ev_break(loop, EVBREAK_ALL);
}

static void lose_patience(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)timer;
    (void)events;
    ev_break(loop, EVBREAK_ALL);
}

static gavel_verdict gather_body(gavel_tx *tx, void *user)
{
    (void)user;
    gavel_bytes key = GAVEL_STR("gathered");
    return live_add_one(tx, &key);
}

Test(attached, a_callback_comes_before_the_program_prepares_to_sleep)
{
    test_server *server = server_start(NULL);
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    gatherer self = {.has_run = false};
    ev_prepare_init(&self.prepare, prepare_to_sleep);
    ev_timer_init(&self.timer, run_gathered, 0.001, 0);
    ev_timer_init(&self.patience, lose_patience, 10, 0);
    self.prepare.data = &self;
    self.timer.data = &self;
    ev_prepare_start(loop, &self.prepare);
    ev_timer_start(loop, &self.patience);
    /* So that no timer of gavel's own wakes the loop. */
    gavel_config config = {
        .loop = loop, .connect_timeout_ms = 100000, .command_timeout_ms = 100000};
    gavel_client *client = live_open(server_url(server), &config);
    cr_assert_neq(gavel_submit(client,
                      &(gavel_transaction){.body = gather_body,
                          .user = &self,
                          .reads = &(gavel_read){.key = GAVEL_STR("gathered")},
                          .n_reads = 1,
                          .deadline_ms = 100000},
                      gather),
        0);
    ev_run(loop, 0);
    cr_expect(self.has_run, "the loop slept on what a callback had brought");
    gavel_close(client);
    ev_loop_destroy(loop);
    server_stop(server);
}
