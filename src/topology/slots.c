/*
 * Slots: see the header.
 */
#include "topology/slots.h"

#include "base/heap.h"
#include "base/list.h"
#include "base/resp.h"
#include "base/text.h"

#include <assert.h>
#include <string.h>

/* How often is asked at most: at first, and when the answer stays the same; and if meanwhile slots
 * are without service. */
static const int64_t least_pause_us = 100000;
static const int64_t most_pause_us = 5000000;
static const int64_t urgent_pause_us = 500000;

/* How often is asked without a reason: from the first to both together. */
static const int64_t calm_pause_us = 54000000;
static const int64_t calm_jitter_us = 12000000;

/* For so long one that was lost is asked after the others. */
static const int64_t doubtful_us = 5000000;

/* For so long a node that is of no use any more is kept: something may be on its way there. */
static const int64_t linger_us = 10000000;

/* And one that was of a shard: longer than from one calm question to the next, by which it may be
 * named again. */
static const int64_t absent_us = 120000000;

/* ---- Making and ending --------------------------------------------------------------------- */

void gavel__slots_init(gavel__slots *slots, const gavel_allocator *allocator, gavel__random *random)
{
    memset(slots, 0, sizeof(*slots));
    slots->allocator = allocator;
    slots->random = random;
    slots->pass = 1;
    slots->asked = GAVEL__NO_NODE;
    slots->pause_us = least_pause_us;
    slots->sweep_us = GAVEL__NEVER;
    slots->first_moved = GAVEL__N_SLOTS / 64;
    gavel__map_init(&slots->by_name, allocator, gavel__random_next(random));
    for (size_t i = 0; i < GAVEL__N_SLOTS; i++)
        slots->node_of[i] = GAVEL__NO_NODE;
    gavel__format(slots->trouble, sizeof(slots->trouble), "none has answered yet");
}

void gavel__slots_finish(gavel__slots *slots)
{
    gavel__map_finish(&slots->by_name);
    for (size_t i = 0; i < slots->n_nodes; i++)
        gavel__free(slots->allocator, slots->nodes[i]);
    slots->n_nodes = 0;
}

/* ---- Nodes --------------------------------------------------------------------------------- */

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static bool is_there(const gavel__slots_node *node)
{
    return node->place.host[0] != '\0';
}

/* A number that nobody has. NULL: no memory, or there are too many. */
static gavel__slots_node *find_free(gavel__slots *slots)
{
    for (uint16_t i = 0; i < slots->n_nodes; i++) {
        if (!is_there(slots->nodes[i]))
            return slots->nodes[i];
    }
    if (slots->n_nodes == GAVEL__MAX_NODES)
        return NULL;
    gavel__slots_node *node = gavel__alloc(slots->allocator, 1, sizeof(*node));
    if (node == NULL)
        return NULL;
    node->number = slots->n_nodes;
    slots->nodes[slots->n_nodes++] = node;
    return node;
}

/* The node at a place, a new one if need be. NULL: no memory, or there are too many. */
static gavel__slots_node *take_node(
    gavel__slots *slots, const gavel__place_name *place, int64_t now_us)
{
    char name[GAVEL__SLOTS_NAME_SIZE];
    gavel__format(name, sizeof(name), "%s:%d", place->host, place->port);
    gavel__map_node *found = gavel__map_find(&slots->by_name, gavel_str(name));
    if (found != NULL)
        return GAVEL__CONTAINER(found, gavel__slots_node, by_name);
    gavel__slots_node *node = find_free(slots);
    if (node == NULL)
        return NULL;
    *node = (gavel__slots_node){.number = node->number,
        .generation = node->generation,
        .primary = GAVEL__NO_NODE,
        .answer_primary = GAVEL__NO_NODE,
        .unused_us = now_us};
    memcpy(node->name, name, sizeof(name));
    if (!gavel__map_insert(&slots->by_name, gavel_str(node->name), &node->by_name))
        return NULL;
    node->place = *place;
    node->generation++;
    return node;
}

static void forget(gavel__slots *slots, gavel__slots_node *node)
{
    gavel__map_remove(&slots->by_name, &node->by_name);
    node->place.host[0] = '\0';
}

bool gavel__slots_add_seed(gavel__slots *slots, const char *host, int port)
{
    gavel__place_name place = {.port = port};
    gavel__format(place.host, sizeof(place.host), "%s", host);
    gavel__slots_node *node = take_node(slots, &place, INT64_MIN);
    if (node == NULL)
        return false;
    node->is_seed = true;
    return true;
}

