/*
 * Values that are changed rather than set: counters, appending, times to live; what a body then
 * reads, its own and those behind it in the round, and what is refused because the server would;
 * with the test as the server.
 */
#include "stage.h"

#include "base/text.h"

#include <criterion/criterion.h>
#include <string.h>

static const stage_config plain = {.has_no_prefetch = true};

/* ---- One body ------------------------------------------------------------------------------ */

/* What a body sees of the keys s (a string), n (a number), h (a hash with the field f) and x (not
 * there) after what it wrote. All are declared. */
static const struct {
    const char *plays;
    const char *seen;
} sights[] = {
    {"COUNT n 2; GET n; COUNT n -3; GET n", "n=9 n=6 "},
    {"COUNT x 2; GET x", "x=2 "},
    {"SET x 5; COUNT x 2; GET x", "x=7 "},
    {"DEL n; COUNT n 1; GET n", "n=1 "},
    {"COUNT n 1; SET n z; GET n", "n=z "},
    {"HCOUNT h f 2; HGET h f", "f=5 "},
    {"HSET h g 7; HCOUNT h g 1; HGET h g; HGET h f", "g=8 f=3 "},
    {"HDEL h f; HCOUNT h f 1; HGET h f", "f=1 "},
    {"DEL h; HCOUNT h f 1; HGET h f", "f=1 "},
    {"APPEND s de; GET s; APPEND s f; GET s", "s=abcde s=abcdef "},
    {"APPEND x a; APPEND x b; GET x", "x=ab "},
    {"DEL s; APPEND s a; GET s", "s=a "},
    {"APPEND n 5; COUNT n 1; APPEND n 0; COUNT n 2; GET n", "n=762 "},
    {"SETPX s z 90; GET s; TTL s", "s=z s=90 "},
    {"SET s z; TTL s", "s=-1 "},
    {"KEEP s z; GET s; TTL s", "s=z s=500 "},
    {"KEEP x z; TTL x", "x=-1 "},
    {"EXPIRE s 90; GET s; TTL s", "s=abc s=90 "},
    {"EXPIRE x 90; TTL x; GET x", "x=nil x=nil "},
    {"EXPIRE h 90; HGET h f; HSET h f 4; HGET h f", "f=3 f=4 "},
    {"PERSIST s; TTL s; GET s", "s=-1 s=abc "},
    {"SETPX s z 90; PERSIST s; TTL s", "s=-1 "},
    {"SETPX s z 90; KEEP s y; APPEND s x; TTL s; GET s", "s=90 s=yx "},
    {"DEL s; TTL s; PERSIST s; TTL s", "s=nil s=nil "},
    {"DEL s; EXPIRE s 90; APPEND s z; TTL s", "s=-1 "},
    {"COUNT x 1; TTL x; EXPIRE x 90; COUNT x 1; TTL x; GET x", "x=-1 x=90 x=2 "},
    {"DELS s n x; GET s; GET n; GET x; TTL s", "s=nil n=nil x=nil s=nil "},
    {"TTL s; TTL x; TTL n", "s=500 x=nil n=-1 "},
};

Test(core_values, a_body_sees_what_its_writes_will_come_to)
{
    gavel_bytes ttl_s[] = {GAVEL_STR("PTTL"), GAVEL_STR("s")};
    gavel_bytes ttl_x[] = {GAVEL_STR("PTTL"), GAVEL_STR("x")};
    gavel_bytes ttl_n[] = {GAVEL_STR("PTTL"), GAVEL_STR("n")};
    gavel_command commands[] = {
        {.args = ttl_s, .n_args = 2}, {.args = ttl_x, .n_args = 2}, {.args = ttl_n, .n_args = 2}};
    gavel_read reads[] = {{.key = GAVEL_STR("s")}, {.key = GAVEL_STR("n")}, {.key = GAVEL_STR("x")},
        {.key = GAVEL_STR("h"), .field = GAVEL_STR("f")}, {.command = &commands[0]},
        {.command = &commands[1]}, {.command = &commands[2]}};
    for (size_t i = 0; i < sizeof(sights) / sizeof(sights[0]); i++) {
        stage s;
        stage_open(&s, &plain);
        actor a = {.plays = sights[i].plays, .request = {.reads = reads, .n_reads = 7}};
        enter(&s, &a);
        link_up(&s, 0);
        hears(&s, 0, "WATCH s n x h / GET s / GET n / GET x / HGET h f / PTTL s / PTTL x / PTTL n");
        says(&s, 0, "OK, \"abc\", \"7\", nil, \"3\", :500, :-2, :-1");
        advance(&s, 0);
        cr_assert_str_eq(a.seen, sights[i].seen, "%s", sights[i].plays);
        (void)stage_listen(&s, 0);
        stage_close(&s);
    }
}

