/*
 * Lanes: see the header.
 */
#include "core/lane.h"

#include "base/resp.h"
#include "base/text.h"

#include <assert.h>

/* ---- All of them --------------------------------------------------------------------------- */

/* Where the pointer to the lane at this index is, or would be. */
static gavel__lane *const *place_of(const gavel__lanes *lanes, uint32_t index)
{
    gavel__lane *const *place = &lanes->first;
    while (*place != NULL && (*place)->index < index)
        place = &(*place)->following;
    return place;
}

gavel__lane *gavel__lanes_find(const gavel__lanes *lanes, uint32_t index)
{
    gavel__lane *lane = *place_of(lanes, index);
    return lane != NULL && lane->index == index ? lane : NULL;
}

gavel__lane *gavel__lanes_make(gavel__lanes *lanes, uint32_t index)
{
    assert(index < gavel__lanes_max(lanes));
    gavel__lane **place = (gavel__lane **)place_of(lanes, index);
    if (*place != NULL && (*place)->index == index)
        return *place;
    gavel__lane *lane = gavel__alloc(lanes->allocator, 1, sizeof(*lane));
    if (lane == NULL)
        return NULL;
    lane->node = lanes->node;
    lane->index = index;
    lane->inflight.allocator = lanes->allocator;
    lane->is_waiting_lane = index >= lanes->n_links;
    lane->following = *place;
    *place = lane;
    return lane;
}

bool gavel__lanes_may_pass(const gavel__lanes *lanes)
{
    uint32_t n_passing = 0;
    for (const gavel__lane *lane = lanes->first; lane != NULL; lane = lane->following)
        n_passing += gavel__lane_is_passing(lane);
    return n_passing < lanes->max_passing;
}

bool gavel__lanes_may_block(const gavel__lanes *lanes, bool is_for_replicas)
{
    uint32_t n_blocking = 0;
    for (const gavel__lane *lane = lanes->first; lane != NULL; lane = lane->following)
        n_blocking += lane->blocking != NULL && lane->is_for_replicas == is_for_replicas;
    return n_blocking < (is_for_replicas ? lanes->max_for_replicas : lanes->max_blocking);
}

void gavel__lanes_finish(gavel__lanes *lanes)
{
    while (lanes->first != NULL) {
        gavel__lane *lane = lanes->first;
        lanes->first = lane->following;
        gavel__free(lanes->allocator, lane->inflight.ring);
        if (lane->markers != NULL)
            gavel__markers_clear(lane->markers);
        gavel__free(lanes->allocator, lane->markers);
        gavel__free(lanes->allocator, lane);
    }
}

/* ---- One of them --------------------------------------------------------------------------- */

/* The arrows of the drawing in the header. Dialling goes on where another address may do. */
static bool is_legal(gavel__lane_state from, gavel__lane_state to)
{
    switch (from) {
    case GAVEL__LANE_DOWN:
        return to == GAVEL__LANE_WANTED;
    case GAVEL__LANE_WANTED:
        return to == GAVEL__LANE_DIALLING || to == GAVEL__LANE_DOWN;
    case GAVEL__LANE_DIALLING:
        return to != GAVEL__LANE_WANTED;
    case GAVEL__LANE_UP:
        return to == GAVEL__LANE_DOWN;
    }
    return false;
}

void gavel__lane_set_state(gavel__lane *lane, gavel__lane_state state)
{
    assert(is_legal(lane->state, state));
    (void)is_legal; /* without assertions */
    lane->state = state;
}

void gavel__lane_condemn(gavel__lane *lane, const char *message)
{
    if (lane->is_condemned)
        return;
    lane->is_condemned = true;
    gavel__format(lane->message, sizeof(lane->message), "%s", message);
}

bool gavel__lane_may_be_silent(const gavel__lane *lane)
{
    if (!gavel__lane_is_blocked(lane) || gavel__inflight_is_empty(&lane->inflight))
        return false;
    const gavel__awaited *awaited = gavel__inflight_current(&lane->inflight);
    if (lane->blocking != NULL) /* the last of its commands is the one that blocks */
        return awaited->question == lane->blocking && awaited->n_replies == 1 &&
               !lane->is_for_replicas;
    return awaited->kind == GAVEL__AWAITED_TURN;
}

