/*
 * The bodies of the auction's transactions. Everything that is decided about an item is decided
 * here, on values that gavel has watched.
 */
#include "item.h"

#include <stdio.h>

void item_keys_set(struct item_keys *keys, const char *name)
{
    snprintf(keys->hash, sizeof(keys->hash), "auction:{%s}", name);
    snprintf(keys->history, sizeof(keys->history), "auction:{%s}:history", name);
    snprintf(keys->board, sizeof(keys->board), "auction:{%s}:board", name);
}

const char *refusal_text(int code)
{
    switch ((enum refusal)code) {
#define REFUSAL_TEXT(name, text)                                                                   \
    case name:                                                                                     \
        return text;
        REFUSALS(REFUSAL_TEXT)
#undef REFUSAL_TEXT
    }
    return "for no known reason";
}

/* ---- Reading ------------------------------------------------------------------------------- */

/*
 * Field by field and not by one HMGET: gavel models HGET and HSET, so a body that shares a round
 * with an earlier bid for the same item sees what that bid wrote.
 */
void item_declare(const struct item_keys *keys, gavel_read ret_reads[ITEM_N_FIELDS])
{
    const gavel_bytes fields[ITEM_N_FIELDS] = {GAVEL_STR("state"), GAVEL_STR("price"),
        GAVEL_STR("leader"), GAVEL_STR("bids"), GAVEL_STR("increment"), GAVEL_STR("reserve"),
        GAVEL_STR("end_ms"), GAVEL_STR("window_ms")};

    for (size_t i = 0; i < ITEM_N_FIELDS; i++)
        ret_reads[i] = (gavel_read){.key = gavel_str(keys->hash), .field = fields[i]};
}

bool item_read(gavel_tx *tx, const struct item_keys *keys, struct item *ret_item)
{
    gavel_bytes key = gavel_str(keys->hash);
    gavel_bytes state;
    gavel_bytes leader = {0};

    *ret_item = (struct item){0};
    if (gavel_hget(tx, key, GAVEL_STR("state"), &state) != GAVEL_FOUND)
        return false;
    ret_item->is_open = state.size == 4 && memcmp(state.data, "open", 4) == 0;
    gavel_hget_int(tx, key, GAVEL_STR("price"), &ret_item->price);
    gavel_hget_int(tx, key, GAVEL_STR("bids"), &ret_item->bids);
    gavel_hget_int(tx, key, GAVEL_STR("increment"), &ret_item->increment);
    gavel_hget_int(tx, key, GAVEL_STR("reserve"), &ret_item->reserve);
    gavel_hget_int(tx, key, GAVEL_STR("end_ms"), &ret_item->end_ms);
    gavel_hget_int(tx, key, GAVEL_STR("window_ms"), &ret_item->window_ms);
    if (gavel_hget(tx, key, GAVEL_STR("leader"), &leader) == GAVEL_FOUND && leader.size < NAME_SIZE)
        memcpy(ret_item->leader, leader.data, leader.size);
    return true;
}

/* The keys that a transaction writes, besides the hash that is among its reads. */
static void plan_item(struct plan *plan, const struct item_keys *keys)
{
    item_declare(keys, plan->reads);
    plan->keys[0] = gavel_str(keys->history);
    plan->keys[1] = gavel_str(keys->board);
    plan->transaction = (gavel_transaction){
        .reads = plan->reads, .n_reads = ITEM_N_FIELDS, .keys = plan->keys, .n_keys = 2};
}

static void append_event(gavel_tx *tx, const struct item_keys *keys, const struct event *event)
{
    char line[EVENT_SIZE];
    event_format(event, line);
    gavel_write(tx, &GAVEL_COMMAND(GAVEL_STR("RPUSH"), gavel_str(keys->history), gavel_str(line)));
}

/* ---- Bidding ------------------------------------------------------------------------------- */

enum refusal item_judge(struct item *item, struct bid *bid)
{
    bid->price = item->price;
    bid->least = item->price + item->increment;
    if (!item->is_open)
        return IS_CLOSED;
    if (bid->at_ms >= item->end_ms)
        return IS_OVER;
    if (bid->amount < bid->least)
        return TOO_LOW;
    item->price = bid->amount;
    item->bids++;
    memcpy(item->leader, bid->bidder, sizeof(item->leader));
    if (item->end_ms < bid->at_ms + item->window_ms)
        item->end_ms = bid->at_ms + item->window_ms;
    return NOT_REFUSED;
}

void bid_event(const struct bid *bid, struct event *ret_event)
{
    *ret_event = (struct event){.type = EVENT_BID, .amount = bid->amount, .at_ms = bid->at_ms};
    memcpy(ret_event->id, bid->id, sizeof(ret_event->id));
    memcpy(ret_event->who, bid->bidder, sizeof(ret_event->who));
}

