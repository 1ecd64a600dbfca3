/*
 * Calls: the scripts of one name, one after another, each a question.
 *
 * Questions may be run in another order than they were asked in, and what a client says of a lock
 * may not: a release is the last that is said for a grant, and who asks for the name next finds it
 * released. So only the first of a name's calls is out, and the next one when it is back.
 *
 *     IDLE --request--> QUEUED --the first of its line--> OUT --answered, or lost--> IDLE
 *      ^                  |                                |
 *      +----- withdraw ---+--------- if it is not sent ----+
 *
 * IDLE      in no list; but between come_back and go_ahead in its old place, for another try
 * QUEUED    among line->calls, the question IDLE
 * OUT       likewise, and the question is PENDING, or ASKED: then it is sent, up to come_back
 */
#include "lock/parts.h"

#include "base/text.h"
#include "core/server_error.h"

#include <assert.h>

/* ---- Lines --------------------------------------------------------------------------------- */

static gavel__lock_line *make_line(gavel__locks *locks, gavel_bytes name)
{
    gavel__lock_line *line = gavel__alloc(locks->config.allocator, 1, sizeof(*line) + name.size);
    if (line == NULL)
        return NULL;
    line->locks = locks;
    gavel__list_init(&line->waiting);
    gavel__list_init(&line->calls);
    gavel__question_init(&line->wait, locks->wait_ops);
    line->wait.is_blocking = true;
    gavel__lock_call_init(&line->hand_off, locks);
    line->hand_off.line = line;
    memcpy(line->name, name.data, name.size);
    if (gavel__map_insert(&locks->lines, (gavel_bytes){line->name, name.size}, &line->map_node))
        return line;
    gavel__free(locks->config.allocator, line);
    return NULL;
}

gavel__lock_line *gavel__lock_line_enter(gavel__locks *locks, gavel_bytes name)
{
    gavel__map_node *node = gavel__map_find(&locks->lines, name);
    gavel__lock_line *line =
        node != NULL ? GAVEL__CONTAINER(node, gavel__lock_line, map_node) : make_line(locks, name);
    if (line != NULL)
        line->n_users++;
    return line;
}

void gavel__lock_line_let_go(gavel__lock_line *line)
{
    assert(line->n_users > 0);
    line->n_users--;
    if (line->n_users > 0 || !gavel__list_is_empty(&line->calls) ||
        line->wait.state != GAVEL__QUESTION_IDLE)
        return;
    assert(gavel__list_is_empty(&line->waiting));
    gavel__map_remove(&line->locks->lines, &line->map_node);
    gavel__free(line->locks->config.allocator, line);
}

/* ---- Calls --------------------------------------------------------------------------------- */

void gavel__lock_call_init(gavel__lock_call *call, gavel__locks *locks)
{
    *call = (gavel__lock_call){.kind = GAVEL__LOCK_CALL_PROBE};
    gavel__question_init(&call->question, locks->call_ops);
    gavel__list_init(&call->node);
}

static bool is_legal(gavel__lock_call_state from, gavel__lock_call_state to)
{
    switch (from) {
    case GAVEL__LOCK_CALL_IDLE:
        return to == GAVEL__LOCK_CALL_QUEUED;
    case GAVEL__LOCK_CALL_QUEUED:
        return to != GAVEL__LOCK_CALL_QUEUED;
    case GAVEL__LOCK_CALL_OUT:
        return to == GAVEL__LOCK_CALL_IDLE;
    }
    return false;
}

static void set_state(gavel__lock_call *call, gavel__lock_call_state state)
{
    assert(is_legal(call->state, state));
    (void)is_legal; /* without assertions */
    assert(call->question.state == GAVEL__QUESTION_IDLE);
    if (call->state == GAVEL__LOCK_CALL_IDLE)
        call->line->locks->n_calls++;
    if (state == GAVEL__LOCK_CALL_IDLE)
        call->line->locks->n_calls--;
    call->state = state;
}

static void ask(gavel__lock_call *call)
{
    gavel__questions *questions = call->line->locks->config.questions;
    set_state(call, GAVEL__LOCK_CALL_OUT);
    call->n_dials = questions->n_failed_dials;
    gavel__question_ask(questions, &call->question);
}

static void ask_first(gavel__lock_line *line)
{
    if (gavel__list_is_empty(&line->calls))
        return;
    gavel__lock_call *first = GAVEL__CONTAINER(line->calls.next, gavel__lock_call, node);
    if (first->state == GAVEL__LOCK_CALL_QUEUED)
        ask(first);
}

/* Renewals do not wait for what else is asked of the lock: a lease would run out of it. */
static void line_up(gavel__lock_call *call)
{
    gavel__list *calls = &call->line->calls;
    if (call->kind == GAVEL__LOCK_CALL_RENEW && !gavel__list_is_empty(calls))
        gavel__list_insert_before(calls->next->next, &call->node);
    else
        gavel__list_append(calls, &call->node);
}

void gavel__lock_call_request(gavel__lock_call *call, gavel__lock_call_kind kind)
{
    call->kind = kind;
    set_state(call, GAVEL__LOCK_CALL_QUEUED);
    if (gavel__list_is_empty(&call->node))
        line_up(call);
    ask_first(call->line);
}

bool gavel__lock_call_is_sent(const gavel__lock_call *call)
{
    return call->state == GAVEL__LOCK_CALL_OUT && call->question.state != GAVEL__QUESTION_PENDING;
}

