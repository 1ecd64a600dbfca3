/*
 * gavel: optimistic transactions on Redis. This header brings all the others.
 *
 *     gavel/client.h        open a client, run transactions on it
 *     gavel/transaction.h   what a transaction is
 *     gavel/tx.h            what its body may do
 *     gavel/outcome.h       what is told about it
 *     gavel/lock.h          locks, for work outside Redis
 *     gavel/bytes.h, gavel/reply.h   how bytes and the server's replies are passed
 */
#ifndef GAVEL_GAVEL_H
#define GAVEL_GAVEL_H

#include <gavel/bytes.h>
#include <gavel/client.h>
#include <gavel/lock.h>
#include <gavel/outcome.h>
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
