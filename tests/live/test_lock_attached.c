/* Locks of attached clients, on a real server and a libev loop. */
#include "attached.h"
#include "locking.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <time.h>

typedef struct job {
    attached_rig *rig;
    gavel_lock_outcome outcome;
    int n_done;
    gavel_lock *lock;
    gavel_ticket ticket;
    void (*in_done)(struct job *self);
    int n_lost;
} job;

static void on_done(const gavel_lock_outcome *outcome, void *user)
{
    job *self = user;
    self->outcome = *outcome;
    self->n_done++;
    if (outcome->lock != NULL)
        self->lock = outcome->lock;
    if (self->in_done != NULL)
        self->in_done(self);
}

static void on_lost(gavel_lock *lock, gavel_lock_reason reason, void *user)
{
    job *self = user;
    self->n_lost++;
    cr_expect_eq(reason, GAVEL_LOCK_TAKEN);
    self->lock = NULL;
    cr_expect(gavel_lock_begin_release(lock, on_done, self));
}

static void begin(attached_rig *rig, job *self, gavel_lock_request request)
{
    self->rig = rig;
    request.name = GAVEL_STR("l");
    request.user = self;
    self->ticket = gavel_lock_begin_acquire(rig->live.client, &request, on_done);
    cr_assert_neq(self->ticket, 0);
    cr_expect_eq(self->n_done, 0, "told inside the call that began it");
}

static void run_until_done(attached_rig *rig, const job *self, int n_done)
{
    while (self->n_done < n_done)
        ev_run(rig->loop, EVRUN_ONCE);
}

static void expect(const job *self, gavel_lock_status status)
{
    cr_expect_eq(self->outcome.status, status, "%s: %s",
        gavel_lock_status_name(self->outcome.status), self->outcome.message);
}

static void release(job *self)
{
    self->in_done = NULL;
    if (self->lock != NULL)
        cr_expect(gavel_lock_begin_release(self->lock, on_done, self));
}

Test(lock_attached, is_held_and_released_and_lets_the_loop_end, .timeout = 60)
{
    attached_rig rig = attached_begin(NULL);
    job self = {.in_done = release};
    begin(&rig, &self, (gavel_lock_request){.lease_ms = 10000});
    ev_run(rig.loop, 0);
    cr_expect_eq(self.n_done, 2);
    expect(&self, GAVEL_LOCK_RELEASED);
    cr_expect_eq(gavel_lock_acquire(rig.live.client, &(gavel_lock_request){.wait_ms = 1}).status,
        GAVEL_LOCK_INVALID);
    attached_expect_usable(&rig);
    attached_end(&rig);
}

Test(lock_attached, is_renewed_while_the_loop_turns, .timeout = 60)
{
    attached_rig rig = attached_begin(NULL);
    job self = {0};
    begin(&rig, &self, (gavel_lock_request){.lease_ms = 1500});
    run_until_done(&rig, &self, 1);
    int64_t until_us = live_now_us() + 4500000;
    while (live_now_us() < until_us)
        ev_run(rig.loop, EVRUN_ONCE);
    cr_expect_gt(gavel_lock_remaining_ms(self.lock), 0);
    release(&self);
    ev_run(rig.loop, 0);
    expect(&self, GAVEL_LOCK_RELEASED);
    attached_end(&rig);
}

Test(lock_attached, serves_its_own_in_order, .timeout = 60)
{
    attached_rig rig = attached_begin(NULL);
    job jobs[20] = {{0}};
    for (int i = 0; i < 20; i++) {
        jobs[i].in_done = release;
        begin(&rig, &jobs[i], (gavel_lock_request){.wait_ms = 20000});
    }
    ev_run(rig.loop, 0);
    for (int i = 0; i < 20; i++) {
        expect(&jobs[i], GAVEL_LOCK_RELEASED);
        cr_expect_eq(jobs[i].n_done, 2);
    }
    attached_end(&rig);
}

