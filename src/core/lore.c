/*
 * Lore: see the header.
 */
#include "core/lore.h"

#include "base/list.h"
#include "base/text.h"

/* What COMMAND INFO's reply has of a command, by place; the last two from Redis 7.0 on. */
enum { AT_NAME, AT_FLAGS = 2, AT_FIRST, AT_LAST, AT_STEP, AT_CATEGORIES, AT_SPECS = 8, AT_SUBS };

void gavel__lore_init(gavel__lore *lore, const gavel_allocator *allocator, uint64_t seed)
{
    *lore = (gavel__lore){.allocator = allocator};
    gavel__map_init(&lore->told, allocator, seed);
}

static gavel__told *told_of(gavel__map_node *node)
{
    return GAVEL__CONTAINER(node, gavel__told, node);
}

void gavel__lore_forget(gavel__lore *lore)
{
    uint64_t seed = lore->told.seed;
    for (size_t i = 0; i < lore->told.n_buckets; i++) {
        gavel__map_node *next;
        for (gavel__map_node *node = lore->told.buckets[i]; node != NULL; node = next) {
            next = node->next;
            gavel__free(lore->allocator, told_of(node));
        }
    }
    gavel__map_finish(&lore->told);
    gavel__lore_init(lore, lore->allocator, seed);
}

void gavel__lore_finish(gavel__lore *lore)
{
    gavel__lore_forget(lore);
}

/* ---- Finding ------------------------------------------------------------------------------- */

static gavel__told *find(const gavel__lore *lore, const char *name)
{
    gavel__map_node *node = gavel__map_find(&lore->told, gavel_str(name));
    return node != NULL ? told_of(node) : NULL;
}

static bool has_subcommands(const gavel__lore *lore, const char *name)
{
    const gavel__known *known = gavel__known_row(name);
    const gavel__told *told = find(lore, name);
    return (known != NULL && (known->does & GAVEL__KNOWN_HAS_SUBCOMMANDS) != 0) ||
           (told != NULL && (told->row.does & GAVEL__KNOWN_HAS_SUBCOMMANDS) != 0);
}

/* What of it is its name: "JSON.GET", or "OBJECT|NONSUCH". False: it is longer than any. */
static bool put_name(const gavel__lore *lore, const gavel_bytes *args, size_t n_args,
    char name[GAVEL__KNOWN_NAME_SIZE])
{
    if (!gavel__known_name(args, 1, name))
        return false;
    return n_args < 2 || !has_subcommands(lore, name) || gavel__known_name(args, 2, name);
}

const gavel__told *gavel__lore_find(const gavel__lore *lore, const gavel_bytes *args, size_t n_args)
{
    char name[GAVEL__KNOWN_NAME_SIZE];
    return put_name(lore, args, n_args, name) ? find(lore, name) : NULL;
}

bool gavel__lore_asks(const gavel__lore *lore, const gavel_bytes *args, size_t n_args)
{
    char name[GAVEL__KNOWN_NAME_SIZE];
    return !lore->is_refused && lore->told.n_nodes < GAVEL__LORE_NAMES &&
           put_name(lore, args, n_args, name);
}

/* ---- Asking -------------------------------------------------------------------------------- */

gavel__command gavel__lore_question(gavel_bytes storage[3], gavel_bytes name)
{
    storage[0] = GAVEL_STR("COMMAND");
    storage[1] = GAVEL_STR("INFO");
    storage[2] = name;
    return (gavel__command){.args = storage, .n_args = 3};
}

/* ---- What is said -------------------------------------------------------------------------- */

static bool has_word(const gavel_reply *words, const char *word)
{
    gavel_bytes text;
    for (size_t i = 0; words != NULL && i < words->n_elements; i++) {
        if (gavel_reply_text(&words->elements[i], &text) &&
            gavel__bytes_equal(text, gavel_str(word)))
            return true;
    }
    return false;
}

/* As tools/command_table has it of those that are known. */
static bool steers(const gavel_reply *flags, const gavel_reply *categories)
{
    return has_word(flags, "no_multi") || has_word(categories, "@transaction") ||
           has_word(categories, "@connection") ||
           (has_word(flags, "pubsub") && has_word(flags, "noscript"));
}

