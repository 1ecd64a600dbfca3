/*
 * Verifying: each item is inspected, then each answer that a bidder got is held against how often
 * its bid was found in the history.
 */
#include "verify.h"

#include "inspect.h"
#include "item.h"

#include <stdlib.h>

static const char *wrong_with(const struct told_bid *told)
{
    if (told->n_seen > 1)
        return "is in the history more than once";
    switch (told->told) {
    case TOLD_ACCEPTED:
        return told->n_seen == 0 ? "was accepted, and is not in the history" : NULL;
    case TOLD_REFUSED:
        return told->n_seen > 0 ? "was refused, and is in the history" : NULL;
    case TOLD_NOT_MADE:
        return told->n_seen > 0 ? "was not made, and is in the history" : NULL;
    case TOLD_UNKNOWN:
        return NULL; /* it may be in or out */
    case TOLD_BROKEN:
        break;
    }
    return "was only partly written";
}

/* Counts what was told, and checks each bid against how often it was found. */
static void check_told(struct verifier *verifier, uint64_t ret_counts[N_TOLD], uint64_t *ret_n_in)
{
    struct ledger *ledger = &verifier->ledger;
    char name[NAME_SIZE + 16];

    for (size_t i = 0; i < ledger->n_bids; i++) {
        const struct told_bid *told = &ledger->bids[i];
        const char *wrong = wrong_with(told);
        ret_counts[told->told]++;
        *ret_n_in += told->told == TOLD_UNKNOWN && told->n_seen > 0;
        snprintf(name, sizeof(name), "%s-%" PRIu32, ledger->race, told->item);
        if (wrong != NULL)
            findings_add(&verifier->findings, name, "bid %s of %" PRId64 " %s", told->id,
                told->amount, wrong);
        if (i > 0 && told->item == told[-1].item && strcmp(told->id, told[-1].id) == 0)
            findings_add(&verifier->findings, name, "bid %s was answered twice", told->id);
    }
}

/* ---- All of them --------------------------------------------------------------------------- */

static bool verify_race(struct verifier *verifier)
{
    char name[NAME_SIZE];
    for (uint32_t i = 1; i <= verifier->ledger.n_items; i++) {
        snprintf(name, sizeof(name), "%.18s-%" PRIu32, verifier->ledger.race, i);
        if (!inspect_item(verifier, name, i))
            return false;
    }
    return true;
}

static bool verify_listed(struct verifier *verifier)
{
    if (!verifier_go_to(verifier, ITEMS_KEY))
        return false;
    redisReply *reply = verifier_expect(
        verifier, PLAIN(verifier->context, "SMEMBERS", ITEMS_KEY), REDIS_REPLY_ARRAY);
    bool is_fine = reply != NULL;
    for (size_t i = 0; is_fine && i < reply->elements; i++) {
        const char *name = reply->element[i]->str;
        if (is_name(name, NAME_SIZE))
            is_fine = inspect_item(verifier, name, 0);
        else
            findings_add(&verifier->findings, ITEMS_KEY, "\"%.60s\" is no item's name", name);
    }
    freeReplyObject(reply);
    return is_fine;
}

static void summarise(struct verifier *verifier)
{
    const struct ledger *ledger = &verifier->ledger;
    uint64_t counts[N_TOLD] = {0};
    uint64_t n_unknown_in = 0;

    for (uint32_t i = 0; i < ledger->n_processes; i++)
        if (!ledger->is_complete[i])
            printf("note: process %" PRIu32 " was killed; its last answers are not in the ledger\n",
                i + 1);
    check_told(verifier, counts, &n_unknown_in);
    findings_print(&verifier->findings);
    printf("verify: %zu item%s, %" PRIu64 " bids in the histories; %zu answers in the ledger\n",
        verifier->n_items, verifier->n_items == 1 ? "" : "s", verifier->findings.n_bids,
        ledger->n_bids);
    if (counts[TOLD_NOT_MADE] + counts[TOLD_UNKNOWN] > 0)
        printf("verify: %" PRIu64 " bids were not made; of %" PRIu64
               " nobody was told whether they were accepted, and %" PRIu64 " of these were\n",
            counts[TOLD_NOT_MADE], counts[TOLD_UNKNOWN], n_unknown_in);
    printf("auction: %" PRIu64 " accepted, %" PRIu64 " refused, %" PRIu64 " violations\n",
        counts[TOLD_ACCEPTED] + verifier->n_by_hand, counts[TOLD_REFUSED],
        verifier->findings.n_violations);
}

/* Verifies with a connection; true if there was no trouble. */
static bool verify_all(struct verifier *verifier, const char *dir, bool has_all)
{
    if (dir != NULL && !ledger_read(dir, &verifier->ledger))
        return false;
    if (!verify_race(verifier) || (has_all && !verify_listed(verifier)))
        return false;
    summarise(verifier);
    return true;
}

static bool connect_verifier(struct verifier *verifier, const char *url)
{
    gavel_error error;
    verifier->url = url;
    verifier->context = plain_connect(url, &error);
    if (verifier->context == NULL)
        trouble("verify: %s", error.message);
    return verifier->context != NULL;
}

static int finish(struct verifier *verifier, bool is_fine)
{
    int status = verifier->findings.n_violations > 0 ? EXIT_REFUSED : EXIT_FINE;
    if (verifier->context != NULL)
        redisFree(verifier->context);
    ledger_finish(&verifier->ledger);
    return is_fine ? status : EXIT_TROUBLE;
}

int verify_ledger(const char *url, const char *dir)
{
    static struct verifier verifier;
    bool is_fine = connect_verifier(&verifier, url) && verify_all(&verifier, dir, false);
    return finish(&verifier, is_fine);
}

int run_verify(const struct options *options)
{
    static struct verifier verifier;
    redisReply *reply = NULL;
    const char *dir = options->ledger;
    bool is_fine = connect_verifier(&verifier, options->url);

    if (is_fine && dir == NULL && verifier_go_to(&verifier, LEDGER_KEY)) {
        reply = PLAIN(verifier.context, "GET", LEDGER_KEY);
        if (reply != NULL && reply->type == REDIS_REPLY_STRING)
            dir = reply->str;
        else
            printf("note: there was no race in the last hour\n");
    }
    is_fine = is_fine && verify_all(&verifier, dir, true);
    freeReplyObject(reply);
    return finish(&verifier, is_fine);
}
