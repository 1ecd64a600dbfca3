/* Readers of replies: what each takes for what, and maps in both of their shapes. */
#include <gavel/reply.h>

#include <criterion/criterion.h>

#include <math.h>

#define TEXT(literal)                                                                              \
    {                                                                                              \
        .type = GAVEL_REPLY_STRING, .text = GAVEL_BYTES_INIT(literal)                              \
    }
#define ARRAY(of)                                                                                  \
    {                                                                                              \
        .type = GAVEL_REPLY_ARRAY, .elements = of, .n_elements = sizeof(of) / sizeof(of[0])        \
    }

static const gavel_reply number = {.type = GAVEL_REPLY_INTEGER, .integer = -7};
static const gavel_reply status = {.type = GAVEL_REPLY_STATUS, .text = GAVEL_BYTES_INIT("OK")};
static const gavel_reply nil = {.type = GAVEL_REPLY_NIL};
static const gavel_reply error = {.type = GAVEL_REPLY_ERROR, .text = GAVEL_BYTES_INIT("12")};
static const gavel_reply whole = TEXT("12");
static const gavel_reply broken = TEXT("2.5");
static const gavel_reply words = TEXT("two words");

static const gavel_reply flat_elements[] = {
    TEXT("a"), TEXT("1"), TEXT("b"), TEXT("2.5"), TEXT("a"), TEXT("3"), TEXT("odd")};
static const gavel_reply flat = ARRAY(flat_elements);

static const gavel_reply first_pair[] = {TEXT("a"), TEXT("1")};
static const gavel_reply second_pair[] = {TEXT("b"), TEXT("2.5")};
static const gavel_reply paired_elements[] = {ARRAY(first_pair), ARRAY(second_pair), TEXT("odd")};
static const gavel_reply paired = ARRAY(paired_elements);

static const gavel_reply empty = {.type = GAVEL_REPLY_ARRAY};

static bool is_text(const gavel_reply *reply, const char *expected)
{
    gavel_bytes text;
    return gavel_reply_text(reply, &text) && text.size == strlen(expected) &&
           memcmp(text.data, expected, text.size) == 0;
}

Test(core_reply, integers)
{
    const gavel_reply *others[] = {&broken, &words, &status, &nil, &error, &flat, NULL};
    int64_t value = 1;
    cr_expect(gavel_reply_int(&number, &value) && value == -7);
    cr_expect(gavel_reply_int(&whole, &value) && value == 12);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        value = 1;
        cr_expect(!gavel_reply_int(others[i], &value) && value == 0, "%d", (int)i);
    }
}

Test(core_reply, doubles)
{
    const gavel_reply *others[] = {&words, &status, &nil, &error, &flat, NULL};
    double value = 1;
    cr_expect(gavel_reply_double(&number, &value) && fabs(value + 7) < 0.001);
    cr_expect(gavel_reply_double(&broken, &value) && fabs(value - 2.5) < 0.001);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        value = 1;
        cr_expect(!gavel_reply_double(others[i], &value) && fabs(value) < 0.001, "%d", (int)i);
    }
}

Test(core_reply, texts)
{
    const gavel_reply *others[] = {&number, &nil, &error, &flat, NULL};
    cr_expect(is_text(&words, "two words"));
    cr_expect(is_text(&status, "OK"));
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        gavel_bytes text = GAVEL_STR("before");
        cr_expect(!gavel_reply_text(others[i], &text) && text.size == 0, "%d", (int)i);
    }
}

Test(core_reply, elements)
{
    cr_expect(is_text(gavel_reply_element(&flat, 6), "odd"));
    cr_expect_null(gavel_reply_element(&flat, 7));
    cr_expect_null(gavel_reply_element(&flat, SIZE_MAX));
    cr_expect_null(gavel_reply_element(&empty, 0));
    cr_expect_null(gavel_reply_element(&words, 0));
    cr_expect_null(gavel_reply_element(NULL, 0));
}

static size_t count_pairs(const gavel_reply *map)
{
    const gavel_reply *name, *value;
    size_t n = 0;
    while (gavel_reply_pair(map, n, &name, &value))
        n++;
    cr_expect(name == NULL && value == NULL);
    cr_expect_not(gavel_reply_pair(map, SIZE_MAX, &name, &value));
    cr_expect_not(gavel_reply_pair(map, SIZE_MAX / 2 + 1, &name, &value));
    return n;
}

Test(core_reply, pairs_of_both_shapes)
{
    const gavel_reply *maps[] = {&flat, &paired};
    for (size_t i = 0; i < 2; i++) {
        const gavel_reply *name, *value;
        cr_expect(gavel_reply_pair(maps[i], 0, &name, &value));
        cr_expect(is_text(name, "a") && is_text(value, "1"));
        cr_expect(gavel_reply_pair(maps[i], 1, &name, &value));
        cr_expect(is_text(name, "b") && is_text(value, "2.5"));
    }
    cr_expect_eq(count_pairs(&flat), 3);
    cr_expect_eq(count_pairs(&paired), 2);
    cr_expect_eq(count_pairs(&empty), 0);
    cr_expect_eq(count_pairs(&words), 0);
    cr_expect_eq(count_pairs(NULL), 0);
}

Test(core_reply, what_a_map_has_under_a_name)
{
    const gavel_reply *maps[] = {&flat, &paired};
    for (size_t i = 0; i < 2; i++) {
        double value;
        cr_expect(gavel_reply_double(gavel_reply_value(maps[i], GAVEL_STR("b")), &value));
        cr_expect(is_text(gavel_reply_value(maps[i], GAVEL_STR("a")), "1"));
        cr_expect_null(gavel_reply_value(maps[i], GAVEL_STR("c")));
        cr_expect_null(gavel_reply_value(maps[i], GAVEL_STR("odd")));
    }
    cr_expect_null(gavel_reply_value(NULL, GAVEL_STR("a")));
}
