/*
 * Durability: see the header.
 */
#include "core/durability.h"

#include "base/heap.h"
#include "base/text.h"
#include "core/node.h"
#include "core/outcome.h"

#include <assert.h>
#include <string.h>

static const int64_t rest_us = 20000;

/* Of the server's label in a message, so that the rest still has room. */
static const int label_shown_max = 64;

/* ---- Making and ending --------------------------------------------------------------------- */

static const gavel__question_ops question_ops;

void gavel__durability_init(gavel__durability *durability, gavel__queue *queue,
    gavel__questions *questions, const gavel__durability_config *config)
{
    *durability = (gavel__durability){.context = queue->context,
        .queue = queue,
        .questions = questions,
        .key_prefix = config->key_prefix,
        .identity = config->identity,
        .node = config->node,
        .at_node = config->at_node,
        .nodes = config->nodes,
        .slice_us = config->slice_us};
    gavel__list_init(&durability->idle);
}

static void free_all(gavel__durability *durability, gavel__list *list)
{
    for (gavel__list *node; (node = gavel__list_pop(list)) != NULL;) {
        gavel__replicating *replicating = GAVEL__CONTAINER(node, gavel__replicating, node);
        assert(gavel__list_is_empty(&replicating->members));
        gavel__page_leave(replicating->page);
        gavel__free(durability->context->allocator, replicating);
    }
}

void gavel__durability_finish(gavel__durability *durability)
{
    assert(durability->n_members == 0);
    for (size_t i = 0; i < GAVEL__N_WISHES; i++) {
        gavel__wish *wish = durability->wishes[i];
        if (wish == NULL)
            continue;
        free_all(durability, &wish->asked);
        free_all(durability, &wish->next);
        free_all(durability, &wish->ripe);
        gavel__free(durability->context->allocator, wish);
    }
    free_all(durability, &durability->idle);
}

/* ---- States -------------------------------------------------------------------------------- */

/* The arrows of the drawing in the header. */
static bool is_legal(gavel__wish_state from, gavel__wish_state to)
{
    switch (from) {
    case GAVEL__WISH_IDLE:
        return to == GAVEL__WISH_ASKED;
    case GAVEL__WISH_ASKED:
        return to != GAVEL__WISH_ASKED;
    case GAVEL__WISH_RESTING:
        return to == GAVEL__WISH_ASKED;
    }
    return false;
}

static void set_state(gavel__wish *wish, gavel__wish_state state)
{
    assert(is_legal(wish->state, state));
    (void)is_legal; /* without assertions */
    wish->state = state;
}

static void ask(gavel__wish *wish)
{
    set_state(wish, GAVEL__WISH_ASKED);
    gavel__question_ask(wish->durability->questions, &wish->question);
}

static void rest(gavel__wish *wish, int64_t now_us)
{
    set_state(wish, GAVEL__WISH_RESTING);
    wish->ask_us = now_us + rest_us;
}

/* ---- Who is held --------------------------------------------------------------------------- */

/* NULL: no memory. */
static gavel__wish *wish_for(gavel__durability *durability, uint32_t n_replicas, bool needs_fsync)
{
    size_t i = needs_fsync ? GAVEL__N_WISHES / 2 : 0;
    if (n_replicas != GAVEL_ALL_REPLICAS)
        i += 1 + n_replicas;
    gavel__wish **place = &durability->wishes[i];
    if (*place != NULL)
        return *place;
    gavel__wish *wish = gavel__alloc(durability->context->allocator, 1, sizeof(*wish));
    if (wish == NULL)
        return NULL;
    wish->durability = durability;
    wish->n_replicas = n_replicas;
    wish->needs_fsync = needs_fsync;
    wish->n_counted = -1;
    wish->mark = -1;
    wish->fault = "";
    gavel__list_init(&wish->next);
    gavel__list_init(&wish->asked);
    gavel__list_init(&wish->ripe);
    gavel__question_init(&wish->question, &question_ops);
    wish->question.is_blocking = true;
    wish->question.is_for_replicas = true;
    wish->question.is_of_history = true;
    wish->question.at_node = durability->at_node;
    *place = wish;
    return wish;
}

static bool is_of(const gavel__replicating *replicating, gavel_bytes marker)
{
    return gavel__bytes_equal((gavel_bytes){replicating->marker, replicating->marker_size}, marker);
}

