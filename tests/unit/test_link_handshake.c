/*
 * Links, until they are up: dialling, what the handshake says, and each way to be refused.
 */
#include "link_peer.h"

TestSuite(link_handshake, .init = set_up, .fini = tear_down);

/* ---- The handshake -------------------------------------------------------------------------- */

Test(link_handshake, the_shortest_handshake)
{
    cr_assert(create());
    cr_expect_eq(gavel__link_fd(it.link), -1);
    connect_link(GAVEL_STR(""));
    cr_expect_eq(gavel__link_fd(it.link), 42);
    cr_expect_eq(gavel__link_get_state(it.link), GAVEL__LINK_HANDSHAKE);
    expect_sent("*2\r\n$5\r\nHELLO\r\n$1\r\n2\r\n*1\r\n$5\r\nMULTI\r\n*1\r\n$4\r\nEXEC\r\n");
    cr_expect_eq(gavel__link_get_counters(it.link)->n_sends, 1);
}

Test(link_handshake, the_longest_handshake)
{
    static char user[] = "bob";
    static char password[] = "p w";
    it.address.user = user;
    it.address.password = password;
    it.address.database = 12;
    it.config.name = "me";
    it.config.marker_ttl_us = 5000000;
    cr_assert(create());
    connect_link((gavel_bytes){"m\0k", 3});
    const char handshake[] =
        "*7\r\n$5\r\nHELLO\r\n$1\r\n2\r\n$4\r\nAUTH\r\n$3\r\nbob\r\n$3\r\np w\r\n"
        "$7\r\nSETNAME\r\n$2\r\nme\r\n"
        "*2\r\n$6\r\nSELECT\r\n$2\r\n12\r\n"
        "*1\r\n$5\r\nMULTI\r\n"
        "*5\r\n$3\r\nSET\r\n$3\r\nm\0k\r\n$1\r\n0\r\n$2\r\nPX\r\n$4\r\n5000\r\n"
        "*1\r\n$4\r\nEXEC\r\n";
    cr_assert_eq(peer.n_sent, sizeof(handshake) - 1);
    cr_expect_arr_eq(peer.sent, handshake, peer.n_sent);
    say(HELLO "+OK\r\n" MARKER_PROBE);
    be_readable();
    cr_expect_str_eq(seen.log, "UP ");
}

Test(link_handshake, a_login_of_half)
{
    static char word[] = "w";
    static const char *const logins[] = {
        "$4\r\nAUTH\r\n$7\r\ndefault\r\n$1\r\nw\r\n", "$4\r\nAUTH\r\n$1\r\nw\r\n$0\r\n\r\n"};
    for (int i = 0; i < 2; i++) {
        it.address.password = i == 0 ? word : NULL;
        it.address.user = i == 0 ? NULL : word;
        peer.n_sent = 0;
        cr_assert(create());
        connect_link(GAVEL_STR(""));
        peer.sent[peer.n_sent] = '\0';
        cr_expect(has(peer.sent, logins[i]), "%s", peer.sent);
        gavel__link_destroy(it.link);
    }
    it.link = NULL;
}

Test(link_handshake, a_sentinel_is_only_greeted)
{
    it.config.kind = GAVEL__LINK_TO_SENTINEL;
    it.address.database = 3;
    cr_assert(create());
    connect_link(GAVEL_STR("m"));
    expect_sent("*2\r\n$5\r\nHELLO\r\n$1\r\n2\r\n");
    say(HELLO_REPLY("$5\r\n6.0.0\r\n", "$8\r\nsentinel\r\n", "$-1\r\n"));
    be_readable();
    cr_expect_str_eq(seen.log, "UP ");
}

Test(link_handshake, what_is_no_sentinel_is_not_asked)
{
    it.config.kind = GAVEL__LINK_TO_SENTINEL;
    cr_assert(create());
    connect_link(GAVEL_STR(""));
    say(HELLO);
    be_readable();
    cr_expect(has(seen.loss.message, "this is a plain server, no Sentinel: redis:// is for it"),
        "%s", seen.loss.message);
    cr_expect(seen.loss.is_final);
    connect_link(GAVEL_STR(""));
    say(HELLO_REPLY("$5\r\n7.0.0\r\n", "$7\r\ncluster\r\n", "$6\r\nmaster\r\n"));
    be_readable();
    cr_expect(has(seen.loss.message, "this is a node of a Redis Cluster, no Sentinel: "
                                     "redis+cluster:// is for it"),
        "%s", seen.loss.message);
    cr_expect(seen.loss.is_final);
}