/* Whether somebody still says that it is one. */
static bool is_named(const gavel__slots_node *node)
{
    return node->is_seed || node->is_listed || node->n_slots > 0;
}

/* When it is forgotten, if nobody names it until then. */
static int64_t end_us(const gavel__slots_node *node)
{
    return node->unused_us + (node->shard != 0 ? absent_us : linger_us);
}

/* It may be of no use from now on: it is looked at again. */
static void note_unused(gavel__slots *slots, gavel__slots_node *node, int64_t now_us)
{
    node->unused_us = now_us;
    if (!is_named(node))
        slots->sweep_us = least(slots->sweep_us, end_us(node));
}

void gavel__slots_advance(gavel__slots *slots, int64_t now_us)
{
    if (now_us < slots->sweep_us)
        return;
    slots->sweep_us = GAVEL__NEVER;
    for (uint16_t i = 0; i < slots->n_nodes; i++) {
        gavel__slots_node *node = slots->nodes[i];
        if (!is_there(node) || is_named(node))
            continue;
        if (slots->asked == i)
            node->unused_us = now_us;
        if (end_us(node) <= now_us)
            forget(slots, node);
        else
            slots->sweep_us = least(slots->sweep_us, end_us(node));
    }
}

bool gavel__slots_is_used(const gavel__slots *slots, uint16_t node, int64_t now_us)
{
    const gavel__slots_node *self = slots->nodes[node];
    return is_there(self) && (self->n_slots > 0 || now_us - linger_us < self->unused_us);
}

/* ---- The map ------------------------------------------------------------------------------- */

/* Whether both have copies of the same data: then the slot has not wandered, with its keys one
 * after another, but another copy of all its data has taken over. Not what the answer says now: who
 * gives its last slot away becomes a replica of whoever has got it. */
static bool are_of_a_shard(const gavel__slots *slots, uint16_t before, uint16_t number)
{
    return before != GAVEL__NO_NODE && number != GAVEL__NO_NODE &&
           slots->nodes[before]->shard != 0 &&
           slots->nodes[before]->shard == slots->nodes[number]->shard;
}

/* Returns whether it was elsewhere. */
static bool set_slot(gavel__slots *slots, uint16_t slot, uint16_t number, int64_t now_us)
{
    uint16_t before = slots->node_of[slot];
    if (before == number)
        return false;
    slots->node_of[slot] = number;
    slots->moved[slot / 64] |= UINT64_C(1) << slot % 64;
    if (!are_of_a_shard(slots, before, number))
        slots->migrated[slot / 64] |= UINT64_C(1) << slot % 64;
    if (slots->first_moved > slot / 64u)
        slots->first_moved = slot / 64u;
    if (number != GAVEL__NO_NODE)
        slots->nodes[number]->n_slots++;
    if (before != GAVEL__NO_NODE && --slots->nodes[before]->n_slots == 0)
        note_unused(slots, slots->nodes[before], now_us);
    return true;
}

bool gavel__slots_take_moved(gavel__slots *slots, uint16_t *ret_slot, bool *ret_has_migrated)
{
    uint32_t i = slots->first_moved;
    while (i < GAVEL__N_SLOTS / 64 && slots->moved[i] == 0)
        i++;
    slots->first_moved = i;
    if (i == GAVEL__N_SLOTS / 64)
        return false;
    uint32_t bit = 0;
    while ((slots->moved[i] >> bit & 1) == 0)
        bit++;
    *ret_has_migrated = (slots->migrated[i] >> bit & 1) != 0;
    slots->moved[i] &= ~(UINT64_C(1) << bit);
    slots->migrated[i] &= ~(UINT64_C(1) << bit);
    *ret_slot = (uint16_t)(i * 64 + bit);
    return true;
}

/* ---- Asking -------------------------------------------------------------------------------- */

/* The lower, the sooner it is asked. */
static unsigned rank_of(const gavel__slots_node *node, int64_t now_us)
{
    unsigned rank = node->n_slots > 0 ? 0 : node->is_listed ? 1 : 2;
    return node->doubtful_until_us > now_us ? rank + 3 : rank;
}

