/*
 * Logins and permissions: no password, a wrong one, one that was changed; a user without a command
 * that gavel or a body needs, from the start or suddenly. What is refused is told in the server's
 * words, without the password, and nothing is taken for done that was not.
 */
#include "doubt.h"

#include <ev.h>

#include <stdio.h>

/* EXEC has to leave before the deadline, on a busy machine too. */
static const gavel_transaction hasty = {.deadline_ms = 800};

/* What gavel and the counter need of a server, and what the tests need to look at it. */
#define RESTRICT(user)                                                                             \
    "ACL", "SETUSER", user, "on", "resetkeys", "~*", "-@all", "+acl", "+hello", "+auth", "+watch", \
        "+unwatch", "+multi", "+exec", "+set", "+get", "+incr", "+pexpire"

/* A client's login, and all that it says. */
typedef struct login_rig {
    test_server *server;
    gavel_client *client;
    char said[16384];
} login_rig;

static void hear(login_rig *rig, const char *words)
{
    size_t size = strlen(rig->said);
    snprintf(rig->said + size, sizeof(rig->said) - size, "%s\n", words);
}

static void hear_log(gavel_log_level level, const char *line, void *user)
{
    (void)level;
    hear(user, line);
}

static void hear_event(const gavel_event *event, void *user)
{
    hear(user, event->message);
}

/* Through the port. `login` is "user:password@" or "". */
static void open_with(login_rig *rig, const char *login)
{
    char url[128];
    snprintf(url, sizeof(url), "redis://%s127.0.0.1:%d", login, server_port(rig->server));
    gavel_config config = {.hooks = {.on_log = hear_log, .on_event = hear_event, .user = rig}};
    rig->client = live_open(url, &config);
}

/* With a user "ann", whose password is "old-secret". */
static void begin(login_rig *rig, const char *login)
{
    rig->said[0] = '\0';
    rig->server = server_start(&(server_options){.has_tcp = true});
    server_do(rig->server, RESTRICT("ann"), ">old-secret", (char *)NULL);
    open_with(rig, login);
}

static void end(login_rig *rig)
{
    gavel_close(rig->client);
    cr_assert_null(strstr(rig->said, "secret"), "%s", rig->said);
    server_stop(rig->server);
}

/* REJECTED at once, with the reason, without the password, and nothing written. */
static void assert_rejected(login_rig *rig, const char *reason, long long value)
{
    gavel_outcome outcome = counter_run(rig->client, NULL, doubt_plain);
    hear(rig, outcome.message);
    ASSERT_TOLD(outcome, GAVEL_REJECTED);
    ASSERT_SAYS(outcome, reason);
    cr_assert_eq(counter_value(rig->server), value);
}

/* And the next transaction begins by reading. */
static void assert_committed(login_rig *rig, long long value)
{
    ASSERT_TOLD(counter_run(rig->client, NULL, doubt_plain), GAVEL_COMMITTED);
    cr_assert_eq(counter_value(rig->server), value);
    counter_forget(rig->client);
}

/* ---- Passwords ----------------------------------------------------------------------------- */

Test(logins, the_right_password)
{
    login_rig rig;
    begin(&rig, "ann:old-secret@");
    assert_committed(&rig, 1);
    end(&rig);
}

Test(logins, no_password)
{
    login_rig rig;
    begin(&rig, "");
    server_do(rig.server, "CONFIG", "SET", "requirepass", "open-secret", (char *)NULL);
    assert_rejected(&rig, "NOAUTH", 0);
    end(&rig);
}

Test(logins, a_wrong_password)
{
    login_rig rig;
    begin(&rig, "ann:wrong-secret@");
    assert_rejected(&rig, "WRONGPASS", 0);
    end(&rig);
}

/* A link that is logged in stays so; a new one needs the new password. */
Test(logins, the_password_was_changed)
{
    login_rig rig;
    begin(&rig, "ann:old-secret@");
    assert_committed(&rig, 1);
    server_do(rig.server, "ACL", "SETUSER", "ann", "resetpass", ">new-secret", (char *)NULL);
    assert_committed(&rig, 2);
    server_do(rig.server, "CLIENT", "KILL", "USER", "ann", (char *)NULL);
    assert_rejected(&rig, "WRONGPASS", 2);
    server_do(rig.server, "ACL", "SETUSER", "ann", ">old-secret", (char *)NULL);
    assert_committed(&rig, 3);
    end(&rig);
}

