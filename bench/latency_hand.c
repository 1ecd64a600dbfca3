/*
 * The blocking rival of the latency benchmark: the transaction by hand on hiredis, in two round
 * trips, every reply checked; a blind one is a single round trip of MULTI, SET, EXEC. With a
 * timeout, a server that falls silent is given up, as any program in earnest would. With a marker,
 * it also watches a key of the connection's own, which was given a time to live beforehand, and
 * counts it up in EXEC, as gavel does; before a blind one, behind the EXEC of the one before. See
 * latency.h.
 */
#include "latency.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char marker_name[] = "bench:marker";

struct session {
    const latency_task *task;
    redisContext *context;
    bool has_marker;
    int64_t round; /* the marker's value */
    size_t key;
    int64_t n_turns;      /* through all keys, the present one among them */
    latency_tally *tally; /* while driven */
};

enum result { COMMITTED, CONFLICT, FAILED };

/* ---- Replies ------------------------------------------------------------------------------- */

/* The next reply; NULL, and a complaint, when the connection broke. For freeReplyObject. */
static redisReply *next_reply(struct session *session)
{
    void *reply = NULL;
    if (redisGetReply(session->context, &reply) == REDIS_OK)
        return reply;
    fprintf(stderr, "hand: %s\n", session->context->errstr);
    return NULL;
}

static bool is_status(const redisReply *reply, const char *status)
{
    return reply->type == REDIS_REPLY_STATUS && strcmp(reply->str, status) == 0;
}

static bool expect_status(struct session *session, const char *status)
{
    redisReply *reply = next_reply(session);
    if (reply == NULL)
        return false;
    bool is_expected = is_status(reply, status);
    if (!is_expected)
        fprintf(stderr, "hand: not %s: %s\n", status, reply->str != NULL ? reply->str : "");
    freeReplyObject(reply);
    return is_expected;
}

static bool expect_integer(struct session *session, int64_t *ret_value)
{
    redisReply *reply = next_reply(session);
    if (reply == NULL)
        return false;
    char *end = NULL;
    bool is_good = reply->type == REDIS_REPLY_STRING && reply->len > 0;
    int64_t value = is_good ? strtoll(reply->str, &end, 10) : 0;
    is_good = is_good && *end == '\0';
    if (is_good)
        *ret_value = value;
    else
        fprintf(stderr, "hand: not an integer: %s\n", reply->str != NULL ? reply->str : "");
    freeReplyObject(reply);
    return is_good;
}

static bool is_integer(const redisReply *reply, int64_t value)
{
    return reply->type == REDIS_REPLY_INTEGER && reply->integer == value;
}

static enum result judge_exec(struct session *session, const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_NIL)
        return CONFLICT;
    bool is_good = reply->type == REDIS_REPLY_ARRAY &&
                   reply->elements == (session->has_marker ? 2 : 1) &&
                   is_status(reply->element[0], "OK");
    if (is_good && session->has_marker)
        is_good = is_integer(reply->element[1], ++session->round);
    if (is_good)
        return COMMITTED;
    fprintf(stderr, "hand: EXEC failed: %s\n", reply->str != NULL ? reply->str : "");
    return FAILED;
}

/* ---- The transaction ----------------------------------------------------------------------- */

static void append_read(struct session *session, const bench_key *key)
{
    const char *watch[] = {"WATCH", key->name, marker_name};
    const size_t watch_sizes[] = {5, key->size, sizeof(marker_name) - 1};
    redisAppendCommandArgv(session->context, session->has_marker ? 3 : 2, watch, watch_sizes);
    const char *get[] = {"GET", key->name};
    const size_t get_sizes[] = {3, key->size};
    redisAppendCommandArgv(session->context, 2, get, get_sizes);
}

static void append_watch_of_marker(struct session *session)
{
    const char *watch[] = {"WATCH", marker_name};
    const size_t sizes[] = {5, sizeof(marker_name) - 1};
    redisAppendCommandArgv(session->context, 2, watch, sizes);
}

static void append_marker(struct session *session)
{
    const char *incr[] = {"INCR", marker_name};
    const size_t sizes[] = {4, sizeof(marker_name) - 1};
    redisAppendCommandArgv(session->context, 2, incr, sizes);
}

