/*
 * Company: who shares a round with whom, and that nobody is left behind; with the test as the
 * server.
 */
#include "stage.h"

#include "base/text.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static const stage_config plain = {.has_no_prefetch = true};

/* Actors that set a key of their own each: k00, k01 ... */
enum { MAX_CROWD = 64 };

typedef struct crowd {
    char keys[MAX_CROWD][8];
    char plays[MAX_CROWD][32];
    actor actors[MAX_CROWD];
} crowd;

static void enter_crowd(stage *s, crowd *c, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        snprintf(c->keys[i], sizeof(c->keys[i]), "k%02zu", i % 100);
        snprintf(c->plays[i], sizeof(c->plays[i]), "SET k%02zu 1", i % 100);
        c->actors[i] = (actor){.keys = c->keys[i], .plays = c->plays[i]};
        enter(s, &c->actors[i]);
    }
}

/* "WATCH k00 k01 ..." of these. */
static const char *watch_of(const crowd *c, size_t first, size_t n)
{
    static char text[1024];
    gavel__format(text, sizeof(text), "WATCH");
    for (size_t i = first; i < first + n; i++) {
        size_t used = strlen(text);
        gavel__format(text + used, sizeof(text) - used, " %s", c->keys[i]);
    }
    return text;
}

static actor setter(const char *key, const char *plays)
{
    return (actor){.keys = key, .plays = plays};
}

static actor solo(const char *key, const char *plays)
{
    return (actor){.keys = key, .plays = plays, .request = {.is_solo = true}};
}

static actor reader(const char *reads, const char *plays)
{
    return (actor){.reads = reads, .plays = plays, .request = {.is_read_only = true}};
}

/* ---- Alone --------------------------------------------------------------------------------- */

