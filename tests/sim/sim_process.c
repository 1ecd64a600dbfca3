/*
 * Processes: what each client runs in, as far as it can be stopped, go on, and crash. For clients
 * on the world and, through sim.h, for tests.
 */
#include "sim_internal.h"

#include <stdlib.h>

sim__process *sim__process_create(sim_world *world, bool is_blocking)
{
    sim__process *process = sim__alloc(1, sizeof *process);
    *process =
        (sim__process){.world = world, .number = world->n_processes, .is_blocking = is_blocking};
    world->processes =
        sim__resize(world->processes, world->n_processes + 1, sizeof(sim__process *));
    world->processes[world->n_processes++] = process;
    return process;
}

/* The latest one, since a client that was closed may have had the same address. */
sim__process *sim__process_of(const sim_world *world, const gavel_client *client)
{
    for (size_t i = world->n_processes; i-- > 0;) {
        if (client != NULL && world->processes[i]->client == client)
            return world->processes[i];
    }
    return NULL;
}

static sim__process *living_process_of(const sim_world *world, const gavel_client *client)
{
    sim__process *process = sim__process_of(world, client);
    if (process == NULL || process->is_crashed)
        sim__fail(world, "a client is meant that has crashed, or that the simulator did not open");
    return process;
}

void sim_pause(sim_world *world, gavel_client *client)
{
    living_process_of(world, client)->is_stopped = true;
}

void sim_resume(sim_world *world, gavel_client *client)
{
    living_process_of(world, client)->is_stopped = false;
    world->is_awake = true;
}

/* Nobody will hear of them. */
static void bury_results(sim_world *world, const gavel_client *client)
{
    for (size_t i = 0; i < world->n_results; i++) {
        sim_result *result = world->results[i];
        if (result->client != client || result->is_done)
            continue;
        result->is_done = true;
        result->is_crashed = true;
        world->n_results_done++;
    }
}

void sim_crash(sim_world *world, gavel_client *client, int64_t orphaned_us)
{
    sim__process *process = living_process_of(world, client);
    if (process->is_blocking)
        sim__fail(world, "a blocking client runs in the test's own thread and cannot crash");
    process->is_stopped = true;
    process->is_crashed = true;
    for (size_t i = 0; i < world->n_connections; i++) {
        sim__connection *connection = world->connections[i];
        if (connection->process != process)
            continue;
        if (orphaned_us > 0)
            sim__connection_orphan(connection, orphaned_us);
        else
            sim__connection_abandon(connection);
    }
    bury_results(world, client);
}

/* Only here is it sure that none of the client's own functions is further up the stack. */
void sim__processes_destroy(sim_world *world)
{
    for (size_t i = 0; i < world->n_processes; i++) {
        if (world->processes[i]->is_crashed)
            gavel_close(world->processes[i]->client);
        free(world->processes[i]);
    }
    free(world->processes);
}
