/*
 * Rounds: claiming keys and reading. Then the bodies run (run.c); what follows, from MULTI on, is
 * in commit.c.
 */
#include "core/round.h"

#include "base/resp.h"
#include "base/text.h"

#include <assert.h>

/* ---- Making and ending --------------------------------------------------------------------- */

void gavel__rounds_init(gavel__rounds *rounds, gavel__queue *queue)
{
    *rounds = (gavel__rounds){.queue = queue};
    gavel__list_init(&rounds->idle);
    gavel__buffer_init(&rounds->scratch, queue->allocator);
}

static void destroy_round(gavel__round *round)
{
    const gavel_allocator *allocator = round->rounds->queue->allocator;
    gavel__writes_finish(&round->writes);
    gavel__map_finish(&round->fetch_index);
    gavel__free(allocator, round->fetches);
    gavel__free(allocator, round->claims);
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
    const gavel_allocator *allocator = rounds->queue->allocator;
    gavel__round *round = gavel__alloc(allocator, 1, sizeof(*round));
    if (round == NULL)
        return NULL;
    round->rounds = rounds;
    gavel__list_init(&round->node);
    gavel__list_init(&round->members);
    gavel__arena_init(&round->arena, allocator);
    gavel__arena_init(&round->values, allocator);
    gavel__writes_init(&round->writes, allocator);
    gavel__map_init(&round->fetch_index, allocator, gavel__random_next(&rounds->queue->random));
    return round;
}

gavel__round *gavel__round_create(gavel__rounds *rounds, gavel__lane *lane, bool is_snapshot)
{
    gavel__round *round = make_round(rounds);
    if (round == NULL)
        return NULL;
    round->lane = lane;
    round->is_snapshot = is_snapshot;
    return round;
}

/* The arrows of the drawing in the header. */
static bool is_legal(gavel__phase from, gavel__phase to)
{
    switch (from) {
    case GAVEL__ROUND_IDLE:
        return to == GAVEL__ROUND_READING || to == GAVEL__ROUND_IDLE;
    case GAVEL__ROUND_READING:
        return to == GAVEL__ROUND_COMMITTING || to == GAVEL__ROUND_IDLE;
    case GAVEL__ROUND_COMMITTING:
        return to != GAVEL__ROUND_COMMITTING;
    case GAVEL__ROUND_STANDING:
        return to == GAVEL__ROUND_READING || to == GAVEL__ROUND_IDLE;
    case GAVEL__ROUND_IN_DOUBT:
        return to == GAVEL__ROUND_IDLE;
    }
    return false;
}

void gavel__round_set_phase(gavel__round *round, gavel__phase phase)
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
    round->n_fetched = 0;
    gavel__arena_reset(&round->values);
    gavel__arena_reset(&round->arena);
}

void gavel__round_dissolve(gavel__round *round, int64_t now_us)
{
    assert(gavel__list_is_empty(&round->members));
    gavel__lane *lane = round->lane;
    if (lane != NULL) {
        gavel__script_disown(&lane->script, round);
        if (lane->next == round)
            lane->next = NULL;
        if (lane->round == round) {
            lane->round = lane->next;
            lane->next = NULL;
        }
    }
    for (size_t i = 0; i < round->n_claims; i++)
        gavel__queue_release_key(round->rounds->queue, round->claims[i], round, now_us);
    round->n_claims = 0;
    forget_fetches(round);
    gavel__writes_clear(&round->writes);
    round->lane = NULL;
    gavel__round_set_phase(round, GAVEL__ROUND_IDLE);
    round->is_reread = false;
    round->is_stale = false;
    round->has_bare_writes = false;
    round->is_touched = false;
    round->is_fenced = false;
    round->refusal.is_set = false;
    round->number = 0;
    round->marker_size = 0;
    round->n_queued = 0;
    round->ask_us = 0;
    gavel__list_remove(&round->node);
    gavel__list_append(&round->rounds->idle, &round->node);
}

gavel__transaction *gavel__round_only_member(const gavel__round *round)
{
    const gavel__list *members = &round->members;
    if (members->next == members || members->next != members->previous)
        return NULL;
    return gavel__member_of(members->next);
}

