/*
 * Rounds: making them, taking members in, claiming their keys. What moves them on is in progress.c.
 */
#include "core/round.h"

#include "base/resp.h"
#include "base/text.h"
#include "core/commands.h"
#include "core/offsets.h"
#include "core/node.h"

#include <assert.h>
#include <string.h>

/* ---- Making and ending --------------------------------------------------------------------- */

void gavel__rounds_init(gavel__rounds *rounds, gavel__queue *queue)
{
    *rounds = (gavel__rounds){.context = queue->context, .queue = queue};
    gavel__list_init(&rounds->idle);
    gavel__buffer_init(&rounds->scratch, queue->context->allocator);
}

static void destroy_round(gavel__round *round)
{
    const gavel_allocator *allocator = round->context->allocator;
    gavel__doubt_destroy(round->doubt);
    gavel__writes_finish(&round->writes);
    gavel__map_finish(&round->fetch_index);
    gavel__free(allocator, round->fetches);
    gavel__free(allocator, round->claims);
    gavel__free(allocator, round->written);
    gavel__arena_finish(&round->values);
    gavel__arena_finish(&round->arena);
    gavel__free(allocator, round);
}

void gavel__rounds_finish(gavel__rounds *rounds)
{
    for (gavel__list *node; (node = gavel__list_pop(&rounds->idle)) != NULL;)
        destroy_round(GAVEL__CONTAINER(node, gavel__round, node));
    gavel__buffer_finish(&rounds->scratch);
}

static gavel__round *make_round(gavel__rounds *rounds)
{
    gavel__list *node = gavel__list_pop(&rounds->idle);
    if (node != NULL)
        return GAVEL__CONTAINER(node, gavel__round, node);
    const gavel_allocator *allocator = rounds->context->allocator;
    gavel__round *round = gavel__alloc(allocator, 1, sizeof(*round));
    if (round == NULL)
        return NULL;
    round->rounds = rounds;
    round->context = rounds->context;
    round->policy = rounds->policy;
    gavel__list_init(&round->node);
    gavel__list_init(&round->members);
    gavel__arena_init(&round->arena, allocator);
    gavel__arena_init(&round->values, allocator);
    gavel__writes_init(&round->writes, &rounds->queue->keys);
    gavel__map_init(&round->fetch_index, allocator, gavel__random_next(&rounds->context->random));
    return round;
}

gavel__round *gavel__round_create(gavel__rounds *rounds, gavel__lane *lane, bool is_snapshot)
{
    gavel__round *round = make_round(rounds);
    if (round == NULL)
        return NULL;
    if (round->doubt == NULL)
        round->doubt = gavel__doubt_create(rounds->doubts);
    if (round->doubt == NULL) {
        gavel__list_append(&rounds->idle, &round->node);
        return NULL;
    }
    round->lane = lane;
    round->marker = &lane->marker;
    round->slot = GAVEL__NO_SLOT;
    round->is_snapshot = is_snapshot;
    return round;
}

/* ---- Markers ------------------------------------------------------------------------------- */

void gavel__rounds_name_marker(gavel__rounds *rounds, gavel__marker *marker, uint16_t slot)
{
    marker->size = 0;
    if (rounds->marker_ttl_us == 0)
        return;
    gavel_bytes name = gavel__name_of_marker(
        rounds->key_prefix, slot, rounds->identity, rounds->n_markers++, marker->text);
    marker->size = name.size;
}

static void leave_page(gavel__marker *marker)
{
    gavel__page_leave(marker->page);
    marker->page = NULL;
}

static void leave_marker(gavel__lane *lane, gavel__marker *marker)
{
    if (gavel__marker_is_on(marker))
        gavel__durability_on_marker_end(lane->node->durability, gavel__marker_name(marker));
    leave_page(marker);
}

void gavel__rounds_rename_marker(gavel__rounds *rounds, gavel__marker *marker, uint16_t slot)
{
    leave_page(marker);
    gavel__marker_end(marker);
    gavel__rounds_name_marker(rounds, marker, slot);
}

