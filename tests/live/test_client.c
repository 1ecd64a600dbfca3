/* Clients on a real server: what they connect to, what they tell, and what a process does to them.
 */
#include "tools.h"

#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEY GAVEL_STR("key")

/* ---- What the URL and the config say --------------------------------------------------------- */

Test(client, connects_only_when_needed_and_closes_what_it_opened)
{
    test_server *server = server_start(NULL);
    gavel_client *client = live_open(server_url(server), NULL);
    cr_expect_eq(live_count_links(server, "gavel"), 0);
    live_increment(client, "key");
    live_increment(client, "key");
    cr_expect_eq(live_count_links(server, "gavel"), 1);
    gavel_close(client);
    live_await_no_links(server, "gavel");
    gavel_close(NULL);
    server_stop(server);
}

static long long get_in_database(test_server *server, const char *database)
{
    server_do(server, "SELECT", database, NULL);
    return server_int(server, "GET", "key", NULL);
}

Test(client, uses_the_database_of_the_url)
{
    test_server *server = server_start(&(server_options){.has_tcp = true});
    char urls[2][160];
    snprintf(urls[0], sizeof(urls[0]), "%s?db=3", server_url(server));
    snprintf(urls[1], sizeof(urls[1]), "%s/3", server_tcp_url(server));
    for (size_t i = 0; i < 2; i++) {
        gavel_client *client = live_open(urls[i], NULL);
        gavel_outcome outcome = live_increment(client, "key");
        cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
        gavel_close(client);
    }
    cr_expect_eq(get_in_database(server, "3"), 2);
    cr_expect_eq(get_in_database(server, "0"), -1);
    server_stop(server);
}

Test(client, tells_of_a_database_that_is_not_there)
{
    test_server *server = server_start(NULL);
    char url[160];
    snprintf(url, sizeof(url), "%s?db=99", server_url(server));
    gavel_client *client = live_open(url, NULL);
    gavel_outcome outcome = live_increment(client, "key");
    cr_expect_eq(outcome.status, GAVEL_REJECTED, "%s", gavel_status_name(outcome.status));
    cr_expect(live_contains(outcome.message, "SELECT"), "%s", outcome.message);
    cr_expect(live_contains(outcome.message, server_url(server)), "%s", outcome.message);
    gavel_close(client);
    server_stop(server);
}

/* Not at the deadline: it will never be one. */
Test(client, tells_at_once_that_there_is_no_cluster)
{
    test_server *server = server_start(&(server_options){.has_tcp = true});
    char url[160];
    snprintf(url, sizeof(url), "redis+cluster://127.0.0.1:%d", server_port(server));
    gavel_client *client = live_open(url, &(gavel_config){.default_deadline_ms = 30000});
    gavel_outcome outcome = live_increment(client, "key");
    cr_expect_eq(outcome.status, GAVEL_NOT_SENT, "%s", gavel_status_name(outcome.status));
    cr_expect(live_contains(outcome.message, "this is no node of a Redis Cluster"), "%s",
        outcome.message);
    gavel_lock_outcome got =
        gavel_lock_acquire(client, &(gavel_lock_request){.name = GAVEL_STR("a"), .wait_ms = 30000});
    cr_expect_eq(got.status, GAVEL_LOCK_NOT_SENT, "%s", gavel_lock_status_name(got.status));
    cr_expect(live_contains(got.message, "this is no node of a Redis Cluster"), "%s", got.message);
    gavel_close(client);
    /* Somebody may answer yet: the one who is not there. */
    snprintf(url, sizeof(url), "redis+cluster://127.0.0.1:%d,127.0.0.1:1", server_port(server));
    client = live_open(url, &(gavel_config){.default_deadline_ms = 200});
    outcome = live_increment(client, "key");
    cr_expect_eq(outcome.status, GAVEL_DEADLINE, "%s", gavel_status_name(outcome.status));
    gavel_close(client);
    server_stop(server);
}

