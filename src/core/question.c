/*
 * Questions: see the header.
 */
#include "core/question.h"

#include "base/heap.h"
#include "base/redirect.h"
#include "base/text.h"
#include "core/node.h"
#include "core/server_error.h"

#include <assert.h>

/* ---- Asking -------------------------------------------------------------------------------- */

void gavel__question_init(gavel__question *question, const gavel__question_ops *ops)
{
    *question = (gavel__question){.ops = ops, .at_node = GAVEL__NO_NODE};
    gavel__list_init(&question->node);
}

/* The arrows of the drawing in the header. */
static bool is_legal(gavel__question_state from, gavel__question_state to)
{
    switch (from) {
    case GAVEL__QUESTION_IDLE:
        return to == GAVEL__QUESTION_PENDING;
    case GAVEL__QUESTION_PENDING:
        return to == GAVEL__QUESTION_ASKED || to == GAVEL__QUESTION_IDLE;
    case GAVEL__QUESTION_ASKED:
        return to == GAVEL__QUESTION_IDLE;
    }
    return false;
}

static void leave_lane(gavel__question *question)
{
    if (question->is_blocking) {
        question->lane->blocking = NULL;
        question->lane->is_for_replicas = false;
        question->last_lane = question->lane;
    }
    question->lane = NULL;
}

/* Nothing of it is left there. */
static void leave_strand(gavel__question *question)
{
    if (question->strand != NULL && question->strand->last == question)
        gavel__strand_cut(question->strand);
}

static void set_state(gavel__question *question, gavel__question_state state)
{
    assert(is_legal(question->state, state));
    (void)is_legal; /* without assertions */
    question->state = state;
    if (state != GAVEL__QUESTION_PENDING)
        gavel__list_remove(&question->node);
    if (state != GAVEL__QUESTION_ASKED && question->lane != NULL)
        leave_lane(question);
    if (state == GAVEL__QUESTION_IDLE)
        leave_strand(question);
}

static gavel__list *pending_of(gavel__questions *questions, const gavel__question *question)
{
    if (question->is_for_replicas)
        return &questions->pending_for_replicas;
    return question->is_blocking ? &questions->pending_blocking : &questions->pending;
}

void gavel__question_ask(gavel__questions *questions, gavel__question *question)
{
    set_state(question, GAVEL__QUESTION_PENDING);
    question->among = questions;
    question->not_before_us = 0;
    question->n_failed_dials = 0;
    gavel__list_append(pending_of(questions, question), &question->node);
}

bool gavel__question_withdraw(gavel__question *question)
{
    if (question->state == GAVEL__QUESTION_ASKED) {
        if (question->is_blocking)
            gavel__lane_retire(question->lane);
        return false;
    }
    if (question->state == GAVEL__QUESTION_PENDING)
        set_state(question, GAVEL__QUESTION_IDLE);
    return true;
}

void gavel__strand_cut(gavel__strand *strand)
{
    strand->last = NULL;
}

/* ---- Serving ------------------------------------------------------------------------------- */

void gavel__questions_init(gavel__questions *questions, const gavel__nodes *nodes)
{
    *questions = (gavel__questions){.slow_us = GAVEL__QUESTION_SLOW_US, .nodes = nodes};
    gavel__list_init(&questions->pending);
    gavel__list_init(&questions->pending_blocking);
    gavel__list_init(&questions->pending_for_replicas);
}

/* Whether the node is the one for it. */
static bool is_for(const gavel__question *question, const gavel__node *node)
{
    if (node->node_of == NULL)
        return gavel__node_takes_questions(node);
    uint16_t wanted =
        question->at_node != GAVEL__NO_NODE ? question->at_node : node->node_of[question->slot];
    return wanted == node->index;
}

/* Whether it is to wait until the history is certain. */
static bool is_premature(const gavel__questions *questions, const gavel__question *question)
{
    return questions->is_provisional && question->is_of_history;
}

static bool has_one_for(
    const gavel__questions *questions, const gavel__list *pending, const gavel__node *node)
{
    for (const gavel__list *at = pending->next; at != pending; at = at->next) {
        const gavel__question *question = GAVEL__CONTAINER(at, const gavel__question, node);
        if (is_for(question, node) && !is_premature(questions, question))
            return true;
    }
    return false;
}

