/*
 * The command line, by hand: few kinds of options, errors that name the option and the value, and
 * a command behind them that is nobody's business but its own.
 */
#include "cli/options.h"

#include "base/text.h"
#include "cli/text.h"
#include "client/config.h"

#include <gavel/gavel.h>

#include <inttypes.h>

/* ---- The options --------------------------------------------------------------------------- */

typedef enum flag_kind { IS_NUMBER, IS_TIME, IS_TEXT, IS_SWITCH } flag_kind;

/* Every option of every verb. */
static const struct flag {
    const char *name;
    flag_kind kind;
    size_t offset; /* in cli_options: of an int64_t, a const char * or a bool */
    int64_t min;
    int64_t max;
} flags[] = {
    {"--url", IS_TEXT, offsetof(cli_options, url), 0, 0},
    {"--prefix", IS_TEXT, offsetof(cli_options, config.key_prefix), 0, 0},
    {"--ca-file", IS_TEXT, offsetof(cli_options, config.ca_file), 0, 0},
    {"--ca-folder", IS_TEXT, offsetof(cli_options, config.ca_folder), 0, 0},
    {"--cert", IS_TEXT, offsetof(cli_options, config.cert_file), 0, 0},
    {"--key", IS_TEXT, offsetof(cli_options, config.key_file), 0, 0},
    {"--server-name", IS_TEXT, offsetof(cli_options, config.server_name), 0, 0},
    {"--insecure", IS_SWITCH, offsetof(cli_options, config.is_insecure), 0, 0},
    {"--lease-ms", IS_NUMBER, offsetof(cli_options, lease_ms), 100, 86400000},
    {"--wait-ms", IS_NUMBER, offsetof(cli_options, wait_ms), 0, UINT32_MAX - 1},
    {"--grace-ms", IS_NUMBER, offsetof(cli_options, grace_ms), 0, 86400000},
    {"--at-least", IS_TIME, offsetof(cli_options, at_least_ms), 0, 86400000},
    {"--json", IS_SWITCH, offsetof(cli_options, is_json), 0, 0},
    {"--force", IS_SWITCH, offsetof(cli_options, is_forced), 0, 0},
};

static const char *const common_flags[] = {"--url", "--prefix", "--ca-file", "--ca-folder",
    "--cert", "--key", "--server-name", "--insecure", NULL};

static const char common_help[] =
    "  --url URL        the server; default $GAVEL_URL, or redis://127.0.0.1:6379\n"
    "                   redis://[user[:password]@]host[:port][/db]\n"
    "                   rediss://... the same over TLS\n"
    "                   unix://[user[:password]@]/path/of/socket\n"
    "                   redis+sentinel://[user[:password]@]host[:port][,...]/NAME[/db]\n"
    "                   the primary that Sentinels know by NAME\n"
    "                   redis+cluster://[user[:password]@]host[:port][,...]\n"
    "                   a Cluster, by some of its nodes\n"
    "                   rediss+sentinel://..., rediss+cluster://... over TLS\n"
    "                   each may end in ?option=value&...: see gavel(1)\n"
    "  --prefix TEXT    of gavel's keys; default gavel:. In a URL: key_prefix\n"
    "For rediss://, with what each is called in a URL and in gavel_config:\n"
    "  --ca-file FILE   ca_file: the authorities to trust; default the system's\n"
    "  --ca-folder DIR  ca_folder: the same, a folder of them\n"
    "  --cert FILE      cert_file: our own certificate\n"
    "  --key FILE       key_file: the key of it; default in the same file\n"
    "  --server-name NAME\n"
    "                   server_name: whose certificate it has to be; default the\n"
    "                   host that is dialled\n"
    "  --insecure       insecure (is_insecure): any certificate will do\n"
    "  --help, --version\n";

/* What the arguments read so far came to. */
typedef struct parser {
    char **at; /* the next argument */
    const cli_verb *verbs;
    const cli_verb *verb; /* NULL until it was named */
    cli_options options;
} parser;

