/*
 * Rounds: one or several transactions between WATCH and EXEC, with the test as the server. What
 * happens when somebody else wins is in test_core_conflicts.c.
 */
#include "stage.h"

#include "base/text.h"

#include <criterion/criterion.h>

static const stage_config plain = {.has_no_prefetch = true};
static const stage_config with_markers = {.has_markers = true, .has_no_prefetch = true};

/* ---- One transaction ----------------------------------------------------------------------- */

Test(core_rounds, a_lone_transaction_reads_then_commits)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = {.reads = "a", .plays = "ADD a 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a m0 / GET a");
    says(&s, 0, "OK, OK, \"1\"");
    hears(&s, 0, "MULTI / SET a 2 / INCR m0 / EXEC");
    advance(&s, 250);
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n0+1]");
    const gavel_outcome *outcome = ends(&s, &a, GAVEL_COMMITTED);
    cr_assert_eq(outcome->n_attempts, 1);
    cr_assert_eq(outcome->n_round_trips, 2);
    cr_assert_eq(outcome->n_conflicts, 0);
    cr_assert_eq(outcome->n_faults, 0);
    cr_assert_eq(outcome->elapsed_us, 250);
    cr_assert_str_eq(outcome->message, "");
    stage_close(&s);
}

Test(core_rounds, the_next_round_on_a_link_does_not_plant_its_marker_again)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = {.keys = "a", .plays = "SET a 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a m0");
    says(&s, 0, "OK, OK");
    hears(&s, 0, "MULTI / SET a 1 / INCR m0 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n0+1]");
    ends(&s, &a, GAVEL_COMMITTED);
    actor b = {.keys = "a", .plays = "SET a 2"};
    enter(&s, &b);
    hears(&s, 0, "WATCH a m0");
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / SET a 2 / INCR m0 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n0+2]");
    ends(&s, &b, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_rounds, reads_of_strings_fields_and_commands_keep_their_bytes)
{
    stage s;
    stage_open(&s, &plain);
    gavel_bytes args[] = {GAVEL_STR("ZCARD"), GAVEL_STR("z")};
    gavel_command count = {.args = args, .n_args = 2};
    gavel_read reads[] = {{.key = GAVEL_STR("a b")},
        {.key = GAVEL_STR("h"), .field = GAVEL_STR("")}, {.command = &count}};
    actor a = {.plays = "QUERY ZCARD z; ABORT 3", .request = {.reads = reads, .n_reads = 3}};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a b h z / GET a b / HGET h  / ZCARD z");
    says(&s, 0, "OK, nil, nil, :4");
    cr_assert_str_eq(a.seen, "z=4 ");
    hears(&s, 0, "MULTI / EXEC");
    says(&s, 0, "OK, []");
    cr_assert_eq(ends(&s, &a, GAVEL_ABORTED)->abort_code, 3);
    stage_close(&s);
}

Test(core_rounds, a_body_sees_its_own_writes)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.reads = "a h.f",
        .plays = "GET a; SET a 5; GET a; DEL a; GET a; HGET h f; HSET h f 2; HGET h f; HDEL h f;"
                 "HGET h f; ADD a 9"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a h / GET a / HGET h f");
    says(&s, 0, "OK, \"1\", \"x\"");
    cr_assert_str_eq(a.seen, "a=1 a=5 a=nil f=x f=2 f=nil ");
    hears(&s, 0, "MULTI / SET a 5 / DEL a / HSET h f 2 / HDEL h f / SET a 9 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, QUEUED, QUEUED, QUEUED, [OK, :1, :0, :1, OK]");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_rounds, what_was_not_declared_is_fetched_and_the_body_runs_again)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.keys = "a", .plays = "GET b; GET c; SET b 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a");
    says(&s, 0, "OK");
    cr_assert_str_eq(a.seen, "b=? c=? ");
    hears(&s, 0, "UNWATCH / WATCH a b c / GET b / GET c");
    says(&s, 0, "OK, OK, \"x\", nil");
    cr_assert_str_eq(a.seen, "b=x c=nil ");
    hears(&s, 0, "MULTI / SET b 1 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    cr_assert_eq(ends(&s, &a, GAVEL_COMMITTED)->n_attempts, 1, "AGAIN is no attempt");
    stage_close(&s);
}

