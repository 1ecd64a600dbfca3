/*
 * One bidder of a race. It knows only what it was told: the prices of its earlier bids. So it is
 * often too late, and is refused.
 */
#include "race.h"

#include <stdlib.h>
#include <unistd.h>

void team_report(struct team *team)
{
    struct report report = {.process = team->process};
    for (size_t i = 0; i < N_TOLD; i++)
        report.n[i] = atomic_load(&team->tally.n[i]);
    /* Less than PIPE_BUF, so it is written whole. Without a parent there is nobody to tell. */
    if (write(team->report_fd, &report, sizeof(report)) < 0)
        return;
}

bool bidder_init(struct bidder *bidder, struct team *team, size_t number)
{
    *bidder = (struct bidder){.team = team, .number = number, .random = random_bits() | 1};
    bidder->prices = calloc(team->race->n_items, sizeof(bidder->prices[0]));
    return bidder->prices != NULL;
}

void bidder_finish(struct bidder *bidder)
{
    free(bidder->prices);
}

/* Below `bound`; good enough for choosing (xorshift, Marsaglia 2003). */
static uint64_t choose(struct bidder *bidder, uint64_t bound)
{
    bidder->random ^= bidder->random << 13;
    bidder->random ^= bidder->random >> 7;
    bidder->random ^= bidder->random << 17;
    return bidder->random % bound;
}

bool bidder_next(struct bidder *bidder)
{
    const struct team *team = bidder->team;
    size_t n_items = team->race->n_items;
    struct bid *bid = &bidder->bid;

    if (bidder->n_over == n_items)
        return false;
    /* Who was too late tries again at once, while it knows the price. */
    if (!bidder->is_outbid)
        bidder->item = choose(bidder, n_items);
    while (bidder->prices[bidder->item] < 0)
        bidder->item = (bidder->item + 1) % n_items;

    bid->keys = team->race->items[bidder->item].keys;
    bid->amount = bidder->prices[bidder->item] + 1 + (int64_t)choose(bidder, 4);
    bid->at_ms = wall_ms();
    snprintf(bid->bidder, sizeof(bid->bidder), "p%zu-b%zu", team->process, bidder->number);
    snprintf(bid->id, sizeof(bid->id), "%.15s-%" PRIu64, bid->bidder, (uint64_t)++bidder->serial);
    return true;
}

void bidder_told(struct bidder *bidder, enum told told, int refusal)
{
    const struct bid *bid = &bidder->bid;
    struct told_bid line = {.told = told,
        .item = (uint32_t)bidder->item + 1,
        .amount = bid->amount,
        .at_ms = bid->at_ms};

    memcpy(line.id, bid->id, sizeof(line.id) - 1);
    ledger_add(bidder->team->ledger, &line);
    atomic_fetch_add_explicit(&bidder->team->tally.n[told], 1, memory_order_relaxed);

    bidder->is_outbid = told == TOLD_REFUSED && refusal == TOO_LOW;
    if (told == TOLD_ACCEPTED)
        bidder->prices[bidder->item] = bid->amount;
    else if (bidder->is_outbid)
        bidder->prices[bidder->item] = bid->price;
    else if (told == TOLD_REFUSED) {
        bidder->prices[bidder->item] = -1;
        bidder->n_over++;
    }
}