/* It stays with the rounds that have it. */
static bool is_in_use(const gavel__lane *lane, const gavel__marker *marker)
{
    return (lane->round != NULL && lane->round->marker == marker) ||
           (lane->next != NULL && lane->next->marker == marker);
}

bool gavel__round_set_slot(gavel__round *round, uint16_t slot)
{
    gavel__rounds *rounds = round->rounds;
    if (rounds->marker_ttl_us > 0 && !round->is_snapshot && !round->is_scout) {
        gavel__marker *marker = gavel__lane_marker(round->lane, slot);
        if (marker == NULL)
            return false;
        if (marker->is_left && !is_in_use(round->lane, marker))
            gavel__rounds_rename_marker(rounds, marker, slot);
        if (!gavel__marker_is_on(marker))
            gavel__rounds_name_marker(rounds, marker, slot);
        round->marker = marker;
    }
    round->slot = slot;
    return true;
}

void gavel__rounds_leave_markers(gavel__lane *lane)
{
    uint32_t slot = 0;
    leave_marker(lane, &lane->marker);
    if (lane->markers == NULL)
        return;
    for (gavel__marker *marker; (marker = gavel__markers_from(lane->markers, &slot)) != NULL;
         slot++)
        leave_marker(lane, marker);
    gavel__markers_clear(lane->markers);
}

/* ---- States -------------------------------------------------------------------------------- */

/* The arrows of the drawing in the header. */
static bool is_legal(gavel__round_phase from, gavel__round_phase to)
{
    switch (from) {
    case GAVEL__ROUND_IDLE:
        return to == GAVEL__ROUND_READING || to == GAVEL__ROUND_IDLE;
    case GAVEL__ROUND_READING:
        return to == GAVEL__ROUND_COMMITTING || to == GAVEL__ROUND_IDLE;
    case GAVEL__ROUND_COMMITTING:
        return to != GAVEL__ROUND_COMMITTING;
    case GAVEL__ROUND_PREFETCHED:
        return to == GAVEL__ROUND_READING || to == GAVEL__ROUND_IDLE;
    }
    return false;
}

void gavel__round_set_phase(gavel__round *round, gavel__round_phase phase)
{
    assert(is_legal(round->phase, phase));
    (void)is_legal; /* without assertions */
    round->phase = phase;
}

static void forget_fetches(gavel__round *round)
{
    gavel__map_clear(&round->fetch_index);
    round->n_indexed = 0;
    round->n_fetches = 0;
    gavel__arena_reset(&round->values);
    gavel__arena_reset(&round->arena);
}

static void release_keys(gavel__round *round, int64_t now_us)
{
    gavel__queue *queue = round->rounds->queue;
    gavel__round_forget_written(round, now_us);
    for (size_t i = 0; i < round->n_claims; i++) {
        gavel__key *key = round->claims[i];
        if (key->round == round || key->earlier == round)
            gavel__queue_release_key(queue, key, round, now_us);
        else
            gavel__keys_unuse(&queue->keys, key); /* it was let go, and stayed known */
    }
    round->n_claims = 0;
    round->has_let_go = false;
}

void gavel__round_dissolve(gavel__round *round, int64_t now_us)
{
    assert(gavel__list_is_empty(&round->members));
    gavel__lane *lane = round->lane;
    if (lane != NULL) {
        gavel__inflight_disown(&lane->inflight, round);
        if (lane->next == round)
            lane->next = NULL;
        if (lane->round == round) {
            lane->round = lane->next;
            lane->next = NULL;
        }
    }
    release_keys(round, now_us);
    forget_fetches(round);
    gavel__writes_clear(&round->writes);
    round->lane = NULL;
    gavel__round_set_phase(round, GAVEL__ROUND_IDLE);
    round->reading = (gavel__reading){.is_watched = false};
    round->committing = (gavel__committing){.number = 0};
    round->is_scout = false;
    round->is_guest = false;
    round->has_prefetch = false;
    round->is_narrowing = false;
    round->is_unguarded = false;
    round->n_kept = 0;
    round->is_late = false;
    round->is_at_replica = false;
    round->dating = NULL;
    round->refusal.is_set = false;
    round->refusal.is_of_question = false;
    gavel__list_remove(&round->node);
    gavel__list_append(&round->rounds->idle, &round->node);
}

