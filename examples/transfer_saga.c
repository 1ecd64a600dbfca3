/*
 * transfer_saga: moves money between accounts that need not lie on one server.
 *
 *     transfer_saga pay ID FROM TO AMOUNT    once for each ID of FROM's, however often it is called
 *     transfer_saga recover ACCOUNT...       ends what was begun from these accounts
 *
 * In a Cluster a transaction has one slot, and each account has one of its own: its name is the tag
 * of all its keys. So a transfer is three transactions, and each leaves in the data what it did:
 *
 *     take     FROM's slot    balance:{ann}  sent:{ann}:7 = taken bob 30  open:{ann}: 7 = bob 30
 *     give     TO's slot      balance:{bob}  received:{bob}:ann:7 = given; or refused: no account
 *     end      FROM's slot    sent:{ann}:7 = done bob 30; or undone bob 30: the money is back
 *
 * It may be killed anywhere. Whoever comes next, also several at once, goes through the rest;
 * docs/across_slots.md says why that is right. The server is $GAVEL_URL. Exit status: 0 it is
 * moved, or all is ended; 1 nothing is moved; 2 not known, or not ended: do the same again.
 */
#include <gavel/gavel.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { NAME_SIZE = 33, KEY_SIZE = 128, OPEN_MAX = 100 };

struct transfer {
    char id[NAME_SIZE], from[NAME_SIZE], to[NAME_SIZE];
    int64_t amount;
    bool is_begun;                            /* somebody has taken, or else nothing is done */
    bool is_given;                            /* what TO has said */
    char balance[KEY_SIZE], record[KEY_SIZE]; /* the keys of the step that runs */
};

/* What is to be ended of one account's. */
struct list {
    const char *account;
    struct transfer transfers[OPEN_MAX];
    size_t n_transfers;
};

/* ---- The steps ----------------------------------------------------------------------------- */

/* Adds to the account, and puts down what is done by that, for ever: a day later no id will know
 * that this step was made, but its record does. */
static gavel_verdict book(
    gavel_tx *tx, const struct transfer *transfer, int64_t by, gavel_bytes record)
{
    if (by != 0)
        gavel_incr(tx, gavel_str(transfer->balance), by);
    gavel_set(tx, gavel_str(transfer->record), record);
    gavel_set_result(tx, record);
    return GAVEL_COMMIT;
}

/* It was put down before. */
static gavel_verdict repeat(gavel_tx *tx, gavel_bytes record)
{
    gavel_set_result(tx, record);
    return GAVEL_COMMIT;
}

static gavel_verdict take(gavel_tx *tx, void *user)
{
    const struct transfer *transfer = user;
    gavel_bytes record, order = gavel_keyf(tx, "%s %" PRId64, transfer->to, transfer->amount);
    int64_t balance; /* 0 where there is no such account */
    if (gavel_get(tx, gavel_str(transfer->record), &record) == GAVEL_FOUND)
        return repeat(tx, record);
    gavel_get_int(tx, gavel_str(transfer->balance), &balance);
    if (balance < transfer->amount || transfer->is_begun)
        return GAVEL_ABORT;
    gavel_hset(tx, gavel_keyf(tx, "open:{%s}", transfer->from), gavel_str(transfer->id), order);
    record = gavel_keyf(tx, "taken %s %" PRId64, transfer->to, transfer->amount);
    return book(tx, transfer, -transfer->amount, record);
}

/* A refusal is put down as well: else who comes later might find the account open again, and give
 * what somebody else has put back. */
static gavel_verdict give(gavel_tx *tx, void *user)
{
    const struct transfer *transfer = user;
    gavel_bytes record;
    int64_t balance;
    if (gavel_get(tx, gavel_str(transfer->record), &record) == GAVEL_FOUND)
        return repeat(tx, record);
    if (gavel_get_int(tx, gavel_str(transfer->balance), &balance) != GAVEL_FOUND ||
        balance > INT64_MAX - transfer->amount)
        return book(tx, transfer, 0, GAVEL_STR("refused"));
    return book(tx, transfer, transfer->amount, GAVEL_STR("given"));
}

