/*
 * The command that runs under a lock: a process group of its own.
 *
 * Its own group, so that all of it can be ended, and so that a signal reaches it once: Ctrl-C goes
 * to gavel, which passes it on. The terminal is lent to the group when it wants to read from it or
 * to change its settings (the kernel then stops it with TTIN or TTOU); so "gavel lock x -- make |
 * less" leaves the terminal to less, and "gavel lock x -- vim notes" works too.
 *
 * gavel takes in what the command's processes leave behind (as a subreaper, prctl(2)), to know when
 * the last one of the group is gone. There is one command in a process.
 */
#ifndef GAVEL_CLI_COMMAND_H
#define GAVEL_CLI_COMMAND_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

typedef struct cli_command {
    pid_t pid;    /* and its group; 0: not started */
    int terminal; /* -1: none */
    bool is_lent; /* the terminal, to the group */
    bool is_gone; /* the command itself; others of its group may be there */
    int status;   /* is_gone: its exit status as the shell has it */
} cli_command;

/* What a command gets as gavel itself got it: to be noted before gavel changes any of it. */
typedef struct cli_inherited {
    sigset_t mask;
    struct sigaction on_pipe;
} cli_inherited;

void cli_inherited_note(cli_inherited *inherited);

/*
 * Starts argv, with all signals as they were, but for those in `caught` (ended by 0), which are
 * given their default. If it cannot be executed it says so and exits with 126 or 127. False: there
 * was no process to be had; errno says why. If gavel dies the command is sent TERM.
 */
bool cli_command_start(
    cli_command *command, char **argv, const cli_inherited *inherited, const int *caught);

/* Sends a signal to the group. Nothing, if it was not started or is gone. */
void cli_command_signal(const cli_command *command, int number);

/*
 * To be called after SIGCHLD. Notes the command's end, and takes the terminal back then. Returns
 * the signal that has stopped the command since, or 0.
 */
int cli_command_reap(cli_command *command);

/* Whether nobody of the group is left. */
bool cli_command_is_over(const cli_command *command);

/*
 * The command was stopped by that signal: lends it the terminal, if it is this that it wants and
 * gavel has it. False: it did not.
 */
bool cli_command_lend(cli_command *command, int stop);

/* Lets the group go on after it or gavel was stopped, with the terminal if it had it before. */
void cli_command_resume(cli_command *command);

#endif
