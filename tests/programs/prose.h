/*
 * Text for people, and for comparing: what is equal here was equal. For the folder's own use.
 */
#ifndef PROGRAMS_PROSE_H
#define PROGRAMS_PROSE_H

#include "base/buffer.h"

#include <gavel/reply.h>

/* An empty text on malloc's memory, for gavel__buffer_finish. */
gavel__buffer prose_begin(void);

/* Appends as printf would, up to 400 bytes. */
void prose_say(gavel__buffer *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Appends bytes in quotes, with \xNN for what is not printable. */
void prose_quote(gavel__buffer *text, gavel_bytes bytes);

/* Appends a reply with its type and all that is in it. */
void prose_say_reply(gavel__buffer *text, const gavel_reply *reply);

gavel_bytes prose_bytes(const gavel__buffer *text);

/* The text with a NUL behind it; valid until the next change. */
const char *prose_string(gavel__buffer *text);

#endif
