/*
 * Lore: what the server says, by COMMAND INFO, of commands that are not among the known ones
 * (known.h): a module's, or a newer server's. It is asked once a name, by whoever comes upon one
 * first, and again when a link was lost; where it says nothing, the caller's word stands.
 *
 * What it says is a second opinion. Flags are taken as they are. Keys may be more than it names:
 * modules are known to name the first one of many. One engine has one lore.
 */
#ifndef GAVEL__LORE_H
#define GAVEL__LORE_H

#include "base/map.h"
#include "core/known.h"

#include <gavel/reply.h>

/* Of more names, and of longer ones, the server is not asked. */
#define GAVEL__LORE_NAMES 256

typedef struct gavel__told {
    gavel__map_node node;
    bool is_there;    /* else the server does not know it either */
    gavel__known row; /* with HAS_SUBCOMMANDS nothing else is told of it */
} gavel__told;

typedef struct gavel__lore {
    const gavel_allocator *allocator; /* borrowed */
    gavel__map told;                  /* by the name, in capitals, as rows have it */
    bool is_refused;                  /* we may not ask */
} gavel__lore;

void gavel__lore_init(gavel__lore *lore, const gavel_allocator *allocator, uint64_t seed);
void gavel__lore_finish(gavel__lore *lore);

/* A link was lost: the server may be a newer one now, or have other modules, and is asked anew. */
void gavel__lore_forget(gavel__lore *lore);

/* What the server has said of a command that is not known; NULL: nothing. */
const gavel__told *gavel__lore_find(
    const gavel__lore *lore, const gavel_bytes *args, size_t n_args);

/* Whether the server is to be asked of one of which nothing is found. */
bool gavel__lore_asks(const gavel__lore *lore, const gavel_bytes *args, size_t n_args);

/* COMMAND INFO name, its arguments in `storage`. */
gavel__command gavel__lore_question(gavel_bytes storage[3], gavel_bytes name);

/* Takes the reply to it. Without memory nothing is found of the command still. */
void gavel__lore_learn(
    gavel__lore *lore, const gavel_bytes *args, size_t n_args, const gavel_reply *reply);

#endif
