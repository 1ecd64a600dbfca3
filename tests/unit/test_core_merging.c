/*
 * Merging: the SETs of a round leave as one MSET, and nobody can tell from what he is told; with
 * the test as the server.
 */
#include "stage.h"

#include "base/text.h"

#include <criterion/criterion.h>
#include <string.h>

static const stage_config plain = {.has_no_prefetch = true};
static const stage_config with_markers = {.has_markers = true, .has_no_prefetch = true};

/* Enters the actors, all of whom only declare keys, and plays them up to their EXEC. */
static void begin(stage *s, actor *actors, size_t n, const char *watch)
{
    for (size_t i = 0; i < n; i++)
        enter(s, &actors[i]);
    link_up(s, 0);
    hears(s, 0, watch);
    says(s, 0, "OK");
}

static bool is_ok(const gavel_reply *reply)
{
    return reply->type == GAVEL_REPLY_STATUS && gavel__bytes_equal(reply->text, GAVEL_STR("OK"));
}

/* ---- What is merged ------------------------------------------------------------------------ */

/* One actor's writes, and what leaves between MULTI and EXEC. */
Test(core_merging, only_sets_on_keys_that_met_nothing_else_are_merged)
{
    static const struct {
        const char *plays;
        const char *commands;
    } cases[] = {
        {"SET a 1", "SET a 1"},
        {"SET a 1; SET a 2", "SET a 2"},
        {"SET a 1; SET b 2", "MSET a 1 b 2"},
        {"SET a 1; SET b 2; SET a 3", "MSET b 2 a 3"},
        {"SET a 1; SET a 2; SET b 3; SET b 4", "MSET a 2 b 4"},
        {"SET a 1; HSET h f 1; SET b 2", "MSET a 1 b 2 / HSET h f 1"},
        {"HSET h f 1; SET a 1; HDEL h f; SET b 2; DEL c",
            "MSET a 1 b 2 / HSET h f 1 / HDEL h f / DEL c"},
        {"SET a 1; HSET a f 2", "SET a 1 / HSET a f 2"},
        {"SET a 1; HSET a f 2; SET b 3", "SET a 1 / HSET a f 2 / SET b 3"},
        {"SET a 1; HSET a f 2; SET b 3; SET c 4", "MSET b 3 c 4 / SET a 1 / HSET a f 2"},
        {"DEL a; SET a 1", "DEL a / SET a 1"},
        {"DEL a; SET a 1; SET b 2; SET c 3", "MSET b 2 c 3 / DEL a / SET a 1"},
        {"SET a 1; DEL a; SET a 2; SET b 3; SET b 4", "SET b 4 / SET a 1 / DEL a / SET a 2"},
        {"HSET a f 1; SET a 2; SET b 3", "HSET a f 1 / SET a 2 / SET b 3"},
        {"SET a 1; SET b 2; WRITE INCR c", "SET a 1 / SET b 2 / INCR c"},
        {"WRITE INCR c; SET a 1; SET a 2", "INCR c / SET a 1 / SET a 2"},
        {"WRITE INCR a; SET a 1; SET b 2", "INCR a / SET a 1 / SET b 2"},
        {"HSET h f 1; DEL a", "HSET h f 1 / DEL a"},
        {"SET a 1; SETPX b 2 90", "SET a 1 / SET b 2 PX 90"},
        {"SET a 1; SETPX a 2 90; SET b 3; SET c 4", "MSET b 3 c 4 / SET a 1 / SET a 2 PX 90"},
        {"SETPX a 1 90; SET a 2; SET b 3; SET c 4", "MSET b 3 c 4 / SET a 1 PX 90 / SET a 2"},
        {"SET a 1; KEEP a 2; SET b 3; SET c 4", "MSET b 3 c 4 / SET a 1 / SET a 2 KEEPTTL"},
        {"SET a 1; EXPIRE a 90; SET b 3; SET c 4", "MSET b 3 c 4 / SET a 1 / PEXPIRE a 90"},
        {"SET a 1; PERSIST a; SET a 2; SET b 3; SET c 4",
            "MSET b 3 c 4 / SET a 1 / PERSIST a / SET a 2"},
        {"SET a 1; COUNT a 2; SET b 3; SET c 4", "MSET b 3 c 4 / SET a 1 / INCRBY a 2"},
        {"SET a 1; APPEND a 2; SET b 3; SET c 4", "MSET b 3 c 4 / SET a 1 / APPEND a 2"},
        {"SET a 1; DELS a b; SET b 3; SET c 4; SET h 5",
            "MSET c 4 h 5 / SET a 1 / DEL a b / SET b 3"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        stage s;
        stage_open(&s, &plain);
        actor a = {.keys = "a b c h", .plays = cases[i].plays};
        char commands[256];
        gavel__format(commands, sizeof(commands), "MULTI / %s / EXEC", cases[i].commands);
        begin(&s, &a, 1, "WATCH a b c h");
        hears(&s, 0, commands);
        stage_close(&s);
    }
}

Test(core_merging, the_last_value_of_all_members_counts)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a[3] = {{.keys = "a b", .plays = "SET a 1; SET b 1"},
        {.keys = "b c", .plays = "SET b 2; SET c 2"}, {.keys = "a", .plays = "SET a 3"}};
    for (size_t i = 0; i < 3; i++)
        enter(&s, &a[i]);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a b c m0");
    says(&s, 0, "OK, OK");
    hears(&s, 0, "MULTI / MSET b 2 c 2 a 3 / INCR m0 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :n0+1]");
    for (size_t i = 0; i < 3; i++)
        ends(&s, &a[i], GAVEL_COMMITTED);
    cr_assert_eq(s.engine.context.stats.n_commands, 1 + 3, "WATCH, MULTI, MSET, EXEC");
    stage_close(&s);
}

