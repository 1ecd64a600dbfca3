/*
 * What clients ask of a node of a cluster, and operators tell it: CLUSTER, ASKING, READONLY,
 * READWRITE and MIGRATE. For the table in sim_commands.c. Source: Redis 7.0, cluster.c.
 */
#include "sim_cluster.h"
#include "sim_commands.h"

#include "base/text.h"

#include <ctype.h>
#include <string.h>

/* ---- What all of them share ---------------------------------------------------------------- */

static bool is_node(sim__call *call)
{
    if (call->server->node != NULL)
        return true;
    sim__reply_error(call->out, "ERR This instance has cluster support disabled");
    return false;
}

static bool take_slot(sim__call *call, size_t i, unsigned *ret_slot)
{
    int64_t slot;
    if (!gavel__parse_int(call->args[i], &slot) || slot < 0 || slot >= SIM_N_SLOTS) {
        sim__reply_error(call->out, "ERR Invalid or out of range slot");
        return false;
    }
    *ret_slot = (unsigned)slot;
    return true;
}

static size_t n_keys_in_slot(const sim__server *server, unsigned slot)
{
    size_t n = 0;
    for (sim__key *key = NULL; (key = sim__key_in_slot(server, slot, key)) != NULL;)
        n++;
    return n;
}

/* ---- CLUSTER SLOTS ------------------------------------------------------------------------- */

static void say_node(const sim__server *server, gavel__buffer *out)
{
    const char *host = sim__endpoint_of(server);
    sim_endpoint endpoint = server->world->cluster->endpoint;
    bool has_address = endpoint == SIM_ENDPOINT_UNKNOWN || endpoint == SIM_ENDPOINT_NO_NAME;
    sim__reply_array(out, 4);
    if (host != NULL)
        sim__reply_bulk(out, gavel_str(host));
    else
        sim__reply_nil(out);
    sim__reply_int(out, server->port);
    sim__reply_bulk(out, gavel_str(server->node->id));
    sim__reply_array(out, has_address ? 2 : 0);
    if (has_address) {
        sim__reply_bulk(out, GAVEL_STR("ip"));
        sim__reply_bulk(out, gavel_str(server->host));
    }
}

static void say_range(const sim__server *asked, unsigned first, unsigned last, gavel__buffer *out)
{
    const sim_world *world = asked->world;
    const sim__server *owner = world->servers[asked->node->owners[first]];
    size_t n_replicas = 0;
    for (size_t i = 0; i < world->n_servers; i++)
        n_replicas += world->servers[i]->primary == owner;
    sim__reply_array(out, 3 + n_replicas);
    sim__reply_int(out, first);
    sim__reply_int(out, last);
    say_node(owner, out);
    for (size_t i = 0; i < world->n_servers; i++) {
        if (world->servers[i]->primary == owner)
            say_node(world->servers[i], out);
    }
}

/* The range that begins there; true: it has an owner. */
static bool find_range(const sim__node *node, unsigned first, unsigned *ret_last)
{
    unsigned last = first;
    while (last + 1 < SIM_N_SLOTS && node->owners[last + 1] == node->owners[first])
        last++;
    *ret_last = last;
    return node->owners[first] != SIM__NOBODY;
}

static void run_slots(sim__call *call)
{
    const sim__node *node = call->server->node;
    size_t n_ranges = 0;
    unsigned last;
    for (unsigned first = 0; first < SIM_N_SLOTS; first = last + 1)
        n_ranges += find_range(node, first, &last);
    sim__reply_array(call->out, n_ranges);
    for (unsigned first = 0; first < SIM_N_SLOTS; first = last + 1) {
        if (find_range(node, first, &last))
            say_range(call->server, first, last, call->out);
    }
}

/* ---- CLUSTER SETSLOT ----------------------------------------------------------------------- */

static sim__server *node_by_id(const sim_world *world, gavel_bytes id)
{
    for (size_t i = 0; i < world->n_servers; i++) {
        if (gavel__bytes_equal(gavel_str(world->servers[i]->node->id), id))
            return world->servers[i];
    }
    return NULL;
}

