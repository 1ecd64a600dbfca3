/*
 * Waiting for a list, or for replicas: BLPOP, and how a client that waits is served, times out, is
 * let go, or is forgotten; WAIT itself is in sim_wait.c. For the server and the network, which ask
 * here. Source: Redis 7.0 and 8.0, blocked.c, timeout.c, and blockingPopGenericCommand in t_list.c.
 *
 *     SIM__RUNNING --BLPOP of nothing--> SIM__BLOCKED --answered--> SIM__UNBLOCKED --> SIM__RUNNING
 *
 * A client is answered right behind the command or EXEC that pushed. What it has sent behind its
 * BLPOP is run later, when the server is through with all clients that it had found ready together
 * with the pushing one.
 */
#include "sim_cluster.h"
#include "sim_commands.h"

#include "base/text.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FLOAT_SIZE 64

/* An idle server looks for those whose time is over no more often than this (hz 10). */
#define CRON_US (100 * SIM_MILLISECOND)

/* A longer time-out than this is for ever. */
#define LONGEST_MS (INT64_MAX / 4000)

/* ---- Who waits ----------------------------------------------------------------------------- */

static bool waits_for(const sim__session *session, int db, gavel_bytes name)
{
    if (session->wait != SIM__BLOCKED || session->db != db || session->wanted.is_set)
        return false;
    for (size_t i = 1; i + 1 < session->waiting.n_args; i++) {
        if (gavel__bytes_equal(session->waiting.args[i], name))
            return true;
    }
    return false;
}

static sim__session *longest_waiting_for(const sim__server *server, int db, gavel_bytes name)
{
    sim__session *found = NULL;
    for (gavel__list *node = server->sessions.next; node != &server->sessions; node = node->next) {
        sim__session *session = GAVEL__CONTAINER(node, sim__session, node);
        if (waits_for(session, db, name) &&
            (found == NULL || session->wait_order < found->wait_order))
            found = session;
    }
    return found;
}

size_t sim_n_blocked(const sim_world *world)
{
    size_t n = 0;
    const sim__server *server = world->meant;
    for (gavel__list *node = server->sessions.next; node != &server->sessions; node = node->next)
        n += GAVEL__CONTAINER(node, sim__session, node)->wait == SIM__BLOCKED;
    return n;
}

bool sim_is_blocked(const sim_world *world, uint64_t connection)
{
    if (connection == 0 || connection > world->n_connections)
        sim__fail(world, "a connection is meant that is not there");
    const sim__session *session = world->connections[connection - 1]->session;
    return session != NULL && session->wait == SIM__BLOCKED;
}

void sim__forget_wait(sim__session *session)
{
    sim__args_free(&session->waiting);
    session->wait = SIM__RUNNING;
    session->wanted = (sim__wanted){0};
}

/* ---- Going on ------------------------------------------------------------------------------ */

static sim__session *first_unblocked(const sim__server *server)
{
    sim__session *found = NULL;
    for (gavel__list *node = server->sessions.next; node != &server->sessions; node = node->next) {
        sim__session *session = GAVEL__CONTAINER(node, sim__session, node);
        if (session->wait == SIM__UNBLOCKED &&
            (found == NULL || session->wait_order < found->wait_order))
            found = session;
    }
    return found;
}

/* The server has dealt with all clients that were ready: those let go meanwhile go on, in order. */
static void end_iteration(sim_world *world, void *subject)
{
    sim__server *server = subject;
    sim__session *session;
    while (!sim__is_silent(server) && (session = first_unblocked(server)) != NULL)
        sim__network_serve(session);
    server->is_iteration_ending = first_unblocked(server) != NULL;
    if (server->is_iteration_ending)
        sim__schedule(world, server->silent_until_us, end_iteration, server);
}

void sim__take_answer(sim__session *session, gavel__buffer *out)
{
    if (session->wait != SIM__UNBLOCKED)
        return;
    gavel__buffer_append(out, (gavel_bytes){session->answer.data, session->answer.size});
    gavel__buffer_clear(&session->answer);
    session->wait = SIM__RUNNING;
}

/* ---- Answering ----------------------------------------------------------------------------- */

static void enter_answer(sim_world *world, const sim__session *session, bool is_change)
{
    uint64_t running_exec = world->running_exec;
    world->running_exec = 0; /* An EXEC may let the client go (CLIENT UNBLOCK), but did not ask. */
    sim_entry *entry = sim__journal_add(world, session, &session->waiting, SIM_RAN);
    world->running_exec = running_exec;
    entry->is_change = is_change;
    sim__journal_finish(world, entry, (gavel_bytes){session->answer.data, session->answer.size});
}

