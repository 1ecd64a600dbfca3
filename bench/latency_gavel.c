/*
 * gavel's side of the latency benchmark: gavel_run on a blocking client, and gavel_submit on a
 * libev loop. See latency.h.
 */
#include "latency.h"

#include <gavel/gavel.h>

#include <ev.h>
#include <stdio.h>
#include <stdlib.h>

struct session;

/* A transaction in flight, and the share of the keys that it takes in turn. */
struct slot {
    struct session *session;
    size_t key; /* the index of its present key */
    gavel_bytes name;
    int64_t n_turns; /* through all of its keys, the present one among them */
    int64_t start_ns;
};

struct session {
    const latency_task *task;
    gavel_client *client;
    struct ev_loop *loop; /* NULL: blocking */
    struct slot *slots;
    uint64_t n_allocations;
    latency_tally *tally; /* while driven */
    int64_t end_ns;
    bool has_failed;
};

/* ---- The transaction ----------------------------------------------------------------------- */

static gavel_verdict increment(gavel_tx *tx, void *user)
{
    const struct slot *slot = user;
    int64_t value = 0;
    gavel_get_int(tx, slot->name, &value);
    gavel_set_int(tx, slot->name, value + 1);
    return GAVEL_COMMIT;
}

static gavel_verdict overwrite(gavel_tx *tx, void *user)
{
    const struct slot *slot = user;
    gavel_set_int(tx, slot->name, slot->n_turns);
    return GAVEL_COMMIT;
}

static void take_next_key(struct slot *slot)
{
    const latency_task *task = slot->session->task;
    slot->key += task->n_in_flight;
    if (slot->key >= task->n_keys) {
        slot->key %= task->n_in_flight;
        slot->n_turns++;
    }
    slot->name.data = task->keys[slot->key].name;
    slot->name.size = task->keys[slot->key].size;
}

static void settle(struct slot *slot, const gavel_outcome *outcome, int64_t now_ns)
{
    struct session *session = slot->session;
    session->tally->n_conflicts += outcome->n_conflicts;
    if (outcome->status == GAVEL_COMMITTED) {
        session->tally->n_commits++;
        measure_record(&session->tally->latencies, now_ns - slot->start_ns);
        return;
    }
    char text[GAVEL_OUTCOME_TEXT_SIZE];
    session->has_failed = true;
    fprintf(stderr, "gavel: %s\n", gavel_outcome_text(outcome, text, sizeof(text)));
}

/* ---- Sessions ------------------------------------------------------------------------------ */

static void *resize(void *user, void *memory, size_t size)
{
    struct session *session = user;
    if (size == 0) {
        free(memory);
        return NULL;
    }
    session->n_allocations++;
    return realloc(memory, size);
}

static void close_session(void *opaque)
{
    struct session *session = opaque;
    if (session == NULL)
        return;
    gavel_close(session->client);
    if (session->loop != NULL)
        ev_loop_destroy(session->loop);
    free(session->slots);
    free(session);
}

static bool open_client(struct session *session)
{
    const latency_task *task = session->task;
    gavel_config config = {
        .loop = session->loop,
        .has_no_markers = task->variant == LATENCY_NO_MARKER,
        .min_replicas = task->variant == LATENCY_REPLICATED ? 1 : 0,
        .allocator = {.resize = resize, .user = session},
    };
    gavel_error error;
    session->client = gavel_open(task->url, &config, &error);
    if (session->client == NULL)
        fprintf(stderr, "gavel: %s\n", error.message);
    return session->client != NULL;
}

static void *open_session(const latency_task *task, bool is_attached)
{
    struct session *session = calloc(1, sizeof(*session));
    struct slot *slots = calloc(task->n_in_flight, sizeof(*slots));
    if (session == NULL || slots == NULL) {
        free(session);
        free(slots);
        return NULL;
    }
    *session = (struct session){.task = task, .slots = slots};
    if (is_attached)
        session->loop = ev_loop_new(EVFLAG_AUTO);
    for (size_t i = 0; i < task->n_in_flight; i++)
        slots[i] = (struct slot){.session = session, .key = task->n_keys - task->n_in_flight + i};
    if ((session->loop != NULL || !is_attached) && open_client(session))
        return session;
    close_session(session);
    return NULL;
}

