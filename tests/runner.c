/*
 * For the address sanitizer, in every Criterion program: leaks count in the processes that run a
 * test, and not in the one that starts them. That one has only Criterion's own memory, and at its
 * end a thread of its timer may hold some yet.
 */
#include <errno.h>
#include <string.h>

int __lsan_is_turned_off(void);

__attribute__((visibility("default"))) int __lsan_is_turned_off(void)
{
    return strcmp(program_invocation_short_name, "boxfort-worker") != 0;
}