/* The key has another round's or no round's traces: they are none of this body's business. */
Test(core_rounds, an_undeclared_key_read_twice_in_a_run_is_not_there_yet_twice)
{
    stage s;
    stage_open(&s, &(stage_config){.n_lanes = 2, .has_no_prefetch = true});
    actor other = {.keys = "h k", .plays = "SET k 1; SET k 2; SET k 3; HSET h f 1; HSET h g 2"};
    enter(&s, &other);
    link_up(&s, 0);
    hears(&s, 0, "WATCH h k");
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / SET k 3 / HSET h f 1 / HSET h g 2 / EXEC");
    actor a = {.keys = "a",
        .plays = "HGET h f; HGET h g; GET k; GET k; QUERY STRLEN k; QUERY STRLEN k;"
                 "HSET h x 1; SET k 1"};
    enter(&s, &a);
    link_up(&s, 1);
    hears(&s, 1, "WATCH a");
    says(&s, 1, "OK");
    cr_assert_str_eq(a.seen, "f=? g=? k=? k=? k=? k=? ");
    is_in(&s, &a, GAVEL__TX_PARKED);
    says(&s, 0, "OK, QUEUED, QUEUED, QUEUED, [OK, :1, :1]");
    ends(&s, &other, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_rounds, a_key_kept_for_its_heat_has_forgotten_its_writes)
{
    stage s;
    stage_open(&s, &plain);
    actor other = {.keys = "h", .plays = "HSET h f 1; HSET h f 2", .request = {.max_attempts = 1}};
    enter(&s, &other);
    link_up(&s, 0);
    hears(&s, 0, "WATCH h");
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / HSET h f 1 / HSET h f 2 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, nil");
    ends(&s, &other, GAVEL_CONFLICT);
    actor a = {.keys = "a", .plays = "HGET h f; HGET h g; HSET h f 3"};
    enter(&s, &a);
    hears(&s, 0, "WATCH a");
    says(&s, 0, "OK");
    cr_assert_str_eq(a.seen, "f=? g=? ");
    hears(&s, 0, "UNWATCH / WATCH a h / HGET h f / HGET h g");
    stage_close(&s);
}

Test(core_rounds, replies_are_kept_on_demand_and_errors_among_them_are_told)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = {.keys = "a b", .plays = "SET a 1; WRITE INCR b", .request = {.keep_replies = true}};
    actor b = {
        .keys = "c", .plays = "WRITE INCR c; WRITE LPUSH c 1", .request = {.keep_replies = true}};
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a b c m0");
    says(&s, 0, "OK, OK");
    hears(&s, 0, "MULTI / SET a 1 / INCR b / INCR c / LPUSH c 1 / INCR m0 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, QUEUED, QUEUED, QUEUED");
    says(&s, 0, "[OK, :7, :9, -WRONGTYPE of c, :n0+1]");
    const gavel_outcome *first = ends(&s, &a, GAVEL_COMMITTED);
    cr_assert_eq(first->n_replies, 2);
    cr_assert(gavel__bytes_equal(first->replies[0].text, GAVEL_STR("OK")));
    cr_assert_eq(first->replies[1].integer, 7);
    ends_saying(&s, &b, GAVEL_COMMITTED_WITH_ERRORS, "write 2 of 2 failed: WRONGTYPE of c");
    cr_assert_eq(b.outcome.n_replies, 2);
    cr_assert_eq(b.outcome.replies[0].integer, 9);
    cr_assert_eq((int)b.outcome.replies[1].type, (int)GAVEL_REPLY_ERROR);
    stage_close(&s);
}

/* ---- Poison -------------------------------------------------------------------------------- */