/* The tainted key is another member's; still nothing is merged: what a command really touches is
 * only what its caller has said. */
Test(core_merging, one_command_that_is_not_modelled_turns_it_off_for_the_round)
{
    stage s;
    stage_open(&s, &plain);
    actor a[3] = {{.keys = "a", .plays = "SET a 1"}, {.keys = "b", .plays = "WRITE INCR b"},
        {.keys = "c", .plays = "SET c 1"}};
    begin(&s, a, 3, "WATCH a b c");
    hears(&s, 0, "MULTI / SET a 1 / INCR b / SET c 1 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, QUEUED, [OK, :1, OK]");
    for (size_t i = 0; i < 3; i++)
        ends(&s, &a[i], GAVEL_COMMITTED);
    actor b[2] = {{.keys = "a", .plays = "SET a 1"}, {.keys = "c", .plays = "SET c 1"}};
    enter(&s, &b[0]);
    enter(&s, &b[1]);
    hears(&s, 0, "WATCH a c");
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / MSET a 1 c 1 / EXEC");
    stage_close(&s);
}

/* The command was rolled back, and so is what it would have forbidden. */
Test(core_merging, a_command_of_an_aborted_body_does_not_count)
{
    stage s;
    stage_open(&s, &plain);
    actor a[3] = {{.keys = "a", .plays = "SET a 1"},
        {.keys = "a b", .plays = "WRITE INCR a; SET b 5; ABORT 1"},
        {.keys = "b", .plays = "SET b 1"}};
    begin(&s, a, 3, "WATCH a b");
    hears(&s, 0, "MULTI / MSET a 1 b 1 / EXEC");
    stage_close(&s);
}

