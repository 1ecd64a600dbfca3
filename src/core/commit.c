/*
 * Commits: MULTI, the writes, the marker, EXEC; checking every reply to them; and telling each
 * member what its share of them came to.
 */
#include "core/identity.h"
#include "core/node.h"
#include "core/outcome.h"
#include "core/round.h"

#include "base/resp.h"
#include "base/text.h"

#include <assert.h>

/* ---- Composing ----------------------------------------------------------------------------- */

/*
 * INCR of the link's marker: what it then holds is the round's number, for others to read should
 * our EXEC's reply be lost. Cheaper for the server than a SET with a time to live each time.
 *
 * In a Cluster a link may outlive its server's being replaced, and coming back with older data; to
 * count on from there would say that this EXEC was not made. So it is set, if it is there, and says
 * what it was.
 */
static void write_marker(gavel__round *round)
{
    gavel__buffer *out = round->lane->out;
    gavel_bytes name = gavel__marker_name(round->marker);
    char number[GAVEL__INT_SIZE];
    round->committing.number = round->marker->number + 1;
    round->context->stats.n_marker_commands++;
    gavel__durability_on_sent(round->lane->node->durability, name);
    if (!round->rounds->is_cluster) {
        gavel__resp_command(out, (const gavel_bytes[]){GAVEL_STR("INCR"), name}, 2);
        return;
    }
    gavel_bytes args[] = {GAVEL_STR("SET"), name,
        gavel__format_int((int64_t)round->committing.number, number), GAVEL_STR("XX"),
        GAVEL_STR("KEEPTTL"), GAVEL_STR("GET")};
    gavel__resp_command(out, args, sizeof(args) / sizeof(args[0]));
}

/* A round that writes nothing is in no doubt. In a Cluster its marker makes it one that only the
 * primary runs, and only while it belongs to the majority. */
static bool wants_marker(const gavel__round *round)
{
    return gavel__marker_is_on(round->marker) &&
           (round->writes.n_requests > 0 || round->rounds->is_cluster);
}

/*
 * In a Cluster, where slots move key by key, WATCH does not guard a key that is not there: once it
 * is created where the slot goes to, EXEC would succeed here. But a node runs no EXEC with a
 * command on a key that it has not, while the slot leaves it, or that is elsewhere by now. So each
 * key that was watched is named by some command.
 */
static void write_names(gavel__round *round)
{
    gavel__buffer *out = round->lane->out;
    size_t n = 0;
    for (size_t i = 0; i < round->n_claims; i++)
        n += round->claims[i]->last_write == 0;
    if (n == 0)
        return;
    gavel__resp_begin(out, 1 + n);
    gavel__resp_arg(out, GAVEL_STR("EXISTS"));
    for (size_t i = 0; i < round->n_claims; i++) {
        if (round->claims[i]->last_write == 0)
            gavel__resp_arg(out, round->claims[i]->node.key);
    }
    round->committing.has_names = true;
}

/* Where the marker's reply stands, if it is counted up: behind those to the writes. */
static size_t marker_place(const gavel__round *round)
{
    return round->writes.n_places + round->committing.has_names;
}

static size_t n_queued_commands(const gavel__round *round)
{
    return marker_place(round) + (round->committing.number > 0 ? 1 : 0) +
           round->committing.n_hand_off;
}

