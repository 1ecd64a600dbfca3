/* gavel lock: what the command gets, and what comes of its end. */
#include "tool.h"

#include <criterion/criterion.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

TestSuite(command, .timeout = 60);

Test(command, its_status_is_passed_on)
{
    test_server *server = tool_server(NULL);
    tool self;
    const char *puppet = tool_puppet();
    cr_expect_eq(tool_run(&self, "lock", "a", "--", puppet, "exit", "0", NULL), 0);
    cr_expect_eq(tool_run(&self, "lock", "a", puppet, "exit", "7", NULL), 7);
    cr_expect_eq(tool_run(&self, "lock", "a", "--", puppet, "exit", "255", NULL), 255);
    cr_expect_eq(tool_run(&self, "lock", "a", "--", puppet, "die", "9", NULL), 128 + SIGKILL);
    cr_expect_eq(tool_run(&self, "lock", "a", "--", puppet, "die", "15", NULL), 128 + SIGTERM);
    cr_expect_str_empty(self.errors);
    server_stop(server);
}

Test(command, one_that_cannot_be_started_is_as_in_a_shell)
{
    test_server *server = tool_server(NULL);
    tool self;
    cr_expect_eq(tool_run(&self, "lock", "a", "--", "/nowhere/at/all", NULL), 127);
    cr_expect(live_contains(self.errors, "gavel: /nowhere/at/all: No such file"));
    cr_expect_eq(tool_run(&self, "lock", "a", "--", "/dev/null", NULL), 126);
    cr_expect(live_contains(self.errors, "gavel: /dev/null: Permission denied"));
    server_stop(server);
}

Test(command, nothing_is_left_on_the_server_but_the_fence)
{
    test_server *server = tool_server(NULL);
    tool self;
    cr_expect_eq(tool_run(&self, "lock", "a", "--", tool_puppet(), "exit", "0", NULL), 0);
    server_do(server, "DEL", "gavel:lock:{a}", "gavel:lock-queue:{a}", NULL); /* a second's life */
    cr_expect_eq(server_int(server, "DBSIZE", NULL), 1);
    server_stop(server);
}

/* The URL may be one that other programs share. */
Test(command, what_a_url_says_of_transactions_is_no_matter)
{
    static const char *const options[] = {
        "min_replicas=1", "min_replicas=all&durable_ms=9", "needs_fsync=yes", "mode=gated"};
    test_server *server = tool_server(NULL);
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        char url[192];
        tool self;
        snprintf(url, sizeof(url), "%s?%s", server_url(server), options[i]);
        setenv("GAVEL_URL", url, 1);
        cr_expect_eq(tool_run(&self, "lock", "a", "--", tool_puppet(), "exit", "3", NULL), 3,
            "%s: %s", options[i], self.errors);
        cr_expect_eq(tool_run(&self, "locks", NULL), 0, "%s: %s", options[i], self.errors);
    }
    server_stop(server);
}

Test(command, it_knows_its_lock_and_the_fence_grows)
{
    test_server *server = tool_server(NULL);
    tool self;
    unsigned long long last = 0;
    for (int i = 0; i < 5; i++) {
        cr_expect_eq(tool_run(&self, "lock", "a b", "--", tool_puppet(), "env", NULL), 0);
        char *end;
        unsigned long long fence = strtoull(self.output, &end, 10);
        cr_expect_gt(fence, last);
        cr_expect_str_eq(end, " a b\n");
        last = fence;
    }
    server_stop(server);
}

Test(command, it_gets_signals_and_descriptors_as_gavel_got_them)
{
    test_server *server = tool_server(NULL);
    tool self;
    cr_expect_eq(tool_run(&self, "lock", "a", "--", tool_puppet(), "state", NULL), 0);
    cr_expect_str_eq(self.output, "blocked 0\npipe ignored 0\ninherited 0\nleads its group 1\n");
    signal(SIGPIPE, SIG_IGN);
    cr_expect_eq(tool_run(&self, "lock", "a", "--", tool_puppet(), "state", NULL), 0);
    cr_expect(live_contains(self.output, "pipe ignored 1\n"));
    server_stop(server);
}

Test(command, it_has_closed_streams_as_its_caller_had)
{
    test_server *server = tool_server(NULL);
    const char *args[] = {"gavel", "lock", "a", "--", tool_puppet(), "streams", NULL};
    cr_expect_eq(tool_run_closed(0, args), 0);
    server_stop(server);
}

Test(command, each_signal_reaches_it_once)
{
    static const int numbers[] = {SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT};
    test_server *server = tool_server(NULL);
    tool self;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        signal(numbers[i], SIG_DFL); /* a job in the background is born deaf to some */
    tool_start(&self, "lock", "a", "--", tool_puppet(), "listen", NULL);
    tool_expect_ready(&self);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        char line[16];
        snprintf(line, sizeof(line), "got %d", numbers[i]);
        kill(self.pid, numbers[i]);
        tool_expect(&self, line);
    }
    kill(self.pid, SIGTERM);
    tool_expect(&self, "got 15");
    cr_expect_eq(tool_end(&self), 3);
    cr_expect_str_empty(self.output, "a signal came twice");
    server_stop(server);
}

Test(command, a_signal_that_the_caller_ignores_stays_ignored)
{
    test_server *server = tool_server(NULL);
    tool self;
    signal(SIGHUP, SIG_IGN);
    tool_start(&self, "lock", "a", "--", tool_puppet(), "listen", NULL);
    tool_expect_ready(&self);
    kill(self.pid, SIGHUP);
    kill(self.pid, SIGUSR1);
    tool_expect(&self, "got 10");
    kill(self.pid, SIGTERM);
    tool_expect(&self, "got 15");
    cr_expect_eq(tool_end(&self), 3);
    server_stop(server);
}

Test(command, the_lock_is_free_when_it_has_ended)
{
    test_server *server = tool_server(NULL);
    tool first, second;
    tool_start(&first, "lock", "a", "--", tool_puppet(), "listen", NULL);
    tool_expect_ready(&first);
    cr_expect_eq(
        tool_run(&second, "lock", "--wait-ms=0", "a", "--", tool_puppet(), "env", NULL), 75);
    kill(first.pid, SIGTERM);
    cr_expect_eq(tool_end(&first), 3);
    cr_expect_eq(
        tool_run(&second, "lock", "--wait-ms=0", "a", "--", tool_puppet(), "env", NULL), 0);
    server_stop(server);
}
