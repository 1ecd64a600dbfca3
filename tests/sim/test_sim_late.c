/*
 * A process that was stopped for a while, between sending a part of its EXEC and the rest: when it
 * goes on, deadlines and time-outs are over, all at once, and the socket takes bytes again. What a
 * caller was told must hold for what leaves then.
 *
 * The platform is the simulator's, with transport and loop wrapped: while stopped, the socket takes
 * a given number of bytes and the loop sees none of its readiness.
 */
#include "sim.h"

#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#define AWAY_US (10 * SIM_SECOND)

typedef struct late_process {
    gavel__platform inner;
    bool is_stopped;
    bool is_back;
    size_t n_taken;             /* bytes that the socket takes while stopped */
    int64_t back_at_us;         /* of the simulator's clock */
    bool is_late_after_sending; /* the time away is noticed after the first send, not before */
    int64_t skew_us;
} late_process;

/* There is one loop and one client in a test, and interfaces without a place for more. */
static late_process process;
static const gavel__loop_ops *inner_loop_ops;
static gavel__loop_ops late_loop_ops;

static int64_t late_now_us(gavel__loop *loop)
{
    int64_t now_us = inner_loop_ops->now_us(loop);
    if (process.is_stopped && now_us >= process.back_at_us) {
        process.is_stopped = false;
        process.is_back = true;
        if (!process.is_late_after_sending)
            process.skew_us = AWAY_US;
    }
    return now_us + process.skew_us;
}

static bool late_watch(gavel__loop *loop, gavel__watch *watch)
{
    bool is_watched = inner_loop_ops->watch(loop, watch);
    if (process.is_stopped) {
        watch->wants_read = false;
        watch->wants_write = false;
    }
    return is_watched;
}

static gavel__loop *create_loop(
    void *user, const gavel__loop_owner *owner, const gavel_allocator *allocator)
{
    (void)user;
    gavel__loop *loop = process.inner.create_loop(process.inner.user, owner, allocator);
    inner_loop_ops = loop->ops;
    late_loop_ops = *inner_loop_ops;
    late_loop_ops.now_us = late_now_us;
    late_loop_ops.watch = late_watch;
    loop->ops = &late_loop_ops;
    return loop;
}

/* ---- The transport ------------------------------------------------------------------------- */

typedef struct late_transport {
    gavel__transport base;
    gavel__transport *inner;
} late_transport;

static gavel__progress late_connect(gavel__transport *transport)
{
    gavel__transport *inner = ((late_transport *)transport)->inner;
    return inner->ops->connect(inner);
}

static long late_send(gavel__transport *transport, const char *data, size_t size)
{
    gavel__transport *inner = ((late_transport *)transport)->inner;
    if (process.is_stopped) {
        if (process.n_taken == 0)
            return GAVEL__TRANSPORT_WOULD_BLOCK;
        size = process.n_taken;
        process.n_taken = 0;
    }
    if (process.is_back)
        process.skew_us = AWAY_US;
    return inner->ops->send(inner, data, size);
}

static long late_receive(gavel__transport *transport, char *data, size_t size, bool wait)
{
    gavel__transport *inner = ((late_transport *)transport)->inner;
    return inner->ops->receive(inner, data, size, wait);
}

static void late_close(gavel__transport *transport)
{
    gavel__transport *inner = ((late_transport *)transport)->inner;
    inner->ops->close(inner);
    free(transport);
}

static const gavel__transport_ops late_ops = {
    .connect = late_connect,
    .send = late_send,
    .receive = late_receive,
    .close = late_close,
};

static gavel__transport *dial(void *dialler, gavel__destination destination,
    const gavel_allocator *allocator, gavel_error *ret_error)
{
    (void)dialler;
    gavel__transport *inner =
        process.inner.dial(process.inner.user, destination, allocator, ret_error);
    late_transport *self = calloc(1, sizeof(*self));
    cr_assert(inner != NULL && self != NULL);
    self->base = *inner;
    self->base.ops = &late_ops;
    self->inner = inner;
    return &self->base;
}

static void look_up(void *user, gavel__lookup *lookup)
{
    (void)user;
    process.inner.look_up(process.inner.user, lookup);
}

static uint64_t entropy(void *user)
{
    (void)user;
    return process.inner.entropy(process.inner.user);
}

/* ---- The transaction ----------------------------------------------------------------------- */

/* Between the reads and the commit; `user` is how far away the end of the stop is. */
static gavel_verdict write_and_stop(gavel_tx *tx, void *user)
{
    gavel_set_int(tx, GAVEL_STR("key"), 1);
    process.is_stopped = true;
    process.back_at_us += *(const int64_t *)user;
    return GAVEL_COMMIT;
}

