/*
 * For the tests of questions: one that says its text, and notes what became of it.
 */
#ifndef ASKER_H
#define ASKER_H

#include "stage.h"

typedef struct asker {
    gavel__question question;
    gavel__questions *questions;
    const char *commands; /* parted by " / "; "" for nothing */
    size_t n_times;       /* to be asked again from inside what comes back */
    size_t n_writes;      /* what happened */
    char answers[256];    /* "0:OK 1:nil " */
    size_t n_losses;
    bool was_sent;
    bool is_final;
} asker;

asker asker_init(const char *commands);

void asks(stage *s, asker *a);

#endif
