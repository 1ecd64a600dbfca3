/*
 * Peers that cannot serve: none at all, silent ones, too old ones, ones that refuse or talk
 * nonsense. The caller is told which server it was and what it said.
 */
#include "tools.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define KEY GAVEL_STR("key")

/* Runs one transaction; it must end with that status, and its message name the URL. */
static gavel_outcome fail_at(const char *url, const gavel_config *config, gavel_status status)
{
    gavel_client *client = live_open(url, config);
    gavel_outcome outcome = live_increment_impatiently(client, "key");
    cr_expect_eq(
        outcome.status, status, "%s: %s", gavel_status_name(outcome.status), outcome.message);
    cr_expect(live_contains(outcome.message, url), "%s: %s", url, outcome.message);
    cr_expect_eq(outcome.n_attempts, 0);
    gavel_close(client);
    return outcome;
}

/* ---- Nobody there --------------------------------------------------------------------------- */

/* And as soon as there is a server, the same client works. */
Test(peers, an_unreachable_server_is_named)
{
    live_rig rig = live_begin(&(server_options){.has_tcp = true}, NULL);
    gavel_close(rig.client);
    const char *urls[] = {server_url(rig.server), server_tcp_url(rig.server)};
    for (size_t i = 0; i < 2; i++) {
        rig.client = live_open(urls[i], NULL);
        server_kill(rig.server);
        gavel_outcome outcome = live_increment_impatiently(rig.client, "key");
        cr_expect_eq(outcome.status, GAVEL_NOT_SENT, "%s", gavel_status_name(outcome.status));
        cr_expect(live_contains(outcome.message, urls[i]), "%s", outcome.message);
        cr_expect_eq(outcome.n_faults, 3, "it was tried %u times", outcome.n_faults);
        server_restart(rig.server);
        cr_expect(live_is_usable(&rig));
        gavel_close(rig.client);
    }
    rig.client = NULL;
    live_end(&rig);
}

Test(peers, a_socket_that_is_not_there_is_named)
{
    gavel_outcome outcome = fail_at("unix:///nonexistent/socket", NULL, GAVEL_NOT_SENT);
    cr_expect(live_contains(outcome.message, "No such file"), "%s", outcome.message);
}

/* A label of 64 bytes: the resolver refuses without asking anybody, who may take his time. */
Test(peers, a_host_that_is_not_there_is_named)
{
    char url[96];
    snprintf(url, sizeof(url), "redis://%064d.invalid:1", 0);
    gavel_outcome outcome = fail_at(url, NULL, GAVEL_NOT_SENT);
    cr_expect_gt(strlen(outcome.message), strlen(url) + strlen(": "));
}

/* ---- Silence -------------------------------------------------------------------------------- */

/* A socket in the server's folder that takes connections and never answers. */
static int listen_in_silence(const test_server *server, char *ret_url, size_t size)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s.mute", server_path(server));
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    cr_assert_eq(listen(listener, 64), 0);
    snprintf(ret_url, size, "unix://%s", address.sun_path);
    return listener;
}

Test(peers, a_silent_server_is_named)
{
    test_server *server = server_start(NULL);
    char url[160];
    int listener = listen_in_silence(server, url, sizeof(url));
    gavel_config config = {.connect_timeout_ms = 30};
    gavel_outcome outcome = fail_at(url, &config, GAVEL_NOT_SENT);
    cr_expect(live_contains(outcome.message, "30 ms"), "%s", outcome.message);
    close(listener);
    server_stop(server);
}

Test(peers, a_silent_server_is_named_when_the_deadline_comes_first)
{
    test_server *server = server_start(NULL);
    char url[160];
    int listener = listen_in_silence(server, url, sizeof(url));
    gavel_client *client = live_open(url, &(gavel_config){.connect_timeout_ms = 100000});
    gavel_bytes key = KEY;
    int64_t begin_us = live_now_us();
    gavel_outcome outcome = gavel_run(client, &(gavel_transaction){.body = live_add_one,
                                                  .user = &key,
                                                  .reads = &(gavel_read){.key = key},
                                                  .n_reads = 1,
                                                  .deadline_ms = 100});
    cr_expect_lt(live_now_us() - begin_us, 50000000, "it waited for the time-out");
    cr_expect_eq(outcome.status, GAVEL_DEADLINE, "%s", gavel_status_name(outcome.status));
    cr_expect(live_contains(outcome.message, url), "%s", outcome.message);
    gavel_close(client);
    close(listener);
    server_stop(server);
}

