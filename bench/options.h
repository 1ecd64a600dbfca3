/*
 * Options: the command line of a benchmark, as a table of "--name VALUE". Shared by the benchmarks.
 */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

typedef enum bench_option_kind {
    BENCH_OPTION_TEXT,    /* value is a const char ** that will point into argv */
    BENCH_OPTION_NUMBER,  /* a double *, above 0 */
    BENCH_OPTION_NUMBER0, /* a double *, at least 0 */
    BENCH_OPTION_COUNT,   /* a size_t *, at least 1 */
    BENCH_OPTION_COUNT0   /* a size_t *, at least 0 */
} bench_option_kind;

typedef struct bench_option {
    const char *name; /* with its dashes */
    bench_option_kind kind;
    void *value; /* holds the default; changed only when the option is given */
    const char *help;
} bench_option;

/* False after a complaint, or the help asked for by --help, on standard error. */
bool options_parse(int argc, char **argv, const bench_option *options, size_t n_options);

#endif