Test(link_handshake, a_node_of_a_cluster_is_one_of_whatever_role)
{
    it.config.kind = GAVEL__LINK_TO_NODE;
    it.address.database = 0;
    cr_assert(create());
    connect_link(GAVEL_STR(""));
    say(HELLO_REPLY("$5\r\n7.0.0\r\n", "$7\r\ncluster\r\n", "$7\r\nreplica\r\n") PROBE);
    be_readable();
    cr_expect_str_eq(seen.log, "UP ", "%s", seen.loss.message);
}

Test(link_handshake, a_replica_is_one_and_gets_no_marker)
{
    it.config.kind = GAVEL__LINK_TO_REPLICA;
    cr_assert(create());
    connect_link(GAVEL_STR(""));
    say(HELLO_REPLY("$5\r\n7.0.0\r\n", "$10\r\nstandalone\r\n", "$7\r\nreplica\r\n") PROBE);
    be_readable();
    cr_expect_str_eq(seen.log, "UP ", "%s", seen.loss.message);
}

Test(link_handshake, what_is_no_replica_may_become_one)
{
    it.config.kind = GAVEL__LINK_TO_REPLICA;
    cr_assert(create());
    connect_link(GAVEL_STR(""));
    say(HELLO);
    be_readable();
    cr_expect(has(seen.loss.message, "this is no replica"), "%s", seen.loss.message);
    cr_expect_not(seen.loss.is_final);
}

Test(link_handshake, what_is_no_node_is_not_spoken_to)
{
    it.config.kind = GAVEL__LINK_TO_NODE;
    cr_assert(create());
    connect_link(GAVEL_STR(""));
    say(HELLO);
    be_readable();
    cr_expect(
        has(seen.loss.message, "this is no node of a Redis Cluster"), "%s", seen.loss.message);
    cr_expect(seen.loss.is_final);
}

Test(link_handshake, a_sentinel_that_is_taken_for_a_node_says_so)
{
    it.config.kind = GAVEL__LINK_TO_NODE;
    cr_assert(create());
    connect_link(GAVEL_STR(""));
    say(HELLO_REPLY("$5\r\n7.0.0\r\n", "$8\r\nsentinel\r\n", "$-1\r\n"));
    be_readable();
    cr_expect(has(seen.loss.message, "this is a Sentinel"), "%s", seen.loss.message);
    cr_expect(seen.loss.is_final);
}

/* Both halves of a marker are needed: its key and a time to live. */
Test(link_handshake, no_marker_without_time_to_live)
{
    cr_assert(create());
    connect_link(GAVEL_STR("m"));
    peer.sent[peer.n_sent] = '\0';
    cr_expect_not(has(peer.sent, "SET"));
}

Test(link_handshake, the_handshake_is_not_counted)
{
    cr_assert(create());
    connect_link(GAVEL_STR(""));
    cr_expect_eq(gavel__link_n_sent_bytes(it.link), 0);
    say(HELLO PROBE);
    be_readable();
    cr_expect_eq(gavel__link_n_sent_bytes(it.link), 0);
    cr_expect_eq(gavel__link_due_us(it.link), GAVEL__NEVER);
}

Test(link_handshake, a_handshake_that_the_kernel_takes_byte_by_byte)
{
    peer.send_room = 0;
    cr_assert(create());
    connect_link(GAVEL_STR(""));
    for (int i = 0; gavel__link_wants_write(it.link); i++) {
        cr_assert_lt(i, 1000);
        peer.send_room = 1;
        gavel__link_on_ready(it.link, false, true, START_US);
    }
    expect_sent("*2\r\n$5\r\nHELLO\r\n$1\r\n2\r\n*1\r\n$5\r\nMULTI\r\n*1\r\n$4\r\nEXEC\r\n");
}

typedef struct refusal {
    const char *replies;
    bool is_final;
    const char *message; /* behind the label */
    const char *server_error;
} refusal;