Test(logins, the_user_was_deleted)
{
    login_rig rig;
    begin(&rig, "ann:old-secret@");
    assert_committed(&rig, 1);
    server_do(rig.server, "ACL", "DELUSER", "ann", (char *)NULL);
    assert_rejected(&rig, "WRONGPASS", 1);
    end(&rig);
}

static void delete_user(void *context)
{
    server_do(context, "ACL", "DELUSER", "ann", (char *)NULL);
}

/* Its EXEC may have left before the loss was noticed: then nobody is left who may ask. */
Test(logins, the_user_was_deleted_before_exec)
{
    login_rig rig;
    begin(&rig, "ann:old-secret@");
    live_counter counter = {.meddle = delete_user, .context = rig.server};
    gavel_outcome outcome = counter_run(rig.client, &counter, hasty);
    cr_assert(outcome.status == GAVEL_REJECTED || outcome.status == GAVEL_UNKNOWN);
    cr_assert_eq(counter_value(rig.server), 0);
    cr_assert_eq(outcome.n_attempts, 1);
    gavel_stats stats;
    gavel_read_stats(rig.client, &stats);
    cr_assert_leq(stats.n_links_down, 20, "%u links", (unsigned)stats.n_links_down);
    end(&rig);
}

/* A socket's server may demand a login, too: in the URL, or beside it. */
Test(logins, a_socket_with_a_password)
{
    char url[256];
    login_rig rig;
    begin(&rig, "ann:old-secret@");
    gavel_close(rig.client);
    server_do(rig.server, "CONFIG", "SET", "requirepass", "open-secret", (char *)NULL);
    snprintf(url, sizeof(url), "unix://ann:old-secret@%s", server_path(rig.server));
    rig.client = live_open(url, NULL);
    assert_committed(&rig, 1);
    gavel_close(rig.client);
    rig.client = live_open(server_url(rig.server), &(gavel_config){.password = "open-secret"});
    assert_committed(&rig, 2);
    gavel_close(rig.client);
    rig.client = live_open(
        server_url(rig.server), &(gavel_config){.user = "ann", .password = "wrong-secret"});
    assert_rejected(&rig, "WRONGPASS", 2);
    end(&rig);
}

/* ---- Without HELLO -------------------------------------------------------------------------- */

/* AUTH does it, SELECT and INFO; every later link, too. */
Test(logins, hello_was_renamed)
{
    login_rig rig = {.said = ""};
    const char *args[] = {"--rename-command", "HELLO", "", NULL};
    rig.server = server_start(&(server_options){.has_tcp = true, .args = args});
    server_do(rig.server, RESTRICT("ann"), "+select", "+info", ">old-secret", (char *)NULL);
    open_with(&rig, "ann:old-secret@");
    assert_committed(&rig, 1);
    cr_assert_not_null(
        strstr(rig.said, "logged in by AUTH, since the server refuses HELLO\n"), "%s", rig.said);
    server_do(rig.server, "CLIENT", "KILL", "USER", "ann", (char *)NULL);
    assert_committed(&rig, 2);
    gavel_close(rig.client);
    open_with(&rig, "ann:wrong-secret@");
    assert_rejected(&rig, "(AUTH) as \"ann\": WRONGPASS", 2);
    end(&rig);
}

/* ---- Permissions --------------------------------------------------------------------------- */

/* Without the command from the start, and from the second transaction on. */
static void run_without(const char *rule, const char *at_first, const char *later)
{
    login_rig rig;
    begin(&rig, "ann:old-secret@");
    server_do(rig.server, "ACL", "SETUSER", "ann", rule, (char *)NULL);
    assert_rejected(&rig, at_first, 0);
    end(&rig);
    begin(&rig, "ann:old-secret@");
    assert_committed(&rig, 1);
    server_do(rig.server, "ACL", "SETUSER", "ann", rule, (char *)NULL);
    assert_rejected(&rig, later, 1);
    server_do(rig.server, RESTRICT("ann"), (char *)NULL);
    assert_committed(&rig, 2);
    end(&rig);
}