/* Those of this connection, among those who come next. NULL: no memory. */
static gavel__replicating *place_for(gavel__wish *wish, const gavel__commit *commit)
{
    gavel__durability *durability = wish->durability;
    for (gavel__list *node = wish->next.next; node != &wish->next; node = node->next) {
        gavel__replicating *there = GAVEL__CONTAINER(node, gavel__replicating, node);
        there->is_sent = there->is_sent && !is_of(there, commit->marker); /* its EXEC is answered */
        if (there->page == commit->page && is_of(there, commit->marker))
            return there;
    }
    gavel__list *idle = gavel__list_pop(&durability->idle);
    gavel__replicating *replicating =
        idle != NULL ? GAVEL__CONTAINER(idle, gavel__replicating, node)
                     : gavel__alloc(durability->context->allocator, 1, sizeof(*replicating));
    if (replicating == NULL)
        return NULL;
    *replicating = (gavel__replicating){.wish = wish,
        .marker_size = commit->marker.size,
        .first_number = commit->first_number,
        .page = commit->page,
        .found = -1};
    gavel__page_pin(replicating->page);
    memcpy(replicating->marker, commit->marker.data, commit->marker.size);
    gavel__list_init(&replicating->members);
    gavel__list_append(&wish->next, &replicating->node);
    return replicating;
}

static void tell(gavel__durability *durability, gavel__transaction *transaction,
    const gavel__commit *commit, int64_t now_us)
{
    if (commit->page != NULL)
        gavel__page_enter(commit->page, commit->number, transaction->ticket, now_us);
    gavel__queue_settle(durability->queue, transaction, commit->status, commit->message, now_us);
}

/* Somebody has come. */
static void begin(gavel__wish *wish)
{
    if (wish->state != GAVEL__WISH_IDLE)
        return;
    wish->fault = ""; /* of those before */
    ask(wish);
}

static void hold(gavel__durability *durability, gavel__transaction *transaction,
    const gavel__commit *commit, int64_t now_us)
{
    gavel__wish *wish = wish_for(durability, transaction->min_replicas, transaction->needs_fsync);
    gavel__replicating *replicating = wish != NULL ? place_for(wish, commit) : NULL;
    if (replicating == NULL) {
        gavel__commit short_of_memory = *commit;
        short_of_memory.status = GAVEL_COMMITTED_NOT_DURABLE;
        short_of_memory.message = "no memory to ask for replicas";
        tell(durability, transaction, &short_of_memory, now_us);
        return;
    }
    gavel_outcome *outcome = &transaction->outcome;
    outcome->status = commit->status;
    outcome->n_replicas = 0;
    gavel__outcome_set_message(outcome, commit->message);
    gavel__queue_hold(durability->queue, transaction, now_us);
    transaction->replicating = replicating;
    transaction->commit_number = commit->number;
    gavel__list_append(&replicating->members, &transaction->node);
    durability->n_members++;
    begin(wish);
}

void gavel__durability_tell(gavel__durability *durability, gavel__transaction *transaction,
    const gavel__commit *commit, int64_t now_us)
{
    if (gavel__transaction_has_wish(transaction))
        hold(durability, transaction, commit, now_us);
    else
        tell(durability, transaction, commit, now_us);
}

/* It leaves, and is told, or runs again: what comes next. */
static void let_go(gavel__durability *durability, gavel__transaction *transaction)
{
    durability->n_members--;
    transaction->replicating = NULL;
    gavel__list_remove(&transaction->node);
}

static void tell_held(gavel__durability *durability, gavel__transaction *transaction,
    const gavel__commit *commit, int64_t now_us)
{
    gavel__commit whole = *commit;
    whole.number = transaction->commit_number;
    whole.page = transaction->replicating->page;
    let_go(durability, transaction);
    tell(durability, transaction, &whole, now_us);
}

/* ---- What they are told -------------------------------------------------------------------- */

/* What was missed, for people. */
static void explain(
    const gavel__wish *wish, const gavel__transaction *transaction, char *text, size_t size)
{
    unsigned n = (unsigned)gavel__wish_n_needed(wish);
    const char *label = wish->durability->node->label;
    if (!wish->needs_fsync)
        gavel__format(text, size, "%u of %u replicas of %.*s have it",
            (unsigned)transaction->outcome.n_replicas, n, label_shown_max, label);
    else if (n == 0)
        gavel__format(
            text, size, "it is not known to be on the disk of %.*s", label_shown_max, label);
    else
        gavel__format(text, size, "it is not known to be on the disks of %.*s and of %u replica%s",
            label_shown_max, label, n, n == 1 ? "" : "s");
}

