/*
 * The policy: all that is decided about contention, in one place. What has happened is told, and
 * what follows is asked: how wide a round is, whether it reads ahead or takes shortcuts, how long
 * who has lost pauses, when a gate goes up, and when it is others' turn. Pure: time and the random
 * source come in.
 *
 * A policy is of one server; of a key there is only its heat.
 */
#ifndef GAVEL__POLICY_H
#define GAVEL__POLICY_H

#include "base/random.h"

#include <stddef.h>

/* ---- Keys ---------------------------------------------------------------------------------- */

/*
 * The heat of one key. The level estimates, as a power of two, how many writers there are: one
 * more for a conflict, half of one less for a success, so that it settles where about two thirds
 * of the attempts succeed; and halved for every second without use.
 */
typedef struct gavel__heat {
    double level;
    int64_t touched_us;         /* when `level` was last brought up to date */
    int64_t resume_us;          /* who races for the key does not try before */
    int64_t contended_until_us; /* 0: it is calm */
} gavel__heat;

/* Lets time pass. A level below a half becomes 0: the key is cold. */
void gavel__heat_cool(gavel__heat *heat, int64_t now_us);

void gavel__heat_on_conflict(gavel__heat *heat, int64_t now_us);
void gavel__heat_on_success(gavel__heat *heat, int64_t now_us);

/* Whether an attempt is likely to be lost: then it is not worth reading ahead. */
static inline bool gavel__heat_is_warm(const gavel__heat *heat)
{
    return heat->level > 0;
}

/*
 * Whether others have written to it lately. Rounds on contended keys are apart from those on calm
 * ones: who wants a calm key loses no attempt to those who write another one, and what makes the
 * former narrow leaves the latter wide. It lasts longer than warmth: a key that is written every
 * few milliseconds is cold again in between, and would spoil a wide round each time.
 */
static inline bool gavel__heat_is_contended(const gavel__heat *heat, int64_t now_us)
{
    return heat->contended_until_us > now_us;
}

/* Whether there is anything to be remembered of it. */
static inline bool gavel__heat_is_known(const gavel__heat *heat)
{
    return heat->level > 0 || heat->contended_until_us != 0;
}

/* ---- A server ------------------------------------------------------------------------------ */

typedef struct gavel__policy_config {
    uint32_t max_width;         /* of a round, in transactions */
    bool is_adaptive;           /* who keeps losing goes through the gate of the key */
    bool has_returning_callers; /* outcomes are told by callbacks, which may submit at once */
} gavel__policy_config;

/* Ways to ask or write that cost the server less than one command for each key. They say less, too:
 * MGET answers nil where another type lives, and a refused MSET does not name whose fault it is. */
typedef enum gavel__shortcut { GAVEL__SHORTCUT_MGET, GAVEL__SHORTCUT_MSET } gavel__shortcut;

typedef struct gavel__policy {
    gavel__policy_config config;
    uint64_t round_trip_us; /* measured, smoothed; 0: not yet */
    /* Now, of rounds on calm keys and on contended ones: halved by a conflict, one more for a full
     * round that commits. */
    uint32_t widths[2];
    uint32_t prefetch_credit;   /* left to reads behind EXEC that may turn out to be in vain */
    uint32_t n_plain_rounds[2]; /* to come without the shortcut */
} gavel__policy;

/* How many reads behind EXEC in vain in a row it takes to stop them. */
#define GAVEL__PREFETCH_CREDIT 8

void gavel__policy_init(gavel__policy *policy, const gavel__policy_config *config);

/* ---- What has happened --------------------------------------------------------------------- */

void gavel__policy_on_round_trip(gavel__policy *policy, int64_t took_us);

/* EXEC was answered nil to so many members of a round on contended keys, or on calm ones. Which key
 * it was is told to its heat. */
void gavel__policy_on_conflict(gavel__policy *policy, bool is_contended, size_t n_members);

/* EXEC was made, likewise. */
void gavel__policy_on_commit(gavel__policy *policy, bool is_contended, size_t n_members);

/* Somebody has used what was read behind EXEC. */
void gavel__policy_on_prefetch_used(gavel__policy *policy);

/* It has failed: the rounds to come do without for a while. */
void gavel__policy_on_shortcut_failed(gavel__policy *policy, gavel__shortcut shortcut);

/* ---- What follows -------------------------------------------------------------------------- */

/* How many transactions a round on contended keys takes, or one on calm keys. */
static inline uint32_t gavel__policy_width(const gavel__policy *policy, bool is_contended)
{
    return policy->widths[is_contended];
}

/* Whether a round may take the shortcut; to be asked once by each that could. */
bool gavel__policy_take_shortcut(gavel__policy *policy, gavel__shortcut shortcut);

/* Whether it pays to read behind EXEC what the next one may want; counted if so. On a warm key it
 * does not, outside a gate: who loses there pauses, and what was read will be old by then. */
bool gavel__policy_take_prefetch(gavel__policy *policy, bool is_warm, bool is_inside);

/* Whether what was read so long ago is still for those who come back. It is for them at once only:
 * later the values are likely to be old, others pay for what is watched, and the link may have died
 * unnoticed, when it is better to find out by a WATCH than by an EXEC. */
bool gavel__policy_is_prefetch_fresh(int64_t age_us);

/* Whether callers come back at once for what they have just written, and have done so lately. */
static inline bool gavel__policy_expects_return(const gavel__policy *policy)
{
    return policy->config.has_returning_callers && policy->prefetch_credit > 0;
}

/* How long who has lost on a key of this level pauses, and a body that said RETRY, after so many
 * conflicts. */
int64_t gavel__policy_conflict_pause_us(
    const gavel__policy *policy, double level, gavel__random *random);
int64_t gavel__policy_retry_pause_us(
    const gavel__policy *policy, uint32_t n_conflicts, gavel__random *random);

/* For how long a gate that is waited for may open at once, so that nothing is done about it. */
int64_t gavel__policy_hold_us(const gavel__policy *policy);

/* Whether who has lost so often races no more, but puts up the gate. */
bool gavel__policy_wants_gate(const gavel__policy *policy, uint32_t n_conflicts);

/* For how long a gate is up, for this client, after it was put up or somebody has waited there. */
int64_t gavel__policy_gate_stays_us(void);

/* Whether a gate's holder that has served so many rounds, for so long, gives way to others. */
bool gavel__policy_is_share_used(uint32_t n_served, int64_t held_us);

#endif
