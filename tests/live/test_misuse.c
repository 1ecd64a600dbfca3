/*
 * Misuse: bad URLs, bad requests and bad bodies. Each is told in words that name the thing, writes
 * nothing, and leaves the client fit for a good transaction.
 */
#include "tools.h"

#include <criterion/criterion.h>
#include <ev.h>

#include <stdio.h>
#include <stdlib.h>

#define KEY GAVEL_STR("key")

/* ---- URLs and configs ----------------------------------------------------------------------- */

static void expect_not_opened(const char *url, const gavel_config *config, const char *words)
{
    gavel_error error = {{0}};
    gavel_client *client = gavel_open(url, config, &error);
    cr_expect_null(client, "\"%s\" was opened", url != NULL ? url : "NULL");
    cr_expect(live_contains(error.message, words), "\"%s\": %s", url, error.message);
    cr_expect_not(live_contains(error.message, "hunter"), "%s", error.message);
    gavel_close(client);
}

Test(misuse, a_bad_url_is_told)
{
    setenv("GAVEL_URL", "elsewhere", 1);
    expect_not_opened(NULL, NULL, "redis://");
    expect_not_opened(NULL, NULL, "GAVEL_URL");
    setenv("GAVEL_URL", "redis://u:hunter2@host?bd=1", 1);
    expect_not_opened(
        NULL, NULL, "bad URL in GAVEL_URL, in the environment: there is no option bd");
    expect_not_opened("", NULL, "redis://");
    expect_not_opened("127.0.0.1:6379", NULL, "redis://");
    expect_not_opened("http://127.0.0.1", NULL, "redis://");
    expect_not_opened("redis-raft://127.0.0.1", NULL, "redis://");
    expect_not_opened("redis://", NULL, "host");
    expect_not_opened("redis://:hunter2@", NULL, "host");
    expect_not_opened("redis://u:hunter2@host:port", NULL, "port");
    expect_not_opened("redis://u:hunter2@host:65536", NULL, "port");
    expect_not_opened("redis://u:hunter2@host:0", NULL, "port");
    expect_not_opened("redis://u:hunter2@host/one", NULL, "database");
    expect_not_opened("redis://u:hunter2@host/-1", NULL, "database");
    expect_not_opened("redis://u:hunter2%4@host", NULL, "percent");
    expect_not_opened("redis://u:hunter2%00@host", NULL, "percent");
    expect_not_opened("redis://u:hunter 2@host", NULL, "blank");
    expect_not_opened("redis://@host", NULL, "@");
    expect_not_opened("redis://[::1", NULL, "bracket");
    expect_not_opened("redis://[fe80::x]", NULL, "IPv6");
    expect_not_opened("unix://relative/path", NULL, "absolute");
    expect_not_opened("unix:///tmp/socket?base=1", NULL, "base; there are db, ");
    expect_not_opened("unix:///tmp/socket#1", NULL, "#");
}

Test(misuse, a_path_too_long_for_a_socket_is_told)
{
    char url[256] = "unix:///";
    memset(url + strlen(url), 'x', 200);
    expect_not_opened(url, NULL, "too long");
}

Test(misuse, a_bad_config_is_told)
{
    const char *url = "redis://127.0.0.1";
    expect_not_opened(url, &(gavel_config){.max_links = 65}, "max_links");
    expect_not_opened(url, &(gavel_config){.max_gate_links = UINT32_MAX}, "max_gate_links");
    expect_not_opened(url, &(gavel_config){.id_ttl_ms = UINT64_MAX}, "id_ttl_ms");
    expect_not_opened(url, &(gavel_config){.marker_ttl_ms = 1000}, "marker_ttl_ms");
    expect_not_opened(url, &(gavel_config){.name = "two words"}, "name");
    expect_not_opened(url, &(gavel_config){.name = "line\n"}, "name");
    char prefix[66];
    memset(prefix, 'x', 65);
    prefix[65] = '\0';
    expect_not_opened(url, &(gavel_config){.key_prefix = prefix}, "key_prefix");
    expect_not_opened(url, &(gavel_config){.key_prefix = "{app}:"}, "brace");
    expect_not_opened(url, &(gavel_config){.key_prefix = "app}"}, "brace");
    gavel_config garbage; /* on the stack, say */
    memset(&garbage, 1, sizeof(garbage));
    expect_not_opened(url, &garbage, "was not zeroed");
    cr_expect_null(gavel_open("nonsense", NULL, NULL), "and without an error to fill");
}

