/*
 * The ledger: see the header.
 */
#include "core/ledger.h"

#include "base/heap.h"
#include "base/resp.h"
#include "base/text.h"

#include <assert.h>
#include <string.h>

static const uint32_t kept_s = 60;
static const size_t min_capacity = 64;
static const int64_t least_pause_us = 100000;
static const int64_t most_pause_us = 3200000;

/* For so long others that have taken over may say so, before a slot is taken to have been away. */
static const int64_t patience_us = 1000000;

/* ---- Making and ending --------------------------------------------------------------------- */

static const gavel__question_ops question_ops;
static void audit(gavel__page *page);

void gavel__ledger_init(gavel__ledger *ledger, gavel__context *context, gavel__questions *questions,
    const gavel__ledger_config *config)
{
    *ledger = (gavel__ledger){.config = *config,
        .context = context,
        .questions = questions,
        .max_entries = GAVEL__LEDGER_MAX};
    gavel__list_init(&ledger->pages);
}

static gavel__page *page_at(gavel__list *node)
{
    return GAVEL__CONTAINER(node, gavel__page, node);
}

static void destroy(gavel__page *page)
{
    gavel__list_remove(&page->node);
    gavel__free(page->ledger->context->allocator, page);
}

void gavel__ledger_finish(gavel__ledger *ledger)
{
    while (!gavel__list_is_empty(&ledger->pages))
        destroy(page_at(ledger->pages.next));
    gavel__free(ledger->context->allocator, ledger->entries);
}

/* ---- Pages --------------------------------------------------------------------------------- */

/* Frees a page that nothing stands on. */
static void drop_if_over(gavel__page *page)
{
    if (page->n_pins == 0 && page->n_entries == 0 && !page->is_due &&
        page->question.state == GAVEL__QUESTION_IDLE)
        destroy(page);
}

void gavel__page_pin(gavel__page *page)
{
    if (page != NULL)
        page->n_pins++;
}

void gavel__page_leave(gavel__page *page)
{
    if (page == NULL)
        return;
    assert(page->n_pins > 0);
    page->n_pins--;
    drop_if_over(page);
}

/* A tenth of its life less than it has: clocks differ. */
static int64_t passes_us(const gavel__ledger *ledger)
{
    const gavel__ledger_config *config = &ledger->config;
    return config->read_lease_clock(config->clock) + config->marker_ttl_us / 10 * 9;
}

/* Of the node where its slot is. */
static gavel__epochs epochs_of(const gavel__page *page, int64_t since_us)
{
    const gavel__ledger_config *config = &page->ledger->config;
    return config->is_cluster ? config->epochs(config->nodes, page->question.slot, since_us)
                              : (gavel__epochs){0};
}

gavel__page *gavel__ledger_turn(
    gavel__ledger *ledger, gavel__page *page, const gavel__planted *planted)
{
    gavel__page_leave(page);
    if (!ledger->config.is_kept)
        return NULL;
    gavel__page *next = gavel__alloc(ledger->context->allocator, 1, sizeof(*next));
    if (next == NULL)
        return NULL;
    next->ledger = ledger;
    gavel__question_init(&next->question, &question_ops);
    next->question.is_of_history = true;
    memcpy(next->marker, planted->marker.data, planted->marker.size);
    next->marker_size = planted->marker.size;
    next->question.slot = gavel__slot_of(planted->marker);
    next->first_number = planted->first_number;
    next->number = planted->number;
    next->passes_us = passes_us(ledger);
    next->epochs = epochs_of(next, 0);
    next->n_pins = 1;
    gavel__list_append(&ledger->pages, &next->node);
    return next;
}

static gavel_bytes marker_of(const gavel__page *page)
{
    return (gavel_bytes){page->marker, page->marker_size};
}

void gavel__page_on_marker_gone(gavel__page *page)
{
    if (page == NULL || page->is_gone)
        return;
    gavel__list *pages = &page->ledger->pages;
    for (gavel__list *node = pages->next; node != pages; node = node->next) {
        if (gavel__bytes_equal(marker_of(page_at(node)), marker_of(page)))
            page_at(node)->is_gone = true;
    }
}

/* ---- Entries ------------------------------------------------------------------------------- */

static gavel__entry *entry_at(const gavel__ledger *ledger, size_t i)
{
    return &ledger->entries[(ledger->first + i) & (ledger->capacity - 1)];
}