/* One that was not asked in this pass yet. NULL: there is none. */
static gavel__slots_node *choose(gavel__slots *slots, int64_t now_us)
{
    gavel__slots_node *best = NULL;
    uint64_t n_equal = 0;
    for (uint16_t i = 0; i < slots->n_nodes; i++) {
        gavel__slots_node *node = slots->nodes[i];
        if (!is_there(node) || !is_named(node) || node->pass == slots->pass)
            continue;
        if (best == NULL || rank_of(node, now_us) < rank_of(best, now_us))
            n_equal = 0;
        else if (rank_of(node, now_us) > rank_of(best, now_us))
            continue;
        if (gavel__random_below(slots->random, ++n_equal) == 0)
            best = node;
    }
    return best;
}

uint16_t gavel__slots_begin(gavel__slots *slots, int64_t now_us)
{
    if (slots->asked != GAVEL__NO_NODE || now_us < slots->ask_us)
        return GAVEL__NO_NODE;
    gavel__slots_node *node = choose(slots, now_us);
    if (node == NULL)
        return GAVEL__NO_NODE;
    node->pass = slots->pass;
    node->unused_us = now_us;
    slots->asked = node->number;
    slots->asked_us = now_us;
    slots->is_sent = false;
    slots->was_urged = slots->is_urged;
    slots->is_urged = false;
    return node->number;
}

size_t gavel__slots_ask(gavel__slots *slots, gavel__buffer *out, int64_t now_us)
{
    static const gavel_bytes args[] = {{"CLUSTER", 7}, {"SLOTS", 5}};
    assert(slots->asked != GAVEL__NO_NODE);
    slots->asked_us = now_us;
    slots->is_sent = true;
    gavel__resp_command(out, args, 2);
    return 1;
}

static void hasten(gavel__slots *slots, int64_t pause_us, int64_t now_us)
{
    int64_t soon_us = slots->asked_us + pause_us;
    slots->is_urged = true;
    if (soon_us < slots->ask_us)
        slots->ask_us = soon_us > now_us ? soon_us : now_us;
}

void gavel__slots_urge(gavel__slots *slots, int64_t now_us)
{
    hasten(slots, least(slots->pause_us, urgent_pause_us), now_us);
}

void gavel__slots_on_missed_replica(gavel__slots *slots, int64_t now_us)
{
    hasten(slots, slots->pause_us, now_us);
}

/* Whoever was asked has not told: the next one, or, if that was the last one, all of them again
 * after a pause. */
static void go_on(gavel__slots *slots, int64_t now_us)
{
    slots->asked = GAVEL__NO_NODE;
    slots->is_urged = slots->is_urged || slots->was_urged;
    int64_t pause_us = slots->is_sent ? least_pause_us : 0;
    if (choose(slots, now_us) == NULL) {
        slots->pass++;
        pause_us = slots->pause_us;
        slots->pause_us = least(2 * slots->pause_us, most_pause_us);
    }
    int64_t soon_us = slots->asked_us + pause_us;
    slots->ask_us = soon_us > now_us ? soon_us : now_us;
}

void gavel__slots_on_loss(gavel__slots *slots, uint16_t node, const char *message, int64_t now_us)
{
    slots->nodes[node]->doubtful_until_us = now_us + doubtful_us;
    gavel__format(slots->trouble, sizeof(slots->trouble), "%s", message);
    if (slots->asked == node)
        go_on(slots, now_us);
    gavel__slots_urge(slots, now_us);
}

int64_t gavel__slots_due_us(const gavel__slots *slots)
{
    int64_t ask_us = slots->asked == GAVEL__NO_NODE ? slots->ask_us : GAVEL__NEVER;
    return least(ask_us, slots->sweep_us);
}

/* ---- Answers ------------------------------------------------------------------------------- */

/* The one that is being read. */
typedef struct answer {
    gavel__slots *slots;
    const char *host; /* of whoever has answered */
    int64_t now_us;
} answer;

static bool refuse(answer *self, const char *reason)
{
    gavel__slots *slots = self->slots;
    gavel__format(slots->trouble, sizeof(slots->trouble), "%s: its CLUSTER SLOTS %s",
        slots->nodes[slots->asked]->name, reason);
    return false;
}

/* Where a node is, of an array of host, port, id, and what else it calls itself. No host, or "":
 * where whoever has answered is. "?": it was told to use its name, and has none; then its address
 * is among what else it calls itself. False: nowhere. */