static gavel_verdict pause_server_and_add(gavel_tx *tx, void *user)
{
    server_pause(user);
    gavel_bytes key = KEY;
    return live_add_one(tx, &key);
}

/* Its EXEC left and nobody answers: by the deadline nobody can tell. */
Test(peers, a_server_that_falls_silent_leaves_it_unknown)
{
    live_rig rig = live_begin(NULL, NULL);
    gavel_bytes key = KEY;
    gavel_outcome outcome = gavel_run(rig.client, &(gavel_transaction){.body = pause_server_and_add,
                                                      .user = rig.server,
                                                      .reads = &(gavel_read){.key = key},
                                                      .n_reads = 1,
                                                      .deadline_ms = 800});
    cr_expect_eq(outcome.status, GAVEL_UNKNOWN, "%s", gavel_status_name(outcome.status));
    cr_expect(live_contains(outcome.message, "800 ms"), "%s", outcome.message);
    server_resume(rig.server);
    cr_expect(live_is_usable(&rig));
    live_end(&rig);
}

/* ---- Too old -------------------------------------------------------------------------------- */

#define HELLO_6_0 "*4\r\n$7\r\nversion\r\n$5\r\n6.0.0\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n"

Test(peers, a_server_that_is_too_old_is_told)
{
    const char *const answers[] = {HELLO_6_0 "+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n", NULL};
    fake_server *fake = fake_start(answers, false);
    gavel_outcome outcome = fail_at(fake_url(fake), NULL, GAVEL_NOT_SENT);
    cr_expect(live_contains(outcome.message, "too old: 6.0.0"), "%s", outcome.message);
    cr_expect(live_contains(outcome.message, "6.2"), "%s", outcome.message);
    cr_expect_eq(outcome.n_faults, 0, "trying again cannot help");
    fake_stop(fake);
}

/* Old servers repeat what they do not understand, the password too. */
Test(peers, a_server_that_does_not_know_hello_is_told_without_the_password)
{
    const char *const answers[] = {
        "-ERR unknown command `HELLO`, with args beginning with: `2`, `AUTH`, `u`, `hunter2`, \r\n"
        "+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n",
        "+OK\r\n+OK\r\n$21\r\nredis_version:5.0.14\n\r\n+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n", NULL};
    fake_server *fake = fake_start(answers, false);
    char url[128];
    snprintf(url, sizeof(url), "redis://u:hunter2@%s", fake_url(fake) + strlen("redis://"));
    gavel_client *client = live_open(url, NULL);
    gavel_outcome outcome = live_increment(client, "key");
    cr_expect_not(gavel_is_committed(&outcome));
    cr_expect(live_contains(outcome.message, "too old: 5.0.14"), "%s", outcome.message);
    cr_expect(live_contains(outcome.message, fake_url(fake)), "%s", outcome.message);
    cr_expect_not(live_contains(outcome.message, "hunter2"), "%s", outcome.message);
    gavel_close(client);
    fake_stop(fake);
}

/* ---- Nonsense ------------------------------------------------------------------------------- */

static void expect_nonsense(const char *const *answers, bool hangs_up, const char *words)
{
    fake_server *fake = fake_start(answers, hangs_up);
    gavel_config config = {.connect_timeout_ms = 500, .command_timeout_ms = 500};
    gavel_outcome outcome = fail_at(fake_url(fake), &config, GAVEL_NOT_SENT);
    cr_expect(live_contains(outcome.message, words), "%s", outcome.message);
    bool is_hopeless = strcmp(words, "max_reply_bytes") == 0;
    cr_expect_eq(outcome.n_faults, is_hopeless ? 0 : 3);
    fake_stop(fake);
}