/* The node that the last argument names. */
static sim__server *take_node(sim__call *call, const char *unknown)
{
    gavel_bytes id = call->args[4];
    sim__server *node = node_by_id(call->world, id);
    if (node == NULL)
        sim__reply_error(call->out, "ERR %s %.*s", unknown, (int)id.size, id.data);
    else if (node->primary != NULL)
        sim__reply_error(call->out, "ERR Target node is not a master");
    else
        return node;
    return NULL;
}

static void open_slot(sim__call *call, unsigned slot, bool is_importing)
{
    sim__server *server = call->server;
    bool is_owner = server->node->owners[slot] == server->number;
    if (is_owner == is_importing) {
        sim__reply_error(call->out,
            is_importing ? "ERR I'm already the owner of hash slot %u"
                         : "ERR I'm not the owner of hash slot %u",
            slot);
        return;
    }
    sim__server *other = take_node(call, "I don't know about node");
    if (other == NULL)
        return;
    sim__set_open(server, slot, is_importing, other);
    sim__reply_status(call->out, "OK");
}

static void assign_slot(sim__call *call, unsigned slot)
{
    sim__server *server = call->server;
    sim__node *node = server->node;
    sim__server *owner = take_node(call, "Unknown node");
    if (owner == NULL)
        return;
    bool has_keys = n_keys_in_slot(server, slot) > 0;
    if (node->owners[slot] == server->number && owner != server && has_keys) {
        sim__reply_error(call->out,
            "ERR Can't assign hashslot %u to a different node while I still hold keys for this "
            "hash slot.",
            slot);
        return;
    }
    const sim__open_slot *open = sim__open_slot_of(server, slot);
    bool is_taken = open != NULL && open->is_importing && owner == server;
    if (open != NULL && !open->is_importing && !has_keys)
        sim__set_open(server, slot, false, NULL);
    if (is_taken) {
        sim__take_slot(server, slot);
        sim__announce(
            server, call->world->cluster->gossip_min_us, call->world->cluster->gossip_max_us);
    }
    node->owners[slot] = (uint8_t)owner->number;
    sim__reply_status(call->out, "OK");
}

static void run_setslot(sim__call *call)
{
    unsigned slot;
    if (call->server->primary != NULL) {
        sim__reply_error(call->out, "ERR Please use SETSLOT only with masters.");
        return;
    }
    if (!take_slot(call, 2, &slot))
        return;
    if (sim__arg_is(call, 3, "MIGRATING") && call->n_args == 5) {
        open_slot(call, slot, false);
    } else if (sim__arg_is(call, 3, "IMPORTING") && call->n_args == 5) {
        open_slot(call, slot, true);
    } else if (sim__arg_is(call, 3, "NODE") && call->n_args == 5) {
        assign_slot(call, slot);
    } else if (sim__arg_is(call, 3, "STABLE") && call->n_args == 4) {
        sim__set_open(call->server, slot, false, NULL);
        sim__reply_status(call->out, "OK");
    } else {
        sim__reply_error(call->out,
            "ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP");
    }
}

/* ---- CLUSTER ------------------------------------------------------------------------------- */

static void run_countkeysinslot(sim__call *call)
{
    int64_t slot;
    if (!sim__arg_int(call, 2, &slot))
        return;
    if (slot < 0 || slot >= SIM_N_SLOTS)
        sim__reply_error(call->out, "ERR Invalid slot");
    else
        sim__reply_int(call->out, (int64_t)n_keys_in_slot(call->server, (unsigned)slot));
}

static void run_getkeysinslot(sim__call *call)
{
    int64_t slot, max;
    if (!sim__arg_int(call, 2, &slot) || !sim__arg_int(call, 3, &max))
        return;
    if (slot < 0 || slot >= SIM_N_SLOTS || max < 0) {
        sim__reply_error(call->out, "ERR Invalid slot or number of keys");
        return;
    }
    size_t n = n_keys_in_slot(call->server, (unsigned)slot);
    n = n < (size_t)max ? n : (size_t)max;
    sim__reply_array(call->out, n);
    sim__key *key = NULL;
    for (size_t i = 0; i < n; i++) {
        key = sim__key_in_slot(call->server, (unsigned)slot, key);
        sim__reply_bulk(call->out, key->name);
    }
}

/* The highest epoch that it has heard of. */
static uint32_t newest_epoch(const sim__node *node)
{
    uint32_t newest = node->epoch;
    for (unsigned slot = 0; slot < SIM_N_SLOTS; slot++)
        newest = node->since[slot] > newest ? node->since[slot] : newest;
    return newest;
}

