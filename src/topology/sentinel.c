/*
 * Sentinels: see the header.
 */
#include "topology/sentinel.h"

#include "base/heap.h"
#include "base/resp.h"
#include "base/text.h"
#include "topology/promotion.h"

#include <assert.h>
#include <string.h>

/* How often a Sentinel is asked while all is well, at most; and while it is not. */
static const int64_t calm_pause_us = 1000000;
static const int64_t urgent_pause_us = 50000;

/* Who is eager asks those who lead a failover so often. */
static const int64_t eager_pause_us = 20000;

/* However often something speaks against the primary. */
static const int64_t least_pause_us = 10000;

/* How often it is asked for the others; and at most, when one is lost. */
static const int64_t list_pause_us = 600000000;
static const int64_t least_list_pause_us = 5000000;

/* One that nobody has named for so long is counted no more: it was taken away for good. */
static const int64_t gone_us = 1500000000;

/* For so long one who knows the higher epoch is believed alone: the others hear of it within two
 * seconds. */
static const int64_t raise_us = 10000000;

/* If nobody has named our primary for so long, it is none any more. */
static const int64_t forget_us = 10000000;

/* Where no Sentinel has told its down-after. */
static const int64_t default_down_after_us = 30000000;

/* What is asked, in this order. */
enum { ASKED_ID, ASKED_MASTER, ASKED_ADDRESS, ASKED_INFO, ASKED_REPLICAS, ASKED_SENTINELS };

/* ---- Making and ending --------------------------------------------------------------------- */

void gavel__sentinels_init(
    gavel__sentinels *sentinels, const gavel_allocator *allocator, const char *service)
{
    *sentinels =
        (gavel__sentinels){.allocator = allocator, .service = service, .raised_us = GAVEL__NEVER};
}

void gavel__sentinels_finish(gavel__sentinels *sentinels)
{
    gavel__free(sentinels->allocator, sentinels->all);
    sentinels->all = NULL;
    sentinels->n = 0;
}

static gavel__sentinel *find_place(
    const gavel__sentinels *sentinels, const gavel__place_name *place)
{
    for (uint32_t i = 0; i < sentinels->n; i++) {
        if (gavel__place_is_same(&sentinels->all[i].place, place))
            return &sentinels->all[i];
    }
    return NULL;
}

static bool has_id(const gavel__sentinel *sentinel, gavel_bytes id)
{
    return !sentinel->is_double && gavel__bytes_equal(gavel_str(sentinel->id), id);
}

/* Another place than this one where it is known to be. */
static gavel__sentinel *find_id(
    const gavel__sentinels *sentinels, gavel_bytes id, const gavel__sentinel *but)
{
    for (uint32_t i = 0; i < sentinels->n; i++) {
        if (&sentinels->all[i] != but && has_id(&sentinels->all[i], id))
            return &sentinels->all[i];
    }
    return NULL;
}

/* NULL: no memory, or there are too many. */
static gavel__sentinel *add(gavel__sentinels *sentinels, const gavel__place_name *place)
{
    gavel__sentinel *found = find_place(sentinels, place);
    if (found != NULL)
        return found;
    if (sentinels->all == NULL)
        sentinels->all =
            gavel__alloc(sentinels->allocator, GAVEL__SENTINELS_MAX, sizeof(*sentinels->all));
    if (sentinels->all == NULL || sentinels->n == GAVEL__SENTINELS_MAX)
        return NULL;
    gavel__sentinel *sentinel = &sentinels->all[sentinels->n++];
    *sentinel = (gavel__sentinel){.place = *place};
    return sentinel;
}

bool gavel__sentinels_add(gavel__sentinels *sentinels, const char *host, int port)
{
    gavel__place_name place = {.port = port};
    gavel__format(place.host, sizeof(place.host), "%s", host);
    return add(sentinels, &place) != NULL;
}

/* ---- Asking -------------------------------------------------------------------------------- */

