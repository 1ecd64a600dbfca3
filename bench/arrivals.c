/* Arrivals; see arrivals.h. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS; the name is the C library's, not ours to choose */
#include "arrivals.h"

#include <math.h>
#include <stdio.h>
#include <sys/mman.h>

#define MAX_PLACES (UINT64_C(1) << 20)
#define MARGIN_NS INT64_C(10000000)

struct arrivals {
    int64_t start_ns[MAX_PLACES]; /* 0: not noted */
};

struct arrivals *arrivals_open(void)
{
    struct arrivals *arrivals =
        mmap(NULL, sizeof(*arrivals), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (arrivals != MAP_FAILED)
        return arrivals;
    perror("mmap");
    return NULL;
}

void arrivals_close(struct arrivals *arrivals)
{
    if (arrivals != NULL)
        munmap(arrivals, sizeof(*arrivals));
}

void arrivals_note(struct arrivals *arrivals, uint64_t place, int64_t start_ns)
{
    if (place < MAX_PLACES)
        arrivals->start_ns[place] = start_ns;
}

double arrivals_overtaken(const struct arrivals *arrivals, uint64_t n)
{
    int64_t latest_ns = 0;
    uint64_t n_overtaken = 0;
    if (n > MAX_PLACES)
        n = MAX_PLACES;
    for (uint64_t i = 0; i < n; i++) {
        int64_t start_ns = arrivals->start_ns[i];
        if (start_ns == 0)
            return NAN;
        n_overtaken += start_ns + MARGIN_NS < latest_ns;
        latest_ns = start_ns > latest_ns ? start_ns : latest_ns;
    }
    return n > 0 ? (double)n_overtaken / (double)n : NAN;
}
