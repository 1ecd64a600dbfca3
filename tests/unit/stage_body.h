/*
 * The stage's bodies: an actor's script, played as the body of its transaction. For stage.c alone.
 */
#ifndef STAGE_BODY_H
#define STAGE_BODY_H

#include "stage.h"

typedef struct word_list {
    char text[256];
    gavel_bytes args[STAGE_MAX_KEYS];
    size_t n_args;
} word_list;

/* Takes the words up to `stop` or the end; returns where it stopped. */
const char *stage_split(const char *line, const char *stop, word_list *ret_words);

/* The body; its user is the actor. */
gavel_verdict stage_play(gavel_tx *tx, void *user);

#endif