void gavel__round_commit(gavel__round *round, int64_t now_us)
{
    gavel__lane *lane = round->lane;
    gavel_stats *stats = &round->context->stats;
    gavel__buffer *out = lane->out;
    size_t size_before = out->size;
    /* A late EXEC must find its marker touched: so it is watched before any of this is sent. */
    assert(!gavel__marker_is_on(round->marker) || lane->is_watching);
    gavel__round_set_phase(round, GAVEL__ROUND_COMMITTING);
    round->committing = (gavel__committing){.number = 0};
    for (gavel__list *node = round->members.next; node != &round->members; node = node->next) {
        gavel__transaction *member = gavel__member_of(node);
        gavel__transaction_set_state(member, GAVEL__TX_COMMITTING);
        member->outcome.n_round_trips++;
    }
    stats->n_commands += gavel__pass_write_names(lane, now_us);
    gavel__round_write_asking(round);
    gavel__resp_command(out, (const gavel_bytes[]){GAVEL_STR("MULTI")}, 1);
    gavel__writes_compose(
        &round->writes, gavel__policy_take_shortcut(round->policy, GAVEL__SHORTCUT_MSET), out);
    if (round->rounds->is_cluster)
        write_names(round);
    if (round->n_kept == 0)
        gavel__writes_end_run(&round->writes);
    round->n_kept = 0;
    if (wants_marker(round))
        write_marker(round);
    gavel__round_write_hand_off(round, now_us);
    gavel__resp_command(out, (const gavel_bytes[]){GAVEL_STR("EXEC")}, 1);
    round->committing.n_bytes = out->size - size_before;
    round->committing.exec_end = lane->n_appended + round->committing.n_bytes;
    gavel__inflight_add(&lane->inflight, GAVEL__AWAITED_MULTI, 1, round);
    gavel__inflight_add(&lane->inflight, GAVEL__AWAITED_QUEUED, n_queued_commands(round), round);
    gavel__inflight_add(&lane->inflight, GAVEL__AWAITED_EXEC, 1, round);
    /* Those that hand off have counted themselves. */
    lane->n_new_replies += 2 + n_queued_commands(round) - round->committing.n_hand_off;
    gavel__lane_end_watch(lane);
    stats->n_commands += 2 + marker_place(round) + round->committing.n_hand_off;
    stats->n_rounds++;
    stats->n_round_trips++;
    gavel__lane_end_write(lane, size_before, now_us);
    if (out->has_failed)
        round->committing.exec_end = UINT64_MAX; /* not all of it is there to be sent */
}

/* ---- Settling ------------------------------------------------------------------------------ */

/* The reply to one of the member's writes, from 0. */
static const gavel_reply *reply_to(const gavel__round *round, const gavel__transaction *member,
    const gavel_reply *exec, size_t write)
{
    return &exec->elements[round->writes.requests[member->first_write + write].place];
}

/* False: no memory. */
static bool keep_replies(gavel__round *round, gavel__transaction *member, const gavel_reply *exec)
{
    gavel_reply *replies =
        gavel__arena_alloc(&round->values, member->n_writes, sizeof(gavel_reply));
    if (replies == NULL)
        return false;
    for (size_t i = 0; i < member->n_writes; i++)
        replies[i] = *reply_to(round, member, exec, i);
    return gavel__outcome_keep_replies(
        &member->outcome, round->context->reply_allocator, replies, member->n_writes);
}

/* What an error among the replies to the member's writes says; "": there is none. */
static void explain_errors(const gavel__round *round, const gavel__transaction *member,
    const gavel_reply *exec, char message[GAVEL_MESSAGE_SIZE])
{
    char words[96];
    char text[GAVEL__COMMAND_TEXT_SIZE];
    for (size_t i = 0; i < member->n_writes; i++) {
        const gavel_reply *reply = reply_to(round, member, exec, i);
        if (reply->type != GAVEL_REPLY_ERROR)
            continue;
        gavel__format(message, GAVEL_MESSAGE_SIZE, "write %zu of %zu failed: %s: %s", i + 1,
            member->n_writes, gavel__printable(reply->text, words, sizeof(words)),
            gavel__writes_text(&round->writes, member->first_write + i, text));
        return;
    }
}

/* Whether the id's key was set as it should be; else words say why not. It stands behind the
 * member's writes, of which an aborted one has none. */
static bool is_id_kept(const gavel__round *round, const gavel__transaction *member,
    const gavel_reply *exec, gavel_bytes *ret_error)
{
    if (member->id_key.data == NULL)
        return true;
    const gavel_reply *reply = reply_to(round, member, exec, member->n_writes);
    *ret_error = reply->text;
    return reply->type == GAVEL_REPLY_STATUS && gavel__bytes_equal(reply->text, GAVEL_STR("OK"));
}

/* Whether no other round has had the number that its EXEC has left in the marker. */
static bool is_number_own(const gavel__round *round)
{
    return round->committing.made == round->committing.number;
}