Test(logins, may_not_watch)
{
    run_without("-watch", "'watch'", "'watch'");
}

Test(logins, may_not_read)
{
    run_without("-get", "'get'", "'get'");
}

Test(logins, may_not_write)
{
    run_without("-set", "'set'", "'set'");
}

Test(logins, may_not_count_the_marker)
{
    run_without("-incr", "'incr'", "'incr'");
}

Test(logins, may_not_exec)
{
    run_without("-exec", "'exec'", "'exec'");
}

Test(logins, may_not_touch_the_key)
{
    login_rig rig;
    begin(&rig, "ann:old-secret@");
    server_do(rig.server, "ACL", "SETUSER", "ann", "resetkeys", "~gavel:*", (char *)NULL);
    assert_rejected(&rig, "NOPERM", 0);
    end(&rig);
}

Test(logins, may_not_touch_the_marker)
{
    login_rig rig;
    begin(&rig, "ann:old-secret@");
    server_do(rig.server, "ACL", "SETUSER", "ann", "resetkeys", "~counter", (char *)NULL);
    assert_rejected(&rig, "marker", 0);
    end(&rig);
}

/* The probe finds out before any write could run bare. */
Test(logins, may_not_begin_a_transaction)
{
    login_rig rig;
    begin(&rig, "ann:old-secret@");
    server_do(rig.server, "ACL", "SETUSER", "ann", "-multi", (char *)NULL);
    assert_rejected(&rig, "MULTI", 0);
    end(&rig);
}

/* After the probe: the writes behind a refused MULTI take effect by themselves, as gavel says. */
Test(logins, may_suddenly_not_begin_a_transaction)
{
    login_rig rig;
    begin(&rig, "ann:old-secret@");
    assert_committed(&rig, 1);
    server_do(rig.server, "ACL", "SETUSER", "ann", "-multi", (char *)NULL);
    gavel_outcome outcome = counter_run(rig.client, NULL, doubt_plain);
    ASSERT_TOLD(outcome, GAVEL_UNKNOWN);
    ASSERT_SAYS(outcome, "MULTI");
    cr_assert_eq(outcome.n_attempts, 1);
    cr_assert_eq(counter_value(rig.server), 2);
    assert_rejected(&rig, "MULTI", 2);
    end(&rig);
}

/* ---- In doubt ------------------------------------------------------------------------------ */

Test(logins, what_gavel_needs_is_enough_in_doubt)
{
    doubt_plan plan = {.action = RELAY_LOSE_REPLY};
    doubt_rig rig = doubt_begin(doubt_follow, &plan, NULL);
    server_do(rig.server, RESTRICT("default"), (char *)NULL);
    gavel_outcome outcome = counter_run(rig.client, NULL, doubt_plain);
    ASSERT_TOLD(outcome, GAVEL_COMMITTED);
    cr_assert(outcome.is_from_marker);
    doubt_goes_on(&rig, 1);
    doubt_end(&rig);
}

/* Without PEXPIRE a marker that holds the old number does not rule a late EXEC out. */
Test(logins, may_not_forestall_a_late_exec)
{
    doubt_plan plan = {.action = RELAY_LATE};
    doubt_rig rig = doubt_begin(doubt_follow, &plan, NULL);
    server_do(rig.server, RESTRICT("default"), "-pexpire", (char *)NULL);
    gavel_outcome outcome = counter_run(rig.client, NULL, hasty);
    ASSERT_TOLD(outcome, GAVEL_UNKNOWN);
    cr_assert_eq(relay_deliver(rig.relay), 1);
    doubt_goes_on(&rig, 1);
    doubt_end(&rig);
}

/* ---- Between queueing and EXEC ------------------------------------------------------------- */

typedef struct login_change {
    test_server *server;
    const char *rule;
} login_change;

static relay_action change_at_exec(test_relay *relay, const relay_command *command, void *user)
{
    (void)relay;
    const login_change *change = user;
    if (relay_is_exec(command))
        server_do(change->server, "ACL", "SETUSER", "default", change->rule, (char *)NULL);
    return RELAY_PASS;
}

