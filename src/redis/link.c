/*
 * Links over a transport. For clients, through redis/link.h.
 *
 * A callback may disconnect the link and even connect it again. So whoever called out compares
 * n_endings with what it was before: if the connection has ended meanwhile, there is nothing left
 * to do for it.
 */
#include "redis/link.h"

#include "base/heap.h"
#include "base/text.h"
#include "redis/handshake.h"
#include "redis/reader.h"

#include <assert.h>

/* At least a TLS record, see transport_tls.c. */
#define INPUT_SIZE ((size_t)64 * 1024)

/* So many receives in a row, so that one link with much to say does not starve the others. */
#define RECEIVES_MAX 16

/* Of a server's label in a message, so that the reason behind it still has room. */
#define LABEL_SHOWN_MAX 80

struct gavel__link {
    gavel__link_config config;
    gavel__link_events events;
    gavel__link_state state;
    gavel__endpoint endpoint;    /* last dialled */
    gavel__transport *transport; /* NULL while DOWN */
    unsigned n_endings;          /* of connections, ever */
    bool has_heard;              /* something from the server, since it was dialled */
    bool is_to_probe;            /* the next dial: see gavel__link_loss, is_unheard */
    bool has_probed;             /* in vain, and nothing was heard since */

    gavel__buffer out;       /* not yet sent */
    uint64_t n_sent_bytes;   /* since UP */
    bool has_failed_sending; /* what was received before is still worth handing out */

    gavel__reader reader;
    char *input;   /* INPUT_SIZE bytes */
    long n_waited; /* what wait received, for deliver */

    char *marker; /* for the handshake */
    size_t marker_size;
    gavel__handshake handshake; /* once without HELLO, always so */
    char *user;                 /* these two while a login of on_login's is under way, else NULL */
    char *password;

    size_t n_expected;
    bool has_no_timeout; /* the server was asked to wait */
    /* UP: of the last sign of life, or since when replies are awaited; before: of connecting. */
    int64_t since_us;
    gavel__link_counters counters;
};

/* ---- States -------------------------------------------------------------------------------- */

static bool is_legal(gavel__link_state from, gavel__link_state to)
{
    switch (to) {
    case GAVEL__LINK_DOWN:
        return from != GAVEL__LINK_DOWN;
    case GAVEL__LINK_DIALLING:
        return from == GAVEL__LINK_DOWN;
    case GAVEL__LINK_LOGIN:
        return from == GAVEL__LINK_DIALLING;
    case GAVEL__LINK_HANDSHAKE:
        return from == GAVEL__LINK_DIALLING || from == GAVEL__LINK_LOGIN;
    case GAVEL__LINK_UP:
        return from == GAVEL__LINK_HANDSHAKE;
    }
    return false;
}

static void set_state(gavel__link *link, gavel__link_state state)
{
    bool is_allowed = is_legal(link->state, state);
    assert(is_allowed);
    (void)is_allowed; /* Where assert is nothing. */
    link->state = state;
}

/* One that was asked for leaves nothing behind. */
static void forget_login(gavel__link *link)
{
    if (link->events.on_login == NULL)
        return;
    gavel__wipe_string(link->user);
    gavel__wipe_string(link->password);
    gavel__free(link->config.allocator, link->user);
    gavel__free(link->config.allocator, link->password);
    link->user = link->password = NULL;
    link->handshake.login = (gavel__handshake_login){.may_change = true};
    gavel__buffer_wipe(&link->out);
}

void gavel__link_disconnect(gavel__link *link)
{
    if (link->state == GAVEL__LINK_DOWN)
        return;
    set_state(link, GAVEL__LINK_DOWN);
    if (link->transport != NULL && link->events.on_closing != NULL)
        link->events.on_closing(link, link->events.owner);
    if (link->transport != NULL)
        link->transport->ops->close(link->transport);
    link->transport = NULL;
    forget_login(link);
    link->n_endings++;
    link->n_expected = 0;
    link->n_waited = GAVEL__TRANSPORT_WOULD_BLOCK;
}

/* Where the link was, if the label does not say so; else "". */
static void print_place(const gavel__link *link, char *place, size_t size)
{
    char number[GAVEL__ENDPOINT_TEXT_SIZE];
    const gavel__address *address = link->config.address;
    gavel__endpoint_print(&link->endpoint, number);
    if (address->kind == GAVEL__ADDRESS_SENTINEL)
        gavel__format_place(place, size, number, address->port);
    else if (address->host == NULL || strcmp(number, address->host) == 0)
        gavel__format(place, size, "%s", "");
    else
        gavel__format(place, size, "%s", number);
}

