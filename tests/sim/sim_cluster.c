/*
 * Nodes of a cluster: their slot maps, and what they refuse. See sim_cluster.h. For the server, the
 * commands and, through sim.h, for tests.
 */
#include "sim_cluster.h"

#include "base/text.h"
#include "core/known.h"

#include <stdlib.h>
#include <string.h>

#define N_PRIMARIES 3
#define NODE_TIMEOUT_MS 1500
#define GOSSIP_MIN_US 100
#define GOSSIP_MAX_US (20 * SIM_MILLISECOND)

/* ---- Keys of commands ---------------------------------------------------------------------- */

/* The library leaves WATCH to itself, and does not know those of our module. */
static bool has_keys_of_its_own(gavel_bytes name, size_t n_args, uint32_t *ret_n_keys)
{
    bool is_watch = gavel__bytes_equal_nocase(name, GAVEL_STR("WATCH"));
    bool is_counter = name.size > 8 &&
                      gavel__bytes_equal_nocase((gavel_bytes){name.data, 8}, GAVEL_STR("COUNTER."));
    *ret_n_keys = is_watch ? (uint32_t)n_args - 1 : 1;
    return is_watch || is_counter;
}

gavel__command sim__keys_of(const sim__args *command)
{
    gavel__command keyed = {.args = command->args, .n_args = command->n_args, .key_step = 1};
    const gavel__known *known = gavel__known_find(command->args, command->n_args);
    const char *fault;
    uint32_t n_keys;
    if (has_keys_of_its_own(command->args[0], command->n_args, &n_keys)) {
        keyed.first_key = 1;
        keyed.n_keys = n_keys;
    } else if (known != NULL && gavel__known_resolve(known, &keyed, &fault) == 0) {
        keyed.n_keys = 0;
    }
    return keyed;
}

/* ---- Maps ---------------------------------------------------------------------------------- */

static sim__server *owner_of(const sim__server *server, unsigned slot)
{
    uint8_t owner = server->node->owners[slot];
    return owner == SIM__NOBODY ? NULL : server->world->servers[owner];
}

sim__open_slot *sim__open_slot_of(const sim__server *server, unsigned slot)
{
    for (size_t i = 0; i < server->node->n_open; i++) {
        if (server->node->open[i].slot == slot)
            return &server->node->open[i];
    }
    return NULL;
}

void sim__set_open(sim__server *server, unsigned slot, bool is_importing, sim__server *other)
{
    sim__node *node = server->node;
    sim__open_slot *found = sim__open_slot_of(server, slot);
    if (other == NULL) {
        if (found != NULL)
            *found = node->open[--node->n_open];
        return;
    }
    if (found == NULL) {
        node->open = sim__resize(node->open, node->n_open + 1, sizeof *node->open);
        found = &node->open[node->n_open++];
    }
    *found = (sim__open_slot){.slot = (uint16_t)slot, .is_importing = is_importing, .other = other};
}

void sim__take_slot(sim__server *server, unsigned slot)
{
    sim__node *node = server->node;
    sim__set_open(server, slot, false, NULL);
    node->owners[slot] = (uint8_t)server->number;
    node->since[slot] = ++server->world->cluster->epoch;
    node->epoch = node->since[slot];
}

const char *sim__endpoint_of(const sim__server *server)
{
    switch (server->world->cluster->endpoint) {
    case SIM_ENDPOINT_IP:
        return server->host;
    case SIM_ENDPOINT_EMPTY:
        return "";
    case SIM_ENDPOINT_UNKNOWN:
        return NULL;
    case SIM_ENDPOINT_NO_NAME:
        return "?";
    }
    return NULL;
}

/* ---- What is refused ----------------------------------------------------------------------- */

/* The keys of a command, or of all that EXEC would run. */
typedef struct asked {
    bool has_key;
    bool is_crossing; /* keys of two slots */
    bool has_several; /* different keys */
    unsigned slot;
    gavel_bytes first;
    size_t n_present;
    size_t n_missing;
} asked;

static void add_keys(const sim__server *server, const sim__args *command, asked *keys)
{
    gavel__command keyed = sim__keys_of(command);
    for (size_t i = 0; i < keyed.n_keys; i++) {
        gavel_bytes key = gavel__command_key(&keyed, i);
        unsigned slot = gavel__slot_of(key);
        if (!keys->has_key) {
            keys->first = key;
            keys->slot = slot;
        }
        keys->has_key = true;
        keys->is_crossing |= slot != keys->slot;
        keys->has_several |= !gavel__bytes_equal(key, keys->first);
        bool is_there = sim__is_present(server, 0, key) && !sim__is_expired(server, 0, key);
        keys->n_present += is_there;
        keys->n_missing += !is_there;
    }
}

