/*
 * The network: connections made of two streams, each cut in pieces that arrive in order, after
 * delays, and maybe not at all. For the transport and the faults.
 *
 *     client send --> pieces --> unserved --> session
 *     client receive <-- unread <-- pieces <-- replies
 *
 * A connection outlives its transport and its session, until the world ends: bytes taken from a
 * client that has gone may still arrive, as they do over TCP.
 */
#include "sim_cluster.h"

#include <stdlib.h>
#include <string.h>

#define DEFAULT_LATENCY_MIN_US 20
#define DEFAULT_LATENCY_MAX_US 120
#define DEFAULT_STALL_MAX_US (100 * SIM_MILLISECOND)

static void arrive_at_server(sim_world *world, void *subject);
static void arrive_at_client(sim_world *world, void *subject);

/* ---- Streams ------------------------------------------------------------------------------- */

static int64_t draw_latency(sim_world *world)
{
    const sim_faults *faults = &world->faults;
    bool is_set = faults->latency_max_us > 0;
    int64_t low_us = is_set ? faults->latency_min_us : DEFAULT_LATENCY_MIN_US;
    int64_t high_us = is_set ? faults->latency_max_us : DEFAULT_LATENCY_MAX_US;
    int64_t latency_us = sim__between(&world->network, low_us, high_us);
    if (sim__chance(&world->chance, faults->stall_per_mille)) {
        int64_t max_us = faults->stall_max_us > 0 ? faults->stall_max_us : DEFAULT_STALL_MAX_US;
        latency_us += sim__between(&world->chance, 1, max_us);
    }
    return latency_us;
}

int64_t sim__draw_iteration(sim_world *world)
{
    bool is_set = world->faults.latency_max_us > 0;
    int64_t longest_us = is_set ? world->faults.latency_max_us : DEFAULT_LATENCY_MAX_US;
    return sim__between(&world->network, 0, longest_us);
}

/* When the next thing that enters the stream now will arrive. */
static int64_t draw_arrival(sim_world *world, sim__stream *stream)
{
    int64_t at_us = world->now_us + draw_latency(world);
    if (at_us < stream->last_at_us)
        at_us = stream->last_at_us;
    stream->last_at_us = at_us;
    return at_us;
}

/* When the two ends can reach each other again; 0: they can. */
static int64_t parted_until(const sim__connection *connection)
{
    const sim_world *world = connection->world;
    if (world->n_partitions == 0)
        return 0;
    return sim__parted_until(
        world, sim__machine_of(connection->process), SIM_MACHINE(connection->server->number));
}

/* What comes while the two are parted is sent again, until it gets through. */
static bool is_postponed(sim__connection *connection, sim__action *arrive)
{
    int64_t until_us = parted_until(connection);
    if (until_us == 0)
        return false;
    sim__schedule(connection->world, until_us, arrive, connection);
    return true;
}

static void push(sim__connection *connection, sim__stream *stream, gavel_bytes bytes)
{
    sim_world *world = connection->world;
    if (connection->is_mute)
        return;
    bool is_to_server = stream == &connection->to_server;
    while (bytes.size > 0) {
        size_t size = bytes.size;
        if (sim__chance(&world->chance, world->faults.split_per_mille))
            size = 1 + (size_t)gavel__random_below(&world->chance, size);
        sim__piece *piece = sim__alloc(1, sizeof *piece + size);
        memcpy(piece->data, bytes.data, size);
        piece->size = size;
        piece->at_us = draw_arrival(world, stream);
        gavel__list_append(&stream->pieces, &piece->node);
        sim__schedule(
            world, piece->at_us, is_to_server ? arrive_at_server : arrive_at_client, connection);
        bytes.data += size;
        bytes.size -= size;
    }
}

/* The first piece if it is due, taken out of the stream; else NULL. */
static sim__piece *take_due(sim_world *world, sim__stream *stream)
{
    if (gavel__list_is_empty(&stream->pieces))
        return NULL;
    sim__piece *piece = GAVEL__CONTAINER(stream->pieces.next, sim__piece, node);
    if (piece->at_us > world->now_us)
        return NULL;
    gavel__list_remove(&piece->node);
    return piece;
}

/* Keeps the first n bytes of what is under way, and delays these (of the stream to the server; the
 * other one is only ever emptied). */
