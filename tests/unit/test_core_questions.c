/*
 * Questions: commands outside of rounds, on whatever link is up. The test asks, and is the server
 * that answers, or does not.
 */
#include "asker.h"
#include "gate_stage.h"

#include <criterion/criterion.h>
#include <string.h>

static const stage_config one_lane = {.n_lanes = 1, .has_no_prefetch = true};
static const stage_config two_lanes = {.n_lanes = 2, .has_no_prefetch = true};

/* An actor whose EXEC is under way on lane 0. */
static void begin_commit(stage *s, actor *a)
{
    *a = (actor){.reads = "a", .plays = "ADD a 1"};
    enter(s, a);
    link_up(s, 0);
    hears(s, 0, "WATCH a / GET a");
    says(s, 0, "OK, nil");
    hears(s, 0, "MULTI / SET a 1 / EXEC");
}

Test(core_questions, a_lane_is_dialled_for_a_question)
{
    stage s;
    stage_open(&s, &one_lane);
    asker q = asker_init("GET x / GET y");
    asks(&s, &q);
    link_up(&s, 0);
    cr_assert_eq(q.n_writes, 0);
    hears(&s, 0, "GET x / GET y");
    says(&s, 0, "\"1\"");
    cr_assert_eq(q.question.state, GAVEL__QUESTION_ASKED);
    says(&s, 0, "nil");
    cr_assert_str_eq(q.answers, "0:1 1:nil ");
    cr_assert_eq(q.question.state, GAVEL__QUESTION_IDLE);
    hears_nothing(&s, 0);
    stage_close(&s);
}

Test(core_questions, questions_are_asked_in_order_and_each_gets_its_own_replies)
{
    stage s;
    stage_open(&s, &one_lane);
    asker q = asker_init("GET x");
    asker r = asker_init("GET y / GET z");
    asks(&s, &q);
    asks(&s, &r);
    link_up(&s, 0);
    hears(&s, 0, "GET x / GET y / GET z");
    says(&s, 0, "\"1\", \"2\", \"3\"");
    cr_assert_str_eq(q.answers, "0:1 ");
    cr_assert_str_eq(r.answers, "0:2 1:3 ");
    stage_close(&s);
}

Test(core_questions, a_question_is_answered_behind_an_exec)
{
    stage s;
    stage_open(&s, &one_lane);
    actor a;
    begin_commit(&s, &a);
    asker q = asker_init("GET x");
    asks(&s, &q);
    hears(&s, 0, "GET x");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &a, GAVEL_COMMITTED);
    says(&s, 0, "\"1\"");
    cr_assert_str_eq(q.answers, "0:1 ");
    stage_close(&s);
}

Test(core_questions, a_question_under_way_keeps_no_round_waiting)
{
    stage s;
    stage_open(&s, &(stage_config){.has_markers = true, .has_no_prefetch = true});
    asker q = asker_init("GET x");
    asks(&s, &q);
    link_up(&s, 0);
    hears(&s, 0, "GET x");
    actor a = {.reads = "a", .plays = "ADD a 1"};
    enter(&s, &a);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a m0 / GET a");
    says(&s, 0, "\"5\", OK, OK, nil");
    cr_assert_str_eq(q.answers, "0:5 ");
    hears(&s, 0, "MULTI / SET a 1 / INCR m0 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n0+1]");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_questions, a_question_goes_where_least_is_awaited)
{
    stage s;
    stage_open(&s, &two_lanes);
    actor a = {.reads = "a", .plays = "ADD a 1"};
    actor b = {.reads = "b c d", .plays = "ADD b 1", .request = {.is_solo = true}};
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    link_up(&s, 1);
    hears(&s, 1, "WATCH b c d / GET b / GET c / GET d");
    asker q = asker_init("GET x");
    asks(&s, &q);
    hears(&s, 0, "GET x");
    hears_nothing(&s, 1);
    asker r = asker_init("GET y");
    asker t = asker_init("GET z");
    asks(&s, &r); /* three are awaited on lane 0, and four on lane 1 */
    hears(&s, 0, "GET y");
    says(&s, 1, "OK");
    asks(&s, &t); /* four, and three */
    hears_nothing(&s, 0);
    hears(&s, 1, "GET z");
    says(&s, 0, "OK, nil, \"1\"");
    cr_assert_str_eq(q.answers, "0:1 ");
    stage_close(&s);
}

