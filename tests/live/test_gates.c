/*
 * Gates, among processes that want the same keys: what they cost, who gets in, and what is left of
 * them when it is over.
 */
#include "attached.h"
#include "chaos.h"
#include "counter.h"
#include "relay.h"
#include "tools.h"

#include <criterion/criterion.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- What it costs ------------------------------------------------------------------------- */

/* Commands that the server has run. */
static uint64_t count_commands(test_server *server)
{
    uint64_t n = 0;
    redisReply *info = server_command(server, "INFO", "commandstats", NULL);
    for (const char *at = info->str; (at = strstr(at, ":calls=")) != NULL; at++)
        n += (uint64_t)strtoull(at + strlen(":calls="), NULL, 10);
    freeReplyObject(info);
    return n;
}

typedef struct cost {
    double commands; /* a commit */
    double attempts;
} cost;

#define N_PROCESSES 64

static bool have_all_been_let_in(void *context)
{
    for (size_t i = 0; i < N_PROCESSES; i++) {
        if (chaos_read_worker(context, i).n_gated == 0)
            return false;
    }
    return true;
}

/* 64 processes with a caller each on one key, when all of them have come to the gate. No lease ends
 * because a busy machine lets its holder wait. */
static cost measure(chaos_kind kind, gavel_mode mode)
{
    test_server *server = server_start(NULL);
    chaos_plan plan = {
        .kind = kind, .n_workers = N_PROCESSES, .config = {.mode = mode, .gate_lease_ms = 10000}};
    chaos_crew *crew = chaos_start(server, &plan);
    chaos_await_commits(crew, 4000);
    chaos_await(have_all_been_let_in, crew, "all of them");
    uint64_t n_commands = count_commands(server);
    chaos_tally before = chaos_read(crew);
    chaos_await_commits(crew, 6000);
    n_commands = count_commands(server) - n_commands;
    chaos_tally after = chaos_read(crew);
    chaos_tally all = chaos_join(crew);
    chaos_expect_value(server, "counter", &all, 1);
    chaos_expect_all_committed(&all);
    server_stop(server);
    double n_commits = (double)(after.n_told[GAVEL_COMMITTED] - before.n_told[GAVEL_COMMITTED]);
    return (cost){
        (double)n_commands / n_commits, (double)(after.n_attempts - before.n_attempts) / n_commits};
}

Test(gates, many_processes_cost_few_commands)
{
    cost gated = measure(CHAOS_ATTACHED, GAVEL_GATED);
    cr_expect_leq(gated.commands, 8.0, "%f commands", gated.commands);
    cr_expect_leq(gated.attempts, 1.05, "%f attempts", gated.attempts);
}

Test(gates, many_processes_find_the_gate_by_losing)
{
    cost adaptive = measure(CHAOS_ATTACHED, GAVEL_ADAPTIVE);
    cr_expect_leq(adaptive.commands, 8.0, "%f commands", adaptive.commands);
    cr_expect_leq(adaptive.attempts, 1.05, "%f attempts", adaptive.attempts);
}

/* Each of them hands the gate on at once, since nobody knows whether its caller will be back. */
Test(gates, many_processes_of_blocking_callers_cost_few_commands)
{
    cost gated = measure(CHAOS_BLOCKING, GAVEL_GATED);
    cr_expect_leq(gated.commands, 10.5, "%f commands", gated.commands);
    cr_expect_leq(gated.attempts, 1.05, "%f attempts", gated.attempts);
}

/* ---- Who gets in --------------------------------------------------------------------------- */

static const char *const three_keys[] = {"a", "b", "c", NULL};

/* The crew commits so many; then the keys hold the same, and what was told. */
static void expect_through(chaos_plan plan, uint64_t n_commits)
{
    test_server *server = server_start(NULL);
    plan.keys = three_keys;
    chaos_crew *crew = chaos_start(server, &plan);
    chaos_await_commits(crew, n_commits);
    chaos_tally tally = chaos_join(crew);
    chaos_expect_all_committed(&tally);
    for (size_t i = 0; three_keys[i] != NULL; i++)
        chaos_expect_value(server, three_keys[i], &tally, 1);
    server_stop(server);
}

/* Half of the processes name the keys the other way round. */
Test(gates, several_keys_in_opposite_orders)
{
    expect_through((chaos_plan){.n_workers = 6, .config = {.mode = GAVEL_GATED}}, 500);
    expect_through((chaos_plan){.n_workers = 6, .config = {.mode = GAVEL_ADAPTIVE}}, 500);
}

