/*
 * Equivalence: playing a batch together, looking at the data, and making a batch that fails small.
 * See the header.
 */
#include "equivalence.h"

#include "play.h"
#include "prose.h"

#include "base/text.h"
#include "core/names.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- The data ------------------------------------------------------------------------------ */

static const struct {
    const char *type; /* as TYPE says it */
    const char *questions[4];
} views[] = {
    {"+string\r\n", {"GET %s"}},
    {"+hash\r\n", {"HLEN %s", "HMGET %s f0 f1 f2"}},
    {"+list\r\n", {"LRANGE %s 0 -1"}},
    {"+set\r\n", {"SCARD %s", "SISMEMBER %s f0", "SISMEMBER %s f1", "SISMEMBER %s f2"}},
    {"+zset\r\n", {"ZRANGE %s 0 -1 WITHSCORES"}},
};

/* A line split at blanks, its %s replaced by the key. */
static const char *ask(const programs_world *world, const char *question, const char *key)
{
    char line[80];
    gavel_bytes args[8];
    size_t n_args = 0;
    gavel__format(line, sizeof line, question, key);
    for (const char *word = line; *word != '\0'; word += *word == ' ') {
        args[n_args] = (gavel_bytes){word, strcspn(word, " ")};
        word += args[n_args++].size;
    }
    return world->ask(world->self, args, n_args);
}

/* One line for a key: type, value, whether it has a time to live. */
static void say_key(gavel__buffer *text, const programs_world *world, const char *key)
{
    char type[16];
    gavel__format(type, sizeof type, "%s", ask(world, "TYPE %s", key));
    prose_say(text, "  %s: ", key);
    prose_quote(text, gavel_str(type));
    for (size_t i = 0; i < sizeof views / sizeof views[0]; i++) {
        if (strcmp(type, views[i].type) != 0)
            continue;
        for (size_t n = 0; n < 4 && views[i].questions[n] != NULL; n++)
            prose_quote(text, gavel_str(ask(world, views[i].questions[n], key)));
    }
    bool has_ttl = ask(world, "PTTL %s", key)[1] != '-';
    prose_say(text, has_ttl ? ", passes away\n" : "\n");
}

static void say_keys(gavel__buffer *text, const programs_world *world)
{
    for (size_t i = 0; batch_keys[i] != NULL; i++)
        say_key(text, world, batch_keys[i]);
}

bool equivalence_ignores(gavel_bytes key)
{
    return gavel__bytes_start_with(key, GAVEL_STR("gavel:m:")) ||
           gavel__bytes_start_with(key, GAVEL_STR("gavel:gate:")) ||
           gavel__bytes_start_with(key, GAVEL_STR("gavel:queue:"));
}

/* A tombstone stands for nothing, and passes away in a second. */
static void bury(const programs_world *world, const char *key)
{
    if (strcmp(ask(world, "GET %s", key), "$2\r\ng0\r\n") == 0)
        ask(world, "DEL %s", key);
}

static void say_all_data(gavel__buffer *text, const programs_world *world)
{
    say_keys(text, world);
    for (size_t i = 0; batch_ids[i] != NULL; i++) {
        char key[GAVEL__NAME_ROOM + 8];
        gavel_bytes name =
            gavel__name_of(GAVEL__NAME_ID, GAVEL_STR("gavel:"), gavel_str(batch_ids[i]), key);
        key[name.size] = '\0';
        bury(world, key);
        say_key(text, world, key);
    }
    prose_say(text, "  keys in all: %d\n", (int)world->count_keys(world->self));
}

void play_begin_world(const batch_play *self)
{
    const programs_world *world = self->world;
    const program_batch *batch = self->batch;
    world->begin(world->self, batch->seed);
    for (size_t i = 0; i < batch->n_start; i++) {
        const char *reply = ask(world, batch->start[i], "");
        cr_assert_neq(reply[0], '-', "%s: %s", batch->start[i], reply);
    }
}

/* ---- Together ------------------------------------------------------------------------------ */

static void on_done(const gavel_outcome *outcome, void *user)
{
    play_part *part = user;
    batch_play *play = part->play;
    part->told_as = play->n_told++;
    act_tell(&part->act, outcome);
    play->tally->n_outcomes[outcome->status]++;
    play->tally->n_duplicates += outcome->is_duplicate;
    play->tally->n_at_once += act_has_written(&part->act) && outcome->n_round_trips == 1;
}

