/*
 * Slots: in a Cluster all keys of a transaction lie in one. Others are refused: where they are
 * declared, or when the body comes to them.
 */
#include "stage.h"

#include <criterion/criterion.h>

static const stage_config cluster = {.is_cluster = true, .has_no_prefetch = true};

/* What the server says of a command that gavel does not know. */
#define WRITES "[[\"mod.take\", :2, [write], :1, :1, :1, [@write]]]"

static const char a_and_b[] = "keys \"a\" and \"b\" are in slots 15495 and 3300; a transaction has "
                              "one slot: give them a common {tag}";

/* ---- Declared ------------------------------------------------------------------------------ */

Test(core_slots, keys_of_two_slots_are_refused_at_once)
{
    stage s;
    stage_open(&s, &cluster);
    actor a = {.keys = "a b", .plays = "SET a 1"};
    enter(&s, &a);
    cr_assert_str_eq(ends(&s, &a, GAVEL_INVALID)->message, a_and_b);
    cr_assert_eq(a.n_runs, 0);
    stage_close(&s);
}

Test(core_slots, so_are_a_key_and_a_read)
{
    stage s;
    stage_open(&s, &cluster);
    actor a = {.keys = "a", .reads = "x{a} b", .plays = "SET a 1"};
    enter(&s, &a);
    cr_assert_str_eq(ends(&s, &a, GAVEL_INVALID)->message, a_and_b);
    stage_close(&s);
}

/* The message names the key that is elsewhere, not the command's first one. */
Test(core_slots, so_is_a_command_whose_keys_are_apart)
{
    stage s;
    stage_open(&s, &cluster);
    gavel_bytes args[] = {GAVEL_STR("MGET"), GAVEL_STR("a"), GAVEL_STR("{a}2"), GAVEL_STR("b")};
    gavel_command mget = {.args = args, .n_args = 4};
    gavel_read read = {.command = &mget};
    actor a = {.plays = "COMMIT", .request = {.reads = &read, .n_reads = 1}};
    enter(&s, &a);
    cr_assert_str_eq(ends(&s, &a, GAVEL_INVALID)->message, a_and_b);
    stage_close(&s);
}