static void drop_first(gavel__ledger *ledger)
{
    const gavel__entry *entry = entry_at(ledger, 0);
    gavel__page *page = entry->page;
    uint32_t round = entry->round;
    ledger->first++;
    ledger->n--;
    if (page == NULL)
        return;
    page->dropped = round > page->dropped ? round : page->dropped;
    page->n_entries--;
    drop_if_over(page);
}

/* It is full: what stands before the first one comes behind the last. Nothing else is copied, so
 * that who commits then does not wait for a million entries. */
static void grow(gavel__ledger *ledger)
{
    size_t before = ledger->capacity;
    size_t capacity = before > 0 ? 2 * before : min_capacity;
    if (capacity > ledger->max_entries)
        return;
    gavel__entry *entries = gavel__resize(
        ledger->context->allocator, ledger->entries, capacity, sizeof(*ledger->entries));
    if (entries == NULL)
        return;
    if (before > 0) {
        ledger->first &= before - 1;
        memcpy(entries + before, entries, ledger->first * sizeof(*entries));
    }
    ledger->entries = entries;
    ledger->capacity = capacity;
}

/* For one more; false: no memory at all. */
static bool make_room(gavel__ledger *ledger)
{
    if (ledger->n == ledger->capacity)
        grow(ledger);
    if (ledger->n == ledger->capacity && ledger->n > 0)
        drop_first(ledger);
    return ledger->n < ledger->capacity;
}

/* They were asked for in the same write as it was planted, or soon. */
static void learn_epochs(gavel__page *page)
{
    if (page->epochs.own == 0 && !page->has_moved)
        page->epochs = epochs_of(page, 0);
}

void gavel__page_enter(gavel__page *page, uint64_t number, gavel_ticket ticket, int64_t now_us)
{
    gavel__ledger *ledger = page->ledger;
    uint32_t now_s = (uint32_t)(now_us / 1000000);
    assert(number > page->number && number - page->number <= UINT32_MAX && page->n_pins > 0);
    uint32_t round = (uint32_t)(number - page->number);
    page->last = round > page->last ? round : page->last; /* one that was held may come late */
    while (ledger->n > 0 && now_s - entry_at(ledger, 0)->at_s > kept_s)
        drop_first(ledger);
    if (!make_room(ledger)) {
        page->dropped = round > page->dropped ? round : page->dropped;
        return;
    }
    *entry_at(ledger, ledger->n++) =
        (gavel__entry){.page = page, .ticket = ticket, .round = round, .at_s = now_s};
    page->n_entries++;
    learn_epochs(page);
    if (page->has_moved) /* by what its old node said, or what the marker says to a doubt */
        audit(page);
}

/* ---- Losses -------------------------------------------------------------------------------- */

static void tell_lost(gavel__page *page, gavel_ticket ticket, uint32_t at_s)
{
    gavel__audit *audit = &page->ledger->audit;
    gavel__context *context = page->ledger->context;
    if (ticket != 0 && (audit->oldest_s == 0 || at_s < audit->oldest_s))
        audit->oldest_s = at_s;
    if (page->may_be_lost) {
        audit->n_may_be_lost++;
        context->stats.n_may_be_lost++;
        gavel__context_tell_lost(context, GAVEL_EVENT_MAY_BE_LOST, ticket,
            ticket != 0 ? "its slot may have migrated, and a server have lost it"
                        : "a server may have lost more, told too long ago to be named");
        return;
    }
    audit->n_lost++;
    context->stats.n_lost++;
    gavel__context_tell_lost(context, GAVEL_EVENT_LOST, ticket,
        ticket != 0 ? "the server has lost it"
                    : "the server has lost more, told too long ago to be named");
}

/* The place of the oldest entry of the page; n: there is none. Rounds stand in no strict order
 * behind it. */
static size_t find_first(const gavel__page *page)
{
    const gavel__ledger *ledger = page->ledger;
    size_t i = ledger->n;
    for (size_t n_left = page->n_entries; n_left > 0;)
        n_left -= entry_at(ledger, --i)->page == page;
    return i;
}

