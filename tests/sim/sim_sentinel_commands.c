/*
 * What a Sentinel answers: SENTINEL, and messages on channels. For the table in sim_commands.c.
 * Source: Redis 7.0, sentinel.c (sentinelCommand, addReplySentinelRedisInstance) and pubsub.c.
 */
#include "sim_commands.h"
#include "sim_sentinel.h"

#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define VALUE_SIZE 128

/* ---- Fields -------------------------------------------------------------------------------- */

/* A map that grows: names and values, as bulk strings. */
typedef struct fields {
    gavel__buffer body;
    size_t n;
} fields;

static void add(fields *to, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void add(fields *to, const char *name, const char *format, ...)
{
    char value[VALUE_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(value, sizeof value, format, args);
    va_end(args);
    sim__reply_bulk(&to->body, gavel_str(name));
    sim__reply_bulk(&to->body, gavel_str(value));
    to->n += 2;
}

static void add_int(fields *to, const char *name, int64_t value)
{
    add(to, name, "%lld", (long long)value);
}

/* A flag behind those that are there. */
static void flag(char flags[VALUE_SIZE], bool is_set, const char *word)
{
    size_t used = strlen(flags);
    if (is_set)
        gavel__format(flags + used, VALUE_SIZE - used, "%s%s", used > 0 ? "," : "", word);
}

static void say_fields(fields *said, gavel__buffer *out)
{
    sim__reply_array(out, said->n);
    gavel__buffer_append(out, (gavel_bytes){said->body.data, said->body.size});
    gavel__buffer_finish(&said->body);
}

/* ---- Instances ----------------------------------------------------------------------------- */

static int64_t ms_since(const sim_world *world, int64_t then_us)
{
    return then_us != 0 ? (world->now_us - then_us) / SIM_MILLISECOND : 0;
}

static void add_address(fields *to, const sim__server *server, const char *id)
{
    add(to, "ip", "%s", server->host);
    add(to, "port", "%d", server->port);
    add(to, "runid", "%s", id);
}

static void add_link(fields *to, const char *failover_state)
{
    add(to, "link-pending-commands", "0");
    add(to, "link-refcount", "1");
    if (failover_state != NULL)
        add(to, "failover-state", "%s", failover_state);
}

static void add_pings(fields *to, const sim_world *world, const sim__view *view)
{
    int64_t down_after_us = world->service->down_after_us;
    add_int(to, "last-ping-sent", ms_since(world, view->owed_us));
    add_int(to, "last-ok-ping-reply", ms_since(world, view->answered_us));
    add_int(to, "last-ping-reply", ms_since(world, view->answered_us));
    if (view->is_down)
        add_int(to, "s-down-time", ms_since(world, view->owed_us + down_after_us));
    add_int(to, "down-after-milliseconds", down_after_us / SIM_MILLISECOND);
}

static void add_role(fields *to, bool is_primary)
{
    add(to, "info-refresh", "1");
    add(to, "role-reported", "%s", is_primary ? "master" : "slave");
    add(to, "role-reported-time", "1");
}

static void say_master(const sim__server *self, gavel__buffer *out)
{
    static const char *const states[] = {
        NULL, "select_slave", "send_slaveof_noone", "wait_promotion", "reconf_slaves"};
    const sim_world *world = self->world;
    const sim__sentinel *sentinel = self->sentinel;
    const sim__server *primary = sentinel->primary;
    const sim__view *view = &sentinel->views[primary->number];
    char flags[VALUE_SIZE] = "";
    flag(flags, view->is_down, "s_down");
    flag(flags, view->is_down && sim__n_who_agree(self) >= world->service->quorum, "o_down");
    flag(flags, true, "master");
    flag(flags, view->is_down || sim__is_down(primary), "disconnected");
    flag(flags, sentinel->failover != SIM__STEADY, "failover_in_progress");
    flag(flags, sentinel->failover != SIM__STEADY && sentinel->is_forced, "force_failover");
    fields said = {0};
    gavel__buffer_init(&said.body, &gavel__system_allocator);
    add(&said, "name", "%s", world->service->name);
    add_address(&said, primary, primary->replication->run_id);
    add(&said, "flags", "%s", flags);
    add_link(&said, states[sentinel->failover]);
    add_pings(&said, world, view);
    add_role(&said, primary->primary == NULL);
    add_int(&said, "config-epoch", (int64_t)sentinel->epoch);
    add_int(&said, "num-slaves", (int64_t)(world->n_servers - sim_n_sentinels(world) - 1));
    add_int(&said, "num-other-sentinels", (int64_t)sim_n_sentinels(world) - 1);
    add_int(&said, "quorum", (int64_t)world->service->quorum);
    add_int(&said, "failover-timeout", world->service->failover_timeout_us / SIM_MILLISECOND);
    add(&said, "parallel-syncs", "1");
    say_fields(&said, out);
}

static void say_replica(const sim__server *self, const sim__server *replica, gavel__buffer *out)
{
    const sim__sentinel *sentinel = self->sentinel;
    const sim__view *view = &sentinel->views[replica->number];
    const sim__server *primary = replica->primary;
    bool is_promoted = replica == sentinel->promoted;
    char flags[VALUE_SIZE] = "";
    flag(flags, view->is_down, "s_down");
    flag(flags, true, "slave");
    flag(flags, view->is_down || sim__is_down(replica), "disconnected");
    flag(flags, is_promoted, "promoted");
    fields said = {0};
    gavel__buffer_init(&said.body, &gavel__system_allocator);
    add(&said, "name", "%s:%d", replica->host, replica->port);
    add_address(&said, replica, replica->replication->run_id);
    add(&said, "flags", "%s", flags);
    add_link(&said, NULL);
    add_pings(&said, self->world, view);
    add_role(&said, primary == NULL && !(is_promoted && sentinel->failover == SIM__WAITING));
    add(&said, "master-link-down-time", "0");
    add(&said, "master-link-status", "%s", replica->replication->is_linked ? "ok" : "err");
    add(&said, "master-host", "%s", primary != NULL ? primary->host : "?");
    add(&said, "master-port", "%d", primary != NULL ? primary->port : 0);
    add(&said, "slave-priority", "%d", replica->replication->priority);
    add_int(&said, "slave-repl-offset", replica->replication->offset);
    add(&said, "replica-announced", "1");
    say_fields(&said, out);
}

static void say_sentinel(const sim__server *self, const sim__server *other, gavel__buffer *out)
{
    static const sim__view no_view = {0};
    fields said = {0};
    gavel__buffer_init(&said.body, &gavel__system_allocator);
    add(&said, "name", "%s", other->sentinel->id);
    add_address(&said, other, other->sentinel->id);
    add(&said, "flags", "sentinel");
    add_link(&said, NULL);
    add_pings(&said, self->world, &no_view);
    add(&said, "last-hello-message", "1");
    add(&said, "voted-leader", "?");
    add(&said, "voted-leader-epoch", "0");
    say_fields(&said, out);
}

static void say_others(const sim__call *call, bool is_of_sentinels)
{
    const sim_world *world = call->world;
    const sim__server *self = call->server;
    size_t n_all = sim_n_sentinels(world);
    sim__reply_array(call->out, is_of_sentinels ? n_all - 1 : world->n_servers - n_all - 1);
    for (size_t i = 0; i < world->n_servers; i++) {
        const sim__server *other = world->servers[i];
        if (sim__is_sentinel(other) != is_of_sentinels || other == self ||
            other == self->sentinel->primary)
            continue;
        if (is_of_sentinels)
            say_sentinel(self, other, call->out);
        else
            say_replica(self, other, call->out);
    }
}

static void say_address(const sim__call *call)
{
    const sim__server *primary = sim__named(call->server->sentinel);
    char port[16];
    gavel__format(port, sizeof port, "%d", primary->port);
    sim__reply_array(call->out, 2);
    sim__reply_bulk(call->out, gavel_str(primary->host));
    sim__reply_bulk(call->out, gavel_str(port));
}

/* ---- SENTINEL ------------------------------------------------------------------------------ */

static void say_failover(const sim__call *call)
{
    const char *error = sim__force_failover(call->server);
    if (error != NULL)
        sim__reply_error(call->out, "%s", error);
    else
        sim__reply_status(call->out, "OK");
}

static void answer_for_service(const sim__call *call, const char *subcommand)
{
    if (strcmp(subcommand, "master") == 0)
        say_master(call->server, call->out);
    else if (strcmp(subcommand, "get-master-addr-by-name") == 0)
        say_address(call);
    else if (strcmp(subcommand, "failover") == 0)
        say_failover(call);
    else
        say_others(call, strcmp(subcommand, "sentinels") == 0);
}

static void answer_without_name(const sim__call *call, const char *subcommand)
{
    if (strcmp(subcommand, "myid") == 0) {
        sim__reply_bulk(call->out, gavel_str(call->server->sentinel->id));
        return;
    }
    sim__reply_array(call->out, 1);
    say_master(call->server, call->out);
}

/* NULL: unknown. */
static const char *known_subcommand(const sim__call *call, size_t *ret_n_args)
{
    static const struct {
        const char *name;
        size_t n_args;
    } known[] = {{"master", 3}, {"get-master-addr-by-name", 3}, {"failover", 3}, {"sentinels", 3},
        {"replicas", 3}, {"slaves", 3}, {"myid", 2}, {"masters", 2}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (sim__arg_is(call, 1, known[i].name)) {
            *ret_n_args = known[i].n_args;
            return known[i].name;
        }
    }
    return NULL;
}

void sim__run_sentinel(sim__call *call)
{
    size_t n_args;
    const char *subcommand = known_subcommand(call, &n_args);
    if (subcommand == NULL) {
        sim__reply_error(call->out, "ERR unknown subcommand '%.*s'. Try SENTINEL HELP.",
            (int)call->args[1].size, call->args[1].data);
    } else if (call->n_args != n_args) {
        sim__reply_error(
            call->out, "ERR wrong number of arguments for 'sentinel|%s' command", subcommand);
    } else if (n_args == 2) {
        answer_without_name(call, subcommand);
    } else if (gavel__bytes_equal(call->args[2], gavel_str(call->world->service->name))) {
        answer_for_service(call, subcommand);
    } else if (strcmp(subcommand, "get-master-addr-by-name") == 0) {
        sim__reply_nil_array(call->out);
    } else {
        sim__reply_error(call->out, "ERR No such master with that name");
    }
}

/* ---- Channels ------------------------------------------------------------------------------ */

static size_t place_of(const sim__session *session, gavel_bytes channel)
{
    size_t i = 0;
    while (i < session->channels.n_args && !gavel__bytes_equal(session->channels.args[i], channel))
        i++;
    return i;
}

static void say_channel(sim__call *call, const char *what, const gavel_bytes *channel)
{
    sim__reply_array(call->out, 3);
    sim__reply_bulk(call->out, gavel_str(what));
    if (channel != NULL)
        sim__reply_bulk(call->out, *channel);
    else
        sim__reply_nil(call->out);
    sim__reply_int(call->out, (int64_t)call->session->channels.n_args);
}

void sim__run_subscribe(sim__call *call)
{
    sim__args *channels = &call->session->channels;
    for (size_t i = 1; i < call->n_args; i++) {
        if (place_of(call->session, call->args[i]) == channels->n_args) {
            channels->args = sim__resize(channels->args, channels->n_args + 1, sizeof(gavel_bytes));
            channels->args[channels->n_args++] = sim__copy(call->args[i]);
        }
        say_channel(call, "subscribe", &call->args[i]);
    }
}

static void leave_channel(sim__call *call, gavel_bytes channel)
{
    sim__args *channels = &call->session->channels;
    size_t place = place_of(call->session, channel);
    gavel_bytes left = sim__copy(channel);
    if (place < channels->n_args) {
        sim__free_bytes(channels->args[place]);
        channels->n_args--;
        memmove(&channels->args[place], &channels->args[place + 1],
            (channels->n_args - place) * sizeof(gavel_bytes));
    }
    say_channel(call, "unsubscribe", &left);
    sim__free_bytes(left);
}

void sim__run_unsubscribe(sim__call *call)
{
    const sim__args *channels = &call->session->channels;
    for (size_t i = 1; i < call->n_args; i++)
        leave_channel(call, call->args[i]);
    if (call->n_args > 1)
        return;
    if (channels->n_args == 0)
        say_channel(call, "unsubscribe", NULL);
    while (channels->n_args > 0)
        leave_channel(call, channels->args[0]);
}

void sim__publish(sim__server *sentinel, const char *channel, const char *message)
{
    gavel__buffer out;
    gavel__buffer_init(&out, &gavel__system_allocator);
    sim__reply_array(&out, 3);
    sim__reply_bulk(&out, GAVEL_STR("message"));
    sim__reply_bulk(&out, gavel_str(channel));
    sim__reply_bulk(&out, gavel_str(message));
    gavel__list *sessions = &sentinel->sessions;
    for (gavel__list *node = sessions->next; node != sessions; node = node->next) {
        sim__session *session = GAVEL__CONTAINER(node, sim__session, node);
        if (session->number != 0 &&
            place_of(session, gavel_str(channel)) < session->channels.n_args)
            sim__network_push(session, (gavel_bytes){out.data, out.size});
    }
    gavel__buffer_finish(&out);
}
