/*
 * The progress of a race on stdout.
 */
#include "progress.h"

#include <unistd.h>

#define TERMINAL_PAUSE_MS 100
#define PLAIN_PAUSE_MS 1000

void progress_init(struct progress *progress, int64_t now_ms)
{
    *progress = (struct progress){
        .start_ms = now_ms, .shown_ms = now_ms, .is_terminal = isatty(STDOUT_FILENO) == 1};
}

void progress_show(
    struct progress *progress, const uint64_t counts[N_TOLD], int64_t now_ms, bool is_last)
{
    int64_t pause_ms = progress->is_terminal ? TERMINAL_PAUSE_MS : PLAIN_PAUSE_MS;
    int64_t passed_ms = now_ms - progress->shown_ms;
    uint64_t n_bids = 0;

    if (passed_ms < pause_ms && !is_last)
        return;
    for (size_t i = 0; i < N_TOLD; i++)
        n_bids += counts[i];
    printf("%s%5.1f s %9" PRIu64 " accepted %9" PRIu64 " refused",
        progress->is_terminal ? "\r" : "", (double)(now_ms - progress->start_ms) / 1000.,
        counts[TOLD_ACCEPTED], counts[TOLD_REFUSED]);
    if (counts[TOLD_NOT_MADE] > 0)
        printf(" %6" PRIu64 " not made", counts[TOLD_NOT_MADE]);
    if (counts[TOLD_UNKNOWN] > 0)
        printf(" %4" PRIu64 " unknown", counts[TOLD_UNKNOWN]);
    if (passed_ms > 0)
        printf(
            " %8.0f bids/s", (double)(n_bids - progress->shown_bids) * 1000. / (double)passed_ms);
    fputs(progress->is_terminal ? "\033[K" : "\n", stdout);
    if (progress->is_terminal && is_last)
        fputc('\n', stdout);
    fflush(stdout);
    progress->shown_ms = now_ms;
    progress->shown_bids = n_bids;
}
