/*
 * Arenas: a list of blocks, of which only the current one gives out memory. Every layer may use
 * them.
 *
 *     first                        current
 *     [head|#########.]  ->  ...  ->  [head|#####.............]  ->  [head|################]
 *                                           used ^      size ^        one oversized request
 *
 * A new block has twice the size of the current one. A reset keeps the largest ordinary block, so
 * that after a few resets all that is needed fits in the one that was kept.
 */
#include "base/arena.h"

#include <stdalign.h>

/* Of whole blocks, with their heads: powers of two, so that they suit a malloc's size classes. */
#define FIRST_SIZE ((size_t)4 * 1024)
#define ORDINARY_MAX ((size_t)64 * 1024)

#define ALIGNMENT alignof(max_align_t)

struct gavel__arena_block {
    struct gavel__arena_block *next;
    size_t size; /* of `data` */
    size_t used; /* a multiple of ALIGNMENT */
    alignas(max_align_t) char data[];
};

#define HEAD_SIZE sizeof(struct gavel__arena_block)

/*
 * Under AddressSanitizer, what is not given out cannot be touched: a pointer that was kept past a
 * reset is found, although its memory was never freed.
 */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ADDRESS_SANITIZER
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define HAS_ADDRESS_SANITIZER
#endif

#if defined(HAS_ADDRESS_SANITIZER)
#include <sanitizer/asan_interface.h>
#define FORBID(memory, size) __asan_poison_memory_region((memory), (size))
#define PERMIT(memory, size) __asan_unpoison_memory_region((memory), (size))
#else
#define FORBID(memory, size) ((void)(memory), (void)(size))
#define PERMIT(memory, size) ((void)(memory), (void)(size))
#endif

static void free_block(const gavel__arena *arena, struct gavel__arena_block *block)
{
    if (block == NULL)
        return;
    PERMIT(block->data, block->size);
    gavel__free(arena->allocator, block);
}

/* The size of a whole block that has room for `size` bytes, or 0 when there can be none. */
static size_t next_block_size(const gavel__arena *arena, size_t size)
{
    if (size > SIZE_MAX - HEAD_SIZE)
        return 0;
    size_t wanted = HEAD_SIZE + size;
    if (wanted > ORDINARY_MAX)
        return wanted;
    size_t block_size = arena->first_size;
    if (arena->current != NULL)
        block_size = 2 * (HEAD_SIZE + arena->current->size);
    while (block_size < wanted)
        block_size *= 2;
    return block_size < ORDINARY_MAX ? block_size : ORDINARY_MAX;
}

/*
 * A new block with room for `size` bytes. It becomes the current one, unless it is oversized: then
 * the current one goes on, for it may have more room left.
 */
static struct gavel__arena_block *add_block(gavel__arena *arena, size_t size)
{
    size_t block_size = next_block_size(arena, size);
    if (block_size == 0)
        return NULL;
    struct gavel__arena_block *block = gavel__resize(arena->allocator, NULL, 1, block_size);
    if (block == NULL)
        return NULL;
    block->next = NULL;
    block->size = block_size - HEAD_SIZE;
    block->used = 0;
    FORBID(block->data, block->size);

    if (arena->current == NULL) {
        arena->first = block;
        arena->current = block;
        return block;
    }
    block->next = arena->current->next;
    arena->current->next = block;
    if (block_size <= ORDINARY_MAX)
        arena->current = block;
    return block;
}

