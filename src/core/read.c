/*
 * Reads: WATCH and what the members want to know, in one write; the replies to it; and what the
 * server refuses of it.
 */
#include "core/round.h"

#include "base/resp.h"
#include "base/text.h"
#include "core/offsets.h"
#include "core/lore.h"
#include "core/node.h"

/* Fewer are not worth a second try when one of them is not there. */
static const size_t min_mget = 4;

/* ---- Reading ------------------------------------------------------------------------------- */

static void write_plain(gavel__buffer *out, const char *command)
{
    gavel_bytes args[1] = {gavel_str(command)};
    gavel__resp_command(out, args, 1);
}

/* What commits from now on is entered on a page of its own. */
static void plant(gavel__rounds *rounds, gavel__lane *lane, gavel__planting planting)
{
    gavel__marker *marker = planting.marker;
    planting.random = gavel__random_next(&rounds->context->random);
    planting.ttl_us = rounds->marker_ttl_us;
    gavel__lane_plant(lane, &planting);
    gavel__planted planted = {.marker = gavel__marker_name(marker),
        .first_number = marker->first_number,
        .number = marker->number};
    marker->page = gavel__ledger_turn(rounds->ledger, marker->page, &planted);
    rounds->context->stats.n_marker_commands++;
}

void gavel__round_write_asking(gavel__round *round)
{
    gavel__lane *lane = round->lane;
    if (!round->is_guest)
        return;
    write_plain(lane->out, "ASKING");
    gavel__inflight_add(&lane->inflight, GAVEL__AWAITED_ASKING, 1, NULL);
    lane->n_new_replies++;
    round->context->stats.n_commands++;
}

/* What a guest enters there may get lost with a part of its slot. */
static void plant_marker(gavel__round *round, int64_t now_us)
{
    if (!gavel__marker_is_due(round->marker, round->rounds->marker_ttl_us, now_us))
        return;
    gavel__round_write_asking(round);
    plant(round->rounds, round->lane,
        (gavel__planting){.marker = round->marker, .round = round, .now_us = now_us});
    if (round->is_guest)
        gavel__page_on_guest(round->marker->page, round->lane->node->node_of[round->slot],
            (uint16_t)round->lane->node->index);
}

void gavel__rounds_save_marker(
    gavel__rounds *rounds, gavel__lane *lane, gavel__marker *marker, int64_t now_us)
{
    size_t size_before = lane->out->size;
    plant(rounds, lane, (gavel__planting){.marker = marker, .now_us = now_us});
    gavel__lane_end_write(lane, size_before, now_us);
}

/* What a prefetch in vain still watches would spoil the next EXEC. */
static void write_unwatch(gavel__round *round)
{
    gavel__lane *lane = round->lane;
    if (!lane->is_watching)
        return;
    write_plain(lane->out, "UNWATCH");
    gavel__inflight_add(&lane->inflight, GAVEL__AWAITED_UNWATCH, 1, NULL);
    lane->n_new_replies++;
    gavel__lane_end_watch(lane);
    round->context->stats.n_commands++;
}

/* The keys and the marker. Without either there is nothing to be guarded. */
static void write_watch(gavel__round *round)
{
    gavel__lane *lane = round->lane;
    write_unwatch(round);
    if (round->n_claims == 0 && !gavel__marker_is_on(round->marker)) {
        round->reading.is_watched = true;
        return;
    }
    gavel__round_write_asking(round);
    gavel__resp_begin(lane->out, 1 + round->n_claims + gavel__marker_is_on(round->marker));
    gavel__resp_arg(lane->out, GAVEL_STR("WATCH"));
    for (size_t i = 0; i < round->n_claims; i++)
        gavel__resp_arg(lane->out, round->claims[i]->node.key);
    if (gavel__marker_is_on(round->marker))
        gavel__resp_arg(lane->out, gavel__marker_name(round->marker));
    gavel__inflight_add(&lane->inflight, GAVEL__AWAITED_WATCH, 1, round);
    lane->n_new_replies++;
    lane->is_watching = true;
    round->context->stats.n_commands++;
}

