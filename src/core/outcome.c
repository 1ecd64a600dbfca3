/*
 * Outcomes: the table of statuses, and the memory of kept replies.
 */
#include "core/outcome.h"

#include "base/text.h"

const char *gavel_status_name(gavel_status status)
{
    switch (status) {
#define STATUS_NAME(code, name, meaning)                                                           \
    case GAVEL_##code:                                                                             \
        return name;
        GAVEL_STATUSES(STATUS_NAME)
#undef STATUS_NAME
    }
    return "?";
}

const char *gavel_status_meaning(gavel_status status)
{
    switch (status) {
#define STATUS_MEANING(code, name, meaning)                                                        \
    case GAVEL_##code:                                                                             \
        return meaning;
        GAVEL_STATUSES(STATUS_MEANING)
#undef STATUS_MEANING
    }
    return "?";
}

/* ---- For people ---------------------------------------------------------------------------- */

void gavel__outcome_set_message(gavel_outcome *outcome, const char *message)
{
    outcome->message[0] = '\0';
    if (message[0] != '\0') /* rarely; a commit has nothing to add */
        gavel__format(outcome->message, sizeof(outcome->message), "%s", message);
}

/* What was written so far, and the room behind it. */
typedef struct text_end {
    char *at;
    size_t size;
} text_end;

static void move_on(text_end *end)
{
    size_t used = strlen(end->at);
    end->at += used;
    end->size -= used;
}

static void add(text_end *end, const char *before, const char *words)
{
    gavel__format(end->at, end->size, "%s%s", before, words);
    move_on(end);
}

/* Counts as "; 3 attempts, 2 conflicts". */
static void add_count(text_end *end, bool *is_first, uint32_t n, const char *noun)
{
    gavel__format(
        end->at, end->size, "%s %u %s%s", *is_first ? ";" : ",", (unsigned)n, noun, &"s"[n == 1]);
    *is_first = false;
    move_on(end);
}

/* What did not go as it mostly does. */
static void add_counts(text_end *end, const gavel_outcome *outcome)
{
    bool is_first = true;
    if (outcome->n_attempts > 1)
        add_count(end, &is_first, outcome->n_attempts, "attempt");
    if (outcome->n_conflicts > 0)
        add_count(end, &is_first, outcome->n_conflicts, "conflict");
    if (outcome->n_faults > 0)
        add_count(end, &is_first, outcome->n_faults, "fault");
}

const char *gavel_outcome_text(const gavel_outcome *outcome, char *text, size_t size)
{
    text_end end = {text, size};
    if (size == 0)
        return text;
    add(&end, "", gavel_status_name(outcome->status));
    if (outcome->status == GAVEL_ABORTED) {
        gavel__format(end.at, end.size, " (code %d)", outcome->abort_code);
        move_on(&end);
    }
    add(&end, ": ", gavel_status_meaning(outcome->status));
    bool is_plain_duplicate = outcome->is_duplicate && outcome->status == GAVEL_COMMITTED;
    if (is_plain_duplicate)
        add(&end, ", earlier and under the same id", "");
    /* Why the body aborted is in the code, and a duplicate's message says what stands here, unless
     * something was amiss. */
    if (outcome->message[0] != '\0' && outcome->status != GAVEL_ABORTED && !is_plain_duplicate)
        add(&end, ": ", outcome->message);
    add_counts(&end, outcome);
    return text;
}

/* ---- Replies ------------------------------------------------------------------------------- */

/* Kept replies stand behind the arena that they live in, so that clearing needs no client. */
struct kept_replies {
    gavel_allocator allocator;
    gavel__arena arena;
    gavel_reply replies[];
};

bool gavel__outcome_keep_replies(gavel_outcome *outcome, const gavel_allocator *allocator,
    const gavel_reply *replies, size_t n_replies)
{
    size_t size;
    if (!gavel__multiply(n_replies, sizeof(gavel_reply), &size) ||
        size > SIZE_MAX - sizeof(struct kept_replies))
        return false;
    struct kept_replies *kept = gavel__alloc(allocator, 1, sizeof(*kept) + size);
    if (kept == NULL)
        return false;
    kept->allocator = *allocator;
    gavel__arena_init(&kept->arena, &kept->allocator);
    outcome->replies = kept->replies;
    outcome->n_replies = n_replies;
    for (size_t i = 0; i < n_replies; i++) {
        if (!gavel__arena_copy_reply(&kept->arena, &replies[i], &kept->replies[i])) {
            gavel_outcome_clear(outcome);
            return false;
        }
    }
    return true;
}

void gavel_outcome_clear(gavel_outcome *outcome)
{
    if (outcome == NULL || outcome->replies == NULL)
        return;
    struct kept_replies *kept = (struct kept_replies *)((char *)(uintptr_t)outcome->replies -
                                                        offsetof(struct kept_replies, replies));
    gavel_allocator allocator = kept->allocator;
    gavel__arena_finish(&kept->arena);
    gavel__free(&allocator, kept);
    outcome->replies = NULL;
    outcome->n_replies = 0;
}
