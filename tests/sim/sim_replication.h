/*
 * Replication: how what a primary writes comes to its replicas, later and in order. For the
 * simulator's other parts.
 *
 *     command --> sim__record --> open write --> sim__end_write --> arrivals --> run by a replica
 *
 * A write is what one command or EXEC has changed, as commands; a replica runs it as a whole, at
 * the primary's time of day, so that it comes to the same. A replica that has lost its link, or
 * that follows another primary, gets a copy of all data when it is linked again; Redis sends what
 * is missing where it can, which comes to the same.
 */
#ifndef SIM_REPLICATION_H
#define SIM_REPLICATION_H

#include "sim_internal.h"

#define SIM__REPLID_SIZE 41

typedef struct sim__written {
    int db;
    int64_t at_ms;
    sim__args command;
} sim__written;

typedef struct sim__write {
    size_t n_users; /* arrivals */
    int64_t end_offset;
    sim__written *commands;
    size_t n_commands;
} sim__write;

typedef struct sim__replication {
    char run_id[SIM__REPLID_SIZE]; /* of the process; else nothing to do with replication */
    char replid[SIM__REPLID_SIZE];
    char replid2[SIM__REPLID_SIZE];
    int64_t offset;
    int64_t second_offset; /* -1: there is no second history */
    sim__write *open;      /* of the command that runs; NULL: nothing so far */

    int64_t fsync_every_us; /* see sim_set_fsync */
    int64_t fsynced_offset;
    bool is_fsync_due;
    sim__server *next_primary; /* of sim_replicate; the server itself: none */

    /* Of a replica. */
    sim__session *applier;
    bool is_linked;
    bool is_sync_due; /* an event is under way that tries to link it */
    bool is_ack_due;
    int64_t unlinked_us; /* when it was linked last */
    gavel__list arrivals;
    int64_t last_at_us;
    int64_t lag_min_us;
    int64_t lag_max_us;
    int64_t acked_offset; /* what its primary knows it to have */
    int64_t acked_fsync;  /* and to have in its file */
    int priority;
} sim__replication;

/* 40 digits, as Redis names processes and histories. */
void sim__draw_id(sim_world *world, char id[SIM__REPLID_SIZE]);

void sim__replication_create(sim__server *server);
void sim__replication_destroy(sim__server *server);

/* The role changes. Links of clients stay, but for those that wait for something on a primary. */
void sim__follow(sim__server *server, sim__server *primary);
void sim__lead(sim__server *server);

/* CLIENT KILL TYPE normal. */
void sim__kill_clients(sim__server *server);

/* The process has died; it is there again. */
void sim__replication_die(sim__server *server, bool keeps_data);
void sim__replication_rise(sim__server *server);

/* How many replicas are known to have all up to there; or to have it in their files. */
size_t sim__n_acks(const sim__server *server, int64_t offset, bool is_of_files);

#endif
