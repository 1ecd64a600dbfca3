/*
 * A client's links to Sentinels: see the header.
 */
#include "client/sentinels.h"

#include "base/resp.h"
#include "base/text.h"
#include "client/client.h"
#include "client/replicas.h"
#include "core/backoff.h"

#include <string.h>

static void tell_news(gavel_client *client)
{
    client->has_news = true;
    client->peers->has_news = true;
}

/* ---- What they say ------------------------------------------------------------------------- */

/* Where the primary is now, for people; and where it is dialled, if that is elsewhere. */
static void print_primary(const gavel__place_name *primary, const gavel_address *dialled,
    char message[GAVEL_MESSAGE_SIZE])
{
    char place[GAVEL__PLACE_TEXT_SIZE];
    gavel__format(message, GAVEL_MESSAGE_SIZE, "the primary is %s now",
        gavel__format_place(place, sizeof(place), primary->host, primary->port));
    size_t used = strlen(message);
    if (primary->port != dialled->port || strcmp(primary->host, dialled->host) != 0)
        gavel__format(message + used, GAVEL_MESSAGE_SIZE - used, ", at %s",
            gavel__format_place(place, sizeof(place), dialled->host, dialled->port));
}

/* The client's links are to be made anew, to where the primary is now. False: no memory. */
static bool move(gavel_client *client, int64_t now_us)
{
    gavel__peers *peers = client->peers;
    const gavel__place_name *primary = &peers->known.primary;
    char message[GAVEL_MESSAGE_SIZE];
    gavel_address dialled;
    gavel__site_map(&client->site.mapping, primary->host, primary->port, &dialled);
    char *host = gavel__copy_string(&client->allocator, dialled.host);
    if (host == NULL)
        return false; /* tried again by the next turn: the generation is the old one's still */
    gavel__free(&client->allocator, client->address.host);
    client->address.host = host;
    client->address.port = dialled.port;
    peers->generation = peers->known.generation;
    gavel__directory_finish(&client->site.directory, false);
    gavel__directory_init(&client->site.directory);
    print_primary(primary, &dialled, message);
    gavel__client_log(client, GAVEL_LOG_INFO, "%s (epoch %llu%s)", message,
        (unsigned long long)peers->known.epoch,
        peers->known.is_provisional ? ", no Sentinel names it yet" : "");
    gavel__engine_leave(&client->engine, message, now_us);
    client->has_news = true;
    return true;
}

static void tell_provisional(gavel_client *client, int64_t now_us)
{
    bool is_provisional = client->peers->known.is_provisional;
    if (is_provisional == client->engine.questions.is_provisional)
        return;
    gavel__engine_set_provisional(&client->engine, is_provisional, now_us);
    client->has_news = true; /* what waited to be asked is asked now */
}

/* What the engine may do by now; returns whether there is another primary. */
static bool tell_engine(gavel_client *client, int64_t now_us)
{
    gavel__peers *peers = client->peers;
    char message[GAVEL_MESSAGE_SIZE];
    bool has_moved = peers->generation != peers->known.generation && move(client, now_us);
    bool is_there = peers->generation == peers->known.generation && peers->generation > 0;
    int64_t until_us = is_there ? peers->known.trusted_until_us : INT64_MIN;
    gavel__engine_know_replicas(&client->engine, gavel__sentinels_count_replicas(&peers->known));
    tell_provisional(client, now_us);
    if (until_us == client->engine.trusted_until_us && until_us > now_us)
        return has_moved;
    if (until_us > now_us && !gavel__engine_is_trusted(&client->engine, now_us))
        client->has_news = true;
    gavel__sentinels_explain(&peers->known, now_us, message);
    gavel__engine_trust(&client->engine, until_us, message);
    return has_moved;
}

