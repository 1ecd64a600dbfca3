/*
 * A link under test and its peer: a transport in memory, and callbacks that write down what they
 * are told. For the tests of links; each includes it once.
 *
 *     TestSuite(link, .init = set_up, .fini = tear_down);
 *
 *     come_up();             connected, and the handshake done
 *     send_text("x", 1);     a command; one reply is to come
 *     say("+OK\r\n");        what the server sends next
 *     be_readable();
 *     ... compare seen.log with "UP +OK "
 */
#ifndef LINK_PEER_H
#define LINK_PEER_H

#include "redis/link.h"

#include "base/heap.h"
#include "base/text.h"
#include "faulty_memory.h"

#include <criterion/criterion.h>

#include <stdio.h>

#define CONNECT_TIMEOUT_US 1000000
#define COMMAND_TIMEOUT_US 500000
#define MAX_REPLY_BYTES ((size_t)1 << 20)
#define START_US 7000000

/* ---- The peer ------------------------------------------------------------------------------ */

/* What the server sends and takes. It outlives the transport, for the tests to look at. */
static struct peer {
    gavel__progress connect_answer;
    bool is_final; /* the answer, if it has failed */
    bool is_dial_refused;
    bool is_open;
    unsigned n_dials;
    bool is_probe; /* the last dial */

    char sent[1 << 17]; /* by the link */
    size_t n_sent;
    const char *sent_from; /* where in memory the last of it lay */
    size_t send_room;      /* bytes that the kernel still takes */
    bool is_send_broken;

    const char *incoming; /* for the link */
    size_t n_incoming;
    size_t piece_max; /* of one receive */
    bool is_closed;   /* after that */
    unsigned n_receives;
} peer;

static inline gavel__progress peer_connect(gavel__transport *transport)
{
    strcpy(transport->message, "connection refused");
    transport->is_final = peer.is_final;
    return peer.connect_answer;
}

static inline long peer_send(gavel__transport *transport, const char *data, size_t size)
{
    (void)transport;
    if (peer.is_send_broken)
        return GAVEL__TRANSPORT_BROKEN;
    if (size > peer.send_room)
        size = peer.send_room;
    if (size == 0)
        return GAVEL__TRANSPORT_WOULD_BLOCK;
    cr_assert_leq(peer.n_sent + size, sizeof(peer.sent));
    memcpy(peer.sent + peer.n_sent, data, size);
    peer.sent_from = data;
    peer.n_sent += size;
    if (peer.send_room != SIZE_MAX)
        peer.send_room -= size;
    return (long)size;
}

static inline long peer_receive(gavel__transport *transport, char *data, size_t size, bool wait)
{
    (void)wait;
    peer.n_receives++;
    if (peer.n_incoming == 0 && peer.is_closed) {
        strcpy(transport->message, "the connection was closed by the server");
        return GAVEL__TRANSPORT_BROKEN;
    }
    size = size < peer.n_incoming ? size : peer.n_incoming;
    size = size < peer.piece_max ? size : peer.piece_max;
    if (size == 0)
        return GAVEL__TRANSPORT_WOULD_BLOCK;
    memcpy(data, peer.incoming, size);
    peer.incoming += size;
    peer.n_incoming -= size;
    return (long)size;
}

static inline void peer_close(gavel__transport *transport)
{
    cr_assert(peer.is_open);
    peer.is_open = false;
    free(transport);
}

static const gavel__transport_ops peer_ops = {
    .connect = peer_connect, .send = peer_send, .receive = peer_receive, .close = peer_close};

static inline gavel__transport *peer_dial(void *dialler, gavel__destination destination,
    const gavel_allocator *allocator, gavel_error *ret_error)
{
    (void)dialler;
    (void)allocator;
    peer.is_probe = destination.is_probe;
    peer.n_dials++;
    if (peer.is_dial_refused) {
        strcpy(ret_error->message, "no such host");
        return NULL;
    }
    cr_assert_not(peer.is_open);
    gavel__transport *transport = calloc(1, sizeof(*transport));
    *transport = (gavel__transport){.ops = &peer_ops, .fd = 42, .can_wait = true};
    peer.is_open = true;
    return transport;
}

