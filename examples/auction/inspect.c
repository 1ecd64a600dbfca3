/*
 * Inspecting one item: reads all of it while watching it, replays its history, and holds what comes
 * out against its hash, its board and what the bidders were told.
 */
#include "inspect.h"

#include "item.h"
#include "replay.h"

#include <stdlib.h>

#define PAGE 10000  /* lines of a history that are read at once */
#define N_TRIES 100 /* for an item that is bid for meanwhile */

struct standing {
    char bidder[NAME_SIZE];
    int64_t amount; /* as the board has it */
    int64_t best;   /* as the history has it; 0: no bid */
};

/* One item while it is looked at. */
struct subject {
    struct verifier *verifier;
    const char *name;
    uint32_t number; /* in the ledger; 0: it is not a race's */
    struct item_keys keys;
    struct replay replay;
    struct findings findings;
    struct standing *board; /* by bidder */
    size_t n_board;
    char (*ids)[ID_SIZE]; /* of the bids, for an item without a ledger */
    size_t n_ids;
    size_t ids_room;
};

bool verifier_go_to(struct verifier *verifier, const char *key)
{
    gavel_error error;
    bool is_there = plain_go_to(&verifier->context, verifier->url, key, &error);
    if (!is_there)
        trouble("verify: %s", error.message);
    return is_there;
}

redisReply *verifier_expect(const struct verifier *verifier, redisReply *reply, int type)
{
    if (reply != NULL && reply->type == type)
        return reply;
    if (reply == NULL)
        trouble("verify: the server is lost: %s", verifier->context->errstr);
    else
        trouble("verify: %s", reply->type == REDIS_REPLY_ERROR ? reply->str : "a strange reply");
    freeReplyObject(reply);
    return NULL;
}

/* An array that is a part of the item. *ret_reply is NULL, and a violation found, if there is
 * something else in its place; false if there was trouble with the server. */
static bool take_part(
    struct subject *subject, const char *part, redisReply *reply, redisReply **ret_reply)
{
    if (reply != NULL && reply->type == REDIS_REPLY_ERROR &&
        strncmp(reply->str, "WRONGTYPE", 9) == 0) {
        findings_add(&subject->findings, subject->name, "its %s is something else", part);
        freeReplyObject(reply);
        *ret_reply = NULL;
        return true;
    }
    *ret_reply = verifier_expect(subject->verifier, reply, REDIS_REPLY_ARRAY);
    return *ret_reply != NULL;
}

/* Whether a command was answered with OK. */
static bool is_ok(const struct verifier *verifier, redisReply *reply)
{
    reply = verifier_expect(verifier, reply, REDIS_REPLY_STATUS);
    bool is_fine = reply != NULL;
    freeReplyObject(reply);
    return is_fine;
}

/* ---- The board ----------------------------------------------------------------------------- */

static int compare_standings(const void *a, const void *b)
{
    return strcmp(((const struct standing *)a)->bidder, ((const struct standing *)b)->bidder);
}

static bool read_board(struct subject *subject)
{
    redisContext *context = subject->verifier->context;
    redisReply *reply;
    if (!take_part(subject, "board",
            PLAIN(context, "ZRANGE", subject->keys.board, "0", "-1", "WITHSCORES"), &reply))
        return false;
    size_t n = reply != NULL ? reply->elements / 2 : 0;
    subject->board = calloc(n + 1, sizeof(subject->board[0]));
    for (size_t i = 0; subject->board != NULL && i < 2 * n; i += 2) {
        struct standing *standing = &subject->board[subject->n_board++];
        snprintf(standing->bidder, sizeof(standing->bidder), "%s", reply->element[i]->str);
        standing->amount = (int64_t)strtod(reply->element[i + 1]->str, NULL);
    }
    freeReplyObject(reply);
    if (subject->board == NULL) {
        trouble("verify: no memory");
        return false;
    }
    qsort(subject->board, subject->n_board, sizeof(subject->board[0]), compare_standings);
    return true;
}