static gavel_verdict bid_body(gavel_tx *tx, void *user)
{
    struct bid *bid = user;
    gavel_bytes key = gavel_str(bid->keys.hash);
    char amount[24];
    struct item item;
    struct event event;

    if (!item_read(tx, &bid->keys, &item))
        return gavel_abort(tx, NO_SUCH_ITEM);
    int64_t end_ms = item.end_ms;
    enum refusal refusal = item_judge(&item, bid);
    if (refusal != NOT_REFUSED)
        return gavel_abort(tx, (int)refusal);

    gavel_hset_int(tx, key, GAVEL_STR("price"), item.price);
    gavel_hset(tx, key, GAVEL_STR("leader"), gavel_str(item.leader));
    gavel_hset_int(tx, key, GAVEL_STR("bids"), item.bids);
    if (item.end_ms != end_ms)
        gavel_hset_int(tx, key, GAVEL_STR("end_ms"), item.end_ms);
    bid_event(bid, &event);
    append_event(tx, &bid->keys, &event);
    snprintf(amount, sizeof(amount), "%" PRId64, bid->amount);
    gavel_write(tx, &GAVEL_COMMAND(GAVEL_STR("ZADD"), gavel_str(bid->keys.board), gavel_str(amount),
                        gavel_str(bid->bidder)));
    return GAVEL_COMMIT;
}

void bid_plan(struct bid *bid, struct plan *ret_plan)
{
    plan_item(ret_plan, &bid->keys);
    ret_plan->transaction.body = bid_body;
    ret_plan->transaction.user = bid;
}

/* ---- Opening and closing ------------------------------------------------------------------- */

static gavel_verdict opening_body(gavel_tx *tx, void *user)
{
    struct opening *opening = user;
    const struct item *item = &opening->item;
    gavel_bytes key = gavel_str(opening->keys.hash);
    struct item present;

    if (item_read(tx, &opening->keys, &present))
        return gavel_abort(tx, EXISTS_ALREADY);
    gavel_hset(tx, key, GAVEL_STR("state"), GAVEL_STR("open"));
    gavel_hset_int(tx, key, GAVEL_STR("price"), 0);
    gavel_hset(tx, key, GAVEL_STR("leader"), GAVEL_STR(""));
    gavel_hset_int(tx, key, GAVEL_STR("bids"), 0);
    gavel_hset_int(tx, key, GAVEL_STR("increment"), item->increment);
    gavel_hset_int(tx, key, GAVEL_STR("reserve"), item->reserve);
    gavel_hset_int(tx, key, GAVEL_STR("end_ms"), item->end_ms);
    gavel_hset_int(tx, key, GAVEL_STR("window_ms"), item->window_ms);
    append_event(tx, &opening->keys,
        &(struct event){.type = EVENT_OPEN,
            .increment = item->increment,
            .reserve = item->reserve,
            .end_ms = item->end_ms,
            .window_ms = item->window_ms});
    return GAVEL_COMMIT;
}

void opening_plan(struct opening *opening, struct plan *ret_plan)
{
    plan_item(ret_plan, &opening->keys);
    ret_plan->transaction.body = opening_body;
    ret_plan->transaction.user = opening;
}

static gavel_verdict listing_body(gavel_tx *tx, void *user)
{
    const struct opening *opening = user;
    gavel_write(
        tx, &GAVEL_COMMAND(GAVEL_STR("SADD"), GAVEL_STR(ITEMS_KEY), gavel_str(opening->name)));
    return GAVEL_COMMIT;
}

void listing_plan(struct opening *opening, struct plan *ret_plan)
{
    ret_plan->transaction = (gavel_transaction){.body = listing_body, .user = opening};
}

static void expire(gavel_tx *tx, const char *key)
{
    char seconds[24];
    snprintf(seconds, sizeof(seconds), "%d", RACE_KEEP_S);
    gavel_write(tx, &GAVEL_COMMAND(GAVEL_STR("EXPIRE"), gavel_str(key), gavel_str(seconds)));
}

/* A bid and the close both watch the hash, so one of them sees what the other did: either the bid
 * is in the price that is closed at, or it finds the item closed. */
static gavel_verdict closing_body(gavel_tx *tx, void *user)
{
    struct closing *closing = user;
    struct item *item = &closing->item;
    struct event event = {.type = EVENT_CLOSE, .who = "-", .at_ms = closing->at_ms};

    if (!item_read(tx, &closing->keys, item))
        return gavel_abort(tx, NO_SUCH_ITEM);
    closing->is_sold = item->bids > 0 && item->price >= item->reserve;
    if (!item->is_open)
        return gavel_abort(tx, IS_CLOSED);
    if (closing->at_ms < item->end_ms && !closing->is_forced)
        return gavel_abort(tx, IS_NOT_OVER);

    if (closing->is_sold) {
        memcpy(event.who, item->leader, sizeof(event.who));
        event.amount = item->price;
    }
    gavel_hset(tx, gavel_str(closing->keys.hash), GAVEL_STR("state"), GAVEL_STR("closed"));
    append_event(tx, &closing->keys, &event);
    if (closing->is_brief) {
        expire(tx, closing->keys.hash);
        expire(tx, closing->keys.history);
        expire(tx, closing->keys.board);
    }
    return GAVEL_COMMIT;
}

void closing_plan(struct closing *closing, struct plan *ret_plan)
{
    plan_item(ret_plan, &closing->keys);
    ret_plan->transaction.body = closing_body;
    ret_plan->transaction.user = closing;
}
