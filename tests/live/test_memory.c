/*
 * Memory that runs out: the n-th allocation fails, for n = 0, 1, 2 and so on until a run needs no
 * more; in one sweep once, in another one from there on for good. However early or late that is:
 * no crash, no leak, an outcome for everybody that agrees with what the server holds, and a client
 * that works when there is memory again.
 */
#include "counter.h"
#include "relay.h"
#include "tools.h"

#include <criterion/criterion.h>

#include <ev.h>
#include <stdlib.h>

/* ---- The allocator ------------------------------------------------------------------------- */

typedef struct faulty_memory {
    size_t n_left;    /* allocations before the one that fails */
    bool is_for_good; /* those after it fail, too */
    bool has_failed;
    bool is_back; /* nothing fails any more */
    size_t n_blocks;
    size_t n_calls;
} faulty_memory;

static bool must_fail(faulty_memory *self)
{
    if (self->is_back || (self->has_failed && !self->is_for_good))
        return false;
    if (self->n_left > 0) {
        self->n_left--;
        return false;
    }
    self->has_failed = true;
    return true;
}

static void *resize(void *user, void *block, size_t size)
{
    faulty_memory *self = user;
    self->n_calls++;
    if (size == 0) {
        self->n_blocks -= block != NULL;
        free(block);
        return NULL;
    }
    if (must_fail(self))
        return NULL;
    self->n_blocks += block == NULL;
    return realloc(block, size);
}

/* ---- Sweeping ------------------------------------------------------------------------------ */

typedef struct memory_scene {
    test_server *server;
    faulty_memory memory;
    bool has_no_markers;
} memory_scene;

/* What the callers were told. */
typedef struct memory_tally {
    int n_told;
    int n_committed;
    int n_unknown;
    int n_late;
} memory_tally;

/* Plays once: from gavel_open to gavel_close. */
typedef void play(memory_scene *scene);

static gavel_client *open_client(memory_scene *scene, const char *url, struct ev_loop *loop)
{
    gavel_config config = {.loop = loop,
        .allocator = {resize, &scene->memory},
        .name = "memory",
        .connect_timeout_ms = 60000,
        .command_timeout_ms = 60000,
        .has_no_markers = scene->has_no_markers};
    gavel_error error = {{0}};
    gavel_client *client = gavel_open(url, &config, &error);
    if (client == NULL) {
        cr_expect(scene->memory.has_failed, "%s", error.message);
        cr_expect_neq(error.message[0], '\0');
    }
    return client;
}

/* Where memory is gone for good, some runs wait for all the time there is; with memory enough, that
 * may be too little on a busy machine. */
static gavel_transaction with_patience(const memory_scene *scene)
{
    uint32_t deadline_ms = scene->memory.is_for_good ? 250 : 10000;
    return (gavel_transaction){.deadline_ms = deadline_ms, .max_faults = 2};
}

static void note(memory_tally *tally, const gavel_outcome *outcome)
{
    cr_expect(outcome->status == GAVEL_COMMITTED || outcome->status == GAVEL_NOT_SENT ||
                  outcome->status == GAVEL_DEADLINE || outcome->status == GAVEL_UNKNOWN,
        "%s: %s", gavel_status_name(outcome->status), outcome->message);
    tally->n_told++;
    tally->n_committed += outcome->status == GAVEL_COMMITTED;
    tally->n_unknown += outcome->status == GAVEL_UNKNOWN;
    tally->n_late += outcome->status == GAVEL_DEADLINE;
}

/* Closes, and compares; `base` is what others have put in the counter. */
static void end(
    memory_scene *scene, gavel_client *client, const memory_tally *tally, long long base)
{
    gavel_close(client);
    live_await_no_links(scene->server, "memory");
    long long n_made = counter_value(scene->server) - base;
    cr_expect_geq(n_made, tally->n_committed, "a commit that was not made");
    cr_expect_leq(n_made, tally->n_committed + tally->n_unknown, "a commit that was denied");
    if (scene->memory.is_for_good)
        return;
    if (!scene->memory.has_failed)
        cr_expect_eq(tally->n_committed, tally->n_told, "with memory enough all commit");
    cr_expect_eq(tally->n_late, 0, "one failure has cost all the time there was");
}

/* A client whose memory is back commits. */
static void expect_usable(memory_scene *scene, gavel_client *client, memory_tally *tally)
{
    scene->memory.is_back = true;
    gavel_outcome outcome = counter_run(client, NULL, (gavel_transaction){.deadline_ms = 20000});
    cr_expect_eq(outcome.status, GAVEL_COMMITTED, "%s", outcome.message);
    note(tally, &outcome);
}

