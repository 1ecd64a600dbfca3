/*
 * The world: its clock, what is going to happen, randomness, and running it. For the simulator's
 * other parts and, through sim.h, for tests.
 */
#include "sim_cluster.h"
#include "sim_sentinel.h"

#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* More turns than this at one instant, and the client spins. */
#define MAX_TURNS_AT_ONCE 100000

/* ---- Memory and misuse --------------------------------------------------------------------- */

_Noreturn void sim__fail(const sim_world *world, const char *why)
{
    if (world != NULL)
        fprintf(stderr, "sim: seed %llu, at %lld us: %s\n", (unsigned long long)world->seed,
            (long long)world->now_us, why);
    else
        fprintf(stderr, "sim: %s\n", why);
    abort();
}

void *sim__alloc(size_t n, size_t size)
{
    void *memory = calloc(n == 0 ? 1 : n, size == 0 ? 1 : size);
    if (memory == NULL)
        sim__fail(NULL, "no memory");
    return memory;
}

void *sim__resize(void *memory, size_t n, size_t size)
{
    void *resized = realloc(memory, n * size);
    if (resized == NULL)
        sim__fail(NULL, "no memory");
    return resized;
}

gavel_bytes sim__copy(gavel_bytes bytes)
{
    char *data = sim__alloc(bytes.size + 1, 1);
    if (bytes.size > 0)
        memcpy(data, bytes.data, bytes.size);
    return (gavel_bytes){data, bytes.size};
}

void sim__free_bytes(gavel_bytes bytes)
{
    free((void *)(uintptr_t)bytes.data);
}

/* ---- Randomness ---------------------------------------------------------------------------- */

bool sim__chance(gavel__random *random, uint32_t per_mille)
{
    return per_mille > 0 && gavel__random_below(random, 1000) < per_mille;
}

int64_t sim__between(gavel__random *random, int64_t low, int64_t high)
{
    return low + (int64_t)gavel__random_below(random, (uint64_t)(high - low) + 1);
}

uint64_t sim_random(sim_world *world, uint64_t bound)
{
    return gavel__random_below(&world->test, bound);
}

/* ---- Creating and destroying --------------------------------------------------------------- */

sim_world *sim_create(uint64_t seed)
{
    sim_world *world = sim__alloc(1, sizeof *world);
    world->seed = seed;
    sim_set_version(world, "7.0.15");
    world->now_us = SIM__START_US;
    gavel__random_seed(&world->network, seed);
    gavel__random_seed(&world->chance, seed ^ UINT64_C(0x6368616e6365));
    gavel__random_seed(&world->actors_random, seed ^ UINT64_C(0x6163746f7273));
    gavel__random_seed(&world->test, seed ^ UINT64_C(0x74657374));
    gavel__random_seed(&world->topology, seed ^ UINT64_C(0x746f706f6c6f6779));
    gavel__list_init(&world->loops);
    gavel__list_init(&world->look_ups);
    world->n_hosts = 1;
    world->meant = sim__server_create(world);
    world->hash = UINT64_C(14695981039346656037);
    return world;
}

void sim_set_version(sim_world *world, const char *version)
{
    static const char name[] = "valkey ";
    size_t skipped = strncmp(version, name, strlen(name)) == 0 ? strlen(name) : 0;
    world->is_valkey = skipped > 0;
    gavel__format(world->version, sizeof world->version, "%s", version + skipped);
}

bool sim__is_at_least(const sim_world *world, long major, long minor)
{
    char *end;
    const char *version = world->is_valkey ? SIM__VALKEY_COMPATIBILITY : world->version;
    long have_major = strtol(version, &end, 10);
    long have_minor = *end == '.' ? strtol(end + 1, NULL, 10) : 0;
    return have_major > major || (have_major == major && have_minor >= minor);
}

static void destroy_actors(sim_world *world)
{
    for (size_t i = 0; i < world->n_actors; i++) {
        free(world->actors[i]->line);
        free(world->actors[i]);
    }
    free(world->actors);
}

