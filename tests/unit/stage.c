/*
 * The stage: see the header.
 */
#include "stage_body.h"

#include "base/text.h"
#include "core/check.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static const char marker_prefix[] = "g:m:";

/* ---- Opening and closing ------------------------------------------------------------------- */

static void count_event(const gavel_event *event, void *user)
{
    stage *s = user;
    s->n_events[event->type]++;
    if (event->type != GAVEL_EVENT_LOST && event->type != GAVEL_EVENT_MAY_BE_LOST)
        return;
    cr_assert(event->user == NULL && s->n_lost < STAGE_MAX_LOST);
    s->lost[s->n_lost++] = event->ticket;
}

static int64_t read_clock(void *clock)
{
    return ((const stage *)clock)->now_us;
}

static int64_t read_lease_clock(void *clock)
{
    return read_clock(clock) + ((stage *)clock)->slept_us;
}

/* The node at port 7000 is the first one, and so on. */
static uint16_t note_redirect(void *user, struct gavel__node *node, const gavel__redirect *redirect)
{
    stage *s = user;
    size_t size = strlen(s->redirects);
    (void)node;
    if (redirect == NULL)
        gavel__format(s->redirects + size, sizeof(s->redirects) - size, "down; ");
    else if (!redirect->is_ask)
        gavel__format(s->redirects + size, sizeof(s->redirects) - size, "MOVED %u to %.*s:%d; ",
            (unsigned)redirect->slot, (int)redirect->host.size, redirect->host.data,
            redirect->port);
    return redirect != NULL ? (uint16_t)(redirect->port - 7000) : GAVEL__NO_NODE;
}

/* There is memory for them. */
void stage_make_nodes(stage *s, const stage_config *config)
{
    static const char *const labels[] = {"node 0", "node 1", "node 2", "node 3"};
    uint32_t n_nodes = config->n_nodes > 0 ? config->n_nodes : 1;
    uint16_t node_of[GAVEL__N_SLOTS];
    cr_assert_leq(n_nodes, sizeof(labels) / sizeof(labels[0]));
    for (uint32_t i = 0; i < n_nodes; i++) {
        gavel__node *node = gavel__engine_add_node(&s->engine, labels[i]);
        cr_assert_not_null(node);
        if (!config->has_histories)
            GAVEL__CONTAINER(node, gavel__engine_node, base)->history.ledger = NULL;
    }
    for (uint32_t slot = 0; slot < GAVEL__N_SLOTS; slot++)
        node_of[slot] = (uint16_t)(slot * n_nodes / GAVEL__N_SLOTS);
    gavel__engine_set_slots(&s->engine, &(gavel__slots_change){.node_of = node_of}, s->now_us);
}

static void make_replicas(stage *s, const stage_config *config)
{
    static const char *const labels[] = {"replica 1", "replica 2"};
    cr_assert_leq(config->n_replicas, sizeof(labels) / sizeof(labels[0]));
    for (uint32_t i = 0; i < config->n_replicas; i++) {
        gavel__node *node = gavel__engine_add_replica(&s->engine, labels[i]);
        cr_assert_not_null(node);
        gavel__engine_set_primary(&s->engine, node, s->engine.nodes.first, s->now_us);
    }
}

void stage_give_slot(stage *s, uint16_t slot, const gavel__node *node)
{
    uint16_t node_of[GAVEL__N_SLOTS];
    memcpy(node_of, s->engine.nodes.map->node_of, sizeof(node_of));
    node_of[slot] = (uint16_t)node->index;
    gavel__engine_set_slots(&s->engine, &(gavel__slots_change){.node_of = node_of}, s->now_us);
}

