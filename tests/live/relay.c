/*
 * The relay of relay.h: one thread that accepts, one for each link. A link's thread sleeps in poll,
 * on both of its sides and on a pipe whose end means that the relay stops.
 */
#include "relay.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_LINKS 4096
#define MAX_ARGS 1024
#define CHUNK_SIZE ((size_t)64 * 1024)

typedef struct relay_link {
    test_relay *relay;
    pthread_t thread;
    unsigned number;
    unsigned n_execs; /* seen, the handshake's too */
    int client;
    int server;
    char *pending; /* from gavel, not yet passed on */
    size_t n_pending;
    size_t capacity;
    uint64_t n_to_server;
    uint64_t n_to_client;
    redisReader *reader; /* tells where replies end */
} relay_link;

struct test_relay {
    const test_server *server;
    relay_hook *hook;
    void *user;
    relay_cut cut;
    char path[108];
    char url[128];
    int listener;
    int stop[2]; /* closing the writing end stops everything */
    pthread_t acceptor;
    pthread_mutex_t hook_mutex;
    pthread_mutex_t mutex; /* of all that follows */
    pthread_cond_t changed;
    relay_link *links[MAX_LINKS];
    unsigned n_links;
    unsigned n_execs;
    unsigned n_late;       /* links that wait for relay_deliver, or are about it */
    uint64_t n_deliveries; /* asked for, ever */
    uint64_t n_delivered;  /* links, ever */
    bool is_stopping;
    bool has_cut;
};

__attribute__((noreturn)) static void give_up(const char *what)
{
    fprintf(stderr, "relay: %s: %s\n", what, strerror(errno));
    abort();
}

static void *not_null(void *memory)
{
    if (memory == NULL)
        give_up("no memory");
    return memory;
}

static void close_side(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* ---- Commands ------------------------------------------------------------------------------ */

/* Reads "<mark><number>\r\n"; false: not all there. */
static bool parse_line(gavel_bytes *text, char mark, size_t *ret_number)
{
    const char *end = text->size > 0 ? memchr(text->data, '\n', text->size) : NULL;
    if (end == NULL)
        return false;
    if (text->data[0] != mark)
        give_up("gavel sent something that is no command");
    *ret_number = strtoul(text->data + 1, NULL, 10);
    text->size -= (size_t)(end + 1 - text->data);
    text->data = end + 1;
    return true;
}

/* The size of the whole command at the beginning of `text`; 0: it is not all there. */
static size_t parse_command(gavel_bytes text, gavel_bytes *args, size_t *ret_n_args)
{
    gavel_bytes rest = text;
    size_t n_args;
    if (!parse_line(&rest, '*', &n_args))
        return 0;
    if (n_args == 0 || n_args > MAX_ARGS)
        give_up("a command of too many arguments");
    for (size_t i = 0; i < n_args; i++) {
        size_t size;
        if (!parse_line(&rest, '$', &size) || rest.size < size + 2)
            return 0;
        args[i] = (gavel_bytes){rest.data, size};
        rest = (gavel_bytes){rest.data + size + 2, rest.size - size - 2};
    }
    *ret_n_args = n_args;
    return text.size - rest.size;
}

bool relay_is(const relay_command *command, const char *name)
{
    return command->args[0].size == strlen(name) &&
           strncasecmp(command->args[0].data, name, strlen(name)) == 0;
}

bool relay_is_exec(const relay_command *command)
{
    return command->round > 0 && relay_is(command, "EXEC");
}

static void count_exec(relay_link *self, const relay_command *command)
{
    if (!relay_is(command, "EXEC"))
        return;
    self->n_execs++;
    if (!relay_is_exec(command))
        return;
    pthread_mutex_lock(&self->relay->mutex);
    self->relay->n_execs++;
    pthread_mutex_unlock(&self->relay->mutex);
}

static void keep(relay_link *self, const char *data, size_t size)
{
    if (self->n_pending + size > self->capacity) {
        self->capacity = 2 * (self->n_pending + size);
        self->pending = not_null(realloc(self->pending, self->capacity));
    }
    memcpy(self->pending + self->n_pending, data, size);
    self->n_pending += size;
}

static void forget(relay_link *self, size_t size)
{
    memmove(self->pending, self->pending + size, self->n_pending - size);
    self->n_pending -= size;
}

/* ---- Passing bytes ------------------------------------------------------------------------- */

/* False: the other side is gone. */
static bool send_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = send(fd, data, size, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        data += n;
        size -= (size_t)n;
    }
    return true;
}

