/*
 * A stage: an engine alone, in virtual time, with the test in the roles of the links and of the
 * server. For the unit tests of core only. A test reads like the conversation that it plays:
 *
 *     actor adder = {.reads = "a", .plays = "ADD a 1"};
 *     enter(&s, &adder);
 *     link_up(&s, 0);
 *     hears(&s, 0, "WATCH a / GET a");
 *     says(&s, 0, "OK, \"1\"");
 *     hears(&s, 0, "MULTI / SET a 2 / EXEC");
 *     says(&s, 0, "OK, QUEUED, [OK]");
 *     ends(&s, &adder, GAVEL_COMMITTED);
 *
 * Time moves only by advance(). What a test asserts here fails with the test's own line.
 */
#ifndef STAGE_H
#define STAGE_H

#include "core/engine.h"

#include "faulty_memory.h"

enum {
    STAGE_MAX_KEYS = 16,
    STAGE_MAX_LANES = 4,
    STAGE_MAX_DIALS = 64,
    STAGE_MAX_ACTORS = 128,
    STAGE_MAX_LOST = 64
};

typedef struct stage_config {
    bool has_markers;
    bool has_histories; /* with a ledger, in a Cluster: a node is asked for its history */
    bool keeps_ledger;
    bool is_cluster;
    uint32_t n_nodes;         /* of a Cluster; 0: 1. Each has as many slots, in order */
    uint32_t n_replicas;      /* not of a Cluster: nodes behind the first one, which are its */
    bool has_no_prefetch;     /* no credit for reads behind EXEC, until a conflict gives it back */
    bool has_any_memory;      /* the test's own n_left, instead of enough */
    uint32_t n_lanes;         /* 0: 1 */
    uint32_t n_waiting_lanes; /* of the pool, for questions that block */
    uint32_t n_replica_lanes; /* and for those of these that wait for replicas */
    uint32_t max_queued;      /* 0: 1000 */
    uint32_t max_width;       /* 0: 64 */
    uint32_t max_keys;        /* 0: 512 */
    size_t max_bytes;         /* 0: no limit */
    int64_t max_body_us; /* 0: no limit; the stage's clock stands still unless a body moves it */
    size_t n_left;
    uint64_t identity; /* of this client among all; the seed is the same */
} stage_config;

typedef struct stage {
    faulty_memory memory;
    gavel_allocator allocator;
    gavel__engine engine;
    gavel__buffer outs[STAGE_MAX_LANES]; /* composed, and not heard yet */
    uint64_t numbers[STAGE_MAX_DIALS];   /* what each dial's marker was planted with, last */
    size_t n_events[GAVEL_EVENT_MAY_BE_LOST + 1];
    gavel_ticket lost[STAGE_MAX_LOST]; /* in the order that they were told in */
    size_t n_lost;
    char redirects[128]; /* what nodes have said of slots: "MOVED 9 to host:port; " or "down; " */
    struct actor *actors[STAGE_MAX_ACTORS];
    size_t n_actors;
    int64_t now_us;
    int64_t slept_us; /* of the machine: the lease clock has gone on meanwhile, and no other */
} stage;

/*
 * One transaction, and its body as a script of lines such as
 *
 *     GET key          HGET key field         INT key             QUERY command ...
 *     SET key value    HSET key field value   ADD key n           WRITE command ...
 *     DEL key          HDEL key field         RESULT text         DELS key ...
 *     SETPX key value ms   KEEP key value     EXPIRE key ms       PERSIST key
 *     COUNT key n      HCOUNT key field n     APPEND key value    TTL key
 *     TIME             ASK command ...        PUBLISH channel text
 *     LOOK n command ...: as QUERY, of n keys       CALL n command ...: as WRITE, likewise
 *     COMMIT           ABORT code             RETRY               AGAIN
 *     WAIT us: the body takes that long
 *
 * parted by ';'. A script without a verdict commits. '|' parts the runs; the last one is repeated.
 */
typedef struct actor {
    const char *plays;
    const char *keys;  /* declared, parted by blanks; or NULL */
    const char *reads; /* likewise: "key" or "key.field" */
    const char *id;
    const char *digest;
    gavel_transaction request; /* the rest; its keys and reads are used where the two are NULL */

    stage *stage;   /* where it was entered */
    char seen[256]; /* what the last run read: "a=1 b=nil c=? d=! " */
    unsigned n_runs;
    gavel__transaction *transaction; /* NULL once it is told */
    gavel_ticket ticket;
    gavel_outcome outcome;
    bool is_told;
} actor;

