/*
 * Relays; see relay.h. One thread, epoll and a timerfd. Every connection has two streams, each a
 * list of pieces with the time at which they are to be passed on. As all wait equally long, the
 * pieces of all streams stand in one queue, in the order in which they came.
 */
#include "relay.h"

#include "measure.h"
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define N_PIECE ((size_t)64 * 1024)
#define MAX_EVENTS 64

struct end {
    int fd;
    struct end *other;
};

/* Both ends of one connection. Kept until the process ends, which is with the run. */
struct pair {
    struct end client;
    struct end server;
};

struct piece {
    struct piece *next;
    struct end *to;
    int64_t due_ns;
    size_t size; /* 0: the stream ends */
    char data[];
};

struct state {
    const char *url;
    int64_t delay_ns;
    int epoll;
    int timer;
    int listener;
    int lifeline;
    struct piece *first;
    struct piece **last;
    char buffer[N_PIECE];
};

/* ---- Pieces ---------------------------------------------------------------------------------- */

static bool keep(struct state *state, struct end *to, size_t size)
{
    struct piece *piece = malloc(sizeof(*piece) + size);
    if (piece == NULL)
        return false;
    *piece = (struct piece){.to = to, .due_ns = measure_now_ns() + state->delay_ns, .size = size};
    memcpy(piece->data, state->buffer, size);
    *state->last = piece;
    state->last = &piece->next;
    return true;
}

static void pass_on(const struct piece *piece)
{
    if (piece->size == 0)
        shutdown(piece->to->fd, SHUT_WR);
    for (size_t n_sent = 0; n_sent < piece->size;) {
        ssize_t n = send(piece->to->fd, piece->data + n_sent, piece->size - n_sent, MSG_NOSIGNAL);
        struct pollfd poll_fd = {.fd = piece->to->fd, .events = POLLOUT};
        if (n > 0)
            n_sent += (size_t)n;
        else if (errno != EAGAIN || poll(&poll_fd, 1, 1000) != 1)
            return; /* whoever it is for has gone */
    }
}

static void pass_on_due(struct state *state)
{
    while (state->first != NULL && state->first->due_ns <= measure_now_ns()) {
        struct piece *piece = state->first;
        state->first = piece->next;
        if (state->first == NULL)
            state->last = &state->first;
        pass_on(piece);
        free(piece);
    }
    struct itimerspec spec = {0};
    if (state->first != NULL) {
        spec.it_value.tv_sec = (time_t)(state->first->due_ns / 1000000000);
        spec.it_value.tv_nsec = (long)(state->first->due_ns % 1000000000);
    }
    timerfd_settime(state->timer, TFD_TIMER_ABSTIME, &spec, NULL);
}

/* ---- Connections ----------------------------------------------------------------------------- */

static bool add(struct state *state, int fd, void *data)
{
    struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = data}};
    int flags = fcntl(fd, F_GETFL);
    return flags != -1 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) != -1 &&
           epoll_ctl(state->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

static bool accept_one(struct state *state)
{
    int fd = accept(state->listener, NULL, NULL);
    if (fd == -1)
        return errno == EAGAIN || errno == EINTR;
    struct pair *pair = calloc(1, sizeof(*pair));
    if (pair == NULL)
        return false;
    redisContext *context = server_connect(state->url);
    if (context == NULL)
        return false;
    pair->client = (struct end){.fd = fd, .other = &pair->server};
    pair->server = (struct end){.fd = context->fd, .other = &pair->client};
    return add(state, fd, &pair->client) && add(state, context->fd, &pair->server);
}

static bool receive(struct state *state, struct end *from)
{
    ssize_t n = recv(from->fd, state->buffer, N_PIECE, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n <= 0)
        epoll_ctl(state->epoll, EPOLL_CTL_DEL, from->fd, NULL);
    return keep(state, from->other, n > 0 ? (size_t)n : 0);
}

static bool serve(struct state *state)
{
    struct epoll_event events[MAX_EVENTS];
    int n = epoll_wait(state->epoll, events, MAX_EVENTS, -1);
    if (n == -1 && errno != EINTR)
        return false;
    for (int i = 0; i < n; i++) {
        void *data = events[i].data.ptr;
        if (data == &state->lifeline)
            return false;
        if (data == &state->timer)
            continue;
        bool is_good = data == &state->listener ? accept_one(state) : receive(state, data);
        if (!is_good)
            return false;
    }
    pass_on_due(state);
    return true;
}

static void run(struct state *state)
{
    state->last = &state->first;
    state->epoll = epoll_create1(EPOLL_CLOEXEC);
    state->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    if (state->epoll == -1 || state->timer == -1 || !add(state, state->timer, &state->timer) ||
        !add(state, state->listener, &state->listener) ||
        !add(state, state->lifeline, &state->lifeline)) {
        perror("relay");
        return;
    }
    while (serve(state))
        ;
}

/* ---- Starting and stopping ------------------------------------------------------------------- */

static int listen_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd == -1 || bind(fd, (struct sockaddr *)&address, sizeof(address)) == -1 ||
        listen(fd, 1024) == -1) {
        perror(path);
        if (fd != -1)
            close(fd);
        return -1;
    }
    return fd;
}

static bool fork_relay(struct relay *relay, struct state *state, int pipe_fds[2])
{
    relay->pid = fork();
    if (relay->pid == 0) {
        close(pipe_fds[1]);
        state->lifeline = pipe_fds[0];
        run(state);
        _exit(0);
    }
    close(pipe_fds[0]);
    relay->lifeline = pipe_fds[1];
    if (relay->pid == -1)
        perror("fork");
    return relay->pid != -1;
}

bool relay_start(struct relay *relay, const char *url, int64_t rtt_ns)
{
    int pipe_fds[2];
    struct state *state = calloc(1, sizeof(*state));
    snprintf(relay->folder, sizeof(relay->folder), "/tmp/relay-XXXXXX");
    if (state == NULL || mkdtemp(relay->folder) == NULL || pipe(pipe_fds) == -1) {
        perror("relay");
        free(state);
        return false;
    }
    fcntl(pipe_fds[1], F_SETFD, FD_CLOEXEC);
    snprintf(relay->url, sizeof(relay->url), "unix://%s/socket", relay->folder);
    state->url = url;
    state->delay_ns = rtt_ns / 2;
    state->listener = listen_at(relay->url + strlen("unix://"));
    bool is_started = state->listener != -1 && fork_relay(relay, state, pipe_fds);
    if (state->listener != -1)
        close(state->listener);
    free(state);
    return is_started;
}

void relay_stop(struct relay *relay)
{
    kill(relay->pid, SIGTERM);
    waitpid(relay->pid, NULL, 0);
    close(relay->lifeline);
    unlink(relay->url + strlen("unix://"));
    rmdir(relay->folder);
}