/* Whether one is better than the other, or than none. */
static bool is_better(const gavel__questions *questions, const gavel__lane *lane,
    const gavel__lane *other, int64_t now_us)
{
    if (other == NULL)
        return true;
    bool is_slow = gavel__lane_is_slow(lane, questions->slow_us, now_us);
    if (is_slow != gavel__lane_is_slow(other, questions->slow_us, now_us))
        return !is_slow;
    return lane->inflight.n_replies < other->inflight.n_replies;
}

/* Whether all ordinary lanes that there can be are up. */
static bool are_all_up(const gavel__lanes *lanes)
{
    uint32_t n_up = 0;
    for (const gavel__lane *lane = lanes->first; lane != NULL; lane = lane->following)
        n_up += !lane->is_waiting_lane && lane->state == GAVEL__LANE_UP;
    return n_up == lanes->n_links;
}

/* The lane that answers first, as far as can be told; NULL: none is up, or another one is better.
 */
static gavel__lane *find_lane(
    const gavel__questions *questions, const gavel__lanes *lanes, int64_t now_us)
{
    gavel__lane *found = NULL;
    for (gavel__lane *lane = lanes->first; lane != NULL; lane = lane->following) {
        if (gavel__lane_can_ask(lane) && is_better(questions, lane, found, now_us))
            found = lane;
    }
    if (found != NULL && gavel__lane_is_slow(found, questions->slow_us, now_us) &&
        !are_all_up(lanes))
        return NULL;
    return found;
}

/* A waiting lane that nobody has, if one more may block; NULL: none. */
static gavel__lane *find_spare_lane(const gavel__lanes *lanes, const gavel__question *question)
{
    if (!gavel__lanes_may_block(lanes, question->is_for_replicas))
        return NULL;
    if (question->is_for_replicas && question->last_lane != NULL &&
        gavel__lane_is_spare(question->last_lane))
        return question->last_lane;
    gavel__lane *lane = lanes->first;
    while (lane != NULL && !gavel__lane_is_spare(lane))
        lane = lane->following;
    return lane;
}

static void write(gavel__question *question, gavel__lane *lane, int64_t now_us)
{
    if (!gavel__inflight_reserve(&lane->inflight)) {
        gavel__lane_condemn(lane, "no memory for a question");
        return; /* it is PENDING still: for another lane, or this one when it is up again */
    }
    size_t size_before = lane->out->size;
    question->lane = lane;
    size_t n_replies = question->ops->write(question, lane->out, now_us);
    assert(n_replies > 0 || lane->out->size == size_before);
    if (n_replies == 0) {
        question->lane = NULL;
        set_state(question, GAVEL__QUESTION_IDLE);
        return;
    }
    set_state(question, GAVEL__QUESTION_ASKED);
    if (question->is_blocking) {
        lane->blocking = question;
        lane->is_for_replicas = question->is_for_replicas;
        lane->named_after = 0; /* it may name itself otherwise */
    } else if (question->strand != NULL) {
        question->strand->last = question;
    }
    question->n_replies = n_replies;
    question->n_answered = 0;
    question->is_refused = false;
    question->is_redirected = false;
    lane->n_appended += lane->out->size - size_before;
    lane->n_new_replies += n_replies;
    if (lane->silent_us == 0)
        lane->silent_us = now_us;
    question->end_byte = lane->n_appended;
    gavel__inflight_add_question(&lane->inflight, n_replies, question);
    if (lane->out->has_failed) {
        question->end_byte = UINT64_MAX; /* not all of it is there to be sent */
        gavel__lane_condemn(lane, "no memory for a question");
    }
}

static bool may_go_anywhere(const gavel__question *question)
{
    const gavel__strand *strand = question->strand;
    return strand == NULL || strand->last == NULL || strand->last == question;
}

/* Behind its strand, also if that takes the loss of a lane that cannot be asked any more. */
static gavel__lane *lane_for(const gavel__questions *questions, const gavel__question *question,
    const gavel__lanes *lanes, int64_t now_us)
{
    if (may_go_anywhere(question))
        return find_lane(questions, lanes, now_us);
    if (lanes->node->node_of != NULL) /* the one before it may have to be asked again, elsewhere */
        return NULL;
    gavel__lane *lane = question->strand->last->lane;
    return gavel__lane_can_ask(lane) ? lane : NULL;
}

/* One whose lane has no memory for it is tried with the next: it must not fall behind others. */
static void serve(gavel__questions *questions, gavel__question *question, const gavel__lanes *lanes,
    int64_t now_us)
{
    gavel__lane *lane;
    while (question->state == GAVEL__QUESTION_PENDING &&
           (lane = lane_for(questions, question, lanes, now_us)) != NULL)
        write(question, lane, now_us);
}