/* Its SET was the last one on "a" and the first one on "b". */
Test(core_merging, a_set_of_an_aborted_body_leaves_those_before_and_behind_it)
{
    stage s;
    stage_open(&s, &plain);
    actor a[4] = {{.keys = "a", .plays = "SET a 1"},
        {.keys = "a b c", .plays = "SET a 9; SET b 9; DEL c; ABORT 1"},
        {.keys = "b", .plays = "SET b 2"}, {.keys = "c", .plays = "SET c 3"}};
    begin(&s, a, 4, "WATCH a b c");
    ends(&s, &a[1], GAVEL_ABORTED);
    hears(&s, 0, "MULTI / MSET a 1 b 2 c 3 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &a[0], GAVEL_COMMITTED);
    ends(&s, &a[2], GAVEL_COMMITTED);
    ends(&s, &a[3], GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_merging, the_record_of_an_id_stays_as_it_is)
{
    stage s;
    stage_open(&s, &plain);
    actor a[2] = {
        {.keys = "a", .plays = "SET a 1; RESULT r", .id = "one", .request = {.keep_replies = true}},
        {.keys = "b", .plays = "SET b 1", .request = {.keep_replies = true}}};
    enter(&s, &a[0]);
    enter(&s, &a[1]);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a g:id:{one} b / GET g:id:{one}");
    says(&s, 0, "OK, nil");
    advance(&s, 0);
    const char *heard = stage_peek(&s, 0);
    cr_assert_eq(strncmp(heard, "MULTI / MSET a 1 b 1 / SET g:id:{one} ", 38), 0, "%s", heard);
    (void)stage_listen(&s, 0);
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, OK]");
    for (size_t i = 0; i < 2; i++) {
        const gavel_outcome *outcome = ends(&s, &a[i], GAVEL_COMMITTED);
        cr_assert_eq(outcome->n_replies, 1);
        cr_assert(is_ok(&outcome->replies[0]));
    }
    stage_close(&s);
}

/* Somebody sets the very key of another one's id: there are two kinds of writes on it then. */
Test(core_merging, a_set_on_the_key_of_an_id_is_not_merged)
{
    stage s;
    stage_open(&s, &plain);
    actor a[2] = {{.keys = "g:id:{one} b", .plays = "SET g:id:{one} x; SET b 1"},
        {.keys = "a", .plays = "SET a 1", .id = "one"}};
    enter(&s, &a[0]);
    enter(&s, &a[1]);
    link_up(&s, 0);
    hears(&s, 0, "WATCH g:id:{one} b a / GET g:id:{one}");
    says(&s, 0, "OK, nil");
    hears(&s, 0, "MULTI / MSET g:id:{one} x b 1 / EXEC / WATCH a g:id:{one} / GET g:id:{one}");
    stage_close(&s);
}

/* ---- Whose reply is whose ------------------------------------------------------------------ */

Test(core_merging, each_member_gets_the_replies_it_would_have_had)
{
    stage s;
    stage_open(&s, &with_markers);
    gavel_transaction kept = {.keep_replies = true};
    actor a[4] = {
        {.keys = "a h", .plays = "SET a 1; HSET h f 1; SET a 2", .request = kept},
        {.keys = "b", .plays = "DEL b; SET b 1", .request = kept},
        {.keys = "c", .plays = "SET c 1", .request = kept},
        {.keys = "a h", .plays = "HDEL h g; SET a 3; HSET h f 4", .request = kept},
    };
    for (size_t i = 0; i < 4; i++)
        enter(&s, &a[i]);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a h b c m0");
    says(&s, 0, "OK, OK");
    hears(&s, 0,
        "MULTI / MSET c 1 a 3 / HSET h f 1 / DEL b / SET b 1 / HDEL h g / HSET h f 4 / INCR m0"
        " / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, QUEUED, QUEUED, QUEUED, QUEUED, QUEUED");
    says(&s, 0, "[OK, :11, :12, OK, :13, :14, :n0+1]");
    for (size_t i = 0; i < 4; i++)
        ends(&s, &a[i], GAVEL_COMMITTED);
    cr_assert_eq(a[0].outcome.n_replies, 3);
    cr_assert(is_ok(&a[0].outcome.replies[0]));
    cr_assert_eq(a[0].outcome.replies[1].integer, 11);
    cr_assert(is_ok(&a[0].outcome.replies[2]));
    cr_assert_eq(a[1].outcome.n_replies, 2);
    cr_assert_eq(a[1].outcome.replies[0].integer, 12);
    cr_assert(is_ok(&a[1].outcome.replies[1]));
    cr_assert_eq(a[2].outcome.n_replies, 1);
    cr_assert(is_ok(&a[2].outcome.replies[0]));
    cr_assert_eq(a[3].outcome.n_replies, 3);
    cr_assert_eq(a[3].outcome.replies[0].integer, 13);
    cr_assert(is_ok(&a[3].outcome.replies[1]));
    cr_assert_eq(a[3].outcome.replies[2].integer, 14);
    stage_close(&s);
}

Test(core_merging, an_error_of_a_command_beside_mset_is_told_to_its_owner_alone)
{
    stage s;
    stage_open(&s, &plain);
    actor a[3] = {{.keys = "a", .plays = "SET a 1"},
        {.keys = "h b", .plays = "SET b 1; HSET h f 1"}, {.keys = "c", .plays = "SET c 1"}};
    begin(&s, a, 3, "WATCH a h b c");
    hears(&s, 0, "MULTI / MSET a 1 b 1 c 1 / HSET h f 1 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, -WRONGTYPE of h]");
    ends(&s, &a[0], GAVEL_COMMITTED);
    ends_saying(&s, &a[1], GAVEL_COMMITTED_WITH_ERRORS, "write 2 of 2 failed: WRONGTYPE of h");
    ends(&s, &a[2], GAVEL_COMMITTED);
    stage_close(&s);
}

/* The server's rules may change between queueing and EXEC. Whose SETs are in it is known. */
Test(core_merging, an_error_of_mset_itself_is_told_to_all_who_share_it)
{
    stage s;
    stage_open(&s, &plain);
    actor a[3] = {
        {.keys = "h a", .plays = "HSET h f 1; SET a 1", .request = {.keep_replies = true}},
        {.keys = "h", .plays = "HSET h g 1"}, {.keys = "c", .plays = "SET c 1"}};
    begin(&s, a, 3, "WATCH h a c");
    hears(&s, 0, "MULTI / MSET a 1 c 1 / HSET h f 1 / HSET h g 1 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, QUEUED, [-NOPERM mset, :1, :1]");
    ends_saying(&s, &a[0], GAVEL_COMMITTED_WITH_ERRORS, "write 2 of 2 failed: NOPERM mset");
    cr_assert_eq((int)a[0].outcome.replies[1].type, (int)GAVEL_REPLY_ERROR);
    ends(&s, &a[1], GAVEL_COMMITTED);
    ends_saying(&s, &a[2], GAVEL_COMMITTED_WITH_ERRORS, "write 1 of 1 failed: NOPERM mset");
    stage_close(&s);
}

/* The array is what the commands that left would get, not what the bodies asked for. */
Test(core_merging, an_array_of_as_many_replies_as_bodies_wrote_makes_no_sense)
{
    static const char *const answers[] = {"[OK, OK]", "[OK, OK, :n0+1]", "[:n0+1]"};
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        stage s;
        stage_open(&s, &with_markers);
        actor a = {.keys = "a b", .plays = "SET a 1; SET b 1"};
        enter(&s, &a);
        link_up(&s, 0);
        hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a b m0");
        says(&s, 0, "OK, OK");
        hears(&s, 0, "MULTI / MSET a 1 b 1 / INCR m0 / EXEC");
        says(&s, 0, "OK, QUEUED, QUEUED");
        says(&s, 0, answers[i]);
        if (i ==
            0) { /* as many as there should be; but the marker is wrong, so it is planted anew */
            ends(&s, &a, GAVEL_COMMITTED);
            hears(&s, 0, "SET m0 n0 PX 900000");
        } else {
            is_closed(&s, 0, "EXEC was answered with something unexpected");
            is_in(&s, &a, GAVEL__TX_IN_DOUBT);
        }
        stage_close(&s);
    }
}

