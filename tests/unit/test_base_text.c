/*
 * Bytes and text: comparing, integers at their limits, messages for people, and commands as they go
 * over the wire.
 */
#include "base/resp.h"
#include "base/text.h"

#include "faulty_memory.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>

/* ---- Comparing ----------------------------------------------------------------------------- */

Test(base_text, bytes_are_equal_in_every_byte)
{
    cr_assert(gavel__bytes_equal(GAVEL_STR("a\0b"), GAVEL_STR("a\0b")));
    cr_assert_not(gavel__bytes_equal(GAVEL_STR("a\0b"), GAVEL_STR("a\0c")));
    cr_assert_not(gavel__bytes_equal(GAVEL_STR("a"), GAVEL_STR("a\0")));
    cr_assert(gavel__bytes_equal(gavel_str(NULL), GAVEL_STR("")));
}

Test(base_text, only_ascii_letters_lose_their_case)
{
    cr_assert(gavel__bytes_equal_nocase(GAVEL_STR("WatCH"), GAVEL_STR("wATch")));
    cr_assert(gavel__bytes_equal_nocase(GAVEL_STR("az"), GAVEL_STR("AZ")));
    cr_assert_not(gavel__bytes_equal_nocase(GAVEL_STR("@"), GAVEL_STR("`")));
    cr_assert_not(gavel__bytes_equal_nocase(GAVEL_STR("["), GAVEL_STR("{")));
    cr_assert_not(gavel__bytes_equal_nocase(GAVEL_STR("\xe4"), GAVEL_STR("\xc4")));
    cr_assert_not(gavel__bytes_equal_nocase(GAVEL_STR("WATCH"), GAVEL_STR("WATC")));
    cr_assert(gavel__bytes_equal_nocase(gavel_str(NULL), GAVEL_STR("")));
}

Test(base_text, bytes_start_with_a_prefix)
{
    cr_assert(gavel__bytes_start_with(GAVEL_STR("OOM command"), GAVEL_STR("OOM ")));
    cr_assert(gavel__bytes_start_with(GAVEL_STR("OOM"), GAVEL_STR("OOM")));
    cr_assert(gavel__bytes_start_with(GAVEL_STR("OOM"), GAVEL_STR("")));
    cr_assert(gavel__bytes_start_with(gavel_str(NULL), gavel_str(NULL)));
    cr_assert_not(gavel__bytes_start_with(GAVEL_STR("OO"), GAVEL_STR("OOM")));
    cr_assert_not(gavel__bytes_start_with(GAVEL_STR("XOOM"), GAVEL_STR("OOM")));
}

/* ---- Integers ------------------------------------------------------------------------------ */

Test(base_text, integers_survive_being_written_and_read)
{
    static const int64_t values[] = {0, 1, -1, 9, 10, -10, 99, 100, 12345, INT32_MAX, INT32_MIN,
        INT64_MAX, INT64_MAX - 1, INT64_MIN, INT64_MIN + 1, 1000000000000000000,
        999999999999999999};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        char expected[32];
        (void)snprintf(expected, sizeof(expected), "%" PRId64, values[i]);
        char storage[GAVEL__INT_SIZE];
        gavel_bytes text = gavel__format_int(values[i], storage);
        cr_assert(gavel__bytes_equal(text, gavel_str(expected)), "%s", expected);
        int64_t value = values[i] + (values[i] < 0 ? 1 : -1);
        cr_assert(gavel__parse_int(text, &value));
        cr_assert_eq(value, values[i]);
    }
}

Test(base_text, only_redis_own_form_is_an_integer)
{
    static const char *const others[] = {"", "-", "+1", " 1", "1 ", "01", "-01", "00", "-0", "--1",
        "1-", "1.0", "1e3", "0x10", "a", "1a", "\xff", "/", ":", "9223372036854775808",
        "-9223372036854775809", "9999999999999999999", "18446744073709551616",
        "18446744073709551617", "-18446744073709551617", "99999999999999999999999999999999"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        int64_t value = 77;
        cr_assert_not(gavel__parse_int(gavel_str(others[i]), &value), "\"%s\"", others[i]);
        cr_assert_eq(value, 77, "an output was written without success: \"%s\"", others[i]);
    }
    int64_t value = 77;
    cr_assert_not(gavel__parse_int(GAVEL_STR("1\0"), &value), "a NUL is no end");
    cr_assert_not(gavel__parse_int(gavel_str(NULL), &value));
    cr_assert_eq(value, 77);
}