Test(gates, several_keys_from_threads_and_loops)
{
    chaos_plan plan = {.n_workers = 4, .n_callers = 4, .config = {.mode = GAVEL_GATED}};
    expect_through(plan, 500);
    plan.kind = CHAOS_ATTACHED;
    expect_through(plan, 500);
}

Test(gates, one_link_and_one_gate_are_enough)
{
    chaos_plan plan = {.n_workers = 4,
        .n_callers = 4,
        .config = {.mode = GAVEL_GATED, .max_links = 1, .max_gate_links = 1}};
    expect_through(plan, 500);
    plan.kind = CHAOS_ATTACHED;
    expect_through(plan, 500);
}

/* The transactions of one client: some on either key, and some on both, which need two gates free
 * at the same time. */
static void expect_both_get_through(gavel_config config)
{
    static const char *const sets[][3] = {{"a", NULL}, {"b", NULL}, {"a", "b", NULL}};
    test_server *server = server_start(NULL);
    chaos_crew *crews[3];
    chaos_tally tallies[3];
    for (size_t i = 0; i < 3; i++)
        crews[i] = chaos_start(server, &(chaos_plan){.kind = CHAOS_ATTACHED,
                                           .n_workers = 2,
                                           .n_callers = 4,
                                           .keys = sets[i],
                                           .config = config});
    for (size_t i = 0; i < 3; i++)
        chaos_await_commits(crews[i], 200);
    for (size_t i = 0; i < 3; i++) {
        tallies[i] = chaos_join(crews[i]);
        chaos_expect_all_committed(&tallies[i]);
    }
    chaos_expect_value(server, "a", (chaos_tally[]){tallies[0], tallies[2]}, 2);
    chaos_expect_value(server, "b", (chaos_tally[]){tallies[1], tallies[2]}, 2);
    server_stop(server);
}

Test(gates, those_with_several_keys_get_through_among_those_with_one)
{
    expect_both_get_through((gavel_config){.mode = GAVEL_GATED});
    expect_both_get_through((gavel_config){.mode = GAVEL_ADAPTIVE});
}

/* Callers of one client: four on "a", four on "b", and one on both. */
typedef struct errand {
    gavel_client *client;
    bool wants_a;
    bool wants_b;
    int n_done;
    int n_failed;
    const struct errand *last; /* all end when it is through, or has failed */
} errand;

enum { N_ERRANDS = 9, N_THROUGH = 20 };

static gavel_verdict run_errand(gavel_tx *tx, void *user)
{
    const errand *self = user;
    gavel_bytes keys[] = {GAVEL_STR("a"), GAVEL_STR("b")};
    if (self->wants_a)
        live_add_one(tx, &keys[0]);
    if (self->wants_b)
        live_add_one(tx, &keys[1]);
    return GAVEL_COMMIT;
}

static void submit_errand(errand *self);

static void on_errand_done(const gavel_outcome *outcome, void *user)
{
    errand *self = user;
    self->n_done++;
    self->n_failed += outcome->status != GAVEL_COMMITTED;
    if (self->last->n_done < N_THROUGH && self->last->n_failed == 0)
        submit_errand(self);
}

static void submit_errand(errand *self)
{
    gavel_read reads[] = {{.key = GAVEL_STR("a")}, {.key = GAVEL_STR("b")}};
    gavel_submit(self->client,
        &(gavel_transaction){.body = run_errand,
            .user = self,
            .reads = self->wants_a ? reads : reads + 1,
            .n_reads = self->wants_a && self->wants_b ? 2 : 1},
        on_errand_done);
}

/* The gates of both keys have to be free at the same time for the last one; they never are by
 * themselves. */
static void expect_errands_done(gavel_config config)
{
    attached_rig rig = attached_begin(&config);
    errand errands[N_ERRANDS];
    int n_done[2] = {0, 0};
    for (size_t i = 0; i < N_ERRANDS; i++) {
        bool is_last = i == N_ERRANDS - 1;
        errands[i] = (errand){.client = rig.live.client,
            .wants_a = is_last || i % 2 == 0,
            .wants_b = is_last || i % 2 == 1,
            .last = &errands[N_ERRANDS - 1]};
    }
    for (size_t i = 0; i < N_ERRANDS; i++)
        submit_errand(&errands[i]);
    ev_run(rig.loop, 0);
    for (size_t i = 0; i < N_ERRANDS; i++) {
        cr_expect_eq(errands[i].n_failed, 0, "%zu: %d of %d failed", i, errands[i].n_failed,
            errands[i].n_done);
        n_done[0] += errands[i].wants_a ? errands[i].n_done - errands[i].n_failed : 0;
        n_done[1] += errands[i].wants_b ? errands[i].n_done - errands[i].n_failed : 0;
    }
    cr_expect_eq(attached_value_of(&rig, "a"), n_done[0]);
    cr_expect_eq(attached_value_of(&rig, "b"), n_done[1]);
    attached_end(&rig);
}