static void wait_before(batch_play *self, const batch_program *program, size_t n_submitted)
{
    const programs_world *world = self->world;
    switch (program->pause) {
    case PAUSE_NONE:
        break;
    case PAUSE_MOMENT:
        world->pass(world->self);
        break;
    case PAUSE_UNTIL_TOLD:
        if (self->n_told < n_submitted)
            world->wait(world->self, &self->n_told, self->n_told + 1);
        break;
    case PAUSE_UNTIL_IDLE:
        world->wait(world->self, &self->n_told, n_submitted);
        break;
    }
}

/* A writer like any other, told at once. */
static void let_outsider_write(batch_play *self, play_part *part)
{
    self->world->wait(self->world->self, &self->n_told, (size_t)(part - self->parts));
    part->n_told_before = self->n_told;
    part->told_as = self->n_told++;
    part->act.writes[part->act.n_writes++] =
        (act_write){&part->act.program->steps[0], part->act.program->steps[0].amount};
    if (part->act.program->is_logged)
        act_add_log(&part->act);
    gavel__buffer_finish(&part->act.told);
    part->act.told = play_bare(part);
    part->act.n_told = 1;
    part->act.status = GAVEL_COMMITTED;
}

static void submit(batch_play *self, gavel_client *client, size_t i)
{
    play_part *part = &self->parts[i];
    act_request request;
    if (part->act.program->is_outsider) {
        let_outsider_write(self, part);
        return;
    }
    wait_before(self, &self->batch->programs[i], i);
    part->n_told_before = self->n_told;
    act_prepare(&part->act, &request);
    cr_assert_neq(gavel_submit(client, &request.transaction, on_done), 0);
    cr_assert_eq(part->act.n_told, 0, "told before gavel_submit returned");
}

static const play_part *part_of(const batch_play *self, int number)
{
    for (size_t i = 0; i < self->batch->n_programs; i++) {
        if (self->batch->programs[i].number == number)
            return &self->parts[i];
    }
    cr_assert(false, "#%d is in the log, and nowhere else", number);
    return NULL;
}

/* One that was submitted when another had been told comes behind it. */
static void check_time(const batch_play *self, size_t place)
{
    for (size_t i = 0; i < place; i++)
        cr_assert(self->writers[place]->told_as >= self->writers[i]->n_told_before,
            "#%d came before what had been told when it was submitted",
            self->writers[i]->act.program->number);
}

/* As the server made them: the log says so. Each that was told has its place there, once. */
static void sort_by_log(batch_play *self)
{
    size_t n_writers = 0;
    for (size_t i = 0; i < self->batch->n_programs; i++)
        n_writers += act_has_written(&self->parts[i].act);
    char question[32];
    gavel__format(question, sizeof question, "LRANGE %s 0 -1", batch_log);
    for (const char *at = ask(self->world, question, ""); *at != '\0';
         at += strcspn(at, "\n") + 1) {
        if (at[0] == '*' || at[0] == '$')
            continue;
        const play_part *part = part_of(self, atoi(at));
        cr_assert(act_has_written(&part->act), "#%s is in the log, and was told otherwise",
            part->act.log_number);
        cr_assert_lt(self->n_writers, n_writers, "one is twice in the log");
        self->writers[self->n_writers++] = part;
        check_time(self, self->n_writers - 1);
    }
    cr_assert_eq(
        self->n_writers, n_writers, "one was told that it was made, and is not in the log");
}

static void sort_writers(batch_play *self)
{
    if (self->batch->has_log) {
        sort_by_log(self);
        return;
    }
    for (size_t place = 0; place < self->n_told; place++) {
        for (size_t i = 0; i < self->batch->n_programs; i++) {
            const play_part *part = &self->parts[i];
            if (part->told_as == place && act_has_written(&part->act))
                self->writers[self->n_writers++] = part;
        }
    }
}

static void play_together(batch_play *self)
{
    const programs_world *world = self->world;
    gavel_config config = {
        .max_links = self->batch->max_links, .has_no_markers = self->batch->has_no_markers};
    gavel_client *client = world->open(world->self, &config, false);
    for (size_t i = 0; i < self->batch->n_programs; i++)
        submit(self, client, i);
    world->wait(world->self, &self->n_told, self->batch->n_programs);
    gavel_stats stats;
    gavel_read_stats(client, &stats);
    self->tally->n_rounds += stats.n_rounds;
    gavel_close(client);
    for (size_t i = 0; i < self->batch->n_programs; i++)
        cr_assert_eq(self->parts[i].act.n_told, 1, "told %d times", (int)self->parts[i].act.n_told);
    sort_writers(self);
}

/* ---- A play -------------------------------------------------------------------------------- */