static void cut_stream(sim__connection *connection, sim__stream *stream, size_t n, int64_t late_us)
{
    gavel__list *node = stream->pieces.next;
    while (node != &stream->pieces) {
        sim__piece *piece = GAVEL__CONTAINER(node, sim__piece, node);
        node = node->next;
        if (piece->size > n)
            piece->size = n;
        n -= piece->size;
        piece->at_us += late_us;
        if (piece->size > 0) {
            sim__schedule(connection->world, piece->at_us, arrive_at_server, connection);
            continue;
        }
        gavel__list_remove(&piece->node);
        free(piece);
    }
    stream->last_at_us += late_us;
}

/* Nothing more enters the stream to the server: its end is on the way there. */
static void end_stream(sim__connection *connection, int64_t late_us)
{
    sim_world *world = connection->world;
    sim__stream *stream = &connection->to_server;
    if (connection->is_mute)
        return;
    stream->ends_at_us = draw_arrival(world, stream) + late_us;
    sim__schedule(world, stream->ends_at_us, arrive_at_server, connection);
}

static bool is_over(const sim_world *world, const sim__stream *stream)
{
    return stream->ends_at_us <= world->now_us && gavel__list_is_empty(&stream->pieces);
}

static size_t under_way(const sim__stream *stream)
{
    size_t n = 0;
    for (gavel__list *node = stream->pieces.next; node != &stream->pieces; node = node->next)
        n += GAVEL__CONTAINER(node, sim__piece, node)->size;
    return n;
}

/* ---- The server's end ---------------------------------------------------------------------- */

static void lose(sim__connection *connection, const char *reason)
{
    if (connection->progress == SIM__LOST)
        return;
    connection->progress = SIM__LOST;
    connection->reason = reason;
    cut_stream(connection, &connection->to_client, 0, 0);
}

/* What the server said before it closed has arrived, and now the close does. */
static void arrive_end(sim_world *world, void *subject)
{
    (void)world;
    if (!is_postponed(subject, arrive_end))
        lose(subject, "the server closed the connection");
}

static void close_server_end(sim__connection *connection)
{
    sim_world *world = connection->world;
    sim__session_destroy(connection->session);
    connection->session = NULL;
    gavel__buffer_finish(&connection->unserved);
    cut_stream(connection, &connection->to_server, 0, 0);
    if (connection->progress != SIM__LOST && !connection->is_mute)
        sim__schedule(world, draw_arrival(world, &connection->to_client), arrive_end, connection);
}

static bool is_client_gone(const sim__connection *connection)
{
    return connection->is_closed || connection->progress == SIM__LOST;
}

static sim__connection *connection_of(const sim__session *session)
{
    return session->server->world->connections[session->number - 1];
}

bool sim__is_client_gone(const sim__session *session)
{
    return session->number != 0 && is_client_gone(connection_of(session));
}

/* Whether the server goes on reading commands of this client. */
static bool is_heard(const sim__session *session)
{
    return session->wait == SIM__RUNNING && !session->wants_close &&
           !sim__is_silent(session->server);
}

/* Runs the complete commands that have arrived, and stops when the server falls silent or the
 * client begins to wait, or has to. */
static void run_arrived(sim__connection *connection, gavel__buffer *out)
{
    sim__session *session = connection->session;
    size_t offset = 0;
    while (is_heard(session)) {
        gavel_bytes bytes = {connection->unserved.data, connection->unserved.size};
        size_t begin = offset;
        sim__args command = {NULL, 0};
        const char *error = NULL;
        sim__parsed parsed = sim__parse(bytes, &offset, &command, &error);
        if (parsed == SIM__INCOMPLETE)
            break;
        if (parsed == SIM__MALFORMED) {
            sim__reply_error(out, "ERR Protocol error: %s", error);
            session->wants_close = true;
            break;
        }
        bool is_postponed = command.n_args > 0 && sim__is_postponed(session, &command);
        if (command.n_args > 0 && !is_postponed)
            sim__session_command(session, &command, out);
        free(command.args);
        if (is_postponed) {
            offset = begin;
            break;
        }
    }
    gavel__buffer_consume(&connection->unserved, offset);
}

/* A client that waits is not heard, but its end is seen: it is forgotten, with all it has sent. */
static void serve(sim__connection *connection)
{
    sim_world *world = connection->world;
    if (connection->session == NULL || sim__is_silent(connection->server))
        return;
    gavel__buffer out;
    gavel__buffer_init(&out, &gavel__system_allocator);
    sim__take_answer(connection->session, &out);
    run_arrived(connection, &out);
    if (!is_client_gone(connection))
        push(connection, &connection->to_client, (gavel_bytes){out.data, out.size});
    gavel__buffer_finish(&out);
    bool is_ended = is_over(world, &connection->to_server) && !sim__is_silent(connection->server) &&
                    parted_until(connection) == 0;
    if (connection->session->wants_close || is_ended)
        close_server_end(connection);
}