static const refusal refusals[] = {
    {HELLO_REPLY("$6\r\n6.0.16\r\n", "$10\r\nstandalone\r\n", "$6\r\nmaster\r\n"), true,
        "too old: 6.0.16, gavel needs 6.2.5 or newer", ""},
    {HELLO_REPLY("$6\r\n5.9.99\r\n", "$10\r\nstandalone\r\n", "$6\r\nmaster\r\n"), true,
        "too old: 5.9.99, gavel needs 6.2.5 or newer", ""},
    {HELLO_REPLY("$5\r\n6.2.4\r\n", "$10\r\nstandalone\r\n", "$6\r\nmaster\r\n"), true,
        "too old: 6.2.4, gavel needs 6.2.5 or newer", ""},
    {HELLO_REPLY("$3\r\n6.2\r\n", "$10\r\nstandalone\r\n", "$6\r\nmaster\r\n"), true,
        "too old: 6.2, gavel needs 6.2.5 or newer", ""},
    {HELLO_REPLY("$1\r\nx\r\n", "$10\r\nstandalone\r\n", "$6\r\nmaster\r\n"), true,
        "the server does not tell its version", ""},
    {HELLO_REPLY("$2\r\n7.\r\n", "$10\r\nstandalone\r\n", "$6\r\nmaster\r\n"), true,
        "the server does not tell its version", ""},
    {HELLO_REPLY("$-1\r\n", "$10\r\nstandalone\r\n", "$6\r\nmaster\r\n"), true,
        "the server does not tell its version", ""},
    {"*0\r\n", true, "the server does not tell its version", ""},
    {"+OK\r\n", false, "the reply to HELLO is not an array", ""},
    {HELLO_REPLY("$5\r\n7.2.0\r\n", "$7\r\ncluster\r\n", "$6\r\nmaster\r\n"), true,
        "this is a node of a Redis Cluster: redis+cluster://host,host goes to all of them", ""},
    {HELLO_REPLY("$5\r\n7.2.0\r\n", "$8\r\nsentinel\r\n", "$-1\r\n"), true,
        "this is a Sentinel, which keeps no data: redis+sentinel://host,host/NAME goes to its "
        "primary",
        ""},
    {HELLO_REPLY("$5\r\n7.2.0\r\n", "$10\r\nstandalone\r\n", "$7\r\nreplica\r\n"), false,
        "this is a replica, which takes no writes", ""},
    {HELLO_REPLY("$5\r\n7.2.0\r\n", "$10\r\nstandalone\r\n", "$5\r\nslave\r\n"), false,
        "this is a replica, which takes no writes", ""},
    {"-WRONGPASS invalid username-password pair or user is disabled.\r\n", true,
        "the server refused the login (HELLO) as \"u\": WRONGPASS invalid username-password pair "
        "or user is "
        "disabled.",
        "WRONGPASS invalid username-password pair or user is disabled."},
    {"-NOAUTH HELLO must be called\r\n", true,
        "the server refused the login (HELLO) as \"u\": NOAUTH HELLO must be called",
        "NOAUTH HELLO must be called"},
    {"-DENIED protected mode\r\n", true,
        "the server refused the login (HELLO) as \"u\": DENIED protected mode",
        "DENIED protected mode"},
    {"-ERR max number of clients reached\r\n", false,
        "the server refused the login (HELLO) as \"u\": ERR max number of clients reached",
        "ERR max number of clients reached"},
    {"-LOADING wait\r\n", false, "the server refused the login (HELLO) as \"u\": LOADING wait",
        "LOADING wait"},
    {"-ODD so SECRET-IS-LONG said\r\n", false, "the server refused the login (HELLO) as \"u\": ODD",
        "ODD"},
    {"-ODD so SECRET-IS cut\r\n", false, "the server refused the login (HELLO) as \"u\": ODD",
        "ODD"},
    {"-SECRET-IS-LONG\r\n", false,
        "the server refused the login (HELLO) as \"u\": (words withheld)", ""},
    {HELLO "-ERR DB index is out of range\r\n", true,
        "the server refused the database (SELECT): ERR DB index is out of range",
        "ERR DB index is out of range"},
    {HELLO "+QUEUED\r\n", false, "the reply to SELECT is not OK", ""},
    {HELLO "+OK\r\n-NOPERM multi\r\n", true, "the server refused MULTI: NOPERM multi",
        "NOPERM multi"},
    {HELLO "+OK\r\n-ERR unknown command 'MULTI'\r\n", true,
        "the server refused MULTI: ERR unknown command 'MULTI'", "ERR unknown command 'MULTI'"},
    {HELLO "+OK\r\n+QUEUED\r\n", false, "the reply to MULTI is not OK", ""},
    {HELLO "+OK\r\n+OK\r\n-OOM x\r\n", false, "the server refused the marker (SET): OOM x",
        "OOM x"},
    {HELLO "+OK\r\n+OK\r\n-MISCONF x\r\n", false, "the server refused the marker (SET): MISCONF x",
        "MISCONF x"},
    {HELLO "+OK\r\n+OK\r\n-READONLY x\r\n", false,
        "the server refused the marker (SET): READONLY x", "READONLY x"},
    {HELLO "+OK\r\n+OK\r\n-NOREPLICAS x\r\n", false,
        "the server refused the marker (SET): NOREPLICAS x", "NOREPLICAS x"},
    {HELLO "+OK\r\n+OK\r\n-BUSY x\r\n", false, "the server refused the marker (SET): BUSY x",
        "BUSY x"},
    {HELLO "+OK\r\n+OK\r\n-MASTERDOWN x\r\n", false,
        "the server refused the marker (SET): MASTERDOWN x", "MASTERDOWN x"},
    {HELLO "+OK\r\n+OK\r\n-NOPERM key\r\n", true,
        "the server refused the marker (SET); allow the user gavel's own keys (ACL SETUSER ... "
        "~gavel:*): NOPERM key",
        "NOPERM key"},
    {HELLO "+OK\r\n+OK\r\n+OK\r\n", false, "the reply to the marker's SET is not QUEUED", ""},
    {HELLO "+OK\r\n+OK\r\n+QUEUED\r\n-EXECABORT x\r\n", false,
        "the server refused EXEC: EXECABORT x", "EXECABORT x"},
    {HELLO "+OK\r\n+OK\r\n+QUEUED\r\n*-1\r\n", false, "the reply to EXEC is not the expected array",
        ""},
    {HELLO "+OK\r\n+OK\r\n+QUEUED\r\n*0\r\n", false, "the reply to EXEC is not the expected array",
        ""},
    {HELLO "+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n-NOPERM late\r\n", true,
        "the server refused the marker (SET); allow the user gavel's own keys (ACL SETUSER ... "
        "~gavel:*): NOPERM late",
        "NOPERM late"},
    {HELLO "+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n$-1\r\n", false,
        "the reply to the marker's SET is not OK", ""},
};

