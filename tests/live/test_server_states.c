/*
 * What a server can be in the middle of when a transaction comes: out of memory, loading, busy, a
 * replica, unable to save, full, paused. gavel waits for what passes, within its budgets; tells
 * what does not; and says in every case rightly whether anything was written.
 */
#include "counter.h"
#include "relay.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const gavel_transaction plain = {.deadline_ms = 0};
/* Long enough to connect, to read and for EXEC to leave, on a busy machine too. */
static const gavel_transaction hasty = {.deadline_ms = 800};
/* Where the trouble itself takes some time to begin, inside the body. */
static const gavel_transaction patient = {.deadline_ms = 3000};

/* Nothing was written, for sure, and the reason is told. */
static void assert_not_made(const gavel_outcome *outcome, const char *reason)
{
    cr_assert(outcome->status == GAVEL_REJECTED || outcome->status == GAVEL_DEADLINE ||
                  outcome->status == GAVEL_NOT_SENT,
        "%s: %s", gavel_status_name(outcome->status), outcome->message);
    ASSERT_SAYS(*outcome, reason);
}

/* The server is well again; the next transaction begins by reading. */
static void assert_goes_on(const live_rig *rig, long long value)
{
    cr_assert_eq(counter_value(rig->server), value);
    gavel_outcome outcome = counter_run(rig->client, NULL, plain);
    ASSERT_TOLD(outcome, GAVEL_COMMITTED);
    cr_assert_eq(counter_value(rig->server), value + 1);
    counter_forget(rig->client);
}

static void take_a_breath(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

/* Whether the reply to a command, on the connection past gavel, is an error that begins so. */
static bool is_refused(test_server *server, gavel_bytes command, const char *code)
{
    redisReply *reply = server_command_bytes(server, &command, 1);
    bool is_refused =
        reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, code, strlen(code)) == 0;
    freeReplyObject(reply);
    return is_refused;
}

/* Sends a command that will not be answered soon. */
static redisContext *send_only(const test_server *server, const char *format, const char *word)
{
    redisContext *context = server_connect(server);
    int is_done = 0;
    cr_assert_eq(redisAppendCommand(context, format, word), REDIS_OK);
    while (!is_done)
        cr_assert_eq(redisBufferWrite(context, &is_done), REDIS_OK);
    return context;
}

/* ---- A bad state, and how to end it -------------------------------------------------------- */

typedef struct state_trouble {
    void (*begin)(test_server *server);
    void (*end)(test_server *server);
    const char *at_handshake; /* words that tell a client that connects */
    const char *at_reading;   /* one that reads */
    const char *at_commit;    /* one that commits what it read before */
    bool is_told_at_once;     /* the latter two are REJECTED; else gavel waits, in vain */
} state_trouble;

typedef struct state_meddler {
    const state_trouble *trouble;
    test_server *server;
} state_meddler;

static void begin_trouble(void *context)
{
    const state_meddler *meddler = context;
    meddler->trouble->begin(meddler->server);
}

static void assert_in_trouble(
    const state_trouble *trouble, const gavel_outcome *outcome, const char *reason)
{
    assert_not_made(outcome, reason);
    cr_assert_eq(outcome->status == GAVEL_REJECTED, trouble->is_told_at_once, "%s: %s",
        gavel_status_name(outcome->status), outcome->message);
}

/* Trouble before the client connects, while it is idle, and between the reads and EXEC. */
static void run_trouble(const state_trouble *trouble)
{
    live_rig rig = live_begin(&(server_options){.args = server_debug_args()}, NULL);
    trouble->begin(rig.server);
    gavel_outcome outcome = counter_run(rig.client, NULL, hasty);
    assert_not_made(&outcome, trouble->at_handshake);
    trouble->end(rig.server);
    assert_goes_on(&rig, 0);

    trouble->begin(rig.server);
    outcome = counter_run(rig.client, NULL, hasty);
    assert_in_trouble(trouble, &outcome, trouble->at_reading);
    trouble->end(rig.server);
    assert_goes_on(&rig, 1);

    state_meddler meddler = {trouble, rig.server};
    live_counter counter = {.meddle = begin_trouble, .context = &meddler};
    outcome = counter_run(rig.client, &counter, patient);
    assert_in_trouble(trouble, &outcome, trouble->at_commit);
    trouble->end(rig.server);
    assert_goes_on(&rig, 2);
    live_end(&rig);
}

