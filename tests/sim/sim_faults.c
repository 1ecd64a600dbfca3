/*
 * What goes wrong, and who else is there: faults by chance and at chosen places, writers and other
 * actors. For tests, through sim.h, and for the network and the server, which ask here.
 */
#include "sim_cluster.h"
#include "sim_sentinel.h"

#include "base/text.h"

#include <stdlib.h>
#include <string.h>

#define DEFAULT_LATE_MAX_US (2 * SIM_SECOND)
#define DEFAULT_AWAY_MAX_US (100 * SIM_MILLISECOND)

static char *copy_text(const char *text)
{
    if (text == NULL)
        return NULL;
    size_t size = strlen(text) + 1;
    return memcpy(sim__alloc(size, 1), text, size);
}

static sim__connection *connection_of(sim_world *world, uint64_t number)
{
    if (number == 0 || number > world->n_connections)
        sim__fail(world, "a fault is meant for a connection that is not there");
    return world->connections[number - 1];
}

/* ---- Actors -------------------------------------------------------------------------------- */

static void take_turn(sim_world *world, void *subject);

static void schedule_actor(sim__actor *actor)
{
    sim_world *world = actor->world;
    int64_t wait_us = sim__between(&world->actors_random, 1, 2 * actor->mean_us);
    sim__schedule(world, world->now_us + wait_us, take_turn, actor);
}

static void take_turn(sim_world *world, void *subject)
{
    sim__actor *actor = subject;
    if (actor->is_stopped)
        return;
    actor->act(world, actor->user);
    schedule_actor(actor);
}

static sim__actor *add_actor(sim_world *world, int64_t mean_us, sim_act *act, void *user)
{
    if (mean_us <= 0)
        sim__fail(world, "an actor needs a mean interval above 0");
    sim__actor *actor = sim__alloc(1, sizeof *actor);
    *actor = (sim__actor){.world = world, .mean_us = mean_us, .act = act, .user = user};
    world->actors = sim__resize(world->actors, world->n_actors + 1, sizeof(sim__actor *));
    world->actors[world->n_actors++] = actor;
    schedule_actor(actor);
    return actor;
}

static void stop_actors(sim_world *world, bool is_fault)
{
    for (size_t i = 0; i < world->n_actors; i++) {
        if (world->actors[i]->is_fault == is_fault)
            world->actors[i]->is_stopped = true;
    }
}

void sim_add_actor(sim_world *world, int64_t mean_us, sim_act *act, void *user)
{
    add_actor(world, mean_us, act, user);
}

/* The first key stands behind the command's name. */
static void choose_for_line(sim_world *world, const char *line)
{
    char key[128];
    const char *word = line + strcspn(line, " ");
    word += strspn(word, " ");
    gavel__format(key, sizeof key, "%.*s", (int)strcspn(word, " "), word);
    sim_choose_by_key(world, key);
}

static void write_line(sim_world *world, void *user)
{
    size_t before = world->meant->number;
    if (world->cluster != NULL)
        choose_for_line(world, user);
    sim_do(world, user);
    sim_choose(world, before);
}

void sim_add_writer(sim_world *world, int64_t mean_us, const char *line)
{
    char *copy = copy_text(line);
    add_actor(world, mean_us, write_line, copy)->line = copy;
}

void sim_stop_actors(sim_world *world)
{
    stop_actors(world, false);
}

/* ---- The outsider -------------------------------------------------------------------------- */

gavel_bytes sim_do_args(sim_world *world, const gavel_bytes *args, size_t n_args)
{
    sim__server *server = world->meant;
    sim__args command = {(gavel_bytes *)(uintptr_t)args, n_args};
    gavel__buffer_clear(&server->outsider_out);
    sim__session_command(server->outsider, &command, &server->outsider_out);
    return (gavel_bytes){server->outsider_out.data, server->outsider_out.size};
}

gavel_bytes sim_do(sim_world *world, const char *line)
{
    gavel_bytes args[64];
    size_t n_args = 0;
    while (*(line += strspn(line, " ")) != '\0') {
        if (n_args == sizeof args / sizeof args[0])
            sim__fail(world, "too many words in a line");
        args[n_args] = (gavel_bytes){line, strcspn(line, " ")};
        line += args[n_args++].size;
    }
    if (n_args == 0)
        sim__fail(world, "an empty line is no command");
    return sim_do_args(world, args, n_args);
}

/* ---- Breaking ------------------------------------------------------------------------------ */