static void serve_blocking(const gavel__questions *questions, gavel__list *pending,
    const gavel__node *node, int64_t now_us)
{
    gavel__list *next;
    for (gavel__list *at = pending->next; at != pending; at = next) {
        gavel__question *question = GAVEL__CONTAINER(at, gavel__question, node);
        next = at->next;
        if (!is_for(question, node) || question->not_before_us > now_us ||
            is_premature(questions, question))
            continue;
        gavel__lane *lane = find_spare_lane(&node->lanes, question);
        if (lane == NULL)
            return;
        write(question, lane, now_us);
    }
}

void gavel__questions_serve(gavel__questions *questions, const gavel__node *node, int64_t now_us)
{
    gavel__list *next;
    bool is_over = false; /* there is no lane for those that may go anywhere */
    for (gavel__list *at = questions->pending.next; at != &questions->pending; at = next) {
        gavel__question *question = GAVEL__CONTAINER(at, gavel__question, node);
        next = at->next;
        if (!is_for(question, node) || question->not_before_us > now_us ||
            is_premature(questions, question) || (is_over && may_go_anywhere(question)))
            continue;
        serve(questions, question, &node->lanes, now_us);
        is_over =
            is_over || (question->state == GAVEL__QUESTION_PENDING && may_go_anywhere(question));
    }
    serve_blocking(questions, &questions->pending_for_replicas, node, now_us);
    serve_blocking(questions, &questions->pending_blocking, node, now_us);
}

/* Whatever could be asked was, when they were served. */
bool gavel__questions_want_lane(
    const gavel__questions *questions, const gavel__node *node, bool is_blocking)
{
    if (is_blocking)
        return (has_one_for(questions, &questions->pending_blocking, node) &&
                   gavel__lanes_may_block(&node->lanes, false)) ||
               (has_one_for(questions, &questions->pending_for_replicas, node) &&
                   gavel__lanes_may_block(&node->lanes, true));
    return has_one_for(questions, &questions->pending, node);
}

/* ---- What comes back ----------------------------------------------------------------------- */

/* Whether an answer says that the server, or our login, is not what it was. */
static bool is_useless(const gavel_reply *reply)
{
    return reply->type == GAVEL_REPLY_ERROR &&
           gavel__server_error_remedy(reply->text) == GAVEL__REMEDY_RECONNECT;
}

static void close_lane(gavel__lane *lane, const gavel_reply *reply)
{
    char words[GAVEL_MESSAGE_SIZE];
    if (is_useless(reply))
        gavel__lane_condemn(lane, gavel__printable(reply->text, words, sizeof(words)));
    else
        gavel__lane_condemn(lane, "the server refuses to write, or to know us");
}

/* Whether a reply says that the slot is not where it was asked for, or not wholly, or not served.
 */
static bool is_redirect(const gavel_reply *reply)
{
    static const gavel_bytes codes[] = {{"TRYAGAIN ", 9}, {"CLUSTERDOWN ", 12}, {"UNBLOCKED ", 10}};
    gavel__redirect redirect;
    if (reply->type != GAVEL_REPLY_ERROR)
        return false;
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (gavel__bytes_start_with(reply->text, codes[i]))
            return true;
    }
    return gavel__redirect_read(reply->text, &redirect);
}

static void note_redirect(gavel__question *question, size_t i, const gavel_reply *reply)
{
    if (question->lane->node->node_of == NULL || question->at_node != GAVEL__NO_NODE ||
        (question->is_once && i > 0) || !is_redirect(reply))
        return;
    question->is_redirected = true;
}

/* A few times at once, if it was led there; then with pauses from 2 to 64 ms. */
static int64_t redirect_pause_us(const gavel__question *question, const gavel_reply *reply)
{
    static const uint32_t n_at_once = 5;
    static const uint32_t max_doublings = 6;
    uint32_t n = question->n_redirects;
    if (gavel__bytes_start_with(reply->text, GAVEL_STR("MOVED ")) && n <= n_at_once)
        return 0;
    return INT64_C(1000) << (n < max_doublings ? n : max_doublings);
}

/* Before those of its strand that wait behind it, also while it pauses. */
static void ask_again(gavel__question *question, const gavel_reply *reply, int64_t now_us)
{
    question->n_redirects++;
    set_state(question, GAVEL__QUESTION_PENDING);
    question->not_before_us = now_us + redirect_pause_us(question, reply);
    if (question->strand != NULL)
        question->strand->last = question;
    gavel__list_insert_before(pending_of(question->among, question)->next, &question->node);
}