Test(gates, one_client_serves_those_with_several_keys_too)
{
    expect_errands_done((gavel_config){.mode = GAVEL_GATED});
}

Test(gates, one_client_with_one_gate_serves_those_with_several_keys_too)
{
    expect_errands_done((gavel_config){.mode = GAVEL_GATED, .max_links = 1, .max_gate_links = 1});
}

/* Every mode at once, and two who know of no gates and never let go of the key. */
Test(gates, all_modes_get_through_among_foreign_writers)
{
    test_server *server = server_start(NULL);
    chaos_plan plan = {.n_workers = 2, .n_callers = 2, .deadline_ms = 60000};
    chaos_crew *crews[4];
    chaos_tally tallies[4];
    for (size_t i = 0; i < 4; i++) {
        plan.config.mode = i < 3 ? (gavel_mode)i : GAVEL_ADAPTIVE;
        plan.kind = i < 3 ? (i % 2 == 0 ? CHAOS_BLOCKING : CHAOS_ATTACHED) : CHAOS_FOREIGN;
        crews[i] = chaos_start(server, &plan);
    }
    for (size_t i = 0; i < 4; i++)
        chaos_await_commits(crews[i], 200);
    for (size_t i = 0; i < 4; i++) {
        tallies[i] = chaos_join(crews[i]);
        chaos_expect_all_committed(&tallies[i]);
    }
    chaos_expect_value(server, "counter", tallies, 4);
    server_stop(server);
}

/* ---- One who waits ------------------------------------------------------------------------- */

#define RECORD "gavel:gate:{counter}"

static const gavel_config gated_narrowly = {
    .mode = GAVEL_GATED, .max_links = 1, .max_gate_links = 1, .gate_lease_ms = 50};

/* As one who was let in and died has left it. */
static void die_inside(test_server *server, const char *lease_ms)
{
    server_do(server, "DEL", "gavel:queue:{counter}", NULL);
    server_do(server, "SET", RECORD, "0123456789abcdef since=0 pid=1 host=somewhere", "PX",
        lease_ms, NULL);
}

static bool is_somebody_waiting(void *context)
{
    return server_info(context, "blocked_clients") > 0;
}

static bool is_nobody_waiting(void *context)
{
    return server_info(context, "blocked_clients") == 0;
}

/* A lone caller sleeps on the link that waits, and looks after its gate all the same. */
Test(gates, a_lone_caller_gets_over_a_dead_holder)
{
    live_rig rig = live_begin(NULL, &gated_narrowly);
    for (int i = 0; i < 3; i++) {
        int64_t dead_us = live_now_us();
        die_inside(rig.server, "200");
        gavel_outcome outcome = counter_run(rig.client, NULL, (gavel_transaction){.body = NULL});
        ASSERT_TOLD(outcome, GAVEL_COMMITTED);
        cr_expect(outcome.is_gated);
        cr_expect_geq(live_now_us() - dead_us, 199000, "its lease was not over");
    }
    live_end(&rig);
}

/* The server is not left with a connection that waits for nobody. */
Test(gates, a_deadline_ends_the_wait)
{
    live_rig rig = live_begin(NULL, &gated_narrowly);
    die_inside(rig.server, "60000");
    gavel_outcome outcome = counter_run(rig.client, NULL, (gavel_transaction){.deadline_ms = 500});
    ASSERT_TOLD(outcome, GAVEL_DEADLINE);
    chaos_await(is_nobody_waiting, rig.server, "the end of the wait");
    server_do(rig.server, "DEL", RECORD, NULL);
    ASSERT_TOLD(counter_run(rig.client, NULL, (gavel_transaction){.body = NULL}), GAVEL_COMMITTED);
    cr_expect_eq(counter_value(rig.server), 1);
    live_end(&rig);
}