static void begin_oom(test_server *server)
{
    server_do(server, "CONFIG", "SET", "maxmemory", "1", (char *)NULL);
}

static void end_oom(test_server *server)
{
    server_do(server, "CONFIG", "SET", "maxmemory", "0", (char *)NULL);
}

Test(server_states, out_of_memory)
{
    run_trouble(&(state_trouble){begin_oom, end_oom, "OOM", "OOM", "OOM", true});
}

static void begin_noreplicas(test_server *server)
{
    server_do(server, "CONFIG", "SET", "min-replicas-to-write", "1", (char *)NULL);
}

static void end_noreplicas(test_server *server)
{
    server_do(server, "CONFIG", "SET", "min-replicas-to-write", "0", (char *)NULL);
}

/* A replica may come back before the deadline. */
Test(server_states, too_few_replicas)
{
    run_trouble(&(state_trouble){
        begin_noreplicas, end_noreplicas, "NOREPLICAS", "NOREPLICAS", "NOREPLICAS", false});
}

static void begin_replica(test_server *server)
{
    server_do(server, "REPLICAOF", "127.0.0.1", "1", (char *)NULL);
}

static void end_replica(test_server *server)
{
    server_do(server, "REPLICAOF", "NO", "ONE", (char *)NULL);
    server_do(server, "CONFIG", "SET", "replica-serve-stale-data", "yes", (char *)NULL);
}

/* READONLY sends gavel away, and every new link learns that it is a replica. */
Test(server_states, became_a_replica)
{
    run_trouble(
        &(state_trouble){begin_replica, end_replica, "replica", "replica", "replica", false});
}

static void begin_stale_replica(test_server *server)
{
    server_do(server, "CONFIG", "SET", "replica-serve-stale-data", "no", (char *)NULL);
    begin_replica(server);
}

Test(server_states, became_a_replica_without_its_primary)
{
    run_trouble(&(state_trouble){
        begin_stale_replica, end_replica, "replica", "MASTERDOWN", "replica", false});
}

/* A folder stands where the file is to be. */
static void snapshot_path(const test_server *server, char path[128])
{
    const char *socket = server_path(server);
    snprintf(path, 128, "%.*s/dump.rdb", (int)(strrchr(socket, '/') - socket), socket);
}

static void save_until(test_server *server, const char *status)
{
    char line[64];
    snprintf(line, sizeof(line), "rdb_last_bgsave_status:%s", status);
    server_do(server, "BGSAVE", (char *)NULL);
    for (bool is_saved = false; !is_saved; take_a_breath()) {
        redisReply *info = server_command(server, "INFO", "persistence", (char *)NULL);
        is_saved = strstr(info->str, line) != NULL &&
                   strstr(info->str, "rdb_bgsave_in_progress:0") != NULL;
        freeReplyObject(info);
    }
}

static void begin_misconf(test_server *server)
{
    char path[128];
    snapshot_path(server, path);
    cr_assert_eq(mkdir(path, 0700), 0);
    server_do(server, "CONFIG", "SET", "save", "3600 1000000", (char *)NULL);
    save_until(server, "err");
}

static void end_misconf(test_server *server)
{
    char path[128];
    snapshot_path(server, path);
    cr_assert_eq(rmdir(path), 0);
    save_until(server, "ok");
    cr_assert_eq(unlink(path), 0);
}

Test(server_states, cannot_save)
{
    run_trouble(
        &(state_trouble){begin_misconf, end_misconf, "MISCONF", "MISCONF", "MISCONF", true});
}

/* ---- Busy, loading ------------------------------------------------------------------------- */

static const gavel_bytes ping = {"PING", 4};

static void begin_script(test_server *server)
{
    server_do(server, "CONFIG", "SET", "lua-time-limit", "1", (char *)NULL);
    redisFree(send_only(server, "EVAL %s 0", "while true do end"));
    while (!is_refused(server, ping, "BUSY"))
        take_a_breath();
}

static void end_script(test_server *server)
{
    server_do(server, "SCRIPT", "KILL", (char *)NULL);
    while (is_refused(server, ping, "BUSY"))
        take_a_breath();
}

Test(server_states, busy_with_a_script)
{
    run_trouble(&(state_trouble){begin_script, end_script, "BUSY", "BUSY", "BUSY", false});
}

