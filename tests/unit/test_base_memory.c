/*
 * Memory, arenas and buffers: what they promise while there is memory, and at every allocation that
 * fails.
 */
#include "base/arena.h"
#include "base/buffer.h"
#include "base/memory.h"

#include "faulty_memory.h"

#include <criterion/criterion.h>

static bool is_zeroed(const char *memory, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (memory[i] != 0)
            return false;
    }
    return true;
}

static bool bytes_are(gavel_bytes bytes, gavel_bytes expected)
{
    return bytes.size == expected.size && memcmp(bytes.data, expected.data, expected.size) == 0;
}

/* ---- Memory -------------------------------------------------------------------------------- */

Test(base_memory, a_product_that_overflows_is_no_memory)
{
    faulty_memory memory = {.n_left = MEMORY_ENOUGH};
    gavel_allocator allocator = faulty_allocator(&memory);
    const size_t half = SIZE_MAX / 2 + 1;
    cr_assert_null(gavel__alloc(&allocator, half, 2));
    cr_assert_null(gavel__alloc(&allocator, 2, half));
    cr_assert_null(gavel__alloc(&allocator, SIZE_MAX, SIZE_MAX));
    cr_assert_null(gavel__resize(&allocator, NULL, SIZE_MAX / 3 + 1, 3));
    cr_assert_eq(memory.n_allocations, 0, "the allocator was asked for the overflowed product");
}

Test(base_memory, products_are_exact_up_to_the_limit)
{
    size_t product = 7;
    cr_assert(gavel__multiply(SIZE_MAX, 1, &product));
    cr_assert_eq(product, SIZE_MAX);
    cr_assert(gavel__multiply(SIZE_MAX / 3, 3, &product));
    cr_assert_eq(product, SIZE_MAX / 3 * 3);
    cr_assert(gavel__multiply(SIZE_MAX, 0, &product));
    cr_assert_eq(product, 0);
    product = 7;
    cr_assert_not(gavel__multiply(SIZE_MAX / 3 + 1, 3, &product));
    cr_assert_eq(product, 7, "an output was written without success");
}

Test(base_memory, alloc_zeroes)
{
    for (size_t size = 1; size < 5000; size *= 3) {
        /* A block that was in use before, so that fresh zeroes do not hide a missing memset. */
        char *used = gavel__resize(&gavel__system_allocator, NULL, size, 1);
        memset(used, 0xa5, size);
        gavel__free(&gavel__system_allocator, used);
        char *fresh = gavel__alloc(&gavel__system_allocator, size, 1);
        cr_assert(is_zeroed(fresh, size));
        gavel__free(&gavel__system_allocator, fresh);
    }
}

Test(base_memory, no_bytes_are_still_a_block)
{
    faulty_memory memory = {.n_left = MEMORY_ENOUGH};
    gavel_allocator allocator = faulty_allocator(&memory);
    void *block = gavel__alloc(&allocator, 0, 8);
    cr_assert_not_null(block);
    block = gavel__resize(&allocator, block, 4, 0);
    cr_assert_not_null(block, "a resize to nothing was taken for a free");
    cr_assert_eq(memory.n_blocks, 1);
    gavel__free(&allocator, block);
    gavel__free(&allocator, NULL);
    cr_assert_eq(memory.n_blocks, 0);
}

Test(base_memory, a_resize_that_fails_leaves_the_block)
{
    faulty_memory memory = {.n_left = 1};
    gavel_allocator allocator = faulty_allocator(&memory);
    char *block = gavel__alloc(&allocator, 4, 1);
    memcpy(block, "abc", 4);
    cr_assert_null(gavel__resize(&allocator, block, 1000, 1));
    cr_assert_str_eq(block, "abc");
    gavel__free(&allocator, block);
    cr_assert_eq(memory.n_blocks, 0);
}

/* ---- Arenas -------------------------------------------------------------------------------- */

