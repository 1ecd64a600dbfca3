/* The locks' state machine, step by step: the test plays the server, the network and the clock. */
#include "lock_stage.h"

static const int64_t lease_us = (int64_t)STAGE_LEASE_MS * 1000;

Test(lock_steps, a_grant_counts_from_before_it_was_asked_for)
{
    lock_stage stage;
    stage_begin(&stage, MEMORY_ENOUGH);
    gavel_lock *lock = stage_acquire(&stage, (gavel_lock_request){.wait_ms = 5000});
    stage_up(&stage, 0);
    int64_t sent_us = stage.now_us;
    stage_pass(&stage, 400000);
    stage_reply_int(&stage, 0, 1);
    stage_grant(&stage, "77");
    EXPECT_TOLD(stage, 1, HELD);
    cr_expect_eq(stage.told.lock, lock);
    cr_expect_eq(stage.told.fence, 77);
    cr_expect_lt(lock->good_until_us, sent_us + lease_us);
    cr_expect_gt(lock->good_until_us, sent_us + lease_us - 20000);
    stage_end(&stage);
}

Test(lock_steps, a_lost_answer_is_asked_for_again_with_the_same_owner)
{
    lock_stage stage;
    stage_begin(&stage, MEMORY_ENOUGH);
    gavel_lock *lock = stage_acquire(&stage, (gavel_lock_request){.wait_ms = 5000});
    stage_up(&stage, 0);
    char owner[GAVEL__LOCK_OWNER_SIZE + 1] = "";
    memcpy(owner, lock->owner, GAVEL__LOCK_OWNER_SIZE);
    cr_expect(stage_wrote(&stage, 0, owner));
    for (int i = 0; i < 3; i++) {
        stage_down(&stage, 0, true);
        cr_expect_eq(stage.n_told, 0);
        stage_pass(&stage, 100000);
        stage_up(&stage, 0);
        cr_expect(stage_wrote(&stage, 0, owner));
    }
    stage_reply_int(&stage, 0, 0);
    stage_grant(&stage, "77");
    EXPECT_TOLD(stage, 1, HELD);
    stage_end(&stage);
}

Test(lock_steps, an_answer_that_never_comes_is_unknown_and_released)
{
    lock_stage stage;
    stage_begin(&stage, MEMORY_ENOUGH);
    stage_acquire(&stage, (gavel_lock_request){.wait_ms = 1000});
    stage_up(&stage, 0);
    stage_pass(&stage, 1500000);
    cr_expect_eq(stage.n_told, 0, "the answer under way decides");
    stage_down(&stage, 0, true);
    EXPECT_TOLD(stage, 1, UNKNOWN);
    cr_expect_eq(stage.locks.n_locks, 1, "it has to be released");
    stage_pass(&stage, 100000);
    stage_up(&stage, 0);
    cr_expect(stage_wrote(&stage, 0, "RPUSH"));
    stage_reply_int(&stage, 0, 1);
    cr_expect_eq(stage.locks.n_locks, 0);
    cr_expect_eq(stage.n_told, 1);
    stage_end(&stage);
}

/* ---- Answers that are late ----------------------------------------------------------------- */

/* An acquire that has been given up while its answer is under way on a lane that is stalled; the
 * release is under way on the other one. */
static void abandon(lock_stage *stage)
{
    stage_acquire(stage, (gavel_lock_request){.wait_ms = 500});
    stage_up(stage, 0);
    stage_stall(stage);
    stage_pass(stage, 500000);
    stage_pass(stage, STAGE_ANSWER_US - 1);
    cr_expect_eq(stage->n_told, 0, "the answer under way decides");
    stage_pass(stage, 1);
    EXPECT_TOLD(*stage, 1, UNKNOWN);
    cr_expect(stage_wrote(stage, 1, "RPUSH"));
    gavel__buffer_clear(&stage->out[0]);
}

Test(lock_steps, an_answer_is_not_waited_for_without_end)
{
    lock_stage stage;
    stage_begin(&stage, MEMORY_ENOUGH);
    abandon(&stage);
    stage_reply_int(&stage, 0, 0);
    stage_refuse(&stage);
    stage_reply_int(&stage, 1, 0);
    cr_expect_eq(stage.locks.n_locks, 0);
    cr_expect_eq(stage.locks.lines.n_nodes, 0);
    cr_expect_eq(stage.n_told, 1);
    stage_end(&stage);
}