/* Why a Sentinel is of no use, and that it is again: once each. */
static void log_trouble(gavel__peer *peer)
{
    const gavel__sentinel *sentinel = &peer->client->peers->known.all[peer->place];
    bool is_in_trouble = sentinel->trouble[0] != '\0';
    if (sentinel->n_awaited > 0 || is_in_trouble == peer->is_in_trouble)
        return;
    peer->is_in_trouble = is_in_trouble;
    if (is_in_trouble)
        gavel__client_log(peer->client, GAVEL_LOG_WARNING, "%s", sentinel->trouble);
    else
        gavel__client_log(peer->client, GAVEL_LOG_INFO, "%s answers now", peer->site.own.label);
}

/* There is no such service, or they will never say where it is: whoever waits for it need not.
 * Those who came after `asked_us`, when this one was asked or dialled, may yet see it. */
static void tell_hopeless(gavel__peer *peer, int64_t asked_us)
{
    gavel_client *client = peer->client;
    const gavel__sentinels *known = &client->peers->known;
    char message[GAVEL_MESSAGE_SIZE];
    if (known->all[peer->place].n_awaited > 0 ||
        !gavel__sentinels_are_hopeless(known, client->now_us))
        return;
    gavel__sentinels_explain(known, client->now_us, message);
    gavel__engine_on_nowhere(&client->engine, &(gavel__loss){.is_final = true, .message = message},
        asked_us, client->now_us);
}

/* ---- Their links --------------------------------------------------------------------------- */

static void ask(gavel__peer_link *self, int64_t now_us)
{
    gavel__sentinels *known = &self->peer->client->peers->known;
    size_t n = gavel__sentinels_ask(known, self->peer->place, gavel__link_out(self->link), now_us);
    gavel__link_expect(self->link, n, now_us);
    gavel__link_flush(self->link);
}

/* Each message is a reply that nobody has asked for, as far as the link knows: so one more is
 * always awaited, in whatever time. */
static void subscribe(gavel__peer_link *self, int64_t now_us)
{
    const gavel_bytes args[] = {GAVEL_STR("SUBSCRIBE"), GAVEL_STR("+switch-master"),
        GAVEL_STR("+try-failover"), GAVEL_STR("+selected-slave"), GAVEL_STR("+promoted-slave")};
    size_t n_channels = sizeof(args) / sizeof(args[0]) - 1;
    gavel__resp_command(gavel__link_out(self->link), args, n_channels + 1);
    gavel__link_expect(self->link, n_channels + 1, now_us);
    gavel__link_set_timeout(self->link, false);
    gavel__link_flush(self->link);
}

static void on_up(gavel__link *link, void *owner)
{
    gavel__peer_link *self = owner;
    (void)link;
    self->n_failures = 0;
    self->is_dialling = false;
    tell_news(self->peer->client);
    gavel__directory_on_good(&self->peer->site.directory, &self->route);
    if (self->is_listener)
        subscribe(self, self->peer->client->now_us);
}

static bool is_message(const gavel_reply *reply)
{
    gavel_bytes kind;
    return gavel_reply_text(gavel_reply_element(reply, 0), &kind) &&
           gavel__bytes_equal(kind, GAVEL_STR("message"));
}

static void on_reply(gavel__link *link, const gavel_reply *reply, void *owner)
{
    gavel__peer_link *self = owner;
    gavel_client *client = self->peer->client;
    gavel__sentinels *known = &client->peers->known;
    tell_news(client);
    if (!self->is_listener) {
        gavel__sentinels_on_reply(known, self->peer->place, reply, client->now_us);
        log_trouble(self->peer);
        tell_hopeless(self->peer, known->all[self->peer->place].incoming.asked_us);
        return;
    }
    if (!is_message(reply))
        return;
    gavel__link_expect(link, 1, client->now_us);
    gavel__sentinels_urge(known, client->now_us);
}

static void unwatch(gavel__peer_link *self)
{
    gavel__loop *loop = self->peer->client->loop;
    loop->ops->unwatch(loop, &self->watch);
    self->watch.fd = -1;
}