/* It may be frozen, or sends something very large. */
Test(core_questions, a_lane_that_is_silent_for_long_is_asked_last)
{
    stage s;
    stage_open(&s, &two_lanes);
    actor a;
    begin_commit(&s, &a);
    advance(&s, GAVEL__QUESTION_SLOW_US + 1);
    asker q = asker_init("GET x");
    asks(&s, &q);
    hears_nothing(&s, 0);
    link_up(&s, 1);
    hears(&s, 1, "GET x");
    advance(&s, GAVEL__QUESTION_SLOW_US + 1);
    asker r =
        asker_init("GET y"); /* there is no other lane: one reply is awaited there, and three */
    asks(&s, &r);
    hears(&s, 1, "GET y");
    says(&s, 0, "OK");
    asker t = asker_init("GET z");
    asks(&s, &t);
    hears(&s, 0, "GET z");
    stage_close(&s);
}

Test(core_questions, a_question_may_be_asked_again_from_inside_its_last_reply)
{
    stage s;
    stage_open(&s, &one_lane);
    asker q = asker_init("GET x");
    q.n_times = 1;
    asks(&s, &q);
    link_up(&s, 0);
    hears(&s, 0, "GET x");
    says(&s, 0, "nil");
    cr_assert_eq(q.question.state, GAVEL__QUESTION_PENDING);
    hears(&s, 0, "GET x");
    says(&s, 0, "\"1\"");
    cr_assert_str_eq(q.answers, "0:nil 0:1 ");
    stage_close(&s);
}

Test(core_questions, a_question_that_has_nothing_to_ask_any_more_is_idle)
{
    stage s;
    stage_open(&s, &one_lane);
    asker q = asker_init("");
    asks(&s, &q);
    link_up(&s, 0);
    hears_nothing(&s, 0);
    cr_assert_eq(q.n_writes, 1);
    cr_assert_eq(q.question.state, GAVEL__QUESTION_IDLE);
    stage_close(&s);
}

Test(core_questions, a_pending_question_can_be_withdrawn_and_an_asked_one_cannot)
{
    stage s;
    stage_open(&s, &one_lane);
    asker q = asker_init("GET x");
    asks(&s, &q);
    cr_assert(gavel__question_withdraw(&q.question));
    cr_assert(gavel__question_withdraw(&q.question), "one that is IDLE already is withdrawn");
    link_up(&s, 0);
    hears_nothing(&s, 0);
    asks(&s, &q);
    hears(&s, 0, "GET x");
    cr_assert_not(gavel__question_withdraw(&q.question));
    says(&s, 0, "\"1\"");
    cr_assert_str_eq(q.answers, "0:1 ");
    stage_close(&s);
}

/* ---- In order ------------------------------------------------------------------------------ */

Test(core_questions, those_of_a_strand_follow_one_another_on_a_lane)
{
    stage s;
    stage_open(&s, &two_lanes);
    actor a;
    begin_commit(&s, &a);
    gavel__strand strand = {.last = NULL};
    asker q[] = {asker_init("GET q"), asker_init("GET r"), asker_init("GET t")};
    for (size_t i = 0; i < 3; i++)
        q[i].question.strand = &strand;
    asks(&s, &q[0]);
    hears(&s, 0, "GET q");
    actor b = {.reads = "b", .plays = "ADD b 1"};
    enter(&s, &b);
    link_up(&s, 1);
    hears(&s, 1, "WATCH b / GET b");
    says(&s, 1, "OK");
    asks(&s, &q[1]); /* four are awaited on lane 0, one on lane 1 */
    hears(&s, 0, "GET r");
    gavel__strand_cut(&strand);
    asks(&s, &q[2]);
    hears(&s, 1, "GET t");
    says(&s, 0, "OK, QUEUED, [OK], \"1\", \"2\"");
    cr_assert_eq(strand.last, &q[2].question);
    says(&s, 1, "nil, \"3\"");
    cr_assert_null(strand.last);
    stage_close(&s);
}

