/*
 * The gavel command as a test sees it: a process with arguments, output, errors and an exit status.
 * For Criterion tests; what goes wrong here fails the test. No wait is longer than 30 seconds.
 */
#ifndef TEST_CLI_TOOL_H
#define TEST_CLI_TOOL_H

#include "tools.h"

#include <sys/types.h>

#define TOOL_TEXT_SIZE 8192

typedef struct tool {
    pid_t pid;
    int out; /* the reading end of its standard output */
    int err;
    char line[TOOL_TEXT_SIZE];   /* the last that was read */
    char output[TOOL_TEXT_SIZE]; /* once it has ended: what was not read by lines */
    char errors[TOOL_TEXT_SIZE]; /* once it has ended */
} tool;

/* A server of the test's own, which the tool uses by default. NULL as server_start. */
test_server *tool_server(const server_options *options);

/* The path of the puppet: see puppet.c. */
const char *tool_puppet(void);

/* Starts gavel with these arguments, ended by NULL. Its standard input is empty. */
void tool_start(tool *self, ...) __attribute__((sentinel));

/*
 * The same for arguments in an array, with this standard input. It leads a process group, which is
 * the terminal's foreground if the input is a terminal: a job, as a shell starts it.
 */
void tool_start_with(tool *self, const char *const *args, int input);

/* Reads the next line of its output, without its end; NULL when there is none to come. */
const char *tool_read(tool *self);

/* The next line of its output is this. */
void tool_expect(tool *self, const char *line);

/* The next line is "ready N": the puppet listens. Returns its process. */
pid_t tool_expect_ready(tool *self);

/* Reads its errors until they contain this; what was read is gone from `errors` then. */
void tool_await_error(tool *self, const char *text);

/* Reads all that is left, until whoever has its output or errors open is gone, and waits for its
 * end. Returns its exit status, or minus the signal that ended it. */
int tool_end(tool *self);

/* Starts it and waits for its end. */
int tool_run(tool *self, ...) __attribute__((sentinel));

/*
 * Gives the test a session and a terminal, once, before it starts anything. Returns the terminal;
 * what is written to *ret_master was typed there.
 */
int tool_open_terminal(int *ret_master);

/* Runs it with all descriptors from `first` on closed, and returns its exit status. */
int tool_run_closed(int first, const char *const *args);

/* Returns when n connections wait for this lock. */
void tool_await_waiters(test_server *server, const char *name, int n);

#endif