/* ---- Messages ------------------------------------------------------------------------------ */

Test(base_text, format_is_cut_and_always_ends)
{
    char text[8];
    gavel__format(text, sizeof(text), "%s-%d", "abc", 12);
    cr_assert_str_eq(text, "abc-12");
    gavel__format(text, sizeof(text), "%s", "much too long");
    cr_assert_str_eq(text, "much to");
    gavel__format(text, 1, "%s", "x");
    cr_assert_str_eq(text, "");
    text[0] = '!';
    gavel__format(text, 0, "%s", "x");
    cr_assert_eq(text[0], '!');
}

static void check_printable(gavel_bytes bytes, size_t size, const char *expected)
{
    char text[64];
    memset(text, '#', sizeof(text));
    cr_assert_eq(gavel__printable(bytes, text, size), text);
    cr_assert_str_eq(text, expected);
    cr_assert_eq(text[size], '#', "it wrote behind the end");
}

Test(base_text, printable_shows_every_byte)
{
    check_printable(GAVEL_STR("item:42 ~"), 40, "item:42 ~");
    check_printable(GAVEL_STR("a\0\r\n\x1f\x7f\xff%s"), 40, "a\\x00\\x0d\\x0a\\x1f\\x7f\\xff%s");
    check_printable(GAVEL_STR(""), 40, "");
    check_printable(gavel_str(NULL), 40, "");
}

Test(base_text, printable_is_cut_between_bytes_with_dots)
{
    check_printable(GAVEL_STR("abcdefgh"), 9, "abcdefgh");
    check_printable(GAVEL_STR("abcdefgh"), 8, "abcd...");
    check_printable(GAVEL_STR("abcd\x01"), 9, "abcd\\x01");
    check_printable(GAVEL_STR("abcd\x01"), 8, "abcd...");
    check_printable(GAVEL_STR("ab\x01"
                              "c"),
        7, "ab...");
    check_printable(GAVEL_STR("abc\x01"
                              "d"),
        8, "abc...");
    check_printable(GAVEL_STR("abcdef"), 4, "...");
    check_printable(GAVEL_STR("abcdef"), 3, "..");
    check_printable(GAVEL_STR("abcdef"), 1, "");
    check_printable(GAVEL_STR("ab"), 3, "ab");
}

Test(base_text, printable_leaves_text_without_room_alone)
{
    char text[] = "#";
    cr_assert_eq(gavel__printable(GAVEL_STR("abc"), text, 0), text);
    cr_assert_str_eq(text, "#");
}

/* ---- Commands ------------------------------------------------------------------------------ */

static void check_wire(gavel__buffer *buffer, gavel_bytes expected)
{
    cr_assert_not(buffer->has_failed);
    cr_assert(gavel__bytes_equal((gavel_bytes){buffer->data, buffer->size}, expected));
    gavel__buffer_clear(buffer);
}

Test(base_text, commands_are_arrays_of_counted_strings)
{
    gavel__buffer buffer;
    gavel__buffer_init(&buffer, &gavel__system_allocator);
    gavel__resp_command(
        &buffer, (gavel_bytes[]){GAVEL_STR("SET"), GAVEL_STR("a key"), GAVEL_STR("%s\r\n\0$1")}, 3);
    check_wire(&buffer, GAVEL_STR("*3\r\n$3\r\nSET\r\n$5\r\na key\r\n$7\r\n%s\r\n\0$1\r\n"));

    gavel__resp_begin(&buffer, 2);
    gavel__resp_arg(&buffer, GAVEL_STR("GET"));
    gavel__resp_arg(&buffer, gavel_str(NULL));
    check_wire(&buffer, GAVEL_STR("*2\r\n$3\r\nGET\r\n$0\r\n\r\n"));
    gavel__buffer_finish(&buffer);
}

