/*
 * What a server tells of replication: ROLE and INFO. For the table in sim_commands.c. Source:
 * Redis 7.0, replication.c, and genRedisInfoString in server.c.
 */
#include "sim_commands.h"
#include "sim_sentinel.h"

#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>

#define LINE_SIZE 160

/* ---- ROLE ---------------------------------------------------------------------------------- */

static void say_int_text(gavel__buffer *out, int64_t value)
{
    char storage[GAVEL__INT_SIZE];
    sim__reply_bulk(out, gavel__format_int(value, storage));
}

static bool is_listed(const sim__server *replica, const sim__server *primary)
{
    return replica->primary == primary && replica->replication->is_linked;
}

static size_t n_listed(const sim__server *server)
{
    size_t n = 0;
    for (size_t i = 0; i < server->world->n_servers; i++)
        n += is_listed(server->world->servers[i], server);
    return n;
}

static void say_primary(const sim__server *server, gavel__buffer *out)
{
    sim__reply_array(out, 3);
    sim__reply_bulk(out, GAVEL_STR("master"));
    sim__reply_int(out, server->replication->offset);
    sim__reply_array(out, n_listed(server));
    for (size_t i = 0; i < server->world->n_servers; i++) {
        const sim__server *replica = server->world->servers[i];
        if (!is_listed(replica, server))
            continue;
        sim__reply_array(out, 3);
        sim__reply_bulk(out, gavel_str(replica->host));
        say_int_text(out, replica->port);
        say_int_text(out, replica->replication->acked_offset);
    }
}

void sim__run_role(sim__call *call)
{
    const sim__server *server = call->server;
    if (sim__is_sentinel(server)) {
        sim__reply_array(call->out, 2);
        sim__reply_bulk(call->out, GAVEL_STR("sentinel"));
        sim__reply_array(call->out, 1);
        sim__reply_bulk(call->out, gavel_str(call->world->service->name));
        return;
    }
    if (server->primary == NULL) {
        say_primary(server, call->out);
        return;
    }
    bool is_linked = server->replication->is_linked;
    sim__reply_array(call->out, 5);
    sim__reply_bulk(call->out, GAVEL_STR("slave"));
    sim__reply_bulk(call->out, gavel_str(server->primary->host));
    sim__reply_int(call->out, server->primary->port);
    sim__reply_bulk(call->out, gavel_str(is_linked ? "connected" : "connect"));
    sim__reply_int(call->out, is_linked ? server->replication->offset : -1);
}

const char *sim__mode_of(const sim__server *server)
{
    return sim__is_sentinel(server) ? "sentinel" : server->node != NULL ? "cluster" : "standalone";
}

/* ---- INFO ---------------------------------------------------------------------------------- */

static void line(gavel__buffer *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void line(gavel__buffer *out, const char *format, ...)
{
    char text[LINE_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    gavel__buffer_append(out, gavel_str(text));
    gavel__buffer_append(out, GAVEL_STR("\r\n"));
}

static void tell_server(const sim__server *server, gavel__buffer *out)
{
    line(out, "# Server");
    bool is_valkey = server->world->is_valkey;
    line(out, "redis_version:%s", is_valkey ? SIM__VALKEY_COMPATIBILITY : server->world->version);
    if (is_valkey) {
        line(out, "server_name:valkey");
        line(out, "valkey_version:%s", server->world->version);
    }
    line(out, "redis_mode:%s", sim__mode_of(server));
    line(out, "run_id:%s", server->replication->run_id);
    line(out, "tcp_port:%d", server->port);
}

static void tell_upstream(const sim__server *server, gavel__buffer *out)
{
    const sim__replication *replication = server->replication;
    line(out, "role:slave");
    line(out, "master_host:%s", server->primary->host);
    line(out, "master_port:%d", server->primary->port);
    line(out, "master_link_status:%s", replication->is_linked ? "up" : "down");
    line(out, "master_sync_in_progress:0");
    line(out, "slave_read_repl_offset:%lld", (long long)replication->offset);
    line(out, "slave_repl_offset:%lld", (long long)replication->offset);
    line(out, "slave_priority:%d", replication->priority);
    line(out, "slave_read_only:1");
}

static void tell_replicas(const sim__server *server, gavel__buffer *out)
{
    size_t n = 0;
    line(out, "connected_slaves:%zu", n_listed(server));
    for (size_t i = 0; i < server->world->n_servers; i++) {
        const sim__server *replica = server->world->servers[i];
        if (!is_listed(replica, server))
            continue;
        line(out, "slave%zu:ip=%s,port=%d,state=online,offset=%lld,lag=0", n++, replica->host,
            replica->port, (long long)replica->replication->acked_offset);
    }
}

static void tell_replication(const sim__server *server, gavel__buffer *out)
{
    const sim__replication *replication = server->replication;
    line(out, "# Replication");
    if (server->primary != NULL)
        tell_upstream(server, out);
    else
        line(out, "role:master");
    tell_replicas(server, out);
    line(out, "master_failover_state:no-failover");
    line(out, "master_replid:%s", replication->replid);
    line(out, "master_replid2:%s", replication->replid2);
    line(out, "master_repl_offset:%lld", (long long)replication->offset);
    line(out, "second_repl_offset:%lld", (long long)replication->second_offset);
}

static bool is_asked(const sim__call *call, const char *section)
{
    for (size_t i = 1; i < call->n_args; i++) {
        if (sim__arg_is(call, i, section) || sim__arg_is(call, i, "default") ||
            sim__arg_is(call, i, "all") || sim__arg_is(call, i, "everything"))
            return true;
    }
    return call->n_args == 1;
}

static void tell_sentinel(const sim__server *server, gavel__buffer *out)
{
    line(out, "# Sentinel");
    line(out, "sentinel_masters:1");
    line(out, "sentinel_tilt:%d", server->world->now_us < server->sentinel->tilt_until_us);
}

/* Some of the sections only. */
void sim__run_info(sim__call *call)
{
    gavel__buffer text;
    gavel__buffer_init(&text, &gavel__system_allocator);
    if (is_asked(call, "server"))
        tell_server(call->server, &text);
    if (is_asked(call, "replication") && !sim__is_sentinel(call->server)) {
        if (text.size > 0)
            gavel__buffer_append(&text, GAVEL_STR("\r\n"));
        tell_replication(call->server, &text);
    }
    if (is_asked(call, "sentinel") && sim__is_sentinel(call->server))
        tell_sentinel(call->server, &text);
    sim__reply_bulk(call->out, (gavel_bytes){text.data, text.size});
    gavel__buffer_finish(&text);
}
