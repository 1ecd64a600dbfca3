/* gavel lock on a terminal. The test is the shell. */
#include "tool.h"

#include <criterion/criterion.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(terminal, .timeout = 60);

typedef struct rig {
    test_server *server;
    int terminal;
    int master;
    tool tool;
    pid_t puppet;
} rig;

/* gavel lock with a puppet that does `what`. */
static rig begin_in(bool is_foreground, const char *what, const char *lease_ms)
{
    rig self = {.master = -1};
    self.terminal = tool_open_terminal(&self.master);
    self.server = tool_server(NULL);
    const char *args[] = {
        "gavel", "lock", "--lease-ms", lease_ms, "a", "--", tool_puppet(), what, NULL};
    int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    tool_start_with(&self.tool, args, is_foreground ? self.terminal : nothing);
    close(nothing);
    self.puppet = tool_expect_ready(&self.tool);
    return self;
}

static rig begin(const char *what, const char *lease_ms)
{
    return begin_in(true, what, lease_ms);
}

static void end(rig *self, int status)
{
    cr_expect_eq(tool_end(&self->tool), status);
    cr_expect_str_empty(self->tool.output);
    server_stop(self->server);
}

static void type(rig *self, const char *text)
{
    cr_assert_eq(write(self->master, text, strlen(text)), (ssize_t)strlen(text));
}

static void await_stop_of(pid_t pid)
{
    int status = 0;
    cr_assert_eq(waitpid(pid, &status, WUNTRACED), pid);
    cr_assert(WIFSTOPPED(status), "it has not stopped: %x", (unsigned)status);
}

static void await_stop(rig *self)
{
    await_stop_of(self->tool.pid);
}

static void await_lent(rig *self)
{
    while (tcgetpgrp(self->terminal) != self->puppet)
        continue;
}

/* Another process of gavel's job, as in a pipeline. */
static pid_t add_neighbour(rig *self)
{
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            pause();
    }
    cr_assert_eq(setpgid(pid, self->tool.pid), 0);
    return pid;
}

/* What a shell does for "fg". */
static void bring_to_foreground(rig *self)
{
    sigset_t output;
    sigemptyset(&output);
    sigaddset(&output, SIGTTOU);
    sigprocmask(SIG_BLOCK, &output, NULL);
    cr_assert_eq(tcsetpgrp(self->terminal, self->tool.pid), 0);
    sigprocmask(SIG_UNBLOCK, &output, NULL);
    kill(-self->tool.pid, SIGCONT);
}

static void terminate(rig *self)
{
    kill(self->tool.pid, SIGTERM);
    tool_expect(&self->tool, "got 15");
}

Test(terminal, ctrl_c_reaches_the_command_once)
{
    rig self = begin("listen", "60000");
    type(&self, "\003");
    tool_expect(&self.tool, "got 2");
    type(&self, "\034");
    tool_expect(&self.tool, "got 3");
    terminate(&self);
    end(&self, 3);
}

Test(terminal, the_command_reads_from_it)
{
    rig self = begin("read", "60000");
    type(&self, "hello\n");
    tool_expect(&self.tool, "read hello");
    end(&self, 0);
    cr_expect_eq(tcgetpgrp(self.terminal), self.tool.pid, "the terminal was not given back");
}

Test(terminal, ctrl_c_reaches_a_command_that_reads_from_it)
{
    rig self = begin("read", "60000");
    await_lent(&self);
    type(&self, "\003");
    end(&self, 128 + SIGINT);
}

Test(terminal, ctrl_z_stops_both_and_both_go_on)
{
    rig self = begin("listen", "60000");
    for (int i = 0; i < 2; i++) {
        type(&self, "\032");
        await_stop(&self);
        bring_to_foreground(&self);
        tool_expect(&self.tool, "got 18");
    }
    terminate(&self);
    end(&self, 3);
}

Test(terminal, ctrl_z_stops_the_whole_job_while_the_command_reads)
{
    rig self = begin("read", "60000");
    pid_t neighbour = add_neighbour(&self);
    await_lent(&self);
    type(&self, "\032");
    await_stop(&self);
    await_stop_of(neighbour);
    bring_to_foreground(&self);
    type(&self, "hello\n");
    tool_expect(&self.tool, "read hello");
    kill(neighbour, SIGKILL);
    waitpid(neighbour, NULL, 0);
    end(&self, 0);
}

Test(terminal, in_the_background_both_stop_when_the_command_reads)
{
    rig self = begin_in(false, "read", "60000");
    await_stop(&self);
    bring_to_foreground(&self);
    type(&self, "hello\n");
    tool_expect(&self.tool, "read hello");
    end(&self, 0);
}

Test(terminal, who_was_stopped_past_the_lease_is_ended)
{
    rig self = begin("listen", "1000");
    type(&self, "\032");
    await_stop(&self);
    while (server_int(self.server, "EXISTS", "gavel:lock:{a}", NULL) != 0)
        continue;
    bring_to_foreground(&self);
    tool_expect(&self.tool, "got 15");
    end(&self, 74);
}

Test(terminal, a_command_that_is_stopped_alone_keeps_its_lock)
{
    rig self = begin("listen", "1000");
    kill(self.puppet, SIGSTOP);
    kill(self.tool.pid, SIGUSR1);
    server_do(self.server, "PEXPIRE", "gavel:lock:{a}", "60000", NULL);
    while (server_int(self.server, "PTTL", "gavel:lock:{a}", NULL) > 1000)
        continue; /* until it is renewed */
    kill(self.puppet, SIGCONT);
    tool_expect(&self.tool, "got 10");
    tool_expect(&self.tool, "got 18");
    terminate(&self);
    end(&self, 3);
}