bool gavel__sentinels_wants(const gavel__sentinels *sentinels, uint32_t i, int64_t now_us)
{
    const gavel__sentinel *sentinel = &sentinels->all[i];
    return !sentinel->is_double && sentinel->n_awaited == 0 && sentinel->ask_us <= now_us;
}

static void expect(gavel__sentinel *sentinel, uint8_t what)
{
    sentinel->awaited[sentinel->n_awaited++] = what;
}

static void ask(gavel__buffer *out, gavel_bytes what, const char *service)
{
    const gavel_bytes args[] = {GAVEL_STR("SENTINEL"), what, gavel_str(service)};
    gavel__resp_command(out, args, service != NULL ? 3 : 2);
}

/* Whether it had a failover under way when it was last asked. */
static bool leads(const gavel__sentinel *sentinel)
{
    return sentinel->has_testimony &&
           (sentinel->testimony.is_failing_over || sentinel->testimony.is_tilted);
}

size_t gavel__sentinels_ask(
    gavel__sentinels *sentinels, uint32_t i, gavel__buffer *out, int64_t now_us)
{
    gavel__sentinel *sentinel = &sentinels->all[i];
    assert(gavel__sentinels_wants(sentinels, i, now_us));
    sentinel->i_awaited = 0;
    sentinel->incoming = (gavel__testimony){.asked_us = now_us};
    if (!sentinel->is_identified) {
        ask(out, GAVEL_STR("MYID"), NULL);
        expect(sentinel, ASKED_ID);
    }
    ask(out, GAVEL_STR("MASTER"), sentinels->service);
    expect(sentinel, ASKED_MASTER);
    ask(out, GAVEL_STR("GET-MASTER-ADDR-BY-NAME"), sentinels->service);
    expect(sentinel, ASKED_ADDRESS);
    if (leads(sentinel)) {
        gavel__resp_command(
            out, (const gavel_bytes[]){GAVEL_STR("INFO"), GAVEL_STR("sentinel")}, 2);
        expect(sentinel, ASKED_INFO);
    }
    bool is_due = sentinels->wants_replicas && sentinels->replicas_us <= now_us;
    if (is_due || (sentinels->is_eager && leads(sentinel))) {
        sentinels->replicas_us = now_us + calm_pause_us;
        ask(out, GAVEL_STR("REPLICAS"), sentinels->service);
        expect(sentinel, ASKED_REPLICAS);
    }
    if (sentinel->list_us <= now_us) {
        sentinel->list_us = now_us + list_pause_us;
        ask(out, GAVEL_STR("SENTINELS"), sentinels->service);
        expect(sentinel, ASKED_SENTINELS);
    }
    return sentinel->n_awaited;
}

/* ---- What they say ------------------------------------------------------------------------- */

static void set_id(gavel__sentinel *sentinel, gavel_bytes id, int64_t now_us)
{
    memcpy(sentinel->id, id.data, id.size);
    sentinel->id[id.size] = '\0';
    sentinel->known_us = now_us;
}

static bool is_id(gavel_bytes id)
{
    return id.size > 0 && id.size < GAVEL__SENTINEL_ID_SIZE;
}

static void take_sentinels(gavel__sentinels *sentinels, const gavel_reply *reply, int64_t now_us)
{
    for (size_t i = 0; reply->type == GAVEL_REPLY_ARRAY && i < reply->n_elements; i++) {
        const gavel_reply *other = &reply->elements[i];
        gavel__place_name place;
        gavel_bytes id;
        if (!gavel__testimony_of_other(other, &id, &place) || !is_id(id))
            continue;
        gavel__sentinel *known = find_id(sentinels, id, NULL);
        if (known != NULL)
            known->known_us = now_us;
        if (known != NULL && !known->is_lost)
            continue;
        gavel__sentinel *sentinel = add(sentinels, &place);
        if (sentinel == NULL)
            return;
        if (!sentinel->is_identified && !sentinel->is_double)
            set_id(sentinel, id, now_us);
    }
}