Test(peers, replies_that_make_no_sense_end_the_link)
{
    /* To SET marker, WATCH and GET. */
    static const char *const replies[] = {
        "+OK\r\n+OK\r\n?what\r\n",
        "+OK\r\n+OK\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
        "+OK\r\n+OK\r\n*1000000000\r\n",
        "+OK\r\n+OK\r\n$1000000000\r\n",
        "+OK\r\n+NO\r\n$-1\r\n",
    };
    static const char *const words[] = {"", "", "max_reply_bytes", "no reply", "OK"};
    for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
        const char *const answers[] = {fake_handshake, replies[i], NULL};
        expect_nonsense(answers, false, words[i]);
    }
}

Test(peers, a_reply_cut_short_ends_the_link)
{
    const char *const answers[] = {fake_handshake, "+OK\r\n+OK\r\n$5\r\n12", NULL};
    expect_nonsense(answers, true, "closed");
    const char *const none[] = {NULL};
    expect_nonsense(none, true, " during the login");
    const char *const handshake[] = {"HTTP/1.1 400 Bad Request\r\n\r\n", NULL};
    expect_nonsense(handshake, true, "");
}

/* ---- Refusals ------------------------------------------------------------------------------- */

Test(peers, a_wrong_password_is_told_and_not_shown)
{
    test_server *server = server_start(&(server_options){.has_tcp = true, .password = "hunter2"});
    static const char *const logins[] = {"", ":hunter3@", "nobody:hunter2@"};
    static const char *const words[] = {"NOAUTH", "WRONGPASS", "WRONGPASS"};
    for (size_t i = 0; i < 3; i++) {
        char url[96];
        snprintf(url, sizeof(url), "redis://%s127.0.0.1:%d", logins[i], server_port(server));
        gavel_client *client = live_open(url, NULL);
        gavel_outcome outcome = live_increment(client, "key");
        cr_expect_eq(outcome.status, GAVEL_REJECTED, "%s", gavel_status_name(outcome.status));
        cr_expect(live_contains(outcome.message, words[i]), "%s", outcome.message);
        cr_expect(live_contains(outcome.message, server_tcp_url(server)), "%s", outcome.message);
        cr_expect_not(live_contains(outcome.message, "hunter"), "%s", outcome.message);
        gavel_close(client);
    }
    cr_expect_eq(server_int(server, "EXISTS", "key", NULL), 0);
    server_stop(server);
}

/* The same client, once the server has learned the password. */
Test(peers, a_client_recovers_when_its_login_becomes_valid)
{
    test_server *server = server_start(&(server_options){.has_tcp = true});
    char url[96];
    snprintf(url, sizeof(url), "redis://bob:hunter2@127.0.0.1:%d", server_port(server));
    live_rig rig = {server, live_open(url, NULL)};
    gavel_outcome outcome = live_increment(rig.client, "key");
    cr_expect_eq(outcome.status, GAVEL_REJECTED, "%s", gavel_status_name(outcome.status));
    server_do(server, "ACL", "SETUSER", "bob", "on", ">hunter2", "~*", "&*", "+@all", NULL);
    cr_expect(live_is_usable(&rig));
    live_end(&rig);
}

static size_t count_refused_logins(test_server *server)
{
    redisReply *log = server_command(server, "ACL", "LOG", NULL);
    size_t n_entries = log->elements;
    freeReplyObject(log);
    return n_entries;
}

/*
 * The first transaction's time runs out while the server stands still; it then refuses a login that
 * nobody waits for any more. The next one came when the login had become valid.
 */
Test(peers, a_refusal_from_before_a_transaction_is_not_told_to_it)
{
    test_server *server = server_start(&(server_options){.has_tcp = true});
    char url[96];
    snprintf(url, sizeof(url), "redis://bob:hunter2@127.0.0.1:%d", server_port(server));
    gavel_config config = {.connect_timeout_ms = 100000};
    live_rig rig = {server, live_open(url, &config)};
    gavel_bytes key = KEY;
    server_pause(server);
    gavel_outcome outcome = gavel_run(rig.client, &(gavel_transaction){.body = live_add_one,
                                                      .user = &key,
                                                      .reads = &(gavel_read){.key = key},
                                                      .n_reads = 1,
                                                      .deadline_ms = 800});
    cr_expect_eq(outcome.status, GAVEL_DEADLINE, "%s", gavel_status_name(outcome.status));
    server_resume(server);
    while (count_refused_logins(server) == 0)
        continue;
    server_do(server, "ACL", "SETUSER", "bob", "on", ">hunter2", "~*", "&*", "+@all", NULL);
    outcome = live_increment(rig.client, "key");
    cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
    live_end(&rig);
}

