/*
 * Markers: the small key of a connection that each of its commits counts up, or in a Cluster sets,
 * so that a reply which was lost can be asked for (see doubt.h), and a commit that the server has
 * lost be told (ledger.h).
 *
 * Over a connection's life its numbers only rise: what the marker holds in any copy of the data
 * says of each of its rounds whether it is in there. Each planting leaps ahead, further than rounds
 * can count, by a random part: so a marker that was lost and is counted up from nothing stays below
 * all of them, and nothing else that it may hold is taken for a round's number.
 */
#ifndef GAVEL__MARKER_H
#define GAVEL__MARKER_H

#include "base/memory.h"
#include "core/names.h"
#include "base/slot.h"

struct gavel__page;

typedef struct gavel__marker {
    char text[GAVEL__MARKER_SIZE];
    size_t size;              /* of its name, in `text`; 0: markers are off */
    bool is_planted;          /* it holds `number` */
    bool is_lost;             /* it was counted up from nothing: it has no time to live */
    bool is_left;             /* its slot has had another node since: not to be used any more */
    bool has_migrated;        /* its slot has, since it was planted */
    int64_t planted_us;       /* since then it lives for its ttl */
    uint64_t first_number;    /* as it was planted first; 0: not yet */
    uint64_t number;          /* of the last round that committed, or as planted */
    struct gavel__page *page; /* where commits are entered since; NULL: nowhere */
} gavel__marker;

static inline bool gavel__marker_is_on(const gavel__marker *marker)
{
    return marker->size > 0;
}

static inline gavel_bytes gavel__marker_name(const gavel__marker *marker)
{
    return (gavel_bytes){marker->text, marker->size};
}

/*
 * Whether it is to be planted before the next round reads: the first one of its connection, or it
 * could expire. Not behind an EXEC that counts it up and is not answered: that would wipe out what
 * it says of it.
 */
bool gavel__marker_is_due(const gavel__marker *marker, int64_t ttl_us, int64_t now_us);

/* The number to plant it with now. */
uint64_t gavel__marker_plant(gavel__marker *marker, uint64_t random, int64_t now_us);

/* Its connection is gone, and with it what it meant; its page is the caller's. */
void gavel__marker_end(gavel__marker *marker);

/* ---- Of a connection to one node of a Cluster ------------------------------------------------ */

/* One for each slot: it has to be where the data are, to be in one EXEC with them. */
enum { GAVEL__MARKER_SLOTS = 128 }; /* in one part of the table */

typedef struct gavel__markers {
    const gavel_allocator *allocator;                            /* borrowed */
    gavel__marker **parts[GAVEL__N_SLOTS / GAVEL__MARKER_SLOTS]; /* NULL: none of these slots */
} gavel__markers;

/* The slot's marker, without a name if it was not there. NULL: no memory. */
gavel__marker *gavel__markers_of(gavel__markers *markers, uint16_t slot);

/* The first one of a slot from `*slot` on, which is set to it; or NULL. */
gavel__marker *gavel__markers_from(const gavel__markers *markers, uint32_t *slot);

/* Frees them; their pages are the caller's. */
void gavel__markers_clear(gavel__markers *markers);

#endif
