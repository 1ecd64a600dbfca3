/* gavel lock: waiting for the lock, and several at once. */
#include "tool.h"

#include <criterion/criterion.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

TestSuite(waiting, .timeout = 60);

Test(waiting, in_vain)
{
    test_server *server = tool_server(NULL);
    tool holder, self;
    tool_start(&holder, "lock", "a", "--", tool_puppet(), "listen", NULL);
    tool_expect_ready(&holder);
    cr_expect_eq(tool_run(&self, "lock", "--wait-ms", "0", "a", "true", NULL), 75);
    cr_expect(live_contains(self.errors, "lock \"a\""), "%s", self.errors);
    cr_expect(live_contains(self.errors, server_path(server)), "%s", self.errors);
    char pid[32];
    snprintf(pid, sizeof(pid), "pid=%d", (int)holder.pid);
    cr_expect(live_contains(self.errors, pid), "it does not say who has it: %s", self.errors);
    cr_expect_eq(tool_run(&self, "lock", "--wait-ms", "50", "a", "true", NULL), 75);
    cr_expect_not(live_contains(self.errors, "trying again"), "%s", self.errors);
    cr_expect_eq(tool_run(&self, "lock", "--wait-ms", "0", "b", "true", NULL), 0);
    kill(holder.pid, SIGTERM);
    cr_expect_eq(tool_end(&holder), 3);
    server_stop(server);
}

Test(waiting, order_of_arrival)
{
    enum { N = 4 };
    test_server *server = tool_server(NULL);
    tool holder, tools[N];
    tool_start(&holder, "lock", "a", "--", tool_puppet(), "listen", NULL);
    tool_expect_ready(&holder);
    for (int i = 0; i < N; i++) {
        tool_start(&tools[i], "lock", "a", "--", tool_puppet(), "env", NULL);
        tool_await_waiters(server, "a", i + 1);
    }
    kill(holder.pid, SIGTERM);
    cr_expect_eq(tool_end(&holder), 3);
    unsigned long long last = 0;
    for (int i = 0; i < N; i++) {
        cr_expect_eq(tool_end(&tools[i]), 0);
        unsigned long long fence = strtoull(tools[i].output, NULL, 10);
        cr_expect_gt(fence, last, "number %d came before its turn", i);
        last = fence;
    }
    server_stop(server);
}

Test(waiting, nobody_is_in_there_with_another)
{
    enum { N = 12 };
    test_server *server = tool_server(NULL);
    char path[128];
    snprintf(path, sizeof(path), "%s.alone", server_path(server));
    tool tools[N];
    for (int i = 0; i < N; i++)
        tool_start(&tools[i], "lock", "a", "--", tool_puppet(), "alone", path, NULL);
    for (int i = 0; i < N; i++)
        cr_expect_eq(tool_end(&tools[i]), 0);
    server_stop(server);
}

Test(waiting, a_signal_ends_it_as_it_would_any_program)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};
    test_server *server = tool_server(NULL);
    tool holder, self;
    tool_start(&holder, "lock", "a", "--", tool_puppet(), "listen", NULL);
    tool_expect_ready(&holder);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        signal(numbers[i], SIG_DFL); /* a job in the background is born deaf to some */
        tool_start(&self, "lock", "a", "--", tool_puppet(), "env", NULL);
        tool_await_waiters(server, "a", 1);
        kill(self.pid, numbers[i]);
        cr_expect_eq(tool_end(&self), -numbers[i]);
        cr_expect_str_empty(self.output, "the command has run");
        cr_expect_str_empty(self.errors, "%s", self.errors); /* its own closing is no outage */
        tool_await_waiters(server, "a", 0);
    }
    kill(holder.pid, SIGTERM);
    cr_expect_eq(tool_end(&holder), 3);
    server_stop(server);
}

Test(waiting, the_lock_of_a_gavel_that_was_killed_is_free_after_its_lease)
{
    test_server *server = tool_server(NULL);
    tool holder, self;
    tool_start(&holder, "lock", "--lease-ms", "1000", "a", "--", tool_puppet(), "listen", NULL);
    tool_expect_ready(&holder);
    tool_start(&self, "lock", "a", "--", tool_puppet(), "env", NULL);
    tool_await_waiters(server, "a", 1);
    kill(holder.pid, SIGKILL);
    tool_expect(&holder, "got 15"); /* Its command is told. */
    cr_expect_eq(tool_end(&holder), -SIGKILL);
    cr_expect_eq(tool_end(&self), 0);
    server_stop(server);
}

Test(waiting, the_server_may_go_and_come_back)
{
    test_server *server = tool_server(NULL);
    tool self;
    server_do(server, "SET", "gavel:lock:{a}", "somebody", NULL);
    tool_start(&self, "lock", "a", "--", tool_puppet(), "env", NULL);
    tool_await_waiters(server, "a", 1);
    server_kill(server);
    tool_await_error(&self, "; trying again\n");
    server_restart(server);
    cr_expect_eq(tool_end(&self), 0);
    cr_expect_str_empty(self.errors, "said more than once");
    server_stop(server);
}
