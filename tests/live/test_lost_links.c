/*
 * Links that the server ends, or that fall silent: killed at each step, idle for too long, fed with
 * too much, gone with a server that is restarted or stopped. What was told must be what is there.
 */
#include "doubt.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* ---- Killed -------------------------------------------------------------------------------- */

/* All of gavel's links; the connection past gavel stays. */
static void kill_links(void *context)
{
    server_do(context, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes", (char *)NULL);
}

static gavel_client *open_either(const test_server *server, bool is_tcp)
{
    return live_open(is_tcp ? server_tcp_url(server) : server_url(server), NULL);
}

/* Before WATCH and after EXEC: an idle link was killed, which is noticed at the next use. */
static void kill_idle(bool is_tcp)
{
    test_server *server = server_start(&(server_options){.has_tcp = is_tcp});
    gavel_client *client = open_either(server, is_tcp);
    for (int i = 1; i <= 4; i++) {
        gavel_outcome outcome = counter_run(client, NULL, doubt_plain);
        ASSERT_TOLD(outcome, GAVEL_COMMITTED);
        cr_assert_leq(outcome.n_faults, 1);
        cr_assert_eq(counter_value(server), i);
        kill_links(server);
    }
    gavel_close(client);
    server_stop(server);
}

Test(lost_links, killed_while_idle)
{
    kill_idle(false);
    kill_idle(true);
}

/* Between the reads and EXEC: over TCP, EXEC leaves all the same, and is answered with a reset. */
static void kill_before_exec(bool is_tcp)
{
    test_server *server = server_start(&(server_options){.has_tcp = is_tcp});
    gavel_client *client = open_either(server, is_tcp);
    live_counter counter = {.meddle = kill_links, .context = server};
    gavel_outcome outcome = counter_run(client, &counter, doubt_plain);
    ASSERT_TOLD(outcome, GAVEL_COMMITTED);
    cr_assert_not(outcome.is_from_marker);
    cr_assert_eq(outcome.n_attempts, 2);
    cr_assert_eq(outcome.n_faults, 1);
    cr_assert_eq(counter_value(server), 1);
    gavel_close(client);
    server_stop(server);
}

Test(lost_links, killed_before_exec)
{
    kill_before_exec(false);
    kill_before_exec(true);
}

/* Every attempt is killed, until the budget for faults is spent. */
typedef struct lost_victim {
    test_server *server;
    unsigned n_runs;
} lost_victim;

static gavel_verdict add_and_be_killed(gavel_tx *tx, void *user)
{
    lost_victim *victim = user;
    live_counter counter = {.meddle = kill_links, .context = victim->server};
    victim->n_runs++;
    return counter_add(tx, &counter);
}

Test(lost_links, killed_each_time)
{
    live_rig rig = live_begin(NULL, NULL);
    lost_victim victim = {.server = rig.server};
    gavel_outcome outcome =
        gavel_run(rig.client, &(gavel_transaction){.body = add_and_be_killed,
                                  .user = &victim,
                                  .reads = &(gavel_read){.key = GAVEL_STR("counter")},
                                  .n_reads = 1,
                                  .max_faults = 3});
    ASSERT_TOLD(outcome, GAVEL_NOT_SENT);
    cr_assert_eq(outcome.n_faults, 4);
    cr_assert_eq(victim.n_runs, 4);
    cr_assert_eq(counter_value(rig.server), 0);
    cr_assert(live_is_usable(&rig));
    live_end(&rig);
}

/*
 * A link that was closed long ago is no doubt: not even without markers, and over TCP, where the
 * kernel takes what is sent on it. Slow: the server looks for idle clients once a second.
 */
static void run_idle(bool is_tcp, const gavel_config *config)
{
    test_server *server = server_start(&(server_options){.has_tcp = is_tcp});
    gavel_client *client = live_open(is_tcp ? server_tcp_url(server) : server_url(server), config);
    ASSERT_TOLD(counter_run(client, NULL, doubt_plain), GAVEL_COMMITTED);
    server_do(server, "CONFIG", "SET", "timeout", "1", (char *)NULL);
    while (live_count_links(server, "gavel") > 0)
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    ASSERT_TOLD(counter_run(client, NULL, doubt_plain), GAVEL_COMMITTED);
    cr_assert_eq(counter_value(server), 2);
    gavel_close(client);
    server_stop(server);
}

Test(lost_links, idle_for_too_long)
{
    run_idle(false, NULL);
}

Test(lost_links, idle_for_too_long_without_markers)
{
    run_idle(true, &doubt_no_markers);
}

/* ---- Too much ------------------------------------------------------------------------------ */

#define BIG_SIZE ((size_t)1 << 20)

/* EXEC's reply holds a large string, of the key "big". Not by GET: Redis 8.6 sends the value
 * itself, and does not count it as kept. */
static gavel_verdict add_and_fetch(gavel_tx *tx, void *user)
{
    live_counter counter = {.n_runs = 0};
    (void)user;
    gavel_command fetch =
        GAVEL_COMMAND(GAVEL_STR("GETRANGE"), GAVEL_STR("big"), GAVEL_STR("0"), GAVEL_STR("-1"));
    gavel_write(tx, &fetch);
    return counter_add(tx, &counter);
}

static gavel_outcome run_big(gavel_client *client)
{
    gavel_bytes big = GAVEL_STR("big");
    return gavel_run(client, &(gavel_transaction){.body = add_and_fetch,
                                 .keys = &big,
                                 .n_keys = 1,
                                 .reads = &(gavel_read){.key = GAVEL_STR("counter")},
                                 .n_reads = 1,
                                 .keep_replies = true});
}

static void make_big(test_server *server)
{
    char size[16];
    snprintf(size, sizeof(size), "%zu", BIG_SIZE);
    server_do(server, "SETRANGE", "big", size, "x", (char *)NULL);
}

/* The server closes the link because of the reply, after the commit. */
Test(lost_links, the_reply_is_more_than_the_server_keeps)
{
    live_rig rig = live_begin(NULL, NULL);
    make_big(rig.server);
    server_do(rig.server, "CONFIG", "SET", "client-output-buffer-limit", "normal 65536 0 0",
        (char *)NULL);
    gavel_outcome outcome = run_big(rig.client);
    ASSERT_TOLD(outcome, GAVEL_COMMITTED);
    cr_assert(outcome.is_from_marker);
    cr_assert_eq(outcome.n_replies, 0);
    cr_assert_eq(counter_value(rig.server), 1);
    gavel_outcome_clear(&outcome);
    cr_assert(live_is_usable(&rig));
    live_end(&rig);
}

/* gavel closes it, likewise. */
Test(lost_links, the_reply_is_more_than_the_client_takes)
{
    live_rig rig = live_begin(NULL, &(gavel_config){.max_reply_bytes = 65536});
    make_big(rig.server);
    gavel_outcome outcome = run_big(rig.client);
    ASSERT_TOLD(outcome, GAVEL_COMMITTED);
    cr_assert(outcome.is_from_marker);
    cr_assert_eq(counter_value(rig.server), 1);
    gavel_outcome_clear(&outcome);
    cr_assert(live_is_usable(&rig));
    live_end(&rig);
}

/* Such a value can never be read: that is told at once, and nothing is written. */
Test(lost_links, what_is_read_is_too_much)
{
    live_rig rig = live_begin(NULL, &(gavel_config){.max_reply_bytes = 65536});
    make_big(rig.server);
    gavel_read reads[] = {{.key = GAVEL_STR("counter")}, {.key = GAVEL_STR("big")}};
    live_counter counter = {.n_runs = 0};
    gavel_outcome outcome = gavel_run(rig.client,
        &(gavel_transaction){.body = counter_add, .user = &counter, .reads = reads, .n_reads = 2});
    ASSERT_TOLD(outcome, GAVEL_NOT_SENT);
    ASSERT_SAYS(outcome, "larger than max_reply_bytes: GET \"big\"");
    cr_assert_eq(outcome.n_faults, 0);
    cr_assert_eq(counter.n_runs, 0);
    cr_assert_eq(counter_value(rig.server), 0);
    cr_assert(live_is_usable(&rig));
    live_end(&rig);
}

static gavel_verdict look_only(gavel_tx *tx, void *user)
{
    (void)tx;
    (void)user;
    return GAVEL_COMMIT;
}

/* The same in a snapshot, which is one reply. */
Test(lost_links, what_a_snapshot_reads_is_too_much)
{
    live_rig rig = live_begin(NULL, &(gavel_config){.max_reply_bytes = 65536});
    make_big(rig.server);
    gavel_read reads[] = {{.key = GAVEL_STR("counter")}, {.key = GAVEL_STR("big")}};
    for (size_t n_reads = 1; n_reads <= 2; n_reads++) {
        gavel_outcome outcome = gavel_run(rig.client, &(gavel_transaction){.body = look_only,
                                                          .reads = &reads[2 - n_reads],
                                                          .n_reads = n_reads,
                                                          .is_read_only = true});
        ASSERT_TOLD(outcome, GAVEL_NOT_SENT);
        ASSERT_SAYS(outcome, n_reads == 1 ? "GET \"big\"" : "GET \"counter\" and the other reads");
        cr_assert_eq(outcome.n_faults, 0);
    }
    cr_assert(live_is_usable(&rig));
    live_end(&rig);
}

static gavel_verdict write_big(gavel_tx *tx, void *user)
{
    const gavel_bytes *value = user;
    live_counter counter = {.n_runs = 0};
    gavel_set(tx, GAVEL_STR("big"), *value);
    return counter_add(tx, &counter);
}

/* The server says why it does not read on, and closes the link before it comes to EXEC. */
Test(lost_links, what_is_written_is_more_than_the_server_takes)
{
    enum { N_BYTES = 20 << 20 };
    static const char *const args[] = {"--proto-max-bulk-len", "1mb", NULL};
    live_rig rig = live_begin(&(server_options){.args = args}, NULL);
    char *data = calloc(1, N_BYTES);
    cr_assert_not_null(data);
    for (size_t size = (1 << 20) + 1; size <= N_BYTES; size = size < N_BYTES ? N_BYTES : size + 1) {
        gavel_bytes value = {data, size};
        gavel_outcome outcome =
            gavel_run(rig.client, &(gavel_transaction){.body = write_big,
                                      .user = &value,
                                      .reads = &(gavel_read){.key = GAVEL_STR("counter")},
                                      .n_reads = 1,
                                      .keys = (gavel_bytes[]){GAVEL_STR("big")},
                                      .n_keys = 1});
        ASSERT_TOLD(outcome, GAVEL_REJECTED);
        ASSERT_SAYS(outcome, "Protocol error: invalid bulk length");
        cr_assert_eq(outcome.n_faults, 0);
        cr_assert_leq(outcome.n_attempts, 2, "merged, and by itself");
    }
    cr_assert_eq(counter_value(rig.server), 0);
    cr_assert(live_is_usable(&rig));
    free(data);
    live_end(&rig);
}

/* The server calls a longer argument a protocol error, and closes: EXEC is never reached. */
Test(lost_links, an_argument_is_more_than_the_server_takes)
{
    live_rig rig = live_begin(NULL, NULL);
    server_do(rig.server, "CONFIG", "SET", "proto-max-bulk-len", "1mb", (char *)NULL);
    gavel_bytes key = GAVEL_STR("big");
    gavel_bytes value = {calloc(2, BIG_SIZE), 2 * BIG_SIZE};
    gavel_outcome outcome =
        gavel_run(rig.client, &(gavel_transaction){.body = write_big,
                                  .user = &value,
                                  .keys = &key,
                                  .n_keys = 1,
                                  .reads = &(gavel_read){.key = GAVEL_STR("counter")},
                                  .n_reads = 1,
                                  .max_faults = 2});
    free((char *)(uintptr_t)value.data);
    cr_assert_not(gavel_is_committed(&outcome));
    cr_log_info("%s after %u attempts: %s", gavel_status_name(outcome.status), outcome.n_attempts,
        outcome.message);
    cr_assert_eq(counter_value(rig.server), 0);
    cr_assert_eq(server_int(rig.server, "EXISTS", "big", (char *)NULL), 0);
    cr_assert(live_is_usable(&rig));
    live_end(&rig);
}

/* The server closes without a word, again and again. What the kernel has taken whole is in doubt
 * each time, and what it has not is not. */
Test(lost_links, more_at_once_than_the_server_takes)
{
    enum { LARGE = 20 << 20 };
    static const char *const args[] = {"--client-query-buffer-limit", "1mb", NULL};
    live_rig rig = live_begin(&(server_options){.has_tcp = true, .args = args}, NULL);
    char *data = calloc(1, LARGE);
    cr_assert_not_null(data);
    for (size_t size = 1200000; size <= LARGE; size = size < LARGE ? LARGE : size + 1) {
        gavel_bytes value = {data, size};
        gavel_outcome outcome =
            gavel_run(rig.client, &(gavel_transaction){.body = write_big,
                                      .user = &value,
                                      .reads = &(gavel_read){.key = GAVEL_STR("counter")},
                                      .n_reads = 1,
                                      .deadline_ms = 60000});
        ASSERT_TOLD(outcome, GAVEL_NOT_SENT);
        ASSERT_SAYS(outcome, size < LARGE ? "1200" : "2097");
        ASSERT_SAYS(outcome, "3 times: the server's client-query-buffer-limit");
        cr_assert_eq(outcome.n_faults, 3);
    }
    free(data);
    cr_assert_eq(counter_value(rig.server), 0);
    cr_assert(live_is_usable(&rig));
    live_end(&rig);
}

/* ---- Restarted ----------------------------------------------------------------------------- */

static void restart(void *context)
{
    server_kill(context);
    server_restart(context);
}

static const char *const with_data[] = {"--appendonly", "yes", "--appendfsync", "always", NULL};

/* Between the reads and EXEC: the reads are made again. */
Test(lost_links, restarted_before_exec)
{
    live_rig rig = live_begin(NULL, NULL);
    ASSERT_TOLD(counter_run(rig.client, NULL, doubt_plain), GAVEL_COMMITTED);
    live_counter counter = {.meddle = restart, .context = rig.server};
    gavel_outcome outcome = counter_run(rig.client, &counter, doubt_plain);
    ASSERT_TOLD(outcome, GAVEL_COMMITTED);
    cr_assert_eq(counter.n_runs, 2);
    cr_assert_eq(counter_value(rig.server), 1);
    live_end(&rig);
}

Test(lost_links, restarted_before_exec_with_its_data)
{
    live_rig rig = live_begin(&(server_options){.args = with_data}, NULL);
    ASSERT_TOLD(counter_run(rig.client, NULL, doubt_plain), GAVEL_COMMITTED);
    live_counter counter = {.meddle = restart, .context = rig.server};
    gavel_outcome outcome = counter_run(rig.client, &counter, doubt_plain);
    ASSERT_TOLD(outcome, GAVEL_COMMITTED);
    cr_assert_eq(counter_value(rig.server), 2);
    live_end(&rig);
}

/* Hooks run in the caller's thread, with which a restarted server would die. */
static void restart_in_doubt(const gavel_event *event, void *user)
{
    test_server *const *server = user;
    if (event->type == GAVEL_EVENT_IN_DOUBT)
        restart(*server);
}

static gavel_outcome run_restart(const char *const *args, relay_action action, long long value)
{
    test_server *server = server_start(&(server_options){.args = args});
    doubt_plan plan = {.action = action};
    test_relay *relay = relay_start(server, doubt_follow, &plan, NULL);
    gavel_client *client = live_open(relay_url(relay),
        &(gavel_config){.hooks = {.on_event = restart_in_doubt, .user = &server}});
    gavel_outcome outcome = counter_run(client, NULL, doubt_plain);
    cr_assert_eq(counter_value(server), value);
    gavel_close(client);
    relay_stop(relay);
    server_stop(server);
    return outcome;
}

/* The marker went with the data. */
Test(lost_links, restarted_in_doubt)
{
    ASSERT_TOLD(run_restart(NULL, RELAY_LOSE_REPLY, 0), GAVEL_UNKNOWN);
    ASSERT_TOLD(run_restart(NULL, RELAY_CUT, 0), GAVEL_UNKNOWN);
}

Test(lost_links, restarted_in_doubt_with_its_data)
{
    gavel_outcome outcome = run_restart(with_data, RELAY_LOSE_REPLY, 1);
    ASSERT_TOLD(outcome, GAVEL_COMMITTED);
    cr_assert(outcome.is_from_marker);
    outcome = run_restart(with_data, RELAY_CUT, 1);
    ASSERT_TOLD(outcome, GAVEL_COMMITTED);
    cr_assert_not(outcome.is_from_marker);
}

static void stop_for_good(void *context)
{
    server_kill(context);
}

/* No server any more: nothing was sent, or nobody can tell; never a claim. */
Test(lost_links, gone_for_good)
{
    live_rig rig = live_begin(NULL, NULL);
    live_counter counter = {.meddle = stop_for_good, .context = rig.server};
    gavel_outcome outcome =
        counter_run(rig.client, &counter, (gavel_transaction){.deadline_ms = 1000});
    cr_assert_eq(counter.n_runs, 1);
    cr_assert(outcome.status == GAVEL_NOT_SENT || outcome.status == GAVEL_DEADLINE, "%s: %s",
        gavel_status_name(outcome.status), outcome.message);
    server_restart(rig.server);
    cr_assert(live_is_usable(&rig));
    live_end(&rig);
}

/* ---- Stopped ------------------------------------------------------------------------------- */

static void stop_running(void *context)
{
    server_pause(context);
}

/* EXEC lies in the stopped server's socket when its link is given up. */
typedef struct lost_sleeper {
    test_server *server;
    bool is_stopped;
    unsigned n_losses; /* then, until it runs again; 0: it does */
} lost_sleeper;

static void put_to_sleep(void *context)
{
    lost_sleeper *sleeper = context;
    server_pause(sleeper->server);
    sleeper->is_stopped = true;
}

static void resume_in_time(const gavel_event *event, void *user)
{
    lost_sleeper *sleeper = user;
    if (event->type != GAVEL_EVENT_LINK_DOWN || !sleeper->is_stopped || --sleeper->n_losses > 0)
        return;
    sleeper->is_stopped = false;
    server_resume(sleeper->server);
}

/* The server goes on before it is asked, or when some have already tried to ask it. */
static void run_stopped(unsigned n_losses)
{
    lost_sleeper sleeper = {.n_losses = n_losses};
    gavel_config config = {.command_timeout_ms = 300,
        .connect_timeout_ms = 300,
        .hooks = {.on_event = resume_in_time, .user = &sleeper}};
    live_rig rig = live_begin(NULL, &config);
    sleeper.server = rig.server;
    live_counter counter = {.meddle = put_to_sleep, .context = &sleeper};
    gavel_outcome outcome =
        counter_run(rig.client, &counter, (gavel_transaction){.deadline_ms = 30000});
    ASSERT_TOLD(outcome, GAVEL_COMMITTED);
    cr_assert_eq(sleeper.n_losses, 0);
    cr_assert_eq(counter_value(rig.server), 1);
    cr_assert(live_is_usable(&rig));
    live_end(&rig);
}

Test(lost_links, stopped_beyond_the_command_timeout)
{
    run_stopped(1);
    run_stopped(3);
}

Test(lost_links, stopped_beyond_the_deadline)
{
    live_rig rig = live_begin(NULL, &(gavel_config){.command_timeout_ms = 300});
    live_counter counter = {.meddle = stop_running, .context = rig.server};
    gavel_outcome outcome =
        counter_run(rig.client, &counter, (gavel_transaction){.deadline_ms = 2000});
    ASSERT_TOLD(outcome, GAVEL_UNKNOWN);
    cr_assert_eq(counter.n_runs, 1);
    server_resume(rig.server);
    outcome = counter_run(rig.client, NULL, doubt_plain);
    ASSERT_TOLD(outcome, GAVEL_COMMITTED);
    long long value = counter_value(rig.server);
    cr_assert(value == 1 || value == 2, "%lld", value);
    live_end(&rig);
}

/* Stopped while nothing but reads was asked: nothing was written, for sure. */
Test(lost_links, stopped_before_it_reads)
{
    live_rig rig = live_begin(NULL, &(gavel_config){.command_timeout_ms = 300});
    ASSERT_TOLD(counter_run(rig.client, NULL, doubt_plain), GAVEL_COMMITTED);
    counter_forget(rig.client);
    server_pause(rig.server);
    gavel_outcome outcome = counter_run(rig.client, NULL, (gavel_transaction){.deadline_ms = 700});
    cr_assert(outcome.status == GAVEL_NOT_SENT || outcome.status == GAVEL_DEADLINE, "%s: %s",
        gavel_status_name(outcome.status), outcome.message);
    server_resume(rig.server);
    cr_assert_eq(counter_value(rig.server), 1);
    cr_assert(live_is_usable(&rig));
    live_end(&rig);
}