/* ---- Refusals ------------------------------------------------------------------------------ */

static const char execabort[] = "-EXECABORT Transaction discarded because of previous errors.";

/* A user without +mset: no fault of anybody's. */
Test(core_merging, a_refused_mset_makes_all_run_again_without_it)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a[2] = {{.keys = "a", .plays = "SET a 1", .request = {.max_faults = 1}},
        {.keys = "b h", .plays = "SET b 1; HSET h f 1", .request = {.max_faults = 1}}};
    enter(&s, &a[0]);
    enter(&s, &a[1]);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a b h m0");
    says(&s, 0, "OK, OK");
    hears(&s, 0, "MULTI / MSET a 1 b 1 / HSET h f 1 / INCR m0 / EXEC");
    says(&s, 0, "OK, -NOPERM mset, QUEUED, QUEUED");
    says(&s, 0, execabort);
    hears(&s, 0, "WATCH a b h m0");
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / SET a 1 / SET b 1 / HSET h f 1 / INCR m0 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, QUEUED, QUEUED, [OK, OK, :1, :n0+1]");
    for (size_t i = 0; i < 2; i++) {
        const gavel_outcome *outcome = ends(&s, &a[i], GAVEL_COMMITTED);
        cr_assert_eq(outcome->n_faults, 0);
        cr_assert_eq(outcome->n_conflicts, 0);
        cr_assert_eq(outcome->n_round_trips, 4);
    }
    stage_close(&s);
}

