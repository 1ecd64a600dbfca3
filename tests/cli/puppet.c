/*
 * A command for gavel to run: does as its first argument says, and tells on standard output what
 * happens to it, a line each. It ends by itself after a minute, in case nobody else ends it.
 *
 *     exit N      exits with N                       die N    dies of signal N
 *     env         prints GAVEL_FENCE and GAVEL_LOCK
 *     state       prints what it got of signals, descriptors and process group
 *     streams     exits with the number of standard streams that are open
 *     listen      "ready", then "got N" for each signal; TERM ends it, with 3
 *     deaf        the same, but TERM does not end it
 *     family      the same with a child that is deaf, while TERM ends the parent
 *     read        reads a line from the terminal and prints it
 *     alone FILE  exits with 9 if somebody else is in here with the same file
 */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const int heard[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT};

#define N_HEARD (sizeof(heard) / sizeof(heard[0]))

static void say(const char *what, int number)
{
    printf("%s %d\n", what, number);
    fflush(stdout);
}

static int listen_to_signals(bool is_deaf)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < N_HEARD; i++)
        sigaddset(&set, heard[i]);
    sigprocmask(SIG_BLOCK, &set, NULL);
    say("ready", (int)getpid());
    for (int number = 0; sigwait(&set, &number) == 0;) {
        say("got", number);
        if (number == SIGTERM && !is_deaf)
            return 3;
    }
    return 1;
}

static int raise_family(void)
{
    int ends[2];
    char byte;
    if (pipe(ends) != 0)
        return 1;
    if (fork() == 0) {
        alarm(60);
        signal(SIGTERM, SIG_IGN);
        close(ends[0]);
        close(ends[1]); /* deaf from here on */
        for (;;)
            pause();
    }
    close(ends[1]);
    while (read(ends[0], &byte, 1) > 0)
        continue;
    return listen_to_signals(false);
}

static int count_open(int fd, int fd_end)
{
    int n = 0;
    for (; fd < fd_end; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static int show_state(void)
{
    sigset_t blocked;
    struct sigaction on_pipe;
    sigprocmask(SIG_SETMASK, NULL, &blocked);
    sigaction(SIGPIPE, NULL, &on_pipe);
    int n_blocked = 0;
    for (int i = 1; i < SIGRTMIN; i++)
        n_blocked += sigismember(&blocked, i) == 1;
    say("blocked", n_blocked);
    say("pipe ignored", on_pipe.sa_handler == SIG_IGN);
    say("inherited", count_open(3, 256));
    say("leads its group", getpgrp() == getpid());
    return 0;
}

static int read_terminal(void)
{
    char line[64];
    FILE *terminal = fopen("/dev/tty", "r");
    say("ready", (int)getpid());
    if (terminal == NULL || fgets(line, sizeof(line), terminal) == NULL)
        return 1;
    printf("read %s", line);
    fflush(stdout);
    return 0;
}

static int be_alone(const char *path)
{
    int fd = open(path, O_CREAT | O_EXCL | O_RDWR, 0600);
    if (fd < 0)
        return 9;
    close(fd);
    return unlink(path) == 0 ? 0 : 9;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    const char *argument = argc > 2 ? argv[2] : "";
    alarm(60);
    if (strcmp(what, "exit") == 0)
        return atoi(argument);
    if (strcmp(what, "die") == 0)
        return raise(atoi(argument));
    if (strcmp(what, "env") == 0)
        return printf("%s %s\n", getenv("GAVEL_FENCE"), getenv("GAVEL_LOCK")) < 0;
    if (strcmp(what, "state") == 0)
        return show_state();
    if (strcmp(what, "streams") == 0)
        return count_open(0, 3);
    if (strcmp(what, "listen") == 0)
        return listen_to_signals(false);
    if (strcmp(what, "deaf") == 0)
        return listen_to_signals(true);
    if (strcmp(what, "family") == 0)
        return raise_family();
    if (strcmp(what, "read") == 0)
        return read_terminal();
    if (strcmp(what, "alone") == 0)
        return be_alone(argument);
    return 2;
}