/* Between two probes there is nothing to wake up for. */
Test(gates, who_waits_alone_wakes_up_for_probes_only)
{
    live_rig rig = live_begin(NULL, &(gavel_config){.mode = GAVEL_GATED});
    die_inside(rig.server, "60000");
    gavel_stats before;
    gavel_stats after;
    gavel_read_stats(rig.client, &before);
    gavel_outcome outcome = counter_run(rig.client, NULL, (gavel_transaction){.deadline_ms = 1000});
    gavel_read_stats(rig.client, &after);
    ASSERT_TOLD(outcome, GAVEL_DEADLINE);
    cr_expect_leq(after.n_receives - before.n_receives, 20);
    live_end(&rig);
}

static void *run_one(void *user)
{
    live_rig *rig = user;
    static gavel_outcome outcome;
    outcome = counter_run(rig->client, NULL, (gavel_transaction){.deadline_ms = 20000});
    return &outcome;
}

/* Starts a thread that waits at the gate. */
static pthread_t start_waiting(live_rig *rig, const char *lease_ms)
{
    pthread_t thread;
    die_inside(rig->server, lease_ms);
    cr_assert_eq(pthread_create(&thread, NULL, run_one, rig), 0);
    chaos_await(is_somebody_waiting, rig->server, "one who waits");
    return thread;
}

static gavel_outcome outcome_of(pthread_t thread)
{
    void *outcome = NULL;
    pthread_join(thread, &outcome);
    return *(gavel_outcome *)outcome;
}

Test(gates, closing_ends_the_wait)
{
    live_rig rig = live_begin(NULL, &gated_narrowly);
    pthread_t thread = start_waiting(&rig, "60000");
    gavel_close(rig.client);
    ASSERT_TOLD(outcome_of(thread), GAVEL_CANCELLED);
    chaos_await(is_nobody_waiting, rig.server, "the end of the wait");
    server_stop(rig.server);
}

Test(gates, a_child_closes_its_copy_while_its_parent_waits)
{
    live_rig rig = live_begin(NULL, &gated_narrowly);
    pthread_t thread = start_waiting(&rig, "60000");
    pid_t child = fork();
    if (child == 0) {
        gavel_close(rig.client);
        _exit(0);
    }
    int status = -1;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect_eq(status, 0);
    chaos_await(is_somebody_waiting, rig.server, "the parent's wait");
    server_do(rig.server, "DEL", RECORD, NULL);
    ASSERT_TOLD(outcome_of(thread), GAVEL_COMMITTED);
    cr_expect_eq(counter_value(rig.server), 1);
    live_end(&rig);
}

/* And who looks at the server's connections sees what it waits for. */
Test(gates, who_waits_is_woken_by_a_token)
{
    live_rig rig = live_begin(NULL, &(gavel_config){.mode = GAVEL_GATED, .gate_lease_ms = 10000});
    pthread_t thread = start_waiting(&rig, "60000");
    cr_expect_eq(live_count_links(rig.server, "wait:gavel:gate:{counter}"), 1);
    server_do(rig.server, "RPUSH", "gavel:queue:{counter}", "1", NULL);
    gavel_outcome outcome = outcome_of(thread);
    ASSERT_TOLD(outcome, GAVEL_COMMITTED); /* the record is there for longer than the deadline */
    live_end(&rig);
}

/* Callers who give up in every state: before the gate, in its queue, and inside. Nothing of theirs
 * is done behind their backs, and the others get in. */
static void expect_impatience_does_no_harm(chaos_plan plan)
{
    test_server *server = server_start(NULL);
    chaos_crew *crew = chaos_start(server, &plan);
    chaos_await_commits(crew, 300);
    chaos_tally tally = chaos_join(crew);
    chaos_expect_value(server, "counter", &tally, 1);
    chaos_expect_in_time(&tally);
    cr_expect_gt(tally.n_told[GAVEL_DEADLINE], 0);
    server_stop(server);
}

Test(gates, impatience_does_no_harm)
{
    chaos_plan plan = {.n_workers = 4,
        .n_callers = 3,
        .max_body_us = 2000,
        .deadline_ms = 4,
        .config = {.mode = GAVEL_GATED, .gate_lease_ms = 50}};
    expect_impatience_does_no_harm(plan);
    plan.kind = CHAOS_ATTACHED;
    expect_impatience_does_no_harm(plan);
}

/* ---- One who is inside --------------------------------------------------------------------- */

static gavel_verdict turn_away(gavel_tx *tx, void *user)
{
    (void)user;
    return gavel_abort(tx, 1);
}

/* Whatever its transaction came to, who does not come back keeps nobody out: the lease is far too
 * long to wait for. */
