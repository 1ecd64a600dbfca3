/*
 * What is said of mistakes that users make: one table of them, each with words that its message
 * must contain: what happened, of which key, option or command, and where it can be said, what to
 * do. Nothing is written by any of them but where the status says so.
 */
#include "tools.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <time.h>

#define MAX_WORDS 4

/* A mistake in what is opened (url or config), or else in what is run on a good client. */
typedef struct mistake {
    const char *url;                  /* not NULL: gavel_open fails */
    gavel_config config;              /* of what is opened */
    gavel_transaction what;           /* what is run */
    const char *setup[4];             /* a command for the server before */
    gavel_status status;              /* of what is run */
    const char *words[MAX_WORDS + 1]; /* ended by NULL */
} mistake;

/* ---- Bodies that misbehave ------------------------------------------------------------------- */

#define KEY GAVEL_STR("key")

static gavel_verdict get(gavel_tx *tx, void *user)
{
    (void)user;
    gavel_bytes value;
    gavel_get(tx, KEY, &value);
    return GAVEL_COMMIT;
}

static gavel_verdict get_int(gavel_tx *tx, void *user)
{
    (void)user;
    int64_t value;
    gavel_get_int(tx, KEY, &value);
    return GAVEL_COMMIT;
}

static gavel_verdict hget(gavel_tx *tx, void *user)
{
    (void)user;
    gavel_bytes value;
    gavel_hget(tx, KEY, GAVEL_STR("f"), &value);
    return GAVEL_COMMIT;
}

static gavel_verdict get_double(gavel_tx *tx, void *user)
{
    (void)user;
    double value;
    gavel_get_double(tx, KEY, &value);
    return GAVEL_COMMIT;
}

static gavel_verdict set(gavel_tx *tx, void *user)
{
    (void)user;
    gavel_set(tx, KEY, GAVEL_STR("value"));
    return GAVEL_COMMIT;
}

static gavel_verdict set_null(gavel_tx *tx, void *user)
{
    (void)user;
    gavel_set(tx, KEY, (gavel_bytes){NULL, 0});
    return GAVEL_COMMIT;
}

static gavel_verdict set_no_key(gavel_tx *tx, void *user)
{
    (void)user;
    gavel_set(tx, (gavel_bytes){NULL, 0}, KEY);
    return GAVEL_COMMIT;
}

static gavel_verdict del_null(gavel_tx *tx, void *user)
{
    (void)user;
    gavel_del_many(tx, NULL, 2);
    return GAVEL_COMMIT;
}

static gavel_verdict write_null(gavel_tx *tx, void *user)
{
    (void)user;
    gavel_write(tx, NULL);
    return GAVEL_COMMIT;
}

static gavel_verdict query_null(gavel_tx *tx, void *user)
{
    (void)user;
    const gavel_reply *reply;
    gavel_query(tx, NULL, &reply);
    return GAVEL_COMMIT;
}

/* Each in turn, as the user says, without an output. */
static gavel_verdict nowhere(gavel_tx *tx, void *user)
{
    switch (*(const char *)user) {
    case 'g':
        gavel_get(tx, KEY, NULL);
        break;
    case 'i':
        gavel_get_int(tx, KEY, NULL);
        break;
    case 'd':
        gavel_get_double(tx, KEY, NULL);
        break;
    case 'h':
        gavel_hget(tx, KEY, KEY, NULL);
        break;
    case 'I':
        gavel_hget_int(tx, KEY, KEY, NULL);
        break;
    case 'D':
        gavel_hget_double(tx, KEY, KEY, NULL);
        break;
    case 't':
        gavel_ttl_ms(tx, KEY, NULL);
        break;
    case 's':
        gavel_server_time_us(tx, NULL);
        break;
    case 'q':
        gavel_query(tx, &GAVEL_COMMAND(GAVEL_STR("LLEN"), KEY), NULL);
        break;
    }
    return GAVEL_COMMIT;
}

static gavel_verdict nowhere_no_key(gavel_tx *tx, void *user)
{
    (void)user;
    gavel_get(tx, (gavel_bytes){NULL, 7}, NULL);
    return GAVEL_COMMIT;
}

static gavel_verdict one_word(gavel_tx *tx, void *user)
{
    (void)user;
    gavel_write(tx, &GAVEL_COMMAND(GAVEL_STR("SET key value")));
    return GAVEL_COMMIT;
}

