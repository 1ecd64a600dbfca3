/* Waiting for locks on a real server: order of arrival, and what may happen to those who wait. */
#include "locking.h"

#include <criterion/criterion.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define N_CALLERS 12

Test(lock_queue, serves_clients_in_order_of_arrival, .timeout = 60)
{
    live_rig rig = live_begin(NULL, NULL);
    atomic_int n_granted = 0;
    gavel_lock *lock = locking_take(rig.client, 0);
    locking_caller callers[N_CALLERS];
    for (int i = 0; i < N_CALLERS; i++) {
        callers[i] =
            (locking_caller){.client = live_open(server_url(rig.server), NULL), .wait_ms = 50000};
        callers[i].n_granted = &n_granted;
        locking_start(&callers[i]);
        locking_await_waiters(rig.server, i + 1);
    }
    locking_expect_released(lock, GAVEL_LOCK_RELEASED);
    for (int i = 0; i < N_CALLERS; i++) {
        locking_join(&callers[i]);
        cr_expect_eq(callers[i].place, i + 1);
        cr_expect_eq(callers[i].released.status, GAVEL_LOCK_RELEASED);
        cr_expect(i == 0 || callers[i].outcome.fence > callers[i - 1].outcome.fence);
        gavel_close(callers[i].client);
    }
    live_end(&rig);
}

Test(lock_queue, one_client_stands_in_it_once_and_serves_its_threads_in_order, .timeout = 60)
{
    live_rig rig = live_begin(NULL, NULL);
    atomic_int n_granted = 0;
    gavel_lock *lock = locking_take(rig.client, 0);
    gavel_client *other = live_open(server_url(rig.server), NULL);
    locking_caller callers[N_CALLERS];
    for (int i = 0; i < N_CALLERS; i++) {
        callers[i] = (locking_caller){.client = other, .wait_ms = 50000, .n_granted = &n_granted};
        locking_start(&callers[i]);
        locking_await_waiters(rig.server, 1);
        locking_expect_try(other, GAVEL_LOCK_BUSY);
    }
    cr_expect_eq(locking_count_waiters(rig.server), 1);
    locking_expect_released(lock, GAVEL_LOCK_RELEASED);
    for (int i = 0; i < N_CALLERS; i++) {
        locking_join(&callers[i]);
        cr_expect_eq(callers[i].released.status, GAVEL_LOCK_RELEASED);
    }
    cr_expect_eq(n_granted, N_CALLERS);
    gavel_close(other);
    live_end(&rig);
}

Test(lock_queue, who_waits_asks_nothing_meanwhile, .timeout = 60)
{
    live_rig rig = live_begin(NULL, NULL);
    gavel_lock *lock = locking_take(rig.client, 60000);
    locking_caller caller = {.client = live_open(server_url(rig.server), NULL), .wait_ms = 50000};
    locking_start(&caller);
    locking_await_waiters(rig.server, 1);
    long long evals = server_info(rig.server, "total_commands_processed");
    int64_t until_us = live_now_us() + 400000;
    while (live_now_us() < until_us)
        continue;
    /* What INFO itself counts. */
    cr_expect_leq(server_info(rig.server, "total_commands_processed") - evals, 1);
    locking_expect_released(lock, GAVEL_LOCK_RELEASED);
    locking_join(&caller);
    cr_expect_eq(caller.outcome.status, GAVEL_LOCK_HELD);
    gavel_close(caller.client);
    live_end(&rig);
}

Test(lock_queue, time_runs_out_at_the_deadline, .timeout = 60)
{
    live_rig rig = live_begin(NULL, NULL);
    gavel_client *other = live_open(server_url(rig.server), NULL);
    gavel_lock *lock = locking_take(rig.client, 0);
    int64_t begun_us = live_now_us();
    gavel_lock_outcome outcome =
        gavel_lock_acquire(other, &(gavel_lock_request){.name = GAVEL_STR("l"), .wait_ms = 150});
    cr_expect_eq(outcome.status, GAVEL_LOCK_BUSY);
    cr_expect_geq(live_now_us() - begun_us, 150000);
    cr_expect_lt(live_now_us() - begun_us, 30000000);
    locking_await_waiters(rig.server, 0); /* it does not stand in the queue any more */
    locking_expect_released(lock, GAVEL_LOCK_RELEASED);
    locking_expect_try(other, GAVEL_LOCK_HELD);
    gavel_close(other);
    live_end(&rig);
}

