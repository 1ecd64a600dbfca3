/*
 * The pump: carries what the links hear to the engine, and what it and the locks want to the links,
 * the loop and the callers. The only place where they meet.
 */
#include "client/client.h"

#include "base/text.h"
#include "client/cluster.h"
#include "client/replicas.h"
#include "client/sentinels.h"
#include "core/guard.h"

/* What a server says that cannot be believed waits in its socket. */
static bool may_read(const gavel__connection *connection)
{
    const gavel_client *client = connection->client;
    return connection->lane->state != GAVEL__LANE_UP ||
           gavel__engine_trusts(&client->engine, connection->lane->node, client->now_us);
}

/* ---- From a link to the engine ------------------------------------------------------------- */

static void on_up(gavel__link *link, void *owner)
{
    gavel__connection *connection = owner;
    connection->client->has_news = true;
    gavel__directory_on_good(&connection->site->directory, &connection->route);
    gavel__client_log_up(connection, gavel__link_remark(link));
    connection->lane->can_tell_fsync = gavel__link_can_tell_fsync(link);
    gavel__engine_on_link_up(
        &connection->client->engine, connection->lane, gavel__link_out(connection->link));
}

static void on_reply(gavel__link *link, const gavel_reply *reply, void *owner)
{
    (void)link;
    gavel__connection *connection = owner;
    connection->client->has_news = true;
    gavel__engine_on_reply(
        &connection->client->engine, connection->lane, reply, connection->client->now_us);
}

static void unwatch(gavel__connection *connection)
{
    gavel__loop *loop = connection->client->loop;
    loop->ops->unwatch(loop, &connection->watch);
    connection->watch.fd = -1;
}

static void on_closing(gavel__link *link, void *owner)
{
    (void)link;
    unwatch(owner);
}

static void tell_loss(gavel__connection *connection, const gavel__loss *loss)
{
    connection->client->has_news = true;
    connection->awaits_endpoint = false;
    const gavel__lane *lane = connection->lane;
    if (!lane->is_retired && lane->node->primary == NULL)
        gavel__peers_urge(connection->client, connection->client->now_us);
    if (lane->state == GAVEL__LANE_DIALLING)
        gavel__cluster_on_loss(connection->client, lane->node, loss);
    if (lane->state == GAVEL__LANE_UP)
        gavel__client_log_down(connection, loss->message, lane->is_retired);
    else
        gavel__client_log_failure(connection, loss->message, false);
    gavel__engine_on_link_down(
        &connection->client->engine, connection->lane, loss, connection->client->now_us);
}

/* As whom? The program is asked when the connection is served; not what it was asked for another
 * login of this connection's. */
static void on_login(gavel__link *link, void *owner)
{
    (void)link;
    gavel__connection *connection = owner;
    connection->client->has_news = true;
    gavel__credentials_forget(&connection->client->credentials, connection);
    gavel__client_log_link(connection, GAVEL_LOG_DEBUG, "connected; asking for a login");
}

/* Whether another of the server's endpoints is to be tried before the lane hears of a loss. */
static bool goes_elsewhere(gavel__connection *connection, const gavel__link_loss *loss)
{
    if (connection->lane->state != GAVEL__LANE_DIALLING || loss->is_final)
        return false;
    return gavel__directory_on_failure(&connection->site->directory, &connection->route);
}

static void on_down(gavel__link *link, const gavel__link_loss *loss, void *owner)
{
    gavel__connection *connection = owner;
    if (goes_elsewhere(connection, loss)) {
        gavel__client_log_failure(connection, loss->message, true);
        connection->awaits_endpoint = true;
        connection->marker =
            gavel__engine_begin_dial(&connection->client->engine, connection->lane);
        connection->client->has_news = true;
        return;
    }
    tell_loss(owner, &(gavel__loss){.n_sent = gavel__link_n_sent_bytes(link),
                         .is_final = loss->is_final,
                         .is_refused = loss->server_error.data != NULL,
                         .is_cut = loss->is_cut,
                         .is_too_large = loss->is_too_large,
                         .message = loss->message});
}