/* ---- Taking members in --------------------------------------------------------------------- */

/* Room for one more pointer; false: no memory. */
static bool make_room(
    const gavel_allocator *allocator, void **pointers, size_t n_pointers, size_t *capacity)
{
    if (n_pointers < *capacity)
        return true;
    size_t larger = *capacity == 0 ? 8 : *capacity * 2;
    void *memory = gavel__resize(allocator, *pointers, larger, sizeof(void *));
    if (memory == NULL)
        return false;
    *pointers = memory;
    *capacity = larger;
    return true;
}

/* The key, held by the round for one more member; NULL: no memory. */
static gavel__key *claim(gavel__round *round, gavel__key_name name)
{
    gavel__keys *keys = &round->rounds->queue->keys;
    gavel__key *key = gavel__keys_find(keys, name);
    if (key != NULL && key->round == round)
        return key;
    void *claims = round->claims;
    if (!make_room(keys->allocator, &claims, round->n_claims, &round->claims_capacity))
        return NULL;
    round->claims = claims;
    key = gavel__keys_claim(keys, name, round);
    if (key != NULL)
        round->claims[round->n_claims++] = key;
    return key;
}

static bool claim_keys(gavel__round *round, gavel__transaction *transaction)
{
    for (size_t i = 0; i < transaction->n_keys; i++) {
        gavel__hold *hold = &transaction->holds[i];
        hold->key = claim(round, (gavel__key_name){transaction->keys[i], hold->hash});
        if (hold->key == NULL)
            return false;
    }
    return true;
}

/* From the second member on, reads are shared: until then there is no index of them. */
static bool index_fetches(gavel__round *round)
{
    for (; round->n_indexed < round->n_fetches; round->n_indexed++) {
        gavel__fetch *fetch = round->fetches[round->n_indexed];
        if (!gavel__map_insert(&round->fetch_index, fetch->encoded, &fetch->node))
            return false;
    }
    return true;
}

/* The fetch for a read: one that another member brought, or a new one. NULL: no memory. */
static gavel__fetch *fetch_for(gavel__round *round, gavel_bytes encoded)
{
    gavel__map_node *node = gavel__map_find(&round->fetch_index, encoded);
    if (node != NULL)
        return GAVEL__CONTAINER(node, gavel__fetch, node);
    void *fetches = round->fetches;
    if (!make_room(
            round->rounds->queue->allocator, &fetches, round->n_fetches, &round->fetches_capacity))
        return NULL;
    round->fetches = fetches;
    gavel__fetch *fetch = gavel__arena_alloc(&round->arena, 1, sizeof(*fetch));
    /* The bytes are copied: the member that brought them may leave before the others. */
    if (fetch == NULL || !gavel__arena_copy(&round->arena, encoded, &fetch->encoded))
        return NULL;
    round->fetches[round->n_fetches++] = fetch;
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
    }
    return true;
}

bool gavel__round_add(gavel__round *round, gavel__transaction *transaction, int64_t now_us)
{
    bool has_claimed = round->is_snapshot || claim_keys(round, transaction);
    if (!has_claimed || !add_fetches(round, transaction)) {
        gavel__queue_settle(round->rounds->queue, transaction, GAVEL_NOT_SENT, "no memory", now_us);
        return false;
    }
    gavel__list_remove(&transaction->node);
    gavel__list_append(&round->members, &transaction->node);
    transaction->round = round;
    transaction->state = GAVEL__READING;
    transaction->has_paused = false;
    return true;
}