/* ---- Requests ------------------------------------------------------------------------------- */

static gavel_verdict never(gavel_tx *tx, void *user)
{
    (void)tx;
    bool *has_run = user;
    *has_run = true;
    return GAVEL_COMMIT;
}

static void expect_refused(live_rig *rig, gavel_transaction request, const char *words)
{
    bool has_run = false;
    request.user = &has_run;
    gavel_outcome outcome = gavel_run(rig->client, &request);
    cr_expect_eq(outcome.status, GAVEL_INVALID, "%s", gavel_status_name(outcome.status));
    cr_expect(live_contains(outcome.message, words), "%s", outcome.message);
    cr_expect_not(has_run);
    cr_expect_eq(outcome.n_round_trips, 0);
    cr_expect(live_is_usable(rig));
}

Test(misuse, a_bad_request_is_refused_by_name)
{
    live_rig rig = live_begin(NULL, NULL);
    gavel_bytes keys[] = {KEY, GAVEL_STR("twice\r\n"), GAVEL_STR("twice\r\n")};
    gavel_read reads[] = {{.key = KEY}, {.key = GAVEL_STR("twice")}, {.key = GAVEL_STR("twice")}};
    gavel_command select = GAVEL_COMMAND(GAVEL_STR("select"), GAVEL_STR("1"));
    gavel_command alone = GAVEL_COMMAND(GAVEL_STR("LLEN"));

    expect_refused(&rig, (gavel_transaction){.keys = keys, .n_keys = 1}, "no body");
    expect_refused(
        &rig, (gavel_transaction){.body = never, .n_keys = 1}, "n_keys is 1, but keys is NULL");
    expect_refused(
        &rig, (gavel_transaction){.body = never, .n_reads = 1}, "n_reads is 1, but reads is NULL");
    expect_refused(
        &rig, (gavel_transaction){.body = never, .reads = reads}, "reads is set, but n_reads is 0");
    expect_refused(
        &rig, (gavel_transaction){.body = never, .keys = keys, .n_keys = 3}, "\"twice\\x0d\\x0a\"");
    expect_refused(
        &rig, (gavel_transaction){.body = never, .reads = reads, .n_reads = 3}, "\"twice\"");
    reads[0].command = &select;
    expect_refused(
        &rig, (gavel_transaction){.body = never, .reads = reads, .n_reads = 1}, "\"select\"");
    reads[0].command = &alone;
    expect_refused(
        &rig, (gavel_transaction){.body = never, .reads = reads, .n_reads = 1}, "too few");
    expect_refused(&rig,
        (gavel_transaction){.body = never, .keys = keys, .n_keys = 1, .deadline_ms = 4000000000u},
        "deadline_ms");
    live_end(&rig);
}

/* ---- Bodies --------------------------------------------------------------------------------- */

static void expect_poisoned(live_rig *rig, gavel_body *body, void *user, const char *words)
{
    gavel_outcome outcome = live_run(rig->client, "key", body, user);
    cr_expect_eq(outcome.status, GAVEL_INVALID, "%s", gavel_status_name(outcome.status));
    cr_expect(live_contains(outcome.message, words), "%s", outcome.message);
    cr_expect_eq(server_int(rig->server, "EXISTS", "key", "stray", NULL), 0);
    cr_expect(live_is_usable(rig));
}

static gavel_verdict write_and_return(gavel_tx *tx, void *user)
{
    const int *verdict = user;
    gavel_set(tx, KEY, GAVEL_STR("1"));
    return (gavel_verdict)*verdict;
}