static void on_ready(gavel__watch *watch, bool is_readable, bool is_writable)
{
    gavel__connection *connection = watch->owner;
    gavel_client *client = connection->client;
    gavel__client_expire_locks(client);
    if (client->is_closing && !client->platform.is_blocking)
        return; /* that was told, and the program closes: on_turn sees to it */
    int64_t now_us = gavel__client_now_us(client);
    is_readable = is_readable && may_read(connection);
    gavel__link_on_ready(connection->link, is_readable, is_writable, now_us);
    connection->lane->n_sent = gavel__link_n_sent_bytes(connection->link);
    /* Not only when the loop is about to sleep: what follows on this link leaves while the next
     * link's replies are looked at, so that the server and we work at the same time. */
    if (connection->client->has_news)
        gavel__client_pump(connection->client);
}

/* ---- To the links -------------------------------------------------------------------------- */

/* NULL: no memory. */
static gavel__connection *make_connection(
    gavel_client *client, gavel__site *site, gavel__lane *lane)
{
    gavel__connection *connection = gavel__alloc(&client->allocator, 1, sizeof(*connection));
    if (connection == NULL)
        return NULL;
    gavel__link_events events = {.on_up = on_up,
        .on_reply = on_reply,
        .on_down = on_down,
        .owner = connection,
        .on_closing = on_closing,
        .on_login = client->credentials.log_in != NULL ? on_login : NULL};
    connection->site = site;
    connection->link = gavel__link_create(&connection->site->link_config, &events);
    if (connection->link == NULL) {
        gavel__free(&client->allocator, connection);
        return NULL;
    }
    connection->watch = (gavel__watch){.on_ready = on_ready, .owner = connection, .fd = -1};
    connection->client = client;
    connection->lane = lane;
    connection->next = client->connections;
    client->connections = connection;
    lane->connection = connection;
    return connection;
}

static void tell_no_endpoint(gavel__connection *connection)
{
    const gavel__site *site = connection->site;
    char message[GAVEL_MESSAGE_SIZE];
    gavel__format(message, sizeof(message), "%s: %s", site->link_config.address->label,
        site->directory.message);
    tell_loss(connection, &(gavel__loss){.message = message});
}

/* Dials the next endpoint, if it is known by now, and may be believed. */
static void go_on_dialling(gavel__connection *connection, int64_t now_us)
{
    gavel__endpoint endpoint;
    if (!gavel__engine_trusts(&connection->client->engine, connection->lane->node, now_us))
        return;
    switch (gavel__directory_next(
        &connection->site->directory, &connection->route, now_us, &endpoint)) {
    case GAVEL__DIRECTORY_ANSWER_LATER:
        break;
    case GAVEL__DIRECTORY_ANSWER_NONE:
        tell_no_endpoint(connection);
        break;
    case GAVEL__DIRECTORY_ANSWER_ENDPOINT:
        connection->awaits_endpoint = false;
        gavel__link_connect(connection->link, &endpoint, connection->marker, now_us);
        break;
    }
}

static void dial(gavel__connection *connection, int64_t now_us)
{
    connection->marker = gavel__engine_begin_dial(&connection->client->engine, connection->lane);
    connection->awaits_endpoint = true;
    gavel__directory_begin(&connection->site->directory, &connection->route, now_us);
    go_on_dialling(connection, now_us);
}

/* The server is elsewhere now. */
static void dial_anew(gavel_client *client, int64_t now_us)
{
    for (gavel__connection *connection = client->connections; connection != NULL;
         connection = connection->next) {
        if (connection->lane->state != GAVEL__LANE_DIALLING || connection->site != &client->site)
            continue;
        gavel__link_disconnect(connection->link);
        dial(connection, now_us);
    }
}

static void close_condemned(gavel__connection *connection)
{
    uint64_t n_sent = gavel__link_n_sent_bytes(connection->link);
    gavel__link_disconnect(connection->link);
    char message[GAVEL_MESSAGE_SIZE];
    gavel__format(message, sizeof(message), "%s: %s", connection->site->link_config.address->label,
        connection->lane->message);
    tell_loss(connection, &(gavel__loss){.n_sent = n_sent, .message = message});
}

/* In the queue of a lock or gate the server says nothing until it is our turn. */
static void set_timeout(gavel__connection *connection)
{
    gavel__link_set_timeout(connection->link, !gavel__lane_may_be_silent(connection->lane));
}

static void flush(gavel__connection *connection, int64_t now_us)
{
    size_t n_replies = connection->lane->n_new_replies;
    connection->lane->n_new_replies = 0;
    set_timeout(connection);
    gavel__link_expect(connection->link, n_replies, now_us);
    gavel__link_flush(connection->link);
    connection->lane->n_sent = gavel__link_n_sent_bytes(connection->link);
}