/* The rounds of the page are in the data up to this one. */
static void judge(gavel__page *page, uint32_t kept)
{
    gavel__ledger *ledger = page->ledger;
    if (page->dropped > kept && page->dropped <= page->asked) {
        page->dropped = 0; /* told once */
        tell_lost(page, 0, 0);
    }
    for (size_t i = find_first(page); i < ledger->n && page->n_entries > 0; i++) {
        gavel__entry *entry = entry_at(ledger, i);
        if (entry->page != page || entry->round <= kept || entry->round > page->asked)
            continue;
        entry->page = NULL;
        page->n_entries--;
        tell_lost(page, entry->ticket, entry->at_s);
    }
}

static void on_absent(gavel__page *page)
{
    const gavel__ledger_config *config = &page->ledger->config;
    if (page->is_gone || config->read_lease_clock(config->clock) >= page->passes_us)
        return;
    page->is_whole = false;
    if (!page->has_migrated)
        judge(page, 0);
}

static void on_number(gavel__page *page, uint64_t number)
{
    uint64_t rounds = number > page->number ? number - page->number : 0;
    if (number != 0 && number < page->first_number)
        return;
    page->is_whole = rounds >= page->asked;
    if (!page->has_migrated)
        judge(page, rounds < UINT32_MAX ? (uint32_t)rounds : UINT32_MAX);
}

/* Its slot has migrated, and what the marker says is known. */
static void judge_migrated(gavel__page *page)
{
    const gavel__ledger_config *config = &page->ledger->config;
    int64_t fell_us = config->fell_us(config->nodes, page->question.slot);
    page->may_be_lost = page->may_be_lost || !page->is_whole;
    if (page->may_be_lost)
        judge(page, 0);
    else if (fell_us == GAVEL__NEVER)
        page->is_refused = true; /* asked again when the node has said more */
}

/* Whether something was entered before, or then. */
static bool has_entry_of(const gavel__page *page, int64_t at_us)
{
    const gavel__ledger *ledger = page->ledger;
    return page->dropped > 0 ||
           (page->n_entries > 0 && entry_at(ledger, find_first(page))->at_s <= at_us / 1000000);
}

/* It has answered, and its slot may have been away before. */
static void judge_unseen(gavel__page *page, int64_t now_us)
{
    const gavel__ledger_config *config = &page->ledger->config;
    if (page->stayed_us == 0)
        page->stayed_us = now_us;
    gavel__epochs epochs = epochs_of(page, page->stayed_us);
    bool is_mute = epochs.at_us != 0 && now_us - page->stayed_us >= patience_us;
    if (epochs.own == 0 && !is_mute) {
        page->is_refused = true; /* asked again when the node has said more */
        return;
    }
    if (epochs.own != 0 && config->has_stayed(config->nodes, page->question.slot, &page->epochs)) {
        page->epochs = epochs;
    } else if (now_us - page->unseen_us < patience_us) {
        page->is_refused = true;
        return;
    } else {
        page->has_migrated = true;
        page->been_at = UINT64_MAX;
        page->may_be_lost = page->may_be_lost || has_entry_of(page, page->unseen_us);
    }
    page->unseen_us = page->stayed_us = 0;
}

void gavel__page_on_fallen(gavel__page *page, uint64_t number)
{
    if (page == NULL)
        return;
    gavel__list *pages = &page->ledger->pages;
    gavel__list *next;
    for (gavel__list *node = pages->next; node != pages; node = next) {
        gavel__page *other = page_at(node);
        next = node->next;
        if (!gavel__bytes_equal(marker_of(other), marker_of(page)))
            continue;
        other->asked = other->last;
        other->is_whole = true;
        on_number(other, number);
        if (other->has_migrated)
            judge_migrated(other);
        drop_if_over(other);
    }
}

/* ---- Asking -------------------------------------------------------------------------------- */

static void set_due(gavel__page *page, bool is_due, int64_t ask_us)
{
    page->ledger->n_due += (size_t)is_due - (size_t)page->is_due;
    page->is_due = is_due;
    page->ask_us = ask_us;
}

static void ask(gavel__page *page)
{
    set_due(page, false, 0);
    gavel__question_ask(page->ledger->questions, &page->question);
}

static gavel__page *page_of(gavel__question *question)
{
    return GAVEL__CONTAINER(question, gavel__page, question);
}

/* It changes nothing. */
static void write_trial(const gavel__page *page, gavel__buffer *out)
{
    char storage[GAVEL__MARKER_SIZE];
    gavel_bytes nothing =
        gavel__name_of_nothing(page->ledger->config.key_prefix, page->question.slot, storage);
    gavel_bytes args[] = {GAVEL_STR("PEXPIRE"), nothing, GAVEL_STR("1")};
    gavel__resp_command(out, args, 3);
}

