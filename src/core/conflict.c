/*
 * Conflicts: EXEC was answered nil, so somebody has changed one of the round's keys. What is read
 * again tells which: that key is heated, and its members wait their turn; the others go on at once.
 */
#include "core/round.h"

/* ---- What has changed ---------------------------------------------------------------------- */

/* Tells values apart, not for certain: this decides who waits, not what is written. */
static uint64_t digest(const gavel__map *map, const gavel_reply *reply)
{
    uint64_t sum = (uint64_t)reply->type * 31 + (uint64_t)reply->integer;
    if (reply->text.size > 0)
        sum += gavel__map_hash(map, reply->text);
    for (size_t i = 0; i < reply->n_elements; i++)
        sum = sum * 31 + digest(map, &reply->elements[i]);
    return sum;
}

void gavel__round_note_values(gavel__round *round)
{
    for (size_t i = 0; i < round->n_fetches; i++)
        round->fetches[i]->digest = digest(&round->fetch_index, &round->fetches[i]->reply);
}

/* A time to live reads otherwise each time, and so does a clock: that says nothing. */
static bool reads_otherwise(const gavel__round *round, const gavel__fetch *fetch)
{
    return fetch->has_key && !fetch->is_life &&
           fetch->digest != digest(&round->fetch_index, &fetch->reply);
}

/* A read that the body came up with in its last run was not fetched yet. */
static bool has_changed(const gavel__round *round, const gavel__read *read)
{
    return read->reply != NULL &&
           reads_otherwise(round, GAVEL__CONTAINER(read->reply, const gavel__fetch, reply));
}

/* Whether anything reads otherwise now, also what only members wanted that have left. */
static bool has_any_changed(const gavel__round *round)
{
    for (size_t i = 0; i < round->n_fetches; i++) {
        if (reads_otherwise(round, round->fetches[i]))
            return true;
    }
    return false;
}

static void unmark_all(gavel__round *round)
{
    for (size_t i = 0; i < round->n_claims; i++)
        round->claims[i]->is_changed = false;
}

/* Marks the keys of what reads otherwise now. */
static void mark_changed(gavel__round *round)
{
    for (gavel__list *node = round->members.next; node != &round->members; node = node->next) {
        const gavel__transaction *member = gavel__member_of(node);
        for (size_t i = 0; i < member->n_reads; i++) {
            const gavel__command *command = &member->reads[i].command;
            if (!has_changed(round, &member->reads[i]))
                continue;
            for (size_t k = 0; k < command->n_keys; k++)
                gavel__transaction_held_key(member, gavel__command_key(command, k))->is_changed =
                    true;
        }
    }
}

/* It may have been a key that is declared and not read, or one that changed and changed back. */
static void mark_all(gavel__round *round)
{
    for (gavel__list *node = round->members.next; node != &round->members; node = node->next) {
        const gavel__transaction *member = gavel__member_of(node);
        for (size_t i = 0; i < member->n_keys; i++) {
            if (member->holds[i].key != NULL)
                member->holds[i].key->is_changed = true;
        }
    }
}

/* ---- Who waits ----------------------------------------------------------------------------- */

/* Heats the marked keys, and says when they may be tried again: inside their gates at once. */
static int64_t heat_keys(gavel__round *round, int64_t now_us)
{
    double level = 0;
    for (size_t i = 0; i < round->n_claims; i++) {
        gavel__heat *heat = &round->claims[i]->heat;
        if (!round->claims[i]->is_changed)
            continue;
        gavel__heat_on_conflict(heat, now_us);
        if (heat->level > level)
            level = heat->level;
    }
    if (gavel__round_is_inside(round))
        return now_us;
    int64_t resume_us =
        now_us + gavel__policy_conflict_pause_us(round->policy, level, &round->context->random);
    for (size_t i = 0; i < round->n_claims; i++) {
        if (round->claims[i]->is_changed)
            round->claims[i]->heat.resume_us = resume_us;
    }
    return resume_us;
}

static bool is_hit(const gavel__transaction *member)
{
    for (size_t i = 0; i < member->n_keys; i++) {
        const gavel__key *key = member->holds[i].key;
        if (key != NULL && key->is_changed)
            return true;
    }
    return false;
}

