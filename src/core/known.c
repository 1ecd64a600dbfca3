/*
 * Known commands: see the header.
 */
#include "core/known.h"

#include "base/text.h"

/* ---- Finding ------------------------------------------------------------------------------- */

/* False: there is no room for it, or it holds what no name does. */
static bool put_word(char name[GAVEL__KNOWN_NAME_SIZE], size_t *size, gavel_bytes word)
{
    if (word.size == 0 || word.size >= GAVEL__KNOWN_NAME_SIZE - *size)
        return false;
    for (size_t i = 0; i < word.size; i++) {
        char c = word.data[i];
        if (c == '|' || c == '\0')
            return false;
        name[(*size)++] = (char)(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
    }
    name[*size] = '\0';
    return true;
}

bool gavel__known_name(
    const gavel_bytes *words, size_t n_words, char ret_name[GAVEL__KNOWN_NAME_SIZE])
{
    size_t size = 0;
    for (size_t i = 0; i < n_words; i++) {
        if (i > 0)
            ret_name[size++] = '|';
        if (size == GAVEL__KNOWN_NAME_SIZE || !put_word(ret_name, &size, words[i]))
            return false;
    }
    return true;
}

const gavel__known *gavel__known_row(const char *name)
{
    size_t low = 0;
    size_t high = gavel__n_known_rows;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(name, gavel__known_rows[middle].name);
        if (order == 0)
            return &gavel__known_rows[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const gavel__known *gavel__known_find(const gavel_bytes *args, size_t n_args)
{
    char name[GAVEL__KNOWN_NAME_SIZE];
    if (!gavel__known_name(args, 1, name))
        return NULL;
    const gavel__known *known = gavel__known_row(name);
    if (known == NULL || (known->does & GAVEL__KNOWN_HAS_SUBCOMMANDS) == 0)
        return known;
    return n_args > 1 && gavel__known_name(args, 2, name) ? gavel__known_row(name) : NULL;
}

/* ---- Keys ---------------------------------------------------------------------------------- */

/* As the server compares: for it an argument such as "STORE\0x" ends at its NUL, and is STORE. */
static bool is_word(const gavel__command *command, size_t i, const char *word)
{
    if (i >= command->n_args)
        return false;
    gavel_bytes arg = command->args[i];
    const char *nul = arg.size > 0 ? memchr(arg.data, '\0', arg.size) : NULL;
    if (nul != NULL)
        arg.size = (size_t)(nul - arg.data);
    return gavel__bytes_equal_nocase(arg, gavel_str(word));
}

/* Keys that stand side by side, but for steps. */
static void set_row(gavel__command *command, size_t first, size_t n_keys, size_t step)
{
    command->first_key = (uint32_t)first;
    command->n_keys = (uint32_t)n_keys;
    command->key_step = (uint32_t)step;
}

static void add_other(gavel__command *command, size_t place)
{
    command->other_key = (uint32_t)place;
    command->n_keys++;
}

static const char too_few[] = "too few arguments for the command's keys";

static const char *row(const gavel__known *known, gavel__command *command)
{
    size_t first = (size_t)known->at[0];
    size_t step = (size_t)known->at[2];
    size_t from_end = known->at[1] < 0 ? (size_t)-known->at[1] : 0;
    if (from_end > command->n_args)
        return too_few;
    size_t last = from_end > 0 ? command->n_args - from_end : (size_t)known->at[1];
    if (last < first || last >= command->n_args)
        return too_few;
    set_row(command, first, (last - first) / step + 1, step);
    return NULL;
}

static const char *counted(const gavel__known *known, gavel__command *command)
{
    size_t place = (size_t)known->at[0];
    int64_t n_keys = 0;
    if (place >= command->n_args)
        return too_few;
    if (!gavel__parse_int(command->args[place], &n_keys) || n_keys < 0)
        return "the command's number of keys is none";
    if ((uint64_t)n_keys > command->n_args - place - 1)
        return too_few;
    set_row(command, place + 1, (size_t)n_keys, 1);
    if (known->at[1] != 0)
        add_other(command, (size_t)known->at[1]);
    return NULL;
}

/* COUNT n, BLOCK ms, GROUP name consumer and NOACK stand before STREAMS, in any order. */
static const char *streams(gavel__command *command, unsigned *does)
{
    bool blocks = false;
    size_t i = 1;
    while (i < command->n_args && !is_word(command, i, "STREAMS")) {
        blocks = blocks || is_word(command, i, "BLOCK");
        bool has_value = is_word(command, i, "COUNT") || is_word(command, i, "BLOCK");
        i += is_word(command, i, "GROUP") ? 3 : has_value ? 2 : 1;
    }
    if (i + 2 >= command->n_args)
        return too_few;
    set_row(command, i + 1, (command->n_args - i - 1) / 2, 1);
    if (!blocks)
        *does &= ~(unsigned)GAVEL__KNOWN_BLOCKS;
    return NULL;
}

/* The source is the first argument; where the result goes, if anywhere, is known by now. */
static const char *source_and(gavel__command *command, size_t destination, unsigned *does)
{
    set_row(command, 1, 1, 1);
    if (destination > 0)
        add_other(command, destination);
    else
        *does = (*does & ~(unsigned)GAVEL__KNOWN_WRITES) | GAVEL__KNOWN_READS;
    return NULL;
}

static const char *store(const gavel__known *known, gavel__command *command, unsigned *does)
{
    size_t destination = 0;
    for (size_t i = (size_t)known->at[0]; i + 1 < command->n_args; i++) {
        if (is_word(command, i, "STORE") || is_word(command, i, "STOREDIST"))
            destination = ++i;
    }
    return command->n_args > 1 ? source_and(command, destination, does) : too_few;
}

/* LIMIT offset count, BY pattern, GET pattern, STORE destination; the last STORE counts. */
static const char *sort(const gavel__known *known, gavel__command *command, unsigned *does)
{
    size_t destination = 0;
    for (size_t i = (size_t)known->at[0]; i + 1 < command->n_args; i++) {
        if (is_word(command, i, "LIMIT")) {
            i += 2;
        } else if (is_word(command, i, "STORE")) {
            destination = ++i;
        } else if (is_word(command, i, "BY") || is_word(command, i, "GET")) {
            i++;
            if (memchr(command->args[i].data, '*', command->args[i].size) != NULL)
                *does |= GAVEL__KNOWN_READS_UNNAMED;
        }
    }
    return command->n_args > 1 ? source_and(command, destination, does) : too_few;
}

/* DB database and REPLACE stand behind the keys, in any order. */
static const char *copy(const gavel__known *known, gavel__command *command, unsigned *does)
{
    for (size_t i = (size_t)known->at[1] + 1; i < command->n_args; i++) {
        if (is_word(command, i, "DB"))
            *does |= GAVEL__KNOWN_WRITES_UNNAMED;
    }
    return row(known, command);
}

unsigned gavel__known_resolve(
    const gavel__known *known, gavel__command *command, const char **ret_fault)
{
    unsigned does = known->does;
    const char *fault = NULL;
    switch ((gavel__known_keys)known->keys) {
    case GAVEL__KEYS_NONE:
        break;
    case GAVEL__KEYS_ROW:
        fault = row(known, command);
        break;
    case GAVEL__KEYS_COUNTED:
        fault = counted(known, command);
        break;
    case GAVEL__KEYS_STREAMS:
        fault = streams(command, &does);
        break;
    case GAVEL__KEYS_STORE:
        fault = store(known, command, &does);
        break;
    case GAVEL__KEYS_SORT:
        fault = sort(known, command, &does);
        break;
    case GAVEL__KEYS_COPY:
        fault = copy(known, command, &does);
        break;
    }
    if (fault == NULL)
        return does;
    *ret_fault = fault;
    return 0;
}