static size_t n_strings(const gavel__round *round)
{
    size_t n = 0;
    for (size_t i = 0; i < round->n_fetches; i++)
        n += round->fetches[i]->is_string;
    return n;
}

/* Whether so many strings are to be asked for by one MGET. */
static bool is_for_mget(gavel__round *round, size_t n)
{
    return n >= min_mget && gavel__policy_take_shortcut(round->policy, GAVEL__SHORTCUT_MGET);
}

static void write_mget(gavel__round *round)
{
    gavel__lane *lane = round->lane;
    gavel__round_write_asking(round);
    gavel__resp_begin(lane->out, 1 + round->reading.n_merged);
    gavel__resp_arg(lane->out, GAVEL_STR("MGET"));
    for (size_t i = 0; i < round->n_fetches; i++) {
        gavel_bytes encoded = round->fetches[i]->encoded;
        if (round->fetches[i]->is_string)
            gavel__buffer_append(lane->out, (gavel_bytes){encoded.data + gavel__get_head.size,
                                                encoded.size - gavel__get_head.size});
    }
    gavel__inflight_add(&lane->inflight, GAVEL__AWAITED_FETCH_STRINGS, 1, round);
    lane->n_new_replies++;
    round->context->stats.n_commands++;
}

/* All reads; the strings among them by MGET, if n_merged says so. */
static void write_fetches(gavel__round *round, gavel__awaited_kind kind)
{
    gavel__lane *lane = round->lane;
    bool asks_each = round->is_guest && !round->is_snapshot; /* that is one MULTI */
    if (round->reading.n_merged > 0)
        write_mget(round);
    for (size_t i = 0; i < round->n_fetches; i++) {
        if (round->reading.n_merged > 0 && round->fetches[i]->is_string)
            continue;
        if (asks_each) {
            gavel__round_write_asking(round);
            gavel__inflight_add(&lane->inflight, kind, 1, round);
        }
        gavel__buffer_append(lane->out, round->fetches[i]->encoded);
    }
    size_t n_single = round->n_fetches - round->reading.n_merged;
    if (!asks_each)
        gavel__inflight_add(&lane->inflight, kind, n_single, round);
    lane->n_new_replies += n_single;
    round->context->stats.n_commands += n_single;
}

/* A guest's reads prove nothing unless all of their keys are there. Returns how many commands. */
static size_t write_presence(gavel__round *round)
{
    gavel__buffer *out = round->lane->out;
    const gavel__transaction *member = gavel__round_only_member(round);
    if (!round->is_guest)
        return 0;
    gavel__resp_begin(out, 1 + member->n_keys);
    gavel__resp_arg(out, GAVEL_STR("EXISTS"));
    for (size_t i = 0; i < member->n_keys; i++)
        gavel__resp_arg(out, member->keys[i]);
    round->reading.n_guarded = member->n_keys;
    return 1;
}

static void write_snapshot_in_multi(gavel__round *round)
{
    gavel__lane *lane = round->lane;
    write_unwatch(round);
    gavel__round_write_asking(round);
    write_plain(lane->out, "MULTI");
    gavel__inflight_add(&lane->inflight, GAVEL__AWAITED_MULTI, 1, round);
    size_t n_before = write_presence(round);
    gavel__inflight_add(&lane->inflight, GAVEL__AWAITED_SNAPSHOT_QUEUED, n_before, round);
    write_fetches(round, GAVEL__AWAITED_SNAPSHOT_QUEUED);
    write_plain(lane->out, "EXEC");
    gavel__inflight_add(&lane->inflight, GAVEL__AWAITED_SNAPSHOT, 1, round);
    lane->n_new_replies += 2 + n_before;
    gavel__lane_end_watch(lane);
    round->context->stats.n_commands += 2 + n_before;
}