static void on_closing(gavel__link *link, void *owner)
{
    (void)link;
    unwatch(owner);
}

static void fail(gavel__peer_link *self, const char *message, bool is_final)
{
    gavel_client *client = self->peer->client;
    self->awaits_endpoint = false;
    self->is_dialling = false;
    self->n_failures++;
    self->dial_us =
        client->now_us + gavel__backoff_fault_us(self->n_failures, &client->engine.context.random);
    tell_news(client);
    if (self->is_listener)
        return;
    gavel__sentinels_on_loss(&client->peers->known, self->peer->place,
        &(gavel__sentinel_loss){.message = message, .is_final = is_final}, client->now_us);
    log_trouble(self->peer);
    if (is_final)
        tell_hopeless(self->peer, self->dialled_us);
}

static void on_down(gavel__link *link, const gavel__link_loss *loss, void *owner)
{
    gavel__peer_link *self = owner;
    (void)link;
    if (self->is_dialling && !loss->is_final &&
        gavel__directory_on_failure(&self->peer->site.directory, &self->route)) {
        self->awaits_endpoint = true;
        tell_news(self->peer->client);
        return;
    }
    fail(self, loss->message, loss->is_final);
}

gavel_client *gavel__peers_on_ready(gavel__watch *watch, bool is_readable, bool is_writable)
{
    gavel__peer_link *self = watch->owner;
    gavel_client *client = self->peer->client;
    client->peers->has_news = true; /* what the link is due for may have changed */
    gavel__link_on_ready(self->link, is_readable, is_writable, gavel__client_now_us(client));
    return client;
}

/* ---- Dialling ------------------------------------------------------------------------------ */

static void go_on_dialling(gavel__peer_link *self, int64_t now_us)
{
    gavel__endpoint endpoint;
    char message[GAVEL_MESSAGE_SIZE];
    gavel__directory *directory = &self->peer->site.directory;
    switch (gavel__directory_next(directory, &self->route, now_us, &endpoint)) {
    case GAVEL__DIRECTORY_ANSWER_LATER:
        break;
    case GAVEL__DIRECTORY_ANSWER_NONE:
        gavel__format(
            message, sizeof(message), "%s: %s", self->peer->site.own.label, directory->message);
        fail(self, message, false);
        break;
    case GAVEL__DIRECTORY_ANSWER_ENDPOINT:
        self->awaits_endpoint = false;
        gavel__link_connect(self->link, &endpoint, GAVEL_STR(""), now_us);
        break;
    }
}

static void dial(gavel__peer_link *self, int64_t now_us)
{
    self->awaits_endpoint = true;
    self->is_dialling = true;
    self->dialled_us = now_us;
    gavel__directory_begin(&self->peer->site.directory, &self->route, now_us);
    go_on_dialling(self, now_us);
}

/* ---- Serving ------------------------------------------------------------------------------- */

static void serve(gavel__peer_link *self, int64_t now_us)
{
    gavel__link *link = self->link;
    if (gavel__link_due_us(link) <= now_us)
        gavel__link_on_time(link, now_us);
    if (self->awaits_endpoint)
        go_on_dialling(self, now_us);
    else if (gavel__link_get_state(link) == GAVEL__LINK_DOWN && self->dial_us <= now_us)
        dial(self, now_us);
}

/* NULL: no memory. */
static gavel__peer *make_peer(gavel_client *client, uint32_t place);

static bool make_peers(gavel_client *client)
{
    gavel__peers *peers = client->peers;
    while (peers->n < peers->known.n) {
        gavel__peer *peer = make_peer(client, peers->n);
        if (peer == NULL)
            return false;
        peers->all[peers->n++] = peer;
    }
    return true;
}

static int64_t link_due_us(const gavel__peer_link *self)
{
    bool is_down = gavel__link_get_state(self->link) == GAVEL__LINK_DOWN;
    return is_down && !self->awaits_endpoint ? self->dial_us : gavel__link_due_us(self->link);
}