static void run_poisoned(actor *a, const char *reply, gavel_status status, const char *words)
{
    stage s;
    stage_open(&s, &plain);
    a->reads = "a";
    enter(&s, a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK");
    says(&s, 0, reply);
    ends_saying(&s, a, status, words);
    hears_nothing(&s, 0);
    stage_close(&s);
}

Test(core_rounds, a_mistake_in_a_body_is_told_and_nothing_is_written)
{
    static const struct {
        const char *plays;
        const char *reply;
        gavel_status status;
        const char *words;
    } cases[] = {
        {"ADD a 1", "\"x\"", GAVEL_INVALID, "not a 64-bit integer; key: \"a\""},
        {"INT a", "\"01\"", GAVEL_INVALID, "not a 64-bit integer; key: \"a\""},
        {"GET a", "-WRONGTYPE of a", GAVEL_REJECTED, "WRONGTYPE of a: GET \"a\""},
        {"WRITE WATCH a", "nil", GAVEL_INVALID, "\"WATCH\" is no command for a body"},
        {"WRITE exec a", "nil", GAVEL_INVALID, "\"exec\" is no command for a body"},
        {"QUERY Select 1", "nil", GAVEL_INVALID, "\"Select\" is no command for a body"},
        {"WRITE INCR", "nil", GAVEL_INVALID, "too few arguments for the command's keys: \"INCR\""},
        {"QUERY GET", "nil", GAVEL_INVALID, "too few arguments for the command's keys: \"GET\""},
        {"WRITE INCR a; GET a", "nil", GAVEL_INVALID, "what GET finds after INCR "},
        {"HSET a f 1; GET a", "nil", GAVEL_INVALID, "what GET finds after HSET "},
        {"SET a 1; QUERY STRLEN a", "nil", GAVEL_INVALID, "what STRLEN finds after SET "},
        {"AGAIN", "nil", GAVEL_INVALID, "returned GAVEL_AGAIN, but all that it read was there"},
        {"ADD a 1; SET b 1; ABORT 4", "\"x\"", GAVEL_INVALID, "not a 64-bit integer"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        actor a = {.plays = cases[i].plays};
        run_poisoned(&a, cases[i].reply, cases[i].status, cases[i].words);
        cr_assert_eq(a.outcome.n_attempts, 1);
    }
}

/* A server that answers GET with a number has lost its way: that is no empty string. */
Test(core_rounds, a_reply_of_the_wrong_type_is_not_taken_for_a_value)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.reads = "a", .plays = "GET a; SET a 2"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, :5");
    cr_assert_neq(strcmp(a.seen, "a= "), 0, "an integer was read as the empty string");
    stage_close(&s);
}

static gavel_verdict no_verdict(gavel_tx *tx, void *user)
{
    (void)tx;
    (void)user;
    return (gavel_verdict)77;
}

static gavel_verdict too_long_a_result(gavel_tx *tx, void *user)
{
    (void)user;
    char result[GAVEL_RESULT_MAX + 1] = {0};
    cr_assert_not(gavel_set_result(tx, (gavel_bytes){result, sizeof(result)}));
    cr_assert_not(gavel_set_result(tx, GAVEL_STR("fits")), "the attempt is poisoned");
    return GAVEL_COMMIT;
}

static void run_body(gavel_body *body, const char *words)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.keys = "a", .plays = ""};
    enter(&s, &a);
    a.transaction->body = body;
    link_up(&s, 0);
    hears(&s, 0, "WATCH a");
    says(&s, 0, "OK");
    ends_saying(&s, &a, GAVEL_INVALID, words);
    stage_close(&s);
}

Test(core_rounds, what_is_no_verdict_and_a_result_too_long_are_invalid)
{
    run_body(no_verdict, "the body returned 77, which is no verdict");
    run_body(too_long_a_result, "a result has at most 128 bytes");
}

/* ---- Several transactions ------------------------------------------------------------------ */

Test(core_rounds, transactions_on_one_key_share_a_round_and_each_sees_the_write_before)
{
    stage s;
    stage_open(&s, &plain);
    actor a[3] = {{.reads = "a", .plays = "GET a; ADD a 1"},
        {.reads = "a", .plays = "GET a; ADD a 10"}, {.reads = "a", .plays = "GET a; ADD a 100"}};
    for (size_t i = 0; i < 3; i++)
        enter(&s, &a[i]);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, \"5\"");
    hears(&s, 0, "MULTI / SET a 116 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    static const char *const seen[] = {"a=5 ", "a=6 ", "a=16 "};
    for (size_t i = 0; i < 3; i++) {
        ends(&s, &a[i], GAVEL_COMMITTED);
        cr_assert_str_eq(a[i].seen, seen[i]);
    }
    cr_assert_eq(s.engine.context.stats.n_rounds, 1);
    stage_close(&s);
}

