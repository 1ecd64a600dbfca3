/*
 * Which seeds a test plays. For tests, through sim.h.
 */
#include "sim.h"

#include <stdlib.h>

static int from_environment(const char *name, int otherwise)
{
    const char *text = getenv(name);
    return text != NULL && text[0] != '\0' ? atoi(text) : otherwise;
}

sim_seeds sim_choose_seeds(int n)
{
    int only = from_environment("GAVEL_SEED", -1);
    int first = from_environment("GAVEL_FIRST_SEED", 0);
    if (only >= 0)
        return (sim_seeds){only, only + 1, true};
    return (sim_seeds){first, first + from_environment("GAVEL_SEEDS", n), false};
}
