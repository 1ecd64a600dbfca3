/*
 * The first server's name: what look-ups bring, and which address a dial is for. For clients,
 * through client/directory.h, and for tests, through sim.h.
 */
#include "sim_internal.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

/* The first of the addresses: 10.0.0.1. */
#define FIRST_ADDRESS UINT32_C(0x0a000001)

void sim_set_hosts(sim_world *world, int64_t look_up_us, const sim_host *hosts, size_t n)
{
    if (n > SIM_MAX_HOSTS)
        sim__fail(world, "too many addresses for a name");
    if (n > 0)
        memcpy(world->hosts, hosts, n * sizeof *hosts);
    world->n_hosts = n;
    world->look_up_us = look_up_us;
}

uint64_t sim_n_look_ups(const sim_world *world)
{
    return world->n_look_ups;
}

uint64_t sim_n_dials(const sim_world *world, size_t host)
{
    return world->n_dials[host];
}

static gavel__endpoint endpoint_of(size_t host)
{
    gavel__endpoint endpoint = {.size = sizeof endpoint.address.ipv4};
    endpoint.address.ipv4.sin_family = AF_INET;
    endpoint.address.ipv4.sin_addr.s_addr = htonl(FIRST_ADDRESS + (uint32_t)host);
    return endpoint;
}

static void answer(sim_world *world, gavel__lookup *lookup)
{
    gavel__endpoint endpoints[SIM_MAX_HOSTS];
    for (size_t i = 0; i < world->n_hosts; i++)
        endpoints[i] = endpoint_of(i);
    gavel__lookup_answer(lookup, endpoints, world->n_hosts, "no such name");
}

static void answer_later(sim_world *world, void *subject)
{
    sim__look_up *asked = subject;
    answer(world, asked->lookup);
    asked->lookup = NULL;
}

void sim__begin_look_up(void *user, gavel__lookup *lookup)
{
    sim_world *world = ((sim__process *)user)->world;
    world->n_look_ups++;
    if (world->look_up_us == 0) {
        answer(world, lookup);
        return;
    }
    sim__look_up *asked = sim__alloc(1, sizeof *asked);
    asked->lookup = lookup;
    gavel__list_append(&world->look_ups, &asked->node);
    sim__schedule(world, world->now_us + world->look_up_us, answer_later, asked);
}

sim__target sim__target_of(sim_world *world, const gavel__endpoint *endpoint)
{
    if (endpoint->size == 0)
        return (sim__target){world->meant, SIM_HOST_SERVES};
    uint32_t address = ntohl(endpoint->address.ipv4.sin_addr.s_addr);
    sim__server *server =
        sim__server_by_address(world, address, ntohs(endpoint->address.ipv4.sin_port));
    if (server != NULL)
        return (sim__target){server, server->port == ntohs(endpoint->address.ipv4.sin_port)
                                         ? SIM_HOST_SERVES
                                         : SIM_HOST_REFUSES};
    uint32_t host = address - FIRST_ADDRESS;
    if (host >= SIM_MAX_HOSTS)
        sim__fail(world, "an address is dialled that was never told");
    world->n_dials[host]++;
    return (sim__target){world->servers[0], world->hosts[host]};
}

void sim__hosts_destroy(sim_world *world)
{
    for (gavel__list *node; (node = gavel__list_pop(&world->look_ups)) != NULL;) {
        sim__look_up *asked = GAVEL__CONTAINER(node, sim__look_up, node);
        if (asked->lookup != NULL)
            gavel__lookup_answer(asked->lookup, NULL, 0, "");
        free(asked);
    }
}