static void serve_login(gavel__connection *connection, int64_t now_us)
{
    char reason[GAVEL_MESSAGE_SIZE];
    gavel_login login;
    gavel_client *client = connection->client;
    switch (gavel__credentials_take(&client->credentials, connection, &login, reason)) {
    case GAVEL__CREDENTIALS_ANSWER_LATER:
        return;
    case GAVEL__CREDENTIALS_ANSWER_NONE:
        gavel__link_refuse_login(connection->link, reason);
        break;
    case GAVEL__CREDENTIALS_ANSWER_LOGIN:
        gavel__link_log_in(connection->link, login.user, login.password, now_us);
        gavel__login_finish(&login);
        break;
    }
    client->has_news = true; /* the program can be asked for another one */
}

static void serve_link(gavel__connection *connection, int64_t now_us)
{
    gavel__lane *lane = connection->lane;
    if (connection->is_slept_on)
        return; /* its socket is another thread's for a moment; that one will be here next */
    /* Before anything is sent: what was taken back must not leave. */
    if (lane->is_condemned)
        close_condemned(connection);
    set_timeout(connection);
    if (gavel__link_due_us(connection->link) <= now_us && may_read(connection)) {
        gavel__link_on_time(connection->link, now_us);
        lane->n_sent = gavel__link_n_sent_bytes(connection->link);
    }
    if (connection->awaits_endpoint)
        go_on_dialling(connection, now_us);
    lane->awaits_login = gavel__link_get_state(connection->link) == GAVEL__LINK_LOGIN;
    if (lane->awaits_login)
        serve_login(connection, now_us);
    else
        gavel__credentials_forget(&connection->client->credentials, connection);
    if (lane->state == GAVEL__LANE_WANTED && lane->dial_us <= now_us)
        dial(connection, now_us);
    if (lane->state == GAVEL__LANE_UP && lane->n_new_replies > 0)
        flush(connection, now_us);
}

static void tell_no_memory(gavel_client *client, gavel__lane *lane, int64_t now_us)
{
    gavel__engine_begin_dial(&client->engine, lane);
    client->has_news = true;
    gavel__engine_on_link_down(
        &client->engine, lane, &(gavel__loss){.message = "no memory for a link"}, now_us);
}

/* NULL: nobody knows just now. */
static gavel__site *site_of(gavel_client *client, const gavel__node *node)
{
    if (client->cluster != NULL)
        return gavel__cluster_site(client, node);
    return node->index == 0 ? &client->site : gavel__replicas_site(client, node);
}

/* Not while nobody knows where its node is. */
static void connect_lane(gavel_client *client, gavel__lane *lane, int64_t now_us)
{
    gavel__site *site = site_of(client, lane->node);
    if (site != NULL && make_connection(client, site, lane) == NULL)
        tell_no_memory(client, lane, now_us);
}