static void settle_written(
    gavel__round *round, gavel__transaction *member, const gavel_reply *exec, int64_t now_us)
{
    char message[GAVEL_MESSAGE_SIZE] = "";
    char words[96];
    gavel_bytes error = {NULL, 0};
    explain_errors(round, member, exec, message);
    if (!is_id_kept(round, member, exec, &error))
        gavel__format(message, sizeof(message),
            "the id was not kept, so that it can commit again: %s",
            gavel__printable(error, words, sizeof(words)));
    bool is_clean = message[0] == '\0';
    if (message[0] == '\0' && member->outcome.is_duplicate)
        gavel__format(message, sizeof(message), "%s", gavel__identity_duplicate);
    gavel_status status = is_clean ? GAVEL_COMMITTED : GAVEL_COMMITTED_WITH_ERRORS;
    if (member->keep_replies && member->n_writes > 0 && !keep_replies(round, member, exec))
        gavel__format(message, sizeof(message), "committed; no memory to keep the replies");
    bool has_effects = gavel__transaction_has_effects(member);
    gavel__commit commit = {.status = status,
        .message = message,
        .marker = gavel__marker_name(round->marker),
        .first_number = round->marker->first_number,
        .number = round->committing.made,
        .page = is_number_own(round) ? round->marker->page : NULL};
    if (has_effects && commit.number > 0)
        gavel__durability_tell(round->lane->node->durability, member, &commit, now_us);
    else
        gavel__queue_settle(round->rounds->queue, member, status, message, now_us);
}

/* The proof of an end that writes nothing. Under an id it is one only if the tombstone was set. */
static void settle_proved(
    gavel__round *round, gavel__transaction *member, const gavel_reply *exec, int64_t now_us)
{
    char words[96];
    char message[GAVEL_MESSAGE_SIZE];
    gavel_bytes error = {NULL, 0};
    if (is_id_kept(round, member, exec, &error)) {
        gavel__queue_settle_abort(round->rounds->queue, member, now_us);
        return;
    }
    gavel__format(message, sizeof(message),
        "nothing was written, but an EXEC of this id that was sent before may still arrive: %s",
        gavel__printable(error, words, sizeof(words)));
    gavel__queue_settle(round->rounds->queue, member, GAVEL_REJECTED, message, now_us);
}

static void settle_members(gavel__round *round, const gavel_reply *reply, int64_t now_us)
{
    while (!gavel__list_is_empty(&round->members)) {
        gavel__transaction *member = gavel__member_of(round->members.next);
        if (member->is_aborted)
            settle_proved(round, member, reply, now_us);
        else
            settle_written(round, member, reply, now_us);
    }
}

/* What the marker held before this EXEC, by the reply to its command. False: it was not there. */
static bool read_marker(const gavel__round *round, const gavel_reply *reply, int64_t *ret_number)
{
    if (!round->rounds->is_cluster) {
        *ret_number = reply->integer - 1;
        return reply->type == GAVEL_REPLY_INTEGER;
    }
    return reply->type == GAVEL_REPLY_STRING && gavel__parse_int(reply->text, ret_number);
}

/* The server has gone back to an older state of its data, and this link has outlived it: what it
 * holds now is no witness any more. Outside a Cluster it was counted on from there, so this round
 * has a number that another one has had. */
static void tell_fallen(gavel__round *round, int64_t number, int64_t now_us)
{
    gavel__marker *marker = round->marker;
    gavel__durability *durability = round->lane->node->durability;
    if (!round->rounds->is_cluster)
        round->committing.made = (uint64_t)number + 1;
    /* For its other links the same. */
    gavel__ledger_audit(round->rounds->ledger, gavel__node_may_have_markers, round->lane->node);
    gavel__durability_leave(durability);
    gavel__page_on_fallen(marker->page, (uint64_t)number);
    gavel__durability_on_fallen(durability, gavel__marker_name(marker), (uint64_t)number, now_us);
}

/* A marker that was lost (evicted, say) is planted anew: what it holds now means nothing, and it
 * has no time to live. */
static void check_marker(gavel__round *round, const gavel_reply *reply, int64_t now_us)
{
    gavel__marker *marker = round->marker;
    int64_t before = 0;
    if (round->committing.number == 0)
        return;
    bool is_there = read_marker(round, &reply->elements[marker_place(round)], &before);
    bool is_ours = is_there && before >= (int64_t)marker->first_number;
    round->committing.made = round->committing.number;
    if (is_ours && before < (int64_t)marker->number)
        tell_fallen(round, before, now_us);
    if (!is_there || before != (int64_t)marker->number)
        marker->is_lost = true;
    marker->number = round->committing.number;
    if (!marker->is_lost)
        return;
    marker->is_planted = false;
    round->lane->has_lost_marker = true;
    gavel__page_on_marker_gone(marker->page);
}