Test(base_memory, an_arena_gives_zeroed_and_aligned_memory)
{
    gavel__arena arena;
    gavel__arena_init(&arena, &gavel__system_allocator);
    for (int round = 0; round < 3; round++) {
        for (size_t size = 0; size < 700; size++) {
            char *memory = gavel__arena_alloc(&arena, size, 1);
            cr_assert_not_null(memory);
            cr_assert_eq((uintptr_t)memory % _Alignof(max_align_t), 0);
            cr_assert(is_zeroed(memory, size));
            memset(memory, 0xa5, size);
        }
        gavel__arena_reset(&arena);
    }
    gavel__arena_finish(&arena);
}

Test(base_memory, an_arena_never_gives_the_same_bytes_twice)
{
    static unsigned char *pieces[500];
    gavel__arena arena;
    gavel__arena_init(&arena, &gavel__system_allocator);
    for (size_t i = 0; i < 500; i++) {
        /* Now and then a piece larger than any ordinary block. */
        size_t size = i % 50 == 49 ? 100000 : 1 + i;
        pieces[i] = gavel__arena_alloc(&arena, size, 1);
        memset(pieces[i], (int)(i % 251), size);
    }
    for (size_t i = 0; i < 500; i++) {
        size_t size = i % 50 == 49 ? 100000 : 1 + i;
        for (size_t j = 0; j < size; j++)
            cr_assert_eq(pieces[i][j], i % 251);
    }
    gavel__arena_finish(&arena);
}

/* Runs the same work again and again, and returns how many blocks the last run allocated. */
static size_t steady_allocations(size_t n_pieces, size_t piece_size)
{
    faulty_memory memory = {.n_left = MEMORY_ENOUGH};
    gavel_allocator allocator = faulty_allocator(&memory);
    gavel__arena arena;
    gavel__arena_init(&arena, &allocator);
    size_t n_before = 0;
    for (int run = 0; run < 10; run++) {
        n_before = memory.n_allocations;
        for (size_t i = 0; i < n_pieces; i++)
            cr_assert_not_null(gavel__arena_alloc(&arena, 1, piece_size));
        gavel__arena_reset(&arena);
        cr_assert_leq(memory.n_blocks, 1, "a reset keeps one block at most");
    }
    size_t n_allocations = memory.n_allocations - n_before;
    gavel__arena_finish(&arena);
    cr_assert_eq(memory.n_blocks, 0);
    return n_allocations;
}

Test(base_memory, a_steady_arena_allocates_nothing)
{
    cr_assert_eq(steady_allocations(1, 16), 0);
    cr_assert_eq(steady_allocations(100, 100), 0);
    cr_assert_eq(steady_allocations(3, 20000), 0);
    cr_assert_eq(steady_allocations(500, 100), 0);
    cr_assert_eq(steady_allocations(1, 65000), 0);
}

Test(base_memory, a_large_block_is_not_kept)
{
    cr_assert_eq(steady_allocations(1, 1000000), 1);
    cr_assert_eq(steady_allocations(3, 70000), 3);
}

Test(base_memory, an_oversized_piece_does_not_waste_the_current_block)
{
    faulty_memory memory = {.n_left = MEMORY_ENOUGH};
    gavel_allocator allocator = faulty_allocator(&memory);
    gavel__arena arena;
    gavel__arena_init(&arena, &allocator);
    char *before = gavel__arena_alloc(&arena, 16, 1);
    cr_assert_not_null(gavel__arena_alloc(&arena, 100000, 1));
    char *behind = gavel__arena_alloc(&arena, 16, 1);
    cr_assert_eq(memory.n_allocations, 2);
    cr_assert_eq(behind - before, 16);
    gavel__arena_finish(&arena);
}

Test(base_memory, an_arena_refuses_sizes_that_overflow)
{
    faulty_memory memory = {.n_left = MEMORY_ENOUGH};
    gavel_allocator allocator = faulty_allocator(&memory);
    gavel__arena arena;
    gavel__arena_init(&arena, &allocator);
    for (int round = 0; round < 2; round++) {
        cr_assert_null(gavel__arena_alloc(&arena, SIZE_MAX / 2, 3));
        for (size_t short_of = 0; short_of < 64; short_of++)
            cr_assert_null(gavel__arena_alloc(&arena, SIZE_MAX - short_of, 1));
        cr_assert_not_null(gavel__arena_alloc(&arena, 8, 1));
    }
    gavel__arena_finish(&arena);
}