Test(lock_steps, a_grant_that_comes_too_late_is_released)
{
    lock_stage stage;
    for (int i = 0; i < 3; i++) {
        stage_begin(&stage, MEMORY_ENOUGH);
        abandon(&stage);
        if (i == 0) /* the release was before the grant: it found nothing */
            stage_reply_int(&stage, 1, 0);
        cr_expect_eq(stage.locks.n_locks, 1);
        if (i < 2) {
            stage_reply_int(&stage, 0, 1);
            stage_grant(&stage, "77");
        } else {
            stage_down(&stage, 0, true);
        }
        if (i > 0)
            stage_reply_int(&stage, 1, 0);
        size_t lane = i < 2 ? 0 : 1;
        cr_expect(stage_wrote(&stage, lane, "RPUSH"), "case %d", i);
        stage_reply_int(&stage, lane, 1);
        cr_expect_eq(stage.locks.n_locks, 0);
        stage_end(&stage);
    }
}

Test(lock_steps, the_next_one_does_not_wait_behind_a_late_answer)
{
    lock_stage stage;
    stage_begin(&stage, MEMORY_ENOUGH);
    abandon(&stage);
    stage_acquire(&stage, (gavel_lock_request){.wait_ms = 500});
    cr_expect(stage_wrote(&stage, 1, "EXISTS"));
    stage_end(&stage);
}

Test(lock_steps, one_taken_back_waits_for_its_answer_as_long)
{
    lock_stage stage;
    stage_begin(&stage, MEMORY_ENOUGH);
    stage_acquire(&stage, (gavel_lock_request){.wait_ms = 60000});
    stage_up(&stage, 0);
    cr_expect(gavel__locks_cancel(&stage.locks, stage.locks.n_tickets, stage.now_us));
    stage_pass(&stage, STAGE_ANSWER_US - 1);
    cr_expect_eq(stage.n_told, 0);
    stage_pass(&stage, 1);
    EXPECT_TOLD(stage, 1, CANCELLED);
    cr_expect_eq(stage.locks.n_locks, 1, "it has to be released");
    stage_end(&stage);
}

Test(lock_steps, a_renewal_whose_answer_is_late_is_made_elsewhere)
{
    lock_stage stage;
    stage_begin(&stage, MEMORY_ENOUGH);
    gavel_lock *lock = stage_hold(&stage);
    stage_pass(&stage, lease_us / 3);
    stage_stall(&stage);
    stage_pass(&stage, lease_us / 3 - 10000);
    cr_expect_eq(stage.out[1].size, 0);
    stage_pass(&stage, 10000); /* half of what was left */
    cr_expect(stage_wrote(&stage, 1, "PEXPIRE"));
    stage_reply_int(&stage, 1, 1);
    int64_t good_until_us = lock->good_until_us;
    cr_expect_gt(good_until_us, stage.now_us + lease_us - 20000);
    stage_reply_int(&stage, 0, 1); /* and the late one */
    cr_expect_eq(lock->good_until_us, good_until_us);
    stage_pass(&stage, lease_us / 3);
    stage_release(&stage, lock);
    stage_end(&stage);
}

Test(lock_steps, while_a_grant_may_come_no_lease_is_over)
{
    lock_stage stage;
    stage_begin(&stage, MEMORY_ENOUGH);
    stage_acquire(&stage, (gavel_lock_request){.wait_ms = 500});
    stage_up(&stage, 0);
    stage_pass(&stage, 500000 + STAGE_ANSWER_US);
    stage_pass(&stage, STAGE_ANSWER_US);
    EXPECT_TOLD(stage, 1, UNKNOWN);
    for (int i = 0; i < 5; i++)
        stage_pass(&stage, lease_us + STAGE_TIMEOUT_US);
    cr_expect_eq(stage.locks.n_locks, 1);
    stage_down(&stage, 0, true);
    for (int i = 0; i < 2; i++)
        stage_pass(&stage, lease_us + STAGE_TIMEOUT_US);
    cr_expect_eq(stage.locks.n_locks, 0);
    stage_end(&stage);
}

