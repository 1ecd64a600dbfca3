/*
 * Refusals: what becomes of a round when the server says no, or its link is lost.
 */
#include "core/round.h"

#include "base/text.h"
#include "core/node.h"

/* A node serves no slots while it does not know of a majority, and none once it is a replica. */
static bool serves_none(gavel_bytes error)
{
    return gavel__bytes_start_with(error, GAVEL_STR("CLUSTERDOWN ")) ||
           gavel__bytes_start_with(error, GAVEL_STR("READONLY "));
}

bool gavel__rounds_note_redirect(
    const gavel__rounds *rounds, struct gavel__node *node, gavel_bytes error, uint16_t *ret_node)
{
    gavel__redirect redirect;
    bool is_redirect = gavel__redirect_read(error, &redirect);
    uint16_t led_to = GAVEL__NO_NODE;
    if (rounds->on_redirect != NULL && (is_redirect || serves_none(error)))
        led_to = rounds->on_redirect(rounds->redirect_user, node, is_redirect ? &redirect : NULL);
    if (ret_node != NULL)
        *ret_node = led_to;
    return is_redirect && !redirect.is_ask;
}

/* Who has said so, where there are several and another one would not, perhaps. */
static const char *name_server(const gavel__round *round)
{
    bool is_of_many = round->rounds->is_cluster && round->refusal.remedy != GAVEL__REMEDY_GIVE_UP;
    return is_of_many ? round->lane->node->label : NULL;
}

void gavel__round_note_refusal(gavel__round *round, const gavel_reply *error, const char *what)
{
    if (round->refusal.is_set)
        return;
    char words[128];
    char migrating[40] = "";
    round->refusal.is_set = true;
    round->refusal.remedy = gavel__round_remedy(round, error->text);
    round->refusal.ask = GAVEL__NO_NODE;
    if (round->rounds->is_cluster && !round->is_at_replica)
        round->refusal.is_moved = gavel__rounds_note_redirect(
            round->rounds, round->lane->node, error->text, &round->refusal.ask);
    if (round->refusal.remedy == GAVEL__REMEDY_FOLLOW && !round->refusal.is_moved)
        gavel__format(
            migrating, sizeof(migrating), "slot %u is being migrated; ", (unsigned)round->slot);
    const char *server = name_server(round);
    gavel__format(round->refusal.message, sizeof(round->refusal.message), "%s%s%s%s: %s",
        server != NULL ? server : "", server != NULL ? ": " : "", migrating, what,
        gavel__printable(error->text, words, sizeof(words)));
}

/* Whoever it was, it cannot be told apart: each of several runs alone, a single one is told. */
static void single_out(gavel__round *round, int64_t now_us)
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
        gavel__queue_run_again(queue, member, round->refusal.message, now_us);
    }
}

void gavel__round_fail(gavel__round *round, const char *message, int64_t now_us)
{
    while (!gavel__list_is_empty(&round->members))
        gavel__queue_on_fault(
            round->rounds->queue, gavel__member_of(round->members.next), message, now_us);
}

/* The least that a server's client-query-buffer-limit can be. It closes the link of whoever sends
 * it more at once, without a word. */
static const size_t query_buffer_limit_min = (size_t)1 << 20;

void gavel__round_note_cut(const gavel__round *round)
{
    gavel__transaction *only = gavel__round_only_member(round);
    if (only == NULL || round->phase != GAVEL__ROUND_COMMITTING ||
        round->committing.n_bytes < query_buffer_limit_min)
        return;
    only->n_cuts++;
    only->n_cut_bytes = round->committing.n_bytes;
}

/* ---- Slots that move ----------------------------------------------------------------------- */

/* Whether it may go where its keys have gone. Who waits for replicas may not: which node they
 * would be asked of is not settled yet. */
static bool may_be_guest(const gavel__round *round, const gavel__transaction *member)
{
    if (member->n_keys == 0 || member->is_no_guest || gavel__transaction_has_wish(member))
        return false;
    return member->is_read_only || gavel__marker_is_on(round->marker);
}

/* Its slot is about to leave the node. */
static void wait_or_look(gavel__round *round, gavel__transaction *member, int64_t now_us)
{
    gavel__queue *queue = round->rounds->queue;
    const char *message = round->refusal.message;
    if (round->is_scout && round->refusal.ask != GAVEL__NO_NODE)
        gavel__queue_send_guest(queue, member, &(gavel__ask){round->refusal.ask, message}, now_us);
    else if (!round->is_scout && !round->is_guest && may_be_guest(round, member))
        gavel__queue_send_scout(queue, member, message, now_us);
    else
        gavel__queue_on_migrating(queue, member, message, now_us);
}

