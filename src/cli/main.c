/*
 * The gavel command: runs commands under locks, and shows and takes away locks.
 */
#include "cli/options.h"
#include "cli/text.h"

#include <fcntl.h>
#include <stddef.h>
#include <unistd.h>

static const char *const lock_flags[] = {
    "--lease-ms", "--wait-ms", "--grace-ms", "--at-least", NULL};
static const char *const locks_flags[] = {"--json", NULL};
static const char *const unlock_flags[] = {"--force", NULL};

static const cli_verb verbs[] = {
    {.name = "lock",
        .run = cli_lock,
        .words = CLI_NAME_AND_COMMAND,
        .flags = lock_flags,
        .usage = "lock [--lease-ms N] [--wait-ms N] [--grace-ms N] [--at-least TIME] NAME [--] "
                 "COMMAND ...",
        .help = "Runs the command while the lock is held, with GAVEL_FENCE and GAVEL_LOCK in its\n"
                "environment. If the lock is lost the command is ended.\n\n"
                "  --lease-ms N     how long the server keeps the lock for a gavel that it does\n"
                "                   not hear of; default 10000. Renewed at a third of it\n"
                "  --wait-ms N      how long to wait for the lock; 0: not at all. Default: for\n"
                "                   as long as it takes\n"
                "  --grace-ms N     from TERM to KILL when the lock is lost; default 5000\n"
                "  --at-least TIME  holds the lock that long (500ms, 30s, 5m, 2h), also if the\n"
                "                   command has ended: for a job that machines start at the\n"
                "                   same time, and one of them should do\n\n"
                "Exit status: the command's own; 128+N if signal N ended it; 64 wrong usage;\n"
                "69 the server cannot be reached, or refuses; 71 no memory or process; 74 the\n"
                "lock was lost while the command ran; 75 it was not had in time; 126, 127 the\n"
                "command could not be started, or found.\n\n"},
    {.name = "locks",
        .run = cli_locks,
        .words = CLI_NO_NAME,
        .flags = locks_flags,
        .usage = "locks [--json]",
        .help = "Lists locks and gates: who holds them and for how long, fencing numbers, what\n"
                "is left of the leases, and how many wait. Goes through all keys of the\n"
                "database, a thousand at a time; in a Cluster through those of each primary,\n"
                "and tells at which node each lock is.\n\n"
                "  --json           for programs\n\n"
                "Exit status: 0; 64 wrong usage; 69 the server cannot be reached, or refuses: in\n"
                "a Cluster one of them, which is named, and the others' locks are listed.\n\n"},
    {.name = "unlock",
        .run = cli_unlock,
        .words = CLI_NAME,
        .flags = unlock_flags,
        .usage = "unlock [--force] NAME",
        .help = "Takes a lock away from its holder, after asking, and gives it to the next who\n"
                "waits. The holder goes on until it next renews its lease.\n\n"
                "  --force          do not ask\n\n"
                "Exit status: 0 taken away; 1 nobody holds it; 2 left alone: not confirmed, or\n"
                "it changed hands meanwhile; 64 wrong usage, or no terminal to ask on; 69 the\n"
                "server cannot be reached, or refuses.\n\n"},
    {.name = NULL},
};

/* What was printed has to have arrived. */
static int flush_output(int status)
{
    if (fflush(stdout) == 0 && ferror(stdout) == 0)
        return status;
    cli_say("standard output: cannot be written to");
    return status != CLI_OK ? status : CLI_NO_SYSTEM;
}

/* A connection must not get the number of a standard stream that the caller has closed: a message
 * would be sent there. The command finds it closed all the same. */
static void fill_standard_streams(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

int main(int argc, char **argv)
{
    (void)argc;
    fill_standard_streams();
    const cli_verb *verb = NULL;
    cli_options options;
    switch (cli_parse(argv, verbs, &verb, &options)) {
    case CLI_PARSED_WRONG:
        return CLI_USAGE;
    case CLI_PARSED_TOLD:
        return flush_output(CLI_OK);
    case CLI_PARSED_RUN:
        break;
    }
    int status = verb->run(&options);
    gavel__address_finish(&options.address, &gavel__system_allocator);
    return flush_output(status);
}
