/*
 * The real transport, against a peer in the same thread: connecting and failing to, sending to a
 * peer that is gone, waiting, and what a round trip costs.
 */
#include "redis/link.h"

#include "base/heap.h"
#include "base/text.h"

#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* ---- The peer ------------------------------------------------------------------------------ */

static char folder[64];
static char socket_path[96];
static char url[128];
static int listener = -1;
static int peer = -1; /* the accepted connection */
static gavel__address address;
static gavel__endpoint endpoint;
static gavel__tls *tls; /* NULL: without */
static gavel__transport *transport;

static void set_up(void)
{
    strcpy(folder, "/tmp/gavel-test-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    snprintf(socket_path, sizeof(socket_path), "%s/s", folder);
}

static void tear_down(void)
{
    if (transport != NULL)
        transport->ops->close(transport);
    gavel__tls_destroy(tls);
    if (peer >= 0)
        close(peer);
    if (listener >= 0)
        close(listener);
    gavel__address_finish(&address, &gavel__system_allocator);
    unlink(socket_path);
    rmdir(folder);
}

TestSuite(transport, .init = set_up, .fini = tear_down);

static void parse_url(void)
{
    gavel_error error;
    cr_assert(gavel__address_parse(url, &gavel__system_allocator, &address, &error));
    cr_assert(gavel__endpoint_of(&address, &endpoint));
}

static void listen_unix(void)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    strcpy(name.sun_path, socket_path);
    listener = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(bind(listener, (struct sockaddr *)&name, sizeof(name)), 0);
    cr_assert_eq(listen(listener, 4), 0);
    snprintf(url, sizeof(url), "unix://%s", socket_path);
    parse_url();
}

/* On a free port of the loopback. */
static void listen_tcp(const char *scheme)
{
    struct sockaddr_in name = {
        .sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(name);
    listener = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(listener, (struct sockaddr *)&name, size), 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&name, &size), 0);
    cr_assert_eq(listen(listener, 4), 0);
    snprintf(url, sizeof(url), "%s://127.0.0.1:%d", scheme, ntohs(name.sin_port));
    parse_url();
}

static gavel__transport *dial(gavel_error *ret_error)
{
    ret_error->message[0] = '\0';
    gavel__destination destination = {.address = &address, .endpoint = &endpoint, .tls = tls};
    return gavel__dial_socket(NULL, destination, &gavel__system_allocator, ret_error);
}

static void await(int fd, short events)
{
    struct pollfd poll_fd = {.fd = fd, .events = events};
    cr_assert_eq(poll(&poll_fd, 1, 5000), 1);
}

static gavel__progress finish_connecting(void)
{
    gavel__progress progress;
    while ((progress = transport->ops->connect(transport)) == GAVEL__PROGRESS_UNDER_WAY)
        await(transport->fd, transport->awaits_read ? POLLIN : POLLOUT);
    return progress;
}

static void connect_to_peer(void)
{
    gavel_error error;
    transport = dial(&error);
    cr_assert_not_null(transport, "%s", error.message);
    cr_assert_eq(finish_connecting(), GAVEL__PROGRESS_DONE, "%s", transport->message);
    peer = accept(listener, NULL, NULL);
    cr_assert_geq(peer, 0);
}

static long send_bytes(const char *data, size_t size)
{
    return transport->ops->send(transport, data, size);
}

static long receive(char *data, size_t size, bool wait)
{
    return transport->ops->receive(transport, data, size, wait);
}

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* ---- Connecting ---------------------------------------------------------------------------- */

static void exchange(void)
{
    char data[16];
    cr_assert_eq(send_bytes("hello", 5), 5);
    cr_assert_eq(read(peer, data, sizeof(data)), 5);
    cr_assert_arr_eq(data, "hello", 5);
    cr_assert_eq(write(peer, "you", 3), 3);
    await(transport->fd, POLLIN);
    cr_assert_eq(receive(data, sizeof(data), false), 3);
    cr_assert_arr_eq(data, "you", 3);
}

