/*
 * Memory that runs out: the n-th allocation fails, n = 0, 1, 2 ... until none does. Whatever
 * happens, everybody who was admitted is told, what is told is true, and nothing leaks.
 *
 * The server here is a table of strings that answers by itself: it runs what stands between MULTI
 * and EXEC, except where a case says that EXEC is lost to somebody else, or its reply to the link.
 */
#include "stage.h"

#include "base/text.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* What becomes of the first EXEC with a write. */
typedef enum mishap { NONE, CONFLICT, LOST_BEFORE, LOST_AFTER } mishap;

enum { N_LANES = 2, N_ITEMS = 64, N_ACTORS = 7 };

typedef struct server {
    mishap mishap; /* still to happen */
    struct {
        char key[64];
        char value[256];
    } items[N_ITEMS];
    size_t n_items;
    bool is_in_multi[N_LANES];
    char queued[N_LANES][8192]; /* parted by " / " */
} server;

/* ---- The table ----------------------------------------------------------------------------- */

static char *find(server *v, const char *key)
{
    for (size_t i = 0; i < v->n_items; i++) {
        if (strcmp(v->items[i].key, key) == 0)
            return v->items[i].value;
    }
    return NULL;
}

static void put(server *v, const char *key, const char *value)
{
    char *known = find(v, key);
    if (known == NULL) {
        cr_assert_lt(v->n_items, N_ITEMS);
        gavel__format(v->items[v->n_items].key, sizeof(v->items[0].key), "%s", key);
        known = v->items[v->n_items++].value;
    }
    gavel__format(known, sizeof(v->items[0].value), "%s", value);
}

/* A marker counts from what it was planted with. */
static void count_up(server *v, const char *key, char *reply, size_t size)
{
    const char *value = find(v, key);
    const char *plus = value != NULL ? strchr(value, '+') : NULL;
    char next[64];
    if (value == NULL)
        gavel__format(next, sizeof(next), "1");
    else
        gavel__format(next, sizeof(next), "%.*s+%d",
            plus != NULL ? (int)(plus - value) : (int)strlen(value), value,
            plus != NULL ? atoi(plus + 1) + 1 : 1);
    put(v, key, next);
    gavel__format(reply, size, ":%s", next);
}

static void run(server *v, const char *command, char *reply, size_t size)
{
    char name[16] = "";
    char key[64] = "";
    char value[256] = "";
    (void)sscanf(command, "%15s %63s %255s", name, key, value);
    const char *known = find(v, key);
    gavel__format(reply, size, "OK");
    if (strcmp(name, "SET") == 0)
        put(v, key, value);
    else if (strcmp(name, "INCR") == 0)
        count_up(v, key, reply, size);
    else if (strcmp(name, "PEXPIRE") == 0)
        gavel__format(reply, size, known != NULL ? ":1" : ":0");
    else if (strcmp(name, "GET") == 0 && known != NULL)
        gavel__format(reply, size, "\"%s\"", known);
    else if (strcmp(name, "GET") == 0 || strcmp(name, "HGET") == 0)
        gavel__format(reply, size, "nil");
    else if (strcmp(name, "HSET") == 0 || strcmp(name, "RPUSH") == 0)
        gavel__format(reply, size, ":1");
    else
        cr_assert(strcmp(name, "WATCH") == 0 || strcmp(name, "UNWATCH") == 0, "%s", command);
}

/* ---- The conversation ---------------------------------------------------------------------- */

static void next_command(const char **at, char *command, size_t size)
{
    const char *end = strstr(*at, " / ");
    size_t length = end != NULL ? (size_t)(end - *at) : strlen(*at);
    gavel__format(command, size, "%.*s", (int)length, *at);
    *at += end != NULL ? length + 3 : length;
}

static void exec(server *v, uint32_t lane, char *reply, size_t size)
{
    gavel__format(reply, size, "[");
    char command[512];
    for (const char *at = v->queued[lane]; *at != '\0';) {
        char element[512];
        next_command(&at, command, sizeof(command));
        run(v, command, element, sizeof(element));
        size_t used = strlen(reply);
        gavel__format(reply + used, size - used, "%s, ", element);
    }
    size_t used = strlen(reply);
    gavel__format(reply + used, size - used, "]");
}