static void note_on_board(struct subject *subject, const struct event *bid)
{
    struct standing key;
    memcpy(key.bidder, bid->who, sizeof(key.bidder));
    struct standing *standing =
        bsearch(&key, subject->board, subject->n_board, sizeof(key), compare_standings);
    if (standing == NULL)
        findings_add(&subject->findings, subject->name, "%s has bid (%s) and is not on the board",
            bid->who, bid->id);
    else if (standing->best < bid->amount)
        standing->best = bid->amount;
}

static void check_board(struct subject *subject)
{
    const struct standing *first = NULL;
    for (size_t i = 0; i < subject->n_board; i++) {
        const struct standing *standing = &subject->board[i];
        if (standing->amount != standing->best)
            findings_add(&subject->findings, subject->name,
                "the board has %s at %" PRId64 ", whose best bid is %" PRId64, standing->bidder,
                standing->amount, standing->best);
        if (first == NULL || standing->amount > first->amount)
            first = standing;
    }
    if (first != NULL && (strcmp(first->bidder, subject->replay.leader) != 0 ||
                             first->amount != subject->replay.price))
        findings_add(&subject->findings, subject->name,
            "first on the board is %s at %" PRId64 ", but %s leads at %" PRId64, first->bidder,
            first->amount, subject->replay.leader, subject->replay.price);
}

/* ---- What the bidders were told ------------------------------------------------------------ */

/* Whether the process that made this bid was killed before it had written all down. */
static bool is_excused(const struct ledger *ledger, const char *id)
{
    uint32_t process;
    return sscanf(id, "p%" SCNu32 "-", &process) == 1 && process >= 1 &&
           process <= ledger->n_processes && !ledger->is_complete[process - 1];
}

/* A bid of the history must be one that somebody made, as it was made. */
static void note_told(struct subject *subject, const struct event *bid)
{
    const struct ledger *ledger = &subject->verifier->ledger;
    struct told_bid *told = ledger_find(ledger, subject->number, bid->id);

    if (told == NULL) {
        if (!is_excused(ledger, bid->id))
            findings_add(&subject->findings, subject->name,
                "bid %s is in the history, and nobody made it", bid->id);
        return;
    }
    told->n_seen++;
    size_t length = strlen(bid->who);
    if (told->amount != bid->amount || told->at_ms != bid->at_ms ||
        strncmp(told->id, bid->who, length) != 0 || told->id[length] != '-')
        findings_add(&subject->findings, subject->name,
            "bid %s is in the history as %s's of %" PRId64 ", but was one of %" PRId64, bid->id,
            bid->who, bid->amount, told->amount);
}

/* ---- The history --------------------------------------------------------------------------- */

/* Keeps the id of a bid that no ledger has. */
static bool keep_id(struct subject *subject, const char *id)
{
    if (subject->n_ids == subject->ids_room) {
        size_t room = subject->ids_room == 0 ? 256 : subject->ids_room * 2;
        void *ids = realloc(subject->ids, room * sizeof(subject->ids[0]));
        if (ids == NULL) {
            trouble("verify: no memory");
            return false;
        }
        subject->ids = ids;
        subject->ids_room = room;
    }
    memcpy(subject->ids[subject->n_ids++], id, ID_SIZE);
    return true;
}