static void serve_links(gavel_client *client, int64_t now_us)
{
    for (gavel__lane *lane = gavel__nodes_first_lane(&client->engine.nodes); lane != NULL;
         lane = gavel__nodes_next_lane(lane)) {
        bool is_wanted = lane->state == GAVEL__LANE_WANTED && lane->dial_us <= now_us;
        if (lane->connection == NULL && is_wanted)
            connect_lane(client, lane, now_us);
        if (lane->connection != NULL)
            serve_link(lane->connection, now_us);
    }
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

static void tell_audit(gavel_client *client)
{
    gavel__audit audit;
    if (gavel__ledger_take_audit(&client->engine.ledger, &audit))
        gavel__client_log_lost(client, &audit);
}

/* ---- To the loop --------------------------------------------------------------------------- */

static void watch_link(gavel_client *client, gavel__connection *connection)
{
    if (connection->is_slept_on) {
        if (connection->watch.backend != NULL)
            unwatch(connection);
        return;
    }
    if (gavel__client_watch_link(
            client, &connection->watch, connection->link, may_read(connection)))
        return;
    gavel__lane_condemn(connection->lane, "no memory to watch the link");
    client->has_news = true;
}

/* So that it can have the mutex. */
static const int64_t sleeper_rest_us = 1000;

static int64_t due_us(gavel_client *client)
{
    int64_t due_us = client->now_us + sleeper_rest_us;
    int64_t peers_due_us = gavel__peers_due_us(client);
    int64_t cluster_due_us = gavel__cluster_due_us(client);
    if (!client->awaits_sleeper) {
        int64_t locks_due_us = gavel__client_locks_due_us(client, client->now_us);
        due_us = gavel__engine_due_us(&client->engine);
        if (locks_due_us < due_us)
            due_us = locks_due_us;
    }
    if (peers_due_us < due_us)
        due_us = peers_due_us;
    if (cluster_due_us < due_us)
        due_us = cluster_due_us;
    for (const gavel__connection *connection = client->connections; connection != NULL;
         connection = connection->next) {
        /* Who sleeps on a link looks to it: for the loop there would be nothing to do. */
        if (connection->is_slept_on || !may_read(connection))
            continue;
        if (gavel__link_due_us(connection->link) < due_us)
            due_us = gavel__link_due_us(connection->link);
    }
    return due_us;
}

static void on_peer_ready(gavel__watch *watch, bool is_readable, bool is_writable)
{
    gavel_client *client = gavel__peers_on_ready(watch, is_readable, is_writable);
    if (client->has_news)
        gavel__client_pump(client);
}

void gavel__client_watch(gavel_client *client)
{
    for (gavel__connection *connection = client->connections; connection != NULL;
         connection = connection->next)
        watch_link(client, connection);
    gavel__peers_watch(client, on_peer_ready);
    int64_t due = due_us(client);
    if (due < client->armed_us)
        client->needs_wake = true;
    client->armed_us = due;
    client->loop->ops->wake_at(client->loop, due);
    bool is_busy = client->engine.queue.n_open > 0 ||
                   !gavel__list_is_empty(&client->engine.queue.done) ||
                   (client->has_locks && gavel__locks_are_busy(&client->locks));
    if (is_busy != client->is_busy) {
        client->is_busy = is_busy;
        client->loop->ops->set_busy(client->loop, is_busy);
    }
}

void gavel__client_await_turn(gavel_client *client)
{
    client->has_news = true;
    if (!client->is_busy)
        gavel__client_watch(client); /* keeps ev_run, and so on_turn, going */
    if (client->platform.is_polled && !client->is_turning)
        client->loop->ops->wake(client->loop); /* nothing else comes before the program's sleep */
}

/* ---- All of it ----------------------------------------------------------------------------- */

/*
 * This process may have been the one that was late, and the answers have been there for long: what
 * they say comes before that a deadline has passed without them. Receives them, and returns whether
 * the engine and the locks may go on: not while another thread sleeps on a link. It may have
 * received already, and comes here next, within some milliseconds.
 */
static bool receive_before_deadlines(gavel_client *client, int64_t now_us)
{
    bool is_slept_on = false;
    client->awaits_sleeper = false;
    if (!gavel__queue_has_overdue(&client->engine.queue, now_us) &&
        !gavel__client_has_overdue_lock(client))
        return true;
    for (gavel__connection *connection = client->connections; connection != NULL;
         connection = connection->next) {
        is_slept_on |= connection->is_slept_on;
        if (connection->is_slept_on || gavel__link_n_expected(connection->link) == 0 ||
            !may_read(connection))
            continue;
        gavel__link_on_ready(connection->link, true, false, now_us);
        connection->lane->n_sent = gavel__link_n_sent_bytes(connection->link);
    }
    client->awaits_sleeper = is_slept_on;
    return !is_slept_on;
}

/* Where the servers are, for a client that does not know it from its address. */
static void serve_topology(gavel_client *client, int64_t now_us)
{
    bool wants_peers = client->peers != NULL && (gavel__peers_are_due(client->peers, now_us) ||
                                                    client->engine.queue.order.misses_replica);
    if (wants_peers && gavel__peers_serve(client, now_us))
        dial_anew(client, now_us);
    if (client->cluster != NULL)
        gavel__cluster_serve(client, now_us);
}

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
        bool may_advance = receive_before_deadlines(client, now_us);
        serve_topology(client, now_us);
        gavel__client_advance_locks(client, may_advance);
        if (may_advance)
            gavel__engine_advance(&client->engine, now_us);
        serve_links(client, now_us);
        tell_outcomes(client);
        tell_audit(client);
        if (gavel__engine_keeps_gates(&client->engine))
            client->has_news = true;
        gavel__client_tell_locks(client);
    }
    client->is_pumping = false;
    gavel__renewer_end_waits(client);
    return client->has_news;
}
