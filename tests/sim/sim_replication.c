/*
 * Replication. See sim_replication.h. For the commands, the servers and, through sim.h, for tests.
 */
#include "sim_replication.h"

#include "base/text.h"

#include <stdlib.h>
#include <string.h>

/* How long linking takes, and what is between two tries (repl_cron). */
#define LINKING_MIN_US (2 * SIM_MILLISECOND)
#define LINKING_MAX_US (20 * SIM_MILLISECOND)
#define RETRY_US SIM_SECOND

#define LAG_MIN_US 50
#define LAG_MAX_US (5 * SIM_MILLISECOND)

#define FRAME_SIZE (int64_t)(sizeof "*1\r\n$5\r\nMULTI\r\n*1\r\n$4\r\nEXEC\r\n" - 1)

/* A write on its way to a replica. */
typedef struct arrival {
    gavel__list node;
    int64_t at_us;
    sim__write *write;
} arrival;

static void arrive(sim_world *world, void *subject);
static void try_to_link(sim_world *world, void *subject);
static void schedule_ack(sim__server *replica);

/* ---- Creating and destroying --------------------------------------------------------------- */

void sim__draw_id(sim_world *world, char id[SIM__REPLID_SIZE])
{
    for (size_t i = 0; i + 1 < SIM__REPLID_SIZE; i++)
        id[i] = "0123456789abcdef"[gavel__random_below(&world->topology, 16)];
    id[SIM__REPLID_SIZE - 1] = '\0';
}

static void forget_second(sim__replication *replication)
{
    memset(replication->replid2, '0', SIM__REPLID_SIZE - 1);
    replication->second_offset = -1;
}

void sim__replication_create(sim__server *server)
{
    sim_world *world = server->world;
    sim__replication *replication = sim__alloc(1, sizeof *replication);
    server->replication = replication;
    sim__draw_id(world, replication->run_id);
    sim__draw_id(world, replication->replid);
    forget_second(replication);
    replication->lag_min_us = LAG_MIN_US;
    replication->lag_max_us = sim__between(&world->topology, 2 * LAG_MIN_US, LAG_MAX_US);
    replication->priority = 100;
    replication->fsync_every_us = -1;
    replication->applier = sim__session_create(server, 0);
    gavel__list_init(&replication->arrivals);
}

static void release(sim__write *write)
{
    if (--write->n_users > 0)
        return;
    for (size_t i = 0; i < write->n_commands; i++)
        sim__args_free(&write->commands[i].command);
    free(write->commands);
    free(write);
}

static void drop_arrivals(sim__replication *replication)
{
    for (gavel__list *node; (node = gavel__list_pop(&replication->arrivals)) != NULL;) {
        arrival *dropped = GAVEL__CONTAINER(node, arrival, node);
        release(dropped->write);
        free(dropped);
    }
}

void sim__replication_destroy(sim__server *server)
{
    drop_arrivals(server->replication);
    sim__session_destroy(server->replication->applier);
    free(server->replication);
}

/* ---- Files --------------------------------------------------------------------------------- */

static void fsync_file(sim_world *world, void *subject)
{
    sim__server *server = subject;
    sim__replication *replication = server->replication;
    replication->is_fsync_due = false;
    if (sim__is_silent(server)) {
        replication->is_fsync_due = true;
        sim__schedule(world, server->silent_until_us, fsync_file, server);
        return;
    }
    replication->fsynced_offset = replication->offset;
    if (server->primary != NULL)
        schedule_ack(server);
    else
        sim__serve_waiting(server);
}

/* There is more to be written to the file. */
static void note_fsync(sim__server *server)
{
    sim__replication *replication = server->replication;
    if (replication->fsync_every_us == 0)
        replication->fsynced_offset = replication->offset;
    if (replication->fsync_every_us <= 0 || replication->is_fsync_due)
        return;
    replication->is_fsync_due = true;
    sim_world *world = server->world;
    int64_t wait_us = sim__between(&world->topology, 1, replication->fsync_every_us);
    sim__schedule(world, world->now_us + wait_us, fsync_file, server);
}

/* ---- Recording ----------------------------------------------------------------------------- */

void sim__record(sim__server *server, int db, const sim__args *command)
{
    sim__replication *replication = server->replication;
    if (!server->is_recorded || server->primary != NULL)
        return;
    if (replication->open == NULL) {
        replication->open = sim__alloc(1, sizeof *replication->open);
        replication->open->n_users = 1;
    }
    sim__write *write = replication->open;
    write->commands = sim__resize(write->commands, write->n_commands + 1, sizeof *write->commands);
    write->commands[write->n_commands++] =
        (sim__written){db, sim__now_ms(server), sim__args_copy(command)};
}

