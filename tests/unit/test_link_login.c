/*
 * Links that ask for their login, once they are there: who answers, what is refused, and that
 * nothing of it stays behind.
 */
#include "link_peer.h"

TestSuite(link_login, .init = set_up, .fini = tear_down);

static void begin_login(void)
{
    memset(&seen, 0, sizeof(seen));
    seen.asks_for_login = true;
    if (it.link == NULL)
        cr_assert(create());
    connect_link(GAVEL_STR(""));
    cr_expect_str_eq(seen.log, "LOGIN ");
    cr_expect_eq(peer.n_sent, 0);
}

/* Nothing is said, and no time-out runs, before the answer; each connection asks anew. */
Test(link_login, a_login_that_is_asked_for)
{
    for (int i = 0; i < 2; i++) {
        begin_login();
        cr_expect_not(gavel__link_wants_write(it.link));
        cr_expect_not(gavel__link_can_wait(it.link));
        cr_expect_eq(gavel__link_due_us(it.link), GAVEL__NEVER);
        be_readable();
        cr_expect_str_eq(seen.log, "LOGIN ");
        gavel__link_log_in(it.link, i == 0 ? "ann" : NULL, "token", START_US + 5);
        cr_expect_eq(gavel__link_due_us(it.link), START_US + 5 + CONNECT_TIMEOUT_US);
        expect_sent(i == 0 ? "*5\r\n$5\r\nHELLO\r\n$1\r\n2\r\n$4\r\nAUTH\r\n$3\r\nann\r\n$5\r\n"
                             "token\r\n*1\r\n$5\r\nMULTI\r\n*1\r\n$4\r\nEXEC\r\n"
                           : "*5\r\n$5\r\nHELLO\r\n$1\r\n2\r\n$4\r\nAUTH\r\n$7\r\ndefault\r\n$5\r\n"
                             "token\r\n*1\r\n$5\r\nMULTI\r\n*1\r\n$4\r\nEXEC\r\n");
        say(HELLO PROBE);
        be_readable();
        cr_expect_str_eq(seen.log, "LOGIN UP ");
        gavel__link_disconnect(it.link);
        peer.n_sent = 0;
    }
}

/* The next one may be right. What the server repeats of it is cut. */
Test(link_login, a_login_asked_for_and_refused)
{
    begin_login();
    gavel__link_log_in(it.link, "ann", "SECRET-IS-LONG", START_US);
    say("-WRONGPASS for SECRET-IS-LONG\r\n");
    be_readable();
    cr_expect_str_eq(seen.log, "LOGIN DOWN ");
    cr_expect_not(seen.loss.is_final);
    cr_expect_str_eq(seen.loss.message,
        "redis://h:6379: the server refused the login (HELLO) as \"ann\": WRONGPASS");
}

/* It is the program that has to say more, and not the URL. */
Test(link_login, a_login_asked_for_without_a_password)
{
    static const struct {
        const char *user;
        const char *words;
        const char *message;
    } cases[] = {
        {NULL, "-NOAUTH x\r\n", ": the server refused the login (HELLO) without a password"},
        {"ann", "-WRONGPASS x\r\n", " as \"ann\" without a password (log_in has named none)"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        begin_login();
        gavel__link_log_in(it.link, cases[i].user, NULL, START_US);
        say(cases[i].words);
        be_readable();
        cr_expect(has(seen.loss.message, cases[i].message), "%s", seen.loss.message);
        cr_expect_not(has(seen.loss.message, "://:"), "%s", seen.loss.message);
        peer.n_sent = 0;
    }
}

Test(link_login, a_login_that_nobody_has)
{
    begin_login();
    gavel__link_refuse_login(it.link, "the vault is shut");
    cr_expect_str_eq(seen.log, "LOGIN DOWN ");
    cr_expect_not(seen.loss.is_final);
    cr_expect_str_eq(seen.loss.message, "redis://h:6379: no login: the vault is shut");
}

/* The server need not wait for the answer. */
Test(link_login, a_server_that_hangs_up_before_the_login)
{
    begin_login();
    say("-ERR max number of clients reached\r\n");
    be_readable();
    cr_expect_str_eq(seen.log, "LOGIN DOWN ");
    cr_expect_str_eq(seen.loss.message,
        "redis://h:6379: the server said, unasked: ERR max number of clients reached");
    begin_login();
    peer.is_closed = true;
    be_readable();
    cr_expect_str_eq(seen.log, "LOGIN DOWN ");
    cr_expect_str_eq(seen.loss.message,
        "redis://h:6379: the connection was closed by the server during the login");
}

#define TOKEN_MAX 70000

static size_t n_leaks;

static bool holds_secret(const char *data, size_t size)
{
    for (size_t i = 0; i + 6 <= size; i++) {
        if (memcmp(data + i, "SECRET", 6) == 0)
            return true;
    }
    return false;
}

/* Looks at what is given back, or moved and so left behind. */
static void *watch_memory(void *user, void *block, size_t size)
{
    if (block != NULL)
        n_leaks += holds_secret(block, malloc_usable_size(block));
    return faulty_resize(user, block, size);
}

/* A long token, that fits into nothing that was there before. */
static void log_in_with_token(size_t size)
{
    static char token[TOKEN_MAX + 1];
    for (size_t i = 0; i < size; i++)
        token[i] = "SECRET"[i % 6];
    token[size] = '\0';
    peer.n_sent = 0;
    begin_login();
    gavel__link_log_in(it.link, "ann", token, START_US);
}

static void expect_nothing_left(size_t size)
{
    log_in_with_token(size);
    cr_expect(holds_secret(peer.sent, peer.n_sent));
    say(HELLO PROBE);
    be_readable();
    cr_expect_str_eq(seen.log, "LOGIN UP ");
    gavel__buffer *out = gavel__link_out(it.link);
    cr_expect_not(out->data != NULL && holds_secret(out->data, out->capacity));
    gavel__link_disconnect(it.link);
    /* Refused, and half sent. */
    log_in_with_token(size);
    say("-WRONGPASS x\r\n");
    be_readable();
    peer.send_room = 100;
    log_in_with_token(size);
    gavel__link_destroy(it.link);
    it.link = NULL;
    cr_expect_eq(n_leaks, 0, "%zu", size);
}

Test(link_login, a_login_asked_for_leaves_nothing_behind)
{
    it.allocator.resize = watch_memory;
    expect_nothing_left(3000);
}

/* Longer than what a buffer keeps once it is empty. */
Test(link_login, a_very_long_login_asked_for_leaves_nothing_behind)
{
    it.allocator.resize = watch_memory;
    expect_nothing_left(TOKEN_MAX);
}

/* For each allocation in its turn there is no memory. */
Test(link_login, a_login_without_memory)
{
    bool is_up = false;
    for (size_t n = 0; !is_up; n++) {
        begin_login();
        it.memory.n_left = n;
        gavel__link_log_in(it.link, "ann", "token", START_US);
        it.memory.n_left = MEMORY_ENOUGH;
        is_up = gavel__link_get_state(it.link) == GAVEL__LINK_HANDSHAKE;
        cr_expect_eq(seen.n_down, !is_up);
        gavel__link_destroy(it.link);
        it.link = NULL;
        peer.n_sent = 0;
    }
}