Test(core_rounds, a_round_is_no_wider_than_allowed_and_the_rest_follows_behind_its_exec)
{
    stage s;
    stage_open(&s, &(stage_config){.max_width = 2, .has_no_prefetch = true});
    actor a[3] = {{.reads = "a", .plays = "ADD a 1"}, {.reads = "b", .plays = "ADD b 1"},
        {.reads = "c", .plays = "ADD c 1"}};
    for (size_t i = 0; i < 3; i++)
        enter(&s, &a[i]);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a b / GET a / GET b");
    says(&s, 0, "OK, nil, nil");
    hears(&s, 0, "MULTI / MSET a 1 b 1 / EXEC / WATCH c / GET c");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &a[0], GAVEL_COMMITTED);
    ends(&s, &a[1], GAVEL_COMMITTED);
    says(&s, 0, "OK, \"7\"");
    hears(&s, 0, "MULTI / SET c 8 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    cr_assert_eq(ends(&s, &a[2], GAVEL_COMMITTED)->n_round_trips, 2);
    stage_close(&s);
}

Test(core_rounds, a_body_that_aborts_is_rolled_back)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.reads = "a", .plays = "ADD a 1"};
    actor b = {.reads = "a b", .plays = "SET b 1; ADD a 10; ABORT 3"};
    actor c = {.reads = "a b", .plays = "GET b; ADD a 100"};
    enter(&s, &a);
    enter(&s, &b);
    enter(&s, &c);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a b / GET a / GET b");
    says(&s, 0, "OK, \"0\", \"x\"");
    cr_assert_str_eq(c.seen, "b=x ");
    hears(&s, 0, "MULTI / SET a 101 / EXEC");
    is_in(&s, &b, GAVEL__TX_COMMITTING); /* what it saw is not true before EXEC has said so */
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &a, GAVEL_COMMITTED);
    cr_assert_eq(ends(&s, &b, GAVEL_ABORTED)->abort_code, 3);
    ends(&s, &c, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_rounds, an_abort_on_one_read_that_nobody_wrote_needs_no_proof)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.reads = "a", .plays = "GET a; ABORT -1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, \"0\"");
    cr_assert_eq(ends(&s, &a, GAVEL_ABORTED)->abort_code, -1);
    hears_nothing(&s, 0);
    stage_close(&s);
}

Test(core_rounds, an_abort_on_several_reads_is_proved_by_an_empty_exec)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = {.reads = "a b", .plays = "GET a; GET b; ABORT 2"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a b m0 / GET a / GET b");
    says(&s, 0, "OK, OK, \"0\", \"1\"");
    hears(&s, 0, "MULTI / EXEC"); /* no marker: there is nothing to be in doubt about */
    is_in(&s, &a, GAVEL__TX_COMMITTING);
    says(&s, 0, "OK, []");
    cr_assert_eq(ends(&s, &a, GAVEL_ABORTED)->abort_code, 2);
    stage_close(&s);
}

Test(core_rounds, an_abort_whose_proof_fails_runs_again_and_may_commit)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = {.reads = "a b", .plays = "GET a; GET b; ABORT 2|SET a 5"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a b m0 / GET a / GET b");
    says(&s, 0, "OK, OK, \"0\", \"1\"");
    hears(&s, 0, "MULTI / EXEC");
    says(&s, 0, "OK, nil");
    hears(&s, 0, "WATCH a b m0 / GET a / GET b");
    says(&s, 0, "OK, \"0\", \"2\"");
    hears(&s, 0, "MULTI / SET a 5 / INCR m0 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n0+1]");
    const gavel_outcome *outcome = ends(&s, &a, GAVEL_COMMITTED);
    cr_assert_eq(outcome->n_attempts, 2);
    cr_assert_eq(outcome->n_conflicts, 1);
    cr_assert_eq(outcome->abort_code, 0, "the code of an abort that did not come about");
    stage_close(&s);
}