/* Says what is wrong, and where to read more. */
static bool complain(const parser *p, const char *what, const char *argument)
{
    char shown[GAVEL_ERROR_SIZE];
    gavel__printable(gavel_str(argument), shown, sizeof(shown));
    if (p->verb == NULL)
        cli_say("%s%s; \"gavel --help\" says more", shown, what);
    else
        cli_say(
            "%s: %s%s; \"gavel %s --help\" says more", p->verb->name, shown, what, p->verb->name);
    return false;
}

static bool contains(const char *const *names, const char *name, size_t size)
{
    for (; *names != NULL; names++) {
        if (strlen(*names) == size && memcmp(*names, name, size) == 0)
            return true;
    }
    return false;
}

static const struct flag *find_flag(const parser *p, const char *name, size_t size)
{
    bool is_allowed = contains(common_flags, name, size) ||
                      (p->verb != NULL && contains(p->verb->flags, name, size));
    for (size_t i = 0; is_allowed && i < sizeof(flags) / sizeof(flags[0]); i++) {
        if (strlen(flags[i].name) == size && memcmp(flags[i].name, name, size) == 0)
            return &flags[i];
    }
    return NULL;
}

static bool take_number(parser *p, const struct flag *flag, const char *text)
{
    int64_t value = 0;
    if (!gavel__parse_int(gavel_str(text), &value) || value < flag->min || value > flag->max) {
        char what[96];
        gavel__format(what, sizeof(what), ": %s takes a number from %" PRId64 " to %" PRId64,
            flag->name, flag->min, flag->max);
        return complain(p, what, text);
    }
    memcpy((char *)&p->options + flag->offset, &value, sizeof(value));
    return true;
}

/* A number with its unit: "500ms", "30s", "5m", "2h". */
static bool parse_time(gavel_bytes text, int64_t *ret_ms)
{
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    size_t n_digits = strspn(text.data, "0123456789");
    int64_t number = 0;
    if (!gavel__parse_int((gavel_bytes){text.data, n_digits}, &number))
        return false;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(text.data + n_digits, units[i].name) != 0 || number > INT64_MAX / units[i].ms)
            continue;
        *ret_ms = number * units[i].ms;
        return true;
    }
    return false;
}

static bool take_time(parser *p, const struct flag *flag, const char *text)
{
    int64_t ms = 0;
    if (!parse_time(gavel_str(text), &ms) || ms < flag->min || ms > flag->max) {
        char what[128];
        gavel__format(what, sizeof(what),
            ": %s takes a number with its unit, such as 500ms, 30s, 5m, 2h, up to %" PRId64 "h",
            flag->name, flag->max / 3600000);
        return complain(p, what, text);
    }
    memcpy((char *)&p->options + flag->offset, &ms, sizeof(ms));
    return true;
}

/* An option, as "--name", "--name value" or "--name=value". */
static bool take_option(parser *p)
{
    const char *argument = *p->at++;
    size_t size = strcspn(argument, "=");
    const char *value = argument[size] == '=' ? argument + size + 1 : NULL;
    const struct flag *flag = find_flag(p, argument, size);
    if (flag == NULL) {
        char name[64]; /* What stands behind "=" may be meant to be a URL with a password. */
        gavel__format(name, sizeof(name), "%.*s", (int)size, argument);
        return complain(p, ": there is no such option", name);
    }
    if (flag->kind == IS_SWITCH) {
        memcpy((char *)&p->options + flag->offset, &(bool){true}, sizeof(bool));
        return value == NULL || complain(p, ": this option takes no value", argument);
    }
    if (value == NULL && *p->at == NULL)
        return complain(p, ": a value is missing", argument);
    if (value == NULL)
        value = *p->at++;
    if (flag->kind == IS_NUMBER)
        return take_number(p, flag, value);
    if (flag->kind == IS_TIME)
        return take_time(p, flag, value);
    memcpy((char *)&p->options + flag->offset, &value, sizeof(value));
    return true;
}

static void print_help(const parser *p)
{
    if (p->verb != NULL) {
        printf("usage: gavel %s\n\n%s%s", p->verb->usage, p->verb->help, common_help);
        return;
    }
    for (const cli_verb *verb = p->verbs; verb->name != NULL; verb++)
        printf("%s gavel %s\n", verb == p->verbs ? "usage:" : "      ", verb->usage);
    printf("\n%s\n\"gavel COMMAND --help\" and gavel(1) say more.\n", common_help);
}