/* Puts the server's name in front of a loss's message, and which of its addresses it was. */
static void name_server(const gavel__link *link, gavel__link_loss *loss)
{
    char reason[GAVEL_MESSAGE_SIZE];
    char place[GAVEL__ENDPOINT_TEXT_SIZE + 8];
    const gavel__address *address = link->config.address;
    const char *dots = strlen(address->label) > LABEL_SHOWN_MAX ? "..." : "";
    strcpy(reason, loss->message);
    print_place(link, place, sizeof(place));
    bool has_place = place[0] != '\0';
    gavel__format(loss->message, sizeof(loss->message), "%.*s%s%s%s%s: %s", LABEL_SHOWN_MAX,
        address->label, dots, has_place ? " (" : "", place, has_place ? ")" : "", reason);
}

/* The end of a connection that the owner did not ask for. `loss` does not name the server yet. */
static void end(gavel__link *link, gavel__link_loss *loss)
{
    name_server(link, loss);
    gavel__link_disconnect(link);
    link->events.on_down(link, loss, link->events.owner);
}

static void lose(gavel__link *link, const char *reason)
{
    gavel__link_loss loss = {.is_final = false};
    gavel__format(loss.message, sizeof(loss.message), "%s", reason);
    end(link, &loss);
}

/* Whether the next dial is to find out if this is a port for TLS. */
static bool is_unheard(const gavel__link *link)
{
    return link->state == GAVEL__LINK_HANDSHAKE && !link->has_heard && !link->has_probed &&
           link->config.tls == NULL && link->config.address->path == NULL;
}

/* The transport has failed, and says why. */
static void lose_transport(gavel__link *link)
{
    gavel__link_loss loss = {.is_final = link->transport->is_final,
        .is_cut = link->state == GAVEL__LINK_UP,
        .is_unheard = is_unheard(link)};
    link->is_to_probe = loss.is_unheard || (loss.is_final && link->has_probed); /* still TLS? */
    bool is_login = link->state == GAVEL__LINK_LOGIN || link->state == GAVEL__LINK_HANDSHAKE;
    const char *when = is_login ? " during the login" : "";
    gavel__format(loss.message, sizeof(loss.message), "%s%s", link->transport->message, when);
    end(link, &loss);
}

/* The same, for what came and could not be read. */
static void lose_unread(gavel__link *link)
{
    gavel__link_loss loss = {.is_too_large = link->reader.is_too_large};
    gavel__format(loss.message, sizeof(loss.message), "%s", gavel__reader_fault(&link->reader));
    end(link, &loss);
}

/* ---- Life ---------------------------------------------------------------------------------- */

gavel__link *gavel__link_create(const gavel__link_config *config, const gavel__link_events *events)
{
    gavel__link *link = gavel__alloc(config->allocator, 1, sizeof(*link));
    if (link == NULL)
        return NULL;
    link->config = *config;
    link->events = *events;
    link->n_waited = GAVEL__TRANSPORT_WOULD_BLOCK;
    gavel__buffer_init(&link->out, config->allocator);
    gavel__reader_init(&link->reader, config->allocator, config->max_reply_bytes);
    link->input = gavel__alloc(config->allocator, INPUT_SIZE, 1);
    if (link->input == NULL) {
        gavel__link_destroy(link);
        return NULL;
    }
    return link;
}

void gavel__link_destroy(gavel__link *link)
{
    if (link == NULL)
        return;
    const gavel_allocator *allocator = link->config.allocator;
    gavel__link_disconnect(link);
    gavel__buffer_finish(&link->out);
    gavel__reader_finish(&link->reader);
    gavel__free(allocator, link->input);
    gavel__free(allocator, link->marker);
    gavel__free(allocator, link);
}

static bool keep_marker(gavel__link *link, gavel_bytes marker)
{
    char *copy = gavel__resize(link->config.allocator, link->marker, marker.size, 1);
    if (copy == NULL)
        return false;
    if (marker.size > 0)
        memcpy(copy, marker.data, marker.size);
    link->marker = copy;
    link->marker_size = marker.size;
    return true;
}

static void say_handshake(gavel__link *link)
{
    gavel_bytes marker = {link->marker, link->marker_size};
    gavel__handshake_write(&link->handshake, &link->config, marker, &link->out);
    gavel__link_flush(link);
}