static uint64_t bit_of(const char *const *names, const char *name)
{
    for (size_t i = 0; names[i] != NULL; i++) {
        if (names[i] == name)
            return UINT64_C(1) << i;
    }
    return 0;
}

static uint64_t touches(const batch_program *program)
{
    uint64_t bits = program->id != NULL ? bit_of(batch_ids, program->id) << 32 : 0;
    for (size_t i = 0; i < program->n_steps; i++) {
        for (size_t k = 1; k <= program->steps[i].n_keys && k < program->steps[i].n_words; k++)
            bits |= bit_of(batch_keys, program->steps[i].words[k]);
    }
    return bits;
}

static batch_play *play_begin(const programs_world *world, const program_batch *batch)
{
    batch_play *self = calloc(1, sizeof *self);
    cr_assert_not_null(self);
    self->world = world;
    self->batch = batch;
    for (size_t i = 0; i < batch->n_programs; i++) {
        act_begin(&self->parts[i].act, &batch->programs[i]);
        self->parts[i].play = self;
        self->parts[i].touches = touches(&batch->programs[i]);
    }
    return self;
}

static void play_end(batch_play *self)
{
    for (size_t i = 0; i < self->batch->n_programs; i++)
        act_end(&self->parts[i].act);
    free(self);
}

static bool are_data_equal(
    batch_play *self, const gavel__buffer *together, const gavel__buffer *alone)
{
    if (gavel__bytes_equal(prose_bytes(together), prose_bytes(alone)))
        return true;
    prose_say(self->report, "the data together, or made past gavel:\n");
    gavel__buffer_append(self->report, prose_bytes(together));
    prose_say(self->report, "the data alone:\n");
    gavel__buffer_append(self->report, prose_bytes(alone));
    return false;
}

/* Whether the writes, each run past gavel, make the data that are there now: all but the ids. */
static bool holds_bare(batch_play *self, const gavel__buffer *keys)
{
    gavel__buffer bare = prose_begin();
    play_begin_world(self);
    for (size_t i = 0; i < self->n_writers; i++) {
        gavel__buffer told = play_bare(self->writers[i]);
        gavel__buffer_finish(&told);
    }
    say_keys(&bare, self->world);
    self->world->end(self->world->self);
    bool holds = are_data_equal(self, &bare, keys);
    gavel__buffer_finish(&bare);
    return holds;
}

/* Plays the batch alone, and compares all but those that went astray. */
static bool holds_alone(
    batch_play *self, const gavel__buffer *together, bool ret_astray[BATCH_MAX_PROGRAMS])
{
    gavel__buffer alone = prose_begin();
    gavel__buffer keys = prose_begin();
    play_begin_world(self);
    bool holds = play_alone(self, ret_astray);
    say_all_data(&alone, self->world);
    say_keys(&keys, self->world);
    self->world->end(self->world->self);
    holds = holds && are_data_equal(self, together, &alone) && holds_bare(self, &keys);
    gavel__buffer_finish(&alone);
    gavel__buffer_finish(&keys);
    return holds;
}

/* Plays the batch both ways. False: the report says what differs. */
static bool hold(const programs_world *world, const program_batch *batch, equivalence_tally *tally,
    gavel__buffer *report)
{
    batch_play *self = play_begin(world, batch);
    self->tally = tally;
    self->report = report;
    gavel__buffer together = prose_begin();
    bool is_astray[BATCH_MAX_PROGRAMS] = {false};
    play_begin_world(self);
    play_together(self);
    say_all_data(&together, world);
    world->end(world->self);
    bool holds = holds_alone(self, &together, is_astray);
    for (size_t i = 0; i < batch->n_programs && holds; i++) {
        if (self->parts[i].act.is_absurd) {
            prose_say(report, "#%d is absurd: ", batch->programs[i].number);
            gavel__buffer_append(report, prose_bytes(&self->parts[i].act.told));
            prose_say(report, "\n");
            holds = false;
        } else if (is_astray[i]) {
            tally->n_cuts++;
            holds = play_fits_cut(self, &self->parts[i]);
        }
    }
    gavel__buffer_finish(&together);
    play_end(self);
    return holds;
}

/* ---- Making it small ----------------------------------------------------------------------- */

static void remove_program(program_batch *self, size_t i)
{
    self->n_programs--;
    memmove(&self->programs[i], &self->programs[i + 1],
        (self->n_programs - i) * sizeof self->programs[0]);
}

static void remove_step(program_batch *self, size_t i, size_t n)
{
    batch_program *program = &self->programs[i];
    program->n_steps--;
    memmove(&program->steps[n], &program->steps[n + 1],
        (program->n_steps - n) * sizeof program->steps[0]);
}

