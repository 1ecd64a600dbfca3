/*
 * What marks a function as part of gavel's public interface, and one that takes a format as printf
 * does, for the compiler to check. Included by the other headers.
 */
#ifndef GAVEL_EXPORT_H
#define GAVEL_EXPORT_H

#if defined(__GNUC__)
#define GAVEL_EXPORT __attribute__((visibility("default")))
#define GAVEL_PRINTF(format, first) __attribute__((__format__(__printf__, format, first)))
#else
#define GAVEL_EXPORT
#define GAVEL_PRINTF(format, first)
#endif

#endif