Test(client, names_its_connections)
{
    test_server *server = server_start(NULL);
    static const char *const names[] = {NULL, "shop-7%s", ""};
    static const char *const shown[] = {"gavel", "shop-7%s", ""};
    for (size_t i = 0; i < 3; i++) {
        gavel_config config = {.name = names[i]};
        int n_before = live_count_links(server, shown[i]);
        gavel_client *client = live_open(server_url(server), &config);
        live_increment(client, "key");
        cr_expect_eq(live_count_links(server, shown[i]), n_before + 1, "\"%s\"", shown[i]);
        gavel_close(client);
    }
    server_stop(server);
}

Test(client, logs_in_with_any_bytes)
{
    const char *const args[] = {
        "--user", "b:ob", "on", ">p@ss/%41 \xc3\xa9", "~*", "&*", "+@all", NULL};
    test_server *server = server_start(&(server_options){.has_tcp = true, .args = args});
    char url[160];
    snprintf(url, sizeof(url), "redis://b%%3Aob:p%%40ss%%2F%%2541%%20%%c3%%a9@127.0.0.1:%d",
        server_port(server));
    gavel_client *client = live_open(url, NULL);
    gavel_outcome outcome = live_increment(client, "key");
    cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
    redisReply *list = server_command(server, "CLIENT", "LIST", NULL);
    cr_expect(live_contains(list->str, "user=b:ob"), "%s", list->str);
    freeReplyObject(list);
    gavel_close(client);
    server_stop(server);
}

static size_t count_keys(test_server *server, const char *pattern)
{
    redisReply *keys = server_command(server, "KEYS", pattern, NULL);
    size_t n_keys = keys->elements;
    freeReplyObject(keys);
    return n_keys;
}

Test(client, keeps_its_own_keys_under_the_prefix)
{
    gavel_config config = {.key_prefix = "app:"};
    live_rig rig = live_begin(NULL, &config);
    live_increment(rig.client, "key");
    cr_expect_eq(count_keys(rig.server, "app:*"), 1, "one marker a link");
    cr_expect_eq(count_keys(rig.server, "*"), 2);
    redisReply *keys = server_command(rig.server, "KEYS", "app:*", NULL);
    long long ttl_ms = server_int(rig.server, "PTTL", keys->element[0]->str, NULL);
    cr_expect(ttl_ms > 600000 && ttl_ms <= 900000, "%lld", ttl_ms);
    freeReplyObject(keys);
    gavel_close(rig.client);

    server_do(rig.server, "FLUSHALL", NULL);
    config.has_no_markers = true;
    rig.client = live_open(server_url(rig.server), &config);
    gavel_outcome outcome = live_increment(rig.client, "key");
    cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
    cr_expect_eq(count_keys(rig.server, "*"), 1);
    live_end(&rig);
}

/* ---- What it tells --------------------------------------------------------------------------- */

typedef struct a_record {
    test_server *server;
    const void *user; /* of the transaction */
    char types[64];   /* a letter for each event */
    gavel_event last;
    bool is_user_right;
    char said[16384]; /* all messages and log lines */
} a_record;

static void note(a_record *self, const char *words)
{
    size_t used = strlen(self->said);
    snprintf(self->said + used, sizeof(self->said) - used, "%s\n", words);
}

static void on_event(const gavel_event *event, void *user)
{
    static const char letters[] = "udacbox"; /* up, down, attempt, conflict, in doubt, outcome,
                                              * closed */
    a_record *self = user;
    size_t n = strlen(self->types);
    if (n < sizeof(self->types) - 1)
        self->types[n] = letters[event->type];
    bool is_of_link = event->type == GAVEL_EVENT_LINK_UP || event->type == GAVEL_EVENT_LINK_DOWN ||
                      event->type == GAVEL_EVENT_LINK_CLOSED;
    self->is_user_right &= event->user == (is_of_link ? NULL : self->user);
    note(self, event->message != NULL ? event->message : "(no message)");
    self->last = *event;
}

static void on_log(gavel_log_level level, const char *line, void *user)
{
    (void)level;
    note(user, line);
}

static gavel_config recording(a_record *self)
{
    self->is_user_right = true;
    return (gavel_config){.hooks = {.on_event = on_event, .on_log = on_log, .user = self}};
}

static gavel_verdict meddle_once(gavel_tx *tx, void *user)
{
    a_record *self = user;
    if (gavel_attempt(tx) == 0)
        server_do(self->server, "SET", "key", "1", NULL);
    gavel_bytes key = KEY;
    return live_add_one(tx, &key);
}