/* It may be known already: by a name in the URL, and by its address from the others; or another one
 * has told who is at this place before it did itself. */
static void take_id(
    gavel__sentinels *sentinels, gavel__sentinel *sentinel, gavel_bytes id, int64_t now_us)
{
    if (!is_id(id))
        return;
    gavel__sentinel *known = find_id(sentinels, id, sentinel);
    set_id(sentinel, id, now_us);
    sentinel->is_identified = true;
    if (known == NULL)
        return;
    bool is_there = known->is_identified && !known->is_lost;
    sentinel->is_double = is_there;
    known->is_double = !is_there;
}

static void take(gavel__sentinels *sentinels, gavel__sentinel *sentinel, const gavel_reply *reply,
    int64_t now_us)
{
    gavel_bytes id = {"", 0};
    switch (sentinel->awaited[sentinel->i_awaited]) {
    case ASKED_ID:
        gavel_reply_text(reply, &id);
        take_id(sentinels, sentinel, id, now_us);
        break;
    case ASKED_MASTER:
        gavel__testimony_take_master(&sentinel->incoming, reply);
        break;
    case ASKED_ADDRESS:
        gavel__testimony_take_address(&sentinel->incoming, reply);
        break;
    case ASKED_INFO:
        gavel__testimony_take_info(&sentinel->incoming, reply);
        break;
    case ASKED_REPLICAS:
        if (sentinels->is_eager && leads(sentinel))
            gavel__testimony_take_replicas(&sentinel->incoming, reply);
        if (gavel__place_is_same(&sentinel->incoming.primary, &sentinels->primary) &&
            gavel__testimony_of_replicas(reply, sentinels->replicas, &sentinels->n_replicas))
            sentinels->replicas_version++;
        break;
    case ASKED_SENTINELS:
        take_sentinels(sentinels, reply, now_us);
        break;
    }
}

/* ---- What follows from it ------------------------------------------------------------------ */

/* How long a primary that owes no answer stays one, at least, but for clocks that differ. */
static int64_t window_us(const gavel__sentinels *sentinels)
{
    int64_t down_after_us = GAVEL__NEVER;
    for (uint32_t i = 0; i < sentinels->n; i++) {
        const gavel__sentinel *sentinel = &sentinels->all[i];
        if (sentinel->has_testimony && sentinel->testimony.down_after_us > 0 &&
            sentinel->testimony.down_after_us < down_after_us)
            down_after_us = sentinel->testimony.down_after_us;
    }
    if (down_after_us == GAVEL__NEVER)
        down_after_us = default_down_after_us;
    return down_after_us / 10 * 9;
}

/* Whether it is one of those that there are, as far as is known, and is not counted already. */
static bool counts(const gavel__sentinels *sentinels, uint32_t i, int64_t now_us)
{
    const gavel__sentinel *sentinel = &sentinels->all[i];
    if (sentinel->is_double || sentinel->id[0] == '\0' || now_us - sentinel->known_us > gone_us)
        return false;
    const gavel__sentinel *first = find_id(sentinels, gavel_str(sentinel->id), NULL);
    return first == sentinel || now_us - first->known_us > gone_us;
}

uint32_t gavel__sentinels_majority(const gavel__sentinels *sentinels, int64_t now_us)
{
    uint32_t n_known = 0;
    for (uint32_t i = 0; i < sentinels->n; i++)
        n_known += counts(sentinels, i, now_us);
    for (uint32_t i = 0; i < sentinels->n; i++) {
        const gavel__sentinel *sentinel = &sentinels->all[i];
        bool is_recent = now_us - sentinel->known_us <= gone_us;
        if (sentinel->has_testimony && is_recent && sentinel->testimony.n_others + 1 > n_known)
            n_known = sentinel->testimony.n_others + 1;
    }
    return n_known / 2 + 1;
}

/*
 * Since when so many have vouched for it, at least: the time of the last of them, if there are no
 * more than needed. INT64_MIN: there are fewer. Only those count who do not take it
 * to be down.
 */