static asked keys_of_call(const sim__call *call)
{
    asked keys = {0};
    const sim__session *session = call->session;
    if (call->command->run == sim__run_exec) {
        for (size_t i = 0; session->is_in_multi && i < session->n_queue; i++)
            add_keys(call->server, &session->queue[i], &keys);
    } else {
        sim__args command = {(gavel_bytes *)(uintptr_t)call->args, call->n_args};
        add_keys(call->server, &command, &keys);
    }
    return keys;
}

static const char *say_other(const char *word, unsigned slot, const sim__server *server, char *text)
{
    const char *host = sim__endpoint_of(server);
    gavel__format(text, SIM__REDIRECTION_SIZE, "%s %u %s:%d", word, slot, host != NULL ? host : "",
        server->port);
    return text;
}

#define UNSTABLE "TRYAGAIN Multiple keys request during rehashing of slot"

/* Where the slot is on its way between two nodes. *ret_is_ours: the command is to be run. */
static const char *say_moving(
    const sim__call *call, const asked *keys, bool *ret_is_ours, char text[SIM__REDIRECTION_SIZE])
{
    const sim__server *server = call->server;
    const sim__open_slot *open = sim__open_slot_of(server, keys->slot);
    bool is_owner = owner_of(server, keys->slot) == server;
    /* Valkey leaves this to EXEC. */
    bool is_late =
        call->world->is_valkey && call->session->is_in_multi && call->command->run != sim__run_exec;
    size_t n_missing = is_late ? 0 : keys->n_missing;
    *ret_is_ours = false;
    if (open == NULL || (is_owner == open->is_importing))
        return NULL;
    if (open->is_importing) {
        *ret_is_ours = call->session->is_asking;
        return *ret_is_ours && keys->has_several && n_missing > 0 ? UNSTABLE : NULL;
    }
    if (n_missing == 0)
        return NULL;
    return keys->n_present > 0 ? UNSTABLE : say_other("ASK", keys->slot, open->other, text);
}

static const char *say_down(const sim__call *call)
{
    if (!call->server->node->is_down)
        return NULL;
    if (!call->world->cluster->serves_reads_when_down)
        return "CLUSTERDOWN The cluster is down";
    return call->command->flags & SIM__WRITES
               ? "CLUSTERDOWN The cluster is down and only accepts read commands"
               : NULL;
}

/* A replica serves those who only read, if they have said so. */
static bool is_for_replica(const sim__call *call, const sim__server *owner)
{
    return call->session->is_reader && call->server->primary == owner &&
           !sim__is_write(call->command, call->session);
}

const char *sim__redirection(const sim__call *call, char text[SIM__REDIRECTION_SIZE])
{
    const sim__session *session = call->session;
    /* On Valkey 9 an EXEC that has lost what it watched answers that. */
    bool is_spoiled = call->world->is_valkey && call->command->run == sim__run_exec &&
                      (session->is_dirty_cas || session->is_dirty_exec);
    if (call->server->node == NULL || is_spoiled)
        return NULL;
    asked keys = keys_of_call(call);
    if (!keys.has_key)
        return NULL;
    const sim__server *owner = owner_of(call->server, keys.slot);
    if (owner == NULL && !(keys.is_crossing && call->world->is_valkey))
        return "CLUSTERDOWN Hash slot not served";
    if (keys.is_crossing)
        return "CROSSSLOT Keys in request don't hash to the same slot";
    bool is_ours;
    const char *error = say_down(call);
    if (error == NULL)
        error = say_moving(call, &keys, &is_ours, text);
    if (error != NULL || is_ours || owner == call->server || is_for_replica(call, owner))
        return error;
    return say_other("MOVED", keys.slot, owner, text);
}

const char *sim__redirection_of_waiting(
    const sim__session *session, char text[SIM__REDIRECTION_SIZE])
{
    const sim__server *server = session->server;
    asked keys = {0};
    add_keys(server, &session->waiting, &keys);
    const sim__server *owner = owner_of(server, keys.slot);
    const sim__open_slot *open = sim__open_slot_of(server, keys.slot);
    if (server->node->is_down)
        return "CLUSTERDOWN The cluster is down";
    if (owner == server || (open != NULL && open->is_importing))
        return NULL;
    return owner != NULL ? say_other("MOVED", keys.slot, owner, text)
                         : "CLUSTERDOWN Hash slot not served";
}