Test(core_rounds, a_commit_that_lost_may_abort_in_the_retry)
{
    stage s;
    stage_open(&s, &(stage_config){.has_markers = true});
    actor a = {.reads = "a b", .plays = "SET a 5|GET a; GET b; ABORT 2"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a b m0 / GET a / GET b");
    says(&s, 0, "OK, OK, \"0\", \"1\"");
    hears(&s, 0, "MULTI / SET a 5 / INCR m0 / EXEC / WATCH a b m0 / GET a / GET b");
    says(&s, 0, "OK, QUEUED, QUEUED, nil");
    says(&s, 0, "OK, \"9\", \"1\"");
    hears(&s, 0, "MULTI / EXEC");
    says(&s, 0, "OK, []");
    cr_assert_eq(ends(&s, &a, GAVEL_ABORTED)->abort_code, 2);
    stage_close(&s);
}

/* What one body read of another's write is not true before EXEC has said so. */
Test(core_rounds, a_mistake_met_in_another_bodys_write_counts_only_once_that_is_made)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.reads = "a", .plays = "SET a x|COMMIT"};
    actor b = {.reads = "a", .plays = "ADD a 1", .request = {.max_attempts = 1}};
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, \"1\"");
    hears(&s, 0, "MULTI / SET a x / EXEC / WATCH a / GET a");
    is_in(&s, &b, GAVEL__TX_READING);
    says(&s, 0, "OK, QUEUED, nil, OK, \"2\"");
    hears(&s, 0, "MULTI / SET a 3 / EXEC / WATCH a / GET a");
    says(&s, 0, "OK, QUEUED, [OK], OK, \"3\"");
    ends(&s, &a, GAVEL_COMMITTED);
    cr_assert_eq(ends(&s, &b, GAVEL_COMMITTED)->n_attempts, 1, "the first run was not its own");
    stage_close(&s);
}

/* The two were not read at one moment: what looks like a mistake may be a change in between. */
Test(core_rounds, a_mistake_met_in_several_reads_is_proved_like_an_abort)
{
    for (int i = 0; i < 2; i++) {
        stage s;
        stage_open(&s, &plain);
        actor a = {.reads = "kind value", .plays = "GET kind; ADD value 1|GET kind; ABORT 7"};
        enter(&s, &a);
        link_up(&s, 0);
        hears(&s, 0, "WATCH kind value / GET kind / GET value");
        says(&s, 0, "OK, \"number\", \"text\"");
        hears(&s, 0, "MULTI / EXEC");
        says(&s, 0, i == 0 ? "OK, []" : "OK, nil");
        if (i == 0) {
            ends_saying(&s, &a, GAVEL_INVALID, "not a 64-bit integer; key: \"value\"");
        } else {
            hears(&s, 0, "WATCH kind value / GET kind / GET value");
            says(&s, 0, "OK, \"text\", \"text\"");
            hears(&s, 0, "MULTI / EXEC");
            says(&s, 0, "OK, []");
            cr_assert_eq(ends(&s, &a, GAVEL_ABORTED)->abort_code, 7);
        }
        stage_close(&s);
    }
}

Test(core_rounds, a_read_of_what_cannot_be_modelled_waits_for_the_next_round)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.keys = "a", .plays = "WRITE INCR a"};
    actor b = {.reads = "a", .plays = "ADD a 10"};
    actor c = {.keys = "c", .plays = "SET c 1"};
    enter(&s, &a);
    enter(&s, &b);
    enter(&s, &c);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a c / GET a");
    says(&s, 0, "OK, \"1\"");
    cr_assert_eq(b.n_runs, 1);
    hears(&s, 0, "MULTI / INCR a / SET c 1 / EXEC / WATCH a / GET a");
    says(&s, 0, "OK, QUEUED, QUEUED, [:2, OK]");
    ends(&s, &a, GAVEL_COMMITTED);
    ends(&s, &c, GAVEL_COMMITTED);
    says(&s, 0, "OK, \"2\"");
    hears(&s, 0, "MULTI / SET a 12 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    cr_assert_eq(ends(&s, &b, GAVEL_COMMITTED)->n_attempts, 1);
    stage_close(&s);
}

