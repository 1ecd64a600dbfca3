/*
 * A stage with gates: see the header.
 */
#include "gate_stage.h"

#include "base/text.h"

#include <criterion/criterion.h>
#include <string.h>

static const char holder[] = "me";

void gate_stage_open(stage *s, const gate_config *config)
{
    stage_open(s, &config->stage);
    gavel__engine_config engine_config = s->engine.config;
    gavel__engine_finish(&s->engine);
    engine_config.max_gate_links = config->n_gate_lanes > 0 ? config->n_gate_lanes : 1;
    cr_assert_leq(
        engine_config.max_links + engine_config.max_gate_links + engine_config.max_waiting_links,
        STAGE_MAX_LANES);
    engine_config.policy.is_adaptive = config->is_adaptive;
    engine_config.policy.has_returning_callers = config->has_returning_callers;
    engine_config.gates = (gavel__gates_config){
        .holder = holder, .lease_us = LEASE_US, .are_always_up = !config->is_adaptive};
    gavel__engine_init(&s->engine, &engine_config);
    if (config->stage.is_cluster)
        stage_make_nodes(s, &config->stage);
    gavel__format(s->engine.gates.turn, sizeof(s->engine.gates.turn), "mine");
    if (config->stage.has_no_prefetch)
        s->engine.policy.prefetch_credit = 0;
}

actor an_adder(void)
{
    return (actor){.reads = "a", .plays = "ADD a 1"};
}

void begin_gated(stage *s, actor *a)
{
    gate_stage_open(s, &(gate_config){.n_gate_lanes = 1});
    enter(s, a);
    advance(s, 0);
    link_up(s, 1);
}

void begin_entering(stage *s, actor *a)
{
    *a = an_adder();
    begin_gated(s, a);
    hears_gates(s, 1, ENTER_A READ_A);
}

void begin_waiting(stage *s, actor *a)
{
    begin_entering(s, a);
    says(s, 1, "nil, nil, OK, \"1\"");
    hears_gates(s, 1, "UNWATCH / " NAME_A WAIT_A READ_A);
    says(s, 1, "OK, OK");
}

gavel__pass_state pass_of(const stage *s)
{
    return lane_of(s, 1)->pass.state;
}

/* ---- Hearing ------------------------------------------------------------------------------- */

/* How many characters of this are a record of ours; 0: none. */
static size_t record_at(const char *text)
{
    static const char since[] = " since=";
    static const char me[] = " me";
    size_t size = strspn(text, "0123456789abcdef");
    if (size != 16 || strncmp(text + size, since, strlen(since)) != 0)
        return 0;
    size += strlen(since);
    size += strspn(text + size, "0123456789");
    return strncmp(text + size, me, strlen(me)) == 0 ? size + strlen(me) : 0;
}

static const char *without_records(const char *text)
{
    static char written[16384];
    size_t n = 0;
    while (*text != '\0' && n + 2 < sizeof(written)) {
        size_t size = record_at(text);
        if (size > 0) {
            written[n++] = 'M';
            written[n++] = 'E';
            text += size;
        } else {
            written[n++] = *text++;
        }
    }
    written[n] = '\0';
    return written;
}

static size_t count_commands(const char *text)
{
    size_t n_commands = *text != '\0';
    for (; (text = strstr(text, " / ")) != NULL; text += 3)
        n_commands++;
    return n_commands;
}

void gate_stage_hears(stage *s, uint32_t place, const char *commands, int line)
{
    advance(s, 0);
    const gavel__lane *lane = lane_of(s, place);
    cr_assert(!lane->is_condemned, "line %d: the link is to be closed (%s)", line, lane->message);
    const char *text = without_records(stage_peek(s, place));
    cr_assert_str_eq(text, commands, "line %d: heard\n    %s\nnot\n    %s", line, text, commands);
    cr_assert_eq(count_commands(text), lane->n_new_replies,
        "line %d: %zu commands, but %zu replies are awaited", line, count_commands(text),
        lane->n_new_replies);
    (void)stage_listen(s, place);
}

/* ---- Saying -------------------------------------------------------------------------------- */

gavel__gate *gate_of(stage *s, const char *key)
{
    gavel_bytes name = gavel_str(key);
    uint64_t hash = gavel__map_hash(&s->engine.gates.map, name);
    gavel__gate *gate = gavel__gates_find(&s->engine.gates, name, hash);
    cr_assert_not_null(gate, "no gate is known before \"%s\"", key);
    return gate;
}

void says_ours(stage *s, uint32_t lane, const char *key)
{
    char reply[64];
    gavel__format(
        reply, sizeof(reply), "\"%016llx since=0 me\"", (unsigned long long)gate_of(s, key)->owner);
    says(s, lane, reply);
}

void put_up(stage *s, const char *key)
{
    gavel_bytes name = gavel_str(key);
    uint64_t hash = gavel__map_hash(&s->engine.gates.map, name);
    gavel__gate *gate = gavel__gates_make(&s->engine.gates, name, hash, s->now_us);
    cr_assert_not_null(gate);
    gavel__gate_raise(gate, s->now_us);
}