static void expect_handed_on(gavel_body *body, gavel_status status)
{
    gavel_config config = {.mode = GAVEL_GATED, .gate_lease_ms = 30000};
    live_rig rig = live_begin(NULL, &config);
    gavel_client *other = live_open(server_url(rig.server), &config);
    for (int i = 0; i < 10; i++) {
        live_counter counter = {.n_runs = 0};
        gavel_outcome outcome = live_run(rig.client, "counter", body, &counter);
        ASSERT_TOLD(outcome, status);
        ASSERT_TOLD(
            counter_run(other, NULL, (gavel_transaction){.deadline_ms = 10000}), GAVEL_COMMITTED);
    }
    gavel_close(other);
    live_end(&rig);
}

Test(gates, who_does_not_come_back_keeps_nobody_out)
{
    expect_handed_on(counter_add, GAVEL_COMMITTED);
    expect_handed_on(turn_away, GAVEL_ABORTED);
}

static gavel_verdict write_wrongly(gavel_tx *tx, void *user)
{
    (void)user;
    gavel_command nonsense = GAVEL_COMMAND(GAVEL_STR("NONSENSE"), GAVEL_STR("counter"));
    nonsense.n_keys = 1;
    gavel_write(tx, &nonsense);
    return GAVEL_COMMIT;
}

Test(gates, who_is_rejected_keeps_nobody_out)
{
    expect_handed_on(write_wrongly, GAVEL_REJECTED);
}

static gavel_verdict lose(gavel_tx *tx, void *user)
{
    int64_t value = 0;
    gavel_get_int(tx, GAVEL_STR("counter"), &value);
    server_do(user, "SET", "counter", "1", NULL);
    gavel_set_int(tx, GAVEL_STR("counter"), value + 1);
    return GAVEL_COMMIT;
}

/* The same after losing as often as it may. */
Test(gates, who_gives_up_keeps_nobody_out)
{
    gavel_config config = {.mode = GAVEL_GATED, .gate_lease_ms = 30000};
    live_rig rig = live_begin(NULL, &config);
    gavel_client *other = live_open(server_url(rig.server), &config);
    for (int i = 0; i < 10; i++) {
        gavel_outcome outcome =
            gavel_run(rig.client, &(gavel_transaction){.body = lose,
                                      .user = rig.server,
                                      .reads = &(gavel_read){.key = GAVEL_STR("counter")},
                                      .n_reads = 1,
                                      .max_conflicts = 3});
        ASSERT_TOLD(outcome, GAVEL_CONFLICT);
        ASSERT_TOLD(
            counter_run(other, NULL, (gavel_transaction){.deadline_ms = 10000}), GAVEL_COMMITTED);
    }
    gavel_close(other);
    live_end(&rig);
}

/* A client that is closed hands on what it still holds. */
Test(gates, closing_keeps_nobody_out)
{
    gavel_config config = {.mode = GAVEL_GATED, .gate_lease_ms = 30000};
    attached_rig rig = attached_begin(&config);
    gavel_config other_config = config;
    gavel_client *other = live_open(server_url(rig.live.server), &other_config);
    for (int i = 0; i < 5; i++) {
        attached_job job = {.n_done = 0};
        attached_submit(&rig, &job, "counter");
        while (job.n_done == 0)
            attached_turn(&rig);
        gavel_close(rig.live.client);
        ASSERT_TOLD(
            counter_run(other, NULL, (gavel_transaction){.deadline_ms = 10000}), GAVEL_COMMITTED);
        config.loop = rig.loop;
        rig.live.client = live_open(server_url(rig.live.server), &config);
    }
    gavel_close(other);
    attached_end(&rig);
}

/* ---- What is seen of it -------------------------------------------------------------------- */

typedef struct sighting {
    test_server *server;
    char record[256];
} sighting;

static bool is_record_there(void *context)
{
    sighting *self = context;
    redisReply *reply = server_command(self->server, "GET", RECORD, NULL);
    snprintf(self->record, sizeof(self->record), "%s", reply->str != NULL ? reply->str : "");
    freeReplyObject(reply);
    return self->record[0] != '\0';
}

Test(gates, the_record_names_host_and_process)
{
    char expected[128];
    char host[64] = "";
    gethostname(host, sizeof(host) - 1);
    snprintf(expected, sizeof(expected), " pid=%ld host=%s", (long)getpid(), host);
    live_rig rig = live_begin(NULL, &(gavel_config){.mode = GAVEL_GATED, .gate_lease_ms = 60000});
    ASSERT_TOLD(counter_run(rig.client, NULL, (gavel_transaction){.body = NULL}), GAVEL_COMMITTED);
    sighting seen = {.server = rig.server};
    chaos_await(is_record_there, &seen, "a record");
    cr_expect(live_contains(seen.record, expected), "%s", seen.record);
    live_end(&rig);
}