static void on_connected(gavel__link *link)
{
    const gavel__address *address = link->config.address;
    if (link->events.on_login != NULL) {
        set_state(link, GAVEL__LINK_LOGIN);
        link->events.on_login(link, link->events.owner);
        return;
    }
    link->handshake.login = (gavel__handshake_login){address->user, address->password, false};
    set_state(link, GAVEL__LINK_HANDSHAKE);
    say_handshake(link);
}

static void go_on_dialling(gavel__link *link)
{
    switch (link->transport->ops->connect(link->transport)) {
    case GAVEL__PROGRESS_FAILED:
        lose_transport(link);
        break;
    case GAVEL__PROGRESS_UNDER_WAY:
        break;
    case GAVEL__PROGRESS_DONE:
        on_connected(link);
        break;
    }
}

void gavel__link_connect(
    gavel__link *link, const gavel__endpoint *endpoint, gavel_bytes marker, int64_t now_us)
{
    set_state(link, GAVEL__LINK_DIALLING);
    gavel__buffer_clear(&link->out);
    link->n_sent_bytes = 0;
    link->has_failed_sending = false;
    link->since_us = now_us;
    link->endpoint = *endpoint;
    link->has_heard = false;
    if (!keep_marker(link, marker) || !gavel__reader_start(&link->reader)) {
        lose(link, "out of memory");
        return;
    }
    const gavel__link_config *config = &link->config;
    gavel_error error = {{0}};
    gavel__destination destination = {
        config->address, &link->endpoint, config->tls, link->is_to_probe};
    link->has_probed |= link->is_to_probe;
    link->is_to_probe = false;
    link->transport = config->dial(config->dialler, destination, config->allocator, &error);
    if (link->transport == NULL)
        lose(link, error.message);
    else
        go_on_dialling(link);
}

/* ---- Logging in ---------------------------------------------------------------------------- */

/* What a handshake takes beside the user, the password, the name and the marker, and more. */
#define HANDSHAKE_ROOM 512

/* Room for all of the handshake: a buffer that grows would leave pieces of it behind. */
static bool make_room(gavel__link *link)
{
    size_t size = HANDSHAKE_ROOM + link->marker_size + strlen(link->config.name);
    size += link->user != NULL ? strlen(link->user) : 0;
    size += link->password != NULL ? strlen(link->password) : 0;
    return gavel__buffer_reserve(&link->out, size) != NULL;
}

void gavel__link_log_in(gavel__link *link, const char *user, const char *password, int64_t now_us)
{
    const gavel_allocator *allocator = link->config.allocator;
    assert(link->state == GAVEL__LINK_LOGIN);
    link->since_us = now_us;
    link->user = user != NULL ? gavel__copy_string(allocator, user) : NULL;
    link->password = password != NULL ? gavel__copy_string(allocator, password) : NULL;
    bool is_copied =
        (link->user != NULL || user == NULL) && (link->password != NULL || password == NULL);
    if (!is_copied || !make_room(link)) {
        lose(link, "out of memory");
        return;
    }
    link->handshake.login = (gavel__handshake_login){link->user, link->password, true};
    set_state(link, GAVEL__LINK_HANDSHAKE);
    say_handshake(link);
}

void gavel__link_refuse_login(gavel__link *link, const char *reason)
{
    char message[GAVEL_MESSAGE_SIZE];
    assert(link->state == GAVEL__LINK_LOGIN);
    gavel__format(message, sizeof(message), "no login: %s", reason);
    lose(link, message);
}

/* ---- Sending ------------------------------------------------------------------------------- */

void gavel__link_flush(gavel__link *link)
{
    if (link->state != GAVEL__LINK_HANDSHAKE && link->state != GAVEL__LINK_UP)
        return;
    gavel__transport *transport = link->transport;
    if (link->out.has_failed)
        link->has_failed_sending = true;
    while (link->out.size > 0 && !link->has_failed_sending) {
        long n = transport->ops->send(transport, link->out.data, link->out.size);
        link->counters.n_sends++;
        if (n == GAVEL__TRANSPORT_WOULD_BLOCK)
            return;
        if (n == GAVEL__TRANSPORT_BROKEN) {
            link->has_failed_sending = true;
            return;
        }
        if (link->state == GAVEL__LINK_UP)
            link->n_sent_bytes += (uint64_t)n;
        if ((size_t)n == link->out.size) {
            /* Clearing gives a large one back, and then it is too late. */
            if (link->state != GAVEL__LINK_UP && link->events.on_login != NULL)
                gavel__buffer_wipe(&link->out);
            gavel__buffer_clear(&link->out);
        } else
            gavel__buffer_consume(&link->out, (size_t)n);
    }
}

