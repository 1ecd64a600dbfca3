/*
 * The commands that change an item: open, bid and close. Each is one transaction by gavel_run.
 */
#include "item.h"

#include <stdio.h>

/* Runs one transaction on a client of its own. True if the body decided, either way. */
static bool run_plan(const struct options *options, const char *what, const struct plan *plan,
    gavel_outcome *ret_outcome)
{
    gavel_client *client = open_client(options);
    if (client == NULL)
        return false;
    *ret_outcome = gavel_run(client, &plan->transaction);
    gavel_close(client);
    if (ret_outcome->status == GAVEL_COMMITTED || ret_outcome->status == GAVEL_ABORTED)
        return true;
    trouble_outcome(what, ret_outcome);
    return false;
}

static int refused(const char *what, const gavel_outcome *outcome)
{
    printf("%s refused: %s\n", what, refusal_text(outcome->abort_code));
    return EXIT_REFUSED;
}

int run_open(const struct options *options)
{
    struct opening opening = {.name = options->words[0],
        .item = {.increment = options->increment,
            .reserve = options->reserve,
            .end_ms = wall_ms() + options->seconds * 1000,
            .window_ms = options->window * 1000}};
    struct plan plan;
    gavel_outcome outcome;

    if (!is_operand("ITEM", opening.name))
        return EXIT_TROUBLE;
    item_keys_set(&opening.keys, opening.name);
    opening_plan(&opening, &plan);
    if (!run_plan(options, "open", &plan, &outcome))
        return EXIT_TROUBLE;
    if (outcome.status == GAVEL_ABORTED)
        return refused("open", &outcome);
    /* Whoever is killed here has opened an item that verify does not know of. */
    listing_plan(&opening, &plan);
    if (!run_plan(options, "putting the item on the list", &plan, &outcome))
        return EXIT_TROUBLE;
    printf("%s is open for %" PRId64 " s; the first bid is at least %" PRId64 "\n", opening.name,
        options->seconds, options->increment);
    return EXIT_FINE;
}

/* Fills in the bid from the command line; says what is wrong with it. */
static bool make_bid(const struct options *options, struct bid *bid)
{
    if (!is_operand("ITEM", options->words[0]) || !is_operand("BIDDER", options->words[1]))
        return false;
    if (!parse_number(options->words[2], 1, AMOUNT_MAX, &bid->amount)) {
        trouble("AMOUNT: \"%s\" is not a whole number from 1 to %" PRId64, options->words[2],
            AMOUNT_MAX);
        return false;
    }
    if (options->id != NULL && !is_name(options->id, ID_SIZE)) {
        trouble("--id: \"%s\" is not made of 1 to %d letters, digits, '.', '_' or '-'", options->id,
            ID_SIZE - 1);
        return false;
    }
    item_keys_set(&bid->keys, options->words[0]);
    snprintf(bid->bidder, sizeof(bid->bidder), "%s", options->words[1]);
    if (options->id != NULL)
        snprintf(bid->id, sizeof(bid->id), "%s", options->id);
    else
        snprintf(bid->id, sizeof(bid->id), "%016" PRIx64, random_bits());
    bid->at_ms = wall_ms();
    return true;
}

int run_bid(const struct options *options)
{
    struct bid bid = {0};
    struct plan plan;
    gavel_outcome outcome = {0};
    char id[GAVEL_ID_MAX];
    char digest[GAVEL_DIGEST_MAX + 1];

    if (!make_bid(options, &bid))
        return EXIT_TROUBLE;
    bid_plan(&bid, &plan);
    if (options->id != NULL) {
        /* Sent again with the same id it must be the same bid, or gavel calls it INVALID. */
        snprintf(digest, sizeof(digest), "%" PRId64 " %s", bid.amount, bid.bidder);
        snprintf(id, sizeof(id), "%s:%s", options->words[0], bid.id);
        plan.transaction.id = gavel_str(id);
        plan.transaction.digest = gavel_str(digest);
    }
    if (!run_plan(options, "bid", &plan, &outcome)) {
        if (outcome.status == GAVEL_UNKNOWN)
            fprintf(stderr, "auction: \"show\" tells whether bid %s was accepted\n", bid.id);
        return EXIT_TROUBLE;
    }
    if (outcome.status == GAVEL_ABORTED) {
        int status = refused("bid", &outcome);
        if (outcome.abort_code == TOO_LOW)
            printf("the price is %" PRId64 ", bid at least %" PRId64 "\n", bid.price, bid.least);
        return status;
    }
    printf("bid %s accepted%s: %s leads with %" PRId64 "\n", bid.id,
        outcome.is_duplicate ? " earlier" : "", bid.bidder, bid.amount);
    return EXIT_FINE;
}

int run_close(const struct options *options)
{
    struct closing closing = {.at_ms = wall_ms(), .is_forced = options->now};
    struct plan plan;
    gavel_outcome outcome;

    if (!is_operand("ITEM", options->words[0]))
        return EXIT_TROUBLE;
    item_keys_set(&closing.keys, options->words[0]);
    closing_plan(&closing, &plan);
    if (!run_plan(options, "close", &plan, &outcome))
        return EXIT_TROUBLE;
    if (outcome.status == GAVEL_ABORTED)
        return refused("close", &outcome);
    if (closing.is_sold)
        printf("%s is sold to %s for %" PRId64 "\n", options->words[0], closing.item.leader,
            closing.item.price);
    else
        printf("%s is not sold\n", options->words[0]);
    return EXIT_FINE;
}