/* The two swap their arrays of keys, so that no memory is needed. */
static void hand_keys_over(gavel__round *round, gavel__doubt *doubt)
{
    gavel__key **spare = doubt->claims;
    size_t spare_capacity = doubt->claims_capacity;
    for (size_t i = 0; i < round->n_claims; i++)
        gavel__keys_doubt(round->claims[i], round);
    doubt->claims = round->claims;
    doubt->n_claims = round->n_claims;
    doubt->claims_capacity = round->claims_capacity;
    round->claims = spare;
    round->n_claims = 0;
    round->claims_capacity = spare_capacity;
}

gavel__doubt *gavel__round_hand_over(gavel__round *round, int64_t now_us)
{
    const gavel__marker *marker = round->marker;
    gavel__doubt *doubt = round->doubt;
    round->doubt = NULL;
    hand_keys_over(round, doubt);
    for (size_t i = 0; i < doubt->n_claims; i++)
        gavel__order_set_away(&round->rounds->queue->order, doubt->claims[i], now_us);
    for (gavel__list *node = round->members.next; node != &round->members; node = node->next)
        gavel__member_of(node)->round = NULL;
    gavel__list_append_all(&doubt->members, &round->members);
    doubt->number = round->committing.number;
    doubt->first_number = marker->first_number;
    doubt->has_migrated = marker->has_migrated;
    doubt->page = marker->page;
    doubt->durability = round->lane->node->durability;
    gavel__page_pin(doubt->page);
    memcpy(doubt->marker, marker->text, marker->size);
    doubt->marker_size = marker->size;
    doubt->is_refused = round->committing.has_bare_writes || round->refusal.is_set;
    doubt->is_touched = false;
    doubt->is_fenced = false;
    gavel__round_dissolve(round, now_us);
    return doubt;
}

size_t gavel__round_count_members(const gavel__round *round)
{
    size_t n_members = 0;
    for (gavel__list *node = round->members.next; node != &round->members; node = node->next)
        n_members++;
    return n_members;
}

gavel__transaction *gavel__round_only_member(const gavel__round *round)
{
    const gavel__list *members = &round->members;
    if (members->next == members || members->next != members->previous)
        return NULL;
    return gavel__member_of(members->next);
}

/* ---- Taking members in --------------------------------------------------------------------- */

/* Room for one more claim. False: no memory. */
static bool reserve_claim(gavel__round *round)
{
    gavel__key **claims = gavel__grow(round->context->allocator, round->claims, round->n_claims,
        &round->claims_capacity, sizeof(*claims));
    if (claims != NULL)
        round->claims = claims;
    return claims != NULL;
}

static bool claim_keys(gavel__round *round, gavel__transaction *transaction)
{
    for (size_t i = 0; i < transaction->n_keys; i++) {
        gavel__hold *hold = &transaction->holds[i];
        if (hold->known->round != round) {
            if (!reserve_claim(round))
                return false;
            gavel__keys_claim(hold->known, round);
            round->claims[round->n_claims++] = hold->known;
        }
        hold->key = hold->known;
    }
    return true;
}

/* From the second member on, reads are shared: until then there is no index of them. */
static bool index_fetches(gavel__round *round)
{
    for (; round->n_indexed < round->n_fetches; round->n_indexed++) {
        gavel__fetch *fetch = round->fetches[round->n_indexed];
        /* The same words twice: of other keys, as their caller sees it. */
        if (gavel__map_find(&round->fetch_index, fetch->encoded) == NULL &&
            !gavel__map_insert(&round->fetch_index, fetch->encoded, &fetch->node))
            return false;
    }
    return true;
}

