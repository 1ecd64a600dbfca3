/*
 * A client's Cluster: see the header.
 */
#include "client/cluster.h"

#include "base/text.h"
#include "core/server_error.h"

#include <assert.h>
#include <string.h>

/* ---- The map ------------------------------------------------------------------------------- */

static gavel__cluster *cluster_of(gavel__question *question)
{
    return GAVEL__CONTAINER(question, gavel__cluster, question);
}

static size_t write_question(gavel__question *question, gavel__buffer *out, int64_t now_us)
{
    return gavel__slots_ask(&cluster_of(question)->map, out, now_us);
}

/* While there is no map: if that was the last node to be asked, those who wait are told why, and
 * need not wait if none of them will ever answer. */
static void note_silence(gavel__cluster *cluster, const gavel__loss *loss, int64_t now_us)
{
    char message[GAVEL_MESSAGE_SIZE];
    cluster->has_hope = cluster->has_hope || !loss->is_final;
    if (cluster->map.n_answers > 0 || cluster->map.pass == cluster->pass)
        return;
    gavel__slots_explain(&cluster->map, message);
    gavel__engine_on_nowhere(&cluster->client->engine,
        &(gavel__loss){.is_final = !cluster->has_hope,
            .is_refused = loss->is_refused,
            .message = cluster->has_hope || loss->message == NULL ? message : loss->message},
        cluster->pass_us, now_us);
}

/* A node that answers, and does not say where the slots are, while nobody has: once for each such
 * answer. Of a link that is lost the log tells elsewhere. */
static void log_answer(gavel__cluster *cluster)
{
    const char *trouble = cluster->map.trouble;
    if (cluster->map.n_answers > 0 || strcmp(cluster->logged, trouble) == 0)
        return;
    gavel__format(cluster->logged, sizeof(cluster->logged), "%s", trouble);
    gavel__client_log(cluster->client, GAVEL_LOG_WARNING, "%s", trouble);
}

static void on_reply(gavel__question *question, size_t i, const gavel_reply *reply, int64_t now_us)
{
    gavel__cluster *cluster = cluster_of(question);
    const gavel__slots_node *asked = cluster->map.nodes[cluster->asked];
    (void)i;
    cluster->client->has_news = true;
    gavel__slots_on_reply(&cluster->map, reply, asked->place.host, now_us);
    log_answer(cluster);
    /* One without the right to ask, say, does not get it by asking again. */
    bool is_final = reply->type == GAVEL_REPLY_ERROR &&
                    gavel__server_error_remedy(reply->text) == GAVEL__REMEDY_GIVE_UP;
    note_silence(cluster, &(gavel__loss){.is_final = is_final, .is_refused = true}, now_us);
}

static void on_loss(
    gavel__question *question, const gavel__loss *loss, bool was_sent, int64_t now_us)
{
    gavel__cluster *cluster = cluster_of(question);
    (void)was_sent;
    cluster->client->has_news = true;
    gavel__slots_on_loss(&cluster->map, cluster->asked, loss->message, now_us);
    note_silence(cluster, loss, now_us);
}

static const gavel__question_ops question_ops = {
    .write = write_question, .on_reply = on_reply, .on_loss = on_loss};

static void ask_for_map(gavel__cluster *cluster, int64_t now_us)
{
    uint16_t asked = gavel__slots_begin(&cluster->map, now_us);
    if (asked == GAVEL__NO_NODE)
        return;
    cluster->asked = asked;
    if (cluster->pass != cluster->map.pass) {
        cluster->pass = cluster->map.pass;
        cluster->pass_us = now_us;
        cluster->has_hope = false;
    }
    if (cluster->nodes[asked] == NULL || cluster->nodes[asked]->generation == 0)
        gavel__slots_on_loss(&cluster->map, asked, "no memory for a node", now_us);
    else {
        cluster->question.at_node = asked;
        gavel__question_ask(&cluster->client->engine.questions, &cluster->question);
    }
}

/* Once a minute at most, also of a failover in which all others say so for a second. */
static void log_idle(gavel__cluster *cluster, const gavel__node *node, int64_t now_us)
{
    static const int64_t pause_us = 60 * INT64_C(1000000);
    if (cluster->is_idle_logged && now_us - cluster->idle_logged_us < pause_us)
        return;
    cluster->is_idle_logged = true;
    cluster->idle_logged_us = now_us;
    gavel__client_log(cluster->client, GAVEL_LOG_WARNING,
        "%s serves no slot just now: nobody serves some of the slots, it does not see most of the "
        "primaries, or it is a replica by now; CLUSTER INFO tells more",
        node->label);
}