static int64_t peer_due_us(const gavel__peers *peers, uint32_t i)
{
    const gavel__peer *peer = peers->all[i];
    const gavel__sentinel *sentinel = &peers->known.all[i];
    int64_t due_us = link_due_us(&peer->asker);
    int64_t other_us = link_due_us(&peer->listener);
    due_us = other_us < due_us ? other_us : due_us;
    bool can_ask =
        gavel__link_get_state(peer->asker.link) == GAVEL__LINK_UP && sentinel->n_awaited == 0;
    return can_ask && sentinel->ask_us < due_us ? sentinel->ask_us : due_us;
}

static int64_t find_due_us(const gavel_client *client)
{
    const gavel__peers *peers = client->peers;
    int64_t due_us = gavel__sentinels_due_us(&peers->known, client->now_us);
    for (uint32_t i = 0; i < peers->n; i++) {
        int64_t other_us = peers->known.all[i].is_double ? GAVEL__NEVER : peer_due_us(peers, i);
        due_us = other_us < due_us ? other_us : due_us;
    }
    return due_us;
}

/* Whether each turn is to try again: a host's addresses are looked up, or there was no memory. */
static bool is_restless(const gavel__peers *peers)
{
    bool is_restless = peers->n < peers->known.n || peers->generation != peers->known.generation;
    for (uint32_t i = 0; i < peers->n; i++)
        is_restless |=
            peers->all[i]->asker.awaits_endpoint || peers->all[i]->listener.awaits_endpoint;
    return is_restless;
}

/* Somebody wants to read from a replica, and none is known. */
static void ask_for_replicas(gavel_client *client, int64_t now_us)
{
    gavel__sentinels *known = &client->peers->known;
    client->engine.queue.order.misses_replica = false;
    if (known->wants_replicas)
        return; /* what is known of them is a second old at most */
    known->wants_replicas = true;
    gavel__sentinels_urge(known, now_us);
}

bool gavel__peers_serve(gavel_client *client, int64_t now_us)
{
    gavel__peers *peers = client->peers;
    peers->has_news = false;
    if (client->engine.queue.order.misses_replica)
        ask_for_replicas(client, now_us);
    make_peers(client); /* else with those that there are */
    for (uint32_t i = 0; i < peers->n; i++) {
        gavel__peer *peer = peers->all[i];
        if (peers->known.all[i].is_double)
            continue;
        serve(&peer->asker, now_us);
        serve(&peer->listener, now_us);
        if (gavel__link_get_state(peer->asker.link) == GAVEL__LINK_UP &&
            gavel__sentinels_wants(&peers->known, i, now_us))
            ask(&peer->asker, now_us);
    }
    gavel__sentinels_advance(&peers->known, now_us);
    bool is_leaving =
        peers->known.replicas_version > 0 && !gavel__replicas_follow(client, &peers->known, now_us);
    bool has_moved = tell_engine(client, now_us);
    peers->has_news |= is_restless(peers) || is_leaving;
    peers->due_us = find_due_us(client);
    return has_moved;
}

void gavel__peers_urge(gavel_client *client, int64_t now_us)
{
    if (client->peers == NULL)
        return;
    client->peers->has_news = true;
    gavel__sentinels_urge(&client->peers->known, now_us);
}

/* ---- For the loop -------------------------------------------------------------------------- */

static void watch(gavel__peer_link *self, gavel__on_peer_ready *on_ready)
{
    gavel_client *client = self->peer->client;
    self->watch.on_ready = on_ready;
    if (gavel__client_watch_link(client, &self->watch, self->link, true))
        return;
    gavel__link_disconnect(self->link); /* dialled again */
    fail(self, "no memory to watch the link", false);
}

void gavel__peers_watch(gavel_client *client, gavel__on_peer_ready *on_ready)
{
    gavel__peers *peers = client->peers;
    for (uint32_t i = 0; peers != NULL && i < peers->n; i++) {
        watch(&peers->all[i]->asker, on_ready);
        watch(&peers->all[i]->listener, on_ready);
    }
}