/* What a replica of a Cluster serves only where it was told that old data will do; and from then
 * on what it serves only as a primary. */
static void write_mode(gavel__round *round, const char *mode, gavel__awaited_kind kind)
{
    gavel__lane *lane = round->lane;
    write_plain(lane->out, mode);
    gavel__inflight_add(&lane->inflight, kind, 1, NULL);
    lane->n_new_replies++;
    round->context->stats.n_commands++;
}

/* A single read is a snapshot by itself, also of many strings; several are one between MULTI and
 * EXEC. */
static void write_snapshot(gavel__round *round)
{
    if (round->is_guest) {
        write_snapshot_in_multi(round);
        return;
    }
    if (n_strings(round) == round->n_fetches && is_for_mget(round, round->n_fetches))
        round->reading.n_merged = round->n_fetches;
    if (round->n_fetches == 1 || round->reading.n_merged > 0)
        write_fetches(round, GAVEL__AWAITED_FETCH);
    else
        write_snapshot_in_multi(round);
}

/* All keys of its member, which a snapshot does not claim. */
static void write_scout(gavel__round *round)
{
    gavel__lane *lane = round->lane;
    const gavel__transaction *member = gavel__round_only_member(round);
    write_unwatch(round);
    gavel__resp_begin(lane->out, 1 + member->n_keys);
    gavel__resp_arg(lane->out, GAVEL_STR("WATCH"));
    for (size_t i = 0; i < member->n_keys; i++)
        gavel__resp_arg(lane->out, member->keys[i]);
    gavel__inflight_add(&lane->inflight, GAVEL__AWAITED_WATCH, 1, round);
    lane->n_new_replies++;
    lane->is_watching = true;
    round->context->stats.n_commands++;
}

/* The claims come first: the server goes on to the rest when they are granted. */
static void write_claims(gavel__round *round, int64_t now_us)
{
    gavel__lane *lane = round->lane;
    if (lane->pass.n_gates == 0 || lane->pass.state == GAVEL__PASS_HELD)
        return;
    write_unwatch(round); /* before it blocks */
    round->context->stats.n_commands +=
        gavel__pass_write_claims(lane, round->rounds->gates, now_us);
}

void gavel__round_write_reads(gavel__round *round, int64_t now_us)
{
    gavel__lane *lane = round->lane;
    size_t size_before = lane->out->size;
    round->reading = (gavel__reading){.is_watched = round->is_snapshot && !round->is_guest};
    gavel__arena_reset(&round->values); /* no body needs what was read before */
    if (round->is_scout) {
        write_scout(round);
    } else if (round->is_at_replica && round->rounds->is_cluster) {
        write_mode(round, "READONLY", GAVEL__AWAITED_READONLY);
        write_snapshot(round);
        write_mode(round, "READWRITE", GAVEL__AWAITED_READWRITE);
    } else if (round->is_snapshot) {
        write_snapshot(round);
    } else {
        write_claims(round, now_us);
        plant_marker(round, now_us);
        write_watch(round);
        size_t n = n_strings(round);
        round->reading.n_merged = is_for_mget(round, n) ? n : 0;
        write_fetches(round, GAVEL__AWAITED_FETCH);
    }
    gavel__lane_end_write(lane, size_before, now_us);
    if (gavel__pass_blocked_on(lane) != NULL || round->is_at_replica)
        lane->written_us = 0; /* that is no round trip, or none to the primary */
}

/* ---- Without reads -------------------------------------------------------------------------- */

bool gavel__round_is_guarded(const gavel__round *round, int64_t now_us)
{
    const gavel__lane *lane = round->lane;
    if (round->is_snapshot || !gavel__marker_is_on(round->marker))
        return true;
    return lane->guard == GAVEL__GUARD_STANDS &&
           !gavel__marker_is_due(round->marker, round->rounds->marker_ttl_us, now_us);
}

