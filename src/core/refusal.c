/*
 * Refusals: what becomes of a round when the server says no, or its link is lost.
 */
#include "core/round.h"

#include "base/text.h"

/* Of the members, which is the round's. */
static unsigned slot_of(const gavel__round *round)
{
    return gavel__list_is_empty(&round->members) ? GAVEL__NO_SLOT
                                                 : gavel__member_of(round->members.next)->slot;
}

/* A node serves no slots while it does not know of a majority, and none once it is a replica. */
static bool serves_none(gavel_bytes error)
{
    return gavel__bytes_start_with(error, GAVEL_STR("CLUSTERDOWN ")) ||
           gavel__bytes_start_with(error, GAVEL_STR("READONLY "));
}

bool gavel__rounds_note_redirect(
    const gavel__rounds *rounds, struct gavel__node *node, gavel_bytes error)
{
    gavel__redirect redirect;
    bool is_moved = gavel__redirect_read(error, &redirect) && !redirect.is_ask;
    if (rounds->on_redirect != NULL && (is_moved || serves_none(error)))
        rounds->on_redirect(rounds->redirect_user, node, is_moved ? &redirect : NULL);
    return is_moved;
}

void gavel__round_note_refusal(gavel__round *round, const gavel_reply *error, const char *what)
{
    if (round->refusal.is_set)
        return;
    char words[128];
    char migrating[40] = "";
    round->refusal.is_set = true;
    round->refusal.remedy = gavel__round_remedy(round, error->text);
    if (round->rounds->is_cluster)
        round->refusal.is_moved =
            gavel__rounds_note_redirect(round->rounds, round->lane->node, error->text);
    if (round->refusal.remedy == GAVEL__REMEDY_FOLLOW && !round->refusal.is_moved)
        gavel__format(migrating, sizeof(migrating), "slot %u is being migrated; ", slot_of(round));
    gavel__format(round->refusal.message, sizeof(round->refusal.message), "%s%s: %s", migrating,
        what, gavel__printable(error->text, words, sizeof(words)));
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

/* Nobody's fault, and no attempt was lost to anybody. */
static void follow(gavel__round *round, int64_t now_us)
{
    while (!gavel__list_is_empty(&round->members)) {
        gavel__transaction *member = gavel__member_of(round->members.next);
        if (round->refusal.is_moved)
            gavel__queue_on_moved(round->rounds->queue, member, round->refusal.message, now_us);
        else
            gavel__queue_on_migrating(round->rounds->queue, member, round->refusal.message, now_us);
    }
}

gavel__next gavel__round_on_refusal(gavel__round *round, int64_t now_us)
{
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
