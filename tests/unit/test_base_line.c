/*
 * Lines: whatever comes in whatever order, the smallest goes first.
 */
#include "base/line.h"

#include "base/random.h"

#include <criterion/criterion.h>

enum { N_NODES = 400 };

typedef struct crowd {
    gavel__line line;
    gavel__line_node nodes[N_NODES]; /* their order is their place here */
} crowd;

static void open(crowd *c)
{
    *c = (crowd){.line = {NULL, NULL, NULL}};
    for (size_t i = 0; i < N_NODES; i++)
        c->nodes[i].order = i;
}

/* The first one by looking at all; NULL: the line is empty. */
static const gavel__line_node *smallest(const crowd *c)
{
    for (size_t i = 0; i < N_NODES; i++) {
        if (gavel__line_has(&c->nodes[i]))
            return &c->nodes[i];
    }
    return NULL;
}

Test(base_line, who_comes_in_order_goes_in_order)
{
    crowd c;
    open(&c);
    cr_assert(gavel__line_is_empty(&c.line));
    cr_assert_null(gavel__line_first(&c.line));
    for (size_t i = 0; i < N_NODES; i++)
        gavel__line_insert(&c.line, &c.nodes[i]);
    cr_assert_null(c.line.root, "nobody needs the heap");
    for (size_t i = 0; i < N_NODES; i++) {
        cr_assert_eq(gavel__line_first(&c.line), &c.nodes[i]);
        gavel__line_remove(&c.line, &c.nodes[i]);
    }
    cr_assert(gavel__line_is_empty(&c.line));
}

Test(base_line, who_comes_back_to_the_front_needs_no_heap)
{
    crowd c;
    open(&c);
    for (size_t i = 10; i < 20; i++)
        gavel__line_insert(&c.line, &c.nodes[i]);
    for (size_t i = 10; i-- > 0;)
        gavel__line_insert(&c.line, &c.nodes[i]);
    cr_assert_null(c.line.root);
    cr_assert_eq(gavel__line_first(&c.line), &c.nodes[0]);
}

Test(base_line, the_smallest_is_first_whatever_comes_and_goes)
{
    gavel__random random;
    gavel__random_seed(&random, 5);
    crowd c;
    open(&c);
    for (int step = 0; step < 100000; step++) {
        gavel__line_node *node = &c.nodes[gavel__random_below(&random, N_NODES)];
        if (gavel__random_below(&random, 4) == 0 && gavel__line_first(&c.line) != NULL)
            node = gavel__line_first(&c.line);
        if (gavel__line_has(node))
            gavel__line_remove(&c.line, node);
        else
            gavel__line_insert(&c.line, node);
        cr_assert_eq(gavel__line_first(&c.line), smallest(&c), "step %d", step);
        cr_assert_eq(gavel__line_is_empty(&c.line), smallest(&c) == NULL);
    }
}

Test(base_line, a_crowd_that_comes_in_any_order_goes_in_order)
{
    enum { N_MANY = 100000 };
    static gavel__line_node nodes[N_MANY];
    gavel__line line = {NULL, NULL, NULL};
    for (size_t i = 0; i < N_MANY; i++) {
        nodes[i].order = i * 7919 % N_MANY; /* each once, for 7919 is prime */
        gavel__line_insert(&line, &nodes[i]);
    }
    for (uint64_t i = 0; i < N_MANY; i++) {
        gavel__line_node *first = gavel__line_first(&line);
        cr_assert_eq(first->order, i);
        gavel__line_remove(&line, first);
    }
    cr_assert(gavel__line_is_empty(&line));
}

static size_t n_looked_at;

static bool is_wanted(const gavel__line_node *node, uint64_t order)
{
    n_looked_at++;
    cr_expect_leq(node->order, order);
    return node->order == 7;
}

Test(base_line, finds_one_that_hides_behind_others_that_are_due)
{
    enum { N_SOME = 100 };
    crowd c;
    open(&c);
    cr_expect_not(gavel__line_has_such(&c.line, UINT64_MAX, is_wanted));
    for (size_t i = 0; i < N_SOME; i++)
        gavel__line_insert(&c.line, &c.nodes[i * 37 % N_SOME]);
    cr_assert_not_null(c.line.root, "some are in the heap");
    (void)gavel__line_first(&c.line);
    for (int step = 0; step < 2; step++) {
        for (uint64_t order = 1; order < N_SOME; order++) {
            n_looked_at = 0;
            cr_expect_eq(gavel__line_has_such(&c.line, order, is_wanted), order >= 7);
            cr_expect_leq(n_looked_at, (size_t)(order + 1));
        }
        gavel__line_remove(&c.line, gavel__line_first(&c.line)); /* gives the heap its shape */
        gavel__line_remove(&c.line, gavel__line_first(&c.line));
    }
}
