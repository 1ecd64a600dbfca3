/*
 * Commands that gavel does not know: what the server is asked of them, and what its answers are
 * good for. Whether servers answer so, tests/live/test_lore.c finds out.
 */
#include "stage.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

static const stage_config plain = {.has_no_prefetch = true};

/* What COMMAND INFO says of a command that reads, or writes, the key that is its first argument. */
#define READS "[[\"mod.get\", :-2, [readonly, fast], :1, :1, :1, [@read]]]"
#define WRITES "[[\"mod.take\", :2, [write], :1, :1, :1, [@write]]]"

/* ---- Asking -------------------------------------------------------------------------------- */

Test(core_lore, a_command_is_asked_for_once_and_then_read)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.reads = "a", .plays = "GET a; LOOK 1 MOD.GET k; SET a 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, \"0\"");
    hears(&s, 0, "UNWATCH / WATCH a / GET a / COMMAND INFO MOD.GET");
    says(&s, 0, "OK, OK, \"0\", " READS);
    hears(&s, 0, "UNWATCH / WATCH a k / GET a / MOD.GET k");
    says(&s, 0, "OK, OK, \"0\", \"x\"");
    hears(&s, 0, "MULTI / SET a 1 / EXEC");
    cr_assert_str_eq(a.seen, "a=0 k=x ");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &a, GAVEL_COMMITTED);

    actor b = {.plays = "LOOK 1 mod.get k; SET a 2"};
    enter(&s, &b);
    hears(&s, 0, "WATCH k / mod.get k");
    says(&s, 0, "OK, nil");
    hears(&s, 0, "MULTI / SET a 2 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &b, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_lore, a_write_is_asked_for_too)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.plays = "CALL 1 MOD.TAKE k"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "COMMAND INFO MOD.TAKE");
    says(&s, 0, WRITES);
    hears(&s, 0, "MULTI / MOD.TAKE k / EXEC");
    says(&s, 0, "OK, QUEUED, [\"x\"]");
    ends(&s, &a, GAVEL_COMMITTED);
    actor b = {.plays = "CALL 1 MOD.TAKE k"};
    enter(&s, &b);
    hears(&s, 0, "MULTI / MOD.TAKE k / EXEC");
    says(&s, 0, "OK, QUEUED, [\"x\"]");
    ends(&s, &b, GAVEL_COMMITTED);
    stage_close(&s);
}

/* It would take the value away at once, whatever becomes of the transaction. */
Test(core_lore, a_query_that_writes_is_never_sent)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.plays = "LOOK 1 MOD.TAKE k; ABORT 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "COMMAND INFO MOD.TAKE");
    says(&s, 0, WRITES);
    ends_saying(&s, &a, GAVEL_INVALID, "\"MOD.TAKE\" writes, and a query would");
    hears_nothing(&s, 0);
    stage_close(&s);
}

static actor declarer(const gavel_read *read, const char *plays)
{
    return (actor){.plays = plays, .request = {.reads = read, .n_reads = 1}};
}

