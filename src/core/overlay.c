/*
 * The overlay: see the header. Used by bodies.
 */
#include "core/overlay.h"

#include "base/text.h"

/* ---- What one write says ------------------------------------------------------------------- */

typedef enum saying {
    NOTHING, /* look further back */
    STEP,    /* changes what was there */
    VALUE,
    ABSENT,
    TAINT
} saying;

static saying of_string(const gavel__write *entry)
{
    switch (entry->kind) {
    case GAVEL__WRITE_SET:
    case GAVEL__WRITE_SET_PX:
    case GAVEL__WRITE_SET_KEEP:
        return VALUE;
    case GAVEL__WRITE_DEL:
        return ABSENT;
    case GAVEL__WRITE_INCR:
        return entry->has_sum ? VALUE : STEP;
    case GAVEL__WRITE_APPEND:
        return STEP;
    case GAVEL__WRITE_EXPIRE:
    case GAVEL__WRITE_PERSIST:
        return NOTHING;
    case GAVEL__WRITE_HSET:
    case GAVEL__WRITE_HDEL:
    case GAVEL__WRITE_HINCR:
    case GAVEL__WRITE_OTHER:
        return TAINT;
    }
    return TAINT;
}

static saying of_field(const gavel__sight *sight, const gavel__write *entry)
{
    bool is_same =
        gavel__bytes_equal(gavel__writes_bytes(sight->writes, entry->field), sight->field);
    switch (entry->kind) {
    case GAVEL__WRITE_HSET:
        return is_same ? VALUE : NOTHING;
    case GAVEL__WRITE_HDEL:
        return is_same ? ABSENT : NOTHING;
    case GAVEL__WRITE_HINCR:
        return !is_same ? NOTHING : entry->has_sum ? VALUE : STEP;
    case GAVEL__WRITE_DEL:
        return ABSENT;
    case GAVEL__WRITE_EXPIRE:
    case GAVEL__WRITE_PERSIST:
        return NOTHING;
    case GAVEL__WRITE_SET:
    case GAVEL__WRITE_SET_PX:
    case GAVEL__WRITE_SET_KEEP:
    case GAVEL__WRITE_INCR:
    case GAVEL__WRITE_APPEND:
    case GAVEL__WRITE_OTHER:
        return TAINT;
    }
    return TAINT;
}

/* A step here is also what fails with WRONGTYPE: the key is there then, and lives as it did. */
static saying of_life(const gavel__write *entry)
{
    switch (entry->kind) {
    case GAVEL__WRITE_SET:
    case GAVEL__WRITE_SET_PX:
        return VALUE;
    case GAVEL__WRITE_DEL:
        return ABSENT;
    case GAVEL__WRITE_SET_KEEP:
    case GAVEL__WRITE_HSET:
    case GAVEL__WRITE_INCR:
    case GAVEL__WRITE_HINCR:
    case GAVEL__WRITE_APPEND:
    case GAVEL__WRITE_EXPIRE:
    case GAVEL__WRITE_PERSIST:
        return STEP;
    case GAVEL__WRITE_HDEL: /* with its last field the hash goes */
    case GAVEL__WRITE_OTHER:
        return TAINT;
    }
    return TAINT;
}

static saying said_by(const gavel__sight *sight, const gavel__write *entry)
{
    switch (sight->aspect) {
    case GAVEL__ASPECT_STRING:
        return of_string(entry);
    case GAVEL__ASPECT_FIELD:
        return of_field(sight, entry);
    case GAVEL__ASPECT_LIFE:
        return of_life(entry);
    }
    return TAINT;
}

/* ---- Looking ------------------------------------------------------------------------------- */

static const gavel__write *entry_at(const gavel__sight *sight, size_t place)
{
    return &sight->writes->entries[place - 1];
}

static void count_step(gavel__sight *sight, const gavel__write *entry)
{
    bool is_append = entry->kind == GAVEL__WRITE_APPEND;
    sight->n_steps++;
    sight->n_step_bytes += is_append ? entry->value.size : GAVEL__INT_SIZE;
}

gavel__sight gavel__overlay_look(
    const gavel__writes *writes, const gavel__key *key, gavel__aspect aspect, gavel_bytes field)
{
    static const gavel__overlay overlays[] = {[VALUE] = GAVEL__OVERLAY_VALUE,
        [ABSENT] = GAVEL__OVERLAY_ABSENT,
        [TAINT] = GAVEL__OVERLAY_TAINTED};
    gavel__sight sight = {writes, aspect, field, key->last_write, GAVEL__OVERLAY_BASE, NULL, 0, 0};
    for (size_t place = sight.last; place > 0; place = entry_at(&sight, place)->previous) {
        const gavel__write *entry = entry_at(&sight, place);
        saying said = said_by(&sight, entry);
        if (said == STEP)
            count_step(&sight, entry);
        if (said == NOTHING || said == STEP)
            continue;
        sight.overlay = overlays[said];
        sight.root = entry;
        break;
    }
    return sight;
}

bool gavel__overlay_is_of_others(const gavel__sight *sight, const struct gavel__transaction *writer)
{
    size_t n_steps = sight->n_steps;
    for (size_t place = sight->last; n_steps > 0; place = entry_at(sight, place)->previous) {
        const gavel__write *entry = entry_at(sight, place);
        if (said_by(sight, entry) != STEP)
            continue;
        if (entry->writer != writer)
            return true;
        n_steps--;
    }
    return sight->root != NULL && sight->root->writer != writer;
}

