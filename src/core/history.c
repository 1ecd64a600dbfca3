/*
 * Histories: see the header.
 */
#include "core/history.h"

#include "base/heap.h"
#include "base/list.h"
#include "base/resp.h"
#include "base/text.h"

static const gavel__question_ops question_ops;

void gavel__history_init(gavel__history *history, gavel__ledger *ledger, uint16_t node)
{
    *history = (gavel__history){.ledger = ledger};
    gavel__question_init(&history->question, &question_ops);
    history->question.at_node = node;
}

static void ask(gavel__history *history)
{
    gavel__question_ask(history->ledger->questions, &history->question);
}

void gavel__history_on_link_up(gavel__history *history)
{
    bool is_wanted = history->ledger != NULL && (history->is_unsure || history->name == 0);
    if (is_wanted && history->question.state == GAVEL__QUESTION_IDLE)
        ask(history);
}

void gavel__history_on_link_down(gavel__history *history, bool has_link)
{
    gavel__question *question = &history->question;
    if (history->ledger == NULL)
        return;
    history->is_unsure = true;
    history->is_late = true;
    if (!has_link)
        gavel__question_withdraw(question);
    else if (question->state == GAVEL__QUESTION_IDLE)
        ask(history);
}

static void fall(gavel__history *history, int64_t now_us)
{
    history->changed_us = now_us;
    gavel__ledger_on_fall(history->ledger, history->question.at_node);
}

void gavel__history_on_replaced(gavel__history *history, int64_t now_us)
{
    if (history->ledger != NULL && history->changed_us != now_us) /* once for all its slots */
        fall(history, now_us);
}

void gavel__history_on_takeover(
    gavel__history *history, gavel__history *from, bool has_link, int64_t now_us)
{
    if (history->ledger == NULL || history->changed_us == now_us)
        return;
    fall(history, now_us);
    history->epochs.own = 0; /* it has a new one */
    history->answered_us = 0;
    history->taken_us = now_us;
    history->taken_from = from;
    history->is_late = true;
    if (has_link && history->question.state == GAVEL__QUESTION_IDLE)
        ask(history);
    gavel__ledger_suspect(history->ledger, now_us);
}

void gavel__history_on_arrival(gavel__history *history, bool has_link)
{
    if (history->ledger == NULL)
        return;
    history->epochs = (gavel__epochs){0};
    history->answered_us = 0;
    history->is_late = true;
    if (has_link && history->question.state == GAVEL__QUESTION_IDLE)
        ask(history);
}

gavel__epochs gavel__history_epochs(gavel__history *history, bool has_link, int64_t since_us)
{
    gavel__epochs epochs = {0};
    if (history->answered_us > since_us)
        epochs = history->epochs;
    if (since_us > 0 && epochs.own == 0 && has_link &&
        history->question.state == GAVEL__QUESTION_IDLE)
        ask(history);
    return epochs;
}

bool gavel__history_follows(const gavel__history *history, const gavel__history *first)
{
    return first->name != 0 && history->former == first->name && history != first;
}

int64_t gavel__history_fell_us(const gavel__history *history)
{
    return history->is_unsure ? GAVEL__NEVER : history->changed_us;
}

/* ---- Asking -------------------------------------------------------------------------------- */

static gavel__history *history_of(gavel__question *question)
{
    return GAVEL__CONTAINER(question, gavel__history, question);
}

static size_t write(gavel__question *question, gavel__buffer *out, int64_t now_us)
{
    gavel__history *history = history_of(question);
    history->is_late = false;
    history->written_us = now_us;
    gavel__resp_command(out, (const gavel_bytes[]){GAVEL_STR("CLUSTER"), GAVEL_STR("INFO")}, 2);
    gavel__resp_command(out, (const gavel_bytes[]){GAVEL_STR("INFO"), GAVEL_STR("replication")}, 2);
    history->ledger->context->stats.n_marker_commands += 2;
    history->ledger->context->stats.n_round_trips++;
    return 2;
}

/* What stands there. Nothing: it does not say. */
static gavel_bytes find(const gavel_reply *reply, gavel_bytes field)
{
    gavel_bytes text;
    size_t size = 0;
    if (!gavel_reply_text(reply, &text))
        return (gavel_bytes){"", 0};
    while (text.size > 0 && !gavel__bytes_start_with(text, field))
        text = (gavel_bytes){text.data + 1, text.size - 1};
    if (text.size == 0)
        return text;
    text = (gavel_bytes){text.data + field.size, text.size - field.size};
    while (size < text.size && text.data[size] != '\r')
        size++;
    return (gavel_bytes){text.data, size};
}

/* 0: it does not say. */
static uint64_t read_name(const gavel_reply *reply, gavel_bytes field)
{
    gavel_bytes text = find(reply, field);
    uint64_t name = 0;
    for (size_t i = 0; i < text.size; i++)
        name = (name ^ (unsigned char)text.data[i]) * UINT64_C(1099511628211);
    return name;
}

/* Plus one. 0: it does not say. */
static uint64_t read_epoch(const gavel_reply *reply, gavel_bytes field)
{
    int64_t epoch = 0;
    bool is_there = gavel__parse_int(find(reply, field), &epoch) && epoch >= 0;
    return is_there ? (uint64_t)epoch + 1 : 0;
}

/* An error that another try may not have. */
static bool is_passing(const gavel_reply *reply)
{
    return reply->type == GAVEL_REPLY_ERROR &&
           !gavel__bytes_start_with(reply->text, GAVEL_STR("NOPERM ")) &&
           !gavel__bytes_start_with(reply->text, GAVEL_STR("ERR "));
}

static void note_epochs(gavel__history *history, const gavel_reply *reply)
{
    uint64_t own = read_epoch(reply, GAVEL_STR("cluster_my_epoch:"));
    if (history->is_late || is_passing(reply))
        return;
    bool is_first = history->answered_us == 0;
    history->answered_us = history->written_us;
    history->epochs = (gavel__epochs){.own = own,
        .newest = read_epoch(reply, GAVEL_STR("cluster_current_epoch:")),
        .at_us = history->written_us};
    if (is_first)
        gavel__ledger_on_epochs(history->ledger);
}

static void on_reply(gavel__question *question, size_t i, const gavel_reply *reply, int64_t now_us)
{
    gavel__history *history = history_of(question);
    uint64_t name = read_name(reply, GAVEL_STR("master_replid:"));
    if (i == 0) {
        note_epochs(history, reply);
        return;
    }
    if (history->is_late) { /* a link was lost since it was asked */
        ask(history);
        return;
    }
    bool has_changed = history->is_unsure && (name == 0 || name != history->name);
    history->name = name;
    history->former = read_name(reply, GAVEL_STR("master_replid2:"));
    history->is_unsure = false;
    if (!has_changed)
        return;
    fall(history, now_us);
    gavel__ledger_suspect(history->ledger, now_us);
}

/* The next link that is up asks. */
static void on_loss(
    gavel__question *question, const gavel__loss *loss, bool was_sent, int64_t now_us)
{
    (void)question;
    (void)loss;
    (void)was_sent;
    (void)now_us;
}

static const gavel__question_ops question_ops = {write, on_reply, on_loss};
