/* Wires; see wire.h. */
#include "wire.h"

#include "server.h"

#include <hiredis.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Enough for any reply of this benchmark; a larger one is refused. */
#define MAX_REPLIES 16
#define MAX_TEXT 1024

/* No argument of this benchmark is longer than this, with its length before it. */
#define MAX_COMMAND 1024

#define N_IN ((size_t)64 * 1024)

struct wire {
    redisContext *context; /* for its connection only */
    redisReader *reader;
    wire_on_reply *on_reply;
    char *out;
    size_t out_size;
    size_t out_capacity;
    void **receivers; /* a ring: those whose replies are to come */
    size_t first;
    size_t n_receivers;
    size_t receivers_capacity; /* a power of two */
    uint64_t n_round_trips;
    gavel_reply replies[MAX_REPLIES]; /* of the reply that is being read */
    size_t n_replies;
    char text[MAX_TEXT];
    size_t text_size;
    char in[N_IN];
};

/* ---- Replies, built in place ----------------------------------------------------------------- */

/* hiredis 0.14 counts elements as int, later ones as size_t. */
#if HIREDIS_MAJOR >= 1
typedef size_t element_count;
#else
typedef int element_count;
#endif

/* The next n replies side by side, or NULL. */
static gavel_reply *take_replies(struct wire *wire, size_t n)
{
    if (n > MAX_REPLIES - wire->n_replies)
        return NULL;
    gavel_reply *replies = &wire->replies[wire->n_replies];
    wire->n_replies += n;
    memset(replies, 0, n * sizeof(*replies));
    return replies;
}

static gavel_reply *place(const redisReadTask *task, gavel_reply_type type)
{
    gavel_reply *reply;
    if (task->parent != NULL)
        reply = (gavel_reply *)((gavel_reply *)task->parent->obj)->elements + task->idx;
    else
        reply = take_replies(task->privdata, 1);
    if (reply != NULL)
        reply->type = type;
    return reply;
}

static void *create_string(const redisReadTask *task, char *data, size_t size)
{
    struct wire *wire = task->privdata;
    gavel_reply_type type = task->type == REDIS_REPLY_STATUS  ? GAVEL_REPLY_STATUS
                            : task->type == REDIS_REPLY_ERROR ? GAVEL_REPLY_ERROR
                                                              : GAVEL_REPLY_STRING;
    gavel_reply *reply = place(task, type);
    if (reply == NULL || size + 1 > MAX_TEXT - wire->text_size)
        return NULL;
    char *text = &wire->text[wire->text_size];
    memcpy(text, data, size);
    text[size] = '\0';
    wire->text_size += size + 1;
    reply->text = (gavel_bytes){text, size};
    return reply;
}

static void *create_array(const redisReadTask *task, element_count count)
{
    gavel_reply *reply = place(task, GAVEL_REPLY_ARRAY);
    gavel_reply *elements = reply != NULL ? take_replies(task->privdata, (size_t)count) : NULL;
    if (elements == NULL)
        return NULL;
    reply->elements = elements;
    reply->n_elements = (size_t)count;
    return reply;
}

static void *create_integer(const redisReadTask *task, long long value)
{
    gavel_reply *reply = place(task, GAVEL_REPLY_INTEGER);
    if (reply != NULL)
        reply->integer = value;
    return reply;
}

static void *create_nil(const redisReadTask *task)
{
    return place(task, GAVEL_REPLY_NIL);
}

static void free_nothing(void *reply)
{
    (void)reply;
}

/* hiredis wants it writable and does not write. */
static redisReplyObjectFunctions functions = {
    .createString = create_string,
    .createArray = create_array,
    .createInteger = create_integer,
    .createNil = create_nil,
    .freeObject = free_nothing,
};

/* ---- Opening and closing --------------------------------------------------------------------- */

struct wire *wire_open(const char *url, bool is_blocking, wire_on_reply *on_reply)
{
    struct wire *wire = calloc(1, sizeof(*wire));
    if (wire == NULL)
        return NULL;
    wire->on_reply = on_reply;
    wire->context = server_connect(url);
    wire->reader = redisReaderCreateWithFunctions(&functions);
    if (wire->context == NULL || wire->reader == NULL)
        goto fail;
    wire->reader->privdata = wire;
    int flags = fcntl(wire->context->fd, F_GETFL);
    int wanted = is_blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK;
    if (flags == -1 || fcntl(wire->context->fd, F_SETFL, wanted) == -1) {
        perror("fcntl");
        goto fail;
    }
    return wire;

fail:
    wire_close(wire);
    return NULL;
}

