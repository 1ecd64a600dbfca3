/*
 * Links: partial sends, time-outs, waiting outside a loop, callbacks that disconnect, memory.
 */
#include "link_peer.h"

TestSuite(link, .init = set_up, .fini = tear_down);

/* ---- Sending ------------------------------------------------------------------------------- */

Test(link, sends_in_pieces_are_counted)
{
    come_up();
    for (size_t room = 0; room < 10; room++) {
        uint64_t n_before = gavel__link_n_sent_bytes(it.link);
        uint64_t n_sends = gavel__link_get_counters(it.link)->n_sends;
        peer.send_room = room;
        peer.n_sent = 0;
        send_text("0123456789", 1);
        cr_expect_eq(gavel__link_n_sent_bytes(it.link) - n_before, room);
        cr_expect(gavel__link_wants_write(it.link));
        peer.send_room = SIZE_MAX;
        gavel__link_on_ready(it.link, false, true, START_US);
        cr_expect_eq(gavel__link_n_sent_bytes(it.link) - n_before, 10);
        cr_expect_not(gavel__link_wants_write(it.link));
        cr_expect_leq(gavel__link_get_counters(it.link)->n_sends - n_sends, 3);
        expect_sent("0123456789");
    }
}

/* If each piece moved the rest, a value of megabytes would take the square of its size. */
Test(link, what_is_left_of_a_large_value_stays_where_it_is)
{
    enum { N_BYTES = 100000, N_BYTES_EACH = 1000 };
    static char value[N_BYTES + 1];
    for (size_t i = 0; i < N_BYTES; i++)
        value[i] = (char)('a' + i % 26);
    come_up();
    peer.send_room = N_BYTES_EACH;
    send_text(value, 1);
    const char *place = peer.sent_from;
    while (gavel__link_wants_write(it.link)) {
        peer.send_room = N_BYTES_EACH;
        gavel__link_on_ready(it.link, false, true, START_US);
        cr_assert_eq(peer.sent_from - place, (ptrdiff_t)peer.n_sent - N_BYTES_EACH);
    }
    expect_sent(value);
}

Test(link, one_send_when_the_kernel_takes_all)
{
    come_up();
    uint64_t n_sends = gavel__link_get_counters(it.link)->n_sends;
    send_text("0123456789", 1);
    gavel__link_flush(it.link);
    cr_expect_eq(gavel__link_get_counters(it.link)->n_sends - n_sends, 1);
}

Test(link, counts_stay_after_the_end_and_restart_with_the_next_connection)
{
    come_up();
    peer.send_room = 4;
    send_text("0123456789", 1);
    peer.is_closed = true;
    be_readable();
    cr_expect_eq(seen.n_down, 1);
    cr_expect_eq(gavel__link_n_sent_bytes(it.link), 4);
    cr_expect_eq(gavel__link_n_expected(it.link), 0);
    reset_peer();
    come_up();
    cr_expect_eq(gavel__link_n_sent_bytes(it.link), 0);
    send_text("ab", 1);
    expect_sent("ab");
}

/* A reply that was there before the connection broke is worth as much as any other. */
Test(link, a_broken_send_waits_for_the_replies_that_are_there)
{
    come_up();
    send_text("one", 1);
    peer.is_send_broken = true;
    send_text("two", 1);
    cr_expect_str_eq(seen.log, "UP ");
    cr_expect_eq(gavel__link_n_sent_bytes(it.link), 3);
    cr_expect_not(gavel__link_wants_write(it.link));
    cr_expect_leq(gavel__link_due_us(it.link), START_US);
    say("+one\r\n");
    gavel__link_on_time(it.link, START_US);
    cr_expect_str_eq(seen.log, "UP +one DOWN ");
    cr_expect(has(seen.loss.message, "broke while sending"), "%s", seen.loss.message);
    cr_expect(seen.loss.is_cut);
}