/* Whether this EXEC meets the case's mishap, which then is over. */
static bool meets(server *v, uint32_t lane, mishap what)
{
    if (v->mishap != what || strstr(v->queued[lane], "SET ") == NULL)
        return false;
    v->mishap = NONE;
    return true;
}

/* False: the link is lost. */
static bool answer_exec(stage *s, server *v, uint32_t lane)
{
    char reply[4096];
    v->is_in_multi[lane] = false;
    if (meets(v, lane, LOST_BEFORE))
        return false;
    if (meets(v, lane, CONFLICT)) {
        says(s, lane, "nil");
        return true;
    }
    exec(v, lane, reply, sizeof(reply));
    if (meets(v, lane, LOST_AFTER))
        return false;
    says(s, lane, reply);
    return true;
}

static bool answer(stage *s, server *v, uint32_t lane, const char *command)
{
    char reply[4096];
    if (strcmp(command, "EXEC") == 0)
        return answer_exec(s, v, lane);
    if (strcmp(command, "MULTI") == 0) {
        v->is_in_multi[lane] = true;
        v->queued[lane][0] = '\0';
        says(s, lane, "OK");
    } else if (v->is_in_multi[lane]) {
        size_t used = strlen(v->queued[lane]);
        gavel__format(v->queued[lane] + used, sizeof(v->queued[lane]) - used, "%s%s",
            used > 0 ? " / " : "", command);
        says(s, lane, "QUEUED");
    } else {
        run(v, command, reply, sizeof(reply));
        says(s, lane, reply);
    }
    return true;
}

static void serve(stage *s, server *v, uint32_t lane)
{
    char heard[16384];
    char command[512];
    gavel__format(heard, sizeof(heard), "%s", stage_listen(s, lane));
    for (const char *at = heard; *at != '\0';) {
        next_command(&at, command, sizeof(command));
        if (answer(s, v, lane, command))
            continue;
        link_down(s, lane);
        return;
    }
}

/* One step of one link. True: something was done. */
static bool step(stage *s, server *v, uint32_t place)
{
    const gavel__lane *lane = &s->engine.lanes[place];
    if (lane->state == GAVEL__LANE_WANTED && lane->dial_us <= s->now_us) {
        v->is_in_multi[place] = false;
        link_up(s, place);
    } else if (lane->state != GAVEL__LANE_UP) {
        return false;
    } else if (lane->is_condemned) {
        link_down(s, place);
    } else if (s->outs[place].size > 0) {
        serve(s, v, place);
    } else {
        return false;
    }
    return true;
}

/* Until everybody was told. */
static void perform(stage *s, server *v)
{
    for (int n_steps = 0; s->engine.queue.n_open > 0; n_steps++) {
        cr_assert_lt(n_steps, 1000, "it goes on for ever");
        advance(s, 0);
        bool has_done = false;
        for (uint32_t i = 0; i < N_LANES; i++)
            has_done = step(s, v, i) || has_done;
        if (!has_done && s->engine.queue.n_open > 0)
            sleeps(s);
    }
    advance(s, 0);
}

/* ---- The sweep ----------------------------------------------------------------------------- */

static void cast(actor a[N_ACTORS])
{
    a[0] = (actor){.reads = "n", .plays = "ADD n 1; SET n x; SET n 1; SET k0 done", .keys = "k0"};
    a[1] = (actor){.reads = "n", .plays = "GET n; SET k1 done", .keys = "k1", .id = "one"};
    a[2] = (actor){.keys = "k2", .plays = "GET u1; GET u2; HGET u3 f; SET k2 done"};
    a[3] = (actor){.keys = "k3 list",
        .plays = "WRITE RPUSH list 1 2; SET k3 done; RESULT r",
        .request = {.keep_replies = true}};
    a[4] = (actor){.reads = "n m", .plays = "GET n; GET m; ABORT 5"};
    a[5] = (actor){.reads = "n m", .plays = "GET n; GET m", .request = {.is_read_only = true}};
    a[6] = (actor){.reads = "h.f", .keys = "k6", .plays = "HGET h f; HSET h f 1; SET k6 done"};
}