Test(misuse, a_body_that_returns_rubbish_is_told)
{
    live_rig rig = live_begin(NULL, NULL);
    expect_poisoned(&rig, write_and_return, &(int){99}, "99");
    expect_poisoned(&rig, write_and_return, &(int){-1}, "-1");
    expect_poisoned(&rig, write_and_return, &(int){GAVEL_AGAIN}, "GAVEL_AGAIN");
    live_end(&rig);
}

/* The write does not check; the calls after it do nothing. */
static gavel_verdict write_after_mistake(gavel_tx *tx, void *user)
{
    bool *is_refused = user;
    (void)gavel_write(tx, &GAVEL_COMMAND(GAVEL_STR("WATCH"), GAVEL_STR("stray")));
    *is_refused = !gavel_set(tx, KEY, GAVEL_STR("1"));
    *is_refused &= gavel_get(tx, KEY, &(gavel_bytes){NULL, 0}) == GAVEL_FAILED;
    return GAVEL_COMMIT;
}

Test(misuse, what_follows_a_mistake_does_nothing)
{
    live_rig rig = live_begin(NULL, NULL);
    bool is_refused = false;
    expect_poisoned(&rig, write_after_mistake, &is_refused, "\"WATCH\"");
    cr_expect(is_refused);
    live_end(&rig);
}

static gavel_verdict write_anything(gavel_tx *tx, void *user)
{
    gavel_write(tx, user);
    return GAVEL_COMMIT;
}

static gavel_verdict query_anything(gavel_tx *tx, void *user)
{
    const gavel_reply *reply = NULL;
    gavel_query(tx, user, &reply);
    return GAVEL_COMMIT;
}

Test(misuse, commands_that_steer_are_refused_by_name)
{
    static const char *const names[] = {"WATCH", "UNWATCH", "MULTI", "EXEC", "DISCARD", "SELECT",
        "AUTH", "HELLO", "RESET", "QUIT", "CLIENT", "MONITOR", "SUBSCRIBE", "PSUBSCRIBE",
        "SSUBSCRIBE", "SHUTDOWN", "MIGRATE", "SAVE", "wAtCh", "multi", "exec", "select"};
    live_rig rig = live_begin(NULL, NULL);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char quoted[32];
        snprintf(quoted, sizeof(quoted), "\"%s\"", names[i]);
        gavel_command command = GAVEL_COMMAND(gavel_str(names[i]), KEY);
        expect_poisoned(&rig, write_anything, &command, quoted);
        expect_poisoned(&rig, query_anything, &command, quoted);
    }
    live_end(&rig);
}

Test(misuse, a_command_without_its_keys_is_refused)
{
    live_rig rig = live_begin(NULL, NULL);
    gavel_command commands[] = {
        GAVEL_COMMAND(GAVEL_STR("SET")),
        GAVEL_COMMAND(GAVEL_STR("NONSUCH"), KEY, KEY),
        {.args = NULL, .n_args = 0},
        GAVEL_COMMAND(GAVEL_STR("NONSUCH"), KEY),
        GAVEL_COMMAND(GAVEL_STR("NONSUCH"), KEY),
        GAVEL_COMMAND(GAVEL_STR("ZUNION"), GAVEL_STR("2"), KEY),
    };
    commands[1].n_keys = 3;
    commands[3].first_key = SIZE_MAX;
    commands[3].n_keys = 1;
    commands[4].n_keys = SIZE_MAX - 1;
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        expect_poisoned(&rig, write_anything, &commands[i], "too few arguments");
        expect_poisoned(&rig, query_anything, &commands[i], "too few arguments");
    }
    live_end(&rig);
}

static gavel_verdict write_although_read_only(gavel_tx *tx, void *user)
{
    (void)user;
    gavel_set(tx, KEY, GAVEL_STR("1"));
    return GAVEL_COMMIT;
}

Test(misuse, a_write_in_a_read_only_transaction_names_the_key)
{
    live_rig rig = live_begin(NULL, NULL);
    gavel_outcome outcome =
        gavel_run(rig.client, &(gavel_transaction){.body = write_although_read_only,
                                  .reads = &(gavel_read){.key = KEY},
                                  .n_reads = 1,
                                  .is_read_only = true});
    cr_expect_eq(outcome.status, GAVEL_INVALID);
    cr_expect(live_contains(outcome.message, "\"key\""), "%s", outcome.message);
    cr_expect_eq(server_int(rig.server, "EXISTS", "key", NULL), 0);
    cr_expect(live_is_usable(&rig));
    live_end(&rig);
}

