/*
 * Lists, random numbers, latency buckets, and noticing fork().
 */
#include "base/fork.h"
#include "base/histogram.h"
#include "base/list.h"
#include "base/random.h"

#include <gavel/client.h>

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- Lists --------------------------------------------------------------------------------- */

struct member {
    int number;
    gavel__list link;
};

static void create_members(struct member *members, gavel__list *list, int n)
{
    gavel__list_init(list);
    for (int i = 0; i < n; i++) {
        members[i].number = i;
        gavel__list_append(list, &members[i].link);
    }
}

/* The members' digits, read from the front, or -1 where reading from the back says otherwise. */
static int digits_of(const gavel__list *list)
{
    int forward = 0;
    for (const gavel__list *node = list->next; node != list; node = node->next)
        forward = forward * 10 + GAVEL__CONTAINER(node, struct member, link)->number;
    int backward = 0;
    int weight = 1;
    for (const gavel__list *node = list->previous; node != list; node = node->previous) {
        backward += GAVEL__CONTAINER(node, struct member, link)->number * weight;
        weight *= 10;
    }
    return forward == backward ? forward : -1;
}

Test(base_misc, a_list_keeps_the_order_of_insertion)
{
    struct member members[6];
    gavel__list list;
    create_members(members, &list, 5);
    cr_assert_eq(digits_of(&list), 1234);
    gavel__list_remove(&members[2].link);
    cr_assert_eq(digits_of(&list), 134);
    gavel__list_remove(&members[2].link);
    cr_assert_eq(digits_of(&list), 134, "removing one that is in no list");
    gavel__list_insert_before(&members[1].link, &members[2].link);
    cr_assert_eq(digits_of(&list), 2134);
    members[5].number = 5;
    gavel__list_insert_before(list.next, &members[5].link);
    cr_assert_eq(digits_of(&list), 502134);
}

Test(base_misc, a_list_is_popped_from_the_front)
{
    struct member members[3];
    gavel__list list;
    create_members(members, &list, 3);
    for (int i = 0; i < 3; i++) {
        cr_assert_not(gavel__list_is_empty(&list));
        gavel__list *node = gavel__list_pop(&list);
        cr_assert_eq(node, &members[i].link);
        cr_assert(gavel__list_is_empty(node), "a member in no list points to itself");
    }
    cr_assert(gavel__list_is_empty(&list));
    cr_assert_null(gavel__list_pop(&list));
}

Test(base_misc, lists_are_joined)
{
    struct member first[3];
    struct member second[3];
    gavel__list list;
    gavel__list from;
    create_members(first, &list, 3);
    create_members(second, &from, 3);
    gavel__list_append_all(&list, &from);
    cr_assert_eq(digits_of(&list), 12012);
    cr_assert(gavel__list_is_empty(&from));
    gavel__list_append_all(&list, &from);
    cr_assert_eq(digits_of(&list), 12012);
    gavel__list_append_all(&from, &list);
    cr_assert_eq(digits_of(&from), 12012);
    cr_assert(gavel__list_is_empty(&list));
}

/* ---- Random numbers ------------------------------------------------------------------------ */

Test(base_misc, random_numbers_are_xoshiro256_starstar)
{
    /* What the definition in the paper gives from this state. */
    gavel__random random = {{1, 2, 3, 4}};
    static const uint64_t expected[] = {11520, 0, 1509978240, 1215971899390074240};
    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(gavel__random_next(&random), expected[i]);
}

Test(base_misc, a_seed_repeats_its_numbers_and_only_its_own)
{
    gavel__random one;
    gavel__random same;
    gavel__random other;
    gavel__random_seed(&one, 0);
    gavel__random_seed(&same, 0);
    gavel__random_seed(&other, 1);
    uint64_t last = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t number = gavel__random_next(&one);
        cr_assert_neq(number, last);
        last = number;
        cr_assert_eq(number, gavel__random_next(&same));
        cr_assert_neq(number, gavel__random_next(&other));
    }
}

Test(base_misc, random_below_reaches_each_number_about_equally_often)
{
    static const uint64_t bounds[] = {1, 2, 3, 7, 10, 64};
    gavel__random random;
    gavel__random_seed(&random, 12345);
    for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
        int counts[64] = {0};
        for (uint64_t n = 0; n < 1000 * bounds[i]; n++) {
            uint64_t number = gavel__random_below(&random, bounds[i]);
            cr_assert_lt(number, bounds[i]);
            counts[number]++;
        }
        /* 1000 each, give or take five standard deviations. */
        for (uint64_t number = 0; number < bounds[i]; number++)
            cr_assert(counts[number] > 840 && counts[number] < 1160);
    }
}

