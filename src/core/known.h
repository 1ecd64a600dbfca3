/*
 * Known commands: what the server's commands do, and which of their arguments are keys. Used by
 * lore.c, commands.c and transaction.c; the rows are made by tools/command_table.
 */
#ifndef GAVEL__KNOWN_H
#define GAVEL__KNOWN_H

#include "core/commands.h"

/* What a command does. */
enum {
    GAVEL__KNOWN_READS = 1 << 0,  /* only tells something */
    GAVEL__KNOWN_WRITES = 1 << 1, /* keys */
    GAVEL__KNOWN_ACTS = 1 << 2,   /* takes effect in other ways, or may: PUBLISH, EVAL */
    GAVEL__KNOWN_BLOCKS = 1 << 3, /* waits, though not inside MULTI */
    GAVEL__KNOWN_STEERS = 1 << 4, /* the connection, transaction or server; or not in MULTI */
    GAVEL__KNOWN_READS_UNNAMED = 1 << 5,  /* keys that are not among its arguments: KEYS, SCAN */
    GAVEL__KNOWN_WRITES_UNNAMED = 1 << 6, /* likewise: FLUSHALL, MOVE */
    GAVEL__KNOWN_HAS_SUBCOMMANDS = 1 << 7 /* they have rows of their own: "OBJECT|ENCODING" */
};

typedef enum gavel__known_keys {
    GAVEL__KEYS_NONE,
    GAVEL__KEYS_ROW,     /* first, last (from the end if negative), step */
    GAVEL__KEYS_COUNTED, /* so many as the argument [0] says follow it; and the one at [1], if any
                          */
    GAVEL__KEYS_STREAMS, /* the first half of what follows STREAMS */
    GAVEL__KEYS_STORE,   /* the first; and what follows the last STORE or STOREDIST from [0] on */
    GAVEL__KEYS_SORT,    /* likewise STORE, from [0] on; BY and GET read others */
    GAVEL__KEYS_COPY     /* as ROW; with DB it writes in another database */
} gavel__known_keys;

#define GAVEL__KNOWN_NAME_SIZE 30

typedef struct gavel__known {
    char name[GAVEL__KNOWN_NAME_SIZE]; /* in capitals */
    uint8_t does;                      /* the flags above */
    uint8_t keys;                      /* a gavel__known_keys, */
    int8_t at[3];                      /* and where */
} gavel__known;

/* By name. */
extern const gavel__known gavel__known_rows[];
extern const size_t gavel__n_known_rows;

/* Words as the rows have them: in capitals, parted by '|'. False: longer than any row may be, or no
 * name at all. */
bool gavel__known_name(
    const gavel_bytes *words, size_t n_words, char ret_name[GAVEL__KNOWN_NAME_SIZE]);

/* The row of that name; NULL: none. */
const gavel__known *gavel__known_row(const char *name);

/* NULL: not known. */
const gavel__known *gavel__known_find(const gavel_bytes *args, size_t n_args);

/*
 * Fills in the command's keys. Returns what the command does with these arguments: SORT writes only
 * with STORE. 0: they do not fit; `ret_fault`, a literal, says why.
 */
unsigned gavel__known_resolve(
    const gavel__known *known, gavel__command *command, const char **ret_fault);

#endif
