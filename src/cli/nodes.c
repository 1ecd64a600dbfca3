/*
 * The servers that a URL leads to: see the header.
 */
#include "cli/nodes.h"

#include "cli/text.h"

/* How often a node may come: slots that move on and on are not followed for ever. */
#define N_TAKEN_MAX 4

/* ---- Sentinels ----------------------------------------------------------------------------- */

/* One that is asked. */
typedef struct inquiry {
    gavel__sentinels *known;
    uint32_t i;
} inquiry;

static void on_sentinel_reply(size_t i, const gavel_reply *reply, void *user)
{
    const inquiry *self = user;
    (void)i;
    gavel__sentinels_on_reply(self->known, self->i, reply, cli_now_us());
}

static void ask_sentinel(gavel__sentinels *known, uint32_t i, const cli_options *options)
{
    inquiry self = {.known = known, .i = i};
    cli_server server;
    bool is_told = cli_server_open(&server, options, GAVEL__LINK_TO_SENTINEL, &known->all[i].place);
    if (is_told) {
        size_t n = gavel__sentinels_ask(known, i, cli_server_next(&server), cli_now_us());
        is_told = cli_server_ask(&server, n, on_sentinel_reply, &self);
    }
    if (!is_told)
        gavel__sentinels_on_loss(
            known, i, &(gavel__sentinel_loss){.message = server.trouble}, cli_now_us());
    cli_server_close(&server);
}

/* Asks each until so many as are needed name the same primary; who may go without these, asks all,
 * and the one who knows best is believed. They may name more of them. */
static bool find_primary(cli_nodes *nodes)
{
    const gavel__address *address = &nodes->options->address;
    gavel__sentinels known;
    gavel__sentinels_init(&known, &gavel__system_allocator, address->service);
    for (size_t i = 0; i < address->n_seeds; i++)
        gavel__sentinels_add(&known, address->seeds[i].host, address->seeds[i].port);
    known.may_go_without = nodes->options->config.may_go_without_sentinels;
    for (uint32_t i = 0; i < known.n && (known.generation == 0 || known.may_go_without); i++) {
        if (gavel__sentinels_wants(&known, i, cli_now_us()))
            ask_sentinel(&known, i, nodes->options);
    }
    nodes->primary = known.primary;
    bool is_found = known.generation > 0;
    if (!is_found) {
        char message[GAVEL_MESSAGE_SIZE];
        gavel__sentinels_explain(&known, cli_now_us(), message);
        cli_say("%s: %s", address->label, message);
    }
    gavel__sentinels_finish(&known);
    return is_found;
}

/* ---- The map of a Cluster ------------------------------------------------------------------ */

static void on_map(size_t i, const gavel_reply *reply, void *user)
{
    cli_nodes *self = user;
    (void)i;
    const gavel__slots_node *asked = self->map.nodes[self->map.asked];
    gavel__slots_on_reply(&self->map, reply, asked->place.host, cli_now_us());
}

static void ask_node(cli_nodes *nodes, uint16_t node)
{
    cli_server server;
    bool is_told = cli_nodes_connect(nodes, node, &server);
    if (is_told) {
        size_t n = gavel__slots_ask(&nodes->map, cli_server_next(&server), cli_now_us());
        is_told = cli_server_ask(&server, n, on_map, nodes);
    }
    if (!is_told && nodes->map.asked == node)
        gavel__slots_on_loss(&nodes->map, node, server.trouble, cli_now_us());
    cli_server_close(&server);
}

/* Asks until one has told. False: nobody has. */
static bool ask_for_map(cli_nodes *nodes)
{
    gavel__slots *map = &nodes->map;
    uint64_t n_answers = map->n_answers;
    uint64_t pass = map->pass;
    while (map->pass == pass) {
        uint16_t node = gavel__slots_begin(map, map->ask_us); /* whoever asks once need not wait */
        if (node == GAVEL__NO_NODE)
            break;
        ask_node(nodes, node);
    }
    return map->n_answers > n_answers;
}