Test(client, tells_its_events_in_order)
{
    a_record self = {.types = ""};
    gavel_config config = recording(&self);
    live_rig rig = live_begin(NULL, &config);
    self.server = rig.server;
    self.user = &self;
    gavel_outcome outcome = live_run(rig.client, "key", meddle_once, &self);
    cr_expect_str_eq(self.types, "uacao");
    cr_expect_neq(outcome.ticket, 0);
    cr_expect_eq(self.last.ticket, outcome.ticket);
    cr_expect_eq(self.last.status, GAVEL_COMMITTED);
    cr_expect_eq(self.last.n_attempts, 2);
    cr_expect(live_contains(self.said, "key"), "the conflict names it: %s", self.said);

    server_do(rig.server, "CLIENT", "KILL", "TYPE", "normal", NULL);
    live_run(rig.client, "other", meddle_once, &self);
    cr_expect_str_eq(self.types, "uacaoduacao");
    cr_expect(live_contains(self.said, server_url(rig.server)), "%s", self.said);
    cr_expect(self.is_user_right);
    cr_expect_not(live_contains(self.said, "(no message)"));
    live_end(&rig);
}

static void fail_login(const test_server *server, gavel_config *config, const char *login)
{
    char url[160];
    snprintf(url, sizeof(url), "redis://%s@127.0.0.1:%d", login, server_port(server));
    gavel_client *client = live_open(url, config);
    gavel_outcome outcome = live_increment_impatiently(client, "key");
    cr_expect_not(gavel_is_committed(&outcome));
    note(config->hooks.user, outcome.message);
    gavel_close(client);
}

Test(client, says_no_password)
{
    test_server *server =
        server_start(&(server_options){.has_tcp = true, .password = "pa55/w@rd%41"});
    static a_record self;
    gavel_config config = recording(&self);
    char url[160];
    snprintf(url, sizeof(url), "redis://:pa55%%2Fw%%40rd%%2541@127.0.0.1:%d", server_port(server));
    live_rig rig = {server, live_open(url, &config)};
    cr_expect(live_is_usable(&rig));
    server_do(server, "CONFIG", "SET", "requirepass", "another", NULL);
    server_do(server, "CLIENT", "KILL", "TYPE", "normal", NULL);
    gavel_outcome outcome = live_increment(rig.client, "key");
    cr_expect_eq(outcome.status, GAVEL_REJECTED, "%s", gavel_status_name(outcome.status));
    note(&self, outcome.message);
    fail_login(server, &config, ":pa55word");
    fail_login(server, &config, "whoever:pa55word");
    server_kill(server);
    fail_login(server, &config, ":pa55word");
    gavel_error error;
    cr_expect_null(gavel_open("redis://:pa55word@host:port", &config, &error));
    note(&self, error.message);

    cr_expect(live_contains(self.said, "WRONGPASS"), "%s", self.said);
    cr_expect(live_contains(self.said, "refused"), "%s", self.said);
    cr_expect_not(live_contains(self.said, "pa55"), "%s", self.said);
    live_end(&rig);
}

static gavel_verdict abort_at_once(gavel_tx *tx, void *user)
{
    (void)user;
    return gavel_abort(tx, 1);
}

Test(client, counts_what_it_does)
{
    live_rig rig = live_begin(NULL, NULL);
    for (int i = 0; i < 3; i++)
        live_increment(rig.client, "key");
    live_run(rig.client, "key", abort_at_once, NULL);
    gavel_run(rig.client, &(gavel_transaction){.body = NULL});
    gavel_stats stats;
    gavel_read_stats(rig.client, &stats);
    cr_expect_eq(stats.n_outcomes[GAVEL_COMMITTED], 3);
    cr_expect_eq(stats.n_outcomes[GAVEL_ABORTED], 1);
    cr_expect_eq(stats.n_outcomes[GAVEL_INVALID], 1);
    cr_expect_eq(stats.n_attempts, 4);
    cr_expect_eq(stats.n_rounds, 3);
    cr_expect_eq(stats.n_links_up, 1);
    cr_expect_eq(stats.n_links_down, 0);
    cr_expect_geq(stats.n_sends, 4);
    cr_expect_geq(stats.n_receives, 4);
    uint64_t n_latencies = 0;
    for (size_t i = 0; i < GAVEL_N_LATENCIES; i++)
        n_latencies += stats.latencies[i];
    cr_expect_eq(n_latencies, 5);
    live_end(&rig);
}

