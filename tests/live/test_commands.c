/*
 * Whether what gavel knows of the server's commands (src/core/known.h) is so on this server: what
 * they do, by COMMAND, and which of their arguments are keys, by COMMAND GETKEYS. And what that is
 * good for: no command takes effect by a query, and no key of a write is overlooked.
 */
#include "attached.h"

#include "core/known.h"

#include <criterion/criterion.h>

#include <stdio.h>

/* ---- What they do -------------------------------------------------------------------------- */

static bool has_flag(const redisReply *command, const char *flag)
{
    const redisReply *flags = command->element[2];
    for (size_t i = 0; i < flags->elements; i++) {
        if (strcmp(flags->element[i]->str, flag) == 0)
            return true;
    }
    return false;
}

/* "object|encoding" as the words of a command. Returns how many. */
static size_t split(char *name, gavel_bytes args[2])
{
    char *sub = strchr(name, '|');
    if (sub != NULL)
        *sub++ = '\0';
    args[0] = gavel_str(name);
    args[1] = gavel_str(sub);
    return sub != NULL ? 2 : 1;
}

static void expect_agreement(const redisReply *command)
{
    char name[64];
    gavel_bytes args[2];
    snprintf(name, sizeof(name), "%s", command->element[0]->str);
    const gavel__known *known = gavel__known_find(args, split(name, args));
    if (known == NULL || (known->does & GAVEL__KNOWN_STEERS) != 0)
        return;
    const char *what = command->element[0]->str;
    cr_expect_eq((known->does & GAVEL__KNOWN_WRITES) != 0, has_flag(command, "write"), "%s", what);
    if (has_flag(command, "readonly"))
        cr_expect(known->does & GAVEL__KNOWN_READS, "%s reads", what);
    if (command->elements <= 9) /* 6.2 says no more */
        return;
    cr_expect_eq(
        (known->does & GAVEL__KNOWN_BLOCKS) != 0, has_flag(command, "blocking"), "%s", what);
    cr_expect_not(has_flag(command, "no_multi"), "%s may not stand in MULTI", what);
    if (has_flag(command, "movablekeys"))
        cr_expect_gt((int)known->keys, (int)GAVEL__KEYS_ROW, "%s", what);
    else if (known->keys == GAVEL__KEYS_ROW || known->keys == GAVEL__KEYS_COPY)
        for (int i = 0; i < 3; i++)
            cr_expect_eq((long long)known->at[i], command->element[3 + i]->integer, "%s", what);
}

/* From 7.0 on the reply tells of subcommands as well. */
static size_t n_subcommands(const redisReply *command)
{
    return command->elements > 9 ? command->element[9]->elements : 0;
}

Test(commands, what_they_do_is_what_the_server_says)
{
    test_server *server = server_start(NULL);
    redisReply *commands = server_command(server, "COMMAND", NULL);
    size_t n_known = 0;
    for (size_t i = 0; i < commands->elements; i++) {
        const redisReply *command = commands->element[i];
        gavel_bytes name = gavel_str(command->element[0]->str);
        if (n_subcommands(command) == 0)
            expect_agreement(command);
        for (size_t j = 0; j < n_subcommands(command); j++)
            expect_agreement(command->element[9]->element[j]);
        n_known += gavel__known_find((gavel_bytes[]){name, GAVEL_STR("HELP")}, 2) != NULL;
    }
    /* A newer server has others, too; of one of today they are few. */
    cr_expect_gt(n_known * 10, commands->elements * 9, "%zu of %zu", n_known, commands->elements);
    freeReplyObject(commands);
    server_stop(server);
}

/* ---- Their keys ---------------------------------------------------------------------------- */

#define MAX_ARGS 12

/* The command of a row with so many arguments, all different. False: it cannot have so many. */
static bool compose(
    const gavel__known *row, size_t n_args, char storage[MAX_ARGS][32], gavel_bytes args[MAX_ARGS])
{
    snprintf(storage[0], sizeof(storage[0]), "%s", row->name);
    size_t n = split(storage[0], args);
    for (; n < n_args; n++) {
        snprintf(storage[n], sizeof(storage[n]), "a%zu", n);
        args[n] = gavel_str(storage[n]);
    }
    if (row->keys == GAVEL__KEYS_COUNTED) {
        size_t place = (size_t)row->at[0];
        if (place + 2 >= n_args)
            return false;
        snprintf(storage[place], sizeof(storage[place]), "%zu", n_args - place - 2);
        args[place] = gavel_str(storage[place]);
    }
    if (row->keys == GAVEL__KEYS_STREAMS)
        args[strcmp(row->name, "XREAD") == 0 ? 1 : 4] = GAVEL_STR("STREAMS");
    if (strcmp(row->name, "XREADGROUP") == 0)
        args[1] = GAVEL_STR("GROUP");
    return true;
}