void gavel__round_drop_watch(gavel__round *round, int64_t now_us)
{
    gavel__lane *lane = round->lane;
    if (round->reading.is_watched || gavel__marker_is_on(round->marker))
        return;
    size_t size_before = lane->out->size;
    write_unwatch(round);
    gavel__lane_end_write(lane, size_before, now_us);
}

/* ---- Replies -------------------------------------------------------------------------------- */

gavel__next gavel__round_run_when_read(const gavel__round *round)
{
    bool is_read = round->reading.is_watched && round->reading.n_fetched == round->n_fetches;
    return round->phase == GAVEL__ROUND_READING && is_read ? GAVEL__NEXT_RUN : GAVEL__NEXT_WAIT;
}

static gavel__next run_out_of_memory(gavel__round *round, int64_t now_us)
{
    gavel__round_fail(round, "no memory for what was read", now_us);
    return GAVEL__NEXT_END;
}

static gavel__next refuse(
    gavel__round *round, const gavel_reply *error, const char *what, int64_t now_us)
{
    gavel__round_note_refusal(round, error, what);
    return gavel__round_on_refusal(round, now_us);
}

/* An error that is no answer to a read, but says that the server cannot serve now. */
static bool is_fault(const gavel__round *round, const gavel_reply *reply)
{
    return reply->type == GAVEL_REPLY_ERROR &&
           gavel__round_remedy(round, reply->text) != GAVEL__REMEDY_GIVE_UP;
}

gavel__next gavel__round_on_planted(gavel__round *round, const gavel_reply *reply, int64_t now_us)
{
    if (reply->type != GAVEL_REPLY_ERROR)
        return GAVEL__NEXT_WAIT;
    return refuse(round, reply, "the marker was refused", now_us);
}

/* WATCH does not say which key it was. */
static void note_watch_refused(gavel__round *round, const gavel_reply *error)
{
    char key[64];
    char what[96] = "WATCH was refused";
    if (round->n_claims > 0)
        gavel__format(what, sizeof(what), "WATCH \"%s\"%s was refused",
            gavel__printable(round->claims[0]->node.key, key, sizeof(key)),
            round->n_claims > 1 ? " and others" : "");
    gavel__round_note_refusal(round, error, what);
}

/* A scout's WATCH was taken, so its keys are there; or a guest's are not. */
static gavel__next wait_for_slot(gavel__round *round, int64_t now_us)
{
    char message[GAVEL_MESSAGE_SIZE];
    gavel__format(message, sizeof(message),
        "slot %u is being migrated; not all of the keys are on the same node, with their marker",
        (unsigned)round->slot);
    while (!gavel__list_is_empty(&round->members))
        gavel__queue_on_migrating(
            round->rounds->queue, gavel__member_of(round->members.next), message, now_us);
    return GAVEL__NEXT_END;
}

gavel__next gavel__round_on_watched(gavel__round *round, const gavel_reply *reply, int64_t now_us)
{
    if (reply->type == GAVEL_REPLY_ERROR) {
        note_watch_refused(round, reply);
        return gavel__round_on_refusal(round, now_us);
    }
    round->reading.is_watched = true;
    return round->is_scout ? wait_for_slot(round, now_us) : gavel__round_run_when_read(round);
}

/* MGET's reply comes before all others; these are for the rest. */
static gavel__fetch *next_single_fetch(gavel__round *round)
{
    while (round->reading.n_merged > 0 && round->fetches[round->reading.next_fetch]->is_string)
        round->reading.next_fetch++;
    return round->fetches[round->reading.next_fetch++];
}

gavel__next gavel__round_on_fetched(gavel__round *round, const gavel_reply *reply, int64_t now_us)
{
    if (is_fault(round, reply))
        return refuse(round, reply, "a read was refused", now_us);
    gavel__fetch *fetch = next_single_fetch(round);
    if (!gavel__arena_copy_reply(&round->values, reply, &fetch->reply))
        return run_out_of_memory(round, now_us);
    round->reading.n_fetched++;
    return gavel__round_run_when_read(round);
}