/* Its keys are watched from the beginning, as they are said to be. */
Test(core_lore, a_declared_read_is_asked_for_first)
{
    stage s;
    stage_open(&s, &plain);
    gavel_bytes args[] = {GAVEL_STR("MOD.GET"), GAVEL_STR("k"), GAVEL_STR("l")};
    gavel_command command = {.args = args, .n_args = 3, .n_keys = 2};
    gavel_read read = {.command = &command};
    actor a = declarer(&read, "LOOK 2 MOD.GET k l; SET a 1");
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH k l / COMMAND INFO MOD.GET");
    says(&s, 0, "OK, " READS);
    hears(&s, 0, "UNWATCH / WATCH k l / MOD.GET k l");
    says(&s, 0, "OK, OK, \"x\"");
    hears(&s, 0, "MULTI / SET a 1 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &a, GAVEL_COMMITTED);
    actor b = declarer(&read, "LOOK 2 MOD.GET k l; SET a 1");
    enter(&s, &b);
    hears(&s, 0, "WATCH k l / MOD.GET k l");
    says(&s, 0, "OK, \"x\"");
    hears(&s, 0, "MULTI / SET a 1 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &b, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_lore, a_declared_read_that_writes_is_never_sent)
{
    stage s;
    stage_open(&s, &plain);
    gavel_bytes args[] = {GAVEL_STR("MOD.TAKE"), GAVEL_STR("k")};
    gavel_command command = {.args = args, .n_args = 2, .n_keys = 1};
    gavel_read read = {.command = &command};
    actor a = declarer(&read, "LOOK 1 MOD.TAKE k");
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH k / COMMAND INFO MOD.TAKE");
    says(&s, 0, "OK, " WRITES);
    ends_saying(&s, &a, GAVEL_INVALID, "\"MOD.TAKE\" writes");
    actor b = declarer(&read, "COMMIT");
    enter(&s, &b);
    ends_saying(&s, &b, GAVEL_INVALID, "\"MOD.TAKE\" writes");
    hears_nothing(&s, 0);
    stage_close(&s);
}

/* ---- Not being told ------------------------------------------------------------------------ */

Test(core_lore, who_may_not_ask_is_taken_at_his_word)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.plays = "LOOK 1 MOD.GET k; CALL 1 MOD.TAKE k"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "COMMAND INFO MOD.GET / COMMAND INFO MOD.TAKE");
    says(&s, 0, "-NOPERM no, -NOPERM no");
    hears(&s, 0, "WATCH k / MOD.GET k");
    says(&s, 0, "OK, nil");
    hears(&s, 0, "MULTI / MOD.TAKE k / EXEC");
    says(&s, 0, "OK, QUEUED, [nil]");
    ends(&s, &a, GAVEL_COMMITTED);
    actor b = {.plays = "CALL 1 MOD.OTHER k"};
    enter(&s, &b);
    hears(&s, 0, "MULTI / MOD.OTHER k / EXEC");
    says(&s, 0, "OK, QUEUED, [nil]");
    ends(&s, &b, GAVEL_COMMITTED);
    stage_close(&s);
}

/* The question spoils the snapshot that it stands in; then all read again, without it. */
Test(core_lore, a_snapshot_goes_on_unasked)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.reads = "a",
        .plays = "GET a; LOOK 1 MOD.GET k",
        .request = {.is_read_only = true, .max_attempts = 1}};
    actor b = {.reads = "a b", .plays = "GET a", .request = {.is_read_only = true}};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "GET a");
    says(&s, 0, "\"1\"");
    hears(&s, 0, "MULTI / GET a / COMMAND INFO MOD.GET / EXEC");
    enter(&s, &b);
    says(&s, 0, "OK, QUEUED, -NOPERM no, -EXECABORT because of: NOPERM no");
    hears(&s, 0, "MULTI / GET a / GET b / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [\"1\", nil]");
    ends(&s, &b, GAVEL_COMMITTED);
    hears(&s, 0, "MULTI / GET a / MOD.GET k / EXEC");
    says(&s, 0, "OK, QUEUED, QUEUED, [\"1\", \"x\"]");
    ends(&s, &a, GAVEL_COMMITTED);
    cr_assert_str_eq(a.seen, "a=1 k=x ");
    stage_close(&s);
}

/* It was asked on two links before either had an answer: that is nobody's mistake. */
Test(core_lore, each_snapshot_goes_on_unasked)
{
    stage s;
    stage_open(&s, &(stage_config){.n_lanes = 2, .has_no_prefetch = true});
    actor readers[2];
    for (uint32_t i = 0; i < 2; i++) {
        readers[i] = (actor){.reads = "a",
            .plays = "GET a; LOOK 1 MOD.GET k",
            .request = {.is_read_only = true, .is_solo = true}};
        enter(&s, &readers[i]);
        link_up(&s, i);
        hears(&s, i, "GET a");
    }
    for (uint32_t i = 0; i < 2; i++) {
        says(&s, i, "\"1\"");
        hears(&s, i, "MULTI / GET a / COMMAND INFO MOD.GET / EXEC");
    }
    for (uint32_t i = 0; i < 2; i++) {
        says(&s, i, "OK, QUEUED, -NOPERM no, -EXECABORT because of: NOPERM no");
        hears(&s, 0, "GET a");
        says(&s, 0, "\"1\"");
        hears(&s, 0, "MULTI / GET a / MOD.GET k / EXEC");
        says(&s, 0, "OK, QUEUED, QUEUED, [\"1\", \"x\"]");
        ends(&s, &readers[i], GAVEL_COMMITTED);
    }
    stage_close(&s);
}

