/*
 * Commands: see the header.
 */
#include "core/commands.h"

#include "base/memory.h"
#include "base/text.h"
#include "core/lore.h"

const gavel_bytes gavel__get_head = {"*2\r\n$3\r\nGET\r\n", 13};
const gavel_bytes gavel__pttl_head = {"*2\r\n$4\r\nPTTL\r\n", 14};
const gavel_bytes gavel__set_head = {"*3\r\n$3\r\nSET\r\n", 13};

gavel__command gavel__command_get(gavel_bytes storage[3], gavel_bytes key)
{
    storage[0] = GAVEL_STR("GET");
    storage[1] = key;
    return (gavel__command){
        .args = storage, .n_args = 2, .n_keys = 1, .first_key = 1, .key_step = 1};
}

gavel__command gavel__command_hget(gavel_bytes storage[3], gavel_bytes key, gavel_bytes field)
{
    storage[0] = GAVEL_STR("HGET");
    storage[1] = key;
    storage[2] = field;
    return (gavel__command){
        .args = storage, .n_args = 3, .n_keys = 1, .first_key = 1, .key_step = 1};
}

gavel__command gavel__command_pttl(gavel_bytes storage[3], gavel_bytes key)
{
    storage[0] = GAVEL_STR("PTTL");
    storage[1] = key;
    return (gavel__command){
        .args = storage, .n_args = 2, .n_keys = 1, .first_key = 1, .key_step = 1};
}

/* ---- Keys ---------------------------------------------------------------------------------- */

const char *gavel__command_text(
    const gavel__command *command, char storage[GAVEL__COMMAND_TEXT_SIZE])
{
    char name[24];
    char key[64];
    gavel__printable(command->args[0], name, sizeof(name));
    if (command->n_keys == 0)
        gavel__format(storage, GAVEL__COMMAND_TEXT_SIZE, "%s", name);
    else
        gavel__format(storage, GAVEL__COMMAND_TEXT_SIZE, "%s \"%s\"", name,
            gavel__printable(gavel__command_key(command, 0), key, sizeof(key)));
    return storage;
}

void gavel__command_tell_missing(
    const gavel__command *command, size_t i, char ret_message[GAVEL_MESSAGE_SIZE])
{
    /* Mostly its first argument is its key. */
    gavel__command readable = {
        .args = command->args, .n_keys = i > 1, .first_key = 1, .key_step = 1};
    char text[GAVEL__COMMAND_TEXT_SIZE];
    gavel__format(ret_message, GAVEL_MESSAGE_SIZE,
        "%s: argument %zu is NULL (an empty one is GAVEL_STR(\"\"))",
        i > 0 ? gavel__command_text(&readable, text) : "a command", i);
}

static bool refuse(char ret_message[GAVEL_MESSAGE_SIZE], const char *what, gavel_bytes name)
{
    char printable[96];
    gavel__format(ret_message, GAVEL_MESSAGE_SIZE, "%s: \"%s\"", what,
        gavel__printable(name, printable, sizeof(printable)));
    return false;
}

/* What the caller says of a command's keys, if anything. False: there are no such arguments. */
static bool take_description(const gavel_command *command, gavel__command *ret_command)
{
    if (command->n_keys == GAVEL_NO_KEYS)
        return true;
    size_t first_key = command->first_key > 0 ? command->first_key : 1;
    if (command->n_args <= first_key || command->n_keys > command->n_args - first_key)
        return false;
    ret_command->first_key = (uint32_t)first_key;
    ret_command->n_keys = (uint32_t)command->n_keys;
    ret_command->key_step = 1;
    return true;
}

static size_t place_of_key(const gavel__command *command, size_t i)
{
    return (size_t)(gavel__command_place(command, i) - command->args);
}

static size_t first_place(const gavel__command *command)
{
    size_t first = place_of_key(command, 0);
    size_t last = place_of_key(command, command->n_keys - 1);
    return last < first ? last : first;
}

/* Whether the caller is right, as far as it says anything: 0 says nothing. */
static bool is_described_well(const gavel_command *said, const gavel__command *known)
{
    if (said->n_keys == GAVEL_NO_KEYS || known->n_keys == 0)
        return known->n_keys == 0 && (said->n_keys == GAVEL_NO_KEYS || said->n_keys == 0);
    if (said->n_keys == 0)
        return said->first_key == 0 || said->first_key == first_place(known);
    size_t first = said->first_key > 0 ? said->first_key : 1;
    if (said->n_keys != known->n_keys || first != first_place(known))
        return false;
    for (size_t i = 0; i < known->n_keys; i++) {
        if (place_of_key(known, i) - first >= known->n_keys)
            return false;
    }
    return true;
}

/* Which arguments are keys, in words. */
static void describe_keys(const gavel__command *command, char *text, size_t size)
{
    size_t n_in_row = command->n_keys - (command->other_key != 0);
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < n_in_row && i < 3; i++) {
        gavel__format(
            text + used, size - used, "%s%zu", i > 0 ? ", " : "", place_of_key(command, i));
        used = strlen(text);
    }
    if (n_in_row > 3)
        gavel__format(text + used, size - used, " to %zu", place_of_key(command, n_in_row - 1));
    used = strlen(text);
    if (command->other_key != 0)
        gavel__format(
            text + used, size - used, "%s%u", used > 0 ? " and " : "", command->other_key);
}