Test(base_text, a_command_larger_than_memory_is_a_failure)
{
    gavel_bytes part = {"x", SIZE_MAX / 8}; /* twelve of these do not fit a size_t */
    gavel_bytes args[12];
    gavel__buffer buffer;
    gavel__buffer_init(&buffer, &gavel__system_allocator);
    for (size_t i = 0; i < 12; i++)
        args[i] = part;
    gavel__resp_command(&buffer, args, 12);
    cr_assert(buffer.has_failed);
    cr_assert_eq(buffer.size, 0);
    gavel__buffer_finish(&buffer);
}

Test(base_text, arguments_are_found_in_their_command)
{
    static char large[100000];
    memset(large, 'x', sizeof(large));
    gavel_bytes args[] = {GAVEL_STR("SET"), GAVEL_STR("a\r\n$3\r\nb"), GAVEL_STR(""), {large, 9},
        {large, 10}, {large, sizeof(large)}, {NULL, 0}};
    enum { N = sizeof(args) / sizeof(args[0]) };
    gavel_bytes found[N];
    gavel__buffer buffer;
    gavel__buffer_init(&buffer, &gavel__system_allocator);
    gavel__resp_command(&buffer, args, N);
    gavel__resp_args_in((gavel_bytes){buffer.data, buffer.size}, args, N, found);
    for (size_t i = 0; i < N; i++) {
        cr_assert(gavel__bytes_equal(found[i], args[i]), "%zu", i);
        cr_assert(found[i].data > buffer.data && found[i].data < buffer.data + buffer.size);
    }
    gavel__buffer_finish(&buffer);
}

Test(base_text, counts_have_as_many_digits_as_they_need)
{
    static const char value[100000];
    static const size_t sizes[] = {9, 10, 99, 100, 999, 1000, 65536, 100000};
    gavel__buffer buffer;
    gavel__buffer_init(&buffer, &gavel__system_allocator);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        gavel__resp_begin(&buffer, sizes[i]);
        gavel__resp_arg(&buffer, (gavel_bytes){value, sizes[i]});
        char expected[64];
        int n = snprintf(expected, sizeof(expected), "*%zu\r\n$%zu\r\n", sizes[i], sizes[i]);
        cr_assert_eq(buffer.size, (size_t)n + sizes[i] + 2);
        cr_assert_eq(memcmp(buffer.data, expected, (size_t)n), 0, "%s", expected);
        cr_assert_eq(memcmp(buffer.data + n, value, sizes[i]), 0);
        cr_assert_eq(memcmp(buffer.data + buffer.size - 2, "\r\n", 2), 0);
        gavel__buffer_clear(&buffer);
    }
    gavel__buffer_finish(&buffer);
}

Test(base_text, integers_are_arguments_in_decimal)
{
    gavel__buffer buffer;
    gavel__buffer_init(&buffer, &gavel__system_allocator);
    gavel__resp_arg_int(&buffer, 0);
    check_wire(&buffer, GAVEL_STR("$1\r\n0\r\n"));
    gavel__resp_arg_int(&buffer, -42);
    check_wire(&buffer, GAVEL_STR("$3\r\n-42\r\n"));
    gavel__resp_arg_int(&buffer, INT64_MIN);
    check_wire(&buffer, GAVEL_STR("$20\r\n-9223372036854775808\r\n"));
    gavel__buffer_finish(&buffer);
}

Test(base_text, a_command_that_finds_no_memory_marks_the_buffer)
{
    static const char value[3000];
    const gavel_bytes args[] = {{"SET", 3}, {"key", 3}, {value, sizeof(value)}, {value, 2000}};
    size_t n = 0;
    for (bool is_done = false; !is_done; n++) {
        faulty_memory memory = {.n_left = n};
        gavel_allocator allocator = faulty_allocator(&memory);
        gavel__buffer buffer;
        gavel__buffer_init(&buffer, &allocator);
        gavel__resp_command(&buffer, args, 4);
        gavel__resp_command(&buffer, args, 4);
        gavel__resp_arg_int(&buffer, 5);
        is_done = !buffer.has_failed;
        cr_assert(buffer.size == 0 || memcmp(buffer.data + buffer.size - 2, "\r\n", 2) == 0,
            "part of an argument is in the buffer");
        gavel__buffer_finish(&buffer);
        cr_assert_eq(memory.n_blocks, 0);
    }
    cr_assert_gt(n, 2, "only %zu allocations were made to fail", n);
}
