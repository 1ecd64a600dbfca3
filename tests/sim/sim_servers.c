/*
 * The servers of a world: creating them, and which one is meant. For the simulator's other parts.
 */
#include "sim_internal.h"

#include <stdlib.h>

sim__server *sim__server_create(sim_world *world)
{
    sim__server *server = sim__alloc(1, sizeof *server);
    world->servers = sim__resize(world->servers, world->n_servers + 1, sizeof(sim__server *));
    server->number = world->n_servers++;
    world->servers[server->number] = server;
    server->world = world;
    gavel__list_init(&server->sessions);
    gavel__buffer_init(&server->outsider_out, &gavel__system_allocator);
    server->outsider = sim__session_create(server, 0);
    server->outsider->has_login = true;
    return server;
}

static void destroy(sim__server *server)
{
    sim__session_destroy(server->outsider);
    sim__delete_all(server);
    gavel__buffer_finish(&server->outsider_out);
    free(server->user);
    free(server->password);
    free(server);
}

void sim__servers_destroy(sim_world *world)
{
    for (size_t i = 0; i < world->n_servers; i++)
        destroy(world->servers[i]);
    free(world->servers);
}