static redisReply *ask_for_keys(test_server *server, const gavel_bytes *args, size_t n_args)
{
    gavel_bytes question[MAX_ARGS + 2] = {GAVEL_STR("COMMAND"), GAVEL_STR("GETKEYS")};
    memcpy(question + 2, args, n_args * sizeof(*args));
    return server_command_bytes(server, question, n_args + 2);
}

/* The server gives them in its own order, and gavel the one that stands apart last. */
static bool has_key(const redisReply *keys, gavel_bytes key)
{
    for (size_t i = 0; i < keys->elements; i++) {
        if (keys->element[i]->len == key.size &&
            memcmp(keys->element[i]->str, key.data, key.size) == 0)
            return true;
    }
    return false;
}

static void expect_keys(test_server *server, const gavel_bytes *args, size_t n_args)
{
    redisReply *keys = ask_for_keys(server, args, n_args);
    if (keys->type == REDIS_REPLY_ARRAY) {
        gavel_command command = {.args = args, .n_args = n_args};
        gavel__command resolved = {.n_keys = 0};
        char message[GAVEL_MESSAGE_SIZE] = "";
        gavel__purpose purpose = {.use = GAVEL__USE_LOCKED};
        bool is_good =
            gavel__command_resolve(&command, &purpose, &resolved, message) == GAVEL__RESOLVED;
        cr_expect(is_good, "%s: %s", args[0].data, message);
        cr_expect_eq(resolved.n_keys, keys->elements, "%s with %zu: %u keys, not %zu", args[0].data,
            n_args, resolved.n_keys, keys->elements);
        for (size_t i = 0; i < resolved.n_keys; i++)
            cr_expect(has_key(keys, gavel__command_key(&resolved, i)), "%s with %zu: %s",
                args[0].data, n_args, gavel__command_key(&resolved, i).data);
    }
    freeReplyObject(keys);
}

/* With as many arguments as it takes, and more: what is wrong the server does not answer. */
Test(commands, their_keys_are_where_the_server_finds_them)
{
    test_server *server = server_start(NULL);
    for (size_t i = 0; i < gavel__n_known_rows; i++) {
        const gavel__known *row = &gavel__known_rows[i];
        if (row->keys == GAVEL__KEYS_NONE)
            continue;
        for (size_t n_args = 2; n_args <= MAX_ARGS; n_args++) {
            char storage[MAX_ARGS][32];
            gavel_bytes args[MAX_ARGS];
            if (compose(row, n_args, storage, args))
                expect_keys(server, args, n_args);
        }
    }
    server_stop(server);
}

static void expect_keys_of(test_server *server, const char *line)
{
    char text[128];
    gavel_bytes args[MAX_ARGS];
    size_t n_args = 0;
    snprintf(text, sizeof(text), "%s", line);
    for (char *word = strtok(text, " "); word != NULL; word = strtok(NULL, " "))
        args[n_args++] = gavel_str(word);
    expect_keys(server, args, n_args);
}

Test(commands, destinations_are_where_the_server_finds_them)
{
    test_server *server = server_start(NULL);
    expect_keys_of(server, "SORT k STORE a STORE b");
    expect_keys_of(server, "SORT k BY STORE GET STORE LIMIT STORE 2 STORE b");
    expect_keys_of(server, "GEORADIUS k 0 0 9 m COUNT 1 STOREDIST b");
    expect_keys_of(server, "GEORADIUSBYMEMBER k m 9 m STORE a COUNT 1");
    expect_keys_of(server, "XREAD BLOCK 0 COUNT 1 STREAMS a b 0 0");
    server_stop(server);
}

/* ---- Queries that would write -------------------------------------------------------------- */

static gavel_verdict query_it(gavel_tx *tx, void *user)
{
    const gavel_reply *reply = NULL;
    gavel_query(tx, user, &reply);
    return gavel_abort(tx, 1);
}

static void expect_no_query(live_rig *rig, gavel_command command, const char *words)
{
    gavel_outcome outcome = live_run(rig->client, "other", query_it, &command);
    cr_expect_eq(outcome.status, GAVEL_INVALID, "%s", outcome.message);
    cr_expect(live_contains(outcome.message, words), "%s", outcome.message);
    gavel_read read = {.command = &command};
    outcome = gavel_run(rig->client,
        &(gavel_transaction){.body = query_it, .user = &command, .reads = &read, .n_reads = 1});
    cr_expect_eq(outcome.status, GAVEL_INVALID, "%s", outcome.message);
    cr_expect_eq(outcome.n_round_trips, 0);
}