/* ---- Moving keys --------------------------------------------------------------------------- */

sim__key *sim__key_in_slot(const sim__server *server, unsigned slot, const sim__key *before)
{
    const sim__store *store = &server->store;
    for (size_t i = 0; i < store->n_keys; i++) {
        sim__key *key = store->keys[i];
        if (gavel__slot_of(key->name) != slot)
            continue;
        if (before == NULL || sim__compare_bytes(key->name, before->name) > 0)
            return key;
    }
    return NULL;
}

#define N_RECORDED 4

static void record(sim__server *server, const gavel_bytes *args, size_t n)
{
    sim__record(server, 0, &(sim__args){(gavel_bytes *)(uintptr_t)args, n});
}

static void record_item(sim__server *server, const sim__key *key, const sim__item *item)
{
    char score[64];
    switch (key->type) {
    case SIM__STRING:
        break;
    case SIM__HASH:
        record(server, (gavel_bytes[]){GAVEL_STR("HSET"), key->name, item->member, item->value},
            N_RECORDED);
        break;
    case SIM__LIST:
        record(server, (gavel_bytes[]){GAVEL_STR("RPUSH"), key->name, item->member}, 3);
        break;
    case SIM__SET:
        record(server, (gavel_bytes[]){GAVEL_STR("SADD"), key->name, item->member}, 3);
        break;
    case SIM__ZSET:
        gavel__format(score, sizeof score, "%.17g", item->score);
        record(server,
            (gavel_bytes[]){GAVEL_STR("ZADD"), key->name, gavel_str(score), item->member},
            N_RECORDED);
        break;
    }
}

/* For its replicas: commands that make the key anew. */
static void record_key(sim__server *server, const sim__key *key)
{
    char storage[GAVEL__INT_SIZE];
    if (key->type == SIM__STRING)
        record(server, (gavel_bytes[]){GAVEL_STR("SET"), key->name, key->string}, 3);
    for (size_t i = 0; i < key->n_items; i++)
        record_item(server, key, &key->items[i]);
    if (key->expires_at_ms == SIM__NO_EXPIRY)
        return;
    gavel_bytes left = gavel__format_int(key->expires_at_ms - sim__now_ms(server), storage);
    record(server, (gavel_bytes[]){GAVEL_STR("PEXPIRE"), key->name, left}, 3);
}

static void remove_key(sim__server *server, sim__key *key)
{
    gavel_bytes name = sim__copy(key->name);
    sim__record_removal(server, "DEL", 0, name);
    sim__delete(server, key);
    sim__touch(server, 0, name);
    sim__free_bytes(name);
}

static void add_copy(sim__server *server, const sim__key *from)
{
    sim__key *key = sim__add_copy(server, from);
    record_key(server, key);
    sim__touch(server, 0, key->name);
    if (key->type == SIM__LIST)
        sim__note_list(server, 0, key->name);
}

void sim__restore_key(sim__server *server, const sim__key *from)
{
    sim__key *old = sim__find(server, 0, from->name);
    if (old != NULL)
        remove_key(server, old);
    bool is_over = from->expires_at_ms <= sim__now_ms(server); /* and nobody has looked */
    if (!is_over)
        add_copy(server, from);
    sim__end_write(server);
    sim__serve_blocked(server);
    sim__end_write(server);
}

void sim__drop_slot(sim__server *server, unsigned slot)
{
    for (sim__key *key; (key = sim__key_in_slot(server, slot, NULL)) != NULL;)
        remove_key(server, key);
    sim__end_write(server);
}

void sim__move_key(sim__server *from, sim__server *to, sim__key *key)
{
    sim__restore_key(to, key);
    remove_key(from, key);
}

/* ---- For tests ----------------------------------------------------------------------------- */

static void create_node(sim__server *server)
{
    server->node = sim__alloc(1, sizeof *server->node);
    memset(server->node->owners, SIM__NOBODY, sizeof server->node->owners);
    server->node->handed_slot = SIM_N_SLOTS;
    sim__draw_id(server->world, server->node->id);
}