Test(peers, a_user_who_may_not_use_multi_is_refused_at_once)
{
    const char *const args[] = {
        "--user", "bob", "on", "nopass", "~*", "&*", "+@all", "-multi", NULL};
    test_server *server = server_start(&(server_options){.has_tcp = true, .args = args});
    char url[96];
    snprintf(url, sizeof(url), "redis://bob@127.0.0.1:%d", server_port(server));
    gavel_client *client = live_open(url, NULL);
    gavel_outcome outcome = live_increment(client, "key");
    cr_expect_eq(outcome.status, GAVEL_REJECTED, "%s", gavel_status_name(outcome.status));
    cr_expect(live_contains(outcome.message, "MULTI"), "%s", outcome.message);
    cr_expect(live_contains(outcome.message, "NOPERM"), "%s", outcome.message);
    cr_expect_eq(server_int(server, "EXISTS", "key", NULL), 0);
    gavel_close(client);
    server_stop(server);
}

/* ---- Rights that go while a body runs ------------------------------------------------------- */

typedef struct change {
    test_server *server;
    const char *words[4]; /* of ACL */
} change;

static gavel_verdict change_rights(gavel_tx *tx, void *user)
{
    const change *self = user;
    if (gavel_attempt(tx) == 0) {
        server_do(self->server, "ACL", self->words[0], self->words[1], self->words[2],
            self->words[3], NULL);
        /* Whoever was thrown out is gone when the server gets to its next command. */
        server_do(self->server, "PING", NULL);
    }
    gavel_bytes key = KEY;
    return live_add_one(tx, &key);
}

static gavel_outcome run_as_bob(change *self, int64_t *ret_value)
{
    const char *const args[] = {"--user", "bob", "on", "nopass", "~*", "&*", "+@all", NULL};
    self->server = server_start(&(server_options){.has_tcp = true, .args = args});
    char url[96];
    snprintf(url, sizeof(url), "redis://bob@127.0.0.1:%d", server_port(self->server));
    live_rig rig = {self->server, live_open(url, NULL)};
    gavel_outcome outcome = gavel_run(rig.client, &(gavel_transaction){.body = change_rights,
                                                      .user = self,
                                                      .reads = &(gavel_read){.key = KEY},
                                                      .n_reads = 1,
                                                      .deadline_ms = 2000});
    gavel_stats stats;
    gavel_read_stats(rig.client, &stats);
    cr_expect_lt(stats.n_links_down, 100, "%d dials", (int)stats.n_links_down);
    *ret_value = server_int(self->server, "GET", "key", NULL);
    server_do(self->server, "ACL", "SETUSER", "bob", "on", "nopass", "~*", "&*", "+@all", NULL);
    cr_expect(live_is_usable(&rig));
    live_end(&rig);
    return outcome;
}

Test(peers, a_write_that_is_no_longer_allowed_is_rejected)
{
    int64_t value = 0;
    change rights = {.words = {"SETUSER", "bob", "-set"}};
    gavel_outcome outcome = run_as_bob(&rights, &value);
    cr_expect_eq(outcome.status, GAVEL_REJECTED, "%s", gavel_status_name(outcome.status));
    cr_expect(live_contains(outcome.message, "NOPERM"), "%s", outcome.message);
    cr_expect_eq(value, -1);
}

Test(peers, an_exec_that_is_no_longer_allowed_is_rejected)
{
    int64_t value = 0;
    change rights = {.words = {"SETUSER", "bob", "-exec"}};
    gavel_outcome outcome = run_as_bob(&rights, &value);
    cr_expect_eq(outcome.status, GAVEL_REJECTED, "%s", gavel_status_name(outcome.status));
    cr_expect_eq(value, -1);
}

