/*
 * Polled clients: attached ones on any event loop but libev, or on none.
 *
 * A client opened with config.is_polled shows one descriptor and is turned by the program. This is
 * a whole loop:
 *
 *     gavel_submit(client, &transaction, on_done);
 *     while (gavel_turn(client))
 *         poll(&(struct pollfd){.fd = gavel_fd(client), .events = POLLIN}, 1, -1);
 *
 * In a loop that is there already: watch gavel_fd for reading, and when it is readable call
 * gavel_turn. gavel/adapters has this ready for libuv, GLib, libevent and plain epoll.
 *
 *   - The descriptor stands for all connections, for time (deadlines, pauses, renewals) and for
 *     what calls such as gavel_submit leave to be done: all that these have asked for in one turn
 *     of the program's leaves in the next gavel_turn, in one write a connection. So no timer is
 *     needed, and gavel_turn is called only when it is readable; at other times it does no harm,
 *     and right behind gavel_submit it sends at once.
 *   - It is level-triggered: readable as long as there is something to do. With EPOLLET or the like
 *     a turn that leaves something for the next one would be the last. It may be readable with
 *     nothing to do.
 *   - A turn never sleeps, and its work is bounded. Callbacks come from inside it, and from
 *     gavel_close, and from nothing else.
 *   - In a callback gavel_turn is refused; gavel_submit, gavel_cancel, gavel_close and the calls
 *     for locks are allowed as on every attached client. gavel_run and the other calls that block
 *     answer INVALID on a polled client.
 *   - Threads: by one at a time, whichever it is; the program sees to that.
 *   - Closing: take the descriptor out of the loop first, then gavel_close, which closes it. After
 *     gavel_close in a callback the client is gone when that gavel_turn has returned, with false.
 *   - After fork() the child is refused every call, gets -1 for a descriptor, and may only close
 *     its copy. An epoll that it shares with its parent is not its own to change.
 *   - Errors: what becomes of transactions is told by their outcomes, never by these calls. The
 *     only errors here are misuse, which is answered as each call says, and told to hooks.on_log.
 */
#ifndef GAVEL_POLLED_H
#define GAVEL_POLLED_H

#include <gavel/client.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * The descriptor to be watched for reading, and for nothing else: the same one from gavel_open to
 * gavel_close. It belongs to the client: do not read it, do not close it. -1 for a client that is
 * not polled or NULL, in a body or hook, and in a child process. Legal in a callback.
 */
GAVEL_EXPORT int gavel_fd(gavel_client *client);

/*
 * Does what there is to do: receives, runs bodies, sends, and calls back. Does not sleep. Returns
 * whether there is more to come: transactions or requests for locks that are not told yet, or locks
 * that are held. false: the program may stop polling until it submits again. Also false, and
 * nothing is done, for a client that is not polled, in a callback, body or hook, and in a child
 * process; and when a callback has closed the client, which is freed by then.
 */
GAVEL_EXPORT bool gavel_turn(gavel_client *client);

/*
 * By when gavel_turn wants to be called even if nothing is received, in microseconds of
 * CLOCK_MONOTONIC; 0: at once; INT64_MAX: there is no such time. The descriptor is readable by
 * then, so this is only for programs that plan their sleep: to align it with their own, say. Valid
 * until the next call on the client. INT64_MAX where gavel_fd says -1. Legal in a callback.
 */
GAVEL_EXPORT int64_t gavel_due_us(gavel_client *client);

#ifdef __cplusplus
}
#endif

#endif