void gavel__link_expect(gavel__link *link, size_t n, int64_t now_us)
{
    assert(link->state == GAVEL__LINK_UP);
    if (link->n_expected == 0)
        link->since_us = now_us;
    link->n_expected += n;
}

/* ---- Receiving ----------------------------------------------------------------------------- */

static void take_handshake(gavel__link *link, const gavel_reply *reply)
{
    gavel__link_loss loss;
    switch (gavel__handshake_take(&link->handshake, reply, &loss)) {
    case GAVEL__HANDSHAKE_RESULT_MORE:
        break;
    case GAVEL__HANDSHAKE_RESULT_GOOD:
        forget_login(link);
        set_state(link, GAVEL__LINK_UP);
        link->events.on_up(link, link->events.owner);
        break;
    case GAVEL__HANDSHAKE_RESULT_AGAIN:
        link->handshake.has_no_hello = true;
        say_handshake(link);
        break;
    case GAVEL__HANDSHAKE_RESULT_BAD:
        end(link, &loss);
        break;
    }
}

/* A server says why it closes a connection in an error that answers nothing. */
static void refuse_reply(gavel__link *link, const gavel_reply *reply)
{
    gavel__link_loss loss = {.is_final = false};
    if (reply->type == GAVEL_REPLY_ERROR) {
        char shown[GAVEL_MESSAGE_SIZE];
        loss.server_error = gavel__handshake_censor(reply->text, link->handshake.login.password);
        gavel__format(loss.message, sizeof(loss.message), "the server said, unasked: %s",
            gavel__printable(loss.server_error, shown, sizeof(shown)));
    } else {
        gavel__format(
            loss.message, sizeof(loss.message), "a reply came that nothing had asked for");
    }
    end(link, &loss);
}

static void take_reply(gavel__link *link, const gavel_reply *reply)
{
    if (link->state == GAVEL__LINK_HANDSHAKE) {
        take_handshake(link, reply);
    } else if (link->n_expected == 0) {
        refuse_reply(link, reply);
    } else {
        link->n_expected--;
        link->events.on_reply(link, reply, link->events.owner);
    }
}

/* Hands out the replies that are there. */
static void take_replies(gavel__link *link)
{
    unsigned n_endings = link->n_endings;
    while (link->n_endings == n_endings) {
        const gavel_reply *reply;
        switch (gavel__reader_next(&link->reader, &reply)) {
        case GAVEL__READING_MORE:
            return;
        case GAVEL__READING_REPLY:
            take_reply(link, reply);
            break;
        case GAVEL__READING_BROKEN:
            lose_unread(link);
            return;
        }
    }
}

/* Takes what a receive came to; whether it is worth trying again. */
static bool take_input(gavel__link *link, long n, int64_t now_us)
{
    unsigned n_endings = link->n_endings;
    link->counters.n_receives++;
    if (n == GAVEL__TRANSPORT_WOULD_BLOCK)
        return false;
    if (n == GAVEL__TRANSPORT_BROKEN) {
        lose_transport(link);
        return false;
    }
    if (link->state == GAVEL__LINK_UP)
        link->since_us = now_us;
    link->has_heard = true;
    link->has_probed = false;
    gavel__reader_feed(&link->reader, (gavel_bytes){link->input, (size_t)n});
    take_replies(link);
    return link->n_endings == n_endings && (size_t)n == INPUT_SIZE;
}

static long receive(gavel__link *link, bool wait)
{
    gavel__transport *transport = link->transport;
    return transport->ops->receive(transport, link->input, INPUT_SIZE, wait);
}

static void receive_all(gavel__link *link, int64_t now_us)
{
    for (int i = 0; i < RECEIVES_MAX; i++) {
        if (!take_input(link, receive(link, false), now_us))
            return;
    }
}

void gavel__link_on_ready(gavel__link *link, bool is_readable, bool is_writable, int64_t now_us)
{
    if (link->state == GAVEL__LINK_DOWN)
        return;
    if (link->state == GAVEL__LINK_DIALLING) {
        go_on_dialling(link);
        return;
    }
    if (is_writable)
        gavel__link_flush(link);
    if (is_readable)
        receive_all(link, now_us);
}

bool gavel__link_can_wait(const gavel__link *link)
{
    switch (link->state) {
    case GAVEL__LINK_DOWN:
    case GAVEL__LINK_DIALLING:
    case GAVEL__LINK_LOGIN:
        return false;
    case GAVEL__LINK_HANDSHAKE:
    case GAVEL__LINK_UP:
        return link->transport->can_wait;
    }
    return false;
}