int64_t gavel__peers_due_us(const gavel_client *client)
{
    const gavel__peers *peers = client->peers;
    if (peers == NULL)
        return GAVEL__NEVER;
    return peers->has_news ? find_due_us(client) : peers->due_us;
}

bool gavel__peers_are_asked(const gavel_client *client)
{
    const gavel__peers *peers = client->peers;
    for (uint32_t i = 0; peers != NULL && i < peers->n; i++) {
        if (peers->known.all[i].n_awaited > 0)
            return true;
    }
    return false;
}

/* ---- Life ---------------------------------------------------------------------------------- */

/* The Sentinel's login and place; all else is the client's. */
static bool open_site(gavel__peer *peer)
{
    const gavel_client *client = peer->client;
    const gavel__place_name *place = &client->peers->known.all[peer->place].place;
    gavel__site_name name = {.label = "Sentinel ",
        .host = place->host,
        .port = place->port,
        .is_told = peer->place >= client->peers->n_seeds,
        .user = client->address.sentinel_user,
        .password = client->address.sentinel_password};
    bool is_open = gavel__site_open(&peer->site, &client->site, &name);
    peer->site.link_config.kind = GAVEL__LINK_TO_SENTINEL;
    return is_open;
}

static bool make_link(gavel__peer_link *self, gavel__peer *peer, bool is_listener)
{
    gavel__link_events events = {.on_up = on_up,
        .on_reply = on_reply,
        .on_down = on_down,
        .owner = self,
        .on_closing = on_closing};
    *self = (gavel__peer_link){.peer = peer, .is_listener = is_listener};
    self->watch = (gavel__watch){.owner = self, .fd = -1};
    self->link = gavel__link_create(&peer->site.link_config, &events);
    return self->link != NULL;
}

static void destroy_peer(gavel__peer *peer, bool is_child)
{
    const gavel_allocator *allocator = &peer->client->allocator;
    gavel__link_destroy(peer->asker.link);
    gavel__link_destroy(peer->listener.link);
    gavel__site_finish(&peer->site, is_child);
    gavel__free(allocator, peer);
}

static gavel__peer *make_peer(gavel_client *client, uint32_t place)
{
    gavel__peer *peer = gavel__alloc(&client->allocator, 1, sizeof(*peer));
    if (peer == NULL)
        return NULL;
    peer->client = client;
    peer->place = place;
    if (open_site(peer) && make_link(&peer->asker, peer, false) &&
        make_link(&peer->listener, peer, true))
        return peer;
    destroy_peer(peer, false);
    return NULL;
}

bool gavel__peers_open(gavel_client *client, const gavel_config *config)
{
    const gavel__address *address = &client->address;
    gavel__peers *peers = gavel__alloc(&client->allocator, 1, sizeof(*peers));
    if (peers == NULL)
        return false;
    client->peers = peers;
    gavel__sentinels_init(&peers->known, &client->allocator, address->service);
    peers->known.may_go_without = config->may_go_without_sentinels;
    peers->known.is_eager = config->is_failover_eager;
    for (size_t i = 0; i < address->n_seeds; i++) {
        if (!gavel__sentinels_add(&peers->known, address->seeds[i].host, address->seeds[i].port))
            return false;
    }
    peers->n_seeds = peers->known.n;
    peers->has_news = true;
    gavel__engine_trust(&client->engine, INT64_MIN, "the Sentinels have not answered yet");
    return make_peers(client);
}

void gavel__peers_close(gavel_client *client, bool is_child)
{
    gavel__peers *peers = client->peers;
    if (peers == NULL)
        return;
    for (uint32_t i = 0; i < peers->n; i++)
        destroy_peer(peers->all[i], is_child);
    gavel__sentinels_finish(&peers->known);
    gavel__free(&client->allocator, peers);
    client->peers = NULL;
}