/* ---- Calls from inside ---------------------------------------------------------------------- */

typedef struct insider {
    gavel_client *client;
    gavel_outcome outcome;
    gavel_ticket ticket;
    bool is_cancelled;
    gavel_stats stats;
    int n_calls;
    char log[1024];
} insider;

static void note_done(const gavel_outcome *outcome, void *user)
{
    (void)outcome;
    (void)user;
    cr_assert_fail("told of a transaction that was never accepted");
}

/* Does with its own client all that must not be done. */
static void misuse_client(insider *self)
{
    static const gavel_bytes keys[] = {{"stray", 5}};
    gavel_transaction request = {.body = live_add_one, .keys = keys, .n_keys = 1};
    request.user = (void *)(uintptr_t)keys;
    self->n_calls++;
    self->outcome = gavel_run(self->client, &request);
    self->ticket = gavel_submit(self->client, &request, note_done);
    self->is_cancelled = gavel_cancel(self->client, 1);
    gavel_read_stats(self->client, &self->stats);
    gavel_close(self->client);
}

static void expect_all_refused(live_rig *rig, const insider *inside)
{
    cr_expect_gt(inside->n_calls, 0);
    cr_expect_eq(inside->outcome.status, GAVEL_INVALID);
    cr_expect(live_contains(inside->outcome.message, "inside a body or a hook"));
    cr_expect_eq(inside->ticket, 0);
    cr_expect_not(inside->is_cancelled);
    cr_expect_eq(inside->stats.n_attempts, 0);
    cr_expect_eq(inside->stats.n_links_up, 0);
    cr_expect_eq(server_int(rig->server, "EXISTS", "stray", NULL), 0);
    cr_expect(live_is_usable(rig));
}

static void append_to_log(gavel_log_level level, const char *line, void *user)
{
    (void)level;
    insider *self = user;
    size_t used = strlen(self->log);
    snprintf(self->log + used, sizeof(self->log) - used, "%s\n", line);
}

static gavel_verdict misuse_in_body(gavel_tx *tx, void *user)
{
    misuse_client(user);
    gavel_set(tx, KEY, GAVEL_STR("1"));
    return GAVEL_COMMIT;
}

Test(misuse, a_body_cannot_call_its_client)
{
    insider inside = {.client = NULL};
    gavel_config config = {.hooks = {.on_log = append_to_log, .user = &inside}};
    live_rig rig = live_begin(NULL, &config);
    inside.client = rig.client;
    gavel_outcome outcome = live_run(rig.client, "key", misuse_in_body, &inside);
    cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
    expect_all_refused(&rig, &inside);
    cr_expect(live_contains(inside.log, "gavel_submit: called from inside"), "%s", inside.log);
    cr_expect(live_contains(inside.log, "gavel_close: called from inside"), "%s", inside.log);
    live_end(&rig);
}

static void misuse_in_event(const gavel_event *event, void *user)
{
    (void)event;
    misuse_client(user);
}

static void misuse_in_log(gavel_log_level level, const char *line, void *user)
{
    (void)level;
    (void)line;
    insider *self = user;
    if (self->client != NULL && self->n_calls == 0) /* what is refused is logged as well */
        misuse_client(self);
}

Test(misuse, a_hook_cannot_call_its_client)
{
    for (int i = 0; i < 2; i++) {
        insider inside = {.client = NULL};
        gavel_config config = {.hooks.user = &inside};
        config.hooks.on_event = i == 0 ? misuse_in_event : NULL;
        config.hooks.on_log = i == 1 ? misuse_in_log : NULL;
        live_rig rig = live_begin(NULL, &config);
        inside.client = rig.client;
        gavel_outcome outcome = live_increment(rig.client, "key");
        cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
        expect_all_refused(&rig, &inside);
        live_end(&rig);
    }
}

