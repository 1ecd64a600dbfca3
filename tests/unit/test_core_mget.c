/*
 * MGET: the strings of a round are asked for at once, and nobody can tell from what he is told;
 * with the test as the server.
 */
#include "stage.h"

#include "base/text.h"

#include <criterion/criterion.h>
#include <string.h>

static const stage_config plain = {.has_no_prefetch = true};

static actor reader(const char *reads, const char *plays)
{
    return (actor){.reads = reads, .plays = plays, .request = {.is_read_only = true}};
}

static void begin(stage *s, actor *a)
{
    enter(s, a);
    link_up(s, 0);
}

/* ---- What is asked for by MGET ------------------------------------------------------------- */

Test(core_mget, four_strings_or_more_are_asked_for_at_once)
{
    static const struct {
        const char *reads;
        const char *commands;
    } cases[] = {
        {"a b c", "WATCH a b c / GET a / GET b / GET c"},
        {"a b c d", "WATCH a b c d / MGET a b c d"},
        {"a b c d e", "WATCH a b c d e / MGET a b c d e"},
        {"a b h.f c", "WATCH a b h c / GET a / GET b / HGET h f / GET c"},
        {"h.f a b c g.f d", "WATCH h a b c g d / MGET a b c d / HGET h f / HGET g f"},
        {"a b c a.f", "WATCH a b c / GET a / GET b / GET c / HGET a f"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        stage s;
        stage_open(&s, &plain);
        actor a = {.reads = cases[i].reads, .plays = "SET a 1"};
        begin(&s, &a);
        hears(&s, 0, cases[i].commands);
        stage_close(&s);
    }
}

Test(core_mget, members_share_it_and_each_finds_its_own)
{
    stage s;
    stage_open(&s, &plain);
    actor a[3] = {{.reads = "a b", .plays = "GET a; GET b; ADD a 1"},
        {.reads = "h.f b c", .plays = "HGET h f; GET b; GET c; ADD c 1"},
        {.reads = "d g.f", .plays = "GET d; HGET g f; ADD d 1"}};
    for (size_t i = 0; i < 3; i++)
        enter(&s, &a[i]);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a b h c d g / MGET a b c d / HGET h f / HGET g f");
    says(&s, 0, "OK, [\"1\", \"2\", \"3\", \"4\"], \"x\"");
    cr_assert_eq(a[0].n_runs, 0, "not all is read");
    says(&s, 0, "nil");
    cr_assert_str_eq(a[0].seen, "a=1 b=2 ");
    cr_assert_str_eq(a[1].seen, "f=x b=2 c=3 ");
    cr_assert_str_eq(a[2].seen, "d=4 f=nil ");
    hears(&s, 0, "MULTI / MSET a 2 c 4 d 5 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    for (size_t i = 0; i < 3; i++)
        cr_assert_eq(ends(&s, &a[i], GAVEL_COMMITTED)->n_round_trips, 2);
    cr_assert_eq(s.engine.context.stats.n_commands, 4 + 3);
    stage_close(&s);
}

/* Names and values of any byte, and the empty string, are not what nil is. */
Test(core_mget, an_empty_value_is_one)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.reads = "a b c d", .plays = "GET a; GET d; SET a 1"};
    begin(&s, &a);
    hears(&s, 0, "WATCH a b c d / MGET a b c d");
    says(&s, 0, "OK, [\"\", \"1\", \"1\", \"\"]");
    cr_assert_str_eq(a.seen, "a= d= ");
    stage_close(&s);
}

/* A query that is a plain GET is one; any other command is not, whatever it is called. */
Test(core_mget, only_plain_gets_are_in_it)
{
    stage s;
    stage_open(&s, &plain);
    gavel_bytes get[] = {GAVEL_STR("GET"), GAVEL_STR("a")};
    gavel_bytes lower[] = {GAVEL_STR("get"), GAVEL_STR("b")};
    gavel_bytes range[] = {GAVEL_STR("GETRANGE"), GAVEL_STR("c"), GAVEL_STR("0"), GAVEL_STR("1")};
    gavel_command commands[] = {
        {.args = get, .n_args = 2}, {.args = lower, .n_args = 2}, {.args = range, .n_args = 4}};
    gavel_read reads[] = {{.command = &commands[0]}, {.command = &commands[1]},
        {.command = &commands[2]}, {.key = GAVEL_STR("d")}, {.key = GAVEL_STR("e")},
        {.key = GAVEL_STR("f")}};
    actor a = {.plays = "QUERY GET a; GET d; SET d 1", .request = {.reads = reads, .n_reads = 6}};
    begin(&s, &a);
    hears(&s, 0, "WATCH a b c d e f / MGET a d e f / get b / GETRANGE c 0 1");
    says(&s, 0, "OK, [\"1\", \"2\", \"3\", \"4\"], \"5\", \"6\"");
    cr_assert_str_eq(a.seen, "a=1 d=2 ");
    stage_close(&s);
}

