/*
 * Markers: see the header. Used by lanes and rounds.
 */
#include "core/marker.h"

bool gavel__marker_is_due(const gavel__marker *marker, int64_t ttl_us, int64_t now_us)
{
    if (!gavel__marker_is_on(marker))
        return false;
    return !marker->is_planted || now_us - marker->planted_us >= ttl_us / 4;
}

/* 2^32 and a random part of 31 bits further than the last number; the first one, 40 bits. */
static uint64_t next_number(const gavel__marker *marker, uint64_t random)
{
    const uint64_t leap = UINT64_C(1) << 32;
    return marker->first_number == 0 ? leap + (random >> 24)
                                     : marker->number + leap + (random >> 33);
}

uint64_t gavel__marker_plant(gavel__marker *marker, uint64_t random, int64_t now_us)
{
    marker->number = next_number(marker, random);
    if (marker->first_number == 0)
        marker->first_number = marker->number;
    marker->is_planted = true;
    marker->is_lost = false;
    marker->planted_us = now_us;
    return marker->number;
}

void gavel__marker_end(gavel__marker *marker)
{
    marker->is_planted = false;
    marker->is_lost = false;
    marker->is_left = false;
    marker->has_migrated = false;
    marker->first_number = 0;
}

/* ---- Of a connection to one node of a Cluster ------------------------------------------------ */

gavel__marker *gavel__markers_of(gavel__markers *markers, uint16_t slot)
{
    gavel__marker ***part = &markers->parts[slot / GAVEL__MARKER_SLOTS];
    if (*part == NULL)
        *part = gavel__alloc(markers->allocator, GAVEL__MARKER_SLOTS, sizeof(**part));
    if (*part == NULL)
        return NULL;
    gavel__marker **marker = &(*part)[slot % GAVEL__MARKER_SLOTS];
    if (*marker == NULL)
        *marker = gavel__alloc(markers->allocator, 1, sizeof(**marker));
    return *marker;
}

gavel__marker *gavel__markers_from(const gavel__markers *markers, uint32_t *slot)
{
    while (*slot < GAVEL__N_SLOTS) {
        gavel__marker *const *part = markers->parts[*slot / GAVEL__MARKER_SLOTS];
        gavel__marker *marker = part != NULL ? part[*slot % GAVEL__MARKER_SLOTS] : NULL;
        if (marker != NULL)
            return marker;
        *slot += part != NULL ? 1 : GAVEL__MARKER_SLOTS - *slot % GAVEL__MARKER_SLOTS;
    }
    return NULL;
}

void gavel__markers_clear(gavel__markers *markers)
{
    uint32_t slot = 0;
    for (gavel__marker *marker; (marker = gavel__markers_from(markers, &slot)) != NULL; slot++)
        gavel__free(markers->allocator, marker);
    for (size_t i = 0; i < GAVEL__N_SLOTS / GAVEL__MARKER_SLOTS; i++) {
        gavel__free(markers->allocator, markers->parts[i]);
        markers->parts[i] = NULL;
    }
}