static int64_t agreed_us(
    const gavel__sentinels *sentinels, const gavel__testimony *said, uint32_t n_needed)
{
    int64_t times[GAVEL__SENTINELS_MAX];
    uint32_t n = 0;
    for (uint32_t i = 0; i < sentinels->n; i++) {
        const gavel__sentinel *sentinel = &sentinels->all[i];
        if (!gavel__sentinel_names(sentinel, &said->primary, said->epoch) ||
            sentinel->testimony.is_down)
            continue;
        uint32_t place = n++; /* the latest first */
        for (; place > 0 && times[place - 1] < sentinel->testimony.vouches_us; place--)
            times[place] = times[place - 1];
        times[place] = sentinel->testimony.vouches_us;
    }
    return n >= n_needed ? times[n_needed - 1] : INT64_MIN;
}

/* Whether its last words are not too old to say where a primary is. */
static bool has_news(const gavel__sentinel *sentinel, int64_t now_us)
{
    return !sentinel->is_double && sentinel->has_testimony &&
           now_us - sentinel->testimony.asked_us <= forget_us;
}

/* The one who names the highest epoch. NULL: nobody names any. */
static const gavel__sentinel *find_best(const gavel__sentinels *sentinels, int64_t now_us)
{
    const gavel__sentinel *best = NULL;
    for (uint32_t i = 0; i < sentinels->n; i++) {
        const gavel__sentinel *sentinel = &sentinels->all[i];
        if (has_news(sentinel, now_us) &&
            (best == NULL || sentinel->testimony.epoch > best->testimony.epoch))
            best = sentinel;
    }
    return best;
}

static void go_to(gavel__sentinels *sentinels, const gavel__place_name *primary)
{
    sentinels->primary = *primary;
    sentinels->generation++;
    sentinels->trusted_until_us = INT64_MIN;
}

static void follow(gavel__sentinels *sentinels, const gavel__testimony *said, int64_t raised_us)
{
    sentinels->epoch = said->epoch;
    sentinels->named_us = said->asked_us;
    sentinels->raised_us = raised_us;
    sentinels->is_provisional = false;
    if (!gavel__place_is_same(&sentinels->primary, &said->primary))
        go_to(sentinels, &said->primary);
}

/* It was told to take over, and nobody names it yet. */
static void follow_promoted(gavel__sentinels *sentinels, const gavel__sentinel *leader)
{
    if (!sentinels->is_provisional)
        sentinels->settled = sentinels->primary;
    sentinels->is_provisional = true;
    sentinels->leader = (uint32_t)(leader - sentinels->all);
    sentinels->promoted_us = leader->testimony.asked_us;
    sentinels->named_us = leader->testimony.asked_us;
    go_to(sentinels, &leader->testimony.promoted);
}

/* The failover was given up, and the primary before it goes on. */
static void go_back(gavel__sentinels *sentinels, int64_t now_us)
{
    sentinels->is_provisional = false;
    sentinels->named_us = now_us;
    go_to(sentinels, &sentinels->settled);
}

/* Whether a majority says so. */
static bool is_agreed(
    const gavel__sentinels *sentinels, const gavel__testimony *said, int64_t now_us)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < sentinels->n; i++) {
        const gavel__sentinel *sentinel = &sentinels->all[i];
        n += has_news(sentinel, now_us) &&
             gavel__sentinel_names(sentinel, &said->primary, said->epoch);
    }
    return n >= gavel__sentinels_majority(sentinels, now_us);
}

/* Of another primary than ours, and no later epoch: whether it is to be followed all the same, for
 * nobody names ours any more. */
static bool is_set_up_anew(
    const gavel__sentinels *sentinels, const gavel__testimony *said, int64_t now_us)
{
    return now_us - sentinels->named_us > forget_us && is_agreed(sentinels, said, now_us);
}