static void append_commit(struct session *session, const bench_key *key, int64_t value)
{
    const char *multi[] = {"MULTI"};
    const size_t multi_sizes[] = {5};
    redisAppendCommandArgv(session->context, 1, multi, multi_sizes);
    char digits[24];
    int n_digits = snprintf(digits, sizeof(digits), "%" PRId64, value);
    const char *set[] = {"SET", key->name, digits};
    const size_t set_sizes[] = {3, key->size, (size_t)n_digits};
    redisAppendCommandArgv(session->context, 3, set, set_sizes);
    if (session->has_marker)
        append_marker(session);
    const char *exec[] = {"EXEC"};
    const size_t exec_sizes[] = {4};
    redisAppendCommandArgv(session->context, 1, exec, exec_sizes);
}

static enum result await_commit(struct session *session)
{
    size_t n_writes = session->has_marker ? 2 : 1;
    if (!expect_status(session, "OK"))
        return FAILED;
    for (size_t i = 0; i < n_writes; i++)
        if (!expect_status(session, "QUEUED"))
            return FAILED;
    redisReply *reply = next_reply(session);
    enum result result = reply != NULL ? judge_exec(session, reply) : FAILED;
    if (reply != NULL)
        freeReplyObject(reply);
    session->tally->n_round_trips++;
    return result;
}

static enum result increment(struct session *session, const bench_key *key)
{
    int64_t value;
    append_read(session, key);
    if (!expect_status(session, "OK") || !expect_integer(session, &value))
        return FAILED;
    session->tally->n_round_trips++;
    append_commit(session, key, value + 1);
    return await_commit(session);
}

static enum result overwrite(struct session *session, const bench_key *key)
{
    append_commit(session, key, session->n_turns);
    if (!session->has_marker)
        return await_commit(session);
    append_watch_of_marker(session);
    enum result result = await_commit(session);
    return result == FAILED || expect_status(session, "OK") ? result : FAILED;
}

/* ---- Sessions ------------------------------------------------------------------------------ */

static void close_session(void *opaque)
{
    struct session *session = opaque;
    if (session == NULL)
        return;
    if (session->context != NULL)
        redisFree(session->context);
    free(session);
}

static bool plant_marker(struct session *session)
{
    redisAppendCommand(session->context, "SET %s 0 PX %d", marker_name, LATENCY_MARKER_TTL_MS);
    return expect_status(session, "OK");
}

static bool prepare(struct session *session)
{
    const struct timeval timeout = {.tv_sec = LATENCY_REPLY_TIMEOUT_S};
    if (session->task->variant != LATENCY_PLAIN &&
        redisSetTimeout(session->context, timeout) != REDIS_OK)
        return false;
    if (!session->has_marker)
        return true;
    if (!plant_marker(session))
        return false;
    append_watch_of_marker(session);
    return expect_status(session, "OK");
}

static void *open_session(const latency_task *task)
{
    struct session *session = calloc(1, sizeof(*session));
    if (session == NULL)
        return NULL;
    session->task = task;
    session->key = task->n_keys - 1;
    session->has_marker = task->variant == LATENCY_WITH_MARKER;
    session->context = server_connect(task->url);
    if (session->context != NULL && prepare(session))
        return session;
    close_session(session);
    return NULL;
}

static const bench_key *take_next_key(struct session *session)
{
    session->key++;
    if (session->key >= session->task->n_keys) {
        session->key = 0;
        session->n_turns++;
    }
    return &session->task->keys[session->key];
}

static bool drive(void *opaque, int64_t end_ns, latency_tally *tally)
{
    struct session *session = opaque;
    session->tally = tally;
    enum result (*attempt)(struct session *, const bench_key *) =
        session->task->is_blind ? overwrite : increment;
    int64_t start_ns = measure_now_ns();
    while (start_ns < end_ns) {
        const bench_key *key = take_next_key(session);
        enum result result = attempt(session, key);
        for (; result == CONFLICT; result = attempt(session, key))
            tally->n_conflicts++;
        if (result == FAILED)
            return false;
        int64_t now_ns = measure_now_ns();
        tally->n_commits++;
        measure_record(&tally->latencies, now_ns - start_ns);
        start_ns = now_ns;
    }
    return true;
}

const latency_ops latency_hand = {.open = open_session, .drive = drive, .close = close_session};