static int compare_ids(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void check_ids(struct subject *subject)
{
    if (subject->n_ids > 0)
        qsort(subject->ids, subject->n_ids, sizeof(subject->ids[0]), compare_ids);
    for (size_t i = 1; i < subject->n_ids; i++)
        if (strcmp(subject->ids[i - 1], subject->ids[i]) == 0)
            findings_add(&subject->findings, subject->name,
                "bid %s is in the history more than once", subject->ids[i]);
}

/* False only without memory. */
static bool take_line(struct subject *subject, const redisReply *line)
{
    struct event event;
    if (line->type != REDIS_REPLY_STRING ||
        !event_parse((gavel_bytes){line->str, (size_t)line->len}, &event)) {
        findings_add(&subject->findings, subject->name, "a line of the history says nothing: %.60s",
            line->str != NULL ? line->str : "");
        return true;
    }
    replay_event(&subject->replay, &event, &subject->findings);
    if (event.type != EVENT_BID)
        return true;
    note_on_board(subject, &event);
    if (subject->number == 0)
        return keep_id(subject, event.id);
    note_told(subject, &event);
    return true;
}

static bool read_history(struct subject *subject)
{
    const struct verifier *verifier = subject->verifier;
    size_t n_lines = PAGE;

    for (int64_t from = 0; n_lines == PAGE; from += PAGE) {
        char first[24];
        char last[24];
        snprintf(first, sizeof(first), "%" PRId64, from);
        snprintf(last, sizeof(last), "%" PRId64, from + PAGE - 1);
        redisReply *reply;
        if (!take_part(subject, "history",
                PLAIN(verifier->context, "LRANGE", subject->keys.history, first, last), &reply))
            return false;
        if (reply == NULL)
            return true;
        n_lines = reply->elements;
        bool is_fine = true;
        for (size_t i = 0; is_fine && i < n_lines; i++)
            is_fine = take_line(subject, reply->element[i]);
        freeReplyObject(reply);
        if (!is_fine)
            return false;
    }
    return true;
}

/* ---- An item ------------------------------------------------------------------------------- */

static bool check_hash(struct subject *subject)
{
    redisReply *reply;
    if (!take_part(subject, "hash",
            PLAIN(subject->verifier->context, "HGETALL", subject->keys.hash), &reply))
        return false;
    if (reply == NULL)
        return true;
    if (reply->elements != 2 * ITEM_N_FIELDS)
        findings_add(&subject->findings, subject->name, "it has %zu fields and not %d%s",
            reply->elements / 2, ITEM_N_FIELDS, reply->elements == 0 ? ": it is gone" : "");
    for (size_t i = 0; i + 1 < reply->elements; i += 2)
        replay_check(&subject->replay, reply->element[i]->str, reply->element[i + 1]->str,
            &subject->findings);
    freeReplyObject(reply);
    return true;
}

/* Reads all of the item while watching it, so that it is as of one moment. *ret_is_sure is false
 * if it changed meanwhile. */
static bool look_at(struct subject *subject, bool *ret_is_sure)
{
    redisContext *context = subject->verifier->context;
    const struct item_keys *keys = &subject->keys;
    if (!is_ok(
            subject->verifier, PLAIN(context, "WATCH", keys->hash, keys->history, keys->board)) ||
        !read_board(subject) || !read_history(subject) || !check_hash(subject))
        return false;
    check_board(subject);
    check_ids(subject);
    if (!is_ok(subject->verifier, PLAIN(context, "MULTI")))
        return false;
    redisReply *reply = PLAIN(context, "EXEC");
    if (reply == NULL) {
        trouble("verify: the server is lost: %s", context->errstr);
        return false;
    }
    *ret_is_sure = reply->type == REDIS_REPLY_ARRAY;
    freeReplyObject(reply);
    return true;
}

/* Forgets a look that was not sure. */
static void reset(struct subject *subject)
{
    struct ledger *ledger = &subject->verifier->ledger;
    for (size_t i = 0; subject->number > 0 && i < ledger->n_bids; i++)
        if (ledger->bids[i].item == subject->number)
            ledger->bids[i].n_seen = 0;
    free(subject->board);
    free(subject->ids);
    *subject = (struct subject){.verifier = subject->verifier,
        .name = subject->name,
        .number = subject->number,
        .keys = subject->keys,
        .replay = {.name = subject->name}};
}

bool inspect_item(struct verifier *verifier, const char *name, uint32_t number)
{
    static struct subject subject;
    bool is_sure = false;

    subject = (struct subject){
        .verifier = verifier, .name = name, .number = number, .replay = {.name = name}};
    item_keys_set(&subject.keys, name);
    if (!verifier_go_to(verifier, subject.keys.hash))
        return false;
    for (int i = 0; !is_sure; i++) {
        if (i > 0)
            reset(&subject);
        if (!look_at(&subject, &is_sure))
            goto fail;
        if (i == N_TRIES) {
            trouble("verify: %s is bid for too fast to be looked at", name);
            goto fail;
        }
    }
    findings_merge(&verifier->findings, &subject.findings);
    verifier->n_items++;
    if (number == 0)
        verifier->n_by_hand += subject.findings.n_bids;
    free(subject.board);
    free(subject.ids);
    return true;

fail:
    free(subject.board);
    free(subject.ids);
    return false;
}