static void note_names(gavel__sentinels *sentinels)
{
    for (uint32_t i = 0; i < sentinels->n; i++) {
        const gavel__sentinel *sentinel = &sentinels->all[i];
        if (gavel__sentinel_names(sentinel, &sentinels->primary, sentinels->epoch) &&
            sentinel->testimony.asked_us > sentinels->named_us)
            sentinels->named_us = sentinel->testimony.asked_us;
    }
}

static void find_promoted(gavel__sentinels *sentinels, int64_t now_us)
{
    const gavel__sentinel *leader = gavel__promotion_find_leader(sentinels, now_us);
    if (sentinels->is_eager && leader != NULL && leader->testimony.is_promoting &&
        leader->testimony.promoted.host[0] != '\0') {
        if (gavel__place_is_same(&leader->testimony.promoted, &sentinels->primary))
            sentinels->named_us = leader->testimony.asked_us;
        else
            follow_promoted(sentinels, leader);
    } else if (sentinels->is_provisional && gavel__promotion_is_given_up(sentinels, now_us)) {
        go_back(sentinels, now_us);
    }
}

static void find_primary(gavel__sentinels *sentinels, int64_t now_us)
{
    const gavel__sentinel *best = find_best(sentinels, now_us);
    if (best == NULL)
        return;
    const gavel__testimony *said = &best->testimony;
    note_names(sentinels);
    if (sentinels->generation == 0) {
        /* Nothing is known that this one could be behind of. */
        if (is_agreed(sentinels, said, now_us) || sentinels->may_go_without)
            follow(sentinels, said, GAVEL__NEVER);
    } else if (said->epoch > sentinels->epoch) {
        follow(sentinels, said, said->asked_us);
    } else if (is_set_up_anew(sentinels, said, now_us)) {
        follow(sentinels, said, GAVEL__NEVER);
    } else {
        find_promoted(sentinels, now_us);
    }
}

uint32_t gavel__sentinels_count_answers(const gavel__sentinels *sentinels, int64_t now_us)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < sentinels->n; i++) {
        const gavel__sentinel *sentinel = &sentinels->all[i];
        n += !sentinel->is_double && sentinel->has_testimony &&
             now_us - sentinel->testimony.asked_us <= window_us(sentinels);
    }
    return n;
}

/* Whether a Sentinel has a failover under way that will replace it. */
static bool is_being_replaced(const gavel__sentinels *sentinels, int64_t now_us)
{
    for (uint32_t i = 0; i < sentinels->n; i++) {
        const gavel__sentinel *sentinel = &sentinels->all[i];
        if (gavel__sentinel_names(sentinel, &sentinels->primary, sentinels->epoch) &&
            sentinel->testimony.is_failing_over &&
            now_us - sentinel->testimony.asked_us <= calm_pause_us)
            return true;
    }
    return false;
}

/* Since when it is vouched for; INT64_MIN: it is not. */
static int64_t vouched_us(const gavel__sentinels *sentinels, int64_t now_us)
{
    const gavel__testimony ours = {.primary = sentinels->primary, .epoch = sentinels->epoch};
    int64_t since_us = agreed_us(sentinels, &ours, gavel__sentinels_majority(sentinels, now_us));
    if (sentinels->raised_us != GAVEL__NEVER && now_us - sentinels->raised_us <= raise_us) {
        int64_t one_us = agreed_us(sentinels, &ours, 1);
        since_us = one_us > since_us ? one_us : since_us;
    }
    if (sentinels->may_go_without && gavel__sentinels_count_answers(sentinels, now_us) <
                                         gavel__sentinels_majority(sentinels, now_us))
        since_us = now_us;
    return since_us;
}