static gavel_verdict set_px_0(gavel_tx *tx, void *user)
{
    (void)user;
    gavel_set_px(tx, KEY, KEY, 0);
    return GAVEL_COMMIT;
}

static gavel_verdict expire_long(gavel_tx *tx, void *user)
{
    (void)user;
    gavel_expire_ms(tx, KEY, UINT64_MAX);
    return GAVEL_COMMIT;
}

static gavel_verdict set_nan(gavel_tx *tx, void *user)
{
    (void)user;
    gavel_set_double(tx, KEY, 0.0 / (double)gavel_attempt(tx));
    return GAVEL_COMMIT;
}

static gavel_verdict hset(gavel_tx *tx, void *user)
{
    (void)user;
    gavel_hset(tx, KEY, GAVEL_STR("f"), GAVEL_STR("v"));
    return GAVEL_COMMIT;
}

static gavel_verdict incr_over(gavel_tx *tx, void *user)
{
    (void)user;
    gavel_set_int(tx, KEY, INT64_MAX);
    gavel_incr(tx, KEY, 1);
    return GAVEL_COMMIT;
}

static gavel_verdict result_long(gavel_tx *tx, void *user)
{
    (void)user;
    gavel_set_result(tx, (gavel_bytes){(char[200]){0}, 200});
    return GAVEL_COMMIT;
}

static gavel_verdict multi(gavel_tx *tx, void *user)
{
    (void)user;
    gavel_write(tx, &GAVEL_COMMAND(GAVEL_STR("MULTI"), KEY));
    return GAVEL_COMMIT;
}

static gavel_verdict subscribe(gavel_tx *tx, void *user)
{
    (void)user;
    gavel_write(tx, &GAVEL_COMMAND(GAVEL_STR("SUBSCRIBE"), KEY));
    return GAVEL_COMMIT;
}

static gavel_verdict unknown(gavel_tx *tx, void *user)
{
    (void)user;
    gavel_write(tx, &GAVEL_COMMAND(GAVEL_STR("NOSUCH"), KEY));
    return GAVEL_COMMIT;
}

static gavel_verdict blpop(gavel_tx *tx, void *user)
{
    (void)user;
    gavel_write(tx, &GAVEL_COMMAND(GAVEL_STR("BLPOP"), KEY, KEY));
    return GAVEL_COMMIT;
}

static gavel_verdict wrong_keys(gavel_tx *tx, void *user)
{
    (void)user;
    gavel_write(tx, &(gavel_command){.args = (gavel_bytes[]){GAVEL_STR("SADD"), KEY, KEY},
                        .n_args = 3,
                        .first_key = 1,
                        .n_keys = 2});
    return GAVEL_COMMIT;
}

static gavel_verdict too_few(gavel_tx *tx, void *user)
{
    (void)user;
    gavel_write(tx, &GAVEL_COMMAND(GAVEL_STR("SADD")));
    return GAVEL_COMMIT;
}

static gavel_verdict wrong_number(gavel_tx *tx, void *user)
{
    (void)user;
    gavel_write(tx, &GAVEL_COMMAND(GAVEL_STR("SADD"), KEY));
    return GAVEL_COMMIT;
}

static gavel_verdict query_lpop(gavel_tx *tx, void *user)
{
    (void)user;
    const gavel_reply *reply;
    gavel_query(tx, &GAVEL_COMMAND(GAVEL_STR("LPOP"), KEY), &reply);
    return GAVEL_COMMIT;
}

static gavel_verdict query_incr(gavel_tx *tx, void *user)
{
    (void)user;
    const gavel_reply *reply;
    gavel_query(tx, &GAVEL_COMMAND(GAVEL_STR("INCR"), KEY), &reply);
    return GAVEL_COMMIT;
}

static gavel_verdict query_blpop(gavel_tx *tx, void *user)
{
    (void)user;
    const gavel_reply *reply;
    gavel_query(tx, &GAVEL_COMMAND(GAVEL_STR("BLPOP"), KEY, KEY), &reply);
    return GAVEL_COMMIT;
}

static gavel_verdict query_select(gavel_tx *tx, void *user)
{
    (void)user;
    const gavel_reply *reply;
    gavel_query(tx, &GAVEL_COMMAND(GAVEL_STR("SELECT"), KEY), &reply);
    return GAVEL_COMMIT;
}