/* So many bytes, not zeroed. */
static void *take(gavel__arena *arena, size_t size)
{
    size_t rounded = (size + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
    if (rounded < size)
        return NULL;
    struct gavel__arena_block *block = arena->current;
    if (block == NULL || rounded > block->size - block->used) {
        block = add_block(arena, rounded);
        if (block == NULL)
            return NULL;
    }
    void *memory = block->data + block->used;
    block->used += rounded;
    PERMIT(memory, size);
    return memory;
}

void gavel__arena_init(gavel__arena *arena, const gavel_allocator *allocator)
{
    gavel__arena_init_sized(arena, allocator, FIRST_SIZE);
}

void gavel__arena_init_sized(
    gavel__arena *arena, const gavel_allocator *allocator, size_t first_size)
{
    *arena = (gavel__arena){.allocator = allocator, .first_size = first_size};
}

void gavel__arena_finish(gavel__arena *arena)
{
    struct gavel__arena_block *next;
    for (struct gavel__arena_block *block = arena->first; block != NULL; block = next) {
        next = block->next;
        free_block(arena, block);
    }
    arena->first = NULL;
    arena->current = NULL;
}

/* Frees all blocks but the largest ordinary one, if there is any; returns that. */
static struct gavel__arena_block *keep_largest(const gavel__arena *arena)
{
    struct gavel__arena_block *kept = NULL;
    struct gavel__arena_block *next;
    for (struct gavel__arena_block *block = arena->first; block != NULL; block = next) {
        next = block->next;
        struct gavel__arena_block *unwanted = block;
        if (HEAD_SIZE + block->size <= ORDINARY_MAX && (kept == NULL || block->size > kept->size)) {
            unwanted = kept;
            kept = block;
        }
        free_block(arena, unwanted);
    }
    return kept;
}

static bool is_kept_whole(const struct gavel__arena_block *first)
{
    return first->next == NULL && HEAD_SIZE + first->size <= ORDINARY_MAX;
}

void gavel__arena_reset(gavel__arena *arena)
{
    struct gavel__arena_block *kept = arena->first;
    if (kept != NULL && !is_kept_whole(kept)) /* rarely */
        kept = keep_largest(arena);
    if (kept != NULL) {
        kept->next = NULL;
        kept->used = 0;
        FORBID(kept->data, kept->size);
    }
    arena->first = kept;
    arena->current = kept;
}

size_t gavel__arena_kept(const gavel__arena *arena)
{
    return arena->first != NULL ? HEAD_SIZE + arena->first->size : 0;
}

void *gavel__arena_take(gavel__arena *arena, size_t n, size_t size)
{
    size_t product;
    return gavel__multiply(n, size, &product) ? take(arena, product) : NULL;
}

void *gavel__arena_alloc(gavel__arena *arena, size_t n, size_t size)
{
    void *memory = gavel__arena_take(arena, n, size);
    if (memory != NULL)
        memset(memory, 0, n * size);
    return memory;
}

bool gavel__arena_copy(gavel__arena *arena, gavel_bytes bytes, gavel_bytes *ret_copy)
{
    if (bytes.data == NULL) {
        *ret_copy = (gavel_bytes){NULL, 0};
        return true;
    }
    char *data = take(arena, bytes.size);
    if (data == NULL)
        return false;
    memcpy(data, bytes.data, bytes.size);
    *ret_copy = (gavel_bytes){data, bytes.size};
    return true;
}

/* Elements that were copied as they are, and still point to the original's texts and elements. */
struct unfinished {
    struct unfinished *next;
    gavel_reply *replies;
    size_t n_replies;
};

/* Makes one reply the arena's own; its elements, if it has any, are put on the list. */
static bool finish_reply(gavel__arena *arena, gavel_reply *reply, struct unfinished **list)
{
    if (!gavel__arena_copy(arena, reply->text, &reply->text))
        return false;
    if (reply->n_elements == 0) {
        reply->elements = NULL;
        return true;
    }
    gavel_reply *elements = gavel__arena_take(arena, reply->n_elements, sizeof(*elements));
    struct unfinished *item = take(arena, sizeof(*item));
    if (elements == NULL || item == NULL)
        return false;
    memcpy(elements, reply->elements, reply->n_elements * sizeof(*elements));
    *item = (struct unfinished){*list, elements, reply->n_elements};
    *list = item;
    reply->elements = elements;
    return true;
}

/* With a list instead of recursion: the server says how deep a reply is, the stack must not care.
 */
bool gavel__arena_copy_reply(gavel__arena *arena, const gavel_reply *reply, gavel_reply *ret_copy)
{
    gavel_reply copy = *reply;
    struct unfinished *list = NULL;
    if (!finish_reply(arena, &copy, &list))
        return false;
    while (list != NULL) {
        struct unfinished *item = list;
        list = item->next;
        for (size_t i = 0; i < item->n_replies; i++) {
            if (!finish_reply(arena, &item->replies[i], &list))
                return false;
        }
    }
    *ret_copy = copy;
    return true;
}