static void end_unknown(gavel__transaction *transaction, const char *why, int64_t now_us)
{
    const gavel__wish *wish = transaction->replicating->wish;
    char message[GAVEL_MESSAGE_SIZE];
    gavel__format(message, sizeof(message),
        "committed, and the server was lost before enough replicas had it; %s before it said "
        "whether it has the commit still%s%s",
        why, wish->fault[0] != '\0' ? ": " : "", wish->fault);
    transaction->outcome.n_replicas = 0;
    let_go(wish->durability, transaction);
    gavel__queue_settle(wish->durability->queue, transaction, GAVEL_UNKNOWN, message, now_us);
}

static void end_not_durable(gavel__transaction *transaction, const char *why, int64_t now_us)
{
    const gavel__wish *wish = transaction->replicating->wish;
    const char *before = transaction->outcome.message;
    char message[GAVEL_MESSAGE_SIZE];
    char missed[160];
    explain(wish, transaction, missed, sizeof(missed));
    gavel__format(message, sizeof(message), "%s%s%s, and %s%s%s", before,
        before[0] != '\0' ? "; " : "", why, missed, wish->fault[0] != '\0' ? ": " : "",
        wish->fault);
    gavel__commit commit = {.status = GAVEL_COMMITTED_NOT_DURABLE, .message = message};
    tell_held(wish->durability, transaction, &commit, now_us);
}

void gavel__durability_end(gavel__transaction *transaction, const char *why, int64_t now_us)
{
    if (transaction->replicating->is_uncertain)
        end_unknown(transaction, why, now_us);
    else
        end_not_durable(transaction, why, now_us);
}

static void tell_durable(
    gavel__durability *durability, gavel__transaction *transaction, int64_t now_us)
{
    char message[GAVEL_MESSAGE_SIZE];
    memcpy(message, transaction->outcome.message, sizeof(message));
    gavel__commit commit = {.status = transaction->outcome.status, .message = message};
    tell_held(durability, transaction, &commit, now_us);
}

/* Its commit is in the data or not, and its marker cannot tell which: keys that migrate go one
 * after another. */
static void end_migrated(
    gavel__durability *durability, gavel__transaction *transaction, int64_t now_us)
{
    transaction->outcome.n_replicas = 0;
    let_go(durability, transaction);
    gavel__queue_settle(durability->queue, transaction, GAVEL_UNKNOWN,
        "committed, and a server was lost before enough replicas had it; its slot has migrated, so "
        "nobody can say whether the commit is there still",
        now_us);
}

/* Its commit is not in the history that goes on, and nobody has heard of it. */
static void take_back(
    gavel__durability *durability, gavel__transaction *transaction, int64_t now_us)
{
    const gavel__page *page = transaction->replicating->page;
    gavel_outcome *outcome = &transaction->outcome;
    if (page != NULL && page->has_migrated) {
        end_migrated(durability, transaction, now_us);
        return;
    }
    gavel_outcome_clear(outcome);
    outcome->is_from_marker = false;
    outcome->n_replicas = 0;
    let_go(durability, transaction);
    gavel__queue_on_fault(durability->queue, transaction,
        "the server had lost the commit before enough replicas had it", now_us);
}

static void undo(gavel__replicating *replicating, uint64_t number, int64_t now_us)
{
    for (gavel__list *node = replicating->members.next; node != &replicating->members;) {
        gavel__transaction *member = gavel__member_of(node);
        node = node->next;
        if (member->commit_number > number)
            take_back(replicating->wish->durability, member, now_us);
    }
}

static void undo_those_of(gavel__list *list, gavel_bytes marker, uint64_t number, int64_t now_us)
{
    for (gavel__list *node = list->next; node != list; node = node->next) {
        gavel__replicating *there = GAVEL__CONTAINER(node, gavel__replicating, node);
        if (is_of(there, marker))
            undo(there, number, now_us);
    }
}

