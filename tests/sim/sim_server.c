/*
 * Sessions: what the server knows of a client, and what WATCH, MULTI and EXEC make of it. Whatever
 * comes in goes through sim__session_command. For the network and the commands.
 * Source: Redis 7.0, multi.c and processCommand in server.c, for the order of the checks.
 */
#include "sim_commands.h"
#include "sim_cluster.h"
#include "sim_sentinel.h"

#include "base/text.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How much of the arguments the error for an unknown command repeats. */
#define REPEATED_SIZE 128

#define ERROR_SIZE 256

/* ---- Sessions ------------------------------------------------------------------------------ */

sim__session *sim__session_create(sim__server *server, uint64_t number)
{
    sim__session *session = sim__alloc(1, sizeof *session);
    session->server = server;
    session->number = number;
    session->has_login = server->password == NULL;
    gavel__buffer_init(&session->answer, &gavel__system_allocator);
    gavel__list_append(&server->sessions, &session->node);
    return session;
}

void sim__session_destroy(sim__session *session)
{
    if (session == NULL)
        return;
    sim__discard(session);
    sim__forget_wait(session);
    gavel__buffer_finish(&session->answer);
    sim__args_free(&session->channels);
    gavel__list_remove(&session->node);
    free(session);
}

/* ---- Watching ------------------------------------------------------------------------------ */

void sim__unwatch_all(sim__session *session)
{
    for (size_t i = 0; i < session->n_watched; i++)
        sim__free_bytes(session->watched[i].name);
    free(session->watched);
    session->watched = NULL;
    session->n_watched = 0;
}

static sim__watched *watched_of(const sim__session *session, int db, gavel_bytes name)
{
    for (size_t i = 0; i < session->n_watched; i++) {
        sim__watched *watched = &session->watched[i];
        if (watched->db == db && gavel__bytes_equal(watched->name, name))
            return watched;
    }
    return NULL;
}

void sim__watch(sim__session *session, gavel_bytes name)
{
    if (watched_of(session, session->db, name) != NULL)
        return;
    size_t n = session->n_watched++;
    session->watched = sim__resize(session->watched, n + 1, sizeof(sim__watched));
    session->watched[n] = (sim__watched){.db = session->db,
        .name = sim__copy(name),
        .was_expired = sim__is_expired(session->server, session->db, name)};
}

/* A key that had expired before it was watched, and now goes, is not changed by that. */
static void touch_session(sim__session *session, int db, gavel_bytes name)
{
    sim__watched *watched = watched_of(session, db, name);
    if (watched == NULL)
        return;
    if (watched->was_expired) {
        if (!sim__is_present(session->server, db, name))
            watched->was_expired = false;
        return;
    }
    session->is_dirty_cas = true;
    sim__unwatch_all(session);
}

void sim__touch(sim__server *server, int db, gavel_bytes name)
{
    server->world->n_touches++;
    gavel_bytes kept = sim__copy(name); /* `name` may be a watched one, and freed on the way. */
    for (gavel__list *node = server->sessions.next; node != &server->sessions; node = node->next)
        touch_session(GAVEL__CONTAINER(node, sim__session, node), db, kept);
    sim__free_bytes(kept);
}

static bool has_watched_expire(const sim__session *session)
{
    for (size_t i = 0; i < session->n_watched; i++) {
        const sim__watched *watched = &session->watched[i];
        if (!watched->was_expired && sim__is_expired(session->server, watched->db, watched->name))
            return true;
    }
    return false;
}

/* ---- MULTI --------------------------------------------------------------------------------- */

sim__args sim__args_copy(const sim__args *command)
{
    gavel_bytes *args = sim__alloc(command->n_args, sizeof *args);
    for (size_t i = 0; i < command->n_args; i++)
        args[i] = sim__copy(command->args[i]);
    return (sim__args){args, command->n_args};
}

void sim__args_free(sim__args *command)
{
    for (size_t i = 0; i < command->n_args; i++)
        sim__free_bytes(command->args[i]);
    free(command->args);
    *command = (sim__args){NULL, 0};
}

static void free_queue(sim__args *queue, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sim__args_free(&queue[i]);
    free(queue);
}

void sim__discard(sim__session *session)
{
    free_queue(session->queue, session->n_queue);
    session->queue = NULL;
    session->n_queue = 0;
    session->is_in_multi = false;
    session->is_dirty_cas = false;
    session->is_dirty_exec = false;
    sim__unwatch_all(session);
}

/* What comes behind a fault is not kept. */
static void enqueue(sim__session *session, const sim__args *command)
{
    if (session->is_dirty_cas || session->is_dirty_exec)
        return;
    size_t n = session->n_queue++;
    session->queue = sim__resize(session->queue, n + 1, sizeof(sim__args));
    session->queue[n] = sim__args_copy(command);
}

/* ---- Running ------------------------------------------------------------------------------- */

