/*
 * The servers of a world: where they are, which one is meant, and what happens to a whole server or
 * machine. For tests, through sim.h, and for the simulator's other parts.
 */
#include "sim_cluster.h"
#include "sim_sentinel.h"

#include "base/text.h"

#include <arpa/inet.h>
#include <stdlib.h>

/* The address of server 0; those of the others follow. See sim_hosts.c for its name's. */
#define FIRST_ADDRESS UINT32_C(0x0a000101)
#define PORT 6379

/* ---- Creating ------------------------------------------------------------------------------ */

sim__server *sim__server_create(sim_world *world)
{
    sim__server *server = sim__alloc(1, sizeof *server);
    if (world->n_servers == SIM_MAX_SERVERS)
        sim__fail(world, "too many servers");
    server->number = world->n_servers++;
    world->servers[server->number] = server;
    server->world = world;
    server->port = PORT;
    gavel__format(server->host, sizeof server->host, "10.0.1.%zu", server->number + 1);
    gavel__list_init(&server->sessions);
    gavel__buffer_init(&server->outsider_out, &gavel__system_allocator);
    server->outsider = sim__session_create(server, 0);
    server->outsider->has_login = true;
    sim__replication_create(server);
    return server;
}

static void destroy_server(sim__server *server)
{
    sim__replication_destroy(server);
    sim__session_destroy(server->outsider);
    sim__delete_all(server);
    sim__forget_saved(server);
    gavel__buffer_finish(&server->outsider_out);
    free(server->user);
    free(server->password);
    free(server);
}

void sim__servers_destroy(sim_world *world)
{
    for (size_t i = 0; i < world->n_servers; i++)
        destroy_server(world->servers[i]);
}

size_t sim_add_server(sim_world *world)
{
    return sim__server_create(world)->number;
}

/* ---- Which one ----------------------------------------------------------------------------- */

sim__server *sim__server_at(const sim_world *world, size_t server)
{
    if (server >= world->n_servers)
        sim__fail(world, "a server is meant that is not there");
    return world->servers[server];
}

size_t sim_choose(sim_world *world, size_t server)
{
    size_t chosen_before = world->meant->number;
    world->meant = sim__server_at(world, server);
    return chosen_before;
}

const char *sim_host_of(const sim_world *world, size_t server)
{
    return sim__server_at(world, server)->host;
}

int sim_port_of(const sim_world *world, size_t server)
{
    return sim__server_at(world, server)->port;
}

sim__server *sim__server_by_address(const sim_world *world, uint32_t address, int port)
{
    uint32_t number = address - FIRST_ADDRESS;
    return number < world->n_servers && world->servers[number]->port >= port
               ? world->servers[number]
               : NULL;
}

void sim_give_port(sim_world *world, size_t server)
{
    size_t chosen_before = sim_choose(world, server);
    sim_restart(world, 0, true);
    sim__server_at(world, server)->port++;
    (void)sim_choose(world, chosen_before);
}

/* ---- Silence and restart ------------------------------------------------------------------- */

bool sim__is_silent(const sim__server *server)
{
    return server->world->now_us < server->silent_until_us;
}

bool sim__is_down(const sim__server *server)
{
    return server->world->now_us < server->down_until_us;
}

static void end_silence(sim_world *world, void *subject)
{
    (void)world;
    if (!sim__is_silent(subject))
        sim__network_resume(subject);
}

void sim_silence(sim_world *world, int64_t us)
{
    sim__server *server = world->meant;
    if (server->silent_until_us < world->now_us + us)
        server->silent_until_us = world->now_us + us;
    sim__schedule(world, server->silent_until_us, end_silence, server);
}

static void end(sim__server *server, bool keeps_data)
{
    server->world->counters.n_restarts++;
    server->silent_until_us = 0;
    sim__network_reset(server);
    sim__replication_die(server, keeps_data);
    if (!keeps_data)
        sim__load(server, &server->saved);
    if (sim__is_sentinel(server))
        sim__sentinel_die(server, keeps_data);
    if (server->node != NULL)
        sim__node_die(server);
}

static void die(sim_world *world, void *subject)
{
    (void)world;
    end(subject, true);
}

static void die_and_forget(sim_world *world, void *subject)
{
    (void)world;
    end(subject, false);
}

static void rise(sim_world *world, void *subject)
{
    sim__server *server = subject;
    (void)world;
    if (sim__is_down(server))
        return;
    sim__replication_rise(server);
    if (sim__is_sentinel(server))
        sim__sentinel_rise(server);
    if (server->node != NULL)
        sim__node_rise(server);
}

/* Comes as an event of its own, so that it never happens inside a command. */
void sim_restart(sim_world *world, int64_t down_us, bool keeps_data)
{
    sim__server *server = world->meant;
    if (server->down_until_us < world->now_us + down_us)
        server->down_until_us = world->now_us + down_us;
    sim__schedule(world, world->now_us, keeps_data ? die : die_and_forget, server);
    sim__schedule(world, server->down_until_us, rise, server);
}

/* ---- Partitions ---------------------------------------------------------------------------- */

#define FIRST_CLIENT 32
#define LAST_CLIENT 63

sim_machines sim_machine_of(const sim_world *world, const gavel_client *client)
{
    const sim__process *process = sim__process_of(world, client);
    if (process == NULL)
        sim__fail(world, "a client is meant that the simulator did not open");
    return sim__machine_of(process);
}

sim_machines sim__machine_of(const sim__process *process)
{
    size_t bit = FIRST_CLIENT + process->number;
    return UINT64_C(1) << (bit < LAST_CLIENT ? bit : LAST_CLIENT);
}

void sim_partition(sim_world *world, sim_machines some, sim_machines others, int64_t us)
{
    size_t i = 0;
    while (i < world->n_partitions && world->partitions[i].until_us > world->now_us)
        i++;
    if (i == SIM__MAX_ARMED)
        sim__fail(world, "too many partitions at a time");
    if (i == world->n_partitions)
        world->n_partitions++;
    world->partitions[i] = (sim__partition){some, others, world->now_us + us};
}

int64_t sim__parted_until(const sim_world *world, sim_machines one, sim_machines other)
{
    int64_t until_us = 0;
    for (size_t i = 0; i < world->n_partitions; i++) {
        const sim__partition *partition = &world->partitions[i];
        bool is_parted = ((partition->some & one) && (partition->others & other)) ||
                         ((partition->some & other) && (partition->others & one));
        if (is_parted && partition->until_us > world->now_us && partition->until_us > until_us)
            until_us = partition->until_us;
    }
    return until_us;
}