Test(misuse, a_blocking_client_takes_no_submissions)
{
    live_rig rig = live_begin(NULL, NULL);
    gavel_bytes key = KEY;
    gavel_transaction request = {.body = live_add_one, .user = &key, .keys = &key, .n_keys = 1};
    cr_expect_eq(gavel_submit(rig.client, &request, note_done), 0);
    cr_expect_not(gavel_cancel(rig.client, 1));
    cr_expect(live_is_usable(&rig));
    live_end(&rig);
}

static void never_told(const gavel_lock_outcome *outcome, void *user)
{
    (void)user;
    cr_expect(false, "%s", outcome->message);
}

Test(misuse, no_client_and_no_callback)
{
    gavel_bytes key = KEY;
    gavel_transaction request = {.body = live_add_one, .user = &key, .keys = &key, .n_keys = 1};
    gavel_outcome outcome = gavel_run(NULL, &request);
    cr_expect_eq(outcome.status, GAVEL_INVALID);
    cr_expect(live_contains(outcome.message, "gavel_open"), "%s", outcome.message);
    cr_expect_eq(gavel_submit(NULL, &request, note_done), 0);
    cr_expect_not(gavel_cancel(NULL, 1));
    cr_expect_eq(gavel_fd(NULL), -1);
    cr_expect_not(gavel_turn(NULL));
    cr_expect_eq(gavel_due_us(NULL), INT64_MAX);
    gavel_stats stats;
    gavel_read_stats(NULL, &stats);
    gavel_lock_request lock = {.name = KEY};
    gavel_lock_outcome got = gavel_lock_acquire(NULL, &lock);
    cr_expect_eq(got.status, GAVEL_LOCK_INVALID);
    cr_expect(live_contains(got.message, "gavel_open"), "%s", got.message);
    cr_expect_eq(gavel_lock_begin_acquire(NULL, &lock, NULL), 0);

    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    live_rig rig = live_begin(NULL, &(gavel_config){.loop = loop});
    cr_expect_eq(gavel_submit(rig.client, &request, NULL), 0);
    cr_expect_eq(gavel_lock_begin_acquire(rig.client, NULL, never_told), 0);
    cr_expect_eq(gavel_lock_begin_acquire(rig.client, &lock, NULL), 0);
    live_end(&rig);
    ev_loop_destroy(loop);

    rig = live_begin(NULL, NULL);
    got = gavel_lock_acquire(rig.client, NULL);
    cr_expect(live_contains(got.message, "no request"), "%s", got.message);
    got = gavel_lock_acquire(rig.client, &lock);
    gavel_lock_outcome done = gavel_lock_do(got.lock, NULL);
    cr_expect_eq(done.status, GAVEL_LOCK_INVALID);
    cr_expect(live_contains(done.message, "no command"), "%s", done.message);
    cr_expect_eq(gavel_lock_release(got.lock).status, GAVEL_LOCK_RELEASED);
    cr_expect_eq(gavel_lock_remaining_ms(NULL), 0);
    cr_expect_eq(gavel_lock_fence(NULL), 0);
    live_end(&rig);
}

/* ---- Values that are none ------------------------------------------------------------------- */

