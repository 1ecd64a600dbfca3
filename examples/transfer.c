/*
 * transfer URL FROM TO AMOUNT [TIMES]: moves AMOUNT from one integer account to another, TIMES
 * times (once by default), all of them in flight at once on the program's own libev loop.
 *
 *     transfer redis://localhost account:ann account:bob 5 3
 *
 * The two balances change together or not at all, and FROM never falls below zero.
 */
#include <gavel/gavel.h>

#include <errno.h>
#include <ev.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { OVERDRAFT = 1, TO_IS_FULL = 2 };

#define TIMES_MAX 1000

struct transfer {
    gavel_bytes from;
    gavel_bytes to;
    int64_t amount;
    int number;      /* which of them this is, from 1 */
    int64_t balance; /* FROM's, as the body left it or found it too low */
    int *n_failed;
};

/* May run several times, each time on fresh values; touches nothing but its own struct transfer. */
static gavel_verdict move_money(gavel_tx *tx, void *user)
{
    struct transfer *transfer = user;
    int64_t from = 0; /* an absent account is an empty one */
    int64_t to = 0;

    gavel_get_int(tx, transfer->from, &from);
    gavel_get_int(tx, transfer->to, &to);
    transfer->balance = from;
    if (from < transfer->amount)
        return gavel_abort(tx, OVERDRAFT);
    if (to > INT64_MAX - transfer->amount)
        return gavel_abort(tx, TO_IS_FULL);
    transfer->balance = from - transfer->amount;
    gavel_set_int(tx, transfer->from, transfer->balance);
    gavel_set_int(tx, transfer->to, to + transfer->amount);
    return GAVEL_COMMIT;
}

/* Called exactly once for each submitted transfer, from the loop. */
static void on_done(const gavel_outcome *outcome, void *user)
{
    struct transfer *transfer = user;
    char text[GAVEL_OUTCOME_TEXT_SIZE];

    if (outcome->status == GAVEL_COMMITTED) {
        printf("%d: moved, %" PRId64 " left\n", transfer->number, transfer->balance);
        return;
    }
    (*transfer->n_failed)++;
    if (outcome->status == GAVEL_ABORTED && outcome->abort_code == OVERDRAFT)
        printf("%d: refused, only %" PRId64 " there\n", transfer->number, transfer->balance);
    else if (outcome->status == GAVEL_ABORTED)
        printf("%d: refused, the other account is full\n", transfer->number);
    else
        printf("%d: %s\n", transfer->number, gavel_outcome_text(outcome, text, sizeof(text)));
}

static bool submit(gavel_client *client, struct transfer *transfer)
{
    const gavel_read reads[2] = {{.key = transfer->from}, {.key = transfer->to}};
    gavel_transaction transaction = {
        .body = move_money, .user = transfer, .reads = reads, .n_reads = 2};
    return gavel_submit(client, &transaction, on_done) != 0; /* which copies all but `user` */
}

/* True for a whole number from 1 to max. */
static bool parse_number(const char *text, int64_t max, int64_t *ret_number)
{
    char *end = NULL;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || number < 1 || number > max)
        return false;
    *ret_number = number;
    return true;
}

int main(int argc, char **argv)
{
    static struct transfer transfers[TIMES_MAX]; /* each lives until its on_done was called */
    int64_t amount = 0, times = 1;
    if (argc < 5 || argc > 6 || strcmp(argv[2], argv[3]) == 0 ||
        !parse_number(argv[4], INT64_MAX, &amount) ||
        (argc == 6 && !parse_number(argv[5], TIMES_MAX, &times))) {
        fprintf(stderr, "usage: transfer URL FROM TO AMOUNT [TIMES]\n"
                        "FROM and TO differ; AMOUNT is above 0, TIMES from 1 to 1000\n");
        return 2;
    }
    gavel_error error;
    gavel_client *client = gavel_open(argv[1], &(gavel_config){.loop = EV_DEFAULT}, &error);
    if (client == NULL) {
        fprintf(stderr, "transfer: %s\n", error.message);
        return 2;
    }
    int n_failed = 0;
    for (int i = 0; i < (int)times; i++) {
        transfers[i] =
            (struct transfer){gavel_str(argv[2]), gavel_str(argv[3]), amount, i + 1, 0, &n_failed};
        if (!submit(client, &transfers[i])) {
            fprintf(stderr, "transfer: %d: no memory\n", i + 1);
            n_failed++;
        }
    }
    ev_run(EV_DEFAULT, 0); /* returns when no transfer is in flight any more */
    gavel_close(client);
    return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
