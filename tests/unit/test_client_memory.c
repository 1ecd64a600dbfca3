/* What a client costs that was opened and has dialled nobody. */
#include <gavel/gavel.h>

#include <criterion/criterion.h>

#include <ev.h>
#include <stdio.h>
#include <stdlib.h>

/* Each block with its size in front of it. */
typedef struct counted_memory {
    size_t n_bytes;
    size_t n_blocks;
} counted_memory;

typedef union block_head {
    size_t size;
    max_align_t align;
} block_head;

static void *resize(void *user, void *memory, size_t size)
{
    counted_memory *self = user;
    block_head *head = memory != NULL ? (block_head *)memory - 1 : NULL;
    if (head != NULL) {
        self->n_bytes -= head->size;
        self->n_blocks--;
    }
    if (size == 0) {
        free(head);
        return NULL;
    }
    head = realloc(head, sizeof(*head) + size);
    cr_assert_not_null(head);
    head->size = size;
    self->n_bytes += size;
    self->n_blocks++;
    return head + 1;
}

static size_t bytes_at_rest(gavel_config config)
{
    counted_memory memory = {0};
    gavel_error error = {{0}};
    config.allocator = (gavel_allocator){.resize = resize, .user = &memory};
    gavel_client *client = gavel_open("redis://user:password@localhost/7", &config, &error);
    cr_assert_not_null(client, "%s", error.message);
    size_t n_bytes = memory.n_bytes;
    printf("%zu bytes in %zu blocks\n", n_bytes, memory.n_blocks);
    gavel_close(client);
    cr_expect_eq(memory.n_bytes, 0);
    cr_expect_eq(memory.n_blocks, 0);
    return n_bytes;
}

Test(client_memory, a_client_at_rest_is_small)
{
    const gavel_config large = {.max_links = 32, .max_gate_links = 32, .max_waiting_links = 256};
    cr_expect_lt(bytes_at_rest((gavel_config){.seed = 1}), 16384);
    cr_expect_lt(bytes_at_rest(large), 16384, "whatever it may come to later");
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    cr_expect_lt(bytes_at_rest((gavel_config){.loop = loop}), 16384);
    ev_loop_destroy(loop);
}
