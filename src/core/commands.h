/*
 * Commands: how the typed reads are written, and which commands a body may not use.
 */
#ifndef GAVEL__COMMANDS_H
#define GAVEL__COMMANDS_H

#include <gavel/transaction.h>

/* GET key and HGET key field, their arguments in `storage`. */
gavel_command gavel__command_get(gavel_bytes storage[3], gavel_bytes key);
gavel_command gavel__command_hget(gavel_bytes storage[3], gavel_bytes key, gavel_bytes field);

/*
 * Whether it is a control command: about the connection or the transaction, not the data (WATCH,
 * EXEC, SELECT, SUBSCRIBE ...): gavel owns these, and one of them from a body would undo its
 * guarantees.
 */
bool gavel__command_is_control(gavel_bytes name);

/* How GET and SET of a key begin on the wire; their arguments follow. */
extern const gavel_bytes gavel__get_head;
extern const gavel_bytes gavel__set_head;

#endif