/* What a program has when it ignores what reads and getenv return. */
static void do_call(gavel_tx *tx, int call, const char *absent)
{
    gavel_bytes value = {"left over", 9};
    int64_t number = 7;
    switch (call) {
    case 0:
        gavel_get(tx, GAVEL_STR("absent"), &value);
        gavel_set(tx, KEY, value);
        break;
    case 1:
        gavel_hset(tx, KEY, GAVEL_STR("field"), gavel_str(absent));
        break;
    case 2:
        gavel_hset(tx, KEY, gavel_str(absent), GAVEL_STR("value"));
        break;
    case 3:
        gavel_hdel(tx, KEY, gavel_str(absent));
        break;
    case 4:
        gavel_set(tx, gavel_str(absent), GAVEL_STR("value"));
        break;
    case 5:
        gavel_append(tx, KEY, (gavel_bytes){NULL, 5});
        break;
    case 6:
        gavel_hincr(tx, KEY, (gavel_bytes){NULL, 5}, 1);
        break;
    case 7:
        gavel_del_many(tx, (gavel_bytes[]){KEY, {NULL, 5}}, 2);
        break;
    case 8:
        gavel_write(tx, &GAVEL_COMMAND(GAVEL_STR("RPUSH"), KEY, {NULL, 5}));
        break;
    case 9:
        gavel_write(tx, &GAVEL_COMMAND({NULL, 5}, KEY));
        break;
    case 10:
        gavel_get(tx, (gavel_bytes){NULL, 5}, &value);
        break;
    case 11:
        gavel_hget_int(tx, KEY, (gavel_bytes){NULL, 5}, &number);
        break;
    case 12:
        gavel_ttl_ms(tx, gavel_str(absent), &number);
        break;
    case 13:
        gavel_set_result(tx, (gavel_bytes){NULL, 5});
        break;
    case 14:
        gavel_del_many(tx, NULL, 2);
        break;
    case 15:
        gavel_write(tx, NULL);
        break;
    case 16:
        gavel_query(tx, NULL, &(const gavel_reply *){NULL});
        break;
    }
}

static gavel_verdict call_with_null(gavel_tx *tx, void *user)
{
    const int *call = user;
    do_call(tx, *call, getenv("GAVEL_TEST_THAT_NOBODY_SETS"));
    return GAVEL_COMMIT;
}

Test(misuse, what_is_null_is_no_value)
{
    static const char *const messages[] = {
        "gavel_set: the value is NULL (an empty one is GAVEL_STR(\"\")); key: \"key\"",
        "gavel_hset: the value is NULL (an empty one is GAVEL_STR(\"\")); key: \"key\"",
        "gavel_hset: the field is NULL (an empty one is GAVEL_STR(\"\")); key: \"key\"",
        "gavel_hdel: the field is NULL",
        "gavel_set: the key is NULL",
        "gavel_append: the value is NULL",
        "gavel_hincr: the field is NULL",
        "gavel_del_many: the key is NULL",
        "RPUSH \"key\": argument 2 is NULL",
        "a command: argument 0 is NULL",
        "GET: argument 1 is NULL",
        "HGET \"key\": argument 2 is NULL",
        "PTTL: argument 1 is NULL",
        "gavel_set_result: the result is NULL",
        "gavel_del_many: n_keys is not 0, but keys is NULL",
        "there is no command (NULL)",
        "there is no command (NULL)",
    };
    live_rig rig = live_begin(NULL, NULL);
    for (int i = 0; i < (int)(sizeof(messages) / sizeof(messages[0])); i++)
        expect_poisoned(&rig, call_with_null, &i, messages[i]);
    gavel_read reads[] = {{.key = {NULL, 5}}, {.key = GAVEL_STR("a")}};
    gavel_bytes key = {NULL, 5};
    expect_refused(&rig, (gavel_transaction){.body = never, .reads = reads, .n_reads = 2},
        "GET: argument 1 is NULL");
    expect_refused(&rig, (gavel_transaction){.body = never, .keys = &key, .n_keys = 1},
        "a declared key is NULL");
    live_end(&rig);
}

/* An empty one is a value, and so is an empty key. */
static gavel_verdict write_empty(gavel_tx *tx, void *user)
{
    (void)user;
    gavel_set(tx, KEY, GAVEL_STR(""));
    gavel_hset(tx, GAVEL_STR("stray"), GAVEL_STR(""), GAVEL_STR(""));
    gavel_append(tx, GAVEL_STR(""), GAVEL_STR(""));
    return GAVEL_COMMIT;
}

Test(misuse, what_is_empty_is_a_value)
{
    live_rig rig = live_begin(NULL, NULL);
    gavel_outcome outcome = live_run(rig.client, "key", write_empty, NULL);
    cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
    cr_expect_eq(server_int(rig.server, "STRLEN", "key", NULL), 0);
    cr_expect_eq(server_int(rig.server, "EXISTS", "key", NULL), 1);
    cr_expect_eq(server_int(rig.server, "HEXISTS", "stray", "", NULL), 1);
    live_end(&rig);
}
