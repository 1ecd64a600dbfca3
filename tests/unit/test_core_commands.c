/*
 * What gavel knows of the server's commands: their keys, what they do, and who may use them for
 * what. Whether that is so on a server, tests/live/test_commands.c asks it.
 */
#include "base/text.h"
#include "core/lore.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>

/* ---- The rows ------------------------------------------------------------------------------ */

Test(core_commands, the_rows_are_in_order)
{
    for (size_t i = 1; i < gavel__n_known_rows; i++)
        cr_assert_lt(strcmp(gavel__known_rows[i - 1].name, gavel__known_rows[i].name), 0, "%s",
            gavel__known_rows[i].name);
}

static const gavel__known *find(const char *name, const char *argument)
{
    gavel_bytes args[] = {gavel_str(name), gavel_str(argument)};
    return gavel__known_find(args, argument != NULL ? 2 : 1);
}

Test(core_commands, every_row_is_found)
{
    for (size_t i = 0; i < gavel__n_known_rows; i++) {
        const gavel__known *row = &gavel__known_rows[i];
        char name[sizeof(row->name)];
        strcpy(name, row->name);
        char *sub = strchr(name, '|');
        if (sub != NULL)
            *sub++ = '\0';
        if ((row->does & GAVEL__KNOWN_HAS_SUBCOMMANDS) == 0)
            cr_assert_eq(find(name, sub), row, "%s", row->name);
        else
            cr_assert_null(find(name, NULL), "%s", row->name);
    }
}