/* What a program asks for itself is its own affair. */
Test(core_lore, a_refused_query_of_the_same_words_is_told)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.reads = "a",
        .plays = "GET a; ASK COMMAND INFO MOD.GET; LOOK 1 MOD.GET k",
        .request = {.is_read_only = true}};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "GET a");
    says(&s, 0, "\"1\"");
    hears(&s, 0, "MULTI / GET a / COMMAND INFO MOD.GET / EXEC");
    says(&s, 0, "OK, QUEUED, -NOPERM no, -EXECABORT because of: NOPERM no");
    hears(&s, 0, "GET a");
    says(&s, 0, "\"1\"");
    hears(&s, 0, "MULTI / GET a / COMMAND INFO MOD.GET / MOD.GET k / EXEC");
    says(&s, 0, "OK, QUEUED, -NOPERM no, QUEUED, -EXECABORT because of: NOPERM no");
    ends_saying(&s, &a, GAVEL_REJECTED, "COMMAND was refused: NOPERM no");
    stage_close(&s);
}

/* A server that loads its data answers later. */
Test(core_lore, a_server_that_cannot_serve_is_asked_again)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.plays = "CALL 1 MOD.TAKE k"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "COMMAND INFO MOD.TAKE");
    says(&s, 0, "-LOADING wait");
    sleeps(&s);
    hears(&s, 0, "COMMAND INFO MOD.TAKE");
    says(&s, 0, WRITES);
    hears(&s, 0, "MULTI / MOD.TAKE k / EXEC");
    says(&s, 0, "OK, QUEUED, [nil]");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

/* One that was restarted may have the module that it had not. */
Test(core_lore, who_comes_back_is_asked_again)
{
    stage s;
    stage_open(&s, &plain);
    actor before = {.plays = "LOOK 1 MOD.TAKE k"};
    enter(&s, &before);
    link_up(&s, 0);
    hears(&s, 0, "COMMAND INFO MOD.TAKE");
    says(&s, 0, "[nil]");
    hears(&s, 0, "WATCH k / MOD.TAKE k");
    says(&s, 0, "OK, -ERR unknown command");
    ends_saying(&s, &before, GAVEL_REJECTED, "unknown command");
    link_down(&s, 0);
    actor behind = {.plays = "LOOK 1 MOD.TAKE k"};
    enter(&s, &behind);
    link_up(&s, 0);
    hears(&s, 0, "COMMAND INFO MOD.TAKE");
    says(&s, 0, WRITES);
    ends_saying(&s, &behind, GAVEL_INVALID, "\"MOD.TAKE\" writes");
    stage_close(&s);
}

/* Who has learnt of the loss by his query as well. */
Test(core_lore, who_was_not_answered_asks_again)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.plays = "LOOK 1 MOD.TAKE k"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "COMMAND INFO MOD.TAKE");
    says(&s, 0, "[nil]");
    hears(&s, 0, "WATCH k / MOD.TAKE k");
    link_down(&s, 0);
    sleeps(&s);
    link_up(&s, 0);
    hears(&s, 0, "WATCH k");
    says(&s, 0, "OK");
    hears(&s, 0, "UNWATCH / WATCH k / COMMAND INFO MOD.TAKE");
    says(&s, 0, "OK, OK, " WRITES);
    ends_saying(&s, &a, GAVEL_INVALID, "\"MOD.TAKE\" writes");
    stage_close(&s);
}

/* Answers what is heard, until nothing more is. Returns how often. */
static size_t answer_all(stage *s)
{
    size_t n = 0;
    for (; n < 10; n++) {
        advance(s, 0);
        const char *heard = stage_listen(s, 0);
        if (*heard == '\0')
            break;
        bool is_question = strncmp(heard, "COMMAND INFO", strlen("COMMAND INFO")) == 0;
        says(s, 0, is_question ? WRITES : "OK, QUEUED, QUEUED, [nil, nil]");
    }
    return n;
}

/* From the n-th allocation on there is no memory. What cannot be kept is not asked for in a circle:
 * then the caller's word stands. */
Test(core_lore, what_cannot_be_kept_is_not_asked_for_in_a_circle)
{
    bool is_committed = false;
    size_t n_kept = 1;
    for (size_t n = 0; !is_committed || n_kept == 0; n++) {
        cr_assert_lt(n, 100);
        stage s;
        stage_open(&s, &plain);
        actor first = {.plays = "PUBLISH c 1; PUBLISH c 2"};
        enter(&s, &first);
        link_up(&s, 0);
        cr_assert_eq(answer_all(&s), 1);
        actor a = {.plays = "CALL 1 MOD.TAKE k; CALL 1 MOD.TAKE l"};
        s.memory.n_left = n;
        if (enter(&s, &a))
            cr_assert_lt(answer_all(&s), 10);
        stage_collect(&s);
        n_kept = s.engine.lore.told.n_nodes;
        is_committed = a.is_told && a.outcome.status == GAVEL_COMMITTED;
        stage_close(&s);
    }
}

/* ---- What it is good for ------------------------------------------------------------------- */