void stage_open(stage *s, const stage_config *config);

/* Of a Cluster, whose engine has none yet. */
void stage_make_nodes(stage *s, const stage_config *config);

/* Ends whatever is under way, and asserts that each actor was told and that nothing leaks. */
void stage_close(stage *s);

/* ---- The callers --------------------------------------------------------------------------- */

/* Submits. False: there was no memory at all. */
bool enter(stage *s, actor *a);

void cancel(stage *s, actor *a);

/* Lets `us` microseconds pass, and the engine act. */
void advance(stage *s, int64_t us);

/* Moves to the time that the engine has asked for, which must be in the future. */
void stage_sleeps(stage *s, int line);

/* Asserts that the actor's outcome is there, and has this status. */
const gavel_outcome *stage_ends(stage *s, actor *a, gavel_status status, int line);

/* The same, and that its message contains these words. */
void stage_ends_saying(stage *s, actor *a, gavel_status status, const char *words, int line);

/* Asserts that the actor was not told yet, and in which state its transaction is. */
void stage_is_in(stage *s, actor *a, gavel__tx_state state, int line);

/* Collects the outcomes that are there. */
void stage_collect(stage *s);

/* The slot has another node, with a copy of all its data. */
void stage_give_slot(stage *s, uint16_t slot, const gavel__node *node);

/* ---- The links and the server -------------------------------------------------------------- */

/* The lane at this place, behind all those of the nodes before; one that is DOWN, if it was never
 * wanted. */
gavel__lane *lane_of(const stage *s, uint32_t place);

/* Asserts that the lane is wanted, and connects it. */
void stage_link_up(stage *s, uint32_t lane, int line);

/* Asserts that the lane is wanted, and fails to connect it. */
void stage_link_refused(stage *s, uint32_t lane, bool is_final, const char *server_error, int line);

/* Breaks the link: what was heard had been sent, what was only composed had not. */
void link_down(stage *s, uint32_t lane);

/* The same, but of what was composed and not heard, n bytes had been handed to the kernel. */
void link_down_within(stage *s, uint32_t lane, uint64_t n);

/* Likewise, because the reply to come is more than a link takes. */
void link_down_too_large(stage *s, uint32_t lane);

/*
 * Asserts that exactly these commands are on the lane, parted by " / ", that as many replies to
 * them were announced, and takes them as sent. "" for nothing. A marker's name is written m and
 * the number of its link's dial, "m0"; what it holds n and the same, "n0+1". What is written for
 * WAIT's sake is named w.
 */
void stage_hears(stage *s, uint32_t lane, const char *commands, int line);

/* The same, but nothing of it is sent yet. */
void stage_composes(stage *s, uint32_t lane, const char *commands, int line);

/* The lane's commands that were not heard yet, as text; valid until the next call. */
const char *stage_peek(stage *s, uint32_t lane);

/* The same, and takes them as sent. */
const char *stage_listen(stage *s, uint32_t lane);

/*
 * Hands replies to the engine, parted by commas: OK, QUEUED, nil, :5, "text", -ERR words, and
 * [arrays]; n0+1 stands for a marker's number, bare or in a string.
 */
void says(stage *s, uint32_t lane, const char *replies);

/* Asserts that the engine wants the link closed, and closes it. */
void stage_is_closed(stage *s, uint32_t lane, const char *message, int line);

#define link_up(s, lane) stage_link_up(s, lane, __LINE__)
#define hears(s, lane, commands) stage_hears(s, lane, commands, __LINE__)
#define hears_nothing(s, lane) stage_hears(s, lane, "", __LINE__)
#define composes(s, lane, commands) stage_composes(s, lane, commands, __LINE__)
#define is_closed(s, lane, message) stage_is_closed(s, lane, message, __LINE__)
#define ends(s, a, status) stage_ends(s, a, status, __LINE__)
#define ends_saying(s, a, status, words) stage_ends_saying(s, a, status, words, __LINE__)
#define is_in(s, a, state) stage_is_in(s, a, state, __LINE__)
#define sleeps(s) stage_sleeps(s, __LINE__)
#define link_refused(s, lane, is_final, error)                                                     \
    stage_link_refused(s, lane, is_final, error, __LINE__)

#endif
