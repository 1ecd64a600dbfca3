/* Polled clients on a real server: what makes the descriptor readable, and what a turn then does.
 */
#include "tools.h"

#include <criterion/criterion.h>

#include <ev.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define N_JOBS 40

typedef struct job {
    gavel_client *client;
    gavel_bytes key;
    gavel_ticket ticket;
    gavel_outcome outcome;
    int n_done;
    int n_runs;
    void (*in_body)(struct job *self); /* NULL: nothing */
    void (*in_done)(struct job *self); /* NULL: nothing */
    test_server *server;               /* for in_body */
    struct job *other;                 /* for in_done */
} job;

static live_rig begin(void)
{
    return live_begin(NULL, &(gavel_config){.is_polled = true});
}

static gavel_verdict run_job(gavel_tx *tx, void *user)
{
    job *self = user;
    self->n_runs++;
    live_add_one(tx, &self->key);
    if (self->in_body != NULL)
        self->in_body(self);
    return GAVEL_COMMIT;
}

static void on_done(const gavel_outcome *outcome, void *user)
{
    job *self = user;
    self->n_done++;
    self->outcome = *outcome;
    if (self->in_done != NULL)
        self->in_done(self);
}

static void submit(gavel_client *client, job *self, uint32_t deadline_ms)
{
    self->client = client;
    self->key = GAVEL_STR("key");
    self->ticket = gavel_submit(client,
        &(gavel_transaction){.body = run_job,
            .user = self,
            .reads = &(gavel_read){.key = self->key},
            .n_reads = 1,
            .deadline_ms = deadline_ms},
        on_done);
    cr_assert_neq(self->ticket, 0);
    cr_assert_eq(self->n_done, 0, "told before gavel_submit returned");
}

static bool is_readable(gavel_client *client, int wait_ms)
{
    struct pollfd polled = {.fd = gavel_fd(client), .events = POLLIN};
    return poll(&polled, 1, wait_ms) == 1;
}

/* As a program does it that does nothing else. The tests' time-out ends one that sleeps too long.
 */
static void run(gavel_client *client)
{
    while (gavel_turn(client))
        cr_assert(is_readable(client, -1));
}

/* Turns until there is nothing to be done at once. */
static void settle(gavel_client *client)
{
    while (is_readable(client, 0))
        gavel_turn(client);
}

static void expect_ended(const job *self, gavel_status status)
{
    cr_expect_eq(self->n_done, 1, "told %d times", self->n_done);
    cr_expect_eq(self->outcome.status, status, "%s %s", gavel_status_name(self->outcome.status),
        self->outcome.message);
}

static void expect_usable(gavel_client *client)
{
    job good = {.n_done = 0};
    submit(client, &good, 0);
    run(client);
    expect_ended(&good, GAVEL_COMMITTED);
}

static void pause_server(job *self)
{
    server_pause(self->server);
}

/* For a job that pauses the server in its body. */
static void run_until_exec_left(const job *self)
{
    while (self->n_runs == 0) {
        is_readable(self->client, -1);
        gavel_turn(self->client);
    }
    settle(self->client);
}

/* ---- Submitting ----------------------------------------------------------------------------- */

Test(polled, tells_each_once_and_says_when_there_is_no_more, .timeout = 60)
{
    live_rig rig = begin();
    cr_expect_not(gavel_turn(rig.client), "nothing was submitted yet");
    job jobs[N_JOBS] = {{.n_done = 0}};
    for (int i = 0; i < N_JOBS; i++)
        submit(rig.client, &jobs[i], 0);
    run(rig.client);
    for (int i = 0; i < N_JOBS; i++)
        expect_ended(&jobs[i], GAVEL_COMMITTED);
    cr_expect_eq(server_int(rig.server, "GET", "key", NULL), N_JOBS);
    live_end(&rig);
}

Test(polled, is_readable_when_there_is_something_to_do, .timeout = 60)
{
    live_rig rig = begin();
    int fd = gavel_fd(rig.client);
    expect_usable(rig.client);
    settle(rig.client);
    cr_expect_not(is_readable(rig.client, 0));
    job self = {.in_body = pause_server, .server = rig.server};
    submit(rig.client, &self, 0);
    cr_expect(is_readable(rig.client, 0), "a submitted transaction would wait for another event");
    cr_expect_eq(gavel_due_us(rig.client), 0);
    run_until_exec_left(&self);
    cr_expect(gavel_cancel(rig.client, self.ticket));
    cr_expect(is_readable(rig.client, 0), "a cancelled one too");
    server_resume(rig.server);
    run(rig.client);
    cr_expect_eq(self.n_done, 1);
    cr_expect_eq(gavel_fd(rig.client), fd, "the same for all its life");
    live_end(&rig);
}