static gavel_verdict query_after(gavel_tx *tx, void *user)
{
    (void)user;
    const gavel_reply *reply;
    gavel_set(tx, KEY, KEY);
    gavel_query(tx, &GAVEL_COMMAND(GAVEL_STR("LRANGE"), KEY, KEY, KEY), &reply);
    return GAVEL_COMMIT;
}

static gavel_verdict query_both(gavel_tx *tx, void *user)
{
    (void)user;
    const gavel_reply *reply;
    gavel_set(tx, GAVEL_STR("other"), KEY);
    gavel_write(tx, &GAVEL_COMMAND(GAVEL_STR("MSET"), GAVEL_STR("a"), KEY, KEY, KEY));
    gavel_write(tx, &GAVEL_COMMAND(GAVEL_STR("RPUSH"), GAVEL_STR("list"), KEY));
    gavel_query(tx, &GAVEL_COMMAND(GAVEL_STR("SINTER"), GAVEL_STR("b"), KEY), &reply);
    return GAVEL_COMMIT;
}

static gavel_verdict read_after(gavel_tx *tx, void *user)
{
    (void)user;
    gavel_bytes value;
    gavel_write(tx, &GAVEL_COMMAND(GAVEL_STR("SETRANGE"), KEY, GAVEL_STR("0"), KEY));
    gavel_get(tx, KEY, &value);
    return GAVEL_COMMIT;
}

static gavel_verdict retry(gavel_tx *tx, void *user)
{
    (void)tx;
    (void)user;
    return GAVEL_RETRY;
}

static gavel_verdict again(gavel_tx *tx, void *user)
{
    (void)tx;
    (void)user;
    return GAVEL_AGAIN;
}

static gavel_verdict nonsense(gavel_tx *tx, void *user)
{
    (void)tx;
    (void)user;
    return (gavel_verdict)42;
}

static gavel_verdict sleepy(gavel_tx *tx, void *user)
{
    (void)user;
    nanosleep(&(struct timespec){.tv_sec = 2}, NULL); /* longer than its deadline */
    gavel_set(tx, KEY, KEY);
    return GAVEL_COMMIT;
}

/* ---- The table ------------------------------------------------------------------------------- */