Test(transport, a_unix_socket)
{
    listen_unix();
    connect_to_peer();
    cr_expect(transport->can_wait);
    cr_expect_eq(fcntl(transport->fd, F_GETFD), FD_CLOEXEC);
    exchange();
}

Test(transport, tcp)
{
    int value = 0;
    socklen_t size = sizeof(value);
    listen_tcp("redis");
    connect_to_peer();
    cr_expect(transport->can_wait);
    cr_expect_eq(fcntl(transport->fd, F_GETFD), FD_CLOEXEC);
    getsockopt(transport->fd, IPPROTO_TCP, TCP_NODELAY, &value, &size);
    cr_expect_neq(value, 0);
    value = 0;
    getsockopt(transport->fd, SOL_SOCKET, SO_KEEPALIVE, &value, &size);
    cr_expect_neq(value, 0);
    exchange();
}

static int tcp_option(int option)
{
    int value = 0;
    socklen_t size = sizeof(value);
    cr_assert_eq(getsockopt(transport->fd, IPPROTO_TCP, option, &value, &size), 0);
    return value;
}

/* Who waits at a gate asks nothing, and may wait for long; by default it took two hours. */
Test(transport, a_peer_that_is_gone_without_a_word_is_missed_in_seconds)
{
    listen_tcp("redis");
    connect_to_peer();
    cr_expect_leq(
        tcp_option(TCP_KEEPIDLE) + tcp_option(TCP_KEEPINTVL) * tcp_option(TCP_KEEPCNT), 10);
}

Test(transport, no_such_socket)
{
    gavel_error error;
    snprintf(url, sizeof(url), "unix://%s", socket_path);
    parse_url();
    transport = dial(&error);
    cr_expect_null(transport);
    cr_expect_str_eq(error.message, "No such file or directory");
}

Test(transport, nobody_listens_on_the_socket)
{
    gavel_error error;
    listen_unix();
    close(listener);
    listener = -1;
    transport = dial(&error);
    cr_expect_null(transport);
    cr_expect_str_eq(error.message, "Connection refused");
}

/* The refusal comes at once or a little later, as the system likes. */
Test(transport, nobody_listens_on_the_port)
{
    gavel_error error;
    listen_tcp("redis");
    close(listener);
    listener = -1;
    transport = dial(&error);
    if (transport == NULL) {
        cr_expect_str_eq(error.message, "Connection refused");
    } else {
        cr_expect_eq(finish_connecting(), GAVEL__PROGRESS_FAILED);
        cr_expect_str_eq(transport->message, "Connection refused");
    }
}

/* A label of more than 63 bytes: the resolver refuses without asking anybody. */
Test(transport, a_host_that_cannot_be)
{
    gavel__endpoint endpoints[GAVEL__ENDPOINTS_MAX];
    char message[GAVEL_MESSAGE_SIZE] = "";
    char host[128];
    snprintf(host, sizeof(host), "%070d.invalid", 0);
    cr_expect_eq(gavel__endpoints_look_up(host, 6379, endpoints, message), 0);
    cr_expect_eq(
        strncmp(message, "the host's address cannot be looked up: ", 40), 0, "%s", message);
}

/* ---- Sending and receiving ----------------------------------------------------------------- */

/* SIGPIPE has its default here, so raising it would end this test. */
Test(transport, sending_to_a_peer_that_is_gone)
{
    char data[16];
    listen_unix();
    connect_to_peer();
    cr_assert_eq(write(peer, "last", 4), 4);
    close(peer);
    peer = -1;
    cr_expect_eq(send_bytes("x", 1), GAVEL__TRANSPORT_BROKEN);
    cr_expect_eq(send_bytes("x", 1), GAVEL__TRANSPORT_BROKEN);
    cr_expect_eq(receive(data, sizeof(data), false), 4);
    cr_expect_eq(receive(data, sizeof(data), false), GAVEL__TRANSPORT_BROKEN);
}