static void divide_slots(sim__server *server, size_t n_primaries)
{
    sim__node *node = server->node;
    size_t n_each = SIM_N_SLOTS / n_primaries;
    for (size_t slot = 0; slot < SIM_N_SLOTS; slot++) {
        size_t part = slot / n_each;
        node->owners[slot] = (uint8_t)(part < n_primaries ? part : n_primaries - 1);
    }
}

void sim_add_cluster(sim_world *world, const sim_cluster *options)
{
    sim_cluster wanted = options != NULL ? *options : (sim_cluster){0};
    size_t n_primaries = wanted.n_primaries != 0 ? wanted.n_primaries : N_PRIMARIES;
    uint32_t timeout_ms = wanted.node_timeout_ms != 0 ? wanted.node_timeout_ms : NODE_TIMEOUT_MS;
    if (world->n_servers != 1 || world->cluster != NULL)
        sim__fail(world, "only a world of one server can be made a cluster");
    world->cluster = sim__alloc(1, sizeof *world->cluster);
    world->cluster->node_timeout_us = timeout_ms * SIM_MILLISECOND;
    world->cluster->serves_reads_when_down = wanted.serves_reads_when_down;
    sim_set_gossip(world, GOSSIP_MIN_US, GOSSIP_MAX_US);
    while (world->n_servers < n_primaries)
        sim_add_server(world);
    for (size_t i = 0; i < n_primaries * wanted.n_replicas; i++)
        sim_add_replica(world, i % n_primaries);
    for (size_t i = 0; i < world->n_servers; i++) {
        create_node(world->servers[i]);
        divide_slots(world->servers[i], n_primaries);
        world->servers[i]->node->shard = i % n_primaries;
    }
    for (size_t i = 0; i < world->n_servers; i++)
        sim__node_start(world->servers[i]);
}

void sim__cluster_destroy(sim_world *world)
{
    sim__moves_destroy(world);
    for (size_t i = 0; i < world->n_servers; i++) {
        sim__node *node = world->servers[i]->node;
        if (node == NULL)
            continue;
        free(node->open);
        free(node);
    }
    free(world->cluster);
}

static const sim__node *node_at(const sim_world *world, size_t server)
{
    const sim__node *node = sim__server_at(world, server)->node;
    if (node == NULL)
        sim__fail(world, "a node of a cluster is meant that is none");
    return node;
}

static void check_slot(const sim_world *world, unsigned slot)
{
    if (slot >= SIM_N_SLOTS)
        sim__fail(world, "there is no such slot");
}

unsigned sim_slot_of(const char *key)
{
    return gavel__slot_of(gavel_str(key));
}

size_t sim_owner_of(const sim_world *world, unsigned slot)
{
    size_t owner = SIM_MAX_SERVERS;
    uint32_t since = 0;
    check_slot(world, slot);
    for (size_t i = 0; i < world->n_servers; i++) {
        const sim__node *node = node_at(world, i);
        if (node->owners[slot] == i && (owner == SIM_MAX_SERVERS || node->since[slot] > since)) {
            owner = i;
            since = node->since[slot];
        }
    }
    return owner;
}

size_t sim_believed_owner(const sim_world *world, size_t server, unsigned slot)
{
    check_slot(world, slot);
    uint8_t owner = node_at(world, server)->owners[slot];
    return owner == SIM__NOBODY ? SIM_MAX_SERVERS : owner;
}

size_t sim_choose_by_key(sim_world *world, const char *key)
{
    unsigned slot = sim_slot_of(key);
    sim__server *owner = sim__server_at(world, sim_owner_of(world, slot));
    const sim__open_slot *open = sim__open_slot_of(owner, slot);
    bool is_gone =
        open != NULL && !open->is_importing && !sim__is_present(owner, 0, gavel_str(key));
    return sim_choose(world, is_gone ? open->other->number : owner->number);
}

void sim_believe(sim_world *world, size_t server, unsigned slot, size_t owner)
{
    check_slot(world, slot);
    node_at(world, server);
    sim__node *node = sim__server_at(world, server)->node;
    node->owners[slot] =
        owner == SIM_MAX_SERVERS ? SIM__NOBODY : (uint8_t)sim__server_at(world, owner)->number;
}

void sim_set_endpoint(sim_world *world, sim_endpoint endpoint)
{
    world->cluster->endpoint = endpoint;
}

void sim_set_gossip(sim_world *world, int64_t min_us, int64_t max_us)
{
    world->cluster->gossip_min_us = min_us;
    world->cluster->gossip_max_us = max_us;
}