void sim_break(sim_world *world, uint64_t connection, size_t kept_bytes, int64_t late_us)
{
    sim__connection_break(connection_of(world, connection), kept_bytes, late_us);
}

void sim_orphan(sim_world *world, uint64_t connection, int64_t us)
{
    sim__connection_orphan(connection_of(world, connection), us);
}

void sim_mute(sim_world *world, uint64_t connection)
{
    sim__connection_mute(connection_of(world, connection));
}

static void kill(sim_world *world, void *subject)
{
    (void)world;
    sim__connection_kill(subject);
}

void sim_kill(sim_world *world, uint64_t connection)
{
    sim__schedule(world, world->now_us, kill, connection_of(world, connection));
}

int64_t sim__draw_late(sim_world *world)
{
    const sim_faults *faults = &world->faults;
    if (!sim__chance(&world->chance, faults->late_per_mille))
        return 0;
    int64_t max_us = faults->late_max_us > 0 ? faults->late_max_us : DEFAULT_LATE_MAX_US;
    return sim__between(&world->chance, 1, max_us);
}

void sim_cut_at(sim_world *world, const sim_cut *cut)
{
    if (world->n_cuts == SIM__MAX_ARMED)
        sim__fail(world, "too many cuts");
    world->cuts[world->n_cuts++] = *cut;
}

static uint64_t bytes_so_far(const sim__connection *connection, const sim_cut *cut)
{
    const sim_counters *counters = &connection->world->counters;
    bool is_to_server = cut->direction == SIM_TO_SERVER;
    if (cut->connection == 0)
        return is_to_server ? counters->n_bytes_to_server : counters->n_bytes_to_client;
    return is_to_server ? connection->to_server.n_bytes : connection->to_client.n_bytes;
}

bool sim__take_cut(sim__connection *connection, sim_direction direction, size_t n, sim_cut *ret_cut,
    size_t *ret_n_before)
{
    sim_world *world = connection->world;
    for (size_t i = 0; i < world->n_cuts; i++) {
        sim_cut cut = world->cuts[i];
        if (cut.direction != direction ||
            (cut.connection != 0 && cut.connection != connection->number))
            continue;
        uint64_t so_far = bytes_so_far(connection, &cut);
        if (cut.at_byte > so_far + n)
            continue;
        *ret_n_before = cut.at_byte > so_far ? (size_t)(cut.at_byte - so_far) : 0;
        *ret_cut = cut;
        world->cuts[i] = world->cuts[--world->n_cuts];
        return true;
    }
    return false;
}

/* ---- Refusing ------------------------------------------------------------------------------ */

void sim_refuse(sim_world *world, const sim_refusal *refusal)
{
    if (world->n_refusals == SIM__MAX_ARMED)
        sim__fail(world, "too many refusals");
    world->refusals[world->n_refusals++] = *refusal;
}

void sim_disarm(sim_world *world)
{
    world->n_cuts = 0;
    world->n_refusals = 0;
}

static const char *take_armed(sim_world *world, const sim__command *command)
{
    gavel_bytes name = gavel_str(command->name);
    for (size_t i = 0; i < world->n_refusals; i++) {
        sim_refusal *refusal = &world->refusals[i];
        if (refusal->command != NULL &&
            !gavel__bytes_equal_nocase(name, gavel_str(refusal->command)))
            continue;
        if (refusal->n_skipped > 0) {
            refusal->n_skipped--;
            continue;
        }
        const char *error = refusal->error;
        if (refusal->n_times > 0 && --refusal->n_times == 0) {
            world->n_refusals--;
            memmove(refusal, refusal + 1, (world->n_refusals - i) * sizeof *refusal);
        }
        return error;
    }
    return NULL;
}

/* The states of a real server. */
static const char *const usual_errors[] = {
    "LOADING Redis is loading the dataset in memory",
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "OOM command not allowed when used memory > 'maxmemory'.",
    "READONLY You can't write against a read only replica.",
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to "
    "disk.",
    "NOREPLICAS Not enough good replicas to write.",
    NULL,
};

static bool is_for_writers_only(const char *error)
{
    static const char *const words[] = {"OOM ", "READONLY ", "MISCONF ", "NOREPLICAS "};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strncmp(error, words[i], strlen(words[i])) == 0)
            return true;
    }
    return false;
}

static const char *draw_error(
    sim_world *world, const sim__command *command, const sim__session *session)
{
    const char *const *errors = world->faults.errors != NULL ? world->faults.errors : usual_errors;
    size_t n_errors = 0;
    while (errors[n_errors] != NULL)
        n_errors++;
    const char *error = errors[gavel__random_below(&world->chance, n_errors)];
    return sim__is_write(command, session) || !is_for_writers_only(error) ? error : NULL;
}