void stage_open(stage *s, const stage_config *config)
{
    *s = (stage){.memory = {.n_left = MEMORY_ENOUGH}, .now_us = 1000000};
    s->allocator = faulty_allocator(&s->memory);
    gavel__engine_config engine_config = {
        .allocator = &s->allocator,
        .hooks = {.on_event = count_event, .user = s},
        .key_prefix = "g:",
        .server = "the stage",
        .max_links = config->n_lanes > 0 ? config->n_lanes : 1,
        .max_waiting_links = config->n_waiting_lanes,
        .max_replica_links = config->n_replica_lanes,
        .default_deadline_ms = 5000,
        .durable_ms = 1000,
        .is_cluster = config->is_cluster,
        .on_redirect = note_redirect,
        .redirect_user = s,
        .wait_slice_us = 100000,
        .max_queued = config->max_queued > 0 ? config->max_queued : 1000,
        .policy = {.max_width = config->max_width > 0 ? config->max_width : 64},
        .round_limits = {.max_keys = config->max_keys > 0 ? config->max_keys : GAVEL_MAX_KEYS,
            .max_bytes = config->max_bytes > 0 ? config->max_bytes : SIZE_MAX,
            .max_body_us = config->max_body_us > 0 ? config->max_body_us : INT64_MAX,
            .read_clock = read_clock,
            .clock = s},
        .marker_ttl_us = config->has_markers ? 900000000 : 0,
        .id_ttl_ms = 86400000,
        .ledger = {.is_kept = config->keeps_ledger,
            .read_lease_clock = read_lease_clock,
            .clock = s},
        .seed = 7,
        .identity = {1 + config->identity, 2},
    };
    gavel__engine_init(&s->engine, &engine_config);
    if (config->has_no_prefetch)
        s->engine.policy.prefetch_credit = 0;
    for (size_t i = 0; i < STAGE_MAX_LANES; i++)
        gavel__buffer_init(&s->outs[i], &s->allocator);
    if (config->is_cluster)
        stage_make_nodes(s, config);
    make_replicas(s, config);
    if (config->has_any_memory)
        s->memory.n_left = config->n_left;
}

void stage_collect(stage *s)
{
    gavel__transaction *transaction;
    while ((transaction = gavel__engine_take_done(&s->engine)) != NULL) {
        actor *a = NULL;
        for (size_t i = 0; i < s->n_actors; i++) {
            if (s->actors[i]->transaction == transaction)
                a = s->actors[i];
        }
        cr_assert_not_null(a, "a transaction was told that nobody had submitted");
        cr_assert_eq(transaction->outcome.ticket, a->ticket);
        a->outcome = transaction->outcome;
        a->is_told = true;
        a->transaction = NULL;
        gavel__engine_release(&s->engine, transaction);
    }
}

void stage_close(stage *s)
{
    gavel__engine_cancel_all(&s->engine, true, s->now_us);
    stage_collect(s);
    for (size_t i = 0; i < s->n_actors; i++) {
        cr_assert(s->actors[i]->is_told, "\"%s\" was told nothing", s->actors[i]->plays);
        gavel_outcome_clear(&s->actors[i]->outcome);
    }
    cr_assert_eq(s->engine.queue.n_open, 0);
    gavel__engine_finish(&s->engine);
    for (size_t i = 0; i < STAGE_MAX_LANES; i++)
        gavel__buffer_finish(&s->outs[i]);
    cr_assert_eq(s->memory.n_blocks, 0, "%zu blocks leak", s->memory.n_blocks);
}

/* ---- Callers ------------------------------------------------------------------------------- */

static gavel_read declared_read(gavel_bytes word)
{
    const char *dot = memchr(word.data, '.', word.size);
    if (dot == NULL)
        return (gavel_read){.key = word};
    size_t size = (size_t)(dot - word.data);
    return (gavel_read){.key = {word.data, size}, .field = {dot + 1, word.size - size - 1}};
}