/* The answer is in its buffer. */
static void let_go(sim__session *session, bool is_change)
{
    sim__server *server = session->server;
    sim_world *world = server->world;
    if (session->answer.has_failed)
        sim__fail(world, "no memory");
    enter_answer(world, session, is_change);
    sim__forget_wait(session);
    session->wait = SIM__UNBLOCKED;
    session->wait_order = ++world->n_waits;
    if (server->is_iteration_ending)
        return;
    server->is_iteration_ending = true;
    sim__schedule(world, world->now_us + sim__draw_iteration(world), end_iteration, server);
}

void sim__unblock(sim__session *session, bool is_error)
{
    if (is_error)
        sim__reply_error(&session->answer, "UNBLOCKED client unblocked via CLIENT UNBLOCK");
    else if (session->wanted.is_set)
        sim__say_wanted(session, &session->answer);
    else
        sim__reply_nil_array(&session->answer);
    let_go(session, false);
}

/* The key whose element the client gets, or that it fails for: the list that has come to be; from
 * 7.2 on, where its command is run again, the first of its keys that is there. */
static sim__key *key_for(const sim__session *session, sim__key *ready)
{
    if (!sim__is_at_least(session->server->world, 7, 2))
        return ready;
    for (size_t i = 1; i + 1 < session->waiting.n_args; i++) {
        sim__key *key = sim__find(session->server, session->db, session->waiting.args[i]);
        if (key != NULL)
            return key;
    }
    return ready;
}

/* Takes the element for the client. This is no touch: the push has been one. */
static void serve(sim__session *session, sim__key *ready)
{
    sim_counters *counters = &session->server->world->counters;
    sim__key *key = key_for(session, ready);
    if (key->type != SIM__LIST) {
        sim__reply_error(&session->answer, SIM__WRONGTYPE);
        let_go(session, false);
        return;
    }
    counters->n_served++;
    counters->n_served_late += sim__is_client_gone(session);
    sim__reply_array(&session->answer, 2);
    sim__reply_bulk(&session->answer, key->name);
    sim__record_removal(session->server, "LPOP", session->db, key->name);
    sim__reply_popped(session->server, key, &session->answer);
    let_go(session, true);
}

/* ---- Replicas ------------------------------------------------------------------------------ */

void sim__serve_waiting(sim__server *server)
{
    for (gavel__list *node = server->sessions.next; node != &server->sessions; node = node->next) {
        sim__session *session = GAVEL__CONTAINER(node, sim__session, node);
        if (session->wait != SIM__BLOCKED || !session->wanted.is_set || !sim__has_wanted(session))
            continue;
        sim__say_wanted(session, &session->answer);
        let_go(session, false);
    }
    sim__journal_call_hook(server->world);
}

void sim__redirect_waiting(sim__server *server)
{
    char text[SIM__REDIRECTION_SIZE];
    for (gavel__list *node = server->sessions.next; node != &server->sessions; node = node->next) {
        sim__session *session = GAVEL__CONTAINER(node, sim__session, node);
        if (session->wait != SIM__BLOCKED || session->wanted.is_set)
            continue;
        const char *error = sim__redirection_of_waiting(session, text);
        if (error == NULL)
            continue;
        sim__reply_error(&session->answer, "%s", error);
        let_go(session, false);
    }
    sim__journal_call_hook(server->world);
}

void sim__end_waits(sim__server *server)
{
    if (server->node != NULL && server->world->is_valkey) {
        sim__redirect_waiting(server);
        return;
    }
    for (gavel__list *node = server->sessions.next; node != &server->sessions; node = node->next) {
        sim__session *session = GAVEL__CONTAINER(node, sim__session, node);
        if (session->wait != SIM__BLOCKED)
            continue;
        sim__reply_error(&session->answer,
            "UNBLOCKED force unblock from blocking operation, instance state changed (master -> "
            "replica?)");
        let_go(session, false);
        session->wants_close = true;
    }
    sim__journal_call_hook(server->world);
}

/* ---- Lists that have come to be ------------------------------------------------------------ */

void sim__note_list(sim__server *server, int db, gavel_bytes name)
{
    for (size_t i = 0; i < server->n_ready; i++) {
        if (server->ready[i].db == db && gavel__bytes_equal(server->ready[i].name, name))
            return;
    }
    server->ready = sim__resize(server->ready, server->n_ready + 1, sizeof(sim__ready));
    server->ready[server->n_ready++] = (sim__ready){db, sim__copy(name)};
}

static void serve_all(sim__server *server, const sim__ready *ready)
{
    sim__session *session;
    while ((session = longest_waiting_for(server, ready->db, ready->name)) != NULL) {
        sim__key *key = sim__find(server, ready->db, ready->name);
        if (key == NULL || key->type != SIM__LIST)
            return;
        serve(session, key);
    }
}

