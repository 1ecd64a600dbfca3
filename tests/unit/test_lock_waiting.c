/* The locks' state machine while somebody waits; the test plays the server and the network. */
#include "lock_stage.h"

/* Refused, and in the queue. */
static gavel_lock *wait_in_queue(lock_stage *stage, uint32_t wait_ms)
{
    gavel_lock *lock = stage_acquire(stage, (gavel_lock_request){.wait_ms = wait_ms});
    if (stage->lane[0].state != GAVEL__LANE_UP)
        stage_up(stage, 0);
    stage_reply_int(stage, 0, 0);
    stage_refuse(stage);
    if (stage->lane[1].state != GAVEL__LANE_UP)
        stage_up(stage, 1);
    cr_expect(stage_wrote(stage, 1, "BLPOP"));
    stage_reply_text(stage, 1, GAVEL_REPLY_STATUS, "OK");
    gavel__buffer_clear(&stage->out[0]);
    return lock;
}

Test(lock_waiting, a_waiter_is_silent_until_it_is_handed_the_lock)
{
    lock_stage stage;
    stage_begin(&stage, MEMORY_ENOUGH);
    gavel_lock *lock = wait_in_queue(&stage, 60000);
    stage_pass(&stage, 1000000);
    cr_expect_eq(stage.out[0].size, 0);
    stage_hand_off(&stage, 1, "some-turn");
    cr_expect(stage_wrote(&stage, 0, "some-turn"));
    stage_grant(&stage, "78");
    EXPECT_TOLD(stage, 1, HELD);
    cr_expect(gavel__list_is_empty(&lock->line->waiting));
    stage_release(&stage, lock);
    stage_reply_int(&stage, 0, 1);
    EXPECT_TOLD(stage, 2, RELEASED);
    cr_expect_eq(stage.locks.lines.n_nodes, 0);
    stage_end(&stage);
}

Test(lock_waiting, given_up_at_the_moment_of_the_hand_off_it_goes_to_the_next)
{
    lock_stage stage;
    stage_begin(&stage, MEMORY_ENOUGH);
    wait_in_queue(&stage, 1000);
    stage_hand_off(&stage, 1, "some-turn");
    stage_down(&stage, 1, true);
    stage_down(&stage, 0, false); /* the taking never left */
    stage_pass(&stage, 2000000);
    cr_expect_eq(stage.told.status, GAVEL_LOCK_BUSY);
    stage_up(&stage, 0);
    cr_expect(stage_wrote(&stage, 0, "some-turn"), "it hands it off");
    stage_reply_int(&stage, 0, 1);
    cr_expect_eq(stage.locks.lines.n_nodes, 0);
    stage_end(&stage);
}

Test(lock_waiting, at_the_deadline_the_waiting_link_is_closed)
{
    lock_stage stage;
    stage_begin(&stage, MEMORY_ENOUGH);
    wait_in_queue(&stage, 2000);
    stage_pass(&stage, 1999999);
    cr_expect_eq(stage.n_told, 0);
    stage_pass(&stage, 1);
    EXPECT_TOLD(stage, 1, BUSY);
    cr_expect(stage.lane[1].is_condemned);
    stage_down(&stage, 1, true);
    cr_expect_not(stage.lane[1].is_condemned);
    stage_end(&stage);
}

Test(lock_waiting, the_next_in_line_waits_as_soon_as_the_first_is_granted)
{
    lock_stage stage;
    stage_begin(&stage, MEMORY_ENOUGH);
    wait_in_queue(&stage, 60000);
    stage_acquire(&stage, (gavel_lock_request){.wait_ms = 60000});
    cr_expect_eq(stage.out[0].size, 0, "only the first deals with the server");
    stage_hand_off(&stage, 1, "some-turn");
    stage_grant(&stage, "78");
    EXPECT_TOLD(stage, 1, HELD);
    cr_expect(stage_wrote(&stage, 1, "BLPOP"));
    stage_end(&stage);
}

Test(lock_waiting, a_waiter_asks_again_in_case_the_holder_has_died)
{
    lock_stage stage;
    stage_begin(&stage, MEMORY_ENOUGH);
    wait_in_queue(&stage, 60000);
    stage_pass(&stage, 4000000);
    cr_expect(stage_wrote(&stage, 0, "EXISTS"));
    stage_reply_int(&stage, 0, 1);
    stage_grant(&stage, "79"); /* nobody stood in the queue: our own lane has died unnoticed */
    EXPECT_TOLD(stage, 1, HELD);
    cr_expect(stage.lane[1].is_condemned);
    stage_end(&stage);
}

/* Else each of them would come to the lock by probing only, behind all others. */
Test(lock_waiting, a_link_that_a_turn_does_not_reach_is_not_waited_on_by_the_next)
{
    lock_stage stage;
    stage_begin(&stage, MEMORY_ENOUGH);
    wait_in_queue(&stage, 60000);
    stage_acquire(&stage, (gavel_lock_request){.wait_ms = 60000});
    stage_pass(&stage, 4000000);
    stage_reply_int(&stage, 0, 1);
    stage_grant(&stage, "79");
    EXPECT_TOLD(stage, 1, HELD);
    cr_assert(stage.lane[1].is_condemned);
    cr_expect_not(stage.lane[1].is_retired, "it is a fault");
    gavel__buffer_clear(&stage.out[0]);
    stage_down(&stage, 1, true);
    cr_expect(stage_wrote(&stage, 0, "EXISTS"), "what was handed off meanwhile is looked for");
    stage_reply_int(&stage, 0, 0);
    stage_refuse(&stage);
    stage_up(&stage, 1);
    cr_expect(stage_wrote(&stage, 1, "BLPOP"));
    stage_end(&stage);
}

Test(lock_waiting, an_error_that_may_pass_is_waited_out)
{
    lock_stage stage;
    stage_begin(&stage, MEMORY_ENOUGH);
    stage_acquire(&stage, (gavel_lock_request){.wait_ms = 5000});
    stage_up(&stage, 0);
    stage_reply_text(&stage, 0, GAVEL_REPLY_ERROR, "LOADING not yet");
    stage_reply_text(&stage, 0, GAVEL_REPLY_ERROR, "LOADING not yet");
    cr_expect_eq(stage.n_told, 0);
    gavel__buffer_clear(&stage.out[0]);
    stage_pass(&stage, 60000);
    cr_expect(stage_wrote(&stage, 0, "EXISTS"));
    stage_reply_text(&stage, 0, GAVEL_REPLY_ERROR, "OOM no memory");
    stage_reply(&stage, 0,
        &(gavel_reply){.type = GAVEL_REPLY_ARRAY,
            .elements = (const gavel_reply[]){{.type = GAVEL_REPLY_INTEGER},
                {.type = GAVEL_REPLY_INTEGER, .integer = -2}, {.type = GAVEL_REPLY_NIL}},
            .n_elements = 3});
    EXPECT_TOLD(stage, 1, REJECTED);
    stage_end(&stage);
}

Test(lock_waiting, a_refused_offer_is_forgotten_with_its_link)
{
    lock_stage stage;
    stage_begin(&stage, MEMORY_ENOUGH);
    stage_acquire(&stage, (gavel_lock_request){.is_try = true});
    stage_up(&stage, 0);
    stage_reply_text(&stage, 0, GAVEL_REPLY_ERROR, "READONLY it is a replica");
    stage_down(&stage, 0, true);
    stage_up(&stage, 0);
    stage_reply_int(&stage, 0, 0);
    stage_refuse(&stage);
    EXPECT_TOLD(stage, 1, BUSY);
    stage_end(&stage);
}