Test(lock_steps, what_cannot_be_released_is_forgotten_when_no_lease_can_be_left)
{
    lock_stage stage;
    stage_begin(&stage, MEMORY_ENOUGH);
    stage_acquire(&stage, (gavel_lock_request){.wait_ms = 1000});
    stage_up(&stage, 0);
    stage_pass(&stage, 1500000);
    stage_down(&stage, 0, true);
    EXPECT_TOLD(stage, 1, UNKNOWN);
    for (int i = 0; i < 2; i++)
        stage_pass(&stage, lease_us + STAGE_TIMEOUT_US);
    cr_expect_eq(stage.locks.n_locks, 0);
    stage_end(&stage);
}

Test(lock_steps, what_was_never_sent_is_not_sent)
{
    lock_stage stage;
    stage_begin(&stage, MEMORY_ENOUGH);
    stage_acquire(&stage, (gavel_lock_request){.wait_ms = 1000});
    stage_pass(&stage, 1000000);
    cr_expect_str_eq(stage.told.message, "no connection in time");
    stage_acquire(&stage, (gavel_lock_request){.wait_ms = 1000});
    stage_up(&stage, 0);
    stage_down(&stage, 0, false);
    stage_pass(&stage, 1000000);
    EXPECT_TOLD(stage, 2, NOT_SENT);
    cr_expect_eq(stage.locks.n_locks, 0);
    stage_end(&stage);
}

Test(lock_steps, a_try_is_over_when_there_is_no_connection)
{
    lock_stage stage;
    stage_begin(&stage, MEMORY_ENOUGH);
    stage_acquire(&stage, (gavel_lock_request){.is_try = true});
    stage_down(&stage, 0, false);
    EXPECT_TOLD(stage, 1, NOT_SENT);
    stage_end(&stage);
}

/* ---- Holding ------------------------------------------------------------------------------- */

Test(lock_steps, renews_at_a_third_and_not_after_the_release)
{
    lock_stage stage;
    stage_begin(&stage, MEMORY_ENOUGH);
    gavel_lock *lock = stage_hold(&stage);
    gavel__buffer_clear(&stage.out[0]);
    for (int i = 0; i < 5; i++) {
        stage_pass(&stage, lease_us / 3 - 1);
        cr_expect_eq(stage.out[0].size, 0);
        stage_pass(&stage, 1);
        cr_expect(stage_wrote(&stage, 0, "PEXPIRE"));
        stage_reply_int(&stage, 0, 1);
    }
    stage_release(&stage, lock);
    cr_expect(stage_wrote(&stage, 0, "RPUSH"));
    stage_reply_int(&stage, 0, 1);
    EXPECT_TOLD(stage, 2, RELEASED);
    stage_pass(&stage, lease_us);
    cr_expect_eq(stage.out[0].size, 0);
    cr_expect_eq(stage.locks.n_locks, 0);
    cr_expect_eq(gavel__locks_due_us(&stage.locks), GAVEL__NEVER);
    stage_end(&stage);
}

Test(lock_steps, a_renewal_answered_too_late_is_a_loss)
{
    lock_stage stage;
    stage_begin(&stage, MEMORY_ENOUGH);
    gavel_lock *lock = stage_hold(&stage);
    stage_pass(&stage, lease_us / 3);
    stage.now_us += lease_us; /* stopped: the answer is the first thing it sees */
    stage_reply_int(&stage, 0, 1);
    cr_expect_eq(stage.n_lost, 1);
    cr_expect_eq(lock->reason, GAVEL_LOCK_EXPIRED);
    stage_release(&stage, lock);
    EXPECT_TOLD(stage, 2, LOST);
    stage_end(&stage);
}

Test(lock_steps, expires_at_its_moment_without_any_answer)
{
    lock_stage stage;
    stage_begin(&stage, MEMORY_ENOUGH);
    gavel_lock *lock = stage_hold(&stage);
    stage_pass(&stage, lease_us / 3);
    stage_down(&stage, 0, true);
    stage_pass(&stage, lock->good_until_us - stage.now_us - 1);
    cr_expect_eq(stage.n_lost, 0);
    stage_pass(&stage, 1);
    cr_expect_eq(stage.n_lost, 1);
    stage_end(&stage);
}