static const mistake mistakes[] = {
    /* URLs and configs. */
    {.url = "", .words = {"redis://"}},
    {.url = "localhost", .words = {"redis://"}},
    {.url = "localhost:6379", .words = {"redis://"}},
    {.url = "http://localhost", .words = {"redis://", "rediss://", "unix://"}},
    {.url = "redis://", .words = {"host"}},
    {.url = "redis://host:port", .words = {"port", "65535"}},
    {.url = "redis://host:65536", .words = {"port", "65535"}},
    {.url = "redis://host/one", .words = {"database"}},
    {.url = "redis://h/-1", .words = {"database"}},
    {.url = "redis://u:p/w@host", .words = {"%2F"}},
    {.url = "redis://u:p%4@host", .words = {"percent"}},
    {.url = "redis://u:p w@host", .words = {"blank"}},
    {.url = "redis://::1:6379", .words = {"IPv6", "brackets"}},
    {.url = "redis://[::1", .words = {"bracket"}},
    {.url = "redis://[fe80::x]", .words = {"IPv6"}},
    {.url = "unix://relative/path", .words = {"absolute"}},
    {.url = "redis://h?bd=1", .words = {"bd", "there are db, "}},
    {.url = "redis://h?%64b=3", .words = {"name", "without percent codes"}},
    {.url = "redis://h?db=1&db=2", .words = {"db", "twice"}},
    {.url = "redis://h?db=x", .words = {"database", "65535"}},
    {.url = "redis://h/1?db=2", .words = {"db"}},
    {.url = "redis://h?deadline_ms=soon", .words = {"deadline_ms"}},
    {.url = "redis://h?mode=fast", .words = {"mode", "adaptive, optimistic"}},
    {.url = "redis://h?name=two%20words", .words = {"name"}},
    {.url = "redis://h?ca_file=/tmp/ca.pem", .words = {"ca_file", "begins with redis, not rediss"}},
    {.url = "redis://h?name=a", .config = {.name = "b"}, .words = {"name", "config"}},
    {.url = "redis://h", .config = {.max_links = 65}, .words = {"max_links", "64"}},
    {.url = "redis://h", .config = {.max_gate_links = 99}, .words = {"max_gate_links", "64"}},
    {.url = "redis://h", .config = {.id_ttl_ms = UINT64_MAX}, .words = {"id_ttl_ms"}},
    {.url = "redis://h", .config = {.marker_ttl_ms = 1}, .words = {"marker_ttl_ms", "600000"}},
    {.url = "redis://h", .config = {.gate_lease_ms = 1}, .words = {"gate_lease_ms", "50"}},
    {.url = "redis://h", .config = {.name = "two words"}, .words = {"name", "blank"}},
    {.url = "redis://h", .config = {.key_prefix = "{app}"}, .words = {"key_prefix", "brace"}},
    /* Requests, bodies, commands, and what the server says. */
    {.what = {.keys = NULL}, .words = {"no body"}},
    {.what = {.body = set, .n_keys = 1}, .words = {"keys", "NULL"}},
    {.what = {.body = get, .keys = (gavel_bytes[]){{"k", 1}}}, .words = {"keys", "n_keys"}},
    {.what = {.body = get, .reads = &(gavel_read){.key = {"k", 1}}}, .words = {"reads", "n_reads"}},
    {.what = {.body = set, .keys = (gavel_bytes[]){{"k", 1}, {"k", 1}}, .n_keys = 2},
        .words = {"twice", "\"k\""}},
    {.what = {.body = set, .deadline_ms = UINT32_MAX}, .words = {"deadline_ms", "marker_ttl_ms"}},
    {.what = {.body = set, .digest = {"d", 1}}, .words = {"digest", "no id"}},
    {.what = {.body = set, .id = {"", 0}}, .words = {"id", "1 to 256"}},
    {.what = {.body = get, .id = {"i", 1}, .is_read_only = true}, .words = {"id", "read-only"}},
    {.what = {.body = set, .is_read_only = true}, .words = {"read-only", "\"key\""}},
    {.what = {.body = again}, .words = {"GAVEL_AGAIN"}},
    {.what = {.body = nonsense}, .words = {"42", "verdict"}},
    {.what = {.body = retry, .deadline_ms = 1000}, .status = GAVEL_DEADLINE, .words = {"RETRY"}},
    {.what = {.body = retry, .max_conflicts = 2}, .status = GAVEL_CONFLICT, .words = {"RETRY"}},
    {.what = {.body = sleepy, .deadline_ms = 1000},
        .status = GAVEL_DEADLINE,
        .words = {"body", "ms"}},
    {.what = {.body = set_null}, .words = {"gavel_set", "NULL", "\"key\""}},
    {.what = {.body = set_no_key}, .words = {"gavel_set", "key is NULL"}},
    {.what = {.body = del_null}, .words = {"gavel_del_many", "keys is NULL"}},
    {.what = {.body = write_null}, .words = {"no command", "NULL"}},
    {.what = {.body = query_null}, .words = {"no command", "NULL"}},
    {.what = {.body = nowhere, .user = &(char){'g'}},
        .words = {"gavel_get: the output is NULL", "\"key\""}},
    {.what = {.body = nowhere, .user = &(char){'i'}},
        .words = {"gavel_get_int: the output is NULL", "\"key\""}},
    {.what = {.body = nowhere, .user = &(char){'d'}},
        .words = {"gavel_get_double: the output is NULL", "\"key\""}},
    {.what = {.body = nowhere, .user = &(char){'h'}},
        .words = {"gavel_hget: the output is NULL", "\"key\""}},
    {.what = {.body = nowhere, .user = &(char){'I'}},
        .words = {"gavel_hget_int: the output is NULL", "\"key\""}},
    {.what = {.body = nowhere, .user = &(char){'D'}},
        .words = {"gavel_hget_double: the output is NULL", "\"key\""}},
    {.what = {.body = nowhere, .user = &(char){'t'}},
        .words = {"gavel_ttl_ms: the output is NULL", "\"key\""}},
    {.what = {.body = nowhere, .user = &(char){'s'}},
        .words = {"gavel_server_time_us: the output is NULL"}},
    {.what = {.body = nowhere, .user = &(char){'q'}}, .words = {"gavel_query: the output is NULL"}},
    {.what = {.body = nowhere_no_key}, .words = {"gavel_get: the output is NULL"}},
    {.what = {.body = one_word}, .words = {"argument of its own", "\"SET key value\""}},
    {.what = {.body = set_px_0}, .words = {"\"key\"", "time to live"}},
    {.what = {.body = expire_long}, .words = {"\"key\"", "time to live"}},
    {.what = {.body = set_nan}, .words = {"NaN", "\"key\""}},
    {.what = {.body = incr_over}, .words = {"64", "\"key\""}},
    {.what = {.body = result_long}, .words = {"gavel_set_result", "128"}},
    {.what = {.body = multi}, .words = {"MULTI"}},
    {.what = {.body = subscribe}, .words = {"SUBSCRIBE"}},
    {.what = {.body = unknown}, .words = {"NOSUCH", "neither gavel nor the server"}},
    {.what = {.body = blpop},
        .status = GAVEL_COMMITTED_WITH_ERRORS,
        .words = {"BLPOP", "timeout", "\"key\""}},
    {.what = {.body = wrong_keys}, .words = {"SADD", "n_keys"}},
    {.what = {.body = too_few}, .words = {"SADD"}},
    {.what = {.body = wrong_number}, .status = GAVEL_REJECTED, .words = {"SADD", "\"key\""}},
    {.what = {.body = query_lpop}, .words = {"LPOP", "writes", "gavel_write"}},
    {.what = {.body = query_incr}, .words = {"INCR", "writes", "gavel_write"}},
    {.what = {.body = query_blpop}, .words = {"BLPOP"}},
    {.what = {.body = query_select}, .words = {"SELECT"}},
    {.what = {.body = query_after}, .words = {"read first", "LRANGE", "after SET", "\"key\""}},
    {.what = {.body = query_both}, .words = {"read first", "SINTER", "after MSET", "\"key\""}},
    {.what = {.body = read_after}, .words = {"read first", "GET", "after SETRANGE", "\"key\""}},
    {.what = {.body = get_int}, .setup = {"SET", "key", "x"}, .words = {"integer", "\"key\""}},
    {.what = {.body = get_double}, .setup = {"SET", "key", "x"}, .words = {"number", "\"key\""}},
    {.what = {.body = get},
        .setup = {"LPUSH", "key", "x"},
        .status = GAVEL_REJECTED,
        .words = {"WRONGTYPE", "\"key\""}},
    {.what = {.body = hget},
        .setup = {"SET", "key", "x"},
        .status = GAVEL_REJECTED,
        .words = {"WRONGTYPE", "\"key\""}},
    {.what = {.body = hset},
        .setup = {"SET", "key", "x"},
        .status = GAVEL_COMMITTED_WITH_ERRORS,
        .words = {"WRONGTYPE", "HSET", "\"key\""}},
    {.what = {.body = set},
        .setup = {"CONFIG", "SET", "maxmemory", "1"},
        .status = GAVEL_REJECTED,
        .words = {"OOM", "SET", "\"key\""}},
    {.what = {.body = set},
        .setup = {"ACL", "SETUSER", "default", "-set"},
        .status = GAVEL_REJECTED,
        .words = {"NOPERM", "SET", "\"key\""}},
    {.what = {.body = get},
        .setup = {"ACL", "SETUSER", "default", "-get"},
        .status = GAVEL_REJECTED,
        .words = {"NOPERM", "GET", "\"key\""}},
    {.what = {.body = set},
        .setup = {"ACL", "SETUSER", "default", "-watch"},
        .status = GAVEL_REJECTED,
        .words = {"NOPERM", "WATCH"}},
    {.what = {.body = set, .deadline_ms = 1000},
        .setup = {"REPLICAOF", "127.0.0.1", "1"},
        .status = GAVEL_DEADLINE,
        .words = {"replica", "takes no writes"}},
    {.what = {.body = set, .max_faults = 1, .deadline_ms = 60000},
        .setup = {"REPLICAOF", "127.0.0.1", "1"},
        .status = GAVEL_NOT_SENT,
        .words = {"replica", "takes no writes"}},
};