static void set_login(void)
{
    static char user[] = "u";
    static char password[] = "SECRET-IS-LONG";
    it.address.database = 1;
    it.config.marker_ttl_us = 1000;
    it.config.name = "me";
    it.address.user = user;
    it.address.password = password;
}

/* What the link is told after these replies to what it says first. */
static void expect_refusal(const refusal *refused, const char *first)
{
    char message[2 * GAVEL_MESSAGE_SIZE];
    snprintf(message, sizeof(message), "%s: %s", it.address.label, refused->message);
    memset(&seen, 0, sizeof(seen));
    cr_assert(create());
    connect_link(GAVEL_STR("m"));
    say(first);
    be_readable();
    say(refused->replies);
    be_readable();
    cr_expect_str_eq(seen.log, "DOWN ", "%s", refused->replies);
    cr_expect_eq(seen.loss.is_final, refused->is_final, "%s", refused->replies);
    cr_expect_str_eq(seen.loss.message, message);
    cr_expect_str_eq(seen.server_error, refused->server_error);
    cr_expect_null(strstr(seen.loss.message, "SECRET"));
    gavel__link_destroy(it.link);
    it.link = NULL;
}

/* What to do comes before the server's words, which may be long. */
Test(link_handshake, a_password_that_is_missing)
{
    static char user[] = "p";
    static const refusal missing = {"-NOAUTH HELLO must be called\r\n", true,
        "the server refused the login (HELLO) without a password (redis://:password@host, "
        "unix://:password@/path): NOAUTH HELLO must be called",
        "NOAUTH HELLO must be called"};
    static const refusal misplaced = {"-WRONGPASS x\r\n", true,
        "the server refused the login (HELLO) of a user without a password (redis://:password@host "
        "has a password alone): WRONGPASS x",
        "WRONGPASS x"};
    expect_refusal(&missing, "");
    it.address.user = user;
    expect_refusal(&misplaced, "");
    static const refusal sentinels = {"-NOAUTH x\r\n", true,
        "the server refused the login (HELLO) without a password (?sentinel_password= in the "
        "URL): NOAUTH x",
        "NOAUTH x"};
    it.address.user = NULL;
    it.config.kind = GAVEL__LINK_TO_SENTINEL;
    expect_refusal(&sentinels, "");
}

