/*
 * A process of bidders without gavel. Each has a thread and a blocking connection, as such programs
 * commonly do; the main thread reports.
 */
#include "rivals.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

/* ---- One bid ------------------------------------------------------------------------------- */

/* Sets one number of the item from HMGET's reply. */
static bool take(const redisReply *reply, size_t i, int64_t *ret_number)
{
    const redisReply *element = reply->element[i];
    return element->type == REDIS_REPLY_STRING &&
           parse_number(element->str, 0, INT64_MAX / 2, ret_number);
}

int rival_read(redisContext *context, const struct bid *bid, struct item *ret_item)
{
    redisReply *reply = PLAIN(context, "HMGET", bid->keys.hash, "state", "price", "bids",
        "increment", "end_ms", "window_ms");
    int refusal = -1;

    *ret_item = (struct item){0};
    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY || reply->elements != 6)
        goto done;
    refusal = NO_SUCH_ITEM;
    if (reply->element[0]->type != REDIS_REPLY_STRING || !take(reply, 1, &ret_item->price) ||
        !take(reply, 2, &ret_item->bids) || !take(reply, 3, &ret_item->increment) ||
        !take(reply, 4, &ret_item->end_ms) || !take(reply, 5, &ret_item->window_ms))
        goto done;
    ret_item->is_open = strcmp(reply->element[0]->str, "open") == 0;
    refusal = NOT_REFUSED;

done:
    freeReplyObject(reply);
    return refusal;
}

static bool append(redisContext *context, size_t n_args, const char *const *args)
{
    const char *copies[16];
    for (size_t i = 0; i < n_args; i++)
        copies[i] = args[i];
    return redisAppendCommandArgv(context, (int)n_args, copies, NULL) == REDIS_OK;
}

#define APPEND(context, ...)                                                                       \
    append((context), sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *),           \
        (const char *const[]){__VA_ARGS__})

/* All in one write, as good clients do: three round trips for a bid, with WATCH and the read. */
static bool append_writes(redisContext *context, const struct bid *bid, const struct item *item)
{
    char line[EVENT_SIZE];
    char price[24];
    char bids[24];
    char end_ms[24];
    struct event event;

    bid_event(bid, &event);
    event_format(&event, line);
    snprintf(price, sizeof(price), "%" PRId64, item->price);
    snprintf(bids, sizeof(bids), "%" PRId64, item->bids);
    snprintf(end_ms, sizeof(end_ms), "%" PRId64, item->end_ms);
    return APPEND(context, "MULTI") &&
           APPEND(context, "HSET", bid->keys.hash, "price", price, "leader", item->leader, "bids",
               bids, "end_ms", end_ms) &&
           APPEND(context, "RPUSH", bid->keys.history, line) &&
           APPEND(context, "ZADD", bid->keys.board, price, bid->bidder) && APPEND(context, "EXEC");
}

#define N_WRITES 3

/* Whether each of EXEC's elements is one of a command that worked. */
static bool all_worked(const redisReply *reply)
{
    for (size_t i = 0; i < reply->elements; i++)
        if (reply->element[i]->type == REDIS_REPLY_ERROR)
            return false;
    return reply->elements == N_WRITES;
}

enum told rival_write(
    redisContext *context, const struct bid *bid, const struct item *item, bool *ret_is_conflict)
{
    enum told told = TOLD_UNKNOWN;
    void *reply = NULL;

    *ret_is_conflict = false;
    if (!append_writes(context, bid, item))
        return TOLD_NOT_MADE;
    for (int i = 0; i < 1 + N_WRITES; i++) {
        if (redisGetReply(context, &reply) != REDIS_OK)
            return TOLD_UNKNOWN;
        freeReplyObject(reply);
    }
    if (redisGetReply(context, &reply) != REDIS_OK)
        return TOLD_UNKNOWN;
    const redisReply *exec = reply;
    if (exec->type == REDIS_REPLY_NIL) {
        *ret_is_conflict = true;
        told = TOLD_NOT_MADE;
    } else if (exec->type == REDIS_REPLY_ARRAY) {
        told = all_worked(exec) ? TOLD_ACCEPTED : TOLD_BROKEN;
    } else {
        told = TOLD_NOT_MADE; /* EXECABORT: a command was refused, so none was run */
    }
    freeReplyObject(reply);
    return told;
}

