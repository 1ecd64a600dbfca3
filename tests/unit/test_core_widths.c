/*
 * Widths: how much goes into a round, and what becomes of the rest; with the test as the server.
 * Who shares a round with whom is in test_core_company.c.
 */
#include "stage.h"

#include <criterion/criterion.h>
#include <stdio.h>

static actor setter(const char *key, const char *plays)
{
    return (actor){.keys = key, .plays = plays};
}

static actor reader(const char *reads, const char *plays)
{
    return (actor){.reads = reads, .plays = plays, .request = {.is_read_only = true}};
}

/* ---- Keys ---------------------------------------------------------------------------------- */

Test(core_widths, a_round_takes_no_more_keys_than_allowed)
{
    stage s;
    stage_open(&s, &(stage_config){.has_no_prefetch = true, .max_keys = 4});
    actor a[4] = {setter("a b", "SET a 1"), setter("c d", "SET c 1"), setter("e", "SET e 1"),
        setter("f", "SET f 1")};
    for (size_t i = 0; i < 4; i++)
        enter(&s, &a[i]);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a b c d");
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / MSET a 1 c 1 / EXEC / WATCH e f");
    stage_close(&s);
}

Test(core_widths, a_single_one_may_have_more_keys_than_a_round)
{
    stage s;
    stage_open(&s, &(stage_config){.has_no_prefetch = true, .max_keys = 2});
    actor a[3] = {setter("a b c", "SET a 1"), setter("d", "SET d 1"), setter("e f g", "SET e 1")};
    for (size_t i = 0; i < 3; i++)
        enter(&s, &a[i]);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a b c");
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / SET a 1 / EXEC / WATCH d");
    says(&s, 0, "OK, QUEUED, [OK], OK");
    hears(&s, 0, "MULTI / SET d 1 / EXEC / WATCH e f g");
    stage_close(&s);
}

Test(core_widths, nobody_overtakes_one_that_does_not_fit)
{
    stage s;
    stage_open(&s, &(stage_config){.has_no_prefetch = true, .max_keys = 3, .n_lanes = 2});
    actor a[3] = {setter("a b", "SET a 1"), setter("c d", "SET c 1"), setter("e", "SET e 1")};
    for (size_t i = 0; i < 3; i++)
        enter(&s, &a[i]);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a b");
    is_in(&s, &a[2], GAVEL__TX_READY);
    link_up(&s, 1);
    hears(&s, 1, "WATCH c d e");
    stage_close(&s);
}

/* Also of those that only read: the server is busy with one command for as long. */
Test(core_widths, a_snapshot_takes_no_more_keys_than_allowed)
{
    stage s;
    stage_open(&s, &(stage_config){.has_no_prefetch = true, .max_keys = 4});
    actor a[3] = {reader("a b", "GET a"), reader("c d", "GET c"), reader("e", "GET e")};
    for (size_t i = 0; i < 3; i++)
        enter(&s, &a[i]);
    link_up(&s, 0);
    hears(&s, 0, "MGET a b c d");
    stage_close(&s);
}

/* ---- Bytes --------------------------------------------------------------------------------- */

/* "SET a 0123456789" is 37 bytes on the wire. */
Test(core_widths, when_the_writes_are_long_the_rest_is_for_the_next_round)
{
    stage s;
    stage_open(&s, &(stage_config){.has_no_prefetch = true, .max_bytes = 60});
    actor a[4] = {setter("a", "SET a 0123456789"), setter("b", "SET b 0123456789"),
        setter("c", "SET c 0123456789"), setter("d", "SET d 0123456789")};
    for (size_t i = 0; i < 4; i++) {
        a[i].request.max_attempts = 1;
        enter(&s, &a[i]);
    }
    link_up(&s, 0);
    hears(&s, 0, "WATCH a b c d");
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / MSET a 0123456789 b 0123456789 / EXEC / WATCH c d");
    cr_assert_eq(a[1].n_runs, 1);
    cr_assert_eq(a[2].n_runs, 0);
    is_in(&s, &a[2], GAVEL__TX_READING);
    says(&s, 0, "OK, QUEUED, [OK], OK");
    hears(&s, 0, "MULTI / MSET c 0123456789 d 0123456789 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    for (size_t i = 0; i < 4; i++) {
        const gavel_outcome *outcome = ends(&s, &a[i], GAVEL_COMMITTED);
        cr_assert_eq(outcome->n_attempts, 1);
        cr_assert_eq(outcome->n_round_trips, i < 2 ? 2 : 3);
        cr_assert_eq(a[i].n_runs, 1);
    }
    stage_close(&s);
}