/* A round that stands has nobody to run for yet. */
static void run_when_read(gavel__round *round, int64_t now_us)
{
    if (round->phase == GAVEL__ROUND_READING && round->is_watched &&
        round->n_fetched == round->n_fetches)
        gavel__round_run(round, now_us);
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

bool gavel__round_join(gavel__round *round, gavel__transaction *transaction)
{
    if (transaction->wants_fresh || transaction->is_alone || transaction->is_read_only ||
        !matches(round, transaction))
        return false;
    for (size_t i = 0; i < transaction->n_keys; i++)
        transaction->holds[i].key = round->claims[i];
    for (size_t i = 0; i < transaction->n_reads; i++)
        transaction->reads[i].reply = &round->fetches[i]->reply;
    gavel__list_remove(&transaction->node);
    gavel__list_append(&round->members, &transaction->node);
    transaction->round = round;
    transaction->state = GAVEL__READING;
    return true;
}

void gavel__round_resume(gavel__round *round, int64_t now_us)
{
    gavel__round_set_phase(round, GAVEL__ROUND_READING);
    round->is_reread = false;
    round->is_stale = true;
    round->rounds->reread_credit = gavel__full_reread_credit;
    run_when_read(round, now_us);
}

/* ---- Reading ------------------------------------------------------------------------------- */

static void write_plain(gavel__buffer *out, const char *command)
{
    gavel_bytes args[1] = {gavel_str(command)};
    gavel__resp_command(out, args, 1);
}

/*
 * SET marker number PX ttl: before a link's first round, and again before the marker can expire.
 * The number is drawn anew each time, so that a marker which was lost and is counted up from
 * nothing, or one that another planting has overtaken, never holds what could be taken for the
 * right one.
 */
static void plant_marker(gavel__round *round, int64_t now_us)
{
    gavel__lane *lane = round->lane;
    int64_t ttl_us = round->rounds->marker_ttl_us;
    if (!gavel__lane_wants_marker(lane, ttl_us, now_us))
        return;
    lane->number = gavel__random_next(&round->rounds->queue->random) >> 24;
    gavel__resp_begin(lane->out, 5);
    gavel__resp_arg(lane->out, GAVEL_STR("SET"));
    gavel__resp_arg(lane->out, (gavel_bytes){lane->marker, lane->marker_size});
    gavel__resp_arg_int(lane->out, (int64_t)lane->number);
    gavel__resp_arg(lane->out, GAVEL_STR("PX"));
    gavel__resp_arg_int(lane->out, ttl_us / 1000);
    gavel__script_add(&lane->script, GAVEL__STEP_PLANT, 1, round);
    lane->n_new_replies++;
    lane->is_planted = true;
    lane->planted_us = now_us;
    round->rounds->queue->stats.n_marker_commands++;
}

/* What a reread in vain still watches would spoil the next EXEC. */
static void write_unwatch(gavel__round *round)
{
    gavel__lane *lane = round->lane;
    if (!lane->is_watching)
        return;
    write_plain(lane->out, "UNWATCH");
    gavel__script_add(&lane->script, GAVEL__STEP_UNWATCH, 1, NULL);
    lane->n_new_replies++;
    lane->is_watching = false;
    round->rounds->queue->stats.n_commands++;
}

static void write_watch(gavel__round *round)
{
    gavel__lane *lane = round->lane;
    write_unwatch(round);
    gavel__resp_begin(lane->out, 1 + round->n_claims + (lane->marker_size > 0 ? 1 : 0));
    gavel__resp_arg(lane->out, GAVEL_STR("WATCH"));
    for (size_t i = 0; i < round->n_claims; i++)
        gavel__resp_arg(lane->out, round->claims[i]->node.key);
    if (lane->marker_size > 0)
        gavel__resp_arg(lane->out, (gavel_bytes){lane->marker, lane->marker_size});
    gavel__script_add(&lane->script, GAVEL__STEP_WATCH, 1, round);
    lane->n_new_replies++;
    lane->is_watching = true;
    round->rounds->queue->stats.n_commands++;
}

static void write_fetches(gavel__round *round, gavel__step step)
{
    gavel__lane *lane = round->lane;
    for (size_t i = 0; i < round->n_fetches; i++)
        gavel__buffer_append(lane->out, round->fetches[i]->encoded);
    gavel__script_add(&lane->script, step, round->n_fetches, round);
    lane->n_new_replies += round->n_fetches;
    round->rounds->queue->stats.n_commands += round->n_fetches;
}

/* A single read is a snapshot by itself; several are one between MULTI and EXEC. */
static void write_snapshot(gavel__round *round)
{
    gavel__lane *lane = round->lane;
    if (round->n_fetches == 1) {
        write_fetches(round, GAVEL__STEP_FETCH);
        return;
    }
    write_unwatch(round);
    write_plain(lane->out, "MULTI");
    gavel__script_add(&lane->script, GAVEL__STEP_MULTI, 1, round);
    write_fetches(round, GAVEL__STEP_QUEUED);
    write_plain(lane->out, "EXEC");
    gavel__script_add(&lane->script, GAVEL__STEP_EXEC, 1, round);
    lane->n_new_replies += 2;
    lane->is_watching = false;
    round->rounds->queue->stats.n_commands += 2;
}

void gavel__round_end_write(gavel__round *round, size_t size_before, int64_t now_us)
{
    gavel__lane *lane = round->lane;
    lane->n_appended += lane->out->size - size_before;
    if (lane->written_us == 0)
        lane->written_us = now_us;
    if (lane->out->has_failed)
        gavel__lane_condemn(lane, "no memory for the commands of a round");
}

void gavel__round_write_reads(gavel__round *round, int64_t now_us)
{
    size_t size_before = round->lane->out->size;
    round->n_fetched = 0;
    round->is_watched = round->is_snapshot;
    round->is_stale = false;
    gavel__arena_reset(&round->values); /* no body needs what was read before */
    if (round->is_snapshot) {
        write_snapshot(round);
    } else {
        plant_marker(round, now_us);
        write_watch(round);
        write_fetches(round, GAVEL__STEP_FETCH);
    }
    gavel__round_end_write(round, size_before, now_us);
}

void gavel__round_begin(gavel__round *round, int64_t now_us)
{
    gavel__round_set_phase(round, GAVEL__ROUND_READING);
    if (round->is_snapshot && round->n_fetches == 0) {
        gavel__round_run(round, now_us); /* they will name what they want to read */
        return;
    }
    for (gavel__list *node = round->members.next; node != &round->members; node = node->next)
        gavel__member_of(node)->outcome.n_round_trips++;
    if (round->lane->round == round)
        round->rounds->queue->stats.n_round_trips++; /* otherwise it rides behind an EXEC */
    gavel__round_write_reads(round, now_us);
}

/* ---- Replies ------------------------------------------------------------------------------- */

void gavel__round_note_refusal(gavel__round *round, const gavel_reply *error, const char *what)
{
    if (round->refusal.is_set)
        return;
    char words[128];
    round->refusal.is_set = true;
    round->refusal.remedy = gavel__server_error_remedy(error->text);
    gavel__format(round->refusal.message, sizeof(round->refusal.message), "%s: %s", what,
        gavel__printable(error->text, words, sizeof(words)));
}

/* Whoever it was, it cannot be told apart: each of several runs alone, a single one is told. */
static void narrow_down(gavel__round *round, int64_t now_us)
{
    gavel__queue *queue = round->rounds->queue;
    gavel__transaction *only = gavel__round_only_member(round);
    if (only != NULL) {
        gavel__queue_settle(queue, only, GAVEL_REJECTED, round->refusal.message, now_us);
        return;
    }
    while (!gavel__list_is_empty(&round->members)) {
        gavel__transaction *member = gavel__member_of(round->members.next);
        member->is_alone = true;
        gavel__queue_make_ready(queue, member, now_us);
    }
}

static void fail_members(gavel__round *round, const char *message, int64_t now_us)
{
    while (!gavel__list_is_empty(&round->members))
        gavel__queue_on_fault(
            round->rounds->queue, gavel__member_of(round->members.next), message, now_us);
}

void gavel__round_on_refusal(gavel__round *round, int64_t now_us)
{
    switch (round->refusal.remedy) {
    case GAVEL__TRY_AGAIN:
        fail_members(round, round->refusal.message, now_us);
        break;
    case GAVEL__RECONNECT:
        gavel__lane_condemn(round->lane, round->refusal.message);
        fail_members(round, round->refusal.message, now_us);
        break;
    case GAVEL__GIVE_UP:
        narrow_down(round, now_us);
        break;
    }
    gavel__round_dissolve(round, now_us);
}

static void on_fetched(gavel__round *round, const gavel_reply *reply, int64_t now_us)
{
    if (reply->type == GAVEL_REPLY_ERROR &&
        gavel__server_error_remedy(reply->text) != GAVEL__GIVE_UP) {
        gavel__round_note_refusal(round, reply, "a read was refused");
        gavel__round_on_refusal(round, now_us);
        return;
    }
    gavel__fetch *fetch = round->fetches[round->n_fetched++];
    if (!gavel__arena_copy_reply(&round->values, reply, &fetch->reply)) {
        fail_members(round, "no memory for what was read", now_us);
        gavel__round_dissolve(round, now_us);
        return;
    }
    run_when_read(round, now_us);
}

static void on_watched(gavel__round *round, const gavel_reply *reply, int64_t now_us)
{
    if (reply->type == GAVEL_REPLY_ERROR) {
        gavel__round_note_refusal(round, reply, "WATCH was refused");
        gavel__round_on_refusal(round, now_us);
        return;
    }
    round->is_watched = true;
    run_when_read(round, now_us);
}

/* A snapshot's EXEC: its elements are what the reads would have answered. */
static void on_snapshot(gavel__round *round, const gavel_reply *reply, int64_t now_us)
{
    if (reply->type != GAVEL_REPLY_ARRAY || reply->n_elements != round->n_fetches) {
        if (reply->type == GAVEL_REPLY_ERROR)
            gavel__round_note_refusal(round, reply, "a read was refused");
        if (!round->refusal.is_set) {
            gavel__lane_condemn(round->lane, "EXEC was answered with something unexpected");
            fail_members(round, round->lane->message, now_us);
            gavel__round_dissolve(round, now_us);
            return;
        }
        gavel__round_on_refusal(round, now_us);
        return;
    }
    for (size_t i = 0; i < round->n_fetches; i++) {
        if (!gavel__arena_copy_reply(
                &round->values, &reply->elements[i], &round->fetches[i]->reply)) {
            fail_members(round, "no memory for what was read", now_us);
            gavel__round_dissolve(round, now_us);
            return;
        }
    }
    gavel__round_run(round, now_us);
}

static void on_read_reply(
    gavel__round *round, gavel__step step, const gavel_reply *reply, int64_t now_us)
{
    switch (step) {
    case GAVEL__STEP_WATCH:
        on_watched(round, reply, now_us);
        break;
    case GAVEL__STEP_FETCH:
        on_fetched(round, reply, now_us);
        break;
    case GAVEL__STEP_EXEC:
        on_snapshot(round, reply, now_us);
        break;
    case GAVEL__STEP_PLANT:
        if (reply->type == GAVEL_REPLY_ERROR) {
            round->lane->is_planted = false;
            gavel__round_note_refusal(round, reply, "the marker was refused");
            gavel__round_on_refusal(round, now_us);
        }
        break;
    case GAVEL__STEP_MULTI:
    case GAVEL__STEP_QUEUED:
        if (reply->type == GAVEL_REPLY_ERROR)
            gavel__round_note_refusal(round, reply, "a read was refused");
        break;
    case GAVEL__STEP_UNWATCH:
    case GAVEL__STEP_TOUCH:
    case GAVEL__STEP_ASK:
        break; /* never of a round that reads */
    }
}

void gavel__round_on_reply(
    gavel__round *round, gavel__step step, const gavel_reply *reply, int64_t now_us)
{
    if (round->phase == GAVEL__ROUND_READING || round->phase == GAVEL__ROUND_STANDING)
        on_read_reply(round, step, reply, now_us);
    else
        gavel__round_on_commit_reply(round, step, reply, now_us);
}

void gavel__round_on_loss(gavel__round *round, const char *message, int64_t now_us)
{
    fail_members(round, message, now_us);
    gavel__round_dissolve(round, now_us);
}

bool gavel__round_is_in_doubt(const gavel__round *round, uint64_t n_sent)
{
    if (round->phase != GAVEL__ROUND_COMMITTING || round->writes.n_commands == 0)
        return false;
    return round->has_bare_writes || n_sent >= round->exec_end;
}
