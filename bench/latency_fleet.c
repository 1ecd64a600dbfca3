/*
 * The asynchronous rival of the latency benchmark: a state machine by hand on hiredis and its libev
 * adapter. A watch belongs to a connection, so every transaction in flight has one of its own.
 *
 *     WATCH, GET --on_watched, on_value--> MULTI, SET, EXEC --on_ok, on_queued, on_exec--> next
 *
 * The replicated variant sends WAIT behind EXEC, in the same write, and goes on when that is
 * answered; it is flushed, too.
 *
 * The flushed variant calls redisAsyncHandleWrite before the loop sleeps, which spares the two
 * changes of the epoll set and the turn of the loop that the adapter takes for each write. Not from
 * the callbacks: a write that fails frees the context. See latency.h.
 */
#include "latency.h"

#include <ev.h>
#include <adapters/libev.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct session;

struct member {
    struct session *session;
    redisAsyncContext *context; /* NULL once it is lost */
    size_t key;                 /* the index of its present key */
    int64_t start_ns;
};

struct session {
    const latency_task *task;
    struct ev_loop *loop;
    ev_prepare before_sleep;
    struct member *members;
    struct member **unflushed; /* has room for all */
    size_t n_unflushed;
    size_t n_busy;
    latency_tally *tally; /* while driven */
    int64_t end_ns;
    bool has_failed;
    bool is_closing; /* callbacks that come now mean nothing */
};

static void start(struct member *member);

/* ---- Commands and replies ------------------------------------------------------------------ */

static void fail(struct member *member, const char *where, const redisReply *reply)
{
    struct session *session = member->session;
    if (session->is_closing || session->has_failed)
        return;
    session->has_failed = true;
    fprintf(stderr, "fleet: %s: %s\n", where,
        reply != NULL && reply->str != NULL ? reply->str : member->context->errstr);
    ev_break(session->loop, EVBREAK_ALL);
}

static bool is_status(const redisReply *reply, const char *status)
{
    return reply != NULL && reply->type == REDIS_REPLY_STATUS && strcmp(reply->str, status) == 0;
}

static void flush_later(struct member *member)
{
    struct session *session = member->session;
    if (session->task->variant == LATENCY_FLUSHED || session->task->variant == LATENCY_REPLICATED)
        session->unflushed[session->n_unflushed++] = member;
}

static void on_before_sleep(struct ev_loop *loop, ev_prepare *watcher, int events)
{
    struct session *session = watcher->data;
    (void)loop;
    (void)events;
    for (size_t i = 0; i < session->n_unflushed; i++)
        if (session->unflushed[i]->context != NULL)
            redisAsyncHandleWrite(session->unflushed[i]->context);
    session->n_unflushed = 0;
}

/* Counts a commit, and goes on to the next key unless the time is over. */
static void settle(struct member *member, int64_t now_ns)
{
    struct session *session = member->session;
    session->tally->n_commits++;
    measure_record(&session->tally->latencies, now_ns - member->start_ns);
    if (now_ns >= session->end_ns) {
        if (--session->n_busy == 0)
            ev_break(session->loop, EVBREAK_ALL);
        return;
    }
    member->start_ns = now_ns;
    member->key += session->task->n_in_flight;
    if (member->key >= session->task->n_keys)
        member->key %= session->task->n_in_flight;
    start(member);
}

static void on_exec(redisAsyncContext *context, void *opaque, void *user)
{
    struct member *member = user;
    const redisReply *reply = opaque;
    (void)context;
    bool is_conflict = reply != NULL && reply->type == REDIS_REPLY_NIL;
    bool is_commit = reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements == 1 &&
                     is_status(reply->element[0], "OK");
    if (!is_conflict && !is_commit) {
        fail(member, "EXEC", reply);
        return;
    }
    member->session->tally->n_round_trips += 2;
    if (is_commit) {
        if (member->session->task->variant != LATENCY_REPLICATED)
            settle(member, measure_now_ns());
        return;
    }
    member->session->tally->n_conflicts++;
    start(member);
}

/* Nobody contends, so EXEC was made. */
static void on_waited(redisAsyncContext *context, void *opaque, void *user)
{
    const redisReply *reply = opaque;
    (void)context;
    if (reply != NULL && reply->type == REDIS_REPLY_INTEGER && reply->integer > 0)
        settle(user, measure_now_ns());
    else
        fail(user, "WAIT", reply);
}

static void on_ok(redisAsyncContext *context, void *reply, void *user)
{
    (void)context;
    if (!is_status(reply, "OK"))
        fail(user, "not OK", reply);
}

static void on_queued(redisAsyncContext *context, void *reply, void *user)
{
    (void)context;
    if (!is_status(reply, "QUEUED"))
        fail(user, "not QUEUED", reply);
}

