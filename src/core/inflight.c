/*
 * What is in flight: the ring grows.
 */
#include "core/inflight.h"

bool gavel__inflight_reserve(gavel__inflight *inflight)
{
    static const size_t min_capacity = 16;
    if (inflight->n < inflight->capacity)
        return true;
    size_t capacity = inflight->capacity == 0 ? min_capacity : 2 * inflight->capacity;
    gavel__awaited *ring = gavel__alloc(inflight->allocator, capacity, sizeof(*ring));
    if (ring == NULL)
        return false;
    for (size_t i = 0; i < inflight->n; i++)
        ring[i] = inflight->ring[(inflight->first + i) % inflight->capacity];
    gavel__free(inflight->allocator, inflight->ring);
    inflight->ring = ring;
    inflight->capacity = capacity;
    inflight->first = 0;
    return true;
}
