/*
 * Offsets: see the header.
 */
#include "core/offsets.h"

#include "base/resp.h"
#include "base/text.h"
#include "core/server_error.h"

#include <string.h>

static const int64_t pause_us = 50000;

/* Whoever may not ask is not refused each time. */
static const int64_t refused_pause_us = 10000000;

const gavel_bytes gavel__offsets_question[2] = {{"INFO", 4}, {"replication", 11}};

/* ---- What INFO says ------------------------------------------------------------------------ */

static gavel_bytes line_of(const gavel_reply *answer, const char *name)
{
    if (answer->type != GAVEL_REPLY_STRING)
        return (gavel_bytes){"", 0};
    return gavel__find_line(answer->text, gavel_str(name));
}

/* The name of the history, and the offset at this line. False: they are not there. */
static bool read_place(
    const gavel_reply *answer, const char *offset, gavel_bytes *ret_name, int64_t *ret_offset)
{
    *ret_name = line_of(answer, "master_replid:");
    return ret_name->size == GAVEL__OFFSETS_NAME &&
           gavel__parse_int(line_of(answer, offset), ret_offset);
}

static bool is_replica(const gavel_reply *answer)
{
    return gavel__bytes_equal(line_of(answer, "role:"), GAVEL_STR("slave"));
}

bool gavel__offsets_is_of_replica(const gavel_reply *answer)
{
    bool has_link = !gavel__bytes_equal(line_of(answer, "master_link_status:"), GAVEL_STR("down"));
    bool has_begun = !gavel__bytes_equal(line_of(answer, "slave_repl_offset:"), GAVEL_STR("1"));
    return is_replica(answer) && (has_link || has_begun);
}

/* ---- Samples ------------------------------------------------------------------------------- */

static gavel_bytes name_of(const gavel__offsets *offsets)
{
    return (gavel_bytes){offsets->name, offsets->n_samples > 0 ? GAVEL__OFFSETS_NAME : 0};
}

/* Each second one goes: so the row is the thinner the further it goes back. */
static void thin(gavel__offsets *offsets)
{
    for (size_t i = 0; i < GAVEL__OFFSETS_SAMPLES / 2; i++)
        offsets->samples[i] = offsets->samples[2 * i + 1];
    offsets->n_samples = GAVEL__OFFSETS_SAMPLES / 2;
}

static void take(gavel__offsets *offsets, const gavel_reply *answer)
{
    gavel_bytes name;
    int64_t offset;
    if (offsets->sent_us < offsets->since_us || is_replica(answer) ||
        !read_place(answer, "master_repl_offset:", &name, &offset))
        return;
    if (!gavel__bytes_equal(name, name_of(offsets)))
        offsets->n_samples = 0;
    memcpy(offsets->name, name.data, GAVEL__OFFSETS_NAME);
    if (offsets->n_samples == GAVEL__OFFSETS_SAMPLES)
        thin(offsets);
    offsets->samples[offsets->n_samples++] = (gavel__sample){offsets->sent_us, offset};
}

static int64_t now_on_lease_clock(const gavel__offsets *offsets)
{
    return offsets->config.read_lease_clock(offsets->config.clock);
}

void gavel__offsets_forget(gavel__offsets *offsets)
{
    offsets->n_samples = 0;
    offsets->since_us = now_on_lease_clock(offsets);
}

bool gavel__offsets_date(
    const gavel__offsets *offsets, const gavel_reply *answer, int64_t *ret_as_of_us)
{
    gavel_bytes name;
    int64_t offset;
    if (!gavel__offsets_is_of_replica(answer) ||
        !read_place(answer, "slave_repl_offset:", &name, &offset) ||
        !gavel__bytes_equal(name, name_of(offsets)))
        return false;
    size_t i = offsets->n_samples;
    while (i > 0 && offsets->samples[i - 1].offset > offset)
        i--;
    if (i > 0)
        *ret_as_of_us = offsets->samples[i - 1].asked_us;
    return i > 0;
}

int64_t gavel__offsets_age_ms(const gavel__offsets *offsets, int64_t as_of_us)
{
    return (now_on_lease_clock(offsets) - as_of_us) / 1000 + 1;
}

/* ---- Asking -------------------------------------------------------------------------------- */

static gavel__offsets *offsets_of(gavel__question *question)
{
    return GAVEL__CONTAINER(question, gavel__offsets, question);
}

static size_t write_question(gavel__question *question, gavel__buffer *out, int64_t now_us)
{
    gavel__offsets *offsets = offsets_of(question);
    (void)now_us;
    offsets->sent_us = now_on_lease_clock(offsets);
    gavel__resp_command(out, gavel__offsets_question, 2);
    return 1;
}

static void on_reply(gavel__question *question, size_t i, const gavel_reply *reply, int64_t now_us)
{
    gavel__offsets *offsets = offsets_of(question);
    (void)i;
    bool is_refused = reply->type == GAVEL_REPLY_ERROR &&
                      gavel__server_error_remedy(reply->text) == GAVEL__REMEDY_GIVE_UP;
    if (is_refused)
        offsets->ask_us = now_us + refused_pause_us;
    else
        take(offsets, reply);
}

static void on_loss(
    gavel__question *question, const gavel__loss *loss, bool was_sent, int64_t now_us)
{
    (void)question;
    (void)loss;
    (void)was_sent;
    (void)now_us;
}

static const gavel__question_ops question_ops = {
    .write = write_question, .on_reply = on_reply, .on_loss = on_loss};

void gavel__offsets_init(
    gavel__offsets *offsets, gavel__questions *questions, const gavel__offsets_config *config)
{
    *offsets = (gavel__offsets){.config = *config, .questions = questions};
    gavel__question_init(&offsets->question, &question_ops);
    offsets->question.at_node = config->at_node;
}

void gavel__offsets_advance(gavel__offsets *offsets, int64_t now_us)
{
    bool is_wanted = offsets->is_wanted;
    offsets->is_wanted = false;
    if (!is_wanted && offsets->question.state == GAVEL__QUESTION_PENDING &&
        offsets->question.n_failed_dials > 0)
        gavel__question_withdraw(&offsets->question);
    if (!is_wanted || offsets->question.state != GAVEL__QUESTION_IDLE || now_us < offsets->ask_us)
        return;
    offsets->ask_us = now_us + pause_us;
    gavel__question_ask(offsets->questions, &offsets->question);
}