Test(base_memory, a_zeroed_arena_can_be_finished_and_a_finished_one_used)
{
    gavel__arena zeroed = {0};
    gavel__arena_finish(&zeroed);
    gavel__arena arena;
    gavel__arena_init(&arena, &gavel__system_allocator);
    gavel__arena_reset(&arena);
    cr_assert_not_null(gavel__arena_alloc(&arena, 1, 1));
    gavel__arena_finish(&arena);
    cr_assert_not_null(gavel__arena_alloc(&arena, 1, 1));
    gavel__arena_finish(&arena);
}

Test(base_memory, an_arena_copies_bytes)
{
    gavel__arena arena;
    gavel__arena_init(&arena, &gavel__system_allocator);
    char original[] = "key\0with\xff";
    gavel_bytes copy;
    cr_assert(gavel__arena_copy(&arena, (gavel_bytes){original, sizeof(original)}, &copy));
    original[0] = 'K';
    cr_assert(bytes_are(copy, (gavel_bytes){"key\0with\xff", sizeof(original)}));
    cr_assert(gavel__arena_copy(&arena, GAVEL_STR(""), &copy));
    cr_assert_not_null(copy.data, "empty bytes became none");
    cr_assert_eq(copy.size, 0);
    cr_assert(gavel__arena_copy(&arena, gavel_str(NULL), &copy));
    cr_assert_null(copy.data, "none became empty bytes");
    gavel__arena_finish(&arena);
}

/* [ "one", [ nil, 7, [] ], error "ERR no" ], in memory that is gone when the copy is looked at. */
static bool copy_sample_reply(gavel__arena *arena, gavel_reply *ret_copy)
{
    char one[] = "one";
    char error[] = "ERR no";
    gavel_reply inner[] = {
        {.type = GAVEL_REPLY_NIL},
        {.type = GAVEL_REPLY_INTEGER, .integer = 7},
        {.type = GAVEL_REPLY_ARRAY},
    };
    gavel_reply outer[] = {
        {.type = GAVEL_REPLY_STRING, .text = {one, 3}},
        {.type = GAVEL_REPLY_ARRAY, .elements = inner, .n_elements = 3},
        {.type = GAVEL_REPLY_ERROR, .text = {error, 6}},
    };
    gavel_reply reply = {.type = GAVEL_REPLY_ARRAY, .elements = outer, .n_elements = 3};
    bool is_copied = gavel__arena_copy_reply(arena, &reply, ret_copy);
    memset(one, 'x', sizeof(one));
    memset(error, 'x', sizeof(error));
    memset(inner, 0xa5, sizeof(inner));
    memset(outer, 0xa5, sizeof(outer));
    return is_copied;
}

static void check_sample_reply(const gavel_reply *reply)
{
    cr_assert_eq(reply->type, GAVEL_REPLY_ARRAY);
    cr_assert_eq(reply->n_elements, 3);
    const gavel_reply *outer = reply->elements;
    cr_assert_eq(outer[0].type, GAVEL_REPLY_STRING);
    cr_assert(bytes_are(outer[0].text, GAVEL_STR("one")));
    cr_assert_eq(outer[1].type, GAVEL_REPLY_ARRAY);
    cr_assert_eq(outer[1].n_elements, 3);
    cr_assert_eq(outer[2].type, GAVEL_REPLY_ERROR);
    cr_assert(bytes_are(outer[2].text, GAVEL_STR("ERR no")));
    const gavel_reply *inner = outer[1].elements;
    cr_assert_eq(inner[0].type, GAVEL_REPLY_NIL);
    cr_assert_eq(inner[1].type, GAVEL_REPLY_INTEGER);
    cr_assert_eq(inner[1].integer, 7);
    cr_assert_eq(inner[2].type, GAVEL_REPLY_ARRAY);
    cr_assert_eq(inner[2].n_elements, 0);
}

Test(base_memory, an_arena_copies_replies_deeply)
{
    gavel__arena arena;
    gavel__arena_init(&arena, &gavel__system_allocator);
    gavel_reply copy;
    cr_assert(copy_sample_reply(&arena, &copy));
    check_sample_reply(&copy);
    gavel__arena_finish(&arena);
}