static size_t count_keys(test_server *server, const char *pattern)
{
    redisReply *keys = server_command(server, "KEYS", pattern, NULL);
    size_t n = keys->elements;
    freeReplyObject(keys);
    return n;
}

static bool is_nothing_left(void *context)
{
    return count_keys(context, "gavel:gate:*") + count_keys(context, "gavel:queue:*") == 0;
}

static bool is_something_left(void *context)
{
    return !is_nothing_left(context);
}

/* How many keys stay for ever. */
static size_t count_permanent(test_server *server)
{
    size_t n = 0;
    redisReply *keys = server_command(server, "KEYS", "*", NULL);
    for (size_t i = 0; i < keys->elements; i++)
        n += server_int(server, "PTTL", keys->element[i]->str, NULL) == -1;
    freeReplyObject(keys);
    return n;
}

Test(gates, nothing_stays_behind)
{
    test_server *server = server_start(NULL);
    chaos_plan plan = {
        .n_workers = 6, .max_body_us = 300, .config = {.mode = GAVEL_GATED, .gate_lease_ms = 100}};
    chaos_crew *crew = chaos_start(server, &plan);
    for (size_t i = 0; i < 12; i++) {
        chaos_await_commits(crew, 20);
        chaos_kill(crew, i % plan.n_workers);
    }
    chaos_await_commits(crew, 20);
    chaos_await(is_something_left, server, "a gate");
    chaos_join(crew);
    chaos_await(is_nothing_left, server, "an end of the gate");
    cr_expect_eq(count_permanent(server), 1, "more than the counter stays");
    server_stop(server);
}

/* ---- A silent link ------------------------------------------------------------------------- */

typedef struct silence {
    test_server *server;
    relay_action action; /* from the first wait on its link */
    bool has_begun;
} silence;

/* The holder's lease ends when there is somebody who waits, however late that is. */
static relay_action fall_silent(test_relay *relay, const relay_command *command, void *user)
{
    silence *s = user;
    (void)relay;
    if (s->has_begun || !relay_is(command, "BLPOP"))
        return RELAY_PASS;
    s->has_begun = true;
    server_do(s->server, "PEXPIRE", RECORD, "100", NULL);
    return s->action;
}

/* Looks whether a holder is dead: each is followed by a PTTL. */
static uint64_t count_probes(test_server *server)
{
    static const char field[] = "cmdstat_pttl:calls=";
    redisReply *info = server_command(server, "INFO", "commandstats", NULL);
    const char *at = strstr(info->str, field);
    uint64_t n = at != NULL ? (uint64_t)strtoull(at + strlen(field), NULL, 10) : 0;
    freeReplyObject(info);
    return n;
}

/*
 * The server is there and the gate is free, but the link that waits hears of nothing. What it takes
 * is counted in probes, two or less to a lease: a busy machine may let us sleep for seconds (how
 * long it takes is a matter for the simulator), and may make the next link seem silent, too.
 */
static void expect_silence_is_noticed(relay_action action)
{
    test_server *server = server_start(NULL);
    silence s = {.server = server, .action = action};
    test_relay *relay = relay_start(server, fall_silent, &s, NULL);
    gavel_client *client =
        live_open(relay_url(relay), &(gavel_config){.mode = GAVEL_GATED, .gate_lease_ms = 100});
    die_inside(server, "60000");
    gavel_outcome outcome = counter_run(client, NULL, (gavel_transaction){.deadline_ms = 20000});
    ASSERT_TOLD(outcome, GAVEL_COMMITTED);
    cr_expect(s.has_begun);
    cr_expect_geq(outcome.n_faults, 1);
    cr_expect_leq(count_probes(server), 12 * outcome.n_faults);
    gavel_close(client);
    relay_stop(relay);
    server_stop(server);
}

Test(gates, a_wait_that_the_server_never_heard_of_costs_a_few_leases)
{
    expect_silence_is_noticed(RELAY_STALL);
}

/* There the server gives the first turn to the dead link. */
Test(gates, a_waiting_link_that_falls_silent_costs_a_few_leases)
{
    expect_silence_is_noticed(RELAY_MUTE);
}