/* 0: the other side is gone. */
static size_t receive(int fd, char *data)
{
    ssize_t n;
    do
        n = recv(fd, data, CHUNK_SIZE, 0);
    while (n < 0 && errno == EINTR);
    return n > 0 ? (size_t)n : 0;
}

/* Until one of them is readable (fd -1: never). False: the relay stops. */
static bool wait_for(const relay_link *self, int client, int server, struct pollfd polled[3])
{
    polled[0] = (struct pollfd){.fd = client, .events = POLLIN};
    polled[1] = (struct pollfd){.fd = server, .events = POLLIN};
    polled[2] = (struct pollfd){.fd = self->relay->stop[0], .events = POLLIN};
    while (poll(polled, 3, -1) < 0) {
        if (errno != EINTR)
            give_up("poll");
    }
    return polled[2].revents == 0;
}

/* Gives the server what is still to be given, and returns when it has read and executed it all:
 * then it finds the end of its input, and closes. */
static void see_through(relay_link *self, const char *data, size_t size)
{
    char chunk[CHUNK_SIZE];
    struct pollfd polled[3];
    if (!send_all(self->server, data, size))
        return;
    shutdown(self->server, SHUT_WR);
    while (wait_for(self, -1, self->server, polled) && receive(self->server, chunk) > 0)
        continue;
}

/* Waits for relay_deliver, and delivers. */
static void be_late(relay_link *self, relay_action action, const char *data, size_t size)
{
    test_relay *relay = self->relay;
    pthread_mutex_lock(&relay->mutex);
    relay->n_late++;
    uint64_t n_deliveries = relay->n_deliveries;
    if (action == RELAY_LATE)
        close_side(&self->client);
    while (relay->n_deliveries == n_deliveries && !relay->is_stopping)
        pthread_cond_wait(&relay->changed, &relay->mutex);
    bool is_stopping = relay->is_stopping;
    pthread_mutex_unlock(&relay->mutex);
    if (!is_stopping)
        see_through(self, data, size);
    pthread_mutex_lock(&relay->mutex);
    relay->n_late--;
    relay->n_delivered++;
    pthread_cond_broadcast(&relay->changed);
    pthread_mutex_unlock(&relay->mutex);
}

/* Gives the server what came, and no more. */
static void fall_silent(relay_link *self, const char *data, size_t size)
{
    if (send_all(self->server, data, size))
        be_late(self, RELAY_MUTE, "", 0);
}

/* ---- With a hook: a command at a time ------------------------------------------------------ */

/* Passes the reply to one command on. False: the link is over. */
static bool pass_reply(relay_link *self)
{
    char chunk[CHUNK_SIZE];
    struct pollfd polled[3];
    void *reply = NULL;
    while (reply == NULL) {
        if (!wait_for(self, -1, self->server, polled))
            return false;
        size_t n = receive(self->server, chunk);
        if (n == 0)
            return false;
        send_all(self->client, chunk, n); /* gavel may have left; the command was executed */
        redisReaderFeed(self->reader, chunk, n);
        if (redisReaderGetReply(self->reader, &reply) != REDIS_OK)
            give_up("a reply that is none");
    }
    freeReplyObject(reply);
    return true;
}

/* False: the link is over. */
static bool pass_command(relay_link *self, const relay_command *command, size_t size)
{
    test_relay *relay = self->relay;
    pthread_mutex_lock(&relay->hook_mutex);
    relay_action action = relay->hook(relay, command, relay->user);
    pthread_mutex_unlock(&relay->hook_mutex);
    switch (action) {
    case RELAY_PASS:
        return send_all(self->server, self->pending, size) && pass_reply(self);
    case RELAY_CUT:
        return false;
    case RELAY_LOSE_REPLY:
        see_through(self, self->pending, size);
        return false;
    case RELAY_LATE:
    case RELAY_STALL:
        be_late(self, action, self->pending, self->n_pending);
        return false;
    case RELAY_MUTE:
        fall_silent(self, self->pending, self->n_pending);
        return false;
    }
    return false;
}