/* ---- Fork ------------------------------------------------------------------------------------ */

/* In the child. The line that went wrong, or 0. */
static int use_in_child(gavel_client *client)
{
    gavel_outcome outcome = live_increment(client, "key");
    if (outcome.status != GAVEL_INVALID || !live_contains(outcome.message, "another process"))
        return __LINE__;
    gavel_stats stats;
    gavel_read_stats(client, &stats);
    if (stats.n_attempts != 0)
        return __LINE__;
    gavel_close(client);
    return 0;
}

Test(client, is_refused_in_a_child_and_unharmed_in_the_parent)
{
    live_rig rig = live_begin(NULL, NULL);
    cr_assert(live_is_usable(&rig));
    pid_t child = fork();
    if (child == 0)
        _exit(use_in_child(rig.client) == 0 ? 0 : 1);
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %d", status);
    cr_expect(live_is_usable(&rig));
    gavel_stats stats;
    gavel_read_stats(rig.client, &stats);
    cr_expect_eq(stats.n_links_up, 1);
    cr_expect_eq(stats.n_links_down, 0);
    live_end(&rig);
}

Test(client, a_child_opens_its_own)
{
    live_rig rig = live_begin(NULL, NULL);
    live_increment(rig.client, "key");
    pid_t child = fork();
    if (child == 0) {
        gavel_close(rig.client);
        gavel_client *own = gavel_open(server_url(rig.server), NULL, NULL);
        gavel_outcome outcome = live_increment(own, "key");
        gavel_close(own);
        _exit(outcome.status == GAVEL_COMMITTED ? 0 : 1);
    }
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %d", status);
    cr_expect_eq(server_int(rig.server, "GET", "key", NULL), 2);
    live_end(&rig);
}

/* ---- Signals --------------------------------------------------------------------------------- */

static volatile sig_atomic_t n_alarms;

static void count_alarm(int number)
{
    (void)number;
    n_alarms++;
}

/* Without SA_RESTART: system calls return EINTR. */
static void set_alarms(long every_us)
{
    struct sigaction action = {.sa_handler = count_alarm};
    sigemptyset(&action.sa_mask);
    cr_assert_eq(sigaction(SIGALRM, &action, NULL), 0);
    struct itimerval every = {{0, every_us}, {0, every_us}};
    cr_assert_eq(setitimer(ITIMER_REAL, &every, NULL), 0);
}

/* The server is busy for a while in each, so that signals find the client waiting. */
static gavel_verdict add_one_slowly(gavel_tx *tx, void *user)
{
    (void)user;
    gavel_command slow = GAVEL_COMMAND(GAVEL_STR("EVAL"),
        GAVEL_STR("for i = 1, 20000 do redis.call('EXISTS', KEYS[1]) end "
                  "return redis.call('INCR', KEYS[1])"),
        GAVEL_STR("1"), KEY);
    slow.first_key = 3;
    gavel_write(tx, &slow);
    return GAVEL_COMMIT;
}

Test(client, is_not_disturbed_by_signals)
{
    live_rig rig = live_begin(NULL, NULL);
    set_alarms(300);
    int n_runs = 0;
    for (; n_alarms < 200; n_runs++) {
        gavel_outcome outcome = live_run(rig.client, "key", add_one_slowly, NULL);
        cr_assert_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
        cr_assert_eq(outcome.n_faults, 0);
    }
    set_alarms(0);
    gavel_stats stats;
    gavel_read_stats(rig.client, &stats);
    cr_expect_eq(stats.n_links_down, 0);
    cr_expect_eq(server_int(rig.server, "GET", "key", NULL), n_runs);
    live_end(&rig);
}

/* The server dies, and its successor comes, before the first attempt's EXEC. */
static gavel_verdict replace_server_once(gavel_tx *tx, void *user)
{
    if (gavel_attempt(tx) == 0) {
        server_kill(user);
        server_restart(user);
    }
    gavel_bytes key = KEY;
    return live_add_one(tx, &key);
}