/* One of the SETs was forbidden, and so MSET was: without it the server says whose it is. */
Test(core_merging, whose_set_it_was_is_found_out)
{
    stage s;
    stage_open(&s, &plain);
    actor a[3] = {{.keys = "a", .plays = "SET a 1"}, {.keys = "b", .plays = "SET b 1; SET b 2"},
        {.keys = "c", .plays = "SET c 1"}};
    begin(&s, a, 3, "WATCH a b c");
    hears(&s, 0, "MULTI / MSET a 1 b 2 c 1 / EXEC");
    says(&s, 0, "OK, -NOPERM key");
    says(&s, 0, execabort);
    hears(&s, 0, "WATCH a b c");
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / SET a 1 / SET b 1 / SET b 2 / SET c 1 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, -NOPERM key, QUEUED");
    says(&s, 0, execabort);
    ends_saying(&s, &a[1], GAVEL_REJECTED, "write 2 of 2 was refused: NOPERM key");
    hears(&s, 0, "WATCH a c");
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / SET a 1 / SET c 1 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, OK]");
    ends(&s, &a[0], GAVEL_COMMITTED);
    ends(&s, &a[2], GAVEL_COMMITTED);
    stage_close(&s);
}

/* Also the last SET of a single key stands for several. */
Test(core_merging, a_refused_set_that_stands_for_several_is_found_out_as_well)
{
    stage s;
    stage_open(&s, &plain);
    actor a[2] = {{.keys = "a", .plays = "SET a 1"}, {.keys = "a", .plays = "SET a 2"}};
    begin(&s, a, 2, "WATCH a");
    hears(&s, 0, "MULTI / SET a 2 / EXEC");
    says(&s, 0, "OK, -ERR value too long");
    says(&s, 0, execabort);
    hears(&s, 0, "WATCH a");
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / SET a 1 / SET a 2 / EXEC");
    says(&s, 0, "OK, QUEUED, -ERR value too long");
    says(&s, 0, execabort);
    ends_saying(&s, &a[1], GAVEL_REJECTED, "write 1 of 1 was refused: ERR value too long");
    hears(&s, 0, "WATCH a");
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / SET a 1 / EXEC");
    stage_close(&s);
}

Test(core_merging, a_refused_command_beside_mset_is_its_owners_alone)
{
    static const char *const places[] = {"OK, QUEUED, -ERR unknown, QUEUED, QUEUED",
        "OK, QUEUED, QUEUED, -ERR unknown, QUEUED", "OK, QUEUED, QUEUED, QUEUED, -ERR unknown"};
    static const char *const words[] = {"write 2 of 2 was refused: ERR unknown",
        "write 1 of 3 was refused: ERR unknown", "write 3 of 3 was refused: ERR unknown"};
    for (size_t i = 0; i < 3; i++) {
        stage s;
        stage_open(&s, &plain);
        actor a[2] = {{.keys = "a h", .plays = "SET a 1; HSET h f 1"},
            {.keys = "b h", .plays = "HDEL h g; SET b 1; HSET h f 2"}};
        begin(&s, a, 2, "WATCH a h b");
        hears(&s, 0, "MULTI / MSET a 1 b 1 / HSET h f 1 / HDEL h g / HSET h f 2 / EXEC");
        says(&s, 0, places[i]);
        says(&s, 0, execabort);
        ends_saying(&s, &a[i == 0 ? 0 : 1], GAVEL_REJECTED, words[i]);
        is_in(&s, &a[i == 0 ? 1 : 0], GAVEL__TX_READING);
        cr_assert_eq(
            s.engine.policy.n_plain_rounds[GAVEL__SHORTCUT_MSET], 0, "MSET was not to blame");
        stage_close(&s);
    }
}

