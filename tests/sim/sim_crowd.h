/*
 * A crowd: clients of several processes whose callers all want the same few keys, again and again.
 * For the tests of gates.
 *
 *     crowd *c = crowd_create(&(crowd_config){.seed = 7, .n_keys = 1});
 *     crowd_join(c, &(gavel_config){.mode = GAVEL_GATED}, 2);
 *     crowd_play(c, SIM_SECOND);
 *     crowd_leave(c);                    no more work; what is under way is awaited
 *     crowd_judge(c);
 *     crowd_destroy(c);
 *
 * Each deed adds to one key, or moves between several, and leaves a tag of its own there; so the
 * sums and the tags show what took effect, whatever was told.
 */
#ifndef SIM_CROWD_H
#define SIM_CROWD_H

#include "sim.h"

enum { CROWD_MAX_CLIENTS = 48, CROWD_MAX_CALLERS = 64, CROWD_MAX_KEYS = 10 };

#define CROWD_LEASE_MS 100
#define CROWD_LEASE_US (CROWD_LEASE_MS * SIM_MILLISECOND)

typedef struct crowd_config {
    uint64_t seed;
    size_t n_keys;        /* 0: 1 */
    uint32_t several;     /* per mille of deeds: on several keys */
    uint32_t deadline_ms; /* 0: 5000 */
    int64_t pause_us;     /* a mean; 0: callers come back at once, in their callback */
    bool is_lean;         /* no tags: nothing but a counter */
} crowd_config;

/* One transaction. */
typedef struct crowd_deed {
    struct crowd_caller *caller;
    size_t number;
    size_t keys[CROWD_MAX_KEYS];
    size_t n_keys;
    int64_t amount;
    int64_t submitted_us;
    int64_t done_us;
    uint32_t n_told;
    bool is_lost; /* its client crashed */
    gavel_outcome outcome;
} crowd_deed;

typedef struct crowd_caller {
    struct crowd *crowd;
    struct crowd_member *member;
    crowd_deed *deed; /* under way, or NULL */
    size_t n_keys;    /* 0: chosen by chance each time; else these */
    size_t keys[CROWD_MAX_KEYS];
    uint64_t n_committed;
    uint64_t n_attempts;
    uint64_t n_gated;
    int64_t longest_us; /* from the call to the outcome */
    bool is_resting;    /* submits nothing more */
} crowd_caller;

/* One client. */
typedef struct crowd_member {
    gavel_client *client;
    bool is_dead;
    bool is_paused;
    bool was_paused;
    uint64_t n_committed;
} crowd_member;

typedef struct crowd {
    sim_world *world;
    crowd_config config;
    crowd_member members[CROWD_MAX_CLIENTS];
    size_t n_members;
    crowd_caller callers[CROWD_MAX_CALLERS];
    size_t n_callers;
    crowd_deed **deeds;
    size_t n_deeds;
    int64_t foreign[CROWD_MAX_KEYS]; /* what others have added */
    int64_t committed_us;            /* when an EXEC last changed anything */
    int64_t worked_us;               /* since then some live caller has waited all the time */
    int64_t longest_stall_us;
    bool is_over;
} crowd;

crowd *crowd_create(const crowd_config *config);
void crowd_destroy(crowd *c);

/* One more client, with so many callers, who begin at once. The lease is the crowd's. */
crowd_member *crowd_join(crowd *c, const gavel_config *config, size_t n_callers);

void crowd_play(crowd *c, int64_t us);

/* The callers submit no more; false if some are not told in time. */
bool crowd_leave(crowd *c, int64_t max_us);

/* Ends a client; its host may go without a word. */
void crowd_kill(crowd *c, crowd_member *member, int64_t orphaned_us);

void crowd_pause(crowd *c, crowd_member *member, bool is_paused);

/* Somebody adds one without asking anybody. */
void crowd_intrude(crowd *c, size_t key);

/* From now on nothing goes wrong any more: no faults, no actors, nobody is paused. */
void crowd_calm(crowd *c);

/* A client that is alive and runs, by chance; NULL: none. */
crowd_member *crowd_anybody(crowd *c);

/* No update lost or made twice, no outcome that claims more or less than what happened. */
void crowd_judge(const crowd *c);

/* Tokens that lie there, and holders that would hand one on. */
size_t crowd_n_tokens(const crowd *c, size_t key);

#endif
