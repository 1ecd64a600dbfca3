/*
 * The pump: carries what the links hear to the engine or the locks, whichever has the lane, and
 * what these want to the links, the loop and the callers. The only place where they meet.
 */
#include "client/client.h"

#include "base/text.h"
#include "core/guard.h"

/* ---- From a link to the engine ------------------------------------------------------------- */

static gavel_bytes begin_engine_dial(gavel__tie *tie)
{
    return gavel__engine_begin_dial(&tie->client->engine, tie->lane);
}

static void on_engine_up(gavel__tie *tie)
{
    gavel__engine_on_link_up(&tie->client->engine, tie->lane, gavel__link_out(tie->link));
}

static void on_engine_reply(gavel__tie *tie, const gavel_reply *reply)
{
    gavel__engine_on_reply(&tie->client->engine, tie->lane, reply, tie->client->now_us);
}

static void on_engine_down(gavel__tie *tie, const gavel__loss *loss)
{
    gavel__engine_on_link_down(&tie->client->engine, tie->lane, loss, tie->client->now_us);
}

const gavel__tie_side gavel__engine_side = {
    begin_engine_dial, on_engine_up, on_engine_reply, on_engine_down};

/* ---- From a link to whoever has its lane --------------------------------------------------- */

static void on_up(gavel__link *link, void *owner)
{
    (void)link;
    gavel__tie *tie = owner;
    tie->client->has_news = true;
    gavel__client_log(tie->client, GAVEL_LOG_DEBUG, "link %u: up", (unsigned)tie->lane->index);
    tie->side->on_up(tie);
}

static void on_reply(gavel__link *link, const gavel_reply *reply, void *owner)
{
    (void)link;
    gavel__tie *tie = owner;
    tie->client->has_news = true;
    tie->side->on_reply(tie, reply);
}

static void unwatch(gavel__tie *tie)
{
    gavel__loop *loop = tie->client->loop;
    loop->ops->unwatch(loop, &tie->watch);
    tie->watch.fd = -1;
}

static void tell_loss(gavel__tie *tie, const gavel__loss *loss)
{
    tie->client->has_news = true;
    gavel__client_log(tie->client, GAVEL_LOG_INFO, "link %u: down: %s", (unsigned)tie->lane->index,
        loss->message);
    unwatch(tie);
    tie->side->on_down(tie, loss);
}

static void on_down(gavel__link *link, const gavel__link_loss *loss, void *owner)
{
    tell_loss(owner, &(gavel__loss){.n_sent = gavel__link_n_sent_bytes(link),
                         .is_final = loss->is_final,
                         .is_refused = loss->server_error.data != NULL,
                         .message = loss->message});
}

static void on_ready(gavel__watch *watch, bool is_readable, bool is_writable)
{
    gavel__tie *tie = watch->owner;
    gavel_client *client = tie->client;
    gavel__client_expire_locks(client);
    if (client->is_closing && !client->platform.is_blocking)
        return; /* that was told, and the program closes: on_turn sees to it */
    gavel__link_on_ready(tie->link, is_readable, is_writable, gavel__client_now_us(client));
    tie->lane->n_sent = gavel__link_n_sent_bytes(tie->link);
    /* Not only when the loop is about to sleep: what follows on this link leaves while the next
     * link's replies are looked at, so that the server and we work at the same time. */
    if (tie->client->has_news)
        gavel__client_pump(tie->client);
}

/* ---- To the links -------------------------------------------------------------------------- */

static bool make_link(gavel__tie *tie)
{
    gavel__link_events events = {on_up, on_reply, on_down, tie};
    tie->link = gavel__link_create(tie->link_config, &events);
    tie->watch = (gavel__watch){.on_ready = on_ready, .owner = tie, .fd = -1};
    return tie->link != NULL;
}

static void dial(gavel__tie *tie, int64_t now_us)
{
    gavel_bytes marker = tie->side->begin_dial(tie);
    if (tie->link == NULL && !make_link(tie)) {
        tell_loss(tie, &(gavel__loss){.message = "no memory for a link"});
        return;
    }
    gavel__link_connect(tie->link, marker, now_us);
}

static void close_condemned(gavel__tie *tie)
{
    uint64_t n_sent = gavel__link_n_sent_bytes(tie->link);
    gavel__link_disconnect(tie->link);
    char message[GAVEL_MESSAGE_SIZE];
    gavel__format(
        message, sizeof(message), "%s: %s", tie->client->address.label, tie->lane->message);
    tell_loss(tie, &(gavel__loss){.n_sent = n_sent, .message = message});
}

/* In the queue of a lock or gate the server says nothing until it is our turn. */
static void allow_silence(gavel__tie *tie)
{
    gavel__link_allow_silence(
        tie->link, tie->is_patient || gavel__pass_blocked_on(tie->lane) != NULL);
}

static void flush(gavel__tie *tie, int64_t now_us)
{
    size_t n_replies = tie->lane->n_new_replies;
    tie->lane->n_new_replies = 0;
    allow_silence(tie);
    gavel__link_expect(tie->link, n_replies, now_us);
    gavel__link_flush(tie->link, now_us);
    tie->lane->n_sent = gavel__link_n_sent_bytes(tie->link);
}

