/*
 * The overlay: what the writes of a round so far say of a value, so that each body sees what those
 * before it wrote. Some writes say what the value is (SET); others change what is there (INCRBY,
 * APPEND), and are played on it one after another, as the server will:
 *
 *     SET n 5      INCRBY n 2      PEXPIRE n 1000      INCRBY n 1
 *     the root     a step          says nothing of it  a step        ->  8
 *
 * Without a root the steps go on top of what was read.
 */
#ifndef GAVEL__OVERLAY_H
#define GAVEL__OVERLAY_H

#include "base/arena.h"
#include "core/writes.h"

/* What may be asked of a key. */
typedef enum gavel__aspect {
    GAVEL__ASPECT_STRING,
    GAVEL__ASPECT_FIELD, /* of the hash */
    GAVEL__ASPECT_LIFE   /* its time to live */
} gavel__aspect;

typedef enum gavel__overlay {
    GAVEL__OVERLAY_BASE, /* what was read is the root */
    GAVEL__OVERLAY_VALUE,
    GAVEL__OVERLAY_ABSENT, /* deleted */
    GAVEL__OVERLAY_TAINTED /* written in a way that gavel cannot model */
} gavel__overlay;

/* What a look-up finds. Valid until the next write. */
typedef struct gavel__sight {
    const gavel__writes *writes;
    gavel__aspect aspect;
    gavel_bytes field;
    size_t last; /* the key's last write */
    gavel__overlay overlay;
    const gavel__write *root; /* that decided, or that taints; NULL for BASE */
    size_t n_steps;           /* behind the root */
    size_t n_step_bytes;      /* at most, that they add to the value */
} gavel__sight;

/* Looks at the writes to the key; `field` counts for a FIELD only. */
gavel__sight gavel__overlay_look(
    const gavel__writes *writes, const gavel__key *key, gavel__aspect aspect, gavel_bytes field);

/* The last write to the key, if it is a SET and so says the whole STRING: the short way, which most
 * bodies go. Else NULL: then look. */
static inline const gavel__write *gavel__overlay_set(
    const gavel__writes *writes, const gavel__key *key, gavel__aspect aspect)
{
    const gavel__write *last = &writes->entries[key->last_write - 1];
    bool is_set = aspect == GAVEL__ASPECT_STRING && last->kind == GAVEL__WRITE_SET;
    return is_set ? last : NULL;
}

/* Whether the root or a step is of somebody else than this writer. */
bool gavel__overlay_is_of_others(
    const gavel__sight *sight, const struct gavel__transaction *writer);

/* A value: whether it is there, and what it is. */
typedef struct gavel__content {
    bool is_there;
    gavel_bytes bytes;
} gavel__content;

/*
 * Of a STRING or FIELD that is not tainted: what it will be. `base` is what was read, if that is
 * the root. The bytes are the base's, or in the arena. False: no memory.
 */
bool gavel__overlay_content(const gavel__sight *sight, const gavel__content *base,
    gavel__arena *arena, gavel__content *ret_content);

/* What PTTL says of a key that is not there, and of one without a time to live. */
#define GAVEL__LIFE_ABSENT (-2)
#define GAVEL__LIFE_ENDLESS (-1)

/* Of a LIFE that is not tainted: what it will be, in milliseconds. `base_ms` and the arena as for
 * the content. False: no memory. */
bool gavel__overlay_life_ms(
    const gavel__sight *sight, int64_t base_ms, gavel__arena *arena, int64_t *ret_life_ms);

#endif