static void sweep(play *play_once)
{
    memory_scene scene = {.server = server_start(NULL)};
    for (int is_for_good = 0; is_for_good < 2; is_for_good++) {
        bool was_enough = false;
        for (size_t n = 0; !was_enough; n++) {
            cr_assert_lt(n, 1000, "there is no end to it");
            server_do(scene.server, "FLUSHALL", NULL);
            scene.memory = (faulty_memory){.n_left = n, .is_for_good = is_for_good};
            play_once(&scene);
            was_enough = !scene.memory.has_failed;
            cr_assert_eq(scene.memory.n_blocks, 0, "%d blocks leaked, allocation %d failed",
                (int)scene.memory.n_blocks, (int)n);
        }
    }
    server_stop(scene.server);
}

/* ---- A blocking client --------------------------------------------------------------------- */

static void check_replies(const memory_scene *scene, const gavel_outcome *outcome)
{
    if (outcome->n_replies == 0) {
        cr_expect(scene->memory.has_failed, "no replies were kept");
        cr_expect_null(outcome->replies);
        return;
    }
    cr_expect_eq(outcome->n_replies, 1);
    cr_expect_eq(outcome->replies[0].type, GAVEL_REPLY_STATUS);
    cr_expect_eq(outcome->status, GAVEL_COMMITTED);
}

/* The id tells, once there is memory again, what became of the first submission. */
static void commit_with_id(memory_scene *scene)
{
    gavel_client *client = open_client(scene, server_url(scene->server), NULL);
    if (client == NULL)
        return;
    memory_tally tally = {0};
    gavel_transaction transaction = with_patience(scene);
    transaction.id = GAVEL_STR("payment 7");
    transaction.keep_replies = true;
    live_counter counter = {.result = "paid"};
    gavel_outcome outcome = counter_run(client, &counter, transaction);
    note(&tally, &outcome);
    if (outcome.status == GAVEL_COMMITTED)
        check_replies(scene, &outcome);
    gavel_outcome_clear(&outcome);

    scene->memory.is_back = true;
    transaction.deadline_ms = 20000;
    gavel_outcome again = counter_run(client, &counter, transaction);
    cr_expect_eq(again.status, GAVEL_COMMITTED, "%s", again.message);
    cr_expect(again.is_duplicate || outcome.status != GAVEL_COMMITTED, "committed twice");
    cr_expect(
        !again.is_duplicate || outcome.status == GAVEL_COMMITTED || outcome.status == GAVEL_UNKNOWN,
        "%s, and yet it was committed", gavel_status_name(outcome.status));
    cr_expect_eq(again.result_size, 4);
    gavel_outcome_clear(&again);
    cr_expect_eq(counter_value(scene->server), 1);
    if (!again.is_duplicate)
        note(&tally, &again);
    end(scene, client, &tally, 0);
}

Test(memory, fails_in_a_commit_with_id_and_replies, .timeout = 120)
{
    sweep(commit_with_id);
}

/* Longer than what buffers keep, so that the commands of the commit find none. */
static gavel_bytes long_key(void)
{
    static char name[70000];
    memset(name, 'k', sizeof(name));
    return (gavel_bytes){name, sizeof(name)};
}

/* Without markers, UNKNOWN is for what was sent: on this server, that is what was made. */
static void commit_a_lot(memory_scene *scene)
{
    scene->has_no_markers = true;
    gavel_client *client = open_client(scene, server_url(scene->server), NULL);
    if (client == NULL)
        return;
    memory_tally tally = {0};
    gavel_bytes key = long_key();
    gavel_transaction transaction = with_patience(scene);
    transaction.keys = &key;
    transaction.n_keys = 1;
    gavel_outcome outcome = counter_run(client, NULL, transaction);
    note(&tally, &outcome);
    if (outcome.status == GAVEL_UNKNOWN)
        cr_expect_eq(counter_value(scene->server), 1, "%s", outcome.message);
    expect_usable(scene, client, &tally);
    end(scene, client, &tally, 0);
}

Test(memory, fails_in_a_commit_without_markers, .timeout = 120)
{
    sweep(commit_a_lot);
}

static void write_ten(void *server)
{
    server_do(server, "SET", "counter", "10", NULL);
}

static void meet_a_conflict(memory_scene *scene)
{
    gavel_client *client = open_client(scene, server_url(scene->server), NULL);
    if (client == NULL)
        return;
    memory_tally tally = {0};
    live_counter counter = {.meddle = write_ten, .context = scene->server};
    gavel_outcome outcome = counter_run(client, &counter, with_patience(scene));
    note(&tally, &outcome);
    if (!scene->memory.has_failed && !scene->memory.is_for_good)
        cr_expect_eq(outcome.n_conflicts, 1);
    expect_usable(scene, client, &tally);
    end(scene, client, &tally, counter.n_runs > 0 ? 10 : 0);
}