/* ---- The process --------------------------------------------------------------------------- */

struct rival {
    struct bidder bidder;
    struct crowd *crowd;
    redisContext *context; /* NULL: to be connected */
    pthread_t thread;
    bool is_started;
};

struct crowd {
    struct team *team;
    rival_bid *make_bid;
    struct rival *rivals;
    atomic_size_t n_running;
    atomic_bool is_stopping;
};

/* Connects if need be. */
static bool is_connected(struct rival *rival)
{
    gavel_error error;
    if (rival->context != NULL && rival->context->err == 0)
        return true;
    if (rival->context != NULL)
        redisFree(rival->context);
    rival->context = plain_connect(rival->crowd->team->race->options->url, &error);
    return rival->context != NULL;
}

static void *run_rival(void *user)
{
    struct rival *rival = user;
    struct crowd *crowd = rival->crowd;

    while (!atomic_load(&crowd->is_stopping)) {
        enum told told = TOLD_NOT_MADE;
        int refusal = 0;
        if (!bidder_next(&rival->bidder))
            break;
        if (is_connected(rival))
            told = crowd->make_bid(rival->context, &rival->bidder.bid, &refusal);
        bidder_told(&rival->bidder, told, refusal);
        if (told != TOLD_ACCEPTED && told != TOLD_REFUSED)
            sleep_ms(REST_MS);
    }
    if (rival->context != NULL)
        redisFree(rival->context);
    atomic_fetch_sub(&crowd->n_running, 1);
    return NULL;
}

static bool start_rival(struct crowd *crowd, size_t i)
{
    struct rival *rival = &crowd->rivals[i];
    rival->crowd = crowd;
    if (!bidder_init(&rival->bidder, crowd->team, i + 1))
        return false;
    atomic_fetch_add(&crowd->n_running, 1);
    rival->is_started = pthread_create(&rival->thread, NULL, run_rival, rival) == 0;
    if (!rival->is_started)
        atomic_fetch_sub(&crowd->n_running, 1);
    return rival->is_started;
}

/* Reports until the rivals are done; SIGTERM, which all threads block, makes them stop. */
static void wait_for_rivals(struct crowd *crowd)
{
    const struct timespec pause = {.tv_nsec = REPORT_PAUSE_MS * 1000000L};
    sigset_t terminate;

    sigemptyset(&terminate);
    sigaddset(&terminate, SIGTERM);
    while (atomic_load(&crowd->n_running) > 0) {
        if (sigtimedwait(&terminate, NULL, &pause) == SIGTERM)
            atomic_store(&crowd->is_stopping, true);
        team_report(crowd->team);
    }
}

int team_of_rivals(struct team *team, rival_bid *make_bid)
{
    struct crowd crowd = {.team = team, .make_bid = make_bid};
    size_t n_rivals = team->race->n_bidders;
    int status = EXIT_FINE;

    crowd.rivals = calloc(n_rivals, sizeof(crowd.rivals[0]));
    if (crowd.rivals == NULL)
        return trouble("process %zu: no memory", team->process);
    for (size_t i = 0; i < n_rivals && status == EXIT_FINE; i++) {
        if (!start_rival(&crowd, i)) {
            status = trouble("process %zu: not all bidders could be started", team->process);
            atomic_store(&crowd.is_stopping, true);
        }
    }
    wait_for_rivals(&crowd);
    for (size_t i = 0; i < n_rivals; i++) {
        if (crowd.rivals[i].is_started)
            pthread_join(crowd.rivals[i].thread, NULL);
        bidder_finish(&crowd.rivals[i].bidder);
    }
    free(crowd.rivals);
    return status;
}
