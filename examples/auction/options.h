/*
 * The command line: finds the command, fills in its options, explains what is wrong.
 */
#ifndef AUCTION_OPTIONS_H
#define AUCTION_OPTIONS_H

#include "auction.h"

struct command {
    const char *name;
    int (*run)(const struct options *options);
    const char *words[4]; /* what its operands are called; NULL behind the last */
    const char *flags[8]; /* which options it takes besides --url and --help; NULL at the end */
    struct options defaults;
    const char *usage;   /* of the line behind "auction" */
    const char *summary; /* one line */
    const char *help;    /* the options and the rest, in whole lines; NULL: nothing more to say */
};

/* What parsing came to. */
enum parsed { PARSED_RUN, PARSED_HELP, PARSED_WRONG };

/*
 * Parses the command line against the commands, of which the last one has no name. PARSED_RUN sets
 * both outputs. The others have printed the help, or on stderr what is wrong.
 */
enum parsed parse_options(char **argv, const struct command *commands,
    const struct command **ret_command, struct options *ret_options);

#endif
