/*
 * A server that others can replace: until when it is believed, and that another is in its place.
 */
#include "stage.h"

#include "base/heap.h"

#include <criterion/criterion.h>

static const stage_config with_markers = {.has_markers = true, .has_no_prefetch = true};

static const actor adder = {.reads = "a", .plays = "ADD a 1"};

static void trust(stage *s, int64_t us)
{
    gavel__engine_trust(&s->engine, us == GAVEL__NEVER ? us : s->now_us + us, "nobody vouches");
    advance(s, 0);
}

static void read_and_commit(stage *s, actor *a)
{
    enter(s, a);
    link_up(s, 0);
    hears(s, 0, "SET m0 n0 PX 900000 / WATCH a m0 / GET a");
    says(s, 0, "OK, OK, \"1\"");
    hears(s, 0, "MULTI / SET a 2 / INCR m0 / EXEC");
}

Test(core_trust, nothing_begins_until_the_server_is_believed)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = adder;
    trust(&s, 0);
    enter(&s, &a);
    link_up(&s, 0);
    hears_nothing(&s, 0);
    is_in(&s, &a, GAVEL__TX_READY);
    trust(&s, 1000);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a m0 / GET a");
    says(&s, 0, "OK, OK, \"1\"");
    hears(&s, 0, "MULTI / SET a 2 / INCR m0 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n0+1]");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_trust, the_deadline_says_why_nobody_was_believed)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = adder;
    trust(&s, 0);
    enter(&s, &a);
    link_up(&s, 0);
    advance(&s, 6000000);
    ends_saying(&s, &a, GAVEL_DEADLINE, "nobody vouches");
    stage_close(&s);
}

Test(core_trust, who_has_only_a_question_hears_it_as_well)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = adder;
    gavel__engine_trust(&s.engine, INT64_MIN, "nobody knows of one");
    cr_expect_str_eq(s.engine.nodes.only->trouble, "nobody knows of one");
    enter(&s, &a);
    link_up(&s, 0);
    gavel__engine_trust(&s.engine, INT64_MIN, "nobody knows of one");
    cr_expect_str_eq(s.engine.nodes.only->trouble, "");
    stage_close(&s);
}

Test(core_trust, the_deadline_of_a_doubt_says_so_too)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = adder;
    read_and_commit(&s, &a);
    trust(&s, 0);
    advance(&s, 6000000);
    ends_saying(&s, &a, GAVEL_UNKNOWN, "said what became of EXEC; nobody vouches");
    stage_close(&s);
}

/* What the old primary acknowledges is lost; the new one tells whether it has it. */
Test(core_trust, an_exec_that_is_answered_too_late_is_in_doubt)
{
    static const struct {
        const char *number;
        bool is_made;
    } cases[] = {{":1, \"n0+1\"", true}, {":1, \"n0\"", false}};
    for (size_t i = 0; i < 2; i++) {
        stage s;
        stage_open(&s, &with_markers);
        actor a = adder;
        trust(&s, 1000);
        read_and_commit(&s, &a);
        advance(&s, 1000);
        says(&s, 0, "OK");
        is_in(&s, &a, GAVEL__TX_COMMITTING);
        is_closed(&s, 0, "nobody vouches");
        is_in(&s, &a, GAVEL__TX_IN_DOUBT);
        link_up(&s, 0);
        hears_nothing(&s, 0);
        trust(&s, 100000);
        hears(&s, 0, "PEXPIRE m0 900000 / GET m0");
        says(&s, 0, cases[i].number);
        if (cases[i].is_made) {
            ends(&s, &a, GAVEL_COMMITTED);
        } else {
            is_in(&s, &a, GAVEL__TX_PAUSED);
            sleeps(&s);
            hears(&s, 0, "SET m1 n1 PX 900000 / WATCH a m1 / GET a");
            says(&s, 0, "OK, OK, \"1\"");
            hears(&s, 0, "MULTI / SET a 2 / INCR m1 / EXEC");
            says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n1+1]");
            ends(&s, &a, GAVEL_COMMITTED);
        }
        stage_close(&s);
    }
}

