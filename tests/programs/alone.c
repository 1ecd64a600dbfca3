/*
 * One after another alone: the writers in their order, the others where they fit in between. See
 * equivalence.h for the rule.
 */
#include "play.h"

#include "base/text.h"
#include "prose.h"

/* ---- Running one --------------------------------------------------------------------------- */

gavel__buffer play_bare(const play_part *part)
{
    const programs_world *world = part->play->world;
    gavel__buffer told = prose_begin();
    for (size_t i = 0; i < part->act.n_writes; i++) {
        gavel_bytes args[STEP_MAX_WORDS];
        char storage[GAVEL__INT_SIZE];
        size_t n_args = act_compose(&part->act.writes[i], args, storage);
        prose_quote(&told, gavel_str(world->ask(world->self, args, n_args)));
    }
    return told;
}

gavel__buffer play_once(const play_part *part, gavel_client *client, bool is_trial)
{
    if (part->act.program->is_outsider)
        return play_bare(part);
    act alone;
    act_request request;
    act_begin(&alone, part->act.program);
    alone.is_trial = is_trial;
    alone.ask = part->play->world->ask;
    alone.asked = part->play->world->self;
    act_prepare(&alone, &request);
    gavel_outcome outcome = gavel_run(client, &request.transaction);
    act_tell(&alone, &outcome);
    gavel_outcome_clear(&outcome);
    part->play->tally->n_trials += is_trial;
    return alone.told;
}

bool play_is_same(const play_part *part, const gavel__buffer *alone)
{
    return gavel__bytes_equal(prose_bytes(&part->act.told), prose_bytes(alone));
}

void play_report(const batch_play *self, const play_part *part, const gavel__buffer *alone)
{
    prose_say(self->report, "#%d together: ", part->act.program->number);
    gavel__buffer_append(self->report, prose_bytes(&part->act.told));
    prose_say(self->report, "\n    alone:    ");
    gavel__buffer_append(self->report, prose_bytes(alone));
    prose_say(self->report, "\n");
}

/* ---- Where a program may stand ------------------------------------------------------------- */

typedef struct place_search {
    batch_play *play;
    gavel_client *client;
    size_t n_written; /* so many of the writers have been run */
    struct {
        bool is_placed;       /* or can be nowhere */
        bool is_worth_trying; /* what it reads may have changed since it was tried */
    } of[BATCH_MAX_PROGRAMS];
} place_search;

/* Whether all that was told when it was submitted has its place already. */
static bool may_stand_here(const place_search *self, const play_part *part)
{
    const batch_play *play = self->play;
    for (size_t i = self->n_written; i < play->n_writers; i++) {
        if (play->writers[i]->told_as < part->n_told_before)
            return false;
    }
    for (size_t i = 0; i < play->batch->n_programs; i++) {
        const play_part *other = &play->parts[i];
        if (!act_has_written(&other->act) && !self->of[i].is_placed &&
            other->told_as < part->n_told_before)
            return false;
    }
    return true;
}

/* Whether the next writer was submitted when it had been told, or there is none. */
static bool must_stand_here(const place_search *self, const play_part *part)
{
    const batch_play *play = self->play;
    return self->n_written == play->n_writers ||
           play->writers[self->n_written]->n_told_before > part->told_as;
}

static void try_here(place_search *self, size_t i)
{
    const play_part *part = &self->play->parts[i];
    gavel__buffer alone = play_once(part, self->client, true);
    self->of[i].is_placed = play_is_same(part, &alone);
    self->of[i].is_worth_trying = false;
    gavel__buffer_finish(&alone);
}

/* Those that write nothing and fit here; who should have fitted by now is astray. */
static void place_here(place_search *self, bool ret_astray[BATCH_MAX_PROGRAMS])
{
    for (size_t i = 0; i < self->play->batch->n_programs; i++) {
        const play_part *part = &self->play->parts[i];
        if (act_has_written(&part->act) || self->of[i].is_placed)
            continue;
        if (self->of[i].is_worth_trying && may_stand_here(self, part))
            try_here(self, i);
        if (!self->of[i].is_placed && must_stand_here(self, part))
            ret_astray[i] = self->of[i].is_placed = true;
    }
}

/* ---- All ----------------------------------------------------------------------------------- */

static bool write_next(place_search *self)
{
    batch_play *play = self->play;
    const play_part *writer = play->writers[self->n_written++];
    gavel__buffer alone = play_once(writer, self->client, false);
    bool is_same = play_is_same(writer, &alone);
    if (!is_same)
        play_report(play, writer, &alone);
    gavel__buffer_finish(&alone);
    for (size_t i = 0; i < play->batch->n_programs; i++)
        self->of[i].is_worth_trying |= (play->parts[i].touches & writer->touches) != 0;
    return is_same;
}

bool play_alone(batch_play *self, bool ret_astray[BATCH_MAX_PROGRAMS])
{
    gavel_config config = {.max_links = 1, .has_no_markers = self->batch->has_no_markers};
    place_search search = {
        .play = self, .client = self->world->open(self->world->self, &config, true)};
    for (size_t i = 0; i < self->batch->n_programs; i++)
        search.of[i].is_worth_trying = true;
    bool is_same = true;
    place_here(&search, ret_astray);
    while (is_same && search.n_written < self->n_writers) {
        is_same = write_next(&search);
        place_here(&search, ret_astray);
    }
    gavel_close(search.client);
    return is_same;
}