Test(core_questions, a_strand_waits_for_the_loss_of_a_lane_that_is_to_be_closed)
{
    stage s;
    stage_open(&s, &two_lanes);
    gavel__strand strand = {.last = NULL};
    asker q = asker_init("GET q");
    asker r = asker_init("GET r");
    asker other = asker_init("GET x");
    q.question.strand = &strand;
    r.question.strand = &strand;
    asks(&s, &q);
    link_up(&s, 0);
    hears(&s, 0, "GET q");
    gavel__lane_condemn(lane_of(&s, 0), "by the test");
    asks(&s, &r);
    asks(&s, &other);
    link_up(&s, 1);
    hears(&s, 1, "GET x");
    link_down(&s, 0);
    cr_assert_eq(q.n_losses, 1);
    hears(&s, 1, "GET r");
    stage_close(&s);
}

/* ---- Losing links -------------------------------------------------------------------------- */

Test(core_questions, the_loss_of_a_link_says_whether_a_question_was_sent)
{
    stage s;
    stage_open(&s, &one_lane);
    asker q = asker_init("GET x");
    asker r = asker_init("GET y");
    asks(&s, &q);
    link_up(&s, 0);
    hears(&s, 0, "GET x");
    asks(&s, &r);
    link_down_within(&s, 0, 1); /* of the second one only the first byte was sent */
    cr_assert_eq(q.n_losses, 1);
    cr_assert(q.was_sent);
    cr_assert_eq(r.n_losses, 1);
    cr_assert_not(r.was_sent);
    cr_assert_eq(q.question.state, GAVEL__QUESTION_IDLE);
    stage_close(&s);
}

Test(core_questions, a_lost_question_may_be_asked_again_at_once)
{
    stage s;
    stage_open(&s, &one_lane);
    asker q = asker_init("GET x / GET y");
    q.n_times = 1;
    asks(&s, &q);
    link_up(&s, 0);
    hears(&s, 0, "GET x / GET y");
    says(&s, 0, "\"1\"");
    link_down(&s, 0);
    cr_assert_eq(q.n_losses, 1);
    link_up(&s, 0);
    hears(&s, 0, "GET x / GET y");
    says(&s, 0, "\"1\", \"2\"");
    cr_assert_str_eq(q.answers, "0:1 0:1 1:2 ");
    stage_close(&s);
}

Test(core_questions, a_link_that_did_not_come_up_is_tried_again_and_its_trouble_is_known)
{
    stage s;
    stage_open(&s, &one_lane);
    asker q = asker_init("GET x");
    asks(&s, &q);
    link_refused(&s, 0, false, NULL);
    cr_assert_eq(q.n_losses, 0);
    cr_assert_str_eq(s.engine.nodes.only->trouble, "connection refused");
    advance(&s, 0);
    sleeps(&s);
    link_up(&s, 0);
    cr_assert_str_eq(s.engine.nodes.only->trouble, "");
    hears(&s, 0, "GET x");
    link_down(&s, 0);
    cr_assert_str_eq(s.engine.nodes.only->trouble, "connection reset");
    stage_close(&s);
}