void wire_close(struct wire *wire)
{
    if (wire == NULL)
        return;
    if (wire->context != NULL)
        redisFree(wire->context);
    if (wire->reader != NULL)
        redisReaderFree(wire->reader);
    free(wire->receivers);
    free(wire->out);
    free(wire);
}

int wire_fd(const struct wire *wire)
{
    return wire->context->fd;
}

uint64_t wire_n_round_trips(const struct wire *wire)
{
    return wire->n_round_trips;
}

/* ---- Sending --------------------------------------------------------------------------------- */

/* A benchmark has nothing better to do without memory than to stop. */
static void *grow(void *memory, size_t size)
{
    void *grown = realloc(memory, size);
    if (grown == NULL) {
        perror("wire");
        exit(1);
    }
    return grown;
}

static void add_receiver(struct wire *wire, void *receiver)
{
    if (wire->n_receivers == wire->receivers_capacity) {
        size_t capacity = wire->receivers_capacity != 0 ? 2 * wire->receivers_capacity : 16;
        void **ring = grow(NULL, capacity * sizeof(*ring));
        for (size_t i = 0; i < wire->n_receivers; i++)
            ring[i] = wire->receivers[(wire->first + i) & (wire->receivers_capacity - 1)];
        free(wire->receivers);
        wire->receivers = ring;
        wire->receivers_capacity = capacity;
        wire->first = 0;
    }
    size_t place = (wire->first + wire->n_receivers++) & (wire->receivers_capacity - 1);
    wire->receivers[place] = receiver;
}

/* "*3\r\n" or "$12\r\n" */
static char *put_count(char *at, char sign, size_t count)
{
    char digits[20];
    size_t n = 0;
    do
        digits[n++] = (char)('0' + count % 10);
    while ((count /= 10) > 0);
    *at++ = sign;
    while (n > 0)
        *at++ = digits[--n];
    *at++ = '\r';
    *at++ = '\n';
    return at;
}

bool wire_send(struct wire *wire, void *receiver, const gavel_bytes *args, size_t n_args)
{
    bool is_first = wire->out_size == 0;
    if (wire->out_capacity - wire->out_size < MAX_COMMAND) {
        wire->out_capacity = 2 * wire->out_capacity + MAX_COMMAND;
        wire->out = grow(wire->out, wire->out_capacity);
    }
    char *at = put_count(wire->out + wire->out_size, '*', n_args);
    for (size_t i = 0; i < n_args; i++) {
        at = put_count(at, '$', args[i].size);
        memcpy(at, args[i].data, args[i].size);
        at += args[i].size;
        *at++ = '\r';
        *at++ = '\n';
    }
    wire->out_size = (size_t)(at - wire->out);
    add_receiver(wire, receiver);
    return is_first;
}

static bool wait_writable(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};
    return poll(&poll_fd, 1, -1) == 1 || errno == EINTR;
}

bool wire_flush(struct wire *wire)
{
    if (wire->out_size > 0)
        wire->n_round_trips++;
    for (size_t n_sent = 0; n_sent < wire->out_size;) {
        ssize_t n =
            send(wire->context->fd, wire->out + n_sent, wire->out_size - n_sent, MSG_NOSIGNAL);
        if (n > 0)
            n_sent += (size_t)n;
        else if ((errno != EAGAIN && errno != EINTR) || !wait_writable(wire->context->fd))
            return false;
    }
    wire->out_size = 0;
    return true;
}

/* ---- Receiving ------------------------------------------------------------------------------- */

static bool hand_out(struct wire *wire)
{
    for (;;) {
        void *reply = NULL;
        if (redisReaderGetReply(wire->reader, &reply) != REDIS_OK)
            return false;
        if (reply == NULL)
            return true;
        if (wire->n_receivers == 0)
            return false;
        void *receiver = wire->receivers[wire->first];
        wire->first = (wire->first + 1) & (wire->receivers_capacity - 1);
        wire->n_receivers--;
        wire->n_replies = 0;
        wire->text_size = 0;
        wire->on_reply(receiver, reply);
    }
}

bool wire_receive(struct wire *wire)
{
    ssize_t n = recv(wire->context->fd, wire->in, N_IN, 0);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    return n > 0 && redisReaderFeed(wire->reader, wire->in, (size_t)n) == REDIS_OK &&
           hand_out(wire);
}