Test(memory, fails_in_a_conflict_and_its_retry, .timeout = 120)
{
    sweep(meet_a_conflict);
}

/* Reads what was not declared, and writes in all the ways there are. */
static gavel_verdict use_everything(gavel_tx *tx, void *user)
{
    gavel_bytes value;
    const gavel_reply *reply;
    gavel_bytes range[] = {GAVEL_STR("LRANGE"), GAVEL_STR("list"), GAVEL_STR("0"), GAVEL_STR("-1")};
    gavel_get(tx, GAVEL_STR("string"), &value);
    gavel_hget(tx, GAVEL_STR("hash"), GAVEL_STR("field"), &value);
    gavel_query(tx, &(gavel_command){.args = range, .n_args = 4}, &reply);
    gavel_set(tx, GAVEL_STR("string"), GAVEL_STR("written"));
    gavel_get(tx, GAVEL_STR("string"), &value);
    gavel_hset_int(tx, GAVEL_STR("hash"), GAVEL_STR("field"), 1);
    gavel_hdel(tx, GAVEL_STR("hash"), GAVEL_STR("field"));
    gavel_del(tx, GAVEL_STR("hash"));
    gavel_write(tx, &GAVEL_COMMAND(GAVEL_STR("RPUSH"), GAVEL_STR("list"), GAVEL_STR("x")));
    return counter_add(tx, user);
}

static void commit_everything(memory_scene *scene)
{
    gavel_client *client = open_client(scene, server_url(scene->server), NULL);
    if (client == NULL)
        return;
    memory_tally tally = {0};
    live_counter counter = {.result = "all"};
    gavel_transaction transaction = with_patience(scene);
    transaction.body = use_everything;
    transaction.user = &counter;
    transaction.keys = &(gavel_bytes){"string", 6};
    transaction.n_keys = 1;
    transaction.reads = &(gavel_read){.key = {"hash", 4}, .field = {"other", 5}};
    transaction.n_reads = 1;
    gavel_outcome outcome = gavel_run(client, &transaction);
    note(&tally, &outcome);
    if (outcome.status == GAVEL_COMMITTED)
        cr_expect(server_says(scene->server, "written", "GET", "string", NULL));
    expect_usable(scene, client, &tally);
    end(scene, client, &tally, 0);
}

Test(memory, fails_in_a_body_that_does_everything, .timeout = 120)
{
    sweep(commit_everything);
}

/* ---- An attached client -------------------------------------------------------------------- */

#define N_BATCH 5

static void on_done(const gavel_outcome *outcome, void *user)
{
    live_counter *counter = user;
    note(counter->context, outcome);
}

static void submit_batch(memory_scene *scene)
{
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    gavel_client *client = open_client(scene, server_url(scene->server), loop);
    memory_tally tally = {0};
    int n_submitted = 0;
    gavel_bytes key = GAVEL_STR("counter");
    gavel_transaction transaction = with_patience(scene);
    transaction.body = counter_add;
    transaction.reads = &(gavel_read){.key = key};
    transaction.n_reads = 1;
    /* Of the fields, counter_add uses none of `context` without `meddle`. */
    live_counter counters[N_BATCH + 1] = {{.n_runs = 0}};
    for (size_t i = 0; i < N_BATCH + 1 && client != NULL; i++) {
        if (i == N_BATCH) { /* all the others have been told, and memory is back */
            ev_run(loop, 0);
            cr_expect_eq(tally.n_told, n_submitted);
            scene->memory.is_back = true;
            transaction.deadline_ms = 20000;
        }
        counters[i].context = &tally;
        transaction.user = &counters[i];
        bool is_submitted = gavel_submit(client, &transaction, on_done) != 0;
        cr_expect(is_submitted || (scene->memory.has_failed && i < N_BATCH));
        n_submitted += is_submitted;
    }
    int n_before = tally.n_committed;
    ev_run(loop, 0);
    if (client != NULL) {
        cr_expect_eq(tally.n_told, n_submitted);
        cr_expect_eq(tally.n_committed, n_before + 1, "not usable");
        end(scene, client, &tally, 0);
    }
    ev_loop_destroy(loop);
}

Test(memory, fails_in_an_asynchronous_batch, .timeout = 120)
{
    sweep(submit_batch);
}

/* ---- Doubts -------------------------------------------------------------------------------- */

/* What happens to the first EXEC; all later ones pass. */
static relay_action lose_first_exec(
    test_relay *relay, const relay_command *command, relay_action action)
{
    bool is_first = relay_is_exec(command) && relay_n_execs(relay) <= 1 && command->link == 0;
    return is_first ? action : RELAY_PASS;
}