/* What MGET answered for one string. False: it would not say, or there is no memory. */
static bool take_string(gavel__round *round, gavel__fetch *fetch, const gavel_reply *reply)
{
    return reply->type == GAVEL_REPLY_STRING &&
           gavel__arena_copy_reply(&round->values, reply, &fetch->reply);
}

/* Every string, or else the members run again without MGET. */
gavel__next gavel__round_on_fetched_strings(
    gavel__round *round, const gavel_reply *reply, int64_t now_us)
{
    if (is_fault(round, reply))
        return refuse(round, reply, "a read was refused", now_us);
    size_t n_taken = 0;
    bool is_sound =
        reply->type == GAVEL_REPLY_ARRAY && reply->n_elements == round->reading.n_merged;
    for (size_t i = 0; is_sound && i < round->n_fetches; i++) {
        if (round->fetches[i]->is_string)
            is_sound = take_string(round, round->fetches[i], &reply->elements[n_taken++]);
    }
    if (!is_sound)
        return gavel__round_go_plain(round, GAVEL__SHORTCUT_MGET, now_us);
    round->reading.n_fetched += round->reading.n_merged;
    return gavel__round_run_when_read(round);
}

/* ---- Too much ------------------------------------------------------------------------------ */

/* What cannot be read, by its command and key. */
static void refuse_read(
    gavel__transaction *member, size_t read, const char *message, int64_t now_us)
{
    bool has_others = member->round->is_snapshot && member->n_reads > 1;
    char command[GAVEL__COMMAND_TEXT_SIZE];
    char text[GAVEL_MESSAGE_SIZE];
    gavel__format(text, sizeof(text), "%s: %s%s", message,
        gavel__command_text(&member->reads[read].command, command),
        has_others ? " and the other reads together" : "");
    gavel__queue_settle(member->round->rounds->queue, member, GAVEL_NOT_SENT, text, now_us);
}

static void refuse_fetch(
    gavel__round *round, const gavel__fetch *fetch, const char *message, int64_t now_us)
{
    for (gavel__list *node = round->members.next; node != &round->members;) {
        gavel__transaction *member = gavel__member_of(node);
        node = node->next;
        for (size_t i = 0; i < member->n_reads; i++) {
            if (member->reads[i].reply != &fetch->reply)
                continue;
            refuse_read(member, i, message, now_us);
            break;
        }
    }
}

/* Of several members each reads alone, the next time. */
static void refuse_snapshot(gavel__round *round, const char *message, int64_t now_us)
{
    gavel__transaction *only = gavel__round_only_member(round);
    if (only != NULL)
        refuse_read(only, 0, message, now_us);
    for (gavel__list *node = round->members.next; node != &round->members; node = node->next)
        gavel__member_of(node)->is_alone = true;
}

void gavel__round_on_too_large(const gavel__awaited *awaited, const char *message, int64_t now_us)
{
    gavel__round *round = awaited->round;
    if (round == NULL)
        return;
    if (awaited->kind == GAVEL__AWAITED_FETCH)
        refuse_fetch(round, next_single_fetch(round), message, now_us);
    else if (awaited->kind == GAVEL__AWAITED_SNAPSHOT)
        refuse_snapshot(round, message, now_us);
}

/* ---- Snapshots ----------------------------------------------------------------------------- */

/* A read that is answered by this fetch, of whichever member; with `is_question` one by which gavel
 * asks what a command does. NULL: there is none, or those who asked are told, and gone. */
static const gavel__read *find_read(
    const gavel__round *round, const gavel__fetch *fetch, bool is_question)
{
    const gavel__list *members = &round->members;
    for (gavel__list *node = members->next; node != members; node = node->next) {
        const gavel__transaction *member = gavel__member_of(node);
        for (size_t i = 0; i < member->n_reads; i++) {
            const gavel__read *read = &member->reads[i];
            if (read->reply == &fetch->reply && (read->is_question || !is_question))
                return read;
        }
    }
    return NULL;
}