typedef struct claim {
    const char *script;  /* one line of a body, */
    const char *asks;    /* what it makes gavel ask, */
    const char *info;    /* the answer, */
    const char *message; /* why it is INVALID then; NULL: it is not */
} claim;

static void expect(const claim *c)
{
    stage s;
    stage_open(&s, &plain);
    actor a = {.plays = c->script, .request = {.deadline_ms = 1000}};
    char asks[128];
    snprintf(asks, sizeof(asks), "COMMAND INFO %s", c->asks);
    enter(&s, &a);
    link_up(&s, 0);
    if (c->info != NULL) {
        advance(&s, 0);
        const char *heard = stage_listen(&s, 0);
        cr_expect_str_eq(heard, asks, "%s: %s", c->script, heard);
        says(&s, 0, c->info);
    }
    advance(&s, 0);
    stage_collect(&s);
    cr_expect_eq(a.is_told, c->message != NULL, "%s: %s", c->script, a.outcome.message);
    if (a.is_told) {
        cr_expect_eq(a.outcome.status, GAVEL_INVALID);
        cr_expect(strstr(a.outcome.message, c->message), "%s: %s", c->script, a.outcome.message);
    } else {
        cancel(&s, &a);
    }
    stage_close(&s);
}

#define FLAGGED(flags) "[[\"m\", :-1, [" flags "], :1, :1, :1, []]]"
#define KEYED(keys) "[[\"m\", :-1, [readonly], " keys ", []]]"

Test(core_lore, its_flags_are_believed)
{
    static const claim claims[] = {
        {"LOOK 1 M k", "M", FLAGGED("readonly"), NULL},
        {"LOOK 1 M k", "M", FLAGGED("fast"), NULL},
        {"LOOK 1 M k", "M", FLAGGED("write"), "writes"},
        {"LOOK 1 M k", "M", FLAGGED("readonly, blocking"), "blocks"},
        {"LOOK 1 M k", "M", FLAGGED("may_replicate"), "takes effect"},
        {"LOOK 1 M k", "M", FLAGGED("readonly, may_replicate"), NULL},
        {"LOOK 1 M k", "M", FLAGGED("readonly, no_multi"), "steers"},
        {"LOOK 1 M k", "M", FLAGGED("pubsub, noscript"), "steers"},
        {"LOOK 1 M k", "M", "[[\"m\", :-1, [], :1, :1, :1, [@fast, @connection]]]", "steers"},
        {"CALL 1 M k", "M", "[[\"m\", :-1, [], :1, :1, :1, [@transaction]]]", "steers"},
        {"CALL 1 M k", "M", FLAGGED("no_multi"), "steers"},
        {"CALL 1 M k", "M", FLAGGED("write, blocking"), NULL},
        {"CALL 1 M k", "M", FLAGGED("readonly"), NULL},
        {"CALL 1 M k", "M", FLAGGED("pubsub"), NULL},
    };
    for (size_t i = 0; i < sizeof(claims) / sizeof(claims[0]); i++)
        expect(&claims[i]);
}

/* More keys may be described than the server names, but not fewer. */
Test(core_lore, keys_that_it_names_must_be_described)
{
    static const claim claims[] = {
        {"LOOK 2 M k k", "M", KEYED(":1, :1, :1"), NULL},
        {"LOOK 1 M k", "M", KEYED(":1, :-1, :1"), NULL},
        {"ASK M k", "M", KEYED(":1, :1, :1"),
            "the keys of \"M\" are arguments 1 (so the server says), and first_key and n_keys say: "
            "none"},
        {"LOOK 1 M k k", "M", KEYED(":1, :-1, :1"),
            "arguments 1, 2 (so the server says), and first_key and n_keys say: 1 from 1 on"},
        {"LOOK 1 M x k", "M", KEYED(":2, :2, :1"), "arguments 2 (so the server says)"},
        {"CALL 2 M k v k v", "M", KEYED(":1, :-1, :2"), "arguments 1, 3 (so"},
        {"CALL 3 M k v k v", "M", KEYED(":1, :-1, :2"), NULL},
        /* It cannot be so; or it need not be. */
        {"LOOK 1 M k", "M", KEYED(":2, :2, :1"), NULL},
        {"LOOK 1 M k", "M", KEYED(":1, :1, :0"), NULL},
        {"LOOK 1 M k", "M", KEYED(":1, :1000, :1"), NULL},
        {"LOOK 1 M k", "M", KEYED(":-1, :1, :1"), NULL},
        {"ASK M k", "M", FLAGGED("readonly, movablekeys"), NULL},
        {"CALL 1 M k", "M",
            "[[\"m\", :2, [pubsub], :2, :2, :1, [], [], [[flags, [RW, not_key]]], []]]", NULL},
        {"CALL 1 M x k", "M", "[[\"m\", :2, [write], :2, :2, :1, [], [], [[flags, [RW]]], []]]",
            "arguments 2"},
        /* What has no keys and reads some is a sweep, unless they are described. */
        {"ASK M q", "M", KEYED(":0, :0, :0"), "reads keys that it does not name"},
        {"LOOK 1 M q", "M", KEYED(":0, :0, :0"), NULL},
        {"ASK M q", "M", "[[\"m\", :1, [fast], :0, :0, :0, []]]", NULL},
    };
    for (size_t i = 0; i < sizeof(claims) / sizeof(claims[0]); i++)
        expect(&claims[i]);
}

