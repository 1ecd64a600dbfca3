/*
 * RESP: how a command is written on the wire, as an array of bulk strings.
 * Source: Redis serialization protocol specification, "Sending commands to a Redis server".
 */
#ifndef GAVEL__RESP_H
#define GAVEL__RESP_H

#include "base/buffer.h"

/* "*n\r\n": n arguments follow, the command's name being the first. */
void gavel__resp_begin(gavel__buffer *out, size_t n_args);

/* "$size\r\n...\r\n" */
void gavel__resp_arg(gavel__buffer *out, gavel_bytes arg);

/* The same, in decimal. */
void gavel__resp_arg_int(gavel__buffer *out, int64_t value);

/* A whole command. */
void gavel__resp_command(gavel__buffer *out, const gavel_bytes *args, size_t n_args);

/* The same arguments, as they stand in `command`, which must be what gavel__resp_command made of
 * them, and which *ret_args, an array of n_args, points into: they need no copies of their own. */
void gavel__resp_args_in(
    gavel_bytes command, const gavel_bytes *args, size_t n_args, gavel_bytes *ret_args);

/* The i-th argument of a command that gavel__resp_command or its like has made. */
gavel_bytes gavel__resp_arg_in(gavel_bytes command, size_t i);

/*
 * CLIENT SETNAME "wait:KEY": names a connection after the record in whose queue it is about to
 * stand, so that those who wait can be counted. What a name cannot hold (blanks, what cannot be
 * printed, '%') is written as %NN.
 */
void gavel__resp_name_waiter(gavel__buffer *out, gavel_bytes key);

#endif
