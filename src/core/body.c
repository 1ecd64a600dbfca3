/*
 * Bodies: one run of a callback, its verdict, and the poison that makes a mistake count once and
 * for all.
 */
#include "core/body.h"

#include "base/number.h"
#include "base/text.h"
#include "core/guard.h"

#include <stdarg.h>
#include <string.h>

/* ---- Poison -------------------------------------------------------------------------------- */

void gavel__body_poison(gavel_tx *tx, gavel_status status, const char *message)
{
    if (tx->is_poisoned)
        return;
    tx->is_poisoned = true;
    tx->status = status;
    gavel__format(tx->message, sizeof(tx->message), "%s", message);
}

void gavel__body_poison_naming(
    gavel_tx *tx, gavel_status status, const char *what, gavel_bytes name)
{
    char printable[96];
    char message[GAVEL_MESSAGE_SIZE];
    gavel__format(message, sizeof(message), "%s: \"%s\"", what,
        gavel__printable(name, printable, sizeof(printable)));
    gavel__body_poison(tx, status, message);
}

void gavel__body_poison_no_memory(gavel_tx *tx)
{
    gavel__body_poison(tx, GAVEL_NOT_SENT, "no memory");
}

/* ---- Slots --------------------------------------------------------------------------------- */

bool gavel__body_takes_slot(gavel_tx *tx, gavel_bytes key)
{
    gavel__transaction *transaction = tx->transaction;
    uint16_t slot = gavel__slot_of(key);
    if (!transaction->is_slot_sure && tx->slot_key.data == NULL) {
        if (!gavel__arena_copy(tx->stage->arena, key, &tx->slot_key)) {
            gavel__body_poison_no_memory(tx);
            return false;
        }
        transaction->slot = slot;
    }
    if (slot == transaction->slot)
        return true;
    char message[GAVEL_MESSAGE_SIZE];
    gavel_bytes first = transaction->is_slot_sure ? transaction->keys[0] : tx->slot_key;
    gavel__transaction_tell_slots(first, key, message);
    gavel__body_poison(tx, GAVEL_INVALID, message);
    return false;
}

static bool has_slot(const gavel_tx *tx)
{
    return !tx->transaction->is_in_cluster || tx->transaction->is_slot_sure ||
           tx->slot_key.data != NULL;
}

bool gavel__body_has_place(gavel_tx *tx, gavel_bytes name)
{
    if (!has_slot(tx))
        gavel__body_poison_naming(tx, GAVEL_INVALID, gavel__transaction_no_place, name);
    return !tx->is_poisoned;
}

/* ---- Texts --------------------------------------------------------------------------------- */

/* Prints into the attempt's memory; `size` is the bytes' number and a NUL. NULL: no memory. */
static char *print(gavel_tx *tx, size_t size, const char *format, va_list args)
{
    char *text = gavel__arena_take(tx->stage->arena, size, 1);
    if (text != NULL)
        gavel__print(text, size, format, args);
    return text;
}

gavel_bytes gavel_keyf(gavel_tx *tx, const char *format, ...)
{
    char *text = NULL;
    va_list args, args_again;
    if (tx->is_poisoned)
        return GAVEL_STR("");
    va_start(args, format);
    va_copy(args_again, args);
    int n = gavel__print(NULL, 0, format, args);
    if (n >= 0)
        text = print(tx, (size_t)n + 1, format, args_again);
    va_end(args_again);
    va_end(args);
    if (n < 0)
        gavel__body_poison(tx, GAVEL_INVALID, "gavel_keyf: this format cannot be printed");
    else if (text == NULL)
        gavel__body_poison_no_memory(tx);
    return text != NULL ? (gavel_bytes){text, (size_t)n} : GAVEL_STR("");
}

/* ---- Deciding ------------------------------------------------------------------------------ */

gavel_verdict gavel_abort(gavel_tx *tx, int code)
{
    tx->abort_code = code;
    return GAVEL_ABORT;
}

bool gavel_set_result(gavel_tx *tx, gavel_bytes result)
{
    if (tx->is_poisoned)
        return false;
    if (result.data == NULL) {
        gavel__body_poison(tx, GAVEL_INVALID,
            "gavel_set_result: the result is NULL (an empty one is GAVEL_STR(\"\"))");
        return false;
    }
    if (result.size > GAVEL_RESULT_MAX) {
        gavel__body_poison(tx, GAVEL_INVALID, "gavel_set_result: a result has at most 128 bytes");
        return false;
    }
    gavel_outcome *outcome = &tx->transaction->outcome;
    if (result.size > 0)
        memcpy(outcome->result, result.data, result.size);
    outcome->result_size = result.size;
    return true;
}

uint32_t gavel_attempt(const gavel_tx *tx)
{
    return tx->transaction->outcome.n_attempts;
}

static gavel__fate judge(gavel_tx *tx, gavel_verdict verdict)
{
    /* First what was missing: a body that went on without it may have made any mistake since. */
    if (tx->is_deferred)
        return GAVEL__FATE_DEFER;
    if (tx->wants_more)
        return GAVEL__FATE_AGAIN;
    if (tx->is_poisoned)
        return GAVEL__FATE_POISONED;
    switch (verdict) {
    case GAVEL_COMMIT:
        return GAVEL__FATE_COMMIT;
    case GAVEL_ABORT:
        return GAVEL__FATE_ABORT;
    case GAVEL_RETRY:
        return GAVEL__FATE_RETRY;
    case GAVEL_AGAIN:
        gavel__body_poison(
            tx, GAVEL_INVALID, "the body returned GAVEL_AGAIN, but all that it read was there");
        return GAVEL__FATE_POISONED;
    }
    char message[GAVEL_MESSAGE_SIZE];
    gavel__format(
        message, sizeof(message), "the body returned %d, which is no verdict", (int)verdict);
    gavel__body_poison(tx, GAVEL_INVALID, message);
    return GAVEL__FATE_POISONED;
}

gavel__fate gavel__body_run(
    const gavel__stage *stage, gavel__transaction *transaction, gavel_tx *tx)
{
    *tx = (gavel_tx){.stage = stage, .transaction = transaction};
    size_t n_requests = stage->writes->n_requests;
    transaction->next_read = 0;
    transaction->outcome.result_size = 0;
    gavel__guard_enter();
    gavel_verdict verdict = transaction->body(tx, transaction->user);
    gavel__guard_leave();
    gavel__fate fate = judge(tx, verdict);
    bool has_written = stage->writes->n_requests > n_requests;
    if (fate != GAVEL__FATE_COMMIT || !has_written || has_slot(tx))
        return fate;
    gavel__body_poison(tx, GAVEL_INVALID, gavel__transaction_no_place);
    return GAVEL__FATE_POISONED;
}
