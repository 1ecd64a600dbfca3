/*
 * Numbers: doubles as text, and printf, in C's own locale: a comma for the point would change what
 * is stored. Every layer may use it.
 */
#include "base/number.h"

#include <errno.h>
#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* More digits than any double has in full. */
#define MAX_DOUBLE_TEXT 1100

/* The thread's locale while it is C's. */
typedef struct plain_locale {
    locale_t plain;
    locale_t before;
} plain_locale;

/* Without memory the program's own stays. The common libraries have this one ready. */
static plain_locale enter_plain_locale(void)
{
    plain_locale entered = {newlocale(LC_ALL_MASK, "C", (locale_t)0), (locale_t)0};
    if (entered.plain != (locale_t)0)
        entered.before = uselocale(entered.plain);
    return entered;
}

static void leave_plain_locale(const plain_locale *entered)
{
    if (entered->plain == (locale_t)0)
        return;
    uselocale(entered->before);
    freelocale(entered->plain);
}

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

bool gavel__parse_double(gavel_bytes text, double *ret_value)
{
    char copy[MAX_DOUBLE_TEXT];
    char *end;
    if (text.size == 0 || text.size >= sizeof(copy) || is_blank(text.data[0]))
        return false;
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    int errno_before = errno;
    plain_locale entered = enter_plain_locale();
    errno = 0;
    double value = strtod(copy, &end);
    bool is_out_of_range = errno == ERANGE && (isinf(value) || value == 0);
    leave_plain_locale(&entered);
    errno = errno_before;
    if (end != copy + text.size || isnan(value) || is_out_of_range)
        return false;
    *ret_value = value;
    return true;
}

bool gavel__format_double(double value, char storage[GAVEL__DOUBLE_SIZE])
{
    if (isnan(value))
        return false;
    plain_locale entered = enter_plain_locale();
    int errno_before = errno;
    /* Fifteen digits that are enough come without their zeros; a subnormal one holds fewer. */
    int precision = fabs(value) < DBL_MIN ? 1 : 15;
    for (; precision <= 17; precision++) {
        snprintf(storage, GAVEL__DOUBLE_SIZE, "%.*g", precision, value);
        if (strtod(storage, NULL) == value)
            break;
    }
    errno = errno_before;
    leave_plain_locale(&entered);
    return true;
}

int gavel__print(char *text, size_t size, const char *format, va_list args)
{
    plain_locale entered = enter_plain_locale();
    int n = vsnprintf(text, size, format, args);
    leave_plain_locale(&entered);
    return n;
}