/* Loads its data set anew, slowly. */
static void begin_loading(test_server *server)
{
    if (!server_is_at_least(server, 7, 0)) {
        server_stop(server);
        cr_skip_test("a short load of 6.2 answers nobody");
    }
    server_do(
        server, "CONFIG", "SET", "loading-process-events-interval-bytes", "1024", (char *)NULL);
    server_do(server, "CONFIG", "SET", "key-load-delay", "1000", (char *)NULL);
    server_do(server, "DEBUG", "POPULATE", "10000", "filler", "100", (char *)NULL);
    redisFree(send_only(server, "DEBUG %s", "RELOAD"));
    while (!is_refused(server, ping, "LOADING"))
        take_a_breath();
}

static void end_loading(test_server *server)
{
    server_do(server, "CONFIG", "SET", "key-load-delay", "0", (char *)NULL);
    while (is_refused(server, ping, "LOADING"))
        take_a_breath();
}

Test(server_states, loading)
{
    run_trouble(
        &(state_trouble){begin_loading, end_loading, "LOADING", "LOADING", "LOADING", false});
}

/* ---- Trouble between queueing and EXEC, and its end within the deadline -------------------- */

typedef struct state_script {
    test_server *server;
    const state_trouble *trouble;
    unsigned n_execs;
    unsigned n_more; /* commands until the trouble ends; 0: it does not end */
} state_script;

static relay_action at_exec(test_relay *relay, const relay_command *command, void *user)
{
    (void)relay;
    state_script *script = user;
    if (relay_is_exec(command) && script->n_execs++ == 0)
        script->trouble->begin(script->server);
    else if (script->n_execs > 0 && script->n_more > 0 && --script->n_more == 0)
        script->trouble->end(script->server);
    return RELAY_PASS;
}

/* Every command was QUEUED when the server turned bad. */
static gavel_outcome run_at_exec(const state_trouble *trouble, unsigned n_more, long long value)
{
    test_server *server = server_start(NULL);
    state_script script = {.server = server, .trouble = trouble, .n_more = n_more};
    test_relay *relay = relay_start(server, at_exec, &script, NULL);
    gavel_client *client = live_open(relay_url(relay), NULL);
    gavel_outcome outcome = counter_run(client, NULL, n_more > 0 ? plain : hasty);
    if (n_more == 0)
        trouble->end(server);
    cr_assert_gt(script.n_execs, 0);
    cr_assert_eq(counter_value(server), value);
    gavel_close(client);
    relay_stop(relay);
    server_stop(server);
    return outcome;
}

Test(server_states, out_of_memory_at_exec)
{
    gavel_outcome outcome = run_at_exec(&(state_trouble){.begin = begin_oom, .end = end_oom}, 0, 0);
    ASSERT_TOLD(outcome, GAVEL_REJECTED);
    ASSERT_SAYS(outcome, "OOM");
}

Test(server_states, too_few_replicas_at_exec)
{
    state_trouble trouble = {.begin = begin_noreplicas, .end = end_noreplicas};
    gavel_outcome outcome = run_at_exec(&trouble, 0, 0);
    assert_in_trouble(&trouble, &outcome, "");
    outcome = run_at_exec(&trouble, 12, 1);
    ASSERT_TOLD(outcome, GAVEL_COMMITTED);
    cr_assert_gt(outcome.n_faults, 0);
}

Test(server_states, a_replica_at_exec)
{
    state_trouble trouble = {.begin = begin_replica, .end = end_replica};
    gavel_outcome outcome = run_at_exec(&trouble, 0, 0);
    assert_in_trouble(&trouble, &outcome, "");
    outcome = run_at_exec(&trouble, 2, 1);
    ASSERT_TOLD(outcome, GAVEL_COMMITTED);
    cr_assert_gt(outcome.n_faults, 0);
}

Test(server_states, busy_at_exec)
{
    state_trouble trouble = {.begin = begin_script, .end = end_script};
    gavel_outcome outcome = run_at_exec(&trouble, 0, 0);
    assert_in_trouble(&trouble, &outcome, "");
    outcome = run_at_exec(&trouble, 4, 1);
    ASSERT_TOLD(outcome, GAVEL_COMMITTED);
    cr_assert_gt(outcome.n_faults, 0);
}

/* ---- Full ---------------------------------------------------------------------------------- */

