/*
 * Progress: what moves a round from one phase to the next: its beginning, each reply, the loss of
 * its link. The drawing in round.h as code; for the engine and its schedule.
 *
 * The steps (read.c, run.c, commit.c, conflict.c) do not know one another: each returns what comes
 * next, and only here a round is led on, and dissolved when nothing is left to do.
 */
#include "core/round.h"

/* It is waited for on behalf of all members, once. */
static void count_round_trip(gavel__round *round)
{
    for (gavel__list *node = round->members.next; node != &round->members; node = node->next)
        gavel__member_of(node)->outcome.n_round_trips++;
    if (round->lane->round == round)
        round->context->stats.n_round_trips++; /* otherwise it rides behind an EXEC */
}

/* What the bodies have written is kept, and leaves when the marker is known to be watched. */
static void await_guard(gavel__round *round)
{
    gavel__writes_end_run(&round->writes);
    round->is_unguarded = false;
    round->n_kept = gavel__round_count_members(round);
    count_round_trip(round);
}

void gavel__round_drive(gavel__round *round, gavel__next next, int64_t now_us)
{
    while (next != GAVEL__NEXT_WAIT) {
        switch (next) {
        case GAVEL__NEXT_WAIT:
            break;
        case GAVEL__NEXT_READ:
            gavel__round_write_reads(round, now_us);
            next = gavel__round_run_when_read(round); /* without markers there may be nothing */
            break;
        case GAVEL__NEXT_RUN:
            if (round->is_narrowing)
                gavel__round_narrow(round, now_us);
            next = gavel__round_run(round, now_us);
            if (next == GAVEL__NEXT_COMMIT && round->rounds->is_cluster)
                next = gavel__round_find_slot(round, now_us);
            if (next == GAVEL__NEXT_COMMIT && round->is_guest)
                next = gavel__round_check_guest(round, now_us);
            break;
        case GAVEL__NEXT_COMMIT:
            if (round->is_unguarded) {
                await_guard(round);
                next = GAVEL__NEXT_READ;
                break;
            }
            gavel__round_drop_watch(round, now_us);
            gavel__round_commit(round, now_us);
            next = GAVEL__NEXT_WAIT;
            break;
        case GAVEL__NEXT_CONFLICT:
            next = gavel__round_on_conflict(round, now_us);
            break;
        case GAVEL__NEXT_END:
            gavel__round_dissolve(round, now_us);
            return;
        }
    }
}

void gavel__round_begin(gavel__round *round, int64_t now_us)
{
    gavel__round_set_phase(round, GAVEL__ROUND_READING);
    if (round->n_claims + round->n_fetches == 0) {
        /* They will name what they want to read, or have all that they want. In a Cluster what is
         * guarded is known only then. */
        round->is_unguarded = round->rounds->is_cluster || !gavel__round_is_guarded(round, now_us);
        gavel__round_drive(round, GAVEL__NEXT_RUN, now_us);
        return;
    }
    count_round_trip(round);
    gavel__round_drive(round, GAVEL__NEXT_READ, now_us);
    round->let_go_us = now_us + gavel__policy_hold_us(round->policy);
}

void gavel__round_resume(gavel__round *round, int64_t now_us)
{
    gavel__round_set_phase(round, GAVEL__ROUND_READING);
    round->has_prefetch = false;
    round->is_late = false;
    round->reading.is_stale = true;
    gavel__round_withdraw_keys(round, now_us);
    gavel__policy_on_prefetch_used(round->policy);
    gavel__round_drive(round, gavel__round_run_when_read(round), now_us);
}

void gavel__round_wait_for_gates(gavel__round *round, int64_t now_us)
{
    gavel__inflight_disown(&round->lane->inflight, round);
    count_round_trip(round);
    gavel__round_drive(round, GAVEL__NEXT_READ, now_us);
    round->let_go_us = now_us + gavel__policy_hold_us(round->policy);
}

void gavel__round_on_granted(gavel__round *round, int64_t now_us)
{
    if (gavel__round_take_back(round, now_us))
        return;
    while (!gavel__list_is_empty(&round->members))
        gavel__queue_make_ready(
            round->rounds->queue, gavel__member_of(round->members.next), now_us);
    gavel__round_drive(round, GAVEL__NEXT_END, now_us);
}

void gavel__round_on_loss(gavel__round *round, const char *message, int64_t now_us)
{
    /* All values in one reply may have been more than a link takes. */
    if (round->reading.n_merged > 0 && round->reading.n_fetched == 0)
        gavel__policy_on_shortcut_failed(round->policy, GAVEL__SHORTCUT_MGET);
    gavel__round_fail(round, message, now_us);
    gavel__round_drive(round, GAVEL__NEXT_END, now_us);
}

bool gavel__round_is_in_doubt(const gavel__round *round, uint64_t n_sent)
{
    if (round->phase != GAVEL__ROUND_COMMITTING || round->writes.n_requests == 0)
        return false;
    /* What was queued was refused, and in MULTI: EXEC comes to nothing. */
    if (round->refusal.is_set && round->refusal.remedy == GAVEL__REMEDY_FOLLOW &&
        !round->committing.has_bare_writes)
        return false;
    return round->committing.has_bare_writes || n_sent >= round->committing.exec_end;
}

/* ---- Prefetching --------------------------------------------------------------------------- */

static bool is_warm(const gavel__round *round)
{
    for (size_t i = 0; i < round->n_claims; i++) {
        if (gavel__heat_is_warm(&round->claims[i]->heat))
            return true;
    }
    return false;
}

/* Whether who comes back with what he has just done watches and reads all that the round does; else
 * he could not join it. */
static bool can_be_joined(const gavel__round *round)
{
    const gavel__transaction *first = gavel__member_of(round->members.next);
    for (size_t i = 0; i < round->n_fetches; i++) {
        if (!round->fetches[i]->has_key) /* its value would be old */
            return false;
    }
    return round->n_claims > 0 && first->n_keys == round->n_claims &&
           first->n_reads == round->n_fetches;
}

void gavel__round_prefetch(gavel__round *round, int64_t now_us)
{
    if (!can_be_joined(round) || round->is_guest ||
        !gavel__policy_take_prefetch(round->policy, is_warm(round), gavel__round_is_inside(round)))
        return;
    round->has_prefetch = true;
    gavel__round_note_values(round);
    gavel__round_write_reads(round, now_us);
}