void gavel__durability_on_fallen(
    gavel__durability *durability, gavel_bytes marker, uint64_t number, int64_t now_us)
{
    for (size_t i = 0; durability->n_members > 0 && i < GAVEL__N_WISHES; i++) {
        if (durability->wishes[i] == NULL)
            continue;
        undo_those_of(&durability->wishes[i]->asked, marker, number, now_us);
        undo_those_of(&durability->wishes[i]->next, marker, number, now_us);
        undo_those_of(&durability->wishes[i]->ripe, marker, number, now_us);
    }
}

/* Connections without members are for others. */
static void sweep(gavel__durability *durability, gavel__list *list)
{
    for (gavel__list *node = list->next; node != list;) {
        gavel__replicating *replicating = GAVEL__CONTAINER(node, gavel__replicating, node);
        node = node->next;
        if (!gavel__list_is_empty(&replicating->members))
            continue;
        gavel__page_leave(replicating->page);
        replicating->page = NULL;
        gavel__list_remove(&replicating->node);
        gavel__list_append(&durability->idle, &replicating->node);
    }
}

static void ask_if_needed(gavel__wish *wish)
{
    sweep(wish->durability, &wish->next);
    if (wish->state == GAVEL__WISH_IDLE && !gavel__list_is_empty(&wish->next))
        ask(wish);
}

/* Whether anybody is asked for, or comes next. */
static bool has_anybody(gavel__wish *wish)
{
    sweep(wish->durability, &wish->asked);
    sweep(wish->durability, &wish->next);
    return !gavel__list_is_empty(&wish->asked) || !gavel__list_is_empty(&wish->next);
}

/* ---- EXECs under way ----------------------------------------------------------------------- */

static void set_sent(gavel__list *list, gavel_bytes marker, bool is_sent)
{
    for (gavel__list *node = list->next; node != list; node = node->next) {
        gavel__replicating *replicating = GAVEL__CONTAINER(node, gavel__replicating, node);
        if (is_of(replicating, marker))
            replicating->is_sent = is_sent;
    }
}

void gavel__durability_on_sent(gavel__durability *durability, gavel_bytes marker)
{
    for (size_t i = 0; durability->n_members > 0 && i < GAVEL__N_WISHES; i++) {
        if (durability->wishes[i] == NULL)
            continue;
        set_sent(&durability->wishes[i]->asked, marker, true);
        set_sent(&durability->wishes[i]->next, marker, true);
    }
}

static void tell_ripe(gavel__wish *wish, gavel_bytes marker, int64_t now_us)
{
    for (gavel__list *node = wish->ripe.next; node != &wish->ripe; node = node->next) {
        gavel__replicating *replicating = GAVEL__CONTAINER(node, gavel__replicating, node);
        while (is_of(replicating, marker) && !gavel__list_is_empty(&replicating->members))
            tell_durable(wish->durability, gavel__member_of(replicating->members.next), now_us);
    }
    sweep(wish->durability, &wish->ripe);
}

void gavel__durability_on_answered(
    gavel__durability *durability, gavel_bytes marker, int64_t now_us)
{
    for (size_t i = 0; durability->n_members > 0 && i < GAVEL__N_WISHES; i++) {
        if (durability->wishes[i] == NULL)
            continue;
        set_sent(&durability->wishes[i]->asked, marker, false);
        set_sent(&durability->wishes[i]->next, marker, false);
        tell_ripe(durability->wishes[i], marker, now_us);
    }
}

/* What was counted is to be counted again. */
static void return_ripe(gavel__wish *wish, gavel_bytes marker)
{
    for (gavel__list *node = wish->ripe.next; node != &wish->ripe;) {
        gavel__replicating *replicating = GAVEL__CONTAINER(node, gavel__replicating, node);
        node = node->next;
        if (!is_of(replicating, marker))
            continue;
        replicating->is_sent = false;
        gavel__list_remove(&replicating->node);
        gavel__list_append(&wish->next, &replicating->node);
    }
}

void gavel__durability_on_marker_end(gavel__durability *durability, gavel_bytes marker)
{
    for (size_t i = 0; durability->n_members > 0 && i < GAVEL__N_WISHES; i++) {
        gavel__wish *wish = durability->wishes[i];
        if (wish == NULL)
            continue;
        set_sent(&wish->asked, marker, false);
        set_sent(&wish->next, marker, false);
        return_ripe(wish, marker);
        ask_if_needed(wish);
    }
}

/* ---- Slots that move ----------------------------------------------------------------------- */