static void find_trust(gavel__sentinels *sentinels, int64_t now_us)
{
    if (sentinels->generation == 0)
        return;
    if (sentinels->is_provisional) {
        sentinels->trusted_until_us =
            gavel__promotion_trusted_until_us(sentinels, window_us(sentinels), now_us);
        return;
    }
    int64_t since_us = vouched_us(sentinels, now_us);
    if (since_us != INT64_MIN && since_us + window_us(sentinels) > sentinels->trusted_until_us)
        sentinels->trusted_until_us = since_us + window_us(sentinels);
    if (is_being_replaced(sentinels, now_us) && sentinels->trusted_until_us > now_us)
        sentinels->trusted_until_us = now_us;
}

/* Whether all is well: then they are asked now and then only. */
static bool is_calm(const gavel__sentinels *sentinels, int64_t now_us)
{
    for (uint32_t i = 0; i < sentinels->n; i++) {
        const gavel__sentinel *sentinel = &sentinels->all[i];
        if (sentinel->has_testimony && !sentinel->is_double &&
            (sentinel->testimony.is_down || sentinel->testimony.is_failing_over))
            return false;
    }
    return sentinels->trusted_until_us > now_us;
}

static int64_t pause_us(
    const gavel__sentinels *sentinels, const gavel__sentinel *sentinel, int64_t now_us)
{
    if (sentinels->is_eager && leads(sentinel))
        return eager_pause_us;
    if (!is_calm(sentinels, now_us))
        return urgent_pause_us;
    int64_t quarter_us = window_us(sentinels) / 4;
    return quarter_us < calm_pause_us ? quarter_us : calm_pause_us;
}

static bool denies(const gavel_reply *reply)
{
    return reply->type == GAVEL_REPLY_ERROR &&
           gavel__bytes_start_with(reply->text, GAVEL_STR("ERR No such master"));
}

static void note_hope(gavel__sentinel *sentinel, bool has_hope, int64_t now_us)
{
    if (has_hope)
        sentinel->hopeless_us = 0;
    else if (sentinel->hopeless_us == 0)
        sentinel->hopeless_us = now_us;
}

/* Why it names no primary, of its answer to MASTER. */
static void explain_answer(
    const gavel__sentinels *sentinels, gavel__sentinel *sentinel, const gavel_reply *reply)
{
    char place[GAVEL__PLACE_TEXT_SIZE];
    char service[64];
    char words[96] = "it does not say where that is";
    if (reply->type == GAVEL_REPLY_ERROR)
        gavel__printable(reply->text, words, sizeof(words));
    gavel__format(sentinel->trouble, sizeof(sentinel->trouble), "Sentinel %s, asked for \"%s\": %s",
        gavel__format_place(place, sizeof(place), sentinel->place.host, sentinel->place.port),
        gavel__printable(gavel_str(sentinels->service), service, sizeof(service)), words);
}

static void conclude(gavel__sentinels *sentinels, gavel__sentinel *sentinel, int64_t now_us)
{
    sentinel->n_awaited = 0;
    sentinel->is_lost = false;
    sentinel->known_us = now_us;
    sentinel->has_testimony =
        sentinel->incoming.primary.host[0] != '\0' && sentinel->incoming.watched.host[0] != '\0';
    sentinel->testimony = sentinel->incoming;
    if (sentinel->has_testimony)
        sentinel->trouble[0] = '\0';
    find_primary(sentinels, now_us);
    find_trust(sentinels, now_us);
    sentinel->ask_us = sentinel->incoming.asked_us + pause_us(sentinels, sentinel, now_us);
}

void gavel__sentinels_on_reply(
    gavel__sentinels *sentinels, uint32_t i, const gavel_reply *reply, int64_t now_us)
{
    gavel__sentinel *sentinel = &sentinels->all[i];
    assert(sentinel->i_awaited < sentinel->n_awaited);
    bool is_master = sentinel->awaited[sentinel->i_awaited] == ASKED_MASTER;
    take(sentinels, sentinel, reply, now_us);
    if (is_master) {
        explain_answer(sentinels, sentinel, reply);
        note_hope(sentinel, !denies(reply), sentinel->incoming.asked_us);
    }
    if (++sentinel->i_awaited == sentinel->n_awaited)
        conclude(sentinels, sentinel, now_us);
}

