/* The gavel command in tests: see the header. */
#define _XOPEN_SOURCE 700 /* posix_openpt */

#include "tool.h"

#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_ARGS 32
#define PATIENCE_MS 30000

test_server *tool_server(const server_options *options)
{
    test_server *server = server_start(options);
    if (server != NULL)
        setenv("GAVEL_URL", server_url(server), 1);
    return server;
}

static const char *path_of(const char *variable)
{
    const char *path = getenv(variable);
    cr_assert_not_null(path, "%s names the program to be tested", variable);
    return path;
}

const char *tool_puppet(void)
{
    return path_of("GAVEL_PUPPET");
}

/* ---- Starting ------------------------------------------------------------------------------- */

/* As a shell does: a group of its own, and the terminal, if there is one. */
static void lead_a_job(int terminal)
{
    sigset_t output, before;
    setpgid(0, 0);
    if (!isatty(terminal))
        return;
    sigemptyset(&output);
    sigaddset(&output, SIGTTOU);
    sigprocmask(SIG_BLOCK, &output, &before);
    tcsetpgrp(terminal, getpid());
    sigprocmask(SIG_SETMASK, &before, NULL);
}

void tool_start_with(tool *self, const char *const *args, int input)
{
    int out[2], err[2];
    cr_assert_eq(pipe(out), 0);
    cr_assert_eq(pipe(err), 0);
    for (int i = 0; i < 2; i++) {
        fcntl(out[i], F_SETFD, FD_CLOEXEC);
        fcntl(err[i], F_SETFD, FD_CLOEXEC);
    }
    const char *path = path_of("GAVEL_COMMAND");
    self->pid = fork();
    cr_assert_geq(self->pid, 0);
    if (self->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        lead_a_job(input);
        dup2(input, STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        dup2(err[1], STDERR_FILENO);
        for (int fd = 3; fd < 256; fd++)
            close(fd); /* Criterion's own, which the state of the command should not show. */
        execv(path, (char *const *)(uintptr_t)args);
        _exit(99);
    }
    close(out[1]);
    close(err[1]);
    self->out = out[0];
    self->err = err[0];
    self->output[0] = self->errors[0] = '\0';
}

static void start(tool *self, va_list words)
{
    const char *args[MAX_ARGS + 1] = {"gavel"};
    int n_args = 1;
    while ((args[n_args] = va_arg(words, const char *)) != NULL)
        cr_assert_lt(++n_args, MAX_ARGS);
    int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    tool_start_with(self, args, nothing);
    close(nothing);
}

void tool_start(tool *self, ...)
{
    va_list words;
    va_start(words, self);
    start(self, words);
    va_end(words);
}

int tool_run(tool *self, ...)
{
    va_list words;
    va_start(words, self);
    start(self, words);
    va_end(words);
    return tool_end(self);
}

int tool_run_closed(int first, const char *const *args)
{
    const char *path = path_of("GAVEL_COMMAND");
    int status = 0;
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        for (int fd = first; fd < 256; fd++)
            close(fd);
        execv(path, (char *const *)(uintptr_t)args);
        _exit(99);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

/* ---- Reading -------------------------------------------------------------------------------- */

/* One byte, so that nothing of a later line is taken. False: the end. */
static bool read_byte(int fd, char *ret_byte)
{
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    int n;
    while ((n = poll(&readable, 1, PATIENCE_MS)) < 0 && errno == EINTR)
        continue;
    cr_assert_eq(n, 1, "nothing is said for %d ms", PATIENCE_MS);
    return read(fd, ret_byte, 1) == 1;
}

const char *tool_read(tool *self)
{
    size_t size = 0;
    char byte;
    while (read_byte(self->out, &byte) && byte != '\n') {
        self->line[size++] = byte;
        cr_assert_lt(size, sizeof(self->line));
    }
    self->line[size] = '\0';
    return size > 0 ? self->line : NULL;
}

void tool_expect(tool *self, const char *line)
{
    const char *read = tool_read(self);
    cr_assert_not_null(read, "the output has ended; \"%s\" was expected", line);
    cr_assert_str_eq(read, line);
}

pid_t tool_expect_ready(tool *self)
{
    const char *read = tool_read(self);
    cr_assert(read != NULL && strncmp(read, "ready ", 6) == 0, "not ready: %s",
        read != NULL ? read : "the output has ended");
    return (pid_t)atoi(read + 6);
}

void tool_await_error(tool *self, const char *text)
{
    size_t size = 0;
    do {
        cr_assert(read_byte(self->err, &self->line[size]), "\"%s\" was not said", text);
        self->line[++size] = '\0';
        cr_assert_lt(size, sizeof(self->line) - 1);
    } while (strstr(self->line, text) == NULL);
}

static void read_rest(int fd, char text[TOOL_TEXT_SIZE])
{
    size_t size = 0;
    while (read_byte(fd, &text[size]))
        cr_assert_lt(++size, (size_t)TOOL_TEXT_SIZE);
    text[size] = '\0';
    close(fd);
}

int tool_end(tool *self)
{
    int status = 0;
    read_rest(self->out, self->output);
    read_rest(self->err, self->errors);
    while (waitpid(self->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

int tool_open_terminal(int *ret_master)
{
    /* Criterion has done the first half. */
    cr_assert(getsid(0) == getpid() || setsid() > 0, "no session: %s", strerror(errno));
    *ret_master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    cr_assert(*ret_master >= 0 && grantpt(*ret_master) == 0 && unlockpt(*ret_master) == 0);
    int terminal = open(ptsname(*ret_master), O_RDWR | O_CLOEXEC);
    cr_assert_geq(terminal, 0);
    return terminal;
}

void tool_await_waiters(test_server *server, const char *name, int n)
{
    char link[128];
    snprintf(link, sizeof(link), "wait:gavel:lock:{%s}", name);
    int64_t last_us = live_now_us() + (int64_t)PATIENCE_MS * 1000;
    while (live_count_links(server, link) != n)
        cr_assert_lt(live_now_us(), last_us, "%d do not wait", n);
}
