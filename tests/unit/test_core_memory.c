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

/* What becomes of the first EXEC with a write; MEDDLED: it is lost to somebody who has changed "n".
 */
typedef enum mishap { NONE, CONFLICT, MEDDLED, LOST_BEFORE, LOST_AFTER } mishap;

enum { N_LANES = 2, N_ITEMS = 64, N_ACTORS = 7 };

typedef struct server {
    mishap mishap;     /* still to happen */
    bool has_no_short; /* refuses MGET and MSET */
    size_t n_short;    /* of these that it ran */
    struct {
        char key[64];
        char value[256];
    } items[N_ITEMS];
    size_t n_items;
    bool is_in_multi[N_LANES];
    bool is_refused[N_LANES];   /* a command that was to be queued */
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

static void next_word(const char **at, char *word, size_t size)
{
    *at += strspn(*at, " ");
    size_t length = strcspn(*at, " ");
    gavel__format(word, size, "%.*s", (int)length, *at);
    *at += length;
}

static void put_all(server *v, const char *pairs)
{
    while (*pairs != '\0') {
        char key[64];
        char value[256];
        next_word(&pairs, key, sizeof(key));
        next_word(&pairs, value, sizeof(value));
        put(v, key, value);
    }
}

static void get_all(server *v, const char *keys, char *reply, size_t size)
{
    gavel__format(reply, size, "[");
    while (*keys != '\0') {
        char key[64];
        next_word(&keys, key, sizeof(key));
        const char *value = find(v, key);
        size_t used = strlen(reply);
        if (value != NULL)
            gavel__format(reply + used, size - used, "\"%s\", ", value);
        else
            gavel__format(reply + used, size - used, "nil, ");
    }
    size_t used = strlen(reply);
    gavel__format(reply + used, size - used, "]");
}

static void run(server *v, const char *command, char *reply, size_t size)
{
    char name[16] = "";
    char key[64] = "";
    char value[256] = "";
    (void)sscanf(command, "%15s %63s %255s", name, key, value);
    const char *known = find(v, key);
    gavel__format(reply, size, "OK");
    v->n_short += name[0] == 'M';
    if (strcmp(name, "SET") == 0)
        put(v, key, value);
    else if (strcmp(name, "MSET") == 0)
        put_all(v, command + strlen("MSET "));
    else if (strcmp(name, "MGET") == 0)
        get_all(v, command + strlen("MGET "), reply, size);
    else if (strcmp(name, "INCR") == 0)
        count_up(v, key, reply, size);
    else if (strcmp(name, "PEXPIRE") == 0)
        gavel__format(reply, size, known != NULL ? ":1" : ":0");
    else if (strcmp(name, "GET") == 0 && known != NULL)
        gavel__format(reply, size, "\"%s\"", known);
    else if (strcmp(name, "GET") == 0 || strcmp(name, "HGET") == 0)
        gavel__format(reply, size, "nil");
    else if (strcmp(name, "DEL") == 0)
        gavel__format(reply, size, ":0"); /* of what was never there */
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
    if (v->is_refused[lane]) {
        says(s, lane, "-EXECABORT Transaction discarded because of previous errors.");
        return true;
    }
    if (meets(v, lane, MEDDLED)) {
        put(v, "n", "10");
        says(s, lane, "nil");
        return true;
    }
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

static bool is_forbidden(const server *v, const char *command)
{
    return v->has_no_short &&
           (strncmp(command, "MSET ", 5) == 0 || strncmp(command, "MGET ", 5) == 0);
}

static bool answer(stage *s, server *v, uint32_t lane, const char *command)
{
    char reply[4096];
    if (strcmp(command, "EXEC") == 0)
        return answer_exec(s, v, lane);
    if (strcmp(command, "MULTI") == 0) {
        v->is_in_multi[lane] = true;
        v->is_refused[lane] = false;
        v->queued[lane][0] = '\0';
        says(s, lane, "OK");
    } else if (is_forbidden(v, command)) {
        v->is_refused[lane] = v->is_in_multi[lane];
        says(s, lane, "-NOPERM this user has no permissions to run the command");
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
    const gavel__lane *lane = lane_of(s, place);
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

/* ---- The casts ----------------------------------------------------------------------------- */

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

/* Many strings at once: MGET and MSET, kept replies, one that only reads. */
static void cast_strings(actor a[N_ACTORS])
{
    gavel_transaction kept = {.keep_replies = true};
    a[0] = (actor){
        .reads = "n m", .keys = "k0", .plays = "ADD n 1; SET m 5; SET k0 done", .request = kept};
    a[1] =
        (actor){.reads = "m o", .keys = "k1", .plays = "GET o; ADD m 1; SET k1 done", .id = "one"};
    a[2] = (actor){.reads = "p n", .keys = "k2 h", .plays = "ADD p 1; HSET h f 1; SET k2 done"};
    a[3] = (actor){.reads = "o",
        .keys = "k3 k9",
        .plays = "SET k3 done; SET o 2; DEL k9; SET k3 done",
        .request = kept};
    a[4] = (actor){.reads = "n m", .plays = "GET n; SET m 77; ABORT 5"};
    a[5] = (actor){.reads = "n m o p", .plays = "GET n; GET p", .request = {.is_read_only = true}};
    a[6] = (actor){
        .reads = "p", .keys = "k6", .plays = "GET u1; SET p 1; SET k6 done", .request = kept};
}

/* As many replies as writes, none of them an error; or a word on why there are none. */
static void check_replies(const actor *a, size_t n_writes)
{
    const gavel_outcome *outcome = &a->outcome;
    if (!a->is_told || outcome->status != GAVEL_COMMITTED || outcome->is_from_marker ||
        strstr(outcome->message, "no memory to keep") != NULL)
        return;
    cr_assert_eq(outcome->n_replies, n_writes, "%s: %s", a->plays, outcome->message);
    for (size_t i = 0; i < n_writes; i++)
        cr_assert_eq((int)outcome->replies[i].type,
            (int)(a->plays[0] == 'S' && i == 2 ? GAVEL_REPLY_INTEGER : GAVEL_REPLY_STATUS));
}

/* ---- The sweep ----------------------------------------------------------------------------- */

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

typedef struct conversation {
    mishap mishap;
    bool has_markers;
    bool has_strings;  /* cast_strings; and what they read is there */
    bool has_no_short; /* no MGET and MSET */
    bool has_no_prefetch;
    uint32_t max_width; /* 0: 3 */
} conversation;

static void fill(server *v)
{
    static const char *const keys[] = {"n", "m", "o", "p"};
    for (size_t i = 0; i < 4; i++)
        put(v, keys[i], "1");
}

static void check_all(actor a[N_ACTORS], server *v, const conversation *c)
{
    static const char *const keys[N_ACTORS] = {"k0", "k1", "k2", "k3", NULL, NULL, "k6"};
    for (size_t i = 0; i < N_ACTORS; i++) {
        check(&a[i], v, keys[i]);
        /* Only a lost reply, and only without a marker, leaves anything open. */
        if (c->mishap < LOST_BEFORE || c->has_markers)
            cr_assert_neq((int)a[i].outcome.status, (int)GAVEL_UNKNOWN, "%s", a[i].outcome.message);
    }
    if (!c->has_strings)
        return;
    check_replies(&a[0], 3);
    check_replies(&a[3], 4);
    check_replies(&a[6], 2);
}

/* One conversation with n allocations. True: none of them failed. */
static bool try_with(size_t n, const conversation *c)
{
    stage s;
    stage_open(&s, &(stage_config){.n_lanes = N_LANES,
                       .has_markers = c->has_markers,
                       .has_no_prefetch = c->has_no_prefetch,
                       .max_width = c->max_width > 0 ? c->max_width : 3,
                       .has_any_memory = true,
                       .n_left = n});
    server v = {.mishap = c->mishap, .has_no_short = c->has_no_short};
    actor a[N_ACTORS];
    if (c->has_strings) {
        cast_strings(a);
        fill(&v);
    } else {
        cast(a);
    }
    for (size_t i = 0; i < N_ACTORS; i++)
        (void)enter(&s, &a[i]);
    perform(&s, &v);
    check_all(a, &v, c);
    bool is_complete = s.memory.n_left > 0;
    if (is_complete && c->mishap < LOST_BEFORE)
        cr_assert_eq(s.engine.context.stats.n_outcomes[GAVEL_COMMITTED], 6);
    if (is_complete && c->has_strings)
        cr_assert(c->has_no_short ? v.n_short == 0 : v.n_short >= 2);
    stage_close(&s);
    return is_complete;
}

static void sweep(const conversation *c)
{
    size_t n = 0;
    while (!try_with(n, c))
        n++;
    cr_assert_gt(n, 30, "only %zu allocations", n);
}

Test(core_memory, every_allocation_may_fail)
{
    sweep(&(conversation){.mishap = NONE, .has_markers = true});
    sweep(&(conversation){.mishap = NONE});
}

Test(core_memory, every_allocation_may_fail_around_a_conflict)
{
    sweep(&(conversation){.mishap = CONFLICT, .has_markers = true});
    sweep(&(conversation){.mishap = CONFLICT});
}

Test(core_memory, every_allocation_may_fail_around_a_doubt)
{
    sweep(&(conversation){.mishap = LOST_BEFORE, .has_markers = true});
    sweep(&(conversation){.mishap = LOST_AFTER, .has_markers = true});
}

Test(core_memory, every_allocation_may_fail_around_a_doubt_without_markers)
{
    sweep(&(conversation){.mishap = LOST_BEFORE});
    sweep(&(conversation){.mishap = LOST_AFTER});
}

/* MGET and MSET, in rounds of three and in one of all; and where the server refuses both. */
Test(core_memory, every_allocation_may_fail_around_many_strings)
{
    for (uint32_t width = 3; width <= 7; width += 4) {
        sweep(&(conversation){.has_strings = true, .max_width = width});
        sweep(&(conversation){.has_strings = true, .max_width = width, .has_no_short = true});
    }
    sweep(&(conversation){.mishap = LOST_AFTER, .has_strings = true, .has_markers = true});
}

/* What is read again tells whose key has changed: behind EXEC, or after it. */
Test(core_memory, every_allocation_may_fail_while_a_round_is_narrowed)
{
    static const mishap mishaps[] = {CONFLICT, MEDDLED};
    for (size_t i = 0; i < 2; i++) {
        conversation c = {.mishap = mishaps[i], .has_strings = true, .max_width = 7};
        sweep(&c);
        c.has_no_prefetch = true;
        sweep(&c);
        c.has_markers = true;
        sweep(&c);
    }
}

/* Plays a commit for which the link's buffer gets no memory. */
static void fail_to_compose(stage *s, actor *a)
{
    stage_open(s, &(stage_config){.has_no_prefetch = true});
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
    is_in(&s, &a, GAVEL__TX_PAUSED);
    cr_assert_eq(s.engine.context.stats.n_in_doubt, 0);
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
