/* Text for people: see the header. */
#include "prose.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

gavel__buffer prose_begin(void)
{
    gavel__buffer text;
    gavel__buffer_init(&text, &gavel__system_allocator);
    return text;
}

void prose_say(gavel__buffer *text, const char *format, ...)
{
    char words[400];
    va_list args;
    va_start(args, format);
    vsnprintf(words, sizeof words, format, args);
    va_end(args);
    gavel__buffer_append(text, gavel_str(words));
}

void prose_quote(gavel__buffer *text, gavel_bytes bytes)
{
    gavel__buffer_append(text, GAVEL_STR("\""));
    for (size_t i = 0; i < bytes.size; i++) {
        unsigned char byte = (unsigned char)bytes.data[i];
        if (byte >= ' ' && byte <= '~' && byte != '"' && byte != '\\')
            gavel__buffer_append(text, (gavel_bytes){bytes.data + i, 1});
        else
            prose_say(text, "\\x%02x", byte);
    }
    gavel__buffer_append(text, GAVEL_STR("\""));
}

void prose_say_reply(gavel__buffer *text, const gavel_reply *reply)
{
    switch (reply->type) {
    case GAVEL_REPLY_NIL:
        prose_say(text, "nil");
        return;
    case GAVEL_REPLY_STATUS:
        prose_say(text, "status ");
        prose_quote(text, reply->text);
        return;
    case GAVEL_REPLY_ERROR:
        prose_say(text, "error ");
        prose_quote(text, reply->text);
        return;
    case GAVEL_REPLY_INTEGER:
        prose_say(text, "%lld", (long long)reply->integer);
        return;
    case GAVEL_REPLY_STRING:
        prose_quote(text, reply->text);
        return;
    case GAVEL_REPLY_ARRAY:
        prose_say(text, "(");
        for (size_t i = 0; i < reply->n_elements; i++) {
            prose_say(text, i > 0 ? ", " : "");
            prose_say_reply(text, &reply->elements[i]);
        }
        prose_say(text, ")");
        return;
    }
    prose_say(text, "a reply of type %d", (int)reply->type);
}

gavel_bytes prose_bytes(const gavel__buffer *text)
{
    return (gavel_bytes){text->data, text->size};
}

const char *prose_string(gavel__buffer *text)
{
    char *end = gavel__buffer_reserve(text, 1);
    if (end == NULL)
        abort();
    *end = '\0';
    return text->data;
}