static relay_action lose_reply(test_relay *relay, const relay_command *command, void *user)
{
    (void)user;
    return lose_first_exec(relay, command, RELAY_LOSE_REPLY);
}

static relay_action lose_exec(test_relay *relay, const relay_command *command, void *user)
{
    (void)user;
    return lose_first_exec(relay, command, RELAY_CUT);
}

static void be_in_doubt(memory_scene *scene, relay_hook *hook)
{
    test_relay *relay = relay_start(scene->server, hook, NULL, NULL);
    gavel_client *client = open_client(scene, relay_url(relay), NULL);
    if (client == NULL) {
        relay_stop(relay);
        return;
    }
    memory_tally tally = {0};
    gavel_outcome outcome = counter_run(client, NULL, with_patience(scene));
    note(&tally, &outcome);
    if (!scene->memory.has_failed && !scene->memory.is_for_good) {
        gavel_stats stats;
        gavel_read_stats(client, &stats);
        cr_expect_eq(stats.n_in_doubt, 1);
        cr_expect_eq(stats.n_settled, 1);
    }
    expect_usable(scene, client, &tally);
    end(scene, client, &tally, 0);
    relay_stop(relay);
}

static void lose_the_reply(memory_scene *scene)
{
    be_in_doubt(scene, lose_reply);
}

static void lose_the_exec(memory_scene *scene)
{
    be_in_doubt(scene, lose_exec);
}

Test(memory, fails_around_a_reply_that_is_lost, .timeout = 120)
{
    sweep(lose_the_reply);
}

Test(memory, fails_around_an_exec_that_is_lost, .timeout = 120)
{
    sweep(lose_the_exec);
}

/* ---- None at all --------------------------------------------------------------------------- */

#define N_WARM 200
#define N_STEADY 1000

/* Nothing is allocated for each, but a busy machine may make a round wider, and a reply longer,
 * than any before it. */
#define MAX_STEADY_CALLS (N_STEADY / 20)

Test(memory, is_not_asked_for_by_a_client_in_use)
{
    memory_scene scene = {.server = server_start(NULL), .memory = {.is_back = true}};
    gavel_client *client = open_client(&scene, server_url(scene.server), NULL);
    size_t n_calls = 0;
    for (int i = 0; i < N_WARM + N_STEADY; i++) {
        if (i == N_WARM)
            n_calls = scene.memory.n_calls;
        gavel_outcome outcome = counter_run(client, NULL, (gavel_transaction){.n_keys = 0});
        ASSERT_TOLD(outcome, GAVEL_COMMITTED);
    }
    cr_expect_leq(scene.memory.n_calls - n_calls, MAX_STEADY_CALLS, "%d calls of the allocator",
        (int)(scene.memory.n_calls - n_calls));
    gavel_close(client);
    cr_expect_eq(scene.memory.n_blocks, 0);
    server_stop(scene.server);
}

typedef struct steady_flow {
    live_counter counter;
    gavel_client *client;
    faulty_memory *memory;
    int n_begun;
    int n_done;
    size_t n_calls; /* when warm */
} steady_flow;

static void submit_one(steady_flow *flow);

/* Each one that ends begins the next, so that there are always as many under way. */
static void on_flow_done(const gavel_outcome *outcome, void *user)
{
    steady_flow *flow = user;
    ASSERT_TOLD(*outcome, GAVEL_COMMITTED);
    if (++flow->n_done == N_WARM)
        flow->n_calls = flow->memory->n_calls;
    if (flow->n_begun < N_WARM + N_STEADY)
        submit_one(flow);
}

static void submit_one(steady_flow *flow)
{
    gavel_read read = {.key = GAVEL_STR("counter")};
    gavel_transaction transaction = {
        .body = counter_add, .user = flow, .reads = &read, .n_reads = 1};
    cr_assert_neq(gavel_submit(flow->client, &transaction, on_flow_done), 0);
    flow->n_begun++;
}

Test(memory, is_not_asked_for_by_an_attached_client_in_use)
{
    memory_scene scene = {.server = server_start(NULL), .memory = {.is_back = true}};
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    steady_flow flow = {
        .client = open_client(&scene, server_url(scene.server), loop), .memory = &scene.memory};
    for (int i = 0; i < 20; i++)
        submit_one(&flow);
    ev_run(loop, 0);
    cr_expect_eq(flow.n_done, N_WARM + N_STEADY);
    cr_expect_leq(scene.memory.n_calls - flow.n_calls, MAX_STEADY_CALLS,
        "%d calls of the allocator", (int)(scene.memory.n_calls - flow.n_calls));
    gavel_close(flow.client);
    cr_expect_eq(scene.memory.n_blocks, 0);
    ev_loop_destroy(loop);
    server_stop(scene.server);
}