Test(core_questions, a_final_refusal_is_told_to_those_who_wait_for_a_link)
{
    stage s;
    stage_open(&s, &one_lane);
    asker q = asker_init("GET x");
    q.n_times = 1;
    asks(&s, &q);
    link_refused(&s, 0, true, "-WRONGPASS");
    cr_assert_eq(q.n_losses, 1);
    cr_assert(q.is_final);
    cr_assert_not(q.was_sent);
    cr_assert_eq(q.question.state, GAVEL__QUESTION_PENDING, "it has asked again");
    stage_close(&s);
}

Test(core_questions, a_lane_whose_answer_says_that_it_is_of_no_use_is_closed)
{
    stage s;
    stage_open(&s, &two_lanes);
    asker q = asker_init("GET x");
    q.n_times = 1;
    asks(&s, &q);
    link_up(&s, 0);
    hears(&s, 0, "GET x");
    says(&s, 0, "-READONLY You can't write against a read only replica.");
    is_closed(&s, 0, "READONLY");
    link_up(&s, 1);
    hears(&s, 1, "GET x");
    stage_close(&s);
}

Test(core_questions, no_memory_for_a_question_closes_the_link_and_is_a_loss)
{
    stage s;
    stage_open(&s, &one_lane);
    static char commands[100000] = "GET ";
    memset(commands + 4, 'x', sizeof(commands) - 5);
    asker q = asker_init("GET x");
    asker r = asker_init(commands);
    asks(&s, &q);
    link_up(&s, 0);
    hears(&s, 0, "GET x");
    s.memory.n_left = 0;
    asks(&s, &r);
    s.memory.n_left = MEMORY_ENOUGH;
    is_closed(&s, 0, "no memory");
    cr_assert_eq(r.n_losses, 1);
    cr_assert_not(r.was_sent);
    stage_close(&s);
}

/* A lane that stands in a gate's queue is answered nothing until its turn comes. */
Test(core_questions, a_lane_that_waits_for_a_gate_is_asked_nothing)
{
    stage s;
    actor a;
    begin_waiting(&s, &a);
    asker q = asker_init("GET x");
    asks(&s, &q);
    hears_nothing(&s, 1);
    link_up(&s, 0);
    hears(&s, 0, "GET x");
    stage_close(&s);
}

/* ---- Questions that block ------------------------------------------------------------------ */

static const stage_config with_pool = {.n_lanes = 1, .n_waiting_lanes = 2, .has_no_prefetch = true};

static asker a_waiter(void)
{
    asker a = asker_init("CLIENT SETNAME x / BLPOP q 0");
    a.question.is_blocking = true;
    return a;
}

Test(core_questions, one_that_blocks_has_a_waiting_lane_for_itself)
{
    stage s;
    stage_open(&s, &with_pool);
    asker w = a_waiter();
    asks(&s, &w);
    cr_assert_eq((int)lane_of(&s, 0)->state, (int)GAVEL__LANE_DOWN, "for what is answered at once");
    link_up(&s, 1);
    hears(&s, 1, "CLIENT SETNAME x / BLPOP q 0");
    cr_assert(gavel__lane_is_blocked(lane_of(&s, 1)));
    asker q = asker_init("GET x");
    asks(&s, &q);
    hears_nothing(&s, 1);
    link_up(&s, 0);
    hears(&s, 0, "GET x");
    says(&s, 1, "OK, [\"q\", \"1\"]");
    cr_assert_not(gavel__lane_is_blocked(lane_of(&s, 1)));
    asks(&s, &w);
    hears(&s, 1, "CLIENT SETNAME x / BLPOP q 0");
    stage_close(&s);
}

/* Of what comes before it in the same write the server has to say something in time. */
Test(core_questions, only_what_blocks_may_be_answered_late)
{
    stage s;
    stage_open(&s, &with_pool);
    asker w = a_waiter();
    asks(&s, &w);
    link_up(&s, 1);
    asker q = asker_init("GET x");
    q.question.is_blocking = false;
    asks(&s, &q);
    hears(&s, 1, "GET x / CLIENT SETNAME x / BLPOP q 0");
    const gavel__lane *lane = lane_of(&s, 1);
    cr_assert_not(gavel__lane_may_be_silent(lane), "GET");
    says(&s, 1, "nil");
    cr_assert_not(gavel__lane_may_be_silent(lane), "CLIENT SETNAME");
    says(&s, 1, "OK");
    cr_assert(gavel__lane_may_be_silent(lane), "BLPOP");
    says(&s, 1, "nil");
    cr_assert_not(gavel__lane_may_be_silent(lane), "nothing");
    stage_close(&s);
}