Test(core_mget, the_keys_of_ids_are_asked_for_one_by_one)
{
    stage s;
    stage_open(&s, &plain);
    actor a[5];
    static const char *const ids[] = {"1", "2", "3", "4", "5"};
    static const char *const keys[] = {"a", "b", "c", "d", "e"};
    static const char *const plays[] = {"ADD a 1", "ADD b 1", "ADD c 1", "ADD d 1", "ADD e 1"};
    for (size_t i = 0; i < 5; i++) {
        a[i] = (actor){.reads = keys[i], .plays = plays[i], .id = ids[i]};
        enter(&s, &a[i]);
    }
    link_up(&s, 0);
    hears(&s, 0,
        "WATCH a g:id:{1} b g:id:{2} c g:id:{3} d g:id:{4} e g:id:{5} / MGET a "
        "b c d e"
        " / GET g:id:{1} / GET g:id:{2} / GET g:id:{3} / GET g:id:{4} / GET "
        "g:id:{5}");
    says(&s, 0, "OK, [\"1\", \"1\", \"1\", \"1\", \"1\"], nil, nil, nil, nil, nil");
    advance(&s, 0);
    cr_assert_eq(s.engine.policy.n_plain_rounds[GAVEL__SHORTCUT_MGET], 0);
    const char *heard = stage_peek(&s, 0);
    cr_assert_eq(
        strncmp(heard, "MULTI / MSET a 2 b 2 c 2 d 2 e 2 / SET g:id:{1} ", 48), 0, "%s", heard);
    stage_close(&s);
}

/* ---- What it does not say ------------------------------------------------------------------ */

/* nil may be another type, an element of another type makes no sense, nor does one too few. */
Test(core_mget, whatever_is_not_all_strings_is_asked_for_one_by_one)
{
    static const char *const answers[] = {
        "[\"1\", nil, \"3\", \"4\"]",
        "[\"1\", \"2\", \"3\", nil]",
        "[nil, nil, nil, nil]",
        "[\"1\", :2, \"3\", \"4\"]",
        "[\"1\", [\"2\"], \"3\", \"4\"]",
        "[\"1\", -ERR of b, \"3\", \"4\"]",
        "[\"1\", \"2\", \"3\"]",
        "[\"1\", \"2\", \"3\", \"4\", \"5\"]",
        "[]",
        "nil",
        ":4",
        "OK",
        "\"1\"",
        "-ERR unknown command 'MGET'",
        "-NOPERM this user has no permissions to run the 'mget' command",
    };
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        stage s;
        stage_open(&s, &plain);
        actor a = {.reads = "a b c d h.f",
            .plays = "GET a; GET b; HGET h f; ADD c 1",
            .request = {.max_attempts = 1, .max_faults = 1}};
        begin(&s, &a);
        hears(&s, 0, "WATCH a b c d h / MGET a b c d / HGET h f");
        says(&s, 0, "OK");
        says(&s, 0, answers[i]);
        cr_assert_eq(a.n_runs, 0, "%s", answers[i]);
        hears_nothing(&s, 0); /* HGET is still to be answered */
        says(&s, 0, "\"x\"");
        hears(&s, 0, "UNWATCH / WATCH a b c d h / GET a / GET b / GET c / GET d / HGET h f");
        says(&s, 0, "OK, OK, \"1\", nil, \"3\", \"4\", \"y\"");
        cr_assert_str_eq(a.seen, "a=1 b=nil f=y ");
        hears(&s, 0, "MULTI / SET c 4 / EXEC");
        says(&s, 0, "OK, QUEUED, [OK]");
        const gavel_outcome *outcome = ends(&s, &a, GAVEL_COMMITTED);
        cr_assert_eq(outcome->n_attempts, 1);
        cr_assert_eq(outcome->n_faults, 0);
        cr_assert_eq(outcome->n_conflicts, 0);
        cr_assert_eq(outcome->n_round_trips, 3);
        stage_close(&s);
    }
}