Test(link, a_broken_send_takes_the_reason_from_receiving)
{
    come_up();
    peer.is_send_broken = true;
    send_text("one", 1);
    peer.is_closed = true;
    be_readable();
    cr_expect_str_eq(seen.log, "UP DOWN ");
    cr_expect(has(seen.loss.message, "closed by the server"), "%s", seen.loss.message);
    cr_expect(seen.loss.is_cut);
}

Test(link, a_handshake_that_cannot_be_sent)
{
    peer.is_send_broken = true;
    cr_assert(create());
    connect_link(GAVEL_STR(""));
    gavel__link_on_time(it.link, START_US);
    cr_expect_str_eq(seen.log, "DOWN ");
}

/* ---- Time ---------------------------------------------------------------------------------- */

Test(link, dialling_takes_too_long)
{
    peer.connect_answer = GAVEL__PROGRESS_UNDER_WAY;
    cr_assert(create());
    cr_expect_eq(gavel__link_due_us(it.link), GAVEL__NEVER);
    connect_link(GAVEL_STR(""));
    cr_expect_eq(gavel__link_due_us(it.link), START_US + CONNECT_TIMEOUT_US);
    gavel__link_on_time(it.link, START_US + CONNECT_TIMEOUT_US - 1);
    cr_expect_str_eq(seen.log, "");
    gavel__link_on_time(it.link, START_US + CONNECT_TIMEOUT_US);
    cr_expect_str_eq(seen.log, "DOWN ");
    cr_expect_str_eq(seen.loss.message, "redis://h:6379: no connection in 1000 ms");
    cr_expect_eq(gavel__link_due_us(it.link), GAVEL__NEVER);
}

Test(link, handshake_takes_too_long)
{
    cr_assert(create());
    connect_link(GAVEL_STR(""));
    say(HELLO);
    gavel__link_on_ready(it.link, true, false, START_US + CONNECT_TIMEOUT_US - 1);
    cr_expect_eq(gavel__link_due_us(it.link), START_US + CONNECT_TIMEOUT_US);
    gavel__link_on_time(it.link, START_US + CONNECT_TIMEOUT_US);
    cr_expect_str_eq(seen.log, "DOWN ");
    cr_expect_str_eq(seen.loss.message, "redis://h:6379: no answer to the login in 1000 ms");
}

Test(link, silence_is_counted_from_the_last_sign_of_life)
{
    come_up();
    cr_expect_eq(gavel__link_due_us(it.link), GAVEL__NEVER);
    send_text("x", 2);
    cr_expect_eq(gavel__link_due_us(it.link), START_US + COMMAND_TIMEOUT_US);
    say("$3\r\na");
    gavel__link_on_ready(it.link, true, false, START_US + 10);
    cr_expect_eq(gavel__link_due_us(it.link), START_US + 10 + COMMAND_TIMEOUT_US);
    gavel__link_expect(it.link, 1, START_US + 20);
    cr_expect_eq(gavel__link_due_us(it.link), START_US + 10 + COMMAND_TIMEOUT_US);
    gavel__link_on_time(it.link, START_US + 9 + COMMAND_TIMEOUT_US);
    cr_expect_eq(seen.n_down, 0);
    gavel__link_on_time(it.link, START_US + 10 + COMMAND_TIMEOUT_US);
    cr_expect_eq(seen.n_down, 1);
    cr_expect_str_eq(seen.loss.message, "redis://h:6379: no reply for 500 ms");
}

/* Who goes on asking does not make the server any less silent. */
Test(link, steady_commands_do_not_hide_silence)
{
    come_up();
    for (int64_t at_us = START_US; seen.n_down == 0; at_us += COMMAND_TIMEOUT_US / 4) {
        cr_assert_leq(at_us, START_US + COMMAND_TIMEOUT_US);
        gavel__link_on_time(it.link, at_us);
        if (seen.n_down == 0)
            gavel__link_expect(it.link, 1, at_us);
    }
    cr_expect_str_eq(seen.loss.message, "redis://h:6379: no reply for 500 ms");
}

