/* gavel lock --at-least: a lock that outlives its command. */
#include "tool.h"

#include <criterion/criterion.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

TestSuite(at_least, .timeout = 60);

/* Returns when the command has ended, and gavel has noticed. */
static void await_end_of_command(tool *self)
{
    const char *line = tool_read(self);
    cr_assert_not_null(line);
    pid_t pid = (pid_t)atol(line);
    int64_t until_us = live_now_us() + 30000000;
    while (kill(pid, 0) == 0)
        cr_assert_lt(live_now_us(), until_us);
    cr_assert_eq(errno, ESRCH);
}

static void start_short_job(tool *self)
{
    tool_start(self, "lock", "--lease-ms", "1000", "--at-least", "1h", "a", "--", "sh", "-c",
        "echo $$", NULL);
    await_end_of_command(self);
}

/* What cron does on two machines whose clocks are a little apart. */
Test(at_least, a_job_of_an_instant_runs_on_one_machine)
{
    test_server *server = tool_server(NULL);
    tool first, second;
    start_short_job(&first);
    cr_expect_eq(tool_run(&second, "lock", "--wait-ms", "0", "--at-least", "1h", "a", "true", NULL),
        75, "it ran twice");
    kill(first.pid, SIGKILL);
    tool_end(&first);
    server_stop(server);
}

static void expect_held(const char *time, int64_t ms, const char *act, int number, int status)
{
    tool self;
    char text[16];
    snprintf(text, sizeof(text), "%d", number);
    int64_t before_us = live_now_us();
    int got =
        tool_run(&self, "lock", "--at-least", time, "a", "--", tool_puppet(), act, text, NULL);
    cr_expect_eq(got, status, "%d: %s", got, self.errors);
    cr_expect_geq(live_now_us() - before_us, ms * 1000);
    cr_expect_str_empty(self.errors);
}

Test(at_least, it_is_held_that_long_however_the_command_ends)
{
    test_server *server = tool_server(NULL);
    expect_held("300ms", 300, "exit", 0, 0);
    expect_held("300ms", 300, "exit", 7, 7);
    expect_held("300ms", 300, "die", SIGKILL, 128 + SIGKILL);
    expect_held("1s", 1000, "exit", 0, 0);
    expect_held("0ms", 0, "exit", 0, 0);
    server_stop(server);
}

Test(at_least, a_command_that_takes_longer_ends_it)
{
    test_server *server = tool_server(NULL);
    tool self;
    int64_t before_us = live_now_us();
    tool_start(&self, "lock", "--at-least", "1ms", "a", "--", tool_puppet(), "listen", NULL);
    tool_expect_ready(&self);
    while (live_now_us() - before_us < 50000)
        continue;
    kill(self.pid, SIGTERM);
    cr_expect_eq(tool_end(&self), 3);
    cr_expect_eq(tool_run(&self, "lock", "--wait-ms", "0", "a", "true", NULL), 0);
    server_stop(server);
}

Test(at_least, a_signal_ends_it)
{
    test_server *server = tool_server(NULL);
    tool self;
    start_short_job(&self);
    kill(self.pid, SIGTERM);
    cr_expect_eq(tool_end(&self), -SIGTERM);
    cr_expect_eq(
        tool_run(&self, "lock", "--wait-ms", "0", "a", "true", NULL), 0, "%s", self.errors);
    server_stop(server);
}

Test(at_least, a_loss_meanwhile_is_told)
{
    test_server *server = tool_server(NULL);
    tool self;
    start_short_job(&self);
    server_do(server, "DEL", "gavel:lock:{a}", NULL);
    cr_expect_eq(tool_end(&self), 74);
    cr_expect(live_contains(self.errors, "lost before the time of --at-least was over"), "%s",
        self.errors);
    server_stop(server);
}