/* MSET and a single command: whose command it was is told at once, the rest is found out later. */
Test(core_merging, both_may_be_refused)
{
    stage s;
    stage_open(&s, &plain);
    actor a[2] = {{.keys = "a h", .plays = "SET a 1; HSET h f 1"},
        {.keys = "b c", .plays = "SET b 1; SET c 1"}};
    begin(&s, a, 2, "WATCH a h b c");
    hears(&s, 0, "MULTI / MSET a 1 b 1 c 1 / HSET h f 1 / EXEC");
    says(&s, 0, "OK, -NOPERM mset, -NOPERM hset");
    says(&s, 0, execabort);
    ends_saying(&s, &a[0], GAVEL_REJECTED, "write 2 of 2 was refused: NOPERM hset");
    hears(&s, 0, "WATCH b c");
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / MSET b 1 c 1 / EXEC");
    says(&s, 0, "OK, -NOPERM mset");
    says(&s, 0, execabort);
    hears(&s, 0, "WATCH b c");
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / SET b 1 / SET c 1 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, OK]");
    ends(&s, &a[1], GAVEL_COMMITTED);
    stage_close(&s);
}

/* The marker's refusal names nobody: each runs alone. */
Test(core_merging, a_refused_marker_behind_mset_is_no_refused_mset)
{
    stage s;
    stage_open(&s, &with_markers);
    actor a[2] = {{.keys = "a", .plays = "SET a 1"}, {.keys = "b", .plays = "SET b 1"}};
    enter(&s, &a[0]);
    enter(&s, &a[1]);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a b m0");
    says(&s, 0, "OK, OK");
    hears(&s, 0, "MULTI / MSET a 1 b 1 / INCR m0 / EXEC");
    says(&s, 0, "OK, QUEUED, -NOPERM incr");
    says(&s, 0, execabort);
    cr_assert_eq(s.engine.policy.n_plain_rounds[GAVEL__SHORTCUT_MSET], 0);
    hears(&s, 0, "WATCH a m0");
    stage_close(&s);
}

/* A state of the server is nobody's fault, and MSET has nothing to do with it. */
Test(core_merging, a_server_that_cannot_serve_now_is_no_reason_to_do_without)
{
    static const char *const words[] = {"-LOADING data", "-BUSY script", "-READONLY replica"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        stage s;
        stage_open(&s, &plain);
        actor a[2] = {{.keys = "a", .plays = "SET a 1"}, {.keys = "b", .plays = "SET b 1"}};
        begin(&s, a, 2, "WATCH a b");
        hears(&s, 0, "MULTI / MSET a 1 b 1 / EXEC");
        says(&s, 0, "OK");
        says(&s, 0, words[i]);
        says(&s, 0, execabort);
        is_in(&s, &a[0], GAVEL__TX_PAUSED);
        is_in(&s, &a[1], GAVEL__TX_PAUSED);
        cr_assert_eq(a[0].transaction->outcome.n_faults, 1);
        cr_assert_eq(s.engine.policy.n_plain_rounds[GAVEL__SHORTCUT_MSET], 0);
        stage_close(&s);
    }
}

/* EXEC alone says no: that is nothing MSET could be blamed for. */
Test(core_merging, a_refused_exec_singles_out_as_ever)
{
    stage s;
    stage_open(&s, &plain);
    actor a[2] = {{.keys = "a", .plays = "SET a 1"}, {.keys = "b", .plays = "SET b 1"}};
    begin(&s, a, 2, "WATCH a b");
    hears(&s, 0, "MULTI / MSET a 1 b 1 / EXEC");
    says(&s, 0, "OK, QUEUED, -EXECABORT Transaction discarded because of: OOM command not allowed");
    cr_assert_eq(s.engine.policy.n_plain_rounds[GAVEL__SHORTCUT_MSET], 0);
    hears(&s, 0, "WATCH a");
    stage_close(&s);
}

Test(core_merging, a_mset_that_ran_bare_is_unknown_for_all)
{
    stage s;
    stage_open(&s, &plain);
    actor a[2] = {{.keys = "a", .plays = "SET a 1"}, {.keys = "b", .plays = "SET b 1"}};
    begin(&s, a, 2, "WATCH a b");
    hears(&s, 0, "MULTI / MSET a 1 b 1 / EXEC");
    says(&s, 0, "-NOPERM multi, OK, -ERR EXEC without MULTI");
    ends(&s, &a[0], GAVEL_UNKNOWN);
    ends(&s, &a[1], GAVEL_UNKNOWN);
    is_closed(&s, 0, "outside any transaction");
    stage_close(&s);
}