/* One of which no flag says anything counts as one that reads: it may be written as well. */
static unsigned effects_of(const gavel_reply *info)
{
    const gavel_reply *flags = gavel_reply_element(info, AT_FLAGS);
    if (steers(flags, gavel_reply_element(info, AT_CATEGORIES)))
        return GAVEL__KNOWN_STEERS;
    unsigned does = 0;
    if (has_word(flags, "readonly"))
        does |= GAVEL__KNOWN_READS;
    if (has_word(flags, "write"))
        does |= GAVEL__KNOWN_WRITES;
    if (does == 0)
        does |= has_word(flags, "may_replicate") ? GAVEL__KNOWN_ACTS : GAVEL__KNOWN_READS;
    if (has_word(flags, "blocking"))
        does |= GAVEL__KNOWN_BLOCKS;
    return does;
}

/* Whether first, last and step tell its keys: some are found otherwise, and a channel is none. */
static bool has_row(const gavel_reply *info)
{
    if (has_word(gavel_reply_element(info, AT_FLAGS), "movablekeys"))
        return false;
    const gavel_reply *specs = gavel_reply_element(info, AT_SPECS);
    for (size_t i = 0; specs != NULL && i < specs->n_elements; i++) {
        if (has_word(gavel_reply_value(&specs->elements[i], GAVEL_STR("flags")), "not_key"))
            return false;
    }
    return true;
}

static void take_keys(const gavel_reply *info, gavel__known *row)
{
    int64_t at[3] = {0};
    bool is_small = true;
    for (size_t i = 0; i < 3; i++) {
        is_small = gavel_reply_int(gavel_reply_element(info, AT_FIRST + i), &at[i]) && is_small &&
                   at[i] >= (i == 1 ? INT8_MIN : 0) && at[i] <= INT8_MAX;
        row->at[i] = (int8_t)at[i];
    }
    if (!is_small || !has_row(info))
        return;
    if (at[0] > 0)
        row->keys = at[2] > 0 ? GAVEL__KEYS_ROW : GAVEL__KEYS_NONE;
    else if (has_word(gavel_reply_element(info, AT_FLAGS), "readonly"))
        row->does |= GAVEL__KNOWN_READS_UNNAMED;
    else if (has_word(gavel_reply_element(info, AT_FLAGS), "write"))
        row->does |= GAVEL__KNOWN_WRITES_UNNAMED;
}

/* ---- Learning ------------------------------------------------------------------------------ */

/* Under a name that nothing is found of. NULL: no memory. */
static gavel__told *make_told(gavel__lore *lore, const char *name)
{
    gavel__told *told = gavel__alloc(lore->allocator, 1, sizeof(*told));
    if (told == NULL)
        return NULL;
    strcpy(told->row.name, name);
    if (gavel__map_insert(&lore->told, gavel_str(told->row.name), &told->node))
        return told;
    gavel__free(lore->allocator, told);
    return NULL;
}

static void learn_row(gavel__lore *lore, const char *name, const gavel_reply *info)
{
    gavel__told *told = find(lore, name) == NULL ? make_told(lore, name) : NULL;
    if (told == NULL || info == NULL || info->type != GAVEL_REPLY_ARRAY)
        return;
    told->is_there = true;
    told->row.does = (uint8_t)effects_of(info);
    take_keys(info, &told->row);
}

static void learn_family(gavel__lore *lore, const char *name)
{
    gavel__told *told = find(lore, name) == NULL ? make_told(lore, name) : NULL;
    if (told == NULL)
        return;
    told->is_there = true;
    told->row.does = GAVEL__KNOWN_HAS_SUBCOMMANDS;
}

/* The server has them as rows do, but not in capitals. NULL: there is none of that name. */
static const gavel_reply *find_sub(const gavel_reply *subs, const char *name)
{
    gavel_bytes text;
    for (size_t i = 0; i < subs->n_elements; i++) {
        if (gavel_reply_text(gavel_reply_element(&subs->elements[i], AT_NAME), &text) &&
            gavel__bytes_equal_nocase(text, gavel_str(name)))
            return &subs->elements[i];
    }
    return NULL;
}

void gavel__lore_learn(
    gavel__lore *lore, const gavel_bytes *args, size_t n_args, const gavel_reply *reply)
{
    char name[GAVEL__KNOWN_NAME_SIZE];
    const gavel_reply *info = gavel_reply_element(reply, 0);
    const gavel_reply *subs = gavel_reply_element(info, AT_SUBS);
    lore->is_refused = lore->is_refused || reply->type != GAVEL_REPLY_ARRAY;
    if (lore->is_refused || !gavel__known_name(args, 1, name))
        return;
    bool is_family = subs != NULL && subs->n_elements > 0;
    if (is_family)
        learn_family(lore, name);
    if (put_name(lore, args, n_args, name))
        learn_row(lore, name, is_family ? find_sub(subs, name) : info);
}
