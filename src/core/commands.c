/*
 * Commands: see the header.
 */
#include "core/commands.h"

#include "base/memory.h"
#include "base/text.h"

const gavel_bytes gavel__get_head = {"*2\r\n$3\r\nGET\r\n", 13};
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

bool gavel__command_is_control(gavel_bytes name)
{
    static const char *const control[] = {"WATCH", "UNWATCH", "MULTI", "EXEC", "DISCARD", "SELECT",
        "AUTH", "HELLO", "RESET", "QUIT", "CLIENT", "MONITOR", "SUBSCRIBE", "PSUBSCRIBE",
        "SSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE", "SYNC", "PSYNC", "REPLCONF",
        "ASKING", "READONLY", "READWRITE", "SHUTDOWN", "SWAPDB", "WAIT", "WAITAOF", "FAILOVER",
        "REPLICAOF", "SLAVEOF", "DEBUG"};
    for (size_t i = 0; i < sizeof(control) / sizeof(control[0]); i++) {
        if (gavel__bytes_equal_nocase(name, gavel_str(control[i])))
            return true;
    }
    return false;
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

/* What the caller says of the keys. False: there are no such arguments. */
static bool take_description(const gavel_command *command, gavel__command *ret_command)
{
    if (command->n_keys == GAVEL_NO_KEYS)
        return true;
    size_t first_key = command->first_key > 0 ? command->first_key : 1;
    size_t n_keys = command->n_keys > 0 ? command->n_keys : 1;
    if (command->n_args <= first_key || n_keys > command->n_args - first_key)
        return false;
    ret_command->first_key = (uint32_t)first_key;
    ret_command->n_keys = (uint32_t)n_keys;
    ret_command->key_step = 1;
    return true;
}

static bool refuse(char ret_message[GAVEL_MESSAGE_SIZE], const char *what, gavel_bytes name)
{
    char printable[96];
    gavel__format(ret_message, GAVEL_MESSAGE_SIZE, "%s: \"%s\"", what,
        gavel__printable(name, printable, sizeof(printable)));
    return false;
}

bool gavel__command_resolve(const gavel_command *command, gavel__command_use use,
    gavel__command *ret_command, char ret_message[GAVEL_MESSAGE_SIZE])
{
    gavel__command resolved = {.args = command->args, .n_args = command->n_args};
    if (command->args == NULL || command->n_args == 0) {
        gavel__format(
            ret_message, GAVEL_MESSAGE_SIZE, "the command has too few arguments: no name");
        return false;
    }
    if (!GAVEL__HAS_CLEAN_ROOM(command))
        return refuse(ret_message, "the command's " GAVEL__UNCLEAN_ROOM, command->args[0]);
    if (command->n_args > UINT32_MAX)
        return refuse(ret_message, "the command has too many arguments", command->args[0]);
    if (use != GAVEL__USE_LOCKED && gavel__command_is_control(command->args[0]))
        return refuse(ret_message, "not a command for a body", command->args[0]);
    if (!take_description(command, &resolved))
        return refuse(ret_message, "too few arguments for the command's keys", command->args[0]);
    *ret_command = resolved;
    return true;
}