/* What undoes must not be refused: FROM gets it back even if it is no account any more. */
static gavel_verdict end(gavel_tx *tx, void *user)
{
    const struct transfer *transfer = user;
    gavel_bytes record;
    int64_t balance;
    gavel_get(tx, gavel_str(transfer->record), &record);
    gavel_get_int(tx, gavel_str(transfer->balance), &balance);
    if (record.size < 6 || memcmp(record.data, "taken ", 6) != 0)
        return repeat(tx, record);
    gavel_hdel(tx, gavel_keyf(tx, "open:{%s}", transfer->from), gavel_str(transfer->id));
    record = gavel_keyf(tx, "%s %s %" PRId64, transfer->is_given ? "done" : "undone", transfer->to,
        transfer->amount);
    return book(tx, transfer, transfer->is_given ? 0 : transfer->amount, record);
}

/* ---- The chain ----------------------------------------------------------------------------- */

/* Runs a step under an id of its own. The next one may follow only if this is COMMITTED, and on
 * enough replicas, where GAVEL_URL asks for some: a failover might undo it alone. */
static gavel_outcome run(
    gavel_client *client, const char *step, gavel_body *body, struct transfer *transfer)
{
    char id[KEY_SIZE], text[GAVEL_OUTCOME_TEXT_SIZE];
    const char *from = transfer->from, *to = transfer->to;
    snprintf(id, sizeof id, "%s:%s:%s", from, transfer->id, step);
    snprintf(transfer->balance, KEY_SIZE, "balance:{%s}", body == give ? to : from);
    if (body == give)
        snprintf(transfer->record, KEY_SIZE, "received:{%s}:%s:%s", to, from, transfer->id);
    else
        snprintf(transfer->record, KEY_SIZE, "sent:{%s}:%s", from, transfer->id);
    gavel_read reads[] = {
        {.key = gavel_str(transfer->balance)}, {.key = gavel_str(transfer->record)}};
    gavel_outcome outcome = gavel_run(client,
        &(gavel_transaction){
            .body = body, .user = transfer, .id = gavel_str(id), .reads = reads, .n_reads = 2});
    if (outcome.status != GAVEL_COMMITTED && outcome.status != GAVEL_ABORTED)
        fprintf(stderr, "%s: %s: %s\n", transfer->id, step,
            gavel_outcome_text(&outcome, text, sizeof text));
    return outcome;
}

/* The steps behind the first one, or what they came to before. */
static int finish(gavel_client *client, struct transfer *transfer)
{
    gavel_outcome outcome = run(client, "give", give, transfer);
    if (outcome.status != GAVEL_COMMITTED)
        return 2;
    transfer->is_given = outcome.result_size == 5 && memcmp(outcome.result, "given", 5) == 0;
    if (run(client, "end", end, transfer).status != GAVEL_COMMITTED)
        return 2;
    printf("%s: %s\n", transfer->id, transfer->is_given ? "moved" : "undone: no such account");
    return transfer->is_given ? 0 : 1;
}

static int pay(gavel_client *client, struct transfer *transfer)
{
    char record[KEY_SIZE], state[NAME_SIZE], to[NAME_SIZE];
    const char *why_not = transfer->is_begun ? "is gone" : "not enough there";
    int64_t amount;
    gavel_outcome outcome = run(client, "take", take, transfer);
    if (outcome.status == GAVEL_ABORTED)
        return printf("%s: %s\n", transfer->id, why_not), 1;
    if (outcome.status != GAVEL_COMMITTED)
        return 2;
    snprintf(record, sizeof record, "%.*s", (int)outcome.result_size, outcome.result);
    if (sscanf(record, "%32s %32s %" SCNd64, state, to, &amount) != 3 ||
        strcmp(to, transfer->to) != 0 || amount != transfer->amount)
        return printf("%s: was another transfer\n", transfer->id), 1;
    return finish(client, transfer);
}