Test(lock_attached, extends_and_guards, .timeout = 60)
{
    attached_rig rig = attached_begin(NULL);
    job self = {0};
    begin(&rig, &self, (gavel_lock_request){.lease_ms = 10000});
    run_until_done(&rig, &self, 1);
    job extended = {0};
    job guarded = {0};
    cr_expect(gavel_lock_begin_extend(self.lock, 30000, on_done, &extended));
    gavel_lock_command command = {
        .command = GAVEL_COMMAND(GAVEL_STR("SET"), GAVEL_STR("x"), GAVEL_STR("1"))};
    cr_expect(gavel_lock_begin_do(self.lock, &command, on_done, &guarded));
    release(&self); /* behind them */
    ev_run(rig.loop, 0);
    expect(&extended, GAVEL_LOCK_HELD);
    expect(&guarded, GAVEL_LOCK_HELD);
    expect(&self, GAVEL_LOCK_RELEASED);
    cr_expect_eq(attached_value_of(&rig, "x"), 1);
    attached_end(&rig);
}

/* Stopped, for longer than its time, while the answer lies in the socket. What is done is not to
 * be sent too late on a busy machine. */
Test(lock_attached, an_answer_that_is_there_comes_before_the_deadline, .timeout = 60)
{
    attached_rig rig = attached_begin(NULL);
    job self = {0};
    begin(&rig, &self, (gavel_lock_request){.lease_ms = 60000});
    run_until_done(&rig, &self, 1);
    job guarded = {0};
    gavel_lock_command command = {
        .command = GAVEL_COMMAND(GAVEL_STR("SET"), GAVEL_STR("x"), GAVEL_STR("1")),
        .deadline_ms = 1000};
    int64_t begun_us = live_now_us();
    cr_expect(gavel_lock_begin_do(self.lock, &command, on_done, &guarded));
    ev_run(rig.loop, EVRUN_NOWAIT); /* sends it */
    while (attached_value_of(&rig, "x") != 1 || live_now_us() - begun_us < 1100000)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    job next = {0}; /* so that there is something to be done before the loop looks at sockets */
    command.deadline_ms = 0;
    cr_expect(gavel_lock_begin_do(self.lock, &command, on_done, &next));
    run_until_done(&rig, &guarded, 1);
    expect(&guarded, GAVEL_LOCK_HELD);
    run_until_done(&rig, &next, 1);
    release(&self);
    ev_run(rig.loop, 0);
    attached_end(&rig);
}

Test(lock_attached, a_loss_may_be_answered_by_a_release, .timeout = 60)
{
    attached_rig rig = attached_begin(NULL);
    job self = {0};
    begin(&rig, &self, (gavel_lock_request){.lease_ms = 1500, .on_lost = on_lost});
    run_until_done(&rig, &self, 1);
    server_do(rig.live.server, "SET", "gavel:lock:{l}", "somebody else", NULL);
    ev_run(rig.loop, 0);
    cr_expect_eq(self.n_lost, 1);
    expect(&self, GAVEL_LOCK_LOST);
    attached_end(&rig);
}

Test(lock_attached, cancelling_while_waiting, .timeout = 60)
{
    attached_rig rig = attached_begin(NULL);
    job first = {0};
    job second = {0};
    begin(&rig, &first, (gavel_lock_request){.lease_ms = 0});
    run_until_done(&rig, &first, 1);
    begin(&rig, &second, (gavel_lock_request){.wait_ms = 60000});
    cr_expect_not(gavel_lock_cancel(rig.live.client, first.ticket));
    cr_expect_not(gavel_lock_cancel(rig.live.client, 0));
    for (int i = 0; i < 5; i++)
        attached_turn(&rig);
    cr_expect(gavel_lock_cancel(rig.live.client, second.ticket));
    cr_expect_not(gavel_lock_cancel(rig.live.client, second.ticket));
    cr_expect_eq(second.n_done, 0);
    run_until_done(&rig, &second, 1);
    expect(&second, GAVEL_LOCK_CANCELLED);
    release(&first);
    ev_run(rig.loop, 0);
    expect(&first, GAVEL_LOCK_RELEASED);
    attached_end(&rig);
}

/* Cancelled at once, or after any number of turns: never held twice, nothing left behind. */
Test(lock_attached, cancelling_at_any_moment, .timeout = 60)
{
    attached_rig rig = attached_begin(NULL);
    for (int n_turns = 0; n_turns < 30; n_turns++) {
        job self = {0};
        begin(&rig, &self, (gavel_lock_request){.lease_ms = 60000});
        for (int i = 0; i < n_turns; i++)
            attached_turn(&rig);
        bool is_cancelled = gavel_lock_cancel(rig.live.client, self.ticket);
        run_until_done(&rig, &self, 1);
        expect(&self, is_cancelled ? GAVEL_LOCK_CANCELLED : GAVEL_LOCK_HELD);
        release(&self);
        job next = {.in_done = release};
        begin(&rig, &next, (gavel_lock_request){.wait_ms = 5000});
        run_until_done(&rig, &next, 2);
        expect(&next, GAVEL_LOCK_RELEASED);
    }
    ev_run(rig.loop, 0);
    attached_end(&rig);
}