static void remove_start(program_batch *self, size_t i)
{
    self->n_start--;
    memmove(&self->start[i], &self->start[i + 1], (self->n_start - i) * sizeof self->start[0]);
}

/* Takes the smaller batch for the larger if it still fails; its report, too. */
static bool is_as_good(const programs_world *world, const program_batch *smaller,
    program_batch *larger, gavel__buffer *report)
{
    equivalence_tally unused = {.n_seeds = 0};
    gavel__buffer own = prose_begin();
    bool fails = !hold(world, smaller, &unused, &own);
    if (fails) {
        *larger = *smaller;
        gavel__buffer_clear(report);
        gavel__buffer_append(report, prose_bytes(&own));
    }
    gavel__buffer_finish(&own);
    return fails;
}

/* One pass over all that can be left out; false: nothing was. From the end, so that what follows a
 * place that was tried stays where it is. */
static bool shrink(const programs_world *world, program_batch *self, gavel__buffer *report)
{
    bool is_smaller = false;
    for (size_t i = self->n_programs; i-- > 0;) {
        program_batch smaller = *self;
        remove_program(&smaller, i);
        is_smaller |= is_as_good(world, &smaller, self, report);
    }
    for (size_t i = self->n_programs; i-- > 0;) {
        if (self->programs[i].is_outsider)
            continue;
        for (size_t n = self->programs[i].n_steps; n-- > 0;) {
            program_batch smaller = *self;
            remove_step(&smaller, i, n);
            is_smaller |= is_as_good(world, &smaller, self, report);
        }
    }
    for (size_t i = self->n_start; i-- > 0;) {
        program_batch smaller = *self;
        remove_start(&smaller, i);
        is_smaller |= is_as_good(world, &smaller, self, report);
    }
    return is_smaller;
}

/* ---- Seeds --------------------------------------------------------------------------------- */

bool equivalence_holds(
    const programs_world *world, uint64_t seed, equivalence_tally *tally, gavel__buffer *ret_report)
{
    program_batch drawn = batch_draw(seed, world->is_real);
    gavel__buffer report = prose_begin();
    tally->n_seeds++;
    if (hold(world, &drawn, tally, &report)) {
        gavel__buffer_finish(&report);
        return true;
    }
    while (shrink(world, &drawn, &report))
        continue;
    *ret_report = prose_begin();
    batch_say(ret_report, &drawn);
    gavel__buffer_append(ret_report, prose_bytes(&report));
    gavel__buffer_finish(&report);
    return false;
}

static int from_environment(const char *name, int fallback)
{
    const char *text = getenv(name);
    return text != NULL ? atoi(text) : fallback;
}

/* Of what may come out of a round, each has to have come; and rounds have to have been shared. */
static void check_tally(const equivalence_tally *tally)
{
    static const gavel_status expected[] = {GAVEL_INVALID, GAVEL_COMMITTED,
        GAVEL_COMMITTED_WITH_ERRORS, GAVEL_ABORTED, GAVEL_CONFLICT, GAVEL_REJECTED};
    size_t n_told = 0;
    for (size_t i = 0; i <= GAVEL_COMMITTED_NOT_DURABLE; i++)
        n_told += tally->n_outcomes[i];
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        cr_expect_gt(
            tally->n_outcomes[expected[i]], 0, "none is %s", gavel_status_name(expected[i]));
    cr_expect_gt(tally->n_outcomes[GAVEL_COMMITTED], n_told / 3);
    cr_expect_gt(tally->n_duplicates, 0);
    cr_expect_gt(tally->n_at_once, 0);
    cr_expect_lt(tally->n_rounds, n_told / 2, "rounds were hardly shared");
}

void equivalence_play_seeds(const programs_world *world, int n_seeds)
{
    int only = from_environment("GAVEL_SEED", -1);
    int first = only >= 0 ? only : 0;
    int end = only >= 0 ? only + 1 : from_environment("GAVEL_SEEDS", n_seeds);
    equivalence_tally tally = {.n_seeds = 0};
    for (int seed = first; seed < end; seed++) {
        gavel__buffer report;
        bool holds = equivalence_holds(world, (uint64_t)seed, &tally, &report);
        if (!holds)
            fprintf(stderr, "%s", prose_string(&report));
        if (!holds)
            gavel__buffer_finish(&report);
        cr_assert(holds, "seed %d: together and alone differ, see above", seed);
    }
    if (only < 0)
        check_tally(&tally);
}
