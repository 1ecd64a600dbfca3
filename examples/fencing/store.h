/*
 * A store outside Redis: one file, which remembers the largest fencing number it has seen and
 * refuses a write that comes with a smaller one. That check is all that fencing asks of a store,
 * and it is what makes a lock safe whose holder may be stopped at any moment.
 */
#ifndef FENCING_STORE_H
#define FENCING_STORE_H

#include <stdbool.h>
#include <stdint.h>

typedef enum store_answer { STORE_WRITTEN, STORE_REFUSED, STORE_FAILED } store_answer;

/* Writes a text of at most STORE_TEXT_MAX bytes, unless a later grant has written already. Any
 * process; the check and the write are one step. FAILED sets errno. */
#define STORE_TEXT_MAX 200
store_answer store_write(const char *path, int64_t fence, const char *text);

/* Reads what was written last; false, with errno set, if there is nothing. */
bool store_read(const char *path, int64_t *ret_fence, char ret_text[STORE_TEXT_MAX + 1]);

#endif