bool gavel__lock_call_withdraw(gavel__lock_call *call)
{
    if (call->state == GAVEL__LOCK_CALL_IDLE)
        return true;
    if (gavel__lock_call_is_sent(call) || !gavel__question_withdraw(&call->question))
        return false;
    set_state(call, GAVEL__LOCK_CALL_IDLE);
    gavel__list_remove(&call->node);
    ask_first(call->line);
    return true;
}

void gavel__lock_call_hurry(gavel__lock_call *call)
{
    if (call->state == GAVEL__LOCK_CALL_QUEUED)
        ask(call);
}

void gavel__lock_call_come_back(gavel__lock_call *call)
{
    set_state(call, GAVEL__LOCK_CALL_IDLE);
    call->line->n_users++;
}

void gavel__lock_line_go_ahead(gavel__lock_line *line)
{
    gavel__list *next;
    for (gavel__list *node = line->calls.next; node != &line->calls; node = next) {
        next = node->next;
        if (GAVEL__CONTAINER(node, gavel__lock_call, node)->state == GAVEL__LOCK_CALL_IDLE)
            gavel__list_remove(node);
    }
    ask_first(line);
    gavel__lock_line_let_go(line);
}

bool gavel__lock_note_error(gavel_lock *lock, gavel_bytes words)
{
    char shown[GAVEL_MESSAGE_SIZE];
    gavel__printable(words, shown, sizeof(shown));
    gavel__format(lock->message, sizeof(lock->message), "%s", shown);
    return gavel__server_error_remedy(words) != GAVEL__REMEDY_GIVE_UP;
}

/* ---- Writing ------------------------------------------------------------------------------- */

static gavel_bytes owner_of(const gavel_lock *lock)
{
    return (gavel_bytes){lock->owner, sizeof(lock->owner)};
}

static gavel_bytes turn_of(const gavel_lock *lock)
{
    return (gavel_bytes){lock->turn, sizeof(lock->turn)};
}

static gavel__lock_taking taking_of(const gavel_lock *lock, gavel_bytes turn)
{
    return (gavel__lock_taking){
        owner_of(lock), lock->lease_ms, turn, gavel_str(lock->locks->config.holder)};
}

static void write_user_call(
    gavel__buffer *out, const gavel__lock_keys *keys, gavel__lock_call *call)
{
    gavel_lock *lock = call->lock;
    if (call->op->kind == GAVEL__LOCK_OP_DO) {
        gavel__buffer_append(out, (gavel_bytes){call->op->wire.data, call->op->wire.size});
        return;
    }
    if (call->op->lease_ms != 0)
        lock->lease_ms = call->op->lease_ms;
    gavel__lock_shorten_lease(lock, call->sent_us);
    gavel__lock_write_renew(out, keys, owner_of(lock), lock->lease_ms);
}

static void write_call(gavel__lock_call *call, gavel__buffer *out)
{
    gavel_lock *lock = call->lock;
    gavel__lock_line *line = call->line;
    gavel__lock_keys keys;
    gavel__lock_keys_init(&keys, line->locks->config.key_prefix, line->map_node.key);
    gavel__lock_taking taking;
    switch (call->kind) {
    case GAVEL__LOCK_CALL_PROBE:
        taking = taking_of(lock, GAVEL_STR(""));
        gavel__lock_write_offer(out, &keys, turn_of(lock));
        gavel__lock_write_take(out, &keys, &taking);
        break;
    case GAVEL__LOCK_CALL_TAKE:
        taking = taking_of(lock, (gavel_bytes){line->turn, line->turn_size});
        gavel__lock_write_take(out, &keys, &taking);
        break;
    case GAVEL__LOCK_CALL_RENEW:
        gavel__lock_write_renew(out, &keys, owner_of(lock), lock->lease_ms);
        break;
    case GAVEL__LOCK_CALL_RELEASE:
        gavel__lock_write_release(out, &keys, owner_of(lock), turn_of(lock));
        break;
    case GAVEL__LOCK_CALL_HAND_OFF:
        gavel__lock_write_hand_off(out, &keys, (gavel_bytes){line->turn, line->turn_size});
        break;
    case GAVEL__LOCK_CALL_USER:
        write_user_call(out, &keys, call);
        break;
    }
}

static bool prolongs(const gavel__lock_call *call)
{
    switch (call->kind) {
    case GAVEL__LOCK_CALL_PROBE:
    case GAVEL__LOCK_CALL_TAKE:
    case GAVEL__LOCK_CALL_RENEW:
        return true;
    case GAVEL__LOCK_CALL_USER:
        return call->op->kind == GAVEL__LOCK_OP_EXTEND;
    case GAVEL__LOCK_CALL_RELEASE:
    case GAVEL__LOCK_CALL_HAND_OFF:
        break;
    }
    return false;
}

size_t gavel__lock_call_write(gavel__question *question, gavel__buffer *out, int64_t now_us)
{
    gavel__lock_call *call = GAVEL__CONTAINER(question, gavel__lock_call, question);
    (void)now_us; /* leases have a clock of their own */
    const gavel__locks *locks = call->line->locks;
    call->sent_us = gavel__locks_now_us(locks);
    write_call(call, out);
    if (prolongs(call))
        call->lock->lingers_until_us =
            call->sent_us + (int64_t)call->lock->lease_ms * 1000 + locks->config.timeout_us;
    return call->kind == GAVEL__LOCK_CALL_PROBE ? 2 : 1;
}
