/*
 * A client without any cleverness: sends lines, takes bytes. For the tests of the simulator itself,
 * and for commands by hand at a chosen time: sim_raw_send at that time, sim_raw_take(raw, 0) when
 * the world has run. To crash it, close it (kill -9) or sim_orphan its connection (its host).
 */
#ifndef SIM_RAW_H
#define SIM_RAW_H

#include "sim.h"

#include "base/buffer.h"

typedef struct sim_raw {
    sim_world *world;
    uint64_t connection; /* its number */
    gavel__transport *transport;
    gavel__buffer reply;
    bool is_broken;
} sim_raw;

/* Connects to the server that is chosen, and runs the world until that is done. False: refused. */
bool sim_raw_open(sim_raw *raw, sim_world *world);

/* Takes one that is closed. */
void sim_raw_close(sim_raw *raw);

/* Appends commands, one a line, split at blanks, as they go over the wire. */
void sim_raw_compose(gavel__buffer *out, const char *lines);

/* Sends them. Does not run the world. */
void sim_raw_send(sim_raw *raw, const char *lines);

/* Runs the world for that long, and takes what has come. Text as on the wire, with its NUL, valid
 * until the next call; an empty one if nothing came. */
const char *sim_raw_take(sim_raw *raw, int64_t us);

/* The two together, with time enough for an undisturbed answer. */
const char *sim_raw_ask(sim_raw *raw, const char *lines);

#endif
