/*
 * Text for people and for programs: names of any bytes, times, messages on standard error.
 */
#ifndef GAVEL_CLI_TEXT_H
#define GAVEL_CLI_TEXT_H

#include <gavel/bytes.h>

#include <stdint.h>
#include <stdio.h>

/* "gavel: " and the message, and a line end, on standard error, in one write. */
void cli_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * Prints a name so that it can stand in one line and does nothing to a terminal: valid UTF-8 as it
 * is, a backslash doubled, control characters and all other bytes as \xNN. No two names are printed
 * in the same way. Returns the columns, a character being one.
 */
size_t cli_print_name(FILE *out, gavel_bytes name);

/* The same as a JSON string, quoted. */
void cli_print_json(FILE *out, gavel_bytes name);

/* The columns that cli_print_name would take. */
size_t cli_name_width(gavel_bytes name);

/* What stands behind the label, up to the next blank: " pid=" in "x pid=7 y" gives "7". Empty, with
 * data at the line's end: there is no such label. */
gavel_bytes cli_field(gavel_bytes line, const char *label);

/* The room that cli_format_ms needs. */
#define CLI_DURATION_SIZE 32

/* A duration, in two units at most: "850ms", "8.2s", "12m05s", "3h07m", "2d04h". Returns `text`. */
const char *cli_format_ms(int64_t ms, char text[CLI_DURATION_SIZE]);

#endif