Test(polled, is_readable_when_time_has_passed, .timeout = 60)
{
    live_rig rig = begin();
    expect_usable(rig.client);
    job self = {.in_body = pause_server, .server = rig.server};
    int64_t start_us = live_now_us();
    submit(rig.client, &self, 800);
    int64_t submitted_us = live_now_us();
    run_until_exec_left(&self);
    int64_t due_us = gavel_due_us(rig.client);
    cr_expect_gt(due_us, 0);
    cr_expect_leq(due_us, submitted_us + 800000);
    run(rig.client);
    cr_expect_geq(live_now_us(), start_us + 800000);
    cr_expect_eq(self.n_done, 1);
    cr_expect_neq(self.outcome.status, GAVEL_COMMITTED);
    server_resume(rig.server);
    expect_usable(rig.client);
    live_end(&rig);
}

Test(polled, is_readable_when_a_link_is_lost, .timeout = 60)
{
    live_rig rig = begin();
    expect_usable(rig.client);
    settle(rig.client);
    server_kill(rig.server);
    cr_expect(is_readable(rig.client, -1));
    settle(rig.client);
    gavel_stats stats;
    gavel_read_stats(rig.client, &stats);
    cr_expect_geq(stats.n_links_down, 1);
    server_restart(rig.server);
    expect_usable(rig.client);
    live_end(&rig);
}

Test(polled, is_readable_when_a_name_was_looked_up, .timeout = 60)
{
    test_server *server = server_start(&(server_options){.has_tcp = true});
    char url[64];
    snprintf(url, sizeof(url), "redis://localhost:%d", server_port(server));
    gavel_client *client = live_open(url, &(gavel_config){.is_polled = true});
    expect_usable(client);
    gavel_close(client);
    server_stop(server);
}

/* ---- In callbacks --------------------------------------------------------------------------- */

static void turn_and_submit(job *self)
{
    cr_expect_not(gavel_turn(self->client), "refused inside itself");
    cr_expect_geq(gavel_fd(self->client), 0);
    submit(self->client, self->other, 0);
}

Test(polled, submits_in_a_callback_but_does_not_turn, .timeout = 60)
{
    live_rig rig = begin();
    job second = {.n_done = 0};
    job first = {.in_done = turn_and_submit, .other = &second};
    submit(rig.client, &first, 0);
    run(rig.client);
    expect_ended(&first, GAVEL_COMMITTED);
    expect_ended(&second, GAVEL_COMMITTED);
    live_end(&rig);
}

static void use_in_body(job *self)
{
    cr_expect_eq(gavel_fd(self->client), -1);
    cr_expect_not(gavel_turn(self->client));
    cr_expect_eq(gavel_due_us(self->client), INT64_MAX);
}

Test(polled, is_refused_in_a_body, .timeout = 60)
{
    live_rig rig = begin();
    job self = {.in_body = use_in_body};
    submit(rig.client, &self, 0);
    run(rig.client);
    expect_ended(&self, GAVEL_COMMITTED);
    live_end(&rig);
}

/* ---- Closing -------------------------------------------------------------------------------- */

static void close_client(job *self)
{
    int fd = gavel_fd(self->client);
    gavel_close(self->client);
    cr_expect_neq(fcntl(fd, F_GETFD), -1, "still there: the turn goes on");
}

Test(polled, is_closed_in_a_callback, .timeout = 60)
{
    live_rig rig = begin();
    int fd = gavel_fd(rig.client);
    job first = {.in_done = close_client};
    job second = {.n_done = 0};
    submit(rig.client, &first, 0);
    submit(rig.client, &second, 0);
    run(rig.client); /* whose last turn says false */
    expect_ended(&first, GAVEL_COMMITTED);
    cr_expect_eq(second.n_done, 1);
    cr_expect_eq(fcntl(fd, F_GETFD), -1, "nothing is left");
    rig.client = NULL;
    live_end(&rig);
}

static void turn(job *self)
{
    cr_expect_not(gavel_turn(self->client), "refused in a callback, whoever calls that");
}

Test(polled, does_not_turn_in_a_callback_of_its_closing, .timeout = 60)
{
    live_rig rig = begin();
    job first = {.in_done = turn};
    job second = {.in_done = turn};
    submit(rig.client, &first, 0);
    submit(rig.client, &second, 0);
    gavel_close(rig.client);
    rig.client = NULL;
    expect_ended(&first, GAVEL_CANCELLED);
    expect_ended(&second, GAVEL_CANCELLED);
    live_end(&rig);
}

/* After each number of turns: in each state that the work can be in. */
Test(polled, is_closed_with_work_in_any_state, .timeout = 60)
{
    for (int n_turns = 0; n_turns < 12; n_turns++) {
        live_rig rig = begin();
        job jobs[N_JOBS] = {{.n_done = 0}};
        for (int i = 0; i < N_JOBS; i++)
            submit(rig.client, &jobs[i], 0);
        for (int i = 0; i < n_turns && gavel_turn(rig.client); i++)
            is_readable(rig.client, -1);
        gavel_close(rig.client);
        rig.client = NULL;
        for (int i = 0; i < N_JOBS; i++)
            cr_expect_eq(jobs[i].n_done, 1);
        live_end(&rig);
    }
}

