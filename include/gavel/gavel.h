/*
 * gavel: optimistic transactions on Redis. This header brings all the others.
 *
 *     gavel/client.h        open a client, run transactions on it
 *     gavel/transaction.h   what a transaction is
 *     gavel/tx.h            what its body may do
 *     gavel/outcome.h       what is told about it
 *     gavel/polled.h        clients on event loops other than libev
 *     gavel/lock.h          locks, for work outside Redis
 *     gavel/bytes.h, gavel/reply.h   how bytes and the server's replies are passed
 *     gavel/gavel.hpp, gavel/lock.hpp   all of it for C++17: lambdas as bodies, exceptions; not
 *                           brought by this
 *
 * Programs outlive libraries, so the structs can grow without being rebuilt. Those that a program
 * makes end in room, `reserved`, which later versions turn into fields, in place and at the same
 * size; zero means there what an earlier version did. So make them by a designated initializer, or
 * zeroed: what has no initializer is zero then, the room too. gavel refuses room that is not zero:
 * it is a field of a newer version, which this one would pass over in silence, or a struct that was
 * never zeroed. Only gavel makes gavel_event, which grows at its end. gavel_bytes, gavel_reply,
 * gavel_allocator and gavel_error stay as they are. Enums get new values behind the old ones, so a
 * switch needs a way out.
 */
#ifndef GAVEL_GAVEL_H
#define GAVEL_GAVEL_H

#include <gavel/bytes.h>
#include <gavel/client.h>
#include <gavel/lock.h>
#include <gavel/outcome.h>
#include <gavel/polled.h>
#include <gavel/reply.h>
#include <gavel/transaction.h>
#include <gavel/tx.h>

#define GAVEL_VERSION_MAJOR 0
#define GAVEL_VERSION_MINOR 1
#define GAVEL_VERSION_PATCH 0

#ifdef __cplusplus
extern "C" {
#endif

/* The version of the library at run time, such as "0.1.0". Never freed. Any thread. */
GAVEL_EXPORT const char *gavel_version(void);

#ifdef __cplusplus
}
#endif

#endif