/* Each would be left behind for its time to live. */
Test(core_questions, a_link_that_only_waits_plants_no_marker)
{
    stage s;
    stage_open(&s, &(stage_config){.has_markers = true, .n_waiting_lanes = 1});
    asker w = a_waiter();
    asker q = asker_init("GET x");
    asks(&s, &w);
    asks(&s, &q);
    cr_assert_eq(gavel__engine_begin_dial(&s.engine, lane_of(&s, 1)).size, 0);
    cr_assert_neq(gavel__engine_begin_dial(&s.engine, lane_of(&s, 0)).size, 0);
    gavel__engine_on_link_up(&s.engine, lane_of(&s, 1), &s.outs[1]);
    hears(&s, 1, "GET x / CLIENT SETNAME x / BLPOP q 0");
    stage_close(&s);
}

Test(core_questions, those_that_block_wait_for_their_turn_at_the_pool)
{
    stage s;
    stage_open(&s, &with_pool);
    asker w[3];
    for (uint32_t i = 0; i < 3; i++) {
        w[i] = a_waiter();
        asks(&s, &w[i]);
    }
    for (uint32_t i = 0; i < 2; i++) {
        link_up(&s, 1 + i);
        hears(&s, 1 + i, "CLIENT SETNAME x / BLPOP q 0");
    }
    cr_assert_eq(w[2].question.state, GAVEL__QUESTION_PENDING);
    says(&s, 2, "OK, nil");
    hears(&s, 2, "CLIENT SETNAME x / BLPOP q 0");
    cr_assert_eq(w[2].question.state, GAVEL__QUESTION_ASKED);
    stage_close(&s);
}

/* A connection leaves the server's queue by closing. That is no fault: it comes back at once. */
Test(core_questions, the_link_of_one_that_is_withdrawn_is_closed)
{
    stage s;
    stage_open(&s, &with_pool);
    asker w = a_waiter();
    asks(&s, &w);
    for (int i = 0; i < 5; i++) {
        link_up(&s, 1);
        hears(&s, 1, "CLIENT SETNAME x / BLPOP q 0");
        cr_assert_not(gavel__question_withdraw(&w.question));
        is_closed(&s, 1, "nobody waits any more");
        cr_assert_eq(w.question.state, GAVEL__QUESTION_IDLE);
        cr_assert_eq(w.n_losses, (size_t)i + 1);
        asks(&s, &w);
        cr_assert_leq(lane_of(&s, 1)->dial_us, s.now_us, "the %d. time it pauses", i);
        cr_assert_eq(s.n_events[GAVEL_EVENT_LINK_CLOSED], (size_t)i + 1);
    }
    cr_assert_eq(s.n_events[GAVEL_EVENT_LINK_DOWN], 0);
    cr_assert_eq(s.engine.context.stats.n_links_down, 0);
    stage_close(&s);
}

