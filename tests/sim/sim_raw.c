/*
 * A client without any cleverness, for the tests of the simulator itself. See sim_raw.h.
 */
#include "sim_raw.h"

#include "base/resp.h"

#include <string.h>

#define MAX_WORDS 16
#define ENOUGH_US (10 * SIM_MILLISECOND)

static bool has_answer(sim_world *world, void *user)
{
    (void)world;
    gavel__transport *transport = user;
    return transport->ops->connect(transport) != GAVEL__PROGRESS_UNDER_WAY;
}

bool sim_raw_open(sim_raw *raw, sim_world *world)
{
    gavel__platform platform = sim_platform(world, false);
    gavel_error error;
    *raw = (sim_raw){.world = world};
    gavel__buffer_init(&raw->reply, &gavel__system_allocator);
    gavel__address address = {0};
    gavel__endpoint endpoint = {.size = 0};
    gavel__destination destination = {.address = &address, .endpoint = &endpoint};
    raw->transport = platform.dial(platform.user, destination, &gavel__system_allocator, &error);
    if (raw->transport == NULL)
        return false;
    raw->connection = sim_get_counters(world)->n_connections;
    sim_run_until(world, has_answer, raw->transport, SIM_SECOND);
    return raw->transport->ops->connect(raw->transport) == GAVEL__PROGRESS_DONE;
}

void sim_raw_close(sim_raw *raw)
{
    if (raw->transport != NULL)
        raw->transport->ops->close(raw->transport);
    raw->transport = NULL;
    gavel__buffer_finish(&raw->reply);
}

static void append_line(gavel__buffer *out, const char *line, size_t size)
{
    gavel_bytes args[MAX_WORDS];
    size_t n_args = 0;
    for (size_t at = 0; at < size && n_args < MAX_WORDS; at++) {
        size_t begin = at;
        while (at < size && line[at] != ' ')
            at++;
        if (at > begin)
            args[n_args++] = (gavel_bytes){line + begin, at - begin};
    }
    gavel__resp_command(out, args, n_args);
}

static void send_all(sim_raw *raw, gavel_bytes bytes)
{
    while (bytes.size > 0 && !raw->is_broken) {
        long n = raw->transport->ops->send(raw->transport, bytes.data, bytes.size);
        if (n == GAVEL__TRANSPORT_BROKEN)
            raw->is_broken = true;
        if (n <= 0)
            continue;
        bytes.data += n;
        bytes.size -= (size_t)n;
    }
}

void sim_raw_compose(gavel__buffer *out, const char *lines)
{
    while (*lines != '\0') {
        size_t size = strcspn(lines, "\n");
        append_line(out, lines, size);
        lines += size;
        lines += *lines == '\n';
    }
}

void sim_raw_send(sim_raw *raw, const char *lines)
{
    gavel__buffer out;
    gavel__buffer_init(&out, &gavel__system_allocator);
    sim_raw_compose(&out, lines);
    send_all(raw, (gavel_bytes){out.data, out.size});
    gavel__buffer_finish(&out);
}

const char *sim_raw_take(sim_raw *raw, int64_t us)
{
    sim_run_for(raw->world, us);
    gavel__buffer_clear(&raw->reply);
    char chunk[256];
    long n;
    while ((n = raw->transport->ops->receive(raw->transport, chunk, sizeof chunk, false)) > 0)
        gavel__buffer_append(&raw->reply, (gavel_bytes){chunk, (size_t)n});
    raw->is_broken |= n == GAVEL__TRANSPORT_BROKEN;
    gavel__buffer_append(&raw->reply, (gavel_bytes){"", 1});
    return raw->reply.data;
}

const char *sim_raw_ask(sim_raw *raw, const char *lines)
{
    sim_raw_send(raw, lines);
    return sim_raw_take(raw, ENOUGH_US);
}