static bool read_place(const answer *self, const gavel_reply *node, gavel__place_name *ret_place)
{
    int64_t port;
    gavel_bytes host = {"", 0};
    const gavel_reply *first = gavel_reply_element(node, 0);
    if (first == NULL || !gavel_reply_int(gavel_reply_element(node, 1), &port))
        return false;
    if (first->type != GAVEL_REPLY_NIL && !gavel_reply_text(first, &host))
        return false;
    if (gavel__bytes_equal(host, GAVEL_STR("?")) &&
        !gavel_reply_text(gavel_reply_value(gavel_reply_element(node, 3), GAVEL_STR("ip")), &host))
        host.size = 0;
    return gavel__place_take(host.size > 0 ? host : gavel_str(self->host), port, ret_place);
}

/* The node at a place, noted as one of this answer. NULL: there is no room. */
static gavel__slots_node *note_node(const answer *self, const gavel__place_name *place)
{
    gavel__slots *slots = self->slots;
    size_t n_before = slots->by_name.n_nodes;
    gavel__slots_node *node = take_node(slots, place, self->now_us);
    if (node == NULL)
        return NULL;
    if (slots->by_name.n_nodes > n_before)
        node->added_by = slots->answer;
    node->answer = slots->answer;
    return node;
}

/* What cannot be reached as a replica is no reason to do without the map. */
static void read_replicas(const answer *self, const gavel_reply *range, uint16_t primary)
{
    for (size_t i = 3; i < range->n_elements; i++) {
        gavel__place_name place;
        if (!read_place(self, &range->elements[i], &place))
            continue;
        gavel__slots_node *replica = note_node(self, &place);
        if (replica != NULL)
            replica->answer_primary = primary;
    }
}

/* First and last slot, the primary, and its replicas. */
static bool read_range(answer *self, const gavel_reply *range)
{
    gavel__slots *slots = self->slots;
    gavel__place_name place;
    int64_t first;
    int64_t last;
    if (!gavel_reply_int(gavel_reply_element(range, 0), &first) ||
        !gavel_reply_int(gavel_reply_element(range, 1), &last) || first < 0 || first > last ||
        last >= GAVEL__N_SLOTS)
        return refuse(self, "names slots that there are not");
    if (!read_place(self, gavel_reply_element(range, 2), &place))
        return refuse(self, "names a node without a place");
    gavel__slots_node *primary = note_node(self, &place);
    if (primary == NULL)
        return refuse(self, "names more than 1024 nodes, or there is no memory");
    primary->answer_primary = GAVEL__NO_NODE;
    for (int64_t slot = first; slot <= last; slot++) {
        if (slots->incoming[slot] != GAVEL__NO_NODE)
            return refuse(self, "names a slot twice");
        slots->incoming[slot] = primary->number;
    }
    read_replicas(self, range, primary->number);
    return true;
}

/* All of it, into `incoming` and what the nodes have of this answer. */
static bool read_answer(answer *self, const gavel_reply *reply)
{
    gavel__slots *slots = self->slots;
    for (size_t i = 0; i < GAVEL__N_SLOTS; i++)
        slots->incoming[i] = GAVEL__NO_NODE;
    if (reply->type == GAVEL_REPLY_ERROR) {
        char words[96];
        return refuse(self, gavel__printable(reply->text, words, sizeof(words)));
    }
    if (reply->type != GAVEL_REPLY_ARRAY)
        return refuse(self, "is no list");
    if (reply->n_elements == 0)
        return refuse(self, "is empty: it serves no slot, and knows nobody who does");
    for (size_t i = 0; i < reply->n_elements; i++) {
        if (!read_range(self, &reply->elements[i]))
            return false;
    }
    return true;
}

/* What an answer that was refused has brought is gone. */
static void undo(gavel__slots *slots)
{
    for (uint16_t i = 0; i < slots->n_nodes; i++) {
        gavel__slots_node *node = slots->nodes[i];
        if (is_there(node) && node->added_by == slots->answer)
            forget(slots, node);
    }
}

/* Who is named now. Returns whether that are others than before. */
static bool apply_names(gavel__slots *slots, int64_t now_us)
{
    bool has_changed = false;
    for (uint16_t i = 0; i < slots->n_nodes; i++) {
        gavel__slots_node *node = slots->nodes[i];
        bool is_listed = is_there(node) && node->answer == slots->answer;
        if (is_listed == node->is_listed)
            continue;
        has_changed = true;
        node->is_listed = is_listed;
        if (!is_listed && node->n_slots == 0)
            note_unused(slots, node, now_us);
    }
    return has_changed;
}