Test(core_mget, an_error_of_one_key_is_told_to_those_who_read_it)
{
    stage s;
    stage_open(&s, &plain);
    actor a[5];
    static const char *const keys[] = {"a", "b", "c", "d", "e"};
    static const char *const plays[] = {"ADD a 1", "ADD b 1", "ADD c 1", "ADD d 1", "ADD e 1"};
    for (size_t i = 0; i < 5; i++) {
        a[i] = (actor){.reads = keys[i], .plays = plays[i]};
        enter(&s, &a[i]);
    }
    link_up(&s, 0);
    hears(&s, 0, "WATCH a b c d e / MGET a b c d e");
    says(&s, 0, "OK, [\"1\", \"1\", nil, \"1\", nil]");
    hears(&s, 0, "UNWATCH / WATCH a b c d e / GET a / GET b / GET c / GET d / GET e");
    says(&s, 0, "OK, OK, \"1\", \"1\", -WRONGTYPE of c, \"1\", nil");
    ends_saying(&s, &a[2], GAVEL_REJECTED, "WRONGTYPE of c: GET \"c\"");
    hears(&s, 0, "MULTI / MSET a 2 b 2 d 2 e 1 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    for (size_t i = 0; i < 5; i++) {
        if (i != 2)
            ends(&s, &a[i], GAVEL_COMMITTED);
    }
    stage_close(&s);
}

Test(core_mget, a_server_that_cannot_serve_now_is_no_reason_to_do_without)
{
    static const char *const words[] = {"-LOADING data", "-BUSY script", "-NOAUTH login"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        stage s;
        stage_open(&s, &plain);
        actor a = {.reads = "a b c d", .plays = "ADD a 1"};
        begin(&s, &a);
        hears(&s, 0, "WATCH a b c d / MGET a b c d");
        says(&s, 0, "OK");
        says(&s, 0, words[i]);
        is_in(&s, &a, GAVEL__TX_PAUSED);
        cr_assert_eq(a.transaction->outcome.n_faults, 1);
        cr_assert_eq(s.engine.policy.n_plain_rounds[GAVEL__SHORTCUT_MGET], 0);
        if (i == 2)
            is_closed(&s, 0, "NOAUTH");
        stage_close(&s);
    }
}

Test(core_mget, after_256_rounds_it_is_tried_again)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.reads = "a b c d", .plays = "ADD a 1"};
    actor few = {.reads = "a b c", .plays = "ADD a 1"};
    begin(&s, &a);
    hears(&s, 0, "WATCH a b c d / MGET a b c d");
    says(&s, 0, "OK, [nil, nil, nil, nil]");
    hears(&s, 0, "UNWATCH / WATCH a b c d / GET a / GET b / GET c / GET d");
    for (int i = 0; i < 256; i++) {
        says(&s, 0, i == 0 ? "OK" : "");
        says(&s, 0, "OK, nil, nil, nil, nil");
        hears(&s, 0, "MULTI / SET a 1 / EXEC");
        says(&s, 0, "OK, QUEUED, [OK]");
        ends(&s, &a, GAVEL_COMMITTED);
        s.n_actors = 0;
        if (i == 100) { /* one that would not have used it does not count */
            enter(&s, &few);
            hears(&s, 0, "WATCH a b c / GET a / GET b / GET c");
            says(&s, 0, "OK, nil, nil, nil");
            hears(&s, 0, "MULTI / SET a 1 / EXEC");
            says(&s, 0, "OK, QUEUED, [OK]");
            ends(&s, &few, GAVEL_COMMITTED);
            s.n_actors = 0;
        }
        enter(&s, &a);
        hears(&s, 0,
            i < 255 ? "WATCH a b c d / GET a / GET b / GET c / GET d"
                    : "WATCH a b c d / MGET a b c d");
    }
    stage_close(&s);
}

/* ---- Where it may stand -------------------------------------------------------------------- */

