/*
 * Clients on the world, and what came of their transactions. The only part that needs the whole
 * library to link.
 */
#include "sim_sentinel.h"

#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define URL_SIZE 1024

/* ---- Opening ------------------------------------------------------------------------------- */

static uint64_t entropy(void *user)
{
    return gavel__random_next(&((sim__process *)user)->world->test);
}

gavel__platform sim_platform(sim_world *world, bool is_blocking)
{
    return (gavel__platform){
        .create_loop = is_blocking ? sim__loop_create_blocking : sim__loop_create,
        .dial = sim__dial,
        .look_up = sim__begin_look_up,
        .entropy = entropy,
        .user = sim__process_create(world, is_blocking),
        .is_blocking = is_blocking};
}

void sim_allow_wait(sim_world *world, bool is_allowed)
{
    world->can_wait = is_allowed;
}

static void append(char url[URL_SIZE], const char *text)
{
    size_t used = strlen(url);
    gavel__format(url + used, URL_SIZE - used, "%s", text);
}

/* Of all Sentinels, or nodes of a cluster, if there are any. */
static void find_url(const sim_world *world, char url[URL_SIZE])
{
    char address[32];
    gavel__format(url, URL_SIZE, "redis://simulated");
    for (size_t i = 0, n = 0; i < world->n_servers; i++) {
        const sim__server *server = world->servers[i];
        if (!sim__is_sentinel(server) && server->node == NULL)
            continue;
        gavel__format(address, sizeof address, "%s:%d", server->host, server->port);
        if (n++ == 0)
            gavel__format(
                url, URL_SIZE, server->node != NULL ? "redis+cluster://" : "redis+sentinel://");
        else
            append(url, ",");
        append(url, address);
    }
    if (world->service != NULL) {
        append(url, "/");
        append(url, world->service->name);
    }
}

static gavel_client *open_on_world(
    sim_world *world, const char *url, const gavel_config *config, bool is_blocking)
{
    gavel__platform platform = sim_platform(world, is_blocking);
    gavel_error error;
    gavel_client *client = gavel__open_on(&platform, url, config, &error);
    if (client == NULL)
        sim__fail(world, error.message);
    sim__process *process = platform.user;
    process->client = client;
    return client;
}

gavel_client *sim_open(sim_world *world, const gavel_config *config)
{
    char url[URL_SIZE];
    find_url(world, url);
    return open_on_world(world, url, config, false);
}

gavel_client *sim_open_url(sim_world *world, const char *url, const gavel_config *config)
{
    return open_on_world(world, url, config, false);
}

gavel_client *sim_open_blocking(sim_world *world, const gavel_config *config)
{
    char url[URL_SIZE];
    find_url(world, url);
    return open_on_world(world, url, config, true);
}

/* ---- Submitting ---------------------------------------------------------------------------- */

static gavel_verdict run_body(gavel_tx *tx, void *user)
{
    const sim_result *result = user;
    return result->body(tx, result->user);
}

static void keep_outcome(const gavel_outcome *outcome, void *user)
{
    sim_result *result = user;
    if (result->is_crashed)
        return; /* What the simulator has to clean up, nobody hears. */
    result->n_done_calls++;
    result->outcome = *outcome;
    result->outcome.replies = NULL;
    result->outcome.n_replies = 0;
    result->done_at_us = result->world->now_us;
    if (!result->is_done)
        result->world->n_results_done++;
    result->is_done = true;
}

const sim_result *sim_submit(
    sim_world *world, gavel_client *client, const gavel_transaction *transaction)
{
    const sim__process *process = sim__process_of(world, client);
    if (process != NULL && process->is_crashed)
        sim__fail(world, "a client that has crashed submits nothing");
    sim_result *result = sim__alloc(1, sizeof *result);
    world->results = sim__resize(world->results, world->n_results + 1, sizeof(sim_result *));
    world->results[world->n_results++] = result;
    result->world = world;
    result->client = client;
    result->user = transaction->user;
    result->body = transaction->body;
    gavel_transaction own = *transaction;
    own.user = result;
    own.body = transaction->body != NULL ? run_body : NULL;
    result->ticket = gavel_submit(client, &own, keep_outcome);
    result->is_refused = result->ticket == 0;
    if (result->is_refused) {
        result->is_done = true;
        world->n_results_done++;
    }
    return result;
}

size_t sim_n_results(const sim_world *world)
{
    return world->n_results;
}

const sim_result *sim_result_at(const sim_world *world, size_t i)
{
    return world->results[i];
}

size_t sim_n_results_with(const sim_world *world, gavel_status status)
{
    size_t n = 0;
    for (size_t i = 0; i < world->n_results; i++) {
        const sim_result *result = world->results[i];
        bool is_told = result->is_done && !result->is_refused && !result->is_crashed;
        n += is_told && result->outcome.status == status;
    }
    return n;
}

static bool are_all_done(sim_world *world, void *user)
{
    (void)user;
    return world->n_results_done == world->n_results;
}

bool sim_finish(sim_world *world, int64_t max_us)
{
    return sim_run_until(world, are_all_done, NULL, max_us);
}
