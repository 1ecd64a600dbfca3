/*
 * Links and replies: in whatever pieces they come, broken at every byte, unasked, too large.
 */
#include "link_peer.h"

TestSuite(link_replies, .init = set_up, .fini = tear_down);

/* ---- Replies ------------------------------------------------------------------------------- */

Test(link_replies, replies_of_every_type)
{
    come_up();
    send_text("x", N_ALL_REPLIES);
    say_bytes(ALL_REPLIES, sizeof(ALL_REPLIES) - 1);
    be_readable();
    cr_expect_str_eq(seen.log, "UP " ALL_REPLIES_SEEN);
    cr_expect_eq(gavel__link_n_expected(it.link), 0);
}

Test(link_replies, a_conversation_cut_at_every_byte)
{
    static const char replies[] = HELLO PROBE ALL_REPLIES;
    size_t n_handshake = strlen(HELLO PROBE);
    size_t size = sizeof(replies) - 1;
    for (size_t cut = 1; cut < size; cut++) {
        memset(&seen, 0, sizeof(seen));
        cr_assert(create());
        connect_link(GAVEL_STR(""));
        for (size_t at = 0; at < size;) {
            size_t end = at < cut ? cut : size;
            if (at < n_handshake && end > n_handshake)
                end = n_handshake; /* The rest comes only when it was asked for. */
            say_bytes(replies + at, end - at);
            be_readable();
            at = end;
            if (at == n_handshake)
                send_text("x", N_ALL_REPLIES);
        }
        cr_assert_str_eq(seen.log, "UP " ALL_REPLIES_SEEN);
        gavel__link_destroy(it.link);
    }
    it.link = NULL;
}

Test(link_replies, a_conversation_byte_by_byte)
{
    cr_assert(create());
    peer.piece_max = 1;
    connect_link(GAVEL_STR(""));
    say(HELLO PROBE);
    while (peer.n_incoming > 0)
        be_readable();
    send_text("x", N_ALL_REPLIES);
    say_bytes(ALL_REPLIES, sizeof(ALL_REPLIES) - 1);
    while (peer.n_incoming > 0)
        be_readable();
    cr_expect_str_eq(seen.log, "UP " ALL_REPLIES_SEEN);
}

Test(link_replies, a_conversation_broken_at_every_byte)
{
    static const char replies[] = HELLO PROBE ALL_REPLIES;
    size_t n_handshake = strlen(HELLO PROBE);
    for (size_t end = 0; end < sizeof(replies); end++) {
        memset(&seen, 0, sizeof(seen));
        reset_peer();
        cr_assert(create());
        connect_link(GAVEL_STR(""));
        say_bytes(replies, end < n_handshake ? end : n_handshake);
        peer.is_closed = end < n_handshake;
        be_readable();
        be_readable();
        if (end >= n_handshake) {
            send_text("x", N_ALL_REPLIES);
            say_bytes(replies + n_handshake, end - n_handshake);
            peer.is_closed = true;
            be_readable();
            be_readable();
        }
        cr_assert_eq(seen.n_up, end >= n_handshake);
        cr_assert_eq(seen.n_down, 1);
        cr_assert_eq(gavel__link_get_state(it.link), GAVEL__LINK_DOWN);
        cr_assert_str_eq(seen.loss.message,
            end < n_handshake
                ? "redis://h:6379: the connection was closed by the server during the login"
                : "redis://h:6379: the connection was closed by the server");
        gavel__link_destroy(it.link);
    }
    it.link = NULL;
}

Test(link_replies, a_reply_that_nobody_asked_for)
{
    come_up();
    send_text("x", 1);
    say("+one\r\n+two\r\n+three\r\n");
    be_readable();
    cr_expect_str_eq(seen.log, "UP +one DOWN ");
    cr_expect(has(seen.loss.message, "nothing had asked for"), "%s", seen.loss.message);
}

Test(link_replies, a_reply_behind_the_handshake)
{
    cr_assert(create());
    connect_link(GAVEL_STR(""));
    say(HELLO PROBE "+more\r\n");
    be_readable();
    cr_expect_str_eq(seen.log, "UP DOWN ");
}

Test(link_replies, a_last_word_of_the_server)
{
    come_up();
    say("-ERR going away\r\n");
    be_readable();
    cr_expect_str_eq(seen.log, "UP DOWN ");
    cr_expect_str_eq(seen.server_error, "ERR going away");
    cr_expect(has(seen.loss.message, "unasked: ERR going away"), "%s", seen.loss.message);
}