static bool pass_commands(relay_link *self)
{
    gavel_bytes args[MAX_ARGS];
    relay_command command = {.link = self->number, .args = args};
    size_t size;
    while ((size = parse_command(
                (gavel_bytes){self->pending, self->n_pending}, args, &command.n_args)) > 0) {
        command.round = self->n_execs;
        count_exec(self, &command);
        if (!pass_command(self, &command, size))
            return false;
        forget(self, size);
    }
    return true;
}

/* ---- Without: bytes, up to the cut --------------------------------------------------------- */

static void count_execs(relay_link *self, const char *data, size_t size)
{
    gavel_bytes args[MAX_ARGS];
    relay_command command = {.args = args};
    keep(self, data, size);
    while ((size = parse_command(
                (gavel_bytes){self->pending, self->n_pending}, args, &command.n_args)) > 0) {
        command.round = self->n_execs;
        count_exec(self, &command);
        forget(self, size);
    }
}

/* How many of the bytes may pass. */
static size_t cut_off(relay_link *self, relay_side side, uint64_t n_before, size_t size)
{
    test_relay *relay = self->relay;
    const relay_cut *cut = &relay->cut;
    if (cut->action == RELAY_PASS || cut->side != side ||
        (self->number > 0 && !cut->is_for_every_link) || n_before + size <= cut->n_bytes)
        return size;
    pthread_mutex_lock(&relay->mutex);
    relay->has_cut = true;
    pthread_mutex_unlock(&relay->mutex);
    return (size_t)(cut->n_bytes - n_before);
}

static bool pass_to_server(relay_link *self, const char *data, size_t size)
{
    count_execs(self, data, size);
    size_t n = cut_off(self, RELAY_TO_SERVER, self->n_to_server, size);
    self->n_to_server += n;
    if (n == size)
        return send_all(self->server, data, size);
    relay_action action = self->relay->cut.action;
    switch (action) {
    case RELAY_PASS:
    case RELAY_CUT:
        send_all(self->server, data, n);
        break;
    case RELAY_LOSE_REPLY:
        see_through(self, data, n);
        break;
    case RELAY_LATE:
    case RELAY_STALL:
        be_late(self, action, data, n);
        break;
    case RELAY_MUTE:
        fall_silent(self, data, n);
        break;
    }
    return false;
}

static bool pass_to_client(relay_link *self, const char *data, size_t size)
{
    size_t n = cut_off(self, RELAY_TO_CLIENT, self->n_to_client, size);
    self->n_to_client += n;
    return send_all(self->client, data, n) && n == size;
}

/* ---- Threads ------------------------------------------------------------------------------- */

static bool pass_what_came(relay_link *self, const struct pollfd polled[3], char *chunk)
{
    if (polled[1].revents != 0) {
        size_t n = receive(self->server, chunk);
        if (n == 0 || !pass_to_client(self, chunk, n))
            return false;
    }
    if (polled[0].revents != 0) {
        size_t n = receive(self->client, chunk);
        if (n == 0)
            return false;
        if (self->relay->hook == NULL)
            return pass_to_server(self, chunk, n);
        keep(self, chunk, n);
        return pass_commands(self);
    }
    return true;
}

static void *run_link(void *argument)
{
    relay_link *self = argument;
    char *chunk = not_null(malloc(CHUNK_SIZE));
    struct pollfd polled[3];
    while (self->server >= 0 && wait_for(self, self->client, self->server, polled) &&
           pass_what_came(self, polled, chunk))
        continue;
    free(chunk);
    close_side(&self->server);
    close_side(&self->client);
    return NULL;
}

static struct sockaddr_un address_of(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path))
        give_up("a path too long");
    strcpy(address.sun_path, path);
    return address;
}

/* -1: there is no server just now. */
static int connect_to_server(const test_relay *relay)
{
    struct sockaddr_un address = address_of(server_path(relay->server));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        close_side(&fd);
    return fd;
}

static void begin_link(test_relay *relay, int client)
{
    relay_link *self = not_null(calloc(1, sizeof(*self)));
    self->relay = relay;
    self->client = client;
    self->server = connect_to_server(relay);
    self->reader = not_null(redisReaderCreate());
    pthread_mutex_lock(&relay->mutex);
    if (relay->n_links == MAX_LINKS)
        give_up("too many links");
    self->number = relay->n_links;
    relay->links[relay->n_links++] = self;
    pthread_mutex_unlock(&relay->mutex);
    if (pthread_create(&self->thread, NULL, run_link, self) != 0)
        give_up("pthread_create");
}