/* What is asked for of it. */
static void run_info(sim__call *call)
{
    char text[96];
    const sim__server *server = call->server;
    const sim__node *node = server->primary != NULL ? server->primary->node : server->node;
    gavel__format(text, sizeof text,
        "cluster_enabled:1\r\ncluster_current_epoch:%u\r\ncluster_my_epoch:%u\r\n",
        newest_epoch(server->node), node->epoch);
    sim__reply_bulk(call->out, gavel_str(text));
}

static void run_failover(sim__call *call)
{
    sim__server *server = call->server;
    if (server->primary == NULL)
        sim__reply_error(call->out, "ERR You should send CLUSTER FAILOVER to a replica");
    else if (!server->replication->is_linked)
        sim__reply_error(
            call->out, "ERR Master is down or failed, please use CLUSTER FAILOVER FORCE");
    else {
        sim__fail_over(server);
        sim__reply_status(call->out, "OK");
    }
}

void sim__run_cluster(sim__call *call)
{
    if (!is_node(call))
        return;
    if (sim__arg_is(call, 1, "SLOTS") && call->n_args == 2)
        run_slots(call);
    else if (sim__arg_is(call, 1, "INFO") && call->n_args == 2)
        run_info(call);
    else if (sim__arg_is(call, 1, "MYID") && call->n_args == 2)
        sim__reply_bulk(call->out, gavel_str(call->server->node->id));
    else if (sim__arg_is(call, 1, "KEYSLOT") && call->n_args == 3)
        sim__reply_int(call->out, gavel__slot_of(call->args[2]));
    else if (sim__arg_is(call, 1, "COUNTKEYSINSLOT") && call->n_args == 3)
        run_countkeysinslot(call);
    else if (sim__arg_is(call, 1, "GETKEYSINSLOT") && call->n_args == 4)
        run_getkeysinslot(call);
    else if (sim__arg_is(call, 1, "SETSLOT") && call->n_args >= 4)
        run_setslot(call);
    else if (sim__arg_is(call, 1, "FAILOVER") && call->n_args == 2)
        run_failover(call);
    else
        sim__reply_error(call->out, "ERR unknown subcommand '%.*s'. Try CLUSTER HELP.",
            (int)call->args[1].size, call->args[1].data);
}

/* ---- What a client says of itself ---------------------------------------------------------- */

void sim__run_asking(sim__call *call)
{
    if (!is_node(call))
        return;
    call->session->is_asking = true;
    sim__reply_status(call->out, "OK");
}

void sim__run_readonly(sim__call *call)
{
    if (!is_node(call))
        return;
    call->session->is_reader = true;
    sim__reply_status(call->out, "OK");
}

void sim__run_readwrite(sim__call *call)
{
    if (!is_node(call))
        return;
    call->session->is_reader = false;
    sim__reply_status(call->out, "OK");
}

/* ---- MIGRATE host port key database timeout [REPLACE] -------------------------------------- */

static sim__server *take_target(sim__call *call)
{
    int64_t port;
    if (!gavel__parse_int(call->args[2], &port))
        return NULL;
    for (size_t i = 0; i < call->world->n_servers; i++) {
        sim__server *server = call->world->servers[i];
        if (server->port == port && gavel__bytes_equal(gavel_str(server->host), call->args[1]) &&
            server != call->server)
            return server;
    }
    return NULL;
}

/* At once, while both servers stand still. */
void sim__run_migrate(sim__call *call)
{
    sim__server *target = take_target(call);
    sim__key *key = sim__find(call->server, 0, call->args[3]);
    bool replaces = call->n_args == 7 && sim__arg_is(call, 6, "REPLACE");
    if (call->n_args != 6 && !replaces)
        sim__say_syntax_error(call);
    else if (key == NULL)
        sim__reply_status(call->out, "NOKEY");
    else if (target == NULL || sim__is_down(target) || sim__is_silent(target))
        sim__reply_error(call->out, "IOERR error or timeout connecting to the client");
    else if (!replaces && sim__find(target, 0, call->args[3]) != NULL)
        sim__reply_error(call->out,
            "ERR Target instance replied with error: BUSYKEY Target key name already exists.");
    else {
        sim__move_key(call->server, target, key);
        sim__reply_status(call->out, "OK");
    }
}