Test(core_commands, names_are_found_in_any_case_and_nothing_else_is)
{
    cr_assert_str_eq(find("get", "k")->name, "GET");
    cr_assert_str_eq(find("Object", "Encoding")->name, "OBJECT|ENCODING");
    static const char *const names[] = {"", "GE", "GETT", "JSON.GET", "OBJECT|ENCODING", "A", "ZZ",
        "CLUSTER|COUNT-FAILURE-REPORTS", "A-NAME-LONGER-THAN-ANY-OF-THE-SERVERS-COMMANDS"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        cr_assert_null(find(names[i], "k"), "%s", names[i]);
    cr_assert_null(find("OBJECT", "NONSUCH"));
    cr_assert_null(find("OBJECT", "A-NAME-LONGER-THAN-ANY-OF-THE-SERVERS-COMMANDS"));
    cr_assert_null(gavel__known_find(&(gavel_bytes){"WATCH\0", 6}, 1));
}

/* ---- Keys ---------------------------------------------------------------------------------- */

#define MAX_WORDS 16

/* A command as one line of words. */
typedef struct line {
    char text[160];
    gavel_bytes args[MAX_WORDS];
    gavel_command command;
    const gavel__lore *lore; /* NULL: none */
    gavel__command resolved;
    char message[GAVEL_MESSAGE_SIZE];
} line;

static bool resolve(line *self, const char *words, gavel__command_use use)
{
    snprintf(self->text, sizeof(self->text), "%s", words);
    size_t n = 0;
    for (char *word = strtok(self->text, " "); word != NULL; word = strtok(NULL, " "))
        self->args[n++] = gavel_str(word);
    self->command.args = self->args;
    self->command.n_args = n;
    gavel__purpose purpose = {.use = use, .lore = self->lore};
    return gavel__command_resolve(&self->command, &purpose, &self->resolved, self->message) ==
           GAVEL__RESOLVED;
}

/* The keys of a line are those of its words that begin with k. */
static void expect_keys(const char *words)
{
    line self = {.message = ""};
    cr_assert(resolve(&self, words, GAVEL__USE_WRITE), "%s: %s", words, self.message);
    size_t n_keys = 0;
    for (size_t i = 0; i < self.command.n_args; i++)
        n_keys += self.args[i].data[0] == 'k';
    cr_assert_eq(self.resolved.n_keys, n_keys, "%s: %u", words, self.resolved.n_keys);
    for (size_t i = 0; i < n_keys; i++) {
        gavel_bytes key = gavel__command_key(&self.resolved, i);
        cr_assert_eq(key.data[0], 'k', "%s: %s", words, key.data);
        for (size_t j = 0; j < i; j++)
            cr_assert_neq(key.data, gavel__command_key(&self.resolved, j).data, "%s", words);
    }
}

Test(core_commands, the_keys_of_commands_are_known)
{
    static const char *const lines[] = {
        "SET k v",
        "mset k1 v k2 v k3 v",
        "DEL k1 k2 k3",
        "RENAME k1 k2",
        "LMOVE k1 k2 LEFT RIGHT",
        "SMOVE k1 k2 member",
        "BLPOP k1 k2 0",
        "BITOP AND k1 k2 k3",
        "ZUNIONSTORE k1 2 k2 k3 WEIGHTS 1 2",
        "ZDIFFSTORE k1 1 k2",
        "LMPOP 2 k1 k2 LEFT",
        "BZMPOP 0 1 k1 MIN",
        "EVAL script 2 k1 k2 argument",
        "EVALSHA sha 0",
        "FCALL function 1 k1 argument",
        "SORT k1 LIMIT 0 1 DESC",
        "SORT k1 STORE k2",
        "SORT k1 BY STORE GET # STORE other STORE k2",
        "sort k1 limit 0 store get w_* store k2",
        "GEORADIUS k1 0 0 9 m COUNT 1 STORE other STOREDIST k2",
        "GEORADIUSBYMEMBER k1 member 9 m",
        "GEOSEARCHSTORE k1 k2 FROMMEMBER x BYRADIUS 1 m",
        "XREAD COUNT 1 STREAMS k1 k2 0 0",
        "XREADGROUP GROUP STREAMS consumer NOACK STREAMS k1 >",
        "XGROUP CREATE k1 group $",
        "OBJECT ENCODING k1",
        "PUBLISH channel message",
        "SPUBLISH k1 message",
        "ACL SETUSER user",
        "TIME",
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        expect_keys(lines[i]);
}

Test(core_commands, arguments_that_do_not_fit_are_told)
{
    static const struct {
        const char *words, *message;
    } cases[] = {
        {"GET", "too few arguments for the command's keys: \"GET\""},
        {"RENAME k", "too few"},
        {"BLPOP 0", "too few"},
        {"ZUNIONSTORE k 2 k", "too few"},
        {"ZUNIONSTORE k", "too few"},
        {"ZUNIONSTORE k 99999999999999999999 k", "number of keys"},
        {"EVAL script -1 k", "number of keys"},
        {"LMPOP two k1 k2", "number of keys"},
        {"XREAD STREAMS", "too few"},
        {"XREAD STREAMS k", "too few"},
        {"XREAD COUNT", "too few"},
        {"XREAD GROUP", "too few"},
        {"SORT", "too few"},
        {"GEORADIUS", "too few"},
        {"OBJECT ENCODING", "too few"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        line self = {.message = ""};
        cr_assert_not(resolve(&self, cases[i].words, GAVEL__USE_WRITE), "%s", cases[i].words);
        cr_assert_not_null(
            strstr(self.message, cases[i].message), "%s: %s", cases[i].words, self.message);
    }
}

/* ---- What the caller says ------------------------------------------------------------------ */

static void expect_description(
    const char *words, size_t first_key, size_t n_keys, const char *message)
{
    line self = {.command = {.first_key = first_key, .n_keys = n_keys}};
    bool is_good = resolve(&self, words, GAVEL__USE_WRITE);
    cr_assert_eq(is_good, message == NULL, "%s: %s", words, self.message);
    if (message != NULL)
        cr_assert_not_null(strstr(self.message, message), "%s: %s", words, self.message);
}

Test(core_commands, what_the_caller_says_must_be_right)
{
    expect_description("SET k v", 1, 1, NULL);
    expect_description("SET k v", 0, 1, NULL);
    expect_description("SET k v", 1, 0, NULL);
    expect_description("EVAL script 2 k1 k2 a", 3, 2, NULL);
    expect_description("EVAL script 2 k1 k2 a", 3, 0, NULL);
    expect_description("EVAL script 0 a", 0, GAVEL_NO_KEYS, NULL);
    expect_description("SORT k1 STORE k2", 1, 0, NULL);
    expect_description("TIME", 0, GAVEL_NO_KEYS, NULL);

    expect_description("DEL k1 k2", 0, 1,
        "the keys of \"DEL\" are arguments 1, 2, and first_key and n_keys say: 1 from 1 on");
    expect_description("MSET k1 v k2 v", 0, 2, "arguments 1, 3, and first_key and n_keys say: 2");
    expect_description("MSET k v k v k v k v", 0, 4, "arguments 1, 3, 5 to 7, and");
    expect_description("EVAL script 2 k1 k2 a", 4, 0,
        "arguments 3, 4, and first_key and n_keys "
        "say: from 4 on");
    expect_description("ZUNIONSTORE k1 1 k2", 1, 2, "arguments 3 and 1, and");
    expect_description("PUBLISH channel m", 0, 1, "arguments none, and");
    expect_description("SET k v", 0, GAVEL_NO_KEYS,
        "arguments 1, and first_key and n_keys say: "
        "none");
    expect_description("SET k v", SIZE_MAX, SIZE_MAX - 1, "say: 18446744073709551614 from");
}

Test(core_commands, of_unknown_ones_the_caller_says_all)
{
    expect_description("JSON.SET k . 1", 0, 0,
        "gavel does not know this command, so n_keys must say how many keys it has, GAVEL_NO_KEYS "
        "if none: \"JSON.SET\"");
    expect_description("JSON.SET k . 1", 2, 0, "n_keys");
    expect_description("JSON.SET k . 1", 0, 1, NULL);
    expect_description("JSON.SET k . 1", 1, 3, NULL);
    expect_description("JSON.SET k . 1", 0, GAVEL_NO_KEYS, NULL);
    expect_description("JSON.SET k . 1", 1, 4, "too few");
    expect_description("JSON.SET k . 1", 4, 1, "too few");
    expect_description("JSON.SET k . 1", SIZE_MAX, SIZE_MAX - 1, "too few");
    expect_description("OBJECT NONSUCH k", 2, 1, NULL);
}

/* ---- Uses ---------------------------------------------------------------------------------- */

static void expect_use(const char *words, gavel__command_use use, const char *message)
{
    line self = {.message = ""};
    bool is_good = resolve(&self, words, use);
    cr_assert_eq(is_good, message == NULL, "%s: %s", words, self.message);
    if (message != NULL)
        cr_assert_not_null(strstr(self.message, message), "%s: %s", words, self.message);
}

Test(core_commands, what_writes_blocks_or_acts_is_no_query)
{
    static const struct {
        const char *words, *message;
    } cases[] = {
        {"LPOP k", "\"LPOP\" writes"},
        {"incr k", "\"incr\" writes"},
        {"GETDEL k", "writes"},
        {"BLPOP k 0", "writes"},
        {"XREADGROUP GROUP g c STREAMS k >", "writes"},
        {"SORT k STORE k2", "writes"},
        {"GEORADIUS k 0 0 9 m STOREDIST k2", "writes"},
        {"FLUSHALL", "writes"},
        {"XREAD COUNT 1 BLOCK 0 STREAMS k $", "\"XREAD\" blocks"},
        {"EVAL script 0", "\"EVAL\" takes effect"},
        {"FCALL f 0", "takes effect"},
        {"PUBLISH c m", "takes effect"},
        {"ACL SETUSER u", "takes effect"},
        {"CONFIG SET save x", "takes effect"},
        {"SCAN 0", "\"SCAN\" reads keys that it does not name"},
        {"KEYS *", "is_read_only"},
        {"INFO keyspace", "is_read_only"},
        {"MEMORY STATS", "is_read_only"},
        {"SORT k BY w_*", "is_read_only"},
        {"SORT_RO k GET d_*->f", "is_read_only"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        expect_use(cases[i].words, GAVEL__USE_READ, cases[i].message);
    static const char *const reads[] = {"GET k", "SORT k", "SORT k BY nosort GET #", "TIME",
        "GEORADIUS k 0 0 9 m", "XREAD STREAMS k 0", "EVAL_RO script 0", "OBJECT FREQ k",
        "CONFIG GET save", "MEMORY USAGE k", "PFCOUNT k k"};
    for (size_t i = 0; i < sizeof(reads) / sizeof(reads[0]); i++)
        expect_use(reads[i], GAVEL__USE_READ, NULL);
}

/* The server compares its words as C strings, so these are STORE, BLOCK and STREAMS to it. */
Test(core_commands, a_word_ends_at_a_nul_as_it_does_for_the_server)
{
    static const gavel_bytes store = {"STORE\0x", 7};
    static const gavel_bytes block = {"block\0", 6};
    static const gavel_bytes streams = {"STREAMS\0", 8};
    const gavel_command writes[] = {
        GAVEL_COMMAND(GAVEL_STR("SORT"), GAVEL_STR("k"), store, GAVEL_STR("k2")),
        GAVEL_COMMAND(GAVEL_STR("GEORADIUSBYMEMBER"), GAVEL_STR("k"), GAVEL_STR("member"),
            GAVEL_STR("9"), GAVEL_STR("m"), store, GAVEL_STR("k2")),
        GAVEL_COMMAND(GAVEL_STR("XREAD"), block, GAVEL_STR("0"), GAVEL_STR("STREAMS"),
            GAVEL_STR("k"), GAVEL_STR("$")),
    };
    const gavel__purpose query = {.use = GAVEL__USE_READ};
    gavel__command resolved;
    char message[GAVEL_MESSAGE_SIZE];
    for (size_t i = 0; i < sizeof(writes) / sizeof(writes[0]); i++)
        cr_assert_eq(gavel__command_resolve(&writes[i], &query, &resolved, message), GAVEL__REFUSED,
            "%zu", i);
    const gavel_command read = GAVEL_COMMAND(GAVEL_STR("XREAD"), streams, GAVEL_STR("k"),
        GAVEL_STR("STREAMS"), GAVEL_STR("0"), GAVEL_STR("0"));
    cr_assert_eq(
        gavel__command_resolve(&read, &query, &resolved, message), GAVEL__RESOLVED, "%s", message);
    cr_assert_eq(resolved.n_keys, 2);
    cr_assert_str_eq(gavel__command_key(&resolved, 0).data, "k");
}

Test(core_commands, a_snapshot_may_read_what_cannot_be_watched)
{
    static const char *const reads[] = {
        "SCAN 0", "KEYS *", "DBSIZE", "RANDOMKEY", "INFO", "MEMORY STATS", "SORT k BY w_* GET d_*"};
    for (size_t i = 0; i < sizeof(reads) / sizeof(reads[0]); i++)
        expect_use(reads[i], GAVEL__USE_SNAPSHOT, NULL);
    expect_use("LPOP k", GAVEL__USE_SNAPSHOT, "writes");
    expect_use("SORT k BY w_* STORE k2", GAVEL__USE_SNAPSHOT, "writes");
    expect_use("XREAD BLOCK 0 STREAMS k $", GAVEL__USE_SNAPSHOT, "blocks");
}

Test(core_commands, what_may_not_stand_in_multi_is_no_write)
{
    static const char *const steering[] = {"WATCH k", "unwatch", "Multi", "EXEC", "DISCARD",
        "SELECT 1", "AUTH x", "HELLO", "RESET", "QUIT", "CLIENT REPLY OFF", "CLIENT", "MONITOR",
        "SUBSCRIBE c", "SSUBSCRIBE c", "PSUBSCRIBE c", "ASKING", "READONLY", "WAIT 0 0", "SHUTDOWN",
        "SAVE", "DEBUG SLEEP 1", "MIGRATE h 1 k 0 1", "REPLICAOF NO ONE", "CLUSTER FAILOVER",
        "SCRIPT DEBUG YES"};
    for (size_t i = 0; i < sizeof(steering) / sizeof(steering[0]); i++) {
        expect_use(steering[i], GAVEL__USE_WRITE, "is no command for a body");
        expect_use(steering[i], GAVEL__USE_READ, "is no command for a body");
    }
    static const char *const sweeping[] = {"FLUSHALL", "FLUSHDB ASYNC", "SWAPDB 0 1", "MOVE k 1",
        "COPY k k2 DB 1", "COPY k k2 REPLACE db 1"};
    for (size_t i = 0; i < sizeof(sweeping) / sizeof(sweeping[0]); i++)
        expect_use(sweeping[i], GAVEL__USE_WRITE, "keys that it does not name");
    static const char *const good[] = {"EXECUTE.IT", "WATC"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        expect_use(good[i], GAVEL__USE_WRITE, "gavel does not know this command");
    expect_use("SORT k BY w_* STORE k2", GAVEL__USE_WRITE, NULL);
    expect_use("COPY DB DB REPLACE", GAVEL__USE_WRITE, NULL);
}