void sim__serve_blocked(sim__server *server)
{
    for (size_t i = 0; i < server->n_ready; i++) {
        serve_all(server, &server->ready[i]);
        sim__free_bytes(server->ready[i].name);
    }
    free(server->ready);
    server->ready = NULL;
    server->n_ready = 0;
}

/* ---- Time-outs ----------------------------------------------------------------------------- */

static bool is_earlier(const sim__session *a, const sim__session *b)
{
    return a->wait_until_ms != b->wait_until_ms ? a->wait_until_ms < b->wait_until_ms
                                                : a->number < b->number;
}

static sim__session *first_overdue(const sim__server *server)
{
    sim__session *found = NULL;
    for (gavel__list *node = server->sessions.next; node != &server->sessions; node = node->next) {
        sim__session *session = GAVEL__CONTAINER(node, sim__session, node);
        if (session->wait == SIM__BLOCKED && session->wait_until_ms < sim__now_ms(server) &&
            (found == NULL || is_earlier(session, found)))
            found = session;
    }
    return found;
}

static void end_overdue(sim_world *world, void *subject)
{
    sim__server *server = subject;
    if (sim__is_silent(server)) {
        sim__schedule(world, server->silent_until_us, end_overdue, server);
        return;
    }
    sim__session *session;
    while ((session = first_overdue(server)) != NULL)
        sim__unblock(session, false);
    sim__journal_call_hook(world);
}

/* Between a millisecond behind the time and the next look of an idle server. */
static void schedule_end(sim__server *server, int64_t until_ms)
{
    sim_world *world = server->world;
    int64_t due_us = (until_ms + 1 - SIM__EPOCH_MS) * 1000;
    sim__schedule(world, due_us + sim__between(&world->network, 0, CRON_US), end_overdue, server);
}

/* ---- BLPOP --------------------------------------------------------------------------------- */

static bool parse_seconds(gavel_bytes text, long double *ret_seconds)
{
    char copy[FLOAT_SIZE];
    if (text.size == 0 || text.size >= sizeof copy || isspace((unsigned char)text.data[0]))
        return false;
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    char *end;
    long double seconds = strtold(copy, &end);
    if (end != copy + text.size || isnan(seconds))
        return false;
    *ret_seconds = seconds;
    return true;
}

/* What is far too long was called negative, at first. */
static const char *fault_of(const sim_world *world, long double ms)
{
    if (ms >= 0x1p63L && sim__is_at_least(world, 7, 2))
        return "ERR timeout is out of range";
    return ms < 0 || ms >= 0x1p63L ? "ERR timeout is negative" : NULL;
}

/* SIM__NO_EXPIRY: for ever. */
static bool take_timeout(sim__call *call, int64_t *ret_until_ms)
{
    long double seconds;
    if (!parse_seconds(call->args[call->n_args - 1], &seconds)) {
        sim__reply_error(call->out, "ERR timeout is not a float or out of range");
        return false;
    }
    long double ms = ceill(seconds * 1000);
    const char *fault = fault_of(call->world, ms);
    if (fault != NULL) {
        sim__reply_error(call->out, "%s", fault);
        return false;
    }
    bool is_for_ever = ms == 0 || ms > (long double)LONGEST_MS;
    *ret_until_ms = is_for_ever ? SIM__NO_EXPIRY : sim__now_ms(call->server) + (int64_t)ms;
    return true;
}

void sim__block(sim__call *call, int64_t until_ms)
{
    sim__session *session = call->session;
    sim__args command = {(gavel_bytes *)(uintptr_t)call->args, call->n_args};
    session->wait = SIM__BLOCKED;
    session->wait_order = ++call->world->n_waits;
    session->wait_until_ms = until_ms;
    session->waiting = sim__args_copy(&command);
    if (until_ms != SIM__NO_EXPIRY)
        schedule_end(call->server, until_ms);
}

void sim__run_blpop(sim__call *call)
{
    int64_t until_ms;
    if (!take_timeout(call, &until_ms))
        return;
    for (size_t i = 1; i + 1 < call->n_args; i++) {
        sim__key *key;
        if (!sim__find_typed(call, call->args[i], SIM__LIST, &key))
            return;
        if (key == NULL)
            continue;
        sim__reply_array(call->out, 2);
        sim__reply_bulk(call->out, call->args[i]);
        sim__reply_popped(call->server, key, call->out);
        sim__touch_arg(call, i);
        return;
    }
    bool may_block = call->session->number != 0 && call->world->running_exec == 0;
    if (may_block)
        sim__block(call, until_ms);
    else
        sim__reply_nil_array(call->out);
}