Test(server_states, no_room_for_a_client)
{
    live_rig rig = live_begin(NULL, NULL);
    server_do(rig.server, "CONFIG", "SET", "maxclients", "1", (char *)NULL);
    gavel_outcome outcome = counter_run(rig.client, NULL, hasty);
    assert_not_made(&outcome, "max number of clients");
    server_do(rig.server, "CONFIG", "SET", "maxclients", "100", (char *)NULL);
    assert_goes_on(&rig, 0);
    live_end(&rig);
}

/* ---- Paused -------------------------------------------------------------------------------- */

static void pause_briefly(void *context)
{
    server_do(context, "CLIENT", "PAUSE", "600", "ALL", (char *)NULL);
}

static void pause_for_long(void *context)
{
    server_do(context, "CLIENT", "PAUSE", "60000", "WRITE", (char *)NULL);
}

Test(server_states, a_short_pause_is_waited_for)
{
    live_rig rig = live_begin(NULL, NULL);
    live_counter counter = {.meddle = pause_briefly, .context = rig.server};
    gavel_outcome outcome = counter_run(rig.client, &counter, plain);
    ASSERT_TOLD(outcome, GAVEL_COMMITTED);
    cr_assert_eq(outcome.n_faults, 0);
    cr_assert_geq(outcome.elapsed_us, 590000);
    assert_goes_on(&rig, 1);
    live_end(&rig);
}

/* EXEC is with the server, which will get to it some time: only the server knows. */
Test(server_states, a_pause_over_the_deadline)
{
    live_rig rig = live_begin(NULL, NULL);
    live_counter counter = {.meddle = pause_for_long, .context = rig.server};
    gavel_outcome outcome = counter_run(rig.client, &counter, hasty);
    ASSERT_TOLD(outcome, GAVEL_UNKNOWN);
    cr_assert_eq(outcome.n_attempts, 1);
    cr_assert_eq(counter_value(rig.server), 0);
    server_do(rig.server, "CLIENT", "UNPAUSE", (char *)NULL);
    outcome = counter_run(rig.client, NULL, plain);
    ASSERT_TOLD(outcome, GAVEL_COMMITTED);
    cr_assert_eq(counter_value(rig.server), 2);
    live_end(&rig);
}

/* The link is given up before the pause ends; what it carried is never made twice. */
Test(server_states, a_pause_over_the_command_timeout)
{
    live_rig rig =
        live_begin(NULL, &(gavel_config){.command_timeout_ms = 200, .connect_timeout_ms = 5000});
    live_counter counter = {.meddle = pause_briefly, .context = rig.server};
    gavel_outcome outcome = counter_run(rig.client, &counter, plain);
    ASSERT_TOLD(outcome, GAVEL_COMMITTED);
    assert_goes_on(&rig, 1);
    live_end(&rig);
}

/* Paused before it reads: nothing was sent that could have an effect. */
Test(server_states, paused_before_it_reads)
{
    live_rig rig = live_begin(NULL, NULL);
    assert_goes_on(&rig, 0);
    server_do(rig.server, "CLIENT", "PAUSE", "3000", "ALL", (char *)NULL);
    gavel_outcome outcome = counter_run(rig.client, NULL, hasty);
    ASSERT_TOLD(outcome, GAVEL_DEADLINE);
    assert_goes_on(&rig, 1);
    live_end(&rig);
}

/* ---- Data lost ------------------------------------------------------------------------------ */

/* The marker is gone with all else. The next commit counts one up from nothing, which must not stay
 * for ever. */
Test(server_states, flushall_leaves_no_marker_without_a_time_to_live)
{
    live_rig rig = live_begin(NULL, NULL);
    ASSERT_TOLD(counter_run(rig.client, NULL, plain), GAVEL_COMMITTED);
    server_do(rig.server, "FLUSHALL", NULL);
    ASSERT_TOLD(counter_run(rig.client, NULL, plain), GAVEL_COMMITTED);
    gavel_close(rig.client);
    rig.client = NULL;
    redisReply *markers = server_command(rig.server, "KEYS", "gavel:m:*", NULL);
    cr_assert_eq(markers->elements, 1);
    cr_assert_gt(server_int(rig.server, "PTTL", markers->element[0]->str, NULL), 0);
    freeReplyObject(markers);
    live_end(&rig);
}
