/* gavel lock: a lock that is lost while the command runs. */
#include "tool.h"

#include <criterion/criterion.h>

#include <signal.h>

TestSuite(losses, .timeout = 60);

static void expect_lost(tool *self)
{
    cr_expect_eq(tool_end(self), 74);
    cr_expect(live_contains(self->errors, "lock \"a\""), "%s", self->errors);
    cr_expect(live_contains(self->errors, "lost"), "%s", self->errors);
}

Test(losses, the_command_is_asked_to_end)
{
    test_server *server = tool_server(NULL);
    tool self;
    tool_start(&self, "lock", "--lease-ms", "1000", "a", "--", tool_puppet(), "listen", NULL);
    tool_expect_ready(&self);
    server_do(server, "DEL", "gavel:lock:{a}", NULL);
    tool_expect(&self, "got 15");
    expect_lost(&self);
    server_stop(server);
}

/* The grace is long enough to say something first, on a busy machine too. */
Test(losses, one_that_is_deaf_is_killed_after_the_grace)
{
    test_server *server = tool_server(NULL);
    tool self;
    tool_start(&self, "lock", "--lease-ms", "1000", "--grace-ms", "3000", "a", "--", tool_puppet(),
        "deaf", NULL);
    tool_expect_ready(&self);
    server_do(server, "DEL", "gavel:lock:{a}", NULL);
    tool_expect(&self, "got 15");
    expect_lost(&self); /* Its output has ended, and so has the command. */
    server_stop(server);
}

Test(losses, all_of_its_processes_are_ended)
{
    test_server *server = tool_server(NULL);
    tool self;
    tool_start(&self, "lock", "--lease-ms", "1000", "--grace-ms", "3000", "a", "--", tool_puppet(),
        "family", NULL);
    tool_expect_ready(&self);
    server_do(server, "DEL", "gavel:lock:{a}", NULL);
    tool_expect(&self, "got 15");
    expect_lost(&self);
    server_stop(server);
}

Test(losses, without_the_server_the_lease_runs_out)
{
    test_server *server = tool_server(NULL);
    tool self;
    tool_start(&self, "lock", "--lease-ms", "1000", "a", "--", tool_puppet(), "listen", NULL);
    tool_expect_ready(&self);
    server_kill(server);
    tool_expect(&self, "got 15");
    expect_lost(&self);
    server_stop(server);
}

Test(losses, a_command_that_ends_by_itself_after_the_loss_is_told_on)
{
    test_server *server = tool_server(NULL);
    tool self;
    tool_start(&self, "lock", "--lease-ms", "60000", "a", "--", tool_puppet(), "listen", NULL);
    pid_t puppet = tool_expect_ready(&self);
    server_do(server, "DEL", "gavel:lock:{a}", NULL);
    kill(puppet, SIGTERM);
    tool_expect(&self, "got 15");
    expect_lost(&self);
    server_stop(server);
}

Test(losses, a_gavel_that_was_stopped_past_its_lease_ends_its_command)
{
    test_server *server = tool_server(NULL);
    tool self, next;
    tool_start(&self, "lock", "--lease-ms", "1000", "a", "--", tool_puppet(), "listen", NULL);
    tool_expect_ready(&self);
    kill(self.pid, SIGSTOP);
    tool_start(&next, "lock", "a", "--", tool_puppet(), "listen", NULL);
    tool_expect_ready(&next);
    kill(self.pid, SIGCONT);
    /* TERM is sent before CONT is passed on, and so comes first. */
    tool_expect(&self, "got 15");
    expect_lost(&self);
    kill(next.pid, SIGTERM);
    tool_expect(&next, "got 15");
    cr_expect_eq(tool_end(&next), 3);
    server_stop(server);
}

Test(losses, a_gavel_that_was_stopped_for_less_goes_on)
{
    test_server *server = tool_server(NULL);
    tool self;
    tool_start(&self, "lock", "--lease-ms", "60000", "a", "--", tool_puppet(), "listen", NULL);
    tool_expect_ready(&self);
    kill(self.pid, SIGSTOP);
    kill(self.pid, SIGCONT);
    tool_expect(&self, "got 18");
    kill(self.pid, SIGTERM);
    tool_expect(&self, "got 15");
    cr_expect_eq(tool_end(&self), 3);
    server_stop(server);
}