Test(transport, the_end_of_the_stream)
{
    char data[16];
    listen_unix();
    connect_to_peer();
    close(peer);
    peer = -1;
    cr_expect_eq(receive(data, sizeof(data), true), GAVEL__TRANSPORT_BROKEN);
    cr_expect_str_eq(transport->message, "the connection was closed by the server");
    transport->message[0] = '\0';
    cr_expect_eq(receive(data, sizeof(data), false), GAVEL__TRANSPORT_BROKEN);
    cr_expect_str_eq(transport->message, "the connection was closed by the server");
}

Test(transport, a_reset)
{
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    char data[16];
    listen_tcp("redis");
    connect_to_peer();
    cr_assert_eq(setsockopt(peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)), 0);
    close(peer);
    peer = -1;
    await(transport->fd, POLLIN);
    cr_expect_eq(receive(data, sizeof(data), false), GAVEL__TRANSPORT_BROKEN);
    cr_expect_str_eq(transport->message, "Connection reset by peer");
}

Test(transport, a_peer_that_does_not_read)
{
    static char data[1 << 20];
    listen_unix();
    connect_to_peer();
    long n;
    long total = 0;
    while ((n = send_bytes(data, sizeof(data))) > 0)
        total += n;
    cr_expect_eq(n, GAVEL__TRANSPORT_WOULD_BLOCK);
    cr_expect_gt(total, 0);
    while (total > 0) {
        ssize_t n_read = read(peer, data, sizeof(data));
        cr_assert_gt(n_read, 0);
        total -= n_read;
    }
    cr_expect_gt(send_bytes(data, 1), 0);
}

/* ---- Waiting ------------------------------------------------------------------------------- */

Test(transport, a_wait_ends_by_itself)
{
    char data[16];
    listen_unix();
    connect_to_peer();
    cr_expect_eq(receive(data, sizeof(data), false), GAVEL__TRANSPORT_WOULD_BLOCK);
    int64_t start_us = now_us();
    cr_expect_eq(receive(data, sizeof(data), true), GAVEL__TRANSPORT_WOULD_BLOCK);
    int64_t elapsed_us = now_us() - start_us;
    cr_expect(elapsed_us > 5000 && elapsed_us < 5000000, "%lld us", (long long)elapsed_us);
}

static void on_alarm(int number)
{
    (void)number;
}

/* Signals come faster than the wait would end, and are no failure. */
Test(transport, a_signal_ends_a_wait)
{
    char data[16];
    struct sigaction action = {.sa_handler = on_alarm};
    struct itimerval interval = {.it_interval = {0, 2000}, .it_value = {0, 2000}};
    listen_unix();
    connect_to_peer();
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &interval, NULL);
    for (int i = 0; i < 10; i++)
        cr_expect_eq(receive(data, sizeof(data), true), GAVEL__TRANSPORT_WOULD_BLOCK);
}

/* ---- A link over it ------------------------------------------------------------------------ */

static int n_ups;
static int n_replies;
static gavel__link_loss last_loss;

static void on_up(gavel__link *link, void *owner)
{
    (void)link;
    (void)owner;
    n_ups++;
}

static void on_reply(gavel__link *link, const gavel_reply *reply, void *owner)
{
    (void)link;
    (void)owner;
    cr_expect_eq(reply->type, GAVEL_REPLY_STATUS);
    n_replies++;
}

static void on_down(gavel__link *link, const gavel__link_loss *loss, void *owner)
{
    (void)link;
    (void)owner;
    last_loss = *loss;
}

static int n_closings;

static void on_closing(gavel__link *link, void *owner)
{
    (void)owner;
    n_closings++;
    cr_expect_geq(fcntl(gavel__link_fd(link), F_GETFD), 0, "too late to end the watching");
}

static gavel__link *create_link(void)
{
    gavel__link_config config = {.allocator = &gavel__system_allocator,
        .address = &address,
        .name = "",
        .dial = gavel__dial_socket,
        .connect_timeout_us = 1000000,
        .command_timeout_us = 1000000,
        .max_reply_bytes = 1 << 20};
    gavel__link_events events = {on_up, on_reply, on_down, NULL, on_closing, NULL};
    return gavel__link_create(&config, &events);
}

