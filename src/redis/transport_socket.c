/*
 * The real transport: TCP and unix sockets, and the way to TLS. For links, as gavel__dial_socket.
 *
 * Once it is connected the socket blocks, and all calls but one say MSG_DONTWAIT: so a lone caller
 * waits in the receiving call itself, and a round trip costs it one send and one receive, with no
 * poll between them.
 */
#include "redis/socket.h"

#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* How long receive may sleep. */
#define WAIT_US 10000

typedef struct plain {
    gavel__transport base;
    const gavel_allocator *allocator; /* borrowed */
    bool is_connected;
    bool has_asked; /* a probe: what it asks */
} plain;

/* ---- The plain transport ------------------------------------------------------------------- */

static gavel__progress plain_fail(gavel__transport *transport)
{
    gavel__socket_explain(errno, transport->message);
    return GAVEL__PROGRESS_FAILED;
}

static gavel__progress plain_connect(gavel__transport *transport)
{
    plain *self = (plain *)transport;
    if (self->is_connected)
        return GAVEL__PROGRESS_DONE;
    gavel__progress progress = gavel__socket_connect(transport->fd, transport->message);
    if (progress != GAVEL__PROGRESS_DONE)
        return progress;

    struct timeval wait = {.tv_sec = 0, .tv_usec = WAIT_US};
    if (setsockopt(transport->fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) != 0)
        return plain_fail(transport);
    int flags = fcntl(transport->fd, F_GETFL);
    if (flags < 0 || fcntl(transport->fd, F_SETFL, flags & ~O_NONBLOCK) != 0)
        return plain_fail(transport);
    self->is_connected = true;
    return GAVEL__PROGRESS_DONE;
}

static long plain_send(gavel__transport *transport, const char *data, size_t size)
{
    ssize_t n;
    do
        n = send(transport->fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n >= 0)
        return n;
    return errno == EAGAIN || errno == EWOULDBLOCK ? GAVEL__TRANSPORT_WOULD_BLOCK
                                                   : GAVEL__TRANSPORT_BROKEN;
}

/* A signal ends a wait early: whoever waits looks again at what has changed. */
static long plain_receive(gavel__transport *transport, char *data, size_t size, bool wait)
{
    ssize_t n;
    do
        n = recv(transport->fd, data, size, wait ? 0 : MSG_DONTWAIT);
    while (n < 0 && errno == EINTR && !wait);
    if (n > 0)
        return n;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return GAVEL__TRANSPORT_WOULD_BLOCK;
    if (n < 0)
        gavel__socket_explain(errno, transport->message);
    else
        strcpy(transport->message, "the connection was closed by the server");
    return GAVEL__TRANSPORT_BROKEN;
}

static void plain_close(gavel__transport *transport)
{
    plain *self = (plain *)transport;
    close(transport->fd);
    gavel__free(self->allocator, self);
}

static const gavel__transport_ops plain_ops = {
    .connect = plain_connect,
    .send = plain_send,
    .receive = plain_receive,
    .close = plain_close,
};

/* ---- Probes -------------------------------------------------------------------------------- */

/*
 * A server for TLS closes a connection that begins with a command, without a word; what speaks no
 * TLS may do so, too. This begins as TLS does, and both answer: TLS that this message is
 * too long, Redis that this line is no command.
 */
static const char question[] = "\x16\x03\x01\xff\xff\r\n";

static gavel__progress take_probe_answer(gavel__transport *transport)
{
    char type;
    long n = plain_receive(transport, &type, 1, false);
    if (n == GAVEL__TRANSPORT_WOULD_BLOCK)
        return GAVEL__PROGRESS_UNDER_WAY;
    transport->is_final = n == 1 && (type == '\x15' || type == '\x16');
    strcpy(transport->message, transport->is_final
                                   ? "the server speaks TLS on this port: begin the URL with rediss"
                                   : "the connection was closed by the server during the login");
    return GAVEL__PROGRESS_FAILED;
}

static gavel__progress probe_connect(gavel__transport *transport)
{
    plain *self = (plain *)transport;
    if (self->has_asked)
        return take_probe_answer(transport);
    gavel__progress progress = plain_connect(transport);
    if (progress != GAVEL__PROGRESS_DONE)
        return progress;
    self->has_asked = true;
    transport->awaits_read = true;
    plain_send(transport, question, sizeof(question) - 1); /* if it fails, receive says so */
    return GAVEL__PROGRESS_UNDER_WAY;
}

static const gavel__transport_ops probe_ops = {
    .connect = probe_connect,
    .send = plain_send,
    .receive = plain_receive,
    .close = plain_close,
};

/* ---- Dialling ------------------------------------------------------------------------------ */

static gavel__transport *plain_create(
    int fd, bool is_probe, const gavel_allocator *allocator, gavel_error *ret_error)
{
    plain *self = gavel__alloc(allocator, 1, sizeof(*self));
    if (self == NULL) {
        strcpy(ret_error->message, "out of memory");
        return NULL;
    }
    self->base =
        (gavel__transport){.ops = is_probe ? &probe_ops : &plain_ops, .fd = fd, .can_wait = true};
    self->allocator = allocator;
    return &self->base;
}

/* The fd of a connection under way, or -1. */
static int begin_connection(const gavel__endpoint *endpoint, gavel_error *ret_error)
{
    int family = endpoint->address.any.sa_family;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, &endpoint->address.any, endpoint->size) != 0 &&
        errno != EINPROGRESS && errno != EINTR) {
        int error = errno;
        close(fd);
        errno = error;
        fd = -1;
    }
    if (fd < 0)
        gavel__socket_explain(errno, ret_error->message);
    return fd;
}

static bool set_option(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof(value)) == 0;
}

/* A server that is gone without a word is found out by the time-outs; keep-alives find it while
 * nothing is asked of it, or while it was asked to wait: in five seconds, not in two hours. */
static bool keep_alive(int fd)
{
    return set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1) &&
           set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 2) &&
           set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 1) &&
           set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
}

static bool prepare_socket(int fd, bool is_tcp)
{
    return !is_tcp || (set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1) && keep_alive(fd));
}

gavel__transport *gavel__dial_socket(void *dialler, gavel__destination destination,
    const gavel_allocator *allocator, gavel_error *ret_error)
{
    (void)dialler;
    int fd = begin_connection(destination.endpoint, ret_error);
    if (fd < 0)
        return NULL;
    gavel__transport *transport = NULL;
    if (!prepare_socket(fd, destination.address->path == NULL))
        gavel__socket_explain(errno, ret_error->message);
    else if (destination.tls != NULL)
        transport = gavel__tls_transport_create(fd, &destination, allocator, ret_error);
    else
        transport = plain_create(fd, destination.is_probe, allocator, ret_error);
    if (transport == NULL)
        close(fd);
    return transport;
}