void sim__record_removal(sim__server *server, const char *command, int db, gavel_bytes name)
{
    gavel_bytes args[] = {gavel_str(command), name};
    sim__record(server, db, &(sim__args){args, 2});
}

/* As the command stands in the stream. */
static int64_t size_of(const sim__args *command)
{
    char storage[GAVEL__INT_SIZE];
    int64_t size = 3 + (int64_t)gavel__format_int((int64_t)command->n_args, storage).size;
    for (size_t i = 0; i < command->n_args; i++) {
        int64_t n = (int64_t)command->args[i].size;
        size += 5 + n + (int64_t)gavel__format_int(n, storage).size;
    }
    return size;
}

static void send_to(sim__server *replica, sim__write *write)
{
    sim_world *world = replica->world;
    sim__replication *replication = replica->replication;
    arrival *sent = sim__alloc(1, sizeof *sent);
    sent->write = write;
    write->n_users++;
    sent->at_us = world->now_us +
                  sim__between(&world->topology, replication->lag_min_us, replication->lag_max_us);
    if (sent->at_us < replication->last_at_us)
        sent->at_us = replication->last_at_us;
    replication->last_at_us = sent->at_us;
    gavel__list_append(&replication->arrivals, &sent->node);
    sim__schedule(world, sent->at_us, arrive, replica);
}

void sim__end_write(sim__server *server)
{
    sim_world *world = server->world;
    sim__replication *replication = server->replication;
    sim__write *write = replication->open;
    if (write == NULL)
        return;
    replication->open = NULL;
    replication->offset += write->n_commands > 1 ? FRAME_SIZE : 0;
    for (size_t i = 0; i < write->n_commands; i++)
        replication->offset += size_of(&write->commands[i].command);
    write->end_offset = replication->offset;
    note_fsync(server);
    for (size_t i = 0; i < world->n_servers; i++) {
        sim__server *replica = world->servers[i];
        if (replica->primary == server && replica->replication->is_linked)
            send_to(replica, write);
    }
    release(write);
}

/* ---- Applying ------------------------------------------------------------------------------ */

/* When the machines of both can do their part; 0: now. */
static int64_t held_up_until(const sim__server *one, const sim__server *other)
{
    int64_t until_us =
        sim__parted_until(one->world, SIM_MACHINE(one->number), SIM_MACHINE(other->number));
    return sim__is_silent(one) && one->silent_until_us > until_us ? one->silent_until_us : until_us;
}

static void acknowledge(sim_world *world, void *subject)
{
    sim__server *replica = subject;
    sim__replication *replication = replica->replication;
    replication->is_ack_due = false;
    if (!replication->is_linked)
        return;
    int64_t until_us = held_up_until(replica->primary, replica);
    if (until_us > 0) {
        replication->is_ack_due = true;
        sim__schedule(world, until_us, acknowledge, replica);
        return;
    }
    replication->acked_offset = replication->offset;
    replication->acked_fsync = replication->fsynced_offset;
    sim__serve_waiting(replica->primary);
}

static void schedule_ack(sim__server *replica)
{
    sim_world *world = replica->world;
    sim__replication *replication = replica->replication;
    if (replication->is_ack_due)
        return;
    replication->is_ack_due = true;
    int64_t lag_us =
        sim__between(&world->topology, replication->lag_min_us, replication->lag_max_us);
    sim__schedule(world, world->now_us + lag_us, acknowledge, replica);
}

static void apply(sim__server *replica, const sim__write *write)
{
    sim__session *applier = replica->replication->applier;
    gavel__buffer out;
    gavel__buffer_init(&out, &gavel__system_allocator);
    for (size_t i = 0; i < write->n_commands; i++) {
        const sim__written *written = &write->commands[i];
        replica->applying_ms = written->at_ms;
        applier->db = written->db;
        sim__call call = {.world = replica->world,
            .server = replica,
            .session = applier,
            .command = sim__command_find(written->command.args[0]),
            .args = written->command.args,
            .n_args = written->command.n_args,
            .out = &out};
        call.command->run(&call);
    }
    replica->applying_ms = 0;
    replica->replication->offset = write->end_offset;
    note_fsync(replica);
    sim__serve_blocked(replica);
    gavel__buffer_finish(&out);
}