Test(link_handshake, a_password_that_is_refused_to_the_default_user)
{
    static char password[] = "SECRET-IS-LONG";
    static const refusal refused = {"-WRONGPASS x\r\n", true,
        "the server refused the login (HELLO) as the default user: WRONGPASS x", "WRONGPASS x"};
    it.address.password = password;
    expect_refusal(&refused, "");
}

Test(link_handshake, refusals)
{
    set_login();
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++)
        expect_refusal(&refusals[i], "");
}

Test(link_handshake, versions_that_are_new_enough)
{
    static const char *const replies[] = {
        HELLO_REPLY("$5\r\n6.2.5\r\n", "$10\r\nstandalone\r\n", "$6\r\nmaster\r\n") PROBE,
        HELLO_REPLY("$3\r\n7.0\r\n", "$10\r\nstandalone\r\n", "$6\r\nmaster\r\n") PROBE,
        HELLO_REPLY("$6\r\n10.0.1\r\n", "$10\r\nstandalone\r\n", "$6\r\nmaster\r\n") PROBE,
        HELLO_REPLY("$11\r\n255.255.255\r\n", "$-1\r\n", "$-1\r\n") PROBE,
    };
    for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
        memset(&seen, 0, sizeof(seen));
        cr_assert(create());
        connect_link(GAVEL_STR(""));
        say(replies[i]);
        be_readable();
        cr_expect_str_eq(seen.log, "UP ", "%s", seen.loss.message);
        gavel__link_destroy(it.link);
    }
    it.link = NULL;
}