uint16_t gavel__cluster_on_redirect(void *user, gavel__node *node, const gavel__redirect *redirect)
{
    gavel_client *client = user;
    gavel__slots *map = &client->cluster->map;
    client->has_news = true;
    if (redirect != NULL)
        return gavel__slots_on_redirect(
            map, redirect, map->nodes[node->index]->place.host, client->now_us);
    log_idle(client->cluster, node, client->now_us);
    gavel__slots_urge(map, client->now_us);
    return GAVEL__NO_NODE;
}

/* ---- Nodes --------------------------------------------------------------------------------- */

/* Whether anybody is to be asked there, or to run. */
static bool is_wanted(const gavel_client *client, const gavel__node *node)
{
    const gavel__questions *questions = &client->engine.questions;
    return gavel__turns_are_there(&node->turns) ||
           gavel__questions_want_lane(questions, node, false) ||
           gavel__questions_want_lane(questions, node, true);
}

/* It serves no slots any more. Whoever asks there is waited for; but not who stands in a queue, for
 * what that is about is elsewhere. */
static void close_idle(const gavel_client *client, const gavel__node *node)
{
    for (gavel__lane *lane = node->lanes.first; lane != NULL; lane = lane->following) {
        bool is_idle = gavel__inflight_is_empty(&lane->inflight) || gavel__lane_may_be_silent(lane);
        if (lane->state == GAVEL__LANE_UP && is_idle && !is_wanted(client, node))
            gavel__lane_retire(lane);
    }
}

/* The place that it was is no more, or another one has its number. False: not yet. */
static bool leave(gavel__cluster_node *self)
{
    if (self->generation == 0)
        return true;
    if (!gavel__connections_retire(self->node))
        return false;
    gavel__connections_drop(self->node);
    gavel__site_finish(&self->site, false);
    self->generation = 0;
    return true;
}

static gavel__cluster_node *make_node(gavel__cluster *cluster, const gavel__slots_node *known)
{
    gavel_client *client = cluster->client;
    gavel__cluster_node *self = gavel__alloc(&client->allocator, 1, sizeof(*self));
    if (self == NULL)
        return NULL;
    self->node = gavel__engine_add_node(&client->engine, "");
    if (self->node == NULL) {
        gavel__free(&client->allocator, self);
        return NULL;
    }
    assert(self->node->index == known->number); /* both count on, and nothing is left out */
    cluster->nodes[known->number] = self;
    return self;
}

/* Its links lead to where the map says, from now on. */
static void arrive(gavel_client *client, gavel__cluster_node *self, const gavel__slots_node *known)
{
    const gavel__address *base = &client->address;
    gavel__site_name name = {.label = base->is_tls ? "rediss://" : "redis://",
        .host = known->place.host,
        .port = known->place.port,
        .is_told = !known->is_seed,
        .user = base->user,
        .password = base->password};
    if (!gavel__site_open(&self->site, &client->site, &name)) {
        gavel__site_finish(&self->site, false);
        return; /* tried again by the next turn */
    }
    self->site.link_config.kind = GAVEL__LINK_TO_NODE;
    self->node->label = self->site.own.label;
    self->generation = known->generation;
}

/* False: no memory. */
static bool follow(gavel__cluster *cluster, const gavel__slots_node *known, int64_t now_us)
{
    gavel__cluster_node *self = cluster->nodes[known->number];
    bool is_there = known->place.host[0] != '\0';
    if (self == NULL)
        self = make_node(cluster, known);
    if (self == NULL)
        return false;
    if (self->generation != known->generation && leave(self) && is_there)
        arrive(cluster->client, self, known);
    else if (!gavel__slots_is_used(&cluster->map, known->number, now_us) && !known->is_seed &&
             known->primary == GAVEL__NO_NODE)
        close_idle(cluster->client, self->node);
    return true;
}

/* NULL: it is none, or it is not there just now, or its primary is not. */
static gavel__node *primary_of(const gavel__cluster *cluster, uint16_t number)
{
    const gavel__slots *map = &cluster->map;
    uint16_t primary = map->nodes[number]->primary;
    if (primary == GAVEL__NO_NODE || map->nodes[number]->n_slots > 0 ||
        cluster->nodes[number]->generation != map->nodes[number]->generation ||
        cluster->nodes[primary]->generation != map->nodes[primary]->generation)
        return NULL;
    return cluster->nodes[primary]->node;
}

