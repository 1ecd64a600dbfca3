/*
 * transfer_once ID FROM TO AMOUNT: moves AMOUNT between two accounts, once for each ID, however
 * often it is called: after a time-out, by a user who clicks twice, by a queue that delivers again.
 * The server is $GAVEL_URL.
 */
#include <gavel/gavel.h>

#include <stdio.h>
#include <stdlib.h>

enum { OVERDRAFT = 1 };

struct transfer {
    gavel_bytes from, to;
    int64_t amount;
};

static gavel_verdict move_money(gavel_tx *tx, void *user)
{
    const struct transfer *transfer = user;
    int64_t balance;
    gavel_get_int(tx, transfer->from, &balance); /* 0 if there is none */
    if (balance < transfer->amount)
        return gavel_abort(tx, OVERDRAFT);
    gavel_incr(tx, transfer->from, -transfer->amount);
    gavel_incr(tx, transfer->to, transfer->amount);
    return GAVEL_COMMIT;
}

int main(int argc, char **argv)
{
    char text[256];
    gavel_error error = {"usage: transfer_once ID FROM TO AMOUNT"};
    gavel_client *client = argc == 5 ? gavel_open(NULL, NULL, &error) : NULL;
    if (client == NULL)
        return fprintf(stderr, "%s\n", error.message), 2;
    struct transfer transfer = {gavel_str(argv[2]), gavel_str(argv[3]), llabs(atoll(argv[4]))};
    gavel_transaction once = {.body = move_money, .user = &transfer, .id = gavel_str(argv[1])};
    once.keys = &transfer.from; /* in a Cluster the id lies in the slot of this one */
    once.n_keys = 1;
    gavel_outcome outcome = gavel_run(client, &once);
    gavel_close(client);
    if (outcome.status == GAVEL_COMMITTED)
        printf("%s\n", outcome.is_duplicate ? "moved before" : "moved");
    else if (outcome.status == GAVEL_ABORTED)
        printf("not enough there\n");
    else
        fprintf(stderr, "%s\n", gavel_outcome_text(&outcome, text, sizeof text));
    return outcome.status == GAVEL_COMMITTED ? 0 : outcome.status == GAVEL_ABORTED ? 1 : 2;
}