Test(base_memory, a_reply_may_be_deeper_than_the_stack)
{
    enum { DEPTH = 400000 };
    gavel_reply *levels = gavel__alloc(&gavel__system_allocator, DEPTH, sizeof(*levels));
    for (size_t i = 0; i + 1 < DEPTH; i++) {
        levels[i] = (gavel_reply){
            .type = GAVEL_REPLY_ARRAY,
            .elements = &levels[i + 1],
            .n_elements = 1,
        };
    }
    levels[DEPTH - 1] = (gavel_reply){.type = GAVEL_REPLY_INTEGER, .integer = 42};

    gavel__arena arena;
    gavel__arena_init(&arena, &gavel__system_allocator);
    gavel_reply copy;
    cr_assert(gavel__arena_copy_reply(&arena, levels, &copy));
    gavel__free(&gavel__system_allocator, levels);
    const gavel_reply *place = &copy;
    size_t depth = 1;
    for (; place->type == GAVEL_REPLY_ARRAY; place = place->elements)
        depth++;
    cr_assert_eq(depth, DEPTH);
    cr_assert_eq(place->integer, 42);
    gavel__arena_finish(&arena);
}

/* Pieces of all sorts; true when none of them failed. */
static bool use_arena(gavel__arena *arena)
{
    gavel_bytes bytes = {"untouched", 9};
    const char *before = bytes.data;
    if (gavel__arena_alloc(arena, 3000, 1) == NULL || gavel__arena_alloc(arena, 9000, 1) == NULL)
        return false;
    gavel__arena_reset(arena);
    if (gavel__arena_alloc(arena, 90000, 1) == NULL || gavel__arena_alloc(arena, 8000, 1) == NULL)
        return false;
    if (!gavel__arena_copy(arena, (gavel_bytes){"another block's worth", 21}, &bytes)) {
        cr_assert_eq(bytes.data, before, "an output was written without success");
        return false;
    }
    gavel_reply reply = {.integer = 99};
    if (!copy_sample_reply(arena, &reply)) {
        cr_assert_eq(reply.integer, 99, "an output was written without success");
        return false;
    }
    check_sample_reply(&reply);
    return true;
}

Test(base_memory, an_arena_survives_every_failing_allocation)
{
    size_t n = 0;
    for (bool is_done = false; !is_done; n++) {
        faulty_memory memory = {.n_left = n};
        gavel_allocator allocator = faulty_allocator(&memory);
        gavel__arena arena;
        gavel__arena_init(&arena, &allocator);
        is_done = use_arena(&arena);
        memory.n_left = MEMORY_ENOUGH;
        cr_assert_not_null(gavel__arena_alloc(&arena, 10000, 1), "a failure stuck");
        gavel__arena_finish(&arena);
        cr_assert_eq(memory.n_blocks, 0);
    }
    cr_assert_gt(n, 3, "only %zu allocations were made to fail", n);
}

Test(base_memory, a_reply_that_does_not_fit_leaves_the_output)
{
    /* The last piece before the copy leaves less and less room, so each part of it fails once. */
    for (size_t room = 0; room < 1024; room += 16) {
        faulty_memory memory = {.n_left = 1};
        gavel_allocator allocator = faulty_allocator(&memory);
        gavel__arena arena;
        gavel__arena_init(&arena, &allocator);
        while (gavel__arena_alloc(&arena, 16, 1) != NULL)
            continue;
        gavel__arena_reset(&arena);
        size_t n_pieces = 0;
        while (gavel__arena_alloc(&arena, 16, 1) != NULL)
            n_pieces++;
        gavel__arena_reset(&arena);
        for (size_t i = 0; i < n_pieces - room / 16; i++)
            cr_assert_not_null(gavel__arena_alloc(&arena, 16, 1));

        gavel_reply copy = {.integer = 99};
        if (copy_sample_reply(&arena, &copy))
            check_sample_reply(&copy);
        else
            cr_assert_eq(copy.integer, 99, "an output was written without success");
        cr_assert(room >= 256 || copy.integer == 99, "a sample that fits %zu bytes?", room);
        gavel__arena_finish(&arena);
        cr_assert_eq(memory.n_blocks, 0);
    }
}