/* A new fetch, not indexed yet. NULL: no memory. */
static gavel__fetch *make_fetch(gavel__round *round, gavel_bytes encoded)
{
    gavel__fetch **fetches = gavel__grow(round->context->allocator, round->fetches,
        round->n_fetches, &round->fetches_capacity, sizeof(*fetches));
    if (fetches == NULL)
        return NULL;
    round->fetches = fetches;
    gavel__fetch *fetch = gavel__arena_alloc(&round->arena, 1, sizeof(*fetch));
    /* The bytes are copied: the member that brought them may leave before the others. */
    if (fetch == NULL || !gavel__arena_copy(&round->arena, encoded, &fetch->encoded))
        return NULL;
    fetch->is_string = gavel__bytes_start_with(encoded, gavel__get_head);
    fetch->is_life = gavel__bytes_start_with(encoded, gavel__pttl_head);
    round->fetches[round->n_fetches++] = fetch;
    return fetch;
}

/* The fetch for a read: one that another member brought, or a new one. NULL: no memory. */
static gavel__fetch *fetch_for(gavel__round *round, gavel_bytes encoded)
{
    if (gavel__list_is_empty(&round->members))
        return make_fetch(round, encoded);
    uint64_t hash = gavel__map_hash(&round->fetch_index, encoded);
    gavel__map_node *node = gavel__map_find_hashed(&round->fetch_index, encoded, hash);
    if (node != NULL)
        return GAVEL__CONTAINER(node, gavel__fetch, node);
    gavel__fetch *fetch = make_fetch(round, encoded);
    if (fetch == NULL ||
        !gavel__map_insert_hashed(&round->fetch_index, fetch->encoded, hash, &fetch->node))
        return NULL;
    round->n_indexed++;
    return fetch;
}

static bool add_fetches(gavel__round *round, gavel__transaction *transaction)
{
    if (!gavel__list_is_empty(&round->members) && !index_fetches(round))
        return false;
    for (size_t i = 0; i < transaction->n_reads; i++) {
        gavel__fetch *fetch = fetch_for(round, transaction->reads[i].encoded);
        if (fetch == NULL)
            return false;
        transaction->reads[i].reply = &fetch->reply;
        fetch->has_key |= transaction->reads[i].command.n_keys > 0;
        if (transaction->id_key.data != NULL && fetch->is_string &&
            gavel__bytes_equal(
                gavel__command_subject(&transaction->reads[i].command), transaction->id_key))
            fetch->is_string = false; /* it is mostly absent, and MGET is for what is there */
    }
    return true;
}

void gavel__round_add_dating(gavel__round *round)
{
    gavel__buffer *scratch = &round->rounds->scratch;
    if (round->lane->node->is_undated || round->n_fetches == 0)
        return;
    gavel__buffer_clear(scratch);
    gavel__resp_command(scratch, gavel__offsets_question, 2);
    if (!scratch->has_failed)
        round->dating = make_fetch(round, (gavel_bytes){scratch->data, scratch->size});
}

/* In order of arrival. Those with a key in common come so; but whoever has waited for what an elder
 * one wrote is to run before any younger one that writes the same, without having the key. */
static void insert_member(gavel__round *round, gavel__transaction *transaction)
{
    gavel__list *behind = &round->members;
    while (behind->previous != &round->members &&
           gavel__member_of(behind->previous)->sequence > transaction->sequence)
        behind = behind->previous;
    gavel__list_append(behind, &transaction->node);
}