Test(link, the_first_command_after_a_rest_starts_the_clock)
{
    come_up();
    send_text("x", 1);
    say("+OK\r\n");
    be_readable();
    gavel__link_expect(it.link, 1, START_US + 10 * COMMAND_TIMEOUT_US);
    cr_expect_eq(gavel__link_due_us(it.link), START_US + 11 * COMMAND_TIMEOUT_US);
}

Test(link, nothing_awaited_nothing_due)
{
    come_up();
    send_text("x", 1);
    say("+OK\r\n");
    be_readable();
    cr_expect_eq(gavel__link_due_us(it.link), GAVEL__NEVER);
    gavel__link_on_time(it.link, GAVEL__NEVER - 1);
    cr_expect_eq(seen.n_down, 0);
}

/* It was this process that was late, not the server. */
Test(link, what_has_arrived_counts_before_a_timeout)
{
    come_up();
    send_text("x", 1);
    say("+OK\r\n");
    gavel__link_on_time(it.link, START_US + 10 * COMMAND_TIMEOUT_US);
    cr_expect_str_eq(seen.log, "UP +OK ");
}

/* ---- Waiting outside a loop ---------------------------------------------------------------- */

Test(link, one_receive_for_a_wait_that_brings_replies)
{
    come_up();
    send_text("x", 2);
    uint64_t n_receives = gavel__link_get_counters(it.link)->n_receives;
    peer.n_receives = 0;
    cr_assert(gavel__link_can_wait(it.link));
    say("+one\r\n+two\r\n");
    gavel__link_wait(it.link);
    cr_expect_str_eq(seen.log, "UP ");
    gavel__link_deliver(it.link, START_US);
    cr_expect_str_eq(seen.log, "UP +one +two ");
    cr_expect_eq(peer.n_receives, 1);
    cr_expect_eq(gavel__link_get_counters(it.link)->n_receives - n_receives, 1);
}

Test(link, a_wait_in_vain_and_a_wait_that_finds_the_end)
{
    come_up();
    send_text("x", 1);
    gavel__link_wait(it.link);
    gavel__link_deliver(it.link, START_US);
    cr_expect_str_eq(seen.log, "UP ");
    peer.is_closed = true;
    gavel__link_wait(it.link);
    cr_expect_str_eq(seen.log, "UP ");
    gavel__link_deliver(it.link, START_US);
    cr_expect_str_eq(seen.log, "UP DOWN ");
    cr_expect_not(gavel__link_can_wait(it.link));
    gavel__link_deliver(it.link, START_US);
    cr_expect_eq(seen.n_down, 1);
}

Test(link, a_wait_that_fills_the_buffer_is_followed_by_receives)
{
    static char replies[(1 << 16) + 4];
    for (size_t i = 0; i < sizeof(replies); i += 4)
        memcpy(replies + i, ":7\r\n", 4);
    seen.is_log_closed = true;
    come_up();
    send_text("x", sizeof(replies) / 4);
    say_bytes(replies, sizeof(replies));
    gavel__link_wait(it.link);
    gavel__link_deliver(it.link, START_US);
    cr_expect_eq(seen.n_replies, sizeof(replies) / 4);
}

/* ---- Callbacks that disconnect ------------------------------------------------------------- */

Test(link, disconnecting_says_nothing)
{
    come_up();
    send_text("x", 1);
    gavel__link_disconnect(it.link);
    gavel__link_disconnect(it.link);
    cr_expect_str_eq(seen.log, "UP ");
    cr_expect_not(peer.is_open);
    cr_expect_eq(gavel__link_get_state(it.link), GAVEL__LINK_DOWN);
    be_readable();
    gavel__link_flush(it.link);
    gavel__link_on_time(it.link, GAVEL__NEVER - 1);
    cr_expect_str_eq(seen.log, "UP ");
}

Test(link, disconnecting_in_on_up)
{
    seen.on_up = DO_DISCONNECT;
    cr_assert(create());
    connect_link(GAVEL_STR(""));
    say(HELLO PROBE "+more\r\n");
    be_readable();
    cr_expect_str_eq(seen.log, "UP ");
    cr_expect_eq(gavel__link_get_state(it.link), GAVEL__LINK_DOWN);
}