/* Ten jobs would be gone, and the transaction ABORTED. */
Test(commands, no_query_writes_blocks_or_steers)
{
    live_rig rig = live_begin(NULL, NULL);
    server_do(rig.server, "RPUSH", "jobs", "1", "2", "3", NULL);
    gavel_bytes jobs = GAVEL_STR("jobs");
    expect_no_query(&rig, GAVEL_COMMAND(GAVEL_STR("LPOP"), jobs), "\"LPOP\" writes");
    expect_no_query(&rig, GAVEL_COMMAND(GAVEL_STR("DEL"), jobs), "\"DEL\" writes");
    expect_no_query(&rig, GAVEL_COMMAND(GAVEL_STR("INCR"), GAVEL_STR("n")), "\"INCR\" writes");
    expect_no_query(
        &rig, GAVEL_COMMAND(GAVEL_STR("BLPOP"), GAVEL_STR("none"), GAVEL_STR("0")), "\"BLPOP\"");
    expect_no_query(&rig,
        GAVEL_COMMAND(GAVEL_STR("XREAD"), GAVEL_STR("BLOCK"), GAVEL_STR("0"), GAVEL_STR("STREAMS"),
            GAVEL_STR("none"), GAVEL_STR("$")),
        "\"XREAD\" blocks");
    expect_no_query(
        &rig, GAVEL_COMMAND(GAVEL_STR("CLIENT"), GAVEL_STR("REPLY"), GAVEL_STR("OFF")), "steers");
    expect_no_query(&rig, GAVEL_COMMAND(GAVEL_STR("FLUSHALL")), "\"FLUSHALL\" writes");
    expect_no_query(&rig, GAVEL_COMMAND(GAVEL_STR("KEYS"), GAVEL_STR("*")), "is_read_only");
    cr_expect_eq(server_int(rig.server, "LLEN", "jobs", NULL), 3);
    cr_expect_eq(server_int(rig.server, "EXISTS", "n", NULL), 0);
    live_end(&rig);
}

/* ---- Writes of several keys ---------------------------------------------------------------- */

#define N_JOBS 200

/* A counter that is read and written by turns in four ways. */
static gavel_verdict add_by_set(gavel_tx *tx, void *user)
{
    int64_t value = 0;
    gavel_get_int(tx, GAVEL_STR("counter"), &value);
    gavel_set_int(tx, GAVEL_STR("counter"), value + 1);
    (void)user;
    return GAVEL_COMMIT;
}

static gavel_verdict add_by_mset(gavel_tx *tx, void *user)
{
    int64_t value = 0;
    char text[24];
    gavel_get_int(tx, GAVEL_STR("counter"), &value);
    snprintf(text, sizeof(text), "%lld", (long long)value + 1);
    gavel_write(tx, &GAVEL_COMMAND(GAVEL_STR("MSET"), GAVEL_STR("log"), GAVEL_STR("x"),
                        GAVEL_STR("counter"), gavel_str(text)));
    (void)user;
    return GAVEL_COMMIT;
}

static gavel_verdict add_by_rename(gavel_tx *tx, void *user)
{
    int64_t value = 0;
    gavel_get_int(tx, GAVEL_STR("counter"), &value);
    gavel_set_int(tx, GAVEL_STR("next"), value + 1);
    gavel_write(tx, &GAVEL_COMMAND(GAVEL_STR("RENAME"), GAVEL_STR("next"), GAVEL_STR("counter")));
    (void)user;
    return GAVEL_COMMIT;
}

static gavel_verdict add_after_bitop(gavel_tx *tx, void *user)
{
    int64_t value = 0;
    char text[24];
    gavel_get_int(tx, GAVEL_STR("counter"), &value);
    snprintf(text, sizeof(text), "%lld", (long long)value + 1);
    gavel_write(tx, &GAVEL_COMMAND(GAVEL_STR("BITOP"), GAVEL_STR("OR"), GAVEL_STR("log"),
                        GAVEL_STR("counter"), GAVEL_STR("counter")));
    gavel_write(tx, &GAVEL_COMMAND(GAVEL_STR("SET"), GAVEL_STR("counter"), gavel_str(text)));
    (void)user;
    return GAVEL_COMMIT;
}

static void count_committed(const gavel_outcome *outcome, void *user)
{
    int *n_committed = user;
    cr_expect_eq(outcome->status, GAVEL_COMMITTED, "%s", outcome->message);
    *n_committed += outcome->status == GAVEL_COMMITTED;
}

