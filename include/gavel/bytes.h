/*
 * Bytes: how keys, fields, values and arguments are passed.
 *
 * A gavel_bytes is a pointer and a length. It may hold any byte, NUL too, is never terminated
 * by one, and owns nothing: each function says how long it looks at the memory.
 */
#ifndef GAVEL_BYTES_H
#define GAVEL_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gavel_bytes {
    const char *data; /* NULL is no value, but "none" where a function says so; else INVALID */
    size_t size;      /* in bytes */
} gavel_bytes;

/* The bytes of a string literal, without its NUL. Costs nothing at run time. */
#ifdef __cplusplus
#define GAVEL_STR(literal) (gavel_bytes{"" literal, sizeof(literal) - 1})
#else
#define GAVEL_STR(literal) ((gavel_bytes){"" literal, sizeof(literal) - 1})
#endif

/*
 * The same, as an initializer: static const gavel_bytes ITEMS = GAVEL_BYTES_INIT("items"); What is
 * made before the program starts must not be a compound literal, as GAVEL_STR is.
 */
#define GAVEL_BYTES_INIT(literal)                                                                  \
    {                                                                                              \
        "" literal, sizeof(literal) - 1                                                            \
    }

/* The bytes of a NUL-terminated string, which must outlive the result. NULL gives no
 * value: data NULL, as of getenv. */
static inline gavel_bytes gavel_str(const char *string)
{
    gavel_bytes bytes = {string, string != NULL ? strlen(string) : 0};
    return bytes;
}

#ifdef __cplusplus
}
#endif

#endif