bool enter(stage *s, actor *a)
{
    gavel_transaction request = a->request;
    request.body = stage_play;
    request.user = a;
    word_list keys;
    if (a->keys != NULL) {
        (void)stage_split(a->keys, "", &keys);
        request.keys = keys.args;
        request.n_keys = keys.n_args;
    }
    word_list names;
    gavel_read reads[STAGE_MAX_KEYS];
    if (a->reads != NULL) {
        (void)stage_split(a->reads, "", &names);
        for (size_t i = 0; i < names.n_args; i++)
            reads[i] = declared_read(names.args[i]);
        request.reads = reads;
        request.n_reads = names.n_args;
    }
    request.id = gavel_str(a->id);
    request.digest = gavel_str(a->digest);
    a->transaction = gavel__engine_submit(&s->engine, &request, s->now_us);
    if (a->transaction == NULL)
        return false;
    a->stage = s;
    a->ticket = a->transaction->ticket;
    a->is_told = false;
    cr_assert_lt(s->n_actors, STAGE_MAX_ACTORS);
    s->actors[s->n_actors++] = a;
    return true;
}

void cancel(stage *s, actor *a)
{
    cr_assert_not_null(a->transaction);
    gavel__engine_cancel(&s->engine, a->transaction, s->now_us);
    gavel__engine_check(&s->engine);
}

void advance(stage *s, int64_t us)
{
    s->now_us += us;
    gavel__engine_advance(&s->engine, s->now_us);
    gavel__engine_check(&s->engine);
    stage_collect(s);
}

void stage_sleeps(stage *s, int line)
{
    int64_t due_us = gavel__engine_due_us(&s->engine);
    cr_assert_gt(due_us, s->now_us, "line %d: the engine does not want to sleep", line);
    cr_assert_neq(due_us, GAVEL__NEVER, "line %d: the engine would sleep for ever", line);
    advance(s, due_us - s->now_us);
}

const gavel_outcome *stage_ends(stage *s, actor *a, gavel_status status, int line)
{
    advance(s, 0);
    cr_assert(a->is_told, "line %d: \"%s\" has no outcome yet", line, a->plays);
    cr_assert_eq(a->outcome.status, status, "line %d: \"%s\" was told %s (%s), not %s", line,
        a->plays, gavel_status_name(a->outcome.status), a->outcome.message,
        gavel_status_name(status));
    return &a->outcome;
}

void stage_ends_saying(stage *s, actor *a, gavel_status status, const char *words, int line)
{
    const gavel_outcome *outcome = stage_ends(s, a, status, line);
    cr_assert_not_null(strstr(outcome->message, words), "line %d: \"%s\" was told \"%s\"", line,
        a->plays, outcome->message);
}

void stage_is_in(stage *s, actor *a, gavel__tx_state state, int line)
{
    advance(s, 0);
    cr_assert(!a->is_told, "line %d: \"%s\" was told %s (%s) too early", line, a->plays,
        gavel_status_name(a->outcome.status), a->outcome.message);
    cr_assert_eq((int)a->transaction->state, (int)state, "line %d: \"%s\" is in state %d, not %d",
        line, a->plays, (int)a->transaction->state, (int)state);
}

/* ---- Links --------------------------------------------------------------------------------- */

gavel__lane *lane_of(const stage *s, uint32_t place)
{
    static gavel__lane down; /* and stays so */
    const gavel__node *node = s->engine.nodes.first;
    for (; place >= gavel__lanes_max(&node->lanes); node = node->following)
        place -= gavel__lanes_max(&node->lanes);
    gavel__lane *lane = gavel__lanes_find(&node->lanes, place);
    return lane != NULL ? lane : &down;
}

static void begin_dial(stage *s, uint32_t place, int line)
{
    advance(s, 0);
    gavel__lane *lane = lane_of(s, place);
    cr_assert_eq((int)lane->state, (int)GAVEL__LANE_WANTED, "line %d: link %u is not wanted", line,
        (unsigned)place);
    if (lane->dial_us > s->now_us)
        advance(s, lane->dial_us - s->now_us);
    (void)gavel__engine_begin_dial(&s->engine, lane);
}