Test(core_widths, a_single_one_may_write_more_than_a_round)
{
    stage s;
    stage_open(&s, &(stage_config){.has_no_prefetch = true, .max_bytes = 1});
    actor a[2] = {setter("a b", "SET a 0123456789; SET b 0123456789"), setter("c", "SET c 1")};
    enter(&s, &a[0]);
    enter(&s, &a[1]);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a b c");
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / MSET a 0123456789 b 0123456789 / EXEC / WATCH c");
    says(&s, 0, "OK, QUEUED, [OK], OK");
    hears(&s, 0, "MULTI / SET c 1 / EXEC");
    stage_close(&s);
}

Test(core_widths, writes_of_an_aborted_body_do_not_count)
{
    stage s;
    stage_open(&s, &(stage_config){.has_no_prefetch = true, .max_bytes = 30});
    actor a[3] = {setter("a", "SET a 0123456789; ABORT 1"),
        setter("b", "SET b 0123456789; ABORT 1"), setter("c", "SET c 1")};
    for (size_t i = 0; i < 3; i++)
        enter(&s, &a[i]);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a b c");
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / SET c 1 / EXEC");
    stage_close(&s);
}

/* ---- Time ---------------------------------------------------------------------------------- */

/* The clock is looked at after one, two, four ... bodies. */
Test(core_widths, when_bodies_take_long_the_rest_is_for_the_next_round)
{
    static const struct {
        int64_t each_us;
        size_t n_run;
    } cases[] = {{0, 6}, {200, 6}, {249, 6}, {250, 4}, {400, 4}, {499, 4}, {500, 2}, {999, 2},
        {1000, 1}, {5000, 1}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        stage s;
        stage_open(&s, &(stage_config){.has_no_prefetch = true, .max_body_us = 1000});
        static const char *const keys[] = {"a", "b", "c", "d", "e", "f"};
        actor a[6];
        char plays[6][32];
        for (size_t k = 0; k < 6; k++) {
            snprintf(
                plays[k], sizeof(plays[k]), "WAIT %d; SET %s 1", (int)cases[i].each_us, keys[k]);
            a[k] = (actor){.keys = keys[k], .plays = plays[k], .request = {.max_attempts = 1}};
            enter(&s, &a[k]);
        }
        link_up(&s, 0);
        hears(&s, 0, "WATCH a b c d e f");
        says(&s, 0, "OK");
        for (size_t k = 0; k < 6; k++)
            cr_assert_eq(a[k].n_runs, k < cases[i].n_run, "%d us: %zu", (int)cases[i].each_us, k);
        advance(&s, 0);
        (void)stage_listen(&s, 0);
        says(&s, 0, "OK, QUEUED, [OK]");
        for (size_t k = 0; k < cases[i].n_run; k++)
            ends(&s, &a[k], GAVEL_COMMITTED);
        for (size_t k = cases[i].n_run; k < 6; k++)
            is_in(&s, &a[k], GAVEL__TX_READING); /* behind that EXEC */
        stage_close(&s);
    }
}