/* What was sent on the link that had died is UNKNOWN, as the marker has gone with the data: also an
 * EXEC on what was prefetched, where the server is back before that is too old. */
static void expect_told_rightly(live_rig *rig, const char *key, gavel_body *body, void *user)
{
    gavel_outcome outcome = live_run(rig->client, key, body, user);
    bool is_written = server_int(rig->server, "EXISTS", key, NULL) == 1;
    cr_expect(outcome.status == GAVEL_COMMITTED || outcome.status == GAVEL_UNKNOWN, "%s: %s",
        gavel_status_name(outcome.status), outcome.message);
    cr_expect_eq(gavel_is_committed(&outcome), is_written, "%s: %s",
        gavel_status_name(outcome.status), outcome.message);
}

static gavel_verdict use_it(gavel_tx *tx, void *user)
{
    (void)user;
    gavel_bytes key = GAVEL_STR("usable");
    return live_add_one(tx, &key);
}

Test(client, does_not_die_of_a_broken_pipe)
{
    cr_assert_neq(signal(SIGPIPE, SIG_DFL), SIG_ERR);
    test_server *server = server_start(&(server_options){.has_tcp = true});
    const char *urls[] = {server_url(server), server_tcp_url(server)};
    for (size_t i = 0; i < 2; i++) {
        live_rig rig = {server, live_open(urls[i], NULL)};
        cr_expect(live_is_usable(&rig));
        server_kill(server);
        server_restart(server);
        expect_told_rightly(&rig, "usable", use_it, NULL);
        expect_told_rightly(&rig, "key", replace_server_once, server);
        cr_expect(live_is_usable(&rig));
        gavel_close(rig.client);
    }
    server_stop(server);
}

/* ---- File descriptors ------------------------------------------------------------------------ */

/* Leaves room for that many more; returns the old limit. */
static rlim_t limit_descriptors(int n_more)
{
    int lowest = open("/dev/null", O_RDONLY);
    cr_assert_geq(lowest, 0);
    close(lowest);
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = (rlim_t)(lowest + n_more);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    return before;
}

static void unlimit_descriptors(rlim_t before)
{
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = before;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

Test(client, tells_that_it_cannot_connect_without_file_descriptors)
{
    live_rig rig = live_begin(NULL, NULL);
    server_do(rig.server, "PING", NULL);
    rlim_t before = limit_descriptors(0);
    gavel_outcome outcome = live_increment_impatiently(rig.client, "key");
    unlimit_descriptors(before);
    cr_expect_eq(outcome.status, GAVEL_NOT_SENT, "%s", gavel_status_name(outcome.status));
    cr_expect(live_contains(outcome.message, server_url(rig.server)), "%s", outcome.message);
    cr_expect(live_contains(outcome.message, strerror(EMFILE)), "%s", outcome.message);
    cr_expect(live_is_usable(&rig));
    live_end(&rig);
}

/* With room for none, one, two ... more: each is refused in words, until there are enough. */
Test(client, is_refused_in_words_or_works_with_few_file_descriptors)
{
    test_server *server = server_start(NULL);
    server_do(server, "PING", NULL);
    int n_refused = 0;
    int n_committed = 0;
    for (int n_more = 0; n_more < 12; n_more++) {
        rlim_t before = limit_descriptors(n_more);
        gavel_error error = {{0}};
        gavel_client *client = gavel_open(server_url(server), NULL, &error);
        gavel_outcome outcome = {.status = GAVEL_NOT_SENT};
        if (client != NULL)
            outcome = live_increment_impatiently(client, "key");
        gavel_close(client);
        unlimit_descriptors(before);
        const char *words = client != NULL ? outcome.message : error.message;
        if (outcome.status == GAVEL_COMMITTED)
            n_committed++;
        else if (outcome.status == GAVEL_NOT_SENT && strlen(words) > 0)
            n_refused++;
        else
            cr_expect_fail("%d: %s \"%s\"", n_more, gavel_status_name(outcome.status), words);
    }
    cr_expect_gt(n_refused, 1);
    cr_expect_gt(n_committed, 1);
    cr_expect_eq(server_int(server, "GET", "key", NULL), n_committed);
    server_stop(server);
}