void gavel__round_narrow(gavel__round *round, int64_t now_us)
{
    round->is_narrowing = false;
    unmark_all(round);
    if (has_any_changed(round))
        mark_changed(round);
    else
        mark_all(round);
    int64_t resume_us = heat_keys(round, now_us);
    gavel__round_put_gates_up(round, now_us);
    gavel__round_leave_for_gates(round, now_us);
    for (gavel__list *node = round->members.next; node != &round->members;) {
        gavel__transaction *member = gavel__member_of(node);
        node = node->next;
        if (resume_us > now_us && is_hit(member))
            gavel__queue_pause(round->rounds->queue, member, resume_us, now_us);
    }
}

/* ---- EXEC said nil ------------------------------------------------------------------------- */

static bool is_shared(const gavel__round *round)
{
    return round->members.next != round->members.previous;
}

/* Whether what is read again is on its way, or worth a round trip: not for a single member, and
 * not while another round reads behind, whose EXEC would end our WATCH. */
static bool can_look_again(const gavel__round *round)
{
    if (round->has_prefetch)
        return true;
    return (is_shared(round) || gavel__round_is_inside(round)) && round->lane->next == NULL;
}

/* Each member has lost an attempt; those whose budget is spent leave. */
static void count_conflict(gavel__round *round, int64_t now_us)
{
    for (gavel__list *node = round->members.next; node != &round->members;) {
        gavel__transaction *member = gavel__member_of(node);
        node = node->next;
        gavel__queue_count_conflict(round->rounds->queue, member, now_us);
    }
}

/* The members stay for now, and see what has changed: it is on its way, or asked for. */
static gavel__next look_again(gavel__round *round, int64_t now_us)
{
    bool is_on_its_way = round->has_prefetch;
    round->has_prefetch = false;
    round->is_narrowing = true;
    gavel__round_set_phase(round, GAVEL__ROUND_READING);
    for (gavel__list *node = round->members.next; node != &round->members; node = node->next) {
        gavel__transaction_set_state(gavel__member_of(node), GAVEL__TX_READING);
        gavel__member_of(node)->outcome.n_round_trips += is_on_its_way ? 0 : 1;
    }
    if (is_on_its_way)
        return GAVEL__NEXT_WAIT;
    if (gavel__list_is_empty(&round->members))
        return GAVEL__NEXT_END;
    round->context->stats.n_round_trips++;
    gavel__round_note_values(round);
    if (gavel__round_is_inside(round)) {
        gavel__lane *lane = round->lane;
        size_t size_before = lane->out->size;
        round->context->stats.n_commands += gavel__pass_write_checks(lane);
        gavel__lane_end_write(lane, size_before, now_us);
    }
    return GAVEL__NEXT_READ;
}

/* It may try again at once, and again: nobody who only writes its keys waits for that. */
static void give_way(gavel__round *round, int64_t now_us)
{
    gavel__round_forget_written(round, now_us);
    for (size_t i = 0; i < round->n_claims; i++)
        gavel__order_wake(&round->rounds->queue->order, round->claims[i], now_us);
}

gavel__next gavel__round_on_conflict(gavel__round *round, int64_t now_us)
{
    gavel__rounds *rounds = round->rounds;
    give_way(round, now_us);
    rounds->context->stats.n_conflicts++;
    if (round->n_claims == 0) /* it was the marker: gone, most likely */
        round->marker->is_planted = false;
    round->lane->pass.is_handed_off = false;
    gavel__policy_on_conflict(
        round->policy, round->is_contended, gavel__round_count_members(round));
    if (can_look_again(round)) {
        count_conflict(round, now_us);
        return look_again(round, now_us);
    }
    unmark_all(round);
    mark_all(round);
    int64_t resume_us = heat_keys(round, now_us);
    count_conflict(round, now_us);
    gavel__round_put_gates_up(round, now_us);
    while (!gavel__list_is_empty(&round->members))
        gavel__queue_pause(rounds->queue, gavel__member_of(round->members.next), resume_us, now_us);
    return GAVEL__NEXT_END;
}