Test(core_mget, the_next_rounds_reads_behind_exec)
{
    for (int i = 0; i < 2; i++) {
        stage s;
        stage_open(&s, &(stage_config){.has_no_prefetch = true, .max_width = 1});
        actor a = {.reads = "a b c d", .plays = "ADD a 1"};
        actor b = {.reads = "b c d e h.f", .plays = "ADD e 1"};
        enter(&s, &a);
        enter(&s, &b);
        link_up(&s, 0);
        hears(&s, 0, "WATCH a b c d / MGET a b c d");
        says(&s, 0, "OK, [\"1\", \"2\", \"3\", \"4\"]");
        hears(&s, 0, "MULTI / SET a 2 / EXEC / WATCH b c d e h / MGET b c d e / HGET h f");
        says(&s, 0, i == 0 ? "OK, QUEUED, [OK]" : "OK, QUEUED, nil");
        says(&s, 0, "OK, [\"2\", \"3\", \"4\", \"5\"], nil");
        advance(&s, 0);
        if (i == 0) {
            ends(&s, &a, GAVEL_COMMITTED);
            hears(&s, 0, "MULTI / SET e 6 / EXEC");
        } else {
            hears(&s, 0, "MULTI / SET e 6 / EXEC / WATCH a b c d / MGET a b c d");
        }
        says(&s, 0, "OK, QUEUED, [OK]");
        ends(&s, &b, GAVEL_COMMITTED);
        stage_close(&s);
    }
}

