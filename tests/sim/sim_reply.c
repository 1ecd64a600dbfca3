/*
 * How the server writes replies: RESP2. For the commands.
 */
#include "sim_internal.h"

#include "base/resp.h"
#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>

#define ERROR_SIZE 512

static void line(gavel__buffer *out, const char *mark, gavel_bytes text)
{
    gavel__buffer_append(out, gavel_str(mark));
    gavel__buffer_append(out, text);
    gavel__buffer_append(out, GAVEL_STR("\r\n"));
}

void sim__reply_status(gavel__buffer *out, const char *text)
{
    line(out, "+", gavel_str(text));
}

void sim__reply_error(gavel__buffer *out, const char *format, ...)
{
    char text[ERROR_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    for (char *c = text; *c != '\0'; c++) {
        if (*c == '\r' || *c == '\n')
            *c = ' ';
    }
    line(out, "-", gavel_str(text));
}

void sim__reply_int(gavel__buffer *out, int64_t value)
{
    char storage[GAVEL__INT_SIZE];
    line(out, ":", gavel__format_int(value, storage));
}

void sim__reply_bulk(gavel__buffer *out, gavel_bytes bytes)
{
    gavel__resp_arg(out, bytes);
}

void sim__reply_score(gavel__buffer *out, double score)
{
    char text[64];
    snprintf(text, sizeof text, "%.17g", score);
    sim__reply_bulk(out, gavel_str(text));
}

void sim__reply_nil(gavel__buffer *out)
{
    gavel__buffer_append(out, GAVEL_STR("$-1\r\n"));
}

void sim__reply_nil_array(gavel__buffer *out)
{
    gavel__buffer_append(out, GAVEL_STR("*-1\r\n"));
}

void sim__reply_array(gavel__buffer *out, size_t n)
{
    gavel__resp_begin(out, n);
}