/* The writes run bare then; that must never be called a commit, nor "not written". */
Test(peers, a_multi_that_is_no_longer_allowed_is_unknown)
{
    int64_t value = 0;
    change rights = {.words = {"SETUSER", "bob", "-multi"}};
    gavel_outcome outcome = run_as_bob(&rights, &value);
    cr_expect_eq(outcome.status, GAVEL_UNKNOWN, "%s", gavel_status_name(outcome.status));
    cr_expect(live_contains(outcome.message, "MULTI"), "%s", outcome.message);
    cr_expect_eq(value, 1);
}

Test(peers, a_user_that_is_deleted_is_rejected)
{
    int64_t value = 0;
    change rights = {.words = {"DELUSER", "bob"}};
    gavel_outcome outcome = run_as_bob(&rights, &value);
    cr_expect_eq(value, -1);
    /* EXEC may have been handed to the kernel after the server closed: then nobody can ask. */
    cr_expect(outcome.status == GAVEL_REJECTED || outcome.status == GAVEL_UNKNOWN, "%s: %s",
        gavel_status_name(outcome.status), outcome.message);
}

/* ---- Large replies -------------------------------------------------------------------------- */

#define LARGE_BYTES 100000

static void set_large(test_server *server)
{
    static char value[LARGE_BYTES];
    memset(value, 'x', sizeof(value));
    gavel_bytes set[] = {GAVEL_STR("SET"), GAVEL_STR("large"), {value, sizeof(value)}};
    freeReplyObject(server_command_bytes(server, set, 3));
}

static gavel_verdict read_large(gavel_tx *tx, void *user)
{
    size_t *size = user;
    gavel_bytes value = {NULL, 0};
    gavel_get(tx, GAVEL_STR("large"), &value);
    *size = value.size;
    return GAVEL_COMMIT;
}

Test(peers, a_reply_over_the_limit_is_told)
{
    test_server *server = server_start(NULL);
    set_large(server);
    size_t limits[] = {LARGE_BYTES / 2, LARGE_BYTES - 1, 2 * LARGE_BYTES};
    for (size_t i = 0; i < 3; i++) {
        gavel_config config = {.max_reply_bytes = limits[i]};
        live_rig rig = {server, live_open(server_url(server), &config)};
        size_t size = 0;
        gavel_outcome outcome =
            gavel_run(rig.client, &(gavel_transaction){.body = read_large,
                                      .user = &size,
                                      .reads = &(gavel_read){.key = GAVEL_STR("large")},
                                      .n_reads = 1});
        bool fits = limits[i] > LARGE_BYTES;
        cr_expect_eq(
            outcome.status, fits ? GAVEL_COMMITTED : GAVEL_NOT_SENT, "%s", outcome.message);
        cr_expect_eq(size, fits ? LARGE_BYTES : 0);
        cr_expect(fits || live_contains(outcome.message, "max_reply_bytes"), "%s", outcome.message);
        cr_expect(fits || live_contains(outcome.message, server_url(server)));
        cr_expect(fits || live_contains(outcome.message, "GET \"large\""), "%s", outcome.message);
        cr_expect(live_is_usable(&rig));
        gavel_close(rig.client);
    }
    server_stop(server);
}

static gavel_verdict take_large_away(gavel_tx *tx, void *user)
{
    (void)user;
    gavel_command take = GAVEL_COMMAND(GAVEL_STR("GETDEL"), GAVEL_STR("large"));
    gavel_write(tx, &take);
    return GAVEL_COMMIT;
}

/* It is EXEC's reply that is too large: the transaction was made, and the marker tells. */
Test(peers, a_reply_to_exec_over_the_limit_is_settled_by_the_marker)
{
    gavel_config config = {.max_reply_bytes = LARGE_BYTES / 2};
    live_rig rig = live_begin(NULL, &config);
    set_large(rig.server);
    gavel_outcome outcome = gavel_run(rig.client,
        &(gavel_transaction){
            .body = take_large_away, .keys = (gavel_bytes[]){GAVEL_STR("large")}, .n_keys = 1});
    cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
    cr_expect(outcome.is_from_marker);
    cr_expect_eq(server_int(rig.server, "EXISTS", "large", NULL), 0);
    cr_expect(live_is_usable(&rig));
    live_end(&rig);
}
