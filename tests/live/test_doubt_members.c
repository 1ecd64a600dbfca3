/*
 * Several transactions in one round, in doubt together: all are told the same truth, each once. On
 * an attached client, whose callers submit without waiting for one another.
 */
#include "attached.h"
#include "doubt.h"

#include <ev.h>

#define N_MEMBERS 8
#define ABORTER 3 /* this member's body aborts */

typedef struct doubt_member {
    gavel_outcome outcome;
    unsigned n_told;
    bool aborts;
    gavel_ticket ticket;
} doubt_member;

typedef struct doubt_crowd {
    doubt_rig rig;
    struct ev_loop *loop;
    doubt_member members[N_MEMBERS];
} doubt_crowd;

static gavel_verdict add_or_abort(gavel_tx *tx, void *user)
{
    const doubt_member *member = user;
    live_counter counter = {.n_runs = 0};
    if (!member->aborts)
        return counter_add(tx, &counter);
    int64_t value;
    gavel_get_int(tx, GAVEL_STR("counter"), &value);
    return gavel_abort(tx, 42);
}

static void on_done(const gavel_outcome *outcome, void *user)
{
    doubt_member *member = user;
    member->outcome = *outcome;
    member->n_told++;
}

/* All of them are submitted before the first link is up, so that one round takes them all; see
 * begin. */
static void submit_all(doubt_crowd *crowd, gavel_transaction more)
{
    more.body = add_or_abort;
    more.reads = &(gavel_read){.key = GAVEL_STR("counter")};
    more.n_reads = 1;
    for (size_t i = 0; i < N_MEMBERS; i++) {
        doubt_member *member = &crowd->members[i];
        more.user = member;
        member->ticket = gavel_submit(crowd->rig.client, &more, on_done);
        cr_assert_neq(member->ticket, 0);
    }
}

/* No round ends because a busy machine lets bodies wait. */
static void begin(doubt_crowd *crowd, doubt_plan *plan, gavel_config config)
{
    crowd->loop = ev_loop_new(EVFLAG_AUTO);
    config.loop = crowd->loop;
    config.max_round_body_us = 60000000;
    crowd->rig = doubt_begin(doubt_follow, plan, &config);
}

static void end(doubt_crowd *crowd)
{
    doubt_end(&crowd->rig);
    ev_loop_destroy(crowd->loop);
}

/* Each was told once, and all the same. */
static void assert_told(const doubt_crowd *crowd, gavel_status status, bool is_from_marker)
{
    for (size_t i = 0; i < N_MEMBERS; i++) {
        const doubt_member *member = &crowd->members[i];
        cr_assert_eq(member->n_told, 1);
        if (member->aborts)
            continue;
        ASSERT_TOLD(member->outcome, status);
        cr_assert_eq(member->outcome.is_from_marker, is_from_marker);
    }
}

/* Everybody adds one; what is lost and when is the plan's. */
static void run_crowd(doubt_plan plan, bool is_made)
{
    doubt_crowd crowd = {.loop = NULL};
    begin(&crowd, &plan, (gavel_config){.max_links = 0});
    submit_all(&crowd, doubt_plain);
    ev_run(crowd.loop, 0);
    relay_deliver(crowd.rig.relay);
    assert_told(&crowd, GAVEL_COMMITTED, is_made);
    cr_assert_eq(counter_value(crowd.rig.server), N_MEMBERS);
    if (is_made)
        cr_assert_eq(relay_n_execs(crowd.rig.relay), 1); /* it was one round indeed */
    end(&crowd);
}

Test(doubt_members, a_lost_reply_is_resolved_for_all)
{
    run_crowd((doubt_plan){.action = RELAY_LOSE_REPLY}, true);
}

Test(doubt_members, an_exec_that_never_arrives_is_made_again_for_all)
{
    run_crowd((doubt_plan){.action = RELAY_CUT}, false);
}