/* Who waits for replicas may have waited for this EXEC's word, too. */
static void note_answered(gavel__round *round, int64_t now_us)
{
    if (round->committing.number > 0)
        gavel__durability_on_answered(
            round->lane->node->durability, gavel__marker_name(round->marker), now_us);
}

static gavel__next on_success(gavel__round *round, const gavel_reply *reply, int64_t now_us)
{
    gavel__policy_on_commit(round->policy, round->is_contended, gavel__round_count_members(round));
    for (size_t i = 0; i < round->n_claims; i++) {
        if (gavel__heat_is_known(&round->claims[i]->heat))
            gavel__heat_on_success(&round->claims[i]->heat, now_us);
    }
    check_marker(round, reply, now_us);
    note_answered(round, now_us);
    if (round->lane->pass.is_handed_off)
        gavel__pass_end(round->lane);
    settle_members(round, reply, now_us);
    if (!round->has_prefetch || round->marker->is_lost)
        return GAVEL__NEXT_END;
    gavel__round_set_phase(round, GAVEL__ROUND_PREFETCHED);
    round->prefetched_us = now_us;
    gavel__round_offer_keys(round, now_us);
    return GAVEL__NEXT_WAIT;
}

/* ---- Refusals ------------------------------------------------------------------------------ */

/* The member that a write is of; NULL: none, or several. */
static gavel__transaction *owner_of(gavel__round *round, size_t request)
{
    for (gavel__list *node = round->members.next; node != &round->members; node = node->next) {
        gavel__transaction *member = gavel__member_of(node);
        if (!member->is_aborted && request >= member->first_write &&
            request < member->first_write + member->n_writes)
            return member;
    }
    return NULL;
}

/* Notes whose fault the refusal of the command at this place is, if that can be said. */
static void blame(gavel__round *round, size_t place, gavel_bytes error)
{
    size_t request = gavel__writes_request_at(&round->writes, place);
    gavel__transaction *owner = owner_of(round, request);
    if (owner == NULL || owner->is_refused)
        return;
    char words[96];
    char text[GAVEL__COMMAND_TEXT_SIZE];
    char message[GAVEL_MESSAGE_SIZE];
    owner->is_refused = true;
    gavel__format(message, sizeof(message), "write %zu of %zu was refused: %s: %s",
        request - owner->first_write + 1, owner->n_writes,
        gavel__printable(error, words, sizeof(words)),
        gavel__writes_text(&round->writes, request, text));
    gavel__transaction_note(owner, &owner->why, message);
}

void gavel__round_on_multi(gavel__round *round, const gavel_reply *reply)
{
    if (reply->type == GAVEL_REPLY_ERROR)
        gavel__round_note_refusal(round, reply, "MULTI was refused");
}

/* Those whose command was refused are told; true if there were any. The others run again. */
static bool tell_refused(gavel__round *round, int64_t now_us)
{
    gavel__queue *queue = round->rounds->queue;
    bool has_told = false;
    for (gavel__list *node = round->members.next; node != &round->members;) {
        gavel__transaction *member = gavel__member_of(node);
        node = node->next;
        if (!member->is_refused)
            continue;
        has_told = true;
        if (member->rests_on_others) { /* on writes that were not made: it runs again */
            member->is_alone = true;
            continue;
        }
        const char *why = member->why != NULL ? member->why : "a write was refused";
        gavel__queue_settle(queue, member, GAVEL_REJECTED, why, now_us);
    }
    if (!has_told)
        return false;
    while (!gavel__list_is_empty(&round->members))
        gavel__queue_run_again(queue, gavel__member_of(round->members.next),
            "a command of another transaction in the same EXEC was refused", now_us);
    return true;
}