/* ---- Playing ------------------------------------------------------------------------------- */

/* The steps, the first one first: `places` has room for them. */
static void list_steps(const gavel__sight *sight, size_t *places)
{
    size_t n_left = sight->n_steps;
    for (size_t place = sight->last; n_left > 0; place = entry_at(sight, place)->previous) {
        if (said_by(sight, entry_at(sight, place)) == STEP)
            places[--n_left] = place;
    }
}

/* What the root says, copied if it is a write: the writes' buffer moves as it grows. */
static bool content_of_root(const gavel__sight *sight, const gavel__content *base,
    gavel__arena *arena, gavel__content *ret_content)
{
    const gavel__write *root = sight->root;
    char storage[GAVEL__INT_SIZE];
    *ret_content = (gavel__content){false, {NULL, 0}};
    if (sight->overlay == GAVEL__OVERLAY_BASE)
        *ret_content = *base;
    if (sight->overlay != GAVEL__OVERLAY_VALUE)
        return true;
    ret_content->is_there = true;
    gavel_bytes bytes = root->has_sum ? gavel__format_int(root->sum, storage)
                                      : gavel__writes_bytes(sight->writes, root->value);
    return gavel__arena_copy(arena, bytes, &ret_content->bytes);
}

/* As the server does it; where that is an error, the value stays. */
static void play_increment(const gavel__write *step, char *data, size_t *size, bool is_there)
{
    int64_t value = 0;
    char storage[GAVEL__INT_SIZE];
    if (is_there && !gavel__parse_int((gavel_bytes){data, *size}, &value))
        return;
    if (!gavel__add_ints(value, step->number, &value))
        return;
    gavel_bytes sum = gavel__format_int(value, storage);
    memcpy(data, sum.data, sum.size);
    *size = sum.size;
}

static void play_append(
    const gavel__sight *sight, const gavel__write *step, char *data, size_t *size)
{
    gavel_bytes bytes = gavel__writes_bytes(sight->writes, step->value);
    if (bytes.size > 0)
        memcpy(data + *size, bytes.data, bytes.size);
    *size += bytes.size;
}

bool gavel__overlay_content(const gavel__sight *sight, const gavel__content *base,
    gavel__arena *arena, gavel__content *ret_content)
{
    gavel__content content;
    if (!content_of_root(sight, base, arena, &content))
        return false;
    if (sight->n_steps == 0) {
        *ret_content = content;
        return true;
    }
    size_t size = content.bytes.size;
    size_t *places = gavel__arena_take(arena, sight->n_steps, sizeof(*places));
    char *data = gavel__arena_take(arena, size + sight->n_step_bytes, 1);
    if (places == NULL || data == NULL)
        return false;
    if (size > 0)
        memcpy(data, content.bytes.data, size);
    list_steps(sight, places);
    for (size_t i = 0; i < sight->n_steps; i++) {
        const gavel__write *step = entry_at(sight, places[i]);
        if (step->kind == GAVEL__WRITE_APPEND)
            play_append(sight, step, data, &size);
        else
            play_increment(step, data, &size, content.is_there);
        content.is_there = true;
    }
    *ret_content = (gavel__content){true, {data, size}};
    return true;
}

/* What a step makes of a time to live. */
static int64_t play_life(const gavel__write *step, int64_t life_ms)
{
    bool is_there = life_ms != GAVEL__LIFE_ABSENT;
    switch (step->kind) {
    case GAVEL__WRITE_EXPIRE:
        return is_there ? step->number : life_ms;
    case GAVEL__WRITE_PERSIST:
        return is_there ? GAVEL__LIFE_ENDLESS : life_ms;
    case GAVEL__WRITE_SET_KEEP:
    case GAVEL__WRITE_HSET:
    case GAVEL__WRITE_INCR:
    case GAVEL__WRITE_HINCR:
    case GAVEL__WRITE_APPEND:
        return is_there ? life_ms : GAVEL__LIFE_ENDLESS;
    case GAVEL__WRITE_SET:
    case GAVEL__WRITE_SET_PX:
    case GAVEL__WRITE_DEL:
    case GAVEL__WRITE_HDEL:
    case GAVEL__WRITE_OTHER: /* no steps */
        return life_ms;
    }
    return life_ms;
}

static int64_t life_of_root(const gavel__sight *sight, int64_t base_ms)
{
    switch (sight->overlay) {
    case GAVEL__OVERLAY_VALUE:
        return sight->root->kind == GAVEL__WRITE_SET_PX ? sight->root->number : GAVEL__LIFE_ENDLESS;
    case GAVEL__OVERLAY_ABSENT:
        return GAVEL__LIFE_ABSENT;
    case GAVEL__OVERLAY_BASE:
    case GAVEL__OVERLAY_TAINTED:
        return base_ms;
    }
    return base_ms;
}

bool gavel__overlay_life_ms(
    const gavel__sight *sight, int64_t base_ms, gavel__arena *arena, int64_t *ret_life_ms)
{
    size_t *places = gavel__arena_take(arena, sight->n_steps, sizeof(*places));
    if (places == NULL)
        return false;
    list_steps(sight, places);
    int64_t life_ms = life_of_root(sight, base_ms);
    for (size_t i = 0; i < sight->n_steps; i++)
        life_ms = play_life(entry_at(sight, places[i]), life_ms);
    *ret_life_ms = life_ms;
    return true;
}