void gavel__link_wait(gavel__link *link)
{
    link->n_waited = receive(link, true);
}

void gavel__link_deliver(gavel__link *link, int64_t now_us)
{
    long n = link->n_waited;
    if (link->state == GAVEL__LINK_DOWN)
        return;
    link->n_waited = GAVEL__TRANSPORT_WOULD_BLOCK;
    if (take_input(link, n, now_us))
        receive_all(link, now_us);
}

/* ---- Time ---------------------------------------------------------------------------------- */

int64_t gavel__link_due_us(const gavel__link *link)
{
    if (link->has_failed_sending && link->state != GAVEL__LINK_DOWN)
        return INT64_MIN;
    switch (link->state) {
    case GAVEL__LINK_DOWN:
    case GAVEL__LINK_LOGIN: /* whoever is asked may take its time */
        break;
    case GAVEL__LINK_DIALLING:
    case GAVEL__LINK_HANDSHAKE:
        return link->since_us + link->config.connect_timeout_us;
    case GAVEL__LINK_UP:
        if (link->n_expected > 0 && !link->has_no_timeout)
            return link->since_us + link->config.command_timeout_us;
        break;
    }
    return GAVEL__NEVER;
}

static void lose_overdue(gavel__link *link)
{
    bool is_up = link->state == GAVEL__LINK_UP;
    bool is_broken = link->has_failed_sending && !link->out.has_failed;
    gavel__link_loss loss = {.is_cut = is_up && is_broken};
    int64_t timeout_us = is_up ? link->config.command_timeout_us : link->config.connect_timeout_us;
    long long timeout_ms = timeout_us / 1000;
    if (link->out.has_failed)
        gavel__format(loss.message, sizeof(loss.message), "out of memory");
    else if (is_broken)
        gavel__format(loss.message, sizeof(loss.message), "the connection broke while sending");
    else if (is_up)
        gavel__format(loss.message, sizeof(loss.message), "no reply for %lld ms", timeout_ms);
    else if (link->state == GAVEL__LINK_HANDSHAKE)
        gavel__format(
            loss.message, sizeof(loss.message), "no answer to the login in %lld ms", timeout_ms);
    else
        gavel__format(loss.message, sizeof(loss.message), "no connection in %lld ms", timeout_ms);
    end(link, &loss);
}

void gavel__link_on_time(gavel__link *link, int64_t now_us)
{
    if (now_us < gavel__link_due_us(link))
        return;
    /* This process may have been the one that was late. */
    unsigned n_endings = link->n_endings;
    gavel__link_on_ready(link, true, true, now_us);
    if (link->n_endings == n_endings && now_us >= gavel__link_due_us(link))
        lose_overdue(link);
}

/* ---- What it is like ----------------------------------------------------------------------- */

gavel__link_state gavel__link_get_state(const gavel__link *link)
{
    return link->state;
}

const char *gavel__link_remark(const gavel__link *link)
{
    if (!link->handshake.has_no_hello)
        return NULL;
    return link->handshake.is_info_refused
               ? "logged in by AUTH, since the server refuses HELLO; it refuses INFO, too, so it "
                 "may be older than gavel needs"
               : "logged in by AUTH, since the server refuses HELLO";
}

int gavel__link_fd(const gavel__link *link)
{
    return link->transport != NULL ? link->transport->fd : -1;
}

bool gavel__link_wants_write(const gavel__link *link)
{
    switch (link->state) {
    case GAVEL__LINK_DOWN:
    case GAVEL__LINK_LOGIN:
        return false;
    case GAVEL__LINK_DIALLING:
        return !link->transport->awaits_read;
    case GAVEL__LINK_HANDSHAKE:
    case GAVEL__LINK_UP:
        return link->out.size > 0 && !link->has_failed_sending;
    }
    return false;
}

gavel__buffer *gavel__link_out(gavel__link *link)
{
    assert(link->state == GAVEL__LINK_UP);
    return &link->out;
}

void gavel__link_set_timeout(gavel__link *link, bool has_timeout)
{
    link->has_no_timeout = !has_timeout;
}

size_t gavel__link_n_expected(const gavel__link *link)
{
    return link->n_expected;
}

bool gavel__link_can_tell_fsync(const gavel__link *link)
{
    return link->handshake.can_tell_fsync;
}

uint64_t gavel__link_n_sent_bytes(const gavel__link *link)
{
    return link->n_sent_bytes;
}

const gavel__link_counters *gavel__link_get_counters(const gavel__link *link)
{
    return &link->counters;
}