/* ---- The arguments ------------------------------------------------------------------------- */

/* Prints what was asked for, if that was help or the version. */
static bool tell(const parser *p)
{
    bool wants_help = strcmp(*p->at, "--help") == 0 || strcmp(*p->at, "-h") == 0;
    bool wants_version = strcmp(*p->at, "--version") == 0;
    if (wants_help)
        print_help(p);
    if (wants_version)
        printf("gavel %s\n", gavel_version());
    return wants_help || wants_version;
}

/* Options, up to the first argument that is none. A "--" ends them, and is left where it is. */
static cli_parsed take_options(parser *p)
{
    while (*p->at != NULL && (*p->at)[0] == '-' && strcmp(*p->at, "--") != 0) {
        if (tell(p))
            return CLI_PARSED_TOLD;
        if (!take_option(p))
            return CLI_PARSED_WRONG;
    }
    return CLI_PARSED_RUN;
}

static void skip_dashes(parser *p)
{
    if (*p->at != NULL && strcmp(*p->at, "--") == 0)
        p->at++;
}

static bool take_verb(parser *p)
{
    const char *name = *p->at;
    if (name == NULL)
        return complain(p, "", "a command is missing");
    for (const cli_verb *verb = p->verbs; verb->name != NULL; verb++) {
        if (strcmp(verb->name, name) == 0) {
            p->verb = verb;
            p->at++;
            return true;
        }
    }
    return complain(p, ": there is no such command", name);
}

static bool take_name(parser *p)
{
    skip_dashes(p);
    const char *name = *p->at;
    if (name == NULL)
        return complain(p, "", "the lock's name is missing");
    if (name[0] == '\0' || strlen(name) > GAVEL_LOCK_NAME_MAX)
        return complain(p, ": a lock's name has 1 to 512 bytes", name);
    p->options.name = *p->at++;
    return true;
}

/* What stands behind the options: [--] NAME [options] [--] COMMAND ... */
static cli_parsed take_words(parser *p)
{
    if (p->verb->words != CLI_NO_NAME) {
        if (!take_name(p))
            return CLI_PARSED_WRONG;
        cli_parsed parsed = take_options(p);
        if (parsed != CLI_PARSED_RUN)
            return parsed;
    }
    skip_dashes(p);
    bool is_complete;
    if (p->verb->words == CLI_NAME_AND_COMMAND)
        is_complete = *p->at != NULL || complain(p, "", "the command to be run is missing");
    else
        is_complete = *p->at == NULL || complain(p, ": one argument too many", *p->at);
    p->options.command = p->at;
    return is_complete ? CLI_PARSED_RUN : CLI_PARSED_WRONG;
}

static bool check_server(parser *p)
{
    gavel_error error = {{0}};
    const gavel_config asked = p->options.config;
    int level;
    /* The URL is not shown: it may hold a password. */
    return (gavel__config_log(&level, &error) &&
               gavel__config_read(
                   p->options.url, &asked, &p->options.address, &p->options.config, &error)) ||
           complain(p, "", error.message);
}

cli_parsed cli_parse(
    char **argv, const cli_verb *verbs, const cli_verb **ret_verb, cli_options *ret_options)
{
    parser p = {
        .at = argv[0] != NULL ? argv + 1 : argv,
        .verbs = verbs,
        .options = {.lease_ms = 10000, .wait_ms = CLI_FOR_EVER, .grace_ms = 5000},
    };
    cli_parsed parsed = take_options(&p);
    if (parsed == CLI_PARSED_RUN && !take_verb(&p))
        parsed = CLI_PARSED_WRONG;
    if (parsed == CLI_PARSED_RUN)
        parsed = take_options(&p);
    if (parsed == CLI_PARSED_RUN)
        parsed = take_words(&p);
    if (parsed == CLI_PARSED_RUN && !check_server(&p))
        parsed = CLI_PARSED_WRONG;
    if (parsed != CLI_PARSED_RUN)
        return parsed;
    *ret_verb = p.verb;
    *ret_options = p.options;
    return CLI_PARSED_RUN;
}