static gavel_verdict read_open(gavel_tx *tx, void *user)
{
    struct list *list = user;
    const gavel_reply *fields, *id, *order;
    char text[KEY_SIZE];
    gavel_query(tx,
        &GAVEL_COMMAND(GAVEL_STR("HGETALL"), gavel_keyf(tx, "open:{%s}", list->account)), &fields);
    list->n_transfers = 0;
    for (size_t i = 0; i < OPEN_MAX && gavel_reply_pair(fields, i, &id, &order); i++) {
        struct transfer *transfer = &list->transfers[list->n_transfers++];
        transfer->is_begun = true;
        snprintf(transfer->id, NAME_SIZE, "%.*s", (int)id->text.size, id->text.data);
        snprintf(transfer->from, NAME_SIZE, "%s", list->account);
        snprintf(text, sizeof text, "%.*s", (int)order->text.size, order->text.data);
        if (sscanf(text, "%32s %" SCNd64, transfer->to, &transfer->amount) != 2)
            return GAVEL_ABORT;
    }
    return GAVEL_COMMIT;
}

/* Pays once more what is on the list. What is being paid at this moment is ended here as well as
 * there, which disturbs nobody. */
static int recover(gavel_client *client, const char *account)
{
    static struct list list;
    char text[GAVEL_OUTCOME_TEXT_SIZE];
    list = (struct list){.account = account};
    gavel_outcome outcome = gavel_run(
        client, &(gavel_transaction){.body = read_open, .user = &list, .is_read_only = true});
    if (outcome.status != GAVEL_COMMITTED) {
        gavel_outcome_text(&outcome, text, sizeof text);
        return fprintf(stderr, "open:{%s}: %s\n", account, text), 2;
    }
    int status = list.n_transfers == OPEN_MAX ? 2 : 0; /* there may be more */
    for (size_t i = 0; i < list.n_transfers; i++)
        if (pay(client, &list.transfers[i]) == 2)
            status = 2;
    return status;
}

/* A name has no brace, colon or blank, so that no two keys or ids are the same. */
static bool is_name(const char *text)
{
    size_t size = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_");
    return size > 0 && size < NAME_SIZE && text[size] == '\0';
}

static bool parse(char **words, struct transfer *ret_transfer)
{
    char *rest;
    ret_transfer->amount = strtoll(words[3], &rest, 10);
    for (int i = 0; i < 3; i++)
        if (!is_name(words[i]))
            return false;
    strcpy(ret_transfer->id, words[0]);
    strcpy(ret_transfer->from, words[1]);
    strcpy(ret_transfer->to, words[2]);
    return *rest == '\0' && ret_transfer->amount > 0;
}

int main(int argc, char **argv)
{
    struct transfer transfer = {.amount = 0};
    bool is_pay = argc == 6 && strcmp(argv[1], "pay") == 0 && parse(argv + 2, &transfer);
    bool is_fine = is_pay || (argc > 2 && strcmp(argv[1], "recover") == 0);
    for (int i = 2; !is_pay && i < argc; i++)
        is_fine = is_fine && is_name(argv[i]);
    gavel_error error = {"usage: transfer_saga pay ID FROM TO AMOUNT, or recover ACCOUNT..."};
    gavel_client *client = is_fine ? gavel_open(NULL, NULL, &error) : NULL;
    if (client == NULL)
        return fprintf(stderr, "%s\n", error.message), 2;
    int status = is_pay ? pay(client, &transfer) : 0;
    for (int i = 2; !is_pay && i < argc; i++)
        if (recover(client, argv[i]) != 0)
            status = 2;
    gavel_close(client);
    return status;
}
