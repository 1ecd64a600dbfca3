/*
 * Denials: whether there is no such service, by what its Sentinels have said. Declared in
 * sentinel.h.
 */
#include "topology/sentinel.h"

/* Who knows of no such service may have been started just now. */
static const int64_t deny_us = 1000000;

bool gavel__sentinels_deny(const gavel__sentinels *sentinels, int64_t now_us)
{
    uint32_t n_known = 0;
    uint32_t n_who_deny = 0;
    for (uint32_t i = 0; i < sentinels->n; i++) {
        const gavel__sentinel *sentinel = &sentinels->all[i];
        n_known += !sentinel->is_double;
        n_who_deny += !sentinel->is_double && sentinel->denies_us > 0 &&
                      now_us - sentinel->denies_us >= deny_us;
        if (sentinel->has_testimony)
            return false;
    }
    return sentinels->generation == 0 && n_who_deny > n_known / 2;
}