static gavel_verdict write_twice(gavel_tx *tx, void *user)
{
    live_counter counter = {.n_runs = 0};
    (void)user;
    gavel_hset_int(tx, GAVEL_STR("hash"), GAVEL_STR("field"), 1);
    return counter_add(tx, &counter);
}

/* A body with HSET and SET; what its EXEC comes to when a rule is changed before it. */
static gavel_outcome run_change(const char *rule, long long value, bool is_hash_there)
{
    login_change change = {.rule = rule};
    doubt_rig rig = doubt_begin(change_at_exec, &change, NULL);
    change.server = rig.server;
    gavel_bytes key = GAVEL_STR("hash");
    gavel_outcome outcome =
        gavel_run(rig.client, &(gavel_transaction){.body = write_twice,
                                  .keys = &key,
                                  .n_keys = 1,
                                  .reads = &(gavel_read){.key = GAVEL_STR("counter")},
                                  .n_reads = 1});
    cr_assert_eq(counter_value(rig.server), value);
    cr_assert_eq(server_int(rig.server, "EXISTS", "hash", (char *)NULL), is_hash_there);
    doubt_end(&rig);
    return outcome;
}

/* The server runs the rest of the transaction all the same. */
Test(logins, a_write_is_forbidden_after_queueing)
{
    gavel_outcome outcome = run_change("-hset", 1, false);
    ASSERT_TOLD(outcome, GAVEL_COMMITTED_WITH_ERRORS);
    ASSERT_SAYS(outcome, "write 1 of 2");
    ASSERT_SAYS(outcome, "NOPERM");
    outcome = run_change("-set", 0, true);
    ASSERT_TOLD(outcome, GAVEL_COMMITTED_WITH_ERRORS);
    ASSERT_SAYS(outcome, "write 2 of 2");
}

Test(logins, exec_is_forbidden_after_queueing)
{
    gavel_outcome outcome = run_change("-exec", 0, false);
    ASSERT_TOLD(outcome, GAVEL_REJECTED);
    ASSERT_SAYS(outcome, "NOPERM");
}

/* The writes were made; only a lost reply could not have been resolved. */
Test(logins, the_marker_is_forbidden_after_queueing)
{
    ASSERT_TOLD(run_change("-incr", 1, true), GAVEL_COMMITTED);
}

/* ---- Several in one round ------------------------------------------------------------------ */

#define N_MEMBERS 5
#define OFFENDER 2 /* this one's command is refused */

typedef struct login_member {
    bool is_offender;
    unsigned n_told;
    gavel_outcome outcome;
} login_member;

static gavel_verdict add_or_offend(gavel_tx *tx, void *user)
{
    const login_member *member = user;
    live_counter counter = {.n_runs = 0};
    if (member->is_offender)
        gavel_del(tx, GAVEL_STR("counter"));
    return counter_add(tx, &counter);
}

static void on_done(const gavel_outcome *outcome, void *user)
{
    login_member *member = user;
    member->outcome = *outcome;
    member->n_told++;
}

/* The one whose command is refused is told; the others run again without it. */
Test(logins, one_of_several_may_not_write)
{
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    live_rig rig = live_begin(NULL, &(gavel_config){.loop = loop});
    server_do(rig.server, "ACL", "SETUSER", "default", "-del", (char *)NULL);
    login_member members[N_MEMBERS] = {[OFFENDER] = {.is_offender = true}};
    for (size_t i = 0; i < N_MEMBERS; i++) {
        gavel_transaction transaction = {.body = add_or_offend,
            .user = &members[i],
            .reads = &(gavel_read){.key = GAVEL_STR("counter")},
            .n_reads = 1};
        cr_assert_neq(gavel_submit(rig.client, &transaction, on_done), 0);
    }
    ev_run(loop, 0);
    for (size_t i = 0; i < N_MEMBERS; i++) {
        cr_assert_eq(members[i].n_told, 1);
        ASSERT_TOLD(members[i].outcome, i == OFFENDER ? GAVEL_REJECTED : GAVEL_COMMITTED);
    }
    ASSERT_SAYS(members[OFFENDER].outcome, "write 1 of 2");
    ASSERT_SAYS(members[OFFENDER].outcome, "'del'");
    cr_assert_eq(counter_value(rig.server), N_MEMBERS - 1);
    live_end(&rig);
    ev_loop_destroy(loop);
}
