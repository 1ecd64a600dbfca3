/*
 * The transport: a simulated connection, as a client sees it. For the clients under test, through
 * redis/transport.h.
 */
#include "sim_internal.h"

#include "base/text.h"

#include <stdio.h>
#include <string.h>

#define WAIT_US (10 * SIM_MILLISECOND)

typedef struct sim_transport {
    gavel__transport base;
    const gavel_allocator *allocator;
    sim__connection *connection;
} sim_transport;

static sim__connection *connection_of(gavel__transport *transport)
{
    return ((sim_transport *)transport)->connection;
}

static void tell_why(gavel__transport *transport)
{
    gavel__format(
        transport->message, sizeof transport->message, "%s", connection_of(transport)->reason);
}

static gavel__progress go_on_connecting(gavel__transport *transport)
{
    switch (connection_of(transport)->progress) {
    case SIM__DIALLING:
        return GAVEL__PROGRESS_UNDER_WAY;
    case SIM__OPEN:
        return GAVEL__PROGRESS_DONE;
    case SIM__REFUSED:
    case SIM__LOST:
        break;
    }
    tell_why(transport);
    return GAVEL__PROGRESS_FAILED;
}

static long send_some(gavel__transport *transport, const char *data, size_t size)
{
    sim__connection *connection = connection_of(transport);
    sim_world *world = connection->world;
    if (size == 0 || connection->progress == SIM__DIALLING)
        sim__fail(world, "a send of nothing, or before the connection was made");
    if (connection->progress != SIM__OPEN) {
        tell_why(transport);
        return GAVEL__TRANSPORT_BROKEN;
    }
    if (sim__chance(&world->chance, world->faults.short_send_per_mille)) {
        size = (size_t)gavel__random_below(&world->chance, size + 1);
        if (size == 0)
            return GAVEL__TRANSPORT_WOULD_BLOCK;
    }
    sim__connection_send(connection, (gavel_bytes){data, size});
    return (long)size;
}

static void wait_readable(sim__connection *connection)
{
    int64_t end_us = connection->world->now_us + WAIT_US;
    while (!sim__connection_is_readable(connection) && connection->world->now_us < end_us)
        sim__step(connection->world, end_us);
}

static long receive_some(gavel__transport *transport, char *data, size_t size, bool wait)
{
    sim__connection *connection = connection_of(transport);
    if (size == 0 || (wait && !transport->can_wait))
        sim__fail(connection->world, "a receive of nothing, or one that may not wait");
    if (wait)
        wait_readable(connection);
    gavel__buffer *unread = &connection->unread;
    if (unread->size > 0) {
        if (size > unread->size)
            size = unread->size;
        memcpy(data, unread->data, size);
        gavel__buffer_consume(unread, size);
        connection->has_received = true;
        return (long)size;
    }
    if (connection->progress == SIM__OPEN || connection->progress == SIM__DIALLING)
        return GAVEL__TRANSPORT_WOULD_BLOCK;
    tell_why(transport);
    return GAVEL__TRANSPORT_BROKEN;
}

static void hang_up(gavel__transport *transport)
{
    sim_transport *self = (sim_transport *)transport;
    self->connection->world->n_transports--;
    sim__connection_close(self->connection);
    gavel__free(self->allocator, self);
}

static const gavel__transport_ops ops = {
    .connect = go_on_connecting,
    .send = send_some,
    .receive = receive_some,
    .close = hang_up,
};

gavel__transport *sim__dial(void *dialler, gavel__destination destination,
    const gavel_allocator *allocator, gavel_error *ret_error)
{
    sim__process *process = dialler;
    sim_world *world = process->world;
    sim__target target = sim__target_of(world, destination.endpoint);
    if (process->is_crashed || sim__chance(&world->chance, world->faults.refuse_per_mille / 2)) {
        gavel__format(ret_error->message, sizeof ret_error->message, "no route to host");
        return NULL;
    }
    if (destination.is_probe) { /* nobody speaks TLS here */
        gavel__format(ret_error->message, sizeof ret_error->message, "connection reset by peer");
        return NULL;
    }
    sim_transport *self = gavel__alloc(allocator, 1, sizeof *self);
    if (self == NULL) {
        gavel__format(ret_error->message, sizeof ret_error->message, "no memory");
        return NULL;
    }
    self->base.ops = &ops;
    self->base.can_wait = world->can_wait;
    self->allocator = allocator;
    self->connection = sim__connection_create(process, target);
    self->base.fd = SIM__FIRST_FD + (int)(self->connection->number - 1);
    world->n_transports++;
    return &self->base;
}