void sim__network_push(sim__session *session, gavel_bytes bytes)
{
    sim__connection *connection = connection_of(session);
    if (!is_client_gone(connection))
        push(connection, &connection->to_client, bytes);
}

void sim__network_kill(sim__session *session)
{
    sim__connection_kill(connection_of(session));
}

void sim__network_serve(sim__session *session)
{
    serve(connection_of(session));
}

static void arrive_at_server(sim_world *world, void *subject)
{
    sim__connection *connection = subject;
    sim__piece *piece;
    if (is_postponed(connection, arrive_at_server))
        return;
    while ((piece = take_due(world, &connection->to_server)) != NULL) {
        gavel__buffer_append(&connection->unserved, (gavel_bytes){piece->data, piece->size});
        free(piece);
    }
    if (connection->unserved.has_failed)
        sim__fail(world, "no memory");
    serve(connection);
}

void sim__network_resume(sim__server *server)
{
    sim_world *world = server->world;
    for (size_t i = 0; i < world->n_connections; i++) {
        if (world->connections[i]->server == server)
            serve(world->connections[i]);
    }
}

/* ---- The client's end ---------------------------------------------------------------------- */

/* The client is gone. What it has sent goes on without it, and the end comes behind that. */
static void leave(sim__connection *connection, const char *reason, size_t kept, int64_t late_us)
{
    sim_world *world = connection->world;
    lose(connection, reason);
    cut_stream(connection, &connection->to_server, kept, late_us);
    if (late_us > 0 && under_way(&connection->to_server) > 0)
        world->counters.n_late++;
    end_stream(connection, 0);
}

void sim__connection_break(sim__connection *connection, size_t kept_bytes, int64_t late_us)
{
    sim_world *world = connection->world;
    if (is_client_gone(connection))
        return;
    world->counters.n_breaks++;
    leave(connection, "connection reset by peer", kept_bytes, late_us);
}

void sim__connection_close(sim__connection *connection)
{
    sim_world *world = connection->world;
    bool was_lost = connection->progress == SIM__LOST;
    connection->is_closed = true;
    gavel__buffer_finish(&connection->unread);
    if (!was_lost)
        leave(connection, "closed", SIZE_MAX, sim__draw_late(world));
}

void sim__connection_abandon(sim__connection *connection)
{
    if (!is_client_gone(connection))
        leave(connection, "the process is gone", SIZE_MAX, sim__draw_late(connection->world));
}

void sim__connection_orphan(sim__connection *connection, int64_t us)
{
    if (is_client_gone(connection))
        return;
    lose(connection, "the host is gone");
    end_stream(connection, us);
}

void sim__connection_mute(sim__connection *connection)
{
    cut_stream(connection, &connection->to_client, 0, 0);
    connection->is_mute = true;
}

static void read_off(sim__connection *connection, gavel_bytes bytes)
{
    connection->to_client.n_bytes += bytes.size;
    connection->world->counters.n_bytes_to_client += bytes.size;
    gavel__buffer_append(&connection->unread, bytes);
    if (connection->unread.has_failed)
        sim__fail(connection->world, "no memory");
}

/* Delivers a piece, or only the part before a break. */
static void deliver(sim__connection *connection, const sim__piece *piece)
{
    sim_world *world = connection->world;
    size_t n = piece->size;
    sim_cut cut;
    if (sim__take_cut(connection, SIM_TO_CLIENT, piece->size, &cut, &n)) {
        read_off(connection, (gavel_bytes){piece->data, n});
        sim__connection_break(connection, SIZE_MAX, cut.late_us);
    } else if (sim__chance(&world->chance, world->faults.break_reply_per_mille)) {
        n = (size_t)gavel__random_below(&world->chance, piece->size + 1);
        read_off(connection, (gavel_bytes){piece->data, n});
        size_t kept = under_way(&connection->to_server);
        if (sim__chance(&world->chance, 500))
            kept = (size_t)gavel__random_below(&world->chance, kept + 1);
        sim__connection_break(connection, kept, sim__draw_late(world));
    } else {
        read_off(connection, (gavel_bytes){piece->data, n});
    }
}

static void arrive_at_client(sim_world *world, void *subject)
{
    sim__connection *connection = subject;
    sim__piece *piece;
    if (is_postponed(connection, arrive_at_client))
        return;
    while ((piece = take_due(world, &connection->to_client)) != NULL) {
        if (!is_client_gone(connection))
            deliver(connection, piece);
        free(piece);
    }
}