/* Only Redis from 8.0 on can be believed about its disk. */
Test(link_handshake, whose_disk_can_be_asked_for)
{
    static const char valkey[] = "*4\r\n$6\r\nserver\r\n$6\r\nvalkey\r\n"
                                 "$7\r\nversion\r\n$5\r\n9.1.2\r\n" PROBE;
    static const struct {
        const char *replies;
        bool is_believed;
    } cases[] = {
        {HELLO_REPLY("$6\r\n7.4.10\r\n", "$10\r\nstandalone\r\n", "$6\r\nmaster\r\n") PROBE, false},
        {HELLO_REPLY("$5\r\n8.0.0\r\n", "$10\r\nstandalone\r\n", "$6\r\nmaster\r\n") PROBE, true},
        {HELLO_REPLY("$6\r\n10.0.1\r\n", "$10\r\nstandalone\r\n", "$6\r\nmaster\r\n") PROBE, true},
        {valkey, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        memset(&seen, 0, sizeof(seen));
        cr_assert(create());
        connect_link(GAVEL_STR(""));
        say(cases[i].replies);
        be_readable();
        cr_expect_str_eq(seen.log, "UP ", "%s", seen.loss.message);
        cr_expect_eq(gavel__link_can_tell_fsync(it.link), cases[i].is_believed, "%zu", i);
        gavel__link_destroy(it.link);
    }
    it.link = NULL;
}

/* ---- Without HELLO -------------------------------------------------------------------------- */

#define NO_HELLO                                                                                   \
    "-ERR unknown command `HELLO`, with args beginning with: `2`, `AUTH`, `u`, `SECRET-IS-LONG`, " \
    "\r\n"
/* What follows it where a login is needed. */
#define NOBODY "-NOAUTH\r\n-NOAUTH\r\n-NOAUTH\r\n-NOAUTH\r\n"
#define INFO_REPLY                                                                                 \
    "$92\r\n# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n# "                       \
    "Replication\r\nrole:master\r\nroles:7\r\n\r\n"

static const char handshake_without_hello[] =
    "*3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n$14\r\nSECRET-IS-LONG\r\n"
    "*3\r\n$6\r\nCLIENT\r\n$7\r\nSETNAME\r\n$2\r\nme\r\n"
    "*1\r\n$4\r\nINFO\r\n"
    "*2\r\n$6\r\nSELECT\r\n$1\r\n1\r\n"
    "*1\r\n$5\r\nMULTI\r\n"
    "*5\r\n$3\r\nSET\r\n$1\r\nm\r\n$1\r\n0\r\n$2\r\nPX\r\n$1\r\n1\r\n"
    "*1\r\n$4\r\nEXEC\r\n";

/* On the same connection; the next one begins with it. */
Test(link_handshake, a_server_that_refuses_hello)
{
    set_login();
    cr_assert(create());
    connect_link(GAVEL_STR("m"));
    peer.n_sent = 0;
    say(NO_HELLO NOBODY);
    be_readable();
    cr_expect_str_eq(seen.log, "");
    expect_sent(handshake_without_hello);
    say("+OK\r\n+OK\r\n" INFO_REPLY "+OK\r\n" MARKER_PROBE);
    be_readable();
    cr_expect_str_eq(seen.log, "UP ", "%s", seen.loss.message);
    cr_expect_str_eq(
        gavel__link_remark(it.link), "logged in by AUTH, since the server refuses HELLO");
    gavel__link_disconnect(it.link);
    peer.n_sent = 0;
    connect_link(GAVEL_STR("m"));
    expect_sent(handshake_without_hello);
    cr_expect_eq(peer.n_dials, 2);
}

/* Then nobody knows how old it is. */
Test(link_handshake, a_server_that_refuses_all_that_can_be_done_without)
{
    cr_assert(create());
    connect_link(GAVEL_STR(""));
    peer.n_sent = 0;
    say("-NOPERM this user has no permissions to run the 'hello' command\r\n" PROBE);
    be_readable();
    expect_sent("*1\r\n$4\r\nINFO\r\n*1\r\n$5\r\nMULTI\r\n*1\r\n$4\r\nEXEC\r\n");
    say("-NOPERM info\r\n" PROBE);
    be_readable();
    cr_expect_str_eq(seen.log, "UP ", "%s", seen.loss.message);
    cr_expect(has(gavel__link_remark(it.link), "it may be older"));
}

static const refusal refusals_without_hello[] = {
    {"-WRONGPASS x\r\n", true, "the server refused the login (AUTH) as \"u\": WRONGPASS x",
        "WRONGPASS x"},
    {"-ODD so SECRET-IS-LONG said\r\n", false, "the server refused the login (AUTH) as \"u\": ODD",
        "ODD"},
    {"+QUEUED\r\n", false, "the reply to AUTH is not OK", ""},
    {"+OK\r\n-LOADING x\r\n", false, "the server refused the name (CLIENT SETNAME): LOADING x",
        "LOADING x"},
    {"+OK\r\n-NOPERM x\r\n-LOADING x\r\n", false, "the server refused INFO: LOADING x",
        "LOADING x"},
    {"+OK\r\n+OK\r\n$20\r\nredis_version:6.2.4\n\r\n", true,
        "too old: 6.2.4, gavel needs 6.2.5 or newer", ""},
    {"+OK\r\n+OK\r\n$20\r\nredis_versio:6.2.55\n\r\n", true, "the server does not tell its version",
        ""},
    {"+OK\r\n+OK\r\n$38\r\nredis_version:7.0.1\nredis_mode:cluster\r\n", true,
        "this is a node of a Redis Cluster: redis+cluster://host,host goes to all of them", ""},
    {"+OK\r\n+OK\r\n$30\r\nrole:slave\nredis_version:7.0.1\r\n", false,
        "this is a replica, which takes no writes", ""},
    {"+OK\r\n+OK\r\n:1\r\n", false, "the reply to INFO is not a text", ""},
    {"+OK\r\n+OK\r\n" INFO_REPLY "-ERR DB index is out of range\r\n", true,
        "the server refused the database (SELECT): ERR DB index is out of range",
        "ERR DB index is out of range"},
    {"+OK\r\n+OK\r\n" INFO_REPLY "+OK\r\n-NOPERM x\r\n", true, "the server refused MULTI: NOPERM x",
        "NOPERM x"},
};

Test(link_handshake, refusals_without_hello)
{
    set_login();
    for (size_t i = 0; i < sizeof(refusals_without_hello) / sizeof(refusals_without_hello[0]); i++)
        expect_refusal(&refusals_without_hello[i], NO_HELLO NOBODY);
}

/* ---- Dialling ------------------------------------------------------------------------------ */

Test(link_handshake, a_dial_refused_at_once)
{
    peer.is_dial_refused = true;
    cr_assert(create());
    connect_link(GAVEL_STR(""));
    cr_expect_str_eq(seen.log, "DOWN ");
    cr_expect_str_eq(seen.loss.message, "redis://h:6379: no such host");
    cr_expect_null(seen.loss.server_error.data);
}

Test(link_handshake, a_dial_refused_later)
{
    peer.connect_answer = GAVEL__PROGRESS_UNDER_WAY;
    cr_assert(create());
    connect_link(GAVEL_STR(""));
    cr_expect_eq(gavel__link_get_state(it.link), GAVEL__LINK_DIALLING);
    cr_expect(gavel__link_wants_write(it.link));
    cr_expect_not(gavel__link_can_wait(it.link));
    gavel__link_on_ready(it.link, false, true, START_US);
    cr_expect_str_eq(seen.log, "");
    peer.connect_answer = GAVEL__PROGRESS_FAILED;
    gavel__link_on_ready(it.link, false, true, START_US);
    cr_expect_str_eq(seen.log, "DOWN ");
    cr_expect_str_eq(seen.loss.message, "redis://h:6379: connection refused");
    cr_expect_not(seen.loss.is_final);
    cr_expect_eq(gavel__link_fd(it.link), -1);
}

Test(link_handshake, a_long_label_leaves_room_for_the_reason)
{
    static char label[400];
    memset(label, 'x', sizeof(label) - 1);
    it.address.label = label;
    peer.is_dial_refused = true;
    cr_assert(create());
    connect_link(GAVEL_STR(""));
    cr_expect(has(seen.loss.message, "x...: no such host"), "%s", seen.loss.message);
}

/* A server that hangs up at the login may be one that expects TLS: the next dial finds out, once.
 */
Test(link_handshake, a_server_that_hangs_up_at_the_login)
{
    peer.is_closed = true;
    for (int i = 0; i < 3; i++) {
        memset(&seen, 0, sizeof(seen));
        if (i == 0)
            cr_assert(create());
        connect_link(GAVEL_STR(""));
        be_readable();
        cr_expect_str_eq(seen.log, "DOWN ");
        cr_expect_str_eq(seen.loss.message,
            "redis://h:6379: the connection was closed by the server during the login");
        cr_expect_not(seen.loss.is_final);
        cr_expect_eq(seen.loss.is_unheard, i == 0);
        cr_expect_eq(peer.is_probe, i == 1);
    }
}

/* As long as it does, each dial says so. */
Test(link_handshake, a_server_that_speaks_tls_is_found_out_each_time)
{
    peer.is_closed = true;
    cr_assert(create());
    connect_link(GAVEL_STR(""));
    be_readable();
    peer.connect_answer = GAVEL__PROGRESS_FAILED;
    peer.is_final = true;
    for (int i = 0; i < 3; i++) {
        connect_link(GAVEL_STR(""));
        cr_expect(peer.is_probe);
        cr_expect(seen.loss.is_final);
    }
    peer.is_final = false;
    connect_link(GAVEL_STR(""));
    cr_expect_not(seen.loss.is_final);
    connect_link(GAVEL_STR(""));
    cr_expect_not(peer.is_probe);
}

/* One that has said something is no such server. */
Test(link_handshake, a_server_that_hangs_up_behind_its_hello)
{
    peer.is_closed = true;
    cr_assert(create());
    connect_link(GAVEL_STR(""));
    say(HELLO);
    be_readable();
    be_readable();
    cr_expect_str_eq(seen.log, "DOWN ");
    cr_expect_not(seen.loss.is_unheard);
}
