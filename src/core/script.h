/*
 * Scripts: what the replies to come on a link will mean, in order.
 *
 * Whoever writes commands for a link notes here, in the same breath, what their replies answer. A
 * line of the script belongs to a round, or to none: then the reply is looked at only to see that
 * the link is sound.
 */
#ifndef GAVEL__SCRIPT_H
#define GAVEL__SCRIPT_H

#include <stdbool.h>
#include <stddef.h>

struct gavel__round;

typedef enum gavel__step {
    GAVEL__STEP_UNWATCH,       /* OK */
    GAVEL__STEP_PLANT,         /* SET of the marker, after a long rest: OK */
    GAVEL__STEP_WATCH,         /* OK */
    GAVEL__STEP_FETCH_STRINGS, /* the reply to MGET */
    GAVEL__STEP_FETCH,         /* the reply to a read */
    GAVEL__STEP_MULTI,         /* OK */
    GAVEL__STEP_QUEUED,        /* QUEUED, or why not */
    GAVEL__STEP_EXEC,          /* an array, nil, or why not */
    GAVEL__STEP_TOUCH,         /* PEXPIRE of a lost link's marker: 1, or 0 if it is gone */
    GAVEL__STEP_ASK,           /* GET of it */
    GAVEL__STEP_NAME,          /* CLIENT SETNAME, for those who look: whatever the answer */
    GAVEL__STEP_TOKEN,         /* LPOP or BLPOP of a gate's token */
    GAVEL__STEP_RECORD,        /* SET of its record */
    GAVEL__STEP_GATE,          /* what else is done to a gate: whatever the answer */
    GAVEL__STEP_CHECK,         /* GET of a record, after a conflict */
    GAVEL__STEP_REPAIR,        /* SET of a record, if there is none; PTTL of it */
    GAVEL__STEP_LOOK           /* MGET of records, before a gate was met */
} gavel__step;

typedef struct gavel__line {
    gavel__step step;
    size_t n_replies; /* still to come */
    struct gavel__round *round;
} gavel__line;

/* The longest: claims of several gates, twice, a commit and a read behind it, each with all that
 * can go with it. */
#define GAVEL__SCRIPT_LINES 64

typedef struct gavel__script {
    gavel__line lines[GAVEL__SCRIPT_LINES];
    size_t first;
    size_t n_lines;
} gavel__script;

static inline bool gavel__script_is_empty(const gavel__script *script)
{
    return script->n_lines == 0;
}

/* The line that the next reply answers; the script must not be empty. */
static inline gavel__line *gavel__script_current(gavel__script *script)
{
    return &script->lines[script->first];
}

/* One reply of the current line has come. */
static inline void gavel__script_advance(gavel__script *script)
{
    gavel__line *line = gavel__script_current(script);
    if (--line->n_replies > 0)
        return;
    script->first = (script->first + 1) % GAVEL__SCRIPT_LINES;
    script->n_lines--;
}

/* There must be room; no line for no replies. */
static inline void gavel__script_add(
    gavel__script *script, gavel__step step, size_t n_replies, struct gavel__round *round)
{
    if (n_replies == 0)
        return;
    size_t place = (script->first + script->n_lines) % GAVEL__SCRIPT_LINES;
    script->lines[place] = (gavel__line){step, n_replies, round};
    script->n_lines++;
}

/* The replies that are to come for this round no longer matter. */
static inline void gavel__script_disown(gavel__script *script, const struct gavel__round *round)
{
    for (size_t i = 0; i < script->n_lines; i++) {
        gavel__line *line = &script->lines[(script->first + i) % GAVEL__SCRIPT_LINES];
        if (line->round == round)
            line->round = NULL;
    }
}

#endif