static void arrive(sim_world *world, void *subject)
{
    sim__server *replica = subject;
    sim__replication *replication = replica->replication;
    if (replica->primary == NULL || gavel__list_is_empty(&replication->arrivals))
        return;
    int64_t until_us = held_up_until(replica, replica->primary);
    if (until_us > 0) {
        sim__schedule(world, until_us, arrive, replica);
        return;
    }
    while (!gavel__list_is_empty(&replication->arrivals)) {
        arrival *next = GAVEL__CONTAINER(replication->arrivals.next, arrival, node);
        if (next->at_us > world->now_us)
            break;
        gavel__list_remove(&next->node);
        apply(replica, next->write);
        release(next->write);
        free(next);
    }
    schedule_ack(replica);
}

/* ---- Linking ------------------------------------------------------------------------------- */

static void touch_all(sim__server *server)
{
    for (size_t i = 0; i < server->store.n_keys; i++)
        sim__touch(server, server->store.keys[i]->db, server->store.keys[i]->name);
}

/* Keys of the one that the other has not, or not like that. */
static void touch_differing(sim__server *touched, const sim__server *one, const sim__server *other)
{
    for (size_t i = 0; i < one->store.n_keys; i++) {
        const sim__key *key = one->store.keys[i];
        const sim__key *found = sim__peek(other, key->db, key->name);
        if (found == NULL || !sim__is_same_key(key, found))
            sim__touch(touched, key->db, key->name);
    }
}

/* Where only what it lacks is sent, all else stays untouched. */
static void copy_data(sim__server *server, const sim__server *from, bool is_partial)
{
    if (is_partial) {
        touch_differing(server, server, from);
        touch_differing(server, from, server);
    } else {
        touch_all(server);
    }
    sim__delete_all(server);
    sim__load(server, &from->store);
    if (!is_partial)
        touch_all(server);
}

/* Whether what the replica lacks could be sent: then it knows of the history before as well. */
static bool is_same_history(const sim__replication *replica, const sim__replication *primary)
{
    return strcmp(replica->replid, primary->replid2) == 0 &&
           replica->offset < primary->second_offset;
}

static bool is_behind(const sim__replication *replica, const sim__replication *primary)
{
    return strcmp(replica->replid, primary->replid) == 0 && replica->offset <= primary->offset;
}

static void link_up(sim__server *replica)
{
    sim__replication *replication = replica->replication;
    const sim__replication *primary = replica->primary->replication;
    bool is_partial = is_same_history(replication, primary) || is_behind(replication, primary);
    if (strcmp(replication->replid, primary->replid) != 0) {
        forget_second(replication);
        if (is_same_history(replication, primary)) {
            memcpy(replication->replid2, replication->replid, SIM__REPLID_SIZE);
            replication->second_offset = replication->offset + 1;
        }
        memcpy(replication->replid, primary->replid, SIM__REPLID_SIZE);
    }
    drop_arrivals(replication);
    copy_data(replica, replica->primary, is_partial);
    replication->offset = primary->offset;
    replication->acked_offset = primary->offset;
    replication->fsynced_offset = 0;
    replication->acked_fsync = 0;
    note_fsync(replica);
    replication->is_linked = true;
    replica->primary->is_recorded = true;
}

static void schedule_link(sim__server *replica, int64_t in_us)
{
    if (replica->replication->is_sync_due)
        return;
    replica->replication->is_sync_due = true;
    sim__schedule(replica->world, replica->world->now_us + in_us, try_to_link, replica);
}

static void try_to_link(sim_world *world, void *subject)
{
    sim__server *replica = subject;
    sim__server *primary = replica->primary;
    (void)world;
    replica->replication->is_sync_due = false;
    if (primary == NULL || replica->replication->is_linked || sim__is_down(replica))
        return;
    bool is_held_up = sim__is_down(primary) || primary->primary != NULL ||
                      held_up_until(primary, replica) > 0 || sim__is_silent(replica);
    if (is_held_up) {
        schedule_link(replica, RETRY_US);
        return;
    }
    link_up(replica);
    sim__serve_waiting(primary);
}

static void unlink_from_primary(sim__server *replica)
{
    if (replica->replication->is_linked)
        replica->replication->unlinked_us = replica->world->now_us;
    replica->replication->is_linked = false;
}

/* ---- Roles --------------------------------------------------------------------------------- */