/* ---- Buffers ------------------------------------------------------------------------------- */

Test(base_memory, a_buffer_holds_what_was_appended)
{
    gavel__buffer buffer;
    gavel__buffer_init(&buffer, &gavel__system_allocator);
    for (size_t i = 0; i < 10000; i++) {
        char byte = (char)(i % 127);
        gavel__buffer_append(&buffer, (gavel_bytes){&byte, 1});
    }
    gavel__buffer_append(&buffer, (gavel_bytes){NULL, 0});
    cr_assert_not(buffer.has_failed);
    cr_assert_eq(buffer.size, 10000);
    for (size_t i = 0; i < 10000; i++)
        cr_assert_eq(buffer.data[i], (char)(i % 127));
    gavel__buffer_finish(&buffer);
}

Test(base_memory, a_buffer_reserves_room_at_its_end)
{
    gavel__buffer buffer;
    gavel__buffer_init(&buffer, &gavel__system_allocator);
    cr_assert_not_null(gavel__buffer_reserve(&buffer, 0), "no failure, so not NULL");
    gavel__buffer_append(&buffer, GAVEL_STR("abc"));
    char *place = gavel__buffer_reserve(&buffer, 100000);
    cr_assert_eq(place, buffer.data + 3);
    memset(place, 'x', 100000);
    cr_assert_eq(buffer.size, 3, "what was reserved is not appended");
    buffer.size += 2;
    cr_assert(bytes_are((gavel_bytes){buffer.data, buffer.size}, GAVEL_STR("abcxx")));
    gavel__buffer_finish(&buffer);
}

Test(base_memory, a_buffer_is_consumed_and_truncated)
{
    gavel__buffer buffer;
    gavel__buffer_init(&buffer, &gavel__system_allocator);
    gavel__buffer_consume(&buffer, 0);
    gavel__buffer_append(&buffer, GAVEL_STR("0123456789"));
    gavel__buffer_consume(&buffer, 4);
    cr_assert(bytes_are((gavel_bytes){buffer.data, buffer.size}, GAVEL_STR("456789")));
    gavel__buffer_truncate(&buffer, 2);
    gavel__buffer_append(&buffer, GAVEL_STR("x"));
    cr_assert(bytes_are((gavel_bytes){buffer.data, buffer.size}, GAVEL_STR("45x")));
    gavel__buffer_consume(&buffer, 3);
    cr_assert_eq(buffer.size, 0);
    gavel__buffer_finish(&buffer);
}

/* A value of megabytes leaves in thousands of pieces: if each one moved the rest, that would take
 * the square of its size. */
Test(base_memory, consuming_moves_nothing)
{
    gavel__buffer buffer;
    gavel__buffer_init(&buffer, &gavel__system_allocator);
    cr_assert_not_null(gavel__buffer_reserve(&buffer, 1000000));
    buffer.size = 1000000;
    const char *place = buffer.data;
    for (size_t n = 0; n < 1000000; n += 1000) {
        cr_assert_eq(buffer.data, place + n);
        gavel__buffer_consume(&buffer, 1000);
    }
    cr_assert_eq(buffer.data, place, "all of the memory is to be used again");
    gavel__buffer_finish(&buffer);
}

/* Whoever appends as much as is sent moves fewer bytes than are sent, and needs no more memory. */
Test(base_memory, appending_to_what_is_being_consumed)
{
    faulty_memory memory = {.n_left = MEMORY_ENOUGH};
    gavel_allocator allocator = faulty_allocator(&memory);
    gavel__buffer buffer;
    gavel__buffer_init(&buffer, &allocator);
    uint8_t appended = 0;
    uint8_t consumed = 0;
    size_t n_moved = 0;
    for (int i = 0; i < 100000; i++) {
        const char *end = buffer.data != NULL ? buffer.data + buffer.size : NULL;
        size_t size = buffer.size;
        gavel__buffer_append(&buffer, (gavel_bytes){(const char *)&appended, 1});
        appended++;
        if (buffer.data + buffer.size - 1 != end)
            n_moved += size;
        if (buffer.size <= 300)
            continue;
        cr_assert_eq((uint8_t)buffer.data[0], consumed++);
        gavel__buffer_consume(&buffer, 1);
    }
    cr_assert_lt(n_moved, 200000, "%zu", n_moved);
    cr_assert_leq(memory.n_allocations, 3, "%u", (unsigned)memory.n_allocations);
    gavel__buffer_finish(&buffer);
    cr_assert_eq(memory.n_blocks, 0);
}

