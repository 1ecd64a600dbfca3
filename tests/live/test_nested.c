/*
 * A completion callback that turns the program's loop itself, as a modal dialogue does: closing the
 * client in there must wait until the callback has returned.
 */
#include "tools.h"

#include <criterion/criterion.h>

#include <ev.h>
#include <stdlib.h>

#define N_SUBMITTED 3

/* Memory that was given back is spoilt and kept, so that whoever still uses it is found out. */
typedef struct block {
    struct block *next;
    size_t size;
} block;

static block *spoilt;

static void *resize(void *user, void *memory, size_t size)
{
    (void)user;
    block *old = memory != NULL ? (block *)memory - 1 : NULL;
    block *fresh = NULL;
    if (size > 0) {
        fresh = malloc(sizeof(block) + size);
        cr_assert_not_null(fresh);
        fresh->size = size;
        if (old != NULL)
            memcpy(fresh + 1, old + 1, old->size < size ? old->size : size);
    }
    if (old != NULL) {
        memset(old + 1, 0xa5, old->size);
        old->next = spoilt;
        spoilt = old;
    }
    return fresh != NULL ? fresh + 1 : NULL;
}

static void free_spoilt(void)
{
    while (spoilt != NULL) {
        block *next = spoilt->next;
        free(spoilt);
        spoilt = next;
    }
}

typedef struct dialogue {
    struct ev_loop *loop;
    gavel_client *client;
    int n_done;
    bool is_over;
} dialogue;

static void close_client(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    dialogue *self = timer->data;
    gavel_close(self->client);
    self->is_over = true;
}

static void turn_the_loop(const gavel_outcome *outcome, void *user)
{
    (void)outcome;
    dialogue *self = user;
    if (self->n_done++ > 0)
        return;
    ev_timer timer;
    ev_timer_init(&timer, close_client, 0, 0);
    timer.data = self;
    ev_timer_start(self->loop, &timer);
    while (!self->is_over)
        ev_run(self->loop, EVRUN_ONCE);
    ev_run(self->loop, EVRUN_NOWAIT);
}

Test(nested, closes_when_the_callback_has_returned)
{
    dialogue self = {.loop = ev_loop_new(EVFLAG_AUTO)};
    gavel_config config = {.loop = self.loop, .allocator = {resize, NULL}};
    self.client = live_open("unix:///nobody", &config);
    gavel_transaction transaction = {.user = &self}; /* INVALID will do as an outcome */
    for (int i = 0; i < N_SUBMITTED; i++)
        cr_assert_neq(gavel_submit(self.client, &transaction, turn_the_loop), 0);
    ev_run(self.loop, 0);
    cr_expect_eq(self.n_done, N_SUBMITTED);
    ev_loop_destroy(self.loop);
    free_spoilt();
}
