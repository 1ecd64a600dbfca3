/*
 * Snapshots: rounds of transactions that only read.
 */
#include "stage.h"

#include <criterion/criterion.h>

static const stage_config plain = {.has_no_prefetch = true};

static actor reader(const char *reads, const char *plays)
{
    return (actor){.reads = reads, .plays = plays, .request = {.is_read_only = true}};
}

Test(core_snapshots, one_read_goes_bare)
{
    stage s;
    stage_open(&s, &(stage_config){.has_markers = true});
    actor a = reader("a", "GET a");
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "GET a");
    says(&s, 0, "\"x\"");
    cr_assert_eq(ends(&s, &a, GAVEL_COMMITTED)->n_round_trips, 1);
    cr_assert_str_eq(a.seen, "a=x ");
    hears_nothing(&s, 0);
    stage_close(&s);
}

Test(core_snapshots, several_go_between_multi_and_exec)
{
    stage s;
    stage_open(&s, &(stage_config){.has_markers = true});
    actor a = reader("a h.f", "GET a; HGET h f; ABORT 6");
    actor b = reader("a", "GET a");
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "MULTI / GET a / HGET h f / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED");
    is_in(&s, &a, GAVEL__TX_READING);
    says(&s, 0, "[\"x\", nil]");
    cr_assert_eq(ends(&s, &a, GAVEL_ABORTED)->abort_code, 6);
    ends(&s, &b, GAVEL_COMMITTED);
    cr_assert_str_eq(a.seen, "a=x f=nil ");
    stage_close(&s);
}

Test(core_snapshots, what_was_not_declared_is_read_in_the_next_one)
{
    stage s;
    stage_open(&s, &plain);
    actor a = reader(NULL, "GET a; GET b");
    a.keys = "a";
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "MULTI / GET a / GET b / EXEC");
    cr_assert_str_eq(a.seen, "a=? b=? ");
    says(&s, 0, "OK, QUEUED, QUEUED, [\"1\", \"2\"]");
    ends(&s, &a, GAVEL_COMMITTED);
    cr_assert_str_eq(a.seen, "a=1 b=2 ");
    stage_close(&s);
}

Test(core_snapshots, a_write_is_refused_and_an_error_is_told)
{
    stage s;
    stage_open(&s, &plain);
    actor a = reader("a b", "SET a 1");
    actor b = reader("a b", "GET a");
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "MULTI / GET a / GET b / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [-WRONGTYPE of a, nil]");
    ends_saying(&s, &a, GAVEL_INVALID, "a write in a read-only transaction; key: \"a\"");
    ends_saying(&s, &b, GAVEL_REJECTED, "WRONGTYPE of a: GET \"a\"");
    stage_close(&s);
}

Test(core_snapshots, a_refused_read_is_narrowed_down)
{
    stage s;
    stage_open(&s, &plain);
    gavel_bytes args[] = {GAVEL_STR("XLEN"), GAVEL_STR("b")};
    gavel_command command = {.args = args, .n_args = 2};
    gavel_read read = {.command = &command};
    actor a = reader("a", "GET a");
    actor b = reader(NULL, "QUERY XLEN b");
    b.request.reads = &read;
    b.request.n_reads = 1;
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "MULTI / GET a / XLEN b / EXEC");
    says(&s, 0, "OK, QUEUED, -ERR unknown command");
    says(&s, 0, "-EXECABORT Transaction discarded because of previous errors.");
    hears(&s, 0, "GET a");
    says(&s, 0, "\"1\"");
    ends(&s, &a, GAVEL_COMMITTED);
    hears(&s, 0, "XLEN b");
    says(&s, 0, "-ERR unknown command");
    ends_saying(&s, &b, GAVEL_REJECTED, "ERR unknown command");
    stage_close(&s);
}

Test(core_snapshots, readers_pass_busy_keys_and_run_behind_an_exec)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.keys = "a", .plays = "SET a 1"};
    actor b = reader("a", "GET a");
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a");
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / SET a 1 / EXEC / GET a");
    says(&s, 0, "OK, QUEUED, [OK], \"1\"");
    ends(&s, &a, GAVEL_COMMITTED);
    ends(&s, &b, GAVEL_COMMITTED);
    stage_close(&s);
}

/* What the link still watches from an earlier round would turn EXEC's answer into nil. */
Test(core_snapshots, a_watch_that_is_left_over_is_lifted_first)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.reads = "a", .plays = "GET a; ABORT 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, nil");
    ends(&s, &a, GAVEL_ABORTED);
    actor b = reader("a b", "GET a");
    enter(&s, &b);
    hears(&s, 0, "UNWATCH / MULTI / GET a / GET b / EXEC");
    says(&s, 0, "OK, OK, QUEUED, QUEUED, [nil, nil]");
    ends(&s, &b, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_snapshots, an_answer_that_makes_no_sense_closes_the_link_and_is_a_fault)
{
    static const char *const answers[] = {
        "OK, QUEUED, QUEUED, nil", "OK, QUEUED, QUEUED, OK", "OK, QUEUED, QUEUED, [\"1\"]", ":1"};
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        stage s;
        stage_open(&s, &plain);
        actor a = reader("a b", "GET a");
        enter(&s, &a);
        link_up(&s, 0);
        hears(&s, 0, "MULTI / GET a / GET b / EXEC");
        says(&s, 0, answers[i]);
        is_closed(&s, 0, "");
        is_in(&s, &a, GAVEL__TX_PAUSED);
        stage_close(&s);
    }
}

Test(core_snapshots, a_lost_link_is_only_a_fault)
{
    stage s;
    stage_open(&s, &plain);
    actor a = reader("a b", "GET a");
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "MULTI / GET a / GET b / EXEC");
    link_down(&s, 0);
    is_in(&s, &a, GAVEL__TX_PAUSED);
    cr_assert_eq(s.engine.context.stats.n_in_doubt, 0);
    stage_close(&s);
}

/* Alone with its reads, it is told which. */
Test(core_snapshots, a_refused_read_of_several_is_named)
{
    stage s;
    stage_open(&s, &plain);
    actor a = reader("a h.f c", "GET a");
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "MULTI / GET a / HGET h f / GET c / EXEC");
    says(&s, 0, "OK, QUEUED, -NOPERM no, QUEUED, -EXECABORT Transaction discarded");
    ends_saying(&s, &a, GAVEL_REJECTED, "HGET \"h\" was refused: NOPERM no");
    stage_close(&s);
}