Test(link_replies, replies_that_are_refused)
{
    static const struct {
        const char *reply;
        const char *message;
    } cases[] = {
        {"*1000000000\r\n", "larger than max_reply_bytes"},
        {"*2147483647\r\n", "larger than max_reply_bytes"},
        {"*4294967296\r\n", ""},
        {"*9223372036854775807\r\n", ""},
        {"*3\r\n*10000\r\n", ""},
        {"*-2\r\n", "out of range"},
        {"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", "nested too deeply"},
        {"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", "nested too"},
        {"HTTP/1.1 400 Bad Request\r\n", "Protocol error"},
        {"\xff\xff\xff\xff", "Protocol error"},
        {":1x\r\n", ""},
        {"$-2\r\n", ""},
        {"%1\r\n+a\r\n+b\r\n", ""},
        {"~1\r\n+a\r\n", ""},
        {">1\r\n+a\r\n", ""},
        {",1.5\r\n", ""},
        {"#t\r\n", ""},
        {"(12345\r\n", ""},
        {"=7\r\ntxt:abc\r\n", ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        memset(&seen, 0, sizeof(seen));
        it.config.max_reply_bytes = (size_t)1 << 16;
        come_up();
        send_text("x", 1);
        say(cases[i].reply);
        be_readable();
        cr_expect_eq(seen.n_replies, 0, "%s", cases[i].reply);
        cr_expect_eq(seen.n_down, 1, "%s", cases[i].reply);
        cr_expect(has(seen.loss.message, cases[i].message), "%s", seen.loss.message);
        cr_expect_not(seen.loss.is_final);
        gavel__link_destroy(it.link);
        it.link = NULL;
    }
}

/* Each array is small, together they are not. */
Test(link_replies, many_arrays_in_one_reply_are_bounded_together)
{
    it.config.max_reply_bytes = 100 * sizeof(gavel_reply);
    come_up();
    send_text("x", 1);
    say("*2\r\n*90\r\n");
    be_readable();
    cr_expect_eq(seen.n_down, 0);
    for (int i = 0; i < 90; i++) {
        say(":1\r\n");
        be_readable();
    }
    say("*9\r\n");
    be_readable();
    cr_expect_str_eq(seen.log, "UP DOWN ");
}

Test(link_replies, as_much_as_is_allowed)
{
    static char reply[3000];
    const size_t max = 2000;
    const size_t header = strlen("$1992\r\n") + strlen("\r\n");
    it.config.max_reply_bytes = max;
    for (size_t extra = 0; extra < 2; extra++) {
        size_t size = max - header + extra;
        int n = snprintf(reply, sizeof(reply), "$%zu\r\n%0*d\r\n", size, (int)size, 0);
        cr_assert_eq((size_t)n, max + extra);
        memset(&seen, 0, sizeof(seen));
        come_up();
        /* Twice, for the first one must not count for the second one. */
        for (int i = 0; i < 2 && seen.n_down == 0; i++) {
            send_text("x", 1);
            say(reply);
            be_readable();
        }
        cr_expect_eq(seen.n_replies, extra == 0 ? 2 : 0);
        cr_expect_eq(seen.n_down, extra);
        gavel__link_destroy(it.link);
        it.link = NULL;
    }
}

Test(link_replies, a_reply_without_end)
{
    static char piece[4096];
    memset(piece, 'x', sizeof(piece));
    it.config.max_reply_bytes = (size_t)1 << 16;
    come_up();
    send_text("x", 1);
    say("$1000000000\r\n");
    be_readable();
    size_t n_pieces = 0;
    for (; seen.n_down == 0; n_pieces++) {
        cr_assert_leq(n_pieces, 16);
        say_bytes(piece, sizeof(piece));
        be_readable();
    }
    cr_expect_eq(n_pieces, 16);
    cr_expect(has(seen.loss.message, "larger than max_reply_bytes"));
}

Test(link_replies, a_full_receive_is_followed_by_another)
{
    static char replies[1 << 20];
    for (size_t i = 0; i < sizeof(replies); i += 4)
        memcpy(replies + i, ":7\r\n", 4);
    seen.is_log_closed = true;
    come_up();
    const struct {
        size_t size;
        unsigned n_receives;
    } cases[] = {{4, 1}, {65532, 1}, {65536, 2}, {65540, 2}, {131072, 3}, {1 << 20, 16}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        send_text("x", cases[i].size / 4);
        say_bytes(replies, cases[i].size);
        peer.n_receives = 0;
        size_t n_replies = seen.n_replies;
        be_readable();
        cr_expect_eq(peer.n_receives, cases[i].n_receives, "%zu", cases[i].size);
        cr_expect_eq(seen.n_replies - n_replies, cases[i].size / 4);
    }
}
