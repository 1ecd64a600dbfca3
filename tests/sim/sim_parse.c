/*
 * How the server reads commands: arrays of bulk strings, possibly incomplete. Inline commands, the
 * form for telnet, are refused as malformed. For sim_network.c.
 * Source: Redis serialization protocol specification; the errors are those of Redis 7.0.
 */
#include "sim_internal.h"

#include "base/text.h"

#include <stdlib.h>
#include <string.h>

#define MAX_ARGS (1024 * 1024)
#define MAX_BULK (512 * 1024 * 1024)

/* A line "<mark><integer>\r\n" at *offset; *offset goes behind it. */
static sim__parsed parse_line(gavel_bytes bytes, size_t *offset, char mark, int64_t *ret_value)
{
    if (*offset == bytes.size)
        return SIM__INCOMPLETE;
    if (bytes.data[*offset] != mark)
        return SIM__MALFORMED;
    const char *begin = bytes.data + *offset + 1;
    const char *end = memchr(begin, '\r', bytes.size - *offset - 1);
    if (end == NULL || end + 1 == bytes.data + bytes.size)
        return SIM__INCOMPLETE;
    if (!gavel__parse_int((gavel_bytes){begin, (size_t)(end - begin)}, ret_value))
        return SIM__MALFORMED;
    *offset = (size_t)(end + 2 - bytes.data);
    return SIM__COMPLETE;
}

static sim__parsed parse_bulk(
    gavel_bytes bytes, size_t *offset, gavel_bytes *ret_arg, const char **ret_error)
{
    int64_t size = 0;
    *ret_error = "expected '$' and a length";
    sim__parsed parsed = parse_line(bytes, offset, '$', &size);
    if (parsed != SIM__COMPLETE)
        return parsed;
    *ret_error = "invalid bulk length";
    if (size < 0 || size > MAX_BULK)
        return SIM__MALFORMED;
    if (bytes.size - *offset < (size_t)size + 2)
        return SIM__INCOMPLETE;
    *ret_arg = (gavel_bytes){bytes.data + *offset, (size_t)size};
    *offset += (size_t)size + 2;
    return SIM__COMPLETE;
}

sim__parsed sim__parse(
    gavel_bytes bytes, size_t *offset, sim__args *ret_command, const char **ret_error)
{
    size_t at = *offset;
    int64_t n_args = 0;
    *ret_error = "invalid multibulk length";
    sim__parsed parsed = parse_line(bytes, &at, '*', &n_args);
    if (parsed == SIM__COMPLETE && n_args > MAX_ARGS)
        parsed = SIM__MALFORMED;
    if (parsed != SIM__COMPLETE)
        return parsed;
    if (n_args < 0)
        n_args = 0;
    gavel_bytes *args = sim__alloc((size_t)n_args, sizeof *args);
    for (int64_t i = 0; i < n_args; i++) {
        parsed = parse_bulk(bytes, &at, &args[i], ret_error);
        if (parsed != SIM__COMPLETE) {
            free(args);
            return parsed;
        }
    }
    *offset = at;
    *ret_command = (sim__args){args, (size_t)n_args};
    return SIM__COMPLETE;
}
