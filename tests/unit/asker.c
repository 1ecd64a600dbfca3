/*
 * Askers: see the header.
 */
#include "asker.h"

#include "base/resp.h"
#include "base/text.h"

#include <criterion/criterion.h>
#include <string.h>

static asker *asker_of(gavel__question *question)
{
    return GAVEL__CONTAINER(question, asker, question);
}

static void write_command(gavel__buffer *out, const char *text, size_t size)
{
    gavel_bytes args[8];
    size_t n_args = 0;
    for (const char *end = text + size; text < end;) {
        size_t length = 0;
        while (text + length < end && text[length] != ' ')
            length++;
        cr_assert_lt(n_args, sizeof(args) / sizeof(args[0]));
        args[n_args++] = (gavel_bytes){text, length};
        text += length + 1;
    }
    gavel__resp_command(out, args, n_args);
}

static size_t write(gavel__question *question, gavel__buffer *out, int64_t now_us)
{
    static const char gap[] = " / ";
    asker *a = asker_of(question);
    size_t n_commands = 0;
    (void)now_us;
    cr_assert_eq(question->state, GAVEL__QUESTION_PENDING);
    a->n_writes++;
    for (const char *at = a->commands; *at != '\0'; n_commands++) {
        const char *end = strstr(at, gap);
        size_t size = end != NULL ? (size_t)(end - at) : strlen(at);
        write_command(out, at, size);
        at += end != NULL ? size + strlen(gap) : size;
    }
    return n_commands;
}

static void ask_again(asker *a)
{
    if (a->n_times == 0)
        return;
    a->n_times--;
    gavel__question_ask(a->questions, &a->question);
}

static void on_reply(gavel__question *question, size_t i, const gavel_reply *reply, int64_t now_us)
{
    asker *a = asker_of(question);
    (void)now_us;
    const char *text = "nil";
    char printable[64];
    if (reply->type != GAVEL_REPLY_NIL)
        text = gavel__printable(reply->text, printable, sizeof(printable));
    size_t used = strlen(a->answers);
    gavel__format(a->answers + used, sizeof(a->answers) - used, "%zu:%s ", i, text);
    if (question->state == GAVEL__QUESTION_IDLE)
        ask_again(a);
}

static void on_loss(
    gavel__question *question, const gavel__loss *loss, bool was_sent, int64_t now_us)
{
    asker *a = asker_of(question);
    (void)now_us;
    cr_assert_eq(question->state, GAVEL__QUESTION_IDLE);
    a->n_losses++;
    a->was_sent = was_sent;
    a->is_final = loss->is_final;
    ask_again(a);
}

asker asker_init(const char *commands)
{
    static const gavel__question_ops ops = {write, on_reply, on_loss};
    asker a = {.commands = commands};
    gavel__question_init(&a.question, &ops); /* and its list in asks(): this one is copied */
    return a;
}

void asks(stage *s, asker *a)
{
    if (a->questions == NULL)
        gavel__list_init(&a->question.node);
    a->questions = &s->engine.questions;
    gavel__question_ask(a->questions, &a->question);
    advance(s, 0);
}
