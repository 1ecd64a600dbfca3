/*
 * A relay between gavel and a test server, on a unix socket of its own, that loses what a test
 * tells it to lose: a connection at a given byte, a command before it arrives, a reply after the
 * command was executed; or delivers a command late, when gavel has long given its connection up.
 *
 *     gavel --- link 0 --> relay --- link 0 --> redis-server
 *           --- link 1 -->       --- link 1 -->
 *
 * Each link has a thread. Without a hook bytes pass as they come. With one, commands pass one at a
 * time: the next one leaves when the one before was answered, so that a hook knows what the server
 * has done when it is called. What goes wrong in the relay itself aborts the test.
 */
#ifndef TEST_LIVE_RELAY_H
#define TEST_LIVE_RELAY_H

#include "server.h"

#include <stdint.h>

typedef struct test_relay test_relay;

/* What becomes of a command, or, for a relay_cut, of what follows a byte. */
typedef enum relay_action {
    RELAY_PASS,
    RELAY_CUT,        /* not delivered; both sides are closed */
    RELAY_LOSE_REPLY, /* delivered; both sides are closed when the server has executed it */
    RELAY_LATE,       /* gavel's side is closed at once; see relay_deliver */
    RELAY_STALL,      /* nothing passes any more, in either direction; see relay_deliver */
    RELAY_MUTE        /* delivered, with what gavel has sent behind it; nothing passes any more */
} relay_action;

/* A command of gavel's on its way to the server. */
typedef struct relay_command {
    unsigned link;  /* gavel's connections, in order, from 0 */
    unsigned round; /* EXECs before it on this link; 0: it belongs to the handshake */
    const gavel_bytes *args;
    size_t n_args;
} relay_command;

/*
 * Decides about one command. Runs in a link's thread, never two at a time. It may call
 * relay_deliver, and test servers while the test's own thread waits in gavel_run (not start or
 * restart them: a server dies with the thread that started it).
 */
typedef relay_action relay_hook(test_relay *relay, const relay_command *command, void *user);

/* Whether this is the command's name. */
bool relay_is(const relay_command *command, const char *name);

/* Whether it is the EXEC of a transaction, not of a handshake. */
bool relay_is_exec(const relay_command *command);

typedef enum relay_side { RELAY_TO_SERVER, RELAY_TO_CLIENT } relay_side;

/*
 * A cut at a byte: n_bytes of a link pass, and the arrival of one more is its end. Of the actions,
 * CUT closes both sides at once, however far the server has come; LOSE_REPLY when it has executed
 * what it got; LATE holds what came with the last byte back. Towards the client, always as CUT.
 */
typedef struct relay_cut {
    relay_action action; /* RELAY_PASS: no cut */
    relay_side side;
    uint64_t n_bytes;
    bool is_for_every_link; /* false: only link 0 */
} relay_cut;

/* Starts a relay to a server. `hook` NULL: none. Either a hook or a cut. */
test_relay *relay_start(
    const test_server *server, relay_hook *hook, void *user, const relay_cut *cut);

/* Closes everything; what was not delivered never is. Takes NULL. */
void relay_stop(test_relay *relay);

/* For gavel_open. Lives as long as the relay. */
const char *relay_url(const test_relay *relay);

/*
 * Delivers all that is late or stalled, with what gavel had sent behind it, and returns when the
 * server has executed it; the links end. Returns how many links there were. Any thread.
 */
unsigned relay_deliver(test_relay *relay);

/* What gavel has sent so far: links; whole EXECs, handshakes' not counted. Any thread. */
unsigned relay_n_links(test_relay *relay);
unsigned relay_n_execs(test_relay *relay);

/* Whether the cut was made. */
bool relay_has_cut(test_relay *relay);

#endif
