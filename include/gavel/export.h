/* What marks a function as part of gavel's public interface. Included by the other headers. */
#ifndef GAVEL_EXPORT_H
#define GAVEL_EXPORT_H

#if defined(__GNUC__)
#define GAVEL_EXPORT __attribute__((visibility("default")))
#else
#define GAVEL_EXPORT
#endif

#endif