Test(core_sharing, a_solo_one_shares_its_exec_with_nobody)
{
    stage s;
    stage_open(&s, &plain);
    actor a[6] = {setter("a", "SET a 1"), setter("b", "SET b 1"), solo("c", "SET c 1"),
        solo("d", "SET d 1"), setter("e", "SET e 1"), setter("f", "SET f 1")};
    for (size_t i = 0; i < 6; i++)
        enter(&s, &a[i]);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a b");
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / MSET a 1 b 1 / EXEC / WATCH c");
    says(&s, 0, "OK, QUEUED, [OK], OK");
    hears(&s, 0, "MULTI / SET c 1 / EXEC / WATCH d");
    says(&s, 0, "OK, QUEUED, [OK], OK");
    hears(&s, 0, "MULTI / SET d 1 / EXEC / WATCH e f");
    says(&s, 0, "OK, QUEUED, [OK], OK");
    hears(&s, 0, "MULTI / MSET e 1 f 1 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    for (size_t i = 0; i < 6; i++)
        ends(&s, &a[i], GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_sharing, solo_ones_run_at_the_same_time_on_several_links)
{
    stage s;
    stage_open(&s, &(stage_config){.has_no_prefetch = true, .n_lanes = 3});
    actor a[4] = {
        solo("a", "SET a 1"), solo("b", "SET b 1"), setter("c", "SET c 1"), setter("d", "SET d 1")};
    for (size_t i = 0; i < 4; i++)
        enter(&s, &a[i]);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a");
    link_up(&s, 1);
    hears(&s, 1, "WATCH b");
    link_up(&s, 2);
    hears(&s, 2, "WATCH c d");
    stage_close(&s);
}

Test(core_sharing, solo_ones_on_one_key_come_one_after_another)
{
    stage s;
    stage_open(&s, &plain);
    actor a[3];
    for (size_t i = 0; i < 3; i++) {
        a[i] = (actor){.reads = "a", .plays = "GET a; ADD a 1", .request = {.is_solo = true}};
        enter(&s, &a[i]);
    }
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, \"0\"");
    hears(&s, 0, "MULTI / SET a 1 / EXEC / WATCH a / GET a");
    says(&s, 0, "OK, QUEUED, [OK], OK, \"1\"");
    hears(&s, 0, "MULTI / SET a 2 / EXEC / WATCH a / GET a");
    says(&s, 0, "OK, QUEUED, [OK], OK, \"2\"");
    hears(&s, 0, "MULTI / SET a 3 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    for (size_t i = 0; i < 3; i++)
        ends(&s, &a[i], GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_sharing, a_solo_one_that_only_reads_is_alone_too)
{
    stage s;
    stage_open(&s, &plain);
    actor a[3] = {reader("a", "GET a"), reader("b", "GET b"), reader("c", "GET c")};
    a[1].request.is_solo = true;
    for (size_t i = 0; i < 3; i++)
        enter(&s, &a[i]);
    link_up(&s, 0);
    static const char *const commands[] = {"GET a", "GET b", "GET c"};
    for (size_t i = 0; i < 3; i++) {
        hears(&s, 0, commands[i]);
        says(&s, 0, "nil");
        ends(&s, &a[i], GAVEL_COMMITTED);
    }
    stage_close(&s);
}

/* A round that stands is a solo one's as well, if it fits; but another joins it only alone. */
Test(core_sharing, a_solo_one_does_not_join_and_is_not_joined_by_several)
{
    stage s;
    stage_open(&s, &(stage_config){.n_lanes = 1});
    actor a = {.reads = "a", .plays = "ADD a 1"};
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, \"0\"");
    hears(&s, 0, "MULTI / SET a 1 / EXEC / WATCH a / GET a");
    says(&s, 0, "OK, QUEUED, [OK], OK, \"1\"");
    actor b = {.reads = "a", .plays = "ADD a 10"};
    actor c = {.reads = "a", .plays = "ADD a 100", .request = {.is_solo = true}};
    actor d = {.reads = "a", .plays = "ADD a 1000"};
    enter(&s, &b);
    enter(&s, &c);
    enter(&s, &d);
    hears(&s, 0, "MULTI / SET a 11 / EXEC / WATCH a / GET a");
    says(&s, 0, "OK, QUEUED, [OK], OK, \"11\"");
    hears(&s, 0, "MULTI / SET a 111 / EXEC / WATCH a / GET a");
    says(&s, 0, "OK, QUEUED, [OK], OK, \"111\"");
    hears(&s, 0, "MULTI / SET a 1111 / EXEC / WATCH a / GET a");
    stage_close(&s);
}

Test(core_sharing, a_solo_one_that_lost_tries_again_alone)
{
    stage s;
    stage_open(&s, &plain);
    actor a = solo("a", "SET a 1");
    actor b = setter("b", "SET b 1");
    enter(&s, &a);
    enter(&s, &b);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a");
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / SET a 1 / EXEC / WATCH b");
    says(&s, 0, "OK, QUEUED, nil, OK");
    hears(&s, 0, "MULTI / SET b 1 / EXEC / WATCH a");
    says(&s, 0, "OK, QUEUED, [OK], OK");
    hears(&s, 0, "MULTI / SET a 1 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &a, GAVEL_COMMITTED);
    stage_close(&s);
}

Test(core_sharing, what_is_wrong_with_a_solo_one_is_told_at_once)
{
    stage s;
    stage_open(&s, &plain);
    actor a = solo("a", "SET a 1");
    enter(&s, &a);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a");
    says(&s, 0, "-NOPERM key");
    ends_saying(&s, &a, GAVEL_REJECTED, "NOPERM key");
    stage_close(&s);
}

/* ---- Those that only read, among others ---------------------------------------------------- */

Test(core_sharing, readers_and_writers_are_gathered_apart)
{
    stage s;
    stage_open(&s, &(stage_config){.has_no_prefetch = true, .n_lanes = 2});
    actor a[6] = {setter("a", "SET a 1"), reader("x", "GET x"), setter("b", "SET b 1"),
        reader("y", "GET y"), setter("c", "SET c 1"), reader("z", "GET z")};
    for (size_t i = 0; i < 6; i++)
        enter(&s, &a[i]);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a b c");
    link_up(&s, 1);
    hears(&s, 1, "MULTI / GET x / GET y / GET z / EXEC");
    stage_close(&s);
}

Test(core_sharing, with_one_link_readers_go_behind_the_writers)
{
    for (int i = 0; i < 2; i++) {
        stage s;
        stage_open(&s, &plain);
        actor a[4] = {setter("a", "SET a 1"), reader("x", "GET x"), setter("b", "SET b 1"),
            reader("y", "GET y")};
        for (size_t k = 0; k < 4; k++)
            enter(&s, &a[(k + (size_t)i) % 4]);
        link_up(&s, 0);
        if (i == 0) {
            hears(&s, 0, "WATCH a b");
            says(&s, 0, "OK");
            hears(&s, 0, "MULTI / MSET a 1 b 1 / EXEC / MULTI / GET x / GET y / EXEC");
            says(&s, 0, "OK, QUEUED, [OK], OK, QUEUED, QUEUED, [nil, nil]");
        } else {
            hears(&s, 0, "MULTI / GET x / GET y / EXEC");
            says(&s, 0, "OK, QUEUED, QUEUED, [nil, nil]");
            hears(&s, 0, "WATCH b a");
            says(&s, 0, "OK");
            hears(&s, 0, "MULTI / MSET b 1 a 1 / EXEC");
            says(&s, 0, "OK, QUEUED, [OK]");
        }
        for (size_t k = 0; k < 4; k++)
            ends(&s, &a[k], GAVEL_COMMITTED);
        stage_close(&s);
    }
}

/* However many writers come: a reader waits for one round of theirs, a solo one and one with many
 * keys for those before it. */
Test(core_sharing, nobody_starves_among_ever_more_writers)
{
    enum { N = 40 };
    stage s;
    stage_open(&s, &(stage_config){.has_no_prefetch = true, .max_keys = 4});
    actor special[3] = {reader("x y", "GET x"), solo("p", "SET p 1"), setter("q r s t", "SET q 1")};
    static crowd c;
    c = (crowd){.actors = {{.keys = NULL}}};
    enter_crowd(&s, &c, 2);
    for (size_t i = 0; i < 3; i++)
        enter(&s, &special[i]);
    link_up(&s, 0);
    size_t n_rounds = 0;
    for (size_t n = 2; !special[0].is_told || !special[1].is_told || !special[2].is_told;
         n_rounds++) {
        cr_assert_lt(n_rounds, 12, "one of them starves");
        for (size_t i = 0; i < 3 && n < N; i++, n++) {
            snprintf(c.keys[n], sizeof(c.keys[n]), "k%02zu", n);
            snprintf(c.plays[n], sizeof(c.plays[n]), "SET k%02zu 1", n);
            c.actors[n] = (actor){.keys = c.keys[n], .plays = c.plays[n]};
            enter(&s, &c.actors[n]);
        }
        advance(&s, 0);
        char heard[4096];
        gavel__format(heard, sizeof(heard), "%s", stage_listen(&s, 0));
        bool is_queueing = false;
        size_t n_queued = 0;
        for (char *command = strtok(heard, "/"); command != NULL; command = strtok(NULL, "/")) {
            command += strspn(command, " ");
            if (strncmp(command, "EXEC", 4) == 0) {
                is_queueing = false;
                says(&s, 0, n_queued == 1 ? "[OK]" : "[nil, nil]");
            } else if (is_queueing) {
                n_queued++;
                says(&s, 0, "QUEUED");
            } else {
                says(&s, 0, "OK");
                is_queueing = strncmp(command, "MULTI", 5) == 0;
                n_queued = 0;
            }
        }
    }
    for (size_t i = 0; i < 3; i++)
        cr_assert_eq(special[i].outcome.status, GAVEL_COMMITTED, "%s", special[i].outcome.message);
    stage_close(&s);
}

/* ---- Half for the others ------------------------------------------------------------------- */

Test(core_sharing, sixteen_with_keys_of_their_own_are_no_crowd)
{
    stage s;
    stage_open(&s, &(stage_config){.has_no_prefetch = true, .n_lanes = 2});
    static crowd c;
    enter_crowd(&s, &c, 16);
    link_up(&s, 0);
    hears(&s, 0, watch_of(&c, 0, 16));
    stage_close(&s);
}

Test(core_sharing, of_more_half_is_left_to_other_links)
{
    static const struct {
        size_t n;
        size_t shares[3];
    } cases[] = {{17, {16, 1, 0}}, {30, {16, 14, 0}}, {40, {20, 20, 0}}, {50, {25, 25, 0}},
        {64, {32, 32, 0}}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        stage s;
        stage_open(&s, &(stage_config){.has_no_prefetch = true, .n_lanes = 2});
        static crowd c;
        enter_crowd(&s, &c, cases[i].n);
        link_up(&s, 0);
        hears(&s, 0, watch_of(&c, 0, cases[i].shares[0]));
        link_up(&s, 1);
        hears(&s, 1, watch_of(&c, cases[i].shares[0], cases[i].shares[1]));
        stage_close(&s);
    }
}

Test(core_sharing, with_one_link_the_other_half_reads_behind_exec)
{
    stage s;
    stage_open(&s, &plain);
    static crowd c;
    enter_crowd(&s, &c, 40);
    link_up(&s, 0);
    hears(&s, 0, watch_of(&c, 0, 20));
    says(&s, 0, "OK");
    advance(&s, 0);
    const char *heard = stage_listen(&s, 0);
    cr_assert_not_null(strstr(heard, watch_of(&c, 20, 20)), "%s", heard);
    stage_close(&s);
}

Test(core_sharing, all_who_want_the_same_keys_come_along)
{
    stage s;
    stage_open(&s, &(stage_config){.has_no_prefetch = true, .n_lanes = 2});
    enum { N = 50 };
    actor a[N];
    for (size_t i = 0; i < N; i++) {
        a[i] = (actor){.reads = "a", .plays = "ADD a 1"};
        enter(&s, &a[i]);
    }
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, \"0\"");
    hears(&s, 0, "MULTI / SET a 50 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    for (size_t i = 0; i < N; i++)
        ends(&s, &a[i], GAVEL_COMMITTED);
    stage_close(&s);
}

/* All who want a key count with the first of them. */
Test(core_sharing, of_few_keys_with_many_each_half_is_left_to_other_links)
{
    stage s;
    stage_open(&s, &(stage_config){.has_no_prefetch = true, .n_lanes = 4});
    static crowd c[4];
    for (size_t i = 0; i < 4; i++)
        enter_crowd(&s, &c[i], 16);
    link_up(&s, 0);
    hears(&s, 0, watch_of(&c[0], 0, 8));
    link_up(&s, 1);
    hears(&s, 1, watch_of(&c[0], 8, 8));
    for (size_t i = 0; i < 4; i++)
        is_in(&s, &c[i].actors[15], GAVEL__TX_READING);
    stage_close(&s);
}

/* Narrower rounds pay where several are under way, each worth its round trip. */
static void all_go_together(uint32_t n_lanes, size_t n_keys)
{
    stage s;
    stage_open(&s, &(stage_config){.has_no_prefetch = true, .n_lanes = n_lanes});
    static crowd c[4];
    for (size_t i = 0; i < 4; i++)
        enter_crowd(&s, &c[i], n_keys);
    link_up(&s, 0);
    hears(&s, 0, watch_of(&c[0], 0, n_keys));
    for (size_t i = 0; i < 4; i++)
        is_in(&s, &c[i].actors[n_keys - 1], GAVEL__TX_READING);
    stage_close(&s);
}

Test(core_sharing, with_few_links_they_go_together)
{
    all_go_together(3, 16);
}

Test(core_sharing, with_few_callers_they_go_together)
{
    all_go_together(4, 15);
}

/* Who was counted comes along; there is no other lane for it. */
Test(core_sharing, who_wants_its_keys_is_of_the_round)
{
    stage s;
    stage_open(&s, &(stage_config){.has_no_prefetch = true, .n_lanes = 4});
    static crowd c;
    enter_crowd(&s, &c, 63);
    actor same = setter("k03", "SET k03 2");
    enter(&s, &same);
    link_up(&s, 0);
    hears(&s, 0, watch_of(&c, 0, 31));
    is_in(&s, &same, GAVEL__TX_READING);
    is_in(&s, &c.actors[31], GAVEL__TX_READY);
    stage_close(&s);
}

/* Nor who stands behind one of them: it waits for the end of that round. */
Test(core_sharing, when_the_share_is_full_nobody_brings_more_keys)
{
    stage s;
    stage_open(&s, &(stage_config){.has_no_prefetch = true, .n_lanes = 4});
    static crowd c;
    enter_crowd(&s, &c, 17);
    actor more = {.reads = "k03 other", .plays = "SET k03 2; SET other 1"};
    enter(&s, &more);
    actor other = setter("other", "SET other 2");
    enter(&s, &other);
    link_up(&s, 0);
    hears(&s, 0, watch_of(&c, 0, 16));
    is_in(&s, &more, GAVEL__TX_PARKED);
    stage_close(&s);
}

/* One that would bring a key steps back, and keeps nobody who was counted from coming along. */
Test(core_sharing, who_is_counted_comes_along_behind_exec_as_well)
{
    stage s;
    stage_open(&s, &(stage_config){.has_no_prefetch = true, .n_lanes = 4});
    static crowd c;
    enter_crowd(&s, &c, 3);
    link_up(&s, 0);
    hears(&s, 0, watch_of(&c, 0, 3));
    actor late[61];
    for (size_t i = 0; i < 61; i++) {
        late[i] = i == 1 ? setter("k01", "SET k01 2") : setter("k00", "SET k00 2");
        enter(&s, &late[i]);
    }
    says(&s, 0, "OK");
    advance(&s, 0);
    const char *heard = stage_listen(&s, 0);
    cr_assert_not_null(strstr(heard, "EXEC / WATCH k00"), "%s", heard);
    for (size_t i = 0; i < 61; i++)
        is_in(&s, &late[i], i == 1 ? GAVEL__TX_PARKED : GAVEL__TX_READING);
    stage_close(&s);
}

/* An id's key is nobody else's. */
Test(core_sharing, ids_are_no_keys_that_a_round_is_full_of)
{
    stage s;
    stage_open(&s, &(stage_config){.has_no_prefetch = true, .n_lanes = 2});
    enum { N = 40 };
    actor a[N];
    char ids[N][8];
    for (size_t i = 0; i < N; i++) {
        snprintf(ids[i], sizeof(ids[i]), "id%02zu", i);
        a[i] = (actor){.keys = "a", .id = ids[i], .plays = "SET a 1"};
        enter(&s, &a[i]);
    }
    link_up(&s, 0);
    for (size_t i = 0; i < N; i++)
        is_in(&s, &a[i], GAVEL__TX_READING);
    stage_close(&s);
}

/* Else who wants two of these would wait for two rounds. */
Test(core_sharing, keys_that_are_wanted_together_are_not_kept_apart)
{
    stage s;
    stage_open(&s, &(stage_config){.has_no_prefetch = true, .n_lanes = 4});
    static crowd c[3];
    for (size_t i = 0; i < 3; i++)
        enter_crowd(&s, &c[i], 16);
    actor pairs[8];
    char reads[8][16];
    char plays[8][16];
    for (size_t i = 0; i < 8; i++) {
        snprintf(reads[i], sizeof(reads[i]), "k%02zu k%02zu", 2 * i, 2 * i + 1);
        snprintf(plays[i], sizeof(plays[i]), "SET k%02zu 2", 2 * i);
        pairs[i] = (actor){.reads = reads[i], .plays = plays[i]};
        enter(&s, &pairs[i]);
    }
    link_up(&s, 0);
    const char *watch = watch_of(&c[0], 0, 16);
    char expected[1024];
    gavel__format(expected, sizeof(expected), "%s / MGET%s", watch, watch + strlen("WATCH"));
    hears(&s, 0, expected);
    for (size_t i = 0; i < 8; i++)
        is_in(&s, &pairs[i], GAVEL__TX_READING);
    stage_close(&s);
}

/* Readers bring no keys. */
Test(core_sharing, those_that_only_read_all_share_a_round)
{
    stage s;
    stage_open(&s, &(stage_config){.has_no_prefetch = true, .n_lanes = 2});
    static crowd c;
    for (size_t i = 0; i < 40; i++) {
        snprintf(c.keys[i], sizeof(c.keys[i]), "k%02zu", i);
        snprintf(c.plays[i], sizeof(c.plays[i]), "GET k%02zu", i);
        c.actors[i] = reader(c.keys[i], c.plays[i]);
        enter(&s, &c.actors[i]);
    }
    link_up(&s, 0);
    char mget[1024];
    gavel__format(mget, sizeof(mget), "MGET%s", watch_of(&c, 0, 40) + strlen("WATCH"));
    hears(&s, 0, mget);
    stage_close(&s);
}

/* ---- Contended keys ------------------------------------------------------------------------ */

/* A round of "a" and "b" is lost to somebody who has written "a"; both commit in the end. */
static void lose_to_a_writer_of_a(stage *s, actor *a, actor *b)
{
    *a = (actor){.reads = "a", .plays = "ADD a 1"};
    *b = (actor){.reads = "b", .plays = "ADD b 1"};
    enter(s, a);
    enter(s, b);
    link_up(s, 0);
    hears(s, 0, "WATCH a b / GET a / GET b");
    says(s, 0, "OK, \"1\", \"1\"");
    hears(s, 0, "MULTI / MSET a 2 b 2 / EXEC");
    says(s, 0, "OK, QUEUED, nil");
    hears(s, 0, "WATCH a b / GET a / GET b");
    says(s, 0, "OK, \"9\", \"1\"");
    hears(s, 0, "MULTI / MSET a 10 b 2 / EXEC");
    says(s, 0, "OK, QUEUED, [OK]");
    ends(s, a, GAVEL_COMMITTED);
    ends(s, b, GAVEL_COMMITTED);
    s->engine.policy.prefetch_credit = 0;
}

Test(core_sharing, a_key_that_others_write_shares_no_round_with_calm_ones)
{
    stage s;
    stage_open(&s, &(stage_config){.has_no_prefetch = true, .n_lanes = 2});
    actor before[2];
    lose_to_a_writer_of_a(&s, &before[0], &before[1]);
    actor of_a[2] = {setter("a", "SET a 1"), setter("a x", "SET x 1")};
    actor calm[2] = {setter("b", "SET b 1"), setter("c", "SET c 1")};
    enter(&s, &calm[0]);
    enter(&s, &of_a[0]);
    enter(&s, &of_a[1]);
    enter(&s, &calm[1]);
    hears(&s, 0, "WATCH b c");
    link_up(&s, 1);
    hears(&s, 1, "WATCH a x");
    stage_close(&s);
}

Test(core_sharing, a_key_is_calm_again_when_nobody_else_has_written_it_for_a_while)
{
    stage s;
    stage_open(&s, &(stage_config){.has_no_prefetch = true, .n_lanes = 2});
    actor before[2];
    lose_to_a_writer_of_a(&s, &before[0], &before[1]);
    advance(&s, 20000);
    actor a = setter("a", "SET a 1");
    actor b = setter("b", "SET b 1");
    enter(&s, &a);
    enter(&s, &b);
    hears(&s, 0, "WATCH a b");
    stage_close(&s);
}

/* It came while the key was contended, and was not taken in all that time. */
Test(core_sharing, who_has_waited_while_a_key_became_calm_shares_with_calm_ones)
{
    stage s;
    stage_open(&s, &(stage_config){.has_no_prefetch = true, .n_lanes = 1});
    actor before[2];
    lose_to_a_writer_of_a(&s, &before[0], &before[1]);
    actor c = setter("c", "SET c 1");
    actor a = setter("a", "SET a 1");
    actor b = setter("b", "SET b 1");
    enter(&s, &c);
    hears(&s, 0, "WATCH c");
    enter(&s, &a);
    advance(&s, 20000);
    enter(&s, &b);
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / SET c 1 / EXEC / WATCH a b");
    stage_close(&s);
}

Test(core_sharing, what_contended_keys_lose_leaves_calm_rounds_wide)
{
    stage s;
    stage_open(&s, &(stage_config){.has_no_prefetch = true, .n_lanes = 1, .max_width = 8});
    actor before[2];
    lose_to_a_writer_of_a(&s, &before[0], &before[1]);
    cr_expect_eq(s.engine.policy.widths[false], 4, "the first time it was not known");
    actor pair[2] = {setter("a", "SET a 1"), setter("a", "SET a 2")};
    enter(&s, &pair[0]);
    enter(&s, &pair[1]);
    hears(&s, 0, "WATCH a");
    says(&s, 0, "OK");
    hears(&s, 0, "MULTI / SET a 2 / EXEC");
    says(&s, 0, "OK, QUEUED, nil");
    cr_expect_eq(s.engine.policy.widths[false], 4);
    cr_expect_eq(s.engine.policy.widths[true], 4);
    stage_close(&s);
}

/* The same words, but of one key and of two: each is a read of its own, also for others. */
Test(core_sharing, the_same_words_of_one_key_and_of_two)
{
    stage s;
    stage_open(&s, &(stage_config){.has_no_prefetch = true});
    s.engine.lore.is_refused = true; /* so it is not asked what PROBE is */
    gavel_bytes args[] = {GAVEL_STR("PROBE"), GAVEL_STR("a"), GAVEL_STR("b")};
    gavel_command commands[] = {
        {.args = args, .n_args = 3, .n_keys = 1}, {.args = args, .n_args = 3, .n_keys = 2}};
    gavel_read reads[] = {{.command = &commands[0]}, {.command = &commands[1]}};
    actor a[3];
    for (size_t i = 0; i < 3; i++) {
        a[i] = (actor){.plays = "SET a 1", .request = {.reads = reads, .n_reads = 2}};
        enter(&s, &a[i]);
    }
    link_up(&s, 0);
    hears(&s, 0, "WATCH a b / PROBE a b / PROBE a b");
    says(&s, 0, "OK, [nil, nil], [nil, nil]");
    hears(&s, 0, "MULTI / SET a 1 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    for (size_t i = 0; i < 3; i++)
        ends(&s, &a[i], GAVEL_COMMITTED);
    stage_close(&s);
}
