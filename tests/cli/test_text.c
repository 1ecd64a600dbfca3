/* The command's text: names of any bytes, durations, fields, records. */
#include "cli/record.h"
#include "cli/text.h"

#include <criterion/criterion.h>

static void expect_shown(const char *name, const char *shown, size_t width)
{
    char text[256] = "";
    FILE *out = fmemopen(text, sizeof(text), "w");
    cr_assert_not_null(out);
    cr_expect_eq(cli_print_name(out, gavel_str(name)), width, "%s", shown);
    fclose(out);
    cr_expect_str_eq(text, shown);
}

Test(text, names)
{
    expect_shown("", "", 0);
    expect_shown("report:7 ~", "report:7 ~", 10);
    expect_shown("a\\b", "a\\\\b", 4);
    expect_shown("a\tb\x7f", "a\\x09b\\x7f", 10);
    expect_shown("\xc3\xbc", "\xc3\xbc", 1);
    expect_shown("\xe2\x82\xac!", "\xe2\x82\xac!", 2);
    expect_shown("\xe2\x80\x93", "\xe2\x80\x93", 1); /* a dash, next to controls */
    expect_shown("\xf0\x9f\x94\x92", "\xf0\x9f\x94\x92", 1);
}

Test(text, what_is_no_utf8_is_shown_byte_by_byte)
{
    expect_shown("\xc3", "\\xc3", 4);
    expect_shown("\xc3(", "\\xc3(", 5);
    expect_shown("\xe2\x82", "\\xe2\\x82", 8);
    expect_shown("\xc0\xaf", "\\xc0\\xaf", 8);           /* overlong */
    expect_shown("\xe0\x80\xaf", "\\xe0\\x80\\xaf", 12); /* overlong */
    expect_shown("\xed\xa0\x80", "\\xed\\xa0\\x80", 12); /* a surrogate */
    expect_shown("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80", 16);
    expect_shown("\xc2\x9b", "\\xc2\\x9b", 8);           /* a control character */
    expect_shown("\xe2\x80\xae", "\\xe2\\x80\\xae", 12); /* turns what follows around */
}

Test(text, durations)
{
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {{-5, "0ms"}, {0, "0ms"}, {999, "999ms"}, {1000, "1.0s"}, {59999, "59.9s"},
        {60000, "1m00s"}, {3599999, "59m59s"}, {3600000, "1h00m"}, {86399999, "23h59m"},
        {86400000, "1d00h"}, {INT64_MAX, "106751991167d07h"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[CLI_DURATION_SIZE];
        cr_expect_str_eq(cli_format_ms(cases[i].ms, text), cases[i].text);
    }
}

static void expect_field(const char *line, const char *label, const char *value)
{
    gavel_bytes field = cli_field(gavel_str(line), label);
    cr_expect_eq(field.size, strlen(value), "%s in %s", label, line);
    cr_expect_eq(memcmp(field.data, value, field.size), 0);
}

Test(text, fields)
{
    expect_field("x pid=7 y", " pid=", "7");
    expect_field("x pid=7", " pid=", "7");
    expect_field("x pid=", " pid=", "");
    expect_field("x pid", " pid=", "");
    expect_field("", " pid=", "");
}

Test(text, records)
{
    cli_holder lock = cli_read_record(
        GAVEL_STR("0123456789abcdef0123456789abcdef fence=5 since=6 pid=7 host=web3"));
    cr_expect(!lock.is_handed_off && lock.owner.size == 32 && lock.host.size == 4);
    cr_expect(lock.fence == 5 && lock.since_ms == 6 && lock.pid == 7);
    cr_expect(cli_read_record(GAVEL_STR("- 0123456789abcdef0123456789abcdef")).is_handed_off);
    cli_holder odd = cli_read_record(GAVEL_STR("x fence=-5 since=1e9 pid=99999999999999999999"));
    cr_expect(odd.owner.size == 32 && odd.fence == -1 && odd.since_ms == -1 && odd.pid == -1);
    cr_expect_eq(cli_read_record(GAVEL_STR("")).owner.size, 0);
    cli_holder gate = cli_read_record(GAVEL_STR("0123456789abcdef since=1000 pid=42 host=::1"));
    cr_expect(gate.pid == 42 && gate.since_ms == 1000 && gate.host.size == 3 && gate.fence == -1);
    cr_expect_eq(cli_read_record(GAVEL_STR("")).pid, -1);
}