const char *sim__take_refusal(
    sim_world *world, const sim__command *command, const sim__session *session)
{
    const char *error = take_armed(world, command);
    if (error != NULL || (command->flags & (SIM__NO_CHANCE | SIM__SENTINEL)))
        return error;
    if (!sim__chance(&world->chance, world->faults.error_per_mille))
        return NULL;
    return draw_error(world, command, session);
}

void sim_set_login(sim_world *world, const char *user, const char *password)
{
    sim__server *server = world->meant;
    free(server->user);
    free(server->password);
    server->user = copy_text(user);
    server->password = copy_text(password);
}

/* ---- Faults by chance ---------------------------------------------------------------------- */

static int64_t draw_away(sim_world *world, int64_t max_us)
{
    return sim__between(&world->actors_random, 1, max_us > 0 ? max_us : DEFAULT_AWAY_MAX_US);
}

/* Any of them, if there are several; returns which one was meant before. */
static size_t choose_any(sim_world *world)
{
    size_t n = world->n_servers;
    return sim_choose(world,
        n > 1 ? (size_t)gavel__random_below(&world->actors_random, n) : world->meant->number);
}

static void fall_silent(sim_world *world, void *user)
{
    (void)user;
    size_t before = choose_any(world);
    sim_silence(world, draw_away(world, world->faults.silence_max_us));
    sim_choose(world, before);
}

static void restart(sim_world *world, void *user)
{
    (void)user;
    size_t before = choose_any(world);
    bool keeps_data = !sim__chance(&world->actors_random, world->faults.forget_per_mille);
    sim_restart(world, draw_away(world, world->faults.restart_max_us), keeps_data);
    sim_choose(world, before);
}

static sim_machines draw_sentinels(sim_world *world)
{
    sim_machines drawn = 0;
    for (size_t i = 0; i < world->n_servers; i++) {
        if (sim__is_sentinel(world->servers[i]) && sim__chance(&world->actors_random, 300))
            drawn |= SIM_MACHINE(i);
    }
    return drawn;
}

static void ask_for_failover(sim_world *world)
{
    size_t place = (size_t)gavel__random_below(&world->actors_random, sim_n_sentinels(world));
    size_t i = 0;
    while (!sim__is_sentinel(world->servers[i]) || place-- > 0)
        i++;
    sim_choose(world, i);
    gavel_bytes words[] = {
        GAVEL_STR("SENTINEL"), GAVEL_STR("FAILOVER"), gavel_str(world->service->name)};
    if (!sim__is_down(world->meant) && !sim__is_silent(world->meant))
        sim_do_args(world, words, 3);
}

/* By a replica, if there is one. */
static void ask_for_cluster_failover(sim_world *world)
{
    const sim__server *primary = world->meant;
    for (size_t i = 0; i < world->n_servers; i++) {
        const sim__server *replica = world->servers[i];
        if (replica->primary != primary || sim__is_down(replica) || sim__is_silent(replica))
            continue;
        sim_choose(world, i);
        sim_do(world, "CLUSTER FAILOVER");
        return;
    }
}

static sim_machines draw_others(sim_world *world)
{
    if (world->cluster == NULL)
        return draw_sentinels(world);
    sim_machines clients = gavel__random_next(&world->actors_random) & SIM_ALL_CLIENTS;
    return sim__chance(&world->actors_random, 500) ? clients : 0;
}

/* A node that has slots, or takes itself to have some; else any. */
static size_t draw_primary(sim_world *world)
{
    unsigned slot = (unsigned)gavel__random_below(&world->actors_random, SIM_N_SLOTS);
    size_t owner = sim_owner_of(world, slot);
    return owner != SIM_MAX_SERVERS ? owner : 0;
}

static void fail_over(sim_world *world, void *user)
{
    (void)user;
    bool is_cluster = world->cluster != NULL;
    size_t before = sim_choose(world, is_cluster ? draw_primary(world) : sim_primary(world));
    int64_t us = sim__between(&world->actors_random, SIM_SECOND, 6 * SIM_SECOND);
    sim_machines some = SIM_MACHINE(world->meant->number) | draw_others(world);
    switch (gavel__random_below(&world->actors_random, 4)) {
    case 0:
        sim_restart(world, us, true);
        break;
    case 1:
        sim_silence(world, us);
        break;
    case 2:
        sim_partition(world, some, SIM_ALL_SERVERS & ~some, us);
        break;
    default:
        if (is_cluster)
            ask_for_cluster_failover(world);
        else
            ask_for_failover(world);
        break;
    }
    sim_choose(world, before);
}

