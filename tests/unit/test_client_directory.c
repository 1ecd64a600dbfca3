/* Directories: which endpoint a dial is given, and when the name is looked up. */
#include "client/directory.h"

#include <criterion/criterion.h>

#include <stdarg.h>

#define SECOND INT64_C(1000000)

static struct test_directory {
    char host[8];
    gavel__address address;
    gavel__directory directory;
    gavel__route route;
    gavel__lookup *asked; /* and not answered */
    int n_look_ups;
    int n_wakes;
    bool is_answered_at_once;
} it;

/* By their last byte. */
static gavel__endpoint endpoint_of(uint32_t number)
{
    gavel__endpoint endpoint = {.size = sizeof(endpoint.address.ipv4)};
    endpoint.address.ipv4.sin_family = AF_INET;
    endpoint.address.ipv4.sin_addr.s_addr = htonl(number);
    return endpoint;
}

static void answer(const char *numbers)
{
    gavel__endpoint endpoints[GAVEL__ENDPOINTS_MAX];
    size_t n = strlen(numbers);
    for (size_t i = 0; i < n; i++)
        endpoints[i] = endpoint_of((uint32_t)(numbers[i] - '0'));
    gavel__lookup *asked = it.asked;
    it.asked = NULL;
    gavel__lookup_answer(asked, endpoints, n, "nobody knows");
}

static void look_up(void *user, gavel__lookup *lookup)
{
    cr_assert_eq(user, &it);
    cr_assert_null(it.asked);
    it.n_look_ups++;
    it.asked = lookup;
    if (it.is_answered_at_once)
        answer("123");
}

static void wake(void *waker)
{
    cr_assert_eq(waker, &it);
    it.n_wakes++;
}

static void begin_test(const char *host)
{
    strcpy(it.host, host);
    it.address = (gavel__address){.host = it.host, .port = 6379};
    it.directory = (gavel__directory){
        .address = &it.address, .look_up = look_up, .resolver = &it, .wake = wake, .waker = &it};
    gavel__directory_init(&it.directory);
}

static void set_up(void)
{
    memset(&it, 0, sizeof(it));
    begin_test("host");
}

static void tear_down(void)
{
    gavel__directory_finish(&it.directory, false);
    if (it.asked != NULL)
        answer("");
}

TestSuite(client_directory, .init = set_up, .fini = tear_down);

static void begin_dial(int64_t now_us)
{
    gavel__directory_begin(&it.directory, &it.route, now_us);
}

/* What a route is given: a number, or '?' for later, or '-' for nothing. */
static char next_of(gavel__route *route, int64_t now_us)
{
    gavel__endpoint endpoint;
    switch (gavel__directory_next(&it.directory, route, now_us, &endpoint)) {
    case GAVEL__DIRECTORY_ANSWER_LATER:
        return '?';
    case GAVEL__DIRECTORY_ANSWER_NONE:
        return '-';
    case GAVEL__DIRECTORY_ANSWER_ENDPOINT:
        break;
    }
    return (char)('0' + ntohl(endpoint.address.ipv4.sin_addr.s_addr));
}

static char next(int64_t now_us)
{
    return next_of(&it.route, now_us);
}

static bool fails(void)
{
    return gavel__directory_on_failure(&it.directory, &it.route);
}

Test(client_directory, each_endpoint_is_tried_once)
{
    it.is_answered_at_once = true;
    begin_dial(0);
    it.is_answered_at_once = false;
    cr_expect_eq(next(0), '1');
    cr_expect(fails());
    cr_expect_eq(next(0), '2');
    cr_expect(fails());
    cr_expect_eq(next(0), '3');
    cr_expect_not(fails());
    cr_expect_eq(next(0), '-');
    cr_expect_eq(it.n_wakes, 0, "for an answer that was there at once");
}

Test(client_directory, the_last_good_one_comes_first)
{
    it.is_answered_at_once = true;
    begin_dial(0);
    next(0);
    fails();
    cr_expect_eq(next(0), '2');
    gavel__directory_on_good(&it.directory, &it.route);
    begin_dial(1);
    cr_expect_eq(next(1), '2');
    fails();
    cr_expect_eq(next(1), '1');
    fails();
    cr_expect_eq(next(1), '3');
    cr_expect_eq(it.n_look_ups, 1);
}