static gavel__next on_exec_error(gavel__round *round, const gavel_reply *reply, int64_t now_us)
{
    if (!gavel__server_error_ends_multi(reply->text))
        gavel__lane_condemn(round->lane, "EXEC was refused outright");
    gavel__round_note_refusal(round, reply, "EXEC was refused");
    round->lane->pass.is_handed_off = false;
    if (round->committing.is_gate_refused)
        return gavel__round_keep_gates(round, now_us);
    if (round->refusal.remedy == GAVEL__REMEDY_GIVE_UP && tell_refused(round, now_us))
        return GAVEL__NEXT_END;
    if (round->committing.is_merge_refused)
        return gavel__round_go_plain(round, GAVEL__SHORTCUT_MSET, now_us);
    return gavel__round_on_refusal(round, now_us);
}

static void note_refused_write(
    gavel__round *round, size_t place, const gavel_reply *reply, int64_t now_us)
{
    bool is_hand_off = place >= n_queued_commands(round) - round->committing.n_hand_off;
    bool is_of_names = round->committing.has_names && place == round->writes.n_places;
    gavel__round_note_refusal(round, reply,
        is_of_names ? "EXISTS of the keys that are watched was refused" : "a write was refused");
    if (is_hand_off)
        gavel__pass_on_refusal(round->lane, reply->text, now_us);
    if (gavel__round_remedy(round, reply->text) != GAVEL__REMEDY_GIVE_UP)
        return;
    if (is_hand_off) {
        round->committing.is_gate_refused = true;
    } else if (round->writes.is_merged && place == 0) {
        round->committing.is_merge_refused = true;
    } else {
        blame(round, place, reply->text);
    }
}

gavel__next gavel__round_on_queued(gavel__round *round, const gavel_reply *reply, int64_t now_us)
{
    size_t place = round->committing.n_queued++;
    if (reply->type == GAVEL_REPLY_STATUS && gavel__bytes_equal(reply->text, GAVEL_STR("QUEUED")))
        return GAVEL__NEXT_WAIT;
    if (reply->type != GAVEL_REPLY_ERROR) {
        round->committing.has_bare_writes = true;
        return GAVEL__NEXT_WAIT;
    }
    note_refused_write(round, place, reply, now_us);
    if (!gavel__server_error_is_of_protocol(reply->text) || round->committing.has_bare_writes)
        return GAVEL__NEXT_WAIT;
    /* The server does not come to EXEC. */
    gavel__lane_condemn(round->lane, round->refusal.message);
    return on_exec_error(round, reply, now_us);
}

/*
 * MULTI was refused but a write behind it was not: it took effect by itself, unguarded. Links are
 * probed for this when they come up, so it takes a change of the server's rules in between.
 */
static gavel__next on_bare_writes(gavel__round *round, int64_t now_us)
{
    static const char message[] =
        "the server refused MULTI but ran writes that followed it, outside any transaction";
    gavel__lane_condemn(round->lane, message);
    while (!gavel__list_is_empty(&round->members)) {
        gavel__transaction *member = gavel__member_of(round->members.next);
        gavel_status status =
            gavel__transaction_has_effects(member) ? GAVEL_UNKNOWN : GAVEL_REJECTED;
        gavel__queue_settle(round->rounds->queue, member, status, message, now_us);
    }
    return GAVEL__NEXT_END;
}

/* ---- EXEC ---------------------------------------------------------------------------------- */

gavel__next gavel__round_on_exec(gavel__round *round, const gavel_reply *reply, int64_t now_us)
{
    if (round->committing.has_bare_writes)
        return on_bare_writes(round, now_us);
    switch (reply->type) {
    case GAVEL_REPLY_NIL:
        note_answered(round, now_us);
        return GAVEL__NEXT_CONFLICT;
    case GAVEL_REPLY_ERROR:
        note_answered(round, now_us);
        return on_exec_error(round, reply, now_us);
    case GAVEL_REPLY_ARRAY:
        if (reply->n_elements == n_queued_commands(round))
            return on_success(round, reply, now_us);
        break;
    case GAVEL_REPLY_STATUS:
    case GAVEL_REPLY_INTEGER:
    case GAVEL_REPLY_STRING:
        break;
    }
    /* No sense can be made of it: the link goes, and the round is in doubt like any other. */
    gavel__lane_condemn(round->lane, "EXEC was answered with something unexpected");
    return GAVEL__NEXT_WAIT;
}
