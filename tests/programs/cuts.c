/*
 * Cuts: sets of writers such that somebody may have seen these and no others.
 *
 * Writers on two links that have nothing in common may be told in another order than the server
 * made them in. They do not mind, but who only reads, on a third link, may have been between them.
 *
 *     told:       A  B  C  D          a cut before D without A, and so without C, which has a key
 *                 +-----+             in common with A:  {B}
 */
#include "play.h"

#include "prose.h"

typedef struct writer_cut {
    bool has[BATCH_MAX_PROGRAMS]; /* by place among the writers */
} writer_cut;

static bool depends_on(const play_part *later, const play_part *earlier)
{
    return (later->touches & earlier->touches) != 0 || earlier->told_as < later->n_told_before;
}

/* The writers before place `end`, without the one at `missing` and those that depend on it; `end`
 * for `missing` leaves out none. */
static writer_cut draw_cut(const batch_play *self, size_t end, size_t missing)
{
    writer_cut drawn = {.has = {false}};
    for (size_t i = 0; i < end; i++) {
        drawn.has[i] = i != missing;
        for (size_t n = missing; n < i; n++) {
            if (!drawn.has[n] && depends_on(self->writers[i], self->writers[n]))
                drawn.has[i] = false;
        }
    }
    return drawn;
}

/* Whether it has all that was told when the part was submitted, and nothing submitted later than
 * that was told. */
static bool is_allowed(const batch_play *self, const writer_cut *cut, const play_part *part)
{
    for (size_t i = 0; i < self->n_writers; i++) {
        const play_part *writer = self->writers[i];
        if (cut->has[i] ? writer->n_told_before > part->told_as
                        : writer->told_as < part->n_told_before)
            return false;
    }
    return true;
}

/* What the part comes to behind the writers of the cut; to be finished. */
static gavel__buffer play_behind(
    const batch_play *self, const writer_cut *cut, const play_part *part)
{
    gavel_config config = {.max_links = 1, .has_no_markers = self->batch->has_no_markers};
    play_begin_world(self);
    gavel_client *client = self->world->open(self->world->self, &config, true);
    for (size_t i = 0; i < self->n_writers; i++) {
        if (!cut->has[i])
            continue;
        gavel__buffer told = play_once(self->writers[i], client, false);
        gavel__buffer_finish(&told);
    }
    gavel__buffer alone = play_once(part, client, true);
    gavel_close(client);
    self->world->end(self->world->self);
    return alone;
}

static bool fits(const batch_play *self, const writer_cut *cut, const play_part *part)
{
    if (!is_allowed(self, cut, part))
        return false;
    gavel__buffer alone = play_behind(self, cut, part);
    bool is_same = play_is_same(part, &alone);
    gavel__buffer_finish(&alone);
    return is_same;
}

static void report_behind_told(const batch_play *self, const play_part *part)
{
    size_t end = 0;
    while (end < self->n_writers && self->writers[end]->told_as < part->told_as)
        end++;
    writer_cut told = draw_cut(self, end, end);
    gavel__buffer alone = play_behind(self, &told, part);
    play_report(self, part, &alone);
    gavel__buffer_finish(&alone);
}

bool play_fits_cut(batch_play *self, const play_part *part)
{
    for (size_t end = 2; end <= self->n_writers; end++) {
        for (size_t missing = 0; missing + 1 < end; missing++) {
            writer_cut cut = draw_cut(self, end, missing);
            bool is_relevant = (self->writers[missing]->touches & part->touches) != 0 &&
                               (self->writers[end - 1]->touches & part->touches) != 0;
            if (is_relevant && cut.has[end - 1] && fits(self, &cut, part))
                return true;
        }
    }
    report_behind_told(self, part);
    return false;
}