Test(core_rounds, a_write_to_a_field_is_shown_to_others_only_when_it_cannot_fail)
{
    stage s;
    stage_open(&s, &plain);
    actor blind = {.keys = "h", .plays = "HSET h f 1"};
    actor reader = {.reads = "h.f", .plays = "HGET h f; HSET h f 2"};
    actor last = {.reads = "h.f", .plays = "HGET h f"};
    enter(&s, &blind);
    enter(&s, &reader);
    enter(&s, &last);
    link_up(&s, 0);
    hears(&s, 0, "WATCH h / HGET h f");
    says(&s, 0, "OK, nil");
    cr_assert_str_eq(reader.seen, "f=? ", "whether h is a hash was not known");
    hears(&s, 0, "MULTI / HSET h f 1 / EXEC / WATCH h / HGET h f");
    says(&s, 0, "OK, QUEUED, [:1]");
    ends(&s, &blind, GAVEL_COMMITTED);
    says(&s, 0, "OK, \"1\"");
    cr_assert_str_eq(reader.seen, "f=1 ");
    cr_assert_str_eq(last.seen, "f=2 ");
    hears(&s, 0, "MULTI / HSET h f 2 / EXEC");
    is_in(&s, &last, GAVEL__TX_COMMITTING);
    says(&s, 0, "OK, QUEUED, [:0]");
    ends(&s, &last, GAVEL_COMMITTED);
    stage_close(&s);
}

/* ---- Refusals ------------------------------------------------------------------------------ */

Test(core_rounds, a_refused_command_harms_only_the_one_that_brought_it)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a = {.keys = "a", .plays = "SET a 1"};
    actor b = {.keys = "b", .plays = "SET b 1; WRITE APPEND b"};
    actor c = {.keys = "c", .plays = "SET c 1"};
    enter(&s, &a);
    enter(&s, &b);
    enter(&s, &c);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a b c m0");
    says(&s, 0, "OK, OK");
    hears(&s, 0, "MULTI / SET a 1 / SET b 1 / APPEND b / SET c 1 / INCR m0 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, -ERR unknown command, QUEUED, QUEUED");
    says(&s, 0, "-EXECABORT Transaction discarded because of previous errors.");
    ends_saying(
        &s, &b, GAVEL_REJECTED, "write 2 of 2 was refused: ERR unknown command: APPEND \"b\"");
    hears(&s, 0, "WATCH a c m0");
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / MSET a 1 c 1 / INCR m0 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n0+1]");
    ends(&s, &a, GAVEL_COMMITTED);
    ends(&s, &c, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_rounds, a_refusal_that_names_nobody_is_narrowed_down)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.keys = "a", .plays = "SET a 1"};
    actor b = {.keys = "b", .plays = "SET b 1"};
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a b");
    says(&s, 0, "-NOPERM this user has no permissions to access one of the keys");
    hears(&s, 0, "UNWATCH / WATCH a");
    says(&s, 0, "OK, OK");
    hears(&s, 0, "MULTI / SET a 1 / EXEC / WATCH b");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &a, GAVEL_COMMITTED);
    says(&s, 0, "-NOPERM this user has no permissions to access one of the keys");
    ends_saying(&s, &b, GAVEL_REJECTED, "WATCH \"b\" was refused: NOPERM");
    stage_close(&s);
}

Test(core_rounds, a_server_that_cannot_serve_now_is_tried_again)
{
    static const char *const words[] = {"-LOADING Redis is loading", "-BUSY script",
        "-EXECABORT Transaction discarded because of: NOREPLICAS Not enough good replicas"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        stage s;
        stage_open(&s, &plain);
        actor a = {.keys = "a", .plays = "SET a 1", .request = {.max_faults = 1}};
        enter(&s, &a);
        link_up(&s, 0);
        hears(&s, 0, "WATCH a");
        says(&s, 0, "OK");
        hears(&s, 0, "MULTI / SET a 1 / EXEC");
        says(&s, 0, "OK, QUEUED");
        says(&s, 0, words[i]);
        is_in(&s, &a, GAVEL__TX_PAUSED);
        if (i < 2)
            is_closed(&s, 0, "EXEC was refused outright");
        sleeps(&s);
        if (i < 2)
            link_up(&s, 0);
        hears(&s, 0, "WATCH a");
        says(&s, 0, words[i]);
        ends(&s, &a, GAVEL_NOT_SENT);
        cr_assert_eq(a.outcome.n_faults, 2);
        stage_close(&s);
    }
}

Test(core_rounds, a_replica_is_left_for_another_link)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.keys = "a", .plays = "SET a 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a");
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / SET a 1 / EXEC");
    says(&s, 0, "OK, -READONLY You can't write against a read only replica.");
    says(&s, 0, "-EXECABORT Transaction discarded because of previous errors.");
    is_in(&s, &a, GAVEL__TX_PAUSED);
    is_closed(&s, 0, "READONLY");
    sleeps(&s);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a");
    stage_close(&s);
}