#define FAMILY                                                                                     \
    "[[\"m\", :-2, [], :0, :0, :0, [], [], [], [[\"m|see\", :3, [readonly], :2, :2, :1, [], [], "  \
    "[], []], [\"m|eat\", :3, [write], :2, :2, :1, [], [], [], []]]]]"

Test(core_lore, subcommands_are_told_apart)
{
    static const claim claims[] = {
        {"LOOK 2 M SEE k", "M", FAMILY, NULL}, {"LOOK 2 m eat k", "m", FAMILY, "\"m\" writes"},
        {"ASK M see k", "M", FAMILY, "arguments 2 (so the server says)"},
        {"ASK M NONE", "M", FAMILY, NULL},
        {"QUERY M NONE", "M", FAMILY, "neither gavel nor the server knows this command"},
        {"ASK M", "M", FAMILY, NULL}, {"QUERY M", "M", FAMILY, "a family of commands"},
        {"QUERY MEMORY", NULL, NULL,
            "this is a family of commands, and the second argument says which one: \"MEMORY\""},
        {"LOOK 1 OBJECT NONE k", "OBJECT", FAMILY, NULL},
        {"QUERY OBJECT NONE k", "OBJECT", FAMILY, "neither gavel nor"},
        {"LOOK 1 OBJECT NONE k", "OBJECT", FLAGGED("write"), "writes"}, /* 6.2 */
    };
    for (size_t i = 0; i < sizeof(claims) / sizeof(claims[0]); i++)
        expect(&claims[i]);
}

Test(core_lore, who_says_nothing_is_told_what_may_help)
{
    static const claim claims[] = {
        {"QUERY ZAD k", "ZAD", "[nil]", "neither gavel nor the server knows this command: \"ZAD\""},
        {"WRITE ZAD k", "ZAD", "[nil]", "neither gavel nor the server"},
        {"CALL 1 ZAD k", "ZAD", "[nil]", NULL}, /* the server has words for it */
        {"QUERY M k k", "M", KEYED(":1, :-1, :1"),
            "n_keys must say how many keys it has, GAVEL_NO_KEYS if none (the server names "
            "arguments 1, 2): \"M\""},
        {"QUERY M k", "M", FLAGGED("movablekeys"), "GAVEL_NO_KEYS if none: \"M\""},
        {"QUERY M k", "M", "-NOPERM no", "GAVEL_NO_KEYS if none: \"M\""},
        {"QUERY A-NAME-LONGER-THAN-ANY-THAT-IS-ASKED-FOR k", NULL, NULL, "n_keys must say"},
    };
    for (size_t i = 0; i < sizeof(claims) / sizeof(claims[0]); i++)
        expect(&claims[i]);
}

/* ---- Bounds -------------------------------------------------------------------------------- */

Test(core_lore, so_many_names_are_asked_for_and_no_more)
{
    stage s;
    stage_open(&s, &plain);
    for (size_t i = 0; i <= GAVEL__LORE_NAMES; i++) {
        char plays[64];
        char asks[64];
        snprintf(plays, sizeof(plays), "CALL 1 MOD.%zu k", i);
        snprintf(asks, sizeof(asks), "COMMAND INFO MOD.%zu", i);
        actor a = {.plays = plays};
        enter(&s, &a);
        if (i == 0)
            link_up(&s, 0);
        if (i < GAVEL__LORE_NAMES) {
            hears(&s, 0, asks);
            says(&s, 0, "[nil]");
        }
        advance(&s, 0);
        stage_listen(&s, 0);
        says(&s, 0, "OK, QUEUED, [nil]");
        ends(&s, &a, GAVEL_COMMITTED);
        s.n_actors = 0;
    }
    stage_close(&s);
}