/* Where they are to be asked for. */
static gavel__durability *home_of(const gavel__replicating *replicating)
{
    gavel__durability *durability = replicating->wish->durability;
    gavel_bytes marker = {replicating->marker, replicating->marker_size};
    const gavel__node *home = gavel__nodes_of(durability->nodes, gavel__slot_of(marker));
    return home != NULL ? home->durability : durability;
}

static size_t count_members(const gavel__replicating *replicating)
{
    size_t n = 0;
    const gavel__list *members = &replicating->members;
    for (const gavel__list *node = members->next; node != members; node = node->next)
        n++;
    return n;
}

/* Nobody has seen their commits there. Without memory they stay, and will be told at their time. */
static void hand_over(gavel__replicating *replicating, gavel__durability *home)
{
    const gavel__wish *old = replicating->wish;
    gavel__wish *wish = wish_for(home, old->n_replicas, old->needs_fsync);
    size_t n_members = count_members(replicating);
    if (wish == NULL)
        return;
    old->durability->n_members -= n_members;
    home->n_members += n_members;
    replicating->wish = wish;
    replicating->is_uncertain = true;
    gavel__list_remove(&replicating->node);
    gavel__list_append(&wish->next, &replicating->node);
    begin(wish);
}

static void send_home(const gavel__durability *durability, gavel__list *list)
{
    for (gavel__list *node = list->next; node != list && durability->nodes != NULL;) {
        gavel__replicating *replicating = GAVEL__CONTAINER(node, gavel__replicating, node);
        node = node->next;
        gavel__durability *home = home_of(replicating);
        if (home != durability && !gavel__list_is_empty(&replicating->members))
            hand_over(replicating, home);
    }
}

void gavel__durability_on_map(gavel__durability *durability)
{
    for (size_t i = 0; durability->n_members > 0 && i < GAVEL__N_WISHES; i++) {
        gavel__wish *wish = durability->wishes[i];
        if (wish == NULL)
            continue;
        send_home(durability, &wish->next);
        if (wish->question.state == GAVEL__QUESTION_ASKED)
            continue; /* the others when it is answered, or lost */
        send_home(durability, &wish->asked);
        if (wish->state == GAVEL__WISH_ASKED && !has_anybody(wish)) {
            gavel__question_withdraw(&wish->question);
            set_state(wish, GAVEL__WISH_IDLE);
        }
    }
}

/* ---- Judging ------------------------------------------------------------------------------- */

/* Whether what the marker holds tells of each of the rounds whether it is in the data. */
static bool can_tell(const gavel__replicating *replicating)
{
    return replicating->found == 0 || replicating->found >= (int64_t)replicating->first_number;
}

/* The reply under way says whether it counts. */
static void ripen(gavel__replicating *replicating)
{
    gavel__list_remove(&replicating->node);
    gavel__list_append(&replicating->wish->ripe, &replicating->node);
}

static void judge_members(gavel__replicating *replicating, bool is_enough, int64_t now_us)
{
    gavel__wish *wish = replicating->wish;
    gavel__durability *durability = wish->durability;
    if (!can_tell(replicating))
        return;
    replicating->is_uncertain = false;
    for (gavel__list *node = replicating->members.next; node != &replicating->members;) {
        gavel__transaction *member = gavel__member_of(node);
        node = node->next;
        member->outcome.n_round_trips++;
        if (replicating->found < (int64_t)member->commit_number) {
            take_back(durability, member, now_us);
            continue;
        }
        if (wish->n_counted > 0)
            member->outcome.n_replicas = (uint32_t)wish->n_counted;
        if (is_enough && !replicating->is_sent)
            tell_durable(durability, member, now_us);
    }
}

static void give_up(gavel__replicating *replicating, const char *why, int64_t now_us)
{
    while (!gavel__list_is_empty(&replicating->members))
        gavel__durability_end(gavel__member_of(replicating->members.next), why, now_us);
}