void sim_destroy(sim_world *world)
{
    if (world == NULL)
        return;
    sim__processes_destroy(world);
    if (!gavel__list_is_empty(&world->loops))
        sim__fail(world, "a loop was not destroyed: is every client closed?");
    if (world->n_transports != 0)
        sim__fail(world, "a transport was not closed");
    sim__hosts_destroy(world);
    for (size_t i = 0; i < world->n_connections; i++)
        sim__connection_destroy(world->connections[i]);
    for (size_t i = 0; i < world->n_results; i++)
        free(world->results[i]);
    sim__sentinels_destroy(world);
    sim__cluster_destroy(world);
    sim__servers_destroy(world);
    sim__journal_clear(world);
    destroy_actors(world);
    free(world->results);
    free(world->connections);
    free(world->events);
    free(world);
}

int64_t sim_now_us(const sim_world *world)
{
    return world->now_us;
}

/* ---- Events: a binary heap ----------------------------------------------------------------- */

static bool is_before(const sim__event *a, const sim__event *b)
{
    return a->due_us != b->due_us ? a->due_us < b->due_us : a->order < b->order;
}

static void swap_events(sim__event *a, sim__event *b)
{
    sim__event kept = *a;
    *a = *b;
    *b = kept;
}

void sim__schedule(sim_world *world, int64_t due_us, sim__action *action, void *subject)
{
    if (world->n_events == world->events_capacity) {
        world->events_capacity = world->events_capacity == 0 ? 64 : 2 * world->events_capacity;
        world->events = sim__resize(world->events, world->events_capacity, sizeof(sim__event));
    }
    size_t i = world->n_events++;
    if (due_us < world->now_us)
        due_us = world->now_us;
    world->events[i] = (sim__event){due_us, world->n_scheduled++, action, subject};
    while (i > 0 && is_before(&world->events[i], &world->events[(i - 1) / 2])) {
        swap_events(&world->events[i], &world->events[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
}

static sim__event take_first_event(sim_world *world)
{
    sim__event first = world->events[0];
    world->events[0] = world->events[--world->n_events];
    for (size_t i = 0;;) {
        size_t least = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < world->n_events; child++) {
            if (is_before(&world->events[child], &world->events[least]))
                least = child;
        }
        if (least == i)
            return first;
        swap_events(&world->events[i], &world->events[least]);
        i = least;
    }
}

/* ---- Running ------------------------------------------------------------------------------- */

static void turn_program(sim_world *world)
{
    if (++world->n_turns_now > MAX_TURNS_AT_ONCE)
        sim__fail(world, "a client spins: turn after turn at the same instant");
    world->is_awake = false;
    world->is_turning = true;
    sim__loops_turn(world);
    world->is_turning = false;
}

void sim__step(sim_world *world, int64_t end_us)
{
    if (world->is_awake && !world->is_turning) {
        turn_program(world);
        return;
    }
    int64_t next_us = end_us;
    bool has_event = world->n_events > 0 && world->events[0].due_us <= next_us;
    if (has_event)
        next_us = world->events[0].due_us;
    int64_t loops_due_us = sim__loops_due_us(world);
    if (loops_due_us < next_us) {
        next_us = loops_due_us;
        has_event = false;
    }
    if (next_us > world->now_us) {
        world->now_us = next_us;
        world->n_turns_now = 0;
    }
    if (has_event) {
        sim__event event = take_first_event(world);
        event.action(world, event.subject);
    }
    if (!world->is_turning && sim__loops_are_ready(world))
        world->is_awake = true;
}

bool sim_run_until(sim_world *world, sim_predicate *predicate, void *user, int64_t max_us)
{
    int64_t end_us = world->now_us + max_us;
    world->is_awake = true;
    while (!predicate(world, user)) {
        if (world->now_us >= end_us)
            return false;
        sim__step(world, end_us);
    }
    return true;
}

static bool never(sim_world *world, void *user)
{
    (void)world;
    (void)user;
    return false;
}

void sim_run_for(sim_world *world, int64_t us)
{
    sim_run_until(world, never, NULL, us);
}
