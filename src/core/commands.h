/*
 * Commands: which of their arguments are keys, how the typed reads are written, and which commands
 * a body may not use.
 */
#ifndef GAVEL__COMMANDS_H
#define GAVEL__COMMANDS_H

#include <gavel/outcome.h>
#include <gavel/transaction.h>

/*
 * A command whose keys are known. They need not stand side by side: MSET's are every other
 * argument, and ZUNIONSTORE's first one stands before the number of the rest. Hence all that uses
 * keys asks gavel__command_key.
 */
typedef struct gavel__command {
    const gavel_bytes *args; /* borrowed */
    size_t n_args;
    uint32_t n_keys;    /* 0: it has none, like TIME or PUBLISH */
    uint32_t first_key; /* the arguments first_key, first_key + key_step, ... */
    uint32_t key_step;
    uint32_t other_key; /* the last one of them stands here instead; 0: all stand in the row */
} gavel__command;

/* The argument that is the i-th of its n_keys keys. The same key may come twice. */
static inline const gavel_bytes *gavel__command_place(const gavel__command *command, size_t i)
{
    bool is_apart = command->other_key != 0 && i + 1 == command->n_keys;
    return &command
                ->args[is_apart ? command->other_key : command->first_key + i * command->key_step];
}

static inline gavel_bytes gavel__command_key(const gavel__command *command, size_t i)
{
    return *gavel__command_place(command, i);
}

/* What names it for people: its first key, or, if it has none, its name. */
static inline gavel_bytes gavel__command_subject(const gavel__command *command)
{
    return command->n_keys > 0 ? gavel__command_key(command, 0) : command->args[0];
}

/* Room for a command as people read it. */
#define GAVEL__COMMAND_TEXT_SIZE 96

/* For messages: its name and its first key, in `storage`. */
const char *gavel__command_text(
    const gavel__command *command, char storage[GAVEL__COMMAND_TEXT_SIZE]);

/* Says that argument `i` is NULL. */
void gavel__command_tell_missing(
    const gavel__command *command, size_t i, char ret_message[GAVEL_MESSAGE_SIZE]);

/*
 * Whether each argument is there: none is NULL, which is a value that the caller has not looked at,
 * not an empty one. Else the message names the command and its first argument.
 */
static inline bool gavel__command_is_whole(
    const gavel__command *command, char ret_message[GAVEL_MESSAGE_SIZE])
{
    for (size_t i = 0; i < command->n_args; i++) {
        if (command->args[i].data == NULL) {
            gavel__command_tell_missing(command, i, ret_message);
            return false;
        }
    }
    return true;
}

/* Who wants to use a command. */
typedef enum gavel__command_use {
    GAVEL__USE_READ,     /* a declared read, or gavel_query */
    GAVEL__USE_SNAPSHOT, /* likewise, in a transaction that only reads */
    GAVEL__USE_WRITE,
    GAVEL__USE_LOCKED /* under a lock: it may read or write */
} gavel__command_use;

struct gavel__lore;

/* What a command is resolved for. */
typedef struct gavel__purpose {
    gavel__command_use use;
    const struct gavel__lore *lore; /* borrowed; NULL: what the server says is not asked for */
    bool is_cluster;                /* each server has a part of the keys */
} gavel__purpose;

typedef enum gavel__resolution {
    GAVEL__RESOLVED,
    GAVEL__UNASKED, /* gavel does not know it: the server is to be asked first; see lore.h */
    GAVEL__REFUSED  /* it is not one for this use, or what the caller says cannot be */
} gavel__resolution;

/*
 * Finds the command's keys: those of the server's commands are known (known.h), and only of others
 * the caller has to say. The arguments stay the caller's. *ret_command is set if it is RESOLVED,
 * `ret_message` if REFUSED.
 */
gavel__resolution gavel__command_resolve(const gavel_command *command,
    const gavel__purpose *purpose, gavel__command *ret_command,
    char ret_message[GAVEL_MESSAGE_SIZE]);

/* GET key, HGET key field and PTTL key, their arguments in `storage`. */
gavel__command gavel__command_get(gavel_bytes storage[3], gavel_bytes key);
gavel__command gavel__command_hget(gavel_bytes storage[3], gavel_bytes key, gavel_bytes field);
gavel__command gavel__command_pttl(gavel_bytes storage[3], gavel_bytes key);

/* How GET, PTTL and SET of a key begin on the wire; their arguments follow. */
extern const gavel_bytes gavel__get_head;
extern const gavel_bytes gavel__pttl_head;
extern const gavel_bytes gavel__set_head;

#endif