/* Which dial a marker's name belongs to. */
static size_t dial_of(gavel_bytes marker)
{
    const char *colon = marker.data + marker.size;
    while (colon[-1] != ':')
        colon--;
    char digits[20] = "";
    memcpy(digits, colon, (size_t)(marker.data + marker.size - colon));
    size_t dial = strtoul(digits, NULL, 16);
    cr_assert_lt(dial, STAGE_MAX_DIALS);
    return dial;
}

void stage_link_up(stage *s, uint32_t place, int line)
{
    begin_dial(s, place, line);
    gavel__lane *lane = lane_of(s, place);
    gavel__buffer_clear(&s->outs[place]);
    gavel__engine_on_link_up(&s->engine, lane, &s->outs[place]);
}

void stage_link_refused(stage *s, uint32_t place, bool is_final, const char *server_error, int line)
{
    begin_dial(s, place, line);
    gavel__loss loss = {.is_final = is_final,
        .is_refused = server_error != NULL,
        .message = server_error != NULL ? server_error : "connection refused"};
    gavel__engine_on_link_down(&s->engine, lane_of(s, place), &loss, s->now_us);
}

void link_down_within(stage *s, uint32_t place, uint64_t n)
{
    gavel__lane *lane = lane_of(s, place);
    gavel__loss loss = {.n_sent = lane->n_sent + n, .message = "connection reset"};
    gavel__engine_on_link_down(&s->engine, lane, &loss, s->now_us);
    gavel__engine_check(&s->engine);
}

void link_down_too_large(stage *s, uint32_t place)
{
    gavel__lane *lane = lane_of(s, place);
    gavel__loss loss = {
        .n_sent = lane->n_sent, .is_too_large = true, .message = "larger than max_reply_bytes"};
    gavel__engine_on_link_down(&s->engine, lane, &loss, s->now_us);
    gavel__engine_check(&s->engine);
}

void link_down(stage *s, uint32_t place)
{
    link_down_within(s, place, 0);
}

void stage_is_closed(stage *s, uint32_t place, const char *message, int line)
{
    advance(s, 0);
    gavel__lane *lane = lane_of(s, place);
    cr_assert(lane->is_condemned, "line %d: link %u is not to be closed", line, (unsigned)place);
    cr_assert_not_null(strstr(lane->message, message), "line %d: link %u is closed for \"%s\"",
        line, (unsigned)place, lane->message);
    link_down(s, place);
}

/* ---- What the peer hears ------------------------------------------------------------------- */

typedef struct listing {
    char text[16384];
    size_t size;
    size_t n_commands;
} listing;

static void put(listing *l, const char *text)
{
    gavel__format(l->text + l->size, sizeof(l->text) - l->size, "%s", text);
    l->size = strlen(l->text);
}

static size_t take_number(const char **at, char kind)
{
    cr_assert_eq(**at, kind, "not a command at \"%.20s\"", *at);
    char *end = NULL;
    size_t number = strtoul(*at + 1, &end, 10);
    cr_assert_eq(strncmp(end, "\r\n", 2), 0);
    *at = end + 2;
    return number;
}

static gavel_bytes take_arg(const char **at)
{
    size_t size = take_number(at, '$');
    gavel_bytes arg = {*at, size};
    *at += size + 2;
    return arg;
}

static void put_arg(listing *l, gavel_bytes arg)
{
    char printable[256];
    if (gavel__bytes_start_with(arg, gavel_str(marker_prefix)))
        gavel__format(printable, sizeof(printable), "m%zu", dial_of(arg));
    else if (gavel__bytes_start_with(arg, gavel_str("g:wait:")))
        gavel__format(printable, sizeof(printable), "w");
    else
        (void)gavel__printable(arg, printable, sizeof(printable));
    put(l, printable);
}

