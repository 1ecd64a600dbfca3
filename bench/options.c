/* The command line; see options.h. */
#include "options.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_help(const char *program, const bench_option *options, size_t n_options)
{
    fprintf(stderr, "usage: %s [--option VALUE]...\n", program);
    for (size_t i = 0; i < n_options; i++)
        fprintf(stderr, "  %-12s %s\n", options[i].name, options[i].help);
}

static const bench_option *find(const bench_option *options, size_t n_options, const char *name)
{
    for (size_t i = 0; i < n_options; i++)
        if (strcmp(options[i].name, name) == 0)
            return &options[i];
    return NULL;
}

static bool parse_number(const char *text, double *ret_number)
{
    char *end;
    double number = strtod(text, &end);
    if (end == text || *end != '\0' || !(number >= 0) || number > 1e9)
        return false;
    *ret_number = number;
    return true;
}

static bool parse_count(const char *text, size_t *ret_count)
{
    char *end;
    errno = 0;
    unsigned long count = strtoul(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || count > INT32_MAX)
        return false;
    *ret_count = count;
    return true;
}

static bool set(const bench_option *option, char *text)
{
    switch (option->kind) {
    case BENCH_OPTION_TEXT:
        *(const char **)option->value = text;
        return true;
    case BENCH_OPTION_NUMBER:
        return parse_number(text, option->value) && *(const double *)option->value > 0;
    case BENCH_OPTION_NUMBER0:
        return parse_number(text, option->value);
    case BENCH_OPTION_COUNT:
        return parse_count(text, option->value) && *(const size_t *)option->value > 0;
    case BENCH_OPTION_COUNT0:
        return parse_count(text, option->value);
    }
    return false;
}

bool options_parse(int argc, char **argv, const bench_option *options, size_t n_options)
{
    for (int i = 1; i < argc; i += 2) {
        const bench_option *option = find(options, n_options, argv[i]);
        if (option == NULL) {
            print_help(argv[0], options, n_options);
            return false;
        }
        if (i + 1 == argc || !set(option, argv[i + 1])) {
            fprintf(stderr, "%s: bad or missing value\n", argv[i]);
            return false;
        }
    }
    return true;
}