Test(lock_steps, a_release_whose_answer_is_lost_is_made_again)
{
    lock_stage stage;
    stage_begin(&stage, MEMORY_ENOUGH);
    gavel_lock *lock = stage_hold(&stage);
    stage_release(&stage, lock);
    stage_down(&stage, 0, true);
    cr_expect_eq(stage.n_told, 1);
    stage_pass(&stage, 1);
    stage_up(&stage, 0);
    stage_reply_text(&stage, 0, GAVEL_REPLY_STRING, "somebody else's record, by now");
    EXPECT_TOLD(stage, 2, UNKNOWN);
    cr_expect_eq(stage.locks.n_locks, 0);
    stage_end(&stage);
}

Test(lock_steps, a_release_leaves_behind_the_renewal_before_it)
{
    lock_stage stage;
    stage_begin(&stage, MEMORY_ENOUGH);
    gavel_lock *lock = stage_hold(&stage);
    stage_pass(&stage, lease_us / 3);
    stage_release(&stage, lock);
    cr_expect(stage_wrote_both(&stage, 0, "PEXPIRE", "RPUSH"));
    stage_reply_int(&stage, 0, 1);
    stage_reply_int(&stage, 0, 1);
    EXPECT_TOLD(stage, 2, RELEASED);
    cr_expect_eq(stage.locks.n_locks, 0);
    stage_end(&stage);
}

/* ---- Guarded commands ---------------------------------------------------------------------- */

static void begin_do(lock_stage *stage, gavel_lock *lock)
{
    gavel_lock_command command = {
        .command = GAVEL_COMMAND(GAVEL_STR("SET"), GAVEL_STR("k"), GAVEL_STR("v")),
        .deadline_ms = 1000};
    gavel__lock_caller caller = {.done = stage_on_done, .user = stage};
    cr_assert_not_null(gavel__locks_do(lock, &command, &caller, stage->now_us));
    stage_settle(stage);
}

static void reply_done(lock_stage *stage)
{
    const gavel_reply parts[] = {{.type = GAVEL_REPLY_INTEGER, .integer = 1},
        {.type = GAVEL_REPLY_STATUS, .text = GAVEL_STR("OK")}};
    stage_reply(
        stage, 0, &(gavel_reply){.type = GAVEL_REPLY_ARRAY, .elements = parts, .n_elements = 2});
}

Test(lock_steps, a_command_whose_answer_is_lost_is_not_sent_twice)
{
    lock_stage stage;
    stage_begin(&stage, MEMORY_ENOUGH);
    gavel_lock *lock = stage_hold(&stage);
    begin_do(&stage, lock);
    stage_down(&stage, 0, true);
    EXPECT_TOLD(stage, 2, UNKNOWN);
    stage_end(&stage);
}

Test(lock_steps, a_command_that_did_not_leave_is_sent_on_the_next_link)
{
    lock_stage stage;
    stage_begin(&stage, MEMORY_ENOUGH);
    gavel_lock *lock = stage_hold(&stage);
    begin_do(&stage, lock);
    stage_down(&stage, 0, false);
    cr_expect_eq(stage.n_told, 1);
    stage_up(&stage, 0);
    reply_done(&stage);
    EXPECT_TOLD(stage, 2, HELD);
    stage_end(&stage);
}

/* A script reaches one slot; the name of the lock says which. */
Test(lock_steps, in_a_cluster_a_command_has_keys_in_the_slot_of_the_lock)
{
    lock_stage stage;
    stage_begin(&stage, MEMORY_ENOUGH);
    stage.locks.config.is_cluster = true;
    gavel_lock *lock = stage_hold(&stage);
    begin_do(&stage, lock);
    EXPECT_TOLD(stage, 2, INVALID);
    stage_end(&stage);
}

Test(lock_steps, a_command_is_refused_when_the_lease_is_over)
{
    lock_stage stage;
    stage_begin(&stage, MEMORY_ENOUGH);
    gavel_lock *lock = stage_hold(&stage);
    stage.now_us += lease_us;
    gavel__buffer_clear(&stage.out[0]);
    begin_do(&stage, lock);
    EXPECT_TOLD(stage, 2, LOST);
    cr_expect_not(stage_wrote(&stage, 0, "SET\r\n$1\r\nk"));
    cr_expect_eq(stage.n_lost, 1);
    stage_end(&stage);
}