Test(core_slots, a_common_tag_makes_it_one)
{
    stage s;
    stage_open(&s, &cluster);
    actor a = {.keys = "x{t}", .reads = "y{t}", .plays = "ADD y{t} 1; SET {t}z 1"};
    enter(&s, &a);
    cr_assert_eq(a.transaction->slot, gavel__slot_of(GAVEL_STR("t")));
    cr_assert(a.transaction->is_slot_sure);
    link_up(&s, 0);
    hears(&s, 0, "WATCH x{t} y{t} / GET y{t}");
    says(&s, 0, "OK, \"1\"");
    hears(&s, 0, "MULTI / MSET y{t} 2 {t}z 1 / EXISTS x{t} / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :1]");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_slots, one_server_has_none)
{
    stage s;
    stage_open(&s, &(stage_config){.has_no_prefetch = true});
    actor a = {.keys = "a b", .plays = "SET c 1"};
    enter(&s, &a);
    cr_assert_eq(a.transaction->slot, GAVEL__NO_SLOT);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a b");
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / SET c 1 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    cr_assert_eq(a.transaction->slot, GAVEL__NO_SLOT);
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

/* ---- In the body --------------------------------------------------------------------------- */

Test(core_slots, a_body_that_reads_a_key_of_another_slot_has_made_a_mistake)
{
    stage s;
    stage_open(&s, &cluster);
    actor a = {.reads = "a", .plays = "GET a; GET b; SET a 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, \"1\"");
    cr_assert_str_eq(ends(&s, &a, GAVEL_INVALID)->message, a_and_b);
    stage_close(&s);
}

Test(core_slots, and_one_that_writes_such_a_key)
{
    stage s;
    stage_open(&s, &cluster);
    actor a = {.reads = "a", .plays = "ADD a 1; SET b 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, \"1\"");
    cr_assert_str_eq(ends(&s, &a, GAVEL_INVALID)->message, a_and_b);
    stage_close(&s);
}

Test(core_slots, and_one_that_deletes_it_among_others)
{
    stage s;
    stage_open(&s, &cluster);
    actor a = {.plays = "DELS a {a}2 b"};
    enter(&s, &a);
    link_up(&s, 0);
    cr_assert_str_eq(ends(&s, &a, GAVEL_INVALID)->message, a_and_b);
    stage_close(&s);
}

Test(core_slots, and_one_whose_command_writes_two)
{
    stage s;
    stage_open(&s, &cluster);
    actor a = {.plays = "WRITE RENAME a b"};
    enter(&s, &a);
    link_up(&s, 0);
    cr_assert_str_eq(ends(&s, &a, GAVEL_INVALID)->message, a_and_b);
    stage_close(&s);
}

/* The slot of one that has declared nothing is that of what it reads first. */
Test(core_slots, what_is_read_first_says_which_slot_it_is)
{
    stage s;
    stage_open(&s, &cluster);
    actor a = {.plays = "GET a; SET b 1"};
    enter(&s, &a);
    cr_assert_eq(a.transaction->slot, GAVEL__NO_SLOT);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    cr_assert_eq(a.transaction->slot, 15495);
    cr_assert(a.transaction->is_slot_sure);
    says(&s, 0, "OK, \"1\"");
    cr_assert_str_eq(ends(&s, &a, GAVEL_INVALID)->message, a_and_b);
    stage_close(&s);
}

/* It was written before it was known where the transaction lies: the next run tells. */
Test(core_slots, a_key_that_was_written_before_one_was_read_is_found_out)
{
    stage s;
    stage_open(&s, &cluster);
    actor a = {.plays = "SET b 1; GET a"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, \"1\"");
    cr_assert_str_eq(ends(&s, &a, GAVEL_INVALID)->message, a_and_b);
    cr_assert_eq(a.n_runs, 2);
    stage_close(&s);
}

/* Each run of a body that only writes may go elsewhere. */
Test(core_slots, what_is_written_first_says_so_for_one_run)
{
    stage s;
    stage_open(&s, &cluster);
    actor a = {.plays = "SET a 1; SET {a}2 1; RETRY | SET b 1; SET {b}2 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears_nothing(&s, 0);
    cr_assert_eq(a.transaction->slot, 15495);
    cr_assert_not(a.transaction->is_slot_sure);
    sleeps(&s);
    hears(&s, 0, "MULTI / SET b 1 / SET {b}2 1 / EXEC");
    cr_assert_eq(a.transaction->slot, 3300);
    cr_assert_not(a.transaction->is_slot_sure);
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, OK]");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

/* ---- Without a key ------------------------------------------------------------------------- */

static const char no_key[] = "declare a key: without one nobody knows to which of the Cluster's "
                             "servers this is to go";

Test(core_slots, the_time_is_that_of_the_server_that_has_the_keys)
{
    stage s;
    stage_open(&s, &cluster);
    actor a = {.reads = "a", .plays = "GET a; TIME; SET a 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, \"1\"");
    hears(&s, 0, "UNWATCH / WATCH a / GET a / TIME");
    says(&s, 0, "OK, OK, \"1\", [\"1\", \"2\"]");
    hears(&s, 0, "MULTI / SET a 1 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_slots, without_a_key_there_is_no_time_to_be_declared)
{
    stage s;
    stage_open(&s, &cluster);
    gavel_bytes args[] = {GAVEL_STR("TIME")};
    gavel_command time = {.args = args, .n_args = 1};
    gavel_read read = {.command = &time};
    actor a = {.plays = "TIME; SET a 1", .request = {.reads = &read, .n_reads = 1}};
    enter(&s, &a);
    ends_saying(&s, &a, GAVEL_INVALID, no_key);
    cr_assert_eq(a.n_runs, 0);
    stage_close(&s);
}

Test(core_slots, nor_to_be_asked_for)
{
    stage s;
    stage_open(&s, &cluster);
    actor a = {.plays = "TIME; SET a 1"};
    enter(&s, &a);
    link_up(&s, 0);
    ends_saying(&s, &a, GAVEL_INVALID, no_key);
    stage_close(&s);
}

Test(core_slots, but_once_a_key_was_written_it_can_be)
{
    stage s;
    stage_open(&s, &cluster);
    actor a = {.plays = "SET a 1; TIME"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "TIME");
    cr_assert_eq(a.transaction->slot, 15495);
    says(&s, 0, "[\"1\", \"2\"]");
    hears(&s, 0, "MULTI / SET a 1 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_slots, what_is_published_goes_along)
{
    stage s;
    stage_open(&s, &cluster);
    actor a = {.plays = "PUBLISH news a; SET a 1"};
    actor b = {.plays = "PUBLISH news b"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "MULTI / PUBLISH news a / SET a 1 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [:0, OK]");
    ends(&s, &a, GAVEL_COMMITTED);
    enter(&s, &b);
    ends_saying(&s, &b, GAVEL_INVALID, no_key);
    stage_close(&s);
}

/* The channel lies in a slot as a key does; it is not watched. */
Test(core_slots, a_channel_of_a_shard_is_where_its_slot_is)
{
    stage s;
    stage_open(&s, &cluster);
    actor a = {.plays = "WRITE SPUBLISH {a}news x"};
    actor b = {.reads = "b", .plays = "GET b; WRITE SPUBLISH a x"};
    actor c = {.plays = "WRITE SPUBLISH a x; SET b 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "MULTI / SPUBLISH {a}news x / EXEC");
    cr_assert_eq(a.transaction->slot, 15495);
    says(&s, 0, "OK, QUEUED, [:0]");
    ends(&s, &a, GAVEL_COMMITTED);
    enter(&s, &b);
    hears(&s, 0, "WATCH b / GET b");
    says(&s, 0, "OK, \"1\"");
    ends_saying(&s, &b, GAVEL_INVALID, "keys \"b\" and \"a\" are in slots 3300 and 15495");
    enter(&s, &c);
    ends_saying(&s, &c, GAVEL_INVALID, a_and_b);
    stage_close(&s);
}

/* What writes nothing and reads nothing rests on no server. */
Test(core_slots, a_body_that_only_decides_needs_no_key)
{
    stage s;
    stage_open(&s, &cluster);
    actor a = {.plays = "ABORT 3"};
    actor b = {.plays = "COMMIT"};
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 0);
    ends(&s, &a, GAVEL_ABORTED);
    ends(&s, &b, GAVEL_COMMITTED);
    stage_close(&s);
}

/* In a snapshot of a single server they are whole. */
Test(core_slots, commands_that_tell_of_all_keys_are_refused)
{
    static const char *const commands[] = {
        "QUERY KEYS *", "QUERY SCAN 0", "QUERY DBSIZE", "QUERY RANDOMKEY"};
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        stage s;
        stage_open(&s, &cluster);
        actor a = {.keys = "a", .plays = commands[i], .request = {.is_read_only = true}};
        enter(&s, &a);
        link_up(&s, 0);
        ends_saying(&s, &a, GAVEL_INVALID, "tells of one server only, and in a Cluster that is");
        stage_close(&s);
    }
}

Test(core_slots, and_so_they_are_where_they_are_declared)
{
    stage s;
    stage_open(&s, &cluster);
    gavel_bytes args[] = {GAVEL_STR("DBSIZE")};
    gavel_command size = {.args = args, .n_args = 1};
    gavel_read read = {.command = &size};
    actor a = {.keys = "a",
        .plays = "COMMIT",
        .request = {.reads = &read, .n_reads = 1, .is_read_only = true}};
    enter(&s, &a);
    ends_saying(&s, &a, GAVEL_INVALID, "\"DBSIZE\" tells of one server only");
    stage_close(&s);
}

/* ---- Commands that gavel does not know ----------------------------------------------------- */

/* The server is asked that has the key which is described. */
Test(core_slots, the_keys_that_are_described_say_who_is_asked)
{
    stage s;
    stage_open(&s, &cluster);
    actor a = {.plays = "CALL 1 MOD.TAKE a"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "COMMAND INFO MOD.TAKE");
    cr_assert_eq(a.transaction->slot, 15495);
    says(&s, 0, WRITES);
    hears(&s, 0, "MULTI / MOD.TAKE a / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_slots, described_keys_of_two_slots_are_refused)
{
    stage s;
    stage_open(&s, &cluster);
    actor a = {.reads = "a", .plays = "GET a; CALL 1 MOD.TAKE b"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, \"1\"");
    cr_assert_str_eq(ends(&s, &a, GAVEL_INVALID)->message, a_and_b);
    stage_close(&s);
}

Test(core_slots, one_without_keys_alone_is_refused)
{
    stage s;
    stage_open(&s, &cluster);
    gavel_bytes args[] = {GAVEL_STR("FT.STATE")};
    gavel_command state = {.args = args, .n_args = 1, .n_keys = GAVEL_NO_KEYS};
    gavel_read read = {.command = &state};
    actor a = {.plays = "COMMIT", .request = {.reads = &read, .n_reads = 1, .is_read_only = true}};
    enter(&s, &a);
    ends_saying(&s, &a, GAVEL_INVALID, no_key);
    stage_close(&s);
}

/* ---- Ids ----------------------------------------------------------------------------------- */

/* One EXEC writes both. */
Test(core_slots, the_record_of_an_id_lies_with_the_keys)
{
    stage s;
    stage_open(&s, &cluster);
    actor a = {.reads = "{fjl`}k", .id = "x", .plays = "ADD {fjl`}k 1"};
    enter(&s, &a);
    cr_assert_eq(a.transaction->slot, 0);
    link_up(&s, 0);
    hears(&s, 0, "WATCH {fjl`}k g:id:{fjl`}x / GET {fjl`}k / GET g:id:{fjl`}x");
    says(&s, 0, "OK, \"1\", nil");
    hears(&s, 0, "MULTI / SET {fjl`}k 2 / SET g:id:{fjl`}x g1\\x00 PX 86400000 / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, OK]");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

/* What the body comes to might be another slot's with each submission: it would be no id. */
Test(core_slots, an_id_needs_a_declared_key)
{
    stage s;
    stage_open(&s, &cluster);
    actor a = {.id = "x", .plays = "SET a 1"};
    enter(&s, &a);
    ends_saying(&s, &a, GAVEL_INVALID, "in a Cluster an id needs a declared key");
    cr_assert_eq(a.n_runs, 0);
    stage_close(&s);
}

/* ---- What is watched is named -------------------------------------------------------------- */

/* A watch of what is not there guards nothing while its slot moves. */
Test(core_slots, exec_names_each_key_that_is_watched)
{
    stage s;
    stage_open(&s, &cluster);
    actor a = {.keys = "{t}a", .reads = "{t}b {t}c", .plays = "ADD {t}b 1; GET {t}c"};
    actor b = {.keys = "{t}d", .plays = "WRITE RPUSH {t}d x"};
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "WATCH {t}a {t}b {t}c {t}d / GET {t}b / GET {t}c");
    says(&s, 0, "OK, \"1\", nil");
    hears(&s, 0, "MULTI / SET {t}b 2 / RPUSH {t}d x / EXISTS {t}a {t}c / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, QUEUED, [OK, :7, :0]");
    ends(&s, &a, GAVEL_COMMITTED);
    ends(&s, &b, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_slots, so_does_one_that_only_proves_what_was_read)
{
    stage s;
    stage_open(&s, &cluster);
    actor a = {.reads = "{t}a {t}b", .plays = "GET {t}a; GET {t}b; ABORT 3"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH {t}a {t}b / GET {t}a / GET {t}b");
    says(&s, 0, "OK, nil, nil");
    hears(&s, 0, "MULTI / EXISTS {t}a {t}b / EXEC");
    says(&s, 0, "OK, QUEUED, nil");
    hears(&s, 0, "WATCH {t}a {t}b / GET {t}a / GET {t}b");
    says(&s, 0, "OK, nil, \"1\"");
    hears(&s, 0, "MULTI / EXISTS {t}a {t}b / EXEC");
    says(&s, 0, "OK, QUEUED, [:1]");
    cr_assert_eq(ends(&s, &a, GAVEL_ABORTED)->abort_code, 3);
    stage_close(&s);
}

/* The replies to the writes are found in front of it. */
Test(core_slots, the_replies_are_those_to_the_writes)
{
    stage s;
    stage_open(
        &s, &(stage_config){.is_cluster = true, .has_markers = true, .has_no_prefetch = true});
    actor a = {.keys = "{t}a",
        .plays = "WRITE LPUSH {t}b x; WRITE LPUSH {t}b y",
        .request = {.keep_replies = true}};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "SET m0 n0 PX 900000 / WATCH {t}a m0");
    says(&s, 0, "OK, OK");
    hears(&s, 0,
        "MULTI / LPUSH {t}b x / LPUSH {t}b y / EXISTS {t}a / SET m0 n0+1 XX KEEPTTL GET / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, QUEUED, QUEUED, [:1, :2, :0, \"n0\"]");
    const gavel_outcome *outcome = ends(&s, &a, GAVEL_COMMITTED);
    cr_assert_eq(outcome->n_replies, 2);
    cr_assert_eq(outcome->replies[0].integer, 1);
    cr_assert_eq(outcome->replies[1].integer, 2);
    stage_close(&s);
}

/* The key is not where its slot is about to leave. */
Test(core_slots, a_key_that_may_be_elsewhere_by_now_is_waited_for)
{
    stage s;
    stage_open(&s, &cluster);
    actor a = {.reads = "{t}a {t}b", .plays = "ADD {t}a 1; GET {t}b"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH {t}a {t}b / GET {t}a / GET {t}b");
    says(&s, 0, "OK, \"1\", nil");
    hears(&s, 0, "MULTI / SET {t}a 2 / EXISTS {t}b / EXEC");
    says(&s, 0,
        "OK, QUEUED, -TRYAGAIN Multiple keys request during rehashing of slot, "
        "-EXECABORT Transaction discarded because of previous errors.");
    is_in(&s, &a, GAVEL__TX_PAUSED);
    sleeps(&s);
    hears(&s, 0, "WATCH {t}a {t}b / GET {t}a / GET {t}b");
    says(&s, 0, "OK, \"1\", \"5\"");
    hears(&s, 0, "MULTI / SET {t}a 2 / EXISTS {t}b / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [OK, :1]");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_slots, a_login_without_exists_is_told_so)
{
    stage s;
    stage_open(&s, &cluster);
    actor a = {.keys = "a", .plays = "SET {a}b 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a");
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / SET {a}b 1 / EXISTS a / EXEC");
    says(&s, 0,
        "OK, QUEUED, -NOPERM User x has no permissions to run the 'exists' command, "
        "-EXECABORT Transaction discarded because of previous errors.");
    ends_saying(&s, &a, GAVEL_REJECTED, "EXISTS of the keys that are watched was refused: NOPERM");
    stage_close(&s);
}

/* ---- Memory -------------------------------------------------------------------------------- */

Test(core_slots, without_memory_for_the_words_it_is_not_sent)
{
    for (size_t n_left = 0; n_left < 40; n_left++) {
        stage s;
        stage_open(
            &s, &(stage_config){.is_cluster = true, .has_any_memory = true, .n_left = n_left});
        actor a = {.keys = "a b", .plays = "SET a 1"};
        if (enter(&s, &a)) {
            stage_collect(&s);
            cr_assert(a.is_told);
            cr_assert(a.outcome.status == GAVEL_INVALID || a.outcome.status == GAVEL_NOT_SENT,
                "%zu", n_left);
        }
        stage_close(&s);
    }
}
