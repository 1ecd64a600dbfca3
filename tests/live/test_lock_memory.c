/*
 * Locks with memory that runs out: the n-th allocation fails, for n = 0, 1, 2 and so on. Everybody
 * is told something true, nothing leaks, and nothing stays locked.
 */
#include "locking.h"

#include <criterion/criterion.h>

#include <stdlib.h>

typedef struct faulty_memory {
    size_t n_left; /* allocations before the one that fails */
    bool has_failed;
    size_t n_blocks;
} faulty_memory;

static void *resize(void *user, void *block, size_t size)
{
    faulty_memory *self = user;
    if (size == 0) {
        self->n_blocks -= block != NULL;
        free(block);
        return NULL;
    }
    if (!self->has_failed && self->n_left-- == 0) {
        self->has_failed = true;
        return NULL;
    }
    self->n_blocks += block == NULL;
    return realloc(block, size);
}

/* Waits for a lock, holds it, and does something under it. False: it was never held. */
static bool play(gavel_client *client)
{
    gavel_lock_outcome got =
        gavel_lock_acquire(client, &(gavel_lock_request){.name = GAVEL_STR("l"), .wait_ms = 20000});
    if (got.status != GAVEL_LOCK_HELD) {
        cr_expect(got.status == GAVEL_LOCK_NOT_SENT || got.status == GAVEL_LOCK_UNKNOWN, "%s: %s",
            gavel_lock_status_name(got.status), got.message);
        return false;
    }
    gavel_lock_command command = {
        .command = GAVEL_COMMAND(GAVEL_STR("INCR"), GAVEL_STR("n")), .keep_reply = true};
    gavel_lock_outcome done = gavel_lock_do(got.lock, &command);
    cr_expect(done.status == GAVEL_LOCK_HELD || done.status == GAVEL_LOCK_NOT_SENT ||
                  done.status == GAVEL_LOCK_UNKNOWN,
        "%s: %s", gavel_lock_status_name(done.status), done.message);
    gavel_lock_outcome_clear(&done);
    gavel_lock_status extended = gavel_lock_extend(got.lock, 0).status;
    cr_expect(extended == GAVEL_LOCK_HELD || extended == GAVEL_LOCK_NOT_SENT);
    gavel_lock_status released = gavel_lock_release(got.lock).status;
    cr_expect(released == GAVEL_LOCK_RELEASED || released == GAVEL_LOCK_UNKNOWN);
    return true;
}

static bool sweep_once(live_rig *rig, size_t n)
{
    faulty_memory memory = {.n_left = n};
    gavel_config config = {.allocator = {resize, &memory}};
    gavel_client *client = gavel_open(server_url(rig->server), &config, NULL);
    if (client != NULL) {
        /* So that it has to wait, for a moment. */
        gavel_lock_outcome other = gavel_lock_acquire(rig->client,
            &(gavel_lock_request){.name = GAVEL_STR("l"), .lease_ms = 100, .is_fixed = true});
        cr_assert_eq(other.status, GAVEL_LOCK_HELD, "%s", other.message);
        play(client);
        gavel_lock_release(other.lock);
        play(client);
        gavel_close(client);
    }
    cr_expect_eq(memory.n_blocks, 0, "a leak, with allocation %zu failing", n);
    return !memory.has_failed;
}

Test(lock_memory, every_allocation_may_fail, .timeout = 60)
{
    live_rig rig = live_begin(NULL, NULL);
    for (size_t n = 0; !sweep_once(&rig, n); n++)
        cr_assert_lt(n, 1000);
    gavel_lock *lock = locking_take(rig.client, 0);
    locking_expect_released(lock, GAVEL_LOCK_RELEASED);
    live_end(&rig);
}