Test(lock_steps, a_late_answer_to_a_command_is_dropped)
{
    lock_stage stage;
    stage_begin(&stage, MEMORY_ENOUGH);
    gavel_lock *lock = stage_hold(&stage);
    begin_do(&stage, lock);
    stage_pass(&stage, 1000000);
    EXPECT_TOLD(stage, 2, UNKNOWN);
    stage_reply_int(&stage, 0, 0);
    cr_expect_eq(stage.n_told, 2);
    cr_expect_eq(stage.n_lost, 1, "but it tells of the loss");
    stage_end(&stage);
}

/* ---- Order --------------------------------------------------------------------------------- */

Test(lock_steps, a_release_leaves_behind_what_was_begun_before_it)
{
    lock_stage stage;
    stage_begin(&stage, MEMORY_ENOUGH);
    gavel_lock *lock = stage_hold(&stage);
    gavel__buffer_clear(&stage.out[0]);
    begin_do(&stage, lock);
    stage_release(&stage, lock);
    cr_expect(stage_wrote_both(&stage, 0, "pcall", "RPUSH"));
    reply_done(&stage);
    EXPECT_TOLD(stage, 2, HELD);
    stage_reply_int(&stage, 0, 1);
    EXPECT_TOLD(stage, 3, RELEASED);
    stage_end(&stage);
}

Test(lock_steps, what_did_not_leave_keeps_its_place_on_the_next_link)
{
    lock_stage stage;
    stage_begin(&stage, MEMORY_ENOUGH);
    gavel_lock *lock = stage_hold(&stage);
    begin_do(&stage, lock);
    stage_release(&stage, lock);
    stage_down(&stage, 0, false);
    stage_up(&stage, 0);
    cr_expect(stage_wrote_both(&stage, 0, "pcall", "RPUSH"));
    reply_done(&stage);
    EXPECT_TOLD(stage, 2, HELD);
    stage_end(&stage);
}

Test(lock_steps, what_did_not_leave_goes_before_what_was_asked_since)
{
    lock_stage stage;
    stage_begin(&stage, MEMORY_ENOUGH);
    gavel_lock *lock = stage_hold(&stage);
    begin_do(&stage, lock);
    gavel__lane_condemn(&stage.lane[0], "by the test");
    stage_release(&stage, lock); /* pending: its strand is not lost yet */
    stage_down(&stage, 0, false);
    stage_up(&stage, 0);
    cr_expect(stage_wrote_both(&stage, 0, "pcall", "RPUSH"));
    stage_end(&stage);
}

Test(lock_steps, a_lease_made_shorter_is_renewed_at_a_third_of_it)
{
    lock_stage stage;
    stage_begin(&stage, MEMORY_ENOUGH);
    gavel_lock *lock = stage_hold(&stage);
    gavel__lock_caller caller = {.done = stage_on_done, .user = &stage};
    gavel__locks_extend(lock, 600, &caller, stage.now_us);
    stage_settle(&stage);
    stage_reply_int(&stage, 0, 1);
    gavel__buffer_clear(&stage.out[0]);
    stage_pass(&stage, 200000);
    cr_expect(stage_wrote(&stage, 0, "PEXPIRE"));
    stage_end(&stage);
}

/* Each is on its way when the one before it is not answered, and no more is counted on than what
 * the least of them asks for. */
Test(lock_steps, leases_on_their_way_count_as_the_shortest_of_them)
{
    lock_stage stage;
    stage_begin(&stage, MEMORY_ENOUGH);
    gavel_lock *lock = stage_hold(&stage);
    static const uint32_t leases_ms[] = {20000, 2000, 30000};
    for (size_t i = 0; i < 3; i++) {
        gavel__lock_caller caller = {.done = stage_on_done, .user = &stage};
        gavel__locks_extend(lock, leases_ms[i], &caller, stage.now_us);
        stage_settle(&stage);
    }
    for (size_t i = 0; i < 3; i++) {
        cr_expect_leq(lock->good_until_us, stage.now_us + 2000000);
        stage_reply_int(&stage, 0, 1);
    }
    cr_expect_gt(lock->good_until_us, stage.now_us + 29000000);
    stage_end(&stage);
}