/* What a marker is planted with is drawn at random: noted, and written as "n" and the dial. What it
 * is set to by an EXEC is written as that and the rounds since. */
static void put_marker_value(stage *s, listing *l, gavel_bytes marker, gavel_bytes value)
{
    int64_t number = 0;
    size_t dial = dial_of(marker);
    cr_assert(gavel__parse_int(value, &number));
    char text[32];
    uint64_t n_rounds = (uint64_t)number - s->numbers[dial];
    if (n_rounds > 0 && n_rounds < 1000) {
        gavel__format(text, sizeof(text), "n%zu+%u", dial, (unsigned)n_rounds);
    } else {
        s->numbers[dial] = (uint64_t)number;
        gavel__format(text, sizeof(text), "n%zu", dial);
    }
    put(l, text);
}

static void put_command(stage *s, listing *l, const char **at)
{
    size_t n_args = take_number(at, '*');
    gavel_bytes name = {NULL, 0};
    gavel_bytes key = {NULL, 0};
    if (l->n_commands++ > 0)
        put(l, " / ");
    for (size_t i = 0; i < n_args; i++) {
        gavel_bytes arg = take_arg(at);
        if (i == 0)
            name = arg;
        if (i == 1)
            key = arg;
        if (i > 0)
            put(l, " ");
        if (i == 2 && gavel__bytes_equal(name, gavel_str("SET")) &&
            gavel__bytes_start_with(key, gavel_str(marker_prefix)))
            put_marker_value(s, l, key, arg);
        else
            put_arg(l, arg);
    }
}

static const listing *list_commands(stage *s, uint32_t place)
{
    static listing l;
    static char raw[65536];
    l = (listing){.size = 0};
    const gavel__buffer *out = &s->outs[place];
    cr_assert(!out->has_failed && out->size < sizeof(raw));
    if (out->size > 0)
        memcpy(raw, out->data, out->size);
    raw[out->size] = '\0';
    for (const char *at = raw; at < raw + out->size;)
        put_command(s, &l, &at);
    return &l;
}

const char *stage_peek(stage *s, uint32_t place)
{
    return list_commands(s, place)->text;
}

void stage_composes(stage *s, uint32_t place, const char *commands, int line)
{
    advance(s, 0);
    gavel__lane *lane = lane_of(s, place);
    const listing *l = list_commands(s, place);
    cr_assert_str_eq(
        l->text, commands, "line %d: heard\n    %s\nnot\n    %s", line, l->text, commands);
    cr_assert_eq(l->n_commands, lane->n_new_replies,
        "line %d: %zu commands, but %zu replies are awaited", line, l->n_commands,
        lane->n_new_replies);
}

static void send_all(stage *s, uint32_t place)
{
    gavel__lane *lane = lane_of(s, place);
    lane->n_sent += s->outs[place].size;
    lane->n_new_replies = 0;
    cr_assert_eq(lane->n_sent, lane->n_appended, "bytes are miscounted");
    gavel__buffer_consume(&s->outs[place], s->outs[place].size);
}

void stage_hears(stage *s, uint32_t place, const char *commands, int line)
{
    stage_composes(s, place, commands, line);
    const gavel__lane *lane = lane_of(s, place);
    cr_assert(s->outs[place].size == 0 || !lane->is_condemned,
        "line %d: the link is to be closed, so nothing is sent (%s)", line, lane->message);
    send_all(s, place);
}

const char *stage_listen(stage *s, uint32_t place)
{
    const char *text = stage_peek(s, place);
    send_all(s, place);
    return text;
}

/* ---- What the peer says -------------------------------------------------------------------- */