Test(core_widths, a_single_one_may_take_its_time)
{
    stage s;
    stage_open(&s, &(stage_config){.has_no_prefetch = true, .max_body_us = 1});
    actor a = setter("a", "WAIT 100000; SET a 1");
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a");
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / SET a 1 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

/* One that has aborted leaves nothing to commit: the rest gets the link at once. */
Test(core_widths, the_rest_goes_on_when_those_that_ran_have_left)
{
    stage s;
    stage_open(&s, &(stage_config){.has_no_prefetch = true, .max_body_us = 10});
    actor a[3] = {
        setter("a", "WAIT 10; ABORT 1"), setter("b", "WAIT 10; SET b 1"), setter("c", "SET c 1")};
    for (size_t i = 0; i < 3; i++)
        enter(&s, &a[i]);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a b c");
    says(&s, 0, "OK");
    ends(&s, &a[0], GAVEL_ABORTED);
    hears(&s, 0, "UNWATCH / WATCH b c");
    says(&s, 0, "OK, OK");
    hears(&s, 0, "MULTI / SET b 1 / EXEC / WATCH c");
    stage_close(&s);
}

Test(core_widths, those_that_only_read_are_bounded_in_time_as_well)
{
    stage s;
    stage_open(&s, &(stage_config){.has_no_prefetch = true, .max_body_us = 10});
    actor a[3] = {
        reader("a", "WAIT 10; GET a"), reader("a", "WAIT 10; GET a"), reader("a", "GET a")};
    for (size_t i = 0; i < 3; i++)
        enter(&s, &a[i]);
    link_up(&s, 0);
    for (size_t i = 0; i < 3; i++) {
        hears(&s, 0, "GET a");
        says(&s, 0, "\"1\"");
        ends(&s, &a[i], GAVEL_COMMITTED);
        cr_assert_eq(a[i].n_runs, 1);
    }
    stage_close(&s);
}

/* And those whose first run only says what they want to read. */
Test(core_widths, those_that_declare_nothing_are_bounded_in_time_as_well)
{
    stage s;
    stage_open(&s, &(stage_config){.has_no_prefetch = true, .max_body_us = 10});
    actor a[3];
    for (size_t i = 0; i < 3; i++) {
        a[i] = reader(NULL, "WAIT 10; GET a");
        a[i].keys = "a";
        enter(&s, &a[i]);
    }
    link_up(&s, 0);
    for (int n = 0; s.engine.queue.n_open > 0; n++) {
        cr_assert_lt(n, 10, "it goes on for ever");
        advance(&s, 0);
        if (s.outs[0].size == 0)
            continue;
        hears(&s, 0, "GET a");
        says(&s, 0, "\"1\"");
        advance(&s, 0);
    }
    for (size_t i = 0; i < 3; i++)
        ends(&s, &a[i], GAVEL_COMMITTED);
    stage_close(&s);
}

/* ---- The rest ------------------------------------------------------------------------------ */

/* Put back before those who came later, who want the same key. */
Test(core_widths, the_rest_keeps_its_place_in_the_queue)
{
    stage s;
    stage_open(&s, &(stage_config){.has_no_prefetch = true, .max_body_us = 10});
    actor a[4];
    for (size_t i = 0; i < 4; i++)
        a[i] = (actor){.reads = "a", .plays = "WAIT 10; GET a; ADD a 1"};
    enter(&s, &a[0]);
    enter(&s, &a[1]);
    enter(&s, &a[2]);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    enter(&s, &a[3]);
    says(&s, 0, "OK, \"0\"");
    hears(&s, 0, "MULTI / SET a 1 / EXEC / WATCH a / GET a");
    says(&s, 0, "OK, QUEUED, [OK], OK, \"1\"");
    hears(&s, 0, "MULTI / SET a 2 / EXEC / WATCH a / GET a");
    says(&s, 0, "OK, QUEUED, [OK], OK, \"2\"");
    hears(&s, 0, "MULTI / SET a 3 / EXEC / WATCH a / GET a");
    says(&s, 0, "OK, QUEUED, [OK], OK, \"3\"");
    hears(&s, 0, "MULTI / SET a 4 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    static const char *const seen[] = {"a=0 ", "a=1 ", "a=2 ", "a=3 "};
    for (size_t i = 0; i < 4; i++) {
        ends(&s, &a[i], GAVEL_COMMITTED);
        cr_assert_str_eq(a[i].seen, seen[i]);
    }
    stage_close(&s);
}

Test(core_widths, the_rest_may_be_cancelled_and_meets_its_deadline)
{
    stage s;
    stage_open(&s, &(stage_config){.has_no_prefetch = true, .max_body_us = 10});
    actor a[3] = {setter("a", "WAIT 10; SET a 1"), setter("b", "SET b 1"), setter("c", "SET c 1")};
    a[2].request.deadline_ms = 100;
    for (size_t i = 0; i < 3; i++)
        enter(&s, &a[i]);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a b c");
    says(&s, 0, "OK");
    cancel(&s, &a[1]);
    ends(&s, &a[1], GAVEL_CANCELLED);
    advance(&s, 100000);
    ends(&s, &a[2], GAVEL_DEADLINE);
    cr_assert_eq(a[2].n_runs, 0);
    stage_close(&s);
}

/* They have joined a round that stands: what was read before them still does not decide an abort.
 */
Test(core_widths, the_rest_of_a_round_that_stood_runs_in_the_next)
{
    stage s;
    stage_open(&s, &(stage_config){.max_body_us = 10});
    actor a = {.reads = "a", .plays = "ADD a 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, \"0\"");
    hears(&s, 0, "MULTI / SET a 1 / EXEC / WATCH a / GET a");
    says(&s, 0, "OK, QUEUED, [OK], OK, \"1\"");
    ends(&s, &a, GAVEL_COMMITTED);
    actor b[2] = {
        {.reads = "a", .plays = "WAIT 10; ADD a 1"}, {.reads = "a", .plays = "GET a; ABORT 1"}};
    enter(&s, &b[0]);
    enter(&s, &b[1]);
    hears(&s, 0, "MULTI / SET a 2 / EXEC / WATCH a / GET a");
    cr_assert_eq(b[1].n_runs, 0);
    says(&s, 0, "OK, QUEUED, [OK], OK, \"2\"");
    ends(&s, &b[0], GAVEL_COMMITTED);
    ends(&s, &b[1], GAVEL_ABORTED);
    cr_assert_str_eq(b[1].seen, "a=2 ");
    stage_close(&s);
}
