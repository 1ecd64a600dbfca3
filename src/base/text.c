/*
 * Bytes and text: comparing, numbers, messages for people. Every layer may use it.
 *
 * Nothing here depends on the locale, but for what a caller's own format asks of printf.
 */
#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool gavel__bytes_equal_nocase(gavel_bytes a, gavel_bytes b)
{
    if (a.size != b.size)
        return false;
    for (size_t i = 0; i < a.size; i++) {
        if (lower(a.data[i]) != lower(b.data[i]))
            return false;
    }
    return true;
}

bool gavel__bytes_start_with(gavel_bytes bytes, gavel_bytes prefix)
{
    return bytes.size >= prefix.size &&
           gavel__bytes_equal((gavel_bytes){bytes.data, prefix.size}, prefix);
}

/* Of as many digits, every number fits a uint64_t, though not an int64_t. */
#define N_SAFE_DIGITS 19

/* A number without a sign, of at most `max`; "0" is the only one that may begin with a 0. */
static bool parse_digits(gavel_bytes text, uint64_t max, uint64_t *ret_value)
{
    if (text.size == 0 || text.size > N_SAFE_DIGITS || (text.size > 1 && text.data[0] == '0'))
        return false;
    uint64_t value = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    }
    if (value > max)
        return false;
    *ret_value = value;
    return true;
}

bool gavel__parse_int(gavel_bytes text, int64_t *ret_value)
{
    uint64_t value;
    if (text.size == 0 || text.data[0] != '-') {
        if (!parse_digits(text, INT64_MAX, &value))
            return false;
        *ret_value = (int64_t)value;
        return true;
    }
    gavel_bytes digits = {text.data + 1, text.size - 1};
    if (!parse_digits(digits, (uint64_t)INT64_MAX + 1, &value) || value == 0)
        return false;
    *ret_value = -(int64_t)(value - 1) - 1; /* -INT64_MIN is no int64_t. */
    return true;
}

gavel_bytes gavel__format_int(int64_t value, char storage[GAVEL__INT_SIZE])
{
    char *end = storage + GAVEL__INT_SIZE;
    char *place = end;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        *--place = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest != 0);
    if (value < 0)
        *--place = '-';
    return (gavel_bytes){place, (size_t)(end - place)};
}

bool gavel__add_ints(int64_t a, int64_t b, int64_t *ret_sum)
{
    if (b >= 0 ? a > INT64_MAX - b : a < INT64_MIN - b)
        return false;
    *ret_sum = a + b;
    return true;
}

void gavel__format(char *text, size_t size, const char *format, ...)
{
    if (size == 0)
        return;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, size, format, args);
    va_end(args);
    if (n < 0)
        text[0] = '\0';
}

/* Writes one byte as people see it, at most 4 characters, and returns how many. */
static size_t put_printable(char out[4], unsigned char byte)
{
    static const char digits[] = "0123456789abcdef";
    if (byte >= ' ' && byte <= '~') {
        out[0] = (char)byte;
        return 1;
    }
    out[0] = '\\';
    out[1] = 'x';
    out[2] = digits[byte >> 4];
    out[3] = digits[byte & 15];
    return 4;
}

const char *gavel__printable(gavel_bytes bytes, char *text, size_t size)
{
    static const char dots[] = "...";
    if (size == 0)
        return text;
    size_t room = size - 1;
    size_t n_dots = room < strlen(dots) ? room : strlen(dots);
    size_t n = 0;
    size_t n_before_dots = 0; /* as much as leaves room for them */
    for (size_t i = 0; i < bytes.size; i++) {
        char shown[4];
        size_t n_shown = put_printable(shown, (unsigned char)bytes.data[i]);
        if (n_shown > room - n) {
            memcpy(text + n_before_dots, dots, n_dots);
            n = n_before_dots + n_dots;
            break;
        }
        memcpy(text + n, shown, n_shown);
        n += n_shown;
        if (n <= room - n_dots)
            n_before_dots = n;
    }
    text[n] = '\0';
    return text;
}

const char *gavel__format_place(char *text, size_t size, const char *host, int port)
{
    bool is_ipv6 = strchr(host, ':') != NULL;
    gavel__format(text, size, "%s%s%s:%d", is_ipv6 ? "[" : "", host, is_ipv6 ? "]" : "", port);
    return text;
}

gavel_bytes gavel__find_line(gavel_bytes info, gavel_bytes name)
{
    while (info.size > 0) {
        size_t size = 0;
        while (size < info.size && info.data[size] != '\r' && info.data[size] != '\n')
            size++;
        if (size >= name.size && gavel__bytes_start_with(info, name))
            return (gavel_bytes){info.data + name.size, size - name.size};
        size += size < info.size;
        info = (gavel_bytes){info.data + size, info.size - size};
    }
    return (gavel_bytes){"", 0};
}
