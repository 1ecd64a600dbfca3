/*
 * Questions in a Cluster: which node is asked, and asked again where the slot is by then.
 */
#include "base/heap.h"
#include "base/text.h"
#include "core/node.h"
#include "core/question.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* Two nodes with a lane each, and whatever is asked. */
static struct {
    gavel__questions questions;
    gavel__node nodes[2];
    gavel__nodes known;
    gavel__buffer out[2];
    uint16_t node_of[GAVEL__N_SLOTS];
    int64_t now_us;
} rig;

typedef struct probe {
    gavel__question question;
    const char *text; /* a line for each reply to come */
    size_t n_commands;
    char heard[256];
} probe;

static size_t write_probe(gavel__question *question, gavel__buffer *out, int64_t now_us)
{
    probe *self = GAVEL__CONTAINER(question, probe, question);
    (void)now_us;
    gavel__buffer_append(out, gavel_str(self->text));
    return self->n_commands;
}

static void on_reply(gavel__question *question, size_t i, const gavel_reply *reply, int64_t now_us)
{
    probe *self = GAVEL__CONTAINER(question, probe, question);
    size_t size = strlen(self->heard);
    (void)now_us;
    snprintf(self->heard + size, sizeof(self->heard) - size, "%zu:%.*s ", i, (int)reply->text.size,
        reply->text.data);
}

static void on_loss(
    gavel__question *question, const gavel__loss *loss, bool was_sent, int64_t now_us)
{
    probe *self = GAVEL__CONTAINER(question, probe, question);
    (void)was_sent, (void)now_us;
    snprintf(self->heard, sizeof(self->heard), "lost: %s", loss->message);
}

static const gavel__question_ops probe_ops = {write_probe, on_reply, on_loss};

static void begin(void)
{
    memset(&rig, 0, sizeof(rig));
    rig.now_us = 1000000;
    gavel__questions_init(&rig.questions, &rig.known);
    for (uint32_t i = 0; i < 2; i++) {
        gavel__lanes lanes = {.allocator = &gavel__system_allocator, .n_links = 1};
        gavel__node_init(&rig.nodes[i], "", &lanes);
        rig.nodes[i].index = i;
        rig.nodes[i].node_of = rig.node_of;
        gavel__buffer_init(&rig.out[i], &gavel__system_allocator);
        gavel__lane *lane = gavel__lanes_make(&rig.nodes[i].lanes, 0);
        lane->state = GAVEL__LANE_UP;
        lane->out = &rig.out[i];
    }
}

static void end(void)
{
    for (size_t i = 0; i < 2; i++) {
        gavel__node_finish(&rig.nodes[i]);
        gavel__buffer_finish(&rig.out[i]);
    }
}

static void ask(probe *self, uint16_t slot)
{
    if (self->question.ops == NULL) {
        bool is_once = self->question.is_once;
        gavel__question_init(&self->question, &probe_ops);
        self->question.is_once = is_once;
    }
    self->question.slot = slot;
    if (self->n_commands == 0)
        self->n_commands = 1;
    gavel__question_ask(&rig.questions, &self->question);
}

/* What was said to the node since this was last asked. */
static bool hears(size_t node, const char *text)
{
    for (size_t i = 0; i < 2; i++)
        gavel__questions_serve(&rig.questions, &rig.nodes[i], rig.now_us);
    bool is_so =
        gavel__bytes_equal((gavel_bytes){rig.out[node].data, rig.out[node].size}, gavel_str(text));
    gavel__buffer_clear(&rig.out[node]);
    return is_so;
}

static void says(size_t node, const char *text)
{
    gavel__lane *lane = rig.nodes[node].lanes.first;
    gavel__question *question = gavel__inflight_current(&lane->inflight)->question;
    gavel_reply reply = {.type = text[0] == '-' ? GAVEL_REPLY_ERROR : GAVEL_REPLY_STATUS,
        .text = gavel_str(text[0] == '-' ? text + 1 : text)};
    gavel__inflight_advance(&lane->inflight);
    gavel__question_on_reply(question, &reply, rig.now_us);
}

Test(core_routing, the_node_of_the_slot_is_asked)
{
    probe a = {.text = "A"};
    probe b = {.text = "B"};
    begin();
    rig.node_of[7] = 1;
    ask(&a, 7);
    ask(&b, 8);
    cr_expect(hears(1, "A"));
    cr_expect(hears(0, "B"));
    says(1, "yes");
    says(0, "no");
    cr_expect_str_eq(a.heard, "0:yes ");
    cr_expect_str_eq(b.heard, "0:no ");
    end();
}

Test(core_routing, one_that_waits_follows_its_slot)
{
    probe a = {.text = "A"};
    begin();
    rig.nodes[0].lanes.first->is_condemned = true;
    ask(&a, 7);
    cr_expect(hears(0, ""));
    rig.node_of[7] = 1;
    cr_expect(hears(1, "A"));
    says(1, "yes");
    cr_expect_str_eq(a.heard, "0:yes ");
    end();
}

Test(core_routing, one_that_names_a_node_is_asked_there)
{
    probe a = {.text = "A"};
    begin();
    gavel__question_init(&a.question, &probe_ops);
    a.question.at_node = 1;
    ask(&a, 7);
    cr_expect(hears(0, ""));
    cr_expect(hears(1, "A"));
    says(1, "-MOVED 7 a:1"); /* it is for whoever asks that node */
    cr_expect_str_eq(a.heard, "0:MOVED 7 a:1 ");
    end();
}

