/*
 * Gates under fire: those inside are killed and stopped, the server forgets, stands still, throws
 * them out and refuses them. No update is lost, nobody waits past his deadline, and the others go
 * on when the lease is over.
 *
 * GAVEL_CHAOS says how many times as much is to happen; the slow suite takes 25.
 */
#include "chaos.h"
#include "tools.h"

#include <criterion/criterion.h>

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#define LEASE_MS 100

/* Some 130 ms are usual. On a busy machine those who should get in are not scheduled; how long it
 * takes without that is a matter for the simulator. */
#define MAX_STALL_US (8 * LEASE_MS * 1000)

static unsigned times(unsigned n)
{
    const char *factor = getenv("GAVEL_CHAOS");
    return factor != NULL ? n * (unsigned)atoi(factor) : n;
}

/* Who dies or is stopped is met at a random moment of what it does. */
static void let_it_run(void)
{
    nanosleep(&(struct timespec){.tv_nsec = (long)chaos_draw(2000) * 1000}, NULL);
}

static const chaos_plan hot = {
    .n_workers = 8, .max_body_us = 500, .config = {.mode = GAVEL_GATED, .gate_lease_ms = LEASE_MS}};

/* The worker that the record names, or, if it names none of them, any. */
static size_t choose(chaos_crew *crew, size_t n_workers)
{
    size_t holder = chaos_holder(crew, "counter");
    return holder != CHAOS_NOBODY ? holder : (size_t)chaos_draw(n_workers);
}

/* ---- Killed -------------------------------------------------------------------------------- */

/* Each time somebody commits again before the next one dies. */
static void kill_holders(chaos_plan plan, unsigned n_kills)
{
    test_server *server = server_start(NULL);
    chaos_crew *crew = chaos_start(server, &plan);
    chaos_await_commits(crew, 100);
    chaos_watch(crew);
    for (unsigned i = 0; i < n_kills; i++) {
        let_it_run();
        chaos_kill(crew, choose(crew, plan.n_workers));
        chaos_await_commits(crew, 1);
    }
    int64_t stall_us = chaos_longest_stall_us(crew);
    chaos_tally tally = chaos_join(crew);
    chaos_expect_value(server, "counter", &tally, 1);
    chaos_expect_in_time(&tally);
    cr_expect_eq(
        chaos_n_maybe(&tally) + tally.n_told[GAVEL_COMMITTED], tally.n_begun, "%s", tally.message);
    cr_expect_leq(chaos_n_maybe(&tally), n_kills * (plan.n_callers + 1));
    cr_expect_leq(stall_us, MAX_STALL_US, "nobody got in for %" PRId64 " us", stall_us);
    server_stop(server);
}

Test(gate_chaos, holders_are_killed)
{
    kill_holders(hot, times(40));
}

Test(gate_chaos, holders_on_loops_are_killed)
{
    chaos_plan plan = hot;
    plan.kind = CHAOS_ATTACHED;
    plan.n_callers = 4;
    kill_holders(plan, times(8));
}

Test(gate_chaos, those_who_came_to_the_gate_by_losing_are_killed)
{
    chaos_plan plan = hot;
    plan.n_workers = 16;
    plan.config.mode = GAVEL_ADAPTIVE;
    kill_holders(plan, times(20));
}

/* ---- Stopped ------------------------------------------------------------------------------- */

typedef struct answer {
    chaos_crew *crew;
    size_t worker;
    uint64_t n_told;
} answer;

static uint64_t n_told_to(const chaos_crew *crew, size_t worker)
{
    chaos_tally tally = chaos_read_worker(crew, worker);
    uint64_t n = 0;
    for (size_t i = 0; i <= GAVEL_UNKNOWN; i++)
        n += tally.n_told[i];
    return n;
}

static bool is_told(void *context)
{
    const answer *self = context;
    return n_told_to(self->crew, self->worker) > self->n_told;
}

static bool is_another_inside(void *context)
{
    const answer *self = context;
    size_t holder = chaos_holder(self->crew, "counter");
    return holder != CHAOS_NOBODY && holder != self->worker;
}

/* Stopped until somebody else is inside and has committed; then what it had begun comes to an end.
 */
static void stop_one(chaos_crew *crew, size_t worker)
{
    chaos_pause(crew, worker);
    answer late = {crew, worker, n_told_to(crew, worker)};
    chaos_await(is_another_inside, &late, "another holder");
    chaos_await_commits(crew, 3);
    chaos_resume(crew, worker);
    chaos_await(is_told, &late, "the outcome of one who was stopped");
}