static size_t write(gavel__question *question, gavel__buffer *out, int64_t now_us)
{
    gavel__page *page = page_of(question);
    gavel_stats *stats = &page->ledger->context->stats;
    size_t n_commands = 1 + page->ledger->config.is_cluster;
    (void)now_us;
    page->asked = page->last;
    page->is_refused = false;
    page->is_whole = true;
    if (page->ledger->config.is_cluster)
        write_trial(page, out);
    gavel__resp_command(out, (const gavel_bytes[]){GAVEL_STR("GET"), marker_of(page)}, 2);
    stats->n_marker_commands += n_commands;
    stats->n_round_trips++;
    return n_commands;
}

static void on_marker(gavel__page *page, const gavel_reply *reply)
{
    int64_t number = -1;
    if (reply->type == GAVEL_REPLY_NIL)
        on_absent(page);
    else if (reply->type == GAVEL_REPLY_STRING && gavel__parse_int(reply->text, &number) &&
             number >= 0)
        on_number(page, (uint64_t)number);
}

/* A node may not know for long that it was replaced, and a slot be long on its way. */
static void ask_later(gavel__page *page, int64_t now_us)
{
    int64_t pause_us = page->pause_us > 0 ? 2 * page->pause_us : least_pause_us;
    page->pause_us = pause_us < most_pause_us ? pause_us : most_pause_us;
    set_due(page, true, now_us + page->pause_us);
}

/* While its slot has had no other node since it was planted it does not matter: what was told there
 * that node has, whoever else has gone on with its data. */
static bool is_replaced(const gavel__page *page)
{
    const gavel__ledger_config *config = &page->ledger->config;
    return page->has_moved && config->is_replaced(config->nodes, page->question.slot);
}

static void on_reply(gavel__question *question, size_t i, const gavel_reply *reply, int64_t now_us)
{
    gavel__page *page = page_of(question);
    page->is_refused = page->is_refused || reply->type == GAVEL_REPLY_ERROR;
    if (page->ledger->config.is_cluster && i == 0)
        return;
    page->is_refused = page->is_refused || is_replaced(page);
    if (!page->is_refused && page->unseen_us != 0)
        judge_unseen(page, now_us);
    if (!page->is_refused)
        on_marker(page, reply);
    if (!page->is_refused && page->has_migrated)
        judge_migrated(page);
    if (page->is_refused)
        ask_later(page, now_us);
    else
        page->pause_us = 0;
    if (!page->is_refused && page->is_due) /* another audit has come meanwhile */
        ask(page);
    else
        drop_if_over(page);
}

static void on_loss(
    gavel__question *question, const gavel__loss *loss, bool was_sent, int64_t now_us)
{
    gavel__page *page = page_of(question);
    (void)was_sent;
    (void)now_us;
    if (loss->is_final)
        set_due(page, true, GAVEL__NEVER);
    else
        ask(page);
}

static const gavel__question_ops question_ops = {write, on_reply, on_loss};

/* Once more, if it is being asked already. */
static void audit(gavel__page *page)
{
    if (page->n_entries == 0 && page->dropped == 0)
        return;
    page->pause_us = 0;
    if (page->question.state == GAVEL__QUESTION_IDLE)
        ask(page);
    else if (page->question.state == GAVEL__QUESTION_ASKED)
        set_due(page, true, GAVEL__NEVER);
}

/* A node has fallen: may its slot have been there? Between two looks at the map one that has
 * migrated may have been anywhere. Of one whose node has not said its epoch yet it is not known.
 * False: no, or nobody may ask for epochs. */
static bool suspect(gavel__page *page, int64_t now_us)
{
    const gavel__epochs *epochs = &page->epochs;
    bool is_open = epochs->own == 0 && epochs->at_us == 0 && has_entry_of(page, now_us);
    if (page->has_migrated || is_open) {
        page->has_migrated = true;
        page->may_be_lost = true;
        return true;
    }
    if (epochs->own == 0)
        return false;
    page->unseen_us = now_us;
    page->stayed_us = 0;
    return true;
}

