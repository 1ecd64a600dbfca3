/*
 * The gavel command: what its parts have in common.
 *
 *     main.c      which command, and its exit status
 *     options.c   the command line
 *     lock.c      gavel lock: a lock, a command under it          command.c   the process
 *     locks.c     gavel locks: gathers and prints                 listing.c   what is printed
 *     unlock.c    gavel unlock
 *     nodes.c     where the servers are, of locks and unlock, which only ask and tell
 *     server.c    a connection to one of them
 *     record.c    what a lock's or gate's record says
 *     text.c      names, times and messages for people
 */
#ifndef GAVEL_CLI_CLI_H
#define GAVEL_CLI_CLI_H

#include "redis/url.h"

#include <gavel/client.h>

#include <stdbool.h>
#include <stdint.h>

/*
 * Exit statuses beside those of the command that is run, as in sysexits.h where it has one. The
 * shell's 126 and 127 tell of a command that could not be started.
 */
typedef enum cli_status {
    CLI_OK = 0,
    CLI_NOTHING = 1,    /* unlock: nobody holds the lock */
    CLI_LEFT_ALONE = 2, /* unlock: not confirmed, or it changed hands meanwhile */
    CLI_USAGE = 64,     /* EX_USAGE */
    CLI_NO_SERVER = 69, /* EX_UNAVAILABLE: not reached, or it refuses */
    CLI_NO_SYSTEM = 71, /* EX_OSERR: no memory, process, descriptors */
    CLI_LOST = 74,      /* EX_IOERR: the lock was lost while the command ran */
    CLI_BUSY = 75,      /* EX_TEMPFAIL: not had in time */
    CLI_NOT_RUN = 126,  /* found, and could not be executed */
    CLI_NOT_FOUND = 127,
    CLI_BY_SIGNAL = 128 /* plus the number of the signal that ended the command */
} cli_status;

/* `wait_ms`: for as long as it takes. */
#define CLI_FOR_EVER (-1)

/* What the command line says. The defaults stand beside the fields. */
typedef struct cli_options {
    const char *url;        /* NULL: $GAVEL_URL, or redis://127.0.0.1:6379 */
    gavel__address address; /* what the URL says */
    gavel_config config;    /* what both say, with the defaults in place */
    const char *name;       /* of the lock */
    int64_t lease_ms;       /* lock: 10000 */
    int64_t wait_ms;        /* lock: CLI_FOR_EVER. 0: does not wait */
    int64_t grace_ms;       /* lock: 5000. From TERM to KILL */
    int64_t at_least_ms;    /* lock: 0. How long the lock is held at least */
    char **command;         /* lock: ended by NULL */
    bool is_json;           /* locks: false */
    bool is_forced;         /* unlock: false */
} cli_options;

/* The commands. Each returns the exit status, and has said on standard error what went wrong. */
int cli_lock(const cli_options *options);
int cli_locks(const cli_options *options);
int cli_unlock(const cli_options *options);

#endif