static void stop_holders(chaos_plan plan, unsigned n_stops)
{
    test_server *server = server_start(NULL);
    chaos_crew *crew = chaos_start(server, &plan);
    chaos_await_commits(crew, 100);
    for (unsigned i = 0; i < n_stops; i++) {
        let_it_run();
        stop_one(crew, choose(crew, plan.n_workers));
    }
    chaos_tally tally = chaos_join(crew);
    chaos_expect_value(server, "counter", &tally, 1);
    chaos_expect_all_committed(&tally);
    server_stop(server);
}

Test(gate_chaos, holders_are_stopped_past_their_lease)
{
    stop_holders(hot, times(4));
}

Test(gate_chaos, holders_on_loops_are_stopped_past_their_lease)
{
    chaos_plan plan = hot;
    plan.kind = CHAOS_ATTACHED;
    plan.n_callers = 3;
    stop_holders(plan, times(4));
}

/* ---- Thrown out ---------------------------------------------------------------------------- */

static void cut_links(bool is_waiting)
{
    test_server *server = server_start(NULL);
    chaos_crew *crew = chaos_start(server, &hot);
    chaos_await_commits(crew, 100);
    for (unsigned n_cut = 0; n_cut < times(25);) {
        let_it_run();
        n_cut += chaos_cut(crew, is_waiting);
        chaos_await_commits(crew, 1);
    }
    chaos_tally tally = chaos_join(crew);
    chaos_expect_value(server, "counter", &tally, 1);
    chaos_expect_all_committed(&tally);
    server_stop(server);
}

Test(gate_chaos, links_of_holders_are_killed)
{
    cut_links(false);
}

Test(gate_chaos, links_of_waiters_are_killed)
{
    cut_links(true);
}

/* ---- A server that forgets ----------------------------------------------------------------- */

static const char *const keeps_data[] = {"--appendonly", "yes", "--appendfsync", "no", NULL};

typedef void meddling(test_server *server);

/* The crew works, the server is meddled with, the crew works again, and so on. */
static chaos_tally meddle_with(test_server *server, const chaos_plan *plan, meddling *meddle)
{
    chaos_crew *crew = chaos_start(server, plan);
    for (unsigned i = 0; i < times(3); i++) {
        chaos_await_commits(crew, 50);
        let_it_run();
        meddle(server);
    }
    chaos_await_commits(crew, 50);
    return chaos_join(crew);
}

static void expect_all_survive(const server_options *options, meddling *meddle)
{
    test_server *server = server_start(options);
    chaos_tally tally = meddle_with(server, &hot, meddle);
    chaos_expect_value(server, "counter", &tally, 1);
    chaos_expect_all_committed(&tally);
    server_stop(server);
}

/* The counter may have begun anew: it holds no more than was committed. */
static void expect_nobody_hangs(meddling *meddle)
{
    test_server *server = server_start(NULL);
    chaos_tally tally = meddle_with(server, &hot, meddle);
    chaos_expect_in_time(&tally);
    cr_expect_leq(server_int(server, "GET", "counter", NULL),
        (long long)(tally.n_told[GAVEL_COMMITTED] + chaos_n_maybe(&tally)));
    server_stop(server);
}

static void restart(test_server *server)
{
    server_kill(server);
    server_restart(server);
}

/* While it was away those who ran out of tries were told so. */
Test(gate_chaos, a_server_that_keeps_its_data_is_restarted)
{
    test_server *server = server_start(&(server_options){.args = keeps_data});
    chaos_tally tally = meddle_with(server, &hot, restart);
    chaos_expect_value(server, "counter", &tally, 1);
    chaos_expect_in_time(&tally);
    server_stop(server);
}

Test(gate_chaos, a_server_that_loses_its_data_is_restarted)
{
    expect_nobody_hangs(restart);
}

static void flush_all(test_server *server)
{
    server_do(server, "FLUSHALL", NULL);
}

Test(gate_chaos, everything_is_deleted)
{
    expect_nobody_hangs(flush_all);
}

static void flush_scripts(test_server *server)
{
    server_do(server, "SCRIPT", "FLUSH", NULL);
}

Test(gate_chaos, scripts_are_deleted)
{
    expect_all_survive(NULL, flush_scripts);
}

static void delete_gate(test_server *server)
{
    server_do(server, "DEL", "gavel:gate:{counter}", "gavel:queue:{counter}", NULL);
}

Test(gate_chaos, the_gate_is_deleted)
{
    expect_all_survive(NULL, delete_gate);
}

static void add_tokens(test_server *server)
{
    server_do(server, "RPUSH", "gavel:queue:{counter}", "1", "1", "1", "1", NULL);
}

Test(gate_chaos, tokens_are_added_by_hand)
{
    expect_all_survive(NULL, add_tokens);
}