static void peer_answers(const char *text)
{
    char data[4096];
    cr_assert_gt(read(peer, data, sizeof(data)), 0);
    cr_assert_eq(write(peer, text, strlen(text)), (ssize_t)strlen(text));
}

/* What a lone caller pays for a round trip. */
Test(transport, a_round_trip_is_one_send_and_one_receive)
{
    listen_unix();
    gavel__link *link = create_link();
    gavel__link_connect(link, &endpoint, GAVEL_STR(""), now_us());
    cr_assert_eq(gavel__link_get_state(link), GAVEL__LINK_HANDSHAKE);
    peer = accept(listener, NULL, NULL);
    peer_answers("*4\r\n+version\r\n+7.0.0\r\n+mode\r\n+standalone\r\n+OK\r\n*0\r\n");
    gavel__link_on_ready(link, true, false, now_us());
    cr_assert_eq(n_ups, 1, "%s", last_loss.message);

    gavel__link_counters before = *gavel__link_get_counters(link);
    for (int i = 1; i <= 5; i++) {
        gavel__buffer_append(gavel__link_out(link), GAVEL_STR("*1\r\n$4\r\nPING\r\n"));
        gavel__link_expect(link, 1, now_us());
        gavel__link_flush(link);
        peer_answers("+PONG\r\n");
        gavel__link_wait(link);
        gavel__link_deliver(link, now_us());
        cr_expect_eq(n_replies, i);
    }
    cr_expect_eq(gavel__link_get_counters(link)->n_sends - before.n_sends, 5);
    cr_expect_eq(gavel__link_get_counters(link)->n_receives - before.n_receives, 5);

    close(peer);
    peer = -1;
    gavel__link_on_ready(link, true, false, now_us());
    char message[GAVEL_MESSAGE_SIZE];
    snprintf(message, sizeof(message), "%s: the connection was closed by the server", url);
    cr_expect_str_eq(last_loss.message, message);
    gavel__link_destroy(link);
    cr_expect_eq(n_closings, 1);
}

/* ---- TLS ----------------------------------------------------------------------------------- */

/* Dials a peer; false: this build has no TLS. */
static bool begin_tls(void)
{
    gavel_error error;
    if (!gavel__has_tls())
        return false;
    listen_tcp("rediss");
    tls = gavel__tls_create(
        &(gavel__tls_options){.server_name = "127.0.0.1"}, &gavel__system_allocator);
    transport = dial(&error);
    cr_assert_not_null(transport, "%s", error.message);
    peer = accept(listener, NULL, NULL);
    return true;
}

Test(transport, tls_with_a_peer_that_speaks_none)
{
    if (!begin_tls())
        return;
    cr_assert_eq(write(peer, "-ERR what?\r\n", 12), 12);
    cr_expect_eq(finish_connecting(), GAVEL__PROGRESS_FAILED);
    cr_expect(transport->is_final);
    cr_expect_str_eq(transport->message, "the server does not speak TLS on this port: begin the "
                                         "URL with redis, not rediss, or use its "
                                         "port for TLS");
}

/* A plain Redis only answers what has ended in a line's end. */
Test(transport, tls_tempts_a_peer_that_speaks_none)
{
    char hello[4096];
    if (!begin_tls())
        return;
    cr_expect_eq(transport->ops->connect(transport), GAVEL__PROGRESS_UNDER_WAY);
    await(peer, POLLIN);
    ssize_t n = read(peer, hello, sizeof(hello));
    cr_assert_gt(n, 5);
    cr_expect_eq(hello[4], '\n');
    cr_expect_null(memchr(hello, 0, 5), "what ends a string ends the line without an end");
}

Test(transport, tls_with_a_peer_that_hangs_up)
{
    if (!begin_tls())
        return;
    close(peer);
    peer = -1;
    cr_expect_eq(finish_connecting(), GAVEL__PROGRESS_FAILED);
    cr_expect_not(transport->is_final);
    cr_expect_neq(transport->message[0], '\0');
}