void gavel__round_on_snapshot_queued(gavel__round *round, const gavel_reply *reply)
{
    if (round->is_guest && !round->reading.is_watched) {
        round->reading.is_watched = true; /* so to say: by EXISTS */
        if (reply->type == GAVEL_REPLY_ERROR)
            gavel__round_note_refusal(round, reply, "EXISTS of what is read was refused");
        return;
    }
    const gavel__fetch *fetch = next_single_fetch(round);
    if (reply->type != GAVEL_REPLY_ERROR)
        return;
    const gavel__read *read = find_read(round, fetch, false);
    if (!is_fault(round, reply) && find_read(round, fetch, true) != NULL)
        round->rounds->lore->is_refused = round->refusal.is_of_question = true;
    if (!is_fault(round, reply) && fetch == round->dating)
        round->lane->node->is_undated = round->refusal.is_of_question = true;
    char text[GAVEL__COMMAND_TEXT_SIZE];
    char what[GAVEL_MESSAGE_SIZE];
    gavel__format(what, sizeof(what), "%s was refused",
        read != NULL ? gavel__command_text(&read->command, text) : "a read");
    gavel__round_note_refusal(round, reply, what);
}

/* What was read at a replica is dated. Not if the replica is none any more, or none yet. */
static gavel__next take_age(gavel__round *round, int64_t now_us)
{
    gavel__node *node = round->lane->node;
    const gavel__node *primary = node->primary;
    if (round->dating != NULL && !gavel__offsets_is_of_replica(&round->dating->reply)) {
        gavel__node_shun(node, now_us);
        return gavel__round_leave_replica(round, now_us);
    }
    if (round->dating != NULL && primary != NULL)
        round->is_dated =
            gavel__offsets_date(primary->offsets, &round->dating->reply, &round->as_of_us);
    return gavel__round_run_when_read(round);
}

/* The members run again, and nothing more is asked. */
static gavel__next go_on_unasked(gavel__round *round, int64_t now_us)
{
    while (!gavel__list_is_empty(&round->members)) {
        gavel__transaction *member = gavel__member_of(round->members.next);
        gavel__transaction_drop_questions(member);
        gavel__queue_make_ready(round->rounds->queue, member, now_us);
    }
    return GAVEL__NEXT_END;
}

/* The elements are what the reads would have answered. */
gavel__next gavel__round_on_snapshot(gavel__round *round, const gavel_reply *reply, int64_t now_us)
{
    if (reply->type == GAVEL_REPLY_ERROR)
        gavel__round_note_refusal(round, reply, "a read was refused");
    size_t n_before = round->is_guest ? 1 : 0; /* EXISTS */
    bool is_sound =
        reply->type == GAVEL_REPLY_ARRAY && reply->n_elements == n_before + round->n_fetches;
    if (!is_sound && round->refusal.is_of_question)
        return go_on_unasked(round, now_us);
    if (!is_sound && round->refusal.is_set)
        return gavel__round_on_refusal(round, now_us);
    if (!is_sound) {
        gavel__lane_condemn(round->lane, "EXEC was answered with something unexpected");
        gavel__round_fail(round, round->lane->message, now_us);
        return GAVEL__NEXT_END;
    }
    if (n_before > 0 && reply->elements[0].integer != (int64_t)round->reading.n_guarded)
        return wait_for_slot(round, now_us);
    for (size_t i = 0; i < round->n_fetches; i++) {
        if (!gavel__arena_copy_reply(
                &round->values, &reply->elements[n_before + i], &round->fetches[i]->reply))
            return run_out_of_memory(round, now_us);
    }
    round->reading.n_fetched = round->n_fetches;
    return round->is_at_replica ? take_age(round, now_us) : gavel__round_run_when_read(round);
}