Test(client_directory, an_answer_is_waited_for_and_wakes)
{
    begin_dial(0);
    cr_expect_eq(next(0), '?');
    gavel__route other;
    gavel__directory_begin(&it.directory, &other, 10);
    cr_expect_eq(next_of(&other, 10), '?');
    cr_expect_eq(it.n_look_ups, 1, "one for all");
    answer("47");
    cr_expect_eq(it.n_wakes, 1);
    cr_expect_eq(next(9 * SECOND), '4');
    cr_expect_eq(next_of(&other, 9 * SECOND), '4');
    begin_dial(14 * SECOND);
    cr_expect_eq(next(14 * SECOND), '4', "its age counts from the answer");
    cr_expect_eq(it.n_look_ups, 1);
}

/* And nobody waits for that. */
Test(client_directory, an_old_answer_is_looked_up_beside_the_dial)
{
    begin_dial(0);
    answer("12");
    cr_expect_eq(next(0), '1');
    fails();
    cr_expect_eq(next(0), '2');
    gavel__directory_on_good(&it.directory, &it.route);
    begin_dial(5 * SECOND + 1);
    cr_expect_eq(it.n_look_ups, 2);
    cr_expect_eq(next(5 * SECOND + 1), '2');
    answer("312");
    begin_dial(6 * SECOND);
    cr_expect_eq(next(6 * SECOND), '2', "still the good one");
    begin_dial(12 * SECOND);
    answer("54");
    cr_expect_eq(next(12 * SECOND), '5', "it is gone");
}

/* However long the resolver hangs. */
Test(client_directory, after_all_have_failed_it_is_looked_up_anew)
{
    it.is_answered_at_once = true;
    begin_dial(0);
    it.is_answered_at_once = false;
    for (char number = '1'; number <= '3'; number++) {
        cr_expect_eq(it.n_look_ups, 1);
        cr_expect_eq(next(1), number);
        cr_expect_eq(fails(), number < '3');
    }
    cr_expect_eq(it.n_look_ups, 2);
    begin_dial(2);
    cr_expect_eq(next(2), '1', "it may be there again");
    answer("9");
    begin_dial(3);
    cr_expect_eq(next(3), '9');
}

/* What was true a while ago may still be. */
Test(client_directory, a_look_up_in_vain_leaves_what_was_known)
{
    begin_dial(0);
    answer("12");
    cr_expect_eq(next(0), '1');
    begin_dial(9 * SECOND);
    answer("");
    cr_expect_eq(next(9 * SECOND), '1');
    begin_dial(9 * SECOND + 1);
    cr_expect_eq(it.n_look_ups, 3, "it stays old");
    answer("");
}

Test(client_directory, a_look_up_in_vain_is_told)
{
    begin_dial(0);
    answer("");
    cr_expect_eq(next(0), '-');
    cr_expect_str_eq(it.directory.message, "nobody knows");
    begin_dial(1);
    cr_expect_eq(next(1), '?');
    answer("6");
    cr_expect_eq(next(2), '6');
}

/* A dial that is on its way goes through the new ones. */
Test(client_directory, a_new_answer_in_the_midst_of_a_dial)
{
    begin_dial(0);
    answer("12");
    cr_expect_eq(next(0), '1');
    gavel__route other;
    gavel__directory_begin(&it.directory, &other, 9 * SECOND);
    cr_expect(fails());
    cr_expect_eq(next(9 * SECOND), '2', "it does not wait for another's look-up");
    answer("345");
    cr_expect_eq(next_of(&other, 9 * SECOND), '3');
    cr_expect(fails());
    cr_expect_eq(next(9 * SECOND), '3');
    gavel__directory_on_good(&it.directory, &it.route);
    cr_expect(gavel__directory_on_failure(&it.directory, &other));
    cr_expect_eq(next_of(&other, 9 * SECOND), '4');
}

Test(client_directory, a_number_is_its_own_answer)
{
    begin_test("0.0.0.8");
    for (int64_t now_us = 0; now_us < 30 * SECOND; now_us += 10 * SECOND) {
        begin_dial(now_us);
        cr_expect_eq(next(now_us), '8');
        cr_expect_not(fails());
    }
    cr_expect_eq(it.n_look_ups, 0);
}

Test(client_directory, nobody_is_woken_after_the_end)
{
    begin_dial(0);
    gavel__directory_finish(&it.directory, false);
    answer("1");
    cr_expect_eq(it.n_wakes, 0);
    begin_test("host");
    begin_dial(0);
    answer("1");
    gavel__directory_finish(&it.directory, false);
    begin_test("host");
    begin_dial(0);
    it.asked = NULL; /* its thread is in the parent */
    gavel__directory_finish(&it.directory, true);
}
