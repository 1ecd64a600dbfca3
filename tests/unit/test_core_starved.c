/*
 * Starving in lines: two keys, both behind gates that others always hold. The test is the server:
 * whoever claims a gate has to wait, and is let in by grant().
 */
#include "gate_stage.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static char held_back[4][2048]; /* replies behind a BLPOP that is not answered */
static bool is_waiting[4];

/* One more reply. */
static void add(char *to, const char *reply)
{
    if (to[0] != '\0' && to[strlen(to) - 1] != '|')
        strcat(to, ", ");
    strcat(to, reply);
}

/* Answers all that the lane has written; what stands behind BLPOP when it is granted. */
static bool serve(stage *s, uint32_t place)
{
    char replies[4096] = "";
    char exec[1024] = "[";
    bool is_multi = false;
    char text[8192];
    gavel__lane *lane = lane_of(s, place);
    if (lane->state == GAVEL__LANE_WANTED)
        link_up(s, place);
    advance(s, 0);
    if (lane->state != GAVEL__LANE_UP || lane->out == NULL)
        return false;
    snprintf(text, sizeof(text), "%s", stage_listen(s, place));
    if (text[0] == '\0')
        return false;
    for (char *at = text; at != NULL;) {
        char *end = strstr(at, " / ");
        if (end != NULL)
            *end = '\0';
        char *to = is_waiting[place] ? held_back[place] : replies;
        if (strncmp(at, "EXEC", 4) == 0) {
            strcat(exec, "]");
            add(to, exec);
            is_multi = false;
            strcpy(exec, "[");
        } else if (is_multi) {
            add(to, "QUEUED");
            if (strlen(exec) > 1)
                strcat(exec, ", ");
            strcat(exec, strncmp(at, "SET", 3) == 0 ? "OK" : ":1");
        } else if (strncmp(at, "MULTI", 5) == 0) {
            is_multi = true;
            add(to, "OK");
        } else if (strncmp(at, "BLPOP", 5) == 0) {
            if (is_waiting[place])
                strcat(held_back[place], "|"); /* it has to wait once more, behind the first */
            is_waiting[place] = true;
        } else if (strncmp(at, "LPOP", 4) == 0) {
            add(to, "nil");
        } else if (strncmp(at, "SET g:gate", 10) == 0 && strstr(at, " NX") != NULL) {
            add(to, "nil");
        } else if (strncmp(at, "GET", 3) == 0) {
            add(to, "\"1\"");
        } else if (strncmp(at, "RPUSH", 5) == 0 || strncmp(at, "PEXPIRE", 7) == 0) {
            add(to, ":1");
        } else {
            add(to, "OK");
        }
        at = end != NULL ? end + 3 : NULL;
    }
    if (replies[0] != '\0')
        says(s, place, replies);
    return true;
}

static void run(stage *s)
{
    for (bool goes_on = true; goes_on;) {
        goes_on = false;
        for (uint32_t i = 1; i <= 2; i++)
            goes_on = serve(s, i) || goes_on;
    }
}

/* Lets the lane in where it stands, if it does; it may wait once more behind that. */
static void grant(stage *s, uint32_t place)
{
    char replies[4096] = "[\"q\", \"1\"]";
    char *held = held_back[place];
    if (!is_waiting[place])
        return;
    size_t size = strcspn(held, "|");
    is_waiting[place] = held[size] == '|';
    if (size > 0)
        snprintf(replies, sizeof(replies), "[\"q\", \"1\"], %.*s", (int)size, held);
    size += is_waiting[place];
    memmove(held, held + size, strlen(held + size) + 1);
    says(s, place, replies);
    run(s);
}

static actor adder_of(const char *key, const char *plays)
{
    return (actor){.reads = key, .plays = plays};
}

/* Each of the two keys has a line of its own, whose first one always stands at the gate; behind
 * them comes one that wants both keys, and then one more in each line as long as it is not done. */
Test(core_starved, who_wants_the_keys_of_two_gates_is_overtaken_a_few_times_only)
{
    enum { PATIENCE_US = 1000, N_LINES = 2 };
    static actor singles[STAGE_MAX_ACTORS];
    stage s;
    size_t n = 0;
    actor both = {.reads = "a z", .plays = "ADD a 1; ADD z 1"};
    gate_stage_open(&s, &(gate_config){.n_gate_lanes = 2, .stage.has_no_prefetch = true});
    for (uint32_t turn = 0; turn < 50 && !both.is_told; turn++) {
        for (size_t i = 0; i < N_LINES; i++, n++) {
            singles[n] = i == 0 ? adder_of("a", "ADD a 1") : adder_of("z", "ADD z 1");
            enter(&s, &singles[n]);
            run(&s);
        }
        if (turn == 0)
            enter(&s, &both);
        advance(&s, PATIENCE_US);
        run(&s);
        grant(&s, 1 + turn % 2);
        stage_collect(&s);
    }
    size_t n_overtook = 0;
    for (size_t i = N_LINES; i < n; i++)
        n_overtook += singles[i].is_told;
    cr_expect(both.is_told, "overtaken by %zu, %u runs", n_overtook, both.n_runs);
    cr_expect_leq(n_overtook, GAVEL__MAX_OVERTAKEN);
    stage_close(&s);
}