Test(lock_queue, closing_tells_those_who_wait, .timeout = 60)
{
    static const char *const names[] = {"a", "b", "c"};
    live_rig rig = live_begin(NULL, NULL);
    locking_caller callers[3];
    gavel_client *other = live_open(server_url(rig.server), NULL);
    for (int i = 0; i < 3; i++) {
        gavel_lock_request request = {.name = gavel_str(names[i])};
        cr_assert_eq(gavel_lock_acquire(rig.client, &request).status, GAVEL_LOCK_HELD);
        callers[i] = (locking_caller){.client = other, .name = names[i], .wait_ms = 50000};
        locking_start(&callers[i]);
    }
    locking_await_waiters(rig.server, 3);
    gavel_close(other);
    for (int i = 0; i < 3; i++) {
        locking_join(&callers[i]);
        cr_expect_eq(callers[i].outcome.status, GAVEL_LOCK_CANCELLED);
    }
    locking_await_waiters(rig.server, 0);
    live_end(&rig);
}

/* ---- What may happen to those who wait ------------------------------------------------------ */

typedef void trouble(live_rig *rig);

/* The waiter is granted the lock all the same, when it is released, or its lease is over. */
static void wait_through(trouble *make_trouble, uint32_t lease_ms, bool is_released)
{
    live_rig rig = live_begin(NULL, NULL);
    gavel_lock_outcome got = gavel_lock_acquire(
        rig.client, &(gavel_lock_request){
                        .name = GAVEL_STR("l"), .lease_ms = lease_ms, .is_fixed = !is_released});
    cr_assert_eq(got.status, GAVEL_LOCK_HELD);
    locking_caller caller = {.client = live_open(server_url(rig.server), NULL), .wait_ms = 50000};
    locking_start(&caller);
    locking_await_waiters(rig.server, 1);
    make_trouble(&rig);
    if (is_released)
        gavel_lock_release(got.lock);
    locking_join(&caller);
    cr_expect_eq(caller.outcome.status, GAVEL_LOCK_HELD, "%s: %s",
        gavel_lock_status_name(caller.outcome.status), caller.outcome.message);
    cr_expect_gt(caller.outcome.fence, got.fence);
    cr_expect_lt(caller.outcome.elapsed_us, 40000000);
    gavel_close(caller.client);
    live_end(&rig);
}