static inline void say_bytes(const char *data, size_t size)
{
    peer.incoming = data;
    peer.n_incoming = size;
}

static inline void say(const char *text)
{
    say_bytes(text, strlen(text));
}

/* ---- The link under test ------------------------------------------------------------------- */

/* What a callback does to the link. */
typedef enum deed { DO_NOTHING, DO_DISCONNECT, DO_RECONNECT } deed;

static struct {
    char log[1 << 16]; /* what the callbacks were told, in words */
    size_t n_up;
    size_t n_replies;
    size_t n_down;
    gavel__link_loss loss;
    char server_error[GAVEL_MESSAGE_SIZE];
    bool is_log_closed; /* for more replies than it could hold */
    deed on_up;
    deed on_reply;
    deed on_down;
    bool asks_for_login;
} seen;

static struct test_link {
    faulty_memory memory;
    gavel_allocator allocator;
    gavel__address address;
    gavel__link_config config;
    gavel__link *link;
} it;

/* The peer is reached without one. */
static const gavel__endpoint nowhere;

static inline void note(const char *text)
{
    if (seen.is_log_closed)
        return;
    size_t size = strlen(seen.log);
    cr_assert_lt(size + strlen(text), sizeof(seen.log));
    strcpy(seen.log + size, text);
}

static inline void note_reply(const gavel_reply *reply)
{
    char text[128];
    char shown[100];
    switch (reply->type) {
    case GAVEL_REPLY_NIL:
        note("nil ");
        return;
    case GAVEL_REPLY_INTEGER:
        snprintf(text, sizeof(text), ":%lld ", (long long)reply->integer);
        note(text);
        return;
    case GAVEL_REPLY_STATUS:
    case GAVEL_REPLY_ERROR:
    case GAVEL_REPLY_STRING:
        snprintf(text, sizeof(text), "%c%s ", "?+-?$"[reply->type],
            gavel__printable(reply->text, shown, sizeof(shown)));
        note(text);
        return;
    case GAVEL_REPLY_ARRAY:
        note("[ ");
        for (size_t i = 0; i < reply->n_elements; i++)
            note_reply(&reply->elements[i]);
        note("] ");
        return;
    }
}

static inline void act(gavel__link *link, deed what)
{
    if (what == DO_NOTHING)
        return;
    gavel__link_disconnect(link);
    if (what == DO_RECONNECT)
        gavel__link_connect(link, &nowhere, GAVEL_STR("again"), START_US);
}

static inline void on_up(gavel__link *link, void *owner)
{
    cr_assert_eq(owner, &it);
    seen.n_up++;
    note("UP ");
    act(link, seen.on_up);
}

static inline void on_reply(gavel__link *link, const gavel_reply *reply, void *owner)
{
    cr_assert_eq(owner, &it);
    seen.n_replies++;
    act(link, seen.on_reply);
    note_reply(reply); /* After the deed: a reply lives until its callback returns. */
}

static inline void on_down(gavel__link *link, const gavel__link_loss *loss, void *owner)
{
    cr_assert_eq(owner, &it);
    cr_assert_eq(gavel__link_get_state(link), GAVEL__LINK_DOWN);
    seen.n_down++;
    seen.loss = *loss;
    note("DOWN ");
    act(link, seen.on_down);
    gavel__printable(loss->server_error, seen.server_error, sizeof(seen.server_error));
}

static inline void on_login(gavel__link *link, void *owner)
{
    cr_assert_eq(owner, &it);
    cr_assert_eq(gavel__link_get_state(link), GAVEL__LINK_LOGIN);
    note("LOGIN ");
}

