/*
 * show and watch: an item as it is, and as it changes.
 */
#include "view.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* How often watch looks, in milliseconds. */
#define WATCH_PAUSE_MS 100

/* "14:03:59.120", in local time. */
static void format_time(int64_t at_ms, char ret_text[16])
{
    time_t seconds = (time_t)(at_ms / 1000);
    struct tm tm;
    char clock[12] = "??:??:??";
    if (localtime_r(&seconds, &tm) != NULL)
        strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
    snprintf(ret_text, 16, "%.8s.%03d", clock, (int)(at_ms % 1000));
}

static void print_event(const struct event *event)
{
    char at[16];
    format_time(event->at_ms, at);
    switch (event->type) {
    case EVENT_OPEN:
        printf("opened, to be sold at %" PRId64 " or more\n", event->reserve);
        break;
    case EVENT_BID:
        printf("%s  %12" PRId64 "  %s  (bid %s)\n", at, event->amount, event->who, event->id);
        break;
    case EVENT_CLOSE:
        if (strcmp(event->who, "-") == 0)
            printf("%s  closed, not sold\n", at);
        else
            printf("%s  sold to %s for %" PRId64 "\n", at, event->who, event->amount);
        break;
    }
}

/* One line on where the item stands, without its end. */
static void print_standing(const char *name, const struct item *item)
{
    int64_t left_ms = item->end_ms - wall_ms();

    printf("%s: %s, ", name, item->is_open ? "open" : "closed");
    if (item->bids == 0)
        printf("no bid yet");
    else
        printf("%" PRId64 " by %s, %" PRId64 " bid%s", item->price, item->leader, item->bids,
            item->bids == 1 ? "" : "s");
    if (item->is_open && left_ms > 0)
        printf(", %" PRId64 ".%" PRId64 " s left", left_ms / 1000, left_ms % 1000 / 100);
    else if (item->is_open)
        printf(", its time is over");
}

static void print_view(const char *name, const struct view *view)
{
    print_standing(name, &view->item);
    printf("\nincrement %" PRId64 ", reserve %" PRId64 "%s\n", view->item.increment,
        view->item.reserve, view->item.price >= view->item.reserve ? " (met)" : " (not met)");
    if (view->n_best > 0)
        printf("\nbest bidders\n");
    for (size_t i = 0; i < view->n_best; i++)
        printf("%2zu. %12" PRId64 "  %s\n", i + 1, view->best[i].amount, view->best[i].bidder);
    printf("\nhistory, the latest last\n");
    for (size_t i = 0; i < view->n_events; i++)
        print_event(&view->events[i]);
}

int run_show(const struct options *options)
{
    static struct view view = {.first_event = -10, .last_event = -1};

    if (!is_operand("ITEM", options->words[0]))
        return EXIT_TROUBLE;
    gavel_client *client = open_client(options);
    if (client == NULL)
        return EXIT_TROUBLE;
    item_keys_set(&view.keys, options->words[0]);
    int status = view_run(client, &view);
    gavel_close(client);
    if (status == EXIT_FINE)
        print_view(options->words[0], &view);
    return status;
}

/* ---- watch --------------------------------------------------------------------------------- */

/* On a terminal the last line is the item's standing, and is written over each time. */
static void refresh(const char *name, const struct view *view)
{
    bool is_terminal = isatty(STDOUT_FILENO) == 1;

    if (is_terminal)
        printf("\r\033[K");
    for (size_t i = 0; i < view->n_events; i++)
        print_event(&view->events[i]);
    if (is_terminal && view->item.is_open)
        print_standing(name, &view->item);
    fflush(stdout);
}

/* The hammer falls: closes the item if its time is over. Bids may still move the end, and others
 * may close it first; the next look tells. */
static int close_in_time(gavel_client *client, const struct view *view)
{
    struct closing closing = {.keys = view->keys, .at_ms = wall_ms()};
    struct plan plan;

    if (!view->item.is_open || closing.at_ms < view->item.end_ms)
        return EXIT_FINE;
    closing_plan(&closing, &plan);
    gavel_outcome outcome = gavel_run(client, &plan.transaction);
    if (outcome.status == GAVEL_COMMITTED || outcome.status == GAVEL_ABORTED)
        return EXIT_FINE;
    return trouble_outcome("close", &outcome);
}

static int watch(gavel_client *client, const char *name)
{
    static struct view view;

    item_keys_set(&view.keys, name);
    for (;;) {
        view.last_event = view.first_event + VIEW_N_EVENTS - 1;
        int status = view_run(client, &view);
        if (status != EXIT_FINE)
            return status;
        view.first_event += (int64_t)view.n_lines;
        refresh(name, &view);
        if (view.n_lines == VIEW_N_EVENTS)
            continue; /* there may be more */
        if (!view.item.is_open)
            return EXIT_FINE;
        status = close_in_time(client, &view);
        if (status != EXIT_FINE)
            return status;
        sleep_ms(WATCH_PAUSE_MS);
    }
}

int run_watch(const struct options *options)
{
    if (!is_operand("ITEM", options->words[0]))
        return EXIT_TROUBLE;
    gavel_client *client = open_client(options);
    if (client == NULL)
        return EXIT_TROUBLE;
    int status = watch(client, options->words[0]);
    gavel_close(client);
    return status;
}
