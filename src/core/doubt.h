/*
 * Doubts: a link was lost after EXEC was sent and before it was answered. Did it happen?
 *
 * Every round WATCHes its link's marker, and its EXEC counts it up to the round's number. So
 * another link is asked, in one write:
 *
 *     PEXPIRE marker ttl    touches it: from now on the old EXEC, should it still arrive, gets nil
 *     GET marker            the round's number: it was made; less: it never will be
 *
 * The order matters, and both can be asked again if this answer is lost as well, since neither
 * changes the number. All of a round's members are settled by one answer. Less than the number of
 * the round before says that earlier ones are gone, too: the server has gone back to an older state
 * of the data, where this marker was planted already; or where only the handshake had written it,
 * which says 0. A marker that is gone (evicted, flushed, planted after the state that the server
 * has gone back to), or holds what is below its first planting (counted up from nothing), proves
 * nothing: the outcome is UNKNOWN. That is why a link's marker is planted before its first round.
 * Nor does an earlier number where the slot has migrated since: its keys went one after another,
 * and what was lost with the link may be the marker's alone.
 *
 * Where the server's history may be given up yet (questions' is_provisional), only that it was made
 * is believed, since it is so in the history before as well. Else it is asked again until that is
 * certain. Nobody waits for its keys then: a late EXEC cannot arrive at another server.
 *
 *     IDLE --open--> ASKING --it is known, or nobody wants to know--> IDLE
 *                     |  ^
 *      would not say  v  | after a pause
 *                    RESTING --nobody wants to know--> IDLE
 *
 *     IDLE     a round's, in case; or in the list of idle ones. It has nothing
 *     ASKING   open: has the members and keys of a round that is gone, and the gates that its EXEC
 *              would have handed off; its question is under way
 *     RESTING  likewise, and its question is IDLE: asked again at ask_us
 *
 * For rounds, which hand their members over, and the engine.
 */
#ifndef GAVEL__DOUBT_H
#define GAVEL__DOUBT_H

#include "core/durability.h"
#include "core/ledger.h"
#include "core/names.h"
#include "core/pass.h"
#include "core/question.h"
#include "core/queue.h"

typedef struct gavel__doubts {
    gavel__context *context;
    gavel__queue *queue;
    gavel__questions *questions;
    int64_t marker_ttl_us;
    gavel__list open;
    gavel__list idle;
} gavel__doubts;

typedef enum gavel__doubt_state {
    GAVEL__DOUBT_IDLE,
    GAVEL__DOUBT_ASKING,
    GAVEL__DOUBT_RESTING
} gavel__doubt_state;

typedef struct gavel__doubt {
    gavel__list node; /* among the open or the idle ones, or in neither */
    gavel__doubts *doubts;
    gavel__doubt_state state;
    gavel__question question;
    gavel__list members;
    gavel__durability *durability; /* borrowed: of the node whose link was lost */
    gavel__key **claims;           /* keys that nobody is to touch until it is settled */
    size_t n_claims;
    size_t claims_capacity;
    uint64_t number;                 /* what EXEC would have written to the marker; 0: nothing */
    uint64_t first_number;           /* as the marker was first planted */
    gavel__page *page;               /* where it is entered if it was made; NULL: nowhere */
    char marker[GAVEL__MARKER_SIZE]; /* the lost link's */
    size_t marker_size;
    gavel__gate *gates[GAVEL__PASS_MAX]; /* that its EXEC would have handed off */
    int64_t granted_us[GAVEL__PASS_MAX]; /* and when they were granted */
    size_t n_gates;
    bool has_migrated; /* its slot has, since the marker was planted: an earlier number proves
                          nothing */
    bool is_refused;   /* the server had refused a part of it: the marker would not tell all */
    bool is_touched;   /* the server did not refuse to look for the marker */
    bool is_fenced;    /* the marker was touched, a late EXEC will fail */
    int64_t ask_us;    /* RESTING: until then */
} gavel__doubt;

void gavel__doubts_init(
    gavel__doubts *doubts, gavel__queue *queue, gavel__questions *questions, int64_t marker_ttl_us);

/* All members must have left, and all lanes be gone. */
void gavel__doubts_finish(gavel__doubts *doubts);

/* An idle one, for a round to have in case: there may be no memory when it is needed. NULL: no
 * memory. */
gavel__doubt *gavel__doubt_create(gavel__doubts *doubts);
void gavel__doubt_destroy(gavel__doubt *doubt);

/* Its EXEC hands off what the pass holds: if it was not made, that is done by a question. */
void gavel__doubt_take_gates(gavel__doubt *doubt, const gavel__pass *pass);

/* It was given members, keys, a number and a marker: tells the hooks, and asks, or settles what
 * cannot be asked. `link`: the lane's index. */
void gavel__doubt_open(gavel__doubt *doubt, uint32_t link, int64_t now_us);

/* Slots have migrated: see gavel__ledger_on_migration. */
void gavel__doubts_on_migration(gavel__doubts *doubts, gavel__migrated *migrated, const void *user);

/* Asks again, and forgets those that nobody wants to know of any more. */
void gavel__doubts_advance(gavel__doubts *doubts, int64_t now_us);

/* The server is another one, where no EXEC can arrive late: nobody need wait for their keys. */
void gavel__doubts_release_keys(gavel__doubts *doubts, int64_t now_us);

/* When it wants to be called again; GAVEL__NEVER. */
int64_t gavel__doubts_due_us(const gavel__doubts *doubts);

#endif
