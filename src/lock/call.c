/*
 * Calls: the scripts of one name, one behind the other, each a question.
 *
 * What a client says of a lock keeps its order: a release is the last that is said for a grant, and
 * who asks for the name next finds it released. So a name's calls are one strand.
 *
 *     IDLE --request--> OUT --answered, lost, or withdrawn before it was sent--> IDLE
 *
 * IDLE      in no list; but between come_back and go_ahead in its old place, for another try
 * OUT       among line->calls, and the question is PENDING, or ASKED: then it is sent, up to
 *           come_back
 *
 * An answer may be long in coming though its link is sound: behind a large reply, say. Whose time
 * is up puts the call aside, goes on as if its link was lost, and asks with another one, on another
 * link: all scripts but the user's own may be run twice.
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
    line->wait.is_of_history = true;
    line->wait.is_blocking = true;
    line->wait.slot = gavel__slot_of(name);
    gavel__lock_call_init(&line->hand_off, locks, line);
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

void gavel__lock_call_init(
    gavel__lock_call *call, const gavel__locks *locks, gavel__lock_line *line)
{
    *call = (gavel__lock_call){.kind = GAVEL__LOCK_CALL_PROBE, .line = line};
    gavel__question_init(&call->question, locks->call_ops);
    call->question.is_of_history = true;
    if (line != NULL) {
        call->question.strand = &line->strand;
        call->question.slot = line->wait.slot;
    }
    gavel__list_init(&call->node);
}

void gavel__lock_call_finish(gavel__lock_call *call)
{
    assert(call->state == GAVEL__LOCK_CALL_IDLE);
    gavel__list_remove(&call->node);
    if (call->line != NULL && call->line->back == call)
        call->line->back = NULL;
}

static void set_state(gavel__lock_call *call, gavel__lock_call_state state)
{
    assert(call->state != state);
    assert(call->question.state == GAVEL__QUESTION_IDLE);
    if (state == GAVEL__LOCK_CALL_OUT)
        call->line->locks->n_calls++;
    else
        call->line->locks->n_calls--;
    call->state = state;
}

/* Those behind it that are not sent yet, to be asked in their order. */
static void fall_in(gavel__lock_call *call)
{
    gavel__questions *questions = call->line->locks->config.questions;
    for (gavel__list *node = call->node.next; node != &call->line->calls; node = node->next) {
        gavel__question *question = &GAVEL__CONTAINER(node, gavel__lock_call, node)->question;
        if (question->state != GAVEL__QUESTION_PENDING)
            continue;
        gavel__question_withdraw(question);
        gavel__question_ask(questions, question);
    }
}

void gavel__lock_call_request(gavel__lock_call *call, gavel__lock_call_kind kind)
{
    gavel__questions *questions = call->line->locks->config.questions;
    call->kind = kind;
    set_state(call, GAVEL__LOCK_CALL_OUT);
    if (gavel__list_is_empty(&call->node))
        gavel__list_append(&call->line->calls, &call->node);
    gavel__question_ask(questions, &call->question);
    fall_in(call);
}

bool gavel__lock_call_withdraw(gavel__lock_call *call)
{
    if (call->state == GAVEL__LOCK_CALL_IDLE)
        return true;
    if (gavel__lock_call_is_sent(call))
        return false;
    gavel__question_withdraw(&call->question);
    set_state(call, GAVEL__LOCK_CALL_IDLE);
    gavel__list_remove(&call->node);
    return true;
}

bool gavel__lock_put_call_aside(gavel_lock *lock)
{
    gavel__lock_call *other = &lock->calls[lock->call == lock->calls];
    assert(gavel__lock_call_is_sent(lock->call));
    if (other->state != GAVEL__LOCK_CALL_IDLE)
        return false;
    lock->call = other;
    return true;
}

void gavel__lock_call_come_back(gavel__lock_call *call)
{
    set_state(call, GAVEL__LOCK_CALL_IDLE);
    call->line->back = call;
    call->line->n_users++;
}

void gavel__lock_line_go_ahead(gavel__lock_line *line)
{
    if (line->back != NULL && line->back->state == GAVEL__LOCK_CALL_IDLE)
        gavel__list_remove(&line->back->node);
    line->back = NULL;
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

static void on_prolonging(gavel__lock_call *call)
{
    gavel_lock *lock = call->lock;
    int64_t lease_us = (int64_t)lock->lease_ms * 1000;
    int64_t lingers_us = call->sent_us + lease_us + lock->locks->config.timeout_us;
    call->lease_ms = lock->lease_ms;
    if (lingers_us > lock->lingers_until_us)
        lock->lingers_until_us = lingers_us;
    gavel__lock_shorten_lease(lock, call->sent_us, call->lease_ms);
}

size_t gavel__lock_call_write(gavel__question *question, gavel__buffer *out, int64_t now_us)
{
    gavel__lock_call *call = GAVEL__CONTAINER(question, gavel__lock_call, question);
    (void)now_us; /* leases have a clock of their own */
    const gavel__locks *locks = call->line->locks;
    call->sent_us = gavel__locks_now_us(locks);
    write_call(call, out);
    call->lease_ms = 0;
    if (prolongs(call))
        on_prolonging(call);
    return call->kind == GAVEL__LOCK_CALL_PROBE ? 2 : 1;
}