/* "n2+1" and "n2": a marker's number. */
static bool take_marker_number(const stage *s, const char **at, int64_t *ret_number)
{
    if ((*at)[0] != 'n' || (*at)[1] < '0' || (*at)[1] > '9')
        return false;
    char *end = NULL;
    size_t dial = strtoul(*at + 1, &end, 10);
    cr_assert_lt(dial, STAGE_MAX_DIALS);
    int64_t number = (int64_t)s->numbers[dial];
    if (*end == '+' || *end == '-')
        number += strtol(end, &end, 10);
    *at = end;
    *ret_number = number;
    return true;
}

static void take_reply(
    const stage *s, gavel__arena *arena, const char **at, gavel_reply *ret_reply);

static gavel_bytes copied(gavel__arena *arena, gavel_bytes bytes)
{
    gavel_bytes copy = {NULL, 0};
    cr_assert(gavel__arena_copy(arena, bytes, &copy));
    return copy;
}

static void take_array(const stage *s, gavel__arena *arena, const char **at, gavel_reply *ret_reply)
{
    enum { MAX_ELEMENTS = 64 };
    gavel_reply *elements = gavel__arena_alloc(arena, MAX_ELEMENTS, sizeof(*elements));
    size_t n_elements = 0;
    for ((*at)++; *(*at += strspn(*at, ", ")) != ']';) {
        cr_assert_lt(n_elements, MAX_ELEMENTS);
        take_reply(s, arena, at, &elements[n_elements++]);
    }
    (*at)++;
    *ret_reply =
        (gavel_reply){.type = GAVEL_REPLY_ARRAY, .elements = elements, .n_elements = n_elements};
}

static gavel_reply take_string(const stage *s, gavel__arena *arena, const char **at)
{
    const char *text = *at + 1;
    size_t size = strcspn(text, "\"");
    *at = text + size + 1;
    gavel_reply reply = {.type = GAVEL_REPLY_STRING};
    int64_t number = 0;
    char storage[GAVEL__INT_SIZE];
    if (take_marker_number(s, &text, &number))
        reply.text = copied(arena, gavel__format_int(number, storage));
    else
        reply.text = copied(arena, (gavel_bytes){text, size});
    return reply;
}

static gavel_reply take_integer(const stage *s, const char **at)
{
    gavel_reply reply = {.type = GAVEL_REPLY_INTEGER};
    (*at)++;
    if (!take_marker_number(s, at, &reply.integer)) {
        char *end = NULL;
        reply.integer = strtoll(*at, &end, 10);
        *at = end;
    }
    return reply;
}

static void take_reply(const stage *s, gavel__arena *arena, const char **at, gavel_reply *ret_reply)
{
    if (**at == '[') {
        take_array(s, arena, at, ret_reply);
    } else if (**at == '"') {
        *ret_reply = take_string(s, arena, at);
    } else if (**at == ':') {
        *ret_reply = take_integer(s, at);
    } else {
        size_t size = strcspn(*at, ",]");
        gavel_bytes bare = {*at, size};
        *at += size;
        ret_reply->type = GAVEL_REPLY_STATUS;
        if (gavel__bytes_equal(bare, gavel_str("nil")))
            ret_reply->type = GAVEL_REPLY_NIL;
        else if (bare.data[0] == '-')
            *ret_reply = (gavel_reply){.type = GAVEL_REPLY_ERROR,
                .text = copied(arena, (gavel_bytes){bare.data + 1, bare.size - 1})};
        else
            ret_reply->text = copied(arena, bare);
    }
}

void says(stage *s, uint32_t place, const char *replies)
{
    for (const char *at = replies; *(at += strspn(at, ", ")) != '\0';) {
        /* Freed after each reply, so that whoever keeps a piece of it is found out. */
        gavel__arena arena;
        gavel__arena_init(&arena, &gavel__system_allocator);
        gavel_reply reply = {.type = GAVEL_REPLY_NIL};
        take_reply(s, &arena, &at, &reply);
        gavel__engine_on_reply(&s->engine, lane_of(s, place), &reply, s->now_us);
        gavel__engine_check(&s->engine);
        gavel__arena_finish(&arena);
    }
}