static void close_client(job *self)
{
    gavel_close(self->rig->live.client);
    self->rig->live.client = NULL;
}

Test(lock_attached, closing_in_a_callback_gives_everything_back, .timeout = 60)
{
    attached_rig rig = attached_begin(NULL);
    job self = {.in_done = close_client};
    job waiting = {0};
    begin(&rig, &self, (gavel_lock_request){.lease_ms = 60000});
    begin(&rig, &waiting, (gavel_lock_request){.lease_ms = 60000});
    ev_run(rig.loop, 0);
    cr_expect_eq(self.n_done, 1);
    cr_expect_eq(waiting.n_done, 1);
    expect(&self, GAVEL_LOCK_HELD); /* what it was told, before it closed */
    cr_expect(waiting.outcome.status == GAVEL_LOCK_CANCELLED ||
              waiting.outcome.status == GAVEL_LOCK_UNKNOWN);
    gavel_client *other = live_open(server_url(rig.live.server), NULL);
    gavel_lock *lock = locking_take(other, 0);
    locking_expect_released(lock, GAVEL_LOCK_RELEASED);
    gavel_close(other);
    attached_end(&rig);
}

Test(lock_attached, closing_under_way_tells_everybody, .timeout = 60)
{
    for (int n_turns = 0; n_turns < 8; n_turns++) {
        attached_rig rig = attached_begin(NULL);
        job jobs[3] = {{0}};
        for (int i = 0; i < 3; i++)
            begin(&rig, &jobs[i], (gavel_lock_request){.lease_ms = 60000});
        for (int i = 0; i < n_turns; i++)
            attached_turn(&rig);
        gavel_close(rig.live.client);
        rig.live.client = NULL;
        for (int i = 0; i < 3; i++)
            cr_expect_eq(jobs[i].n_done, 1);
        attached_end(&rig);
    }
}

/* ---- A frozen connection ------------------------------------------------------------------- */

typedef struct loss_watch {
    bool is_armed;
    bool is_lost;
} loss_watch;

static void on_link_down(const gavel_event *event, void *user)
{
    loss_watch *watch = user;
    if (watch->is_armed && event->type == GAVEL_EVENT_LINK_DOWN &&
        live_contains(event->message, "no reply for 200 ms"))
        watch->is_lost = true;
}

/* Nobody gets one: the server does not answer. */
static void ignore(const gavel_lock_outcome *outcome, void *user)
{
    (void)user;
    cr_expect_null(outcome->lock);
}

static void ask_again(struct ev_loop *loop, ev_timer *timer, int events)
{
    static int n_asked;
    attached_rig *rig = timer->data;
    char name[32];
    (void)loop;
    (void)events;
    snprintf(name, sizeof(name), "other %d", n_asked++);
    gavel_lock_begin_acquire(
        rig->live.client, &(gavel_lock_request){.name = gavel_str(name)}, ignore);
}

/* However often the others ask: silence counts from the last sign of life. */
Test(lock_attached, a_frozen_connection_is_given_up_under_steady_traffic, .timeout = 60)
{
    loss_watch watch = {.is_armed = false};
    attached_rig rig = attached_begin(&(gavel_config){
        .command_timeout_ms = 200, .hooks = {.on_event = on_link_down, .user = &watch}});
    job self = {0};
    begin(&rig, &self, (gavel_lock_request){.lease_ms = 60000});
    run_until_done(&rig, &self, 1);
    server_pause(rig.live.server);
    watch.is_armed = true;
    ev_timer timer;
    ev_timer_init(&timer, ask_again, 0., 0.02);
    timer.data = &rig;
    ev_timer_start(rig.loop, &timer);
    int64_t begun_us = live_now_us();
    while (!watch.is_lost && live_now_us() - begun_us < 5000000)
        ev_run(rig.loop, EVRUN_ONCE);
    cr_expect(
        watch.is_lost, "not given up after %lld ms", (long long)(live_now_us() - begun_us) / 1000);
    ev_timer_stop(rig.loop, &timer);
    server_resume(rig.live.server);
    attached_end(&rig);
}