/* Blind: nothing is fetched, and nothing is known of it. */
Test(core_values, who_only_counts_reads_nothing)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.keys = "n h",
        .plays = "COUNT n 1; COUNT n 2; HCOUNT h f 3; APPEND s x",
        .request = {.keep_replies = true}};
    a.keys = "n h s";
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH n h s");
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / INCRBY n 1 / INCRBY n 2 / HINCRBY h f 3 / APPEND s x / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, QUEUED, QUEUED, [:1, :3, :3, :1]");
    const gavel_outcome *outcome = ends(&s, &a, GAVEL_COMMITTED);
    cr_assert_eq(outcome->n_replies, 4);
    cr_assert_eq(outcome->replies[1].integer, 3);
    stage_close(&s);
}

Test(core_values, a_read_behind_a_counter_is_fetched_and_sees_the_sum)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.keys = "n", .plays = "COUNT n 1; INT n"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH n");
    says(&s, 0, "OK");
    hears(&s, 0, "UNWATCH / WATCH n / GET n");
    cr_assert_str_eq(a.seen, "n=? ");
    says(&s, 0, "OK, OK, \"41\"");
    hears(&s, 0, "MULTI / INCRBY n 1 / EXEC");
    cr_assert_str_eq(a.seen, "n=42 ");
    says(&s, 0, "OK, QUEUED, [:42]");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

/* ---- What the server would refuse inside EXEC ---------------------------------------------- */

Test(core_values, what_is_known_to_fail_is_not_sent)
{
    static const struct {
        const char *plays;
        const char *words;
    } cases[] = {
        {"COUNT s 1", "not a 64-bit integer; key: \"s\""},
        {"SET n z; COUNT n 1", "not a 64-bit integer; key: \"n\""},
        {"SET n 9223372036854775807; COUNT n 1", "the sum is not a 64-bit integer; key: \"n\""},
        {"SET n -9223372036854775808; COUNT n -1", "the sum is not a 64-bit integer; key: \"n\""},
        {"HSET h f 1.5; HCOUNT h f 1", "not a 64-bit integer; key: \"h\""},
        {"SETPX n 1 0", "a time to live is 1 to 1000000000000000 ms, not 0; key: \"n\""},
        {"EXPIRE n 1000000000000001", "not 1000000000000001; key: \"n\""},
        {"COUNT n 1; HGET n f", "what HGET finds after INCRBY gavel does not know; key: \"n\""},
        {"HDEL h f; TTL h", "what PTTL finds after HDEL gavel does not know; key: \"h\""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        stage s;
        stage_open(&s, &plain);
        actor a = {.reads = "s", .keys = "n h", .plays = cases[i].plays};
        enter(&s, &a);
        link_up(&s, 0);
        hears(&s, 0, "WATCH n h s / GET s");
        says(&s, 0, "OK, \"abc\"");
        advance(&s, 0);
        ends_saying(&s, &a, GAVEL_INVALID, cases[i].words);
        stage_close(&s);
    }
}

Test(core_values, what_was_read_as_another_type_is_not_counted)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.reads = "s", .plays = "COUNT s 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH s / GET s");
    says(&s, 0, "OK, -WRONGTYPE Operation against a key");
    ends_saying(&s, &a, GAVEL_REJECTED, "WRONGTYPE Operation against a key: GET \"s\"");
    stage_close(&s);
}

/* ---- Several bodies ------------------------------------------------------------------------ */

