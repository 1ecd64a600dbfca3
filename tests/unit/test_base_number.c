/*
 * Doubles as text: what is read as one, that each reads back as it was, and that the program's
 * locale does not matter.
 */
#include "base/number.h"

#include "base/random.h"
#include "base/text.h"

#include <criterion/criterion.h>
#include <float.h>
#include <locale.h>
#include <math.h>
#include <string.h>

static void reads_as(const char *text, double value)
{
    double found = -99;
    cr_assert(gavel__parse_double(gavel_str(text), &found), "%s", text);
    cr_assert(found == value, "%s: %g", text, found);
}

static void is_none(gavel_bytes text)
{
    double found = -99;
    cr_assert_not(gavel__parse_double(text, &found), "%.*s", (int)text.size, text.data);
    cr_assert(found == -99);
}

/* As string2d of Redis 7.0 has it. */
Test(base_number, doubles_are_read_as_by_redis)
{
    reads_as("0", 0);
    reads_as("12", 12);
    reads_as("-12.5", -12.5);
    reads_as("+1", 1);
    reads_as("1e3", 1000);
    reads_as(".5", 0.5);
    reads_as("007", 7);
    reads_as("inf", INFINITY);
    reads_as("-inf", -INFINITY);
    reads_as("0x10", 16);
    static const char *const wrong[] = {
        "", " 1", "1 ", "\t1", "1,5", "1.5x", "nan", "-nan", "1e999", "1e-999", "one", "--1", "."};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        is_none(gavel_str(wrong[i]));
    is_none((gavel_bytes){"1\0002", 3});
    is_none((gavel_bytes){NULL, 0});
}

Test(base_number, a_number_of_any_length_is_read_or_refused)
{
    char text[4000];
    memset(text, '0', sizeof(text));
    text[1] = '.';
    for (size_t size = 3; size <= sizeof(text); size += 7) {
        double value = -99;
        bool is_read = gavel__parse_double((gavel_bytes){text, size}, &value);
        cr_assert(is_read ? value == 0 : value == -99);
        cr_assert(is_read || size > 1000);
    }
}

static void comes_back(double value)
{
    char text[GAVEL__DOUBLE_SIZE];
    double found = -99;
    cr_assert(gavel__format_double(value, text));
    cr_assert(gavel__parse_double(gavel_str(text), &found), "%s", text);
    cr_assert(memcmp(&found, &value, sizeof(value)) == 0, "%s: %.17g", text, value);
}

static void is_written(double value, const char *expected)
{
    char text[GAVEL__DOUBLE_SIZE];
    cr_assert(gavel__format_double(value, text));
    cr_assert_str_eq(text, expected);
}

Test(base_number, each_double_comes_back_exactly)
{
    static const double some[] = {0, -0.0, 1, -1, 0.1, 1.0 / 3, 1e22, 1e23, DBL_MAX, -DBL_MAX,
        DBL_MIN, DBL_EPSILON, INFINITY, -INFINITY, 9007199254740993.0, 123456789.123456789};
    for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++)
        comes_back(some[i]);
    gavel__random random;
    gavel__random_seed(&random, 7);
    for (size_t i = 0; i < 20000; i++) {
        uint64_t bits = gavel__random_next(&random);
        double value;
        memcpy(&value, &bits, sizeof(value));
        if (isnormal(value))
            comes_back(value);
    }
    is_written(0.1, "0.1");
    is_written(-12.5, "-12.5");
    is_written(100, "100");
    is_written(INFINITY, "inf");
    is_written(0, "0");
    is_written(-0.0, "-0");
    is_written(DBL_TRUE_MIN, "5e-324");
    is_written(1e-310, "1e-310");
    char text[GAVEL__DOUBLE_SIZE];
    cr_assert_not(gavel__format_double(NAN, text));
}

/* Where one with a comma is installed. */
Test(base_number, the_locale_does_not_matter)
{
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "de_DE"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        (void)setlocale(LC_ALL, names[i]);
    reads_as("0.5", 0.5);
    is_none(GAVEL_STR("0,5"));
    is_written(0.5, "0.5");
}

Test(base_number, a_sum_that_does_not_fit_is_none)
{
    int64_t sum = 7;
    cr_assert(gavel__add_ints(INT64_MAX - 1, 1, &sum));
    cr_assert_eq(sum, INT64_MAX);
    cr_assert(gavel__add_ints(INT64_MIN, INT64_MAX, &sum));
    cr_assert_eq(sum, -1);
    cr_assert(gavel__add_ints(-1, INT64_MIN + 1, &sum));
    cr_assert_eq(sum, INT64_MIN);
    sum = 7;
    cr_assert_not(gavel__add_ints(INT64_MAX, 1, &sum));
    cr_assert_not(gavel__add_ints(INT64_MIN, -1, &sum));
    cr_assert_not(gavel__add_ints(-1, INT64_MIN, &sum));
    cr_assert_eq(sum, 7);
}