Test(doubt_members, late_before_the_new_link_is_up)
{
    run_crowd((doubt_plan){.action = RELAY_LATE, .before = "PEXPIRE"}, true);
}

Test(doubt_members, late_between_touching_and_asking)
{
    run_crowd((doubt_plan){.action = RELAY_LATE, .before = "GET"}, false);
}

Test(doubt_members, late_just_before_the_retrys_exec)
{
    run_crowd((doubt_plan){.action = RELAY_LATE, .before = "EXEC"}, false);
}

Test(doubt_members, late_after_the_outcome)
{
    run_crowd((doubt_plan){.action = RELAY_LATE}, false);
}

/* All are told at the deadline, all that nobody can tell; then all of them were made, or none. EXEC
 * has to leave before, on a busy machine too. */
static void run_unknown(doubt_plan plan, gavel_config config, long long value)
{
    doubt_crowd crowd = {.loop = NULL};
    begin(&crowd, &plan, config);
    submit_all(&crowd, (gavel_transaction){.deadline_ms = 800});
    ev_run(crowd.loop, 0);
    assert_told(&crowd, GAVEL_UNKNOWN, false);
    cr_assert_eq(relay_n_execs(crowd.rig.relay), 1);
    relay_deliver(crowd.rig.relay);
    cr_assert_eq(counter_value(crowd.rig.server), value);
    end(&crowd);
}

Test(doubt_members, the_deadline_comes_first)
{
    run_unknown((doubt_plan){.action = RELAY_LATE, .cut = "HELLO"}, (gavel_config){.max_links = 0},
        N_MEMBERS);
}

Test(doubt_members, the_deadline_comes_during_exec)
{
    run_unknown((doubt_plan){.action = RELAY_STALL}, (gavel_config){.max_links = 0}, N_MEMBERS);
}

Test(doubt_members, without_markers)
{
    run_unknown((doubt_plan){.action = RELAY_LOSE_REPLY}, doubt_no_markers, N_MEMBERS);
    run_unknown((doubt_plan){.action = RELAY_CUT}, doubt_no_markers, 0);
}

/* A member that aborts writes nothing, and says so with or without an answer. */
static void run_with_aborter(relay_action action, gavel_config config, gavel_status status)
{
    doubt_plan plan = {.action = action};
    doubt_crowd crowd = {.loop = NULL};
    begin(&crowd, &plan, config);
    crowd.members[ABORTER].aborts = true;
    submit_all(&crowd, doubt_plain);
    ev_run(crowd.loop, 0);
    assert_told(&crowd, status, status == GAVEL_COMMITTED && action == RELAY_LOSE_REPLY);
    ASSERT_TOLD(crowd.members[ABORTER].outcome, GAVEL_ABORTED);
    cr_assert_eq(crowd.members[ABORTER].outcome.abort_code, 42);
    cr_assert_eq(counter_value(crowd.rig.server), N_MEMBERS - 1);
    end(&crowd);
}

Test(doubt_members, one_of_them_aborts)
{
    gavel_config markers = {.max_links = 0};
    run_with_aborter(RELAY_LOSE_REPLY, markers, GAVEL_COMMITTED);
    run_with_aborter(RELAY_CUT, markers, GAVEL_COMMITTED);
    run_with_aborter(RELAY_LOSE_REPLY, doubt_no_markers, GAVEL_UNKNOWN);
}

/* ---- Taken back, closed -------------------------------------------------------------------- */

static void take_back(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)events;
    doubt_crowd *crowd = timer->data;
    if (relay_n_execs(crowd->rig.relay) == 0)
        return;
    ev_timer_stop(loop, timer);
    for (size_t i = 0; i < N_MEMBERS; i++)
        cr_assert(gavel_cancel(crowd->rig.client, crowd->members[i].ticket));
}