static void serve_link(gavel__tie *tie, int64_t now_us)
{
    gavel__lane *lane = tie->lane;
    if (tie->is_slept_on)
        return; /* its socket is another thread's for a moment; that one will be here next */
    /* Before anything is sent: what was taken back must not leave. */
    if (lane->is_condemned)
        close_condemned(tie);
    if (tie->link != NULL)
        allow_silence(tie);
    if (tie->link != NULL && gavel__link_due_us(tie->link) <= now_us) {
        gavel__link_on_time(tie->link, now_us);
        lane->n_sent = gavel__link_n_sent_bytes(tie->link);
    }
    if (lane->state == GAVEL__LANE_WANTED && lane->dial_us <= now_us)
        dial(tie, now_us);
    if (lane->state == GAVEL__LANE_UP && lane->n_new_replies > 0)
        flush(tie, now_us);
}

/* ---- To the callers ------------------------------------------------------------------------ */

static void tell_outcome(gavel_client *client, gavel__transaction *transaction)
{
    if (transaction->waiter != NULL)
        gavel__client_tell_waiter(client, transaction);
    else if (transaction->done != NULL)
        transaction->done(&transaction->outcome, transaction->user);
    if (transaction->waiter == NULL)
        gavel_outcome_clear(&transaction->outcome);
    gavel__engine_release(&client->engine, transaction);
}

static void tell_outcomes(gavel_client *client)
{
    for (gavel__transaction *transaction;
         (transaction = gavel__engine_take_done(&client->engine)) != NULL;) {
        client->has_told = true;
        tell_outcome(client, transaction);
    }
}

/* ---- To the loop --------------------------------------------------------------------------- */

static void watch_link(gavel_client *client, gavel__tie *tie)
{
    gavel__watch *watch = &tie->watch;
    int fd = tie->link != NULL && !tie->is_slept_on ? gavel__link_fd(tie->link) : -1;
    if (fd < 0) {
        if (watch->backend != NULL)
            unwatch(tie);
        return;
    }
    bool wants_write = gavel__link_wants_write(tie->link);
    if (watch->backend != NULL && watch->fd == fd && watch->wants_write == wants_write)
        return;
    watch->fd = fd;
    watch->wants_read = true;
    watch->wants_write = wants_write;
    client->needs_wake = true;
    if (!client->loop->ops->watch(client->loop, watch)) {
        gavel__lane_condemn(tie->lane, "no memory to watch the link");
        client->has_news = true;
    }
}

static int64_t due_us(gavel_client *client)
{
    int64_t due_us = gavel__engine_due_us(&client->engine);
    int64_t locks_due_us = gavel__client_locks_due_us(client, client->now_us);
    if (locks_due_us < due_us)
        due_us = locks_due_us;
    size_t n_ties = gavel__client_n_ties(client);
    for (size_t i = 0; i < n_ties; i++) {
        const gavel__tie *tie = gavel__client_tie(client, i);
        /* Who sleeps on a link looks to it: for the loop there would be nothing to do. */
        if (tie->link == NULL || tie->is_slept_on)
            continue;
        if (gavel__link_due_us(tie->link) < due_us)
            due_us = gavel__link_due_us(tie->link);
    }
    return due_us;
}

void gavel__client_watch(gavel_client *client)
{
    size_t n_ties = gavel__client_n_ties(client);
    for (size_t i = 0; i < n_ties; i++)
        watch_link(client, gavel__client_tie(client, i));
    int64_t due = due_us(client);
    if (due < client->armed_us)
        client->needs_wake = true;
    client->armed_us = due;
    client->loop->ops->wake_at(client->loop, due);
    bool is_busy = client->engine.queue.n_open > 0 ||
                   !gavel__list_is_empty(&client->engine.queue.done) ||
                   (gavel__client_has_locks(client) && gavel__locks_are_busy(&client->locks));
    if (is_busy != client->is_busy) {
        client->is_busy = is_busy;
        client->loop->ops->set_busy(client->loop, is_busy);
    }
}

/* ---- All of it ----------------------------------------------------------------------------- */

/* So that callbacks that always submit more cannot keep the loop from its other work. */
static const int max_passes = 16;

bool gavel__client_pump(gavel_client *client)
{
    if (client->is_pumping)
        return false; /* a callback of the pump below calls: it will go round again */
    client->is_pumping = true;
    client->has_news = true;
    for (int pass = 0; pass < max_passes && client->has_news; pass++) {
        int64_t now_us = gavel__client_now_us(client);
        client->has_news = false;
        gavel__client_advance_locks(client);
        gavel__engine_advance(&client->engine, now_us);
        size_t n_ties = gavel__client_n_ties(client);
        for (size_t i = 0; i < n_ties; i++)
            serve_link(gavel__client_tie(client, i), now_us);
        tell_outcomes(client);
        if (gavel__engine_keeps_gates(&client->engine))
            client->has_news = true;
        gavel__client_tell_locks(client);
    }
    client->is_pumping = false;
    gavel__keeper_look(client);
    return client->has_news;
}