Test(lock_steps, whoever_comes_next_here_finds_the_lock_released)
{
    lock_stage stage;
    stage_begin(&stage, MEMORY_ENOUGH);
    stage_release(&stage, stage_hold(&stage));
    stage_acquire(&stage, (gavel_lock_request){.is_try = true});
    cr_expect(stage_wrote_both(&stage, 0, "RPUSH", "EXISTS"));
    stage_reply_int(&stage, 0, 1);
    EXPECT_TOLD(stage, 2, RELEASED);
    stage_end(&stage);
}

Test(lock_steps, a_renewal_waits_for_no_answer)
{
    lock_stage stage;
    stage_begin(&stage, MEMORY_ENOUGH);
    gavel_lock *lock = stage_hold(&stage);
    for (int i = 0; i < 3; i++)
        begin_do(&stage, lock);
    stage.now_us += lease_us / 3;
    gavel__buffer_clear(&stage.out[0]);
    stage_settle(&stage);
    cr_expect(stage_wrote(&stage, 0, "PEXPIRE"));
    stage_end(&stage);
}

Test(lock_steps, at_the_client_s_end_a_release_waits_for_nothing)
{
    lock_stage stage;
    stage_begin(&stage, MEMORY_ENOUGH);
    begin_do(&stage, stage_hold(&stage));
    gavel__buffer_clear(&stage.out[0]);
    gavel__locks_close(&stage.locks, true, stage.now_us);
    stage_settle(&stage);
    cr_expect(stage_wrote(&stage, 0, "RPUSH"));
    stage_end(&stage);
}

/* It may be with another node than the one that has the slot now. */
Test(lock_steps, closing_in_a_cluster_does_not_say_that_a_release_was_not_sent)
{
    lock_stage stage;
    stage_begin(&stage, MEMORY_ENOUGH);
    stage.locks.config.is_cluster = true;
    gavel_lock *lock = stage_hold(&stage);
    memcpy(stage.node.trouble, "refused", sizeof("refused"));
    stage_release(&stage, lock);
    gavel__locks_close(&stage.locks, true, stage.now_us);
    stage_settle(&stage);
    EXPECT_TOLD(stage, 2, UNKNOWN);
    stage_end(&stage);
}

Test(lock_steps, where_no_link_will_do_all_who_wait_are_told)
{
    lock_stage stage;
    stage_begin(&stage, MEMORY_ENOUGH);
    for (int i = 0; i < 3; i++)
        stage_acquire(&stage, (gavel_lock_request){.wait_ms = 5000});
    stage_lose(&stage, 0,
        &(gavel__loss){.is_final = true, .is_refused = true, .message = "WRONGPASS of the test"});
    EXPECT_TOLD(stage, 3, REJECTED);
    cr_expect_eq(stage.locks.n_locks, 0);
    stage_end(&stage);
}

Test(lock_steps, whoever_holds_a_lock_goes_on_where_no_link_will_do)
{
    lock_stage stage;
    stage_begin(&stage, MEMORY_ENOUGH);
    stage_hold(&stage);
    stage_down(&stage, 0, true);
    stage_pass(&stage, lease_us / 3);
    stage_lose(&stage, 0, &(gavel__loss){.is_final = true, .message = "for good"});
    stage_settle(&stage);
    cr_expect_eq(stage.n_lost, 0);
    stage_up(&stage, 0);
    cr_expect(stage_wrote(&stage, 0, "PEXPIRE"));
    stage_end(&stage);
}

/* ---- Memory -------------------------------------------------------------------------------- */

Test(lock_steps, every_allocation_may_fail)
{
    bool is_done = false;
    for (size_t n = 0; !is_done; n++) {
        lock_stage stage;
        stage_begin(&stage, n);
        gavel_lock *lock = stage_acquire(&stage, (gavel_lock_request){.wait_ms = 1000});
        if (lock != NULL && stage.n_told == 0) {
            stage_up(&stage, 0);
            stage_reply_int(&stage, 0, 1);
            stage_grant(&stage, "77");
            EXPECT_TOLD(stage, 1, HELD);
            gavel__lock_caller caller = {.done = stage_on_done, .user = &stage};
            is_done = gavel__locks_extend(lock, 0, &caller, stage.now_us) != NULL;
            stage_release(&stage, lock);
        } else if (lock != NULL) {
            EXPECT_TOLD(stage, 1, NOT_SENT);
        }
        stage_end(&stage);
    }
}