static void commit(struct member *member, int64_t value)
{
    const bench_key *key = &member->session->task->keys[member->key];
    const char *multi[] = {"MULTI"};
    const size_t multi_sizes[] = {5};
    redisAsyncCommandArgv(member->context, on_ok, member, 1, multi, multi_sizes);
    char digits[24];
    int n_digits = snprintf(digits, sizeof(digits), "%" PRId64, value);
    const char *set[] = {"SET", key->name, digits};
    const size_t set_sizes[] = {3, key->size, (size_t)n_digits};
    redisAsyncCommandArgv(member->context, on_queued, member, 3, set, set_sizes);
    const char *exec[] = {"EXEC"};
    const size_t exec_sizes[] = {4};
    redisAsyncCommandArgv(member->context, on_exec, member, 1, exec, exec_sizes);
    if (member->session->task->variant == LATENCY_REPLICATED) {
        const char *wait[] = {"WAIT", "1", "1000"};
        const size_t wait_sizes[] = {4, 1, 4};
        redisAsyncCommandArgv(member->context, on_waited, member, 3, wait, wait_sizes);
    }
    flush_later(member);
}

static void on_value(redisAsyncContext *context, void *opaque, void *user)
{
    const redisReply *reply = opaque;
    (void)context;
    char *end = NULL;
    bool is_integer = reply != NULL && reply->type == REDIS_REPLY_STRING && reply->len > 0;
    int64_t value = is_integer ? strtoll(reply->str, &end, 10) : 0;
    if (is_integer && *end == '\0')
        commit(user, value + 1);
    else
        fail(user, "not an integer", reply);
}

static void start(struct member *member)
{
    const bench_key *key = &member->session->task->keys[member->key];
    const char *watch[] = {"WATCH", key->name};
    const size_t watch_sizes[] = {5, key->size};
    redisAsyncCommandArgv(member->context, on_ok, member, 2, watch, watch_sizes);
    const char *get[] = {"GET", key->name};
    const size_t get_sizes[] = {3, key->size};
    redisAsyncCommandArgv(member->context, on_value, member, 2, get, get_sizes);
    flush_later(member);
}

/* ---- Sessions ------------------------------------------------------------------------------ */

static void close_session(void *opaque)
{
    struct session *session = opaque;
    if (session == NULL)
        return;
    session->is_closing = true;
    for (size_t i = 0; session->members != NULL && i < session->task->n_in_flight; i++)
        if (session->members[i].context != NULL)
            redisAsyncFree(session->members[i].context);
    if (session->loop != NULL) {
        ev_prepare_stop(session->loop, &session->before_sleep);
        ev_loop_destroy(session->loop);
    }
    free(session->members);
    free(session->unflushed);
    free(session);
}

/* hiredis frees the context itself when the connection is lost, or never came up. */
static void on_lost(const redisAsyncContext *context, int status)
{
    struct member *member = context->data;
    (void)status;
    fail(member, "lost", NULL);
    member->context = NULL;
}

static void on_connected(const redisAsyncContext *context, int status)
{
    if (status != REDIS_OK)
        on_lost(context, status);
}

static bool open_member(struct session *session, size_t i)
{
    struct member *member = &session->members[i];
    *member = (struct member){.session = session, .key = i};
    member->context = server_connect_async(session->task->url);
    if (member->context == NULL || redisLibevAttach(session->loop, member->context) != REDIS_OK)
        return false;
    member->context->data = member;
    return redisAsyncSetConnectCallback(member->context, on_connected) == REDIS_OK &&
           redisAsyncSetDisconnectCallback(member->context, on_lost) == REDIS_OK;
}

static void *open_session(const latency_task *task)
{
    struct session *session = calloc(1, sizeof(*session));
    if (session == NULL)
        return NULL;
    session->task = task;
    session->loop = ev_loop_new(EVFLAG_AUTO);
    session->members = calloc(task->n_in_flight, sizeof(*session->members));
    session->unflushed = calloc(task->n_in_flight, sizeof(*session->unflushed));
    bool is_open = session->loop != NULL && session->members != NULL && session->unflushed != NULL;
    if (session->loop != NULL) {
        ev_prepare_init(&session->before_sleep, on_before_sleep);
        session->before_sleep.data = session;
        ev_prepare_start(session->loop, &session->before_sleep);
    }
    for (size_t i = 0; is_open && i < task->n_in_flight; i++)
        is_open = open_member(session, i);
    if (is_open)
        return session;
    close_session(session);
    return NULL;
}

static bool drive(void *opaque, int64_t end_ns, latency_tally *tally)
{
    struct session *session = opaque;
    session->tally = tally;
    session->end_ns = end_ns;
    session->n_busy = session->task->n_in_flight;
    for (size_t i = 0; i < session->task->n_in_flight; i++) {
        session->members[i].start_ns = measure_now_ns();
        start(&session->members[i]);
    }
    ev_run(session->loop, 0);
    return !session->has_failed;
}

const latency_ops latency_fleet = {.open = open_session, .drive = drive, .close = close_session};
