/*
 * The command line, by hand: few kinds of options, and errors that name the option and the value.
 */
#include "options.h"

#include <stdio.h>
#include <stdlib.h>

enum kind { IS_NUMBER, IS_TEXT, IS_SWITCH };

/* Every option of every command. */
static const struct flag {
    const char *name;
    enum kind kind;
    size_t offset; /* in struct options: of an int64_t, a const char * or a bool */
    int64_t min;
    int64_t max;
} flags[] = {
    {"--url", IS_TEXT, offsetof(struct options, url), 0, 0},
    {"--ledger", IS_TEXT, offsetof(struct options, ledger), 0, 0},
    {"--by", IS_TEXT, offsetof(struct options, by), 0, 0},
    {"--id", IS_TEXT, offsetof(struct options, id), 0, 0},
    {"--now", IS_SWITCH, offsetof(struct options, now), 0, 0},
    {"--increment", IS_NUMBER, offsetof(struct options, increment), 1, 1000000},
    {"--reserve", IS_NUMBER, offsetof(struct options, reserve), 0, AMOUNT_MAX},
    {"--seconds", IS_NUMBER, offsetof(struct options, seconds), 1, 31536000},
    {"--window", IS_NUMBER, offsetof(struct options, window), 0, 86400},
    {"--items", IS_NUMBER, offsetof(struct options, items), 1, 1000},
    {"--processes", IS_NUMBER, offsetof(struct options, processes), 1, 64},
    {"--bidders", IS_NUMBER, offsetof(struct options, bidders), 1, 1000},
};

static void print_help(const struct command *commands, const struct command *command)
{
    if (command != NULL) {
        printf("usage: auction %s\n%s\n", command->usage, command->summary);
        if (command->help != NULL)
            printf("\n%s", command->help);
        return;
    }
    printf("usage: auction [--url URL] COMMAND [ARGUMENTS]\n\n");
    for (const struct command *c = commands; c->name != NULL; c++)
        printf("  %-8s%s\n", c->name, c->summary);
    printf(
        "\n\"auction COMMAND --help\" says more. The server is that of --url, else of GAVEL_URL:\n"
        "    redis://[user[:password]@]host[:port][/db]    unix:///path/of/socket[?db=n]\n"
        "    redis+cluster://[user[:password]@]host[:port][,host[:port]...]\n"
        "Exit status: 0 fine, 1 refused or violated, 2 wrong usage or trouble with the server.\n");
}

static const struct flag *find_flag(const char *name, const struct command *command)
{
    bool is_allowed = strcmp(name, "--url") == 0;
    for (size_t i = 0; command != NULL && command->flags[i] != NULL; i++)
        is_allowed = is_allowed || strcmp(name, command->flags[i]) == 0;
    for (size_t i = 0; is_allowed && i < sizeof(flags) / sizeof(flags[0]); i++)
        if (strcmp(name, flags[i].name) == 0)
            return &flags[i];
    return NULL;
}

/* Takes an option's value; says what is wrong with it. */
static bool take_value(const struct flag *flag, const char *value, struct options *options)
{
    char *field = (char *)options + flag->offset;
    int64_t number;

    if (value == NULL) {
        trouble("%s: a value is missing", flag->name);
        return false;
    }
    if (flag->kind == IS_TEXT) {
        memcpy(field, &value, sizeof(value));
        return true;
    }
    if (!parse_number(value, flag->min, flag->max, &number)) {
        trouble("%s: \"%s\" is not a whole number from %" PRId64 " to %" PRId64, flag->name, value,
            flag->min, flag->max);
        return false;
    }
    memcpy(field, &number, sizeof(number));
    return true;
}

/* Whether the operands of the command are all there, and nothing beyond them. */
static bool has_all(const struct command *command, const struct options *options)
{
    for (size_t i = 0; command->words[i] != NULL; i++) {
        if (options->words[i] == NULL) {
            trouble("%s: %s is missing; see \"auction %s --help\"", command->name,
                command->words[i], command->name);
            return false;
        }
    }
    if (options->url == NULL) {
        trouble("no server: give --url URL, or set GAVEL_URL");
        return false;
    }
    return true;
}

static const struct command *find_command(const struct command *commands, const char *name)
{
    for (const struct command *c = commands; c->name != NULL; c++)
        if (strcmp(c->name, name) == 0)
            return c;
    return NULL;
}

/* What the arguments read so far came to. */
struct parser {
    const struct command *commands;
    const struct command *command; /* NULL until it was named */
    struct options options;
    size_t n_words;
};

/* An argument that is no option: the command at first, then its operands. */
static bool take_word(struct parser *parser, const char *word)
{
    if (parser->command == NULL) {
        const char *url = parser->options.url;
        parser->command = find_command(parser->commands, word);
        if (parser->command == NULL) {
            trouble("there is no command \"%s\"; see \"auction --help\"", word);
            return false;
        }
        parser->options = parser->command->defaults;
        parser->options.url = url;
        return true;
    }
    if (parser->command->words[parser->n_words] == NULL) {
        trouble("%s: \"%s\" is one argument too many", parser->command->name, word);
        return false;
    }
    parser->options.words[parser->n_words++] = word;
    return true;
}

/* An option, with its value if it takes one. Moves *argv to the last argument used. */
static bool take_option(struct parser *parser, char ***argv)
{
    const char *name = **argv;
    const struct flag *flag = find_flag(name, parser->command);

    if (flag == NULL) {
        trouble("%s: there is no such option%s%s", name,
            parser->command != NULL ? " for " : " before the command",
            parser->command != NULL ? parser->command->name : "");
        return false;
    }
    if (flag->kind == IS_SWITCH) {
        memcpy((char *)&parser->options + flag->offset, &(bool){true}, sizeof(bool));
        return true;
    }
    if (!take_value(flag, (*argv)[1], &parser->options))
        return false;
    (*argv)++;
    return true;
}

enum parsed parse_options(char **argv, const struct command *commands,
    const struct command **ret_command, struct options *ret_options)
{
    struct parser parser = {.commands = commands, .options = {.url = getenv("GAVEL_URL")}};

    for (argv++; *argv != NULL; argv++) {
        if (strcmp(*argv, "--help") == 0 || strcmp(*argv, "-h") == 0) {
            print_help(commands, parser.command);
            return PARSED_HELP;
        }
        bool is_option = (*argv)[0] == '-' && (*argv)[1] == '-';
        if (is_option ? !take_option(&parser, &argv) : !take_word(&parser, *argv))
            return PARSED_WRONG;
    }
    if (parser.command == NULL) {
        trouble("which command? see \"auction --help\"");
        return PARSED_WRONG;
    }
    if (!has_all(parser.command, &parser.options))
        return PARSED_WRONG;
    *ret_command = parser.command;
    *ret_options = parser.options;
    return PARSED_RUN;
}