/* It may be elsewhere by now: at a place that was taken for the same one, or one that the others
 * know. */
static void look_elsewhere(gavel__sentinels *sentinels, const gavel__sentinel *lost, int64_t now_us)
{
    for (uint32_t i = 0; i < sentinels->n; i++) {
        gavel__sentinel *other = &sentinels->all[i];
        int64_t soon_us = other->list_us - list_pause_us + least_list_pause_us;
        if (soon_us < now_us)
            soon_us = now_us;
        if (soon_us < other->list_us)
            other->list_us = soon_us;
        if (!other->is_double || strcmp(other->id, lost->id) != 0)
            continue;
        other->is_double = false;
        other->is_identified = false;
        other->has_testimony = false;
        other->ask_us = now_us;
    }
}

void gavel__sentinels_on_loss(
    gavel__sentinels *sentinels, uint32_t i, const gavel__sentinel_loss *loss, int64_t now_us)
{
    gavel__sentinel *sentinel = &sentinels->all[i];
    sentinel->n_awaited = 0;
    sentinel->is_identified = false;
    if (sentinel->is_double)
        return;
    sentinel->is_lost = true;
    note_hope(sentinel, !loss->is_final, now_us);
    look_elsewhere(sentinels, sentinel, now_us);
    sentinel->ask_us = now_us + pause_us(sentinels, sentinel, now_us);
    gavel__format(sentinel->trouble, sizeof(sentinel->trouble), "%s", loss->message);
}

void gavel__sentinels_urge(gavel__sentinels *sentinels, int64_t now_us)
{
    for (uint32_t i = 0; i < sentinels->n; i++) {
        gavel__sentinel *sentinel = &sentinels->all[i];
        int64_t soon_us = sentinel->incoming.asked_us + least_pause_us;
        if (soon_us < now_us || sentinel->incoming.asked_us == 0)
            soon_us = now_us;
        if (soon_us < sentinel->ask_us)
            sentinel->ask_us = soon_us;
    }
}

/* ---- Time ---------------------------------------------------------------------------------- */

void gavel__sentinels_advance(gavel__sentinels *sentinels, int64_t now_us)
{
    if (!sentinels->may_go_without || sentinels->trusted_until_us > now_us)
        return;
    if (sentinels->is_provisional)
        find_promoted(sentinels, now_us);
    find_trust(sentinels, now_us);
}

/* When one that has answered counts as silent. */
static int64_t silent_us(const gavel__sentinels *sentinels, const gavel__sentinel *sentinel)
{
    bool counts = !sentinel->is_double && sentinel->has_testimony;
    return counts ? sentinel->testimony.asked_us + window_us(sentinels) + 1 : GAVEL__NEVER;
}

int64_t gavel__sentinels_due_us(const gavel__sentinels *sentinels, int64_t now_us)
{
    int64_t due_us = GAVEL__NEVER;
    if (!sentinels->may_go_without || sentinels->generation == 0)
        return due_us;
    if (sentinels->trusted_until_us > now_us)
        return sentinels->trusted_until_us;
    if (sentinels->is_provisional && gavel__promotion_silent_us(sentinels) > now_us)
        due_us = gavel__promotion_silent_us(sentinels);
    for (uint32_t i = 0; i < sentinels->n; i++) {
        int64_t other_us = silent_us(sentinels, &sentinels->all[i]);
        if (other_us > now_us && other_us < due_us)
            due_us = other_us;
    }
    return due_us;
}

/* ---- Replicas ------------------------------------------------------------------------------ */

uint32_t gavel__sentinels_count_replicas(const gavel__sentinels *sentinels)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < sentinels->n; i++) {
        const gavel__sentinel *sentinel = &sentinels->all[i];
        if (gavel__sentinel_names(sentinel, &sentinels->primary, sentinels->epoch) &&
            sentinel->testimony.n_replicas > n)
            n = sentinel->testimony.n_replicas;
    }
    return n;
}