void gavel__question_on_reply(gavel__question *question, const gavel_reply *reply, int64_t now_us)
{
    assert(question->state == GAVEL__QUESTION_ASKED);
    size_t i = question->n_answered++;
    bool is_last = question->n_answered == question->n_replies;
    question->is_refused = question->is_refused || is_useless(reply);
    note_redirect(question, i, reply);
    if (is_last) {
        if (question->is_refused)
            close_lane(question->lane, reply);
        set_state(question, GAVEL__QUESTION_IDLE);
    }
    if (question->is_redirected) {
        if (is_last)
            ask_again(question, reply, now_us);
        return;
    }
    if (is_last)
        question->n_redirects = 0;
    question->ops->on_reply(question, i, reply, now_us);
}

void gavel__questions_on_link_down(
    gavel__inflight *inflight, const gavel__loss *loss, int64_t now_us)
{
    for (; !gavel__inflight_is_empty(inflight); gavel__inflight_drop(inflight)) {
        gavel__question *question = gavel__inflight_current(inflight)->question;
        if (question == NULL)
            continue;
        bool was_sent = loss->n_sent >= question->end_byte;
        set_state(question, GAVEL__QUESTION_IDLE);
        question->ops->on_loss(question, loss, was_sent, now_us);
    }
}

/* NULL: no node is known for any slot. */
static bool concerns(const gavel__question *question, const gavel__node *node)
{
    return node != NULL ? is_for(question, node) : question->at_node == GAVEL__NO_NODE;
}

static void count_failed_dial(const gavel__list *pending, const gavel__node *node)
{
    for (gavel__list *at = pending->next; at != pending; at = at->next) {
        gavel__question *question = GAVEL__CONTAINER(at, gavel__question, node);
        question->n_failed_dials += concerns(question, node);
    }
}

void gavel__questions_on_failed_dial(gavel__questions *questions, const gavel__node *node)
{
    questions->n_failed_dials++;
    count_failed_dial(&questions->pending, node);
    count_failed_dial(&questions->pending_blocking, node);
    count_failed_dial(&questions->pending_for_replicas, node);
}

const char *gavel__questions_trouble(const gavel__questions *questions, uint16_t slot)
{
    const gavel__node *node = gavel__nodes_of(questions->nodes, slot);
    return node != NULL ? node->trouble : questions->trouble;
}

static void take_those_for(gavel__list *pending, const gavel__node *node, gavel__list *taken)
{
    gavel__list *next;
    for (gavel__list *at = pending->next; at != pending; at = next) {
        next = at->next;
        const gavel__question *question = GAVEL__CONTAINER(at, const gavel__question, node);
        if (!concerns(question, node))
            continue;
        gavel__list_remove(at);
        gavel__list_append(taken, at);
    }
}

static int64_t earliest_us(const gavel__list *pending, int64_t now_us)
{
    int64_t due_us = GAVEL__NEVER;
    for (const gavel__list *at = pending->next; at != pending; at = at->next) {
        int64_t at_us = GAVEL__CONTAINER(at, const gavel__question, node)->not_before_us;
        due_us = at_us > now_us && at_us < due_us ? at_us : due_us;
    }
    return due_us;
}

int64_t gavel__questions_due_us(const gavel__questions *questions, int64_t now_us)
{
    int64_t due_us = earliest_us(&questions->pending, now_us);
    int64_t other_us = earliest_us(&questions->pending_blocking, now_us);
    return other_us < due_us ? other_us : due_us;
}

void gavel__questions_on_unreachable(
    gavel__questions *questions, gavel__node *node, const gavel__loss *loss, int64_t now_us)
{
    gavel__format(
        node != NULL ? node->trouble : questions->trouble, GAVEL_MESSAGE_SIZE, "%s", loss->message);
    if (!loss->is_final)
        return;
    gavel__list hopeless; /* they may be asked again from inside */
    gavel__list_init(&hopeless);
    take_those_for(&questions->pending, node, &hopeless);
    take_those_for(&questions->pending_blocking, node, &hopeless);
    take_those_for(&questions->pending_for_replicas, node, &hopeless);
    while (!gavel__list_is_empty(&hopeless)) {
        gavel__question *question = GAVEL__CONTAINER(hopeless.next, gavel__question, node);
        set_state(question, GAVEL__QUESTION_IDLE);
        question->ops->on_loss(question, loss, false, now_us);
    }
}