static void *run_acceptor(void *argument)
{
    test_relay *relay = argument;
    relay_link listener = {.relay = relay};
    struct pollfd polled[3];
    while (wait_for(&listener, relay->listener, -1, polled)) {
        int client = accept(relay->listener, NULL, NULL);
        if (client < 0)
            give_up("accept");
        fcntl(client, F_SETFD, FD_CLOEXEC);
        begin_link(relay, client);
    }
    return NULL;
}

/* ---- The outside --------------------------------------------------------------------------- */

/* In the server's folder, so that it goes with it. */
static void listen_beside(test_relay *relay, const char *path)
{
    static unsigned n_relays;
    const char *slash = strrchr(path, '/');
    snprintf(
        relay->path, sizeof(relay->path), "%.*s/relay%u", (int)(slash - path), path, n_relays++);
    snprintf(relay->url, sizeof(relay->url), "unix://%s", relay->path);
    struct sockaddr_un address = address_of(relay->path);
    relay->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (relay->listener < 0 ||
        bind(relay->listener, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(relay->listener, 64) != 0)
        give_up(relay->path);
}

test_relay *relay_start(
    const test_server *server, relay_hook *hook, void *user, const relay_cut *cut)
{
    test_relay *relay = not_null(calloc(1, sizeof(*relay)));
    relay->server = server;
    relay->hook = hook;
    relay->user = user;
    if (cut != NULL)
        relay->cut = *cut;
    pthread_mutex_init(&relay->hook_mutex, NULL);
    pthread_mutex_init(&relay->mutex, NULL);
    pthread_cond_init(&relay->changed, NULL);
    if (pipe(relay->stop) != 0)
        give_up("pipe");
    /* A server restarted meanwhile must not hold it open. */
    fcntl(relay->stop[0], F_SETFD, FD_CLOEXEC);
    fcntl(relay->stop[1], F_SETFD, FD_CLOEXEC);
    listen_beside(relay, server_path(server));
    if (pthread_create(&relay->acceptor, NULL, run_acceptor, relay) != 0)
        give_up("pthread_create");
    return relay;
}

static void free_link(relay_link *self)
{
    pthread_join(self->thread, NULL);
    redisReaderFree(self->reader);
    free(self->pending);
    free(self);
}

void relay_stop(test_relay *relay)
{
    if (relay == NULL)
        return;
    pthread_mutex_lock(&relay->mutex);
    relay->is_stopping = true;
    pthread_cond_broadcast(&relay->changed);
    pthread_mutex_unlock(&relay->mutex);
    close_side(&relay->stop[1]);
    pthread_join(relay->acceptor, NULL);
    for (unsigned i = 0; i < relay->n_links; i++)
        free_link(relay->links[i]);
    close_side(&relay->stop[0]);
    close_side(&relay->listener);
    unlink(relay->path);
    pthread_cond_destroy(&relay->changed);
    pthread_mutex_destroy(&relay->mutex);
    pthread_mutex_destroy(&relay->hook_mutex);
    free(relay);
}

const char *relay_url(const test_relay *relay)
{
    return relay->url;
}

unsigned relay_deliver(test_relay *relay)
{
    pthread_mutex_lock(&relay->mutex);
    unsigned n_late = relay->n_late;
    uint64_t n_delivered = relay->n_delivered + n_late;
    relay->n_deliveries++;
    pthread_cond_broadcast(&relay->changed);
    while (relay->n_delivered < n_delivered)
        pthread_cond_wait(&relay->changed, &relay->mutex);
    pthread_mutex_unlock(&relay->mutex);
    return n_late;
}

unsigned relay_n_links(test_relay *relay)
{
    pthread_mutex_lock(&relay->mutex);
    unsigned n_links = relay->n_links;
    pthread_mutex_unlock(&relay->mutex);
    return n_links;
}

unsigned relay_n_execs(test_relay *relay)
{
    pthread_mutex_lock(&relay->mutex);
    unsigned n_execs = relay->n_execs;
    pthread_mutex_unlock(&relay->mutex);
    return n_execs;
}

bool relay_has_cut(test_relay *relay)
{
    pthread_mutex_lock(&relay->mutex);
    bool has_cut = relay->has_cut;
    pthread_mutex_unlock(&relay->mutex);
    return has_cut;
}
