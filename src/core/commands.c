/*
 * Commands: see the header.
 */
#include "core/commands.h"

#include "base/text.h"

const gavel_bytes gavel__get_head = {"*2\r\n$3\r\nGET\r\n", 13};
const gavel_bytes gavel__set_head = {"*3\r\n$3\r\nSET\r\n", 13};

gavel_command gavel__command_get(gavel_bytes storage[3], gavel_bytes key)
{
    storage[0] = GAVEL_STR("GET");
    storage[1] = key;
    return (gavel_command){.args = storage, .n_args = 2, .first_key = 1, .n_keys = 1};
}

gavel_command gavel__command_hget(gavel_bytes storage[3], gavel_bytes key, gavel_bytes field)
{
    storage[0] = GAVEL_STR("HGET");
    storage[1] = key;
    storage[2] = field;
    return (gavel_command){.args = storage, .n_args = 3, .first_key = 1, .n_keys = 1};
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