static bool find_primaries(cli_nodes *nodes)
{
    const gavel__address *address = &nodes->options->address;
    bool is_known = true;
    gavel__random_seed(&nodes->random, gavel__random_system_seed());
    gavel__slots_init(&nodes->map, &gavel__system_allocator, &nodes->random);
    for (size_t i = 0; i < address->n_seeds; i++)
        is_known &=
            gavel__slots_add_seed(&nodes->map, address->seeds[i].host, address->seeds[i].port);
    if (!is_known)
        cli_say("no memory");
    else if (!ask_for_map(nodes)) {
        char message[GAVEL_MESSAGE_SIZE];
        gavel__slots_explain(&nodes->map, message);
        cli_say("%s: %s", address->label, message);
    }
    return nodes->map.n_answers > 0;
}

/* Those that have got slots since. */
static bool take_due(cli_nodes *nodes, uint16_t *ret_node)
{
    uint16_t slot;
    bool has_migrated;
    while (gavel__slots_take_moved(&nodes->map, &slot, &has_migrated)) {
        if (nodes->map.node_of[slot] != GAVEL__NO_NODE)
            nodes->is_due[nodes->map.node_of[slot]] = true;
    }
    for (uint16_t i = 0; i < nodes->map.n_nodes; i++) {
        bool is_due = nodes->is_due[i] && nodes->n_taken[i] < N_TAKEN_MAX;
        nodes->is_due[i] = false;
        if (!is_due)
            continue;
        nodes->n_taken[i]++;
        *ret_node = i;
        return true;
    }
    return false;
}

/* ---- For the commands ---------------------------------------------------------------------- */

bool cli_nodes_open(cli_nodes *nodes, const cli_options *options)
{
    *nodes = (cli_nodes){.options = options, .kind = options->address.kind};
    switch (nodes->kind) {
    case GAVEL__ADDRESS_SERVER:
        return true;
    case GAVEL__ADDRESS_SENTINEL:
        return find_primary(nodes);
    case GAVEL__ADDRESS_CLUSTER:
        return find_primaries(nodes);
    }
    return false;
}

void cli_nodes_close(cli_nodes *nodes)
{
    if (nodes->kind == GAVEL__ADDRESS_CLUSTER)
        gavel__slots_finish(&nodes->map);
}

bool cli_nodes_take(cli_nodes *nodes, uint16_t *ret_node)
{
    if (nodes->kind == GAVEL__ADDRESS_CLUSTER)
        return take_due(nodes, ret_node) || (ask_for_map(nodes) && take_due(nodes, ret_node));
    *ret_node = 0;
    return nodes->n_taken[0]++ == 0;
}

uint16_t cli_nodes_of_slot(const cli_nodes *nodes, uint16_t slot)
{
    return nodes->kind == GAVEL__ADDRESS_CLUSTER ? nodes->map.node_of[slot] : 0;
}

bool cli_nodes_connect(cli_nodes *nodes, uint16_t node, cli_server *server)
{
    switch (nodes->kind) {
    case GAVEL__ADDRESS_SERVER:
        return cli_server_open(server, nodes->options, GAVEL__LINK_TO_SERVER, NULL);
    case GAVEL__ADDRESS_SENTINEL:
        return cli_server_open(server, nodes->options, GAVEL__LINK_TO_SERVER, &nodes->primary);
    case GAVEL__ADDRESS_CLUSTER:
        break;
    }
    bool is_open = cli_server_open(
        server, nodes->options, GAVEL__LINK_TO_NODE, &nodes->map.nodes[node]->place);
    if (!is_open)
        gavel__slots_on_loss(&nodes->map, node, server->trouble, cli_now_us());
    return is_open;
}

bool cli_nodes_follow(cli_nodes *nodes, uint16_t node, const gavel_reply *reply, uint16_t *ret_node)
{
    gavel__redirect redirect;
    if (nodes->kind != GAVEL__ADDRESS_CLUSTER || reply->type != GAVEL_REPLY_ERROR ||
        !gavel__redirect_read(reply->text, &redirect))
        return false;
    uint16_t other = gavel__slots_on_redirect(
        &nodes->map, &redirect, nodes->map.nodes[node]->place.host, cli_now_us());
    if (other == GAVEL__NO_NODE)
        return false;
    nodes->is_due[other] = true;
    *ret_node = other;
    return true;
}

const gavel__place_name *cli_nodes_place(const cli_nodes *nodes, uint16_t node)
{
    return nodes->kind == GAVEL__ADDRESS_CLUSTER ? &nodes->map.nodes[node]->place : NULL;
}