/* Adds what the client counted between two looks to the tally. */
static void add_stats(latency_tally *tally, const gavel_stats *before, const gavel_stats *after)
{
    tally->n_round_trips += after->n_round_trips - before->n_round_trips;
    tally->n_rounds += after->n_rounds - before->n_rounds;
    tally->n_marker_commands += after->n_marker_commands - before->n_marker_commands;
}

/* Drives by `run` and takes the counts around it. */
static bool drive(void *opaque, int64_t end_ns, latency_tally *tally, void (*run)(struct session *))
{
    struct session *session = opaque;
    uint64_t n_allocations = session->n_allocations;
    gavel_stats before;
    gavel_stats after;
    session->tally = tally;
    session->end_ns = end_ns;
    gavel_read_stats(session->client, &before);
    run(session);
    gavel_read_stats(session->client, &after);
    add_stats(tally, &before, &after);
    tally->n_allocations += session->n_allocations - n_allocations;
    session->tally = NULL;
    return !session->has_failed;
}

/* ---- Blocking ------------------------------------------------------------------------------ */

static void *open_blocking(const latency_task *task)
{
    return open_session(task, false);
}

static void run_blocking(struct session *session)
{
    struct slot *slot = &session->slots[0];
    gavel_read read = {0};
    bool is_blind = session->task->is_blind;
    gavel_transaction transaction = {.body = is_blind ? overwrite : increment,
        .user = slot,
        .reads = is_blind ? NULL : &read,
        .n_reads = !is_blind};
    slot->start_ns = measure_now_ns();
    while (slot->start_ns < session->end_ns && !session->has_failed) {
        take_next_key(slot);
        read.key = slot->name;
        gavel_outcome outcome = gavel_run(session->client, &transaction);
        int64_t now_ns = measure_now_ns();
        settle(slot, &outcome, now_ns);
        slot->start_ns = now_ns;
    }
}

static bool drive_blocking(void *session, int64_t end_ns, latency_tally *tally)
{
    return drive(session, end_ns, tally, run_blocking);
}

const latency_ops latency_gavel_blocking = {
    .open = open_blocking, .drive = drive_blocking, .close = close_session};

/* ---- Attached ------------------------------------------------------------------------------ */

static void *open_attached(const latency_task *task)
{
    return open_session(task, true);
}

static void submit(struct slot *slot, int64_t now_ns);

static void on_done(const gavel_outcome *outcome, void *user)
{
    struct slot *slot = user;
    int64_t now_ns = measure_now_ns();
    settle(slot, outcome, now_ns);
    if (now_ns < slot->session->end_ns && !slot->session->has_failed)
        submit(slot, now_ns);
}

static void submit(struct slot *slot, int64_t now_ns)
{
    take_next_key(slot);
    gavel_read read = {.key = slot->name};
    gavel_transaction transaction = {.body = increment, .user = slot, .reads = &read, .n_reads = 1};
    slot->start_ns = now_ns;
    if (gavel_submit(slot->session->client, &transaction, on_done) != 0)
        return;
    slot->session->has_failed = true;
    fprintf(stderr, "gavel: gavel_submit refused\n");
}

static void run_attached(struct session *session)
{
    int64_t now_ns = measure_now_ns();
    for (size_t i = 0; i < session->task->n_in_flight; i++)
        submit(&session->slots[i], now_ns);
    ev_run(session->loop, 0);
}

static bool drive_attached(void *session, int64_t end_ns, latency_tally *tally)
{
    return drive(session, end_ns, tally, run_attached);
}

const latency_ops latency_gavel_attached = {
    .open = open_attached, .drive = drive_attached, .close = close_session};