static void run_and_compare(sim_world *world, int64_t stop_us, uint32_t deadline_ms)
{
    process.inner = sim_platform(world, true);
    gavel__platform platform = {.create_loop = create_loop,
        .dial = dial,
        .look_up = look_up,
        .entropy = entropy,
        .is_blocking = true};
    gavel_client *client = gavel__open_on(
        &platform, "redis://simulated", &(gavel_config){.has_no_markers = true}, NULL);
    cr_assert_not_null(client);
    process.back_at_us = sim_now_us(world);
    gavel_bytes key = GAVEL_STR("key");
    gavel_outcome outcome = gavel_run(client, &(gavel_transaction){.body = write_and_stop,
                                                  .user = &stop_us,
                                                  .keys = &key,
                                                  .n_keys = 1,
                                                  .deadline_ms = deadline_ms});
    cr_expect(process.is_back);
    gavel_close(client);
    sim_run_for(world, SIM_SECOND);
    if (outcome.status == GAVEL_UNKNOWN)
        return;
    cr_expect_eq(outcome.status, GAVEL_DEADLINE, "%s", outcome.message);
    cr_expect_not(sim_exists(world, key), "told \"%s\", and yet it was made", outcome.message);
}

/* Deadline and time-out of the link are both over: what was taken back must not leave. */
Test(sim_late, sends_nothing_that_was_taken_back)
{
    sim_world *world = sim_create(1);
    process = (late_process){.n_taken = 10};
    run_and_compare(world, 300 * SIM_MILLISECOND, 300);
    sim_destroy(world);
}

/* The time-out of the link brings the rest of EXEC to the server, and after it the deadline. */
Test(sim_late, does_not_deny_what_it_has_just_sent)
{
    sim_world *world = sim_create(1);
    size_t n_before_exec =
        strlen("*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$1\r\n1\r\n");
    process = (late_process){.n_taken = n_before_exec, .is_late_after_sending = true};
    run_and_compare(world, 900 * SIM_MILLISECOND, 3000);
    sim_destroy(world);
}

/* ---- Answers that were there in time -------------------------------------------------------- */

#define N_KEYS 4

static gavel_verdict add_one(gavel_tx *tx, void *user)
{
    gavel_bytes key = gavel_str(user);
    int64_t value = 0;
    gavel_get_int(tx, key, &value);
    gavel_set_int(tx, key, value + 1);
    return GAVEL_COMMIT;
}

/* One of each key, within a second. */
static void submit_all(sim_world *world, gavel_client *client)
{
    static const gavel_read reads[N_KEYS] = {
        {.key = {"a", 1}}, {.key = {"b", 1}}, {.key = {"c", 1}}, {.key = {"d", 1}}};
    for (size_t i = 0; i < N_KEYS; i++)
        sim_submit(world, client,
            &(gavel_transaction){.body = add_one,
                .user = (void *)(uintptr_t)reads[i].key.data,
                .reads = &reads[i],
                .n_reads = 1,
                .deadline_ms = 1000});
}

static bool has_commits(sim_world *world, void *user)
{
    return sim_get_counters(world)->n_commits >= *(uint64_t *)user;
}

/*
 * A process is stopped, for far longer than the deadline, while the replies to its EXECs are on
 * their way. They lie in the sockets when it goes on, and are what its callers are told.
 */
Test(sim_late, answers_that_lie_in_the_sockets_come_before_deadlines)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        sim_world *world = sim_create(seed);
        sim_set_faults(world, &(sim_faults){.latency_min_us = 9000, .latency_max_us = 10000});
        gavel_client *client =
            sim_open(world, &(gavel_config){.max_links = N_KEYS, .max_round_width = 1});
        while (sim_get_counters(world)->n_connections < N_KEYS) {
            submit_all(world, client);
            cr_assert(sim_finish(world, SIM_SECOND));
        }
        size_t n_before = sim_n_results_with(world, GAVEL_COMMITTED);
        uint64_t n_commits = sim_get_counters(world)->n_commits + N_KEYS;
        submit_all(world, client);
        cr_assert(sim_run_until(world, has_commits, &n_commits, SIM_SECOND / 2));
        cr_assert_eq(sim_n_results_with(world, GAVEL_COMMITTED), n_before, "seed %d", (int)seed);
        sim_pause(world, client);
        sim_run_for(world, 2 * SIM_SECOND);
        sim_resume(world, client);
        cr_assert(sim_finish(world, 10 * SIM_SECOND));
        cr_expect_eq(sim_n_results_with(world, GAVEL_COMMITTED), n_before + N_KEYS);
        cr_expect_eq(sim_n_results_with(world, GAVEL_UNKNOWN), 0);
        gavel_close(client);
        sim_destroy(world);
    }
}