Test(core_trust, a_doubt_is_not_settled_by_one_that_is_not_believed)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = adder;
    trust(&s, 100000);
    read_and_commit(&s, &a);
    link_down(&s, 0);
    link_up(&s, 0);
    hears(&s, 0, "PEXPIRE m0 900000 / GET m0");
    trust(&s, 0);
    says(&s, 0, ":1");
    is_closed(&s, 0, "nobody vouches");
    is_in(&s, &a, GAVEL__TX_IN_DOUBT);
    trust(&s, 100000);
    link_up(&s, 0);
    hears(&s, 0, "PEXPIRE m0 900000 / GET m0");
    says(&s, 0, ":1, \"n0+1\"");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_trust, when_another_server_is_in_its_place_all_links_are_made_anew)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = adder;
    read_and_commit(&s, &a);
    gavel__engine_leave(&s.engine, "elsewhere", s.now_us);
    is_closed(&s, 0, "elsewhere");
    is_in(&s, &a, GAVEL__TX_IN_DOUBT);
    link_up(&s, 0);
    hears(&s, 0, "PEXPIRE m0 900000 / GET m0");
    says(&s, 0, ":1, \"n0+1\"");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_trust, whom_the_old_server_made_pause_goes_on_at_once)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = adder;
    enter(&s, &a);
    for (int i = 0; i < 3; i++) {
        link_refused(&s, 0, false, "");
        is_in(&s, &a, GAVEL__TX_PAUSED);
        if (i < 2)
            sleeps(&s);
    }
    gavel__engine_leave(&s.engine, "elsewhere", s.now_us);
    is_in(&s, &a, GAVEL__TX_READY);
    advance(&s, 0);
    link_up(&s, 0);
    hears(&s, 0, "SET m3 n3 PX 900000 / WATCH a m3 / GET a");
    says(&s, 0, "OK, OK, \"1\"");
    hears(&s, 0, "MULTI / SET a 2 / INCR m3 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n3+1]");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

/* ---- Nobody names it yet ------------------------------------------------------------------- */

/* One whose EXEC was sent to the server before, when another has taken its place for now. */
static void open_provisional(stage *s, actor *a)
{
    stage_open(s, &with_markers);
    read_and_commit(s, a);
    gavel__engine_leave(&s->engine, "elsewhere", s->now_us);
    gavel__engine_set_provisional(&s->engine, true, s->now_us);
    is_closed(s, 0, "elsewhere");
    link_up(s, 0);
    hears(s, 0, "PEXPIRE m0 900000 / GET m0");
}

Test(core_trust, what_is_provisional_can_tell_that_it_was_made)
{
    stage s;
    actor a = adder;
    open_provisional(&s, &a);
    says(&s, 0, ":1, \"n0+1\"");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_trust, but_not_that_it_was_not)
{
    static const char *const answers[] = {":1, \"n0\"", ":0, nil"};
    for (size_t i = 0; i < 2; i++) {
        stage s;
        actor a = adder;
        open_provisional(&s, &a);
        says(&s, 0, answers[i]);
        is_in(&s, &a, GAVEL__TX_IN_DOUBT);
        advance(&s, 20000);
        hears(&s, 0, "PEXPIRE m0 900000 / GET m0");
        says(&s, 0, answers[i]);
        gavel__engine_set_provisional(&s.engine, false, s.now_us);
        advance(&s, 20000);
        hears(&s, 0, "PEXPIRE m0 900000 / GET m0");
        says(&s, 0, answers[i]);
        if (i == 0)
            is_in(&s, &a, GAVEL__TX_PAUSED);
        else
            ends(&s, &a, GAVEL_UNKNOWN);
        stage_close(&s);
    }
}

Test(core_trust, nobody_waits_there_for_the_keys_of_a_doubt)
{
    stage s;
    actor a = adder;
    actor b = adder;
    open_provisional(&s, &a);
    enter(&s, &b);
    hears(&s, 0, "SET m1 n1 PX 900000 / WATCH a m1 / GET a");
    says(&s, 0, ":1, \"n0\"");
    says(&s, 0, "OK, OK, \"1\"");
    hears(&s, 0, "MULTI / SET a 2 / INCR m1 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n1+1]");
    ends(&s, &b, GAVEL_COMMITTED);
    is_in(&s, &a, GAVEL__TX_IN_DOUBT);
    stage_close(&s);
}

/* Whoever wishes for replicas is told when it is certain which ones count. */
Test(core_trust, what_is_provisional_cannot_tell_of_replicas)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = {.reads = "a", .plays = "ADD a 1", .request = {.min_replicas = 1}};
    gavel__engine_set_provisional(&s.engine, true, s.now_us);
    read_and_commit(&s, &a);
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n0+1]");
    is_in(&s, &a, GAVEL__TX_REPLICATING);
    advance(&s, 100000);
    is_in(&s, &a, GAVEL__TX_REPLICATING);
    cr_expect_not(gavel__list_is_empty(&s.engine.questions.pending_for_replicas));
    stage_close(&s);
}
