/*
 * Passes: how a lane passes through the gates of hot keys.
 *
 *     NONE --claims--> ENTERING --all are ours--> HELD --handed off, or its link is lost--> NONE
 *       |                 |                        ^
 *       |                 v not all                |
 *       +--claims--> WAITING --all are granted-----+
 *     somebody has them
 *
 *     NONE      no gates; those of the round that is being collected may be there already
 *     ENTERING  all are claimed; n_answered of the claims are answered
 *     WAITING   likewise, and the server blocks the connection at the first that is not answered
 *     HELD      all are ours, or as good as ours; rounds are served since granted_us
 *
 * From ENTERING and WAITING a lost link leads to NONE as well.
 *
 * A pass belongs to a lane and serves the rounds on it, one after another, up to a fair share. The
 * claims ride in front of a round's WATCH and reads in the same write, so a gate costs no round
 * trip of its own. Whatever the server answers to them, the round goes on: a gate is never needed
 * for safety.
 */
#ifndef GAVEL__PASS_H
#define GAVEL__PASS_H

#include "core/gate.h"

#include <gavel/reply.h>

typedef enum gavel__pass_state {
    GAVEL__PASS_NONE,
    GAVEL__PASS_ENTERING,
    GAVEL__PASS_WAITING,
    GAVEL__PASS_HELD
} gavel__pass_state;

typedef struct gavel__pass {
    gavel__pass_state state;
    gavel__gate *gates[GAVEL__PASS_MAX]; /* in order */
    size_t n_gates;
    size_t n_answered;    /* ENTERING, WAITING: claims answered, from the first gate on */
    bool has_turn;        /* the first reply to a claim */
    bool is_refused;      /* likewise */
    bool has_others_turn; /* it had to wait, and somebody else has handed off to it */
    bool is_handed_off;   /* by the EXEC under way */
    bool is_kept;         /* HELD for one that waits for a round of another lane of ours */
    int64_t granted_us;
    uint32_t n_served; /* rounds that have reached EXEC since */
    size_t n_checked;  /* replies to checks */
    int64_t probe_us;  /* WAITING: when to see whether the holder is dead */
    bool is_in_vain;   /* WAITING: no link can be had to ask that on */
} gavel__pass;

struct gavel__lane;

/* Puts the gate, which no lane has, among those that the lane is to pass through. */
void gavel__pass_add(struct gavel__lane *lane, gavel__gate *gate);

/*
 * In front of a round's WATCH: asks for the gates, or, if they are known to be taken, waits for
 * them. How many commands; none, if the lane holds them.
 */
size_t gavel__pass_write_claims(struct gavel__lane *lane, gavel__gates *gates, int64_t now_us);

/*
 * The replies to a claim. True with the last one, if not all are ours: then the claims are to be
 * written again, to wait, and what was read behind them is to be ignored.
 */
void gavel__pass_on_turn(
    struct gavel__lane *lane, gavel__gates *gates, const gavel_reply *reply, int64_t now_us);
bool gavel__pass_on_record(struct gavel__lane *lane, const gavel_reply *reply, int64_t now_us);

/* Before MULTI: puts our name where the record still has another's. How many commands. */
size_t gavel__pass_write_names(struct gavel__lane *lane, int64_t now_us);

/* Hands the gates off; for EXEC, or by itself. How many commands; their replies matter to nobody.
 */
size_t gavel__pass_write_hand_off(struct gavel__lane *lane, int64_t now_us);

/* The node has refused to queue a command that hands them off. */
void gavel__pass_on_refusal(struct gavel__lane *lane, gavel_bytes error, int64_t now_us);

/* Whether it is the others' turn. */
bool gavel__pass_is_share_used(const struct gavel__lane *lane, int64_t now_us);

/* The gates were handed off, or there are none. */
void gavel__pass_end(struct gavel__lane *lane);

/* The link is lost, and what it held was not handed off: any other link does it, or everybody would
 * wait for the end of the lease. */
void gavel__pass_lose(struct gavel__lane *lane);

/*
 * After a conflict: GET of each record. The record names whoever was let in last; if that is
 * somebody else, there was a turn too many, and it ends with us. How many commands.
 */
size_t gavel__pass_write_checks(struct gavel__lane *lane);
void gavel__pass_on_check(struct gavel__lane *lane, const gavel_reply *reply);

/* The gate in whose queue the lane stands, or NULL. */
gavel__gate *gavel__pass_blocked_on(const struct gavel__lane *lane);

/*
 * On a lane that waits: now and then, asks whether the holder is dead. Condemns the lane, if a turn
 * has found nobody in the queue. If no link can be had to ask on, until it would be asked again,
 * the lane's own one is the only one that can: it waits in vain, and is to leave the queue and
 * enter again.
 */
void gavel__pass_probe(struct gavel__lane *lane, gavel__gates *gates, int64_t now_us);

#endif