/* The caller says one thing of the keys, and gavel knows another, or the server does. */
static bool contradict(const gavel_command *said, const gavel__command *known, const char *who,
    char ret_message[GAVEL_MESSAGE_SIZE])
{
    char name[24];
    char places[64] = "none";
    char claim[64] = "none";
    if (known->n_keys > 0)
        describe_keys(known, places, sizeof(places));
    if (said->n_keys == 0)
        gavel__format(claim, sizeof(claim), "from %zu on", said->first_key);
    else if (said->n_keys != GAVEL_NO_KEYS)
        gavel__format(claim, sizeof(claim), "%zu from %zu on", said->n_keys,
            said->first_key > 0 ? said->first_key : 1);
    gavel__format(ret_message, GAVEL_MESSAGE_SIZE,
        "the keys of \"%s\" are arguments %s%s, and first_key and n_keys say: %s",
        gavel__printable(known->args[0], name, sizeof(name)), places, who, claim);
    return false;
}

/* ---- Uses ---------------------------------------------------------------------------------- */

/* Why a command that does this may not be used so; NULL: it may. */
static const char *objection(unsigned does, bool has_keys, const gavel__purpose *purpose)
{
    gavel__command_use use = purpose->use;
    if (does & GAVEL__KNOWN_STEERS)
        return "is no command for a body: it steers the connection, the transaction or the server";
    if (use == GAVEL__USE_WRITE)
        return does & GAVEL__KNOWN_WRITES_UNNAMED
                   ? "writes keys that it does not name, so nothing could be guarded"
                   : NULL;
    if (does & GAVEL__KNOWN_WRITES)
        return "writes, and a query would let it do so at once: use gavel_write";
    if (does & GAVEL__KNOWN_BLOCKS)
        return "blocks, and a query must not";
    if ((does & GAVEL__KNOWN_READS) == 0)
        return "takes effect, and a query would let it do so at once: use gavel_write";
    if (purpose->is_cluster && !has_keys && (does & GAVEL__KNOWN_READS_UNNAMED))
        return "tells of one server only, and in a Cluster that is not all";
    if (use == GAVEL__USE_READ && (does & GAVEL__KNOWN_READS_UNNAMED))
        return "reads keys that it does not name, so they cannot be watched: for a transaction "
               "that "
               "is_read_only";
    return NULL;
}

static bool refuse_use(
    char ret_message[GAVEL_MESSAGE_SIZE], const char *objection, gavel_bytes name)
{
    char printable[32];
    gavel__format(ret_message, GAVEL_MESSAGE_SIZE, "\"%s\" %s",
        gavel__printable(name, printable, sizeof(printable)), objection);
    return false;
}

static bool resolve_known(const gavel__known *known, const gavel__purpose *purpose,
    gavel__command *resolved, char ret_message[GAVEL_MESSAGE_SIZE])
{
    const char *fault = NULL;
    unsigned does = gavel__known_resolve(known, resolved, &fault);
    if (fault != NULL)
        return refuse(ret_message, fault, resolved->args[0]);
    bool has_keys = resolved->n_keys > 0;
    const char *why = purpose->use != GAVEL__USE_LOCKED ? objection(does, has_keys, purpose) : NULL;
    return why == NULL || refuse_use(ret_message, why, resolved->args[0]);
}

/* ---- Commands that are not known ----------------------------------------------------------- */

/* What the server says of the keys of a command that is there; none where it says nothing of these
 * arguments. */
static void hear(const gavel__told *told, const gavel_command *command, gavel__command *named)
{
    const char *fault = NULL;
    *named = (gavel__command){.args = command->args, .n_args = command->n_args};
    (void)gavel__known_resolve(&told->row, named, &fault);
}

static bool is_family(const gavel_command *command, const gavel__told *told)
{
    char name[GAVEL__KNOWN_NAME_SIZE];
    const gavel__known *row = told != NULL ? &told->row : NULL;
    if (row == NULL && gavel__known_name(command->args, 1, name))
        row = gavel__known_row(name);
    return command->n_args == 1 && row != NULL && (row->does & GAVEL__KNOWN_HAS_SUBCOMMANDS) != 0;
}

/* Not for how many keys it has, but for what it is. */
static bool is_misspelt(
    const gavel_command *command, const gavel__told *told, char ret_message[GAVEL_MESSAGE_SIZE])
{
    gavel_bytes name = command->args[0];
    const char *what = NULL;
    if (memchr(name.data, ' ', name.size) != NULL)
        what = "each word of a command is an argument of its own, and this is one";
    else if (is_family(command, told))
        what = "this is a family of commands, and the second argument says which one";
    else if (told != NULL && !told->is_there)
        what = "neither gavel nor the server knows this command";
    return what != NULL && !refuse(ret_message, what, name);
}

