/*
 * Wires: one connection to the server for the contention benchmark's hand-written policies. Like
 * hiredis with what an expert would add to it: commands are gathered and written once, replies are
 * built in place, and nothing is allocated per command. Any number of callers may share a wire;
 * each reply goes to whoever sent its command. A wire belongs to one thread.
 */
#ifndef BENCH_WIRE_H
#define BENCH_WIRE_H

#include <gavel/bytes.h>
#include <gavel/reply.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wire;

/* `reply` lives until this returns. */
typedef void wire_on_reply(void *receiver, const gavel_reply *reply);

/* Connects. NULL on failure, which is told on standard error; else for wire_close. */
struct wire *wire_open(const char *url, bool is_blocking, wire_on_reply *on_reply);

/* Takes NULL. */
void wire_close(struct wire *wire);

int wire_fd(const struct wire *wire);

/* Gathers a command, whose reply will be `receiver`'s. True: it is the first since wire_flush. */
bool wire_send(struct wire *wire, void *receiver, const gavel_bytes *args, size_t n_args);

/* Writes all that was gathered; waits while the server does not take it. False: it is lost. */
bool wire_flush(struct wire *wire);

/*
 * Reads once, on a blocking wire for as long as it takes, and hands out the replies that are
 * complete. False: the connection is lost or what came is not understood.
 */
bool wire_receive(struct wire *wire);

/* How often a flush had something to write: the round trips, as nobody writes without need. */
uint64_t wire_n_round_trips(const struct wire *wire);

#endif