void sim__follow(sim__server *server, sim__server *primary)
{
    sim_world *world = server->world;
    if (server->primary == primary)
        return;
    if (server == primary)
        sim__fail(world, "a server cannot follow itself");
    if (server->primary == NULL)
        sim__end_waits(server);
    drop_arrivals(server->replication);
    unlink_from_primary(server);
    server->primary = primary;
    schedule_link(server, sim__between(&world->topology, LINKING_MIN_US, LINKING_MAX_US));
}

void sim__lead(sim__server *server)
{
    sim__replication *replication = server->replication;
    if (server->primary == NULL)
        return;
    drop_arrivals(replication);
    unlink_from_primary(server);
    server->primary = NULL;
    server->is_recorded = true;
    memcpy(replication->replid2, replication->replid, SIM__REPLID_SIZE);
    replication->second_offset = replication->offset + 1;
    sim__draw_id(server->world, replication->replid);
}

void sim__kill_clients(sim__server *server)
{
    gavel__list *node = server->sessions.next;
    while (node != &server->sessions) {
        sim__session *session = GAVEL__CONTAINER(node, sim__session, node);
        node = node->next;
        if (session->number == 0)
            continue;
        sim__forget_wait(session);
        sim__network_kill(session);
    }
}

/* What was under way to its replicas still arrives. */
void sim__replication_die(sim__server *server, bool keeps_data)
{
    sim_world *world = server->world;
    sim__replication *replication = server->replication;
    drop_arrivals(replication);
    unlink_from_primary(server);
    sim__draw_id(world, replication->run_id);
    sim__draw_id(world, replication->replid);
    forget_second(replication);
    replication->offset = 0;
    replication->fsynced_offset = 0;
    if (!keeps_data)
        sim__delete_all(server);
    for (size_t i = 0; i < world->n_servers; i++) {
        sim__server *replica = world->servers[i];
        if (replica->primary != server || !replica->replication->is_linked)
            continue;
        unlink_from_primary(replica);
        schedule_link(replica, sim__between(&world->topology, 1, RETRY_US));
    }
}

void sim__replication_rise(sim__server *server)
{
    if (server->primary != NULL)
        schedule_link(server, sim__between(&server->world->topology, 1, LINKING_MAX_US));
}

size_t sim__n_acks(const sim__server *server, int64_t offset, bool is_of_files)
{
    size_t n = 0;
    for (size_t i = 0; i < server->world->n_servers; i++) {
        const sim__server *replica = server->world->servers[i];
        const sim__replication *replication = replica->replication;
        int64_t acked_offset = is_of_files ? replication->acked_fsync : replication->acked_offset;
        n += replica->primary == server && replication->is_linked && acked_offset >= offset;
    }
    return n;
}

/* ---- For tests ----------------------------------------------------------------------------- */

size_t sim_add_replica(sim_world *world, size_t primary)
{
    sim__server *replica = sim__server_at(world, sim_add_server(world));
    replica->primary = sim__server_at(world, primary);
    link_up(replica);
    return replica->number;
}

void sim_set_lag(sim_world *world, size_t replica, int64_t min_us, int64_t max_us)
{
    sim__replication *replication = sim__server_at(world, replica)->replication;
    replication->lag_min_us = min_us;
    replication->lag_max_us = max_us;
}

void sim_set_fsync(sim_world *world, size_t server, int64_t every_us)
{
    sim__server_at(world, server)->replication->fsync_every_us = every_us;
}

void sim_set_priority(sim_world *world, size_t replica, int priority)
{
    sim__server_at(world, replica)->replication->priority = priority;
}

size_t sim_primary_of(const sim_world *world, size_t server)
{
    const sim__server *primary = sim__server_at(world, server)->primary;
    return primary != NULL ? primary->number : server;
}

int64_t sim_offset(const sim_world *world, size_t server)
{
    return sim__server_at(world, server)->replication->offset;
}

static void change_role(sim_world *world, void *subject)
{
    sim__server *server = subject;
    sim__server *primary = server->replication->next_primary;
    (void)world;
    if (primary == server)
        sim__lead(server);
    else
        sim__follow(server, primary);
}

/* Comes as an event of its own, so that it never happens inside a command. */
void sim_replicate(sim_world *world, size_t server, size_t primary)
{
    sim__server *changed = sim__server_at(world, server);
    changed->replication->next_primary = sim__server_at(world, primary);
    sim__schedule(world, world->now_us, change_role, changed);
}