/* Two actors in a round: what the second sees behind the first, and whether it had to wait. */
Test(core_values, others_in_the_round_see_what_it_will_come_to)
{
    static const struct {
        const char *first;
        const char *second;
        const char *seen; /* NULL: it waits for the next round */
    } cases[] = {
        {"COUNT n 2", "GET n", "n=9 "}, {"COUNT n 2; COUNT n 2", "COUNT n 1; GET n", "n=12 "},
        {"APPEND n 5", "COUNT n 1; GET n", "n=76 "},
        {"SETPX n 3 50", "GET n; COUNT n 1; GET n", "n=3 n=4 "}, {"EXPIRE n 50", "GET n", "n=7 "},
        {"DEL n; COUNT n 1", "GET n", "n=1 "}, {"HCOUNT n f 1", "GET n", NULL},
        {"WRITE INCR n", "GET n", NULL},
        {"WRITE INCR n", "COUNT n 1", NULL}, /* it was to be read */
        {"SET n z", "COUNT n 1", NULL},      /* would fail: not before the first one is made */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        stage s;
        stage_open(&s, &plain);
        actor a = {.keys = "n", .plays = cases[i].first};
        actor b = {.reads = "n", .plays = cases[i].second};
        enter(&s, &a);
        enter(&s, &b);
        link_up(&s, 0);
        hears(&s, 0, "WATCH n / GET n");
        says(&s, 0, "OK, \"7\"");
        advance(&s, 0);
        bool waits = b.transaction != NULL && b.transaction->state != GAVEL__TX_COMMITTING;
        cr_assert_eq(waits, cases[i].seen == NULL, "%s: %s", cases[i].first, a.seen);
        if (!waits)
            cr_assert_str_eq(b.seen, cases[i].seen, "%s", cases[i].second);
        (void)stage_listen(&s, 0);
        stage_close(&s);
    }
}

/* The first one's counter fails in EXEC, and the value stays: so the second is told. */
Test(core_values, a_counter_that_will_fail_changes_nothing_for_others)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.keys = "n", .plays = "COUNT n 1"};
    actor b = {.reads = "n", .plays = "GET n; SET m 1", .keys = "m"};
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "WATCH n m / GET n");
    says(&s, 0, "OK, \"abc\"");
    hears(&s, 0, "MULTI / INCRBY n 1 / SET m 1 / EXEC");
    cr_assert_str_eq(b.seen, "n=abc ");
    says(&s, 0, "OK, QUEUED, QUEUED, [-ERR value is not an integer or out of range, OK]");
    ends_saying(&s, &a, GAVEL_COMMITTED_WITH_ERRORS, "not an integer");
    ends(&s, &b, GAVEL_COMMITTED);
    stage_close(&s);
}

/* What it has counted up is read as its own, and is the others' all the same. */
Test(core_values, a_verdict_on_a_sum_that_others_began_needs_the_proof)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.keys = "n", .plays = "COUNT n 2"};
    actor b = {.reads = "n", .plays = "COUNT n 1; INT n; ABORT 7"};
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "WATCH n / GET n");
    says(&s, 0, "OK, \"7\"");
    hears(&s, 0, "MULTI / INCRBY n 2 / EXEC");
    cr_assert_str_eq(b.seen, "n=10 ");
    stage_collect(&s);
    cr_assert_not(b.is_told);
    says(&s, 0, "OK, QUEUED, [:9]");
    ends(&s, &a, GAVEL_COMMITTED);
    ends(&s, &b, GAVEL_ABORTED);
    stage_close(&s);
}

/* Who has not read counts blindly, whatever others in the round have written: as it would alone. */
Test(core_values, a_counter_does_not_ask_others_in_the_round)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.keys = "n", .plays = "SET n z"};
    actor b = {.keys = "n", .plays = "COUNT n 1"};
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "WATCH n");
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / SET n z / INCRBY n 1 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, -ERR value is not an integer or out of range]");
    ends(&s, &a, GAVEL_COMMITTED);
    ends_saying(&s, &b, GAVEL_COMMITTED_WITH_ERRORS, "not an integer");
    stage_close(&s);
}