/* ---- Misuse --------------------------------------------------------------------------------- */

static char last_log[256];

static void keep_log(gavel_log_level level, const char *line, void *user)
{
    (void)user;
    if (level == GAVEL_LOG_WARNING)
        snprintf(last_log, sizeof(last_log), "%s", line);
}

static void expect_logged(const char *words)
{
    cr_expect(live_contains(last_log, words), "%s", last_log);
    last_log[0] = '\0';
}

static void expect_refused(gavel_client *client)
{
    cr_expect_eq(gavel_fd(client), -1);
    expect_logged("gavel_fd: the client was not opened with is_polled");
    cr_expect_not(gavel_turn(client));
    expect_logged("gavel_turn: the client was not opened with is_polled");
    cr_expect_eq(gavel_due_us(client), INT64_MAX);
    expect_logged("gavel_due_us: the client was not opened with is_polled");
}

Test(polled, refuses_clients_that_are_not, .timeout = 60)
{
    gavel_config config = {.hooks.on_log = keep_log};
    gavel_client *blocking = live_open("unix:///nowhere", &config);
    expect_refused(blocking);
    gavel_close(blocking);
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    config.loop = loop;
    gavel_client *attached = live_open("unix:///nowhere", &config);
    expect_refused(attached);
    gavel_close(attached);
    config.is_polled = true;
    gavel_error error;
    cr_expect_null(gavel_open("unix:///nowhere", &config, &error));
    cr_expect(live_contains(error.message, "is_polled"), "%s", error.message);
    ev_loop_destroy(loop);
}

Test(polled, refuses_calls_that_block, .timeout = 60)
{
    live_rig rig = begin();
    gavel_outcome outcome = live_increment(rig.client, "key");
    cr_expect_eq(outcome.status, GAVEL_INVALID);
    cr_expect(live_contains(outcome.message, "gavel_submit"), "%s", outcome.message);
    gavel_lock_outcome got =
        gavel_lock_acquire(rig.client, &(gavel_lock_request){.name = GAVEL_STR("l")});
    cr_expect_eq(got.status, GAVEL_LOCK_INVALID);
    cr_expect(live_contains(got.message, "gavel_lock_begin"), "%s", got.message);
    expect_usable(rig.client);
    live_end(&rig);
}

/* ---- Fork ----------------------------------------------------------------------------------- */

static int use_in_child(const job *self)
{
    if (gavel_fd(self->client) != -1 || gavel_turn(self->client))
        return __LINE__;
    gavel_close(self->client);
    return self->n_done == 0 ? 0 : __LINE__;
}

Test(polled, is_refused_in_a_child_and_unharmed_in_the_parent, .timeout = 60)
{
    live_rig rig = begin();
    job self = {.in_body = pause_server, .server = rig.server};
    submit(rig.client, &self, 20000);
    run_until_exec_left(&self);
    pid_t child = fork();
    if (child == 0)
        _exit(use_in_child(&self) == 0 ? 0 : 1);
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %d", status);
    server_resume(rig.server);
    run(rig.client);
    expect_ended(&self, GAVEL_COMMITTED);
    expect_usable(rig.client);
    live_end(&rig);
}

/* ---- Locks ---------------------------------------------------------------------------------- */

typedef struct holder {
    gavel_lock_outcome outcome;
    int n_done;
} holder;

static void on_lock(const gavel_lock_outcome *outcome, void *user)
{
    holder *self = user;
    self->outcome = *outcome;
    self->n_done++;
}

static void turn_until_told(gavel_client *client, const holder *self, int n_done)
{
    while (self->n_done < n_done && gavel_turn(client))
        is_readable(client, -1);
    cr_assert_eq(self->n_done, n_done);
}

Test(polled, renews_a_lock_as_long_as_it_is_turned, .timeout = 60)
{
    live_rig rig = begin();
    holder self = {.n_done = 0};
    gavel_lock_request request = {.name = GAVEL_STR("l"), .lease_ms = 3000, .user = &self};
    cr_assert_neq(gavel_lock_begin_acquire(rig.client, &request, on_lock), 0);
    cr_expect(is_readable(rig.client, 0));
    turn_until_told(rig.client, &self, 1);
    cr_assert_eq(self.outcome.status, GAVEL_LOCK_HELD, "%s", self.outcome.message);
    gavel_lock *lock = self.outcome.lock;
    /* Until the time that is left grows: it was renewed. */
    for (int64_t left_ms = INT64_MAX; gavel_lock_remaining_ms(lock) <= left_ms;) {
        left_ms = gavel_lock_remaining_ms(lock);
        cr_assert(gavel_turn(rig.client), "a lock that is held is more to come");
        is_readable(rig.client, -1);
    }
    cr_assert(gavel_lock_begin_release(lock, on_lock, &self));
    turn_until_told(rig.client, &self, 2);
    cr_expect_not(gavel_turn(rig.client));
    live_end(&rig);
}