Test(core_routing, all_of_it_is_asked_again_where_the_slot_is_by_then)
{
    probe a = {.text = "AB", .n_commands = 2};
    begin();
    ask(&a, 7);
    cr_expect(hears(0, "AB"));
    says(0, "-MOVED 7 10.0.0.1:7001");
    rig.node_of[7] = 1;
    cr_expect(hears(1, "")); /* not before all has come that was to come */
    says(0, "-MOVED 7 10.0.0.1:7001");
    cr_expect_str_eq(a.heard, "");
    cr_expect(hears(1, "AB"));
    says(1, "yes");
    says(1, "no");
    cr_expect_str_eq(a.heard, "0:yes 1:no ");
    end();
}

Test(core_routing, what_is_asked_once_is_asked_again_only_if_nothing_was_done)
{
    probe a = {.text = "AB", .n_commands = 2, .question = {.is_once = true}};
    begin();
    ask(&a, 7);
    cr_expect(hears(0, "AB"));
    says(0, "yes");
    says(0, "-TRYAGAIN Multiple keys request during rehashing of slot");
    cr_expect_str_eq(a.heard, "0:yes 1:TRYAGAIN Multiple keys request during rehashing of slot ");
    cr_expect(hears(0, ""));
    end();
}

Test(core_routing, a_slot_that_is_not_served_is_asked_for_with_pauses)
{
    static const char *const answers[] = {
        "-CLUSTERDOWN The cluster is down", "-TRYAGAIN wait", "-ASK 7 a:1", "-UNBLOCKED so"};
    probe a = {.text = "A"};
    begin();
    ask(&a, 7);
    for (size_t i = 0; i < 4; i++) {
        cr_expect(hears(0, "A"));
        says(0, answers[i]);
        cr_expect(hears(0, ""));
        int64_t due_us = gavel__questions_due_us(&rig.questions, rig.now_us);
        cr_expect_gt(due_us, rig.now_us);
        cr_expect_leq(due_us, rig.now_us + 64000);
        rig.now_us = due_us;
    }
    cr_expect(hears(0, "A"));
    says(0, "yes");
    cr_expect_str_eq(a.heard, "0:yes ");
    end();
}

Test(core_routing, nodes_that_send_one_another_a_question_are_not_asked_for_ever)
{
    probe a = {.text = "A"};
    int n_pauses = 0;
    begin();
    ask(&a, 7);
    for (size_t i = 0; i < 12; i++) {
        cr_assert(hears(0, "A"));
        says(0, "-MOVED 7 a:1");
        int64_t due_us = gavel__questions_due_us(&rig.questions, rig.now_us);
        n_pauses += due_us != GAVEL__NEVER;
        rig.now_us = due_us != GAVEL__NEVER ? due_us : rig.now_us;
    }
    cr_expect_eq(n_pauses, 7);
    end();
}

Test(core_routing, of_a_strand_one_is_under_way_at_a_time)
{
    gavel__strand strand = {.last = NULL};
    probe a = {.text = "A"};
    probe b = {.text = "B"};
    begin();
    gavel__question_init(&a.question, &probe_ops);
    gavel__question_init(&b.question, &probe_ops);
    a.question.strand = b.question.strand = &strand;
    ask(&a, 7);
    ask(&b, 7);
    cr_expect(hears(0, "A"));
    says(0, "-MOVED 7 a:1");
    rig.node_of[7] = 1;
    cr_expect(hears(1, "A")); /* before the one behind it */
    says(1, "yes");
    cr_expect(hears(1, "B"));
    says(1, "yes");
    end();
}

/* It pauses, since the slot is on its way: the next one is not to be done before it. */
Test(core_routing, nor_does_the_next_one_pass_one_that_pauses)
{
    gavel__strand strand = {.last = NULL};
    probe a = {.text = "A"};
    probe b = {.text = "B"};
    begin();
    gavel__question_init(&a.question, &probe_ops);
    gavel__question_init(&b.question, &probe_ops);
    a.question.strand = b.question.strand = &strand;
    ask(&a, 7);
    ask(&b, 7);
    cr_expect(hears(0, "A"));
    says(0, "-TRYAGAIN Multiple keys request during rehashing of slot");
    cr_expect(hears(0, ""));
    rig.now_us += 10000;
    cr_expect(hears(0, "A"));
    says(0, "-TRYAGAIN Multiple keys request during rehashing of slot");
    cr_expect(hears(0, ""));
    cr_expect(gavel__question_withdraw(&a.question)); /* nobody wants to know any more */
    cr_expect(hears(0, "B"));
    says(0, "yes");
    cr_expect_str_eq(b.heard, "0:yes ");
    end();
}

Test(core_routing, only_those_of_a_node_hear_that_it_will_not_do)
{
    probe a = {.text = "A"};
    probe b = {.text = "B"};
    gavel__loss loss = {.is_final = true, .message = "no"};
    begin();
    rig.node_of[7] = 1;
    rig.nodes[0].lanes.first->is_condemned = rig.nodes[1].lanes.first->is_condemned = true;
    ask(&a, 7);
    ask(&b, 8);
    gavel__questions_on_unreachable(&rig.questions, &rig.nodes[1], &loss, rig.now_us);
    cr_expect_str_eq(a.heard, "lost: no");
    cr_expect_str_eq(b.heard, "");
    cr_expect(gavel__questions_want_lane(&rig.questions, &rig.nodes[0], false));
    cr_expect_not(gavel__questions_want_lane(&rig.questions, &rig.nodes[1], false));
    end();
}