static void count_send(sim__connection *connection, size_t size)
{
    sim_counters *counters = &connection->world->counters;
    if (connection->has_received || connection->to_server.n_bytes == 0)
        counters->n_round_trips++;
    connection->has_received = false;
    connection->to_server.n_bytes += size;
    counters->n_bytes_to_server += size;
}

void sim__connection_send(sim__connection *connection, gavel_bytes bytes)
{
    sim_world *world = connection->world;
    sim_cut cut;
    size_t n_before;
    bool is_cut = sim__take_cut(connection, SIM_TO_SERVER, bytes.size, &cut, &n_before);
    size_t n_earlier = under_way(&connection->to_server);
    count_send(connection, bytes.size);
    if (connection->session == NULL)
        return; /* The server has closed, and its word of that is still under way. */
    push(connection, &connection->to_server, bytes);
    if (is_cut) {
        sim__connection_break(connection, n_earlier + n_before, cut.late_us);
    } else if (sim__chance(&world->chance, world->faults.break_send_per_mille)) {
        size_t kept = n_earlier + bytes.size;
        if (sim__chance(&world->chance, 500))
            kept = (size_t)gavel__random_below(&world->chance, kept + 1);
        sim__connection_break(connection, kept, sim__draw_late(world));
    }
}

bool sim__connection_is_readable(const sim__connection *connection)
{
    if (connection->is_closed)
        return false;
    return connection->unread.size > 0 || connection->progress == SIM__LOST ||
           connection->progress == SIM__REFUSED;
}

bool sim__connection_is_writable(const sim__connection *connection)
{
    return !connection->is_closed && connection->progress != SIM__DIALLING;
}

/* ---- From dialling to the end -------------------------------------------------------------- */

static void answer_dial(sim_world *world, void *subject)
{
    sim__connection *connection = subject;
    if (connection->is_closed || connection->progress != SIM__DIALLING ||
        is_postponed(connection, answer_dial))
        return;
    if (connection->host == SIM_HOST_REFUSES || sim__is_down(connection->server) ||
        sim__chance(&world->chance, world->faults.refuse_per_mille)) {
        connection->progress = SIM__REFUSED;
        connection->reason = "connection refused";
        return;
    }
    connection->progress = SIM__OPEN;
    connection->session = sim__session_create(connection->server, connection->number);
}

sim__connection *sim__connection_create(sim__process *process, sim__target target)
{
    sim_world *world = process->world;
    if (world->n_connections == world->connections_capacity) {
        world->connections_capacity = 2 * world->connections_capacity + 16;
        world->connections =
            sim__resize(world->connections, world->connections_capacity, sizeof(sim__connection *));
    }
    sim__connection *connection = sim__alloc(1, sizeof *connection);
    world->connections[world->n_connections++] = connection;
    world->counters.n_connections++;
    connection->world = world;
    connection->process = process;
    connection->server = target.server;
    connection->host = target.host;
    connection->to_server.ends_at_us = INT64_MAX;
    connection->to_client.ends_at_us = INT64_MAX;
    connection->number = world->n_connections;
    gavel__list_init(&connection->to_server.pieces);
    gavel__list_init(&connection->to_client.pieces);
    gavel__buffer_init(&connection->unserved, &gavel__system_allocator);
    gavel__buffer_init(&connection->unread, &gavel__system_allocator);
    if (!sim__chance(&world->chance, world->faults.hang_per_mille) && target.host != SIM_HOST_HANGS)
        sim__schedule(world, world->now_us + 2 * draw_latency(world), answer_dial, connection);
    return connection;
}

void sim__connection_destroy(sim__connection *connection)
{
    cut_stream(connection, &connection->to_server, 0, 0);
    cut_stream(connection, &connection->to_client, 0, 0);
    sim__session_destroy(connection->session);
    gavel__buffer_finish(&connection->unserved);
    gavel__buffer_finish(&connection->unread);
    free(connection);
}

sim__connection *sim__connection_by_fd(const sim_world *world, int fd)
{
    if (fd < SIM__FIRST_FD || (size_t)(fd - SIM__FIRST_FD) >= world->n_connections)
        return NULL;
    return world->connections[fd - SIM__FIRST_FD];
}

/* These two are called between events only, so that no session is inside a command. */
void sim__connection_kill(sim__connection *connection)
{
    if (connection->session != NULL)
        close_server_end(connection);
}

void sim__network_reset(sim__server *server)
{
    sim_world *world = server->world;
    for (size_t i = 0; i < world->n_connections; i++) {
        sim__connection *connection = world->connections[i];
        if (connection->server != server || connection->session == NULL)
            continue;
        cut_stream(connection, &connection->to_client, 0, 0);
        close_server_end(connection);
    }
}