/* Mostly one that has keys. */
static unsigned draw_slot(sim_world *world)
{
    const sim__server *server =
        world->servers[gavel__random_below(&world->actors_random, world->n_servers)];
    uint64_t drawn = gavel__random_next(&world->actors_random);
    if (server->store.n_keys == 0)
        return (unsigned)(drawn % SIM_N_SLOTS);
    return gavel__slot_of(server->store.keys[drawn % server->store.n_keys]->name);
}

static void begin_move(sim_world *world, void *user)
{
    gavel__random *random = &world->actors_random;
    (void)user;
    sim_move_slot(world, &(sim_move){.slot = draw_slot(world),
                             .to = (size_t)gavel__random_below(random, world->n_servers),
                             .is_atomic = sim__chance(random, 500),
                             .key_us = sim__between(random, 100, 20 * SIM_MILLISECOND),
                             .pause_us = sim__between(random, 100, 50 * SIM_MILLISECOND)});
}

static void evict(sim_world *world, void *user)
{
    (void)user;
    const char *prefix = world->faults.evict_prefix;
    const sim__key *chosen = NULL;
    const sim__store *store = &world->meant->store;
    size_t n_candidates = 0;
    for (size_t i = 0; i < store->n_keys; i++) {
        const sim__key *key = store->keys[i];
        if (prefix != NULL && !gavel__bytes_start_with(key->name, gavel_str(prefix)))
            continue;
        if (gavel__random_below(&world->actors_random, ++n_candidates) == 0)
            chosen = key;
    }
    if (chosen == NULL)
        return;
    world->counters.n_evictions++;
    sim__session *outsider = world->meant->outsider;
    int db = outsider->db;
    outsider->db = chosen->db;
    gavel_bytes name = sim__copy(chosen->name); /* The key's own goes with it. */
    sim_do_args(world, (gavel_bytes[]){GAVEL_STR("DEL"), name}, 2);
    sim__free_bytes(name);
    outsider->db = db;
}

static void add_fault(sim_world *world, int64_t every_us, sim_act *act)
{
    if (every_us > 0)
        add_actor(world, every_us, act, NULL)->is_fault = true;
}

void sim_set_faults(sim_world *world, const sim_faults *faults)
{
    world->faults = faults != NULL ? *faults : (sim_faults){0};
    stop_actors(world, true);
    add_fault(world, world->faults.silence_every_us, fall_silent);
    add_fault(world, world->faults.restart_every_us, restart);
    if (world->service != NULL || world->cluster != NULL)
        add_fault(world, world->faults.failover_every_us, fail_over);
    if (world->cluster != NULL)
        add_fault(world, world->faults.move_every_us, begin_move);
    add_fault(world, world->faults.evict_every_us, evict);
}

/* 0 as often as not. */
static uint32_t draw_rate(gavel__random *random, uint32_t max)
{
    return sim__chance(random, 500) ? 0 : (uint32_t)gavel__random_below(random, max + 1);
}

sim_faults sim_draw_faults(sim_world *world)
{
    gavel__random *random = &world->test;
    sim_faults faults = {0};
    faults.split_per_mille = draw_rate(random, 1000);
    faults.short_send_per_mille = draw_rate(random, 500);
    faults.stall_per_mille = draw_rate(random, 50);
    faults.break_send_per_mille = draw_rate(random, 60);
    faults.break_reply_per_mille = draw_rate(random, 60);
    faults.late_per_mille = draw_rate(random, 1000);
    faults.refuse_per_mille = draw_rate(random, 200);
    faults.hang_per_mille = draw_rate(random, 50);
    faults.error_per_mille = draw_rate(random, 30);
    faults.silence_every_us = (int64_t)draw_rate(random, 4) * SIM_SECOND;
    faults.restart_every_us = (int64_t)draw_rate(random, 4) * SIM_SECOND;
    if (world->service != NULL)
        faults.failover_every_us = (int64_t)draw_rate(random, 30) * SIM_SECOND;
    if (world->cluster != NULL) {
        faults.failover_every_us = (int64_t)draw_rate(random, 30) * SIM_SECOND;
        faults.move_every_us = (int64_t)draw_rate(random, 20) * 100 * SIM_MILLISECOND;
    }
    return faults;
}