Test(core_mget, behind_exec_it_may_fail_as_well)
{
    stage s;
    stage_open(&s, &(stage_config){.has_no_prefetch = true, .max_width = 1});
    actor a = {.keys = "x", .plays = "SET x 1"};
    actor b = {.reads = "a b c d", .plays = "ADD a 1"};
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "WATCH x");
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / SET x 1 / EXEC / WATCH a b c d / MGET a b c d");
    says(&s, 0, "OK, QUEUED, [OK], OK, [\"1\", \"2\", \"3\", nil]");
    ends(&s, &a, GAVEL_COMMITTED);
    hears(&s, 0, "UNWATCH / WATCH a b c d / GET a / GET b / GET c / GET d");
    says(&s, 0, "OK, OK, \"1\", \"2\", \"3\", nil");
    hears(&s, 0, "MULTI / SET a 2 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &b, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_mget, in_a_reread_after_a_conflict)
{
    for (int i = 0; i < 2; i++) {
        stage s;
        stage_open(&s, &(stage_config){.n_lanes = 1});
        actor a = {.reads = "a b c d h.f", .plays = "GET d; HGET h f; ADD a 1"};
        begin(&s, &a);
        hears(&s, 0, "WATCH a b c d h / MGET a b c d / HGET h f");
        says(&s, 0, "OK, [\"1\", \"2\", \"3\", \"4\"], nil");
        hears(&s, 0, "MULTI / SET a 2 / EXEC / WATCH a b c d h / MGET a b c d / HGET h f");
        says(&s, 0, "OK, QUEUED, nil, OK");
        says(&s, 0, i == 0 ? "[\"7\", \"2\", \"3\", \"5\"]" : "[\"7\", \"2\", \"3\", nil]");
        says(&s, 0, "\"x\"");
        if (i == 1) { /* one of them was deleted */
            hears(&s, 0, "UNWATCH / WATCH a b c d h / GET a / GET b / GET c / GET d / HGET h f");
            says(&s, 0, "OK, OK, \"7\", \"2\", \"3\", nil, \"x\"");
        }
        cr_assert_str_eq(a.seen, i == 0 ? "d=5 f=x " : "d=nil f=x ");
        advance(&s, 0);
        cr_assert_eq(strncmp(stage_peek(&s, 0), "MULTI / SET a 8 / EXEC", 22), 0);
        (void)stage_listen(&s, 0);
        says(&s, 0, "OK, QUEUED, [OK]");
        const gavel_outcome *outcome = ends(&s, &a, GAVEL_COMMITTED);
        cr_assert_eq(outcome->n_conflicts, 1);
        cr_assert_eq(outcome->n_attempts, 2);
        stage_close(&s);
    }
}

Test(core_mget, in_a_round_that_stands)
{
    static const char *const answers[] = {
        "[\"2\", \"2\", \"3\", \"4\"]", "[\"2\", \"2\", \"3\", nil]", "-NOPERM mget", "[\"2\"]"};
    for (size_t i = 0; i < 8; i++) {
        bool comes_early = i >= 4; /* it has joined before the answer to MGET */
        stage s;
        stage_open(&s, &(stage_config){.n_lanes = 1});
        actor a = {.reads = "a b c d", .plays = "ADD a 1"};
        begin(&s, &a);
        hears(&s, 0, "WATCH a b c d / MGET a b c d");
        says(&s, 0, "OK, [\"1\", \"2\", \"3\", \"4\"]");
        hears(&s, 0, "MULTI / SET a 2 / EXEC / WATCH a b c d / MGET a b c d");
        says(&s, 0, "OK, QUEUED, [OK]");
        ends(&s, &a, GAVEL_COMMITTED);
        actor b = {.reads = "a b c d", .plays = "ADD a 10"};
        if (comes_early) {
            enter(&s, &b);
            hears_nothing(&s, 0);
        }
        says(&s, 0, "OK");
        says(&s, 0, answers[i % 4]);
        if (!comes_early)
            enter(&s, &b);
        if (i % 4 == 0) {
            hears(&s, 0, "MULTI / SET a 12 / EXEC / WATCH a b c d / MGET a b c d");
            says(&s, 0, "OK, QUEUED, [OK]");
            cr_assert_eq(ends(&s, &b, GAVEL_COMMITTED)->n_round_trips, 1);
        } else {
            hears(&s, 0, "UNWATCH / WATCH a b c d / GET a / GET b / GET c / GET d");
            says(&s, 0, "OK, OK, \"2\", \"2\", \"3\", nil");
            hears(&s, 0, "MULTI / SET a 12 / EXEC / WATCH a b c d / GET a / GET b / GET c / GET d");
            says(&s, 0, "OK, QUEUED, [OK]");
            ends(&s, &b, GAVEL_COMMITTED);
        }
        stage_close(&s);
    }
}

Test(core_mget, when_a_round_reads_again_to_see_what_has_changed)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.reads = "a b", .plays = "ADD a 1"};
    actor b = {.reads = "c d", .plays = "ADD c 1"};
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a b c d / MGET a b c d");
    says(&s, 0, "OK, [\"1\", \"1\", \"1\", \"1\"]");
    hears(&s, 0, "MULTI / MSET a 2 c 2 / EXEC");
    says(&s, 0, "OK, QUEUED, nil");
    s.engine.policy.prefetch_credit = 0;
    hears(&s, 0, "WATCH a b c d / MGET a b c d");
    says(&s, 0, "OK, [\"1\", nil, \"1\", \"1\"]");
    hears(&s, 0, "UNWATCH / WATCH a b c d / GET a / GET b / GET c / GET d");
    says(&s, 0, "OK, OK, \"1\", nil, \"1\", \"1\"");
    hears(&s, 0, "MULTI / MSET a 2 c 2 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    cr_assert_eq(ends(&s, &a, GAVEL_COMMITTED)->n_conflicts, 1);
    ends(&s, &b, GAVEL_COMMITTED);
    stage_close(&s);
}

/* An abort rests on several reads still: they are of one moment, but which reads are by MGET is
 * not the body's business. */
Test(core_mget, several_reads_are_still_proved_by_exec)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.reads = "a b c d", .plays = "GET a; GET b; ABORT 1"};
    begin(&s, &a);
    hears(&s, 0, "WATCH a b c d / MGET a b c d");
    says(&s, 0, "OK, [\"1\", \"2\", \"3\", \"4\"]");
    hears(&s, 0, "MULTI / EXEC");
    says(&s, 0, "OK, []");
    cr_assert_eq(ends(&s, &a, GAVEL_ABORTED)->abort_code, 1);
    stage_close(&s);
}

/* ---- Transactions that only read ----------------------------------------------------------- */