/* All of the map's, and the engine hears which slots have moved. */
static void follow_map(gavel__cluster *cluster, int64_t now_us)
{
    uint16_t slot;
    bool has_migrated;
    for (uint16_t i = 0; i < cluster->map.n_nodes; i++) {
        if (!follow(cluster, cluster->map.nodes[i], now_us))
            return; /* tried again by the next turn */
    }
    for (uint16_t i = 0; i < cluster->map.n_nodes; i++)
        gavel__engine_set_primary(
            &cluster->client->engine, cluster->nodes[i]->node, primary_of(cluster, i), now_us);
    if (!gavel__slots_take_moved(&cluster->map, &slot, &has_migrated)) /* mostly */
        return;
    uint64_t migrated[GAVEL__N_SLOTS / 64] = {0};
    do
        migrated[slot / 64] |= (uint64_t)has_migrated << slot % 64;
    while (gavel__slots_take_moved(&cluster->map, &slot, &has_migrated));
    gavel__engine_set_slots(
        &cluster->client->engine, &(gavel__slots_change){cluster->map.node_of, migrated}, now_us);
}

/* ---- For the pump -------------------------------------------------------------------------- */

void gavel__cluster_serve(gavel_client *client, int64_t now_us)
{
    gavel__cluster *cluster = client->cluster;
    gavel__slots_advance(&cluster->map, now_us);
    if (gavel__turns_are_there(&client->engine.queue.order.nowhere))
        gavel__slots_urge(&cluster->map, now_us);
    if (client->engine.queue.order.misses_replica)
        gavel__slots_on_missed_replica(&cluster->map, now_us);
    client->engine.queue.order.misses_replica = false;
    follow_map(cluster, now_us);
    ask_for_map(cluster, now_us);
}

gavel__site *gavel__cluster_site(const gavel_client *client, const gavel__node *node)
{
    gavel__cluster_node *self = client->cluster->nodes[node->index];
    bool is_there = self->generation != 0 &&
                    self->generation == client->cluster->map.nodes[node->index]->generation;
    return is_there ? &self->site : NULL;
}

void gavel__cluster_on_loss(gavel_client *client, const gavel__node *node, const gavel__loss *loss)
{
    gavel__cluster *cluster = client->cluster;
    if (cluster == NULL)
        return;
    bool is_asked =
        cluster->question.state != GAVEL__QUESTION_IDLE && cluster->asked == node->index;
    if (is_asked && !gavel__question_withdraw(&cluster->question))
        return; /* on another link, which answers or is lost */
    gavel__slots_on_loss(&cluster->map, (uint16_t)node->index, loss->message, client->now_us);
    if (is_asked)
        note_silence(cluster, loss, client->now_us);
}

int64_t gavel__cluster_due_us(const gavel_client *client)
{
    return client->cluster != NULL ? gavel__slots_due_us(&client->cluster->map) : GAVEL__NEVER;
}

/* ---- Life ---------------------------------------------------------------------------------- */

bool gavel__cluster_open(gavel_client *client)
{
    const gavel__address *address = &client->address;
    gavel__cluster *cluster = gavel__alloc(&client->allocator, 1, sizeof(*cluster));
    if (cluster == NULL)
        return false;
    client->cluster = cluster;
    cluster->client = client;
    gavel__random_seed(&cluster->random, client->platform.entropy(client->platform.user));
    gavel__question_init(&cluster->question, &question_ops);
    gavel__slots_init(&cluster->map, &client->allocator, &cluster->random);
    for (size_t i = 0; i < address->n_seeds; i++) {
        if (!gavel__slots_add_seed(&cluster->map, address->seeds[i].host, address->seeds[i].port))
            return false;
    }
    return true;
}

void gavel__cluster_close(gavel_client *client, bool is_child)
{
    gavel__cluster *cluster = client->cluster;
    if (cluster == NULL)
        return;
    for (size_t i = 0; i < cluster->map.n_nodes; i++) {
        if (cluster->nodes[i] == NULL)
            continue;
        if (cluster->nodes[i]->generation != 0)
            gavel__site_finish(&cluster->nodes[i]->site, is_child);
        gavel__free(&client->allocator, cluster->nodes[i]);
    }
    gavel__slots_finish(&cluster->map);
    gavel__free(&client->allocator, cluster);
    client->cluster = NULL;
}