/* What was told is what the server knows. */
static void check(actor *a, server *v, const char *key)
{
    if (!a->is_told)
        return;
    bool is_done = key != NULL && find(v, key) != NULL;
    if (gavel_is_committed(&a->outcome) && key != NULL)
        cr_assert(is_done, "%s is told, but %s is not written", a->outcome.message, key);
    else if (a->outcome.status != GAVEL_UNKNOWN)
        cr_assert_not(is_done, "%s is told, but %s is written", a->outcome.message, key);
}

/* One conversation with n allocations. True: none of them failed. */
static bool try_with(size_t n, mishap what, bool has_markers)
{
    static const char *const keys[N_ACTORS] = {"k0", "k1", "k2", "k3", NULL, NULL, "k6"};
    stage s;
    stage_open(&s, &(stage_config){.n_lanes = N_LANES,
                       .has_markers = has_markers,
                       .max_width = 3,
                       .has_any_memory = true,
                       .n_left = n});
    server v = {.mishap = what};
    actor a[N_ACTORS];
    cast(a);
    for (size_t i = 0; i < N_ACTORS; i++)
        (void)enter(&s, &a[i]);
    perform(&s, &v);
    for (size_t i = 0; i < N_ACTORS; i++) {
        check(&a[i], &v, keys[i]);
        /* Only a lost reply, and only without a marker, leaves anything open. */
        if (what < LOST_BEFORE || has_markers)
            cr_assert_neq((int)a[i].outcome.status, (int)GAVEL_UNKNOWN, "%s", a[i].outcome.message);
    }
    bool is_complete = s.memory.n_left > 0;
    if (is_complete && what < LOST_BEFORE)
        cr_assert_eq(s.engine.queue.stats.n_outcomes[GAVEL_COMMITTED], 6);
    stage_close(&s);
    return is_complete;
}

static void sweep(mishap what, bool has_markers)
{
    size_t n = 0;
    while (!try_with(n, what, has_markers))
        n++;
    cr_assert_gt(n, 30, "only %zu allocations", n);
}

Test(core_memory, every_allocation_may_fail)
{
    sweep(NONE, true);
    sweep(NONE, false);
}

Test(core_memory, every_allocation_may_fail_around_a_conflict)
{
    sweep(CONFLICT, true);
    sweep(CONFLICT, false);
}

Test(core_memory, every_allocation_may_fail_around_a_doubt)
{
    sweep(LOST_BEFORE, true);
    sweep(LOST_AFTER, true);
}

Test(core_memory, every_allocation_may_fail_around_a_doubt_without_markers)
{
    sweep(LOST_BEFORE, false);
    sweep(LOST_AFTER, false);
}

/* Plays a commit for which the link's buffer gets no memory. */
static void fail_to_compose(stage *s, actor *a)
{
    stage_open(s, &(stage_config){.has_no_reread = true});
    actor warm_up = {.keys = "a", .plays = "SET a 1"}; /* what it needs is there for the next */
    enter(s, &warm_up);
    link_up(s, 0);
    hears(s, 0, "WATCH a");
    says(s, 0, "OK");
    hears(s, 0, "MULTI / SET a 1 / EXEC");
    says(s, 0, "OK, QUEUED, [OK]");
    ends(s, &warm_up, GAVEL_COMMITTED);
    s->n_actors = 0;
    enter(s, a);
    hears(s, 0, "WATCH a");
    gavel__buffer_finish(&s->outs[0]); /* as links do with one that has grown large */
    s->memory.n_left = 0;
    says(s, 0, "OK");
    s->memory.n_left = MEMORY_ENOUGH;
}

Test(core_memory, a_commit_that_could_not_be_composed_was_not_sent)
{
    stage s;
    actor a = {.keys = "a", .plays = "SET a 1"};
    fail_to_compose(&s, &a);
    is_closed(&s, 0, "no memory");
    is_in(&s, &a, GAVEL__PAUSED);
    cr_assert_eq(s.engine.queue.stats.n_in_doubt, 0);
    stage_close(&s);
}

Test(core_memory, a_commit_that_could_not_be_composed_is_no_doubt_at_the_deadline)
{
    stage s;
    actor a = {.keys = "a", .plays = "SET a 1", .request = {.deadline_ms = 100}};
    fail_to_compose(&s, &a);
    advance(&s, 100000);
    ends(&s, &a, GAVEL_DEADLINE);
    stage_close(&s);
}
