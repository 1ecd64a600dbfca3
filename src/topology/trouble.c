/*
 * Trouble with Sentinels: whether there is no such service, by what they have said, and why there
 * is no primary. Declared in sentinel.h.
 */
#include "base/text.h"
#include "topology/sentinel.h"

/* Who knows of no such service may have been started just now. */
static const int64_t hopeless_us = 1000000;

bool gavel__sentinels_are_hopeless(const gavel__sentinels *sentinels, int64_t now_us)
{
    uint32_t n_known = 0;
    uint32_t n_hopeless = 0;
    for (uint32_t i = 0; i < sentinels->n; i++) {
        const gavel__sentinel *sentinel = &sentinels->all[i];
        n_known += !sentinel->is_double;
        n_hopeless += !sentinel->is_double && sentinel->hopeless_us > 0 &&
                      now_us - sentinel->hopeless_us >= hopeless_us;
        if (sentinel->has_testimony)
            return false;
    }
    bool are_enough = sentinels->may_go_without ? n_hopeless == n_known : n_hopeless > n_known / 2;
    return sentinels->generation == 0 && are_enough;
}

/* Of one that will not pass, if there is any. */
static const char *find_trouble(const gavel__sentinels *sentinels)
{
    const gavel__sentinel *found = NULL;
    for (uint32_t i = 0; i < sentinels->n; i++) {
        const gavel__sentinel *sentinel = &sentinels->all[i];
        if (sentinel->is_double || sentinel->trouble[0] == '\0')
            continue;
        if (found == NULL || (found->hopeless_us == 0 && sentinel->hopeless_us > 0))
            found = sentinel;
    }
    return found != NULL ? found->trouble : "they have not answered yet";
}

void gavel__sentinels_explain(
    const gavel__sentinels *sentinels, int64_t now_us, char message[GAVEL_MESSAGE_SIZE])
{
    char place[GAVEL__PLACE_TEXT_SIZE];
    uint32_t n_needed = gavel__sentinels_majority(sentinels, now_us);
    uint32_t n = gavel__sentinels_count_answers(sentinels, now_us);
    if (n == 0)
        gavel__format(message, GAVEL_MESSAGE_SIZE, "no Sentinel tells where the primary is: %s",
            find_trouble(sentinels));
    else if (n < n_needed)
        gavel__format(message, GAVEL_MESSAGE_SIZE,
            "of the Sentinels %u answer%s, and %u are needed to believe a primary%s: %s",
            (unsigned)n, n == 1 ? "s" : "", (unsigned)n_needed,
            sentinels->may_go_without ? "" : " (unless without_sentinels=yes)",
            find_trouble(sentinels));
    else if (sentinels->generation == 0)
        gavel__format(message, GAVEL_MESSAGE_SIZE, "the Sentinels name different primaries");
    else
        gavel__format(message, GAVEL_MESSAGE_SIZE,
            sentinels->is_provisional
                ? "no Sentinel names %s as the primary yet, which was promoted"
                : "the Sentinels take the primary %s to be down, or to be replaced",
            gavel__format_place(
                place, sizeof(place), sentinels->primary.host, sentinels->primary.port));
}