/* Nothing, from a BLPOP that waits: then the buffer may have no memory either. */
static gavel_bytes since(const gavel__buffer *out, size_t begin)
{
    if (out->size == begin)
        return GAVEL_STR("");
    return (gavel_bytes){out->data + begin, out->size - begin};
}

/* Runs a command that nothing speaks against, and enters it in the journal. EXEC's entry is made
 * only when it has run, so as to come behind those of its commands. */
static void run(sim__call *call)
{
    sim_world *world = call->world;
    sim__args command = {(gavel_bytes *)(uintptr_t)call->args, call->n_args};
    uint64_t n_touches = world->n_touches;
    size_t begin = call->out->size;
    call->command->run(call);
    if (world->n_touches != n_touches && (call->command->flags & SIM__WRITES))
        sim__record(call->server, call->session->db, &command);
    bool is_blocked = call->session->wait == SIM__BLOCKED;
    sim_entry *entry =
        sim__journal_add(world, call->session, &command, is_blocked ? SIM_BLOCKED : SIM_RAN);
    entry->is_change = world->n_touches != n_touches;
    sim__journal_finish(world, entry, since(call->out, begin));
}

static void count_late(const sim__call *call, bool is_commit)
{
    if (!sim__is_client_gone(call->session))
        return;
    call->world->counters.n_late_execs++;
    call->world->counters.n_late_commits += is_commit;
}

static void run_queue(sim__call *call)
{
    sim__session *session = call->session;
    sim__args *queue = session->queue;
    size_t n_queue = session->n_queue;
    session->queue = NULL;
    session->n_queue = 0;
    sim__discard(session);
    call->world->running_exec = ++call->world->n_execs;
    sim__reply_array(call->out, n_queue);
    for (size_t i = 0; i < n_queue; i++) {
        sim__call queued = *call;
        queued.command = sim__command_find(queue[i].args[0]);
        queued.args = queue[i].args;
        queued.n_args = queue[i].n_args;
        run(&queued);
    }
    free_queue(queue, n_queue);
}

void sim__run_exec(sim__call *call)
{
    sim__session *session = call->session;
    sim_counters *counters = &call->world->counters;
    if (!session->is_in_multi) {
        sim__reply_error(call->out, "ERR EXEC without MULTI");
        return;
    }
    bool is_conflict = session->is_dirty_cas || has_watched_expire(session);
    bool is_commit = !session->is_dirty_exec && !is_conflict;
    count_late(call, is_commit);
    if (is_commit) {
        counters->n_commits++;
        run_queue(call);
        return;
    }
    if (session->is_dirty_exec) {
        counters->n_exec_aborts++;
        sim__reply_error(call->out, "EXECABORT Transaction discarded because of previous errors.");
    } else {
        counters->n_conflicts++;
        sim__reply_nil_array(call->out);
    }
    sim__discard(session);
}

/* ---- What is refused ----------------------------------------------------------------------- */

static void say_unknown(const sim__args *command, gavel__buffer *out)
{
    char repeated[REPEATED_SIZE + 8] = "";
    size_t used = 0;
    for (size_t i = 1; i < command->n_args && used < REPEATED_SIZE; i++) {
        int room = (int)(REPEATED_SIZE - used);
        int size = command->args[i].size < (size_t)room ? (int)command->args[i].size : room;
        used += (size_t)snprintf(
            repeated + used, sizeof repeated - used, "'%.*s' ", size, command->args[i].data);
    }
    int size = command->args[0].size < 128 ? (int)command->args[0].size : 128;
    sim__reply_error(out, "ERR unknown command '%.*s', with args beginning with: %s", size,
        command->args[0].data, repeated);
}

/* A redirection of a cluster is EXEC's own reply; anything else becomes an EXECABORT. */
static bool is_redirection(const char *error)
{
    static const char *const words[] = {"MOVED", "ASK", "TRYAGAIN", "CROSSSLOT", "CLUSTERDOWN"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strncmp(error, words[i], strlen(words[i])) == 0)
            return true;
    }
    return false;
}

static void say_refused(sim__call *call, const char *error)
{
    bool is_exec = call->command->run == sim__run_exec;
    if (!is_exec) {
        sim__reply_error(call->out, "%s", error);
        return;
    }
    call->world->counters.n_exec_aborts++;
    sim__discard(call->session);
    sim__reply_error(call->out, "%s%s",
        is_redirection(error) ? "" : "EXECABORT Transaction discarded because of: ", error);
}

static bool has_queued_write(const sim__session *session)
{
    for (size_t i = 0; i < session->n_queue; i++) {
        const sim__command *command = sim__command_find(session->queue[i].args[0]);
        if (command->flags & SIM__WRITES)
            return true;
    }
    return false;
}

bool sim__is_write(const sim__command *command, const sim__session *session)
{
    return command->run == sim__run_exec ? has_queued_write(session)
                                         : (command->flags & SIM__WRITES) != 0;
}

static bool has_arity(const sim__command *command, size_t n_args)
{
    size_t n_needed = (size_t)abs(command->arity);
    return command->arity < 0 ? n_args >= n_needed : n_args == n_needed;
}