static void kill_links(live_rig *rig)
{
    server_do(rig->server, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes", NULL);
}

static void flush_all(live_rig *rig)
{
    server_do(rig->server, "FLUSHALL", NULL);
}

static void flush_scripts(live_rig *rig)
{
    server_do(rig->server, "SCRIPT", "FLUSH", NULL);
}

static void restart(live_rig *rig)
{
    server_kill(rig->server);
    server_restart(rig->server);
}

static void unblock(live_rig *rig)
{
    redisReply *list = server_command(rig->server, "CLIENT", "LIST", NULL);
    char *end = NULL;
    for (char *line = strtok_r(list->str, "\n", &end); line != NULL;
         line = strtok_r(NULL, "\n", &end)) {
        if (!live_contains(line, " flags=b"))
            continue;
        char id[32] = "";
        sscanf(line, "id=%31s", id);
        server_do(rig->server, "CLIENT", "UNBLOCK", id, NULL);
    }
    freeReplyObject(list);
}

static void push_strays(live_rig *rig)
{
    server_do(rig->server, "RPUSH", "gavel:lock-queue:{l}", "stray", "another", NULL);
    locking_await_waiters(rig->server, 1);
}

static void do_nothing(live_rig *rig)
{
    (void)rig;
}

Test(lock_queue, survives_killed_links, .timeout = 60)
{
    wait_through(kill_links, 10000, true);
}

Test(lock_queue, survives_forgotten_scripts, .timeout = 60)
{
    wait_through(flush_scripts, 10000, true);
}

Test(lock_queue, survives_being_unblocked, .timeout = 60)
{
    wait_through(unblock, 10000, true);
}

Test(lock_queue, survives_lost_data, .timeout = 60)
{
    wait_through(flush_all, 1000, false);
}

Test(lock_queue, survives_a_restart, .timeout = 60)
{
    wait_through(restart, 1000, false);
}

Test(lock_queue, strays_in_the_queue_grant_nothing, .timeout = 60)
{
    wait_through(push_strays, 10000, true);
}

Test(lock_queue, gets_the_lock_of_a_holder_that_died, .timeout = 60)
{
    wait_through(do_nothing, 500, false);
}

/* ---- Processes ------------------------------------------------------------------------------ */

/* A process that stands in the queue, until it is killed. */
static pid_t queue_in_child(test_server *server)
{
    pid_t child = fork();
    if (child != 0)
        return child;
    gavel_client *client = gavel_open(server_url(server), NULL, NULL);
    gavel_lock_acquire(client, &(gavel_lock_request){.name = GAVEL_STR("l"), .wait_ms = 100000});
    for (;;)
        pause();
}

/* Stopped, it is given the lock and does nothing: the next one has it a moment later. */
static void skip_one(int signal)
{
    live_rig rig = live_begin(NULL, NULL);
    gavel_lock *lock = locking_take(rig.client, 0);
    pid_t child = queue_in_child(rig.server);
    locking_await_waiters(rig.server, 1);
    locking_caller caller = {.client = live_open(server_url(rig.server), NULL), .wait_ms = 50000};
    locking_start(&caller);
    locking_await_waiters(rig.server, 2);
    kill(child, signal);
    locking_expect_released(lock, GAVEL_LOCK_RELEASED);
    locking_join(&caller);
    cr_expect_eq(caller.outcome.status, GAVEL_LOCK_HELD, "%s", caller.outcome.message);
    cr_expect_lt(caller.outcome.elapsed_us, 8000000);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    gavel_close(caller.client);
    live_end(&rig);
}

Test(lock_queue, passes_over_who_is_stopped, .timeout = 60)
{
    skip_one(SIGSTOP);
}

Test(lock_queue, passes_over_the_dead, .timeout = 60)
{
    skip_one(SIGKILL);
}

/* Many names and few links to wait on: all get their turn. */
Test(lock_queue, more_names_than_links, .timeout = 60)
{
    live_rig rig = live_begin(NULL, NULL);
    gavel_config config = {.max_waiting_links = 1};
    gavel_client *other = live_open(server_url(rig.server), &config);
    gavel_lock *first = locking_take(rig.client, 0);
    locking_caller caller = {.client = other, .wait_ms = 50000};
    locking_start(&caller);
    locking_await_waiters(rig.server, 1);
    gavel_lock_outcome held = gavel_lock_acquire(rig.client,
        &(gavel_lock_request){.name = GAVEL_STR("m"), .lease_ms = 300, .is_fixed = true});
    gavel_lock_outcome got =
        gavel_lock_acquire(other, &(gavel_lock_request){.name = GAVEL_STR("m"), .wait_ms = 10000});
    cr_expect_eq(got.status, GAVEL_LOCK_HELD, "%s", got.message);
    locking_expect_released(first, GAVEL_LOCK_RELEASED);
    locking_expect_released(held.lock, GAVEL_LOCK_LOST);
    locking_join(&caller);
    cr_expect_eq(caller.outcome.status, GAVEL_LOCK_HELD);
    gavel_close(other);
    live_end(&rig);
}
