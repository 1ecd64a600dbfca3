/*
 * Sentinels: what each of them sees of the servers, and what it makes of that. For the simulator's
 * other parts. Source: Redis 7.0, sentinel.c, and what was measured on it.
 *
 * They do not talk, but look at each other: whoever is up and can be reached is known to agree. A
 * failover goes the way of the real ones, and takes as long:
 *
 *     STEADY --down for a quorum, or SENTINEL FAILOVER--> SELECTING --> PROMOTING --> the replica
 * is a primary --> WAITING (for its INFO) --> the leader names it, the others hear of that
 *     --> RECONFIGURING (the other replicas) --> STEADY
 *
 * Ten seconds later the old primary, if it is there, is made a replica.
 */
#ifndef SIM_SENTINEL_H
#define SIM_SENTINEL_H

#include "sim_replication.h"

typedef enum sim__failover {
    SIM__STEADY,
    SIM__SELECTING,
    SIM__PROMOTING,
    SIM__WAITING,
    SIM__RECONFIGURING
} sim__failover;

/* What a Sentinel sees of one server. Times are 0 for never. */
typedef struct sim__view {
    int64_t pinged_us;
    int64_t owed_us;     /* since when a ping is unanswered */
    int64_t answered_us; /* the last one that was */
    int64_t stray_us;    /* since when it has another role, or primary, than it should */
    int64_t replica_us;  /* since when the one that should be the primary says that it is none */
    bool is_down;
} sim__view;

struct sim__sentinel {
    char id[SIM__REPLID_SIZE];
    sim__server *primary; /* that it watches */
    uint64_t epoch;       /* the config-epoch, of `primary` or of `promoted` */
    uint64_t last_epoch;  /* the highest that it has heard of */
    sim__view views[SIM_MAX_SERVERS];
    int64_t ticked_us;
    int64_t tilt_until_us;
    int64_t patience_us;    /* how long it leaves a stray alone */
    int64_t hello_us;       /* when it hears of a higher config-epoch; 0: there is none */
    int64_t may_start_us;   /* a failover, not before: one was begun lately */
    sim__failover failover; /* that it leads */
    int64_t step_us;        /* when the next step is due */
    bool is_forced;         /* by SENTINEL FAILOVER */
    uint64_t failover_epoch;
    sim__server *promoted; /* NULL: not selected yet */
    bool is_ticking;       /* its next tick is scheduled */
};

typedef struct sim__sentinel sim__sentinel;

/* What the Sentinels of a world have in common. */
typedef struct sim__service {
    char name[64];
    size_t quorum;
    int64_t down_after_us;
    int64_t failover_timeout_us;
} sim__service;

/* Where the primary is: what it answers, and tells the others. */
const sim__server *sim__named(const sim__sentinel *sentinel);

bool sim__is_sentinel(const sim__server *server);

/* Whether `to` is up, and can be reached. */
bool sim__reaches(const sim__server *from, const sim__server *to);

/* How many take its primary to be down, of those whom it reaches, and it itself. */
size_t sim__n_who_agree(const sim__server *self);

/* SENTINEL FAILOVER. NULL, or why not. */
const char *sim__force_failover(sim__server *sentinel);

/* Sends a message to those who have subscribed to the channel. */
void sim__publish(sim__server *sentinel, const char *channel, const char *message);

void sim__sentinel_die(sim__server *server, bool keeps_config);
void sim__sentinel_rise(sim__server *server);

void sim__sentinels_destroy(sim_world *world);

#endif
