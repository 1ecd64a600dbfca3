/* Replies to the writes of a transaction: kept ones, and those that are errors. */
#include "tools.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>

#define KEY GAVEL_STR("key")
#define NASTY_VALUE GAVEL_STR("\r\n+OK\r\n\0%s%%\xff")

static bool is_equal(gavel_bytes a, gavel_bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* ---- Replies -------------------------------------------------------------------------------- */

static gavel_verdict write_for_replies(gavel_tx *tx, void *user)
{
    (void)user;
    gavel_command lines[] = {
        GAVEL_COMMAND(GAVEL_STR("SET"), KEY, GAVEL_STR("1")),
        GAVEL_COMMAND(GAVEL_STR("INCR"), KEY),
        GAVEL_COMMAND(GAVEL_STR("GETDEL"), KEY),
        GAVEL_COMMAND(GAVEL_STR("GETDEL"), KEY),
        GAVEL_COMMAND(GAVEL_STR("RPUSH"), KEY, NASTY_VALUE, GAVEL_STR("")),
        GAVEL_COMMAND(GAVEL_STR("LPOP"), KEY, GAVEL_STR("9")),
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        gavel_write(tx, &lines[i]);
    return GAVEL_COMMIT;
}

static gavel_transaction keep_replies(gavel_body *body)
{
    static const gavel_bytes keys[] = {{"key", 3}};
    return (gavel_transaction){.body = body, .keys = keys, .n_keys = 1, .keep_replies = true};
}

Test(replies, replies_are_kept_on_request)
{
    live_rig rig = live_begin(NULL, NULL);
    gavel_transaction transaction = keep_replies(write_for_replies);
    gavel_outcome outcome = gavel_run(rig.client, &transaction);
    cr_assert_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
    gavel_close(rig.client); /* they do not need the client */
    rig.client = NULL;
    cr_assert_eq(outcome.n_replies, 6);
    const gavel_reply *replies = outcome.replies;
    cr_expect(replies[0].type == GAVEL_REPLY_STATUS && is_equal(replies[0].text, GAVEL_STR("OK")));
    cr_expect(replies[1].type == GAVEL_REPLY_INTEGER && replies[1].integer == 2);
    cr_expect(replies[2].type == GAVEL_REPLY_STRING && is_equal(replies[2].text, GAVEL_STR("2")));
    cr_expect(replies[3].type == GAVEL_REPLY_NIL);
    cr_assert(replies[5].type == GAVEL_REPLY_ARRAY && replies[5].n_elements == 2);
    cr_expect(is_equal(replies[5].elements[0].text, NASTY_VALUE));
    cr_expect(is_equal(replies[5].elements[1].text, GAVEL_STR("")));
    gavel_outcome_clear(&outcome);
    cr_expect_null(outcome.replies);
    cr_expect_eq(outcome.n_replies, 0);
    gavel_outcome_clear(&outcome);
    gavel_outcome_clear(NULL);
    live_end(&rig);
}

Test(replies, replies_are_not_kept_otherwise)
{
    live_rig rig = live_begin(NULL, NULL);
    gavel_transaction transaction = keep_replies(write_for_replies);
    transaction.keep_replies = false;
    gavel_outcome outcome = gavel_run(rig.client, &transaction);
    cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
    cr_expect_null(outcome.replies);
    cr_expect_eq(outcome.n_replies, 0);
    live_end(&rig);
}

/* ---- Writes that fail ----------------------------------------------------------------------- */

static gavel_verdict write_between_good_ones(gavel_tx *tx, void *user)
{
    gavel_set(tx, GAVEL_STR("first"), GAVEL_STR("1"));
    gavel_write(tx, user);
    gavel_set(tx, GAVEL_STR("last"), GAVEL_STR("1"));
    return GAVEL_COMMIT;
}

static gavel_outcome run_between(live_rig *rig, gavel_command command)
{
    gavel_bytes keys[] = {GAVEL_STR("first"), KEY, GAVEL_STR("last")};
    server_do(rig->server, "DEL", "first", "last", NULL);
    return gavel_run(rig->client, &(gavel_transaction){.body = write_between_good_ones,
                                      .user = &command,
                                      .keys = keys,
                                      .n_keys = 3,
                                      .keep_replies = true});
}

static void expect_error(live_rig *rig, gavel_command command, const char *words)
{
    gavel_outcome outcome = run_between(rig, command);
    cr_expect_eq(outcome.status, GAVEL_COMMITTED_WITH_ERRORS, "%s", outcome.message);
    cr_expect(gavel_is_committed(&outcome));
    cr_expect(live_contains(outcome.message, words), "%s", outcome.message);
    cr_expect(live_contains(outcome.message, "write 2 of 3"), "%s", outcome.message);
    cr_expect(live_contains(outcome.message, " \"key\""), "%s", outcome.message);
    cr_assert_eq(outcome.n_replies, 3);
    cr_expect_eq(outcome.replies[0].type, GAVEL_REPLY_STATUS);
    cr_expect_eq(outcome.replies[1].type, GAVEL_REPLY_ERROR);
    cr_expect_eq(outcome.replies[2].type, GAVEL_REPLY_STATUS);
    gavel_outcome_clear(&outcome);
    cr_expect_eq(server_int(rig->server, "EXISTS", "first", "last", NULL), 2);
    cr_expect(live_is_usable(rig));
}

Test(replies, an_error_inside_exec_leaves_the_other_writes)
{
    live_rig rig = live_begin(NULL, NULL);
    server_do(rig.server, "SET", "key", "9223372036854775807", NULL);
    gavel_command push = GAVEL_COMMAND(GAVEL_STR("RPUSH"), KEY, GAVEL_STR("x"));
    expect_error(&rig, push, "WRONGTYPE");
    gavel_command increment = GAVEL_COMMAND(GAVEL_STR("INCR"), KEY);
    expect_error(&rig, increment, "overflow");
    gavel_command script = GAVEL_COMMAND(GAVEL_STR("EVALSHA"),
        GAVEL_STR("0123456789012345678901234567890123456789"), GAVEL_STR("1"), KEY);
    script.first_key = 3;
    expect_error(&rig, script, "NOSCRIPT");
    live_end(&rig);
}

/* The queued command takes a right away from the one behind it: the server asks again at EXEC. */
static gavel_verdict lose_a_right_inside_exec(gavel_tx *tx, void *user)
{
    (void)user;
    gavel_command lose = GAVEL_COMMAND(
        GAVEL_STR("ACL"), GAVEL_STR("SETUSER"), GAVEL_STR("bob"), GAVEL_STR("-append"));
    gavel_write(tx, &lose);
    gavel_command append = GAVEL_COMMAND(GAVEL_STR("APPEND"), KEY, GAVEL_STR("x"));
    gavel_write(tx, &append);
    return GAVEL_COMMIT;
}

Test(replies, a_right_lost_between_multi_and_exec_is_told)
{
    const char *const args[] = {"--user", "bob", "on", "nopass", "~*", "&*", "+@all", NULL};
    test_server *server = server_start(&(server_options){.has_tcp = true, .args = args});
    char url[64];
    snprintf(url, sizeof(url), "redis://bob@127.0.0.1:%d", server_port(server));
    live_rig rig = {server, live_open(url, NULL)};
    gavel_outcome outcome = gavel_run(rig.client,
        &(gavel_transaction){
            .body = lose_a_right_inside_exec, .keys = &(gavel_bytes){KEY.data, 3}, .n_keys = 1});
    cr_expect_eq(outcome.status, GAVEL_COMMITTED_WITH_ERRORS, "%s", outcome.message);
    cr_expect(live_contains(outcome.message, "NOPERM"), "%s", outcome.message);
    cr_expect(live_contains(outcome.message, ": APPEND \"key\""), "%s", outcome.message);
    cr_expect_eq(server_int(server, "EXISTS", "key", NULL), 0);
    cr_expect(live_is_usable(&rig));
    live_end(&rig);
}

static void expect_rejected(live_rig *rig, gavel_command command, const char *words)
{
    gavel_outcome outcome = run_between(rig, command);
    cr_expect_eq(outcome.status, GAVEL_REJECTED, "%s", outcome.message);
    cr_expect(live_contains(outcome.message, words), "%s", outcome.message);
    cr_expect(live_contains(outcome.message, "write 2 of 3"), "%s", outcome.message);
    cr_expect(live_contains(outcome.message, " \"key\""), "%s", outcome.message);
    cr_expect_null(outcome.replies);
    cr_expect_eq(server_int(rig->server, "EXISTS", "first", "last", NULL), 0);
    cr_expect(live_is_usable(rig));
}

Test(replies, a_write_refused_while_queueing_writes_nothing)
{
    live_rig rig = live_begin(NULL, NULL);
    gavel_command bad_arity = GAVEL_COMMAND(GAVEL_STR("SET"), KEY);
    expect_rejected(&rig, bad_arity, "wrong number of arguments");
    gavel_command unknown = GAVEL_COMMAND(GAVEL_STR("NONSUCH"), KEY);
    unknown.n_keys = 1;
    expect_rejected(&rig, unknown, "unknown command");
    gavel_command blank = GAVEL_COMMAND(GAVEL_STR("SET key"), KEY);
    blank.n_keys = 1;
    expect_rejected(&rig, blank, "unknown command");
    live_end(&rig);
}

/* ---- Whose memory it is -------------------------------------------------------------------- */

static void *count_call(void *user, void *memory, size_t size)
{
    unsigned *n_calls = user;
    *n_calls += 1;
    if (size > 0)
        return realloc(memory, size);
    free(memory);
    return NULL;
}

/* The caller's allocator is called by one thread at a time, and this may be beside another one. */
Test(replies, clearing_an_outcome_does_not_call_the_allocator)
{
    unsigned n_calls = 0;
    gavel_config config = {.allocator = {.resize = count_call, .user = &n_calls}};
    live_rig rig = live_begin(NULL, &config);
    gavel_transaction transaction = keep_replies(write_for_replies);
    gavel_outcome outcome = gavel_run(rig.client, &transaction);
    cr_assert_gt(outcome.n_replies, 0);
    unsigned n_before = n_calls;
    gavel_outcome_clear(&outcome);
    cr_expect_eq(n_calls, n_before);
    live_end(&rig);
}
