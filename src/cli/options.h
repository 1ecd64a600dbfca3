/*
 * The command line.
 */
#ifndef GAVEL_CLI_OPTIONS_H
#define GAVEL_CLI_OPTIONS_H

#include "cli/cli.h"

typedef enum cli_word { CLI_NO_NAME, CLI_NAME, CLI_NAME_AND_COMMAND } cli_word;

/* One of gavel's commands. */
typedef struct cli_verb {
    const char *name;
    int (*run)(const cli_options *options);
    cli_word words;           /* what stands behind the options */
    const char *const *flags; /* the options that it takes beside the common ones; ended by NULL */
    const char *usage;
    const char *help;
} cli_verb;

typedef enum cli_parsed {
    CLI_PARSED_RUN,  /* run the verb with the options */
    CLI_PARSED_TOLD, /* help or version was asked for, and printed */
    CLI_PARSED_WRONG /* said on standard error */
} cli_parsed;

/*
 * Reads the command line. `verbs` ends with one without a name. The options point into argv and
 * the environment; after RUN their address is to be finished with gavel__address_finish.
 */
cli_parsed cli_parse(
    char **argv, const cli_verb *verbs, const cli_verb **ret_verb, cli_options *ret_options);

#endif