/* Where the slots are now. Of whom the answer does not tell stays where it was, if that node is
 * still one: the answer may be of one that has not heard of all. */
static bool apply_slots(gavel__slots *slots, int64_t now_us)
{
    bool has_changed = false;
    for (size_t slot = 0; slot < GAVEL__N_SLOTS; slot++) {
        uint16_t before = slots->node_of[slot];
        uint16_t number = slots->incoming[slot];
        if (number == GAVEL__NO_NODE && before != GAVEL__NO_NODE && slots->nodes[before]->is_listed)
            continue;
        if (set_slot(slots, (uint16_t)slot, number, now_us))
            has_changed = true;
    }
    return has_changed;
}

/* Each primary has one, and its replicas with it. Who is not listed may come back. */
static void apply_shards(gavel__slots *slots)
{
    for (uint16_t i = 0; i < slots->n_nodes; i++) {
        gavel__slots_node *node = slots->nodes[i];
        if (node->is_listed && node->answer_primary == GAVEL__NO_NODE && node->shard == 0)
            node->shard = ++slots->n_shards;
    }
    for (uint16_t i = 0; i < slots->n_nodes; i++) {
        gavel__slots_node *node = slots->nodes[i];
        if (node->is_listed && node->answer_primary != GAVEL__NO_NODE)
            node->shard = slots->nodes[node->answer_primary]->shard;
        node->primary = node->is_listed ? node->answer_primary : GAVEL__NO_NODE;
    }
}

static bool apply(gavel__slots *slots, int64_t now_us)
{
    bool has_names_changed = apply_names(slots, now_us);
    bool have_slots_changed = apply_slots(slots, now_us);
    apply_shards(slots);
    return has_names_changed || have_slots_changed;
}

/* When to ask again. */
static void plan(gavel__slots *slots, bool has_changed, int64_t now_us)
{
    bool is_in_vain = slots->was_urged && !has_changed;
    slots->pause_us = is_in_vain ? least(2 * slots->pause_us, most_pause_us) : least_pause_us;
    slots->ask_us = now_us + calm_pause_us +
                    (int64_t)gavel__random_below(slots->random, (uint64_t)calm_jitter_us);
    if (slots->is_urged)
        hasten(slots, slots->pause_us, now_us);
}

void gavel__slots_on_reply(
    gavel__slots *slots, const gavel_reply *reply, const char *host, int64_t now_us)
{
    assert(slots->asked != GAVEL__NO_NODE);
    answer self = {.slots = slots, .host = host, .now_us = now_us};
    gavel__slots_node *node = slots->nodes[slots->asked];
    slots->answer++;
    if (!read_answer(&self, reply)) {
        undo(slots);
        node->doubtful_until_us = now_us + doubtful_us;
        go_on(slots, now_us);
        return;
    }
    bool has_changed = apply(slots, now_us);
    node->doubtful_until_us = 0;
    slots->n_answers++;
    slots->pass++;
    slots->asked = GAVEL__NO_NODE;
    plan(slots, has_changed, now_us);
}

/* ---- Redirects ----------------------------------------------------------------------------- */

uint16_t gavel__slots_on_redirect(
    gavel__slots *slots, const gavel__redirect *redirect, const char *host, int64_t now_us)
{
    gavel__place_name place;
    gavel__slots_node *node = NULL;
    bool is_nameless = gavel__bytes_equal(redirect->host, GAVEL_STR("?"));
    gavel_bytes at = redirect->host.size > 0 ? redirect->host : gavel_str(host);
    if (!is_nameless && gavel__place_take(at, redirect->port, &place))
        node = take_node(slots, &place, now_us);
    if (is_nameless)
        gavel__slots_urge(slots, now_us);
    else if (!redirect->is_ask)
        hasten(slots, slots->pause_us, now_us);
    if (node == NULL)
        return GAVEL__NO_NODE;
    if (node->n_slots == 0)
        note_unused(slots, node, now_us);
    if (!redirect->is_ask)
        set_slot(slots, redirect->slot, node->number, now_us);
    return node->number;
}

/* ---- For people ---------------------------------------------------------------------------- */

void gavel__slots_explain(const gavel__slots *slots, char message[GAVEL_MESSAGE_SIZE])
{
    gavel__format(message, GAVEL_MESSAGE_SIZE,
        "no node of the Cluster tells where its slots are: %s", slots->trouble);
}