static const char *lacking(const mistake *it, const char *message)
{
    for (size_t i = 0; it->words[i] != NULL; i++) {
        if (!live_contains(message, it->words[i]))
            return it->words[i];
    }
    return live_contains(message, "hunter2") ? "(no password)" : NULL;
}

static void open_wrongly(const mistake *it, int number)
{
    gavel_error error = {{0}};
    gavel_client *client = gavel_open(it->url, &it->config, &error);
    cr_expect_null(client, "%d: \"%s\" was opened", number, it->url);
    const char *lacks = lacking(it, error.message);
    cr_expect_null(lacks, "%d: \"%s\" lacks \"%s\": %s", number, it->url, lacks, error.message);
    gavel_close(client);
}

static void run_wrongly(live_rig *rig, const mistake *it, int number)
{
    server_do(rig->server, "DEL", "key", NULL);
    if (it->setup[0] != NULL)
        server_do(rig->server, it->setup[0], it->setup[1], it->setup[2], it->setup[3], NULL);
    gavel_outcome outcome = gavel_run(rig->client, &it->what);
    cr_expect_eq(outcome.status, it->status, "%d: %s: %s", number,
        gavel_status_name(outcome.status), outcome.message);
    const char *lacks = lacking(it, outcome.message);
    cr_expect_null(lacks, "%d: lacks \"%s\": %s", number, lacks, outcome.message);
    server_do(rig->server, "CONFIG", "SET", "maxmemory", "0", NULL);
    server_do(rig->server, "ACL", "SETUSER", "default", "+@all", NULL);
    server_do(rig->server, "REPLICAOF", "NO", "ONE", NULL);
}