Test(base_misc, random_below_has_no_bias_for_large_bounds)
{
    /* With a bare remainder, the lower half of this range would come up twice as often. */
    const uint64_t bound = UINT64_C(3) << 62;
    gavel__random random;
    gavel__random_seed(&random, 99);
    int n_in_first_third = 0;
    for (int n = 0; n < 9000; n++) {
        uint64_t number = gavel__random_below(&random, bound);
        cr_assert_lt(number, bound);
        n_in_first_third += number < bound / 3;
    }
    cr_assert(n_in_first_third > 2770 && n_in_first_third < 3230, "%d", n_in_first_third);
}

/* Takes the place of the system's, so that it can be made to fail. */
static bool has_entropy = true;

ssize_t getrandom(void *buffer, size_t size, unsigned flags)
{
    (void)flags;
    if (!has_entropy) {
        errno = EAGAIN;
        return -1;
    }
    int fd = open("/dev/urandom", O_RDONLY);
    ssize_t n = fd >= 0 ? read(fd, buffer, size) : -1;
    (void)close(fd);
    return n;
}

Test(base_misc, system_seeds_differ)
{
    cr_assert_neq(gavel__random_system_seed(), gavel__random_system_seed());
}

Test(base_misc, system_seeds_differ_without_entropy_as_the_clock_goes_on)
{
    has_entropy = false;
    uint64_t seed = gavel__random_system_seed();
    uint64_t next = seed;
    for (int n = 0; next == seed && n < 1000000; n++)
        next = gavel__random_system_seed();
    cr_assert_neq(next, seed);
}

/* ---- Latency buckets ----------------------------------------------------------------------- */

Test(base_misc, latency_bounds_rise_four_to_a_doubling)
{
    const size_t last = GAVEL_N_LATENCIES - 1;
    cr_assert_gt(gavel_latency_bound_us(0), 0);
    for (size_t i = 1; i <= last; i++)
        cr_assert_gt(gavel_latency_bound_us(i), gavel_latency_bound_us(i - 1));
    for (size_t i = 0; i + 4 < last; i++)
        cr_assert_eq(gavel_latency_bound_us(i + 4), 2 * gavel_latency_bound_us(i));
    cr_assert_eq(gavel_latency_bound_us(last), INT64_MAX);
    cr_assert_eq(gavel_latency_bound_us(last + 1), INT64_MAX);
    cr_assert_eq(gavel_latency_bound_us(SIZE_MAX), INT64_MAX);
}

Test(base_misc, latency_bounds_span_a_round_trip_and_a_long_queue)
{
    cr_assert_leq(gavel_latency_bound_us(0), 100);
    cr_assert_geq(gavel_latency_bound_us(GAVEL_N_LATENCIES - 2), 3000000);
}

Test(base_misc, a_latency_is_in_the_first_bucket_whose_bound_is_above_it)
{
    for (size_t i = 0; i < GAVEL_N_LATENCIES - 1; i++) {
        int64_t bound_us = gavel_latency_bound_us(i);
        cr_assert_eq(gavel__latency_bucket(bound_us - 1), i);
        cr_assert_eq(gavel__latency_bucket(bound_us), i + 1);
    }
    cr_assert_eq(gavel__latency_bucket(0), 0);
    cr_assert_eq(gavel__latency_bucket(-1), 0, "a clock that went back");
    cr_assert_eq(gavel__latency_bucket(INT64_MIN), 0);
    cr_assert_eq(gavel__latency_bucket(INT64_MAX), GAVEL_N_LATENCIES - 1);
}

/* ---- fork() -------------------------------------------------------------------------------- */

/* What a child, and a child of it, see of the parent's generation: 0 where both notice. */
static int look_in_children(uint64_t parent)
{
    uint64_t child = gavel__fork_generation();
    if (child == parent || child != gavel__fork_generation())
        return 1;
    pid_t pid = fork();
    if (pid == 0) {
        uint64_t grandchild = gavel__fork_generation();
        _exit(grandchild == child || grandchild == parent ? 2 : 0);
    }
    int status = -1;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
        return 3;
    return WEXITSTATUS(status);
}

Test(base_misc, a_fork_changes_the_generation_in_the_child_only)
{
    uint64_t generation = gavel__fork_generation();
    cr_assert_eq(gavel__fork_generation(), generation);
    pid_t pid = fork();
    if (pid == 0)
        _exit(look_in_children(generation));
    int status = -1;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status));
    cr_assert_eq(WEXITSTATUS(status), 0);
    cr_assert_eq(gavel__fork_generation(), generation, "the parent's own has changed");
}
