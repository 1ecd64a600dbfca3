/*
 * Wishes: what is asked for those who wish the same, and what the answers say. Who is held, and
 * what becomes of them, is in durability.c.
 */
#include "core/durability.h"

#include "base/resp.h"
#include "base/text.h"
#include "core/lane.h"
#include "core/server_error.h"

/* What is written for WAIT's sake lives for so long. */
static const int64_t key_ttl_ms = 600000;

uint32_t gavel__wish_n_needed(const gavel__wish *wish)
{
    if (wish->n_replicas != GAVEL_ALL_REPLICAS)
        return wish->n_replicas;
    const gavel__durability *durability = wish->durability;
    uint32_t n =
        durability->n_most > durability->n_known ? durability->n_most : durability->n_known;
    return n > 0 ? n : 1;
}

static void set_uncertain(gavel__list *list)
{
    for (gavel__list *node = list->next; node != list; node = node->next)
        GAVEL__CONTAINER(node, gavel__replicating, node)->is_uncertain = true;
}

void gavel__wish_doubt(gavel__wish *wish)
{
    wish->lane = NULL;
    gavel__list_append_all(&wish->next, &wish->ripe); /* what was counted is about another state */
    set_uncertain(&wish->asked);
    set_uncertain(&wish->next);
}

/* ---- Asking -------------------------------------------------------------------------------- */

/* What a question is made of. */
enum { STEP_SET, STEP_MARK, STEP_WAIT, STEP_ROLE };

static void add_step(gavel__wish *wish, uint8_t step)
{
    wish->steps[wish->n_steps++] = step;
}

/* What is written for WAIT's sake: in a Cluster in a slot of the node. */
static gavel_bytes name_key(const gavel__wish *wish, char storage[GAVEL__MARKER_SIZE])
{
    const gavel__durability *durability = wish->durability;
    const gavel__replicating *first =
        GAVEL__CONTAINER(wish->asked.next, const gavel__replicating, node);
    uint16_t slot = GAVEL__NO_SLOT;
    if (durability->at_node != GAVEL__NO_NODE)
        slot = gavel__slot_of((gavel_bytes){first->marker, first->marker_size});
    return gavel__name_of_wait(durability->key_prefix, slot, durability->identity, storage);
}

static void write_set(gavel__wish *wish, gavel__buffer *out)
{
    char storage[GAVEL__MARKER_SIZE];
    add_step(wish, STEP_SET);
    gavel__resp_begin(out, 5);
    gavel__resp_arg(out, GAVEL_STR("SET"));
    gavel__resp_arg(out, name_key(wish, storage));
    gavel__resp_arg_int(out, 1);
    gavel__resp_arg(out, GAVEL_STR("PX"));
    gavel__resp_arg_int(out, key_ttl_ms);
}

static void write_role(gavel__wish *wish, uint8_t step, gavel__buffer *out)
{
    add_step(wish, step);
    gavel__resp_command(out, (const gavel_bytes[]){GAVEL_STR("ROLE")}, 1);
}

/* What WAIT is about, unless this connection has written it for the same members already, and its
 * offset is known. That is not asked for in vain; and not where WAITAOF is believed: there it is
 * always about the last write. */
static void write_subject(gavel__wish *wish, gavel__buffer *out)
{
    struct gavel__lane *lane = wish->question.lane;
    bool stands = wish->lane == lane && wish->n_ups == lane->n_ups;
    bool wants_mark = (stands || wish->is_behind) && !wish->needs_fsync;
    wish->is_behind = stands;
    if (stands && (wish->mark >= 0 || wish->needs_fsync))
        return;
    wish->lane = lane;
    wish->n_ups = lane->n_ups;
    wish->mark = -1;
    write_set(wish, out);
    if (wants_mark)
        write_role(wish, STEP_MARK, out);
}

static void write_wait(gavel__wish *wish, gavel__buffer *out)
{
    int64_t slice_ms = wish->durability->slice_us / 1000;
    add_step(wish, STEP_WAIT);
    gavel__resp_begin(out, wish->needs_fsync ? 4 : 3);
    gavel__resp_arg(out, wish->needs_fsync ? GAVEL_STR("WAITAOF") : GAVEL_STR("WAIT"));
    if (wish->needs_fsync)
        gavel__resp_arg_int(out, 1);
    gavel__resp_arg_int(out, gavel__wish_n_needed(wish));
    gavel__resp_arg_int(out, slice_ms > 0 ? slice_ms : 1); /* 0 would be for ever */
}

/* Whether ROLE is behind WAIT: for how many there are, or for who has got how far. */
static bool wants_role(const gavel__wish *wish)
{
    bool is_marked = wish->mark >= 0 || (wish->n_steps > 1 && wish->steps[1] == STEP_MARK);
    return wish->n_replicas == GAVEL_ALL_REPLICAS || is_marked;
}

/* How many. */
static size_t write_markers(gavel__wish *wish, gavel__buffer *out)
{
    size_t n = 0;
    for (gavel__list *node = wish->asked.next; node != &wish->asked; node = node->next) {
        gavel__replicating *replicating = GAVEL__CONTAINER(node, gavel__replicating, node);
        gavel_bytes get[] = {GAVEL_STR("GET"), {replicating->marker, replicating->marker_size}};
        gavel__resp_command(out, get, 2);
        replicating->found = -1;
        n++;
    }
    return n;
}