static inline void reset_peer(void)
{
    peer = (struct peer){
        .connect_answer = GAVEL__PROGRESS_DONE, .send_room = SIZE_MAX, .piece_max = SIZE_MAX};
}

static inline void set_up(void)
{
    static char host[] = "h";
    static char label[] = "redis://h:6379";
    reset_peer();
    memset(&seen, 0, sizeof(seen));
    it.memory = (faulty_memory){.n_left = MEMORY_ENOUGH};
    it.allocator = faulty_allocator(&it.memory);
    it.address = (gavel__address){.host = host, .label = label, .port = 6379};
    it.config = (gavel__link_config){.allocator = &it.allocator,
        .address = &it.address,
        .name = "",
        .dial = peer_dial,
        .connect_timeout_us = CONNECT_TIMEOUT_US,
        .command_timeout_us = COMMAND_TIMEOUT_US,
        .max_reply_bytes = MAX_REPLY_BYTES};
}

static inline bool create(void)
{
    gavel__link_events events = {.on_up = on_up,
        .on_reply = on_reply,
        .on_down = on_down,
        .owner = &it,
        .on_login = seen.asks_for_login ? on_login : NULL};
    it.link = gavel__link_create(&it.config, &events);
    return it.link != NULL;
}

static inline void tear_down(void)
{
    gavel__link_destroy(it.link);
    it.link = NULL;
    cr_expect_not(peer.is_open, "the transport was not closed");
    cr_expect_eq(it.memory.n_blocks, 0, "memory was not freed");
}

#define HELLO_REPLY(version, mode, role)                                                           \
    "*14\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n" version                              \
    "$5\r\nproto\r\n:2\r\n$2\r\nid\r\n:3\r\n$4\r\nmode\r\n" mode "$4\r\nrole\r\n" role             \
    "$7\r\nmodules\r\n*0\r\n"
#define HELLO HELLO_REPLY("$6\r\n7.0.15\r\n", "$10\r\nstandalone\r\n", "$6\r\nmaster\r\n")
#define PROBE "+OK\r\n*0\r\n"
#define MARKER_PROBE "+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n"

static inline void connect_link(gavel_bytes marker)
{
    gavel__link_connect(it.link, &nowhere, marker, START_US);
}

static inline void be_readable(void)
{
    gavel__link_on_ready(it.link, true, false, START_US);
}

static inline void come_up(void)
{
    if (it.link == NULL)
        cr_assert(create());
    connect_link(GAVEL_STR(""));
    say(HELLO PROBE);
    be_readable();
    cr_assert_eq(gavel__link_get_state(it.link), GAVEL__LINK_UP);
    peer.n_sent = 0;
}

static inline void send_text(const char *text, size_t n_replies)
{
    gavel__buffer_append(gavel__link_out(it.link), gavel_str(text));
    gavel__link_expect(it.link, n_replies, START_US);
    gavel__link_flush(it.link);
}

static inline void expect_sent(const char *text)
{
    cr_expect(peer.n_sent == strlen(text) && memcmp(peer.sent, text, peer.n_sent) == 0,
        "sent: %.*s", (int)peer.n_sent, peer.sent);
}

static inline bool has(const char *text, const char *part)
{
    return strstr(text, part) != NULL;
}

/* Replies of every type, and what they look like in the log. */
#define ALL_REPLIES                                                                                \
    "+OK\r\n-ERR no\r\n:-42\r\n$-1\r\n$0\r\n\r\n$3\r\na\0b\r\n*-1\r\n*0\r\n"                       \
    "*3\r\n:1\r\n*2\r\n$1\r\nx\r\n*1\r\n$-1\r\n+y\r\n"
#define N_ALL_REPLIES 9
#define ALL_REPLIES_SEEN "+OK -ERR no :-42 nil $ $a\\x00b nil [ ] [ :1 [ $x [ nil ] ] +y ] "

#endif
