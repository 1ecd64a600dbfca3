/*
 * inventory ORDER ITEM [ITEM ...]: takes one piece of each ITEM out of stock for ORDER, or, if one
 * of them is sold out, none at all. The server is $GAVEL_URL; stock:ITEM counts the pieces.
 */
#include <gavel/gavel.h>

#include <stdio.h>

struct order {
    char **words; /* its name, and the items; ends with NULL */
    const char *missing;
};

static gavel_verdict reserve(gavel_tx *tx, void *user)
{
    struct order *order = user;
    gavel_bytes lines = gavel_keyf(tx, "order:%s", order->words[0]);
    for (char **item = order->words + 1; *item != NULL; item++) {
        int64_t n_pieces;
        gavel_bytes stock = gavel_keyf(tx, "stock:%s", *item);
        order->missing = *item;
        if (gavel_get_int(tx, stock, &n_pieces) != GAVEL_NOT_YET && n_pieces == 0)
            return GAVEL_ABORT;
        gavel_incr(tx, stock, -1);
        gavel_hincr(tx, lines, gavel_str(*item), 1);
    }
    return GAVEL_COMMIT;
}

int main(int argc, char **argv)
{
    char text[256];
    gavel_error error = {"usage: inventory ORDER ITEM [ITEM ...]"};
    gavel_client *client = argc >= 3 ? gavel_open(NULL, NULL, &error) : NULL;
    if (client == NULL)
        return fprintf(stderr, "%s\n", error.message), 2;
    struct order cart = {.words = argv + 1};
    gavel_outcome outcome = gavel_run(client, &(gavel_transaction){.body = reserve, .user = &cart});
    gavel_close(client);
    if (outcome.status == GAVEL_COMMITTED)
        printf("%s is reserved\n", argv[1]);
    else if (outcome.status == GAVEL_ABORTED)
        printf("%s is sold out\n", cart.missing);
    else
        fprintf(stderr, "%s\n", gavel_outcome_text(&outcome, text, sizeof text));
    return outcome.status == GAVEL_COMMITTED ? 0 : outcome.status == GAVEL_ABORTED ? 1 : 2;
}
