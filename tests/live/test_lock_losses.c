/* Losing locks on a real server: what the holder is told, and when. */
#include "locking.h"

#include <criterion/criterion.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* Long enough for a renewal to come in time on a busy machine, too. */
#define LEASE_MS 1500

/* Holds "l" with such a lease, and counts its loss. */
static gavel_lock *hold(gavel_client *client, locking_losses *losses)
{
    gavel_lock_outcome got = gavel_lock_acquire(client, &(gavel_lock_request){
                                                            .name = GAVEL_STR("l"),
                                                            .lease_ms = LEASE_MS,
                                                            .on_lost = locking_on_lost,
                                                            .user = losses,
                                                        });
    cr_assert_eq(got.status, GAVEL_LOCK_HELD, "%s", got.message);
    return got.lock;
}

static void expect_lost(gavel_lock *lock, locking_losses *losses, gavel_lock_reason reason)
{
    locking_await_loss(losses);
    cr_expect_eq(losses->reason, (int)reason);
    cr_expect_eq(gavel_lock_remaining_ms(lock), 0);
    gavel_lock_outcome outcome = gavel_lock_release(lock);
    cr_expect_eq(outcome.status, GAVEL_LOCK_LOST);
    cr_expect_eq(outcome.reason, reason);
    cr_expect_eq(losses->n_lost, 1);
}

Test(lock_losses, renewal_keeps_it_while_nobody_is_inside, .timeout = 60)
{
    live_rig rig = live_begin(NULL, NULL);
    locking_losses losses = {0};
    gavel_lock *lock = hold(rig.client, &losses);
    int64_t until_us = live_now_us() + 3 * LEASE_MS * INT64_C(1000);
    while (live_now_us() < until_us)
        cr_assert_gt(gavel_lock_remaining_ms(lock), 0);
    cr_expect_eq(losses.n_lost, 0);
    locking_expect_released(lock, GAVEL_LOCK_RELEASED);
    live_end(&rig);
}

Test(lock_losses, a_fixed_lease_ends, .timeout = 60)
{
    live_rig rig = live_begin(NULL, NULL);
    locking_losses losses = {0};
    gavel_lock_outcome got = gavel_lock_acquire(rig.client, &(gavel_lock_request){
                                                                .name = GAVEL_STR("l"),
                                                                .lease_ms = 300,
                                                                .is_fixed = true,
                                                                .on_lost = locking_on_lost,
                                                                .user = &losses,
                                                            });
    expect_lost(got.lock, &losses, GAVEL_LOCK_EXPIRED);
    live_end(&rig);
}

Test(lock_losses, a_stopped_server_is_a_loss_when_the_lease_is_over, .timeout = 60)
{
    live_rig rig = live_begin(
        NULL, &(gavel_config){.connect_timeout_ms = 100000, .command_timeout_ms = 100000});
    locking_losses losses = {0};
    gavel_lock *lock = hold(rig.client, &losses);
    int64_t begun_us = live_now_us();
    server_pause(rig.server);
    locking_await_loss(&losses);
    cr_expect_lt(live_now_us() - begun_us, 30000000, "it waited for the server");
    expect_lost(lock, &losses, GAVEL_LOCK_EXPIRED);
    server_resume(rig.server);
    /* What a late renewal brought back does not stay. */
    gavel_client *other = live_open(server_url(rig.server), NULL);
    gavel_lock *next = locking_take(other, 0);
    locking_expect_released(next, GAVEL_LOCK_RELEASED);
    gavel_close(other);
    live_end(&rig);
}

Test(lock_losses, a_renewal_that_comes_through_in_time_is_no_loss, .timeout = 60)
{
    live_rig rig = live_begin(NULL, NULL);
    locking_losses losses = {0};
    gavel_lock_outcome got = gavel_lock_acquire(rig.client, &(gavel_lock_request){
                                                                .name = GAVEL_STR("l"),
                                                                .lease_ms = 3000,
                                                                .on_lost = locking_on_lost,
                                                                .user = &losses,
                                                            });
    cr_assert_eq(got.status, GAVEL_LOCK_HELD);
    /* Past the first renewal, whose connection is given up. */
    server_do(rig.server, "CLIENT", "PAUSE", "1500", NULL);
    while (gavel_lock_remaining_ms(got.lock) > 1700)
        continue;
    while (gavel_lock_remaining_ms(got.lock) < 2000)
        cr_assert_gt(gavel_lock_remaining_ms(got.lock), 0);
    cr_expect_eq(losses.n_lost, 0);
    locking_expect_released(got.lock, GAVEL_LOCK_RELEASED);
    live_end(&rig);
}

