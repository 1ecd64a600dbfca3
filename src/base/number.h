/*
 * Doubles as text, and printf, whatever the program's locale says.
 */
#ifndef GAVEL__NUMBER_H
#define GAVEL__NUMBER_H

#include <gavel/bytes.h>

#include <stdarg.h>
#include <stdbool.h>

/* The longest double in its shortest exact form, with its NUL, is shorter. */
#define GAVEL__DOUBLE_SIZE 40

/*
 * As Redis reads a double: what strtod takes, in whole, but no blanks before it, no NaN, and
 * nothing too large or too small. False, and *ret_value untouched, for anything else.
 */
bool gavel__parse_double(gavel_bytes text, double *ret_value);

/* Writes the shortest form that reads back as exactly this value, with a NUL. False: it is NaN. */
bool gavel__format_double(double value, char storage[GAVEL__DOUBLE_SIZE]);

/* As vsnprintf. Negative: the format is wrong, or there is no memory. */
int gavel__print(char *text, size_t size, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));

#endif