/* All of them are open at once, so that they share rounds: each has to see those before it. */
Test(commands, no_key_of_a_write_is_overlooked)
{
    static gavel_body *const bodies[] = {add_by_set, add_by_mset, add_by_rename, add_after_bitop};
    static const gavel_bytes keys[] = {{"log", 3}, {"next", 4}};
    attached_rig rig = attached_begin(NULL);
    gavel_read read = {.key = GAVEL_STR("counter")};
    int n_committed = 0;
    for (size_t i = 0; i < N_JOBS; i++) {
        gavel_transaction request = {
            .body = bodies[i % 4], .keys = keys, .n_keys = 2, .reads = &read, .n_reads = 1};
        request.user = &n_committed;
        cr_assert_neq(gavel_submit(rig.live.client, &request, count_committed), 0);
    }
    ev_run(rig.loop, 0);
    cr_expect_eq(n_committed, N_JOBS);
    cr_expect_eq(attached_value_of(&rig, "counter"), N_JOBS);
    attached_end(&rig);
}

static gavel_verdict restock(gavel_tx *tx, void *user)
{
    (void)user;
    gavel_write(tx, &GAVEL_COMMAND(GAVEL_STR("MSET"), GAVEL_STR("log"), GAVEL_STR("x"),
                        GAVEL_STR("counter"), GAVEL_STR("100")));
    return GAVEL_COMMIT;
}

/* Whoever reads after a body that has only written, and the key not first, sees what it wrote. With
 * one link, so that the reader is after it: on two, the server may have either first. */
Test(commands, a_write_of_a_second_key_is_seen)
{
    attached_rig rig = attached_begin(&(gavel_config){.max_links = 1});
    server_do(rig.live.server, "SET", "counter", "5", NULL);
    gavel_read read = {.key = GAVEL_STR("counter")};
    gavel_transaction requests[] = {
        {.body = restock}, {.body = add_by_set, .reads = &read, .n_reads = 1}};
    int n_committed = 0;
    for (size_t i = 0; i < 2; i++) {
        requests[i].user = &n_committed;
        cr_assert_neq(gavel_submit(rig.live.client, &requests[i], count_committed), 0);
    }
    ev_run(rig.loop, 0);
    cr_expect_eq(n_committed, 2);
    cr_expect_eq(attached_value_of(&rig, "counter"), 101);
    attached_end(&rig);
}

/* ---- What cannot be watched ---------------------------------------------------------------- */

static gavel_verdict look_at_all(gavel_tx *tx, void *user)
{
    const gavel_reply *reply = NULL;
    int64_t *n_keys = user;
    if (gavel_query(tx, &GAVEL_COMMAND(GAVEL_STR("KEYS"), GAVEL_STR("?")), &reply) == GAVEL_FOUND)
        *n_keys = (int64_t)reply->n_elements;
    if (gavel_query(tx, &GAVEL_COMMAND(GAVEL_STR("DBSIZE")), &reply) == GAVEL_FOUND)
        *n_keys += reply->integer >= *n_keys ? 100 : 0; /* gavel has keys, too */
    return GAVEL_COMMIT;
}

Test(commands, a_snapshot_sees_all_keys)
{
    live_rig rig = live_begin(NULL, NULL);
    server_do(rig.server, "MSET", "a", "1", "b", "1", NULL);
    int64_t n_keys = 0;
    gavel_command keys = GAVEL_COMMAND(GAVEL_STR("KEYS"), GAVEL_STR("?"));
    gavel_outcome outcome = gavel_run(rig.client, &(gavel_transaction){.body = look_at_all,
                                                      .user = &n_keys,
                                                      .reads = &(gavel_read){.command = &keys},
                                                      .n_reads = 1,
                                                      .is_read_only = true});
    cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
    cr_expect_eq(n_keys, 102, "%lld", (long long)n_keys);
    live_end(&rig);
}

/* ---- What gavel does not know -------------------------------------------------------------- */

/* The server's own words on a command, to describe it by. */
static gavel_verdict look_for_keys(gavel_tx *tx, void *user)
{
    const gavel_reply *reply = NULL;
    gavel_command question = GAVEL_COMMAND(GAVEL_STR("COMMAND"), GAVEL_STR("GETKEYS"),
        GAVEL_STR("LMOVE"), GAVEL_STR("a"), GAVEL_STR("b"), GAVEL_STR("LEFT"), GAVEL_STR("RIGHT"));
    if (gavel_query(tx, &question, &reply) != GAVEL_FOUND)
        return GAVEL_AGAIN;
    gavel_bytes key;
    *(size_t *)user = reply->n_elements;
    cr_expect(gavel_reply_text(gavel_reply_element(reply, 1), &key));
    cr_expect_eq(memcmp(key.data, "b", 1), 0);
    return GAVEL_ABORT;
}

Test(commands, the_server_can_be_asked_what_a_command_takes)
{
    live_rig rig = live_begin(NULL, NULL);
    size_t n_keys = 0;
    gavel_outcome outcome =
        gavel_run(rig.client, &(gavel_transaction){.body = look_for_keys, .user = &n_keys});
    cr_expect_eq(outcome.status, GAVEL_ABORTED, "%s", outcome.message);
    cr_expect_eq(n_keys, 2);
    live_end(&rig);
}