/* A guest's marker may have been taken back to the other node, with all of the slot; then it must
 * not be planted here as well. One that was planted just now has not been. */
static void check_marker(gavel__round *round, int64_t now_us)
{
    static const int64_t new_us = 1000000;
    if (!round->is_guest || round->is_snapshot || round->refusal.is_moved ||
        round->lane->round != round || now_us - round->marker->planted_us < new_us)
        return;
    gavel__rounds_rename_marker(round->rounds, round->marker, round->slot);
}

/* Nobody's fault, and no attempt was lost to anybody. */
static void follow(gavel__round *round, int64_t now_us)
{
    check_marker(round, now_us);
    while (!gavel__list_is_empty(&round->members)) {
        gavel__transaction *member = gavel__member_of(round->members.next);
        if (round->refusal.is_moved)
            gavel__queue_on_moved(round->rounds->queue, member, round->refusal.message, now_us);
        else
            wait_or_look(round, member, now_us);
    }
}

static bool writes_blindly(const gavel__writes *writes)
{
    size_t i = 0;
    while (i < writes->n_blind && writes->blind[i]->last_write == 0)
        i++;
    return i < writes->n_blind;
}

gavel__next gavel__round_check_guest(gavel__round *round, int64_t now_us)
{
    static const char why[] =
        "its slot is being migrated, and it writes a key that it has not read";
    if (!writes_blindly(&round->writes))
        return GAVEL__NEXT_COMMIT;
    gavel__writes_end_run(&round->writes);
    gavel__round_forget_written(round, now_us);
    while (!gavel__list_is_empty(&round->members)) {
        gavel__transaction *member = gavel__member_of(round->members.next);
        member->is_no_guest = true;
        gavel__queue_on_migrating(round->rounds->queue, member, why, now_us);
    }
    return GAVEL__NEXT_END;
}

gavel__next gavel__round_leave_replica(gavel__round *round, int64_t now_us)
{
    while (!gavel__list_is_empty(&round->members)) {
        gavel__transaction *member = gavel__member_of(round->members.next);
        member->needs_primary = true;
        gavel__queue_make_ready(round->rounds->queue, member, now_us);
    }
    return GAVEL__NEXT_END;
}

/* Whether the primary refuses it as well, will be seen there. */
static gavel__next on_replica_refusal(gavel__round *round, int64_t now_us)
{
    if (round->refusal.remedy != GAVEL__REMEDY_GIVE_UP)
        gavel__node_shun(round->lane->node, now_us);
    if (round->refusal.remedy == GAVEL__REMEDY_RECONNECT)
        gavel__lane_condemn(round->lane, round->refusal.message);
    if (round->refusal.remedy == GAVEL__REMEDY_FOLLOW && round->rounds->on_redirect != NULL)
        round->rounds->on_redirect(round->rounds->redirect_user, round->lane->node, NULL);
    return gavel__round_leave_replica(round, now_us);
}

gavel__next gavel__round_on_refusal(gavel__round *round, int64_t now_us)
{
    if (round->is_at_replica)
        return on_replica_refusal(round, now_us);
    switch (round->refusal.remedy) {
    case GAVEL__REMEDY_TRY_AGAIN:
        gavel__round_fail(round, round->refusal.message, now_us);
        break;
    case GAVEL__REMEDY_RECONNECT:
        gavel__lane_condemn(round->lane, round->refusal.message);
        gavel__round_fail(round, round->refusal.message, now_us);
        break;
    case GAVEL__REMEDY_GIVE_UP:
        single_out(round, now_us);
        break;
    case GAVEL__REMEDY_FOLLOW:
        follow(round, now_us);
        break;
    }
    return GAVEL__NEXT_END;
}

/* ---- Shortcuts ----------------------------------------------------------------------------- */

gavel__next gavel__round_go_plain(gavel__round *round, gavel__shortcut shortcut, int64_t now_us)
{
    gavel__policy_on_shortcut_failed(round->policy, shortcut);
    const char *reason = round->refusal.is_set ? round->refusal.message : "MGET said too little";
    while (!gavel__list_is_empty(&round->members))
        gavel__queue_run_again(
            round->rounds->queue, gavel__member_of(round->members.next), reason, now_us);
    return GAVEL__NEXT_END;
}