void gavel__ledger_audit(gavel__ledger *ledger, gavel__is_meant *is_meant, const void *user)
{
    for (gavel__list *node = ledger->pages.next; node != &ledger->pages; node = node->next) {
        if (is_meant(user, page_at(node)->question.slot))
            audit(page_at(node));
    }
}

void gavel__ledger_on_takeover(gavel__ledger *ledger, const gavel__takeover *takeover)
{
    for (gavel__list *node = ledger->pages.next; node != &ledger->pages; node = node->next) {
        gavel__page *page = page_at(node);
        if (!takeover->is_meant(takeover->user, page->question.slot))
            continue;
        page->has_moved = true;
        page->is_refused = true;
        suspect(page, takeover->now_us);
        audit(page);
    }
}

void gavel__ledger_on_migration(gavel__ledger *ledger, gavel__migrated *migrated, const void *user)
{
    for (gavel__list *node = ledger->pages.next; node != &ledger->pages; node = node->next) {
        gavel__page *page = page_at(node);
        gavel__migration way;
        if (!migrated(user, page->question.slot, &way))
            continue;
        page->has_moved = true;
        page->has_migrated = true;
        page->may_be_lost = page->may_be_lost || page->unseen_us != 0;
        page->unseen_us = 0;
        page->been_at |= UINT64_C(1) << way.from % 64 | UINT64_C(1) << way.to % 64;
        page->may_be_lost =
            page->may_be_lost || (way.fell_us != 0 && has_entry_of(page, way.fell_us));
        page->is_refused = true;
        audit(page);
    }
}

void gavel__page_on_guest(gavel__page *page, uint16_t from, uint16_t to)
{
    if (page == NULL)
        return;
    page->has_migrated = true;
    page->been_at |= UINT64_C(1) << from % 64 | UINT64_C(1) << to % 64;
}

void gavel__ledger_on_epochs(gavel__ledger *ledger)
{
    for (gavel__list *node = ledger->pages.next; node != &ledger->pages; node = node->next)
        learn_epochs(page_at(node));
}

void gavel__ledger_on_fall(gavel__ledger *ledger, uint16_t node)
{
    for (gavel__list *at = ledger->pages.next; at != &ledger->pages; at = at->next) {
        gavel__page *page = page_at(at);
        if ((page->been_at >> node % 64 & 1) == 0)
            continue;
        page->may_be_lost = true;
        audit(page);
    }
}

void gavel__ledger_suspect(gavel__ledger *ledger, int64_t now_us)
{
    for (gavel__list *at = ledger->pages.next; at != &ledger->pages; at = at->next) {
        gavel__page *page = page_at(at);
        if (suspect(page, now_us))
            audit(page);
    }
}

static void ask_due(gavel__ledger *ledger, int64_t now_us)
{
    for (gavel__list *node = ledger->pages.next; node != &ledger->pages; node = node->next) {
        gavel__page *page = page_at(node);
        if (page->is_due && page->question.state == GAVEL__QUESTION_IDLE && page->ask_us <= now_us)
            ask(page);
    }
}

void gavel__ledger_on_link_up(gavel__ledger *ledger)
{
    if (ledger->n_due > 0)
        ask_due(ledger, GAVEL__NEVER);
}

void gavel__ledger_advance(gavel__ledger *ledger, int64_t now_us)
{
    if (ledger->n_due > 0)
        ask_due(ledger, now_us);
}

int64_t gavel__ledger_due_us(const gavel__ledger *ledger)
{
    int64_t due_us = GAVEL__NEVER;
    if (ledger->n_due == 0)
        return due_us;
    for (gavel__list *node = ledger->pages.next; node != &ledger->pages; node = node->next) {
        const gavel__page *page = page_at(node);
        if (page->is_due && page->question.state == GAVEL__QUESTION_IDLE && page->ask_us < due_us)
            due_us = page->ask_us;
    }
    return due_us;
}

bool gavel__ledger_take_audit(gavel__ledger *ledger, gavel__audit *ret_audit)
{
    if (ledger->audit.n_lost == 0 && ledger->audit.n_may_be_lost == 0)
        return false;
    for (gavel__list *node = ledger->pages.next; node != &ledger->pages; node = node->next) {
        if (page_at(node)->is_due || page_at(node)->question.state != GAVEL__QUESTION_IDLE)
            return false;
    }
    *ret_audit = ledger->audit;
    ledger->audit = (gavel__audit){.n_lost = 0};
    return true;
}