/* All answers are there. */
static void judge(gavel__wish *wish, int64_t now_us)
{
    bool is_known =
        wish->n_counted >= 0 && (wish->is_role_known || wish->n_replicas != GAVEL_ALL_REPLICAS);
    bool is_enough = is_known && wish->n_counted >= (int64_t)gavel__wish_n_needed(wish) &&
                     (wish->is_on_disk || !wish->needs_fsync);
    for (gavel__list *node = wish->asked.next; node != &wish->asked;) {
        gavel__replicating *replicating = GAVEL__CONTAINER(node, gavel__replicating, node);
        node = node->next;
        judge_members(replicating, is_enough, now_us);
        if (is_enough && replicating->is_sent && can_tell(replicating))
            ripen(replicating);
        if (wish->is_refused)
            give_up(replicating, "the server would not say", now_us);
    }
    send_home(wish->durability, &wish->asked);
    sweep(wish->durability, &wish->asked);
    if (wish->is_led_away && !gavel__list_is_empty(&wish->asked)) /* another slot may do */
        gavel__list_append(&wish->asked, gavel__list_pop(&wish->asked));
    bool is_over = gavel__list_is_empty(&wish->asked);
    if (is_over && gavel__list_is_empty(&wish->next))
        set_state(wish, GAVEL__WISH_IDLE);
    else if (is_over || (is_known && !is_enough))
        gavel__question_ask(wish->durability->questions, &wish->question);
    else
        rest(wish, now_us); /* an error, or a marker that is gone */
}

/* ---- Asking -------------------------------------------------------------------------------- */

static gavel__wish *wish_of(gavel__question *question)
{
    return GAVEL__CONTAINER(question, gavel__wish, question);
}

/* Those who are still asked for, or those who come next. False: nobody. */
static bool take_turn(gavel__wish *wish)
{
    sweep(wish->durability, &wish->asked);
    if (gavel__list_is_empty(&wish->asked)) {
        gavel__list_append_all(&wish->asked, &wish->next);
        sweep(wish->durability, &wish->asked);
        wish->lane = NULL;
    }
    return !gavel__list_is_empty(&wish->asked);
}

static size_t write(gavel__question *question, gavel__buffer *out, int64_t now_us)
{
    gavel__wish *wish = wish_of(question);
    (void)now_us;
    if (take_turn(wish))
        return gavel__wish_write(wish, out);
    set_state(wish, GAVEL__WISH_IDLE);
    return 0;
}

static void on_reply(gavel__question *question, size_t i, const gavel_reply *reply, int64_t now_us)
{
    gavel__wish_take(wish_of(question), i, reply);
    if (question->state == GAVEL__QUESTION_IDLE) /* that was the last one */
        judge(wish_of(question), now_us);
}

static void on_loss(
    gavel__question *question, const gavel__loss *loss, bool was_sent, int64_t now_us)
{
    gavel__wish *wish = wish_of(question);
    (void)was_sent;
    gavel__wish_doubt(wish);
    gavel__format(wish->words, sizeof(wish->words), "%s", loss->message);
    wish->fault = wish->words;
    send_home(wish->durability, &wish->next);
    send_home(wish->durability, &wish->asked);
    if (!has_anybody(wish))
        set_state(wish, GAVEL__WISH_IDLE);
    else if (loss->is_final)
        rest(wish, now_us);
    else
        gavel__question_ask(wish->durability->questions, question);
}

static const gavel__question_ops question_ops = {write, on_reply, on_loss};

/* ---- Time ---------------------------------------------------------------------------------- */

void gavel__durability_leave(gavel__durability *durability)
{
    for (size_t i = 0; i < GAVEL__N_WISHES; i++) {
        gavel__wish *wish = durability->wishes[i];
        if (wish == NULL)
            continue;
        gavel__wish_doubt(wish);
        ask_if_needed(wish);
    }
}

void gavel__durability_advance(gavel__durability *durability, int64_t now_us)
{
    if (durability->n_members == 0) /* mostly */
        return;
    for (size_t i = 0; i < GAVEL__N_WISHES; i++) {
        gavel__wish *wish = durability->wishes[i];
        if (wish != NULL && wish->state == GAVEL__WISH_RESTING && wish->ask_us <= now_us)
            ask(wish);
    }
}

int64_t gavel__durability_due_us(const gavel__durability *durability)
{
    int64_t due_us = GAVEL__NEVER;
    for (size_t i = 0; i < GAVEL__N_WISHES && durability->n_members > 0; i++) {
        const gavel__wish *wish = durability->wishes[i];
        if (wish != NULL && wish->state == GAVEL__WISH_RESTING && wish->ask_us < due_us)
            due_us = wish->ask_us;
    }
    return due_us;
}