Test(messages, each_says_what_is_wrong_and_where)
{
    live_rig rig = live_begin(NULL, NULL);
    int n_mistakes = (int)(sizeof(mistakes) / sizeof(mistakes[0]));
    cr_expect_geq(n_mistakes, 60);
    for (int i = 0; i < n_mistakes; i++) {
        if (mistakes[i].url != NULL)
            open_wrongly(&mistakes[i], i);
        else
            run_wrongly(&rig, &mistakes[i], i);
    }
    live_end(&rig);
}

/* ---- Reaching a server ------------------------------------------------------------------------
 */

/* Of 64 bytes in a label: the resolver refuses without asking anybody, who may take his time. */
#define NO_SUCH_HOST "no-such-host-456789012345678901234567890123456789012345678901234.invalid"

/* Which URL, with the port of a server whose default user has a password: hunter2. */
static const struct {
    const char *format;
    gavel_status status;
    const char *words[MAX_WORDS + 1];
} reaches[] = {
    {"redis://127.0.0.1:%d", GAVEL_REJECTED, {"127.0.0.1", "password"}},
    {"redis://:hunter3@127.0.0.1:%d", GAVEL_REJECTED, {"127.0.0.1", "default user", "WRONGPASS"}},
    {"redis://bob:hunter2@127.0.0.1:%d", GAVEL_REJECTED, {"127.0.0.1", "as \"bob\"", "WRONGPASS"}},
    {"redis://hunter2@127.0.0.1:%d", GAVEL_REJECTED, {"127.0.0.1", "redis://:password@host"}},
    {"redis://:hunter2@127.0.0.1:%d/99", GAVEL_REJECTED, {"database", "99"}},
    {"redis://127.0.0.1:1/%d", GAVEL_NOT_SENT, {"127.0.0.1:1", "refused"}},
    {"redis://" NO_SUCH_HOST ":%d", GAVEL_NOT_SENT, {NO_SUCH_HOST}},
    {"unix:///nowhere/%d", GAVEL_NOT_SENT, {"unix:///nowhere/", "No such file"}},
};

Test(messages, a_server_that_is_not_reached_is_named)
{
    test_server *server = server_start(&(server_options){.has_tcp = true, .password = "hunter2"});
    for (int i = 0; i < (int)(sizeof(reaches) / sizeof(reaches[0])); i++) {
        char url[128];
        snprintf(url, sizeof(url), reaches[i].format, server_port(server));
        gavel_client *client = live_open(url, NULL);
        gavel_outcome outcome = gavel_run(
            client, &(gavel_transaction){.body = set, .max_faults = 1, .deadline_ms = 20000});
        cr_expect_eq(outcome.status, reaches[i].status, "%s: %s: %s", reaches[i].format,
            gavel_status_name(outcome.status), outcome.message);
        for (size_t word = 0; reaches[i].words[word] != NULL; word++)
            cr_expect(live_contains(outcome.message, reaches[i].words[word]),
                "%s: lacks \"%s\": %s", reaches[i].format, reaches[i].words[word], outcome.message);
        cr_expect_not(live_contains(outcome.message, "hunter"), "%s", outcome.message);
        gavel_close(client);
    }
    server_stop(server);
}