bool gavel__round_add(gavel__round *round, gavel__transaction *transaction, int64_t now_us)
{
    bool has_claimed = round->is_snapshot || claim_keys(round, transaction);
    if (!has_claimed || !add_fetches(round, transaction)) {
        gavel__queue_settle(round->rounds->queue, transaction, GAVEL_NOT_SENT, "no memory", now_us);
        return false;
    }
    insert_member(round, transaction);
    transaction->round = round;
    gavel__transaction_set_state(transaction, GAVEL__TX_READING);
    transaction->has_paused = false;
    return true;
}

/* Whether all that it would watch and read is what the round watches and reads. */
static bool matches(const gavel__round *round, const gavel__transaction *transaction)
{
    if (transaction->n_keys != round->n_claims || transaction->n_reads != round->n_fetches)
        return false;
    for (size_t i = 0; i < transaction->n_keys; i++) {
        if (!gavel__bytes_equal(transaction->keys[i], round->claims[i]->node.key))
            return false;
    }
    for (size_t i = 0; i < transaction->n_reads; i++) {
        if (!gavel__bytes_equal(transaction->reads[i].encoded, round->fetches[i]->encoded))
            return false;
    }
    return true;
}

bool gavel__round_join(gavel__round *round, gavel__transaction *transaction, int64_t now_us)
{
    /* On what was read before it came a verdict may not count; then the last attempt would not. */
    bool is_last = transaction->outcome.n_attempts + 1 >= transaction->max_attempts;
    if (is_last || transaction->wants_fresh || transaction->is_alone || transaction->is_read_only ||
        !matches(round, transaction))
        return false;
    for (size_t i = 0; i < transaction->n_keys; i++)
        transaction->holds[i].key = round->claims[i];
    for (size_t i = 0; i < transaction->n_reads; i++)
        transaction->reads[i].reply = &round->fetches[i]->reply;
    gavel__order_join(&round->rounds->queue->order, transaction, now_us);
    gavel__list_append(&round->members, &transaction->node);
    transaction->round = round;
    gavel__transaction_set_state(transaction, GAVEL__TX_READING);
    return true;
}

void gavel__round_offer_keys(gavel__round *round, int64_t now_us)
{
    gavel__order *order = &round->rounds->queue->order;
    gavel__round_forget_written(round, now_us);
    for (size_t i = 0; i < round->n_claims; i++)
        round->claims[i]->is_on_offer = true;
    for (size_t i = 0; i < round->n_claims; i++) {
        gavel__order_wake(order, round->claims[i], now_us);
        gavel__order_look(order, round->claims[i], now_us);
    }
}

void gavel__round_withdraw_keys(gavel__round *round, int64_t now_us)
{
    for (size_t i = 0; i < round->n_claims; i++)
        round->claims[i]->is_on_offer = false;
    for (size_t i = 0; i < round->n_claims; i++)
        gavel__order_withdraw(&round->rounds->queue->order, round->claims[i], now_us);
}

/* ---- What is written blindly --------------------------------------------------------------- */

/* Whether it is written still (not rolled back), and nobody claims it, or is READY to. */
static bool is_to_be_noted(const gavel__key *key)
{
    return key->last_write > 0 && key->round == NULL && !key->is_in_doubt &&
           gavel__heat_is_known(&key->heat) && !gavel__order_has_ready_first(key);
}

void gavel__round_note_written(gavel__round *round)
{
    for (size_t i = 0; i < round->writes.n_blind; i++) {
        gavel__key *key = round->writes.blind[i];
        if (!is_to_be_noted(key))
            continue;
        gavel__key **written = gavel__grow(round->context->allocator, round->written,
            round->n_written, &round->written_capacity, sizeof(*written));
        if (written == NULL) /* it may cost others an attempt */
            return;
        round->written = written;
        written[round->n_written++] = key;
        gavel__keys_add_writer(key);
        round->rounds->queue->order.has_blocked = true;
    }
}

void gavel__round_forget_written(gavel__round *round, int64_t now_us)
{
    while (round->n_written > 0)
        gavel__queue_remove_writer(
            round->rounds->queue, round->written[--round->n_written], now_us);
}