Test(lock_losses, killed_links_are_no_loss, .timeout = 60)
{
    live_rig rig = live_begin(NULL, NULL);
    locking_losses losses = {0};
    gavel_lock *lock = hold(rig.client, &losses);
    for (int i = 0; i < 5; i++) {
        server_do(rig.server, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes", NULL);
        int64_t until_us = live_now_us() + LEASE_MS * INT64_C(500);
        while (live_now_us() < until_us)
            cr_assert_gt(gavel_lock_remaining_ms(lock), 0);
    }
    cr_expect_eq(losses.n_lost, 0);
    locking_expect_released(lock, GAVEL_LOCK_RELEASED);
    live_end(&rig);
}

Test(lock_losses, a_flush_is_told, .timeout = 60)
{
    live_rig rig = live_begin(NULL, NULL);
    locking_losses losses = {0};
    gavel_lock *lock = hold(rig.client, &losses);
    server_do(rig.server, "FLUSHALL", NULL);
    expect_lost(lock, &losses, GAVEL_LOCK_GONE);
    live_end(&rig);
}

Test(lock_losses, a_takeover_is_told, .timeout = 60)
{
    live_rig rig = live_begin(NULL, NULL);
    locking_losses losses = {0};
    gavel_lock *lock = hold(rig.client, &losses);
    server_do(rig.server, "SET", "gavel:lock:{l}", "somebody else", NULL);
    expect_lost(lock, &losses, GAVEL_LOCK_TAKEN);
    cr_expect(server_says(rig.server, "somebody else", "GET", "gavel:lock:{l}", NULL));
    live_end(&rig);
}

Test(lock_losses, a_restart_without_data_is_told, .timeout = 60)
{
    live_rig rig = live_begin(NULL, NULL);
    locking_losses losses = {0};
    gavel_lock_outcome got = gavel_lock_acquire(rig.client, &(gavel_lock_request){
                                                                .name = GAVEL_STR("l"),
                                                                .lease_ms = 3000,
                                                                .on_lost = locking_on_lost,
                                                                .user = &losses,
                                                            });
    server_kill(rig.server);
    server_restart(rig.server);
    expect_lost(got.lock, &losses, GAVEL_LOCK_GONE);
    live_end(&rig);
}

Test(lock_losses, release_finds_out_what_nobody_has_told, .timeout = 60)
{
    live_rig rig = live_begin(NULL, NULL);
    gavel_lock *lock = locking_take(rig.client, 60000);
    server_do(rig.server, "DEL", "gavel:lock:{l}", NULL);
    gavel_lock_outcome outcome = gavel_lock_release(lock);
    cr_expect_eq(outcome.status, GAVEL_LOCK_LOST);
    cr_expect_eq(outcome.reason, GAVEL_LOCK_GONE);
    live_end(&rig);
}

Test(lock_losses, release_does_not_touch_what_somebody_else_holds, .timeout = 60)
{
    live_rig rig = live_begin(NULL, NULL);
    gavel_lock *lock = locking_take(rig.client, 60000);
    server_do(rig.server, "SET", "gavel:lock:{l}", "somebody else", NULL);
    gavel_lock_outcome outcome = gavel_lock_release(lock);
    cr_expect_eq(outcome.status, GAVEL_LOCK_LOST);
    cr_expect_eq(outcome.reason, GAVEL_LOCK_TAKEN);
    cr_expect(server_says(rig.server, "somebody else", "GET", "gavel:lock:{l}", NULL));
    live_end(&rig);
}

Test(lock_losses, release_of_a_silent_server_does_not_hang, .timeout = 60)
{
    gavel_config config = {.connect_timeout_ms = 1000, .command_timeout_ms = 1000};
    live_rig rig = live_begin(NULL, &config);
    gavel_lock *lock = locking_take(rig.client, 60000);
    server_pause(rig.server);
    int64_t begun_us = live_now_us();
    gavel_lock_outcome outcome = gavel_lock_release(lock);
    cr_expect_eq(outcome.status, GAVEL_LOCK_UNKNOWN, "%s", outcome.message);
    cr_expect_lt(live_now_us() - begun_us, 30000000);
    /* It is given back behind the caller's back as soon as that is possible. */
    server_resume(rig.server);
    gavel_client *other = live_open(server_url(rig.server), NULL);
    gavel_lock *next = locking_take(other, 0);
    locking_expect_released(next, GAVEL_LOCK_RELEASED);
    gavel_close(other);
    live_end(&rig);
}

Test(lock_losses, acquire_of_a_silent_server_is_unknown_and_leaves_nothing, .timeout = 60)
{
    gavel_config config = {.connect_timeout_ms = 1000, .command_timeout_ms = 1000};
    live_rig rig = live_begin(NULL, &config);
    locking_expect_try(rig.client, GAVEL_LOCK_HELD);
    server_pause(rig.server);
    gavel_lock_outcome outcome = gavel_lock_acquire(rig.client,
        &(gavel_lock_request){.name = GAVEL_STR("l"), .wait_ms = 500, .lease_ms = 60000});
    cr_expect_eq(outcome.status, GAVEL_LOCK_UNKNOWN, "%s: %s",
        gavel_lock_status_name(outcome.status), outcome.message);
    cr_expect_null(outcome.lock);
    server_resume(rig.server);
    gavel_client *other = live_open(server_url(rig.server), NULL);
    gavel_lock *next = locking_take(other, 0);
    locking_expect_released(next, GAVEL_LOCK_RELEASED);
    gavel_close(other);
    live_end(&rig);
}

Test(lock_losses, closing_releases, .timeout = 60)
{
    live_rig rig = live_begin(NULL, NULL);
    gavel_client *other = live_open(server_url(rig.server), NULL);
    locking_losses losses = {0};
    hold(other, &losses);
    gavel_lock_outcome second =
        gavel_lock_acquire(other, &(gavel_lock_request){.name = GAVEL_STR("m"), .lease_ms = 60000});
    cr_expect_eq(second.status, GAVEL_LOCK_HELD);
    gavel_close(other);
    cr_expect_eq(losses.n_lost, 0);
    locking_expect_try(rig.client, GAVEL_LOCK_HELD);
    second = gavel_lock_acquire(
        rig.client, &(gavel_lock_request){.name = GAVEL_STR("m"), .is_try = true});
    cr_expect_eq(second.status, GAVEL_LOCK_HELD);
    live_end(&rig);
}

/* No renewal is sent after a release: the server counts them. */
Test(lock_losses, renewals_end_with_the_release, .timeout = 60)
{
    live_rig rig = live_begin(NULL, NULL);
    locking_losses losses = {0};
    gavel_lock *lock = hold(rig.client, &losses);
    locking_expect_released(lock, GAVEL_LOCK_RELEASED);
    long long n_commands = server_info(rig.server, "total_commands_processed");
    int64_t until_us = live_now_us() + LEASE_MS * INT64_C(500);
    while (live_now_us() < until_us)
        continue;
    cr_expect_leq(server_info(rig.server, "total_commands_processed") - n_commands, 1);
    live_end(&rig);
}

/* ---- Processes ------------------------------------------------------------------------------ */

/* In a process that is stopped past its lease: 0 if it learned of the loss first of all. */
static int hold_in_child(test_server *server, int ready)
{
    gavel_client *client = gavel_open(server_url(server), NULL, NULL);
    locking_losses losses = {0};
    gavel_lock *lock = hold(client, &losses);
    if (write(ready, "x", 1) != 1)
        return 1;
    while (gavel_lock_remaining_ms(lock) > 0)
        continue;
    gavel_lock_command command = {
        .command = GAVEL_COMMAND(GAVEL_STR("SET"), GAVEL_STR("stale"), GAVEL_STR("1"))};
    if (gavel_lock_do(lock, &command).status != GAVEL_LOCK_LOST)
        return 2;
    if (losses.n_lost != 1 || losses.reason != GAVEL_LOCK_EXPIRED)
        return 3;
    if (gavel_lock_extend(lock, 0).status != GAVEL_LOCK_LOST)
        return 4;
    if (gavel_lock_release(lock).status != GAVEL_LOCK_LOST)
        return 5;
    gavel_close(client);
    return 0;
}

Test(lock_losses, a_stopped_process_learns_of_it_first, .timeout = 60)
{
    live_rig rig = live_begin(NULL, NULL);
    int ready[2];
    char byte;
    cr_assert_eq(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0)
        _exit(hold_in_child(rig.server, ready[1]));
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    kill(child, SIGSTOP);
    gavel_lock *lock = locking_take(rig.client, 0); /* when the lease is over */
    kill(child, SIGCONT);
    int status = 0;
    waitpid(child, &status, 0);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%d", WEXITSTATUS(status));
    cr_expect_eq(server_int(rig.server, "EXISTS", "stale", NULL), 0);
    locking_expect_released(lock, GAVEL_LOCK_RELEASED); /* not taken by the other's release */
    live_end(&rig);
}

static int use_in_child(gavel_client *client, gavel_lock *lock)
{
    if (gavel_lock_remaining_ms(lock) != 0)
        return 1;
    if (gavel_lock_release(lock).status != GAVEL_LOCK_INVALID)
        return 2;
    if (locking_try(client).status != GAVEL_LOCK_INVALID)
        return 3;
    gavel_close(client);
    return 0;
}

Test(lock_losses, a_child_process_has_no_lock, .timeout = 60)
{
    live_rig rig = live_begin(NULL, NULL);
    locking_losses losses = {0};
    gavel_lock *lock = hold(rig.client, &losses);
    pid_t child = fork();
    if (child == 0)
        _exit(use_in_child(rig.client, lock));
    int status = 0;
    waitpid(child, &status, 0);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%d", WEXITSTATUS(status));
    cr_expect_gt(gavel_lock_remaining_ms(lock), 0);
    locking_expect_released(lock, GAVEL_LOCK_RELEASED);
    live_end(&rig);
}