Test(link, disconnecting_in_on_reply)
{
    seen.on_reply = DO_DISCONNECT;
    come_up();
    send_text("x", 3);
    say("*1\r\n+one\r\n+two\r\n+three\r\n");
    be_readable();
    cr_expect_str_eq(seen.log, "UP [ +one ] ");
    cr_expect_eq(gavel__link_get_state(it.link), GAVEL__LINK_DOWN);
}

Test(link, reconnecting_in_on_reply)
{
    seen.on_reply = DO_RECONNECT;
    come_up();
    send_text("x", 3);
    say("*1\r\n+one\r\n+two\r\n+three\r\n");
    be_readable();
    cr_expect_str_eq(seen.log, "UP [ +one ] ");
    cr_expect_eq(gavel__link_get_state(it.link), GAVEL__LINK_HANDSHAKE);
    cr_expect_eq(peer.n_dials, 2);
}

Test(link, reconnecting_in_on_down)
{
    come_up();
    seen.on_down = DO_RECONNECT;
    say("-ERR bye\r\n+more\r\n");
    be_readable();
    cr_expect_str_eq(seen.log, "UP DOWN ");
    cr_expect_str_eq(seen.server_error, "ERR bye");
    cr_expect_eq(gavel__link_get_state(it.link), GAVEL__LINK_HANDSHAKE);
    say(HELLO PROBE);
    be_readable();
    cr_expect_str_eq(seen.log, "UP DOWN UP ");
}

Test(link, reconnecting_in_on_down_of_a_timeout)
{
    come_up();
    send_text("x", 1);
    seen.on_down = DO_RECONNECT;
    gavel__link_on_time(it.link, START_US + COMMAND_TIMEOUT_US);
    cr_expect_str_eq(seen.log, "UP DOWN ");
    cr_expect_eq(gavel__link_get_state(it.link), GAVEL__LINK_HANDSHAKE);
}

/* ---- Memory -------------------------------------------------------------------------------- */

Test(link, no_allocation_per_reply)
{
    come_up();
    size_t n_allocations = 0;
    for (int i = 0; i < 100; i++) {
        if (i == 10)
            n_allocations = it.memory.n_allocations;
        seen.log[0] = '\0';
        send_text("x", N_ALL_REPLIES);
        say_bytes(ALL_REPLIES, sizeof(ALL_REPLIES) - 1);
        be_readable();
    }
    cr_expect_str_eq(seen.log, ALL_REPLIES_SEEN);
    cr_expect_eq(it.memory.n_allocations, n_allocations);
}

/* Whichever allocation fails: no callback twice, no leak, and nothing said but the truth. */
Test(link, every_allocation_may_fail)
{
    bool is_done = false;
    it.config.marker_ttl_us = 1000;
    for (size_t n = 0; !is_done; n++) {
        cr_assert_lt(n, 100);
        memset(&seen, 0, sizeof(seen));
        reset_peer();
        it.memory = (faulty_memory){.n_left = n};
        if (!create()) {
            cr_assert_eq(it.memory.n_blocks, 0);
            continue;
        }
        connect_link(GAVEL_STR("m"));
        say(HELLO MARKER_PROBE);
        be_readable();
        gavel__link_on_time(it.link, START_US);
        if (seen.n_up == 1 && seen.n_down == 0) {
            send_text("some bytes", N_ALL_REPLIES);
            say_bytes(ALL_REPLIES, sizeof(ALL_REPLIES) - 1);
            be_readable();
            gavel__link_on_time(it.link, START_US);
        }
        is_done = seen.n_replies == N_ALL_REPLIES;
        cr_assert_eq(seen.n_down, !is_done);
        cr_assert(is_done || has(seen.loss.message, "out of memory"), "%s", seen.loss.message);
        gavel__link_destroy(it.link);
        it.link = NULL;
        cr_assert_eq(it.memory.n_blocks, 0);
    }
}

Test(link, nothing_to_destroy)
{
    gavel__link_destroy(NULL);
}