/* Members that only wait for the proof of an abort are told, too, once it runs without MSET. */
Test(core_merging, an_abort_that_is_to_be_proved_runs_again_with_the_others)
{
    stage s;
    stage_open(&s, &plain);
    actor a[3] = {{.keys = "a", .plays = "SET a 1"}, {.reads = "a b", .plays = "GET a; ABORT 4"},
        {.keys = "b", .plays = "SET b 1"}};
    for (size_t i = 0; i < 3; i++)
        enter(&s, &a[i]);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a b / GET a / GET b");
    says(&s, 0, "OK, \"0\", \"0\"");
    hears(&s, 0, "MULTI / MSET a 1 b 1 / EXEC");
    says(&s, 0, "OK, -NOPERM mset");
    says(&s, 0, execabort);
    hears(&s, 0, "WATCH a b / GET a / GET b");
    says(&s, 0, "OK, \"0\", \"0\"");
    hears(&s, 0, "MULTI / SET a 1 / SET b 1 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, OK]");
    cr_assert_eq(ends(&s, &a[1], GAVEL_ABORTED)->abort_code, 4);
    stage_close(&s);
}

/* What is read again behind an EXEC that was refused is of no use; who reads behind it goes on. */
Test(core_merging, what_follows_a_refused_mset_goes_on)
{
    stage s;
    stage_open(&s, &(stage_config){.n_lanes = 1});
    actor a = {.keys = "a b", .plays = "SET a 1; SET b 1"};
    begin(&s, &a, 1, "WATCH a b");
    hears(&s, 0, "MULTI / MSET a 1 b 1 / EXEC / WATCH a b");
    says(&s, 0, "OK, -NOPERM mset");
    says(&s, 0, execabort);
    is_in(&s, &a, GAVEL__TX_READY);
    says(&s, 0, "OK");
    hears(&s, 0, "UNWATCH / WATCH a b");
    says(&s, 0, "OK, OK");
    actor c = {.keys = "c d", .plays = "SET c 1; SET d 1"};
    enter(&s, &c);
    hears(&s, 0, "MULTI / SET a 1 / SET b 1 / EXEC / WATCH c d");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, OK], OK");
    ends(&s, &a, GAVEL_COMMITTED);
    hears(&s, 0, "MULTI / SET c 1 / SET d 1 / EXEC / WATCH c d");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, OK], OK");
    ends(&s, &c, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_merging, after_256_rounds_it_is_tried_again)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.keys = "a b", .plays = "SET a 1; SET b 1"};
    begin(&s, &a, 1, "WATCH a b");
    hears(&s, 0, "MULTI / MSET a 1 b 1 / EXEC");
    says(&s, 0, "OK, -NOPERM mset");
    says(&s, 0, execabort);
    hears(&s, 0, "WATCH a b");
    for (int i = 0; i < 256; i++) {
        says(&s, 0, "OK");
        hears(&s, 0, "MULTI / SET a 1 / SET b 1 / EXEC");
        says(&s, 0, "OK, QUEUED, QUEUED, [OK, OK]");
        ends(&s, &a, GAVEL_COMMITTED);
        s.n_actors = 0;
        enter(&s, &a);
        hears(&s, 0, "WATCH a b");
    }
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / MSET a 1 b 1 / EXEC");
    stage_close(&s);
}

/* ---- Doubts -------------------------------------------------------------------------------- */

/* Whether all of it had left is counted in the bytes that were composed, not those asked for. */
Test(core_merging, the_bytes_up_to_exec_are_those_that_leave)
{
    for (int i = 0; i < 2; i++) {
        stage s;
        stage_open(&s, &with_markers);
        actor a = {.keys = "a b", .plays = "SET a 1; SET a 2; SET a 3; SET b 4"};
        enter(&s, &a);
        link_up(&s, 0);
        hears(&s, 0, "SET m0 n0 PX 900000 / WATCH a b m0");
        says(&s, 0, "OK, OK");
        composes(&s, 0, "MULTI / MSET a 3 b 4 / INCR m0 / EXEC");
        link_down_within(&s, 0, s.outs[0].size - (i == 0 ? 0 : 1));
        is_in(&s, &a, i == 0 ? GAVEL__TX_IN_DOUBT : GAVEL__TX_PAUSED);
        stage_close(&s);
    }
}