static void close_client(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)events;
    doubt_crowd *crowd = timer->data;
    if (relay_n_execs(crowd->rig.relay) == 0)
        return;
    ev_timer_stop(loop, timer);
    gavel_close(crowd->rig.client);
    crowd->rig.client = NULL;
}

/* Looks every millisecond whether EXEC has left, and then intervenes. */
static void run_interrupted(doubt_crowd *crowd, doubt_plan *plan,
    void (*intervene)(struct ev_loop *loop, struct ev_timer *timer, int events))
{
    begin(crowd, plan, (gavel_config){.command_timeout_ms = 1000});
    ev_timer timer;
    ev_timer_init(&timer, intervene, 0.001, 0.001);
    timer.data = crowd;
    ev_timer_start(crowd->loop, &timer);
    submit_all(crowd, doubt_plain);
    ev_run(crowd->loop, 0);
}

/* What is on its way is seen through: not made, then taken back for certain. */
Test(doubt_members, taken_back_in_doubt)
{
    doubt_crowd crowd = {.loop = NULL};
    doubt_plan plan = {.action = RELAY_STALL};
    run_interrupted(&crowd, &plan, take_back);
    assert_told(&crowd, GAVEL_CANCELLED, false);
    cr_assert_eq(relay_deliver(crowd.rig.relay), 1);
    cr_assert_eq(counter_value(crowd.rig.server), 0);
    end(&crowd);
}

/* Taking back does not undo: what was made is told as made. */
Test(doubt_members, taken_back_too_late)
{
    doubt_crowd crowd = {.loop = NULL};
    doubt_plan plan = {.action = RELAY_STALL, .before = "PEXPIRE"};
    run_interrupted(&crowd, &plan, take_back);
    assert_told(&crowd, GAVEL_COMMITTED, true);
    cr_assert_eq(counter_value(crowd.rig.server), N_MEMBERS);
    end(&crowd);
}

Test(doubt_members, closed_in_doubt)
{
    doubt_crowd crowd = {.loop = NULL};
    doubt_plan plan = {.action = RELAY_STALL};
    run_interrupted(&crowd, &plan, close_client);
    assert_told(&crowd, GAVEL_UNKNOWN, false);
    cr_assert_eq(relay_deliver(crowd.rig.relay), 1);
    cr_assert_eq(counter_value(crowd.rig.server), N_MEMBERS);
    end(&crowd);
}

/* ---- Gates --------------------------------------------------------------------------------- */

static bool wants_loss; /* of the next reply to an EXEC */

static relay_action lose_once(test_relay *relay, const relay_command *command, void *user)
{
    (void)relay;
    (void)user;
    if (!wants_loss || !relay_is_exec(command))
        return RELAY_PASS;
    wants_loss = false;
    return RELAY_LOSE_REPLY;
}

/* There is another link, but it is for those who pass through gates. */
Test(doubt_members, one_is_settled_though_all_links_are_for_gates)
{
    test_server *server = server_start(NULL);
    test_relay *relay = relay_start(server, lose_once, NULL, NULL);
    attached_rig rig = {.loop = ev_loop_new(EVFLAG_AUTO), .live = {.server = server}};
    rig.live.client =
        live_open(relay_url(relay), &(gavel_config){.loop = rig.loop, .mode = GAVEL_GATED});
    attached_job jobs[3] = {{.n_done = 0}};
    attached_submit(&rig, &jobs[0], "a");
    attached_submit(&rig, &jobs[1], "b");
    ev_run(rig.loop, 0);
    wants_loss = true;
    attached_submit(&rig, &jobs[2], "a");
    ev_run(rig.loop, 0);
    for (size_t i = 0; i < 3; i++)
        attached_expect_ended(&jobs[i], GAVEL_COMMITTED);
    cr_expect(jobs[2].outcome.is_from_marker);
    gavel_close(rig.live.client);
    ev_loop_destroy(rig.loop);
    relay_stop(relay);
    server_stop(server);
}