size_t gavel__wish_write(gavel__wish *wish, gavel__buffer *out)
{
    gavel_stats *stats = &wish->durability->context->stats;
    wish->n_counted = -1;
    wish->is_role_known = false;
    wish->is_on_disk = false;
    wish->is_believed = wish->question.lane->can_tell_fsync;
    wish->is_refused = false;
    wish->is_led_away = false;
    wish->fault = "";
    wish->n_steps = 0;
    write_subject(wish, out);
    write_wait(wish, out);
    if (wants_role(wish))
        write_role(wish, STEP_ROLE, out);
    size_t n_markers = write_markers(wish, out);
    wish->turn = wish->asked.next;
    stats->n_commands += wish->n_steps;
    stats->n_marker_commands += n_markers;
    stats->n_round_trips++;
    return wish->n_steps + n_markers;
}

/* ---- Answers ------------------------------------------------------------------------------- */

/* An error: what was written for WAIT's sake is to be written again. */
static void on_error(gavel__wish *wish, const char *command, gavel_bytes text)
{
    char words[96];
    gavel__format(wish->words, sizeof(wish->words), "%s: %s", command,
        gavel__printable(text, words, sizeof(words)));
    wish->fault = wish->words;
    wish->n_counted = -1;
    wish->lane = NULL;
    if (gavel__bytes_start_with(text, GAVEL_STR("UNBLOCKED")))
        gavel__wish_doubt(wish);
    else if (gavel__server_error_remedy(text) == GAVEL__REMEDY_GIVE_UP)
        wish->is_refused = true;
}

/* In a Cluster its slot may be on its way. */
static void on_set(gavel__wish *wish, const gavel_reply *reply)
{
    if (reply->type != GAVEL_REPLY_ERROR)
        return;
    on_error(wish, "SET", reply->text);
    wish->is_led_away = wish->durability->nodes != NULL &&
                        gavel__server_error_remedy_of_node(reply->text) == GAVEL__REMEDY_FOLLOW;
    wish->is_refused = wish->is_refused && !wish->is_led_away;
}

static void on_wait(gavel__wish *wish, const gavel_reply *reply)
{
    if (reply->type == GAVEL_REPLY_ERROR)
        on_error(wish, wish->needs_fsync ? "WAITAOF" : "WAIT", reply->text);
    else if (wish->fault[0] != '\0') /* SET was refused */
        return;
    else if (wish->needs_fsync && !wish->is_believed) {
        gavel__format(wish->words, sizeof(wish->words),
            "the server that took over cannot be believed about its disk");
        wish->fault = wish->words;
    } else if (wish->needs_fsync && reply->type == GAVEL_REPLY_ARRAY && reply->n_elements == 2) {
        wish->is_on_disk = reply->elements[0].integer > 0;
        wish->n_counted = reply->elements[1].integer;
    } else if (!wish->needs_fsync && reply->type == GAVEL_REPLY_INTEGER)
        wish->n_counted = reply->integer;
}

static bool is_role_of_primary(const gavel_reply *reply)
{
    return reply->type == GAVEL_REPLY_ARRAY && reply->n_elements >= 3 &&
           gavel__bytes_equal(reply->elements[0].text, GAVEL_STR("master")) &&
           reply->elements[1].type == GAVEL_REPLY_INTEGER &&
           reply->elements[2].type == GAVEL_REPLY_ARRAY;
}

/* Whoever may not ask ROLE does with what WAIT says. */
static void on_mark(gavel__wish *wish, const gavel_reply *reply)
{
    bool is_told = is_role_of_primary(reply) && wish->fault[0] == '\0';
    wish->mark = is_told ? reply->elements[1].integer : INT64_MAX;
}

/* Replicas that have what the mark stands behind. */
static int64_t count_marked(const gavel__wish *wish, const gavel_reply *replicas)
{
    int64_t n = 0;
    for (size_t i = 0; i < replicas->n_elements && wish->mark >= 0; i++) {
        int64_t offset;
        n += gavel_reply_int(gavel_reply_element(&replicas->elements[i], 2), &offset) &&
             offset >= wish->mark;
    }
    return n;
}

static void on_role(gavel__wish *wish, const gavel_reply *reply)
{
    gavel__durability *durability = wish->durability;
    if (reply->type == GAVEL_REPLY_ERROR && wish->n_replicas == GAVEL_ALL_REPLICAS)
        on_error(wish, "ROLE", reply->text);
    if (!is_role_of_primary(reply))
        return;
    const gavel_reply *replicas = &reply->elements[2];
    int64_t n_marked = count_marked(wish, replicas);
    wish->is_role_known = true;
    if (replicas->n_elements > durability->n_most)
        durability->n_most = (uint32_t)replicas->n_elements;
    if (wish->n_counted >= 0 && n_marked > wish->n_counted && !wish->needs_fsync)
        wish->n_counted = n_marked;
}

static void on_marker(gavel__wish *wish, const gavel_reply *reply)
{
    gavel__replicating *replicating = GAVEL__CONTAINER(wish->turn, gavel__replicating, node);
    int64_t number = -1;
    wish->turn = wish->turn->next;
    if (reply->type == GAVEL_REPLY_STRING && gavel__parse_int(reply->text, &number))
        replicating->found = number;
}

void gavel__wish_take(gavel__wish *wish, size_t i, const gavel_reply *reply)
{
    if (i >= wish->n_steps)
        on_marker(wish, reply);
    else if (wish->steps[i] == STEP_SET)
        on_set(wish, reply);
    else if (wish->steps[i] == STEP_MARK)
        on_mark(wish, reply);
    else if (wish->steps[i] == STEP_WAIT)
        on_wait(wish, reply);
    else
        on_role(wish, reply);
}