Test(core_mget, a_snapshot_of_strings_is_a_bare_one)
{
    static const struct {
        const char *reads;
        const char *commands;
    } cases[] = {
        {"a", "GET a"},
        {"a b c", "MULTI / GET a / GET b / GET c / EXEC"},
        {"a b c d", "MGET a b c d"},
        {"a b c d h.f", "MULTI / GET a / GET b / GET c / GET d / HGET h f / EXEC"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        stage s;
        stage_open(&s, &(stage_config){.has_markers = true});
        actor a = reader(cases[i].reads, "GET a");
        begin(&s, &a);
        hears(&s, 0, cases[i].commands);
        stage_close(&s);
    }
}

Test(core_mget, a_snapshots_members_each_find_their_own)
{
    stage s;
    stage_open(&s, &plain);
    actor a[2] = {reader("a b", "GET a; GET b"), reader("c b d", "GET d; GET b; ABORT 2")};
    enter(&s, &a[0]);
    enter(&s, &a[1]);
    link_up(&s, 0);
    hears(&s, 0, "MGET a b c d");
    says(&s, 0, "[\"1\", \"2\", \"3\", \"4\"]");
    cr_assert_eq(ends(&s, &a[0], GAVEL_COMMITTED)->n_round_trips, 1);
    ends(&s, &a[1], GAVEL_ABORTED);
    cr_assert_str_eq(a[0].seen, "a=1 b=2 ");
    cr_assert_str_eq(a[1].seen, "d=4 b=2 ");
    cr_assert_eq(s.engine.context.stats.n_commands, 1);
    hears_nothing(&s, 0);
    stage_close(&s);
}

Test(core_mget, a_snapshot_that_it_cannot_answer_goes_between_multi_and_exec)
{
    static const char *const answers[] = {
        "[\"1\", nil, \"3\", \"4\"]", "-NOPERM mget", "[\"1\"]", ":1", "nil"};
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        stage s;
        stage_open(&s, &plain);
        actor a = reader("a b c d", "GET a; GET b; GET d");
        begin(&s, &a);
        hears(&s, 0, "MGET a b c d");
        says(&s, 0, answers[i]);
        hears(&s, 0, "MULTI / GET a / GET b / GET c / GET d / EXEC");
        says(&s, 0, "OK, QUEUED, QUEUED, QUEUED, QUEUED, [\"1\", nil, \"3\", \"4\"]");
        cr_assert_eq(ends(&s, &a, GAVEL_COMMITTED)->n_faults, 0);
        cr_assert_str_eq(a.seen, "a=1 b=nil d=4 ");
        stage_close(&s);
    }
}

/* Of a link that still watches: nothing that ends in nil. */
Test(core_mget, a_bare_one_needs_no_unwatch)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.reads = "a", .plays = "GET a; ABORT 1"};
    begin(&s, &a);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, nil");
    ends(&s, &a, GAVEL_ABORTED);
    actor b = reader("a b c d", "GET a");
    enter(&s, &b);
    hears(&s, 0, "MGET a b c d");
    says(&s, 0, "[\"1\", \"2\", \"3\", \"4\"]");
    ends(&s, &b, GAVEL_COMMITTED);
    actor c = {.keys = "c", .plays = "SET c 1"};
    enter(&s, &c);
    hears(&s, 0, "UNWATCH / WATCH c");
    stage_close(&s);
}

Test(core_mget, a_snapshot_behind_an_exec)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.keys = "a", .plays = "SET a 1"};
    actor b = reader("a b c d", "GET a");
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a");
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / SET a 1 / EXEC / MGET a b c d");
    says(&s, 0, "OK, QUEUED, nil, [\"7\", \"2\", \"3\", \"4\"]");
    ends(&s, &b, GAVEL_COMMITTED);
    cr_assert_str_eq(b.seen, "a=7 ");
    hears(&s, 0, "WATCH a");
    stage_close(&s);
}

/* Rounds that only read count as well: or a client that does nothing else never comes back to it.
 */
Test(core_mget, snapshots_try_it_again_after_256_rounds)
{
    stage s;
    stage_open(&s, &plain);
    actor a = reader("a b c d", "GET a");
    begin(&s, &a);
    hears(&s, 0, "MGET a b c d");
    says(&s, 0, "[\"1\", \"2\", \"3\", nil]");
    for (int i = 0; i < 256; i++) {
        hears(&s, 0, "MULTI / GET a / GET b / GET c / GET d / EXEC");
        says(&s, 0, "OK, QUEUED, QUEUED, QUEUED, QUEUED, [\"1\", \"2\", \"3\", nil]");
        ends(&s, &a, GAVEL_COMMITTED);
        s.n_actors = 0;
        enter(&s, &a);
    }
    hears(&s, 0, "MGET a b c d");
    stage_close(&s);
}