Test(base_memory, clearing_a_buffer_keeps_its_memory_unless_it_is_large)
{
    faulty_memory memory = {.n_left = MEMORY_ENOUGH};
    gavel_allocator allocator = faulty_allocator(&memory);
    gavel__buffer buffer;
    gavel__buffer_init(&buffer, &allocator);
    cr_assert_not_null(gavel__buffer_reserve(&buffer, 60000));
    gavel__buffer_clear(&buffer);
    cr_assert_not_null(gavel__buffer_reserve(&buffer, 60000));
    cr_assert_eq(memory.n_allocations, 1);
    cr_assert_not_null(gavel__buffer_reserve(&buffer, 70000));
    gavel__buffer_clear(&buffer);
    cr_assert_eq(memory.n_blocks, 0);
    gavel__buffer_append(&buffer, GAVEL_STR("again"));
    cr_assert_eq(buffer.size, 5);
    gavel__buffer_finish(&buffer);
    gavel__buffer_finish(&buffer);
    cr_assert_eq(memory.n_blocks, 0);
}

Test(base_memory, a_buffer_without_memory_ignores_appends_until_it_is_cleared)
{
    faulty_memory memory = {.n_left = 1};
    gavel_allocator allocator = faulty_allocator(&memory);
    static const char large[100000];
    gavel__buffer buffer;
    gavel__buffer_init(&buffer, &allocator);
    gavel__buffer_append(&buffer, GAVEL_STR("abc"));
    gavel__buffer_append(&buffer, (gavel_bytes){large, sizeof(large)});
    cr_assert(buffer.has_failed);
    memory.n_left = MEMORY_ENOUGH;
    gavel__buffer_append(&buffer, GAVEL_STR("d"));
    cr_assert_null(gavel__buffer_reserve(&buffer, 0));
    cr_assert(bytes_are((gavel_bytes){buffer.data, buffer.size}, GAVEL_STR("abc")));
    gavel__buffer_clear(&buffer);
    cr_assert_not(buffer.has_failed);
    gavel__buffer_append(&buffer, GAVEL_STR("e"));
    cr_assert(bytes_are((gavel_bytes){buffer.data, buffer.size}, GAVEL_STR("e")));
    gavel__buffer_finish(&buffer);
}

Test(base_memory, a_buffer_refuses_sizes_that_overflow)
{
    gavel__buffer buffer;
    gavel__buffer_init(&buffer, &gavel__system_allocator);
    gavel__buffer_append(&buffer, GAVEL_STR("abc"));
    cr_assert_null(gavel__buffer_reserve(&buffer, SIZE_MAX));
    gavel__buffer_clear(&buffer);
    cr_assert_null(gavel__buffer_reserve(&buffer, SIZE_MAX / 2 + 1));
    cr_assert(buffer.has_failed);
    gavel__buffer_finish(&buffer);
}

Test(base_memory, a_buffer_survives_every_failing_allocation)
{
    size_t n = 0;
    for (bool is_done = false; !is_done; n++) {
        faulty_memory memory = {.n_left = n};
        gavel_allocator allocator = faulty_allocator(&memory);
        gavel__buffer buffer;
        gavel__buffer_init(&buffer, &allocator);
        for (size_t i = 0; i < 2000; i++)
            gavel__buffer_append(&buffer, GAVEL_STR("0123456789"));
        is_done = !buffer.has_failed;
        cr_assert_eq(buffer.size % 10, 0, "an append failed halfway");
        cr_assert_eq(buffer.size == 20000, is_done);
        gavel__buffer_finish(&buffer);
        cr_assert_eq(memory.n_blocks, 0);
    }
    cr_assert_gt(n, 3, "only %zu allocations were made to fail", n);
}