/* An EXEC with arguments ends the transaction, too. */
static void say_arity(sim__call *call)
{
    if (call->command->run == sim__run_exec)
        say_refused(call, "wrong number of arguments for 'exec' command");
    else
        sim__say_arity(call);
}

static bool is_for_subscribers(const sim__command *command)
{
    return command->run == sim__run_subscribe || command->run == sim__run_unsubscribe ||
           strcmp(command->name, "ping") == 0;
}

static const char *name_in_channels(const sim__call *call, char text[ERROR_SIZE])
{
    bool has_subcommand = call->command->run == sim__run_sentinel;
    char subcommand[32] = "";
    if (has_subcommand)
        gavel__format(
            subcommand, sizeof subcommand, "|%.*s", (int)call->args[1].size, call->args[1].data);
    for (char *c = subcommand; *c != '\0'; c++)
        *c = (char)tolower((unsigned char)*c);
    gavel__format(text, ERROR_SIZE,
        "ERR Can't execute '%s%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET "
        "are allowed in this context",
        call->command->name, subcommand);
    return text;
}

static bool is_known(const sim__command *command, const sim__server *server)
{
    bool is_newer = command != NULL && command->run == sim__run_waitaof;
    if (is_newer && !sim__is_at_least(server->world, 7, 2))
        return false;
    if (command == NULL || (command->flags & SIM__EVERYWHERE))
        return command != NULL;
    return sim__is_sentinel(server) == ((command->flags & SIM__SENTINEL) != 0);
}

/* Where Valkey refuses these, which spoils the transaction, Redis lets them say so themselves. */
static bool is_outside_multi_only(const sim__call *call)
{
    const char *name = call->command->name;
    return call->world->is_valkey && call->session->is_in_multi &&
           (strcmp(name, "watch") == 0 || strcmp(name, "multi") == 0);
}

static const char *say_outside_multi_only(const sim__call *call, char text[ERROR_SIZE])
{
    gavel__format(
        text, ERROR_SIZE, "ERR Command '%s' not allowed inside a transaction", call->command->name);
    return text;
}

/* Answers, and returns true, where the command must not be run or queued. */
static bool is_refused(sim__call *call, const sim__args *args)
{
    const sim__command *command = call->command;
    if (!is_known(command, call->server)) {
        say_unknown(args, call->out);
        return true;
    }
    if (!has_arity(command, args->n_args)) {
        say_arity(call);
        return true;
    }
    char text[ERROR_SIZE];
    const char *error = NULL;
    const char *redirection;
    if (!call->session->has_login && !(command->flags & SIM__NO_LOGIN))
        error = "NOAUTH Authentication required.";
    else if (is_outside_multi_only(call))
        error = say_outside_multi_only(call, text);
    else if ((redirection = sim__redirection(call, text)) != NULL)
        error = redirection;
    else if (call->server->primary != NULL && sim__is_write(command, call->session))
        error = "READONLY You can't write against a read only replica.";
    else if (call->session->channels.n_args > 0 && !is_for_subscribers(command))
        error = name_in_channels(call, text);
    else if (call->session->number == 0 && sim__is_postponed(call->session, args))
        error = "ERR writers have to wait";
    else if (call->session->number != 0)
        error = sim__take_refusal(call->world, command, call->session);
    if (error != NULL)
        say_refused(call, error);
    return error != NULL;
}

static void enter(sim__call *call, const sim__args *args, sim_how how, size_t begin)
{
    sim_entry *entry = sim__journal_add(call->world, call->session, args, how);
    sim__journal_finish(call->world, entry, since(call->out, begin));
}

static bool is_asking(const sim__command *command)
{
    return command != NULL && command->run == sim__run_asking;
}

void sim__session_command(sim__session *session, const sim__args *args, gavel__buffer *out)
{
    sim_world *world = session->server->world;
    size_t begin = out->size;
    sim__call call = {.world = world,
        .server = session->server,
        .session = session,
        .command = sim__command_find(args->args[0]),
        .args = args->args,
        .n_args = args->n_args,
        .out = out};
    world->counters.n_commands += session->number != 0;
    if (is_refused(&call, args)) {
        session->is_dirty_exec |= session->is_in_multi;
        enter(&call, args, SIM_REFUSED, begin);
    } else if (session->is_in_multi && !(call.command->flags & SIM__AT_ONCE)) {
        enqueue(session, args);
        sim__reply_status(out, "QUEUED");
        enter(&call, args, SIM_QUEUED, begin);
    } else {
        run(&call);
    }
    bool keeps_asking = session->is_in_multi || is_asking(call.command);
    session->is_asking = session->is_asking && keeps_asking;
    world->running_exec = 0;
    sim__end_write(session->server);
    sim__serve_blocked(session->server);
    sim__end_write(session->server);
    session->last_offset = session->server->replication->offset;
    if (out->has_failed)
        sim__fail(world, "no memory");
    sim__journal_call_hook(world);
}
