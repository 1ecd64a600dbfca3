/*
 * Replays: the rules once more, in other words.
 */
#include "replay.h"

#include <stdio.h>

static void replay_open(struct replay *replay, const struct event *event, struct findings *findings)
{
    if (replay->is_opened)
        findings_add(findings, replay->name, "opened twice");
    replay->is_opened = true;
    replay->increment = event->increment;
    replay->reserve = event->reserve;
    replay->end_ms = event->end_ms;
    replay->window_ms = event->window_ms;
}

static void replay_bid(struct replay *replay, const struct event *bid, struct findings *findings)
{
    const char *name = replay->name;

    findings->n_bids++;
    if (!replay->is_opened)
        findings_add(findings, name, "bid %s came before the item was opened", bid->id);
    if (replay->is_closed)
        findings_add(findings, name, "bid %s came after the close", bid->id);
    if (bid->amount - replay->price < replay->increment)
        findings_add(findings, name,
            "bid %s of %" PRId64 " follows one of %" PRId64 ", with an increment of %" PRId64,
            bid->id, bid->amount, replay->price, replay->increment);
    if (bid->at_ms >= replay->end_ms)
        findings_add(findings, name, "bid %s was made %" PRId64 " ms after the end", bid->id,
            bid->at_ms - replay->end_ms);
    if (replay->end_ms - bid->at_ms < replay->window_ms)
        replay->end_ms = bid->at_ms + replay->window_ms;
    replay->price = bid->amount;
    replay->bids++;
    memcpy(replay->leader, bid->who, sizeof(replay->leader));
}

static void replay_close(
    struct replay *replay, const struct event *event, struct findings *findings)
{
    bool is_sold = replay->bids > 0 && replay->price >= replay->reserve;
    const char *winner = is_sold ? replay->leader : "-";
    int64_t price = is_sold ? replay->price : 0;

    if (replay->is_closed)
        findings_add(findings, replay->name, "closed twice");
    replay->is_closed = true;
    if (strcmp(event->who, winner) != 0 || event->amount != price)
        findings_add(findings, replay->name,
            "closed for %s at %" PRId64 ", but the bids make it %s at %" PRId64, event->who,
            event->amount, winner, price);
}

void replay_event(struct replay *replay, const struct event *event, struct findings *findings)
{
    switch (event->type) {
    case EVENT_OPEN:
        replay_open(replay, event, findings);
        break;
    case EVENT_BID:
        replay_bid(replay, event, findings);
        break;
    case EVENT_CLOSE:
        replay_close(replay, event, findings);
        break;
    }
}

static void check_number(const struct replay *replay, const char *field, const char *value,
    int64_t wanted, struct findings *findings)
{
    int64_t number;
    if (!parse_number(value, INT64_MIN, INT64_MAX, &number) || number != wanted)
        findings_add(findings, replay->name, "%s is %.60s, but the history makes it %" PRId64,
            field, value, wanted);
}

static void check_text(const struct replay *replay, const char *field, const char *value,
    const char *wanted, struct findings *findings)
{
    if (strcmp(value, wanted) != 0)
        findings_add(findings, replay->name, "%s is \"%.60s\", but the history makes it \"%s\"",
            field, value, wanted);
}

void replay_check(
    const struct replay *replay, const char *field, const char *value, struct findings *findings)
{
    const struct {
        const char *field;
        int64_t wanted;
    } numbers[] = {
        {"price", replay->price},
        {"bids", replay->bids},
        {"increment", replay->increment},
        {"reserve", replay->reserve},
        {"end_ms", replay->end_ms},
        {"window_ms", replay->window_ms},
    };

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (strcmp(field, numbers[i].field) == 0) {
            check_number(replay, field, value, numbers[i].wanted, findings);
            return;
        }
    }
    if (strcmp(field, "state") == 0)
        check_text(replay, field, value, replay->is_closed ? "closed" : "open", findings);
    else if (strcmp(field, "leader") == 0)
        check_text(replay, field, value, replay->leader, findings);
    else
        findings_add(findings, replay->name, "what is the field \"%.60s\"?", field);
}