/* The pool is for both, and each has its own bound. */
Test(core_questions, neither_gates_nor_questions_take_more_of_the_pool_than_is_theirs)
{
    stage s;
    gate_stage_open(&s, &(gate_config){.stage = {.n_waiting_lanes = 1}, .n_gate_lanes = 1});
    asker w = a_waiter();
    asker x = a_waiter();
    asks(&s, &w);
    asks(&s, &x);
    link_up(&s, 1);
    hears(&s, 1, "CLIENT SETNAME x / BLPOP q 0");
    cr_assert_eq((int)lane_of(&s, 2)->state, (int)GAVEL__LANE_DOWN, "one may block, not two");
    actor a = an_adder();
    actor b = {.reads = "b", .plays = "ADD b 1"};
    enter(&s, &a);
    advance(&s, 0);
    link_up(&s, 2);
    hears_gates(&s, 2, ENTER_A READ_A);
    enter(&s, &b);
    says(&s, 1, "OK, nil");
    hears(&s, 1, "CLIENT SETNAME x / BLPOP q 0");
    cr_assert_eq(x.question.state, GAVEL__QUESTION_ASKED);
    says(&s, 1, "OK, nil");
    hears_nothing(&s, 1); /* b has to wait until a has passed */
    stage_close(&s);
}

/* It may be dead, and nobody has noticed. */
Test(core_questions, a_link_that_waits_does_not_show_that_the_server_can_be_reached)
{
    stage s;
    stage_open(&s, &with_pool);
    asker w = a_waiter();
    asks(&s, &w);
    link_up(&s, 1);
    hears(&s, 1, "CLIENT SETNAME x / BLPOP q 0");
    asker q = asker_init("GET x");
    actor a = {.reads = "a", .plays = "ADD a 1"};
    asks(&s, &q);
    enter(&s, &a);
    link_refused(&s, 0, true, "WRONGPASS");
    cr_assert_eq(q.n_losses, 1);
    cr_assert_str_eq(s.engine.nodes.only->trouble, "WRONGPASS");
    ends(&s, &a, GAVEL_REJECTED);
    stage_close(&s);
}

Test(core_questions, a_final_refusal_is_told_to_those_that_block_as_well)
{
    stage s;
    stage_open(&s, &with_pool);
    asker w = a_waiter();
    asks(&s, &w);
    link_refused(&s, 1, true, "-WRONGPASS");
    cr_assert_eq(w.n_losses, 1);
    cr_assert(w.is_final);
    stage_close(&s);
}

/* ---- Many at once -------------------------------------------------------------------------- */

enum { N_ASKERS = 300 };

Test(core_questions, any_number_of_questions_may_be_under_way)
{
    stage s;
    stage_open(&s, &one_lane);
    static asker q[N_ASKERS];
    for (size_t i = 0; i < N_ASKERS; i++) {
        q[i] = asker_init("GET x");
        asks(&s, &q[i]);
    }
    link_up(&s, 0);
    advance(&s, 0);
    (void)stage_listen(&s, 0);
    actor a = {.reads = "a", .plays = "ADD a 1"};
    enter(&s, &a);
    hears(&s, 0, "WATCH a / GET a");
    for (size_t i = 0; i < N_ASKERS; i++) {
        says(&s, 0, "\"1\"");
        cr_assert_str_eq(q[i].answers, "0:1 ");
    }
    says(&s, 0, "OK, nil");
    hears(&s, 0, "MULTI / SET a 1 / EXEC");
    stage_close(&s);
}

Test(core_questions, without_memory_for_one_more_the_link_is_closed_and_nothing_is_lost)
{
    for (size_t n_left = 0; n_left < 6; n_left++) {
        stage s;
        stage_open(&s, &one_lane);
        static asker q[N_ASKERS];
        for (size_t i = 0; i < N_ASKERS; i++)
            q[i] = asker_init("GET x");
        asks(&s, &q[0]);
        link_up(&s, 0);
        s.memory.n_left = n_left;
        for (size_t i = 1; i < N_ASKERS; i++)
            asks(&s, &q[i]);
        s.memory.n_left = MEMORY_ENOUGH;
        advance(&s, 0);
        if (lane_of(&s, 0)->is_condemned)
            is_closed(&s, 0, "no memory");
        for (size_t i = 0; i < N_ASKERS; i++)
            cr_assert(q[i].n_losses == 1 || q[i].question.state != GAVEL__QUESTION_IDLE);
        stage_close(&s);
    }
}
