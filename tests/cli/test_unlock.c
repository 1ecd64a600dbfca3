/* gavel unlock: who is asked, and what is taken away. */
#include "tool.h"

#include <criterion/criterion.h>

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

TestSuite(unlock, .timeout = 60);

#define OWNER "0123456789abcdef0123456789abcdef"
#define RECORD OWNER " fence=5 since=1000 pid=7 host=h"

typedef struct rig {
    test_server *server;
    int master;
    tool tool;
} rig;

/* Somebody has the lock, and gavel asks whether it should be taken away. */
static rig begin_asking(void)
{
    rig self = {.master = -1};
    int terminal = tool_open_terminal(&self.master);
    self.server = tool_server(NULL);
    server_do(self.server, "SET", "gavel:lock:{a}", RECORD, NULL);
    tool_start_with(&self.tool, (const char *const[]){"gavel", "unlock", "a", NULL}, terminal);
    tool_await_error(&self.tool, "[y/N] ");
    cr_expect(live_contains(self.tool.line, "process 7 on h for"), "%s", self.tool.line);
    return self;
}

static int end_asking(rig *self, const char *answer)
{
    cr_assert_eq(write(self->master, answer, strlen(answer)), (ssize_t)strlen(answer));
    return tool_end(&self->tool);
}

Test(unlock, nothing_to_take)
{
    test_server *server = tool_server(NULL);
    tool self;
    cr_expect_eq(tool_run(&self, "unlock", "--force", "a", NULL), 1);
    cr_expect(live_contains(self.errors, "nobody holds"));
    server_stop(server);
}

Test(unlock, the_next_gets_it_and_the_holder_is_ended)
{
    test_server *server = tool_server(NULL);
    tool holder, next, self;
    tool_start(&holder, "lock", "--lease-ms", "3000", "a", "--", tool_puppet(), "listen", NULL);
    tool_expect_ready(&holder);
    tool_start(&next, "lock", "a", "--", tool_puppet(), "listen", NULL);
    tool_await_waiters(server, "a", 1);
    cr_expect_eq(tool_run(&self, "unlock", "--force", "a", NULL), 0);
    tool_expect_ready(&next);
    tool_expect(&holder, "got 15");
    cr_expect_eq(tool_end(&holder), 74);
    kill(next.pid, SIGTERM);
    cr_expect_eq(tool_end(&next), 3);
    cr_expect_eq(tool_run(&self, "unlock", "--force", "a", NULL), 1);
    server_stop(server);
}

Test(unlock, a_record_that_somebody_else_wrote)
{
    test_server *server = tool_server(NULL);
    tool self;
    server_do(server, "SET", "gavel:lock:{a}", "mine", NULL);
    cr_expect_eq(tool_run(&self, "unlock", "--force", "a", NULL), 0);
    cr_expect_eq(tool_run(&self, "lock", "--wait-ms", "0", "a", "true", NULL), 0);
    server_do(server, "DEL", "gavel:lock:{a}", NULL);
    server_do(server, "RPUSH", "gavel:lock:{a}", "mine", NULL);
    cr_expect_eq(tool_run(&self, "unlock", "--force", "a", NULL), 69);
    cr_expect(live_contains(self.errors, "WRONGTYPE"), "%s", self.errors);
    server_stop(server);
}

Test(unlock, no_message_is_sent_to_the_server)
{
    test_server *server = tool_server(NULL);
    server_do(server, "RPUSH", "gavel:lock:{a}", "mine", NULL);
    /* The connection would be descriptor 2. */
    cr_expect_eq(
        tool_run_closed(2, (const char *const[]){"gavel", "unlock", "--force", "a", NULL}), 69);
    cr_expect_eq(server_info(server, "total_error_replies"), 1, "more than WRONGTYPE");
    server_stop(server);
}

Test(unlock, without_a_terminal_only_by_force)
{
    test_server *server = tool_server(NULL);
    tool self;
    server_do(server, "SET", "gavel:lock:{a}", RECORD, NULL);
    cr_expect_eq(tool_run(&self, "unlock", "a", NULL), 64);
    cr_expect(live_contains(self.errors, "--force"));
    cr_expect(server_says(server, RECORD, "GET", "gavel:lock:{a}", NULL));
    server_stop(server);
}

Test(unlock, yes)
{
    rig self = begin_asking();
    cr_expect_eq(end_asking(&self, "y\n"), 0);
    cr_expect_not(server_says(self.server, RECORD, "GET", "gavel:lock:{a}", NULL));
    server_stop(self.server);
}

static void expect_left_alone(const char *answer)
{
    rig self = begin_asking();
    cr_expect_eq(end_asking(&self, answer), 2);
    cr_expect(server_says(self.server, RECORD, "GET", "gavel:lock:{a}", NULL));
    server_stop(self.server);
}

Test(unlock, no)
{
    expect_left_alone("no\n");
}

Test(unlock, just_return)
{
    expect_left_alone("\n");
}

Test(unlock, no_answer)
{
    expect_left_alone("\004");
}

Test(unlock, it_changed_hands_while_it_was_asked)
{
    static const char other[] = "fedcba9876543210fedcba9876543210 fence=6 since=1000 pid=8 host=h";
    rig self = begin_asking();
    server_do(self.server, "SET", "gavel:lock:{a}", other, NULL);
    cr_expect_eq(end_asking(&self, "y\n"), 2);
    cr_expect(live_contains(self.tool.errors, "left alone"));
    cr_expect(server_says(self.server, other, "GET", "gavel:lock:{a}", NULL));
    server_stop(self.server);
}
