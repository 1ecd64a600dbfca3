/*
 * Testimonies: what a Sentinel has said of its service, read from its replies. For sentinel.c.
 * Pure.
 */
#ifndef GAVEL__TESTIMONY_H
#define GAVEL__TESTIMONY_H

#include "topology/place.h"

#include <gavel/reply.h>

typedef struct gavel__testimony {
    int64_t asked_us;   /* when it was asked; it was true then or later */
    int64_t vouches_us; /* since then the primary has owed it no answer */
    gavel__place_name primary;
    uint64_t epoch; /* the config-epoch */
    /* What the flags are of: with the leader of a failover the old one. */
    gavel__place_name watched;
    bool is_down;               /* it takes the primary to be down */
    bool is_failing_over;       /* it is about to replace the primary */
    bool is_tilted;             /* it stands still for half a minute, with a failover under way */
    bool is_promoting;          /* and has told a replica to take over */
    gavel__place_name promoted; /* that one, if it was asked; "": none */
    uint32_t n_others;          /* Sentinels that it knows beside itself */
    uint32_t n_replicas;        /* that the primary has, there or not */
    int64_t down_after_us;
} gavel__testimony;

/* The reply to SENTINEL MASTER. `asked_us` is set. */
void gavel__testimony_take_master(gavel__testimony *testimony, const gavel_reply *reply);

/* The one to GET-MASTER-ADDR-BY-NAME, behind that. Its place counts, not the one that MASTER has:
 * with whoever leads a failover that is still the old one, when the epoch is the new one's already.
 */
void gavel__testimony_take_address(gavel__testimony *testimony, const gavel_reply *reply);

/* The one to INFO, behind both: whether it is in its TILT mode. One that has a failover under way
 * then neither replaces the primary nor knows whether it is up. */
void gavel__testimony_take_info(gavel__testimony *testimony, const gavel_reply *reply);

/* The one to SENTINEL REPLICAS, behind both. */
void gavel__testimony_take_replicas(gavel__testimony *testimony, const gavel_reply *reply);
/* So many replicas are taken note of. */
#define GAVEL__TESTIMONY_REPLICAS_MAX 16

/* Where the replicas are, of the reply to SENTINEL REPLICAS, but for those that cannot be had.
 * False: it is no list, and nothing is touched. */
bool gavel__testimony_of_replicas(const gavel_reply *reply,
    gavel__place_name ret_places[GAVEL__TESTIMONY_REPLICAS_MAX], uint32_t *ret_n);

/* Who another Sentinel is, and where, of the reply to SENTINEL SENTINELS; *ret_id is the reply's.
 * False: it does not say where. */
bool gavel__testimony_of_other(
    const gavel_reply *other, gavel_bytes *ret_id, gavel__place_name *ret_place);

#endif
