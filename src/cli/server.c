/*
 * A connection for asking: see the header.
 */
#include "cli/server.h"

#include "base/resp.h"
#include "base/text.h"
#include "client/config.h"

#include <limits.h>
#include <poll.h>
#include <time.h>

#define CONNECT_TIMEOUT_US 5000000
/* CLIENT LIST and SCAN on a busy server take their time. */
#define COMMAND_TIMEOUT_US 10000000
#define MAX_REPLY_BYTES ((size_t)256 << 20)

int64_t cli_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void on_up(gavel__link *link, void *owner)
{
    (void)link;
    (void)owner;
}

static void on_reply(gavel__link *link, const gavel_reply *reply, void *owner)
{
    (void)link;
    cli_server *server = owner;
    size_t i = server->n_replies++;
    if (server->kind != GAVEL__LINK_TO_NODE)
        server->on_reply(i, reply, server->user);
    else if (i % 2 == 1) /* Whoever may not say ASKING does without. */
        server->on_reply(i / 2, reply, server->user);
}

static void on_down(gavel__link *link, const gavel__link_loss *loss, void *owner)
{
    (void)link;
    cli_server *server = owner;
    server->is_down = true;
    if (loss->is_final)
        server->n_endpoints_left = 0;
    server->is_unheard = loss->is_unheard;
    memcpy(server->trouble, loss->message, sizeof(server->trouble));
}

/* For poll. The due time may be any number. */
static int wait_ms(int64_t due_us, int64_t at_us)
{
    if (due_us <= at_us)
        return 0;
    return due_us - at_us < (int64_t)INT_MAX * 1000 ? (int)((due_us - at_us) / 1000 + 1) : INT_MAX;
}

/* Sleeps until the link has something to do, and does it. */
static void turn(cli_server *server)
{
    gavel__link *link = server->link;
    struct pollfd fd = {.fd = gavel__link_fd(link), .events = POLLIN};
    if (gavel__link_wants_write(link))
        fd.events |= POLLOUT;
    int n = poll(&fd, 1, wait_ms(gavel__link_due_us(link), cli_now_us()));
    if (n > 0)
        gavel__link_on_ready(
            link, (fd.revents & ~POLLOUT) != 0, (fd.revents & POLLOUT) != 0, cli_now_us());
    if (!server->is_down && gavel__link_due_us(link) <= cli_now_us())
        gavel__link_on_time(link, cli_now_us());
}

static bool fail(cli_server *server, const char *trouble)
{
    gavel__format(server->trouble, sizeof(server->trouble), "%s", trouble);
    return false;
}

/* How many; 0: there is none. */
static size_t find_endpoints(cli_server *server, gavel__endpoint endpoints[GAVEL__ENDPOINTS_MAX])
{
    const gavel__address *address = &server->address;
    char message[GAVEL_MESSAGE_SIZE];
    if (gavel__endpoint_of(address, &endpoints[0]))
        return 1;
    size_t n = gavel__endpoints_look_up(address->host, address->port, endpoints, message);
    if (n == 0)
        gavel__format(server->trouble, sizeof(server->trouble), "%s: %s", address->label, message);
    return n;
}

static bool come_up(cli_server *server, const gavel__endpoint *endpoint)
{
    do {
        server->is_down = false;
        gavel__link_connect(server->link, endpoint, GAVEL_STR(""), cli_now_us());
        while (!server->is_down && gavel__link_get_state(server->link) != GAVEL__LINK_UP)
            turn(server);
    } while (server->is_down && server->is_unheard);
    return !server->is_down;
}

/* Whom to trust, before the connection's time begins. A file that cannot be read is told by it. */
static bool set_up_tls(cli_server *server, const cli_options *options)
{
    char message[GAVEL_MESSAGE_SIZE];
    bool is_final;
    if (!options->address.is_tls)
        return true;
    if (!gavel__has_tls())
        return fail(server, "rediss://: this gavel was built without OpenSSL, and so without TLS");
    gavel__tls_options wanted = gavel__config_tls(&options->config);
    server->tls = gavel__tls_create(&wanted, &gavel__system_allocator);
    if (server->tls == NULL)
        return fail(server, "no memory");
    gavel__tls_load(server->tls, message, &is_final);
    return true;
}

static bool create_link(cli_server *server)
{
    const gavel__link_config config = {
        .allocator = &gavel__system_allocator,
        .address = &server->address,
        .tls = server->tls,
        .name = "gavel",
        .dial = gavel__dial_socket,
        .connect_timeout_us = CONNECT_TIMEOUT_US,
        .command_timeout_us = COMMAND_TIMEOUT_US,
        .max_reply_bytes = MAX_REPLY_BYTES,
        .kind = server->kind,
    };
    const gavel__link_events events = {
        .on_up = on_up, .on_reply = on_reply, .on_down = on_down, .owner = server};
    server->link = gavel__link_create(&config, &events);
    return server->link != NULL || fail(server, "no memory");
}

/* The URL's, but elsewhere. */
static void go_elsewhere(cli_server *server, const gavel__place_name *place)
{
    bool is_sentinel = server->kind == GAVEL__LINK_TO_SENTINEL;
    gavel__address *address = &server->address;
    const char *scheme = is_sentinel ? "Sentinel " : address->is_tls ? "rediss://" : "redis://";
    size_t size = strlen(scheme);
    server->place = *place;
    memcpy(server->label, scheme, size + 1);
    gavel__format_place(
        server->label + size, sizeof(server->label) - size, place->host, place->port);
    address->kind = GAVEL__ADDRESS_SERVER;
    address->host = server->place.host;
    address->port = place->port;
    address->label = server->label;
    if (is_sentinel) {
        address->user = address->sentinel_user;
        address->password = address->sentinel_password;
    }
}

bool cli_server_open(cli_server *server, const cli_options *options, gavel__link_kind kind,
    const gavel__place_name *place)
{
    gavel__endpoint endpoints[GAVEL__ENDPOINTS_MAX];
    *server = (cli_server){.address = options->address, .kind = kind};
    if (place != NULL)
        go_elsewhere(server, place);
    if (!set_up_tls(server, options) || !create_link(server))
        return false;
    size_t n = find_endpoints(server, endpoints);
    for (size_t i = 0; i < n; i++) {
        server->n_endpoints_left = n - 1 - i;
        if (come_up(server, &endpoints[i]) || server->n_endpoints_left == 0)
            break;
    }
    server->n_endpoints_left = 0;
    return n > 0 && !server->is_down;
}

void cli_server_close(cli_server *server)
{
    gavel__link_destroy(server->link);
    server->link = NULL;
    gavel__tls_destroy(server->tls);
    server->tls = NULL;
}

gavel__buffer *cli_server_next(cli_server *server)
{
    gavel__buffer *out = gavel__link_out(server->link);
    if (server->kind == GAVEL__LINK_TO_NODE)
        gavel__resp_command(out, (gavel_bytes[]){GAVEL_STR("ASKING")}, 1);
    return out;
}

bool cli_server_ask(cli_server *server, size_t n, cli_on_reply *handler, void *user)
{
    server->on_reply = handler;
    server->user = user;
    server->n_replies = 0;
    if (gavel__link_out(server->link)->has_failed)
        return fail(server, "no memory");
    if (server->kind == GAVEL__LINK_TO_NODE)
        n *= 2;
    gavel__link_expect(server->link, n, cli_now_us());
    gavel__link_flush(server->link);
    while (!server->is_down && server->n_replies < n)
        turn(server);
    return !server->is_down;
}