void gavel__lane_retire(gavel__lane *lane)
{
    if (lane->is_condemned)
        return;
    gavel__lane_condemn(lane, "nobody waits any more");
    lane->is_retired = true;
}

/* No round can rely on it any more; its answer may be on its way. */
static void lapse_guard(gavel__lane *lane)
{
    bool is_awaited = lane->guard == GAVEL__GUARD_ASKED || lane->guard == GAVEL__GUARD_LAPSED;
    lane->guard = is_awaited ? GAVEL__GUARD_LAPSED : GAVEL__GUARD_NONE;
}

void gavel__lane_plant(gavel__lane *lane, const gavel__planting *planting)
{
    gavel__marker *marker = planting->marker;
    uint64_t number = gavel__marker_plant(marker, planting->random, planting->now_us);
    gavel__resp_begin(lane->out, 5);
    gavel__resp_arg(lane->out, GAVEL_STR("SET"));
    gavel__resp_arg(lane->out, gavel__marker_name(marker));
    gavel__resp_arg_int(lane->out, (int64_t)number);
    gavel__resp_arg(lane->out, GAVEL_STR("PX"));
    gavel__resp_arg_int(lane->out, planting->ttl_us / 1000);
    gavel__inflight_add(&lane->inflight, GAVEL__AWAITED_PLANT, 1, planting->round);
    lane->n_new_replies++;
    lapse_guard(lane); /* it is touched, so that an EXEC under this watch would get nil */
}

gavel__marker *gavel__lane_marker(gavel__lane *lane, uint16_t slot)
{
    const gavel_allocator *allocator = lane->inflight.allocator;
    if (lane->markers == NULL) {
        lane->markers = gavel__alloc(allocator, 1, sizeof(*lane->markers));
        if (lane->markers == NULL)
            return NULL;
        lane->markers->allocator = allocator;
    }
    return gavel__markers_of(lane->markers, slot);
}

void gavel__lane_on_plant_refused(gavel__lane *lane)
{
    uint32_t slot = 0;
    lane->marker.is_planted = false;
    if (lane->markers == NULL)
        return;
    for (gavel__marker *marker; (marker = gavel__markers_from(lane->markers, &slot)) != NULL;
         slot++)
        marker->is_planted = false;
}

void gavel__lane_write_guard(gavel__lane *lane, int64_t now_us)
{
    size_t size_before = lane->out->size;
    assert(lane->guard == GAVEL__GUARD_NONE && gavel__marker_is_on(&lane->marker));
    gavel_bytes args[] = {GAVEL_STR("WATCH"), gavel__marker_name(&lane->marker)};
    gavel__resp_command(lane->out, args, 2);
    gavel__inflight_add(&lane->inflight, GAVEL__AWAITED_GUARD, 1, NULL);
    lane->n_new_replies++;
    lane->is_watching = true;
    lane->guard = GAVEL__GUARD_ASKED;
    gavel__lane_end_write(lane, size_before, now_us);
}

void gavel__lane_on_guard(gavel__lane *lane, bool is_ok)
{
    assert(lane->guard == GAVEL__GUARD_ASKED || lane->guard == GAVEL__GUARD_LAPSED);
    bool stands = is_ok && lane->guard == GAVEL__GUARD_ASKED;
    lane->guard = stands ? GAVEL__GUARD_STANDS : GAVEL__GUARD_NONE;
}

void gavel__lane_end_watch(gavel__lane *lane)
{
    lapse_guard(lane);
    lane->is_watching = false;
}

void gavel__lane_end_write(gavel__lane *lane, size_t size_before, int64_t now_us)
{
    if (lane->out->size == size_before && !lane->out->has_failed)
        return;
    lane->n_appended += lane->out->size - size_before;
    if (lane->written_us == 0)
        lane->written_us = now_us;
    if (lane->silent_us == 0)
        lane->silent_us = now_us;
    if (lane->out->has_failed || lane->inflight.has_failed)
        gavel__lane_condemn(lane, "no memory for the commands of a round");
}