/* The caller does not say how many keys it has. */
static void refuse_undescribed(
    const gavel_command *command, const gavel__told *told, char ret_message[GAVEL_MESSAGE_SIZE])
{
    char what[256];
    char places[64];
    char hint[100] = "";
    gavel__command named = {.n_keys = 0};
    if (told != NULL)
        hear(told, command, &named);
    if (named.n_keys > 0) {
        describe_keys(&named, places, sizeof(places));
        gavel__format(hint, sizeof(hint), " (the server names arguments %s)", places);
    }
    gavel__format(what, sizeof(what),
        "gavel does not know this command, so n_keys must say how many keys it has, "
        "GAVEL_NO_KEYS if none%s",
        hint);
    (void)refuse(ret_message, what, command->args[0]);
}

/* Whether all keys that are named are among those described. */
static bool covers(const gavel__command *described, const gavel__command *named)
{
    for (size_t i = 0; i < named->n_keys; i++) {
        size_t place = place_of_key(named, i);
        if (place < described->first_key || place - described->first_key >= described->n_keys)
            return false;
    }
    return true;
}

/* The server need not name all keys, so more may be described; then they are what it reads and
 * writes. */
static bool suits(const gavel__told *told, const gavel__purpose *purpose,
    const gavel__command *described, char ret_message[GAVEL_MESSAGE_SIZE])
{
    unsigned does = told->row.does;
    if (described->n_keys > 0)
        does &= ~(unsigned)(GAVEL__KNOWN_READS_UNNAMED | GAVEL__KNOWN_WRITES_UNNAMED);
    const char *why = objection(does, described->n_keys > 0, purpose);
    return why == NULL || refuse_use(ret_message, why, described->args[0]);
}

static bool agrees(const gavel_command *command, const gavel__told *told,
    const gavel__command *described, char ret_message[GAVEL_MESSAGE_SIZE])
{
    gavel__command named;
    hear(told, command, &named);
    return covers(described, &named) ||
           contradict(command, &named, " (so the server says)", ret_message);
}

static gavel__resolution resolve_unknown(const gavel_command *command,
    const gavel__purpose *purpose, gavel__command *resolved, char ret_message[GAVEL_MESSAGE_SIZE])
{
    const gavel__lore *lore = purpose->lore;
    const gavel__told *told =
        lore != NULL ? gavel__lore_find(lore, command->args, command->n_args) : NULL;
    if (command->n_keys == 0 && is_misspelt(command, told, ret_message))
        return GAVEL__REFUSED;
    if (lore != NULL && told == NULL && gavel__lore_asks(lore, command->args, command->n_args))
        return GAVEL__UNASKED;
    if (command->n_keys == 0) {
        refuse_undescribed(command, told, ret_message);
        return GAVEL__REFUSED;
    }
    bool is_good =
        take_description(command, resolved) ||
        refuse(ret_message, "too few arguments for the command's keys", command->args[0]);
    if (is_good && told != NULL && told->is_there &&
        (told->row.does & GAVEL__KNOWN_HAS_SUBCOMMANDS) == 0)
        is_good = suits(told, purpose, resolved, ret_message) &&
                  agrees(command, told, resolved, ret_message);
    return is_good ? GAVEL__RESOLVED : GAVEL__REFUSED;
}

/* ---- All commands -------------------------------------------------------------------------- */

/* Whether it is there at all, with all its arguments. */
static bool is_complete(const gavel_command *command, char ret_message[GAVEL_MESSAGE_SIZE])
{
    if (command == NULL || command->args == NULL || command->n_args == 0) {
        gavel__format(ret_message, GAVEL_MESSAGE_SIZE, "%s",
            command == NULL ? "there is no command (NULL)"
                            : "the command has too few arguments: no name");
        return false;
    }
    if (!GAVEL__HAS_CLEAN_ROOM(command))
        return refuse(ret_message, "the command's " GAVEL__UNCLEAN_ROOM, command->args[0]);
    if (command->n_args > UINT32_MAX)
        return refuse(ret_message, "the command has too many arguments", command->args[0]);
    gavel__command whole = {.args = command->args, .n_args = command->n_args};
    return gavel__command_is_whole(&whole, ret_message);
}

gavel__resolution gavel__command_resolve(const gavel_command *command,
    const gavel__purpose *purpose, gavel__command *ret_command,
    char ret_message[GAVEL_MESSAGE_SIZE])
{
    if (!is_complete(command, ret_message))
        return GAVEL__REFUSED;
    gavel__command resolved = {.args = command->args, .n_args = command->n_args};
    const gavel__known *known = gavel__known_find(command->args, command->n_args);
    gavel__resolution resolution = GAVEL__RESOLVED;
    if (known == NULL)
        resolution = resolve_unknown(command, purpose, &resolved, ret_message);
    else if (!resolve_known(known, purpose, &resolved, ret_message) ||
             !(is_described_well(command, &resolved) ||
                 contradict(command, &resolved, "", ret_message)))
        resolution = GAVEL__REFUSED;
    if (resolution == GAVEL__RESOLVED)
        *ret_command = resolved;
    return resolution;
}
