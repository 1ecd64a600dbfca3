/*
 * The command: see the header.
 */
#include "cli/command.h"

#include "cli/cli.h"
#include "cli/text.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

void cli_inherited_note(cli_inherited *inherited)
{
    sigprocmask(SIG_SETMASK, NULL, &inherited->mask);
    sigaction(SIGPIPE, NULL, &inherited->on_pipe);
}

/* ---- Starting ------------------------------------------------------------------------------ */

/* In the child. A signal that came since the fork waits until its handler is not gavel's. */
static void restore_signals(const cli_inherited *inherited, const int *caught)
{
    for (; *caught != 0; caught++)
        signal(*caught, SIG_DFL);
    sigaction(SIGPIPE, &inherited->on_pipe, NULL);
    sigprocmask(SIG_SETMASK, &inherited->mask, NULL);
}

__attribute__((noreturn)) static void become(char **argv)
{
    execvp(argv[0], argv);
    int error = errno;
    cli_say("%s: %s", argv[0], strerror(error));
    _exit(error == ENOENT ? CLI_NOT_FOUND : CLI_NOT_RUN);
}

bool cli_command_start(
    cli_command *command, char **argv, const cli_inherited *inherited, const int *caught)
{
    sigset_t all, before;
    pid_t parent = getpid();
    *command = (cli_command){.terminal = open("/dev/tty", O_RDWR | O_CLOEXEC)};
    prctl(PR_SET_CHILD_SUBREAPER, 1L);
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    if (pid == 0) {
        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, (long)SIGTERM);
        if (getppid() != parent)
            _exit(CLI_LOST);
        restore_signals(inherited, caught);
        become(argv);
    }
    int error = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    errno = error;
    if (pid < 0)
        return false;
    setpgid(pid, pid); /* whoever of the two comes first */
    command->pid = pid;
    return true;
}

/* ---- Watching ------------------------------------------------------------------------------ */

/* The group's number is nobody else's as long as one of the group is there. */
bool cli_command_is_over(const cli_command *command)
{
    siginfo_t info;
    return command->pid == 0 ||
           (waitid(P_PGID, (id_t)command->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 &&
               errno == ECHILD);
}

void cli_command_signal(const cli_command *command, int number)
{
    if (!cli_command_is_over(command))
        kill(-command->pid, number);
}

/* Whoever is not in the terminal's foreground may give it away only while TTOU is blocked. */
static void give_terminal(const cli_command *command, pid_t group)
{
    sigset_t output, before;
    sigemptyset(&output);
    sigaddset(&output, SIGTTOU);
    sigprocmask(SIG_BLOCK, &output, &before);
    tcsetpgrp(command->terminal, group);
    sigprocmask(SIG_SETMASK, &before, NULL);
}

static bool has_terminal(const cli_command *command, pid_t group)
{
    return command->terminal >= 0 && tcgetpgrp(command->terminal) == group;
}

static void note_end(cli_command *command, const siginfo_t *info)
{
    bool has_exited = info->si_code == CLD_EXITED;
    command->is_gone = true;
    command->status = has_exited ? info->si_status : CLI_BY_SIGNAL + info->si_status;
    if (has_terminal(command, command->pid))
        give_terminal(command, getpgrp());
    command->is_lent = false;
}

int cli_command_reap(cli_command *command)
{
    int stop = 0;
    for (;;) {
        siginfo_t info = {.si_pid = 0};
        if (waitid(P_ALL, 0, &info, WEXITED | WSTOPPED | WNOHANG) != 0 || info.si_pid == 0)
            return command->is_gone ? 0 : stop;
        if (info.si_pid != command->pid)
            continue; /* an orphan of the command's */
        if (info.si_code == CLD_STOPPED)
            stop = info.si_status;
        else
            note_end(command, &info);
    }
}

/* ---- The terminal -------------------------------------------------------------------------- */

bool cli_command_lend(cli_command *command, int stop)
{
    if ((stop != SIGTTIN && stop != SIGTTOU) || !has_terminal(command, getpgrp()))
        return false;
    command->is_lent = true;
    cli_command_resume(command);
    return true;
}

void cli_command_resume(cli_command *command)
{
    if (command->is_lent && has_terminal(command, getpgrp()))
        give_terminal(command, command->pid);
    cli_command_signal(command, SIGCONT);
}
