/*
 * Small things with bytes and text: comparing, numbers, messages for people.
 */
#ifndef GAVEL__TEXT_H
#define GAVEL__TEXT_H

#include <gavel/bytes.h>

#include <stdbool.h>
#include <string.h>

/* The longest decimal 64-bit integer, with sign and NUL. */
#define GAVEL__INT_SIZE 21

static inline bool gavel__bytes_equal(gavel_bytes a, gavel_bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* ASCII case ignored. */
bool gavel__bytes_equal_nocase(gavel_bytes a, gavel_bytes b);

bool gavel__bytes_start_with(gavel_bytes bytes, gavel_bytes prefix);

/* Redis's own form only: an optional '-', no '+', no blanks, no leading zeros, no "-0". False, and
 * *ret_value untouched, for anything else and for what does not fit. */
bool gavel__parse_int(gavel_bytes text, int64_t *ret_value);

/* Writes the decimal form without a NUL and returns its bytes. */
gavel_bytes gavel__format_int(int64_t value, char storage[GAVEL__INT_SIZE]);

/* The sum. False, and *ret_sum untouched, where it does not fit. */
bool gavel__add_ints(int64_t a, int64_t b, int64_t *ret_sum);

/* Behind the name, to the end, the first line that begins with it; none, where there is no such
 * line. As INFO writes them. */
gavel_bytes gavel__find_line(gavel_bytes lines, gavel_bytes name);

/* As snprintf, but never overruns, never fails, and always ends in a NUL. */
void gavel__format(char *text, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * Bytes for people, in `text`: printable ASCII as it is, the rest as \xNN, cut with "..." where
 * there is no room. Returns `text`.
 */
const char *gavel__printable(gavel_bytes bytes, char *text, size_t size);

/* "host:port", as in a URL: an IPv6 address stands in brackets. Returns `text`. */
const char *gavel__format_place(char *text, size_t size, const char *host, int port);

#endif
