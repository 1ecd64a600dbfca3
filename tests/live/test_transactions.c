/* Transactions on a real server: what a body reads and writes, and what its caller is told. */
#include "tools.h"

#include <criterion/criterion.h>

#include <stdio.h>

#define KEY GAVEL_STR("key")

/* Every kind of byte that a careless protocol or format string would trip over. */
#define NASTY_KEY GAVEL_STR("k\0\r\n%s %n*3\r\n$4")
#define NASTY_FIELD GAVEL_STR("f\0\r\n%d{}")
#define NASTY_VALUE GAVEL_STR("\r\n+OK\r\n\0%s%%\xff")

static bool is_equal(gavel_bytes a, gavel_bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* ---- Reading and writing -------------------------------------------------------------------- */

#define NOTE_IF(condition)                                                                         \
    do {                                                                                           \
        if (!(condition) && *wrong_line == 0)                                                      \
            *wrong_line = __LINE__;                                                                \
    } while (0)

static gavel_verdict read_own_strings(gavel_tx *tx, void *user)
{
    int *wrong_line = user;
    gavel_bytes text = {NULL, 0};
    int64_t number = 0;
    NOTE_IF(gavel_get(tx, KEY, &text) == GAVEL_FOUND && is_equal(text, GAVEL_STR("before")));
    NOTE_IF(gavel_set(tx, KEY, GAVEL_STR("after")));
    NOTE_IF(gavel_get(tx, KEY, &text) == GAVEL_FOUND && is_equal(text, GAVEL_STR("after")));
    NOTE_IF(gavel_del(tx, KEY));
    NOTE_IF(gavel_get(tx, KEY, &text) == GAVEL_ABSENT && is_equal(text, GAVEL_STR("")));
    NOTE_IF(gavel_set_int(tx, KEY, -7));
    NOTE_IF(gavel_get_int(tx, KEY, &number) == GAVEL_FOUND && number == -7);
    return GAVEL_COMMIT;
}

static gavel_verdict read_own_fields(gavel_tx *tx, void *user)
{
    int *wrong_line = user;
    gavel_bytes hash = GAVEL_STR("hash");
    gavel_bytes text = {NULL, 0};
    int64_t number = 0;
    NOTE_IF(gavel_hget(tx, hash, GAVEL_STR("a"), &text) != GAVEL_FAILED);
    NOTE_IF(gavel_hset(tx, hash, GAVEL_STR("b"), GAVEL_STR("two")));
    NOTE_IF(gavel_hget(tx, hash, GAVEL_STR("b"), &text) == GAVEL_FOUND);
    NOTE_IF(is_equal(text, GAVEL_STR("two")));
    NOTE_IF(gavel_hset_int(tx, hash, GAVEL_STR("b"), 3));
    NOTE_IF(gavel_hget_int(tx, hash, GAVEL_STR("b"), &number) == GAVEL_FOUND && number == 3);
    NOTE_IF(gavel_hdel(tx, hash, GAVEL_STR("a")));
    NOTE_IF(gavel_hget(tx, hash, GAVEL_STR("a"), &text) == GAVEL_ABSENT);
    return GAVEL_COMMIT;
}

Test(transactions, a_body_sees_its_own_writes)
{
    live_rig rig = live_begin(NULL, NULL);
    server_do(rig.server, "SET", "key", "before", NULL);
    int wrong_line = 0;
    gavel_outcome outcome = live_run(rig.client, "key", read_own_strings, &wrong_line);
    cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
    cr_expect_eq(wrong_line, 0, "see line %d", wrong_line);
    cr_expect(server_says(rig.server, "-7", "GET", "key", NULL));

    server_do(rig.server, "HSET", "hash", "a", "one", NULL);
    gavel_read read = {.key = GAVEL_STR("hash"), .field = GAVEL_STR("a")};
    outcome = gavel_run(rig.client,
        &(gavel_transaction){
            .body = read_own_fields, .user = &wrong_line, .reads = &read, .n_reads = 1});
    cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
    cr_expect_eq(wrong_line, 0, "see line %d", wrong_line);
    cr_expect(server_says(rig.server, "3", "HGET", "hash", "b", NULL));
    cr_expect_eq(server_int(rig.server, "HLEN", "hash", NULL), 1);
    live_end(&rig);
}

static gavel_verdict copy_nasty_bytes(gavel_tx *tx, void *user)
{
    int *wrong_line = user;
    gavel_bytes text = {NULL, 0};
    NOTE_IF(gavel_get(tx, NASTY_KEY, &text) == GAVEL_FOUND && is_equal(text, NASTY_VALUE));
    gavel_hset(tx, KEY, NASTY_FIELD, text);
    gavel_set(tx, NASTY_KEY, GAVEL_STR(""));
    gavel_set(tx, GAVEL_STR(""), NASTY_VALUE);
    return GAVEL_COMMIT;
}

static bool holds(test_server *server, const gavel_bytes *args, size_t n_args, gavel_bytes value)
{
    redisReply *reply = server_command_bytes(server, args, n_args);
    bool is_same = reply->type == REDIS_REPLY_STRING &&
                   is_equal((gavel_bytes){reply->str, (size_t)reply->len}, value);
    freeReplyObject(reply);
    return is_same;
}

Test(transactions, keys_fields_and_values_hold_any_byte)
{
    live_rig rig = live_begin(NULL, NULL);
    gavel_bytes set[] = {GAVEL_STR("SET"), NASTY_KEY, NASTY_VALUE};
    freeReplyObject(server_command_bytes(rig.server, set, 3));
    int wrong_line = 0;
    gavel_bytes keys[] = {KEY, GAVEL_STR("")};
    gavel_outcome outcome = gavel_run(rig.client, &(gavel_transaction){.body = copy_nasty_bytes,
                                                      .user = &wrong_line,
                                                      .keys = keys,
                                                      .n_keys = 2,
                                                      .reads = &(gavel_read){.key = NASTY_KEY},
                                                      .n_reads = 1});
    cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
    cr_expect_eq(wrong_line, 0, "see line %d", wrong_line);
    gavel_bytes hget[] = {GAVEL_STR("HGET"), KEY, NASTY_FIELD};
    cr_expect(holds(rig.server, hget, 3, NASTY_VALUE));
    gavel_bytes get[] = {GAVEL_STR("GET"), NASTY_KEY};
    cr_expect(holds(rig.server, get, 2, GAVEL_STR("")));
    gavel_bytes get_empty[] = {GAVEL_STR("GET"), GAVEL_STR("")};
    cr_expect(holds(rig.server, get_empty, 2, NASTY_VALUE));
    live_end(&rig);
}

static gavel_verdict read_integer(gavel_tx *tx, void *user)
{
    int64_t *value = user;
    gavel_get_int(tx, KEY, value);
    gavel_set_int(tx, KEY, *value);
    return GAVEL_COMMIT;
}

Test(transactions, integers_reach_to_their_limits)
{
    live_rig rig = live_begin(NULL, NULL);
    static const char *const good[] = {"9223372036854775807", "-9223372036854775808", "0", "-1"};
    static const int64_t values[] = {INT64_MAX, INT64_MIN, 0, -1};
    for (size_t i = 0; i < 4; i++) {
        server_do(rig.server, "SET", "key", good[i], NULL);
        int64_t value = 5;
        gavel_outcome outcome = live_run(rig.client, "key", read_integer, &value);
        cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
        cr_expect_eq(value, values[i]);
        cr_expect(server_says(rig.server, good[i], "GET", "key", NULL));
    }
    live_end(&rig);
}

Test(transactions, what_is_no_integer_is_refused_by_name)
{
    live_rig rig = live_begin(NULL, NULL);
    static const char *const bad[] = {"9223372036854775808", "-9223372036854775809", "007", " 1",
        "1 ", "+1", "-0", "1.0", "", "-", "0x10", "one"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        server_do(rig.server, "SET", "key", bad[i], NULL);
        int64_t value = 5;
        gavel_outcome outcome = live_run(rig.client, "key", read_integer, &value);
        cr_expect_eq(outcome.status, GAVEL_INVALID, "\"%s\" passed", bad[i]);
        cr_expect(live_contains(outcome.message, "\"key\""), "%s", outcome.message);
        cr_expect_eq(value, 0, "outputs are zero unless found");
        cr_expect(server_says(rig.server, bad[i], "GET", "key", NULL));
    }
    cr_expect(live_is_usable(&rig));
    live_end(&rig);
}

static gavel_verdict read_absent(gavel_tx *tx, void *user)
{
    int *wrong_line = user;
    gavel_bytes string = GAVEL_STR("before"), field = string;
    int64_t number = 5, field_number = 5;
    const gavel_reply none = {.type = GAVEL_REPLY_NIL}, *reply = &none;
    NOTE_IF(gavel_get(tx, KEY, &string) == GAVEL_ABSENT && string.size == 0);
    NOTE_IF(gavel_get_int(tx, KEY, &number) == GAVEL_ABSENT && number == 0);
    NOTE_IF(gavel_hget(tx, KEY, GAVEL_STR("f"), &field) == GAVEL_ABSENT && field.size == 0);
    NOTE_IF(gavel_hget_int(tx, KEY, GAVEL_STR("f"), &field_number) == GAVEL_ABSENT);
    NOTE_IF(field_number == 0);
    gavel_found found = gavel_query(tx, &GAVEL_COMMAND(GAVEL_STR("GET"), KEY), &reply);
    NOTE_IF(found == GAVEL_ABSENT && reply == NULL);
    return GAVEL_COMMIT;
}

Test(transactions, what_is_absent_zeroes_the_output)
{
    live_rig rig = live_begin(NULL, NULL);
    int wrong_line = 0;
    gavel_read reads[] = {{.key = KEY}, {.key = KEY, .field = GAVEL_STR("f")}};
    gavel_outcome outcome = gavel_run(
        rig.client, &(gavel_transaction){
                        .body = read_absent, .user = &wrong_line, .reads = reads, .n_reads = 2});
    cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
    cr_expect_eq(wrong_line, 0, "see line %d", wrong_line);
    live_end(&rig);
}

static gavel_verdict read_string_and_write(gavel_tx *tx, void *user)
{
    gavel_found *found = user;
    gavel_bytes text = {NULL, 0};
    *found = gavel_get(tx, KEY, &text);
    gavel_set(tx, KEY, GAVEL_STR("overwritten"));
    return GAVEL_COMMIT;
}

Test(transactions, a_read_of_the_wrong_type_names_the_key)
{
    live_rig rig = live_begin(NULL, NULL);
    server_do(rig.server, "RPUSH", "key", "a", NULL);
    gavel_found found = GAVEL_FOUND;
    gavel_outcome outcome = live_run(rig.client, "key", read_string_and_write, &found);
    cr_expect_eq(found, GAVEL_FAILED);
    cr_expect_not(gavel_is_committed(&outcome));
    cr_expect(live_contains(outcome.message, "WRONGTYPE"), "%s", outcome.message);
    cr_expect(live_contains(outcome.message, "\"key\""), "%s", outcome.message);
    cr_expect_eq(server_int(rig.server, "LLEN", "key", NULL), 1);
    cr_expect(live_is_usable(&rig));
    live_end(&rig);
}

/* ---- Other commands ------------------------------------------------------------------------- */

static gavel_verdict query_board(gavel_tx *tx, void *user)
{
    int *wrong_line = user;
    const gavel_reply *reply = NULL;
    gavel_command range = GAVEL_COMMAND(
        GAVEL_STR("ZRANGE"), KEY, GAVEL_STR("0"), GAVEL_STR("-1"), GAVEL_STR("WITHSCORES"));
    gavel_found found = gavel_query(tx, &range, &reply);
    if (found == GAVEL_NOT_YET)
        return GAVEL_AGAIN;
    NOTE_IF(found == GAVEL_FOUND && reply->type == GAVEL_REPLY_ARRAY && reply->n_elements == 4);
    NOTE_IF(is_equal(reply->elements[2].text, GAVEL_STR("bob")));
    gavel_command score = GAVEL_COMMAND(GAVEL_STR("ZSCORE"), KEY, GAVEL_STR("carol"));
    found = gavel_query(tx, &score, &reply);
    NOTE_IF(found == GAVEL_NOT_YET || found == GAVEL_ABSENT);
    gavel_command add = GAVEL_COMMAND(GAVEL_STR("ZADD"), KEY, GAVEL_STR("3"), GAVEL_STR("carol"));
    gavel_write(tx, &add);
    return GAVEL_COMMIT;
}

Test(transactions, a_body_uses_any_command)
{
    live_rig rig = live_begin(NULL, NULL);
    server_do(rig.server, "ZADD", "key", "1", "alice", "2", "bob", NULL);
    int wrong_line = 0;
    gavel_outcome outcome = gavel_run(rig.client,
        &(gavel_transaction){
            .body = query_board, .user = &wrong_line, .keys = (gavel_bytes[]){KEY}, .n_keys = 1});
    cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
    cr_expect_eq(wrong_line, 0, "see line %d", wrong_line);
    cr_expect_eq(server_int(rig.server, "ZCARD", "key", NULL), 3);
    live_end(&rig);
}

static gavel_verdict query_after_writing(gavel_tx *tx, void *user)
{
    (void)user;
    gavel_command push = GAVEL_COMMAND(GAVEL_STR("RPUSH"), KEY, GAVEL_STR("x"));
    gavel_write(tx, &push);
    const gavel_reply *reply = NULL;
    gavel_command length = GAVEL_COMMAND(GAVEL_STR("LLEN"), KEY);
    gavel_query(tx, &length, &reply);
    return GAVEL_COMMIT;
}

static gavel_verdict get_after_appending(gavel_tx *tx, void *user)
{
    (void)user;
    gavel_command append = GAVEL_COMMAND(GAVEL_STR("APPEND"), KEY, GAVEL_STR("x"));
    gavel_write(tx, &append);
    gavel_bytes text = {NULL, 0};
    gavel_get(tx, KEY, &text);
    return GAVEL_COMMIT;
}

Test(transactions, a_read_that_gavel_cannot_model_is_refused_by_name)
{
    live_rig rig = live_begin(NULL, NULL);
    gavel_body *const bodies[] = {query_after_writing, get_after_appending};
    for (size_t i = 0; i < 2; i++) {
        gavel_outcome outcome = live_run(rig.client, "key", bodies[i], NULL);
        cr_expect_eq(outcome.status, GAVEL_INVALID);
        cr_expect(live_contains(outcome.message, "\"key\""), "%s", outcome.message);
        cr_expect_eq(server_int(rig.server, "EXISTS", "key", NULL), 0);
        cr_expect(live_is_usable(&rig));
    }
    live_end(&rig);
}

/* ---- Many keys ------------------------------------------------------------------------------ */

typedef struct many_keys {
    char names[GAVEL_MAX_KEYS + 1][16];
    gavel_bytes keys[GAVEL_MAX_KEYS + 1];
    gavel_read reads[GAVEL_MAX_KEYS + 1];
} many_keys;

static void name_keys(many_keys *many)
{
    for (size_t i = 0; i < GAVEL_MAX_KEYS + 1; i++) {
        snprintf(many->names[i], sizeof(many->names[i]), "many:%zu", i);
        many->keys[i] = gavel_str(many->names[i]);
        many->reads[i] = (gavel_read){.key = many->keys[i]};
    }
}

static gavel_verdict add_one_to_all(gavel_tx *tx, void *user)
{
    many_keys *many = user;
    for (size_t i = 0; i < GAVEL_MAX_KEYS; i++)
        live_add_one(tx, &many->keys[i]);
    return GAVEL_COMMIT;
}

static gavel_verdict read_one_too_many(gavel_tx *tx, void *user)
{
    many_keys *many = user;
    add_one_to_all(tx, user);
    gavel_bytes text = {NULL, 0};
    gavel_get(tx, many->keys[GAVEL_MAX_KEYS], &text);
    return GAVEL_COMMIT;
}

Test(transactions, as_many_keys_as_are_allowed_commit)
{
    live_rig rig = live_begin(NULL, NULL);
    static many_keys many;
    name_keys(&many);
    gavel_transaction transaction = {
        .body = add_one_to_all, .user = &many, .reads = many.reads, .n_reads = GAVEL_MAX_KEYS};
    for (int i = 0; i < 2; i++) {
        gavel_outcome outcome = gavel_run(rig.client, &transaction);
        cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
    }
    for (size_t i = 0; i < GAVEL_MAX_KEYS; i++)
        cr_assert(server_says(rig.server, "2", "GET", many.names[i], NULL));
    live_end(&rig);
}

Test(transactions, one_key_more_is_refused_by_name)
{
    live_rig rig = live_begin(NULL, NULL);
    static many_keys many;
    name_keys(&many);
    gavel_transaction requests[] = {
        {.keys = many.keys, .n_keys = GAVEL_MAX_KEYS + 1},
        {.reads = many.reads, .n_reads = GAVEL_MAX_KEYS + 1},
        {.reads = many.reads, .n_reads = GAVEL_MAX_KEYS},
    };
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        requests[i].body = read_one_too_many;
        requests[i].user = &many;
        gavel_outcome outcome = gavel_run(rig.client, &requests[i]);
        cr_expect_eq(outcome.status, GAVEL_INVALID, "request %zu", i);
        cr_expect(live_contains(outcome.message, "\"many:512\""), "%s", outcome.message);
        cr_expect(live_contains(outcome.message, "512 keys"), "%s", outcome.message);
        cr_expect(live_is_usable(&rig));
    }
    cr_expect_eq(server_int(rig.server, "EXISTS", "many:0", NULL), 0);
    live_end(&rig);
}
