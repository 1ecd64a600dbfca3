/*
 * The markers of a connection to a node of a Cluster: one for each slot, found again.
 */
#include "core/marker.h"

#include <criterion/criterion.h>

Test(core_markers, each_slot_has_its_own)
{
    gavel__markers markers = {.allocator = &gavel__system_allocator};
    for (uint32_t slot = 0; slot < GAVEL__N_SLOTS; slot += 37) {
        gavel__marker *marker = gavel__markers_of(&markers, (uint16_t)slot);
        cr_assert_not_null(marker);
        cr_assert_eq(marker->number, 0); /* nobody else's */
        marker->number = slot + 1;
    }
    for (uint32_t slot = 0; slot < GAVEL__N_SLOTS; slot += 37)
        cr_assert_eq(gavel__markers_of(&markers, (uint16_t)slot)->number, slot + 1);
    gavel__markers_clear(&markers);
}

Test(core_markers, all_are_visited_in_order)
{
    static const uint16_t slots[] = {0, 127, 128, 5000, GAVEL__N_SLOTS - 1};
    gavel__markers markers = {.allocator = &gavel__system_allocator};
    uint32_t slot = 0;
    cr_expect_null(gavel__markers_from(&markers, &slot));
    for (size_t i = 5; i-- > 0;)
        gavel__markers_of(&markers, slots[i])->number = slots[i];
    size_t n = 0;
    slot = 0;
    for (gavel__marker *marker; (marker = gavel__markers_from(&markers, &slot)) != NULL; slot++) {
        cr_assert_lt(n, 5);
        cr_expect_eq(slot, slots[n]);
        cr_expect_eq(marker->number, slots[n++]);
    }
    cr_expect_eq(n, 5);
    gavel__markers_clear(&markers);
}

Test(core_markers, cleared_ones_are_gone)
{
    gavel__markers markers = {.allocator = &gavel__system_allocator};
    gavel__markers_of(&markers, 77)->number = 1;
    gavel__markers_clear(&markers);
    uint32_t slot = 0;
    cr_expect_null(gavel__markers_from(&markers, &slot));
    cr_expect_eq(gavel__markers_of(&markers, 77)->number, 0);
    gavel__markers_clear(&markers);
}