static void spoil_types(test_server *server)
{
    server_do(server, "SET", "gavel:queue:{counter}", "no list", "PX", "300", NULL);
    server_do(server, "RPUSH", "spare", "no string", NULL);
    server_do(server, "PEXPIRE", "spare", "300", NULL);
    server_do(server, "RENAME", "spare", "gavel:gate:{counter}", NULL);
}

Test(gate_chaos, the_gate_is_of_another_type)
{
    expect_all_survive(NULL, spoil_types);
}

/* ---- A server that stands still ------------------------------------------------------------ */

static void wait_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

/* Longer than the lease. */
static void stand_still(test_server *server)
{
    server_pause(server);
    wait_ms(2 * LEASE_MS);
    server_resume(server);
}

Test(gate_chaos, the_server_stands_still)
{
    expect_all_survive(NULL, stand_still);
}

static void refuse_to_serve(test_server *server)
{
    server_do(server, "CLIENT", "PAUSE", "250", "WRITE", NULL);
}

Test(gate_chaos, the_server_lets_nobody_write_for_a_while)
{
    expect_all_survive(NULL, refuse_to_serve);
}

/* Longer than it takes for a link to be given up. */
Test(gate_chaos, the_server_stands_still_for_too_long)
{
    chaos_plan plan = hot;
    plan.config.command_timeout_ms = 50;
    test_server *server = server_start(NULL);
    chaos_tally tally = meddle_with(server, &plan, stand_still);
    chaos_expect_value(server, "counter", &tally, 1);
    chaos_expect_in_time(&tally);
    server_stop(server);
}

/* ---- A server that refuses ----------------------------------------------------------------- */

typedef struct goal {
    chaos_crew *crew;
    uint64_t n;
} goal;

static uint64_t n_failures(const chaos_crew *crew)
{
    uint64_t n = 0;
    chaos_tally tally = chaos_read(crew);
    for (size_t i = 0; i <= GAVEL_UNKNOWN; i++)
        n += i != GAVEL_COMMITTED ? tally.n_told[i] : 0;
    return n;
}

static bool has_failed(void *context)
{
    const goal *self = context;
    return n_failures(self->crew) >= self->n;
}

static bool is_gated(void *context)
{
    const goal *self = context;
    return chaos_read(self->crew).n_gated >= self->n;
}

/* Nobody is let in, and nobody can hand on; all are told something; and then it goes on. */
static void run_out_of_memory(test_server *server, chaos_crew *crew)
{
    goal failures = {crew, n_failures(crew) + hot.n_workers};
    server_do(server, "CONFIG", "SET", "maxmemory", "1", NULL);
    chaos_await(has_failed, &failures, "failures");
    server_do(server, "CONFIG", "SET", "maxmemory", "0", NULL);
    chaos_await_commits(crew, 50);
}

Test(gate_chaos, the_server_is_out_of_memory)
{
    chaos_plan plan = hot;
    plan.deadline_ms = 500;
    test_server *server = server_start(NULL);
    chaos_crew *crew = chaos_start(server, &plan);
    chaos_await_commits(crew, 50);
    for (unsigned i = 0; i < times(2); i++)
        run_out_of_memory(server, crew);
    goal gated = {crew, chaos_read(crew).n_gated + 10};
    chaos_await(is_gated, &gated, "gates");
    chaos_tally tally = chaos_join(crew);
    chaos_expect_value(server, "counter", &tally, 1);
    chaos_expect_in_time(&tally);
    server_stop(server);
}

/* ---- Closed -------------------------------------------------------------------------------- */

/* The others get in, though clients are closed that wait and that are inside. */
Test(gate_chaos, clients_are_closed_with_work_in_flight)
{
    chaos_plan plan = hot;
    plan.kind = CHAOS_CLOSING;
    plan.n_workers = 4;
    plan.n_callers = 4;
    plan.max_body_us = 0;
    test_server *server = server_start(NULL);
    chaos_crew *crews[2] = {chaos_start(server, &plan), chaos_start(server, &hot)};
    chaos_await_commits(crews[1], 10);
    chaos_watch(crews[1]);
    chaos_await_commits(crews[1], times(200));
    int64_t stall_us = chaos_longest_stall_us(crews[1]);
    chaos_tally tallies[2] = {chaos_join(crews[0]), chaos_join(crews[1])};
    chaos_expect_value(server, "counter", tallies, 2);
    chaos_expect_in_time(&tallies[0]);
    chaos_expect_all_committed(&tallies[1]);
    cr_expect_leq(stall_us, MAX_STALL_US, "nobody got in for %" PRId64 " us", stall_us);
    server_stop(server);
}
