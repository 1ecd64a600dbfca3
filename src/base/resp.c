/*
 * RESP: commands written into buffers. Whoever speaks to a server may use it.
 */
#include "base/resp.h"

#include "base/text.h"

/* The longest "*n\r\n" or "$n\r\n". */
#define HEAD_SIZE ((size_t)GAVEL__INT_SIZE + 3)

static char *put_bytes(char *place, gavel_bytes bytes)
{
    memcpy(place, bytes.data, bytes.size);
    return place + bytes.size;
}

static char *put_end(char *place)
{
    place[0] = '\r';
    place[1] = '\n';
    return place + 2;
}

static char *put_head(char *place, char type, size_t number)
{
    *place++ = type;
    if (number < 10) { /* Most counts; and a third of the time that format_int takes. */
        *place++ = (char)('0' + number);
        return put_end(place);
    }
    char storage[GAVEL__INT_SIZE];
    return put_end(put_bytes(place, gavel__format_int((int64_t)number, storage)));
}

void gavel__resp_begin(gavel__buffer *out, size_t n_args)
{
    char *place = gavel__buffer_reserve(out, HEAD_SIZE);
    if (place != NULL)
        out->size += (size_t)(put_head(place, '*', n_args) - place);
}

static char *put_arg(char *place, gavel_bytes arg)
{
    char *end = put_head(place, '$', arg.size);
    if (arg.size > 0)
        end = put_bytes(end, arg);
    return put_end(end);
}

/* Room is made once for the whole argument: no part of one is ever in the buffer. */
void gavel__resp_arg(gavel__buffer *out, gavel_bytes arg)
{
    char *place = gavel__buffer_reserve(out, HEAD_SIZE + arg.size + 2);
    if (place != NULL)
        out->size += (size_t)(put_arg(place, arg) - place);
}

void gavel__resp_arg_int(gavel__buffer *out, int64_t value)
{
    char storage[GAVEL__INT_SIZE];
    gavel__resp_arg(out, gavel__format_int(value, storage));
}

/* How much room it needs; more than there can be, where the sum would not fit. */
static size_t room_for(const gavel_bytes *args, size_t n_args)
{
    size_t size = HEAD_SIZE;
    for (size_t i = 0; i < n_args && size <= SIZE_MAX / 4; i++)
        size += HEAD_SIZE + args[i].size + 2;
    return size <= SIZE_MAX / 4 ? size : SIZE_MAX;
}

/* Room is made once, for all of it. */
void gavel__resp_command(gavel__buffer *out, const gavel_bytes *args, size_t n_args)
{
    char *place = gavel__buffer_reserve(out, room_for(args, n_args));
    if (place == NULL)
        return;
    char *end = put_head(place, '*', n_args);
    for (size_t i = 0; i < n_args; i++)
        end = put_arg(end, args[i]);
    out->size += (size_t)(end - place);
}

static const char *after_head(const char *place)
{
    while (*place++ != '\n')
        ;
    return place;
}

void gavel__resp_args_in(
    gavel_bytes command, const gavel_bytes *args, size_t n_args, gavel_bytes *ret_args)
{
    const char *place = after_head(command.data);
    for (size_t i = 0; i < n_args; i++) {
        ret_args[i] = (gavel_bytes){after_head(place), args[i].size};
        place = ret_args[i].data + args[i].size + 2;
    }
}

/* From "$size\r\n" on. */
static gavel_bytes arg_at(const char *place)
{
    size_t size = 0;
    for (const char *digit = place + 1; *digit != '\r'; digit++)
        size = size * 10 + (size_t)(*digit - '0');
    return (gavel_bytes){after_head(place), size};
}

gavel_bytes gavel__resp_arg_in(gavel_bytes command, size_t i)
{
    gavel_bytes arg = arg_at(after_head(command.data));
    for (; i > 0; i--)
        arg = arg_at(arg.data + arg.size + 2);
    return arg;
}

/* ---- Names of connections ------------------------------------------------------------------ */

static bool can_stand(char c)
{
    return c > ' ' && c <= '~' && c != '%';
}

static char *put_escaped(char *place, gavel_bytes bytes)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < bytes.size; i++) {
        unsigned char byte = (unsigned char)bytes.data[i];
        if (can_stand(bytes.data[i])) {
            *place++ = bytes.data[i];
            continue;
        }
        *place++ = '%';
        *place++ = digits[byte >> 4];
        *place++ = digits[byte & 15];
    }
    return place;
}

void gavel__resp_name_waiter(gavel__buffer *out, gavel_bytes key)
{
    static const gavel_bytes label = {"wait:", 5};
    size_t size = label.size;
    for (size_t i = 0; i < key.size; i++)
        size += can_stand(key.data[i]) ? 1 : 3;
    gavel__resp_begin(out, 3);
    gavel__resp_arg(out, GAVEL_STR("CLIENT"));
    gavel__resp_arg(out, GAVEL_STR("SETNAME"));
    char *place = gavel__buffer_reserve(out, HEAD_SIZE + size + 2);
    if (place == NULL)
        return;
    char *end = put_bytes(put_head(place, '$', size), label);
    out->size += (size_t)(put_end(put_escaped(end, key)) - place);
}
