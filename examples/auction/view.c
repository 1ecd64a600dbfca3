/*
 * Views, by one read-only transaction: one round trip, and all parts are of the same moment.
 */
#include "view.h"

#include <stdio.h>
#include <stdlib.h>

/* The two commands of a view, made anew for declaring and for reading: gavel knows them by their
 * bytes. */
struct queries {
    char first[24];
    char last[24];
    char n_best[24];
    gavel_bytes history_args[4];
    gavel_bytes board_args[5];
    gavel_command history;
    gavel_command board;
};

static void queries_set(struct queries *queries, const struct view *view)
{
    snprintf(queries->first, sizeof(queries->first), "%" PRId64, view->first_event);
    snprintf(queries->last, sizeof(queries->last), "%" PRId64, view->last_event);
    snprintf(queries->n_best, sizeof(queries->n_best), "%d", VIEW_N_BEST - 1);

    queries->history_args[0] = GAVEL_STR("LRANGE");
    queries->history_args[1] = gavel_str(view->keys.history);
    queries->history_args[2] = gavel_str(queries->first);
    queries->history_args[3] = gavel_str(queries->last);
    queries->history = (gavel_command){.args = queries->history_args, .n_args = 4};

    queries->board_args[0] = GAVEL_STR("ZREVRANGE");
    queries->board_args[1] = gavel_str(view->keys.board);
    queries->board_args[2] = GAVEL_STR("0");
    queries->board_args[3] = gavel_str(queries->n_best);
    queries->board_args[4] = GAVEL_STR("WITHSCORES");
    queries->board = (gavel_command){.args = queries->board_args, .n_args = 5};
}

static void take_events(struct view *view, const gavel_reply *reply)
{
    view->n_lines = reply->n_elements;
    for (size_t i = 0; i < reply->n_elements && view->n_events < VIEW_N_EVENTS; i++)
        if (event_parse(reply->elements[i].text, &view->events[view->n_events]))
            view->n_events++;
}

static void take_board(struct view *view, const gavel_reply *reply)
{
    for (size_t i = 0; i + 1 < reply->n_elements && view->n_best < VIEW_N_BEST; i += 2) {
        struct standing *standing = &view->best[view->n_best++];
        gavel_bytes bidder = reply->elements[i].text;
        gavel_bytes score = reply->elements[i + 1].text;
        char number[40] = "";
        snprintf(standing->bidder, sizeof(standing->bidder), "%.*s", (int)bidder.size, bidder.data);
        snprintf(number, sizeof(number), "%.*s", (int)score.size, score.data);
        standing->amount = (int64_t)strtod(number, NULL);
    }
}

static gavel_verdict view_body(gavel_tx *tx, void *user)
{
    struct view *view = user;
    struct queries queries;
    const gavel_reply *reply;

    view->n_events = 0;
    view->n_lines = 0;
    view->n_best = 0;
    if (!item_read(tx, &view->keys, &view->item))
        return gavel_abort(tx, NO_SUCH_ITEM);
    queries_set(&queries, view);
    if (gavel_query(tx, &queries.history, &reply) == GAVEL_FOUND)
        take_events(view, reply);
    if (gavel_query(tx, &queries.board, &reply) == GAVEL_FOUND)
        take_board(view, reply);
    return GAVEL_COMMIT;
}

int view_run(gavel_client *client, struct view *view)
{
    gavel_read reads[ITEM_N_FIELDS + 2] = {0};
    struct queries queries;

    queries_set(&queries, view);
    item_declare(&view->keys, reads);
    reads[ITEM_N_FIELDS].command = &queries.history;
    reads[ITEM_N_FIELDS + 1].command = &queries.board;
    gavel_outcome outcome = gavel_run(client, &(gavel_transaction){.body = view_body,
                                                  .user = view,
                                                  .reads = reads,
                                                  .n_reads = ITEM_N_FIELDS + 2,
                                                  .is_read_only = true});
    if (outcome.status == GAVEL_COMMITTED)
        return EXIT_FINE;
    if (outcome.status == GAVEL_ABORTED) {
        trouble("%s", refusal_text(outcome.abort_code));
        return EXIT_REFUSED;
    }
    return trouble_outcome("reading the item", &outcome);
}
