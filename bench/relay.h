/*
 * Relays: a process that stands between the contention benchmark and the server and holds back
 * whatever passes, in both directions, for half a round trip: a network, where loopback has none.
 */
#ifndef BENCH_RELAY_H
#define BENCH_RELAY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct relay {
    char folder[32];
    char url[64]; /* where to connect to: a socket in the folder */
    pid_t pid;
    int lifeline; /* a pipe that nobody writes to; when it closes, the relay ends */
};

/* Starts one. False: it was told why on standard error. */
bool relay_start(struct relay *relay, const char *url, int64_t rtt_ns);

/* Ends it and removes its socket. */
void relay_stop(struct relay *relay);

#endif
